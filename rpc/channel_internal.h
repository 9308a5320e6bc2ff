/* SPDX-License-Identifier: MIT */
/* The channel's inside, shared by channel.c and channel_stream.c. */
#ifndef RPC_CHANNEL_INTERNAL_H
#define RPC_CHANNEL_INTERNAL_H

#include <sys/types.h>

#include "rpc/frame.h"
#include "rpc/rpc.h"
#include "rpc/transport.h"

/* One question and its answer: a call, or a stream's next message. In the channel's list until dropped. */
struct rpc_pending {
	rpc_pending *next, *prev;
	rpc_frame frame;
	uint8_t *bytes; /* owned: header, path, head, payload */
	size_t size, capacity;
	int64_t deadline, first_sent, sent_at;
	unsigned n_tries;
	bool on_connection; /* sent over the present connection */
	bool done;
	uint8_t *reply; /* owned; NULL: code and message say what happened */
	size_t reply_size;
	rpc_code code;
	char message[256];
	const ProtobufCMessageDescriptor *output;
};

struct rpc_channel {
	char *address;
	rpc_channel_options options;
	rpc_tls tls;
	char *server_name; /* tls.server_name */
	rpc_transport *transport; /* NULL: not connected */
	pid_t pid;
	uint8_t client_id[RPC_CLIENT_ID_SIZE];
	uint64_t epoch;
	uint64_t next_seq;
	uint64_t n_requests;
	uint32_t tag;
	size_t max_message;
	rpc_pending *first, *last, *spare;
	size_t n_open;     /* pending and not done */
	unsigned n_failed; /* connections in a row */
	unsigned n_silent; /* tries in a row that nothing came back for */
	int64_t retry_at;
	const rpc_metadata *reply_metadata;
	size_t n_reply_metadata;
	char why[256]; /* the last connection's end */
	char text[256];
};

void rpc_pending_enqueue(rpc_channel *channel, rpc_pending *pending); /* number it and send it if possible */
rpc_pending *rpc_pending_next_chunk(rpc_channel *channel, uint64_t seq, uint32_t chunk, int64_t deadline_us,
				    const ProtobufCMessageDescriptor *output);
void rpc_pending_await(rpc_channel *channel, rpc_pending *pending); /* until done */
rpc_code rpc_pending_finish(rpc_channel *channel, rpc_pending *pending, orm_arena *arena, ProtobufCMessage **reply,
			    unsigned *flags, rpc_status *status); /* await, unpack, drop */
void rpc_pending_drop(rpc_channel *channel, rpc_pending *pending);
void rpc_channel_notify(rpc_channel *channel, rpc_kind kind, uint64_t seq); /* a frame without an answer */
void rpc_status_static(rpc_status *status, rpc_code code, const char *message);

#endif
