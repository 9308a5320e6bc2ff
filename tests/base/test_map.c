/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

static bool same_int(const void *value, const void *key)
{
	return *(const int *)value == *(const int *)key;
}

static void empty_map_has_nothing(void **state)
{
	orm_map map;
	int key = 1;
	size_t cursor = 0;

	(void)state;
	orm_map_init(&map);
	assert_null(orm_map_get(&map, 1, same_int, &key));
	assert_false(orm_map_remove(&map, 1, &key));
	assert_null(orm_map_next(&map, &cursor));
	orm_map_clear(&map);
	orm_map_fini(&map);
	orm_map_fini(&map);
	orm_map_fini(NULL);
}

static void values_are_found_after_growth(void **state)
{
	enum { N = 20000 };
	static int numbers[N];
	orm_map map;

	(void)state;
	orm_map_init(&map);
	for (int i = 0; i < N; i++) {
		numbers[i] = i;
		assert_true(orm_map_put(&map, orm_hash_u64((uint64_t)i), &numbers[i]));
	}
	assert_int_equal(map.len, N);
	for (int i = 0; i < N; i++)
		assert_ptr_equal(orm_map_get(&map, orm_hash_u64((uint64_t)i), same_int, &i), &numbers[i]);
	for (int i = N; i < N + 1000; i++)
		assert_null(orm_map_get(&map, orm_hash_u64((uint64_t)i), same_int, &i));

	orm_map_clear(&map);
	assert_int_equal(map.len, 0);
	assert_null(orm_map_get(&map, orm_hash_u64(5), same_int, &numbers[5]));
	assert_true(orm_map_put(&map, orm_hash_u64(5), &numbers[5]));
	assert_ptr_equal(orm_map_get(&map, orm_hash_u64(5), same_int, &numbers[5]), &numbers[5]);
	orm_map_fini(&map);
}

static void equal_hashes_are_told_apart(void **state)
{
	int numbers[100];
	orm_map map;

	(void)state;
	orm_map_init(&map);
	for (int i = 0; i < 100; i++) {
		numbers[i] = i;
		assert_true(orm_map_put(&map, UINT64_MAX, &numbers[i])); /* the last slot: all but one wrap around */
	}
	for (int i = 0; i < 100; i += 3)
		assert_true(orm_map_remove(&map, UINT64_MAX, &numbers[i]));
	for (int i = 0; i < 100; i++)
		assert_ptr_equal(orm_map_get(&map, UINT64_MAX, same_int, &i), i % 3 ? &numbers[i] : NULL);
	assert_false(orm_map_remove(&map, UINT64_MAX, &numbers[0]));
	orm_map_fini(&map);
}

static void removal_takes_exactly_this_pointer(void **state)
{
	int twin_a = 7;
	int twin_b = 7;
	orm_map map;

	(void)state;
	orm_map_init(&map);
	assert_true(orm_map_put(&map, 7, &twin_a));
	assert_false(orm_map_remove(&map, 7, &twin_b));
	assert_int_equal(map.len, 1);
	assert_true(orm_map_remove(&map, 7, &twin_a));
	assert_null(orm_map_get(&map, 7, same_int, &twin_a));
	orm_map_fini(&map);
}

/*
 * Random puts and removals against a plain table of who is in. The hashes are poor on purpose: few homes, some
 * of them at the end of the slots, so that clusters are long and wrap around.
 */
static void random_operations_agree_with_a_table(void **state)
{
	enum { N = 200, N_STEPS = 100000 };
	static int numbers[N];
	static bool in_map[N];
	orm_map map;
	uint64_t seed = 2026;
	size_t len = 0;

	(void)state;
	orm_map_init(&map);
	assert_true(orm_map_reserve(&map, N)); /* from here on no growth tidies up */

	const size_t n_slots = map.n_slots;

	for (int i = 0; i < N; i++)
		numbers[i] = i;
	for (int step = 0; step < N_STEPS; step++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;

		const int i = (int)((seed >> 33) % N);
		/* Homes 0 to 7 and the last 8. */
		const uint64_t hash = (uint64_t)(uint32_t)(i % 16 - 8) << 32;

		if (in_map[i]) {
			assert_true(orm_map_remove(&map, hash, &numbers[i]));
			len--;
		} else {
			assert_false(orm_map_remove(&map, hash, &numbers[i]));
			assert_true(orm_map_put(&map, hash, &numbers[i]));
			len++;
		}
		in_map[i] = !in_map[i];
		assert_int_equal(map.len, len);
		if (step % 16 == 0) {
			for (int k = 0; k < N; k++)
				assert_ptr_equal(
					orm_map_get(&map, (uint64_t)(uint32_t)(k % 16 - 8) << 32, same_int, &k),
					in_map[k] ? &numbers[k] : NULL);
		}
	}
	assert_int_equal(map.n_slots, n_slots);
	orm_map_fini(&map);
}

