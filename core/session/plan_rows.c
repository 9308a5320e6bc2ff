/* SPDX-License-Identifier: MIT */
/*
 * Row by row: which row makes a value that another refers to, which gives one up that another takes, as ties of a
 * graph.
 *
 * A place is one value of a set of which one row can have each: a primary key, or a unique column. Every row that
 * changes leaves places ("given up") and enters others ("made"); both are found by hash.
 */
#include "base/map.h"
#include "session/plan_work.h"

#define NONE UINT32_MAX

/* ---- tables of places --------------------------------------------------------------------------------------- */

typedef struct place {
	uint64_t hash;
	const ormd_record *record;
	uint32_t row;
	uint32_t next;
} place;

typedef struct places {
	orm_arena *arena;
	uint32_t *heads; /* place + 1 */
	uint64_t mask;
	place *items;
	size_t len, max;
} places;

static bool places_init(places *table, orm_arena *arena, size_t n)
{
	size_t n_heads = 64;

	while (n_heads < n * 2)
		n_heads *= 2;
	*table = (places){.arena = arena, .mask = n_heads - 1};
	table->heads = orm_arena_calloc(arena, n_heads, sizeof *table->heads);
	return table->heads != NULL;
}

static bool places_put(places *table, uint64_t hash, const ormd_record *record, uint32_t row)
{
	if (table->len == table->max) {
		const size_t max = table->max ? table->max * 2 : 256;
		place *items = max < NONE ? orm_arena_calloc(table->arena, max, sizeof *items) : NULL;

		if (!items)
			return false;
		if (table->len)
			memcpy(items, table->items, table->len * sizeof *items);
		table->items = items;
		table->max = max;
	}
	table->items[table->len++] = (place){hash, record, row, table->heads[hash & table->mask]};
	table->heads[hash & table->mask] = (uint32_t)table->len;
	return true;
}

/* The next place with this hash; start with `after` NULL. */
static const place *places_next(const places *table, uint64_t hash, const place *after)
{
	uint32_t next = after ? after->next : table->heads[hash & table->mask];

	while (next && table->items[next - 1].hash != hash)
		next = table->items[next - 1].next;
	return next ? &table->items[next - 1] : NULL;
}

/* ---- sets of values that one row can have ------------------------------------------------------------------- */

typedef struct column_list {
	const uint16_t *columns;
	uint16_t n;
} column_list;

static column_list columns_of(const orm_mapper *mapper, const uint16_t *set)
{
	if (*set == ORMD_KEY_SET)
		return (column_list){mapper->key, mapper->n_key};
	return (column_list){set, 1};
}

/* All sets of a mapper, one after the other: start with ORM_NO_NUMBER - 1 < *set. False at the end. */
static bool next_set(const orm_mapper *mapper, bool *begun, uint16_t *set)
{
	uint16_t column = 0;

	if (!*begun) {
		*begun = true;
		*set = ORMD_KEY_SET;
		return true;
	}
	if (*set != ORMD_KEY_SET)
		column = (uint16_t)(*set + 1);
	for (; column < mapper->n_columns; column++) {
		if (mapper->columns[column].unique && !(mapper->n_key == 1 && mapper->key[0] == column)) {
			*set = column;
			return true;
		}
	}
	return false;
}

static bool any_null(const ormd_layout *layout, const ormd_record *record, column_list list)
{
	for (uint16_t i = 0; i < list.n; i++) {
		if (ormd_record_is_null(layout, record, list.columns[i]))
			return true;
	}
	return false;
}

static bool cells_equal(const ormd_layout *layout, const ormd_record *a, const ormd_record *b, column_list list)
{
	for (uint16_t i = 0; i < list.n; i++) {
		if (!ormd_record_cell_equal(layout, a, b, list.columns[i]))
			return false;
	}
	return true;
}

static bool same_values(const ormd_layout *layout, const ormd_record *record, column_list list,
			const ormd_layout *other_layout, const ormd_record *other, column_list other_list)
{
	for (uint16_t i = 0; i < list.n; i++) {
		orm_value mine, theirs;

		ormd_record_value(layout, record, list.columns[i], &mine);
		ormd_record_value(other_layout, other, other_list.columns[i], &theirs);
		if (!orm_value_equal(&mine, &theirs))
			return false;
	}
	return true;
}

