/* SPDX-License-Identifier: MIT */
/*
 * Addresses that fault when read, one per relationship: what a pointer or list holds while it is not loaded. With orm_explain_faults
 * the fault says which relationship it was. A region belongs to a binding; regions are known to the signal handler by a list
 * that it reads without a lock.
 */
#ifndef CLIENT_GUARD_H
#define CLIENT_GUARD_H

#include <stddef.h>

typedef struct guard_region guard_region;

/*
 * Reserve `n` poison addresses; `reach[i]` is how many bytes behind address i must fault too (the target struct's size, or a
 * list's). NULL when out of memory or address space. Owned.
 */
guard_region *guard_region_new(size_t n, const size_t *reach);
void          guard_region_free(guard_region *region); /* NULL allowed */

/* The i-th address. */
const void *guard_region_address(const guard_region *region, size_t i);

/* What to print when it is read: "User.posts is not loaded: ..." with a newline; borrowed for the region's life. */
void guard_region_explain(guard_region *region, size_t i, const char *text);

/* The text for an address in any region; NULL if it is in none. Async-signal-safe. */
const char *guard_explanation(const void *address);

#endif
