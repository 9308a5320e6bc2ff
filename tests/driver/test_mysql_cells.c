/* SPDX-License-Identifier: MIT */
/* Values there and back, what other programs may have left in the tables, and results in pieces. */
#include "driver/mysql_support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/compile.h"

#define N_CELLS 10 /* columns of Cell */

static orm_status fetch_all(ormd_connection *c, const char *sql, size_t max_rows, size_t max_size,
			    orm_batch_builder *builder, size_t *n_rows, orm_error *error)
{
	uint8_t types[N_CELLS];
	bool done = false;
	orm_status status = ORM_OK;
	ormd_cursor *cursor;

	for (uint16_t i = 0; i < N_CELLS; i++)
		types[i] = (uint8_t)cell_mapper()->columns[i].type;
	cursor = c->driver->query(c, sql, NULL, 0, types, N_CELLS, error);
	if (!cursor)
		fail_msg("%s", error->message);
	*n_rows = 0;
	while (!done && status == ORM_OK) {
		size_t n_fetched = 0;

		status = c->driver->fetch(cursor, builder, max_rows, max_size, &n_fetched, &done, error);
		if (status == ORM_OK) {
			assert_true(done ? n_fetched <= max_rows : n_fetched >= 1);
			*n_rows += n_fetched;
		}
	}
	c->driver->close_cursor(cursor);
	return status;
}

static void expect_equal_rows(const orm_batch_builder *builder, const orm_value *values, size_t n_rows)
{
	orm_vector vectors[N_CELLS];
	orm_batch batch;

	assert_true(orm_batch_builder_view(builder, vectors, &batch));
	assert_int_equal(batch.n_rows, n_rows);
	for (size_t column = 0; column < N_CELLS; column++) {
		orm_vector_cursor cursor;

		orm_vector_cursor_init(&cursor, &vectors[column]);
		for (size_t row = 0; row < n_rows; row++) {
			orm_value value;

			orm_vector_cursor_next(&cursor, &value);
			if (!orm_value_equal(&value, &values[row * N_CELLS + column]))
				fail_msg("row %zu, column %s", row, cell_mapper()->columns[column].name);
		}
	}
}

/* Extremes, empties, ordinary ones and NULLs of every type. */
static size_t sample_rows(orm_value *values)
{
	static const int64_t integers[][5] = {
		/* int32, int64, date, time, datetime: from 1000-01-01 to the end of 9999 */
		{INT32_MIN, INT64_MIN, -354285, 0, INT64_C(-30610224000000000)},
		{INT32_MAX, INT64_MAX, 2932896, INT64_C(86399999999), INT64_C(253402300799999999)},
		{0, 0, 0, 0, 0},
		{-1, 4294967296, 20780, 47736000001, 1795439736000001},
	};
	static const double doubles[] = {-DBL_MAX, DBL_MIN, 0.5, 3.0};
	static const char *const texts[] = {"", "it's \"quoted\" \\ 100%", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 ",
					    "12"};
	static const uint8_t blob[] = {0, 0xff, '\'', 0};
	size_t n = 0;

	for (size_t row = 0; row < 4; row++) {
		orm_value *value = &values[n++ * N_CELLS];

		*value++ = int64_value((int64_t)row + 1);
		*value++ = (orm_value){.type = ORM_BOOL, .boolean = row % 2};
		*value++ = (orm_value){.type = ORM_INT32, .integer = integers[row][0]};
		*value++ = int64_value(integers[row][1]);
		*value++ = (orm_value){.type = ORM_DOUBLE, .number = doubles[row]};
		*value++ = text_value(texts[row]);
		*value++ = (orm_value){
			.type = ORM_BYTES, .bytes = row ? blob : (const uint8_t *)"", .size = row ? sizeof blob : 0};
		*value++ = (orm_value){.type = ORM_DATE, .integer = integers[row][2]};
		*value++ = (orm_value){.type = ORM_TIME, .integer = integers[row][3]};
		*value++ = (orm_value){.type = ORM_DATETIME, .integer = integers[row][4]};
	}
	values[n * N_CELLS] = int64_value((int64_t)n + 1);
	for (size_t i = 1; i < N_CELLS; i++)
		values[n * N_CELLS + i] = null_value(cell_mapper()->columns[i].type);
	return n + 1;
}

