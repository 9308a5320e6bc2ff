/* SPDX-License-Identifier: MIT */
#include "driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sql/ddl.h"

const char create_items[] = "CREATE TABLE IF NOT EXISTS \"items\" (\"id\" INTEGER PRIMARY KEY, \"name\" TEXT NOT NULL)";

const char *database_url(const char *name)
{
	static _Thread_local char url[ENGINE_URL_SIZE];
	char path[SUPPORT_PATH_SIZE];

	if (engine_under_test() == ENGINE_SQLITE)
		snprintf(url, sizeof url, "sqlite:///%s", support_join(path, support_tempdir(), name));
	else
		engine_fresh_url(url);
	return url;
}

const char *database_path(const char *url)
{
	return url + strlen("sqlite:///");
}

ormd_connection *open_connection(const char *url, bool read_only)
{
	const ormd_open_options options = {
		.url = url, .read_only = read_only, .create = !read_only, .busy_timeout_ms = 20000};
	orm_error error;
	const ormd_driver *driver = ormd_driver_for_url(url, &error);
	ormd_connection *connection = driver ? driver->open(&options, &error) : NULL;

	if (!connection)
		fail_msg("%s: %s", url, error.message);
	return connection;
}

void run_sql(ormd_connection *connection, const char *sql)
{
	orm_error error;

	if (connection->driver->run(connection, sql, &error) != ORM_OK)
		fail_msg("%s: %s", sql, error.message);
}

int64_t ask_int64(ormd_connection *connection, const char *sql)
{
	const ormd_driver *driver = connection->driver;
	const uint16_t column = orm_mapper_column(cell_mapper(), "int64")->number;
	const uint8_t type = ORM_INT64;
	orm_batch_builder builder;
	orm_vector vector;
	orm_batch batch;
	orm_error error;
	size_t n_rows = 0;
	bool done;
	ormd_cursor *cursor = driver->query(connection, sql, NULL, 0, &type, 1, &error);

	if (!cursor)
		fail_msg("%s: %s", sql, error.message);
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), &column, 1));
	if (driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, &error) != ORM_OK || n_rows != 1)
		fail_msg("%s: %s", sql, error.message);
	assert_true(orm_batch_builder_view(&builder, &vector, &batch));
	assert_false(orm_vector_is_null(&vector, 0));

	const int64_t result = ((const int64_t *)vector.cells)[0];

	driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	return result;
}

void run_sql_outside(const char *url, const char *sql)
{
	engine_run(url, sql);
}

int64_t ask_outside(const char *url, const char *sql)
{
	return engine_ask_number(url, sql);
}

orm_value int64_value(int64_t number)
{
	return (orm_value){.type = ORM_INT64, .integer = number};
}

orm_value text_value(const char *text)
{
	return (orm_value){.type = ORM_TEXT, .text = text, .size = (uint32_t)strlen(text)};
}

orm_value null_value(orm_type type)
{
	return (orm_value){.type = (uint8_t)type, .null = true};
}

/* As the dialect spells identifiers and parameters; the text of a literal has neither. */
static void adapt(const ormd_dialect *dialect, const char *sql, orm_buffer *out)
{
	unsigned n = 0;

	for (const char *c = sql; *c; c++) {
		if (*c == '"')
			orm_buffer_putc(out, dialect->quote);
		else if (*c == '?' && dialect->numbered_parameters)
			orm_buffer_printf(out, "$%u", ++n);
		else
			orm_buffer_putc(out, *c);
	}
}

orm_status write_row(ormd_connection *connection, const char *sql, const orm_value *values, size_t n_values,
		     orm_error *error)
{
	orm_buffer adapted;
	orm_status status;

	orm_buffer_init(&adapted);
	adapt(connection->driver->dialect, sql, &adapted);

	ormd_write write = {.sql = adapted.data, .n_parameters = n_values, .n_rows = 1, .values = values};

	status = connection->driver->write(connection, &write, error);
	orm_buffer_fini(&adapted);
	return status;
}

