/* SPDX-License-Identifier: MIT */
/* Connections, transactions, and the end of both. */
#include "driver/postgresql_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "driver/postgresql_internal.h"
#include "support/eventually.h"

static const char create_counts[] = "CREATE TABLE counts (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";

static void expect_url_error(const char *url, orm_status status, const char *message)
{
	const ormd_open_options options = {.url = url, .deadline_us = orm_deadline_in_ms(SUPPORT_PATIENCE_MS)};
	orm_error error;

	assert_null(ormd_driver_postgresql.open(&options, &error));
	if (error.code != status || !strstr(error.message, message))
		fail_msg("%s: %s: %s", url, orm_status_name(error.code), error.message);
	assert_null(strstr(error.message, "s3cret"));
}

static void urls_that_lead_nowhere_are_refused(void **state)
{
	(void)state;
	expect_url_error("postgresql://u:s3cret@[::1/db", ORM_EINVAL, "postgresql://user@host");
	expect_url_error("postgresql://u:s3cret@h/db?no_such_option=1", ORM_EINVAL, "libpq");
	expect_url_error("postgresql://u:s3cret@/db?host=/no/such/directory", ORM_EUNAVAILABLE, "/no/such/directory");
	expect_url_error("postgresql://u:s3cret@/db?host=/no/such/one,/no/such/two", ORM_EUNAVAILABLE, "/no/such/two");
}

/* The first host's directory has no server in it; the second's has. */
static void hosts_are_tried_in_turn(void **state)
{
	char url[ENGINE_URL_SIZE];
	char both[2 * ENGINE_URL_SIZE];
	const char *hosts;
	ormd_connection *c;

	(void)state;
	engine_database(ENGINE_POSTGRESQL, url);
	hosts = strstr(url, "host=");
	assert_non_null(hosts);
	hosts += strlen("host=");
	snprintf(both, sizeof both, "postgres%.*s%s,%s", (int)(hosts - url - 10), url + 10, support_tempdir(), hosts);
	c = open_again(both, false);
	assert_int_equal(ask_int64(c, "SELECT 7::int8"), 7);
	c->driver->close(c);
}

static void sessions_are_set_up(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);

	(void)state;
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM pg_settings WHERE (name, setting) IN (('TimeZone', 'UTC'), "
				      "('idle_in_transaction_session_timeout', '60000'), ('lock_timeout', '20000'), "
				      "('client_connection_check_interval', '1000'), ('client_encoding', 'UTF8'), "
				      "('application_name', 'ormd'), ('default_transaction_read_only', 'off'))"),
			 7);
	assert_int_equal(ask_int64(c, "SELECT pg_backend_pid()::int8"), backend_pid(c));
	assert_true(c->driver->is_alive(c));
	c->driver->close(c);
	ormd_driver_postgresql.close(NULL);
}

/* ---- transactions ------------------------------------------------------------------------------------------- */

static void begin_travels_with_the_first_statement(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	assert_true(c->driver->in_transaction(c));
	assert_int_equal(engine_ask_number(url, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND "
						"datname = current_database()"),
			 0);
	expect_ok(c->driver->commit(c, &error), &error);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(c->driver->commit(c, &error), ORM_EDATABASE);

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	expect_ok(write_row(c, "INSERT INTO counts VALUES (1, 1)", NULL, 0, &error), &error);
	assert_int_equal(engine_ask_number(url, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND "
						"datname = current_database()"),
			 1);
	c->driver->rollback(c);
	assert_false(c->driver->in_transaction(c));
	c->driver->rollback(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM counts"), 0);

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1, 1); INSERT INTO counts VALUES (2, 2)");
	assert_true(c->driver->in_transaction(c));
	c->driver->rollback(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM counts"), 0);
	c->driver->close(c);
}

static void isolation_is_as_asked_for(void **state)
{
	static const struct {
		orm_isolation isolation;
		const char *level;
		const char *reader;
	} cases[] = {
		{ORM_ISOLATION_DEFAULT, "read committed", "repeatable read"},
		{ORM_READ_COMMITTED, "read committed", "repeatable read"},
		{ORM_REPEATABLE_READ, "repeatable read", "repeatable read"},
		{ORM_SERIALIZABLE, "serializable", "serializable"},
	};
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	ormd_connection *reader = open_again(url, true);
	char sql[128];
	orm_error error;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		expect_ok(c->driver->begin(c, cases[i].isolation, &error), &error);
		snprintf(sql, sizeof sql, "SELECT (current_setting('transaction_isolation') = '%s')::int4",
			 cases[i].level);
		assert_int_equal(ask_int64(c, sql), 1);
		expect_ok(c->driver->commit(c, &error), &error);
		expect_ok(c->driver->begin(reader, cases[i].isolation, &error), &error);
		snprintf(sql, sizeof sql, "SELECT (current_setting('transaction_isolation') = '%s')::int4",
			 cases[i].reader);
		assert_int_equal(ask_int64(reader, sql), 1);
		c->driver->rollback(reader);
	}
	c->driver->close(c);
	reader->driver->close(reader);
}

