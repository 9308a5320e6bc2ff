/* SPDX-License-Identifier: MIT */
#include "client/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

/* Above every number that the program is given, so that none is overwritten before it has been copied. */
#define FIRST_FREE_FD 16

enum { REPORT, STDERR, READY, LOCK, DEV_NULL, N_FDS };

/* What the two processes on the way tell us: the program's process id, then, if it could not be executed, why. */
typedef struct report {
	pid_t pid;
	int reason;
} report;

extern char **environ;

/* ---- after fork: async-signal-safe calls only ---- */

/*
 * Not _exit: the runtime of a sanitizer that the host is built with hooks it, and takes locks that another thread of the host may have held at the
 * fork; the starter would wait for this process for ever.
 */
static _Noreturn void leave(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

static void say(int fd, pid_t pid, int reason)
{
	const report said = {.pid = pid, .reason = reason};
	ssize_t written;

	do
		written = write(fd, &said, sizeof said); /* smaller than PIPE_BUF: whole or not at all */
	while (written < 0 && errno == EINTR);
}

static void reset_signals(void)
{
	struct sigaction standard;
	sigset_t none;

	memset(&standard, 0, sizeof standard);
	standard.sa_handler = SIG_DFL;
	for (int number = 1; number <= SIGRTMAX; number++)
		sigaction(number, &standard, NULL); /* fails for SIGKILL, SIGSTOP and libc's own */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const spawn_command *command, char *const *environment, const int fds[N_FDS], int max_fds)
{
	int report_fd = fds[REPORT];

	reset_signals();
	setsid();
	if (dup2(fds[DEV_NULL], STDIN_FILENO) >= 0 && dup2(fds[DEV_NULL], STDOUT_FILENO) >= 0 &&
	    dup2(fds[STDERR], STDERR_FILENO) >= 0 && dup2(fds[READY], SPAWN_READY_FD) >= 0 &&
	    (fds[LOCK] < 0 || dup2(fds[LOCK], SPAWN_LOCK_FD) >= 0) && chdir("/") == 0) {
		/* Ours are all closed by exec; the host's may not be. */
		if (close_range(SPAWN_LOCK_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
			for (int fd = SPAWN_LOCK_FD + 1; fd < max_fds; fd++)
				if (fd != report_fd)
					close(fd);
		if (fds[LOCK] < 0)
			close(SPAWN_LOCK_FD);
		execve(command->path, command->argv, environment);
	}
	say(report_fd, 0, errno);
	leave(127);
}

/* The process between: it ends at once, so that the program belongs to init. */
static _Noreturn void step_aside(const spawn_command *command, char *const *environment, const int fds[N_FDS], int max_fds)
{
	const pid_t pid = _Fork();

	if (pid == 0)
		become(command, environment, fds, max_fds);
	say(fds[REPORT], pid > 0 ? pid : 0, pid < 0 ? errno : 0);
	leave(0);
}

/* ---- the caller's process ---- */

static bool same_name(const char *a, const char *b)
{
	const size_t len = strcspn(a, "=");

	return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* Ours with the additions, made before the fork. Owned (free()), its strings borrowed; NULL: out of memory. */
static char **make_environment(const char *const *additions)
{
	size_t n_ours = 0;
	size_t n_added = 0;
	size_t n = 0;
	char **all;

	while (environ && environ[n_ours])
		n_ours++;
	while (additions[n_added])
		n_added++;
	all = calloc(n_ours + n_added + 1, sizeof *all);
	for (size_t i = 0; all && i < n_ours; i++) {
		bool replaced = false;

		for (size_t k = 0; k < n_added; k++)
			replaced = replaced || same_name(additions[k], environ[i]);
		if (!replaced)
			all[n++] = environ[i];
	}
	for (size_t k = 0; all && k < n_added; k++)
		all[n++] = (char *)(uintptr_t)additions[k]; /* execve changes nothing in them */
	return all;
}

static bool read_report(int fd, report *said)
{
	ssize_t size;

	do
		size = read(fd, said, sizeof *said);
	while (size < 0 && errno == EINTR);
	return size == (ssize_t)sizeof *said;
}

/* Returns 0, or the errno for which the program does not run. */
static int fork_twice(const spawn_command *command, char *const *environment, const int fds[N_FDS], int report_fd, int max_fds, pid_t *pid)
{
	sigset_t all;
	sigset_t before;
	report said;
	int reason = 0;

	/* No handler of the host's may run in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	const pid_t between = _Fork();

	if (between == 0)
		step_aside(command, environment, fds, max_fds);
	if (between < 0)
		reason = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(fds[REPORT]);
	if (between < 0)
		return reason;

	/* A host that ignores SIGCHLD, or reaps everything, is fine too: what counts is the end of the pipe. */
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
	while (read_report(report_fd, &said)) {
		if (said.pid > 0)
			*pid = said.pid;
		if (said.reason)
			reason = said.reason;
	}
	return *pid == 0 && reason == 0 ? ECHILD : reason;
}

orm_status spawn_detached(const spawn_command *command, pid_t *pid, orm_error *error)
{
	int fds[N_FDS] = {-1, -1, -1, -1, -1};
	int pipe_fds[2] = {-1, -1};
	struct rlimit limit;
	pid_t started = 0;
	int reason = 0;

	const int max_fds =
		getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1 << 20 ? (int)limit.rlim_cur : 1 << 20;

	char **environment = make_environment(command->environment);

	if (!environment || pipe2(pipe_fds, O_CLOEXEC) < 0) {
		reason = errno;
		goto out;
	}
	const int dev_null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int wanted[N_FDS] = {pipe_fds[1], command->stderr_fd, command->ready_fd, command->lock_fd, dev_null};

	for (int i = 0; i < N_FDS && !reason; i++) {
		if (i == LOCK && command->lock_fd < 0)
			continue;
		fds[i] = wanted[i] < 0 ? -1 : fcntl(wanted[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		if (fds[i] < 0)
			reason = errno;
	}
	if (dev_null >= 0)
		close(dev_null);
	close(pipe_fds[1]);
	pipe_fds[1] = -1;
	if (!reason) {
		reason = fork_twice(command, environment, fds, pipe_fds[0], max_fds, &started);
		fds[REPORT] = -1;
	}

out:
	free(environment);
	for (int i = 0; i < N_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (pipe_fds[0] >= 0)
		close(pipe_fds[0]);
	if (pipe_fds[1] >= 0)
		close(pipe_fds[1]);
	if (reason)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot start the session server '%s': %s", command->path,
				strerror(reason));
	*pid = started;
	return ORM_OK;
}
