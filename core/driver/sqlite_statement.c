/* SPDX-License-Identifier: MIT */
/* Prepared statements, kept by their text and dropped when long unused. */
#include "driver/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool same_text(const void *value, const void *key)
{
	const sqlite_statement *statement = value;

	return strcmp(statement->sql, key) == 0;
}

static void free_statement(sqlite_statement *statement)
{
	if (!statement)
		return;
	sqlite3_finalize(statement->handle); /* repeats the last step's failure, which was reported then */
	free(statement);
}

static sqlite_statement *prepare(sqlite_connection *connection, const char *sql, size_t size, bool keep,
				 orm_error *error)
{
	sqlite_statement *statement = calloc(1, sizeof *statement + size + 1);
	const char *rest = NULL;

	if (!statement) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}

	const int rc = size > INT32_MAX
			       ? SQLITE_TOOBIG
			       : sqlite3_prepare_v3(connection->handle, sql, (int)size + 1,
						    keep ? SQLITE_PREPARE_PERSISTENT : 0, &statement->handle, &rest);

	if (rc != SQLITE_OK) {
		ormd_sqlite_fail(connection, rc, sql, error);
		free(statement);
		return NULL;
	}
	if (!statement->handle || *rest) {
		orm_fail(error, ORM_EINTERNAL, "not exactly one statement: %.200s", sql);
		free_statement(statement);
		return NULL;
	}
	memcpy(statement->sql, sql, size + 1);
	statement->base.n_users = 1;
	return statement;
}

sqlite_statement *ormd_sqlite_take(sqlite_connection *connection, const char *sql, orm_error *error)
{
	ormd_statement_cache *cache = &connection->statements;
	const size_t size = strlen(sql);
	const uint64_t hash = orm_hash_bytes(sql, size);
	sqlite_statement *statement = ormd_statement_cache_find(cache, hash, same_text, sql);

	if (statement && statement->base.n_users == 0) {
		statement->base.n_users = 1;
		return statement;
	}

	const bool keep = !statement && size <= ORMD_MAX_CACHED_SQL;

	statement = prepare(connection, sql, size, keep, error);
	if (statement && keep)
		free_statement(ormd_statement_cache_put(cache, hash, &statement->base));
	return statement;
}

void ormd_sqlite_give(sqlite_connection *connection, sqlite_statement *statement)
{
	(void)connection;
	if (!statement)
		return;
	statement->base.n_users = 0;
	if (!statement->base.cached) {
		free_statement(statement);
		return;
	}
	sqlite3_reset(statement->handle);
	sqlite3_clear_bindings(statement->handle);
}

void ormd_sqlite_statements_fini(sqlite_connection *connection)
{
	for (sqlite_statement *statement; (statement = ormd_statement_cache_take(&connection->statements));)
		free_statement(statement);
	ormd_statement_cache_fini(&connection->statements);
}

orm_status ormd_sqlite_execute(sqlite_connection *connection, const char *sql, int64_t *result, orm_error *error)
{
	orm_error ignored;
	sqlite_statement *statement = ormd_sqlite_take(connection, sql, error = error ? error : &ignored);
	orm_status status = ORM_OK;
	int rc;

	if (!statement)
		return error->code;
	while ((rc = sqlite3_step(statement->handle)) == SQLITE_ROW) {
		if (result)
			*result = sqlite3_column_int64(statement->handle, 0);
		result = NULL;
	}
	if (rc != SQLITE_DONE)
		status = ormd_sqlite_fail(connection, rc, sql, error);
	ormd_sqlite_give(connection, statement);
	return status;
}
