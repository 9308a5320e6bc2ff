/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Under AddressSanitizer everything in a block but the pieces handed out is poisoned, with a gap after each
 * piece, so that an overrun is found although malloc knows only the block.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#endif

#ifdef POISONING
#include <sanitizer/asan_interface.h>
#define GAP ((size_t)16)
#else
#define GAP                                     ((size_t)0)
#define ASAN_POISON_MEMORY_REGION(data, size)   ((void)(data), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#endif

#define ALIGNMENT _Alignof(max_align_t)
#define MIN_BLOCK ((size_t)4096)
#define MAX_BLOCK HUGE_PAGE
#define HUGE_PAGE ((size_t)2 << 20)
#define MAX_PIECE ((size_t)PTRDIFF_MAX - MAX_BLOCK)

struct orm_arena_block {
	orm_arena_block *older;
	size_t size; /* with this header */
	max_align_t pieces[];
};

static size_t round_up(size_t size)
{
	return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

/* Who fills megabytes pays more for page faults than for anything else: large blocks ask for huge pages. */
static orm_arena_block *new_block(size_t size)
{
	orm_arena_block *block;

	if (size < HUGE_PAGE)
		return malloc(size);
	block = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (block)
		(void)madvise(block, size & ~(HUGE_PAGE - 1), MADV_HUGEPAGE); /* it works without, too */
	return block;
}

static void free_block(orm_arena_block *block)
{
	ASAN_UNPOISON_MEMORY_REGION(block, block->size);
	free(block);
}

static void start_in(orm_arena *arena, orm_arena_block *block)
{
	arena->next = (char *)block->pieces;
	arena->limit = (char *)block + block->size;
	ASAN_POISON_MEMORY_REGION(arena->next, (size_t)(arena->limit - arena->next));
}

/* A piece of `room` bytes (rounded, with its gap) that the newest block cannot give. */
static void *alloc_in_new_block(orm_arena *arena, size_t room)
{
	const size_t least = sizeof(orm_arena_block) + room;
	size_t size = arena->blocks ? arena->blocks->size : MIN_BLOCK / 2;

	size = size >= MAX_BLOCK / 2 ? MAX_BLOCK : size * 2;

	/* A big piece gets a block of its own behind the newest one, whose room is then not lost. */
	const bool alone = arena->blocks && least > MAX_BLOCK / 4;

	if (alone || size < least)
		size = least;
	if (arena->budget) {
		const size_t left = arena->budget > arena->size ? arena->budget - arena->size : 0;

		if (least > left) {
			arena->exhausted = true;
			return NULL;
		}
		if (size > left)
			size = left & ~(ALIGNMENT - 1); /* `least` is a multiple too */
	}

	orm_arena_block *block = new_block(size);

	if (!block)
		return NULL;
	block->size = size;
	arena->size += size;
	if (alone) {
		block->older = arena->blocks->older;
		arena->blocks->older = block;
		ASAN_POISON_MEMORY_REGION(block->pieces, size - sizeof *block);
		return block->pieces;
	}
	block->older = arena->blocks;
	arena->blocks = block;
	start_in(arena, block);
	arena->next += room;
	return block->pieces;
}

void orm_arena_init(orm_arena *arena, size_t budget)
{
	*arena = (orm_arena){.budget = budget};
}

void orm_arena_fini(orm_arena *arena)
{
	if (!arena)
		return;

	orm_arena_block *block = arena->blocks;

	while (block) {
		orm_arena_block *older = block->older;

		free_block(block);
		block = older;
	}
	*arena = (orm_arena){.budget = arena->budget};
}

void orm_arena_reset(orm_arena *arena)
{
	orm_arena_block *largest = arena->blocks;

	if (!largest)
		return;
	for (orm_arena_block *block = largest->older; block; block = block->older) {
		if (block->size > largest->size)
			largest = block;
	}
	for (orm_arena_block *block = arena->blocks; block;) {
		orm_arena_block *older = block->older;

		if (block != largest)
			free_block(block);
		block = older;
	}
	largest->older = NULL;
	arena->blocks = largest;
	arena->size = largest->size;
	arena->exhausted = false;
	start_in(arena, largest);
}

void *orm_arena_alloc(orm_arena *arena, size_t size)
{
	if (size > MAX_PIECE) {
		arena->exhausted = arena->budget != 0;
		return NULL;
	}

	const size_t room = round_up(size ? size : 1) + GAP;
	void *piece = arena->next;

	if (room <= (size_t)(arena->limit - arena->next))
		arena->next += room;
	else
		piece = alloc_in_new_block(arena, room);
	if (piece)
		ASAN_UNPOISON_MEMORY_REGION(piece, size);
	return piece;
}

void *orm_arena_calloc(orm_arena *arena, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		total = SIZE_MAX; /* refused below, with `exhausted` set as it should be */

	void *piece = orm_arena_alloc(arena, total);

	if (piece)
		memset(piece, 0, total);
	return piece;
}

char *orm_arena_strdup(orm_arena *arena, const char *text)
{
	return text ? orm_arena_memdup(arena, text, strlen(text) + 1) : NULL;
}

char *orm_arena_strndup(orm_arena *arena, const char *text, size_t len)
{
	if (!text)
		return NULL;

	const size_t used = strnlen(text, len);
	char *copy = orm_arena_alloc(arena, used + 1);

	if (copy) {
		memcpy(copy, text, used);
		copy[used] = '\0';
	}
	return copy;
}

void *orm_arena_memdup(orm_arena *arena, const void *data, size_t size)
{
	void *copy = orm_arena_alloc(arena, size);

	if (copy && size > 0)
		memcpy(copy, data, size);
	return copy;
}

char *orm_arena_printf(orm_arena *arena, const char *format, ...)
{
	char start[256]; /* most texts fit: one pass and a copy */
	va_list args;

	va_start(args, format);

	const int len = vsnprintf(start, sizeof start, format, args);

	va_end(args);
	if (len < 0)
		return NULL;

	const size_t size = (size_t)len + 1;

	if (size <= sizeof start)
		return orm_arena_memdup(arena, start, size);

	char *text = orm_arena_alloc(arena, size);

	if (text) {
		va_start(args, format);
		vsnprintf(text, size, format, args);
		va_end(args);
	}
	return text;
}

#define CLASS_STEP      ((size_t)16)
#define N_SMALL_CLASSES ((size_t)64) /* up to 1 KiB */
#define N_CLASSES       (sizeof(((orm_pool *)0)->free) / sizeof(void *))

/* The class of a size and the size of that class; N_CLASSES when it is larger than the largest. */
static size_t class_of(size_t size, size_t *class_size)
{
	if (size <= N_SMALL_CLASSES * CLASS_STEP) {
		const size_t class = size ? (size - 1) / CLASS_STEP : 0;

		*class_size = (class + 1) * CLASS_STEP;
		return class;
	}

	size_t class = N_SMALL_CLASSES;
	size_t bytes = N_SMALL_CLASSES * CLASS_STEP * 2;

	while (bytes < size && ++class < N_CLASSES)
		bytes *= 2;
	*class_size = bytes;
	return class;
}

void orm_pool_init(orm_pool *pool)
{
	*pool = (orm_pool){0};
}

void orm_pool_fini(orm_pool *pool)
{
	if (!pool)
		return;
	orm_arena_fini(&pool->arena);
	*pool = (orm_pool){0};
}

void orm_pool_reset(orm_pool *pool)
{
	orm_arena_reset(&pool->arena);
	memset(pool->free, 0, sizeof pool->free);
	pool->used = 0;
}

void *orm_pool_alloc(orm_pool *pool, size_t size)
{
	size_t class_size;
	const size_t class = class_of(size, &class_size);

	if (class >= N_CLASSES)
		return NULL;

	void *piece = pool->free[class];

	if (piece) {
		ASAN_UNPOISON_MEMORY_REGION(piece, class_size);
		memcpy(&pool->free[class], piece, sizeof(void *)); /* a free piece holds the next one's address */
		__builtin_prefetch(pool->free[class], 1);          /* which is read when that one is taken */
	} else {
		piece = orm_arena_alloc(&pool->arena, class_size);
		if (!piece)
			return NULL;
	}
	pool->used += class_size;
	ASAN_POISON_MEMORY_REGION(piece, class_size);
	ASAN_UNPOISON_MEMORY_REGION(piece, size);
	return piece;
}

void orm_pool_free(orm_pool *pool, void *piece, size_t size)
{
	size_t class_size;
	const size_t class = class_of(size, &class_size);

	if (!piece)
		return;
	assert(class < N_CLASSES && pool->used >= class_size);
	ASAN_UNPOISON_MEMORY_REGION(piece, class_size);
	memcpy(piece, &pool->free[class], sizeof(void *));
	pool->free[class] = piece;
	pool->used -= class_size;
	ASAN_POISON_MEMORY_REGION(piece, class_size);
}
