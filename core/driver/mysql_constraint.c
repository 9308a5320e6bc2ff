/* SPDX-License-Identifier: MIT */
/*
 * Which constraint failed. The server names it in the text of its message; which columns a unique index has is asked
 * from it. The forms of messages read here are MariaDB's since 10.2, and the tests pin each of them.
 */
#include "driver/mysql_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define NAME_SIZE ORMD_MYSQL_NAME_SIZE

/* ---- names -------------------------------------------------------------------------------------------------- */

const char *ormd_mysql_read_identifier(const char *text, char name[NAME_SIZE])
{
	size_t len = 0;

	name[0] = '\0';
	if (*text++ != '`')
		return NULL;
	for (; *text; text++) {
		if (*text == '`' && *++text != '`') {
			name[len] = '\0';
			return text;
		}
		if (len + 1 >= NAME_SIZE)
			break;
		name[len++] = *text;
	}
	name[0] = '\0';
	return NULL;
}

static const char *skip(const char *text, const char *word)
{
	const size_t len = strlen(word);

	return text && strncmp(text, word, len) == 0 ? text + len : NULL;
}

void ormd_mysql_written_table(const char *sql, char table[NAME_SIZE])
{
	static const char *const starts[] = {"INSERT INTO ", "INSERT IGNORE INTO ", "UPDATE ", "DELETE FROM "};

	table[0] = '\0';
	for (size_t i = 0; sql && i < sizeof starts / sizeof starts[0]; i++) {
		const char *rest = skip(sql, starts[i]);

		if (rest) {
			(void)ormd_mysql_read_identifier(rest, table);
			return;
		}
	}
}

/* The text in single quotes after `before`. */
static bool read_quoted(const char *message, const char *before, char name[NAME_SIZE])
{
	const char *start = strstr(message, before);
	const char *end = start ? strchr(start + strlen(before), '\'') : NULL;

	name[0] = '\0';
	if (!end)
		return false;
	snprintf(name, NAME_SIZE, "%.*s", (int)(end - start - (ptrdiff_t)strlen(before)), start + strlen(before));
	return true;
}

/* "a", "b" to "a, b". False: no room. */
static bool join(char columns[NAME_SIZE], const char *column)
{
	const size_t len = strlen(columns);

	if (len + strlen(column) + 3 > NAME_SIZE)
		return false;
	snprintf(columns + len, NAME_SIZE - len, "%s%s", len ? ", " : "", column);
	return true;
}

/* ---- unique ------------------------------------------------------------------------------------------------- */

static void put_literal(mysql_connection *connection, const char *text, orm_buffer *out)
{
	char escaped[2 * NAME_SIZE];
	const unsigned long len = mysql_real_escape_string(connection->handle, escaped, text,
							   (unsigned long)strnlen(text, NAME_SIZE - 1));

	orm_buffer_putc(out, '\'');
	orm_buffer_append(out, escaped, len);
	orm_buffer_putc(out, '\'');
}

/* The columns of an index, in its order; "" if they cannot be found out. */
static void ask_columns(mysql_connection *connection, const char *table, const char *index, char columns[NAME_SIZE])
{
	orm_buffer sql;
	orm_error ignored;
	MYSQL_RES *result = NULL;
	MYSQL_ROW row;

	columns[0] = '\0';
	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() "
			      "AND TABLE_NAME = ");
	put_literal(connection, table, &sql);
	orm_buffer_puts(&sql, " AND INDEX_NAME = ");
	put_literal(connection, index, &sql);
	orm_buffer_puts(&sql, " ORDER BY SEQ_IN_INDEX");
	if (!sql.failed)
		result = ormd_mysql_ask(connection, sql.data, &ignored);
	while (result && (row = mysql_fetch_row(result))) {
		if (row[0] && !join(columns, row[0]))
			break;
	}
	mysql_free_result(result);
	orm_buffer_fini(&sql);
}

/* "Duplicate entry 'x' for key 'uq_users_email'": the value may hold anything, so the key is looked for from the end.
 */
static void fail_unique(mysql_connection *connection, const char *message, const char *table, char columns[NAME_SIZE],
			orm_error *error)
{
	static const char before[] = " for key '";
	const char *at = NULL;
	char index[NAME_SIZE] = "";

	for (const char *next = message; (next = strstr(next, before)); next++)
		at = next;
	if (at)
		read_quoted(at, before, index);
	if (table[0] && index[0])
		ask_columns(connection, table, index, columns);
	orm_fail(error, ORM_ECONSTRAINT, "%s.%s: another row has this %s", table, columns[0] ? columns : index,
		 strcmp(index, "PRIMARY") == 0 ? "primary key" : "value, which must be unique");
}

/* ---- foreign keys ------------------------------------------------------------------------------------------- */

typedef struct foreign_key {
	char child[NAME_SIZE];
	char columns[NAME_SIZE];
	char parent[NAME_SIZE];
} foreign_key;

