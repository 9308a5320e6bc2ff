/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <string.h>

#define UNLOADED SIZE_MAX

static bool is_in(const Post_list *list, const Post *post)
{
	for (size_t i = 0; i < list->len; i++) {
		if (list->items[i] == post)
			return true;
	}
	return false;
}

/* ---- pointers ------------------------------------------------------------------------------------------------ */

static void pointer_leads_to_the_mirrored_parent(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 2, {.id = 5, .title = "t", .user_id = 1});

	assert_ptr_equal(post->author, user);
	assert_int_equal(user->posts.len, UNLOADED);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void pointer_is_filled_in_when_the_parent_comes(void **state)
{
	fixture *f = *state;
	Post *post = INSTALL(f, Post, 2, {.id = 5, .title = "t", .user_id = 1}, {.id = 6, .title = "u", .user_id = 1});
	const orm_layout *posts = orm_binding_layout(f->binding, &Post_model);
	const orm_object *object = orm_mirror_find(f->mirror, post);
	User *user;

	assert_ptr_equal(post->author, posts->relations[0].poison);
	assert_false(orm_mirror_is_loaded(f->mirror, object, &posts->relations[0]));
	user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	assert_ptr_equal(post->author, user);
	assert_true(orm_mirror_is_loaded(f->mirror, object, &posts->relations[0]));
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void null_key_is_a_null_pointer(void **state)
{
	fixture *f = *state;
	Node *node = INSTALL(f, Node, 1, {.id = 1});

	assert_null(node->parent);
	assert_int_equal(orm_mirror_member_state(f->mirror, node, &node->parent), ORM_MEMBER_NULL);
}

static void parent_that_does_not_exist_is_null_once_loaded(void **state)
{
	fixture *f = *state;
	Post *post = INSTALL(f, Post, 2, {.id = 5, .title = "t", .user_id = 1});
	User *user;

	LOAD(f, Post, author, 2);
	assert_null(post->author);
	assert_false(orm_mirror_has_draft(f->mirror));
	user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	assert_ptr_equal(post->author, user);
}

static void text_keys_work_one_way(void **state)
{
	fixture *f = *state;
	City *city = INSTALL(f, City, 1, {.id = 1, .name = "Wien", .country_code = "at"}, {.id = 2, .name = "?"});
	City *nowhere = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Country *country = INSTALL(f, Country, 3, {.code = "at", .name = "Austria"});

	assert_ptr_equal(city->country, country);
	assert_null(nowhere->country);
	LOAD(f, Country, cities, 3);
	assert_int_equal(country->cities.len, 1);
	assert_ptr_equal(country->cities.items[0], city);
	assert_ok(f, orm_mirror_link(f->mirror, country, &country->cities, nowhere, &f->error));
	assert_string_equal(nowhere->country_code, "at");
	assert_ptr_equal(nowhere->country, country);
	assert_int_equal(country->cities.len, 2);
	nowhere->country_code = NULL;
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_int_equal(country->cities.len, 1);
	assert_null(nowhere->country);
}

static void self_reference_leads_to_itself_and_others(void **state)
{
	fixture *f = *state;
	Node *root = INSTALL(f, Node, 1, {.id = 1, .parent_id = {true, 1}}, {.id = 2, .parent_id = {true, 1}},
			     {.id = 3, .parent_id = {true, 2}});
	Node *second = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Node *third = orm_object_struct(orm_mirror_by_handle(f->mirror, 3));

	assert_ptr_equal(root->parent, root);
	assert_ptr_equal(second->parent, root);
	assert_ptr_equal(third->parent, second);
	LOAD(f, Node, children, 1);
	assert_int_equal(root->children.len, 2);
}

/* ---- lists --------------------------------------------------------------------------------------------------- */

static void list_is_loaded_in_the_order_of_keys(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	User *other = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));

	INSTALL(f, Post, 10, {.id = 9, .title = "z", .user_id = 1}, {.id = 3, .title = "y", .user_id = 2},
		{.id = 5, .title = "x", .user_id = 1});
	assert_int_equal(user->posts.len, UNLOADED);
	LOAD(f, User, posts, 1);
	assert_int_equal(user->posts.len, 2);
	assert_int_equal(user->posts.items[0]->id, 5);
	assert_int_equal(user->posts.items[1]->id, 9);
	assert_int_equal(other->posts.len, UNLOADED);
	LOAD(f, User, posts, 2);
	assert_int_equal(other->posts.len, 1);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void loaded_list_can_be_empty(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	LOAD(f, User, posts, 1);
	assert_int_equal(user->posts.len, 0);
}

