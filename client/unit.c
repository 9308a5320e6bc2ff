/* SPDX-License-Identifier: MIT */
/* The unit of work: flush, commit and the settling of commits whose reply was lost, rollback, waiting for others. */
#include <limits.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/call.h"
#include "client/connection.h"

#define METHOD_COMMIT_STATUS 3      /* of service Database */
#define LONGEST_WAIT_MS      600000 /* one request of orm_wait; it repeats them */
#define FIRST_PAUSE_US       2000
#define LONGEST_PAUSE_US     200000

/* ---- flush ---- */

orm_status orm_flush(orm_session *session)
{
	Ormd__V1__PublishRequest request = ORMD__V1__PUBLISH_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_call call;
	orm_status status = session_enter(session);

	if (status != ORM_OK)
		return status;
	call_begin(&call, session, METHOD_PUBLISH);
	call.request = &request.base;
	call.at = request.at = &at;
	call.draft = &request.draft;
	status = call_unary(&call, &message);
	if (status != ORM_OK)
		return status;

	const Ormd__V1__PublishReply *reply = (const Ormd__V1__PublishReply *)message;

	return call_accept(&call, reply->sync, reply->keys, reply->n_keys);
}

/* ---- commit ---- */

static orm_status ask_once(orm_session *session, int64_t deadline_us, orm_arena *arena,
			   Ormd__V1__CommitStatusReply **reply, orm_error *error)
{
	Ormd__V1__CommitStatusRequest request = ORMD__V1__COMMIT_STATUS_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	rpc_channel *channel = NULL;
	uint64_t n_counted = 0;
	rpc_status status;
	orm_failure failed;

	if (connection_open_other(session->db, deadline_us, &channel, error) != ORM_OK)
		return error->code;
	request.has_client_id = request.has_commit = true;
	request.client_id.data = (uint8_t *)(uintptr_t)rpc_channel_client_id(session->channel);
	request.client_id.len = 16;
	request.commit = session->n_commits;

	const rpc_code code = rpc_channel_call(channel, &ormd__v1__database__descriptor, METHOD_COMMIT_STATUS,
					       &request.base, deadline_us, arena, &message, &status);

	if (code != RPC_OK) {
		failure_read(&status, arena, &failed);
		*error = failed.error;
	}
	connection_count(session->db, channel, &n_counted);
	rpc_channel_close(channel);
	*reply = (Ormd__V1__CommitStatusReply *)message;
	return code == RPC_OK ? ORM_OK : error->code;
}

static void pause_before_next_try(int64_t *pause_us, int64_t deadline_us)
{
	const int64_t left_us = deadline_us - orm_clock_us();
	const int64_t us = left_us < *pause_us ? (left_us > 0 ? left_us : 0) : *pause_us;
	const struct timespec time = {.tv_sec = 0, .tv_nsec = (long)us * 1000};

	nanosleep(&time, NULL);
	if (*pause_us < LONGEST_PAUSE_US)
		*pause_us *= 2;
}

/* Ask until it is known, or the deadline has passed: OUTCOME_UNKNOWN, and *error says what stood in the way. */
static Ormd__V1__CommitOutcome ask_outcome(orm_session *session, int64_t deadline_us, orm_arena *arena,
					   Ormd__V1__CommitStatusReply **reply, orm_error *error)
{
	int64_t pause_us = FIRST_PAUSE_US;

	orm_fail(error, ORM_EUNKNOWN, "the deadline passed");
	while (orm_clock_us() < deadline_us) {
		const orm_status status = ask_once(session, deadline_us, arena, reply, error);

		if (status == ORM_OK && (*reply)->outcome == ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED)
			return (*reply)->outcome;
		if (status == ORM_OK && (*reply)->outcome == ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED)
			return (*reply)->outcome;
		if (status == ORM_ELOST) /* an in-memory database: nothing of it is left */
			return ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED;
		if (status == ORM_OK)
			orm_fail(error, ORM_EUNKNOWN, "the server cannot tell yet");
		else if (status != ORM_EUNAVAILABLE && status != ORM_ETIMEOUT)
			break;
		pause_before_next_try(&pause_us, deadline_us);
	}
	return ORMD__V1__COMMIT_OUTCOME__OUTCOME_UNKNOWN;
}

/*
 * The commit may have been done: no answer came, or the database failed the server in the middle of it (ORM_EUNKNOWN).
 * Its id is in the database if it was: whoever serves the database now settles it. A session whose server is gone, or
 * does not answer, is over either way.
 */
static orm_status settle(orm_call *call)
{
	orm_session *session = call->session;
	Ormd__V1__CommitStatusReply *reply;
	orm_error error;
	orm_status status = ORM_OK;
	const orm_error said = session->error; /* by a server that lives and does not know either */

	orm_error_clear(&session->error);
	switch (ask_outcome(session, call->deadline_us, &session->request, &reply, &error)) {
	case ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED:
		if (reply->result)
			status = call_accept(call, NULL, reply->result->keys, reply->result->n_keys);
		if (status == ORM_OK && orm_mirror_committed(session->mirror, &error) != ORM_OK)
			status = session_fail(session, &error);
		session->over = true;
		return status;
	case ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED:
		if (said.code == ORM_EUNKNOWN) /* its unit is as it was */
			return session_fail_with(session, ORM_ERETRY,
						 "nothing was written, as is known by now; run the unit again: %.400s",
						 said.message);
		return session_fail_with(session, ORM_ELOST,
					 "the server was restarted before the commit, and the session ended with it; "
					 "nothing was written. Open a new session");
	default:
		session->commit_unknown = true;
		return session_fail_with(
			session, ORM_EUNKNOWN,
			"whether the commit was written is not known: %.300s. Ask again with orm_commit_outcome",
			error.message);
	}
}

