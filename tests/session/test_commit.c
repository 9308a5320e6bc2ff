/* SPDX-License-Identifier: MIT */
/* Commits on a real database file: what is written, that it is written once, and what a failure leaves. */
#include "session/database_support.h"

#include <string.h>

#include "base/error.h"

static void commit_writes_inserts_updates_and_deletes(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name email", "Alice", "a@x");
	const uint64_t bob = add(f, "User", "name email", "Bob", NULL);

	add(f, "Post", "title user_id reviewer_id", "Hello", (long long)key_of(f, alice), NO_VALUE);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name, email FROM users ORDER BY id"), "1|Alice|a@x;2|Bob|NULL");
	assert_string_equal(ask(f, "SELECT title, user_id, reviewer_id FROM posts"), "Hello|1|NULL");
	assert_int_equal(state_of(f, alice), ORMD_STATE_PERSISTENT);
	assert_false(ormd_unit_pending(f->session));

	set(f, alice, "name", "Alicia");
	del(f, bob);
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name, email FROM users ORDER BY id"), "1|Alicia|a@x");
	assert_int_not_equal(state_of(f, bob), ORMD_STATE_PERSISTENT);
}

static void nothing_pending_needs_no_database(void **state)
{
	fixture *f = *state;

	commit(f);
	assert_string_equal(ask(f, "SELECT count(*) FROM ormd_commit"), "0");
}

static void version_starts_at_1_and_counts_up(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);

	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance, version FROM accounts"), "ann|5|1");
	assert_string_equal(values_of(f, account, "version"), "1");
	set(f, account, "balance", 6LL);
	commit(f);
	set(f, account, "balance", 7LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance, version FROM accounts"), "ann|7|3");
	assert_string_equal(values_of(f, account, "version"), "3");
}

static void server_defaults_come_back(void **state)
{
	fixture *f = *state;
	const uint64_t first = add(f, "Account", "owner balance", "ann", 5LL);
	const uint64_t second = add(f, "Account", "owner balance note", "bob", 5LL, "mine");

	commit(f);
	assert_string_equal(values_of(f, first, "note"), "'none'");
	assert_string_equal(values_of(f, second, "note"), "'mine'");
	assert_string_equal(ask(f, "SELECT note FROM accounts ORDER BY id"), "none;mine");
	assert_string_not_equal(values_of(f, first, "opened"), "NULL");
}

static void only_changed_columns_are_written(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name email", "Alice", "a@x");

	commit(f);
	outside(f, "UPDATE users SET email = 'other@x'"); /* unversioned: somebody else's column stays */
	set(f, alice, "name", "Alicia");
	commit(f);
	assert_string_equal(ask(f, "SELECT name, email FROM users"), "Alicia|other@x");
}

static void value_set_back_is_no_update(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);

	commit(f);
	set(f, account, "balance", 6LL);
	set(f, account, "balance", 5LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT version FROM accounts"), "1");
}

static void stale_update_names_model_key_and_version(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);

	commit(f);
	outside(f, "UPDATE accounts SET balance = 9, version = 2");
	set(f, account, "balance", 6LL);
	assert_int_equal(try_commit(f), ORM_ESTALE);
	assert_string_equal(f->error.model, "Account");
	assert_string_equal(f->error.key, "1");
	assert_non_null(strstr(f->error.message, "version 1"));
	assert_true(ormd_unit_pending(f->session));
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts"), "9|2");
}

static void stale_delete_by_version(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);

	commit(f);
	outside(f, "UPDATE accounts SET version = 2");
	del(f, account);
	assert_int_equal(try_commit(f), ORM_ESTALE);
	assert_string_equal(ask(f, "SELECT count(*) FROM accounts"), "1");
	roll_back(f);
	assert_int_equal(state_of(f, account), ORMD_STATE_PERSISTENT);
}

