/* SPDX-License-Identifier: MIT */
/* Orders that a database accepts: rows that wait for each other, values that are handed on, circles. */
#include "session/database_support.h"

#include <stdio.h>
#include <string.h>

/* ---- rows of one table that refer to each other ------------------------------------------------------------- */

static void tree_added_leaves_first(void **state)
{
	fixture *f = *state;

	for (long long i = 20; i > 0; i--)
		add(f, "Node", "id name parent_id", i, "node", i > 1 ? i / 2 : NO_VALUE);
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*), count(parent_id) FROM nodes"), "20|19");
	assert_string_equal(ask(f, "SELECT parent_id FROM nodes WHERE id = 13"), "6");
}

static void tree_deleted_root_first(void **state)
{
	fixture *f = *state;
	uint64_t nodes[8] = {0};

	for (long long i = 1; i < 8; i++)
		nodes[i] = add(f, "Node", "id name parent_id", i, "node", i > 1 ? i / 2 : NO_VALUE);
	commit(f);
	for (int i = 1; i < 8; i++) {
		set(f, nodes[i], "name", "late");
		del(f, nodes[i]);
	}
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM nodes"), "0");
}

static void row_that_refers_to_itself(void **state)
{
	fixture *f = *state;
	const uint64_t node = add(f, "Node", "id name parent_id", 1LL, "root", 1LL);

	NEEDS_DEFERRED_KEYS(f);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, parent_id FROM nodes"), "1|1");
	del(f, node);
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM nodes"), "0");
}

static void circle_of_two_rows(void **state)
{
	fixture *f = *state;
	const uint64_t one = add(f, "Node", "id name parent_id", 1LL, "one", 2LL);
	const uint64_t two = add(f, "Node", "id name parent_id", 2LL, "two", 1LL);

	commit(f);
	assert_string_equal(ask(f, "SELECT id, parent_id FROM nodes ORDER BY id"), "1|2;2|1");
	del(f, one);
	del(f, two);
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM nodes"), "0");
}

static void many_circles_in_one_unit(void **state)
{
	fixture *f = *state;

	for (long long i = 1; i <= 60; i += 3) {
		add(f, "Node", "id name parent_id", i, "a", i + 1);
		add(f, "Node", "id name parent_id", i + 1, "b", i + 2);
		add(f, "Node", "id name parent_id", i + 2, "c", i);
	}
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*), count(parent_id), count(DISTINCT parent_id) FROM nodes"),
			    "60|60|60");
}

static void circle_of_two_tables(void **state)
{
	fixture *f = *state;
	const uint64_t left = add(f, "Left", "id right_id", 1LL, 1LL);
	const uint64_t right = add(f, "Right", "id left_id", 1LL, 1LL);

	commit(f);
	assert_string_equal(ask(f, "SELECT lefts.right_id, rights.left_id FROM lefts, rights"), "1|1");
	del(f, left);
	del(f, right);
	commit(f);
	assert_string_equal(ask(f, "SELECT (SELECT count(*) FROM lefts), (SELECT count(*) FROM rights)"), "0|0");
}

static void circle_without_a_nullable_key_waits_for_the_end_of_the_unit(void **state)
{
	fixture *f = *state;

	NEEDS_DEFERRED_KEYS(f);
	add(f, "Hard", "id other_id", 1LL, 2LL);
	add(f, "Hard", "id other_id", 2LL, 1LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, other_id FROM hards ORDER BY id"), "1|2;2|1");
}

/* ---- values that are handed on ------------------------------------------------------------------------------ */

static void deleted_and_added_with_the_same_unique_value(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "User", "name email", "Alice", "a@x");

	commit(f);
	add(f, "User", "name email", "Alicia", "a@x");
	del(f, old);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name, email FROM users"), "2|Alicia|a@x");
}

static void the_givers_children_leave_first(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "User", "name email", "Alice", "a@x");
	const uint64_t boss = add(f, "User", "name", "Boss");
	const uint64_t post = add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, boss),
				  (long long)key_of(f, old));

	commit(f);
	set(f, post, "reviewer_id", NO_VALUE); /* or the deletion is refused */
	add(f, "User", "name email", "Alicia", "a@x");
	del(f, old);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, email FROM users ORDER BY id"), "2|NULL;3|a@x");
}

