/* SPDX-License-Identifier: MIT */
/*
 * What SQLite's result codes mean to a user of the ORM. SQLite says which column failed only in the text of its
 * message; the forms read here are those of its sources since 3.8, and the tests pin each of them.
 */
#include "driver/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define NAME_SIZE ORMD_SQLITE_NAME_SIZE

static const char *file_name(const sqlite_connection *connection)
{
	const char *name = connection->handle ? sqlite3_db_filename(connection->handle, "main") : NULL;

	return name ? name : "the file";
}

/* ---- the table a statement writes to ------------------------------------------------------------------------ */

static const char *skip_word(const char *sql, const char *word)
{
	const size_t len = strlen(word);

	return strncmp(sql, word, len) == 0 && sql[len] == ' ' ? sql + len + 1 : NULL;
}

const char *ormd_sqlite_read_identifier(const char *sql, char name[NAME_SIZE])
{
	size_t len = 0;

	name[0] = '\0';
	if (*sql++ != '"')
		return NULL;
	for (; *sql; sql++) {
		if (*sql == '"' && *++sql != '"') {
			name[len] = '\0';
			return sql;
		}
		if (len + 1 >= NAME_SIZE)
			break;
		name[len++] = *sql;
	}
	name[0] = '\0';
	return NULL;
}

/* The compiler's statements start in one of these ways (sql/compile.h). */
const char *ormd_sqlite_written_table(const char *sql, char table[NAME_SIZE])
{
	static const char *const starts[] = {"INSERT INTO", "UPDATE", "DELETE FROM"};

	table[0] = '\0';
	for (size_t i = 0; sql && i < sizeof starts / sizeof starts[0]; i++) {
		const char *rest = skip_word(sql, starts[i]);

		if (rest)
			return ormd_sqlite_read_identifier(rest, table);
	}
	return NULL;
}

/* ---- constraints -------------------------------------------------------------------------------------------- */

static void copy_name(char name[NAME_SIZE], const char *from, size_t len)
{
	if (len >= NAME_SIZE)
		len = NAME_SIZE - 1;
	memcpy(name, from, len);
	name[len] = '\0';
}

/*
 * "users.email" or "lines.order_id, lines.no": to "users" and "email", or "lines" and "order_id, no". `table`, if
 * known, says where the dot is when names hold dots themselves.
 */
static void split_columns(const char *text, char table[NAME_SIZE], char columns[NAME_SIZE])
{
	size_t table_len = strlen(table);
	size_t len = 0;

	if (table_len == 0 || strncmp(text, table, table_len) != 0 || text[table_len] != '.') {
		const char *dot = strchr(text, '.');

		if (!dot)
			return; /* index 'name': an index on expressions, which is not ours */
		table_len = (size_t)(dot - text);
		copy_name(table, text, table_len);
	}

	char between[NAME_SIZE + 3]; /* ", lines." */

	snprintf(between, sizeof between, ", %s.", table);
	for (const char *column = text + table_len + 1; column;) {
		const char *end = strstr(column, between);
		const size_t column_len = end ? (size_t)(end - column) : strlen(column);

		if (len + column_len + 3 > NAME_SIZE)
			break;
		if (len > 0)
			len += (size_t)sprintf(columns + len, ", ");
		memcpy(columns + len, column, column_len);
		len += column_len;
		columns[len] = '\0';
		column = end ? end + strlen(between) : NULL;
	}
}

static const char *after_colon(const char *message)
{
	const char *colon = strstr(message, ": ");

	return colon ? colon + 2 : "";
}

/* Our constraints on one column are called ck_<table>_<column> (sql/ddl.h). */
static void split_check(const char *constraint, const char *table, char columns[NAME_SIZE])
{
	char prefix[NAME_SIZE + 8];

	snprintf(prefix, sizeof prefix, "ck_%s_", table);
	if (table[0] && strncmp(constraint, prefix, strlen(prefix)) == 0)
		copy_name(columns, constraint + strlen(prefix), strlen(constraint + strlen(prefix)));
}

/* In general; where the statement is one of ours, ormd_sqlite_name_foreign_key says more. */
static void fail_foreign_key(const char *table, orm_error *error)
{
	orm_fail(error, ORM_ECONSTRAINT,
		 "%s: a foreign key would refer to a row that does not exist, or rows that refer to this one would "
		 "lose it",
		 table[0] ? table : "a table");
}

