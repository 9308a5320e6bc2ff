/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/registry.h"

/* Two related models that a test changes in one place. */
typedef struct models {
	orm_column_spec users[4];
	orm_column_spec posts[5];
	orm_relationship_spec user_relationships[1];
	orm_relationship_spec post_relationships[1];
	orm_model_spec specs[2];
} models;

static void models_init(models *m)
{
	*m = (models){
		.users = {{.name = "id", .type = ORM_INT64, .primary_key = true},
			  {.name = "name", .type = ORM_TEXT, .max_length = 50, .index = true},
			  {.name = "email", .type = ORM_TEXT, .nullable = true, .unique = true, .check = "email <> ''"},
			  {.name = "since", .type = ORM_DATE, .server_default = ORM_DEFAULT_NOW}},
		.posts = {{.name = "id", .type = ORM_INT64, .primary_key = true},
			  {.name = "title", .type = ORM_TEXT},
			  {.name = "user_id",
			   .type = ORM_INT64,
			   .nullable = true,
			   .references_model = "User",
			   .references_column = "id",
			   .on_delete = ORM_CASCADE},
			  {.name = "editor_id",
			   .type = ORM_INT64,
			   .nullable = true,
			   .references_model = "User",
			   .references_column = "id"},
			  {.name = "version", .type = ORM_INT32, .version = true}},
		.user_relationships = {{.name = "posts", .to_many = true, .target = "Post", .reverse = "author"}},
		.post_relationships = {{.name = "author", .target = "User", .reverse = "posts", .via = "user_id"}},
	};
	m->specs[0] = (orm_model_spec){"User", "users", m->users, 4, m->user_relationships, 1};
	m->specs[1] = (orm_model_spec){"Post", "posts", m->posts, 5, m->post_relationships, 1};
}

static orm_registry *make(const orm_model_spec *specs, size_t n)
{
	orm_error error = {.code = ORM_OK};
	orm_registry *registry = orm_registry_new(specs, n, &error);

	if (!registry)
		fail_msg("%s", error.message);
	return registry;
}

static orm_registry *make_default(void)
{
	models m;

	models_init(&m);
	return make(m.specs, 2);
}

static void equal_models_are_equal(void **state)
{
	orm_registry *a = make_default();
	orm_registry *b = make_default();
	orm_error error = {.code = ORM_OK};

	(void)state;
	assert_int_equal(a->hash, b->hash);
	assert_int_equal(a->mappers[1].hash, b->mappers[1].hash);
	assert_int_not_equal(a->mappers[0].hash, a->mappers[1].hash);
	assert_int_equal(orm_registry_compare(a, b, &error), ORM_OK);
	assert_int_equal(error.code, ORM_OK);
	orm_registry_free(a);
	orm_registry_free(b);
}

/* The hash crosses the wire: another number here means that clients and servers of two builds no longer know each
 * other's models. */
static void the_hash_is_the_same_in_every_build(void **state)
{
	const orm_column_spec columns[] = {{.name = "id", .type = ORM_INT64, .primary_key = true},
					   {.name = "name", .type = ORM_TEXT}};
	const orm_model_spec spec = {.name = "User", .table = "users", .columns = columns, .n_columns = 2};
	orm_registry *registry = make(&spec, 1);

	(void)state;
	assert_int_equal(registry->mappers[0].hash, UINT64_C(0xfcabbcd3bc87a855));
	orm_registry_free(registry);
}

static void specs_make_the_same_registry_again(void **state)
{
	orm_registry *a = make_default();
	orm_arena arena;
	orm_error error = {.code = ORM_OK};

	(void)state;
	orm_arena_init(&arena, 0);

	const orm_model_spec *specs = orm_registry_specs(a, &arena);

	assert_non_null(specs);
	assert_string_equal(specs[1].columns[2].references_column, "id");
	assert_int_equal(specs[1].columns[2].on_delete, ORM_CASCADE);
	assert_string_equal(specs[0].relationships[0].via, "user_id");

	orm_registry *b = make(specs, a->n_mappers);

	assert_int_equal(a->hash, b->hash);
	if (orm_registry_compare(a, b, &error) != ORM_OK)
		fail_msg("%s", error.message);

	orm_arena tiny;

	orm_arena_init(&tiny, 64);
	assert_null(orm_registry_specs(a, &tiny));
	orm_arena_fini(&tiny);
	orm_registry_free(a);
	orm_registry_free(b);
	orm_arena_fini(&arena);
}

static void a_spelling_without_a_meaning_is_no_difference(void **state)
{
	models m;
	orm_registry *a = make_default();
	orm_error error;

	(void)state;
	models_init(&m);
	m.user_relationships[0].via = "user_id"; /* what the other side says already */

	orm_registry *b = make(m.specs, 2);

	assert_int_equal(a->hash, b->hash);
	assert_int_equal(orm_registry_compare(a, b, &error), ORM_OK);
	orm_registry_free(a);
	orm_registry_free(b);
}

typedef void change(models *m);

