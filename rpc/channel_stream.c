/* SPDX-License-Identifier: MIT */
/* A stream as the client sees it: one message being read, the next one being made. */
#include <stdlib.h>
#include <unistd.h>

#include "rpc/channel_internal.h"

struct rpc_stream {
	rpc_channel *channel;
	rpc_pending *pending; /* the message under way; NULL: ended */
	uint64_t seq;
	uint32_t chunk; /* its number */
	int64_t deadline;
	const ProtobufCMessageDescriptor *output;
	rpc_code failed; /* how it ended, repeated for whoever asks again */
};

rpc_stream *rpc_channel_open_stream(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
				    const ProtobufCMessage *request, int64_t deadline_us, rpc_status *status)
{
	rpc_stream *stream = calloc(1, sizeof *stream);
	if (!stream) {
		rpc_status_static(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	stream->channel = channel;
	stream->deadline = deadline_us;
	stream->output = service->methods[method].output;
	stream->pending = rpc_channel_send(channel, service, method, request, deadline_us, status);
	if (!stream->pending) {
		free(stream);
		return NULL;
	}
	stream->seq = stream->pending->frame.seq;
	return stream;
}

rpc_code rpc_stream_next(rpc_stream *stream, orm_arena *arena, ProtobufCMessage **message, rpc_status *status)
{
	rpc_channel *channel = stream->channel;
	unsigned flags;
	*message = NULL;
	if (!stream->pending) {
		rpc_status_static(status, stream->failed,
				  stream->failed == RPC_OK ? "" : "the stream has failed before");
		return stream->failed;
	}
	if (getpid() == channel->pid)
		rpc_pending_await(channel, stream->pending);
	rpc_pending *pending = stream->pending;
	rpc_frame frame;
	bool more = pending->reply && rpc_frame_decode(&frame, pending->reply, pending->reply_size) &&
		    frame.code == RPC_OK && (frame.flags & RPC_FLAG_STREAM) && !(frame.flags & RPC_FLAG_LAST);
	rpc_pending *next = NULL;
	if (more && getpid() == channel->pid) { /* ask before unpacking: the server works on it meanwhile */
		next = rpc_pending_next_chunk(channel, stream->seq, stream->chunk + 1, stream->deadline,
					      stream->output);
	}
	rpc_code code = rpc_pending_finish(channel, pending, arena, message, &flags, status);
	if (getpid() != channel->pid)
		return code;
	if (!more && stream->chunk > 0)
		rpc_channel_notify(channel, RPC_KIND_CLOSE, stream->seq); /* the last message need not be kept */
	if (more && !next && code == RPC_OK) {
		*message = NULL;
		rpc_status_static(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		code = RPC_RESOURCE_EXHAUSTED;
	}
	stream->failed = code;
	stream->pending = next;
	stream->chunk++;
	if (code != RPC_OK && next) {
		rpc_channel_notify(channel, RPC_KIND_CLOSE, stream->seq);
		rpc_pending_drop(channel, next);
		stream->pending = NULL;
	}
	return code;
}

void rpc_stream_close(rpc_stream *stream)
{
	if (!stream)
		return;
	if (stream->pending && getpid() == stream->channel->pid) {
		rpc_channel_notify(stream->channel, stream->chunk == 0 ? RPC_KIND_CANCEL : RPC_KIND_CLOSE, stream->seq);
		rpc_pending_drop(stream->channel, stream->pending);
	}
	free(stream);
}
