/* SPDX-License-Identifier: MIT */
/*
 * Named places where a test makes the server die as if by kill -9: ORMD_CRASH_POINT="after-commit:3" in the environment ends the
 * process, without cleaning up, the third time it passes there. Costs one test of a flag otherwise.
 */
#ifndef ORM_BASE_CRASH_POINT_H
#define ORM_BASE_CRASH_POINT_H

#include <stdbool.h>

extern bool orm_crash_points_armed; /* set by orm_crash_points_init */

void orm_crash_points_init(void);        /* reads the environment; once, at start */
void orm_crash_point_hit(const char *name);

static inline void orm_crash_point(const char *name)
{
	if (orm_crash_points_armed)
		orm_crash_point_hit(name);
}

#endif
