/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <string.h>

/* ---- objects ------------------------------------------------------------------------------------------------- */

static void added_object_is_pending_and_dirty(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "Alice");

	assert_non_null(user);
	assert_string_equal(user->name, "Alice");
	assert_int_equal(user->posts.len, 0);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
	assert_true(orm_mirror_is_dirty(f->mirror, user));
	assert_true(orm_mirror_has_draft(f->mirror));
}

static void foreign_pointers_are_recognised(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "Alice");
	orm_mirror *other = orm_mirror_new(f->binding, 8);
	const uint64_t set[1] = {0};
	User local = {.id = 1};
	User *theirs = orm_mirror_add(other, orm_binding_layout(f->binding, &User_model), &local, set, &f->error);

	assert_non_null(orm_mirror_find(f->mirror, user));
	assert_null(orm_mirror_find(f->mirror, &local));
	assert_null(orm_mirror_find(f->mirror, theirs));
	assert_null(orm_mirror_find(f->mirror, &user->name)); /* inside, but not a struct's start */
	assert_null(orm_mirror_find(f->mirror, user + 1));    /* not given out yet */
	assert_null(orm_mirror_find(f->mirror, user - 1));
	assert_null(orm_mirror_find(f->mirror, user->posts.items));
	assert_null(orm_mirror_find(f->mirror, NULL));
	assert_int_equal(orm_mirror_state(f->mirror, theirs), ORM_DETACHED);
	assert_int_equal(orm_mirror_delete(f->mirror, theirs, &f->error), ORM_EINVAL);
	orm_mirror_free(other);
}

