/* SPDX-License-Identifier: MIT */
#include "session/graph.h"

#include <assert.h>
#include <string.h>

#define NONE UINT32_MAX

typedef struct tie {
	uint32_t before, after;
	uint32_t next_out; /* of `before` */
	uint32_t next_in;  /* of `after` */
	uint16_t given, taken;
	uint8_t kind;
	bool over; /* `before` is done, or the tie was dropped */
} tie;

typedef struct node {
	ormd_action action;
	uint32_t first_out, first_in;
	uint32_t n_waiting; /* ties in that are not over */
	uint32_t on_path;   /* place on the path + 1, or 0 */
	bool done;
} node;

typedef struct step {
	uint32_t node;
	uint32_t tie; /* that leads to the node before it */
} step;

struct ormd_graph {
	const orm_registry *registry;
	orm_arena *arena;

	node *nodes;
	uint32_t n_nodes, nodes_capacity;
	tie *ties;
	uint32_t n_ties, ties_capacity;
	bool torn;

	/* while running */
	uint32_t *ready; /* a heap: the smallest number first */
	uint32_t n_ready, ready_capacity;
	uint32_t *sequence;
	uint32_t n_sequence, sequence_capacity;
	step *path; /* backwards along ties, in search of a circle; kept between searches */
	uint32_t path_len, path_capacity;
	uint32_t first_waiting;
};

/* ---- growing arrays in an arena ----------------------------------------------------------------------------- */

static bool grow(orm_arena *arena, void **items, size_t item_size, uint32_t len, uint32_t *capacity)
{
	if (len < *capacity)
		return true;

	const uint32_t more = *capacity < 32 ? 64 : *capacity * 2;
	void *grown;

	if (more >= NONE / 2 || !(grown = orm_arena_calloc(arena, more, item_size)))
		return false;
	if (len > 0)
		memcpy(grown, *items, len * item_size);
	*items = grown;
	*capacity = more;
	return true;
}

/* ---- building ----------------------------------------------------------------------------------------------- */

ormd_graph *ormd_graph_new(const orm_registry *registry, orm_arena *arena, size_t n_actions)
{
	ormd_graph *graph = orm_arena_calloc(arena, 1, sizeof *graph);

	if (!graph || n_actions >= NONE / 4)
		return NULL;
	graph->registry = registry;
	graph->arena = arena;
	graph->nodes_capacity = (uint32_t)n_actions + 16;
	graph->nodes = orm_arena_calloc(arena, graph->nodes_capacity, sizeof *graph->nodes);
	return graph->nodes ? graph : NULL;
}

uint32_t ormd_graph_add(ormd_graph *graph, const ormd_action *action)
{
	if (!grow(graph->arena, (void **)&graph->nodes, sizeof *graph->nodes, graph->n_nodes, &graph->nodes_capacity))
		return NONE;
	graph->nodes[graph->n_nodes] = (node){.action = *action, .first_out = NONE, .first_in = NONE};
	return graph->n_nodes++;
}

ormd_action *ormd_graph_action(ormd_graph *graph, uint32_t number)
{
	assert(number < graph->n_nodes);
	return &graph->nodes[number].action;
}

static void link_tie(ormd_graph *graph, uint32_t number)
{
	tie *t = &graph->ties[number];

	t->next_out = graph->nodes[t->before].first_out;
	graph->nodes[t->before].first_out = number;
	t->next_in = graph->nodes[t->after].first_in;
	graph->nodes[t->after].first_in = number;
	graph->nodes[t->after].n_waiting++;
}

bool ormd_graph_tie(ormd_graph *graph, ormd_tie_kind kind, uint32_t before, uint32_t after, uint16_t given,
		    uint16_t taken)
{
	assert(before < graph->n_nodes && after < graph->n_nodes);
	if (before == after)
		return true;
	if (!grow(graph->arena, (void **)&graph->ties, sizeof *graph->ties, graph->n_ties, &graph->ties_capacity))
		return false;
	graph->ties[graph->n_ties] =
		(tie){.before = before, .after = after, .given = given, .taken = taken, .kind = (uint8_t)kind};
	link_tie(graph, graph->n_ties++);
	return true;
}

