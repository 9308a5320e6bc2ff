/* SPDX-License-Identifier: MIT */
/* Values there and back, in the binary format; and what other programs' tables hold. */
#include "driver/postgresql_support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sql/compile.h"

#define N_CELLS 10 /* columns of Cell that the rows below have */
#define N_ROWS  6

/* PostgreSQL's first and last day and instant, 4713 BC to the year 5874897, or as far as our type goes. */
#define MIN_DATE     INT64_C(-2440588)
#define MAX_DATE     INT64_C(2145042905)
#define MIN_DATETIME INT64_C(-210866803200000000)
#define MAX_DATETIME INT64_MAX

static ormd_connection *open_cells(char url[ENGINE_URL_SIZE])
{
	ormd_connection *connection = open_fresh(url);

	create_tables(connection, cell_mapper()->registry);
	return connection;
}

static orm_value number(double value)
{
	return (orm_value){.type = ORM_DOUBLE, .number = value};
}

static orm_value boolean(bool value)
{
	return (orm_value){.type = ORM_BOOL, .boolean = value};
}

static orm_value bytes(const void *data, uint32_t size)
{
	return (orm_value){.type = ORM_BYTES, .bytes = data, .size = size};
}

/* Extremes, the empty, and NULL. */
static void fill_rows(orm_value rows[N_ROWS][N_CELLS])
{
	const orm_value filled[N_ROWS][N_CELLS] = {
		{typed(ORM_INT64, 1), boolean(true), typed(ORM_INT32, INT32_MAX), typed(ORM_INT64, INT64_MAX),
		 number(DBL_MAX), text_value("gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x98\x80 \\x ' \" {},"),
		 bytes("\0\xff'\\", 4), typed(ORM_DATE, 0), typed(ORM_TIME, 0), typed(ORM_DATETIME, 0)},
		{typed(ORM_INT64, 2), boolean(false), typed(ORM_INT32, INT32_MIN), typed(ORM_INT64, INT64_MIN),
		 number(-DBL_MIN), text_value(""), bytes("", 0), typed(ORM_DATE, -1),
		 typed(ORM_TIME, INT64_C(86399999999)), typed(ORM_DATETIME, -1)},
		{typed(ORM_INT64, 3)},
		{typed(ORM_INT64, 4), boolean(true), typed(ORM_INT32, 0), typed(ORM_INT64, 0), number(-0.0),
		 text_value("x"), bytes("x", 1), typed(ORM_DATE, MAX_DATE), typed(ORM_TIME, 1),
		 typed(ORM_DATETIME, MAX_DATETIME)},
		{typed(ORM_INT64, 5), boolean(true), typed(ORM_INT32, -1), typed(ORM_INT64, -1), number(INFINITY),
		 text_value("y"), bytes("y", 1), typed(ORM_DATE, MIN_DATE), typed(ORM_TIME, 2),
		 typed(ORM_DATETIME, MIN_DATETIME)},
		{typed(ORM_INT64, 6), boolean(true), typed(ORM_INT32, 7), typed(ORM_INT64, 8), number(5e-324),
		 text_value("z"), bytes("z", 1), typed(ORM_DATE, 10957), typed(ORM_TIME, 3),
		 typed(ORM_DATETIME, INT64_C(946684800000000))},
	};

	memcpy(rows, filled, sizeof filled);
	for (uint16_t i = 1; i < N_CELLS; i++)
		rows[2][i] = null_value(cell_mapper()->columns[i].type);
}

static void expect_rows(ormd_connection *c, const char *sql, const orm_value *rows, size_t n_wanted)
{
	uint8_t types[N_CELLS];
	uint16_t columns[N_CELLS];
	orm_batch_builder builder;
	orm_vector vectors[N_CELLS];
	orm_batch batch;
	orm_error error;
	size_t n_rows = 0;
	bool done = false;
	ormd_cursor *cursor;

	for (uint16_t i = 0; i < N_CELLS; i++) {
		columns[i] = i;
		types[i] = (uint8_t)cell_mapper()->columns[i].type;
	}
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), columns, N_CELLS));
	cursor = c->driver->query(c, sql, NULL, 0, types, N_CELLS, &error);
	if (!cursor)
		fail_msg("%s", error.message);
	while (!done)
		expect_ok(c->driver->fetch(cursor, &builder, 1000, SIZE_MAX, &n_rows, &done, &error), &error);
	c->driver->close_cursor(cursor);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(batch.n_rows, n_wanted);
	for (size_t column = 0; column < N_CELLS; column++) {
		orm_vector_cursor cells;

		orm_vector_cursor_init(&cells, &vectors[column]);
		for (size_t row = 0; row < n_wanted; row++) {
			orm_value value;

			orm_vector_cursor_next(&cells, &value);
			if (!orm_value_equal(&value, &rows[row * N_CELLS + column]))
				fail_msg("row %zu, column %s", row, cell_mapper()->columns[column].name);
		}
	}
	orm_batch_builder_fini(&builder);
}

