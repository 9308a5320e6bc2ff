/* SPDX-License-Identifier: MIT */
/* Keys from the column's own sequence: nobody gets one twice. */
#include "driver/postgresql_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const orm_mapper *odd_mapper(void)
{
	static const orm_column_spec columns[] = {{.name = "o\"dd id", .type = ORM_INT64, .primary_key = true},
						  {.name = "name", .type = ORM_TEXT, .nullable = true}};
	static const orm_model_spec models[] = {
		{.name = "Odd", .table = "Odd \"table\".x", .columns = columns, .n_columns = 2}};
	static orm_registry *registry;
	orm_error error;

	if (!registry)
		registry = orm_registry_new(models, 1, &error);
	return orm_registry_find(registry, "Odd");
}

static void free_odd(void)
{
	orm_registry_free((orm_registry *)(uintptr_t)odd_mapper()->registry);
}

static void reserve(ormd_connection *c, const orm_mapper *mapper, uint32_t count, int64_t first)
{
	int64_t key = 0;
	uint32_t n = 0;
	orm_error error;

	expect_ok(c->driver->reserve_keys(c, mapper, count, &key, &n, &error), &error);
	assert_int_equal(key, first);
	assert_int_equal(n, count);
}

static void keys_follow_each_other(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	ormd_connection *other = open_again(url, false);

	(void)state;
	create_tables(c, item_mapper()->registry);
	reserve(c, item_mapper(), 10, 1);
	reserve(other, item_mapper(), 5, 11);
	engine_run(url, "INSERT INTO items (name) VALUES ('psql')");
	assert_int_equal(ask_int64(c, "SELECT id FROM items"), 16);
	reserve(c, item_mapper(), 1, 17);
	reserve(c, item_mapper(), 1000, 18);
	other->driver->close(other);
	c->driver->close(c);
}

/* Explicit keys do not move a sequence; the next reservation does. */
static void imported_keys_are_passed_over(void **state)
{
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);

	(void)state;
	create_tables(c, item_mapper()->registry);
	engine_run(url, "INSERT INTO items (id, name) VALUES (500, 'imported'), (3, 'too')");
	reserve(c, item_mapper(), 10, 501);
	engine_run(url, "INSERT INTO items (name) VALUES ('psql')");
	assert_int_equal(ask_int64(c, "SELECT max(id) FROM items"), 511);
	engine_run(url, "INSERT INTO items (id, name) VALUES (-5, 'below')");
	reserve(c, item_mapper(), 10, 512);
	c->driver->close(c);
}

static void odd_names_are_quoted(void **state)
{
	ormd_connection *c = open_fresh(NULL);

	(void)state;
	create_tables(c, odd_mapper()->registry);
	reserve(c, odd_mapper(), 3, 1);
	reserve(c, odd_mapper(), 3, 4);
	c->driver->close(c);
}

static void what_is_missing_is_said(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	int64_t key;
	uint32_t n;
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->reserve_keys(c, item_mapper(), 1, &key, &n, &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "orm_create_all"));
	run_sql(c, "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT)");
	assert_int_equal(c->driver->reserve_keys(c, item_mapper(), 1, &key, &n, &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "items.id: the column has no sequence"));
	run_sql(c, "DROP TABLE items");
	create_tables(c, item_mapper()->registry);
	run_sql(c, "INSERT INTO smalls (id) VALUES (2147483640)");
	assert_int_equal(c->driver->reserve_keys(c, small_mapper(), 10, &key, &n, &error), ORM_ELIMIT);
	assert_non_null(strstr(error.message, "smalls.id: the largest key leaves no room"));
	assert_false(c->driver->in_transaction(c));
	c->driver->close(c);
}

#define N_THREADS 4
#define N_TIMES   40

typedef struct taker {
	const char *url;
	int64_t keys[N_TIMES * 50];
	size_t n;
} taker;

/* Ours in runs, every second one singly as other programs do. */
static void *take_keys(void *context)
{
	taker *mine = context;
	ormd_connection *c = open_again(mine->url, false);

	for (int i = 0; i < N_TIMES; i++) {
		int64_t first = 0;
		uint32_t n = 0;

		if (c->driver->reserve_keys(c, item_mapper(), 49, &first, &n, NULL) != ORM_OK)
			break;
		while (n-- > 0)
			mine->keys[mine->n++] = first++;
		mine->keys[mine->n++] = ask_int64(c, "SELECT nextval(pg_get_serial_sequence('items', 'id'))");
	}
	c->driver->close(c);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a;
	const int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void nobody_gets_a_key_twice(void **state)
{
	static taker takers[N_THREADS];
	static int64_t all[N_THREADS * N_TIMES * 50];
	char url[ENGINE_URL_SIZE];
	ormd_connection *c = open_fresh(url);
	pthread_t threads[N_THREADS];
	size_t n = 0;

	(void)state;
	create_tables(c, item_mapper()->registry);
	run_sql(c, "INSERT INTO items (id, name) VALUES (100, 'imported')");
	for (size_t i = 0; i < N_THREADS; i++) {
		takers[i].url = url;
		assert_int_equal(pthread_create(&threads[i], NULL, take_keys, &takers[i]), 0);
	}
	for (size_t i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(takers[i].n >= 2 * N_TIMES);
		memcpy(all + n, takers[i].keys, takers[i].n * sizeof *all);
		n += takers[i].n;
	}
	qsort(all, n, sizeof *all, compare);
	for (size_t i = 1; i < n; i++)
		assert_true(all[i] > all[i - 1]);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_follow_each_other),  cmocka_unit_test(imported_keys_are_passed_over),
		cmocka_unit_test(odd_names_are_quoted),    cmocka_unit_test(what_is_missing_is_said),
		cmocka_unit_test(nobody_gets_a_key_twice),
	};

	odd_mapper();
	atexit(free_odd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
