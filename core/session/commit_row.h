/* SPDX-License-Identifier: MIT */
/* Commit ids in the database's own table, ormd_commit: the row that says that a commit happened, or never will. */
#ifndef ORMD_SESSION_COMMIT_ROW_H
#define ORMD_SESSION_COMMIT_ROW_H

#include "session/session.h"

typedef struct ormd_commit_row {
	ormd_commit_id id;
	uint64_t fingerprint;
	const void *result; /* NULL: settled as aborted; it never will commit */
	size_t result_size;
} ormd_commit_row;

/* Insert the row; *inserted is false if there is one with this id, which then stands in *row (result in `arena`)
 * instead. */
orm_status ormd_commit_row_insert(ormd_connection *connection, ormd_commit_row *row, orm_arena *arena, bool *inserted,
				  orm_error *error);

/* Delete what nobody will ask for any more: the client's ids that are long past, and now and then those of clients long
 * gone. */
orm_status ormd_commit_row_clean(ormd_connection *connection, const ormd_commit_id *id, orm_error *error);

#endif
