/* SPDX-License-Identifier: MIT */
#include "support/tempdir.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/process.h"

typedef struct tempdir {
	struct tempdir *next;
	pid_t owner; /* a forked child must not remove its parent's */
	char path[64];
} tempdir;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tempdir *tempdirs;
static bool cleanup_registered;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	if (remove(path) != 0 && errno != ENOENT)
		fprintf(stderr, "test support: cannot remove %s: %s\n", path, strerror(errno));
	return 0;
}

static void remove_and_free(tempdir *dir)
{
	if (dir->owner == getpid())
		nftw(dir->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}

static void remove_all(void)
{
	support_kill_all();
	while (tempdirs) {
		tempdir *dir = tempdirs;

		tempdirs = dir->next;
		remove_and_free(dir);
	}
}

const char *support_tempdir(void)
{
	static const char pattern[] = "/ormd-XXXXXX";
	const char *parent = getenv("TMPDIR");
	tempdir *dir = malloc(sizeof *dir);

	if (!dir)
		support_die("out of memory");
	if (!parent || parent[0] != '/' || strlen(parent) + sizeof pattern > sizeof dir->path)
		parent = "/tmp";
	snprintf(dir->path, sizeof dir->path, "%s%s", parent, pattern);
	if (!mkdtemp(dir->path)) {
		const int error = errno;

		free(dir);
		support_die("cannot make a directory in %s: %s", parent, strerror(error));
	}
	dir->owner = getpid();

	pthread_mutex_lock(&lock);
	if (!cleanup_registered) {
		atexit(remove_all);
		cleanup_registered = true;
	}
	dir->next = tempdirs;
	tempdirs = dir;
	pthread_mutex_unlock(&lock);
	return dir->path;
}

void support_tempdir_remove(const char *path)
{
	tempdir *found = NULL;

	pthread_mutex_lock(&lock);
	for (tempdir **link = &tempdirs; path && *link; link = &(*link)->next) {
		if ((*link)->path == path) {
			found = *link;
			*link = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	if (found)
		remove_and_free(found);
}

const char *support_join(char path[SUPPORT_PATH_SIZE], const char *dir, const char *name)
{
	if (snprintf(path, SUPPORT_PATH_SIZE, "%s/%s", dir, name) >= SUPPORT_PATH_SIZE)
		support_die("path too long: %s/%s", dir, name);
	return path;
}

char *support_read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	char *data = NULL;
	size_t used = 0;
	size_t got;

	if (!file)
		return NULL;
	do {
		char *grown = realloc(data, used + 4096 + 1);

		if (!grown)
			support_die("out of memory");
		data = grown;
		got = fread(data + used, 1, 4096, file);
		used += got;
	} while (got > 0);
	data[used] = '\0';
	if (ferror(file)) {
		free(data);
		data = NULL;
	} else if (size) {
		*size = used;
	}
	fclose(file);
	return data;
}

void support_write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "we");

	if (!file)
		support_die("cannot create %s: %s", path, strerror(errno));

	const bool written = fwrite(data, 1, size, file) == size;

	if (fclose(file) != 0 || !written)
		support_die("cannot write %s: %s", path, strerror(errno));
}
