/* SPDX-License-Identifier: MIT */
/*
 * The session server of a database URL: found, or started. The steps are told in base/discovery.h; here is the client's
 * half.
 *
 * A server of a file, or of a database that is no file, is nobody's: it is started detached, and ends by itself when
 * idle. The server of sqlite:///:memory: is this process's alone: it ends with the connection, or with the process.
 *
 * Sockets and logs are in the runtime directory (base/runtime_directory.h). The server is told the URL by ORMD_DATABASE
 * in its environment, which only its user can see, for there may be a password in it.
 */
#ifndef CLIENT_AUTOSTART_H
#define CLIENT_AUTOSTART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/discovery.h"

/*
 * Try to connect until the deadline at most: ORM_OK, ORM_EUNAVAILABLE or ORM_ETIMEOUT (nobody answers there: look
 * again), or another code, which ends the search.
 */
typedef orm_status autostart_connect(const char *address, int64_t deadline_us, void *context, orm_error *error);

/* A server that belongs to this process. */
typedef struct autostart_private {
	int pidfd; /* negative: none */
	char address[ORM_DISCOVERY_ADDRESS_SIZE];
} autostart_private;

typedef struct autostart_options {
	const char *url;            /* of a database: base/url.h */
	const char *server_program; /* NULL: as server_program_find */
	int64_t idle_timeout_ms;    /* for a server that is started */
	int64_t deadline_us;
	autostart_connect *connect;
	void *context;
} autostart_options;

/*
 * Find or start, and connect. ORM_ETIMEOUT and ORM_EUNAVAILABLE say what was waited for; ORM_ENOTFOUND: no ormd, or no
 * such directory; ORM_EINVAL, ORM_EPERM. `own` is filled for an in-memory database; ended with autostart_end_private.
 * Blocks.
 */
orm_status autostart_find(const autostart_options *options, autostart_private *own, orm_error *error);

/* End the private server, if there is one, and wait for it. */
void autostart_end_private(autostart_private *own);

#endif
