/* SPDX-License-Identifier: MIT */
/* The process killed within a commit: afterwards the outcome can be told, and the same commit made again is made once.
 */
#include "session/database_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash_point.h"

typedef struct crash {
	const char *point;
	ormd_outcome outcome;
} crash;

static const crash crashes[] = {
	{"after-key-insert", ORMD_OUTCOME_ABORTED},
	{"after-flush", ORMD_OUTCOME_ABORTED},
	{"before-commit", ORMD_OUTCOME_ABORTED},
	{"after-commit", ORMD_OUTCOME_COMMITTED},
};

static void add_alice(fixture *f)
{
	add(f, "User", "id name email", 1LL, "Alice", "a@x");
	add(f, "Post", "title user_id reviewer_id", "Hello", 1LL, NO_VALUE);
}

/* In a process of its own: open the database, and die at this point of the first commit. */
static void commit_and_die(const char *url, const crash *c)
{
	fixture f = {0};
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setup_database_at(&f, url);
		setenv("ORMD_CRASH_POINT", c->point, 1);
		orm_crash_points_init();
		add_alice(&f);
		try_commit(&f);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void outcome_can_be_settled(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
		const ormd_commit_id id = {.client_id = "test client 123", .number = 1};
		const bool committed = crashes[i].outcome == ORMD_OUTCOME_COMMITTED;
		ormd_outcome outcome = ORMD_OUTCOME_UNKNOWN;
		char url[ENGINE_URL_SIZE];
		const void *result;
		size_t size;
		fixture f = {0};

		engine_fresh_url(url);
		commit_and_die(url, &crashes[i]);
		setup_database_at(&f, url);
		assert_ok(&f, ormd_commit_settle(f.database, &id, 0, &f.arena, &outcome, &result, &size, &f.error));
		assert_int_equal(outcome, crashes[i].outcome);
		assert_string_equal(ask(&f, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM posts)"),
				    committed ? "1|1" : "0|0");
		teardown_database_at(&f);
	}
}

static void same_commit_again_is_made_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
		char url[ENGINE_URL_SIZE];
		fixture f = {0};

		engine_fresh_url(url);
		commit_and_die(url, &crashes[i]);
		setup_database_at(&f, url);
		add_alice(&f);
		commit(&f);
		assert_string_equal(ask(&f, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM posts), "
					    "(SELECT count(*) FROM ormd_commit)"),
				    "1|1|1");
		assert_false(ormd_unit_pending(f.session));
		teardown_database_at(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcome_can_be_settled),
		cmocka_unit_test(same_commit_again_is_made_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
