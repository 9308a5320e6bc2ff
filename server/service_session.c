/* SPDX-License-Identifier: MIT */
/* Service Session: the calls of a unit of work, except Open (service_open.c) and those that read rows (service_query.c). */
#include "server/session_call.h"

#include "base/clock.h"
#include "base/error.h"
#include "server/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a thread that others wait for takes on: objects of the unit, and revisions that the caller has not seen. */
enum { SMALL_UNIT = 256, SMALL_NEWS = 16 };

/* ---- what all calls of a session have in common: session_call.h ---- */

static ormd_turn run_session_call(ormd_host *host, ormd_task *task)
{
	ormd_session_call *this = (ormd_session_call *)task;
	orm_error          error = {0};
	this->host = host;
	this->member = ormd_host_member(host, this->at->participant, this->at->fence, &error);
	if (!this->member) {
		if (this->answered)
			*this->answered = true;
		ormd_fail_call(this->call, &error, NULL);
		return ORMD_TURN_OVER;
	}
	this->member->seen = this->at->seen;
	if (this->answered || !ormd_session_may_wait(host->session))
		return this->work(this);

	rpc_server *rpc = host->daemon->rpc;
	ormd_turn   turn = ORMD_TURN_OVER;
	if (ormd_session_call_begin_wait(this, &error) < 0)
		ormd_fail_call(this->call, &error, NULL);
	else
		turn = this->work(this); /* the call, and the host's turn, may be over */
	rpc_server_end_wait(rpc);
	return turn;
}

/* Without a worker left, who is in a transaction must still come to its end. */
orm_status ormd_session_call_begin_wait(ormd_session_call *this, orm_error *error)
{
	if (rpc_server_begin_wait(this->host->daemon->rpc) || ormd_session_transaction_until(this->host->session) != ORM_NO_DEADLINE)
		return ORM_OK;
	return orm_fail(error, ORM_ELIMIT, "too many sessions wait for their transaction; try again later");
}

ormd_session_call *ormd_session_call_new(rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request, ormd_session_work *work)
{
	ormd_session_call *this = at ? orm_arena_calloc(rpc_call_arena(call), 1, sizeof *this) : NULL;
	if (!this)
		return NULL;
	this->task.run = run_session_call;
	this->call = call;
	this->at = at;
	this->request = request;
	this->work = work;
	return this;
}

void ormd_session_call_begin(ormd_daemon *daemon, rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request,
                             ormd_session_work *work)
{
	orm_error  error = {0};
	ormd_host *host = NULL;
	if (!at)
		orm_fail(&error, ORM_EPROTOCOL, "the request does not say which session it belongs to");
	else if (!(host = ormd_host_find(daemon, at->session)))
		orm_fail(&error, ORM_ELOST, "this server has no such session: it has ended, or the server was restarted. Open a new one");
	ormd_session_call *this = host ? ormd_session_call_new(call, at, request, work) : NULL;
	if (!this) {
		if (!error.code)
			orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
		ormd_host_unref(host);
		ormd_fail_call(call, &error, NULL);
		return;
	}
	ormd_host_submit(host, &this->task);
}

bool ormd_session_call_try(ormd_daemon *daemon, rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request,
                           ormd_session_work *work)
{
	ormd_session_call *this = ormd_session_call_new(call, at, request, work);
	ormd_host         *host = this ? ormd_host_find(daemon, at->session) : NULL;
	if (!host)
		return false;
	bool answered = false;
	this->answered = &answered;
	if (!ormd_host_try(host, &this->task))
		ormd_host_unref(host);
	return answered;
}

bool ormd_session_call_is_small(const ormd_session_call *this, const Ormd__V1__Draft *message)
{
	const ormd_session *session = this->host->session;
	if (ormd_session_may_wait(session))
		return false;
	if (ormd_session_n_pending(session) > SMALL_UNIT || ormd_session_revision(session) > this->at->seen + SMALL_NEWS)
		return false;
	for (size_t i = 0; message && i < message->n_adds; i++) {
		const Ormd__V1__Objects *objects = message->adds[i]->objects;
		const Ormd__V1__Batch   *values = objects ? objects->values : NULL;
		const orm_mapper        *mapper = values ? ormd_decode_mapper(ormd_session_registry(session), values->model, NULL) : NULL;
		if (mapper && mapper->generated_key && !ormd_database_has_keys(this->host->daemon->database, mapper, values->rows))
			return false;
	}
	return true;
}