/* ---- what is ready ------------------------------------------------------------------------------------------ */

static bool push_ready(ormd_graph *graph, uint32_t number)
{
	if (!grow(graph->arena, (void **)&graph->ready, sizeof *graph->ready, graph->n_ready, &graph->ready_capacity))
		return false;

	uint32_t place = graph->n_ready++;

	while (place > 0 && graph->ready[(place - 1) / 2] > number) {
		graph->ready[place] = graph->ready[(place - 1) / 2];
		place = (place - 1) / 2;
	}
	graph->ready[place] = number;
	return true;
}

static uint32_t pop_ready(ormd_graph *graph)
{
	const uint32_t first = graph->ready[0];
	const uint32_t last = graph->ready[--graph->n_ready];
	uint32_t place = 0;

	for (;;) {
		uint32_t child = 2 * place + 1;

		if (child >= graph->n_ready)
			break;
		if (child + 1 < graph->n_ready && graph->ready[child + 1] < graph->ready[child])
			child++;
		if (graph->ready[child] >= last)
			break;
		graph->ready[place] = graph->ready[child];
		place = child;
	}
	graph->ready[place] = last;
	return first;
}

static bool end_tie(ormd_graph *graph, tie *t)
{
	node *after = &graph->nodes[t->after];

	if (t->over)
		return true;
	t->over = true;
	return --after->n_waiting > 0 || after->done || push_ready(graph, t->after);
}

static bool finish(ormd_graph *graph, uint32_t number)
{
	graph->nodes[number].done = true;
	if (!grow(graph->arena, (void **)&graph->sequence, sizeof *graph->sequence, graph->n_sequence,
		  &graph->sequence_capacity))
		return false;
	graph->sequence[graph->n_sequence++] = number;
	for (uint32_t i = graph->nodes[number].first_out; i != NONE; i = graph->ties[i].next_out) {
		if (!end_tie(graph, &graph->ties[i]))
			return false;
	}
	return true;
}

/* ---- the columns a tie is about ----------------------------------------------------------------------------- */

static const orm_mapper *mapper_of(const ormd_graph *graph, uint32_t number)
{
	return &graph->registry->mappers[graph->nodes[number].action.object->mapper];
}

typedef struct column_list {
	const uint16_t *columns;
	uint16_t n;
} column_list;

static column_list columns_of_set(const orm_mapper *mapper, const uint16_t *set)
{
	if (*set == ORMD_KEY_SET)
		return (column_list){mapper->key, mapper->n_key};
	return (column_list){set, 1};
}

static column_list columns_of_foreign_key(const orm_mapper *mapper, uint16_t number)
{
	return (column_list){mapper->foreign_keys[number].columns, mapper->foreign_keys[number].n_columns};
}

static bool overlap(column_list a, column_list b)
{
	for (uint16_t i = 0; i < a.n; i++) {
		for (uint16_t j = 0; j < b.n; j++) {
			if (a.columns[i] == b.columns[j])
				return true;
		}
	}
	return false;
}

/* Columns of `after` that cannot be written before the tie is over. */
static column_list columns_taken(const ormd_graph *graph, const tie *t)
{
	switch (t->kind) {
	case ORMD_TIE_ROW:
		return columns_of_foreign_key(mapper_of(graph, t->after), t->taken);
	case ORMD_TIE_VALUE:
		return columns_of_set(mapper_of(graph, t->after), &t->taken);
	default:
		return (column_list){NULL, 0};
	}
}

/* ---- breaking circles --------------------------------------------------------------------------------------- */

/* Columns of a foreign key that may be NULL in a first statement. */
static uint16_t nullable_columns(const orm_mapper *mapper, uint16_t foreign_key, uint16_t *columns)
{
	const orm_foreign_key *key = foreign_key == ORM_NO_NUMBER ? NULL : &mapper->foreign_keys[foreign_key];
	uint16_t n = 0;

	for (uint16_t i = 0; key && i < key->n_columns; i++) {
		const orm_column *column = &mapper->columns[key->columns[i]];

		if (column->nullable && !column->primary_key) {
			if (columns)
				columns[n] = column->number;
			n++;
		}
	}
	return n;
}

