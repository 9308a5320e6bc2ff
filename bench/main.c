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

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* One pair not counted, to warm caches; then the pairs, in turn, the order changing from pair to pair. */
static int measure(const bench_row *row, const bench_options *options, pair_figures *figures)
{
	void *state = NULL;
	int   failed = row->open && row->open(options, &state) != 0;
	figures->n = 0;
	for (size_t i = 0; !failed && i <= options->n_pairs; i++) {
		double floor = 0, ours;
		if (i % 2 == 0) {
			floor = row->floor(options, state);
			ours = row->ours(options, state);
		} else {
			ours = row->ours(options, state);
			floor = row->floor(options, state);
		}
		failed = floor <= 0 || ours <= 0;
		if (i == 0 || failed)
			continue;
		figures->floor[figures->n] = floor;
		figures->ours[figures->n] = ours;
		figures->ratio[figures->n++] = row->at_least ? floor / ours : ours / floor;
	}
	if (row->close)
		row->close(state);
	return failed;
}

static void print_time(double seconds)
{
	if (seconds >= 1)
		printf("%8.2f s ", seconds);
	else if (seconds >= 1e-3)
		printf("%8.2f ms", seconds * 1e3);
	else if (seconds >= 1e-6)
		printf("%8.2f us", seconds * 1e6);
	else
		printf("%8.1f ns", seconds * 1e9);
}

/* Bytes are measured like seconds; only the print differs. */
static void print_figure(const bench_row *row, double figure)
{
	if (strcmp(row->unit, "object") == 0)
		printf("%8.1f B ", figure);
	else
		print_time(figure);
}

static json_t *report(const bench_row *row, pair_figures *figures)
{
	double ratio = median(figures->ratio, figures->n);
	double floor = median(figures->floor, figures->n), ours = median(figures->ours, figures->n);
	double lowest = figures->ratio[0], highest = figures->ratio[figures->n - 1];
	int    met = row->at_least ? ratio >= row->budget : ratio <= row->budget;
	printf("%-44s ", row->name);
	print_figure(row, ours);
	printf(" ");
	print_figure(row, floor);
	printf(" /%-7s %7.3f x [%.3f .. %.3f]  %s %.2f  %s\n", row->unit, ratio, lowest, highest, row->at_least ? "at least" : "at most", row->budget,
	       met ? "met" : "NOT MET");
	printf("    floor: %s\n", row->floor_name);
	fflush(stdout);
	return json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:i}", "name", row->name, "floor", row->floor_name, "unit", row->unit,
	                 "ours_median", ours, "floor_median", floor, "ratio_median", ratio, "ratio_min", lowest, "ratio_max", highest, "budget",
	                 row->budget, "at_least", row->at_least, "met", met, "pairs", (int)figures->n);
}

static int run_rows(const bench_row *rows, const bench_options *options, json_t *results)
{
	int failed = 0;
	for (const bench_row *row = rows; row->name; row++) {
		pair_figures figures;
		if (options->only && !strstr(row->name, options->only))
			continue;
		if (measure(row, options, &figures) != 0) {
			printf("%-44s FAILED\n", row->name);
			failed = 1;
		} else {
			json_array_append_new(results, report(row, &figures));
		}
	}
	return failed;
}

/* ---- main ---- */

typedef struct bench_arguments {
	bench_options options;
	const char   *json;
} bench_arguments;

static const struct argp_option argp_options[] = {
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

static error_t parse(int key, char *argument, struct argp_state *state)
{
	bench_arguments *arguments = state->input;
	switch (key) {
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

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--serve-ping") == 0)
		return bench_ping_serve(argv[2], strtoul(argv[3], NULL, 10));
	bench_arguments   arguments = {.options = {.n_pairs = 9, .n_rows = 100000}};
	const struct argp argp = {argp_options, parse, NULL,
	                          "Print each row of ormd's speed budget beside its bare floor, as the median of the ratios of interleaved pairs.", NULL, NULL, NULL};
	if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0)
		return 64;
	char directory[] = "/tmp/ormd-bench.XXXXXX";
	if (!mkdtemp(directory)) {
		fprintf(stderr, "bench: %s: %s\n", directory, strerror(errno));
		return 1;
	}
	arguments.options.directory = directory;
	setenv("XDG_RUNTIME_DIR", directory, 1); /* the servers' sockets go there, and with it */
	printf("%-44s %11s %11s          %s\n", "work", "ours", "floor", "ratio: median [lowest .. highest], budget");
	json_t *results = json_array();
	int     failed = run_rows(bench_rows_call, &arguments.options, results);
	failed |= run_rows(bench_rows_bulk, &arguments.options, results);
	failed |= run_rows(bench_rows_commit, &arguments.options, results);
	failed |= run_rows(bench_rows_memory, &arguments.options, results);
	if (arguments.json && json_dump_file(results, arguments.json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0) {
		fprintf(stderr, "bench: %s cannot be written\n", arguments.json);
		failed = 1;
	}
	json_decref(results);
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return failed;
}
