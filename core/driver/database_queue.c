/* SPDX-License-Identifier: MIT */
/*
 * Jobs, and whose turn it is to write.
 *
 * Where units are written side by side (database_parallel.c), workers take the jobs from the queue. Where one
 * connection writes, the lead is a token: `leading` says that somebody has it, and only who has it touches the writer's
 * connection. It is never dropped while jobs are queued, but passed: to the thread that has waited longest, else to the
 * database's own thread. So every job in the queue has a leader that will come to it.
 */
#include "driver/database_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#define MAX_GROUPS_LED 8 /* then somebody else leads: this thread's caller wants to go on */

void ormd_job_list_append(job_list *list, ormd_job *job)
{
	job->next = NULL;
	*(list->last ? &list->last->next : &list->first) = job;
	list->last = job;
}

ormd_job *ormd_job_list_take(job_list *list)
{
	ormd_job *job = list->first;

	if (job) {
		list->first = job->next;
		if (!list->first)
			list->last = NULL;
		job->next = NULL;
	}
	return job;
}

static bool remove_job(job_list *list, ormd_job *job)
{
	ormd_job *before = NULL;

	for (ormd_job *here = list->first; here; before = here, here = here->next) {
		if (here != job)
			continue;
		*(before ? &before->next : &list->first) = job->next;
		if (list->last == job)
			list->last = before;
		return true;
	}
	return false;
}

ormd_job *ormd_database_next_job(ormd_database *database, bool group_is_empty)
{
	ormd_job *job = NULL;

	pthread_mutex_lock(&database->lock);
	if (database->queue.first && (group_is_empty || !database->queue.first->alone)) {
		job = ormd_job_list_take(&database->queue);
		database->stats.waiting--;
	}
	pthread_mutex_unlock(&database->lock);
	return job;
}

/* ---- who waits ---------------------------------------------------------------------------------------------- */

static void add_waiter(ormd_database *database, database_waiter *waiter)
{
	database_waiter **end = &database->waiters;

	while (*end)
		end = &(*end)->next;
	*end = waiter;
	if (waiter->reads)
		database->n_readers_waiting++;
}

static void remove_waiter(ormd_database *database, database_waiter *waiter)
{
	database_waiter **place = &database->waiters;

	while (*place != waiter)
		place = &(*place)->next;
	*place = waiter->next;
	if (waiter->reads)
		database->n_readers_waiting--;
}

/* ---- the lead ----------------------------------------------------------------------------------------------- */

static void become_leader(ormd_database *database)
{
	database->leading = true;
	database->leader = pthread_self();
	database->leader_known = true;
}

bool ormd_database_is_leader(ormd_database *database)
{
	pthread_mutex_lock(&database->lock);

	const bool leads =
		database->leading && database->leader_known && pthread_equal(database->leader, pthread_self());

	pthread_mutex_unlock(&database->lock);
	return leads;
}

static void *thread_main(void *context);

/* Locked. False: there is no thread, and none can be made. */
static bool wake_thread(ormd_database *database)
{
	if (!database->thread_exists)
		database->thread_exists = orm_thread_start(&database->thread, thread_main, database);
	if (!database->thread_exists)
		return false;
	database->thread_leads = true;
	pthread_cond_signal(&database->thread_wakes);
	return true;
}

/* Pass the lead on to who needs it; false: nobody can take it although there is work. Locked. */
static bool pass_lead(ormd_database *database)
{
	database_waiter *waiter = database->waiters;

	database->leader_known = false;
	if (waiter) {
		waiter->leads = true;
		pthread_cond_signal(&waiter->woken);
		return true;
	}
	if (database->queue.first)
		return wake_thread(database);
	database->leading = false;
	pthread_cond_broadcast(&database->idle);
	return true;
}

/* Run what is queued, for a while; then pass the lead on. The lead is this thread's. Locked, but not while jobs run. */
static void lead(ormd_database *database)
{
	do {
		become_leader(database);
		for (int i = 0; i < MAX_GROUPS_LED && database->queue.first; i++) {
			pthread_mutex_unlock(&database->lock);
			ormd_database_run_group(database);
			pthread_mutex_lock(&database->lock);
			if (database->n_readers_waiting > 0) /* for a private database's only connection */
				break;
		}
	} while (!pass_lead(database));
}

static void *thread_main(void *context)
{
	ormd_database *database = context;

	pthread_mutex_lock(&database->lock);
	while (!database->closing) {
		if (database->thread_leads) {
			database->thread_leads = false;
			lead(database);
		} else {
			pthread_cond_wait(&database->thread_wakes, &database->lock);
		}
	}
	pthread_mutex_unlock(&database->lock);
	return NULL;
}

bool ormd_database_take_lead(ormd_database *database, int64_t deadline_us)
{
	database_waiter waiter = {.reads = true};

	if (database->leading) {
		if (!ormd_condition_init(&waiter.woken))
			return false;
		add_waiter(database, &waiter);
		while (!waiter.leads && ormd_condition_wait(&waiter.woken, &database->lock, deadline_us))
			continue;
		remove_waiter(database, &waiter);
		pthread_cond_destroy(&waiter.woken);
		if (!waiter.leads)
			return false;
	}
	become_leader(database);
	return true;
}

