/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/units.h"

typedef bool parse_function(const char *text, int64_t *number);

typedef struct good {
	const char *text;
	int64_t number;
} good;

static void assert_parsed(parse_function *parse, const good *cases)
{
	for (; cases->text; cases++) {
		int64_t number = -1;

		if (!parse(cases->text, &number))
			fail_msg("'%s' is refused", cases->text);
		assert_true(number == cases->number);
	}
}

static void assert_refused(parse_function *parse, const char *const *texts)
{
	for (; *texts; texts++) {
		int64_t number = -1;

		if (parse(*texts, &number))
			fail_msg("'%s' is taken for %lld", *texts, (long long)number);
		assert_true(number == -1);
	}
}

static void durations_have_units(void **state)
{
	static const good cases[] = {{"0", 0},       {"0s", 0},       {"1ms", 1},     {"500ms", 500}, {"30s", 30000},
				     {"5m", 300000}, {"2h", 7200000}, {"007s", 7000}, {NULL, 0}};
	static const char *const wrong[] = {"",
					    "s",
					    "5",
					    "-1s",
					    "+1s",
					    " 1s",
					    "1 s",
					    "1s ",
					    "1.5s",
					    "1min",
					    "1S",
					    "1d",
					    "0x1s",
					    "99999999999999999999s",
					    "9223372036854775807h",
					    NULL};

	(void)state;
	assert_parsed(ormd_parse_duration, cases);
	assert_refused(ormd_parse_duration, wrong);
}

static void sizes_may_have_units(void **state)
{
	static const good cases[] = {{"0", 0},         {"4096", 4096},      {"12B", 12},
				     {"64KiB", 65536}, {"16MiB", 16777216}, {"3GiB", INT64_C(3221225472)},
				     {NULL, 0}};
	static const char *const wrong[] = {
		"",  "KiB", "1K", "1kb", "1KB", "1 KiB", "-1", "1.5MiB", "9223372036854775808", "9007199254740992GiB",
		NULL};

	(void)state;
	assert_parsed(ormd_parse_size, cases);
	assert_refused(ormd_parse_size, wrong);
}

static void numbers_are_digits(void **state)
{
	static const good cases[] = {{"0", 0}, {"42", 42}, {"9223372036854775807", INT64_MAX}, {NULL, 0}};
	static const char *const wrong[] = {"", "-1", "1 ", " 1", "0x10", "1e3", "9223372036854775808", NULL};

	(void)state;
	assert_parsed(ormd_parse_number, cases);
	assert_refused(ormd_parse_number, wrong);
}

static void modes_are_octal(void **state)
{
	static const good cases[] = {{"0600", 0600}, {"660", 0660}, {"0", 0}, {NULL, 0}};
	static const char *const wrong[] = {"", "0800", "rw", "0o600", "-600", NULL};

	(void)state;
	assert_parsed(ormd_parse_octal, cases);
	assert_refused(ormd_parse_octal, wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(sizes_may_have_units),
		cmocka_unit_test(numbers_are_digits),
		cmocka_unit_test(modes_are_octal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
