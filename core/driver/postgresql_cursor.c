/* SPDX-License-Identifier: MIT */
/* Results, read strictly into column builders, row by row as they arrive; or from memory, where a cursor had to make
 * way. */
#include "driver/postgresql_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define SKIPPED_ROWS 1000 /* of a result that nobody wants any more: cheaper to read than to cancel */

typedef struct pg_column {
	Oid oid;      /* as the server has it */
	uint8_t type; /* as it is read */
} pg_column;

struct pg_cursor {
	ormd_cursor base;
	pg_statement *statement; /* until the last row has come */
	PGresult *header;        /* names and types of the columns */
	PGresult *result;        /* rows that have come, from `row` on; NULL: none */
	int row;
	bool finished;    /* no more will come */
	bool outdated;    /* failed, because its statement must be prepared anew */
	orm_buffer saved; /* rows that were read beforehand: each cell's size (int32, -1: NULL), itself, and a NUL */
	size_t n_taken;   /* bytes of them */
	orm_status status;
	orm_error error;
	size_t n_columns;
	pg_column columns[];
};

typedef struct pg_cell {
	const char *data;
	int size;
	bool null;
} pg_cell;

static pg_cursor *cursor_of(ormd_cursor *cursor)
{
	return (pg_cursor *)(void *)cursor;
}

/* ---- rows that arrive --------------------------------------------------------------------------------------- */

static void fail_cursor(pg_cursor *cursor, orm_status status, const orm_error *error)
{
	if (cursor->status != ORM_OK)
		return;
	cursor->status = status;
	cursor->error = *error;
}

static void let_go(pg_cursor *cursor)
{
	pg_connection *connection = pg_of(cursor->base.connection);

	cursor->finished = true;
	if (connection->stream == cursor)
		connection->stream = NULL;
	ormd_pg_unuse(connection, cursor->statement);
	cursor->statement = NULL;
}

/* After the last row, or the failure. */
static void end_stream(pg_cursor *cursor)
{
	pg_connection *connection = pg_of(cursor->base.connection);
	PGresult *none = NULL;
	orm_error error;
	orm_status status;

	let_go(cursor);
	if (connection->base.lost)
		return;
	status = ormd_pg_next_result(connection, &none, &error);
	PQclear(none);
	if (status == ORM_OK) {
		ormd_pg_pop(connection);
		status = ormd_pg_settle(connection, &error);
	}
	if (status != ORM_OK)
		fail_cursor(cursor, status, &error);
}

/* libpq gives each row a result of its own: what is the same for all is asked for once. */
static bool take_header(pg_cursor *cursor, const PGresult *result)
{
	const size_t n_given = (size_t)PQnfields(result);

	if (cursor->header)
		return true;
	cursor->header = PQcopyResult(result, PG_COPYRES_ATTRS);
	for (size_t i = 0; cursor->header && i < cursor->n_columns && i < n_given; i++)
		cursor->columns[i].oid = PQftype(cursor->header, (int)i);
	return cursor->header != NULL;
}

static void take_result(pg_cursor *cursor, PGresult *result)
{
	pg_connection *connection = pg_of(cursor->base.connection);
	orm_error error;

	switch (PQresultStatus(result)) {
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		if (!take_header(cursor, result)) {
			orm_fail(&error, ORM_ENOMEM, "out of memory");
			fail_cursor(cursor, ORM_ENOMEM, &error);
		}
		cursor->row = 0;
		cursor->result = PQntuples(result) > 0 ? result : NULL;
		if (PQresultStatus(result) == PGRES_TUPLES_OK)
			end_stream(cursor);
		if (!cursor->result)
			PQclear(result);
		return;
	case PGRES_PIPELINE_ABORTED: /* because of what was sent before, which settling tells */
		break;
	case PGRES_COMMAND_OK:
		orm_fail(&error, ORM_EINTERNAL, "a statement without results was asked for rows: %.200s",
			 cursor->statement->sql);
		fail_cursor(cursor, ORM_EINTERNAL, &error);
		break;
	default:
		cursor->outdated = ormd_pg_is_outdated(result);
		if (cursor->outdated)
			ormd_pg_unprepare(connection, cursor->statement, true);
		fail_cursor(cursor, ormd_pg_fail(connection, result, cursor->statement->sql, NULL, &error), &error);
		break;
	}
	PQclear(result);
	end_stream(cursor);
}

