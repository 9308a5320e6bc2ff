/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <string.h>

static Ormd__V1__Value *text_value(fixture *f, const char *text)
{
	Ormd__V1__Value *value = orm_arena_alloc(&f->arena, sizeof *value);

	ormd__v1__value__init(value);
	if (text) {
		value->has_text = 1;
		value->text.len = strlen(text);
		value->text.data = (uint8_t *)orm_arena_strdup(&f->arena, text);
	} else {
		value->has_null = value->null = 1;
	}
	return value;
}

static Ormd__V1__FieldConflict *field_conflict(fixture *f, uint64_t handle, uint32_t column, const char *theirs,
					       uint64_t rev)
{
	Ormd__V1__FieldConflict *conflict = orm_arena_alloc(&f->arena, sizeof *conflict);

	ormd__v1__field_conflict__init(conflict);
	conflict->handle = handle;
	conflict->has_column = 1;
	conflict->column = column;
	conflict->base_value = text_value(f, "base");
	conflict->theirs = text_value(f, theirs);
	conflict->author_name = (char *)"bob";
	conflict->rev = rev;
	return conflict;
}

static void take(fixture *f, Ormd__V1__FieldConflict **conflicts, size_t n)
{
	Ormd__V1__ConflictDetail detail = ORMD__V1__CONFLICT_DETAIL__INIT;

	detail.n_conflicts = n;
	detail.conflicts = conflicts;
	assert_ok(f, orm_conflict_take(f->mirror, &detail, &f->error));
}

static size_t resolve(fixture *f, const orm_conflict *conflict, orm_choice choice)
{
	size_t left;

	assert_ok(f, orm_conflict_resolve(f->mirror, conflict, choice, &left, &f->error));
	return left;
}

/* Another changed the name, at revision 9; this participant had seen 5 when it edited name and email. */
static User *dispute(fixture *f)
{
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base", .email = "e"});

	sync_changed(f, 5, make_rows(f, &User_model, 1, &(User){.version = 1}, 1, COLUMNS(USER_VERSION)));
	user->name = "mine";
	user->email = "mine@x";
	sync_changed(f, 9, make_rows(f, &User_model, 1, &(User){.name = "theirs"}, 1, COLUMNS(USER_NAME)));
	return user;
}

static const Ormd__V1__Updates *updates_of(const fixture *f, uint32_t column)
{
	for (size_t i = 0; i < f->draft.parts[0]->n_updates; i++) {
		if (find_column(f->draft.parts[0]->updates[i]->objects->values, column))
			return f->draft.parts[0]->updates[i];
	}
	return NULL;
}

static void edit_is_kept_with_its_old_base(void **state)
{
	fixture *f = *state;
	User *user = dispute(f);

	assert_string_equal(user->name, "mine");
	build(f);
	assert_int_equal(f->draft.n_updates, 1);
	assert_int_equal(f->draft.parts[0]->n_updates, 2);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 5);
	assert_int_equal(updates_of(f, USER_EMAIL)->base_rev, 9);
	assert_null(find_column(updates_of(f, USER_EMAIL)->objects->values, USER_NAME));
}

static void second_change_keeps_the_first_base(void **state)
{
	fixture *f = *state;

	dispute(f);
	sync_changed(f, 11, make_rows(f, &User_model, 1, &(User){.name = "again"}, 1, COLUMNS(USER_NAME)));
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 5);
}

static void same_value_is_a_conflict_too(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base"});

	user->name = "mine";
	sync_changed(
		f, 9,
		make_rows(f, &User_model, 1, &(User){.name = "base"}, 1, COLUMNS(USER_NAME))); /* away and back: ABA */
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 0);
}

static void load_does_not_raise_the_base(void **state)
{
	fixture *f = *state;

	dispute(f);
	INSTALL(f, User, 1, {.id = 7, .name = "theirs", .email = "e", .version = 1});
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 5);
}

static void conflict_is_listed_as_text(void **state)
{
	fixture *f = *state;
	User *user = dispute(f);
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};
	const orm_conflict *list;
	size_t n;

	build(f);
	take(f, fields, 1);
	list = orm_conflict_list(f->mirror, &n);
	assert_int_equal(n, 1);
	assert_ptr_equal(list->model, &User_model);
	assert_ptr_equal(list->object, user);
	assert_string_equal(list->key, "7");
	assert_string_equal(list->column, "name");
	assert_string_equal(list->base, "base");
	assert_string_equal(list->theirs, "theirs");
	assert_string_equal(list->mine, "mine");
	assert_string_equal(list->author, "bob");
	assert_string_equal(user->name, "mine");
}

