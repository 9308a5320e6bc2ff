/* SPDX-License-Identifier: MIT */
/* What the files of the SQLite driver share. A connection and its cursors are used by one thread at a time
 * (SQLITE_OPEN_NOMUTEX). */
#ifndef ORMD_DRIVER_SQLITE_INTERNAL_H
#define ORMD_DRIVER_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "driver/driver.h"
#include "driver/statement_cache.h"

/* ---- statements: prepared once, kept by their text ---------------------------------------------------------- */

typedef struct sqlite_statement sqlite_statement;

struct sqlite_statement {
	ormd_cached_statement base;
	sqlite3_stmt *handle;
	char sql[];
};

typedef struct sqlite_connection {
	ormd_connection base;
	sqlite3 *handle;
	ormd_statement_cache statements;
	sqlite_statement *rollback; /* taken for good */
	bool read_only;
	int busy_timeout_ms;
	int64_t page_size;
	int64_t data_version;    /* as last seen */
	int64_t log_pages;       /* in the WAL after our last commit */
	int64_t next_checkpoint; /* pages at which to try again */
} sqlite_connection;

static inline sqlite_connection *sqlite_of(ormd_connection *connection)
{
	return (sqlite_connection *)(void *)connection;
}

/* The statement for this text, reset and without bindings; NULL on failure. Give it back soon: it is this caller's
 * alone. */
sqlite_statement *ormd_sqlite_take(sqlite_connection *connection, const char *sql, orm_error *error);
void ormd_sqlite_give(sqlite_connection *connection, sqlite_statement *statement); /* resets; NULL allowed */
void ormd_sqlite_statements_fini(sqlite_connection *connection);

/* Run a statement that has no parameters; its first cell of the first row, if any, to *result (may be NULL). */
orm_status ormd_sqlite_execute(sqlite_connection *connection, const char *sql, int64_t *result, orm_error *error);

/* Bind all parameters. Text and bytes are borrowed until the statement is given back, or copied. */
orm_status ormd_sqlite_bind(sqlite_connection *connection, sqlite_statement *statement, const orm_value *values,
			    size_t n_values, bool copy, orm_error *error);

/* ---- reading our own SQL ------------------------------------------------------------------------------------ */

#define ORMD_SQLITE_NAME_SIZE 64 /* ORM_MAX_NAME and a NUL; also an error's column field */

/* The quoted identifier at `sql`, unquoted, and the text after it; NULL and "" if there is none, or it is too long to
 * be one of ours. */
const char *ormd_sqlite_read_identifier(const char *sql, char name[ORMD_SQLITE_NAME_SIZE]);

/* The table that a statement of sql/compile.h writes to, and the text after its name. NULL and "": it is not such a
 * statement. */
const char *ormd_sqlite_written_table(const char *sql, char table[ORMD_SQLITE_NAME_SIZE]);

/* ---- errors ------------------------------------------------------------------------------------------------- */

/* What the connection's last call, with result `rc`, means. `sql` (may be NULL): the statement, to tell the table from.
 */
orm_status ormd_sqlite_fail(sqlite_connection *connection, int rc, const char *sql, orm_error *error);

/* Was it a foreign key, right after a call that gave `rc`? */
bool ormd_sqlite_is_foreign_key(sqlite_connection *connection, int rc);

/* A foreign key failed for this statement, which is reset: say in `error` which one, if it can be found out. */
void ormd_sqlite_name_foreign_key(sqlite_connection *connection, const char *sql, const orm_value *values,
				  size_t n_values, orm_error *error);

/* A foreign key that is checked at the end of the transaction is violated, and the transaction still open. */
orm_status ormd_sqlite_fail_deferred(sqlite_connection *connection, orm_error *error);

/* The same for COMMIT: what leaves the outcome open is ORM_EUNKNOWN. */
orm_status ormd_sqlite_fail_commit(sqlite_connection *connection, int rc, orm_error *error);

/* ---- the driver's members, from the file that has them ------------------------------------------------------ */

orm_status ormd_sqlite_write(ormd_connection *connection, ormd_write *write, orm_error *error);
ormd_cursor *ormd_sqlite_query(ormd_connection *connection, const char *sql, const orm_value *parameters,
			       size_t n_parameters, const uint8_t *types, size_t n_types, orm_error *error);
orm_status ormd_sqlite_fetch(ormd_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			     size_t *n_rows, bool *done, orm_error *error);
void ormd_sqlite_close_cursor(ormd_cursor *cursor);

/* The SQL functions that columns of decimals and JSON need; once per connection. */
orm_status ormd_sqlite_add_functions(sqlite_connection *connection, orm_error *error);
/* How many of the smallest unit a canonical decimal is: "12.50" is 1250. False: more than SQLite can count. */
bool ormd_sqlite_decimal_units(const char *text, size_t size, int64_t *units);

/* Read one cell strictly as `type`; text and bytes as SQLite keeps them until the next step. False: it does not fit. */
bool ormd_sqlite_cell(sqlite3_value *cell, orm_type type, orm_value *value);

/* The failure for a cell that does not fit. `table` may be NULL. */
orm_status ormd_sqlite_fail_cell(sqlite_statement *statement, int column, orm_type type, const char *table,
				 orm_error *error);

#endif
