/* SPDX-License-Identifier: MIT */
#include "session/record.h"

#include <assert.h>

#include "base/map.h"

void ormd_record_value(const ormd_layout *layout, const ormd_record *record, uint16_t column, orm_value *value)
{
	const uint8_t type = layout->cells[column].type;

	*value = (orm_value){.type = type, .null = ormd_record_is_null(layout, record, column)};
	if (value->null)
		return;
	switch ((orm_type)type) {
	case ORM_BOOL:
		value->boolean = ormd_record_bool(layout, record, column);
		break;
	case ORM_INT32:
	case ORM_DATE:
		value->integer = ormd_record_int32(layout, record, column);
		break;
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		value->integer = ormd_record_int64(layout, record, column);
		break;
	case ORM_DOUBLE:
		value->number = ormd_record_double(layout, record, column);
		break;
	case ORM_UUID:
		value->bytes = ormd_record_at(record, layout->cells[column].offset);
		value->size = sizeof(orm_uuid);
		break;
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_JSON:
		value->text = ormd_record_bytes(layout, record, column, &value->size);
		break;
	case ORM_TYPE_NONE:
		assert(false && "a column has a type");
		break;
	}
}

bool ormd_record_cell_equal(const ormd_layout *layout, const ormd_record *a, const ormd_record *b, uint16_t column)
{
	const ormd_cell *cell = &layout->cells[column];
	const bool null = ormd_record_is_null(layout, a, column);

	if (null != ormd_record_is_null(layout, b, column) ||
	    ormd_record_is_unset(layout, a, column) != ormd_record_is_unset(layout, b, column))
		return false;
	if (null)
		return true;
	if (!cell->variable)
		return memcmp(ormd_record_at(a, cell->offset), ormd_record_at(b, cell->offset),
			      orm_type_size((orm_type)cell->type)) == 0;

	uint32_t size, other_size;
	const char *bytes = ormd_record_bytes(layout, a, column, &size);
	const char *other = ormd_record_bytes(layout, b, column, &other_size);

	return size == other_size && memcmp(bytes, other, size) == 0;
}

/* ---- making ---- */

static void *at(ormd_record *record, uint32_t offset)
{
	return (char *)record + offset;
}

static void set_bit(ormd_record *record, uint32_t offset, uint16_t column, bool bit)
{
	uint8_t *byte = (uint8_t *)at(record, offset) + (column >> 3);
	const uint8_t mask = (uint8_t)(1U << (column & 7));

	*byte = (uint8_t)(bit ? *byte | mask : *byte & ~mask);
}

static void put_fixed(const ormd_layout *layout, ormd_record *record, uint16_t column, const orm_value *value)
{
	const ormd_cell *cell = &layout->cells[column];
	void *to = at(record, cell->offset);

	set_bit(record, layout->nulls, column, value->null);
	if (value->null) {
		memset(to, 0, orm_type_size((orm_type)cell->type));
		return;
	}
	switch ((orm_type)cell->type) {
	case ORM_BOOL:
		*(uint8_t *)to = value->boolean;
		break;
	case ORM_INT32:
	case ORM_DATE:
		memcpy(to, &(int32_t){(int32_t)value->integer}, sizeof(int32_t));
		break;
	case ORM_DOUBLE:
		memcpy(to, &value->number, sizeof value->number);
		break;
	case ORM_UUID:
		memcpy(to, value->bytes, sizeof(orm_uuid));
		break;
	default:
		memcpy(to, &value->integer, sizeof value->integer);
		break;
	}
}

/* Bytes that a value takes behind the fixed part: text has its NUL, NULL has nothing. */
static uint64_t variable_size(const orm_value *value)
{
	return value->null ? 0 : (uint64_t)value->size + orm_type_is_text(value->type);
}

static inline uint32_t put_variable(const ormd_layout *layout, ormd_record *record, uint16_t column, const void *bytes,
				    uint32_t size, bool text, uint32_t end)
{
	set_bit(record, layout->nulls, column, !bytes);
	if (bytes) {
		if (size > 0)
			memcpy(at(record, end), bytes, size);
		end += size;
		if (text)
			*(char *)at(record, end++) = '\0';
	}
	memcpy(at(record, layout->cells[column].offset), &end, sizeof end);
	return end;
}

static ormd_record *allocate(uint64_t size, orm_pool *pool)
{
	ormd_record *record = size <= UINT32_MAX ? orm_pool_alloc(pool, (size_t)size) : NULL;

	if (record)
		record->size = (uint32_t)size;
	return record;
}

