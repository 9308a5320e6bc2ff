/* SPDX-License-Identifier: MIT */
/*
 * Each write to a file, and each allocation of SQLite's, fails once: whatever was acknowledged is there, whatever was
 * refused is not, and what is unknown is one or the other, whole. SQLite lets a test replace its system calls and its
 * allocator.
 */
#include "driver/support.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_JOBS 12

/* ---- what fails --------------------------------------------------------------------------------------------- */

typedef enum fault { WRITES, ALLOCATIONS } fault;

static fault armed;
static int calls_until_failure; /* 0: none fails */
static bool failed;
static bool for_ever; /* that call and all after it */

static bool fails_now(fault kind)
{
	if (kind != armed)
		return false;
	if (failed && for_ever)
		return true;
	if (calls_until_failure == 0 || --calls_until_failure > 0)
		return false;
	failed = true;
	return true;
}

static void arm(fault kind, int n, bool ever)
{
	armed = kind;
	calls_until_failure = n;
	failed = false;
	for_ever = ever;
}

static ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	if (fails_now(WRITES)) {
		errno = EIO;
		return -1;
	}
	return pwrite(fd, data, size, offset);
}

static sqlite3_mem_methods system_memory;

static void *failing_malloc(int size)
{
	return fails_now(ALLOCATIONS) ? NULL : system_memory.xMalloc(size);
}

static void *failing_realloc(void *memory, int size)
{
	return fails_now(ALLOCATIONS) ? NULL : system_memory.xRealloc(memory, size);
}

/* ---- the script --------------------------------------------------------------------------------------------- */

typedef struct outcome {
	int n_kept;
	int n_unknown;
	int n_refused;
} outcome;

/* Jobs one after the other, some that only look, and one that fails by itself. The numbers of those that were kept are
 * their names. */
static outcome run_script(ormd_database *database, bool *kept)
{
	outcome result = {0};

	for (int i = 0; i < N_JOBS; i++) {
		insert_job insert;
		char name[16];
		orm_error error = {0};

		snprintf(name, sizeof name, "%d", i);
		insert_job_init(&insert, i == 5 ? NULL : name);
		if (i % 4 == 3)
			insert.job.end = ORMD_JOB_ROLLBACK;

		const orm_status status = ormd_database_run(database, &insert.job, &error);

		kept[i] = status == ORM_OK && insert.job.end == ORMD_JOB_COMMIT;
		result.n_kept += kept[i];
		result.n_unknown += status == ORM_EUNKNOWN;
		result.n_refused += status != ORM_OK && status != ORM_EUNKNOWN;
		if (status != ORM_OK && (error.code != status || !error.message[0]))
			fail_msg("status %s, but the error says %s '%s'", orm_status_name(status),
				 orm_status_name(error.code), error.message);
		assert_true(status == ORM_OK || status == ORM_EUNKNOWN || status == ORM_EDATABASE ||
			    status == ORM_ENOMEM || status == ORM_EUNAVAILABLE ||
			    (status == ORM_ECONSTRAINT && i == 5));
	}
	return result;
}

static void expect_consistent(const char *url, const outcome *result, const bool *kept)
{
	const int64_t n_there = ask_outside(url, "SELECT count(*) FROM items");

	assert_int_equal(
		ask_outside(url, "SELECT count(*) = 1 FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
	assert_true(n_there >= result->n_kept);
	assert_true(n_there <= result->n_kept + result->n_unknown);
	assert_int_equal(ask_outside(url, "SELECT count(*) - count(DISTINCT name) FROM items"), 0);
	for (int i = 0; i < N_JOBS; i++) {
		char sql[100];

		snprintf(sql, sizeof sql, "SELECT count(*) FROM items WHERE name = '%d'", i);
		if (kept[i])
			assert_int_equal(ask_outside(url, sql), 1);
	}
}

/* Until the n-th call is beyond the script's last. */
static void fail_each_call(fault kind, const char *name, bool ever)
{
	int n_failing = 0;

	for (int n = 1; n_failing == n - 1; n++) {
		char file[32];
		char url[SUPPORT_PATH_SIZE + 16];
		bool kept[N_JOBS] = {false};
		ormd_database *database;
		outcome result;

		snprintf(file, sizeof file, "%s%d.db", name, n);
		snprintf(url, sizeof url, "%s", database_url(file));
		database = open_database(url);
		arm(kind, n, ever);
		result = run_script(database, kept);
		n_failing += failed;
		arm(kind, 0, false);

		/* The fault is over: the same server works on. */
		insert_job insert;

		insert_job_init(&insert, "later");
		ormd_database_run(database, &insert.job, NULL);
		if (insert.status != ORM_OK)
			fail_msg("after fault %d: %s", n, insert.error.message);
		result.n_kept++;
		ormd_database_close(database);
		expect_consistent(url, &result, kept);
		assert_int_equal(ask_outside(url, "SELECT count(*) FROM items WHERE name = 'later'"), 1);
	}
	assert_true(n_failing > N_JOBS);
}

static void every_write_may_fail(void **state)
{
	static const char *const calls[] = {"pwrite", "pwrite64"};
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	(void)state;
	for (size_t i = 0; i < 2; i++) /* the one that this build of SQLite has not is not found */
		vfs->xSetSystemCall(vfs, calls[i], (sqlite3_syscall_ptr)failing_pwrite);
	fail_each_call(WRITES, "write", false);
	fail_each_call(WRITES, "writes", true);
	vfs->xSetSystemCall(vfs, NULL, NULL);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	fail_each_call(ALLOCATIONS, "memory", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_write_may_fail),
		cmocka_unit_test(every_allocation_may_fail),
	};
	sqlite3_mem_methods memory;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK)
		return 1;
	memory = system_memory;
	memory.xMalloc = failing_malloc;
	memory.xRealloc = failing_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
