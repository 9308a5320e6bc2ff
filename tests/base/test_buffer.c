/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

static void appends_build_a_string(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);
	orm_buffer_puts(&buffer, "SELECT ");
	orm_buffer_append(&buffer, "id, name...", 8);
	orm_buffer_putc(&buffer, ' ');
	orm_buffer_printf(&buffer, "FROM %s LIMIT %d", "users", 10);
	assert_string_equal(buffer.data, "SELECT id, name FROM users LIMIT 10");
	assert_int_equal(buffer.size, strlen(buffer.data));
	assert_false(buffer.failed);

	orm_buffer_reset(&buffer);
	assert_int_equal(buffer.size, 0);
	assert_string_equal(buffer.data, "");
	orm_buffer_puts(&buffer, "again");
	assert_string_equal(buffer.data, "again");
	orm_buffer_fini(&buffer);
	assert_null(buffer.data);
	orm_buffer_fini(&buffer);
	orm_buffer_fini(NULL);
}

static void empty_appends_give_an_empty_string(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);
	orm_buffer_reset(&buffer);
	orm_buffer_append(&buffer, NULL, 0);
	assert_string_equal(buffer.data, "");
	orm_buffer_printf(&buffer, "%s", "");
	assert_string_equal(buffer.data, "");
	orm_buffer_fini(&buffer);
}

static void growth_keeps_all_bytes(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);
	for (int64_t i = 0; i < 100000; i++)
		orm_buffer_put(&buffer, &i, sizeof i);
	assert_false(buffer.failed);
	assert_int_equal(buffer.size, 100000 * sizeof(int64_t));
	assert_true(buffer.capacity > buffer.size);
	for (int64_t i = 0; i < 100000; i++)
		assert_memory_equal(buffer.data + (size_t)i * sizeof i, &i, sizeof i);
	orm_buffer_fini(&buffer);
}

/* Every length around the first and the following capacities, by each way of appending. */
static void edges_of_capacity_hold(void **state)
{
	char expected[301];

	(void)state;
	for (size_t size = 0; size < sizeof expected; size++) {
		orm_buffer buffer;
		char *stolen;

		memset(expected, 'x', size);
		expected[size] = '\0';

		orm_buffer_init(&buffer);
		for (size_t i = 0; i < size; i++)
			orm_buffer_put(&buffer, "x", 1);
		stolen = orm_buffer_steal(&buffer);
		assert_string_equal(stolen, expected);
		free(stolen);

		for (size_t i = 0; i < size; i++)
			orm_buffer_putc(&buffer, 'x');
		stolen = orm_buffer_steal(&buffer);
		assert_string_equal(stolen, expected);
		free(stolen);

		orm_buffer_printf(&buffer, "%s", expected);
		stolen = orm_buffer_steal(&buffer);
		assert_string_equal(stolen, expected);
		free(stolen);

		orm_buffer_puts(&buffer, "xx");
		orm_buffer_printf(&buffer, "%s", expected);
		assert_int_equal(buffer.size, size + 2);
		assert_string_equal(buffer.data + 2, expected);
		orm_buffer_fini(&buffer);
	}
}

static void reserve_makes_room(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);
	assert_true(orm_buffer_reserve(&buffer, 10000));

	const char *place = buffer.data;

	for (int i = 0; i < 10000; i++)
		orm_buffer_putc(&buffer, 'y');
	assert_ptr_equal(buffer.data, place);
	orm_buffer_fini(&buffer);
}

static void failure_sticks_until_reset(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);
	orm_buffer_puts(&buffer, "before");
	assert_false(orm_buffer_reserve(&buffer, SIZE_MAX - 3));
	assert_true(buffer.failed);
	orm_buffer_puts(&buffer, "after");
	orm_buffer_putc(&buffer, 'a');
	orm_buffer_printf(&buffer, "%d", 1);
	orm_buffer_put(&buffer, "a", 1);
	assert_false(orm_buffer_reserve(&buffer, 1));
	assert_int_equal(buffer.size, 6);
	assert_string_equal(buffer.data, "before");

	orm_buffer_reset(&buffer);
	assert_false(buffer.failed);
	orm_buffer_puts(&buffer, "works again, and is longer than it was before the failure came between, by far");
	assert_false(buffer.failed);
	assert_int_equal(buffer.size, strlen(buffer.data));

	assert_false(orm_buffer_reserve(&buffer, (size_t)PTRDIFF_MAX));
	assert_null(orm_buffer_steal(&buffer));
	assert_null(buffer.data);
	assert_false(buffer.failed);
	orm_buffer_fini(&buffer);
}

static void stealing_hands_over(void **state)
{
	orm_buffer buffer;

	(void)state;
	orm_buffer_init(&buffer);

	char *empty = orm_buffer_steal(&buffer);

	assert_string_equal(empty, "");
	free(empty);
	orm_buffer_puts(&buffer, "mine");

	char *mine = orm_buffer_steal(&buffer);

	assert_int_equal(buffer.size, 0);
	assert_null(buffer.data);
	orm_buffer_puts(&buffer, "other");
	assert_string_equal(mine, "mine");
	free(mine);
	orm_buffer_fini(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_build_a_string), cmocka_unit_test(empty_appends_give_an_empty_string),
		cmocka_unit_test(growth_keeps_all_bytes), cmocka_unit_test(edges_of_capacity_hold),
		cmocka_unit_test(reserve_makes_room),     cmocka_unit_test(failure_sticks_until_reset),
		cmocka_unit_test(stealing_hands_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
