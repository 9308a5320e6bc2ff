/* SPDX-License-Identifier: MIT */
/* One statement run for many rows of parameters, sent without waiting in between. */
#include "driver/postgresql_internal.h"

#include <string.h>

#include "base/error.h"

#define BULK_ROWS 16   /* from which one statement with arrays beats many */
#define MAX_AHEAD 4096 /* requests under way */

orm_status ormd_pg_take_returned(const PGresult *result, int from, ormd_write *write, size_t row, orm_error *error)
{
	orm_value *returned = write->returned + row * write->n_returning;
	char decimal[ORM_DECIMAL_SIZE];

	for (size_t i = 0; i < write->n_returning; i++) {
		const orm_type type = (orm_type)write->returning[i];
		const int column = (int)i;
		orm_value value = {.type = (uint8_t)type, .null = true};

		if (!PQgetisnull(result, from, column) &&
		    !ormd_pg_cell(type, PQftype(result, column), PQgetvalue(result, from, column),
				  (size_t)PQgetlength(result, from, column), decimal, &value))
			return ormd_pg_fail_cell(result, column, type, write->mapper ? write->mapper->table : NULL,
						 error);
		if (!orm_value_copy(&returned[i], &value, write->arena))
			return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	return ORM_OK;
}

static bool same_types(const pg_connection *connection, const pg_statement *statement, size_t n)
{
	return statement->n_types == n &&
	       (n == 0 || memcmp(statement->types, connection->types, n * sizeof *statement->types) == 0);
}

static orm_status send_row(pg_connection *connection, ormd_write *write, size_t row, pg_statement **statement,
			   orm_error *error)
{
	orm_status status =
		ormd_pg_encode(connection, write->n_parameters ? &write->values[row * write->n_parameters] : NULL,
			       write->n_parameters, error);

	if (status != ORM_OK)
		return status;
	if (!*statement || !same_types(connection, *statement, write->n_parameters)) {
		ormd_pg_unuse(connection, *statement);
		*statement = ormd_pg_take(connection, write->sql, connection->types, write->n_parameters, write, error);
		if (!*statement)
			return error->code;
	}
	status = ormd_pg_execute(connection, *statement, error);
	if (status == ORM_OK)
		status = ormd_pg_push(
			connection, &(pg_request){.kind = PG_ROW, .statement = *statement, .write = write, .row = row},
			error);
	return status == ORM_OK ? ormd_pg_keep_below(connection, MAX_AHEAD, error) : status;
}

static orm_status send_rows(pg_connection *connection, ormd_write *write, orm_error *error)
{
	pg_statement *statement = NULL;
	orm_status status = ORM_OK;

	/* After a failure the rest would only be passed over. */
	for (size_t i = 0; i < write->n_rows && status == ORM_OK && connection->failure.status == ORM_OK; i++) {
		status = send_row(connection, write, i, &statement, error);
		if (status != ORM_OK && !connection->base.lost) {
			orm_error earlier;
			/* It could not be sent; those before it have been, and may have failed first. */
			const orm_status before = ormd_pg_settle(connection, &earlier);

			if (before == ORM_OK)
				write->failed_row = i;
			else
				*error = earlier;
			status = before == ORM_OK ? status : before;
		}
	}
	ormd_pg_unuse(connection, statement);
	return status;
}

orm_status ormd_pg_write(ormd_connection *base, ormd_write *write, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_error ignored;
	bool done = false;
	orm_status status;

	error = error ? error : &ignored;
	write->failed_row = 0;
	for (size_t i = 0; i < write->n_returning * write->n_rows; i++)
		write->returned[i] = (orm_value){.type = write->returning[i % write->n_returning], .null = true};
	status = ormd_pg_start(connection, error);
	if (status == ORM_OK && write->kind != ORMD_WRITE_OTHER && write->n_rows >= BULK_ROWS &&
	    write->n_parameters > 0)
		status = ormd_pg_write_bulk(connection, write, &done, error);
	if (status != ORM_OK || done)
		return status;
	status = ormd_pg_send_begin(connection, error);
	if (status == ORM_OK)
		status = send_rows(connection, write, error);
	if (status != ORM_OK || write->later)
		return status;
	return ormd_pg_settle(connection, error);
}

orm_status ormd_pg_collect(ormd_connection *base, ormd_write **failed, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_error ignored;
	orm_status status;

	*failed = NULL;
	if (base->lost)
		return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost; nothing was done");
	status = ormd_pg_settle(connection, error ? error : &ignored);
	*failed = connection->failure.write;
	connection->failure.write = NULL;
	connection->failure.status = ORM_OK;
	return status;
}
