/* SPDX-License-Identifier: MIT */
#include "model/batch.h"

#include <stdio.h>
#include <string.h>

#include "model/fail.h"
#include "model/utf8.h"

#define DAY_US INT64_C(86400000000)

/* One vector under the eye, with what is known of it. */
typedef struct inspection {
	const orm_mapper *mapper;
	const orm_column *column;
	const orm_vector *vector;
	size_t n_rows;
	size_t n_cells;
	bool uncommitted;
	orm_error *error;
} inspection;

static orm_status refuse(const inspection *in, orm_status code, const char *what)
{
	return orm_fail_at(in->error, code, in->mapper->name, in->column->name, "%s", what);
}

/* Rows are counted from 1: a new object may have no key yet to name it by. */
static orm_status refuse_row(const inspection *in, orm_status code, size_t row, const char *what)
{
	if (in->n_rows == 1)
		return refuse(in, code, what);
	return orm_fail_at(in->error, code, in->mapper->name, in->column->name, "%s (row %zu of %zu)", what, row + 1,
			   in->n_rows);
}

static orm_status refuse_length(const inspection *in, size_t row, size_t length, const char *unit)
{
	char what[128];

	snprintf(what, sizeof what, "the value has %zu %s, but max_length is %u: shorten it", length, unit,
		 (unsigned)in->column->max_length);
	return refuse_row(in, ORM_EINVAL, row, what);
}

static orm_status check_nulls(const inspection *in, size_t nulls_size)
{
	const uint8_t *nulls = in->vector->nulls;

	if (!nulls)
		return nulls_size == 0 ? ORM_OK : refuse(in, ORM_EPROTOCOL, "the null bitmap has a size but no bytes");
	if (nulls_size != in->n_rows / 8 + (in->n_rows % 8 != 0))
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->mapper->name, in->column->name,
				   "the null bitmap has %zu bytes for %zu rows", nulls_size, in->n_rows);
	if (in->column->nullable || (in->uncommitted && in->column->server_default))
		return ORM_OK;
	for (size_t row = 0; row < in->n_rows; row++) {
		if (nulls[row / 8] == 0)
			row |= 7; /* on to the next byte */
		else if (orm_vector_is_null(in->vector, row))
			return refuse_row(in, ORM_EINVAL, row,
					  "the value is NULL, but the column may not be: set one, or make it nullable");
	}
	return ORM_OK;
}

static orm_status check_bools(const inspection *in)
{
	const uint8_t *cells = in->vector->cells;
	uint8_t all = 0;

	for (size_t row = 0; row < in->n_rows; row++) /* without a branch: the compiler makes vectors of it */
		all |= cells[row];
	return all <= 1 ? ORM_OK : refuse(in, ORM_EPROTOCOL, "a boolean is neither 0 nor 1");
}

static orm_status check_times(const inspection *in)
{
	for (size_t row = 0; row < in->n_rows; row++) {
		const int64_t us = orm_vector_int64_at(in->vector, row);

		if (us < 0 || us >= DAY_US)
			return refuse_row(in, ORM_EINVAL, row,
					  "the time is not within a day: give 0 to 86399999999 microseconds");
	}
	return ORM_OK;
}

/* String by string, where the length or the NULL of each matters. The run has been checked: it has its n_rows
 * terminators. */
static orm_status check_each_text(const inspection *in)
{
	const uint32_t max = in->column->max_length;
	const char *text = in->vector->cells;

	for (size_t row = 0; row < in->n_rows; row++) {
		const size_t size = strlen(text);

		if (max > 0 && size > max) {
			const size_t length = orm_utf8_length(text, size);

			if (length > max)
				return refuse_length(in, row, length, "characters");
		}
		if (size > 0 && orm_vector_is_null(in->vector, row))
			return refuse_row(in, ORM_EPROTOCOL, row, "a NULL with a text");
		if (in->column->type != ORM_TEXT && !orm_vector_is_null(in->vector, row)) {
			const char *fault = orm_column_text_fault(in->column, text, size);

			if (fault)
				return refuse_row(in, ORM_EINVAL, row, fault);
		}
		text += size + 1;
	}
	return ORM_OK;
}

/* The first row whose text is not UTF-8, for the message; n_rows if what is wrong comes after all of them. */
static size_t find_bad_text(const inspection *in)
{
	const char *text = in->vector->cells;
	const char *const end = text + in->vector->size;
	size_t row;

	for (row = 0; row < in->n_rows && text < end; row++) {
		const char *const nul = memchr(text, '\0', (size_t)(end - text));

		if (!orm_utf8_valid(text, (size_t)((nul ? nul : end) - text)))
			break;
		text = nul ? nul + 1 : end;
	}
	return row;
}

