/* SPDX-License-Identifier: MIT */
/*
 * Many rows at once: COPY for an INSERT that wants nothing back, else one statement with an array per parameter. Either
 * fails as a whole, without saying reliably which row was at fault, or for a reason that single rows do not have (the
 * order in which they are written, a column of another type, row-level security, which COPY does not know). So it runs
 * in a savepoint, and what fails is undone and left to be done row by row.
 */
#include "driver/postgresql_internal.h"

#include <endian.h>
#include <string.h>

#include "base/error.h"
#include "sql/postgresql_bulk.h"

#define COPY_ROWS  64          /* from which its further round trip pays */
#define COPY_CHUNK (64 * 1024) /* bytes handed to libpq at once */

static void put_int32(orm_buffer *out, int32_t number)
{
	const uint32_t raw = htobe32((uint32_t)number);

	orm_buffer_put(out, &raw, sizeof raw);
}

/* Its size, and itself. */
static orm_status put_sized(const orm_value *value, orm_buffer *out, orm_error *error)
{
	size_t start;
	uint32_t raw;
	orm_status status;

	if (value->null) {
		put_int32(out, -1);
		return ORM_OK;
	}
	put_int32(out, 0);
	start = out->size;
	status = ormd_pg_put(value, out, error);
	if (status == ORM_OK && !out->failed) {
		raw = htobe32((uint32_t)(out->size - start));
		memcpy(out->data + start - sizeof raw, &raw, sizeof raw);
	}
	return status;
}

/* ---- arrays ------------------------------------------------------------------------------------------------- */

/* One parameter's values of all rows, as array_send writes them: dimensions, whether there are NULLs, the type, length
 * and lower bound of the one dimension, the elements. */
static orm_status put_array(const ormd_write *write, size_t parameter, orm_buffer *out, orm_error *error)
{
	const orm_type type = (orm_type)write->values[parameter].type;
	const orm_value *value = &write->values[parameter];
	orm_status status = ORM_OK;
	bool has_nulls = false;

	for (size_t i = 0; i < write->n_rows; i++)
		has_nulls = has_nulls || value[i * write->n_parameters].null;
	put_int32(out, 1);
	put_int32(out, has_nulls);
	put_int32(out, (int32_t)ormd_pg_oid(type));
	put_int32(out, (int32_t)write->n_rows);
	put_int32(out, 1);
	for (size_t i = 0; i < write->n_rows && status == ORM_OK; i++, value += write->n_parameters)
		status = put_sized(value, out, error);
	return status;
}

/* All of them, in one buffer: sizes first, since it moves while it grows. */
static orm_status encode_arrays(pg_connection *connection, const ormd_write *write, orm_buffer *out, orm_error *error)
{
	orm_status status = ormd_pg_make_room(connection, write->n_parameters, error);
	size_t start = 0;

	for (size_t i = 0; i < write->n_parameters && status == ORM_OK; i++) {
		start = out->size;
		status = put_array(write, i, out, error);
		if (status == ORM_OK && (out->failed || out->size - start > INT32_MAX))
			status = orm_fail(error, out->failed ? ORM_ENOMEM : ORM_ELIMIT,
					  out->failed ? "out of memory" : "the rows are too large for one statement");
		if (status == ORM_OK) {
			connection->lengths[i] = (int)(out->size - start);
			connection->types[i] = ormd_pg_array_oid((orm_type)write->values[i].type);
		}
	}
	start = 0;
	for (size_t i = 0; i < write->n_parameters && status == ORM_OK; i++) {
		connection->values[i] = out->data + start;
		start += (size_t)connection->lengths[i];
	}
	return status;
}

orm_status ormd_pg_take_arrays(const PGresult *result, ormd_write *write, orm_error *error)
{
	const size_t n = (size_t)PQntuples(result);

	if (write->kind == ORMD_WRITE_INSERT) {
		if (write->n_returning == 0)
			return ORM_OK;
		if (n != write->n_rows || (size_t)PQnfields(result) != write->n_returning)
			return orm_fail(error, ORM_EDATABASE,
					"%zu rows were inserted, but %zu came back; is there a trigger that "
					"suppresses them?",
					write->n_rows, n);
		for (size_t i = 0; i < n; i++) {
			const orm_status status = ormd_pg_take_returned(result, (int)i, write, i, error);

			if (status != ORM_OK)
				return status;
		}
		return ORM_OK;
	}
	for (size_t i = 0; write->affected && i < n; i++) {
		orm_value place;

		if (!ormd_pg_cell(ORM_INT64, PQftype(result, 0), PQgetvalue(result, (int)i, 0),
				  (size_t)PQgetlength(result, (int)i, 0), NULL, &place) ||
		    place.integer < 1 || (uint64_t)place.integer > write->n_rows)
			return orm_fail(error, ORM_EINTERNAL, "the server names a row that was not sent");
		write->affected[place.integer - 1]++;
	}
	return ORM_OK;
}

