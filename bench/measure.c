/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <time.h>

double bench_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void bench_path(const bench_options *options, const char *name, char *path, size_t size)
{
	static unsigned counter;
	snprintf(path, size, "%s/%s-%u.db", options->directory, name, counter++);
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
