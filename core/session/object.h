/* SPDX-License-Identifier: MIT */
/* An object of a session: 32 bytes. Its address is good until the object is forgotten; who keeps one longer keeps the
 * handle. */
#ifndef ORMD_SESSION_OBJECT_H
#define ORMD_SESSION_OBJECT_H

#include "session/record.h"

typedef enum ormd_state {
	ORMD_STATE_NONE = 0,       /* not an object: free */
	ORMD_STATE_NEW = 1,        /* added in the unit */
	ORMD_STATE_PERSISTENT = 2, /* has a row; with a pending change or without */
	ORMD_STATE_DELETED = 3,    /* deletion pending */
	ORMD_STATE_GONE = 4        /* left the session; only remembered until everybody knows */
} ormd_state;

typedef struct ormd_change ormd_change;

typedef struct ormd_object {
	ormd_record *record; /* current values */
	ormd_change
		*change; /* NULL: nothing known to have happened to it lately. Pending only if ormd_object_pending */
	uint64_t handle;
	uint32_t epoch;  /* in which its values last came from the database (or were committed) */
	uint16_t mapper; /* number in the registry */
	uint8_t state;   /* ormd_state */
	uint8_t flags;   /* the unit's own */
} ormd_object;

_Static_assert(sizeof(void *) != 8 || sizeof(ormd_object) == 32, "an object is 32 bytes");

/* The slab that objects live in: pages that never move, numbers from 1 (0: none) for the compact maps. */
#define ORMD_OBJECTS_PER_PAGE 256

typedef struct ormd_objects {
	orm_arena arena;     /* of the pages */
	ormd_object **pages; /* owned */
	size_t n_pages, max_pages;
	uint32_t next; /* the lowest number never used */
	uint32_t free; /* first of the free ones, 0: none */
	size_t n_used;
} ormd_objects;

void ormd_objects_init(ormd_objects *objects);
void ormd_objects_fini(ormd_objects *objects);
uint32_t ormd_objects_take(ormd_objects *objects, ormd_object **object); /* cleared; 0 when out of memory */
void ormd_objects_give(ormd_objects *objects, uint32_t number);
size_t ormd_objects_size(const ormd_objects *objects); /* bytes */

static inline ormd_object *ormd_objects_at(const ormd_objects *objects, uint32_t number)
{
	return &objects->pages[number / ORMD_OBJECTS_PER_PAGE][number % ORMD_OBJECTS_PER_PAGE];
}

#endif
