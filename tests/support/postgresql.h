/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL servers of a test's own: the packaged one, in a private directory that holds its socket, data and log,
 * without a network, as an unprivileged user. A failure ends the test with the server's log. They end with the test
 * program.
 *
 * A server that is killed (as by kill -9) keeps every commit that it acknowledged: what it has written is in the
 * operating system's hands. Only the machine's own end would lose it, since nothing waits for a disk.
 */
#ifndef SUPPORT_POSTGRESQL_H
#define SUPPORT_POSTGRESQL_H

#include <stdbool.h>

#include "support/process.h"
#include "support/tempdir.h"

typedef struct support_postgresql {
	support_process process;
	const char *directory;      /* where its socket is: libpq's `host` */
	const char *const *options; /* besides the usual ones, from the next start: "-cname=value", ends with NULL; NULL
				       for none. Borrowed */
} support_postgresql;

/* A new server with an empty database "postgres". Its superuser is "ormd", and needs no password. */
void support_postgresql_start(support_postgresql *server);

/*
 * A new server that follows `primary`, by streaming replication under the name "standby", and answers reads. If
 * `synchronous`, the primary from now on acknowledges no commit that the standby has not got; this waits until it
 * follows.
 */
void support_postgresql_start_standby(support_postgresql *standby, const support_postgresql *primary, bool synchronous);

/* A server that was killed or stopped gets the primary's data in place of its own, and follows it as a standby does. */
void support_postgresql_follow(support_postgresql *server, const support_postgresql *primary, bool synchronous);

/* From now on the primary waits for no standby: what a survivor needs when its standby is gone. */
void support_postgresql_stand_alone(const support_postgresql *primary);

/* The standby becomes a primary; returns when it takes writes. */
void support_postgresql_promote(const support_postgresql *standby);

void support_postgresql_stop(support_postgresql *server);    /* an orderly end; connections are cut */
void support_postgresql_kill(support_postgresql *server);    /* kill -9, of all its processes */
void support_postgresql_restart(support_postgresql *server); /* on its data, after stop or kill */

/* All its processes stand still: a server that is cut off, whose connections stay open and bring nothing. And on. */
void support_postgresql_freeze(const support_postgresql *server);
void support_postgresql_thaw(const support_postgresql *server);

/* End it, if it runs, and remove all it had. NULL and zeroed storage are allowed. */
void support_postgresql_remove(support_postgresql *server);

/* "postgresql://ormd@/DATABASE?host=DIRECTORY". Several hosts: "?host=DIRECTORY1,DIRECTORY2". */
void support_postgresql_url(const support_postgresql *server, const char *database, char url[SUPPORT_PATH_SIZE]);

#endif