static void children_move_to_the_row_that_takes_the_value(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "User", "name email", "Alice", "a@x");
	const uint64_t post = add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, old),
				  (long long)key_of(f, old));
	uint64_t new;

	commit(f);
	new = add(f, "User", "name email", "Alicia", "a@x");
	set(f, post, "user_id reviewer_id", (long long)key_of(f, new), (long long)key_of(f, new));
	del(f, old);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name, email FROM users"), "2|Alicia|a@x");
	assert_string_equal(ask(f, "SELECT user_id, reviewer_id FROM posts"), "2|2");
}

static void value_changed_away_and_taken_by_a_new_row(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name email", "Alice", "a@x");

	commit(f);
	set(f, alice, "email", "b@x");
	add(f, "User", "name email", "Bob", "a@x");
	commit(f);
	assert_string_equal(ask(f, "SELECT name, email FROM users ORDER BY id"), "Alice|b@x;Bob|a@x");
}

static void unique_values_swapped(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name email", "Alice", "a@x");
	const uint64_t bob = add(f, "User", "name email", "Bob", "b@x");

	commit(f);
	set(f, alice, "email", "b@x");
	set(f, bob, "email", "a@x");
	commit(f);
	assert_string_equal(ask(f, "SELECT name, email FROM users ORDER BY id"), "Alice|b@x;Bob|a@x");
}

static void unique_values_rotated_where_null_is_not_allowed(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "Account", "owner balance", "ann", 1LL);
	const uint64_t bob = add(f, "Account", "owner balance", "bob", 2LL);
	const uint64_t cat = add(f, "Account", "owner balance", "cat", 3LL);

	commit(f);
	set(f, ann, "owner", "bob");
	set(f, bob, "owner", "cat");
	set(f, cat, "owner", "ann");
	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance, version FROM accounts ORDER BY id"),
			    "bob|1|2;cat|2|2;ann|3|2");
	assert_string_equal(values_of(f, ann, "owner version"), "'bob' 2");
	set(f, ann, "balance", 9LL); /* the version that the object knows is the row's */
	commit(f);
}

static void swap_of_many_rows(void **state)
{
	fixture *f = *state;
	uint64_t accounts[100];
	char owner[8];

	for (int i = 0; i < 100; i++) {
		snprintf(owner, sizeof owner, "o%d", i);
		accounts[i] = add(f, "Account", "owner balance", owner, (long long)i);
	}
	commit(f);
	for (int i = 0; i < 100; i++) {
		snprintf(owner, sizeof owner, "o%d", i ^ 1);
		set(f, accounts[i], "owner", owner);
	}
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM accounts WHERE owner = 'o' || (balance + 1 - balance % 2 * 2) "
				   "AND version = 2"),
			    "100");
}

static void primary_keys_swapped(void **state)
{
	fixture *f = *state;
	const uint64_t a = add(f, "Badge", "code holder", "aaaa", 1LL);
	const uint64_t b = add(f, "Badge", "code holder", "bbbb", 2LL);

	commit(f);
	set_two(f, a, b, "code", "bbbb", "aaaa");
	commit(f);
	assert_string_equal(ask(f, "SELECT code, holder, version FROM badges ORDER BY code"), "aaaa|2|2;bbbb|1|2");
}

static void key_changed_with_rows_that_refer_to_it(void **state)
{
	fixture *f = *state;
	const uint64_t badge = add(f, "Badge", "code holder", "aaaa", 1LL);
	const uint64_t stamp = add(f, "Stamp", "badge", "aaaa");

	commit(f);
	set(f, stamp, "badge", "bbbb");
	set(f, badge, "code", "bbbb");
	commit(f);
	assert_string_equal(ask(f, "SELECT code, holder, badge FROM badges, stamps"), "bbbb|1|bbbb");
}

/* ---- row switches ------------------------------------------------------------------------------------------- */

