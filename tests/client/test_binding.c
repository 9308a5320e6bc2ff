/* SPDX-License-Identifier: MIT */
#include "client/mirror_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void layouts_know_members(void **state)
{
	const fixture *f = *state;
	const orm_layout *user = orm_binding_layout(f->binding, &User_model);
	const orm_member *joined = orm_layout_member_at(user, offsetof(User, joined));

	assert_int_equal(user->n_members, 5);
	assert_int_equal(user->n_relations, 1);
	assert_string_equal(user->mapper->name, "User");
	assert_int_equal(joined->column, USER_JOINED);
	assert_true(joined->optional);
	assert_true(joined->has_default);
	assert_int_equal(joined->value_offset, offsetof(User, joined) + offsetof(orm_opt_datetime, value));
	assert_int_equal(joined->size, sizeof(orm_opt_datetime));
	assert_true(user->integer_key);
	assert_null(orm_layout_member_at(user, offsetof(User, posts)));
	assert_null(orm_layout_relation_at(user, offsetof(User, name)));
	assert_false(user->fields[5].is_column);
	assert_int_equal(user->fields[4].number, USER_VERSION);
}

static void both_sides_are_one_association(void **state)
{
	const fixture *f = *state;
	const orm_layout *user = orm_binding_layout(f->binding, &User_model);
	const orm_layout *post = orm_binding_layout(f->binding, &Post_model);
	const orm_relation *posts = orm_layout_relation_at(user, offsetof(User, posts));
	const orm_relation *author = orm_layout_relation_at(post, offsetof(Post, author));

	assert_ptr_equal(posts->association, author->association);
	assert_ptr_equal(posts->reverse, author);
	assert_ptr_equal(posts->association->child, post);
	assert_ptr_equal(posts->association->parent, user);
	assert_true(posts->association->integer);
	assert_ptr_equal(post->out[0], posts->association);
	assert_ptr_equal(user->in[0], posts->association);
	assert_int_equal(post->members[POST_USER_ID].association, 0);
	assert_true(user->members[USER_ID].referenced);

	const orm_layout *city = orm_binding_layout(f->binding, &City_model);

	assert_false(city->out[0]->integer);
	assert_int_equal(city->out[0]->n_lists, 1);
	assert_int_equal(city->out[0]->n_pointers, 1);
}

static void column_names_differ_from_members(void **state)
{
	const fixture *f = *state;
	const orm_layout *node = orm_binding_layout(f->binding, &Node_model);

	assert_string_equal(node->mapper->columns[NODE_PARENT].name, "parent_no");
	assert_int_equal(node->relations[0].association->child_columns[0], NODE_PARENT);
}

static void unknown_model_has_no_layout(void **state)
{
	const fixture *f = *state;
	const orm_model other = User_model;

	assert_null(orm_binding_layout(f->binding, &other));
}

static void refused(const orm_model *const models[], const char *model, const char *column, const char *text)
{
	orm_error error = {0};
	orm_binding *binding = orm_binding_new(models, &error);

	assert_null(binding);
	assert_int_equal(error.code, ORM_EINVAL);
	assert_string_equal(error.model, model);
	assert_string_equal(error.column, column);
	if (!strstr(error.message, text))
		fail_msg("'%s' does not say '%s'", error.message, text);
}

static void model_that_is_not_listed_is_named(void **state)
{
	(void)state;
	refused((const orm_model *const[]){&Post_model, NULL}, "Post", "user_id", "&User_model");
}

static void no_models_are_refused(void **state)
{
	(void)state;
	refused((const orm_model *const[]){NULL}, "", "", "0 models");
}

static void plain_scalar_cannot_be_nullable(void **state)
{
	static const orm_field fields[] = {{ORM_COLUMN(User, id), .primary_key = true},
					   {ORM_COLUMN(User, version), .nullable = true}};
	const orm_model model = {
		.name = "User", .table = "users", .fields = fields, .n_fields = 2, .size = sizeof(User)};

	(void)state;
	refused((const orm_model *const[]){&model, NULL}, "User", "version", "orm_opt_");
}

