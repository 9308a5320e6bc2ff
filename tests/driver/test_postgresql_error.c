/* SPDX-License-Identifier: MIT */
/* Each constraint by table and column, and the SQLSTATEs that are nobody's constraint. */
#include "driver/postgresql_support.h"

#include <stdio.h>
#include <string.h>

static const char tables[] =
	"CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, age INTEGER,"
	" CONSTRAINT ck_users_age CHECK (age >= 0), CHECK (name <> 'nobody'));"
	"CREATE TABLE order_lines (order_id BIGINT, line_no BIGINT, item TEXT, qty INTEGER,"
	" CONSTRAINT pk_order_lines PRIMARY KEY (order_id, line_no), UNIQUE (item, qty),"
	" CONSTRAINT ck_order_lines_qty CHECK (qty < 100));"
	"CREATE TABLE \"odd.name\"\"d\" (id TEXT PRIMARY KEY, \"a.b)=(\"\"c\" TEXT UNIQUE, \"d(e)\" TEXT REFERENCES "
	"\"odd.name\"\"d\" (id));"
	"CREATE TABLE posts (id BIGINT PRIMARY KEY, user_id BIGINT,"
	" CONSTRAINT fk_posts_user_id_users FOREIGN KEY (user_id) REFERENCES users (id));"
	"CREATE TABLE notes (id BIGINT PRIMARY KEY, post_id BIGINT REFERENCES posts (id) ON DELETE RESTRICT);"
	"CREATE TABLE trees (id BIGINT PRIMARY KEY, parent BIGINT, CONSTRAINT fk_trees_parent_trees FOREIGN KEY "
	"(parent) "
	"REFERENCES trees (id) DEFERRABLE);"
	"CREATE TABLE bills (id BIGINT PRIMARY KEY, order_id BIGINT, line BIGINT, CONSTRAINT "
	"fk_bills_order_id_line_order_lines "
	"FOREIGN KEY (order_id, line) REFERENCES order_lines (order_id, line_no));"
	"CREATE TABLE rooms (id BIGINT PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));"
	"INSERT INTO users VALUES (1, 'Alice', 'a@example.com', 30);"
	"INSERT INTO order_lines VALUES (1, 1, 'pen', 2);"
	"INSERT INTO \"odd.name\"\"d\" VALUES ('k', 'v');"
	"INSERT INTO posts VALUES (1, 1);"
	"INSERT INTO notes VALUES (1, 1);"
	"INSERT INTO bills VALUES (1, 1, 1);"
	"INSERT INTO rooms VALUES (1, '[1,5)')";

static void constraints_name_table_and_column(void **state)
{
	static const struct {
		const char *sql;
		const char *table;
		const char *columns;
		const char *message;
	} cases[] = {
		{"INSERT INTO \"users\" (id, name) VALUES (1, 'x')", "users", "id",
		 "users.id: another row has this primary key"},
		{"INSERT INTO \"users\" (id, name, email) VALUES (2, 'x', 'a@example.com')", "users", "email",
		 "users.email: another row has this value, which must be unique"},
		{"INSERT INTO \"users\" (id, email) VALUES (2, 'x')", "users", "name",
		 "users.name: must not be NULL; set it"},
		{"UPDATE \"users\" SET age = -1", "users", "age",
		 "users.age: the value violates the table's check ck_users_age"},
		{"UPDATE \"users\" SET name = 'nobody'", "users", "name", "users_name_check"},
		{"INSERT INTO \"order_lines\" VALUES (1, 1, 'ink', 1)", "order_lines", "order_id, line_no",
		 "primary key"},
		{"INSERT INTO \"order_lines\" VALUES (1, 2, 'pen', 2)", "order_lines", "item, qty", "unique"},
		{"INSERT INTO \"order_lines\" VALUES (1, 2, 'pen', 100)", "order_lines", "qty", "ck_order_lines_qty"},
		{"INSERT INTO \"odd.name\"\"d\" VALUES ('k', 'w')", "odd.name\"d", "id", "primary key"},
		{"INSERT INTO \"odd.name\"\"d\" VALUES ('l', 'v')", "odd.name\"d", "a.b)=(\"c", "unique"},
		{"INSERT INTO \"odd.name\"\"d\" VALUES ('l', 'w', 'x')", "odd.name\"d", "d(e)", "that does not exist"},
		{"UPDATE \"posts\" SET user_id = 7", "posts", "user_id",
		 "posts.user_id: refers to a row of users that does not exist; add that one first"},
		{"INSERT INTO \"bills\" VALUES (2, 1, 9)", "bills", "order_id, line", "a row of order_lines"},
		{"INSERT INTO \"trees\" VALUES (1, 9)", "trees", "parent", "a row of trees"},
		{"DELETE FROM \"users\" WHERE id = 1", "users", "",
		 "users: rows of posts still refer to this one by user_id; delete or change them first"},
		{"DELETE FROM \"posts\"", "posts", "", "rows of notes still refer to this one by post_id"},
		{"UPDATE \"order_lines\" SET line_no = 7", "order_lines", "",
		 "rows of bills still refer to this one by order_id_line"},
		{"INSERT INTO \"rooms\" VALUES (2, '[3,7)')", "rooms", "", "rooms_during_excl"},
	};
	ormd_connection *c = open_fresh(NULL);

	(void)state;
	run_sql(c, tables);
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
	run_sql(c, "INSERT INTO trees VALUES (1, NULL), (2, 1)");
	{
		orm_error error;

		assert_int_equal(write_row(c, "DELETE FROM \"trees\" WHERE id = 1", NULL, 0, &error), ORM_ECONSTRAINT);
		assert_non_null(strstr(error.message, "rows of trees still refer to this one by parent"));
	}
	c->driver->close(c);
}

