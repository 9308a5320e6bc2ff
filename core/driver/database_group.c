/* SPDX-License-Identifier: MIT */
/*
 * Group commit: one transaction for the jobs that come while it is open, each undone by itself if it fails.
 *
 * The first job of a transaction needs no savepoint: if it fails, there is nothing else to keep. A failure that ends
 * the whole transaction (disk full, a cancelled statement) takes innocent jobs with it; these run again, each in a
 * transaction of its own. So do all jobs of a group whose COMMIT is refused.
 */
#include "driver/database_internal.h"

#include <syslog.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/error.h"

#define MAX_GROUP_JOBS 64
#define LONG_LOG_SIZE  (64 * 1024 * 1024) /* bytes; worth a warning */

typedef struct job_group {
	ormd_database *database;
	bool is_open;     /* a transaction is */
	job_list written; /* ran well, to be committed */
	size_t n_written;
	job_list told;  /* finished: `done` is to be called */
	job_list again; /* undone by no fault of theirs */
} job_group;

static void finish(job_group *group, ormd_job *job, orm_status status)
{
	job->status = status;
	if (status == ORM_OK)
		orm_error_clear(&job->error);
	else if (job->error.code != status)
		orm_fail(&job->error, status, "the unit failed without saying why (%s)", orm_status_name(status));
	ormd_job_list_append(&group->told, job);
}

void ormd_database_close_writer(ormd_database *database)
{
	if (database->is_private) /* which would take all data with it */
		return;
	database->driver->close(database->writer);
	database->writer = NULL; /* the next transaction opens it again */
	pthread_mutex_lock(&database->lock);
	ormd_database_forget_keys(database);
	pthread_mutex_unlock(&database->lock);
}

static void roll_back(job_group *group)
{
	ormd_database *database = group->database;

	database->driver->rollback(database->writer);
	if (database->driver->in_transaction(database->writer))
		ormd_database_close_writer(database); /* which no transaction survives */
	group->is_open = false;
}

static void run_again(job_group *group, ormd_job *job)
{
	const int64_t deadline_us = orm_deadline_in_ms(group->database->wait_ms);

	if (job->deadline_us < deadline_us) /* it had got its turn in time */
		job->deadline_us = deadline_us;
	ormd_job_list_append(&group->again, job);
}

/* Jobs that only look have seen what others wrote in the same transaction, and that is not to be. */
static void look_again(job_group *group)
{
	job_list told = group->told;

	group->told = (job_list){0};
	for (ormd_job *job; (job = ormd_job_list_take(&told));) {
		if (job->end == ORMD_JOB_ROLLBACK && job->status == ORM_OK)
			run_again(group, job);
		else
			ormd_job_list_append(&group->told, job);
	}
}

/* The transaction is over and what was written in it is gone. */
static void lose(job_group *group)
{
	if (group->is_open)
		roll_back(group);
	if (group->n_written > 0)
		look_again(group);
	group->n_written = 0;
	for (ormd_job *job; (job = ormd_job_list_take(&group->written));)
		run_again(group, job);
}

void ormd_database_look_for_others(ormd_database *database)
{
	if (database->is_private || !database->driver->changed_by_others ||
	    !database->driver->changed_by_others(database->writer))
		return;
	pthread_mutex_lock(&database->lock);
	database->stats.external++;
	ormd_database_forget_keys(database);
	pthread_mutex_unlock(&database->lock);
	ormd_database_log(database, LOG_WARNING,
			  "another program has written to %s; let all programs write through ormd", database->url);
}

/* Begin, for this job. Somebody else may hold the database: try until the job's time is up. */
static orm_status open_transaction(job_group *group, ormd_job *job)
{
	ormd_database *database = group->database;
	orm_status status = database->writer ? ORM_OK : ormd_database_open_writer(database, &job->error);

	if (status != ORM_OK)
		return status;
	do
		status = database->driver->begin(database->writer, ORM_ISOLATION_DEFAULT, &job->error);
	while (status == ORM_ETIMEOUT && orm_clock_us() < job->deadline_us);
	if (status != ORM_OK)
		return status;
	group->is_open = true;
	ormd_database_look_for_others(database);
	return ORM_OK;
}

/* Take back what the job wrote, and only that if possible. */
static void undo(job_group *group, bool in_savepoint)
{
	const ormd_driver *driver = group->database->driver;

	if (!in_savepoint || driver->rollback_to(group->database->writer, 1, NULL) != ORM_OK)
		lose(group);
}

