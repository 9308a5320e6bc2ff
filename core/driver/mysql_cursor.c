/* SPDX-License-Identifier: MIT */
/*
 * Results. Rows are read as they come from the server, so that a large result takes no memory. One result at a time can
 * be on its way on a connection: when something else is to be sent, what is left of it is taken in first, in the form
 * of columns, and given out from there.
 */
#include "driver/mysql_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A result of which more than this is left when its cursor is closed is stopped in the server, not read to its end. */
#define ROWS_TO_SKIP 1000

struct mysql_cursor {
	ormd_cursor base;
	mysql_statement *statement; /* NULL: all rows have been taken */
	bool finished;
	/* Rows taken in: */
	orm_vector_builder *taken; /* one for each column; NULL: none */
	orm_vector *vectors;
	orm_vector_cursor *places;
	size_t n_taken;
	size_t n_given;
	orm_error failure; /* that came while taking in; told at the row where it came */
	size_t n_types;
	uint8_t types[];
};

static mysql_cursor *cursor_of(ormd_cursor *cursor)
{
	return (mysql_cursor *)(void *)cursor;
}

/* ---- cells -------------------------------------------------------------------------------------------------- */

static size_t put_cell(orm_vector_builder *vector, const orm_value *value)
{
	if (value->null) {
		orm_vector_builder_put_null(vector);
		return 1;
	}
	switch (value->type) {
	case ORM_BOOL:
		orm_vector_builder_put_bool(vector, value->boolean);
		return 1;
	case ORM_INT32:
	case ORM_DATE:
		orm_vector_builder_put_int32(vector, (int32_t)value->integer);
		return sizeof(int32_t);
	case ORM_DOUBLE:
		orm_vector_builder_put_double(vector, value->number);
		return sizeof(double);
	case ORM_UUID:
		orm_vector_builder_put_uuid(vector, value->bytes);
		return sizeof(orm_uuid);
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		orm_vector_builder_put_text(vector, value->text, value->size);
		return (size_t)value->size + 1;
	case ORM_BYTES:
		orm_vector_builder_put_bytes(vector, value->bytes, value->size);
		return value->size;
	default:
		orm_vector_builder_put_int64(vector, value->integer);
		return sizeof(int64_t);
	}
}

static bool is_out_of_memory(const orm_vector_builder *vectors, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (vectors[i].cells.failed || vectors[i].nulls.failed || vectors[i].ends.failed)
			return true;
	}
	return false;
}

/* One row from the server into the columns. `table` may be NULL. */
static orm_status read_row(const mysql_cursor *cursor, orm_vector_builder *vectors, const char *table, size_t *size,
			   orm_error *error)
{
	for (size_t i = 0; i < cursor->n_types; i++) {
		orm_value value;

		if (!ormd_mysql_cell(cursor->statement, i, cursor->types[i], &value))
			return ormd_mysql_fail_cell(cursor->statement, i, cursor->types[i], table, error);
		*size += put_cell(&vectors[i], &value);
	}
	return ORM_OK;
}

/* The rows are at their end, or nobody wants them any more. */
static void let_go(mysql_cursor *cursor)
{
	mysql_connection *connection = mysql_of(cursor->base.connection);

	if (connection->streaming == cursor)
		connection->streaming = NULL;
	ormd_mysql_give(connection, cursor->statement);
	cursor->statement = NULL;
}

/*
 * The next row from the server: ORM_OK, and whether there was one. An interrupt that comes between two fetches has
 * nothing to stop but the rest of the result.
 */
static orm_status next_row(mysql_cursor *cursor, bool *found, orm_error *error)
{
	mysql_connection *connection = mysql_of(cursor->base.connection);
	const int rc = ormd_mysql_next(cursor->statement);

	*found = rc == 0;
	if (rc == 0)
		return ORM_OK;
	cursor->finished = true;

	const orm_status status =
		rc == MYSQL_NO_DATA ? ORM_OK : ormd_mysql_fail_statement(connection, cursor->statement, error);

	let_go(cursor);
	return status;
}

/* ---- taking in ---------------------------------------------------------------------------------------------- */

static bool make_room(mysql_cursor *cursor)
{
	cursor->taken = calloc(cursor->n_types, sizeof *cursor->taken);
	cursor->vectors = calloc(cursor->n_types, sizeof *cursor->vectors);
	cursor->places = calloc(cursor->n_types, sizeof *cursor->places);
	if (!cursor->taken || !cursor->vectors || !cursor->places)
		return false;
	for (size_t i = 0; i < cursor->n_types; i++) {
		cursor->taken[i].type = cursor->types[i];
		orm_buffer_init(&cursor->taken[i].cells);
		orm_buffer_init(&cursor->taken[i].nulls);
		orm_buffer_init(&cursor->taken[i].ends);
	}
	return true;
}

