/* SPDX-License-Identifier: MIT */
/* One statement run for many rows of parameters. */
#include "driver/sqlite_internal.h"

#include <string.h>

#include "base/error.h"

static int bind_decimal(sqlite3_stmt *handle, int place, const orm_value *value)
{
	int64_t units;

	return ormd_sqlite_decimal_units(value->text, value->size, &units) ? sqlite3_bind_int64(handle, place, units)
									   : SQLITE_MISMATCH;
}

/* Inline, because every value of every row written passes here. */
static inline int bind_value(sqlite3_stmt *handle, int place, const orm_value *value, sqlite3_destructor_type lifetime)
{
	if (value->null)
		return sqlite3_bind_null(handle, place);
	switch (value->type) {
	case ORM_BOOL:
		return sqlite3_bind_int(handle, place, value->boolean);
	case ORM_INT32:
	case ORM_INT64:
	case ORM_DATE:
	case ORM_TIME:
	case ORM_DATETIME:
		return sqlite3_bind_int64(handle, place, value->integer);
	case ORM_DOUBLE:
		/* SQLite would keep a NaN as NULL, without a word: see fail_bind. */
		return value->number != value->number ? SQLITE_MISMATCH
						      : sqlite3_bind_double(handle, place, value->number);
	case ORM_DECIMAL:
		return bind_decimal(handle, place, value);
	case ORM_TEXT:
	case ORM_JSON:
		return sqlite3_bind_text64(handle, place, value->text, value->size, lifetime, SQLITE_UTF8);
	case ORM_BYTES:
	case ORM_UUID:
		/* A NULL pointer would be bound as NULL; an empty value is not that. */
		return sqlite3_bind_blob64(handle, place, value->size ? value->bytes : "", value->size, lifetime);
	default:
		return SQLITE_MISMATCH;
	}
}

static orm_status fail_bind(sqlite_connection *connection, sqlite_statement *statement, const orm_value *value, int rc,
			    orm_error *error)
{
	if (rc == SQLITE_MISMATCH && value->type == ORM_DOUBLE)
		return orm_fail(error, ORM_EINVAL,
				"a double is not a number (NaN), which SQLite cannot keep; use NULL");
	if (rc == SQLITE_MISMATCH && value->type == ORM_DECIMAL)
		return orm_fail(error, ORM_EINVAL, "the decimal %.*s has more digits than SQLite can keep exactly",
				(int)value->size, value->text);
	return ormd_sqlite_fail(connection, rc, statement->sql, error);
}

static inline int bind_row(sqlite3_stmt *handle, const orm_value *values, size_t n_values,
			   sqlite3_destructor_type lifetime, size_t *failed)
{
	for (size_t i = 0; i < n_values; i++) {
		const orm_value *value = &values[i];
		const int rc = bind_value(handle, (int)i + 1, value, lifetime);

		if (rc != SQLITE_OK) {
			*failed = i;
			return rc;
		}
	}
	return SQLITE_OK;
}

/* The caller's count must be SQLite's: a parameter that is left out would silently be NULL. */
static orm_status check_parameters(sqlite_statement *statement, size_t n_values, orm_error *error)
{
	const int n_wanted = sqlite3_bind_parameter_count(statement->handle);

	if (n_values == (size_t)n_wanted)
		return ORM_OK;
	return orm_fail(error, ORM_EINTERNAL, "%zu values for %d parameters: %.200s", n_values, n_wanted,
			statement->sql);
}

orm_status ormd_sqlite_bind(sqlite_connection *connection, sqlite_statement *statement, const orm_value *values,
			    size_t n_values, bool copy, orm_error *error)
{
	size_t failed = 0;
	const orm_status status = check_parameters(statement, n_values, error);

	if (status != ORM_OK)
		return status;

	const int rc = bind_row(statement->handle, values, n_values, copy ? SQLITE_TRANSIENT : SQLITE_STATIC, &failed);

	return rc == SQLITE_OK ? ORM_OK : fail_bind(connection, statement, &values[failed], rc, error);
}

/* The row that RETURNING gives, into the caller's arena. */
static orm_status read_returned(sqlite_statement *statement, const ormd_write *write, orm_value *row, orm_error *error)
{
	for (size_t i = 0; i < write->n_returning; i++) {
		orm_value value;

		if (!ormd_sqlite_cell(sqlite3_column_value(statement->handle, (int)i), write->returning[i], &value))
			return ormd_sqlite_fail_cell(statement, (int)i, write->returning[i], NULL, error);
		if (!orm_value_copy(&row[i], &value, write->arena))
			return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	return ORM_OK;
}

static orm_status write_row(sqlite_connection *connection, sqlite_statement *statement, const ormd_write *write,
			    size_t number, orm_error *error)
{
	sqlite3_stmt *handle = statement->handle;
	const orm_value *values = write->n_parameters ? &write->values[number * write->n_parameters] : NULL;
	size_t failed = 0;
	size_t n_rows = 0;
	orm_status status = ORM_OK;
	int rc = bind_row(handle, values, write->n_parameters, SQLITE_STATIC, &failed);

	if (rc != SQLITE_OK)
		return fail_bind(connection, statement, &values[failed], rc, error);
	while ((rc = sqlite3_step(handle)) == SQLITE_ROW) {
		if (n_rows++ == 0 && write->n_returning)
			status = read_returned(statement, write, write->returned + number * write->n_returning, error);
		if (status != ORM_OK)
			return status;
	}
	if (rc != SQLITE_DONE) {
		const bool is_foreign_key = ormd_sqlite_is_foreign_key(connection, rc);

		status = ormd_sqlite_fail(connection, rc, write->sql, error);
		sqlite3_reset(handle);
		if (is_foreign_key)
			ormd_sqlite_name_foreign_key(connection, write->sql, values, write->n_parameters, error);
		return status;
	}
	if (write->affected)
		write->affected[number] = (size_t)sqlite3_changes64(connection->handle);
	sqlite3_reset(handle); /* cannot fail after SQLITE_DONE */
	return ORM_OK;
}

orm_status ormd_sqlite_write(ormd_connection *base, ormd_write *write, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);
	orm_error ignored;
	sqlite_statement *statement = ormd_sqlite_take(connection, write->sql, error = error ? error : &ignored);

	if (!statement) {
		write->failed_row = 0;
		return error->code;
	}

	orm_status status = check_parameters(statement, write->n_parameters, error);

	if (status == ORM_OK && (size_t)sqlite3_column_count(statement->handle) != write->n_returning)
		status = orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %d there: %.200s", write->n_returning,
				  sqlite3_column_count(statement->handle), write->sql);
	for (size_t i = 0; i < write->n_returning * write->n_rows; i++)
		write->returned[i] = (orm_value){.type = write->returning[i % write->n_returning], .null = true};
	for (size_t i = 0; i < write->n_rows && status == ORM_OK; i++) {
		status = write_row(connection, statement, write, i, error);
		if (status != ORM_OK)
			write->failed_row = i;
	}
	ormd_sqlite_give(connection, statement);
	return status;
}
