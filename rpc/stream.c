/* SPDX-License-Identifier: MIT */
/*
 * Server-streaming answers, pulled by the client one message at a time.
 *
 * A stream is named by the request that opened it (client, lane, seq). Its message 0 is that request's reply,
 * remembered with it; each further one is asked for by number (RPC_KIND_NEXT) and kept until the next number is asked
 * for, so that a repeated question gets the same bytes. One message at a time is under way, so a slow client costs one
 * message.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

enum { ARENA_KEPT = 1 << 20 };

struct rpc_pull {
	rpc_work work; /* first */
	rpc_live_stream *stream;
	rpc_call *call; /* message 0: the call that opened the stream */
	orm_arena arena;
	int64_t deadline;
	rpc_frame asked;
};

struct rpc_live_stream {
	rpc_pull pull;      /* first; its work item also serves for closing */
	rpc_client *client; /* a reference */
	rpc_live_stream *next;
	uint32_t lane;
	uint64_t seq;
	rpc_stream_source source;
	bool pulling;       /* a message is being made: number chunk + 1, or 0 */
	bool finished;      /* the source is closed or about to be; only `last` can be asked for again */
	atomic_bool doomed; /* to be closed when the pull under way ends */
	uint32_t chunk;     /* the last message made */
	nng_msg *last;      /* it; owned; NULL for message 0, which is remembered with the request */
	rpc_slot *slot;     /* who waits for the message being made */
	rpc_conn *conn;     /* who asked last; a reference */
	int64_t expires;
};

static void run_pull(rpc_work *work);
static void end_pull(rpc_pull *pull, rpc_code code, const rpc_status *status, const ProtobufCMessage *message,
		     bool last);
static rpc_live_stream *find(rpc_client *client, uint32_t lane, uint64_t seq);
static void unlink_stream(rpc_live_stream *stream);
static void finish(rpc_live_stream *stream);
static void discard(rpc_live_stream *stream);
static void close_source(rpc_work *work);
static void close_and_free(rpc_work *work);
static void free_stream(rpc_live_stream *stream);
static void take_slot(rpc_live_stream *stream, rpc_slot *slot, rpc_conn *conn);

void rpc_call_stream(rpc_call *call, const rpc_stream_source *source)
{
	rpc_server *server = call->server;
	rpc_client *client = call->client;
	rpc_live_stream *stream = client ? calloc(1, sizeof *stream) : NULL;
	bool ok = stream;
	if (stream) {
		stream->pull.stream = stream;
		stream->pull.call = call;
		stream->pull.deadline = call->deadline;
		orm_arena_init(&stream->pull.arena, 0);
		stream->client = client;
		stream->lane = call->frame.lane;
		stream->seq = call->frame.seq;
		stream->source = *source;
		stream->pulling = true;
		stream->conn = call->conn;
		pthread_mutex_lock(&client->lock);
		ok = client->n_streams < server->limits.max_streams;
		if (ok) {
			rpc_client_ref(client);
			atomic_fetch_add(&stream->conn->refs, 1);
			client->n_streams++;
			stream->next = client->streams;
			client->streams = stream;
		}
		pthread_mutex_unlock(&client->lock);
	}
	if (!ok) {
		free(stream);
		if (source->close)
			source->close(source->context);
		rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no room for another stream: a client has at most %u open",
			      server->limits.max_streams);
		return;
	}
	atomic_fetch_add(&server->n_streams, 1);
	stream->pull.work.run = run_pull;
	if (rpc_workers_is_one(&server->workers))
		run_pull(&stream->pull.work);
	else
		rpc_workers_put(&server->workers, &stream->pull.work);
}

orm_arena *rpc_pull_arena(rpc_pull *pull)
{
	return &pull->arena;
}

int64_t rpc_pull_deadline(const rpc_pull *pull)
{
	return pull->deadline;
}

bool rpc_pull_cancelled(const rpc_pull *pull)
{
	rpc_live_stream *stream = pull->stream;
	int64_t now = orm_clock_us();
	if (pull->call && rpc_call_is_over(pull->call, now))
		return true;
	if (atomic_load(&stream->doomed) || atomic_load(&stream->client->server->closing))
		return true;
	if (pull->deadline != ORM_NO_DEADLINE && now >= pull->deadline)
		return true;
	pthread_mutex_lock(&stream->client->lock);
	bool gone = rpc_conn_gone(stream->conn, now, RPC_REATTACH_MS);
	pthread_mutex_unlock(&stream->client->lock);
	return gone;
}

void rpc_pull_send(rpc_pull *pull, const ProtobufCMessage *message, bool last)
{
	end_pull(pull, RPC_OK, NULL, message, last);
}

void rpc_pull_fail(rpc_pull *pull, rpc_code code, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	rpc_pull_fail_with(pull, &(rpc_status){.code = code, .message = text});
}