static void load_shows_unsent_edits(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	User *other = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Post *moved = INSTALL(f, Post, 10, {.id = 1, .title = "moved away", .user_id = 1});
	Post *fresh = ADD(f, Post, .title = "new", .author = user);

	assert_ok(f, orm_mirror_link(f->mirror, moved, &moved->author, other, &f->error));
	INSTALL(f, Post, 10, {.id = 1, .title = "moved away", .user_id = 1});
	LOAD(f, User, posts, 1);
	LOAD(f, User, posts, 2);
	assert_int_equal(user->posts.len, 1);
	assert_ptr_equal(user->posts.items[0], fresh);
	assert_int_equal(other->posts.len, 1);
	assert_ptr_equal(other->posts.items[0], moved);
}

static void ten_thousand_lists_are_linear(void **state)
{
	enum { PARENTS = 2000, EACH = 10 };
	static User users[PARENTS];
	static Post posts[PARENTS * EACH];
	fixture *f = *state;
	orm_mirror_result result = {0};

	for (size_t i = 0; i < PARENTS; i++)
		users[i] = (User){.id = (int64_t)i + 1, .name = "u"};
	for (size_t i = 0; i < PARENTS * EACH; i++)
		posts[i] = (Post){.id = (int64_t)i + 1, .title = "p", .user_id = (int64_t)(i % PARENTS) + 1};
	assert_ok(f, orm_mirror_install(f->mirror, make_rows(f, &User_model, 1, users, PARENTS, NULL, 0), &result,
					&f->error));
	assert_ok(f, orm_mirror_install(f->mirror, make_rows(f, &Post_model, 100000, posts, PARENTS * EACH, NULL, 0),
					NULL, &f->error));
	load(f, &User_model, offsetof(User, posts), 1, PARENTS);
	for (size_t i = 0; i < PARENTS; i++) {
		const User *user = result.items[i];

		assert_int_equal(user->posts.len, EACH);
		for (size_t j = 0; j < EACH; j++) {
			assert_ptr_equal(user->posts.items[j]->author, user);
			assert_int_equal(user->posts.items[j]->id, i + 1 + j * PARENTS);
		}
	}
}

/* ---- changes ------------------------------------------------------------------------------------------------- */

static void add_links_both_sides_at_once(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");
	Post *post = ADD(f, Post, .title = "t", .author = user);

	assert_int_equal(user->posts.len, 1);
	assert_ptr_equal(user->posts.items[0], post);
	assert_ptr_equal(post->author, user);
}

static void link_works_from_both_sides(void **state)
{
	fixture *f = *state;
	User *alice = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	User *bob = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});

	LOAD(f, User, posts, 1);
	LOAD(f, User, posts, 2);
	assert_ok(f, orm_mirror_link(f->mirror, post, &post->author, bob, &f->error));
	assert_int_equal(post->user_id, 2);
	assert_ptr_equal(post->author, bob);
	assert_false(is_in(&alice->posts, post));
	assert_true(is_in(&bob->posts, post));
	assert_true(orm_mirror_is_dirty(f->mirror, post));
	assert_ok(f, orm_mirror_link(f->mirror, alice, &alice->posts, post, &f->error));
	assert_int_equal(post->user_id, 1);
	assert_true(is_in(&alice->posts, post));
	assert_false(is_in(&bob->posts, post));
	assert_false(orm_mirror_is_dirty(f->mirror, post));
}

