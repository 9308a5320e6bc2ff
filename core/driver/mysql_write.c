/* SPDX-License-Identifier: MIT */
/*
 * One statement run for many rows of parameters. The server takes the parameters of many rows in one packet and runs
 * the statement for each, but tells of all of them only a sum: whether every row found what it was to change. Where
 * that is not so, or one fails, what was done is undone and the rows are gone through one by one, which tells which.
 */
#include "driver/mysql_internal.h"

#include <string.h>

#include "base/error.h"
#include "model/fail.h"

/* From so many rows on it is worth a savepoint, which costs as much as a row by itself. */
#define FEWEST_FOR_BULK 4
/* Of one packet: more is not faster, and takes memory here and there. */
#define BULK_SIZE (4 * 1024 * 1024)
#define BULK_ROWS 65535
/* What a row has besides its values, at most: a byte and a size for each, and its share of the packet. */
#define PARAMETER_OVERHEAD 14
#define SAVEPOINT          "ormd_rows"

/* ---- one row ------------------------------------------------------------------------------------------------ */

/* The column that a parameter is for, by the order of sql/compile.h; NULL: not known. */
static const orm_column *parameter_column(const ormd_write *write, size_t place)
{
	const orm_mapper *mapper = write->mapper;
	size_t n_columns = write->kind == ORMD_WRITE_DELETE ? 0 : write->n_columns;

	if (write->kind == ORMD_WRITE_OTHER || !mapper)
		return NULL;
	if (place < n_columns)
		return &mapper->columns[write->columns[place]];
	place -= n_columns;
	if (place < mapper->n_key)
		return &mapper->columns[mapper->key[place]];
	return mapper->version != ORM_NO_NUMBER ? &mapper->columns[mapper->version] : NULL;
}

static orm_status fail_value(const ormd_write *write, size_t place, const orm_value *value, const char *wrong,
			     orm_error *error)
{
	const orm_column *column = parameter_column(write, place);

	if (column)
		return orm_fail_at(error, ORM_EINVAL, write->mapper->table, column->name, "the value %s", wrong);
	return orm_fail(error, ORM_EINVAL, "a %s %s", orm_type_name(value->type), wrong);
}

static size_t row_size(const orm_value *values, size_t n_values)
{
	size_t size = 0;

	for (size_t i = 0; i < n_values; i++) {
		const bool has_size = orm_type_is_borrowed(values[i].type);

		size += PARAMETER_OVERHEAD + (has_size && !values[i].null ? values[i].size : 0);
	}
	return size;
}

/* The server would answer by closing the connection. */
static orm_status check_size(const mysql_connection *connection, const ormd_write *write, const orm_value *values,
			     orm_error *error)
{
	if (row_size(values, write->n_parameters) + 64 <= connection->max_packet)
		return ORM_OK;
	orm_fail(error, ORM_ELIMIT,
		 "%s%sa row is larger than the %zu bytes that the server takes at once; raise its max_allowed_packet",
		 write->mapper ? write->mapper->table : "", write->mapper ? ": " : "", connection->max_packet);
	return error && write->mapper ? orm_error_at(error, write->mapper->table, NULL, NULL) : ORM_ELIMIT;
}

/* The row that RETURNING gives, into the caller's arena. */
static orm_status read_returned(const mysql_statement *statement, const ormd_write *write, size_t number,
				orm_error *error)
{
	orm_value *row = write->returned + number * write->n_returning;

	for (size_t i = 0; i < write->n_returning; i++) {
		orm_value value;

		if (!ormd_mysql_cell(statement, i, write->returning[i], &value))
			return ormd_mysql_fail_cell(statement, i, write->returning[i], NULL, error);
		if (!orm_value_copy(&row[i], &value, write->arena))
			return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	return ORM_OK;
}

/* MariaDB tells of RETURNING only when it is run. */
static orm_status check_results(const mysql_statement *statement, const ormd_write *write, orm_error *error)
{
	const unsigned n_there = mysql_stmt_field_count(statement->handle);

	if (n_there == write->n_returning)
		return ORM_OK;
	return orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %u there: %.200s", write->n_returning, n_there,
			write->sql);
}

/* The rows that RETURNING gives for `n` rows from `first` on; *n_found: how many there were. */
static orm_status read_results(mysql_connection *connection, mysql_statement *statement, const ormd_write *write,
			       size_t first, size_t n, size_t *n_found, orm_error *error)
{
	orm_status status = ORM_OK;
	int rc = 0;

	*n_found = 0;
	ormd_mysql_enter(connection);
	while ((rc = ormd_mysql_next(statement)) == 0) {
		if (status == ORM_OK && *n_found < n)
			status = read_returned(statement, write, first + *n_found, error);
		++*n_found;
	}
	ormd_mysql_leave();
	return rc == MYSQL_NO_DATA ? status : ormd_mysql_fail_statement(connection, statement, error);
}

