/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "base/clock.h"

static void clock_never_goes_back(void **state)
{
	int64_t before = orm_clock_us();

	(void)state;
	assert_true(before > 0);
	for (int i = 0; i < 10000; i++) {
		const int64_t now = orm_clock_us();

		assert_true(now >= before);
		before = now;
	}
}

static void clock_is_boottime_in_microseconds(void **state)
{
	struct timespec before;
	struct timespec after;

	(void)state;
	clock_gettime(CLOCK_BOOTTIME, &before);

	const int64_t now = orm_clock_us();

	clock_gettime(CLOCK_BOOTTIME, &after);
	assert_true(now >= (int64_t)before.tv_sec * 1000000 + before.tv_nsec / 1000);
	assert_true(now <= (int64_t)after.tv_sec * 1000000 + after.tv_nsec / 1000);
}

static void deadline_lies_ahead(void **state)
{
	const int64_t before = orm_clock_us();
	const int64_t deadline = orm_deadline_in_ms(3600000);
	const int64_t after = orm_clock_us();

	(void)state;
	assert_true(deadline >= before + INT64_C(3600000000));
	assert_true(deadline <= after + INT64_C(3600000000));

	const int64_t left = orm_deadline_left_ms(deadline);

	assert_true(left <= 3600000);
	assert_true(left > 3000000); /* ten minutes of patience with this machine */
	assert_true(orm_deadline_in_ms(0) >= after);
	assert_true(orm_deadline_in_ms(0) != ORM_NO_DEADLINE);
}

static void no_deadline_never_comes(void **state)
{
	(void)state;
	assert_true(orm_deadline_in_ms(-1) == ORM_NO_DEADLINE);
	assert_true(orm_deadline_in_ms(INT64_MIN) == ORM_NO_DEADLINE);
	assert_true(orm_deadline_in_ms(INT64_MAX) == ORM_NO_DEADLINE);
	assert_true(orm_deadline_in_ms(INT64_MAX / 1000) == ORM_NO_DEADLINE); /* now + that overflows */
	assert_true(orm_deadline_left_ms(ORM_NO_DEADLINE) == INT64_MAX);
}

static void past_deadline_leaves_nothing(void **state)
{
	(void)state;
	assert_true(orm_deadline_left_ms(orm_clock_us()) == 0);
	assert_true(orm_deadline_left_ms(0) == 0);
	assert_true(orm_deadline_left_ms(INT64_MIN) == 0);
}

static void left_is_rounded_up(void **state)
{
	/* So far ahead that the microseconds since then do not matter: an odd number of them. */
	const int64_t now = orm_clock_us();
	const int64_t deadline = now + INT64_C(1000000000001);
	const int64_t left = orm_deadline_left_ms(deadline);
	const int64_t after = orm_clock_us();

	(void)state;
	assert_true(left * 1000 >= deadline - after);
	assert_true((left - 1) * 1000 < deadline - now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_never_goes_back),        cmocka_unit_test(clock_is_boottime_in_microseconds),
		cmocka_unit_test(deadline_lies_ahead),          cmocka_unit_test(no_deadline_never_comes),
		cmocka_unit_test(past_deadline_leaves_nothing), cmocka_unit_test(left_is_rounded_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
