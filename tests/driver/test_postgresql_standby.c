/* SPDX-License-Identifier: MIT */
/* A commit that waits for a synchronous standby, on a server of the test's own. */
#include "driver/postgresql_support.h"

#include <pthread.h>
#include <stdio.h>

#include "support/eventually.h"
#include "support/postgresql.h"

typedef struct commit_in_thread {
	ormd_connection *connection;
	orm_error error;
} commit_in_thread;

static void *commit_it(void *context)
{
	commit_in_thread *commit = context;

	commit->connection->driver->commit(commit->connection, &commit->error);
	return NULL;
}

static bool somebody_waits_for_the_standby(void *connection)
{
	return ask_int64(connection, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0;
}

static bool standby_is_wanted(void *connection)
{
	return ask_int64(connection, "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND "
				     "setting = 'nobody'") == 1;
}

static void a_wait_for_the_standby_that_was_given_up_leaves_doubt(void **state)
{
	support_postgresql server = {0};
	char url[SUPPORT_PATH_SIZE];
	commit_in_thread commit = {0};
	ormd_connection *c, *other;
	pthread_t thread;
	orm_error error;
	char sql[100];

	(void)state;
	support_postgresql_start(&server);
	support_postgresql_url(&server, "postgres", url);
	c = open_again(url, false);
	other = open_again(url, false);
	run_sql(c, "CREATE TABLE counts (id int8 PRIMARY KEY)");
	run_sql(other, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	assert_int_equal(ask_int64(other, "SELECT pg_reload_conf()::int::int8"), 1);
	assert_true(support_eventually(standby_is_wanted, other, SUPPORT_PATIENCE_MS));

	const int64_t pid = backend_pid(c);

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1)");
	commit.connection = c;
	assert_int_equal(pthread_create(&thread, NULL, commit_it, &commit), 0);
	assert_true(support_eventually(somebody_waits_for_the_standby, other, SUPPORT_PATIENCE_MS));
	snprintf(sql, sizeof sql, "SELECT pg_cancel_backend(%lld)::int::int8", (long long)pid);
	assert_int_equal(ask_int64(other, sql), 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(commit.error.code, ORM_EUNKNOWN);
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM counts"), 1); /* here, but nowhere else */

	/* The next commit's answer is its own. */
	run_sql(other, "ALTER SYSTEM RESET synchronous_standby_names");
	assert_int_equal(ask_int64(other, "SELECT pg_reload_conf()::int::int8"), 1);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (2)");
	expect_ok(c->driver->commit(c, &error), &error);
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM counts"), 2);
	c->driver->close(c);
	other->driver->close(other);
	support_postgresql_remove(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_for_the_standby_that_was_given_up_leaves_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