ormd_record *ormd_record_new(const ormd_layout *layout, const orm_value *values, const uint8_t *unset, orm_pool *pool)
{
	uint64_t size = layout->fixed_size;

	for (uint16_t i = 0; i < layout->n_columns; i++) {
		if (layout->cells[i].variable)
			size += variable_size(&values[i]);
	}

	ormd_record *record = allocate(size, pool);
	uint32_t end = layout->fixed_size;

	if (!record)
		return NULL;
	memset(record->data, 0, layout->fixed_size - sizeof record->size);
	if (layout->has_unset && unset)
		memcpy(at(record, layout->unset), unset, layout->bits_size);
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		const orm_value *value = &values[i];

		assert(value->null || value->type == layout->cells[i].type);
		if (!layout->cells[i].variable)
			put_fixed(layout, record, i, value);
		else
			end = put_variable(layout, record, i,
					   value->null       ? NULL
					   : value->size > 0 ? value->bytes
							     : "",
					   value->size, layout->cells[i].text, end);
	}
	return record;
}

ormd_record *ormd_record_with(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			      const orm_value *values, size_t n_columns, orm_pool *pool)
{
	uint64_t size = record->size;
	bool variable = false;

	for (size_t i = 0; i < n_columns; i++) {
		uint32_t old;

		if (!layout->cells[columns[i]].variable)
			continue;
		variable = true;
		ormd_record_bytes(layout, record, columns[i], &old);
		size -= old + (layout->cells[columns[i]].text && !ormd_record_is_null(layout, record, columns[i]));
		size += variable_size(&values[i]);
	}

	ormd_record *changed = allocate(size, pool);

	if (!changed)
		return NULL;
	memcpy(changed->data, record->data, (variable ? layout->fixed_size : record->size) - sizeof record->size);
	if (variable) {
		const orm_value *replaced[ORM_MAX_COLUMNS];
		uint32_t end = layout->fixed_size;

		memset(replaced, 0, layout->n_columns * sizeof replaced[0]);
		for (size_t i = 0; i < n_columns; i++)
			replaced[columns[i]] = &values[i];
		for (uint16_t i = 0; i < layout->n_columns; i++) {
			orm_value kept;
			const orm_value *value = replaced[i];

			if (!layout->cells[i].variable)
				continue;
			if (!value) {
				ormd_record_value(layout, record, i, &kept);
				value = &kept;
			}
			end = put_variable(layout, changed, i,
					   value->null       ? NULL
					   : value->size > 0 ? value->bytes
							     : "",
					   value->size, layout->cells[i].text, end);
		}
	}
	for (size_t i = 0; i < n_columns; i++) {
		if (!layout->cells[columns[i]].variable)
			put_fixed(layout, changed, columns[i], &values[i]);
		if (layout->has_unset)
			set_bit(changed, layout->unset, columns[i], false);
	}
	return changed;
}

void ormd_record_free(ormd_record *record, orm_pool *pool)
{
	if (record)
		orm_pool_free(pool, record, record->size);
}

void ormd_record_set_fixed(const ormd_layout *layout, ormd_record *record, uint16_t column, const orm_value *value)
{
	put_fixed(layout, record, column, value);
	if (layout->has_unset)
		set_bit(record, layout->unset, column, false);
}

void ormd_record_set_integer(const ormd_layout *layout, ormd_record *record, uint16_t column, int64_t integer)
{
	ormd_record_set_fixed(layout, record, column,
			      &(orm_value){.type = layout->cells[column].type, .integer = integer});
}

/* ---- rows of a batch ---- */

static const orm_vector *vector_of(const orm_batch *batch, uint16_t column)
{
	for (size_t i = 0; i < batch->n_vectors; i++) {
		if (batch->vectors[i].column == column)
			return &batch->vectors[i];
	}
	return NULL;
}

bool ormd_record_reader_init(ormd_record_reader *reader, const ormd_layout *layout, const orm_batch *batch,
			     orm_arena *arena)
{
	const orm_mapper *mapper = layout->mapper;
	ormd_record *start = orm_arena_calloc(arena, 1, layout->fixed_size);

	*reader = (ormd_record_reader){.layout = layout, .start = (const char *)start};
	reader->fixed = orm_arena_calloc(arena, layout->n_columns, sizeof *reader->fixed);
	reader->variable = orm_arena_calloc(arena, layout->n_variable, sizeof *reader->variable);
	if (!start || !reader->fixed || !reader->variable)
		return false;
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		const ormd_cell *cell = &layout->cells[i];
		const orm_vector *vector = vector_of(batch, i);

		if (!vector) {
			set_bit(start, layout->nulls, i, true);
			if (layout->has_unset && (mapper->columns[i].server_default || i == mapper->version))
				set_bit(start, layout->unset, i, true);
		}
		if (cell->variable) {
			ormd_variable_source *source = &reader->variable[reader->n_variable++];

			source->column = i;
			source->text = cell->text;
			if (vector)
				orm_vector_cursor_init(&source->cursor, vector);
		} else if (vector) {
			reader->fixed[reader->n_fixed++] =
				(ormd_fixed_source){.cells = vector->cells,
						    .nulls = vector->nulls,
						    .offset = cell->offset,
						    .column = i,
						    .width = (uint8_t)orm_type_size((orm_type)cell->type)};
		}
	}
	return true;
}

