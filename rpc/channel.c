/* SPDX-License-Identifier: MIT */
/*
 * The client's side: calls go out numbered, and stay pending until their reply is there, their deadline has passed,
 * or the server turns out to be another one. A broken connection is replaced, and what is pending is sent again under
 * the same numbers; the server answers from memory what it has done already.
 */
#include "rpc/channel_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/codec.h"

enum {
	LANE = 1,
	MAX_PENDING = 12,       /* below what the server lets one connection have under way */
	NUMBERS_AHEAD = 15,     /* within the server's lane window */
	REPEAT_MS = 300000,     /* half of what the server remembers a client for */
	HELLO_TIMEOUT_MS = 500, /* local; a deaf listener is replaced within seconds, so ask again soon */
	HELLO_TIMEOUT_FAR_MS = 3000,
	GOODBYE_TIMEOUT_MS = 200,
	SILENT_TRIES = 3, /* tries that time out on a connection that says nothing at all: it is dead */
	BACKOFF_FIRST_MS = 10,
	BACKOFF_MAX_MS = 1000
};

static bool make_client_id(uint8_t id[RPC_CLIENT_ID_SIZE]);
static rpc_code connect_once(rpc_channel *channel, int64_t deadline_us);
static rpc_code greet(rpc_channel *channel, rpc_transport *transport, int64_t deadline_us);
static void say_goodbye(rpc_channel *channel);
static void disconnect(rpc_channel *channel);
static void back_off(rpc_channel *channel);
static void sleep_until(int64_t until);
static void adopt_epoch(rpc_channel *channel, uint64_t epoch);
static void transmit(rpc_channel *channel, rpc_pending *pending);
static rpc_code take_reply(rpc_channel *channel, int64_t until);
static void match(rpc_channel *channel, uint8_t *bytes, size_t size);
static void settle(rpc_pending *pending, rpc_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static rpc_pending *pending_new(rpc_channel *channel, size_t size);
static uint64_t lowest_open(const rpc_channel *channel);
static void give_up(rpc_channel *channel, rpc_pending *pending);

rpc_channel *rpc_channel_open(const char *address, const rpc_channel_options *options, rpc_status *status)
{
	rpc_channel *channel = calloc(1, sizeof *channel);
	if (channel) {
		channel->options = *options;
		channel->max_message = options->limits.max_message;
		channel->pid = getpid();
		channel->next_seq = 1;
		channel->address = strdup(address);
		if (options->tls) {
			channel->tls = *options->tls;
			channel->server_name = options->tls->server_name ? strdup(options->tls->server_name) : NULL;
			channel->tls.server_name = channel->server_name;
			channel->options.tls = &channel->tls;
		}
	}
	if (!channel || !channel->address || !make_client_id(channel->client_id)) {
		rpc_channel_close(channel);
		rpc_status_static(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	int64_t deadline = orm_deadline_in_ms(options->connect_timeout_ms ? options->connect_timeout_ms : 5000);
	rpc_code code = connect_once(channel, deadline);
	while (code == RPC_UNAVAILABLE && orm_clock_us() < deadline) {
		sleep_until(channel->retry_at < deadline ? channel->retry_at : deadline);
		code = connect_once(channel, deadline);
	}
	if (code != RPC_OK) {
		static _Thread_local char text[512];
		snprintf(text, sizeof text, "cannot connect to %s: %s", address, channel->why);
		rpc_status_static(status, code == RPC_NOT_FOUND ? RPC_UNAVAILABLE : code, text);
		rpc_channel_close(channel);
		return NULL;
	}
	rpc_status_static(status, RPC_OK, "");
	return channel;
}

void rpc_channel_close(rpc_channel *channel)
{
	if (!channel)
		return;
	if (channel->transport && getpid() == channel->pid)
		say_goodbye(channel);
	if (channel->transport)
		channel->transport->ops->close(channel->transport, getpid() != channel->pid);
	while (channel->first)
		rpc_pending_drop(channel, channel->first);
	for (rpc_pending *pending = channel->spare, *next; pending; pending = next) {
		next = pending->next;
		free(pending->bytes);
		free(pending);
	}
	free(channel->address);
	free(channel->server_name);
	free(channel);
}

const uint8_t *rpc_channel_client_id(const rpc_channel *channel)
{
	return channel->client_id;
}

uint64_t rpc_channel_n_requests(const rpc_channel *channel)
{
	return channel->n_requests;
}

uint64_t rpc_channel_epoch(const rpc_channel *channel)
{
	return channel->epoch;
}

const char *rpc_channel_address(const rpc_channel *channel)
{
	return channel->address;
}

const rpc_metadata *rpc_channel_reply_metadata(const rpc_channel *channel, const char *key)
{
	for (size_t i = 0; i < channel->n_reply_metadata; i++) {
		if (strcmp(channel->reply_metadata[i].key, key) == 0)
			return &channel->reply_metadata[i];
	}
	return NULL;
}

rpc_code rpc_channel_call(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
			  const ProtobufCMessage *request, int64_t deadline_us, orm_arena *arena,
			  ProtobufCMessage **reply, rpc_status *status)
{
	*reply = NULL;
	rpc_pending *pending = rpc_channel_send(channel, service, method, request, deadline_us, status);
	return pending ? rpc_channel_receive(channel, pending, arena, reply, status) : status->code;
}

rpc_pending *rpc_channel_send(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
			      const ProtobufCMessage *request, int64_t deadline_us, rpc_status *status)
{
	if (getpid() != channel->pid) {
		rpc_status_static(status, RPC_FAILED_PRECONDITION,
				  "forked: this connection belongs to the parent process; open another one");
		return NULL;
	}
	assert(method < service->n_methods && request->descriptor == service->methods[method].input);
	const char *name = service->methods[method].name;
	size_t service_size = strlen(service->name), name_size = strlen(name);
	size_t path_size = service_size + name_size + 2;
	size_t head_size = rpc_head_size(channel->options.metadata, channel->options.n_metadata, NULL);
	size_t payload_size = protobuf_c_message_get_packed_size(request);
	size_t size = RPC_FRAME_HEADER_SIZE + path_size + head_size + payload_size;
	if (size > channel->max_message) {
		snprintf(channel->text, sizeof channel->text,
			 "the request is too large: %zu bytes, the limit is %zu; send less at once", size,
			 channel->max_message);
		rpc_status_static(status, RPC_RESOURCE_EXHAUSTED, channel->text);
		return NULL;
	}
	rpc_pending *pending = pending_new(channel, size);
	if (!pending) {
		rpc_status_static(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	pending->frame = (rpc_frame){.kind = RPC_KIND_REQUEST,
				     .path_size = (uint16_t)path_size,
				     .head_size = (uint32_t)head_size,
				     .payload_size = (uint32_t)payload_size,
				     .lane = LANE};
	pending->deadline = deadline_us;
	pending->output = service->methods[method].output;
	uint8_t *out = pending->bytes + RPC_FRAME_HEADER_SIZE;
	*out++ = '/';
	memcpy(out, service->name, service_size);
	out += service_size;
	*out++ = '/';
	memcpy(out, name, name_size);
	out += name_size;
	if (head_size)
		rpc_head_pack(channel->options.metadata, channel->options.n_metadata, NULL, out);
	protobuf_c_message_pack(request, out + head_size);
	rpc_pending_enqueue(channel, pending);
	rpc_status_static(status, RPC_OK, "");
	return pending;
}

rpc_code rpc_channel_receive(rpc_channel *channel, rpc_pending *pending, orm_arena *arena, ProtobufCMessage **reply,
			     rpc_status *status)
{
	unsigned flags;
	return rpc_pending_finish(channel, pending, arena, reply, &flags, status);
}

void rpc_pending_enqueue(rpc_channel *channel, rpc_pending *pending)
{
	/* Room first: the server takes only so much of one connection at a time, and so many numbers ahead. */
	while (channel->n_open >= MAX_PENDING || channel->next_seq - lowest_open(channel) > NUMBERS_AHEAD) {
		rpc_pending *oldest = channel->first;
		while (oldest->done)
			oldest = oldest->next;
		rpc_pending_await(channel, oldest);
	}
	if (pending->frame.kind == RPC_KIND_REQUEST)
		pending->frame.seq = channel->next_seq++;
	memcpy(pending->frame.client_id, channel->client_id, RPC_CLIENT_ID_SIZE);
	pending->prev = channel->last;
	if (channel->last)
		channel->last->next = pending;
	else
		channel->first = pending;
	channel->last = pending;
	channel->n_open++;
	if (channel->transport)
		transmit(channel, pending);
}

rpc_pending *rpc_pending_next_chunk(rpc_channel *channel, uint64_t seq, uint32_t chunk, int64_t deadline_us,
				    const ProtobufCMessageDescriptor *output)
{
	rpc_pending *pending = pending_new(channel, RPC_FRAME_HEADER_SIZE);
	if (!pending)
		return NULL;
	pending->frame = (rpc_frame){.kind = RPC_KIND_NEXT, .lane = LANE, .seq = seq, .chunk = chunk};
	pending->deadline = deadline_us;
	pending->output = output;
	rpc_pending_enqueue(channel, pending);
	return pending;
}

void rpc_pending_await(rpc_channel *channel, rpc_pending *pending)
{
	while (!pending->done) {
		int64_t now = orm_clock_us();
		if (now >= pending->deadline) {
			give_up(channel, pending);
			break;
		}
		if (!channel->transport) {
			if (pending->n_tries && now - pending->first_sent > REPEAT_MS * INT64_C(1000)) {
				settle(pending, RPC_UNAVAILABLE, "the connection was lost and does not come back: %s",
				       channel->why);
				break;
			}
			int64_t until = channel->retry_at < pending->deadline ? channel->retry_at : pending->deadline;
			if (now < until) {
				sleep_until(until);
				continue;
			}
			if (connect_once(channel, pending->deadline) == RPC_OK) {
				for (rpc_pending *other = channel->first; other && channel->transport;
				     other = other->next) {
					if (!other->done)
						transmit(channel, other);
				}
			} else if (channel->options.unreachable &&
				   channel->options.unreachable(channel->options.unreachable_context,
								pending->deadline)) {
				channel->retry_at = 0;
			}
			continue;
		}
		if (!pending->on_connection) {
			transmit(channel, pending);
			if (!pending->on_connection)
				continue;
		}
		int64_t until = pending->deadline;
		if (channel->options.try_timeout_ms) {
			int64_t try_ends = pending->sent_at + channel->options.try_timeout_ms * 1000;
			until = try_ends < until ? try_ends : until;
		}
		rpc_code code = take_reply(channel, until);
		if (code == RPC_UNAVAILABLE) {
			snprintf(channel->why, sizeof channel->why, "the connection was lost");
			disconnect(channel);
		} else if (code == RPC_DEADLINE_EXCEEDED && orm_clock_us() < pending->deadline) {
			if (++channel->n_silent >= SILENT_TRIES)
				disconnect(channel);
			else
				transmit(channel, pending);
		}
	}
}

rpc_code rpc_pending_finish(rpc_channel *channel, rpc_pending *pending, orm_arena *arena, ProtobufCMessage **reply,
			    unsigned *flags, rpc_status *status)
{
	*reply = NULL;
	*flags = RPC_FLAG_LAST;
	channel->n_reply_metadata = 0;
	if (getpid() != channel->pid) {
		rpc_status_static(status, RPC_FAILED_PRECONDITION,
				  "forked: this connection belongs to the parent process; open another one");
		return RPC_FAILED_PRECONDITION;
	}
	rpc_pending_await(channel, pending);
	*status = (rpc_status){.code = pending->code, .message = ""};
	if (pending->reply) {
		rpc_frame frame = {0};
		rpc_head head = {.message = ""};
		bool decoded = rpc_frame_decode(&frame, pending->reply, pending->reply_size);
		assert(decoded); /* match() has done so before */
		(void)decoded;
		*flags = frame.flags;
		status->code = frame.code <= RPC_UNAUTHENTICATED ? (rpc_code)frame.code : RPC_UNKNOWN;
		rpc_code code = rpc_head_unpack(frame.head, frame.head_size, arena, &head);
		if (code == RPC_OK) {
			status->message = head.message;
			status->details = head.details;
			status->n_details = head.n_details;
			channel->reply_metadata = head.metadata;
			channel->n_reply_metadata = head.n_metadata;
		}
		if (code == RPC_OK && status->code == RPC_OK && !(frame.flags & RPC_FLAG_EMPTY))
			*reply = rpc_unpack(pending->output, frame.payload, frame.payload_size, arena, &code);
		if (code != RPC_OK) {
			status->code = code == RPC_RESOURCE_EXHAUSTED ? code : RPC_INTERNAL;
			status->message = code == RPC_RESOURCE_EXHAUSTED ? "the reply needs more memory than allowed"
									 : "the reply makes no sense";
			*flags |= RPC_FLAG_LAST;
		}
	} else {
		const char *message = orm_arena_strdup(arena, pending->message);
		status->message = message ? message : "";
	}
	rpc_pending_drop(channel, pending);
	return status->code;
}

void rpc_pending_drop(rpc_channel *channel, rpc_pending *pending)
{
	if (pending->prev)
		pending->prev->next = pending->next;
	else
		channel->first = pending->next;
	if (pending->next)
		pending->next->prev = pending->prev;
	else
		channel->last = pending->prev;
	if (!pending->done)
		channel->n_open--;
	free(pending->reply);
	pending->reply = NULL;
	if (pending->capacity > (64 << 10)) {
		free(pending->bytes);
		pending->bytes = NULL;
		pending->capacity = 0;
	}
	pending->next = channel->spare;
	channel->spare = pending;
}

void rpc_channel_notify(rpc_channel *channel, rpc_kind kind, uint64_t seq)
{
	if (!channel->transport)
		return;
	uint8_t bytes[RPC_FRAME_HEADER_SIZE];
	rpc_frame frame = {.kind = (uint8_t)kind, .lane = LANE, .seq = seq, .epoch = channel->epoch};
	memcpy(frame.client_id, channel->client_id, RPC_CLIENT_ID_SIZE);
	rpc_frame_encode(&frame, bytes);
	/* Best effort: what cannot be sent at once is not waited for long. */
	if (channel->transport->ops->send(channel->transport, ++channel->tag, bytes, sizeof bytes,
					  orm_deadline_in_ms(20)) == RPC_UNAVAILABLE)
		disconnect(channel);
}

void rpc_status_static(rpc_status *status, rpc_code code, const char *message)
{
	if (status)
		*status = (rpc_status){.code = code, .message = message};
}

/* 48 bits of time, so that ids can be told apart by age, and 80 random ones. */
static bool make_client_id(uint8_t id[RPC_CLIENT_ID_SIZE])
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 0; i < 6; i++)
		id[i] = (uint8_t)(ms >> (40 - 8 * i));
	return getrandom(id + 6, RPC_CLIENT_ID_SIZE - 6, 0) == RPC_CLIENT_ID_SIZE - 6;
}

static rpc_code connect_once(rpc_channel *channel, int64_t deadline_us)
{
	rpc_code code;
	bool local = strncmp(channel->address, "ipc://", 6) == 0;
	int64_t until = orm_deadline_in_ms(local && channel->n_failed < 8 ? HELLO_TIMEOUT_MS : HELLO_TIMEOUT_FAR_MS);
	until = until < deadline_us ? until : deadline_us;
	rpc_transport *transport = rpc_transport_open(channel->address, channel->options.tls,
						      channel->options.limits.max_message, until, &code, channel->why);
	if (transport)
		code = greet(channel, transport, until);
	if (code == RPC_OK) {
		channel->transport = transport;
		channel->n_failed = 0;
		channel->n_silent = 0;
		return RPC_OK;
	}
	if (transport)
		transport->ops->close(transport, false);
	back_off(channel);
	return code;
}

/* A connection is one only when the server has answered over it. */
static rpc_code greet(rpc_channel *channel, rpc_transport *transport, int64_t deadline_us)
{
	uint8_t bytes[RPC_FRAME_HEADER_SIZE], *reply;
	size_t size;
	rpc_frame frame = {.kind = RPC_KIND_HELLO, .deadline_ms = RPC_FRAME_NO_DEADLINE};
	memcpy(frame.client_id, channel->client_id, RPC_CLIENT_ID_SIZE);
	rpc_frame_encode(&frame, bytes);
	rpc_code code = transport->ops->send(transport, ++channel->tag, bytes, sizeof bytes, deadline_us);
	if (code == RPC_OK)
		code = transport->ops->receive(transport, &reply, &size, deadline_us);
	if (code != RPC_OK) {
		snprintf(channel->why, sizeof channel->why, "%s",
			 code == RPC_UNAVAILABLE ? "the server hung up" : "the server does not answer");
		return RPC_UNAVAILABLE;
	}
	bool ok = rpc_frame_decode(&frame, reply, size) && frame.kind == RPC_KIND_REPLY && frame.epoch != 0;
	if (!ok || frame.code != RPC_OK) {
		orm_arena arena;
		rpc_head head = {.message = "it does not speak this protocol"};
		orm_arena_init(&arena, 1 << 16);
		if (ok)
			rpc_head_unpack(frame.head, frame.head_size, &arena, &head);
		snprintf(channel->why, sizeof channel->why, "%s", head.message);
		orm_arena_fini(&arena);
		free(reply);
		return ok && frame.code <= RPC_UNAUTHENTICATED ? (rpc_code)frame.code : RPC_UNAVAILABLE;
	}
	if (frame.deadline_ms && frame.deadline_ms < channel->max_message)
		channel->max_message = frame.deadline_ms;
	adopt_epoch(channel, frame.epoch);
	free(reply);
	return RPC_OK;
}

/* The server may forget us. Its answer is awaited because a message at a connection's end may go unread. */
static void say_goodbye(rpc_channel *channel)
{
	int64_t until = orm_deadline_in_ms(GOODBYE_TIMEOUT_MS);
	uint8_t *reply;
	size_t size;
	rpc_channel_notify(channel, RPC_KIND_BYE, 0);
	for (bool heard = false; channel->transport && !heard;) {
		rpc_frame frame;
		if (channel->transport->ops->receive(channel->transport, &reply, &size, until) != RPC_OK)
			break;
		heard = rpc_frame_decode(&frame, reply, size) && frame.seq == 0;
		free(reply);
	}
}

static void disconnect(rpc_channel *channel)
{
	if (!channel->transport)
		return;
	channel->transport->ops->close(channel->transport, false);
	channel->transport = NULL;
	for (rpc_pending *pending = channel->first; pending; pending = pending->next)
		pending->on_connection = false;
	back_off(channel);
}

/* Full jitter: somewhere between now and 10 ms, 20 ms, ... 1 s. */
static void back_off(rpc_channel *channel)
{
	unsigned shift = channel->n_failed < 7 ? channel->n_failed : 7;
	int64_t most = BACKOFF_FIRST_MS * INT64_C(1000) << shift;
	if (most > BACKOFF_MAX_MS * INT64_C(1000))
		most = BACKOFF_MAX_MS * INT64_C(1000);
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)orm_clock_us();
	channel->n_failed++;
	channel->retry_at = orm_clock_us() + (int64_t)(random % (uint32_t)most);
}

static void sleep_until(int64_t until)
{
	int64_t left = until - orm_clock_us();
	if (left <= 0)
		return;
	struct timespec pause = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
	nanosleep(&pause, NULL);
}

/* Another server than before knows nothing of what was sent to the old one: its fate is not this one's to tell. */
static void adopt_epoch(rpc_channel *channel, uint64_t epoch)
{
	if (channel->epoch == epoch)
		return;
	for (rpc_pending *pending = channel->first; pending && channel->epoch; pending = pending->next) {
		if (!pending->done && (pending->n_tries || pending->frame.kind == RPC_KIND_NEXT)) {
			settle(pending, RPC_ABORTED, "server restarted");
			channel->n_open--;
		}
	}
	channel->epoch = epoch;
}

static void transmit(rpc_channel *channel, rpc_pending *pending)
{
	int64_t now = orm_clock_us();
	int64_t left = orm_deadline_left_ms(pending->deadline);
	pending->frame.epoch = channel->epoch;
	pending->frame.ack_seq = lowest_open(channel) - 1;
	pending->frame.deadline_ms = left < RPC_FRAME_NO_DEADLINE ? (uint32_t)left : RPC_FRAME_NO_DEADLINE;
	rpc_frame_encode(&pending->frame, pending->bytes);
	rpc_code code = channel->transport->ops->send(channel->transport, ++channel->tag, pending->bytes, pending->size,
						      pending->deadline);
	if (code == RPC_UNAVAILABLE) {
		/* How much of it has arrived is not known: it counts as sent. */
		if (!pending->n_tries)
			pending->first_sent = now;
		pending->n_tries++;
		snprintf(channel->why, sizeof channel->why, "the connection was lost");
		disconnect(channel);
		return;
	}
	if (code != RPC_OK)
		return; /* the deadline passed; rpc_pending_await sees to that */
	if (!pending->n_tries)
		pending->first_sent = now;
	pending->n_tries++;
	pending->sent_at = now;
	pending->on_connection = true;
	channel->n_requests++;
}

static rpc_code take_reply(rpc_channel *channel, int64_t until)
{
	uint8_t *bytes;
	size_t size;
	rpc_code code = channel->transport->ops->receive(channel->transport, &bytes, &size, until);
	if (code == RPC_OK) {
		channel->n_silent = 0;
		match(channel, bytes, size);
	}
	return code;
}

/* Give a reply to the call that it answers; all others are stale and dropped. Takes the bytes. */
static void match(rpc_channel *channel, uint8_t *bytes, size_t size)
{
	rpc_frame frame;
	if (!rpc_frame_decode(&frame, bytes, size) || frame.major != RPC_FRAME_MAJOR || frame.kind != RPC_KIND_REPLY ||
	    memcmp(frame.client_id, channel->client_id, RPC_CLIENT_ID_SIZE) != 0 || frame.lane != LANE ||
	    (frame.flags & RPC_FLAG_SUPERSEDED)) {
		free(bytes);
		return;
	}
	rpc_pending *pending = channel->first;
	while (pending && (pending->done || pending->frame.seq != frame.seq || pending->frame.chunk != frame.chunk))
		pending = pending->next;
	if (!pending) {
		free(bytes);
		return;
	}
	if (frame.epoch != channel->epoch) { /* the refusal of an epoch */
		adopt_epoch(channel, frame.epoch);
		free(bytes);
		return;
	}
	pending->done = true;
	pending->reply = bytes;
	pending->reply_size = size;
	channel->n_open--;
}

static void settle(rpc_pending *pending, rpc_code code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(pending->message, sizeof pending->message, format, args);
	va_end(args);
	pending->code = code;
	pending->done = true;
}

static void give_up(rpc_channel *channel, rpc_pending *pending)
{
	bool sent = pending->n_tries > 0;
	if (sent)
		rpc_channel_notify(channel, RPC_KIND_CANCEL, pending->frame.seq);
	if (pending->done)
		return; /* settled by the loss of the connection */
	channel->n_open--;
	if (sent)
		settle(pending, RPC_DEADLINE_EXCEEDED, "no reply within the deadline; it may have been executed");
	else
		settle(pending, channel->transport ? RPC_DEADLINE_EXCEEDED : RPC_UNAVAILABLE,
		       "not sent within the deadline%s%s", channel->transport ? "" : ": ",
		       channel->transport ? "" : channel->why);
}

static rpc_pending *pending_new(rpc_channel *channel, size_t size)
{
	rpc_pending *pending = channel->spare;
	if (pending)
		channel->spare = pending->next;
	else
		pending = calloc(1, sizeof *pending);
	if (!pending)
		return NULL;
	uint8_t *bytes = pending->bytes;
	size_t capacity = pending->capacity;
	if (capacity < size) {
		free(bytes);
		capacity = size < 1024 ? 1024 : size;
		bytes = malloc(capacity);
	}
	if (!bytes) {
		free(pending);
		return NULL;
	}
	pending->bytes = bytes;
	pending->capacity = capacity;
	pending->size = size;
	pending->next = pending->prev = NULL;
	pending->done = pending->on_connection = false;
	pending->n_tries = 0;
	pending->code = RPC_OK;
	pending->message[0] = '\0';
	return pending;
}

/* The lowest number whose call has not ended; all below are acknowledged. */
static uint64_t lowest_open(const rpc_channel *channel)
{
	for (const rpc_pending *pending = channel->first; pending; pending = pending->next) {
		if (!pending->done && pending->frame.kind == RPC_KIND_REQUEST)
			return pending->frame.seq;
	}
	return channel->next_seq;
}
