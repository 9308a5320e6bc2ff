/* SPDX-License-Identifier: MIT */
#include "e2e/crash_witness.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/place.h"
#include "support/engine.h"
#include "support/eventually.h"

void crash_witness_start(crash_witness *this, int n_clients, const char *url, const char *other_url)
{
	const char *seed = getenv("ORMD_SEED");

	assert_in_range(n_clients, 1, CRASH_MAX_CLIENTS);
	*this = (crash_witness){.n_clients = n_clients,
				.seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL)};
	srandom(this->seed);
	assert_int_equal(pipe2(this->reports, O_CLOEXEC), 0);
	for (int i = 0; i < n_clients; i++) {
		char number[16];
		char fd[16];
		const char *const argv[] = {
			program_invocation_name, "client", i % 2 ? other_url : url, number, fd, NULL};
		const support_command command = {.argv = argv, .pipe_stdin = true, .keep_fd = this->reports[1]};

		snprintf(number, sizeof number, "%d", i + 1);
		snprintf(fd, sizeof fd, "%d", this->reports[1]);
		assert_true(support_process_start(&this->clients[i], &command));
	}
	close(this->reports[1]);
}

/* One report of any client. False at the end of all clients, or when the time is up. */
static bool take_report(crash_witness *this, int timeout_ms, crash_report *report)
{
	struct pollfd in = {.fd = this->reports[0], .events = POLLIN};

	if (poll(&in, 1, timeout_ms) <= 0 || read(this->reports[0], report, sizeof *report) != (ssize_t)sizeof *report)
		return false;
	assert_in_range(report->client, 1, this->n_clients);
	assert_in_range(report->kind, CRASH_COMMITTED, CRASH_FAILED);
	assert_int_not_equal(report->kind, CRASH_FAILED);
	this->n_reports[report->kind]++;
	if (report->kind == CRASH_COMMITTED || report->kind == CRASH_COMMITTED_AFTER_DOUBT) {
		assert_int_equal(report->operation, this->committed[report->client] + 1);
		this->committed[report->client] = report->operation;
	}
	return true;
}

void crash_witness_wait(crash_witness *this)
{
	const int64_t begin_ms = support_now_ms();
	crash_report report;

	while (take_report(this, 0, &report))
		; /* what was told before */
	do {
		if (!take_report(this, SUPPORT_PATIENCE_MS, &report) ||
		    support_now_ms() - begin_ms > 2 * SUPPORT_PATIENCE_MS)
			fail_msg("nobody commits any more");
	} while (report.kind != CRASH_COMMITTED);
	if (support_now_ms() - begin_ms > this->longest_wait_ms)
		this->longest_wait_ms = support_now_ms() - begin_ms;
}

void crash_witness_end(crash_witness *this)
{
	crash_report report;

	for (int i = 0; i < this->n_clients; i++) {
		close(this->clients[i].stdin_fd);
		this->clients[i].stdin_fd = -1;
	}
	while (take_report(this, SUPPORT_PATIENCE_MS, &report))
		;
	for (int i = 0; i < this->n_clients; i++) {
		int status;

		assert_true(support_process_wait(&this->clients[i], SUPPORT_PATIENCE_MS, &status));
		assert_int_equal(status, 0);
		support_process_fini(&this->clients[i]);
	}
	close(this->reports[0]);
}

void crash_witness_check(const crash_witness *this, const char *database_url)
{
	const int64_t total = crash_witness_commits(this);
	char sql[300];

	for (int i = 1; i <= this->n_clients; i++) {
		const int64_t last = this->committed[i];
		const int at = snprintf(NULL, 0, "%d:", i) + 1;

		assert_true(last > 0);
		snprintf(sql, sizeof sql, "SELECT value FROM counters WHERE id = %d", i);
		assert_int_equal(engine_ask_number(database_url, sql), last);
		/* Each of its operations is there, and none that it was not told of. */
		snprintf(sql, sizeof sql,
			 "SELECT count(DISTINCT CAST(substr(name, %d) AS INTEGER)) FROM operations WHERE name LIKE "
			 "'%d:%%' AND CAST(substr(name, %d) AS INTEGER) BETWEEN 1 AND %" PRId64,
			 at, i, at, last);
		assert_int_equal(engine_ask_number(database_url, sql), last);
	}
	assert_int_equal(engine_ask_number(database_url, "SELECT count(*) FROM operations"), total);
	assert_int_equal(engine_ask_number(database_url, "SELECT count(DISTINCT name) FROM operations"), total);
	assert_int_equal(engine_ask_number(database_url, "SELECT sum(value) FROM counters"), total);
}

int64_t crash_witness_commits(const crash_witness *this)
{
	return this->n_reports[CRASH_COMMITTED] + this->n_reports[CRASH_COMMITTED_AFTER_DOUBT];
}

int64_t crash_witness_doubts(const crash_witness *this)
{
	return this->n_reports[CRASH_COMMITTED_AFTER_DOUBT] + this->n_reports[CRASH_ABORTED_AFTER_DOUBT];
}

void crash_witness_print(const crash_witness *this, const char *name, int n_kills)
{
	print_message("%s: seed %u, %d kills, %" PRId64 " commits acknowledged; in doubt for the client: %" PRId64
		      ", all resolved (%" PRId64 " had committed), %.2f a kill; refused and tried again: %" PRId64
		      ", lost outside a commit: %" PRId64 "; 0 lost, 0 doubled; longest wait for a commit %" PRId64
		      " ms\n",
		      name, this->seed, n_kills, crash_witness_commits(this), crash_witness_doubts(this),
		      this->n_reports[CRASH_COMMITTED_AFTER_DOUBT],
		      n_kills > 0 ? (double)crash_witness_doubts(this) / n_kills : 0.0, this->n_reports[CRASH_REFUSED],
		      this->n_reports[CRASH_LOST], this->longest_wait_ms);
}

int crash_rounds(int few, int many)
{
	const char *full = getenv("ORMD_FULL");

	return full && *full && strcmp(full, "0") != 0 ? many : (int)place_scaled((size_t)few);
}

void crash_pause_at_most_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = random() % us * 1000}, NULL);
}

int crash_client_main(int argc, char **argv)
{
	if (argc != 5 || strcmp(argv[1], "client") != 0)
		return -1;
	return crash_client_run(argv[2], atoi(argv[3]), 0, atoi(argv[4]));
}
