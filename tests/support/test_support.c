/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/process.h"
#include "support/server.h"
#include "support/tempdir.h"

static int exit_code(const char *script, const char *const *environment)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const int status =
		support_run(&(support_command){.argv = argv, .environment = environment}, SUPPORT_PATIENCE_MS);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Runs `body` in a forked copy of this program, which may end in any way. What waitpid gives. */
static int in_fork(void (*body)(int fd), int fd)
{
	int status;

	fflush(NULL);

	const pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		body(fd);
		exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void exit_status_is_reported(void **state)
{
	(void)state;
	assert_int_equal(exit_code("exit 0", NULL), 0);
	assert_int_equal(exit_code("exit 7", NULL), 7);
}

static void missing_program_is_reported(void **state)
{
	const char *const argv[] = {"/no/such/program", NULL};
	support_process process;

	(void)state;
	errno = 0;
	assert_false(support_process_start(&process, &(support_command){.argv = argv}));
	assert_int_equal(errno, ENOENT);
	support_process_fini(&process);
}

static void environment_is_added_and_replaced(void **state)
{
	const char *const additions[] = {"SUPPORT_NEW=1", "SUPPORT_OLD=changed", NULL};

	(void)state;
	setenv("SUPPORT_OLD", "kept", 1);
	assert_int_equal(exit_code("test \"$SUPPORT_OLD\" = kept", NULL), 0);
	assert_int_equal(exit_code("test \"$SUPPORT_NEW$SUPPORT_OLD\" = 1changed", additions), 0);
	unsetenv("SUPPORT_OLD");
}

static void output_goes_to_files(void **state)
{
	const char *const argv[] = {"sh", "-c", "echo said; pwd; echo warned >&2", NULL};
	const char *dir = support_tempdir();
	char out[SUPPORT_PATH_SIZE];
	char err[SUPPORT_PATH_SIZE];

	(void)state;
	assert_int_equal(support_run(&(support_command){.argv = argv,
							.directory = "/",
							.stdout_path = support_join(out, dir, "out"),
							.stderr_path = support_join(err, dir, "err")},
				     SUPPORT_PATIENCE_MS),
			 0);

	char *said = support_read_file(out, NULL);
	char *warned = support_read_file(err, NULL);

	assert_string_equal(said, "said\n/\n");
	assert_string_equal(warned, "warned\n");
	free(said);
	free(warned);
	support_tempdir_remove(dir);
}

static void pipes_carry_both_ways(void **state)
{
	const char *const argv[] = {"cat", NULL};
	support_process process;
	char line[8];
	int status;

	(void)state;
	assert_true(support_process_start(&process,
					  &(support_command){.argv = argv, .pipe_stdin = true, .pipe_stdout = true}));
	assert_true(support_write_text(process.stdin_fd, "one\nlonger than the room\n"));
	assert_true(support_read_line(process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "one");
	assert_true(support_read_line(process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "longer ");
	assert_false(support_read_line(process.stdout_fd, line, sizeof line, 1)); /* nothing more to come */
	assert_false(support_process_wait(&process, 1, &status));
	close(process.stdin_fd);
	process.stdin_fd = -1;
	assert_true(support_process_wait(&process, SUPPORT_PATIENCE_MS, &status));
	assert_int_equal(status, 0);
	assert_false(support_read_line(process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	support_process_fini(&process);
}

static void writing_to_the_dead_fails(void **state)
{
	const char *const argv[] = {"cat", NULL};
	support_process process;
	int status;

	(void)state;
	assert_true(support_process_start(&process, &(support_command){.argv = argv, .pipe_stdin = true}));
	assert_true(support_process_signal(&process, SIGKILL));
	assert_true(support_process_wait(&process, SUPPORT_PATIENCE_MS, &status));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_false(support_process_signal(&process, SIGKILL));
	assert_false(support_write_text(process.stdin_fd, "anybody?\n"));
	support_process_fini(&process);
}

static void leave_a_program(int fd)
{
	const char *const argv[] = {"sleep", "1000000", NULL};
	support_process process;

	if (!support_process_start(&process, &(support_command){.argv = argv, .keep_fd = fd}))
		_exit(9);
}

static void leave_a_program_and_die(int fd)
{
	leave_a_program(fd);
	kill(getpid(), SIGKILL);
}

static void assert_nobody_holds(int read_end)
{
	char line[8];

	/* The end of the data, not of the time: read_line returns at once, and a read gives 0. */
	assert_false(support_read_line(read_end, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_int_equal(fcntl(read_end, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(read_end, line, 1), 0);
}

static void programs_end_with_the_test(void **state)
{
	void (*const ways[])(int) = {leave_a_program, leave_a_program_and_die};

	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		int pipe_ends[2];

		assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);

		const int status = in_fork(ways[i], pipe_ends[1]);

		assert_true(i == 0 ? WIFEXITED(status) && WEXITSTATUS(status) == 0
				   : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(pipe_ends[1]);
		assert_nobody_holds(pipe_ends[0]);
		close(pipe_ends[0]);
	}
}

static void just_exit(int fd)
{
	(void)fd;
}

static void forked_child_leaves_ours_alone(void **state)
{
	const char *const argv[] = {"cat", NULL};
	const char *dir = support_tempdir();
	support_process process;
	struct stat status;
	char line[8];

	(void)state;
	assert_true(support_process_start(&process,
					  &(support_command){.argv = argv, .pipe_stdin = true, .pipe_stdout = true}));
	assert_int_equal(in_fork(just_exit, -1), 0);
	assert_int_equal(stat(dir, &status), 0);
	assert_true(support_write_text(process.stdin_fd, "alive\n"));
	assert_true(support_read_line(process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "alive");
	support_process_fini(&process);
	support_tempdir_remove(dir);
}

static void make_tempdir_and_tell(int fd)
{
	char path[SUPPORT_PATH_SIZE];
	const char *dir = support_tempdir();

	support_write_file(support_join(path, dir, "file"), "x", 1);
	if (mkdir(support_join(path, dir, "sub"), 0700) != 0 || symlink("/etc", support_join(path, dir, "link")) != 0)
		_exit(9);
	support_write_file(support_join(path, dir, "sub/file"), "x", 1);
	dprintf(fd, "%s\n", dir);
}

static void tempdir_is_private_short_and_removed(void **state)
{
	const char *dir = support_tempdir();
	char path[SUPPORT_PATH_SIZE];
	struct stat status;
	int pipe_ends[2];

	(void)state;
	assert_true(strlen(dir) < 64);
	assert_int_equal(stat(dir, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	snprintf(path, sizeof path, "%s", dir);
	support_tempdir_remove(dir);
	assert_int_equal(stat(path, &status), -1);

	assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
	assert_int_equal(in_fork(make_tempdir_and_tell, pipe_ends[1]), 0);
	assert_true(support_read_line(pipe_ends[0], path, sizeof path, SUPPORT_PATIENCE_MS));
	assert_int_equal(stat(path, &status), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(stat("/etc/passwd", &status), 0); /* links are removed, not followed */
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void long_tmpdir_is_not_used(void **state)
{
	const char *before = getenv("TMPDIR");
	char *kept = before ? strdup(before) : NULL;

	(void)state;
	setenv("TMPDIR", "/tmp/a-directory-whose-name-is-longer-than-a-socket-could-ever-bear-it", 1);

	const char *dir = support_tempdir();

	assert_memory_equal(dir, "/tmp/ormd-", strlen("/tmp/ormd-"));
	support_tempdir_remove(dir);
	if (kept)
		setenv("TMPDIR", kept, 1);
	else
		unsetenv("TMPDIR");
	free(kept);
}

static bool third_time(void *context)
{
	return ++*(int *)context == 3;
}

static bool never(void *context)
{
	(void)context;
	return false;
}

static void eventually_asks_until_it_holds(void **state)
{
	int n_asked = 0;

	(void)state;
	assert_true(support_eventually(third_time, &n_asked, SUPPORT_PATIENCE_MS));
	assert_int_equal(n_asked, 3);
	assert_false(support_eventually(never, NULL, 2));
}

static const char *fake_daemon(const char *dir, const char *body)
{
	static char path[SUPPORT_PATH_SIZE];

	support_write_file(support_join(path, dir, "fake-ormd"), body, strlen(body));
	assert_int_equal(chmod(path, 0700), 0);
	return path;
}

/* The protocol of support_ormd_start, against a stand-in: "$1 $2" are --listen and its address, $6 the descriptor. */
static void daemon_is_started_and_stopped(void **state)
{
	const char *dir = support_tempdir();
	const char *const extra[] = {"--option", NULL};
	char expected[SUPPORT_PATH_SIZE];
	support_ormd ormd;

	(void)state;
	setenv("ORMD",
	       fake_daemon(
		       dir,
		       "#!/bin/sh\n"
		       "test \"$1 $3 $4 $5 $7\" = '--listen --database sqlite:///x.db --ready-fd --option' || exit 1\n"
		       "trap 'exit 3' TERM\n"
		       "echo started >&2\n"
		       "eval \"echo $2 >&$6; exec $6>&-\"\n"
		       "while :; do sleep 0.01; done\n"),
	       1);
	support_ormd_start(&ormd, dir, "sqlite:///x.db", extra, NULL);
	snprintf(expected, sizeof expected, "ipc://%s/ormd.sock", dir);
	assert_string_equal(ormd.address, expected);
	assert_int_equal(support_ormd_stop(&ormd), 3);

	char *log = support_read_file(ormd.log_path, NULL);

	assert_string_equal(log, "started\n");
	free(log);
	support_tempdir_remove(dir);
}

static void start_daemon_that_dies(int fd)
{
	const char *dir = support_tempdir();
	support_ormd ormd;

	dup2(fd, STDERR_FILENO);
	setenv("ORMD", fake_daemon(dir, "#!/bin/sh\necho cannot bind >&2\nexit 4\n"), 1);
	support_ormd_start(&ormd, dir, "sqlite:///x.db", NULL, NULL);
}

static void daemon_that_dies_ends_the_test(void **state)
{
	int pipe_ends[2];
	char line[64];

	(void)state;
	assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);

	const int status = in_fork(start_daemon_that_dies, pipe_ends[1]);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
	close(pipe_ends[1]);
	assert_true(support_read_line(pipe_ends[0], line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "--- log of ormd");
	assert_true(support_read_line(pipe_ends[0], line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "cannot bind");
	close(pipe_ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_status_is_reported),
		cmocka_unit_test(missing_program_is_reported),
		cmocka_unit_test(environment_is_added_and_replaced),
		cmocka_unit_test(output_goes_to_files),
		cmocka_unit_test(pipes_carry_both_ways),
		cmocka_unit_test(writing_to_the_dead_fails),
		cmocka_unit_test(programs_end_with_the_test),
		cmocka_unit_test(forked_child_leaves_ours_alone),
		cmocka_unit_test(tempdir_is_private_short_and_removed),
		cmocka_unit_test(long_tmpdir_is_not_used),
		cmocka_unit_test(eventually_asks_until_it_holds),
		cmocka_unit_test(daemon_is_started_and_stopped),
		cmocka_unit_test(daemon_that_dies_ends_the_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
