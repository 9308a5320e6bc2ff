/* SPDX-License-Identifier: MIT */
/* Many rows: row by row, by arrays and by COPY, with the same outcome; and outcomes that are told later. */
#include "driver/postgresql_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sql/compile.h"

#define MAX_ROWS 300

typedef struct rows {
	const orm_mapper *mapper;
	uint16_t columns[4];
	orm_value values[MAX_ROWS * 8];
	orm_value returned[MAX_ROWS];
	size_t affected[MAX_ROWS];
	orm_buffer sql;
	orm_arena arena;
	ormd_write write;
} rows;

static orm_registry *registry;

/* Things: id, name unique, owner (of Thing), version, made_by with a default. */
static const orm_mapper *thing_mapper(void)
{
	static const orm_column_spec columns[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "name", .type = ORM_TEXT, .unique = true, .check = "name <> 'forbidden'"},
		{.name = "owner",
		 .type = ORM_INT64,
		 .nullable = true,
		 .references_model = "Thing",
		 .references_column = "id"},
		{.name = "version", .type = ORM_INT32, .version = true},
		{.name = "made_by", .type = ORM_TEXT, .server_default = "'nobody'"},
	};
	static const orm_model_spec models[] = {
		{.name = "Thing", .table = "things", .columns = columns, .n_columns = 5}};
	orm_error error;

	if (!registry)
		registry = orm_registry_new(models, 1, &error);
	if (!registry)
		fail_msg("%s", error.message);
	return orm_registry_find(registry, "Thing");
}

enum { ID, NAME, OWNER, VERSION, MADE_BY };

static ormd_connection *open_things(void)
{
	ormd_connection *c = open_fresh(NULL);

	create_tables(c, thing_mapper()->registry);
	return c;
}

static void rows_fini(rows *r)
{
	orm_buffer_fini(&r->sql);
	orm_arena_fini(&r->arena);
	free(r);
}

/* Names must stay: they are the arena's. */
static orm_value name_of(rows *r, int64_t id)
{
	return text_value(orm_arena_printf(&r->arena, "thing %lld", (long long)id));
}

static rows *new_rows(size_t n, size_t n_columns, size_t n_parameters, ormd_write_kind kind)
{
	rows *r = calloc(1, sizeof *r);

	assert_non_null(r);
	orm_arena_init(&r->arena, 0);
	orm_buffer_init(&r->sql);
	r->write = (ormd_write){.kind = kind,
				.mapper = thing_mapper(),
				.columns = r->columns,
				.n_columns = n_columns,
				.n_parameters = n_parameters,
				.n_rows = n,
				.values = r->values,
				.affected = r->affected,
				.arena = &r->arena,
				.failed_row = 999};
	return r;
}

/* Ids from `first` on; each owned by the one before it, within the rows. */
static rows *new_insert(int64_t first, size_t n, bool returning)
{
	static const uint8_t text = ORM_TEXT;
	static const uint16_t made_by = MADE_BY;
	rows *r = new_rows(n, 4, 4, ORMD_WRITE_INSERT);

	for (uint16_t i = 0; i < 4; i++)
		r->columns[i] = i;
	ormd_sql_insert(&ormd_dialect_postgresql, thing_mapper(), r->columns, 4, &made_by, returning, &r->sql);
	r->write.sql = r->sql.data;
	r->write.n_returning = returning;
	r->write.returning = &text;
	r->write.returned = r->returned;
	for (size_t i = 0; i < n; i++) {
		const int64_t id = first + (int64_t)i;

		r->values[4 * i + ID] = typed(ORM_INT64, id);
		r->values[4 * i + NAME] = name_of(r, id);
		r->values[4 * i + OWNER] = i > 0 ? typed(ORM_INT64, id - 1) : null_value(ORM_INT64);
		r->values[4 * i + VERSION] = typed(ORM_INT32, 1);
	}
	return r;
}

/* A new name and version 2, where the version is 1. */
static rows *new_update(int64_t first, size_t n)
{
	rows *r = new_rows(n, 2, 4, ORMD_WRITE_UPDATE);

	r->columns[0] = NAME;
	r->columns[1] = VERSION;
	ormd_sql_update(&ormd_dialect_postgresql, thing_mapper(), r->columns, 2, &r->sql);
	r->write.sql = r->sql.data;
	for (size_t i = 0; i < n; i++) {
		r->values[4 * i] = text_value(orm_arena_printf(&r->arena, "new %lld", (long long)first + (long long)i));
		r->values[4 * i + 1] = typed(ORM_INT32, 2);
		r->values[4 * i + 2] = typed(ORM_INT64, first + (int64_t)i);
		r->values[4 * i + 3] = typed(ORM_INT32, 1);
	}
	return r;
}

