/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"

static void failure_fills_the_record(void **state)
{
	orm_error error;

	(void)state;
	memset(&error, 'x', sizeof error);
	assert_int_equal(orm_fail(&error, ORM_EINVAL, "%s.%s: %d is too long", "users", "name", 60), ORM_EINVAL);
	assert_int_equal(error.code, ORM_EINVAL);
	assert_string_equal(error.message, "users.name: 60 is too long");
	assert_string_equal(error.model, "");
	assert_string_equal(error.column, "");
	assert_string_equal(error.key, "");
}

static void nobody_may_ask(void **state)
{
	(void)state;
	assert_int_equal(orm_fail(NULL, ORM_ENOMEM, "out of memory"), ORM_ENOMEM);
	orm_error_clear(NULL);
}

static void place_is_added_piece_by_piece(void **state)
{
	orm_error error;

	(void)state;
	orm_fail(&error, ORM_ESTALE, "gone");
	assert_int_equal(orm_error_at(&error, "User", NULL, NULL), ORM_ESTALE);
	assert_int_equal(orm_error_at(&error, NULL, "email", "(7, 'a')"), ORM_ESTALE);
	assert_string_equal(error.model, "User");
	assert_string_equal(error.column, "email");
	assert_string_equal(error.key, "(7, 'a')");
	assert_string_equal(error.message, "gone");

	orm_error_clear(&error);
	assert_int_equal(error.code, ORM_OK);
	assert_string_equal(error.message, "");
	assert_string_equal(error.model, "");
	assert_string_equal(error.key, "");
}

static void own_strings_may_be_arguments(void **state)
{
	orm_error error;

	(void)state;
	orm_fail(&error, ORM_EDATABASE, "disk full");
	orm_error_at(&error, "User", NULL, NULL);
	orm_fail(&error, ORM_EDATABASE, "commit of %s: %s", error.model, error.message);
	assert_string_equal(error.message, "commit of User: disk full");
	orm_error_at(&error, error.message, NULL, error.message + 3);
	assert_string_equal(error.model, "commit of User: disk full");
	assert_string_equal(error.key, "mit of User: disk full");
	orm_error_at(&error, error.model + 10, NULL, NULL);
	assert_string_equal(error.model, "User: disk full");
}

static void long_texts_are_cut(void **state)
{
	orm_error error;
	char text[700];

	(void)state;
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	orm_fail(&error, ORM_EINVAL, "%s", text);
	orm_error_at(&error, text, text, text);
	assert_int_equal(strlen(error.message), sizeof error.message - 1);
	assert_int_equal(strlen(error.model), sizeof error.model - 1);
	assert_int_equal(strlen(error.column), sizeof error.column - 1);
	assert_int_equal(strlen(error.key), sizeof error.key - 1);

	/* What just fits stays whole. */
	text[sizeof error.message - 1] = '\0';
	orm_fail(&error, ORM_EINVAL, "%s", text);
	assert_string_equal(error.message, text);
}

/* A character is cut whole, for the text must stay UTF-8 on the wire. */
static void cut_respects_characters(void **state)
{
	const char *const characters[] = {"é", "€", "𝄞"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const size_t size = strlen(characters[i]);

		for (size_t missing = 1; missing <= size; missing++) {
			orm_error error;
			char text[100] = {0};
			const size_t n_before = sizeof error.model - 1 - (size - missing);

			memset(text, 'a', n_before);
			strcat(text, characters[i]);
			strcat(text, "tail");
			orm_fail(&error, ORM_EINVAL, "cut");
			orm_error_at(&error, text, NULL, NULL);
			assert_int_equal(strlen(error.model), n_before);
			assert_memory_equal(error.model, text, n_before);
		}

		orm_error error;
		char text[100] = {0};

		memset(text, 'a', sizeof error.model - 1 - size);
		strcat(text, characters[i]);
		orm_fail(&error, ORM_EINVAL, "fits");
		orm_error_at(&error, text, NULL, NULL);
		assert_string_equal(error.model, text);
		strcat(text, "tail");
		orm_error_at(&error, text, NULL, NULL);
		text[sizeof error.model - 1] = '\0';
		assert_string_equal(error.model, text);
	}
}

static void message_is_one_line(void **state)
{
	orm_error error;

	(void)state;
	orm_fail(&error, ORM_EDATABASE, "near \"x\":\n\tsyntax error\r");
	assert_string_equal(error.message, "near \"x\":  syntax error ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failure_fills_the_record),
		cmocka_unit_test(nobody_may_ask),
		cmocka_unit_test(place_is_added_piece_by_piece),
		cmocka_unit_test(own_strings_may_be_arguments),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(cut_respects_characters),
		cmocka_unit_test(message_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
