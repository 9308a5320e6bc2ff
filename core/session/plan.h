/* SPDX-License-Identifier: MIT */
/*
 * The flush plan: what is pending in a unit as a list of steps in an order that the database accepts. A step is one
 * statement for many rows.
 *
 * The order: INSERTs, parents before children and otherwise as they were added; UPDATEs; DELETEs, children before
 * parents. Where that is not enough, because rows of one table refer to each other, or because a row takes a key or a
 * unique value that another one gives up, every row is ordered by itself (graph.h). What the database cascades is not
 * repeated row by row, except for rows whose version must be checked.
 */
#ifndef ORMD_SESSION_PLAN_H
#define ORMD_SESSION_PLAN_H

#include "session/graph.h"
#include "session/unit.h"

typedef struct ormd_plan_step {
	ormd_action_kind kind;
	ormd_phase phase;
	const orm_mapper *mapper;
	ormd_shape shape;             /* INSERT: with the version; UPDATE: without it; DELETE: none */
	ormd_object *const *objects;  /* one per row */
	ormd_object *const *replaced; /* row switches: whose row it is so far; NULL: their own */
	size_t n_objects;
} ormd_plan_step;

/* Borrows the session's objects; the rest is the arena's. */
typedef struct ormd_plan {
	const ormd_plan_step *steps;
	size_t n_steps;
	bool defer; /* foreign keys may lead nowhere between two statements: put their check off if the engine can */
} ormd_plan;

/* Plan what is pending now. ORM_ENOMEM. */
orm_status ormd_plan_make(const ormd_session *session, orm_arena *arena, ormd_plan *plan, orm_error *error);

/* The object's row as the database has it; NULL: it has none. */
static inline const ormd_record *ormd_object_committed(const ormd_object *object)
{
	if (object->state == ORMD_STATE_NEW)
		return NULL;
	return object->change && object->change->base ? object->change->base : object->record;
}

#endif
