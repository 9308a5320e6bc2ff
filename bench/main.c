/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <argp.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_PAIRS 101

typedef struct pair_figures {
	double floor[MAX_PAIRS], ours[MAX_PAIRS], ratio[MAX_PAIRS];
	size_t n;
} pair_figures;

static volatile sig_atomic_t ended_by; /* this signal */

static const bench_engine *const engines[] = {&bench_sqlite, &bench_postgresql, &bench_mariadb};

static double budget_of(const bench_case *run, const bench_row *row)
{
	return run->engine->is_server ? row->server_budget : row->budget;
}

static double compare(const bench_row *row, double floor, double ours)
{
	switch (row->verdict) {
	case BENCH_AT_LEAST: return floor / ours;
	case BENCH_AT_MOST_MORE: return ours - floor;
	default: return ours / floor;
	}
}

/* One pair not counted, to warm caches; then the pairs, in turn, the order changing from pair to pair. */
static int measure(const bench_row *row, bench_case *run, pair_figures *figures)
{
	int failed = row->open && row->open(run) != 0;
	figures->n = 0;
	for (size_t i = 0; !failed && !ended_by && i <= run->options->n_pairs; i++) {
		double floor = 0, ours;
		if (i % 2 == 0) {
			floor = row->floor(run);
			ours = floor > 0 ? row->ours(run) : -1;
		} else {
			ours = row->ours(run);
			floor = ours > 0 ? row->floor(run) : -1;
		}
		failed = floor <= 0 || ours <= 0;
		if (i == 0 || failed)
			continue;
		figures->floor[figures->n] = floor;
		figures->ours[figures->n] = ours;
		figures->ratio[figures->n++] = compare(row, floor, ours);
	}
	return failed || ended_by;
}

/* Bytes and turns are measured like seconds; only the print differs. */
static void print_figure(const bench_row *row, double figure)
{
	if (strcmp(row->unit, "object") == 0)
		printf("%8.1f B ", figure);
	else if (strcmp(row->unit, "turns") == 0)
		printf("%8.2f   ", figure);
	else
		bench_print_time(figure);
}

static void name_row(const bench_row *row, const bench_engine *engine, char name[120])
{
	snprintf(name, 120, row->where == BENCH_ONCE ? "%s" : "%s, %s", row->name, engine->name);
}

static json_t *report(const bench_row *row, const bench_case *run, const char *name, pair_figures *figures)
{
	static const char *const limits[] = {[BENCH_AT_MOST] = "at most", [BENCH_AT_LEAST] = "at least", [BENCH_AT_MOST_MORE] = "at most +"};
	double ratio = bench_median(figures->ratio, figures->n), budget = budget_of(run, row);
	double floor = bench_median(figures->floor, figures->n), ours = bench_median(figures->ours, figures->n);
	double lowest = figures->ratio[0], highest = figures->ratio[figures->n - 1];
	int    met = row->verdict == BENCH_AT_LEAST ? ratio >= budget : ratio <= budget;
	printf("%-54s ", name);
	print_figure(row, ours);
	printf(" ");
	print_figure(row, floor);
	printf(" /%-7s %7.3f %c [%.3f .. %.3f]", row->unit, ratio, row->verdict == BENCH_AT_MOST_MORE ? '+' : 'x', lowest, highest);
	if (budget > 0)
		printf("  %s %.2f  %s\n", limits[row->verdict], budget, met ? "met" : "NOT MET");
	else
		printf("  no budget\n");
	printf("    floor: %s\n", run->floor_name);
	fflush(stdout);
	json_t *figure = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:i}", "name", name, "engine", run->engine->option, "floor",
	                           run->floor_name, "unit", row->unit, "ours_median", ours, "floor_median", floor, "ratio_median", ratio, "ratio_min",
	                           lowest, "ratio_max", highest, "at_least", row->verdict == BENCH_AT_LEAST, "difference",
	                           row->verdict == BENCH_AT_MOST_MORE, "pairs", (int)figures->n);
	if (budget > 0) {
		json_object_set_new(figure, "budget", json_real(budget));
		json_object_set_new(figure, "met", json_boolean(met));
	}
	return figure;
}

static int run_rows(const bench_row *rows, const bench_engine *engine, const bench_options *options, json_t *results)
{
	int failed = 0;
	for (const bench_row *row = rows; row->name && !ended_by; row++) {
		pair_figures figures;
		bench_case   run = {.options = options, .engine = engine, .floor_name = row->floor_name};
		char         name[120];
		name_row(row, engine, name);
		if ((row->where == BENCH_SERVERS && !engine->is_server) || (row->where == BENCH_ONCE && engine->is_server) ||
		    (options->only && !strstr(name, options->only)))
			continue;
		if (measure(row, &run, &figures) != 0) {
			printf("%-54s FAILED\n", name);
			fflush(stdout);
			failed = 1;
		} else {
			json_array_append_new(results, report(row, &run, name, &figures));
		}
		if (row->close)
			row->close(&run);
	}
	return failed;
}

