/* SPDX-License-Identifier: MIT */
/* The frame's bytes, the Head, and protobuf under a budget. */
#include "rpc/harness.h"

#include <string.h>

#include "proto/rpc.pb-c.h"
#include "rpc/codec.h"

static void header_has_the_documented_bytes(void **state)
{
	uint8_t bytes[RPC_FRAME_HEADER_SIZE + 7];
	rpc_frame frame = {.kind = RPC_KIND_REQUEST,
			   .flags = 0x12,
			   .code = 3,
			   .path_size = 4,
			   .head_size = 1,
			   .payload_size = 2,
			   .lane = 0x01020304,
			   .epoch = 0x1112131415161718,
			   .seq = 0x2122232425262728,
			   .ack_seq = 0x3132333435363738,
			   .deadline_ms = 0x41424344,
			   .chunk = 0x51525354};
	(void)state;
	for (unsigned i = 0; i < sizeof frame.client_id; i++)
		frame.client_id[i] = (uint8_t)(0xa0 + i);
	rpc_frame_encode(&frame, bytes);
	static const uint8_t expected[RPC_FRAME_HEADER_SIZE] = {
		'O',  'R',  'M',  '1',  1,    0,    1,    0x12, 3,    0,    4,    0,    1,    0,    0,
		0,    2,    0,    0,    0,    4,    3,    2,    1,    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5,
		0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x18, 0x17, 0x16, 0x15, 0x14,
		0x13, 0x12, 0x11, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35,
		0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, 0x54, 0x53, 0x52, 0x51};
	assert_memory_equal(bytes, expected, sizeof expected);

	memcpy(bytes + RPC_FRAME_HEADER_SIZE, "/a/bHPP", 7);
	rpc_frame read;
	assert_true(rpc_frame_decode(&read, bytes, sizeof bytes));
	assert_int_equal(read.major, RPC_FRAME_MAJOR);
	assert_int_equal(read.seq, frame.seq);
	assert_int_equal(read.chunk, frame.chunk);
	assert_memory_equal(read.client_id, frame.client_id, sizeof frame.client_id);
	assert_memory_equal(read.path, "/a/b", 4);
	assert_memory_equal(read.head, "H", 1);
	assert_memory_equal(read.payload, "PP", 2);
}

static void bytes_that_are_no_frame_are_refused(void **state)
{
	uint8_t bytes[RPC_FRAME_HEADER_SIZE + 8];
	rpc_frame frame = {.kind = RPC_KIND_REQUEST, .path_size = 3, .payload_size = 5}, read;
	(void)state;
	memset(bytes, 0, sizeof bytes);
	rpc_frame_encode(&frame, bytes);
	assert_true(rpc_frame_decode(&read, bytes, sizeof bytes));
	for (size_t size = 0; size < sizeof bytes; size++)
		assert_false(rpc_frame_decode(&read, bytes, size));
	for (int i = 0; i < 4; i++) { /* the magic */
		bytes[i] ^= 0x20;
		assert_false(rpc_frame_decode(&read, bytes, sizeof bytes));
		bytes[i] ^= 0x20;
	}
	static const int lengths[] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[lengths[i]] ^= (uint8_t)(1U << bit);
			assert_false(rpc_frame_decode(&read, bytes, sizeof bytes));
			bytes[lengths[i]] ^= (uint8_t)(1U << bit);
		}
	}
	memset(bytes + 10, 0xff, 10); /* lengths whose sum does not fit 32 bits */
	assert_false(rpc_frame_decode(&read, bytes, sizeof bytes));
}

