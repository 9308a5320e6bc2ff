/* SPDX-License-Identifier: MIT */
#include "rpc/frame.h"

#include <string.h>

static const uint8_t magic[4] = {'O', 'R', 'M', '1'};

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) | (uint32_t)get_u16(p + 2) << 16;
}

static uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)v);
	put_u16(p + 2, (uint16_t)(v >> 16));
}

static void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)v);
	put_u32(p + 4, (uint32_t)(v >> 32));
}

bool rpc_frame_decode(rpc_frame *frame, const uint8_t *bytes, size_t size)
{
	if (size < RPC_FRAME_HEADER_SIZE || memcmp(bytes, magic, sizeof magic) != 0)
		return false;
	frame->major = bytes[4];
	frame->minor = bytes[5];
	frame->kind = bytes[6];
	frame->flags = bytes[7];
	frame->code = bytes[8];
	frame->path_size = get_u16(bytes + 10);
	frame->head_size = get_u32(bytes + 12);
	frame->payload_size = get_u32(bytes + 16);
	frame->lane = get_u32(bytes + 20);
	memcpy(frame->client_id, bytes + 24, RPC_CLIENT_ID_SIZE);
	frame->epoch = get_u64(bytes + 40);
	frame->seq = get_u64(bytes + 48);
	frame->ack_seq = get_u64(bytes + 56);
	frame->deadline_ms = get_u32(bytes + 64);
	frame->chunk = get_u32(bytes + 68);
	frame->path = (const char *)bytes + RPC_FRAME_HEADER_SIZE;
	frame->head = bytes + RPC_FRAME_HEADER_SIZE + frame->path_size;
	uint64_t whole = (uint64_t)RPC_FRAME_HEADER_SIZE + frame->path_size + frame->head_size + frame->payload_size;
	if (whole != size)
		return false;
	frame->payload = frame->head + frame->head_size;
	return true;
}

void rpc_frame_encode(const rpc_frame *frame, uint8_t bytes[RPC_FRAME_HEADER_SIZE])
{
	memcpy(bytes, magic, sizeof magic);
	bytes[4] = RPC_FRAME_MAJOR;
	bytes[5] = RPC_FRAME_MINOR;
	bytes[6] = frame->kind;
	bytes[7] = frame->flags;
	bytes[8] = frame->code;
	bytes[9] = 0;
	put_u16(bytes + 10, frame->path_size);
	put_u32(bytes + 12, frame->head_size);
	put_u32(bytes + 16, frame->payload_size);
	put_u32(bytes + 20, frame->lane);
	memcpy(bytes + 24, frame->client_id, RPC_CLIENT_ID_SIZE);
	put_u64(bytes + 40, frame->epoch);
	put_u64(bytes + 48, frame->seq);
	put_u64(bytes + 56, frame->ack_seq);
	put_u32(bytes + 64, frame->deadline_ms);
	put_u32(bytes + 68, frame->chunk);
}

bool rpc_client_id_is_zero(const uint8_t id[RPC_CLIENT_ID_SIZE])
{
	static const uint8_t zeros[RPC_CLIENT_ID_SIZE];
	return memcmp(id, zeros, RPC_CLIENT_ID_SIZE) == 0;
}