static void version_must_be_an_integer(void **state)
{
	static const orm_field fields[] = {{ORM_COLUMN(User, id), .primary_key = true},
					   {ORM_COLUMN(User, name), .version = true}};
	const orm_model model = {
		.name = "User", .table = "users", .fields = fields, .n_fields = 2, .size = sizeof(User)};

	(void)state;
	refused((const orm_model *const[]){&model, NULL}, "User", "name", "version");
}

static void same_model_twice_is_refused(void **state)
{
	orm_error error = {0};

	(void)state;
	assert_null(orm_binding_new((const orm_model *const[]){&Line_model, &Line_model, NULL}, &error));
	assert_int_equal(error.code, ORM_EINVAL);
}

static void members_carry_every_type(void **state)
{
	const fixture *f = *state;
	const orm_layout *line = orm_binding_layout(f->binding, &Line_model);
	const Line one = {.order_no = -5,
			  .pos = 3,
			  .amount = -0.5,
			  .done = true,
			  .note = {"ab", 2},
			  .day = {-7},
			  .at = {86399999999},
			  .maybe = {true, true},
			  .rate = {true, 2.5},
			  .due = {true, {4}},
			  .until = {true, {9}}};
	Line two;

	memset(&two, 0xaa, sizeof two);
	for (uint16_t i = 0; i < line->n_members; i++) {
		orm_value value;

		orm_member_get(&line->members[i], &one, &value);
		assert_false(value.null);
		assert_false(orm_member_equal(&line->members[i], &one, &two) && line->members[i].type != ORM_BOOL);
		orm_member_set(&line->members[i], &two, &value);
		assert_true(orm_member_equal(&line->members[i], &one, &two));
	}
	assert_int_equal(two.until.value.us, 9);
	assert_true(two.maybe.value);
}

static void nulls_are_equal_whatever_they_hold(void **state)
{
	const fixture *f = *state;
	const orm_layout *line = orm_binding_layout(f->binding, &Line_model);
	const Line one = {.rate = {false, 1.0}};
	const Line two = {.rate = {false, 2.0}};
	const Line empty = {.note = {"", 0}};

	assert_true(orm_member_equal(orm_layout_member_at(line, offsetof(Line, rate)), &one, &two));
	assert_true(orm_member_is_null(orm_layout_member_at(line, offsetof(Line, note)), &one));
	assert_false(orm_member_is_null(orm_layout_member_at(line, offsetof(Line, note)), &empty));
	assert_false(orm_member_equal(orm_layout_member_at(line, offsetof(Line, note)), &one, &empty));
}

/* Read an unloaded relationship in a child process; what it printed, and the signal it died of. */
static int die_of(const void *address, char *text, size_t size)
{
	int ends[2], status;
	size_t len = 0;
	ssize_t got;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		orm_explain_faults();
		_exit(*(const volatile char *)address);
	}
	close(ends[1]);
	while ((got = read(ends[0], text + len, size - 1 - len)) > 0)
		len += (size_t)got;
	close(ends[0]);
	text[len] = '\0';
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void fault_names_the_relationship(void **state)
{
	fixture *f = *state;
	User *user = INSTALL(f, User, 1, {.id = 1, .name = "a"});
	Post *post = INSTALL(f, Post, 2, {.id = 2, .title = "t", .user_id = 99});
	char text[4096];

	assert_int_equal(die_of(user->posts.items, text, sizeof text), SIGSEGV);
	assert_non_null(strstr(text, "User.posts is not loaded: call orm_load(s, user, &user->posts) first\n"));
	assert_int_equal(die_of(&post->author->name, text, sizeof text), SIGSEGV);
	assert_non_null(strstr(text, "Post.author is not loaded"));
	assert_null(orm_guard_explanation(f));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH(layouts_know_members),
		WITH(both_sides_are_one_association),
		WITH(column_names_differ_from_members),
		WITH(unknown_model_has_no_layout),
		cmocka_unit_test(model_that_is_not_listed_is_named),
		cmocka_unit_test(no_models_are_refused),
		cmocka_unit_test(plain_scalar_cannot_be_nullable),
		cmocka_unit_test(version_must_be_an_integer),
		cmocka_unit_test(same_model_twice_is_refused),
		WITH(members_carry_every_type),
		WITH(nulls_are_equal_whatever_they_hold),
		WITH(fault_names_the_relationship),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
