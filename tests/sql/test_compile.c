/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/compile.h"

/* An engine that spells everything otherwise, to see that the compiler asks its dialect. */
static const ormd_dialect other = {
	.name = "other",
	.quote = '`',
	.numbered_parameters = true,
	.max_parameters = 1000,
	.insert_defaults = " () VALUES ()",
	.like_escape = "",
	.for_update = " FOR UPDATE",
	.skip_locked = " SKIP LOCKED",
	.no_wait = " NOWAIT",
};

static orm_registry *registry;
static const orm_mapper *user;
static const orm_mapper *line;
static const orm_mapper *evil;

enum { ID, NAME, AGE };
enum { ORDER_ID, LINE_NO, QUANTITY, VERSION };

static int set_up(void **state)
{
	const orm_column_spec users[] = {{.name = "id", .type = ORM_INT64, .primary_key = true},
					 {.name = "name", .type = ORM_TEXT, .nullable = true},
					 {.name = "age", .type = ORM_INT32}};
	const orm_column_spec lines[] = {{.name = "order_id", .type = ORM_INT64, .primary_key = true},
					 {.name = "line_no", .type = ORM_INT32, .primary_key = true},
					 {.name = "quantity", .type = ORM_INT32},
					 {.name = "version", .type = ORM_INT32, .version = true}};
	const orm_column_spec evils[] = {{.name = "id\"; DROP TABLE users; --", .type = ORM_INT64, .primary_key = true},
					 {.name = "`a`'b", .type = ORM_TEXT}};
	const orm_model_spec specs[] = {{.name = "User", .table = "users", .columns = users, .n_columns = 3},
					{.name = "Line", .table = "lines", .columns = lines, .n_columns = 4},
					{.name = "Evil", .table = "evil\"\"t", .columns = evils, .n_columns = 2}};

	(void)state;
	registry = orm_registry_new(specs, 3, NULL);
	if (!registry)
		return -1;
	user = &registry->mappers[0];
	line = &registry->mappers[1];
	evil = &registry->mappers[2];
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	orm_registry_free(registry);
	return 0;
}

/* Compile for SQLite and compare; counts the parameters, too, when there are any to compare with. */
static void check_select(const ormd_select *select, const char *expected, size_t n_parameters)
{
	orm_buffer sql;
	orm_arena arena;
	size_t n = SIZE_MAX;
	size_t marks = 0;
	orm_error error = {.code = ORM_OK};

	orm_buffer_init(&sql);
	orm_arena_init(&arena, 0);
	if (ormd_select_check(select, &error) != ORM_OK)
		fail_msg("%s", error.message);
	ormd_sql_select(&ormd_dialect_sqlite, select, &sql);
	assert_false(sql.failed);
	if (expected)
		assert_string_equal(sql.data, expected);
	assert_non_null(ormd_select_parameters(select, &arena, &n));
	for (const char *c = sql.data; *c; c++)
		marks += *c == '?';
	assert_int_equal(n, n_parameters);
	assert_int_equal(n, marks);
	orm_arena_fini(&arena);
	orm_buffer_fini(&sql);
}

static ormd_select all_users(void)
{
	return (ormd_select){.mapper = user, .limit = ORMD_NO_LIMIT};
}

