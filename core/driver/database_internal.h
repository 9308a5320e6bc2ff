/* SPDX-License-Identifier: MIT */
/* What the files of the database share: database.c (opening, readers), database_queue.c (jobs, and whose turn it is where one
 * connection writes), database_group.c (its transactions), database_parallel.c (transactions side by side), database_pin.c,
 * database_keys.c. */
#ifndef ORMD_DRIVER_DATABASE_INTERNAL_H
#define ORMD_DRIVER_DATABASE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "driver/condition.h"
#include "driver/database.h"
#include "driver/pool.h"

#define COMMIT_MS 30000 /* a commit that the engine has begun is not called off; but nobody waits for ever */

/* A thread that waits for the lead: because its job is in the queue, or because it wants to read a private database. */
typedef struct database_waiter {
	struct database_waiter *next;
	pthread_cond_t woken;
	bool leads; /* the lead is its own now */
	bool reads; /* it wants the connection, not a turn in the queue */
	bool done;  /* its job is */
} database_waiter;

typedef struct job_list {
	ormd_job *first;
	ormd_job *last;
} job_list;

/* A connection that was lost while it wrote: its transaction may still be under way in the engine. */
typedef struct lost_backend {
	struct lost_backend *next;
	char backend[ORMD_BACKEND_SIZE];
} lost_backend;

typedef struct database_replica {
	ormd_pool *pool;
	_Atomic(int64_t) not_before_us; /* it could not be reached: until then nobody tries */
} database_replica;

struct ormd_database {
	const ormd_driver *driver;
	char *url;
	int64_t wait_ms;
	int64_t max_group_us; /* a job that ran must not wait longer for its commit, because of others that come */
	bool create;
	bool own_thread;
	bool is_private; /* one connection for everything */
	int lock_fd;     /* or -1 */
	void (*log)(int level, const char *message, void *context);
	void *log_context;

	/* The leader's, without the lock: */
	ormd_connection *writer; /* NULL after a commit of unknown outcome, until it is opened again */
	bool log_is_long;        /* has been reported */

	ormd_pool *readers;
	database_replica *replicas;
	size_t n_replicas;
	_Atomic(size_t) next_replica;
	ormd_pool *writers;  /* NULL: one connection writes */
	ormd_pool *pinned;   /* likewise; apart, so that transactions that stay open take no worker's connection */
	atomic_bool writer_is_pinned;

	pthread_mutex_t lock; /* for all that follows */

	job_list queue;
	database_waiter *waiters; /* first come first */
	size_t n_readers_waiting; /* of the waiters */
	bool leading;             /* somebody leads; or reads a private database */
	bool leader_known;
	pthread_t leader;
	pthread_cond_t idle; /* nobody leads any more, or a reader came back: for closing */

	pthread_t thread; /* leads when no waiter can */
	bool thread_exists;
	bool thread_leads;
	bool closing;
	pthread_cond_t thread_wakes;

	/* Where units are written side by side. */
	pthread_t *workers; /* each runs one job after the other */
	size_t n_workers, n_idle_workers, max_workers;
	pthread_cond_t work_came;
	lost_backend *lost;

	orm_map keys;             /* by table name */
	uint64_t keys_generation; /* counts up when what we know of the tables may be outdated */

	ormd_database_stats stats;
};

void ormd_job_list_append(job_list *list, ormd_job *job);
ormd_job *ormd_job_list_take(job_list *list); /* the first; NULL when empty */

void ormd_database_log(const ormd_database *database, int level, const char *format, ...) ORM_PRINTF(3, 4);

/* Open the writer's connection, and make our tables. For the leader. */
orm_status ormd_database_open_writer(ormd_database *database, orm_error *error);

/* After a commit of unknown outcome: the next transaction opens it again. For the leader. */
void ormd_database_close_writer(ormd_database *database);

/* Is this thread the leader? Not locked. */
bool ormd_database_is_leader(ormd_database *database);

/* Get the lead, waiting for it; false: the deadline passed. Give it away. Locked. */
bool ormd_database_take_lead(ormd_database *database, int64_t deadline_us);
void ormd_database_give_lead(ormd_database *database);

/* Take the next job of the queue, unless it wants to be alone and there are others in the group. Not locked. */
ormd_job *ormd_database_next_job(ormd_database *database, bool group_is_empty);

/* One transaction with as many jobs as come; calls `done` of each. For the leader, not locked. */
void ormd_database_run_group(ormd_database *database);

/* Has another program written since the last look? Then what we know of the tables is outdated. For the leader, in a transaction. */
void ormd_database_look_for_others(ormd_database *database);

/* There is a job more: see that a worker comes to it. False: there is no worker, and none can be made. Locked. */
bool ormd_database_call_worker(ormd_database *database);
/* Wait for the workers' end; `closing` is set. Not locked. */
void ormd_database_join_workers(ormd_database *database);

/* A connection was lost while it wrote: have its backend ended before others write. Not locked. */
void ormd_database_note_lost(ormd_database *database, const ormd_connection *connection);
void ormd_database_end_lost(ormd_database *database, ormd_connection *connection);

/* Forget the tables' largest keys: somebody else may have added rows. Locked. */
void ormd_database_forget_keys(ormd_database *database);
void ormd_database_free_keys(ormd_database *database);

#endif
