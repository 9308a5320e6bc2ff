/* SPDX-License-Identifier: MIT */
/* Sending: plain text, and prepared statements, kept by their text and dropped when long unused. */
#include "driver/mysql_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* ---- before anything is sent -------------------------------------------------------------------------------- */

static orm_status fail_lost(orm_error *error)
{
	return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost; connect anew");
}

/* A KILL QUERY that came too late for its statement must not hit the next one. */
static orm_status absorb_kill(mysql_connection *connection, orm_error *error)
{
	connection->kill_sent = false;
	ormd_mysql_enter(connection);
	(void)mysql_query(connection->handle, "DO 0");
	ormd_mysql_leave();
	if (!ormd_mysql_is_lost(mysql_errno(connection->handle)))
		return ORM_OK;
	return ormd_mysql_fail_handle(connection, NULL, error);
}

orm_status ormd_mysql_ready(mysql_connection *connection, orm_error *error)
{
	if (connection->base.lost)
		return fail_lost(error);
	if (connection->streaming)
		ormd_mysql_take_in(connection->streaming);
	if (connection->base.lost) /* by now */
		return fail_lost(error);
	connection->stopped = ORM_OK;
	if (connection->base.deadline_us && orm_clock_us() >= connection->base.deadline_us)
		return orm_fail(error, ORM_ETIMEOUT, "the deadline passed before the statement was sent");
	if (connection->n_cursors == 0)
		ormd_mysql_forget_interrupt(connection);
	return connection->kill_sent ? absorb_kill(connection, error) : ORM_OK;
}

orm_status ormd_mysql_start(mysql_connection *connection, orm_error *error)
{
	orm_status status = ormd_mysql_ready(connection, error);

	if (status != ORM_OK || connection->in_transaction || connection->autocommit)
		return status;
	status = ormd_mysql_execute(connection, "SET autocommit=1", error);
	connection->autocommit = status == ORM_OK;
	return status;
}

/* ---- text --------------------------------------------------------------------------------------------------- */

/* False: the result ended in a failure. */
static bool drop_result(MYSQL *handle)
{
	MYSQL_RES *result = mysql_use_result(handle);

	while (result && mysql_fetch_row(result))
		;
	mysql_free_result(result);
	return mysql_errno(handle) == 0;
}

orm_status ormd_mysql_execute(mysql_connection *connection, const char *sql, orm_error *error)
{
	MYSQL *handle = connection->handle;
	bool failed;
	bool more = true;

	ormd_mysql_enter(connection);
	failed = mysql_real_query(handle, sql, (unsigned long)strlen(sql)) != 0;
	while (!failed && more) {
		failed = mysql_field_count(handle) > 0 && !drop_result(handle);
		more = !failed && mysql_more_results(handle);
		failed = failed || (more && mysql_next_result(handle) != 0);
	}
	ormd_mysql_leave();
	return failed ? ormd_mysql_fail_handle(connection, sql, error) : ORM_OK;
}

MYSQL_RES *ormd_mysql_ask(mysql_connection *connection, const char *sql, orm_error *error)
{
	MYSQL_RES *result = NULL;

	ormd_mysql_enter(connection);
	if (mysql_real_query(connection->handle, sql, (unsigned long)strlen(sql)) == 0)
		result = mysql_store_result(connection->handle);
	ormd_mysql_leave();
	if (!result)
		ormd_mysql_fail_handle(connection, sql, error);
	return result;
}

/* ---- the cache ---------------------------------------------------------------------------------------------- */

static bool same_text(const void *value, const void *key)
{
	const mysql_statement *statement = value;

	return strcmp(statement->sql, key) == 0;
}

static void free_statement(mysql_connection *connection, mysql_statement *statement)
{
	if (!statement)
		return;
	if (statement->handle) {
		ormd_mysql_enter(connection);
		mysql_stmt_close(statement->handle); /* tells the server, and waits for nothing */
		ormd_mysql_leave();
	}
	free(statement->binds);
	free(statement->parameters);
	free(statement);
}

/* False: all are in use. */
static bool evict_oldest(mysql_connection *connection)
{
	mysql_statement *statement = ormd_statement_cache_evict(&connection->statements);

	free_statement(connection, statement);
	return statement != NULL;
}

/* ---- preparing ---------------------------------------------------------------------------------------------- */

