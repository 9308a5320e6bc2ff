/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <string.h>

static shelf lib;
static uint64_t author;

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, "shelf", ORMD_ON_DEATH_ROLLBACK, 0);
	author = install_row(&lib, lib.author, false,
			     CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, "Ada"), INT32(AUTHOR_VERSION, 1)))
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

static void everything_is_as_it_was(void **state)
{
	(void)state;
	const uint64_t gone =
		install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "d"), TEXT(TAG_LABEL, "old")))->handle;
	const uint64_t added = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n")));
	const uint32_t epoch = lib.session->epoch;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	assert_int_equal(
		update_row(&lib, lib.bob, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "y"), TEXT(AUTHOR_EMAIL, "y"))),
		ORM_OK);
	assert_int_equal(update_row(&lib, lib.bob, lib.tag, gone, CELLS(TEXT(TAG_LABEL, "new"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.bob, lib.tag, gone), ORM_OK);

	const uint64_t seen = ormd_session_revision(lib.session);

	ormd_session_rollback(lib.session, lib.ann);
	assert_true(ormd_session_revision(lib.session) == seen + 1);
	assert_int_equal(lib.session->epoch, epoch + 1);
	assert_false(ormd_unit_pending(lib.session));
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'Ada'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "NULL");
	assert_string_equal(cell_of(&lib, gone, TAG_LABEL), "'old'");
	assert_int_equal(object_state(&lib, gone), ORMD_STATE_PERSISTENT);
	assert_int_equal(object_state(&lib, added), ORMD_STATE_GONE);

	/* Everybody is told, also who rolled back. */
	for (uint32_t participant = lib.ann; participant <= lib.cid; participant++) {
		const ormd_sync sync = sync_of(&lib, participant, seen);

		assert_int_equal(sync.n_gone, 1);
		assert_true(has_handle(sync.gone, sync.n_gone, added));
		assert_int_equal(sync.n_restored, 1);
		assert_true(has_handle(sync.restored, sync.n_restored, gone));
		assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "1='Ada' 2=NULL");
		assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, gone), "1='old'");
		assert_int_equal(sync.n_added, 0);
	}
}

static void a_rollback_of_nothing_is_no_operation(void **state)
{
	(void)state;
	const uint64_t revision = ormd_session_revision(lib.session);

	ormd_session_rollback(lib.session, lib.ann);
	assert_true(ormd_session_revision(lib.session) == revision);
	assert_int_equal(ormd_session_check_seen(lib.session, lib.bob, revision, &lib.error), ORM_OK);
}

static void who_did_not_see_anothers_rollback_is_told_once(void **state)
{
	(void)state;
	rows_draft draft;

	add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "b")));
	ormd_session_rollback(lib.session, lib.ann);
	assert_int_equal(ormd_session_check_seen(lib.session, lib.ann, 0, &lib.error), ORM_OK);

	draft_init(&draft, &lib);
	draft_add(&draft, lib.tag, library_handle(&lib, lib.bob), CELLS(TEXT(TAG_CODE, "c")));
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_EABORTED); /* although it has seen the revision */
	assert_non_null(strstr(lib.error.message, "ann"));
	assert_int_equal(ormd_draft_begin(lib.session, lib.bob, 0, &lib.error), ORM_EABORTED);

	/* Ann goes on; bob's acknowledgement is not a rollback of that. */
	const uint64_t after = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "a")));

	ormd_session_rollback(lib.session, lib.bob);
	assert_int_equal(object_state(&lib, after), ORMD_STATE_NEW);
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_OK);

	/* But the next one is, and aborts ann. */
	ormd_session_rollback(lib.session, lib.bob);
	assert_int_equal(object_state(&lib, after), ORMD_STATE_GONE);
	assert_int_equal(ormd_session_check_seen(lib.session, lib.ann, 0, &lib.error), ORM_EABORTED);
	assert_int_equal(ormd_session_check_seen(lib.session, lib.bob, 0, &lib.error), ORM_OK);
}

static void newcomers_are_not_aborted(void **state)
{
	(void)state;
	uint32_t dan;

	add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "b")));
	ormd_session_rollback(lib.session, lib.ann);
	assert_int_equal(ormd_session_join(lib.session, "dan", &dan, &lib.error), ORM_OK);
	assert_int_equal(ormd_session_check_seen(lib.session, dan, 0, &lib.error), ORM_OK);
}

static void added_and_deleted_in_the_unit_leaves_at_once(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	const uint64_t added = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n")));
	const ormd_sync first = sync_of(&lib, lib.bob, seen);

	assert_non_null(row_of(&lib, first.added, first.n_added, added));
	assert_int_equal(delete_row(&lib, lib.cid, lib.tag, added), ORM_OK);
	assert_false(ormd_unit_pending(lib.session));
	assert_int_equal(object_state(&lib, added), ORMD_STATE_GONE);

	const ormd_sync second = sync_of(&lib, lib.bob, first.revision);

	assert_true(has_handle(second.gone, second.n_gone, added));
	assert_int_equal(sync_of(&lib, lib.cid, first.revision).n_gone, 0); /* it did it itself */

	/* Its key is free again. */
	add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "n")));
}

