/* SPDX-License-Identifier: MIT */
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define MAX_LINE 1024

/* The descriptor's number stays the same while the log is open: a reopened file takes its place by dup3, while others
 * may be writing. */
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LOG_INFO;
static char *log_path;

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

orm_status ormd_log_open(const char *path, int level, orm_error *error)
{
	atomic_store(&log_level, level);
	if (!path)
		return ORM_OK;

	char *copy = strdup(path);
	const int fd = copy ? open_file(path) : -1;

	if (fd < 0) {
		const int why = errno;

		free(copy);
		return orm_fail(error, ORM_EPERM, "cannot open the log '%.300s': %s", path, strerror(why));
	}
	ormd_log_close();
	log_path = copy;
	atomic_store(&log_fd, fd);
	return ORM_OK;
}

void ormd_log_reopen(void)
{
	const int fd = log_path ? open_file(log_path) : -1;

	if (fd >= 0 && dup3(fd, atomic_load(&log_fd), O_CLOEXEC) >= 0)
		ormd_log(LOG_INFO, "log opened anew");
	else if (log_path)
		ormd_log(LOG_ERR, "cannot open the log '%s' anew: %s; going on with the old one", log_path,
			 strerror(errno));
	if (fd >= 0)
		close(fd);
}

void ormd_log_close(void)
{
	const int fd = atomic_exchange(&log_fd, STDERR_FILENO);

	if (fd != STDERR_FILENO)
		close(fd);
	free(log_path);
	log_path = NULL;
}

static const char *level_name(int level)
{
	if (level <= LOG_ERR)
		return "ERROR";
	if (level == LOG_WARNING)
		return "WARN ";
	return level == LOG_DEBUG ? "DEBUG" : "INFO ";
}

static size_t print_prefix(char line[MAX_LINE], int level)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);

	const size_t len = strftime(line, MAX_LINE, "%Y-%m-%dT%H:%M:%S", &utc);

	return len + (size_t)snprintf(line + len, MAX_LINE - len, ".%03ldZ %s ormd[%ld]: ", now.tv_nsec / 1000000,
				      level_name(level), (long)getpid());
}

static void write_line(const char *line, size_t size)
{
	const int fd = atomic_load(&log_fd);

	while (size > 0) {
		const ssize_t n = write(fd, line, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* a full disk is no reason to stop serving, and there is nowhere to complain */
		line += n;
		size -= (size_t)n;
	}
}

void ormd_log(int level, const char *format, ...)
{
	char line[MAX_LINE];
	const int saved_errno = errno;
	va_list args;

	if (level > atomic_load(&log_level))
		return;

	const size_t start = print_prefix(line, level);

	va_start(args, format);

	const int wanted = vsnprintf(line + start, sizeof line - start - 1, format, args);

	va_end(args);

	size_t end = start + strlen(line + start);

	for (size_t i = start; i < end; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = line[i] == '\n' ? ' ' : '?';
	if (wanted > 0 && (size_t)wanted > end - start)
		memcpy(line + end - 3, "...", 3);
	line[end++] = '\n';
	write_line(line, end);
	errno = saved_errno;
}

void ormd_log_message(int level, const char *message, void *context)
{
	(void)context;
	ormd_log(level, "%s", message);
}
