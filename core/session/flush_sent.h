/* SPDX-License-Identifier: MIT */
/* What a flush has handed to the driver, and what came of it: told at once, or later, when the driver is asked. */
#ifndef ORMD_SESSION_FLUSH_SENT_H
#define ORMD_SESSION_FLUSH_SENT_H

#include "session/flush.h"

/* An object's record with the defaults that its INSERT got. */
struct ormd_made_record {
	ormd_made_record *next;
	ormd_object *object;
	ormd_record *record; /* the session's pool's */
	const uint16_t *columns;
	size_t n_columns;
};

/* Rows of one step that were handed to the driver: what came of them is told at once, or later, when the driver is
 * asked. */
struct ormd_sent {
	ormd_sent *next;
	ormd_write write;
	const ormd_plan_step *step;
	size_t first; /* of the step's objects */
	const uint16_t *returning;
};

/* The driver did as it was told: did it find all rows? Then keeps what it returned. ORM_ESTALE, ORM_ENOMEM. */
orm_status ormd_flush_take_outcome(ormd_flush *flush, const ormd_sent *sent, orm_error *error);

/*
 * Ask for the outcome of all that was sent, if something was. Failures come in the order of the rows, as if each had
 * been waited for: a row that is gone before one that is refused.
 */
orm_status ormd_flush_collect(ormd_flush *flush, ormd_connection *connection, orm_error *error);

/*
 * Something failed with `status` and `error`: what was sent before may be the reason, or have failed without anybody
 * having heard of it yet. `sent`: what the driver was given just now, if it was. Returns error->code.
 */
orm_status ormd_flush_fail_sending(ormd_flush *flush, ormd_connection *connection, const ormd_sent *sent,
				   orm_status status, orm_error *error);

#endif
