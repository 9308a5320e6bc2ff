/* SPDX-License-Identifier: MIT */
/* Each constraint by table and column, and the failures that are nobody's constraint. */
#include "base/clock.h"
#include "driver/support.h"

#include <string.h>
#include <stdio.h>

#include <pthread.h>
#include <stdatomic.h>

#include "support/eventually.h"

static ormd_connection *open_tables(void)
{
	ormd_connection *c = open_connection("sqlite:///:memory:", false);

	run_sql(c,
		"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, age INTEGER,"
		" CONSTRAINT ck_users_age CHECK (age >= 0), CHECK (name <> 'nobody'));"
		"CREATE TABLE order_lines (order_id INTEGER, line_no INTEGER, item TEXT, qty INTEGER, PRIMARY KEY "
		"(order_id, line_no),"
		" UNIQUE (item, qty), CONSTRAINT ck_order_lines_qty CHECK (qty < 100)) WITHOUT ROWID;"
		"CREATE TABLE \"odd.name\"\"d\" (id TEXT PRIMARY KEY, \"a.b\" TEXT UNIQUE);"
		"CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id));"
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, post_id INTEGER REFERENCES posts (id) ON DELETE RESTRICT);"
		"INSERT INTO users VALUES (1, 'Alice', 'a@example.com', 30);"
		"INSERT INTO order_lines VALUES (1, 1, 'pen', 2);"
		"INSERT INTO \"odd.name\"\"d\" VALUES ('k', 'v');"
		"INSERT INTO posts VALUES (1, 1);"
		"INSERT INTO notes VALUES (1, 1)");
	return c;
}

static void constraints_name_table_and_column(void **state)
{
	static const struct {
		const char *sql;
		const char *table;
		const char *columns;
		const char *message;
	} cases[] = {
		{"INSERT INTO \"users\" (id, name) VALUES (1, 'x')", "users", "id", "primary key"},
		{"INSERT INTO \"users\" (name, email) VALUES ('x', 'a@example.com')", "users", "email", "unique"},
		{"INSERT INTO \"users\" (email) VALUES ('x')", "users", "name", "NULL"},
		{"UPDATE \"users\" SET name = NULL", "users", "name", "NULL"},
		{"UPDATE \"users\" SET age = -1", "users", "age", "ck_users_age"},
		{"UPDATE \"users\" SET name = 'nobody'", "users", "", "name <> 'nobody'"},
		{"INSERT INTO \"order_lines\" VALUES (1, 1, 'ink', 1)", "order_lines", "order_id, line_no",
		 "primary key"},
		{"INSERT INTO \"order_lines\" VALUES (1, 2, 'pen', 2)", "order_lines", "item, qty", "unique"},
		{"INSERT INTO \"order_lines\" VALUES (1, 2, 'pen', 100)", "order_lines", "qty", "ck_order_lines_qty"},
		{"INSERT INTO \"odd.name\"\"d\" VALUES ('k', 'w')", "odd.name\"d", "id", "primary key"},
		{"INSERT INTO \"odd.name\"\"d\" VALUES ('l', 'v')", "odd.name\"d", "a.b", "unique"},
		{"UPDATE \"posts\" SET user_id = 7", "posts", "", "foreign key"}, /* no parameters to look at */
	};
	ormd_connection *c = open_tables();

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		orm_error error;

		if (write_row(c, cases[i].sql, NULL, 0, &error) != ORM_ECONSTRAINT)
			fail_msg("%s: %s", cases[i].sql, error.message);
		if (strcmp(error.model, cases[i].table) != 0 || strcmp(error.column, cases[i].columns) != 0 ||
		    !strstr(error.message, cases[i].message))
			fail_msg("%s: table '%s', column '%s': %s", cases[i].sql, error.model, error.column,
				 error.message);
		assert_int_equal(write_row(c, cases[i].sql, NULL, 0, NULL),
				 ORM_ECONSTRAINT); /* without an error record */
	}
	c->driver->close(c);
}

