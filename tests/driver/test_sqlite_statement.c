/* SPDX-License-Identifier: MIT */
/* The cache of prepared statements. */
#include "driver/support.h"

#include <stdio.h>
#include <string.h>

#include "driver/sqlite_internal.h"

static void the_same_text_is_prepared_once(void **state)
{
	ormd_connection *c = open_connection("sqlite:///:memory:", false);
	sqlite_connection *sqlite = sqlite_of(c);
	sqlite_statement *first = ormd_sqlite_take(sqlite, "SELECT ?", NULL);
	sqlite3_stmt *handle = first->handle;
	sqlite_statement *second;

	(void)state;
	assert_true(first->base.cached);
	second = ormd_sqlite_take(sqlite, "SELECT ?", NULL); /* in use: another one, just for now */
	assert_ptr_not_equal(second->handle, handle);
	assert_false(second->base.cached);
	ormd_sqlite_give(sqlite, second);
	ormd_sqlite_give(sqlite, first);
	first = ormd_sqlite_take(sqlite, "SELECT ?", NULL);
	assert_ptr_equal(first->handle, handle);
	ormd_sqlite_give(sqlite, first);
	ormd_sqlite_give(sqlite, NULL);
	c->driver->close(c);
}

/* Values must not live on in a statement: the next use of it may bind fewer, and they are not ours any more. */
static void given_back_it_is_reset_and_empty(void **state)
{
	ormd_connection *c = open_connection("sqlite:///:memory:", false);
	sqlite_connection *sqlite = sqlite_of(c);
	sqlite_statement *statement = ormd_sqlite_take(sqlite, "SELECT ?", NULL);
	const orm_value value = text_value("secret");

	(void)state;
	assert_int_equal(ormd_sqlite_bind(sqlite, statement, &value, 1, false, NULL), ORM_OK);
	assert_int_equal(sqlite3_step(statement->handle), SQLITE_ROW);
	assert_true(sqlite3_stmt_busy(statement->handle));
	ormd_sqlite_give(sqlite, statement);
	assert_ptr_equal(ormd_sqlite_take(sqlite, "SELECT ?", NULL), statement);
	assert_false(sqlite3_stmt_busy(statement->handle));
	assert_int_equal(sqlite3_step(statement->handle), SQLITE_ROW);
	assert_int_equal(sqlite3_column_type(statement->handle, 0), SQLITE_NULL);
	ormd_sqlite_give(sqlite, statement);
	c->driver->close(c);
}

static void the_longest_unused_leave_first(void **state)
{
	ormd_connection *c = open_connection("sqlite:///:memory:", false);
	sqlite_connection *sqlite = sqlite_of(c);
	sqlite_statement *used = ormd_sqlite_take(sqlite, "SELECT 'in use'", NULL);
	sqlite_statement *often;
	sqlite3_stmt *often_handle;
	char sql[64];

	(void)state;
	often = ormd_sqlite_take(sqlite, "SELECT 'often'", NULL);
	often_handle = often->handle;
	ormd_sqlite_give(sqlite, often);
	for (int i = 0; i < 1000; i++) {
		snprintf(sql, sizeof sql, "SELECT %d", i);
		ormd_sqlite_give(sqlite, ormd_sqlite_take(sqlite, sql, NULL));
		often = ormd_sqlite_take(sqlite, "SELECT 'often'", NULL);
		assert_ptr_equal(often->handle, often_handle);
		ormd_sqlite_give(sqlite, often);
	}
	assert_true(sqlite->statements.by_hash.len <= 256);
	assert_int_equal(sqlite3_step(used->handle), SQLITE_ROW); /* never taken from under its user */
	ormd_sqlite_give(sqlite, used);
	c->driver->close(c);
}

static void huge_texts_are_not_kept(void **state)
{
	static char sql[40000];
	ormd_connection *c = open_connection("sqlite:///:memory:", false);
	sqlite_statement *statement;

	(void)state;
	memset(sql, ' ', sizeof sql - 1);
	memcpy(sql, "SELECT 1", strlen("SELECT 1"));
	statement = ormd_sqlite_take(sqlite_of(c), sql, NULL);
	assert_non_null(statement);
	assert_false(statement->base.cached);
	ormd_sqlite_give(sqlite_of(c), statement);
	c->driver->close(c);
}

static void a_change_of_tables_prepares_again(void **state)
{
	ormd_connection *c = open_connection("sqlite:///:memory:", false);

	(void)state;
	run_sql(c, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)");
	assert_int_equal(ask_int64(c, "SELECT a FROM t"), 1);
	run_sql(c, "DROP TABLE t; CREATE TABLE t (b TEXT, a INTEGER); INSERT INTO t VALUES ('x', 2)");
	assert_int_equal(ask_int64(c, "SELECT a FROM t"), 2);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_text_is_prepared_once),    cmocka_unit_test(given_back_it_is_reset_and_empty),
		cmocka_unit_test(the_longest_unused_leave_first),    cmocka_unit_test(huge_texts_are_not_kept),
		cmocka_unit_test(a_change_of_tables_prepares_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
