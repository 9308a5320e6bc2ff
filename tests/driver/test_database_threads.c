/* SPDX-License-Identifier: MIT */
/* Many threads on one database: all that was told is there, in fair order, and nobody leads for ever. */
#include "driver/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/eventually.h"

#define N_THREADS 8
#define N_JOBS    200

typedef struct worker {
	pthread_t thread;
	ormd_database *database;
	int number;
	int n_failed;
	bool by_callback; /* submits and waits for `done` by itself, as a server does */
} worker;

/* A gate that one thread holds shut and others wait at. */
typedef struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int n_waiting;
	bool open;
} gate;

static void gate_init(gate *g)
{
	*g = (gate){0};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
}

static void gate_pass(gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->n_waiting++;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_wait_for(gate *g, int n_waiting)
{
	pthread_mutex_lock(&g->lock);
	while (g->n_waiting < n_waiting)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_open(gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void gate_fini(gate *g)
{
	pthread_mutex_destroy(&g->lock);
	pthread_cond_destroy(&g->changed);
}

static void open_gate_when_done(orm_status status, const orm_error *error, void *context)
{
	insert_job *insert = context;

	(void)error;
	insert->status = status;
	gate_open(insert->context);
}

static void *insert_many(void *context)
{
	worker *w = context;

	for (int i = 0; i < N_JOBS; i++) {
		insert_job insert;
		char name[32];

		snprintf(name, sizeof name, "%d-%d", w->number, i);
		insert_job_init(&insert, i % 10 == 9 ? NULL : name);
		if (w->by_callback) {
			gate done;

			gate_init(&done);
			insert.job.done = open_gate_when_done;
			insert.context = &done;
			ormd_database_submit(w->database, &insert.job);
			gate_pass(&done);
			gate_fini(&done);
		} else {
			ormd_database_run(w->database, &insert.job, NULL);
		}
		w->n_failed += insert.status != ORM_OK;
		if (insert.status == ORM_OK && i % 7 == 0) { /* what was told is seen by a reader at once */
			char sql[100];
			ormd_connection *reader = ormd_database_take_reader(w->database, ORM_NO_DEADLINE, NULL);

			snprintf(sql, sizeof sql, "SELECT count(*) FROM items WHERE name = '%s'", name);
			if (ask_int64(reader, sql) != 1)
				abort();
			ormd_database_give_reader(w->database, reader);
		}
	}
	return NULL;
}

static void run_workers(const char *url, bool by_callback)
{
	ormd_database *database = open_database(url);
	worker workers[N_THREADS];
	ormd_database_stats stats;
	ormd_connection *reader;

	for (int i = 0; i < N_THREADS; i++) {
		workers[i] = (worker){.database = database, .number = i, .by_callback = by_callback};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, insert_many, &workers[i]), 0);
	}
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_int_equal(workers[i].n_failed, N_JOBS / 10);
	}
	reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);
	assert_int_equal(ask_int64(reader, "SELECT count(DISTINCT name) FROM items"), N_THREADS * N_JOBS * 9 / 10);
	ormd_database_give_reader(database, reader);
	ormd_database_stats_get(database, &stats);
	assert_int_equal(stats.commits, N_THREADS * N_JOBS * 9 / 10 + 1); /* the one that made the table */
	assert_int_equal(stats.failed, N_THREADS * N_JOBS / 10);
	assert_int_equal(stats.waiting, 0);
	assert_true(stats.groups <= stats.commits);
	ormd_database_close(database);
}

static void threads_that_wait_lose_nothing(void **state)
{
	(void)state;
	run_workers(database_url("waiting.db"), false);
}

static void threads_with_callbacks_lose_nothing(void **state)
{
	(void)state;
	run_workers(database_url("callbacks.db"), true);
}

static void threads_share_a_database_in_memory(void **state)
{
	ONLY_ON_SQLITE();

	(void)state;
	run_workers("sqlite:///:memory:", false);
	run_workers("sqlite:///:memory:", true);
}

/* ---- a leader that is held up, so that others must queue ----------------------------------------------------- */

static orm_status wait_at_gate(ormd_connection *connection, void *context)
{
	(void)connection;
	gate_pass(context);
	return ORM_OK;
}

typedef struct runner {
	pthread_t thread;
	ormd_database *database;
	insert_job insert;
	orm_status status;
} runner;

static void *run_one(void *context)
{
	runner *r = context;

	r->status = ormd_database_run(r->database, &r->insert.job, NULL);
	return NULL;
}

static void start_runner(runner *r, ormd_database *database, const char *name)
{
	r->database = database;
	insert_job_init(&r->insert, name);
	assert_int_equal(pthread_create(&r->thread, NULL, run_one, r), 0);
}

typedef struct queue_length {
	ormd_database *database;
	uint64_t wanted;
} queue_length;

static bool has_length(void *context)
{
	queue_length *queue = context;
	ormd_database_stats stats;

	ormd_database_stats_get(queue->database, &stats);
	return stats.waiting == queue->wanted;
}

static void wait_for_queue(ormd_database *database, uint64_t n)
{
	queue_length queue = {database, n};

	assert_true(support_eventually(has_length, &queue, SUPPORT_PATIENCE_MS));
}

