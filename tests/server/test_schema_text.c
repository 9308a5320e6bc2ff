/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <orm/types.h>

#include "server/schema_text.h"

static Ormd__V1__ColumnSpec columns[8];
static Ormd__V1__ColumnSpec *user_columns[] = {&columns[0], &columns[1]};
static Ormd__V1__ColumnSpec *post_columns[] = {&columns[2], &columns[3], &columns[4]};
static Ormd__V1__RelationshipSpec relationship;
static Ormd__V1__RelationshipSpec *post_relationships[] = {&relationship};
static Ormd__V1__ModelSpec user, post;
static Ormd__V1__ModelSpec *models[] = {&post, &user};
static orm_buffer out;

static Ormd__V1__ColumnSpec column(char *name, Ormd__V1__Type type)
{
	Ormd__V1__ColumnSpec spec = ORMD__V1__COLUMN_SPEC__INIT;

	spec.name = name;
	spec.has_type = true;
	spec.type = type;
	return spec;
}

/* users(id, name unique) <- posts(id, title, author_id) */
static int set_up(void **state)
{
	(void)state;
	columns[0] = column("id", ORMD__V1__TYPE__TYPE_INT64);
	columns[0].primary_key = true;
	columns[1] = column("name", ORMD__V1__TYPE__TYPE_TEXT);
	columns[1].unique = true;
	columns[1].max_length = 50;
	columns[2] = columns[0];
	columns[3] = column("title", ORMD__V1__TYPE__TYPE_TEXT);
	columns[4] = column("author_id", ORMD__V1__TYPE__TYPE_INT64);
	columns[4].nullable = true;
	columns[4].references_model = "User";
	columns[4].references_column = "id";
	columns[4].has_on_delete = true;
	columns[4].on_delete = ORM_CASCADE;
	user = (Ormd__V1__ModelSpec)ORMD__V1__MODEL_SPEC__INIT;
	user.name = "User";
	user.table = "users";
	user.columns = user_columns;
	user.n_columns = 2;
	post = user;
	post.name = "Post";
	post.table = "posts";
	post.columns = post_columns;
	post.n_columns = 3;
	relationship = (Ormd__V1__RelationshipSpec)ORMD__V1__RELATIONSHIP_SPEC__INIT;
	relationship.name = "author";
	relationship.target = "User";
	relationship.reverse = "posts";
	relationship.via = "author_id";
	post.relationships = post_relationships;
	post.n_relationships = 1;
	orm_buffer_init(&out);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	orm_buffer_fini(&out);
	return 0;
}

static void print(size_t n_models, schema_format format)
{
	orm_buffer_reset(&out);
	schema_text_print(models, n_models, format, &out);
	assert_false(out.failed);
}

static void formats_have_names(void **state)
{
	schema_format format = SCHEMA_DOT;

	(void)state;
	assert_true(schema_format_parse("text", &format));
	assert_int_equal(format, SCHEMA_TEXT);
	assert_true(schema_format_parse("dot", &format));
	assert_int_equal(format, SCHEMA_DOT);
	assert_true(schema_format_parse("mermaid", &format));
	assert_int_equal(format, SCHEMA_MERMAID);
	assert_false(schema_format_parse("svg", &format));
}

static void text_lists_columns_and_relationships(void **state)
{
	(void)state;
	print(2, SCHEMA_TEXT);
	assert_string_equal(out.data, "Post (table posts)\n"
				      "  id         int64       primary key\n"
				      "  title      text      \n"
				      "  author_id  int64       null  -> User.id, deleted along\n"
				      "  author     User  by Post.author_id  <-> User.posts\n"
				      "\n"
				      "User (table users)\n"
				      "  id    int64       primary key\n"
				      "  name  text(50)    unique\n");
}

static void dot_draws_tables_and_foreign_keys(void **state)
{
	(void)state;
	print(2, SCHEMA_DOT);
	assert_memory_equal(out.data, "digraph models {\n", strlen("digraph models {\n"));
	assert_non_null(strstr(out.data, "<b>Post</b> (posts)"));
	assert_non_null(strstr(out.data, "<u>id</u> <i>int64</i>"));
	assert_non_null(strstr(out.data, "name <i>text(50)</i> unique"));
	assert_non_null(strstr(out.data, "\tm0:c2 -> m1:c0 [dir=both, arrowtail=crowodot, arrowhead=teeodot];\n}\n"));
}

static void dot_quotes_what_means_something_to_it(void **state)
{
	(void)state;
	user.table = "a<b>&\"c";
	print(2, SCHEMA_DOT);
	assert_non_null(strstr(out.data, "(a&lt;b&gt;&amp;&quot;c)"));
}

