/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

static shelf lib;
static const ormd_layout *author, *book, *tag;

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, NULL, ORMD_ON_DEATH_ROLLBACK, 0);
	author = &lib.session->mappers[lib.author->number].layout;
	book = &lib.session->mappers[lib.book->number].layout;
	tag = &lib.session->mappers[lib.tag->number].layout;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	library_fini(&lib);
	return 0;
}

static const uint8_t photo[] = {0, 255, 0, 7};

static void fill(orm_value *values)
{
	values[AUTHOR_ID] = int_value(ORM_INT64, INT64_MIN);
	values[AUTHOR_NAME] = text_value("Grace \xC3\xA9");
	values[AUTHOR_EMAIL] = text_value("");
	values[AUTHOR_PHOTO] = bytes_value(photo, sizeof photo);
	values[AUTHOR_SCORE] = number_value(-DBL_MAX);
	values[AUTHOR_BORN] = int_value(ORM_DATE, INT32_MIN);
	values[AUTHOR_ACTIVE] = (orm_value){.type = ORM_BOOL, .boolean = true};
	values[AUTHOR_VERSION] = int_value(ORM_INT32, INT32_MAX);
}

static void expect_values(const ormd_layout *layout, const ormd_record *record, const orm_value *expected)
{
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		orm_value value;

		ormd_record_value(layout, record, i, &value);
		if (!orm_value_equal(&value, &expected[i]))
			fail_msg("column %u is %s instead of %s", i, print_value(&lib, &value),
				 print_value(&lib, &expected[i]));
		if (!value.null && value.type == ORM_TEXT)
			assert_int_equal(value.text[value.size], '\0');
	}
}

static void every_type_comes_back(void **state)
{
	(void)state;
	orm_value values[N_AUTHOR];
	ormd_record *record;
	uint32_t size;

	fill(values);
	record = ormd_record_new(author, values, NULL, &lib.session->pool);
	assert_non_null(record);
	expect_values(author, record, values);
	assert_true(ormd_record_int64(author, record, AUTHOR_ID) == INT64_MIN);
	assert_true(ormd_record_integer(author, record, AUTHOR_BORN) == INT32_MIN);
	assert_int_equal(ormd_record_int32(author, record, AUTHOR_VERSION), INT32_MAX);
	assert_true(ormd_record_double(author, record, AUTHOR_SCORE) == -DBL_MAX);
	assert_true(ormd_record_bool(author, record, AUTHOR_ACTIVE));
	assert_memory_equal(ormd_record_bytes(author, record, AUTHOR_PHOTO, &size), photo, sizeof photo);
	assert_int_equal(size, sizeof photo);
	assert_int_equal(lib.session->pool.used % 16, 0);
	ormd_record_free(record, &lib.session->pool);
	assert_int_equal(lib.session->pool.used, 0);
}

static void null_differs_from_empty_and_from_unset(void **state)
{
	(void)state;
	orm_value values[N_BOOK] = {int_value(ORM_INT64, 1), text_value(""), null_value(ORM_INT64),
				    null_value(ORM_INT32), null_value(ORM_DATETIME)};
	const uint8_t unset[] = {1U << BOOK_CREATED};
	ormd_record *record = ormd_record_new(book, values, unset, &lib.session->pool);
	ormd_record *all_null, *none;

	assert_false(ormd_record_is_null(book, record, BOOK_TITLE));
	assert_true(ormd_record_is_null(book, record, BOOK_AUTHOR));
	assert_false(ormd_record_is_unset(book, record, BOOK_AUTHOR));
	assert_true(ormd_record_is_null(book, record, BOOK_CREATED));
	assert_true(ormd_record_is_unset(book, record, BOOK_CREATED));
	assert_false(tag->has_unset);

	none = ormd_record_new(book, values, NULL, &lib.session->pool);
	assert_false(ormd_record_cell_equal(book, record, none, BOOK_CREATED));
	assert_true(ormd_record_cell_equal(book, record, none, BOOK_AUTHOR));

	values[BOOK_TITLE] = null_value(ORM_TEXT);
	all_null = ormd_record_new(book, values, NULL, &lib.session->pool);
	assert_false(ormd_record_cell_equal(book, all_null, none, BOOK_TITLE));
	expect_values(book, all_null, values);

	ormd_record_set_integer(book, record, BOOK_CREATED, 5);
	assert_false(ormd_record_is_unset(book, record, BOOK_CREATED));
	assert_false(ormd_record_is_null(book, record, BOOK_CREATED));
	assert_true(ormd_record_int64(book, record, BOOK_CREATED) == 5);
}

