/* SPDX-License-Identifier: MIT */
/*
 * One publish under way. It is applied as it is checked, with what is needed to undo it precisely: whole or not at all.
 * The steps: deletions are marked (publish.c); adds become objects (publish_adds.c); updates change records
 * (publish_updates.c); references are followed to their targets' keys (references.c); deletions reach the children
 * (relatives.c); keys enter the identity map (publish_keys.c), where no child may refer to one that changes; then all
 * is kept, or undone (publish.c).
 */
#ifndef ORMD_SESSION_PUBLISH_H
#define ORMD_SESSION_PUBLISH_H

#include "session/unit.h"

/* An object that was there before, as it was. Reverse order undoes. */
typedef struct ormd_touched {
	ormd_object *object;
	ormd_record *record;
	ormd_change *change; /* out of its list, with its place remembered; or NULL */
	uint8_t state;
} ormd_touched;

typedef struct ormd_deletion {
	ormd_object *object;
	uint64_t base;
} ormd_deletion;

/* Keys that no other row gets: those from `next` on, `left` of them; none are left at first. For a draft at once, since
 * reserving them may cost a round trip, and a commit, in the database. */
typedef struct ormd_key_supply {
	size_t wanted; /* further ones, for the rows to come */
	size_t left;
	int64_t next;
} ormd_key_supply;

typedef struct ormd_publish {
	ormd_session *session;
	uint32_t participant;
	uint64_t seen;
	ormd_mark mark; /* of what it does */
	const ormd_draft *draft;
	orm_arena *arena; /* of the results */
	orm_arena scratch;
	ormd_published *published;
	orm_error *error;
	ormd_conflicts conflicts;
	ormd_object **created; /* in the order of the draft's adds */
	size_t n_created;
	ormd_touched *touched;
	size_t n_touched, max_touched;
	ormd_deletion *deletions; /* also those that cascade: grows while it is worked off */
	size_t n_deletions, max_deletions;
	size_t max_keys;           /* room in published->keys */
	ormd_key_supply *supplies; /* one for each mapper; NULL: not asked for yet */
	bool rekeying;             /* changed keys have left the identity map */
	bool cascaded;             /* something was done in the participant's name that it does not know */
} ormd_publish;

/* Fails with the message that the caller has just made about this object. Returns error's code. */
orm_status ormd_publish_fault(ormd_publish *publish, const ormd_object *object, uint64_t handle, orm_status status);
orm_status ormd_publish_no_memory(ormd_publish *publish);
/* ORM_ELIMIT when the session is over its limit; ORM_EINVAL for a base that is still to come. */
orm_status ormd_publish_check_memory(ormd_publish *publish);
orm_status ormd_publish_check_base(ormd_publish *publish, const orm_mapper *mapper, uint64_t base);

/* publish.c: before an object of the session is changed: remembers it and makes its change pending. */
orm_status ormd_publish_touch(ormd_publish *publish, ormd_object *object);
/* The object's record becomes `record` (NULL: out of memory, fails). */
orm_status ormd_publish_replace(ormd_publish *publish, ormd_object *object, ormd_record *record);
/* Mark the object, which was checked for conflicts, as deleted, and put it on the list of deletions. */
orm_status ormd_publish_delete(ormd_publish *publish, ormd_object *object, uint64_t base, ormd_mark mark);

/* publish_adds.c */
orm_status ormd_publish_adds(ormd_publish *publish, const ormd_adds *adds);
/* publish_updates.c */
orm_status ormd_publish_updates(ormd_publish *publish, const ormd_updates *updates);
/* publish_keys.c: new and changed keys enter the identity map; ORM_EEXIST */
orm_status ormd_publish_change_keys(ormd_publish *publish);

/* references.c */
orm_status ormd_publish_follow_references(ormd_publish *publish);
/* Is this column set by one of the references? */
bool ormd_references_set(const ormd_references *references, size_t n_references, uint16_t column);

/* relatives.c */
orm_status ormd_publish_cascade(ormd_publish *publish);       /* deletions to children: CASCADE and SET NULL */
orm_status ormd_publish_check_rekeyed(ormd_publish *publish); /* no child may refer to a key that changes */

/* An explicit key that generated ones must not meet later. */
void ormd_keys_note(ormd_session *session, const orm_mapper *mapper, int64_t key);

/* Apply a draft: what ormd_session_publish says. */
orm_status ormd_publish_apply(ormd_session *session, uint32_t participant, uint64_t seen, const ormd_draft *draft,
			      orm_arena *arena, ormd_published *published, orm_error *error);

#endif
