/* SPDX-License-Identifier: MIT */
/* What the server's and the library's error numbers mean to a user of the ORM, and do to the connection. */
#include "driver/mysql_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* Numbers that the library's headers do not name. */
#define ER_WSREP_NOT_READY   1047 /* ER_UNKNOWN_COM_ERROR: "WSREP has not yet prepared node for application use" */
#define ER_KILLED_CONNECTION 1927 /* ER_CONNECTION_KILLED */
#define ER_LATE_STATEMENT    1969 /* ER_STATEMENT_TIMEOUT: max_statement_time */
#define ER_CHECK_FAILED      4025 /* ER_CONSTRAINT_FAILED */
#define ER_SNAPSHOT_IS_OLD   1020 /* ER_CHECKREAD: innodb_snapshot_isolation */

#define MESSAGE_SIZE 512

bool ormd_mysql_is_lost(unsigned number)
{
	switch (number) {
	case CR_SOCKET_CREATE_ERROR:
	case CR_CONNECTION_ERROR:
	case CR_CONN_HOST_ERROR:
	case CR_IPSOCK_ERROR:
	case CR_UNKNOWN_HOST:
	case CR_SERVER_GONE_ERROR:
	case CR_SERVER_HANDSHAKE_ERR:
	case CR_SERVER_LOST:
	case CR_SERVER_LOST_EXTENDED:
	case CR_COMMANDS_OUT_OF_SYNC: /* what comes next cannot be told */
	case CR_MALFORMED_PACKET:
	case CR_SSL_CONNECTION_ERROR:
	case CR_NET_PACKET_TOO_LARGE:
	case ER_WSREP_NOT_READY:
	case ER_SERVER_SHUTDOWN:
	case ER_NORMAL_SHUTDOWN:
	case ER_FORCING_CLOSE:
	case ER_ABORTING_CONNECTION:
	case ER_NEW_ABORTING_CONNECTION:
	case ER_NET_PACKET_TOO_LARGE:
	case ER_NET_READ_ERROR:
	case ER_NET_READ_INTERRUPTED:
	case ER_NET_ERROR_ON_WRITE:
	case ER_NET_WRITE_INTERRUPTED:
	case ER_NET_PACKETS_OUT_OF_ORDER:
	case ER_NET_FCNTL_ERROR:
	case ER_KILLED_CONNECTION:
		return true;
	default:
		return false;
	}
}

/* ---- connecting --------------------------------------------------------------------------------------------- */

static void print_place(const mysql_url *url, size_t host, char *text, size_t size)
{
	const char *name = url->hosts[host].name;

	if (url->socket)
		snprintf(text, size, "socket %.100s", url->socket);
	else if (url->hosts[host].port)
		snprintf(text, size, "%.100s:%u", name[0] ? name : "localhost", url->hosts[host].port);
	else
		snprintf(text, size, "%.100s", name[0] ? name : "localhost");
}

orm_status ormd_mysql_fail_dial(const mysql_url *url, size_t host, unsigned number, const char *message,
				orm_error *error)
{
	const char *user = url->user ? url->user : "";
	char place[128];

	print_place(url, host, place, sizeof place);
	switch (number) {
	case ER_BAD_DB_ERROR:
		return orm_fail(error, ORM_ENOTFOUND, "the server at %s has no database '%.64s'", place, url->database);
	case ER_ACCESS_DENIED_ERROR:
	case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
		return orm_fail(error, ORM_EPERM,
				"the server at %s does not let in the user '%.80s'; check the URL's user and password",
				place, user);
	case ER_DBACCESS_DENIED_ERROR:
		return orm_fail(error, ORM_EPERM, "the user '%.80s' may not use the database '%.64s'; GRANT it", user,
				url->database);
	case ER_CON_COUNT_ERROR:
	case ER_TOO_MANY_USER_CONNECTIONS:
	case ER_USER_LIMIT_REACHED:
		return orm_fail(error, ORM_EUNAVAILABLE,
				"the server at %s has too many connections; raise its max_connections, or use fewer",
				place);
	case CR_OUT_OF_MEMORY:
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	default:
		return orm_fail(error, ORM_EUNAVAILABLE, "the server at %s cannot be reached: %.300s", place, message);
	}
}

/* ---- statements --------------------------------------------------------------------------------------------- */

/* Sets what a lost connection is to the driver. */
static orm_status fail_lost(mysql_connection *connection, const char *message, orm_error *error)
{
	const orm_status stopped = connection->stopped;

	connection->base.lost = true;
	connection->in_transaction = false;
	connection->stopped = ORM_OK;
	if (stopped == ORM_ETIMEOUT)
		return orm_fail(error, ORM_ETIMEOUT, "the deadline passed, and the server does not answer any more");
	if (stopped == ORM_ECANCELLED)
		return orm_fail(error, ORM_ECANCELLED,
				"the statement was cancelled, and the server does not answer any more");
	return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost (%.200s); connect anew",
			message);
}

