/* SPDX-License-Identifier: MIT */
/*
 * Memory that ends together: one arena per session, one per request.
 *
 * An arena hands out pieces of growing blocks and frees them all at once. It is for one thread at a time.
 * With a budget it refuses to grow past it, which is what bounds the memory that a peer's message can
 * make us allocate.
 */
#ifndef ORM_BASE_ARENA_H
#define ORM_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct orm_arena_block orm_arena_block;

typedef struct orm_arena {
	orm_arena_block *blocks;   /* newest first */
	char            *next;     /* where the next piece starts */
	char            *limit;    /* one past the newest block's end */
	size_t           size;     /* bytes obtained from the system */
	size_t           budget;   /* most bytes to obtain; 0: no limit */
	bool             exhausted; /* a request failed for the budget, not for lack of memory */
} orm_arena;

/* Ready an arena in the caller's storage; allocates nothing yet. budget in bytes, 0 for none. */
void orm_arena_init(orm_arena *arena, size_t budget);

/* Free everything. NULL and zeroed arenas are allowed. */
void orm_arena_fini(orm_arena *arena);

/* Forget all pieces but keep the largest block for what comes next. */
void orm_arena_reset(orm_arena *arena);

/*
 * `size` bytes, aligned for any type, not cleared. NULL when the budget or the memory is used up
 * (exhausted tells which). A size of 0 gives a valid pointer.
 */
void *orm_arena_alloc(orm_arena *arena, size_t size);

/* The same, cleared; refuses n * size that overflows. */
void *orm_arena_calloc(orm_arena *arena, size_t n, size_t size);

/* Copies that live as long as the arena; NULL on failure. `text` may be NULL (gives NULL). */
char *orm_arena_strdup(orm_arena *arena, const char *text);
char *orm_arena_strndup(orm_arena *arena, const char *text, size_t len);
void *orm_arena_memdup(orm_arena *arena, const void *data, size_t size);

/* printf into the arena; NULL on failure. */
char *orm_arena_printf(orm_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A pool: pieces of an arena that can be given back one by one and used again, by size class (16-byte steps
 * up to 1 KiB; larger pieces by powers of two). For records that change size while their session lives.
 */
typedef struct orm_pool {
	orm_arena arena;
	void     *free[64 + 32];
	size_t    used; /* bytes handed out and not given back, as rounded to their class */
} orm_pool;

void  orm_pool_init(orm_pool *pool);
void  orm_pool_fini(orm_pool *pool);
void  orm_pool_reset(orm_pool *pool); /* forgets all pieces, keeps the largest block */
void *orm_pool_alloc(orm_pool *pool, size_t size);
void  orm_pool_free(orm_pool *pool, void *piece, size_t size); /* size as it was asked for; NULL allowed */

#endif
