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

static double floor_memory(bench_case *run)
{
	return 2 * values_size(run->options) + 64;
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

static double ours_memory(bench_case *run)
{
	char    url[BENCH_URL_SIZE];
	orm_db *db = NULL;
	if (run->engine->database(run->options, "memory", url) != 0 || !(db = bench_connect(run->options, url)))
		return -1;
	orm_session *session = orm_session_open(db);
	for (size_t i = 0; i < run->options->n_rows; i++)
		bench_add(session, i);
	int failed = orm_commit(session) < 0;
	orm_session_close(session);
	session = orm_session_open(db);
	failed |= orm_all(session, Item).len != run->options->n_rows;
	double bytes = failed ? bench_failed_session("memory", session) : ask_server(orm_db_address(db));
	orm_session_close(session);
	bench_disconnect(db);
	return bytes;
}

const bench_row bench_rows_memory[] = {
	{.name = "memory of an object in the server", .floor_name = "2 x its values + 64 bytes", .where = BENCH_ONCE, .budget = 1.0, .unit = "object",
	 .floor = floor_memory, .ours = ours_memory},
	{0},
};
