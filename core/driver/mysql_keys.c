/* SPDX-License-Identifier: MIT */
/*
 * Generated keys for several servers on one database. A table of our own has the next key of each table, so that what
 * one server reserves no other one gets; raising it is one statement, which also looks at the keys that others have
 * used.
 *
 * Other programs leave the key to AUTO_INCREMENT, whose counter must be past what is reserved. Only a row moves it
 * without locking the table: one with the last reserved key is inserted and undone. The counter keeps its value then,
 * whether or not the row could have been made. Between looking and moving, for some microseconds, and on a cluster from
 * another node, such a program can still get a key that is reserved; the unit that uses it then fails for its primary
 * key.
 */
#include "driver/mysql_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/fail.h"

#define MAX_TRIES 10 /* while other nodes of a cluster reserve at the same moment */

static const char create_keys[] =
	"CREATE TABLE IF NOT EXISTS ormd_key (table_name VARCHAR(64) NOT NULL PRIMARY KEY, next BIGINT NOT NULL)";

orm_status ormd_mysql_prepare_database(ormd_connection *base, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	orm_buffer sql;
	orm_status status = ormd_mysql_start(connection, error);

	if (status != ORM_OK)
		return status;
	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, create_keys);
	orm_buffer_puts(&sql, ormd_dialect_mysql.table_options);
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : ormd_mysql_execute(connection, sql.data, error);
	orm_buffer_fini(&sql);
	return status;
}

static void put_name_literal(mysql_connection *connection, const char *name, orm_buffer *out)
{
	char escaped[2 * ORM_MAX_NAME + 1];
	const unsigned long len =
		mysql_real_escape_string(connection->handle, escaped, name, (unsigned long)strnlen(name, ORM_MAX_NAME));

	orm_buffer_putc(out, '\'');
	orm_buffer_append(out, escaped, len);
	orm_buffer_putc(out, '\'');
}

/* Gives the next key after those that it reserves. */
static void put_reserve(mysql_connection *connection, const orm_mapper *mapper, uint32_t count, orm_buffer *out)
{
	orm_buffer_puts(out, "INSERT INTO ormd_key (table_name, next) SELECT ");
	put_name_literal(connection, mapper->table, out);
	orm_buffer_puts(out, ", greatest(1, coalesce(max(");
	ormd_sql_identifier(&ormd_dialect_mysql, mapper->columns[mapper->key[0]].name, out);
	orm_buffer_puts(out, "), 0) + 1, coalesce((SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE "
			     "TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ");
	put_name_literal(connection, mapper->table, out);
	orm_buffer_printf(out, "), 1)) + %u FROM ", count);
	ormd_sql_identifier(&ormd_dialect_mysql, mapper->table, out);
	orm_buffer_printf(out, " ON DUPLICATE KEY UPDATE next = greatest(next + %u, VALUES(next)) RETURNING next",
			  count);
}

/* Whatever this row lacks or violates is of no interest, since it is undone. */
static void put_move_counter(const orm_mapper *mapper, int64_t last, orm_buffer *out)
{
	orm_buffer_puts(out, "START TRANSACTION; SET STATEMENT sql_mode='', foreign_key_checks=0, "
			     "check_constraint_checks=0 FOR INSERT IGNORE INTO ");
	ormd_sql_identifier(&ormd_dialect_mysql, mapper->table, out);
	orm_buffer_puts(out, " (");
	ormd_sql_identifier(&ormd_dialect_mysql, mapper->columns[mapper->key[0]].name, out);
	orm_buffer_printf(out, ") SELECT %lld; ROLLBACK", (long long)last);
}

static orm_status fail_full(const orm_mapper *mapper, uint32_t count, bool is_int32, orm_error *error)
{
	return orm_fail_at(error, ORM_ELIMIT, mapper->name, mapper->columns[mapper->key[0]].name,
			   "the largest key leaves no room for %u more in %s: %srenumber that row", count,
			   is_int32 ? "int32" : "int64", is_int32 ? "make it int64, or " : "");
}

/* ORM_OK, or why the server gave no row. */
static orm_status ask_next(mysql_connection *connection, const char *sql, int64_t *next, bool *is_full,
			   orm_error *error)
{
	MYSQL_RES *result = ormd_mysql_ask(connection, sql, error);
	MYSQL_ROW row = result ? mysql_fetch_row(result) : NULL;

	*is_full = !result && (mysql_errno(connection->handle) == ER_DATA_OUT_OF_RANGE ||
			       mysql_errno(connection->handle) == ER_WARN_DATA_OUT_OF_RANGE);
	if (!result)
		return error->code;
	*next = row && row[0] ? strtoll(row[0], NULL, 10) : 0;
	mysql_free_result(result);
	return ORM_OK;
}

/*
 * On a cluster the row is told before the statement is certified, and one that was refused then is run again by the
 * node, which tells another row after the first. In a transaction the COMMIT is what is refused, and nothing is run
 * again.
 */
static orm_status ask_next_on_cluster(mysql_connection *connection, const char *sql, int64_t *next, bool *is_full,
				      orm_error *error)
{
	orm_error ignored;
	orm_status status = ormd_mysql_execute(connection, "START TRANSACTION", error);

	if (status == ORM_OK)
		status = ask_next(connection, sql, next, is_full, error);
	if (status == ORM_OK)
		status = ormd_mysql_execute(connection, "COMMIT", error);
	if (status != ORM_OK && !connection->base.lost)
		(void)ormd_mysql_execute(connection, "ROLLBACK", &ignored);
	return status;
}

static orm_status raise(mysql_connection *connection, const orm_mapper *mapper, uint32_t count, int64_t *next,
			orm_error *error)
{
	const bool is_int32 = mapper->columns[mapper->key[0]].type == ORM_INT32;
	bool is_full = false;
	orm_buffer sql;
	orm_status status = ORM_ERETRY;

	orm_buffer_init(&sql);
	put_reserve(connection, mapper, count, &sql);
	if (sql.failed)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	for (int i = 0; i < MAX_TRIES && status == ORM_ERETRY; i++)
		status = connection->is_cluster ? ask_next_on_cluster(connection, sql.data, next, &is_full, error)
						: ask_next(connection, sql.data, next, &is_full, error);
	orm_buffer_fini(&sql);
	if (is_full || (status == ORM_OK && is_int32 && *next - 1 > INT32_MAX))
		return fail_full(mapper, count, is_int32, error);
	if (status == ORM_OK && *next <= (int64_t)count)
		return orm_fail(error, ORM_EDATABASE, "the table ormd_key holds no good number for '%s'",
				mapper->table);
	return status;
}

orm_status ormd_mysql_reserve_keys(ormd_connection *base, const orm_mapper *mapper, uint32_t count, int64_t *first,
				   uint32_t *n_reserved, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	orm_error ignored;
	orm_buffer sql;
	int64_t next = 0;
	orm_status status;

	error = error ? error : &ignored;
	status = ormd_mysql_start(connection, error);
	if (status == ORM_OK)
		status = raise(connection, mapper, count, &next, error);
	if (status != ORM_OK)
		return status;
	orm_buffer_init(&sql);
	put_move_counter(mapper, next - 1, &sql);
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : ormd_mysql_execute(connection, sql.data, error);
	if (status != ORM_OK && !connection->base.lost) {
		/* Another transaction holds that row, or a trigger fails: others' counter stays behind. */
		status = ormd_mysql_execute(connection, "ROLLBACK", error);
	}
	orm_buffer_fini(&sql);
	if (status != ORM_OK)
		return status;
	*first = next - count;
	*n_reserved = count;
	return ORM_OK;
}