/* ---- models ------------------------------------------------------------------------------------------------- */

static orm_registry *registry;
static orm_registry *items_registry; /* of Item alone, to make its table */

static void free_registry(void)
{
	orm_registry_free(registry);
	orm_registry_free(items_registry);
}

/* Made before a test starts threads: see open_database. */
static const orm_mapper *find_mapper(const char *name)
{
	static const orm_column_spec items[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "name", .type = ORM_TEXT},
	};
	static const orm_column_spec smalls[] = {{.name = "id", .type = ORM_INT32, .primary_key = true}};
	static const orm_column_spec cells[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "bool", .type = ORM_BOOL, .nullable = true},
		{.name = "int32", .type = ORM_INT32, .nullable = true},
		{.name = "int64", .type = ORM_INT64, .nullable = true},
		{.name = "double", .type = ORM_DOUBLE, .nullable = true},
		{.name = "text", .type = ORM_TEXT, .nullable = true},
		{.name = "bytes", .type = ORM_BYTES, .nullable = true},
		{.name = "date", .type = ORM_DATE, .nullable = true},
		{.name = "time", .type = ORM_TIME, .nullable = true},
		{.name = "datetime", .type = ORM_DATETIME, .nullable = true},
	};
	static const orm_model_spec models[] = {
		{.name = "Item", .table = "items", .columns = items, .n_columns = 2},
		{.name = "Cell", .table = "cells", .columns = cells, .n_columns = 10},
		{.name = "Small", .table = "smalls", .columns = smalls, .n_columns = 1},
	};
	orm_error error;

	if (!registry) {
		registry = orm_registry_new(models, sizeof models / sizeof models[0], &error);
		items_registry = orm_registry_new(models, 1, &error);
		if (!registry || !items_registry)
			fail_msg("%s", error.message);
		atexit(free_registry);
	}
	return orm_registry_find(registry, name);
}

const orm_mapper *item_mapper(void)
{
	return find_mapper("Item");
}

const orm_mapper *cell_mapper(void)
{
	return find_mapper("Cell");
}

const orm_mapper *small_mapper(void)
{
	return find_mapper("Small");
}

/* ---- databases ---------------------------------------------------------------------------------------------- */

static orm_status run_statement(const char *sql, void *context, orm_error *error)
{
	ormd_connection *connection = context;

	return connection->driver->run(connection, sql, error);
}

static orm_status make_items(ormd_connection *connection, void *context, orm_error *error)
{
	(void)context;
	return ormd_ddl_create_all(connection->driver->dialect, items_registry, run_statement, connection, error);
}

ormd_database *open_database(const char *url)
{
	const ormd_database_options options = {.url = url, .create = true, .n_readers = 2};
	ormd_job job = {.run = make_items, .alone = true};
	orm_error error;
	ormd_database *database = ormd_database_open(&options, &error);

	item_mapper();
	if (!database || ormd_database_run(database, &job, &error) != ORM_OK)
		fail_msg("%s: %s", url, error.message);
	return database;
}

static orm_status run_insert(ormd_connection *connection, void *context, orm_error *error)
{
	insert_job *insert = context;
	const orm_value name = insert->name ? text_value(insert->name) : null_value(ORM_TEXT);
	orm_status status = ORM_OK;

	insert->n_runs++;
	if (insert->before)
		status = insert->before(connection, insert->context);
	if (status == ORM_OK)
		status = write_row(connection, "INSERT INTO \"items\" (\"name\") VALUES (?)", &name, 1, error);
	if (status == ORM_OK && insert->after)
		status = insert->after(connection, insert->context);
	return status;
}

static void end_insert(orm_status status, const orm_error *error, void *context)
{
	insert_job *insert = context;

	insert->n_done++;
	insert->status = status;
	insert->error = *error;
}

void insert_job_init(insert_job *insert, const char *name)
{
	*insert = (insert_job){
		.job = {.run = run_insert, .done = end_insert, .context = insert, .deadline_us = ORM_NO_DEADLINE},
		.name = name,
	};
}
