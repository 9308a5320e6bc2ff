/* SPDX-License-Identifier: MIT */
/* Values there and back, and what other programs may have left in the file. */
#include "driver/support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sql/compile.h"

#define N_CELLS 10 /* columns of Cell */

static const char create_cells[] =
	"CREATE TABLE cells (id INTEGER PRIMARY KEY, bool BOOLEAN, int32 INTEGER, int64 BIGINT, double REAL, "
	"text TEXT, bytes BLOB, date INTEGER, time INTEGER, datetime INTEGER)";

static ormd_connection *open_cells(void)
{
	ormd_connection *connection = open_connection("sqlite:///:memory:", false);

	run_sql(connection, create_cells);
	return connection;
}

static void insert_sql(orm_buffer *sql)
{
	uint16_t columns[N_CELLS];

	for (uint16_t i = 0; i < N_CELLS; i++)
		columns[i] = i;
	orm_buffer_init(sql);
	ormd_sql_insert(&ormd_dialect_sqlite, cell_mapper(), columns, N_CELLS, NULL, 0, sql);
	assert_false(sql->failed);
}

/* All cells of the table, by id; `builder` is filled. */
static orm_status fetch_cells(ormd_connection *c, size_t max_rows, size_t max_size, orm_batch_builder *builder,
			      size_t *n_rows, orm_error *error)
{
	uint8_t types[N_CELLS];
	bool done = false;
	orm_status status = ORM_OK;
	ormd_cursor *cursor;

	for (uint16_t i = 0; i < N_CELLS; i++)
		types[i] = (uint8_t)cell_mapper()->columns[i].type;
	cursor = c->driver->query(c, "SELECT * FROM cells ORDER BY id", NULL, 0, types, N_CELLS, error);
	assert_non_null(cursor);
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

static void set_bytes(orm_value *value, const void *data, uint32_t size)
{
	*value = (orm_value){.type = ORM_BYTES, .bytes = data, .size = size};
}

/* Extremes, empties, ordinary ones and NULLs of every type. */
static size_t sample_rows(orm_value *values)
{
	static const int64_t integers[][5] = {
		/* int32, int64, date, time, datetime */
		{INT32_MIN, INT64_MIN, INT32_MIN, 0, INT64_MIN},
		{INT32_MAX, INT64_MAX, INT32_MAX, INT64_C(86399999999), INT64_MAX},
		{0, 0, 0, 0, 0},
		{-1, 4294967296, 20780, 47736000001, 1795439736000001},
	};
	static const double doubles[] = {-DBL_MAX, DBL_TRUE_MIN, 0.5, 3.0}; /* not -0.0: SQLite keeps 0.0 for it */
	static const char *const texts[] = {"", "it's \"quoted\" \\ 100%", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
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
		set_bytes(value++, row ? blob : (const uint8_t *)"", row ? (uint32_t)sizeof blob : 0);
		*value++ = (orm_value){.type = ORM_DATE, .integer = integers[row][2]};
		*value++ = (orm_value){.type = ORM_TIME, .integer = integers[row][3]};
		*value++ = (orm_value){.type = ORM_DATETIME, .integer = integers[row][4]};
	}
	values[n * N_CELLS] = int64_value((int64_t)n + 1);
	for (size_t i = 1; i < N_CELLS; i++)
		values[n * N_CELLS + i] = null_value(cell_mapper()->columns[i].type);
	return n + 1;
}

static void every_type_comes_back_as_it_was(void **state)
{
	ormd_connection *c = open_cells();
	orm_value values[5 * N_CELLS];
	size_t affected[5];
	orm_batch_builder builder;
	orm_buffer sql;
	orm_error error;
	size_t n_rows;

	(void)state;
	insert_sql(&sql);

	ormd_write write = {.sql = sql.data,
			    .n_parameters = N_CELLS,
			    .n_rows = sample_rows(values),
			    .values = values,
			    .affected = affected};

	assert_int_equal(c->driver->write(c, &write, &error), ORM_OK);
	for (size_t i = 0; i < write.n_rows; i++)
		assert_int_equal(affected[i], 1);

	/* In one piece, row by row, and cut by size: always the same. */
	static const size_t limits[][2] = {{100, SIZE_MAX}, {1, SIZE_MAX}, {100, 1}, {2, 70}};

	assert_true(orm_batch_builder_init(&builder, cell_mapper(), NULL, 0));
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		orm_batch_builder_reset(&builder);
		assert_int_equal(fetch_cells(c, limits[i][0], limits[i][1], &builder, &n_rows, &error), ORM_OK);
		assert_int_equal(n_rows, write.n_rows);
		expect_equal_rows(&builder, values, write.n_rows);
	}
	orm_batch_builder_fini(&builder);
	orm_buffer_fini(&sql);
	c->driver->close(c);
}

