/* SPDX-License-Identifier: MIT */
/*
 * How a channel moves frames: one ops table, two implementations. A transport is one connection; when it breaks
 * it stays broken and another one is opened. For one thread at a time.
 */
#ifndef RPC_TRANSPORT_H
#define RPC_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/rpc.h"

typedef struct rpc_transport rpc_transport;

typedef struct rpc_transport_ops {
	/*
	 * Send a frame with a tag of its own. Waits while the peer does not read, taking in what it sends meanwhile.
	 * RPC_UNAVAILABLE: broken. RPC_DEADLINE_EXCEEDED: nothing of it was sent, or the connection is broken.
	 */
	rpc_code (*send)(rpc_transport *transport, uint32_t tag, const uint8_t *frame, size_t size,
			 int64_t deadline_us);

	/*
	 * The next frame, whatever its tag. *frame is owned by the caller (free()). RPC_DEADLINE_EXCEEDED: none yet;
	 * RPC_UNAVAILABLE: broken.
	 */
	rpc_code (*receive)(rpc_transport *transport, uint8_t **frame, size_t *size, int64_t deadline_us);

	/* In a forked child: only free what is ours, leave the connection alone. */
	void (*close)(rpc_transport *transport, bool forked);
} rpc_transport_ops;

struct rpc_transport {
	const rpc_transport_ops *ops;
};

/*
 * Connect; NULL with *code and why[] (a line for people) otherwise. RPC_UNAVAILABLE: try again later;
 * RPC_NOT_FOUND: nobody listens there now; RPC_RESOURCE_EXHAUSTED: no descriptors or memory left here;
 * RPC_INVALID_ARGUMENT: the address or the certificates' files make no sense.
 */
rpc_transport *rpc_transport_open(const char *address, const rpc_tls *tls, size_t max_message, int64_t deadline_us,
				  rpc_code *code, char why[256]);

rpc_transport *rpc_transport_open_sp(const char *address, size_t max_message, int64_t deadline_us, rpc_code *code,
				     char why[256]);
/* Over a connected socket that is its own from now on; nothing has been sent or received over it. NULL: out of memory.
 */
rpc_transport *rpc_transport_adopt_sp(int fd, bool ipc, size_t max_message);
rpc_transport *rpc_transport_open_nng(const char *address, const rpc_tls *tls, size_t max_message, int64_t deadline_us,
				      rpc_code *code, char why[256]);

#endif