static orm_status fail_constraint(sqlite_connection *connection, int rc, const char *message, const char *sql,
				  orm_error *error)
{
	const char *what = after_colon(message);
	char table[NAME_SIZE];
	char columns[NAME_SIZE] = "";

	ormd_sqlite_written_table(sql, table);
	switch (rc) {
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		split_columns(what, table, columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: another row has this primary key", table, columns);
		break;
	case SQLITE_CONSTRAINT_UNIQUE:
		split_columns(what, table, columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: another row has this value, which must be unique", table,
			 columns[0] ? columns : what);
		break;
	case SQLITE_CONSTRAINT_NOTNULL:
		split_columns(what, table, columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: must not be NULL; set it", table, columns);
		break;
	case SQLITE_CONSTRAINT_CHECK:
		split_check(what, table, columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: the value violates the table's check %.200s", table, columns,
			 what);
		break;
	default: /* ON DELETE RESTRICT comes as a trigger's failure, with the foreign key's text */
		if (ormd_sqlite_is_foreign_key(connection, rc))
			fail_foreign_key(table, error);
		else
			orm_fail(error, ORM_ECONSTRAINT, "%s: %.300s", table, message);
		break;
	}
	return error ? orm_error_at(error, table, columns, NULL) : ORM_ECONSTRAINT;
}

/* ---- everything else ---------------------------------------------------------------------------------------- */

/* SQL that does not fit the tables: made by nobody, by an older version of the program, or by another one. */
static orm_status fail_sql(const char *message, orm_error *error)
{
	static const char no_table[] = "no such table: ";

	if (strncmp(message, no_table, strlen(no_table)) == 0) {
		const char *table = message + strlen(no_table);

		orm_fail(error, ORM_EDATABASE, "the database has no table '%.100s'; make it with orm_create_all",
			 table);
		return error ? orm_error_at(error, table, NULL, NULL) : ORM_EDATABASE;
	}
	if (strstr(message, "no such column") || strstr(message, "has no column named"))
		return orm_fail(error, ORM_EDATABASE,
				"the database's table differs from the model (%.200s); change the table, or the model",
				message);
	return orm_fail(error, ORM_EDATABASE, "SQLite: %.400s", message);
}

static orm_status fail_io(sqlite_connection *connection, int rc, const char *message, orm_error *error)
{
	const int reason = sqlite3_system_errno(connection->handle);

	if (rc == SQLITE_IOERR_NOMEM)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	return orm_fail(error, ORM_EDATABASE, "reading or writing the database's files failed (%s%s%s); check the disk",
			message, reason ? ": " : "", reason ? strerror(reason) : "");
}

static orm_status fail_busy(sqlite_connection *connection, int rc, orm_error *error)
{
	if (rc == SQLITE_BUSY_SNAPSHOT)
		return orm_fail(error, ORM_ERETRY,
				"another program wrote to the database meanwhile; run the unit again");
	if (rc == SQLITE_BUSY_RECOVERY)
		return orm_fail(error, ORM_ETIMEOUT,
				"another program is recovering the database after a crash; try again");
	return orm_fail(error, ORM_ETIMEOUT,
			"another program kept the database for itself for more than %d ms; try again",
			connection->busy_timeout_ms);
}

orm_status ormd_sqlite_fail(sqlite_connection *connection, int rc, const char *sql, orm_error *error)
{
	/* Without a handle there was not even memory for one. */
	const char *message = connection->handle ? sqlite3_errmsg(connection->handle) : sqlite3_errstr(rc);

	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT:
		return fail_constraint(connection, rc, message, sql, error);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return fail_busy(connection, rc, error);
	case SQLITE_PROTOCOL:
		return orm_fail(error, ORM_EUNAVAILABLE, "other programs crowd the database's log; try again");
	case SQLITE_NOMEM:
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	case SQLITE_INTERRUPT:
		if (connection->base.deadline_us && orm_clock_us() >= connection->base.deadline_us)
			return orm_fail(error, ORM_ETIMEOUT, "the statement was stopped when its deadline passed");
		return orm_fail(error, ORM_ECANCELLED, "the statement was cancelled");
	case SQLITE_FULL:
		return orm_fail(error, ORM_EDATABASE,
				"the disk is full, or the database at its size limit; make room and try again");
	case SQLITE_IOERR:
		return fail_io(connection, rc, message, error);
	case SQLITE_CORRUPT:
		return orm_fail(error, ORM_EDATABASE, "the database file is damaged (%.200s); restore it from a backup",
				message);
	case SQLITE_NOTADB:
		return orm_fail(error, ORM_EDATABASE, "'%.300s' is not an SQLite database, or is encrypted",
				file_name(connection));
	case SQLITE_CANTOPEN:
		return orm_fail(error, ORM_EUNAVAILABLE,
				"cannot open the database file or its log (%.200s); check path and permissions",
				message);
	case SQLITE_READONLY:
		return orm_fail(error, ORM_EDATABASE,
				"the database cannot be written (%.200s); check the permissions of file and directory",
				message);
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return orm_fail(error, ORM_EPERM, "SQLite refuses permission: %.300s", message);
	case SQLITE_TOOBIG:
		return orm_fail(error, ORM_ELIMIT,
				"a value or statement is larger than SQLite's limit (1 GB by default)");
	case SQLITE_MISMATCH:
		return orm_fail(error, ORM_EDATABASE, "a value has another type than its column: %.300s", message);
	case SQLITE_SCHEMA:
		return orm_fail(error, ORM_ERETRY,
				"another program keeps changing the database's tables; run the unit again");
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
	case SQLITE_INTERNAL:
	case SQLITE_NOLFS:
	case SQLITE_FORMAT:
		return orm_fail(error, ORM_EINTERNAL, "SQLite: %.300s (result %d)", message, rc);
	default:
		return fail_sql(message, error);
	}
}

bool ormd_sqlite_is_foreign_key(sqlite_connection *connection, int rc)
{
	return (rc & 0xff) == SQLITE_CONSTRAINT &&
	       strcmp(sqlite3_errmsg(connection->handle), "FOREIGN KEY constraint failed") == 0;
}

orm_status ormd_sqlite_fail_commit(sqlite_connection *connection, int rc, orm_error *error)
{
	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT: /* the transaction is still open, so the row can be looked for */
		return ormd_sqlite_fail_deferred(connection, error);
	case SQLITE_BUSY:
	case SQLITE_FULL: /* the frame that makes the transaction valid is the last one written */
	case SQLITE_READONLY:
	case SQLITE_INTERRUPT:
		return ormd_sqlite_fail(connection, rc, NULL, error);
	default:
		return orm_fail(error, ORM_EUNKNOWN, "whether the commit happened is not known (%.200s)",
				sqlite3_errmsg(connection->handle));
	}
}
