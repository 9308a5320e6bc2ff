/* SPDX-License-Identifier: MIT */
/* What the server refuses, in the user's words: status, table, column. Pins the forms of the server's messages. */
#include "driver/mysql_support.h"

#include <stdio.h>
#include <string.h>

static const char create_people[] =
	"CREATE TABLE towns (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, b INT, UNIQUE KEY uq_towns_a_b (a, b)) "
	"ENGINE=InnoDB; "
	"CREATE TABLE people (id BIGINT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(20), name VARCHAR(5) NOT NULL "
	"DEFAULT "
	"'x', needed INT NOT NULL, age INT, born DATE, town_id BIGINT, a INT, b INT, data LONGTEXT CHECK "
	"(json_valid(data)), "
	"CONSTRAINT uq_people_email UNIQUE (email), CONSTRAINT ck_people_age CHECK (age >= 0), "
	"CONSTRAINT fk_people_town_id_towns FOREIGN KEY (town_id) REFERENCES towns (id), "
	"CONSTRAINT fk_people_a_b_towns FOREIGN KEY (a, b) REFERENCES towns (a, b)) ENGINE=InnoDB; "
	"INSERT INTO towns (id, a, b) VALUES (1, 1, 1); "
	"INSERT INTO people (id, needed, email, town_id) VALUES (1, 1, 'a for key ''x''', 1)";

typedef struct refusal {
	const char *sql;
	orm_status status;
	const char *table;
	const char *column;
	const char *message; /* a part of it */
} refusal;

static const refusal refusals[] = {
	{"INSERT INTO `people` (id, needed) VALUES (1, 1)", ORM_ECONSTRAINT, "people", "id", "this primary key"},
	{"INSERT INTO `people` (needed, email) VALUES (1, 'a for key ''x''')", ORM_ECONSTRAINT, "people", "email",
	 "must be unique"},
	{"UPDATE `people` SET id = 1, email = NULL WHERE id = 1", ORM_OK, "", "", ""},
	{"INSERT INTO `towns` (a, b) VALUES (1, 1)", ORM_ECONSTRAINT, "towns", "a, b", "must be unique"},
	{"INSERT INTO `people` (needed, name) VALUES (1, NULL)", ORM_ECONSTRAINT, "people", "name", "must not be NULL"},
	{"INSERT INTO `people` (age) VALUES (1)", ORM_ECONSTRAINT, "people", "needed", "must not be NULL"},
	{"UPDATE `people` SET age = -1 WHERE id = 1", ORM_ECONSTRAINT, "people", "age", "check ck_people_age"},
	{"INSERT INTO `people` (needed, data) VALUES (1, '{')", ORM_ECONSTRAINT, "people", "data", "check"},
	{"INSERT INTO `people` (needed, town_id) VALUES (1, 7)", ORM_ECONSTRAINT, "people", "town_id",
	 "a row of towns that does not exist"},
	{"UPDATE `people` SET a = 1, b = 2 WHERE id = 1", ORM_ECONSTRAINT, "people", "a, b", "a row of towns"},
	{"DELETE FROM `towns` WHERE id = 1", ORM_ECONSTRAINT, "towns", "",
	 "rows of people still refer to this one by town_id"},
	{"INSERT INTO `people` (needed, name) VALUES (1, 'longer')", ORM_EINVAL, "people", "name", "Data too long"},
	{"INSERT INTO `people` (needed) VALUES (3000000000)", ORM_EINVAL, "people", "needed", "Out of range"},
	{"INSERT INTO `people` (needed) VALUES ('x')", ORM_EINVAL, "people", "needed", "Incorrect integer"},
	{"INSERT INTO `people` (needed, born) VALUES (1, '2026-02-30')", ORM_EINVAL, "people", "born",
	 "Incorrect date"},
	{"INSERT INTO `people` (needed, email) VALUES (1, x'ff')", ORM_EINVAL, "people", "email", "Incorrect string"},
	{"INSERT INTO `nowhere` (id) VALUES (1)", ORM_EDATABASE, "nowhere", "", "orm_create_all"},
	{"DROP TABLE nowhere", ORM_EDATABASE, "nowhere", "", "orm_create_all"},
	{"UPDATE `people` SET nothing = 1", ORM_EDATABASE, "", "", "differs from the model"},
	{"SELEKT 1", ORM_EDATABASE, "", "", "MariaDB: "},
	{"DROP TABLE towns", ORM_ECONSTRAINT, "", "", "foreign key"},
	{"SET STATEMENT max_statement_time = 0.01 FOR SELECT sleep(20)", ORM_ETIMEOUT, "", "", "max_statement_time"},
};

static void refusals_are_told_by_table_and_column(void **state)
{
	ormd_connection *c = open_connection(mysql_fresh_url(), false);

	(void)state;
	run_sql(c, create_people);
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		const refusal *r = &refusals[i];
		orm_error error = {0};
		const orm_status status = c->driver->run(c, r->sql, &error);

		if (status != r->status || strcmp(error.model, r->table) != 0 || strcmp(error.column, r->column) != 0 ||
		    !strstr(error.message, r->message))
			fail_msg("%s gives %s at '%s.%s': %s", r->sql, orm_status_name(status), error.model,
				 error.column, error.message);
		assert_false(c->lost);
	}
	c->driver->close(c);
}

/* By the parameters of a prepared statement it is the same. */
static void prepared_statements_are_refused_alike(void **state)
{
	ormd_connection *c = mysql_open();
	const orm_value name = null_value(ORM_TEXT);
	const orm_value id = int64_value(INT64_C(5000000000));
	orm_error error;

	(void)state;
	assert_int_equal(write_row(c, "INSERT INTO \"items\" (\"name\") VALUES (?)", &name, 1, &error),
			 ORM_ECONSTRAINT);
	assert_string_equal(error.model, "items");
	assert_string_equal(error.column, "name");
	assert_int_equal(write_row(c, "INSERT INTO \"cells\" (\"id\", \"int32\") VALUES (1, ?)", &id, 1, &error),
			 ORM_EINVAL);
	assert_string_equal(error.model, "cells");
	assert_string_equal(error.column, "int32");
	c->driver->close(c);
}

static void who_may_not_is_told(void **state)
{
	const char *url = mysql_fresh_url();
	char text[ENGINE_URL_SIZE + 64];
	ormd_connection *root = open_connection(url, false);
	ormd_open_options options = {.url = text};
	ormd_connection *c;
	orm_error error;

	(void)state;
	snprintf(text, sizeof text, "mysql://ormd_reader:secret@localhost/%s",
		 strrchr(url, '/') ? strstr(url, "localhost/") + 10 : "");
	run_sql(root, "CREATE TABLE t (a INT); CREATE OR REPLACE USER ormd_reader IDENTIFIED BY 'secret'");
	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_EPERM);
	assert_null(strstr(error.message, "secret"));
	run_sql(root, "GRANT SELECT ON * TO ormd_reader");
	c = ormd_driver_mysql.open(&options, &error);
	if (!c)
		fail_msg("%s", error.message);
	assert_int_equal(c->driver->run(c, "INSERT INTO t VALUES (1)", &error), ORM_EPERM);
	c->driver->close(c);
	run_sql(root, "DROP USER ormd_reader");
	root->driver->close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals_are_told_by_table_and_column),
		cmocka_unit_test(prepared_statements_are_refused_alike),
		cmocka_unit_test(who_may_not_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
