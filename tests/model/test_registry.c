/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/registry.h"

#define N(array) (sizeof(array) / sizeof *(array))
#define MODEL(model, tab, cols)                                                                                        \
	{                                                                                                              \
		.name = (model), .table = (tab), .columns = (cols), .n_columns = N(cols)                               \
	}
#define MODEL_WITH(model, tab, cols, rels)                                                                             \
	{                                                                                                              \
		.name = (model), .table = (tab), .columns = (cols), .n_columns = N(cols), .relationships = (rels),     \
		.n_relationships = N(rels)                                                                             \
	}
#define ID                                                                                                             \
	{                                                                                                              \
		.name = "id", .type = ORM_INT64, .primary_key = true                                                   \
	}
#define TO(column, model, target)                                                                                      \
	{                                                                                                              \
		.name = (column), .type = ORM_INT64, .references_model = (model), .references_column = (target)        \
	}

static orm_registry *make(const orm_model_spec *specs, size_t n)
{
	orm_error error = {.code = ORM_OK};
	orm_registry *registry = orm_registry_new(specs, n, &error);

	if (!registry)
		fail_msg("%s", error.message);
	return registry;
}

static void a_model_is_resolved(void **state)
{
	char name[] = "users";
	const orm_column_spec columns[] = {
		ID,
		{.name = "name", .type = ORM_TEXT, .max_length = 50, .index = true, .check = "name <> ''"},
		{.name = "email", .type = ORM_TEXT, .nullable = true, .unique = true},
		{.name = "born", .type = ORM_DATE, .server_default = ORM_DEFAULT_NOW},
		{.name = "version", .type = ORM_INT32, .version = true},
	};
	const orm_model_spec spec = MODEL("User", name, columns);
	orm_registry *registry = make(&spec, 1);
	const orm_mapper *user = orm_registry_find(registry, "User");

	(void)state;
	name[0] = 'x'; /* the specs are copied */
	assert_ptr_equal(user, &registry->mappers[0]);
	assert_ptr_equal(user->registry, registry);
	assert_string_equal(user->table, "users");
	assert_int_equal(user->n_columns, 5);
	assert_int_equal(user->n_key, 1);
	assert_int_equal(user->key[0], 0);
	assert_true(user->generated_key);
	assert_true(user->has_defaults);
	assert_int_equal(user->version, 4);
	assert_int_equal(user->depth, 0);
	assert_false(user->in_cycle);
	assert_null(orm_registry_find(registry, "user"));

	const orm_column *email = orm_mapper_column(user, "email");

	assert_int_equal(email->number, 2);
	assert_true(email->nullable && email->unique && !email->index);
	assert_int_equal(email->foreign_key, ORM_NO_NUMBER);
	assert_int_equal(orm_mapper_column(user, "name")->max_length, 50);
	assert_string_equal(orm_mapper_column(user, "name")->check, "name <> ''");
	assert_null(orm_mapper_column(user, "nothing"));
	assert_null(orm_mapper_relationship(user, "posts"));
	orm_registry_free(registry);
	orm_registry_free(NULL);
}

static void two_sides_of_one_foreign_key(void **state)
{
	const orm_column_spec users[] = {ID};
	const orm_column_spec posts[] = {ID,
					 {.name = "user_id",
					  .type = ORM_INT64,
					  .nullable = true,
					  .references_model = "User",
					  .references_column = "id",
					  .on_delete = ORM_SET_NULL}};
	const orm_relationship_spec user_relationships[] = {
		{.name = "posts", .to_many = true, .target = "Post", .reverse = "author"}};
	const orm_relationship_spec post_relationships[] = {{.name = "author", .target = "User", .reverse = "posts"}};
	const orm_model_spec specs[] = {
		MODEL_WITH("Post", "posts", posts,
			   post_relationships), /* the child first: order is the registry's affair */
		MODEL_WITH("User", "users", users, user_relationships),
	};
	orm_registry *registry = make(specs, 2);
	const orm_mapper *post = &registry->mappers[0];
	const orm_mapper *user = &registry->mappers[1];

	(void)state;
	assert_int_equal(post->n_foreign_keys, 1);

	const orm_foreign_key *key = &post->foreign_keys[0];

	assert_ptr_equal(key->target, user);
	assert_int_equal(key->n_columns, 1);
	assert_int_equal(key->columns[0], 1);
	assert_int_equal(key->target_columns[0], 0);
	assert_int_equal(key->on_delete, ORM_SET_NULL);
	assert_true(key->nullable);
	assert_true(key->to_key);
	assert_int_equal(post->columns[1].foreign_key, 0);

	const orm_relationship *author = orm_mapper_relationship(post, "author");
	const orm_relationship *list = orm_mapper_relationship(user, "posts");

	assert_false(author->to_many);
	assert_true(list->to_many);
	assert_ptr_equal(author->reverse, list);
	assert_ptr_equal(list->reverse, author);
	assert_ptr_equal(author->foreign_key, key);
	assert_ptr_equal(list->foreign_key, key);
	assert_ptr_equal(author->target, user);
	assert_ptr_equal(list->target, post);
	assert_ptr_equal(list->mapper, user);

	assert_ptr_equal(registry->by_depth[0], user);
	assert_ptr_equal(registry->by_depth[1], post);
	assert_int_equal(user->depth, 0);
	assert_int_equal(post->depth, 1);
	orm_registry_free(registry);
}

