/* SPDX-License-Identifier: MIT */
#include "support/eventually.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool support_eventually(support_condition *condition, void *context, int timeout_ms)
{
	const int64_t deadline = support_now_ms() + timeout_ms;
	int pause_ms = 1;

	while (!condition(context)) {
		const int left = support_left_ms(deadline);

		if (left == 0)
			return condition(context);
		poll(NULL, 0, pause_ms < left ? pause_ms : left);
		if (pause_ms < 16)
			pause_ms *= 2;
	}
	return true;
}

int64_t support_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int support_left_ms(int64_t deadline_ms)
{
	const int64_t left = deadline_ms - support_now_ms();

	return left > 0 ? (int)left : 0;
}

void support_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("test support: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(EXIT_FAILURE);
}
