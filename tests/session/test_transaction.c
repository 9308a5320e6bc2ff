/* SPDX-License-Identifier: MIT */
/* Transactions of a session's own: what they see, what they hold, what a failure leaves of them, and how they end. */
#include "session/database_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SOON_MS 500 /* to wait for what does not come */

/* A second unit of work on the fixture's database, as another client's. */
static void set_up_other(fixture *other, const fixture *f, const ormd_session_options *options)
{
	*other = *f;
	orm_arena_init(&other->arena, 0);
	other->counter = 0;
	other->commit_number = f->commit_number + 1000;
	other->session = ormd_session_new(f->registry, f->database, options, &other->error);
	assert_non_null(other->session);
	assert_ok(other, ormd_session_join(other->session, "other", &other->participant, &other->error));
}

static void tear_down_other(fixture *other)
{
	ormd_session_free(other->session);
	orm_arena_fini(&other->arena);
}

/* In place of the fixture's session. */
static void use_session(fixture *f, const ormd_session_options *options)
{
	free_session(f);
	f->counter = 0;
	f->session = ormd_session_new(f->registry, f->database, options, &f->error);
	assert_non_null(f->session);
	assert_ok(f, ormd_session_join(f->session, "test", &f->participant, &f->error));
}

static void add_accounts(fixture *f)
{
	outside(f, "INSERT INTO accounts (id, owner, balance, version) VALUES (1, 'ann', 100, 1), (2, 'bob', 100, 1)");
}

static orm_status query_all(fixture *f, const char *model, ormd_lock lock, int64_t timeout_ms, uint64_t *handles,
			    size_t max_handles, size_t *n_handles)
{
	const ormd_order by_key = {.column = mapper_of(f, model)->key[0]};
	const ormd_select select = {
		.mapper = mapper_of(f, model), .limit = ORMD_NO_LIMIT, .lock = lock, .order = &by_key, .n_order = 1};
	const ormd_query_options options = {.deadline_us = timeout_ms ? orm_deadline_in_ms(timeout_ms) : 0};
	ormd_query *query = NULL;
	ormd_piece piece = {0};
	orm_status status;

	*n_handles = 0;
	f->finished = ORM_EINTERNAL;
	status = ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error);
	if (status == ORM_OK)
		status = wait_finished(f);
	while (status == ORM_OK && !piece.last) {
		status = ormd_query_next(query, 4096, &piece, &f->error);
		for (size_t i = 0; status == ORM_OK && i < piece.n_rows; i++) {
			for (size_t j = 0; j < piece.rows[i].n_rows && *n_handles < max_handles; j++)
				handles[(*n_handles)++] = piece.rows[i].handles[j];
		}
	}
	ormd_query_close(query);
	return status;
}

static orm_status try_lock(fixture *f, ormd_lock lock, int64_t timeout_ms)
{
	uint64_t handles[8];
	size_t n;

	return query_all(f, "Account", lock, timeout_ms, handles, 8, &n);
}

/* The handle of the account with this key; the whole table is read, or locked. */
static uint64_t account(fixture *f, ormd_lock lock, int64_t key)
{
	uint64_t handles[8];
	size_t n;

	assert_ok(f, query_all(f, "Account", lock, 0, handles, 8, &n));
	for (size_t i = 0; i < n; i++) {
		if (key_of(f, handles[i]) == key)
			return handles[i];
	}
	fail_msg("there is no account %lld", (long long)key);
	return 0;
}

static long long balance(fixture *f, uint64_t handle)
{
	return strtoll(values_of(f, handle, "balance"), NULL, 10);
}

/* ---- locks -------------------------------------------------------------------------------------------------- */

static void locked_rows_are_held_until_the_commit(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t mine;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	mine = account(f, ORMD_LOCK_WAIT, 1);
	assert_int_equal(try_lock(&other, ORMD_LOCK_WAIT, SOON_MS), ORM_ETIMEOUT);
	assert_int_equal(try_lock(&other, ORMD_LOCK_FAIL, 0), ORM_ETIMEOUT);
	set(f, mine, "balance", balance(f, mine) + 10);
	commit(f);
	mine = account(&other, ORMD_LOCK_WAIT, 1);
	assert_int_equal(balance(&other, mine), 110);
	set(&other, mine, "balance", balance(&other, mine) + 10);
	commit(&other);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "120|3");
	tear_down_other(&other);
}

