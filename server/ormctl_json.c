/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sysexits.h>

#include "server/ormctl.h"

static json_t *json_of_message(const ProtobufCMessage *message);

static json_t *json_of_text(const char *text)
{
	json_t *json = json_string(text ? text : "");

	return json ? json : json_string("(not UTF-8)");
}

static json_t *json_of_id(uint64_t id)
{
	char text[24];

	snprintf(text, sizeof text, "%016" PRIx64, id);
	return json_string(text);
}

static json_t *json_of_enum(const ProtobufCEnumDescriptor *type, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

	return value ? json_string(value->name) : json_integer(number);
}

static json_t *json_of_bytes(const ProtobufCBinaryData *bytes)
{
	json_t *json = json_stringn((const char *)bytes->data, bytes->len);

	return json ? json : json_string("(not UTF-8)");
}

/* One value of a field, at `at` in its message. */
static json_t *json_of_value(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
		return json_integer(*(const json_int_t *)at);
	case PROTOBUF_C_TYPE_FIXED64:
		return json_of_id(*(const uint64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return json_of_enum(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_of_text(*(const char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return json_of_bytes(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return json_of_message(*(const ProtobufCMessage *const *)at);
	}
	return NULL;
}

static size_t size_of_value(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

static bool is_present(const ProtobufCFieldDescriptor *field, const char *message)
{
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(message + field->offset) != NULL;
	return *(const protobuf_c_boolean *)(message + field->quantifier_offset) != 0;
}

static json_t *json_of_list(const ProtobufCFieldDescriptor *field, const char *message)
{
	const size_t n = *(const size_t *)(message + field->quantifier_offset);
	const char *values = *(const char *const *)(message + field->offset);
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++) {
		if (json_array_append_new(list, json_of_value(field, values + i * size_of_value(field->type))) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

/* Owned; NULL when out of memory. No message type of ours contains itself, so the depth is bounded. */
static json_t *json_of_message(const ProtobufCMessage *message)
{
	json_t *object = json_object();

	for (unsigned i = 0; object && i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *base = (const char *)message;
		json_t *value;

		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			value = json_of_list(field, base);
		else if (field->label == PROTOBUF_C_LABEL_REQUIRED || is_present(field, base))
			value = json_of_value(field, base + field->offset);
		else
			continue;
		if (json_object_set_new(object, field->name, value) != 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

int ormctl_print_json(const ProtobufCMessage *message)
{
	json_t *json = json_of_message(message);

	if (!json)
		return ormctl_fail(EX_OSERR, "out of memory");

	const bool written = json_dumpf(json, stdout, JSON_INDENT(2)) == 0 && putchar('\n') == '\n';

	json_decref(json);
	return written ? ORMCTL_OK : ormctl_fail(EX_IOERR, "cannot write the output");
}
