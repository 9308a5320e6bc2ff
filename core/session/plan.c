/* SPDX-License-Identifier: MIT */
#include "session/plan.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "session/plan_work.h"

/* ---- shapes ------------------------------------------------------------------------------------------------- */

static bool has_bit(const uint8_t *bits, uint16_t column)
{
	return bits[column >> 3] >> (column & 7) & 1;
}

static void set_bit(uint8_t *bits, uint16_t column)
{
	bits[column >> 3] = (uint8_t)(bits[column >> 3] | 1u << (column & 7));
}

static planned_shape *new_shape(plan_work *work, mapper_work *item, const uint8_t *bits, uint64_t hash)
{
	const orm_mapper *mapper = item->mapper;
	planned_shape *shape = orm_arena_calloc(work->arena, 1, sizeof *shape);
	uint16_t *columns = orm_arena_calloc(work->arena, mapper->n_columns, sizeof *columns);

	if (!shape || !columns)
		return NULL;
	shape->shape.columns = columns;
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (!has_bit(bits, i))
			continue;
		columns[shape->shape.n_columns++] = i;
		shape->moves_key = shape->moves_key || mapper->columns[i].primary_key || mapper->columns[i].unique;
	}
	shape->hash = hash;
	shape->next = item->shapes;
	item->shapes = shape;
	item->n_shapes++;
	return shape;
}

static bool has_columns(const planned_shape *shape, const uint8_t *bits, uint16_t n_columns)
{
	uint16_t n = 0;

	for (uint16_t i = 0; i < n_columns; i++) {
		if (has_bit(bits, i) && (n >= shape->shape.n_columns || shape->shape.columns[n++] != i))
			return false;
	}
	return n == shape->shape.n_columns;
}

planned_shape *ormd_plan_shape(plan_work *work, mapper_work *item, const uint8_t *bits)
{
	const uint16_t n_columns = item->mapper->n_columns;
	const uint64_t hash = orm_hash_bytes(bits, item->layout->bits_size);

	if (item->latest && item->latest->hash == hash && has_columns(item->latest, bits, n_columns))
		return item->latest;
	for (planned_shape *shape = item->shapes; shape; shape = shape->next) {
		if (shape->hash == hash && has_columns(shape, bits, n_columns))
			return item->latest = shape;
	}
	return item->latest = new_shape(work, item, bits, hash);
}

/* What an INSERT writes: all but what is left to the server. */
const planned_shape *ormd_plan_insert_shape(plan_work *work, mapper_work *item, const ormd_record *record)
{
	const ormd_layout *layout = item->layout;
	uint8_t bits[ORM_MAX_COLUMNS / 8] = {0};

	if (!layout->has_unset) {
		if (!item->whole) {
			for (uint16_t i = 0; i < layout->n_columns; i++)
				set_bit(bits, i);
			item->whole = ormd_plan_shape(work, item, bits);
		}
		return item->whole;
	}
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		if (i == item->mapper->version || !ormd_record_is_unset(layout, record, i))
			set_bit(bits, i);
	}
	return ormd_plan_shape(work, item, bits);
}

/* Which columns have got another value. The version is the flush's own affair. */
static bool changed_columns(const mapper_work *item, const ormd_object *object, uint8_t *bits)
{
	const ormd_change *change = object->change;
	bool any = false;

	for (uint16_t i = 0; i < item->layout->n_columns; i++) {
		if (ormd_change_mark(change, i).revision == 0 || i == item->mapper->version ||
		    ormd_record_cell_equal(item->layout, change->base, object->record, i))
			continue;
		set_bit(bits, i);
		any = true;
	}
	return any;
}

/* ---- what is pending ---------------------------------------------------------------------------------------- */

static bool init_item(plan_work *work, const orm_mapper *mapper, const ormd_mapper_unit *unit)
{
	mapper_work *item = &work->items[work->n_items++];

	work->by_mapper[mapper->number] = item;
	item->mapper = mapper;
	item->layout = &unit->layout;
	item->inserts = orm_arena_alloc(work->arena, unit->n_new * sizeof *item->inserts);
	item->updates = orm_arena_alloc(work->arena, unit->n_changed * sizeof *item->updates);
	item->deletes = orm_arena_alloc(work->arena, unit->n_deleted * sizeof *item->deletes);
	return item->inserts && item->updates && item->deletes;
}

