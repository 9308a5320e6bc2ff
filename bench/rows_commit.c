/* SPDX-License-Identifier: MIT */
/* Durable commits of one row from sixteen processes at once: on the file themselves, and through the server. */
#include "bench.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PROCESSES 16
#define SECONDS 1.0

/* What a process committed within the time, told to the parent. */
typedef void race_work(const char *path, double until, uint64_t *commits);

static void commit_bare(const char *path, double until, uint64_t *commits)
{
	bench_sqlite *sqlite = bench_sqlite_open(path, false);
	while (sqlite && bench_now() < until && bench_sqlite_commit_one(sqlite, (int64_t)*commits) == 0)
		++*commits;
	bench_sqlite_close(sqlite);
}

static void commit_ours(const char *path, double until, uint64_t *commits)
{
	char url[300];
	snprintf(url, sizeof url, "sqlite:///%s", path);
	orm_db      *db = orm_connect(url, bench_models);
	orm_session *session = orm_session_open(db);
	while (bench_now() < until) {
		size_t i = (size_t)*commits;
		orm_add(session, Item, .quantity = (int64_t)i, .name = bench_name(i), .price = (double)i * 0.25, .note = bench_note(i));
		if (orm_commit(session) < 0) {
			bench_failed_session("commit", session);
			break;
		}
		++*commits;
	}
	orm_session_close(session);
	orm_disconnect(db);
}

/* Sixteen processes for a second each; seconds per commit over all of them, and the share of the one that got least. */
static double race(race_work *work, const char *path, double *least)
{
	int      pipes[2];
	uint64_t total = 0, lowest = UINT64_MAX;
	if (pipe(pipes) != 0)
		return -1;
	double until = bench_now() + 0.3 + SECONDS; /* the start takes some of it */
	for (int i = 0; i < N_PROCESSES; i++) {
		if (fork() == 0) {
			uint64_t commits = 0;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(path, until, &commits);
			_exit(write(pipes[1], &commits, sizeof commits) != sizeof commits);
		}
	}
	close(pipes[1]);
	uint64_t commits;
	int      n = 0;
	while (read(pipes[0], &commits, sizeof commits) == sizeof commits) {
		total += commits;
		lowest = commits < lowest ? commits : lowest;
		n++;
	}
	close(pipes[0]);
	while (wait(NULL) > 0)
		;
	if (n != N_PROCESSES || total == 0)
		return bench_failed("commits from 16 processes", "a process failed");
	*least = (double)lowest * N_PROCESSES / (double)total;
	return (SECONDS + 0.3) / (double)total;
}

static double floor_commit(const bench_options *options, void *state)
{
	char   path[256];
	double least = 0;
	(void)state;
	bench_path(options, "floor-commit", path, sizeof path);
	bench_sqlite_close(bench_sqlite_open(path, true));
	double seconds = race(commit_bare, path, &least);
	fprintf(stderr, "    floor: %.0f commits a second, the least fortunate process got %.0f %% of its share\n", 1 / seconds, least * 100);
	return seconds;
}

static double ours_commit(const bench_options *options, void *state)
{
	char   path[256], url[300];
	double least = 0;
	(void)state;
	bench_path(options, "ours-commit", path, sizeof path);
	snprintf(url, sizeof url, "sqlite:///%s", path);
	orm_db *db = orm_connect_with(url, bench_models, &(orm_connect_options){.idle_timeout_ms = 1000});
	orm_create_all(db);
	double seconds = race(commit_ours, path, &least);
	orm_disconnect(db);
	fprintf(stderr, "    ours:  %.0f commits a second, the least fortunate process got %.0f %% of its share\n", 1 / seconds, least * 100);
	return seconds;
}

const bench_row bench_rows_commit[] = {
	{"durable one-row commits from 16 processes", "the same 16 processes on the file themselves", 5.0, true, "commit", NULL, floor_commit,
	 ours_commit, NULL},
	{0},
};