static orm_status check_text(const inspection *in)
{
	const char *text = in->vector->cells;
	const size_t size = in->vector->size;
	size_t n_terminators = 0;

	if (size > 0 && !text)
		return refuse(in, ORM_EPROTOCOL, "the text has a size but no bytes");
	if (!orm_utf8_check_run(text, size, &n_terminators))
		return refuse_row(in, ORM_EINVAL, find_bad_text(in), "the text is not valid UTF-8");
	if (n_terminators != in->n_rows || (size > 0 && text[size - 1] != '\0'))
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->mapper->name, in->column->name,
				   "%zu strings end with a NUL in a batch of %zu rows%s", n_terminators, in->n_rows,
				   size > 0 && text[size - 1] != '\0' ? ", and the last byte is none" : "");
	if (in->column->max_length > 0 || in->vector->nulls || in->column->type != ORM_TEXT)
		return check_each_text(in);
	return ORM_OK;
}

static orm_status check_bytes(const inspection *in)
{
	const orm_vector *vector = in->vector;
	const uint32_t max = in->column->max_length;
	uint32_t start = 0;

	if (vector->size > 0 && !vector->cells)
		return refuse(in, ORM_EPROTOCOL, "the values have a size but no bytes");
	if (in->n_rows > 0 && !vector->ends)
		return refuse(in, ORM_EPROTOCOL, "the ends of the values are missing");
	for (size_t row = 0; row < in->n_rows; row++) {
		const uint32_t end = vector->ends[row];

		if (end < start || end > vector->size)
			return refuse_row(in, ORM_EPROTOCOL, row,
					  "the value ends before it starts, or after the last byte");
		if (max > 0 && end - start > max)
			return refuse_length(in, row, end - start, "bytes");
		if (end > start && orm_vector_is_null(vector, row))
			return refuse_row(in, ORM_EPROTOCOL, row, "a NULL with bytes");
		start = end;
	}
	return start == vector->size ? ORM_OK : refuse(in, ORM_EPROTOCOL, "bytes are left after the last value");
}

static orm_status check_vector(const inspection *in, size_t nulls_size)
{
	const orm_vector *vector = in->vector;

	if (vector->type != in->column->type)
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->mapper->name, in->column->name,
				   "the batch has cells of %s for a column of %s",
				   orm_type_name((orm_type)vector->type), orm_type_name(in->column->type));

	orm_status status = check_nulls(in, nulls_size);

	if (status != ORM_OK)
		return status;
	if (orm_type_is_text(vector->type))
		return check_text(in);
	if (in->n_cells != in->n_rows)
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->mapper->name, in->column->name,
				   "%zu cells in a batch of %zu rows", in->n_cells, in->n_rows);
	if (vector->type == ORM_BYTES)
		return check_bytes(in);
	if (in->n_rows > 0 && !vector->cells)
		return refuse(in, ORM_EPROTOCOL, "the cells are missing");
	if (vector->type == ORM_BOOL)
		return check_bools(in);
	if (vector->type == ORM_TIME)
		return check_times(in);
	return ORM_OK;
}

orm_status orm_batch_check(const orm_batch *batch, const size_t *n_cells, const size_t *nulls_size, orm_error *error)
{
	const orm_mapper *mapper = batch->mapper;
	uint64_t seen[ORM_MAX_COLUMNS / 64] = {0};

	if (batch->n_vectors == 0 && batch->n_rows > ORM_MAX_BARE_ROWS)
		return orm_fail_at(error, ORM_ELIMIT, mapper->name, NULL,
				   "%zu rows without any column: send at most %zu in one batch", batch->n_rows,
				   ORM_MAX_BARE_ROWS);
	for (size_t i = 0; i < batch->n_vectors; i++) {
		const orm_vector *vector = &batch->vectors[i];

		if (vector->column >= mapper->n_columns)
			return orm_fail_at(error, ORM_EPROTOCOL, mapper->name, NULL,
					   "the batch has a column %u, but the model has %u", (unsigned)vector->column,
					   (unsigned)mapper->n_columns);

		const inspection in = {
			.mapper = mapper,
			.column = &mapper->columns[vector->column],
			.vector = vector,
			.n_rows = batch->n_rows,
			.n_cells = n_cells[i],
			.uncommitted = batch->uncommitted,
			.error = error,
		};
		const uint64_t bit = UINT64_C(1) << (vector->column % 64);

		if (seen[vector->column / 64] & bit)
			return refuse(&in, ORM_EPROTOCOL, "the column is twice in the batch");
		seen[vector->column / 64] |= bit;

		const orm_status status = check_vector(&in, nulls_size[i]);

		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}
