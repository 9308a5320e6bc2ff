/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <string.h>

static shelf lib;
static uint64_t author; /* persistent, without changes */

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, "shelf", ORMD_ON_DEATH_ROLLBACK, 0);
	author = install_row(&lib, lib.author, false,
			     CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, "Ada"), TEXT(AUTHOR_EMAIL, "a@x"),
				   INT32(AUTHOR_VERSION, 1)))
			 ->handle;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	check_consistency(&lib);
	library_fini(&lib);
	return 0;
}

static orm_status update_at(uint32_t participant, uint64_t handle, uint64_t base, size_t n, const cell_value *cells)
{
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_update(&draft, lib.author, handle, base, n, cells);
	return draft_publish(&draft, participant);
}

static orm_status delete_at(uint32_t participant, const orm_mapper *mapper, uint64_t handle, uint64_t base)
{
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_delete(&draft, mapper, handle, base);
	return draft_publish(&draft, participant);
}

static void different_fields_of_one_object_merge(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "Ann's"))), ORM_OK);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_EMAIL, "bob's"))), ORM_OK);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'Ann''s'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "'bob''s'");
}

static void the_same_field_is_a_conflict_that_names_everything(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "theirs"))), ORM_OK);

	const uint64_t revision = ormd_session_revision(lib.session);

	assert_int_equal(
		update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "mine"), TEXT(AUTHOR_EMAIL, "merged?"))),
		ORM_ECONFLICT);
	assert_int_equal(lib.published.n_conflicts, 1);

	const ormd_conflict *conflict = &lib.published.conflicts[0];

	assert_true(conflict->handle == author);
	assert_ptr_equal(conflict->mapper, lib.author);
	assert_int_equal(conflict->column, AUTHOR_NAME);
	assert_string_equal(print_value(&lib, &conflict->base), "'Ada'");
	assert_string_equal(print_value(&lib, &conflict->theirs), "'theirs'");
	assert_string_equal(print_value(&lib, &conflict->mine), "'mine'");
	assert_int_equal(conflict->author, lib.ann);
	assert_string_equal(conflict->author_name, "ann");
	assert_true(conflict->revision == revision);
	assert_false(conflict->deleted);
	assert_string_equal(lib.error.model, "Author");
	assert_string_equal(lib.error.column, "name");
	assert_string_equal(lib.error.key, "7");
	assert_non_null(strstr(lib.error.message, "ann"));

	/* Nothing of the draft was applied, and it can be published on the new base. */
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "'a@x'");
	assert_true(ormd_session_revision(lib.session) == revision);
	assert_int_equal(update_at(lib.bob, author, revision, CELLS(TEXT(AUTHOR_NAME, "mine"))), ORM_OK);
}

static void a_value_that_came_back_is_still_a_conflict(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "B"))), ORM_OK);
	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "Ada"))), ORM_OK);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "mine"))), ORM_ECONFLICT);
	assert_string_equal(print_value(&lib, &lib.published.conflicts[0].theirs), "'Ada'");
}

static void equal_values_by_two_are_a_conflict(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "same"))), ORM_OK);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "same"))), ORM_ECONFLICT);
}

static void ones_own_changes_do_not_conflict(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "1"))), ORM_OK);
	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "2"))), ORM_OK);
	assert_int_equal(delete_at(lib.ann, lib.author, author, base), ORM_OK);
}

static void all_conflicts_of_a_draft_are_told(void **state)
{
	(void)state;
	const uint64_t other = install_row(&lib, lib.author, false,
					   CELLS(INT(AUTHOR_ID, 8), TEXT(AUTHOR_NAME, "Bo"), INT32(AUTHOR_VERSION, 1)))
				       ->handle;
	const uint64_t base = ormd_session_revision(lib.session);
	rows_draft draft;

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "x"), TEXT(AUTHOR_EMAIL, "x"))),
			 ORM_OK);
	assert_int_equal(delete_at(lib.ann, lib.author, other, base), ORM_OK);
	draft_init(&draft, &lib);
	draft_update(&draft, lib.author, author, base, CELLS(TEXT(AUTHOR_NAME, "y"), TEXT(AUTHOR_EMAIL, "y")));
	draft_update(&draft, lib.author, other, base, CELLS(TEXT(AUTHOR_NAME, "y")));
	draft_add(&draft, lib.tag, library_handle(&lib, lib.bob), CELLS(TEXT(TAG_CODE, "t")));
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_ECONFLICT);
	assert_int_equal(lib.published.n_conflicts, 3);
	assert_true(lib.published.conflicts[2].deleted);
	assert_int_equal(lib.published.conflicts[2].column, ORM_NO_NUMBER);
	assert_null(ormd_unit_by_key(lib.session, lib.tag, &(orm_value){.type = ORM_TEXT, .size = 1, .text = "t"}));
}

