/* SPDX-License-Identifier: MIT */
/*
 * A growing run of bytes, used as string builder and as array builder. The first failure sticks: further
 * appends do nothing and `failed` stays set, so that ten appends need one check.
 */
#ifndef ORM_BASE_BUFFER_H
#define ORM_BASE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct orm_buffer {
	char  *data;     /* owned; for strings always NUL-terminated after an append */
	size_t size;     /* bytes in use, without the NUL */
	size_t capacity;
	bool   failed;   /* out of memory */
} orm_buffer;

void orm_buffer_init(orm_buffer *buffer);
void orm_buffer_fini(orm_buffer *buffer);
void orm_buffer_reset(orm_buffer *buffer); /* empty, keeping the memory; forgets the failure */

bool  orm_buffer_reserve(orm_buffer *buffer, size_t more);       /* room for `more` bytes; false: failed */
void  orm_buffer_append(orm_buffer *buffer, const void *data, size_t size);
void  orm_buffer_puts(orm_buffer *buffer, const char *text);
void  orm_buffer_putc(orm_buffer *buffer, char c);
void  orm_buffer_printf(orm_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void  orm_buffer_vprintf(orm_buffer *buffer, const char *format, va_list args);
char *orm_buffer_steal(orm_buffer *buffer); /* owned by the caller (free()); NULL if it failed; buffer is emptied */

/* Append one fixed-width cell; inline because the column builders live on it. */
static inline void orm_buffer_put(orm_buffer *buffer, const void *cell, size_t size)
{
	if (buffer->capacity - buffer->size <= size && !orm_buffer_reserve(buffer, size))
		return;
	memcpy(buffer->data + buffer->size, cell, size);
	buffer->size += size;
}

#endif
