/* SPDX-License-Identifier: MIT */
/*
 * Several servers of one database: a shared session is in one of them wherever its participants connect; what keeps units apart within one server
 * keeps them apart across servers, too; and a server that is gone, or only seems to be, loses its sessions and nothing else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"
#include "support/eventually.h"
#include "support/postgresql.h"

#define N_KEYS      200
#define SHORT_LEASE "3s" /* a server that lives is to be seen alive on a busy machine, too */

typedef struct servers {
	char         url[ENGINE_URL_SIZE];
	const char  *directory[2];
	support_ormd ormd[2];
	orm_db      *db[2]; /* a client of each */
} servers;

#define ONLY_WHERE_SEVERAL_SERVE()                           \
	do {                                                 \
		if (engine_under_test() == ENGINE_SQLITE)    \
			skip();                              \
	} while (0)

#define assert_did(session, call)                                                                             \
	do {                                                                                                  \
		orm_status status_ = (call);                                                                  \
		if (status_ < 0)                                                                              \
			fail_msg("%s: %s", orm_status_name(status_), orm_session_error(session)->message); \
	} while (0)

static void start(servers *s, const char *url, const char *const *arguments)
{
	*s = (servers){.directory = {support_tempdir(), support_tempdir()}};
	if (url)
		snprintf(s->url, sizeof s->url, "%s", url);
	else
		engine_fresh_url(s->url);
	for (int i = 0; i < 2; i++) {
		support_ormd_start(&s->ormd[i], s->directory[i], s->url, arguments, NULL);
		s->db[i] = orm_connect(s->ormd[i].address, notes_models);
		if (orm_db_error(s->db[i])->code)
			fail_msg("%s", orm_db_error(s->db[i])->message);
	}
	assert_int_equal(orm_create_all(s->db[0]), ORM_OK);
}

static void stop(servers *s)
{
	for (int i = 0; i < 2; i++) {
		orm_disconnect(s->db[i]);
		int status = s->ormd[i].process.pid ? support_ormd_stop(&s->ormd[i]) : 0;
		if (status != 0) {
			char *log = support_read_file(s->ormd[i].log_path, NULL);
			print_error("--- log of ormd\n%s---\n", log ? log : "");
			free(log);
		}
		assert_int_equal(status, 0);
		support_tempdir_remove(s->directory[i]);
	}
}

static orm_session *join_with(orm_db *db, const char *name, const orm_join_options *options)
{
	orm_session *session = orm_session_join(db, name, options);
	if (orm_session_error(session)->code)
		fail_msg("%s", orm_session_error(session)->message);
	return session;
}

static orm_session *join(orm_db *db, const char *name)
{
	return join_with(db, name, NULL);
}

/* What others have published is there at once; it takes a call to bring it. */
static void catch_up(orm_session *session)
{
	assert_true(orm_wait(session, 0) >= 0);
}

/* ormctl's output, owned; *code is its exit status. */
static char *ormctl(const servers *s, int server, const char *command, const char *argument, int *code)
{
	char                  path[SUPPORT_PATH_SIZE];
	const char           *argv[] = {getenv("ORMCTL"), "--address", s->ormd[server].address, command, argument, NULL};
	const support_command run = {.argv = argv, .stdout_path = support_join(path, s->directory[server], "ormctl.out"), .stderr_path = path};
	remove(path);
	int status = support_run(&run, SUPPORT_PATIENCE_MS);
	assert_true(status >= 0 && WIFEXITED(status));
	*code = WEXITSTATUS(status);
	return support_read_file(path, NULL);
}

/* ---- one unit ---- */

static void who_joins_one_name_by_any_server_is_in_one_unit(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);

	orm_session *a = join(s.db[0], "till");
	orm_session *b = join(s.db[1], "till");
	Note        *note = orm_add(a, Note, .title = "from a");
	assert_did(a, orm_flush(a));
	catch_up(b);
	Note *seen = orm_get(b, Note, note->id); /* not committed, so nobody else could see it */
	assert_non_null(seen);
	assert_string_equal(seen->title, "from a");
	seen->body = "from b";
	assert_did(b, orm_commit(b));
	catch_up(a);
	assert_string_equal(note->body, "from b");
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"notes\" WHERE \"body\" = 'from b'"), 1);
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"ormd_session\""), 1);

	/* Private sessions are where their client is. */
	orm_session *own = orm_session_open(s.db[1]);
	assert_non_null(orm_get(own, Note, note->id));
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"ormd_session\""), 1);
	orm_session_close(own);
	orm_session_close(a);
	orm_session_close(b);
	stop(&s);
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"ormd_session\""), 0);
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"ormd_server\""), 0);
}

