/* SPDX-License-Identifier: MIT */
/* ormd has no file descriptor left: it refuses new work with an error that tells, goes on with what it has, and is as
 * before when there are some again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/crash_client.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define LIMIT       "64"
#define N_STRANGERS 100 /* connections that say nothing */
#define N_ROUNDS    3
#define N_UNITS     20
#define TIMEOUT_MS  1000

/* As place_set_up, with an ormd that starts with so few descriptors that it cannot raise it. */
static int set_up(void **state)
{
	const char *program = getenv("ORMD");
	char *kept = program ? strdup(program) : NULL;
	char script[SUPPORT_PATH_SIZE * 2];
	char path[SUPPORT_PATH_SIZE];
	int status;

	if (!kept)
		return -1;
	snprintf(script, sizeof script, "#!/bin/sh\nulimit -n " LIMIT "\nexec '%s' \"$@\"\n", kept);
	support_join(path, support_tempdir(), "ormd");
	support_write_file(path, script, strlen(script));
	chmod(path, 0700);
	setenv("ORMD", path, 1);
	status = place_set_up(state);
	setenv("ORMD", kept, 1);
	free(kept);
	return status;
}

static int connect_stranger(const test_place *place)
{
	const char *path = place->ormd.address + strlen("ipc://");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0 && strlen(path) < sizeof address.sun_path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* When those who wait to be let in are too many it is refused, which is as well. */
	(void)connect(fd, (struct sockaddr *)&address, sizeof address);
	return fd;
}

static void commit_some(orm_session *session, int *n_committed)
{
	for (int i = 0; i < N_UNITS; i++) {
		orm_add(session, Operation, .name = "unit");
		orm_commit(session);
		if (orm_session_error(session)->code != ORM_OK)
			fail_msg("%s", orm_session_error(session)->message);
		++*n_committed;
	}
}

typedef struct newcomer {
	const char *address;
	orm_status status;
	int n_tries;
} newcomer;

static bool gets_in(void *context)
{
	newcomer *this = context;
	const orm_connect_options options = {.timeout_ms = TIMEOUT_MS};
	orm_db *db = orm_connect_with(this->address, crash_models, &options);
	orm_session *session = orm_session_open(db);

	orm_count(session, Operation);
	this->status = orm_session_error(session)->code;
	if (this->status != ORM_OK && this->status != ORM_EUNAVAILABLE && this->status != ORM_ETIMEOUT &&
	    this->status != ORM_ELIMIT && this->status != ORM_ELOST)
		fail_msg("%s: %s", orm_status_name(this->status), orm_session_error(session)->message);
	this->n_tries++;
	orm_session_close(session);
	orm_disconnect(db);
	return this->status == ORM_OK;
}

static void without_descriptors_what_runs_goes_on(void **state)
{
	const test_place *place = *state;
	orm_db *db = place_connect(place, crash_models);
	orm_session *session = orm_session_open(db);
	newcomer late = {.address = place->ormd.address};
	int strangers[N_STRANGERS];
	int n_committed = 0;
	int n_refused = 0;

	commit_some(session, &n_committed);
	for (int round = 0; round < N_ROUNDS; round++) {
		for (int i = 0; i < N_STRANGERS; i++)
			strangers[i] = connect_stranger(place);
		commit_some(session, &n_committed);
		n_refused += !gets_in(&late);
		commit_some(session, &n_committed);
		for (int i = 0; i < N_STRANGERS; i++)
			close(strangers[i]);
		assert_true(support_eventually(gets_in, &late, SUPPORT_PATIENCE_MS));
		commit_some(session, &n_committed);
	}
	orm_session_close(session);
	orm_disconnect(db);
	assert_int_equal(place_number(place, "SELECT count(*) FROM operations"), n_committed);
	print_message("%d times without descriptors: %d units acknowledged, all there; newcomers refused: %d\n",
		      N_ROUNDS, n_committed, n_refused);
	assert_true(n_refused > 0); /* or there were enough */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_descriptors_what_runs_goes_on, set_up, place_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
