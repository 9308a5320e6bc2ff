/* SPDX-License-Identifier: MIT */
#include "driver/statement_cache.h"

static void unlink_statement(ormd_statement_cache *cache, ormd_cached_statement *statement)
{
	*(statement->newer ? &statement->newer->older : &cache->newest) = statement->older;
	*(statement->older ? &statement->older->newer : &cache->oldest) = statement->newer;
	statement->newer = NULL;
	statement->older = NULL;
}

static void link_newest(ormd_statement_cache *cache, ormd_cached_statement *statement)
{
	statement->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = statement;
	cache->newest = statement;
}

static void *take_out(ormd_statement_cache *cache, ormd_cached_statement *statement)
{
	if (!statement)
		return NULL;
	orm_map_remove(&cache->by_hash, statement->hash, statement);
	unlink_statement(cache, statement);
	statement->cached = false;
	return statement;
}

void ormd_statement_cache_init(ormd_statement_cache *cache, size_t max_statements)
{
	*cache = (ormd_statement_cache){.max_statements = max_statements};
	orm_map_init(&cache->by_hash);
}

void *ormd_statement_cache_find(ormd_statement_cache *cache, uint64_t hash, orm_map_equal *equal, const void *key)
{
	ormd_cached_statement *statement = orm_map_get(&cache->by_hash, hash, equal, key);

	if (statement && statement != cache->newest) {
		unlink_statement(cache, statement);
		link_newest(cache, statement);
	}
	return statement;
}

void *ormd_statement_cache_put(ormd_statement_cache *cache, uint64_t hash, ormd_cached_statement *statement)
{
	void *evicted = cache->by_hash.len >= cache->max_statements ? ormd_statement_cache_evict(cache) : NULL;

	statement->hash = hash;
	if (orm_map_put(&cache->by_hash, hash, statement)) {
		statement->cached = true;
		link_newest(cache, statement);
	}
	return evicted;
}

void *ormd_statement_cache_evict(ormd_statement_cache *cache)
{
	ormd_cached_statement *statement = cache->oldest;

	while (statement && statement->n_users > 0)
		statement = statement->newer;
	return take_out(cache, statement);
}

void *ormd_statement_cache_take(ormd_statement_cache *cache)
{
	return take_out(cache, cache->oldest);
}

void ormd_statement_cache_fini(ormd_statement_cache *cache)
{
	orm_map_fini(&cache->by_hash);
}