static void many_conflicts_are_told(void **state)
{
	(void)state;
	enum { N = 25 };
	const uint64_t base = ormd_session_revision(lib.session);
	rows_draft draft;

	draft_init(&draft, &lib);
	for (int i = 0; i < N; i++) {
		const char code[] = {(char)('a' + i), '\0'};
		const uint64_t tag = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, code)))->handle;

		assert_int_equal(update_row(&lib, lib.ann, lib.tag, tag, CELLS(TEXT(TAG_LABEL, "theirs"))), ORM_OK);
		draft_update(&draft, lib.tag, tag, base, CELLS(TEXT(TAG_LABEL, "mine")));
	}
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_ECONFLICT);
	assert_int_equal(lib.published.n_conflicts, N);
	for (size_t i = 0; i < N; i++) {
		assert_string_equal(print_value(&lib, &lib.published.conflicts[i].theirs), "'theirs'");
		assert_string_equal(print_value(&lib, &lib.published.conflicts[i].mine), "'mine'");
		assert_true(lib.published.conflicts[i].base.null);
	}
}

static void deleting_what_another_changed_is_a_conflict(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	assert_int_equal(delete_at(lib.bob, lib.author, author, base), ORM_ECONFLICT);
	assert_int_equal(lib.published.conflicts[0].column, ORM_NO_NUMBER);
	assert_false(lib.published.conflicts[0].deleted);
	assert_int_equal(lib.published.conflicts[0].author, lib.ann);
	assert_int_equal(delete_at(lib.bob, lib.author, author, ormd_session_revision(lib.session)), ORM_OK);
}

static void changing_what_another_deleted_is_a_conflict(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(delete_at(lib.ann, lib.author, author, base), ORM_OK);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_ECONFLICT);
	assert_true(lib.published.conflicts[0].deleted);
	/* Who knows of the deletion makes a mistake. */
	assert_int_equal(update_at(lib.bob, author, ormd_session_revision(lib.session), CELLS(TEXT(AUTHOR_NAME, "x"))),
			 ORM_EINVAL);
	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_EINVAL);
	/* Two who delete the same agree. */
	assert_int_equal(delete_at(lib.bob, lib.author, author, base), ORM_OK);
}

static void referring_to_what_another_deleted_is_a_conflict(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	const uint64_t book = library_handle(&lib, lib.bob);
	rows_draft draft;
	ormd_draft view;

	assert_int_equal(delete_at(lib.ann, lib.author, author, seen), ORM_OK);
	draft_init(&draft, &lib);
	draft_add_to(&draft, lib.book, book, CELLS(TEXT(BOOK_TITLE, "x")), lib.book_author, author);
	view = draft_view(&draft);
	assert_int_equal(
		ormd_session_publish(lib.session, lib.bob, seen, &view, &lib.arena, &lib.published, &lib.error),
		ORM_ECONFLICT);
	assert_true(lib.published.conflicts[0].handle == author);
	assert_int_equal(object_state(&lib, book), ORMD_STATE_NONE);
}

static void a_relationship_set_by_two_is_a_conflict(void **state)
{
	(void)state;
	const uint64_t book = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "x")));
	const uint64_t base = ormd_session_revision(lib.session);
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_update_to(&draft, lib.book, book, base, lib.book_author, author);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	draft_init(&draft, &lib);
	draft_update_to(&draft, lib.book, book, base, lib.book_author, 0);
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_ECONFLICT);
	assert_int_equal(lib.published.conflicts[0].column, BOOK_AUTHOR);
	assert_string_equal(print_value(&lib, &lib.published.conflicts[0].theirs), "7");
	assert_true(lib.published.conflicts[0].mine.null);
}

