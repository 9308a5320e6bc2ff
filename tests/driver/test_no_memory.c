/* SPDX-License-Identifier: MIT */
/*
 * Each allocation of a connection's life fails, once or from then on: of the driver, and, without sanitizers, of the
 * engine's client library as well. Nothing crashes, what was committed is there, and what was refused is not.
 *
 * Sanitizers have an allocator of their own: under them (SANITIZED) only the driver's calls fail.
 */
#include "driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "sql/compile.h"

#define N_ROWS      200 /* enough for the engines' ways to write many */
#define PATIENCE_MS 200 /* for an answer */
#define MOST_CALLS  20000

static const char count[] = "SELECT count(*) FROM items";

/* ---- what fails ---------------------------------------------------------------------------------------------------
 */

/* Of this thread; -1: nothing fails. */
static _Thread_local long calls_until_failure = -1;
static _Thread_local bool for_ever;
#ifndef SANITIZED
static test_engine engine;
#endif

static bool fails(void)
{
	if (calls_until_failure < 0)
		return false;
	if (calls_until_failure > 0) {
		calls_until_failure--;
		return false;
	}
	if (!for_ever)
		calls_until_failure = -1;
	return true;
}

/* The driver's calls come here, by the linker's --wrap. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *piece, size_t size);

#ifdef SANITIZED
#define THEIRS(name) __real_##name
#else
#define THEIRS(name) __libc_##name
#endif

void *THEIRS(malloc)(size_t size);
void *THEIRS(calloc)(size_t n, size_t size);
void *THEIRS(realloc)(void *piece, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : THEIRS(malloc)(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : THEIRS(calloc)(n, size);
}

void *__wrap_realloc(void *piece, size_t size)
{
	return fails() ? NULL : THEIRS(realloc)(piece, size);
}

/* Libraries find these instead of the C library's. MariaDB's crashes without memory, and is spared;
 * libpq survives the loss of one allocation, and not always notices that of all. */
#ifndef SANITIZED
static bool library_fails(void)
{
	return calls_until_failure >= 0 && !for_ever && engine != ENGINE_MARIADB && fails();
}

#define EXPORT __attribute__((visibility("default")))
EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t n, size_t size);
EXPORT void *realloc(void *piece, size_t size);

void *malloc(size_t size)
{
	return library_fails() ? NULL : THEIRS(malloc)(size);
}

void *calloc(size_t n, size_t size)
{
	return library_fails() ? NULL : THEIRS(calloc)(n, size);
}

void *realloc(void *piece, size_t size)
{
	return library_fails() ? NULL : THEIRS(realloc)(piece, size);
}
#endif

/* ---- the script ---------------------------------------------------------------------------------------------------
 */

typedef struct script {
	char url[ENGINE_URL_SIZE];
	orm_buffer insert;
	orm_value values[2 * (N_ROWS + 1)]; /* id, name */
	const char *step;                   /* the latest */
	orm_error error;
} script;

static orm_status write_rows(script *this, ormd_connection *c, size_t first, size_t n_rows)
{
	static const uint16_t columns[] = {0, 1};
	ormd_write write = {.sql = this->insert.data,
			    .kind = ORMD_WRITE_INSERT,
			    .mapper = item_mapper(),
			    .columns = columns,
			    .n_columns = 2,
			    .n_parameters = 2,
			    .n_rows = n_rows,
			    .values = this->values + 2 * first};

	return c->driver->write(c, &write, &this->error);
}

static orm_status read_rows(script *this, ormd_connection *c)
{
	static const uint16_t columns[] = {0, 1};
	static const uint8_t types[] = {ORM_INT64, ORM_TEXT};
	const char *sql = c->driver->dialect->numbered_parameters ? "SELECT id, name FROM items WHERE id >= $1"
								  : "SELECT id, name FROM items WHERE id >= ?";
	orm_batch_builder builder = {0};
	orm_status status = ORM_OK;
	size_t n_rows = 0;
	bool done = false;
	ormd_cursor *cursor = NULL;

	if (!orm_batch_builder_init(&builder, item_mapper(), columns, 2))
		status = orm_fail(&this->error, ORM_ENOMEM, "out of memory");
	else if (!(cursor = c->driver->query(c, sql, this->values, 1, types, 2, &this->error)))
		status = this->error.code;
	while (status == ORM_OK && !done)
		status = c->driver->fetch(cursor, &builder, 64, SIZE_MAX, &n_rows, &done, &this->error);
	c->driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	return status;
}

