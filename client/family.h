/* SPDX-License-Identifier: MIT */
/*
 * Families: the mirrored children with one value of a foreign key, and the parent that has it. The story is in
 * relationship.h.
 *
 * What a struct shows of its families is written in struct and snapshot alike, so that it never counts as an edit; a
 * pointer in a struct that differs from the snapshot is the program's assignment, and is left alone until it is
 * settled.
 */
#ifndef CLIENT_FAMILY_H
#define CLIENT_FAMILY_H

#include "client/mirror_state.h"

struct orm_family {
	const orm_association *association;
	orm_object *parent; /* NULL: not mirrored */
	void **items;       /* the children's structs: the parent's list itself, once it is loaded */
	size_t len, capacity;
	bool keyed;   /* the value is known */
	bool missing; /* a load found no such parent */
	bool stale;   /* in mirror->stale */
	bool resort;  /* when it is tidied, put it in the order of keys */
	uint64_t hash;
	int64_t integer;         /* the value, of an association->integer */
	const orm_value *values; /* of others; arena */
};

/* A foreign key's value, read from a child or a parent; `values` are the mirror's, good until the next one is read. */
typedef struct orm_tuple {
	bool null; /* refers to nothing */
	bool zero; /* all integers of it are 0, and there is nothing else */
	int64_t integer;
	const orm_value *values;
} orm_tuple;

void orm_tuple_of_child(orm_mirror *mirror, const orm_association *association, const void *structure,
			orm_tuple *tuple);
void orm_tuple_of_parent(orm_mirror *mirror, const orm_association *association, const void *structure,
			 orm_tuple *tuple);
bool orm_family_has(const orm_family *family, const orm_tuple *tuple);

/* The family with this value, made if there is none. NULL when out of memory. */
orm_family *orm_family_get(orm_mirror *mirror, const orm_association *association, const orm_tuple *tuple);

/* The family of this parent, made if it has none. NULL when out of memory. */
orm_family *orm_family_of_parent(orm_mirror *mirror, orm_object *parent, const orm_association *association);

/* A child comes or goes; lists that are loaded show it. `family` may be NULL for none. Pointers are not touched. */
void orm_family_join(orm_mirror *mirror, orm_object *child, const orm_association *association, orm_family *family);
void orm_family_leave(orm_mirror *mirror, orm_object *child, const orm_association *association);

/* What the child's pointer of this relationship should be. */
const void *orm_family_pointer(const orm_object *child, const orm_relation *relation);

/* Write the child's pointers over this association, in the snapshot and, unless the program assigned them, in the
 * struct. */
void orm_family_show_pointers(orm_object *child, const orm_association *association, bool force);
/* Write the parent's lists, those that are loaded. */
void orm_family_show_lists(orm_object *parent, const orm_association *association);

/* The parent's list of this relationship becomes loaded, in the order of keys. False: out of memory. */
bool orm_family_load(orm_mirror *mirror, orm_object *parent, const orm_relation *relation);
bool orm_list_is_loaded(const orm_object *parent, const orm_relation *relation);
void orm_list_unload(orm_object *parent, const orm_relation *relation);

/*
 * A parent's key became known, or changed, in its snapshot (and is in its struct): families get it, and children's
 * columns that point to it by object.
 */
void orm_parent_keyed(orm_mirror *mirror, orm_object *parent);
/* The parent leaves, or its key is about to change. */
void orm_parent_leaves(orm_mirror *mirror, orm_object *parent);

/* All families that this child's struct says, as a child; pointers are written. For objects that come, or come back. */
void orm_child_arrives(orm_mirror *mirror, orm_object *child, bool resort);
void orm_child_leaves(orm_mirror *mirror, orm_object *child);

/* Between these, children that leave cost nothing each; tidy takes them out of the lists, all at once. */
void orm_families_batch(orm_mirror *mirror);
void orm_families_tidy(orm_mirror *mirror);

#endif
