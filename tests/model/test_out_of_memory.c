/* SPDX-License-Identifier: MIT */
/* Every allocation fails once; what comes of it is an error, no crash and no leak. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/batch.h"
#include "model/failing_malloc.h"

/* Enough columns and texts for several blocks of an arena. */
#define N_COLUMNS 40

static char names[N_COLUMNS][8];
static char check[3000];
static orm_column_spec columns[N_COLUMNS];
static const orm_column_spec lines[] = {
	{.name = "a", .type = ORM_INT64, .primary_key = true, .references_model = "Wide", .references_column = "c0"},
	{.name = "b", .type = ORM_INT64, .primary_key = true, .references_model = "Line", .references_column = "a"},
	{.name = "c", .type = ORM_INT64, .references_model = "Line", .references_column = "b"}};
static const orm_relationship_spec relationships[] = {{.name = "wide", .target = "Wide"}};
static const orm_model_spec specs[] = {{.name = "Line",
					.table = "lines",
					.columns = lines,
					.n_columns = 3,
					.relationships = relationships,
					.n_relationships = 1},
				       {.name = "Wide", .table = "wides", .columns = columns, .n_columns = N_COLUMNS}};

static int set_up(void **state)
{
	(void)state;
	memset(check, '1', sizeof check - 1);
	for (int i = 0; i < N_COLUMNS; i++) {
		names[i][0] = 'c';
		names[i][1] = (char)('0' + i / 10);
		names[i][2] = (char)('0' + i % 10);
		columns[i] = (orm_column_spec){.name = names[i], .type = ORM_TEXT, .nullable = true, .check = check};
	}
	columns[0] = (orm_column_spec){.name = "c0", .type = ORM_INT64, .primary_key = true};
	columns[1] = (orm_column_spec){.name = "c1", .type = ORM_BYTES, .nullable = true};
	return 0;
}

static void registries(void **state)
{
	unsigned n_failures = 0;

	(void)state;
	for (unsigned after = 0;; after++) {
		orm_error error = {.code = ORM_OK};

		failing_malloc_arm(after);

		orm_registry *registry = orm_registry_new(specs, 2, &error);

		if (!failing_malloc_disarm()) {
			assert_non_null(registry);
			orm_registry_free(registry);
			break;
		}
		assert_null(registry);
		assert_int_equal(error.code, ORM_ENOMEM);
		assert_true(error.message[0] != '\0');
		n_failures++;
	}
	assert_true(n_failures > 10);
}

static void specs_of_registries(void **state)
{
	orm_registry *registry = orm_registry_new(specs, 2, NULL);

	(void)state;
	for (unsigned after = 0;; after++) {
		orm_arena arena;

		orm_arena_init(&arena, 0);
		failing_malloc_arm(after);

		const orm_model_spec *again = orm_registry_specs(registry, &arena);
		const bool failed = failing_malloc_disarm();

		assert_int_equal(again == NULL, failed);
		orm_arena_fini(&arena);
		if (!failed)
			break;
	}
	orm_registry_free(registry);
}

/* True if it all went well. */
static bool build(const orm_mapper *mapper)
{
	static const uint16_t which[] = {0, 1, 2};
	static const char text[] = "a text that makes the buffers grow now and then";
	orm_batch_builder builder;
	orm_vector vectors[3];
	orm_batch batch;
	bool good = false;

	if (orm_batch_builder_init(&builder, mapper, which, 3)) {
		for (int row = 0; row < 300; row++) {
			orm_vector_builder_put_int64(&builder.vectors[0], row);
			if (row % 2) {
				orm_vector_builder_put_bytes(&builder.vectors[1], text, 5);
				orm_vector_builder_put_text(&builder.vectors[2], text, sizeof text - 1);
			} else {
				orm_vector_builder_put_null(&builder.vectors[1]);
				orm_vector_builder_put_null(&builder.vectors[2]);
			}
			orm_batch_builder_end_row(&builder);
		}
		good = orm_batch_builder_view(&builder, vectors, &batch);
	}
	orm_batch_builder_fini(&builder);
	return good;
}

static void builders(void **state)
{
	orm_registry *registry = orm_registry_new(specs, 2, NULL);
	unsigned n_failures = 0;

	(void)state;
	for (unsigned after = 0;; after++) {
		failing_malloc_arm(after);

		const bool good = build(&registry->mappers[1]);
		const bool failed = failing_malloc_disarm();

		assert_int_equal(good, !failed);
		if (!failed)
			break;
		n_failures++;
	}
	assert_true(n_failures > 5);
	orm_registry_free(registry);
}

static void keys_print_as_nothing(void **state)
{
	const orm_value key = {.type = ORM_INT64, .integer = 7};
	char text[16] = "x";

	(void)state;
	failing_malloc_arm(0);
	orm_key_print(&key, 1, text, sizeof text);
	assert_true(failing_malloc_disarm());
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registries),
		cmocka_unit_test(specs_of_registries),
		cmocka_unit_test(builders),
		cmocka_unit_test(keys_print_as_nothing),
	};

	return cmocka_run_group_tests_name("out_of_memory", tests, set_up, NULL);
}