static void rows_become_structs(void **state)
{
	fixture *f = *state;
	const Line line = {.order_no = 5,
			   .pos = -2,
			   .amount = 1.5,
			   .done = true,
			   .note = {"\0x", 2},
			   .day = {20000},
			   .at = {1},
			   .rate = {true, 0.25},
			   .until = {true, {7}}};
	const Line bare = {.order_no = 5, .pos = 3};
	const Line *one = INSTALL(f, Line, 11, line, bare);
	const Line *other = orm_object_struct(orm_mirror_by_handle(f->mirror, 12));

	assert_int_equal(one->order_no, 5);
	assert_int_equal(one->pos, -2);
	assert_true(one->amount == 1.5 && one->done && one->rate.has && one->rate.value == 0.25);
	assert_int_equal(one->note.size, 2);
	assert_memory_equal(one->note.data, "\0x", 2);
	assert_int_equal(one->day.days, 20000);
	assert_int_equal(one->until.value.us, 7);
	assert_false(one->maybe.has || one->due.has);
	assert_int_equal(other->pos, 3);
	assert_null(other->note.data);
	assert_false(other->rate.has);
	assert_int_equal(orm_mirror_state(f->mirror, one), ORM_PERSISTENT);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void same_row_is_same_struct(void **state)
{
	fixture *f = *state;
	User *first = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	assert_ptr_equal(INSTALL(f, User, 1, {.id = 1, .name = "a"}), first);
}

static void objects_are_found_by_key(void **state)
{
	fixture *f = *state;
	const orm_layout *users = orm_binding_layout(f->binding, &User_model);
	const orm_layout *lines = orm_binding_layout(f->binding, &Line_model);
	const orm_layout *countries = orm_binding_layout(f->binding, &Country_model);
	User *user = INSTALL(f, User, 1, {.id = 41, .name = "a"}, {.id = 42, .name = "b"});
	Line *line = INSTALL(f, Line, 9, {.order_no = 7, .pos = 3});
	Country *country = INSTALL(f, Country, 20, {.code = "at", .name = "Austria"});
	orm_value key[2] = {{.type = ORM_INT64, .integer = 41}, {.type = ORM_INT32, .integer = 3}};
	const orm_value code = {.type = ORM_TEXT, .text = "at", .size = 2};

	assert_ptr_equal(orm_object_struct(orm_mirror_by_key(f->mirror, users, key)), user);
	key[0].integer = 43;
	assert_null(orm_mirror_by_key(f->mirror, users, key));
	key[0].integer = 7;
	assert_ptr_equal(orm_object_struct(orm_mirror_by_key(f->mirror, lines, key)), line);
	key[1].integer = 4;
	assert_null(orm_mirror_by_key(f->mirror, lines, key));
	assert_ptr_equal(orm_object_struct(orm_mirror_by_key(f->mirror, countries, &code)), country);
}

static void many_objects_keep_their_addresses(void **state)
{
	enum { N = 5000 };
	fixture *f = *state;
	const orm_layout *users = orm_binding_layout(f->binding, &User_model);
	static User rows[N];
	static const User *addresses[N];
	orm_mirror_result result = {0};

	for (size_t i = 0; i < N; i++)
		rows[i] = (User){.id = (int64_t)i + 1, .name = "n", .email = i % 2 ? "e" : NULL};
	assert_ok(f, orm_mirror_install(f->mirror, make_rows(f, &User_model, 1, rows, N, NULL, 0), &result, &f->error));
	assert_int_equal(result.len, N);
	for (size_t i = 0; i < N; i++)
		addresses[i] = result.items[i];
	for (size_t i = 0; i < N; i++)
		assert_non_null(ADD(f, User, .name = "x"));
	for (size_t i = 0; i < N; i++) {
		const orm_value key = {.type = ORM_INT64, .integer = (int64_t)i + 1};

		assert_ptr_equal(orm_object_struct(orm_mirror_by_key(f->mirror, users, &key)), addresses[i]);
		assert_ptr_equal(orm_object_struct(orm_mirror_by_handle(f->mirror, i + 1)), addresses[i]);
		assert_ptr_equal(orm_object_struct(orm_mirror_find(f->mirror, addresses[i])), addresses[i]);
		assert_int_equal(addresses[i]->id, i + 1);
		assert_int_equal(addresses[i]->email != NULL, i % 2);
	}
}

static void struct_larger_than_a_slab_works(void **state)
{
	typedef struct Big {
		int64_t id;
		char filler[200000];
		const char *text;
	} Big;
	static const orm_field fields[] = {
		{.name = "id", .offset = offsetof(Big, id), .type = ORM_INT64, .primary_key = true},
		{.name = "text", .offset = offsetof(Big, text), .type = ORM_TEXT}};
	static const orm_model model = {
		.name = "Big", .table = "bigs", .fields = fields, .n_fields = 2, .size = sizeof(Big)};
	static Big example;
	orm_error error;
	orm_binding *binding = orm_binding_new((const orm_model *const[]){&model, NULL}, &error);
	orm_mirror *mirror = orm_mirror_new(binding, 1);
	const uint64_t set[1] = {0};

	(void)state;
	for (int i = 0; i < 5; i++) {
		Big *big;

		example.id = i + 1;
		big = orm_mirror_add(mirror, orm_binding_layout(binding, &model), &example, set, &error);
		assert_non_null(big);
		assert_int_equal(big->id, i + 1);
		assert_ptr_equal(orm_object_struct(orm_mirror_find(mirror, big)), big);
	}
	orm_mirror_free(mirror);
	orm_binding_free(binding);
}

/* ---- edits --------------------------------------------------------------------------------------------------- */

static void assignment_is_an_edit(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});

	assert_false(orm_mirror_is_dirty(f->mirror, user));
	user->email = "a@x";
	assert_true(orm_mirror_is_dirty(f->mirror, user));
	assert_true(orm_mirror_has_draft(f->mirror));
	user->email = NULL;
	assert_false(orm_mirror_is_dirty(f->mirror, user));
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void equal_text_elsewhere_is_no_edit(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "Alice"});
	char copy[] = "Alice";

	user->name = copy;
	assert_false(orm_mirror_is_dirty(f->mirror, user));
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void discard_restores_structs(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	User *gone = ADD(f, User, .name = "new");
	User *deleted = INSTALL(f, User, 2, {.id = 2, .name = "b"});

	user->name = "changed";
	assert_ok(f, orm_mirror_delete(f->mirror, deleted, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_DELETED);
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_string_equal(user->name, "a");
	assert_int_equal(orm_mirror_state(f->mirror, gone), ORM_DETACHED);
	assert_string_equal(gone->name, "new");
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_PERSISTENT);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void new_object_that_is_deleted_leaves(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");

	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_DETACHED);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void load_keeps_an_unsent_edit(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a", .email = "old"});

	user->name = "mine";
	INSTALL(f, User, 1, {.id = 1, .name = "theirs", .email = "new"});
	assert_string_equal(user->name, "mine");
	assert_string_equal(user->email, "new");
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_string_equal(user->name, "theirs");
}

static void missing_row_leaves(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	const orm_value key = {.type = ORM_INT64, .integer = 1};

	assert_ok(f, orm_mirror_missing(f->mirror, (const uint64_t[]){1, 99}, 2, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_DETACHED);
	assert_null(orm_mirror_by_key(f->mirror, orm_binding_layout(f->binding, &User_model), &key));
	assert_null(orm_mirror_by_handle(f->mirror, 1));
}

static void key_that_changes_is_found_under_the_new_one(void **state)
{
	fixture *f = *state;
	const orm_layout *users = orm_binding_layout(f->binding, &User_model);
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	orm_value key = {.type = ORM_INT64, .integer = 1};

	sync_changed(f, 5, make_rows(f, &User_model, 1, &(User){.id = 8}, 1, COLUMNS(USER_ID)));
	assert_null(orm_mirror_by_key(f->mirror, users, &key));
	key.integer = 8;
	assert_ptr_equal(orm_object_struct(orm_mirror_by_key(f->mirror, users, &key)), user);
}

/* ---- states -------------------------------------------------------------------------------------------------- */

static void members_have_four_ways_of_no_value(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	User *fresh = add(f, &User_model, &(User){.name = "b"}, (const char *const[]){"name", NULL});

	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->posts), ORM_MEMBER_NOT_LOADED);
	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->email), ORM_MEMBER_NULL);
	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->name), ORM_MEMBER_SET);
	assert_int_equal(orm_mirror_member_state(f->mirror, fresh, &fresh->email), ORM_MEMBER_UNSET);
	assert_int_equal(orm_mirror_member_state(f->mirror, fresh, &fresh->name), ORM_MEMBER_SET);
	assert_int_equal(orm_mirror_member_state(f->mirror, fresh, &fresh->posts), ORM_MEMBER_SET);
	publish(f, OWN(1), 10, 1);
	assert_int_equal(orm_mirror_member_state(f->mirror, fresh, &fresh->email), ORM_MEMBER_NULL);
	assert_int_equal(orm_mirror_member_state(f->mirror, fresh, &fresh->joined),
			 ORM_MEMBER_UNSET); /* the commit brings it */
	LOAD(f, User, posts, 1);
	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->posts), ORM_MEMBER_SET);
	assert_ok(f, orm_mirror_expire(f->mirror, user, &f->error));
	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->name), ORM_MEMBER_EXPIRED);
}