static bool describe(mysql_statement *statement)
{
	statement->n_parameters = mysql_stmt_param_count(statement->handle);
	if (statement->n_parameters > 0) {
		statement->binds = calloc(statement->n_parameters, sizeof *statement->binds);
		statement->parameters = calloc(statement->n_parameters, sizeof *statement->parameters);
	}
	return statement->n_parameters == 0 || (statement->binds && statement->parameters);
}

/* The server keeps only so many for all its clients: room is made of our own, as long as there is any. */
static int prepare_handle(mysql_connection *connection, mysql_statement *statement, size_t size)
{
	int rc;

	do {
		ormd_mysql_enter(connection);
		rc = mysql_stmt_prepare(statement->handle, statement->sql, (unsigned long)size);
		ormd_mysql_leave();
	} while (rc && mysql_stmt_errno(statement->handle) == ER_MAX_PREPARED_STMT_COUNT_REACHED &&
		 evict_oldest(connection));
	return rc;
}

static mysql_statement *prepare(mysql_connection *connection, const char *sql, size_t size, orm_error *error)
{
	mysql_statement *statement = calloc(1, sizeof *statement + size + 1);

	if (!statement) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(statement->sql, sql, size + 1);
	statement->base.n_users = 1;
	statement->handle = mysql_stmt_init(connection->handle);
	if (statement->handle && prepare_handle(connection, statement, size) != 0) {
		ormd_mysql_fail_statement(connection, statement, error);
		free_statement(connection, statement);
		return NULL;
	}
	if (!statement->handle || !describe(statement)) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		free_statement(connection, statement);
		return NULL;
	}
	return statement;
}

mysql_statement *ormd_mysql_take(mysql_connection *connection, const char *sql, orm_error *error)
{
	ormd_statement_cache *cache = &connection->statements;
	const size_t size = strlen(sql);
	const uint64_t hash = orm_hash_bytes(sql, size);
	mysql_statement *statement = ormd_statement_cache_find(cache, hash, same_text, sql);

	if (statement && statement->base.n_users == 0) {
		statement->base.n_users = 1;
		return statement;
	}

	const bool keep = !statement && size <= ORMD_MAX_CACHED_SQL;

	statement = prepare(connection, sql, size, error);
	if (statement && keep)
		free_statement(connection, ormd_statement_cache_put(cache, hash, &statement->base));
	return statement;
}

void ormd_mysql_give(mysql_connection *connection, mysql_statement *statement)
{
	const unsigned one_by_one = 0;

	if (!statement)
		return;
	statement->base.n_users = 0;
	if (!statement->base.cached) {
		free_statement(connection, statement);
		return;
	}
	if (mysql_stmt_field_count(statement->handle) > 0) {
		ormd_mysql_enter(connection);
		mysql_stmt_free_result(statement->handle);
		ormd_mysql_leave();
	}
	mysql_stmt_attr_set(statement->handle, STMT_ATTR_ARRAY_SIZE, &one_by_one);
	mysql_stmt_attr_set(statement->handle, STMT_ATTR_CB_PARAM, NULL);
}

void ormd_mysql_statements_fini(mysql_connection *connection)
{
	for (mysql_statement *statement; (statement = ormd_statement_cache_take(&connection->statements));)
		free_statement(connection, statement);
}

/* ---- running ------------------------------------------------------------------------------------------------ */

orm_status ormd_mysql_check_parameters(const mysql_statement *statement, size_t n_values, orm_error *error)
{
	if (n_values == statement->n_parameters)
		return ORM_OK;
	return orm_fail(error, ORM_EINTERNAL, "%zu values for %zu parameters: %.200s", n_values,
			statement->n_parameters, statement->sql);
}

orm_status ormd_mysql_send(mysql_connection *connection, mysql_statement *statement, orm_error *error)
{
	int rc = 0;

	if (statement->n_parameters > 0)
		rc = mysql_stmt_bind_param(statement->handle, statement->binds) != 0;
	if (rc == 0) {
		ormd_mysql_enter(connection);
		rc = mysql_stmt_execute(statement->handle);
		ormd_mysql_leave();
	}
	return rc == 0 ? ORM_OK : ormd_mysql_fail_statement(connection, statement, error);
}

int ormd_mysql_next(mysql_statement *statement)
{
	return mysql_stmt_fetch(statement->handle);
}