/* Within a unit, values come and go that the server's committed row never had. */
static void base_is_what_this_participant_saw(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "committed"});
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "last", 9)};
	size_t n;

	sync_changed(f, 5, make_rows(f, &User_model, 1, &(User){.name = "seen"}, 1, COLUMNS(USER_NAME)));
	assert_string_equal(user->name, "seen");
	user->name = "mine";
	sync_changed(f, 8, make_rows(f, &User_model, 1, &(User){.name = "theirs"}, 1, COLUMNS(USER_NAME)));
	sync_changed(f, 9, make_rows(f, &User_model, 1, &(User){.name = "last"}, 1, COLUMNS(USER_NAME)));
	build(f);
	take(f, fields, 1);
	assert_string_equal(orm_conflict_list(f->mirror, &n)->base, "seen");
	assert_string_equal(orm_conflict_list(f->mirror, &n)->theirs, "last");
	resolve(f, NULL, ORM_MINE);
	sync_changed(f, 10, make_rows(f, &User_model, 1, &(User){.name = ""}, 1, COLUMNS(USER_NAME)));
	fields[0] = field_conflict(f, 1, USER_NAME, "", 10);
	fields[0]->theirs->text.data = NULL; /* as protobuf-c unpacks what is empty */
	build(f);
	take(f, fields, 1);
	assert_string_equal(orm_conflict_list(f->mirror, &n)->base, "last");
	assert_string_equal(orm_conflict_list(f->mirror, &n)->theirs, "");
	assert_string_equal(orm_conflict_list(f->mirror, &n)->mine, "mine");
}

static void mine_raises_the_base(void **state)
{
	fixture *f = *state;
	User *user = dispute(f);
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};
	size_t n;

	take(f, fields, 1);
	assert_int_equal(resolve(f, orm_conflict_list(f->mirror, &n), ORM_MINE), 0);
	assert_string_equal(user->name, "mine");
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 9);
	assert_int_equal(f->draft.parts[0]->n_updates, 1);
	accept(f, 0, 0, 0);
	assert_false(orm_mirror_has_draft(f->mirror));
	user->name = "next";
	sync_changed(f, 15, make_rows(f, &User_model, 1, &(User){.version = 2}, 1, COLUMNS(USER_VERSION)));
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 15); /* the dispute is over */
}

static void theirs_goes_into_the_struct(void **state)
{
	fixture *f = *state;
	User *user = dispute(f);
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};

	take(f, fields, 1);
	assert_int_equal(resolve(f, NULL, ORM_THEIRS), 0);
	assert_string_equal(user->name, "theirs");
	assert_string_equal(user->email, "mine@x");
	build(f);
	assert_null(updates_of(f, USER_NAME));
	assert_non_null(updates_of(f, USER_EMAIL));
}

static void conflicts_without_a_sync_are_resolved_too(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base", .email = "e"});
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9),
					     field_conflict(f, 1, USER_EMAIL, NULL, 8)};
	const orm_conflict *list;
	size_t n;

	user->name = "mine";
	user->email = "mine@x";
	build(f);
	take(f, fields, 2);
	list = orm_conflict_list(f->mirror, &n);
	assert_int_equal(n, 2);
	assert_null(list[1].theirs);
	assert_int_equal(resolve(f, &list[1], ORM_THEIRS), 1);
	assert_null(user->email);
	assert_int_equal(resolve(f, &list[0], ORM_MINE), 0);
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 9);
	assert_null(updates_of(f, USER_EMAIL));
}

static void new_change_after_mine_conflicts_again(void **state)
{
	fixture *f = *state;
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};

	dispute(f);
	take(f, fields, 1);
	resolve(f, NULL, ORM_MINE);
	sync_changed(f, 20, make_rows(f, &User_model, 1, &(User){.name = "later"}, 1, COLUMNS(USER_NAME)));
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 9);
}

static void discard_settles_disputes(void **state)
{
	fixture *f = *state;
	User *user = dispute(f);
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};
	size_t n;

	take(f, fields, 1);
	assert_ok(f, orm_mirror_discard(f->mirror, &f->error));
	assert_string_equal(user->name, "theirs");
	orm_conflict_list(f->mirror, &n);
	assert_int_equal(n, 0);
	user->name = "again";
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 9);
}

/* ---- deletions ----------------------------------------------------------------------------------------------- */

static Ormd__V1__FieldConflict *object_conflict(fixture *f, uint64_t handle, bool deleted, uint64_t rev)
{
	Ormd__V1__FieldConflict *conflict = orm_arena_alloc(&f->arena, sizeof *conflict);

	ormd__v1__field_conflict__init(conflict);
	conflict->handle = handle;
	conflict->deleted = deleted;
	conflict->rev = rev;
	return conflict;
}

