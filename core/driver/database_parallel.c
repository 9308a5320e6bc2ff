/* SPDX-License-Identifier: MIT */
/*
 * Units side by side, on engines with a server of their own: each in a transaction on a connection from the pool, one
 * after the other on each worker's thread. The engine groups their commits itself.
 */
#include "driver/database_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/thread.h"

#define MAX_TRIES        8
#define FIRST_PAUSE_US   1000
#define LONGEST_PAUSE_US 200000

/* ---- lost connections --------------------------------------------------------------------------------------- */

void ormd_database_note_lost(ormd_database *database, const ormd_connection *connection)
{
	lost_backend *lost = connection->backend[0] && database->driver->end_backend ? malloc(sizeof *lost) : NULL;

	if (!lost) /* then its locks hold others up until the engine notices by itself */
		return;
	memcpy(lost->backend, connection->backend, sizeof lost->backend);
	pthread_mutex_lock(&database->lock);
	lost->next = database->lost;
	database->lost = lost;
	pthread_mutex_unlock(&database->lock);
}

void ormd_database_end_lost(ormd_database *database, ormd_connection *connection)
{
	pthread_mutex_lock(&database->lock);

	lost_backend *list = database->lost;

	database->lost = NULL;
	pthread_mutex_unlock(&database->lock);
	while (list) {
		lost_backend *lost = list;
		orm_error error;

		list = lost->next;
		/* A commit in doubt does not depend on it: inserting its id waits for the other transaction's end. */
		if (database->driver->end_backend(connection, lost->backend, &error) != ORM_OK)
			ormd_database_log(database, LOG_WARNING,
					  "a lost connection's transaction may still be under way: %s", error.message);
		free(lost);
	}
}

/* ---- one job ------------------------------------------------------------------------------------------------ */

static orm_status commit(ormd_connection *connection, ormd_job *job)
{
	const int64_t patient_us = orm_deadline_in_ms(COMMIT_MS);
	orm_status status;

	if (connection->deadline_us < patient_us)
		connection->deadline_us = patient_us;
	if (!job->bookkeeping)
		orm_crash_point("before-commit");
	status = connection->driver->commit(connection, &job->error);
	if (!job->bookkeeping)
		orm_crash_point("after-commit");
	return status;
}

static orm_status run_in_transaction(ormd_connection *connection, ormd_job *job)
{
	const ormd_driver *driver = connection->driver;
	orm_status status = driver->begin(connection, job->isolation, &job->error);

	if (status == ORM_OK)
		status = job->run(connection, job->context, &job->error);

	const bool is_open = !connection->lost && driver->in_transaction(connection);
	const bool may_have_ended = job->alone && !driver->dialect->transactional_ddl;

	if (status == ORM_OK && !is_open && !may_have_ended)
		status = orm_fail(&job->error, ORM_EDATABASE,
				  "the transaction ended before the unit did; nothing was written");
	/* No check_deferred: nothing but this unit is in the transaction, so its COMMIT may be the one to be refused; a
	 * round trip less. */
	if (status == ORM_OK && job->end == ORMD_JOB_COMMIT && is_open)
		return commit(connection, job);
	if (!connection->lost)
		driver->rollback(connection);
	return status;
}

/* *again: the same may go well in another try. */
static orm_status try_job(ormd_database *database, ormd_job *job, bool *again)
{
	ormd_connection *connection;
	orm_status status;

	*again = false;
	orm_error_clear(&job->error);
	if (job->deadline_us <= orm_clock_us())
		return orm_fail(&job->error, ORM_ETIMEOUT,
				"the unit did not get its turn to write in time; nothing was done");
	connection = ormd_pool_take(database->writers, job->deadline_us, &job->error);
	if (!connection)
		return job->error.code;
	ormd_database_end_lost(database, connection);
	connection->deadline_us = job->deadline_us;
	status = run_in_transaction(connection, job);
	*again = status == ORM_ERETRY || status == ORM_EUNKNOWN || (status == ORM_EUNAVAILABLE && connection->lost);
	if (connection->lost)
		ormd_database_note_lost(database, connection);
	ormd_pool_give(connection);
	return status;
}