static void a_cascade_spares_what_another_has_just_made(void **state)
{
	(void)state;
	const uint64_t book =
		install_row(&lib, lib.book, false,
			    CELLS(INT(BOOK_ID, 1), TEXT(BOOK_TITLE, "x"), INT(BOOK_AUTHOR, 7), INT32(BOOK_RATING, 1)))
			->handle;
	const uint64_t base = ormd_session_revision(lib.session);
	const uint64_t chapter =
		add_row(&lib, lib.bob, lib.chapter, CELLS(INT(CHAPTER_BOOK, 1), INT32(CHAPTER_NUMBER, 1)));

	assert_int_equal(delete_at(lib.ann, lib.book, book, base), ORM_ECONFLICT);
	assert_true(lib.published.conflicts[0].handle == chapter);
	assert_int_equal(object_state(&lib, book), ORMD_STATE_PERSISTENT);
	assert_int_equal(delete_at(lib.ann, lib.book, book, ormd_session_revision(lib.session)), ORM_OK);
	assert_int_equal(object_state(&lib, chapter), ORMD_STATE_GONE);
}

static void set_null_spares_what_another_has_just_set(void **state)
{
	(void)state;
	const uint64_t book =
		install_row(&lib, lib.book, false, CELLS(INT(BOOK_ID, 1), TEXT(BOOK_TITLE, "x"), INT32(BOOK_RATING, 1)))
			->handle;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_row(&lib, lib.bob, lib.book, book, CELLS(INT(BOOK_AUTHOR, 7))), ORM_OK);
	assert_int_equal(delete_at(lib.ann, lib.author, author, base), ORM_ECONFLICT);
	assert_int_equal(lib.published.conflicts[0].column, BOOK_AUTHOR);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "7");
}

static void a_conflict_outlives_the_commit_and_the_sync(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	settle_all(&lib, lib.ann);
	/* Everybody has seen it, but bob's edit is older. */
	sync_of(&lib, lib.ann, ormd_session_revision(lib.session));
	sync_of(&lib, lib.bob, ormd_session_revision(lib.session));
	sync_of(&lib, lib.cid, ormd_session_revision(lib.session));
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "y"))), ORM_ECONFLICT);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_EMAIL, "y"))), ORM_OK);
}

static void a_committed_deletion_is_a_conflict_for_older_edits(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(delete_at(lib.ann, lib.author, author, base), ORM_OK);
	settle_all(&lib, lib.ann);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "y"))), ORM_ECONFLICT);
	assert_true(lib.published.conflicts[0].deleted);
	assert_int_equal(delete_at(lib.bob, lib.author, author, base), ORM_OK);
}

static void what_the_server_made_does_not_stop_a_deletion_but_a_reload_stops_an_edit(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	install_row(&lib, lib.author, true,
		    CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, "from outside"), TEXT(AUTHOR_EMAIL, "a@x"),
			  INT32(AUTHOR_VERSION, 2)));
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "y"))), ORM_ECONFLICT);
	assert_int_equal(lib.published.conflicts[0].author, 0);
	assert_string_equal(lib.published.conflicts[0].author_name, "the server");
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_EMAIL, "y"))), ORM_OK);
	assert_int_equal(delete_at(lib.bob, lib.author, author, base), ORM_OK);
}

static void the_departed_keep_their_names(void **state)
{
	(void)state;
	const uint64_t base = ormd_session_revision(lib.session);

	assert_int_equal(update_at(lib.ann, author, base, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	ormd_session_leave(lib.session, lib.ann, false, NULL);
	assert_int_equal(update_at(lib.bob, author, base, CELLS(TEXT(AUTHOR_NAME, "y"))), ORM_ECONFLICT);
	assert_string_equal(lib.published.conflicts[0].author_name, "ann");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(different_fields_of_one_object_merge),
		TEST(the_same_field_is_a_conflict_that_names_everything),
		TEST(a_value_that_came_back_is_still_a_conflict),
		TEST(equal_values_by_two_are_a_conflict),
		TEST(ones_own_changes_do_not_conflict),
		TEST(all_conflicts_of_a_draft_are_told),
		TEST(many_conflicts_are_told),
		TEST(deleting_what_another_changed_is_a_conflict),
		TEST(changing_what_another_deleted_is_a_conflict),
		TEST(referring_to_what_another_deleted_is_a_conflict),
		TEST(a_relationship_set_by_two_is_a_conflict),
		TEST(a_cascade_spares_what_another_has_just_made),
		TEST(set_null_spares_what_another_has_just_set),
		TEST(a_conflict_outlives_the_commit_and_the_sync),
		TEST(a_committed_deletion_is_a_conflict_for_older_edits),
		TEST(what_the_server_made_does_not_stop_a_deletion_but_a_reload_stops_an_edit),
		TEST(the_departed_keep_their_names),
	};

	return cmocka_run_group_tests_name("session_conflict", tests, NULL, NULL);
}