/* (`a`, `b`) */
static const char *read_columns(const char *text, char columns[NAME_SIZE])
{
	char name[NAME_SIZE];

	columns[0] = '\0';
	if (!(text = skip(text, "(")))
		return NULL;
	do {
		if (!(text = ormd_mysql_read_identifier(text, name)))
			return NULL;
		(void)join(columns, name);
	} while (skip(text, ", ") && (text = skip(text, ", ")));
	return skip(text, ")");
}

/* "... (`db`.`child`, CONSTRAINT `name` FOREIGN KEY (`a`) REFERENCES `parent` (`b`) ...)" */
static bool read_foreign_key(const char *message, foreign_key *key)
{
	char ignored[NAME_SIZE];
	const char *at = strstr(message, "(`");

	if (!at || !(at = ormd_mysql_read_identifier(at + 1, ignored)) || !(at = skip(at, ".")) ||
	    !(at = ormd_mysql_read_identifier(at, key->child)) || !(at = skip(at, ", CONSTRAINT ")) ||
	    !(at = ormd_mysql_read_identifier(at, ignored)) || !(at = skip(at, " FOREIGN KEY ")) ||
	    !(at = read_columns(at, key->columns)) || !(at = skip(at, " REFERENCES ")))
		return false;
	at = ormd_mysql_read_identifier(at, key->parent);
	if (at && *at == '.') /* of another database */
		at = ormd_mysql_read_identifier(at + 1, key->parent);
	return at != NULL;
}

static void fail_foreign_key(const char *message, bool is_referred_to, const char *table, char columns[NAME_SIZE],
			     orm_error *error)
{
	foreign_key key;

	if (!read_foreign_key(message, &key)) {
		orm_fail(error, ORM_ECONSTRAINT,
			 "%s: a foreign key would refer to a row that does not exist, or rows that refer to this one "
			 "would lose it",
			 table[0] ? table : "a table");
	} else if (is_referred_to) {
		orm_fail(error, ORM_ECONSTRAINT,
			 "%s: rows of %s still refer to this one by %s; delete or change them first", table, key.child,
			 key.columns);
	} else {
		snprintf(columns, NAME_SIZE, "%s", key.columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: refers to a row of %s that does not exist; add that one first",
			 table, columns, key.parent);
	}
}

/* ---- checks ------------------------------------------------------------------------------------------------- */

/* "CONSTRAINT `ck_users_age` failed for `shop`.`users`". Ours on one column are called ck_<table>_<column> (sql/ddl.h);
 * one that is part of a column's own definition is called <table>.<column>. */
static void fail_check(const char *message, const char *table, char columns[NAME_SIZE], orm_error *error)
{
	static const struct {
		const char *before;
		const char *after;
	} forms[] = {{"ck_", "_"}, {"", "."}};
	char prefix[NAME_SIZE + 8];
	char name[2 * NAME_SIZE] = "";
	const char *start = skip(message, "CONSTRAINT `");
	const char *end = start ? strstr(start, "` failed for ") : NULL;

	if (end)
		snprintf(name, sizeof name, "%.*s", (int)(end - start), start);
	for (size_t i = 0; table[0] && i < sizeof forms / sizeof forms[0]; i++) {
		snprintf(prefix, sizeof prefix, "%s%s%s", forms[i].before, table, forms[i].after);
		if (skip(name, prefix))
			snprintf(columns, NAME_SIZE, "%s", name + strlen(prefix));
	}
	orm_fail(error, ORM_ECONSTRAINT, "%s.%s: the value violates the table's check %.200s", table, columns, name);
}

/* ---- all of them -------------------------------------------------------------------------------------------- */

orm_status ormd_mysql_fail_constraint(mysql_connection *connection, unsigned number, const char *message,
				      const char *sql, orm_error *error)
{
	char table[NAME_SIZE];
	char columns[NAME_SIZE] = "";

	ormd_mysql_written_table(sql, table);
	switch (number) {
	case ER_BAD_NULL_ERROR:       /* Column 'name' cannot be null */
	case ER_NO_DEFAULT_FOR_FIELD: /* Field 'name' doesn't have a default value */
		read_quoted(message, number == ER_BAD_NULL_ERROR ? "Column '" : "Field '", columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: must not be NULL; set it", table, columns);
		break;
	case ER_NO_REFERENCED_ROW:
	case ER_NO_REFERENCED_ROW_2:
		fail_foreign_key(message, false, table, columns, error);
		break;
	case ER_ROW_IS_REFERENCED:
	case ER_ROW_IS_REFERENCED_2:
		fail_foreign_key(message, true, table, columns, error);
		break;
	case ER_DUP_ENTRY:
	case ER_DUP_ENTRY_WITH_KEY_NAME:
	case ER_DUP_UNIQUE:
		fail_unique(connection, message, table, columns, error);
		break;
	default:
		fail_check(message, table, columns, error);
		break;
	}
	return error ? orm_error_at(error, table, columns, NULL) : ORM_ECONSTRAINT;
}
