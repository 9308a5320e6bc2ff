/* SPDX-License-Identifier: MIT */
/*
 * A session: an identity map, a unit of work as one serial log in memory, and its participants. No sockets, no protobuf: the
 * daemon translates. The rules are in ARCHITECTURE.md ("One unit of work, three places").
 *
 * Life: ormd_session_new, ormd_session_join for each participant, then publish, query, load, get, refresh, sync, rollback, commit in any order,
 * ormd_session_leave, ormd_session_free.
 *
 * Threads: everything on one session happens one call at a time; the caller (the session's actor) sees to it. Calls that may have to wait for
 * a turn to write (commit, and queries over pending changes) are begun with a `finished` callback, which is called exactly once, from any
 * thread, perhaps before the call returns; until then the session must not be touched otherwise. Readers are taken blocking.
 *
 * Files: layout and record (a row in memory), object, identity (maps by handle and key), unit (the log, publish, conflicts, rollback), sync (what a participant
 * has not seen), plan (flush order), flush (SQL), transaction, commit, query (select, load, get, refresh), pending (listing for people).
 */
#ifndef ORMD_SESSION_SESSION_H
#define ORMD_SESSION_SESSION_H

#include "driver/database.h"
#include "sql/statement.h"

typedef struct ormd_session ormd_session;

typedef enum ormd_on_death { ORMD_ON_DEATH_ROLLBACK = 0, ORMD_ON_DEATH_KEEP = 1 } ormd_on_death;

typedef struct ormd_session_options {
	const char   *name;       /* NULL: private */
	ormd_on_death on_death;
	size_t        max_memory; /* bytes of objects; 0: no limit; ORM_ELIMIT beyond */
	orm_isolation isolation;  /* not DEFAULT: the unit has a database transaction of its own, see below */
	int64_t       max_transaction_ms; /* 0: no limit */
	bool          read_only;  /* drafts and row locks are refused (ORM_EPERM), and it reads from a replica, if the database has one, unless it has a
	                             transaction of its own */
} ormd_session_options;

/* `registry` and `database` are borrowed for the session's life. Owned. */
ormd_session *ormd_session_new(const orm_registry *registry, ormd_database *database, const ormd_session_options *options, orm_error *error);
void          ormd_session_free(ormd_session *session); /* drops what is pending; NULL allowed */

const orm_registry *ormd_session_registry(const ormd_session *session);
const char         *ormd_session_name(const ormd_session *session); /* NULL: private */
uint64_t            ormd_session_revision(const ormd_session *session);
size_t              ormd_session_n_pending(const ormd_session *session); /* objects that a commit would write now */

/*
 * Where several servers may serve the database: its name is claimed in the directory by this fence (directory.h), and each commit makes sure that it
 * still is; else it fails with ORM_ELOST. For shared sessions, before the first commit.
 */
void ormd_session_set_fence(ormd_session *session, int64_t fence);

/* ---- its own database transaction --------------------------------------------------------------------------- */

/*
 * With DEFAULT isolation no transaction is open between two calls. With another level, and in any session from its first query that locks rows
 * (ormd_select.lock), the unit has one transaction from the first call that needs the database until the commit or rollback; every call on it reads
 * and writes there, and may block: for the connection, and for the engine's locks. A call that fails leaves it as it was; but a serialization failure,
 * deadlock or lost connection ends it: that call and all others get ORM_ERETRY until ormd_session_rollback.
 */

/* When ormd_session_expire_transaction is to be called; ORM_NO_DEADLINE: no transaction is open, or it has no limit. */
int64_t ormd_session_transaction_until(const ormd_session *session);
/* Roll it back if its time is up: the next calls get ORM_ETIMEOUT, until ormd_session_rollback. */
void    ormd_session_expire_transaction(ormd_session *session);
/* May a call on the session wait for what only another session's call brings about: its own transaction's turn and locks, or the one connection of a
   private database? */
bool    ormd_session_may_wait(const ormd_session *session);

/* ---- participants ----------------------------------------------------------------------------------------- */

/* A new participant; its number (1, 2, ... never used twice) in *number. The others get a notice. */
orm_status ormd_session_join(ormd_session *session, const char *name, uint32_t *number, orm_error *error);

