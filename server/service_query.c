/* SPDX-License-Identifier: MIT */
/* Service Session: the calls that read rows. Query and Load stream, pulled piece by piece; Get and Refresh answer at once. */
#include "server/session_call.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Cells of one piece of a result, bytes: large enough to be worth a round trip, small enough to overlap reading with using, and for the message to fit
   a local socket's buffer. */
#define PIECE_SIZE (128 * 1024)

/* ---- streams ---- */

/*
 * A result on its way. Made when the query is begun, handed to the rpc layer as the stream's source when the first rows can be had, and
 * ended by its close. Every pull is a task of the host, since it touches the session.
 */
typedef struct result_stream {
	ormd_task    task;          /* the pull under way, or the closing */
	ormd_host   *host;          /* with a reference */
	ormd_query  *query;
	rpc_pull    *pull;
	uint32_t     participant;
	uint64_t     seen;
	bool         begun;         /* the first message, with sync and keys, was sent */
	ormd_key_range *keys;       /* owned; of the draft that came with the call */
	size_t       n_keys;
	/* While it is being begun: */
	ormd_session_call *call;
	orm_arena          arena;   /* the statement's values, and the relationships to load */
} result_stream;

static void free_stream(result_stream *stream)
{
	if (!stream)
		return;
	ormd_query_close(stream->query);
	ormd_host_unref(stream->host);
	orm_arena_fini(&stream->arena);
	free(stream->keys);
	free(stream);
}

static orm_status encode_piece(result_stream *stream, const ormd_piece *piece, orm_arena *arena, Ormd__V1__QueryReply *reply, orm_error *error)
{
	reply->rows = ormd_encode_rows(piece->rows, piece->n_rows, arena);
	reply->n_rows = piece->n_rows;
	reply->related = ormd_encode_rows(piece->related, piece->n_related, arena);
	reply->n_related = piece->n_related;
	reply->loaded = ormd_encode_loaded(piece->loaded, piece->n_loaded, arena);
	reply->n_loaded = piece->n_loaded;
	reply->has_count = true;
	reply->count = piece->count;
	if (!reply->rows || !reply->related || !reply->loaded)
		return orm_fail(error, ORM_ENOMEM, "the server is out of memory");
	if (stream->begun)
		return ORM_OK;
	reply->keys = ormd_encode_keys(stream->keys, stream->n_keys, arena);
	reply->n_keys = reply->keys ? stream->n_keys : 0;
	stream->begun = true;
	return ormd_session_call_sync(stream->host, stream->participant, stream->seen, arena, &reply->sync, error);
}

static ormd_turn run_pull(ormd_host *host, ormd_task *task)
{
	result_stream       *stream = (result_stream *)task;
	rpc_pull            *pull = stream->pull;
	Ormd__V1__QueryReply reply = ORMD__V1__QUERY_REPLY__INIT;
	ormd_piece           piece = {0};
	orm_error            error = {0};
	orm_status           status;
	bool                 waits = ormd_session_may_wait(host->session);
	if (waits) /* another session's call, that is: what can be had is all the same */
		rpc_server_begin_wait(host->daemon->rpc);
	if (host->ended)
		status = orm_fail(&error, ORM_ELOST, "the session has ended");
	else
		status = ormd_query_next(stream->query, PIECE_SIZE, &piece, &error);
	if (status == ORM_OK)
		status = encode_piece(stream, &piece, rpc_pull_arena(pull), &reply, &error);
	if (waits)
		rpc_server_end_wait(host->daemon->rpc);
	if (status < 0)
		ormd_fail_pull(pull, &error);
	else
		rpc_pull_send(pull, &reply.base, piece.last);
	return ORMD_TURN_OVER;
}

static void next_piece(rpc_pull *pull, void *context)
{
	result_stream *stream = context;
	stream->pull = pull;
	stream->task.run = run_pull;
	ormd_host_ref(stream->host);
	ormd_host_submit(stream->host, &stream->task);
}

static ormd_turn run_close(ormd_host *host, ormd_task *task)
{
	(void)host;
	free_stream((result_stream *)task);
	return ORMD_TURN_OVER;
}

static void close_stream(void *context)
{
	/* Never while a pull runs, so the stream's task is free to be used again; but perhaps from inside the host's turn. */
	result_stream *stream = context;
	stream->task.run = run_close;
	ormd_host_ref(stream->host);
	ormd_host_submit(stream->host, &stream->task);
}

/* ---- Query and Load ---- */

