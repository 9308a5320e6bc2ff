/* SPDX-License-Identifier: MIT */
/* Connections to databases by URL, with the real daemon behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/discovery.h"
#include "client/models.h"
#include "support/eventually.h"
#include "support/tempdir.h"

#define N_RACERS  20
#define N_THREADS 8
#define IDLE_MS   200

typedef struct fixture {
	const char *dir;
	char url[SUPPORT_PATH_SIZE + 16];
	char lock_path[ORM_DISCOVERY_PATH_SIZE];
} fixture;

static const orm_connect_options quick = {.idle_timeout_ms = IDLE_MS};

static int set_up(void **state)
{
	static fixture f;
	char database[SUPPORT_PATH_SIZE];

	f.dir = support_tempdir();
	snprintf(f.url, sizeof f.url, "sqlite:///%s", support_join(database, f.dir, "shop.db"));
	assert_int_equal(orm_discovery_lock_path(f.url, f.lock_path, NULL), ORM_OK);
	setenv("XDG_RUNTIME_DIR", f.dir, 1);
	unsetenv("ORMD_CRASH_POINT");
	*state = &f;
	return 0;
}

static bool is_unserved(void *context)
{
	const fixture *f = context;
	const int fd = open(f->lock_path, O_RDONLY | O_CLOEXEC);
	const bool free_now = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;

	if (fd >= 0)
		close(fd);
	return free_now;
}

/* Every test's server ends by itself, since nobody is connected any more: that is tested each time. */
static int tear_down(void **state)
{
	fixture *f = *state;

	assert_true(support_eventually(is_unserved, f, SUPPORT_PATIENCE_MS));
	support_tempdir_remove(f->dir);
	return 0;
}

static orm_db *connect_to(const char *url)
{
	orm_db *db = orm_connect_with(url, test_models, &quick);

	if (orm_db_error(db)->code != ORM_OK)
		fail_msg("%s", orm_db_error(db)->message);
	return db;
}

static void assert_fine(orm_session *session)
{
	assert_string_equal(orm_session_error(session)->message, "");
}

static void add_user(orm_db *db, const char *name)
{
	orm_session *s = orm_session_open(db);

	orm_add(s, User, .name = name);
	orm_commit(s);
	assert_fine(s);
	orm_session_close(s);
}

static int64_t count_users(orm_db *db)
{
	orm_session *s = orm_session_open(db);
	const int64_t n = orm_count(s, User);

	assert_fine(s);
	orm_session_close(s);
	return n;
}

static void two_programs_with_one_url_share_a_server(void **state)
{
	fixture *f = *state;
	orm_db *a = connect_to(f->url);
	orm_db *b = connect_to(f->url);

	assert_string_equal(orm_db_address(a), orm_db_address(b));
	assert_int_equal(orm_create_all(a), ORM_OK);
	add_user(a, "Alice");
	assert_int_equal(count_users(b), 1);
	orm_disconnect(a);
	orm_disconnect(b);
}

static void the_data_outlives_the_server(void **state)
{
	fixture *f = *state;
	orm_db *db = connect_to(f->url);

	assert_int_equal(orm_create_all(db), ORM_OK);
	add_user(db, "Alice");
	orm_disconnect(db);
	assert_true(support_eventually(is_unserved, f, SUPPORT_PATIENCE_MS));
	db = connect_to(f->url);
	assert_int_equal(count_users(db), 1);
	orm_disconnect(db);
}

static int race(const fixture *f)
{
	orm_db *db = orm_connect_with(f->url, test_models, &quick);
	orm_session *s;
	int failed;

	orm_create_all(db);
	s = orm_session_open(db);
	orm_add(s, User, .name = orm_printf(s, "process %ld", (long)getpid()));
	failed = orm_commit(s) != ORM_OK;
	if (failed)
		fprintf(stderr, "%s / %s\n", orm_db_error(db)->message, orm_session_error(s)->message);
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}