static void a_composite_key_takes_its_columns_in_any_order(void **state)
{
	const orm_column_spec lines[] = {
		{.name = "order_id", .type = ORM_INT64, .primary_key = true},
		{.name = "line_no", .type = ORM_INT32, .primary_key = true},
	};
	const orm_column_spec notes[] = {
		ID,
		{.name = "line_no", .type = ORM_INT32, .references_model = "Line", .references_column = "line_no"},
		{.name = "order_id",
		 .type = ORM_INT64,
		 .references_model = "Line",
		 .references_column = "order_id",
		 .on_delete = ORM_CASCADE},
		/* a second one to the same model */
		{.name = "copy_order_id",
		 .type = ORM_INT64,
		 .nullable = true,
		 .references_model = "Line",
		 .references_column = "order_id"},
		{.name = "copy_line_no", .type = ORM_INT32, .references_model = "Line", .references_column = "line_no"},
	};
	const orm_relationship_spec relationships[] = {
		{.name = "line", .target = "Line", .via = "line_no"},
		{.name = "copy", .target = "Line", .via = "copy_line_no"},
	};
	const orm_model_spec specs[] = {MODEL("Line", "lines", lines),
					MODEL_WITH("Note", "notes", notes, relationships)};
	orm_registry *registry = make(specs, 2);
	const orm_mapper *line = &registry->mappers[0];
	const orm_mapper *note = &registry->mappers[1];

	(void)state;
	assert_false(line->generated_key);
	assert_int_equal(line->n_key, 2);
	assert_int_equal(note->n_foreign_keys, 2);

	const orm_foreign_key *first = &note->foreign_keys[0];
	const orm_foreign_key *second = &note->foreign_keys[1];

	assert_int_equal(first->n_columns, 2);
	assert_int_equal(first->columns[0], 2); /* in the order of the key */
	assert_int_equal(first->columns[1], 1);
	assert_int_equal(first->target_columns[0], 0);
	assert_int_equal(first->target_columns[1], 1);
	assert_int_equal(first->on_delete, ORM_CASCADE); /* said by one of its columns */
	assert_true(first->to_key);
	assert_false(first->nullable);
	assert_int_equal(second->columns[0], 3);
	assert_int_equal(second->columns[1], 4);
	assert_true(second->nullable);
	assert_int_equal(second->on_delete, ORM_NO_ACTION);
	assert_int_equal(note->columns[1].foreign_key, 0);
	assert_int_equal(note->columns[4].foreign_key, 1);
	assert_ptr_equal(note->relationships[0].foreign_key, first);
	assert_ptr_equal(note->relationships[1].foreign_key, second);
	orm_registry_free(registry);
}

static void several_foreign_keys_to_one_model(void **state)
{
	const orm_column_spec users[] = {ID, {.name = "nick", .type = ORM_INT64, .unique = true}};
	const orm_column_spec messages[] = {ID, TO("from_id", "User", "id"), TO("to_id", "User", "id"),
					    TO("nick", "User", "nick")};
	const orm_relationship_spec user_relationships[] = {
		{.name = "sent",
		 .to_many = true,
		 .target = "Message",
		 .reverse = "sender"}, /* the other side says via */
		{.name = "received", .to_many = true, .target = "Message", .reverse = "receiver", .via = "to_id"},
		{.name = "named", .to_many = true, .target = "Message", .via = "nick"},
	};
	const orm_relationship_spec message_relationships[] = {
		{.name = "sender", .target = "User", .reverse = "sent", .via = "from_id"},
		{.name = "receiver", .target = "User", .reverse = "received"},
	};
	const orm_model_spec specs[] = {MODEL_WITH("User", "users", users, user_relationships),
					MODEL_WITH("Message", "messages", messages, message_relationships)};
	orm_registry *registry = make(specs, 2);
	const orm_mapper *user = &registry->mappers[0];
	const orm_mapper *message = &registry->mappers[1];

	(void)state;
	assert_int_equal(message->n_foreign_keys, 3);
	assert_true(message->foreign_keys[0].to_key);
	assert_false(message->foreign_keys[2].to_key);
	assert_ptr_equal(user->relationships[0].foreign_key, &message->foreign_keys[0]);
	assert_ptr_equal(user->relationships[1].foreign_key, &message->foreign_keys[1]);
	assert_ptr_equal(user->relationships[2].foreign_key, &message->foreign_keys[2]);
	assert_null(user->relationships[2].reverse);
	assert_ptr_equal(message->relationships[0].foreign_key, &message->foreign_keys[0]);
	assert_ptr_equal(message->relationships[1].foreign_key, &message->foreign_keys[1]);
	orm_registry_free(registry);
}

