/* SPDX-License-Identifier: MIT */
/*
 * MySQL's protocol, as MariaDB speaks it: transactions, and the table of the driver's members.
 *
 * A session for writing keeps autocommit off from its first transaction on: a transaction then begins with its first
 * statement, and costs no round trip of its own. A statement outside transactions turns it on again.
 */
#include "driver/mysql_internal.h"

#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"

#define ROLLBACK_US INT64_C(5000000) /* for what must be done after the deadline */

static bool in_transaction(ormd_connection *base)
{
	return mysql_of(base)->in_transaction;
}

/* ---- begin -------------------------------------------------------------------------------------------------- */

static const char *level_name(orm_isolation isolation)
{
	return isolation == ORM_SERIALIZABLE ? "SERIALIZABLE" : "REPEATABLE READ";
}

/* A reader's session is set to REPEATABLE READ, which is what a snapshot needs. */
static orm_status begin_reading(mysql_connection *connection, orm_isolation isolation, orm_error *error)
{
	return ormd_mysql_execute(connection,
				  isolation == ORM_SERIALIZABLE
					  ? "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION READ ONLY"
					  : "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
				  error);
}

/*
 * InnoDB's snapshot does not by itself keep a transaction from changing a row that has changed since. Where the server
 * knows this setting (10.6.18, 10.11.8 and later) it does; asked once.
 */
static orm_status guard_snapshots(mysql_connection *connection, orm_error *error)
{
	if (connection->guards_snapshots)
		return ORM_OK;
	ormd_mysql_enter(connection);

	const int rc = mysql_query(connection->handle, "SET SESSION innodb_snapshot_isolation=ON");

	ormd_mysql_leave();
	if (rc != 0 && mysql_errno(connection->handle) != ER_UNKNOWN_SYSTEM_VARIABLE)
		return ormd_mysql_fail_handle(connection, NULL, error);
	connection->guards_snapshots = true;
	return ORM_OK;
}

static orm_status begin_writing(mysql_connection *connection, orm_isolation isolation, orm_error *error)
{
	const bool is_higher = isolation == ORM_REPEATABLE_READ || isolation == ORM_SERIALIZABLE;
	orm_status status = ORM_OK;
	char sql[128];

	if (isolation == ORM_SERIALIZABLE && connection->is_cluster)
		return orm_fail(error, ORM_EUNSUPPORTED,
				"a Galera cluster is not serializable across its nodes; use REPEATABLE READ");
	if (is_higher)
		status = guard_snapshots(connection, error);
	if (status != ORM_OK || (!connection->autocommit && !is_higher))
		return status;
	snprintf(sql, sizeof sql, "%s%s%s%s", connection->autocommit ? "SET autocommit=0" : "",
		 connection->autocommit && is_higher ? "; " : "", is_higher ? "SET TRANSACTION ISOLATION LEVEL " : "",
		 is_higher ? level_name(isolation) : "");
	status = ormd_mysql_execute(connection, sql, error);
	if (status == ORM_OK)
		connection->autocommit = false;
	return status;
}

