/* SPDX-License-Identifier: MIT */
/*
 * Inside a session: the unit of work as the session's own files see it.
 *
 * What happened to an object since its last commit, and to whom it may still be news, is its change. Pending changes
 * are in one list, those that were committed or rolled back but not yet seen by all in another ("settled"); both rise
 * in revision, since an object that is touched moves to the tail. An object without a change is clean and everybody
 * knows it.
 *
 * Everything here is for one call at a time, as session.h says.
 */
#ifndef ORMD_SESSION_UNIT_H
#define ORMD_SESSION_UNIT_H

#include "session/identity.h"
#include "session/session.h"

/* ---- changes ------------------------------------------------------------------------------------------------ */

typedef struct ormd_mark {
	uint64_t revision; /* 0: not touched */
	uint32_t author; /* participant; 0: the server; with ORMD_CASCADED: the server in a participant's name, which is
			    therefore told, too */
} ormd_mark;

#define ORMD_CASCADED (UINT32_C(1) << 31)

static inline uint32_t ormd_mark_author(ormd_mark mark)
{
	return mark.author & ~ORMD_CASCADED;
}

typedef struct ormd_change_list {
	ormd_change *first, *last;
	size_t len;
} ormd_change_list;

struct ormd_change {
	ormd_change *previous, *next;
	ormd_object *object;
	ormd_record *base;  /* pending: the committed values; NULL: a new object, or settled. The current record itself
			       where only a deletion is pending */
	ormd_mark *marks;   /* per column; NULL: every column as `added` */
	uint64_t revision;  /* when anything happened last */
	uint64_t order;     /* of orm_add in the session, rising; 0: not added in it */
	ormd_mark added;    /* revision 0: not added since it was last seen by all */
	ormd_mark event;    /* of the latest deletion, restoration or leaving; revision 0: none */
	uint8_t event_kind; /* ormd_event */
	bool pending;
	uint32_t draft; /* the publish that touched it last */
};

typedef enum ormd_event { ORMD_EVENT_NONE = 0, ORMD_EVENT_DELETED, ORMD_EVENT_RESTORED, ORMD_EVENT_GONE } ormd_event;

static inline bool ormd_object_pending(const ormd_object *object)
{
	return object->change && object->change->pending;
}

static inline ormd_mark ormd_change_mark(const ormd_change *change, uint16_t column)
{
	return change->marks ? change->marks[column] : change->added;
}

/* ---- the session -------------------------------------------------------------------------------------------- */

typedef struct ormd_mapper_unit {
	ormd_layout layout;
	ormd_keys keys;
	size_t n_new, n_changed, n_deleted; /* pending */
	int64_t next_key;                   /* without a database */
} ormd_mapper_unit;

typedef struct ormd_participant {
	uint32_t number;
	bool departed;   /* kept for its name */
	char *name;      /* owned */
	uint64_t joined; /* revision */
	uint64_t seen;
	uint64_t aborted; /* revision of another's rollback that it must acknowledge; 0: none */
	uint32_t aborted_by;
	char *aborted_why; /* owned; may be NULL */
} ormd_participant;

typedef struct ormd_staged ormd_staged;   /* an open draft in parts (draft.c) */
typedef struct ormd_notices ormd_notices; /* (participants.c) */

struct ormd_session {
	const orm_registry *registry;
	ormd_database *database; /* NULL in tests: keys count from 1 */
	char *name;              /* owned; NULL: private */
	int64_t fence;           /* by which its name is claimed in the directory; 0: it is not */
	ormd_on_death on_death;
	size_t max_memory;
	bool read_only;

	orm_isolation isolation;
	int64_t max_transaction_ms; /* 0: no limit */
	ormd_connection *pin;       /* its transaction (transaction.h); NULL: none */
	int64_t pinned_us;          /* since when */
	int64_t pin_until_us;       /* then it is rolled back */
	orm_error lost;             /* why the transaction is gone; until a rollback */

	orm_arena arena;  /* layouts; for the session's life */
	orm_pool pool;    /* records */
	orm_pool changes; /* and their marks: apart, so that those made one after the other lie one after the other */
	ormd_objects objects;
	ormd_handles handles;
	ormd_mapper_unit *mappers; /* by number */
	uint64_t next_handle;      /* counter of participant 0 */

	uint64_t revision;
	uint32_t epoch; /* + 1 with each commit and rollback */
	uint64_t next_order;
	ormd_change_list pending, settled;
	uint64_t forgotten; /* settled changes up to this revision may have been forgotten */
	uint32_t draft;     /* number of the publish under way or last */

	uint64_t news; /* revision of the latest operation */
	uint32_t news_author;
	uint64_t other_news; /* revision of the latest one by another than its author */

