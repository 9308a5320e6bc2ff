/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/*
 * A slot keeps 32 bits of the hash, and the home slot comes from the same bits: so the table can grow and
 * shift back without asking the caller to hash again. That bounds it to 2^32 slots.
 */
#define MAX_SLOTS (UINT64_C(1) << 32)
#define MIN_SLOTS ((size_t)16)

static uint32_t upper_half(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* Values that fit: three quarters of the slots, beyond which linear probing gets slow. */
static size_t room(size_t n_slots)
{
	return n_slots - n_slots / 4;
}

static size_t home_of(const orm_map *map, uint32_t hash)
{
	return hash & (map->n_slots - 1);
}

static size_t after(const orm_map *map, size_t slot)
{
	return (slot + 1) & (map->n_slots - 1);
}

/* There is a free slot. */
static void place(orm_map *map, uint32_t hash, void *value)
{
	size_t slot = home_of(map, hash);

	while (map->slots[slot].used)
		slot = after(map, slot);
	map->slots[slot] = (orm_map_slot){.hash = hash, .used = 1, .value = value};
	map->len++;
}

void orm_map_init(orm_map *map)
{
	*map = (orm_map){0};
}

void orm_map_fini(orm_map *map)
{
	if (!map)
		return;
	free(map->slots);
	*map = (orm_map){0};
}

void orm_map_clear(orm_map *map)
{
	if (map->len > 0)
		memset(map->slots, 0, map->n_slots * sizeof map->slots[0]);
	map->len = 0;
}

bool orm_map_reserve(orm_map *map, size_t more)
{
	if (more > SIZE_MAX - map->len)
		return false;

	const size_t wanted = map->len + more;
	size_t n_slots = map->n_slots ? map->n_slots : MIN_SLOTS;

	while (room(n_slots) < wanted) {
		if (n_slots >= MAX_SLOTS || n_slots > SIZE_MAX / sizeof map->slots[0] / 2)
			return false;
		n_slots *= 2;
	}
	if (n_slots == map->n_slots)
		return true;

	orm_map grown = {.slots = calloc(n_slots, sizeof grown.slots[0]), .n_slots = n_slots};

	if (!grown.slots)
		return false;
	for (size_t i = 0; i < map->n_slots; i++) {
		if (map->slots[i].used)
			place(&grown, map->slots[i].hash, map->slots[i].value);
	}
	free(map->slots);
	*map = grown;
	return true;
}

void *orm_map_get(const orm_map *map, uint64_t hash, orm_map_equal *equal, const void *key)
{
	const uint32_t upper = upper_half(hash);

	if (map->len == 0)
		return NULL;
	for (size_t i = home_of(map, upper); map->slots[i].used; i = after(map, i)) {
		if (map->slots[i].hash == upper && equal(map->slots[i].value, key))
			return map->slots[i].value;
	}
	return NULL;
}

bool orm_map_put(orm_map *map, uint64_t hash, void *value)
{
	assert(value); /* NULL is how orm_map_get says "not there" */
	if (!orm_map_reserve(map, 1))
		return false;
	place(map, upper_half(hash), value);
	return true;
}

bool orm_map_remove(orm_map *map, uint64_t hash, const void *value)
{
	if (map->len == 0)
		return false;

	size_t hole = home_of(map, upper_half(hash));

	while (map->slots[hole].used && map->slots[hole].value != value)
		hole = after(map, hole);
	if (!map->slots[hole].used)
		return false;

	/*
	 * Shift back what follows, up to the next free slot: a value may move into the hole unless its home
	 * lies after the hole (in the cyclic order that starts there), because a search would then miss it.
	 */
	const size_t mask = map->n_slots - 1;

	for (size_t i = after(map, hole); map->slots[i].used; i = after(map, i)) {
		const size_t from_home = (i - home_of(map, map->slots[i].hash)) & mask;
		const size_t from_hole = (i - hole) & mask;

		if (from_home >= from_hole) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole] = (orm_map_slot){0};
	map->len--;
	return true;
}

void *orm_map_next(const orm_map *map, size_t *cursor)
{
	while (*cursor < map->n_slots) {
		const orm_map_slot *slot = &map->slots[(*cursor)++];

		if (slot->used)
			return slot->value;
	}
	return NULL;
}

uint64_t orm_hash_bytes(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

uint64_t orm_hash_string(const char *text)
{
	return orm_hash_bytes(text, strlen(text));
}
