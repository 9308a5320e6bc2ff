/* SPDX-License-Identifier: MIT */
#include "client/relationship.h"

#include "client/family.h"
#include "model/fail.h"

/* ---- moving a child to another parent ------------------------------------------------------------------------ */

static void note_relinked(orm_object *child)
{
	const orm_layout *layout = orm_layout_of(child);

	orm_object_unflag(child, OBJECT_RELINKED);
	for (uint16_t i = 0; i < layout->n_out; i++) {
		const orm_family *family = orm_families_out(child)[i];

		if (family && !family->keyed)
			orm_object_flag(child, OBJECT_RELINKED);
	}
}

static void move(orm_mirror *mirror, orm_object *child, const orm_association *association, orm_family *family)
{
	if (orm_families_out(child)[association->child_slot] != family) {
		orm_family_leave(mirror, child, association);
		orm_family_join(mirror, child, association, family);
		orm_object_flag(child, OBJECT_MOVED);
	}
	note_relinked(child);
	orm_family_show_pointers(child, association, true);
}

/* The child's columns say nobody, or, with a family that has a value, that parent. */
static void write_columns(orm_object *child, const orm_association *association, const orm_family *family)
{
	void *structure = orm_struct_of(child);

	for (uint16_t i = 0; i < association->n_columns; i++) {
		const orm_member *member = &association->child->members[association->child_columns[i]];

		if (family && family->keyed) {
			const orm_layout *parent = association->parent;
			orm_value value;

			orm_member_get(&parent->members[association->parent_columns[i]],
				       orm_snapshot_of(family->parent), &value);
			orm_member_set(member, structure, &value);
		} else if (family || association->child->mapper->columns[member->column].nullable) {
			memset((char *)structure + member->offset, 0, member->size);
		}
	}
}

static const char *name_of(const orm_association *association)
{
	if (association->n_pointers > 0)
		return association->pointers[0]->relationship->name;
	return association->child->mapper->columns[association->child_columns[0]].name;
}

orm_status orm_relink(orm_mirror *mirror, orm_object *child, const orm_association *association, orm_object *target,
		      orm_error *error)
{
	const orm_layout *layout = association->child;
	orm_family *family = NULL;

	if (!target && !association->foreign_key->nullable)
		return orm_fail_at(
			error, ORM_EINVAL, layout->model->name, name_of(association),
			"cannot be unset, because %s.%s may not be NULL: point it to another %s, or delete the %s",
			layout->model->name, layout->mapper->columns[association->child_columns[0]].name,
			association->parent->model->name, layout->model->name);
	if (target) {
		if (target->flags & (OBJECT_GONE | OBJECT_DELETING | OBJECT_DELETED))
			return orm_fail_at(error, ORM_ESTATE, layout->model->name, name_of(association),
					   "points to an object that is deleted or has left the session");
		family = orm_family_of_parent(mirror, target, association);
		if (!family)
			return orm_mirror_no_memory(error);
	}
	write_columns(child, association, family);
	move(mirror, child, association, family);
	if (mirror->out_of_memory) {
		mirror->out_of_memory = false;
		return orm_mirror_no_memory(error);
	}
	return ORM_OK;
}

/* ---- plain assignments -------------------------------------------------------------------------------------- */

/* The relationship of this association that the program has assigned a pointer to, or NULL. */
static const orm_relation *find_assigned(const orm_object *child, const orm_association *association)
{
	const char *structure = orm_struct_of(child);
	const char *snapshot = orm_snapshot_of(child);

	for (uint16_t i = 0; i < association->n_pointers; i++) {
		const orm_relation *relation = association->pointers[i];

		if (memcmp(structure + relation->offset, snapshot + relation->offset, sizeof(void *)) != 0)
			return relation;
	}
	return NULL;
}

