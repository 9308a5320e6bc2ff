/* SPDX-License-Identifier: MIT */
/* Several sessions on one database at the same time: units of all of them share transactions, and a failing one takes
 * no other along. */
#include <pthread.h>

#include "session/database_support.h"

#include <stdio.h>
#include <string.h>

#define N_SESSIONS 6
#define N_UNITS    25

typedef struct worker {
	fixture f; /* its own session on the common database */
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool done;
	orm_status status;
	int number;
	int n_committed, n_refused, n_wrong;
} worker;

static void wake(orm_status status, const orm_error *error, void *context)
{
	worker *w = context;

	(void)error;
	pthread_mutex_lock(&w->lock);
	w->status = status;
	w->done = true;
	pthread_cond_signal(&w->woken);
	pthread_mutex_unlock(&w->lock);
}

static orm_status wait_until_done(worker *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->woken, &w->lock);
	w->done = false;
	pthread_mutex_unlock(&w->lock);
	return w->status;
}

static orm_status commit_unit(worker *w)
{
	ormd_commit_request request = {.participant = w->f.participant,
				       .seen = ormd_session_revision(w->f.session),
				       .id = {.number = ++w->f.commit_number}};

	snprintf((char *)request.id.client_id, sizeof request.id.client_id, "worker %d", w->number);
	ormd_session_commit(w->f.session, &request, wake, w);
	return wait_until_done(w);
}

/* Accounts of this worker, as a query over pending changes counts them. */
static uint64_t count_own(worker *w)
{
	char pattern[16];
	orm_value value = {.type = ORM_TEXT,
			   .text = pattern,
			   .size = (uint32_t)snprintf(pattern, sizeof pattern, "w%d-%%", w->number)};
	const ormd_term where = {.op = ORMD_LIKE, .column = 1, .values = &value, .n_values = 1};
	const ormd_select select = {.mapper = mapper_of(&w->f, "Account"),
				    .result = ORMD_COUNT,
				    .where = &where,
				    .n_where = 1,
				    .limit = ORMD_NO_LIMIT};
	ormd_query *query = NULL;
	ormd_piece piece = {0};

	if (ormd_query_open(w->f.session, w->f.participant, &select, NULL, wake, w, &query, NULL) != ORM_OK)
		return UINT64_MAX;
	if (wait_until_done(w) != ORM_OK || ormd_query_next(query, 1 << 16, &piece, NULL) != ORM_OK)
		piece.count = UINT64_MAX;
	ormd_query_close(query);
	return piece.count;
}

static void *work(void *context)
{
	worker *w = context;
	char owner[16];

	for (int i = 0; i < N_UNITS; i++) {
		snprintf(owner, sizeof owner, "w%d-%d", w->number, i);
		add(&w->f, "Account", "owner balance", owner, 1LL);
		if (i % 5 == 4) { /* one that the database refuses, in the midst of the others' */
			add(&w->f, "Account", "owner balance", "bad", -1LL);
			w->n_refused += commit_unit(w) == ORM_ECONSTRAINT;
			roll_back(&w->f);
			continue;
		}
		w->n_wrong += count_own(w) != (uint64_t)w->n_committed + 1;
		w->n_committed += commit_unit(w) == ORM_OK;
		w->n_wrong += count_own(w) != (uint64_t)w->n_committed;
	}
	return NULL;
}

static void units_of_many_sessions(void **state)
{
	fixture *f = *state;
	worker workers[N_SESSIONS] = {0};
	pthread_t threads[N_SESSIONS];
	char wanted[16];

	for (int i = 0; i < N_SESSIONS; i++) {
		worker *w = &workers[i];

		w->f.registry = f->registry;
		w->f.database = f->database;
		w->number = i;
		pthread_mutex_init(&w->lock, NULL);
		pthread_cond_init(&w->woken, NULL);
		new_session(&w->f, NULL);
	}
	for (int i = 0; i < N_SESSIONS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	for (int i = 0; i < N_SESSIONS; i++) {
		worker *w = &workers[i];

		pthread_join(threads[i], NULL);
		assert_int_equal(w->n_committed, N_UNITS / 5 * 4);
		assert_int_equal(w->n_refused, N_UNITS / 5);
		assert_int_equal(w->n_wrong, 0);
		free_session(&w->f);
		orm_arena_fini(&w->f.arena);
		pthread_mutex_destroy(&w->lock);
		pthread_cond_destroy(&w->woken);
	}
	snprintf(wanted, sizeof wanted, "%d", N_SESSIONS * (N_UNITS / 5 * 4));
	assert_string_equal(ask(f, "SELECT count(*) FROM accounts"), wanted);
}

/* The last of the units that took the same version finds it gone. */
static void two_sessions_change_the_same_row(void **state)
{
	fixture *f = *state;
	fixture other = {.registry = f->registry, .database = f->database, .commit_number = 1000};
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);
	const ormd_select select = {.mapper = mapper_of(f, "Account"), .limit = ORMD_NO_LIMIT};
	ormd_query *query = NULL;
	ormd_piece piece;
	uint64_t same;

	commit(f);
	new_session(&other, NULL);
	other.finished = ORM_EINTERNAL;
	assert_ok(f, ormd_query_open(other.session, other.participant, &select, NULL, note_finished, &other, &query,
				     &f->error));
	assert_ok(f, wait_finished(&other));
	assert_ok(f, ormd_query_next(query, 1 << 16, &piece, &f->error));
	same = piece.rows[0].handles[0];
	ormd_query_close(query);
	set(f, account, "balance", 6LL);
	set(&other, same, "balance", 7LL);
	commit(f);
	assert_int_equal(try_commit(&other), ORM_ESTALE);
	assert_string_equal(ask(f, "SELECT balance, version FROM accounts"), "6|2");
	free_session(&other);
	orm_arena_fini(&other.arena);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(units_of_many_sessions),
		TEST(two_sessions_change_the_same_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
