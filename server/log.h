/* SPDX-License-Identifier: MIT */
/*
 * The daemon's log: one line per event, in a file or on standard error.
 *
 *   2026-11-23T13:15:36.123Z INFO  ormd[4711]: serving sqlite:///shop.db at ipc:///run/ormd/shop.sock
 *
 * Levels are syslog's numbers (<syslog.h>). Lines are written whole, by one write each, so that any thread may log at
 * any time without a lock. What cannot be shown (a peer's bytes may be in a message) becomes '?'.
 */
#ifndef ORMD_SERVER_LOG_H
#define ORMD_SERVER_LOG_H

#include <syslog.h>

#include <orm/status.h>

/* Append to `path` (made with mode 0640 if need be), or to standard error if NULL; leave out levels above `level`.
 * Once, before other threads. */
orm_status ormd_log_open(const char *path, int level, orm_error *error);

/* Open the same path anew, after somebody has moved the file away; if that fails the old file stays and is told. For
 * standard error: nothing. */
void ormd_log_reopen(void);
void ormd_log_close(void); /* back to standard error */

void ormd_log(int level, const char *format, ...) ORM_PRINTF(2, 3);

/* For those who take a callback: rpc and the database. `context` is not used. */
void ormd_log_message(int level, const char *message, void *context);

#endif