static void rows_counts_and_existence(void **state)
{
	const uint16_t columns[] = {AGE, ID};
	const orm_value age = {.type = ORM_INT32, .integer = 18};
	const ormd_term adult = {.op = ORMD_GE, .column = AGE, .values = &age, .n_values = 1};
	const ormd_order order[] = {{.column = NAME}, {.column = ID, .descending = true}};
	ormd_select select = all_users();

	(void)state;
	check_select(&select, "SELECT \"id\", \"name\", \"age\" FROM \"users\"", 0);
	select.columns = columns;
	select.n_columns = 2;
	check_select(&select, "SELECT \"age\", \"id\" FROM \"users\"", 0);
	select.where = &adult;
	select.n_where = 1;
	select.order = order;
	select.n_order = 2;
	check_select(&select, "SELECT \"age\", \"id\" FROM \"users\" WHERE \"age\" >= ? ORDER BY \"name\", \"id\" DESC",
		     1);
	select.limit = 10;
	check_select(&select,
		     "SELECT \"age\", \"id\" FROM \"users\" WHERE \"age\" >= ? ORDER BY \"name\", \"id\" DESC LIMIT ?",
		     2);
	select.offset = 20;
	check_select(&select,
		     "SELECT \"age\", \"id\" FROM \"users\" WHERE \"age\" >= ? ORDER BY \"name\", \"id\" DESC LIMIT ? "
		     "OFFSET ?",
		     3);
	select.limit = ORMD_NO_LIMIT;
	check_select(&select,
		     "SELECT \"age\", \"id\" FROM \"users\" WHERE \"age\" >= ? ORDER BY \"name\", \"id\" DESC LIMIT "
		     "9223372036854775807 OFFSET ?",
		     2);

	select.result = ORMD_COUNT;
	check_select(&select,
		     "SELECT count(*) FROM (SELECT 1 FROM \"users\" WHERE \"age\" >= ? LIMIT 9223372036854775807 "
		     "OFFSET ?) AS counted",
		     2);
	select.offset = 0;
	check_select(&select, "SELECT count(*) FROM \"users\" WHERE \"age\" >= ?", 1);
	select.result = ORMD_EXISTS;
	check_select(&select, "SELECT count(*) FROM (SELECT 1 FROM \"users\" WHERE \"age\" >= ? LIMIT 1) AS found", 1);
	select.limit = 0;
	check_select(&select,
		     "SELECT count(*) FROM (SELECT 1 FROM (SELECT 1 FROM \"users\" WHERE \"age\" >= ? LIMIT ?) AS "
		     "bounded LIMIT 1) AS found",
		     2);
}

static void every_comparison(void **state)
{
	const orm_value text = {.type = ORM_TEXT, .text = "a", .size = 1};
	const orm_value null = {.type = ORM_TEXT, .null = true};
	const struct {
		ormd_operator op;
		const orm_value *value;
		const char *expected;
		size_t n_parameters;
	} cases[] = {
		{ORMD_EQ, &text, "\"name\" = ?", 1},
		{ORMD_NE, &text, "\"name\" <> ?", 1},
		{ORMD_LT, &text, "\"name\" < ?", 1},
		{ORMD_LE, &text, "\"name\" <= ?", 1},
		{ORMD_GT, &text, "\"name\" > ?", 1},
		{ORMD_GE, &text, "\"name\" >= ?", 1},
		{ORMD_LIKE, &text, "\"name\" LIKE ? ESCAPE '\\'", 1},
		{ORMD_IS_NULL, NULL, "\"name\" IS NULL", 0},
		{ORMD_NOT_NULL, NULL, "\"name\" IS NOT NULL", 0},
		{ORMD_EQ, &null, "\"name\" IS NULL", 0},
		{ORMD_NE, &null, "\"name\" IS NOT NULL", 0},
		{ORMD_IN, &text, "\"name\" IN (?)", 1},
		{ORMD_IN, NULL, "1 = 0", 0},
	};
	const char start[] = "SELECT count(*) FROM \"users\" WHERE ";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const ormd_term term = {.op = cases[i].op,
					.column = NAME,
					.values = cases[i].value,
					.n_values = cases[i].value != NULL};
		ormd_select select = all_users();
		char expected[128];

		select.result = ORMD_COUNT;
		select.where = &term;
		select.n_where = 1;
		strcpy(expected, start);
		strcat(expected, cases[i].expected);
		check_select(&select, expected, cases[i].n_parameters);
	}
}

