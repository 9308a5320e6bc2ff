/* SPDX-License-Identifier: MIT */
/* What others did, kept until the program asks. A program that never asks costs no more than the last MAX_NOTICES of
 * them. */
#ifndef CLIENT_NOTICES_H
#define CLIENT_NOTICES_H

#include "client/session_state.h"

#include "proto/ormd.pb-c.h"

/* Keep a copy of a sync's notices; NULL is fine. ORM_ENOMEM. */
orm_status notices_take(orm_session *session, const Ormd__V1__Sync *sync, orm_error *error);

/*
 * Has another participant, or a death, rolled the unit back? ORM_EABORTED saying so: what this participant had
 * published is gone, and what it does next must not look as if it were still there.
 */
orm_status notices_check_rollback(const Ormd__V1__Sync *sync, orm_error *error);

void notices_fini(orm_session *session);

#endif
