/* SPDX-License-Identifier: MIT */
/*
 * Slots: requests that wait for their answers.
 *
 * For local connections (line.c) a slot is made for each request. The rest is about nng's contexts, which receive
 * requests and carry answers back. A slot whose request is being worked on waits without a thread; new ones are opened
 * so that some are always receiving. Sending hands the reply to the pipe, which nearly always is at once; when the pipe
 * is still busy with an earlier reply, the reply waiter watches it, and a client that does not read is hung up on.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "rpc/server_internal.h"

static void receive(rpc_slot *slot);
static void received(void *arg);
static void stop_counting(rpc_slot *slot);
static void release(rpc_slot *slot);
static void sent(rpc_slot *slot);
static void *wait_for_replies(void *arg);

bool rpc_slots_open(rpc_server *server, size_t n)
{
	rpc_slot *opened = NULL;
	size_t n_opened = 0;
	for (; n_opened < n; n_opened++) {
		rpc_slot *slot = calloc(1, sizeof *slot);
		if (!slot)
			break;
		slot->server = server;
		if (nng_ctx_open(&slot->ctx, server->socket) != 0) {
			free(slot);
			break;
		}
		slot->next = opened;
		if (nng_aio_alloc(&slot->receive, received, slot) != 0 || nng_aio_alloc(&slot->send, NULL, NULL) != 0) {
			nng_aio_free(slot->receive);
			nng_ctx_close(slot->ctx);
			free(slot);
			break;
		}
		opened = slot;
	}
	if (!opened)
		return false;

	pthread_mutex_lock(&server->slots_lock);
	bool ending = server->slots_ending;
	if (!ending) {
		rpc_slot *last = opened;
		while (last->next)
			last = last->next;
		last->next = server->slots;
		server->slots = opened;
		server->n_slots += n_opened;
	}
	pthread_mutex_unlock(&server->slots_lock);

	for (rpc_slot *next; n_opened; opened = next, n_opened--) {
		next = opened->next;
		if (ending) {
			nng_ctx_close(opened->ctx);
			nng_aio_free(opened->receive);
			nng_aio_free(opened->send);
			free(opened);
		} else {
			receive(opened);
		}
	}
	return true;
}

bool rpc_slots_start(rpc_server *server)
{
	if (pthread_create(&server->reply_waiter, NULL, wait_for_replies, server) != 0)
		return false;
	server->reply_waiter_runs = true;
	return rpc_slots_open(server, RPC_FIRST_SLOTS);
}

void rpc_slots_close(rpc_server *server)
{
	pthread_mutex_lock(&server->slots_lock);
	server->slots_ending = true;
	pthread_cond_broadcast(&server->sending_wake);
	pthread_mutex_unlock(&server->slots_lock);
	if (server->reply_waiter_runs)
		pthread_join(server->reply_waiter, NULL);
	server->reply_waiter_runs = false;
	/* All callbacks end before anything is freed: one may just be starting a slot that it has opened. */
	for (rpc_slot *slot = server->slots; slot; slot = slot->next) {
		nng_aio_stop(slot->receive);
		nng_aio_stop(slot->send);
	}
	for (rpc_slot *slot = server->slots, *next; slot; slot = next) {
		next = slot->next;
		nng_aio_free(slot->receive);
		nng_aio_free(slot->send);
		rpc_conn_unref(slot->conn);
		free(slot);
	}
	server->slots = NULL;
}

