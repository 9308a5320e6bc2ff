/* SPDX-License-Identifier: MIT */
#include "base/discovery.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/map.h"
#include "base/runtime_directory.h"
#include "base/url.h"

#define SCHEME      "sqlite:"
#define LOCK_SUFFIX "-ormd"
#define MAX_LINKS   40 /* as the kernel's own limit */
#define MAX_TEXT    (ORM_DISCOVERY_ADDRESS_SIZE + 64)

_Static_assert(ORM_DISCOVERY_PATH_SIZE >= PATH_MAX, "realpath() writes up to PATH_MAX bytes");

/* ---- URLs and paths ---------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static orm_status fail_scheme(const char *url, orm_error *error)
{
	char shown[256];

	orm_url_without_password(url ? url : "", shown, sizeof shown);
	if (url && orm_url_is_of_server(url))
		return orm_fail(error, ORM_EUNSUPPORTED, "'%s' is a database without a file", shown);
	return orm_fail(error, ORM_EUNSUPPORTED, "'%s' is not the URL of a database; write " ORM_URL_KNOWN, shown);
}

/* The path part of the URL, decoded; relative to the working directory, absolute, or ":memory:". */
static orm_status decode_url(const char *url, char *path, orm_error *error)
{
	size_t len = 0;

	if (!url || strncmp(url, SCHEME, strlen(SCHEME)) != 0)
		return fail_scheme(url, error);
	if (strncmp(url, SCHEME "//", strlen(SCHEME "//")) != 0)
		return orm_fail(error, ORM_EINVAL, "'%s': write sqlite:///shop.db, with three slashes", url);

	const char *from = url + strlen(SCHEME "//");

	if (*from != '/')
		return orm_fail(
			error, ORM_EINVAL,
			"'%s': an SQLite URL has no host; write sqlite:///shop.db for a file in the working directory, "
			"sqlite:////var/lib/shop.db for an absolute path",
			url);
	for (from++; *from; from++) {
		char c = *from;

		if (c == '?' || c == '#')
			return orm_fail(error, ORM_EINVAL,
					"'%s': an SQLite URL has no options; in a file's name write %s for '%c'", url,
					c == '?' ? "%3F" : "%23", c);
		if (c == '%') {
			const int high = hex_digit(from[1]);
			const int low = high < 0 ? -1 : hex_digit(from[2]);

			if (low < 0)
				return orm_fail(
					error, ORM_EINVAL,
					"'%s': '%%' must be followed by two hexadecimal digits; write %%25 for itself",
					url);
			if (high == 0 && low == 0)
				return orm_fail(error, ORM_EINVAL, "'%s': a file's name cannot hold a NUL byte (%%00)",
						url);
			c = (char)(high * 16 + low);
			from += 2;
		}
		if (len + 1 >= ORM_DISCOVERY_PATH_SIZE)
			return orm_fail(error, ORM_EINVAL, "the database's path is longer than %d bytes",
					ORM_DISCOVERY_PATH_SIZE - 1);
		path[len++] = c;
	}
	if (len == 0 || path[len - 1] == '/')
		return orm_fail(error, ORM_EINVAL, "'%s' names no file; write sqlite:///shop.db", url);
	path[len] = '\0';
	return ORM_OK;
}

static orm_status too_long(const char *path, orm_error *error)
{
	return orm_fail(error, ORM_EINVAL, "the path of '%.200s' is too long", path);
}

/* Split at the last slash: `directory` gets "." for a bare name. */
static const char *split_path(const char *path, char directory[ORM_DISCOVERY_PATH_SIZE])
{
	const char *slash = strrchr(path, '/');

	if (!slash) {
		memcpy(directory, ".", 2);
		return path;
	}

	const size_t len = slash == path ? 1 : (size_t)(slash - path);

	memcpy(directory, path, len);
	directory[len] = '\0';
	return slash + 1;
}

