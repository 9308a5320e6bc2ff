/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/decimal.h"

static void numbers_have_one_text(void **state)
{
	static const struct {
		const char *text;
		unsigned precision, scale;
		const char *canonical; /* NULL: the fault says why there is none */
		orm_decimal_fault fault;
	} cases[] = {
		{"12.5", 18, 2, "12.50", 0},
		{"-12.5", 18, 2, "-12.50", 0},
		{"+7", 18, 0, "7", 0},
		{"007.10", 3, 2, "7.10", 0},
		{".5", 2, 2, "0.50", 0},
		{"-.5", 2, 2, "-0.50", 0},
		{"0", 1, 0, "0", 0},
		{"-0.000", 3, 2, "0.00", 0},
		{"1.500", 2, 1, "1.5", 0}, /* zeros at the end say nothing */
		{"99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999", 0},
		{"-.99999999999999999999999999999999999999", 38, 38, "-0.99999999999999999999999999999999999999", 0},
		{"1.234", 18, 2, NULL, ORM_DECIMAL_TOO_FINE},
		{"100", 4, 2, NULL, ORM_DECIMAL_TOO_LARGE},
		{"1", 2, 2, NULL, ORM_DECIMAL_TOO_LARGE},
		{"", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"-", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{".", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"1.", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"1e3", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"1,5", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{" 1", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"1 ", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"--1", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"1.2.3", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"NaN", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
		{"0x10", 18, 2, NULL, ORM_DECIMAL_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[ORM_DECIMAL_SIZE] = "untouched";
		size_t size = 99;
		const orm_decimal_fault fault = orm_decimal_canonical(cases[i].text, strlen(cases[i].text),
								      cases[i].precision, cases[i].scale, text, &size);

		if (fault != cases[i].fault || strcmp(text, cases[i].canonical ? cases[i].canonical : "untouched") != 0)
			fail_msg("'%s' gave %d, '%s'", cases[i].text, (int)fault, text);
		assert_int_equal(size, cases[i].canonical ? strlen(text) : 99);
	}
}

static void numbers_are_compared_exactly(void **state)
{
	/* Ascending; equal ones are on one line. */
	static const char *const ordered[][2] = {
		{"-100000000000000000000000000000000000001", "-100000000000000000000000000000000000001.0"},
		{"-100000000000000000000000000000000000000", "-0100000000000000000000000000000000000000"},
		{"-10.5", "-10.50"},
		{"-10", "-10.0"},
		{"-9.99", "-009.990"},
		{"-0.01", "-.01"},
		{"0", "-0.0"},
		{"0.1", "+.10"},
		{"0.10000000000000000001", "0.100000000000000000010"},
		{"9", "9.00"},
		{"10", "+10"},
		{"10.5", "010.5"},
	};
	const size_t n = sizeof ordered / sizeof ordered[0];
	int order = 7;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			assert_int_equal(orm_decimal_compare(ordered[i][0], ordered[j][1], &order), ORM_OK);
			if (order != (i > j) - (i < j))
				fail_msg("%s and %s: %d", ordered[i][0], ordered[j][1], order);
		}
	}
	assert_int_equal(orm_decimal_compare("1", "x", &order), ORM_EINVAL);
	assert_int_equal(orm_decimal_compare("", "1", &order), ORM_EINVAL);
	assert_int_equal(orm_decimal_compare(NULL, "1", &order), ORM_EINVAL);
}

static void integers_there_and_back(void **state)
{
	static const struct {
		int64_t value;
		unsigned scale;
		const char *text;
	} cases[] = {
		{1250, 2, "12.50"},
		{-5, 2, "-0.05"},
		{0, 2, "0.00"},
		{0, 0, "0"},
		{7, 0, "7"},
		{INT64_MAX, 4, "922337203685477.5807"},
		{INT64_MIN, 0, "-9223372036854775808"},
		{INT64_MIN, 19, "-0.9223372036854775808"},
		{1, 38, "0.00000000000000000000000000000000000001"},
	};
	char text[ORM_DECIMAL_SIZE];
	int64_t value = 1;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(orm_decimal_from_int64(cases[i].value, cases[i].scale, text), ORM_OK);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(orm_decimal_to_int64(text, cases[i].scale, &value), ORM_OK);
		assert_true(value == cases[i].value);
	}
	assert_int_equal(orm_decimal_from_int64(1, 39, text), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64("12.5", 2, &value), ORM_OK);
	assert_int_equal(value, 1250);
	assert_int_equal(orm_decimal_to_int64("12.505", 2, &value), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64("9223372036854775808", 0, &value), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64("-9223372036854775809", 0, &value), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64("99999999999999999999", 0, &value), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64("x", 0, &value), ORM_EINVAL);
	assert_int_equal(orm_decimal_to_int64(NULL, 0, &value), ORM_EINVAL);
	assert_int_equal(value, 1250);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_one_text),
		cmocka_unit_test(numbers_are_compared_exactly),
		cmocka_unit_test(integers_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