static void read_next(pg_cursor *cursor)
{
	PGresult *result = NULL;
	orm_error error;
	const orm_status status = ormd_pg_next_result(pg_of(cursor->base.connection), &result, &error);

	if (status == ORM_OK && result) {
		take_result(cursor, result);
		return;
	}
	if (status == ORM_OK)
		ormd_pg_lose(pg_of(cursor->base.connection), &error);
	fail_cursor(cursor, error.code, &error);
	let_go(cursor);
}

/* The row at hand is done with. */
static void next_row(pg_cursor *cursor)
{
	if (++cursor->row < PQntuples(cursor->result))
		return;
	PQclear(cursor->result);
	cursor->result = NULL;
}

/* ---- rows in memory ----------------------------------------------------------------------------------------- */

static void save_row(pg_cursor *cursor)
{
	for (int i = 0; i < PQnfields(cursor->result); i++) {
		const bool null = PQgetisnull(cursor->result, cursor->row, i);
		const int32_t size = null ? -1 : PQgetlength(cursor->result, cursor->row, i);

		orm_buffer_put(&cursor->saved, &size, sizeof size);
		if (!null)
			orm_buffer_append(&cursor->saved, PQgetvalue(cursor->result, cursor->row, i), (size_t)size + 1);
	}
}

void ormd_pg_drain(pg_connection *connection)
{
	pg_cursor *cursor = connection->stream;
	orm_error error;

	while (cursor->result || !cursor->finished) {
		for (; cursor->result; next_row(cursor))
			save_row(cursor);
		if (!cursor->finished)
			read_next(cursor);
	}
	if (cursor->saved.failed)
		fail_cursor(cursor, orm_fail(&error, ORM_ENOMEM, "out of memory"), &error);
}

static pg_cell take_saved(pg_cursor *cursor)
{
	int32_t size;
	pg_cell cell;

	memcpy(&size, cursor->saved.data + cursor->n_taken, sizeof size);
	cursor->n_taken += sizeof size;
	cell = (pg_cell){.data = cursor->saved.data + cursor->n_taken, .size = size, .null = size < 0};
	if (size >= 0)
		cursor->n_taken += (size_t)size + 1;
	return cell;
}

/* ---- fetching ----------------------------------------------------------------------------------------------- */

/* Append one cell as `type`; false: it does not fit. Inline, because every cell of every row read passes here. */
static inline bool put_cell(const pg_cell *cell, orm_type type, Oid oid, orm_vector_builder *vector, size_t *size)
{
	char decimal[ORM_DECIMAL_SIZE];
	orm_value value;

	if (cell->null) {
		orm_vector_builder_put_null(vector);
		*size += 1;
		return true;
	}
	if (!ormd_pg_cell(type, oid, cell->data, (size_t)cell->size, decimal, &value))
		return false;
	*size += (size_t)cell->size + 1;
	switch (type) {
	case ORM_BOOL:
		orm_vector_builder_put_bool(vector, value.boolean);
		break;
	case ORM_INT32:
	case ORM_DATE:
		orm_vector_builder_put_int32(vector, (int32_t)value.integer);
		break;
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		orm_vector_builder_put_int64(vector, value.integer);
		break;
	case ORM_DOUBLE:
		orm_vector_builder_put_double(vector, value.number);
		break;
	case ORM_TEXT:
		orm_vector_builder_put_text(vector, value.text, value.size);
		break;
	default:
		orm_vector_builder_put(vector, &value);
		break;
	}
	return true;
}

/* NULL has no length. */
static pg_cell cell_at(const PGresult *result, int row, int column)
{
	const int size = PQgetlength(result, row, column);

	return (pg_cell){.data = PQgetvalue(result, row, column),
			 .size = size,
			 .null = size == 0 && PQgetisnull(result, row, column)};
}

