/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <stdio.h>
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
	check_consistency(&lib);
	library_fini(&lib);
	return 0;
}

static void an_added_object_has_its_key_at_once(void **state)
{
	(void)state;
	const uint64_t handle = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "Ada")));

	assert_int_equal(lib.published.n_keys, 1);
	assert_true(lib.published.keys[0].first_handle == handle);
	assert_int_equal(lib.published.keys[0].first_key, 1);
	assert_int_equal(lib.published.keys[0].count, 1);
	assert_string_equal(cell_of(&lib, handle, AUTHOR_ID), "1");
	assert_string_equal(cell_of(&lib, handle, AUTHOR_NAME), "'Ada'");
	assert_string_equal(cell_of(&lib, handle, AUTHOR_EMAIL), "NULL");
	assert_string_equal(cell_of(&lib, handle, AUTHOR_VERSION), "unset");
	assert_int_equal(object_state(&lib, handle), ORMD_STATE_NEW);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.author, &(orm_value){.type = ORM_INT64, .integer = 1}),
			 ormd_unit_by_handle(lib.session, handle));
}

static void columns_with_a_default_stay_unset(void **state)
{
	(void)state;
	const uint64_t handle = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "Notes")));
	const cell_value explicit_null[] = {TEXT(BOOK_TITLE, "Notes"), {BOOK_CREATED, null_value(ORM_DATETIME)}};
	const uint64_t other = add_row(&lib, lib.ann, lib.book, 2, explicit_null);

	assert_string_equal(cell_of(&lib, handle, BOOK_RATING), "unset");
	assert_string_equal(cell_of(&lib, handle, BOOK_CREATED), "unset");
	assert_string_equal(cell_of(&lib, other, BOOK_CREATED), "NULL");
	assert_int_equal(update_row(&lib, lib.ann, lib.book, handle, CELLS(INT32(BOOK_RATING, 5))), ORM_OK);
	assert_string_equal(cell_of(&lib, handle, BOOK_RATING), "5");
	assert_string_equal(cell_of(&lib, handle, BOOK_CREATED), "unset");
}

static void keys_of_one_batch_are_consecutive(void **state)
{
	(void)state;
	enum { N = 300 };
	int64_t ids[N];
	orm_batch_builder builder;
	orm_vector vectors[2];
	ormd_adds adds = {.first_handle = (uint64_t)lib.ann << ORMD_HANDLE_SHIFT | 1};
	const ormd_draft draft = {.adds = &adds, .n_adds = 1};
	const uint16_t columns[] = {AUTHOR_ID, AUTHOR_NAME};

	assert_true(orm_batch_builder_init(&builder, lib.author, columns, 2));
	for (int i = 0; i < N; i++) {
		ids[i] = i == 100 ? 5000 : 0;
		orm_vector_builder_put_int64(&builder.vectors[0], ids[i]);
		orm_vector_builder_put_text(&builder.vectors[1], "someone", 7);
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &adds.values));
	assert_int_equal(ormd_session_publish(lib.session, lib.ann, 0, &draft, &lib.arena, &lib.published, &lib.error),
			 ORM_OK);
	assert_int_equal(lib.published.n_keys, 2); /* around the one that has its own */
	assert_int_equal(lib.published.keys[0].count, 100);
	assert_int_equal(lib.published.keys[1].count, N - 101);
	assert_int_equal(lib.published.keys[1].first_key, 101);
	assert_true(lib.published.keys[1].first_handle == adds.first_handle + 101);
	assert_string_equal(cell_of(&lib, adds.first_handle + 100, AUTHOR_ID), "5000");
	orm_batch_builder_fini(&builder);

	/* An explicit key is not given out again. */
	const uint64_t next = library_handle(&lib, lib.bob);
	rows_draft more;

	draft_init(&more, &lib);
	draft_add(&more, lib.author, next, CELLS(TEXT(AUTHOR_NAME, "later")));
	assert_int_equal(draft_publish(&more, lib.bob), ORM_OK);
	assert_string_equal(cell_of(&lib, next, AUTHOR_ID), "5001");
}

