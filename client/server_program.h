/* SPDX-License-Identifier: MIT */
/* Which ormd to start. */
#ifndef CLIENT_SERVER_PROGRAM_H
#define CLIENT_SERVER_PROGRAM_H

#include <limits.h>

#include <orm/status.h>

/*
 * The absolute path of the first of these that can be executed: `wanted` (may be NULL), $ORMD, the one in ../bin beside
 * this library's directory, the one that was installed with this library, `ormd` in $PATH. What the program or the user
 * names must be there: ORM_ENOTFOUND if `wanted` or $ORMD cannot be executed, or nothing is found at all. The
 * environment is ignored in set-user-id programs.
 */
orm_status server_program_find(const char *wanted, char path[PATH_MAX], orm_error *error);

#endif
