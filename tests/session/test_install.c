/* SPDX-License-Identifier: MIT */
/* ARCHITECTURE.md, "Which values win". */
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

static ormd_object *author_row(bool populate_existing, const char *name, const char *email, int version)
{
	return install_row(&lib, lib.author, populate_existing,
			   CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, name), TEXT(AUTHOR_EMAIL, email),
				 INT32(AUTHOR_VERSION, version)));
}

static void one_row_is_one_object(void **state)
{
	(void)state;
	const ormd_object *first = author_row(false, "Ada", "a", 1);
	const uint64_t revision = ormd_session_revision(lib.session);

	assert_int_equal(first->handle >> ORMD_HANDLE_SHIFT, 0); /* the server's */
	assert_int_equal(first->state, ORMD_STATE_PERSISTENT);
	assert_ptr_equal(author_row(false, "Ada", "a", 1), first);
	assert_ptr_not_equal(install_row(&lib, lib.author, false,
					 CELLS(INT(AUTHOR_ID, 8), TEXT(AUTHOR_NAME, "Bo"), INT32(AUTHOR_VERSION, 1))),
			     first);
	assert_true(ormd_session_revision(lib.session) == revision); /* reading is no operation */
}

static void within_a_unit_the_objects_values_win(void **state)
{
	(void)state;
	const uint64_t author = author_row(false, "Ada", "a", 1)->handle;

	author_row(false, "from outside", "a", 2);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'Ada'");
}

static void in_the_next_unit_the_rows_values_win(void **state)
{
	(void)state;
	const uint64_t author = author_row(false, "Ada", "a", 1)->handle;
	const uint64_t seen = ormd_session_revision(lib.session);

	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "t")));
	settle_all(&lib, lib.ann);
	author_row(false, "from outside", "a", 2);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'from outside'");
	assert_false(ormd_unit_pending(lib.session));

	/* That is an operation of the server, which all are told, once. */
	for (uint32_t participant = lib.ann; participant <= lib.cid; participant++) {
		const ormd_sync sync = sync_of(&lib, participant, seen);

		assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "1='from outside' 7=2");
	}
	author_row(false, "once more", "a", 3);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'from outside'");
}

static void pending_changes_stay_until_populate_existing_and_then_too(void **state)
{
	(void)state;
	const uint64_t author = author_row(false, "Ada", "a", 1)->handle;
	const ormd_change *change;
	orm_value base;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "mine"))), ORM_OK);
	author_row(false, "Ada", "outside", 2);
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "'a'");

	/* Another field changed outside: it comes in, and the commit may build on that version. */
	const uint64_t seen = ormd_session_revision(lib.session);

	author_row(true, "Ada", "outside", 2);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'mine'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "'outside'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_VERSION), "2");

	const ormd_sync sync = sync_of(&lib, lib.ann, seen);

	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "2='outside' 7=2");

	/* The same field changed outside: the old version stays, so that the commit finds out. */
	author_row(true, "theirs", "outside", 3);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'mine'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_VERSION), "2");
	change = ormd_unit_by_handle(lib.session, author)->change;
	ormd_record_value(&lib.session->mappers[lib.author->number].layout, change->base, AUTHOR_VERSION, &base);
	assert_string_equal(print_value(&lib, &base), "2");
	ormd_session_rollback(lib.session, lib.ann);
	assert_string_equal(cell_of(&lib, author, AUTHOR_NAME), "'theirs'");
	assert_string_equal(cell_of(&lib, author, AUTHOR_EMAIL), "'outside'");
}

static void new_and_deleted_objects_are_left_alone(void **state)
{
	(void)state;
	const uint64_t fresh = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "n"), TEXT(TAG_LABEL, "mine")));
	const uint64_t deleted =
		install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "d"), TEXT(TAG_LABEL, "old")))->handle;

	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, deleted), ORM_OK);
	assert_true(install_row(&lib, lib.tag, true, CELLS(TEXT(TAG_CODE, "n"), TEXT(TAG_LABEL, "row")))->handle ==
		    fresh);
	assert_string_equal(cell_of(&lib, fresh, TAG_LABEL), "'mine'");
	assert_true(install_row(&lib, lib.tag, true, CELLS(TEXT(TAG_CODE, "d"), TEXT(TAG_LABEL, "row")))->handle ==
		    deleted);
	assert_int_equal(object_state(&lib, deleted), ORMD_STATE_DELETED);
	assert_string_equal(cell_of(&lib, deleted, TAG_LABEL), "'old'");
}

