/* SPDX-License-Identifier: MIT */
/*
 * Which foreign key failed. SQLite does not say, so it is found out: after the failed statement is undone, the keys
 * that it would have set are looked up one by one. All of it is bounded work, and where it finds nothing the message
 * stays general.
 */
#include "driver/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define MAX_KEY_COLUMNS 16
#define MAX_STEPS       2000000 /* of SQLite's machine; some 50 ms */

typedef char name_text[ORMD_SQLITE_NAME_SIZE];

typedef struct foreign_key {
	name_text table; /* the other one: it refers to, or that refers to it */
	size_t n_columns;
	name_text from[MAX_KEY_COLUMNS];
	name_text to[MAX_KEY_COLUMNS];
} foreign_key;

/* ---- what the failed statement says ------------------------------------------------------------------------- */

/* The text after the table's name, from its first column: `("a", "b") VALUES`, `SET "a" = ?, "b" = ?`, `WHERE "a" = ?
 * AND "b" = ?`. */
static const char *first_column(const char *sql)
{
	static const char *const starts[] = {" (", " SET ", " WHERE "};

	for (size_t i = 0; sql && i < sizeof starts / sizeof starts[0]; i++) {
		if (strncmp(sql, starts[i], strlen(starts[i])) == 0)
			return sql + strlen(starts[i]);
	}
	return NULL;
}

/* The value that the statement gives to, or finds the row by in, this column; NULL if it does neither. */
static const orm_value *value_of(const char *sql, const char *column, const orm_value *values, size_t n_values)
{
	static const char *const separators[] = {", ", " AND "};
	name_text table;
	name_text name;
	const char *text = first_column(ormd_sqlite_written_table(sql, table));

	for (size_t i = 0; text && i < n_values; i++) {
		text = ormd_sqlite_read_identifier(text, name);
		if (text && strcmp(name, column) == 0)
			return &values[i];
		if (text && strncmp(text, " = ?", strlen(" = ?")) == 0)
			text += strlen(" = ?");

		const char *next = NULL;

		for (size_t k = 0; text && k < sizeof separators / sizeof separators[0]; k++) {
			if (strncmp(text, separators[k], strlen(separators[k])) == 0)
				next = text + strlen(separators[k]);
		}
		text = next;
	}
	return NULL;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

static void copy_text(sqlite3_stmt *handle, int column, name_text text)
{
	const char *from = (const char *)sqlite3_column_text(handle, column);

	snprintf(text, sizeof(name_text), "%s", from ? from : "");
}

/* Is there a row of `table` with these values in `columns`? Not known: true, as nothing is to be said then. */
static bool row_exists(sqlite_connection *connection, const char *table, name_text *columns,
		       const orm_value *const *values, size_t n)
{
	orm_value copies[MAX_KEY_COLUMNS];
	orm_buffer sql;
	bool exists = true;

	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, "SELECT 1 FROM ");
	ormd_sql_identifier(&ormd_dialect_sqlite, table, &sql);
	for (size_t i = 0; i < n; i++) {
		orm_buffer_puts(&sql, i ? " AND " : " WHERE ");
		ormd_sql_identifier(&ormd_dialect_sqlite, columns[i], &sql);
		orm_buffer_puts(&sql, " = ?");
		copies[i] = *values[i];
	}

	sqlite_statement *statement = sql.failed ? NULL : ormd_sqlite_take(connection, sql.data, NULL);

	if (statement && ormd_sqlite_bind(connection, statement, copies, n, false, NULL) == ORM_OK)
		exists = sqlite3_step(statement->handle) != SQLITE_DONE;
	ormd_sqlite_give(connection, statement);
	orm_buffer_fini(&sql);
	return exists;
}

/* The parent's row is missing: none has these values, and the new row itself has not either. */
static bool refers_to_nothing(sqlite_connection *connection, const char *sql, const char *table, foreign_key *key,
			      const orm_value *values, size_t n_values)
{
	const orm_value *wanted[MAX_KEY_COLUMNS];
	bool is_itself = strcmp(key->table, table) == 0;

	for (size_t i = 0; i < key->n_columns; i++) {
		const orm_value *own = value_of(sql, key->to[i], values, n_values);

		wanted[i] = value_of(sql, key->from[i], values, n_values);
		if (!wanted[i] || wanted[i]->null || !key->to[i][0])
			return false;
		is_itself = is_itself && own && orm_value_equal(own, wanted[i]);
	}
	return !is_itself && !row_exists(connection, key->table, key->to, wanted, key->n_columns);
}

/* Rows of the child have the key of the row that was to go. */
static bool is_referred_to(sqlite_connection *connection, const char *sql, foreign_key *key, const orm_value *values,
			   size_t n_values)
{
	const orm_value *wanted[MAX_KEY_COLUMNS];

	for (size_t i = 0; i < key->n_columns; i++) {
		wanted[i] = value_of(sql, key->to[i], values, n_values);
		if (!wanted[i] || wanted[i]->null)
			return false;
	}
	return row_exists(connection, key->table, key->from, wanted, key->n_columns);
}

