/* SPDX-License-Identifier: MIT */
/*
 * What was acknowledged survives: the server killed at any moment, at a crash point, or out of disk space. A forked
 * child is the server; it acknowledges each commit through a pipe, as a server does to its clients.
 */
#include "driver/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash_point.h"

#define N_CYCLES 50

static const char check_integrity[] = "SELECT count(*) = 1 FROM pragma_integrity_check WHERE integrity_check = 'ok'";

/* Insert items named from `first` on, until told to stop or the end; write each number to `fd` once it is committed. */
static void serve(const char *url, int first, int fd, int n_jobs)
{
	ormd_database *database = open_database(url);

	for (int i = first; i < first + n_jobs; i++) {
		insert_job insert;
		char name[16];

		snprintf(name, sizeof name, "%d", i);
		insert_job_init(&insert, name);
		if (ormd_database_run(database, &insert.job, NULL) == ORM_OK && write(fd, &i, sizeof i) != sizeof i)
			_exit(3);
	}
	ormd_database_close(database);
	_exit(0);
}

static pid_t start_server(const char *url, int first, int n_jobs, int *acknowledged_fd)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		orm_crash_points_init();
		serve(url, first, fds[1], n_jobs);
	}
	close(fds[1]);
	*acknowledged_fd = fds[0];
	return pid;
}

/* Every number up to the last acknowledged one is there, each once; at most one more, which was not told any more. */
static void expect_all_there(const char *url, int last_acknowledged)
{
	char sql[128];

	if (engine_of(url) == ENGINE_SQLITE)
		assert_int_equal(ask_outside(url, check_integrity), 1);
	snprintf(sql, sizeof sql, "SELECT count(DISTINCT name) FROM items WHERE CAST(name AS INTEGER) <= %d",
		 last_acknowledged);
	assert_int_equal(ask_outside(url, sql), last_acknowledged);
	assert_int_equal(ask_outside(url, "SELECT count(*) - count(DISTINCT name) FROM items"), 0);
	assert_true(ask_outside(url, "SELECT count(*) FROM items") <= last_acknowledged + 1);
}

static void a_killed_server_loses_nothing_it_acknowledged(void **state)
{
	const char *url = database_url("killed.db");
	int last = 0;

	(void)state;
	for (int cycle = 0; cycle < N_CYCLES; cycle++) {
		int fd;
		int number;
		int status;
		const int before = last;
		const pid_t pid = start_server(url, last + 1, 1000000, &fd);

		/* Killed after a varying number of commits, wherever it is at that moment. */
		while (last < before + 1 + cycle % 7 && read(fd, &number, sizeof number) == sizeof number)
			last = number;
		assert_int_equal(kill(pid, SIGKILL), 0);
		while (read(fd, &number, sizeof number) == sizeof number)
			last = number;
		close(fd);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(last > before);
		engine_wait_alone(url);
		expect_all_there(url, last);
		last = (int)ask_outside(url, "SELECT max(CAST(name AS INTEGER)) FROM items");
	}
}

static void crash_points_lie_around_the_commit(void **state)
{
	static const struct {
		const char *point;
		int n_there;
	} cases[] = {{"before-commit:4", 2}, {"after-commit:4", 3}}; /* the first commit makes the table */
	char urls[2][ENGINE_URL_SIZE];

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd;
		int number;
		int last = 0;
		int status;
		pid_t pid;

		snprintf(urls[i], sizeof urls[i], "%s", database_url("point.db"));
		setenv("ORMD_CRASH_POINT", cases[i].point, 1);
		pid = start_server(urls[i], 1, 10, &fd);
		unsetenv("ORMD_CRASH_POINT");
		while (read(fd, &number, sizeof number) == sizeof number)
			last = number;
		close(fd);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(last, 2);
		engine_wait_alone(urls[i]);
		assert_int_equal(ask_outside(urls[i], "SELECT count(*) FROM items"), cases[i].n_there);
	}
}

/* No file may grow beyond a limit, as on a full disk (then write() fails with EFBIG, SQLite says the disk is full or
 * I/O failed). */
static void serve_on_a_full_disk(const char *url, int fd)
{
	static char name[20000];
	const struct rlimit limit = {400 * 1024, 400 * 1024};
	ormd_database *database = open_database(url);
	int n_failed = 0;
	int n_kept = 0;

	memset(name, 'x', sizeof name - 1);
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		_exit(4);
	for (int i = 0; i < 100; i++) {
		insert_job insert;
		orm_error error;

		insert_job_init(&insert, name);

		const orm_status status = ormd_database_run(database, &insert.job, &error);

		if (status == ORM_OK)
			n_kept++;
		else if (status != ORM_EDATABASE && status != ORM_EUNKNOWN)
			_exit(5);
		else if (!error.message[0])
			_exit(6);
		else
			n_failed++;
	}
	if (n_failed == 0 || n_kept == 0)
		_exit(7);
	if (write(fd, &n_kept, sizeof n_kept) != sizeof n_kept)
		_exit(3);
	kill(getpid(), SIGKILL);
}

static void a_full_disk_is_a_typed_error_and_loses_nothing(void **state)
{
	ONLY_ON_SQLITE();

	const char *url = database_url("fulldisk.db");
	ormd_database *database;
	insert_job insert;
	int fds[2];
	int n_kept = 0;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		serve_on_a_full_disk(url, fds[1]);
	close(fds[1]);

	const ssize_t size = read(fds[0], &n_kept, sizeof n_kept);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		fail_msg("the child ended with %d", WEXITSTATUS(status));
	assert_int_equal(size, sizeof n_kept);
	close(fds[0]);
	assert_int_equal(ask_outside(url, check_integrity), 1);
	assert_int_equal(ask_outside(url, "SELECT count(*) FROM items"), n_kept);

	database = open_database(url); /* with room again it works on */
	insert_job_init(&insert, "later");
	assert_int_equal(ormd_database_run(database, &insert.job, NULL), ORM_OK);
	ormd_database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_server_loses_nothing_it_acknowledged),
		cmocka_unit_test(crash_points_lie_around_the_commit),
		cmocka_unit_test(a_full_disk_is_a_typed_error_and_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
