/* SPDX-License-Identifier: MIT */
/* The cache of prepared statements. */
#include "driver/postgresql_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/postgresql_internal.h"

static const char count_prepared[] =
	"SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 + $1%'";

static int64_t ask_with(ormd_connection *c, const char *sql, const orm_value *value)
{
	int64_t cell = 0;
	bool null;
	orm_error error;

	expect_ok(ormd_pg_ask(pg_of(c), sql, value, 1, &cell, &null, 1, &error), &error);
	return cell;
}

static void the_same_text_is_prepared_once(void **state)
{
	const orm_value two = typed(ORM_INT64, 2);
	const orm_value small = typed(ORM_INT32, 3);
	ormd_connection *c = open_fresh(NULL);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask_with(c, "SELECT 1 + $1", &two), 3);
	assert_int_equal(ask_int64(c, count_prepared), 1);
	assert_int_equal(ask_with(c, "SELECT 1 + $1", &small), 4); /* another type: another statement */
	assert_int_equal(ask_int64(c, count_prepared), 2);
	c->driver->close(c);
}

static void the_longest_unused_leave_first(void **state)
{
	const orm_value two = typed(ORM_INT64, 2);
	ormd_connection *c = open_fresh(NULL);
	char sql[64];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(sql, sizeof sql, "SELECT 1 + $1 + %d", i);
		assert_int_equal(ask_with(c, sql, &two), 3 + i);
		assert_int_equal(ask_with(c, "SELECT 1 + $1", &two), 3);
	}
	assert_true(ask_int64(c, count_prepared) <= 256);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 1 + $1'"),
			 1);
	c->driver->close(c);
}

static void a_huge_statement_is_not_kept(void **state)
{
	const orm_value two = typed(ORM_INT64, 2);
	ormd_connection *c = open_fresh(NULL);
	char *sql = malloc(60000);

	(void)state;
	memset(sql, ' ', 60000);
	memcpy(sql, "SELECT 1 + $1", strlen("SELECT 1 + $1"));
	sql[59999] = '\0';
	assert_int_equal(ask_with(c, sql, &two), 3);
	assert_int_equal(ask_with(c, sql, &two), 3);
	assert_int_equal(ask_int64(c, "SELECT 1::int8"), 1);
	assert_int_equal(ask_int64(c, count_prepared), 0);
	free(sql);
	c->driver->close(c);
}

/* A statement that failed to be prepared is prepared the next time. */
static void failures_are_not_kept(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	const orm_value two = typed(ORM_INT64, 2);
	orm_error error;

	(void)state;
	assert_int_equal(write_row(c, "INSERT INTO t VALUES ($1)", &two, 1, &error), ORM_EDATABASE);
	run_sql(c, "CREATE TABLE t (id BIGINT PRIMARY KEY)");
	expect_ok(write_row(c, "INSERT INTO t VALUES ($1)", &two, 1, &error), &error);
	assert_int_equal(write_row(c, "INSERT INTO t VALUES ($1)", &two, 1, &error), ORM_ECONSTRAINT);

	/* Sent behind a failure, it never came to be. */
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	assert_int_equal(write_row(c, "INSERT INTO t VALUES ($1)", &two, 1, &error), ORM_ECONSTRAINT);
	assert_int_equal(write_row(c, "DELETE FROM t WHERE id = $1", &two, 1, &error), ORM_EDATABASE);
	c->driver->rollback(c);
	expect_ok(write_row(c, "DELETE FROM t WHERE id = $1", &two, 1, &error), &error);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM t"), 0);
	c->driver->close(c);
}

/* "cached plan must not change result type", and a statement that somebody deallocated. */
static void outdated_statements_are_prepared_again(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	orm_error error;
	const uint8_t type = ORM_INT64;

	(void)state;
	run_sql(c, "CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (7)");
	assert_int_equal(ask_int64(c, "SELECT id FROM t"), 7);
	engine_run(url, "ALTER TABLE t ALTER COLUMN id TYPE BIGINT");
	assert_int_equal(ask_int64(c, "SELECT id FROM t"), 7);
	engine_run(url, "ALTER TABLE t ALTER COLUMN id TYPE INTEGER");
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	assert_null(c->driver->query(c, "SELECT id FROM t", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_ERETRY);
	c->driver->rollback(c);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	assert_int_equal(ask_int64(c, "SELECT id FROM t"), 7);
	expect_ok(c->driver->commit(c, &error), &error);

	run_sql(c, "DEALLOCATE ALL");
	assert_int_equal(ask_int64(c, "SELECT id FROM t"), 7);
	run_sql(c, "DEALLOCATE ALL");
	assert_int_equal(write_row(c, "DELETE FROM t", NULL, 0, &error), ORM_OK);
	run_sql(c, "DEALLOCATE ALL");
	assert_int_equal(write_row(c, "DELETE FROM t", NULL, 0, &error), ORM_ERETRY);
	assert_int_equal(write_row(c, "DELETE FROM t", NULL, 0, &error), ORM_OK);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_text_is_prepared_once),
		cmocka_unit_test(the_longest_unused_leave_first),
		cmocka_unit_test(a_huge_statement_is_not_kept),
		cmocka_unit_test(failures_are_not_kept),
		cmocka_unit_test(outdated_statements_are_prepared_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
