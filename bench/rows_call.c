/* SPDX-License-Identifier: MIT */
/* Calls for one object: from the mirror, from the server's identity map, from the database. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#define N_OBJECTS 2000

/* About the size of a get's request and reply. */
#define REQUEST_SIZE 150
#define REPLY_SIZE 250

typedef struct call_state {
	bench_sqlite *sqlite;
	bench_ping   *ping;
	orm_db       *db;
	orm_session  *first;   /* has loaded everything into a shared session */
	int           round;
} call_state;

static void close_calls(void *state)
{
	call_state *calls = state;
	if (!calls)
		return;
	orm_session_close(calls->first);
	orm_disconnect(calls->db);
	bench_ping_close(calls->ping);
	bench_sqlite_close(calls->sqlite);
	free(calls);
}

static int open_calls(const bench_options *options, void **state)
{
	char   path[256], url[300];
	call_state *calls = calloc(1, sizeof *calls);
	if (!(*state = calls))
		return -1;
	bench_path(options, "calls-floor", path, sizeof path);
	calls->sqlite = bench_sqlite_open(path, true);
	if (!calls->sqlite || bench_sqlite_insert(calls->sqlite, N_OBJECTS, 0) < 0)
		return -1;
	if (!(calls->ping = bench_ping_open(options, REQUEST_SIZE, REPLY_SIZE)))
		return -1;
	bench_path(options, "calls", path, sizeof path);
	snprintf(url, sizeof url, "sqlite:///%s", path);
	calls->db = orm_connect_with(url, bench_models, &(orm_connect_options){.idle_timeout_ms = 1000});
	orm_create_all(calls->db);
	calls->first = orm_session_join(calls->db, "calls", NULL);
	for (size_t i = 0; i < N_OBJECTS; i++)
		orm_add(calls->first, Item, .quantity = (int64_t)i, .name = bench_name(i), .note = bench_note(i));
	if (orm_commit(calls->first) < 0 || orm_all(calls->first, Item).len != N_OBJECTS)
		return (int)bench_failed_session("calls", calls->first);
	return 0;
}

static double floor_budget_us(const bench_options *options, void *state)
{
	(void)options, (void)state;
	return 1e-6; /* the budget is a time of its own: 1 us */
}

static double ours_mirrored(const bench_options *options, void *state)
{
	call_state       *calls = state;
	const size_t n = 1000000;
	int64_t      sum = 0;
	(void)options;
	double start = bench_now();
	for (size_t i = 0; i < n; i++)
		sum += orm_get(calls->first, Item, (int64_t)(i % N_OBJECTS) + 1)->quantity;
	double seconds = bench_now() - start;
	return sum > 0 ? seconds / (double)n : -1;
}

static double ping_seconds(call_state *calls)
{
	double start = bench_now();
	for (size_t i = 0; i < N_OBJECTS; i++) {
		if (bench_ping_once(calls->ping) < 0)
			return bench_failed("ping", "no reply");
	}
	return (bench_now() - start) / N_OBJECTS;
}

static double floor_ping(const bench_options *options, void *state)
{
	(void)options;
	return ping_seconds(state);
}

static double get_all(orm_session *session)
{
	double start = bench_now();
	for (int64_t i = 1; i <= N_OBJECTS; i++) {
		if (!orm_get(session, Item, i))
			return bench_failed_session("get", session);
	}
	return (bench_now() - start) / N_OBJECTS;
}

/* A new participant of the session mirrors nothing yet; the server has it all. */
static double ours_in_server(const bench_options *options, void *state)
{
	call_state *calls = state;
	(void)options;
	orm_session *session = orm_session_join(calls->db, "calls", NULL);
	double       seconds = get_all(session);
	orm_session_close(session);
	return seconds;
}

static double floor_cold(const bench_options *options, void *state)
{
	call_state *calls = state;
	(void)options;
	double seconds = 1.15 * ping_seconds(calls), start = bench_now();
	for (int64_t i = 1; i <= N_OBJECTS; i++) {
		if (bench_sqlite_get(calls->sqlite, i) < 0)
			return -1;
	}
	return seconds + 2 * (bench_now() - start) / N_OBJECTS;
}

static double ours_cold(const bench_options *options, void *state)
{
	call_state *calls = state;
	(void)options;
	orm_session *session = orm_session_open(calls->db);
	double       seconds = get_all(session);
	orm_session_close(session);
	return seconds;
}

const bench_row bench_rows_call[] = {
	{"get of an object that is mirrored", "1 us", 1.0, false, "get", open_calls, floor_budget_us, ours_mirrored, close_calls},
	{"get from the server's identity map", "bare nng request and reply of the same size", 1.15, false, "get", open_calls, floor_ping,
	 ours_in_server, close_calls},
	{"get from SQLite, cold", "1.15 bare nng requests + 2 bare prepared SELECTs", 1.0, false, "get", open_calls, floor_cold, ours_cold, close_calls},
	{0},
};