/* realpath() for a file that need not exist, in a directory that must. */
static orm_status real_path(const char *wanted, char *path, orm_error *error)
{
	char current[ORM_DISCOVERY_PATH_SIZE];
	char given_directory[ORM_DISCOVERY_PATH_SIZE];
	char directory[ORM_DISCOVERY_PATH_SIZE];
	char link[ORM_DISCOVERY_PATH_SIZE];
	struct stat what;

	memcpy(current, wanted, strlen(wanted) + 1);
	for (int n_links = 0; n_links < MAX_LINKS; n_links++) {
		if (realpath(current, path))
			return stat(path, &what) == 0 && S_ISDIR(what.st_mode)
				       ? orm_fail(error, ORM_EINVAL, "'%s' is a directory, not a database", path)
				       : ORM_OK;

		const char *name = split_path(current, given_directory);

		if (!realpath(given_directory, directory))
			return orm_fail(error, errno == EACCES ? ORM_EPERM : ORM_ENOTFOUND,
					"the database's directory '%.200s' cannot be used: %s", given_directory,
					strerror(errno));
		if (snprintf(path, ORM_DISCOVERY_PATH_SIZE, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory,
			     name) >= ORM_DISCOVERY_PATH_SIZE)
			return too_long(name, error);

		/* A link to a file that is still to be made: that file is the one to lock. */
		const ssize_t len = readlink(path, link, sizeof link - 1);

		if (len < 0)
			return ORM_OK;
		link[len] = '\0';
		if (snprintf(current, sizeof current, "%s%s%s", link[0] == '/' ? "" : directory,
			     link[0] == '/' ? "" : "/", link) >= (int)sizeof current)
			return too_long(link, error);
	}
	return orm_fail(error, ORM_EINVAL, "'%.200s': too many levels of symbolic links", wanted);
}

orm_status orm_discovery_database_path(const char *url, char path[ORM_DISCOVERY_PATH_SIZE], orm_error *error)
{
	char decoded[ORM_DISCOVERY_PATH_SIZE];
	char real[ORM_DISCOVERY_PATH_SIZE];
	orm_status status = decode_url(url, decoded, error);

	if (status == ORM_OK && strcmp(decoded, ":memory:") == 0)
		memcpy(real, decoded, strlen(decoded) + 1);
	else if (status == ORM_OK)
		status = real_path(decoded, real, error);
	if (status == ORM_OK)
		memcpy(path, real, strlen(real) + 1);
	return status;
}

orm_status orm_discovery_absolute_url(const char *url, char absolute[ORM_DISCOVERY_PATH_SIZE], orm_error *error)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	char text[ORM_DISCOVERY_PATH_SIZE];
	size_t len = strlen(SCHEME "///");

	if (orm_url_is_of_server(url)) {
		if (strlen(url) >= ORM_DISCOVERY_PATH_SIZE)
			return orm_fail(error, ORM_EINVAL, "the database's URL is longer than %d bytes",
					ORM_DISCOVERY_PATH_SIZE - 1);
		memcpy(absolute, url, strlen(url) + 1);
		return ORM_OK;
	}

	const orm_status status = orm_discovery_database_path(url, path, error);

	if (status != ORM_OK)
		return status;
	memcpy(text, SCHEME "///", len);
	for (const char *c = path; *c; c++) {
		const bool escape = *c == '%' || *c == '?' || *c == '#' || *c <= ' ' || *c == 0x7f;

		if (len + 4 > sizeof text)
			return too_long(path, error);
		if (escape)
			len += (size_t)sprintf(text + len, "%%%02X", (unsigned char)*c);
		else
			text[len++] = *c;
	}
	text[len] = '\0';
	memcpy(absolute, text, len + 1);
	return ORM_OK;
}

/* In the runtime directory, for a database that is no file. */
static orm_status runtime_lock_path(const char *url, char path[ORM_DISCOVERY_PATH_SIZE], orm_error *error)
{
	char directory[ORM_RUNTIME_DIRECTORY_SIZE];
	char identity[ORM_DISCOVERY_PATH_SIZE];
	orm_status status;

	if (strlen(url) >= sizeof identity)
		return orm_fail(error, ORM_EINVAL, "the database's URL is longer than %d bytes",
				ORM_DISCOVERY_PATH_SIZE - 1);
	status = orm_runtime_directory(directory, error);
	if (status == ORM_OK)
		snprintf(path, ORM_DISCOVERY_PATH_SIZE, "%s/%016" PRIx64 ".lock", directory,
			 orm_hash_string(orm_url_identity(url, identity, sizeof identity)));
	return status;
}