static void row_that_is_gone_is_stale(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name", "Alice");
	const uint64_t bob = add(f, "User", "name", "Bob");

	commit(f);
	outside(f, "DELETE FROM users");
	set(f, alice, "name", "Alicia");
	assert_int_equal(try_commit(f), ORM_ESTALE);
	assert_string_equal(f->error.model, "User");
	assert_string_equal(f->error.key, "1");
	roll_back(f);
	del(f, bob);
	assert_int_equal(try_commit(f), ORM_ESTALE);
	assert_string_equal(f->error.key, "2");
}

static void constraint_error_leaves_the_unit_and_a_corrected_commit_works(void **state)
{
	fixture *f = *state;
	const uint64_t ann = add(f, "Account", "owner balance", "ann", 5LL);
	const uint64_t bob = add(f, "Account", "owner balance", "bob", -1LL);

	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "Account");
	assert_string_equal(f->error.column, "balance");
	assert_string_equal(f->error.key, "2");
	assert_non_null(strstr(f->error.message, "Account.balance: "));
	assert_string_equal(ask(f, "SELECT count(*) FROM accounts"), "0");
	assert_int_equal(state_of(f, ann), ORMD_STATE_NEW);
	assert_string_equal(values_of(f, ann, "version note"), "NULL NULL");

	set(f, bob, "balance", 1LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance FROM accounts ORDER BY id"), "ann|5;bob|1");
	assert_string_equal(values_of(f, ann, "version note"), "1 'none'");
}

static void constraint_error_names_the_author(void **state)
{
	fixture *f = *state;
	uint32_t other;

	new_session(f, "order-1042");
	assert_ok(f, ormd_session_join(f->session, "till", &other, &f->error));
	add(f, "User", "name email", "Alice", "a@x");
	f->participant = other;
	add(f, "User", "name email", "Bob", "a@x");
	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "User");
	assert_string_equal(f->error.column, "email");
	assert_string_equal(f->error.key, "2");
	assert_non_null(strstr(f->error.message, "User.email: "));
	assert_non_null(strstr(f->error.message, "User 2 (published by \"till\")"));
}

static void foreign_key_error_names_the_row(void **state)
{
	fixture *f = *state;

	add(f, "Post", "title user_id reviewer_id", "Hello", 77LL, NO_VALUE);
	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "Post");
	assert_string_equal(f->error.key, "1");
}

/* ---- exactly once ------------------------------------------------------------------------------------------- */

static void same_id_after_a_crash_is_a_replay(void **state)
{
	fixture *f = *state;

	add(f, "User", "name email", "Alice", "a@x");
	commit(f);
	reopen_database(
		f); /* the reply got lost, the server restarted: the client publishes again and repeats the commit */
	f->keep_number = true;
	f->counter = 0;
	add(f, "User", "id name email", 1LL, "Alice", "a@x");
	commit(f);
	assert_false(ormd_unit_pending(f->session));
	assert_string_equal(ask(f, "SELECT id, name FROM users"), "1|Alice");
	assert_string_equal(ask(f, "SELECT count(*) FROM ormd_commit"), "1");
}

static void same_id_with_other_contents_is_refused(void **state)
{
	fixture *f = *state;
	ormd_commit_request request = {
		.participant = f->participant, .id = {.client_id = "test client 123", .number = 1}, .fingerprint = 43};

	add(f, "User", "name", "Alice");
	commit(f);
	add(f, "User", "name", "Bob");
	request.seen = ormd_session_revision(f->session);
	f->finished = ORM_EINTERNAL;
	ormd_session_commit(f->session, &request, note_finished, f);
	assert_int_equal(wait_finished(f), ORM_EINVAL);
	assert_true(ormd_unit_pending(f->session));
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "1");
}

