/* SPDX-License-Identifier: MIT */
/* Results read in pieces while the connection does other things. */
#include "driver/postgresql_support.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

typedef struct reading {
	ormd_cursor *cursor;
	orm_batch_builder builder;
	int64_t n;
	bool done;
} reading;

static void start(reading *r, ormd_connection *c, const char *sql)
{
	const uint8_t type = ORM_INT64;
	orm_error error;

	*r = (reading){.cursor = c->driver->query(c, sql, NULL, 0, &type, 1, &error)};
	if (!r->cursor)
		fail_msg("%s: %s", sql, error.message);
	assert_true(orm_batch_builder_init(&r->builder, cell_mapper(), &(uint16_t){3}, 1));
}

/* The next rows count on from 1. */
static orm_status read_some(reading *r, size_t max_rows, orm_error *error)
{
	const ormd_driver *driver = r->cursor->connection->driver;
	size_t n_rows = 0;
	orm_status status;

	orm_batch_builder_reset(&r->builder);
	status = driver->fetch(r->cursor, &r->builder, max_rows, SIZE_MAX, &n_rows, &r->done, error);
	for (size_t i = 0; status == ORM_OK && i < n_rows; i++)
		assert_int_equal(((const int64_t *)(const void *)r->builder.vectors[0].cells.data)[i], ++r->n);
	return status;
}

static void read_all(reading *r)
{
	orm_error error;

	while (!r->done)
		expect_ok(read_some(r, 7, &error), &error);
}

static void stop(reading *r)
{
	r->cursor->connection->driver->close_cursor(r->cursor);
	orm_batch_builder_fini(&r->builder);
}

static void cursors_nest(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	reading a;
	reading b;
	orm_error error;

	(void)state;
	run_sql(c, "CREATE TABLE t (id BIGINT)");
	start(&a, c, "SELECT n::int8 FROM generate_series(1, 100) AS n");
	expect_ok(read_some(&a, 10, &error), &error);
	start(&b, c, "SELECT n::int8 FROM generate_series(1, 50) AS n");
	expect_ok(read_some(&b, 10, &error), &error);
	expect_ok(read_some(&a, 10, &error), &error);
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	expect_ok(write_row(c, "INSERT INTO t VALUES (1)", NULL, 0, &error), &error);
	expect_ok(c->driver->commit(c, &error), &error);
	run_sql(c, "INSERT INTO t VALUES (2)");
	read_all(&b);
	assert_int_equal(b.n, 50);
	read_all(&a);
	assert_int_equal(a.n, 100);
	stop(&a);
	stop(&b);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM t"), 2);
	c->driver->close_cursor(NULL);
	c->driver->close(c);
}

/* Rows come as they are asked for: a result without an end can be read, and left. */
static void a_large_result_is_not_read_beforehand(void **state)
{
	static const char large[] = "SELECT n FROM generate_series(1, 1000000::int8) AS n";
	ormd_connection *c = open_fresh(NULL);
	reading r;
	orm_error error;

	(void)state;
	start(&r, c, "WITH RECURSIVE r (n) AS (SELECT 1::int8 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r");
	for (int i = 0; i < 5; i++)
		expect_ok(read_some(&r, 100, &error), &error);
	stop(&r);
	assert_int_equal(ask_int64(c, "SELECT 1::int8"), 1);

	/* In a transaction, which lives on. */
	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	start(&r, c, "SELECT n FROM generate_series(1, 100000::int8) AS n");
	expect_ok(read_some(&r, 100, &error), &error);
	stop(&r);
	assert_int_equal(ask_int64(c, "SELECT 2::int8"), 2);
	start(&r, c, large);
	expect_ok(read_some(&r, 100, &error), &error);
	c->driver->rollback(c);
	assert_int_equal(read_some(&r, 100, &error), ORM_ESTATE);
	stop(&r);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(ask_int64(c, "SELECT 3::int8"), 3);

	expect_ok(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), &error);
	start(&r, c, large);
	expect_ok(read_some(&r, 100, &error), &error);
	stop(&r);
	c->driver->rollback(c);
	assert_int_equal(ask_int64(c, "SELECT 4::int8"), 4);
	assert_false(c->lost);
	c->driver->close(c);
}

/* What comes late fails late, and with its own error. */
static void a_failure_in_the_middle_comes_in_the_middle(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	reading r;
	orm_error error;
	orm_status status = ORM_OK;

	(void)state;
	start(&r, c,
	      "SELECT CASE WHEN n < 3000 THEN n ELSE 1 / (n - 3000) END FROM generate_series(1, 4000::int8) AS n");
	while (status == ORM_OK && !r.done)
		status = read_some(&r, 100, &error);
	assert_int_equal(status, ORM_EINVAL);
	assert_true(r.n >= 2900);
	assert_int_equal(read_some(&r, 100, &error), ORM_EINVAL);
	stop(&r);
	assert_int_equal(ask_int64(c, "SELECT 1::int8"), 1);
	c->driver->close(c);
}

/* The rows that are there come; waiting for the next ends in time. */
static void a_result_stops_at_its_deadline(void **state)
{
	static const char stuck[] = "SELECT CASE WHEN n > 2000 THEN length(pg_sleep(600)::text) + n ELSE n END "
				    "FROM generate_series(1, 3000::int8) AS n";
	ormd_connection *c = open_fresh(NULL);
	reading r;
	orm_error error;
	orm_status status = ORM_OK;

	(void)state;
	start(&r, c, stuck);
	c->deadline_us = orm_clock_us() + 100000;
	while (status == ORM_OK)
		status = read_some(&r, 100, &error);
	assert_int_equal(status, ORM_ETIMEOUT);
	c->deadline_us = 0;
	stop(&r);
	start(&r, c, stuck);
	c->driver->interrupt(c);
	for (status = ORM_OK; status == ORM_OK;)
		status = read_some(&r, 100, &error);
	assert_int_equal(status, ORM_ECANCELLED);
	stop(&r);
	assert_false(c->lost);
	assert_int_equal(ask_int64(c, "SELECT 1::int8"), 1);
	c->driver->close(c);
}

static void rows_are_bounded_by_size(void **state)
{
	ormd_connection *c = open_fresh(NULL);
	const uint8_t type = ORM_TEXT;
	orm_batch_builder builder;
	orm_error error;
	size_t n_rows;
	bool done;
	ormd_cursor *cursor =
		c->driver->query(c, "SELECT repeat('x', 1000) FROM generate_series(1, 10)", NULL, 0, &type, 1, &error);

	(void)state;
	assert_non_null(cursor);
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), &(uint16_t){5}, 1));
	expect_ok(c->driver->fetch(cursor, &builder, 100, 2500, &n_rows, &done, &error), &error);
	assert_int_equal(n_rows, 3);
	assert_false(done);
	expect_ok(c->driver->fetch(cursor, &builder, 100, SIZE_MAX, &n_rows, &done, &error), &error);
	assert_int_equal(n_rows, 7);
	assert_true(done);
	expect_ok(c->driver->fetch(cursor, &builder, 100, SIZE_MAX, &n_rows, &done, &error), &error);
	assert_int_equal(n_rows, 0);
	assert_true(done);
	orm_batch_builder_fini(&builder);
	c->driver->close_cursor(cursor);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cursors_nest),
		cmocka_unit_test(a_large_result_is_not_read_beforehand),
		cmocka_unit_test(a_failure_in_the_middle_comes_in_the_middle),
		cmocka_unit_test(a_result_stops_at_its_deadline),
		cmocka_unit_test(rows_are_bounded_by_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
