/* SPDX-License-Identifier: MIT */
/*
 * Writing a unit: runs its plan on a connection, inside a transaction that somebody else begins and ends, and remembers
 * what the server made (versions, defaults) until the commit has succeeded. The objects stay as they are until
 * ormd_flush_apply.
 */
#ifndef ORMD_SESSION_FLUSH_H
#define ORMD_SESSION_FLUSH_H

#include "session/plan.h"

typedef struct ormd_made_record ormd_made_record;
typedef struct ormd_temporary ormd_temporary;
typedef struct ormd_sent ormd_sent;

typedef struct ormd_flush {
	ormd_session *session;
	ormd_plan plan;
	orm_arena arena;             /* the plan's */
	orm_arena scratch;           /* one run's */
	orm_arena step;              /* one step's */
	bool keep;                   /* make the records that ormd_flush_apply needs; a rehearsal does not */
	ormd_made_record *made;      /* of the latest run */
	ormd_temporary *temporaries; /* keys that rows have for the moment */
	ormd_sent *sent;             /* whose outcome is open, in order */
	ormd_sent **last_sent;
	size_t n_sent; /* rows */
} ormd_flush;

/* Plan what is pending. `keep`: ormd_flush_apply will follow. ORM_ENOMEM. */
orm_status ormd_flush_init(ormd_flush *flush, ormd_session *session, bool keep, orm_error *error);
void ormd_flush_fini(ormd_flush *flush); /* NULL and zeroed ones allowed */

/*
 * Write it all. May be called again, in a new transaction. ORM_ESTALE: a row to be changed or deleted is gone, or has
 * another version; ORM_ECONSTRAINT: the database refuses a row. Both say model, column as far as known, key, and who
 * published it. What the connection says otherwise.
 */
orm_status ormd_flush_run(ormd_flush *flush, ormd_connection *connection, orm_error *error);

/* After the commit, between ormd_unit_settle_begin and ormd_unit_settle: give the objects what the server made. */
void ormd_flush_apply(ormd_flush *flush);

#endif
