/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

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

/* Which rows are NULL in a pattern. */
typedef bool null_pattern(size_t row);

static bool none(size_t row)
{
	(void)row;
	return false;
}

static bool all(size_t row)
{
	(void)row;
	return true;
}

static bool every_third(size_t row)
{
	return row % 3 == 0;
}

static bool first_only(size_t row)
{
	return row == 0;
}

static bool at_byte_edges(size_t row)
{
	return row % 8 == 7 || (row > 0 && row % 8 == 0);
}

static bool only_eighth(size_t row)
{
	return row == 7;
}

static bool late(size_t row)
{
	return row == 16;
}

/* What row `row` of a column holds in these tests. Texts live in `scratch`. */
static orm_value value_of(orm_type type, size_t row, bool null, char scratch[32])
{
	orm_value value = {.type = (uint8_t)type, .null = null};
	const int64_t n = (int64_t)row * 1001 - 5000;

	if (null)
		return value;
	switch (type) {
	case ORM_BOOL:
		value.boolean = row % 2 == 1;
		break;
	case ORM_INT64:
	case ORM_DATETIME:
		value.integer = row == 1 ? INT64_MIN : row == 2 ? INT64_MAX : n * INT64_C(1000000007);
		break;
	case ORM_INT32:
	case ORM_DATE:
		value.integer = row == 1 ? INT32_MIN : row == 2 ? INT32_MAX : n;
		break;
	case ORM_TIME:
		value.integer = row == 1 ? INT64_C(86399999999) : (int64_t)row;
		break;
	case ORM_DOUBLE:
		value.number = (double)n / 7;
		break;
	case ORM_DECIMAL:
		value.size = (uint32_t)snprintf(scratch, 32, "%lld.%02zu", (long long)n, row % 100);
		value.text = scratch;
		break;
	case ORM_UUID:
		memset(scratch, (int)row, sizeof(orm_uuid));
		value.size = sizeof(orm_uuid);
		value.bytes = scratch;
		break;
	case ORM_JSON:
		value.size = (uint32_t)snprintf(scratch, 32, "{\"n\": %lld}", (long long)n);
		value.text = scratch;
		break;
	default:
		/* every fourth one is empty */
		value.size = row % 4 == 0
				     ? 0
				     : (uint32_t)snprintf(scratch, 32, "%s%zu", row % 4 == 1 ? "h\xC3\xA9" : "", row);
		scratch[value.size] = '\0';
		value.bytes = scratch;
		break;
	}
	return value;
}

static void check_round_trip(null_pattern *is_null, size_t n_rows)
{
	const orm_mapper *mapper = &registry->mappers[0];
	static const uint16_t columns[] = {BOOLS, INT32S, INT64S,    DOUBLES,  TEXTS, BLOBS,
					   DATES, TIMES,  DATETIMES, DECIMALS, UUIDS, JSONS};
	enum { N = sizeof columns / sizeof *columns };
	orm_batch_builder builder;
	orm_vector vectors[N];
	orm_batch batch;
	orm_error error = {.code = ORM_OK};
	size_t n_cells[N];
	size_t nulls_size[N];
	char scratch[32];
	bool any_null = false;

	assert_true(orm_batch_builder_init(&builder, mapper, columns, N));
	for (int pass = 0; pass < 2; pass++) { /* a reset builder is as good as a new one */
		orm_batch_builder_reset(&builder);
		for (size_t row = 0; row < n_rows; row++) {
			for (size_t i = 0; i < N; i++) {
				const orm_value value =
					value_of(mapper->columns[columns[i]].type, row, is_null(row), scratch);

				orm_vector_builder_put(&builder.vectors[i], &value);
			}
			any_null |= is_null(row);
			orm_batch_builder_end_row(&builder);
		}
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(batch.n_rows, n_rows);
	assert_int_equal(batch.n_vectors, N);
	for (size_t i = 0; i < N; i++) {
		n_cells[i] = n_rows;
		nulls_size[i] = vectors[i].nulls ? (n_rows + 7) / 8 : 0;
		assert_int_equal(vectors[i].nulls != NULL, any_null);
		assert_int_equal(builder.vectors[i].nulls.size, nulls_size[i]);
	}
	if (orm_batch_check(&batch, n_cells, nulls_size, &error) != ORM_OK)
		fail_msg("%s", error.message);
	for (size_t i = 0; i < N; i++) {
		orm_vector_cursor cursor;

		assert_int_equal(vectors[i].column, columns[i]);
		orm_vector_cursor_init(&cursor, &vectors[i]);
		for (size_t row = 0; row < n_rows; row++) {
			const orm_value expected =
				value_of(mapper->columns[columns[i]].type, row, is_null(row), scratch);
			orm_value value;

			orm_vector_cursor_next(&cursor, &value);
			if (!orm_value_equal(&value, &expected))
				fail_msg("%s, row %zu of %zu", mapper->columns[columns[i]].name, row, n_rows);
			if (value.type == ORM_TEXT || value.type == ORM_BYTES)
				assert_int_equal(value.bytes == NULL, value.null);
			if (value.type == ORM_TEXT && !value.null)
				assert_int_equal(value.text[value.size], '\0');
		}
	}
	orm_batch_builder_fini(&builder);
}

static void every_type_comes_back(void **state)
{
	static null_pattern *const patterns[] = {none, all, every_third, first_only, at_byte_edges, only_eighth, late};
	static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000};

	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
			check_round_trip(patterns[i], sizes[j]);
	}
}

