/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <string.h>

static Ormd__V1__Notice *make_notice(fixture *f, Ormd__V1__NoticeKind kind)
{
	Ormd__V1__Notice *notice = orm_arena_alloc(&f->arena, sizeof *notice);

	ormd__v1__notice__init(notice);
	notice->kind = kind;
	return notice;
}

static void no_sync_is_fine(void **state)
{
	fixture *f = *state;

	assert_ok(f, orm_sync_apply(f->mirror, NULL, &f->error));
	assert_int_equal(orm_mirror_seen(f->mirror), 0);
}

static void changes_of_others_show(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a", .email = "e"});

	sync_changed(f, 9, make_rows(f, &User_model, 1, &(User){.name = "theirs"}, 1, COLUMNS(USER_NAME)));
	assert_string_equal(user->name, "theirs");
	assert_string_equal(user->email, "e");
	assert_int_equal(orm_mirror_seen(f->mirror), 9);
	assert_false(orm_mirror_has_draft(f->mirror));
	sync_changed(f, 7, make_rows(f, &User_model, 1, &(User){.name = "old"}, 1, COLUMNS(USER_NAME)));
	assert_int_equal(orm_mirror_seen(f->mirror), 9); /* never goes back */
}

static void changes_of_unknown_objects_are_passed_over(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 2, {.id = 2, .name = "b"});
	const User rows[] = {{.name = "unknown"}, {.name = "known"}};

	sync_changed(f, 9, make_rows(f, &User_model, 1, rows, 2, COLUMNS(USER_NAME)));
	assert_null(orm_mirror_by_handle(f->mirror, 1));
	assert_string_equal(user->name, "known");
}

static void added_objects_appear_in_loaded_lists(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	const User *other = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	const Post *post;

	LOAD(f, User, posts, 1);
	sync_added(f, 3,
		   ROWS(f, Post, (uint64_t)3 << 40 | 1, {.id = 8, .title = "t", .user_id = 1},
			{.id = 9, .title = "u", .user_id = 2}));
	assert_int_equal(user->posts.len, 1);
	post = user->posts.items[0];
	assert_int_equal(post->id, 8);
	assert_ptr_equal(post->author, user);
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_PENDING);
	assert_true(other->posts.len == SIZE_MAX); /* a list that is not loaded stays so */
}

static void moved_objects_change_lists(void **state)
{
	fixture *f = *state;
	User *one = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	User *two = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});

	LOAD(f, User, posts, 1);
	LOAD(f, User, posts, 2);
	sync_changed(f, 3, make_rows(f, &Post_model, 5, &(Post){.user_id = 2}, 1, COLUMNS(POST_USER_ID)));
	assert_int_equal(one->posts.len, 0);
	assert_int_equal(two->posts.len, 1);
	assert_ptr_equal(post->author, two);
	sync_changed(f, 4, make_rows(f, &Post_model, 5, &(Post){.user_id = 99}, 1, COLUMNS(POST_USER_ID)));
	assert_int_equal(two->posts.len, 0);
	assert_int_equal(orm_mirror_member_state(f->mirror, post, &post->author), ORM_MEMBER_NOT_LOADED);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void deleted_and_restored_objects_leave_lists_and_return(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1}, {.id = 6, .title = "u", .user_id = 1});

	LOAD(f, User, posts, 1);
	sync_leaving(f, 3, DELETED, 5);
	assert_int_equal(user->posts.len, 1);
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_DELETED);
	sync_leaving(f, 4, RESTORED, 5);
	assert_int_equal(user->posts.len, 2);
	assert_ptr_equal(user->posts.items[0], post);
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_PERSISTENT);
	sync_leaving(f, 5, GONE, 5);
	assert_int_equal(user->posts.len, 1);
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_DETACHED);
	assert_string_equal(post->title, "t");
	assert_ptr_equal(post->author, user);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void parent_that_leaves_is_not_loaded_any_more(void **state)
{
	fixture *f = *state;
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	assert_ptr_equal(post->author, user);
	sync_leaving(f, 3, GONE, 1);
	assert_int_equal(orm_mirror_member_state(f->mirror, post, &post->author), ORM_MEMBER_NOT_LOADED);
	assert_false(orm_mirror_has_draft(f->mirror));
	user = INSTALL(f, User, 12, {.id = 1, .name = "again"});
	assert_ptr_equal(post->author, user);
}

static void many_that_leave_one_list_are_taken_out_at_once(void **state)
{
	enum { N = 20000 };
	static Post posts[N];
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Ormd__V1__Sync *sync = make_sync(f, 3);

	for (size_t i = 0; i < N; i++)
		posts[i] = (Post){.id = (int64_t)i + 1, .title = "t", .user_id = 1};
	assert_ok(f, orm_mirror_install(f->mirror, make_rows(f, &Post_model, 100, posts, N, NULL, 0), NULL, &f->error));
	LOAD(f, User, posts, 1);
	assert_int_equal(user->posts.len, N);
	sync->n_gone = N - 1;
	sync->gone = orm_arena_alloc(&f->arena, N * sizeof sync->gone[0]);
	for (size_t i = 0; i < N - 1; i++)
		sync->gone[i] = 100 + i;
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
	assert_int_equal(user->posts.len, 1);
	assert_int_equal(user->posts.items[0]->id, N);
}