static bool is_nowhere(void *context)
{
	const servers *s = context;
	return engine_ask_number(s->url, "SELECT count(*) FROM \"ormd_session\"") == 0;
}

static void a_session_that_must_exist_may_be_in_another_server(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);

	orm_session *none = orm_session_join(s.db[1], "till", &(orm_join_options){.must_exist = true});
	assert_int_equal(orm_session_error(none)->code, ORM_ENOTFOUND);
	orm_session_close(none);
	orm_session *a = join(s.db[0], "till");
	orm_session *b = join_with(s.db[1], "till", &(orm_join_options){.must_exist = true});
	assert_int_equal(engine_ask_number(s.url, "SELECT count(*) FROM \"ormd_session\""), 1);
	orm_session_close(a);
	orm_session_close(b);
	assert_true(support_eventually(is_nowhere, &s, SUPPORT_PATIENCE_MS));
	none = orm_session_join(s.db[0], "till", &(orm_join_options){.must_exist = true});
	assert_int_equal(orm_session_error(none)->code, ORM_ENOTFOUND);
	orm_session_close(none);
	/* And the next to open it may be the other. */
	orm_session_close(join(s.db[1], "till"));
	stop(&s);
}

static void ormctl_tells_where_a_session_is(void **state)
{
	servers s;
	int     code;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);

	orm_session *session = join(s.db[1], "till");
	for (int i = 0; i < 2; i++) {
		char *where = ormctl(&s, i, "where", "till", &code);
		assert_int_equal(code, 0);
		assert_int_equal(strncmp(where, s.ormd[1].address, strlen(s.ormd[1].address)), 0);
		free(where);
		char *list = ormctl(&s, i, "servers", NULL, &code);
		assert_int_equal(code, 0);
		assert_non_null(strstr(list, s.ormd[0].address));
		assert_non_null(strstr(list, s.ormd[1].address));
		free(list);
		char *json = ormctl(&s, i, "servers", "--json", &code);
		assert_int_equal(code, 0);
		assert_non_null(strstr(json, "\"sessions\": 1"));
		free(json);
	}
	free(ormctl(&s, 0, "where", "nothing", &code));
	assert_int_equal(code, 66);
	orm_session_close(session);
	stop(&s);
}

/* ---- units of different servers ---- */

static void versions_hold_across_servers(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);

	orm_session *a = orm_session_open(s.db[0]);
	orm_session *b = orm_session_open(s.db[1]);
	Note        *mine = orm_add(a, Note, .title = "one");
	assert_did(a, orm_commit(a));
	Note *yours = orm_get(b, Note, mine->id);
	assert_non_null(yours);
	mine->body = "a";
	yours->body = "b";
	assert_did(a, orm_commit(a));
	assert_int_equal(orm_commit(b), ORM_ESTALE);
	char *body = engine_ask(s.url, "SELECT \"body\" FROM \"notes\"");
	assert_string_equal(body, "a");
	free(body);
	orm_session_close(a);
	orm_session_close(b);
	stop(&s);
}

typedef struct adder {
	pthread_t thread;
	orm_db   *db;
	orm_error error;
} adder;

static void *add_many(void *context)
{
	adder       *this = context;
	orm_session *session = orm_session_open(this->db);
	for (int i = 0; i < N_KEYS; i++) {
		orm_add(session, Note, .title = "many");
		if (i % 10 == 9)
			orm_commit(session);
	}
	this->error = *orm_session_error(session);
	orm_session_close(session);
	return NULL;
}

static void generated_keys_never_collide(void **state)
{
	servers s;
	adder   adders[2] = {0};
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		adders[i].db = s.db[i];
		assert_int_equal(pthread_create(&adders[i].thread, NULL, add_many, &adders[i]), 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(adders[i].thread, NULL);
		if (adders[i].error.code)
			fail_msg("%s", adders[i].error.message);
	}
	assert_int_equal(engine_ask_number(s.url, "SELECT count(DISTINCT \"id\") FROM \"notes\""), 2 * N_KEYS);
	stop(&s);
}

/* ---- servers that are gone ---- */

static const char *const short_lease[] = {"--lease", SHORT_LEASE, NULL};

static void a_killed_servers_session_is_taken_over(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, short_lease);

	orm_session *a = join(s.db[0], "till");
	orm_add(a, Note, .title = "committed");
	assert_did(a, orm_commit(a));
	orm_add(a, Note, .title = "lost");
	assert_did(a, orm_flush(a));
	support_ormd_kill(&s.ormd[0]);

	/* It waits for the lease's end by itself. */
	orm_session *b = join(s.db[1], "till");
	orm_add(b, Note, .title = "after");
	assert_did(b, orm_commit(b));
	char *titles = engine_ask(s.url, "SELECT \"title\" FROM \"notes\" ORDER BY 1");
	assert_string_equal(titles, "after;committed");
	free(titles);
	orm_session_close(b);
	orm_session_close(a);
	stop(&s);
}