/*
 * A participant has left, or died (`died`; `reason` for people). What it published stays pending, unless it died and the session's rule is to
 * roll back: then the whole unit is rolled back if anything is pending. The last one's leaving also rolls back what is pending.
 */
void   ormd_session_leave(ormd_session *session, uint32_t number, bool died, const char *reason);
size_t ormd_session_n_participants(const ormd_session *session);

/* ---- publishing -------------------------------------------------------------------------------------------- */

typedef struct ormd_references {
	const orm_relationship *relationship; /* to-one */
	const uint64_t         *targets;      /* one handle per row; 0: NULL */
} ormd_references;

typedef struct ormd_adds {
	orm_batch              values;       /* checked with orm_batch_check; NOT NULL columns that are absent must have a default or be a generated key */
	const uint64_t        *handles;      /* one per row, or NULL: first_handle + i */
	uint64_t               first_handle;
	const ormd_references *references;
	size_t                 n_references;
} ormd_adds;

typedef struct ormd_updates {
	orm_batch              values;       /* the changed columns */
	const uint64_t        *handles;
	uint64_t               first_handle;
	const ormd_references *references;
	size_t                 n_references;
	uint64_t               base;
} ormd_updates;

typedef struct ormd_deletes {
	const orm_mapper *mapper;
	const uint64_t   *handles;
	size_t            n_handles;
	uint64_t          base;
} ormd_deletes;

/* Borrowed by the call. */
typedef struct ormd_draft {
	const ormd_adds    *adds;
	size_t              n_adds;
	const ormd_updates *updates;
	size_t              n_updates;
	const ormd_deletes *deletes;
	size_t              n_deletes;
} ormd_draft;

typedef struct ormd_key_range {
	uint64_t first_handle;
	int64_t  first_key;
	uint32_t count;
} ormd_key_range;

typedef struct ormd_conflict {
	uint64_t          handle;
	const orm_mapper *mapper;
	uint16_t          column;       /* ORM_NO_NUMBER: of the whole object */
	orm_value         base, theirs, mine; /* `base`: what was there at the change's base revision as far as it is still known, else the committed value */
	uint32_t          author;
	const char       *author_name;
	uint64_t          revision;     /* when theirs was published */
	bool              deleted;      /* theirs is the deletion */
} ormd_conflict;

/* What a publish made or met; in the arena that the call was given. */
typedef struct ormd_published {
	const ormd_key_range *keys;
	size_t                n_keys;
	const ormd_conflict  *conflicts;   /* with ORM_ECONFLICT */
	size_t                n_conflicts;
	uint64_t              fault_handle; /* with other errors: the object at fault, or 0 */
} ormd_published;

/*
 * Apply a draft, whole or not at all, as one operation of `participant`, who had seen revision `seen`. ORM_EINVAL (a value, handle or reference that cannot
 * be), ORM_ECONFLICT, ORM_EABORTED (another's rollback was not seen), ORM_EEXIST (an object with this key is in the session), ORM_ELIMIT, ORM_ENOMEM. Large drafts that come
 * in parts are applied part by part inside one ormd_draft_begin .. ormd_draft_end pair, invisible to others until the end and undone whole by ormd_draft_cancel.
 */
orm_status ormd_session_publish(ormd_session *session, uint32_t participant, uint64_t seen, const ormd_draft *draft, orm_arena *arena,
                                ormd_published *published, orm_error *error);
orm_status ormd_draft_begin(ormd_session *session, uint32_t participant, uint64_t seen, orm_error *error);
orm_status ormd_draft_part(ormd_session *session, const ormd_draft *draft, orm_arena *arena, ormd_published *published, orm_error *error);
/* `published`: the keys of all parts (a part's own `published` has them only if it was applied at once), the conflicts, the fault. */
orm_status ormd_draft_end(ormd_session *session, orm_arena *arena, ormd_published *published, orm_error *error);
void       ormd_draft_cancel(ormd_session *session);

/* Undo the unit for everybody: every object as it was committed last. A rollback of nothing acknowledges others' rollbacks, no more. */
void ormd_session_rollback(ormd_session *session, uint32_t participant);

