/* SPDX-License-Identifier: MIT */
/*
 * Units side by side, on an engine that fails on cue: SQLite behind a driver that says it were a server with
 * connections that get lost, commits whose answer does not come, and transactions that get into each other's way.
 */
#include "driver/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "driver/database_internal.h"

/* What is to go wrong, counted down. */
static struct faults {
	atomic_int away;           /* opens that find nobody */
	atomic_int retries;        /* commits that are refused as conflicts */
	atomic_int unknown_done;   /* commits that happen, but whose answer is lost */
	atomic_int unknown_undone; /* commits that do not happen, which nobody can know */
	atomic_int lost;           /* begins whose connection turns out lost */
	atomic_int dead;           /* idle connections that do not answer */
	atomic_int opened, checked, ended;
	char ended_backend[ORMD_BACKEND_SIZE];
	int64_t next_key;
	int other_taker; /* every n-th key goes to somebody else; 0: none */
} faults;

static bool is_due(atomic_int *fault)
{
	int left = atomic_load(fault);

	while (left > 0) {
		if (atomic_compare_exchange_weak(fault, &left, left - 1))
			return true;
	}
	return false;
}

static ormd_driver flaky;

static ormd_connection *flaky_open(const ormd_open_options *options, orm_error *error)
{
	ormd_open_options own = *options;
	ormd_connection *connection;

	if (is_due(&faults.away)) {
		orm_fail(error, ORM_EUNAVAILABLE, "nobody is there");
		return NULL;
	}
	own.create = !options->read_only;
	connection = ormd_driver_sqlite.open(&own, error);
	if (connection) {
		connection->driver = &flaky;
		snprintf(connection->backend, sizeof connection->backend, "backend %d",
			 atomic_fetch_add(&faults.opened, 1) + 1);
	}
	return connection;
}

static orm_status lose(ormd_connection *connection, orm_status status, orm_error *error)
{
	connection->lost = true;
	return orm_fail(error, status, "the connection is lost");
}

static orm_status flaky_begin(ormd_connection *connection, orm_isolation isolation, orm_error *error)
{
	(void)isolation;
	if (is_due(&faults.lost))
		return lose(connection, ORM_EUNAVAILABLE, error);
	return connection->driver->run(connection, "BEGIN", error); /* may be open beside another, as in a server */
}

static orm_status flaky_commit(ormd_connection *connection, orm_error *error)
{
	if (is_due(&faults.retries)) {
		ormd_driver_sqlite.rollback(connection);
		return orm_fail(error, ORM_ERETRY, "somebody else was faster");
	}
	if (is_due(&faults.unknown_undone)) {
		ormd_driver_sqlite.rollback(connection);
		return lose(connection, ORM_EUNKNOWN, error);
	}

	const orm_status status = ormd_driver_sqlite.commit(connection, error);

	return status == ORM_OK && is_due(&faults.unknown_done) ? lose(connection, ORM_EUNKNOWN, error) : status;
}

static bool flaky_is_alive(ormd_connection *connection)
{
	(void)connection;
	atomic_fetch_add(&faults.checked, 1);
	return !is_due(&faults.dead);
}

static orm_status flaky_end_backend(ormd_connection *connection, const char *backend, orm_error *error)
{
	(void)connection;
	(void)error;
	snprintf(faults.ended_backend, sizeof faults.ended_backend, "%s", backend);
	atomic_fetch_add(&faults.ended, 1);
	return ORM_OK;
}

static orm_status flaky_reserve_keys(ormd_connection *connection, const orm_mapper *mapper, uint32_t count,
				     int64_t *first, uint32_t *n_reserved, orm_error *error)
{
	(void)connection;
	(void)mapper;
	(void)error;
	*first = faults.next_key;
	*n_reserved = 0;
	while (*n_reserved < count) {
		faults.next_key++;
		++*n_reserved;
		if (faults.other_taker && faults.next_key % faults.other_taker == 0) {
			faults.next_key++;
			break;
		}
	}
	return ORM_OK;
}

