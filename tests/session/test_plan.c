/* SPDX-License-Identifier: MIT */
/* Plans as text: which statements, of which columns, for which rows, in which order. */
#include "session/database_support.h"

#include <string.h>

#include "session/plan.h"

/* "INSERT User(id name email) 1 2; DELETE Post 7" in the fixture's arena. */
static const char *plan_text(fixture *f)
{
	static const char *const kinds[] = {"INSERT", "UPDATE", "DELETE"};
	static const char *const phases[] = {"", " ahead", " later"};
	static const char *const stand_ins[] = {"", "=NULL", "=?"};
	orm_arena arena;
	orm_buffer text;
	ormd_plan plan;
	char *copy;

	orm_arena_init(&arena, 0);
	orm_buffer_init(&text);
	assert_ok(f, ormd_plan_make(f->session, &arena, &plan, &f->error));
	for (size_t i = 0; i < plan.n_steps; i++) {
		const ormd_plan_step *step = &plan.steps[i];

		orm_buffer_printf(&text, "%s%s%s %s(", i > 0 ? "; " : "", kinds[step->kind], phases[step->phase],
				  step->mapper->name);
		for (uint16_t j = 0; j < step->shape.n_columns; j++)
			orm_buffer_printf(&text, "%s%s%s", j > 0 ? " " : "",
					  step->mapper->columns[step->shape.columns[j]].name,
					  step->shape.stand_ins ? stand_ins[step->shape.stand_ins[j]] : "");
		orm_buffer_puts(&text, ")");
		for (size_t j = 0; j < step->n_objects; j++)
			orm_buffer_printf(&text, " %lld", (long long)key_of(f, step->objects[j]->handle));
	}
	copy = orm_arena_strdup(&f->arena, text.data ? text.data : "");
	orm_buffer_fini(&text);
	orm_arena_fini(&arena);
	return copy;
}

static void nothing_pending_is_no_step(void **state)
{
	assert_string_equal(plan_text(*state), "");
}

static void parents_first_in_the_order_of_adding(void **state)
{
	fixture *f = *state;

	add(f, "Post", "id title user_id reviewer_id", 5LL, "b", 2LL, NO_VALUE);
	add(f, "Post", "id title user_id reviewer_id", 4LL, "a", 1LL, NO_VALUE);
	add(f, "User", "id name", 2LL, "Bob");
	add(f, "User", "id name", 1LL, "Ann");
	assert_string_equal(plan_text(f),
			    "INSERT User(id name email) 2 1; INSERT Post(id title user_id reviewer_id) 5 4");
}

static void order_of_adding_survives_later_changes(void **state)
{
	fixture *f = *state;
	const uint64_t first = add(f, "User", "id name", 1LL, "Ann");

	add(f, "User", "id name", 2LL, "Bob");
	set(f, first, "name", "Anna");
	assert_string_equal(plan_text(f), "INSERT User(id name email) 1 2");
}

static void updates_of_one_shape_together(void **state)
{
	fixture *f = *state;
	uint64_t users[4];

	for (int i = 0; i < 4; i++)
		users[i] = add(f, "User", "name email", "x", NULL);
	commit(f);
	set(f, users[0], "name", "a");
	set(f, users[1], "email", "b@x");
	set(f, users[2], "name", "c");
	set(f, users[3], "email", "d@x");
	assert_non_null(strstr(plan_text(f), "UPDATE User(name) 1 3"));
	assert_non_null(strstr(plan_text(f), "UPDATE User(email) 2 4"));
}

static void columns_left_to_the_server_make_another_shape(void **state)
{
	fixture *f = *state;

	add(f, "Account", "owner balance", "ann", 1LL);
	add(f, "Account", "owner balance", "bob", 1LL);
	add(f, "Account", "owner balance note", "cat", 1LL, "mine");
	assert_string_equal(
		plan_text(f),
		"INSERT Account(id owner balance version) 1 2; INSERT Account(id owner balance version note) 3");
}