static void assignment_takes_effect_at_the_next_call(void **state)
{
	fixture *f = *state;
	User *alice = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"});
	User *bob = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});

	LOAD(f, User, posts, 1);
	LOAD(f, User, posts, 2);
	post->author = bob;
	assert_true(orm_mirror_is_dirty(f->mirror, post));
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_int_equal(post->user_id, 2);
	assert_int_equal(alice->posts.len, 0);
	assert_true(is_in(&bob->posts, post));
	post->user_id = 1; /* the key alone: the pointer follows */
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_ptr_equal(post->author, alice);
	assert_true(is_in(&alice->posts, post));
	assert_int_equal(bob->posts.len, 0);
	post->author = bob;
	post->user_id = 77; /* both: the pointer wins */
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_int_equal(post->user_id, 2);
	post->user_id = 77; /* nobody that is mirrored */
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_ptr_equal(post->author, orm_binding_layout(f->binding, &Post_model)->relations[0].poison);
	assert_int_equal(bob->posts.len, 0);
}

static void nullable_pointer_can_be_unset(void **state)
{
	fixture *f = *state;
	Node *root =
		INSTALL(f, Node, 1, {.id = 1}, {.id = 2, .parent_id = {true, 1}}, {.id = 3, .parent_id = {true, 1}});
	Node *second = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Node *third = orm_object_struct(orm_mirror_by_handle(f->mirror, 3));

	LOAD(f, Node, children, 1);
	assert_ok(f, orm_mirror_unlink(f->mirror, root, &root->children, second, &f->error));
	assert_false(second->parent_id.has);
	assert_null(second->parent);
	assert_int_equal(root->children.len, 1);
	assert_int_equal(orm_mirror_unlink(f->mirror, root, &root->children, second, &f->error), ORM_EINVAL);
	third->parent = NULL;
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_false(third->parent_id.has);
	assert_int_equal(root->children.len, 0);
}

static void pointer_that_may_not_be_null_is_refused(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});

	assert_int_equal(orm_mirror_unlink(f->mirror, user, &user->posts, post, &f->error), ORM_EINVAL);
	assert_string_equal(f->error.model, "Post");
	assert_string_equal(f->error.column, "author");
	post->author = NULL;
	assert_int_equal(orm_mirror_settle(f->mirror, &f->error), ORM_EINVAL);
	assert_int_equal(post->user_id, 1);
}

static void pointers_to_others_are_refused(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1}, {.id = 6, .title = "u", .user_id = 8});
	Post *unloaded = orm_object_struct(orm_mirror_by_handle(f->mirror, 6));
	User stranger = {.id = 4};

	assert_null(ADD(f, Post, .title = "x", .author = &stranger));
	assert_int_equal(f->error.code, ORM_EINVAL);
	assert_int_equal(orm_mirror_link(f->mirror, post, &post->author, post, &f->error), ORM_EINVAL);
	assert_int_equal(orm_mirror_link(f->mirror, post, &post->title, user, &f->error), ORM_EINVAL);
	assert_int_equal(orm_mirror_link(f->mirror, user, &user->posts, NULL, &f->error), ORM_EINVAL);
	post->author = unloaded->author;
	assert_int_equal(orm_mirror_settle(f->mirror, &f->error), ORM_EINVAL);
	assert_non_null(strstr(f->error.message, "not loaded"));
	post->author = &stranger;
	assert_int_equal(orm_mirror_settle(f->mirror, &f->error), ORM_EINVAL);
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_ptr_equal(post->author, user);
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
}

static void delete_takes_out_of_lists_and_discard_puts_back(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1}, {.id = 6, .title = "u", .user_id = 1},
			     {.id = 7, .title = "v", .user_id = 1});

	LOAD(f, User, posts, 1);
	assert_ok(f, orm_mirror_delete(f->mirror, post, &f->error));
	assert_int_equal(user->posts.len, 2);
	assert_int_equal(orm_mirror_link(f->mirror, user, &user->posts, post, &f->error), ORM_ESTATE);
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_int_equal(user->posts.len, 3);
	assert_ptr_equal(user->posts.items[0], post); /* where it was */
}

