/* SPDX-License-Identifier: MIT */
/*
 * A host: a session as an actor. It owns the session, runs its tasks one at a time in arrival order, and knows who takes part.
 *
 * A task is a request that waits for its turn. It runs on a worker (or, for small reads, on the network's thread when the
 * host is idle). A task that has to wait for the database's turn to write returns with the host held; ormd_host_release, called from the
 * database's callback, lets the next task run.
 *
 * Life: a host is counted by its references: one for the daemon's maps while it is open, one per task and per open stream.
 */
#ifndef ORMD_SERVER_HOST_H
#define ORMD_SERVER_HOST_H

#include "server/daemon.h"

typedef struct ormd_task ormd_task;

typedef enum ormd_turn {
	ORMD_TURN_OVER,  /* the task is done with the session */
	ORMD_TURN_HELD   /* it will call ormd_host_release later */
} ormd_turn;

/* In the storage of whoever submits it, until `run` has been called. */
struct ormd_task {
	ormd_turn (*run)(ormd_host *host, ormd_task *task);
	ormd_task *next;
};

/* A process joined to the session, as the daemon sees it. */
typedef struct ormd_member {
	struct ormd_member *next;
	uint32_t            number;
	uint64_t            fence;
	uint8_t             client_id[16];
	int64_t             pid;          /* -1: not known */
	uint64_t            seen;
	int64_t             last_heard_us;
	char                name[64];
	/* A draft that comes in parts is open: */
	bool                drafting;
} ormd_member;

/* A participant's parked Wait call. */
typedef struct ormd_waiter {
	struct ormd_waiter *next;
	rpc_call           *call;
	uint32_t            participant;
	uint64_t            seen;
	int64_t             until_us;
} ormd_waiter;

struct ormd_host {
	ormd_daemon  *daemon;
	uint64_t      id;
	char         *name;      /* NULL: private */
	int64_t       opened_us;
	ormd_session *session;   /* touched only by the running task */
	ormd_member  *members;   /* likewise */
	bool          ended;     /* likewise: the last participant has gone */
	bool          lost;      /* likewise: since another server took the session over */
	int64_t       fence;     /* likewise: its name's claim in the directory; 0: none, or not yet */

	pthread_mutex_t lock;    /* guards what follows */
	ormd_task      *first, *last;
	bool            busy;    /* a task runs, or is held */
	ormd_waiter    *waiters;
	int64_t         transaction_until_us; /* when the session's transaction is to be rolled back; ORM_NO_DEADLINE: none is open */
	atomic_int      references;
};

/* A new host for a new session, in the daemon's maps; the limits come from the configuration. NULL and ORM_EEXIST if a shared one of that name is there. Caller gets a reference. */
ormd_host *ormd_host_open(ormd_daemon *daemon, const orm_registry *registry, const ormd_session_options *options, orm_error *error);

/* By id or by name; with a reference, to be given back by ormd_host_unref. NULL: none. */
ormd_host *ormd_host_find(ormd_daemon *daemon, uint64_t id);
ormd_host *ormd_host_find_named(ormd_daemon *daemon, const char *name);
void       ormd_host_ref(ormd_host *host);
void       ormd_host_unref(ormd_host *host);

/* All hosts, with references each; the array is owned by the caller (free). */
ormd_host **ormd_hosts_list(ormd_daemon *daemon, size_t *n);

/*
 * Queue a task; runs it before returning if the host is idle. From workers only. Like the two below it takes over the caller's reference, which is
 * given back when the task is over.
 */
void ormd_host_submit(ormd_host *host, ormd_task *task);

/* Run it now if the host is idle, else do nothing, keep the caller its reference, and return false. From any thread; the task must not block. */
bool ormd_host_try(ormd_host *host, ormd_task *task);

/* Queue a task from any thread, to be run by a worker. */
void ormd_host_post(ormd_host *host, ormd_task *task);

/* The held task is done with the session; what waits goes on, on a worker. From any thread. */
void ormd_host_release(ormd_host *host);

/* For the running task: the participant, or NULL with error: ORM_EFENCED for a stale fence, ORM_ELOST when the session has ended. */
ormd_member *ormd_host_member(ormd_host *host, uint32_t number, uint64_t fence, orm_error *error);
ormd_member *ormd_host_join(ormd_host *host, const char *name, const rpc_peer *peer, orm_error *error);
/* Takes a participant out; ends the host when it was the last one. */
void ormd_host_leave(ormd_host *host, ormd_member *member, bool died, const char *reason);

/* Park a Wait call until there is news, its time is up, or its caller gives up. For the running task. False: out of memory. */
bool ormd_host_wait(ormd_host *host, rpc_call *call, uint32_t participant, uint64_t seen, int64_t until_us);
/* While the daemon drains: answer all parked calls, so that their clients can go. */
void ormd_hosts_end_waits(ormd_daemon *daemon);
/* For the running task: a host that nobody takes part in ends; nobody finds it any more. ormd_host_leave does it for the last participant. */
void ormd_host_close(ormd_host *host);
/* For the running task: another server has the session now. All participants are put out, and told so by their next calls. */
void ormd_host_lose(ormd_host *host);
/* Answer the waiters whose time is up, and end a transaction whose time is. Posts a task; from the liveness thread. */
void ormd_host_tick(ormd_host *host, int64_t now_us);

#endif
