/* SPDX-License-Identifier: MIT */
/*
 * The order of a unit's statements when rows wait for each other: a graph of actions (one row's statement) and of ties
 * between them, each saying what for. Actions that wait for nothing keep the order in which they were added. Circles
 * are broken by writing the row in two statements: first without the column at fault (NULL, or a value that nobody
 * has), then that column.
 *
 * All memory is the arena's. For plan.c only.
 */
#ifndef ORMD_SESSION_GRAPH_H
#define ORMD_SESSION_GRAPH_H

#include "base/arena.h"
#include "session/object.h"

typedef enum ormd_action_kind { ORMD_INSERT = 0, ORMD_UPDATE = 1, ORMD_DELETE = 2 } ormd_action_kind;

typedef enum ormd_phase {
	ORMD_PHASE_MAIN = 0,  /* the row's own statement */
	ORMD_PHASE_AHEAD = 1, /* an UPDATE before it, so that its DELETE is not waited for in a circle */
	ORMD_PHASE_LATER = 2  /* an UPDATE after it, of what it had to leave out */
} ormd_phase;

/* What a statement writes instead of the object's value. */
typedef enum ormd_stand_in { ORMD_OWN_VALUE = 0, ORMD_STAND_IN_NULL = 1, ORMD_STAND_IN_TEMPORARY = 2 } ormd_stand_in;

/* Columns that a statement writes. */
typedef struct ormd_shape {
	const uint16_t *columns;
	const uint8_t *stand_ins; /* ormd_stand_in of each; NULL: own values all */
	uint16_t n_columns;
} ormd_shape;

typedef struct ormd_action {
	ormd_object *object;
	ormd_object
		*replaced; /* row switch: the deleted object whose row this one takes over by an UPDATE; else NULL */
	const ormd_shape *shape; /* NULL: DELETE */
	uint8_t kind;
	uint8_t phase;
} ormd_action;

/* The primary key as a set of values of which one row can have each; else the number of a unique column. */
#define ORMD_KEY_SET UINT16_MAX

typedef enum ormd_tie_kind {
	ORMD_TIE_PHASES = 0, /* two statements of one row */
	ORMD_TIE_ROW = 1, /* `before` makes the row (set `given`) that `after` refers to by its foreign key `taken` */
	ORMD_TIE_RELEASE =
		2, /* `before` stops referring, by its foreign key `given`, to the row that `after` takes away */
	ORMD_TIE_VALUE = 3 /* `before` gives up the unique value (set `taken`) that `after` takes */
} ormd_tie_kind;

typedef struct ormd_graph ormd_graph;

/* Room for about n actions; grows. NULL when out of memory. */
ormd_graph *ormd_graph_new(const orm_registry *registry, orm_arena *arena, size_t n_actions);

/* The action's number, counted from 0; UINT32_MAX when out of memory. Add them in the order they should have if nothing
 * speaks against it. */
uint32_t ormd_graph_add(ormd_graph *graph, const ormd_action *action);
ormd_action *ormd_graph_action(ormd_graph *graph, uint32_t number); /* good until the next add */

/* A tie; of an action with itself, none. RELEASE with `given` ORM_NO_NUMBER: not by a foreign key of its own. False
 * when out of memory. */
bool ormd_graph_tie(ormd_graph *graph, ormd_tie_kind kind, uint32_t before, uint32_t after, uint16_t given,
		    uint16_t taken);

/*
 * Order them: numbers in `sequence` (arena). Circles that cannot be broken lose a tie, and the database says what it
 * thinks of it. False when out of memory.
 */
bool ormd_graph_run(ormd_graph *graph, const uint32_t **sequence, size_t *n);

/* Did a circle have to lose a tie? Foreign keys may then be violated between two statements. */
bool ormd_graph_is_torn(const ormd_graph *graph);

#endif
