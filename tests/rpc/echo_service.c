/* SPDX-License-Identifier: MIT */
#include "rpc/echo_service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "echo.pb-c.h"

enum { MAX_IDS = 1 << 24, ID_BITS = 20, MAX_CALLERS = MAX_IDS >> ID_BITS };

typedef struct parked {
	struct parked *next, *prev;
	echo_service *echo;
	rpc_call *call;
} parked;

struct echo_service {
	rpc_server *server;
	pthread_mutex_t lock;
	uint8_t *seen; /* a bit per id */
	uint32_t last[MAX_CALLERS];
	uint64_t n_effects, n_doubled, out_of_order;
	parked waiting; /* ring */
	atomic_ullong n_cancelled, n_closed, n_connected, n_disconnected, n_exited, n_pulled, n_opened;
};

typedef struct source {
	echo_service *echo;
	uint32_t *sizes;
	size_t n_sizes, at;
	uint32_t sleep_ms, fail_after;
	bool endless;
} source;

static void empty_call(rpc_call *call, const ProtobufCMessage *request, void *context);
static bool empty_call_inline(rpc_call *call, const ProtobufCMessage *request, void *context);
static void unary(rpc_call *call, const ProtobufCMessage *request, void *context);
static bool unary_inline(rpc_call *call, const ProtobufCMessage *request, void *context);
static void stream(rpc_call *call, const ProtobufCMessage *request, void *context);
static void add(rpc_call *call, const ProtobufCMessage *request, void *context);
static void wait_parked(rpc_call *call, const ProtobufCMessage *request, void *context);
static bool wait_inline(rpc_call *call, const ProtobufCMessage *request, void *context);
static void stats(rpc_call *call, const ProtobufCMessage *request, void *context);
static bool stats_inline(rpc_call *call, const ProtobufCMessage *request, void *context);
static void wake_all(echo_service *echo);
static void pause_ms(uint32_t ms);

static const rpc_method methods[] = {
	{.name = "Stats", .handle = stats, .try_inline = stats_inline, .unordered = true},
	{.name = "EmptyCall", .handle = empty_call, .try_inline = empty_call_inline},
	{.name = "Unary", .handle = unary},
	{.name = "Quick", .handle = unary, .try_inline = unary_inline},
	{.name = "Stream", .handle = stream, .streaming = true},
	{.name = "Add", .handle = add},
	{.name = "Wait", .handle = wait_parked, .try_inline = wait_inline, .unordered = true},
};

static void connected(const rpc_peer *peer, void *context)
{
	(void)peer;
	atomic_fetch_add(&((echo_service *)context)->n_connected, 1);
}

static void disconnected(const rpc_peer *peer, bool process_gone, void *context)
{
	echo_service *echo = context;
	(void)peer;
	atomic_fetch_add(&echo->n_disconnected, 1);
	if (process_gone)
		atomic_fetch_add(&echo->n_exited, 1);
}

static void exited(const rpc_peer *peer, void *context)
{
	(void)peer;
	atomic_fetch_add(&((echo_service *)context)->n_exited, 1);
}

echo_service *echo_service_new(void)
{
	echo_service *echo = calloc(1, sizeof *echo);
	if (!echo)
		return NULL;
	echo->seen = calloc(1, MAX_IDS / 8);
	if (!echo->seen) {
		free(echo);
		return NULL;
	}
	pthread_mutex_init(&echo->lock, NULL);
	echo->waiting.next = echo->waiting.prev = &echo->waiting;
	return echo;
}

void echo_service_free(echo_service *echo)
{
	if (!echo)
		return;
	pthread_mutex_destroy(&echo->lock);
	free(echo->seen);
	free(echo);
}

rpc_watcher echo_service_watcher(echo_service *echo)
{
	return (rpc_watcher){connected, disconnected, exited, echo};
}

void echo_service_add(echo_service *echo, rpc_server *server)
{
	echo->server = server;
	rpc_server_add_service(server, &ormd__test__v1__echo__descriptor, methods, sizeof methods / sizeof *methods,
			       echo);
}

static void empty_call(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	Ormd__Test__V1__Empty reply = ORMD__TEST__V1__EMPTY__INIT;
	(void)request;
	(void)context;
	rpc_call_reply(call, &reply.base);
}

static bool empty_call_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	empty_call(call, request, context);
	return true;
}