/* The column of a unique set that can hold another value for a while; ORM_NO_NUMBER if none can. */
static uint16_t column_to_replace(const orm_mapper *mapper, uint16_t set)
{
	if (set != ORMD_KEY_SET)
		return mapper->columns[set].type == ORM_BOOL && !mapper->columns[set].nullable ? ORM_NO_NUMBER : set;
	for (uint16_t i = 0; i < mapper->n_key; i++) {
		const orm_column *column = &mapper->columns[mapper->key[i]];

		if (column->type != ORM_BOOL && column->foreign_key == ORM_NO_NUMBER)
			return column->number;
	}
	return ORM_NO_NUMBER;
}

/* How dear it is to break the circle here; what cannot be broken here comes last. */
enum { UNBREAKABLE = 100 };

static int price(const ormd_graph *graph, const tie *t)
{
	const ormd_action *before = &graph->nodes[t->before].action;
	const ormd_action *after = &graph->nodes[t->after].action;

	switch (t->kind) {
	case ORMD_TIE_ROW:
		if (after->phase == ORMD_PHASE_MAIN && nullable_columns(mapper_of(graph, t->after), t->taken, NULL) > 0)
			return 1;
		return UNBREAKABLE;
	case ORMD_TIE_RELEASE:
		if (before->kind == ORMD_DELETE && nullable_columns(mapper_of(graph, t->before), t->given, NULL) > 0)
			return 2;
		return UNBREAKABLE + 1;
	case ORMD_TIE_VALUE: {
		const orm_mapper *mapper = mapper_of(graph, t->after);
		const uint16_t column = column_to_replace(mapper, t->taken);

		if (after->phase != ORMD_PHASE_MAIN || column == ORM_NO_NUMBER)
			return UNBREAKABLE + 2;
		return mapper->columns[column].nullable ? 3 : 4;
	}
	default:
		return UNBREAKABLE + 3;
	}
}

/* Move the end of a tie that is not over to another action. */
static void move_after(ormd_graph *graph, uint32_t number, uint32_t after)
{
	tie *t = &graph->ties[number];
	uint32_t *link = &graph->nodes[t->after].first_in;

	while (*link != number)
		link = &graph->ties[*link].next_in;
	*link = t->next_in;
	graph->nodes[t->after].n_waiting--;
	t->after = after;
	t->next_in = graph->nodes[after].first_in;
	graph->nodes[after].first_in = number;
	graph->nodes[after].n_waiting++;
}

static void move_before(ormd_graph *graph, uint32_t number, uint32_t before)
{
	tie *t = &graph->ties[number];
	uint32_t *link = &graph->nodes[t->before].first_out;

	while (*link != number)
		link = &graph->ties[*link].next_out;
	*link = t->next_out;
	t->before = before;
	t->next_out = graph->nodes[before].first_out;
	graph->nodes[before].first_out = number;
}

static uint16_t find_column(const ormd_shape *shape, uint16_t column)
{
	uint16_t i = 0;

	while (i < shape->n_columns && shape->columns[i] != column)
		i++;
	return i;
}

/* The action's shape with stand-ins for these columns, which it may not have had so far. */
static bool stand_in(ormd_graph *graph, ormd_action *action, column_list list)
{
	const orm_mapper *mapper = &graph->registry->mappers[action->object->mapper];
	const ormd_shape *old = action->shape;
	ormd_shape *shape = orm_arena_calloc(graph->arena, 1, sizeof *shape);
	uint16_t *columns = orm_arena_calloc(graph->arena, (size_t)old->n_columns + list.n, sizeof *columns);
	uint8_t *stand_ins = orm_arena_calloc(graph->arena, (size_t)old->n_columns + list.n, sizeof *stand_ins);

	if (!shape || !columns || !stand_ins)
		return false;
	if (old->n_columns)
		memcpy(columns, old->columns, old->n_columns * sizeof *columns);
	if (old->stand_ins)
		memcpy(stand_ins, old->stand_ins, old->n_columns);
	*shape = (ormd_shape){.columns = columns, .stand_ins = stand_ins, .n_columns = old->n_columns};
	for (uint16_t i = 0; i < list.n; i++) {
		const uint16_t place = find_column(shape, list.columns[i]);
		const bool nullable = mapper->columns[list.columns[i]].nullable;

		columns[place] = list.columns[i];
		stand_ins[place] = nullable ? ORMD_STAND_IN_NULL : ORMD_STAND_IN_TEMPORARY;
		if (place == shape->n_columns)
			shape->n_columns++;
	}
	action->shape = shape;
	return true;
}

