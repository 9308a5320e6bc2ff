/* SPDX-License-Identifier: MIT */
/*
 * Programs started by a test. Whatever still runs when the test program ends is ended, also when it ends by a signal
 * (PR_SET_PDEATHSIG). The kernel ties that to the thread that started the program: start programs from a thread that
 * lives as long as they do.
 *
 * 1. fill a support_command, 2. support_process_start, 3. talk through the pipes, support_process_signal,
 * 4. support_process_wait. Or support_run for all of it.
 */
#ifndef SUPPORT_PROCESS_H
#define SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What to start. Everything is borrowed, until support_process_start returns. */
typedef struct support_command {
	const char *const *argv;        /* ends with NULL; argv[0] is a path, or found in PATH */
	const char *const *environment; /* "NAME=value" to add or replace, ends with NULL; NULL for none */
	const char *directory;          /* to run in; NULL: this one's */
	const char *stdout_path;        /* file to append to; NULL: a pipe if asked for, else this program's */
	const char *stderr_path;
	bool pipe_stdin; /* else it is /dev/null */
	bool pipe_stdout;
	int keep_fd;       /* a descriptor of ours that it gets under the same number; 0: none */
	bool unprivileged; /* if we are root, run as "nobody": some servers refuse to be root */
	int end_signal; /* how it is ended when we end: it gets this first, and SIGKILL if it does not heed; 0: SIGKILL
			 */
} support_command;

typedef struct support_process {
	pid_t pid;     /* 0: not started, or waited for */
	int stdin_fd;  /* our end of the pipe, or -1 */
	int stdout_fd; /* our end of the pipe, or -1 */
} support_process;

/* False, with errno, when it cannot be started: no such program, ... */
bool support_process_start(support_process *process, const support_command *command);

bool support_process_signal(support_process *process, int signal_number);

/*
 * Wait for its end. False when `timeout_ms` passed: it still runs. Then *status is what waitpid gives. Afterwards
 * the pipes are still open for reading; support_process_fini closes them.
 */
bool support_process_wait(support_process *process, int timeout_ms, int *status);

/* Kill it if it runs, wait, close the pipes. Zeroed storage is allowed, NULL too. */
void support_process_fini(support_process *process);

/* Make `path` belong to the user that an `unprivileged` command runs as. Nothing to do unless we are root. */
void support_give_to_unprivileged(const char *path);

/* Start, wait, clean up. What waitpid gives; -1 when it could not be started, or was killed for the time. */
int support_run(const support_command *command, int timeout_ms);

/* End everything that runs, as at exit. */
void support_kill_all(void);

/* One line from a descriptor, without its newline. False at the end of the data or of the time; a longer line is cut.
 */
bool support_read_line(int fd, char *line, size_t size, int timeout_ms);

/* All of `text`; false when the other side does not read any more. */
bool support_write_text(int fd, const char *text);

#endif
