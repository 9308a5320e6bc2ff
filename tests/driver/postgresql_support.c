/* SPDX-License-Identifier: MIT */
#include "driver/postgresql_support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ormd_connection *open_again(const char *url, bool read_only)
{
	return open_connection(url, read_only);
}

ormd_connection *open_fresh(char url[ENGINE_URL_SIZE])
{
	char own[ENGINE_URL_SIZE];

	url = url ? url : own;
	engine_database(ENGINE_POSTGRESQL, url);
	return open_again(url, false);
}

void expect_ok(orm_status status, const orm_error *error)
{
	if (status != ORM_OK)
		fail_msg("%s: %s", orm_status_name(status), error->message);
}

void expect_write(ormd_connection *connection, ormd_write *write)
{
	orm_error error;

	expect_ok(connection->driver->write(connection, write, &error), &error);
}

int64_t backend_pid(const ormd_connection *connection)
{
	int64_t pid = 0;

	assert_int_equal(sscanf(connection->backend, "%*d/%" SCNd64, &pid), 1);
	return pid;
}

static orm_status emit(const char *sql, void *context, orm_error *error)
{
	ormd_connection *connection = context;

	return connection->driver->run(connection, sql, error);
}

void create_tables(ormd_connection *connection, const orm_registry *registry)
{
	orm_error error;

	expect_ok(ormd_ddl_create_all(&ormd_dialect_postgresql, registry, emit, connection, &error), &error);
}

orm_value typed(orm_type type, int64_t integer)
{
	return (orm_value){.type = (uint8_t)type, .integer = integer};
}

char *ask_text(ormd_connection *connection, const char *sql, const uint8_t *types, size_t n_types)
{
	const ormd_driver *driver = connection->driver;
	uint16_t columns[16];
	orm_batch_builder builder;
	orm_vector vectors[16];
	orm_vector_cursor cursors[16];
	orm_batch batch;
	orm_error error;
	orm_buffer text;
	size_t n_rows = 0;
	bool done = false;
	ormd_cursor *cursor = driver->query(connection, sql, NULL, 0, types, n_types, &error);

	if (!cursor)
		fail_msg("%s: %s", sql, error.message);
	for (size_t i = 0; i < n_types; i++) {
		columns[i] = 0;
		while (cell_mapper()->columns[columns[i]].type != types[i])
			columns[i]++;
	}
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), columns, n_types));
	while (!done)
		expect_ok(driver->fetch(cursor, &builder, 3, SIZE_MAX, &n_rows, &done, &error), &error);
	driver->close_cursor(cursor);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	orm_buffer_init(&text);
	orm_buffer_puts(&text, "");
	for (size_t i = 0; i < n_types; i++)
		orm_vector_cursor_init(&cursors[i], &vectors[i]);
	for (size_t row = 0; row < batch.n_rows; row++) {
		for (size_t i = 0; i < n_types; i++) {
			orm_value value;

			orm_buffer_puts(&text, i > 0 ? " " : row > 0 ? "; " : "");
			orm_vector_cursor_next(&cursors[i], &value);
			orm_value_print(&value, 100, &text);
		}
	}
	orm_batch_builder_fini(&builder);
	return orm_buffer_steal(&text);
}

void expect_answer(ormd_connection *connection, const char *sql, const uint8_t *types, size_t n_types,
		   const char *expected)
{
	char *text = ask_text(connection, sql, types, n_types);

	assert_string_equal(text, expected);
	free(text);
}
