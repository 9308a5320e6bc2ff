/* SPDX-License-Identifier: MIT */
/* The inside of a mirror, shared by its files. See mirror.h for the story. */
#ifndef CLIENT_MIRROR_STATE_H
#define CLIENT_MIRROR_STATE_H

#include "base/error.h"
#include "base/map.h"
#include "client/conflict.h"
#include "client/mirror.h"

/* ---- memory (mirror_slab.c) --------------------------------------------------------------------------------- */

#define ORM_SLAB_SIZE ((size_t)65536)

typedef struct orm_family orm_family;
typedef struct orm_slab orm_slab;

/*
 * Objects of one model, aligned to ORM_SLAB_SIZE so that any struct's address leads to it. A model whose structs are
 * larger than that gets slabs of one object each.
 */
struct orm_slab {
	const orm_layout *layout;
	orm_slab *next;  /* of the same model, in the order of creation */
	size_t n_before; /* objects in the slabs before it */
	char *structs;
	ptrdiff_t snapshot;    /* from a struct to its snapshot, bytes */
	orm_family **families; /* of each object: layout->n_out of which it is a child, then layout->n_in of which it is
				  the parent */
	uint32_t stride;       /* sizeof the struct */
	uint32_t n_families;
	uint32_t n_objects;
	uint32_t capacity;
	bool watched; /* some object may have flags that its struct does not show */
	orm_object objects[];
};

/* What a mirror has for each model. */
typedef struct orm_model_state {
	const orm_layout *layout;
	orm_slab *first, *last;
	orm_map keys;      /* by primary key, of snapshots: of the first n_indexed objects */
	orm_slab *indexed; /* the slab that the last of these is in; NULL: none is */
	size_t n_indexed;
	uint64_t **given; /* sets of columns that orm_adds were given; owned by the arena */
	uint16_t n_given, given_capacity;
	uint32_t capacity; /* of a slab */
	size_t structs_at, families_at, slab_size;
	void *scratch; /* structs of one chunk of rows that arrive for existing objects */
} orm_model_state;

#define ORM_HANDLES_PER_PAGE 512

typedef struct orm_handle_page {
	uint64_t number; /* handle / ORM_HANDLES_PER_PAGE */
	orm_object *objects[ORM_HANDLES_PER_PAGE];
} orm_handle_page;

typedef struct orm_dispute orm_dispute;

struct orm_mirror {
	const orm_binding *binding;
	uint32_t participant;
	uint64_t n_handles; /* handles given to new objects */
	uint64_t seen;
	orm_arena arena;
	orm_model_state *models;       /* one per layout */
	orm_map slabs;                 /* all, by address */
	struct orm_slab_chunk *chunks; /* the memory of slabs */
	char *chunk_next, *chunk_end;

	orm_map pages; /* of handles */
	orm_handle_page *last_page;

	orm_map *families;        /* one per association, by foreign key */
	orm_family **last_family; /* one per association: what the last look-up gave, or NULL */
	orm_family **stale;       /* families whose children are to be looked through: see orm_families_tidy */
	size_t n_stale, stale_capacity;
	bool batching;      /* children that leave are only noted */
	bool out_of_memory; /* some list could not grow: checked at the end of each operation */

	orm_value *values; /* room for a key, or a foreign key */
	orm_value *other_values;
	orm_object **walk; /* objects that a walk found; kept for the next */
	size_t n_walk, walk_capacity;

	orm_map disputes;        /* by object and column */
	orm_conflict *conflicts; /* see conflict.c */
	struct orm_conflict_place *places;
	size_t n_conflicts;
	orm_arena conflict_arena;
};

static inline orm_slab *orm_slab_of(const void *inside)
{
	return (orm_slab *)((uintptr_t)inside & ~(uintptr_t)(ORM_SLAB_SIZE - 1));
}

static inline void *orm_struct_of(const orm_object *object)
{
	const orm_slab *slab = orm_slab_of(object);

	return slab->structs + (size_t)object->index * slab->stride;
}

/* Of a struct that is known to be one. */
static inline orm_object *orm_object_of(const void *structure)
{
	orm_slab *slab = orm_slab_of(structure);

	return &slab->objects[(uint32_t)((const char *)structure - slab->structs) / slab->stride];
}

static inline void *orm_snapshot_of(const orm_object *object)
{
	const orm_slab *slab = orm_slab_of(object);

	return slab->structs + (size_t)object->index * slab->stride + slab->snapshot;
}

static inline const orm_layout *orm_layout_of(const orm_object *object)
{
	return orm_slab_of(object)->layout;
}

/* Families it is a child of (association's child_slot), and those it is the parent of. */
static inline orm_family **orm_families_out(const orm_object *object)
{
	const orm_slab *slab = orm_slab_of(object);

	return slab->families + (size_t)object->index * slab->n_families;
}

static inline orm_family **orm_families_in(const orm_object *object)
{
	return orm_families_out(object) + orm_slab_of(object)->layout->n_out;
}

/* Flags that make an object part of the draft though its struct and snapshot may be equal. */
#define OBJECT_WATCHED                                                                                                 \
	(OBJECT_NEW | OBJECT_DELETING | OBJECT_RELINKED | OBJECT_DISPUTED | OBJECT_PENDING | OBJECT_DELETED |          \
	 OBJECT_MOVED)

static inline void orm_object_flag(orm_object *object, unsigned flags)
{
	object->flags = (uint16_t)(object->flags | flags);
	if (flags & OBJECT_WATCHED)
		orm_slab_of(object)->watched = true;
}

static inline void orm_object_unflag(orm_object *object, unsigned flags)
{
	object->flags = (uint16_t)(object->flags & ~flags);
}

