/* SPDX-License-Identifier: MIT */
#include "session/commit_row.h"

#include <orm/types.h>

#include "base/error.h"
#include "sql/compile.h"
#include "sql/ddl.h"

/* Few: a client asks for its latest commits only, and rows of many clients on one page mean fewer pages in a group's log. */
#define KEPT_IDS    16 /* of one client */
#define KEPT_DAYS   7  /* of any client: far longer than one asks for an outcome */
#define CLEAN_EVERY 8  /* commits of one client */

#define US_PER_DAY (INT64_C(24) * 3600 * 1000000)

static orm_value id_value(const ormd_commit_id *id)
{
	return (orm_value){.type = ORM_BYTES, .size = sizeof id->client_id, .bytes = id->client_id};
}

static orm_value integer_value(uint64_t integer)
{
	return (orm_value){.type = ORM_INT64, .integer = (int64_t)integer};
}

/* ---- inserting ---------------------------------------------------------------------------------------------- */

static void compile_insert(const ormd_dialect *dialect, const uint16_t *columns, size_t n_columns, orm_buffer *sql)
{
	static const char insert[] = "INSERT";
	orm_buffer plain;

	if (!dialect->insert_prefix_ignore) {
		ormd_sql_insert(dialect, &ormd_commit_mapper, columns, n_columns, NULL, 0, sql);
		orm_buffer_puts(sql, dialect->on_conflict_do_nothing);
		return;
	}
	orm_buffer_init(&plain);
	ormd_sql_insert(dialect, &ormd_commit_mapper, columns, n_columns, NULL, 0, &plain);
	orm_buffer_puts(sql, dialect->insert_prefix_ignore);
	if (plain.failed)
		sql->failed = true;
	else
		orm_buffer_puts(sql, plain.data + strlen(insert));
	orm_buffer_fini(&plain);
}

/* The row that is there, from its one-row batch. */
static orm_status take_row(const orm_batch_builder *builder, ormd_commit_row *row, orm_arena *arena, orm_error *error)
{
	orm_vector vectors[2];
	orm_batch batch;
	uint32_t size = 0;
	const void *result;

	if (!orm_batch_builder_view(builder, vectors, &batch))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	result = orm_vector_bytes_at(&vectors[1], 0, &size);
	row->fingerprint = (uint64_t)orm_vector_int64_at(&vectors[0], 0);
	row->result = result ? orm_arena_memdup(arena, result, size) : NULL;
	row->result_size = size;
	return result && !row->result ? orm_fail(error, ORM_ENOMEM, "out of memory") : ORM_OK;
}

/*
 * Locked: to have found it is an answer, and PostgreSQL lets a COMMIT wait for its synchronous standbys only if the
 * transaction left something in the log. A row that only the primary has may still be lost with it.
 */
static orm_status read_row(ormd_connection *connection, ormd_commit_row *row, orm_arena *arena, orm_error *error)
{
	static const uint16_t columns[] = {ORMD_COMMIT_FINGERPRINT, ORMD_COMMIT_RESULT};
	static const uint8_t types[] = {ORM_INT64, ORM_BYTES};
	const orm_value values[] = {id_value(&row->id), integer_value(row->id.number)};
	const ormd_term where[] = {
		{.op = ORMD_EQ, .column = ORMD_COMMIT_CLIENT_ID, .values = &values[0], .n_values = 1},
		{.op = ORMD_EQ, .column = ORMD_COMMIT_NO, .values = &values[1], .n_values = 1}};
	const ormd_select select = {.mapper = &ormd_commit_mapper,
				    .columns = columns,
				    .n_columns = 2,
				    .where = where,
				    .n_where = 2,
				    .lock = ORMD_LOCK_WAIT,
				    .limit = ORMD_NO_LIMIT};
	orm_batch_builder builder = {0};
	ormd_cursor *cursor = NULL;
	orm_buffer sql;
	orm_status status = ORM_OK;
	size_t n_rows = 0;
	bool done = false;

	orm_buffer_init(&sql);
	ormd_sql_select(connection->driver->dialect, &select, &sql);
	if (!orm_batch_builder_init(&builder, &ormd_commit_mapper, columns, 2) || sql.failed)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (!(cursor = connection->driver->query(connection, sql.data, values, 2, types, 2, error)))
		status = error->code;
	else
		status = connection->driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error);
	if (status == ORM_OK)
		status = n_rows == 1 ? take_row(&builder, row, arena, error)
				     : orm_fail(error, ORM_ERETRY,
						"the commit's id was there and is not any more; try again");
	connection->driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	orm_buffer_fini(&sql);
	return status;
}