static void a_reader_keeps_its_snapshot_and_cannot_write(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	ormd_connection *reader = open_again(url, true);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	expect_ok(reader->driver->begin(reader, ORM_ISOLATION_DEFAULT, &error), &error);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM counts"), 0);
	run_sql(c, "INSERT INTO counts VALUES (1, 1)");
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM counts"), 0);
	reader->driver->rollback(reader);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM counts"), 1);
	assert_int_equal(write_row(reader, "DELETE FROM counts", NULL, 0, &error), ORM_EDATABASE);
	assert_false(reader->lost);
	c->driver->close(c);
	reader->driver->close(reader);
}

static void savepoints_nest(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	expect_ok(c->driver->savepoint(c, 1, &error), &error);
	expect_ok(write_row(c, "INSERT INTO counts VALUES (1, 1)", NULL, 0, &error), &error);
	expect_ok(c->driver->savepoint(c, 2, &error), &error);
	expect_ok(write_row(c, "INSERT INTO counts VALUES (2, 2)", NULL, 0, &error), &error);
	/* A failure ends the transaction for the server; the savepoint brings it back. */
	assert_int_equal(write_row(c, "INSERT INTO counts VALUES (1, 1)", NULL, 0, &error), ORM_ECONSTRAINT);
	assert_true(c->driver->in_transaction(c));
	expect_ok(c->driver->rollback_to(c, 2, &error), &error);
	expect_ok(write_row(c, "INSERT INTO counts VALUES (3, 3)", NULL, 0, &error), &error);
	expect_ok(c->driver->release(c, 1, &error), &error);
	expect_ok(c->driver->commit(c, &error), &error);
	assert_int_equal(ask_int64(c, "SELECT sum(id)::int8 FROM counts"), 4);

	/* One that was opened and undone before anything was sent. */
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	expect_ok(c->driver->savepoint(c, 1, &error), &error);
	expect_ok(c->driver->rollback_to(c, 1, &error), &error);
	expect_ok(c->driver->commit(c, &error), &error);
	c->driver->close(c);
}

/* The server answers COMMIT of a failed transaction with success. */
static void a_failed_transaction_does_not_commit(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1, 1)");
	assert_int_equal(write_row(c, "INSERT INTO counts VALUES (1, 1)", NULL, 0, &error), ORM_ECONSTRAINT);
	assert_int_equal(c->driver->commit(c, &error), ORM_EDATABASE);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM counts"), 0);
	c->driver->close(c);
}

static void deferred_constraints_can_be_asked_for(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, "CREATE TABLE nodes (id BIGINT PRIMARY KEY, parent BIGINT, "
		   "CONSTRAINT fk_nodes_parent_nodes FOREIGN KEY (parent) REFERENCES nodes (id) DEFERRABLE)");
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, ormd_dialect_postgresql.defer_foreign_keys);
	run_sql(c, "INSERT INTO nodes VALUES (1, 2)");
	assert_int_equal(c->driver->check_deferred(c, &error), ORM_ECONSTRAINT);
	assert_string_equal(error.model, "nodes");
	assert_string_equal(error.column, "parent");
	run_sql(c, "INSERT INTO nodes VALUES (2, 1)"); /* still deferred */
	expect_ok(c->driver->check_deferred(c, &error), &error);
	run_sql(c, "INSERT INTO nodes VALUES (3, 9)");
	assert_int_equal(c->driver->commit(c, &error), ORM_ECONSTRAINT);
	assert_string_equal(error.column, "parent");
	assert_non_null(strstr(error.message, "at the end of the unit"));
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM nodes"), 0);
	c->driver->close(c);
}

/* ---- stopping ----------------------------------------------------------------------------------------------- */

static void a_deadline_stops_a_statement(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	c->deadline_us = orm_clock_us() + 50000;
	assert_int_equal(c->driver->run(c, "SELECT pg_sleep(600)", &error), ORM_ETIMEOUT);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_ETIMEOUT); /* it is past: nothing is sent */
	c->deadline_us = 0;
	assert_false(c->lost);
	assert_int_equal(ask_int64(c, "SELECT 5::int8"), 5);

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	c->deadline_us = orm_clock_us() + 50000;
	assert_int_equal(write_row(c, "SELECT pg_sleep(600)", NULL, 0, &error), ORM_ETIMEOUT);
	c->driver->rollback(c); /* although the deadline is past */
	assert_false(c->driver->in_transaction(c));
	assert_false(c->lost);
	c->driver->close(c);
}

typedef struct long_query {
	ormd_connection *connection;
	atomic_bool ended;
	orm_error error;
} long_query;

static void *sleep_for_long(void *context)
{
	long_query *query = context;

	query->connection->driver->run(query->connection, "SELECT pg_sleep(600)", &query->error);
	atomic_store(&query->ended, true);
	return NULL;
}