static void keys_of_one_draft_pass_over_its_explicit_keys(void **state)
{
	(void)state;
	const uint64_t handles[] = {library_handle(&lib, lib.ann), library_handle(&lib, lib.ann),
				    library_handle(&lib, lib.ann), library_handle(&lib, lib.ann)};
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_add(&draft, lib.author, handles[0], CELLS(TEXT(AUTHOR_NAME, "first")));
	draft_add(&draft, lib.author, handles[1], CELLS(INT(AUTHOR_ID, 2), TEXT(AUTHOR_NAME, "given")));
	draft_add(&draft, lib.author, handles[2], CELLS(TEXT(AUTHOR_NAME, "second")));
	draft_add(&draft, lib.author, handles[3], CELLS(TEXT(AUTHOR_NAME, "third")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, handles[0], AUTHOR_ID), "1");
	assert_string_equal(cell_of(&lib, handles[1], AUTHOR_ID), "2");
	assert_string_equal(cell_of(&lib, handles[2], AUTHOR_ID), "3");
	assert_string_equal(cell_of(&lib, handles[3], AUTHOR_ID), "4");
}

static void a_required_column_is_named(void **state)
{
	(void)state;
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_add(&draft, lib.author, library_handle(&lib, lib.ann), CELLS(TEXT(AUTHOR_EMAIL, "x@example.com")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
	assert_string_equal(lib.error.model, "Author");
	assert_string_equal(lib.error.column, "name");
	assert_non_null(strstr(lib.error.message, "Author.name"));
}

static void handles_are_the_participants_own_and_never_used_twice(void **state)
{
	(void)state;
	const uint64_t used = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "a")));
	const uint64_t wrong[] = {used, 0, (uint64_t)lib.bob << ORMD_HANDLE_SHIFT | 9,
				  (uint64_t)lib.ann << ORMD_HANDLE_SHIFT};
	const uint64_t revision = ormd_session_revision(lib.session);

	for (size_t i = 0; i < 4; i++) {
		rows_draft draft;

		draft_init(&draft, &lib);
		draft_add(&draft, lib.tag, wrong[i], CELLS(TEXT(TAG_CODE, "b")));
		assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
		assert_true(lib.published.fault_handle == wrong[i]);
	}
	assert_true(ormd_session_revision(lib.session) == revision);
}

static size_t used_of_pools(void)
{
	return lib.session->pool.used + lib.session->changes.used;
}

static void a_draft_is_applied_whole_or_not_at_all(void **state)
{
	(void)state;
	const uint64_t kept = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "Kept")));
	const uint64_t doomed = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "Doomed")));
	const uint64_t loaded =
		install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "t"), TEXT(TAG_LABEL, "label")))->handle;
	const uint64_t fresh = library_handle(&lib, lib.ann);
	const uint64_t revision = ormd_session_revision(lib.session);
	const size_t used = used_of_pools();
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_add(&draft, lib.author, fresh, CELLS(TEXT(AUTHOR_NAME, "Fresh")));
	draft_update(&draft, lib.author, kept, revision, CELLS(TEXT(AUTHOR_NAME, "Changed"), INT(AUTHOR_ID, 77)));
	draft_update(&draft, lib.tag, loaded, revision, CELLS(TEXT(TAG_LABEL, "other"), TEXT(TAG_CODE, "u")));
	draft_delete(&draft, lib.author, doomed, revision);
	draft_add(&draft, lib.tag, library_handle(&lib, lib.ann),
		  CELLS(TEXT(TAG_CODE, "u"))); /* the key that the update takes */
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EEXIST);
	assert_string_equal(lib.error.model, "Tag");
	assert_string_equal(lib.error.key, "'u'");
	assert_int_equal(lib.published.n_keys, 0);
	assert_true(ormd_session_revision(lib.session) == revision);
	assert_string_equal(cell_of(&lib, kept, AUTHOR_NAME), "'Kept'");
	assert_string_equal(cell_of(&lib, kept, AUTHOR_ID), "1");
	assert_string_equal(cell_of(&lib, loaded, TAG_LABEL), "'label'");
	assert_int_equal(object_state(&lib, doomed), ORMD_STATE_NEW);
	assert_int_equal(object_state(&lib, fresh), ORMD_STATE_NONE);
	assert_null(ormd_unit_by_handle(lib.session, loaded)->change);
	assert_int_equal(used_of_pools(), used); /* nothing is left behind */
	check_consistency(&lib);
}

static void references_take_the_targets_key_in_any_order(void **state)
{
	(void)state;
	const uint64_t author = library_handle(&lib, lib.ann), book = library_handle(&lib, lib.ann);
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_add_to(&draft, lib.book, book, CELLS(TEXT(BOOK_TITLE, "first in the draft"), INT(BOOK_AUTHOR, 99)),
		     lib.book_author, author);
	draft_add(&draft, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "Ada")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), cell_of(&lib, author, AUTHOR_ID));

	draft_init(&draft, &lib);
	draft_update_to(&draft, lib.book, book, ormd_session_revision(lib.session), lib.book_author, 0);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "NULL");
}

