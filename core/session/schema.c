/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/error.h"
#include "session/session.h"
#include "sql/ddl.h"

typedef orm_status ddl_function(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit,
				void *context, orm_error *error);

typedef struct schema_job {
	const ormd_dialect *dialect;
	const orm_registry *registry;
	ddl_function *function;
	ormd_connection *connection;
} schema_job;

static orm_status emit(const char *sql, void *context, orm_error *error)
{
	const schema_job *schema = context;
	const orm_status status = schema->connection->driver->run(schema->connection, sql, error);

	/* Which table, and which check or default of the models, the engine's message may not say. */
	if (status == ORM_EDATABASE && error) {
		char said[sizeof error->message / 2];

		memcpy(said, error->message, sizeof said - 1);
		said[sizeof said - 1] = '\0';
		return orm_fail(error, status, "%s, in: %.200s", said, sql);
	}
	return status;
}

static orm_status run_schema(ormd_connection *connection, void *context, orm_error *error)
{
	schema_job *schema = context;

	schema->connection = connection;
	return schema->function(schema->dialect, schema->registry, emit, schema, error);
}

/* Alone: other units of the same transaction would see half a schema undone. */
static orm_status change_schema(ormd_database *database, const orm_registry *registry, ddl_function *function,
				int64_t deadline_us, uint32_t *n_tables, orm_error *error)
{
	schema_job schema = {.dialect = ormd_database_dialect(database), .registry = registry, .function = function};
	ormd_job job = {.run = run_schema,
			.context = &schema,
			.end = ORMD_JOB_COMMIT,
			.deadline_us = deadline_us,
			.alone = true};
	const orm_status status = ormd_database_run(database, &job, error);

	if (status == ORM_OK && n_tables)
		*n_tables = registry->n_mappers;
	return status;
}

orm_status ormd_schema_create_all(ormd_database *database, const orm_registry *registry, int64_t deadline_us,
				  uint32_t *n_tables, orm_error *error)
{
	return change_schema(database, registry, ormd_ddl_create_all, deadline_us, n_tables, error);
}

orm_status ormd_schema_drop_all(ormd_database *database, const orm_registry *registry, int64_t deadline_us,
				uint32_t *n_tables, orm_error *error)
{
	const orm_status status = change_schema(database, registry, ormd_ddl_drop_all, deadline_us, n_tables, error);

	for (uint16_t i = 0; status == ORM_OK && i < registry->n_mappers; i++)
		ormd_database_restart_keys(database, &registry->mappers[i]);
	return status;
}
