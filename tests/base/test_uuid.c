/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <orm/types.h>

static void text_there_and_back(void **state)
{
	static const uint8_t bytes[16] = {0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0,
					  0xa7, 0x65, 0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6};
	char text[ORM_UUID_SIZE];
	orm_uuid uuid;

	(void)state;
	assert_int_equal(orm_uuid_parse("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", &uuid), ORM_OK);
	assert_memory_equal(uuid.bytes, bytes, 16);
	assert_int_equal(orm_uuid_parse("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", &uuid), ORM_OK);
	assert_memory_equal(uuid.bytes, bytes, 16);
	orm_uuid_format(uuid, text);
	assert_string_equal(text, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
}

static void other_text_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"f81d4fae",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf6a",
		"f81d4fae7dec11d0a76500a0c91e6bf6",
		"{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bfg",
		"f81d4fa-e7dec-11d0-a765-00a0c91e6bf6",
		" f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
	};
	orm_uuid uuid = {{7}};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (orm_uuid_parse(texts[i], &uuid) != ORM_EINVAL)
			fail_msg("'%s' was taken", texts[i]);
	}
	assert_int_equal(orm_uuid_parse(NULL, &uuid), ORM_EINVAL);
	assert_int_equal(uuid.bytes[0], 7);
}

static void made_ones_say_their_version(void **state)
{
	orm_uuid before, a, b;

	(void)state;
	assert_int_equal(orm_uuid_v4(&a), ORM_OK);
	assert_int_equal(orm_uuid_v4(&b), ORM_OK);
	assert_int_equal(a.bytes[6] >> 4, 4);
	assert_int_equal(a.bytes[8] >> 6, 2);
	assert_false(orm_uuid_equal(a, b));

	const int64_t start = orm_datetime_now().us / 1000;

	assert_int_equal(orm_uuid_v7(&before), ORM_OK);
	assert_int_equal(orm_uuid_v7(&a), ORM_OK);
	assert_int_equal(a.bytes[6] >> 4, 7);
	assert_int_equal(a.bytes[8] >> 6, 2);
	assert_false(orm_uuid_equal(before, a));

	int64_t ms = 0;

	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | a.bytes[i];
	assert_in_range(ms, start, orm_datetime_now().us / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_there_and_back),
		cmocka_unit_test(other_text_is_refused),
		cmocka_unit_test(made_ones_say_their_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
