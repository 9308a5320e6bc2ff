/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/registry.h"

/* A model that is wrong in one way, what the error names, and a part of what it says. Where needed, "User" and "Line"
 * are there, too. */
typedef struct mistake {
	const char *what;
	const char *model; /* as the error names them; "" where it cannot */
	const char *column;
	const char *message;
	const char *name;  /* of the model; NULL: "M" */
	const char *table; /* NULL: "m" */
	orm_column_spec columns[4];
	orm_relationship_spec relationships[2];
	bool no_columns;
} mistake;

#define LONG_NAME                                                                                                      \
	"a123456789b123456789c123456789d123456789e123456789f123456789_64b" /* one byte more than ORM_MAX_NAME */
#define ID                                                                                                             \
	{                                                                                                              \
		.name = "id", .type = ORM_INT64, .primary_key = true                                                   \
	}
#define REF(model, column) .references_model = (model), .references_column = (column)

static const orm_column_spec user_columns[] = {
	{.name = "id", .type = ORM_INT64, .primary_key = true},
	{.name = "name", .type = ORM_TEXT},
	{.name = "email", .type = ORM_TEXT, .unique = true},
	{.name = "m_id", .type = ORM_INT64, .nullable = true, REF("M", "id")},
};
static const orm_relationship_spec user_relationships[] = {
	{.name = "ms", .to_many = true, .target = "M", .reverse = "user"},
	{.name = "lone", .to_many = true, .target = "M", .via = "user_id"},
	{.name = "back", .target = "M", .reverse = "user"},
	{.name = "many", .to_many = true, .target = "M", .reverse = "users"},
};
static const orm_column_spec line_columns[] = {
	{.name = "order_id", .type = ORM_INT64, .primary_key = true},
	{.name = "line_no", .type = ORM_INT64, .primary_key = true},
};