/* KILL QUERY, ours or somebody's. */
static orm_status fail_stopped(mysql_connection *connection, orm_error *error)
{
	const orm_status stopped = connection->stopped;

	connection->kill_sent = false;
	connection->stopped = ORM_OK;
	if (stopped == ORM_ETIMEOUT)
		return orm_fail(error, ORM_ETIMEOUT, "the statement was stopped when its deadline passed");
	return orm_fail(error, ORM_ECANCELLED, "the statement was cancelled%s",
			stopped == ORM_OK ? " by somebody else (KILL QUERY)" : "");
}

/* A deadlock has undone the transaction; a snapshot that is too old has not, everywhere. */
static orm_status fail_retry(mysql_connection *connection, const char *message, orm_error *error)
{
	if (connection->in_transaction) {
		ormd_mysql_enter(connection);
		connection->base.lost = mysql_query(connection->handle, "ROLLBACK") != 0;
		ormd_mysql_leave();
	}
	connection->in_transaction = false;
	return orm_fail(error, ORM_ERETRY, "another transaction was in the way (%.200s); run the unit again", message);
}

static orm_status fail_lock_wait(mysql_connection *connection, orm_error *error)
{
	if (connection->timeout_undoes_all)
		connection->in_transaction = false;
	return orm_fail(error, ORM_ETIMEOUT,
			"another transaction kept a row or table locked for more than %lld ms; try again",
			(long long)connection->busy_timeout_ms);
}

/* The column that a message names: "... for column 'age' at row 1", "... column `db`.`t`.`age` at row 1". */
static void read_column(const char *message, char column[ORMD_MYSQL_NAME_SIZE])
{
	static const char before[] = "column ";
	const char *at = NULL;

	column[0] = '\0';
	for (const char *next = message; (next = strstr(next, before)); next += strlen(before))
		at = next + strlen(before);
	if (!at)
		return;
	if (*at == '`') { /* the last of its parts */
		while (at && *at == '`') {
			at = ormd_mysql_read_identifier(at, column);
			at = at && *at == '.' ? at + 1 : NULL;
		}
	} else if (*at == '\'') {
		const char *end = strstr(at + 1, "' at row");

		if (end && (size_t)(end - at - 1) < ORMD_MYSQL_NAME_SIZE) {
			memcpy(column, at + 1, (size_t)(end - at - 1));
			column[end - at - 1] = '\0';
		}
	}
}

static orm_status fail_value(const char *message, const char *sql, orm_error *error)
{
	char table[ORMD_MYSQL_NAME_SIZE];
	char column[ORMD_MYSQL_NAME_SIZE];

	ormd_mysql_written_table(sql, table);
	read_column(message, column);
	orm_fail(error, ORM_EINVAL, "%s%s%s%sthe column does not take the value: %.300s", table,
		 table[0] && column[0] ? "." : "", column, table[0] ? ": " : "", message);
	return error ? orm_error_at(error, table, column, NULL) : ORM_EINVAL;
}

/* "Table 'shop.users' doesn't exist", "Unknown table 'shop.users'". */
static orm_status fail_no_table(const char *message, orm_error *error)
{
	const char *quote = strchr(message, '\'');
	const char *dot = quote ? strchr(quote, '.') : NULL;
	const char *end = dot ? strchr(dot, '\'') : NULL;
	char table[ORMD_MYSQL_NAME_SIZE] = "";

	if (end)
		snprintf(table, sizeof table, "%.*s", (int)(end - dot - 1), dot + 1);
	orm_fail(error, ORM_EDATABASE, "the database has no table '%s'; make it with orm_create_all", table);
	return error ? orm_error_at(error, table, NULL, NULL) : ORM_EDATABASE;
}

/* A primary that became a copy refuses what it took before: whoever connects anew may find the other one. */
static orm_status fail_read_only(mysql_connection *connection, const char *message, orm_error *error)
{
	if (connection->read_only || connection->url.n_hosts == 1)
		return orm_fail(error, ORM_EDATABASE, "the database cannot be written: %.300s", message);
	return fail_lost(connection, message, error);
}

