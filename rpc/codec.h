/* SPDX-License-Identifier: MIT */
/* protobuf in arenas: the Head's two directions, and packing. Nothing here blocks or keeps anything. */
#ifndef RPC_CODEC_H
#define RPC_CODEC_H

#include "rpc/rpc.h"

/* Bytes that a Head needs; 0 when there is nothing to say. status may be NULL; only what it says beyond the code
 * travels. */
size_t rpc_head_size(const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status);
/* Write exactly that many bytes. */
void rpc_head_pack(const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status, uint8_t *out);

typedef struct rpc_head {
	rpc_metadata *metadata; /* arena; keys are terminated */
	size_t n_metadata;
	const char *message; /* arena; "" when absent */
	rpc_detail *details; /* arena */
	size_t n_details;
} rpc_head;

/* RPC_OK, or RPC_INVALID_ARGUMENT / RPC_RESOURCE_EXHAUSTED. All in the arena. size 0 is an empty head. */
rpc_code rpc_head_unpack(const uint8_t *data, size_t size, orm_arena *arena, rpc_head *head);

/* gRPC's rule for keys: [0-9a-z_.-]+ */
bool rpc_metadata_key_ok(const char *key);

#endif
