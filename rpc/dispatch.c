/* SPDX-License-Identifier: MIT */
/*
 * From a received frame to a running call. The order of the checks is part of the protocol: form, version, kind, epoch,
 * client, method, number, load; only then is protobuf parsed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

static void serve_hello(rpc_server *server, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame);
static void refuse_epoch(rpc_server *server, rpc_slot *slot);
static void refuse_client(rpc_slot *slot, rpc_code code);
static void serve_one_way(rpc_server *server, rpc_conn *conn, const rpc_frame *frame);
static void serve_request(rpc_server *server, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame, nng_msg *message);
static void serve_ordered(rpc_call *call, rpc_slot *slot, uint64_t fingerprint);
static void serve_unordered(rpc_call *call, uint64_t fingerprint);
static void refuse_number(rpc_slot *slot, rpc_admission admission);
static void start_on_network(rpc_call *call);
static void run_on_worker(rpc_work *work);
static bool prepare(rpc_call *call);

static const rpc_method_entry *find_method(const rpc_server *server, const rpc_frame *frame);
static bool is_method(const void *value, const void *key);

void rpc_dispatch(rpc_server *server, rpc_slot *slot, rpc_conn *conn, nng_msg *message)
{
	rpc_frame frame;
	if (!rpc_frame_decode(&frame, nng_msg_body(message), nng_msg_len(message))) {
		atomic_fetch_add(&server->n_refused, 1);
		if (!slot->sink)
			rpc_conn_hang_up(conn);
		nng_msg_free(message);
		rpc_slot_again(slot);
		return;
	}
	slot->asked = frame;
	if (frame.major != RPC_FRAME_MAJOR) {
		rpc_slot_refuse(slot, RPC_UNIMPLEMENTED, RPC_FLAG_NOT_EXECUTED,
				"protocol version %u is not spoken here, only version %u", frame.major,
				RPC_FRAME_MAJOR);
	} else if (frame.kind == RPC_KIND_HELLO) {
		serve_hello(server, slot, conn, &frame);
	} else if (frame.kind == RPC_KIND_CANCEL || frame.kind == RPC_KIND_CLOSE) {
		serve_one_way(server, conn, &frame);
		rpc_slot_again(slot);
	} else if (frame.kind == RPC_KIND_BYE) {
		rpc_code ok = RPC_OK;
		atomic_store(&conn->said_bye, true);
		rpc_slot_send(slot, rpc_reply_message(server, &frame, &ok, RPC_FLAG_LAST, NULL, 0, NULL, NULL));
	} else if (frame.kind != RPC_KIND_REQUEST && frame.kind != RPC_KIND_NEXT) {
		rpc_slot_refuse(slot, RPC_UNIMPLEMENTED, RPC_FLAG_NOT_EXECUTED, "unknown kind of frame: %u",
				frame.kind);
	} else if (frame.epoch && frame.epoch != server->epoch) {
		refuse_epoch(server, slot);
	} else if (frame.kind == RPC_KIND_REQUEST) {
		serve_request(server, slot, conn, &frame, message); /* takes the message */
		return;
	} else {
		rpc_code code = RPC_FAILED_PRECONDITION;
		rpc_client *client = NULL;
		if (!rpc_client_id_is_zero(frame.client_id))
			client = rpc_peers_bind(server, conn, frame.client_id, &code);
		if (client)
			rpc_stream_serve_next(client, slot, conn, &frame);
		else
			refuse_client(slot, code);
	}
	nng_msg_free(message);
}

void rpc_call_start(rpc_call *call)
{
	call->work.run = run_on_worker;
	rpc_workers_put(&call->server->workers, &call->work);
}

static void serve_hello(rpc_server *server, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame)
{
	rpc_code code = RPC_OK;
	if (!rpc_client_id_is_zero(frame->client_id) && !rpc_peers_bind(server, conn, frame->client_id, &code)) {
		refuse_client(slot, code);
		return;
	}
	code = RPC_OK;
	rpc_slot_send(slot, rpc_reply_message(server, frame, &code, RPC_FLAG_LAST, NULL, 0, NULL, NULL));
}

static void refuse_epoch(rpc_server *server, rpc_slot *slot)
{
	char text[24];
	int size = snprintf(text, sizeof text, "%" PRIu64, server->epoch);

	rpc_metadata metadata = {"ormd-epoch", text, (size_t)size};
	rpc_status status = {.message = "the server has been restarted"};
	rpc_code code = RPC_UNAVAILABLE;
	atomic_fetch_add(&server->n_refused, 1);
	rpc_slot_send(slot, rpc_reply_message(server, &slot->asked, &code, RPC_FLAG_NOT_EXECUTED | RPC_FLAG_LAST,
					      &metadata, 1, &status, NULL));
}

