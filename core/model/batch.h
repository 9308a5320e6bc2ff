/* SPDX-License-Identifier: MIT */
/*
 * Column batches: rows as they travel and as drivers fill them. A vector is one column's cells, a batch some
 * columns of one model. Reading goes through a cursor per vector, row by row, since text cells are found by walking.
 */
#ifndef ORM_MODEL_BATCH_H
#define ORM_MODEL_BATCH_H

#include "base/buffer.h"
#include "model/value.h"

/* Borrowed arrays; what each type's cells are: */
typedef struct orm_vector {
	uint16_t        column;
	uint8_t         type;    /* orm_type */
	const uint8_t  *nulls;   /* bit i%8 of byte i/8 set: row i is NULL; NULL pointer: no row is */
	const void     *cells;   /* BOOL: uint8_t 0/1; INT32, DATE: int32_t; INT64, TIME, DATETIME: int64_t; DOUBLE: double;
	                            TEXT, DECIMAL, JSON: strings, each followed by a NUL (NULL rows: an empty one); BYTES: values end to end;
	                            UUID: 16 bytes each.
	                            Aligned to the cell */
	size_t          size;    /* texts, BYTES: bytes in cells */
	const uint32_t *ends;    /* BYTES: where each row's value ends */
} orm_vector;

typedef struct orm_batch {
	const orm_mapper *mapper;
	size_t            n_rows;
	size_t            n_vectors;
	const orm_vector *vectors;
	bool              uncommitted; /* rows of a unit of work: a column with a server default may be NULL until the commit fills it */
} orm_batch;

/*
 * Is this batch, made from a peer's message, what it says: known columns, each at most once, the right type, enough cells,
 * text with exactly n_rows terminators and valid UTF-8, decimals canonical, JSON that is, ends that rise and stay inside, booleans 0 or 1, times within a day, and NULL
 * only in columns that may be? ORM_EPROTOCOL or ORM_EINVAL (naming model and column) otherwise. Lengths over max_length are ORM_EINVAL.
 * `n_cells[i]` is the number of cells that vector i's array really has (BYTES: entries of `ends`; texts: not looked at, `size` says all),
 * `nulls_size[i]` the bytes of its null bitmap: none, or just as many as the rows need. What the sender's format is to blame for is ORM_EPROTOCOL,
 * what its user's values are (NULL, length, UTF-8, time of day) is ORM_EINVAL. A batch without vectors has at most ORM_MAX_BARE_ROWS
 * rows (ORM_ELIMIT), because nothing in the message pays for them.
 */
#define ORM_MAX_BARE_ROWS ((size_t)1 << 20)
orm_status orm_batch_check(const orm_batch *batch, const size_t *n_cells, const size_t *nulls_size, orm_error *error);

/* Walks one vector. */
typedef struct orm_vector_cursor {
	const orm_vector *vector;
	size_t            row;
	const char       *next;  /* text, bytes: where the next value starts */
} orm_vector_cursor;

static inline bool orm_vector_is_null(const orm_vector *vector, size_t row)
{
	return vector->nulls && (vector->nulls[row >> 3] >> (row & 7) & 1);
}

static inline void orm_vector_cursor_init(orm_vector_cursor *cursor, const orm_vector *vector)
{
	cursor->vector = vector;
	cursor->row = 0;
	cursor->next = vector->cells;
}

/* One row's cell of a vector of that type, by its number; what a NULL row has is zero. Inline: the mirror's and the session's inner loops. */
static inline bool orm_vector_bool_at(const orm_vector *vector, size_t row)
{
	return ((const uint8_t *)vector->cells)[row] != 0;
}

static inline int32_t orm_vector_int32_at(const orm_vector *vector, size_t row)
{
	return ((const int32_t *)vector->cells)[row];
}

static inline int64_t orm_vector_int64_at(const orm_vector *vector, size_t row)
{
	return ((const int64_t *)vector->cells)[row];
}

static inline double orm_vector_double_at(const orm_vector *vector, size_t row)
{
	return ((const double *)vector->cells)[row];
}

static inline const orm_uuid *orm_vector_uuid_at(const orm_vector *vector, size_t row)
{
	return (const orm_uuid *)vector->cells + row;
}

