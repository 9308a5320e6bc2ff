/* SPDX-License-Identifier: MIT */
/*
 * A call's life on the server, seen from its handler: what it is told, and how it ends.
 *
 * An answer is remembered before it is sent, and sent to whoever waits for it by then: the slot that brought the
 * request or, after a broken connection, the one that brought its repetition.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

enum { MAX_FREE_CALLS = 256, ARENA_KEPT = 256 << 10 };

static void timed_remove(rpc_call *call);

rpc_call *rpc_call_new(rpc_server *server)
{
	pthread_mutex_lock(&server->calls_lock);
	rpc_call *call = server->free_calls;
	if (call) {
		server->free_calls = call->next_free;
		server->n_free_calls--;
	}
	pthread_mutex_unlock(&server->calls_lock);
	if (call)
		return call;
	call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	call->server = server;
	orm_arena_init(&call->arena, server->limits.max_unpacked);
	return call;
}

void rpc_call_free(rpc_call *call)
{
	rpc_server *server = call->server;
	orm_arena arena = call->arena;
	nng_msg_free(call->message);
	rpc_conn_unref(call->conn);
	rpc_conn_unref(call->waiting_conn);
	rpc_client_unref(call->client);
	if (arena.size > ARENA_KEPT) {
		orm_arena_fini(&arena);
		orm_arena_init(&arena, server->limits.max_unpacked);
	} else {
		orm_arena_reset(&arena);
	}
	memset(call, 0, sizeof *call);
	call->server = server;
	call->arena = arena;

	pthread_mutex_lock(&server->calls_lock);
	bool keep = server->n_free_calls < MAX_FREE_CALLS;
	if (keep) {
		call->next_free = server->free_calls;
		server->free_calls = call;
		server->n_free_calls++;
	}
	pthread_mutex_unlock(&server->calls_lock);
	if (!keep) {
		orm_arena_fini(&call->arena);
		free(call);
	}
}

void rpc_call_free_all(rpc_server *server)
{
	for (rpc_call *call = server->free_calls, *next; call; call = next) {
		next = call->next_free;
		orm_arena_fini(&call->arena);
		free(call);
	}
	server->free_calls = NULL;
}

void rpc_call_end(rpc_call *call, rpc_code code, nng_msg *reply)
{
	rpc_server *server = call->server;
	rpc_client *client = call->client;
	rpc_call *due = NULL;
	rpc_slot *slot;
	size_t reply_size = reply ? nng_msg_len(reply) : 0;

	if (atomic_load(&call->timed.used))
		timed_remove(call);
	if (client) {
		pthread_mutex_lock(&client->lock);
		slot = call->slot;
		call->slot = NULL;
		if (call->in_lane) {
			due = rpc_lanes_end(&client->lanes, call->frame.lane, call->frame.seq,
					    reply ? nng_msg_body(reply) : NULL, reply_size);
		} else {
			if (call->prev_unordered)
				call->prev_unordered->next_unordered = call->next_unordered;
			else
				client->unordered = call->next_unordered;
			if (call->next_unordered)
				call->next_unordered->prev_unordered = call->prev_unordered;
		}
		pthread_mutex_unlock(&client->lock);
	} else {
		slot = call->slot;
	}
	atomic_fetch_add_explicit(&server->n_calls, 1, memory_order_relaxed);
	if (code != RPC_OK)
		atomic_fetch_add_explicit(&server->n_failed, 1, memory_order_relaxed);
	if (call->n_begun) {
		int64_t took = orm_clock_us() - call->began;
		for (unsigned i = call->n_begun; i-- > 0;) {
			const rpc_interceptor *interceptor = &server->interceptors[i];
			if (interceptor->end)
				interceptor->end(call, code, took, nng_msg_len(call->message), reply_size,
						 interceptor->context);
		}
	}
	rpc_slot_send(slot, reply);
	if (due)
		rpc_call_start(due);
	rpc_call_free(call);
	rpc_server_done(server);
}

void rpc_call_cancel(rpc_client *client, uint32_t lane, uint64_t seq)
{
	rpc_server *server = client->server;
	bool wake = false;
	pthread_mutex_lock(&client->lock);
	rpc_entry *entry = rpc_lanes_find(&client->lanes, lane, seq);
	rpc_call *call = entry ? entry->call : NULL;
	for (rpc_call *other = client->unordered; other && !call; other = other->next_unordered) {
		if (other->frame.lane == lane && other->frame.seq == seq)
			call = other;
	}
	rpc_call *due = NULL;
	if (call) {
		atomic_store(&call->cancelled, true);
		wake = atomic_load(&call->timed.used);
	} else if (seq) {
		due = rpc_lanes_cancel(&client->lanes, lane, seq);
	}
	pthread_mutex_unlock(&client->lock);
	if (due)
		rpc_call_start(due);
	if (wake)
		rpc_housekeeper_wake(server);
}

bool rpc_call_is_over(rpc_call *call, int64_t now)
{
	if (atomic_load_explicit(&call->cancelled, memory_order_relaxed))
		return true;
	if (call->deadline != ORM_NO_DEADLINE && now >= call->deadline)
		return true;
	if (atomic_load_explicit(&call->server->closing, memory_order_relaxed))
		return true;
	if (!call->client || !call->in_lane) /* nobody can come back for it */
		return rpc_conn_gone(call->conn, now, 0);
	pthread_mutex_lock(&call->client->lock);
	bool gone = rpc_conn_gone(call->waiting_conn, now, RPC_REATTACH_MS);
	pthread_mutex_unlock(&call->client->lock);
	return gone;
}