static orm_status write_row(mysql_connection *connection, mysql_statement *statement, const ormd_write *write,
			    size_t number, orm_error *error)
{
	const orm_value *values = write->n_parameters ? &write->values[number * write->n_parameters] : NULL;
	size_t n_found = 0;
	orm_status status = check_size(connection, write, values, error);

	for (size_t i = 0; i < write->n_parameters && status == ORM_OK; i++) {
		const char *wrong = ormd_mysql_bind_value(&statement->binds[i], &statement->parameters[i], &values[i]);

		if (wrong)
			status = fail_value(write, i, &values[i], wrong, error);
	}
	if (status == ORM_OK)
		status = ormd_mysql_send(connection, statement, error);
	if (status == ORM_OK)
		status = check_results(statement, write, error);
	if (status != ORM_OK)
		return status;
	if (write->n_returning)
		status = read_results(connection, statement, write, number, 1, &n_found, error);
	else
		n_found = (size_t)mysql_stmt_affected_rows(statement->handle);
	if (status == ORM_OK && write->affected)
		write->affected[number] = n_found;
	return status;
}

static orm_status write_rows(mysql_connection *connection, mysql_statement *statement, ormd_write *write, size_t first,
			     size_t end, orm_error *error)
{
	orm_status status = ORM_OK;

	for (size_t i = first; i < end && status == ORM_OK; i++) {
		/* Also where the bulk before it has used up the time. */
		status = ormd_mysql_ready(connection, error);
		if (status == ORM_OK)
			status = write_row(connection, statement, write, i, error);
		if (status != ORM_OK)
			write->failed_row = i;
	}
	return status;
}

/* ---- many rows ---------------------------------------------------------------------------------------------- */

typedef struct bulk {
	mysql_statement *statement;
	const ormd_write *write;
	size_t first;
} bulk;

/* The library asks for each row's values before it sends them. A type that differs from the first row's, or a value
 * that cannot be sent, stops it before anything is sent. */
static my_bool set_row(void *context, MYSQL_BIND *binds, unsigned row)
{
	const bulk *b = context;
	const size_t n = b->write->n_parameters;
	const orm_value *values = &b->write->values[(b->first + row) * n];

	for (size_t i = 0; i < n; i++) {
		const enum enum_field_types type = binds[i].buffer_type;

		if (ormd_mysql_bind_value(&binds[i], &b->statement->parameters[i], &values[i]) ||
		    binds[i].buffer_type != type)
			return 1;
	}
	return 0;
}

static void set_types(mysql_statement *statement, const orm_value *values)
{
	for (size_t i = 0; i < statement->n_parameters; i++) {
		memset(&statement->binds[i], 0, sizeof statement->binds[i]);
		statement->binds[i].buffer_type = ormd_mysql_parameter_type(values[i].type);
		statement->binds[i].u.indicator = &statement->parameters[i].indicator;
	}
}

static void use_bulk(bulk *b, unsigned n_rows)
{
	MYSQL_STMT *handle = b->statement->handle;

	mysql_stmt_attr_set(handle, STMT_ATTR_ARRAY_SIZE, &n_rows);
	mysql_stmt_attr_set(handle, STMT_ATTR_CB_USER_DATA, n_rows ? b : NULL);
	/* The library takes the function itself for a pointer to data. */
	mysql_stmt_attr_set(handle, STMT_ATTR_CB_PARAM, n_rows ? (const void *)(uintptr_t)set_row : NULL);
}

/* How many rows from `first` on go into one packet. */
static size_t rows_of_packet(const mysql_connection *connection, const ormd_write *write, size_t first)
{
	const size_t limit = connection->max_packet / 2 < BULK_SIZE ? connection->max_packet / 2 : BULK_SIZE;
	size_t size = 0;
	size_t n = 0;

	while (first + n < write->n_rows && n < BULK_ROWS) {
		size += row_size(&write->values[(first + n) * write->n_parameters], write->n_parameters);
		if (size > limit)
			break;
		n++;
	}
	return n;
}

/* One packet. ORM_OK and *all: every row was found or made. */
static orm_status write_packet(mysql_connection *connection, bulk *b, size_t n, bool *all, orm_error *error)
{
	const ormd_write *write = b->write;
	size_t n_found = 0;
	orm_status status;

	set_types(b->statement, &write->values[b->first * write->n_parameters]);
	use_bulk(b, (unsigned)n);
	status = ormd_mysql_send(connection, b->statement, error);
	use_bulk(b, 0);
	if (status == ORM_OK)
		status = check_results(b->statement, write, error);
	if (status == ORM_OK && write->n_returning)
		status = read_results(connection, b->statement, write, b->first, n, &n_found, error);
	else if (status == ORM_OK)
		n_found = (size_t)mysql_stmt_affected_rows(b->statement->handle);
	*all = status == ORM_OK && n_found == n;
	return status;
}