/* In one statement for all rows, and in one for each. */
static void every_type_comes_back_as_it_was(void **state)
{
	static const ormd_write_kind kinds[] = {ORMD_WRITE_INSERT, ORMD_WRITE_OTHER};
	static const uint16_t columns[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	/* In one piece, row by row, and cut by size: always the same. */
	static const size_t limits[][2] = {{100, SIZE_MAX}, {1, SIZE_MAX}, {100, 1}, {2, 70}};
	ormd_connection *c = mysql_open();
	orm_value values[5 * N_CELLS];
	size_t affected[5];
	orm_batch_builder builder;
	orm_buffer sql;
	orm_error error;
	size_t n_rows;

	(void)state;
	mysql_insert_sql(&sql, cell_mapper(), 0, false);
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), NULL, 0));
	for (size_t k = 0; k < 2; k++) {
		ormd_write write = {.sql = sql.data,
				    .kind = kinds[k],
				    .mapper = cell_mapper(),
				    .columns = columns,
				    .n_columns = N_CELLS,
				    .n_parameters = N_CELLS,
				    .n_rows = sample_rows(values),
				    .values = values,
				    .affected = affected};

		run_sql(c, "DELETE FROM cells");
		if (c->driver->write(c, &write, &error) != ORM_OK)
			fail_msg("%s", error.message);
		for (size_t i = 0; i < write.n_rows; i++)
			assert_int_equal(affected[i], 1);
		for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
			orm_batch_builder_reset(&builder);
			if (fetch_all(c, "SELECT * FROM cells ORDER BY id", limits[i][0], limits[i][1], &builder,
				      &n_rows, &error) != ORM_OK)
				fail_msg("%s", error.message);
			assert_int_equal(n_rows, write.n_rows);
			expect_equal_rows(&builder, values, write.n_rows);
		}
	}
	orm_batch_builder_fini(&builder);
	orm_buffer_fini(&sql);
	c->driver->close(c);
}

/* A row of other literals for the columns; "" : NULL. */
static orm_status fetch_literals(ormd_connection *c, const char *column, const char *literal, orm_error *error)
{
	char sql[512];
	size_t len = (size_t)snprintf(sql, sizeof sql, "SELECT ");
	orm_batch_builder builder;
	size_t n_rows;
	orm_status status;

	for (uint16_t i = 0; i < N_CELLS; i++) {
		const char *name = cell_mapper()->columns[i].name;

		len += (size_t)snprintf(sql + len, sizeof sql - len, "%s%s AS `%s`", i ? ", " : "",
					strcmp(name, column) == 0 ? literal : "NULL", name);
	}
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), NULL, 0));
	status = fetch_all(c, sql, 1, SIZE_MAX, &builder, &n_rows, error);
	orm_batch_builder_fini(&builder);
	return status;
}

static void cells_that_do_not_fit_are_named(void **state)
{
	static const struct {
		const char *column;
		const char *literal;
	} misfits[] = {
		{"bool", "2"},
		{"bool", "'1'"},
		{"int32", "2147483648"},
		{"int32", "1.5"},
		{"int64", "18446744073709551615"},
		{"int64", "1.0e0"},
		{"int64", "'7'"},
		{"double", "9007199254740993"},
		{"double", "'0.5'"},
		{"text", "x'ff'"},
		{"text", "7"},
		{"bytes", "'text'"},
		{"date", "20"},
		{"date", "CAST('2026-01-01 00:00:00' AS DATETIME)"},
		{"date", "'2026-01-01'"},
		{"time", "CAST('25:00:00' AS TIME)"},
		{"time", "CAST('-01:00:00' AS TIME)"},
		{"datetime", "CAST('2026-01-01' AS DATE)"},
	};
	ormd_connection *c = mysql_open();
	orm_error error;

	(void)state;
	for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
		if (fetch_literals(c, misfits[i].column, misfits[i].literal, &error) != ORM_EDATABASE)
			fail_msg("%s as %s passed", misfits[i].literal, misfits[i].column);
		assert_string_equal(error.model, "cells");
		assert_string_equal(error.column, misfits[i].column);
	}
	/* A laxer session can leave dates that are none. */
	run_sql(c, "SET STATEMENT sql_mode='' FOR INSERT INTO cells (id, date) VALUES (1, '0000-00-00')");
	run_sql(c, "SET STATEMENT sql_mode='' FOR INSERT INTO cells (id, datetime) VALUES (2, '0000-00-00 00:00:00')");
	assert_int_equal(fetch_literals(c, "date", "(SELECT date FROM cells WHERE id = 1)", &error), ORM_EDATABASE);
	assert_int_equal(fetch_literals(c, "datetime", "(SELECT datetime FROM cells WHERE id = 2)", &error),
			 ORM_EDATABASE);
	/* These are other columns' types, but nothing is lost by them. */
	assert_int_equal(fetch_literals(c, "int64", "CAST(7 AS UNSIGNED)", &error), ORM_OK);
	assert_int_equal(fetch_literals(c, "double", "7", &error), ORM_OK);
	assert_int_equal(fetch_literals(c, "bool", "1", &error), ORM_OK);
	c->driver->close(c);
}