orm_status ormd_session_call_sync(ormd_host *host, uint32_t participant, uint64_t seen, orm_arena *arena, Ormd__V1__Sync **message,
                                  orm_error *error)
{
	ormd_sync  sync = {0};
	orm_status status = ormd_session_sync(host->session, participant, seen, arena, &sync, error);
	if (status < 0)
		return status;
	if (!(*message = ormd_encode_sync(&sync, arena)))
		return orm_fail(error, ORM_ENOMEM, "the server is out of memory");
	size_t size = sync.n_added + sync.n_changed ? ormd__v1__sync__get_packed_size(*message) : 0;
	size_t limit = host->daemon->config->max_message ? host->daemon->config->max_message : rpc_limits_default().max_message;
	if (size <= limit - limit / 4) /* the rest of the reply needs room, too */
		return ORM_OK;
	*message = NULL;
	return orm_fail(error, ORM_ELIMIT,
	                "what others have published is too much for one message: %zu bytes, and the server's max-message is %zu. Raise that, or "
	                "commit, and join again",
	                size, limit);
}

/*
 * The same for a call that has changed something. That must be told, whatever else there is to tell: without the news the caller goes on
 * from the revision that it has seen, and nothing is missed.
 */
static orm_status sync_if_it_fits(ormd_session_call *this, Ormd__V1__Sync **message, orm_error *error)
{
	orm_status status =
		ormd_session_call_sync(this->host, this->at->participant, this->at->seen, rpc_call_arena(this->call), message, error);
	if (status != ORM_ELIMIT)
		return status;
	orm_error_clear(error);
	return ORM_OK;
}

void ormd_session_call_fail(ormd_session_call *this, const orm_error *error, const ormd_published *published, bool draft_published)
{
	/* The caller learns what others did even so: the next try is based on it. */
	ormd_sync       sync = {0};
	ormd_failure    failure = {.published = published, .draft_published = draft_published};
	orm_arena      *arena = rpc_call_arena(this->call);
	orm_error       ignored = {0};
	Ormd__V1__Sync *fits;
	if (ormd_session_call_sync(this->host, this->at->participant, this->at->seen, arena, &fits, &ignored) == ORM_OK &&
	    ormd_session_sync(this->host->session, this->at->participant, this->at->seen, arena, &sync, NULL) == ORM_OK)
		failure.sync = &sync;
	ormd_fail_call(this->call, error, &failure);
}

orm_status ormd_session_call_publish(ormd_session_call *this, const Ormd__V1__Draft *message, bool more, ormd_published *published,
                                     orm_error *error)
{
	ormd_session *session = this->host->session;
	ormd_member  *member = this->member;
	ormd_draft    draft = {0};
	orm_status    status = ormd_decode_draft(ormd_session_registry(session), message, rpc_call_arena(this->call), &draft, error);
	bool          empty = !draft.n_adds && !draft.n_updates && !draft.n_deletes;
	if (status < 0)
		goto out;
	if (!more && !member->drafting) {
		if (empty)
			return ORM_OK;
		return ormd_session_publish(session, member->number, this->at->seen, &draft, rpc_call_arena(this->call), published, error);
	}
	if (!member->drafting) {
		status = ormd_draft_begin(session, member->number, this->at->seen, error);
		member->drafting = status == ORM_OK;
	}
	if (status == ORM_OK && !empty)
		status = ormd_draft_part(session, &draft, rpc_call_arena(this->call), published, error);
	if (status == ORM_OK && !more) {
		member->drafting = false;
		return ormd_draft_end(session, rpc_call_arena(this->call), published, error);
	}
out:
	if (status < 0 && member->drafting) {
		member->drafting = false;
		ormd_draft_cancel(session);
	}
	return status;
}

/* ---- Publish ---- */

static ormd_turn work_publish(ormd_session_call *this)
{
	const Ormd__V1__PublishRequest *request = (const Ormd__V1__PublishRequest *)this->request;
	Ormd__V1__PublishReply          reply = ORMD__V1__PUBLISH_REPLY__INIT;
	orm_arena                      *arena = rpc_call_arena(this->call);
	ormd_published                  published = {0};
	orm_error                       error = {0};
	if (this->answered) {
		if (!ormd_session_call_is_small(this, request->draft))
			return ORMD_TURN_OVER;
		*this->answered = true;
	}
	if (ormd_session_call_publish(this, request->draft, request->more, &published, &error) < 0 ||
	    sync_if_it_fits(this, &reply.sync, &error) < 0) {
		ormd_session_call_fail(this, &error, &published, false);
		return ORMD_TURN_OVER;
	}
	reply.keys = ormd_encode_keys(published.keys, published.n_keys, arena);
	reply.n_keys = reply.keys ? published.n_keys : 0;
	rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
}

