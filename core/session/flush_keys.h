/* SPDX-License-Identifier: MIT */
/*
 * Foreign keys on an engine that looks after every single row and cannot put that off (InnoDB). A unit whose rows refer to each other in a circle, or
 * take over values that others refer to, is then written with the engine's eyes shut, and we look ourselves before the unit ends: every
 * row written refers to one that is there, which is locked until the end as the engine would do it; and nobody refers to what was given up.
 *
 * What the engine does itself at deletions (ON DELETE CASCADE, SET NULL) it does with open eyes only: so they are open for those.
 */
#ifndef ORMD_SESSION_FLUSH_KEYS_H
#define ORMD_SESSION_FLUSH_KEYS_H

#include "session/flush.h"

typedef struct ormd_key_watch {
	const ormd_flush *flush;
	ormd_connection *connection;
	bool needed; /* the unit is one of those */
	bool shut;
} ormd_key_watch;

void ormd_key_watch_init(ormd_key_watch *watch, const ormd_flush *flush, ormd_connection *connection);
/* Before each step. */
orm_status ormd_key_watch_step(ormd_key_watch *watch, const ormd_plan_step *step, orm_error *error);
/* After the last, once the outcome of all is known: look. ORM_ECONSTRAINT naming model, column and key. */
orm_status ormd_key_watch_check(ormd_key_watch *watch, orm_error *error);
/* In any case. */
void ormd_key_watch_fini(ormd_key_watch *watch);

#endif
