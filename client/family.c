/* SPDX-License-Identifier: MIT */
#include "client/family.h"

#include <stdlib.h>

#define FIRST_CAPACITY 4

/* ---- the value of a foreign key ------------------------------------------------------------------------------ */

static void read_tuple(orm_mirror *mirror, const orm_association *association, const orm_layout *layout,
		       const uint16_t *columns, const void *structure, orm_tuple *tuple)
{
	*tuple = (orm_tuple){.zero = true, .values = mirror->values};
	if (association->integer) {
		const orm_member *member = &layout->members[columns[0]];

		tuple->null = member->optional && orm_member_is_null(member, structure);
		tuple->integer = tuple->null ? 0 : orm_member_integer(member, structure);
		tuple->zero = tuple->integer == 0;
		return;
	}
	for (uint16_t i = 0; i < association->n_columns; i++) {
		orm_value *value = &mirror->values[i];

		orm_member_get(&layout->members[columns[i]], structure, value);
		tuple->null = tuple->null || value->null;
		tuple->zero = tuple->zero && (value->null || ((value->type == ORM_INT32 || value->type == ORM_INT64) &&
							      value->integer == 0));
	}
}

void orm_tuple_of_child(orm_mirror *mirror, const orm_association *association, const void *structure, orm_tuple *tuple)
{
	read_tuple(mirror, association, association->child, association->child_columns, structure, tuple);
}

void orm_tuple_of_parent(orm_mirror *mirror, const orm_association *association, const void *structure,
			 orm_tuple *tuple)
{
	read_tuple(mirror, association, association->parent, association->parent_columns, structure, tuple);
}

bool orm_family_has(const orm_family *family, const orm_tuple *tuple)
{
	if (!family->keyed || tuple->null)
		return false;
	if (family->association->integer)
		return family->integer == tuple->integer;
	for (uint16_t i = 0; i < family->association->n_columns; i++) {
		if (!orm_value_equal(&family->values[i], &tuple->values[i]))
			return false;
	}
	return true;
}

static uint64_t hash_tuple(const orm_association *association, const orm_tuple *tuple)
{
	uint64_t hash = 0;

	if (association->integer)
		return orm_hash_u64((uint64_t)tuple->integer);
	for (uint16_t i = 0; i < association->n_columns; i++)
		hash = orm_value_hash(&tuple->values[i], hash);
	return hash;
}

static bool has_tuple(const void *family, const void *tuple)
{
	return orm_family_has(family, tuple);
}

static orm_family *find_family(orm_mirror *mirror, const orm_association *association, const orm_tuple *tuple,
			       uint64_t hash)
{
	return orm_map_get(&mirror->families[association->number], hash, has_tuple, tuple);
}

static bool key_family(orm_mirror *mirror, orm_family *family, const orm_tuple *tuple, uint64_t hash)
{
	const orm_association *association = family->association;

	if (!association->integer) {
		orm_value *values = orm_arena_calloc(&mirror->arena, association->n_columns, sizeof values[0]);

		for (uint16_t i = 0; values && i < association->n_columns; i++) {
			if (!orm_value_copy(&values[i], &tuple->values[i], &mirror->arena))
				values = NULL;
		}
		if (!values)
			return false;
		family->values = values;
	}
	if (!orm_map_put(&mirror->families[association->number], hash, family))
		return false;
	family->integer = tuple->integer;
	family->hash = hash;
	family->keyed = true;
	return true;
}

/* ---- families ----------------------------------------------------------------------------------------------- */

static orm_family *new_family(orm_mirror *mirror, const orm_association *association)
{
	orm_family *family = orm_arena_calloc(&mirror->arena, 1, sizeof *family);

	if (!family) {
		mirror->out_of_memory = true;
		return NULL;
	}
	family->association = association;
	return family;
}

static void adopt(orm_family *family, orm_object *parent)
{
	family->parent = parent;
	family->missing = false;
	orm_families_in(parent)[family->association->parent_slot] = family;
}

static orm_object *find_parent(orm_mirror *mirror, const orm_association *association, const orm_tuple *tuple)
{
	if (!association->foreign_key->to_key)
		return NULL; /* such parents make their families themselves, when they come */
	if (association->integer)
		return orm_key_find_integer(mirror, association->parent, tuple->integer);
	return orm_key_find(mirror, association->parent, tuple->values);
}

