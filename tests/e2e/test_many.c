/* SPDX-License-Identifier: MIT */
/*
 * Eight processes and fifty sessions at once: private sessions on threads of their own, and shared units that all processes work in. Every
 * unit of work is counted, and in the end the database must add up. To be run under TSan, too: server and clients.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define N_PROCESSES 8
#define N_PRIVATE   5 /* sessions of each process, each in its thread */
#define N_UNITS     20

/* 8 * 5 private ones, 8 that each process shares with its neighbour, 2 that the first two share besides: 50. */
typedef struct work {
	orm_db *db;
	int     process, number;
	int     n_units;
	char    session[32]; /* a shared one's name; "" for a private one */
	char    error[600];  /* "" if all went well */
} work;

static int fail_work(work *this, const orm_session *session, const char *what)
{
	snprintf(this->error, sizeof this->error, "process %d, session %d: %s: %s %s", this->process, this->number, what,
	         orm_status_name(orm_session_error(session)->code), orm_session_error(session)->message);
	return 0;
}

/* Adds, changes and deletes of its own, and one counter that everybody counts up: there, ESTALE means once more. */
static int private_unit(work *this, orm_session *session, int unit)
{
	Note *kept = orm_add(session, Note, .title = orm_printf(session, "%d.%d", this->process, this->number), .score = {true, unit});
	Note *gone = orm_add(session, Note, .title = "gone");
	if (orm_commit(session) < 0)
		return fail_work(this, session, "adding");
	kept->body = "changed";
	orm_delete(session, gone);
	if (orm_commit(session) < 0)
		return fail_work(this, session, "changing");
	for (;;) {
		Note *counter = orm_get(session, Note, 1);
		if (!counter || orm_refresh(session, counter) < 0)
			return fail_work(this, session, "the counter");
		counter->score.value++;
		orm_status status = orm_commit(session);
		if (status == ORM_OK)
			return 1;
		if (status != ORM_ESTALE)
			return fail_work(this, session, "counting");
		orm_rollback(session);
	}
}

/* Published, seen by whoever looks, committed by whoever is first. What another has changed meanwhile is done again. */
static int shared_unit(work *this, orm_session *session, int unit)
{
	orm_add(session, Note, .title = orm_printf(session, "shared %d.%d", this->process, this->number), .score = {true, unit});
	if (orm_flush(session) < 0)
		return fail_work(this, session, "publishing");
	if (orm_count(session, Note, .title = "gone") < 0)
		return fail_work(this, session, "looking");
	if (orm_commit(session) < 0)
		return fail_work(this, session, "committing");
	return 1;
}

static void *run(void *argument)
{
	work        *this = argument;
	bool         shared = this->session[0];
	orm_session *session = shared ? orm_session_join(this->db, this->session, &(orm_join_options){.on_death = ORM_ON_DEATH_KEEP})
	                              : orm_session_open(this->db);
	for (int unit = 0; unit < this->n_units && !this->error[0]; unit++) {
		if (!(shared ? shared_unit : private_unit)(this, session, unit))
			break;
		if (unit % 5 == 4 && !shared)
			orm_session_clear(session);
	}
	orm_session_close(session);
	return NULL;
}

/* In a process of its own: sessions on threads. */
static int run_process(const char *address, int process, int n_units)
{
	orm_db   *db = orm_connect(address, notes_models);
	work      works[N_PRIVATE + 2];
	pthread_t threads[N_PRIVATE + 2];
	int       n = 0, failed = 0;
	memset(works, 0, sizeof works);
	for (int i = 0; i < N_PRIVATE + (process < 2 ? 2 : 1); i++) {
		works[n] = (work){.db = db, .process = process, .number = i, .n_units = n_units};
		if (i == N_PRIVATE)
			snprintf(works[n].session, sizeof works[n].session, "neighbours %d", process / 2);
		else if (i > N_PRIVATE)
			snprintf(works[n].session, sizeof works[n].session, "all");
		if (pthread_create(&threads[n], NULL, run, &works[n]) == 0)
			n++;
		else
			failed = 1;
	}
	for (int i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		if (works[i].error[0])
			fprintf(stderr, "%s\n", works[i].error);
		failed |= works[i].error[0] != '\0';
	}
	orm_disconnect(db);
	return failed;
}

static void all_work_adds_up(void **state)
{
	const test_place *place = *state;
	int               n_units = (int)place_scaled(N_UNITS);
	support_process   processes[N_PROCESSES];
	orm_db           *db = place_connect(place, notes_models);
	orm_session      *session = orm_session_open(db);
	orm_add(session, Note, .title = "counter", .score = {true, 0});
	assert_int_equal(orm_commit(session), ORM_OK);
	for (int i = 0; i < N_PROCESSES; i++) {
		char number[16], units[16];
		snprintf(number, sizeof number, "%d", i);
		snprintf(units, sizeof units, "%d", n_units);
		const char *const argv[] = {program_invocation_name, "process", place->ormd.address, number, units, NULL};
		assert_true(support_process_start(&processes[i], &(support_command){.argv = argv}));
	}
	for (int i = 0; i < N_PROCESSES; i++) {
		int status;
		assert_true(support_process_wait(&processes[i], 8 * SUPPORT_PATIENCE_MS, &status));
		assert_int_equal(status, 0);
	}
	const int n_private = N_PROCESSES * N_PRIVATE * n_units;
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes WHERE title BETWEEN '0' AND ':' AND body = 'changed' AND version = 2"), n_private);
	assert_int_equal(place_number(place, "SELECT score FROM notes WHERE id = 1"), n_private);
	assert_int_equal(place_number(place, "SELECT version FROM notes WHERE id = 1"), n_private + 1);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes WHERE title LIKE 'shared %'"), (N_PROCESSES + 2) * n_units);
	assert_int_equal(place_number(place, "SELECT count(DISTINCT title || ' ' || score) FROM notes WHERE title LIKE 'shared %'"),
	                 (N_PROCESSES + 2) * n_units);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes WHERE title = 'gone'"), 0);
	assert_int_equal(orm_count(session, Note), 1 + n_private + (N_PROCESSES + 2) * n_units);
	orm_session_close(session);
	orm_disconnect(db);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_work_adds_up, place_set_up, place_tear_down),
	};
	if (argc == 5 && strcmp(argv[1], "process") == 0)
		return run_process(argv[2], atoi(argv[3]), atoi(argv[4]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
