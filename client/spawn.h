/* SPDX-License-Identifier: MIT */
/*
 * Start a program that outlives this one and is no child of it: no SIGCHLD, nothing to wait for, no terminal, none of
 * our descriptors but those it is given. Safe in a program with threads: between fork and exec only async-signal-safe
 * calls are made.
 */
#ifndef CLIENT_SPAWN_H
#define CLIENT_SPAWN_H

#include <sys/types.h>

#include <orm/status.h>

/* The numbers under which the program finds what it is given. */
enum { SPAWN_READY_FD = 3, SPAWN_LOCK_FD = 4 };

typedef struct spawn_command {
	const char *path;               /* absolute */
	char *const *argv;              /* ends with NULL */
	const char *const *environment; /* "NAME=value" to add to ours or replace there, ends with NULL */
	int stderr_fd;                  /* becomes its standard error; standard input and output are /dev/null */
	int ready_fd;                   /* becomes SPAWN_READY_FD */
	int lock_fd;                    /* becomes SPAWN_LOCK_FD; negative: none */
} spawn_command;

/*
 * Returns when the program runs, with its process id in *pid, or ORM_EUNAVAILABLE when it could not be executed (the
 * message says why). The descriptors stay the caller's too.
 */
orm_status spawn_detached(const spawn_command *command, pid_t *pid, orm_error *error);

#endif
