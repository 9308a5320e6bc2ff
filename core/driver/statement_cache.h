/* SPDX-License-Identifier: MIT */
/*
 * What the drivers' caches of prepared statements have in common: statements of one connection, found by the hash of
 * whatever tells them apart, and evicted in the order of their last use. What a statement is, and how it ends, is each
 * driver's own: its statements begin with an ormd_cached_statement. Not for several threads at once.
 */
#ifndef ORMD_DRIVER_STATEMENT_CACHE_H
#define ORMD_DRIVER_STATEMENT_CACHE_H

#include "base/map.h"

#define ORMD_MAX_CACHED_SQL (32 * 1024) /* one with thousands of parameters is rare, and would keep megabytes */

typedef struct ormd_cached_statement {
	struct ormd_cached_statement *newer; /* by last use */
	struct ormd_cached_statement *older;
	uint64_t hash;
	size_t n_users; /* now: it is not evicted */
	bool cached;    /* else it ends with its last user: another of the same text, or a huge one */
} ormd_cached_statement;

typedef struct ormd_statement_cache {
	orm_map by_hash;
	ormd_cached_statement *newest;
	ormd_cached_statement *oldest;
	size_t max_statements;
} ormd_statement_cache;

void ormd_statement_cache_init(ormd_statement_cache *cache, size_t max_statements);

/* The statement with this key, which becomes the newest; or NULL. */
void *ormd_statement_cache_find(ormd_statement_cache *cache, uint64_t hash, orm_map_equal *equal, const void *key);

/* Keep it, as the newest. Returns what must leave for it, for the caller to end, or NULL. Without memory it is not
 * kept. */
void *ormd_statement_cache_put(ormd_statement_cache *cache, uint64_t hash, ormd_cached_statement *statement);

/* Take out the one that has been out of use for longest, for the caller to end; NULL: all are in use. */
void *ormd_statement_cache_evict(ormd_statement_cache *cache);

/* Take out any, in use or not; NULL when none is left. Then the cache is to be finished. */
void *ormd_statement_cache_take(ormd_statement_cache *cache);
void ormd_statement_cache_fini(ormd_statement_cache *cache);

#endif
