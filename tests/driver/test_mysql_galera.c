/* SPDX-License-Identifier: MIT */
/* The driver on the nodes of a cluster: certification, keys, what is seen where, and a node without a majority. */
#include "driver/mysql_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver/mysql_internal.h"
#include "support/galera.h"

#define N_BLOCKS 150
#define BLOCK    10

static support_galera cluster;
static ormd_connection *nodes[SUPPORT_GALERA_NODES];

static int setup(void **state)
{
	char url[SUPPORT_PATH_SIZE];

	(void)state;
	support_galera_start(&cluster);
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++) {
		support_galera_url(&cluster, i, "shop", url);
		nodes[i] = open_connection(url, false);
	}
	mysql_create_all(nodes[0], cell_mapper()->registry);
	assert_int_equal(ormd_driver_mysql.prepare_database(nodes[0], NULL), ORM_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++)
		ormd_driver_mysql.close(nodes[i]);
	support_galera_remove(&cluster);
	return 0;
}

/* Makes the node's session see what the others have committed. */
static void catch_up(ormd_connection *c)
{
	orm_error error;

	if (c->driver->end_backend(c, "", &error) != ORM_OK)
		fail_msg("%s", error.message);
}

static void nodes_are_told_apart(void **state)
{
	(void)state;
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++) {
		assert_true(mysql_of(nodes[i])->is_cluster);
		assert_string_not_equal(mysql_of(nodes[i])->server,
					mysql_of(nodes[(i + 1) % SUPPORT_GALERA_NODES])->server);
	}
}

static void the_second_of_two_that_change_a_row_is_told_to_try_again(void **state)
{
	const ormd_driver *d = &ormd_driver_mysql;
	orm_error error;

	(void)state;
	run_sql(nodes[0], "INSERT INTO items (id, name) VALUES (1, 'x')");
	catch_up(nodes[1]);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(d->begin(nodes[i], ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		run_sql(nodes[i], "UPDATE items SET name = concat(name, @@port, 'y') WHERE id = 1");
	}
	assert_int_equal(d->commit(nodes[0], &error), ORM_OK);
	assert_int_equal(d->commit(nodes[1], &error), ORM_ERETRY);
	assert_false(d->in_transaction(nodes[1]));
	assert_false(nodes[1]->lost);
	assert_int_equal(d->begin(nodes[0], ORM_SERIALIZABLE, &error), ORM_EUNSUPPORTED);
}

/* Both write the id of one commit: one of them gets in, and the other one finds it. */
static void a_commit_s_id_is_there_once(void **state)
{
	static const char insert[] = "INSERT IGNORE INTO items (id, name) VALUES (70, 'id')";
	const ormd_driver *d = &ormd_driver_mysql;
	orm_error error;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(d->begin(nodes[i], ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		run_sql(nodes[i], insert);
	}
	assert_int_equal(d->commit(nodes[1], &error), ORM_OK);
	assert_int_equal(d->commit(nodes[0], &error), ORM_ERETRY);
	catch_up(nodes[0]);
	assert_int_equal(ask_int64(nodes[0], "SELECT count(*) FROM items WHERE id = 70"), 1);
}

static void what_was_committed_is_seen_after_catching_up(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		run_sql(nodes[i % 2], "INSERT INTO cells (int32) VALUES (1)");
		catch_up(nodes[2]);
		assert_int_equal(ask_int64(nodes[2], "SELECT count(*) FROM cells"), i + 1);
	}
}

static void keys_of_two_nodes_are_apart(void **state)
{
	int64_t last = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		int64_t first = 0;
		uint32_t n = 0;
		orm_error error;

		if (ormd_driver_mysql.reserve_keys(nodes[i % 2], small_mapper(), 10, &first, &n, &error) != ORM_OK)
			fail_msg("%s", error.message);
		assert_true(first > last);
		last = first + n - 1;
		catch_up(nodes[(i + 1) % 2]);
	}
}

typedef struct taker {
	ormd_connection *connection;
	orm_status status;
	orm_error error;
	int64_t firsts[N_BLOCKS]; /* of blocks of BLOCK keys */
} taker;

static void *take_blocks(void *context)
{
	taker *t = context;

	for (int i = 0; i < N_BLOCKS && t->status == ORM_OK;) {
		uint32_t n = 0;

		t->status = ormd_driver_mysql.reserve_keys(t->connection, small_mapper(), BLOCK, &t->firsts[i], &n,
							   &t->error);
		if (t->status == ORM_ERETRY) /* the other one was always faster */
			t->status = ORM_OK;
		else
			i++;
	}
	return NULL;
}

static int compare_keys(const void *left, const void *right)
{
	const int64_t a = *(const int64_t *)left;
	const int64_t b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

/* Certification undoes what one of them has been told already, and a node may then try the statement again by itself.
 */
static void keys_reserved_at_the_same_time_are_apart(void **state)
{
	static taker takers[2];
	int64_t all[2 * N_BLOCKS];
	pthread_t threads[2];

	(void)state;
	small_mapper(); /* made once, by one thread */
	for (int i = 0; i < 2; i++) {
		takers[i] = (taker){.connection = nodes[i]};
		assert_int_equal(pthread_create(&threads[i], NULL, take_blocks, &takers[i]), 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		if (takers[i].status != ORM_OK)
			fail_msg("%s", takers[i].error.message);
		memcpy(all + i * N_BLOCKS, takers[i].firsts, sizeof takers[i].firsts);
	}
	qsort(all, 2 * N_BLOCKS, sizeof *all, compare_keys);
	for (int i = 1; i < 2 * N_BLOCKS; i++)
		assert_true(all[i] >= all[i - 1] + BLOCK);
}

/* It refuses what it is asked, until it is with the others again. */
static void a_node_without_a_majority_is_unavailable(void **state)
{
	orm_error error;

	(void)state;
	support_galera_kill(&cluster, 1);
	support_galera_kill(&cluster, 2);
	support_galera_await_alone(&cluster, 0);
	assert_int_equal(ormd_driver_mysql.run(nodes[0], "INSERT INTO items (name) VALUES ('alone')", &error),
			 ORM_EUNAVAILABLE);
	assert_true(nodes[0]->lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_are_told_apart),
		cmocka_unit_test(the_second_of_two_that_change_a_row_is_told_to_try_again),
		cmocka_unit_test(a_commit_s_id_is_there_once),
		cmocka_unit_test(what_was_committed_is_seen_after_catching_up),
		cmocka_unit_test(keys_of_two_nodes_are_apart),
		cmocka_unit_test(keys_reserved_at_the_same_time_are_apart),
		cmocka_unit_test(a_node_without_a_majority_is_unavailable),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
