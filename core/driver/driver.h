/* SPDX-License-Identifier: MIT */
/*
 * A driver: how to talk to one engine. An ops table; each member says whether a driver must or may have it,
 * and ormd_driver_check asserts it once. A connection is used by one thread at a time. All SQL is the dialect's;
 * drivers know no models beyond the types of cells. Statements are prepared once and kept by their text (LRU).
 */
#ifndef ORMD_DRIVER_DRIVER_H
#define ORMD_DRIVER_DRIVER_H

#include "model/batch.h"
#include "sql/dialect.h"

typedef struct ormd_connection ormd_connection; /* the driver's own struct starts with { const ormd_driver *driver; } */
typedef struct ormd_cursor     ormd_cursor;
typedef struct ormd_driver     ormd_driver;
struct ormd_pool;

#define ORMD_BACKEND_SIZE 128

typedef struct ormd_open_options {
	const char *url;              /* as given: "sqlite:///shop.db" */
	bool        read_only;        /* a reader: must not write, may run beside the writer */
	int64_t     busy_timeout_ms;  /* how long the engine itself may wait for a lock */
	bool        create;           /* make the database if there is none */
	int64_t     deadline_us;      /* for connecting to a server; 0: the driver's own */
	bool        replica;          /* a copy that only reads will do: a standby, a replica */
} ormd_open_options;

typedef enum ormd_write_kind { ORMD_WRITE_OTHER = 0, ORMD_WRITE_INSERT, ORMD_WRITE_UPDATE, ORMD_WRITE_DELETE } ormd_write_kind;

/* One prepared statement run for many rows of parameters: a flush's inserts, updates, deletes. */
typedef struct ormd_write {
	const char      *sql;
	/* What the statement is, for engines that have a faster way for many rows. Not OTHER: `sql` is what ormd_sql_insert, _update or _delete of
	   compile.h gives for `mapper` and `columns` (of INSERT and UPDATE), and the parameters are in its order. Borrowed */
	ormd_write_kind   kind;
	const orm_mapper *mapper;
	const uint16_t   *columns;
	size_t            n_columns;
	size_t           n_parameters;
	size_t           n_rows;
	const orm_value *values;       /* n_rows x n_parameters, row by row; borrowed */
	size_t          *affected;     /* may be NULL; per row: rows of the database that matched (found, not only changed) */
	/* INSERT .. RETURNING: */
	size_t           n_returning;
	const uint8_t   *returning;    /* orm_type of each */
	orm_value       *returned;     /* n_rows x n_returning, filled; text in `arena` */
	orm_arena       *arena;
	size_t           failed_row;   /* set on failure: the row at fault */
	/* The driver may send this and return before the outcome is known, which `collect` then tells: until that, this struct and what the results
	   go to must stay; text, values and columns need not. Ignored by drivers without `collect`. */
	bool             later;
} ormd_write;

struct ormd_driver {
	const char         *name;    /* "sqlite" */
	const ormd_dialect *dialect;
	bool                single_writer; /* one writing connection for the whole database; units are grouped on it. Else each unit has a transaction
	                                      on a connection of its own, side by side, and other servers may serve the same database */

	/* must: owned; NULL and error on failure (ORM_EUNAVAILABLE, ORM_ENOTFOUND, ORM_EINVAL for the URL) */
	ormd_connection *(*open)(const ormd_open_options *options, orm_error *error);
	void (*close)(ormd_connection *connection); /* must; NULL allowed */

	/* must: transactions. begin is for writing (SQLite: IMMEDIATE); on a read-only connection it pins one snapshot for several queries.
	   After a failed commit the transaction is over. ORM_ETIMEOUT from begin: somebody else holds the lock; ask again if there is time.
	   `isolation`: at least that of the SQL standard; DEFAULT: READ COMMITTED or better, what suits a unit guarded by versions. A driver may put off
	   telling the engine until the first statement. Serialization failures and deadlocks, of any statement and of commit, are ORM_ERETRY: the
	   transaction is lost, nothing was written */
	orm_status (*begin)(ormd_connection *connection, orm_isolation isolation, orm_error *error);
	orm_status (*commit)(ormd_connection *connection, orm_error *error); /* ORM_EUNKNOWN: may or may not have happened */
	void (*rollback)(ormd_connection *connection); /* no-op without a transaction; if one is left after it, close the connection */
	bool (*in_transaction)(ormd_connection *connection); /* as the engine says, since some errors end it silently */
	/* must: nested, by level 1, 2, ...: savepoint opens, release keeps, rollback_to undoes and ends it */
	orm_status (*savepoint)(ormd_connection *connection, unsigned level, orm_error *error);
	orm_status (*release)(ormd_connection *connection, unsigned level, orm_error *error);
	orm_status (*rollback_to)(ormd_connection *connection, unsigned level, orm_error *error);

	/* must: text without parameters or results, possibly several statements: DDL, settings */
	orm_status (*run)(ormd_connection *connection, const char *sql, orm_error *error);
	/* must: see ormd_write. Stops at the first failing row; what it did before is the transaction's affair */
	orm_status (*write)(ormd_connection *connection, ormd_write *write, orm_error *error);