static const mistake alone[] = {
	/* names */
	{"no name", "", "", "model 0 has no name", .name = "", .columns = {ID}},
	{"long name", "", "", "model 0 has a name of more than 63 bytes", .name = LONG_NAME, .columns = {ID}},
	{"name not UTF-8", "", "", "not valid UTF-8", .name = "M\xFF", .columns = {ID}},
	{"name with a newline", "", "", "control character", .name = "M\n", .columns = {ID}},
	{"no table", "M", "", "table has no name", .table = "", .columns = {ID}},
	{"long table", "M", "", "table has a name of more than 63 bytes", .table = LONG_NAME, .columns = {ID}},
	{"ormd's table", "M", "", "\"ormd_\" are ormd's own", .table = "Ormd_commit", .columns = {ID}},
	{"no columns", "M", "", "has no columns", .no_columns = true},
	{"column without a name", "M", "", "column 1 has no name", .columns = {ID, {.name = "", .type = ORM_TEXT}}},
	{"long column", "M", "", "column 1 has a name of more than 63",
	 .columns = {ID, {.name = LONG_NAME, .type = ORM_TEXT}}},
	{"column not UTF-8", "M", "", "column 1 has a name that is not valid UTF-8",
	 .columns = {ID, {.name = "\xC0\x80", .type = ORM_TEXT}}},
	{"doubled column", "M", "a", "declared twice",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT}, {.name = "a", .type = ORM_TEXT}}},
	{"doubled but for case", "M", "A", "declared twice",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT}, {.name = "A", .type = ORM_TEXT}}},
	/* keys */
	{"no key", "M", "", "no primary key", .columns = {{.name = "a", .type = ORM_INT64}}},
	{"nullable key", "M", "id", "never NULL",
	 .columns = {{.name = "id", .type = ORM_INT64, .primary_key = true, .nullable = true}}},
	{"key of doubles", "M", "id", "does not compare exactly",
	 .columns = {{.name = "id", .type = ORM_DOUBLE, .primary_key = true}}},
	/* types and flags */
	{"no type", "M", "a", "no type", .columns = {ID, {.name = "a"}}},
	{"unknown type", "M", "a", "no type", .columns = {ID, {.name = "a", .type = (orm_type)(ORM_TYPE_MAX + 1)}}},
	{"length of an integer", "M", "a", "max_length",
	 .columns = {ID, {.name = "a", .type = ORM_INT32, .max_length = 3}}},
	{"precision of an integer", "M", "a", "only decimals have",
	 .columns = {ID, {.name = "a", .type = ORM_INT32, .precision = 3}}},
	{"scale alone", "M", "a", "without a precision",
	 .columns = {ID, {.name = "a", .type = ORM_DECIMAL, .scale = 3}}},
	{"precision of 39", "M", "a", "more than 38",
	 .columns = {ID, {.name = "a", .type = ORM_DECIMAL, .precision = 39}}},
	{"scale over precision", "M", "a", "larger than its precision",
	 .columns = {ID, {.name = "a", .type = ORM_DECIMAL, .precision = 3, .scale = 4}}},
	{"decimal key", "M", "id", "a decimal and a key",
	 .columns = {{.name = "id", .type = ORM_DECIMAL, .primary_key = true}}},
	{"default that is no number", "M", "a", "not a number that fits",
	 .columns = {ID, {.name = "a", .type = ORM_DECIMAL, .server_default = "1 + 1"}}},
	{"default that is too fine", "M", "a", "not a number that fits",
	 .columns = {ID, {.name = "a", .type = ORM_DECIMAL, .precision = 5, .scale = 2, .server_default = "0.125"}}},
	{"JSON key", "M", "id", "JSON and a key", .columns = {{.name = "id", .type = ORM_JSON, .primary_key = true}}},
	{"unique JSON", "M", "a", "unique or indexed",
	 .columns = {ID, {.name = "a", .type = ORM_JSON, .unique = true}}},
	{"indexed JSON", "M", "a", "unique or indexed",
	 .columns = {ID, {.name = "a", .type = ORM_JSON, .index = true}}},
	{"now for text", "M", "a", "make it a date, time or datetime",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = ORM_DEFAULT_NOW}}},
	{"text version", "M", "v", "make it int32 or int64",
	 .columns = {ID, {.name = "v", .type = ORM_TEXT, .version = true}}},
	{"nullable version", "M", "v", "remove nullable",
	 .columns = {ID, {.name = "v", .type = ORM_INT32, .version = true, .nullable = true}}},
	{"version as key", "M", "v", "cannot be a key",
	 .columns = {{.name = "v", .type = ORM_INT32, .version = true, .primary_key = true}}},
	{"two versions", "M", "w", "this and v",
	 .columns = {ID,
		     {.name = "v", .type = ORM_INT32, .version = true},
		     {.name = "w", .type = ORM_INT32, .version = true}}},
	{"half a reference", "M", "a", "name both",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .references_model = "User"}}},
	{"on_delete alone", "M", "a", "references nothing",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .on_delete = ORM_CASCADE}}},
	{"unknown on_delete", "M", "a", "on_delete that ormd does not know",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .on_delete = (orm_on_delete)5}}},
	{"set null, not nullable", "M", "a", "make it nullable",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("M", "id"), .on_delete = ORM_SET_NULL}}},
	{"set default, without one", "M", "a", "server_default",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("M", "id"), .on_delete = ORM_SET_DEFAULT}}},
	/* SQL expressions */
	{"empty check", "M", "a", "the check is empty",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .check = " \t"}}},
	{"empty default", "M", "a", "the server_default is empty",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .server_default = ""}}},
	{"check that ends the table", "M", "a", "closes a parenthesis",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .check = "a > 0)); DROP TABLE users; --"}}},
	{"two statements", "M", "a", "semicolon",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .check = "a > 0; DROP TABLE users"}}},
	{"comment", "M", "a", "comment",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .check = "a > 0 -- and so on"}}},
	{"long comment", "M", "a", "comment", .columns = {ID, {.name = "a", .type = ORM_INT64, .check = "a /* > 0"}}},
	{"open parenthesis", "M", "a", "does not close a parenthesis",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, .check = "(a > 0"}}},
	{"open quote", "M", "a", "does not close a quote",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = "'new"}}},
	{"doubled quote left open", "M", "a", "does not close a quote",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = "'it''s"}}},
	{"backslash", "M", "a", "backslash",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = "'\\'')'"}}},
	{"dollar quote", "M", "a", "'$' or '#'",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = "$$'$$ ) '"}}},
	{"bracket", "M", "a", "closes a bracket", .columns = {ID, {.name = "a", .type = ORM_TEXT, .check = "a]"}}},
	{"quote in brackets", "M", "a", "quote inside brackets",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .check = "[a'] ) '"}}},
	{"expression not UTF-8", "M", "a", "not valid UTF-8",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, .server_default = "'\xFF'"}}},
	/* foreign keys */
	{"unknown model", "M", "a", "references Nobody.id, but there is no such model",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("Nobody", "id")}}},
	{"itself", "M", "id", "which is itself",
	 .columns = {{.name = "id", .type = ORM_INT64, .primary_key = true, REF("M", "id")}}},
	/* relationships */
	{"no relationship name", "M", "", "relationship 0 has no name", .columns = {ID},
	 .relationships = {{.name = "", .target = "M"}}},
	{"no target", "M", "r", "has no target", .columns = {ID}, .relationships = {{.name = "r"}}},
	{"unknown target", "M", "r", "leads to Nobody, but there is no such model", .columns = {ID},
	 .relationships = {{.name = "r", .target = "Nobody"}}},
	{"doubled relationship", "M", "r", "name of another member", .columns = {ID},
	 .relationships = {{.name = "r", .target = "M"}, {.name = "r", .target = "M"}}},
	{"relationship like a column", "M", "id", "name of another member", .columns = {ID},
	 .relationships = {{.name = "id", .target = "M"}}},
	{"own reverse", "M", "r", "does not point back",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("M", "id")}},
	 .relationships = {{.name = "r", .target = "M", .reverse = "r"}}},
};