static void locked_row_shows_what_was_locked(void **state)
{
	fixture *f = *state;
	uint64_t handle;

	add_accounts(f);
	handle = account(f, ORMD_LOCK_NONE, 1);
	outside(f, "UPDATE accounts SET balance = 7, version = 2 WHERE id = 1");
	assert_int_equal(balance(f, account(f, ORMD_LOCK_NONE, 1)), 100); /* the object's value wins */
	assert_int_equal(balance(f, account(f, ORMD_LOCK_WAIT, 1)), 7);
	set(f, handle, "balance", balance(f, handle) + 1);
	commit(f); /* the version that was locked */
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "8|3");
}

static void without_a_lock_the_version_finds_the_lost_update(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t mine;
	uint64_t theirs;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	mine = account(f, ORMD_LOCK_NONE, 1);
	theirs = account(&other, ORMD_LOCK_NONE, 1);
	set(f, mine, "balance", 101LL);
	commit(f);
	set(&other, theirs, "balance", 102LL);
	assert_int_equal(try_commit(&other), ORM_ESTALE);
	roll_back(&other);
	tear_down_other(&other);
}

static void rollback_gives_up_locks_and_restores(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t handle;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	handle = account(f, ORMD_LOCK_WAIT, 1);
	set(f, handle, "balance", 1LL);
	roll_back(f);
	assert_int_equal(balance(f, handle), 100);
	assert_int_equal(ormd_session_transaction_until(f->session), ORM_NO_DEADLINE);
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	tear_down_other(&other);
	assert_string_equal(ask(f, "SELECT balance FROM accounts WHERE id = 1"), "100");
}

static void commit_of_nothing_ends_the_transaction(void **state)
{
	fixture *f = *state;
	fixture other;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	account(f, ORMD_LOCK_WAIT, 1);
	commit(f);
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	tear_down_other(&other);
}

static void query_that_locks_sees_pending_changes(void **state)
{
	fixture *f = *state;
	uint64_t handles[8];
	uint64_t ann;
	uint64_t cid;
	size_t n;

	add_accounts(f);
	ann = account(f, ORMD_LOCK_NONE, 1);
	set(f, ann, "balance", 5LL);
	cid = add(f, "Account", "owner balance", "cid", 3LL);
	outside(f, "UPDATE accounts SET note = 'theirs' WHERE id = 1");
	assert_ok(f, query_all(f, "Account", ORMD_LOCK_WAIT, 0, handles, 8, &n));
	assert_int_equal(n, 3);
	assert_int_equal(handles[0], ann);
	assert_int_equal(handles[2], cid);
	assert_string_equal(values_of(f, ann, "balance note"),
			    "5 'theirs'");                                 /* pending fields stay, others are fresh */
	assert_string_equal(ask(f, "SELECT count(*) FROM accounts"), "2"); /* it was undone */
	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance, note, version FROM accounts ORDER BY id"),
			    "ann|5|theirs|2;bob|100|none|1;cid|3|none|1");
}

static void related_objects_load_along(void **state)
{
	fixture *f = *state;
	const orm_relationship *load[] = {relationship_of(f, "User", "posts")};
	const ormd_select select = {.mapper = mapper_of(f, "User"), .limit = ORMD_NO_LIMIT, .lock = ORMD_LOCK_WAIT};
	const ormd_query_options options = {.load = load, .n_load = 1};
	ormd_query *query = NULL;
	ormd_piece piece = {0};
	size_t n_related = 0;
	size_t n_loaded = 0;

	outside(f, "INSERT INTO users (id, name) VALUES (1, 'Ann'), (2, 'Bob');"
		   "INSERT INTO posts (id, title, user_id) VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 2)");
	f->finished = ORM_EINTERNAL;
	assert_ok(f,
		  ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error));
	assert_ok(f, wait_finished(f));
	while (!piece.last) {
		assert_ok(f, ormd_query_next(query, 4096, &piece, &f->error));
		for (size_t i = 0; i < piece.n_related; i++)
			n_related += piece.related[i].n_rows;
		for (size_t i = 0; i < piece.n_loaded; i++)
			n_loaded += piece.loaded[i].n_parents;
	}
	ormd_query_close(query);
	assert_int_equal(n_related, 3);
	assert_int_equal(n_loaded, 2);
}