/* SQLite does not say which foreign key failed; the driver finds it. */
static void broken_foreign_keys_are_found(void **state)
{
	static const struct {
		const char *sql;
		int64_t values[4];
		const char *table;
		const char *columns;
		const char *message;
	} cases[] = {
		{"INSERT INTO \"likes\" (\"id\", \"user_id\", \"post_id\") VALUES (?, ?, ?)",
		 {1, 1, 9},
		 "likes",
		 "post_id",
		 "of posts"},
		{"INSERT INTO \"likes\" (\"id\", \"user_id\", \"post_id\") VALUES (?, ?, ?)",
		 {1, 9, 1},
		 "likes",
		 "user_id",
		 "of users"},
		{"UPDATE \"likes\" SET \"user_id\" = ? WHERE \"id\" = ?", {9, 7}, "likes", "user_id", "of users"},
		{"INSERT INTO \"bills\" (\"no\", \"order_id\", \"line\") VALUES (?, ?, ?)",
		 {1, 1, 2},
		 "bills",
		 "order_id, line",
		 "order_lines"},
		{"INSERT INTO \"trees\" (\"id\", \"parent\", \"user_id\") VALUES (?, ?, ?)",
		 {1, 2, 1},
		 "trees",
		 "parent",
		 "of trees"},
		{"INSERT INTO \"trees\" (\"id\", \"parent\", \"user_id\") VALUES (?, ?, ?)",
		 {1, 1, 9},
		 "trees",
		 "user_id",
		 "of users"},
		{"DELETE FROM \"users\" WHERE \"id\" = ?",
		 {1},
		 "users",
		 "",
		 "rows of likes still refer to this one by user_id"},
		{"DELETE FROM \"posts\" WHERE \"id\" = ?",
		 {2},
		 "posts",
		 "",
		 "rows of notes still refer"}, /* ON DELETE RESTRICT */
		{"DELETE FROM \"order_lines\" WHERE \"order_id\" = ? AND \"line_no\" = ?",
		 {1, 1},
		 "order_lines",
		 "",
		 "by order_id, line"},
	};
	ormd_connection *c = open_tables();

	(void)state;
	run_sql(c, "CREATE TABLE likes (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), post_id INTEGER "
		   "REFERENCES posts (id));"
		   "CREATE TABLE bills (no INTEGER PRIMARY KEY, order_id INTEGER, line INTEGER,"
		   " FOREIGN KEY (order_id, line) REFERENCES order_lines (order_id, line_no));"
		   "CREATE TABLE trees (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES trees (id), user_id INTEGER "
		   "REFERENCES users (id));"
		   "INSERT INTO likes VALUES (7, 1, 1); INSERT INTO bills VALUES (7, 1, 1); INSERT INTO posts VALUES "
		   "(2, NULL);"
		   "INSERT INTO notes VALUES (2, 2)");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		orm_value values[4];
		size_t n = 0;
		orm_error error;

		for (const char *mark = cases[i].sql; (mark = strchr(mark, '?')); mark++) {
			values[n] = int64_value(cases[i].values[n]);
			n++;
		}
		assert_int_equal(write_row(c, cases[i].sql, values, n, &error), ORM_ECONSTRAINT);
		if (strcmp(error.model, cases[i].table) != 0 || strcmp(error.column, cases[i].columns) != 0 ||
		    !strstr(error.message, cases[i].message))
			fail_msg("%s: table '%s', column '%s': %s", cases[i].sql, error.model, error.column,
				 error.message);
		assert_int_equal(write_row(c, cases[i].sql, values, n, NULL), ORM_ECONSTRAINT);
	}
	c->driver->close(c);
}

