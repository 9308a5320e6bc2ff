/* SPDX-License-Identifier: MIT */
/* Decimals, UUIDs and JSON in every engine: there and back by each way of writing, compared and ordered as what they
 * are. */
#include "driver/support.h"

#include <stdio.h>
#include <string.h>

#include "sql/compile.h"
#include "sql/ddl.h"

enum { ID, PRICE, RATE, TOKEN, DOCUMENT, FEE, N_COLUMNS };
#define N_ROWS 6

static orm_registry *registry;

static const orm_mapper *mapper(void)
{
	return &registry->mappers[0];
}

static int make_registry(void **state)
{
	static const orm_column_spec columns[N_COLUMNS] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "price", .type = ORM_DECIMAL, .precision = 18, .scale = 2, .nullable = true, .index = true},
		{.name = "rate", .type = ORM_DECIMAL, .precision = 18, .scale = 18, .nullable = true},
		{.name = "token", .type = ORM_UUID, .nullable = true, .unique = true},
		{.name = "document", .type = ORM_JSON, .nullable = true},
		{.name = "fee", .type = ORM_DECIMAL, .precision = 4, .scale = 2, .server_default = "1.5"},
	};
	static const orm_model_spec model = {
		.name = "Exact", .table = "exacts", .columns = columns, .n_columns = N_COLUMNS};

	(void)state;
	registry = orm_registry_new(&model, 1, NULL);
	return registry ? 0 : -1;
}

static int free_registry(void **state)
{
	(void)state;
	orm_registry_free(registry);
	return 0;
}

static orm_status run_statement(const char *sql, void *context, orm_error *error)
{
	ormd_connection *connection = context;

	return connection->driver->run(connection, sql, error);
}

static ormd_connection *open_exacts(void)
{
	ormd_connection *c = open_connection(database_url("exacts.db"), false);
	orm_error error;

	if (ormd_ddl_create_all(c->driver->dialect, registry, run_statement, c, &error) != ORM_OK)
		fail_msg("%s", error.message);
	return c;
}

static orm_value text(orm_type type, const char *value)
{
	return (orm_value){
		.type = (uint8_t)type, .null = !value, .text = value, .size = value ? (uint32_t)strlen(value) : 0};
}

/* 16 bytes; different ones for each row, which is told by the first. */
static orm_value token(const char *bytes)
{
	return (orm_value){.type = ORM_UUID, .null = !bytes, .bytes = bytes, .size = bytes ? sizeof(orm_uuid) : 0};
}