static ormd_database *open_flaky(uint32_t n_writers, int64_t wait_ms)
{
	char url[SUPPORT_PATH_SIZE + 16];
	orm_error error;
	ormd_connection *setup;

	snprintf(url, sizeof url, "%s", database_url("side.db"));
	remove(database_path(url));
	setup = open_connection(url, false);
	run_sql(setup, create_items);
	setup->driver->close(setup);
	item_mapper();

	faults = (struct faults){.next_key = 1};
	flaky = ormd_driver_sqlite;
	flaky.name = "flaky";
	flaky.single_writer = false;
	flaky.open = flaky_open;
	flaky.begin = flaky_begin;
	flaky.commit = flaky_commit;
	flaky.is_alive = flaky_is_alive;
	flaky.end_backend = flaky_end_backend;
	flaky.reserve_keys = flaky_reserve_keys;

	const ormd_database_options options = {
		.url = url, .driver = &flaky, .create = true, .n_writers = n_writers, .wait_ms = wait_ms};
	ormd_database *database = ormd_database_open(&options, &error);

	if (!database)
		fail_msg("%s", error.message);
	faults.opened = 0;
	return database;
}

static int64_t count_items(ormd_database *database)
{
	orm_error error;
	ormd_connection *reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, &error);

	if (!reader)
		fail_msg("%s", error.message);

	const int64_t n = ask_int64(reader, "SELECT count(*) FROM items");

	ormd_database_give_reader(database, reader);
	return n;
}

/* A unit that can tell whether it was committed before: its first statement inserts its id. */
typedef struct unit {
	ormd_job job;
	int64_t id;
	int n_runs;
	bool was_there;
	orm_status fail_with; /* once */
	bool then_lose;       /* all tries after the first end as conflicts */
} unit;

static orm_status run_unit(ormd_connection *connection, void *context, orm_error *error)
{
	unit *u = context;
	const orm_value values[] = {int64_value(u->id), text_value("unit")};
	size_t affected = 0;
	ormd_write write = {.sql = "INSERT INTO items (id, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
			    .n_parameters = 2,
			    .n_rows = 1,
			    .values = values,
			    .affected = &affected};
	const orm_status status = connection->driver->write(connection, &write, error);
	const orm_status fail_with = u->fail_with;

	if (u->n_runs++ > 0 && u->then_lose)
		return orm_fail(error, ORM_ERETRY, "somebody else was faster");
	u->was_there = affected == 0;
	u->fail_with = ORM_OK;
	return status == ORM_OK && fail_with != ORM_OK ? orm_fail(error, fail_with, "as asked for") : status;
}

static orm_status run(ormd_database *database, unit *u, orm_error *error)
{
	u->job.run = run_unit;
	u->job.context = u;
	return ormd_database_run(database, &u->job, error);
}

static void a_unit_is_committed(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};
	ormd_database_stats stats;

	(void)state;
	assert_true(ormd_database_is_shared(database));
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(count_items(database), 1);
	ormd_database_stats_get(database, &stats);
	assert_int_equal(stats.commits, 1);
	assert_int_equal(stats.retried, 0);
	ormd_database_close(database);
}

static void a_unit_that_fails_leaves_nothing(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1, .fail_with = ORM_ECONSTRAINT};
	orm_error error;

	(void)state;
	assert_int_equal(run(database, &u, &error), ORM_ECONSTRAINT);
	assert_string_equal(error.message, "as asked for");
	assert_int_equal(u.n_runs, 1);
	assert_int_equal(count_items(database), 0);
	ormd_database_close(database);
}

static void a_unit_that_only_looks_leaves_nothing(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1, .job.end = ORMD_JOB_ROLLBACK};

	(void)state;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(count_items(database), 0);
	ormd_database_close(database);
}

static void conflicts_are_tried_again(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1, .fail_with = ORM_ERETRY};
	ormd_database_stats stats;

	(void)state;
	faults.retries = 2;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(u.n_runs, 4);
	assert_false(u.was_there);
	assert_int_equal(count_items(database), 1);
	ormd_database_stats_get(database, &stats);
	assert_int_equal(stats.retried, 3);
	ormd_database_close(database);
}

static void endless_conflicts_are_told(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};
	orm_error error;

	(void)state;
	faults.retries = 1000;
	assert_int_equal(run(database, &u, &error), ORM_ERETRY);
	assert_string_equal(error.message, "somebody else was faster");
	assert_in_range(u.n_runs, 2, 100);
	faults.retries = 0;
	assert_int_equal(count_items(database), 0);
	ormd_database_close(database);
}

static void a_connection_lost_before_the_commit_costs_nothing(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};

	(void)state;
	faults.lost = 2;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(u.n_runs, 1);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