static void twenty_processes_race_for_the_first_connection(void **state)
{
	fixture *f = *state;
	pid_t pids[N_RACERS];
	int gate[2];
	orm_db *db;

	assert_int_equal(pipe(gate), 0);
	for (size_t i = 0; i < N_RACERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char byte;

			close(gate[1]);
			_exit(read(gate[0], &byte, 1) != 0 || race(f)); /* when all are there */
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (size_t i = 0; i < N_RACERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	db = connect_to(f->url);
	assert_int_equal(count_users(db), N_RACERS);
	orm_disconnect(db);
}

static void kill_server(const fixture *f)
{
	orm_discovery_owner owner;

	assert_int_equal(orm_discovery_read(f->lock_path, &owner, NULL), ORM_OK);
	assert_true(owner.pid > 0);
	assert_int_equal(kill((pid_t)owner.pid, SIGKILL), 0);
	assert_true(support_eventually(is_unserved, (void *)(uintptr_t)f, SUPPORT_PATIENCE_MS));
}

static void after_a_kill_the_connection_finds_another_server(void **state)
{
	fixture *f = *state;
	orm_db *db = connect_to(f->url);

	assert_int_equal(orm_create_all(db), ORM_OK);
	add_user(db, "Alice");
	kill_server(f);
	add_user(db, "Bob");
	assert_int_equal(count_users(db), 2);
	orm_disconnect(db);
}

static void a_session_ends_with_its_server(void **state)
{
	fixture *f = *state;
	orm_db *db = connect_to(f->url);
	orm_session *s;

	assert_int_equal(orm_create_all(db), ORM_OK);
	s = orm_session_open(db);
	orm_add(s, User, .name = "Alice");
	assert_int_equal(orm_flush(s), ORM_OK);
	kill_server(f);
	add_user(db, "Bob"); /* starts another, at the same address */
	assert_int_equal(orm_commit(s), ORM_ELOST);
	assert_non_null(strstr(orm_session_error(s)->message, "Open a new"));
	orm_session_close(s);
	assert_int_equal(count_users(db), 1);
	orm_disconnect(db);
}

/* The server dies of a commit at `place`; the next one settles it. */
static void commit_through_a_crash(fixture *f, const char *place, int64_t expected)
{
	orm_db *db = connect_to(f->url);
	orm_session *s;
	orm_status status;

	assert_int_equal(orm_create_all(db), ORM_OK);
	orm_disconnect(db);
	assert_true(support_eventually(is_unserved, f, SUPPORT_PATIENCE_MS));

	setenv("ORMD_CRASH_POINT", place, 1);
	db = connect_to(f->url);
	unsetenv("ORMD_CRASH_POINT");
	s = orm_session_open(db);
	User *alice = orm_add(s, User, .name = "Alice");
	status = orm_commit(s);
	assert_int_equal(status, expected ? ORM_OK : ORM_ELOST);
	assert_int_equal(alice->id, expected ? 1 : 0);
	orm_session_close(s);
	assert_int_equal(count_users(db), expected);
	orm_disconnect(db);
}

static void a_commit_whose_reply_was_lost_is_settled_as_written(void **state)
{
	commit_through_a_crash(*state, "before-reply", 1);
}

static void a_commit_whose_transaction_was_lost_is_settled_as_not_written(void **state)
{
	commit_through_a_crash(*state, "before-commit", 0);
}

static void in_memory_databases_are_each_their_own(void **state)
{
	orm_db *a = connect_to("sqlite:///:memory:");
	orm_db *b = connect_to("sqlite:///:memory:");

	(void)state;
	assert_string_not_equal(orm_db_address(a), orm_db_address(b));
	assert_int_equal(orm_create_all(a), ORM_OK);
	assert_int_equal(orm_create_all(b), ORM_OK);
	add_user(a, "Alice");
	assert_int_equal(count_users(a), 1);
	assert_int_equal(count_users(b), 0);

	char *socket_of_a = strdup(orm_db_address(a) + strlen("ipc://"));
	assert_int_equal(access(socket_of_a, F_OK), 0);
	orm_disconnect(a);
	assert_int_not_equal(access(socket_of_a, F_OK), 0);
	free(socket_of_a);
	assert_int_equal(count_users(b), 0);
	orm_disconnect(b);
}

/* ---- threads ---- */

typedef struct worker {
	pthread_t thread;
	orm_db *db;
	orm_session *session;
	size_t number;
	bool good;
} worker;

static void open_sessions_outlive_the_disconnect(void **state)
{
	fixture *f = *state;
	orm_db *db = orm_connect_with(f->url, test_models, &quick);
	orm_session *one, *two;

	assert_int_equal(orm_create_all(db), ORM_OK);
	one = orm_session_open(db);
	two = orm_session_open(db);
	orm_disconnect(db);
	orm_add(one, User, .name = "late", .email = "late@x");
	assert_int_equal(orm_commit(one), ORM_OK);
	assert_fine(one);
	orm_session_close(one);
	assert_int_equal(orm_count(two, User, .name = "late"), 1);
	orm_session_close(two);
}

static void *work(void *context)
{
	worker *w = context;

	w->good = true;
	for (int round = 0; round < 20 && w->good; round++) {
		User *user = orm_add(w->session, User, .name = orm_printf(w->session, "%zu/%d", w->number, round));

		w->good =
			orm_commit(w->session) == ORM_OK && user->id > 0 && orm_get(w->session, User, user->id) == user;
		orm_db_requests(w->db);
	}
	return NULL;
}

static void sessions_of_one_connection_work_in_several_threads(void **state)
{
	fixture *f = *state;
	worker workers[N_THREADS];
	orm_db *db = connect_to(f->url);

	assert_int_equal(orm_create_all(db), ORM_OK);
	for (size_t i = 0; i < N_THREADS; i++) {
		workers[i] = (worker){.db = db, .session = orm_session_open(db), .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < N_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_true(workers[i].good);
		orm_session_close(workers[i].session);
	}
	assert_int_equal(count_users(db), N_THREADS * 20);
	orm_disconnect(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(two_programs_with_one_url_share_a_server),
		TEST(the_data_outlives_the_server),
		TEST(twenty_processes_race_for_the_first_connection),
		TEST(after_a_kill_the_connection_finds_another_server),
		TEST(a_session_ends_with_its_server),
		TEST(a_commit_whose_reply_was_lost_is_settled_as_written),
		TEST(a_commit_whose_transaction_was_lost_is_settled_as_not_written),
		TEST(open_sessions_outlive_the_disconnect),
		TEST(in_memory_databases_are_each_their_own),
		TEST(sessions_of_one_connection_work_in_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
