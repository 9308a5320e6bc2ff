/* SPDX-License-Identifier: MIT */
/*
 * A database as the daemon uses it: readers from a pool, and units of work written in fair order.
 *
 * On an engine with a single writer (SQLite) units queue first come, first served, and those that wait at the same moment
 * share one database transaction and one fsync: each in a savepoint of its own, all committed together (group commit). No thread of
 * its own: the first thread that comes leads, runs its unit and those that queue up meanwhile, and commits; a unit's `done`
 * is called by whichever thread led. On other engines each unit takes a connection of the pool.
 *
 * Lock order: database->queue before any lock of a `done` callback's; no lock is held while SQL runs.
 */
#ifndef ORMD_DRIVER_DATABASE_H
#define ORMD_DRIVER_DATABASE_H

#include "driver/driver.h"

typedef struct ormd_database ormd_database;

typedef struct ormd_database_options {
	const char *url;
	uint32_t    n_readers;        /* 0: 8 */
	int64_t     wait_ms;          /* how long to wait for a reader, or for a turn to write; 0: 30'000 */
	bool        create;
	void      (*log)(int level, const char *message, void *context); /* syslog levels; may be NULL */
	void       *log_context;
} ormd_database_options;

/*
 * Open; creates ormd's own tables. SQLite: takes `<file>-ormd` (a lock file beside the database, flock) unless `lock_fd` >= 0 already
 * holds it; a second server gets ORM_EEXIST and the message says which pid and address has it. See discovery.h. Owned.
 */
ormd_database *ormd_database_open(const ormd_database_options *options, orm_error *error);
void           ormd_database_close(ormd_database *database); /* waits for what runs; checkpoints; NULL allowed */

const ormd_dialect *ormd_database_dialect(const ormd_database *database);
const char         *ormd_database_url(const ormd_database *database);

/* A reader; give it back soon. NULL with ORM_ETIMEOUT when none came free in time. Blocks. An in-memory SQLite database has one connection
   for all, which this then takes from the writers. */
ormd_connection *ormd_database_take_reader(ormd_database *database, int64_t deadline_us, orm_error *error);
void             ormd_database_give_reader(ormd_database *database, ormd_connection *connection);

typedef enum ormd_job_end {
	ORMD_JOB_COMMIT,    /* keep what `run` wrote */
	ORMD_JOB_ROLLBACK   /* undo it: the run was only to look (a query over pending changes) */
} ormd_job_end;

/*
 * One unit's turn. `run` is called inside a transaction; a failure undoes just this unit. `done` is called exactly once, after the commit that
 * made it durable, or after the failure: ORM_ETIMEOUT before it ran, ORM_EUNKNOWN if the commit's outcome is not known, or
 * what run said. `run` may be called again, from the start and in a new transaction, if the group's commit failed because of another unit.
 */
typedef struct ormd_job {
	orm_status (*run)(ormd_connection *connection, void *context, orm_error *error);
	void (*done)(orm_status status, const orm_error *error, void *context);
	void        *context;
	ormd_job_end end;
	int64_t      deadline_us;   /* for getting a turn */
	bool         alone;         /* not grouped with others: DDL */
	struct ormd_job *next;      /* the database's */
	orm_status   status;        /* the database's */
	orm_error    error;         /* the database's */
} ormd_job;

/* Queue a job (caller's storage until `done`). May run it, and others, before it returns; may return before it ran. */
void ormd_database_submit(ormd_database *database, ormd_job *job);

/* The same, waiting: for callers that have nothing else to do. */
orm_status ormd_database_run(ormd_database *database, ormd_job *job, orm_error *error);

typedef struct ormd_database_stats {
	uint64_t commits;      /* units committed */
	uint64_t groups;       /* database transactions they took */
	uint64_t failed;       /* units that failed */
	uint64_t waiting;      /* units in the queue now */
	uint64_t external;     /* times that somebody else had written */
} ormd_database_stats;
void ormd_database_stats_get(const ormd_database *database, ormd_database_stats *stats);

/*
 * Generated integer keys: reserve `count` consecutive ones for the model's table. Keys that are not used leave gaps, as with sequences.
 * Asks the database once per table and server (max + 1), then counts in memory; an explicit key is told with ormd_database_note_key. Thread-safe.
 */
orm_status ormd_database_reserve_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first, orm_error *error);
void       ormd_database_note_key(ormd_database *database, const orm_mapper *mapper, int64_t key);

#endif
