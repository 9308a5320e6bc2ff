/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <time.h>

int64_t orm_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail: the clock exists and `now` is ours */
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t orm_deadline_in_ms(int64_t timeout_ms)
{
	const int64_t now = orm_clock_us();

	if (timeout_ms < 0 || timeout_ms > (ORM_NO_DEADLINE - now) / 1000)
		return ORM_NO_DEADLINE;
	return now + timeout_ms * 1000;
}

int64_t orm_deadline_left_ms(int64_t deadline_us)
{
	if (deadline_us == ORM_NO_DEADLINE)
		return INT64_MAX;

	const int64_t now = orm_clock_us();

	if (deadline_us <= now)
		return 0;

	const int64_t left = deadline_us - now;

	return left / 1000 + (left % 1000 != 0);
}