static bool init_work(plan_work *work)
{
	const ormd_session *session = work->session;
	const orm_registry *registry = session->registry;
	size_t n_items = 0;

	for (uint16_t i = 0; i < registry->n_mappers; i++)
		n_items += ormd_unit_mapper_pending(session, &registry->mappers[i]);
	work->by_mapper = orm_arena_calloc(work->arena, registry->n_mappers, sizeof *work->by_mapper);
	work->items = orm_arena_calloc(work->arena, n_items, sizeof *work->items);
	if (!work->by_mapper || !work->items)
		return false;
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *mapper = registry->by_depth[i];

		if (ormd_unit_mapper_pending(session, mapper) &&
		    !init_item(work, mapper, &session->mappers[mapper->number]))
			return false;
	}
	return true;
}

static int by_order(const void *a, const void *b)
{
	const uint64_t first = (*(ormd_object *const *)a)->change->order;
	const uint64_t second = (*(ormd_object *const *)b)->change->order;

	return (first > second) - (first < second);
}

static void sort_inserts(mapper_work *item)
{
	for (size_t i = 1; i < item->n_inserts; i++) {
		if (item->inserts[i - 1]->change->order > item->inserts[i]->change->order) {
			qsort(item->inserts, item->n_inserts, sizeof *item->inserts, by_order);
			return;
		}
	}
}

static bool add_update(plan_work *work, mapper_work *item, ormd_object *object)
{
	uint8_t bits[ORM_MAX_COLUMNS / 8] = {0};
	planned_shape *shape;

	if (!changed_columns(item, object, bits))
		return true;
	if (!(shape = ormd_plan_shape(work, item, bits)))
		return false;
	shape->n_rows++;
	item->moves_key = item->moves_key || shape->moves_key;
	item->updates[item->n_updates++] = (planned_update){object, shape};
	work->n_rows++;
	return true;
}

/*
 * Changes and objects that were made one after the other mostly lie one after the other: have those after next brought
 * from memory, which is what walking the list would wait for. A wrong guess costs nothing.
 */
static inline void look_ahead(const ormd_change *change)
{
	enum { AHEAD = 8 };
	const uintptr_t here = (uintptr_t)change;

	__builtin_prefetch((const void *)(here + AHEAD * ((uintptr_t)change->next - here)));
	__builtin_prefetch((const void *)((uintptr_t)change->object + AHEAD * sizeof(ormd_object)));
}

static bool collect(plan_work *work)
{
	for (const ormd_change *change = work->session->pending.first; change; change = change->next) {
		look_ahead(change);

		ormd_object *object = change->object;
		mapper_work *item = work->by_mapper[object->mapper];

		switch ((ormd_state)object->state) {
		case ORMD_STATE_NEW:
			item->inserts[item->n_inserts++] = object;
			work->n_rows++;
			break;
		case ORMD_STATE_PERSISTENT:
			if (!add_update(work, item, object))
				return false;
			break;
		case ORMD_STATE_DELETED:
			item->deletes[item->n_deletes++] = object;
			work->n_rows++;
			break;
		default:
			break;
		}
	}
	for (size_t i = 0; i < work->n_items; i++)
		sort_inserts(&work->items[i]);
	return true;
}

/* ---- is the order of the tables enough? --------------------------------------------------------------------- */

/* Do the key's columns have the foreign key's values? */
static bool refers_to(const ormd_layout *layout, const ormd_record *record, const orm_foreign_key *key,
		      const ormd_layout *target_layout, const ormd_record *target)
{
	for (uint16_t i = 0; i < key->n_columns; i++) {
		orm_value mine, theirs;

		ormd_record_value(layout, record, key->columns[i], &mine);
		ormd_record_value(target_layout, target, key->target_columns[i], &theirs);
		if (mine.null || !orm_value_equal(&mine, &theirs))
			return false;
	}
	return true;
}