static void change_table(models *m)
{
	m->specs[0].table = "people";
}
static void change_model(models *m)
{
	m->specs[0].name = m->posts[2].references_model = m->posts[3].references_model =
		m->post_relationships[0].target = "Person";
}
static void change_column_name(models *m)
{
	m->users[1].name = "nick";
}
static void change_type(models *m)
{
	m->users[1].type = ORM_BYTES;
}
static void change_key(models *m)
{
	m->posts[1].primary_key = true;
}
static void change_nullable(models *m)
{
	m->users[2].nullable = false;
}
static void change_unique(models *m)
{
	m->users[2].unique = false;
}
static void change_index(models *m)
{
	m->users[1].index = false;
}
static void change_version(models *m)
{
	m->posts[4].version = false;
}
static void change_length(models *m)
{
	m->users[1].max_length = 51;
}
static void change_default(models *m)
{
	m->users[3].server_default = NULL;
}
static void change_check(models *m)
{
	m->users[2].check = "email <> 'x'";
}
static void change_target_column(models *m)
{
	m->posts[3].references_model = m->posts[3].references_column = NULL;
}
static void change_on_delete(models *m)
{
	m->posts[2].on_delete = ORM_SET_NULL;
}
static void add_column(models *m)
{
	m->specs[0].n_columns = 3;
}
static void change_via(models *m)
{
	m->post_relationships[0].via = "editor_id";
}
static void change_relationship_name(models *m)
{
	m->post_relationships[0].name = m->user_relationships[0].reverse = "writer";
}
static void drop_reverse(models *m)
{
	m->user_relationships[0].reverse = m->post_relationships[0].reverse = NULL;
	m->user_relationships[0].via = "user_id";
}
static void drop_relationship(models *m)
{
	m->specs[0].n_relationships = 0;
	m->post_relationships[0].reverse = NULL;
}

static const struct {
	change *change;
	const char *model;
	const char *column;
	const char *message;
} differences[] = {
	{change_table, "User", "", "its table is \"users\" on this side and \"people\" on the other"},
	{change_model, "User", "",
	 "the model's name in this place is \"User\" on this side and \"Person\" on the other"},
	{change_column_name, "User", "name", "is \"name\" on this side and \"nick\""},
	{change_type, "User", "name", "its type is text on this side and bytes"},
	{change_key, "Post", "title", "primary_key is false on this side and true"},
	{change_nullable, "User", "email", "nullable is true on this side and false"},
	{change_unique, "User", "email", "unique is true"},
	{change_index, "User", "name", "index is true"},
	{change_version, "Post", "version", "version is true"},
	{change_length, "User", "name", "max_length is 50 on this side and 51 on the other"},
	{change_default, "User", "since", "server_default is \"ormd:now\" on this side and absent on the other"},
	{change_check, "User", "email", "check is"},
	{change_target_column, "Post", "editor_id", "the referenced model is \"User\" on this side and absent"},
	{change_on_delete, "Post", "user_id", "on_delete is cascade on this side and set null"},
	{add_column, "User", "", "the number of columns is 4 on this side and 3"},
	{change_via, "User", "posts", "its foreign key column is \"user_id\" on this side and \"editor_id\""},
	{change_relationship_name, "User", "posts", "its other side is \"author\" on this side and \"writer\""},
	{drop_reverse, "User", "posts", "its other side is \"author\" on this side and absent"},
	{drop_relationship, "User", "", "the number of relationships is 1 on this side and 0"},
};

static void each_difference_is_found_and_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof differences / sizeof *differences; i++) {
		models m;
		orm_registry *ours = make_default();
		orm_registry *theirs;
		orm_error error = {.code = ORM_OK};

		models_init(&m);
		differences[i].change(&m);
		theirs = make(m.specs, 2);
		assert_int_not_equal(ours->hash, theirs->hash);
		assert_int_equal(orm_registry_compare(ours, theirs, &error), ORM_EMODEL);
		if (error.code != ORM_EMODEL || strcmp(error.model, differences[i].model) != 0 ||
		    strcmp(error.column, differences[i].column) != 0 || !strstr(error.message, differences[i].message))
			fail_msg("difference %zu: \"%s.%s\": %s", i, error.model, error.column, error.message);
		assert_int_equal(orm_registry_compare(theirs, ours, NULL), ORM_EMODEL);
		orm_registry_free(ours);
		orm_registry_free(theirs);
	}
}

static void a_missing_model_is_named(void **state)
{
	models m;
	orm_error error = {.code = ORM_OK};

	(void)state;
	models_init(&m);
	drop_relationship(&m);

	orm_registry *both = make(m.specs, 2);
	orm_registry *one = make(m.specs, 1);

	assert_int_equal(orm_registry_compare(both, one, &error), ORM_EMODEL);
	assert_string_equal(error.model, "Post");
	assert_non_null(strstr(error.message, "on this side only"));
	assert_int_equal(orm_registry_compare(one, both, &error), ORM_EMODEL);
	assert_string_equal(error.model, "Post");
	assert_non_null(strstr(error.message, "on the other side only"));
	orm_registry_free(both);
	orm_registry_free(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_models_are_equal),
		cmocka_unit_test(the_hash_is_the_same_in_every_build),
		cmocka_unit_test(specs_make_the_same_registry_again),
		cmocka_unit_test(a_spelling_without_a_meaning_is_no_difference),
		cmocka_unit_test(each_difference_is_found_and_named),
		cmocka_unit_test(a_missing_model_is_named),
	};

	return cmocka_run_group_tests_name("registry_compare", tests, NULL, NULL);
}
