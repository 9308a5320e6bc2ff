/* SPDX-License-Identifier: MIT */
/* A real ormd of a test's own, on a socket in its temporary directory. */
#ifndef SUPPORT_SERVER_H
#define SUPPORT_SERVER_H

#include "support/process.h"
#include "support/tempdir.h"

typedef struct support_ormd {
	support_process process;
	char address[SUPPORT_PATH_SIZE];  /* as ormd said it: "ipc:///tmp/ormd-x/ormd.sock" */
	char log_path[SUPPORT_PATH_SIZE]; /* its stderr, from all starts in this directory */
} support_ormd;

/*
 * Start `$ORMD --listen ipc://DIR/ormd.sock --database URL --ready-fd N EXTRA...` and wait until it has written its
 * address to descriptor N, which it does when the socket answers. `extra_args` ends with NULL, or is NULL; so
 * is `environment`. A --listen among them takes the place of ours. Exits with the daemon's log when it does not start.
 */
void support_ormd_start(support_ormd *ormd, const char *dir, const char *database_url, const char *const *extra_args,
			const char *const *environment);

/* SIGTERM and wait. The exit status, 0 for a clean end; 128 + n for death by signal n; -1 when it did not end. */
int support_ormd_stop(support_ormd *ormd);

/* How many lines of its log contain `text`. */
int support_ormd_n_said(const support_ormd *ormd, const char *text);

/* kill -9, and wait. */
void support_ormd_kill(support_ormd *ormd);

#endif
