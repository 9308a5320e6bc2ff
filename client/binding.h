/* SPDX-License-Identifier: MIT */
/*
 * Where a model's columns and relationships lie in the program's structs.
 *
 * A binding is made once per connection from the program's models: the registry (names resolved, the form both sides of
 * the wire know), and for each model a layout with the place of every column and relationship. It never changes after
 * it was made and may be read by any thread; sessions share it.
 *
 * A foreign key that relationships follow is an association: the child model has the columns, the parent model is what
 * they refer to. All relationships over one foreign key (the child's pointers, the parent's lists) belong to one
 * association, and so always show the same thing.
 */
#ifndef CLIENT_BINDING_H
#define CLIENT_BINDING_H

#include <string.h>

#include <orm.h>

#include "base/map.h"
#include "client/guard.h"
#include "model/registry.h"
#include "model/value.h"

typedef struct orm_layout orm_layout;
typedef struct orm_relation orm_relation;
typedef struct orm_association orm_association;

/* A column's place. Its number is its index in layout.members. */
typedef struct orm_member {
	uint32_t offset;       /* of the member in the struct */
	uint32_t value_offset; /* of the value itself in the struct: for an optional, behind its `has` */
	uint16_t size;         /* of the member, bytes */
	uint16_t column;
	uint8_t type;         /* orm_type */
	bool optional;        /* an orm_opt_ scalar */
	bool has_default;     /* the server fills it in when an orm_add leaves it out */
	bool key;             /* of the primary key */
	bool referenced;      /* of the columns that some association refers to */
	uint16_t association; /* place in layout.out of the first association it belongs to, or ORM_NO_NUMBER */
} orm_member;

/* A relationship's place. Its number is its index in layout.relations. */
struct orm_relation {
	const orm_relationship *relationship;
	const orm_layout *owner;
	const orm_layout *target;
	const orm_association *association;
	const orm_relation *reverse; /* or NULL */
	const void *poison;          /* what the pointer, or the list's items, is while not loaded */
	uint32_t offset;             /* of the pointer or list in the struct */
	uint16_t number;
	bool to_many;
};

struct orm_association {
	const orm_foreign_key *foreign_key;
	const orm_layout *child;  /* has the columns */
	const orm_layout *parent; /* what they refer to */
	uint16_t number;          /* place in binding.associations */
	uint16_t child_slot;      /* place in child->out */
	uint16_t parent_slot;     /* place in parent->in */
	bool integer;             /* one column, INT32 or INT64 */
	uint16_t n_columns;
	const uint16_t *child_columns;       /* in pairs with */
	const uint16_t *parent_columns;      /* these; in the order of the parent's key where they are its key */
	const orm_relation *const *pointers; /* of the child: to-one */
	uint16_t n_pointers;
	const orm_relation *const *lists; /* of the parent: to-many */
	uint16_t n_lists;
};

/* What a row of the program's table of fields is: designators and offsets come as places in it. */
typedef struct orm_layout_field {
	uint16_t number; /* column's or relationship's number */
	bool is_column;
} orm_layout_field;

struct orm_layout {
	const orm_model *model;
	const orm_mapper *mapper;
	uint16_t number;                /* place in binding.layouts; the wire's model number */
	size_t size;                    /* of the struct, bytes */
	const orm_layout_field *fields; /* model->n_fields of them */
	const orm_member *members;
	uint16_t n_members;
	uint16_t n_words; /* 64-bit words of a set of its columns */
	const orm_relation *relations;
	uint16_t n_relations;
	const orm_association *const *out; /* it is the child */
	uint16_t n_out;
	const orm_association *const *in; /* it is the parent */
	uint16_t n_in;
	const void *blank; /* a struct with nothing loaded */
	bool integer_key;  /* one column, INT32 or INT64 */
	bool has_decimals;
};

typedef struct orm_binding {
	orm_registry *registry;
	const orm_layout *layouts;
	uint16_t n_layouts;
	const orm_association *associations;
	uint16_t n_associations;
	uint16_t max_key; /* columns of the longest key or foreign key */
	orm_map by_model;
	orm_guard_region *guard;
	orm_arena arena;
} orm_binding;

/*
 * `models` is NULL-terminated and borrowed for the binding's life. NULL and ORM_EINVAL, naming model and column, for
 * what only shows at run time (no key, a version that is no integer, a model that is referred to but not in the list,
 * the same model twice); ORM_ENOMEM. Owned.
 */
orm_binding *orm_binding_new(const orm_model *const models[], orm_error *error);
void orm_binding_free(orm_binding *binding); /* NULL allowed */

/* The layout of one of the models, by address; NULL for a model that is not in the list. A few nanoseconds. */
const orm_layout *orm_binding_layout(const orm_binding *binding, const orm_model *model);

/* By a member's offset in the struct; NULL if there is no such column, or relationship. */
const orm_member *orm_layout_member_at(const orm_layout *layout, size_t offset);
const orm_relation *orm_layout_relation_at(const orm_layout *layout, size_t offset);

/* ---- cells in the form that the struct has them ------------------------------------------------------------ */

static inline void *orm_member_in(const orm_member *member, void *object)
{
	return (char *)object + member->offset;
}

static inline const void *orm_member_of(const orm_member *member, const void *object)
{
	return (const char *)object + member->offset;
}

bool orm_member_is_null(const orm_member *member, const void *object);

/* Do two structs show the same value? Text and bytes by content, doubles by bits, optionals without a value are equal.
 */
bool orm_member_equal(const orm_member *member, const void *a, const void *b);

/* The same bytes? Then it is the same value, without looking further; inline because every member of every changed
 * object passes here. */
static inline bool orm_member_identical(const orm_member *member, const void *a, const void *b)
{
	const char *one = (const char *)a + member->offset;
	const char *other = (const char *)b + member->offset;

	switch (member->size) {
	case sizeof(uint64_t):
		return memcmp(one, other, sizeof(uint64_t)) == 0;
	case sizeof(uint32_t):
		return memcmp(one, other, sizeof(uint32_t)) == 0;
	case 2 * sizeof(uint64_t):
		return memcmp(one, other, 2 * sizeof(uint64_t)) == 0;
	default:
		return memcmp(one, other, member->size) == 0;
	}
}

static inline void orm_member_copy(const orm_member *member, void *to, const void *from)
{
	memcpy((char *)to + member->offset, (const char *)from + member->offset, member->size);
}

/* The member's value; text and bytes are borrowed from where it points. */
void orm_member_get(const orm_member *member, const void *object, orm_value *value);
/* Make the member show `value`, whose type is the column's; text and bytes are lent. A NULL for a scalar that is no
 * optional gives zero. */
void orm_member_set(const orm_member *member, void *object, const orm_value *value);

static inline bool orm_column_set_has(const uint64_t *set, size_t column)
{
	return set[column / 64] >> (column % 64) & 1;
}

static inline void orm_column_set_put(uint64_t *set, size_t column)
{
	set[column / 64] |= UINT64_C(1) << (column % 64);
}

static inline void orm_column_set_take(uint64_t *set, size_t column)
{
	set[column / 64] &= ~(UINT64_C(1) << (column % 64));
}

#endif
