/* SPDX-License-Identifier: MIT */
/*
 * What autostart needs of ormd, and no more: takes over the lock, listens, says so, and ends when it is told to. Writes
 * one line for each start to $FAKE_ORMD_STARTS: its process id, its arguments, and ORMD_DATABASE=URL. $FAKE_ORMD_MODE: "fail" ends with a
 * message, "mute" is never ready, "dead-once" ends the first time after it was announced.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/discovery.h"

static const char *option(int argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return argv[i + 1];
	return NULL;
}

/* Also what the test cannot see from outside: signals, descriptors, session, directory. */
static void note_start(int argc, char **argv)
{
	const char *path = getenv("FAKE_ORMD_STARTS");
	char line[4096];
	char directory[256] = "";
	sigset_t blocked;
	struct sigaction usr1;
	int n_open = 0;

	if (!path)
		exit(3);
	for (int fd = 5; fd < 256; fd++)
		n_open += fcntl(fd, F_GETFD) >= 0;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	sigaction(SIGUSR1, NULL, &usr1);

	int size = snprintf(line, sizeof line, "%ld open=%d blocked=%d handled=%d leader=%d directory=%s",
			    (long)getpid(), n_open, sigismember(&blocked, SIGUSR2), usr1.sa_handler != SIG_DFL,
			    getsid(0) == getpid(), getcwd(directory, sizeof directory));

	for (int i = 1; i < argc; i++)
		size += snprintf(line + size, sizeof line - (size_t)size, " %s", argv[i]);
	size += snprintf(line + size, sizeof line - (size_t)size, " ORMD_DATABASE=%s\n", getenv("ORMD_DATABASE"));

	const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd < 0 || write(fd, line, (size_t)size) != size)
		exit(3);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *mode = getenv("FAKE_ORMD_MODE") ? getenv("FAKE_ORMD_MODE") : "";
	const char *database = getenv("ORMD_DATABASE");
	const char *address = option(argc, argv, "--listen");
	const char *lock_fd = option(argc, argv, "--lock-fd");
	const char *ready_fd = option(argc, argv, "--ready-fd");
	const char *owner = option(argc, argv, "--exit-with");
	const char *fence = getenv("FAKE_ORMD_DIED");
	char lock_path[ORM_DISCOVERY_PATH_SIZE];
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	orm_error error = {0};
	const bool dies = strcmp(mode, "dead-once") == 0 && access(fence, F_OK) != 0;

	note_start(argc, argv);
	if (strcmp(mode, "fail") == 0) {
		fprintf(stderr, "one line\nno room on the device\n");
		return 1;
	}
	if (strcmp(mode, "mute") == 0) {
		pause();
		return 1;
	}
	if (lock_fd && (orm_discovery_lock_path(database, lock_path, &error) != ORM_OK ||
			orm_discovery_adopt(atoi(lock_fd), lock_path, &error) != ORM_OK)) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	snprintf(name.sun_path, sizeof name.sun_path, "%s", address + strlen("ipc://"));
	unlink(name.sun_path);

	const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&name, sizeof name) < 0 || listen(listener, 64) < 0) {
		perror(address);
		return 1;
	}
	const int owner_fd = owner ? pidfd_open(atoi(owner), 0) : -1; /* while it waits for us */

	if (lock_fd && orm_discovery_announce(atoi(lock_fd), address, &error) != ORM_OK)
		return 1;
	if (dies) {
		close(open(fence, O_WRONLY | O_CREAT, 0600));
		unlink(name.sun_path);
	}
	dprintf(atoi(ready_fd), "%s\n", address);
	close(atoi(ready_fd));
	if (dies)
		return 1;

	struct pollfd events[] = {{.fd = listener, .events = POLLIN}, {.fd = owner_fd, .events = POLLIN}};

	while (poll(events, 2, -1) >= 0 && !(events[1].revents & POLLIN))
		close(accept(listener, NULL, NULL));
	unlink(name.sun_path);
	return 0;
}