orm_status ormd_commit_row_insert(ormd_connection *connection, ormd_commit_row *row, orm_arena *arena, bool *inserted,
				  orm_error *error)
{
	static const uint16_t columns[] = {ORMD_COMMIT_CLIENT_ID, ORMD_COMMIT_NO, ORMD_COMMIT_FINGERPRINT,
					   ORMD_COMMIT_RESULT};
	const orm_value values[] = {
		id_value(&row->id),
		integer_value(row->id.number),
		integer_value(row->fingerprint),
		{.type = ORM_BYTES, .null = !row->result, .size = (uint32_t)row->result_size, .bytes = row->result}};
	size_t affected = 0;
	ormd_write write = {.n_parameters = 4, .n_rows = 1, .values = values, .affected = &affected};
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	compile_insert(connection->driver->dialect, columns, 4, &sql);
	write.sql = sql.data;
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : connection->driver->write(connection, &write, error);
	orm_buffer_fini(&sql);
	if (status != ORM_OK)
		return status;
	*inserted = affected == 1;
	return *inserted ? ORM_OK : read_row(connection, row, arena, error);
}

/* ---- cleaning ----------------------------------------------------------------------------------------------- */

/* No statement of the compiler's: those are for single rows. */
static orm_status delete_where(ormd_connection *connection, const char *first, const char *second,
			       const orm_value *values, orm_error *error)
{
	const ormd_dialect *dialect = connection->driver->dialect;
	ormd_write write = {.n_parameters = second ? 2 : 1, .n_rows = 1, .values = values};
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, "DELETE FROM ");
	ormd_sql_identifier(dialect, ormd_commit_mapper.table, &sql);
	orm_buffer_puts(&sql, " WHERE ");
	ormd_sql_identifier(dialect, first, &sql);
	orm_buffer_puts(&sql, !second ? " < " : " = ");
	orm_buffer_puts(&sql, dialect->numbered_parameters ? "$1" : "?");
	if (second) {
		orm_buffer_puts(&sql, " AND ");
		ormd_sql_identifier(dialect, second, &sql);
		orm_buffer_puts(&sql, dialect->numbered_parameters ? " < $2" : " < ?");
	}
	write.sql = sql.data;
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : connection->driver->write(connection, &write, error);
	orm_buffer_fini(&sql);
	return status;
}

orm_status ormd_commit_row_clean(ormd_connection *connection, const ormd_commit_id *id, orm_error *error)
{
	const orm_column *columns = ormd_commit_mapper.columns;

	if (id->number > KEPT_IDS && id->number % CLEAN_EVERY == 0) {
		const orm_value values[] = {id_value(id), integer_value(id->number - KEPT_IDS)};

		return delete_where(connection, columns[ORMD_COMMIT_CLIENT_ID].name, columns[ORMD_COMMIT_NO].name,
				    values, error);
	}
	/* It reads the whole table: one new client in 256 does it. */
	if (id->number == 1 && id->client_id[sizeof id->client_id - 1] == 0) {
		const orm_value value = {.type = ORM_DATETIME,
					 .integer = orm_datetime_now().us - KEPT_DAYS * US_PER_DAY};

		return delete_where(connection, columns[ORMD_COMMIT_AT].name, NULL, &value, error);
	}
	return ORM_OK;
}