static void unary(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	const Ormd__Test__V1__EchoRequest *asked = (const Ormd__Test__V1__EchoRequest *)request;
	Ormd__Test__V1__EchoReply reply = ORMD__TEST__V1__ECHO_REPLY__INIT;
	echo_service *echo = context;
	const rpc_metadata *metadata = rpc_call_metadata(call, "echo-initial");

	for (uint32_t slept = 0; slept < asked->sleep_ms; slept++) {
		if (rpc_call_cancelled(call)) {
			atomic_fetch_add(&echo->n_cancelled, 1);
			rpc_call_fail(call, RPC_CANCELLED, "noticed the cancellation");
			return;
		}
		pause_ms(1);
	}
	if (metadata)
		rpc_call_reply_metadata(call, "echo-initial", metadata->value, metadata->size);
	if (asked->message && strcmp(asked->message, "wake") == 0)
		wake_all(echo);
	if (asked->code) {
		Ormd__Test__V1__Payload inside = ORMD__TEST__V1__PAYLOAD__INIT;
		rpc_detail detail;
		inside.has_body = true;
		inside.body = asked->body;
		rpc_status status = {.code = (rpc_code)asked->code, .message = asked->message ? asked->message : ""};
		if (asked->has_body && rpc_detail_pack(&inside.base, rpc_call_arena(call), &detail)) {
			status.details = &detail;
			status.n_details = 1;
		}
		rpc_call_fail_with(call, &status);
		return;
	}
	reply.has_body = true;
	reply.body = asked->body;
	if (asked->has_reply_size) {
		reply.body.len = asked->reply_size;
		reply.body.data = orm_arena_calloc(rpc_call_arena(call), 1, asked->reply_size);
	}
	reply.has_pid = true;
	reply.pid = getpid();
	if (reply.body.data || !reply.body.len)
		rpc_call_reply(call, &reply.base);
	else
		rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory for a reply of %u bytes", asked->reply_size);
}

static bool unary_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	if (((const Ormd__Test__V1__EchoRequest *)request)->sleep_ms)
		return false;
	unary(call, request, context);
	return true;
}