static ormd_object *find_referred(const plan_work *work, const ormd_layout *layout, const ormd_record *record,
				  const orm_foreign_key *key)
{
	const orm_mapper *target = key->target;
	orm_value values[ORM_MAX_COLUMNS];

	for (uint16_t i = 0; i < target->n_key; i++) {
		for (uint16_t j = 0; j < key->n_columns; j++) {
			if (key->target_columns[j] == target->key[i])
				ormd_record_value(layout, record, key->columns[j], &values[i]);
		}
		if (values[i].null)
			return NULL;
	}
	return ormd_unit_by_key(work->session, target, values);
}

/* Is the referred row written before the object's, if tables are written one after the other? Most trees are added from
 * the root. */
static bool refers_back(const plan_work *work, const mapper_work *item, const ormd_object *object,
			const orm_foreign_key *key)
{
	const ormd_object *referred;

	if (!key->target->in_cycle)
		return true;
	if (!key->to_key)
		return false;
	referred = find_referred(work, item->layout, object->record, key);
	if (!referred || referred == object || referred->state != ORMD_STATE_NEW)
		return true;
	return key->target == item->mapper ? referred->change->order < object->change->order
					   : work->by_mapper[referred->mapper] < item;
}

static bool all_refer_back(const plan_work *work, const mapper_work *item)
{
	for (size_t i = 0; i < item->n_inserts; i++) {
		for (uint16_t j = 0; j < item->mapper->n_foreign_keys; j++) {
			if (!refers_back(work, item, item->inserts[i], &item->mapper->foreign_keys[j]))
				return false;
		}
	}
	return true;
}

static bool is_referred(const orm_registry *registry, const orm_mapper *mapper)
{
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		for (uint16_t j = 0; j < registry->mappers[i].n_foreign_keys; j++) {
			if (registry->mappers[i].foreign_keys[j].target == mapper)
				return true;
		}
	}
	return false;
}

