/* SPDX-License-Identifier: MIT */
#include "client/autostart.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "base/runtime_directory.h"
#include "base/url.h"
#include "client/server_program.h"
#include "client/spawn.h"

#define CONNECT_MS       2000 /* an address that does not answer for so long is looked up again */
#define FIRST_PAUSE_US   1000
#define LONGEST_PAUSE_US 50000
#define END_MS           5000 /* a private server that does not end for so long is killed */

/* The end of a log for a message: its last line, without what cannot be shown. */
static void last_line(int fd, off_t start, char *line, size_t size)
{
	char text[2048];
	const off_t end = lseek(fd, 0, SEEK_END);
	const off_t from = end - start > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : start;
	ssize_t len = end > start ? pread(fd, text, sizeof text - 1, from) : 0;

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	text[len > 0 ? len : 0] = '\0';

	const char *newline = strrchr(text, '\n');

	snprintf(line, size, "%.*s", (int)size - 1, newline ? newline + 1 : text);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
}

/* ---- starting ---- */

typedef struct start {
	const autostart_options *options;
	const char *url;                          /* absolute */
	const char *name;                         /* of the socket, without its ending */
	const char *log;                          /* the same of the log */
	int lock_fd;                              /* negative: an in-memory database */
	int pidfd;                                /* out, for an in-memory database */
	char address[ORM_DISCOVERY_ADDRESS_SIZE]; /* out */
} start;

/* Wait for the line that the server writes when it answers. */
static orm_status wait_ready(start *s, int ready_fd, int log_fd, off_t log_start, orm_error *error)
{
	char reason[256];
	size_t len = 0;

	for (;;) {
		struct pollfd ready = {.fd = ready_fd, .events = POLLIN};
		const int64_t left = orm_deadline_left_ms(s->options->deadline_us);
		const int n = poll(&ready, 1, left > INT_MAX ? -1 : (int)left);
		ssize_t size;

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return orm_fail(error, ORM_ETIMEOUT,
					"the session server was started, but is not ready yet; try again");
		size = read(ready_fd, s->address + len, sizeof s->address - 1 - len);
		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			break;
		len += (size_t)size;
		s->address[len] = '\0';

		char *newline = strchr(s->address, '\n');

		if (newline) {
			*newline = '\0';
			return ORM_OK;
		}
	}
	last_line(log_fd, log_start, reason, sizeof reason);
	return orm_fail(error, ORM_EUNAVAILABLE, "the session server did not start: %s",
			reason[0] ? reason : "it ended without a word");
}

static orm_status start_program(start *s, const char *program, const char *directory, int log_fd, orm_error *error)
{
	char listen[ORM_RUNTIME_DIRECTORY_SIZE + 64];
	char ready_fd[16];
	char lock_fd[16];
	char idle[32];
	char owner[32];
	int ready[2];
	pid_t pid = 0;
	const off_t log_start = lseek(log_fd, 0, SEEK_END);
	char *argv[20];
	size_t n = 0;
	char database[ORM_DISCOVERY_PATH_SIZE + 32];
	const char *const environment[] = {database, NULL};

	snprintf(listen, sizeof listen, "ipc://%s/%s.sock", directory, s->name);
	snprintf(ready_fd, sizeof ready_fd, "%d", SPAWN_READY_FD);
	snprintf(lock_fd, sizeof lock_fd, "%d", SPAWN_LOCK_FD);
	snprintf(idle, sizeof idle, "%" PRId64 "ms", s->options->idle_timeout_ms);
	snprintf(owner, sizeof owner, "%ld", (long)getpid());
	snprintf(database, sizeof database, "ORMD_DATABASE=%s", s->url);

	/* Not the URL: a password in it would be seen by everybody. */
	const char *const always[] = {"ormd", "--listen", listen, "--ready-fd", ready_fd};
	const char *const shared[] = {"--lock-fd", lock_fd, "--idle-timeout", idle};
	const char *const private[] = {"--exit-with", owner};

	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		argv[n++] = (char *)always[i];
	for (size_t i = 0; s->lock_fd >= 0 && i < sizeof shared / sizeof *shared; i++)
		argv[n++] = (char *)shared[i];
	for (size_t i = 0; s->lock_fd < 0 && i < sizeof private / sizeof *private; i++)
		argv[n++] = (char *)private[i];
	argv[n] = NULL;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot start the session server: %s", strerror(errno));

	const spawn_command command = {.path = program,
				       .argv = argv,
				       .environment = environment,
				       .stderr_fd = log_fd,
				       .ready_fd = ready[1],
				       .lock_fd = s->lock_fd};
	orm_status status = spawn_detached(&command, &pid, error);

	close(ready[1]);
	/* Taken before it has spoken: if it speaks afterwards, this was it, and no later process with the same number.
	 */
	if (status == ORM_OK && s->lock_fd < 0)
		s->pidfd = pidfd_open(pid, 0);
	if (status == ORM_OK)
		status = wait_ready(s, ready[0], log_fd, log_start, error);
	close(ready[0]);
	if (status != ORM_OK && s->pidfd >= 0) {
		pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
		close(s->pidfd);
		s->pidfd = -1;
	}
	return status;
}