/* Must `participant`, who has seen `seen`, first learn of another's rollback? Then ORM_EABORTED saying whose and why. Or was the transaction lost? */
orm_status ormd_session_check_seen(const ormd_session *session, uint32_t participant, uint64_t seen, orm_error *error);

/* ---- what others did --------------------------------------------------------------------------------------- */

/* Rows of objects: handles[i] belongs to row i. Owned by what contains it. */
typedef struct ormd_rows {
	const orm_mapper *mapper;
	size_t            n_rows;
	const uint64_t   *handles;
	orm_batch         values;
} ormd_rows;

typedef enum ormd_notice_kind {
	ORMD_NOTICE_JOINED = 1, ORMD_NOTICE_LEFT, ORMD_NOTICE_DIED, ORMD_NOTICE_PUBLISHED, ORMD_NOTICE_COMMITTED, ORMD_NOTICE_ROLLED_BACK
} ormd_notice_kind;

typedef struct ormd_notice {
	uint64_t         revision;
	ormd_notice_kind kind;
	uint32_t         participant;
	const char      *name;
	const char      *text;
} ormd_notice;

typedef struct ormd_sync {
	uint64_t           revision;
	const ormd_rows   *added, *changed;
	size_t             n_added, n_changed;
	const uint64_t    *gone, *deleted, *restored;
	size_t             n_gone, n_deleted, n_restored;
	const ormd_notice *notices;
	size_t             n_notices;
	bool               missed_notices;
} ormd_sync;

/* Is there anything after `seen` for this participant? O(1), allocates nothing. */
bool ormd_session_has_news(const ormd_session *session, uint32_t participant, uint64_t seen);
/* What there is, in `arena`; O(objects changed since). Own changes are left out, server-made ones (author 0) are in. */
orm_status ormd_session_sync(ormd_session *session, uint32_t participant, uint64_t seen, orm_arena *arena, ormd_sync *sync, orm_error *error);

/* ---- reading ------------------------------------------------------------------------------------------------ */

typedef struct ormd_query ormd_query;

typedef struct ormd_query_options {
	const orm_relationship *const *load;  /* relationships to load along; borrowed until the query is closed */
	size_t                         n_load;
	bool                           populate_existing;
	int64_t                        deadline_us;
} ormd_query_options;

typedef void ormd_finished(orm_status status, const orm_error *error, void *context);

/*
 * Begin a query; `select` (checked with ormd_select_check) is copied. `finished` says whether ormd_query_next may be called. On a reader the
 * rows are read piece by piece as they are asked for; a rehearsal has read them all before `finished`. *query is set before `finished` is called (which may be
 * before this returns). Owned: ormd_query_close, in any case. A failure returned here: not begun, *query untouched, finished is not called.
 */
orm_status ormd_query_open(ormd_session *session, uint32_t participant, const ormd_select *select, const ormd_query_options *options,
                           ormd_finished *finished, void *context, ormd_query **query, orm_error *error);
/* The relationship of these objects (handles); same protocol. Objects that are new have nothing in the database but may have pending relatives. */
orm_status ormd_load_open(ormd_session *session, uint32_t participant, const orm_relationship *relationship, const uint64_t *handles, size_t n_handles,
                          const ormd_query_options *options, ormd_finished *finished, void *context, ormd_query **query, orm_error *error);

typedef struct ormd_loaded {
	const orm_relationship *relationship;
	const uint64_t         *parents;
	size_t                  n_parents;
} ormd_loaded;

/* One piece of the result, good until the next ormd_query_next or close. */
typedef struct ormd_piece {
	const ormd_rows   *rows;      /* of the statement */
	size_t             n_rows;
	const ormd_rows   *related;   /* loaded along */
	size_t             n_related;
	const ormd_loaded *loaded;    /* to-many relationships that are complete once the last piece has come */
	size_t             n_loaded;
	uint64_t           count;     /* ORMD_COUNT, ORMD_EXISTS */
	bool               last;
} ormd_piece;

/* The next piece: about max_size bytes of cells. Blocks on the database (never for a turn to write). */
orm_status ormd_query_next(ormd_query *query, size_t max_size, ormd_piece *piece, orm_error *error);
void       ormd_query_interrupt(ormd_query *query); /* any thread: ormd_query_next ends soon with ORM_ECANCELLED */
void       ormd_query_close(ormd_query *query); /* NULL allowed */

