/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED_BY_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WATCHED_BY_ASAN 1
#endif
#ifdef WATCHED_BY_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void arena_pieces_are_aligned_and_apart(void **state)
{
	enum { N_PIECES = 100000 };
	orm_arena arena;
	unsigned char **pieces = calloc(N_PIECES, sizeof *pieces);

	(void)state;
	assert_non_null(pieces);
	orm_arena_init(&arena, 0);
	for (size_t i = 0; i < N_PIECES; i++) {
		const size_t size = 1 + i % 61;

		pieces[i] = orm_arena_alloc(&arena, size);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		memset(pieces[i], (int)(i % 251), size);
	}
	for (size_t i = 0; i < N_PIECES; i++) {
		assert_int_equal(pieces[i][0], i % 251);
		assert_int_equal(pieces[i][i % 61], i % 251);
	}
	orm_arena_fini(&arena);
	free(pieces);
}

static void arena_grows_by_few_blocks(void **state)
{
	orm_arena arena;
	size_t n_growths = 0;
	size_t before = 0;

	(void)state;
	orm_arena_init(&arena, 0);
	assert_int_equal(arena.size, 0);
	for (size_t i = 0; i < 100000; i++) {
		assert_non_null(orm_arena_alloc(&arena, 64));
		n_growths += arena.size != before;
		before = arena.size;
	}
	/* 6.4 MB (8 under ASan): 4 KiB doubling to 1 MiB, then by 1 MiB. */
	assert_in_range(n_growths, 10, 20);
	assert_in_range(arena.size, 6400000, 10000000);
	orm_arena_fini(&arena);
	assert_int_equal(arena.size, 0);
}

static void arena_gives_large_pieces_without_losing_the_block(void **state)
{
	enum { LARGE = 3 << 20 };
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);

	char *small = orm_arena_alloc(&arena, 16);
	char *large = orm_arena_alloc(&arena, LARGE);
	char *next = orm_arena_alloc(&arena, 16);

	assert_non_null(small);
	assert_non_null(large);
	assert_non_null(next);
	memset(large, 1, LARGE);
	assert_in_range(next - small, 16, 64); /* still from the first block */
	orm_arena_fini(&arena);
}

static void arena_first_piece_may_be_large(void **state)
{
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);

	char *large = orm_arena_alloc(&arena, 5 << 20);

	assert_non_null(large);
	memset(large, 1, 5 << 20);
	assert_non_null(orm_arena_alloc(&arena, 1));
	orm_arena_fini(&arena);
}

static void arena_zero_size_is_a_pointer(void **state)
{
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);
	assert_non_null(orm_arena_alloc(&arena, 0));
	assert_non_null(orm_arena_calloc(&arena, 0, 8));
	assert_non_null(orm_arena_memdup(&arena, NULL, 0));
	orm_arena_fini(&arena);
}

static void arena_keeps_its_budget(void **state)
{
	enum { BUDGET = 100000 };
	orm_arena arena;
	size_t given = 0;

	(void)state;
	orm_arena_init(&arena, BUDGET);
	while (orm_arena_alloc(&arena, 100))
		given += 100;
	assert_true(arena.exhausted);
	assert_in_range(arena.size, given, BUDGET);
	assert_true(given > BUDGET / 2); /* the last block is cut to what is left, not refused */

	orm_arena_reset(&arena);
	assert_false(arena.exhausted);
	assert_non_null(orm_arena_alloc(&arena, 100));
	orm_arena_fini(&arena);

	orm_arena_init(&arena, BUDGET);
	assert_null(orm_arena_alloc(&arena, BUDGET));
	assert_true(arena.exhausted);
	assert_int_equal(arena.size, 0);
	orm_arena_fini(&arena);
}

static void arena_budget_covers_large_pieces(void **state)
{
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 4 << 20);
	assert_non_null(orm_arena_alloc(&arena, 100));
	assert_non_null(orm_arena_alloc(&arena, 3 << 20));
	assert_false(arena.exhausted);
	assert_null(orm_arena_alloc(&arena, 3 << 20));
	assert_true(arena.exhausted);
	assert_true(arena.size <= 4 << 20);
	orm_arena_fini(&arena);
}

static void arena_refuses_impossible_sizes(void **state)
{
	const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 64, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1};
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		assert_null(orm_arena_alloc(&arena, sizes[i]));
	assert_null(orm_arena_calloc(&arena, SIZE_MAX / 2, 3));
	assert_null(orm_arena_calloc(&arena, (SIZE_MAX >> 4) + 2, 16)); /* the product wraps to 16 */
	assert_false(arena.exhausted);                                  /* no budget: not its fault */
	assert_non_null(orm_arena_alloc(&arena, 8));
	orm_arena_fini(&arena);

	orm_arena_init(&arena, 1000);
	assert_null(orm_arena_calloc(&arena, SIZE_MAX / 2, 3));
	assert_true(arena.exhausted);
	orm_arena_fini(&arena);
}