/* Whoever comes first is written first: the rows' numbers are the order of arrival. */
static void turns_are_first_come_first_served(void **state)
{
	ONLY_ON_SQLITE();

	ormd_database *database = open_database(database_url("fair.db"));
	gate hold;
	runner first;
	runner others[N_THREADS];
	char names[N_THREADS][8];
	ormd_database_stats stats;

	(void)state;
	gate_init(&hold);
	first = (runner){.database = database};
	insert_job_init(&first.insert, "first");
	first.insert.before = wait_at_gate;
	first.insert.context = &hold;
	assert_int_equal(pthread_create(&first.thread, NULL, run_one, &first), 0);
	gate_wait_for(&hold, 1);
	for (int i = 0; i < N_THREADS; i++) {
		snprintf(names[i], sizeof names[i], "n%d", i);
		start_runner(&others[i], database, names[i]);
		wait_for_queue(database, (uint64_t)i + 1);
	}
	gate_open(&hold);
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(others[i].thread, NULL), 0);
		assert_int_equal(others[i].status, ORM_OK);
	}

	ormd_connection *reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);

	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items WHERE id > 1 AND name = 'n' || (id - 2)"),
			 N_THREADS);
	ormd_database_give_reader(database, reader);
	ormd_database_stats_get(database, &stats);
	assert_true(stats.groups < stats.commits); /* those that waited were one group, or few */
	gate_fini(&hold);
	ormd_database_close(database);
}

/* Who waits for its turn gives up at its deadline, though the leader is stuck; the leader's own unit is not harmed. */
static void waiting_ends_at_the_deadline(void **state)
{
	ONLY_ON_SQLITE();

	ormd_database *database = open_database(database_url("deadline.db"));
	gate hold;
	runner first = {.database = database};
	insert_job late;
	orm_error error;

	(void)state;
	gate_init(&hold);
	insert_job_init(&first.insert, "first");
	first.insert.before = wait_at_gate;
	first.insert.context = &hold;
	assert_int_equal(pthread_create(&first.thread, NULL, run_one, &first), 0);
	gate_wait_for(&hold, 1);

	insert_job_init(&late, "late");
	late.job.deadline_us = orm_deadline_in_ms(20);
	assert_int_equal(ormd_database_run(database, &late.job, &error), ORM_ETIMEOUT);
	assert_non_null(strstr(error.message, "turn"));
	assert_int_equal(late.n_runs, 0);
	assert_int_equal(late.n_done, 1);
	wait_for_queue(database, 0);

	gate_open(&hold);
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	assert_int_equal(first.status, ORM_OK);
	gate_fini(&hold);
	ormd_database_close(database);
}

/* ---- a caller that could be kept for ever -------------------------------------------------------------------- */

/* A job that queues itself again when it is done: the queue is never empty. */
typedef struct endless {
	insert_job insert;
	ormd_database *database;
	atomic_bool stop;
	atomic_int n_turns;
	atomic_bool ended;
} endless;

static void queue_again(orm_status status, const orm_error *error, void *context)
{
	endless *e = (endless *)context;

	(void)error;
	if (status != ORM_OK)
		abort();
	atomic_fetch_add(&e->n_turns, 1);
	if (atomic_load(&e->stop))
		atomic_store(&e->ended, true);
	else
		ormd_database_submit(e->database, &e->insert.job);
}

static bool has_ended(void *context)
{
	return atomic_load(&((endless *)context)->ended);
}

static void a_leader_gets_away(void **state)
{
	ONLY_ON_SQLITE();

	ormd_database *database = open_database(database_url("endless.db"));
	endless e = {.database = database};
	runner other;
	int n_turns;

	(void)state;
	insert_job_init(&e.insert, "again");
	assert_ptr_equal(&e.insert, &e); /* the job's context is both */
	e.insert.job.done = queue_again;
	ormd_database_submit(database, &e.insert.job); /* comes back although there is always more to do */
	n_turns = atomic_load(&e.n_turns);
	assert_true(n_turns >= 1);

	start_runner(&other, database, "other"); /* and so does who comes later, leading or led */
	assert_int_equal(pthread_join(other.thread, NULL), 0);
	assert_int_equal(other.status, ORM_OK);
	atomic_store(&e.stop, true);
	assert_true(support_eventually(has_ended, &e, SUPPORT_PATIENCE_MS));
	ormd_database_close(database); /* waits for the thread that leads */
}

/* ---- readers ------------------------------------------------------------------------------------------------- */

typedef struct reader_waiter {
	pthread_t thread;
	ormd_database *database;
	ormd_connection *reader;
	gate *started;
} reader_waiter;

static void *take_one(void *context)
{
	reader_waiter *r = context;

	r->reader = ormd_database_take_reader(r->database, ORM_NO_DEADLINE, NULL);
	return NULL;
}

static void a_reader_given_back_goes_to_who_waits(void **state)
{
	ormd_database *database = open_database(database_url("readers.db"));
	ormd_connection *readers[2];
	reader_waiter waiter = {.database = database};

	(void)state;
	for (int i = 0; i < 2; i++)
		readers[i] = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);
	assert_int_equal(pthread_create(&waiter.thread, NULL, take_one, &waiter), 0);
	ormd_database_give_reader(database, readers[0]);
	assert_int_equal(pthread_join(waiter.thread, NULL), 0);
	assert_ptr_equal(waiter.reader, readers[0]);
	ormd_database_give_reader(database, readers[1]);
	ormd_database_give_reader(database, waiter.reader);
	ormd_database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_that_wait_lose_nothing),
		cmocka_unit_test(threads_with_callbacks_lose_nothing),
		cmocka_unit_test(threads_share_a_database_in_memory),
		cmocka_unit_test(turns_are_first_come_first_served),
		cmocka_unit_test(waiting_ends_at_the_deadline),
		cmocka_unit_test(a_leader_gets_away),
		cmocka_unit_test(a_reader_given_back_goes_to_who_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