static void expired_object_is_reloaded_by_a_row(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	LOAD(f, User, posts, 1);
	user->name = "edit";
	assert_ok(f, orm_mirror_expire(f->mirror, user, &f->error));
	assert_string_equal(user->name, "a");
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_EXPIRED);
	assert_true(user->posts.len == SIZE_MAX);
	INSTALL(f, User, 1, {.id = 1, .name = "b"});
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PERSISTENT);
	assert_string_equal(user->name, "b");
	assert_int_equal(orm_mirror_expire(f->mirror, ADD(f, User, .name = "n"), &f->error), ORM_ESTATE);
}

static void pointer_of_an_expired_object_can_be_loaded_alone(void **state)
{
	fixture *f = *state;
	const orm_relation *author = &orm_binding_layout(f->binding, &Post_model)->relations[0];
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 2, {.id = 2, .title = "t", .user_id = 1});

	assert_ok(f, orm_mirror_expire(f->mirror, post, &f->error));
	assert_ptr_equal(post->author, author->poison);
	assert_false(orm_mirror_is_loaded(f->mirror, orm_mirror_find(f->mirror, post), author));
	LOAD(f, Post, author, 2);
	assert_ptr_equal(post->author, user);
	assert_true(orm_mirror_is_loaded(f->mirror, orm_mirror_find(f->mirror, post), author));
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_EXPIRED); /* its values were not */
}