/* With "User" (without relationships) and "Line". */
static const mistake with_others[] = {
	{"unknown column", "M", "a", "references User.ID, but the model has no such column",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("User", "ID")}}},
	{"other type", "M", "a", "the column is int32, but User.id, which it references, is int64",
	 .columns = {ID, {.name = "a", .type = ORM_INT32, REF("User", "id")}}},
	{"neither key nor unique", "M", "a", "neither its primary key nor unique",
	 .columns = {ID, {.name = "a", .type = ORM_TEXT, REF("User", "name")}}},
	{"part of a key", "M", "a", "reference Line.order_id too",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("Line", "line_no")}}},
	{"interleaved", "M", "b", "a second foreign key to Line starts before the first",
	 .columns = {ID,
		     {.name = "a", .type = ORM_INT64, REF("Line", "line_no")},
		     {.name = "b", .type = ORM_INT64, REF("Line", "line_no")},
		     {.name = "c", .type = ORM_INT64, REF("Line", "order_id")}}},
	{"two rules on delete", "M", "a", "differ in on_delete",
	 .columns = {ID,
		     {.name = "a", .type = ORM_INT64, REF("Line", "line_no"), .on_delete = ORM_CASCADE},
		     {.name = "b", .type = ORM_INT64, REF("Line", "order_id"), .on_delete = ORM_RESTRICT}}},
	{"half can be set to NULL", "M", "b", "this column of it may not be NULL",
	 .columns =
		 {ID,
		  {.name = "a", .type = ORM_INT64, .nullable = true, REF("Line", "line_no"), .on_delete = ORM_SET_NULL},
		  {.name = "b", .type = ORM_INT64, REF("Line", "order_id")}}},
	{"half has no default", "M", "b", "give it a server_default",
	 .columns = {ID,
		     {.name = "a",
		      .type = ORM_INT64,
		      .server_default = "1",
		      REF("Line", "line_no"),
		      .on_delete = ORM_SET_DEFAULT},
		     {.name = "b", .type = ORM_INT64, REF("Line", "order_id")}}},
	{"first half missing", "M", "a", "reference Line.line_no too",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("Line", "order_id")}}},
	{"no foreign key", "M", "r", "M has no foreign key to Line", .columns = {ID},
	 .relationships = {{.name = "r", .target = "Line"}}},
	{"no foreign key there", "M", "r", "Line has no foreign key to M", .columns = {ID},
	 .relationships = {{.name = "r", .to_many = true, .target = "Line"}}},
	{"the far side of one-to-one", "M", "r", "the foreign key is on the other side, in User: make this a list",
	 .columns = {ID}, .relationships = {{.name = "r", .target = "User"}}},
	{"ambiguous", "M", "r", "M has 2 foreign keys to User: say which one with .via",
	 .columns = {ID,
		     {.name = "a", .type = ORM_INT64, REF("User", "id")},
		     {.name = "b", .type = ORM_INT64, REF("User", "id")}},
	 .relationships = {{.name = "r", .target = "User"}}},
	{"via nothing", "M", "r", "via M.c, but there is no such column",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("User", "id")}},
	 .relationships = {{.name = "r", .target = "User", .via = "c"}}},
	{"via a plain column", "M", "r", "via M.id, which is no foreign key to User",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("User", "id")}},
	 .relationships = {{.name = "r", .target = "User", .via = "id"}}},
	{"via another's key", "M", "r", "via M.a, which is no foreign key to Line",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("User", "id")}},
	 .relationships = {{.name = "r", .target = "Line", .via = "a"}}},
	{"no such other side", "M", "r", "the other side is User.nothing, but there is no such relationship",
	 .columns = {ID, {.name = "a", .type = ORM_INT64, REF("User", "id")}},
	 .relationships = {{.name = "r", .target = "User", .reverse = "nothing"}}},
};

