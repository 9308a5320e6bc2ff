/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "client/mirror_state.h"

/* ---- handles ------------------------------------------------------------------------------------------------ */

static bool page_has_number(const void *page, const void *number)
{
	return ((const orm_handle_page *)page)->number == *(const uint64_t *)number;
}

/* Remembers the page, because handles come in rows. */
static orm_handle_page *find_page(orm_mirror *mirror, uint64_t number)
{
	orm_handle_page *page = mirror->last_page;

	if (page && page->number == number)
		return page;
	page = orm_map_get(&mirror->pages, orm_hash_u64(number), page_has_number, &number);
	if (page)
		mirror->last_page = page;
	return page;
}

bool orm_handle_put(orm_mirror *mirror, uint64_t handle, orm_object *object)
{
	const uint64_t number = handle / ORM_HANDLES_PER_PAGE;
	orm_handle_page *page = find_page(mirror, number);

	if (!page) {
		page = orm_arena_calloc(&mirror->arena, 1, sizeof *page);
		if (!page)
			return false;
		page->number = number;
		if (!orm_map_put(&mirror->pages, orm_hash_u64(number), page))
			return false;
	}
	mirror->last_page = page;
	page->objects[handle % ORM_HANDLES_PER_PAGE] = object;
	return true;
}

void orm_handle_remove(orm_mirror *mirror, uint64_t handle)
{
	orm_handle_page *page = find_page(mirror, handle / ORM_HANDLES_PER_PAGE);

	if (page)
		page->objects[handle % ORM_HANDLES_PER_PAGE] = NULL;
}

orm_object *orm_mirror_by_handle(orm_mirror *mirror, uint64_t handle)
{
	const orm_handle_page *page = find_page(mirror, handle / ORM_HANDLES_PER_PAGE);

	return page ? page->objects[handle % ORM_HANDLES_PER_PAGE] : NULL;
}

/* ---- primary keys ------------------------------------------------------------------------------------------- */

static bool has_integer_key(const void *value, const void *key)
{
	const orm_object *object = value;
	const orm_layout *layout = orm_layout_of(object);

	return orm_member_integer(&layout->members[layout->mapper->key[0]], orm_snapshot_of(object)) ==
	       *(const int64_t *)key;
}

static bool has_key(const void *value, const void *key)
{
	const orm_object *object = value;
	const orm_layout *layout = orm_layout_of(object);
	const orm_value *values = key;

	for (uint16_t i = 0; i < layout->mapper->n_key; i++) {
		orm_value own;

		orm_member_get(&layout->members[layout->mapper->key[i]], orm_snapshot_of(object), &own);
		if (!orm_value_equal(&own, &values[i]))
			return false;
	}
	return true;
}

static uint64_t hash_values(const orm_value *values, size_t n)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < n; i++)
		hash = orm_value_hash(&values[i], hash);
	return hash;
}

static uint64_t hash_key(orm_mirror *mirror, const orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	const void *snapshot = orm_snapshot_of(object);

	if (layout->integer_key)
		return orm_hash_u64((uint64_t)orm_member_integer(&layout->members[layout->mapper->key[0]], snapshot));
	for (uint16_t i = 0; i < layout->mapper->n_key; i++)
		orm_member_get(&layout->members[layout->mapper->key[i]], snapshot, &mirror->other_values[i]);
	return hash_values(mirror->other_values, layout->mapper->n_key);
}

bool orm_key_is_known(const orm_layout *layout, const void *structure)
{
	if (layout->mapper->generated_key)
		return orm_member_integer(&layout->members[layout->mapper->key[0]], structure) != 0;
	for (uint16_t i = 0; i < layout->mapper->n_key; i++) {
		if (orm_member_is_null(&layout->members[layout->mapper->key[i]], structure))
			return false;
	}
	return true;
}

/* Is it among those that the map has caught up with? */
static bool is_indexed(const orm_model_state *model, const orm_object *object)
{
	return orm_slab_of(object)->n_before + object->index < model->n_indexed;
}

static bool has_known_key(const orm_object *object)
{
	return !(object->flags & OBJECT_NEW) || orm_key_is_known(orm_layout_of(object), orm_snapshot_of(object));
}

bool orm_key_put(orm_mirror *mirror, orm_object *object)
{
	orm_model_state *model = &mirror->models[orm_layout_of(object)->number];

	if (!is_indexed(model, object) || !has_known_key(object))
		return true;
	return orm_map_put(&model->keys, hash_key(mirror, object), object);
}

void orm_key_remove(orm_mirror *mirror, orm_object *object)
{
	orm_model_state *model = &mirror->models[orm_layout_of(object)->number];

	if (is_indexed(model, object))
		orm_map_remove(&model->keys, hash_key(mirror, object), object);
}

#define AHEAD 8 /* objects whose place in the map is fetched while others are put */

static void prefetch_key(orm_mirror *mirror, const orm_model_state *model, const orm_object *object)
{
	const orm_map *map = &model->keys;

	if (model->layout->integer_key)
		__builtin_prefetch(&map->slots[(hash_key(mirror, object) >> 32) & (map->n_slots - 1)], 1);
}

static bool index_slab(orm_mirror *mirror, orm_model_state *model, orm_slab *slab)
{
	const uint32_t first = (uint32_t)(model->n_indexed - slab->n_before);

	for (uint32_t i = first; i < slab->n_objects; i++) {
		orm_object *object = &slab->objects[i];

		if (i + AHEAD < slab->n_objects)
			prefetch_key(mirror, model, object + AHEAD);
		if (!(object->flags & OBJECT_GONE) && has_known_key(object) &&
		    !orm_map_put(&model->keys, hash_key(mirror, object), object))
			return false;
		model->n_indexed++;
	}
	return true;
}

/* Put what has come since the last look-up. */
static void catch_up(orm_mirror *mirror, orm_model_state *model)
{
	const orm_slab *last = model->last;
	orm_slab *slab = model->indexed ? model->indexed : model->first;

	if (!last || model->n_indexed == last->n_before + last->n_objects)
		return;
	if (!orm_map_reserve(&model->keys, last->n_before + last->n_objects - model->n_indexed)) {
		mirror->out_of_memory = true;
		return;
	}
	for (; slab; slab = slab->next) {
		if (!index_slab(mirror, model, slab)) {
			mirror->out_of_memory = true;
			return;
		}
		model->indexed = slab;
	}
}

orm_object *orm_key_find_integer(orm_mirror *mirror, const orm_layout *layout, int64_t key)
{
	orm_model_state *model = &mirror->models[layout->number];

	catch_up(mirror, model);
	return orm_map_get(&model->keys, orm_hash_u64((uint64_t)key), has_integer_key, &key);
}

orm_object *orm_key_find(orm_mirror *mirror, const orm_layout *layout, const orm_value *key)
{
	orm_model_state *model = &mirror->models[layout->number];

	if (layout->integer_key)
		return orm_key_find_integer(mirror, layout, key[0].integer);
	catch_up(mirror, model);
	return orm_map_get(&model->keys, hash_values(key, layout->mapper->n_key), has_key, key);
}

orm_object *orm_mirror_by_key(orm_mirror *mirror, const orm_layout *layout, const orm_value *key)
{
	return orm_key_find(mirror, layout, key);
}