static const ormd_shape *own_values(ormd_graph *graph, column_list list)
{
	ormd_shape *shape = orm_arena_calloc(graph->arena, 1, sizeof *shape);
	uint16_t *columns = orm_arena_calloc(graph->arena, list.n, sizeof *columns);

	if (!shape || !columns)
		return NULL;
	memcpy(columns, list.columns, list.n * sizeof *columns);
	*shape = (ormd_shape){.columns = columns, .n_columns = list.n};
	return shape;
}

/* Write these columns in a statement of their own, later: who waits for them waits for that one, and it waits for what
 * they need. */
static bool split_later(ormd_graph *graph, uint32_t number, column_list list)
{
	ormd_action later = graph->nodes[number].action;

	later.kind = ORMD_UPDATE;
	later.phase = ORMD_PHASE_LATER;
	later.shape = own_values(graph, list);
	if (!later.shape || !stand_in(graph, &graph->nodes[number].action, list))
		return false;

	const uint32_t second = ormd_graph_add(graph, &later);

	if (second == NONE)
		return false;
	for (uint32_t i = graph->nodes[number].first_in, next; i != NONE; i = next) {
		next = graph->ties[i].next_in;
		if (!graph->ties[i].over && overlap(columns_taken(graph, &graph->ties[i]), list))
			move_after(graph, i, second);
	}
	for (uint32_t i = graph->nodes[number].first_out, next; i != NONE; i = next) {
		const tie *t = &graph->ties[i];

		next = t->next_out;
		if (t->kind == ORMD_TIE_ROW && overlap(columns_of_set(mapper_of(graph, number), &t->given), list))
			move_before(graph, i, second);
	}
	return ormd_graph_tie(graph, ORMD_TIE_PHASES, number, second, 0, 0);
}

/* Let a row that is to be deleted stop referring before: what waited for that waits no longer for the deletion. */
static bool split_ahead(ormd_graph *graph, uint32_t number, column_list list)
{
	const ormd_shape *no_columns = orm_arena_calloc(graph->arena, 1, sizeof *no_columns);
	ormd_action ahead = graph->nodes[number].action;

	ahead.kind = ORMD_UPDATE;
	ahead.phase = ORMD_PHASE_AHEAD;
	ahead.shape = no_columns;
	if (!no_columns || !stand_in(graph, &ahead, list))
		return false;

	const uint32_t first = ormd_graph_add(graph, &ahead);

	if (first == NONE)
		return false;
	for (uint32_t i = graph->nodes[number].first_out, next; i != NONE; i = next) {
		const tie *t = &graph->ties[i];

		next = t->next_out;
		if (t->kind == ORMD_TIE_RELEASE && t->given != ORM_NO_NUMBER &&
		    overlap(columns_of_foreign_key(mapper_of(graph, number), t->given), list))
			move_before(graph, i, first);
	}
	return ormd_graph_tie(graph, ORMD_TIE_PHASES, first, number, 0, 0) && push_ready(graph, first);
}

static bool release_if_ready(ormd_graph *graph, uint32_t number)
{
	return graph->nodes[number].n_waiting > 0 || push_ready(graph, number);
}

