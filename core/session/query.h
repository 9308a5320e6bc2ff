/* SPDX-License-Identifier: MIT */
/*
 * Inside a query. The database's rows come in parcels: one fetch's rows of one mapper, as the database has them. Where
 * nothing is pending, each ormd_query_next reads its parcels from a reader (query_read.c), and makes them objects, and
 * rows for the participant (query.c). A rehearsal reads all parcels while it has its turn to write, and makes them
 * objects as soon as it is over, before the unit can change (rehearsal.c); ormd_query_next then tells what has become
 * of them.
 *
 * The statement's rows come first; then, for those rows and one relationship after the other, the related ones, and
 * word that the relationship is complete. To-many relationships of all rows of a table are loaded at the end ("late"):
 * then it may be better to read all of the other table.
 */
#ifndef ORMD_SESSION_QUERY_H
#define ORMD_SESSION_QUERY_H

#include <pthread.h>
#include <stdatomic.h>

#include "session/flush.h"
#include "session/read_ahead.h"
#include "session/select_by.h"
#include "session/transaction.h"

#define ORMD_MAX_REHEARSAL_SIZE ((size_t)256 << 20) /* bytes of cells that a rehearsal may read */
#define ORMD_REHEARSAL_PARCEL   ((size_t)256 << 10)
#define ORMD_LOAD_CHUNK         4096 /* objects whose relationship is loaded at a time */

typedef struct ormd_parcel {
	struct ormd_parcel *next;
	const orm_mapper *mapper;
	orm_batch_builder builder;
	bool related;   /* of query->load[load] */
	bool completes; /* the last of that relationship, for the objects at hand */
	size_t load;
	uint64_t *known; /* owned; handles of objects that the session has already */
	size_t n_known;
	size_t first_parent, n_parents; /* of query->parents, with `completes` */
} ormd_parcel;

/* Values to look for, each once. */
typedef struct ormd_key_set {
	orm_arena arena;
	uint16_t n_columns;
	orm_value *values; /* n_keys x n_columns */
	size_t n_keys, max_keys;
	bool *known;     /* per key: the session has its object */
	uint32_t *heads; /* key + 1, by hash */
	uint32_t *nexts;
	uint32_t *hashes;
	size_t n_heads;
	bool failed; /* out of memory */
} ormd_key_set;

/* A relationship to load for the objects at hand. */
typedef struct ormd_load {
	const orm_relationship *relationship;
	uint16_t n_columns;
	uint16_t *source; /* columns of the objects, with the values */
	uint16_t *target; /* columns of the related rows, to be equal to them */
	ormd_key_set keys;
	orm_buffer known; /* handles */
	ormd_select_by select;
	bool begun;          /* its rows are being read */
	bool late;           /* for all rows of the statement together, after them */
	bool scan;           /* late: by reading the whole table */
	ormd_cursor *cursor; /* of the scan */
} ormd_load;

struct ormd_query {
	ormd_session *session;
	uint32_t epoch; /* of the session, when it was opened */
	bool populate_existing;
	ormd_lock row_lock; /* of the statement's rows */
	int64_t deadline_us;
	orm_arena arena;

	/* what to read */
	const orm_mapper *mapper; /* of the statement, or of the objects to load for */
	bool has_statement;
	ormd_result result;
	orm_buffer sql;
	const orm_value *parameters;
	size_t n_parameters;
	ormd_load *loads;
	size_t n_loads;
	uint64_t *parents; /* handles of all objects to load for; with a statement, of its latest rows */
	size_t n_parents, max_parents;

	/* how far it is read */
	ormd_cursor *cursor;
	ormd_read_ahead *ahead; /* on that cursor, or a scan's */
	bool statement_done;
	bool has_read;       /* a parcel, so that it cannot begin again */
	size_t next_parent;  /* without a statement */
	size_t first_parent; /* of the objects at hand */
	size_t n_at_hand;
	size_t next_load; /* n_loads: none under way */
	size_t next_late; /* of the late ones; n_loads: none left */
	uint64_t count;

