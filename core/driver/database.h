/* SPDX-License-Identifier: MIT */
/*
 * A database as the daemon uses it: readers from a pool, and units of work written in fair order.
 *
 * On an engine with a server of its own (PostgreSQL, MariaDB) units are written side by side, each in a transaction on a connection from a pool, by
 * threads that come with the work. What can be mended by doing a unit again, is: a serialization failure or deadlock, a connection that
 * was lost before the commit, and a commit in doubt, since a unit's first statement inserts its id, which tells.
 *
 * On an engine with a single writer (SQLite) units queue first come, first served, and those that wait at the same moment
 * share one database transaction and one fsync: each in a savepoint of its own, all committed together (group commit).
 *
 * The first thread that comes leads: it runs its unit and those that queue up meanwhile, commits, and calls each unit's `done`. While its
 * fsync runs, the next group forms. So that nobody leads for ever, a leader hands over after some groups: to a
 * thread that waits in ormd_database_run, else to a thread of the database's own that exists only once it was needed. With `own_thread`
 * that one leads from the first, and submitting only queues.
 *
 * No lock is held while SQL, `run` or `done` runs. `run` and `done` may submit further jobs, but not wait for them, nor for anything that
 * another unit's `done` brings about.
 */
#ifndef ORMD_DRIVER_DATABASE_H
#define ORMD_DRIVER_DATABASE_H

#include "driver/driver.h"

typedef struct ormd_database ormd_database;

typedef struct ormd_database_options {
	const char *url;
	const ormd_driver *driver;    /* NULL: the URL's. For tests, which put one in between that injects faults */
	uint32_t    n_readers;        /* 0: 8 */
	uint32_t    n_writers;        /* connections for writing, where they are several; 0: 8 */
	const char *const *replicas;  /* URLs of copies, for sessions that only read */
	size_t      n_replicas;
	int64_t     wait_ms;          /* how long to wait for a reader, or for a turn to write; 0: 30'000 */
	bool        create;
	bool        own_thread;       /* units run on a thread of the database's own, never within ormd_database_submit, which then never blocks. Always so
	                                 where there are several writers */
	int         lock_fd;          /* SQLite: the lock, taken before exec by who started this server; 0: none. Ours from the call on */
	void      (*log)(int level, const char *message, void *context); /* syslog levels; may be NULL */
	void       *log_context;
} ormd_database_options;

/*
 * Open; creates ormd's own tables. Where other servers may serve the database, too, the lock file only says where clients on this machine find
 * one of them; who comes second goes without. SQLite: takes `<file>-ormd` (a lock file beside the database, flock) unless `lock_fd` already
 * holds it; a second server gets ORM_EEXIST and the message says which pid and address has it. See base/discovery.h. Owned.
 */
ormd_database *ormd_database_open(const ormd_database_options *options, orm_error *error);
void           ormd_database_close(ormd_database *database); /* waits for what runs; checkpoints; NULL allowed */

/* Write into the lock file at which address this server answers, for those who look for it. No-op where there is no lock file. */
orm_status ormd_database_announce(ormd_database *database, const char *address, orm_error *error);

const ormd_dialect *ormd_database_dialect(const ormd_database *database);
const char         *ormd_database_url(const ormd_database *database);

/* A reader; give it back soon, without a cursor or transaction left open. NULL with ORM_ETIMEOUT when none came free in time (the database's
   wait_ms at most). Blocks. An in-memory SQLite database has one connection for all, which this takes from the writers meanwhile; inside
   `run` use run's connection instead. */
ormd_connection *ormd_database_take_reader(ormd_database *database, int64_t deadline_us, orm_error *error);
void             ormd_database_give_reader(ormd_database *database, ormd_connection *connection);
/* The same from a replica, whose data may be older: the next one in turn that can be reached, else from the database itself. */
ormd_connection *ormd_database_take_replica(ormd_database *database, int64_t deadline_us, orm_error *error);

/* May other servers serve this database at the same time? */
bool ormd_database_is_shared(const ormd_database *database);

/*
 * A transaction that lives longer than a call: SELECT .. FOR UPDATE, and isolation over several queries. Where one connection writes (SQLite),
 * nobody else does until ormd_database_unpin. Blocks until the deadline: ORM_ETIMEOUT. Not from `run` or `done`.
 */
