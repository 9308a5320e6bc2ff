/* SPDX-License-Identifier: MIT */
#include "support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/eventually.h"

/* How long a program may take to heed its end_signal. */
#define END_MS 10000

/* Apart from support_process, whose storage is gone when a failed assertion has left the test's function. */
typedef struct child {
	struct child *next;
	pid_t pid;
	int end_signal;
} child;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static child *children;
static pid_t owner; /* who started them: a forked child of the test must not kill its parent's */
static bool cleanup_registered;

static void remember(pid_t pid, int end_signal)
{
	child *entry = malloc(sizeof *entry);

	if (!entry)
		support_die("out of memory");
	pthread_mutex_lock(&lock);
	if (owner != getpid())
		children = NULL;
	owner = getpid();
	if (!cleanup_registered) {
		atexit(support_kill_all);
		cleanup_registered = true;
	}
	*entry = (child){.next = children, .pid = pid, .end_signal = end_signal};
	children = entry;
	pthread_mutex_unlock(&lock);
}

static void forget(pid_t pid)
{
	pthread_mutex_lock(&lock);
	for (child **link = &children; owner == getpid() && *link; link = &(*link)->next) {
		child *entry = *link;

		if (entry->pid == pid) {
			*link = entry->next;
			free(entry);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool same_name(const char *a, const char *b)
{
	const size_t len = strcspn(a, "=");

	return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* Our environment with the additions; the array is owned, the strings are borrowed. */
static const char **make_environment(const char *const *additions)
{
	size_t n_ours = 0;
	size_t n_added = 0;
	size_t n = 0;

	while (environ[n_ours])
		n_ours++;
	while (additions && additions[n_added])
		n_added++;

	const char **all = calloc(n_ours + n_added + 1, sizeof *all);

	if (!all)
		support_die("out of memory");
	for (size_t i = 0; i < n_ours; i++) {
		bool replaced = false;

		for (size_t k = 0; k < n_added; k++)
			replaced = replaced || same_name(additions[k], environ[i]);
		if (!replaced)
			all[n++] = environ[i];
	}
	for (size_t k = 0; k < n_added; k++)
		all[n++] = additions[k];
	return all;
}

static int end_signal_of(const support_command *command)
{
	return command->end_signal ? command->end_signal : SIGKILL;
}

/* Whom an `unprivileged` command runs as; NULL: as ourselves. Borrowed, until the next call. */
static const struct passwd *unprivileged_user(void)
{
	if (geteuid() != 0)
		return NULL;

	const struct passwd *nobody = getpwnam("nobody");

	if (!nobody)
		support_die("there is no user 'nobody' to run servers as");
	return nobody;
}

/* In the child, after dup2 to a standard descriptor; false with errno. */
static bool use_file(const char *path, int flags, int target)
{
	const int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd >= 0 && dup2(fd, target) >= 0;
}

/* The child between fork and exec; only what is safe there, for the test may have threads. */
static void become(const support_command *command, const char *const *environment, const struct passwd *as,
		   pid_t parent, const int in[2], const int out[2], int report_fd)
{
	sigset_t none;
	char *const *argv = (char *const *)(uintptr_t)command->argv; /* execvpe changes nothing in them */
	char *const *envp = (char *const *)(uintptr_t)environment;
	int error;

	/* Before PR_SET_PDEATHSIG, which a change of user undoes. */
	if (as && (setgroups(0, NULL) != 0 || setgid(as->pw_gid) != 0 || setuid(as->pw_uid) != 0))
		goto failed;
	prctl(PR_SET_PDEATHSIG, end_signal_of(command));
	if (getppid() != parent)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (command->pipe_stdin ? dup2(in[0], STDIN_FILENO) < 0 : !use_file("/dev/null", O_RDONLY, STDIN_FILENO))
		goto failed;
	if (command->stdout_path) {
		if (!use_file(command->stdout_path, O_WRONLY | O_CREAT | O_APPEND, STDOUT_FILENO))
			goto failed;
	} else if (command->pipe_stdout && dup2(out[1], STDOUT_FILENO) < 0) {
		goto failed;
	}
	if (command->stderr_path && !use_file(command->stderr_path, O_WRONLY | O_CREAT | O_APPEND, STDERR_FILENO))
		goto failed;
	if (command->keep_fd > 0 && fcntl(command->keep_fd, F_SETFD, 0) != 0)
		goto failed;
	if (command->directory && chdir(command->directory) != 0)
		goto failed;
	if (strchr(argv[0], '/'))
		execve(argv[0], argv, envp);
	else
		execvpe(argv[0], argv, envp);
failed:
	error = errno;
	if (write(report_fd, &error, sizeof error) != (ssize_t)sizeof error)
		_exit(126);
	_exit(127);
}

typedef struct end_of_process {
	pid_t pid;
	int status;
} end_of_process;

/* Asked again and again rather than through a pidfd, which valgrind does not know. */
static bool has_ended(void *context)
{
	end_of_process *end = context;
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)end->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
		support_die("waitid: %s", strerror(errno));
	if (info.si_pid == 0)
		return false;
	forget(end->pid); /* before its number can mean another process */
	while (waitpid(end->pid, &end->status, 0) < 0) {
		if (errno != EINTR)
			support_die("waitpid: %s", strerror(errno));
	}
	return true;
}

bool support_process_start(support_process *process, const support_command *command)
{
	int in[2] = {-1, -1};
	int out[2] = {-1, -1};
	int report[2] = {-1, -1}; /* closes by itself when exec succeeds, else brings errno */
	const char **environment = make_environment(command->environment);
	const struct passwd *as = command->unprivileged ? unprivileged_user() : NULL;
	const pid_t parent = getpid();
	pid_t pid = -1;
	int error = 0;

	*process = (support_process){.stdin_fd = -1, .stdout_fd = -1};
	if ((command->pipe_stdin && pipe2(in, O_CLOEXEC) != 0) ||
	    (command->pipe_stdout && pipe2(out, O_CLOEXEC) != 0) || pipe2(report, O_CLOEXEC) != 0 ||
	    (pid = fork()) < 0) {
		error = errno;
	} else if (pid == 0) {
		become(command, environment, as, parent, in, out, report[1]);
	} else {
		close_fd(&report[1]);

		ssize_t got;

		do
			got = read(report[0], &error, sizeof error);
		while (got < 0 && errno == EINTR);
		if (error)
			waitpid(pid, NULL, 0);
	}
	free(environment);
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&report[0]);
	close_fd(&report[1]);
	if (error) {
		close_fd(&in[1]);
		close_fd(&out[0]);
		errno = error;
		return false;
	}
	process->pid = pid;
	process->stdin_fd = in[1];
	process->stdout_fd = out[0];
	remember(pid, end_signal_of(command));
	return true;
}

bool support_process_signal(support_process *process, int signal_number)
{
	return process->pid > 0 && kill(process->pid, signal_number) == 0;
}

bool support_process_wait(support_process *process, int timeout_ms, int *status)
{
	end_of_process end = {.pid = process->pid};

	if (process->pid <= 0 || !support_eventually(has_ended, &end, timeout_ms))
		return false;
	process->pid = 0;
	*status = end.status;
	return true;
}

void support_process_fini(support_process *process)
{
	int status;

	if (!process)
		return;
	if (process->pid > 0) {
		kill(process->pid, SIGKILL);
		support_process_wait(process, SUPPORT_PATIENCE_MS, &status);
	}
	if (process->stdin_fd > 0)
		close(process->stdin_fd);
	if (process->stdout_fd > 0)
		close(process->stdout_fd);
	*process = (support_process){.stdin_fd = -1, .stdout_fd = -1};
}

void support_give_to_unprivileged(const char *path)
{
	const struct passwd *user = unprivileged_user();

	if (user && chown(path, user->pw_uid, user->pw_gid) != 0)
		support_die("cannot give %s to %s: %s", path, user->pw_name, strerror(errno));
}

int support_run(const support_command *command, int timeout_ms)
{
	support_process process;
	int status = -1;

	if (!support_process_start(&process, command))
		return -1;
	if (!support_process_wait(&process, timeout_ms, &status))
		status = -1;
	support_process_fini(&process);
	return status;
}

static bool ends_by(pid_t pid, int signal_number)
{
	end_of_process end = {.pid = pid};

	kill(pid, signal_number);
	return support_eventually(has_ended, &end, END_MS);
}

void support_kill_all(void)
{
	if (owner != getpid())
		return;
	while (children) {
		const child *entry = children;
		const pid_t pid = entry->pid;

		if (entry->end_signal == SIGKILL || !ends_by(pid, entry->end_signal)) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			forget(pid);
		}
	}
}

bool support_read_line(int fd, char *line, size_t size, int timeout_ms)
{
	const int64_t deadline = support_now_ms() + timeout_ms;
	struct pollfd input = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	char c;

	for (;;) {
		const int ready = poll(&input, 1, support_left_ms(deadline));

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return false;

		const ssize_t got = read(fd, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		if (c == '\n')
			break;
		if (len + 1 < size)
			line[len++] = c;
	}
	line[len] = '\0';
	return true;
}

bool support_write_text(int fd, const char *text)
{
	const size_t size = strlen(text);
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction before;
	size_t written = 0;

	sigaction(SIGPIPE, &ignore, &before);
	while (written < size) {
		const ssize_t got = write(fd, text + written, size - written);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		written += (size_t)got;
	}
	sigaction(SIGPIPE, &before, NULL);
	return written == size;
}