/* In the order of their prices, NULL first. */
static void fill(orm_value rows[N_ROWS][N_COLUMNS])
{
	static const struct {
		const char *price, *rate, *token, *document;
	} cells[N_ROWS] = {
		{NULL, NULL, NULL, NULL},
		{"-9999999999999999.99", "-0.999999999999999999", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "null"},
		{"-10.00", "0.000000000000000000", "b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		 "{}"},
		{"0.00", "0.000000000000000001", "cccccccccccccccc", " [1, 2.50, \"gr\xc3\xbc\xc3\x9f\"] "},
		{"9.00", "0.100000000000000000", "dddddddddddddddd", "{\"b\":1,\"a\":2,\"a\":\"\\u00e9\"}"},
		{"10000.50", "0.999999999999999999", "eeeeeeeeeeeeeeee", "\"'\\\\\""},
	};

	for (size_t i = 0; i < N_ROWS; i++) {
		rows[i][ID] = int64_value((int64_t)i + 1);
		rows[i][PRICE] = text(ORM_DECIMAL, cells[i].price);
		rows[i][RATE] = text(ORM_DECIMAL, cells[i].rate);
		rows[i][TOKEN] = token(cells[i].token);
		rows[i][DOCUMENT] = text(ORM_JSON, cells[i].document);
		rows[i][FEE] = text(ORM_DECIMAL, "0.05");
	}
}

static void insert(ormd_connection *c, const orm_value *values, size_t n_rows)
{
	static const uint16_t columns[N_COLUMNS] = {ID, PRICE, RATE, TOKEN, DOCUMENT, FEE};
	orm_buffer sql;
	orm_error error;
	orm_status status;

	orm_buffer_init(&sql);
	ormd_sql_insert(c->driver->dialect, mapper(), columns, N_COLUMNS, NULL, 0, &sql);

	ormd_write write = {.sql = sql.data,
			    .kind = ORMD_WRITE_INSERT,
			    .mapper = mapper(),
			    .columns = columns,
			    .n_columns = N_COLUMNS,
			    .n_parameters = N_COLUMNS,
			    .n_rows = n_rows,
			    .values = values};

	status = c->driver->write(c, &write, &error);
	if (status != ORM_OK)
		fail_msg("%s", error.message);
	orm_buffer_fini(&sql);
}

/* Fill the builder with what the query gives; the number of its rows. */
static size_t fetch(ormd_connection *c, const ormd_select *select, orm_batch_builder *builder)
{
	uint8_t types[N_COLUMNS];
	orm_arena arena;
	orm_buffer sql;
	orm_error error;
	size_t n_parameters = 0;
	size_t n_rows = 0;
	bool done = false;

	orm_arena_init(&arena, 0);
	orm_buffer_init(&sql);
	for (size_t i = 0; i < N_COLUMNS; i++)
		types[i] = (uint8_t)mapper()->columns[i].type;
	ormd_sql_select(c->driver->dialect, select, &sql);

	const orm_value *parameters = ormd_select_parameters(select, &arena, &n_parameters);
	ormd_cursor *cursor = c->driver->query(c, sql.data, parameters, n_parameters, types, N_COLUMNS, &error);

	if (!cursor)
		fail_msg("%s: %s", sql.data, error.message);
	assert_true(orm_batch_builder_init(builder, mapper(), NULL, 0));
	while (!done) {
		size_t n = 0;

		if (c->driver->fetch(cursor, builder, 7, SIZE_MAX, &n, &done, &error) != ORM_OK)
			fail_msg("%s: %s", sql.data, error.message);
		n_rows += n;
	}
	c->driver->close_cursor(cursor);
	orm_buffer_fini(&sql);
	orm_arena_fini(&arena);
	return n_rows;
}

static void expect_rows(ormd_connection *c, const ormd_select *select, const orm_value *rows, size_t n_wanted)
{
	orm_vector vectors[N_COLUMNS];
	orm_batch_builder builder;
	orm_batch batch;

	assert_int_equal(fetch(c, select, &builder), n_wanted);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	for (size_t column = 0; column < N_COLUMNS; column++) {
		orm_vector_cursor cells;

		orm_vector_cursor_init(&cells, &vectors[column]);
		for (size_t row = 0; row < n_wanted; row++) {
			orm_value value;

			orm_vector_cursor_next(&cells, &value);
			if (!orm_value_equal(&value, &rows[row * N_COLUMNS + column]))
				fail_msg("row %zu, column %s", row, mapper()->columns[column].name);
		}
	}
	orm_batch_builder_fini(&builder);
}

/* A few rows, and as many as an engine has faster ways for. */
static void values_come_back_as_they_went(void **state)
{
	static const size_t counts[] = {N_ROWS, 30, 130};
	const ormd_order by_id = {.column = ID};
	const ormd_select select = {.mapper = mapper(), .order = &by_id, .n_order = 1, .limit = ORMD_NO_LIMIT};
	static orm_value many[130][N_COLUMNS];
	static char tokens[130][sizeof(orm_uuid)];
	orm_value rows[N_ROWS][N_COLUMNS];
	ormd_connection *c = open_exacts();

	(void)state;
	fill(rows);
	for (size_t i = 0; i < 130; i++) {
		memcpy(many[i], rows[i % N_ROWS], sizeof many[i]);
		many[i][ID].integer = (int64_t)i + 1;
		memset(tokens[i], (int)i, sizeof tokens[i]); /* which are unique */
		if (!many[i][TOKEN].null)
			many[i][TOKEN].bytes = tokens[i];
	}
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		insert(c, many[0], counts[i]);
		expect_rows(c, &select, many[0], counts[i]);
		run_sql(c, "DELETE FROM exacts");
	}
	c->driver->close(c);
}

static void they_are_ordered_and_compared_by_value(void **state)
{
	static const size_t shuffled[N_ROWS] = {4, 1, 5, 0, 3, 2};
	const orm_value nine = text(ORM_DECIMAL, "9.00");
	const ormd_order by_price = {.column = PRICE};
	const ormd_order by_token = {.column = TOKEN};
	const ormd_term below = {.op = ORMD_LT, .column = PRICE, .values = &nine, .n_values = 1};
	orm_value rows[N_ROWS][N_COLUMNS];
	orm_value mixed[N_ROWS][N_COLUMNS];
	ormd_connection *c = open_exacts();
	ormd_select select = {.mapper = mapper(), .order = &by_price, .n_order = 1, .limit = ORMD_NO_LIMIT};

	(void)state;
	fill(rows);
	for (size_t i = 0; i < N_ROWS; i++)
		memcpy(mixed[i], rows[shuffled[i]], sizeof mixed[i]);
	insert(c, mixed[0], N_ROWS);
	expect_rows(c, &select, rows[0], N_ROWS);
	select.order = &by_token; /* by its bytes, the same order here */
	expect_rows(c, &select, rows[0], N_ROWS);
	select.where = &below;
	select.n_where = 1;
	expect_rows(c, &select, rows[1], 3);
	for (uint16_t column = PRICE; column <= TOKEN; column++) {
		const ormd_term equal = {.op = ORMD_EQ, .column = column, .values = &rows[4][column], .n_values = 1};

		select.where = &equal;
		expect_rows(c, &select, rows[4], 1);
	}
	c->driver->close(c);
}