static void a_model_that_refers_to_itself(void **state)
{
	orm_column_spec nodes[] = {ID, TO("parent_id", "Node", "id")};
	const orm_relationship_spec relationships[] = {
		{.name = "parent", .target = "Node", .reverse = "children"},
		{.name = "children", .to_many = true, .target = "Node", .reverse = "parent"},
	};
	const orm_model_spec spec = MODEL_WITH("Node", "nodes", nodes, relationships);

	(void)state;
	nodes[1].nullable = true;

	orm_registry *registry = make(&spec, 1);
	const orm_mapper *node = &registry->mappers[0];

	assert_true(node->in_cycle);
	assert_int_equal(node->depth, 0);
	assert_true(node->generated_key);
	assert_ptr_equal(node->relationships[0].foreign_key, &node->foreign_keys[0]);
	assert_ptr_equal(node->relationships[1].foreign_key, &node->foreign_keys[0]);
	assert_ptr_equal(node->relationships[0].reverse, &node->relationships[1]);
	orm_registry_free(registry);
}

static void a_unique_member_of_a_composite_key_may_stand_alone(void **state)
{
	const orm_column_spec pairs[] = {
		{.name = "a", .type = ORM_INT64, .primary_key = true, .unique = true},
		{.name = "b", .type = ORM_INT64, .primary_key = true},
	};
	const orm_column_spec others[] = {ID, TO("a", "Pair", "a")};
	const orm_model_spec specs[] = {MODEL("Pair", "pairs", pairs), MODEL("Other", "others", others)};
	orm_registry *registry = make(specs, 2);

	(void)state;
	assert_int_equal(registry->mappers[1].n_foreign_keys, 1);
	assert_int_equal(registry->mappers[1].foreign_keys[0].n_columns, 1);
	assert_false(registry->mappers[1].foreign_keys[0].to_key);
	orm_registry_free(registry);
}

static void which_keys_are_generated(void **state)
{
	const orm_column_spec by_text[] = {{.name = "code", .type = ORM_TEXT, .primary_key = true}};
	const orm_column_spec by_date[] = {{.name = "day", .type = ORM_DATE, .primary_key = true}};
	const orm_column_spec by_int32[] = {{.name = "id", .type = ORM_INT32, .primary_key = true}};
	const orm_column_spec by_int64[] = {ID};
	const orm_column_spec shared[] = {{.name = "id",
					   .type = ORM_INT64,
					   .primary_key = true,
					   .references_model = "Int64",
					   .references_column = "id"}};
	const orm_model_spec specs[] = {MODEL("Text", "t1", by_text), MODEL("Date", "t2", by_date),
					MODEL("Int32", "t3", by_int32), MODEL("Int64", "t4", by_int64),
					MODEL("Shared", "t5", shared)};
	const bool expected[] = {false, false, true, true, false};
	orm_registry *registry = make(specs, 5);

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(registry->mappers[i].generated_key, expected[i]);
	orm_registry_free(registry);
}

/* Edges "A>B" between models A to Z: A has a foreign key to B. by_depth then reads like "B0 *A1": depth after the name,
 * a star for a cycle. */