static void deletion_by_another_of_an_edited_object(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base"});
	Ormd__V1__FieldConflict *fields[] = {object_conflict(f, 1, true, 9)};
	const orm_conflict *list;
	size_t n;

	user->name = "mine";
	sync_leaving(f, 9, DELETED, 1);
	assert_string_equal(user->name, "mine");
	build(f);
	assert_int_equal(updates_of(f, USER_NAME)->base_rev, 0);
	take(f, fields, 1);
	list = orm_conflict_list(f->mirror, &n);
	assert_int_equal(n, 1);
	assert_string_equal(list->column, "");
	assert_null(list->theirs);
	assert_int_equal(resolve(f, list, ORM_THEIRS), 0);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_DELETED);
	assert_string_equal(user->name, "base");
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void object_that_another_deleted_can_be_kept(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base", .email = "e"});
	Ormd__V1__FieldConflict *fields[] = {object_conflict(f, 1, true, 9)};
	const Ormd__V1__Batch *batch;

	user->name = "mine";
	sync_leaving(f, 9, DELETED, 1);
	take(f, fields, 1);
	assert_int_equal(resolve(f, NULL, ORM_MINE), 0);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
	build(f);
	assert_int_equal(f->draft.n_adds, 1);
	assert_int_equal(f->draft.parts[0]->n_updates, 0);
	batch = f->draft.parts[0]->adds[0]->objects->values;
	assert_int_equal(find_column(batch, USER_ID)->int64s[0], 7);
	assert_memory_equal(find_column(batch, USER_NAME)->text.data, "mine", 5);
	accept(f, 0, 0, 0);
	sync_leaving(f, 12, GONE, 1); /* the deleted one's commit is not this one's */
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
}

static void disputed_link_to_a_new_object_keeps_its_base(void **state)
{
	fixture *f = *state;
	Node *node = INSTALL(f, Node, 1, {.id = 1, .parent_id = {true, 2}}, {.id = 2}, {.id = 3});
	Node *fresh = ADD(f, Node, .label = "new");

	node->parent = fresh;
	node->label = "mine";
	assert_ok(f, orm_mirror_settle(f->mirror, &f->error));
	sync_changed(f, 9, make_rows(f, &Node_model, 1, &(Node){.parent_id = {true, 3}}, 1, COLUMNS(NODE_PARENT)));
	assert_ptr_equal(node->parent, fresh);
	build(f);
	assert_int_equal(f->draft.parts[0]->n_updates, 1);
	assert_int_equal(f->draft.parts[0]->updates[0]->n_references, 1);
	assert_int_equal(f->draft.parts[0]->updates[0]->base_rev, 0);
}

static void change_by_another_of_a_deleted_object(void **state)
{
	fixture *f = *state;
	User *owner = INSTALL(f, User, 1, {.id = 7, .name = "a"});
	Post *post = INSTALL(f, Post, 2, {.id = 1, .title = "base", .user_id = 7});
	Ormd__V1__FieldConflict *fields[] = {object_conflict(f, 2, false, 9)};

	LOAD(f, User, posts, 1);
	assert_ok(f, orm_mirror_delete(f->mirror, post, &f->error));
	sync_changed(f, 9, make_rows(f, &Post_model, 2, &(Post){.title = "theirs"}, 1, COLUMNS(POST_TITLE)));
	build(f);
	assert_int_equal(f->draft.parts[0]->deletes[0]->base_rev, 0);
	take(f, fields, 1);
	resolve(f, NULL, ORM_MINE);
	build(f);
	assert_int_equal(f->draft.parts[0]->deletes[0]->base_rev, 9);
	take(f, fields, 1);
	resolve(f, NULL, ORM_THEIRS);
	assert_int_equal(orm_mirror_state(f->mirror, post), ORM_PERSISTENT);
	assert_string_equal(post->title, "theirs");
	assert_int_equal(owner->posts.len, 1);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void edits_of_an_object_that_left_are_not_lost(void **state)
{
	fixture *f = *state;
	const orm_draft_limits limits = {.max_bytes = 1 << 20};
	User *user = INSTALL(f, User, 1, {.id = 7, .name = "base"}, {.id = 8, .name = "other"});
	User *other = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	const orm_conflict *list;
	size_t n;

	user->name = "mine";
	other->name = "mine too";
	sync_leaving(f, 9, GONE, 1);
	sync_leaving(f, 10, DELETED, 2);
	sync_leaving(f, 11, GONE, 2);
	assert_int_equal(orm_draft_build(f->mirror, &limits, &f->arena, &f->draft, &f->error), ORM_ECONFLICT);
	list = orm_conflict_list(f->mirror, &n);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].column, "");
	if (list[0].object != user)
		list++;
	assert_ptr_equal(list->object, user);
	assert_string_equal(list->key, "7");
	assert_int_equal(resolve(f, list, ORM_MINE), 1);
	assert_int_equal(resolve(f, NULL, ORM_THEIRS), 0);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
	assert_int_equal(orm_mirror_state(f->mirror, other), ORM_DETACHED);
	build(f);
	assert_int_equal(f->draft.n_adds, 1);
	assert_int_equal(find_column(f->draft.parts[0]->adds[0]->objects->values, USER_ID)->int64s[0], 7);
	accept(f, 0, 0, 0);
	assert_ptr_equal(orm_object_struct(orm_mirror_by_handle(f->mirror, OWN(1))), user);
}