static void deleting_a_parent_frees_children_that_may_be(void **state)
{
	fixture *f = *state;
	Node *root = INSTALL(f, Node, 1, {.id = 1}, {.id = 2, .parent_id = {true, 1}});
	Node *second = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	User *user = INSTALL(f, User, 10, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 15, {.id = 5, .title = "t", .user_id = 1});

	assert_ok(f, orm_mirror_delete(f->mirror, root, &f->error));
	assert_false(second->parent_id.has);
	assert_null(second->parent);
	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error)); /* the database cascades */
	assert_int_equal(post->user_id, 1);
	assert_false(orm_mirror_is_dirty(f->mirror, post));
}

static void new_children_go_with_their_parent(void **state)
{
	enum { N = 20000 };
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *fresh = ADD(f, Post, .title = "new", .author = user);
	Post *old = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	User *leaves = ADD(f, User, .name = "b");
	Post *with = NULL;

	for (size_t i = 0; i < N; i++)
		with = ADD(f, Post, .title = "new", .author = leaves);
	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, fresh), ORM_DETACHED);
	assert_int_equal(orm_mirror_state(f->mirror, old), ORM_PERSISTENT);
	assert_ok(f, orm_mirror_delete(f->mirror, leaves, &f->error));
	assert_int_equal(orm_mirror_state(f->mirror, with), ORM_DETACHED);
	build(f);
	assert_int_equal(f->draft.n_adds, 0);
	assert_int_equal(f->draft.n_deletes, 1);
}

static void discard_undoes_links(void **state)
{
	fixture *f = *state;
	User *alice = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	User *fresh = ADD(f, User, .name = "new");

	LOAD(f, User, posts, 1);
	assert_ok(f, orm_mirror_link(f->mirror, post, &post->author, fresh, &f->error));
	assert_int_equal(alice->posts.len, 0);
	assert_ptr_equal(post->author, fresh);
	assert_true(orm_mirror_is_dirty(f->mirror, post));
	ADD(f, Post, .title = "new", .author = alice);
	assert_int_equal(alice->posts.len, 1);
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_int_equal(alice->posts.len, 1);
	assert_ptr_equal(alice->posts.items[0], post);
	assert_ptr_equal(post->author, alice);
	assert_int_equal(post->user_id, 1);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void list_that_was_tampered_with_is_mended(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});

	INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	LOAD(f, User, posts, 1);
	user->posts.len = 0;
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_int_equal(user->posts.len, 1);
}

static void key_of_a_new_object_is_found_by_foreign_keys(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .id = 5, .name = "a");
	Post *post = ADD(f, Post, .title = "t", .user_id = 5);
	Post *without = ADD(f, Post, .title = "u");
	User *late = ADD(f, User, .name = "late");
	Post *of_late = ADD(f, Post, .title = "v", .author = late);

	assert_ptr_equal(post->author, user);
	assert_int_equal(user->posts.len, 1);
	assert_null(without->author);
	late->id = 6; /* given after all: children have it too */
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	assert_int_equal(of_late->user_id, 6);
	assert_ptr_equal(of_late->author, late);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(pointer_leads_to_the_mirrored_parent),
		WITH(pointer_is_filled_in_when_the_parent_comes),
		WITH(null_key_is_a_null_pointer),
		WITH(parent_that_does_not_exist_is_null_once_loaded),
		WITH(text_keys_work_one_way),
		WITH(self_reference_leads_to_itself_and_others),
		WITH(list_is_loaded_in_the_order_of_keys),
		WITH(loaded_list_can_be_empty),
		WITH(load_shows_unsent_edits),
		WITH(ten_thousand_lists_are_linear),
		WITH(add_links_both_sides_at_once),
		WITH(link_works_from_both_sides),
		WITH(assignment_takes_effect_at_the_next_call),
		WITH(nullable_pointer_can_be_unset),
		WITH(pointer_that_may_not_be_null_is_refused),
		WITH(pointers_to_others_are_refused),
		WITH(delete_takes_out_of_lists_and_discard_puts_back),
		WITH(deleting_a_parent_frees_children_that_may_be),
		WITH(new_children_go_with_their_parent),
		WITH(discard_undoes_links),
		WITH(list_that_was_tampered_with_is_mended),
		WITH(key_of_a_new_object_is_found_by_foreign_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