/* From the last to the first, since each owns the next. */
static rows *new_delete(int64_t first, size_t n, int32_t version)
{
	rows *r = new_rows(n, 0, 2, ORMD_WRITE_DELETE);

	ormd_sql_delete(&ormd_dialect_postgresql, thing_mapper(), &r->sql);
	r->write.sql = r->sql.data;
	for (size_t i = 0; i < n; i++) {
		r->values[2 * i] = typed(ORM_INT64, first + (int64_t)(n - 1 - i));
		r->values[2 * i + 1] = typed(ORM_INT32, version);
	}
	return r;
}

static const size_t sizes[] = {1, 3, 40, MAX_ROWS}; /* rows, rows, arrays, COPY */
#define N_SIZES (sizeof sizes / sizeof sizes[0])

static void begin(ormd_connection *c)
{
	orm_error error;

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
}

static void commit(ormd_connection *c)
{
	orm_error error;

	expect_ok(c->driver->commit(c, &error), &error);
}

static void all_ways_write_the_same(void **state)
{
	ormd_connection *c = open_things();

	(void)state;
	for (size_t i = 0; i < 2 * N_SIZES; i++) {
		const size_t n = sizes[i / 2];
		rows *insert = new_insert(1, n, i % 2);
		rows *update = new_update(1, n);
		rows *delete = new_delete(1, n, 2);

		begin(c);
		expect_write(c, &insert->write);
		commit(c);
		assert_int_equal(
			ask_int64(c, "SELECT count(*) FROM things WHERE name = 'thing ' || id AND version = 1 AND "
				     "made_by = 'nobody' AND owner IS NOT DISTINCT FROM nullif(id - 1, 0)"),
			n);
		for (size_t row = 0; row < n; row++)
			assert_int_equal(insert->affected[row], 1);
		for (size_t row = 0; i % 2 && row < n; row++)
			assert_string_equal(insert->returned[row].text, "nobody");

		/* Every third has been changed by somebody else. */
		begin(c);
		run_sql(c, "UPDATE things SET version = 7 WHERE id % 3 = 0");
		expect_write(c, &update->write);
		for (size_t row = 0; row < n; row++)
			assert_int_equal(update->affected[row], (row + 1) % 3 != 0);
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE name = 'new ' || id AND version = 2"),
				 n - n / 3);
		run_sql(c, "UPDATE things SET version = 2");
		commit(c);

		begin(c);
		run_sql(c, "UPDATE things SET version = 8 WHERE id = 1");
		expect_write(c, &delete->write);
		for (size_t row = 0; row < n; row++)
			assert_int_equal(delete->affected[row], row != n - 1);
		commit(c);
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 1);
		run_sql(c, "DELETE FROM things");
		rows_fini(insert);
		rows_fini(update);
		rows_fini(delete);
	}
	c->driver->close(c);
}

/* The same row, with the same words, however many there are. */
static void failures_name_their_row(void **state)
{
	static const struct {
		int column;
		orm_value value;
		const char *message;
		orm_status status;
	} cases[] = {
		{ID,
		 {.type = ORM_INT64, .integer = 1000},
		 "things.id: another row has this primary key",
		 ORM_ECONSTRAINT},
		{NAME,
		 {.type = ORM_TEXT, .text = "taken", .size = 5},
		 "things.name: another row has this value",
		 ORM_ECONSTRAINT},
		{NAME,
		 {.type = ORM_TEXT, .text = "forbidden", .size = 9},
		 "things.name: the value violates",
		 ORM_ECONSTRAINT},
		{NAME, {.type = ORM_TEXT, .null = true}, "things.name: must not be NULL", ORM_ECONSTRAINT},
		{OWNER,
		 {.type = ORM_INT64, .integer = 5000},
		 "things.owner: refers to a row of things",
		 ORM_ECONSTRAINT},
		{NAME, {.type = ORM_TEXT, .text = "a\xff", .size = 2}, "PostgreSQL cannot keep a value", ORM_EINVAL},
	};
	ormd_connection *c = open_things();

	(void)state;
	run_sql(c, "INSERT INTO things (id, name, version) VALUES (1000, 'taken', 1)");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t k = 0; k < 2 * N_SIZES; k++) {
			const size_t n = sizes[k / 2];
			const size_t failed = n / 2;
			rows *insert = new_insert(1, n, k % 2);
			orm_error error;

			insert->values[4 * failed + (size_t)cases[i].column] = cases[i].value;
			begin(c);
			run_sql(c, "UPDATE things SET version = 2");
			if (c->driver->write(c, &insert->write, &error) != cases[i].status ||
			    insert->write.failed_row != failed || !strstr(error.message, cases[i].message))
				fail_msg("case %zu of %zu rows: row %zu: %s", i, n, insert->write.failed_row,
					 error.message);
			c->driver->rollback(c);
			rows_fini(insert);
		}
	}
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 1);
	assert_int_equal(ask_int64(c, "SELECT version FROM things"), 1);
	c->driver->close(c);
}

