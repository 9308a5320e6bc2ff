/* SPDX-License-Identifier: MIT */
/*
 * The mirror: a session's objects as the program's structs. No sockets in here, and no session: it is given messages
 * and makes messages, so that it can be tested without a server.
 *
 * The story. Structs live in slabs of 64 KiB: the objects' records, their structs and their snapshots, each as an
 * array. A snapshot is what the server's unit says, as this participant has seen it; what differs from it is the draft.
 * Any address can be asked whether it is a struct of this mirror. Objects are found by handle (paged array) and by
 * primary key (hash map).
 *
 * Files: mirror (objects, states, add and delete), mirror_slab and mirror_index (memory, handles and keys), edits
 * (what differs), install (rows that arrive), relationship and family (pointers and lists), draft and draft_encode
 * (rows that leave), sync (what others did), conflict.
 *
 * The order in which a session uses it, for one call to the server:
 *   1. orm_mirror_settle: plain assignments to relationships take effect (orm_draft_build does it, too);
 *   2. orm_draft_build: what to send, each part a message of its own;
 *   3. on success orm_draft_accept, orm_sync_apply, then orm_mirror_install for the reply's rows, orm_mirror_loaded at
 *      the stream's end, orm_mirror_committed after a commit; after a rollback orm_mirror_rolled_back, before its sync;
 *   4. on failure nothing; orm_sync_apply if the error brought one (after orm_draft_accept if it says published), and
 *      orm_conflict_take if it brought conflicts.
 *
 * Ownership: structs, lists and strings are the mirror's arena's, good until orm_mirror_clear or orm_mirror_free.
 * Protobuf messages are borrowed for the call, but the text and blob bytes in them must live as long as the mirror:
 * unpack rows into orm_mirror_arena(). One thread at a time. Nothing blocks.
 */
#ifndef CLIENT_MIRROR_H
#define CLIENT_MIRROR_H

#include "base/arena.h"
#include "client/binding.h"

#include "proto/ormd.pb-c.h"

typedef struct orm_mirror orm_mirror;
typedef struct orm_object orm_object;

/* What an object is; several may hold at once. */
enum {
	OBJECT_NEW = 1 << 0,      /* added here, never published */
	OBJECT_PENDING = 1 << 1,  /* published by somebody, not committed */
	OBJECT_DELETING = 1 << 2, /* deleted here, not published */
	OBJECT_DELETED = 1 << 3,  /* deletion published, not committed */
	OBJECT_GONE = 1 << 4,     /* left the session: its struct is only memory */
	OBJECT_EXPIRED = 1 << 5,  /* values are to be reloaded */
	OBJECT_RELINKED = 1 << 6, /* points to an object without a key yet: a change that no column shows */
	OBJECT_DISPUTED = 1 << 7, /* has a dispute: see conflict.h */
	OBJECT_MARKED = 1 << 8,   /* used by one pass at a time */
	OBJECT_MOVED = 1 << 9,    /* got another parent: to be settled even if its columns are back where they were */
	OBJECT_UNLINKED = 1 << 10 /* expired, and its pointers not loaded since */
};

/* An object's record, beside its struct. */
struct orm_object {
	uint64_t handle; /* 0: new, and never in a draft */
	uint16_t flags;
	uint16_t given; /* new: which set of columns orm_add was given, see given in mirror_state.h */
	uint32_t index; /* place in its slab */
};

/* Ready a mirror. `binding` is borrowed; handles of new objects are participant << 40 | 1, 2, 3, ... False when out of
 * memory. */
orm_mirror *orm_mirror_new(const orm_binding *binding, uint32_t participant);
void orm_mirror_free(orm_mirror *mirror); /* NULL allowed */

/* Forget all objects and free their memory; the counter of handles goes on, `seen` stays. */
void orm_mirror_clear(orm_mirror *mirror);

/* Where everything that the program sees lives. Borrowed. */
orm_arena *orm_mirror_arena(orm_mirror *mirror);

/* The unit's revision that the structs show. */
uint64_t orm_mirror_seen(const orm_mirror *mirror);