static void a_commit_is_the_new_base(void **state)
{
	(void)state;
	const uint64_t added =
		add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n"), TEXT(TAG_LABEL, "committed")));
	const uint64_t deleted = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "d")))->handle;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "committed"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, deleted), ORM_OK);

	const uint64_t seen = ormd_session_revision(lib.session);

	ormd_unit_settle_begin(lib.session, lib.ann);
	ormd_unit_set_server_integer(lib.session, ormd_unit_by_handle(lib.session, author), AUTHOR_VERSION, 2);
	ormd_unit_settle(lib.session, lib.ann);
	assert_false(ormd_unit_pending(lib.session));
	assert_int_equal(object_state(&lib, deleted), ORMD_STATE_GONE);
	assert_int_equal(object_state(&lib, added), ORMD_STATE_PERSISTENT);

	/* The one who committed learns what the server made, and only that; the others as well. */
	for (uint32_t participant = lib.ann; participant <= lib.bob; participant++) {
		const ormd_sync sync = sync_of(&lib, participant, seen);

		assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "7=2");
		assert_int_equal(sync.n_changed, 1);
		assert_int_equal(sync.n_added, 0);
		assert_true(has_handle(sync.gone, sync.n_gone, deleted));
	}
	check_consistency(&lib);

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "pending"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, added), ORM_OK);
	assert_int_equal(object_state(&lib, added), ORMD_STATE_DELETED);
	ormd_session_rollback(lib.session, lib.ann);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'committed'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_VERSION), "2");
	assert_string_equal(cell_of(&lib, added, TAG_LABEL), "'committed'");
}

static void a_server_record_brings_defaults(void **state)
{
	(void)state;
	const uint64_t book = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "x")));
	const uint64_t seen = ormd_session_revision(lib.session);
	ormd_object *object = ormd_unit_by_handle(lib.session, book);
	const uint16_t columns[] = {BOOK_RATING, BOOK_CREATED};
	const orm_value values[] = {int_value(ORM_INT32, 3), int_value(ORM_DATETIME, 0)};
	ormd_record *record = ormd_record_with(ormd_object_layout(lib.session, object), object->record, columns, values,
					       2, &lib.session->pool);

	assert_non_null(record);
	ormd_unit_settle_begin(lib.session, lib.ann);
	ormd_unit_set_server_record(lib.session, object, record, columns, 2);
	ormd_unit_settle(lib.session, lib.ann);
	assert_string_equal(cell_of(&lib, book, BOOK_RATING), "3");

	const ormd_sync mine = sync_of(&lib, lib.ann, seen), theirs = sync_of(&lib, lib.bob, seen - 1);

	assert_string_equal(row_of(&lib, mine.changed, mine.n_changed, book), "3=3 4=1970-01-01T00:00:00Z");
	assert_non_null(row_of(&lib, theirs.added, theirs.n_added, book));
}

static void the_last_ones_leaving_rolls_back(void **state)
{
	(void)state;
	const uint64_t added = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n")));

	ormd_session_leave(lib.session, lib.ann, false, NULL);
	ormd_session_leave(lib.session, lib.bob, false, NULL);
	assert_int_equal(object_state(&lib, added), ORMD_STATE_NEW); /* leaving in order keeps what was published */
	ormd_session_leave(lib.session, lib.cid, false, NULL);
	assert_false(ormd_unit_pending(lib.session));
	assert_int_equal(object_state(&lib, added), ORMD_STATE_NONE); /* nobody is left who would have to know */
	assert_int_equal(lib.session->settled.len, 0);
}

static void a_death_rolls_back_and_tells_why(void **state)
{
	(void)state;
	const uint64_t added = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n")));

	ormd_session_leave(lib.session, lib.ann, true, "its process ended");
	assert_int_equal(object_state(&lib, added), ORMD_STATE_GONE);
	assert_int_equal(ormd_session_check_seen(lib.session, lib.bob, 0, &lib.error), ORM_EABORTED);
	assert_non_null(strstr(lib.error.message, "ann"));
	assert_non_null(strstr(lib.error.message, "its process ended"));
}

static void a_death_may_keep_what_was_published(void **state)
{
	(void)state;
	shelf other;

	library_init(&other, "other", ORMD_ON_DEATH_KEEP, 0);

	const uint64_t added = add_row(&other, other.ann, other.tag, CELLS(TEXT(TAG_CODE, "n")));

	ormd_session_leave(other.session, other.ann, true, NULL);
	assert_int_equal(object_state(&other, added), ORMD_STATE_NEW);
	assert_int_equal(ormd_session_check_seen(other.session, other.bob, 0, &other.error), ORM_OK);
	check_consistency(&other);
	library_fini(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(everything_is_as_it_was),
		TEST(a_rollback_of_nothing_is_no_operation),
		TEST(who_did_not_see_anothers_rollback_is_told_once),
		TEST(newcomers_are_not_aborted),
		TEST(added_and_deleted_in_the_unit_leaves_at_once),
		TEST(a_commit_is_the_new_base),
		TEST(a_server_record_brings_defaults),
		TEST(the_last_ones_leaving_rolls_back),
		TEST(a_death_rolls_back_and_tells_why),
		cmocka_unit_test(a_death_may_keep_what_was_published),
	};

	return cmocka_run_group_tests_name("session_rollback", tests, NULL, NULL);
}
