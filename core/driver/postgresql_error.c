/* SPDX-License-Identifier: MIT */
/*
 * What PostgreSQL's SQLSTATEs mean to a user of the ORM. Messages come in the server's language, so that nothing is
 * read from them but what every translation keeps: names, and "(columns)=(values)" in the detail of a broken key.
 */
#include "driver/postgresql_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef char name_text[64];

static const char *field(const PGresult *result, int code)
{
	const char *text = PQresultErrorField(result, code);

	return text ? text : "";
}

static bool is_state(const PGresult *result, const char *state)
{
	return strcmp(field(result, PG_DIAG_SQLSTATE), state) == 0;
}

static void copy_name(name_text name, const char *from, size_t len)
{
	if (len >= sizeof(name_text))
		len = sizeof(name_text) - 1;
	memcpy(name, from, len);
	name[len] = '\0';
}

/* ---- reading our own SQL ------------------------------------------------------------------------------------ */

/* The identifier at `text`, unquoted, and the text after it; NULL if there is none. */
static const char *read_identifier(const char *text, name_text name)
{
	size_t len = 0;

	name[0] = '\0';
	if (*text != '"') { /* others write names without quotes */
		len = strcspn(text, " \t\n.,;()\"'");
		copy_name(name, text, len);
		return len > 0 ? text + len : NULL;
	}
	for (text++; *text; text++) {
		if (*text == '"' && *++text != '"') {
			name[len] = '\0';
			return text;
		}
		if (len + 1 >= sizeof(name_text))
			break;
		name[len++] = *text;
	}
	name[0] = '\0';
	return NULL;
}

/* The table that a statement of sql/compile.h or sql/postgresql_bulk.h writes to. */
static void read_written_table(const char *sql, name_text table)
{
	static const char *const starts[] = {"INSERT INTO ", "UPDATE ", "DELETE FROM ", "COPY "};

	table[0] = '\0';
	for (size_t i = 0; sql && i < sizeof starts / sizeof starts[0]; i++) {
		if (strncmp(sql, starts[i], strlen(starts[i])) == 0)
			read_identifier(sql + strlen(starts[i]), table);
	}
}

/* The name that the server points at. It counts characters, not bytes. */
static void read_name_in_doubt(const PGresult *result, const char *sql, name_text name)
{
	long position = strtol(field(result, PG_DIAG_STATEMENT_POSITION), NULL, 10);

	name[0] = '\0';
	while (sql && *sql && position > 1) {
		sql++;
		if (((unsigned char)*sql & 0xC0) != 0x80)
			position--;
	}
	if (sql && position == 1)
		read_identifier(sql, name);
}

/* ---- constraints -------------------------------------------------------------------------------------------- */

/* Unquoted, where the server has put quotes around odd names: "a.b", c -> a.b, c. */
static void unquote_columns(const char *from, size_t size, name_text columns)
{
	size_t len = 0;
	bool quoted = false;

	for (size_t i = 0; i < size && len + 1 < sizeof(name_text); i++) {
		if (from[i] == '"' && quoted && i + 1 < size && from[i + 1] == '"')
			columns[len++] = from[++i - 1];
		else if (from[i] == '"')
			quoted = !quoted;
		else
			columns[len++] = from[i];
	}
	columns[len] = '\0';
}

/*
 * The columns in 'Key (a, "b c")=(1, 2) already exists.'. Uniqueness quotes odd names, foreign keys do not. Nothing
 * where the user may not see the values.
 */
static void read_key_columns(const PGresult *result, bool is_quoted, name_text columns)
{
	const char *detail = field(result, PG_DIAG_MESSAGE_DETAIL);
	const char *start = strchr(detail, '(');
	const char *end = start ? start + 1 : NULL;
	bool quoted = false;

	columns[0] = '\0';
	for (; end && *end; end++) {
		if (*end == '"')
			quoted = is_quoted && !quoted;
		else if (!quoted && strncmp(end, ")=(", 3) == 0)
			break;
	}
	if (!end || !*end)
		return;
	if (is_quoted)
		unquote_columns(start + 1, (size_t)(end - start - 1), columns);
	else
		copy_name(columns, start + 1, (size_t)(end - start - 1));
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
	const size_t len = strlen(text);
	const size_t end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* What is between "<prefix><table>_" and `suffix` in the constraint's name (sql/ddl.h, or PostgreSQL's own way). */
static void split_constraint(const char *constraint, const char *prefix, const char *table, const char *suffix,
			     name_text columns)
{
	char start[2 * sizeof(name_text)];

	columns[0] = '\0';
	snprintf(start, sizeof start, "%s%s_", prefix, table);
	if (starts_with(constraint, start) && ends_with(constraint, suffix) &&
	    strlen(constraint) > strlen(start) + strlen(suffix))
		copy_name(columns, constraint + strlen(start), strlen(constraint) - strlen(start) - strlen(suffix));
}