static void publish(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_session_call_begin(context, call, ((const Ormd__V1__PublishRequest *)message)->at, message, work_publish);
}

static bool try_publish(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	return ormd_session_call_try(context, call, ((const Ormd__V1__PublishRequest *)message)->at, message, work_publish);
}

/* ---- Commit ---- */

typedef struct commit_call {
	ormd_session_call  *session;
	ormd_published      published;
	ormd_commit_request request;
	bool                small;
	struct commit_call *next; /* to be answered */
	orm_status          status;
	orm_error           error;
} commit_call;

static void answer_commit(commit_call *this)
{
	ormd_session_call *call = this->session;
	ormd_host         *host = call->host;
	orm_arena         *arena = rpc_call_arena(call->call);
	Ormd__V1__CommitReply  reply = ORMD__V1__COMMIT_REPLY__INIT;
	Ormd__V1__CommitResult result = ORMD__V1__COMMIT_RESULT__INIT;
	bool                   committed = this->status == ORM_OK;
	bool                   lost = this->status == ORM_ELOST && host->fence; /* the answer takes `this` along */
	orm_crash_point("before-reply");
	if (committed && sync_if_it_fits(call, &reply.sync, &this->error) == ORM_OK) {
		result.keys = ormd_encode_keys(this->published.keys, this->published.n_keys, arena);
		result.n_keys = result.keys ? this->published.n_keys : 0;
		reply.result = &result;
		rpc_call_reply(call->call, &reply.base);
	} else {
		if (!this->error.code)
			orm_fail(&this->error, this->status < 0 ? this->status : ORM_EINTERNAL, "the commit failed");
		ormd_session_call_fail(call, &this->error, &this->published, true);
	}
	if (lost)
		ormd_host_lose(host);
	ormd_host_release(host);
}

/* One worker answers all commits there are, so that a group costs one waking up. */
static void answer_commits(void *context)
{
	ormd_daemon *daemon = context;
	pthread_mutex_lock(&daemon->answers_lock);
	for (commit_call *first; (first = daemon->first_answer);) {
		if (!(daemon->first_answer = first->next))
			daemon->last_answer = NULL;
		pthread_mutex_unlock(&daemon->answers_lock);
		answer_commit(first);
		pthread_mutex_lock(&daemon->answers_lock);
	}
	daemon->answering = false;
	pthread_mutex_unlock(&daemon->answers_lock);
}

static void queue_answer(ormd_daemon *daemon, commit_call *this)
{
	this->next = NULL;
	pthread_mutex_lock(&daemon->answers_lock);
	if (daemon->last_answer)
		daemon->last_answer->next = this;
	else
		daemon->first_answer = this;
	daemon->last_answer = this;
	bool call = !daemon->answering;
	daemon->answering = true;
	pthread_mutex_unlock(&daemon->answers_lock);
	if (call && !rpc_server_post(daemon->rpc, answer_commits, daemon))
		answer_commits(daemon);
}

/* On the thread that led the group, which others may be waiting for: then it goes on, and a worker answers. To answer one takes less than to wake a worker. */
static void committed(orm_status status, const orm_error *error, void *context)
{
	commit_call *this = context;
	this->status = status;
	if (error)
		this->error = *error;
	ormd_daemon *daemon = this->session->host->daemon;
	if (atomic_fetch_sub(&daemon->n_committing, 1) == 1 && this->small)
		answer_commit(this);
	else
		queue_answer(daemon, this);
}

/* What is kept with the commit's id, for whoever asks after a crash. */
static orm_status pack_result(const ormd_published *published, orm_arena *arena, const void **data, size_t *size, orm_error *error)
{
	Ormd__V1__CommitResult result = ORMD__V1__COMMIT_RESULT__INIT;
	result.keys = ormd_encode_keys(published->keys, published->n_keys, arena);
	result.n_keys = published->n_keys;
	uint8_t *packed = result.keys ? orm_arena_alloc(arena, ormd__v1__commit_result__get_packed_size(&result)) : NULL;
	if (!packed)
		return orm_fail(error, ORM_ENOMEM, "the server is out of memory");
	*size = ormd__v1__commit_result__pack(&result, packed);
	*data = packed;
	return ORM_OK;
}