/*
 * Objects by primary key, without a query if they are in the identity map. `in_memory`: look there only and say in *complete whether that answered
 * everything (never blocks, for the network's thread). Rows of `keys` that exist come back in their order, in `arena`.
 */
orm_status ormd_session_get(ormd_session *session, uint32_t participant, const orm_batch *keys, bool in_memory, bool *complete, int64_t deadline_us,
                            orm_arena *arena, const ormd_rows **rows, size_t *n_rows, orm_error *error);

/* Reload rows from the database; fields with pending changes keep them. `missing`: handles whose row is gone. */
orm_status ormd_session_refresh(ormd_session *session, uint32_t participant, const uint64_t *handles, size_t n_handles, int64_t deadline_us, orm_arena *arena,
                                const ormd_rows **rows, size_t *n_rows, const uint64_t **missing, size_t *n_missing, orm_error *error);

/* ---- committing --------------------------------------------------------------------------------------------- */

typedef struct ormd_commit_id {
	uint8_t  client_id[16];
	uint64_t number;
} ormd_commit_id;

typedef struct ormd_commit_request {
	uint32_t       participant;
	uint64_t       seen;
	ormd_commit_id id;
	uint64_t       fingerprint;     /* of the request: the same id with another is ORM_EINVAL */
	const void    *result;          /* what to keep with the id, for whoever asks later (packed CommitResult); borrowed until finished */
	size_t         result_size;
	int64_t        deadline_us;
} ormd_commit_request;

/*
 * Write the unit. ORM_OK: durable; the log's next operation carries versions and defaults. ORM_ECONSTRAINT, ORM_ESTALE (model, column, key in error), ORM_ETIMEOUT, ORM_EDATABASE, ...: nothing
 * was written and the unit is as before. ORM_EUNKNOWN: settle with ormd_commit_settle. Nothing pending: ORM_OK at once, without the database.
 */
void ormd_session_commit(ormd_session *session, const ormd_commit_request *request, ormd_finished *finished, void *context);

typedef enum ormd_outcome { ORMD_OUTCOME_UNKNOWN = 0, ORMD_OUTCOME_COMMITTED = 1, ORMD_OUTCOME_ABORTED = 2 } ormd_outcome;

/* Settle a commit by inserting its id: see ARCHITECTURE.md, "Exactly once". Blocks. Result bytes in `arena`. */
orm_status ormd_commit_settle(ormd_database *database, const ormd_commit_id *id, int64_t deadline_us, orm_arena *arena, ormd_outcome *outcome,
                              const void **result, size_t *result_size, orm_error *error);

/* ---- schema ------------------------------------------------------------------------------------------------ */

orm_status ormd_schema_create_all(ormd_database *database, const orm_registry *registry, int64_t deadline_us, uint32_t *n_tables, orm_error *error);
orm_status ormd_schema_drop_all(ormd_database *database, const orm_registry *registry, int64_t deadline_us, uint32_t *n_tables, orm_error *error);

/* ---- looking in (ormctl) ------------------------------------------------------------------------------------ */

typedef struct ormd_session_info {
	uint64_t      revision;
	uint64_t      n_objects, n_new, n_changed, n_deleted;
	size_t        memory; /* bytes */
	ormd_on_death on_death;
	bool          in_transaction;    /* of the database, with its locks */
	int64_t       in_transaction_us; /* for how long */
} ormd_session_info;
void ormd_session_info_get(const ormd_session *session, ormd_session_info *info);

typedef struct ormd_pending_field {
	const char *column, *before, *after, *author; /* text; before/after NULL for NULL */
	uint64_t    revision;
} ormd_pending_field;

typedef struct ormd_pending_object {
	const char               *model, *key, *change /* "new", "changed", "deleted" */, *author;
	uint64_t                  handle;
	const ormd_pending_field *fields;
	size_t                    n_fields;
} ormd_pending_object;

/* The pending changes in order, at most `limit`; in `arena`. */
orm_status ormd_session_pending(const ormd_session *session, size_t limit, orm_arena *arena, const ormd_pending_object **objects, size_t *n_objects,
                                bool *truncated, orm_error *error);

#endif
