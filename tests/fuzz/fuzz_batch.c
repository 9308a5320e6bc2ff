/* SPDX-License-Identifier: MIT */
/*
 * orm_batch_check must read nothing outside the arrays it is given, and what it lets pass must be safe to walk and must
 * come back the same through a builder. Arrays are malloc'ed to the byte, so that a sanitizer sees one too many.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_VECTORS 8

/* The input, consumed from the front; zeros after its end. */
typedef struct input {
	const uint8_t *data;
	size_t left;
} input;

static uint8_t take(input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

/* Bytes of their own, aligned for any cell. */
static void *take_bytes(input *in, size_t size)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1);

	if (!bytes)
		abort();
	for (size_t i = 0; i < size; i++)
		bytes[i] = take(in);
	return bytes;
}

static const orm_mapper *model(void)
{
	static orm_registry *registry;
	orm_column_spec columns[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "a", .type = ORM_BOOL, .nullable = true},
		{.name = "b", .type = ORM_INT32, .nullable = true},
		{.name = "c", .type = ORM_DOUBLE},
		{.name = "d", .type = ORM_TEXT, .nullable = true},
		{.name = "e", .type = ORM_TEXT, .max_length = 3},
		{.name = "f", .type = ORM_BYTES, .nullable = true},
		{.name = "g", .type = ORM_BYTES, .max_length = 3},
		{.name = "h", .type = ORM_DATE},
		{.name = "i", .type = ORM_TIME, .nullable = true},
		{.name = "j", .type = ORM_DATETIME, .nullable = true},
		{.name = "k", .type = ORM_DECIMAL, .nullable = true, .precision = 3, .scale = 1},
		{.name = "l", .type = ORM_UUID, .nullable = true},
		{.name = "m", .type = ORM_JSON, .nullable = true},
	};
	const orm_model_spec spec = {
		.name = "All", .table = "all", .columns = columns, .n_columns = sizeof columns / sizeof *columns};

	if (!registry)
		registry = orm_registry_new(&spec, 1, NULL); /* kept for the next input */
	if (!registry)
		abort();
	return &registry->mappers[0];
}

/* How the arrays of one vector are made: freely, or so that they have a chance to pass. */
enum { FITTING_SIZES = 1, WITH_NULLS = 2, TAME_CELLS = 4, WITHOUT_CELLS = 8 };

static void tame(orm_vector *vector, uint8_t *cells, uint32_t *ends, size_t n_rows)
{
	if (vector->type == ORM_BOOL) {
		for (size_t i = 0; i < vector->size; i++)
			cells[i] &= 1;
	} else if (vector->type == ORM_TIME) {
		for (size_t i = 7; i < vector->size; i += 8)
			cells[i] = cells[i - 1] = cells[i - 2] = 0;
	} else if (orm_type_is_text(vector->type)) {
		/* One terminator a row: fewer are made up for from the end, more are overwritten. */
		size_t n = 0;

		for (size_t i = 0; i < vector->size; i++) {
			if (cells[i] == 0 && ++n > n_rows)
				cells[i] = 'x';
		}
		for (size_t i = vector->size; i-- > 0 && n < n_rows;) {
			if (cells[i] != 0) {
				cells[i] = 0;
				n++;
			}
		}
	} else if (vector->type == ORM_BYTES) {
		for (size_t i = 0; i < n_rows; i++)
			ends[i] = i + 1 == n_rows ? (uint32_t)vector->size : (uint32_t)(vector->size * i / n_rows);
	}
}