nng_msg *rpc_reply_message(rpc_server *server, const rpc_frame *asked, rpc_code *code, unsigned flags,
			   const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status,
			   const ProtobufCMessage *payload)
{
	size_t head_size = rpc_head_size(metadata, n_metadata, status);
	size_t payload_size = payload ? protobuf_c_message_get_packed_size(payload) : 0;
	char text[160];
	rpc_status too_large = {.code = RPC_RESOURCE_EXHAUSTED, .message = text};
	if (payload_size > server->limits.max_message || head_size > server->limits.max_message ||
	    RPC_FRAME_HEADER_SIZE + head_size + payload_size > server->limits.max_message) {
		snprintf(text, sizeof text, "the reply is too large: %zu bytes, the limit is %zu; ask for less at once",
			 head_size + payload_size, server->limits.max_message);
		*code = RPC_RESOURCE_EXHAUSTED;
		status = &too_large;
		metadata = NULL;
		n_metadata = 0;
		payload = NULL;
		payload_size = 0;
		head_size = rpc_head_size(NULL, 0, status);
	}
	nng_msg *message;
	if (nng_msg_alloc(&message, RPC_FRAME_HEADER_SIZE + head_size + payload_size) != 0)
		return NULL;
	rpc_frame frame = *asked;
	frame.kind = RPC_KIND_REPLY;
	frame.flags = (uint8_t)flags;
	frame.code = (uint8_t)*code;
	frame.path_size = 0;
	frame.head_size = (uint32_t)head_size;
	frame.payload_size = (uint32_t)payload_size;
	frame.epoch = server->epoch;
	frame.deadline_ms = 0;
	if (asked->kind == RPC_KIND_HELLO)
		frame.deadline_ms =
			server->limits.max_message < UINT32_MAX ? (uint32_t)server->limits.max_message : UINT32_MAX;
	uint8_t *body = nng_msg_body(message);
	rpc_frame_encode(&frame, body);
	if (head_size)
		rpc_head_pack(metadata, n_metadata, status, body + RPC_FRAME_HEADER_SIZE);
	if (payload_size)
		protobuf_c_message_pack(payload, body + RPC_FRAME_HEADER_SIZE + head_size);
	return message;
}

void rpc_slot_send(rpc_slot *slot, nng_msg *reply)
{
	rpc_server *server = slot->server;
	if (slot->sink) {
		if (reply)
			slot->sink(nng_msg_body(reply), nng_msg_len(reply), slot->sink_context);
		nng_msg_free(reply);
		release(slot);
		return;
	}
	if (slot->conn->line) {
		stop_counting(slot); /* before the client can see the reply and send the next request */
		if (reply) {
			atomic_fetch_add_explicit(&server->bytes_out, nng_msg_len(reply), memory_order_relaxed);
			rpc_line_send(slot->conn, slot->tag, reply);
		} else {
			rpc_conn_hang_up(slot->conn);
		}
		release(slot);
		free(slot);
		return;
	}
	if (!reply) {
		rpc_conn_hang_up(slot->conn);
		release(slot);
		receive(slot);
		return;
	}
	atomic_fetch_add_explicit(&server->bytes_out, nng_msg_len(reply), memory_order_relaxed);
	atomic_fetch_add_explicit(&slot->conn->n_sent, 1, memory_order_relaxed);
	nng_aio_set_timeout(slot->send, (nng_duration)server->limits.reply_timeout_ms);
	nng_aio_set_msg(slot->send, reply);
	stop_counting(slot); /* before the client can see the reply and send the next request */
	size_t size = nng_msg_len(reply);
	nng_ctx_send(slot->ctx, slot->send);
	if (!nng_aio_get_msg(slot->send)) { /* the pipe has taken it, or has gone */
		nng_aio_wait(slot->send);
		release(slot);
		receive(slot);
		return;
	}
	slot->queued = size; /* the pipe has another reply to send first: bounded, as its client may not be reading */
	atomic_fetch_add(&slot->conn->queued, size);
	slot->next_sending = NULL;
	pthread_mutex_lock(&server->slots_lock);
	if (server->last_sending)
		server->last_sending->next_sending = slot;
	else
		server->first_sending = slot;
	server->last_sending = slot;
	pthread_cond_signal(&server->sending_wake);
	pthread_mutex_unlock(&server->slots_lock);
}

void rpc_slot_refuse(rpc_slot *slot, rpc_code code, unsigned flags, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	rpc_status status = {.code = code, .message = text};
	atomic_fetch_add_explicit(&slot->server->n_refused, 1, memory_order_relaxed);
	rpc_slot_send(slot, rpc_reply_message(slot->server, &slot->asked, &code, flags | RPC_FLAG_LAST, NULL, 0,
					      &status, NULL));
}