/* Filters as letters: a to z compare the age with 0 to 25, & | ! join. */
static void check_filter(const char *shape, const char *expected)
{
	orm_value values[26];
	ormd_term terms[32];
	size_t n = 0;
	size_t n_comparisons = 0;
	ormd_select select = all_users();
	orm_buffer sql;
	orm_arena arena;
	size_t n_parameters;

	for (const char *c = shape; *c; c++, n++) {
		if (*c >= 'a' && *c <= 'z') {
			values[*c - 'a'] = (orm_value){.type = ORM_INT32, .integer = *c - 'a'};
			terms[n] =
				(ormd_term){.op = ORMD_EQ, .column = AGE, .values = &values[*c - 'a'], .n_values = 1};
			n_comparisons++;
		} else {
			terms[n] = (ormd_term){.op = *c == '&' ? ORMD_AND : *c == '|' ? ORMD_OR : ORMD_NOT};
		}
	}
	select.where = terms;
	select.n_where = n;
	orm_buffer_init(&sql);
	orm_arena_init(&arena, 0);
	ormd_sql_select(&ormd_dialect_sqlite, &select, &sql);

	/* Put each parameter's letter in its place, and leave the rest of the comparison out. */
	const orm_value *parameters = ormd_select_parameters(&select, &arena, &n_parameters);
	const char comparison[] = "\"age\" = ?";
	char text[256];
	size_t len = 0;
	size_t next = 0;

	assert_non_null(parameters);
	assert_int_equal(n_parameters, n_comparisons);
	for (const char *c = strstr(sql.data, " WHERE ") + 7; *c;) {
		if (strncmp(c, comparison, strlen(comparison)) == 0) {
			text[len++] = (char)('a' + parameters[next++].integer);
			c += strlen(comparison);
		} else {
			text[len++] = *c++;
		}
	}
	text[len] = '\0';
	assert_string_equal(text, expected);
	orm_arena_fini(&arena);
	orm_buffer_fini(&sql);
}

static void filters_are_joined(void **state)
{
	(void)state;
	check_filter("a", "a");
	check_filter("ab", "a AND b");
	check_filter("ab&", "a AND b");
	check_filter("ab|", "a OR b");
	check_filter("ab|c", "(a OR b) AND c");
	check_filter("cab||", "c OR a OR b");
	check_filter("ab|c|d|", "a OR b OR c OR d");
	check_filter("ab|c&d&", "(a OR b) AND c AND d");
	check_filter("a!", "NOT (a)");
	check_filter("a!!", "NOT (NOT (a))");
	check_filter("ab&!c|", "NOT (a AND b) OR c");
	check_filter("abc|&d", "a AND (b OR c) AND d");
	check_filter("ab&cd&|", "(a AND b) OR (c AND d)");
	check_filter("ab|cd|&", "(a OR b) AND (c OR d)");
}

static void lists_are_padded(void **state)
{
	static const size_t expected[] = {0, 1, 2, 4, 4, 8, 8, 8, 8, 16};
	orm_value values[9];

	(void)state;
	for (size_t i = 0; i < 9; i++)
		values[i] = (orm_value){.type = ORM_INT32, .integer = (int64_t)i};
	for (size_t n = 0; n <= 9; n++) {
		const ormd_term term = {.op = ORMD_IN, .column = AGE, .values = values, .n_values = n};
		ormd_select select = all_users();
		orm_arena arena;
		size_t n_parameters;

		select.where = &term;
		select.n_where = 1;
		check_select(&select, NULL, expected[n]);
		orm_arena_init(&arena, 0);

		const orm_value *parameters = ormd_select_parameters(&select, &arena, &n_parameters);

		for (size_t i = 0; i < n_parameters; i++)
			assert_int_equal(parameters[i].integer, i < n ? i : n - 1);
		orm_arena_fini(&arena);
	}
}

static void limits_are_parameters(void **state)
{
	ormd_select select = all_users();
	orm_arena arena;
	size_t n;

	(void)state;
	orm_arena_init(&arena, 0);
	select.limit = 5;
	select.offset = UINT64_MAX - 1;

	const orm_value *parameters = ormd_select_parameters(&select, &arena, &n);

	assert_int_equal(n, 2);
	assert_int_equal(parameters[0].integer, 5);
	assert_int_equal(parameters[0].type, ORM_INT64);
	assert_int_equal(parameters[1].integer, INT64_MAX);
	orm_arena_fini(&arena);
	orm_arena_init(&arena, 8);
	assert_null(ormd_select_parameters(&select, &arena, &n));
	orm_arena_fini(&arena);
}

