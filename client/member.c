/* SPDX-License-Identifier: MIT */
#include "client/binding.h"

static bool has_value(const orm_member *member, const void *object)
{
	return *((const uint8_t *)object + member->offset) != 0; /* `has` comes first in every optional */
}

static const void *value_of(const orm_member *member, const void *object)
{
	return (const char *)object + member->value_offset;
}

static const char *text_of(const orm_member *member, const void *object)
{
	const char *text;

	memcpy(&text, (const char *)object + member->offset, sizeof text);
	return text;
}

static orm_bytes bytes_of(const orm_member *member, const void *object)
{
	orm_bytes bytes;

	memcpy(&bytes, (const char *)object + member->offset, sizeof bytes);
	return bytes;
}

bool orm_member_is_null(const orm_member *member, const void *object)
{
	if (member->optional)
		return !has_value(member, object);
	if (orm_type_is_text(member->type) || member->type == ORM_BYTES)
		return text_of(member, object) == NULL; /* all of their structs begin with the pointer */
	return false;
}

static size_t value_size(const orm_member *member)
{
	return orm_type_size((orm_type)member->type);
}

bool orm_member_equal(const orm_member *member, const void *a, const void *b)
{
	if (orm_type_is_text(member->type)) {
		const char *one = text_of(member, a);
		const char *other = text_of(member, b);

		return one == other || (one && other && strcmp(one, other) == 0);
	}
	if (member->type == ORM_BYTES) {
		const orm_bytes one = bytes_of(member, a);
		const orm_bytes other = bytes_of(member, b);

		if (!one.data || !other.data)
			return one.data == other.data;
		return one.size == other.size &&
		       (one.data == other.data || memcmp(one.data, other.data, one.size) == 0);
	}
	if (member->optional) {
		if (!has_value(member, a) || !has_value(member, b))
			return has_value(member, a) == has_value(member, b);
	}
	return memcmp(value_of(member, a), value_of(member, b), value_size(member)) == 0;
}

void orm_member_get(const orm_member *member, const void *object, orm_value *value)
{
	*value = (orm_value){.type = member->type, .null = orm_member_is_null(member, object)};
	if (value->null)
		return;
	switch (member->type) {
	case ORM_BOOL:
		value->boolean = *(const uint8_t *)value_of(member, object) != 0;
		break;
	case ORM_INT32:
	case ORM_DATE: {
		int32_t integer;

		memcpy(&integer, value_of(member, object), sizeof integer);
		value->integer = integer;
		break;
	}
	case ORM_DOUBLE:
		memcpy(&value->number, value_of(member, object), sizeof value->number);
		break;
	case ORM_UUID:
		value->bytes = value_of(member, object);
		value->size = sizeof(orm_uuid);
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		value->text = text_of(member, object);
		value->size = (uint32_t)strlen(value->text);
		break;
	case ORM_BYTES: {
		const orm_bytes bytes = bytes_of(member, object);

		value->bytes = bytes.data;
		value->size = (uint32_t)bytes.size;
		break;
	}
	default:
		memcpy(&value->integer, value_of(member, object), sizeof value->integer);
		break;
	}
}

void orm_member_set(const orm_member *member, void *object, const orm_value *value)
{
	char *to = (char *)object + member->value_offset;

	memset((char *)object + member->offset, 0, member->size);
	if (value->null)
		return;
	if (member->optional)
		*((uint8_t *)object + member->offset) = 1;
	switch (member->type) {
	case ORM_BOOL: {
		const bool boolean = value->boolean;

		memcpy(to, &boolean, sizeof boolean);
		break;
	}
	case ORM_INT32:
	case ORM_DATE: {
		const int32_t integer = (int32_t)value->integer;

		memcpy(to, &integer, sizeof integer);
		break;
	}
	case ORM_DOUBLE:
		memcpy(to, &value->number, sizeof value->number);
		break;
	case ORM_UUID:
		memcpy(to, value->bytes, sizeof(orm_uuid));
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		memcpy(to, &value->text, sizeof value->text);
		break;
	case ORM_BYTES: {
		const orm_bytes bytes = {.data = value->bytes, .size = value->size};

		memcpy(to, &bytes, sizeof bytes);
		break;
	}
	default:
		memcpy(to, &value->integer, sizeof value->integer);
		break;
	}
}