static void next(rpc_pull *pull, void *context)
{
	source *from = context;
	Ormd__Test__V1__Payload message = ORMD__TEST__V1__PAYLOAD__INIT;
	atomic_fetch_add(&from->echo->n_pulled, 1);
	for (uint32_t slept = 0; slept < from->sleep_ms; slept++) {
		if (rpc_pull_cancelled(pull)) {
			rpc_pull_fail(pull, RPC_CANCELLED, "noticed the cancellation");
			return;
		}
		pause_ms(1);
	}
	if (from->fail_after && from->at + 1 == from->fail_after) {
		rpc_pull_fail(pull, RPC_DATA_LOSS, "failed at message %u", from->fail_after);
		return;
	}
	if (from->at == from->n_sizes && !from->endless) {
		rpc_pull_send(pull, NULL, true);
		return;
	}
	message.has_body = true;
	message.body.len = from->n_sizes ? from->sizes[from->at % from->n_sizes] : 0;
	message.body.data = orm_arena_alloc(rpc_pull_arena(pull), message.body.len);
	if (!message.body.data) {
		rpc_pull_fail(pull, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	memset(message.body.data, (int)(from->at & 0xff), message.body.len);
	from->at++;
	rpc_pull_send(pull, &message.base, from->at == from->n_sizes && !from->endless && from->at % 2 == 0);
}

static void close_source(void *context)
{
	source *from = context;
	atomic_fetch_add(&from->echo->n_closed, 1);
	free(from->sizes);
	free(from);
}

static void stream(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	const Ormd__Test__V1__StreamRequest *asked = (const Ormd__Test__V1__StreamRequest *)request;
	source *from = calloc(1, sizeof *from);
	uint32_t *sizes = calloc(asked->n_sizes + 1, sizeof *sizes);
	if (!from || !sizes) {
		free(from);
		free(sizes);
		rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	if (asked->n_sizes)
		memcpy(sizes, asked->sizes, asked->n_sizes * sizeof *sizes);
	*from = (source){.echo = context,
			 .sizes = sizes,
			 .n_sizes = asked->n_sizes,
			 .sleep_ms = asked->sleep_ms,
			 .fail_after = asked->fail_after,
			 .endless = asked->endless};
	atomic_fetch_add(&from->echo->n_opened, 1);
	rpc_call_stream(call, &(rpc_stream_source){next, close_source, from});
}

static void add(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	const Ormd__Test__V1__AddRequest *asked = (const Ormd__Test__V1__AddRequest *)request;
	Ormd__Test__V1__EchoReply reply = ORMD__TEST__V1__ECHO_REPLY__INIT;
	echo_service *echo = context;
	if (asked->id >= MAX_IDS) {
		rpc_call_fail(call, RPC_OUT_OF_RANGE, "ids are below %d", MAX_IDS);
		return;
	}
	uint32_t caller = (uint32_t)(asked->id >> ID_BITS), number = (uint32_t)asked->id & ((1U << ID_BITS) - 1);
	pthread_mutex_lock(&echo->lock);
	uint8_t bit = (uint8_t)(1U << (asked->id & 7));
	echo->n_doubled += (echo->seen[asked->id >> 3] & bit) != 0;
	echo->seen[asked->id >> 3] |= bit;
	echo->out_of_order += number < echo->last[caller];
	echo->last[caller] = number;
	reply.n_effects = (int64_t)++echo->n_effects;
	pthread_mutex_unlock(&echo->lock);
	reply.has_n_effects = true;
	reply.has_body = asked->has_body;
	reply.body = asked->body;
	rpc_call_reply(call, &reply.base);
}

static parked *unpark(parked *entry)
{
	parked *own = entry->next ? entry : NULL;
	if (own) {
		entry->next->prev = entry->prev;
		entry->prev->next = entry->next;
		entry->next = entry->prev = NULL;
	}
	return own;
}

static void wait_cancelled(void *context)
{
	parked *entry = context;
	echo_service *echo = entry->echo;
	pthread_mutex_lock(&echo->lock);
	bool ours = unpark(entry);
	pthread_mutex_unlock(&echo->lock);
	if (!ours)
		return; /* being woken: the end of the call waits for us */
	atomic_fetch_add(&echo->n_cancelled, 1);
	rpc_call_fail(entry->call, RPC_CANCELLED, "cancelled while waiting");
	free(entry);
}

static void wake_all(echo_service *echo)
{
	Ormd__Test__V1__EchoReply reply = ORMD__TEST__V1__ECHO_REPLY__INIT;
	for (;;) {
		pthread_mutex_lock(&echo->lock);
		parked *entry = echo->waiting.next == &echo->waiting ? NULL : unpark(echo->waiting.next);
		pthread_mutex_unlock(&echo->lock);
		if (!entry)
			return;
		rpc_call_reply(entry->call, &reply.base);
		free(entry);
	}
}

static void wait_parked(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	echo_service *echo = context;
	parked *entry = malloc(sizeof *entry);
	(void)request;
	if (!entry) {
		rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	entry->echo = echo;
	entry->call = call;
	/* Registered before it can be woken, as the call may be gone from then on. */
	pthread_mutex_lock(&echo->lock);
	entry->prev = &echo->waiting;
	entry->next = echo->waiting.next;
	entry->next->prev = entry;
	echo->waiting.next = entry;
	rpc_call_on_cancel(call, wait_cancelled, entry);
	pthread_mutex_unlock(&echo->lock);
}

static bool wait_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	wait_parked(call, request, context);
	return true;
}

static void stats(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	echo_service *echo = context;
	Ormd__Test__V1__StatsReply reply = ORMD__TEST__V1__STATS_REPLY__INIT;
	rpc_server_stats server;
	(void)request;
	rpc_server_stats_get(echo->server, &server);
	pthread_mutex_lock(&echo->lock);
	reply.n_effects = echo->n_effects;
	reply.n_doubled = echo->n_doubled;
	reply.out_of_order = echo->out_of_order;
	pthread_mutex_unlock(&echo->lock);
	reply.n_cancelled = atomic_load(&echo->n_cancelled);
	reply.n_closed = atomic_load(&echo->n_closed);
	reply.n_connected = atomic_load(&echo->n_connected);
	reply.n_disconnected = atomic_load(&echo->n_disconnected);
	reply.n_exited = atomic_load(&echo->n_exited);
	reply.n_pulled = atomic_load(&echo->n_pulled);
	reply.n_opened = atomic_load(&echo->n_opened);
	reply.has_n_opened = true;
	reply.n_relistened = server.relistened;
	reply.connections = server.connections;
	reply.in_flight = server.in_flight;
	reply.has_n_effects = reply.has_n_doubled = reply.has_out_of_order = reply.has_n_cancelled = true;
	reply.has_n_closed = reply.has_n_connected = reply.has_n_disconnected = reply.has_n_exited = true;
	reply.has_n_pulled = reply.has_n_relistened = reply.has_connections = reply.has_in_flight = true;
	rpc_call_reply(call, &reply.base);
}

static bool stats_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	stats(call, request, context);
	return true;
}

static void pause_ms(uint32_t ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&pause, NULL);
}
