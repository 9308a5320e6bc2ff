/* SPDX-License-Identifier: MIT */
/*
 * Who serves a database: a session server that is found or started by any program that knows the database's URL.
 *
 * Beside an SQLite file lies `<real path>-ormd`, a lock file: one server per file. For a database that is no file the
 * lock file lies in the user's runtime directory, named by a hash of its URL without the password; there the lock only
 * says which server this user's programs on this machine find, for others may serve the same database. The lock file's
 * flock belongs to the server for as long as it lives, so that the kernel gives it back whatever the server dies of;
 * its text says who that is: "pid 4711\naddress ipc:///run/ormd/x.sock\n", the second line from the moment that the
 * server answers. It is never removed: a removed lock file can be locked twice.
 *
 * How a client finds or starts the server:
 * 1. orm_discovery_lock. ORM_EEXIST: somebody serves, or is starting: 4.
 * 2. Got it: fork and exec `ormd --lock-fd N ...`, with ORMD_DATABASE in its environment, with that descriptor
 * inherited (clear FD_CLOEXEC in the child). The lock belongs to the open file, not to the process, so there is no
 * moment without it.
 * 3. close() the descriptor in the client, never orm_discovery_unlock: the lock is the server's now.
 * 4. orm_discovery_read until there is an address that accepts a connection, or the deadline passes. While nothing
 * answers, try 1 again now and then: the starter may have failed. An address of a dead server may be read for a moment;
 * connecting to it fails. The server: orm_discovery_adopt (or orm_discovery_lock), later orm_discovery_announce, at the
 * end orm_discovery_unlock.
 *
 * No call here waits for a lock. Paths and URLs are limited to ORM_DISCOVERY_PATH_SIZE, else ORM_EINVAL.
 */
#ifndef ORM_BASE_DISCOVERY_H
#define ORM_BASE_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>

#include <orm/status.h>

#define ORM_DISCOVERY_PATH_SIZE    4096
#define ORM_DISCOVERY_ADDRESS_SIZE 512

/*
 * The file that an SQLite URL means: "sqlite:///shop.db" is relative to the working directory, "sqlite:////var/shop.db"
 * absolute, "sqlite:///:memory:" gives ":memory:". %XX is decoded. The result is absolute, symbolic links followed, so
 * that two spellings of one file give one path; the file need not exist, its directory must (ORM_ENOTFOUND). ORM_EINVAL
 * says what is wrong with the URL; ORM_EUNSUPPORTED: not an SQLite URL.
 */
orm_status orm_discovery_database_path(const char *url, char path[ORM_DISCOVERY_PATH_SIZE], orm_error *error);

/* The same database as a URL that means it from any directory: what to hand to a server that is started. Password
 * included. */
orm_status orm_discovery_absolute_url(const char *url, char absolute[ORM_DISCOVERY_PATH_SIZE], orm_error *error);

/* The lock file's path for a database URL. As above; ORM_EUNSUPPORTED for ":memory:" too, which nobody else can find.
 * ORM_EPERM: the runtime directory, which is made for databases that are no files, is not safe. */
orm_status orm_discovery_lock_path(const char *url, char path[ORM_DISCOVERY_PATH_SIZE], orm_error *error);

/* What the lock file says; what it does not say is 0 or "". */
typedef struct orm_discovery_owner {
	long pid;
	char address[ORM_DISCOVERY_ADDRESS_SIZE];
} orm_discovery_owner;

/*
 * Try to take the lock, creating the file (mode 0600) where there is none. The descriptor (owned, close-on-exec, never
 * 0) goes to *fd; the text then names this process and no address. ORM_EEXIST: another process has it; the message
 * names pid and address as far as they are known. ORM_EPERM, ORM_ENOTFOUND, ORM_EUNAVAILABLE: the file cannot be
 * opened.
 */
orm_status orm_discovery_lock(const char *path, int *fd, orm_error *error);

/* Take over a descriptor that was locked before exec; ORM_EINVAL if it is not the locked file `path`. Then as after
 * orm_discovery_lock. */
orm_status orm_discovery_adopt(int fd, const char *path, orm_error *error);

/* The holder is ready: name its address. Readers see the address whole or not at all. */
orm_status orm_discovery_announce(int fd, const char *address, orm_error *error);

/* Empty the text, give the lock back and close. For the holder only; negative: no-op. */
void orm_discovery_unlock(int fd);

/* Read the text, whether or not anybody holds the lock. ORM_ENOTFOUND: no such file, so nobody has ever served. */
orm_status orm_discovery_read(const char *path, orm_discovery_owner *owner, orm_error *error);

#endif