/* Change random columns to values of random sizes, many times, and compare all. */
static void columns_are_replaced_one_by_one(void **state)
{
	(void)state;
	static const char *const names[] = {
		"", "a", "Ada", "a name that is rather longer than the others, to move what lies behind it"};
	orm_value values[N_AUTHOR];
	ormd_record *record;
	uint32_t random = 1;

	fill(values);
	record = ormd_record_new(author, values, NULL, &lib.session->pool);
	for (int i = 0; i < 3000; i++) {
		uint16_t columns[N_AUTHOR];
		orm_value changes[N_AUTHOR];
		size_t n = 0;
		ormd_record *changed;

		for (uint16_t column = N_AUTHOR; column-- > 0;) { /* in any order */
			random = random * 1664525 + 1013904223;
			if (random >> 30)
				continue;

			const uint32_t pick = random >> 8 & 3;

			changes[n] = column == AUTHOR_NAME || column == AUTHOR_EMAIL ? text_value(names[pick])
				     : column == AUTHOR_PHOTO  ? bytes_value(names[pick], strlen(names[pick]))
				     : column == AUTHOR_SCORE  ? number_value(pick)
				     : column == AUTHOR_ACTIVE ? (orm_value){.type = ORM_BOOL, .boolean = pick & 1}
							       : int_value(lib.author->columns[column].type, pick);
			if (random >> 16 & 1)
				changes[n] = null_value(lib.author->columns[column].type);
			values[column] = changes[n];
			columns[n++] = column;
		}
		changed = ormd_record_with(author, record, columns, changes, n, &lib.session->pool);
		assert_non_null(changed);
		ormd_record_free(record, &lib.session->pool);
		record = changed;
		expect_values(author, record, values);
	}

	/* As if it had been made so: no slack stays inside. */
	ormd_record *anew = ormd_record_new(author, values, NULL, &lib.session->pool);

	assert_int_equal(anew->size, record->size);
	assert_memory_equal(anew, record, record->size);
}

