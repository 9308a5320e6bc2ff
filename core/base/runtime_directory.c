/* SPDX-License-Identifier: MIT */
#include "base/runtime_directory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

_Static_assert(ORM_RUNTIME_DIRECTORY_SIZE + ORM_RUNTIME_NAME_SIZE <= sizeof((struct sockaddr_un *)NULL)->sun_path,
	       "sockets must fit");

/* Is $XDG_RUNTIME_DIR what its specification promises: a directory of ours, nobody else's? */
static bool is_usable(const char *path)
{
	struct stat what;

	return path && path[0] == '/' && stat(path, &what) == 0 && S_ISDIR(what.st_mode) && what.st_uid == geteuid() &&
	       (what.st_mode & 022) == 0;
}

/* It must be ours alone, or others could put their sockets into it. */
static orm_status make_own(const char *path, orm_error *error)
{
	struct stat what;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return orm_fail(error, ORM_EPERM, "cannot make the directory '%s' for sockets of session servers: %s",
				path, strerror(errno));
	if (lstat(path, &what) < 0)
		return orm_fail(error, ORM_EPERM, "cannot use the directory '%s' for sockets of session servers: %s",
				path, strerror(errno));
	if (!S_ISDIR(what.st_mode) || what.st_uid != geteuid() || (what.st_mode & 077) != 0)
		return orm_fail(error, ORM_EPERM,
				"'%s' must be a directory that belongs to user %ld and that nobody else may enter "
				"(mode 0700); remove it",
				path, (long)geteuid());
	return ORM_OK;
}

orm_status orm_runtime_directory(char path[ORM_RUNTIME_DIRECTORY_SIZE], orm_error *error)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (!is_usable(runtime) ||
	    snprintf(path, ORM_RUNTIME_DIRECTORY_SIZE, "%s/ormd", runtime) >= ORM_RUNTIME_DIRECTORY_SIZE)
		snprintf(path, ORM_RUNTIME_DIRECTORY_SIZE, "/tmp/ormd-%ld", (long)geteuid());
	return make_own(path, error);
}