static void mermaid_draws_entities_and_foreign_keys(void **state)
{
	(void)state;
	print(2, SCHEMA_MERMAID);
	assert_string_equal(out.data, "erDiagram\n"
				      "\tPost {\n"
				      "\t\tint64 id PK\n"
				      "\t\ttext title\n"
				      "\t\tint64 author_id FK \"null\"\n"
				      "\t}\n"
				      "\tUser {\n"
				      "\t\tint64 id PK\n"
				      "\t\ttext name UK\n"
				      "\t}\n"
				      "\tUser |o--o{ Post : author_id\n");
}

static void mermaid_names_are_words(void **state)
{
	(void)state;
	columns[3].name = "1st \"title\"";
	print(2, SCHEMA_MERMAID);
	assert_non_null(strstr(out.data, "\t\ttext _1st__title_\n"));
}

static void a_unique_foreign_key_is_one_to_one(void **state)
{
	(void)state;
	columns[4].unique = true;
	columns[4].nullable = false;
	print(2, SCHEMA_MERMAID);
	assert_non_null(strstr(out.data, "\tUser ||--o| Post : author_id\n"));
}

static void two_columns_to_one_key_are_two_edges(void **state)
{
	const char *edge;

	(void)state;
	columns[3] = columns[4];
	columns[3].name = "editor_id";
	print(2, SCHEMA_MERMAID);
	edge = strstr(out.data, ": editor_id\n");
	assert_non_null(edge);
	assert_non_null(strstr(edge, ": author_id\n"));
}

static void columns_to_a_composite_key_are_one_edge(void **state)
{
	(void)state;
	columns[1].primary_key = true; /* the key of User is now (id, name) */
	columns[3] = columns[4];
	columns[3].name = "author_name";
	columns[3].references_column = "name";
	print(2, SCHEMA_MERMAID);
	assert_non_null(strstr(out.data, ": author_name\n"));
	assert_null(strstr(out.data, ": author_id\n"));
}

static void an_edge_to_nowhere_is_left_out(void **state)
{
	(void)state;
	print(1, SCHEMA_MERMAID);
	assert_null(strstr(out.data, "--"));
	print(1, SCHEMA_DOT);
	assert_null(strstr(out.data, "->"));
}

static void two_versions_of_a_model_are_told_apart(void **state)
{
	Ormd__V1__ModelSpec other = user;
	Ormd__V1__ModelSpec *both[] = {&user, &other};

	(void)state;
	schema_text_print(both, 2, SCHEMA_MERMAID, &out);
	assert_non_null(strstr(out.data, "\tUser {"));
	assert_non_null(strstr(out.data, "\tUser_2 {"));
}

/* All fields of the wire are optional: nothing here may rely on them. */
static void what_is_missing_shows_as_a_question_mark(void **state)
{
	Ormd__V1__ColumnSpec nothing = ORMD__V1__COLUMN_SPEC__INIT;
	Ormd__V1__RelationshipSpec none = ORMD__V1__RELATIONSHIP_SPEC__INIT;
	Ormd__V1__ColumnSpec *nothings[] = {&nothing};
	Ormd__V1__RelationshipSpec *nones[] = {&none};
	Ormd__V1__ModelSpec empty = ORMD__V1__MODEL_SPEC__INIT;
	Ormd__V1__ModelSpec *list[] = {&empty};

	(void)state;
	empty.columns = nothings;
	empty.n_columns = 1;
	empty.relationships = nones;
	empty.n_relationships = 1;
	nothing.has_type = true;
	nothing.type = (Ormd__V1__Type)1000;
	for (int format = SCHEMA_TEXT; format <= SCHEMA_MERMAID; format++) {
		orm_buffer_reset(&out);
		schema_text_print(list, 1, (schema_format)format, &out);
		assert_non_null(strchr(out.data, format == SCHEMA_MERMAID ? '_' : '?'));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(formats_have_names),
		TEST(text_lists_columns_and_relationships),
		TEST(dot_draws_tables_and_foreign_keys),
		TEST(dot_quotes_what_means_something_to_it),
		TEST(mermaid_draws_entities_and_foreign_keys),
		TEST(mermaid_names_are_words),
		TEST(a_unique_foreign_key_is_one_to_one),
		TEST(two_columns_to_one_key_are_two_edges),
		TEST(columns_to_a_composite_key_are_one_edge),
		TEST(an_edge_to_nowhere_is_left_out),
		TEST(two_versions_of_a_model_are_told_apart),
		TEST(what_is_missing_shows_as_a_question_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
