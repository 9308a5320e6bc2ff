/* SPDX-License-Identifier: MIT */
#include "model/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool orm_batch_builder_init(orm_batch_builder *builder, const orm_mapper *mapper, const uint16_t *columns,
			    size_t n_columns)
{
	*builder = (orm_batch_builder){.mapper = mapper};
	if (!columns)
		n_columns = mapper->n_columns;
	if (n_columns == 0)
		return true;
	builder->vectors = calloc(n_columns, sizeof *builder->vectors);
	if (!builder->vectors) {
		builder->failed = true;
		return false;
	}
	builder->n_vectors = n_columns;
	for (size_t i = 0; i < n_columns; i++) {
		const uint16_t column = columns ? columns[i] : (uint16_t)i;

		assert(column < mapper->n_columns);
		builder->vectors[i].column = column;
		builder->vectors[i].type = (uint8_t)mapper->columns[column].type;
	}
	return true;
}

void orm_batch_builder_fini(orm_batch_builder *builder)
{
	if (!builder)
		return;
	for (size_t i = 0; i < builder->n_vectors; i++) {
		orm_buffer_fini(&builder->vectors[i].cells);
		orm_buffer_fini(&builder->vectors[i].nulls);
		orm_buffer_fini(&builder->vectors[i].ends);
	}
	free(builder->vectors);
	*builder = (orm_batch_builder){0};
}

void orm_batch_builder_reset(orm_batch_builder *builder)
{
	for (size_t i = 0; i < builder->n_vectors; i++) {
		orm_buffer_reset(&builder->vectors[i].cells);
		orm_buffer_reset(&builder->vectors[i].nulls);
		orm_buffer_reset(&builder->vectors[i].ends);
		builder->vectors[i].n_rows = 0;
	}
	builder->n_rows = 0;
	builder->failed = false;
}

void orm_vector_builder_put(orm_vector_builder *vector, const orm_value *value)
{
	if (value->null) {
		orm_vector_builder_put_null(vector);
		return;
	}
	assert(value->type == vector->type);
	switch (vector->type) {
	case ORM_BOOL:
		orm_vector_builder_put_bool(vector, value->boolean);
		break;
	case ORM_INT32:
	case ORM_DATE:
		orm_vector_builder_put_int32(vector, (int32_t)value->integer);
		break;
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		orm_vector_builder_put_int64(vector, value->integer);
		break;
	case ORM_DOUBLE:
		orm_vector_builder_put_double(vector, value->number);
		break;
	case ORM_UUID:
		orm_vector_builder_put_uuid(vector, value->bytes);
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		orm_vector_builder_put_text(vector, value->text, value->size);
		break;
	default:
		orm_vector_builder_put_bytes(vector, value->bytes, value->size);
		break;
	}
}

/* The bitmap up to and with the row to come; the rows before the first NULL are made up for. */
static void grow_nulls(orm_vector_builder *vector)
{
	const size_t size = vector->n_rows / 8 + 1;
	const size_t more = size - vector->nulls.size;

	if (more == 0 || !orm_buffer_reserve(&vector->nulls, more))
		return;
	memset(vector->nulls.data + vector->nulls.size, 0, more);
	vector->nulls.size = size;
}

static void put_end(orm_vector_builder *vector)
{
	const uint32_t end = (uint32_t)vector->cells.size;

	if (vector->cells.size > UINT32_MAX)
		vector->ends.failed = true;
	orm_buffer_put(&vector->ends, &end, sizeof end);
}

void orm_vector_builder_put_null(orm_vector_builder *vector)
{
	static const char zeros[sizeof(orm_uuid)];
	const size_t byte = vector->n_rows / 8;

	grow_nulls(vector);
	if (byte < vector->nulls.size) /* not when it failed */
		vector->nulls.data[byte] = (char)(vector->nulls.data[byte] | 1 << (vector->n_rows & 7));
	if (vector->type == ORM_BYTES)
		put_end(vector);
	else
		orm_buffer_put(&vector->cells, zeros,
			       orm_type_is_text(vector->type) ? 1 : orm_type_size((orm_type)vector->type));
	vector->n_rows++;
}

void orm_vector_builder_put_text(orm_vector_builder *vector, const char *text, size_t size)
{
	orm_buffer *cells = &vector->cells;

	if (size < UINT32_MAX && orm_buffer_reserve(cells, size + 1)) {
		if (size > 0)
			memcpy(cells->data + cells->size, text, size);
		cells->size += size;
		cells->data[cells->size++] = '\0';
	} else {
		cells->failed = true;
	}
	orm_vector_builder_note_present(vector);
}

void orm_vector_builder_put_bytes(orm_vector_builder *vector, const void *data, size_t size)
{
	orm_buffer_append(&vector->cells, data, size);
	put_end(vector);
	orm_vector_builder_note_present(vector);
}

size_t orm_batch_builder_size(const orm_batch_builder *builder)
{
	size_t size = 0;

	for (size_t i = 0; i < builder->n_vectors; i++) {
		const orm_vector_builder *vector = &builder->vectors[i];

		size += vector->cells.size + vector->nulls.size + vector->ends.size;
	}
	return size;
}

bool orm_batch_builder_view(const orm_batch_builder *builder, orm_vector *vectors, orm_batch *batch)
{
	if (builder->failed)
		return false;
	for (size_t i = 0; i < builder->n_vectors; i++) {
		const orm_vector_builder *vector = &builder->vectors[i];

		if (vector->cells.failed || vector->nulls.failed || vector->ends.failed)
			return false;
	}
	for (size_t i = 0; i < builder->n_vectors; i++) {
		const orm_vector_builder *vector = &builder->vectors[i];

		assert(vector->n_rows == builder->n_rows);
		vectors[i] = (orm_vector){
			.column = vector->column,
			.type = vector->type,
			.nulls = vector->nulls.size > 0 ? (const uint8_t *)vector->nulls.data : NULL,
			.cells = vector->cells.data,
			.size = vector->cells.size,
			.ends = (const uint32_t *)(const void *)vector->ends.data,
		};
	}
	*batch = (orm_batch){
		.mapper = builder->mapper,
		.n_rows = builder->n_rows,
		.n_vectors = builder->n_vectors,
		.vectors = vectors,
	};
	return true;
}