ormd_connection *ormd_database_pin(ormd_database *database, orm_isolation isolation, int64_t deadline_us, orm_error *error);

typedef enum ormd_job_end {
	ORMD_JOB_COMMIT,    /* keep what `run` wrote */
	ORMD_JOB_ROLLBACK   /* undo it: the run was only to look (a query over pending changes) */
} ormd_job_end;

/* Is there only one connection for all, and in a pinned transaction now? Then ormd_database_take_reader waits for its end. */
bool ormd_database_is_held(ormd_database *database);

/* The end of ormd_database_pin's transaction; the connection is not the caller's any more. ORM_ERETRY: nothing was written, the whole unit may be done
   again. ORM_EUNKNOWN: settle it by its id. A rollback always succeeds. */
orm_status ormd_database_unpin(ormd_database *database, ormd_connection *connection, ormd_job_end end, orm_error *error);

/*
 * One unit's turn. `run` is called inside a transaction; a failure undoes just this unit. `done` is called exactly once, after the commit that
 * made it durable, or after the failure: ORM_ETIMEOUT before it ran, ORM_EUNKNOWN if the commit's outcome is not known, or
 * what run said. `run` may be called again, from the start and in a new transaction, if the group's transaction failed because of another
 * unit, on ORM_ERETRY, and after a lost connection, when its commit may have happened: so it must be able to tell. Savepoint level 1 is the database's; `run` uses 2 and up. `run` must not end the transaction.
 */
typedef struct ormd_job {
	orm_status (*run)(ormd_connection *connection, void *context, orm_error *error);
	void (*done)(orm_status status, const orm_error *error, void *context);
	void        *context;
	ormd_job_end end;
	int64_t      deadline_us;   /* for getting a turn, on orm_clock_us's clock; 0: the database's wait_ms from now */
	orm_isolation isolation;
	bool         alone;         /* not grouped with others: DDL */
	bool         bookkeeping;   /* a server's own, nobody's unit: counts as none, in the statistics and at crash points */
	struct ormd_job *next;      /* the database's */
	orm_status   status;        /* the database's */
	orm_error    error;         /* the database's */
} ormd_job;

/* Queue a job (caller's storage until `done`). May run it, and others, before it returns (not with own_thread); may return before it ran. */
void ormd_database_submit(ormd_database *database, ormd_job *job);

/* The same, waiting: for callers that have nothing else to do. Returns what `done` (may be NULL here) was told. Not from `run` or `done`. */
orm_status ormd_database_run(ormd_database *database, ormd_job *job, orm_error *error);

typedef struct ormd_database_stats {
	uint64_t commits;      /* units committed */
	uint64_t groups;       /* database transactions they took */
	uint64_t failed;       /* units that failed */
	uint64_t waiting;      /* units in the queue now */
	uint64_t rolled_back;  /* units that only looked */
	uint64_t external;     /* times that somebody else had written */
	uint64_t retried;      /* times that a unit was done again: conflicts between transactions, lost connections */
} ormd_database_stats;
void ormd_database_stats_get(const ormd_database *database, ormd_database_stats *stats);

/*
 * Generated integer keys: reserve up to `count` consecutive ones for the model's table; *n_reserved, at least 1 unless `count` is 0, says how many: fewer
 * only where others take keys at the same time. Keys that are not used leave gaps, as with sequences.
 * Where this server is the only one it asks the database once per table (max + 1), then counts in memory; else it gets them from the engine in blocks. An
 * explicit key is told with ormd_database_note_key. Thread-safe; on SQLite also
 * from `run`. ORM_EDATABASE when the table does not exist; ORM_ELIMIT when the key's type has no more numbers.
 */
orm_status ormd_database_reserve_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first, uint32_t *n_reserved,
                                      orm_error *error);
/* Would ormd_database_reserve_keys just count now, without asking? For threads that should not wait. What others write may change it at any time. */
bool       ormd_database_has_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count);
/* Where this server counts: ask for the table's largest key by this connection, which is in a pinned transaction, so that reserving only counts. */
orm_status ormd_database_learn_keys(ormd_database *database, ormd_connection *connection, const orm_mapper *mapper, orm_error *error);
void       ormd_database_note_key(ormd_database *database, const orm_mapper *mapper, int64_t key);
/* The table was dropped: its successor's keys start at 1 again. */
void       ormd_database_restart_keys(ormd_database *database, const orm_mapper *mapper);

#endif
