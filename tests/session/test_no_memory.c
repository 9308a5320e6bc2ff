/* SPDX-License-Identifier: MIT */
/* Every allocation of the session and its driver fails once: the call says so, and made again it does what it should.
 * Linked with --wrap. */
#include "session/database_support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Allocations that still succeed; negative: all do. Atomic, as results are read ahead by another thread. */
static atomic_long fail_after = -1;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *piece, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *piece, size_t size);

static bool fails(void)
{
	return atomic_load(&fail_after) >= 0 && atomic_fetch_sub(&fail_after, 1) == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *piece, size_t size)
{
	return fails() ? NULL : __real_realloc(piece, size);
}

/* Fail the first allocation, the second, ... until the call succeeds; if it can be `repeated`, until it does so without
 * having met a failure. */
static int fail_each(fixture *f, orm_status (*call)(fixture *f), bool repeated)
{
	for (int n = 0; n < 100000; n++) {
		orm_status status;

		fail_after = n;
		status = call(f);

		const bool met = fail_after < 0;

		fail_after = -1;
		if (!met) {
			assert_ok(f, status);
			return n;
		}
		if (status == ORM_OK && !repeated) /* it did without what it did not get */
			return n;
		if (status != ORM_OK)
			assert_int_equal(status, ORM_ENOMEM);
	}
	fail_msg("it never succeeds");
	return 0;
}

/* ---- commits ------------------------------------------------------------------------------------------------ */

static void commits(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "Account", "owner balance", "ann", 1LL);
	const uint64_t bob = add(f, "Account", "owner balance", "bob", 2LL);
	const uint64_t gone = add(f, "User", "name email", "gone", "g@x");

	assert_true(fail_each(f, try_commit, false) > 3);
	set(f, ann, "owner", "bob");
	set(f, bob, "owner", "ann");
	del(f, gone);
	add(f, "User", "name email", "new", "g@x");
	add(f, "Node", "id name parent_id", 1LL, "a", 2LL);
	add(f, "Node", "id name parent_id", 2LL, "b", 1LL);
	assert_true(fail_each(f, try_commit, false) > 3);
	assert_string_equal(ask(f, "SELECT owner, balance, version, note FROM accounts ORDER BY id"),
			    "bob|1|2|none;ann|2|2|none");
	assert_string_equal(ask(f, "SELECT name, email FROM users"), "new|g@x");
	assert_string_equal(ask(f, "SELECT id, parent_id FROM nodes ORDER BY id"), "1|2;2|1");
	assert_string_equal(values_of(f, ann, "version note"), "2 'none'");
}

static orm_status settle(fixture *f)
{
	const ormd_commit_id id = {.client_id = "test client 123", .number = 1};
	ormd_outcome outcome = ORMD_OUTCOME_UNKNOWN;
	const void *result;
	size_t size;
	const orm_status status =
		ormd_commit_settle(f->database, &id, 0, &f->arena, &outcome, &result, &size, &f->error);

	if (status == ORM_OK)
		assert_int_equal(outcome, ORMD_OUTCOME_COMMITTED);
	return status;
}

static void settling(void **state)
{
	fixture *f = *state;

	add(f, "User", "name", "Alice");
	commit(f);
	assert_true(fail_each(f, settle, true) > 0);
}

/* ---- queries ------------------------------------------------------------------------------------------------ */

static size_t n_told;

static orm_status query_users(fixture *f)
{
	const orm_relationship *relationship = relationship_of(f, "User", "posts");
	const ormd_select select = {.mapper = mapper_of(f, "User"), .limit = ORMD_NO_LIMIT};
	const ormd_query_options options = {.load = &relationship, .n_load = 1};
	ormd_query *query = NULL;
	ormd_piece piece = {0};
	orm_status status;

	n_told = 0;
	f->finished = ORM_EINTERNAL;
	status = ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error);
	if (status == ORM_OK)
		status = wait_finished(f);
	while (status == ORM_OK && !piece.last) {
		status = ormd_query_next(query, 1000, &piece, &f->error);
		for (size_t i = 0; i < piece.n_rows && status == ORM_OK; i++)
			n_told += piece.rows[i].n_rows;
		for (size_t i = 0; i < piece.n_related && status == ORM_OK; i++)
			n_told += piece.related[i].n_rows;
	}
	ormd_query_close(query);
	return status;
}

static void queries(void **state)
{
	fixture *f = *state;

	outside(f, "INSERT INTO users(id, name) "
		   "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300) SELECT i, 'user' "
		   "FROM c");
	outside(f, "INSERT INTO posts(title, user_id) SELECT 'post', id FROM users");
	assert_true(fail_each(f, query_users, true) > 10);
	assert_int_equal(n_told, 600);
}

static void rehearsals(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name", "Alice");

	add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, alice), NO_VALUE);
	assert_true(fail_each(f, query_users, true) > 10);
	assert_int_equal(n_told, 2);
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "0");
	commit(f);
}

static orm_status get_and_refresh(fixture *f)
{
	const orm_mapper *mapper = mapper_of(f, "User");
	const int64_t key = 1;
	const orm_vector vector = {.column = 0, .type = ORM_INT64, .cells = &key};
	const orm_batch keys = {.mapper = mapper, .n_rows = 1, .n_vectors = 1, .vectors = &vector};
	const ormd_rows *rows = NULL;
	const uint64_t *missing;
	size_t n_rows = 0, n_missing = 0;
	bool complete;
	orm_status status = ormd_session_get(f->session, f->participant, &keys, false, &complete, 0, &f->arena, &rows,
					     &n_rows, &f->error);

	if (status != ORM_OK)
		return status;
	assert_int_equal(n_rows, 1);
	status = ormd_session_refresh(f->session, f->participant, rows[0].handles, 1, 0, &f->arena, &rows, &n_rows,
				      &missing, &n_missing, &f->error);
	if (status == ORM_OK)
		assert_int_equal(n_rows, 1);
	return status;
}

static void get_and_refresh_of_rows(void **state)
{
	fixture *f = *state;

	outside(f, "INSERT INTO users(id, name) VALUES (1, 'ann')");
	assert_true(fail_each(f, get_and_refresh, true) > 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(commits), TEST(settling), TEST(queries), TEST(rehearsals), TEST(get_and_refresh_of_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
