/* SPDX-License-Identifier: MIT */
/*
 * This server among others of the same database: it is in the directory (session/directory.h) from before it answers
 * until its end, and a thread of its own renews that. Shared sessions are claimed there when they are opened. Where only
 * one server can serve the database, there is none of it.
 */
#ifndef ORMD_SERVER_PRESENCE_H
#define ORMD_SERVER_PRESENCE_H

#include "server/daemon.h"
#include "session/directory.h"

/* Register at `address`; for a database that others may serve, too. NULL and error. Owned. */
ormd_presence *ormd_presence_start(ormd_daemon *daemon, const char *address, orm_error *error);
/* No task is posted to a host any more. NULL allowed. */
void ormd_presence_stop(ormd_presence *presence);
/* Out of the directory, with all sessions; after the last commit. NULL allowed. */
void ormd_presence_free(ormd_presence *presence);

ormd_directory *ormd_presence_directory(ormd_presence *presence); /* NULL for NULL */

#endif
