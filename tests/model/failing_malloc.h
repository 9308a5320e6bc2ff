/* SPDX-License-Identifier: MIT */
/* Makes one allocation fail on purpose. The executable is linked with --wrap for malloc, calloc and realloc. */
#ifndef TESTS_MODEL_FAILING_MALLOC_H
#define TESTS_MODEL_FAILING_MALLOC_H

#include <stdbool.h>

void failing_malloc_arm(unsigned after); /* the allocation after so many more fails, and those that follow, too */
bool failing_malloc_disarm(void);        /* whether one failed */

#endif