static void same_key_deleted_and_added_keeps_rows_that_refer_to_it(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "Badge", "code holder", "aaaa", 1LL);
	uint64_t new;

	add(f, "Stamp", "badge", "aaaa");
	commit(f);
	assert_int_equal(state_of(f, old), ORMD_STATE_PERSISTENT);
	new_session(f, NULL); /* which does not know the stamp */

	ormd_query *query = NULL;
	const ormd_select all = {.mapper = mapper_of(f, "Badge"), .limit = ORMD_NO_LIMIT};
	ormd_piece piece;
	uint64_t handle;

	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_query_open(f->session, f->participant, &all, NULL, note_finished, f, &query, &f->error));
	assert_ok(f, wait_finished(f));
	assert_ok(f, ormd_query_next(query, 1 << 16, &piece, &f->error));
	handle = piece.rows[0].handles[0];
	ormd_query_close(query);
	del(f, handle);
	new = add(f, "Badge", "code holder", "aaaa", 9LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT code, holder, version FROM badges"), "aaaa|9|2");
	assert_string_equal(ask(f, "SELECT badge FROM stamps"), "aaaa");
	assert_string_equal(values_of(f, new, NULL), "'aaaa' 9 2");
	set(f, new, "holder", 10LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT holder, version FROM badges"), "10|3");
}

static void same_key_deleted_and_added_cascades_where_the_model_says_so(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "User", "name email", "Alice", "a@x");

	add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, old), NO_VALUE);
	commit(f);
	del(f, old);
	add(f, "User", "id name email", 1LL, "Alicia", "a@x");
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name, email FROM users"), "1|Alicia|a@x");
	assert_string_equal(ask(f, "SELECT count(*) FROM posts"), "0");
}

static void same_key_deleted_and_added_takes_the_servers_defaults(void **state)
{
	fixture *f = *state;
	const uint64_t old = add(f, "Account", "owner balance note", "ann", 1LL, "mine");
	uint64_t new;

	commit(f);
	del(f, old);
	new = add(f, "Account", "id owner balance", 1LL, "ann", 2LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, balance, note FROM accounts"), "1|2|none");
	assert_string_equal(values_of(f, new, "note"), "'none'");
}

/* ---- deletions that the database cascades ------------------------------------------------------------------- */

static void cascaded_deletions(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name", "Alice");
	uint64_t posts[3];

	for (int i = 0; i < 3; i++)
		posts[i] = add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, alice), NO_VALUE);
	commit(f);
	del(f, posts[0]);
	del(f, alice); /* and with her the loaded posts */
	commit(f);
	assert_string_equal(ask(f, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM posts)"), "0|0");
	assert_int_not_equal(state_of(f, posts[2]), ORMD_STATE_PERSISTENT);
}

static void cascaded_tree(void **state)
{
	fixture *f = *state;
	uint64_t leaves[8] = {0};

	for (long long i = 1; i < 8; i++)
		leaves[i] = add(f, "Leaf", "id parent_id", i, i > 1 ? i / 2 : NO_VALUE);
	commit(f);
	for (int i = 7; i > 0; i--) {
		if (state_of(f, leaves[i]) == ORMD_STATE_PERSISTENT)
			del(f, leaves[i]);
	}
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM leaves"), "0");
}

static void cascading_circle(void **state)
{
	fixture *f = *state;
	const uint64_t one = add(f, "Leaf", "id parent_id", 1LL, 2LL);

	add(f, "Leaf", "id parent_id", 2LL, 1LL);
	commit(f);
	del(f, one);
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM leaves"), "0");
}

static void children_moved_away_survive(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name", "Alice");
	const uint64_t bob = add(f, "User", "name", "Bob");
	const uint64_t post =
		add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, alice), NO_VALUE);

	commit(f);
	set(f, post, "user_id", (long long)key_of(f, bob));
	del(f, alice);
	commit(f);
	assert_string_equal(ask(f, "SELECT title, user_id FROM posts"), "Hello|2");
}

