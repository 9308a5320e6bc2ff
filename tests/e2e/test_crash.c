/* SPDX-License-Identifier: MIT */
/*
 * kill -9 of the server during commits, again and again, while clients go on by the library's rules: nothing that was acknowledged may be
 * lost, nothing may be done twice. 300 deaths; ORMD_FULL=1: 10,000.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/crash_client.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define N_CLIENTS 4

typedef struct witness {
	const test_place *place;
	support_process   clients[N_CLIENTS];
	int               reports[2];               /* pipe */
	int64_t           committed[N_CLIENTS + 1]; /* by number: the last operation that a client was told to be committed */
	int64_t           n_reports[CRASH_FAILED + 1];
} witness;

static void start_clients(witness *this)
{
	assert_int_equal(pipe2(this->reports, O_CLOEXEC), 0);
	for (int i = 0; i < N_CLIENTS; i++) {
		char number[16], fd[16];
		snprintf(number, sizeof number, "%d", i + 1);
		snprintf(fd, sizeof fd, "%d", this->reports[1]);
		const char *const argv[] = {program_invocation_name, "client", this->place->url, number, fd, NULL};
		assert_true(support_process_start(&this->clients[i],
		                                  &(support_command){.argv = argv, .pipe_stdin = true, .keep_fd = this->reports[1]}));
	}
	close(this->reports[1]);
}

/* One report of any client. False at the end of all clients, or when the time is up. */
static bool take_report(witness *this, int timeout_ms, crash_report *report)
{
	struct pollfd in = {.fd = this->reports[0], .events = POLLIN};
	if (poll(&in, 1, timeout_ms) <= 0 || read(this->reports[0], report, sizeof *report) != (ssize_t)sizeof *report)
		return false;
	assert_in_range(report->client, 1, N_CLIENTS);
	assert_in_range(report->kind, CRASH_COMMITTED, CRASH_FAILED);
	assert_int_not_equal(report->kind, CRASH_FAILED);
	this->n_reports[report->kind]++;
	if (report->kind == CRASH_COMMITTED || report->kind == CRASH_COMMITTED_AFTER_DOUBT) {
		assert_int_equal(report->operation, this->committed[report->client] + 1);
		this->committed[report->client] = report->operation;
	}
	return true;
}

/* Until somebody has committed with the server that runs now. */
static void wait_for_a_commit(witness *this)
{
	crash_report report;
	while (take_report(this, 0, &report))
		; /* what was told before */
	do
		assert_true(take_report(this, SUPPORT_PATIENCE_MS, &report));
	while (report.kind != CRASH_COMMITTED);
}

static bool server_runs(void *context)
{
	return place_server(((witness *)context)->place) > 0;
}

/* Some microseconds: where in its work the server dies is left to chance. */
static void pause_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void kill_the_server(witness *this, int round)
{
	assert_true(support_eventually(server_runs, this, SUPPORT_PATIENCE_MS));
	if (round % 8) /* else at once, perhaps while it recovers */
		wait_for_a_commit(this);
	pause_us(random() % 3000);
	pid_t pid = place_server(this->place);
	if (pid > 0) {
		kill(pid, SIGKILL);
		assert_int_equal(place_wait_server(pid), 128 + SIGKILL);
	}
}

static void end_clients(witness *this)
{
	crash_report report;
	for (int i = 0; i < N_CLIENTS; i++) {
		close(this->clients[i].stdin_fd);
		this->clients[i].stdin_fd = -1;
	}
	while (take_report(this, SUPPORT_PATIENCE_MS, &report))
		;
	for (int i = 0; i < N_CLIENTS; i++) {
		int status;
		assert_true(support_process_wait(&this->clients[i], SUPPORT_PATIENCE_MS, &status));
		assert_int_equal(status, 0);
		support_process_fini(&this->clients[i]);
	}
	close(this->reports[0]);
}

static void check(const witness *this)
{
	int64_t total = 0;
	for (int i = 1; i <= N_CLIENTS; i++) {
		char sql[300];
		total += this->committed[i];
		assert_true(this->committed[i] > 0);
		snprintf(sql, sizeof sql, "SELECT value FROM counters WHERE id = %d", i);
		assert_int_equal(place_number(this->place, sql), this->committed[i]);
		/* Each of its operations is there, and none that it was not told of. */
		snprintf(sql, sizeof sql, "SELECT count(DISTINCT CAST(substr(name, %d) AS INTEGER)) FROM operations WHERE name LIKE '%d:%%' "
		         "AND CAST(substr(name, %d) AS INTEGER) BETWEEN 1 AND %" PRId64, i < 10 ? 3 : 4, i, i < 10 ? 3 : 4, this->committed[i]);
		assert_int_equal(place_number(this->place, sql), this->committed[i]);
	}
	assert_int_equal(place_number(this->place, "SELECT count(*) FROM operations"), total);
	assert_int_equal(place_number(this->place, "SELECT count(DISTINCT name) FROM operations"), total);
	assert_int_equal(place_number(this->place, "SELECT sum(value) FROM counters"), total);
	assert_true(place_is_sound(this->place));
}

static void nothing_is_lost_or_done_twice(void **state)
{
	const char *full = getenv("ORMD_FULL");
	int         n_rounds = full && *full && strcmp(full, "0") != 0 ? 10000 : (int)place_scaled(300);
	witness     this = {.place = *state};
	srandom((unsigned)time(NULL));
	orm_disconnect(place_connect(this.place, crash_models));
	start_clients(&this);
	for (int round = 0; round < n_rounds; round++)
		kill_the_server(&this, round);
	wait_for_a_commit(&this);
	end_clients(&this);
	check(&this);
	int64_t n_doubts = this.n_reports[CRASH_COMMITTED_AFTER_DOUBT] + this.n_reports[CRASH_ABORTED_AFTER_DOUBT];
	print_message("%d deaths, %" PRId64 " commits; in doubt: %" PRId64 " (%" PRId64 " had committed), %.2f a death; sessions lost outside a commit: %" PRId64 "\n",
	              n_rounds, this.n_reports[CRASH_COMMITTED] + this.n_reports[CRASH_COMMITTED_AFTER_DOUBT], n_doubts,
	              this.n_reports[CRASH_COMMITTED_AFTER_DOUBT], (double)n_doubts / n_rounds, this.n_reports[CRASH_LOST]);
	assert_true(n_doubts > n_rounds / 2); /* or the test tests something else */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_lost_or_done_twice, place_set_up_unserved, place_tear_down_unserved),
	};
	if (argc == 5 && strcmp(argv[1], "client") == 0)
		return crash_client_run(argv[2], atoi(argv[3]), 0, atoi(argv[4]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