static void a_count_locks_nothing(void **state)
{
	fixture *f = *state;
	const ormd_select select = {
		.mapper = mapper_of(f, "User"), .result = ORMD_COUNT, .limit = ORMD_NO_LIMIT, .lock = ORMD_LOCK_WAIT};
	const ormd_select unknown = {.mapper = mapper_of(f, "User"), .limit = ORMD_NO_LIMIT, .lock = (ormd_lock)4};

	assert_int_equal(ormd_select_check(&select, &f->error), ORM_EINVAL);
	assert_non_null(strstr(f->error.message, "orm_for_update"));
	assert_int_equal(ormd_select_check(&unknown, &f->error), ORM_EINVAL);
}

/* ---- isolation ---------------------------------------------------------------------------------------------- */

static void repeatable_read_sees_one_snapshot(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t handles[8];
	uint64_t theirs;
	size_t n;

	add_accounts(f);
	use_session(f, &(ormd_session_options){.isolation = ORM_REPEATABLE_READ});
	set_up_other(&other, f, &(ormd_session_options){0});
	theirs = account(&other, ORMD_LOCK_NONE, 1);
	assert_ok(f, query_all(f, "Account", ORMD_LOCK_NONE, 0, handles, 8, &n));
	assert_int_equal(n, 2);
	/* On an engine with one writer the other has to wait; on the others what it writes is not seen. */
	set(&other, theirs, "balance", 1LL);
	if (!ormd_database_is_shared(f->database)) {
		assert_int_equal(try_lock(&other, ORMD_LOCK_WAIT, SOON_MS), ORM_ETIMEOUT);
	} else {
		add(&other, "Account", "owner balance", "cid", 3LL);
		commit(&other);
	}
	assert_ok(f, query_all(f, "Account", ORMD_LOCK_NONE, 0, handles, 8, &n));
	assert_int_equal(n, 2);
	assert_int_equal(balance(f, handles[0]), 100);
	commit(f);
	tear_down_other(&other);
}

static void isolated_unit_commits_what_it_wrote(void **state)
{
	fixture *f = *state;
	uint64_t handle;

	add_accounts(f);
	use_session(f, &(ormd_session_options){.isolation = ORM_SERIALIZABLE});
	for (int i = 1; i <= 3; i++) {
		handle = account(f, ORMD_LOCK_NONE, 1);
		set(f, handle, "balance", balance(f, handle) + 1);
		add(f, "User", "name", "somebody");
		commit(f);
		assert_int_equal(ormd_session_transaction_until(f->session), ORM_NO_DEADLINE);
	}
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "103|4");
	assert_string_equal(ask(f, "SELECT count(*) FROM users"), "3");
}

static void isolated_unit_needs_no_read_to_commit(void **state)
{
	fixture *f = *state;

	use_session(f, &(ormd_session_options){.isolation = ORM_READ_COMMITTED});
	add(f, "User", "name", "Ann");
	commit(f);
	assert_string_equal(ask(f, "SELECT id, name FROM users"), "1|Ann");
}

/* ---- failures ----------------------------------------------------------------------------------------------- */

static void failed_statement_leaves_the_transaction(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t ann;
	uint64_t bad;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 42LL);
	bad = add(f, "Account", "owner balance", "bad", -1LL);
	assert_int_equal(try_commit(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "Account");
	assert_string_equal(f->error.column, "balance");
	assert_int_equal(try_lock(&other, ORMD_LOCK_WAIT, SOON_MS), ORM_ETIMEOUT); /* still locked */
	set(f, bad, "balance", 1LL);
	assert_int_equal(balance(f, account(f, ORMD_LOCK_NONE, 1)), 42);
	commit(f);
	assert_string_equal(ask(f, "SELECT owner, balance FROM accounts ORDER BY id"), "ann|42;bob|100;bad|1");
	tear_down_other(&other);
}