static void returning_gives_one_row_for_each(void **state)
{
	static const uint8_t types[] = {ORM_INT64, ORM_TEXT};
	const orm_value values[] = {text_value("one"), null_value(ORM_TEXT), text_value("three")};
	ormd_connection *c = open_cells();
	orm_value returned[6];
	orm_arena arena;
	orm_error error;
	ormd_write write = {
		.sql = "INSERT INTO cells (text) VALUES (?) RETURNING id, text",
		.n_parameters = 1,
		.n_rows = 3,
		.values = values,
		.n_returning = 2,
		.returning = types,
		.returned = returned,
		.arena = &arena,
	};

	(void)state;
	orm_arena_init(&arena, 0);
	assert_int_equal(c->driver->write(c, &write, &error), ORM_OK);
	run_sql(c, "DELETE FROM cells");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(returned[i * 2].integer, i + 1);
		assert_true(orm_value_equal(&returned[i * 2 + 1], &values[i]));
	}
	orm_arena_fini(&arena);
	c->driver->close(c);
}

static void writing_stops_at_the_row_at_fault(void **state)
{
	const orm_value values[] = {int64_value(1), int64_value(2), int64_value(1), int64_value(3)};
	ormd_connection *c = open_cells();
	orm_error error;
	ormd_write write = {
		.sql = "INSERT INTO cells (id) VALUES (?)", .n_parameters = 1, .n_rows = 4, .values = values};

	(void)state;
	assert_int_equal(c->driver->write(c, &write, &error), ORM_ECONSTRAINT);
	assert_int_equal(write.failed_row, 2);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells"), 2);
	c->driver->close(c);
}

static void affected_counts_rows_found_not_only_changed(void **state)
{
	const orm_value values[] = {int64_value(7), int64_value(1), int64_value(7), int64_value(2)};
	ormd_connection *c = open_cells();
	size_t affected[2];
	ormd_write write = {.sql = "UPDATE cells SET int64 = ? WHERE id = ?",
			    .n_parameters = 2,
			    .n_rows = 2,
			    .values = values,
			    .affected = affected};

	(void)state;
	run_sql(c, "INSERT INTO cells (id, int64) VALUES (1, 7)");
	assert_int_equal(c->driver->write(c, &write, NULL), ORM_OK);
	assert_int_equal(affected[0], 1);
	assert_int_equal(affected[1], 0);
	c->driver->close(c);
}

static void counts_that_differ_are_refused(void **state)
{
	const uint8_t type = ORM_INT64;
	const orm_value value = int64_value(1);
	ormd_connection *c = open_cells();
	orm_error error;

	(void)state;
	assert_int_equal(write_row(c, "INSERT INTO cells (id, int64) VALUES (?, ?)", &value, 1, &error), ORM_EINTERNAL);
	assert_int_equal(write_row(c, "INSERT INTO cells (id) VALUES (?) RETURNING id", &value, 1, &error),
			 ORM_EINTERNAL);
	assert_int_equal(write_row(c, "SELECT 1; SELECT 2", NULL, 0, &error), ORM_EINTERNAL);
	assert_null(c->driver->query(c, "SELECT id, int64 FROM cells", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EINTERNAL);
	assert_null(c->driver->query(c, "SELECT id FROM cells WHERE id = ?", NULL, 0, &type, 1, &error));
	assert_int_equal(error.code, ORM_EINTERNAL);
	c->driver->close(c);
}

static void not_a_number_is_refused(void **state)
{
	const orm_value value = {.type = ORM_DOUBLE, .number = NAN};
	const orm_value infinite = {.type = ORM_DOUBLE, .number = INFINITY};
	ormd_connection *c = open_cells();
	orm_error error;

	(void)state;
	assert_int_equal(write_row(c, "INSERT INTO cells (double) VALUES (?)", &value, 1, &error), ORM_EINVAL);
	assert_non_null(strstr(error.message, "NaN"));
	assert_int_equal(write_row(c, "INSERT INTO cells (double) VALUES (?)", &infinite, 1, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM cells WHERE double = 9e999"), 1);
	c->driver->close(c);
}

/* What other programs wrote, and does not fit. */
static void cells_that_do_not_fit_are_named(void **state)
{
	static const struct {
		const char *column;
		const char *sql;
	} cases[] = {
		{"bool", "2"},
		{"bool", "'yes'"},
		{"bool", "1.5"},
		{"int32", "2147483648"},
		{"int32", "-2147483649"},
		{"int32", "'seven'"},
		{"int64", "1.5"},
		{"int64", "'x'"},
		{"double", "'x'"},
		{"double", "x'00'"},
		{"text", "x'00'"},
		{"text", "CAST(x'ff' AS TEXT)"},
		{"text", "CAST(x'610062' AS TEXT)"},
		{"text", "CAST(x'eda080' AS TEXT)"},
		{"bytes", "'text'"},
		{"bytes", "1"},
		{"date", "2147483648"},
		{"date", "'2026-02-30'"},
		{"date", "1.5"},
		{"time", "-1"},
		{"time", "86400000000"},
		{"time", "'25:00:00'"},
		{"datetime", "'yesterday'"},
		{"datetime", "CAST(x'323032362d31312d32330031' AS TEXT)"},
		{"datetime", "x'00'"},
	};
	ormd_connection *c = open_cells();
	orm_batch_builder builder;

	(void)state;
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), NULL, 0));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char sql[200];
		orm_error error;
		size_t n_rows;

		run_sql(c, "DELETE FROM cells");
		snprintf(sql, sizeof sql, "INSERT INTO cells (%s) VALUES (%s)", cases[i].column, cases[i].sql);
		run_sql(c, sql);
		orm_batch_builder_reset(&builder);
		if (fetch_cells(c, 10, SIZE_MAX, &builder, &n_rows, &error) != ORM_EDATABASE)
			fail_msg("%s %s was read", cases[i].column, cases[i].sql);
		assert_string_equal(error.column, cases[i].column);
		assert_string_equal(error.model, "cells");
		assert_non_null(strstr(error.message, cases[i].column));
	}
	orm_batch_builder_fini(&builder);
	c->driver->close(c);
}