static void composite_keys_are_made_from_keys_made_in_the_same_draft(void **state)
{
	(void)state;
	const uint64_t paragraph = library_handle(&lib, lib.ann), chapter = library_handle(&lib, lib.ann),
		       book = library_handle(&lib, lib.ann);
	rows_draft draft;

	add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "takes key 1")));
	draft_init(&draft, &lib);
	draft_add_to(&draft, lib.paragraph, paragraph, CELLS(INT32(PARAGRAPH_NUMBER, 7)), lib.paragraph_chapter,
		     chapter);
	draft_add_to(&draft, lib.chapter, chapter, CELLS(INT32(CHAPTER_NUMBER, 4)), lib.chapter_book, book);
	draft_add(&draft, lib.book, book, CELLS(TEXT(BOOK_TITLE, "deep")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, chapter, CHAPTER_BOOK), "2");
	assert_string_equal(cell_of(&lib, paragraph, PARAGRAPH_BOOK), "2");
	assert_string_equal(cell_of(&lib, paragraph, PARAGRAPH_CHAPTER), "4");

	const orm_value key[] = {int_value(ORM_INT64, 2), int_value(ORM_INT32, 4), int_value(ORM_INT32, 7)};

	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.paragraph, key),
			 ormd_unit_by_handle(lib.session, paragraph));
}

static void references_that_cannot_be_are_refused(void **state)
{
	(void)state;
	const uint64_t tag = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "t")));
	const uint64_t author = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "Ada")));
	const uint64_t wrong[] = {tag, (uint64_t)lib.ann << ORMD_HANDLE_SHIFT | 777, author};

	assert_int_equal(delete_row(&lib, lib.ann, lib.author, author), ORM_OK);
	for (size_t i = 0; i < 3; i++) {
		const uint64_t book = library_handle(&lib, lib.ann);
		rows_draft draft;

		draft_init(&draft, &lib);
		draft_add_to(&draft, lib.book, book, CELLS(TEXT(BOOK_TITLE, "x")), lib.book_author, wrong[i]);
		assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
		assert_string_equal(lib.error.column, "author");
		assert_true(lib.published.fault_handle == book);
	}

	rows_draft draft;

	draft_init(&draft, &lib); /* part of the key: may not be NULL */
	draft_add_to(&draft, lib.chapter, library_handle(&lib, lib.ann), CELLS(INT32(CHAPTER_NUMBER, 1)),
		     lib.chapter_book, 0);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
	assert_string_equal(lib.error.column, "book_id");
}

static void a_key_is_taken_once(void **state)
{
	(void)state;
	rows_draft draft;

	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "a")));
	draft_init(&draft, &lib);
	draft_add(&draft, lib.tag, library_handle(&lib, lib.bob), CELLS(TEXT(TAG_CODE, "a")));
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_EEXIST);
	draft_init(&draft, &lib);
	draft_add(&draft, lib.tag, library_handle(&lib, lib.bob), CELLS(TEXT(TAG_CODE, "b")));
	draft_add(&draft, lib.tag, library_handle(&lib, lib.bob), CELLS(TEXT(TAG_CODE, "b")));
	assert_int_equal(draft_publish(&draft, lib.bob), ORM_EEXIST);
}

static void a_row_may_be_switched(void **state)
{
	(void)state;
	const uint64_t old =
		install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "a"), TEXT(TAG_LABEL, "old")))->handle;
	const uint64_t fresh = library_handle(&lib, lib.ann);
	const orm_value key = text_value("a");
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_add(&draft, lib.tag, fresh, CELLS(TEXT(TAG_CODE, "a"), TEXT(TAG_LABEL, "new")));
	draft_delete(&draft, lib.tag, old, 0);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_int_equal(object_state(&lib, old), ORMD_STATE_DELETED);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.tag, &key), ormd_unit_by_handle(lib.session, fresh));
	check_consistency(&lib);

	ormd_session_rollback(lib.session, lib.ann);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.tag, &key), ormd_unit_by_handle(lib.session, old));
	assert_int_equal(object_state(&lib, old), ORMD_STATE_PERSISTENT);
}

static void keys_may_be_exchanged(void **state)
{
	(void)state;
	const uint64_t a = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "a")))->handle;
	const uint64_t b = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "b")))->handle;
	const orm_value key = text_value("a");
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_update(&draft, lib.tag, a, 0, CELLS(TEXT(TAG_CODE, "b")));
	draft_update(&draft, lib.tag, b, 0, CELLS(TEXT(TAG_CODE, "a")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.tag, &key), ormd_unit_by_handle(lib.session, b));
	check_consistency(&lib);

	/* What the UPDATE's WHERE needs is still there. */
	const ormd_object *object = ormd_unit_by_handle(lib.session, a);
	orm_value before;

	ormd_record_value(ormd_object_layout(lib.session, object), object->change->base, TAG_CODE, &before);
	assert_string_equal(print_value(&lib, &before), "'a'");
	ormd_session_rollback(lib.session, lib.ann);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.tag, &key), ormd_unit_by_handle(lib.session, a));
}