static void refuse_client(rpc_slot *slot, rpc_code code)
{
	const char *why = "no room for another client";
	if (code == RPC_PERMISSION_DENIED)
		why = "this client id belongs to another connection's client or to another user";
	else if (code == RPC_FAILED_PRECONDITION)
		why = "a client id is needed for this call";
	else if (code == RPC_CANCELLED)
		why = "the connection is closing";
	rpc_slot_refuse(slot, code, RPC_FLAG_NOT_EXECUTED, "%s", why);
}

static void serve_one_way(rpc_server *server, rpc_conn *conn, const rpc_frame *frame)
{
	rpc_client *client = atomic_load(&conn->client);
	if (!client || frame->epoch != server->epoch || memcmp(client->id, frame->client_id, RPC_CLIENT_ID_SIZE) != 0)
		return;
	if (frame->kind == RPC_KIND_CANCEL)
		rpc_call_cancel(client, frame->lane, frame->seq);
	rpc_stream_cancel(client, frame->lane, frame->seq);
}

static void serve_request(rpc_server *server, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame, nng_msg *message)
{
	rpc_code code = RPC_OK;
	rpc_client *client = NULL;
	if (!rpc_client_id_is_zero(frame->client_id))
		client = rpc_peers_bind(server, conn, frame->client_id, &code);
	const rpc_method_entry *entry = find_method(server, frame);
	if (!client && code == RPC_OK && entry && !entry->method->unordered)
		code = RPC_FAILED_PRECONDITION;
	if (code != RPC_OK && !client) {
		refuse_client(slot, code);
		nng_msg_free(message);
		return;
	}
	if (client && frame->seq == 0) {
		rpc_slot_refuse(slot, RPC_INVALID_ARGUMENT, RPC_FLAG_NOT_EXECUTED, "calls are numbered from 1");
		nng_msg_free(message);
		return;
	}
	rpc_call *call = rpc_call_new(server);
	if (!call) {
		rpc_slot_refuse(slot, RPC_RESOURCE_EXHAUSTED, RPC_FLAG_NOT_EXECUTED, "out of memory");
		nng_msg_free(message);
		return;
	}
	int64_t now = orm_clock_us();
	call->entry = entry;
	call->message = message;
	call->frame = *frame;
	call->began = now;
	call->deadline = ORM_NO_DEADLINE;
	if (frame->deadline_ms != RPC_FRAME_NO_DEADLINE)
		call->deadline = now + (int64_t)frame->deadline_ms * 1000;
	call->slot = slot;
	call->conn = call->waiting_conn = conn;
	atomic_fetch_add(&conn->refs, 2);
	call->client = client;
	if (client)
		rpc_client_ref(client);
	uint64_t fingerprint = 0;
	if (client) {
		fingerprint = orm_hash_bytes(frame->payload, frame->payload_size) +
			      orm_hash_u64(orm_hash_bytes(frame->path, frame->path_size));
	}
	if (client && !(entry && entry->method->unordered))
		serve_ordered(call, slot, fingerprint);
	else
		serve_unordered(call, fingerprint);
}

