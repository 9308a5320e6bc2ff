/* SPDX-License-Identifier: MIT */
/*
 * Addresses that fault when read, one per relationship: what a pointer or list holds while it is not loaded. With
 * orm_explain_faults the fault says which relationship it was. A region belongs to a binding; regions are known to the
 * signal handler by a list that it reads without a lock.
 */
#ifndef CLIENT_GUARD_H
#define CLIENT_GUARD_H

#include <stddef.h>

typedef struct orm_guard_region orm_guard_region;

/*
 * Reserve `n` poison addresses; `reach[i]` is how many bytes behind address i must fault too (the target struct's size,
 * or a list's). NULL when out of memory or address space. Owned.
 */
orm_guard_region *orm_guard_region_new(size_t n, const size_t *reach);
void orm_guard_region_free(orm_guard_region *region); /* NULL allowed */

/* The i-th address. */
const void *orm_guard_region_address(const orm_guard_region *region, size_t i);

/* What to print when it is read: "User.posts is not loaded: ..." with a newline; borrowed for the region's life. */
void orm_guard_region_explain(orm_guard_region *region, size_t i, const char *text);

/* The text for an address in any region; NULL if it is in none. Async-signal-safe. */
const char *orm_guard_explanation(const void *address);

#endif