void rpc_calls_sweep(rpc_client *client, int64_t now)
{
	for (;;) {
		rpc_call *over = NULL, *due = NULL;
		size_t cursor = 0;
		rpc_slot *slot = NULL;
		nng_msg *reply = NULL;
		pthread_mutex_lock(&client->lock);
		for (rpc_entry *entry; !over && (entry = rpc_lanes_next_call(&client->lanes, &cursor));) {
			rpc_call *call = entry->call;
			bool late = call->deadline != ORM_NO_DEADLINE && now >= call->deadline;
			if (entry->state == RPC_ENTRY_HELD &&
			    (late || atomic_load(&call->cancelled) ||
			     rpc_conn_gone(call->waiting_conn, now, RPC_CLIENT_MEMORY_MS)))
				over = call;
		}
		if (over) {
			rpc_code code = atomic_load(&over->cancelled) ? RPC_CANCELLED : RPC_DEADLINE_EXCEEDED;
			rpc_status status = {.message = "an earlier request of this lane did not end, or never came"};
			reply = rpc_reply_message(client->server, &over->frame, &code,
						  RPC_FLAG_NOT_EXECUTED | RPC_FLAG_LAST, NULL, 0, &status, NULL);
			due = rpc_lanes_end(&client->lanes, over->frame.lane, over->frame.seq,
					    reply ? nng_msg_body(reply) : NULL, reply ? nng_msg_len(reply) : 0);
			slot = over->slot;
		}
		pthread_mutex_unlock(&client->lock);
		if (!over)
			return;
		if (due)
			rpc_call_start(due);
		rpc_slot_send(slot, reply);
		rpc_server *server = client->server;
		rpc_call_free(over);
		rpc_server_done(server);
	}
}

const rpc_peer *rpc_call_peer(const rpc_call *call)
{
	return &call->conn->peer;
}

const char *rpc_call_method(const rpc_call *call)
{
	return call->entry ? call->entry->path : "";
}

int64_t rpc_call_deadline(const rpc_call *call)
{
	return call->deadline;
}

bool rpc_call_cancelled(const rpc_call *call)
{
	return rpc_call_is_over((rpc_call *)call, orm_clock_us()); /* only locks and looks */
}

orm_arena *rpc_call_arena(rpc_call *call)
{
	return &call->arena;
}