static void serve_ordered(rpc_call *call, rpc_slot *slot, uint64_t fingerprint)
{
	rpc_server *server = call->server;
	rpc_client *client = call->client;
	const rpc_frame *frame = &call->frame;
	rpc_entry *entry;
	rpc_slot *superseded = NULL;
	rpc_call *due = NULL;
	nng_msg *refusal = NULL;

	bool full = rpc_conn_full(call->conn, &server->limits);
	bool draining = atomic_load(&server->draining);

	call->in_lane = true;
	rpc_server_busy(server);
	pthread_mutex_lock(&client->lock);
	rpc_call *acked = rpc_lanes_ack(&client->lanes, frame->lane, frame->ack_seq);
	rpc_admission admission = rpc_lanes_admit(&client->lanes, frame->lane, frame->seq, fingerprint, call, &entry);
	switch (admission) {
	case RPC_ADMIT_RUN:
	case RPC_ADMIT_HOLD:
		if (!full && !draining)
			break;
		{ /* Not run, but its number is used up, so that the next ones do not wait for it. */
			rpc_code code = draining ? RPC_UNAVAILABLE : RPC_RESOURCE_EXHAUSTED;
			rpc_status status = {.message = draining ? "the server is draining: connect again later"
								 : "too many requests under way on this connection"};
			refusal = rpc_reply_message(server, frame, &code, RPC_FLAG_NOT_EXECUTED | RPC_FLAG_LAST, NULL,
						    0, &status, NULL);
			due = rpc_lanes_end(&client->lanes, frame->lane, frame->seq,
					    refusal ? nng_msg_body(refusal) : NULL, refusal ? nng_msg_len(refusal) : 0);
		}
		break;
	case RPC_ADMIT_ATTACH: {
		rpc_call *running = entry->call;
		rpc_conn *old = running->waiting_conn;
		superseded = running->slot;
		running->slot = slot;
		running->waiting_conn = call->waiting_conn;
		call->waiting_conn = old;
		break;
	}
	case RPC_ADMIT_REPLAY:
		atomic_fetch_add_explicit(&server->n_replayed, 1, memory_order_relaxed);
		if (entry->kept && nng_msg_alloc(&refusal, entry->size) == 0)
			memcpy(nng_msg_body(refusal), entry->reply, entry->size);
		break;
	default:
		break;
	}
	bool kept = entry && entry->kept;
	pthread_mutex_unlock(&client->lock);
	if (acked)
		rpc_call_start(acked);
	if (due)
		rpc_call_start(due);

	if (admission == RPC_ADMIT_RUN && !full && !draining) {
		start_on_network(call);
		return;
	}
	if (admission == RPC_ADMIT_HOLD && !full && !draining)
		return;
	rpc_call_free(call);
	rpc_server_done(server);
	if (superseded) {
		rpc_slot_refuse(superseded, RPC_ABORTED, RPC_FLAG_SUPERSEDED,
				"superseded by a repetition of this request");
	} else if (admission == RPC_ADMIT_REPLAY && !kept) {
		rpc_slot_refuse(slot, RPC_DATA_LOSS, 0,
				"the call has been executed, but its reply was too large to keep");
	} else if (admission == RPC_ADMIT_RUN || admission == RPC_ADMIT_HOLD || admission == RPC_ADMIT_REPLAY) {
		if (admission != RPC_ADMIT_REPLAY)
			atomic_fetch_add(&server->n_refused, 1);
		rpc_slot_send(slot, refusal);
	} else if (admission != RPC_ADMIT_ATTACH) {
		refuse_number(slot, admission);
	}
}

static void refuse_number(rpc_slot *slot, rpc_admission admission)
{
	switch (admission) {
	case RPC_ADMIT_REUSED:
		rpc_slot_refuse(slot, RPC_INVALID_ARGUMENT, RPC_FLAG_NOT_EXECUTED,
				"this request number was used for another request");
		break;
	case RPC_ADMIT_CANCELLED:
		rpc_slot_refuse(slot, RPC_CANCELLED, RPC_FLAG_NOT_EXECUTED, "cancelled before it began");
		break;
	case RPC_ADMIT_STALE:
		rpc_slot_refuse(slot, RPC_OUT_OF_RANGE, RPC_FLAG_NOT_EXECUTED,
				"this request number is over and done with");
		break;
	case RPC_ADMIT_GAP:
		rpc_slot_refuse(slot, RPC_OUT_OF_RANGE, RPC_FLAG_NOT_EXECUTED,
				"this request number is too far ahead: earlier ones are missing");
		break;
	case RPC_ADMIT_TOO_MANY:
		rpc_slot_refuse(slot, RPC_RESOURCE_EXHAUSTED, RPC_FLAG_NOT_EXECUTED, "a client has at most %d lanes",
				RPC_MAX_LANES);
		break;
	default:
		rpc_slot_refuse(slot, RPC_RESOURCE_EXHAUSTED, RPC_FLAG_NOT_EXECUTED, "out of memory");
		break;
	}
}