static void composite_keys(void **state)
{
	fixture *f = *state;
	const uint64_t first = add(f, "Line", "order_no no text", 7LL, 1LL, "one");
	const uint64_t second = add(f, "Line", "order_no no text", 7LL, 2LL, NULL);

	commit(f);
	set(f, second, "text", "two");
	del(f, first);
	commit(f);
	assert_string_equal(ask(f, "SELECT order_no, no, text FROM \"lines\""), "7|2|two");
	outside(f, "DELETE FROM \"lines\"");
	set(f, second, "text", "deux");
	assert_int_equal(try_commit(f), ORM_ESTALE);
	assert_string_equal(f->error.key, "(7, 2)");
}

/* ---- composite keys, keys that are not primary, all types --------------------------------------------------- */

static void foreign_key_of_several_columns(void **state)
{
	fixture *f = *state;
	const uint64_t first = add(f, "Line", "order_no no text", 7LL, 1LL, "one");
	const uint64_t part = add(f, "Part", "line_no order_no", 1LL, 7LL);
	uint64_t second;

	commit(f);
	second = add(f, "Line", "order_no no text", 7LL, 2LL, "two");
	set(f, part, "line_no", 2LL);
	del(f, first);
	commit(f);
	assert_string_equal(ask(f, "SELECT order_no, line_no FROM parts"), "7|2");
	assert_string_equal(ask(f, "SELECT order_no, no FROM \"lines\""), "7|2");
	set(f, part, "line_no", NO_VALUE);
	set(f, second, "no", 3LL);
	set(f, part, "line_no", 3LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT p.line_no, l.no FROM parts p, \"lines\" l"), "3|3");
}

static void foreign_key_to_a_unique_column(void **state)
{
	fixture *f = *state;
	const uint64_t letter = (add(f, "User", "name email", "Ann", "a@x"), add(f, "Letter", "email", "a@x"));
	const uint64_t ann = (uint64_t)f->participant << ORMD_HANDLE_SHIFT | (f->counter - 1);
	uint64_t bob;

	NEEDS_DEFERRED_KEYS(f);
	commit(f);
	bob = add(f, "User", "name email", "Bob", "b@x");
	set(f, letter, "email", "b@x");
	set(f, ann, "email", NULL);
	commit(f);
	assert_string_equal(ask(f, "SELECT email FROM letters"), "b@x");
	set(f, bob, "email", "bob@x");
	set(f, letter, "email", "bob@x");
	commit(f);
	assert_string_equal(ask(f, "SELECT users.email, letters.email FROM users, letters WHERE users.name = 'Bob'"),
			    "bob@x|bob@x");
	del(f, letter);
	del(f, bob);
	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "1");
}

static void swap_of_values_that_others_refer_to(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "User", "name email", "Ann", "a@x");
	const uint64_t bob = add(f, "User", "name email", "Bob", "b@x");

	NEEDS_DEFERRED_KEYS(f);
	commit(f);
	outside(f, "INSERT INTO letters(email) VALUES ('a@x'), ('b@x')"); /* which the session does not know */
	set(f, ann, "email", "b@x");
	set(f, bob, "email", "a@x");
	commit(f);
	assert_string_equal(ask(f, "SELECT name, email FROM users ORDER BY id"), "Ann|b@x;Bob|a@x");
	set(f, ann, "email", "c@x"); /* but taking it away for good is refused */
	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(ask(f, "SELECT name, email FROM users ORDER BY id"), "Ann|b@x;Bob|a@x");
}

static void unique_values_of_every_type_swapped(void **state)
{
	static const char *const columns = "int32 int64 real text bytes date time datetime amount uuid json";
	fixture *f = *state;
	const uint64_t a =
		add(f, "Kind", columns, 1LL, 1LL, 1.5, "a", "a", 1LL, 1LL, 1LL, "1.50", "aaaaaaaaaaaaaaaa", "{}");
	const uint64_t b =
		add(f, "Kind", columns, 2LL, 2LL, 2.5, "b", "b", 2LL, 2LL, 2LL, "-2.50", "bbbbbbbbbbbbbbbb", "[2]");

	commit(f);
	set(f, a, columns, 2LL, 2LL, 2.5, "b", "b", 2LL, 2LL, 2LL, "-2.50", "bbbbbbbbbbbbbbbb", "[2]");
	set(f, b, columns, 1LL, 1LL, 1.5, "a", "a", 1LL, 1LL, 1LL, "1.50", "aaaaaaaaaaaaaaaa", "{}");
	commit(f);
	assert_string_equal(ask(f, "SELECT int32, int64, \"real\", text FROM kinds ORDER BY id"),
			    "2|2|2.5|b;1|1|1.5|a");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY bytes"),
			    "2;1"); /* engines show these in their own ways */
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY date"), "2;1");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY \"time\""), "2;1");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY datetime"), "2;1");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY amount"), "1;2");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY uuid"), "2;1");
	assert_string_equal(ask(f, "SELECT json FROM kinds ORDER BY id"), "[2];{}");
}