static void the_key_of_a_parent_stays(void **state)
{
	(void)state;
	const uint64_t author =
		install_row(&lib, lib.author, false,
			    CELLS(INT(AUTHOR_ID, 1), TEXT(AUTHOR_NAME, "Ada"), INT32(AUTHOR_VERSION, 1)))
			->handle;
	const uint64_t book =
		install_row(&lib, lib.book, false,
			    CELLS(INT(BOOK_ID, 1), TEXT(BOOK_TITLE, "x"), INT(BOOK_AUTHOR, 1), INT32(BOOK_RATING, 1)))
			->handle;
	rows_draft draft;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(INT(AUTHOR_ID, 2))), ORM_EINVAL);
	assert_string_equal(lib.error.key, "1");
	assert_non_null(strstr(lib.error.message, "Book"));
	assert_string_equal(cell_of(&lib, author, AUTHOR_ID), "1");
	check_consistency(&lib);

	/* Unless the children go along. */
	draft_init(&draft, &lib);
	draft_update(&draft, lib.author, author, ormd_session_revision(lib.session), CELLS(INT(AUTHOR_ID, 2)));
	draft_update_to(&draft, lib.book, book, ormd_session_revision(lib.session), lib.book_author, author);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "2");
}

static void deleting_reaches_the_children(void **state)
{
	(void)state;
	const uint64_t author =
		install_row(&lib, lib.author, false,
			    CELLS(INT(AUTHOR_ID, 1), TEXT(AUTHOR_NAME, "Ada"), INT32(AUTHOR_VERSION, 1)))
			->handle;
	const uint64_t book =
		install_row(&lib, lib.book, false,
			    CELLS(INT(BOOK_ID, 1), TEXT(BOOK_TITLE, "x"), INT(BOOK_AUTHOR, 1), INT32(BOOK_RATING, 1)))
			->handle;
	const uint64_t chapter =
		install_row(&lib, lib.chapter, false, CELLS(INT(CHAPTER_BOOK, 1), INT32(CHAPTER_NUMBER, 1)))->handle;
	const uint64_t other =
		install_row(&lib, lib.chapter, false, CELLS(INT(CHAPTER_BOOK, 2), INT32(CHAPTER_NUMBER, 1)))->handle;
	const uint64_t paragraph =
		add_row(&lib, lib.ann, lib.paragraph,
			CELLS(INT(PARAGRAPH_BOOK, 1), INT32(PARAGRAPH_CHAPTER, 1), INT32(PARAGRAPH_NUMBER, 1)));
	const uint64_t before = ormd_session_revision(lib.session);

	assert_int_equal(delete_row(&lib, lib.ann, lib.author, author), ORM_OK);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "NULL");
	assert_int_equal(object_state(&lib, book), ORMD_STATE_PERSISTENT);
	assert_int_equal(delete_row(&lib, lib.ann, lib.book, book), ORM_OK);
	assert_int_equal(object_state(&lib, chapter), ORMD_STATE_DELETED);
	assert_int_equal(object_state(&lib, paragraph), ORMD_STATE_GONE); /* it was new */
	assert_int_equal(object_state(&lib, other), ORMD_STATE_PERSISTENT);

	/* The one who deleted is told what it did not do itself, as are the others. */
	const ormd_sync mine = sync_of(&lib, lib.ann, before), theirs = sync_of(&lib, lib.bob, before);

	assert_true(has_handle(mine.deleted, mine.n_deleted, chapter));
	assert_false(has_handle(mine.deleted, mine.n_deleted, book));
	assert_true(has_handle(mine.gone, mine.n_gone, paragraph));
	assert_true(has_handle(theirs.deleted, theirs.n_deleted, book));
	assert_true(has_handle(theirs.deleted, theirs.n_deleted, chapter));

	ormd_session_rollback(lib.session, lib.ann);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "1");
	assert_int_equal(object_state(&lib, chapter), ORMD_STATE_PERSISTENT);
}

