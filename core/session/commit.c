/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/crash_point.h"
#include "base/error.h"
#include "session/commit_row.h"
#include "session/directory.h"
#include "session/flush.h"
#include "session/flush_fail.h"
#include "session/transaction.h"

/* ---- committing --------------------------------------------------------------------------------------------- */

typedef struct commit_job {
	ormd_job job;
	ormd_session *session;
	ormd_commit_request request;
	ormd_flush flush;
	ormd_finished *finished;
	void *context;
} commit_job;

/* The id is there already: from a try whose outcome got lost, or from somebody who settled it. */
static orm_status judge_earlier(const ormd_commit_request *request, const ormd_commit_row *row, orm_error *error)
{
	const unsigned long long number = request->id.number;

	if (!row->result)
		return orm_fail(error, ORM_EABORTED,
				"commit %llu was settled as aborted before it came; nothing was written, commit again",
				number);
	if (row->fingerprint != request->fingerprint)
		return orm_fail(
			error, ORM_EINVAL,
			"commit %llu has been made with other contents; count commits up, and not in two processes",
			number);
	return ORM_OK;
}

static orm_status run_commit(ormd_connection *connection, void *context, orm_error *error)
{
	commit_job *commit = context;
	const ormd_commit_request *request = &commit->request;
	ormd_commit_row row = {.id = request->id,
			       .fingerprint = request->fingerprint,
			       .result = request->result ? request->result : "",
			       .result_size = request->result ? request->result_size : 0};
	bool inserted = false;
	orm_arena arena;
	orm_status status;

	orm_arena_init(&arena, 0);
	status = ormd_commit_row_insert(connection, &row, &arena, &inserted, error);
	if (status == ORM_OK && !inserted)
		status = judge_earlier(request, &row, error);
	orm_arena_fini(&arena);
	if (status != ORM_OK || !inserted)
		return status;
	orm_crash_point("after-key-insert");
	/* After the id, which tells a commit that happened before the name was taken over. */
	if (commit->session->fence)
		status = ormd_directory_check(connection, commit->session->name, commit->session->fence, error);
	if (status == ORM_OK)
		status = ormd_commit_row_clean(connection, &request->id, error);
	if (status == ORM_OK)
		status = ormd_flush_run(&commit->flush, connection, error);
	orm_crash_point("after-flush");
	return status;
}

/* The database has it: the objects' turn. */
static void settle_unit(commit_job *commit)
{
	ormd_unit_settle_begin(commit->session, commit->request.participant);
	ormd_flush_apply(&commit->flush);
	ormd_unit_settle(commit->session, commit->request.participant);
}

static void end_commit(orm_status status, const orm_error *error, void *context)
{
	commit_job *commit = context;
	ormd_finished *finished = commit->finished;
	void *finished_context = commit->context;
	orm_error copy = {0};

	if (error)
		copy = *error; /* the job's own, which goes now */
	if (status == ORM_OK)
		settle_unit(commit);
	else
		ormd_fail_name_model(commit->session->registry, &copy);
	ormd_flush_fini(&commit->flush);
	free(commit);
	finished(status, &copy, finished_context);
}

/* For failures before there is a job. */
static void fail_now(commit_job *commit, const orm_error *error, ormd_finished *finished, void *context)
{
	if (commit)
		ormd_flush_fini(&commit->flush);
	free(commit);
	finished(error->code, error, context);
}

/* ---- in the session's own transaction ----------------------------------------------------------------------- */

static orm_status write_in_transaction(commit_job *commit, orm_error *error)
{
	ormd_session *session = commit->session;
	int64_t deadline_us = commit->request.deadline_us;
	orm_status status = ormd_transaction_enter(session, ORMD_LOCK_NONE, &deadline_us, error);

	if (status != ORM_OK)
		return status;
	status = run_commit(session->pin, commit, error);
	/* Before the COMMIT, which would take the transaction along. */
	if (status == ORM_OK && session->pin->driver->check_deferred)
		status = session->pin->driver->check_deferred(session->pin, error);
	return ormd_transaction_leave(session, status, true, error);
}

