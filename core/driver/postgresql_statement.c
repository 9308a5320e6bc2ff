/* SPDX-License-Identifier: MIT */
/* Prepared statements, kept by their text and the types of their parameters, and dropped when long unused. */
#include "driver/postgresql_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef struct statement_key {
	const char *sql;
	const Oid *types;
	size_t n_types;
} statement_key;

static bool same_statement(const void *value, const void *key)
{
	const pg_statement *statement = value;
	const statement_key *wanted = key;

	return statement->n_types == wanted->n_types && strcmp(statement->sql, wanted->sql) == 0 &&
	       (wanted->n_types == 0 ||
		memcmp(statement->types, wanted->types, wanted->n_types * sizeof *wanted->types) == 0);
}

void ormd_pg_keep_number(pg_connection *connection, unsigned number)
{
	orm_buffer_append(&connection->statements.ended, &number, sizeof number);
}

static void end_statement(pg_connection *connection, pg_statement *statement)
{
	if (statement && statement->prepared)
		ormd_pg_keep_number(connection, statement->number);
	free(statement);
}

static pg_statement *make_statement(pg_connection *connection, const statement_key *key, uint64_t hash,
				    orm_error *error)
{
	const size_t size = strlen(key->sql) + 1;
	const size_t types_size = key->n_types * sizeof(Oid);
	pg_statement *statement = calloc(1, sizeof *statement + types_size + size);
	char *sql;

	if (!statement) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	sql = (char *)statement->types + types_size;
	memcpy(sql, key->sql, size);
	if (types_size > 0)
		memcpy(statement->types, key->types, types_size);
	statement->sql = sql;
	statement->n_types = key->n_types;
	if (size <= ORMD_MAX_CACHED_SQL)
		end_statement(connection,
			      ormd_statement_cache_put(&connection->statements.cache, hash, &statement->base));
	return statement;
}

static void put_name(const pg_statement *statement, char name[24])
{
	snprintf(name, 24, "ormd_%u", statement->number);
}

static orm_status prepare(pg_connection *connection, pg_statement *statement, ormd_write *write, orm_error *error)
{
	char name[24];

	statement->number = connection->statements.next_number++;
	put_name(statement, name);
	if (!PQsendPrepare(connection->handle, name, statement->sql, (int)statement->n_types, statement->types))
		return ormd_pg_lose(connection, error);
	statement->prepared = true;
	return ormd_pg_push(connection, &(pg_request){.kind = PG_PREPARE, .statement = statement, .write = write},
			    error);
}

pg_statement *ormd_pg_look_up(pg_connection *connection, const char *sql, const Oid *types, size_t n_types,
			      orm_error *error)
{
	const statement_key key = {.sql = sql, .types = types, .n_types = n_types};
	const uint64_t hash = orm_hash_bytes(sql, strlen(sql)) ^ orm_hash_bytes(types, n_types * sizeof *types);
	pg_statement *statement = ormd_statement_cache_find(&connection->statements.cache, hash, same_statement, &key);

	return statement ? statement : make_statement(connection, &key, hash, error);
}

pg_statement *ormd_pg_take(pg_connection *connection, const char *sql, const Oid *types, size_t n_types,
			   ormd_write *write, orm_error *error)
{
	pg_statement *statement = ormd_pg_look_up(connection, sql, types, n_types, error);

	if (!statement)
		return NULL;
	ormd_pg_use(statement); /* by the caller, so that it stays */
	if (!statement->prepared && prepare(connection, statement, write, error) != ORM_OK) {
		ormd_pg_unuse(connection, statement);
		return NULL;
	}
	return statement;
}

orm_status ormd_pg_execute(pg_connection *connection, pg_statement *statement, orm_error *error)
{
	char name[24];

	put_name(statement, name);
	if (!PQsendQueryPrepared(connection->handle, name, (int)statement->n_types, connection->values,
				 connection->lengths, connection->formats, 1))
		return ormd_pg_lose(connection, error);
	return ORM_OK;
}

void ormd_pg_use(pg_statement *statement)
{
	statement->base.n_users++;
}

void ormd_pg_unuse(pg_connection *connection, pg_statement *statement)
{
	if (statement && --statement->base.n_users == 0 && !statement->base.cached)
		end_statement(connection, statement);
}

void ormd_pg_unprepare(pg_connection *connection, pg_statement *statement, bool server_has_it)
{
	if (server_has_it && statement->prepared)
		ormd_pg_keep_number(connection, statement->number);
	statement->prepared = false;
}

void ormd_pg_statements_fini(pg_connection *connection)
{
	for (pg_statement *statement; (statement = ormd_statement_cache_take(&connection->statements.cache));)
		free(statement);
	ormd_statement_cache_fini(&connection->statements.cache);
	orm_buffer_fini(&connection->statements.ended);
}