static orm_status put_row(pg_cursor *cursor, orm_batch_builder *builder, bool is_saved, size_t *size, orm_error *error)
{
	for (size_t i = 0; i < cursor->n_columns; i++) {
		const orm_type type = (orm_type)cursor->columns[i].type;
		const pg_cell cell = is_saved ? take_saved(cursor) : cell_at(cursor->result, cursor->row, (int)i);

		if (!put_cell(&cell, type, cursor->columns[i].oid, &builder->vectors[i], size))
			return ormd_pg_fail_cell(cursor->header, (int)i, type,
						 builder->mapper ? builder->mapper->table : NULL, error);
	}
	orm_batch_builder_end_row(builder);
	return ORM_OK;
}

static bool is_out_of_memory(const orm_batch_builder *builder)
{
	bool failed = builder->failed;

	for (size_t i = 0; i < builder->n_vectors; i++) {
		const orm_vector_builder *vector = &builder->vectors[i];

		failed = failed || vector->cells.failed || vector->nulls.failed || vector->ends.failed;
	}
	return failed;
}

orm_status ormd_pg_fetch(ormd_cursor *base, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			 size_t *n_rows, bool *done, orm_error *error)
{
	pg_cursor *cursor = cursor_of(base);
	size_t n_fetched = 0;
	size_t size = 0;

	if (builder->n_vectors != cursor->n_columns)
		return orm_fail(error, ORM_EINTERNAL, "%zu columns to fill, %zu in the result", builder->n_vectors,
				cursor->n_columns);
	while (n_fetched < max_rows && (size < max_size || n_fetched == 0)) {
		const bool is_saved = cursor->n_taken < cursor->saved.size;
		orm_status status;

		if (!is_saved && !cursor->result && cursor->status == ORM_OK && !cursor->finished)
			read_next(cursor);
		if (!is_saved && !cursor->result) {
			if (cursor->status == ORM_OK && !cursor->finished)
				continue;
			if (cursor->status != ORM_OK && error)
				*error = cursor->error;
			if (cursor->status != ORM_OK)
				return cursor->status;
			break;
		}
		status = put_row(cursor, builder, is_saved, &size, error);
		if (status != ORM_OK)
			return status;
		if (!is_saved)
			next_row(cursor);
		n_fetched++;
	}
	if (is_out_of_memory(builder))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	*n_rows = n_fetched;
	*done = cursor->finished && cursor->status == ORM_OK && !cursor->result &&
		cursor->n_taken >= cursor->saved.size;
	return ORM_OK;
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static orm_status send_query(pg_cursor *cursor, const char *sql, const orm_value *parameters, size_t n_parameters,
			     orm_error *error)
{
	pg_connection *connection = pg_of(cursor->base.connection);
	orm_status status;

	if ((status = ormd_pg_start(connection, error)) != ORM_OK ||
	    (status = ormd_pg_encode(connection, parameters, n_parameters, error)) != ORM_OK ||
	    (status = ormd_pg_send_begin(connection, error)) != ORM_OK)
		return status;
	cursor->statement = ormd_pg_take(connection, sql, connection->types, n_parameters, NULL, error);
	if (!cursor->statement)
		return error->code;
	if ((status = ormd_pg_execute(connection, cursor->statement, error)) != ORM_OK ||
	    (status = ormd_pg_push(connection, &(pg_request){.kind = PG_QUERY, .statement = cursor->statement},
				   error)) != ORM_OK ||
	    (status = ormd_pg_send_sync(connection, error)) != ORM_OK)
		return status;
	connection->stream = cursor;
	status = ormd_pg_reach_query(connection, error);
	if (status != ORM_OK)
		return status;
	read_next(cursor);
	if (cursor->status != ORM_OK)
		*error = cursor->error;
	return cursor->status;
}

static pg_cursor *open_cursor(ormd_connection *base, const char *sql, const orm_value *parameters, size_t n_parameters,
			      const uint8_t *types, size_t n_types, bool *again, orm_error *error)
{
	const bool in_block = pg_of(base)->in_block || pg_of(base)->begin_pending;
	pg_cursor *cursor = calloc(1, sizeof *cursor + n_types * sizeof *cursor->columns);

	*again = false;
	if (!cursor) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	cursor->base.connection = base;
	cursor->n_columns = n_types;
	for (size_t i = 0; i < n_types; i++)
		cursor->columns[i].type = types[i];
	orm_buffer_init(&cursor->saved);
	if (send_query(cursor, sql, parameters, n_parameters, error) == ORM_OK) {
		if ((size_t)PQnfields(cursor->header) == n_types)
			return cursor;
		orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %d there: %.200s", n_types,
			 PQnfields(cursor->header), sql);
	}
	*again = cursor->outdated && !in_block;
	ormd_pg_close_cursor(&cursor->base);
	return NULL;
}

