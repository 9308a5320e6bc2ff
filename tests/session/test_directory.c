/* SPDX-License-Identifier: MIT */
/* Several servers of one database: who has which name, by the database's own word. */
#include "session/database_support.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/directory.h"
#include "support/eventually.h"

#define LEASE_MS  (3600 * 1000) /* so that nobody dies because the test is slow: death is written into the database */
#define N_THREADS 8

/* A second server, with connections of its own. */
typedef struct server {
	ormd_database *database;
	ormd_directory *directory;
} server;

static int64_t soon(void)
{
	return orm_deadline_in_ms(SUPPORT_PATIENCE_MS);
}

static void open_server(server *s, const char *url, const char *address)
{
	orm_error error = {0};

	s->database = ormd_database_open(&(ormd_database_options){.url = url, .own_thread = true}, &error);
	if (!s->database)
		fail_msg("%s", error.message);
	s->directory = ormd_directory_open(s->database, address, LEASE_MS, &error);
	if (!s->directory)
		fail_msg("%s", error.message);
}

static void close_server(server *s)
{
	ormd_directory_close(s->directory);
	ormd_database_close(s->database);
}

/* The same without a good-bye. */
static void let_die(fixture *f, const char *address)
{
	char sql[256];

	snprintf(sql, sizeof sql,
		 "UPDATE \"ormd_server\" SET \"seen_at\" = '2001-02-03 04:05:06' WHERE \"address\" = '%s'", address);
	outside(f, sql);
}

static bool is_on_one_server(void)
{
	return engine_under_test() == ENGINE_SQLITE;
}

#define ONLY_WHERE_SEVERAL_SERVE()                                                                                     \
	do {                                                                                                           \
		if (is_on_one_server())                                                                                \
			skip();                                                                                        \
	} while (0)

typedef struct two {
	fixture f;
	server a, b;
} two;

static void set_up_two(two *t)
{
	char url[ENGINE_URL_SIZE];

	memset(t, 0, sizeof *t);
	engine_fresh_url(url);
	setup_database_at(&t->f, url);
	open_server(&t->a, url, "ipc:///a");
	open_server(&t->b, url, "ipc:///b");
}

static void tear_down_two(two *t)
{
	close_server(&t->a);
	close_server(&t->b);
	teardown_database_at(&t->f);
}

static void must_claim(const server *s, const char *name, int64_t *fence)
{
	ormd_directory_owner owner;
	orm_error error = {0};

	if (ormd_directory_claim(s->directory, name, soon(), fence, &owner, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

/* ---- claiming ----------------------------------------------------------------------------------------------- */

static void a_database_of_one_server_has_no_directory(void **state)
{
	(void)state;
	if (!is_on_one_server())
		skip();

	fixture f = {0};
	char url[ENGINE_URL_SIZE];

	engine_fresh_url(url);
	setup_database_at(&f, url);
	assert_int_equal(count_tables(&f, "'ormd_server', 'ormd_session'"), 0);
	teardown_database_at(&f);
}

static void a_name_belongs_to_whom_claims_it_first(void **state)
{
	two t;
	ormd_directory_owner owner;
	orm_error error = {0};
	int64_t fence = 0, other = 0;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	must_claim(&t.a, "till", &fence);
	assert_int_equal(ormd_directory_claim(t.b.directory, "till", soon(), &other, &owner, &error), ORM_EEXIST);
	assert_string_equal(owner.address, "ipc:///a");
	assert_non_null(strstr(error.message, "'till'"));
	assert_non_null(strstr(error.message, "ipc:///a"));

	assert_int_equal(ormd_directory_find(t.b.directory, "till", soon(), &owner, &error), ORM_OK);
	assert_string_equal(owner.address, "ipc:///a");
	assert_false(owner.is_own);
	assert_int_equal(ormd_directory_find(t.a.directory, "till", soon(), &owner, &error), ORM_OK);
	assert_true(owner.is_own);
	assert_int_equal(ormd_directory_find(t.a.directory, "else", soon(), &owner, &error), ORM_OK);
	assert_string_equal(owner.address, "");
	assert_false(owner.is_own);
	tear_down_two(&t);
}

static void names_differ_by_any_byte(void **state)
{
	static const char *const names[] = {"till", "Till", "till ", "tíll", "'; DROP TABLE users; --"};
	two t;
	int64_t fence;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		must_claim(i % 2 ? &t.a : &t.b, names[i], &fence);
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_session\""), "5");
	tear_down_two(&t);
}

static bool is_nobodys(void *context)
{
	two *t = context;

	return strcmp(ask(&t->f, "SELECT count(*) FROM \"ormd_session\""), "0") == 0;
}

static void a_released_name_is_free_and_only_its_own_fence_releases_it(void **state)
{
	two t;
	int64_t first = 0, second = 0;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	must_claim(&t.a, "till", &first);
	ormd_directory_release(t.a.directory, "till", first);
	assert_true(support_eventually(is_nobodys, &t, SUPPORT_PATIENCE_MS));
	must_claim(&t.b, "till", &second);
	assert_int_not_equal(first, second);

	/* A late one of the earlier claim changes nothing: its job is over when the database is closed. */
	ormd_directory_release(t.a.directory, "till", first);
	close_server(&t.a);
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_session\""), "1");
	close_server(&t.b);
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_session\""), "0");
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_server\""), "0");
	teardown_database_at(&t.f);
}