	/* where from */
	pthread_mutex_t lock;        /* for `connection`, which ormd_query_interrupt needs */
	ormd_connection *connection; /* in use now */
	ormd_connection *reader;     /* to be given back */
	atomic_bool interrupted;
	bool rehearsal;
	ormd_job job;
	ormd_flush flush;
	ormd_finished *finished;
	void *context;
	size_t rehearsed_size;
	ormd_parcel *first_parcel, *last_parcel; /* read, not delivered */

	/* the piece delivered last */
	size_t piece_size; /* that was asked for */
	orm_arena piece;
	ormd_parcel *delivered;
	ormd_parcel *spare;
};

/* Readied, without what to read. NULL when out of memory. */
ormd_query *ormd_query_new(ormd_session *session, const ormd_query_options *options, orm_error *error);

/* Add a relationship of query->mapper to load. ORM_ENOMEM. */
orm_status ormd_query_add_load(ormd_query *query, size_t number, const orm_relationship *relationship,
			       orm_error *error);

/*
 * Begin it, unless `status` says that making it has failed: set *begun, and tell `finished` at once or after the
 * rehearsal. On failure the query is closed and nobody told. Returns the status.
 */
orm_status ormd_query_begin(ormd_query *query, orm_status status, bool rehearsal, ormd_finished *finished,
			    void *context, ormd_query **begun, orm_error *error);

/* Is anything pending that the rows of this mapper may depend on: changes of its own, or deletions that the database
 * would cascade to it? */
bool ormd_query_depends_on_unit(const ormd_session *session, const orm_mapper *mapper);

/* By deletions alone? Then rows may only look changed. */
bool ormd_query_reached_by_deletions(const ormd_session *session, const orm_mapper *mapper);

/* ---- in the session's own transaction (query_transaction.c) ---- */

/* At once, on this thread: all is read before `finished` is told. `rehearsal`: over what is pending. As ormd_query_begin. */
orm_status ormd_query_run_in_transaction(ormd_query *query, bool rehearsal, ormd_finished *finished, void *context,
					 ormd_query **begun, orm_error *error);

/* ---- rehearsing (rehearsal.c) ---- */

/* Read everything on `connection`, after query->flush if that is readied; and make what was read objects afterwards.
 * `flushed`: so it was. */
orm_status ormd_query_read_ahead(ormd_query *query, ormd_connection *connection, orm_error *error);
orm_status ormd_query_install_parcels(ormd_query *query, bool flushed, orm_error *error);

/* Submit the rehearsal, as *begun; `finished` will be told. ORM_ENOMEM: not begun, and the query closed. */
orm_status ormd_query_rehearse(ormd_query *query, ormd_finished *finished, void *context, ormd_query **begun,
			       orm_error *error);
void ormd_parcels_free(ormd_parcel **list);

/* ---- reading (query_read.c) ---- */

/* The next parcel, from `connection` or, where that is NULL, from a reader that is taken when it is needed. *parcel is
 * NULL at the end. */
orm_status ormd_query_read(ormd_query *query, ormd_connection *connection, size_t max_size, ormd_parcel **parcel,
			   orm_error *error);
bool ormd_query_all_read(const ormd_query *query);
size_t ormd_query_next_load(const ormd_query *query, size_t from, bool late); /* n_loads: none */
orm_status ormd_query_read_count(ormd_query *query, ormd_connection *connection, orm_error *error);
void ormd_query_end_reading(ormd_query *query); /* closes cursors, gives the reader back */

ormd_parcel *ormd_parcel_take(ormd_query *query,
			      const orm_mapper *mapper); /* a spare one or a new one; NULL: out of memory */
void ormd_parcel_free(ormd_parcel *parcel);

/* ---- keys to look for (load.c) ---- */

void ormd_load_fini(ormd_load *load);
void ormd_load_close(ormd_load *load); /* its cursors */
void ormd_load_reset(ormd_load *load);
/* The values of all loads for these rows, or for query->parents from first_parent on. ORM_ENOMEM. */
orm_status ormd_loads_collect_rows(ormd_query *query, const orm_batch *batch, orm_error *error);
orm_status ormd_loads_collect_parents(ormd_query *query, orm_error *error);
/* Ready to ask for what was collected. ORM_ENOMEM if something was not. */
orm_status ormd_load_end_collecting(ormd_load *load, orm_error *error);

#endif