static orm_status write_arrays(pg_connection *connection, ormd_write *write, const char *sql, orm_error *error)
{
	pg_statement *statement = NULL;
	orm_buffer arrays;
	orm_status status;

	orm_buffer_init(&arrays);
	status = encode_arrays(connection, write, &arrays, error);
	if (status == ORM_OK)
		status = ormd_pg_send_begin(connection, error);
	if (status == ORM_OK && connection->in_block)
		status = ormd_pg_send_command(connection, "SAVEPOINT ormd_bulk", error);
	if (status == ORM_OK &&
	    !(statement = ormd_pg_take(connection, sql, connection->types, write->n_parameters, write, error)))
		status = error->code;
	if (status == ORM_OK)
		status = ormd_pg_execute(connection, statement, error);
	orm_buffer_fini(&arrays);
	if (status == ORM_OK)
		status = ormd_pg_push(connection,
				      &(pg_request){.kind = PG_ARRAYS, .statement = statement, .write = write}, error);
	if (status == ORM_OK && connection->in_block)
		status = ormd_pg_send_command(connection, "RELEASE ormd_bulk", error);
	ormd_pg_unuse(connection, statement);
	return status == ORM_OK ? ormd_pg_settle(connection, error) : status;
}

/* ---- COPY --------------------------------------------------------------------------------------------------- */

static orm_status put_copy_rows(pg_connection *connection, const ormd_write *write, orm_error *error)
{
	static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* its signature, no flags, no extension */
	const uint16_t n_fields = htobe16((uint16_t)write->n_parameters);
	const uint16_t end = UINT16_MAX;
	const orm_value *value = write->values;
	orm_status status = ORM_OK;
	orm_buffer chunk;

	orm_buffer_init(&chunk);
	orm_buffer_append(&chunk, header, sizeof header);
	for (size_t i = 0; i < write->n_rows && status == ORM_OK; i++) {
		orm_buffer_put(&chunk, &n_fields, sizeof n_fields);
		for (size_t k = 0; k < write->n_parameters && status == ORM_OK; k++)
			status = put_sized(value++, &chunk, error);
		if (i + 1 == write->n_rows)
			orm_buffer_put(&chunk, &end, sizeof end);
		if (status != ORM_OK || (chunk.size < COPY_CHUNK && i + 1 < write->n_rows))
			continue;
		if (chunk.failed || chunk.size > INT32_MAX)
			status = orm_fail(error, chunk.failed ? ORM_ENOMEM : ORM_ELIMIT,
					  chunk.failed ? "out of memory"
						       : "a row is larger than PostgreSQL's limit of 1 GB");
		else if (PQputCopyData(connection->handle, chunk.data, (int)chunk.size) != 1)
			status = ormd_pg_lose(connection, error);
		else
			status = ormd_pg_flush(connection, error);
		orm_buffer_reset(&chunk);
	}
	orm_buffer_fini(&chunk);
	return status;
}

/* All results of the text that COPY is part of. */
static orm_status take_copy_results(pg_connection *connection, ormd_write *write, const char *sql, orm_error *error)
{
	orm_status status = ORM_OK;

	for (;;) {
		PGresult *result = NULL;
		orm_error other;
		orm_status one = ormd_pg_next_result(connection, &result, &other);

		if (one == ORM_OK && !result)
			return status;
		if (one == ORM_OK && PQresultStatus(result) == PGRES_COPY_IN) {
			one = put_copy_rows(connection, write, &other);
			/* The server answers to either. */
			if (!connection->base.lost &&
			    PQputCopyEnd(connection->handle, one == ORM_OK ? NULL : "a value cannot be sent") != 1)
				one = ormd_pg_lose(connection, &other);
		} else if (one == ORM_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
			one = ormd_pg_fail(connection, result, sql, write->mapper, &other);
		}
		PQclear(result);
		if (one != ORM_OK && status == ORM_OK) {
			status = one;
			*error = other;
		}
		if (connection->base.lost)
			return status;
	}
}