void ormd_database_give_lead(ormd_database *database)
{
	if (!pass_lead(database))
		lead(database);
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

/* Locked. */
static void enqueue(ormd_database *database, ormd_job *job)
{
	assert(job->run && job->done);
	if (job->deadline_us == 0)
		job->deadline_us = orm_deadline_in_ms(database->wait_ms);
	job->status = ORM_OK;
	orm_error_clear(&job->error);
	ormd_job_list_append(&database->queue, job);
	database->stats.waiting++;
}

/* Nobody can run it. Locked. */
static orm_status refuse(ormd_database *database, ormd_job *job, orm_error *error)
{
	if (remove_job(&database->queue, job))
		database->stats.waiting--;
	database->stats.failed++;
	return orm_fail(error, ORM_ENOMEM, "no thread can be made to write the unit; nothing was done");
}

void ormd_database_submit(ormd_database *database, ormd_job *job)
{
	orm_status status = ORM_OK;

	pthread_mutex_lock(&database->lock);
	enqueue(database, job);
	if (database->writers) {
		if (!ormd_database_call_worker(database))
			status = refuse(database, job, &job->error);
	} else if (!database->leading) {
		database->leading = true;
		if (!database->own_thread || !wake_thread(database))
			lead(database);
	}
	pthread_mutex_unlock(&database->lock);
	if (status != ORM_OK)
		job->done(job->status = status, &job->error, job->context);
}

/* A job whose caller waits: stands in the queue for the caller's own. */
typedef struct waiting_job {
	ormd_job job;
	ormd_job *original;
	ormd_database *database;
	database_waiter waiter;
	orm_status status;
	orm_error error;
} waiting_job;

static orm_status run_original(ormd_connection *connection, void *context, orm_error *error)
{
	const waiting_job *waiting = context;

	return waiting->original->run(connection, waiting->original->context, error);
}

static void end_waiting(orm_status status, const orm_error *error, void *context)
{
	waiting_job *waiting = context;

	pthread_mutex_lock(&waiting->database->lock);
	waiting->status = status;
	waiting->error = *error;
	waiting->waiter.done = true;
	remove_waiter(waiting->database, &waiting->waiter); /* so that the lead does not come back to it */
	pthread_cond_signal(&waiting->waiter.woken);
	pthread_mutex_unlock(&waiting->database->lock);
}

/* Wait until the job is done, leading if that falls to this thread. Locked. */
static void wait_for_job(ormd_database *database, waiting_job *waiting)
{
	database_waiter *waiter = &waiting->waiter;
	int64_t deadline_us = waiting->job.deadline_us;

	for (;;) {
		if (waiter->leads) {
			waiter->leads = false;
			lead(database);
		} else if (waiter->done) {
			return;
		} else if (!ormd_condition_wait(&waiter->woken, &database->lock, deadline_us)) {
			/* Once it runs it cannot be called off: then wait for its end, however long. */
			deadline_us = ORM_NO_DEADLINE;
			if (remove_job(&database->queue, &waiting->job)) {
				database->stats.waiting--;
				database->stats.failed++;
				waiter->done = true;
				remove_waiter(database, waiter);
				waiting->status =
					orm_fail(&waiting->error, ORM_ETIMEOUT,
						 "the unit did not get its turn to write in time; nothing was done");
			}
		}
	}
}

orm_status ormd_database_run(ormd_database *database, ormd_job *job, orm_error *error)
{
	waiting_job waiting = {
		.job = {.run = run_original,
			.done = end_waiting,
			.context = &waiting,
			.end = job->end,
			.deadline_us = job->deadline_us,
			.isolation = job->isolation,
			.alone = job->alone,
			.bookkeeping = job->bookkeeping},
		.original = job,
		.database = database,
	};

	assert(!ormd_database_is_leader(database)); /* it would wait for itself */
	if (!ormd_condition_init(&waiting.waiter.woken)) {
		orm_fail(&waiting.error, waiting.status = ORM_ENOMEM, "out of memory");
	} else {
		pthread_mutex_lock(&database->lock);
		enqueue(database, &waiting.job);
		if (!database->writers && !database->leading) {
			database->leading = true;
			waiting.waiter.leads = true;
		}
		if (database->writers && !ormd_database_call_worker(database)) {
			waiting.status = refuse(database, &waiting.job, &waiting.error);
		} else {
			add_waiter(database, &waiting.waiter);
			wait_for_job(database, &waiting);
		}
		pthread_mutex_unlock(&database->lock);
		pthread_cond_destroy(&waiting.waiter.woken);
	}
	job->status = waiting.status;
	job->error = waiting.error;
	if (error)
		*error = waiting.error;
	if (job->done)
		job->done(waiting.status, &waiting.error, job->context);
	return waiting.status;
}

void ormd_database_stats_get(const ormd_database *database, ormd_database_stats *stats)
{
	/* Only the lock is changed, which is no part of what the caller sees. */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&database->lock;

	pthread_mutex_lock(lock);
	*stats = database->stats;
	pthread_mutex_unlock(lock);
}
