/* SPDX-License-Identifier: MIT */
/* What queries travel as, and what becomes of their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/fake_server.h"
#include "client/models.h"
#include "support/tempdir.h"

typedef struct fixture {
	fake_server *server;
	orm_db *db;
	orm_session *s;
} fixture;

static int set_up(void **state)
{
	static fixture f;

	f.server = fake_server_start(support_tempdir(), "s", 0);
	f.db = orm_connect(fake_server_address(f.server), test_models);
	assert_string_equal(orm_db_error(f.db)->message, "");
	f.s = orm_session_open(f.db);
	assert_string_equal(orm_session_error(f.s)->message, "");
	fake_server_log(f.server);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;

	orm_session_close(f->s);
	orm_disconnect(f->db);
	fake_server_stop(f->server);
	return 0;
}

#define ASKED(line) assert_string_equal(fake_server_log(f->server), line "\n")
#define UNASKED()   assert_string_equal(fake_server_log(f->server), "")

#define FAILED(wanted, part)                                                                                           \
	do {                                                                                                           \
		assert_int_equal(orm_session_error(f->s)->code, wanted);                                               \
		if (!strstr(orm_session_error(f->s)->message, part))                                                   \
			fail_msg("'%s' does not say '%s'", orm_session_error(f->s)->message, part);                    \
		orm_session_clear_error(f->s);                                                                         \
		UNASKED();                                                                                             \
	} while (0)

static void filters_compare_the_members_given(void **state)
{
	fixture *f = *state;

	assert_null(orm_first(f->s, User, .name = "Alice"));
	ASKED("Query User where name = 'Alice' order id limit 1");
	(void)orm_all(f->s, User, .name = "Alice", .age = {true, 30}, .active = false);
	ASKED("Query User where name = 'Alice', age = 30, active = false, AND, AND order id");
	(void)orm_all(f->s, User, .score = 0.5, .id = 0);
	ASKED("Query User where score = 0.5, id = 0, AND order id");
	assert_int_equal(orm_count(f->s, Post, .published = {true, {7}}, .day = {-1}), 0);
	ASKED("Query count Post where published = 7, day = -1, AND");
	assert_false(orm_exists(f->s, Post, .picture = {"ab", 2}));
	ASKED("Query exists Post where picture = x[2]");
}

static void without_a_filter_all_rows_are_asked_for_by_key(void **state)
{
	fixture *f = *state;

	(void)orm_all(f->s, User);
	ASKED("Query User order id");
	assert_null(orm_first(f->s, Line));
	ASKED("Query Line order order_id, number limit 1");
	orm_count(f->s, User);
	ASKED("Query count User");
}

static void null_matches_null(void **state)
{
	fixture *f = *state;

	(void)orm_all(f->s, User, .email = NULL, .age = {.has = false});
	ASKED("Query User where email is null, age is null, AND order id");
}

static void a_relationship_is_its_foreign_key(void **state)
{
	fixture *f = *state;
	User *alice;

	fake_server_set_rows(f->server, 1, 1);
	alice = orm_get(f->s, User, 1);
	assert_non_null(alice);
	ASKED("Get id=1");
	(void)orm_all(f->s, Post, .author = alice);
	assert_string_equal(orm_session_error(f->s)->message, "");
	ASKED("Query Post where user_id = 1 order id");
	(void)orm_all(f->s, Post, .author = NULL, .title = "Hello");
	ASKED("Query Post where user_id is null, title = 'Hello', AND order id");
}

static void an_object_without_a_key_is_sent_before_it_is_looked_for(void **state)
{
	fixture *f = *state;
	User *alice = orm_add(f->s, User, .name = "Alice");

	(void)orm_all(f->s, Post, .author = alice);
	ASKED("Publish +1\nQuery Post where user_id = 1 order id");
}

static void what_cannot_be_a_filter_is_refused(void **state)
{
	fixture *f = *state;
	User not_ours = {.id = 1};

	assert_int_equal(orm_all(f->s, Post, .author = &not_ours).len, 0);
	FAILED(ORM_EINVAL, "Post.author: the filter's value is not an object of this session");
	assert_null(orm_first(f->s, User, .posts = {NULL, 0}));
	FAILED(ORM_EINVAL, "User.posts: a filter takes columns and to-one relationships");
	assert_int_equal(orm_count(f->s, User, .name = "\xff"), ORM_EINVAL);
	FAILED(ORM_EINVAL, "User.name: the text to compare with is not UTF-8");
	assert_false(orm_exists_object(f->s, &User_model, &(User){.id = 1}, "EVERYTHING"));
	FAILED(ORM_EINVAL, "User: 'EVERYTHING' is not of the form");
}

static void terms_are_joined_by_and(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);

	orm_where(q, User, age, ORM_GE, 18);
	orm_where(q, User, name, ORM_LIKE, "A%");
	orm_where(q, User, score, ORM_LT, 0.25);
	orm_where_not_null(q, User, email);
	(void)orm_query_all(q, User);
	ASKED("Query User where age >= 18, name like 'A%', score < 0.25, email not null, AND, AND, AND order id");
	orm_query_free(q);
}

static void or_and_not_take_the_terms_before_them(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);

	orm_where(q, User, active, ORM_EQ, true);
	orm_where(q, User, age, ORM_LT, 10);
	orm_where(q, User, age, ORM_GT, 90);
	orm_or(q);
	orm_not(q);
	(void)orm_query_all(q, User);
	ASKED("Query User where active = true, age < 10, age > 90, OR, NOT, AND order id");
	orm_query_free(q);

	q = orm_select(f->s, User);
	orm_not(q);
	FAILED(ORM_EINVAL, "orm_not needs 1 term before it, but the query on User has 0");
	orm_where_null(q, User, email);
	orm_or(q);
	FAILED(ORM_EINVAL, "orm_or needs 2 terms before it, but the query on User has 1");
}

static void every_type_compares(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, Post);

	orm_where(q, Post, id, ORM_NE, INT64_MIN);
	orm_where(q, Post, published, ORM_LE, ((orm_datetime){5}));
	orm_where(q, Post, day, ORM_EQ, ((orm_date){6}));
	orm_where(q, Post, at, ORM_GT, ((orm_time){7}));
	orm_where(q, Post, picture, ORM_EQ, ((orm_bytes){"", 0}));
	(void)orm_query_all(q, Post);
	ASKED("Query Post where id <> -9223372036854775808, published <= 5, day = 6, at > 7, picture = x[0], AND, AND, "
	      "AND, AND order id");
}

static void in_takes_arrays_of_every_type(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);
	const int64_t ids[] = {3, 1, 2};
	const char *const names[] = {"Alice", "Bob"};
	const double scores[] = {0.5};
	const bool either[] = {true, false};
	const int32_t ages[] = {18};

	orm_where_in(q, User, id, ids, 3);
	orm_where_in(q, User, name, names, 2);
	orm_where_in(q, User, score, scores, 1);
	orm_where_in(q, User, active, either, 2);
	orm_where_in(q, User, age, ages, 0);
	assert_false(orm_query_exists(q));
	ASKED("Query exists User where id in 3 1 2, name in 'Alice' 'Bob', score in 0.5, active in true false, age in, "
	      "AND, AND, AND, AND");
}

static void values_are_copied(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);
	char name[] = "Alice";

	orm_where(q, User, name, ORM_EQ, name);
	memset(name, 'x', sizeof name - 1);
	(void)orm_query_all(q, User);
	ASKED("Query User where name = 'Alice' order id");
}

static void order_limit_offset_and_loads_travel(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);

	orm_order_by_desc(q, User, score);
	orm_order_by(q, User, name);
	orm_limit(q, 10);
	orm_offset(q, 20);
	orm_with(q, User, posts);
	orm_populate_existing(q);
	(void)orm_query_all(q, User);
	ASKED("Query User order score desc, name limit 10 offset 20 with posts populate");
	orm_query_first(q, User);
	ASKED("Query User order score desc, name limit 1 offset 20 with posts populate");
	orm_query_count(q);
	ASKED("Query count User limit 10 offset 20 populate");
	orm_limit(q, 0);
	orm_query_first(q, User);
	ASKED("Query User order score desc, name limit 0 offset 20 with posts populate");
}

static void a_query_may_grow_between_runs(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);

	(void)orm_query_all(q, User);
	ASKED("Query User order id");
	orm_where(q, User, age, ORM_EQ, 1);
	orm_order_by(q, User, name);
	(void)orm_query_all(q, User);
	ASKED("Query User where age = 1 order name");
}

static void mistakes_in_queries_are_named(void **state)
{
	fixture *f = *state;
	orm_query *q = orm_select(f->s, User);
	const char *const names[] = {"Alice", NULL};

	orm_where(q, Post, title, ORM_EQ, "Hello");
	FAILED(ORM_EINVAL, "the query is on User, not on Post");
	(void)orm_query_all(q, Post);
	FAILED(ORM_EINVAL, "the query is on User, not on Post");
	orm_where(q, User, email, ORM_EQ, NULL);
	FAILED(ORM_EINVAL, "User.email: nothing compares to NULL; use orm_where_null");
	orm_where_in(q, User, name, names, 2);
	FAILED(ORM_EINVAL, "User.name: orm_where_in was given a NULL");
	orm_where(q, User, age, ORM_LIKE, 1);
	FAILED(ORM_EINVAL, "User.age: ORM_LIKE compares text only");
	orm_where(q, User, age, (orm_operator)8, 1);
	FAILED(ORM_EINVAL, "User.age: orm_where was given an operator that there is not");
	orm_order_by_member(q, &User_model, offsetof(User, posts), false);
	FAILED(ORM_EINVAL, "User: the member is no column of the model");
	orm_with_member(q, &User_model, offsetof(User, name));
	FAILED(ORM_EINVAL, "orm_with was not given a relationship");
	assert_null(orm_query_new(f->s, &(orm_model){.name = "Stranger"}));
	FAILED(ORM_EINVAL, "Stranger: the model is not among those");
}

static void queries_of_no_session_do_nothing(void **state)
{
	orm_query *q = orm_select((orm_session *)NULL, User);

	(void)state;
	assert_null(q);
	orm_where(q, User, age, ORM_EQ, 1);
	orm_or(q);
	orm_limit(q, 1);
	assert_int_equal(orm_query_all(q, User).len, 0);
	assert_null(orm_query_first(q, User));
	assert_true(orm_query_count(q) < 0);
	assert_false(orm_query_exists(q));
	orm_query_free(q);
}

static void a_failed_session_asks_nothing(void **state)
{
	fixture *f = *state;

	assert_null(orm_first(f->s, User, .posts = {NULL, 0}));
	assert_null(orm_first(f->s, User));
	assert_int_equal(orm_all(f->s, User).len, 0);
	assert_int_equal(orm_count(f->s, User), ORM_EINVAL);
	assert_null(orm_get(f->s, User, 1));
	assert_int_equal(orm_commit(f->s), ORM_EINVAL);
	assert_int_equal(orm_flush(f->s), ORM_EINVAL);
	FAILED(ORM_EINVAL, "User.posts");
}

static void rows_come_in_several_messages(void **state)
{
	fixture *f = *state;
	User_list users;

	fake_server_set_rows(f->server, 10, 3);
	users = orm_all(f->s, User);
	assert_int_equal(users.len, 10);
	for (size_t i = 0; i < users.len; i++)
		assert_int_equal(users.items[i]->id, (int64_t)i + 1);
	ASKED("Query User order id");

	/* One row is one struct, however often it is found. */
	assert_ptr_equal(orm_get(f->s, User, 7), users.items[6]);
	UNASKED();
	assert_ptr_equal(orm_first(f->s, User), users.items[0]);
	assert_int_equal(orm_count(f->s, User), 10);
}