static void children_moved_in_the_same_draft_are_spared(void **state)
{
	(void)state;
	const uint64_t from = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "From")));
	const uint64_t to = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "To")));
	const uint64_t book = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "x"), INT(BOOK_AUTHOR, 1)));
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_delete(&draft, lib.author, from, ormd_session_revision(lib.session));
	draft_update_to(&draft, lib.book, book, ormd_session_revision(lib.session), lib.book_author, to);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "2");
	assert_int_equal(object_state(&lib, from), ORMD_STATE_GONE);
}

static void a_version_is_not_set_by_hand(void **state)
{
	(void)state;
	const uint64_t author = add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, "Ada")));

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(INT32(AUTHOR_VERSION, 9))), ORM_EINVAL);
	assert_string_equal(lib.error.column, "version");
}

static void strangers_are_refused(void **state)
{
	(void)state;
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_update(&draft, lib.author, 4711, 0, CELLS(TEXT(AUTHOR_NAME, "x")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
	assert_true(lib.published.fault_handle == 4711);
	assert_int_equal(draft_publish(&draft, 99), ORM_EINVAL);
	draft_init(&draft, &lib);
	draft_delete(&draft, lib.author, 4711, 0);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);

	/* Nor can anybody have seen the future. */
	const uint64_t tag = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "t")));
	const uint64_t future = ormd_session_revision(lib.session) + 1;

	draft_init(&draft, &lib);
	draft_update(&draft, lib.tag, tag, future, CELLS(TEXT(TAG_LABEL, "x")));
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);
	draft_init(&draft, &lib);
	draft_delete(&draft, lib.tag, tag, future);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_EINVAL);

	const ormd_draft view = draft_view(&draft);

	assert_int_equal(ormd_session_publish(lib.session, lib.ann, ormd_session_revision(lib.session) + 1, &view,
					      &lib.arena, &lib.published, &lib.error),
			 ORM_EINVAL);
}

static void an_empty_draft_is_no_operation(void **state)
{
	(void)state;
	const uint64_t revision = ormd_session_revision(lib.session);
	rows_draft draft;

	draft_init(&draft, &lib);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_true(ormd_session_revision(lib.session) == revision);
}

static void pending_objects_are_listed_by_state(void **state)
{
	(void)state;
	const uint64_t fresh = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n")));
	const uint64_t changed = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "c")))->handle;
	const uint64_t deleted = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "d")))->handle;
	const ormd_state states[] = {ORMD_STATE_NEW, ORMD_STATE_PERSISTENT, ORMD_STATE_DELETED};
	const uint64_t expected[] = {fresh, changed, deleted};

	assert_int_equal(update_row(&lib, lib.ann, lib.tag, changed, CELLS(TEXT(TAG_LABEL, "x"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, deleted), ORM_OK);
	assert_true(ormd_unit_mapper_pending(lib.session, lib.tag));
	assert_false(ormd_unit_mapper_pending(lib.session, lib.book));
	for (size_t i = 0; i < 3; i++) {
		const ormd_change *cursor = NULL;
		const ormd_object *object = ormd_unit_next_pending(lib.session, states[i], NULL, &cursor);

		assert_non_null(object);
		assert_true(object->handle == expected[i]);
		assert_null(ormd_unit_next_pending(lib.session, states[i], NULL, &cursor));
		cursor = NULL;
		assert_null(ormd_unit_next_pending(lib.session, states[i], lib.book, &cursor));
	}
}

/* ---- drafts in parts ---- */

static void parts_are_invisible_until_the_end(void **state)
{
	(void)state;
	const uint64_t author = library_handle(&lib, lib.ann), book = library_handle(&lib, lib.ann);
	const uint64_t revision = ormd_session_revision(lib.session);
	rows_draft first, second;
	ormd_draft view;

	draft_init(&first, &lib);
	draft_add_to(&first, lib.book, book, CELLS(TEXT(BOOK_TITLE, "refers to a later part")), lib.book_author,
		     author);
	draft_init(&second, &lib);
	draft_add(&second, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "Ada")));
	assert_int_equal(ormd_draft_begin(lib.session, lib.ann, revision, &lib.error), ORM_OK);
	view = draft_view(&first);
	assert_int_equal(ormd_draft_part(lib.session, &view, &lib.arena, &lib.published, &lib.error), ORM_OK);
	view = draft_view(&second);
	assert_int_equal(ormd_draft_part(lib.session, &view, &lib.arena, &lib.published, &lib.error), ORM_OK);
	assert_false(ormd_session_has_news(lib.session, lib.bob, revision));
	assert_int_equal(object_state(&lib, book), ORMD_STATE_NONE);

	/* Others go on meanwhile. */
	const uint64_t tag = add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "b")));

	assert_int_equal(ormd_draft_begin(lib.session, lib.bob, revision, &lib.error), ORM_ESTATE);
	assert_int_equal(ormd_draft_end(lib.session, &lib.arena, &lib.published, &lib.error), ORM_OK);
	assert_int_equal(lib.published.n_keys, 2);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), cell_of(&lib, author, AUTHOR_ID));
	assert_int_equal(object_state(&lib, tag), ORMD_STATE_NEW);
	assert_true(ormd_session_revision(lib.session) == revision + 2);
	assert_int_equal(ormd_draft_end(lib.session, &lib.arena, &lib.published, &lib.error), ORM_ESTATE);
}

