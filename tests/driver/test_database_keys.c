/* SPDX-License-Identifier: MIT */
/* Generated keys: never the same twice, whoever asks and whatever is in the table. */
#include "driver/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static int64_t reserve(ormd_database *database, const orm_mapper *mapper, uint32_t count)
{
	orm_error error;
	int64_t first = -1;
	uint32_t n = 0;

	if (ormd_database_reserve_keys(database, mapper, count, &first, &n, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_int_equal(n, count);
	return first;
}

static void keys_follow_the_largest_in_the_table(void **state)
{
	ONLY_ON_SQLITE();

	const char *url = database_url("keys.db");
	ormd_database *database = open_database(url);

	(void)state;
	assert_int_equal(reserve(database, item_mapper(), 1), 1);
	assert_int_equal(reserve(database, item_mapper(), 100), 2);
	assert_int_equal(reserve(database, item_mapper(), 0), 102);
	assert_int_equal(reserve(database, item_mapper(), 1), 102);
	ormd_database_close(database);

	run_sql_outside(url, "INSERT INTO items VALUES (1000, 'x')");
	database = open_database(url);
	assert_int_equal(reserve(database, item_mapper(), 1), 1001);
	ormd_database_close(database);
}

static void explicit_keys_are_passed_over(void **state)
{
	ONLY_ON_SQLITE();

	ormd_database *database = open_database(database_url("explicit.db"));

	(void)state;
	ormd_database_note_key(database, item_mapper(), 50); /* before the table was asked */
	assert_int_equal(reserve(database, item_mapper(), 1), 51);
	ormd_database_note_key(database, item_mapper(), 7);
	assert_int_equal(reserve(database, item_mapper(), 1), 52);
	ormd_database_note_key(database, item_mapper(), 53);
	assert_int_equal(reserve(database, item_mapper(), 1), 54);
	ormd_database_note_key(database, item_mapper(), -5);
	assert_int_equal(reserve(database, item_mapper(), 1), 55);
	ormd_database_close(database);
}

static void others_rows_are_passed_over(void **state)
{
	ONLY_ON_SQLITE();

	const char *url = database_url("external.db");
	ormd_database *database = open_database(url);
	insert_job insert;

	(void)state;
	assert_int_equal(reserve(database, item_mapper(), 10), 1);
	run_sql_outside(url, "INSERT INTO items VALUES (500, 'theirs')");
	insert_job_init(&insert, "ours"); /* the next transaction notices */
	assert_int_equal(ormd_database_run(database, &insert.job, NULL), ORM_OK);
	assert_true(reserve(database, item_mapper(), 1) >= 501);
	ormd_database_close(database);
}

static void keys_do_not_go_back_when_others_delete(void **state)
{
	const char *url = database_url("back.db");
	ormd_database *database = open_database(url);
	const int64_t first = reserve(database, item_mapper(), 10); /* handed out, not written yet */
	insert_job insert;

	(void)state;
	run_sql_outside(url, "DELETE FROM items");
	insert_job_init(&insert, "ours");
	assert_int_equal(ormd_database_run(database, &insert.job, NULL), ORM_OK);
	assert_true(reserve(database, item_mapper(), 1) >= first + 10);
	ormd_database_close(database);
}

static void a_table_that_is_not_there_is_named(void **state)
{
	ormd_database *database = open_database(database_url("none.db"));
	orm_error error;
	int64_t first = -1;
	uint32_t n_reserved = 0;

	(void)state;
	assert_int_equal(ormd_database_reserve_keys(database, cell_mapper(), 1, &first, &n_reserved, &error),
			 ORM_EDATABASE);
	assert_string_equal(error.model, "cells");
	assert_non_null(strstr(error.message, "orm_create_all"));
	assert_int_equal(first, -1);
	ormd_database_close(database);
}

static void a_type_runs_out_of_keys(void **state)
{
	ONLY_ON_SQLITE();

	const char *url = database_url("small.db");
	ormd_database *database = open_database(url);
	orm_error error;
	int64_t first = -1;
	uint32_t n_reserved = 0;

	(void)state;
	run_sql_outside(url, "CREATE TABLE smalls (id INTEGER PRIMARY KEY)");
	run_sql_outside(url, "INSERT INTO smalls VALUES (2147483640)");
	assert_int_equal(reserve(database, small_mapper(), 5), 2147483641);
	assert_int_equal(ormd_database_reserve_keys(database, small_mapper(), 3, &first, &n_reserved, &error),
			 ORM_ELIMIT);
	assert_string_equal(error.model, "Small");
	assert_non_null(strstr(error.message, "make it int64"));
	assert_int_equal(first, -1);
	assert_int_equal(reserve(database, small_mapper(), 2), 2147483646);
	assert_int_equal(ormd_database_reserve_keys(database, small_mapper(), 1, &first, &n_reserved, &error),
			 ORM_ELIMIT);

	ormd_database_note_key(database, item_mapper(), INT64_MAX);
	assert_int_equal(ormd_database_reserve_keys(database, item_mapper(), 1, &first, &n_reserved, &error),
			 ORM_ELIMIT);
	ormd_database_note_key(database, item_mapper(), 5);
	assert_int_equal(ormd_database_reserve_keys(database, item_mapper(), 1, &first, &n_reserved, &error),
			 ORM_ELIMIT);
	ormd_database_close(database);
}

/* Inside `run` the only connection of an in-memory database is the unit's own. */
static orm_status reserve_inside(ormd_connection *connection, void *context)
{
	(void)connection;
	return reserve(context, item_mapper(), 3) == 2 ? ORM_OK : ORM_EINTERNAL;
}

static void a_running_unit_may_reserve(void **state)
{
	ONLY_ON_SQLITE();

	static const char *const names[] = {"sqlite:///:memory:", NULL};

	(void)state;
	for (int i = 0; i < 2; i++) {
		ormd_database *database = open_database(names[i] ? names[i] : database_url("inside.db"));
		insert_job insert;

		insert_job_init(&insert, "x");
		insert.after = reserve_inside; /* after the first row: it is seen, though not committed */
		insert.context = database;
		assert_int_equal(ormd_database_run(database, &insert.job, NULL), ORM_OK);
		assert_int_equal(reserve(database, item_mapper(), 1), 5);
		ormd_database_close(database);
	}
}

#define N_THREADS  8
#define N_RESERVED 500
#define BLOCK      3

typedef struct key_range {
	int64_t first;
	uint32_t n;
} key_range;

typedef struct collector {
	pthread_t thread;
	ormd_database *database;
	key_range ranges[N_RESERVED];
} collector;

static void *collect(void *context)
{
	collector *c = context;

	for (int i = 0; i < N_RESERVED; i++) {
		key_range *range = &c->ranges[i];

		if (ormd_database_reserve_keys(c->database, item_mapper(), BLOCK, &range->first, &range->n, NULL) !=
			    ORM_OK ||
		    range->n < 1 || range->n > BLOCK)
			abort();
		if (i % 50 == 0)
			ormd_database_note_key(c->database, item_mapper(), range->first + range->n - 1);
	}
	return NULL;
}

static int by_number(const void *a, const void *b)
{
	const int64_t x = ((const key_range *)a)->first;
	const int64_t y = ((const key_range *)b)->first;

	return (x > y) - (x < y);
}

static void threads_never_get_the_same_keys(void **state)
{
	static collector collectors[N_THREADS];
	static key_range all[N_THREADS * N_RESERVED];
	ormd_database *database = open_database(database_url("threads.db"));

	(void)state;
	for (int i = 0; i < N_THREADS; i++) {
		collectors[i].database = database;
		assert_int_equal(pthread_create(&collectors[i].thread, NULL, collect, &collectors[i]), 0);
	}
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(collectors[i].thread, NULL), 0);
		memcpy(&all[i * N_RESERVED], collectors[i].ranges, sizeof collectors[i].ranges);
	}
	qsort(all, N_THREADS * N_RESERVED, sizeof all[0], by_number);
	for (size_t i = 1; i < N_THREADS * N_RESERVED; i++)
		assert_true(all[i].first - all[i - 1].first >= all[i - 1].n);
	ormd_database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_follow_the_largest_in_the_table),
		cmocka_unit_test(explicit_keys_are_passed_over),
		cmocka_unit_test(others_rows_are_passed_over),
		cmocka_unit_test(keys_do_not_go_back_when_others_delete),
		cmocka_unit_test(a_table_that_is_not_there_is_named),
		cmocka_unit_test(a_type_runs_out_of_keys),
		cmocka_unit_test(a_running_unit_may_reserve),
		cmocka_unit_test(threads_never_get_the_same_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