static void query_over_a_unit_that_cannot_be_leaves_the_transaction(void **state)
{
	fixture *f = *state;
	uint64_t handles[8];
	uint64_t bad;
	size_t n;

	add_accounts(f);
	account(f, ORMD_LOCK_WAIT, 1);
	bad = add(f, "Account", "owner balance", "ann", 1LL); /* the owner is unique */
	assert_int_equal(query_all(f, "Account", ORMD_LOCK_NONE, 0, handles, 8, &n), ORM_ECONSTRAINT);
	set(f, bad, "owner", "cid");
	assert_ok(f, query_all(f, "Account", ORMD_LOCK_NONE, 0, handles, 8, &n));
	assert_int_equal(n, 3);
	commit(f);
}

static void stale_commit_in_a_transaction_can_be_rolled_back(void **state)
{
	fixture *f = *state;
	uint64_t ann;

	add_accounts(f);
	ann = account(f, ORMD_LOCK_NONE, 1);
	outside(f, "UPDATE accounts SET balance = 1, version = 2 WHERE id = 1");
	use_session(f, &(ormd_session_options){.isolation = ORM_SERIALIZABLE});
	ann = account(f, ORMD_LOCK_NONE, 1);
	commit(f);
	outside(f, "UPDATE accounts SET balance = 2, version = 3 WHERE id = 1");
	set(f, ann, "balance", 9LL);
	assert_int_equal(try_commit(f), ORM_ESTALE);
	roll_back(f);
	set(f, account(f, ORMD_LOCK_NONE, 1), "balance", 9LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "9|4");
}

static void transaction_limit_rolls_back(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t ann;

	add_accounts(f);
	use_session(f, &(ormd_session_options){.max_transaction_ms = 60000});
	set_up_other(&other, f, &(ormd_session_options){0});
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 1LL);
	assert_true(ormd_session_transaction_until(f->session) != ORM_NO_DEADLINE);
	ormd_session_expire_transaction(f->session); /* its time is not up */
	assert_int_equal(try_lock(&other, ORMD_LOCK_FAIL, 0), ORM_ETIMEOUT);
	roll_back(&other);
	f->session->pin_until_us = orm_clock_us();
	ormd_session_expire_transaction(f->session);
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	roll_back(&other);
	assert_int_equal(try_commit(f), ORM_ETIMEOUT);
	assert_non_null(strstr(f->error.message, "max-transaction"));
	assert_int_equal(try_lock(f, ORMD_LOCK_NONE, 0), ORM_ETIMEOUT);
	assert_int_equal(try_set(f, ann, "balance", 2LL), ORM_ETIMEOUT);
	roll_back(f);
	assert_int_equal(balance(f, ann), 100);
	assert_ok(f, try_lock(f, ORMD_LOCK_NONE, 0));
	tear_down_other(&other);
}

/* ---- lost connections --------------------------------------------------------------------------------------- */

/* As the database's administrator: end every connection to it but one's own. */
static void kill_connections(fixture *f)
{
	if (engine_of(f->url) == ENGINE_POSTGRESQL) {
		free(engine_ask(f->url, "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
					"WHERE datname = current_database() AND pid <> pg_backend_pid()"));
		return;
	}

	char *ids = engine_ask(f->url, "SELECT id FROM information_schema.processlist "
				       "WHERE db = database() AND id <> connection_id()");
	char *rest = ids;

	for (char *id; (id = strsep(&rest, ";"));) {
		char kill[64];
		char *answer = NULL;

		snprintf(kill, sizeof kill, "KILL %s", id);
		if (*id)
			(void)engine_try(f->url, kill, &answer); /* it may have gone by itself */
		free(answer);
	}
	free(ids);
}

static void lost_connection_asks_for_another_run(void **state)
{
	fixture *f = *state;
	uint64_t ann;

	if (!ormd_database_is_shared(f->database))
		skip(); /* no connection to a file is lost */
	add_accounts(f);
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 1LL);
	kill_connections(f);
	assert_int_equal(try_lock(f, ORMD_LOCK_NONE, 0), ORM_ERETRY);
	assert_int_equal(try_commit(f), ORM_ERETRY);
	assert_non_null(strstr(f->error.message, "orm_rollback"));
	roll_back(f);
	ann = account(f, ORMD_LOCK_WAIT, 1);
	assert_int_equal(balance(f, ann), 100);
	set(f, ann, "balance", 2LL);
	kill_connections(f);
	assert_int_equal(try_commit(f), ORM_ERETRY); /* before the COMMIT */
	roll_back(f);
	set(f, account(f, ORMD_LOCK_WAIT, 1), "balance", 3LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT balance FROM accounts WHERE id = 1"), "3");
}