static void rollback_undoes_draft_and_published(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a", .email = "e"});
	Post *deleted = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	Post *fresh;
	Ormd__V1__Sync *sync;
	Ormd__V1__Objects *changed;

	LOAD(f, User, posts, 1);
	user->name = "published";
	fresh = ADD(f, Post, .title = "published", .author = user);
	assert_ok(f, orm_mirror_delete(f->mirror, deleted, &f->error));
	publish(f, OWN(1), 6, 1);
	user->email = "draft";
	ADD(f, Post, .title = "draft", .author = user);
	assert_int_equal(user->posts.len, 2);

	assert_ok(f, orm_mirror_rolled_back(f->mirror, &f->error));
	sync = make_sync(f, 2);
	changed = make_rows(f, &User_model, 1, &(User){.name = "a"}, 1, COLUMNS(USER_NAME));
	sync->n_changed = sync->n_gone = sync->n_restored = 1;
	sync->changed = &changed;
	sync->gone = one_handle(f, OWN(1));
	sync->restored = one_handle(f, 5);
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
	assert_string_equal(user->name, "a");
	assert_string_equal(user->email, "e");
	assert_int_equal(user->posts.len, 1);
	assert_ptr_equal(user->posts.items[0], deleted);
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_PERSISTENT);
	assert_int_equal(orm_mirror_state(f->mirror, fresh), ORM_DETACHED);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void rollback_restores_what_was_edited_before_its_deletion(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	user->name = "edited";
	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	publish(f, 0, 0, 0);
	assert_ok(f, orm_mirror_rolled_back(f->mirror, &f->error));
	sync_leaving(f, 2, RESTORED, 1);
	assert_string_equal(user->name, "a");
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PERSISTENT);
}

static void commit_brings_defaults_and_versions(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");

	publish(f, OWN(1), 5, 1);
	sync_changed(f, 3,
		     make_rows(f, &User_model, OWN(1), &(User){.joined = {true, {77}}, .version = 1}, 1,
			       COLUMNS(USER_JOINED, USER_VERSION)));
	assert_ok(f, orm_mirror_committed(f->mirror, &f->error));
	assert_int_equal(user->joined.value.us, 77);
	assert_int_equal(user->version, 1);
	assert_int_equal(orm_mirror_member_state(f->mirror, user, &user->joined), ORM_MEMBER_SET);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void commit_by_another_makes_persistent(void **state)
{
	fixture *f = *state;
	const uint64_t early = (uint64_t)3 << 40 | 1, late = (uint64_t)3 << 40 | 2;
	Ormd__V1__Sync *sync = make_sync(f, 5);
	Ormd__V1__Objects *added = ROWS(f, User, late, {.id = 2, .name = "late"});
	Ormd__V1__Notice *notices[] = {make_notice(f, ORMD__V1__NOTICE_KIND__NOTICE_COMMITTED),
				       make_notice(f, ORMD__V1__NOTICE_KIND__NOTICE_PUBLISHED)};
	User *deleted = INSTALL(f, User, 9, {.id = 9, .name = "x"});

	sync_added(f, 3, ROWS(f, User, early, {.id = 1, .name = "early"}));
	sync_leaving(f, 4, DELETED, 9);
	sync->n_notices = 2;
	sync->notices = notices;
	sync->n_added = 1;
	sync->added = &added;
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, orm_object_struct(orm_mirror_by_handle(f->mirror, early))),
			 ORM_PERSISTENT);
	assert_int_equal(orm_mirror_state(f->mirror, orm_object_struct(orm_mirror_by_handle(f->mirror, late))),
			 ORM_PENDING);
	assert_int_equal(orm_mirror_state(f->mirror, deleted), ORM_DETACHED);
	sync = make_sync(f, 6);
	sync->n_notices = 1;
	sync->notices = notices;
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, orm_object_struct(orm_mirror_by_handle(f->mirror, late))),
			 ORM_PERSISTENT);
}

static void both_delete_the_same(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	sync_leaving(f, 3, DELETED, 1);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_DELETED);
}

static void bad_sync_is_refused(void **state)
{
	fixture *f = *state;
	Ormd__V1__Sync *sync = make_sync(f, 5);
	Ormd__V1__Objects *added = ROWS(f, User, 1, {.id = 1, .name = "a"});

	added->values->model = 50;
	sync->n_added = 1;
	sync->added = &added;
	assert_int_equal(orm_sync_apply(f->mirror, sync, &f->error), ORM_EPROTOCOL);
	assert_int_equal(orm_mirror_seen(f->mirror), 0);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(no_sync_is_fine),
		WITH(changes_of_others_show),
		WITH(changes_of_unknown_objects_are_passed_over),
		WITH(added_objects_appear_in_loaded_lists),
		WITH(moved_objects_change_lists),
		WITH(deleted_and_restored_objects_leave_lists_and_return),
		WITH(parent_that_leaves_is_not_loaded_any_more),
		WITH(many_that_leave_one_list_are_taken_out_at_once),
		WITH(rollback_undoes_draft_and_published),
		WITH(rollback_restores_what_was_edited_before_its_deletion),
		WITH(commit_brings_defaults_and_versions),
		WITH(commit_by_another_makes_persistent),
		WITH(both_delete_the_same),
		WITH(bad_sync_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