static void arena_calloc_clears_used_memory(void **state)
{
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);
	memset(orm_arena_alloc(&arena, 3000), 0xAA, 3000);
	orm_arena_reset(&arena);

	const unsigned char *cleared = orm_arena_calloc(&arena, 30, 100);

	assert_non_null(cleared);
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(cleared[i], 0);
	orm_arena_fini(&arena);
}

static void arena_reset_keeps_the_largest_block(void **state)
{
	orm_arena arena;

	(void)state;
	orm_arena_init(&arena, 0);
	orm_arena_reset(&arena); /* nothing there yet */
	assert_non_null(orm_arena_alloc(&arena, 100));
	assert_non_null(orm_arena_alloc(&arena, 2 << 20));
	assert_non_null(orm_arena_alloc(&arena, 100));
	orm_arena_reset(&arena);

	const size_t kept = arena.size;

	assert_in_range(kept, 2 << 20, (2 << 20) + 4096);
	assert_non_null(orm_arena_alloc(&arena, 1 << 20));
	assert_int_equal(arena.size, kept);
	orm_arena_fini(&arena);
}

static void arena_copies_text(void **state)
{
	orm_arena arena;
	char text[] = "gemütlich";

	(void)state;
	orm_arena_init(&arena, 0);

	char *whole = orm_arena_strdup(&arena, text);
	char *part = orm_arena_strndup(&arena, text, 3);
	char *beyond = orm_arena_strndup(&arena, text, 1000);
	char *bytes = orm_arena_memdup(&arena, "a\0b", 3);

	memset(text, 'x', sizeof text - 1);
	assert_string_equal(whole, "gemütlich");
	assert_string_equal(part, "gem");
	assert_string_equal(beyond, "gemütlich");
	assert_memory_equal(bytes, "a\0b", 3);
	assert_null(orm_arena_strdup(&arena, NULL));
	assert_null(orm_arena_strndup(&arena, NULL, 3));
	orm_arena_fini(&arena);
}

static void arena_prints_short_and_long(void **state)
{
	orm_arena arena;
	char expected[1001];

	(void)state;
	orm_arena_init(&arena, 0);
	assert_string_equal(orm_arena_printf(&arena, "%s has %d", "users", 7), "users has 7");
	for (int len = 250; len <= 1000; len += len < 260 ? 1 : 185) {
		const char *text = orm_arena_printf(&arena, "%0*d", len, 7);

		snprintf(expected, sizeof expected, "%0*d", len, 7);
		assert_string_equal(text, expected);
	}
	orm_arena_fini(&arena);

	orm_arena_init(&arena, 64);
	assert_null(orm_arena_printf(&arena, "%0100d", 7));
	assert_null(orm_arena_printf(&arena, "%01000d", 7));
	assert_null(orm_arena_strdup(&arena, "does not fit either, for it is much longer than what the budget leaves"));
	assert_true(arena.exhausted);
	orm_arena_fini(&arena);
}

static void arena_fini_takes_anything(void **state)
{
	orm_arena zeroed = {0};

	(void)state;
	orm_arena_fini(NULL);
	orm_arena_fini(&zeroed);
	orm_arena_fini(&zeroed);
	orm_pool_fini(NULL);
}

static void pool_gives_freed_pieces_again(void **state)
{
	orm_pool pool;

	(void)state;
	orm_pool_init(&pool);

	void *a = orm_pool_alloc(&pool, 40);
	void *b = orm_pool_alloc(&pool, 40);

	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(pool.used, 2 * 48);
	orm_pool_free(&pool, a, 40);
	orm_pool_free(&pool, b, 40);
	orm_pool_free(&pool, NULL, 40);
	assert_int_equal(pool.used, 0);
	assert_ptr_equal(orm_pool_alloc(&pool, 33), b); /* 33 to 48 are one class */
	assert_ptr_equal(orm_pool_alloc(&pool, 48), a);
	assert_ptr_not_equal(orm_pool_alloc(&pool, 48), a);
	orm_pool_fini(&pool);
}

static void pool_reset_starts_anew(void **state)
{
	orm_pool pool;

	(void)state;
	orm_pool_init(&pool);

	char *a = orm_pool_alloc(&pool, 40);
	char *b = orm_pool_alloc(&pool, 40);

	assert_non_null(a);
	assert_non_null(b);
	orm_pool_free(&pool, b, 40);
	orm_pool_free(&pool, a, 40);
	orm_pool_reset(&pool);
	assert_int_equal(pool.used, 0);
	a = orm_pool_alloc(&pool, 40);
	b = orm_pool_alloc(&pool, 40);
	assert_true(a < b); /* in the order of the block again, not of the frees */
	orm_pool_free(&pool, a, 40);
	orm_pool_reset(&pool); /* whatever is still out */
	assert_ptr_equal(orm_pool_alloc(&pool, 40), a);
	orm_pool_fini(&pool);
}

