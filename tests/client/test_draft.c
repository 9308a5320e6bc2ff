/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <string.h>

static const Ormd__V1__Adds *only_adds(const fixture *f)
{
	assert_int_equal(f->draft.n_parts, 1);
	assert_int_equal(f->draft.parts[0]->n_adds, 1);
	return f->draft.parts[0]->adds[0];
}

static const Ormd__V1__Updates *only_updates(const fixture *f)
{
	assert_int_equal(f->draft.n_parts, 1);
	assert_int_equal(f->draft.parts[0]->n_updates, 1);
	return f->draft.parts[0]->updates[0];
}

static const char *nth_text(const Ormd__V1__Column *column, size_t n)
{
	const char *text = (const char *)column->text.data;

	while (n-- > 0)
		text += strlen(text) + 1;
	return text;
}

/* ---- new objects --------------------------------------------------------------------------------------------- */

static void nothing_changed_is_no_draft(void **state)
{
	fixture *f = *state;

	INSTALL(f, User, 1, {.id = 1, .name = "a"});
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void adds_travel_in_one_batch(void **state)
{
	fixture *f = *state;
	const Ormd__V1__Batch *batch;

	ADD(f, User, .name = "a", .email = "a@x");
	ADD(f, User, .name = "b");
	ADD(f, User, .name = "c", .email = "");
	build(f);
	assert_int_equal(f->draft.n_adds, 3);
	batch = only_adds(f)->objects->values;
	assert_int_equal(batch->model, orm_binding_layout(f->binding, &User_model)->number);
	assert_int_equal(batch->rows, 3);
	assert_int_equal(only_adds(f)->objects->first_handle, OWN(1));
	assert_int_equal(only_adds(f)->objects->n_handles, 0);
	assert_null(find_column(batch, USER_ID));     /* generated */
	assert_null(find_column(batch, USER_JOINED)); /* has a default and was not given */
	assert_string_equal(nth_text(find_column(batch, USER_NAME), 0), "a");
	assert_string_equal(nth_text(find_column(batch, USER_NAME), 2), "c");
	assert_int_equal(find_column(batch, USER_NAME)->text.len, 6);
	assert_false(find_column(batch, USER_NAME)->has_nulls);
	assert_string_equal(nth_text(find_column(batch, USER_EMAIL), 0), "a@x");
	assert_int_equal(find_column(batch, USER_EMAIL)->nulls.len, 1);
	assert_int_equal(find_column(batch, USER_EMAIL)->nulls.data[0], 2);
	assert_int_equal(find_column(batch, USER_VERSION)->n_int32s, 3);
}

static void given_members_split_the_batch_in_order(void **state)
{
	fixture *f = *state;
	const Ormd__V1__Draft *part;

	ADD(f, User, .name = "a");
	ADD(f, User, .id = 50, .name = "b");
	add(f, &User_model, &(User){.id = 51, .name = "c"}, (const char *const[]){"joined", NULL});
	ADD(f, User, .id = 52, .name = "d")->joined = (orm_opt_datetime){true, {9}}; /* assigned after all */
	build(f);
	part = f->draft.parts[0];
	assert_int_equal(part->n_adds, 3);
	assert_null(find_column(part->adds[0]->objects->values, USER_ID));
	assert_int_equal(find_column(part->adds[1]->objects->values, USER_ID)->int64s[0], 50);
	assert_null(find_column(part->adds[1]->objects->values, USER_JOINED));
	assert_int_equal(part->adds[2]->objects->values->rows, 2);
	assert_int_equal(find_column(part->adds[2]->objects->values, USER_JOINED)->nulls.data[0], 1);
	assert_int_equal(find_column(part->adds[2]->objects->values, USER_JOINED)->int64s[0], 0);
	assert_int_equal(find_column(part->adds[2]->objects->values, USER_JOINED)->int64s[1], 9);
	assert_int_equal(part->adds[2]->objects->first_handle, OWN(3));
}

static void every_type_comes_back_as_it_was(void **state)
{
	fixture *f = *state;
	const Line line = {.order_no = 5,
			   .pos = -2,
			   .amount = 1.5,
			   .done = true,
			   .note = {"\0x", 2},
			   .day = {20000},
			   .at = {1},
			   .maybe = {true, true},
			   .rate = {true, 0.25},
			   .until = {true, {7}}};
	const Line *back;
	Ormd__V1__Objects *objects;

	assert_non_null(add(f, &Line_model, &line, NULL));
	assert_non_null(
		add(f, &Line_model, &(Line){.order_no = 6, .pos = 1, .note = {"", 0}, .rate = {false, 3}}, NULL));
	build(f);
	objects = only_adds(f)->objects;
	assert_true(find_column(objects->values, 8)->doubles[1] == 0); /* NULL is zero on the wire */
	objects->first_handle = 100;                                   /* and back, as if from the server */
	back = install(f, objects);
	assert_int_equal(back->order_no, 5);
	assert_int_equal(back->pos, -2);
	assert_true(back->amount == 1.5 && back->done && back->maybe.has && back->maybe.value &&
		    back->rate.value == 0.25);
	assert_memory_equal(back->note.data, "\0x", 2);
	assert_int_equal(back->day.days, 20000);
	assert_int_equal(back->at.us, 1);
	assert_false(back->due.has);
	assert_int_equal(back->until.value.us, 7);
	back = orm_object_struct(orm_mirror_by_handle(f->mirror, 101));
	assert_non_null(back->note.data);
	assert_int_equal(back->note.size, 0);
	assert_false(back->rate.has);
}

static void parents_come_before_children(void **state)
{
	fixture *f = *state;
	const Ormd__V1__Draft *part;
	User *user;

	ADD(f, Post, .title = "first", .user_id = 3);
	user = ADD(f, User, .name = "a");
	ADD(f, Post, .title = "second", .author = user);
	build(f);
	part = f->draft.parts[0];
	assert_int_equal(part->n_adds, 3);
	assert_int_equal(part->adds[0]->objects->values->model, orm_binding_layout(f->binding, &User_model)->number);
	assert_int_equal(part->adds[1]->n_references, 0);
	assert_int_equal(find_column(part->adds[1]->objects->values, POST_USER_ID)->int64s[0], 3);
	assert_int_equal(part->adds[2]->n_references, 1);
	assert_int_equal(part->adds[2]->references[0]->relationship, number_of(f, &Post_model, offsetof(Post, author)));
	assert_int_equal(part->adds[2]->references[0]->targets[0], OWN(1));
	assert_null(find_column(part->adds[2]->objects->values, POST_USER_ID));
}

static void generated_keys_reach_children(void **state)
{
	fixture *f = *state;
	User *a = ADD(f, User, .name = "a");
	User *b = ADD(f, User, .name = "b");
	Post *post = ADD(f, Post, .title = "t", .author = b);
	const orm_value key = {.type = ORM_INT64, .integer = 41};

	publish(f, OWN(1), 40, 3);
	assert_int_equal(a->id, 40);
	assert_int_equal(b->id, 41);
	assert_int_equal(post->id, 42);
	assert_int_equal(post->user_id, 41);
	assert_ptr_equal(post->author, b);
	assert_int_equal(b->posts.len, 1);
	assert_ptr_equal(
		orm_object_struct(orm_mirror_by_key(f->mirror, orm_binding_layout(f->binding, &User_model), &key)), b);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
	INSTALL(f, Post, 900, {.id = 7, .title = "late", .user_id = 41});
	assert_int_equal(b->posts.len, 2);
}

static void families_merge_when_a_key_was_expected(void **state)
{
	fixture *f = *state;
	Post *early = INSTALL(f, Post, 900, {.id = 7, .title = "early", .user_id = 40});
	User *user = ADD(f, User, .name = "a");
	Post *own = ADD(f, Post, .title = "own", .author = user);

	publish(f, OWN(1), 40, 2);
	assert_int_equal(user->posts.len, 2);
	assert_ptr_equal(early->author, user);
	assert_ptr_equal(own->author, user);
	assert_int_equal(own->user_id, 40);
}

static void link_to_new_object_travels_as_reference(void **state)
{
	fixture *f = *state;
	Node *node = INSTALL(f, Node, 1, {.id = 1, .label = "old"}, {.id = 2});
	Node *parent = ADD(f, Node, .label = "new");
	const Ormd__V1__Updates *updates;

	node->parent = parent;
	build(f);
	updates = f->draft.parts[0]->updates[0];
	assert_int_equal(updates->objects->values->n_columns, 0);
	assert_int_equal(updates->objects->values->rows, 1);
	assert_int_equal(updates->references[0]->targets[0], OWN(1));
	accept(f, OWN(1), 9, 1);
	assert_true(node->parent_id.has);
	assert_int_equal(node->parent_id.value, 9);
	assert_ptr_equal(parent->children.items[0], node);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void new_parent_with_a_key_is_referred_to_by_it(void **state)
{
	fixture *f = *state;
	Country *country = ADD(f, Country, .code = "at", .name = "Austria");
	City *city = ADD(f, City, .name = "Wien");

	assert_ok(f, orm_mirror_link(f->mirror, country, &country->cities, city, &f->error));
	build(f);
	assert_string_equal(nth_text(find_column(f->draft.parts[0]->adds[1]->objects->values, 2), 0), "at");
	assert_int_equal(f->draft.parts[0]->adds[1]->n_references, 0);
}

/* ---- changes ------------------------------------------------------------------------------------------------- */

static void only_changed_columns_travel(void **state)
{
	fixture *f = *state;
	User *a = INSTALL(f, User, 1, {.id = 1, .name = "a"}, {.id = 2, .name = "b"}, {.id = 3, .name = "c"},
			  {.id = 4, .name = "d"});
	User *b = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));
	User *d = orm_object_struct(orm_mirror_by_handle(f->mirror, 4));
	const Ormd__V1__Updates *updates;

	sync_changed(f, 12, make_rows(f, &User_model, 3, &(User){.name = "cc"}, 1, COLUMNS(USER_NAME)));
	a->name = "x";
	d->name = "y";
	build(f);
	updates = only_updates(f);
	assert_int_equal(updates->base_rev, 12);
	assert_int_equal(updates->objects->values->n_columns, 1);
	assert_int_equal(updates->objects->n_handles, 2);
	assert_int_equal(updates->objects->handles[1], 4);
	assert_string_equal(nth_text(find_column(updates->objects->values, USER_NAME), 1), "y");
	b->name = "z";
	b->email = "z@x";
	build(f);
	assert_int_equal(f->draft.n_updates, 3);
	assert_int_equal(f->draft.parts[0]->n_updates, 2);
}

