/* SPDX-License-Identifier: MIT */
#include "driver/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "driver/condition.h"

#define CHECK_IDLE_US                                                                                                  \
	INT64_C(30000000) /* a connection unused for so long is asked whether it lives: firewalls forget */
#define CLOSE_IDLE_US    INT64_C(600000000) /* unused for so long, it is closed */
#define CHECK_MS         2000               /* for an answer to that */
#define FIRST_PAUSE_US   20000              /* between tries to reach a server that is away */
#define LONGEST_PAUSE_US 500000

typedef struct idle_connection {
	ormd_connection *connection;
	int64_t since_us;
} idle_connection;

struct ormd_pool {
	const ormd_driver *driver;
	ormd_open_options open;
	char *url;
	const char *purpose;

	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t came_back;
	idle_connection *idle; /* the latest last */
	uint32_t n_idle, n_open, max;
	int64_t suspect_us; /* when a connection was found lost: what has been idle since before may be, too */
	bool answered;      /* the server has, once */
	uint64_t n_lost;
};

ormd_pool *ormd_pool_new(const ormd_driver *driver, const ormd_pool_options *options)
{
	ormd_pool *pool = calloc(1, sizeof *pool);

	if (!pool)
		return NULL;
	pool->driver = driver;
	pool->open = options->open;
	pool->purpose = options->purpose;
	pool->max = options->max_connections;
	pool->url = strdup(options->open.url);
	pool->open.url = pool->url;
	pool->idle = calloc(pool->max, sizeof *pool->idle);
	if (!pool->url || !pool->idle || pthread_mutex_init(&pool->lock, NULL) != 0)
		goto failed;
	if (ormd_condition_init(&pool->came_back))
		return pool;
	pthread_mutex_destroy(&pool->lock);
failed:
	free(pool->idle);
	free(pool->url);
	free(pool);
	return NULL;
}

void ormd_pool_free(ormd_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	while (pool->n_idle < pool->n_open)
		pthread_cond_wait(&pool->came_back, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	for (uint32_t i = 0; i < pool->n_idle; i++)
		pool->driver->close(pool->idle[i].connection);
	pthread_cond_destroy(&pool->came_back);
	pthread_mutex_destroy(&pool->lock);
	free(pool->idle);
	free(pool->url);
	free(pool);
}

/* One fewer is open. Locked. */
static void forget(ormd_pool *pool, bool lost)
{
	pool->n_open--;
	if (lost) {
		pool->n_lost++;
		pool->suspect_us = orm_clock_us();
	}
	pthread_cond_broadcast(&pool->came_back);
}

/* An idle one, or NULL with a place counted for a new one; false: the deadline passed. Locked. */
static bool find_place(ormd_pool *pool, int64_t deadline_us, idle_connection *found)
{
	*found = (idle_connection){0};
	while (pool->n_idle == 0 && pool->n_open == pool->max) {
		if (!ormd_condition_wait(&pool->came_back, &pool->lock, deadline_us))
			return false;
	}
	if (pool->n_idle > 0)
		*found = pool->idle[--pool->n_idle];
	else
		pool->n_open++;
	return true;
}

static bool is_good(ormd_pool *pool, const idle_connection *idle)
{
	bool good;

	if (pool->driver->is_closed && pool->driver->is_closed(idle->connection))
		return false;
	if (!pool->driver->is_alive)
		return true;
	pthread_mutex_lock(&pool->lock);

	const bool suspect = idle->since_us <= pool->suspect_us || orm_clock_us() - idle->since_us > CHECK_IDLE_US;

	pthread_mutex_unlock(&pool->lock);
	if (!suspect)
		return true;
	idle->connection->deadline_us = orm_deadline_in_ms(CHECK_MS);
	good = pool->driver->is_alive(idle->connection) && !idle->connection->lost;
	idle->connection->deadline_us = 0;
	return good;
}

static void pause_until(int64_t *pause_us, int64_t deadline_us)
{
	const int64_t left_us = deadline_us - orm_clock_us();
	const int64_t us = left_us < *pause_us ? (left_us > 0 ? left_us : 0) : *pause_us;
	const struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&time, NULL);
	if (*pause_us < LONGEST_PAUSE_US)
		*pause_us *= 2;
}

/* A place has been counted: fill it. */
static ormd_connection *open_one(ormd_pool *pool, int64_t deadline_us, orm_error *error)
{
	ormd_open_options options = pool->open;
	int64_t pause_us = FIRST_PAUSE_US;

	options.deadline_us = deadline_us;
	for (;;) {
		ormd_connection *connection = pool->driver->open(&options, error);

		pthread_mutex_lock(&pool->lock);
		if (connection)
			pool->answered = true;

		const bool may_come_back = pool->answered && !connection && error->code == ORM_EUNAVAILABLE &&
					   orm_clock_us() < deadline_us;

		if (!connection && !may_come_back)
			forget(pool, false);
		pthread_mutex_unlock(&pool->lock);
		if (connection)
			connection->pool = pool;
		if (!may_come_back)
			return connection;
		pause_until(&pause_us, deadline_us);
	}
}

ormd_connection *ormd_pool_take(ormd_pool *pool, int64_t deadline_us, orm_error *error)
{
	orm_error ignored;

	error = error ? error : &ignored;
	for (;;) {
		idle_connection found;

		pthread_mutex_lock(&pool->lock);

		const bool in_time = find_place(pool, deadline_us, &found);

		pthread_mutex_unlock(&pool->lock);
		if (!in_time) {
			orm_fail(error, ORM_ETIMEOUT,
				 "no connection for %s came free in time: all %u are in use; try again, or allow more",
				 pool->purpose, pool->max);
			return NULL;
		}
		if (!found.connection)
			return open_one(pool, deadline_us, error);
		if (is_good(pool, &found))
			return found.connection;
		pool->driver->close(found.connection);
		pthread_mutex_lock(&pool->lock);
		forget(pool, true);
		pthread_mutex_unlock(&pool->lock);
	}
}

void ormd_pool_give(ormd_connection *connection)
{
	ormd_connection *too_old = NULL;

	if (!connection)
		return;

	ormd_pool *pool = connection->pool;

	connection->deadline_us = 0;
	if (!connection->lost)
		pool->driver->rollback(connection);

	const bool lost = connection->lost;
	const bool keep = !lost && !pool->driver->in_transaction(connection);

	if (!keep)
		pool->driver->close(connection);
	pthread_mutex_lock(&pool->lock);
	if (keep) {
		const int64_t now_us = orm_clock_us();

		if (pool->driver->is_alive && pool->n_idle > 0 && now_us - pool->idle[0].since_us > CLOSE_IDLE_US) {
			too_old = pool->idle[0].connection;
			memmove(pool->idle, pool->idle + 1, --pool->n_idle * sizeof *pool->idle);
			pool->n_open--;
		}
		pool->idle[pool->n_idle++] = (idle_connection){connection, now_us};
		pthread_cond_broadcast(&pool->came_back);
	} else {
		forget(pool, lost);
	}
	pthread_mutex_unlock(&pool->lock);
	if (too_old) /* the pool may be gone by now */
		too_old->driver->close(too_old);
}

void ormd_pool_stats_get(ormd_pool *pool, ormd_pool_stats *stats)
{
	pthread_mutex_lock(&pool->lock);
	*stats = (ormd_pool_stats){.max = pool->max, .open = pool->n_open, .idle = pool->n_idle, .lost = pool->n_lost};
	pthread_mutex_unlock(&pool->lock);
}
