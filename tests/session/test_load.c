/* SPDX-License-Identifier: MIT */
/* Relationships: loaded along with a query, or for objects; from the database, from memory, and over pending changes.
 */
#include "session/database_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a query or load told in all its pieces: keys of rows, and of related rows; parents of complete relationships. */
typedef struct told {
	char rows[512], related[512], loaded[512];
	size_t n_rows, n_related, n_loaded, n_pieces;
} told;

static void append_key(char *text, size_t size, int64_t key)
{
	const size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%lld", len ? " " : "", (long long)key);
}

/* Related rows that come out of a table as it lies do so in whatever order the engine likes. */
static const char *sorted(char *keys)
{
	long long numbers[64], moved;
	size_t n = 0, place;
	char *end = keys;

	for (const char *at = keys; *at && n < 64; at = end) {
		numbers[n] = strtoll(at, &end, 10);
		for (place = n++; place > 0 && numbers[place] < numbers[place - 1]; place--) {
			moved = numbers[place];
			numbers[place] = numbers[place - 1];
			numbers[place - 1] = moved;
		}
	}
	*keys = 0;
	for (size_t i = 0; i < n; i++)
		append_key(keys, sizeof((told *)0)->related, numbers[i]);
	return keys;
}

static void append_keys(const ormd_rows *rows, size_t n, char *text, size_t size, size_t *n_told)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < rows[i].n_rows; j++)
			append_key(text, size, orm_vector_int64_at(&rows[i].values.vectors[0], j));
		*n_told += rows[i].n_rows;
	}
}

static told read_all(fixture *f, ormd_query *query, size_t piece_size)
{
	told t = {0};
	ormd_piece piece = {0};

	assert_ok(f, wait_finished(f));
	while (!piece.last) {
		assert_ok(f, ormd_query_next(query, piece_size, &piece, &f->error));
		t.n_pieces++;
		append_keys(piece.rows, piece.n_rows, t.rows, sizeof t.rows, &t.n_rows);
		append_keys(piece.related, piece.n_related, t.related, sizeof t.related, &t.n_related);
		for (size_t i = 0; i < piece.n_loaded; i++) {
			for (size_t j = 0; j < piece.loaded[i].n_parents; j++)
				append_key(t.loaded, sizeof t.loaded, key_of(f, piece.loaded[i].parents[j]));
			t.n_loaded += piece.loaded[i].n_parents;
		}
	}
	ormd_query_close(query);
	return t;
}

static told load(fixture *f, const char *model, const char *relationship, const uint64_t *handles, size_t n)
{
	ormd_query *query = NULL;

	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_load_open(f->session, f->participant, relationship_of(f, model, relationship), handles, n,
				    NULL, note_finished, f, &query, &f->error));
	return read_all(f, query, 1 << 16);
}

static told query_with(fixture *f, const char *model, const char *first, const char *second, size_t piece_size)
{
	const orm_relationship *relationships[] = {relationship_of(f, model, first),
						   second ? relationship_of(f, model, second) : NULL};
	const ormd_order by_key = {.column = 0};
	const ormd_select select = {
		.mapper = mapper_of(f, model), .order = &by_key, .n_order = 1, .limit = ORMD_NO_LIMIT};
	const ormd_query_options options = {.load = relationships, .n_load = second ? 2 : 1};
	ormd_query *query = NULL;

	f->finished = ORM_EINTERNAL;
	assert_ok(f,
		  ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error));
	return read_all(f, query, piece_size);
}

/* Two users; posts 1 and 3 by the first, 2 by the second. */
static void make_posts(fixture *f)
{
	outside(f, "INSERT INTO users(id, name) VALUES (1, 'ann'), (2, 'bob'), (3, 'cat')");
	outside(f, "INSERT INTO posts(id, title, user_id, reviewer_id) VALUES (1, 'a', 1, 3), (2, 'b', 2, 3), (3, 'c', "
		   "1, NULL)");
}

