/* SPDX-License-Identifier: MIT */
/* The client against a server that sends anything: first the bytes of the connection, then replies to calls and
 * streams. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "echo.pb-c.h"
#include "rpc/channel_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A transport that answers from the input; when that is used up, correctly, so that every call ends. */
typedef struct fake {
	rpc_transport base; /* first */
	const uint8_t *data;
	size_t size;
	rpc_frame asked; /* the last question */
} fake;

static uint8_t take(fake *from)
{
	if (!from->size)
		return 0;
	from->size--;
	return *from->data++;
}

static rpc_code fake_send(rpc_transport *base, uint32_t tag, const uint8_t *frame, size_t size, int64_t deadline_us)
{
	fake *self = (fake *)base;
	rpc_frame asked;
	(void)tag;
	(void)deadline_us;
	assert(rpc_frame_decode(&asked, frame, size));
	if (asked.kind == RPC_KIND_REQUEST || asked.kind == RPC_KIND_NEXT)
		self->asked = asked;
	return RPC_OK;
}

static rpc_code fake_receive(rpc_transport *base, uint8_t **bytes, size_t *size, int64_t deadline_us)
{
	fake *self = (fake *)base;
	rpc_frame frame = self->asked;
	uint8_t shape = take(self);
	size_t rest = 0;
	(void)deadline_us;
	frame.kind = RPC_KIND_REPLY;
	frame.path_size = 0;
	frame.head_size = frame.payload_size = 0;
	frame.code = RPC_OK;
	frame.flags = RPC_FLAG_LAST;
	if (self->size) {
		frame.flags = take(self);
		frame.code = shape & 1 ? take(self) : RPC_OK;
		frame.head_size = shape & 2 ? take(self) % 32 : 0;
		frame.payload_size = shape & 4 ? take(self) % 64 : 0;
		frame.seq += shape & 8 ? take(self) % 3U : 0U;
		frame.chunk += shape & 16 ? take(self) % 3U : 0U;
		rest = frame.head_size + frame.payload_size;
	}
	*size = RPC_FRAME_HEADER_SIZE + rest;
	*bytes = malloc(*size);
	if (!*bytes)
		abort();
	rpc_frame_encode(&frame, *bytes);
	for (size_t i = 0; i < rest; i++)
		(*bytes)[RPC_FRAME_HEADER_SIZE + i] = take(self);
	if (shape & 128 && self->size)
		(*bytes)[take(self) % *size] ^= take(self);
	return RPC_OK;
}

static void fake_close(rpc_transport *base, bool forked)
{
	(void)base;
	(void)forked;
}

static const rpc_transport_ops fake_ops = {fake_send, fake_receive, fake_close};

static void read_replies(const uint8_t *data, size_t size)
{
	fake transport = {{&fake_ops}, data, size, {0}};
	rpc_channel channel = {
		.transport = &transport.base, .next_seq = 1, .epoch = 7, .pid = getpid(), .address = "fake://"};
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *message;
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__StreamRequest sizes = ORMD__TEST__V1__STREAM_REQUEST__INIT;
	channel.options.limits = rpc_limits_default();
	channel.max_message = channel.options.limits.max_message;
	orm_arena_init(&arena, 1 << 20);
	while (transport.size) {
		rpc_code code = rpc_channel_call(&channel, &ormd__test__v1__echo__descriptor, 1, &request.base,
						 ORM_NO_DEADLINE, &arena, &message, &status);
		assert(code == status.code && (code == RPC_OK) == (message != NULL || (code == RPC_OK && !message)));
		assert(status.message);
		orm_arena_reset(&arena);
		rpc_stream *stream = rpc_channel_open_stream(&channel, &ormd__test__v1__echo__descriptor, 3,
							     &sizes.base, ORM_NO_DEADLINE, &status);
		for (int i = 0; i < 8 && rpc_stream_next(stream, &arena, &message, &status) == RPC_OK && message; i++)
			;
		rpc_stream_close(stream);
		orm_arena_reset(&arena);
	}
	while (channel.first)
		rpc_pending_drop(&channel, channel.first);
	for (rpc_pending *pending = channel.spare, *next; pending; pending = next) {
		next = pending->next;
		free(pending->bytes);
		free(pending);
	}
	orm_arena_fini(&arena);
}

/* The stream of bytes under the frames. */
static void read_bytes(const uint8_t *data, size_t size)
{
	static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
	int fds[2];
	uint8_t *frame;
	size_t frame_size;
	bool ipc = size && data[0] & 1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return;
	rpc_transport *transport = rpc_transport_adopt_sp(fds[0], ipc, 1 << 16);
	if (!transport)
		abort();
	bool ok = !(size && data[0] & 2) || send(fds[1], greeting, sizeof greeting, 0) == (ssize_t)sizeof greeting;
	for (size_t at = 1; ok && at < size;) { /* messages whose form is mostly right */
		size_t length = data[at] % 48;
		uint8_t prefix[13] = {1, 0, 0, 0, 0, 0, 0, 0, (uint8_t)(length + 4), 0x80 | data[at], 0, 0, 1};
		if (data[at] >> 6 == 3)
			prefix[1 + data[at] % 8] = data[at];
		at++;
		if (length > size - at)
			length = size - at;
		ok = send(fds[1], ipc ? prefix : prefix + 1, ipc ? 13 : 12, MSG_NOSIGNAL | MSG_DONTWAIT) > 0 &&
		     (!length || send(fds[1], data + at, length, MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
		at += length;
	}
	close(fds[1]);
	while (transport->ops->receive(transport, &frame, &frame_size, ORM_NO_DEADLINE) == RPC_OK) {
		assert(frame_size <= 1 << 16);
		free(frame);
	}
	transport->ops->close(transport, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_bytes(data, size);
	read_replies(data, size);
	return 0;
}
