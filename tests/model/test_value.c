/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/value.h"

static orm_value integer(orm_type type, int64_t i)
{
	return (orm_value){.type = (uint8_t)type, .integer = i};
}

static orm_value text(const char *t)
{
	return (orm_value){.type = ORM_TEXT, .size = (uint32_t)strlen(t), .text = t};
}

static orm_value bytes(const void *data, size_t size)
{
	return (orm_value){.type = ORM_BYTES, .size = (uint32_t)size, .bytes = data};
}

static orm_value number(double d)
{
	return (orm_value){.type = ORM_DOUBLE, .number = d};
}

static orm_value null(orm_type type)
{
	return (orm_value){.type = (uint8_t)type, .null = true};
}

static void check_print(orm_value value, size_t max, const char *expected)
{
	orm_buffer out;

	orm_buffer_init(&out);
	orm_value_print(&value, max, &out);
	assert_string_equal(out.data, expected);
	orm_buffer_fini(&out);
}

static void values_print(void **state)
{
	(void)state;
	check_print(integer(ORM_INT32, -7), 100, "-7");
	check_print(integer(ORM_INT64, INT64_MIN), 100, "-9223372036854775808");
	check_print((orm_value){.type = ORM_BOOL, .boolean = true}, 100, "true");
	check_print((orm_value){.type = ORM_BOOL, .boolean = false}, 100, "false");
	check_print(null(ORM_TEXT), 100, "NULL");
	check_print(text("a'b"), 100, "'a''b'");
	check_print(text(""), 100, "''");
	check_print(text("abcdef"), 6, "'abcdef'");
	check_print(text("abcdef"), 5, "'abcde\xE2\x80\xA6'");
	check_print(text("h\xC3\xA9h\xC3\xA9h\xC3\xA9"), 4, "'h\xC3\xA9h\xC3\xA9\xE2\x80\xA6'");
	check_print(bytes("\x00\xff", 2), 100, "x'00ff'");
	check_print(bytes("", 0), 100, "x''");
	check_print(bytes("\x01\x02\x03\x04", 4), 4, "x'0102\xE2\x80\xA6'");
	check_print(number(0.1), 100, "0.1");
	check_print(number(1.0 / 3.0), 100, "0.3333333333333333");
	check_print(number(-0.0), 100, "-0");
	check_print(number(1e300), 100, "1e+300");
	check_print(number((double)INFINITY), 100, "inf");
	check_print((orm_value){.type = ORM_DECIMAL, .size = 5, .text = "12.50"}, 100, "12.50");
	check_print((orm_value){.type = ORM_UUID, .size = 16, .bytes = "0123456789abcdef"}, 100,
		    "30313233-3435-3637-3839-616263646566");
	check_print((orm_value){.type = ORM_JSON, .size = 2, .text = "{}"}, 100, "'{}'");
	check_print(integer(ORM_DATE, 20780), 100, "2026-11-23");
	check_print(integer(ORM_TIME, INT64_C(47736000001)), 100, "13:15:36.000001");
	check_print(integer(ORM_DATETIME, 0), 100, "1970-01-01T00:00:00Z");
}

static void keys_print(void **state)
{
	const orm_value one[] = {integer(ORM_INT64, 7)};
	const orm_value two[] = {integer(ORM_INT32, 7), text("a")};
	char out[32];
	char small[6];

	(void)state;
	orm_key_print(one, 1, out, sizeof out);
	assert_string_equal(out, "7");
	orm_key_print(two, 2, out, sizeof out);
	assert_string_equal(out, "(7, 'a')");
	orm_key_print(two, 2, small, sizeof small);
	assert_string_equal(small, "(7, '");
	orm_key_print(two, 2, small, 1);
	assert_string_equal(small, "");

	/* Not through the middle of a character. */
	const orm_value e = text("aa\xC3\xA9");

	orm_key_print(&e, 1, small, 5);
	assert_string_equal(small, "'aa");
}