static uint64_t handle_of(const fixture *f, const char *model, int64_t key)
{
	const orm_value value = {.type = ORM_INT64, .integer = key};
	const ormd_object *object = ormd_unit_by_key(f->session, mapper_of(f, model), &value);

	assert_non_null(object);
	return object->handle;
}

static uint64_t n_rehearsals(const fixture *f)
{
	ormd_database_stats stats;

	ormd_database_stats_get(f->database, &stats);
	return stats.rolled_back;
}

/* ---- along with a query ------------------------------------------------------------------------------------- */

static void to_many_along_with_a_query(void **state)
{
	fixture *f = *state;
	told t;

	make_posts(f);
	t = query_with(f, "User", "posts", NULL, 1 << 16);
	assert_string_equal(t.rows, "1 2 3");
	assert_string_equal(sorted(t.related), "1 2 3");
	assert_string_equal(t.loaded, "1 2 3"); /* complete for those without posts, too */
}

static void to_one_along_with_a_query(void **state)
{
	fixture *f = *state;
	told t;

	make_posts(f);
	t = query_with(f, "Post", "author", "reviewer", 1 << 16);
	assert_string_equal(t.rows, "1 2 3");
	assert_int_equal(t.n_related, 3);
	assert_string_equal(t.loaded, "");
	t = query_with(f, "Post", "author", NULL, 1 << 16); /* they are known now, and told again */
	assert_int_equal(t.n_related, 2);
}

static void relatives_in_small_pieces(void **state)
{
	fixture *f = *state;
	told t;

	outside(f, "INSERT INTO users(id, name) "
		   "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 700) SELECT i, 'user' "
		   "FROM c");
	outside(f, "INSERT INTO posts(title, user_id) SELECT 'post', id FROM users UNION ALL SELECT 'post', id FROM "
		   "users");
	t = query_with(f, "User", "posts", NULL, 2000);
	assert_int_equal(t.n_rows, 700);
	assert_int_equal(t.n_related, 1400);
	assert_int_equal(t.n_loaded, 700);
	assert_true(t.n_pieces > 10);
}

static void self_reference_along_with_a_query(void **state)
{
	fixture *f = *state;
	told t;

	outside(f, "INSERT INTO nodes(id, name, parent_id) VALUES (1, 'root', NULL), (2, 'a', 1), (3, 'b', 1)");
	t = query_with(f, "Node", "children", "parent", 1 << 16);
	assert_string_equal(t.rows, "1 2 3");
	assert_int_equal(t.n_related, 3); /* 2 and 3 as children, 1 as the parent */
	assert_string_equal(t.loaded, "1 2 3");
}

static void few_rows_of_a_large_table_are_found_by_their_keys(void **state)
{
	fixture *f = *state;
	told t;

	outside(f, "INSERT INTO teams(id, name) VALUES (1, 'red'), (2, 'blue')");
	outside(f, "INSERT INTO members(id, name, team_id) VALUES (5, 'ann', 2), (6, 'bob', 1), (7, 'cat', 1), (8, "
		   "'dan', NULL)");
	t = query_with(f, "Team", "members", NULL, 1 << 16);
	if (engine_under_test() != ENGINE_MARIADB) /* which looks for what is not NULL in the index */
		assert_string_equal(t.related, "5 6 7"); /* a small table is read whole */
	assert_string_equal(sorted(t.related), "5 6 7");
	outside(f, "INSERT INTO members(id, name, team_id) VALUES (100000, 'eve', NULL)");
	new_session(f, NULL);
	t = query_with(f, "Team", "members", NULL, 1 << 16);
	assert_string_equal(t.related, "6 7 5"); /* by team, then by key */
	assert_string_equal(t.loaded, "1 2");
}