static void a_key_may_change_by_reference(void **state)
{
	(void)state;
	const uint64_t chapter =
		install_row(&lib, lib.chapter, false, CELLS(INT(CHAPTER_BOOK, 8), INT32(CHAPTER_NUMBER, 1)))->handle;
	const uint64_t book = add_row(&lib, lib.ann, lib.book, CELLS(TEXT(BOOK_TITLE, "takes key 1")));
	const orm_value key[] = {int_value(ORM_INT64, 1), int_value(ORM_INT32, 1)};
	rows_draft draft;

	draft_init(&draft, &lib);
	draft_update_to(&draft, lib.chapter, chapter, 0, lib.chapter_book, book);
	assert_int_equal(draft_publish(&draft, lib.ann), ORM_OK);
	assert_ptr_equal(ormd_unit_by_key(lib.session, lib.chapter, key), ormd_unit_by_handle(lib.session, chapter));
	check_consistency(&lib);

	/* A key that is set to what it is has not changed. */
	add_row(&lib, lib.ann, lib.paragraph,
		CELLS(INT(PARAGRAPH_BOOK, 1), INT32(PARAGRAPH_CHAPTER, 1), INT32(PARAGRAPH_NUMBER, 1)));
	assert_int_equal(update_row(&lib, lib.ann, lib.chapter, chapter, CELLS(INT32(CHAPTER_NUMBER, 1))), ORM_OK);
	assert_int_equal(update_row(&lib, lib.ann, lib.chapter, chapter, CELLS(INT32(CHAPTER_NUMBER, 2))), ORM_EINVAL);
}

static void a_draft_may_come_in_many_parts(void **state)
{
	(void)state;
	enum { N = 20 };
	const uint64_t author = add_row(&lib, lib.bob, lib.author, CELLS(TEXT(AUTHOR_NAME, "Ada")));
	const uint64_t book = add_row(&lib, lib.bob, lib.book, CELLS(TEXT(BOOK_TITLE, "x")));
	uint64_t doomed[N], added[N];
	char code[16];

	for (int i = 0; i < N; i++) {
		snprintf(code, sizeof code, "%d", i);
		doomed[i] = add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, code)));
	}

	const uint64_t seen = ormd_session_revision(lib.session);

	assert_int_equal(ormd_draft_begin(lib.session, lib.ann, seen, &lib.error), ORM_OK);
	for (int i = 0; i < N; i++) {
		const uint8_t photo[] = {1, 2, 3};
		const cell_value cells[] = {TEXT(AUTHOR_NAME, "New"),
					    {AUTHOR_PHOTO, bytes_value(photo, (size_t)i % 4)},
					    {AUTHOR_BORN, null_value(ORM_DATE)}};
		rows_draft draft;
		ormd_draft view;

		draft_init(&draft, &lib);
		added[i] = library_handle(&lib, lib.ann);
		draft_add(&draft, lib.author, added[i], 3, cells);
		draft_update_to(&draft, lib.book, book, seen, lib.book_author, author);
		draft_delete(&draft, lib.tag, doomed[i], seen);
		view = draft_view(&draft);
		assert_int_equal(ormd_draft_part(lib.session, &view, &lib.arena, &lib.published, &lib.error), ORM_OK);
	}
	assert_int_equal(ormd_draft_end(lib.session, &lib.arena, &lib.published, &lib.error), ORM_OK);
	assert_int_equal(lib.published.n_keys, 1); /* one run of keys over all parts */
	assert_int_equal(lib.published.keys[0].count, N);
	assert_string_equal(cell_of(&lib, book, BOOK_AUTHOR), "1");
	assert_string_equal(cell_of(&lib, added[3], AUTHOR_PHOTO), "x'010203'");
	for (int i = 0; i < N; i++)
		assert_int_equal(object_state(&lib, doomed[i]), ORMD_STATE_GONE);
}