static void pool_classes_have_exact_edges(void **state)
{
	/* size asked for, size of its class */
	const size_t cases[][2] = {{0, 16},      {1, 16},      {16, 16},       {17, 32},
				   {1008, 1008}, {1009, 1024}, {1024, 1024},   {1025, 2048},
				   {2048, 2048}, {2049, 4096}, {65536, 65536}, {65537, 131072}};
	orm_pool pool;

	(void)state;
	orm_pool_init(&pool);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *piece = orm_pool_alloc(&pool, cases[i][0]);

		assert_non_null(piece);
		memset(piece, 0x55, cases[i][0]);
		assert_int_equal(pool.used, cases[i][1]);
		orm_pool_free(&pool, piece, cases[i][0]);
		assert_int_equal(pool.used, 0);
	}
	assert_null(orm_pool_alloc(&pool, SIZE_MAX));
	assert_int_equal(pool.used, 0);
	orm_pool_fini(&pool);
}

static void pool_pieces_never_overlap(void **state)
{
	enum { N_SLOTS = 500, N_STEPS = 50000 };
	static struct {
		unsigned char *piece;
		size_t size;
		unsigned char mark;
	} slots[N_SLOTS];
	orm_pool pool;
	uint64_t seed = 42;

	(void)state;
	orm_pool_init(&pool);
	for (int step = 0; step < N_STEPS; step++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;

		const size_t slot = (seed >> 33) % N_SLOTS;

		if (slots[slot].piece) {
			for (size_t i = 0; i < slots[slot].size; i++)
				assert_int_equal(slots[slot].piece[i], slots[slot].mark);
			orm_pool_free(&pool, slots[slot].piece, slots[slot].size);
			slots[slot].piece = NULL;
		} else {
			slots[slot].size = (seed >> 20) % ((seed & 15) == 0 ? 5000 : 100);
			slots[slot].mark = (unsigned char)(seed >> 50);
			slots[slot].piece = orm_pool_alloc(&pool, slots[slot].size);
			assert_non_null(slots[slot].piece);
			memset(slots[slot].piece, slots[slot].mark, slots[slot].size);
		}
	}
	/* 500 slots at most 5000 bytes (class 8192) each: reuse keeps it far below what 50,000 steps asked for. */
	assert_true(pool.arena.size < 8 << 20);
	orm_pool_fini(&pool);
}

#ifdef WATCHED_BY_ASAN
static void overruns_are_seen_by_asan(void **state)
{
	orm_arena arena;
	orm_pool pool;

	(void)state;
	orm_arena_init(&arena, 0);
	for (size_t size = 1; size <= 64; size++) {
		char *piece = orm_arena_alloc(&arena, size);

		assert_null(__asan_region_is_poisoned(piece, size));
		assert_true(__asan_address_is_poisoned(piece + size));
		assert_non_null(orm_arena_alloc(&arena, 8)); /* the neighbour does not open the gap */
		assert_true(__asan_address_is_poisoned(piece + size));
	}

	char *before = orm_arena_alloc(&arena, 100);

	orm_arena_reset(&arena);
	assert_true(__asan_address_is_poisoned(before));
	orm_arena_fini(&arena);

	orm_pool_init(&pool);

	char *piece = orm_pool_alloc(&pool, 20);

	assert_true(__asan_address_is_poisoned(piece + 20));
	orm_pool_free(&pool, piece, 20);
	assert_true(__asan_address_is_poisoned(piece));
	assert_ptr_equal(orm_pool_alloc(&pool, 32), piece);
	assert_null(__asan_region_is_poisoned(piece, 32));
	orm_pool_fini(&pool);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena_pieces_are_aligned_and_apart),
		cmocka_unit_test(arena_grows_by_few_blocks),
		cmocka_unit_test(arena_gives_large_pieces_without_losing_the_block),
		cmocka_unit_test(arena_first_piece_may_be_large),
		cmocka_unit_test(arena_zero_size_is_a_pointer),
		cmocka_unit_test(arena_keeps_its_budget),
		cmocka_unit_test(arena_budget_covers_large_pieces),
		cmocka_unit_test(arena_refuses_impossible_sizes),
		cmocka_unit_test(arena_calloc_clears_used_memory),
		cmocka_unit_test(arena_reset_keeps_the_largest_block),
		cmocka_unit_test(arena_copies_text),
		cmocka_unit_test(arena_prints_short_and_long),
		cmocka_unit_test(arena_fini_takes_anything),
		cmocka_unit_test(pool_gives_freed_pieces_again),
		cmocka_unit_test(pool_reset_starts_anew),
		cmocka_unit_test(pool_classes_have_exact_edges),
		cmocka_unit_test(pool_pieces_never_overlap),
#ifdef WATCHED_BY_ASAN
		cmocka_unit_test(overruns_are_seen_by_asan),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