orm_family *orm_family_get(orm_mirror *mirror, const orm_association *association, const orm_tuple *tuple)
{
	orm_family *family = mirror->last_family[association->number];
	uint64_t hash;

	if (family && orm_family_has(family, tuple))
		return family;
	hash = hash_tuple(association, tuple);
	family = find_family(mirror, association, tuple, hash);
	if (!family) {
		orm_object *parent;

		family = new_family(mirror, association);
		if (!family)
			return NULL;
		if (!key_family(mirror, family, tuple, hash)) {
			mirror->out_of_memory = true;
			return NULL;
		}
		parent = find_parent(mirror, association, tuple);
		if (parent)
			adopt(family, parent);
	}
	mirror->last_family[association->number] = family;
	return family;
}

orm_family *orm_family_of_parent(orm_mirror *mirror, orm_object *parent, const orm_association *association)
{
	orm_family *family = orm_families_in(parent)[association->parent_slot];
	orm_tuple tuple;

	if (family)
		return family;
	orm_tuple_of_parent(mirror, association, orm_snapshot_of(parent), &tuple);
	if (tuple.null || ((parent->flags & OBJECT_NEW) && association->foreign_key->to_key &&
			   !orm_key_is_known(association->parent, orm_snapshot_of(parent))))
		family = new_family(mirror, association);
	else
		family = orm_family_get(mirror, association, &tuple);
	if (family)
		adopt(family, parent);
	return family;
}

/* Room for one more child. The old array stays as it is: the program may have kept it. */
static bool grow(orm_mirror *mirror, orm_family *family)
{
	const size_t capacity = family->capacity ? family->capacity * 2 : FIRST_CAPACITY;
	void **items = orm_arena_alloc(&mirror->arena, capacity * sizeof items[0]);

	if (!items) {
		mirror->out_of_memory = true;
		return false;
	}
	if (family->len > 0)
		memcpy(items, family->items, family->len * sizeof items[0]);
	family->items = items;
	family->capacity = capacity;
	return true;
}

void orm_family_join(orm_mirror *mirror, orm_object *child, const orm_association *association, orm_family *family)
{
	orm_families_out(child)[association->child_slot] = family;
	if (!family)
		return;
	if (family->len == family->capacity && !grow(mirror, family))
		return;
	family->items[family->len++] = orm_struct_of(child);
	if (family->parent)
		orm_family_show_lists(family->parent, association);
}

static void note_stale(orm_mirror *mirror, orm_family *family)
{
	if (family->stale)
		return;
	if (mirror->n_stale == mirror->stale_capacity) {
		const size_t capacity = mirror->stale_capacity ? mirror->stale_capacity * 2 : 16;
		orm_family **stale = realloc(mirror->stale, capacity * sizeof(orm_family *));

		if (!stale) {
			mirror->out_of_memory = true;
			return;
		}
		mirror->stale = stale;
		mirror->stale_capacity = capacity;
	}
	family->stale = true;
	mirror->stale[mirror->n_stale++] = family;
}

static void take_out(orm_family *family, const void *structure)
{
	size_t i = family->len;

	while (i > 0 && family->items[i - 1] != structure)
		i--;
	if (i == 0)
		return;
	memmove(&family->items[i - 1], &family->items[i], (family->len - i) * sizeof family->items[0]);
	family->len--;
	if (family->parent)
		orm_family_show_lists(family->parent, family->association);
}

void orm_family_leave(orm_mirror *mirror, orm_object *child, const orm_association *association)
{
	orm_family **slot = &orm_families_out(child)[association->child_slot];
	orm_family *family = *slot;

	if (!family)
		return;
	*slot = NULL;
	if (mirror->batching)
		note_stale(mirror, family);
	else
		take_out(family, orm_struct_of(child));
}

/* ---- what structs show -------------------------------------------------------------------------------------- */

const void *orm_family_pointer(const orm_object *child, const orm_relation *relation)
{
	const orm_family *family;

	if (child->flags & OBJECT_UNLINKED)
		return relation->poison;
	family = orm_families_out(child)[relation->association->child_slot];
	if (!family)
		return NULL;
	if (family->parent)
		return orm_struct_of(family->parent);
	return family->missing ? NULL : relation->poison;
}

void orm_family_show_pointers(orm_object *child, const orm_association *association, bool force)
{
	char *structure = orm_struct_of(child);
	char *snapshot = orm_snapshot_of(child);

	for (uint16_t i = 0; i < association->n_pointers; i++) {
		const orm_relation *relation = association->pointers[i];
		const void *pointer = orm_family_pointer(child, relation);
		const void **in_struct = (const void **)(void *)(structure + relation->offset);
		const void **in_snapshot = (const void **)(void *)(snapshot + relation->offset);

		if (force || *in_struct == *in_snapshot)
			*in_struct = pointer;
		*in_snapshot = pointer;
	}
}