static const char select_cells[] =
	"SELECT id, bool, int32, int64, double, text, bytes, date, \"time\", datetime FROM cells ORDER BY id";

/* By single rows, by arrays with RETURNING of a column that is left out, and by COPY. */
static void values_come_back_as_they_went(void **state)
{
	orm_value rows[N_ROWS][N_CELLS];
	orm_value many[20 * N_ROWS][N_CELLS];
	uint16_t columns[N_CELLS];
	ormd_connection *c = open_cells(NULL);
	ormd_write write = {.kind = ORMD_WRITE_INSERT,
			    .mapper = cell_mapper(),
			    .columns = columns,
			    .n_columns = N_CELLS,
			    .n_parameters = N_CELLS,
			    .values = rows[0]};
	orm_buffer sql;

	(void)state;
	fill_rows(rows);
	for (uint16_t i = 0; i < N_CELLS; i++)
		columns[i] = i;
	for (size_t i = 0; i < 20 * N_ROWS; i++) {
		memcpy(many[i], rows[i % N_ROWS], sizeof many[i]);
		many[i][0].integer = (int64_t)i + 1;
	}
	orm_buffer_init(&sql);
	ormd_sql_insert(&ormd_dialect_postgresql, cell_mapper(), columns, N_CELLS, NULL, 0, &sql);
	write.sql = sql.data;
	write.n_rows = N_ROWS;
	expect_write(c, &write);
	expect_rows(c, select_cells, rows[0], N_ROWS);

	for (size_t n = 30; n <= 120; n += 90) { /* arrays, and COPY */
		run_sql(c, "DELETE FROM cells");
		write.values = many[0];
		write.n_rows = n;
		expect_write(c, &write);
		expect_rows(c, select_cells, many[0], n);
	}
	orm_buffer_fini(&sql);
	c->driver->close(c);
}

/* Each value finds its own row: parameters have the columns' types. */
static void values_are_found(void **state)
{
	orm_value rows[N_ROWS][N_CELLS];
	ormd_connection *c = open_cells(NULL);
	const uint8_t type = ORM_INT64;
	char sql[512] = "";
	orm_error error;

	(void)state;
	fill_rows(rows);
	for (size_t row = 0; row < N_ROWS; row++)
		expect_ok(write_row(c,
				    "INSERT INTO cells (id, bool, int32, int64, double, text, bytes, date, \"time\", "
				    "datetime) "
				    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
				    rows[row], N_CELLS, &error),
			  &error);
	for (uint16_t i = 0; i < N_CELLS; i++) {
		orm_batch_builder builder;
		size_t n_rows;
		bool done;
		ormd_cursor *cursor;

		snprintf(sql, sizeof sql, "SELECT id FROM cells WHERE \"%s\" = $1 ORDER BY id",
			 cell_mapper()->columns[i].name);
		cursor = c->driver->query(c, sql, &rows[1][i], 1, &type, 1, &error);
		if (!cursor)
			fail_msg("%s: %s", sql, error.message);
		assert_true(orm_batch_builder_init(&builder, cell_mapper(), &(uint16_t){0}, 1));
		expect_ok(c->driver->fetch(cursor, &builder, 10, SIZE_MAX, &n_rows, &done, &error), &error);
		assert_int_equal(n_rows, 1);
		assert_int_equal(((const int64_t *)(const void *)builder.vectors[0].cells.data)[0], 2);
		c->driver->close_cursor(cursor);
		orm_batch_builder_fini(&builder);
	}
	c->driver->close(c);
}