/* Rows of models in a circle may refer to each other in any order, and others to a key that comes or goes. */
static bool rows_may_wait(plan_work *work)
{
	size_t n_inserts = 0, n_deletes = 0;

	for (size_t i = 0; i < work->n_items; i++) {
		const mapper_work *item = &work->items[i];

		/* Rows that are not in the session may refer to a value that is away only for a while. */
		work->defer = work->defer || (item->moves_key && is_referred(work->session->registry, item->mapper));
		n_inserts += item->mapper->in_cycle ? item->n_inserts : 0;
		n_deletes += item->mapper->in_cycle ? item->n_deletes : 0;
	}
	if (work->defer)
		return true;
	if (n_inserts + n_deletes <= 1)
		return false;
	for (size_t i = 0; i < work->n_items && n_deletes == 0; i++) {
		if (work->items[i].mapper->in_cycle && !all_refer_back(work, &work->items[i]))
			return true;
	}
	return n_deletes > 0;
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

bool ormd_plan_add_step(plan_work *work, const ormd_plan_step *step)
{
	if (work->n_steps == work->max_steps) {
		const size_t max_steps = work->max_steps ? work->max_steps * 2 : 16;
		ormd_plan_step *steps = orm_arena_calloc(work->arena, max_steps, sizeof *steps);

		if (!steps)
			return false;
		if (work->n_steps)
			memcpy(steps, work->steps, work->n_steps * sizeof *steps);
		work->steps = steps;
		work->max_steps = max_steps;
	}
	work->steps[work->n_steps++] = *step;
	return true;
}

/* Runs of one shape, so that the order of orm_add stays. */
static bool add_inserts(plan_work *work, mapper_work *item)
{
	size_t start = 0;
	const planned_shape *shape = NULL;

	for (size_t i = 0; i <= item->n_inserts; i++) {
		const planned_shape *next = NULL;

		if (i < item->n_inserts) {
			next = item->whole ? item->whole : ormd_plan_insert_shape(work, item, item->inserts[i]->record);
			if (!next)
				return false;
		}
		if (next == shape)
			continue;
		if (i > start && !ormd_plan_add_step(work, &(ormd_plan_step){.kind = ORMD_INSERT,
									     .mapper = item->mapper,
									     .shape = shape->shape,
									     .objects = item->inserts + start,
									     .n_objects = i - start}))
			return false;
		start = i;
		shape = next;
	}
	return true;
}

bool ormd_plan_sort_updates(plan_work *work, mapper_work *item)
{
	planned_update *sorted = orm_arena_alloc(work->arena, item->n_updates * sizeof *sorted);
	uint32_t first = 0;

	if (!sorted)
		return false;
	for (planned_shape *shape = item->shapes; shape; shape = shape->next) {
		shape->next_row = first;
		first += shape->n_rows;
	}
	for (size_t i = 0; i < item->n_updates; i++)
		sorted[item->updates[i].shape->next_row++] = item->updates[i];
	item->updates = sorted;
	return true;
}

/* All of one shape together. */
static bool add_updates(plan_work *work, mapper_work *item)
{
	ormd_object **objects = orm_arena_alloc(work->arena, item->n_updates * sizeof *objects);
	size_t start = 0;

	if (!objects || !ormd_plan_sort_updates(work, item))
		return false;
	for (size_t i = 0; i < item->n_updates; i++) {
		const planned_shape *shape = item->updates[i].shape;

		objects[i] = item->updates[i].object;
		if (i + 1 < item->n_updates && item->updates[i + 1].shape == shape)
			continue;
		if (!ormd_plan_add_step(work, &(ormd_plan_step){.kind = ORMD_UPDATE,
								.mapper = item->mapper,
								.shape = shape->shape,
								.objects = objects + start,
								.n_objects = i + 1 - start}))
			return false;
		start = i + 1;
	}
	return true;
}

static bool add_deletes(plan_work *work, mapper_work *item)
{
	size_t n_left = 0;

	for (size_t i = 0; i < item->n_deletes; i++) {
		if (!ormd_plan_covering(work, item, item->deletes[i]))
			item->deletes[n_left++] = item->deletes[i];
	}
	item->n_deletes = n_left;
	return n_left == 0 || ormd_plan_add_step(work, &(ormd_plan_step){.kind = ORMD_DELETE,
									 .mapper = item->mapper,
									 .objects = item->deletes,
									 .n_objects = n_left});
}

static bool plan_tables(plan_work *work)
{
	bool ok = true;

	for (size_t i = 0; i < work->n_items && ok; i++)
		ok = add_inserts(work, &work->items[i]);
	for (size_t i = 0; i < work->n_items && ok; i++)
		ok = add_updates(work, &work->items[i]);
	for (size_t i = work->n_items; i-- > 0 && ok;)
		ok = add_deletes(work, &work->items[i]);
	return ok;
}

const ormd_object *ormd_plan_covering(const plan_work *work, const mapper_work *item, const ormd_object *object)
{
	const ormd_record *record = ormd_object_committed(object);

	if (item->mapper->version != ORM_NO_NUMBER) /* which its own DELETE has to check */
		return NULL;
	for (uint16_t i = 0; i < item->mapper->n_foreign_keys; i++) {
		const orm_foreign_key *key = &item->mapper->foreign_keys[i];
		const mapper_work *parents = work->by_mapper[key->target->number];
		const ormd_object *parent;

		if (key->on_delete != ORM_CASCADE || !key->to_key || !parents || parents->n_deletes == 0)
			continue;
		parent = find_referred(work, item->layout, record, key);
		if (parent && parent != object && parent->state == ORMD_STATE_DELETED &&
		    refers_to(item->layout, record, key, parents->layout, ormd_object_committed(parent)))
			return parent;
	}
	return NULL;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

orm_status ormd_plan_make(const ormd_session *session, orm_arena *arena, ormd_plan *plan, orm_error *error)
{
	plan_work work = {.session = session, .arena = arena};
	bool by_row = false;

	if (!init_work(&work) || !collect(&work))
		goto failed;
	by_row = rows_may_wait(&work);
	if (!by_row && !ormd_plan_values_taken(&work, &by_row))
		goto failed;
	if (!(by_row ? ormd_plan_rows(&work) : plan_tables(&work)))
		goto failed;
	*plan = (ormd_plan){.steps = work.steps, .n_steps = work.n_steps, .defer = work.defer};
	return ORM_OK;
failed:
	return orm_fail(error, ORM_ENOMEM, "out of memory");
}