static void connections_lost_while_idle_are_replaced_unnoticed(void **state)
{
	fixture *f = *state;

	if (!ormd_database_is_shared(f->database))
		skip(); /* no connection to a file is lost */
	add_accounts(f);
	for (int64_t i = 0; i < 5; i++) {
		assert_ok(f, try_lock(f, ORMD_LOCK_NONE, 0)); /* a read */
		set(f, account(f, ORMD_LOCK_NONE, 1), "balance", (long long)i);
		commit(f);
		kill_connections(f);
		engine_wait_alone(f->url);
	}
	assert_ok(f, try_lock(f, ORMD_LOCK_NONE, 0));
	assert_string_equal(ask(f, "SELECT balance FROM accounts WHERE id = 1"), "4");
}

/* A driver whose next COMMIT is answered by nobody, whether it was done or not. */
static const ormd_driver *real_driver;
static ormd_driver deaf_driver;
static bool commits;

static orm_status commit_unheard(ormd_connection *connection, orm_error *error)
{
	connection->driver = real_driver;
	if (commits && real_driver->commit(connection, error) != ORM_OK)
		return error->code;
	real_driver->rollback(connection);
	error->code = ORM_EUNKNOWN;
	return ORM_EUNKNOWN;
}

static void lose_next_commit(fixture *f, bool after_it_was_done)
{
	real_driver = f->session->pin->driver;
	deaf_driver = *real_driver;
	deaf_driver.commit = commit_unheard;
	commits = after_it_was_done;
	f->session->pin->driver = &deaf_driver;
}

static void commit_in_doubt_that_happened_is_a_success(void **state)
{
	fixture *f = *state;
	uint64_t ann;

	add_accounts(f);
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 7LL);
	lose_next_commit(f, true);
	commit(f);
	assert_false(ormd_unit_pending(f->session));
	assert_string_equal(values_of(f, ann, "balance version"), "7 2");
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "7|2");
	set(f, ann, "balance", 8LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "8|3");
}

static void commit_in_doubt_that_did_not_happen_asks_for_another_run(void **state)
{
	fixture *f = *state;
	uint64_t ann;

	add_accounts(f);
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 7LL);
	lose_next_commit(f, false);
	assert_int_equal(try_commit(f), ORM_ERETRY);
	assert_int_equal(try_lock(f, ORMD_LOCK_NONE, 0), ORM_ERETRY);
	roll_back(f);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "100|1");
	set(f, account(f, ORMD_LOCK_WAIT, 1), "balance", 8LL);
	commit(f);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts WHERE id = 1"), "8|2");
}

/* ---- several participants ----------------------------------------------------------------------------------- */

static void death_gives_up_the_transaction(void **state)
{
	fixture *f = *state;
	fixture other;
	uint32_t till;

	add_accounts(f);
	new_session(f, "order-1042");
	assert_ok(f, ormd_session_join(f->session, "till", &till, &f->error));
	set_up_other(&other, f, &(ormd_session_options){0});
	account(f, ORMD_LOCK_WAIT, 1);
	ormd_session_leave(f->session, till, true, "its process has ended");
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	roll_back(&other);
	/* Nothing was pending, but what was locked is not any more. */
	assert_int_equal(try_lock(f, ORMD_LOCK_NONE, 0), ORM_ERETRY);
	assert_non_null(strstr(f->error.message, "its process has ended"));
	roll_back(f);
	assert_ok(f, try_lock(f, ORMD_LOCK_NONE, 0));
	tear_down_other(&other);
}

static void death_with_changes_aborts_the_others(void **state)
{
	fixture *f = *state;
	fixture other;
	uint32_t till;

	add_accounts(f);
	new_session(f, "order-1042");
	assert_ok(f, ormd_session_join(f->session, "till", &till, &f->error));
	set_up_other(&other, f, &(ormd_session_options){0});
	set(f, account(f, ORMD_LOCK_WAIT, 1), "balance", 1LL);
	ormd_session_leave(f->session, till, true, "its process has ended");
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	roll_back(&other);
	assert_int_equal(try_commit(f), ORM_EABORTED);
	roll_back(f);
	assert_ok(f, try_lock(f, ORMD_LOCK_WAIT, 0));
	tear_down_other(&other);
}