static void defaults_are_returned_canonical(void **state)
{
	static const uint16_t column = ID;
	static const uint16_t fee = FEE;
	static const uint8_t type = ORM_DECIMAL;
	const orm_value id = int64_value(1);
	ormd_connection *c = open_exacts();
	orm_value returned;
	orm_buffer sql;
	orm_arena arena;
	orm_error error;

	(void)state;
	orm_arena_init(&arena, 0);
	orm_buffer_init(&sql);
	ormd_sql_insert(c->driver->dialect, mapper(), &column, 1, &fee, 1, &sql);

	ormd_write write = {.sql = sql.data,
			    .kind = ORMD_WRITE_INSERT,
			    .mapper = mapper(),
			    .columns = &column,
			    .n_columns = 1,
			    .n_parameters = 1,
			    .n_rows = 1,
			    .values = &id,
			    .n_returning = 1,
			    .returning = &type,
			    .returned = &returned,
			    .arena = &arena};

	if (c->driver->write(c, &write, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_int_equal(returned.type, ORM_DECIMAL);
	assert_string_equal(returned.text, "1.50");
	orm_buffer_fini(&sql);
	orm_arena_fini(&arena);
	c->driver->close(c);
}

/* Every engine takes documents as deep as the models do. */
static void deep_documents_are_kept(void **state)
{
	const ormd_select select = {.mapper = mapper(), .limit = ORMD_NO_LIMIT};
	char document[2 * ORM_JSON_DEPTH + 1] = "";
	orm_value rows[N_ROWS][N_COLUMNS];
	ormd_connection *c = open_exacts();

	(void)state;
	memset(document, '[', ORM_JSON_DEPTH);
	memset(document + ORM_JSON_DEPTH, ']', ORM_JSON_DEPTH);
	fill(rows);
	rows[0][DOCUMENT] = text(ORM_JSON, document);
	insert(c, rows[0], 1);
	expect_rows(c, &select, rows[0], 1);
	c->driver->close(c);
}

/* What the engine's own type or check keeps other programs from writing. */
static void other_programs_cannot_write_nonsense(void **state)
{
	static const char *const statements[] = {
		"INSERT INTO exacts (id, price) VALUES (100, 'x')",
		"INSERT INTO exacts (id, token) VALUES (101, 'abcdefghijklmnopqrstuvwxyz')",
		"INSERT INTO exacts (id, document) VALUES (102, '{')",
	};
	ormd_connection *c = open_exacts();
	orm_error error;

	(void)state;
	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
		if (c->driver->run(c, statements[i], &error) == ORM_OK)
			fail_msg("%s", statements[i]);
	}
	c->driver->close(c);
}

static void sqlite_reads_only_what_is_one(void **state)
{
	static const struct {
		const char *cell;
		uint16_t column;
	} cases[] = {
		{"1.5", PRICE},   {"'x'", PRICE}, {"x'00'", PRICE},  {"'abcdabcdabcdabcd'", TOKEN},
		{"x'00'", TOKEN}, {"5", TOKEN},   {"'{'", DOCUMENT}, {"x'7b7d'", DOCUMENT},
		{"1", DOCUMENT},
	};

	ONLY_ON_SQLITE();

	ormd_connection *c = open_connection("sqlite:///:memory:", false);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const uint8_t type = (uint8_t)mapper()->columns[cases[i].column].type;
		orm_batch_builder builder;
		char sql[100];
		orm_error error;
		size_t n_rows;
		bool done;

		snprintf(sql, sizeof sql, type == ORM_DECIMAL ? "SELECT ormd_decimal(%s, 2)" : "SELECT %s",
			 cases[i].cell);

		ormd_cursor *cursor = c->driver->query(c, sql, NULL, 0, &type, 1, &error);

		assert_non_null(cursor);
		assert_true(orm_batch_builder_init(&builder, mapper(), &cases[i].column, 1));
		if (c->driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, &error) != ORM_EDATABASE)
			fail_msg("%s was read", sql);
		assert_non_null(strstr(error.message, orm_type_name((orm_type)type)));
		c->driver->close_cursor(cursor);
		orm_batch_builder_fini(&builder);
	}
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back_as_they_went),
		cmocka_unit_test(they_are_ordered_and_compared_by_value),
		cmocka_unit_test(defaults_are_returned_canonical),
		cmocka_unit_test(deep_documents_are_kept),
		cmocka_unit_test(other_programs_cannot_write_nonsense),
		cmocka_unit_test(sqlite_reads_only_what_is_one),
	};

	return cmocka_run_group_tests(tests, make_registry, free_registry);
}
