/* SPDX-License-Identifier: MIT */
/* Many rows at once do what each by itself would do: results, the row at fault, the rows that were not found. */
#include "driver/mysql_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/compile.h"

#define N_ROWS 50

static const char create_things[] =
	"CREATE TABLE things (id BIGINT AUTO_INCREMENT PRIMARY KEY, version INT NOT NULL, name VARCHAR(300) NOT NULL, "
	"CONSTRAINT uq_things_name UNIQUE (name)) ENGINE=InnoDB";

static orm_registry *registry;

static const orm_mapper *thing_mapper(void)
{
	static const orm_column_spec columns[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "version", .type = ORM_INT32, .version = true},
		{.name = "name", .type = ORM_TEXT, .unique = true, .max_length = 300},
	};
	static const orm_model_spec models[] = {
		{.name = "Thing", .table = "things", .columns = columns, .n_columns = 3},
	};
	orm_error error;

	if (!registry && !(registry = orm_registry_new(models, 1, &error)))
		fail_msg("%s", error.message);
	return orm_registry_find(registry, "Thing");
}

static ormd_connection *open_things(void)
{
	ormd_connection *c = open_connection(mysql_fresh_url(), false);

	run_sql(c, create_things);
	return c;
}

static orm_value int32_value(int32_t number)
{
	return (orm_value){.type = ORM_INT32, .integer = number};
}

/* A write of `things`, all of whose storage is its own. */
typedef struct thing_write {
	ormd_write write;
	orm_buffer sql;
	orm_arena arena;
	orm_value values[N_ROWS * 4];
	orm_value returned[N_ROWS];
	size_t affected[N_ROWS];
	char names[N_ROWS][16];
} thing_write;

static const uint16_t version_and_name[] = {1, 2};
static const uint8_t returning_key[] = {ORM_INT64};

static void fini(thing_write *w)
{
	orm_buffer_fini(&w->sql);
	orm_arena_fini(&w->arena);
}

static void init(thing_write *w, ormd_write_kind kind, size_t n_parameters)
{
	memset(w, 0, sizeof *w);
	orm_buffer_init(&w->sql);
	orm_arena_init(&w->arena, 0);
	w->write = (ormd_write){.kind = kind,
				.mapper = thing_mapper(),
				.columns = version_and_name,
				.n_columns = kind == ORMD_WRITE_DELETE ? 0 : 2,
				.n_parameters = n_parameters,
				.n_rows = N_ROWS,
				.values = w->values,
				.affected = w->affected,
				.arena = &w->arena};
	for (size_t i = 0; i < N_ROWS; i++)
		w->affected[i] = 77;
}

/* Rows "thing 0", "thing 1", ..., of version 1. */
static void init_insert(thing_write *w)
{
	init(w, ORMD_WRITE_INSERT, 2);
	ormd_sql_insert(&ormd_dialect_mysql, thing_mapper(), version_and_name, 2, thing_mapper()->key, 1, &w->sql);
	w->write.sql = w->sql.data;
	w->write.n_returning = 1;
	w->write.returning = returning_key;
	w->write.returned = w->returned;
	for (size_t i = 0; i < N_ROWS; i++) {
		snprintf(w->names[i], sizeof w->names[i], "thing %zu", i);
		w->values[i * 2] = int32_value(1);
		w->values[i * 2 + 1] = text_value(w->names[i]);
	}
}

/* To version 2, of the rows with the ids 1, 2, ... and version 1. */
static void init_update(thing_write *w)
{
	init(w, ORMD_WRITE_UPDATE, 4);
	ormd_sql_update(&ormd_dialect_mysql, thing_mapper(), version_and_name, 2, &w->sql);
	w->write.sql = w->sql.data;
	for (size_t i = 0; i < N_ROWS; i++) {
		snprintf(w->names[i], sizeof w->names[i], "new %zu", i);
		w->values[i * 4] = int32_value(2);
		w->values[i * 4 + 1] = text_value(w->names[i]);
		w->values[i * 4 + 2] = int64_value((int64_t)i + 1);
		w->values[i * 4 + 3] = int32_value(1);
	}
}

static void init_delete(thing_write *w)
{
	init(w, ORMD_WRITE_DELETE, 2);
	ormd_sql_delete(&ormd_dialect_mysql, thing_mapper(), &w->sql);
	w->write.sql = w->sql.data;
	for (size_t i = 0; i < N_ROWS; i++) {
		w->values[i * 2] = int64_value((int64_t)i + 1);
		w->values[i * 2 + 1] = int32_value(1);
	}
}