orm_status orm_discovery_lock_path(const char *url, char path[ORM_DISCOVERY_PATH_SIZE], orm_error *error)
{
	char database[ORM_DISCOVERY_PATH_SIZE];

	if (orm_url_is_of_server(url))
		return runtime_lock_path(url, path, error);

	const orm_status status = orm_discovery_database_path(url, database, error);

	if (status != ORM_OK)
		return status;
	if (strcmp(database, ":memory:") == 0)
		return orm_fail(error, ORM_EUNSUPPORTED,
				"an in-memory database belongs to one server and cannot be found by its URL");

	const size_t len = strlen(database);

	if (len + sizeof LOCK_SUFFIX > ORM_DISCOVERY_PATH_SIZE)
		return too_long(database, error);
	memcpy(path, database, len);
	memcpy(path + len, LOCK_SUFFIX, sizeof LOCK_SUFFIX);
	return ORM_OK;
}

/* ---- the lock and its text --------------------------------------------------------------------------------- */

static bool try_flock(int fd)
{
	int result;

	do
		result = flock(fd, LOCK_EX | LOCK_NB);
	while (result < 0 && errno == EINTR);
	return result == 0;
}

/* Is `fd` still the file that has this name? Somebody may have removed the file, against the rules. */
static bool is_file_named(int fd, const char *path)
{
	struct stat ours;
	struct stat named;

	return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev &&
	       ours.st_ino == named.st_ino;
}

/* One write, so that a reader sees all of it or none: the file is empty, or starts with the same line. */
static orm_status write_text(int fd, const char *text, orm_error *error)
{
	const size_t size = strlen(text);
	ssize_t written;

	do
		written = pwrite(fd, text, size, 0);
	while (written < 0 && errno == EINTR);
	/* A longer text may have been there; its rest comes after ours, where nobody looks, and goes now. */
	if (written != (ssize_t)size || ftruncate(fd, (off_t)size) < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot write to the database's lock file: %s",
				written >= 0 && written < (ssize_t)size ? "disk full" : strerror(errno));
	return ORM_OK;
}