static uint64_t hash_of(const orm_mapper *owner, uint16_t set, const ormd_layout *layout, const ormd_record *record,
			column_list list)
{
	const uint64_t hash = ormd_record_hash(layout, record, list.columns, list.n);

	return orm_hash_u64(hash << 32 | (uint64_t)owner->number << 16 | set);
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

typedef struct planned_row {
	const mapper_work *item;
	ormd_object *object;
	const ormd_record *before; /* NULL: an INSERT */
	const ormd_record *after;  /* NULL: a DELETE */
	const ormd_object *parent; /* the database deletes it with this one's row */
	uint32_t action;
	bool covered;
	bool visited;
} planned_row;

typedef struct row_plan {
	plan_work *work;
	ormd_graph *graph;
	planned_row *rows;
	uint32_t n_rows;
	places given, made; /* by value */
	places deletions;   /* by object */
} row_plan;

static bool put_given(places *given, const planned_row *row, uint32_t number)
{
	const orm_mapper *mapper = row->item->mapper;
	const ormd_layout *layout = row->item->layout;
	bool begun = false;
	uint16_t set = 0;

	while (row->before && next_set(mapper, &begun, &set)) {
		const column_list list = columns_of(mapper, &set);

		if (any_null(layout, row->before, list) ||
		    (row->after && cells_equal(layout, row->before, row->after, list)))
			continue;
		if (!places_put(given, hash_of(mapper, set, layout, row->before, list), row->before, number))
			return false;
	}
	return true;
}

static bool put_made(places *made, const planned_row *row, uint32_t number)
{
	const orm_mapper *mapper = row->item->mapper;
	const ormd_layout *layout = row->item->layout;
	bool begun = false;
	uint16_t set = 0;

	while (row->after && next_set(mapper, &begun, &set)) {
		const column_list list = columns_of(mapper, &set);

		if (any_null(layout, row->after, list) ||
		    (row->before && cells_equal(layout, row->before, row->after, list)))
			continue;
		if (!places_put(made, hash_of(mapper, set, layout, row->after, list), row->after, number))
			return false;
	}
	return true;
}

/* The next row in the table that has this value in its set; start with `after` NULL. */
static const place *find_place(const places *table, const mapper_work *owner, uint16_t set, const ormd_layout *layout,
			       const ormd_record *record, column_list list, const place *after)
{
	const column_list owned = columns_of(owner->mapper, &set);
	const uint64_t hash = hash_of(owner->mapper, set, layout, record, list);
	const place *found = after;

	while ((found = places_next(table, hash, found))) {
		if (same_values(owner->layout, found->record, owned, layout, record, list))
			return found;
	}
	return NULL;
}

/* ---- ties --------------------------------------------------------------------------------------------------- */

static bool tie_values(row_plan *plan, const planned_row *row)
{
	const orm_mapper *mapper = row->item->mapper;
	const ormd_layout *layout = row->item->layout;
	bool begun = false;
	uint16_t set = 0;

	while (next_set(mapper, &begun, &set)) {
		const column_list list = columns_of(mapper, &set);
		const place *found = NULL;

		if (any_null(layout, row->after, list) ||
		    (row->before && cells_equal(layout, row->before, row->after, list)))
			continue;
		while ((found = find_place(&plan->given, row->item, set, layout, row->after, list, found))) {
			if (!ormd_graph_tie(plan->graph, ORMD_TIE_VALUE, plan->rows[found->row].action, row->action,
					    set, set))
				return false;
		}
	}
	return true;
}

/* The foreign key's columns in the order of the set that it refers to. */
static column_list aligned(const orm_foreign_key *key, column_list target, uint16_t *columns)
{
	for (uint16_t i = 0; i < target.n; i++) {
		for (uint16_t j = 0; j < key->n_columns; j++) {
			if (key->target_columns[j] == target.columns[i])
				columns[i] = key->columns[j];
		}
	}
	return (column_list){columns, target.n};
}

static bool tie_foreign_key(row_plan *plan, const planned_row *row, uint16_t number)
{
	const orm_foreign_key *key = &row->item->mapper->foreign_keys[number];
	const mapper_work *target = plan->work->by_mapper[key->target->number];
	const ormd_layout *layout = row->item->layout;
	uint16_t columns[ORM_MAX_COLUMNS];

	if (!target)
		return true;

	const uint16_t set = key->to_key ? ORMD_KEY_SET : key->target_columns[0];
	const column_list list = aligned(key, columns_of(key->target, &set), columns);
	const place *found = NULL;

	if (row->before && row->after && cells_equal(layout, row->before, row->after, list))
		return true;
	while (row->after && !any_null(layout, row->after, list) &&
	       (found = find_place(&plan->made, target, set, layout, row->after, list, found))) {
		if (!ormd_graph_tie(plan->graph, ORMD_TIE_ROW, plan->rows[found->row].action, row->action, set, number))
			return false;
	}
	found = NULL;
	while (row->before && !any_null(layout, row->before, list) &&
	       (found = find_place(&plan->given, target, set, layout, row->before, list, found))) {
		if (!ormd_graph_tie(plan->graph, ORMD_TIE_RELEASE, row->action, plan->rows[found->row].action,
				    row->covered ? ORM_NO_NUMBER : number, 0))
			return false;
	}
	return true;
}

static bool tie_rows(row_plan *plan)
{
	for (uint32_t i = 0; i < plan->n_rows; i++) {
		if (!put_given(&plan->given, &plan->rows[i], i) || !put_made(&plan->made, &plan->rows[i], i))
			return false;
	}
	for (uint32_t i = 0; i < plan->n_rows; i++) {
		const planned_row *row = &plan->rows[i];

		if (row->after && !tie_values(plan, row))
			return false;
		for (uint16_t j = 0; j < row->item->mapper->n_foreign_keys; j++) {
			if (!tie_foreign_key(plan, row, j))
				return false;
		}
	}
	return true;
}

/* ---- row switches ------------------------------------------------------------------------------------------- */

/*
 * A row is deleted, and another with its key added. One UPDATE is right if the deletion would do nothing else, and if
 * no column is left to the server, which an UPDATE cannot do. Then rows that refer to it may stay, too.
 */
static bool update_is_right(const plan_work *work, const mapper_work *item, const ormd_record *record)
{
	const orm_registry *registry = work->session->registry;

	for (uint16_t i = 0; i < item->layout->n_columns; i++) {
		if (i != item->mapper->version && ormd_record_is_unset(item->layout, record, i))
			return false;
	}
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		for (uint16_t j = 0; j < registry->mappers[i].n_foreign_keys; j++) {
			const orm_foreign_key *key = &registry->mappers[i].foreign_keys[j];

			if (key->target == item->mapper && key->on_delete != ORM_NO_ACTION &&
			    key->on_delete != ORM_RESTRICT)
				return false;
		}
	}
	return true;
}