static void run_job(job_group *group, ormd_job *job)
{
	const ormd_driver *driver = group->database->driver;
	const bool in_savepoint = group->n_written > 0;
	orm_status status;

	if (job->deadline_us <= orm_clock_us()) {
		orm_fail(&job->error, ORM_ETIMEOUT, "the unit did not get its turn to write in time; nothing was done");
		finish(group, job, ORM_ETIMEOUT);
		return;
	}
	status = group->is_open ? ORM_OK : open_transaction(group, job);
	if (status != ORM_OK) {
		finish(group, job, status);
		return;
	}

	ormd_connection *writer = group->database->writer;

	if (in_savepoint)
		status = driver->savepoint(writer, 1, &job->error);
	if (status != ORM_OK) {
		lose(group);
		finish(group, job, status);
		return;
	}
	status = job->run(writer, job->context, &job->error);
	if (!driver->in_transaction(writer)) {
		if (status == ORM_OK)
			status = orm_fail(&job->error, ORM_EDATABASE,
					  "the transaction ended before the unit did; nothing was written");
		lose(group);
		finish(group, job, status);
		return;
	}
	if (status == ORM_OK && job->end == ORMD_JOB_COMMIT && driver->check_deferred)
		status = driver->check_deferred(writer, &job->error);
	if (status == ORM_OK && job->end == ORMD_JOB_COMMIT && in_savepoint)
		status = driver->release(writer, 1, &job->error);
	if (status == ORM_OK && job->end == ORMD_JOB_COMMIT) {
		ormd_job_list_append(&group->written, job);
		group->n_written++;
		return;
	}
	undo(group, in_savepoint);
	finish(group, job, status);
}

/* All that was written gets this end. */
static void finish_written(job_group *group, orm_status status, const orm_error *error)
{
	for (ormd_job *job; (job = ormd_job_list_take(&group->written));) {
		if (status != ORM_OK)
			job->error = *error;
		finish(group, job, status);
	}
}

static void commit(job_group *group)
{
	ormd_database *database = group->database;
	orm_error error;
	orm_status status;

	if (group->n_written == 0) {
		if (group->is_open)
			roll_back(group);
		return;
	}
	orm_crash_point("before-commit");
	status = database->driver->commit(database->writer, &error);
	orm_crash_point("after-commit");
	group->is_open = false;
	if (status != ORM_OK)
		roll_back(group);
	if (status != ORM_OK && status != ORM_EUNKNOWN && group->n_written > 1) {
		lose(group);
		return;
	}
	if (status != ORM_OK)
		look_again(group);
	finish_written(group, status, &error);
	if (status == ORM_EUNKNOWN) {
		/* What this connection believes of the log is not to be trusted any more. */
		ormd_database_log(database, LOG_ERR, "%s: %s", database->url, error.message);
		if (database->writer)
			ormd_database_close_writer(database);
	}
}

static void count(job_group *group)
{
	ormd_database *database = group->database;
	uint64_t n_committed = 0;
	uint64_t n_failed = 0;
	uint64_t n_looked = 0;

	for (const ormd_job *job = group->told.first; job; job = job->next) {
		n_failed += job->status != ORM_OK;
		n_looked += job->status == ORM_OK && job->end == ORMD_JOB_ROLLBACK;
		n_committed += job->status == ORM_OK && job->end == ORMD_JOB_COMMIT;
	}
	pthread_mutex_lock(&database->lock);
	database->stats.commits += n_committed;
	database->stats.groups += n_committed > 0;
	database->stats.failed += n_failed;
	database->stats.rolled_back += n_looked;
	pthread_mutex_unlock(&database->lock);
}

static void tell(job_group *group)
{
	count(group);
	for (ormd_job *job; (job = ormd_job_list_take(&group->told));)
		job->done(job->status, &job->error, job->context); /* the job may be gone afterwards */
}

static void maintain(ormd_database *database)
{
	if (!database->writer || !database->driver->maintain)
		return;

	const uint64_t behind = database->driver->maintain(database->writer);

	if (behind >= LONG_LOG_SIZE && !database->log_is_long)
		ormd_database_log(database, LOG_WARNING,
				  "%s: %llu MiB of the log wait to be moved into the database; some reader holds its "
				  "snapshot for too long",
				  database->url, (unsigned long long)(behind >> 20));
	database->log_is_long = behind >= LONG_LOG_SIZE;
}

static void run_alone(ormd_database *database, ormd_job *job)
{
	job_group alone = {.database = database};

	orm_error_clear(&job->error);
	run_job(&alone, job);
	commit(&alone);
	tell(&alone);
}

void ormd_database_run_group(ormd_database *database)
{
	job_group group = {.database = database};
	int64_t end_us = 0;

	for (size_t n_jobs = 0; n_jobs < MAX_GROUP_JOBS; n_jobs++) {
		ormd_job *job = ormd_database_next_job(database, group.n_written == 0);

		if (!job)
			break;

		const bool alone = job->alone;

		run_job(&group, job);
		if (end_us == 0)
			end_us = orm_clock_us() + database->max_group_us;
		if (alone || group.again.first || (group.n_written > 0 && orm_clock_us() >= end_us))
			break;
	}
	commit(&group);
	tell(&group);
	for (ormd_job *job; (job = ormd_job_list_take(&group.again));)
		run_alone(database, job);
	maintain(database);
}
