/* SPDX-License-Identifier: MIT */
/* One cell outside a batch: a parameter, a key, a field in a conflict. */
#ifndef ORM_MODEL_VALUE_H
#define ORM_MODEL_VALUE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "model/registry.h"

typedef struct orm_value {
	uint8_t  type;   /* orm_type */
	bool     null;
	uint32_t size;   /* text, decimal, JSON, bytes: length in bytes, without the NUL; UUID: 16 */
	union {
		bool        boolean;
		int64_t     integer;  /* INT32, INT64, DATE, TIME, DATETIME */
		double      number;
		const char *text;     /* TEXT, DECIMAL (canonical), JSON: NUL-terminated; borrowed */
		const void *bytes;    /* BYTES, UUID; borrowed */
	};
} orm_value;

bool     orm_value_equal(const orm_value *a, const orm_value *b);  /* same type and value; NULL equals NULL; doubles by bits */
uint64_t orm_value_hash(const orm_value *value, uint64_t seed);
bool     orm_value_copy(orm_value *to, const orm_value *from, orm_arena *arena); /* text and bytes into the arena */

/*
 * For people: 7, 'a''b', NULL, x'00ff', 2026-11-23; cut after `max` characters with an ellipsis. Appends.
 */
void orm_value_print(const orm_value *value, size_t max, orm_buffer *out);

/* "7" or "(7, 'a')" into an error's key field or any text of `size` bytes. */
void orm_key_print(const orm_value *values, size_t n, char *text, size_t size);

/*
 * Is this text what a column of its type takes: UTF-8 (any), a canonical decimal of the column's scale, a JSON document? NULL when it is, else
 * what is wrong and what to do. max_length is not looked at. The texts of other types are good.
 */
const char *orm_column_text_fault(const orm_column *column, const char *text, size_t size);
/* The same for a decimal that need not be canonical yet; writes what it is then. */
const char *orm_column_canonical_decimal(const orm_column *column, const char *text, size_t size, char canonical[ORM_DECIMAL_SIZE],
                                         size_t *canonical_size);

/* A JSON document by RFC 8259, with at most ORM_JSON_DEPTH arrays and objects inside each other, which is as many as MariaDB takes? UTF-8 is
   checked elsewhere. */
#define ORM_JSON_DEPTH 31
bool orm_json_valid(const char *text, size_t size);

/* Is it good UTF-8 without a NUL? Strict: no surrogates, no overlong forms (RFC 3629). ASCII runs go eight bytes at a time. */
bool orm_utf8_valid(const char *text, size_t size);
size_t orm_utf8_length(const char *text, size_t size); /* code points of valid UTF-8 */

#endif
