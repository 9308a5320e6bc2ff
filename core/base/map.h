/* SPDX-License-Identifier: MIT */
/*
 * A hash map from 64-bit hashes to pointers, for the identity map, the mirror and the registries.
 *
 * Open addressing with linear probing over (hash, value) slots; the caller hashes and compares, because
 * only it knows what a key is: the key lives in the value. No tombstones: removal shifts back. Not for
 * several threads at once. Values are borrowed.
 */
#ifndef ORM_BASE_MAP_H
#define ORM_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct orm_map_slot {
	uint32_t hash;  /* upper half of the hash, for a cheap first comparison */
	uint32_t used;
	void    *value;
} orm_map_slot;

typedef struct orm_map {
	orm_map_slot *slots;    /* owned; n_slots of them, a power of two or 0 */
	size_t        n_slots;
	size_t        len;      /* values in the map */
} orm_map;

/* Does `value` have this key? */
typedef bool orm_map_equal(const void *value, const void *key);

void orm_map_init(orm_map *map);
void orm_map_fini(orm_map *map); /* frees the slots, not the values */
void orm_map_clear(orm_map *map);

/* Make room for `more` values beyond those in it; false when out of memory. */
bool orm_map_reserve(orm_map *map, size_t more);

/* The value with this key, or NULL. */
void *orm_map_get(const orm_map *map, uint64_t hash, orm_map_equal *equal, const void *key);

/* Put a value that is not in the map yet (the caller has asked); false when out of memory. */
bool orm_map_put(orm_map *map, uint64_t hash, void *value);

/* Take exactly this pointer out; false if it was not there. `hash` as when it was put. */
bool orm_map_remove(orm_map *map, uint64_t hash, const void *value);

/* Walk all values in no order: start with *cursor == 0; NULL at the end. Do not change the map meanwhile. */
void *orm_map_next(const orm_map *map, size_t *cursor);

/* Hashes (XXH3). Equal bytes give equal hashes within one build, nothing more. */
uint64_t orm_hash_bytes(const void *data, size_t size);
uint64_t orm_hash_string(const char *text);

/* A good mix of one integer key; inline because every row passes here. */
static inline uint64_t orm_hash_u64(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	return x;
}

#endif
