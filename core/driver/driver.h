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

typedef struct ormd_open_options {
	const char *url;              /* as given: "sqlite:///shop.db" */
	bool        read_only;        /* a reader: must not write, may run beside the writer */
	int64_t     busy_timeout_ms;  /* how long the engine itself may wait for a lock */
	bool        create;           /* make the database if there is none */
} ormd_open_options;

/* One prepared statement run for many rows of parameters: a flush's inserts, updates, deletes. */
typedef struct ormd_write {
	const char      *sql;
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
} ormd_write;

struct ormd_driver {
	const char         *name;    /* "sqlite" */
	const ormd_dialect *dialect;
	bool                single_writer; /* one writing connection for the whole database; units are grouped on it */

	/* must: owned; NULL and error on failure (ORM_EUNAVAILABLE, ORM_ENOTFOUND, ORM_EINVAL for the URL) */
	ormd_connection *(*open)(const ormd_open_options *options, orm_error *error);
	void (*close)(ormd_connection *connection); /* must; NULL allowed */

	/* must: transactions. begin is for writing (SQLite: IMMEDIATE); on a read-only connection it pins one snapshot for several queries.
	   After a failed commit the transaction is over. ORM_ETIMEOUT from begin: somebody else holds the lock; ask again if there is time */
	orm_status (*begin)(ormd_connection *connection, orm_error *error);
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

	/* may: a database that only the connection which opened it can see (SQLite's ":memory:"); NULL: never */
	bool (*is_private)(const char *url);
};

struct ormd_connection {
	const ormd_driver *driver;
	int64_t deadline_us; /* of base/clock.h; 0: none. Past it, what runs stops soon with ORM_ETIMEOUT. Its user's to set, and to reset */
};

struct ormd_cursor {
	ormd_connection *connection;
};

extern const ormd_driver ormd_driver_sqlite;

/* By the URL's scheme; NULL and ORM_EUNSUPPORTED naming the known ones. The table that lists the engines. */
const ormd_driver *ormd_driver_for_url(const char *url, orm_error *error);

/* Assert that the members marked "must" are there. */
void ormd_driver_check(const ormd_driver *driver);

/*
 * Constraint failures are reported by every driver as ORM_ECONSTRAINT with the *table* in error->model and the
 * column(s), comma-separated, in error->column as far as the engine tells; the session puts the model's name there.
 */

#endif