static void a_row_that_is_gone_leaves(void **state)
{
	(void)state;
	const uint64_t author = author_row(false, "Ada", "a", 1)->handle;
	const uint64_t seen = ormd_session_revision(lib.session);
	ormd_install install = {.session = lib.session};

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "x"))), ORM_OK);
	ormd_unit_row_gone(&install, ormd_unit_by_handle(lib.session, author));
	assert_int_equal(object_state(&lib, author), ORMD_STATE_PERSISTENT); /* pending: the commit will say */
	ormd_session_rollback(lib.session, lib.ann);
	ormd_unit_row_gone(&install, ormd_unit_by_handle(lib.session, author));
	assert_int_equal(object_state(&lib, author), ORMD_STATE_GONE);
	assert_null(ormd_unit_by_key(lib.session, lib.author, &(orm_value){.type = ORM_INT64, .integer = 7}));

	const ormd_sync sync = sync_of(&lib, lib.bob, seen);

	assert_true(has_handle(sync.gone, sync.n_gone, author));
	assert_int_equal(sync.n_changed, 0);

	/* Should the row come back, it is another object. */
	assert_true(author_row(false, "Ada", "a", 1)->handle != author);
}

static void many_rows_come_at_once(void **state)
{
	(void)state;
	enum { N = 1000 };
	orm_batch_builder builder;
	orm_vector vectors[N_TAG];
	orm_batch batch;
	ormd_object *objects[N];
	ormd_install install = {.session = lib.session};
	ormd_rows rows;
	char code[16];

	assert_true(orm_batch_builder_init(&builder, lib.tag, NULL, 0));
	for (int i = 0; i < N; i++) {
		snprintf(code, sizeof code, "%d", i / 2); /* each twice: one object */
		orm_vector_builder_put_text(&builder.vectors[TAG_CODE], code, strlen(code));
		orm_vector_builder_put_null(&builder.vectors[TAG_LABEL]);
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(ormd_unit_install(&install, &batch, objects, &lib.error), ORM_OK);
	for (int i = 0; i < N; i += 2)
		assert_ptr_equal(objects[i], objects[i + 1]);
	assert_int_equal(lib.session->mappers[lib.tag->number].keys.len, N / 2);
	assert_int_equal(ormd_rows_build(lib.session, lib.tag, (const uint16_t[]){TAG_CODE}, 1, objects, N, &lib.arena,
					 &rows, &lib.error),
			 ORM_OK);
	assert_int_equal(rows.n_rows, N);
	assert_string_equal((const char *)rows.values.vectors[0].cells, "0");
	orm_batch_builder_fini(&builder);
}

static void each_piece_of_a_result_is_told(void **state)
{
	(void)state;
	const cell_value before[] = {TEXT(TAG_CODE, "a"), TEXT(TAG_LABEL, "1")},
			 other[] = {TEXT(TAG_CODE, "b"), TEXT(TAG_LABEL, "1")};
	const cell_value after[] = {TEXT(TAG_CODE, "a"), TEXT(TAG_LABEL, "2")},
			 other_after[] = {TEXT(TAG_CODE, "b"), TEXT(TAG_LABEL, "2")};
	const cell_value *pieces[] = {after, other_after};
	const uint64_t handles[] = {install_row(&lib, lib.tag, false, 2, before)->handle,
				    install_row(&lib, lib.tag, false, 2, other)->handle};
	ormd_install install = {.session = lib.session, .populate_existing = true};
	uint64_t seen = ormd_session_revision(lib.session);

	/* Bob looks between two pieces of one load. */
	for (size_t i = 0; i < 2; i++) {
		orm_batch_builder builder;
		orm_vector vectors[N_TAG];
		orm_batch batch;
		ormd_object *object;

		assert_true(orm_batch_builder_init(&builder, lib.tag, NULL, 0));
		for (size_t j = 0; j < N_TAG; j++)
			orm_vector_builder_put(&builder.vectors[j], &pieces[i][j].value);
		orm_batch_builder_end_row(&builder);
		assert_true(orm_batch_builder_view(&builder, vectors, &batch));
		assert_int_equal(ormd_unit_install(&install, &batch, &object, &lib.error), ORM_OK);
		orm_batch_builder_fini(&builder);

		const ormd_sync sync = sync_of(&lib, lib.bob, seen);

		assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, handles[i]), "1='2'");
		seen = sync.revision;
	}
}