static void head_survives_the_way(void **state)
{
	orm_arena arena;
	rpc_head head;
	uint8_t big[300];
	(void)state;
	orm_arena_init(&arena, 0);
	memset(big, 7, sizeof big);
	rpc_metadata metadata[] = {{"trace-id", "abc", 3}, {"empty", NULL, 0}, {"big", big, sizeof big}};
	rpc_detail details[] = {{"ormd.v1.Conflict", big, 200}};
	rpc_status status = {.code = RPC_ABORTED, .message = "conflict", .details = details, .n_details = 1};
	size_t size = rpc_head_size(metadata, 3, &status);
	uint8_t *bytes = orm_arena_alloc(&arena, size + 1);
	bytes[size] = 0xee;
	rpc_head_pack(metadata, 3, &status, bytes);
	assert_int_equal(bytes[size], 0xee);
	assert_int_equal(rpc_head_unpack(bytes, size, &arena, &head), RPC_OK);
	assert_int_equal(head.n_metadata, 3);
	assert_string_equal(head.metadata[0].key, "trace-id");
	assert_memory_equal(head.metadata[0].value, "abc", 3);
	assert_int_equal(head.metadata[1].size, 0);
	assert_int_equal(head.metadata[2].size, sizeof big);
	assert_memory_equal(head.metadata[2].value, big, sizeof big);
	assert_string_equal(head.message, "conflict");
	assert_int_equal(head.n_details, 1);
	assert_string_equal(head.details[0].type, "ormd.v1.Conflict");
	assert_int_equal(head.details[0].size, 200);

	assert_int_equal(rpc_head_size(NULL, 0, NULL), 0);
	assert_int_equal(rpc_head_unpack(NULL, 0, &arena, &head), RPC_OK);
	assert_string_equal(head.message, "");
	orm_arena_fini(&arena);
}

static void metadata_keys_are_checked(void **state)
{
	(void)state;
	assert_true(rpc_metadata_key_ok("trace-id_2.x"));
	assert_false(rpc_metadata_key_ok(""));
	assert_false(rpc_metadata_key_ok("Trace"));
	assert_false(rpc_metadata_key_ok("a b"));
	orm_arena arena;
	rpc_head head;
	uint8_t bytes[64];
	rpc_metadata metadata = {"UPPER", "x", 1};
	orm_arena_init(&arena, 0);
	size_t size = rpc_head_size(&metadata, 1, NULL);
	rpc_head_pack(&metadata, 1, NULL, bytes);
	assert_int_equal(rpc_head_unpack(bytes, size, &arena, &head), RPC_INVALID_ARGUMENT);
	orm_arena_fini(&arena);
}

static void unpacking_stays_within_the_budget(void **state)
{
	/* Empty submessages: two bytes on the wire, a whole struct each in memory. */
	static uint8_t bomb[1 << 16];
	orm_arena arena;
	rpc_code code;
	(void)state;
	for (size_t i = 0; i < sizeof bomb; i += 2)
		bomb[i] = 0x0a;
	orm_arena_init(&arena, 1 << 18);
	assert_null(rpc_unpack(&ormd__rpc__v1__head__descriptor, bomb, sizeof bomb, &arena, &code));
	assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
	assert_true(arena.size <= 1 << 18);
	orm_arena_fini(&arena);

	orm_arena_init(&arena, 64 << 20);
	assert_non_null(rpc_unpack(&ormd__rpc__v1__head__descriptor, bomb, sizeof bomb, &arena, &code));
	assert_int_equal(code, RPC_OK);
	assert_null(rpc_unpack(&ormd__rpc__v1__head__descriptor, bomb, 1, &arena, &code));
	assert_int_equal(code, RPC_INVALID_ARGUMENT);
	orm_arena_fini(&arena);
}

static void codes_have_grpcs_names_and_numbers(void **state)
{
	static const char *const names[] = {
		"OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED"};
	(void)state;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		assert_string_equal(rpc_code_name((rpc_code)i), names[i]);
	assert_string_equal(rpc_code_name((rpc_code)99), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_has_the_documented_bytes),
		cmocka_unit_test(bytes_that_are_no_frame_are_refused),
		cmocka_unit_test(head_survives_the_way),
		cmocka_unit_test(metadata_keys_are_checked),
		cmocka_unit_test(unpacking_stays_within_the_budget),
		cmocka_unit_test(codes_have_grpcs_names_and_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
