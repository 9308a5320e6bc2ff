/* SPDX-License-Identifier: MIT */
/* Transactions that live longer than a call. */
#include "driver/database_internal.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/error.h"

static void give_lead(ormd_database *database)
{
	pthread_mutex_lock(&database->lock);
	ormd_database_give_lead(database);
	pthread_mutex_unlock(&database->lock);
}

/* Where one connection writes: the lead is the transaction's, whichever threads use it one after the other. */
static ormd_connection *take_writer(ormd_database *database, int64_t deadline_us, orm_error *error)
{
	pthread_mutex_lock(&database->lock);

	const bool in_time = ormd_database_take_lead(database, deadline_us);

	if (in_time)
		database->leader_known = false;
	pthread_mutex_unlock(&database->lock);
	if (!in_time) {
		orm_fail(error, ORM_ETIMEOUT,
			 "the transaction did not get its turn to write in time; another one is open, try again");
		return NULL;
	}
	if (!database->writer && ormd_database_open_writer(database, error) != ORM_OK) {
		give_lead(database);
		return NULL;
	}
	atomic_store(&database->writer_is_pinned, true);
	return database->writer;
}

/* `in_doubt`: a commit's outcome is not known. */
static void give_back(ormd_database *database, ormd_connection *connection, bool in_doubt)
{
	if (database->writers) {
		if (connection->lost)
			ormd_database_note_lost(database, connection);
		ormd_pool_give(connection);
		return;
	}
	database->driver->rollback(connection);
	connection->deadline_us = 0;
	if (in_doubt || database->driver->in_transaction(connection))
		ormd_database_close_writer(database); /* which no transaction survives */
	atomic_store(&database->writer_is_pinned, false);
	give_lead(database);
}

bool ormd_database_is_held(ormd_database *database)
{
	return database->is_private && atomic_load(&database->writer_is_pinned);
}

static orm_status begin(ormd_database *database, ormd_connection *connection, orm_isolation isolation,
			int64_t deadline_us, orm_error *error)
{
	orm_status status;

	do
		status = database->driver->begin(connection, isolation, error);
	while (status == ORM_ETIMEOUT && orm_clock_us() < deadline_us);
	if (status == ORM_OK && !database->writers)
		ormd_database_look_for_others(database);
	return status;
}

ormd_connection *ormd_database_pin(ormd_database *database, orm_isolation isolation, int64_t deadline_us,
				   orm_error *error)
{
	const int64_t own_deadline_us = orm_deadline_in_ms(database->wait_ms);
	ormd_connection *connection;

	if (own_deadline_us < deadline_us)
		deadline_us = own_deadline_us;
	connection = database->writers ? ormd_pool_take(database->pinned, deadline_us, error)
				       : take_writer(database, deadline_us, error);
	if (!connection)
		return NULL;
	if (database->writers)
		ormd_database_end_lost(database, connection);
	connection->deadline_us = database->writers ? deadline_us : 0; /* not to wait is no reason not to begin */
	if (begin(database, connection, isolation, deadline_us, error) == ORM_OK)
		return connection;
	give_back(database, connection, false);
	return NULL;
}

orm_status ormd_database_unpin(ormd_database *database, ormd_connection *connection, ormd_job_end end, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	orm_status status = ORM_OK;

	connection->deadline_us = orm_deadline_in_ms(COMMIT_MS);
	if (end == ORMD_JOB_COMMIT) {
		if (driver->check_deferred)
			status = driver->check_deferred(connection, error);
		orm_crash_point("before-commit");
		if (status == ORM_OK)
			status = driver->commit(connection, error);
		orm_crash_point("after-commit");
		if (status == ORM_EUNAVAILABLE && connection->lost)
			status = orm_fail(error, ORM_ERETRY, "the connection was lost before the commit");
	}
	give_back(database, connection, status == ORM_EUNKNOWN);
	pthread_mutex_lock(&database->lock);
	if (status != ORM_OK)
		database->stats.failed++;
	else if (end == ORMD_JOB_ROLLBACK)
		database->stats.rolled_back++;
	else
		database->stats.commits++, database->stats.groups++;
	pthread_mutex_unlock(&database->lock);
	return status;
}