/* Read the next foreign key from rows of (id, table, from, to) in order; the row after it is `*more`. */
static bool next_key(sqlite3_stmt *handle, foreign_key *key, bool *more)
{
	if (!*more)
		return false;

	const int64_t id = sqlite3_column_int64(handle, 0);
	name_text other;

	key->n_columns = 0;
	copy_text(handle, 1, key->table);
	do {
		if (key->n_columns < MAX_KEY_COLUMNS) {
			copy_text(handle, 2, key->from[key->n_columns]);
			copy_text(handle, 3, key->to[key->n_columns]);
			key->n_columns++;
		}
		*more = sqlite3_step(handle) == SQLITE_ROW;
		if (*more)
			copy_text(handle, 1, other);
	} while (*more && sqlite3_column_int64(handle, 0) == id && strcmp(other, key->table) == 0);
	return true;
}

static void join_columns(const foreign_key *key, name_text columns)
{
	size_t len = 0;

	columns[0] = '\0';
	for (size_t i = 0; i < key->n_columns && len < sizeof(name_text); i++)
		len += (size_t)snprintf(columns + len, sizeof(name_text) - len, "%s%s", i ? ", " : "", key->from[i]);
}

/* ---- naming ------------------------------------------------------------------------------------------------- */

static int too_long(void *context)
{
	(void)context;
	return 1;
}

static const char parents[] = "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?) ORDER BY id, seq";
static const char children[] =
	"SELECT f.id, m.name, f.\"from\", f.\"to\" FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f "
	"WHERE m.type = 'table' AND f.\"table\" = ? ORDER BY m.name, f.id, f.seq";

static bool find_broken(sqlite_connection *connection, const char *question, const char *sql, const char *table,
			const orm_value *values, size_t n_values, foreign_key *key)
{
	const orm_value name = {.type = ORM_TEXT, .text = table, .size = (uint32_t)strlen(table)};
	sqlite_statement *statement = ormd_sqlite_take(connection, question, NULL);
	bool found = false;

	if (statement && ormd_sqlite_bind(connection, statement, &name, 1, false, NULL) == ORM_OK) {
		bool more = sqlite3_step(statement->handle) == SQLITE_ROW;

		while (!found && next_key(statement->handle, key, &more))
			found = question == parents ? refers_to_nothing(connection, sql, table, key, values, n_values)
						    : is_referred_to(connection, sql, key, values, n_values);
	}
	ormd_sqlite_give(connection, statement);
	return found;
}

void ormd_sqlite_name_foreign_key(sqlite_connection *connection, const char *sql, const orm_value *values,
				  size_t n_values, orm_error *error)
{
	name_text table;
	name_text columns;
	foreign_key key;

	if (!error || !ormd_sqlite_written_table(sql, table))
		return;
	sqlite3_progress_handler(connection->handle, MAX_STEPS, too_long, NULL);
	if (find_broken(connection, strncmp(sql, "DELETE", 6) == 0 ? children : parents, sql, table, values, n_values,
			&key)) {
		join_columns(&key, columns);
		if (strncmp(sql, "DELETE", 6) == 0) {
			orm_fail(error, ORM_ECONSTRAINT,
				 "%s: rows of %s still refer to this one by %s; delete or change them first", table,
				 key.table, columns);
			orm_error_at(error, table, NULL, NULL);
		} else {
			orm_fail(error, ORM_ECONSTRAINT,
				 "%s.%s: refers to a row of %s that does not exist; add that one first", table, columns,
				 key.table);
			orm_error_at(error, table, columns, NULL);
		}
	}
	sqlite3_progress_handler(connection->handle, 0, NULL, NULL);
}

orm_status ormd_sqlite_fail_deferred(sqlite_connection *connection, orm_error *error)
{
	static const char check[] = "SELECT c.\"table\", c.parent, (SELECT group_concat(\"from\", ', ') FROM "
				    "pragma_foreign_key_list(c.\"table\") "
				    "WHERE id = c.fkid) FROM pragma_foreign_key_check AS c LIMIT 1";
	name_text table = "";
	name_text parent;
	name_text columns;

	sqlite3_progress_handler(connection->handle, MAX_STEPS, too_long, NULL);

	sqlite_statement *statement = ormd_sqlite_take(connection, check, NULL);

	if (statement && sqlite3_step(statement->handle) == SQLITE_ROW) {
		copy_text(statement->handle, 0, table);
		copy_text(statement->handle, 1, parent);
		copy_text(statement->handle, 2, columns);
	}
	ormd_sqlite_give(connection, statement);
	sqlite3_progress_handler(connection->handle, 0, NULL, NULL);
	if (!table[0])
		return orm_fail(error, ORM_ECONSTRAINT,
				"at the end of the unit a foreign key refers to a row that does not exist; SQLite does "
				"not say which");
	orm_fail(error, ORM_ECONSTRAINT, "%s.%s: at the end of the unit it refers to a row of %s that does not exist",
		 table, columns, parent);
	return error ? orm_error_at(error, table, columns, NULL) : ORM_ECONSTRAINT;
}