static orm_status start_server(start *s, orm_error *error)
{
	char program[PATH_MAX];
	char directory[ORM_RUNTIME_DIRECTORY_SIZE];
	char log_path[ORM_RUNTIME_DIRECTORY_SIZE + 32];
	orm_status status = server_program_find(s->options->server_program, program, error);

	if (status == ORM_OK)
		status = orm_runtime_directory(directory, error);
	if (status != ORM_OK)
		return status;
	snprintf(log_path, sizeof log_path, "%s/%s.log", directory, s->log);

	const int log_fd = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

	if (log_fd < 0)
		return orm_fail(error, ORM_EPERM, "cannot open the session server's log '%.300s': %s", log_path,
				strerror(errno));
	status = start_program(s, program, directory, log_fd, error);
	close(log_fd);
	return status;
}

/* ---- a server that all find ---- */

/* We hold the lock: start the server, which takes it over. */
static orm_status start_shared(const autostart_options *options, const char *lock_path, int lock_fd,
			       char address[ORM_DISCOVERY_ADDRESS_SIZE], orm_error *error)
{
	char url[ORM_DISCOVERY_PATH_SIZE];
	char name[24];
	char log[24];
	struct stat lock;
	orm_status status = orm_discovery_absolute_url(options->url, url, error);

	/*
	 * Who deletes a database with all its files, and makes it anew, must not run into the idle server of the
	 * deleted one: that one keeps its lock file open, so the new file's number is another.
	 */
	if (status == ORM_OK && fstat(lock_fd, &lock) < 0)
		status = orm_fail(error, ORM_EUNAVAILABLE, "cannot look at '%.300s': %s", lock_path, strerror(errno));
	if (status == ORM_OK) {
		start s = {.options = options, .url = url, .name = name, .log = log, .lock_fd = lock_fd, .pidfd = -1};
		const uint64_t hash = orm_hash_string(lock_path);

		snprintf(log, sizeof log, "%016" PRIx64, hash);
		snprintf(name, sizeof name, "%016" PRIx64,
			 hash ^ orm_hash_u64((uint64_t)lock.st_dev ^ orm_hash_u64((uint64_t)lock.st_ino)));

		status = start_server(&s, error);
		memcpy(address, s.address, sizeof s.address);
	}
	return status;
}

static bool nobody_there(orm_status status)
{
	return status == ORM_EUNAVAILABLE || status == ORM_ETIMEOUT;
}

