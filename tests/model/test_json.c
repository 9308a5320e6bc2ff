/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/value.h"

/* In memory of just its size, for the sanitizers. */
static bool is_valid(const char *text, size_t size)
{
	char *exact = malloc(size ? size : 1);
	bool valid;

	assert_non_null(exact);
	memcpy(exact, text, size);
	valid = orm_json_valid(exact, size);
	free(exact);
	return valid;
}

static void documents_are_taken(void **state)
{
	static const char *const texts[] = {
		"null",
		"true",
		" false\t\r\n",
		"0",
		"-0",
		"-12.50e+10",
		"1E-9",
		"0.5",
		"\"\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\"",
		"\"gr\xc3\xbc\xc3\x9f\x7f\"",
		"[]",
		"{}",
		"[ ]",
		"{ }",
		"[1,[2,[3]],{}]",
		"{\"a\":{\"b\":[1,2]},\"c\":null , \"a\" : 1}",
		"[{},[],\"\"]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (!is_valid(texts[i], strlen(texts[i])))
			fail_msg("%s", texts[i]);
	}
}

static void what_is_not_json_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"nul",
		"nulll",
		"True",
		"01",
		"-",
		"+1",
		"1.",
		".5",
		"1e",
		"1e+",
		"0x1",
		"NaN",
		"Infinity",
		"'a'",
		"\"",
		"\"\\x\"",
		"\"\\u12g4\"",
		"\"\\u12",
		"\"a\nb\"",
		"[",
		"]",
		"[1",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[1}",
		"{",
		"}",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,}",
		"{a:1}",
		"{1:1}",
		"{\"a\" 1}",
		"{\"a\":1]",
		"1 1",
		"{} []",
		"[]]",
		"/**/1",
		"\xef\xbb\xbf[]",
		"\"\\",
		"{\"a\":1 \"b\":2}",
		"[1][",
		"tru",
		"-a",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (is_valid(texts[i], strlen(texts[i])))
			fail_msg("%s", texts[i]);
	}
	assert_false(is_valid("1\0", 2));
}

static void depth_is_limited(void **state)
{
	char text[2 * (ORM_JSON_DEPTH + 1)];

	(void)state;
	for (size_t depth = ORM_JSON_DEPTH; depth <= ORM_JSON_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(is_valid(text, 2 * depth), depth == ORM_JSON_DEPTH);
	}
	/* Side by side there may be any number, and objects and arrays are told apart at every depth. */
	assert_true(is_valid("[{\"a\":[{}]},{\"a\":[{}]}]", 23));
	assert_false(is_valid("[{\"a\":[{}}},{\"a\":[{}]}]", 23));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_are_taken),
		cmocka_unit_test(what_is_not_json_is_refused),
		cmocka_unit_test(depth_is_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
