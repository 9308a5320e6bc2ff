/* SPDX-License-Identifier: MIT */
/*
 * Asking a server to cancel a statement takes a connection of its own, and libpq makes it blocking: on a dead network
 * that lasts for minutes. So a thread does it, and who waits for it may stop waiting. Up to libpq 16 that connection is
 * not encrypted, even where the statement's is; all it carries is the session's number and its secret key.
 */
#include "driver/postgresql_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"

struct pg_cancel {
	PGcancel *handle;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool done;
	bool abandoned; /* whoever comes last frees */
};

static void free_cancel(pg_cancel *cancel)
{
	PQfreeCancel(cancel->handle);
	pthread_cond_destroy(&cancel->asked);
	pthread_mutex_destroy(&cancel->lock);
	free(cancel);
}

static void *ask(void *context)
{
	pg_cancel *cancel = context;
	char message[256];

	(void)PQcancel(cancel->handle, message,
		       sizeof message); /* if it fails, the statement goes on, and its user gives up */
	pthread_mutex_lock(&cancel->lock);
	cancel->done = true;

	const bool abandoned = cancel->abandoned;

	pthread_cond_signal(&cancel->asked);
	pthread_mutex_unlock(&cancel->lock);
	if (abandoned)
		free_cancel(cancel);
	return NULL;
}

pg_cancel *ormd_pg_cancel_start(PGconn *handle)
{
	pg_cancel *cancel = calloc(1, sizeof *cancel);
	pthread_condattr_t monotonic;
	pthread_t thread;

	if (!cancel)
		return NULL;
	cancel->handle = PQgetCancel(handle);
	pthread_mutex_init(&cancel->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&cancel->asked, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (!cancel->handle || !orm_thread_start(&thread, ask, cancel)) {
		free_cancel(cancel);
		return NULL;
	}
	pthread_detach(thread);
	return cancel;
}

bool ormd_pg_cancel_is_done(pg_cancel *cancel)
{
	pthread_mutex_lock(&cancel->lock);

	const bool done = cancel->done;

	pthread_mutex_unlock(&cancel->lock);
	return done;
}

bool ormd_pg_cancel_end(pg_cancel *cancel, int64_t deadline_us)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);

	const int64_t left_ms = orm_deadline_left_ms(deadline_us);

	until.tv_sec += (time_t)(left_ms / 1000);
	until.tv_nsec += (long)(left_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&cancel->lock);
	while (!cancel->done && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&cancel->asked, &cancel->lock, &until);

	const bool done = cancel->done;

	cancel->abandoned = !done;
	pthread_mutex_unlock(&cancel->lock);
	if (done)
		free_cancel(cancel);
	return done;
}
