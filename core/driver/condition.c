/* SPDX-License-Identifier: MIT */
#include "driver/condition.h"

#include <time.h>

#include "base/clock.h"

bool ormd_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	if (pthread_condattr_init(&attributes) != 0)
		return false;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);

	const bool done = pthread_cond_init(condition, &attributes) == 0;

	pthread_condattr_destroy(&attributes);
	return done;
}

bool ormd_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_us)
{
	struct timespec until;

	if (deadline_us == ORM_NO_DEADLINE) {
		pthread_cond_wait(condition, lock);
		return true;
	}

	/* Conditions know no CLOCK_BOOTTIME; the difference is only felt when the machine is suspended during the wait.
	 */
	const int64_t left_us = deadline_us - orm_clock_us();

	if (left_us <= 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(left_us / 1000000);
	until.tv_nsec += (long)(left_us % 1000000) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(condition, lock, &until);
	return true; /* the caller asks again, and then the time is up */
}