static bool break_tie(ormd_graph *graph, uint32_t number)
{
	const tie t = graph->ties[number];
	uint16_t columns[ORM_MAX_COLUMNS];
	column_list list = {columns, 0};

	if (price(graph, &t) >= UNBREAKABLE) {
		graph->torn = true;
		return end_tie(graph, &graph->ties[number]);
	}
	switch (t.kind) {
	case ORMD_TIE_ROW:
		list.n = nullable_columns(mapper_of(graph, t.after), t.taken, columns);
		break;
	case ORMD_TIE_RELEASE:
		list.n = nullable_columns(mapper_of(graph, t.before), t.given, columns);
		return split_ahead(graph, t.before, list);
	default:
		columns[0] = column_to_replace(mapper_of(graph, t.after), t.taken);
		list.n = 1;
		break;
	}
	return split_later(graph, t.after, list) && release_if_ready(graph, t.after);
}

/* ---- finding circles ---------------------------------------------------------------------------------------- */

static bool push_path(ormd_graph *graph, uint32_t number)
{
	if (!grow(graph->arena, (void **)&graph->path, sizeof *graph->path, graph->path_len, &graph->path_capacity))
		return false;
	graph->path[graph->path_len++] = (step){.node = number, .tie = NONE};
	graph->nodes[number].on_path = graph->path_len;
	return true;
}

static void pop_path(ormd_graph *graph)
{
	graph->nodes[graph->path[--graph->path_len].node].on_path = 0;
}

static uint32_t tie_waited_for(const ormd_graph *graph, uint32_t number)
{
	uint32_t i = graph->nodes[number].first_in;

	while (i != NONE && graph->ties[i].over)
		i = graph->ties[i].next_in;
	assert(i != NONE);
	return i;
}

/* Splitting moves ties, so that a path kept from before may be torn. */
static bool is_whole(const ormd_graph *graph, uint32_t from)
{
	for (uint32_t i = from; i < graph->path_len; i++) {
		const tie *t = &graph->ties[graph->path[i].tie];
		const uint32_t before = i + 1 < graph->path_len ? graph->path[i + 1].node : graph->path[from].node;

		if (t->over || t->after != graph->path[i].node || t->before != before)
			return false;
	}
	return true;
}

/*
 * Nothing is ready: whoever is left waits, in the end, for itself. Walk back from any until one comes again; the circle
 * is the path from *from on.
 */
static bool find_circle(ormd_graph *graph, uint32_t *from)
{
	for (;;) {
		while (graph->path_len > 0 && graph->nodes[graph->path[graph->path_len - 1].node].done)
			pop_path(graph);
		if (graph->path_len == 0) {
			while (graph->nodes[graph->first_waiting].done)
				graph->first_waiting++;
			if (!push_path(graph, graph->first_waiting))
				return false;
		}

		step *last = &graph->path[graph->path_len - 1];

		last->tie = tie_waited_for(graph, last->node);

		const uint32_t before = graph->ties[last->tie].before;
		const uint32_t place = graph->nodes[before].on_path;

		if (place > 0 && is_whole(graph, place - 1)) {
			*from = place - 1;
			return true;
		}
		if (place > 0) {
			while (graph->path_len > 0)
				pop_path(graph);
		}
		if (!push_path(graph, before))
			return false;
	}
}

static bool break_circle(ormd_graph *graph)
{
	uint32_t from;

	if (!find_circle(graph, &from))
		return false;

	uint32_t cheapest = graph->path[from].tie;

	for (uint32_t i = from + 1; i < graph->path_len; i++) {
		if (price(graph, &graph->ties[graph->path[i].tie]) < price(graph, &graph->ties[cheapest]))
			cheapest = graph->path[i].tie;
	}
	return break_tie(graph, cheapest);
}

bool ormd_graph_run(ormd_graph *graph, const uint32_t **sequence, size_t *n)
{
	for (uint32_t i = 0; i < graph->n_nodes; i++) {
		if (graph->nodes[i].n_waiting == 0 && !push_ready(graph, i))
			return false;
	}
	while (graph->n_sequence < graph->n_nodes) {
		if (graph->n_ready == 0 && !break_circle(graph))
			return false;
		while (graph->n_ready > 0) {
			if (!finish(graph, pop_ready(graph)))
				return false;
		}
	}
	*sequence = graph->sequence;
	*n = graph->n_sequence;
	return true;
}

bool ormd_graph_is_torn(const ormd_graph *graph)
{
	return graph->torn;
}