static orm_status settle_pointer(orm_mirror *mirror, orm_object *child, const orm_relation *relation, orm_error *error)
{
	const char *model = relation->owner->model->name;
	const char *name = relation->relationship->name;
	orm_object *target = NULL;
	const void *pointer;

	memcpy(&pointer, (const char *)orm_struct_of(child) + relation->offset, sizeof pointer);
	if (pointer == relation->poison)
		return orm_fail_at(error, ORM_EINVAL, model, name,
				   "was assigned a relationship that is not loaded: call orm_load on it first");
	if (pointer) {
		target = orm_mirror_find(mirror, pointer);
		if (!target || orm_layout_of(target) != relation->target)
			return orm_mirror_not_ours(model, name, error);
	}
	return orm_relink(mirror, child, relation->association, target, error);
}

/* Do the columns say another parent than the one whose family the child is in? */
static bool columns_changed(const orm_object *child, const orm_family *family, const orm_tuple *tuple)
{
	const bool nobody = tuple->null || ((child->flags & OBJECT_NEW) && tuple->zero);

	if (!family || !family->keyed)
		return !nobody && !(family && tuple->zero);
	return !orm_family_has(family, tuple);
}

void orm_settle_columns(orm_mirror *mirror, orm_object *child, const orm_association *association)
{
	const orm_family *current = orm_families_out(child)[association->child_slot];
	orm_family *family = NULL;
	orm_tuple tuple;

	orm_tuple_of_child(mirror, association, orm_struct_of(child), &tuple);
	if (find_assigned(child, association) || !columns_changed(child, current, &tuple))
		return;
	if (!tuple.null && !((child->flags & OBJECT_NEW) && tuple.zero)) {
		family = orm_family_get(mirror, association, &tuple);
		if (!family)
			return; /* out_of_memory is set */
	}
	move(mirror, child, association, family);
}

/* A new object's key was assigned after orm_add: it is found by it from now on. */
static bool settle_key(orm_mirror *mirror, orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	bool changed = false;

	for (uint16_t i = 0; i < layout->n_members && !changed; i++) {
		const orm_member *member = &layout->members[i];

		changed = (member->key || member->referenced) &&
			  !orm_member_equal(member, orm_struct_of(object), orm_snapshot_of(object));
	}
	if (!changed)
		return true;
	orm_key_remove(mirror, object);
	if (orm_key_is_known(layout, orm_snapshot_of(object)))
		orm_parent_leaves(mirror, object);
	for (uint16_t i = 0; i < layout->n_members; i++) {
		const orm_member *member = &layout->members[i];

		if (member->key || member->referenced)
			orm_member_copy(member, orm_snapshot_of(object), orm_struct_of(object));
	}
	if (!orm_key_put(mirror, object))
		return false;
	if (orm_key_is_known(layout, orm_struct_of(object)))
		orm_parent_keyed(mirror, object);
	return true;
}

/* Lists change by orm_link and from the other side only. */
static void restore_lists(orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	char *structure = orm_struct_of(object);
	const char *snapshot = orm_snapshot_of(object);

	for (uint16_t i = 0; i < layout->n_relations; i++) {
		const orm_relation *relation = &layout->relations[i];

		if (relation->to_many)
			memcpy(structure + relation->offset, snapshot + relation->offset, sizeof(orm_list));
	}
}

orm_status orm_settle_object(orm_mirror *mirror, orm_object *object, orm_error *error)
{
	const orm_layout *layout = orm_layout_of(object);

	if (object->flags & (OBJECT_GONE | OBJECT_DELETING | OBJECT_DELETED))
		return ORM_OK;
	if ((object->flags & OBJECT_NEW) && !settle_key(mirror, object))
		return orm_mirror_no_memory(error);
	if (layout->n_relations > 0)
		restore_lists(object);
	for (uint16_t i = 0; i < layout->n_out; i++) {
		const orm_association *association = layout->out[i];
		const orm_relation *assigned = find_assigned(object, association);

		if (!assigned) {
			orm_settle_columns(mirror, object, association);
		} else {
			const orm_status status = settle_pointer(mirror, object, assigned, error);

			if (status != ORM_OK)
				return status;
		}
	}
	return ORM_OK;
}

