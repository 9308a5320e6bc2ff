/* SPDX-License-Identifier: MIT */
#include "session/select_by.h"

#include "base/error.h"
#include "sql/compile.h"

#define MAX_KEYS           512 /* of one column */
#define MAX_COMPOSITE_KEYS 64  /* engines plan every OR by itself */
#define MAX_PIECE_ROWS     65536

void ormd_mapper_types(const orm_mapper *mapper, uint8_t types[ORM_MAX_COLUMNS])
{
	for (uint16_t i = 0; i < mapper->n_columns; i++)
		types[i] = (uint8_t)mapper->columns[i].type;
}

/* Few shapes, so that prepared statements are found again: powers of two, filled up with the last key. */
static size_t padded(size_t n_keys, size_t max_keys)
{
	size_t n = 1;

	while (n < n_keys && n < max_keys)
		n *= 2;
	return n;
}

static orm_status begin_statement(ormd_select_by *select, ormd_connection *connection, orm_error *error)
{
	const ormd_dialect *dialect = connection->driver->dialect;
	size_t max_keys = select->n_columns == 1 ? MAX_KEYS : MAX_COMPOSITE_KEYS;
	size_t n_keys = select->n_keys - select->next;
	uint8_t types[ORM_MAX_COLUMNS];
	orm_buffer values;
	orm_buffer sql;
	orm_status status = ORM_OK;

	while (max_keys > 1 && max_keys * select->n_columns > dialect->max_parameters)
		max_keys /= 2;
	if (n_keys > max_keys)
		n_keys = max_keys;

	const size_t n_padded = padded(n_keys, max_keys);
	const orm_value *first = select->values + select->next * select->n_columns;

	orm_buffer_init(&values);
	orm_buffer_init(&sql);
	orm_buffer_append(&values, first, n_keys * select->n_columns * sizeof *first);
	for (size_t i = n_keys; i < n_padded; i++)
		orm_buffer_append(&values, first + (n_keys - 1) * select->n_columns, select->n_columns * sizeof *first);
	ormd_sql_select_by(dialect, select->mapper, select->columns, select->n_columns, n_padded, select->ordered,
			   &sql);
	ormd_sql_lock(dialect, select->lock, &sql);
	ormd_mapper_types(select->mapper, types);
	if (values.failed || sql.failed) {
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	} else {
		select->cursor = connection->driver->query(
			connection, sql.data, (const orm_value *)(const void *)values.data,
			n_padded * select->n_columns, types, select->mapper->n_columns, error);
		status = select->cursor ? ORM_OK : error->code;
	}
	if (status == ORM_OK)
		select->next += n_keys;
	orm_buffer_fini(&values);
	orm_buffer_fini(&sql);
	return status;
}

orm_status ormd_select_by_fetch(ormd_select_by *select, ormd_connection *connection, orm_batch_builder *builder,
				size_t max_size, size_t *n_rows, bool *done, orm_error *error)
{
	bool ended = false;
	orm_status status = ORM_OK;

	*n_rows = 0;
	*done = select->next == select->n_keys && !select->cursor;
	if (*done)
		return ORM_OK;
	if (!select->cursor)
		status = begin_statement(select, connection, error);
	if (status == ORM_OK)
		status = connection->driver->fetch(select->cursor, builder, MAX_PIECE_ROWS, max_size, n_rows, &ended,
						   error);
	if (status != ORM_OK || ended)
		ormd_select_by_fini(select);
	*done = select->next == select->n_keys && !select->cursor;
	return status;
}

void ormd_select_by_fini(ormd_select_by *select)
{
	if (select->cursor)
		select->cursor->connection->driver->close_cursor(select->cursor);
	select->cursor = NULL;
}

orm_status ormd_select_integer(ormd_connection *connection, const char *sql, const orm_value *parameters,
			       size_t n_parameters, int64_t *integer, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	const uint8_t type = ORM_INT64;
	orm_vector_builder vector = {.type = ORM_INT64};
	orm_batch_builder builder = {.vectors = &vector, .n_vectors = 1};
	ormd_cursor *cursor = driver->query(connection, sql, parameters, n_parameters, &type, 1, error);
	orm_status status = ORM_OK;
	size_t n_rows = 0;
	bool done = false;

	if (!cursor)
		return error->code;
	orm_buffer_init(&vector.cells);
	orm_buffer_init(&vector.nulls);
	orm_buffer_init(&vector.ends);
	status = driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error);
	*integer = 0;
	if (status == ORM_OK && n_rows == 1 && vector.nulls.size == 0)
		memcpy(integer, vector.cells.data, sizeof *integer);
	driver->close_cursor(cursor);
	orm_buffer_fini(&vector.cells);
	orm_buffer_fini(&vector.nulls);
	orm_buffer_fini(&vector.ends);
	return status;
}