static void a_cancelled_draft_never_was(void **state)
{
	(void)state;
	rows_draft draft;
	ormd_draft view;

	draft_init(&draft, &lib);
	draft_add(&draft, lib.tag, library_handle(&lib, lib.ann), CELLS(TEXT(TAG_CODE, "a")));
	view = draft_view(&draft);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ormd_draft_begin(lib.session, lib.ann, 0, &lib.error), ORM_OK);
		assert_int_equal(ormd_draft_part(lib.session, &view, &lib.arena, &lib.published, &lib.error), ORM_OK);
		if (i == 0)
			ormd_draft_cancel(lib.session);
		else
			ormd_session_leave(lib.session, lib.ann, true, "killed");
		assert_int_equal(ormd_draft_end(lib.session, &lib.arena, &lib.published, &lib.error), ORM_ESTATE);
		assert_false(ormd_unit_pending(lib.session));
	}
}

static void the_end_of_a_draft_in_parts_tells_its_conflicts(void **state)
{
	(void)state;
	const uint64_t tag = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "a")))->handle;
	const uint64_t revision = ormd_session_revision(lib.session);
	rows_draft draft;
	ormd_draft view;

	draft_init(&draft, &lib);
	draft_update(&draft, lib.tag, tag, revision, CELLS(TEXT(TAG_LABEL, "mine")));
	view = draft_view(&draft);
	assert_int_equal(ormd_draft_begin(lib.session, lib.ann, revision, &lib.error), ORM_OK);
	assert_int_equal(ormd_draft_part(lib.session, &view, &lib.arena, &lib.published, &lib.error), ORM_OK);
	assert_int_equal(update_row(&lib, lib.bob, lib.tag, tag, CELLS(TEXT(TAG_LABEL, "theirs"))), ORM_OK);
	assert_int_equal(ormd_draft_end(lib.session, &lib.arena, &lib.published, &lib.error), ORM_ECONFLICT);
	assert_int_equal(lib.published.n_conflicts, 1);
	assert_string_equal(print_value(&lib, &lib.published.conflicts[0].mine), "'mine'");
	assert_string_equal(cell_of(&lib, tag, TAG_LABEL), "'theirs'");
}

static void a_session_has_its_memory_limit(void **state)
{
	(void)state;
	shelf small;
	rows_draft draft;
	char *long_text = NULL;

	library_init(&small, NULL, ORMD_ON_DEATH_ROLLBACK, 100000);
	long_text = orm_arena_calloc(&small.arena, 1, 200001);
	memset(long_text, 'x', 200000);
	draft_init(&draft, &small);
	draft_add(&draft, small.tag, library_handle(&small, small.ann), CELLS(TEXT(TAG_CODE, long_text)));
	assert_int_equal(draft_publish(&draft, small.ann), ORM_ELIMIT);
	assert_false(ormd_unit_pending(small.session));

	const ormd_draft view = draft_view(&draft);

	assert_int_equal(ormd_draft_begin(small.session, small.ann, 0, &small.error), ORM_OK);
	assert_int_equal(ormd_draft_part(small.session, &view, &small.arena, &small.published, &small.error),
			 ORM_ELIMIT);
	check_consistency(&small);

	/* Handles far apart cost a page each: that is found before all of them are there. */
	enum { N = 20000 };
	uint64_t *handles = orm_arena_alloc(&small.arena, N * sizeof *handles);
	int64_t *ids = orm_arena_calloc(&small.arena, N, sizeof *ids);
	char *names = orm_arena_calloc(&small.arena, N, 1);
	const orm_vector vectors[] = {{.column = AUTHOR_ID, .type = ORM_INT64, .cells = ids},
				      {.column = AUTHOR_NAME, .type = ORM_TEXT, .cells = names, .size = N}};
	const ormd_adds adds = {.values = {.mapper = small.author, .n_rows = N, .n_vectors = 2, .vectors = vectors},
				.handles = handles};
	const ormd_draft sparse = {.adds = &adds, .n_adds = 1};

	for (uint64_t i = 0; i < N; i++)
		handles[i] = (uint64_t)small.ann << ORMD_HANDLE_SHIFT | (i + 1) * 4096;
	assert_int_equal(ormd_session_publish(small.session, small.ann, 0, &sparse, &small.arena, &small.published,
					      &small.error),
			 ORM_ELIMIT);
	assert_int_equal(small.session->handles.n_pages, 0);
	check_consistency(&small);
	library_fini(&small);
}

static void use_up(orm_pool *pool)
{
	while (orm_arena_alloc(&pool->arena, 16) && pool->arena.size < ((size_t)1 << 20))
		pool->arena.budget = pool->arena.size;
}