/* The first rows can be had, or not: on whichever thread led the turn in the database. */
static void query_ready(orm_status status, const orm_error *error, void *context)
{
	result_stream     *stream = context;
	ormd_session_call *call = stream->call;
	ormd_host         *host = stream->host;
	if (status < 0) {
		orm_error copy = error ? *error : (orm_error){.code = status, .message = "the query failed"};
		ormd_published published = {.keys = stream->keys, .n_keys = stream->n_keys};
		ormd_session_call_fail(call, &copy, &published, true);
		free_stream(stream);
	} else {
		/* Pulls, and the close, wait for the host's turn, which is still this call's. */
		rpc_call_stream(call->call, &(rpc_stream_source){.next = next_piece, .close = close_stream, .context = stream});
	}
	ormd_host_release(host);
}

/* Publish the draft that came along with a call that reads (autoflush): in private sessions only. */
static orm_status publish_along(ormd_session_call *this, const Ormd__V1__Draft *draft, ormd_published *published, orm_error *error)
{
	if (ormd_session_name(this->host->session))
		return orm_fail(error, ORM_EINVAL, "a query in a shared session publishes nothing: flush the draft before");
	return ormd_session_call_publish(this, draft, false, published, error);
}

/* The part of beginning that queries and loads share: the stream, and publishing the draft that came along (autoflush). */
static result_stream *begin_stream(ormd_session_call *this, const Ormd__V1__Draft *draft, orm_error *error)
{
	ormd_published published = {0};
	if (draft && publish_along(this, draft, &published, error) < 0)
		return NULL;
	result_stream *stream = calloc(1, sizeof *stream);
	if (!stream || (published.n_keys && !(stream->keys = calloc(published.n_keys, sizeof *stream->keys)))) {
		free(stream);
		orm_fail(error, ORM_ENOMEM, "the server is out of memory");
		return NULL;
	}
	if (published.n_keys)
		memcpy(stream->keys, published.keys, published.n_keys * sizeof *stream->keys);
	stream->n_keys = published.n_keys;
	stream->host = this->host;
	ormd_host_ref(this->host);
	stream->participant = this->member->number;
	stream->seen = this->at->seen;
	stream->call = this;
	orm_arena_init(&stream->arena, 0);
	return stream;
}

static ormd_turn refuse(ormd_session_call *this, result_stream *stream, const orm_error *error)
{
	ormd_published published = {0};
	if (stream) {
		published.keys = stream->keys;
		published.n_keys = stream->n_keys;
	}
	ormd_session_call_fail(this, error, &published, stream != NULL);
	free_stream(stream);
	return ORMD_TURN_OVER;
}

static ormd_turn work_query(ormd_session_call *this)
{
	const Ormd__V1__QueryRequest *request = (const Ormd__V1__QueryRequest *)this->request;
	orm_error                     error = {0};
	ormd_select                   select;
	ormd_query_options            options = {.populate_existing = request->populate_existing, .deadline_us = rpc_call_deadline(this->call)};
	result_stream                *stream = begin_stream(this, request->draft, &error);
	if (!stream || ormd_decode_statement(ormd_session_registry(this->host->session), request->statement, &stream->arena, &select,
	                                     &options.load, &options.n_load, &error) < 0)
		return refuse(this, stream, &error);
	ormd_session *session = this->host->session;
	rpc_server   *rpc = this->host->daemon->rpc;
	bool          waits = select.lock != ORMD_LOCK_NONE && !ormd_session_may_wait(session); /* else it is known to */
	orm_status    status = waits ? ormd_session_call_begin_wait(this, &error) : ORM_OK;
	if (status == ORM_OK)
		status = ormd_query_open(session, this->member->number, &select, &options, query_ready, stream, &stream->query, &error);
	if (waits)
		rpc_server_end_wait(rpc);
	return status == ORM_OK ? ORMD_TURN_HELD : refuse(this, stream, &error);
}

void ormd_handle_query(rpc_call *call, const ProtobufCMessage *message, void *daemon)
{
	ormd_session_call_begin(daemon, call, ((const Ormd__V1__QueryRequest *)message)->at, message, work_query);
}

static ormd_turn work_load(ormd_session_call *this)
{
	const Ormd__V1__LoadRequest *request = (const Ormd__V1__LoadRequest *)this->request;
	orm_error                    error = {0};
	ormd_session                *session = this->host->session;
	ormd_query_options           options = {.deadline_us = rpc_call_deadline(this->call)};
	result_stream               *stream = begin_stream(this, request->draft, &error);
	const orm_mapper            *mapper = stream ? ormd_decode_mapper(ormd_session_registry(session), request->model, &error) : NULL;
	const orm_relationship      *relationship = mapper ? ormd_decode_relationship(mapper, request->relationship, &error) : NULL;
	if (!relationship)
		return refuse(this, stream, &error);
	if (ormd_load_open(session, this->member->number, relationship, request->objects, request->n_objects, &options, query_ready, stream,
	                   &stream->query, &error) < 0)
		return refuse(this, stream, &error);
	return ORMD_TURN_HELD;
}

