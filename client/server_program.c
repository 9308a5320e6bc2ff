/* SPDX-License-Identifier: MIT */
#include "client/server_program.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <orm.h>

#include "base/error.h"

/* Absolute, since the server runs in another directory; errno says why not. */
static bool executable(const char *candidate, char path[PATH_MAX])
{
	struct stat what;

	if (!realpath(candidate, path))
		return false;
	if (stat(path, &what) == 0 && !S_ISREG(what.st_mode)) {
		errno = EISDIR;
		return false;
	}
	return access(path, X_OK) == 0;
}

static bool beside_library(char path[PATH_MAX])
{
	static const char anchor; /* an address in this library */
	Dl_info library;
	char candidate[PATH_MAX];

	if (!dladdr(&anchor, &library) || !library.dli_fname)
		return false;

	const char *slash = strrchr(library.dli_fname, '/');

	if (!slash)
		return false;

	const int len = (int)(slash - library.dli_fname);

	/* lib/liborm.so, and Debian's lib/x86_64-linux-gnu/liborm.so */
	if (snprintf(candidate, sizeof candidate, "%.*s/../bin/ormd", len, library.dli_fname) < (int)sizeof candidate &&
	    executable(candidate, path))
		return true;
	return snprintf(candidate, sizeof candidate, "%.*s/../../bin/ormd", len, library.dli_fname) <
		       (int)sizeof candidate &&
	       executable(candidate, path);
}

static bool in_search_path(char path[PATH_MAX])
{
	const char *directories = secure_getenv("PATH");
	char candidate[PATH_MAX];

	while (directories && *directories) {
		const size_t len = strcspn(directories, ":");

		/* An empty entry means the working directory: not for a program that nobody named. */
		if (len > 0 &&
		    snprintf(candidate, sizeof candidate, "%.*s/ormd", (int)len, directories) < (int)sizeof candidate &&
		    executable(candidate, path))
			return true;
		directories += len + (directories[len] == ':');
	}
	return false;
}

orm_status server_program_find(const char *wanted, char path[PATH_MAX], orm_error *error)
{
	const char *environment = secure_getenv("ORMD");

	if (wanted && !executable(wanted, path))
		return orm_fail(error, ORM_ENOTFOUND, "cannot start the session server '%s': %s", wanted,
				strerror(errno));
	if (wanted)
		return ORM_OK;
	if (environment && *environment && !executable(environment, path))
		return orm_fail(error, ORM_ENOTFOUND, "cannot start the session server '%s' that ORMD names: %s",
				environment, strerror(errno));
	if (environment && *environment)
		return ORM_OK;
	/* Beside the library first: an installation that was moved, or one of several, has its own. */
	if (beside_library(path) || executable(ORM_BINDIR "/ormd", path) || in_search_path(path))
		return ORM_OK;
	return orm_fail(error, ORM_ENOTFOUND,
			"no session server found to start: install ormd, put it into $PATH, or name it in the "
			"environment variable ORMD");
}
