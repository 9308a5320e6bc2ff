/* SPDX-License-Identifier: MIT */
/* What is pending, sorted by mapper and kind: between plan.c, which makes it, and plan_rows.c, which orders it row by
 * row. */
#ifndef ORMD_SESSION_PLAN_WORK_H
#define ORMD_SESSION_PLAN_WORK_H

#include "session/plan.h"

/* Equal column lists of one mapper are one planned_shape. */
typedef struct planned_shape {
	ormd_shape shape;
	struct planned_shape *next;
	uint64_t hash;
	uint32_t n_rows;   /* of updates */
	uint32_t next_row; /* while they are sorted by shape */
	bool moves_key;    /* an update with it changes the primary key or a unique value */
} planned_shape;

typedef struct planned_update {
	ormd_object *object;
	planned_shape *shape;
} planned_update;

typedef struct mapper_work {
	const orm_mapper *mapper;
	const ormd_layout *layout;
	ormd_object **inserts; /* in the order of orm_add */
	size_t n_inserts;
	planned_update *updates; /* those that change something */
	size_t n_updates;
	ormd_object **deletes;
	size_t n_deletes;
	planned_shape *shapes; /* a list */
	planned_shape *whole;  /* INSERT of all columns */
	planned_shape *latest; /* looked at first */
	uint32_t n_shapes;
	bool moves_key; /* some update does */
} mapper_work;

typedef struct plan_work {
	const ormd_session *session;
	orm_arena *arena;
	mapper_work *items; /* parents first */
	size_t n_items;
	mapper_work **by_mapper; /* NULL: nothing pending */
	size_t n_rows;
	ormd_plan_step *steps;
	size_t n_steps, max_steps;
	bool defer; /* the plan's */
} plan_work;

/* The shape of these columns (bitmap); NULL when out of memory. */
planned_shape *ormd_plan_shape(plan_work *work, mapper_work *item, const uint8_t *bits);

/* What an INSERT of this record writes: all but what is left to the server. NULL when out of memory. */
const planned_shape *ormd_plan_insert_shape(plan_work *work, mapper_work *item, const ormd_record *record);

/* Those of one shape together, otherwise in order. False when out of memory. */
bool ormd_plan_sort_updates(plan_work *work, mapper_work *item);

bool ormd_plan_add_step(plan_work *work, const ormd_plan_step *step);

/* The object with whose row the database deletes this one's, so that it needs no DELETE; NULL: none. */
const ormd_object *ormd_plan_covering(const plan_work *work, const mapper_work *item, const ormd_object *object);

/* plan_rows.c: does somebody give up a key or unique value that somebody else takes? False in *taken otherwise. False
 * when out of memory. */
bool ormd_plan_values_taken(plan_work *work, bool *taken);

/* plan_rows.c: order every row by itself. False when out of memory. */
bool ormd_plan_rows(plan_work *work);

#endif
