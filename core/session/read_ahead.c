/* SPDX-License-Identifier: MIT */
#include "session/read_ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/thread.h"

typedef struct read_fetch {
	orm_batch_builder builder;
	size_t n_rows;
	bool done;
	orm_status status;
	orm_error error;
} read_fetch;

struct ormd_read_ahead {
	ormd_cursor *cursor;
	size_t max_rows, max_size;
	pthread_t thread;

	pthread_mutex_t lock; /* for all that follows; but a fetch that is not among the full ones is the thread's */
	pthread_cond_t changed;
	read_fetch fetches[ORMD_READ_AHEAD_DEPTH];
	size_t first, n_full; /* a ring */
	bool stopping;
	bool ended; /* the thread reads no more */
};

static bool has_ended(const read_fetch *fetch)
{
	return fetch->done || fetch->status != ORM_OK;
}

static void fetch_rows(ormd_read_ahead *ahead, read_fetch *fetch)
{
	const ormd_driver *driver = ahead->cursor->connection->driver;

	orm_batch_builder_reset(&fetch->builder);
	fetch->n_rows = 0;
	fetch->done = false;
	fetch->status = driver->fetch(ahead->cursor, &fetch->builder, ahead->max_rows, ahead->max_size, &fetch->n_rows,
				      &fetch->done, &fetch->error);
}

static void *read_all(void *context)
{
	ormd_read_ahead *ahead = context;

	pthread_mutex_lock(&ahead->lock);
	while (!ahead->stopping && !ahead->ended) {
		read_fetch *fetch = &ahead->fetches[(ahead->first + ahead->n_full) % ORMD_READ_AHEAD_DEPTH];

		if (ahead->n_full == ORMD_READ_AHEAD_DEPTH) {
			pthread_cond_wait(&ahead->changed, &ahead->lock);
			continue;
		}
		pthread_mutex_unlock(&ahead->lock);
		fetch_rows(ahead, fetch);
		pthread_mutex_lock(&ahead->lock);
		ahead->n_full++;
		ahead->ended = has_ended(fetch);
		pthread_mutex_unlock(&ahead->lock);
		pthread_cond_signal(&ahead->changed);
		pthread_mutex_lock(&ahead->lock);
	}
	ahead->ended = true;
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

static void free_ahead(ormd_read_ahead *ahead)
{
	for (size_t i = 0; i < ORMD_READ_AHEAD_DEPTH; i++)
		orm_batch_builder_fini(&ahead->fetches[i].builder);
	pthread_cond_destroy(&ahead->changed);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
}

ormd_read_ahead *ormd_read_ahead_start(ormd_cursor *cursor, const orm_mapper *mapper, size_t max_rows, size_t max_size)
{
	ormd_read_ahead *ahead = calloc(1, sizeof *ahead);
	bool ready = true;

	if (!ahead)
		return NULL;
	ahead->cursor = cursor;
	ahead->max_rows = max_rows;
	ahead->max_size = max_size;
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->changed, NULL);
	for (size_t i = 0; i < ORMD_READ_AHEAD_DEPTH && ready; i++)
		ready = orm_batch_builder_init(&ahead->fetches[i].builder, mapper, NULL, 0);
	if (!ready || !orm_thread_start(&ahead->thread, read_all, ahead)) {
		free_ahead(ahead);
		return NULL;
	}
	return ahead;
}

orm_status ormd_read_ahead_take(ormd_read_ahead *ahead, orm_batch_builder *builder, size_t *n_rows, bool *done,
				orm_error *error)
{
	pthread_mutex_lock(&ahead->lock);
	while (ahead->n_full == 0 && !ahead->ended)
		pthread_cond_wait(&ahead->changed, &ahead->lock);
	if (ahead->n_full == 0) {
		pthread_mutex_unlock(&ahead->lock);
		return orm_fail(error, ORM_EINTERNAL, "more was read than there is");
	}

	read_fetch *fetch = &ahead->fetches[ahead->first];
	const orm_batch_builder full = fetch->builder;
	const orm_status status = fetch->status;

	fetch->builder = *builder;
	*builder = full;
	*n_rows = fetch->n_rows;
	*done = fetch->done;
	if (status != ORM_OK && error)
		*error = fetch->error;
	ahead->first = (ahead->first + 1) % ORMD_READ_AHEAD_DEPTH;
	ahead->n_full--;
	pthread_mutex_unlock(&ahead->lock);
	pthread_cond_signal(&ahead->changed);
	return status;
}

void ormd_read_ahead_stop(ormd_read_ahead *ahead)
{
	ormd_connection *connection;

	if (!ahead)
		return;
	connection = ahead->cursor->connection;
	pthread_mutex_lock(&ahead->lock);
	ahead->stopping = true;
	if (!ahead->ended && ahead->n_full < ORMD_READ_AHEAD_DEPTH) /* it is reading, or about to */
		connection->driver->interrupt(connection);
	pthread_cond_signal(&ahead->changed);
	pthread_mutex_unlock(&ahead->lock);
	pthread_join(ahead->thread, NULL);
	free_ahead(ahead);
}