static ormd_turn work_commit(ormd_session_call *this)
{
	const Ormd__V1__CommitRequest *request = (const Ormd__V1__CommitRequest *)this->request;
	orm_arena                     *arena = rpc_call_arena(this->call);
	orm_error                      error = {0};
	ormd_published                 published = {0};
	bool                           draft_published = false;
	if (this->answered) {
		if (!ormd_session_call_is_small(this, request->draft))
			return ORMD_TURN_OVER;
		*this->answered = true;
	}
	commit_call *commit = orm_arena_calloc(arena, 1, sizeof *commit);
	if (!commit) {
		orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
		goto failed;
	}
	if (!request->commit) {
		orm_fail(&error, ORM_EPROTOCOL, "a commit needs a number from 1");
		goto failed;
	}
	if (ormd_session_check_seen(this->host->session, this->member->number, this->at->seen, &error) < 0 ||
	    ormd_session_call_publish(this, request->draft, false, &published, &error) < 0)
		goto failed;
	draft_published = true;
	commit->session = this;
	commit->small = ormd_session_call_is_small(this, NULL);
	commit->published = published;
	commit->request = (ormd_commit_request){
		.participant = this->member->number,
		.seen = this->at->seen,
		.id = {.number = request->commit},
		.fingerprint = orm_hash_u64(this->host->id ^ orm_hash_u64(ormd_session_revision(this->host->session))),
		.deadline_us = rpc_call_deadline(this->call),
	};
	memcpy(commit->request.id.client_id, rpc_call_peer(this->call)->client_id, sizeof commit->request.id.client_id);
	if (pack_result(&published, arena, &commit->request.result, &commit->request.result_size, &error) < 0)
		goto failed;
	atomic_fetch_add(&this->host->daemon->n_committing, 1);
	ormd_session_commit(this->host->session, &commit->request, committed, commit);
	return ORMD_TURN_HELD;
failed:
	ormd_session_call_fail(this, &error, &published, draft_published);
	return ORMD_TURN_OVER;
}

static void commit(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_session_call_begin(context, call, ((const Ormd__V1__CommitRequest *)message)->at, message, work_commit);
}

static bool try_commit(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	return ormd_session_call_try(context, call, ((const Ormd__V1__CommitRequest *)message)->at, message, work_commit);
}

/* ---- Rollback ---- */

static ormd_turn work_rollback(ormd_session_call *this)
{
	Ormd__V1__RollbackReply reply = ORMD__V1__ROLLBACK_REPLY__INIT;
	orm_error               error = {0};
	if (this->member->drafting) {
		this->member->drafting = false;
		ormd_draft_cancel(this->host->session);
	}
	ormd_session_rollback(this->host->session, this->member->number);
	if (sync_if_it_fits(this, &reply.sync, &error) < 0)
		ormd_session_call_fail(this, &error, NULL, false);
	else
		rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
}

static void rollback(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_session_call_begin(context, call, ((const Ormd__V1__RollbackRequest *)message)->at, message, work_rollback);
}

/* ---- Wait ---- */

static ormd_turn work_wait(ormd_session_call *this)
{
	const Ormd__V1__WaitRequest *request = (const Ormd__V1__WaitRequest *)this->request;
	orm_error                    error = {0};
	/* Answered when the turn ends if there is something already. */
	if (!ormd_host_wait(this->host, this->call, this->member->number, this->at->seen, orm_deadline_in_ms(request->timeout_ms))) {
		orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
		ormd_session_call_fail(this, &error, NULL, false);
	}
	return ORMD_TURN_OVER;
}

static void wait_for_others(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_session_call_begin(context, call, ((const Ormd__V1__WaitRequest *)message)->at, message, work_wait);
}

/* ---- Close ---- */

static ormd_turn work_close(ormd_session_call *this)
{
	Ormd__V1__CloseReply reply = ORMD__V1__CLOSE_REPLY__INIT;
	ormd_host_leave(this->host, this->member, false, "it has left");
	rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
}

static void close_session(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_session_call_begin(context, call, ((const Ormd__V1__CloseRequest *)message)->at, message, work_close);
}

void ormd_service_session_add(ormd_daemon *daemon)
{
	static const rpc_method methods[] = {
		{.name = "Open", .handle = ormd_handle_open},
		{.name = "Publish", .handle = publish, .try_inline = try_publish},
		{.name = "Commit", .handle = commit, .try_inline = try_commit},
		{.name = "Rollback", .handle = rollback},
		{.name = "Query", .handle = ormd_handle_query, .streaming = true},
		{.name = "Get", .handle = ormd_handle_get, .try_inline = ormd_try_get},
		{.name = "Load", .handle = ormd_handle_load, .streaming = true},
		{.name = "Refresh", .handle = ormd_handle_refresh},
		{.name = "Wait", .handle = wait_for_others, .unordered = true},
		{.name = "Close", .handle = close_session},
	};
	rpc_server_add_service(daemon->rpc, &ormd__v1__session__descriptor, methods, sizeof methods / sizeof methods[0], daemon);
}
