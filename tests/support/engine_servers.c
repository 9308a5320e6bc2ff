/* SPDX-License-Identifier: MIT */
/*
 * The database servers of one run of ctest:
 *
 *     engine_servers start|stop postgresql|mariadb
 *
 * `start` leaves a keeper behind: it holds the server as its child, and ends it upon `stop`, or when the process that
 * called `start` (ctest) is no more, however it ended. If the keeper itself is killed, the kernel tells the server
 * (PR_SET_PDEATHSIG). ctest does these in its fixtures; by hand, the server ends with the shell:
 *
 *     export ORMD_TEST_ENGINES=/tmp/engines; mkdir $ORMD_TEST_ENGINES; engine_servers start mariadb
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "support/engine_place.h"
#include "support/eventually.h"
#include "support/mariadb.h"
#include "support/postgresql.h"

static const char *start_server(test_engine engine)
{
	static support_postgresql postgresql;
	static support_mariadb mariadb;

	if (engine == ENGINE_POSTGRESQL) {
		support_postgresql_start(&postgresql);
		return postgresql.directory;
	}
	support_mariadb_start(&mariadb);
	return mariadb.directory;
}

/* Ends by exit(), which ends the server and removes its directory. */
static _Noreturn void keep(test_engine engine, pid_t starter, int starter_fd, int ready_fd)
{
	engine_place place = {.keeper = getpid(), .starter = starter};
	engine_place now;
	sigset_t signals;
	int silent;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	setsid();
	snprintf(place.directory, sizeof place.directory, "%s", start_server(engine));
	engine_place_write(engine, &place);
	if (write(ready_fd, "", 1) != 1)
		exit(EXIT_FAILURE);
	close(ready_fd);

	/* ctest waits for the end of its programs' output. */
	silent = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(silent, STDOUT_FILENO);
	dup2(silent, STDERR_FILENO);

	struct pollfd events[] = {{.fd = starter_fd, .events = POLLIN},
				  {.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN}};

	while (poll(events, 2, -1) < 0 && errno == EINTR)
		;
	if (engine_place_read(engine, &now) && now.keeper == place.keeper)
		engine_place_remove(engine);
	exit(EXIT_SUCCESS);
}

static int start(test_engine engine)
{
	const pid_t starter = getppid();
	const int starter_fd = pidfd_open(starter, 0);
	int ready[2];
	char byte;

	if (starter_fd < 0 || pipe2(ready, O_CLOEXEC) != 0)
		support_die("cannot watch process %ld: %s", (long)starter, strerror(errno));

	const pid_t keeper = fork();

	if (keeper == 0) {
		close(ready[0]);
		keep(engine, starter, starter_fd, ready[1]);
	}
	close(ready[1]);
	return keeper > 0 && read(ready[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Only what this ctest started: another one may run in the same directory. */
static int stop(test_engine engine)
{
	engine_place place;

	if (!engine_place_read(engine, &place) || place.starter != getppid())
		return EXIT_SUCCESS;

	struct pollfd keeper = {.fd = pidfd_open((pid_t)place.keeper, 0), .events = POLLIN};

	if (keeper.fd < 0)
		return EXIT_SUCCESS;
	pidfd_send_signal(keeper.fd, SIGTERM, NULL, 0);
	return poll(&keeper, 1, SUPPORT_PATIENCE_MS) == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const test_engine engines[] = {ENGINE_POSTGRESQL, ENGINE_MARIADB};

	for (size_t i = 0; argc == 3 && i < sizeof engines / sizeof *engines; i++) {
		if (strcmp(argv[2], engine_name(engines[i])) != 0)
			continue;
		if (strcmp(argv[1], "start") == 0)
			return start(engines[i]);
		if (strcmp(argv[1], "stop") == 0)
			return stop(engines[i]);
	}
	fprintf(stderr, "usage: engine_servers start|stop postgresql|mariadb\n");
	return 2;
}
