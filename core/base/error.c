/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Length of `text` without a UTF-8 sequence that was cut at its end. */
static size_t whole_characters(const char *text, size_t len)
{
	size_t start = len;

	while (start > 0 && len - start < 4) {
		const unsigned char byte = (unsigned char)text[--start];

		if ((byte & 0xC0) == 0x80)
			continue;
		const size_t wanted = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
		return len - start < wanted ? start : len;
	}
	return len; /* not UTF-8 at all: leave it */
}

/* Copy `text` into `field`, cut to fit, on one line. They may overlap. */
static void copy_line(char *field, size_t field_size, const char *text)
{
	size_t len = strnlen(text, field_size);

	if (len == field_size)
		len = whole_characters(text, field_size - 1);
	memmove(field, text, len);
	field[len] = '\0';
	for (char *c = field; *c; c++) {
		if ((unsigned char)*c < ' ')
			*c = ' ';
	}
}

orm_status orm_fail(orm_error *error, orm_status code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	orm_fail_v(error, code, format, args);
	va_end(args);
	return code;
}

orm_status orm_fail_v(orm_error *error, orm_status code, const char *format, va_list args)
{
	/* Formatted aside, because the arguments often are the strings of `error` itself; one byte longer than
	 * the field, so that copy_line sees that it has to cut. */
	char message[sizeof error->message + 1];

	if (!error)
		return code;
	if (vsnprintf(message, sizeof message, format, args) < 0)
		message[0] = '\0';
	*error = (orm_error){.code = code};
	copy_line(error->message, sizeof error->message, message);
	return code;
}

orm_status orm_error_at(orm_error *error, const char *model, const char *column, const char *key)
{
	assert(error);
	if (model)
		copy_line(error->model, sizeof error->model, model);
	if (column)
		copy_line(error->column, sizeof error->column, column);
	if (key)
		copy_line(error->key, sizeof error->key, key);
	return error->code;
}

void orm_error_clear(orm_error *error)
{
	if (error)
		*error = (orm_error){.code = ORM_OK};
}