static void walk_meets_each_once(void **state)
{
	enum { N = 1000 };
	static int numbers[N];
	static int n_met[N];
	orm_map map;
	size_t cursor = 0;
	int *value;

	(void)state;
	orm_map_init(&map);
	for (int i = 0; i < N; i++) {
		numbers[i] = i;
		assert_true(orm_map_put(&map, orm_hash_u64((uint64_t)i), &numbers[i]));
	}
	while ((value = orm_map_next(&map, &cursor)))
		n_met[*value]++;
	for (int i = 0; i < N; i++)
		assert_int_equal(n_met[i], 1);
	assert_null(orm_map_next(&map, &cursor));
	orm_map_fini(&map);
}

static void reserve_refuses_the_impossible(void **state)
{
	orm_map map;
	int number = 3;

	(void)state;
	orm_map_init(&map);
	assert_true(orm_map_put(&map, 3, &number));
	assert_false(orm_map_reserve(&map, SIZE_MAX));
	assert_false(orm_map_reserve(&map, SIZE_MAX / 2));
	assert_false(orm_map_reserve(&map, (size_t)1 << 40));
	assert_int_equal(map.len, 1);
	assert_ptr_equal(orm_map_get(&map, 3, same_int, &number), &number);

	assert_true(orm_map_reserve(&map, 999));

	const orm_map_slot *slots = map.slots;

	for (uint64_t i = 0; i < 999; i++)
		assert_true(orm_map_put(&map, orm_hash_u64(i), &number));
	assert_ptr_equal(map.slots, slots);
	orm_map_fini(&map);
}

static void hashes_depend_on_all_bytes(void **state)
{
	char bytes[64] = {0};
	const uint64_t before = orm_hash_bytes(bytes, sizeof bytes);

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++) {
		bytes[i] = 1;
		assert_true(orm_hash_bytes(bytes, sizeof bytes) != before);
		bytes[i] = 0;
	}
	assert_true(orm_hash_bytes(bytes, sizeof bytes) == before);
	assert_true(orm_hash_bytes(bytes, 63) != before);
	assert_true(orm_hash_string("users") == orm_hash_bytes("users", 5));
	assert_true(orm_hash_string("") == orm_hash_bytes(NULL, 0));
}

/* Row keys are 1, 2, 3, ...; the map takes the home slot from the upper half, which must spread them. */
static void small_integers_spread(void **state)
{
	enum { N = 1 << 14 };
	static unsigned char n_at_home[N];
	size_t n_crowded = 0;

	(void)state;
	for (uint64_t i = 1; i <= N; i++)
		n_at_home[(orm_hash_u64(i) >> 32) % N]++;
	for (size_t i = 0; i < N; i++)
		n_crowded += n_at_home[i] > 8;
	assert_true(n_crowded == 0); /* a random spread has more than 8 in one of 16384 with a chance of 2 in 100 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map_has_nothing),
		cmocka_unit_test(values_are_found_after_growth),
		cmocka_unit_test(equal_hashes_are_told_apart),
		cmocka_unit_test(removal_takes_exactly_this_pointer),
		cmocka_unit_test(random_operations_agree_with_a_table),
		cmocka_unit_test(walk_meets_each_once),
		cmocka_unit_test(reserve_refuses_the_impossible),
		cmocka_unit_test(hashes_depend_on_all_bytes),
		cmocka_unit_test(small_integers_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
