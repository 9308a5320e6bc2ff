/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/engine.h"

static void assert_answer(const char *url, const char *sql, const char *expected)
{
	char *answer = engine_ask(url, sql);

	assert_string_equal(answer, expected);
	free(answer);
}

static void databases_are_empty_and_apart(void **state)
{
	char first[ENGINE_URL_SIZE];
	char second[ENGINE_URL_SIZE];

	(void)state;
	engine_fresh_url(first);
	engine_fresh_url(second);
	assert_string_not_equal(first, second);
	assert_int_equal(engine_of(first), engine_under_test());
	engine_run(first, "CREATE TABLE \"order\" (\"id\" INTEGER PRIMARY KEY)");
	engine_run(second, "CREATE TABLE \"order\" (\"id\" INTEGER PRIMARY KEY)");
	engine_run(first, "INSERT INTO \"order\" VALUES (1); INSERT INTO \"order\" VALUES (2)");
	assert_int_equal(engine_ask_number(first, "SELECT COUNT(*) FROM \"order\""), 2);
	assert_int_equal(engine_ask_number(second, "SELECT COUNT(*) FROM \"order\""), 0);
	engine_drop(second);
	assert_int_equal(engine_ask_number(first, "SELECT COUNT(*) FROM \"order\""), 2);
}

static void rows_are_told_as_text(void **state)
{
	char url[ENGINE_URL_SIZE];

	(void)state;
	engine_fresh_url(url);
	assert_answer(url, "SELECT 1, NULL, 'x\"y' UNION ALL SELECT 2, 3, '' ORDER BY 1", "1|NULL|x\"y;2|3|");
	assert_answer(url, "SELECT true, false", "1|0");
	assert_answer(url, "SELECT 'ä€😀'", "ä€😀");
	engine_run(url, "CREATE TABLE t (a INTEGER)");
	assert_answer(url, "SELECT a FROM t", "");
}

static void failures_tell_the_message(void **state)
{
	char url[ENGINE_URL_SIZE];
	char *message;

	(void)state;
	engine_fresh_url(url);
	assert_false(engine_try(url, "SELECT a FROM no_such_table", &message));
	assert_non_null(strstr(message, "no_such_table"));
	free(message);
	engine_run(url, "CREATE TABLE t (a INTEGER)");
	assert_false(engine_try(url, "INSERT INTO t VALUES (1); SELECT nonsense", &message));
	assert_non_null(strstr(message, "nonsense"));
	free(message);
}

static void identifiers_are_quoted_as_the_engine_does(void **state)
{
	static const char *const expected[N_ENGINES] = {"\"a\" = 'b\"''\"'", "\"a\" = 'b\"''\"'", "`a` = 'b\"''\"'"};

	(void)state;
	for (int i = 0; i < N_ENGINES; i++) {
		char *sql = engine_sql((test_engine)i, "\"a\" = 'b\"''\"'");

		assert_string_equal(sql, expected[i]);
		free(sql);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(databases_are_empty_and_apart),
		cmocka_unit_test(rows_are_told_as_text),
		cmocka_unit_test(failures_tell_the_message),
		cmocka_unit_test(identifiers_are_quoted_as_the_engine_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