static void values_that_mariadb_cannot_keep_are_named(void **state)
{
	static const uint16_t columns[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	static const struct {
		uint16_t column;
		orm_value value;
	} misfits[] = {
		{4, {.type = ORM_DOUBLE, .number = NAN}},
		{4, {.type = ORM_DOUBLE, .number = INFINITY}},
		{7, {.type = ORM_DATE, .integer = -354286}},
		{7, {.type = ORM_DATE, .integer = INT32_MAX}},
		{7, {.type = ORM_DATE, .integer = INT32_MIN}},
		{8, {.type = ORM_TIME, .integer = INT64_C(86400000000)}},
		{9, {.type = ORM_DATETIME, .integer = INT64_MAX}},
		{9, {.type = ORM_DATETIME, .integer = INT64_MIN}},
		{9, {.type = ORM_DATETIME, .integer = INT64_C(253402300800000000)}},
	};
	ormd_connection *c = mysql_open();
	orm_buffer sql;
	orm_error error;

	(void)state;
	mysql_insert_sql(&sql, cell_mapper(), 0, false);
	for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
		orm_value values[3 * N_CELLS];
		ormd_write write = {.sql = sql.data,
				    .kind = ORMD_WRITE_INSERT,
				    .mapper = cell_mapper(),
				    .columns = columns,
				    .n_columns = N_CELLS,
				    .n_parameters = N_CELLS,
				    .n_rows = 3,
				    .values = values};

		run_sql(c, "DELETE FROM cells");
		for (size_t row = 0; row < 3; row++) {
			values[row * N_CELLS] = int64_value((int64_t)row + 1);
			for (size_t k = 1; k < N_CELLS; k++)
				values[row * N_CELLS + k] = null_value(cell_mapper()->columns[k].type);
		}
		values[N_CELLS + misfits[i].column] = misfits[i].value;
		assert_int_equal(c->driver->write(c, &write, &error), ORM_EINVAL);
		assert_int_equal(write.failed_row, 1);
		assert_string_equal(error.column, cell_mapper()->columns[misfits[i].column].name);
	}
	orm_buffer_fini(&sql);
	c->driver->close(c);
}

static ormd_cursor *query_numbers(ormd_connection *c, int64_t from, int64_t to)
{
	static const uint8_t types[] = {ORM_INT64, ORM_TEXT};
	char sql[128];
	orm_error error;
	ormd_cursor *cursor;

	snprintf(sql, sizeof sql, "SELECT seq, CAST(seq AS CHAR) FROM seq_%lld_to_%lld", (long long)from,
		 (long long)to);
	cursor = c->driver->query(c, sql, NULL, 0, types, 2, &error);
	if (!cursor)
		fail_msg("%s", error.message);
	return cursor;
}

