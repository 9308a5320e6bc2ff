/* SPDX-License-Identifier: MIT */
#include "client/call.h"

#include "base/clock.h"
#include "base/error.h"
#include "client/connection.h"
#include "client/notices.h"

/* ---- the draft ---- */

static void fill_at(orm_call *call)
{
	*call->at = (Ormd__V1__At)ORMD__V1__AT__INIT;
	call->at->has_session = call->at->has_participant = call->at->has_fence = call->at->has_seen = true;
	call->at->session = call->session->id;
	call->at->participant = call->session->participant;
	call->at->fence = call->session->fence;
	call->at->seen = orm_mirror_seen(call->session->mirror);
}

static orm_status fail_call(orm_call *call, const rpc_status *status);

/*
 * A part ahead of the action. One at a time: the server gives up the whole draft when it refuses a part, and the next
 * part must not begin another one.
 */
static orm_status send_part(orm_call *call, Ormd__V1__Draft *part)
{
	orm_session *session = call->session;
	Ormd__V1__PublishRequest request = ORMD__V1__PUBLISH_REQUEST__INIT;
	ProtobufCMessage *reply;
	rpc_status status;

	request.at = call->at;
	request.draft = part;
	request.has_more = request.more = true;
	if (rpc_channel_call(session->channel, &ormd__v1__session__descriptor, METHOD_PUBLISH, &request.base,
			     call->deadline_us, &session->request, &reply, &status) != RPC_OK)
		return fail_call(call, &status);
	return ORM_OK;
}

orm_status call_prepare(orm_call *call)
{
	orm_session *session = call->session;
	orm_error error = {0};

	if (call->prepared)
		return ORM_OK;
	call->prepared = true;
	fill_at(call);
	/* What was assigned since the last call shows on the other side of its relationship, also when nothing of it travels. */
	if (!call->draft)
		return orm_mirror_settle(session->mirror, &error) == ORM_OK ? ORM_OK : session_fail(session, &error);
	if (orm_draft_build(session->mirror, &session->limits, &session->request, &call->sent, &error) != ORM_OK)
		return session_fail(session, &error);
	if (session->read_only && call->sent.n_parts > 0)
		return session_fail_read_only(session);
	for (size_t i = 0; i + 1 < call->sent.n_parts; i++) {
		const orm_status status = send_part(call, call->sent.parts[i]);

		if (status != ORM_OK)
			return status;
	}
	if (call->sent.n_parts > 0)
		*call->draft = call->sent.parts[call->sent.n_parts - 1];
	return ORM_OK;
}

/* ---- what a reply brings ---- */

orm_status call_keep(orm_session *session, Ormd__V1__Objects *const *objects, size_t n, orm_error *error)
{
	orm_arena *arena = orm_mirror_arena(session->mirror);

	for (size_t i = 0; i < n; i++) {
		const Ormd__V1__Batch *batch = objects[i]->values;

		for (size_t j = 0; batch && j < batch->n_columns; j++) {
			ProtobufCBinaryData *const texts[] = {&batch->columns[j]->text, &batch->columns[j]->blob};

			for (size_t k = 0; k < 2; k++) {
				if (texts[k]->len == 0)
					continue;
				texts[k]->data = orm_arena_memdup(arena, texts[k]->data, texts[k]->len);
				if (!texts[k]->data)
					return orm_fail(error, ORM_ENOMEM, "out of memory");
			}
		}
	}
	return ORM_OK;
}

static orm_status apply(orm_call *call, bool published, const Ormd__V1__Sync *sync, Ormd__V1__KeyRange *const *keys,
			size_t n_keys, orm_error *error)
{
	orm_session *session = call->session;
	orm_status status = ORM_OK;

	if (published && call->draft && !call->accepted && call->sent.n_parts > 0) {
		call->accepted = true;
		status = orm_draft_accept(session->mirror, &call->sent, keys, n_keys, error);
	}
	if (status == ORM_OK && sync)
		status = call_keep(session, sync->added, sync->n_added, error);
	if (status == ORM_OK && sync)
		status = call_keep(session, sync->changed, sync->n_changed, error);
	if (status == ORM_OK)
		status = orm_sync_apply(session->mirror, sync, error);
	if (status == ORM_OK)
		status = notices_take(session, sync, error);
	/* Its own rollback is how a participant says that it knows. */
	if (status == ORM_OK && call->method != METHOD_ROLLBACK)
		status = notices_check_rollback(sync, error);
	return status;
}

orm_status call_accept(orm_call *call, const Ormd__V1__Sync *sync, Ormd__V1__KeyRange *const *keys, size_t n_keys)
{
	orm_error error = {0};

	return apply(call, true, sync, keys, n_keys, &error) == ORM_OK ? ORM_OK : session_fail(call->session, &error);
}

/* ---- what goes wrong ---- */

static bool is_answered(const orm_failure *failed)
{
	return failed->detail != NULL;
}