static void the_last_one_out_ends_it(void **state)
{
	fixture *f = *state;
	fixture other;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	account(f, ORMD_LOCK_WAIT, 1);
	ormd_session_leave(f->session, f->participant, false, "it has left");
	assert_ok(&other, try_lock(&other, ORMD_LOCK_FAIL, 0));
	tear_down_other(&other);
}

/* ---- what else goes on meanwhile ---------------------------------------------------------------------------- */

static void others_read_meanwhile(void **state)
{
	fixture *f = *state;
	fixture other;
	uint64_t ann;

	add_accounts(f);
	set_up_other(&other, f, &(ormd_session_options){0});
	ann = account(f, ORMD_LOCK_WAIT, 1);
	set(f, ann, "balance", 1LL);
	assert_int_equal(balance(&other, account(&other, ORMD_LOCK_NONE, 1)), 100);
	commit(f);
	tear_down_other(&other);
}

/* Its one connection is the transaction's: keys are asked for by that. */
static void private_database_makes_keys_meanwhile(void **state)
{
	fixture f = {0};

	(void)state;
	setup_database_at(&f, "sqlite:///:memory:");
	use_session(&f, &(ormd_session_options){.isolation = ORM_SERIALIZABLE});
	assert_ok(&f, try_lock(&f, ORMD_LOCK_NONE, 0));
	assert_true(ormd_session_may_wait(f.session));
	assert_true(ormd_database_is_held(f.database));
	assert_int_equal(key_of(&f, add(&f, "User", "name", "Ann")), 1);
	commit(&f);
	assert_false(ormd_database_is_held(f.database));
	assert_int_equal(key_of(&f, add(&f, "User", "name", "Bob")), 2);
	commit(&f);
	teardown_database_at(&f);
}

/* The rows of a rehearsal show what is pending: they are no base for it. */
static void populating_over_pending_changes_keeps_them(void **state)
{
	fixture *f = *state;
	const ormd_select select = {.mapper = mapper_of(f, "Account"), .limit = ORMD_NO_LIMIT};
	const ormd_query_options options = {.populate_existing = true};
	ormd_query *query = NULL;

	add_accounts(f);
	set(f, account(f, ORMD_LOCK_NONE, 1), "balance", 5LL);
	f->finished = ORM_EINTERNAL;
	assert_ok(f,
		  ormd_query_open(f->session, f->participant, &select, &options, note_finished, f, &query, &f->error));
	assert_ok(f, wait_finished(f));
	ormd_query_close(query);
	commit(f);
	assert_string_equal(ask(f, "SELECT balance FROM accounts WHERE id = 1"), "5");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(locked_rows_are_held_until_the_commit),
		TEST(locked_row_shows_what_was_locked),
		TEST(without_a_lock_the_version_finds_the_lost_update),
		TEST(rollback_gives_up_locks_and_restores),
		TEST(commit_of_nothing_ends_the_transaction),
		TEST(query_that_locks_sees_pending_changes),
		TEST(related_objects_load_along),
		TEST(a_count_locks_nothing),
		TEST(repeatable_read_sees_one_snapshot),
		TEST(isolated_unit_commits_what_it_wrote),
		TEST(isolated_unit_needs_no_read_to_commit),
		TEST(failed_statement_leaves_the_transaction),
		TEST(query_over_a_unit_that_cannot_be_leaves_the_transaction),
		TEST(stale_commit_in_a_transaction_can_be_rolled_back),
		TEST(transaction_limit_rolls_back),
		TEST(lost_connection_asks_for_another_run),
		TEST(connections_lost_while_idle_are_replaced_unnoticed),
		TEST(commit_in_doubt_that_happened_is_a_success),
		TEST(commit_in_doubt_that_did_not_happen_asks_for_another_run),
		TEST(death_gives_up_the_transaction),
		TEST(death_with_changes_aborts_the_others),
		TEST(the_last_one_out_ends_it),
		TEST(others_read_meanwhile),
		cmocka_unit_test(private_database_makes_keys_meanwhile),
		TEST(populating_over_pending_changes_keeps_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
