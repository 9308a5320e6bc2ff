/* SPDX-License-Identifier: MIT */
/* The frame's header, the Head and protobuf in an arena, on arbitrary bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "echo.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "rpc/codec.h"
#include "rpc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make the bytes pass the first checks, as random ones hardly ever do. */
static void pretend(uint8_t *bytes, size_t size)
{
	size_t rest = size - RPC_FRAME_HEADER_SIZE, path = rest ? bytes[10] % (rest + 1) : 0;
	size_t head = rest - path ? bytes[12] % (rest - path + 1) : 0;
	memcpy(bytes, "ORM1", 4);
	memset(bytes + 10, 0, 10);
	bytes[10] = (uint8_t)path;
	bytes[12] = (uint8_t)head;
	bytes[16] = (uint8_t)(rest - path - head);
	bytes[17] = (uint8_t)((rest - path - head) >> 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	rpc_frame frame;
	orm_arena arena;
	rpc_head head;
	rpc_code code;
	if (!bytes)
		return 0;
	if (size)
		memcpy(bytes, data, size);
	if (size >= RPC_FRAME_HEADER_SIZE && data[size - 1] & 1)
		pretend(bytes, size);
	orm_arena_init(&arena, 1 << 20);
	if (rpc_frame_decode(&frame, bytes, size)) {
		uint8_t again[RPC_FRAME_HEADER_SIZE];
		assert(RPC_FRAME_HEADER_SIZE + frame.path_size + (size_t)frame.head_size + frame.payload_size == size);
		rpc_frame_encode(&frame, again);
		assert(memcmp(again + 6, bytes + 6, 3) == 0 &&
		       memcmp(again + 10, bytes + 10, RPC_FRAME_HEADER_SIZE - 10) == 0);
		if (rpc_head_unpack(frame.head, frame.head_size, &arena, &head) == RPC_OK) {
			for (size_t i = 0; i < head.n_metadata; i++)
				assert(rpc_metadata_key_ok(head.metadata[i].key));
		}
		rpc_unpack(&ormd__test__v1__stream_request__descriptor, frame.payload, frame.payload_size, &arena,
			   &code);
		rpc_unpack(&ormd__rpc__v1__list_services_response__descriptor, frame.payload, frame.payload_size,
			   &arena, &code);
	}
	if (rpc_head_unpack(data, size, &arena, &head) == RPC_OK) {
		rpc_status status = {.message = head.message, .details = head.details, .n_details = head.n_details};
		size_t packed = rpc_head_size(head.metadata, head.n_metadata, &status);
		uint8_t *out = malloc(packed + 1);
		if (out)
			rpc_head_pack(head.metadata, head.n_metadata, &status, out);
		free(out);
	}
	assert(arena.size <= 1 << 20);
	orm_arena_fini(&arena);
	free(bytes);
	return 0;
}