void rpc_slot_again(rpc_slot *slot)
{
	bool line = slot->conn->line;
	release(slot);
	if (line)
		free(slot);
	else if (!slot->sink)
		receive(slot);
}

void rpc_slot_receive_line(rpc_server *server, rpc_conn *conn, uint32_t tag, nng_msg *message)
{
	rpc_slot *slot = calloc(1, sizeof *slot);
	if (!slot) {
		rpc_conn_hang_up(conn);
		nng_msg_free(message);
		return;
	}
	slot->server = server;
	slot->tag = tag;
	slot->conn = conn;
	slot->counted = true;
	atomic_fetch_add(&conn->refs, 1);
	atomic_fetch_add(&conn->in_flight, 1);
	atomic_fetch_add_explicit(&server->bytes_in, nng_msg_len(message), memory_order_relaxed);
	rpc_dispatch(server, slot, conn, message);
}

static void receive(rpc_slot *slot)
{
	atomic_fetch_add(&slot->server->n_receiving, 1);
	nng_ctx_recv(slot->ctx, slot->receive);
}

static void received(void *arg)
{
	rpc_slot *slot = arg;
	rpc_server *server = slot->server;
	int result = nng_aio_result(slot->receive);
	unsigned left = atomic_fetch_sub(&server->n_receiving, 1) - 1;
	if (result == NNG_ECLOSED || result == NNG_ECANCELED)
		return;
	if (result != 0) {
		receive(slot);
		return;
	}
	if (left < RPC_MIN_RECEIVING && server->n_slots < (size_t)server->limits.max_clients * 4)
		rpc_slots_open(server, RPC_MIN_RECEIVING);

	nng_msg *message = nng_aio_get_msg(slot->receive);
	nng_aio_set_msg(slot->receive, NULL);
	rpc_conn *conn = rpc_peers_conn(server, nng_msg_get_pipe(message));
	if (!conn) { /* closed in the meantime: nobody waits for the answer */
		nng_msg_free(message);
		receive(slot);
		return;
	}
	slot->conn = conn;
	slot->counted = true;
	atomic_fetch_add(&conn->in_flight, 1);
	atomic_fetch_add_explicit(&server->bytes_in, nng_msg_len(message), memory_order_relaxed);
	rpc_dispatch(server, slot, conn, message);
}

static void stop_counting(rpc_slot *slot)
{
	if (slot->counted)
		atomic_fetch_sub(&slot->conn->in_flight, 1);
	slot->counted = false;
}

static void release(rpc_slot *slot)
{
	rpc_conn *conn = slot->conn;
	stop_counting(slot);
	if (slot->queued)
		atomic_fetch_sub(&conn->queued, slot->queued);
	slot->queued = 0;
	slot->conn = NULL;
	rpc_conn_unref(conn);
}

static void sent(rpc_slot *slot)
{
	int result = nng_aio_result(slot->send);
	nng_msg *message = nng_aio_get_msg(slot->send);
	if (result != 0 && message) {
		nng_aio_set_msg(slot->send, NULL);
		nng_msg_free(message);
	}
	if (result == NNG_ETIMEDOUT) {
		rpc_server_log(slot->server, LOG_NOTICE, "a client does not read its replies: connection closed");
		rpc_conn_hang_up(slot->conn);
	}
	release(slot);
	if (result != NNG_ECLOSED)
		receive(slot);
}

static void *wait_for_replies(void *arg)
{
	rpc_server *server = arg;
	pthread_mutex_lock(&server->slots_lock);
	for (;;) {
		while (!server->first_sending && !server->slots_ending)
			pthread_cond_wait(&server->sending_wake, &server->slots_lock);
		rpc_slot *slot = server->first_sending;
		if (!slot)
			break;
		server->first_sending = slot->next_sending;
		if (!server->first_sending)
			server->last_sending = NULL;
		pthread_mutex_unlock(&server->slots_lock);
		nng_aio_wait(slot->send);
		sent(slot);
		pthread_mutex_lock(&server->slots_lock);
	}
	pthread_mutex_unlock(&server->slots_lock);
	return NULL;
}
