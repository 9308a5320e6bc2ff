/* SPDX-License-Identifier: MIT */
/*
 * What the files of the PostgreSQL driver share. A connection and its cursors are used by one thread at a time; only
 * `interrupt` comes from others.
 *
 * Statements are sent in pipeline mode and their outcomes read later, first come first served: `requests` are those
 * that are under way. Whatever needs an outcome sends a Sync and waits for all of them (ormd_pg_settle). After a
 * failure the server passes over everything up to the Sync; the first failure is kept in `failure`.
 *
 * The rows of a cursor arrive one by one while they are fetched. When the connection is wanted for something else
 * meanwhile, the rest of them is read into memory first.
 */
#ifndef ORMD_DRIVER_POSTGRESQL_INTERNAL_H
#define ORMD_DRIVER_POSTGRESQL_INTERNAL_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "driver/driver.h"
#include "driver/statement_cache.h"

/* ---- statements: prepared once, kept by their text and the types of their parameters ------------------------- */

typedef struct pg_statement pg_statement;

struct pg_statement {
	ormd_cached_statement base; /* its users: requests under way */
	const char *sql;
	size_t n_types;
	unsigned number; /* its name on the server */
	bool prepared;   /* the server has it, or will when it comes to the requests that use it */
	bool no_copy;    /* COPY was refused for its table: see postgresql_bulk.c */
	Oid types[];     /* of the parameters; then the text */
};

typedef struct pg_statements {
	ormd_statement_cache cache;
	unsigned next_number;
	orm_buffer ended; /* numbers (unsigned) of statements that the server is still to forget */
} pg_statements;

/* ---- connections -------------------------------------------------------------------------------------------- */

typedef enum pg_kind { PG_COMMAND, PG_PREPARE, PG_FORGET, PG_ROW, PG_ARRAYS, PG_QUERY, PG_SYNC } pg_kind;

/* Something sent whose outcome has not been read. */
typedef struct pg_request {
	pg_kind kind;
	pg_statement *statement; /* of PREPARE, ROW, ARRAYS, QUERY */
	ormd_write *write;       /* of ROW, ARRAYS */
	size_t row;              /* of ROW */
	unsigned number;         /* of FORGET */
} pg_request;

/* The first failure since it was last asked for. */
typedef struct pg_failure {
	orm_status status; /* ORM_OK: none */
	ormd_write *write; /* of a `later` one, for collect to name */
	orm_error error;
} pg_failure;

typedef struct pg_cursor pg_cursor;
typedef struct pg_cancel pg_cancel;

typedef struct pg_connection {
	ormd_connection base;
	PGconn *handle;
	bool read_only;
	int64_t busy_timeout_ms;
	pg_statements statements;

	pg_request *requests; /* a ring */
	size_t first_request;
	size_t n_requests;
	size_t max_requests; /* a power of two, or 0 */
	size_t n_unsynced;   /* the last of them, after the last Sync */
	pg_cursor *stream;   /* whose rows are arriving: its request is the first */
	pg_failure failure;

	bool begin_pending; /* begun, but the server does not know it yet */
	orm_isolation isolation;
	bool in_block; /* as the server said last, or will when it comes to it */

	int wake_fd;          /* written by `interrupt` */
	orm_status stopping;  /* why what runs is being cancelled; ORM_OK: it is not */
	int64_t stop_by_us;   /* when to give up on that, and on the connection */
	int64_t ask_again_us; /* when to cancel once more */
	pg_cancel *cancel;
	bool must_finish;   /* a commit: nothing cancels it */
	bool commit_warned; /* the server had a warning about it */

	orm_arena scratch; /* one statement's encoded parameters */
	const char **values;
	int *lengths;
	int *formats;
	Oid *types;
	size_t max_parameters;
} pg_connection;

static inline pg_connection *pg_of(ormd_connection *connection)
{
	return (pg_connection *)(void *)connection;
}

/* ---- waiting and pipeline (postgresql_pipeline.c) ------------------------------------------------------------ */

/*
 * Before anything is sent: the connection is good, the deadline not past, no earlier failure unasked for, and the rows
 * of an open cursor in memory. Enters pipeline mode.
 */
orm_status ormd_pg_start(pg_connection *connection, orm_error *error);

/* Send, without waiting. The error is that of a lost connection. */
orm_status ormd_pg_send_begin(pg_connection *connection, orm_error *error); /* if it is pending */
orm_status ormd_pg_send_command(pg_connection *connection, const char *sql, orm_error *error);
orm_status ormd_pg_send_sync(pg_connection *connection, orm_error *error);
orm_status ormd_pg_push(pg_connection *connection, const pg_request *request,
			orm_error *error); /* what was just sent */