static void what_is_pending_travels_with_a_private_query(void **state)
{
	fixture *f = *state;
	User *alice;

	alice = orm_add(f->s, User, .name = "Alice");
	(void)orm_all(f->s, Post);
	ASKED("Query Post order id +1");
	assert_int_equal(alice->id, 1);
	(void)orm_all(f->s, Post);
	ASKED("Query Post order id");
}

static void a_shared_query_publishes_nothing(void **state)
{
	fixture *f = *state;
	orm_session *shared = orm_session_join(f->db, "order-1042", &(orm_join_options){.participant = "desk"});

	ASKED("Open order-1042 as desk");
	orm_add(shared, User, .name = "Alice");
	(void)orm_all(shared, Post);
	ASKED("Query Post order id");
	orm_get(shared, User, 99);
	ASKED("Get id=99");
	orm_flush(shared);
	ASKED("Publish +1");
	orm_session_close(shared);
	ASKED("Close");
}

static void keys_are_looked_up_as_their_columns_types(void **state)
{
	fixture *f = *state;

	assert_null(orm_get(f->s, Line, 7, 3));
	ASKED("Get order_id=7 number=3");
	assert_null(orm_get(f->s, Line, 7, INT64_C(3000000000))); /* no int32: no row has it */
	UNASKED();
	assert_int_equal(orm_session_error(f->s)->code, ORM_OK);
	assert_null(orm_get(f->s, Line, 7));
	FAILED(ORM_EINVAL, "Line: the primary key has 2 columns, but orm_get was given 1 value");
	assert_null(orm_get(f->s, User, "Alice"));
	FAILED(ORM_EINVAL, "User.id: the key column is of type int64, but orm_get was given a text");
	assert_null(orm_get(f->s, User, 1.0));
	FAILED(ORM_EINVAL, "a floating-point number");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(filters_compare_the_members_given),
		TEST(without_a_filter_all_rows_are_asked_for_by_key),
		TEST(null_matches_null),
		TEST(a_relationship_is_its_foreign_key),
		TEST(an_object_without_a_key_is_sent_before_it_is_looked_for),
		TEST(what_cannot_be_a_filter_is_refused),
		TEST(terms_are_joined_by_and),
		TEST(or_and_not_take_the_terms_before_them),
		TEST(every_type_compares),
		TEST(in_takes_arrays_of_every_type),
		TEST(values_are_copied),
		TEST(order_limit_offset_and_loads_travel),
		TEST(a_query_may_grow_between_runs),
		TEST(mistakes_in_queries_are_named),
		TEST(queries_of_no_session_do_nothing),
		TEST(a_failed_session_asks_nothing),
		TEST(rows_come_in_several_messages),
		TEST(what_is_pending_travels_with_a_private_query),
		TEST(a_shared_query_publishes_nothing),
		TEST(keys_are_looked_up_as_their_columns_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