static void must_write(ormd_connection *c, thing_write *w)
{
	orm_error error;

	if (c->driver->write(c, &w->write, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

static void fill(ormd_connection *c)
{
	thing_write w;

	init_insert(&w);
	must_write(c, &w);
	fini(&w);
}

/* Statements that the session has sent so far. */
static int64_t n_statements(ormd_connection *c, const char *name)
{
	char sql[200];

	snprintf(sql, sizeof sql,
		 "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = "
		 "'%s'",
		 name);
	return ask_int64(c, sql);
}

static void inserted_rows_give_their_keys_in_order(void **state)
{
	ormd_connection *c = open_things();
	thing_write w;

	(void)state;
	init_insert(&w);
	must_write(c, &w);
	for (size_t i = 0; i < N_ROWS; i++) {
		assert_int_equal(w.affected[i], 1);
		assert_false(w.returned[i].null);
		assert_int_equal(w.returned[i].integer, i + 1);
	}
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE name = concat('thing ', id - 1)"), N_ROWS);
	fini(&w);
	c->driver->close(c);
}

/* One packet and its answer, not one for each row. */
static void many_rows_are_one_statement(void **state)
{
	ormd_connection *c = open_things();
	orm_error error;
	thing_write w;
	int64_t before;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	before = n_statements(c, "QUESTIONS");
	fill(c);
	init_update(&w);
	must_write(c, &w);
	for (size_t i = 0; i < N_ROWS; i++)
		assert_int_equal(w.affected[i], 1);
	fini(&w);
	assert_true(n_statements(c, "QUESTIONS") - before < 10);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE version = 2 AND name LIKE 'new %'"), N_ROWS);
	assert_int_equal(c->driver->commit(c, &error), ORM_OK);
	c->driver->close(c);
}

/* Found, not changed: a row that gets what it has is not stale. */
static void rows_that_stay_as_they_are_count(void **state)
{
	ormd_connection *c = open_things();
	orm_error error;
	thing_write w;

	(void)state;
	fill(c);
	for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
		init_update(&w);
		for (size_t i = 0; i < N_ROWS; i++) {
			snprintf(w.names[i], sizeof w.names[i], "thing %zu", i);
			w.values[i * 4] = int32_value(1);
			w.values[i * 4 + 1] = text_value(w.names[i]);
		}
		if (in_transaction)
			assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		must_write(c, &w);
		for (size_t i = 0; i < N_ROWS; i++)
			assert_int_equal(w.affected[i], 1);
		fini(&w);
	}
	c->driver->rollback(c);
	c->driver->close(c);
}

static void stale_rows_in_the_middle_are_told(void **state)
{
	ormd_connection *c = open_things();
	orm_error error;
	thing_write w;

	(void)state;
	fill(c);
	/* Twice what the update would make of it: that row is stale all the same. */
	run_sql(c, "UPDATE things SET version = 2 WHERE id IN (4, 30); DELETE FROM things WHERE id = 17");
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	init_update(&w);
	must_write(c, &w);
	for (size_t i = 0; i < N_ROWS; i++)
		assert_int_equal(w.affected[i], i == 3 || i == 29 || i == 16 ? 0 : 1);
	fini(&w);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE name LIKE 'new %'"), N_ROWS - 3);
	assert_int_equal(ask_int64(c, "SELECT max(version) FROM things"), 2);
	c->driver->rollback(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE name LIKE 'new %'"), 0);
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	init_delete(&w);
	must_write(c, &w);
	for (size_t i = 0; i < N_ROWS; i++)
		assert_int_equal(w.affected[i], i == 3 || i == 29 || i == 16 ? 0 : 1);
	fini(&w);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 2);
	assert_int_equal(c->driver->commit(c, &error), ORM_OK);
	c->driver->close(c);
}

static void the_row_at_fault_is_told(void **state)
{
	static const size_t faults[] = {0, 23, N_ROWS - 1};
	ormd_connection *c = open_things();
	orm_error error;
	thing_write w;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		run_sql(c, "DELETE FROM things; INSERT INTO things (id, version, name) VALUES (1000, 1, 'taken')");
		assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		init_insert(&w);
		w.values[faults[i] * 2 + 1] = text_value("taken");
		assert_int_equal(c->driver->write(c, &w.write, &error), ORM_ECONSTRAINT);
		assert_int_equal(w.write.failed_row, faults[i]);
		assert_string_equal(error.model, "things");
		assert_string_equal(error.column, "name");
		fini(&w);
		assert_true(c->driver->in_transaction(c));
		/* As row by row: those before it are there. */
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), faults[i] + 1);
		c->driver->rollback(c);
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 1);

		run_sql(c, "ALTER TABLE things AUTO_INCREMENT = 1; DELETE FROM things");
		run_sql(c, "INSERT INTO things (id, version, name) SELECT seq, 1, seq FROM seq_1_to_50; "
			   "INSERT INTO things (id, version, name) VALUES (1000, 1, 'taken')");
		assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		init_update(&w);
		w.values[faults[i] * 4 + 1] = text_value("taken");
		assert_int_equal(c->driver->write(c, &w.write, &error), ORM_ECONSTRAINT);
		assert_int_equal(w.write.failed_row, faults[i]);
		assert_string_equal(error.column, "name");
		fini(&w);
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE version = 2"), faults[i]);
		c->driver->rollback(c);
	}
	c->driver->close(c);
}