static orm_status write_pid(int fd, orm_error *error)
{
	char text[64];

	/* What a dead server left goes first: its address must never stand beside our number. */
	if (ftruncate(fd, 0) < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot empty the database's lock file: %s", strerror(errno));
	snprintf(text, sizeof text, "pid %ld\n", (long)getpid());
	return write_text(fd, text, error);
}

static orm_status fail_open(const char *path, orm_error *error)
{
	const int reason = errno;
	orm_status code = ORM_EUNAVAILABLE;

	if (reason == ENOENT || reason == ENOTDIR)
		code = ORM_ENOTFOUND;
	else if (reason == EACCES || reason == EPERM || reason == EROFS)
		code = ORM_EPERM;
	return orm_fail(error, code, "cannot open the lock file '%.300s': %s", path, strerror(reason));
}

/* The database's file, of which `path` is the lock; a database that is no file has a lock without its name. */
static void name_database(const char *path, char *name, size_t size)
{
	const size_t len = strlen(path);
	const size_t suffix = strlen(LOCK_SUFFIX);

	if (len > suffix && strcmp(path + len - suffix, LOCK_SUFFIX) == 0)
		snprintf(name, size, "'%.*s'", len - suffix > 200 ? 200 : (int)(len - suffix), path);
	else
		snprintf(name, size, "this database");
}

static orm_status fail_taken(const char *path, orm_error *error)
{
	orm_discovery_owner owner;
	char database[210];
	char who[64] = "another server";

	name_database(path, database, sizeof database);
	if (orm_discovery_read(path, &owner, NULL) != ORM_OK)
		owner = (orm_discovery_owner){0};
	if (owner.pid)
		snprintf(who, sizeof who, "pid %ld", owner.pid);
	if (owner.address[0])
		return orm_fail(error, ORM_EEXIST, "%s is served by %s at %s; connect to that, or stop it first",
				database, who, owner.address);
	return orm_fail(error, ORM_EEXIST,
			"%s is taken by %s, which does not serve it yet; try again, or stop it first", database, who);
}

orm_status orm_discovery_lock(const char *path, int *fd, orm_error *error)
{
	for (;;) {
		/* 0 would be taken for "none", and a lock file on standard input for input. */
		int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

		if (opened >= 0 && opened <= STDERR_FILENO) {
			const int low = opened;

			opened = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
			close(low);
		}
		if (opened < 0)
			return fail_open(path, error);
		if (!try_flock(opened)) {
			const int reason = errno;

			close(opened);
			if (reason == EWOULDBLOCK)
				return fail_taken(path, error);
			return orm_fail(error, ORM_EUNAVAILABLE, "cannot lock '%.300s': %s", path, strerror(reason));
		}
		if (is_file_named(opened, path)) {
			const orm_status status = write_pid(opened, error);

			if (status == ORM_OK)
				*fd = opened;
			else
				close(opened);
			return status;
		}
		close(opened); /* removed between our open and our lock: take the one that is there now */
	}
}

orm_status orm_discovery_adopt(int fd, const char *path, orm_error *error)
{
	const int flags = fd < 0 ? -1 : fcntl(fd, F_GETFD);

	if (flags < 0)
		return orm_fail(error, ORM_EINVAL, "descriptor %d is not open; it should be the lock of '%.300s'", fd,
				path);
	if (!is_file_named(fd, path))
		return orm_fail(error, ORM_EINVAL, "descriptor %d is not the lock file '%.300s'", fd, path);
	if (!try_flock(fd)) /* the open file that has the lock may lock again; any other may not */
		return orm_fail(error, ORM_EINVAL, "descriptor %d does not hold the lock of '%.300s'", fd, path);
	if (fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return orm_fail(error, ORM_EINVAL, "descriptor %d: %s", fd, strerror(errno));
	return write_pid(fd, error);
}

orm_status orm_discovery_announce(int fd, const char *address, orm_error *error)
{
	char text[MAX_TEXT];

	if (!*address || strchr(address, '\n') || strlen(address) >= ORM_DISCOVERY_ADDRESS_SIZE)
		return orm_fail(error, ORM_EINVAL, "an address is one line of 1 to %d bytes",
				ORM_DISCOVERY_ADDRESS_SIZE - 1);
	snprintf(text, sizeof text, "pid %ld\naddress %s\n", (long)getpid(), address);
	return write_text(fd, text, error);
}

void orm_discovery_unlock(int fd)
{
	if (fd < 0)
		return;
	/* Only a courtesy: whoever takes the lock empties the file anyway. */
	(void)!ftruncate(fd, 0);
	close(fd);
}

/* The value of the whole line "name value"; false if there is none, or no end of line yet. */
static bool find_line(const char *text, const char *name, char *value, size_t size)
{
	const size_t name_len = strlen(name);

	for (const char *line = text; *line;) {
		const char *end = strchr(line, '\n');

		if (!end)
			return false;
		if (strncmp(line, name, name_len) == 0 && line[name_len] == ' ') {
			const char *from = line + name_len + 1;
			const size_t len = (size_t)(end - from);

			if (len >= size)
				return false;
			memcpy(value, from, len);
			value[len] = '\0';
			return true;
		}
		line = end + 1;
	}
	return false;
}

orm_status orm_discovery_read(const char *path, orm_discovery_owner *owner, orm_error *error)
{
	char text[MAX_TEXT + 1];
	char pid[24];
	ssize_t size;
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);

	if (fd < 0)
		return fail_open(path, error);
	do
		size = pread(fd, text, sizeof text - 1, 0);
	while (size < 0 && errno == EINTR);

	const int reason = errno;

	close(fd);
	if (size < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot read '%.300s': %s", path, strerror(reason));
	text[size] = '\0';
	*owner = (orm_discovery_owner){0};
	if (find_line(text, "pid", pid, sizeof pid)) {
		char *end;
		const long number = strtol(pid, &end, 10);

		if (*pid && !*end && number > 0 && number <= INT_MAX)
			owner->pid = number;
	}
	if (!find_line(text, "address", owner->address, sizeof owner->address))
		owner->address[0] = '\0';
	return ORM_OK;
}
