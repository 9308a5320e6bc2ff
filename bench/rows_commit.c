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
typedef void race_work(const bench_engine *engine, const char *where, double until, uint64_t *commits);

static void commit_bare(const bench_engine *engine, const char *url, double until, uint64_t *commits)
{
	bench_floor *floor = engine->open(url, 0);
	while (floor && bench_now() < until && engine->add_one(floor, (size_t)*commits) == 0)
		++*commits;
	engine->close(floor);
}

static void commit_ours(const bench_engine *engine, const char *address, double until, uint64_t *commits)
{
	orm_db      *db = orm_connect(address, bench_models);
	orm_session *session = orm_session_open(db);
	(void)engine;
	while (bench_now() < until) {
		bench_add(session, (size_t)*commits);
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
static double race(const bench_case *run, race_work *work, const char *where, double *least)
{
	int      pipes[2];
	pid_t    processes[N_PROCESSES];
	uint64_t total = 0, lowest = UINT64_MAX;
	if (pipe(pipes) != 0)
		return -1;
	double until = bench_now() + 0.3 + SECONDS; /* the start takes some of it */
	for (int i = 0; i < N_PROCESSES; i++) {
		if ((processes[i] = fork()) == 0) {
			uint64_t commits = 0;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(run->engine, where, until, &commits);
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
	for (int i = 0; i < N_PROCESSES; i++)
		waitpid(processes[i], NULL, 0); /* only those: database servers are children, too */
	if (n != N_PROCESSES || total == 0)
		return bench_failed("commits from 16 processes", "a process failed");
	*least = (double)lowest * N_PROCESSES / (double)total;
	return (SECONDS + 0.3) / (double)total;
}

static void tell(const char *who, double seconds, double least)
{
	fprintf(stderr, "    %s %.0f commits a second, the least fortunate process got %.0f %% of its share\n", who, 1 / seconds, least * 100);
}

static double floor_commit(bench_case *run)
{
	char   url[BENCH_URL_SIZE];
	double least = 0;
	if (run->engine->database(run->options, "floor-commit", url) != 0)
		return -1;
	bench_floor *floor = run->engine->open(url, BENCH_TABLES);
	run->engine->close(floor);
	double seconds = floor ? race(run, commit_bare, url, &least) : -1;
	tell("floor:", seconds, least);
	return seconds;
}

static double ours_commit(bench_case *run)
{
	char   url[BENCH_URL_SIZE];
	double least = 0;
	if (run->engine->database(run->options, "ours-commit", url) != 0)
		return -1;
	orm_db *db = bench_connect(run->options, url);
	double  seconds = db ? race(run, commit_ours, orm_db_address(db), &least) : -1;
	bench_disconnect(db);
	tell("ours: ", seconds, least);
	return seconds;
}

const bench_row bench_rows_commit[] = {
	{.name = "durable one-row commits from 16 processes", .floor_name = "the same 16 processes on the engine themselves", .verdict = BENCH_AT_LEAST,
	 .budget = 5.0, .unit = "commit", .floor = floor_commit, .ours = ours_commit},
	{0},
};