/* Larger than what the server takes at once, in all; and a row that is so by itself. */
static void large_writes_go_in_several_packets(void **state)
{
	static const uint16_t columns[] = {0, 6};
	ormd_connection *c = mysql_open();
	const size_t limit = (size_t)ask_int64(c, "SELECT @@max_allowed_packet");
	const size_t size = limit / 8;
	char *bytes = malloc(limit + 1);
	orm_value values[24];
	orm_buffer sql;
	orm_error error;
	ormd_write write = {.kind = ORMD_WRITE_INSERT,
			    .mapper = cell_mapper(),
			    .columns = columns,
			    .n_columns = 2,
			    .n_parameters = 2,
			    .n_rows = 12,
			    .values = values};

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', limit + 1);
	orm_buffer_init(&sql);
	ormd_sql_insert(&ormd_dialect_mysql, cell_mapper(), columns, 2, NULL, 0, &sql);
	write.sql = sql.data;
	for (size_t i = 0; i < 12; i++) {
		values[i * 2] = int64_value((int64_t)i);
		values[i * 2 + 1] = (orm_value){.type = ORM_BYTES, .bytes = bytes, .size = (uint32_t)size};
	}
	if (c->driver->write(c, &write, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_int_equal(ask_int64(c, "SELECT CAST(sum(octet_length(bytes)) AS SIGNED) FROM cells"), size * 12);
	run_sql(c, "DELETE FROM cells");
	values[7 * 2 + 1].size = (uint32_t)limit + 1;
	assert_int_equal(c->driver->write(c, &write, &error), ORM_ELIMIT);
	assert_int_equal(write.failed_row, 7);
	assert_string_equal(error.model, "cells");
	assert_non_null(strstr(error.message, "max_allowed_packet"));
	assert_false(c->lost);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells"), 7);
	orm_buffer_fini(&sql);
	free(bytes);
	c->driver->close(c);
}

static void rows_without_any_column_are_made(void **state)
{
	ormd_connection *c = open_connection(mysql_fresh_url(), false);
	orm_value returned[3];
	orm_arena arena;
	orm_error error;
	ormd_write write = {.sql = "INSERT INTO `bare` () VALUES () RETURNING `id`",
			    .kind = ORMD_WRITE_INSERT,
			    .mapper = thing_mapper(),
			    .n_rows = 3,
			    .n_returning = 1,
			    .returning = returning_key,
			    .returned = returned,
			    .arena = &arena};

	(void)state;
	orm_arena_init(&arena, 0);
	run_sql(c, "CREATE TABLE bare (id BIGINT AUTO_INCREMENT PRIMARY KEY)");
	if (c->driver->write(c, &write, &error) != ORM_OK)
		fail_msg("%s", error.message);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(returned[i].integer, i + 1);
	orm_arena_fini(&arena);
	c->driver->close(c);
}

static int free_registry(void **state)
{
	(void)state;
	orm_registry_free(registry);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inserted_rows_give_their_keys_in_order),
		cmocka_unit_test(many_rows_are_one_statement),
		cmocka_unit_test(rows_that_stay_as_they_are_count),
		cmocka_unit_test(stale_rows_in_the_middle_are_told),
		cmocka_unit_test(the_row_at_fault_is_told),
		cmocka_unit_test(large_writes_go_in_several_packets),
		cmocka_unit_test(rows_without_any_column_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, free_registry);
}