orm_status orm_commit(orm_session *session)
{
	Ormd__V1__CommitRequest request = ORMD__V1__COMMIT_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_error error = {0};
	orm_call call;
	orm_status status = session_enter(session);

	if (status != ORM_OK)
		return status;
	call_begin(&call, session, METHOD_COMMIT);
	call.request = &request.base;
	call.at = request.at = &at;
	call.draft = &request.draft;
	request.has_commit = true;
	request.commit = ++session->n_commits;
	status = call_unary(&call, &message);
	if (status != ORM_OK)
		return call.unsettled || status == ORM_EUNKNOWN ? settle(&call) : status;

	const Ormd__V1__CommitReply *reply = (const Ormd__V1__CommitReply *)message;
	const Ormd__V1__CommitResult *result = reply->result;

	status = call_accept(&call, reply->sync, result ? result->keys : NULL, result ? result->n_keys : 0);
	if (status == ORM_OK && orm_mirror_committed(session->mirror, &error) != ORM_OK)
		status = session_fail(session, &error);
	return status;
}

orm_status orm_commit_outcome(orm_session *session)
{
	Ormd__V1__CommitStatusReply *reply;
	orm_error error;

	if (!session)
		return ORM_ENOMEM;
	if (!session_usable(session))
		return session_enter(session);
	if (!session->commit_unknown)
		return ORM_ESTATE;
	orm_arena_reset(&session->request);
	switch (ask_outcome(session, orm_deadline_in_ms(session->timeout_ms), &session->request, &reply, &error)) {
	case ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED:
		session->commit_unknown = false;
		session->over = true;
		orm_error_clear(&session->error);
		return ORM_OK;
	case ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED:
		session->commit_unknown = false;
		session_fail_with(session, ORM_ELOST,
				  "the commit was not written and never will be; open a new session");
		return ORM_EABORTED;
	default:
		return ORM_EUNKNOWN;
	}
}

/* ---- rollback ---- */

orm_status orm_rollback(orm_session *session)
{
	Ormd__V1__RollbackRequest request = ORMD__V1__ROLLBACK_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_error error = {0};
	orm_call call;
	orm_status status = session_enter(session);

	if (!session_usable(session) || session->lost || session->commit_unknown)
		return status;
	orm_error_clear(&session->error);
	call_begin(&call, session, METHOD_ROLLBACK);
	call.request = &request.base;
	call.at = request.at = &at;
	/* Until it is answered, only another rollback makes both sides agree. */
	session->draft_unknown = true;
	status = call_unary(&call, &message);
	if (status != ORM_OK)
		return status;
	session->draft_unknown = false;
	if (orm_mirror_rolled_back(session->mirror, &error) != ORM_OK)
		return session_fail(session, &error);
	return call_accept(&call, ((const Ormd__V1__RollbackReply *)message)->sync, NULL, 0);
}

/* ---- waiting for others ---- */

static int wait_once(orm_session *session, int64_t timeout_ms)
{
	Ormd__V1__WaitRequest request = ORMD__V1__WAIT_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_call call;
	const uint64_t seen = orm_mirror_seen(session->mirror);
	const size_t n_unread = session->n_notices - session->next_notice;

	call_begin(&call, session, METHOD_WAIT);
	call.request = &request.base;
	call.at = request.at = &at;
	request.has_timeout_ms = true;
	request.timeout_ms = (uint32_t)timeout_ms;
	/* The time for the way comes on top of what is waited for. */
	if (call.deadline_us != ORM_NO_DEADLINE)
		call.deadline_us += timeout_ms * 1000;

	orm_status status = call_unary(&call, &message);

	if (status == ORM_OK)
		status = call_accept(&call, ((const Ormd__V1__WaitReply *)message)->sync, NULL, 0);
	if (status != ORM_OK)
		return status;
	return orm_mirror_seen(session->mirror) != seen || session->n_notices - session->next_notice > n_unread;
}

int orm_wait(orm_session *session, int64_t timeout_ms)
{
	const int64_t deadline_us = orm_deadline_in_ms(timeout_ms);
	int result = session_enter(session);

	if (result != ORM_OK)
		return result;
	do {
		/* What an earlier call brought is told now, with what has come since: nothing happens unheard between two waits. */
		const int64_t left = session->unheard ? 0 : orm_deadline_left_ms(deadline_us);

		result = wait_once(session, left < LONGEST_WAIT_MS ? left : LONGEST_WAIT_MS);
		if (result == 0 && session->unheard)
			result = 1;
	} while (result == 0 && orm_deadline_left_ms(deadline_us) > 0);
	if (result == 1)
		session->unheard = false;
	return result;
}