static void typed_access_agrees_with_the_cursor(void **state)
{
	orm_batch_builder builder;
	orm_vector vectors[4];
	orm_batch batch;
	uint32_t size;
	static const uint16_t columns[] = {BOOLS, INT32S, DOUBLES, BLOBS};

	(void)state;
	assert_true(orm_batch_builder_init(&builder, &registry->mappers[0], columns, 4));
	orm_vector_builder_put_bool(&builder.vectors[0], true);
	orm_vector_builder_put_int32(&builder.vectors[1], -3);
	orm_vector_builder_put_double(&builder.vectors[2], 2.5);
	orm_vector_builder_put_bytes(&builder.vectors[3], "a\0b", 3);
	orm_batch_builder_end_row(&builder);
	for (size_t i = 0; i < 3; i++)
		orm_vector_builder_put_null(&builder.vectors[i]);
	orm_vector_builder_put_bytes(&builder.vectors[3], NULL, 0);
	orm_batch_builder_end_row(&builder);
	for (size_t i = 0; i < 4; i++)
		orm_vector_builder_put_null(&builder.vectors[i]);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));

	assert_true(orm_vector_bool_at(&vectors[0], 0));
	assert_false(orm_vector_bool_at(&vectors[0], 1));
	assert_true(orm_vector_is_null(&vectors[0], 1));
	assert_int_equal(orm_vector_int32_at(&vectors[1], 0), -3);
	assert_true(orm_vector_double_at(&vectors[2], 0) == 2.5);
	assert_memory_equal(orm_vector_bytes_at(&vectors[3], 0, &size), "a\0b", 3);
	assert_int_equal(size, 3);
	assert_non_null(orm_vector_bytes_at(&vectors[3], 1, &size));
	assert_int_equal(size, 0);
	assert_null(orm_vector_bytes_at(&vectors[3], 2, &size));
	orm_batch_builder_fini(&builder);
}

static void empty_bytes_alone_are_not_null(void **state)
{
	static const uint16_t column = BLOBS;
	orm_batch_builder builder;
	orm_vector vector;
	orm_batch batch;
	uint32_t size;

	(void)state;
	assert_true(orm_batch_builder_init(&builder, &registry->mappers[0], &column, 1));
	orm_vector_builder_put_bytes(&builder.vectors[0], "", 0);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, &vector, &batch));
	assert_non_null(orm_vector_bytes_at(&vector, 0, &size));
	assert_int_equal(size, 0);
	orm_batch_builder_fini(&builder);
}

static void all_columns_by_default_and_the_size_grows(void **state)
{
	orm_batch_builder builder;

	(void)state;
	assert_true(orm_batch_builder_init(&builder, &registry->mappers[0], NULL, 0));
	assert_int_equal(builder.n_vectors, registry->mappers[0].n_columns);
	assert_int_equal(builder.vectors[TEXTS].type, ORM_TEXT);
	assert_int_equal(orm_batch_builder_size(&builder), 0);
	orm_vector_builder_put_int64(&builder.vectors[ID], 1);
	assert_int_equal(orm_batch_builder_size(&builder), 8);
	orm_vector_builder_put_text(&builder.vectors[TEXTS], "abc", 3);
	assert_int_equal(orm_batch_builder_size(&builder), 12);
	orm_vector_builder_put_bytes(&builder.vectors[BLOBS], "abc", 3);
	assert_int_equal(orm_batch_builder_size(&builder), 19);
	orm_batch_builder_reset(&builder);
	assert_int_equal(orm_batch_builder_size(&builder), 0);
	orm_batch_builder_fini(&builder);
	orm_batch_builder_fini(&builder);
	orm_batch_builder_fini(NULL);
}

static void a_failure_sticks_until_the_reset(void **state)
{
	static const uint16_t columns[] = {TEXTS, BLOBS};
	orm_batch_builder builder;
	orm_vector vectors[2];
	orm_batch batch;

	(void)state;
	assert_true(orm_batch_builder_init(&builder, &registry->mappers[0], columns, 2));
	orm_vector_builder_put_text(&builder.vectors[0], "a", 1);
	orm_vector_builder_put_bytes(&builder.vectors[1], "a", 1);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	/* A size that no allocator gives; the bytes are not touched. */
	orm_vector_builder_put_bytes(&builder.vectors[1], "a", PTRDIFF_MAX);
	orm_vector_builder_put_text(&builder.vectors[0], "b", 1);
	orm_batch_builder_end_row(&builder);
	assert_false(orm_batch_builder_view(&builder, vectors, &batch));
	orm_vector_builder_put_bytes(&builder.vectors[1], "c", 1);
	orm_vector_builder_put_text(&builder.vectors[0], "c", 1);
	orm_batch_builder_end_row(&builder);
	assert_false(orm_batch_builder_view(&builder, vectors, &batch));
	orm_batch_builder_reset(&builder);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(batch.n_rows, 0);
	orm_batch_builder_fini(&builder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_comes_back),
		cmocka_unit_test(typed_access_agrees_with_the_cursor),
		cmocka_unit_test(empty_bytes_alone_are_not_null),
		cmocka_unit_test(all_columns_by_default_and_the_size_grows),
		cmocka_unit_test(a_failure_sticks_until_the_reset),
	};

	return cmocka_run_group_tests_name("batch", tests, set_up, tear_down);
}