/* The next rows are `*next` and those after it. False at the end. */
static bool expect_numbers(ormd_cursor *cursor, size_t max_rows, int64_t *next)
{
	static const uint16_t columns[] = {3, 5};
	orm_batch_builder builder;
	orm_vector vectors[2];
	orm_batch batch;
	orm_vector_cursor numbers;
	orm_vector_cursor texts;
	orm_error error;
	size_t n = 0;
	bool done = false;

	assert_true(orm_batch_builder_init(&builder, cell_mapper(), columns, 2));
	if (cursor->connection->driver->fetch(cursor, &builder, max_rows, SIZE_MAX, &n, &done, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	orm_vector_cursor_init(&numbers, &vectors[0]);
	orm_vector_cursor_init(&texts, &vectors[1]);
	for (size_t i = 0; i < n; i++) {
		char text[24];
		orm_value number;
		orm_value word;

		orm_vector_cursor_next(&numbers, &number);
		orm_vector_cursor_next(&texts, &word);
		assert_int_equal(number.integer, *next);
		snprintf(text, sizeof text, "%lld", (long long)*next);
		assert_string_equal(word.text, text);
		++*next;
	}
	orm_batch_builder_fini(&builder);
	return !done;
}

static void cursors_nest(void **state)
{
	ormd_connection *c = mysql_open();
	ormd_cursor *outer = query_numbers(c, 1, 20000);
	int64_t next = 1;
	ormd_cursor *same;
	ormd_cursor *inner;
	int64_t same_next = 1;
	int64_t inner_next = 5;

	(void)state;
	assert_true(expect_numbers(outer, 10, &next));
	inner = query_numbers(c, 5, 7);
	assert_true(expect_numbers(inner, 1, &inner_next));
	same = query_numbers(c, 1, 20000); /* the same text */
	assert_true(expect_numbers(same, 3, &same_next));
	run_sql(c, "INSERT INTO items (name) VALUES ('meanwhile')");
	while (expect_numbers(outer, 999, &next))
		;
	assert_int_equal(next, 20001);
	while (expect_numbers(inner, 1, &inner_next))
		;
	assert_int_equal(inner_next, 8);
	while (expect_numbers(same, 1000, &same_next))
		;
	assert_int_equal(same_next, 20001);
	c->driver->close_cursor(inner);
	c->driver->close_cursor(outer);
	c->driver->close_cursor(same);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 1);
	c->driver->close(c);
}

/* The rest is not read to its end: this one has none. */
static void a_long_result_can_be_left(void **state)
{
	ormd_connection *c = mysql_open();
	ormd_cursor *cursor = query_numbers(c, 1, INT64_C(4000000000));
	int64_t next = 1;

	(void)state;
	assert_true(expect_numbers(cursor, 100, &next));
	c->driver->close_cursor(cursor);
	assert_false(c->lost);
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	cursor = query_numbers(c, 1, 3); /* and a short one */
	next = 1;
	assert_true(expect_numbers(cursor, 1, &next));
	c->driver->close_cursor(cursor);
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	c->driver->close(c);
}

/* What fails on the way while the rest is taken in is told when the cursor is asked. */
static void a_bad_row_of_a_nested_cursor_is_told_there(void **state)
{
	static const uint8_t type = ORM_INT32;
	static const uint16_t column = 2;
	ormd_connection *c = mysql_open();
	orm_batch_builder builder;
	orm_error error;
	size_t n;
	bool done;
	ormd_cursor *cursor =
		c->driver->query(c, "SELECT seq * 2000000000 AS n FROM seq_0_to_9", NULL, 0, &type, 1, &error);

	(void)state;
	assert_non_null(cursor);
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), &column, 1));
	assert_int_equal(c->driver->fetch(cursor, &builder, 1, SIZE_MAX, &n, &done, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	assert_int_equal(c->driver->fetch(cursor, &builder, 1, SIZE_MAX, &n, &done, &error), ORM_EDATABASE);
	assert_string_equal(error.column, "n");
	c->driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	c->driver->close(c);
}

static void more_statements_than_are_kept(void **state)
{
	ormd_connection *c = mysql_open();
	char sql[64];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 300; i++) {
			snprintf(sql, sizeof sql, "SELECT %d", i);
			assert_int_equal(ask_int64(c, sql), i);
		}
	}
	assert_true(ask_int64(c, "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS WHERE "
				 "VARIABLE_NAME = 'PREPARED_STMT_COUNT'") < 300);
	c->driver->close(c);
}

static void texts_compare_by_their_bytes(void **state)
{
	ormd_connection *c = mysql_open();

	(void)state;
	run_sql(c, "INSERT INTO cells (id, text) VALUES (1, 'a'), (2, 'A'), (3, 'a '), (4, 'b_c'), (5, 'bxc')");
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells WHERE text = 'a'"), 1);
	assert_int_equal(ask_int64(c, "SELECT count(DISTINCT text) FROM cells"), 5);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells WHERE text LIKE 'b\\_c' ESCAPE '\\\\'"), 1);
	assert_int_equal(ask_int64(c, "SELECT 'a' || 'b' = 'ab'"), 1);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_comes_back_as_it_was),
		cmocka_unit_test(cells_that_do_not_fit_are_named),
		cmocka_unit_test(values_that_mariadb_cannot_keep_are_named),
		cmocka_unit_test(cursors_nest),
		cmocka_unit_test(a_long_result_can_be_left),
		cmocka_unit_test(a_bad_row_of_a_nested_cursor_is_told_there),
		cmocka_unit_test(more_statements_than_are_kept),
		cmocka_unit_test(texts_compare_by_their_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
