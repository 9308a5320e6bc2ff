/* SPDX-License-Identifier: MIT */
/*
 * The two ways to find an object. Handles are dense counters per participant: pages of numbers, found through a small
 * hash of page numbers (so that a sparse handle costs a page, not a table). Keys: per mapper an open-addressing table
 * of (hash, object number), eight bytes a slot.
 *
 * A deleted object stays in the table of keys, beside the live one that may have taken its key (a row switch).
 */
#ifndef ORMD_SESSION_IDENTITY_H
#define ORMD_SESSION_IDENTITY_H

#include "session/object.h"

/* ---- by handle ---- */

#define ORMD_HANDLES_PER_PAGE 512
#define ORMD_HANDLE_SHIFT     40 /* participant << 40 | counter */

typedef struct ormd_handle_page ormd_handle_page;

typedef struct ormd_handles {
	ormd_handle_page **slots; /* owned */
	size_t n_slots, n_pages;
	ormd_handle_page *last; /* found last: handles come in runs */
} ormd_handles;

void ormd_handles_init(ormd_handles *handles);
void ormd_handles_fini(ormd_handles *handles);
uint32_t ormd_handles_get(ormd_handles *handles, uint64_t handle);              /* 0: none */
uint32_t ormd_handles_peek(const ormd_handles *handles, uint64_t handle);       /* the same, remembering nothing */
bool ormd_handles_put(ormd_handles *handles, uint64_t handle, uint32_t number); /* false when out of memory */
void ormd_handles_remove(ormd_handles *handles, uint64_t handle);
size_t ormd_handles_size(const ormd_handles *handles);

/* ---- by key ---- */

typedef struct ormd_key_slot {
	uint32_t hash;
	uint32_t number; /* 0: free */
} ormd_key_slot;

typedef struct ormd_keys {
	ormd_key_slot *slots; /* owned */
	size_t n_slots, len;
} ormd_keys;

void ormd_keys_init(ormd_keys *keys);
void ormd_keys_fini(ormd_keys *keys);
bool ormd_keys_reserve(ormd_keys *keys, size_t more);
void ormd_keys_put(ormd_keys *keys, uint32_t hash, uint32_t number); /* after ormd_keys_reserve */
bool ormd_keys_remove(ormd_keys *keys, uint32_t hash, uint32_t number);
size_t ormd_keys_size(const ormd_keys *keys);

/* A table of many keys is slow for its cache misses: say a few rows ahead which slot will be wanted. */
static inline void ormd_keys_prefetch(const ormd_keys *keys, uint32_t hash)
{
	if (keys->n_slots)
		__builtin_prefetch(&keys->slots[hash & (keys->n_slots - 1)]);
}
#define ORMD_KEYS_AHEAD 16

/* Walk the numbers with this hash: start with *cursor = SIZE_MAX; 0 at the end. */
uint32_t ormd_keys_probe(const ormd_keys *keys, uint32_t hash, size_t *cursor);

#endif