/* The answer of a commit that happened is lost: done again, the unit finds its id. */
static void doubt_about_a_commit_that_happened_is_settled(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};

	(void)state;
	faults.unknown_done = 1;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(u.n_runs, 2);
	assert_true(u.was_there);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

static void doubt_about_a_commit_that_did_not_happen_is_settled(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};

	(void)state;
	faults.unknown_undone = 1;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(u.n_runs, 2);
	assert_false(u.was_there);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

/* What the old connection was doing must have ended before anybody looks whether the id is there. */
static void the_lost_backend_is_ended_before_the_next_try(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	unit u = {.id = 1};

	(void)state;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	faults.unknown_undone = 1;
	u.id = 2;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(faults.ended, 1);
	assert_int_equal(strncmp(faults.ended_backend, "backend ", 8), 0);
	ormd_database_close(database);
}

static void doubt_that_cannot_be_settled_is_told(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	unit u = {.id = 1};
	orm_error error;

	(void)state;
	faults.unknown_done = 1;
	faults.away = 1000000;
	u.job.deadline_us = orm_deadline_in_ms(300);
	assert_int_equal(run(database, &u, &error), ORM_EUNKNOWN);
	assert_non_null(strstr(error.message, "nobody is there"));
	faults.away = 0;

	/* Its id tells later. */
	u.job.deadline_us = 0;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_true(u.was_there);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

/* A conflict in the second try says nothing about the first: it is tried further. */
static void a_conflict_after_doubt_does_not_pass_for_an_answer(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	unit u = {.id = 1, .then_lose = true};
	orm_error error;

	(void)state;
	faults.unknown_done = 1;
	assert_int_equal(run(database, &u, &error), ORM_EUNKNOWN);
	assert_true(u.n_runs > 1);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

static void a_server_that_comes_back_is_waited_for(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	unit u = {.id = 1};

	(void)state;
	faults.lost = 1;
	faults.away = 3;
	assert_int_equal(run(database, &u, NULL), ORM_OK);
	assert_int_equal(faults.away, 0);
	assert_int_equal(count_items(database), 1);
	ormd_database_close(database);
}

static void a_server_that_never_answered_is_not_waited_for(void **state)
{
	orm_error error;
	ormd_database *database = open_flaky(1, 0);

	(void)state;
	ormd_database_close(database);
	faults.away = 1;

	const ormd_database_options options = {.url = database_url("other.db"), .driver = &flaky, .create = true};

	assert_null(ormd_database_open(&options, &error));
	assert_int_equal(error.code, ORM_EUNAVAILABLE);
	assert_int_equal(faults.away, 0);
}

/* Whoever finds one connection lost makes the idle ones be asked before they are used. */
static void idle_connections_are_asked_after_one_was_lost(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	ormd_connection *first = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);
	ormd_connection *second = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);

	(void)state;
	assert_non_null(first);
	assert_non_null(second);
	ormd_database_give_reader(database, second);
	first->lost = true;
	ormd_database_give_reader(database, first);
	assert_int_equal(faults.checked, 0);
	faults.dead = 1;
	faults.opened = 0;
	first = ormd_database_take_reader(database, ORM_NO_DEADLINE, NULL);
	assert_non_null(first);
	assert_int_equal(faults.checked, 1);
	assert_int_equal(faults.opened, 1); /* a new one */
	ormd_database_give_reader(database, first);
	ormd_database_close(database);
}

/* Two units meet inside their transactions: neither waits for the other's end. */
typedef struct meeting {
	pthread_barrier_t barrier;
	int n_met;
} meeting;

static orm_status run_meeting(ormd_connection *connection, void *context, orm_error *error)
{
	meeting *m = context;

	(void)connection;
	(void)error;
	pthread_barrier_wait(&m->barrier);
	return ORM_OK;
}

static void end_meeting(orm_status status, const orm_error *error, void *context)
{
	meeting *m = context;

	(void)error;
	if (status == ORM_OK)
		__atomic_add_fetch(&m->n_met, 1, __ATOMIC_RELAXED);
}