/* A statement for all rows checks uniqueness in an order of its own. */
static void what_only_works_row_by_row_works(void **state)
{
	ormd_connection *c = open_things();
	rows *insert = new_insert(1, 100, false);
	rows *update = new_update(1, 99);

	(void)state;
	expect_write(c, &insert->write);
	/* Each takes the name that the one before has just given up. */
	run_sql(c, "UPDATE things SET name = 'free' WHERE id = 1");
	for (size_t i = 0; i < 99; i++) {
		update->values[4 * i] = name_of(update, (int64_t)i + 1);
		update->values[4 * i + 2] = typed(ORM_INT64, (int64_t)i + 2);
	}
	begin(c);
	expect_write(c, &update->write);
	for (size_t i = 0; i < 99; i++)
		assert_int_equal(update->affected[i], 1);
	commit(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things WHERE name = 'thing ' || (id - 1)"), 99);
	rows_fini(insert);
	rows_fini(update);
	c->driver->close(c);
}

/* Other programs' tables: COPY knows no conversions, nor row-level security. */
static void what_copy_refuses_is_written_otherwise(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	rows *insert = new_insert(1, MAX_ROWS, false);

	(void)state;
	run_sql(c, "CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(20), owner NUMERIC, version SMALLINT)");
	for (int i = 0; i < 2; i++) {
		begin(c);
		expect_write(c, &insert->write);
		commit(c);
		assert_int_equal(ask_int64(c, "SELECT sum(id) FROM things"), MAX_ROWS * (MAX_ROWS + 1) / 2);
		run_sql(c, "DELETE FROM things");
	}
	expect_write(c, &insert->write); /* outside of transactions as well */
	assert_int_equal(ask_int64(c, "SELECT sum(id) FROM things"), MAX_ROWS * (MAX_ROWS + 1) / 2);
	rows_fini(insert);
	c->driver->close(c);
}

/* Far more than both sides' buffers hold. */
static void many_rows_of_a_plain_statement_do_not_block(void **state)
{
	static orm_value values[2 * 20000];
	static size_t affected[20000];
	static char text[2001];
	ormd_connection *c = open_fresh(NULL);
	ormd_write write = {.sql = "INSERT INTO t VALUES ($1, $2) RETURNING note",
			    .n_parameters = 2,
			    .n_rows = 20000,
			    .values = values,
			    .affected = affected,
			    .n_returning = 1,
			    .returning = &(uint8_t){ORM_TEXT}};
	orm_arena arena;

	(void)state;
	run_sql(c, "CREATE TABLE t (id BIGINT, note TEXT)");
	memset(text, 'x', 2000);
	for (int64_t i = 0; i < 20000; i++) {
		values[2 * i] = typed(ORM_INT64, i);
		values[2 * i + 1] = text_value(text);
	}
	orm_arena_init(&arena, 0);
	write.arena = &arena;
	write.returned = calloc(20000, sizeof *write.returned);
	expect_write(c, &write);
	for (size_t i = 0; i < 20000; i++) {
		assert_int_equal(affected[i], 1);
		assert_int_equal(write.returned[i].size, 2000);
	}
	assert_int_equal(ask_int64(c, "SELECT count(DISTINCT id) FROM t"), 20000);
	free(write.returned);
	orm_arena_fini(&arena);
	c->driver->close(c);
}

/* ---- later -------------------------------------------------------------------------------------------------- */

static void outcomes_can_be_told_later(void **state)
{
	ormd_connection *c = open_things();
	rows *insert = new_insert(1, 3, true);
	rows *update = new_update(2, 3); /* the last is not there */
	rows *delete = new_delete(3, 1, 2);
	ormd_write *failed = NULL;
	orm_error error;

	(void)state;
	insert->write.later = update->write.later = delete->write.later = true;
	begin(c);
	expect_write(c, &insert->write);
	memset(insert->values, 0, sizeof insert->values); /* need not stay */
	expect_write(c, &update->write);
	expect_write(c, &delete->write);
	expect_ok(c->driver->collect(c, &failed, &error), &error);
	assert_null(failed);
	assert_string_equal(insert->returned[2].text, "nobody");
	assert_int_equal(update->affected[0], 1);
	assert_int_equal(update->affected[1], 1);
	assert_int_equal(update->affected[2], 0);
	assert_int_equal(delete->affected[0], 1);
	commit(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 2);
	expect_ok(c->driver->collect(c, &failed, &error), &error); /* nothing to tell */
	rows_fini(insert);
	rows_fini(update);
	rows_fini(delete);
	c->driver->close(c);
}

/* The first that failed is named, whoever waits. */
static void a_failure_told_later_names_its_write(void **state)
{
	ormd_connection *c = open_things();
	ormd_write *failed = NULL;
	orm_error error;

	(void)state;
	for (int way = 0; way < 5; way++) {
		rows *first = new_insert(1, 3, false);
		rows *second = new_insert(11, 3, false);
		rows *third = new_insert(21, way == 3 ? 40 : 3, false);
		orm_status status = ORM_OK;

		first->write.later = second->write.later = third->write.later = true;
		second->values[4 * 1 + NAME] = name_of(second, 2); /* taken by the first's second */
		begin(c);
		expect_write(c, &first->write);
		expect_write(c, &second->write);
		if (way < 2)
			expect_write(c, &third->write);
		if (way == 1)
			assert_null(c->driver->query(c, "SELECT id FROM things", NULL, 0, &(uint8_t){ORM_INT64}, 1,
						     &error));
		if (way == 2)
			status = c->driver->savepoint(c, 2, &error);
		if (way == 3)
			status = c->driver->write(c, &third->write, &error);
		if (way == 4) {
			assert_int_equal(c->driver->commit(c, &error), ORM_ECONSTRAINT);
		} else {
			if (way == 2 || way == 3)
				assert_int_equal(status, ORM_ECONSTRAINT);
			assert_int_equal(c->driver->collect(c, &failed, &error), ORM_ECONSTRAINT);
			assert_ptr_equal(failed, &second->write);
			assert_int_equal(second->write.failed_row, 1);
			c->driver->rollback(c);
		}
		assert_non_null(strstr(error.message, "things.name: another row has this value"));
		assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 0);
		rows_fini(first);
		rows_fini(second);
		rows_fini(third);
	}
	c->driver->close(c);
}