/* Of our statement's own model, by the columns as the server named them. */
static bool is_key_of(const orm_mapper *mapper, const char *table, const char *columns)
{
	char key[512];
	size_t len = 0;

	if (!mapper || strcmp(mapper->table, table) != 0)
		return false;
	for (uint16_t i = 0; i < mapper->n_key && len < sizeof key; i++)
		len += (size_t)snprintf(key + len, sizeof key - len, "%s%s", i ? ", " : "",
					mapper->columns[mapper->key[i]].name);
	return len < sizeof key && strcmp(key, columns) == 0;
}

static void fail_unique(const PGresult *result, const orm_mapper *mapper, name_text columns, orm_error *error)
{
	const char *table = field(result, PG_DIAG_TABLE_NAME);
	const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);

	read_key_columns(result, true, columns);
	if (is_key_of(mapper, table, columns) || starts_with(constraint, "pk_") || ends_with(constraint, "_pkey"))
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: another row has this primary key", table, columns);
	else
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: another row has this value, which must be unique", table,
			 columns[0] ? columns : constraint);
}

/* The table that a foreign key leads to: our own model says, or the last name in the detail. */
static void read_parent(const PGresult *result, const orm_mapper *mapper, const char *columns, name_text parent)
{
	const char *detail = field(result, PG_DIAG_MESSAGE_DETAIL);
	const char *end = strrchr(detail, '"');
	const char *start = end;

	for (uint16_t i = 0; mapper && i < mapper->n_foreign_keys; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];

		if (key->n_columns == 1 && strcmp(mapper->columns[key->columns[0]].name, columns) == 0) {
			copy_name(parent, key->target->table, strlen(key->target->table));
			return;
		}
	}
	while (start && start > detail && start[-1] != '"')
		start--;
	if (start && start > detail)
		copy_name(parent, start, (size_t)(end - start));
	else
		copy_name(parent, "another table", strlen("another table"));
}

/* The server names the table that refers. Of two tables in its message the first is the one that was written, and has
 * rows that are referred to. */
static bool is_referred_to(const PGresult *result, const char *child, const char *written)
{
	const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint = strstr(message, field(result, PG_DIAG_CONSTRAINT_NAME));

	if (written[0] && strcmp(written, child) != 0)
		return true;
	return constraint && strstr(constraint + strlen(field(result, PG_DIAG_CONSTRAINT_NAME)), child);
}

static void fail_foreign_key(const PGresult *result, const char *sql, const orm_mapper *mapper, name_text table,
			     name_text columns, orm_error *error)
{
	const char *child = field(result, PG_DIAG_TABLE_NAME);
	const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
	name_text written;
	name_text parent;
	char suffix[sizeof(name_text) + 1];

	read_written_table(sql, written);
	if (is_referred_to(result, child, written)) {
		snprintf(suffix, sizeof suffix, "_%s", written);
		split_constraint(constraint, "fk_", child, suffix, columns);
		if (!columns[0])
			split_constraint(constraint, "", child, "_fkey", columns);
		copy_name(table, written[0] ? written : child, strlen(written[0] ? written : child));
		orm_fail(error, ORM_ECONSTRAINT,
			 "%s: rows of %s still refer to this one by %s; delete or change them first",
			 written[0] ? written : "a table", child, columns[0] ? columns : constraint);
		columns[0] = '\0';
		return;
	}
	copy_name(table, child, strlen(child));
	read_key_columns(result, false, columns);
	read_parent(result, mapper, columns, parent);
	if (written[0])
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: refers to a row of %s that does not exist; add that one first",
			 table, columns[0] ? columns : constraint, parent);
	else
		orm_fail(error, ORM_ECONSTRAINT,
			 "%s.%s: at the end of the unit it refers to a row of %s that does not exist", table,
			 columns[0] ? columns : constraint, parent);
}

