/* SPDX-License-Identifier: MIT */
/*
 * Where a user's session servers have their sockets, logs, and the lock files of databases that are no files:
 * $XDG_RUNTIME_DIR/ormd, or /tmp/ormd-<uid>; a directory of the user's own that nobody else may enter. Clients and
 * servers look in the same place.
 */
#ifndef ORM_BASE_RUNTIME_DIRECTORY_H
#define ORM_BASE_RUNTIME_DIRECTORY_H

#include <orm/status.h>

/* Short enough for sockets in it: with its NUL, and so many bytes of a file's name, its slash included. */
#define ORM_RUNTIME_DIRECTORY_SIZE 60
#define ORM_RUNTIME_NAME_SIZE      48

/* Made if need be. ORM_EPERM: it cannot be made, or is not safe, and the message says why. */
orm_status orm_runtime_directory(char path[ORM_RUNTIME_DIRECTORY_SIZE], orm_error *error);

#endif