static void settle(fixture *f, uint64_t number, ormd_outcome wanted, const char *wanted_result)
{
	const ormd_commit_id id = {.client_id = "test client 123", .number = number};
	ormd_outcome outcome = ORMD_OUTCOME_UNKNOWN;
	const void *result = NULL;
	size_t size = 0;

	assert_ok(f, ormd_commit_settle(f->database, &id, 0, &f->arena, &outcome, &result, &size, &f->error));
	assert_int_equal(outcome, wanted);
	assert_int_equal(size, wanted_result ? strlen(wanted_result) : 0);
	if (wanted_result)
		assert_memory_equal(result, wanted_result, size);
	else
		assert_null(result);
}

static void settling_a_commit_that_happened_gives_its_result(void **state)
{
	fixture *f = *state;

	add(f, "User", "name", "Alice");
	commit(f);
	settle(f, 1, ORMD_OUTCOME_COMMITTED, "kept");
	settle(f, 1, ORMD_OUTCOME_COMMITTED, "kept");
}

static void settling_first_aborts_the_late_commit(void **state)
{
	fixture *f = *state;

	settle(f, 1, ORMD_OUTCOME_ABORTED, NULL);
	settle(f, 1, ORMD_OUTCOME_ABORTED, NULL);
	add(f, "User", "name", "Alice");
	assert_int_equal(try_commit(f), ORM_EABORTED);
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "0");
	commit(f); /* with the next number it is a new one */
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "1");
	settle(f, 1, ORMD_OUTCOME_ABORTED, NULL);
}

static void failed_commit_keeps_no_id(void **state)
{
	fixture *f = *state;
	const uint64_t bob = add(f, "Account", "owner balance", "bob", -1LL);

	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(ask(f, "SELECT count(*) FROM ormd_commit"), "0");
	set(f, bob, "balance", 1LL);
	f->keep_number = true;
	commit(f);
	settle(f, 1, ORMD_OUTCOME_COMMITTED, "kept");
}

static void old_ids_are_cleaned_up(void **state)
{
	fixture *f = *state;
	const uint64_t alice = add(f, "User", "name", "Alice");

	for (int i = 0; i < 128; i++) {
		set(f, alice, "name", i % 2 ? "odd" : "even");
		commit(f);
	}
	assert_string_equal(ask(f, "SELECT min(commit_no), max(commit_no) FROM ormd_commit"), "112|128");
}

static void another_participants_rollback_must_be_seen_first(void **state)
{
	fixture *f = *state;
	ormd_commit_request request = {.id = {.client_id = "test client 123", .number = 9}};
	uint32_t other;

	new_session(f, "order-1042");
	assert_ok(f, ormd_session_join(f->session, "till", &other, &f->error));
	request.participant = other;
	add(f, "User", "name", "Alice");
	request.seen = ormd_session_revision(f->session);
	roll_back(f);
	add(f, "User", "name", "Bob");
	f->finished = ORM_EINTERNAL;
	ormd_session_commit(f->session, &request, note_finished, f);
	assert_int_equal(wait_finished(f), ORM_EABORTED);
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(commit_writes_inserts_updates_and_deletes),
		TEST(nothing_pending_needs_no_database),
		TEST(version_starts_at_1_and_counts_up),
		TEST(server_defaults_come_back),
		TEST(only_changed_columns_are_written),
		TEST(value_set_back_is_no_update),
		TEST(stale_update_names_model_key_and_version),
		TEST(stale_delete_by_version),
		TEST(row_that_is_gone_is_stale),
		TEST(constraint_error_leaves_the_unit_and_a_corrected_commit_works),
		TEST(constraint_error_names_the_author),
		TEST(foreign_key_error_names_the_row),
		TEST(same_id_after_a_crash_is_a_replay),
		TEST(same_id_with_other_contents_is_refused),
		TEST(settling_a_commit_that_happened_gives_its_result),
		TEST(settling_first_aborts_the_late_commit),
		TEST(failed_commit_keeps_no_id),
		TEST(old_ids_are_cleaned_up),
		TEST(another_participants_rollback_must_be_seen_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