static planned_shape *difference(plan_work *work, mapper_work *item, const ormd_record *before,
				 const ormd_record *after)
{
	uint8_t bits[ORM_MAX_COLUMNS / 8] = {0};

	for (uint16_t i = 0; i < item->layout->n_columns; i++) {
		if (i != item->mapper->version && !ormd_record_cell_equal(item->layout, before, after, i))
			bits[i >> 3] = (uint8_t)(bits[i >> 3] | 1u << (i & 7));
	}
	return ormd_plan_shape(work, item, bits);
}

/* The deletion whose key the added object takes, NONE if there is none; deletions are numbers of item->deletes. */
static uint32_t find_deleted(const places *deleted, const mapper_work *item, const ormd_record *record)
{
	const column_list key = {item->mapper->key, item->mapper->n_key};
	const place *found = find_place(deleted, item, ORMD_KEY_SET, item->layout, record, key, NULL);

	return found ? found->row : NONE;
}

/* ---- actions ------------------------------------------------------------------------------------------------ */

static planned_row *add_row(row_plan *plan, const mapper_work *item, ormd_object *object, const ormd_record *before,
			    const ormd_record *after)
{
	planned_row *row = &plan->rows[plan->n_rows++];

	*row = (planned_row){.item = item, .object = object, .before = before, .after = after, .action = NONE};
	return row;
}

static bool add_action(row_plan *plan, planned_row *row, ormd_action_kind kind, const ormd_shape *shape,
		       ormd_object *replaced)
{
	row->action = ormd_graph_add(
		plan->graph,
		&(ormd_action){.object = row->object, .replaced = replaced, .shape = shape, .kind = (uint8_t)kind});
	return row->action != NONE;
}

