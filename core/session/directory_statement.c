/* SPDX-License-Identifier: MIT */
#include "session/directory_statement.h"

#include "base/error.h"
#include "sql/dialect.h"

#define MAX_ROWS 1024 /* looked at in one go */

static const orm_column cells[] = {
	[ORMD_CELL_ID] = {.name = "id", .type = ORM_INT64},
	[ORMD_CELL_FENCE] = {.name = "fence", .type = ORM_INT64},
	[ORMD_CELL_LEASE] = {.name = "lease_ms", .type = ORM_INT64},
	[ORMD_CELL_NUMBER] = {.name = "number", .type = ORM_INT64},
	[ORMD_CELL_NAME] = {.name = "name", .type = ORM_TEXT},
	[ORMD_CELL_ADDRESS] = {.name = "address", .type = ORM_TEXT},
	[ORMD_CELL_HOST] = {.name = "host", .type = ORM_TEXT},
	[ORMD_CELL_STARTED] = {.name = "started", .type = ORM_DATETIME},
	[ORMD_CELL_SEEN] = {.name = "seen_at", .type = ORM_DATETIME},
	[ORMD_CELL_NOW] = {.name = "now", .type = ORM_DATETIME},
};

static const orm_mapper answer_mapper = {
	.name = "ormd_server", .table = "ormd_server", .columns = cells, .n_columns = sizeof cells / sizeof *cells};

/* The statement as the engine spells it: "double quotes" around names, ? for parameters, @ for the time now. */
static void spell(const ormd_dialect *dialect, const char *text, orm_buffer *sql)
{
	unsigned n = 0;

	for (; *text; text++) {
		if (*text == '"')
			orm_buffer_putc(sql, dialect->quote);
		else if (*text == '@')
			orm_buffer_puts(sql, dialect->now(ORM_DATETIME));
		else if (*text == '?' && dialect->numbered_parameters)
			orm_buffer_printf(sql, "$%u", ++n);
		else
			orm_buffer_putc(sql, *text);
	}
}

orm_status ormd_directory_change(ormd_connection *connection, const char *statement, const orm_value *values,
				 size_t n_values, size_t *n_affected, orm_error *error)
{
	ormd_write write = {.n_parameters = n_values, .n_rows = 1, .values = values, .affected = n_affected};
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	spell(connection->driver->dialect, statement, &sql);
	write.sql = sql.data;
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : connection->driver->write(connection, &write, error);
	orm_buffer_fini(&sql);
	return status;
}

orm_status ormd_directory_insert(ormd_connection *connection, const char *statement, const orm_value *values,
				 size_t n_values, size_t *n_affected, orm_error *error)
{
	const ormd_dialect *dialect = connection->driver->dialect;
	orm_buffer whole;
	orm_status status;

	orm_buffer_init(&whole);
	orm_buffer_puts(&whole, dialect->insert_prefix_ignore ? dialect->insert_prefix_ignore : "INSERT");
	orm_buffer_puts(&whole, statement);
	if (!dialect->insert_prefix_ignore)
		orm_buffer_puts(&whole, dialect->on_conflict_do_nothing);
	status = whole.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			      : ormd_directory_change(connection, whole.data, values, n_values, n_affected, error);
	orm_buffer_fini(&whole);
	return status;
}

void ormd_answer_fini(ormd_answer *a)
{
	orm_batch_builder_fini(&a->builder);
}

orm_status ormd_directory_ask(ormd_connection *connection, const char *statement, bool lock, const orm_value *values,
			      size_t n_values, const uint16_t *columns, size_t n_columns, ormd_answer *a,
			      orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	uint8_t types[ORMD_MAX_CELLS];
	ormd_cursor *cursor = NULL;
	orm_buffer sql;
	orm_status status = ORM_OK;
	size_t n_rows = 0;
	bool done = false;

	for (size_t i = 0; i < n_columns; i++)
		types[i] = (uint8_t)cells[columns[i]].type;
	orm_buffer_init(&sql);
	spell(driver->dialect, statement, &sql);
	if (lock && driver->dialect->for_update)
		orm_buffer_puts(&sql, driver->dialect->for_update);
	if (!orm_batch_builder_init(&a->builder, &answer_mapper, columns, n_columns) || sql.failed)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (!(cursor = driver->query(connection, sql.data, values, n_values, types, n_columns, error)))
		status = error->code;
	else
		status = driver->fetch(cursor, &a->builder, MAX_ROWS, SIZE_MAX, &n_rows, &done, error);
	if (status == ORM_OK && !orm_batch_builder_view(&a->builder, a->vectors, &a->batch))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	driver->close_cursor(cursor);
	orm_buffer_fini(&sql);
	return status;
}

/* A cell that is not NULL. The rows are few. */
const char *ormd_answer_text(const orm_vector *vector, uint32_t row)
{
	orm_vector_cursor cursor;
	uint32_t size;

	orm_vector_cursor_init(&cursor, vector);
	while (cursor.row < row)
		orm_vector_cursor_next_text(&cursor, &size);
	return cursor.next;
}
