/* SPDX-License-Identifier: MIT */
/*
 * ormd, the daemon: one database, the sessions over it, and the services that programs call.
 *
 * The story of a request. rpc receives it and calls a service's handler (service_*.c) on a worker; the handler finds the
 * session's host (host.h) and hands it a task; the host runs tasks one at a time, in arrival order; a task translates
 * messages (codec.h), calls core/session, and answers. Connections that close and processes that end come in through
 * the rpc layer's watcher (liveness.h) and become tasks too.
 *
 * Lock order: daemon->lock < a host's lock < the database's queue. No lock is held while SQL runs or a reply is sent.
 */
#ifndef ORMD_SERVER_DAEMON_H
#define ORMD_SERVER_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "rpc/interceptors.h"
#include "base/discovery.h"
#include "rpc/rpc.h"
#include "server/config.h"
#include "session/session.h"

typedef struct ormd_daemon   ormd_daemon;
typedef struct ormd_host     ormd_host;
typedef struct ormd_liveness ormd_liveness;
typedef struct ormd_presence ormd_presence;

struct ormd_daemon {
	const ormd_config *config;      /* borrowed */
	ormd_database     *database;
	char               shown_url[ORM_DISCOVERY_PATH_SIZE]; /* the database's, without a password */
	rpc_server        *rpc;
	rpc_metrics       *metrics;
	ormd_liveness     *liveness;
	ormd_presence     *presence;    /* NULL: no other server can serve the database */
	int64_t            started_us;
	atomic_bool        draining;

	pthread_mutex_t lock;           /* guards what follows */
	orm_map         registries;     /* by hash: orm_registry *, kept for the daemon's life */
	orm_map         hosts_by_id;    /* ormd_host * */
	orm_map         hosts_by_name;  /* shared ones */
	size_t          n_registries;
	uint64_t        last_session;   /* ids are never used twice; the upper half is random per start */

	/* Commits whose outcome is known: answered one after the other by one worker, while the next group is written. service_session.c. */
	atomic_uint     n_committing;   /* from before they are submitted until they are answered or queued here */
	pthread_mutex_t answers_lock;   /* guards what follows */
	struct commit_call *first_answer, *last_answer;
	bool            answering;      /* a worker is at it, or called */
};

/* Open the database, offer the services, listen. NULL and error on failure. Owned. */
ormd_daemon *ormd_daemon_start(const ormd_config *config, orm_error *error);

/* Finish what runs, refuse what is new, close the database. True if everything ended within the configured time. NULL allowed. */
bool ormd_daemon_stop(ormd_daemon *daemon);

/* Begin to end, unless a client is connected: then false, and nothing has changed. For ending an idle server. */
bool ormd_daemon_retire(ormd_daemon *daemon);

/* Microseconds since the last client left; 0 while there is one, and while the first has time to come. For ending an idle server. */
int64_t ormd_daemon_idle_us(ormd_daemon *daemon);

/*
 * The registry of these models: the one that is known already, or a new one. ORM_EINVAL if they do not hold together, ORM_ELIMIT
 * when too many different ones were declared. Kept until the daemon ends.
 */
const orm_registry *ormd_daemon_registry(ormd_daemon *daemon, const orm_model_spec *specs, size_t n_specs, orm_error *error);
const orm_registry *ormd_daemon_find_registry(ormd_daemon *daemon, uint64_t hash); /* NULL: none */

/* The services' method tables, one per .proto service. */
void ormd_service_database_add(ormd_daemon *daemon);
void ormd_service_session_add(ormd_daemon *daemon);
void ormd_service_admin_add(ormd_daemon *daemon);

#endif