ormd_record *ormd_record_reader_next(ormd_record_reader *reader, orm_pool *pool)
{
	const ormd_layout *layout = reader->layout;
	const size_t row = reader->row++;
	uint64_t size = layout->fixed_size;

	for (size_t i = 0; i < reader->n_variable; i++) {
		ormd_variable_source *source = &reader->variable[i];

		if (!source->cursor.vector)
			continue;
		source->bytes = source->text ? orm_vector_cursor_next_text(&source->cursor, &source->size)
					     : orm_vector_bytes_at(source->cursor.vector, row, &source->size);
		if (source->bytes)
			size += (uint64_t)source->size + source->text;
	}

	ormd_record *record = allocate(size, pool);
	uint32_t end = layout->fixed_size;

	if (!record)
		return NULL;
	memcpy(record->data, reader->start + sizeof record->size, layout->fixed_size - sizeof record->size);
	for (size_t i = 0; i < reader->n_fixed; i++) {
		const ormd_fixed_source *source = &reader->fixed[i];

		if (source->nulls && (source->nulls[row >> 3] >> (row & 7) & 1)) {
			set_bit(record, layout->nulls, source->column, true);
			continue;
		}
		switch (source->width) {
		case sizeof(uint64_t):
			memcpy(at(record, source->offset), source->cells + row * sizeof(uint64_t), sizeof(uint64_t));
			break;
		case sizeof(uint32_t):
			memcpy(at(record, source->offset), source->cells + row * sizeof(uint32_t), sizeof(uint32_t));
			break;
		case sizeof(orm_uuid):
			memcpy(at(record, source->offset), source->cells + row * sizeof(orm_uuid), sizeof(orm_uuid));
			break;
		default:
			*(uint8_t *)at(record, source->offset) = (uint8_t)source->cells[row];
			break;
		}
	}
	for (size_t i = 0; i < reader->n_variable; i++) {
		const ormd_variable_source *source = &reader->variable[i];

		end = put_variable(layout, record, source->column, source->bytes, source->size, source->text, end);
	}
	return record;
}

/* ---- keys ---- */

uint32_t ormd_record_hash(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			  size_t n_columns)
{
	uint64_t hash = 0;

	if (n_columns == 1 &&
	    (layout->cells[columns[0]].type == ORM_INT64 || layout->cells[columns[0]].type == ORM_INT32) &&
	    !ormd_record_is_null(layout, record, columns[0]))
		return (uint32_t)(orm_hash_u64((uint64_t)ormd_record_integer(layout, record, columns[0])) >> 32);
	for (size_t i = 0; i < n_columns; i++) {
		orm_value value;

		ormd_record_value(layout, record, columns[i], &value);
		hash = orm_value_hash(&value, hash);
	}
	return (uint32_t)(hash >> 32);
}

uint32_t ormd_values_hash(const orm_value *values, size_t n_values)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < n_values; i++)
		hash = orm_value_hash(&values[i], hash);
	return (uint32_t)(hash >> 32);
}

bool ormd_record_equals(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			const orm_value *values, size_t n_columns)
{
	for (size_t i = 0; i < n_columns; i++) {
		orm_value value;

		ormd_record_value(layout, record, columns[i], &value);
		if (!orm_value_equal(&value, &values[i]))
			return false;
	}
	return true;
}

bool ormd_record_same_key(const ormd_layout *layout, const ormd_record *a, const ormd_record *b)
{
	const orm_mapper *mapper = layout->mapper;

	if (layout->integer_key)
		return ormd_record_integer(layout, a, mapper->key[0]) == ormd_record_integer(layout, b, mapper->key[0]);
	for (uint16_t i = 0; i < mapper->n_key; i++) {
		if (!ormd_record_cell_equal(layout, a, b, mapper->key[i]))
			return false;
	}
	return true;
}

void ormd_record_key_print(const ormd_layout *layout, const ormd_record *record, char *text, size_t size)
{
	const orm_mapper *mapper = layout->mapper;
	orm_value values[ORM_MAX_COLUMNS];

	for (uint16_t i = 0; i < mapper->n_key; i++)
		ormd_record_value(layout, record, mapper->key[i], &values[i]);
	orm_key_print(values, mapper->n_key, text, size);
}