/* Wait for everything under way. The first failure, if any; it is forgotten then unless it is a `later` write's. */
orm_status ormd_pg_settle(pg_connection *connection, orm_error *error);

/* Wait until at most so many requests are under way, so that neither side's memory fills up. */
orm_status ormd_pg_keep_below(pg_connection *connection, size_t n_requests, orm_error *error);

/* Take outcomes until the first request is the last QUERY sent. The error is that of a lost connection only. */
orm_status ormd_pg_reach_query(pg_connection *connection, orm_error *error);

/* The first request's next result; NULL after its last. */
orm_status ormd_pg_next_result(pg_connection *connection, PGresult **result, orm_error *error);
void ormd_pg_pop(pg_connection *connection); /* the first request has had its last result */

/* Are a query's rows what comes next? */
bool ormd_pg_is_streaming(const pg_connection *connection);

/* Wait for everything, whatever comes, and forget failures. */
void ormd_pg_discard(pg_connection *connection);

/* Wait for the socket: POLLIN, POLLOUT or both. Sees to deadline and interrupts. */
orm_status ormd_pg_wait(pg_connection *connection, short events, orm_error *error);
/* Outside pipeline mode: wait until all that was sent has left. */
orm_status ormd_pg_flush(pg_connection *connection, orm_error *error);
/* What was being cancelled has ended. */
void ormd_pg_end_stop(pg_connection *connection);
/* Cancel what runs, because of `reason`. */
void ormd_pg_stop(pg_connection *connection, orm_status reason);

/* Leave pipeline mode, everything settled: for several statements in one text, and COPY. */
orm_status ormd_pg_leave_pipeline(pg_connection *connection, orm_error *error);
/* Send such a text, with BEGIN before it if that is pending; `sent` gets all of it. Results: ormd_pg_next_result. */
orm_status ormd_pg_send_text(pg_connection *connection, const char *sql, orm_buffer *sent, orm_error *error);
/* After the last. */
void ormd_pg_end_text(pg_connection *connection);

/* ---- cancelling (postgresql_cancel.c) ------------------------------------------------------------------------ */

/* Ask the server, from a thread of its own, to cancel what the connection runs. NULL: it cannot be asked. */
pg_cancel *ormd_pg_cancel_start(PGconn *handle);
bool ormd_pg_cancel_is_done(pg_cancel *cancel); /* the server has been told */
/* Wait until it has been asked, and end. False: not by then, so that it may still hit something later. */
bool ormd_pg_cancel_end(pg_cancel *cancel, int64_t deadline_us);

/* ---- statements (postgresql_statement.c) ---------------------------------------------------------------------- */

/* The statement for this text, sent to be prepared if it is not yet (a failure of that is `write`'s, which may be
   NULL). Give it back with ormd_pg_unuse. NULL: out of memory, or the connection lost. */
pg_statement *ormd_pg_take(pg_connection *connection, const char *sql, const Oid *types, size_t n_types,
			   ormd_write *write, orm_error *error);
/* Send it with the connection's encoded parameters. */
orm_status ormd_pg_execute(pg_connection *connection, pg_statement *statement, orm_error *error);
/* The same, but not prepared, and without being held: for what is noted of it. */
pg_statement *ormd_pg_look_up(pg_connection *connection, const char *sql, const Oid *types, size_t n_types,
			      orm_error *error);
void ormd_pg_use(pg_statement *statement); /* one more request uses it */
void ormd_pg_unuse(pg_connection *connection, pg_statement *statement);
/* The server does not have it, or not in a usable form: it is prepared again the next time. */
void ormd_pg_unprepare(pg_connection *connection, pg_statement *statement, bool server_has_it);
void ormd_pg_keep_number(pg_connection *connection, unsigned number); /* still to be forgotten */
void ormd_pg_statements_fini(pg_connection *connection);

/* ---- cells (postgresql_cell.c) -------------------------------------------------------------------------------- */

#define PG_OID_INT8 20

Oid ormd_pg_oid(orm_type type);
Oid ormd_pg_array_oid(orm_type type);

/* Append the value's binary form. ORM_EINVAL: PostgreSQL has no such value. Not for NULL. */
orm_status ormd_pg_put(const orm_value *value, orm_buffer *out, orm_error *error);