static void check_order(const char *edges, size_t n_models, const char *expected)
{
	static char names[26][2];
	static char tables[26][3];
	static char columns_of[26][26][4];
	orm_column_spec columns[26][27] = {{ID}};
	orm_model_spec specs[26];
	char text[128];
	size_t len = 0;

	for (size_t i = 0; i < n_models; i++) {
		snprintf(names[i], sizeof names[i], "%c", (char)('A' + i));
		snprintf(tables[i], sizeof tables[i], "t%c", (char)('A' + i));
		columns[i][0] = (orm_column_spec)ID;
		specs[i] =
			(orm_model_spec){.name = names[i], .table = tables[i], .columns = columns[i], .n_columns = 1};
	}
	for (const char *edge = edges; *edge; edge += edge[3] ? 4 : 3) {
		const size_t from = (size_t)(edge[0] - 'A');
		const size_t to = (size_t)(edge[2] - 'A');

		snprintf(columns_of[from][to], sizeof columns_of[from][to], "to%c", edge[2]);
		columns[from][specs[from].n_columns++] = (orm_column_spec)TO(columns_of[from][to], names[to], "id");
	}

	orm_registry *registry = make(specs, n_models);

	for (size_t i = 0; i < n_models; i++) {
		const orm_mapper *mapper = registry->by_depth[i];
		const orm_mapper *previous = i > 0 ? registry->by_depth[i - 1] : NULL;

		if (previous)
			assert_true(previous->depth <= mapper->depth);
		for (size_t j = 0; j < mapper->n_foreign_keys; j++) {
			const orm_mapper *target = mapper->foreign_keys[j].target;

			assert_true(target->depth < mapper->depth ||
				    (target->in_cycle && mapper->in_cycle && target->depth == mapper->depth));
		}
		if (mapper->in_cycle)
			text[len++] = '*';
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%u ", mapper->name, (unsigned)mapper->depth);
	}
	text[len ? len - 1 : 0] = '\0';
	assert_string_equal(text, expected);
	orm_registry_free(registry);
}

static void parents_come_before_children(void **state)
{
	(void)state;
	check_order("", 3, "A0 B0 C0");
	check_order("A>B", 2, "B0 A1");
	check_order("A>B B>C", 3, "C0 B1 A2");
	check_order("A>B A>C B>C", 3, "C0 B1 A2");
	check_order("A>A", 1, "*A0");
	check_order("A>B B>A", 2, "*A0 *B0");
	check_order("A>B B>C C>A D>A E>F", 6, "*A0 *B0 *C0 F0 D1 E1");
	/* between two cycles, and not in one itself */
	check_order("A>B B>A B>C C>D D>E E>D", 5, "*D0 *E0 C1 *A2 *B2");
	/* a cycle inside a larger one, met from the middle */
	check_order("A>B B>C C>B C>D D>A E>C F>E F>A", 6, "*A0 *B0 *C0 *D0 E1 F2");
	/* below a cycle, and with an edge to a component that is complete already */
	check_order("A>B C>B C>A B>B", 3, "*B0 A1 C2");
}

static void a_chain_of_all_models_needs_no_deep_stack(void **state)
{
	const size_t n = ORM_MAX_MODELS;
	char(*names)[8] = calloc(n, sizeof *names);
	orm_column_spec(*columns)[2] = calloc(n, sizeof *columns);
	orm_model_spec *specs = calloc(n, sizeof *specs);

	(void)state;
	assert_true(names && columns && specs);
	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof names[i], "M%zu", i);
		columns[i][0] = (orm_column_spec)ID;
		columns[i][1] = (orm_column_spec)TO("next", names[(i + 1) % n], "id");
		specs[i] = (orm_model_spec){
			.name = names[i], .table = names[i], .columns = columns[i], .n_columns = i + 1 < n ? 2 : 1};
	}
	for (size_t i = 0; i + 1 < n; i++)
		columns[i][1].references_model = names[i + 1];

	orm_registry *registry = make(specs, n);

	assert_int_equal(registry->mappers[0].depth, n - 1);
	assert_int_equal(registry->mappers[n - 1].depth, 0);
	assert_ptr_equal(registry->by_depth[0], &registry->mappers[n - 1]);
	orm_registry_free(registry);
	free(names);
	free(columns);
	free(specs);
}

static void types_have_names_and_sizes(void **state)
{
	(void)state;
	assert_string_equal(orm_type_name(ORM_BOOL), "bool");
	assert_string_equal(orm_type_name(ORM_DATETIME), "datetime");
	assert_string_equal(orm_type_name((orm_type)77), "unknown");
	assert_int_equal(orm_type_size(ORM_BOOL), 1);
	assert_int_equal(orm_type_size(ORM_DATE), 4);
	assert_int_equal(orm_type_size(ORM_DOUBLE), 8);
	assert_int_equal(orm_type_size(ORM_TEXT), 0);
	assert_int_equal(orm_type_size((orm_type)77), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_is_resolved),
		cmocka_unit_test(two_sides_of_one_foreign_key),
		cmocka_unit_test(a_composite_key_takes_its_columns_in_any_order),
		cmocka_unit_test(several_foreign_keys_to_one_model),
		cmocka_unit_test(a_model_that_refers_to_itself),
		cmocka_unit_test(a_unique_member_of_a_composite_key_may_stand_alone),
		cmocka_unit_test(which_keys_are_generated),
		cmocka_unit_test(parents_come_before_children),
		cmocka_unit_test(a_chain_of_all_models_needs_no_deep_stack),
		cmocka_unit_test(types_have_names_and_sizes),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