/* Open, write one, write many, read, commit, close. */
static orm_status run_script(script *this)
{
	const ormd_open_options options = {.url = this->url, .busy_timeout_ms = 20000};
	const ormd_driver *driver = ormd_driver_for_url(this->url, &this->error);
	ormd_connection *c;
	orm_status status;

	this->step = "open";
	c = driver->open(&options, &this->error);
	if (!c)
		return this->error.code;
	/* libpq may miss an answer for which it had no memory, and wait for it. */
	c->deadline_us = orm_deadline_in_ms(PATIENCE_MS);
	this->step = "begin";
	status = driver->begin(c, ORM_ISOLATION_DEFAULT, &this->error);
	if (status == ORM_OK) {
		this->step = "write one";
		status = write_rows(this, c, 0, 1);
	}
	if (status == ORM_OK) {
		this->step = "write many";
		status = write_rows(this, c, 1, N_ROWS);
	}
	if (status == ORM_OK) {
		this->step = "read";
		status = read_rows(this, c);
	}
	if (status == ORM_OK) {
		this->step = "commit";
		status = driver->commit(c, &this->error);
	} else {
		driver->rollback(c);
	}
	driver->close(c);
	return status;
}

static void number_rows(script *this, int64_t first)
{
	for (size_t i = 0; i <= N_ROWS; i++) {
		this->values[2 * i] = int64_value(first + (int64_t)i);
		this->values[2 * i + 1] = text_value("a name");
	}
}

/* True: no allocation was left to fail. */
static bool try_once(script *this, int n, bool ever, int64_t *n_expected)
{
	orm_status status;

	number_rows(this, *n_expected);
	this->error = (orm_error){0};
	for_ever = ever;
	calls_until_failure = n;
	status = run_script(this);

	const bool passed = calls_until_failure > 0;

	calls_until_failure = -1;
	engine_wait_alone(this->url);
	if (status == ORM_OK || (status == ORM_EUNKNOWN && ask_outside(this->url, count) > *n_expected)) {
		*n_expected += N_ROWS + 1;
	} else {
		assert_int_equal(this->error.code, status);
		assert_true(this->error.message[0] != '\0');
	}
	/* What a library tells of its own lack may be that it is not connected. */
	if (status != ORM_OK && status != ORM_ENOMEM && status != ORM_EUNAVAILABLE && status != ORM_EDATABASE &&
	    status != ORM_ETIMEOUT && status != ORM_EUNKNOWN)
		fail_msg("allocation %d, %s: %s: %s", n, this->step, orm_status_name(status), this->error.message);
	return passed;
}

/* libpq's many, each of which may take a timeout to be noticed, in part: every third, but all with ORMD_FULL=1. */
static int step_under_test(bool ever)
{
	const char *full = getenv("ORMD_FULL");

	return engine_under_test() == ENGINE_POSTGRESQL && !ever && !(full && strcmp(full, "1") == 0) ? 3 : 1;
}

static void fail_each(bool ever)
{
	static script this;
	int64_t n_expected = 0;
	const int step = step_under_test(ever);
	int n_failed = 0;
	int n = 1;

	snprintf(this.url, sizeof this.url, "%s", database_url("memory.db"));
	ormd_database_close(open_database(this.url)); /* makes the table */
	orm_buffer_init(&this.insert);
	ormd_sql_insert(ormd_driver_for_url(this.url, NULL)->dialect, item_mapper(), (const uint16_t[]){0, 1}, 2, NULL,
			0, &this.insert);
	assert_false(this.insert.failed);
	while (!try_once(&this, n, ever, &n_expected)) {
		if (ask_outside(this.url, count) != n_expected)
			fail_msg("allocation %d: the rows are not those that were committed", n);
		n += step;
		n_failed++;
		assert_in_range(n, 1, MOST_CALLS);
	}
	assert_int_equal(ask_outside(this.url, count), n_expected);
	orm_buffer_fini(&this.insert);
	print_message("%d allocations failed, each %s; %d rows committed, all there\n", n_failed,
		      ever ? "and all after it" : "once", (int)n_expected);
	assert_true(n > 3);
	assert_true(n_expected > 0);
}

static void each_allocation_may_fail(void **state)
{
	(void)state;
	fail_each(false);
}

static void each_allocation_may_be_the_last(void **state)
{
	(void)state;
	fail_each(true);
}

int main(void)
{
#ifndef SANITIZED
	engine = engine_under_test();
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_may_fail),
		cmocka_unit_test(each_allocation_may_be_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
