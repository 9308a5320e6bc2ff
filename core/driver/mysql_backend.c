/* SPDX-License-Identifier: MIT */
/*
 * Which server and which of its sessions a connection is, and how such a session is seen to its end.
 *
 * The number of a session is good only on its server, and only until that is started anew: so the server is told by
 * what it is called and where it keeps its data, and by when it was started. UNIX_TIMESTAMP() and Uptime are of the
 * same statement, so their difference is exactly that, whatever the clocks do.
 *
 * On a Galera cluster the session may have been on another node, where it cannot be ended from here. It need not be:
 * what it still commits is certified against what this node commits, and both write the row of the commit's id. The one
 * that is first in the cluster's order wins; the other one fails with a deadlock, and finds the row when it tries
 * again.
 */
#include "driver/mysql_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

#define PATIENCE_US INT64_C(30000000) /* for a session to end, if the caller has no deadline */
#define STEP_MS     5

static const char who[] = "SELECT CONNECTION_ID(), @@max_allowed_packet, @@innodb_rollback_on_timeout, "
			  "(SELECT count(*) FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'WSREP_ON' "
			  "AND VARIABLE_VALUE = 'ON'), "
			  "concat_ws('|', @@server_uid, @@hostname, @@port, @@socket, @@datadir, unix_timestamp() - "
			  "(SELECT VARIABLE_VALUE "
			  "FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'))";

orm_status ormd_mysql_identify(mysql_connection *connection, orm_error *error)
{
	MYSQL_RES *result = ormd_mysql_ask(connection, who, error);
	MYSQL_ROW row = result ? mysql_fetch_row(result) : NULL;
	orm_status status = ORM_OK;

	if (!result)
		return error->code;
	if (row && row[0] && row[1] && row[2] && row[3] && row[4]) {
		connection->id = strtoull(row[0], NULL, 10);
		connection->max_packet = strtoull(row[1], NULL, 10);
		connection->timeout_undoes_all = strcmp(row[2], "0") != 0;
		connection->is_cluster = strcmp(row[3], "0") != 0;
		snprintf(connection->server, sizeof connection->server, "%016" PRIx64,
			 orm_hash_bytes(row[4], strlen(row[4])));
		snprintf(connection->base.backend, sizeof connection->base.backend, "%s/%" PRIu64, connection->server,
			 connection->id);
	} else {
		status = orm_fail(error, ORM_EDATABASE, "the server does not say what it is called");
	}
	mysql_free_result(result);
	return status;
}

/* ---- ending ------------------------------------------------------------------------------------------------- */

/* It stays in the list until its transaction has been undone. */
static orm_status ask_is_there(mysql_connection *connection, uint64_t id, bool *is_there, orm_error *error)
{
	char sql[128];
	MYSQL_RES *result;
	MYSQL_ROW row;

	snprintf(sql, sizeof sql, "SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID = %" PRIu64, id);
	if (!(result = ormd_mysql_ask(connection, sql, error)))
		return error->code;
	row = mysql_fetch_row(result);
	*is_there = row && row[0] && strcmp(row[0], "0") != 0;
	mysql_free_result(result);
	return ORM_OK;
}

static orm_status kill_session(mysql_connection *connection, uint64_t id, orm_error *error)
{
	char sql[64];

	snprintf(sql, sizeof sql, "KILL CONNECTION %" PRIu64, id);
	ormd_mysql_enter(connection);

	const int rc = mysql_query(connection->handle, sql);

	ormd_mysql_leave();
	if (rc == 0 || mysql_errno(connection->handle) == ER_NO_SUCH_THREAD)
		return ORM_OK;
	return ormd_mysql_fail_handle(connection, sql, error);
}

static orm_status wait_for_end(mysql_connection *connection, uint64_t id, orm_error *error)
{
	const int64_t own_us = orm_clock_us() + PATIENCE_US;
	const int64_t deadline_us = connection->base.deadline_us ? connection->base.deadline_us : own_us;
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
	bool is_there = true;
	orm_status status = ask_is_there(connection, id, &is_there, error);

	while (status == ORM_OK && is_there) {
		if (orm_clock_us() >= deadline_us)
			return orm_fail(error, ORM_ETIMEOUT,
					"the server has not yet ended a session that was lost; ask again");
		nanosleep(&step, NULL);
		status = ask_is_there(connection, id, &is_there, error);
	}
	return status;
}

/* What the cluster has committed so far is seen from here on. */
static orm_status see_everything(mysql_connection *connection, orm_error *error)
{
	return connection->is_cluster ? ormd_mysql_execute(connection,
							   "SET STATEMENT wsrep_sync_wait=15 FOR SHOW STATUS LIKE "
							   "'Uptime'",
							   error)
				      : ORM_OK;
}

orm_status ormd_mysql_end_backend(ormd_connection *base, const char *backend, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	const size_t len = strlen(connection->server);
	const bool is_here = strncmp(backend, connection->server, len) == 0 && backend[len] == '/';
	const uint64_t id = is_here ? strtoull(backend + len + 1, NULL, 10) : 0;
	orm_error ignored;
	orm_status status;

	error = error ? error : &ignored;
	status = ormd_mysql_start(connection, error);
	if (status == ORM_OK && id != 0 && id != connection->id) {
		status = kill_session(connection, id, error);
		if (status == ORM_OK)
			status = wait_for_end(connection, id, error);
	}
	return status == ORM_OK ? see_everything(connection, error) : status;
}
