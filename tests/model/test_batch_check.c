/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "model/all_types.h"

static orm_registry *registry;

static int set_up(void **state)
{
	(void)state;
	registry = all_types_registry();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	orm_registry_free(registry);
	return 0;
}

/* One vector as a peer's message might hold it; the arrays are copied to memory of just their size, for the sanitizers.
 */
typedef struct sample {
	const char *what;
	uint16_t column;
	orm_type type; /* 0: the column's */
	size_t n_rows;
	const void *cells;
	size_t size;
	size_t n_cells;
	const uint8_t *nulls;
	size_t nulls_size;
	const uint32_t *ends;
	orm_status expected;
	const char *message; /* a part of it */
} sample;

static void *exact_copy(const void *data, size_t size)
{
	void *copy = NULL;

	if (!data)
		return NULL;
	copy = malloc(size ? size : 1);
	assert_non_null(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

static void check(const sample *s)
{
	const orm_mapper *mapper = &registry->mappers[0];
	const bool known = s->column < mapper->n_columns;
	void *cells = exact_copy(s->cells, s->size);
	void *nulls = exact_copy(s->nulls, s->nulls_size);
	void *ends = exact_copy(s->ends, s->n_cells * sizeof *s->ends);
	const orm_vector vector = {
		.column = s->column,
		.type = (uint8_t)(s->type || !known ? s->type : mapper->columns[s->column].type),
		.nulls = nulls,
		.cells = cells,
		.size = s->size,
		.ends = ends,
	};
	const orm_batch batch = {.mapper = mapper, .n_rows = s->n_rows, .n_vectors = 1, .vectors = &vector};
	orm_error error = {.code = ORM_OK};
	const orm_status status = orm_batch_check(&batch, &s->n_cells, &s->nulls_size, &error);

	if (status != s->expected)
		fail_msg("%s: %d, expected %d: %s", s->what, status, s->expected, error.message);
	if (status != ORM_OK) {
		assert_int_equal(error.code, status);
		assert_string_equal(error.model, "All");
		if (known)
			assert_string_equal(error.column, mapper->columns[s->column].name);
		if (!strstr(error.message, s->message))
			fail_msg("%s: \"%s\" has no \"%s\"", s->what, error.message, s->message);
		assert_int_equal(orm_batch_check(&batch, &s->n_cells, &s->nulls_size, NULL), status);
	}
	free(cells);
	free(nulls);
	free(ends);
}

#define INT64_CELLS(...) .cells = (const int64_t[]){__VA_ARGS__}, .size = sizeof((const int64_t[]){__VA_ARGS__})
#define BYTE_CELLS(text) .cells = (text), .size = sizeof(text) - 1
#define NULLS(...)       .nulls = (const uint8_t[]){__VA_ARGS__}, .nulls_size = sizeof((const uint8_t[]){__VA_ARGS__})
#define ENDS(...)        .ends = (const uint32_t[]){__VA_ARGS__}, .n_cells = sizeof((const uint32_t[]){__VA_ARGS__}) / 4
#define PROTOCOL(text)   .expected = ORM_EPROTOCOL, .message = (text)
#define INVALID(text)    .expected = ORM_EINVAL, .message = (text)

static void vectors(void **state)
{
	const uint16_t strict_text = STRICT_OF(TEXTS);
	const uint16_t strict_blob = STRICT_OF(BLOBS);
	const sample samples[] = {
		/* shape */
		{"good", INT64S, .n_rows = 2, INT64_CELLS(1, 2), .n_cells = 2},
		{"empty", INT64S, .n_rows = 0},
		{"unknown column", 25, ORM_INT64, .n_rows = 0, PROTOCOL("a column 25, but the model has 25")},
		{"no number", ORM_NO_NUMBER, ORM_INT64, .n_rows = 0, PROTOCOL("a column 65535")},
		{"other type", INT64S, ORM_INT32, .n_rows = 0, PROTOCOL("cells of int32 for a column of int64")},
		{"no such type", INT64S, (orm_type)200, .n_rows = 0, PROTOCOL("cells of unknown")},
		{"too few cells", INT64S, .n_rows = 3, INT64_CELLS(1, 2), .n_cells = 2,
		 PROTOCOL("2 cells in a batch of 3 rows")},
		{"too many cells", INT64S, .n_rows = 1, INT64_CELLS(1, 2), .n_cells = 2,
		 PROTOCOL("2 cells in a batch of 1")},
		{"missing cells", INT64S, .n_rows = 1, .n_cells = 1, PROTOCOL("cells are missing")},
		{"huge n_rows", INT64S, .n_rows = SIZE_MAX, INT64_CELLS(1), .n_cells = 1,
		 PROTOCOL("1 cells in a batch")},
		/* NULL */
		{"some null", INT64S, .n_rows = 2, INT64_CELLS(1, 0), .n_cells = 2, NULLS(2)},
		{"bits after the last row", INT64S, .n_rows = 2, INT64_CELLS(1, 0), .n_cells = 2, NULLS(0xfe)},
		{"bitmap too short", INT64S, .n_rows = 9, .n_cells = 9, NULLS(0), PROTOCOL("1 bytes for 9 rows")},
		{"bitmap too long", INT64S, .n_rows = 1, INT64_CELLS(1), .n_cells = 1, NULLS(0, 0),
		 PROTOCOL("2 bytes for 1 rows")},
		{"bitmap without bytes", INT64S, .n_rows = 1, INT64_CELLS(1), .n_cells = 1, .nulls_size = 1,
		 PROTOCOL("no bytes")},
		{"huge bitmap", INT64S, .n_rows = SIZE_MAX, INT64_CELLS(1), .n_cells = 1, NULLS(0),
		 PROTOCOL("null bitmap")},
		{"null where none may be", ID, .n_rows = 10, INT64_CELLS(1, 2, 3, 4, 5, 6, 7, 8, 0, 0), .n_cells = 10,
		 NULLS(0, 2), INVALID("(row 10 of 10)")},
		{"no null where none may be", ID, .n_rows = 1, INT64_CELLS(1), .n_cells = 1, NULLS(0xfe)},
		/* scalars */
		{"booleans", BOOLS, .n_rows = 3, BYTE_CELLS("\0\1\1"), .n_cells = 3},
		{"boolean 2", BOOLS, .n_rows = 3, BYTE_CELLS("\0\1\2"), .n_cells = 3, PROTOCOL("neither 0 nor 1")},
		{"boolean 128", BOOLS, .n_rows = 1, BYTE_CELLS("\x80"), .n_cells = 1, PROTOCOL("neither 0 nor 1")},
		{"midnight and just before", TIMES, .n_rows = 2, INT64_CELLS(0, 86399999999), .n_cells = 2},
		{"24:00", TIMES, .n_rows = 2, INT64_CELLS(0, 86400000000), .n_cells = 2, INVALID("(row 2 of 2)")},
		{"negative time", TIMES, .n_rows = 1, INT64_CELLS(-1), .n_cells = 1, INVALID("not within a day")},
		{"any datetime", DATETIMES, .n_rows = 2, INT64_CELLS(INT64_MIN, INT64_MAX), .n_cells = 2},
		/* text */
		{"texts", TEXTS, .n_rows = 3, BYTE_CELLS("a\0\0h\xC3\xA9\0")},
		{"no texts", TEXTS, .n_rows = 0},
		{"texts missing", TEXTS, .n_rows = 1, PROTOCOL("0 strings end with a NUL in a batch of 1")},
		{"text without bytes", TEXTS, .n_rows = 1, .size = 5, PROTOCOL("no bytes")},
		{"no terminator", TEXTS, .n_rows = 1, BYTE_CELLS("abc"), PROTOCOL("0 strings")},
		{"last terminator missing", TEXTS, .n_rows = 2, BYTE_CELLS("a\0b"), PROTOCOL("the last byte is none")},
		{"terminators enough, but text after", TEXTS, .n_rows = 2, BYTE_CELLS("a\0b\0c"),
		 PROTOCOL("the last byte is none")},
		{"a NUL too many", TEXTS, .n_rows = 2, BYTE_CELLS("a\0b\0\0"), PROTOCOL("3 strings")},
		{"a NUL inside", TEXTS, .n_rows = 1, BYTE_CELLS("a\0b\0"), PROTOCOL("2 strings")},
		{"text in no rows", TEXTS, .n_rows = 0, BYTE_CELLS("\0"), PROTOCOL("1 strings")},
		{"bad UTF-8", TEXTS, .n_rows = 3, BYTE_CELLS("a\0b\xFF\0c\0"),
		 INVALID("the text is not valid UTF-8 (row 2 of 3)")},
		{"overlong", TEXTS, .n_rows = 1, BYTE_CELLS("\xC0\xAF\0"), INVALID("not valid UTF-8")},
		{"surrogate", TEXTS, .n_rows = 2, BYTE_CELLS("\0\xED\xA0\x80\0"), INVALID("(row 2 of 2)")},
		{"character cut by the end", TEXTS, .n_rows = 1, BYTE_CELLS("ab\xE2\x82"), INVALID("not valid UTF-8")},
		{"null text", TEXTS, .n_rows = 2, BYTE_CELLS("\0b\0"), NULLS(1)},
		{"null with a text", TEXTS, .n_rows = 2, BYTE_CELLS("a\0b\0"), NULLS(1),
		 PROTOCOL("a NULL with a text (row 1 of 2)")},
		{"three characters of more bytes", strict_text, .n_rows = 1,
		 BYTE_CELLS("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\0")},
		{"four characters", strict_text, .n_rows = 2, BYTE_CELLS("abc\0abcd\0"),
		 INVALID("the value has 4 characters, but max_length is 3: shorten it (row 2 of 2)")},
		{"null where no text may be", strict_text, .n_rows = 1, BYTE_CELLS("\0"), NULLS(1), INVALID("is NULL")},
		/* bytes */
		{"decimals", DECIMALS, .n_rows = 2, BYTE_CELLS("12.50\0-0.05\0")},
		{"null decimal", DECIMALS, .n_rows = 2, BYTE_CELLS("\0000.00\0"), NULLS(1)},
		{"decimal of another scale", DECIMALS, .n_rows = 2, BYTE_CELLS("1.00\0002.0\0"),
		 INVALID("(row 2 of 2)")},
		{"fine decimal", DECIMALS, .n_rows = 1, BYTE_CELLS("1.001\0"), INVALID("scale")},
		{"large decimal", DECIMALS, .n_rows = 1, BYTE_CELLS("1234567890123456789.00\0"), INVALID("precision")},
		{"empty decimal", DECIMALS, .n_rows = 1, BYTE_CELLS("\0"), INVALID("no decimal number")},
		{"negative zero", DECIMALS, .n_rows = 1, BYTE_CELLS("-0.00\0"),
		 INVALID("not written as the column has it")},
		{"documents", JSONS, .n_rows = 2, BYTE_CELLS("{}\0[1]\0")},
		{"no document", JSONS, .n_rows = 2, BYTE_CELLS("{}\0[1\0"), INVALID("no JSON document")},
		{"uuids", UUIDS, .n_rows = 2, BYTE_CELLS("0123456789abcdef0123456789abcdef"), .n_cells = 2},
		{"too few uuids", UUIDS, .n_rows = 2, BYTE_CELLS("0123456789abcdef"), .n_cells = 1,
		 PROTOCOL("1 cells in a batch of 2")},
		{"uuids missing", UUIDS, .n_rows = 1, .n_cells = 1, PROTOCOL("cells are missing")},
		{"bytes", BLOBS, .n_rows = 3, BYTE_CELLS("ab\0cd"), ENDS(2, 2, 5)},
		{"no bytes", BLOBS, .n_rows = 2, ENDS(0, 0)},
		{"too few ends", BLOBS, .n_rows = 2, BYTE_CELLS("ab"), ENDS(2), PROTOCOL("1 cells in a batch of 2")},
		{"ends missing", BLOBS, .n_rows = 1, BYTE_CELLS("a"), .n_cells = 1,
		 PROTOCOL("ends of the values are missing")},
		{"descending ends", BLOBS, .n_rows = 3, BYTE_CELLS("abc"), ENDS(2, 1, 3), PROTOCOL("row 2")},
		{"end outside", BLOBS, .n_rows = 2, BYTE_CELLS("abc"), ENDS(2, 4), PROTOCOL("row 2")},
		{"end far outside", BLOBS, .n_rows = 2, BYTE_CELLS("abc"), ENDS(UINT32_MAX, 3), PROTOCOL("row 1")},
		{"bytes left", BLOBS, .n_rows = 2, BYTE_CELLS("abc"), ENDS(1, 2),
		 PROTOCOL("left after the last value")},
		{"bytes in no rows", BLOBS, .n_rows = 0, BYTE_CELLS("abc"), PROTOCOL("left after the last value")},
		{"bytes without any", BLOBS, .n_rows = 1, .size = 3, ENDS(3), PROTOCOL("no bytes")},
		{"null bytes", BLOBS, .n_rows = 2, BYTE_CELLS("ab"), ENDS(0, 2), NULLS(1)},
		{"null with bytes", BLOBS, .n_rows = 2, BYTE_CELLS("ab"), ENDS(1, 2), NULLS(1),
		 PROTOCOL("a NULL with bytes (row 1 of 2)")},
		{"three bytes", strict_blob, .n_rows = 1, BYTE_CELLS("abc"), ENDS(3)},
		{"four bytes", strict_blob, .n_rows = 1, BYTE_CELLS("abcd"), ENDS(4),
		 INVALID("the value has 4 bytes, but max_length is 3")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
		check(&samples[i]);
}

static void a_column_comes_once(void **state)
{
	const int64_t cell = 1;
	const orm_vector twice[] = {{.column = ID, .type = ORM_INT64, .cells = &cell},
				    {.column = INT64S, .type = ORM_INT64, .cells = &cell},
				    {.column = ID, .type = ORM_INT64, .cells = &cell}};
	orm_batch batch = {.mapper = &registry->mappers[0], .n_rows = 1, .n_vectors = 3, .vectors = twice};
	const size_t n_cells[] = {1, 1, 1};
	const size_t nulls_size[] = {0, 0, 0};
	orm_error error = {.code = ORM_OK};

	(void)state;
	assert_int_equal(orm_batch_check(&batch, n_cells, nulls_size, &error), ORM_EPROTOCOL);
	assert_string_equal(error.column, "id");
	batch.n_vectors = 2;
	assert_int_equal(orm_batch_check(&batch, n_cells, nulls_size, &error), ORM_OK);
}

static void rows_without_columns_are_bounded(void **state)
{
	orm_batch batch = {.mapper = &registry->mappers[0], .n_rows = ORM_MAX_BARE_ROWS};
	orm_error error = {.code = ORM_OK};

	(void)state;
	assert_int_equal(orm_batch_check(&batch, NULL, NULL, &error), ORM_OK);
	batch.n_rows++;
	assert_int_equal(orm_batch_check(&batch, NULL, NULL, &error), ORM_ELIMIT);
	assert_string_equal(error.model, "All");
}

/* In a unit of work a column that the database will fill is still without a value. */
static void default_to_come(void **state)
{
	orm_column_spec columns[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "rank", .type = ORM_INT32, .server_default = "3"},
		{.name = "strict", .type = ORM_INT32},
	};
	const orm_model_spec spec = {.name = "Note", .table = "notes", .columns = columns, .n_columns = 3};
	const int32_t cell = 0;
	const uint8_t null = 1;
	const size_t one = 1;
	orm_vector vector = {.column = 1, .type = ORM_INT32, .nulls = &null, .cells = &cell};
	orm_batch batch = {.n_rows = 1, .n_vectors = 1, .vectors = &vector, .uncommitted = true};
	orm_error error = {.code = ORM_OK};
	orm_registry *with_default = orm_registry_new(&spec, 1, &error);

	(void)state;
	assert_non_null(with_default);
	batch.mapper = &with_default->mappers[0];
	assert_int_equal(orm_batch_check(&batch, &one, &one, &error), ORM_OK);
	vector.column = 2;
	assert_int_equal(orm_batch_check(&batch, &one, &one, &error), ORM_EINVAL);
	vector.column = 1;
	batch.uncommitted = false;
	assert_int_equal(orm_batch_check(&batch, &one, &one, &error), ORM_EINVAL);
	orm_registry_free(with_default);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(default_to_come),
		cmocka_unit_test(a_column_comes_once),
		cmocka_unit_test(rows_without_columns_are_bounded),
	};

	return cmocka_run_group_tests_name("batch_check", tests, set_up, tear_down);
}