static void commit_makes_persistent(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");
	User *deleted = INSTALL(f, User, 1, {.id = 1, .name = "b"});

	assert_ok(f, orm_mirror_delete(f->mirror, deleted, &f->error));
	publish(f, OWN(1), 5, 1);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_DELETED);
	assert_false(orm_mirror_is_dirty(f->mirror, user));
	assert_ok(f, orm_mirror_committed(f->mirror, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PERSISTENT);
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_DETACHED);
}

static void clear_forgets_everything(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");

	INSTALL(f, User, 1, {.id = 1, .name = "a"});
	publish(f, OWN(1), 5, 1);
	orm_mirror_clear(f->mirror);
	assert_null(orm_mirror_find(f->mirror, user));
	assert_null(orm_mirror_by_handle(f->mirror, 1));
	assert_false(orm_mirror_has_draft(f->mirror));
	ADD(f, User, .name = "b");
	build(f);
	assert_int_equal(f->draft.parts[0]->adds[0]->objects->first_handle, OWN(2));
}

/* ---- a peer's bytes ------------------------------------------------------------------------------------------ */

static void bad_batches_are_refused(void **state)
{
	fixture *f = *state;
	Ormd__V1__Objects *objects = ROWS(f, User, 1, {.id = 1, .name = "a"});

	objects->values->model = 99;
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	objects = ROWS(f, User, 1, {.id = 1, .name = "a"});
	objects->values->columns[0]->column = 77;
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	objects = ROWS(f, User, 1, {.id = 1, .name = "a"});
	objects->values->rows = 2;
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	objects = ROWS(f, User, 1, {.id = 1, .name = "a"});
	objects->values->columns[1]->text.len = 1;
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	objects = ROWS(f, User, 0, {.id = 1, .name = "a"});
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	INSTALL(f, User, 1, {.id = 1, .name = "a"});
	objects = ROWS(f, Line, 1, {.pos = 1});
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	objects = ROWS(f, User, 5, {.id = 5, .name = "a"});
	objects->n_handles = 2;
	objects->handles = (uint64_t[]){5, 6};
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	assert_null(orm_mirror_by_handle(f->mirror, 5));
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void rows_with_a_bad_handle_leave_nothing_behind(void **state)
{
	fixture *f = *state;
	Ormd__V1__Objects *objects = ROWS(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});

	objects->n_handles = 2;
	objects->handles = (uint64_t[]){50, 0};
	assert_int_equal(orm_mirror_install(f->mirror, objects, NULL, &f->error), ORM_EPROTOCOL);
	assert_null(orm_mirror_by_handle(f->mirror, 50));
	assert_false(orm_mirror_has_draft(f->mirror));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(added_object_is_pending_and_dirty),
		WITH(foreign_pointers_are_recognised),
		WITH(rows_become_structs),
		WITH(same_row_is_same_struct),
		WITH(objects_are_found_by_key),
		WITH(many_objects_keep_their_addresses),
		cmocka_unit_test(struct_larger_than_a_slab_works),
		WITH(assignment_is_an_edit),
		WITH(equal_text_elsewhere_is_no_edit),
		WITH(discard_restores_structs),
		WITH(new_object_that_is_deleted_leaves),
		WITH(load_keeps_an_unsent_edit),
		WITH(missing_row_leaves),
		WITH(key_that_changes_is_found_under_the_new_one),
		WITH(members_have_four_ways_of_no_value),
		WITH(expired_object_is_reloaded_by_a_row),
		WITH(pointer_of_an_expired_object_can_be_loaded_alone),
		WITH(commit_makes_persistent),
		WITH(clear_forgets_everything),
		WITH(bad_batches_are_refused),
		WITH(rows_with_a_bad_handle_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
