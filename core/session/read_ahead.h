/* SPDX-License-Identifier: MIT */
/*
 * A long result, read ahead of its use: a thread of its own fetches the next rows from the database while those before
 * them are made objects, encoded and sent. Costs a thread, and the memory of READ_AHEAD_DEPTH fetches, per long result
 * under way; there are at most as many as there are connections to read with.
 */
#ifndef ORMD_SESSION_READ_AHEAD_H
#define ORMD_SESSION_READ_AHEAD_H

#include "driver/driver.h"

#define ORMD_READ_AHEAD_DEPTH 2 /* fetches: one being used up, one being read */

typedef struct ormd_read_ahead ormd_read_ahead;

/* Until it is stopped, the cursor and its connection are the thread's, but for `interrupt`. The sizes are those of each
 * fetch. NULL: no memory or no thread for it; nothing is lost then, the caller goes on fetching by itself. */
ormd_read_ahead *ormd_read_ahead_start(ormd_cursor *cursor, const orm_mapper *mapper, size_t max_rows, size_t max_size);

/* As the driver's `fetch`, into an empty builder of the same mapper, which is exchanged for a full one. Blocks until
 * there are rows: as long as the driver would, by the connection's deadline. Not again after a failure or the end. */
orm_status ormd_read_ahead_take(ormd_read_ahead *ahead, orm_batch_builder *builder, size_t *n_rows, bool *done,
				orm_error *error);

/* The cursor is the caller's again. What the thread is waiting for is called off. May be NULL. */
void ormd_read_ahead_stop(ormd_read_ahead *ahead);

#endif