static void swap_without_a_third_value_is_refused(void **state)
{
	fixture *f = *state;
	const uint64_t a = add(f, "Flag", "flag", 0);
	const uint64_t b = add(f, "Flag", "flag", 1);

	commit(f);
	set(f, a, "flag", 1);
	set(f, b, "flag", 0);
	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "Flag");
	assert_string_equal(f->error.column, "flag");
	assert_string_equal(ask(f, "SELECT flag FROM flags ORDER BY id"), "0;1");
	roll_back(f);
	del(f, a);
	set(f, b, "flag", 0);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, flag FROM flags"), "2|0");
}

static void several_values_of_one_row_swapped(void **state)
{
	fixture *f = *state;
	const uint64_t a = add(f, "Kind", "int32 int64 real text bytes date time datetime amount uuid json", 1LL, 1LL,
			       1.5, "a", "a", 1LL, 1LL, 1LL, "1.00", "aaaaaaaaaaaaaaaa", "1");
	const uint64_t b = add(f, "Kind", "int32 int64 real text bytes date time datetime amount uuid json", 2LL, 2LL,
			       2.5, "b", "b", 2LL, 2LL, 2LL, "2.00", "bbbbbbbbbbbbbbbb", "2");
	const uint64_t c = add(f, "Kind", "int32 int64 real text bytes date time datetime amount uuid json", 3LL, 3LL,
			       3.5, "c", "c", 3LL, 3LL, 3LL, "3.00", "cccccccccccccccc", "3");

	commit(f);
	set(f, a, "int32 text amount", 2LL, "c", "3.00");
	set(f, b, "int32 text amount", 3LL, "a", "1.00");
	set(f, c, "int32 text amount", 1LL, "b", "2.00");
	commit(f);
	assert_string_equal(ask(f, "SELECT int32, text FROM kinds ORDER BY id"), "2|c;3|a;1|b");
	assert_string_equal(ask(f, "SELECT id FROM kinds ORDER BY amount"), "2;3;1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(tree_added_leaves_first),
		TEST(tree_deleted_root_first),
		TEST(row_that_refers_to_itself),
		TEST(circle_of_two_rows),
		TEST(many_circles_in_one_unit),
		TEST(circle_of_two_tables),
		TEST(circle_without_a_nullable_key_waits_for_the_end_of_the_unit),
		TEST(deleted_and_added_with_the_same_unique_value),
		TEST(the_givers_children_leave_first),
		TEST(children_move_to_the_row_that_takes_the_value),
		TEST(value_changed_away_and_taken_by_a_new_row),
		TEST(unique_values_swapped),
		TEST(unique_values_rotated_where_null_is_not_allowed),
		TEST(swap_of_many_rows),
		TEST(primary_keys_swapped),
		TEST(key_changed_with_rows_that_refer_to_it),
		TEST(same_key_deleted_and_added_keeps_rows_that_refer_to_it),
		TEST(same_key_deleted_and_added_cascades_where_the_model_says_so),
		TEST(same_key_deleted_and_added_takes_the_servers_defaults),
		TEST(cascaded_deletions),
		TEST(cascaded_tree),
		TEST(cascading_circle),
		TEST(children_moved_away_survive),
		TEST(composite_keys),
		TEST(foreign_key_of_several_columns),
		TEST(foreign_key_to_a_unique_column),
		TEST(swap_of_values_that_others_refer_to),
		TEST(unique_values_of_every_type_swapped),
		TEST(swap_without_a_third_value_is_refused),
		TEST(several_values_of_one_row_swapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
