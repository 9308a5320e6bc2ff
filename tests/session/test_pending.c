/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <string.h>

static shelf lib;

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, "shelf", ORMD_ON_DEATH_ROLLBACK, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	library_fini(&lib);
	return 0;
}

static void changes_are_listed_for_people(void **state)
{
	(void)state;
	const uint64_t changed = install_row(&lib, lib.author, false,
					     CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, "Ada"), TEXT(AUTHOR_EMAIL, "a"),
						   INT32(AUTHOR_VERSION, 1)))
					 ->handle;
	const uint64_t deleted =
		install_row(&lib, lib.chapter, false, CELLS(INT(CHAPTER_BOOK, 1), INT32(CHAPTER_NUMBER, 2)))->handle;
	const uint64_t fresh = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "it's new")));
	const ormd_pending_object *objects;
	size_t n;
	bool truncated;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, changed, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.cid, lib.chapter, deleted), ORM_OK);
	assert_int_equal(update_row(&lib, lib.bob, lib.author, changed, CELLS(TEXT(AUTHOR_EMAIL, NULL))), ORM_OK);
	assert_int_equal(ormd_session_pending(lib.session, 10, &lib.arena, &objects, &n, &truncated, &lib.error),
			 ORM_OK);
	assert_int_equal(n, 3);
	assert_false(truncated);

	assert_true(objects[0].handle == fresh);
	assert_string_equal(objects[0].model, "Book");
	assert_string_equal(objects[0].key, "1");
	assert_string_equal(objects[0].change, "new");
	assert_string_equal(objects[0].author, "ann");
	assert_int_equal(objects[0].n_fields, 2); /* what is set */
	assert_string_equal(objects[0].fields[1].column, "title");
	assert_null(objects[0].fields[1].before);
	assert_string_equal(objects[0].fields[1].after, "'it''s new'");

	assert_true(objects[1].handle == deleted);
	assert_string_equal(objects[1].change, "deleted");
	assert_string_equal(objects[1].key, "(1, 2)");
	assert_string_equal(objects[1].author, "cid");
	assert_int_equal(objects[1].n_fields, 0);

	assert_true(objects[2].handle == changed); /* touched last */
	assert_string_equal(objects[2].change, "changed");
	assert_string_equal(objects[2].author, "bob");
	assert_int_equal(objects[2].n_fields, 2);
	assert_string_equal(objects[2].fields[0].column, "name");
	assert_string_equal(objects[2].fields[0].before, "'Ada'");
	assert_string_equal(objects[2].fields[0].after, "'x'");
	assert_string_equal(objects[2].fields[0].author, "ann");
	assert_string_equal(objects[2].fields[1].before, "'a'");
	assert_null(objects[2].fields[1].after);
	assert_string_equal(objects[2].fields[1].author, "bob");
	assert_true(objects[2].fields[1].revision == ormd_session_revision(lib.session));
}

static void a_long_list_is_cut_and_long_values_are(void **state)
{
	(void)state;
	char label[1000];
	const ormd_pending_object *objects;
	size_t n;
	bool truncated;

	memset(label, 'x', sizeof label - 1);
	label[sizeof label - 1] = '\0';
	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "a"), TEXT(TAG_LABEL, label)));
	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "b")));
	assert_int_equal(ormd_session_pending(lib.session, 1, &lib.arena, &objects, &n, &truncated, &lib.error),
			 ORM_OK);
	assert_int_equal(n, 1);
	assert_true(truncated);
	assert_true(strlen(objects[0].fields[1].after) < 300);
	assert_int_equal(ormd_session_pending(lib.session, 0, &lib.arena, &objects, &n, &truncated, &lib.error),
			 ORM_OK);
	assert_int_equal(n, 0);
}

static void nothing_is_pending(void **state)
{
	(void)state;
	const ormd_pending_object *objects;
	size_t n;
	bool truncated;

	assert_int_equal(ormd_session_pending(lib.session, 10, &lib.arena, &objects, &n, &truncated, &lib.error),
			 ORM_OK);
	assert_int_equal(n, 0);
	assert_false(truncated);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(changes_are_listed_for_people),
		TEST(a_long_list_is_cut_and_long_values_are),
		TEST(nothing_is_pending),
	};

	return cmocka_run_group_tests_name("session_pending", tests, NULL, NULL);
}
