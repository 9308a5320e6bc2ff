/* SPDX-License-Identifier: MIT */
/* Keys reserved by several servers, beside programs that leave them to the engine. */
#include "driver/mysql_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void reserve(ormd_connection *c, uint32_t count, int64_t first)
{
	int64_t got = 0;
	uint32_t n = 0;
	orm_error error;

	if (c->driver->reserve_keys(c, item_mapper(), count, &got, &n, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_int_equal(n, count);
	assert_int_equal(got, first);
}

static ormd_connection *open_prepared(void)
{
	ormd_connection *c = mysql_open();
	orm_error error;

	for (int i = 0; i < 2; i++) /* again is nothing */
		if (c->driver->prepare_database(c, &error) != ORM_OK)
			fail_msg("%s", error.message);
	return c;
}

static void two_servers_get_different_keys(void **state)
{
	ormd_connection *a = open_prepared();
	ormd_connection *b = mysql_open_again(false);

	(void)state;
	reserve(a, 10, 1);
	reserve(b, 1, 11);
	reserve(a, 100, 12);
	run_sql(b, "INSERT INTO items (id, name) VALUES (500, 'by another program')");
	reserve(b, 2, 501);
	run_sql(b, "DELETE FROM items");
	reserve(a, 1, 503);
	b->driver->close(b);
	a->driver->close(a);
}

/* They get the first key after those that are reserved, whatever the columns of the table ask for. */
static void programs_that_leave_the_key_out_get_others(void **state)
{
	ormd_connection *c = open_prepared();

	(void)state;
	run_sql(c, "CREATE TABLE owners (id INT PRIMARY KEY) ENGINE=InnoDB");
	run_sql(c, "ALTER TABLE items ADD CONSTRAINT uq UNIQUE (name), ADD age INT NOT NULL CHECK (age > 5), "
		   "ADD owner INT NOT NULL REFERENCES owners (id)");
	run_sql(c, "INSERT INTO owners VALUES (1); INSERT INTO items (name, age, owner) VALUES ('', 9, 1)");
	reserve(c, 10, 2);
	run_sql(c, "INSERT INTO items (name, age, owner) VALUES ('other', 9, 1)");
	assert_int_equal(ask_int64(c, "SELECT max(id) FROM items"), 12);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 2);
	run_sql(c, "INSERT INTO items (id, name, age, owner) VALUES (2, 'ours', 9, 1)");
	reserve(c, 3, 13);
	run_sql(c, "INSERT INTO items (name, age, owner) VALUES ('another', 9, 1)");
	assert_int_equal(ask_int64(c, "SELECT max(id) FROM items"), 16);
	assert_false(c->driver->in_transaction(c));
	c->driver->close(c);
}

static void a_full_table_is_told(void **state)
{
	ormd_connection *c = open_prepared();
	int64_t first = 0;
	uint32_t n = 0;
	orm_error error;

	(void)state;
	run_sql(c, "INSERT INTO items (id, name) VALUES (9223372036854775806, 'last but one')");
	assert_int_equal(c->driver->reserve_keys(c, item_mapper(), 5, &first, &n, &error), ORM_ELIMIT);
	assert_non_null(strstr(error.message, "renumber"));
	run_sql(c, "INSERT INTO smalls (id) VALUES (2147483640)");
	assert_int_equal(c->driver->reserve_keys(c, small_mapper(), 100, &first, &n, &error), ORM_ELIMIT);
	assert_non_null(strstr(error.message, "make it int64"));
	c->driver->close(c);
}

#define N_ROUNDS  50
#define N_THREADS 3

static void *reserve_often(void *context)
{
	ormd_connection *c = mysql_open_again(false);
	bool *seen = context;

	for (int i = 0; i < N_ROUNDS; i++) {
		int64_t first = 0;
		uint32_t n = 0;

		assert_int_equal(c->driver->reserve_keys(c, item_mapper(), 2, &first, &n, NULL), ORM_OK);
		for (int64_t key = first; key < first + n; key++) {
			assert_true(key >= 1 && key <= 2 * N_ROUNDS * N_THREADS);
			assert_false(__atomic_exchange_n(&seen[key], true, __ATOMIC_SEQ_CST));
		}
	}
	c->driver->close(c);
	return NULL;
}

static void many_at_once_get_each_key_once(void **state)
{
	ormd_connection *c = open_prepared();
	bool *seen = calloc(2 * N_ROUNDS * N_THREADS + 1, 1);
	pthread_t threads[N_THREADS];

	(void)state;
	assert_non_null(seen);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reserve_often, seen), 0);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int key = 1; key <= 2 * N_ROUNDS * N_THREADS; key++)
		assert_true(seen[key]);
	free(seen);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_servers_get_different_keys),
		cmocka_unit_test(programs_that_leave_the_key_out_get_others),
		cmocka_unit_test(a_full_table_is_told),
		cmocka_unit_test(many_at_once_get_each_key_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