/* Were this the end of a try to find out what became of a commit, would that still be unknown? */
static bool tells_nothing(orm_status status)
{
	switch (status) {
	case ORM_ERETRY:
	case ORM_EUNKNOWN:
	case ORM_EUNAVAILABLE:
	case ORM_ETIMEOUT:
	case ORM_ECANCELLED:
	case ORM_ENOMEM:
		return true;
	default:
		return false;
	}
}

/* Those that got into each other's way should not meet again at once. */
static void pause_before_try(int64_t *longest_us, int64_t deadline_us)
{
	const int64_t left_us = deadline_us - orm_clock_us();
	const uint64_t random = orm_hash_u64((uint64_t)orm_clock_us() ^ (uint64_t)(uintptr_t)longest_us);
	int64_t us = (int64_t)(random % (uint64_t)*longest_us);

	if (us > left_us)
		us = left_us > 0 ? left_us : 0;
	nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
	if (*longest_us < LONGEST_PAUSE_US)
		*longest_us *= 2;
}

static orm_status run_job(ormd_database *database, ormd_job *job, uint64_t *n_again)
{
	int64_t pause_us = FIRST_PAUSE_US;
	bool in_doubt = false;
	bool again = false;
	orm_status status;

	*n_again = 0;
	for (;;) {
		status = try_job(database, job, &again);
		in_doubt = in_doubt || status == ORM_EUNKNOWN;
		if (!again || *n_again + 1 == MAX_TRIES || orm_clock_us() >= job->deadline_us)
			break;
		++*n_again;
		pause_before_try(&pause_us, job->deadline_us);
	}
	if (in_doubt && status != ORM_OK && tells_nothing(status)) {
		char said[256];

		snprintf(said, sizeof said, "%.255s", job->error.message);
		return orm_fail(&job->error, ORM_EUNKNOWN,
				"the connection was lost during the commit, and its outcome could not be asked yet: %s",
				said);
	}
	if (in_doubt)
		ormd_database_log(database, LOG_INFO,
				  "a commit was in doubt, since its connection was lost; its id told what became of it "
				  "(%s, tries: %d)",
				  orm_status_name(status), (int)*n_again + 1);
	if (status != ORM_OK && job->error.code != status)
		orm_fail(&job->error, status, "the unit failed without saying why (%s)", orm_status_name(status));
	return status;
}

/* ---- workers ------------------------------------------------------------------------------------------------ */

/* Locked. */
static void count(ormd_database *database, const ormd_job *job, uint64_t n_again)
{
	ormd_database_stats *stats = &database->stats;

	stats->retried += n_again;
	if (job->status != ORM_OK) {
		stats->failed++;
	} else if (job->end == ORMD_JOB_ROLLBACK) {
		stats->rolled_back++;
	} else if (!job->bookkeeping) {
		stats->commits++;
		stats->groups++;
	}
}

static void *work(void *context)
{
	ormd_database *database = context;

	pthread_mutex_lock(&database->lock);
	for (;;) {
		ormd_job *job = ormd_job_list_take(&database->queue);
		uint64_t n_again;

		if (!job && database->closing)
			break;
		if (!job) {
			database->n_idle_workers++;
			pthread_cond_broadcast(&database->idle);
			pthread_cond_wait(&database->work_came, &database->lock);
			database->n_idle_workers--;
			continue;
		}
		database->stats.waiting--;
		pthread_mutex_unlock(&database->lock);
		job->status = run_job(database, job, &n_again);
		pthread_mutex_lock(&database->lock);
		count(database, job, n_again);
		pthread_mutex_unlock(&database->lock);
		job->done(job->status, &job->error, job->context); /* the job may be gone afterwards */
		pthread_mutex_lock(&database->lock);
	}
	pthread_mutex_unlock(&database->lock);
	return NULL;
}

bool ormd_database_call_worker(ormd_database *database)
{
	pthread_cond_signal(&database->work_came);
	if (database->stats.waiting > database->n_idle_workers && database->n_workers < database->max_workers &&
	    orm_thread_start(&database->workers[database->n_workers], work, database))
		database->n_workers++;
	return database->n_workers > 0;
}

void ormd_database_join_workers(ormd_database *database)
{
	for (size_t i = 0; i < database->n_workers; i++)
		pthread_join(database->workers[i], NULL);
}