static int run_engine(const bench_engine *engine, const bench_options *options, json_t *results)
{
	if (engine->start && engine->start(options) != 0)
		return 1;
	int failed = run_rows(bench_rows_call, engine, options, results);
	failed |= run_rows(bench_rows_bulk, engine, options, results);
	failed |= run_rows(bench_rows_turns, engine, options, results);
	failed |= run_rows(bench_rows_commit, engine, options, results);
	failed |= run_rows(bench_rows_memory, engine, options, results);
	if (engine->stop)
		engine->stop();
	return failed;
}

/* ---- main ---- */

typedef struct bench_arguments {
	bench_options options;
	const char   *json;
	const char   *engine;
} bench_arguments;

static const struct argp_option argp_options[] = {
	{"engine", 'e', "ENGINE", 0, "sqlite, postgresql, mariadb, or all (default)", 0},
	{"json", 'j', "FILE", 0, "Write the figures to FILE as JSON, too", 0},
	{"pairs", 'n', "N", 0, "Repetitions of each pair of floor and ours, 1 to 101 (default 9)", 0},
	{"rows", 'r', "N", 0, "Rows of the bulk work (default 100000)", 0},
	{"only", 'o', "TEXT", 0, "Only the budget's rows whose name contains TEXT", 0},
	{0},
};

static size_t number(const char *text, size_t lowest, size_t highest, struct argp_state *state)
{
	char         *end;
	unsigned long value = strtoul(text, &end, 10);
	if (!*text || *end || value < lowest || value > highest)
		argp_error(state, "'%s' is not a number from %zu to %zu", text, lowest, highest);
	return value;
}

static bool is_chosen(const bench_engine *engine, const char *name)
{
	return strcmp(name, "all") == 0 || strcmp(name, engine->option) == 0;
}

static bool is_engine(const char *name)
{
	for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
		if (is_chosen(engines[i], name))
			return true;
	}
	return false;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	bench_arguments *arguments = state->input;
	switch (key) {
	case 'e':
		if (!is_engine(argument))
			argp_error(state, "'%s' is not an engine: sqlite, postgresql, mariadb or all", argument);
		arguments->engine = argument;
		return 0;
	case 'j': arguments->json = argument; return 0;
	case 'n': arguments->options.n_pairs = number(argument, 1, MAX_PAIRS, state); return 0;
	case 'r': arguments->options.n_rows = number(argument, 1000, 10000000, state); return 0;
	case 'o': arguments->options.only = argument; return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat, (void)type, (void)ftw;
	return remove(path);
}

static char directory[] = "/tmp/ormd-bench.XXXXXX";

static void remove_directory(void)
{
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* What was started is ended in the orderly way, after the work that is being measured. */
static void end_soon(int number)
{
	ended_by = number;
}

static void end_on_signals(void)
{
	struct sigaction action = {.sa_handler = end_soon, .sa_flags = SA_RESTART};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--serve-ping") == 0)
		return bench_ping_serve(argv[2], strtoul(argv[3], NULL, 10));
	bench_arguments   arguments = {.options = {.n_pairs = 9, .n_rows = 100000}, .engine = "all"};
	const struct argp argp = {argp_options, parse, NULL,
	                          "Print each row of ormd's speed budget beside its bare floor, as the median of the ratios of interleaved pairs.", NULL, NULL, NULL};
	if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0)
		return 64;
	if (!mkdtemp(directory)) {
		fprintf(stderr, "bench: %s: %s\n", directory, strerror(errno));
		return 1;
	}
	atexit(remove_directory);
	end_on_signals();
	arguments.options.directory = directory;
	setenv("XDG_RUNTIME_DIR", directory, 1); /* the servers' sockets go there, and with it */
	printf("%-54s %11s %11s          %s\n", "work", "ours", "floor", "ratio: median [lowest .. highest], budget");
	json_t *results = json_array();
	int     failed = 0;
	for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
		if (is_chosen(engines[i], arguments.engine) && !ended_by)
			failed |= run_engine(engines[i], &arguments.options, results);
	}
	if (arguments.json && json_dump_file(results, arguments.json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0) {
		fprintf(stderr, "bench: %s cannot be written\n", arguments.json);
		failed = 1;
	}
	json_decref(results);
	return ended_by ? 128 + ended_by : failed;
}
