/* SPDX-License-Identifier: MIT */
#include "rpc/codec.h"

#include "proto/rpc.pb-c.h"

#include <string.h>

/* Head: 1 repeated Metadata {1 key, 2 value}, 2 message, 3 repeated Detail {1 type, 2 value}. It is written by
 * hand because the pieces lie in our own structs: building the generated ones first would cost allocations. */
enum { TAG_METADATA = 0x0a, TAG_MESSAGE = 0x12, TAG_DETAIL = 0x1a, TAG_NAME = 0x0a, TAG_VALUE = 0x12 };

static size_t varint_size(size_t n)
{
	size_t size = 1;
	while (n >= 0x80) {
		n >>= 7;
		size++;
	}
	return size;
}

static size_t field_size(size_t size)
{
	return 1 + varint_size(size) + size;
}

static uint8_t *put_varint(uint8_t *out, size_t n)
{
	while (n >= 0x80) {
		*out++ = (uint8_t)(n | 0x80);
		n >>= 7;
	}
	*out++ = (uint8_t)n;
	return out;
}

static uint8_t *put_field(uint8_t *out, uint8_t tag, const void *data, size_t size)
{
	*out++ = tag;
	out = put_varint(out, size);
	if (size)
		memcpy(out, data, size);
	return out + size;
}

static size_t pair_size(const char *name, size_t size)
{
	return field_size(strlen(name)) + field_size(size);
}

static uint8_t *put_pair(uint8_t *out, uint8_t tag, const char *name, const void *value, size_t size)
{
	*out++ = tag;
	out = put_varint(out, pair_size(name, size));
	out = put_field(out, TAG_NAME, name, strlen(name));
	return put_field(out, TAG_VALUE, value, size);
}

size_t rpc_head_size(const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status)
{
	size_t size = 0;
	for (size_t i = 0; i < n_metadata; i++)
		size += field_size(pair_size(metadata[i].key, metadata[i].size));
	if (!status)
		return size;
	if (status->message && *status->message)
		size += field_size(strlen(status->message));
	for (size_t i = 0; i < status->n_details; i++)
		size += field_size(pair_size(status->details[i].type, status->details[i].size));
	return size;
}

void rpc_head_pack(const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status, uint8_t *out)
{
	for (size_t i = 0; i < n_metadata; i++)
		out = put_pair(out, TAG_METADATA, metadata[i].key, metadata[i].value, metadata[i].size);
	if (!status)
		return;
	if (status->message && *status->message)
		out = put_field(out, TAG_MESSAGE, status->message, strlen(status->message));
	for (size_t i = 0; i < status->n_details; i++)
		out = put_pair(out, TAG_DETAIL, status->details[i].type, status->details[i].value,
			       status->details[i].size);
}

bool rpc_metadata_key_ok(const char *key)
{
	if (!*key)
		return false;
	for (; *key; key++) {
		if (!(*key >= '0' && *key <= '9') && !(*key >= 'a' && *key <= 'z') && !strchr("_.-", *key))
			return false;
	}
	return true;
}

rpc_code rpc_head_unpack(const uint8_t *data, size_t size, orm_arena *arena, rpc_head *head)
{
	*head = (rpc_head){.message = ""};
	if (!size)
		return RPC_OK;
	rpc_code code;
	const Ormd__Rpc__V1__Head *unpacked =
		(const Ormd__Rpc__V1__Head *)rpc_unpack(&ormd__rpc__v1__head__descriptor, data, size, arena, &code);
	if (!unpacked)
		return code;
	head->metadata = orm_arena_calloc(arena, unpacked->n_metadata, sizeof *head->metadata);
	head->details = orm_arena_calloc(arena, unpacked->n_details, sizeof *head->details);
	if (!head->metadata || !head->details)
		return RPC_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < unpacked->n_metadata; i++) {
		const Ormd__Rpc__V1__Metadata *pair = unpacked->metadata[i];
		if (!pair->key || !rpc_metadata_key_ok(pair->key))
			return RPC_INVALID_ARGUMENT;
		head->metadata[head->n_metadata++] = (rpc_metadata){pair->key, pair->value.data, pair->value.len};
	}
	for (size_t i = 0; i < unpacked->n_details; i++) {
		const Ormd__Rpc__V1__Detail *detail = unpacked->details[i];
		head->details[head->n_details++] =
			(rpc_detail){detail->type ? detail->type : "", detail->value.data, detail->value.len};
	}
	if (unpacked->message)
		head->message = unpacked->message;
	return RPC_OK;
}

static void *allocate(void *arena, size_t size)
{
	return orm_arena_alloc(arena, size);
}

static void forget(void *arena, void *piece)
{
	(void)arena;
	(void)piece;
}

ProtobufCAllocator rpc_arena_allocator(orm_arena *arena)
{
	return (ProtobufCAllocator){allocate, forget, arena};
}

ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size, orm_arena *arena,
			     rpc_code *code)
{
	ProtobufCAllocator allocator = rpc_arena_allocator(arena);
	arena->exhausted = false;
	ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, data);
	if (message)
		*code = RPC_OK;
	else
		*code = arena->exhausted ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT;
	return message;
}

bool rpc_detail_pack(const ProtobufCMessage *message, orm_arena *arena, rpc_detail *detail)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *value = orm_arena_alloc(arena, size);
	if (!value)
		return false;
	protobuf_c_message_pack(message, value);
	*detail = (rpc_detail){message->descriptor->name, value, size};
	return true;
}
