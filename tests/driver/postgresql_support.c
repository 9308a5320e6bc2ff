/* SPDX-License-Identifier: MIT */
#include "driver/postgresql_support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

ormd_connection *open_again(const char *url, bool read_only)
{
	return open_connection(url, read_only);
}

ormd_connection *open_fresh(char url[ENGINE_URL_SIZE])
{
	char own[ENGINE_URL_SIZE];

	url = url ? url : own;
	engine_database(ENGINE_POSTGRESQL, url);
	return open_again(url, false);
}

void expect_ok(orm_status status, const orm_error *error)
{
	if (status != ORM_OK)
		fail_msg("%s: %s", orm_status_name(status), error->message);
}

void expect_write(ormd_connection *connection, ormd_write *write)
{
	orm_error error;

	expect_ok(connection->driver->write(connection, write, &error), &error);
}

int64_t backend_pid(const ormd_connection *connection)
{
	int64_t pid = 0;

	assert_int_equal(sscanf(connection->backend, "%*d/%" SCNd64, &pid), 1);
	return pid;
}