	ormd_participant *participants; /* owned; rising numbers */
	size_t n_participants, max_participants, n_present;
	uint32_t next_participant;
	ormd_notices *notices; /* NULL: none yet */
	uint64_t notices_lost; /* revision of the latest for which there was no memory */
	ormd_staged *staged;   /* NULL: no draft in parts is open */
};

/* ORM_EPERM: it is read-only. */
orm_status ormd_session_check_writable(const ormd_session *session, orm_error *error);

static inline const orm_mapper *ormd_object_mapper(const ormd_session *session, const ormd_object *object)
{
	return &session->registry->mappers[object->mapper];
}

static inline const ormd_layout *ormd_object_layout(const ormd_session *session, const ormd_object *object)
{
	return &session->mappers[object->mapper].layout;
}

/* ---- finding ------------------------------------------------------------------------------------------------ */

ormd_object *ormd_unit_by_handle(ormd_session *session,
				 uint64_t handle); /* also one that is gone but remembered; NULL: unknown */

/* The live object with this key, else one whose deletion is pending, else NULL. `values`: the key's columns in the
 * mapper's order. */
ormd_object *ormd_unit_by_key(const ormd_session *session, const orm_mapper *mapper, const orm_value *values);

/* Walk the objects of a mapper that have a key, deleted ones included, in no order; start with *cursor == 0, NULL at
 * the end. */
ormd_object *ormd_unit_next_object(const ormd_session *session, const orm_mapper *mapper, size_t *cursor);

/* Is anything pending: on this mapper, at all? */
bool ormd_unit_mapper_pending(const ormd_session *session, const orm_mapper *mapper);
static inline bool ormd_unit_pending(const ormd_session *session)
{
	return session->pending.len > 0;
}

/*
 * Walk the pending objects of one state (ORMD_STATE_NEW, _PERSISTENT: changed, _DELETED) in the list's order (new ones:
 * sort by change->order); mapper NULL: of all. Start with *cursor == NULL; NULL at the end. What changed in a
 * PERSISTENT one: the columns whose mark is not 0 and whose value differs from change->base.
 */
ormd_object *ormd_unit_next_pending(const ormd_session *session, ormd_state state, const orm_mapper *mapper,
				    const ormd_change **cursor);

/* ---- rows from the database --------------------------------------------------------------------------------- */

/* One load; the values that a batch of it changes in objects of the session are one operation, "reload", by the server.
 */
typedef struct ormd_install {
	ormd_session *session;
	bool populate_existing; /* also refresh: the row's values win where nothing is pending */
	bool rehearsed;         /* the rows show what is pending: they are no base for pending changes */
	uint64_t revision;      /* of the reload; 0: nothing has changed yet */
} ormd_install;

/*
 * The batch (all columns of its mapper, any order) becomes objects, or meets those that are there: ARCHITECTURE.md,
 * "Which values win". objects[i]: the object of row i, never NULL; it may be one whose deletion is pending. ORM_ENOMEM,
 * ORM_ELIMIT; the rows before stay.
 */
orm_status ormd_unit_install(ormd_install *install, const orm_batch *batch, ormd_object **objects, orm_error *error);

/* The row of a clean object is gone from the database (a refresh found none): the object leaves the session, for
 * everybody. One with pending changes stays. */
void ormd_unit_row_gone(ormd_install *install, ormd_object *object);

/* Rows of objects for a reply: the columns (NULL: all) of n objects of one mapper, in `arena`. */
orm_status ormd_rows_build(const ormd_session *session, const orm_mapper *mapper, const uint16_t *columns,
			   size_t n_columns, ormd_object *const *objects, size_t n_objects, orm_arena *arena,
			   ormd_rows *rows, orm_error *error);

/* ---- after a commit ----------------------------------------------------------------------------------------- */

/*
 * Once the database has committed: begin, then the server-made values, then settle. None can fail: what needs memory
 * was made before. begin raises the revision. A server record replaces the object's current one (made from it with
 * ormd_record_with on session->pool; the session's from then on).
 */
void ormd_unit_settle_begin(ormd_session *session, uint32_t participant);
void ormd_unit_set_server_integer(ormd_session *session, ormd_object *object, uint16_t column,
				  int64_t integer); /* a version: in place */
void ormd_unit_set_server_record(ormd_session *session, ormd_object *object, ormd_record *record,
				 const uint16_t *columns, size_t n_columns);

/* Current values become the committed ones, deleted objects leave, new ones are persistent; a notice says that
 * `participant` committed. */
void ormd_unit_settle(ormd_session *session, uint32_t participant);

/* ---- for the session's own files ------------------------------------------------------------------------------ */

