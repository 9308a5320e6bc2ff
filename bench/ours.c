/* SPDX-License-Identifier: MIT */
/* The servers that our side of the rows goes through. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/server.h"

#define MAX_SERVERS 8 /* at once */

static struct {
	orm_db      *db;
	support_ormd ormd;
} servers[MAX_SERVERS];

orm_db *bench_connect(const bench_options *options, const char *url)
{
	static unsigned counter;
	char            directory[SUPPORT_PATH_SIZE];
	size_t          i = 0;
	while (i < MAX_SERVERS && servers[i].db)
		i++;
	if (i == MAX_SERVERS) {
		bench_failed(url, "too many servers at once");
		return NULL;
	}
	snprintf(directory, sizeof directory, "%s/ormd%u", options->directory, counter++);
	if (mkdir(directory, 0700) != 0) {
		bench_failed(directory, "cannot be made");
		return NULL;
	}
	support_ormd_start(&servers[i].ormd, directory, url, NULL, NULL);
	orm_db *db = orm_connect_with(servers[i].ormd.address, bench_models, &(orm_connect_options){.timeout_ms = 120000});
	servers[i].db = db;
	if (db && orm_create_all(db) == 0)
		return db;
	bench_failed(url, orm_db_error(db)->message);
	bench_disconnect(db);
	return NULL;
}

void bench_let_rest(orm_db *db)
{
	orm_create_all(db);
}

void bench_disconnect(orm_db *db)
{
	for (size_t i = 0; db && i < MAX_SERVERS; i++) {
		if (servers[i].db != db)
			continue;
		orm_disconnect(db);
		support_ormd_stop(&servers[i].ormd);
		servers[i].db = NULL;
		return;
	}
}
