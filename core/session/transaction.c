/* SPDX-License-Identifier: MIT */
#include "session/transaction.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"

#define OPERATION_LEVEL 1 /* of savepoints */

static int64_t earlier(int64_t deadline_us, int64_t other_us)
{
	return deadline_us < other_us ? deadline_us : other_us;
}

/* ---- its life ----------------------------------------------------------------------------------------------- */

orm_status ormd_transaction_check(const ormd_session *session, orm_error *error)
{
	if (session->lost.code == ORM_OK)
		return ORM_OK;
	if (error)
		*error = session->lost;
	return session->lost.code;
}

static orm_status begin(ormd_session *session, ormd_lock lock, int64_t deadline_us, orm_error *error)
{
	const bool has_row_locks = ormd_database_dialect(session->database)->for_update != NULL;

	if (lock == ORMD_LOCK_FAIL && !has_row_locks)
		deadline_us = orm_clock_us();
	session->pin = ormd_database_pin(session->database, session->isolation, deadline_us, error);
	if (!session->pin)
		return error->code;
	session->pinned_us = orm_clock_us();
	session->pin_until_us =
		session->max_transaction_ms ? orm_deadline_in_ms(session->max_transaction_ms) : ORM_NO_DEADLINE;
	return ORM_OK;
}

static void remember_loss(ormd_session *session, orm_status status, const char *why)
{
	orm_fail(&session->lost, status,
		 "the transaction was rolled back: %.300s. Nothing was written; call orm_rollback, then run the unit "
		 "again",
		 why);
}

void ormd_transaction_end(ormd_session *session)
{
	ormd_connection *connection = session->pin;

	session->pin = NULL;
	session->pin_until_us = ORM_NO_DEADLINE;
	orm_error_clear(&session->lost);
	if (connection)
		ormd_database_unpin(session->database, connection, ORMD_JOB_ROLLBACK, NULL);
}

void ormd_transaction_lose(ormd_session *session, orm_status status, const char *why)
{
	if (!session->pin)
		return;
	ormd_transaction_end(session);
	remember_loss(session, status, why);
}

orm_status ormd_transaction_commit(ormd_session *session, orm_error *error)
{
	ormd_connection *connection = session->pin;
	const orm_status status = ormd_database_unpin(session->database, connection, ORMD_JOB_COMMIT, error);

	session->pin = NULL;
	session->pin_until_us = ORM_NO_DEADLINE;
	if (status != ORM_OK)
		remember_loss(session, status, error->message);
	return status;
}

int64_t ormd_session_transaction_until(const ormd_session *session)
{
	return session->pin ? session->pin_until_us : ORM_NO_DEADLINE;
}

void ormd_session_expire_transaction(ormd_session *session)
{
	char why[128];

	if (!session->pin || orm_clock_us() < session->pin_until_us)
		return;
	snprintf(why, sizeof why, "it was open for longer than the %lld ms that max-transaction allows",
		 (long long)session->max_transaction_ms);
	ormd_transaction_lose(session, ORM_ETIMEOUT, why);
}

bool ormd_session_may_wait(const ormd_session *session)
{
	return ormd_transaction_is_wanted(session) || ormd_database_is_held(session->database);
}

/* ---- operations in it --------------------------------------------------------------------------------------- */

/* A statement has failed: is the transaction gone with it? */
static bool is_gone(ormd_connection *connection, orm_status status)
{
	return status == ORM_ERETRY || connection->lost || !connection->driver->in_transaction(connection);
}

/* It is, by *error. What the connection had not committed when it was lost is not written. */
static orm_status lose(ormd_session *session, orm_status status, orm_error *error)
{
	const orm_status why = session->pin->lost ? ORM_ERETRY : status;
	char said[sizeof error->message];

	snprintf(said, sizeof said, "%s", error->message);
	ormd_transaction_lose(session, why, said);
	*error = session->lost;
	return why;
}

orm_status ormd_transaction_enter(ormd_session *session, ormd_lock lock, int64_t *deadline_us, orm_error *error)
{
	const int64_t asked_us = *deadline_us ? *deadline_us : ORM_NO_DEADLINE;
	orm_status status = ormd_transaction_check(session, error);

	if (status == ORM_OK && !session->pin)
		status = begin(session, lock, asked_us, error);
	if (status != ORM_OK)
		return status;
	*deadline_us = earlier(asked_us, session->pin_until_us);
	session->pin->deadline_us = *deadline_us == ORM_NO_DEADLINE ? 0 : *deadline_us;
	status = session->pin->driver->savepoint(session->pin, OPERATION_LEVEL, error);
	if (status != ORM_OK && is_gone(session->pin, status))
		return lose(session, status, error);
	return status;
}

orm_status ormd_transaction_leave(ormd_session *session, orm_status status, bool keep, orm_error *error)
{
	ormd_connection *connection = session->pin;
	const ormd_driver *driver = connection->driver;
	orm_error failed = {0};
	orm_status ended = ORM_OK;

	if (status != ORM_OK && is_gone(connection, status))
		return lose(session, status, error);
	if (status == ORM_OK && keep)
		ended = driver->release(connection, OPERATION_LEVEL, &failed);
	else
		ended = driver->rollback_to(connection, OPERATION_LEVEL, &failed);
	if (ended != ORM_OK) {
		*error = failed;
		return lose(session, ended, error);
	}
	connection->deadline_us = 0;
	return status;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

ormd_connection *ormd_session_take_reader(ormd_session *session, int64_t deadline_us, orm_error *error)
{
	return session->read_only ? ormd_database_take_replica(session->database, deadline_us, error)
				  : ormd_database_take_reader(session->database, deadline_us, error);
}

bool ormd_session_lost_reader(const ormd_session *session, const ormd_connection *connection, orm_status status)
{
	return status == ORM_EUNAVAILABLE && connection && connection != session->pin && connection->lost;
}

ormd_connection *ormd_session_take_connection(ormd_session *session, int64_t deadline_us, orm_error *error)
{
	if (!ormd_transaction_is_wanted(session))
		return ormd_session_take_reader(session, deadline_us ? deadline_us : ORM_NO_DEADLINE, error);
	return ormd_transaction_enter(session, ORMD_LOCK_NONE, &deadline_us, error) == ORM_OK ? session->pin : NULL;
}

orm_status ormd_session_give_connection(ormd_session *session, ormd_connection *connection, orm_status status,
					orm_error *error)
{
	if (connection && connection == session->pin)
		return ormd_transaction_leave(session, status, true, error);
	ormd_database_give_reader(session->database, connection);
	return status;
}