/* Is there sense in going through the rows one by one? Not if the transaction is gone, or the time. */
static bool can_go_on(const mysql_connection *connection, orm_status status, bool was_in_transaction)
{
	if (connection->base.lost || (was_in_transaction && !connection->in_transaction))
		return false;
	return status != ORM_ETIMEOUT && status != ORM_ECANCELLED && status != ORM_ERETRY && status != ORM_ENOMEM;
}

/* INSERT is one statement for all rows: what fails has left nothing behind. */
static orm_status insert_many(mysql_connection *connection, mysql_statement *statement, ormd_write *write,
			      orm_error *error)
{
	const bool in_transaction = connection->in_transaction;
	orm_status status = ORM_OK;

	for (size_t first = 0, n; first < write->n_rows && status == ORM_OK; first += n) {
		bulk b = {.statement = statement, .write = write, .first = first};
		bool all = false;

		n = rows_of_packet(connection, write, first);
		if (n < 2) {
			n = 1;
			status = write_rows(connection, statement, write, first, first + n, error);
			continue;
		}
		if ((status = ormd_mysql_ready(connection, error)) == ORM_OK)
			status = write_packet(connection, &b, n, &all, error);
		if (all) {
			for (size_t i = 0; i < n && write->affected; i++)
				write->affected[first + i] = 1;
			continue;
		}
		write->failed_row = first;
		if (status == ORM_OK)
			status = orm_fail(error, ORM_EDATABASE,
					  "%s: the server made fewer rows than it was sent; is there a trigger?",
					  write->mapper->table);
		else if (can_go_on(connection, status, in_transaction))
			status = write_rows(connection, statement, write, first, first + n, error);
	}
	return status;
}

/* UPDATE and DELETE run for each row by itself. ORM_OK and not *all: some row was not found. */
static orm_status change_many(mysql_connection *connection, mysql_statement *statement, ormd_write *write, bool *all,
			      orm_error *error)
{
	orm_status status = ormd_mysql_execute(connection, "SAVEPOINT " SAVEPOINT, error);

	*all = status == ORM_OK;
	for (size_t first = 0, n; first < write->n_rows && *all; first += n) {
		bulk b = {.statement = statement, .write = write, .first = first};

		n = rows_of_packet(connection, write, first);
		write->failed_row = first;
		if (n == 0) /* its size is the row's failure */
			*all = false;
		else if ((status = ormd_mysql_ready(connection, error)) == ORM_OK)
			status = write_packet(connection, &b, n, all, error);
		*all = *all && status == ORM_OK;
	}
	return status;
}

static orm_status update_many(mysql_connection *connection, mysql_statement *statement, ormd_write *write,
			      orm_error *error)
{
	bool all = false;
	orm_status status = change_many(connection, statement, write, &all, error);

	if (all) {
		for (size_t i = 0; i < write->n_rows && write->affected; i++)
			write->affected[i] = 1;
		return ORM_OK;
	}
	if (!can_go_on(connection, status, true))
		return status;
	status = ormd_mysql_execute(connection, "ROLLBACK TO SAVEPOINT " SAVEPOINT, error);
	return status == ORM_OK ? write_rows(connection, statement, write, 0, write->n_rows, error) : status;
}

/* ---- the driver's member ------------------------------------------------------------------------------------ */

orm_status ormd_mysql_write(ormd_connection *base, ormd_write *write, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	const bool is_change = write->kind == ORMD_WRITE_UPDATE || write->kind == ORMD_WRITE_DELETE;
	orm_error ignored;
	orm_status status;
	mysql_statement *statement;

	error = error ? error : &ignored;
	write->failed_row = 0;
	status = ormd_mysql_start(connection, error);
	if (status != ORM_OK)
		return status;
	if (!(statement = ormd_mysql_take(connection, write->sql, error)))
		return error->code;
	status = ormd_mysql_check_parameters(statement, write->n_parameters, error);
	for (size_t i = 0; i < write->n_returning * write->n_rows; i++)
		write->returned[i] = (orm_value){.type = write->returning[i % write->n_returning], .null = true};
	if (status != ORM_OK)
		;
	else if (write->n_rows >= 2 && write->n_parameters > 0 && write->kind == ORMD_WRITE_INSERT)
		status = insert_many(connection, statement, write, error);
	else if (write->n_rows >= FEWEST_FOR_BULK && is_change && connection->in_transaction)
		status = update_many(connection, statement, write, error);
	else
		status = write_rows(connection, statement, write, 0, write->n_rows, error);
	ormd_mysql_give(connection, statement);
	return status;
}