static void relatives_of_some_rows(void **state)
{
	fixture *f = *state;
	const orm_relationship *posts = relationship_of(f, "User", "posts");
	const ormd_query_options options = {.load = &posts, .n_load = 1};
	const ormd_order by_key = {.column = 0, .descending = true};
	const ormd_select two = {.mapper = mapper_of(f, "User"), .order = &by_key, .n_order = 1, .limit = 2};
	ormd_query *query = NULL;
	told t;

	make_posts(f);
	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_query_open(f->session, f->participant, &two, &options, note_finished, f, &query, &f->error));
	t = read_all(f, query, 1 << 16);
	assert_string_equal(t.rows, "3 2");
	assert_string_equal(t.related, "2");
	assert_string_equal(t.loaded, "3 2");
}

static void pending_members_are_loaded_along(void **state)
{
	fixture *f = *state;
	told t;
	uint64_t node;

	outside(f, "INSERT INTO nodes(id, name, parent_id) VALUES (1, 'root', NULL), (2, 'a', 1), (3, 'b', 1), (4, "
		   "'c', NULL)");
	t = query_with(f, "Node", "children", NULL, 1 << 16);
	assert_string_equal(sorted(t.related), "2 3");
	node = add(f, "Node", "name parent_id", "new", 4LL);
	set(f, handle_of(f, "Node", 2), "parent_id", 4LL);
	del(f, handle_of(f, "Node", 3));
	t = query_with(f, "Node", "children", NULL, 1 << 16);
	assert_int_equal(key_of(f, node), 5);
	assert_string_equal(t.rows, "1 2 4 5");
	assert_string_equal(sorted(t.related), "2 5");
	assert_string_equal(t.loaded, "1 2 4 5");
	assert_string_equal(ask(f, "SELECT count(*) FROM nodes"), "4");
}

static void relationship_of_another_model_is_refused(void **state)
{
	fixture *f = *state;
	const orm_relationship *relationships[] = {relationship_of(f, "Team", "members")};
	const ormd_select select = {.mapper = mapper_of(f, "User"), .limit = ORMD_NO_LIMIT};
	const ormd_query_options options = {.load = relationships, .n_load = 1};
	ormd_query *query = NULL;

	f->finished = ORM_EINTERNAL;
	assert_int_equal(
		ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error),
		ORM_EINVAL);
	assert_null(query);
	assert_int_equal(f->finished, ORM_EINTERNAL); /* was not called */
}

/* ---- for objects -------------------------------------------------------------------------------------------- */

static void to_many_of_an_object(void **state)
{
	fixture *f = *state;
	uint64_t user;
	told t;

	make_posts(f);
	query_with(f, "Post", "author", NULL, 1 << 16);
	user = handle_of(f, "User", 1);
	t = load(f, "User", "posts", &user, 1);
	assert_string_equal(t.rows, "");
	assert_string_equal(t.related, "1 3");
	assert_string_equal(t.loaded, "1");
}

static void to_one_from_memory_reads_nothing(void **state)
{
	fixture *f = *state;
	uint64_t post;
	told t;

	make_posts(f);
	query_with(f, "Post", "author", NULL, 1 << 16);
	post = handle_of(f, "Post", 1);
	outside_unchecked(f, "DELETE FROM users");
	t = load(f, "Post", "author", &post, 1);
	assert_string_equal(t.related, "1");
}

static void to_one_that_is_pending_needs_no_turn_to_write(void **state)
{
	fixture *f = *state;
	const uint64_t user = add(f, "User", "name", "Alice");
	const uint64_t post =
		add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, user), NO_VALUE);
	const uint64_t n = n_rehearsals(f);
	const told t = load(f, "Post", "author", &post, 1);

	assert_string_equal(t.related, "1");
	assert_int_equal(n_rehearsals(f), n);
}

static void pending_members_of_a_new_object(void **state)
{
	fixture *f = *state;
	const uint64_t user = add(f, "User", "name", "Alice");
	const uint64_t first =
		add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, user), NO_VALUE);
	told t;

	add(f, "Post", "title user_id reviewer_id", "World", (long long)key_of(f, user), NO_VALUE);
	del(f, first);
	t = load(f, "User", "posts", &user, 1);
	assert_string_equal(t.related, "2");
	assert_string_equal(t.loaded, "1");
	assert_string_equal(ask(f, "SELECT count(*) FROM posts"), "0");
}