static orm_status fail_number(mysql_connection *connection, unsigned number, const char *message, const char *sql,
			      orm_error *error)
{
	if (ormd_mysql_is_lost(number))
		return fail_lost(connection, message, error);
	switch (number) {
	case ER_DUP_ENTRY:
	case ER_DUP_ENTRY_WITH_KEY_NAME:
	case ER_DUP_UNIQUE:
	case ER_BAD_NULL_ERROR:
	case ER_NO_DEFAULT_FOR_FIELD:
	case ER_NO_REFERENCED_ROW:
	case ER_NO_REFERENCED_ROW_2:
	case ER_ROW_IS_REFERENCED:
	case ER_ROW_IS_REFERENCED_2:
	case ER_CHECK_FAILED:
		return ormd_mysql_fail_constraint(connection, number, message, sql, error);
	case ER_LOCK_DEADLOCK:
	case ER_SNAPSHOT_IS_OLD:
		return fail_retry(connection, message, error);
	case ER_LOCK_WAIT_TIMEOUT:
		return fail_lock_wait(connection, error);
	case ER_QUERY_INTERRUPTED:
		return fail_stopped(connection, error);
	case ER_LATE_STATEMENT:
		return orm_fail(error, ORM_ETIMEOUT,
				"the statement ran longer than the server's max_statement_time; raise it");
	case ER_DATA_TOO_LONG:
	case ER_WARN_DATA_OUT_OF_RANGE:
	case ER_TRUNCATED_WRONG_VALUE:
	case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
	case WARN_DATA_TRUNCATED:
	case ER_CANT_CREATE_GEOMETRY_OBJECT:
		return fail_value(message, sql, error);
	case ER_NO_SUCH_TABLE:
	case ER_BAD_TABLE_ERROR:
		return fail_no_table(message, error);
	case ER_BAD_FIELD_ERROR:
	case ER_WRONG_VALUE_COUNT:
	case ER_WRONG_FIELD_SPEC:
		return orm_fail(error, ORM_EDATABASE,
				"the database's table differs from the model (%.200s); change the table, or the model",
				message);
	case ER_CON_COUNT_ERROR:
	case ER_TOO_MANY_USER_CONNECTIONS:
	case ER_USER_LIMIT_REACHED:
		return orm_fail(error, ORM_EUNAVAILABLE, "the server is at a limit (%.200s); try again later", message);
	case ER_ACCESS_DENIED_ERROR:
	case ER_DBACCESS_DENIED_ERROR:
	case ER_TABLEACCESS_DENIED_ERROR:
	case ER_COLUMNACCESS_DENIED_ERROR:
	case ER_SPECIFIC_ACCESS_DENIED_ERROR:
	case ER_KILL_DENIED_ERROR:
		return orm_fail(error, ORM_EPERM, "the server refuses permission: %.300s", message);
	case ER_OPTION_PREVENTS_STATEMENT:
	case ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION:
		return fail_read_only(connection, message, error);
	case ER_RECORD_FILE_FULL:
	case ER_DISK_FULL:
		return orm_fail(error, ORM_EDATABASE,
				"the server's disk is full, or a table at its size limit; make room and try again");
	case ER_OUT_OF_RESOURCES:
	case ER_OUTOFMEMORY:
		return orm_fail(error, ORM_EDATABASE, "the server is out of memory: %.300s", message);
	case ER_MAX_PREPARED_STMT_COUNT_REACHED:
		return orm_fail(error, ORM_ELIMIT,
				"the server keeps too many prepared statements; raise its max_prepared_stmt_count");
	case CR_OUT_OF_MEMORY:
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	default:
		return orm_fail(error, ORM_EDATABASE, "MariaDB: %.400s (error %u)", message, number);
	}
}

orm_status ormd_mysql_fail(mysql_connection *connection, unsigned number, const char *message, const char *sql,
			   orm_error *error)
{
	char copy[MESSAGE_SIZE];

	snprintf(copy, sizeof copy, "%s", message);
	return fail_number(connection, number, copy, sql, error);
}

orm_status ormd_mysql_fail_handle(mysql_connection *connection, const char *sql, orm_error *error)
{
	return ormd_mysql_fail(connection, mysql_errno(connection->handle), mysql_error(connection->handle), sql,
			       error);
}

orm_status ormd_mysql_fail_statement(mysql_connection *connection, const mysql_statement *statement, orm_error *error)
{
	MYSQL_STMT *handle = statement->handle;

	/* What fails while rows are fetched is only told of the connection. */
	if (mysql_stmt_errno(handle) == 0)
		return ormd_mysql_fail_handle(connection, statement->sql, error);
	return ormd_mysql_fail(connection, mysql_stmt_errno(handle), mysql_stmt_error(handle), statement->sql, error);
}

/*
 * Only what the server says of the transaction itself is an answer. ER_ERROR_DURING_COMMIT is none: a cluster's node
 * gives it when it is cut off, and the others may have got the transaction.
 */
orm_status ormd_mysql_fail_commit(mysql_connection *connection, orm_error *error)
{
	const unsigned number = mysql_errno(connection->handle);

	switch (number) {
	case ER_LOCK_DEADLOCK: /* a cluster's certification failure as well */
	case ER_SNAPSHOT_IS_OLD:
	case ER_OPTION_PREVENTS_STATEMENT:
		return ormd_mysql_fail_handle(connection, NULL, error);
	default:
		connection->base.lost = true;
		return orm_fail(error, ORM_EUNKNOWN, "whether the commit happened is not known (%.200s)",
				mysql_error(connection->handle));
	}
}