static void check(const mistake *m, const orm_model_spec *others, size_t n_others)
{
	orm_model_spec specs[4] = {{.name = m->name ? m->name : "M",
				    .table = m->table ? m->table : "m",
				    .columns = m->columns,
				    .relationships = m->relationships}};
	orm_error error = {.code = ORM_OK};

	while (specs[0].n_columns < 4 && m->columns[specs[0].n_columns].name)
		specs[0].n_columns++;
	while (specs[0].n_relationships < 2 && m->relationships[specs[0].n_relationships].name)
		specs[0].n_relationships++;
	if (m->no_columns)
		specs[0].columns = NULL;
	for (size_t i = 0; i < n_others; i++)
		specs[i + 1] = others[i];

	orm_registry *registry = orm_registry_new(specs, n_others + 1, &error);

	if (registry)
		fail_msg("%s: no error", m->what);
	if (error.code != ORM_EINVAL || strcmp(error.model, m->model) != 0 || strcmp(error.column, m->column) != 0 ||
	    !strstr(error.message, m->message))
		fail_msg("%s: code %d, \"%s.%s\": %s", m->what, error.code, error.model, error.column, error.message);
	assert_null(orm_registry_new(specs, n_others + 1, NULL)); /* the error may be left out */
}

static void one_model(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
		check(&alone[i], NULL, 0);
}

