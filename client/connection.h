/* SPDX-License-Identifier: MIT */
/*
 * The inside of a connection: the models' binding, where the server is, and a channel for the calls that belong to no
 * session.
 *
 * A connection to a database URL follows the server: when that has ended (idle, killed), the next call on the
 * connection finds or starts another. Sessions do not follow: they lived in the server that is gone.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdatomic.h>

#include <orm.h>

#include "base/arena.h"
#include "base/discovery.h"
#include "client/autostart.h"
#include "client/binding.h"
#include "client/draft.h"
#include "rpc/rpc.h"

/* What a server knows of our models, and takes. */
typedef struct connection_terms {
	uint64_t registry;       /* its number for our models */
	orm_draft_limits limits; /* of a draft's parts */
} connection_terms;

struct orm_db {
	uint64_t process;                         /* see process.h */
	orm_binding *models;                      /* NULL if they do not hold together */
	const char *url;                          /* arena, as all strings here */
	bool is_database;                         /* URL of a database, not a server's address */
	char address[ORM_DISCOVERY_ADDRESS_SIZE]; /* "" before the first server was found */
	rpc_channel *channel;                     /* NULL if there is no server */
	autostart_private own;                    /* the server of an in-memory database */
	connection_terms terms;                   /* the server's */
	int64_t timeout_ms;
	int64_t idle_timeout_ms;
	const char *program;
	const char *server_program;
	rpc_tls tls;
	bool tls_is_named;            /* the program gave tls.server_name; else it is the address's host */
	_Atomic(uint64_t) n_requests; /* of channels closed and of sessions' calls that have ended */
	uint64_t n_counted;           /* of `channel`, in n_requests already */
	_Atomic(size_t) n_users;      /* the program until orm_disconnect, and each session: the last frees it */
	orm_error error;              /* the first failure; that of a schema call is told, and stops nothing */
	orm_arena arena;
};

/* One user less. Any thread. */
void connection_release(orm_db *db);

/* A channel to the server that the connection knows. NULL and ORM_EUNAVAILABLE, ... Owned. Any thread. */
rpc_channel *connection_open_channel(const orm_db *db, int64_t deadline_us, orm_error *error);

/*
 * Find the server again, after it has gone: for a database URL start another, and declare the models there. Sessions'
 * calls must not use this: it changes the connection, which belongs to one thread.
 */
orm_status connection_renew(orm_db *db, int64_t deadline_us, orm_error *error);

/*
 * A channel to the server that serves the database now, which may be another than the connection's; for asking about a
 * commit. Changes nothing of the connection, so that any session's thread may use it. Owned.
 */
orm_status connection_open_other(const orm_db *db, int64_t deadline_us, rpc_channel **channel, orm_error *error);

/*
 * A channel to another server of the database, at this address, with the models declared there: for a session that is
 * in it. Changes nothing of the connection but the count of requests. NULL and error. Owned.
 */
rpc_channel *connection_open_at(orm_db *db, const char *address, int64_t deadline_us, connection_terms *terms,
				uint64_t *n_counted, orm_error *error);

/* Add what a channel has sent beyond *n_counted to the connection's sum. Any thread. */
void connection_count(orm_db *db, const rpc_channel *channel, uint64_t *n_counted);

#endif
