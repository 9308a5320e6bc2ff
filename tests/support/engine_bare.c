/* SPDX-License-Identifier: MIT */
#include "support/engine_bare.h"

#include <errmsg.h>
#include <libpq-fe.h>
#include <mysql.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/tempdir.h"

#define BOOL_OID 16 /* PostgreSQL's pg_type.h */

static void put_message(orm_buffer *answer, const char *message)
{
	orm_buffer_reset(answer);
	orm_buffer_puts(answer, message);
}

/* ---- SQLite -------------------------------------------------------------------------------------------------- */

static int append_row(void *context, int n, char **cells, char **names)
{
	orm_buffer *answer = context;

	(void)names;
	if (answer->size)
		orm_buffer_putc(answer, ';');
	for (int i = 0; i < n; i++)
		orm_buffer_printf(answer, "%s%s", i > 0 ? "|" : "", cells[i] ? cells[i] : "NULL");
	return 0;
}

bool engine_bare_sqlite(const char *url, const char *sql, orm_buffer *answer)
{
	sqlite3 *handle = NULL;
	bool ok = sqlite3_open(url + strlen("sqlite:///"), &handle) == SQLITE_OK;

	if (ok) {
		sqlite3_busy_timeout(handle, SUPPORT_PATIENCE_MS);
		ok = sqlite3_exec(handle, sql, append_row, answer, NULL) == SQLITE_OK;
	}
	if (!ok)
		put_message(answer, sqlite3_errmsg(handle));
	sqlite3_close(handle);
	return ok;
}

/* ---- PostgreSQL ---------------------------------------------------------------------------------------------- */

/* The latest connection: making one costs a server far more than most statements. A forked child leaves its parent's
 * alone. */
static struct {
	PGconn *connection;
	pid_t owner;
	char url[SUPPORT_PATH_SIZE + 16];
} kept_postgresql;

static PGconn *connect_postgresql(const char *url, bool *is_new)
{
	const bool is_ours = kept_postgresql.owner == getpid();

	*is_new = !is_ours || !kept_postgresql.connection || strcmp(kept_postgresql.url, url) != 0;
	if (*is_new) {
		if (is_ours)
			PQfinish(kept_postgresql.connection);
		kept_postgresql.connection = PQconnectdb(url);
		kept_postgresql.owner = getpid();
		snprintf(kept_postgresql.url, sizeof kept_postgresql.url, "%s", url);
	}
	return kept_postgresql.connection;
}

static void forget_postgresql(void)
{
	PQfinish(kept_postgresql.connection);
	kept_postgresql.connection = NULL;
}

static void append_result(const PGresult *result, orm_buffer *answer)
{
	orm_buffer_reset(answer);
	for (int row = 0; row < PQntuples(result); row++) {
		for (int i = 0; i < PQnfields(result); i++) {
			const char *text = PQgetvalue(result, row, i);

			if (PQgetisnull(result, row, i))
				text = "NULL";
			else if (PQftype(result, i) == BOOL_OID)
				text = text[0] == 't' ? "1" : "0";
			orm_buffer_printf(answer, "%s%s", i > 0 ? "|" : row > 0 ? ";" : "", text);
		}
	}
}

bool engine_bare_postgresql(const char *url, const char *sql, orm_buffer *answer)
{
	bool is_new;
	PGconn *connection = connect_postgresql(url, &is_new);
	bool ok = PQstatus(connection) == CONNECTION_OK && PQsendQuery(connection, sql);

	for (PGresult *result; (result = PQgetResult(connection));) {
		const ExecStatusType status = PQresultStatus(result);

		if (status == PGRES_TUPLES_OK)
			append_result(result, answer);
		ok = ok && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK);
		PQclear(result);
	}
	if (ok)
		return true;

	const bool is_lost = PQstatus(connection) != CONNECTION_OK;

	put_message(answer, PQerrorMessage(connection));
	if (is_lost)
		forget_postgresql();
	return is_lost && !is_new ? engine_bare_postgresql(url, sql, answer) : false; /* its server was started anew */
}

/* ---- MariaDB ------------------------------------------------------------------------------------------------- */

static struct {
	MYSQL *connection;
	pid_t owner;
	char url[SUPPORT_PATH_SIZE + 16];
} kept_mariadb;

static MYSQL *open_mariadb(const char *url)
{
	char user[32];
	char database[64] = "";
	char socket[SUPPORT_PATH_SIZE];
	MYSQL *connection = mysql_init(NULL);

	if (!connection)
		support_die("out of memory");
	if (sscanf(url, "mariadb://%31[^@]@localhost/%63[^?]?socket=%255s", user, database, socket) != 3 &&
	    sscanf(url, "mariadb://%31[^@]@localhost/?socket=%255s", user, socket) != 2)
		support_die("'%s' is no URL of support/mariadb.h", url);
	mysql_options(connection, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_options(connection, MYSQL_INIT_COMMAND,
		      "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES,PIPES_AS_CONCAT'), max_recursive_iterations = "
		      "1000000");
	mysql_real_connect(connection, NULL, user, "", database, 0, socket, CLIENT_MULTI_STATEMENTS);
	return connection;
}

static MYSQL *connect_mariadb(const char *url, bool *is_new)
{
	const bool is_ours = kept_mariadb.owner == getpid();

	*is_new = !is_ours || !kept_mariadb.connection || strcmp(kept_mariadb.url, url) != 0;
	if (*is_new) {
		if (is_ours)
			mysql_close(kept_mariadb.connection);
		kept_mariadb.connection = open_mariadb(url);
		kept_mariadb.owner = getpid();
		snprintf(kept_mariadb.url, sizeof kept_mariadb.url, "%s", url);
	}
	return kept_mariadb.connection;
}

static void forget_mariadb(void)
{
	mysql_close(kept_mariadb.connection);
	kept_mariadb.connection = NULL;
}

static void append_rows(MYSQL_RES *result, orm_buffer *answer)
{
	bool first = true;

	orm_buffer_reset(answer);
	for (MYSQL_ROW row; (row = mysql_fetch_row(result)); first = false)
		for (unsigned i = 0; i < mysql_num_fields(result); i++)
			orm_buffer_printf(answer, "%s%s", i > 0 ? "|" : first ? "" : ";", row[i] ? row[i] : "NULL");
}

bool engine_bare_mariadb(const char *url, const char *sql, orm_buffer *answer)
{
	bool is_new;
	MYSQL *connection = connect_mariadb(url, &is_new);
	int more = (is_new && mysql_errno(connection) != 0) || mysql_real_query(connection, sql, strlen(sql)) != 0;

	while (more == 0) {
		MYSQL_RES *result = mysql_store_result(connection);

		if (result)
			append_rows(result, answer);
		mysql_free_result(result);
		more = mysql_errno(connection) != 0 ? 1 : mysql_next_result(connection);
	}
	if (more < 0) /* there is no other */
		return true;

	const unsigned number = mysql_errno(connection);
	const bool is_lost = number == CR_SERVER_GONE_ERROR || number == CR_SERVER_LOST;

	put_message(answer, mysql_error(connection));
	forget_mariadb(); /* it may be half-way through several results */
	return is_lost && !is_new ? engine_bare_mariadb(url, sql, answer) : false; /* its server was started anew */
}
