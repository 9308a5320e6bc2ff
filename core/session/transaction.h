/* SPDX-License-Identifier: MIT */
/*
 * A database transaction of the session's own, across its calls: for an isolation level that was asked for, and from
 * the first query that locks rows. It begins with the first call that needs the database, and ends with the commit, the
 * rollback, or its time limit.
 *
 * Every operation in it stands in a savepoint, so that a failure leaves the transaction as it was before. A failure
 * that takes the transaction along (a serialization failure, a lost connection) is remembered, and told by every call
 * until the rollback.
 */
#ifndef ORMD_SESSION_TRANSACTION_H
#define ORMD_SESSION_TRANSACTION_H

#include "session/unit.h"

/* Has the session a transaction, or does its next call begin one? */
static inline bool ormd_transaction_is_wanted(const ormd_session *session)
{
	return session->isolation != ORM_ISOLATION_DEFAULT || session->pin;
}

/* Was it lost? Then why, until it is ended. */
orm_status ormd_transaction_check(const ormd_session *session, orm_error *error);

/*
 * Begin an operation on session->pin, and the transaction with it if there is none; blocks for that, with
 * ORMD_LOCK_FAIL only where locks are of rows. *deadline_us (0: none) becomes the operation's, which may be earlier. On
 * success ormd_transaction_leave follows.
 */
orm_status ormd_transaction_enter(ormd_session *session, ormd_lock lock, int64_t *deadline_us, orm_error *error);
/* End it: `keep` what it wrote, if it went well. Returns `status`, or what went wrong since; *error is of that. */
orm_status ormd_transaction_leave(ormd_session *session, orm_status status, bool keep, orm_error *error);

/* COMMIT. ORM_ERETRY: nothing was written. ORM_EUNKNOWN: to be settled. Any failure has lost the transaction. */
orm_status ormd_transaction_commit(ormd_session *session, orm_error *error);
/* ROLLBACK, and forget that it was lost; no-op without one. */
void ormd_transaction_end(ormd_session *session);
/* ROLLBACK, and tell why until ormd_transaction_end; no-op without one. */
void ormd_transaction_lose(ormd_session *session, orm_status status, const char *why);

/* A reader, for what needs no transaction: of a replica where that will do. NULL and error. Blocks. */
ormd_connection *ormd_session_take_reader(ormd_session *session, int64_t deadline_us, orm_error *error);
/* Was a reader lost under what it read? Then another may read the same from the start; a transaction's connection takes
 * along what it stands for. */
bool ormd_session_lost_reader(const ormd_session *session, const ormd_connection *connection, orm_status status);
/* What a call reads by: the transaction's connection, where one is wanted, else a reader. NULL and error. Blocks. */
ormd_connection *ormd_session_take_connection(ormd_session *session, int64_t deadline_us, orm_error *error);
orm_status ormd_session_give_connection(ormd_session *session, ormd_connection *connection, orm_status status,
					orm_error *error);

#endif
