/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double bench_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double bench_median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double bench_failed(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	return -1;
}

double bench_failed_session(const char *what, const orm_session *session)
{
	return bench_failed(what, orm_session_error(session)->message);
}

void bench_print_time(double seconds)
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