static orm_list *list_in(void *structure, const orm_relation *relation)
{
	return (orm_list *)(void *)((char *)structure + relation->offset);
}

bool orm_list_is_loaded(const orm_object *parent, const orm_relation *relation)
{
	return list_in(orm_snapshot_of(parent), relation)->len != SIZE_MAX;
}

static void set_list(orm_object *parent, const orm_relation *relation, orm_list list)
{
	*list_in(orm_struct_of(parent), relation) = list;
	*list_in(orm_snapshot_of(parent), relation) = list;
}

void orm_list_unload(orm_object *parent, const orm_relation *relation)
{
	set_list(parent, relation, (orm_list){.items = (void *const *)relation->poison, .len = SIZE_MAX});
}

void orm_family_show_lists(orm_object *parent, const orm_association *association)
{
	const orm_family *family = orm_families_in(parent)[association->parent_slot];

	for (uint16_t i = 0; i < association->n_lists; i++) {
		const orm_relation *relation = association->lists[i];

		if (orm_list_is_loaded(parent, relation))
			set_list(parent, relation, (orm_list){.items = family->items, .len = family->len});
	}
}

/* ---- the order of keys -------------------------------------------------------------------------------------- */

/* Objects without a key come after those with one. */
static int compare_keys(const void *one, const void *other)
{
	const orm_layout *layout = orm_layout_of(orm_object_of(one));
	const bool known = orm_key_is_known(layout, one);
	const bool other_known = orm_key_is_known(layout, other);

	if (!known || !other_known)
		return (int)other_known - (int)known;
	if (layout->integer_key) {
		const orm_member *member = &layout->members[layout->mapper->key[0]];
		const int64_t a = orm_member_integer(member, one);
		const int64_t b = orm_member_integer(member, other);

		return (a > b) - (a < b);
	}
	for (uint16_t i = 0; i < layout->mapper->n_key; i++) {
		const orm_member *member = &layout->members[layout->mapper->key[i]];
		orm_value a, b;
		int order;

		orm_member_get(member, one, &a);
		orm_member_get(member, other, &b);
		if (orm_type_is_borrowed(a.type)) {
			order = memcmp(a.bytes, b.bytes, a.size < b.size ? a.size : b.size);
			if (order == 0)
				order = (a.size > b.size) - (a.size < b.size);
		} else if (a.type == ORM_DOUBLE) {
			order = (a.number > b.number) - (a.number < b.number);
		} else if (a.type == ORM_BOOL) {
			order = (int)a.boolean - (int)b.boolean;
		} else {
			order = (a.integer > b.integer) - (a.integer < b.integer);
		}
		if (order != 0)
			return order;
	}
	return 0;
}