/* A constraint failure undoes its statement only; the transaction, and the connection, work on. */
static void a_constraint_failure_leaves_the_transaction(void **state)
{
	ormd_connection *c = open_tables();
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO users (name) VALUES ('Bob')");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write_row(c, "INSERT INTO \"users\" (id, name) VALUES (1, 'x')", NULL, 0, &error),
				 ORM_ECONSTRAINT);
		assert_true(c->driver->in_transaction(c));
	}
	assert_int_equal(c->driver->commit(c, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM users"), 2);
	c->driver->close(c);
}

static void sql_that_does_not_fit_the_tables(void **state)
{
	ormd_connection *c = open_tables();
	const uint8_t type = ORM_INT64;
	orm_error error;

	(void)state;
	assert_null(c->driver->query(c, "SELECT id FROM ghosts", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EDATABASE);
	assert_string_equal(error.model, "ghosts");
	assert_non_null(strstr(error.message, "orm_create_all"));
	assert_null(c->driver->query(c, "SELECT \"users\".surname FROM users", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EDATABASE);
	assert_non_null(strstr(error.message, "differs from the model"));
	assert_int_equal(c->driver->run(c, "SELECT FROM WHERE", &error), ORM_EDATABASE);
	assert_int_equal(c->driver->run(c, "INSERT INTO users (id, name) VALUES ('x', 'y')", &error),
			 ORM_EDATABASE); /* a mismatch */
	c->driver->close(c);
}

/* An OR ROLLBACK ends the transaction without a word; the driver asks the engine, and says so. */
static void an_ended_transaction_is_noticed(void **state)
{
	ormd_connection *c = open_tables();
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(write_row(c, "INSERT OR ROLLBACK INTO users (id, name) VALUES (1, 'x')", NULL, 0, &error),
			 ORM_ECONSTRAINT);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(c->driver->commit(c, &error), ORM_EDATABASE);
	c->driver->rollback(c);
	c->driver->close(c);
}

typedef struct long_query {
	ormd_connection *connection;
	atomic_bool ended;
	orm_error error;
} long_query;

static void *count_for_long(void *context)
{
	long_query *query = context;

	query->connection->driver->run(
		query->connection,
		"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
		&query->error);
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
	long_query query = {.connection = open_connection("sqlite:///:memory:", false)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, count_for_long, &query), 0);
	assert_true(support_eventually(interrupt_ended, &query, SUPPORT_PATIENCE_MS));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(query.error.code, ORM_ECANCELLED);
	assert_int_equal(ask_int64(query.connection, "SELECT 1"), 1);
	query.connection->driver->close(query.connection);
}

static void a_statement_past_its_deadline_is_stopped(void **state)
{
	long_query query = {.connection = open_connection("sqlite:///:memory:", false)};

	(void)state;
	query.connection->deadline_us = orm_clock_us();
	count_for_long(&query);
	assert_int_equal(query.error.code, ORM_ETIMEOUT);
	query.connection->deadline_us = 0;
	assert_int_equal(ask_int64(query.connection, "SELECT 1"), 1);
	query.connection->driver->close(query.connection);
}

static void damage_is_reported_as_damage(void **state)
{
	const char *url = database_url("damaged.db");
	ormd_connection *c = open_connection(url, false);
	uint8_t junk[4096];
	const uint8_t type = ORM_INT64;
	orm_batch_builder builder;
	const uint16_t column = 0;
	orm_error error;
	size_t n_rows;
	bool done;
	FILE *file;

	(void)state;
	run_sql(c, create_items);
	run_sql(c, "INSERT INTO items (name) VALUES ('a')");
	c->driver->close(c);
	memset(junk, 0xa5, sizeof junk);
	file = fopen(database_path(url), "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, 4096, SEEK_SET), 0); /* the second page: the table's root */
	assert_int_equal(fwrite(junk, 1, sizeof junk, file), sizeof junk);
	assert_int_equal(fclose(file), 0);

	c = open_connection(url, true);
	assert_true(orm_batch_builder_init(&builder, item_mapper(), &column, 1));

	ormd_cursor *cursor = c->driver->query(c, "SELECT id FROM items", NULL, 0, &type, 1, &error);

	assert_non_null(cursor);
	assert_int_equal(c->driver->fetch(cursor, &builder, 10, SIZE_MAX, &n_rows, &done, &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "damaged"));
	c->driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constraints_name_table_and_column),
		cmocka_unit_test(broken_foreign_keys_are_found),
		cmocka_unit_test(a_constraint_failure_leaves_the_transaction),
		cmocka_unit_test(sql_that_does_not_fit_the_tables),
		cmocka_unit_test(an_ended_transaction_is_noticed),
		cmocka_unit_test(a_statement_can_be_cancelled_from_another_thread),
		cmocka_unit_test(a_statement_past_its_deadline_is_stopped),
		cmocka_unit_test(damage_is_reported_as_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