static void pause_until_next_look(int64_t *pause_us, int64_t deadline_us)
{
	const int64_t left_us = deadline_us - orm_clock_us();
	const int64_t us = left_us < *pause_us ? (left_us > 0 ? left_us : 0) : *pause_us;
	const struct timespec time = {.tv_sec = 0, .tv_nsec = (long)us * 1000};

	nanosleep(&time, NULL);
	if (*pause_us < LONGEST_PAUSE_US)
		*pause_us *= 2;
}

static orm_status try_connect(const autostart_options *options, const char *address, orm_error *error)
{
	const int64_t soon = orm_deadline_in_ms(CONNECT_MS);

	return options->connect(address, soon < options->deadline_us ? soon : options->deadline_us, options->context,
				error);
}

static orm_status find_shared(const autostart_options *options, orm_error *error)
{
	char lock_path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner = {0};
	orm_error last = {0};
	int64_t pause_us = FIRST_PAUSE_US;
	orm_status status = orm_discovery_lock_path(options->url, lock_path, error);

	if (status != ORM_OK)
		return status;
	do {
		int lock_fd = -1;

		owner = (orm_discovery_owner){0};
		status = orm_discovery_lock(lock_path, &lock_fd, error);
		if (status == ORM_OK) {
			status = start_shared(options, lock_path, lock_fd, owner.address, error);
			close(lock_fd); /* the server's now; or given back, if there is none */
			if (status != ORM_OK)
				return status;
		} else if (status != ORM_EEXIST) {
			return status;
		} else {
			orm_discovery_read(lock_path, &owner, NULL);
		}
		if (owner.address[0]) {
			status = try_connect(options, owner.address, &last);
			if (!nobody_there(status)) {
				if (status != ORM_OK && error)
					*error = last;
				return status;
			}
		}
		pause_until_next_look(&pause_us, options->deadline_us);
	} while (orm_clock_us() < options->deadline_us);

	if (owner.address[0])
		return orm_fail(error, ORM_ETIMEOUT, "process %ld serves this database at %s, but does not answer: %s",
				owner.pid, owner.address, last.message);
	return orm_fail(error, ORM_ETIMEOUT,
			"process %ld has the database's lock '%.300s', but no server is ready there", owner.pid,
			lock_path);
}

/* ---- an in-memory database's server ---- */

static orm_status start_private(const autostart_options *options, autostart_private *own, orm_error *error)
{
	uint64_t random = 0;
	char name[24];

	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		return orm_fail(error, ORM_EUNAVAILABLE, "no random numbers: %s", strerror(errno));
	snprintf(name, sizeof name, "m%015" PRIx64, random >> 4);

	start s = {.options = options, .url = options->url, .name = name, .log = "memory", .lock_fd = -1, .pidfd = -1};
	orm_status status = start_server(&s, error);

	if (status != ORM_OK)
		return status;
	own->pidfd = s.pidfd;
	memcpy(own->address, s.address, sizeof own->address);
	status = options->connect(own->address, options->deadline_us, options->context, error);
	if (status != ORM_OK)
		autostart_end_private(own);
	return status;
}

void autostart_end_private(autostart_private *own)
{
	struct pollfd ended = {.fd = own->pidfd, .events = POLLIN};

	if (own->pidfd < 0)
		return;
	pidfd_send_signal(own->pidfd, SIGTERM, NULL, 0);
	if (poll(&ended, 1, END_MS) <= 0)
		pidfd_send_signal(own->pidfd, SIGKILL, NULL, 0);
	close(own->pidfd);
	own->pidfd = -1;
}

/* ---- both ---- */

orm_status autostart_find(const autostart_options *options, autostart_private *own, orm_error *error)
{
	char path[ORM_DISCOVERY_PATH_SIZE];

	if (orm_url_is_of_server(options->url))
		return find_shared(options, error);

	const orm_status status = orm_discovery_database_path(options->url, path, error);

	if (status != ORM_OK)
		return status;
	return strcmp(path, ":memory:") == 0 ? start_private(options, own, error) : find_shared(options, error);
}