const rpc_metadata *rpc_call_metadata(const rpc_call *call, const char *key)
{
	for (size_t i = 0; i < call->head.n_metadata; i++) {
		if (strcmp(call->head.metadata[i].key, key) == 0)
			return &call->head.metadata[i];
	}
	return NULL;
}

bool rpc_call_reply_metadata(rpc_call *call, const char *key, const void *value, size_t size)
{
	assert(rpc_metadata_key_ok(key));
	if (call->n_reply_metadata == call->max_reply_metadata) {
		size_t max = call->max_reply_metadata ? call->max_reply_metadata * 2 : 4;
		rpc_metadata *grown = orm_arena_calloc(&call->arena, max, sizeof *grown);
		if (!grown)
			return false;
		if (call->n_reply_metadata)
			memcpy(grown, call->reply_metadata, call->n_reply_metadata * sizeof *grown);
		call->reply_metadata = grown;
		call->max_reply_metadata = max;
	}
	rpc_metadata copy = {orm_arena_strdup(&call->arena, key), orm_arena_memdup(&call->arena, value, size), size};
	if (!copy.key || !copy.value)
		return false;
	call->reply_metadata[call->n_reply_metadata++] = copy;
	return true;
}

void rpc_call_on_cancel(rpc_call *call, void (*cancelled)(void *context), void *context)
{
	rpc_server *server = call->server;
	pthread_mutex_lock(&server->timed_lock);
	assert(!atomic_load(&call->timed.used));
	call->timed.cancelled = cancelled;
	call->timed.context = context;
	call->timed.prev = NULL;
	call->timed.next = server->timed;
	if (call->timed.next)
		call->timed.next->timed.prev = call;
	server->timed = call;
	atomic_store(&call->timed.used, true);
	bool wake = call->deadline < server->timed_next || atomic_load(&call->cancelled) ||
		    atomic_load(&call->conn->closed_at) || atomic_load(&server->closing);
	pthread_mutex_unlock(&server->timed_lock);
	if (wake)
		rpc_housekeeper_wake(server);
}

void rpc_call_reply(rpc_call *call, const ProtobufCMessage *reply)
{
	assert(call->entry);
	rpc_code code = RPC_OK;
	nng_msg *message = rpc_reply_message(call->server, &call->frame, &code, call->flags, call->reply_metadata,
					     call->n_reply_metadata, NULL, reply);
	rpc_call_end(call, code, message);
}

void rpc_call_fail(rpc_call *call, rpc_code code, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	rpc_call_fail_with(call, &(rpc_status){.code = code, .message = text});
}

void rpc_call_fail_with(rpc_call *call, const rpc_status *status)
{
	assert(status->code != RPC_OK);
	rpc_code code = status->code;
	if (code == RPC_CANCELLED && call->deadline != ORM_NO_DEADLINE && !atomic_load(&call->cancelled) &&
	    orm_clock_us() >= call->deadline)
		code = RPC_DEADLINE_EXCEEDED; /* which is what rpc_call_cancelled meant */
	nng_msg *message = rpc_reply_message(call->server, &call->frame, &code, call->flags | RPC_FLAG_LAST,
					     call->reply_metadata, call->n_reply_metadata, status, NULL);
	rpc_call_end(call, code, message);
}

/* After this the call's on_cancel is not running and will not run, unless it is itself who ends the call. */
static void timed_remove(rpc_call *call)
{
	rpc_server *server = call->server;
	pthread_mutex_lock(&server->timed_lock);
	if (call->timed.prev)
		call->timed.prev->timed.next = call->timed.next;
	else
		server->timed = call->timed.next;
	if (call->timed.next)
		call->timed.next->timed.prev = call->timed.prev;
	if (server->firing == call && pthread_equal(pthread_self(), server->housekeeper)) {
		server->firing = NULL;
	} else {
		while (server->firing == call)
			pthread_cond_wait(&server->timed_done, &server->timed_lock);
	}
	pthread_mutex_unlock(&server->timed_lock);
}