orm_status orm_mirror_settle(orm_mirror *mirror, orm_error *error)
{
	orm_status first = ORM_OK;

	if (!orm_mirror_walk(mirror, OBJECT_DRAFTED, true))
		return orm_mirror_no_memory(error);
	for (size_t i = 0; i < mirror->n_walk; i++) {
		/* One bad pointer does not keep the other objects from being settled. */
		const orm_status status = orm_settle_object(mirror, mirror->walk[i], first == ORM_OK ? error : NULL);

		if (first == ORM_OK)
			first = status;
	}
	if (mirror->out_of_memory) {
		mirror->out_of_memory = false;
		return orm_mirror_no_memory(error);
	}
	return first;
}

/* ---- orm_link, orm_unlink ----------------------------------------------------------------------------------- */

/* The relationship that a call means, and its objects. */
typedef struct orm_ends {
	const orm_relation *relation;
	orm_object *object;
	orm_object *other;
} orm_ends;

static orm_status find_end(orm_mirror *mirror, const void *address, const orm_layout *layout,
			   const orm_relation *relation, orm_object **object, orm_error *error)
{
	const char *model = relation ? relation->owner->model->name : NULL;
	const char *name = relation ? relation->relationship->name : NULL;

	*object = orm_mirror_find(mirror, address);
	if (!*object || (layout && orm_layout_of(*object) != layout))
		return orm_mirror_not_ours(model, name, error);
	if ((*object)->flags & (OBJECT_GONE | OBJECT_DELETING | OBJECT_DELETED))
		return orm_fail_at(error, ORM_ESTATE, model ? model : orm_layout_of(*object)->model->name, name,
				   "the object is deleted or has left the session");
	return ORM_OK;
}

static orm_status find_ends(orm_mirror *mirror, const void *address, const void *member, const void *other,
			    orm_ends *ends, orm_error *error)
{
	orm_status status = find_end(mirror, address, NULL, NULL, &ends->object, error);
	const orm_layout *layout;

	if (status != ORM_OK)
		return status;
	layout = orm_layout_of(ends->object);
	ends->relation = orm_layout_relation_at(layout, (size_t)((const char *)member - (const char *)address));
	ends->other = NULL;
	if (!ends->relation)
		return orm_fail_at(
			error, ORM_EINVAL, layout->model->name, NULL,
			"the member is no relationship of the object: pass the address of one, as &post->author");
	if (other)
		return find_end(mirror, other, ends->relation->target, ends->relation, &ends->other, error);
	if (ends->relation->to_many)
		return orm_fail_at(error, ORM_EINVAL, layout->model->name, ends->relation->relationship->name,
				   "is a list: say which object to link or unlink");
	return ORM_OK;
}

orm_status orm_mirror_link(orm_mirror *mirror, const void *object, const void *member, const void *other,
			   orm_error *error)
{
	orm_ends ends;
	const orm_status status = find_ends(mirror, object, member, other, &ends, error);

	if (status != ORM_OK)
		return status;
	if (ends.relation->to_many)
		return orm_relink(mirror, ends.other, ends.relation->association, ends.object, error);
	return orm_relink(mirror, ends.object, ends.relation->association, ends.other, error);
}

orm_status orm_mirror_unlink(orm_mirror *mirror, const void *object, const void *member, const void *other,
			     orm_error *error)
{
	orm_ends ends;
	orm_status status = find_ends(mirror, object, member, other, &ends, error);
	const orm_association *association;
	const orm_family *family;
	orm_object *child;

	if (status != ORM_OK)
		return status;
	association = ends.relation->association;
	child = ends.relation->to_many ? ends.other : ends.object;
	status = orm_settle_object(mirror, child, error);
	if (status != ORM_OK)
		return status;
	family = orm_families_out(child)[association->child_slot];
	if (ends.other && (!family || family->parent != (ends.relation->to_many ? ends.object : ends.other)))
		return orm_fail_at(error, ORM_EINVAL, ends.relation->owner->model->name,
				   ends.relation->relationship->name,
				   "does not lead to that object, so it cannot be unlinked");
	return orm_relink(mirror, child, association, NULL, error);
}

bool orm_mirror_is_loaded(const orm_mirror *mirror, const orm_object *object, const orm_relation *relation)
{
	(void)mirror;
	if (relation->to_many)
		return orm_list_is_loaded(object, relation);
	return orm_family_pointer(object, relation) != relation->poison;
}