/* changes (unit.c) */
ormd_change *ormd_change_new(ormd_session *session, ormd_object *object); /* not in a list yet; NULL: out of memory */
void ormd_change_free(ormd_session *session,
		      ormd_change *change); /* with its marks, not its base; not in a list any more; NULL allowed */
void ormd_change_append(ormd_session *session, ormd_change *change); /* to the list that change->pending says */
void ormd_change_insert(ormd_session *session, ormd_change *change,
			ormd_change *previous); /* after `previous`; NULL: first */
void ormd_change_remove(ormd_session *session, ormd_change *change);
bool ormd_change_need_marks(ormd_session *session, ormd_change *change); /* a mark per column; false: out of memory */
void ormd_unit_count(ormd_session *session, const ormd_object *object, ormd_state state,
		     int more); /* a pending object enters (1) or leaves (-1) the counts */

/* objects (unit.c); flags: */
#define ORMD_FLAG_KEYED      1U /* in its mapper's table of keys */
#define ORMD_FLAG_UNRESOLVED 2U /* during a publish: has references still to be followed */
#define ORMD_FLAG_REKEYED    4U /* during a publish: its key may change */
#define ORMD_FLAG_LOCKED     16U /* during a query that locks rows: its row is */
#define ORMD_FLAG_OWN_RECORD 8U /* during a publish: its record was made by it, and nobody else has it */

uint32_t ormd_object_hash(const ormd_session *session, const ormd_object *object,
			  const ormd_record *record); /* of the key in `record` */
void ormd_object_enter_keys(ormd_session *session, ormd_object *object,
			    uint32_t hash);                              /* of its record; after ormd_keys_reserve */
void ormd_object_leave_keys(ormd_session *session, ormd_object *object); /* if it is in there */
void ormd_object_leave_keys_as(ormd_session *session, ormd_object *object,
			       const ormd_record *record); /* which it entered with this record's key */
ormd_object *ormd_object_new(ormd_session *session, const orm_mapper *mapper, uint64_t handle,
			     ormd_record *record); /* no keys yet; NULL: out of memory */
void ormd_object_free(ormd_session *session,
		      ormd_object *object); /* with its record and change, from all maps and lists */

/* the log (unit.c) */
uint64_t ormd_unit_operation(ormd_session *session, uint32_t author); /* one more; its revision */
void ormd_unit_also_news(ormd_session *session,
			 uint32_t author);            /* the latest operation has something by this author, too */
void ormd_unit_forget_settled(ormd_session *session); /* what everybody has seen */
size_t ormd_unit_memory(const ormd_session *session);

/* participants and notices (participants.c) */
ormd_participant *ormd_participant_find(const ormd_session *session, uint32_t number); /* present; NULL: none */
const char *ormd_participant_name(const ormd_session *session,
				  uint32_t number); /* departed ones too; "the server" for 0; never NULL */
orm_status ormd_participant_saw(ormd_session *session, uint32_t number, uint64_t seen, ormd_participant **participant,
				orm_error *error);
void ormd_participants_fini(ormd_session *session);
void ormd_notice_put(
	ormd_session *session, ormd_notice_kind kind, uint32_t participant,
	const char *text); /* NULL: no reason is known. At the current revision; nothing in a private session */
orm_status ormd_notices_since(const ormd_session *session, uint32_t participant, uint64_t seen, orm_arena *arena,
			      ormd_sync *sync, orm_error *error);

/* rollback.c: undo the unit; `reason` for people, may be NULL */
void ormd_unit_rollback(ormd_session *session, uint32_t participant, const char *reason);

/* conflict.c: the conflicts of one draft, gathered in its arena */
typedef struct ormd_conflicts {
	orm_arena *arena;
	ormd_conflict *items;
	size_t len, max;
	bool failed; /* out of memory */
} ormd_conflicts;

/* May `participant`, whose edits are based on revision `base`, set this column, or do anything to the object? Adds a
 * conflict otherwise. `mine`: copied. */
bool ormd_conflict_check_column(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				uint16_t column, uint32_t participant, uint64_t base, const orm_value *mine);
bool ormd_conflict_check_object(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				uint32_t participant, uint64_t base);
/* May it delete the object? Not if another changed it since. */
bool ormd_conflict_check_deletion(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				  uint32_t participant, uint64_t base);

orm_status ormd_conflicts_fail(const ormd_conflicts *conflicts, const ormd_session *session,
			       orm_error *error); /* ORM_ECONFLICT (or ORM_ENOMEM), worded */

/* draft.c */
void ormd_staged_free(ormd_staged *staged);
uint32_t ormd_staged_participant(const ormd_staged *staged);

#endif
