/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash_point.h"

/* How often a copy of this process passes "commit" (and as often "other") before it dies of it; -1: it does not. */
static int passes_until_death(const char *wish)
{
	int pipe_ends[2];
	int status;
	int n_passes = 0;
	char byte;

	assert_int_equal(pipe(pipe_ends), 0);
	fflush(NULL);

	const pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (wish)
			setenv("ORMD_CRASH_POINT", wish, 1);
		else
			unsetenv("ORMD_CRASH_POINT");
		if (!freopen("/dev/null", "w", stderr))
			_exit(9);
		orm_crash_points_init();
		for (int i = 0; i < 5; i++) {
			if (write(pipe_ends[1], "x", 1) != 1)
				_exit(9);
			orm_crash_point("other");
			orm_crash_point("commit");
		}
		_exit(0);
	}
	close(pipe_ends[1]);
	while (read(pipe_ends[0], &byte, 1) == 1)
		n_passes++;
	close(pipe_ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return n_passes;
	}
	assert_int_equal(status, 0);
	assert_int_equal(n_passes, 5);
	return -1;
}

static void armed_point_kills_at_its_pass(void **state)
{
	(void)state;
	assert_int_equal(passes_until_death("commit"), 1);
	assert_int_equal(passes_until_death("commit:1"), 1);
	assert_int_equal(passes_until_death("commit:3"), 3);
	assert_int_equal(passes_until_death("commit:6"), -1);
}

static void other_points_do_nothing(void **state)
{
	(void)state;
	assert_int_equal(passes_until_death(NULL), -1);
	assert_int_equal(passes_until_death(""), -1);
	assert_int_equal(passes_until_death("commi"), -1);
	assert_int_equal(passes_until_death("commits:1"), -1);
}

static void malformed_wishes_arm_nothing(void **state)
{
	const char *const malformed[] = {":1",
					 "commit:",
					 "commit:0",
					 "commit:-1",
					 "commit:x",
					 "commit:1x",
					 "a-name-that-is-longer-than-any-crash-point-that-ormd-has-or-will-have:1"};

	(void)state;
	for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
		assert_int_equal(passes_until_death(malformed[i]), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(armed_point_kills_at_its_pass),
		cmocka_unit_test(other_points_do_nothing),
		cmocka_unit_test(malformed_wishes_arm_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