/* The statement may not have started when the first interrupt comes: so it is asked until it has ended. */
static bool interrupt_ended(void *context)
{
	long_query *query = context;

	query->connection->driver->interrupt(query->connection);
	return atomic_load(&query->ended);
}

static void a_statement_can_be_cancelled_from_another_thread(void **state)
{
	long_query query = {.connection = open_fresh(NULL)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, sleep_for_long, &query), 0);
	assert_true(support_eventually(interrupt_ended, &query, SUPPORT_PATIENCE_MS));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(query.error.code, ORM_ECANCELLED);
	query.connection->driver->interrupt(query.connection); /* nothing runs: it hits nothing later */
	assert_int_equal(ask_int64(query.connection, "SELECT 1::int8"), 1);
	query.connection->driver->close(query.connection);
}

/* ---- losing ------------------------------------------------------------------------------------------------- */

static void terminate(const char *url, const ormd_connection *c)
{
	char sql[200];

	snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld, 30000)", (long long)backend_pid(c));
	assert_int_equal(engine_ask_number(url, sql), 1);
}

static void a_lost_connection_is_said_to_be(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	terminate(url, c);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_EUNAVAILABLE);
	assert_true(c->lost);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_EUNAVAILABLE);
	assert_false(c->driver->is_alive(c));
	c->driver->rollback(c);
	c->driver->close(c);

	/* Before COMMIT was sent there is no doubt. */
	c = open_again(url, false);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1, 1)");
	terminate(url, c);
	assert_int_equal(c->driver->commit(c, &error), ORM_EUNAVAILABLE);
	assert_true(c->lost);
	c->driver->close(c);
	assert_int_equal(engine_ask_number(url, "SELECT count(*) FROM counts"), 0);
}

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

static bool somebody_waits(void *url)
{
	return engine_ask_number(url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname "
				      "= current_database()") > 0;
}

/* A deferred trigger makes the commit take its time. */
static void losing_the_connection_during_commit_leaves_doubt(void **state)
{
	char url[ENGINE_URL_SIZE];
	commit_in_thread commit = {.connection = open_fresh(url)};
	ormd_connection *c = commit.connection;
	ormd_connection *settler;
	pthread_t thread;
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	run_sql(c,
		"CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN "
		"NULL; END';"
		"CREATE CONSTRAINT TRIGGER lingers AFTER INSERT ON counts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
		"EXECUTE FUNCTION linger()");
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1, 1)");
	assert_int_equal(pthread_create(&thread, NULL, commit_it, &commit), 0);
	assert_true(support_eventually(somebody_waits, url, SUPPORT_PATIENCE_MS));
	settler = open_again(url, false);
	expect_ok(settler->driver->end_backend(settler, c->backend, &error), &error);
	assert_int_equal(engine_ask_number(url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
						"AND datname = current_database()"),
			 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(commit.error.code, ORM_EUNKNOWN);
	assert_true(c->lost);
	assert_false(c->driver->in_transaction(c));
	expect_ok(settler->driver->end_backend(settler, c->backend, &error), &error); /* it is gone */
	expect_ok(settler->driver->end_backend(settler, "1/1/1", &error), &error);    /* and so is that server */
	assert_int_equal(settler->driver->end_backend(settler, "nonsense", &error), ORM_EINVAL);
	settler->driver->close(settler);
	c->driver->close(c);
}

static void a_commit_that_is_not_answered_in_time_is_in_doubt(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;

	(void)state;
	run_sql(c, create_counts);
	run_sql(c,
		"CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN "
		"NULL; END';"
		"CREATE CONSTRAINT TRIGGER lingers AFTER INSERT ON counts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
		"EXECUTE FUNCTION linger()");
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "INSERT INTO counts VALUES (1, 1)");
	c->deadline_us = orm_clock_us() + 100000;
	assert_int_equal(c->driver->commit(c, &error), ORM_EUNKNOWN);
	assert_true(c->lost);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_that_lead_nowhere_are_refused),
		cmocka_unit_test(hosts_are_tried_in_turn),
		cmocka_unit_test(sessions_are_set_up),
		cmocka_unit_test(begin_travels_with_the_first_statement),
		cmocka_unit_test(isolation_is_as_asked_for),
		cmocka_unit_test(a_reader_keeps_its_snapshot_and_cannot_write),
		cmocka_unit_test(savepoints_nest),
		cmocka_unit_test(a_failed_transaction_does_not_commit),
		cmocka_unit_test(deferred_constraints_can_be_asked_for),
		cmocka_unit_test(a_deadline_stops_a_statement),
		cmocka_unit_test(a_statement_can_be_cancelled_from_another_thread),
		cmocka_unit_test(a_lost_connection_is_said_to_be),
		cmocka_unit_test(losing_the_connection_during_commit_leaves_doubt),
		cmocka_unit_test(a_commit_that_is_not_answered_in_time_is_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