static void without_memory_nothing_is_lost(void **state)
{
	(void)state;
	enum { N = 40 };
	const uint64_t known =
		install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "0"), TEXT(TAG_LABEL, "old")))->handle;
	ormd_install install = {.session = lib.session, .populate_existing = true};
	orm_pool *pool = &lib.session->pool;
	orm_batch_builder builder;
	orm_vector vectors[N_TAG];
	orm_batch batch;
	ormd_object *objects[N];
	size_t failures = 0;
	orm_status status;

	assert_true(orm_batch_builder_init(&builder, lib.tag, NULL, 0));
	for (int i = 0; i < N; i++) {
		char code[16];

		snprintf(code, sizeof code, "%d", i);
		orm_vector_builder_put_text(&builder.vectors[TAG_CODE], code, strlen(code));
		orm_vector_builder_put_text(&builder.vectors[TAG_LABEL], "a new label", 11);
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	while (orm_arena_alloc(&pool->arena, 16) && pool->arena.size < ((size_t)1 << 20))
		pool->arena.budget = pool->arena.size; /* use up what is left */
	for (;;) {
		status = ormd_unit_install(&install, &batch, objects, &lib.error);
		if (status == ORM_OK)
			break;
		assert_int_equal(status, ORM_ENOMEM);
		assert_true(failures++ < 1000);
		check_consistency(&lib);
		pool->arena.budget += 48;
	}
	assert_true(failures > 8);
	assert_true(objects[0]->handle == known);
	assert_string_equal(cell_of(&lib, known, TAG_LABEL), "'a new label'");
	orm_batch_builder_fini(&builder);
}

static void memory_has_its_limit(void **state)
{
	(void)state;
	shelf small;
	char *label;
	ormd_object *object;
	const uint16_t columns[] = {TAG_CODE, TAG_LABEL};
	orm_batch_builder builder;
	orm_vector vectors[2];
	orm_batch batch;

	library_init(&small, NULL, ORMD_ON_DEATH_ROLLBACK, 50000);
	label = orm_arena_calloc(&small.arena, 1, 100000);
	memset(label, 'x', 99999);
	assert_true(orm_batch_builder_init(&builder, small.tag, columns, 2));
	orm_vector_builder_put_text(&builder.vectors[0], "a", 1);
	orm_vector_builder_put_text(&builder.vectors[1], label, 99999);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(ormd_unit_install(&(ormd_install){.session = small.session}, &batch, &object, &small.error),
			 ORM_ELIMIT);
	orm_batch_builder_fini(&builder);
	check_consistency(&small);
	library_fini(&small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(one_row_is_one_object),
		TEST(within_a_unit_the_objects_values_win),
		TEST(in_the_next_unit_the_rows_values_win),
		TEST(pending_changes_stay_until_populate_existing_and_then_too),
		TEST(new_and_deleted_objects_are_left_alone),
		TEST(a_row_that_is_gone_leaves),
		TEST(many_rows_come_at_once),
		TEST(each_piece_of_a_result_is_told),
		TEST(without_memory_nothing_is_lost),
		cmocka_unit_test(memory_has_its_limit),
	};

	return cmocka_run_group_tests_name("session_install", tests, NULL, NULL);
}