typedef struct late {
	pthread_t    thread;
	orm_session *session;
	orm_status   status;
} late;

static void *commit_late(void *context)
{
	late *this = context;
	this->status = orm_commit(this->session);
	return NULL;
}

static bool is_dead_for_others(void *context)
{
	const servers *s = context;
	/* By whoever is asked: the one that lives. */
	return engine_ask_number(s->url, "SELECT count(*) FROM \"ormd_server\"") == 1;
}

static void a_server_that_stood_still_for_too_long_commits_nothing(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, short_lease);

	orm_session *a = join(s.db[0], "till");
	orm_session *own = orm_session_open(s.db[0]);
	orm_add(a, Note, .title = "first");
	assert_did(a, orm_commit(a));
	orm_add(a, Note, .title = "stale");
	assert_did(a, orm_flush(a));

	assert_true(support_process_signal(&s.ormd[0].process, SIGSTOP));
	assert_true(support_eventually(is_dead_for_others, &s, SUPPORT_PATIENCE_MS));
	orm_session *b = join(s.db[1], "till");
	orm_add(b, Note, .title = "after");
	assert_did(b, orm_commit(b));

	late commit = {.session = a};
	assert_int_equal(pthread_create(&commit.thread, NULL, commit_late, &commit), 0);
	assert_true(support_process_signal(&s.ormd[0].process, SIGCONT));
	pthread_join(commit.thread, NULL);
	assert_int_equal(commit.status, ORM_ELOST);
	assert_non_null(strstr(orm_session_error(a)->message, "another server took"));

	char *titles = engine_ask(s.url, "SELECT \"title\" FROM \"notes\" ORDER BY 1");
	assert_string_equal(titles, "after;first");
	free(titles);

	/* The session is where it is now, for clients of both; and sessions that are nobody else's go on. */
	orm_session_close(a);
	a = join(s.db[0], "till");
	Note *note = orm_add(a, Note, .title = "again");
	assert_did(a, orm_flush(a));
	catch_up(b);
	assert_non_null(orm_get(b, Note, note->id));
	orm_add(own, Note, .title = "own");
	assert_did(own, orm_commit(own));
	orm_session_close(own);
	orm_session_close(a);
	orm_session_close(b);
	stop(&s);
}

/* ---- addresses ---- */

static void an_address_of_another_machine_is_said_to_be_one(void **state)
{
	servers s;
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, NULL);

	orm_session *a = join(s.db[0], "till");
	engine_run(s.url, "UPDATE \"ormd_server\" SET \"host\" = 'elsewhere.example'");
	orm_session *b = orm_session_join(s.db[1], "till", NULL);
	assert_int_equal(orm_session_error(b)->code, ORM_EUNAVAILABLE);
	assert_non_null(strstr(orm_session_error(b)->message, "elsewhere.example"));
	assert_non_null(strstr(orm_session_error(b)->message, "--advertise"));
	orm_session_close(a);
	orm_session_close(b);
	stop(&s);
}

static void servers_that_send_in_circles_end_in_an_error(void **state)
{
	static const char *const elsewhere[] = {"--lease", "1h", NULL};
	servers                  s;
	char                     sql[SUPPORT_PATH_SIZE + 200];
	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	start(&s, NULL, elsewhere);

	/* A third one that nobody reaches by its address: whoever answers there is the second server. */
	snprintf(sql, sizeof sql,
	         "INSERT INTO \"ormd_server\" (\"id\", \"address\", \"host\", \"lease_ms\") SELECT 7, \"address\", \"host\", \"lease_ms\" FROM "
	         "\"ormd_server\" WHERE \"address\" = '%s'",
	         s.ormd[1].address);
	engine_run(s.url, sql);
	engine_run(s.url, "INSERT INTO \"ormd_session\" (\"name\", \"server_id\", \"fence\") VALUES ('till', 7, 1)");
	orm_session *session = orm_session_join(s.db[0], "till", NULL);
	assert_int_equal(orm_session_error(session)->code, ORM_EUNAVAILABLE);
	assert_non_null(strstr(orm_session_error(session)->message, "'till' moves"));
	orm_session_close(session);
	stop(&s);
}

/* ---- reading ---- */