/* May the server have done it, although it did not say so? Other codes are refusals. */
static bool may_be_done(const orm_failure *failed)
{
	switch (failed->code) {
	case RPC_RESOURCE_EXHAUSTED:
	case RPC_INVALID_ARGUMENT:
	case RPC_UNIMPLEMENTED:
	case RPC_PERMISSION_DENIED:
	case RPC_UNAUTHENTICATED:
		return false;
	default:
		return !is_answered(failed);
	}
}

/*
 * A commit whose fate is open is for the caller to settle: nothing sticks yet. Also one that was executed for sure, but
 * whose answer is gone (RPC_DATA_LOSS): what it wrote is not for a second try to write again.
 */
static bool is_open_commit(const orm_call *call, const orm_failure *failed)
{
	return call->method == METHOD_COMMIT && may_be_done(failed);
}

static orm_status fail_call(orm_call *call, const rpc_status *status)
{
	orm_session *session = call->session;
	orm_failure failed;
	orm_error error = {0};

	connection_count(session->db, session->channel, &session->n_counted);
	failure_read(status, &session->request, &failed);
	call->restarted = rpc_channel_epoch(session->channel) != session->epoch;
	call->unsettled = is_open_commit(call, &failed);
	if (call->unsettled)
		return failed.error.code;
	if (call->restarted)
		orm_fail(&failed.error, ORM_ELOST,
			 "the server was restarted, and the session ended with it; its unit was not written. Open a "
			 "new session");
	else if (may_be_done(&failed) && call->sent.n_parts > 0 && !call->accepted)
		session->draft_unknown = true;

	const orm_status code = session_fail(session, &failed.error);

	/* The first failure is told; one in showing what came with it adds nothing. */
	if (failed.detail && !session->lost)
		apply(call, failed.detail->published, failed.detail->sync, failed.detail->keys, failed.detail->n_keys,
		      &error);
	if (failed.conflicts && !session->lost)
		orm_conflict_take(session->mirror, failed.conflicts, &error);
	return code;
}

/* ---- calls ---- */

orm_arena *call_begin_keeping(orm_call *call, orm_session *session, session_method method)
{
	*call = (orm_call){
		.session = session, .method = method, .deadline_us = orm_deadline_in_ms(session->timeout_ms)};
	return &session->request;
}

orm_arena *call_begin(orm_call *call, orm_session *session, session_method method)
{
	orm_arena_reset(&session->request);
	return call_begin_keeping(call, session, method);
}

const orm_layout *session_layout(orm_session *session, const orm_model *model)
{
	const orm_layout *layout = orm_binding_layout(session->binding, model);

	if (!layout)
		session_fail_with(session, ORM_EINVAL, "%s: the model is not among those that orm_connect was given",
				  model && model->name ? model->name : "NULL");
	return layout;
}

orm_status call_install(orm_session *session, Ormd__V1__Objects *const *objects, size_t n, orm_error *error)
{
	orm_status status = call_keep(session, objects, n, error);

	for (size_t i = 0; i < n && status == ORM_OK; i++)
		status = orm_mirror_install(session->mirror, objects[i], NULL, error);
	return status;
}

orm_status call_unary(orm_call *call, ProtobufCMessage **reply)
{
	orm_session *session = call->session;
	orm_status result = call_prepare(call);
	rpc_status status;

	if (result != ORM_OK)
		return result;
	if (rpc_channel_call(session->channel, &ormd__v1__session__descriptor, call->method, call->request,
			     call->deadline_us, &session->request, reply, &status) != RPC_OK)
		return fail_call(call, &status);
	connection_count(session->db, session->channel, &session->n_counted);
	return ORM_OK;
}

static orm_status take_message(orm_call *call, Ormd__V1__QueryReply *message, bool first, call_take *take,
			       void *context)
{
	orm_session *session = call->session;
	orm_error error = {0};
	orm_status status = ORM_OK;

	if (first)
		status = apply(call, true, message->sync, message->keys, message->n_keys, &error);
	if (status == ORM_OK)
		status = call_keep(session, message->rows, message->n_rows, &error);
	if (status == ORM_OK)
		status = call_keep(session, message->related, message->n_related, &error);
	if (status == ORM_OK)
		status = take(context, message, &error);
	return status == ORM_OK ? ORM_OK : session_fail(session, &error);
}

orm_status call_stream(orm_call *call, call_take *take, void *context)
{
	orm_session *session = call->session;
	orm_status result = call_prepare(call);
	bool first = true;
	rpc_status status;

	if (result != ORM_OK)
		return result;

	rpc_stream *stream = rpc_channel_open_stream(session->channel, &ormd__v1__session__descriptor, call->method,
						     call->request, call->deadline_us, &status);

	if (!stream)
		return fail_call(call, &status);
	while (result == ORM_OK) {
		ProtobufCMessage *message;

		orm_arena_reset(&session->rows);
		if (rpc_stream_next(stream, &session->rows, &message, &status) != RPC_OK) {
			result = fail_call(call, &status);
			break;
		}
		if (!message)
			break;
		result = take_message(call, (Ormd__V1__QueryReply *)message, first, take, context);
		first = false;
	}
	rpc_stream_close(stream);
	connection_count(session->db, session->channel, &session->n_counted);
	orm_arena_reset(&session->rows);
	return result;
}
