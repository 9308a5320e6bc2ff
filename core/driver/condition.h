/* SPDX-License-Identifier: MIT */
/* Conditions with deadlines of base/clock.h. */
#ifndef ORMD_DRIVER_CONDITION_H
#define ORMD_DRIVER_CONDITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* False: the system has no room for one. */
bool ormd_condition_init(pthread_cond_t *condition);

/* Wait until signalled or the deadline (of orm_clock_us) has passed; false: passed. With the lock held. */
bool ormd_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_us);

#endif