static void deletes_children_first_and_last_of_all(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "User", "name", "Ann");
	const uint64_t bob = add(f, "User", "name", "Bob");
	const uint64_t post =
		add(f, "Post", "title user_id reviewer_id", "a", (long long)key_of(f, bob), (long long)key_of(f, ann));

	commit(f);
	del(f, post);
	del(f, ann);
	set(f, bob, "name", "Bobby");
	add(f, "User", "name", "Cat");
	assert_string_equal(plan_text(f),
			    "INSERT User(id name email) 3; UPDATE User(name) 2; DELETE Post() 1; DELETE User() 1");
}

static void what_the_database_cascades_is_not_repeated(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "User", "name", "Ann");
	const uint64_t post = add(f, "Post", "title user_id reviewer_id", "a", (long long)key_of(f, ann), NO_VALUE);

	commit(f);
	del(f, post);
	del(f, ann);
	assert_string_equal(plan_text(f), "DELETE User() 1");
}

static void circle_is_broken_by_a_second_statement(void **state)
{
	fixture *f = *state;

	add(f, "Node", "id name parent_id", 1LL, "a", 2LL);
	add(f, "Node", "id name parent_id", 2LL, "b", 1LL);
	assert_string_equal(plan_text(f), "INSERT Node(id name parent_id=NULL) 1; INSERT Node(id name parent_id) 2; "
					  "UPDATE later Node(parent_id) 1");
}

static void circle_of_deletions_lets_go_ahead(void **state)
{
	fixture *f = *state;
	const uint64_t one = add(f, "Node", "id name parent_id", 1LL, "a", 2LL);
	const uint64_t two = add(f, "Node", "id name parent_id", 2LL, "b", 1LL);

	commit(f);
	del(f, one);
	del(f, two);
	assert_non_null(strstr(plan_text(f), "UPDATE ahead Node(parent_id=NULL)"));
}

static void swap_goes_through_a_value_that_nobody_has(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "Account", "owner balance", "ann", 1LL);
	const uint64_t bob = add(f, "Account", "owner balance", "bob", 1LL);

	commit(f);
	set(f, ann, "owner", "bob");
	set(f, bob, "owner", "ann");
	assert_string_equal(plan_text(f),
			    "UPDATE Account(owner=?) 1; UPDATE Account(owner) 2; UPDATE later Account(owner) 1");
}

static void rows_that_wait_for_nothing_stay_together(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "User", "name email", "Ann", "a@x");

	commit(f);
	for (int i = 0; i < 3; i++)
		add(f, "User", "name", "x");
	del(f, ann);
	add(f, "User", "name email", "y", "a@x");
	assert_string_equal(plan_text(f),
			    "INSERT User(id name email) 2 3 4; DELETE User() 1; INSERT User(id name email) 5");
}

static void row_switch_is_one_update(void **state)
{
	fixture *f = *state;
	const uint64_t line = add(f, "Line", "order_no no text", 7LL, 1LL, "one");

	commit(f);
	del(f, line);
	add(f, "Line", "order_no no text", 7LL, 1LL, "uno");
	assert_string_equal(plan_text(f), "UPDATE Line(text) 7");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(nothing_pending_is_no_step),
		TEST(parents_first_in_the_order_of_adding),
		TEST(order_of_adding_survives_later_changes),
		TEST(updates_of_one_shape_together),
		TEST(columns_left_to_the_server_make_another_shape),
		TEST(deletes_children_first_and_last_of_all),
		TEST(what_the_database_cascades_is_not_repeated),
		TEST(circle_is_broken_by_a_second_statement),
		TEST(circle_of_deletions_lets_go_ahead),
		TEST(swap_goes_through_a_value_that_nobody_has),
		TEST(rows_that_wait_for_nothing_stay_together),
		TEST(row_switch_is_one_update),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
