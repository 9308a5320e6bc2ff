/* SPDX-License-Identifier: MIT */
/* What the other participants did, taken into the structs. Members with unsent edits keep them; what others set there
 * is remembered (conflict.h). */
#ifndef CLIENT_SYNC_H
#define CLIENT_SYNC_H

#include "client/mirror.h"

/*
 * Apply, and take its revision as seen. Its notices are only looked at for commits; they are the session's to hand on.
 * NULL is fine: nothing. ORM_EPROTOCOL, ORM_ENOMEM.
 */
orm_status orm_sync_apply(orm_mirror *mirror, const Ormd__V1__Sync *sync, orm_error *error);

#endif