	/* may: wait for the outcome of all writes `later` since the last collect. On failure *failed is the first that failed (its failed_row set); those
	   after it were not done. A query, savepoint, or write that is not `later` may do the waiting, and then fails with that error itself, but
	   leaves *failed to be asked for */
	orm_status (*collect)(ormd_connection *connection, ormd_write **failed, orm_error *error);

	/* must: a result read in pieces. `types`: the orm_type each result column is read as. Cursors of one connection may nest. The
	   parameters and types are copied. Owned */
	ormd_cursor *(*query)(ormd_connection *connection, const char *sql, const orm_value *parameters, size_t n_parameters,
	                      const uint8_t *types, size_t n_types, orm_error *error);
	/* must: append at most max_rows rows, stopping soon after max_size bytes of cells, to the builder whose vectors have
	   the types in order. *n_rows < max_rows and *done set at the end. A cell that does not fit its type is ORM_EDATABASE naming the column;
	   the builder's columns then differ in length, so reset it */
	orm_status (*fetch)(ormd_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size, size_t *n_rows, bool *done,
	                    orm_error *error);
	void (*close_cursor)(ormd_cursor *cursor); /* must; NULL allowed */

	/* must: callable from any thread: make what runs on the connection stop soon with ORM_ECANCELLED */
	void (*interrupt)(ormd_connection *connection);

	/* may: has somebody else written to the database since the last time this was asked (SQLite's data_version)? */
	bool (*changed_by_others)(ormd_connection *connection);
	/* may: between transactions of the writer: checkpoint and the like, if it is time. The bytes of log that are still to be moved into
	   the database: many of them, for long, mean that a reader holds its snapshot for too long */
	uint64_t (*maintain)(ormd_connection *connection);

	/* may: would the commit be refused as things stand (deferred foreign keys)? Then ORM_ECONSTRAINT; the transaction stays as it is */
	orm_status (*check_deferred)(ormd_connection *connection, orm_error *error);

	/*
	 * may: reserve up to `count` (at least 1) consecutive generated keys of the model's table that nobody else gets, other servers and programs
	 * that leave the key to the engine included: *first and *n_reserved. Called outside transactions, at once durable. NULL: this server counts
	 * by itself from the largest key, since nobody else writes.
	 */
	orm_status (*reserve_keys)(ormd_connection *connection, const orm_mapper *mapper, uint32_t count, int64_t *first, uint32_t *n_reserved,
	                           orm_error *error);
	/* may: statements of its own that `reserve_keys` and the like need, besides the dialect's DDL; run when a database is opened. Idempotent */
	orm_status (*prepare_database)(ormd_connection *connection, orm_error *error);

	/* may: has the engine closed an idle connection? Without asking it, for a system call at most */
	bool (*is_closed)(ormd_connection *connection);
	/* may: is an idle connection still good? Costs a round trip; for one that has not been used for a while. NULL: always */
	bool (*is_alive)(ormd_connection *connection);
	/*
	 * may: see to it that what a lost connection of ours, told by its `backend`, was doing in the engine has ended, one way or the other, and wait
	 * until it has (PostgreSQL: pg_terminate_backend, MySQL: KILL). Asked on a new connection before a commit in doubt is settled. ORM_OK as well when
	 * that backend, or its server, is gone. NULL: a lost connection's work ends with it.
	 */
	orm_status (*end_backend)(ormd_connection *connection, const char *backend, orm_error *error);

	/* may: a database that only the connection which opened it can see (SQLite's ":memory:"); NULL: never */
	bool (*is_private)(const char *url);
};

struct ormd_connection {
	const ormd_driver *driver;
	int64_t deadline_us; /* of base/clock.h; 0: none. Past it, what runs stops soon with ORM_ETIMEOUT. Its user's to set, and to reset */
	bool    lost;        /* the engine is gone, or no longer to be trusted: only close is of use. The driver sets it */
	struct ormd_pool *pool; /* that lends it (pool.h); not the driver's */
	char    backend[ORMD_BACKEND_SIZE]; /* which server and which of its sessions this is, for `end_backend`; "" where that is no question */
};

struct ormd_cursor {
	ormd_connection *connection;
};

extern const ormd_driver ormd_driver_sqlite;
extern const ormd_driver ormd_driver_postgresql;
extern const ormd_driver ormd_driver_mysql;

/* By the URL's scheme; NULL and ORM_EUNSUPPORTED naming the known ones. The table that lists the engines. */
const ormd_driver *ormd_driver_for_url(const char *url, orm_error *error);

/* Assert that the members marked "must" are there. */
void ormd_driver_check(const ormd_driver *driver);

/*
 * Constraint failures are reported by every driver as ORM_ECONSTRAINT with the *table* in error->model and the
 * column(s), comma-separated, in error->column as far as the engine tells; the session puts the model's name there.
 */

#endif