static void states_have_their_status(void **state)
{
	static const struct {
		const char *sqlstate;
		orm_status status;
		bool lost;
	} cases[] = {
		{"40001", ORM_ERETRY, false},       {"40P01", ORM_ERETRY, false},
		{"55P03", ORM_ETIMEOUT, false},     {"57014", ORM_ETIMEOUT, false},
		{"53100", ORM_EDATABASE, false},    {"53200", ORM_EUNAVAILABLE, false},
		{"53300", ORM_EUNAVAILABLE, false}, {"42501", ORM_EPERM, false},
		{"54000", ORM_ELIMIT, false},       {"22003", ORM_EINVAL, false},
		{"22021", ORM_EINVAL, false},       {"0A000", ORM_EDATABASE, false},
		{"XX001", ORM_EDATABASE, false},    {"P0001", ORM_EDATABASE, false},
		{"42703", ORM_EDATABASE, false},    {"08006", ORM_EUNAVAILABLE, true},
		{"57P01", ORM_EUNAVAILABLE, true},  {"57P03", ORM_EUNAVAILABLE, true},
		{"25006", ORM_EUNAVAILABLE, true},  {"58030", ORM_EDATABASE, true},
	};
	char url[ENGINE_URL_SIZE];
	ormd_connection *c;

	(void)state;
	engine_database(ENGINE_POSTGRESQL, url);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char sql[100];
		orm_error error;

		c = open_again(url, false);
		snprintf(sql, sizeof sql, "DO 'BEGIN RAISE EXCEPTION ''no luck'' USING ERRCODE = ''%s''; END'",
			 cases[i].sqlstate);
		if (c->driver->run(c, sql, &error) != cases[i].status || c->lost != cases[i].lost)
			fail_msg("%s: %s: %s", cases[i].sqlstate, orm_status_name(error.code), error.message);
		c->driver->close(c);
	}
}

static void sql_that_does_not_fit_the_tables(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	const uint8_t type = ORM_INT64;
	const orm_value name = text_value("x");
	orm_error error;

	(void)state;
	run_sql(c, tables);
	assert_null(c->driver->query(c, "SELECT '\xc3\xa4', id FROM \"gho\"\"sts\"", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EDATABASE);
	assert_string_equal(error.model, "gho\"sts");
	assert_non_null(strstr(error.message, "orm_create_all"));
	assert_int_equal(write_row(c, "INSERT INTO ghosts VALUES (1)", NULL, 0, &error), ORM_EDATABASE);
	assert_string_equal(error.model, "ghosts");
	assert_null(c->driver->query(c, "SELECT \"users\".surname FROM users", NULL, 0, &type, 1, &error));
	assert_non_null(strstr(error.message, "differs from the model"));
	assert_int_equal(write_row(c, "UPDATE users SET age = $1", &name, 1, &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "differs from the model"));
	assert_int_equal(c->driver->run(c, "SELECT FROM WHERE", &error), ORM_EDATABASE);
	assert_null(c->driver->query(c, "SELECT 1, 2", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EINTERNAL);
	assert_null(c->driver->query(c, "DELETE FROM notes", NULL, 0, &type, 1, &error));
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM users"), 1);
	c->driver->close(c);
}

/* A lock that another transaction holds: for as long as the connection said it would wait. */
static void locks_are_waited_for_so_long(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	const ormd_open_options options = {.url = url, .busy_timeout_ms = 20};
	ormd_connection *other;
	orm_error error;

	(void)state;
	run_sql(c, tables);
	other = c->driver->open(&options, &error);
	assert_non_null(other);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	run_sql(c, "UPDATE users SET age = 31");
	assert_int_equal(write_row(other, "UPDATE users SET age = 32", NULL, 0, &error), ORM_ETIMEOUT);
	assert_non_null(strstr(error.message, "20 ms"));
	c->driver->rollback(c);
	expect_ok(write_row(other, "UPDATE users SET age = 32", NULL, 0, &error), &error);
	other->driver->close(other);
	c->driver->close(c);
}

/* Two transactions that read what the other writes. */
static void serialization_failures_are_to_be_retried(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	ormd_connection *other = open_again(url, false);
	orm_error error;

	(void)state;
	run_sql(c, tables);
	expect_ok(c->driver->begin(c, ORM_SERIALIZABLE, &error), &error);
	expect_ok(other->driver->begin(other, ORM_SERIALIZABLE, &error), &error);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM users"), 1);
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM users"), 1);
	run_sql(c, "INSERT INTO users VALUES (2, 'Bob')");
	run_sql(other, "INSERT INTO users VALUES (3, 'Eve')");
	expect_ok(c->driver->commit(c, &error), &error);
	assert_int_equal(other->driver->commit(other, &error), ORM_ERETRY);
	assert_false(other->driver->in_transaction(other));
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM users"), 2);

	expect_ok(other->driver->begin(other, ORM_REPEATABLE_READ, &error), &error);
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM users"), 2);
	run_sql(c, "UPDATE users SET age = 1");
	assert_int_equal(write_row(other, "UPDATE users SET age = 2", NULL, 0, &error), ORM_ERETRY);
	other->driver->rollback(other);
	other->driver->close(other);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constraints_name_table_and_column),
		cmocka_unit_test(states_have_their_status),
		cmocka_unit_test(sql_that_does_not_fit_the_tables),
		cmocka_unit_test(locks_are_waited_for_so_long),
		cmocka_unit_test(serialization_failures_are_to_be_retried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