typedef struct racer {
	pthread_t thread;
	const server *server;
	pthread_barrier_t *start;
	orm_status status;
	int64_t fence;
	ormd_directory_owner owner;
	orm_error error;
} racer;

static void *race(void *context)
{
	racer *r = context;

	pthread_barrier_wait(r->start);
	r->status = ormd_directory_claim(r->server->directory, "till", soon(), &r->fence, &r->owner, &r->error);
	return NULL;
}

/* Both servers at once, with several threads each: one of the servers has it, and the other's learn that. */
static void check_race(two *t)
{
	racer racers[N_THREADS] = {0};
	pthread_barrier_t start;
	const char *winner;
	int n_by[2] = {0};

	pthread_barrier_init(&start, NULL, N_THREADS);
	for (int i = 0; i < N_THREADS; i++) {
		racers[i].server = i % 2 ? &t->a : &t->b;
		racers[i].start = &start;
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(racers[i].thread, NULL);
	pthread_barrier_destroy(&start);
	for (int i = 0; i < N_THREADS; i++) {
		if (racers[i].status == ORM_OK)
			n_by[i % 2]++;
		else if (racers[i].status != ORM_EEXIST)
			fail_msg("%s", racers[i].error.message);
	}
	assert_true((n_by[0] == N_THREADS / 2 && n_by[1] == 0) || (n_by[1] == N_THREADS / 2 && n_by[0] == 0));
	winner = n_by[1] ? "ipc:///a" : "ipc:///b";
	for (int i = 0; i < N_THREADS; i++) {
		if (racers[i].status == ORM_EEXIST)
			assert_string_equal(racers[i].owner.address, winner);
	}
	assert_string_equal(ask(&t->f, "SELECT o.\"address\" FROM \"ormd_session\" s JOIN \"ormd_server\" o ON "
				       "o.\"id\" = s.\"server_id\""),
			    winner);
}

static void of_many_at_once_one_server_gets_it(void **state)
{
	two t;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	for (int i = 0; i < 5; i++) {
		check_race(&t);
		outside(&t.f, "DELETE FROM \"ormd_session\"");
	}
	tear_down_two(&t);
}

/* ---- death -------------------------------------------------------------------------------------------------- */

static void a_dead_servers_name_is_taken_over_by_one(void **state)
{
	two t;
	server c;
	int64_t fence;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	open_server(&c, t.f.url, "ipc:///c");
	must_claim(&c, "till", &fence);
	let_die(&t.f, "ipc:///c");
	check_race(&t);
	/* Who took it over removed the dead one. */
	assert_string_equal(ask(&t.f, "SELECT \"address\" FROM \"ormd_server\" ORDER BY 1"), "ipc:///a;ipc:///b");
	close_server(&c);
	tear_down_two(&t);
}

static void who_renews_removes_the_dead_and_what_they_had(void **state)
{
	two t;
	orm_error error = {0};
	int64_t fence, lost;
	bool forgotten = true, holds;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	must_claim(&t.a, "one", &fence);
	must_claim(&t.a, "two", &lost);
	must_claim(&t.b, "three", &fence);
	let_die(&t.f, "ipc:///a");
	assert_int_equal(ormd_directory_renew(t.b.directory, soon(), &forgotten, &error), ORM_OK);
	assert_false(forgotten);
	assert_string_equal(ask(&t.f, "SELECT \"address\" FROM \"ormd_server\""), "ipc:///b");
	assert_string_equal(ask(&t.f, "SELECT \"name\" FROM \"ormd_session\""), "three");
	assert_int_equal(ormd_directory_holds(t.b.directory, "three", fence, soon(), &holds, &error), ORM_OK);
	assert_true(holds);
	assert_int_equal(ormd_directory_holds(t.a.directory, "two", lost, soon(), &holds, &error), ORM_OK);
	assert_false(holds);

	/* It was not dead after all: it is told, and serves again. */
	assert_int_equal(ormd_directory_renew(t.a.directory, soon(), &forgotten, &error), ORM_OK);
	assert_true(forgotten);
	must_claim(&t.a, "one", &fence);
	assert_int_equal(ormd_directory_renew(t.a.directory, soon(), &forgotten, &error), ORM_OK);
	assert_false(forgotten);
	assert_string_equal(ask(&t.f, "SELECT \"name\" FROM \"ormd_session\" ORDER BY 1"), "one;three");
	tear_down_two(&t);
}

static void who_renews_in_time_lives_again(void **state)
{
	two t;
	ormd_directory_owner owner;
	orm_error error = {0};
	int64_t fence;
	bool forgotten;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	must_claim(&t.a, "till", &fence);
	let_die(&t.f, "ipc:///a");
	assert_int_equal(ormd_directory_renew(t.a.directory, soon(), &forgotten, &error), ORM_OK);
	assert_false(forgotten);
	assert_int_equal(ormd_directory_claim(t.b.directory, "till", soon(), &fence, &owner, &error), ORM_EEXIST);
	tear_down_two(&t);
}

/* Units that occupy all connections, as those do that wait for a lock. */
typedef struct crowd {
	ormd_database *database;
	pthread_barrier_t in, out;
} crowd;

static orm_status run_waiting(ormd_connection *connection, void *context, orm_error *error)
{
	crowd *c = context;

	(void)connection;
	(void)error;
	pthread_barrier_wait(&c->in);
	pthread_barrier_wait(&c->out);
	return ORM_OK;
}

static void *wait_in_unit(void *context)
{
	crowd *c = context;
	ormd_job job = {.run = run_waiting, .context = c, .end = ORMD_JOB_ROLLBACK};
	orm_error error;

	ormd_database_run(c->database, &job, &error);
	return NULL;
}

static void a_server_lives_while_all_its_units_wait(void **state)
{
	enum { N_WRITERS = 8 };
	pthread_t threads[N_WRITERS];
	two t;
	crowd c;
	orm_error error = {0};
	bool forgotten = true;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	c.database = t.a.database;
	pthread_barrier_init(&c.in, NULL, N_WRITERS + 1);
	pthread_barrier_init(&c.out, NULL, N_WRITERS + 1);
	for (int i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_in_unit, &c), 0);
	pthread_barrier_wait(&c.in);
	let_die(&t.f, "ipc:///a");
	assert_int_equal(ormd_directory_renew(t.a.directory, soon(), &forgotten, &error), ORM_OK);
	assert_false(forgotten);
	assert_int_equal(ormd_directory_renew(t.b.directory, soon(), &forgotten, &error), ORM_OK);
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_server\""), "2");
	pthread_barrier_wait(&c.out);
	for (int i = 0; i < N_WRITERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&c.in);
	pthread_barrier_destroy(&c.out);
	tear_down_two(&t);
}