static orm_status take_rows(mysql_cursor *cursor, orm_error *error)
{
	size_t size = 0;
	bool found = true;
	orm_status status = ORM_OK;

	while (found && status == ORM_OK) {
		status = next_row(cursor, &found, error);
		if (status == ORM_OK && found)
			status = read_row(cursor, cursor->taken, NULL, &size, error);
		if (status == ORM_OK && found)
			cursor->n_taken++;
	}
	return status;
}

/* Where the cells are, once no more come. */
static bool view_taken(mysql_cursor *cursor)
{
	const orm_batch_builder builder = {
		.vectors = cursor->taken, .n_vectors = cursor->n_types, .n_rows = cursor->n_taken};
	orm_batch batch;

	if (!orm_batch_builder_view(&builder, cursor->vectors, &batch))
		return false;
	for (size_t i = 0; i < cursor->n_types; i++)
		orm_vector_cursor_init(&cursor->places[i], &cursor->vectors[i]);
	return true;
}

void ormd_mysql_take_in(mysql_cursor *cursor)
{
	mysql_connection *connection = mysql_of(cursor->base.connection);
	orm_status status;

	ormd_mysql_enter(connection);
	status = make_room(cursor) ? take_rows(cursor, &cursor->failure) : ORM_ENOMEM;
	ormd_mysql_leave();
	if (cursor->statement) /* a row that cannot be read; those after it are not wanted */
		let_go(cursor);
	cursor->finished = true;
	if (status == ORM_ENOMEM || is_out_of_memory(cursor->taken, cursor->taken ? cursor->n_types : 0)) {
		cursor->n_taken = 0;
		orm_fail(&cursor->failure, ORM_ENOMEM, "out of memory for the rest of a result");
	} else if (status != ORM_OK || !view_taken(cursor)) {
		/* The columns differ in length: there is nothing to give but the failure. */
		cursor->n_taken = 0;
		if (status == ORM_OK)
			orm_fail(&cursor->failure, ORM_ENOMEM, "out of memory for the rest of a result");
	}
}

static void free_taken(mysql_cursor *cursor)
{
	for (size_t i = 0; cursor->taken && i < cursor->n_types; i++) {
		orm_buffer_fini(&cursor->taken[i].cells);
		orm_buffer_fini(&cursor->taken[i].nulls);
		orm_buffer_fini(&cursor->taken[i].ends);
	}
	free(cursor->taken);
	free(cursor->vectors);
	free(cursor->places);
}

/* ---- the driver's members ----------------------------------------------------------------------------------- */

static orm_status bind_all(mysql_statement *statement, const orm_value *values, size_t n_values, orm_error *error)
{
	for (size_t i = 0; i < n_values; i++) {
		const char *wrong = ormd_mysql_bind_value(&statement->binds[i], &statement->parameters[i], &values[i]);

		if (wrong)
			return orm_fail(error, ORM_EINVAL, "a %s to compare with %s", orm_type_name(values[i].type),
					wrong);
	}
	return ORM_OK;
}

/* The library holds the row's packet for the time it is read, and takes nothing else meanwhile. */
static orm_status send(mysql_connection *connection, mysql_cursor *cursor, const char *sql, const orm_value *parameters,
		       size_t n_parameters, orm_error *error)
{
	orm_status status = ormd_mysql_start(connection, error);

	if (status != ORM_OK)
		return status;
	if (!(cursor->statement = ormd_mysql_take(connection, sql, error)))
		return error->code;
	status = ormd_mysql_check_parameters(cursor->statement, n_parameters, error);
	if (status == ORM_OK)
		status = bind_all(cursor->statement, parameters, n_parameters, error);
	if (status == ORM_OK && mysql_stmt_field_count(cursor->statement->handle) != cursor->n_types)
		status = orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %u there: %.200s", cursor->n_types,
				  mysql_stmt_field_count(cursor->statement->handle), sql);
	if (status == ORM_OK)
		status = ormd_mysql_send(connection, cursor->statement, error);
	/* SELECT * of a table that was changed meanwhile. */
	if (status == ORM_OK && mysql_stmt_field_count(cursor->statement->handle) != cursor->n_types)
		status = orm_fail(error, ORM_EDATABASE,
				  "the database's table was changed while the program runs; start it anew");
	return status;
}

