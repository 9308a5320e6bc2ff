/* SPDX-License-Identifier: MIT */
#include "server/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/runtime_directory.h"
#include "base/url.h"

orm_status ormd_default_address(const char *database, char address[ORM_DISCOVERY_ADDRESS_SIZE], orm_error *error)
{
	char directory[ORM_RUNTIME_DIRECTORY_SIZE];
	char lock[ORM_DISCOVERY_PATH_SIZE];
	char file[ORM_DISCOVERY_PATH_SIZE] = "";
	char name[32];
	orm_status status = ORM_OK;

	if (!orm_url_is_of_server(database))
		status = orm_discovery_database_path(database, file, error);
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
	status = orm_runtime_directory(directory, error);
	if (status == ORM_OK)
		snprintf(address, ORM_DISCOVERY_ADDRESS_SIZE, "ipc://%s/%s.sock", directory, name);
	return status;
}
