/* SPDX-License-Identifier: MIT */
#include "client/mirror.h"

#include <stdlib.h>

#include "client/family.h"
#include "client/relationship.h"
#include "model/fail.h"

orm_status orm_mirror_no_memory(orm_error *error)
{
	return orm_fail(error, ORM_ENOMEM, "out of memory for the session's objects");
}

orm_status orm_mirror_not_ours(const char *model, const char *name, orm_error *error)
{
	static const char what[] = "the address is not an object of this session: pass one that it gave";

	return model ? orm_fail_at(error, ORM_EINVAL, model, name, what) : orm_fail(error, ORM_EINVAL, what);
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static bool init_model(orm_mirror *mirror, uint16_t number)
{
	orm_model_state *model = &mirror->models[number];

	*model = (orm_model_state){.layout = &mirror->binding->layouts[number]};
	orm_map_init(&model->keys);
	return orm_slabs_init(mirror, model);
}

orm_mirror *orm_mirror_new(const orm_binding *binding, uint32_t participant)
{
	orm_mirror *mirror = calloc(1, sizeof *mirror);
	const size_t n_values = (size_t)binding->max_key + 1;
	bool good = mirror != NULL;

	if (!good)
		return NULL;
	mirror->binding = binding;
	mirror->participant = participant;
	orm_arena_init(&mirror->arena, 0);
	orm_arena_init(&mirror->conflict_arena, 0);
	orm_map_init(&mirror->slabs);
	orm_map_init(&mirror->pages);
	orm_map_init(&mirror->disputes);
	mirror->models = calloc(binding->n_layouts, sizeof mirror->models[0]);
	mirror->families = calloc((size_t)binding->n_associations + 1, sizeof mirror->families[0]);
	mirror->last_family = calloc((size_t)binding->n_associations + 1, sizeof mirror->last_family[0]);
	mirror->values = calloc(n_values, sizeof mirror->values[0]);
	mirror->other_values = calloc(n_values, sizeof mirror->other_values[0]);
	good = mirror->models && mirror->families && mirror->last_family && mirror->values && mirror->other_values;
	for (uint16_t i = 0; good && i < binding->n_layouts; i++)
		good = init_model(mirror, i);
	if (good)
		return mirror;
	orm_mirror_free(mirror);
	return NULL;
}

void orm_mirror_clear(orm_mirror *mirror)
{
	orm_disputes_clear(mirror);
	orm_slabs_free(mirror);
	orm_map_clear(&mirror->slabs);
	orm_map_clear(&mirror->pages);
	mirror->last_page = NULL;
	for (uint16_t i = 0; i < mirror->binding->n_layouts; i++) {
		orm_model_state *model = &mirror->models[i];

		orm_map_clear(&model->keys);
		model->first = model->last = model->indexed = NULL;
		model->n_indexed = 0;
		model->given = NULL;
		model->n_given = model->given_capacity = 0;
		free(model->scratch);
		model->scratch = NULL;
	}
	for (uint16_t i = 0; i < mirror->binding->n_associations; i++) {
		orm_map_clear(&mirror->families[i]);
		mirror->last_family[i] = NULL;
	}
	mirror->n_stale = 0;
	orm_arena_fini(&mirror->arena);
	orm_arena_init(&mirror->arena, 0);
}

void orm_mirror_free(orm_mirror *mirror)
{
	if (!mirror)
		return;
	for (uint16_t i = 0; mirror->models && i < mirror->binding->n_layouts; i++) {
		orm_map_fini(&mirror->models[i].keys);
		free(mirror->models[i].scratch);
	}
	for (uint16_t i = 0; mirror->families && i < mirror->binding->n_associations; i++)
		orm_map_fini(&mirror->families[i]);
	orm_slabs_free(mirror);
	orm_disputes_fini(mirror);
	orm_map_fini(&mirror->slabs);
	orm_map_fini(&mirror->pages);
	orm_arena_fini(&mirror->arena);
	orm_arena_fini(&mirror->conflict_arena);
	free(mirror->models);
	free(mirror->families);
	free(mirror->last_family);
	free(mirror->values);
	free(mirror->other_values);
	free(mirror->stale);
	free(mirror->walk);
	free(mirror);
}

orm_arena *orm_mirror_arena(orm_mirror *mirror)
{
	return &mirror->arena;
}

uint64_t orm_mirror_seen(const orm_mirror *mirror)
{
	return mirror->seen;
}

/* What grew in the operation did not all grow: ORM_ENOMEM once. */
static orm_status end_of_operation(orm_mirror *mirror, orm_error *error)
{
	if (!mirror->out_of_memory)
		return ORM_OK;
	mirror->out_of_memory = false;
	return orm_mirror_no_memory(error);
}

/* ---- orm_add ------------------------------------------------------------------------------------------------ */

const uint64_t *orm_given_of(const orm_mirror *mirror, const orm_object *object)
{
	return mirror->models[orm_layout_of(object)->number].given[object->given];
}

/* The number of this set of columns, which few different calls give. UINT16_MAX: out of memory. */
static uint16_t intern_given(orm_mirror *mirror, orm_model_state *model, const uint64_t *given)
{
	const size_t size = model->layout->n_words * sizeof given[0];
	uint64_t *copy;

	for (uint16_t i = model->n_given; i > 0; i--) {
		if (memcmp(model->given[i - 1], given, size) == 0)
			return (uint16_t)(i - 1);
	}
	if (model->n_given == UINT16_MAX - 1)
		return UINT16_MAX;
	if (model->n_given == model->given_capacity) {
		const uint16_t capacity =
			(uint16_t)(model->given_capacity < 4                ? 4
				   : model->given_capacity > UINT16_MAX / 2 ? UINT16_MAX
									    : model->given_capacity * 2);
		uint64_t **grown = orm_arena_calloc(&mirror->arena, capacity, sizeof grown[0]);

		if (!grown)
			return UINT16_MAX;
		if (model->n_given > 0)
			memcpy(grown, model->given, model->n_given * sizeof grown[0]);
		model->given = grown;
		model->given_capacity = capacity;
	}
	copy = orm_arena_memdup(&mirror->arena, given, size);
	if (!copy)
		return UINT16_MAX;
	model->given[model->n_given] = copy;
	return model->n_given++;
}

/* A pointer that the example gives must lead to an object of this session and of the right model. */
static orm_status check_pointers(const orm_mirror *mirror, const orm_layout *layout, const char *example,
				 orm_error *error)
{
	for (uint16_t i = 0; i < layout->n_relations; i++) {
		const orm_relation *relation = &layout->relations[i];
		const void *pointer;
		const orm_object *target;

		if (relation->to_many)
			continue;
		memcpy(&pointer, example + relation->offset, sizeof pointer);
		if (!pointer)
			continue;
		target = orm_mirror_find(mirror, pointer);
		if (!target || orm_layout_of(target) != relation->target)
			return orm_mirror_not_ours(layout->model->name, relation->relationship->name, error);
		if (target->flags & (OBJECT_GONE | OBJECT_DELETING | OBJECT_DELETED))
			return orm_fail_at(error, ORM_ESTATE, layout->model->name, relation->relationship->name,
					   "points to an object that is deleted or has left the session");
	}
	return ORM_OK;
}

/* As with plain assignment, a foreign key given by its columns leads to the object with that key; one that was not
 * given leads nowhere. */
static orm_status link_new(orm_mirror *mirror, orm_object *object, orm_error *error)
{
	const orm_layout *layout = orm_layout_of(object);
	char *structure = orm_struct_of(object);
	char *snapshot = orm_snapshot_of(object);

	for (uint16_t i = 0; i < layout->n_relations; i++) {
		const orm_relation *relation = &layout->relations[i];

		if (relation->to_many) {
			const orm_list empty = {.items = NULL, .len = 0};

			memcpy(structure + relation->offset, &empty, sizeof empty);
			memcpy(snapshot + relation->offset, &empty, sizeof empty);
		} else {
			memset(snapshot + relation->offset, 0,
			       sizeof(void *)); /* what the struct has is an assignment */
		}
	}
	return layout->n_out > 0 ? orm_settle_object(mirror, object, error) : ORM_OK;
}

void *orm_mirror_add(orm_mirror *mirror, const orm_layout *layout, const void *example, const uint64_t *given,
		     orm_error *error)
{
	orm_model_state *model = &mirror->models[layout->number];
	const uint16_t given_number = intern_given(mirror, model, given);
	orm_object *object;

	if (layout->n_relations > 0 && check_pointers(mirror, layout, example, error) != ORM_OK)
		return NULL;
	object = given_number == UINT16_MAX ? NULL : orm_slab_take(mirror, model);
	if (!object) {
		orm_mirror_no_memory(error);
		return NULL;
	}
	object->given = given_number;
	orm_object_flag(object, OBJECT_NEW);
	memcpy(orm_struct_of(object), example, layout->size);
	memcpy(orm_snapshot_of(object), example, layout->size);
	if (!orm_key_put(mirror, object))
		mirror->out_of_memory = true;
	if (layout->n_relations > 0 || layout->n_out > 0) {
		if (link_new(mirror, object, error) != ORM_OK)
			return NULL;
	}
	if (layout->n_in > 0 && orm_key_is_known(layout, orm_struct_of(object)))
		orm_parent_keyed(mirror, object);
	return end_of_operation(mirror, error) == ORM_OK ? orm_struct_of(object) : NULL;
}

/* ---- leaving and coming back -------------------------------------------------------------------------------- */

void orm_object_leave(orm_mirror *mirror, orm_object *object)
{
	if (object->flags & OBJECT_GONE)
		return;
	orm_key_remove(mirror, object);
	if (object->handle)
		orm_handle_remove(mirror, object->handle);
	orm_child_leaves(mirror, object);
	orm_parent_leaves(mirror, object);
	object->flags = OBJECT_GONE;
}

bool orm_object_vanish(orm_mirror *mirror, orm_object *object)
{
	const unsigned flags = object->flags;
	const bool edited = !(flags & (OBJECT_DELETING | OBJECT_NEW)) &&
			    (!(flags & OBJECT_DELETED) || (flags & OBJECT_DISPUTED)) && orm_has_edits(object);

	if (edited) {
		if (!orm_dispute_put(mirror, object, ORM_NO_NUMBER, mirror->seen))
			return false;
		orm_dispute_find(mirror, object, ORM_NO_NUMBER)->gone = true;
	}
	orm_object_leave(mirror, object);
	return true;
}

orm_status orm_object_readd(orm_mirror *mirror, orm_object *object, orm_error *error)
{
	const orm_layout *layout = orm_layout_of(object);
	char *structure = orm_struct_of(object);
	uint64_t given[ORM_MAX_COLUMNS / 64];
	orm_status status = ORM_OK;

	memset(given, 0xff, sizeof given);
	object->given = intern_given(mirror, &mirror->models[layout->number], given);
	if (object->given == UINT16_MAX)
		return orm_mirror_no_memory(error);
	object->handle = 0;
	object->flags = 0;
	orm_object_flag(object, OBJECT_NEW);
	for (uint16_t i = 0; i < layout->n_relations; i++) {
		if (!layout->relations[i].to_many) /* the columns say it */
			memset(structure + layout->relations[i].offset, 0, sizeof(void *));
	}
	memcpy(orm_snapshot_of(object), structure, layout->size);
	if (!orm_key_put(mirror, object))
		return orm_mirror_no_memory(error);
	status = link_new(mirror, object, error);
	if (status == ORM_OK)
		orm_parent_keyed(mirror, object);
	return status == ORM_OK ? end_of_operation(mirror, error) : status;
}

void orm_object_revert(orm_mirror *mirror, orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	char *structure = orm_struct_of(object);
	const char *snapshot = orm_snapshot_of(object);

	orm_child_leaves(mirror, object);
	memcpy(structure, snapshot, layout->size);
	orm_object_unflag(object, OBJECT_DELETING | OBJECT_RELINKED | OBJECT_MOVED);
	if (!(object->flags & OBJECT_DELETED))
		orm_child_arrives(mirror, object, true);
}

/* Drop everything that is not published. */
static orm_status drop_draft(orm_mirror *mirror, orm_error *error)
{
	if (!orm_mirror_walk(mirror, OBJECT_DRAFTED, true))
		return orm_mirror_no_memory(error);
	orm_disputes_clear(mirror);
	orm_families_batch(mirror);
	for (size_t i = 0; i < mirror->n_walk; i++) {
		orm_object *object = mirror->walk[i];

		orm_object_unflag(object, OBJECT_DISPUTED);
		if (object->flags & OBJECT_NEW)
			orm_object_leave(mirror, object);
		else
			orm_object_revert(mirror, object);
	}
	orm_families_tidy(mirror);
	return end_of_operation(mirror, error);
}

orm_status orm_mirror_discard(orm_mirror *mirror, orm_error *error)
{
	return drop_draft(mirror, error);
}

orm_status orm_mirror_rolled_back(orm_mirror *mirror, orm_error *error)
{
	return drop_draft(mirror, error);
}

orm_status orm_mirror_committed(orm_mirror *mirror, orm_error *error)
{
	if (!orm_mirror_walk(mirror, OBJECT_PENDING | OBJECT_DELETED, false))
		return orm_mirror_no_memory(error);
	orm_families_batch(mirror);
	for (size_t i = 0; i < mirror->n_walk; i++) {
		orm_object *object = mirror->walk[i];

		orm_object_unflag(object, OBJECT_PENDING);
		if ((object->flags & OBJECT_DELETED) && !orm_object_vanish(mirror, object))
			mirror->out_of_memory = true;
	}
	orm_families_tidy(mirror);
	return end_of_operation(mirror, error);
}

orm_status orm_mirror_missing(orm_mirror *mirror, const uint64_t *handles, size_t n, orm_error *error)
{
	orm_families_batch(mirror);
	for (size_t i = 0; i < n; i++) {
		orm_object *object = orm_mirror_by_handle(mirror, handles[i]);

		if (object)
			orm_object_leave(mirror, object);
	}
	orm_families_tidy(mirror);
	return end_of_operation(mirror, error);
}

/* ---- orm_delete, orm_expire --------------------------------------------------------------------------------- */

/* Children whose foreign key the database would not clear or cascade by itself in the mirror: they lose their parent.
 */
static orm_status orphan_children(orm_mirror *mirror, orm_object *parent, orm_error *error)
{
	const orm_layout *layout = orm_layout_of(parent);

	for (uint16_t i = 0; i < layout->n_in; i++) {
		const orm_association *association = layout->in[i];
		const orm_foreign_key *foreign_key = association->foreign_key;
		orm_family *family = orm_families_in(parent)[i];
		const bool clears = foreign_key->nullable &&
				    (foreign_key->on_delete == ORM_NO_ACTION || foreign_key->on_delete == ORM_SET_NULL);

		/* From the end, since those that leave shift the rest; while batching nothing shifts. */
		for (size_t j = clears && family ? family->len : 0; j-- > 0;) {
			orm_object *child = orm_object_of(family->items[j]);
			orm_status status;

			if (orm_families_out(child)[association->child_slot] != family)
				continue;
			status = orm_relink(mirror, child, association, NULL, error);
			if (status != ORM_OK)
				return status;
		}
	}
	return ORM_OK;
}

static orm_status delete_one(orm_mirror *mirror, orm_object *object, orm_error *error)
{
	const orm_status status = orphan_children(mirror, object, error);

	if (status != ORM_OK)
		return status;
	if (object->flags & OBJECT_NEW) {
		orm_object_leave(mirror, object);
	} else {
		orm_child_leaves(mirror, object);
		orm_object_unflag(object, OBJECT_RELINKED);
		orm_object_flag(object, OBJECT_DELETING);
	}
	return ORM_OK;
}

/*
 * What the database will cascade is left to it, but it does not know new children: they go with their parent. Collected
 * first, in a list instead of by recursion, because such trees may be deep.
 */
static bool collect_new_children(orm_mirror *mirror, orm_object *parent)
{
	mirror->n_walk = 0;
	if (!orm_walk_note(mirror, parent))
		return false;
	for (size_t at = 0; at < mirror->n_walk; at++) {
		const orm_layout *layout = orm_layout_of(mirror->walk[at]);

		for (uint16_t i = 0; i < layout->n_in; i++) {
			const orm_family *family = orm_families_in(mirror->walk[at])[i];

			for (size_t j = 0;
			     family && layout->in[i]->foreign_key->on_delete == ORM_CASCADE && j < family->len; j++) {
				orm_object *child = orm_object_of(family->items[j]);

				if ((child->flags & (OBJECT_NEW | OBJECT_MARKED)) != OBJECT_NEW)
					continue;
				if (!orm_walk_note(mirror, child))
					return false;
				child->flags |= OBJECT_MARKED;
			}
		}
	}
	return true;
}

orm_status orm_mirror_delete(orm_mirror *mirror, const void *address, orm_error *error)
{
	orm_object *object = orm_mirror_find(mirror, address);
	orm_status status = ORM_OK;

	if (!object || (object->flags & OBJECT_GONE))
		return orm_mirror_not_ours(NULL, NULL, error);
	if (object->flags & (OBJECT_DELETING | OBJECT_DELETED))
		return ORM_OK;
	if (!collect_new_children(mirror, object))
		status = orm_mirror_no_memory(error);
	for (size_t i = 1; i < mirror->n_walk; i++)
		orm_object_unflag(mirror->walk[i], OBJECT_MARKED);
	orm_families_batch(mirror);
	for (size_t i = 1; status == ORM_OK && i < mirror->n_walk; i++)
		status = delete_one(mirror, mirror->walk[i], error);
	orm_families_tidy(mirror);
	if (status == ORM_OK)
		status = delete_one(mirror, object, error);
	return status == ORM_OK ? end_of_operation(mirror, error) : status;
}

orm_status orm_mirror_expire(orm_mirror *mirror, const void *address, orm_error *error)
{
	orm_object *object = orm_mirror_find(mirror, address);
	const orm_layout *layout;

	if (!object || (object->flags & OBJECT_GONE))
		return orm_mirror_not_ours(NULL, NULL, error);
	layout = orm_layout_of(object);
	if (object->flags & OBJECT_NEW)
		return orm_fail_at(error, ORM_ESTATE, layout->model->name, NULL,
				   "is new, so there is nothing to reload: flush it first, or delete it");
	orm_families_batch(mirror);
	orm_object_revert(mirror, object);
	orm_families_tidy(mirror);
	orm_object_flag(object, OBJECT_EXPIRED | OBJECT_UNLINKED);
	for (uint16_t i = 0; i < layout->n_out; i++)
		orm_family_show_pointers(object, layout->out[i], true);
	for (uint16_t i = 0; i < layout->n_relations; i++) {
		if (layout->relations[i].to_many)
			orm_list_unload(object, &layout->relations[i]);
	}
	return end_of_operation(mirror, error);
}

/* ---- states ------------------------------------------------------------------------------------------------- */

orm_object_state orm_mirror_state(const orm_mirror *mirror, const void *address)
{
	const orm_object *object = orm_mirror_find(mirror, address);

	if (!object || (object->flags & OBJECT_GONE))
		return ORM_DETACHED;
	if (object->flags & (OBJECT_DELETING | OBJECT_DELETED))
		return ORM_DELETED;
	if (object->flags & (OBJECT_NEW | OBJECT_PENDING))
		return ORM_PENDING;
	return object->flags & OBJECT_EXPIRED ? ORM_EXPIRED : ORM_PERSISTENT;
}

static bool is_zero(const orm_member *member, const void *structure)
{
	static const char zeros[sizeof(orm_opt_int64) + sizeof(orm_bytes)];

	return memcmp((const char *)structure + member->offset, zeros, member->size) == 0;
}

/* Not given, and nothing has come since: of an object that was never sent, or a default that the commit will bring. */
static bool is_unset(const orm_mirror *mirror, const orm_object *object, const orm_member *member)
{
	if (!(object->flags & OBJECT_NEW) && !((object->flags & OBJECT_PENDING) && member->has_default))
		return false;
	if (object->handle >> 40 != mirror->participant && object->handle)
		return false;
	return !orm_column_set_has(orm_given_of(mirror, object), member->column) &&
	       is_zero(member, orm_struct_of(object));
}

orm_member_condition orm_mirror_member_state(const orm_mirror *mirror, const void *address, const void *at)
{
	const orm_object *object = orm_mirror_find(mirror, address);
	const size_t offset = (size_t)((const char *)at - (const char *)address);
	const orm_layout *layout;
	const orm_member *member;
	const orm_relation *relation;

	if (!object)
		return ORM_MEMBER_NOT_LOADED;
	if (object->flags & OBJECT_EXPIRED)
		return ORM_MEMBER_EXPIRED;
	layout = orm_layout_of(object);
	member = orm_layout_member_at(layout, offset);
	if (member) {
		if (is_unset(mirror, object, member))
			return ORM_MEMBER_UNSET;
		return orm_member_is_null(member, address) ? ORM_MEMBER_NULL : ORM_MEMBER_SET;
	}
	relation = orm_layout_relation_at(layout, offset);
	if (!relation)
		return ORM_MEMBER_NOT_LOADED;
	if (relation->to_many)
		return orm_list_is_loaded(object, relation) ? ORM_MEMBER_SET : ORM_MEMBER_NOT_LOADED;

	const void *pointer;

	memcpy(&pointer, (const char *)address + relation->offset, sizeof pointer);
	if (pointer == relation->poison)
		return ORM_MEMBER_NOT_LOADED;
	return pointer ? ORM_MEMBER_SET : ORM_MEMBER_NULL;
}