static void units_run_side_by_side(void **state)
{
	ormd_database *database = open_flaky(2, 0);
	ormd_job jobs[2];
	meeting m = {0};

	(void)state;
	pthread_barrier_init(&m.barrier, NULL, 2);
	for (int i = 0; i < 2; i++) {
		jobs[i] = (ormd_job){.run = run_meeting, .done = end_meeting, .context = &m, .end = ORMD_JOB_ROLLBACK};
		ormd_database_submit(database, &jobs[i]);
	}
	ormd_database_close(database); /* waits for them */
	assert_int_equal(m.n_met, 2);
	pthread_barrier_destroy(&m.barrier);
}

/* Until the other unit's time is over. */
static orm_status run_for_too_long(ormd_connection *connection, void *context, orm_error *error)
{
	const int64_t *deadline_us = context;

	(void)connection;
	(void)error;
	while (orm_clock_us() <= *deadline_us)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return ORM_OK;
}

static void ignore_end(orm_status status, const orm_error *error, void *context)
{
	(void)status;
	(void)error;
	(void)context;
}

static void a_unit_gets_no_turn_in_time(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	int64_t deadline_us = orm_deadline_in_ms(50);
	unit u = {.id = 1, .job.deadline_us = deadline_us};
	ormd_job holder = {
		.run = run_for_too_long, .done = ignore_end, .context = &deadline_us, .end = ORMD_JOB_ROLLBACK};
	orm_error error;

	(void)state;
	ormd_database_submit(database, &holder);
	assert_int_equal(run(database, &u, &error), ORM_ETIMEOUT);
	assert_int_equal(u.n_runs, 0);
	u.job.deadline_us = 0;
	assert_int_equal(run(database, &u, &error), ORM_OK);
	ormd_database_close(database);
}

/* Transactions that live long have connections of their own: units go on beside them. */
static void a_transaction_gets_no_connection_in_time(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	ormd_connection *pinned = ormd_database_pin(database, ORM_ISOLATION_DEFAULT, ORM_NO_DEADLINE, NULL);
	unit u = {.id = 1};
	orm_error error;

	(void)state;
	assert_non_null(pinned);
	assert_null(ormd_database_pin(database, ORM_ISOLATION_DEFAULT, orm_deadline_in_ms(50), &error));
	assert_int_equal(error.code, ORM_ETIMEOUT);
	assert_int_equal(run(database, &u, &error), ORM_OK);
	assert_int_equal(ormd_database_unpin(database, pinned, ORMD_JOB_ROLLBACK, &error), ORM_OK);
	ormd_database_close(database);
}

/* ---- transactions that live longer than a call --------------------------------------------------------------- */

static void pin_and_write(ormd_database *database, ormd_job_end end, orm_status expected)
{
	orm_error error;
	ormd_connection *pinned = ormd_database_pin(database, ORM_ISOLATION_DEFAULT, ORM_NO_DEADLINE, &error);

	if (!pinned)
		fail_msg("%s", error.message);
	run_sql(pinned, "INSERT INTO items (name) VALUES ('pinned')");
	assert_int_equal(ormd_database_unpin(database, pinned, end, &error), expected);
}

static void a_pinned_transaction_ends_as_told(void **state)
{
	ormd_database *database = open_flaky(1, 0);

	(void)state;
	pin_and_write(database, ORMD_JOB_ROLLBACK, ORM_OK);
	assert_int_equal(count_items(database), 0);
	pin_and_write(database, ORMD_JOB_COMMIT, ORM_OK);
	assert_int_equal(count_items(database), 1);
	faults.retries = 1;
	pin_and_write(database, ORMD_JOB_COMMIT, ORM_ERETRY); /* what was read in it may be another thing now */
	faults.unknown_done = 1;
	pin_and_write(database, ORMD_JOB_COMMIT, ORM_EUNKNOWN);
	assert_int_equal(count_items(database), 2);
	ormd_database_close(database);
}

static void a_pinned_transaction_is_sqlites_only_one(void **state)
{
	ormd_database *database = open_database(database_url("pin.db"));
	orm_error error;
	ormd_connection *pinned = ormd_database_pin(database, ORM_SERIALIZABLE, ORM_NO_DEADLINE, &error);
	insert_job insert;

	(void)state;
	assert_non_null(pinned);
	insert_job_init(&insert, "waits");
	insert.job.deadline_us = orm_deadline_in_ms(50);
	assert_int_equal(ormd_database_run(database, &insert.job, &error), ORM_ETIMEOUT);
	assert_null(ormd_database_pin(database, ORM_SERIALIZABLE, orm_deadline_in_ms(50), &error));
	assert_int_equal(error.code, ORM_ETIMEOUT);
	run_sql(pinned, "INSERT INTO items (name) VALUES ('pinned')");
	assert_int_equal(ormd_database_unpin(database, pinned, ORMD_JOB_COMMIT, &error), ORM_OK);
	insert_job_init(&insert, "gets its turn");
	assert_int_equal(ormd_database_run(database, &insert.job, &error), ORM_OK);
	assert_int_equal(count_items(database), 2);
	ormd_database_close(database);
}