/* Ready what the model's slabs look like. False when out of memory. */
bool orm_slabs_init(orm_mirror *mirror, orm_model_state *model);

/* The next object of the model: record cleared, families NULL, struct and snapshot not set. NULL when out of memory. */
orm_object *orm_slab_take(orm_mirror *mirror, orm_model_state *model);
void orm_slabs_free(orm_mirror *mirror);

/* ---- finding (mirror_index.c) ------------------------------------------------------------------------------- */

bool orm_handle_put(orm_mirror *mirror, uint64_t handle, orm_object *object); /* false: out of memory */
void orm_handle_remove(orm_mirror *mirror, uint64_t handle);

/*
 * In and out of the map of keys, by the snapshot's key. A key that is not known yet (a generated one that is 0) is not
 * put. New objects are not put one by one: the map catches up when somebody looks, so that a long result that nobody
 * asks for by key pays nothing for it.
 */
bool orm_key_put(orm_mirror *mirror, orm_object *object);
void orm_key_remove(orm_mirror *mirror, orm_object *object);
bool orm_key_is_known(const orm_layout *layout, const void *structure);
orm_object *orm_key_find_integer(orm_mirror *mirror, const orm_layout *layout, int64_t key);
orm_object *orm_key_find(orm_mirror *mirror, const orm_layout *layout, const orm_value *key);

static inline int64_t orm_member_integer(const orm_member *member, const void *structure)
{
	const char *value = (const char *)structure + member->value_offset;

	if (member->type == ORM_INT32)
		return *(const int32_t *)(const void *)value;
	return *(const int64_t *)(const void *)value;
}

/* ---- objects (mirror.c) ------------------------------------------------------------------------------------- */

orm_status orm_mirror_no_memory(orm_error *error);
orm_status orm_mirror_not_ours(const char *model, const char *name, orm_error *error);

/* The set of columns that this new object was given. */
const uint64_t *orm_given_of(const orm_mirror *mirror, const orm_object *object);

/* Does this member have an edit that is not published? (edits.c) */
bool orm_is_edited(const orm_object *object, const orm_member *member);
bool orm_has_edits(const orm_object *object);

/* Plain assignments to this object's pointers and foreign keys take effect; see relationship.c. */
orm_status orm_settle_object(orm_mirror *mirror, orm_object *object, orm_error *error);
/* The child's parent becomes `target`; NULL: none. ORM_EINVAL where the foreign key may not be NULL. */
orm_status orm_relink(orm_mirror *mirror, orm_object *child, const orm_association *association, orm_object *target,
		      orm_error *error);

/* The child is where its foreign key's columns say, unless a pointer was assigned. For columns that the server changed.
 */
void orm_settle_columns(orm_mirror *mirror, orm_object *child, const orm_association *association);

/* Leave the session: out of all maps and lists; the struct stays as it is. */
void orm_object_leave(orm_mirror *mirror, orm_object *object);
/* The same by another's doing: edits are not lost silently, but become a conflict. False: out of memory. */
bool orm_object_vanish(orm_mirror *mirror, orm_object *object);
/* One that vanished becomes new again, with all that its struct holds. */
orm_status orm_object_readd(orm_mirror *mirror, orm_object *object, orm_error *error);
/* Struct, pointers and lists as the snapshot says; a deletion is taken back. Not for new objects. */
void orm_object_revert(orm_mirror *mirror, orm_object *object);

/*
 * Collect into mirror->walk the objects with edits or with one of `flags`; settles nothing. False when out of memory. A
 * slab whose structs equal their snapshots and which is not watched costs one comparison.
 */
bool orm_mirror_walk(orm_mirror *mirror, unsigned flags, bool edits);

/* Add one to mirror->walk. */
bool orm_walk_note(orm_mirror *mirror, orm_object *object);

/* The flags of objects that are part of a draft, or may be. */
#define OBJECT_DRAFTED (OBJECT_NEW | OBJECT_DELETING | OBJECT_RELINKED | OBJECT_DISPUTED | OBJECT_MOVED)

/* ---- rows that arrive (install.c) --------------------------------------------------------------------------- */

typedef enum orm_install_kind {
	INSTALL_ROWS,   /* of a query */
	INSTALL_ADDED,  /* objects that others added */
	INSTALL_CHANGED /* columns that others changed; unknown objects are passed over */
} orm_install_kind;

orm_status orm_install(orm_mirror *mirror, const Ormd__V1__Objects *objects, orm_install_kind kind,
		       orm_mirror_result *result, orm_error *error);

/* ---- what is remembered about others' changes (conflict.c) -------------------------------------------------- */

struct orm_dispute {
	orm_object *object;
	uint64_t base;   /* the revision that the edit was made on */
	uint16_t column; /* ORM_NO_NUMBER: the object as a whole */
	bool gone;       /* it has left the session */
	bool has_seen;
	orm_value seen;  /* the value that the edit was made on, in the mirror's arena */
};

/* Remember; the first base stays. False when out of memory. */
bool orm_dispute_put(orm_mirror *mirror, orm_object *object, uint16_t column, uint64_t base);
/* The same for one member, before the snapshot takes theirs. */
bool orm_dispute_put_seen(orm_mirror *mirror, orm_object *object, const orm_member *member, uint64_t base);
orm_dispute *orm_dispute_find(const orm_mirror *mirror, const orm_object *object, uint16_t column);
void orm_disputes_clear(orm_mirror *mirror); /* and the list of conflicts */
void orm_disputes_fini(orm_mirror *mirror);
/* Objects with edits that have left: list them as conflicts. ORM_OK if there is none, else ORM_ECONFLICT. */
orm_status orm_disputes_check_gone(orm_mirror *mirror, orm_error *error);

#endif