static void text_is_lent_until_it_is_accepted(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a", .email = "e"});
	char name[] = "lent";
	char same[] = "e";

	user->name = name;
	user->email = same;
	publish(f, 0, 0, 0);
	memset(name, 'x', 4);
	same[0] = 'x';
	assert_string_equal(user->name, "lent");
	assert_string_equal(user->email, "e");
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void bytes_are_lent_until_they_are_accepted(void **state)
{
	fixture *f = *state;
	Line *line = INSTALL(f, Line, 1, {.order_no = 1, .pos = 1});
	Line *other = INSTALL(f, Line, 2, {.order_no = 1, .pos = 2});
	char note[] = {1, 2, 3};

	line->note = (orm_bytes){note, 3};
	other->note = (orm_bytes){"", 0};
	publish(f, 0, 0, 0);
	memset(note, 9, 3);
	assert_memory_equal(line->note.data, ((char[]){1, 2, 3}), 3);
	assert_non_null(other->note.data);
	assert_int_equal(other->note.size, 0);
	assert_false(orm_mirror_has_draft(f->mirror));
}

static void failed_draft_is_built_again_with_the_same_handles(void **state)
{
	fixture *f = *state;
	User *user = ADD(f, User, .name = "a");

	build(f);
	assert_int_equal(only_adds(f)->objects->first_handle, OWN(1));
	ADD(f, User, .name = "b");
	build(f);
	assert_int_equal(only_adds(f)->objects->first_handle, OWN(1));
	assert_int_equal(only_adds(f)->objects->values->rows, 2);
	assert_int_equal(orm_mirror_state(f->mirror, user), ORM_PENDING);
	assert_true(orm_mirror_is_dirty(f->mirror, user));
	assert_int_equal(user->id, 0);
}

static void deletes_travel_by_handle(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	const Ormd__V1__Deletes *deletes;

	user->name = "edited and deleted";
	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	assert_ok(f, orm_mirror_delete(f->mirror, user, &f->error));
	build(f);
	assert_int_equal(f->draft.parts[0]->n_updates, 0);
	assert_int_equal(f->draft.n_deletes, 1);
	deletes = f->draft.parts[0]->deletes[0];
	assert_int_equal(deletes->n_handles, 1);
	assert_int_equal(deletes->handles[0], 1);
	accept(f, 0, 0, 0);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void unlinking_sends_null(void **state)
{
	fixture *f = *state;
	Node *node = INSTALL(f, Node, 1, {.id = 1}, {.id = 2, .parent_id = {true, 1}});
	Node *child = orm_object_struct(orm_mirror_by_handle(f->mirror, 2));

	(void)node;
	child->parent = NULL;
	build(f);
	assert_int_equal(find_column(only_updates(f)->objects->values, NODE_PARENT)->nulls.data[0], 1);
	accept(f, 0, 0, 0);
	assert_false(child->parent_id.has);
}

static void key_can_be_changed(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	orm_value key = {.type = ORM_INT64, .integer = 1};

	user->id = 100;
	publish(f, 0, 0, 0);
	assert_null(orm_mirror_by_key(f->mirror, orm_binding_layout(f->binding, &User_model), &key));
	key.integer = 100;
	assert_ptr_equal(
		orm_object_struct(orm_mirror_by_key(f->mirror, orm_binding_layout(f->binding, &User_model), &key)),
		user);
}

/* ---- parts --------------------------------------------------------------------------------------------------- */

static size_t packed_size(const Ormd__V1__Draft *part)
{
	return ormd__v1__draft__get_packed_size(part);
}

static void large_draft_is_cut_into_parts(void **state)
{
	enum { N = 3000, MAX = 20000 };
	fixture *f = *state;
	char text[60];
	size_t rows = 0;
	uint64_t next = OWN(1);

	memset(text, 'a', sizeof text);
	for (size_t i = 0; i < N; i++) {
		text[sizeof text - 1 - i % 40] = '\0';
		ADD(f, User, .name = orm_arena_strdup(&f->arena, text));
		text[sizeof text - 1 - i % 40] = 'a';
	}
	build_limited(f, MAX, 128);
	assert_true(f->draft.n_parts > 5);
	for (size_t p = 0; p < f->draft.n_parts; p++) {
		const Ormd__V1__Draft *part = f->draft.parts[p];

		assert_true(packed_size(part) <= MAX);
		assert_true(p + 1 == f->draft.n_parts || packed_size(part) > MAX / 2);
		for (size_t a = 0; a < part->n_adds; a++) {
			assert_true(part->adds[a]->objects->values->rows <= 128);
			assert_int_equal(part->adds[a]->objects->first_handle, next);
			next += part->adds[a]->objects->values->rows;
			rows += part->adds[a]->objects->values->rows;
		}
	}
	assert_int_equal(rows, N);
	accept(f, OWN(1), 1, N);
	build(f);
	assert_int_equal(f->draft.n_parts, 0);
}

static void one_object_too_large_is_named(void **state)
{
	fixture *f = *state;
	const orm_draft_limits limits = {.max_bytes = 1000};
	char *text = orm_arena_calloc(&f->arena, 2001, 1);

	memset(text, 'a', 2000);
	ADD(f, User, .name = "small");
	ADD(f, User, .name = text);
	assert_int_equal(orm_draft_build(f->mirror, &limits, &f->arena, &f->draft, &f->error), ORM_ELIMIT);
	assert_string_equal(f->error.model, "User");
	assert_string_equal(f->error.column, "name");
}

static void keys_of_nobody_are_refused(void **state)
{
	fixture *f = *state;
	Ormd__V1__KeyRange range = ORMD__V1__KEY_RANGE__INIT;
	Ormd__V1__KeyRange *ranges[] = {&range};

	ADD(f, User, .name = "a");
	build(f);
	range.first_handle = OWN(1);
	range.count = 2;
	assert_int_equal(orm_draft_accept(f->mirror, &f->draft, ranges, 1, &f->error), ORM_EPROTOCOL);
	range.first_handle = OWN(7);
	range.count = 1;
	assert_int_equal(orm_draft_accept(f->mirror, &f->draft, ranges, 1, &f->error), ORM_EPROTOCOL);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(nothing_changed_is_no_draft),
		WITH(adds_travel_in_one_batch),
		WITH(given_members_split_the_batch_in_order),
		WITH(every_type_comes_back_as_it_was),
		WITH(parents_come_before_children),
		WITH(generated_keys_reach_children),
		WITH(families_merge_when_a_key_was_expected),
		WITH(link_to_new_object_travels_as_reference),
		WITH(new_parent_with_a_key_is_referred_to_by_it),
		WITH(only_changed_columns_travel),
		WITH(text_is_lent_until_it_is_accepted),
		WITH(bytes_are_lent_until_they_are_accepted),
		WITH(failed_draft_is_built_again_with_the_same_handles),
		WITH(deletes_travel_by_handle),
		WITH(unlinking_sends_null),
		WITH(key_can_be_changed),
		WITH(large_draft_is_cut_into_parts),
		WITH(one_object_too_large_is_named),
		WITH(keys_of_nobody_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