static void make_vector(input *in, const orm_mapper *mapper, size_t n_rows, orm_vector *vector, size_t *n_cells,
			size_t *nulls_size)
{
	const uint8_t flags = take(in);
	const bool fits = flags & FITTING_SIZES;
	const uint8_t column = take(in);

	vector->column = (uint16_t)(fits ? column % mapper->n_columns : column);
	vector->type = (uint8_t)(fits ? mapper->columns[vector->column].type : take(in) % (ORM_TYPE_MAX + 2));

	const size_t width = orm_type_size((orm_type)vector->type);
	const size_t run = fits ? n_rows * 3 : take(in);
	uint8_t *cells = NULL;
	uint32_t *ends = NULL;

	*n_cells = fits ? n_rows : take(in);
	*nulls_size = !(flags & WITH_NULLS) ? 0 : fits ? (n_rows + 7) / 8 : take(in) % 16;
	vector->size = width > 0 ? *n_cells * width : run;
	vector->nulls = flags & WITH_NULLS ? take_bytes(in, *nulls_size) : NULL;
	if (!(flags & WITHOUT_CELLS))
		cells = take_bytes(in, vector->size);
	if (vector->type == ORM_BYTES)
		ends = take_bytes(in, *n_cells * sizeof *ends);
	if (flags & TAME_CELLS && fits && cells)
		tame(vector, cells, ends, n_rows);
	vector->cells = cells;
	vector->ends = ends;
}

/* What has passed the check must be safe to read, and survive a builder. */
static void walk(const orm_batch *batch)
{
	orm_batch_builder builder;
	orm_vector vectors[MAX_VECTORS];
	uint16_t columns[MAX_VECTORS];
	orm_batch again;

	for (size_t i = 0; i < batch->n_vectors; i++)
		columns[i] = batch->vectors[i].column;
	if (!orm_batch_builder_init(&builder, batch->mapper, columns, batch->n_vectors))
		abort();
	for (size_t i = 0; i < batch->n_vectors; i++) {
		orm_vector_cursor cursor;
		orm_value value;

		orm_vector_cursor_init(&cursor, &batch->vectors[i]);
		for (size_t row = 0; row < batch->n_rows; row++) {
			orm_vector_cursor_next(&cursor, &value);
			if (orm_type_is_text(value.type) && !value.null &&
			    (strlen(value.text) != value.size || !orm_utf8_valid(value.text, value.size) ||
			     orm_column_text_fault(&batch->mapper->columns[columns[i]], value.text, value.size)))
				abort();
			orm_vector_builder_put(&builder.vectors[i], &value);
		}
	}
	builder.n_rows = batch->n_rows;
	if (!orm_batch_builder_view(&builder, vectors, &again))
		abort();
	for (size_t i = 0; i < batch->n_vectors; i++) {
		orm_vector_cursor before;
		orm_vector_cursor after;
		orm_value a;
		orm_value b;

		orm_vector_cursor_init(&before, &batch->vectors[i]);
		orm_vector_cursor_init(&after, &vectors[i]);
		for (size_t row = 0; row < batch->n_rows; row++) {
			orm_vector_cursor_next(&before, &a);
			orm_vector_cursor_next(&after, &b);
			if (!orm_value_equal(&a, &b))
				abort();
		}
	}
	orm_batch_builder_fini(&builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input in = {.data = data, .left = size};
	orm_vector vectors[MAX_VECTORS] = {{0}};
	size_t n_cells[MAX_VECTORS];
	size_t nulls_size[MAX_VECTORS];
	orm_batch batch = {.mapper = model(), .vectors = vectors};
	orm_error error = {.code = ORM_OK};

	batch.n_vectors = take(&in) % (MAX_VECTORS + 1);
	batch.n_rows = take(&in) % 40;
	for (size_t i = 0; i < batch.n_vectors; i++)
		make_vector(&in, batch.mapper, batch.n_rows, &vectors[i], &n_cells[i], &nulls_size[i]);

	const orm_status status = orm_batch_check(&batch, n_cells, nulls_size, &error);

	if (status != error.code || (status != ORM_OK && (!error.message[0] || !error.model[0])))
		abort();
	if (status == ORM_OK && batch.n_vectors > 0)
		walk(&batch);
	for (size_t i = 0; i < batch.n_vectors; i++) {
		free((void *)(uintptr_t)vectors[i].nulls);
		free((void *)(uintptr_t)vectors[i].cells);
		free((void *)(uintptr_t)vectors[i].ends);
	}
	return 0;
}
