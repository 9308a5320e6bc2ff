/* SPDX-License-Identifier: MIT */
/* Private temporary directories, short enough for unix sockets, removed with all they hold when the test ends. */
#ifndef SUPPORT_TEMPDIR_H
#define SUPPORT_TEMPDIR_H

#include <stddef.h>

#define SUPPORT_PATH_SIZE 256

/*
 * A new directory of mode 0700 in $TMPDIR, or in /tmp when that is unset or too long; its path is shorter than
 * 64 bytes, so that a socket in it stays below the 108 of sun_path. Borrowed, good until the removal. At exit every
 * process of support/process.h is killed first. Never NULL.
 */
const char *support_tempdir(void);

/* Remove it before the end; NULL is allowed. */
void support_tempdir_remove(const char *dir);

/* dir/name into `path`. Returns `path`. */
const char *support_join(char path[SUPPORT_PATH_SIZE], const char *dir, const char *name);

/* A whole file, NUL-terminated, owned by the caller (free()); NULL when it cannot be read. `size` may be NULL. */
char *support_read_file(const char *path, size_t *size);

void support_write_file(const char *path, const void *data, size_t size);

#endif
