/* SPDX-License-Identifier: MIT */
/*
 * Connections to one database for one purpose, lent one caller at a time.
 *
 * A connection that was lost is never given out again, and those that were idle at that moment are asked whether they are alive before they are:
 * a server that restarts takes all of them with it. While a server that has answered before cannot be reached, takers wait for
 * it until their deadline: it may be restarting, or another host of the URL taking over.
 *
 * Thread-safe. The pool's lock is the last of all; it is not held while the engine is talked to.
 */
#ifndef ORMD_DRIVER_POOL_H
#define ORMD_DRIVER_POOL_H

#include "driver/driver.h"

typedef struct ormd_pool ormd_pool;

typedef struct ormd_pool_options {
	ormd_open_options open;   /* the URL is copied; the deadline is each taker's */
	const char *purpose;      /* "reading", "writing": for messages. Static */
	uint32_t max_connections; /* at least 1 */
} ormd_pool_options;

/* Opens nothing yet. NULL: out of memory. Owned. */
ormd_pool *ormd_pool_new(const ormd_driver *driver, const ormd_pool_options *options);
/* Waits until all that were taken have come back, and closes them. NULL allowed. */
void ormd_pool_free(ormd_pool *pool);

/* Blocks until the deadline. NULL: ORM_ETIMEOUT: all are in use for so long; or why the engine cannot be reached. */
ormd_connection *ormd_pool_take(ormd_pool *pool, int64_t deadline_us, orm_error *error);
/* Give back what ormd_pool_take gave, with no cursor open; a transaction that is left is rolled back. NULL allowed. */
void ormd_pool_give(ormd_connection *connection);

typedef struct ormd_pool_stats {
	uint32_t max, open, idle;
	uint64_t lost; /* connections found broken so far */
} ormd_pool_stats;
void ormd_pool_stats_get(ormd_pool *pool, ormd_pool_stats *stats);

#endif