static void serve_unordered(rpc_call *call, uint64_t fingerprint)
{
	rpc_server *server = call->server;
	rpc_client *client = call->client;
	rpc_slot *slot = call->slot;
	rpc_call *due = NULL, *acked = NULL;
	bool cancelled = false;
	bool full = rpc_conn_full(call->conn, &server->limits);
	bool draining = atomic_load(&server->draining) && !(call->entry && call->entry->always);

	if (client) {
		pthread_mutex_lock(&client->lock);
		acked = rpc_lanes_ack(&client->lanes, call->frame.lane, call->frame.ack_seq);
		due = rpc_lanes_pass(&client->lanes, call->frame.lane, call->frame.seq, fingerprint, NULL, 0);
		cancelled = rpc_lanes_is_cancelled(&client->lanes, call->frame.lane, call->frame.seq);
		if (!full && !draining && !cancelled) {
			call->next_unordered = client->unordered;
			if (call->next_unordered)
				call->next_unordered->prev_unordered = call;
			client->unordered = call;
		}
		pthread_mutex_unlock(&client->lock);
		if (acked)
			rpc_call_start(acked);
		if (due)
			rpc_call_start(due);
	}
	if (!full && !draining && !cancelled) {
		rpc_server_busy(server);
		start_on_network(call);
		return;
	}
	rpc_call_free(call);
	if (cancelled)
		refuse_number(slot, RPC_ADMIT_CANCELLED);
	else if (draining)
		rpc_slot_refuse(slot, RPC_UNAVAILABLE, RPC_FLAG_NOT_EXECUTED,
				"the server is draining: connect again later");
	else
		rpc_slot_refuse(slot, RPC_RESOURCE_EXHAUSTED, RPC_FLAG_NOT_EXECUTED,
				"too many requests under way on this connection");
}

static void start_on_network(rpc_call *call)
{
	const rpc_method_entry *entry = call->entry;
	if (!entry) {
		rpc_call_fail(call, RPC_UNIMPLEMENTED, "there is no method %.*s", (int)call->frame.path_size,
			      call->frame.path);
		return;
	}
	if (entry->method->try_inline && call->frame.payload_size <= RPC_INLINE_MAX) {
		if (!prepare(call) || entry->method->try_inline(call, call->request, entry->context))
			return;
	}
	rpc_call_start(call);
}

static void run_on_worker(rpc_work *work)
{
	rpc_call *call = (rpc_call *)work;
	if (!call->entry) {
		start_on_network(call); /* refuses it */
		return;
	}
	if (!call->request && !prepare(call))
		return;
	/* Not when its connection is lost: the client may be on its way back, to ask for just this. */
	if (atomic_load(&call->cancelled) || atomic_load(&call->conn->process_gone) ||
	    atomic_load(&call->server->closing)) {
		rpc_call_fail(call, RPC_CANCELLED, "cancelled before it began");
		return;
	}
	if (call->deadline != ORM_NO_DEADLINE && orm_clock_us() >= call->deadline) {
		rpc_call_fail(call, RPC_DEADLINE_EXCEEDED, "the deadline passed before the call began");
		return;
	}
	call->entry->method->handle(call, call->request, call->entry->context);
}

/* Everything before the handler; false: the call has failed and is gone. */
static bool prepare(rpc_call *call)
{
	rpc_server *server = call->server;
	for (; call->n_begun < server->n_interceptors; call->n_begun++) {
		const rpc_interceptor *interceptor = &server->interceptors[call->n_begun];
		if (interceptor->begin)
			interceptor->begin(call, interceptor->context);
	}
	if (call->deadline != ORM_NO_DEADLINE && orm_clock_us() >= call->deadline) {
		rpc_call_fail(call, RPC_DEADLINE_EXCEEDED, "the deadline passed before the call began");
		return false;
	}
	rpc_code code = rpc_head_unpack(call->frame.head, call->frame.head_size, &call->arena, &call->head);
	if (code == RPC_OK) {
		call->request = rpc_unpack(call->entry->input, call->frame.payload, call->frame.payload_size,
					   &call->arena, &code);
	}
	if (code == RPC_RESOURCE_EXHAUSTED)
		rpc_call_fail(call, code, "the request needs more than %zu bytes of memory; send less at once",
			      server->limits.max_unpacked);
	else if (code != RPC_OK)
		rpc_call_fail(call, code, "the request is not a valid %s", call->entry->input->name);
	return code == RPC_OK;
}

static const rpc_method_entry *find_method(const rpc_server *server, const rpc_frame *frame)
{
	return orm_map_get(&server->methods, orm_hash_bytes(frame->path, frame->path_size), is_method, frame);
}

static bool is_method(const void *value, const void *key)
{
	const rpc_method_entry *entry = value;
	const rpc_frame *frame = key;
	return entry->path_size == frame->path_size && memcmp(entry->path, frame->path, frame->path_size) == 0;
}