/* NULL for a NULL row, and only then. */
static inline const void *orm_vector_bytes_at(const orm_vector *vector, size_t row, uint32_t *size)
{
	const uint32_t start = row > 0 ? vector->ends[row - 1] : 0;

	*size = vector->ends[row] - start;
	if (orm_vector_is_null(vector, row))
		return NULL;
	return vector->size > 0 ? (const char *)vector->cells + start : "";
}

/* The next row's text and its length; NULL for a NULL row, and only then. */
static inline const char *orm_vector_cursor_next_text(orm_vector_cursor *cursor, uint32_t *size)
{
	const char *text = cursor->next;
	const size_t len = strlen(text);

	*size = (uint32_t)len;
	cursor->next = text + len + 1;
	return orm_vector_is_null(cursor->vector, cursor->row++) ? NULL : text;
}

/* The next row's value; text and bytes point into the vector, and are NULL where the value is. */
void orm_vector_cursor_next(orm_vector_cursor *cursor, orm_value *value);

/* ---- building ---------------------------------------------------------------------------------------------- */

typedef struct orm_vector_builder {
	uint16_t   column;
	uint8_t    type;
	orm_buffer cells;
	orm_buffer nulls;   /* grown when the first NULL comes */
	orm_buffer ends;
	size_t     n_rows;
} orm_vector_builder;

typedef struct orm_batch_builder {
	const orm_mapper   *mapper;
	orm_vector_builder *vectors;  /* owned */
	size_t              n_vectors;
	size_t              n_rows;
	bool                failed;   /* out of memory somewhere; sticks until reset */
} orm_batch_builder;

/* Columns by number; `columns` NULL: all n of the mapper. False when out of memory. */
bool orm_batch_builder_init(orm_batch_builder *builder, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns);
void orm_batch_builder_fini(orm_batch_builder *builder);
void orm_batch_builder_reset(orm_batch_builder *builder); /* no rows, memory kept */

/* Text is UTF-8 without a NUL inside: that would be two cells. A text, or all bytes of one vector, of 4 GiB or more make it fail. */
void orm_vector_builder_put(orm_vector_builder *vector, const orm_value *value);
void orm_vector_builder_put_null(orm_vector_builder *vector);
void orm_vector_builder_put_text(orm_vector_builder *vector, const char *text, size_t size);
void orm_vector_builder_put_bytes(orm_vector_builder *vector, const void *data, size_t size);

/* Cells that are not NULL, of the type's own width; inline: every cell of every row passes here. */
static inline void orm_vector_builder_note_present(orm_vector_builder *vector)
{
	if (vector->nulls.size && (vector->n_rows & 7) == 0)
		orm_buffer_put(&vector->nulls, "", 1);
	vector->n_rows++;
}

static inline void orm_vector_builder_put_int32(orm_vector_builder *vector, int32_t cell)
{
	orm_buffer_put(&vector->cells, &cell, sizeof cell);
	orm_vector_builder_note_present(vector);
}

static inline void orm_vector_builder_put_int64(orm_vector_builder *vector, int64_t cell)
{
	orm_buffer_put(&vector->cells, &cell, sizeof cell);
	orm_vector_builder_note_present(vector);
}

static inline void orm_vector_builder_put_double(orm_vector_builder *vector, double cell)
{
	orm_buffer_put(&vector->cells, &cell, sizeof cell);
	orm_vector_builder_note_present(vector);
}

static inline void orm_vector_builder_put_uuid(orm_vector_builder *vector, const void *bytes)
{
	orm_buffer_put(&vector->cells, bytes, sizeof(orm_uuid));
	orm_vector_builder_note_present(vector);
}

static inline void orm_vector_builder_put_bool(orm_vector_builder *vector, bool cell)
{
	uint8_t byte = cell;
	orm_buffer_put(&vector->cells, &byte, sizeof byte);
	orm_vector_builder_note_present(vector);
}

/* Say that one more row is complete: every vector has got its cell. */
static inline void orm_batch_builder_end_row(orm_batch_builder *builder)
{
	builder->n_rows++;
}

size_t orm_batch_builder_size(const orm_batch_builder *builder); /* bytes of cells so far, for bounding messages */

/*
 * The rows as a batch that borrows the builder's buffers (until reset or fini); `vectors` has room for
 * n_vectors. False if the builder failed.
 */
bool orm_batch_builder_view(const orm_batch_builder *builder, orm_vector *vectors, orm_batch *batch);

#endif