/* ---- keys ---------------------------------------------------------------------------------------------------- */

static int64_t reserve(ormd_database *database, uint32_t count, uint32_t *n)
{
	orm_error error;
	int64_t first = -1;

	if (ormd_database_reserve_keys(database, item_mapper(), count, &first, n, &error) != ORM_OK)
		fail_msg("%s", error.message);
	return first;
}

static void the_engine_gives_out_keys_in_blocks(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	uint32_t n = 0;

	(void)state;
	assert_false(ormd_database_has_keys(database, item_mapper(), 1));
	for (int64_t key = 1; key <= 100; key++) {
		assert_int_equal(reserve(database, 1, &n), key);
		assert_int_equal(n, 1);
	}
	assert_true(ormd_database_has_keys(database, item_mapper(), 1));
	assert_false(ormd_database_has_keys(database, item_mapper(), 100000));
	reserve(database, 100000, &n);
	assert_true(n > 0);
	ormd_database_close(database);
}

static void keys_that_others_took_are_passed_over(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	uint32_t left = 1000;
	uint32_t n = 0;
	int64_t last = 0;

	(void)state;
	faults.other_taker = 7;
	while (left > 0) {
		const int64_t first = reserve(database, left, &n);

		assert_in_range(n, 1, left);
		assert_true(first > last);
		for (int64_t key = first; key < first + n; key++)
			assert_int_not_equal(key % 7, 0);
		last = first + n - 1;
		left -= n;
	}
	ormd_database_close(database);
}

static void explicit_keys_are_not_given_out(void **state)
{
	ormd_database *database = open_flaky(1, 0);
	uint32_t n = 0;

	(void)state;
	while (!ormd_database_has_keys(database, item_mapper(), 4))
		reserve(database, 1, &n);

	const int64_t next = reserve(database, 1, &n) + 1;

	ormd_database_note_key(database, item_mapper(), next + 1);   /* within our block */
	ormd_database_note_key(database, item_mapper(), next + 500); /* within one to come */
	for (int i = 0; i < 1000; i++) {
		const int64_t key = reserve(database, 1, &n);

		assert_int_not_equal(key, next + 1);
		assert_int_not_equal(key, next + 500);
	}
	ormd_database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_unit_is_committed),
		cmocka_unit_test(a_unit_that_fails_leaves_nothing),
		cmocka_unit_test(a_unit_that_only_looks_leaves_nothing),
		cmocka_unit_test(conflicts_are_tried_again),
		cmocka_unit_test(endless_conflicts_are_told),
		cmocka_unit_test(a_connection_lost_before_the_commit_costs_nothing),
		cmocka_unit_test(doubt_about_a_commit_that_happened_is_settled),
		cmocka_unit_test(doubt_about_a_commit_that_did_not_happen_is_settled),
		cmocka_unit_test(the_lost_backend_is_ended_before_the_next_try),
		cmocka_unit_test(doubt_that_cannot_be_settled_is_told),
		cmocka_unit_test(a_conflict_after_doubt_does_not_pass_for_an_answer),
		cmocka_unit_test(a_server_that_comes_back_is_waited_for),
		cmocka_unit_test(a_server_that_never_answered_is_not_waited_for),
		cmocka_unit_test(idle_connections_are_asked_after_one_was_lost),
		cmocka_unit_test(units_run_side_by_side),
		cmocka_unit_test(a_unit_gets_no_turn_in_time),
		cmocka_unit_test(a_transaction_gets_no_connection_in_time),
		cmocka_unit_test(a_pinned_transaction_ends_as_told),
		cmocka_unit_test(a_pinned_transaction_is_sqlites_only_one),
		cmocka_unit_test(the_engine_gives_out_keys_in_blocks),
		cmocka_unit_test(keys_that_others_took_are_passed_over),
		cmocka_unit_test(explicit_keys_are_not_given_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