static void null_refers_to_nothing(void **state)
{
	fixture *f = *state;
	uint64_t post;
	told t;

	make_posts(f);
	query_with(f, "Post", "author", NULL, 1 << 16);
	post = handle_of(f, "Post", 3);
	t = load(f, "Post", "reviewer", &post, 1);
	assert_string_equal(t.related, "");
	assert_true(t.n_pieces == 1);
}

static void by_several_columns_and_by_a_unique_one(void **state)
{
	fixture *f = *state;
	const uint64_t line = add(f, "Line", "order_no no text", 7LL, 1LL, "one");
	const uint64_t other = add(f, "Line", "order_no no text", 7LL, 2LL, "two");
	const uint64_t lines[] = {line, other};
	uint64_t letter, part;
	told t;

	outside(f, "INSERT INTO users(id, name, email) VALUES (1, 'ann', 'a@x'), (2, 'bob', 'b@x')");
	letter = add(f, "Letter", "email", "b@x");
	part = add(f, "Part", "line_no order_no", 2LL, 7LL);
	add(f, "Part", "line_no order_no", NO_VALUE, 7LL);
	commit(f);
	t = load(f, "Letter", "receiver", &letter, 1);
	assert_string_equal(t.related, "2");
	t = load(f, "Line", "parts", lines, 2);
	assert_string_equal(t.related, "1");
	assert_int_equal(t.n_loaded, 2);
	t = load(f, "Part", "line", &part, 1);
	assert_string_equal(t.related, "7");
	t = query_with(f, "Part", "line", NULL, 1 << 16);
	assert_int_equal(t.n_related, 1);
}

static void many_objects_in_one_load(void **state)
{
	fixture *f = *state;
	uint64_t handles[5000];
	told t;
	const orm_value one = {.type = ORM_INT64, .integer = 1};

	outside(f, "INSERT INTO users(id, name) "
		   "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000) SELECT i, 'user' "
		   "FROM c");
	outside(f, "INSERT INTO posts(title, user_id) SELECT 'post', id FROM users");
	query_with(f, "User", "posts", NULL, 1 << 16);
	assert_non_null(ormd_unit_by_key(f->session, mapper_of(f, "User"), &one));
	for (int i = 0; i < 5000; i++)
		handles[i] = handle_of(f, "User", i + 1);
	t = load(f, "User", "posts", handles, 5000);
	assert_int_equal(t.n_related, 5000);
	assert_int_equal(t.n_loaded, 5000);
}

static void unknown_object_is_refused(void **state)
{
	fixture *f = *state;
	const uint64_t handle = 12345;
	ormd_query *query = NULL;

	assert_int_equal(ormd_load_open(f->session, f->participant, relationship_of(f, "User", "posts"), &handle, 1,
					NULL, note_finished, f, &query, &f->error),
			 ORM_EINVAL);
	assert_null(query);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(to_many_along_with_a_query),
		TEST(to_one_along_with_a_query),
		TEST(relatives_in_small_pieces),
		TEST(self_reference_along_with_a_query),
		TEST(few_rows_of_a_large_table_are_found_by_their_keys),
		TEST(relatives_of_some_rows),
		TEST(pending_members_are_loaded_along),
		TEST(relationship_of_another_model_is_refused),
		TEST(to_many_of_an_object),
		TEST(to_one_from_memory_reads_nothing),
		TEST(to_one_that_is_pending_needs_no_turn_to_write),
		TEST(pending_members_of_a_new_object),
		TEST(null_refers_to_nothing),
		TEST(by_several_columns_and_by_a_unique_one),
		TEST(many_objects_in_one_load),
		TEST(unknown_object_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
