/* SPDX-License-Identifier: MIT */
/*
 * MariaDB servers of a test's own: the packaged one, in a private directory that holds its socket, data and log,
 * without a network, as an unprivileged user. A failure ends the test with the server's log. They end with the test
 * program. As postgresql.h, a server that is killed keeps every commit that it acknowledged.
 */
#ifndef SUPPORT_MARIADB_H
#define SUPPORT_MARIADB_H

#include "support/process.h"
#include "support/tempdir.h"

typedef struct support_mariadb {
	support_process process;
	const char *directory;
	const char *const
		*options; /* besides the usual ones: "--name=value", ends with NULL; NULL for none. Borrowed */
} support_mariadb;

/* A new server without databases. "root" needs no password. Its settings are Debian's: utf8mb4, strict. */
void support_mariadb_start(support_mariadb *server);

void support_mariadb_stop(support_mariadb *server);    /* an orderly end; connections are cut */
void support_mariadb_kill(support_mariadb *server);    /* kill -9 */
void support_mariadb_restart(support_mariadb *server); /* on its data, after stop or kill */

/* It stands still: a server that is cut off, whose connections stay open and bring nothing. And on. */
void support_mariadb_freeze(const support_mariadb *server);
void support_mariadb_thaw(const support_mariadb *server);

/* End it, if it runs, and remove all it had. NULL and zeroed storage are allowed. */
void support_mariadb_remove(support_mariadb *server);

/* "mariadb://root@localhost/DATABASE?socket=DIRECTORY/socket"; the database may be "". */
void support_mariadb_url(const support_mariadb *server, const char *database, char url[SUPPORT_PATH_SIZE]);

/*
 * In steps, for servers that need each other: make its directory and data; start it with an option more
 * ("--name=value", NULL: none) without waiting; wait until it answers.
 */
void support_mariadb_make(support_mariadb *server);
void support_mariadb_launch(support_mariadb *server, const char *option);
void support_mariadb_await(support_mariadb *server);

#endif