static void servers_are_listed_with_what_they_have(void **state)
{
	two t;
	orm_error error = {0};
	ormd_directory_server *servers = NULL;
	size_t n = 0, n_dead = 0;
	int64_t fence;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	must_claim(&t.a, "one", &fence);
	must_claim(&t.a, "two", &fence);
	let_die(&t.f, "ipc:///b");
	assert_int_equal(ormd_directory_list(t.a.directory, soon(), &t.f.arena, &servers, &n, &error), ORM_OK);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		const bool is_a = strcmp(servers[i].address, "ipc:///a") == 0;

		assert_int_equal(servers[i].n_sessions, is_a ? 2 : 0);
		assert_int_equal(servers[i].is_own, is_a);
		assert_int_equal(servers[i].is_dead, !is_a);
		assert_true(servers[i].host[0] != '\0');
		n_dead += servers[i].is_dead;
	}
	assert_int_equal(n_dead, 1);
	tear_down_two(&t);
}

/* ---- commits ------------------------------------------------------------------------------------------------ */

static void a_session_that_was_taken_over_commits_nothing(void **state)
{
	two t;
	int64_t old = 0, new = 0;

	(void)state;
	ONLY_WHERE_SEVERAL_SERVE();
	set_up_two(&t);
	new_session(&t.f, "till");
	must_claim(&t.a, "till", &old);
	ormd_session_set_fence(t.f.session, old);
	add(&t.f, "Team", "name", "before");
	commit(&t.f);
	assert_string_equal(ask(&t.f, "SELECT \"commits\" FROM \"ormd_session\""), "1");

	let_die(&t.f, "ipc:///a");
	must_claim(&t.b, "till", &new);

	add(&t.f, "Team", "name", "after");
	assert_int_equal(try_commit(&t.f), ORM_ELOST);
	assert_non_null(strstr(t.f.error.message, "'till'"));
	assert_non_null(strstr(t.f.error.message, "another server took"));
	assert_string_equal(ask(&t.f, "SELECT \"name\" FROM \"teams\""), "before");
	assert_string_equal(ask(&t.f, "SELECT count(*) FROM \"ormd_commit\""), "1");

	/* And its new owner's do. */
	new_session(&t.f, "till");
	ormd_session_set_fence(t.f.session, new);
	add(&t.f, "Team", "name", "new");
	commit(&t.f);
	assert_string_equal(ask(&t.f, "SELECT \"name\" FROM \"teams\" ORDER BY 1"), "before;new");
	tear_down_two(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_database_of_one_server_has_no_directory),
		cmocka_unit_test(a_name_belongs_to_whom_claims_it_first),
		cmocka_unit_test(names_differ_by_any_byte),
		cmocka_unit_test(a_released_name_is_free_and_only_its_own_fence_releases_it),
		cmocka_unit_test(of_many_at_once_one_server_gets_it),
		cmocka_unit_test(a_dead_servers_name_is_taken_over_by_one),
		cmocka_unit_test(who_renews_removes_the_dead_and_what_they_had),
		cmocka_unit_test(who_renews_in_time_lives_again),
		cmocka_unit_test(a_server_lives_while_all_its_units_wait),
		cmocka_unit_test(servers_are_listed_with_what_they_have),
		cmocka_unit_test(a_session_that_was_taken_over_commits_nothing),
	};

	return cmocka_run_group_tests_name("directory", tests, NULL, NULL);
}
