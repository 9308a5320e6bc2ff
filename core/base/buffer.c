/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Also takes the room away, so that the inline orm_buffer_put comes to orm_buffer_reserve and is refused. */
static bool fail(orm_buffer *buffer)
{
	buffer->failed = true;
	buffer->capacity = buffer->size;
	return false;
}

void orm_buffer_init(orm_buffer *buffer)
{
	*buffer = (orm_buffer){0};
}

void orm_buffer_fini(orm_buffer *buffer)
{
	if (!buffer)
		return;
	free(buffer->data);
	*buffer = (orm_buffer){0};
}

void orm_buffer_reset(orm_buffer *buffer)
{
	buffer->size = 0;
	buffer->failed = false;
	if (buffer->capacity > 0)
		buffer->data[0] = '\0';
}

bool orm_buffer_reserve(orm_buffer *buffer, size_t more)
{
	const size_t first = 64;

	if (buffer->failed)
		return false;
	if (buffer->capacity - buffer->size > more)
		return true;
	if (more > PTRDIFF_MAX - 1 - buffer->size)
		return fail(buffer);

	const size_t least = buffer->size + more + 1; /* the NUL */
	size_t capacity = buffer->capacity > PTRDIFF_MAX / 2 ? least : buffer->capacity * 2;

	if (capacity < first)
		capacity = first;
	if (capacity < least)
		capacity = least;

	char *data = realloc(buffer->data, capacity);

	if (!data)
		return fail(buffer);
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void orm_buffer_append(orm_buffer *buffer, const void *data, size_t size)
{
	if (!orm_buffer_reserve(buffer, size))
		return;
	if (size > 0)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
}

void orm_buffer_puts(orm_buffer *buffer, const char *text)
{
	orm_buffer_append(buffer, text, strlen(text));
}

void orm_buffer_putc(orm_buffer *buffer, char c)
{
	orm_buffer_append(buffer, &c, 1);
}

void orm_buffer_printf(orm_buffer *buffer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	orm_buffer_vprintf(buffer, format, args);
	va_end(args);
}

void orm_buffer_vprintf(orm_buffer *buffer, const char *format, va_list args)
{
	if (!orm_buffer_reserve(buffer, 0))
		return;

	va_list again;

	va_copy(again, args);

	const size_t room = buffer->capacity - buffer->size;
	const int len = vsnprintf(buffer->data + buffer->size, room, format, args);

	if (len < 0) {
		buffer->data[buffer->size] = '\0';
		fail(buffer);
	} else if ((size_t)len < room) {
		buffer->size += (size_t)len;
	} else {
		/* Undo the part that fitted first: should the memory not suffice, nothing is appended. */
		buffer->data[buffer->size] = '\0';
		if (orm_buffer_reserve(buffer, (size_t)len)) {
			vsnprintf(buffer->data + buffer->size, (size_t)len + 1, format, again);
			buffer->size += (size_t)len;
		}
	}
	va_end(again);
}

char *orm_buffer_steal(orm_buffer *buffer)
{
	char *data = NULL;

	if (orm_buffer_reserve(buffer, 0)) {
		data = buffer->data;
		data[buffer->size] = '\0'; /* orm_buffer_put writes none */
		buffer->data = NULL;
	}
	orm_buffer_fini(buffer);
	return data;
}
