/* SPDX-License-Identifier: MIT */
/* What the files of the database share: database.c (opening, readers), database_queue.c (whose turn), database_group.c
 * (transactions), database_keys.c. */
#ifndef ORMD_DRIVER_DATABASE_INTERNAL_H
#define ORMD_DRIVER_DATABASE_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "driver/database.h"

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

	ormd_connection **idle_readers;
	size_t n_idle_readers;
	size_t n_open_readers;
	size_t max_readers;
	pthread_cond_t reader_came_back;

	orm_map keys;             /* by table name */
	uint64_t keys_generation; /* counts up when what we know of the tables may be outdated */

	ormd_database_stats stats;
};

void ormd_job_list_append(job_list *list, ormd_job *job);
ormd_job *ormd_job_list_take(job_list *list); /* the first; NULL when empty */

void ormd_database_log(const ormd_database *database, int level, const char *format, ...) ORM_PRINTF(3, 4);

/* Take the lock's condition with CLOCK_MONOTONIC. */
bool ormd_database_init_condition(pthread_cond_t *condition);

/* Wait until signalled or the deadline (of orm_clock_us) has passed; false: passed. Locked. */
bool ormd_database_wait(ormd_database *database, pthread_cond_t *condition, int64_t deadline_us);

/* Open the writer's connection, and make our tables. For the leader. */
orm_status ormd_database_open_writer(ormd_database *database, orm_error *error);

/* Is this thread the leader? Not locked. */
bool ormd_database_is_leader(ormd_database *database);

/* Get the lead, waiting for it; false: the deadline passed. Give it away. Locked. */
bool ormd_database_take_lead(ormd_database *database, int64_t deadline_us);
void ormd_database_give_lead(ormd_database *database);

/* Take the next job of the queue, unless it wants to be alone and there are others in the group. Not locked. */
ormd_job *ormd_database_next_job(ormd_database *database, bool group_is_empty);

/* One transaction with as many jobs as come; calls `done` of each. For the leader, not locked. */
void ormd_database_run_group(ormd_database *database);

/* Forget the tables' largest keys: somebody else may have added rows. Locked. */
void ormd_database_forget_keys(ormd_database *database);
void ormd_database_free_keys(ormd_database *database);

#endif
