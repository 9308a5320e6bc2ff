/* SPDX-License-Identifier: MIT */
/* Deadlines and durations. Deadlines are absolute, on CLOCK_BOOTTIME, so that a suspended machine counts. */
#ifndef ORM_BASE_CLOCK_H
#define ORM_BASE_CLOCK_H

#include <stdint.h>

#define ORM_NO_DEADLINE INT64_MAX

int64_t orm_clock_us(void);                       /* microseconds since boot */
int64_t orm_deadline_in_ms(int64_t timeout_ms);   /* now + timeout; negative: ORM_NO_DEADLINE */
int64_t orm_deadline_left_ms(int64_t deadline_us); /* rounded up; 0 when past; INT64_MAX for none */

#endif
