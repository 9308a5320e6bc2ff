/* SPDX-License-Identifier: MIT */
#include "client/arguments.h"

#include <string.h>

#include "model/fail.h"

enum { INTEGER = 1, NUMBER, TEXT, BOOLEAN, BYTES, UUID };

/* Which kind of argument a column's values come as. Dates and times are integers by the time they are here. */
static uint8_t kind_of(uint8_t type)
{
	switch (type) {
	case ORM_BOOL:
		return BOOLEAN;
	case ORM_DOUBLE:
		return NUMBER;
	case ORM_TEXT:
		return TEXT;
	case ORM_BYTES:
		return BYTES;
	case ORM_UUID:
		return UUID;
	default:
		return INTEGER;
	}
}

static orm_status check_kind(const orm_layout *layout, const orm_column *column, const orm_arg *argument,
			     orm_error *error)
{
	static const char *const names[] = {"nothing", "an integer", "a floating-point number", "a text", "a bool",
					    "bytes",   "a UUID"};
	const uint8_t kind = argument->kind < sizeof names / sizeof *names ? argument->kind : 0;

	if (kind == kind_of((uint8_t)column->type))
		return ORM_OK;
	return orm_fail_at(error, ORM_EINVAL, layout->model->name, column->name,
			   "the key column is of type %s, but orm_get was given %s", orm_type_name(column->type),
			   names[kind]);
}

static bool convert(const orm_column *column, const orm_arg *argument, orm_value *value)
{
	*value = (orm_value){.type = (uint8_t)column->type};
	switch (argument->kind) {
	case INTEGER:
		value->integer = argument->as.integer;
		return (column->type != ORM_INT32 && column->type != ORM_DATE) ||
		       (value->integer >= INT32_MIN && value->integer <= INT32_MAX);
	case NUMBER:
		value->number = argument->as.number;
		return true;
	case BOOLEAN:
		value->boolean = argument->as.boolean;
		return true;
	case TEXT: {
		const size_t size = argument->as.text ? strlen(argument->as.text) : 0;

		value->text = argument->as.text;
		value->size = (uint32_t)size;
		return value->text && size < UINT32_MAX && orm_utf8_valid(value->text, size);
	}
	case UUID:
		value->bytes = &argument->as.uuid;
		value->size = sizeof argument->as.uuid;
		return true;
	default:
		value->bytes = argument->as.bytes.data;
		value->size = (uint32_t)argument->as.bytes.size;
		return value->bytes && argument->as.bytes.size < UINT32_MAX;
	}
}

orm_status arguments_key(const orm_layout *layout, const orm_arg *arguments, size_t n_arguments, size_t max_values,
			 orm_value *values, bool *possible, orm_error *error)
{
	const orm_mapper *mapper = layout->mapper;
	bool all = true;

	if (n_arguments != mapper->n_key || n_arguments > max_values)
		return orm_fail_at(error, ORM_EINVAL, layout->model->name, NULL,
				   "the primary key has %u column%s, but orm_get was given %zu value%s", mapper->n_key,
				   mapper->n_key == 1 ? "" : "s", n_arguments, n_arguments == 1 ? "" : "s");
	for (size_t i = 0; i < n_arguments; i++) {
		const orm_column *column = &mapper->columns[mapper->key[i]];
		const orm_status status = check_kind(layout, column, &arguments[i], error);

		if (status != ORM_OK)
			return status;
		all = convert(column, &arguments[i], &values[i]) && all;
	}
	*possible = all;
	return ORM_OK;
}
