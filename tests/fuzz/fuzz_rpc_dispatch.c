/* SPDX-License-Identifier: MIT */
/*
 * The server's dispatch without a network: the input is a script of frames, from well-formed to garbage, of two
 * connections; what they start runs on this thread. Every frame is answered at most once, and at the end nothing is
 * left.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "echo.pb-c.h"
#include "rpc/server_internal.h"

enum { N_SLOTS = 64, N_CONNS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct script {
	const uint8_t *data;
	size_t size;
} script;

static rpc_server *server;
static rpc_slot slots[N_SLOTS];
static unsigned n_open; /* stream sources */

static uint8_t take(script *from)
{
	if (!from->size)
		return 0;
	from->size--;
	return *from->data++;
}

static void answer(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	Ormd__Test__V1__EchoReply reply = ORMD__TEST__V1__ECHO_REPLY__INIT;
	(void)context;
	if (request->descriptor == &ormd__test__v1__echo_request__descriptor) {
		const Ormd__Test__V1__EchoRequest *asked = (const Ormd__Test__V1__EchoRequest *)request;
		reply.has_body = asked->has_body;
		reply.body = asked->body;
		if (asked->code) {
			rpc_call_fail(call, RPC_ABORTED, "%s", asked->message ? asked->message : "");
			return;
		}
	}
	if (rpc_call_cancelled(call))
		rpc_call_fail(call, RPC_CANCELLED, "cancelled");
	else
		rpc_call_reply(call, &reply.base);
}

static bool answer_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	if (((const Ormd__Test__V1__EchoRequest *)request)->has_sleep_ms)
		return false;
	answer(call, request, context);
	return true;
}

static void next(rpc_pull *pull, void *context)
{
	Ormd__Test__V1__Payload message = ORMD__TEST__V1__PAYLOAD__INIT;
	unsigned *left = context;
	if (*left == 3)
		rpc_pull_fail(pull, RPC_DATA_LOSS, "three");
	else if (*left)
		rpc_pull_send(pull, &message.base, --*left == 0);
	else
		rpc_pull_send(pull, NULL, true);
}

static void close_source(void *context)
{
	n_open--;
	free(context);
}

static void stream(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	unsigned *left = malloc(sizeof *left);
	(void)context;
	if (!left)
		abort();
	*left = ((const Ormd__Test__V1__StreamRequest *)request)->sleep_ms % 8;
	n_open++;
	rpc_call_stream(call, &(rpc_stream_source){next, close_source, left});
}

static const rpc_method methods[] = {
	{.name = "EmptyCall", .handle = answer},
	{.name = "Unary", .handle = answer},
	{.name = "Quick", .handle = answer, .try_inline = answer_inline},
	{.name = "Stream", .handle = stream, .streaming = true},
	{.name = "Add", .handle = answer},
	{.name = "Wait", .handle = answer, .unordered = true},
	{.name = "Stats", .handle = answer, .unordered = true},
};

static void work(void)
{
	while (server->workers.first) {
		rpc_work *item = server->workers.first;
		server->workers.first = item->next;
		if (!item->next)
			server->workers.last = NULL;
		item->run(item);
	}
}

static void forget_events(void)
{
	for (rpc_event *event = server->peers.first, *following; event; event = following) {
		following = event->next;
		rpc_conn_unref(event->conn);
		free(event);
	}
	server->peers.first = server->peers.last = NULL;
	uint64_t count;
	(void)!read(server->peers.event_fd, &count, sizeof count);
}

static void check_reply(const uint8_t *reply, size_t size, void *context)
{
	rpc_frame frame;
	(void)context;
	assert(rpc_frame_decode(&frame, reply, size));
	assert(frame.kind == RPC_KIND_REPLY && frame.epoch == server->epoch && frame.code <= RPC_UNAUTHENTICATED);
}