static void a_savepoint_survives_a_failure_told_later(void **state)
{
	ormd_connection *c = open_things();
	rows *first = new_insert(1, 3, false);
	rows *second = new_insert(1, 3, false);
	ormd_write *failed = NULL;
	orm_error error;

	(void)state;
	second->write.later = true;
	begin(c);
	expect_ok(c->driver->savepoint(c, 1, &error), &error);
	expect_write(c, &first->write);
	expect_ok(c->driver->savepoint(c, 2, &error), &error);
	expect_write(c, &second->write);
	expect_ok(c->driver->rollback_to(c, 2, &error), &error); /* nobody wants to know */
	expect_ok(c->driver->collect(c, &failed, &error), &error);
	expect_ok(c->driver->release(c, 1, &error), &error);
	commit(c);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM things"), 3);
	rows_fini(first);
	rows_fini(second);
	c->driver->close(c);
}

/* One round trip for all: statements that are sent do not wait for each other. */
static void a_flush_takes_one_round_trip(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	rows *insert = new_insert(1, 3, false);
	ormd_write *failed = NULL;
	orm_error error;

	(void)state;
	create_tables(c, thing_mapper()->registry);
	insert->write.later = true;
	begin(c);
	expect_ok(c->driver->savepoint(c, 1, &error), &error);
	expect_write(c, &insert->write);
	/* Neither BEGIN nor anything after it has left yet. */
	assert_int_equal(engine_ask_number(url, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND "
						"datname = current_database()"),
			 0);
	expect_ok(c->driver->collect(c, &failed, &error), &error);
	commit(c);
	rows_fini(insert);
	c->driver->close(c);
}

static void free_registry(void)
{
	orm_registry_free(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_ways_write_the_same),
		cmocka_unit_test(failures_name_their_row),
		cmocka_unit_test(what_only_works_row_by_row_works),
		cmocka_unit_test(what_copy_refuses_is_written_otherwise),
		cmocka_unit_test(many_rows_of_a_plain_statement_do_not_block),
		cmocka_unit_test(outcomes_can_be_told_later),
		cmocka_unit_test(a_failure_told_later_names_its_write),
		cmocka_unit_test(a_savepoint_survives_a_failure_told_later),
		cmocka_unit_test(a_flush_takes_one_round_trip),
	};

	atexit(free_registry);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