void rpc_pull_fail_with(rpc_pull *pull, const rpc_status *status)
{
	assert(status->code != RPC_OK);
	end_pull(pull, status->code, status, NULL, true);
}

void rpc_stream_serve_next(rpc_client *client, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame)
{
	rpc_server *server = client->server;
	rpc_slot *superseded = NULL;
	nng_msg *again = NULL;
	enum { UNKNOWN, OUT_OF_RANGE, START, ATTACHED, REPEATED } what = UNKNOWN;

	pthread_mutex_lock(&client->lock);
	rpc_live_stream *stream = find(client, frame->lane, frame->seq);
	if (stream && !stream->pull.call && !stream->finished && frame->chunk != 0 &&
	    frame->chunk - 1 == stream->chunk) {
		what = stream->pulling ? ATTACHED : START;
		superseded = stream->slot;
		take_slot(stream, slot, conn);
		if (what == START) {
			stream->pulling = true;
			stream->pull.asked = *frame;
			stream->pull.deadline = ORM_NO_DEADLINE;
			if (frame->deadline_ms != RPC_FRAME_NO_DEADLINE)
				stream->pull.deadline = orm_clock_us() + (int64_t)frame->deadline_ms * 1000;
		}
	} else if (stream && stream->last && frame->chunk == stream->chunk) {
		what = REPEATED;
		if (nng_msg_dup(&again, stream->last) != 0)
			again = NULL;
	} else if (stream) {
		what = OUT_OF_RANGE;
	}
	pthread_mutex_unlock(&client->lock);

	switch (what) {
	case UNKNOWN:
		rpc_slot_refuse(slot, RPC_NOT_FOUND, RPC_FLAG_NOT_EXECUTED,
				"there is no such stream: it has ended, or was not read for too long");
		break;
	case OUT_OF_RANGE:
		rpc_slot_refuse(slot, RPC_OUT_OF_RANGE, RPC_FLAG_NOT_EXECUTED,
				"the stream has no message %u to give now", frame->chunk);
		break;
	case START:
		rpc_server_busy(server);
		stream->pull.work.run = run_pull;
		rpc_workers_put(&server->workers, &stream->pull.work);
		break;
	case ATTACHED:
		rpc_slot_refuse(superseded, RPC_ABORTED, RPC_FLAG_SUPERSEDED,
				"superseded by a repetition of this request");
		break;
	case REPEATED:
		atomic_fetch_add(&server->n_replayed, 1);
		rpc_slot_send(slot, again);
		break;
	}
}

void rpc_stream_cancel(rpc_client *client, uint32_t lane, uint64_t seq)
{
	pthread_mutex_lock(&client->lock);
	rpc_live_stream *stream = find(client, lane, seq);
	bool idle = stream && !stream->pulling;
	if (idle)
		unlink_stream(stream);
	else if (stream)
		atomic_store(&stream->doomed, true);
	pthread_mutex_unlock(&client->lock);
	if (idle)
		discard(stream);
}

void rpc_streams_sweep(rpc_client *client, int64_t now, bool all)
{
	if (!all)
		rpc_calls_sweep(client, now);
	for (;;) {
		rpc_live_stream *over = NULL;
		pthread_mutex_lock(&client->lock);
		for (rpc_live_stream *stream = client->streams; stream && !over; stream = stream->next) {
			bool due =
				all || now >= stream->expires || rpc_conn_gone(stream->conn, now, RPC_CLIENT_MEMORY_MS);
			if (stream->pulling && all)
				atomic_store(&stream->doomed, true);
			if (!stream->pulling && due)
				over = stream;
		}
		if (over)
			unlink_stream(over);
		pthread_mutex_unlock(&client->lock);
		if (!over)
			return;
		discard(over);
	}
}

static void run_pull(rpc_work *work)
{
	rpc_pull *pull = (rpc_pull *)work;
	if (rpc_pull_cancelled(pull)) {
		bool late = pull->deadline != ORM_NO_DEADLINE && orm_clock_us() >= pull->deadline;
		rpc_pull_fail(pull, late ? RPC_DEADLINE_EXCEEDED : RPC_CANCELLED,
			      late ? "the deadline passed" : "cancelled");
		return;
	}
	pull->stream->source.next(pull, pull->stream->source.context);
}