static void a_batch_is_read_row_by_row(void **state)
{
	(void)state;
	enum { N = 40 };
	const uint16_t columns[] = {AUTHOR_ACTIVE, AUTHOR_NAME, AUTHOR_ID, AUTHOR_PHOTO,
				    AUTHOR_SCORE}; /* any order, some missing */
	orm_batch_builder builder;
	orm_vector vectors[5];
	orm_batch batch;
	ormd_record_reader reader;

	assert_true(orm_batch_builder_init(&builder, lib.author, columns, 5));
	for (int i = 0; i < N; i++) {
		char name[16];

		snprintf(name, sizeof name, "%.*s", i % 10, "nameless..");
		if (i % 3)
			orm_vector_builder_put_bool(&builder.vectors[0], i % 2);
		else
			orm_vector_builder_put_null(&builder.vectors[0]);
		orm_vector_builder_put_text(&builder.vectors[1], name, strlen(name));
		orm_vector_builder_put_int64(&builder.vectors[2], i);
		if (i % 4)
			orm_vector_builder_put_bytes(&builder.vectors[3], photo, (size_t)i % 4);
		else
			orm_vector_builder_put_null(&builder.vectors[3]);
		orm_vector_builder_put_double(&builder.vectors[4], i / 2.0);
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_true(ormd_record_reader_init(&reader, author, &batch, &lib.arena));
	for (int i = 0; i < N; i++) {
		ormd_record *record = ormd_record_reader_next(&reader, &lib.session->pool);
		char name[16];
		orm_value expected[N_AUTHOR];

		snprintf(name, sizeof name, "%.*s", i % 10, "nameless..");
		for (uint16_t j = 0; j < N_AUTHOR; j++)
			expected[j] = null_value(lib.author->columns[j].type);
		expected[AUTHOR_ID] = int_value(ORM_INT64, i);
		expected[AUTHOR_NAME] = text_value(name);
		expected[AUTHOR_SCORE] = number_value(i / 2.0);
		if (i % 3)
			expected[AUTHOR_ACTIVE] = (orm_value){.type = ORM_BOOL, .boolean = i % 2};
		if (i % 4)
			expected[AUTHOR_PHOTO] = bytes_value(photo, (size_t)i % 4);
		assert_non_null(record);
		expect_values(author, record, expected);
		assert_true(ormd_record_is_unset(author, record, AUTHOR_VERSION));
		assert_false(ormd_record_is_unset(author, record, AUTHOR_EMAIL));

		/* The same bytes as made from values. */
		const uint8_t unset[] = {1U << AUTHOR_VERSION};
		const ormd_record *other = ormd_record_new(author, expected, unset, &lib.session->pool);

		assert_int_equal(other->size, record->size);
		assert_memory_equal(other, record, record->size);
	}
	orm_batch_builder_fini(&builder);
}

static void keys_hash_and_compare_alike(void **state)
{
	(void)state;
	const ormd_layout *chapter = &lib.session->mappers[lib.chapter->number].layout;
	const ormd_layout *paragraph = &lib.session->mappers[lib.paragraph->number].layout;
	const orm_value parent[] = {int_value(ORM_INT64, -3), int_value(ORM_INT32, 4), null_value(ORM_TEXT)};
	const orm_value child[] = {int_value(ORM_INT64, -3), int_value(ORM_INT32, 4), int_value(ORM_INT32, 1),
				   text_value("x")};
	const orm_value code[] = {text_value("code"), null_value(ORM_TEXT)};
	const ormd_record *a = ormd_record_new(chapter, parent, NULL, &lib.session->pool);
	const ormd_record *b = ormd_record_new(paragraph, child, NULL, &lib.session->pool);
	const ormd_record *c = ormd_record_new(tag, code, NULL, &lib.session->pool);
	const uint16_t columns[] = {0, 1};
	char key[40];

	/* A foreign key hashes as the key that it refers to. */
	assert_int_equal(ormd_record_hash(chapter, a, columns, 2), ormd_record_hash(paragraph, b, columns, 2));
	assert_int_equal(ormd_record_hash(chapter, a, columns, 2), ormd_values_hash(parent, 2));
	assert_int_equal(ormd_record_hash(chapter, a, columns, 1), ormd_values_hash(parent, 1));
	assert_int_equal(ormd_record_hash(tag, c, columns, 1), ormd_values_hash(code, 1));
	assert_true(ormd_record_equals(paragraph, b, columns, parent, 2));
	assert_false(ormd_record_equals(tag, c, columns, &(orm_value){.type = ORM_TEXT, .size = 3, .text = "cod"}, 1));
	ormd_record_key_print(paragraph, b, key, sizeof key);
	assert_string_equal(key, "(-3, 4, 1)");
	ormd_record_key_print(tag, c, key, sizeof key);
	assert_string_equal(key, "'code'");
}

static void a_record_that_is_too_large_is_refused(void **state)
{
	(void)state;
	orm_value values[] = {text_value("a"), {.type = ORM_TEXT, .size = UINT32_MAX, .text = "not really"}};
	const uint16_t column = TAG_LABEL;
	ormd_record *record;

	assert_null(ormd_record_new(tag, values, NULL, &lib.session->pool));
	values[1] = null_value(ORM_TEXT);
	record = ormd_record_new(tag, values, NULL, &lib.session->pool);
	assert_non_null(record);
	assert_null(ormd_record_with(tag, record, &column,
				     &(orm_value){.type = ORM_TEXT, .size = UINT32_MAX - 2, .text = "x"}, 1,
				     &lib.session->pool));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_type_comes_back),           TEST(null_differs_from_empty_and_from_unset),
		TEST(columns_are_replaced_one_by_one), TEST(a_batch_is_read_row_by_row),
		TEST(keys_hash_and_compare_alike),     TEST(a_record_that_is_too_large_is_refused),
	};

	return cmocka_run_group_tests_name("session_record", tests, NULL, NULL);
}
