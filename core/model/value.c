/* SPDX-License-Identifier: MIT */
#include "model/value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

bool orm_value_equal(const orm_value *a, const orm_value *b)
{
	if (a->type != b->type || a->null != b->null)
		return false;
	if (a->null)
		return true;
	switch (a->type) {
	case ORM_BOOL:
		return a->boolean == b->boolean;
	case ORM_DOUBLE:
		return memcmp(&a->number, &b->number, sizeof a->number) == 0;
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_UUID:
	case ORM_JSON:
		return a->size == b->size && (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
	default:
		return a->integer == b->integer;
	}
}

uint64_t orm_value_hash(const orm_value *value, uint64_t seed)
{
	uint64_t bits = 0;

	if (value->null)
		return orm_hash_u64(seed + UINT64_C(0x9e3779b97f4a7c15));
	switch (value->type) {
	case ORM_BOOL:
		bits = value->boolean;
		break;
	case ORM_DOUBLE:
		memcpy(&bits, &value->number, sizeof bits);
		break;
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_UUID:
	case ORM_JSON:
		bits = orm_hash_bytes(value->size > 0 ? value->bytes : "", value->size);
		break;
	default:
		bits = (uint64_t)value->integer;
		break;
	}
	return orm_hash_u64(bits + seed);
}

bool orm_value_copy(orm_value *to, const orm_value *from, orm_arena *arena)
{
	orm_value copy = *from;

	if (!from->null && orm_type_is_borrowed(from->type)) {
		const bool text = orm_type_is_text(from->type);
		char *bytes = orm_arena_alloc(arena, (size_t)from->size + text);

		if (!bytes)
			return false;
		if (from->size > 0)
			memcpy(bytes, from->bytes, from->size);
		if (text)
			bytes[from->size] = '\0';
		copy.bytes = bytes;
	}
	*to = copy;
	return true;
}

static void put_ellipsis(orm_buffer *out)
{
	orm_buffer_puts(out, "\xE2\x80\xA6");
}

/* The shortest digits that read back as the same number, with a point in every locale. */
static void print_number(double number, orm_buffer *out)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, number);

		const double again = strtod(text, NULL);

		if (memcmp(&again, &number, sizeof number) == 0)
			break;
	}
	for (char *c = text; *c; c++) {
		if (*c == ',')
			*c = '.';
	}
	orm_buffer_puts(out, text);
}

static void print_text(const char *text, size_t size, size_t max, orm_buffer *out)
{
	size_t characters = 0;
	bool cut = false;

	orm_buffer_putc(out, '\'');
	for (size_t i = 0; i < size; i++) {
		if (((unsigned char)text[i] & 0xC0) != 0x80 && characters++ == max) {
			cut = true;
			break;
		}
		if (text[i] == '\'')
			orm_buffer_putc(out, '\'');
		orm_buffer_putc(out, text[i]);
	}
	if (cut)
		put_ellipsis(out);
	orm_buffer_putc(out, '\'');
}

static void print_bytes(const unsigned char *bytes, size_t size, size_t max, orm_buffer *out)
{
	static const char digits[] = "0123456789abcdef";
	const size_t shown = size > max / 2 ? max / 2 : size;

	orm_buffer_puts(out, "x'");
	for (size_t i = 0; i < shown; i++) {
		orm_buffer_putc(out, digits[bytes[i] >> 4]);
		orm_buffer_putc(out, digits[bytes[i] & 15]);
	}
	if (shown < size)
		put_ellipsis(out);
	orm_buffer_putc(out, '\'');
}

void orm_value_print(const orm_value *value, size_t max, orm_buffer *out)
{
	char iso[ORM_ISO_SIZE];

	if (value->null) {
		orm_buffer_puts(out, "NULL");
		return;
	}
	switch ((orm_type)value->type) {
	case ORM_BOOL:
		orm_buffer_puts(out, value->boolean ? "true" : "false");
		break;
	case ORM_INT32:
	case ORM_INT64:
		orm_buffer_printf(out, "%lld", (long long)value->integer);
		break;
	case ORM_DOUBLE:
		print_number(value->number, out);
		break;
	case ORM_DECIMAL:
		orm_buffer_put(out, value->text, value->size);
		break;
	case ORM_UUID: {
		orm_uuid uuid;
		char text[ORM_UUID_SIZE];

		memcpy(&uuid, value->bytes, sizeof uuid);
		orm_uuid_format(uuid, text);
		orm_buffer_puts(out, text);
		break;
	}
	case ORM_TEXT:
	case ORM_JSON:
		print_text(value->text, value->size, max, out);
		break;
	case ORM_BYTES:
		print_bytes(value->bytes, value->size, max, out);
		break;
	case ORM_DATE:
		orm_date_format((orm_date){(int32_t)value->integer}, iso);
		orm_buffer_puts(out, iso);
		break;
	case ORM_TIME:
		orm_time_format((orm_time){value->integer}, iso);
		orm_buffer_puts(out, iso);
		break;
	case ORM_DATETIME:
		orm_datetime_format((orm_datetime){value->integer}, iso);
		orm_buffer_puts(out, iso);
		break;
	case ORM_TYPE_NONE:
		orm_buffer_puts(out, "?");
		break;
	}
}

void orm_key_print(const orm_value *values, size_t n, char *text, size_t size)
{
	orm_buffer out;
	size_t len;

	assert(size > 0);
	orm_buffer_init(&out);
	if (n != 1)
		orm_buffer_putc(&out, '(');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			orm_buffer_puts(&out, ", ");
		orm_value_print(&values[i], size, &out);
	}
	if (n != 1)
		orm_buffer_putc(&out, ')');

	len = out.failed ? 0 : out.size;
	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((unsigned char)out.data[len] & 0xC0) == 0x80) /* not through a character */
			len--;
	}
	if (len > 0)
		memcpy(text, out.data, len);
	text[len] = '\0';
	orm_buffer_fini(&out);
}
