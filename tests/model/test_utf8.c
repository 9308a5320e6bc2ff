/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/utf8.h"
#include "model/value.h"

/* Exactly as long as it is, so that a sanitizer sees a byte read too many. */
static bool valid(const char *text, size_t size)
{
	char *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy, text, size);
	copy = realloc(copy, size ? size : 1);
	assert_non_null(copy);

	const bool result = orm_utf8_valid(copy, size);

	free(copy);
	return result;
}

static const struct {
	const char *text;
	size_t size;
	bool valid;
	size_t length;
} cases[] = {
	{"", 0, true, 0},
	{"a", 1, true, 1},
	{"0123456789abcdef", 16, true, 16},
	{"\x7f", 1, true, 1},
	{"\0", 1, false, 0},
	{"abc\0def", 7, false, 0},
	{"0123456\0" /* the last of eight */, 8, false, 0},
	/* two bytes: U+0080 to U+07FF */
	{"\xC2\x80", 2, true, 1},
	{"\xDF\xBF", 2, true, 1},
	{"\xC3", 1, false, 0},
	{"\xC3(", 2, false, 0},
	{"\xC0\x80", 2, false, 0}, /* overlong NUL */
	{"\xC1\xBF", 2, false, 0}, /* overlong */
	/* three bytes: U+0800 to U+FFFF without the surrogates */
	{"\xE0\xA0\x80", 3, true, 1},
	{"\xEF\xBF\xBF", 3, true, 1},
	{"\xED\x9F\xBF", 3, true, 1},
	{"\xEE\x80\x80", 3, true, 1},
	{"\xE0\x9F\xBF", 3, false, 0}, /* overlong */
	{"\xED\xA0\x80", 3, false, 0}, /* U+D800 */
	{"\xED\xBF\xBF", 3, false, 0}, /* U+DFFF */
	{"\xE2\x82", 2, false, 0},
	{"\xE2", 1, false, 0},
	{"\xE2\x82(", 3, false, 0},
	{"\xE2(\xAC", 3, false, 0},
	/* four bytes: U+10000 to U+10FFFF */
	{"\xF0\x90\x80\x80", 4, true, 1},
	{"\xF4\x8F\xBF\xBF", 4, true, 1},
	{"\xF0\x8F\xBF\xBF", 4, false, 0}, /* overlong */
	{"\xF4\x90\x80\x80", 4, false, 0}, /* U+110000 */
	{"\xF5\x80\x80\x80", 4, false, 0},
	{"\xF0\x9F\x98", 3, false, 0},
	{"\xF0\x9F\x98(", 4, false, 0},
	{"\xF8\x88\x80\x80\x80", 5, false, 0},
	{"\xFF", 1, false, 0},
	{"\x80", 1, false, 0},
	{"abc\xBF", 4, false, 0},
};

static void sequences(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (valid(cases[i].text, cases[i].size) != cases[i].valid)
			fail_msg("case %zu", i);
		if (cases[i].valid)
			assert_int_equal(orm_utf8_length(cases[i].text, cases[i].size), cases[i].length);
	}
}

/* Each case at each place of a longer text, so that it meets every boundary of the eight-byte steps. */
static void sequences_at_every_offset(void **state)
{
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t offset = 0; offset < 20; offset++) {
			for (size_t after = 0; after < 20; after++) {
				memset(text, 'x', sizeof text);
				memcpy(text + offset, cases[i].text, cases[i].size);
				if (valid(text, offset + cases[i].size + after) != cases[i].valid)
					fail_msg("case %zu, %zu before and %zu after", i, offset, after);
			}
		}
	}
}

static void a_run_is_checked_and_its_nuls_are_counted(void **state)
{
	/* More than two steps of eight, NULs at both ends and next to long characters. */
	static const char run[] = "\0abc\0\0\xC3\xA9\0defghijklmnop\0\xF0\x9F\x98\x80\0";
	size_t n = 99;

	(void)state;
	assert_true(orm_utf8_check_run(run, sizeof run, &n));
	assert_int_equal(n, 7);
	assert_true(orm_utf8_check_run(run, 0, &n));
	assert_int_equal(n, 0);

	char nuls[33] = {0};

	for (size_t size = 0; size <= sizeof nuls; size++) {
		assert_true(orm_utf8_check_run(nuls, size, &n));
		assert_int_equal(n, size);
	}
	/* A NUL ends a character that lacks bytes. */
	assert_false(orm_utf8_check_run("ab\xE2\x82\0\xAC", 6, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences),
		cmocka_unit_test(sequences_at_every_offset),
		cmocka_unit_test(a_run_is_checked_and_its_nuls_are_counted),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
