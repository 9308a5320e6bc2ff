/* SPDX-License-Identifier: MIT */
/* What the floors of all engines share: the structs that they read into, and the choice of the best way. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TRIALS 5 /* of each way */
#define SLOW_PART 20 /* a slow way does this part of the rows */

int bench_floor_expect(bench_floor *floor, size_t n_items, size_t n_parents)
{
	bench_floor_forget(floor);
	floor->items = calloc(n_items, sizeof *floor->items);
	floor->parents = n_parents ? calloc(n_parents, sizeof *floor->parents) : NULL;
	return floor->items && (floor->parents || n_parents == 0) ? 0 : -1;
}

void bench_floor_link(bench_floor *floor)
{
	for (size_t i = 0; i < floor->n_items; i++) {
		bench_item   *item = &floor->items[i];
		bench_parent *parent = &floor->parents[item->parent_id - 1];
		item->next = parent->items;
		parent->items = item;
	}
}

void bench_floor_forget(bench_floor *floor)
{
	for (size_t i = 0; i < floor->n_items; i++) {
		free(floor->items[i].name);
		free(floor->items[i].note);
	}
	for (size_t i = 0; i < floor->n_parents; i++)
		free(floor->parents[i].name);
	free(floor->items);
	free(floor->parents);
	floor->items = NULL;
	floor->parents = NULL;
	floor->n_items = floor->n_parents = 0;
}

char *bench_copy(const char *text, size_t size)
{
	char *copy = text ? malloc(size + 1) : NULL;
	if (!copy)
		return NULL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return copy;
}

/* Seconds a row, the median of the trials; negative: failed. */
static double try_way(bench_floor *floor, const bench_way *way, size_t n, int (*restore)(bench_floor *floor))
{
	const size_t n_trials = way->slow ? 1 : N_TRIALS;
	double       seconds[N_TRIALS];
	if (way->slow)
		n = n / SLOW_PART ? n / SLOW_PART : 1;
	for (size_t i = 0; i < n_trials; i++) {
		double start = bench_now();
		if (way->work(floor, n, 0) != 0)
			return -1;
		seconds[i] = (bench_now() - start) / (double)n;
		if (restore(floor) != 0)
			return -1;
	}
	return bench_median(seconds, n_trials);
}

const bench_way *bench_best_way(bench_floor *floor, const bench_way *ways, size_t n, int (*restore)(bench_floor *floor))
{
	const bench_way *best = NULL;
	double           lowest = 0;
	if (!ways[1].name)
		return ways;
	for (const bench_way *way = ways; way->name; way++) {
		double seconds = try_way(floor, way, n, restore);
		if (seconds < 0)
			return NULL;
		printf("    %s, bare: ", floor->engine->name);
		bench_print_time(seconds);
		printf(" /row  %s\n", way->name);
		if (!way->slow && (!best || seconds < lowest)) {
			best = way;
			lowest = seconds;
		}
	}
	fflush(stdout);
	return best;
}
