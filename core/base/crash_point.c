/* SPDX-License-Identifier: MIT */
#include "base/crash_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool orm_crash_points_armed;

static char name_armed[64];
static atomic_long passes_left;

void orm_crash_points_init(void)
{
	const char *wish = getenv("ORMD_CRASH_POINT");

	orm_crash_points_armed = false;
	if (!wish || !*wish)
		return;

	const char *colon = strchr(wish, ':');
	const size_t len = colon ? (size_t)(colon - wish) : strlen(wish);
	char *end = NULL;
	const long passes = colon ? strtol(colon + 1, &end, 10) : 1;

	/* Loud, because a test that armed nothing would wait for a crash that never comes. */
	if (len == 0 || len >= sizeof name_armed || passes < 1 || (end && *end)) {
		fprintf(stderr, "ORMD_CRASH_POINT=%s is not <name> or <name>:<n>; no crash point is armed\n", wish);
		return;
	}
	memcpy(name_armed, wish, len);
	name_armed[len] = '\0';
	atomic_store(&passes_left, passes);
	orm_crash_points_armed = true;
}

void orm_crash_point_hit(const char *name)
{
	if (strcmp(name, name_armed) == 0 && atomic_fetch_sub(&passes_left, 1) == 1)
		kill(getpid(), SIGKILL); /* no exit handler, no flush: what a power cut leaves */
}