static int compare_items(const void *one, const void *other)
{
	const void *a = *(void *const *)one;
	const void *b = *(void *const *)other;
	const int order = compare_keys(a, b);

	return order != 0 ? order : ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

static void sort_family(orm_family *family)
{
	size_t i = 1;

	while (i < family->len && compare_keys(family->items[i - 1], family->items[i]) <= 0)
		i++;
	if (i < family->len)
		qsort(family->items, family->len, sizeof family->items[0], compare_items);
}

bool orm_family_load(orm_mirror *mirror, orm_object *parent, const orm_relation *relation)
{
	orm_family *family;

	if (orm_list_is_loaded(parent, relation))
		return true;
	family = orm_family_of_parent(mirror, parent, relation->association);
	if (!family)
		return false;
	sort_family(family);
	set_list(parent, relation, (orm_list){.items = family->items, .len = family->len});
	return true;
}

/* ---- parents ------------------------------------------------------------------------------------------------ */

static void show_to_children(orm_family *family, bool force)
{
	for (size_t i = 0; i < family->len; i++) {
		orm_object *child = orm_object_of(family->items[i]);

		if (orm_families_out(child)[family->association->child_slot] == family)
			orm_family_show_pointers(child, family->association, force);
	}
}

/* The children's columns take the parent's key, which they have only known by object so far. */
static void hand_down_key(orm_family *family)
{
	const orm_association *association = family->association;
	const void *parent = orm_snapshot_of(family->parent);

	for (size_t i = 0; i < family->len; i++) {
		orm_object *child = orm_object_of(family->items[i]);
		void *structure = family->items[i];

		if (orm_families_out(child)[association->child_slot] != family)
			continue;
		for (uint16_t c = 0; c < association->n_columns; c++) {
			orm_value value;

			orm_member_get(&association->parent->members[association->parent_columns[c]], parent, &value);
			orm_member_set(&association->child->members[association->child_columns[c]], structure, &value);
		}
	}
}

static void take_key(orm_mirror *mirror, orm_object *parent, const orm_association *association)
{
	orm_family *own = orm_families_in(parent)[association->parent_slot];
	const bool wanted = own || !association->foreign_key->to_key || mirror->families[association->number].len > 0;
	orm_family *waiting;
	orm_tuple tuple;
	uint64_t hash;

	if (!wanted || (own && own->keyed))
		return;
	orm_tuple_of_parent(mirror, association, orm_snapshot_of(parent), &tuple);
	if (tuple.null)
		return;
	hash = hash_tuple(association, &tuple);
	waiting = find_family(mirror, association, &tuple, hash);
	if (!own) {
		if (!waiting && !association->foreign_key->to_key)
			waiting = orm_family_get(mirror, association, &tuple);
		if (waiting && !waiting->parent) {
			adopt(waiting, parent);
			show_to_children(waiting, false);
		}
		return;
	}
	if (!waiting) {
		if (!key_family(mirror, own, &tuple, hash))
			mirror->out_of_memory = true;
		hand_down_key(own);
		return;
	}
	/* Children with this key came first. Both families become one. */
	hand_down_key(own);
	for (size_t i = 0; i < own->len; i++) {
		orm_object *child = orm_object_of(own->items[i]);

		if (orm_families_out(child)[association->child_slot] == own)
			orm_family_join(mirror, child, association, waiting);
	}
	own->parent = NULL;
	own->len = 0;
	adopt(waiting, parent);
	show_to_children(waiting, false);
	orm_family_show_lists(parent, association);
}

void orm_parent_keyed(orm_mirror *mirror, orm_object *parent)
{
	const orm_layout *layout = orm_layout_of(parent);

	for (uint16_t i = 0; i < layout->n_in; i++)
		take_key(mirror, parent, layout->in[i]);
}

void orm_parent_leaves(orm_mirror *mirror, orm_object *parent)
{
	const orm_layout *layout = orm_layout_of(parent);

	(void)mirror;
	for (uint16_t i = 0; i < layout->n_in; i++) {
		orm_family **slot = &orm_families_in(parent)[layout->in[i]->parent_slot];
		orm_family *family = *slot;

		if (!family)
			continue;
		*slot = NULL;
		family->parent = NULL;
		show_to_children(family, false);
	}
}

/* ---- children ----------------------------------------------------------------------------------------------- */

void orm_child_arrives(orm_mirror *mirror, orm_object *child, bool resort)
{
	const orm_layout *layout = orm_layout_of(child);
	const void *structure = orm_struct_of(child);

	for (uint16_t i = 0; i < layout->n_out; i++) {
		const orm_association *association = layout->out[i];
		orm_family *family = NULL;
		orm_tuple tuple;

		orm_tuple_of_child(mirror, association, structure, &tuple);
		if (!tuple.null)
			family = orm_family_get(mirror, association, &tuple);
		orm_family_join(mirror, child, association, family);
		orm_family_show_pointers(child, association, true);
		if (family && resort) {
			family->resort = true;
			note_stale(mirror, family);
		}
	}
}

void orm_child_leaves(orm_mirror *mirror, orm_object *child)
{
	const orm_layout *layout = orm_layout_of(child);

	for (uint16_t i = 0; i < layout->n_out; i++)
		orm_family_leave(mirror, child, layout->out[i]);
}

void orm_families_batch(orm_mirror *mirror)
{
	mirror->batching = true;
}

void orm_families_tidy(orm_mirror *mirror)
{
	mirror->batching = false;
	for (size_t i = 0; i < mirror->n_stale; i++) {
		orm_family *family = mirror->stale[i];
		const uint16_t slot = family->association->child_slot;
		size_t kept = 0;

		/* A child that left and came back is in it twice: the mark tells. */
		for (size_t j = 0; j < family->len; j++) {
			orm_object *child = orm_object_of(family->items[j]);

			if (orm_families_out(child)[slot] != family || (child->flags & OBJECT_MARKED))
				continue;
			child->flags |= OBJECT_MARKED;
			family->items[kept++] = family->items[j];
		}
		family->len = kept;
		for (size_t j = 0; j < kept; j++)
			orm_object_unflag(orm_object_of(family->items[j]), OBJECT_MARKED);
		if (family->resort)
			sort_family(family);
		family->stale = family->resort = false;
		if (family->parent)
			orm_family_show_lists(family->parent, family->association);
	}
	mirror->n_stale = 0;
}