static void models_together(void **state)
{
	const orm_model_spec others[] = {
		{.name = "User", .table = "users", .columns = user_columns, .n_columns = 4},
		{.name = "Line", .table = "lines", .columns = line_columns, .n_columns = 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof with_others / sizeof *with_others; i++)
		check(&with_others[i], others, 2);
}

/* The other side, User, has the one relationship given. */
static void check_reverse(const mistake *m, const orm_relationship_spec *relationship)
{
	const orm_model_spec user = {.name = "User",
				     .table = "users",
				     .columns = user_columns,
				     .n_columns = 4,
				     .relationships = relationship,
				     .n_relationships = 1};

	check(m, &user, 1);
}

static void two_sides(void **state)
{
	const mistake not_back = {"does not point back",
				  "M",
				  "user",
				  "make its other side M.user",
				  .columns = {ID, {.name = "user_id", .type = ORM_INT64, REF("User", "id")}},
				  .relationships = {{.name = "user", .target = "User", .reverse = "lone"}}};
	const mistake both_pointers = {"two pointers",
				       "M",
				       "user",
				       "is a list: make the one without the foreign key a list",
				       .columns = {ID, {.name = "user_id", .type = ORM_INT64, REF("User", "id")}},
				       .relationships = {{.name = "user", .target = "User", .reverse = "back"}}};
	const mistake both_lists = {
		"two lists",
		"M",
		"users",
		"both lists: give the link between them a model of its own",
		.columns = {ID, {.name = "user_id", .type = ORM_INT64, REF("User", "id")}},
		.relationships = {{.name = "users", .to_many = true, .target = "User", .reverse = "many"}}};
	const orm_relationship_spec via_other = {
		.name = "ms", .to_many = true, .target = "M", .reverse = "user", .via = "b"};
	const mistake two_keys = {"different keys",
				  "M",
				  "user",
				  "follow different foreign keys: give both the same .via",
				  .columns = {ID,
					      {.name = "a", .type = ORM_INT64, REF("User", "id")},
					      {.name = "b", .type = ORM_INT64, REF("User", "id")}},
				  .relationships = {{.name = "user", .target = "User", .reverse = "ms", .via = "a"}}};

	(void)state;
	check_reverse(&not_back, &user_relationships[1]);
	check_reverse(&both_pointers, &user_relationships[2]);
	check_reverse(&both_lists, &user_relationships[3]);
	check_reverse(&two_keys, &via_other);
}

static void models_are_there_once(void **state)
{
	const orm_column_spec id = ID;
	orm_model_spec specs[] = {{.name = "A", .table = "a", .columns = &id, .n_columns = 1},
				  {.name = "A", .table = "b", .columns = &id, .n_columns = 1}};
	orm_error error;

	(void)state;
	assert_null(orm_registry_new(specs, 2, &error));
	assert_int_equal(error.code, ORM_EINVAL);
	assert_string_equal(error.message, "A: the model is there twice: list each model once");
	specs[1].name = "a";  /* C tells them apart */
	specs[1].table = "A"; /* SQL does not */
	assert_null(orm_registry_new(specs, 2, &error));
	assert_string_equal(error.model, "a");
	assert_non_null(strstr(error.message, "the table \"A\" is another model's already"));
	assert_null(orm_registry_new(specs, 0, &error));
	assert_int_equal(error.code, ORM_EINVAL);
	assert_null(orm_registry_new(NULL, 1, &error));
	assert_null(orm_registry_new(specs, ORM_MAX_MODELS + 1, &error));
	assert_int_equal(error.code, ORM_EINVAL);

	const orm_model_spec wide = {.name = "A", .table = "a", .columns = &id, .n_columns = ORM_MAX_COLUMNS + 1};

	assert_null(orm_registry_new(&wide, 1, &error));
	assert_string_equal(error.model, "A");
}

static void what_looks_dangerous_but_is_not(void **state)
{
	static const char *const expressions[] = {
		"0",        "'a;b--c/*d'", "'it''s (not) [closed'", "(1 + 2) * 3", "\"a;b\" > - 1", "a - -1 > 0",
		"a[1] > 0", "'$5 #1'",     "CURRENT_TIMESTAMP",     "1 / 2"};
	orm_error error;

	(void)state;
	for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
		const orm_column_spec columns[] = {
			ID, {.name = "a", .type = ORM_TEXT, .server_default = expressions[i], .check = expressions[i]}};
		const orm_model_spec spec = {.name = "A", .table = "a", .columns = columns, .n_columns = 2};
		orm_registry *registry = orm_registry_new(&spec, 1, &error);

		if (!registry)
			fail_msg("%s: %s", expressions[i], error.message);
		orm_registry_free(registry);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_model),
		cmocka_unit_test(models_together),
		cmocka_unit_test(two_sides),
		cmocka_unit_test(models_are_there_once),
		cmocka_unit_test(what_looks_dangerous_but_is_not),
	};

	return cmocka_run_group_tests_name("registry_errors", tests, NULL, NULL);
}