static orm_status fail_constraint(const PGresult *result, const char *sql, const orm_mapper *mapper, orm_error *error)
{
	const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
	name_text table;
	name_text columns = "";

	copy_name(table, field(result, PG_DIAG_TABLE_NAME), strlen(field(result, PG_DIAG_TABLE_NAME)));
	if (is_state(result, "23505")) {
		/* Two programs that create the same table at the same time meet in the catalogue. */
		if (strcmp(field(result, PG_DIAG_SCHEMA_NAME), "pg_catalog") == 0)
			return orm_fail(error, ORM_ERETRY, "another program is making the same table; try again");
		fail_unique(result, mapper, columns, error);
	} else if (is_state(result, "23502")) {
		copy_name(columns, field(result, PG_DIAG_COLUMN_NAME), strlen(field(result, PG_DIAG_COLUMN_NAME)));
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: must not be NULL; set it", table, columns);
	} else if (is_state(result, "23514")) {
		split_constraint(constraint, "ck_", table, "", columns);
		if (!columns[0])
			split_constraint(constraint, "", table, "_check", columns);
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: the value violates the table's check %.200s", table, columns,
			 constraint);
	} else if (is_state(result, "23503") || is_state(result, "23001")) {
		fail_foreign_key(result, sql, mapper, table, columns, error);
	} else {
		orm_fail(error, ORM_ECONSTRAINT, "%s: the row violates the table's constraint %.200s (%.200s)", table,
			 constraint, field(result, PG_DIAG_MESSAGE_PRIMARY));
	}
	return error ? orm_error_at(error, table, columns, NULL) : ORM_ECONSTRAINT;
}

/* ---- everything else ---------------------------------------------------------------------------------------- */

/* SQL that does not fit the tables: made by nobody, by an older version of the program, or by another one. */
static orm_status fail_sql(const PGresult *result, const char *sql, orm_error *error)
{
	const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
	name_text name;

	if (is_state(result, "42P01")) {
		read_name_in_doubt(result, sql, name);
		orm_fail(error, ORM_EDATABASE, "the database has no table '%s'; make it with orm_create_all", name);
		return error ? orm_error_at(error, name, NULL, NULL) : ORM_EDATABASE;
	}
	if (is_state(result, "42501"))
		return orm_fail(error, ORM_EPERM, "PostgreSQL refuses permission: %.300s", message);
	if (is_state(result, "42P07") || is_state(result, "42710"))
		return orm_fail(error, ORM_ERETRY, "another program is making the same table (%.200s); try again",
				message);
	if (is_state(result, "42703") || is_state(result, "42804") || is_state(result, "42883"))
		return orm_fail(error, ORM_EDATABASE,
				"the database's table differs from the model (%.200s); change the table, or the model",
				message);
	return orm_fail(error, ORM_EDATABASE, "PostgreSQL: %.400s", message);
}

static orm_status fail_stopped(const pg_connection *connection, const PGresult *result, orm_error *error)
{
	if (is_state(result, "55P03"))
		return orm_fail(error, ORM_ETIMEOUT,
				"another transaction kept a row or table locked for more than %lld ms; try again",
				(long long)connection->busy_timeout_ms);
	if (connection->stopping == ORM_ECANCELLED)
		return orm_fail(error, ORM_ECANCELLED, "the statement was cancelled");
	if (connection->stopping == ORM_ETIMEOUT)
		return orm_fail(error, ORM_ETIMEOUT, "the statement was stopped when its deadline passed");
	return orm_fail(error, ORM_ETIMEOUT, "the server stopped the statement: %.300s",
			field(result, PG_DIAG_MESSAGE_PRIMARY));
}

static orm_status fail_value(const PGresult *result, const char *sql, orm_error *error)
{
	const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
	name_text table;

	if (is_state(result, "2200H")) /* sequence_generator_limit_exceeded */
		return orm_fail(error, ORM_ELIMIT, "the table's generated keys are used up: %.300s", message);
	read_written_table(sql, table);
	orm_fail(error, ORM_EINVAL, "%s%sPostgreSQL cannot keep a value: %.300s", table, table[0] ? ": " : "", message);
	return error ? orm_error_at(error, table, NULL, NULL) : ORM_EINVAL;
}

static orm_status fail_gone(pg_connection *connection, const PGresult *result, orm_error *error)
{
	connection->base.lost = true;
	if (connection->stopping != ORM_OK)
		return orm_fail(error, connection->stopping,
				"the connection was lost while its statement was being stopped");
	return orm_fail(error, ORM_EUNAVAILABLE,
			"the connection to the database was lost: %.300s; what was not committed is undone",
			field(result, PG_DIAG_MESSAGE_PRIMARY));
}

/* A writer that may not write has been connected to a server that is a standby by now. */
static orm_status fail_read_only(pg_connection *connection, orm_error *error)
{
	if (connection->read_only)
		return orm_fail(error, ORM_EDATABASE, "a connection for reading was asked to write");
	connection->base.lost = true;
	return orm_fail(error, ORM_EUNAVAILABLE,
			"the database server does not accept writes any more; it may have been replaced by another");
}

bool ormd_pg_is_outdated(const PGresult *result)
{
	return is_state(result, "26000") || (is_state(result, "0A000") && strcmp(field(result, PG_DIAG_SOURCE_FUNCTION),
										 "RevalidateCachedQuery") == 0);
}

typedef enum meaning {
	OTHER = 0,
	CONSTRAINT,
	DAMAGED,
	DISK_FULL,
	FORBIDDEN,
	GONE,
	IN_THE_WAY,
	READ_ONLY,
	SHORT_OF_SOMETHING,
	STOPPED,
	TOO_MUCH,
	VALUE
} meaning;

