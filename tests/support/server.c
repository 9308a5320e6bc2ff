/* SPDX-License-Identifier: MIT */
#include "support/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/eventually.h"

#define MAX_ARGS 32

static _Noreturn void die_with_log(support_ormd *ormd, const char *what)
{
	char *log = support_read_file(ormd->log_path, NULL);

	support_process_fini(&ormd->process);
	fprintf(stderr, "--- log of ormd\n%s---\n", log ? log : "");
	free(log);
	support_die("ormd %s", what);
}

void support_ormd_start(support_ormd *ormd, const char *dir, const char *database_url, const char *const *extra_args,
			const char *const *environment)
{
	const char *program = getenv("ORMD");
	const char *argv[MAX_ARGS] = {program};
	int n_args = 1;
	bool listens = false;
	char listen_address[SUPPORT_PATH_SIZE + 16];
	char socket_path[SUPPORT_PATH_SIZE];
	char ready_fd[16];
	int ready[2];

	if (!program || !*program)
		support_die("ORMD is not set to the path of ormd; run the test through ctest");
	*ormd = (support_ormd){0};
	support_join(ormd->log_path, dir, "ormd.log");
	snprintf(listen_address, sizeof listen_address, "ipc://%s", support_join(socket_path, dir, "ormd.sock"));
	if (pipe2(ready, O_CLOEXEC) != 0)
		support_die("pipe: %s", strerror(errno));
	snprintf(ready_fd, sizeof ready_fd, "%d", ready[1]);

	for (int i = 0; extra_args && extra_args[i]; i++)
		listens = listens || strncmp(extra_args[i], "--listen", strlen("--listen")) == 0;
	if (!listens) {
		argv[n_args++] = "--listen";
		argv[n_args++] = listen_address;
	}
	argv[n_args++] = "--database";
	argv[n_args++] = database_url;
	argv[n_args++] = "--ready-fd";
	argv[n_args++] = ready_fd;
	for (int i = 0; extra_args && extra_args[i]; i++) {
		if (n_args == MAX_ARGS - 1)
			support_die("too many arguments for ormd");
		argv[n_args++] = extra_args[i];
	}

	const support_command command = {
		.argv = argv,
		.environment = environment,
		.stdout_path = ormd->log_path,
		.stderr_path = ormd->log_path,
		.keep_fd = ready[1],
	};

	if (!support_process_start(&ormd->process, &command))
		support_die("cannot start %s: %s", program, strerror(errno));
	close(ready[1]); /* so that its death shows as the end of the pipe */

	const bool is_ready = support_read_line(ready[0], ormd->address, sizeof ormd->address, SUPPORT_PATIENCE_MS);

	close(ready[0]);
	if (!is_ready || !ormd->address[0])
		die_with_log(ormd, "did not say on --ready-fd that it listens");
}

int support_ormd_stop(support_ormd *ormd)
{
	int status = 0;
	int result = -1;

	if (support_process_signal(&ormd->process, SIGTERM) &&
	    support_process_wait(&ormd->process, SUPPORT_PATIENCE_MS, &status))
		result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	support_process_fini(&ormd->process);
	return result;
}

int support_ormd_n_said(const support_ormd *ormd, const char *text)
{
	char *log = support_read_file(ormd->log_path, NULL);
	char *rest = log;
	int n = 0;

	for (char *line; (line = strsep(&rest, "\n"));)
		n += strstr(line, text) != NULL;
	free(log);
	return n;
}

void support_ormd_kill(support_ormd *ormd)
{
	support_process_fini(&ormd->process);
}