static orm_status begin(ormd_connection *base, orm_isolation isolation, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	orm_status status = ormd_mysql_ready(connection, error);

	if (status == ORM_OK && connection->in_transaction)
		status = orm_fail(error, ORM_EINTERNAL, "a transaction is open already");
	if (status == ORM_OK)
		status = connection->read_only ? begin_reading(connection, isolation, error)
					       : begin_writing(connection, isolation, error);
	connection->in_transaction = connection->in_transaction || status == ORM_OK;
	return status;
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

/* Also past the deadline. What cannot be undone in time is undone by the server when it notices that we are gone. */
static void rollback(ormd_connection *base)
{
	mysql_connection *connection = mysql_of(base);
	const int64_t deadline_us = base->deadline_us;
	orm_error ignored;

	if (!connection->in_transaction)
		return;
	base->deadline_us = orm_clock_us() + ROLLBACK_US;
	if (ormd_mysql_ready(connection, &ignored) != ORM_OK ||
	    ormd_mysql_execute(connection, "ROLLBACK", &ignored) != ORM_OK)
		base->lost = true;
	connection->in_transaction = false;
	base->deadline_us = deadline_us;
}

static orm_status commit(ormd_connection *base, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	orm_status status;
	int rc;

	if (!connection->in_transaction && !base->lost)
		return orm_fail(error, ORM_EDATABASE, "the transaction is gone: an earlier failure ended it");
	status = ormd_mysql_ready(connection, error);
	if (status != ORM_OK) {
		rollback(base);
		return status;
	}
	connection->committing = true;
	ormd_mysql_enter(connection);
	rc = mysql_query(connection->handle, "COMMIT");
	ormd_mysql_leave();
	connection->committing = false;
	connection->in_transaction = false;
	return rc == 0 ? ORM_OK : ormd_mysql_fail_commit(connection, error);
}

/* ---- savepoints --------------------------------------------------------------------------------------------- */

/* One statement, or two in one round trip. Outside a transaction the server would take them for nothing. */
static orm_status run_savepoint(ormd_connection *base, const char *before, const char *between, unsigned level,
				orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	orm_status status = ormd_mysql_ready(connection, error);
	char sql[128];

	if (status == ORM_OK && !connection->in_transaction)
		status = orm_fail(error, ORM_EDATABASE, "the transaction is gone: an earlier failure ended it");
	if (status != ORM_OK)
		return status;
	if (between)
		snprintf(sql, sizeof sql, "%s ormd_%u; %s ormd_%u", before, level, between, level);
	else
		snprintf(sql, sizeof sql, "%s ormd_%u", before, level);
	return ormd_mysql_execute(connection, sql, error);
}

static orm_status savepoint(ormd_connection *base, unsigned level, orm_error *error)
{
	return run_savepoint(base, "SAVEPOINT", NULL, level, error);
}

static orm_status release(ormd_connection *base, unsigned level, orm_error *error)
{
	return run_savepoint(base, "RELEASE SAVEPOINT", NULL, level, error);
}

static orm_status rollback_to(ormd_connection *base, unsigned level, orm_error *error)
{
	return run_savepoint(base, "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT", level, error);
}

/* ---- beside transactions ------------------------------------------------------------------------------------ */

static orm_status run(ormd_connection *base, const char *sql, orm_error *error)
{
	mysql_connection *connection = mysql_of(base);
	const orm_status status = ormd_mysql_start(connection, error);

	return status == ORM_OK ? ormd_mysql_execute(connection, sql, error) : status;
}

/* A server says nothing unasked but that it goes. */
static bool is_closed(ormd_connection *base)
{
	struct pollfd fd = {.fd = mysql_get_socket(mysql_of(base)->handle), .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static bool is_alive(ormd_connection *base)
{
	mysql_connection *connection = mysql_of(base);
	const int64_t deadline_us = base->deadline_us;
	bool alive;

	if (base->deadline_us == 0)
		base->deadline_us = orm_clock_us() + ROLLBACK_US;
	alive = ormd_mysql_ready(connection, NULL) == ORM_OK;
	if (alive) {
		ormd_mysql_enter(connection);
		alive = mysql_ping(connection->handle) == 0;
		ormd_mysql_leave();
		if (!alive)
			ormd_mysql_fail_handle(connection, NULL, NULL);
	}
	base->deadline_us = deadline_us;
	return alive && !base->lost;
}

const ormd_driver ormd_driver_mysql = {
	.name = "mysql",
	.dialect = &ormd_dialect_mysql,
	.single_writer = false,
	.open = ormd_mysql_open,
	.close = ormd_mysql_close,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.in_transaction = in_transaction,
	.savepoint = savepoint,
	.release = release,
	.rollback_to = rollback_to,
	.run = run,
	.write = ormd_mysql_write,
	.query = ormd_mysql_query,
	.fetch = ormd_mysql_fetch,
	.close_cursor = ormd_mysql_close_cursor,
	.interrupt = ormd_mysql_interrupt,
	.reserve_keys = ormd_mysql_reserve_keys,
	.prepare_database = ormd_mysql_prepare_database,
	.is_closed = is_closed,
	.is_alive = is_alive,
	.end_backend = ormd_mysql_end_backend,
};