/* By class, the first two characters, with the exceptions before it (PostgreSQL's documentation, appendix A). */
static meaning meaning_of(const char *state)
{
	static const struct {
		const char *start;
		meaning meaning;
	} classes[] = {
		{"08", GONE},          {"22", VALUE},
		{"23", CONSTRAINT},    {"25006", READ_ONLY},
		{"25P03", GONE},       {"28", FORBIDDEN},
		{"40002", CONSTRAINT}, {"40", IN_THE_WAY},
		{"53100", DISK_FULL},  {"53", SHORT_OF_SOMETHING},
		{"54", TOO_MUCH},      {"55P03", STOPPED},
		{"57014", STOPPED},    {"57P", GONE},
		{"58", DAMAGED},       {"XX001", DAMAGED},
		{"XX002", DAMAGED},
	};

	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
		if (starts_with(state, classes[i].start))
			return classes[i].meaning;
	}
	return OTHER;
}

static orm_status fail_by_class(pg_connection *connection, const PGresult *result, const char *sql,
				const orm_mapper *mapper, orm_error *error)
{
	const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *state = field(result, PG_DIAG_SQLSTATE);

	switch (meaning_of(state)) {
	case CONSTRAINT:
		return fail_constraint(result, sql, mapper, error);
	case DAMAGED:
		connection->base.lost = starts_with(state, "58"); /* the system's own: input, output */
		return orm_fail(error, ORM_EDATABASE, "the database server's files are damaged or unreadable: %.300s",
				message);
	case DISK_FULL:
		return orm_fail(error, ORM_EDATABASE, "the database's disk is full; make room and try again");
	case FORBIDDEN:
		return orm_fail(error, ORM_EPERM, "PostgreSQL refuses permission: %.300s", message);
	case GONE:
		return fail_gone(connection, result, error);
	case IN_THE_WAY:
		return orm_fail(error, ORM_ERETRY, "another transaction got in the way (%.200s); run the unit again",
				message);
	case READ_ONLY:
		return fail_read_only(connection, error);
	case SHORT_OF_SOMETHING:
		return orm_fail(error, ORM_EUNAVAILABLE,
				"the database server is short of something (%.200s); try again later", message);
	case STOPPED:
		return fail_stopped(connection, result, error);
	case TOO_MUCH:
		return orm_fail(error, ORM_ELIMIT, "a statement or value is beyond PostgreSQL's limits: %.300s",
				message);
	case VALUE:
		return fail_value(result, sql, error);
	default:
		return fail_sql(result, sql, error);
	}
}

orm_status ormd_pg_fail(pg_connection *connection, const PGresult *result, const char *sql, const orm_mapper *mapper,
			orm_error *error)
{
	if (!field(result, PG_DIAG_SQLSTATE)[0] || PQstatus(connection->handle) == CONNECTION_BAD) {
		/* libpq's own: either there is no server any more, or no memory. */
		return ormd_pg_lose(connection, error);
	}
	if (ormd_pg_is_outdated(result))
		return orm_fail(error, ORM_ERETRY, "a table's definition was changed meanwhile; run the unit again");
	return fail_by_class(connection, result, sql, mapper, error);
}

orm_status ormd_pg_fail_commit(pg_connection *connection, const PGresult *result, orm_error *error)
{
	const char *state = field(result, PG_DIAG_SQLSTATE);
	const bool is_clear = state[0] && PQstatus(connection->handle) == CONNECTION_OK && !starts_with(state, "57P") &&
			      !starts_with(state, "08") && !starts_with(state, "XX") && !starts_with(state, "58");

	/* An error that leaves the session working came before the commit was written. */
	if (is_clear)
		return ormd_pg_fail(connection, result, NULL, NULL, error);
	connection->base.lost = true;
	return orm_fail(error, ORM_EUNKNOWN,
			"the connection was lost during the commit; whether it happened is not known");
}

orm_status ormd_pg_lose(pg_connection *connection, orm_error *error)
{
	const char *message = PQerrorMessage(connection->handle);
	const int len = (int)strcspn(message, "\n");

	connection->base.lost = true;
	if (connection->must_finish)
		return orm_fail(error, ORM_EUNKNOWN,
				"the connection was lost during the commit; whether it happened is not known");
	if (connection->stopping != ORM_OK)
		return orm_fail(error, connection->stopping,
				"the database server does not answer, not even to stop the statement; the connection "
				"is given up");
	return orm_fail(error, ORM_EUNAVAILABLE,
			"the connection to the database was lost%s%.*s; what was not committed is undone",
			len > 0 ? ": " : "", len < 300 ? len : 300, message);
}