static orm_status write_copy(pg_connection *connection, ormd_write *write, const char *sql, orm_error *error)
{
	const bool in_block = connection->in_block || connection->begin_pending;
	orm_buffer text;
	orm_buffer sent;
	orm_status status = ormd_pg_leave_pipeline(connection, error);

	if (status != ORM_OK)
		return status;
	orm_buffer_init(&text);
	orm_buffer_init(&sent);
	orm_buffer_printf(&text, in_block ? "SAVEPOINT ormd_bulk; %s; RELEASE ormd_bulk" : "%s", sql);
	status = text.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			     : ormd_pg_send_text(connection, text.data, &sent, error);
	if (status == ORM_OK) {
		status = take_copy_results(connection, write, sql, error);
		if (!connection->base.lost)
			ormd_pg_end_text(connection);
	}
	orm_buffer_fini(&sent);
	orm_buffer_fini(&text);
	return status;
}

/* ---- either ------------------------------------------------------------------------------------------------- */

static void compile(const ormd_write *write, bool copy, orm_buffer *sql)
{
	if (copy)
		ormd_postgresql_copy(write->mapper, write->columns, write->n_columns, sql);
	else if (write->kind == ORMD_WRITE_INSERT)
		ormd_postgresql_insert_arrays(write->mapper, write->columns, write->n_columns, write->sql, sql);
	else if (write->kind == ORMD_WRITE_UPDATE)
		ormd_postgresql_update_arrays(write->mapper, write->columns, write->n_columns, sql);
	else
		ormd_postgresql_delete_arrays(write->mapper, sql);
}

/* Might single rows do better, or tell which of them is at fault? */
static bool is_worth_single_rows(orm_status status)
{
	return status == ORM_ECONSTRAINT || status == ORM_EINVAL || status == ORM_EDATABASE || status == ORM_ELIMIT ||
	       status == ORM_EPERM;
}

static orm_status undo(pg_connection *connection, orm_error *error)
{
	orm_status status;

	if (!connection->in_block)
		return ormd_pg_start(connection, error);
	if ((status = ormd_pg_start(connection, error)) != ORM_OK ||
	    (status = ormd_pg_send_command(connection, "ROLLBACK TO ormd_bulk", error)) != ORM_OK ||
	    (status = ormd_pg_send_command(connection, "RELEASE ormd_bulk", error)) != ORM_OK)
		return status;
	return ormd_pg_settle(connection, error);
}

orm_status ormd_pg_write_bulk(pg_connection *connection, ormd_write *write, bool *done, orm_error *error)
{
	ormd_write now = *write; /* its outcome is waited for */
	const bool may_copy = write->kind == ORMD_WRITE_INSERT && write->n_returning == 0 && write->n_rows >= COPY_ROWS;
	pg_statement *copy = NULL;
	orm_buffer sql;
	orm_status status;

	*done = false;
	now.later = false;
	for (size_t i = 0; write->affected && i < write->n_rows; i++)
		write->affected[i] = write->kind == ORMD_WRITE_INSERT;
	if (connection->n_requests > 0 && (status = ormd_pg_settle(connection, error)) != ORM_OK)
		return status;
	orm_buffer_init(&sql);
	if (may_copy) {
		compile(write, true, &sql);
		copy = sql.failed ? NULL : ormd_pg_look_up(connection, sql.data, NULL, 0, error);
	}
	if (copy)
		ormd_pg_use(copy);
	if (copy && copy->no_copy) {
		ormd_pg_unuse(connection, copy);
		copy = NULL;
	}
	if (!copy) {
		orm_buffer_reset(&sql);
		compile(write, false, &sql);
	}
	if (sql.failed)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else
		status = copy ? write_copy(connection, &now, sql.data, error)
			      : write_arrays(connection, &now, sql.data, error);
	orm_buffer_fini(&sql);
	*done = status == ORM_OK;
	if (copy && is_worth_single_rows(status) && status != ORM_ECONSTRAINT)
		copy->no_copy = true;
	if (copy)
		ormd_pg_unuse(connection, copy);
	if (*done || connection->base.lost || !is_worth_single_rows(status))
		return status;
	for (size_t i = 0; write->affected && i < write->n_rows; i++)
		write->affected[i] = 0;
	return undo(connection, error);
}