static void check_refusals(orm_session *session, int64_t id)
{
	assert_null(orm_add(session, Note, .title = "no"));
	assert_int_equal(orm_session_error(session)->code, ORM_EPERM);
	assert_non_null(strstr(orm_session_error(session)->message, "read-only"));
	orm_session_clear_error(session);

	Note *note = orm_get(session, Note, id);
	assert_non_null(note);
	orm_delete(session, note);
	assert_int_equal(orm_session_error(session)->code, ORM_EPERM);
	orm_session_clear_error(session);
	note->title = "no";
	assert_int_equal(orm_commit(session), ORM_EPERM);
	assert_int_equal(orm_rollback(session), ORM_OK);

	orm_query *query = orm_select(session, Note);
	orm_for_update(query);
	assert_int_equal(orm_query_all(query, Note).len, 0);
	assert_int_equal(orm_session_error(session)->code, ORM_EPERM);
	assert_int_equal(orm_rollback(session), ORM_OK);
}

static void a_read_only_session_reads(void **state)
{
	test_place *place = *state;
	orm_db     *db = place_connect(place, notes_models);
	for (int i = 0; i < 2; i++) {
		orm_session *writer = orm_session_open(db);
		Note        *note = orm_add(writer, Note, .title = "one");
		assert_did(writer, orm_commit(writer));
		orm_session *reader = orm_session_open_with(
			db, &(orm_session_options){.read_only = true, .isolation = i ? ORM_REPEATABLE_READ : ORM_ISOLATION_DEFAULT});
		check_refusals(reader, note->id);
		assert_non_null(orm_get(reader, Note, note->id));
		assert_did(reader, orm_commit(reader));
		orm_session_close(reader);
		orm_session_close(writer);
	}
	orm_disconnect(db);
}

static bool is_replicated(void *context)
{
	char *answer;
	bool  is = engine_try(context, "SELECT count(*) FROM \"notes\"", &answer) && strcmp(answer, "1") == 0; /* the table itself may be missing */
	free(answer);
	return is;
}

static void a_read_only_session_reads_from_a_replica(void **state)
{
	support_postgresql primary, standby;
	char               url[SUPPORT_PATH_SIZE], replica[SUPPORT_PATH_SIZE];
	servers            s;
	(void)state;
	if (engine_under_test() != ENGINE_POSTGRESQL)
		skip();
	support_postgresql_start(&primary);
	support_postgresql_start_standby(&standby, &primary, false);
	support_postgresql_url(&primary, "postgres", url);
	support_postgresql_url(&standby, "postgres", replica);
	start(&s, url, (const char *[]){"--replica", replica, NULL});

	orm_session *writer = orm_session_open(s.db[0]);
	Note        *note = orm_add(writer, Note, .title = "old");
	assert_did(writer, orm_commit(writer));
	assert_true(support_eventually(is_replicated, replica, SUPPORT_PATIENCE_MS));

	/* From now on the copy gets nothing new, which tells the two apart. */
	engine_run(replica, "SELECT pg_wal_replay_pause()");
	note->title = "new";
	assert_did(writer, orm_commit(writer));
	orm_session *reader = orm_session_open_with(s.db[0], &(orm_session_options){.read_only = true});
	orm_session *other = orm_session_open(s.db[0]);
	Note        *read = orm_get(reader, Note, note->id);
	assert_non_null(read);
	assert_string_equal(read->title, "old");
	assert_string_equal(((Note *)orm_get(other, Note, note->id))->title, "new");
	assert_int_equal(orm_query_count(orm_select(reader, Note)), 1);
	check_refusals(reader, note->id);

	orm_session_close(reader);

	/* Without it, from the database itself. */
	support_postgresql_kill(&standby);
	reader = orm_session_open_with(s.db[0], &(orm_session_options){.read_only = true});
	read = orm_get(reader, Note, note->id);
	if (!read)
		fail_msg("%s", orm_session_error(reader)->message);
	assert_string_equal(read->title, "new");
	orm_session_close(reader);
	orm_session_close(other);
	orm_session_close(writer);
	stop(&s);
	support_postgresql_remove(&standby);
	support_postgresql_remove(&primary);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_joins_one_name_by_any_server_is_in_one_unit),
		cmocka_unit_test(a_session_that_must_exist_may_be_in_another_server),
		cmocka_unit_test(ormctl_tells_where_a_session_is),
		cmocka_unit_test(versions_hold_across_servers),
		cmocka_unit_test(generated_keys_never_collide),
		cmocka_unit_test(a_killed_servers_session_is_taken_over),
		cmocka_unit_test(a_server_that_stood_still_for_too_long_commits_nothing),
		cmocka_unit_test(an_address_of_another_machine_is_said_to_be_one),
		cmocka_unit_test(servers_that_send_in_circles_end_in_an_error),
		cmocka_unit_test_setup_teardown(a_read_only_session_reads, place_set_up, place_tear_down),
		cmocka_unit_test(a_read_only_session_reads_from_a_replica),
	};
	return cmocka_run_group_tests_name("servers", tests, NULL, NULL);
}