ormd_cursor *ormd_pg_query(ormd_connection *base, const char *sql, const orm_value *parameters, size_t n_parameters,
			   const uint8_t *types, size_t n_types, orm_error *error)
{
	orm_error ignored;
	bool again = false;
	pg_cursor *cursor;

	error = error ? error : &ignored;
	cursor = open_cursor(base, sql, parameters, n_parameters, types, n_types, &again, error);
	/* A statement that was prepared for what a table looked like before; nothing else was lost. */
	if (!cursor && again)
		cursor = open_cursor(base, sql, parameters, n_parameters, types, n_types, &again, error);
	return cursor ? &cursor->base : NULL;
}

/* What is still to come is of no use. Few rows are read; many are cancelled, unless a transaction would die of that:
 * then they are passed over when the connection is wanted next. */
static void abandon_stream(pg_cursor *cursor)
{
	pg_connection *connection = pg_of(cursor->base.connection);

	for (int i = 0; i < SKIPPED_ROWS && connection->stream == cursor; i++) {
		PQclear(cursor->result);
		cursor->result = NULL;
		read_next(cursor);
	}
	if (connection->stream != cursor)
		return;
	let_go(cursor);
	if (!connection->in_block) {
		ormd_pg_stop(connection, ORM_ECANCELLED);
		ormd_pg_discard(connection);
	}
}

void ormd_pg_close_cursor(ormd_cursor *base)
{
	pg_cursor *cursor = base ? cursor_of(base) : NULL;

	if (!cursor)
		return;
	if (pg_of(base->connection)->stream == cursor && !base->connection->lost)
		abandon_stream(cursor);
	let_go(cursor);
	PQclear(cursor->result);
	PQclear(cursor->header);
	orm_buffer_fini(&cursor->saved);
	free(cursor);
}

void ormd_pg_break_stream(pg_connection *connection)
{
	pg_cursor *cursor = connection->stream;
	orm_error error;

	fail_cursor(cursor, orm_fail(&error, ORM_ESTATE, "the transaction that this result belongs to was rolled back"),
		    &error);
	let_go(cursor);
}

/* ---- small questions ---------------------------------------------------------------------------------------- */

orm_status ormd_pg_ask(pg_connection *connection, const char *sql, const orm_value *parameters, size_t n_parameters,
		       int64_t *cells, bool *nulls, size_t n_cells, orm_error *error)
{
	uint8_t types[8];
	ormd_cursor *base;
	pg_cursor *cursor;
	orm_status status = ORM_OK;

	memset(types, ORM_INT64, sizeof types);
	base = ormd_pg_query(&connection->base, sql, parameters, n_parameters, types, n_cells, error);
	if (!base)
		return error->code;
	cursor = cursor_of(base);
	if (!cursor->result)
		status = orm_fail(error, ORM_EINTERNAL, "no answer: %.200s", sql);
	for (size_t i = 0; i < n_cells && status == ORM_OK; i++) {
		const int column = (int)i;
		orm_value value = {.type = ORM_INT64};

		nulls[i] = PQgetisnull(cursor->result, 0, column);
		if (!nulls[i] &&
		    !ormd_pg_cell(ORM_INT64, PQftype(cursor->header, column), PQgetvalue(cursor->result, 0, column),
				  (size_t)PQgetlength(cursor->result, 0, column), NULL, &value))
			status = ormd_pg_fail_cell(cursor->header, column, ORM_INT64, NULL, error);
		cells[i] = value.integer;
	}
	ormd_pg_close_cursor(base);
	return status;
}
