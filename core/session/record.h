/* SPDX-License-Identifier: MIT */
/*
 * A row as one packed block of an orm_pool (see layout.h). Records never change once they are an object's, but for
 * ormd_record_set_integer: a change makes a new one. All functions with a pool return NULL when out of memory, or when
 * the record would be 4 GiB or more.
 *
 * Unset: a new object's cell that was not given and which the INSERT leaves to the server (a default, the version). It
 * reads as NULL.
 */
#ifndef ORMD_SESSION_RECORD_H
#define ORMD_SESSION_RECORD_H

#include <string.h>

#include "model/batch.h"
#include "session/layout.h"

typedef struct ormd_record {
	uint32_t size; /* bytes in all */
	uint8_t data[];
} ormd_record;

/* ---- reading ---- */

static inline const void *ormd_record_at(const ormd_record *record, uint32_t offset)
{
	return (const char *)record + offset;
}

static inline bool ormd_record_bit(const ormd_record *record, uint32_t offset, uint16_t column)
{
	return ((const uint8_t *)ormd_record_at(record, offset))[column >> 3] >> (column & 7) & 1;
}

static inline bool ormd_record_is_null(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	return ormd_record_bit(record, layout->nulls, column);
}

static inline bool ormd_record_is_unset(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	return layout->has_unset && ormd_record_bit(record, layout->unset, column);
}

static inline int32_t ormd_record_int32(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	int32_t cell;
	memcpy(&cell, ormd_record_at(record, layout->cells[column].offset), sizeof cell);
	return cell;
}

static inline int64_t ormd_record_int64(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	int64_t cell;
	memcpy(&cell, ormd_record_at(record, layout->cells[column].offset), sizeof cell);
	return cell;
}

/* INT32, DATE, INT64, TIME, DATETIME. */
static inline int64_t ormd_record_integer(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	const uint8_t type = layout->cells[column].type;

	return type == ORM_INT32 || type == ORM_DATE ? ormd_record_int32(layout, record, column)
						     : ormd_record_int64(layout, record, column);
}

static inline double ormd_record_double(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	double cell;
	memcpy(&cell, ormd_record_at(record, layout->cells[column].offset), sizeof cell);
	return cell;
}

static inline bool ormd_record_bool(const ormd_layout *layout, const ormd_record *record, uint16_t column)
{
	return *(const uint8_t *)ormd_record_at(record, layout->cells[column].offset) != 0;
}

/* Texts, BYTES: where it lies and its size without the NUL. What a NULL cell has is empty (not a string). */
static inline const char *ormd_record_bytes(const ormd_layout *layout, const ormd_record *record, uint16_t column,
					    uint32_t *size)
{
	const ormd_cell *cell = &layout->cells[column];
	uint32_t start = layout->fixed_size, end;

	memcpy(&end, ormd_record_at(record, cell->offset), sizeof end);
	if (!cell->first)
		memcpy(&start, ormd_record_at(record, cell->offset - (uint32_t)sizeof start), sizeof start);
	*size = end - start - (cell->text && end > start);
	return ormd_record_at(record, start);
}

/* Any cell; text and bytes point into the record. */
void ormd_record_value(const ormd_layout *layout, const ormd_record *record, uint16_t column, orm_value *value);

/* Same cell? By value, NULL equals NULL, unset equals unset only. */
bool ormd_record_cell_equal(const ormd_layout *layout, const ormd_record *a, const ormd_record *b, uint16_t column);

/* ---- making ---- */

/* From one value per column of the mapper. `unset`: bitmap of bits_size, or NULL. */
ormd_record *ormd_record_new(const ormd_layout *layout, const orm_value *values, const uint8_t *unset, orm_pool *pool);

/* `record` with some columns replaced, which are then no longer unset; columns in any order, each once. */
ormd_record *ormd_record_with(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			      const orm_value *values, size_t n_columns, orm_pool *pool);
void ormd_record_free(ormd_record *record, orm_pool *pool); /* NULL allowed */

/* In place, without allocating: a fixed integer cell (a version, a generated key); no longer NULL or unset. */
void ormd_record_set_integer(const ormd_layout *layout, ormd_record *record, uint16_t column, int64_t integer);
void ormd_record_set_fixed(const ormd_layout *layout, ormd_record *record, uint16_t column,
			   const orm_value *value); /* any fixed cell; NULL too */

/* Rows of a batch, one after the other, in one pass. Columns that the batch lacks are NULL, and unset where the layout
 * has that and the column has a default or is the version. */
typedef struct ormd_fixed_source {
	const char *cells;
	const uint8_t *nulls;
	uint32_t offset;
	uint16_t column;
	uint8_t width;
} ormd_fixed_source;

typedef struct ormd_variable_source {
	orm_vector_cursor cursor; /* vector NULL: the batch lacks the column */
	const char *bytes;        /* this row's; NULL: NULL */
	uint32_t size;
	uint16_t column;
	bool text;
} ormd_variable_source;

typedef struct ormd_record_reader {
	const ormd_layout *layout;
	size_t row;
	const char *start;              /* the first fixed_size bytes of a record without values */
	ormd_fixed_source *fixed;       /* those that the batch has */
	ormd_variable_source *variable; /* all of the mapper's */
	size_t n_fixed, n_variable;
} ormd_record_reader;

/* In `arena`; false when out of memory. */
bool ormd_record_reader_init(ormd_record_reader *reader, const ormd_layout *layout, const orm_batch *batch,
			     orm_arena *arena);
ormd_record *ormd_record_reader_next(ormd_record_reader *reader, orm_pool *pool);

/* ---- keys ---- */

/* The hash of the key (or any columns), and equality; the same as ormd_key_hash_values over equal values. */
uint32_t ormd_record_hash(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			  size_t n_columns);
uint32_t ormd_values_hash(const orm_value *values, size_t n_values);
bool ormd_record_equals(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			const orm_value *values, size_t n_columns);

/* Have two records of one mapper the same primary key? */
bool ormd_record_same_key(const ormd_layout *layout, const ormd_record *a, const ormd_record *b);

/* The primary key for an error's `key`: "7" or "(7, 'a')". */
void ormd_record_key_print(const ormd_layout *layout, const ormd_record *record, char *text, size_t size);

#endif