static void equality(void **state)
{
	char copy[] = "abc";
	orm_value a;
	orm_value b;

	(void)state;
	a = text("abc");
	b = text(copy);
	assert_true(orm_value_equal(&a, &b));
	copy[2] = 'd';
	assert_false(orm_value_equal(&a, &b));
	b = text("ab");
	assert_false(orm_value_equal(&a, &b));
	b = bytes("abc", 3);
	assert_false(orm_value_equal(&a, &b));
	a = bytes(NULL, 0);
	b = bytes("", 0);
	assert_true(orm_value_equal(&a, &b));
	a = integer(ORM_INT32, 1);
	b = integer(ORM_INT64, 1);
	assert_false(orm_value_equal(&a, &b));
	b = integer(ORM_INT32, 1);
	assert_true(orm_value_equal(&a, &b));
	b = null(ORM_INT32);
	assert_false(orm_value_equal(&a, &b));
	a = null(ORM_INT32);
	assert_true(orm_value_equal(&a, &b));
	b = null(ORM_INT64);
	assert_false(orm_value_equal(&a, &b));
	a = number(0.0);
	b = number(-0.0);
	assert_false(orm_value_equal(&a, &b));
	a = b = number((double)NAN);
	assert_true(orm_value_equal(&a, &b));
}

static void hashes_follow_equality_and_order(void **state)
{
	char copy[] = "abc";
	const orm_value a = text("abc");
	const orm_value same = text(copy);
	const orm_value one = integer(ORM_INT64, 1);
	const orm_value two = integer(ORM_INT64, 2);
	const orm_value nothing = null(ORM_INT64);
	const orm_value zero = integer(ORM_INT64, 0);
	const orm_value empty = bytes(NULL, 0);
	const orm_value also_empty = bytes("", 0);
	const orm_value plus = number(0.0);
	const orm_value minus = number(-0.0);
	const orm_value yes = {.type = ORM_BOOL, .boolean = true};
	const orm_value no = {.type = ORM_BOOL, .boolean = false};

	(void)state;
	assert_int_equal(orm_value_hash(&a, 5), orm_value_hash(&same, 5));
	assert_int_not_equal(orm_value_hash(&a, 5), orm_value_hash(&a, 6));
	assert_int_equal(orm_value_hash(&empty, 0), orm_value_hash(&also_empty, 0));
	assert_int_not_equal(orm_value_hash(&one, 0), orm_value_hash(&two, 0));
	assert_int_not_equal(orm_value_hash(&plus, 0), orm_value_hash(&minus, 0));
	assert_int_not_equal(orm_value_hash(&yes, 0), orm_value_hash(&no, 0));
	assert_int_not_equal(orm_value_hash(&nothing, 0), orm_value_hash(&zero, 0));
	assert_int_not_equal(orm_value_hash(&one, orm_value_hash(&two, 0)),
			     orm_value_hash(&two, orm_value_hash(&one, 0)));
}

static void copies_stand_alone(void **state)
{
	char from_text[] = "abc";
	orm_value value = text(from_text);
	orm_value copy;
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);
	assert_true(orm_value_copy(&copy, &value, &arena));
	from_text[0] = 'x';
	assert_string_equal(copy.text, "abc");
	assert_int_equal(copy.size, 3);

	value = bytes(NULL, 0);
	assert_true(orm_value_copy(&copy, &value, &arena));
	assert_non_null(copy.bytes); /* empty, not NULL */
	value = null(ORM_TEXT);
	assert_true(orm_value_copy(&copy, &value, &arena));
	assert_true(copy.null);
	value = number(2.5);
	assert_true(orm_value_copy(&copy, &value, &arena));
	assert_true(orm_value_equal(&copy, &value));
	orm_arena_fini(&arena);

	orm_arena tiny;

	orm_arena_init(&tiny, 16);
	value = text(from_text);
	copy = number(1);
	assert_false(orm_value_copy(&copy, &value, &tiny));
	assert_int_equal(copy.type, ORM_DOUBLE); /* untouched */
	orm_arena_fini(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_print),       cmocka_unit_test(keys_print),
		cmocka_unit_test(equality),           cmocka_unit_test(hashes_follow_equality_and_order),
		cmocka_unit_test(copies_stand_alone),
	};

	return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
