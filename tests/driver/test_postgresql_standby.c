/* SPDX-License-Identifier: MIT */
/* A commit that waits for a synchronous standby, on a server of the test's own. */
#include "driver/postgresql_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "support/eventually.h"
#include "support/postgresql.h"

typedef struct commit_in_thread {
	ormd_connection *connection, *other;
	int64_t number; /* of the row */
	pthread_t thread;
	atomic_bool ended;
	orm_error error;
} commit_in_thread;

static void *commit_it(void *context)
{
	commit_in_thread *commit = context;

	commit->connection->driver->commit(commit->connection, &commit->error);
	atomic_store(&commit->ended, true);
	return NULL;
}

static bool waits_or_has_ended(void *context)
{
	commit_in_thread *commit = context;

	return atomic_load(&commit->ended) ||
	       ask_int64(commit->other, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0;
}

/* Begin to commit a row, and see whether that has to wait. */
static bool commit_waits(void *context)
{
	commit_in_thread *commit = context;
	ormd_connection *c = commit->connection;
	orm_error error;
	char sql[100];

	atomic_store(&commit->ended, false);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	snprintf(sql, sizeof sql, "INSERT INTO counts VALUES (%lld)", (long long)++commit->number);
	run_sql(c, sql);
	assert_int_equal(pthread_create(&commit->thread, NULL, commit_it, commit), 0);
	assert_true(support_eventually(waits_or_has_ended, commit, SUPPORT_PATIENCE_MS));
	if (!atomic_load(&commit->ended))
		return true;
	assert_int_equal(pthread_join(commit->thread, NULL), 0);
	return false;
}

static void a_wait_for_the_standby_that_was_given_up_leaves_doubt(void **state)
{
	support_postgresql server = {0};
	char url[SUPPORT_PATH_SIZE];
	commit_in_thread commit = {0};
	ormd_connection *c, *other;
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
	commit.connection = c;
	commit.other = other;

	const int64_t pid = backend_pid(c);

	/* The server's processes hear of it one after the other. */
	assert_true(support_eventually(commit_waits, &commit, SUPPORT_PATIENCE_MS));
	snprintf(sql, sizeof sql, "SELECT pg_cancel_backend(%lld)::int::int8", (long long)pid);
	assert_int_equal(ask_int64(other, sql), 1);
	assert_int_equal(pthread_join(commit.thread, NULL), 0);
	assert_int_equal(commit.error.code, ORM_EUNKNOWN);
	assert_int_equal(ask_int64(other, "SELECT max(id) FROM counts"), commit.number); /* here, but nowhere else */

	/* The next commit's answer is its own. */
	support_postgresql_stand_alone(&server);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (0)");
	expect_ok(c->driver->commit(c, &error), &error);
	assert_int_equal(ask_int64(other, "SELECT min(id) FROM counts"), 0);
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