/* Let every allocation of the session's pools fail once: what was there stays, and the draft can be published again. */
static void a_draft_that_finds_no_memory_never_was(void **state)
{
	(void)state;
	const uint64_t author =
		install_row(&lib, lib.author, false,
			    CELLS(INT(AUTHOR_ID, 1), TEXT(AUTHOR_NAME, "Ada"), INT32(AUTHOR_VERSION, 1)))
			->handle;
	const uint64_t book =
		install_row(&lib, lib.book, false,
			    CELLS(INT(BOOK_ID, 1), TEXT(BOOK_TITLE, "x"), INT(BOOK_AUTHOR, 1), INT32(BOOK_RATING, 1)))
			->handle;
	const uint64_t chapter =
		install_row(&lib, lib.chapter, false, CELLS(INT(CHAPTER_BOOK, 1), INT32(CHAPTER_NUMBER, 1)))->handle;
	const uint64_t pending = add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "p")));
	const uint64_t revision = ormd_session_revision(lib.session);
	const uint64_t fresh = library_handle(&lib, lib.ann), paragraph = library_handle(&lib, lib.ann);
	const size_t used = used_of_pools();
	rows_draft draft;
	size_t failures = 0;
	orm_status status;

	draft_init(&draft, &lib);
	draft_add_to(&draft, lib.book, fresh,
		     CELLS(TEXT(BOOK_TITLE, "a rather long title, so that it has a size of its own")), lib.book_author,
		     author);
	draft_add(&draft, lib.tag, paragraph, CELLS(TEXT(TAG_CODE, "q")));
	draft_update(&draft, lib.author, author, revision, CELLS(TEXT(AUTHOR_EMAIL, "new@example.com")));
	draft_update(&draft, lib.tag, pending, revision,
		     CELLS(TEXT(TAG_LABEL, "longer than before"), TEXT(TAG_CODE, "r")));
	draft_delete(&draft, lib.book, book, revision);

	use_up(&lib.session->pool);
	use_up(&lib.session->changes);
	for (;;) {
		status = draft_publish(&draft, lib.ann);
		if (status == ORM_OK)
			break;
		assert_int_equal(status, ORM_ENOMEM);
		assert_true(failures++ < 1000);
		assert_int_equal(used_of_pools(), used);
		assert_true(ormd_session_revision(lib.session) == revision);
		assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "NULL");
		assert_string_equal(cell_of(&lib, pending, TAG_CODE), "'p'");
		assert_int_equal(object_state(&lib, book), ORMD_STATE_PERSISTENT);
		assert_int_equal(object_state(&lib, chapter), ORMD_STATE_PERSISTENT);
		assert_int_equal(object_state(&lib, fresh), ORMD_STATE_NONE);
		check_consistency(&lib);
		lib.session->pool.arena.budget += 48;
		lib.session->changes.arena.budget += 48;
	}
	assert_true(failures > 8);
	assert_string_equal(cell_of(&lib, fresh, BOOK_AUTHOR), "1");
	assert_string_equal(cell_of(&lib, pending, TAG_CODE), "'r'");
	assert_int_equal(object_state(&lib, chapter), ORMD_STATE_DELETED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_added_object_has_its_key_at_once),
		TEST(columns_with_a_default_stay_unset),
		TEST(keys_of_one_draft_pass_over_its_explicit_keys),
		TEST(keys_of_one_batch_are_consecutive),
		TEST(a_required_column_is_named),
		TEST(handles_are_the_participants_own_and_never_used_twice),
		TEST(a_draft_is_applied_whole_or_not_at_all),
		TEST(references_take_the_targets_key_in_any_order),
		TEST(composite_keys_are_made_from_keys_made_in_the_same_draft),
		TEST(references_that_cannot_be_are_refused),
		TEST(a_key_is_taken_once),
		TEST(a_row_may_be_switched),
		TEST(keys_may_be_exchanged),
		TEST(the_key_of_a_parent_stays),
		TEST(deleting_reaches_the_children),
		TEST(children_moved_in_the_same_draft_are_spared),
		TEST(a_version_is_not_set_by_hand),
		TEST(strangers_are_refused),
		TEST(an_empty_draft_is_no_operation),
		TEST(pending_objects_are_listed_by_state),
		TEST(parts_are_invisible_until_the_end),
		TEST(a_key_may_change_by_reference),
		TEST(a_draft_may_come_in_many_parts),
		TEST(a_cancelled_draft_never_was),
		TEST(the_end_of_a_draft_in_parts_tells_its_conflicts),
		cmocka_unit_test(a_session_has_its_memory_limit),
		TEST(a_draft_that_finds_no_memory_never_was),
	};

	return cmocka_run_group_tests_name("session_publish", tests, NULL, NULL);
}
