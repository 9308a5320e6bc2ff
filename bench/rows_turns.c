/* SPDX-License-Identifier: MIT */
/* The commit of one changed object: how often the engine is waited for, counted on the way to it; and how long that takes without the count. */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define N_COMMITS 100
#define N_OBJECTS 10

typedef struct turns_state {
	bench_relay *relay; /* NULL: nothing is counted */
	bench_floor *floor;
	orm_db      *db;
	orm_session *session;
	Item_list    items;
	int64_t      round;
} turns_state;

static void close_commits(bench_case *run)
{
	turns_state *turns = run->state;
	if (!turns)
		return;
	orm_session_close(turns->session);
	bench_disconnect(turns->db);
	run->engine->close(turns->floor);
	bench_relay_close(turns->relay);
	free(turns);
}

/* `url` by way of the relay, which is made. */
static int divert(bench_case *run, char url[BENCH_URL_SIZE])
{
	turns_state *turns = run->state;
	char         path[200], own[BENCH_URL_SIZE];
	const char  *socket = run->engine->socket();
	snprintf(path, sizeof path, "%s/relay-%s", run->options->directory, run->engine->option);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return (int)bench_failed(path, strerror(errno));
	snprintf(path, sizeof path, "%s/relay-%s%s", run->options->directory, run->engine->option, strrchr(socket, '/'));
	if (!turns->relay && !(turns->relay = bench_relay_open(path, socket)))
		return -1;
	run->engine->url_by_socket(url, path, own);
	memcpy(url, own, sizeof own);
	return 0;
}

static int open_both(bench_case *run, bool counted)
{
	char         url[BENCH_URL_SIZE];
	turns_state *turns = calloc(1, sizeof *turns);
	if (!(run->state = turns) || run->engine->database(run->options, "one-floor", url) != 0 || (counted && divert(run, url) != 0) ||
	    !(turns->floor = run->engine->open(url, BENCH_TABLES)))
		return -1;
	for (size_t i = 0; i < N_OBJECTS; i++) {
		if (run->engine->add_one(turns->floor, i) != 0)
			return -1;
	}
	if (run->engine->database(run->options, "one-ours", url) != 0 || (counted && divert(run, url) != 0) || !(turns->db = bench_connect(run->options, url)))
		return -1;
	turns->session = orm_session_open(turns->db);
	for (size_t i = 0; i < N_OBJECTS; i++)
		bench_add(turns->session, i);
	if (orm_commit(turns->session) < 0 || (turns->items = orm_all(turns->session, Item)).len != N_OBJECTS)
		return (int)bench_failed_session("commit of one object", turns->session);
	return 0;
}

static int open_counted(bench_case *run)
{
	return open_both(run, true);
}

static int open_timed(bench_case *run)
{
	return open_both(run, false);
}

static int floor_commits(bench_case *run)
{
	turns_state *turns = run->state;
	turns->round++;
	for (int64_t i = 0; i < N_COMMITS; i++) {
		if (run->engine->change_one(turns->floor, i % N_OBJECTS + 1, turns->round + i) != 0)
			return -1;
	}
	return 0;
}

static int our_commits(bench_case *run)
{
	turns_state *turns = run->state;
	for (size_t i = 0; i < N_COMMITS; i++) {
		turns->items.items[i % N_OBJECTS]->quantity++;
		if (orm_commit(turns->session) < 0)
			return (int)bench_failed_session("commit of one object", turns->session);
	}
	return 0;
}

static double count(bench_case *run, int (*commits)(bench_case *run))
{
	turns_state *turns = run->state;
	uint64_t     before = bench_relay_turns(turns->relay);
	if (commits(run) != 0)
		return -1;
	return (double)(bench_relay_turns(turns->relay) - before) / N_COMMITS;
}

static double floor_turns(bench_case *run)
{
	return count(run, floor_commits);
}

static double ours_turns(bench_case *run)
{
	return count(run, our_commits);
}

static double measure(bench_case *run, int (*commits)(bench_case *run))
{
	double start = bench_now();
	return commits(run) != 0 ? -1 : (bench_now() - start) / N_COMMITS;
}

static double floor_time(bench_case *run)
{
	return measure(run, floor_commits);
}

static double ours_time(bench_case *run)
{
	return measure(run, our_commits);
}

#define BARE "BEGIN, prepared UPDATE, COMMIT"

const bench_row bench_rows_turns[] = {
	{.name = "round trips of one object's commit", .floor_name = BARE, .where = BENCH_SERVERS, .verdict = BENCH_AT_MOST_MORE, .server_budget = 1,
	 .unit = "turns", .open = open_counted, .floor = floor_turns, .ours = ours_turns, .close = close_commits},
	{.name = "change one object and commit", .floor_name = BARE, .unit = "commit", .open = open_timed, .floor = floor_time, .ours = ours_time,
	 .close = close_commits},
	{0},
};