static void iso_dates_of_other_programs_are_understood(void **state)
{
	static const struct {
		const char *column;
		const char *text;
		int64_t integer;
	} cases[] = {
		{"date", "1970-01-02", 1},
		{"time", "00:00:01.5", 1500000},
		{"datetime", "1970-01-01T00:00:02Z", 2000000},
		{"datetime", "1970-01-01 00:00:02", 2000000}, /* CURRENT_TIMESTAMP's form: UTC */
		{"datetime", "1970-01-01 02:00:02.000001+02:00", 2000001},
	};
	ormd_connection *c = open_cells();
	orm_batch_builder builder;

	(void)state;
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), NULL, 0));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const orm_column *column = orm_mapper_column(cell_mapper(), cases[i].column);
		orm_vector vectors[N_CELLS];
		orm_batch batch;
		orm_vector_cursor cursor;
		orm_value value;
		char sql[200];
		orm_error error;
		size_t n_rows;

		run_sql(c, "DELETE FROM cells");
		snprintf(sql, sizeof sql, "INSERT INTO cells (%s) VALUES ('%s')", cases[i].column, cases[i].text);
		run_sql(c, sql);
		orm_batch_builder_reset(&builder);
		if (fetch_cells(c, 10, SIZE_MAX, &builder, &n_rows, &error) != ORM_OK)
			fail_msg("%s: %s", cases[i].text, error.message);
		assert_true(orm_batch_builder_view(&builder, vectors, &batch));
		orm_vector_cursor_init(&cursor, &vectors[column->number]);
		orm_vector_cursor_next(&cursor, &value);
		assert_int_equal(value.integer, cases[i].integer);
	}
	orm_batch_builder_fini(&builder);
	c->driver->close(c);
}

/* Two cursors of the same text at once, the parameters' storage gone meanwhile. */
static void cursors_nest(void **state)
{
	const uint8_t type = ORM_INT64;
	const char sql[] = "SELECT id FROM cells WHERE text >= ? ORDER BY id";
	const uint16_t column = 0;
	ormd_connection *c = open_cells();
	ormd_cursor *cursors[2];
	orm_batch_builder builders[2];
	orm_error error;
	size_t n_rows;
	bool done;

	(void)state;
	run_sql(c, "INSERT INTO cells (id, text) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
	for (int i = 0; i < 2; i++) {
		char text[] = "a";
		const orm_value value = text_value(text);

		assert_true(orm_batch_builder_init(&builders[i], cell_mapper(), &column, 1));
		cursors[i] = c->driver->query(c, sql, &value, 1, &type, 1, &error);
		assert_non_null(cursors[i]);
		text[0] = 'z';
	}
	for (int row = 0; row < 3; row++) {
		for (int i = 0; i < 2; i++) {
			assert_int_equal(
				c->driver->fetch(cursors[i], &builders[i], 1, SIZE_MAX, &n_rows, &done, &error),
				ORM_OK);
			assert_int_equal(n_rows, 1);
		}
	}
	for (int i = 0; i < 2; i++) {
		/* At the end, and past it: no rows, not the first ones again. */
		for (int again = 0; again < 2; again++) {
			assert_int_equal(
				c->driver->fetch(cursors[i], &builders[i], 1, SIZE_MAX, &n_rows, &done, &error),
				ORM_OK);
			assert_int_equal(n_rows, 0);
			assert_true(done);
		}
		assert_int_equal(builders[i].n_rows, 3);
		c->driver->close_cursor(cursors[i]);
		orm_batch_builder_fini(&builders[i]);
	}
	c->driver->close_cursor(NULL);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_comes_back_as_it_was),
		cmocka_unit_test(returning_gives_one_row_for_each),
		cmocka_unit_test(writing_stops_at_the_row_at_fault),
		cmocka_unit_test(affected_counts_rows_found_not_only_changed),
		cmocka_unit_test(counts_that_differ_are_refused),
		cmocka_unit_test(not_a_number_is_refused),
		cmocka_unit_test(cells_that_do_not_fit_are_named),
		cmocka_unit_test(iso_dates_of_other_programs_are_understood),
		cmocka_unit_test(cursors_nest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
