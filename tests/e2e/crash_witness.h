/* SPDX-License-Identifier: MIT */
/*
 * The test's side of crash_client.h: clients that commit without end, each in a process of its own, while the test
 * kills what they depend on; and what they were told, which at the end is compared with what the database has.
 *
 * 1. crash_witness_start, 2. kill, crash_witness_wait, again and again, 3. crash_witness_end, 4. crash_witness_check.
 */
#ifndef E2E_CRASH_WITNESS_H
#define E2E_CRASH_WITNESS_H

#include "e2e/crash_client.h"
#include "support/process.h"

#define CRASH_MAX_CLIENTS 8

typedef struct crash_witness {
	int n_clients;
	support_process clients[CRASH_MAX_CLIENTS];
	int reports[2];                           /* pipe */
	int64_t committed[CRASH_MAX_CLIENTS + 1]; /* by number: the last operation that it was told to be committed */
	int64_t n_reports[CRASH_FAILED + 1];
	int64_t longest_wait_ms; /* of crash_witness_wait */
	unsigned seed;           /* of random(), for what the test leaves to chance */
} crash_witness;

/* Half of the clients connect to one URL, half to the other, which may be the same. The tables are there already. */
void crash_witness_start(crash_witness *this, int n_clients, const char *url, const char *other_url);

/* Until somebody has committed who was not told of it yet: it works, again. */
void crash_witness_wait(crash_witness *this);

/* Tell the clients to end, and wait for it; none may have failed. */
void crash_witness_end(crash_witness *this);

/* Of all that was acknowledged nothing is missing in this database, nothing is there twice, and nothing else is there.
 */
void crash_witness_check(const crash_witness *this, const char *database_url);

int64_t crash_witness_commits(const crash_witness *this);
int64_t crash_witness_doubts(const crash_witness *this);
/* "NAME: seed .., 12 kills, 345 commits ..." */
void crash_witness_print(const crash_witness *this, const char *name, int n_kills);

/* A number of rounds: `few`, fewer under sanitizers that cost much; with ORMD_FULL=1 `many`. */
int crash_rounds(int few, int many);
void crash_pause_at_most_us(long us); /* a random time: where in its work something dies is left to chance */

/* For main: is this process one of the clients? Then do its work: its exit status, else -1. */
int crash_client_main(int argc, char **argv);

#endif
