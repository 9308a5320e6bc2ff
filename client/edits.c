/* SPDX-License-Identifier: MIT */
/* What differs between structs and snapshots. */
#include <stdlib.h>

#include "client/family.h"

bool orm_is_edited(const orm_object *object, const orm_member *member)
{
	if (object->flags & OBJECT_RELINKED) {
		const orm_layout *layout = orm_layout_of(object);

		for (uint16_t i = 0; i < layout->n_out; i++) {
			const orm_family *family = orm_families_out(object)[i];

			for (uint16_t c = 0; family && !family->keyed && c < layout->out[i]->n_columns; c++) {
				if (layout->out[i]->child_columns[c] == member->column)
					return true;
			}
		}
	}
	return !orm_member_equal(member, orm_struct_of(object), orm_snapshot_of(object));
}

bool orm_has_edits(const orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	char *structure = orm_struct_of(object);
	char *snapshot = orm_snapshot_of(object);

	if (object->flags & OBJECT_RELINKED)
		return true;
	if (memcmp(structure, snapshot, layout->size) == 0)
		return false;
	for (uint16_t i = 0; i < layout->n_members; i++) {
		if (!orm_member_equal(&layout->members[i], structure, snapshot))
			return true;
	}
	for (uint16_t i = 0; i < layout->n_relations; i++) {
		const orm_relation *relation = &layout->relations[i];

		if (!relation->to_many &&
		    memcmp(structure + relation->offset, snapshot + relation->offset, sizeof(void *)) != 0)
			return true;
	}
	return false;
}

bool orm_walk_note(orm_mirror *mirror, orm_object *object)
{
	if (mirror->n_walk == mirror->walk_capacity) {
		const size_t capacity = mirror->walk_capacity ? mirror->walk_capacity * 2 : 256;
		orm_object **walk = realloc(mirror->walk, capacity * sizeof walk[0]);

		if (!walk)
			return false;
		mirror->walk = walk;
		mirror->walk_capacity = capacity;
	}
	mirror->walk[mirror->n_walk++] = object;
	return true;
}

static bool walk_slab(orm_mirror *mirror, orm_slab *slab, unsigned flags, bool edits)
{
	const bool equal =
		memcmp(slab->structs, slab->structs + slab->snapshot, (size_t)slab->n_objects * slab->stride) == 0;
	unsigned watched = 0;

	if (!slab->watched && (equal || !edits))
		return true;
	for (uint32_t i = 0; i < slab->n_objects; i++) {
		orm_object *object = &slab->objects[i];
		const char *structure = slab->structs + (size_t)i * slab->stride;

		watched |= object->flags & OBJECT_WATCHED;
		if (object->flags & OBJECT_GONE)
			continue;
		if (!(object->flags & flags) &&
		    (!edits || equal || memcmp(structure, structure + slab->snapshot, slab->stride) == 0))
			continue;
		if (!orm_walk_note(mirror, object))
			return false;
	}
	slab->watched = watched != 0;
	return true;
}

bool orm_mirror_walk(orm_mirror *mirror, unsigned flags, bool edits)
{
	const orm_registry *registry = mirror->binding->registry;

	mirror->n_walk = 0;
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		const orm_model_state *model = &mirror->models[registry->by_depth[i]->number];

		for (orm_slab *slab = model->first; slab; slab = slab->next) {
			if (!walk_slab(mirror, slab, flags, edits))
				return false;
		}
	}
	return true;
}

bool orm_mirror_has_draft(orm_mirror *mirror)
{
	if (!orm_mirror_walk(mirror, OBJECT_DRAFTED, true))
		return true;
	for (size_t i = 0; i < mirror->n_walk; i++) {
		const orm_object *object = mirror->walk[i];

		if ((object->flags & (OBJECT_NEW | OBJECT_DELETING)) ||
		    (!(object->flags & OBJECT_DELETED) && orm_has_edits(object)))
			return true;
	}
	return false;
}

bool orm_mirror_is_dirty(const orm_mirror *mirror, const void *address)
{
	const orm_object *object = orm_mirror_find(mirror, address);

	if (!object || (object->flags & (OBJECT_GONE | OBJECT_DELETED)))
		return false;
	return (object->flags & (OBJECT_NEW | OBJECT_DELETING)) || orm_has_edits(object);
}
