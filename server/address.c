/* SPDX-License-Identifier: MIT */
#include "server/address.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/map.h"

#define MAX_SOCKET_NAME 48 /* "/", a file name of ours, and what the listener adds while it binds */

static bool is_our_directory(const char *path, mode_t forbidden)
{
	struct stat what;

	return lstat(path, &what) == 0 && S_ISDIR(what.st_mode) && what.st_uid == geteuid() &&
	       (what.st_mode & forbidden) == 0;
}

static orm_status make_directory(const char *path, orm_error *error)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return orm_fail(error, ORM_EPERM, "cannot make the directory '%s' for the socket: %s; give --listen",
				path, strerror(errno));
	if (!is_our_directory(path, 077))
		return orm_fail(
			error, ORM_EPERM,
			"'%s' must be a directory that belongs to user %ld and that nobody else may enter (mode 0700); "
			"remove it, or give --listen",
			path, (long)geteuid());
	return ORM_OK;
}

static orm_status socket_directory(char path[PATH_MAX], orm_error *error)
{
	const size_t room = sizeof((struct sockaddr_un *)NULL)->sun_path - MAX_SOCKET_NAME;
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (!runtime || runtime[0] != '/' || strlen(runtime) + strlen("/ormd") > room ||
	    !is_our_directory(runtime, 022))
		snprintf(path, PATH_MAX, "/tmp/ormd-%ld", (long)geteuid());
	else
		snprintf(path, PATH_MAX, "%s/ormd", runtime);
	return make_directory(path, error);
}

orm_status ormd_default_address(const char *database, char address[ORM_DISCOVERY_ADDRESS_SIZE], orm_error *error)
{
	char directory[PATH_MAX];
	char lock[ORM_DISCOVERY_PATH_SIZE];
	char file[ORM_DISCOVERY_PATH_SIZE];
	char name[32];
	orm_status status = orm_discovery_database_path(database, file, error);

	if (status != ORM_OK)
		return status;
	if (strcmp(file, ":memory:") == 0) {
		snprintf(name, sizeof name, "memory-%ld", (long)getpid());
	} else {
		status = orm_discovery_lock_path(database, lock, error);
		if (status != ORM_OK)
			return status;
		snprintf(name, sizeof name, "%016" PRIx64, orm_hash_string(lock));
	}
	status = socket_directory(directory, error);
	if (status == ORM_OK)
		snprintf(address, ORM_DISCOVERY_ADDRESS_SIZE, "ipc://%.200s/%s.sock", directory, name);
	return status;
}
