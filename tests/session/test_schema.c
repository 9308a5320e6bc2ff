/* SPDX-License-Identifier: MIT */
#include "session/database_support.h"

static void create_all_makes_the_tables_and_leaves_those_there(void **state)
{
	fixture *f = *state;
	uint32_t n_tables = 0;

	outside(f, "INSERT INTO teams(id, name) VALUES (1, 'red')");
	assert_ok(f, ormd_schema_create_all(f->database, f->registry, 0, &n_tables, &f->error));
	assert_int_equal(n_tables, f->registry->n_mappers);
	assert_string_equal(ask(f, "SELECT name FROM teams"), "red");
}

static void drop_all_drops_tables_in_circles_with_rows(void **state)
{
	fixture *f = *state;
	uint32_t n_tables = 0;

	add(f, "Left", "id right_id", 1LL, 1LL);
	add(f, "Right", "id left_id", 1LL, 1LL);
	commit(f);
	assert_ok(f, ormd_schema_drop_all(f->database, f->registry, 0, &n_tables, &f->error));
	assert_int_equal(n_tables, f->registry->n_mappers);
	assert_int_equal(count_tables(f, "'users', 'lefts', 'rights', 'badges'"), 0);
	assert_int_equal(count_tables(f, "'ormd_commit'"), 1); /* ours */
}

static void failure_undoes_all_of_it(void **state)
{
	fixture *f = *state;

	if (!ormd_database_dialect(f->database)->transactional_ddl)
		skip();
	assert_ok(f, ormd_schema_drop_all(f->database, f->registry, 0, NULL, &f->error));
	outside(f, "CREATE VIEW badges AS SELECT 1 AS code"); /* CREATE INDEX or DROP TABLE cannot be done to a view */
	if (engine_of(f->url) != ENGINE_MARIADB) /* which passes over it */
		assert_int_not_equal(ormd_schema_drop_all(f->database, f->registry, 0, NULL, &f->error), ORM_OK);
	outside(f, "DROP VIEW badges; CREATE VIEW posts AS SELECT 1 AS id");
	assert_int_not_equal(ormd_schema_create_all(f->database, f->registry, 0, NULL, &f->error), ORM_OK);
	assert_int_equal(count_tables(f, "'users', 'nodes', 'teams'"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(create_all_makes_the_tables_and_leaves_those_there),
		TEST(drop_all_drops_tables_in_circles_with_rows),
		TEST(failure_undoes_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