static void end_pull(rpc_pull *pull, rpc_code code, const rpc_status *status, const ProtobufCMessage *message,
		     bool last)
{
	rpc_live_stream *stream = pull->stream;
	rpc_client *client = stream->client;
	rpc_server *server = client->server;
	rpc_call *call = pull->call;
	rpc_slot *slot = NULL;
	const rpc_frame *asked = call ? &call->frame : &pull->asked;

	unsigned flags = RPC_FLAG_STREAM | (last ? RPC_FLAG_LAST : 0U) | (message ? 0U : RPC_FLAG_EMPTY);
	nng_msg *reply = rpc_reply_message(server, asked, &code, flags, call ? call->reply_metadata : NULL,
					   call ? call->n_reply_metadata : 0, status, message);
	if (code != RPC_OK && !last) { /* the message was too large */
		last = true;
		if (reply)
			((uint8_t *)nng_msg_body(reply))[7] |= RPC_FLAG_LAST;
	}
	nng_msg *copy = NULL;
	if (!call && reply && nng_msg_dup(&copy, reply) != 0)
		copy = NULL;
	if (pull->arena.size > ARENA_KEPT) {
		orm_arena_fini(&pull->arena);
		orm_arena_init(&pull->arena, 0);
	} else {
		orm_arena_reset(&pull->arena);
	}

	rpc_client_ref(client); /* the stream may be freed by another thread once it is not pulling */
	pthread_mutex_lock(&client->lock);
	bool over = atomic_load(&stream->doomed) || (last && call);
	stream->pulling = false;
	pull->call = NULL;
	stream->chunk = asked->chunk;
	stream->expires = orm_clock_us() + (int64_t)server->limits.stream_lease_ms * 1000;
	nng_msg_free(stream->last);
	stream->last = copy;
	slot = stream->slot;
	stream->slot = NULL;
	bool finishing = last && !over;
	if (over)
		unlink_stream(stream);
	else if (last)
		stream->finished = stream->pulling = true; /* held until its source is closed */
	pthread_mutex_unlock(&client->lock);

	if (call)
		rpc_call_end(call, code, reply);
	else
		rpc_slot_send(slot, reply);
	if (over)
		discard(stream);
	else if (finishing)
		finish(stream);
	if (!call)
		rpc_server_done(server);
	rpc_client_unref(client);
}

static rpc_live_stream *find(rpc_client *client, uint32_t lane, uint64_t seq)
{
	rpc_live_stream *stream = client->streams;
	while (stream && (stream->seq != seq || stream->lane != lane))
		stream = stream->next;
	return stream;
}

/* With the client's lock held. */
static void unlink_stream(rpc_live_stream *stream)
{
	rpc_live_stream **link = &stream->client->streams;
	while (*link != stream)
		link = &(*link)->next;
	*link = stream->next;
	if (!stream->finished)
		stream->client->n_streams--;
}

/* The source is done with; the last message stays for a while. On a worker's thread, or handed to one. */
static void finish(rpc_live_stream *stream)
{
	rpc_workers *workers = &stream->client->server->workers;
	stream->pull.work.run = close_source;
	if (rpc_workers_is_one(workers))
		close_source(&stream->pull.work);
	else
		rpc_workers_put(workers, &stream->pull.work);
}

/* The stream is unlinked and nobody's any more. */
static void discard(rpc_live_stream *stream)
{
	rpc_workers *workers = &stream->client->server->workers;
	stream->pull.work.run = close_and_free;
	if (rpc_workers_is_one(workers))
		close_and_free(&stream->pull.work);
	else
		rpc_workers_put(workers, &stream->pull.work);
}

static void close_source(rpc_work *work)
{
	rpc_live_stream *stream = (rpc_live_stream *)work;
	rpc_client *client = stream->client;
	if (stream->source.close)
		stream->source.close(stream->source.context);
	atomic_fetch_sub(&client->server->n_streams, 1);
	pthread_mutex_lock(&client->lock);
	client->n_streams--;
	stream->source = (rpc_stream_source){0};
	stream->pulling = false;
	bool over = atomic_load(&stream->doomed);
	if (over)
		unlink_stream(stream);
	pthread_mutex_unlock(&client->lock);
	if (over)
		free_stream(stream);
}

static void close_and_free(rpc_work *work)
{
	rpc_live_stream *stream = (rpc_live_stream *)work;
	if (!stream->finished) {
		if (stream->source.close)
			stream->source.close(stream->source.context);
		atomic_fetch_sub(&stream->client->server->n_streams, 1);
	}
	free_stream(stream);
}

static void free_stream(rpc_live_stream *stream)
{
	rpc_client *client = stream->client;
	nng_msg_free(stream->last);
	rpc_conn_unref(stream->conn);
	orm_arena_fini(&stream->pull.arena);
	free(stream);
	rpc_client_unref(client);
}

/* With the client's lock held. */
static void take_slot(rpc_live_stream *stream, rpc_slot *slot, rpc_conn *conn)
{
	stream->slot = slot;
	if (stream->conn != conn) {
		rpc_conn_unref(stream->conn);
		atomic_fetch_add(&conn->refs, 1);
		stream->conn = conn;
	}
}