static bool add_insert(row_plan *plan, mapper_work *item, ormd_object *object, const places *deleted)
{
	const uint32_t number = item->n_deletes ? find_deleted(deleted, item, object->record) : NONE;
	const planned_shape *shape;

	if (number != NONE && item->deletes[number] && update_is_right(plan->work, item, object->record)) {
		ormd_object *replaced = item->deletes[number];
		const ormd_record *before = ormd_object_committed(replaced);

		item->deletes[number] = NULL;
		shape = difference(plan->work, item, before, object->record);
		return shape && add_action(plan, add_row(plan, item, object, before, object->record), ORMD_UPDATE,
					   &shape->shape, replaced);
	}
	/* Rows that refer to the key by a foreign key that does nothing at deletions will find it again. */
	plan->work->defer = plan->work->defer || number != NONE;
	shape = ormd_plan_insert_shape(plan->work, item, object->record);
	return shape &&
	       add_action(plan, add_row(plan, item, object, NULL, object->record), ORMD_INSERT, &shape->shape, NULL);
}

static bool add_inserts(row_plan *plan, mapper_work *item)
{
	const column_list key = {item->mapper->key, item->mapper->n_key};
	places deleted;

	if (!places_init(&deleted, plan->work->arena, item->n_deletes))
		return false;
	for (uint32_t i = 0; i < item->n_deletes && item->n_inserts > 0; i++) {
		const ormd_record *record = ormd_object_committed(item->deletes[i]);

		if (!places_put(&deleted, hash_of(item->mapper, ORMD_KEY_SET, item->layout, record, key), record, i))
			return false;
	}
	for (size_t i = 0; i < item->n_inserts; i++) {
		if (!add_insert(plan, item, item->inserts[i], &deleted))
			return false;
	}
	return true;
}

static bool add_updates(row_plan *plan, mapper_work *item)
{
	if (!ormd_plan_sort_updates(plan->work, item))
		return false;
	for (size_t i = 0; i < item->n_updates; i++) {
		ormd_object *object = item->updates[i].object;

		if (!add_action(plan, add_row(plan, item, object, object->change->base, object->record), ORMD_UPDATE,
				&item->updates[i].shape->shape, NULL))
			return false;
	}
	return true;
}

static uint64_t hash_of_object(const ormd_object *object)
{
	return orm_hash_u64((uint64_t)(uintptr_t)object);
}

static planned_row *deletion_of(const row_plan *plan, const ormd_object *object)
{
	const uint64_t hash = hash_of_object(object);
	const place *found = NULL;

	while ((found = places_next(&plan->deletions, hash, found))) {
		if (plan->rows[found->row].object == object)
			return &plan->rows[found->row];
	}
	return NULL;
}

static bool add_deletes(row_plan *plan, mapper_work *item)
{
	for (size_t i = 0; i < item->n_deletes; i++) {
		ormd_object *object = item->deletes[i];

		if (!object) /* switched */
			continue;

		const uint32_t number = plan->n_rows;
		planned_row *row = add_row(plan, item, object, ormd_object_committed(object), NULL);

		row->parent = ormd_plan_covering(plan->work, item, object);
		if (!places_put(&plan->deletions, hash_of_object(object), row->before, number))
			return false;
	}
	return true;
}

/* Rows that the database deletes with another share its action; of those that cover each other in a circle, one has its
 * own. */
static bool add_delete_actions(row_plan *plan, uint32_t first)
{
	for (uint32_t i = first; i < plan->n_rows; i++) {
		planned_row *row = &plan->rows[i];
		planned_row *parent;

		while (row->action == NONE && !row->visited && row->parent &&
		       (parent = deletion_of(plan, row->parent))) {
			row->visited = true;
			row = parent;
		}
		if (row->action == NONE && !add_action(plan, row, ORMD_DELETE, NULL, NULL))
			return false;

		const uint32_t action = row->action;

		for (planned_row *child = &plan->rows[i]; child != row && child->action == NONE;) {
			child->action = action;
			child->covered = true;
			child = deletion_of(plan, child->parent);
		}
	}
	return true;
}