/* The COMMIT may have happened: its id tells. */
static orm_status find_outcome(commit_job *commit, orm_error *error)
{
	ormd_session *session = commit->session;
	const ormd_commit_request *request = &commit->request;
	ormd_outcome outcome = ORMD_OUTCOME_UNKNOWN;
	const void *result = NULL;
	size_t result_size = 0;
	orm_error ignored;
	orm_arena arena;
	orm_status status;

	orm_arena_init(&arena, 0);
	status = ormd_commit_settle(session->database, &request->id, request->deadline_us, &arena, &outcome, &result,
				    &result_size, &ignored);
	orm_arena_fini(&arena);
	if (status != ORM_OK)
		return ORM_EUNKNOWN;
	ormd_transaction_end(session); /* only what was remembered of its loss */
	if (outcome == ORMD_OUTCOME_COMMITTED)
		return ORM_OK;
	orm_fail(&session->lost, ORM_ERETRY,
		 "the connection was lost during the commit, and nothing was written; call orm_rollback, then run the "
		 "unit again");
	*error = session->lost;
	return ORM_ERETRY;
}

static void commit_in_transaction(commit_job *commit, bool pending)
{
	ormd_session *session = commit->session;
	orm_error error = {0};
	orm_status status = pending ? write_in_transaction(commit, &error) : ORM_OK;

	if (status == ORM_OK)
		status = ormd_transaction_commit(session, &error);
	if (status == ORM_EUNKNOWN && pending)
		status = find_outcome(commit, &error);
	else if (status == ORM_EUNKNOWN)
		status = orm_fail(&error, ORM_ERETRY,
				  "the connection was lost; nothing was to be written, run the unit again");
	if (pending) {
		end_commit(status, &error, commit);
		return;
	}

	ormd_finished *finished = commit->finished;
	void *context = commit->context;

	free(commit);
	finished(status, &error, context);
}

void ormd_session_commit(ormd_session *session, const ormd_commit_request *request, ormd_finished *finished,
			 void *context)
{
	const bool pending = ormd_unit_pending(session);
	orm_error error = {0};
	commit_job *commit = NULL;

	if (ormd_session_check_seen(session, request->participant, request->seen, &error) != ORM_OK) {
		fail_now(NULL, &error, finished, context);
		return;
	}
	if (!pending && !session->pin) {
		finished(ORM_OK, &error, context);
		return;
	}
	if (request->id.number == 0 || request->id.number > INT64_MAX || request->result_size > UINT32_MAX) {
		orm_fail(&error, ORM_EINVAL, "a commit's number counts from 1, and its result is less than 4 GiB");
		fail_now(NULL, &error, finished, context);
		return;
	}
	commit = calloc(1, sizeof *commit);
	if (!commit) {
		orm_fail(&error, ORM_ENOMEM, "out of memory");
		fail_now(NULL, &error, finished, context);
		return;
	}
	if (pending && ormd_flush_init(&commit->flush, session, true, &error) != ORM_OK) {
		fail_now(commit, &error, finished, context);
		return;
	}
	commit->session = session;
	commit->request = *request;
	commit->finished = finished;
	commit->context = context;
	commit->job = (ormd_job){.run = run_commit,
				 .done = end_commit,
				 .context = commit,
				 .end = ORMD_JOB_COMMIT,
				 .deadline_us = request->deadline_us};
	if (ormd_transaction_is_wanted(session)) {
		commit_in_transaction(commit, pending);
		return;
	}
	ormd_database_submit(session->database, &commit->job);
}

/* ---- settling ----------------------------------------------------------------------------------------------- */

typedef struct settle_job {
	ormd_commit_row row;
	orm_arena *arena;
	ormd_outcome outcome;
} settle_job;

static orm_status run_settle(ormd_connection *connection, void *context, orm_error *error)
{
	settle_job *settle = context;
	bool inserted = false;
	orm_status status;

	settle->row = (ormd_commit_row){.id = settle->row.id};
	status = ormd_commit_row_insert(connection, &settle->row, settle->arena, &inserted, error);
	settle->outcome = inserted || !settle->row.result ? ORMD_OUTCOME_ABORTED : ORMD_OUTCOME_COMMITTED;
	return status;
}

orm_status ormd_commit_settle(ormd_database *database, const ormd_commit_id *id, int64_t deadline_us, orm_arena *arena,
			      ormd_outcome *outcome, const void **result, size_t *result_size, orm_error *error)
{
	settle_job settle = {.row = {.id = *id}, .arena = arena};
	ormd_job job = {.run = run_settle, .context = &settle, .end = ORMD_JOB_COMMIT, .deadline_us = deadline_us};
	const orm_status status = ormd_database_run(database, &job, error);

	if (status != ORM_OK)
		return status;
	*outcome = settle.outcome;
	*result = settle.outcome == ORMD_OUTCOME_COMMITTED ? settle.row.result : NULL;
	*result_size = settle.outcome == ORMD_OUTCOME_COMMITTED ? settle.row.result_size : 0;
	return ORM_OK;
}