static nng_msg *make_frame(script *from)
{
	static const char *const paths[] = {"/ormd.test.v1.Echo/Unary",  "/ormd.test.v1.Echo/Quick",
					    "/ormd.test.v1.Echo/Stream", "/ormd.test.v1.Echo/Wait",
					    "/ormd.rpc.v1.Health/Check", "/no/such"};
	uint8_t shape = take(from);
	rpc_frame frame = {.kind = take(from) % 8, .lane = shape & 1, .seq = take(from) % 32, .chunk = take(from) % 6};
	uint8_t more = take(from);
	const char *path = frame.kind == RPC_KIND_REQUEST ? paths[more % 6] : "";
	size_t payload = shape & 2 ? take(from) % 64 : 0, head = shape & 4 ? take(from) % 16 : 0;
	nng_msg *message;
	frame.ack_seq = shape & 8 ? frame.seq - 1 : 0;
	frame.epoch = shape & 16 ? server->epoch : 0;
	frame.deadline_ms = shape & 32 ? take(from) : RPC_FRAME_NO_DEADLINE;
	frame.client_id[0] = shape & 64 ? 0 : 1;
	frame.client_id[1] = more >> 7;
	frame.path_size = (uint16_t)strlen(path);
	frame.head_size = (uint32_t)head;
	frame.payload_size = (uint32_t)payload;
	if (nng_msg_alloc(&message, RPC_FRAME_HEADER_SIZE + frame.path_size + head + payload) != 0)
		abort();
	uint8_t *bytes = nng_msg_body(message);
	rpc_frame_encode(&frame, bytes);
	memcpy(bytes + RPC_FRAME_HEADER_SIZE, path, frame.path_size);
	for (size_t i = 0; i < head + payload; i++)
		bytes[RPC_FRAME_HEADER_SIZE + frame.path_size + i] = take(from);
	if (shape & 128) { /* spoil it */
		for (uint8_t n = take(from) % 4; n > 0; n--) {
			uint8_t at = take(from);
			bytes[at % nng_msg_len(message)] ^= take(from);
		}
		nng_msg_chop(message, more % 3);
	}
	return message;
}

static rpc_slot *free_slot(void)
{
	for (size_t i = 0; i < N_SLOTS; i++) {
		if (!slots[i].conn)
			return &slots[i];
	}
	return NULL;
}

static rpc_conn *connect_one(uint32_t pipe)
{
	rpc_conn *conn = calloc(1, sizeof *conn);
	if (!conn)
		abort();
	atomic_init(&conn->refs, 1);
	conn->pidfd = -1;
	conn->peer.connection = pipe;
	return conn;
}

static void disconnect_one(rpc_conn *conn)
{
	rpc_client *client = atomic_load(&conn->client);
	atomic_store(&conn->closed_at, 1);
	atomic_store(&conn->process_gone, true);
	if (client) {
		client->n_conns--;
		client->process_gone = true;
	}
	rpc_conn_unref(conn);
}

static void begin(void)
{
	rpc_server_options options = {.limits = rpc_limits_default()};
	rpc_status status;
	options.limits.max_unpacked = 1 << 16;
	options.limits.max_cached = 4096;
	options.limits.max_cached_reply = 1024;
	server = rpc_server_new(&options, &status);
	if (!server)
		abort();
	rpc_server_add_service(server, &ormd__test__v1__echo__descriptor, methods, 7, NULL);
	for (size_t i = 0; i < N_SLOTS; i++) {
		slots[i].server = server;
		slots[i].sink = check_reply;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	script from = {data, size};
	rpc_conn *conns[N_CONNS];
	if (!server)
		begin();
	for (uint32_t i = 0; i < N_CONNS; i++)
		conns[i] = connect_one(i + 1);
	while (from.size) {
		rpc_slot *slot = free_slot();
		rpc_conn *conn = conns[from.data[0] >> 3 & 1];
		if (!slot)
			break;
		slot->conn = conn;
		slot->counted = true;
		atomic_fetch_add(&conn->refs, 1);
		atomic_fetch_add(&conn->in_flight, 1);
		rpc_dispatch(server, slot, conn, make_frame(&from));
		if (size & 1)
			work();
	}
	work();
	for (uint32_t i = 0; i < N_CONNS; i++)
		disconnect_one(conns[i]);
	forget_events();
	/* Held calls whose client is gone end, then streams, then the clients are forgotten. */
	rpc_peers_sweep(server, orm_clock_us());
	work();
	rpc_peers_close_streams(server);
	work();
	rpc_peers_sweep(server, orm_clock_us());
	work();
	assert(server->peers.clients.len == 0);
	assert(atomic_load(&server->in_flight) == 0 && atomic_load(&server->n_streams) == 0 && n_open == 0);
	for (size_t i = 0; i < N_SLOTS; i++)
		assert(!slots[i].conn);
	return 0;
}