static void foreign_key_edit_is_kept(void **state)
{
	fixture *f = *state;
	User *one = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"}, {.id = 3, .name = "c"});
	User *two = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	User *three = orm_object_struct(orm_mirror_by_handle(f->mirror, 3));
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});
	Ormd__V1__FieldConflict *field = object_conflict(f, 5, false, 9);

	(void)one;
	LOAD(f, User, posts, 2);
	LOAD(f, User, posts, 3);
	assert_ok(f, orm_mirror_link(f->mirror, post, &post->author, two, &f->error));
	sync_changed(f, 9, make_rows(f, &Post_model, 5, &(Post){.user_id = 3}, 1, COLUMNS(POST_USER_ID)));
	assert_ptr_equal(post->author, two);
	assert_int_equal(two->posts.len, 1);
	assert_int_equal(three->posts.len, 0);
	build(f);
	assert_int_equal(updates_of(f, POST_USER_ID)->base_rev, 0);
	field->has_column = 1;
	field->column = POST_USER_ID;
	field->base_value = text_value(f, NULL);
	field->theirs = text_value(f, NULL);
	field->theirs->has_null = field->theirs->null = 0;
	field->theirs->has_integer = 1;
	field->theirs->integer = 3;
	take(f, &field, 1);
	resolve(f, NULL, ORM_THEIRS);
	assert_ptr_equal(post->author, three);
	assert_int_equal(two->posts.len, 0);
	assert_int_equal(three->posts.len, 1);
}

static void pointer_that_was_only_assigned_is_an_edit_too(void **state)
{
	fixture *f = *state;
	User *one = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"}, {.id = 3, .name = "c"});
	User *two = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	Post *post = INSTALL(f, Post, 5, {.id = 5, .title = "t", .user_id = 1});

	assert_ptr_equal(post->author, one);
	post->author = two; /* and no call of this session before the other's change comes */
	sync_changed(f, 9, make_rows(f, &Post_model, 5, &(Post){.user_id = 3}, 1, COLUMNS(POST_USER_ID)));
	assert_ptr_equal(post->author, two);
	build(f);
	assert_int_equal(updates_of(f, POST_USER_ID)->base_rev, 0);
}

static void nonsense_is_refused(void **state)
{
	fixture *f = *state;
	Ormd__V1__FieldConflict *fields[] = {field_conflict(f, 1, USER_NAME, "theirs", 9)};
	Ormd__V1__ConflictDetail detail = ORMD__V1__CONFLICT_DETAIL__INIT;
	const orm_conflict stranger = {.column = ""};
	size_t left;

	dispute(f);
	fields[0]->theirs->has_text = 0;
	detail.n_conflicts = 1;
	detail.conflicts = fields;
	assert_int_equal(orm_conflict_take(f->mirror, &detail, &f->error), ORM_EPROTOCOL);
	assert_int_equal(orm_conflict_resolve(f->mirror, &stranger, ORM_MINE, &left, &f->error), ORM_EINVAL);
	assert_int_equal(orm_conflict_resolve(f->mirror, NULL, (orm_choice)9, &left, &f->error), ORM_EINVAL);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(edit_is_kept_with_its_old_base),
		WITH(second_change_keeps_the_first_base),
		WITH(same_value_is_a_conflict_too),
		WITH(load_does_not_raise_the_base),
		WITH(conflict_is_listed_as_text),
		WITH(base_is_what_this_participant_saw),
		WITH(mine_raises_the_base),
		WITH(theirs_goes_into_the_struct),
		WITH(conflicts_without_a_sync_are_resolved_too),
		WITH(new_change_after_mine_conflicts_again),
		WITH(discard_settles_disputes),
		WITH(deletion_by_another_of_an_edited_object),
		WITH(object_that_another_deleted_can_be_kept),
		WITH(disputed_link_to_a_new_object_keeps_its_base),
		WITH(change_by_another_of_a_deleted_object),
		WITH(edits_of_an_object_that_left_are_not_lost),
		WITH(foreign_key_edit_is_kept),
		WITH(pointer_that_was_only_assigned_is_an_edit_too),
		WITH(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