#define CHECK(expected, call)                                                                                          \
	do {                                                                                                           \
		orm_buffer out;                                                                                        \
		orm_buffer_init(&out);                                                                                 \
		call;                                                                                                  \
		assert_string_equal(out.data, expected);                                                               \
		orm_buffer_fini(&out);                                                                                 \
	} while (0)

static void locks_follow_everything(void **state)
{
	static const char *const locks[] = {[ORMD_LOCK_NONE] = "",
					    [ORMD_LOCK_WAIT] = " FOR UPDATE",
					    [ORMD_LOCK_SKIP] = " FOR UPDATE SKIP LOCKED",
					    [ORMD_LOCK_FAIL] = " FOR UPDATE NOWAIT"};
	ormd_select select = all_users();

	(void)state;
	select.limit = 1;
	for (unsigned lock = ORMD_LOCK_NONE; lock <= ORMD_LOCK_FAIL; lock++) {
		orm_buffer sql;
		char expected[128];

		select.lock = (ormd_lock)lock;
		check_select(&select, "SELECT \"id\", \"name\", \"age\" FROM \"users\" LIMIT ?",
			     1); /* which locks no rows */
		snprintf(expected, sizeof expected, "SELECT `id`, `name`, `age` FROM `users` LIMIT $1%s", locks[lock]);
		orm_buffer_init(&sql);
		ormd_sql_select(&other, &select, &sql);
		assert_string_equal(sql.data, expected);
		orm_buffer_fini(&sql);
	}
}

static void writing(void **state)
{
	const uint16_t name_and_age[] = {NAME, AGE};
	const uint16_t id[] = {ID};
	const uint16_t quantity_and_version[] = {QUANTITY, VERSION};

	(void)state;
	CHECK("INSERT INTO \"users\" (\"name\", \"age\") VALUES (?, ?)",
	      ormd_sql_insert(&ormd_dialect_sqlite, user, name_and_age, 2, NULL, 0, &out));
	CHECK("INSERT INTO \"users\" (\"name\") VALUES (?) RETURNING \"id\"",
	      ormd_sql_insert(&ormd_dialect_sqlite, user, name_and_age, 1, id, 1, &out));
	CHECK("INSERT INTO \"users\" DEFAULT VALUES",
	      ormd_sql_insert(&ormd_dialect_sqlite, user, NULL, 0, NULL, 0, &out));
	CHECK("INSERT INTO `users` () VALUES ()", ormd_sql_insert(&other, user, NULL, 0, NULL, 0, &out));
	CHECK("INSERT INTO `users` (`name`, `age`) VALUES ($1, $2)",
	      ormd_sql_insert(&other, user, name_and_age, 2, NULL, 0, &out));
	CHECK("UPDATE \"users\" SET \"name\" = ?, \"age\" = ? WHERE \"id\" = ?",
	      ormd_sql_update(&ormd_dialect_sqlite, user, name_and_age, 2, &out));
	CHECK("UPDATE \"lines\" SET \"quantity\" = ?, \"version\" = ? WHERE \"order_id\" = ? AND \"line_no\" = ? AND "
	      "\"version\" = ?",
	      ormd_sql_update(&ormd_dialect_sqlite, line, quantity_and_version, 2, &out));
	CHECK("UPDATE `lines` SET `quantity` = $1 WHERE `order_id` = $2 AND `line_no` = $3 AND `version` = $4",
	      ormd_sql_update(&other, line, quantity_and_version, 1, &out));
	CHECK("DELETE FROM \"users\" WHERE \"id\" = ?", ormd_sql_delete(&ormd_dialect_sqlite, user, &out));
	CHECK("DELETE FROM \"lines\" WHERE \"order_id\" = ? AND \"line_no\" = ? AND \"version\" = ?",
	      ormd_sql_delete(&ormd_dialect_sqlite, line, &out));
}

