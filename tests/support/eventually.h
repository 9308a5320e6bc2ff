/* SPDX-License-Identifier: MIT */
/*
 * Deadlines for tests. A test waits for a condition, never for a time; how long it may take at most is
 * generous, because that is only spent when the test fails anyway.
 */
#ifndef SUPPORT_EVENTUALLY_H
#define SUPPORT_EVENTUALLY_H

#include <stdbool.h>
#include <stdint.h>

/* Long enough for a loaded machine under valgrind, in milliseconds. */
#define SUPPORT_PATIENCE_MS 30000

/* Has it happened yet? */
typedef bool support_condition(void *context);

/* Asks again and again, every few milliseconds, until `condition` holds; false when the time is up. */
bool support_eventually(support_condition *condition, void *context, int timeout_ms);

int64_t support_now_ms(void); /* CLOCK_MONOTONIC */

/* What is left until `deadline_ms` of support_now_ms, for poll(): 0 when past. */
int support_left_ms(int64_t deadline_ms);

/* Print to stderr and exit(1), cleaning up: for what is not the subject of a test, such as a full disk. */
_Noreturn void support_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
