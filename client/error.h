/* SPDX-License-Identifier: MIT */
/* Failures: where they come from, and how they stick to a session. */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

#include "client/session_state.h"

#include "proto/ormd.pb-c.h"

/* What a server said about a call that failed. In the arena that failure_read was given. */
typedef struct orm_failure {
	orm_error error; /* never ORM_OK */
	rpc_code code;
	const Ormd__V1__ErrorDetail *detail;       /* or NULL */
	const Ormd__V1__ConflictDetail *conflicts; /* or NULL */
} orm_failure;

void failure_read(const rpc_status *status, orm_arena *arena, orm_failure *failure);

/*
 * May the session be used? Its sticky failure; ORM_ENOMEM for NULL, ORM_EFORKED in a forked child. Every public call
 * begins with it.
 */
orm_status session_enter(orm_session *session);

/* Is it there, and this process's? For calls that a failed session allows: those that only look, and those that mend.
 */
bool session_usable(const orm_session *session);

/* The first failure sticks; only a loss (ORM_ELOST, ORM_EFENCED) takes its place. Returns the new failure's code. */
orm_status session_fail(orm_session *session, const orm_error *error);
orm_status session_fail_with(orm_session *session, orm_status code, const char *format, ...) ORM_PRINTF(3, 4);

/* ORM_EPERM, for whatever would change something in a read-only session. */
orm_status session_fail_read_only(orm_session *session);

/* What every call says in a forked child. */
extern const orm_error forked_error;

#endif