static void by_keys(void **state)
{
	const uint16_t id[] = {ID};
	const uint16_t age[] = {AGE};
	const uint16_t key[] = {ORDER_ID, LINE_NO};
	const char all[] = "SELECT \"order_id\", \"line_no\", \"quantity\", \"version\" FROM \"lines\" WHERE ";
	char expected[512];

	(void)state;
	CHECK("SELECT \"id\", \"name\", \"age\" FROM \"users\" WHERE \"id\" = ?",
	      ormd_sql_select_by(&ormd_dialect_sqlite, user, id, 1, 1, false, &out));
	CHECK("SELECT \"id\", \"name\", \"age\" FROM \"users\" WHERE \"id\" IN (?, ?, ?, ?) ORDER BY \"id\"",
	      ormd_sql_select_by(&ormd_dialect_sqlite, user, id, 1, 4, true, &out));
	CHECK("SELECT \"id\", \"name\", \"age\" FROM \"users\" WHERE \"age\" IN (?, ?) ORDER BY \"age\", \"id\"",
	      ormd_sql_select_by(&ormd_dialect_sqlite, user, age, 1, 2, true, &out));
	CHECK("SELECT \"order_id\", \"line_no\", \"quantity\", \"version\" FROM \"lines\" WHERE \"line_no\" = ? ORDER "
	      "BY "
	      "\"line_no\", \"order_id\"",
	      ormd_sql_select_by(&ormd_dialect_sqlite, line, &key[1], 1, 1, true, &out));
	strcpy(expected, all);
	strcat(expected, "(\"order_id\" = ? AND \"line_no\" = ?)");
	CHECK(expected, ormd_sql_select_by(&ormd_dialect_sqlite, line, key, 2, 1, false, &out));
	strcpy(expected, all);
	strcat(expected, "(\"order_id\" = ? AND \"line_no\" = ?) OR (\"order_id\" = ? AND \"line_no\" = ?) ORDER BY "
			 "\"order_id\", \"line_no\"");
	CHECK(expected, ormd_sql_select_by(&ormd_dialect_sqlite, line, key, 2, 2, true, &out));
	CHECK("SELECT max(\"id\") FROM \"users\"", ormd_sql_max_key(&ormd_dialect_sqlite, user, &out));
}

static void names_stay_names(void **state)
{
	const uint16_t text[] = {1};
	ormd_select select = {.mapper = evil, .limit = ORMD_NO_LIMIT};

	(void)state;
	CHECK("SELECT \"id\"\"; DROP TABLE users; --\", \"`a`'b\" FROM \"evil\"\"\"\"t\"",
	      ormd_sql_select(&ormd_dialect_sqlite, &select, &out));
	CHECK("SELECT `id\"; DROP TABLE users; --`, ```a``'b` FROM `evil\"\"t`",
	      ormd_sql_select(&other, &select, &out));
	CHECK("UPDATE \"evil\"\"\"\"t\" SET \"`a`'b\" = ? WHERE \"id\"\"; DROP TABLE users; --\" = ?",
	      ormd_sql_update(&ormd_dialect_sqlite, evil, text, 1, &out));
	CHECK("SELECT max(\"id\"\"; DROP TABLE users; --\") FROM \"evil\"\"\"\"t\"",
	      ormd_sql_max_key(&ormd_dialect_sqlite, evil, &out));
	CHECK("\"\"\"\"", ormd_sql_identifier(&ormd_dialect_sqlite, "\"", &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_counts_and_existence),
		cmocka_unit_test(every_comparison),
		cmocka_unit_test(filters_are_joined),
		cmocka_unit_test(lists_are_padded),
		cmocka_unit_test(limits_are_parameters),
		cmocka_unit_test(locks_follow_everything),
		cmocka_unit_test(writing),
		cmocka_unit_test(by_keys),
		cmocka_unit_test(names_stay_names),
	};

	return cmocka_run_group_tests_name("compile", tests, set_up, tear_down);
}