/* Read a cell of the server's type `oid` strictly as `type`; text and bytes point to `data`, which a NUL follows, a
 * decimal to `decimal`. False: it does not fit. */
bool ormd_pg_cell(orm_type type, Oid oid, const char *data, size_t size, char decimal[ORM_DECIMAL_SIZE],
		  orm_value *value);

/* A canonical decimal as binary numeric; the bytes it takes. */
#define PG_NUMERIC_SIZE 64
size_t ormd_pg_put_numeric(const char *text, size_t size, char cell[PG_NUMERIC_SIZE]);
/* Back. False: not a number, infinite, malformed, or of more digits than ours have. */
bool ormd_pg_read_numeric(const char *data, size_t size, char text[ORM_DECIMAL_SIZE], size_t *text_size);

/* Make `values`, `lengths`, `formats` and `types` of the connection say these parameters. */
orm_status ormd_pg_encode(pg_connection *connection, const orm_value *values, size_t n_values, orm_error *error);
/* Room for that many. */
orm_status ormd_pg_make_room(pg_connection *connection, size_t n_values, orm_error *error);

/* The failure for a cell that does not fit. `table` may be NULL. */
orm_status ormd_pg_fail_cell(const PGresult *header, int column, orm_type type, const char *table, orm_error *error);

/* ---- errors (postgresql_error.c) ------------------------------------------------------------------------------ */

/* What an error result means. `sql` (may be NULL) and `mapper` (may be NULL) say what was run. Sets base.lost where it
 * must. */
orm_status ormd_pg_fail(pg_connection *connection, const PGresult *result, const char *sql, const orm_mapper *mapper,
			orm_error *error);
/* The same for COMMIT: what leaves the outcome open is ORM_EUNKNOWN. */
orm_status ormd_pg_fail_commit(pg_connection *connection, const PGresult *result, orm_error *error);
/* The connection itself failed. */
orm_status ormd_pg_lose(pg_connection *connection, orm_error *error);
/* Is it about a statement that has to be prepared anew? */
bool ormd_pg_is_outdated(const PGresult *result);

/* ---- bulk (postgresql_bulk.c) --------------------------------------------------------------------------------- */

/* Write all rows with one statement, or by COPY. *done is false when that did not work and nothing was written: row by
   row will, or tells which row is at fault. */
orm_status ormd_pg_write_bulk(pg_connection *connection, ormd_write *write, bool *done, orm_error *error);
/* Take the outcome of ARRAYS. */
orm_status ormd_pg_take_arrays(const PGresult *result, ormd_write *write, orm_error *error);
/* One row of RETURNING, into the write's. */
orm_status ormd_pg_take_returned(const PGresult *result, int from, ormd_write *write, size_t row, orm_error *error);

/* ---- cursors that must make way (postgresql_cursor.c) --------------------------------------------------------- */

void ormd_pg_drain(pg_connection *connection); /* read the rest of `stream` into memory; there is none after it */

void ormd_pg_break_stream(pg_connection *connection); /* its transaction ends: the rest is not wanted */

/* ---- opening (postgresql_open.c) ------------------------------------------------------------------------------ */

/* Connect to one of the URL's hosts. NULL and an error that names those tried. */
PGconn *ormd_pg_connect(const ormd_open_options *options, int64_t deadline_us, orm_error *error);
/* Session settings, in one round trip; and which server and session this is. */
orm_status ormd_pg_set_up(pg_connection *connection, orm_error *error);

/* ---- the driver's members, from the file that has them -------------------------------------------------------- */

orm_status ormd_pg_write(ormd_connection *connection, ormd_write *write, orm_error *error);
orm_status ormd_pg_collect(ormd_connection *connection, ormd_write **failed, orm_error *error);
ormd_cursor *ormd_pg_query(ormd_connection *connection, const char *sql, const orm_value *parameters,
			   size_t n_parameters, const uint8_t *types, size_t n_types, orm_error *error);
orm_status ormd_pg_fetch(ormd_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			 size_t *n_rows, bool *done, orm_error *error);
void ormd_pg_close_cursor(ormd_cursor *cursor);
orm_status ormd_pg_reserve_keys(ormd_connection *connection, const orm_mapper *mapper, uint32_t count, int64_t *first,
				uint32_t *n_reserved, orm_error *error);

/* Ask for one row of int64s (NULL: *null set, which may be NULL when none is expected). */
orm_status ormd_pg_ask(pg_connection *connection, const char *sql, const orm_value *parameters, size_t n_parameters,
		       int64_t *cells, bool *nulls, size_t n_cells, orm_error *error);

#endif
