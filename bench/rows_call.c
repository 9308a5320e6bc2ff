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
	bench_floor  *floor;
	bench_ping   *ping;
	orm_db       *db;
	orm_session  *first;   /* has loaded everything into a shared session */
	int           round;
} call_state;

static void close_calls(bench_case *run)
{
	call_state *calls = run->state;
	if (!calls)
		return;
	orm_session_close(calls->first);
	bench_disconnect(calls->db);
	bench_ping_close(calls->ping);
	run->engine->close(calls->floor);
	free(calls);
}

static int open_calls(bench_case *run)
{
	char        url[BENCH_URL_SIZE];
	call_state *calls = calloc(1, sizeof *calls);
	if (!(run->state = calls) || run->engine->database(run->options, "calls-floor", url) != 0 ||
	    !(calls->floor = run->engine->open(url, BENCH_TABLES)) || run->engine->inserts->work(calls->floor, N_OBJECTS, 0) != 0 ||
	    run->engine->rest(calls->floor) != 0)
		return -1;
	if (!(calls->ping = bench_ping_open(run->options, REQUEST_SIZE, REPLY_SIZE)))
		return -1;
	if (run->engine->database(run->options, "calls", url) != 0 || !(calls->db = bench_connect(run->options, url)))
		return -1;
	calls->first = orm_session_join(calls->db, "calls", NULL);
	for (size_t i = 0; i < N_OBJECTS; i++)
		bench_add(calls->first, i);
	if (orm_commit(calls->first) < 0 || orm_all(calls->first, Item).len != N_OBJECTS)
		return (int)bench_failed_session("calls", calls->first);
	return 0;
}

static double floor_budget_us(bench_case *run)
{
	(void)run;
	return 1e-6; /* the budget is a time of its own: 1 us */
}

static double ours_mirrored(bench_case *run)
{
	call_state       *calls = run->state;
	const size_t n = 1000000;
	int64_t      sum = 0;
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

static double floor_ping(bench_case *run)
{
	return ping_seconds(run->state);
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
static double ours_in_server(bench_case *run)
{
	call_state *calls = run->state;
	orm_session *session = orm_session_join(calls->db, "calls", NULL);
	double       seconds = get_all(session);
	orm_session_close(session);
	return seconds;
}

static double floor_cold(bench_case *run)
{
	call_state *calls = run->state;
	double seconds = 1.15 * ping_seconds(calls), start = bench_now();
	for (int64_t i = 1; i <= N_OBJECTS; i++) {
		if (run->engine->get(calls->floor, i) != 0)
			return -1;
	}
	return seconds + 2 * (bench_now() - start) / N_OBJECTS;
}

static double ours_cold(bench_case *run)
{
	call_state *calls = run->state;
	orm_session *session = orm_session_open(calls->db);
	double       seconds = get_all(session);
	orm_session_close(session);
	return seconds;
}

const bench_row bench_rows_call[] = {
	{.name = "get of an object that is mirrored", .floor_name = "1 us", .where = BENCH_ONCE, .budget = 1.0, .unit = "get",
	 .open = open_calls, .floor = floor_budget_us, .ours = ours_mirrored, .close = close_calls},
	{.name = "get from the server's identity map", .floor_name = "bare nng request and reply of the same size", .where = BENCH_ONCE, .budget = 1.15,
	 .unit = "get", .open = open_calls, .floor = floor_ping, .ours = ours_in_server, .close = close_calls},
	{.name = "get from the database, cold", .floor_name = "1.15 bare nng requests + 2 bare prepared SELECTs", .budget = 1.0, .server_budget = 1.0,
	 .unit = "get", .open = open_calls, .floor = floor_cold, .ours = ours_cold, .close = close_calls},
	{0},
};
