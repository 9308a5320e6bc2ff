/* SPDX-License-Identifier: MIT */
/* Every allocation fails once; what comes of it is an error, no crash, no leak and no cut statement. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/failing_malloc.h"
#include "sql/ddl.h"

static orm_registry *make(void)
{
	static const orm_column_spec users[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "name", .type = ORM_TEXT, .max_length = 50, .unique = true, .check = "name <> ''"},
		{.name = "b_c", .type = ORM_TEXT, .index = true}};
	static const orm_column_spec others[] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "c", .type = ORM_INT64, .index = true, .references_model = "User", .references_column = "id"}};
	static const orm_model_spec specs[] = {{.name = "User", .table = "a", .columns = users, .n_columns = 3},
					       {.name = "Other", .table = "a_b", .columns = others, .n_columns = 2}};

	return orm_registry_new(specs, 2, NULL);
}

/* Parentheses and quotes are closed: nothing was lost on the way. */
static orm_status whole(const char *sql, void *context, orm_error *error)
{
	int parentheses = 0;
	int quotes = 0;

	(void)context;
	(void)error;
	for (const char *c = sql; *c; c++) {
		parentheses += *c == '(' ? 1 : *c == ')' ? -1 : 0;
		quotes += *c == '"';
	}
	assert_int_equal(parentheses, 0);
	assert_int_equal(quotes % 2, 0);
	return ORM_OK;
}

typedef orm_status make_schema(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit,
			       void *context, orm_error *error);

static void check(make_schema *make_schema_of, unsigned at_least)
{
	orm_registry *registry = make();
	unsigned n_failures = 0;

	for (unsigned after = 0;; after++) {
		orm_error error = {.code = ORM_OK};

		failing_malloc_arm(after);

		const orm_status status = make_schema_of(&ormd_dialect_sqlite, registry, whole, NULL, &error);

		if (!failing_malloc_disarm()) {
			assert_int_equal(status, ORM_OK);
			break;
		}
		assert_int_equal(status, ORM_ENOMEM);
		assert_int_equal(error.code, ORM_ENOMEM);
		n_failures++;
	}
	assert_true(n_failures >= at_least);
	orm_registry_free(registry);
}

static void creating(void **state)
{
	(void)state;
	check(ormd_ddl_create_all, 10);
}

static void dropping(void **state)
{
	(void)state;
	check(ormd_ddl_drop_all, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creating),
		cmocka_unit_test(dropping),
	};

	return cmocka_run_group_tests_name("sql_out_of_memory", tests, NULL, NULL);
}
