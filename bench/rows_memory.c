/* SPDX-License-Identifier: MIT */
/* Bytes of an object in the server, as ormctl tells them, beside the bytes of its values. */
#include "bench.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double values_size(const bench_options *options)
{
	double size = 0;
	for (size_t i = 0; i < options->n_rows; i++)
		size += 8 + 8 + 8 + 8 + (double)strlen(bench_name(i)) + 1 + (bench_note(i) ? (double)strlen(bench_note(i)) + 1 : 0);
	return size / (double)options->n_rows;
}

static double floor_memory(const bench_options *options, void *state)
{
	(void)state;
	return 2 * values_size(options) + 64;
}

/* The memory and number of objects of the only session, from `ormctl sessions --json`. */
static double ask_server(const char *address)
{
	char        command[600];
	const char *ormctl = getenv("ORMCTL");
	snprintf(command, sizeof command, "%s --address '%s' --json sessions", ormctl ? ormctl : "ormctl", address);
	FILE   *output = popen(command, "r");
	json_t *answer = output ? json_loadf(output, 0, NULL) : NULL;
	if (output)
		pclose(output);
	json_t *sessions = json_object_get(answer, "sessions");
	json_t *session = json_array_get(sessions ? sessions : answer, 0);
	double  memory = json_number_value(json_object_get(session, "memory")), objects = json_number_value(json_object_get(session, "objects"));
	json_decref(answer);
	return objects > 0 ? memory / objects : bench_failed("memory", "ormctl did not tell");
}

static double ours_memory(const bench_options *options, void *state)
{
	char path[256], url[300];
	(void)state;
	bench_path(options, "memory", path, sizeof path);
	snprintf(url, sizeof url, "sqlite:///%s", path);
	orm_db *db = orm_connect_with(url, bench_models, &(orm_connect_options){.idle_timeout_ms = 1000});
	orm_create_all(db);
	orm_session *session = orm_session_open(db);
	for (size_t i = 0; i < options->n_rows; i++)
		orm_add(session, Item, .quantity = (int64_t)i, .name = bench_name(i), .price = (double)i * 0.25, .note = bench_note(i));
	int failed = orm_commit(session) < 0;
	orm_session_close(session);
	session = orm_session_open(db);
	failed |= orm_all(session, Item).len != options->n_rows;
	double bytes = failed ? bench_failed_session("memory", session) : ask_server(orm_db_address(db));
	orm_session_close(session);
	orm_disconnect(db);
	return bytes;
}

const bench_row bench_rows_memory[] = {
	{"memory of an object in the server", "2 x its values + 64 bytes", 1.0, false, "object", NULL, floor_memory, ours_memory, NULL},
	{0},
};