static bool add_actions(row_plan *plan)
{
	plan_work *work = plan->work;
	bool ok = true;

	for (size_t i = 0; i < work->n_items && ok; i++)
		ok = add_inserts(plan, &work->items[i]);
	for (size_t i = 0; i < work->n_items && ok; i++)
		ok = add_updates(plan, &work->items[i]);

	const uint32_t first = plan->n_rows;

	for (size_t i = work->n_items; i-- > 0 && ok;)
		ok = add_deletes(plan, &work->items[i]);
	return ok && add_delete_actions(plan, first);
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

static bool same_shape(const ormd_shape *a, const ormd_shape *b)
{
	if (a == b)
		return true;
	if (!a || !b || a->n_columns != b->n_columns || !a->stand_ins != !b->stand_ins)
		return false;
	return memcmp(a->columns, b->columns, a->n_columns * sizeof *a->columns) == 0 &&
	       (!a->stand_ins || memcmp(a->stand_ins, b->stand_ins, a->n_columns) == 0);
}

static bool same_statement(const ormd_action *a, const ormd_action *b)
{
	return a->kind == b->kind && a->phase == b->phase && a->object->mapper == b->object->mapper &&
	       !a->replaced == !b->replaced && same_shape(a->shape, b->shape);
}

static bool add_steps(row_plan *plan, const uint32_t *sequence, size_t n)
{
	plan_work *work = plan->work;
	ormd_object **objects = orm_arena_calloc(work->arena, n, sizeof *objects);
	ormd_object **replaced = orm_arena_calloc(work->arena, n, sizeof *replaced);
	size_t start = 0;

	if (!objects || !replaced)
		return false;
	for (size_t i = 0; i < n; i++) {
		const ormd_action *action = ormd_graph_action(plan->graph, sequence[i]);

		objects[i] = action->object;
		replaced[i] = action->replaced;
		if (i + 1 < n && same_statement(action, ormd_graph_action(plan->graph, sequence[i + 1])))
			continue;

		ormd_plan_step step = {.kind = (ormd_action_kind)action->kind,
				       .phase = (ormd_phase)action->phase,
				       .mapper = &work->session->registry->mappers[action->object->mapper],
				       .objects = objects + start,
				       .replaced = action->replaced ? replaced + start : NULL,
				       .n_objects = i + 1 - start};

		if (action->shape)
			step.shape = *action->shape;
		if (!ormd_plan_add_step(work, &step))
			return false;
		start = i + 1;
	}
	return true;
}

bool ormd_plan_rows(plan_work *work)
{
	row_plan plan = {.work = work};
	const uint32_t *sequence = NULL;
	size_t n = 0;

	plan.graph = ormd_graph_new(work->session->registry, work->arena, work->n_rows);
	plan.rows = orm_arena_calloc(work->arena, work->n_rows, sizeof *plan.rows);
	if (!plan.graph || !plan.rows || !places_init(&plan.given, work->arena, work->n_rows) ||
	    !places_init(&plan.made, work->arena, work->n_rows) ||
	    !places_init(&plan.deletions, work->arena, work->n_rows))
		return false;
	if (!add_actions(&plan) || !tie_rows(&plan) || !ormd_graph_run(plan.graph, &sequence, &n))
		return false;
	work->defer = work->defer || ormd_graph_is_torn(plan.graph);
	return add_steps(&plan, sequence, n);
}

/* ---- is it needed? ------------------------------------------------------------------------------------------ */

static bool takes(const places *given, const planned_row *row)
{
	const orm_mapper *mapper = row->item->mapper;
	bool begun = false;
	uint16_t set = 0;

	while (next_set(mapper, &begun, &set)) {
		const column_list list = columns_of(mapper, &set);

		if (!any_null(row->item->layout, row->after, list) &&
		    find_place(given, row->item, set, row->item->layout, row->after, list, NULL))
			return true;
	}
	return false;
}

bool ormd_plan_values_taken(plan_work *work, bool *taken)
{
	*taken = false;
	for (size_t i = 0; i < work->n_items && !*taken; i++) {
		const mapper_work *item = &work->items[i];
		const size_t n_movers = item->moves_key ? item->n_updates : 0;
		places given;

		if (item->n_deletes + n_movers == 0 || item->n_inserts + n_movers == 0)
			continue;
		if (!places_init(&given, work->arena, item->n_deletes + n_movers))
			return false;
		for (size_t j = 0; j < item->n_deletes; j++) {
			const planned_row row = {.item = item, .before = ormd_object_committed(item->deletes[j])};

			if (!put_given(&given, &row, 0))
				return false;
		}
		for (size_t j = 0; j < n_movers; j++) {
			const ormd_object *object = item->updates[j].object;
			const planned_row row = {.item = item, .before = object->change->base, .after = object->record};

			if (!put_given(&given, &row, 0))
				return false;
		}
		for (size_t j = 0; j < item->n_inserts && !*taken; j++) {
			const planned_row row = {.item = item, .after = item->inserts[j]->record};

			*taken = takes(&given, &row);
		}
		for (size_t j = 0; j < n_movers && !*taken; j++) {
			const planned_row row = {.item = item, .after = item->updates[j].object->record};

			*taken = takes(&given, &row);
		}
	}
	return true;
}