static void values_that_postgresql_has_not_are_refused(void **state)
{
	const struct {
		orm_value value;
		const char *column;
	} cases[] = {
		{typed(ORM_DATE, INT32_MAX), "date"},    {typed(ORM_DATE, INT32_MIN), "date"},
		{typed(ORM_DATE, MAX_DATE + 1), "date"}, {typed(ORM_DATETIME, INT64_MIN), "datetime"},
		{typed(ORM_DATE, MIN_DATE - 1), "date"}, {typed(ORM_DATETIME, MIN_DATETIME - 1), "datetime"},
	};
	ormd_connection *c = open_cells(NULL);
	char sql[100];
	orm_error error;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(sql, sizeof sql, "INSERT INTO cells (\"%s\") VALUES ($1)", cases[i].column);
		if (write_row(c, sql, &cases[i].value, 1, &error) != ORM_EINVAL)
			fail_msg("%zu: %s", i, error.message);
	}
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells"), 0);
	c->driver->close(c);
}

/* Narrower types are widened; types that mean the same are taken. */
static void other_programs_types_are_read(void **state)
{
	static const uint8_t types[] = {ORM_INT32, ORM_INT64, ORM_INT64,    ORM_DOUBLE,
					ORM_TEXT,  ORM_TEXT,  ORM_DATETIME, ORM_INT32};
	ormd_connection *c = open_cells(NULL);

	(void)state;
	expect_answer(c,
		      "SELECT 7::int2, -7::int2, 8::int4, 1.5::float4, 'ab'::char(4), 'n'::name, "
		      "'2000-01-01 00:00:01'::timestamp, 9::int8",
		      types, sizeof types, "7 -7 8 1.5 'ab  ' 'n' 2000-01-01T00:00:01Z 9");
	c->driver->close(c);
}

static void cells_that_do_not_fit_are_named(void **state)
{
	static const struct {
		const char *expression;
		orm_type type;
		const char *message;
	} cases[] = {
		{"'x'::text", ORM_INT64, "a text"},
		{"1::int4", ORM_BOOL, "an integer"},
		{"true", ORM_INT32, "a boolean"},
		{"3000000000::int8", ORM_INT32, "not a valid int32"},
		{"1.5::numeric", ORM_DOUBLE, "a numeric"},
		{"1", ORM_TEXT, "an integer"},
		{"'x'::text", ORM_BYTES, "a text"},
		{"'x'::bytea", ORM_TEXT, "a bytea"},
		{"'infinity'::date", ORM_DATE, "a date"},
		{"'-infinity'::timestamptz", ORM_DATETIME, "a timestamptz"},
		{"'infinity'::timestamp", ORM_DATETIME, "a timestamp"},
		{"'24:00:00'::time", ORM_TIME, "a time"},
		{"now()", ORM_DATE, "a timestamptz"},
		{"'12:00+01'::timetz", ORM_TIME, "another type"},
	};
	ormd_connection *c = open_cells(NULL);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const uint8_t type = (uint8_t)cases[i].type;
		uint16_t column = 0;
		orm_batch_builder builder;
		char sql[100];
		orm_error error;
		size_t n_rows;
		bool done;
		ormd_cursor *cursor;

		while (cell_mapper()->columns[column].type != cases[i].type)
			column++;
		snprintf(sql, sizeof sql, "SELECT %s AS \"odd name\"", cases[i].expression);
		cursor = c->driver->query(c, sql, NULL, 0, &type, 1, &error);
		if (!cursor)
			fail_msg("%s: %s", sql, error.message);
		assert_true(orm_batch_builder_init(&builder, cell_mapper(), &column, 1));
		assert_int_equal(c->driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, &error),
				 ORM_EDATABASE);
		if (strcmp(error.model, "cells") != 0 || strcmp(error.column, "odd name") != 0 ||
		    !strstr(error.message, cases[i].message))
			fail_msg("%s: %s", sql, error.message);
		c->driver->close_cursor(cursor);
		orm_batch_builder_fini(&builder);
	}
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back_as_they_went),
		cmocka_unit_test(values_are_found),
		cmocka_unit_test(values_that_postgresql_has_not_are_refused),
		cmocka_unit_test(other_programs_types_are_read),
		cmocka_unit_test(cells_that_do_not_fit_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