void ormd_handle_load(rpc_call *call, const ProtobufCMessage *message, void *daemon)
{
	ormd_session_call_begin(daemon, call, ((const Ormd__V1__LoadRequest *)message)->at, message, work_load);
}

/* ---- Get ---- */

static ormd_turn work_get(ormd_session_call *this)
{
	const Ormd__V1__GetRequest *request = (const Ormd__V1__GetRequest *)this->request;
	Ormd__V1__GetReply          reply = ORMD__V1__GET_REPLY__INIT;
	orm_arena                  *arena = rpc_call_arena(this->call);
	ormd_session               *session = this->host->session;
	ormd_published              published = {0};
	orm_error                   error = {0};
	orm_batch                   keys;
	const ormd_rows            *rows = NULL;
	size_t                      n_rows = 0;
	bool                        complete = true, draft_published = false;
	bool                        in_memory = this->answered != NULL;
	if (request->draft) {
		if (publish_along(this, request->draft, &published, &error) < 0)
			goto failed;
		draft_published = true;
	}
	if (ormd_decode_batch(ormd_session_registry(session), request->keys, arena, &keys, &error) < 0 ||
	    ormd_session_get(session, this->member->number, &keys, in_memory, &complete, rpc_call_deadline(this->call), arena, &rows, &n_rows,
	                     &error) < 0)
		goto failed;
	if (!complete)
		return ORMD_TURN_OVER; /* a worker asks the database */
	if (ormd_session_call_sync(this->host, this->member->number, this->at->seen, arena, &reply.sync, &error) < 0)
		goto failed;
	reply.keys = ormd_encode_keys(published.keys, published.n_keys, arena);
	reply.n_keys = reply.keys ? published.n_keys : 0;
	reply.rows = ormd_encode_rows(rows, n_rows, arena);
	reply.n_rows = reply.rows ? n_rows : 0;
	if (this->answered)
		*this->answered = true;
	rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
failed:
	if (this->answered)
		*this->answered = true;
	ormd_session_call_fail(this, &error, &published, draft_published);
	return ORMD_TURN_OVER;
}

void ormd_handle_get(rpc_call *call, const ProtobufCMessage *message, void *daemon)
{
	ormd_session_call_begin(daemon, call, ((const Ormd__V1__GetRequest *)message)->at, message, work_get);
}

bool ormd_try_get(rpc_call *call, const ProtobufCMessage *message, void *daemon)
{
	const Ormd__V1__GetRequest *request = (const Ormd__V1__GetRequest *)message;
	return !request->draft && ormd_session_call_try(daemon, call, request->at, message, work_get);
}

/* ---- Refresh ---- */

static ormd_turn work_refresh(ormd_session_call *this)
{
	const Ormd__V1__RefreshRequest *request = (const Ormd__V1__RefreshRequest *)this->request;
	Ormd__V1__RefreshReply          reply = ORMD__V1__REFRESH_REPLY__INIT;
	orm_arena                      *arena = rpc_call_arena(this->call);
	orm_error                       error = {0};
	const ormd_rows                *rows = NULL;
	const uint64_t                 *missing = NULL;
	size_t                          n_rows = 0, n_missing = 0;
	if (ormd_session_refresh(this->host->session, this->member->number, request->handles, request->n_handles, rpc_call_deadline(this->call),
	                         arena, &rows, &n_rows, &missing, &n_missing, &error) < 0 ||
	    ormd_session_call_sync(this->host, this->member->number, this->at->seen, arena, &reply.sync, &error) < 0) {
		ormd_session_call_fail(this, &error, NULL, false);
		return ORMD_TURN_OVER;
	}
	reply.rows = ormd_encode_rows(rows, n_rows, arena);
	reply.n_rows = reply.rows ? n_rows : 0;
	reply.missing = (uint64_t *)(uintptr_t)missing;
	reply.n_missing = n_missing;
	rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
}

void ormd_handle_refresh(rpc_call *call, const ProtobufCMessage *message, void *daemon)
{
	ormd_session_call_begin(daemon, call, ((const Ormd__V1__RefreshRequest *)message)->at, message, work_refresh);
}