ormd_cursor *ormd_mysql_query(ormd_connection *base, const char *sql, const orm_value *parameters, size_t n_parameters,
			      const uint8_t *types, size_t n_types, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	mysql_cursor *cursor = calloc(1, sizeof *cursor + n_types);
	orm_error ignored;

	error = error ? error : &ignored;
	if (!cursor) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	cursor->base.connection = base;
	cursor->n_types = n_types;
	memcpy(cursor->types, types, n_types);
	if (send(connection, cursor, sql, parameters, n_parameters, error) != ORM_OK) {
		if (cursor->statement)
			let_go(cursor);
		free(cursor);
		return NULL;
	}
	connection->streaming = cursor;
	connection->n_cursors++;
	return &cursor->base;
}

static orm_status fetch_taken(mysql_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			      size_t *n_rows)
{
	size_t size = 0;
	size_t n = 0;

	while (cursor->n_given < cursor->n_taken && n < max_rows && (size < max_size || n == 0)) {
		for (size_t i = 0; i < cursor->n_types; i++) {
			orm_value value;

			orm_vector_cursor_next(&cursor->places[i], &value);
			size += put_cell(&builder->vectors[i], &value);
		}
		orm_batch_builder_end_row(builder);
		cursor->n_given++;
		n++;
	}
	*n_rows = n;
	return ORM_OK;
}

static orm_status fetch_streaming(mysql_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size,
				  size_t *n_rows, orm_error *error)
{
	mysql_connection *connection = mysql_of(cursor->base.connection);
	const char *table = builder->mapper ? builder->mapper->table : NULL;
	size_t size = 0;
	size_t n = 0;
	bool found = true;
	orm_status status = ORM_OK;

	ormd_mysql_enter(connection);
	while (status == ORM_OK && n < max_rows && (size < max_size || n == 0)) {
		status = next_row(cursor, &found, error);
		if (status != ORM_OK || !found)
			break;
		status = read_row(cursor, builder->vectors, table, &size, error);
		if (status == ORM_OK) {
			orm_batch_builder_end_row(builder);
			n++;
		}
	}
	ormd_mysql_leave();
	*n_rows = n;
	return status;
}

orm_status ormd_mysql_fetch(ormd_cursor *base, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			    size_t *n_rows, bool *done, orm_error *error)
{
	mysql_cursor *cursor = cursor_of(base);
	mysql_connection *connection = mysql_of(base->connection);
	orm_error ignored;
	size_t n = 0;
	orm_status status;

	error = error ? error : &ignored;
	if (builder->n_vectors != cursor->n_types)
		return orm_fail(error, ORM_EINTERNAL, "%zu columns to fill, %zu in the result", builder->n_vectors,
				cursor->n_types);
	if (!cursor->finished && atomic_load(&connection->interrupted))
		return orm_fail(error, ORM_ECANCELLED, "the statement was cancelled");
	if (cursor->failure.code != ORM_OK) {
		*error = cursor->failure;
		return error->code;
	}
	status = cursor->statement ? fetch_streaming(cursor, builder, max_rows, max_size, &n, error)
				   : fetch_taken(cursor, builder, max_rows, max_size, &n);
	if (status == ORM_OK && (builder->failed || is_out_of_memory(builder->vectors, builder->n_vectors)))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	if (status != ORM_OK)
		return status;
	*n_rows = n;
	*done = cursor->finished && cursor->n_given == cursor->n_taken;
	return ORM_OK;
}

/* The rest of a long result is not worth its reading: stopped, it ends with an error that nobody asks for. */
static void abandon(mysql_connection *connection, mysql_cursor *cursor)
{
	MYSQL_STMT *handle = cursor->statement->handle;
	size_t n = 0;
	int rc = 0;

	ormd_mysql_enter(connection);
	while (rc == 0 && n++ < ROWS_TO_SKIP)
		rc = mysql_stmt_fetch(handle);
	if (rc == 0 && ormd_mysql_kill_query(connection)) {
		while (rc == 0)
			rc = mysql_stmt_fetch(handle);
	}
	ormd_mysql_leave();
	if (rc != 0 && rc != MYSQL_NO_DATA) {
		orm_error ignored;

		ormd_mysql_fail_statement(connection, cursor->statement, &ignored);
	}
}

void ormd_mysql_close_cursor(ormd_cursor *base)
{
	mysql_cursor *cursor = base ? cursor_of(base) : NULL;

	if (!cursor)
		return;

	mysql_connection *connection = mysql_of(base->connection);

	if (cursor->statement && !connection->base.lost)
		abandon(connection, cursor);
	if (cursor->statement)
		let_go(cursor);
	connection->n_cursors--;
	free_taken(cursor);
	free(cursor);
}