/* ---- finding objects ---------------------------------------------------------------------------------------- */

/* The object whose struct is at exactly this address; NULL for anything else, another session's struct included. */
orm_object *orm_mirror_find(const orm_mirror *mirror, const void *address);
orm_object *orm_mirror_by_handle(orm_mirror *mirror, uint64_t handle);
/* By primary key, values in key order and of the columns' types. Not the gone. Objects that came since the last call
 * are indexed first. */
orm_object *orm_mirror_by_key(orm_mirror *mirror, const orm_layout *layout, const orm_value *key);

const orm_layout *orm_object_layout(const orm_object *object);
void *orm_object_struct(const orm_object *object);

/* ---- what the program does --------------------------------------------------------------------------------- */

/*
 * orm_add: a new object, copied from `example`; `given` is the set of columns given (layout->n_words words; only looked
 * at for columns with a default). Relationship pointers of the example are linked at once. The struct, or NULL:
 * ORM_ENOMEM, ORM_EINVAL for a pointer to something that is not of this session.
 */
void *orm_mirror_add(orm_mirror *mirror, const orm_layout *layout, const void *example, const uint64_t *given,
		     orm_error *error);

/*
 * orm_delete: out of all lists at once. A new object just leaves. Mirrored children whose foreign key has no cascade in
 * the database and may be NULL lose it. ORM_EINVAL: not of this session. A second time is no failure.
 */
orm_status orm_mirror_delete(orm_mirror *mirror, const void *object, orm_error *error);

/* orm_discard: drop all that is not published, in structs, lists and lists of new objects. Disputes are settled with
 * it. */
orm_status orm_mirror_discard(orm_mirror *mirror, orm_error *error);

/* orm_expire: drop this object's edits, mark it EXPIRED, its relationships not loaded. ORM_EINVAL; ORM_ESTATE for a new
 * object. */
orm_status orm_mirror_expire(orm_mirror *mirror, const void *object, orm_error *error);

orm_object_state orm_mirror_state(const orm_mirror *mirror, const void *object);
orm_member_condition orm_mirror_member_state(const orm_mirror *mirror, const void *object, const void *member);
bool orm_mirror_is_dirty(const orm_mirror *mirror, const void *object);

/* Has anything not been published? A walk over all objects, some nanoseconds each. */
bool orm_mirror_has_draft(orm_mirror *mirror);

/* ---- what the server says ---------------------------------------------------------------------------------- */

/* A growing array of structs: the answer to a query, in the arena. Zero-initialise. */
typedef struct orm_mirror_result {
	void **items;
	size_t len;
	size_t capacity;
} orm_mirror_result;

/*
 * Rows of a reply (QueryReply.rows and related, GetReply.rows, RefreshReply.rows). What comes for an object that is
 * mirrored is shown by its struct, except members with unsent edits. The structs are appended to `result` (NULL: not
 * wanted), deleted ones (DELETING) included. ORM_EPROTOCOL for a batch that does not hold together; rows before it in
 * the message have been taken.
 */
orm_status orm_mirror_install(orm_mirror *mirror, const Ormd__V1__Objects *objects, orm_mirror_result *result,
			      orm_error *error);

/* The stream has ended well: these parents' relationship is complete. To-one: what has not come does not exist, and is
 * NULL. */
orm_status orm_mirror_loaded(orm_mirror *mirror, const Ormd__V1__Loaded *loaded, orm_error *error);

/* Rows that a refresh did not find (RefreshReply.missing): they leave the session. */
orm_status orm_mirror_missing(orm_mirror *mirror, const uint64_t *handles, size_t n, orm_error *error);

/* A commit succeeded: what was pending is persistent, what was deleted leaves. After orm_draft_accept and
 * orm_sync_apply. */
orm_status orm_mirror_committed(orm_mirror *mirror, orm_error *error);

/* A rollback succeeded: drops the draft; the sync that came with the reply, applied next, brings back the rest. */
orm_status orm_mirror_rolled_back(orm_mirror *mirror, orm_error *error);

#endif
