/* SPDX-License-Identifier: MIT */
#include "model/failing_malloc.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *piece, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *piece, size_t size);

static bool armed;
static unsigned left;
static bool failed;

static bool fails(void)
{
	if (!armed)
		return false;
	if (left > 0) {
		left--;
		return false;
	}
	failed = true;
	return true;
}

void failing_malloc_arm(unsigned after)
{
	armed = true;
	left = after;
	failed = false;
}

bool failing_malloc_disarm(void)
{
	armed = false;
	return failed;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *piece, size_t size)
{
	return fails() ? NULL : __real_realloc(piece, size);
}
