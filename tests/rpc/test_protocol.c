/* SPDX-License-Identifier: MIT */
/* The server against frames written by hand: malformed ones, repeated ones, and the rules of numbers and chunks. */
#include "rpc/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/rpc.pb-c.h"
#include "support/eventually.h"
#include "support/tempdir.h"

static echo_process server;
static const char *address;
static uint8_t reply[2 << 20];
static uint8_t client[RPC_CLIENT_ID_SIZE];

static int start_server(void **state)
{
	char ipc[SUPPORT_PATH_SIZE];
	(void)state;
	snprintf(ipc, sizeof ipc, "ipc://%s/echo.sock", support_tempdir());
	const char *arguments[] = {"-l", "stream_lease_ms=1500",    "-l", "max_unpacked=1000000",
				   "-l", "max_cached_reply=100000", ipc,  NULL};
	echo_process_start(&server, arguments);
	address = server.addresses[0];
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	echo_process_stop(&server);
	return 0;
}

static int new_client(void **state)
{
	static uint8_t n;
	(void)state;
	memset(client, 0, sizeof client);
	client[0] = 1;
	client[15] = ++n;
	return 0;
}

static rpc_frame ask(int fd, const uint8_t *frame, size_t size)
{
	rpc_frame answer = {0};
	assert_true(raw_send(fd, 1, frame, size));
	ssize_t got = raw_receive(fd, reply, sizeof reply, SUPPORT_PATIENCE_MS);
	assert_true(got > 0);
	assert_true(rpc_frame_decode(&answer, reply, (size_t)got));
	assert_int_equal(answer.kind, RPC_KIND_REPLY);
	return answer;
}

static size_t unary_request(uint8_t *bytes, const char *method, uint64_t seq, uint32_t sleep_ms, uint32_t reply_size)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	uint8_t payload[64];
	char path[64];
	request.has_sleep_ms = request.has_reply_size = true;
	request.sleep_ms = sleep_ms;
	request.reply_size = reply_size;
	snprintf(path, sizeof path, "/ormd.test.v1.Echo/%s", method);
	size_t size = ormd__test__v1__echo_request__pack(&request, payload);
	return raw_request(bytes, path, client, seq, payload, size);
}

static size_t add_request(uint8_t *bytes, uint64_t seq, uint64_t id)
{
	Ormd__Test__V1__AddRequest request = ORMD__TEST__V1__ADD_REQUEST__INIT;
	uint8_t payload[32];
	request.has_id = true;
	request.id = id;
	return raw_request(bytes, "/ormd.test.v1.Echo/Add", client, seq, payload,
			   ormd__test__v1__add_request__pack(&request, payload));
}

static void honest_client_is_served(void)
{
	rpc_channel *channel = must_open(address, NULL);
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_OK);
	rpc_channel_close(channel);
}

/* Each of these gets a status or a hang-up, and nobody else notices. */
static void malformed_frames(void **state)
{
	enum { CLOSED = -1 };
	uint8_t good[256], bad[512];
	size_t size = unary_request(good, "Unary", 1, 0, 1);
	rpc_frame answer;
	(void)state;
	const struct {
		const char *what;
		int expected;
		size_t offset; /* byte to change */
		uint8_t value;
		long size; /* 0: as it is; negative: cut so many bytes; positive: add so many */
	} table[] = {
		{"no magic", CLOSED, 0, 'X', 0},
		{"magic of another version", CLOSED, 3, '2', 0},
		{"major version 0", RPC_UNIMPLEMENTED, 4, 0, 0},
		{"major version 2", RPC_UNIMPLEMENTED, 4, 2, 0},
		{"minor version 9 is fine", RPC_OK, 5, 9, 0},
		{"kind 0", RPC_UNIMPLEMENTED, 6, 0, 0},
		{"a reply", RPC_UNIMPLEMENTED, 6, RPC_KIND_REPLY, 0},
		{"kind 255", RPC_UNIMPLEMENTED, 6, 255, 0},
		{"path one longer", CLOSED, 10, 25, 0},
		{"path one shorter", CLOSED, 10, 23, 0},
		{"path of 64 K", CLOSED, 11, 255, 0},
		{"head of one", CLOSED, 12, 1, 0},
		{"head of 4 G", CLOSED, 15, 255, 0},
		{"payload one longer", CLOSED, 16, 5, 0},
		{"payload of 4 G", CLOSED, 19, 255, 0},
		{"unknown method", RPC_UNIMPLEMENTED, RPC_FRAME_HEADER_SIZE + 23, 'Y', 0},
		{"path with a NUL", RPC_UNIMPLEMENTED, RPC_FRAME_HEADER_SIZE + 5, 0, 0},
		{"number 0", RPC_INVALID_ARGUMENT, 48, 0, 0},
		{"far too high a number", RPC_OUT_OF_RANGE, 50, 9, 0},
		{"acknowledging the future", RPC_OUT_OF_RANGE, 57, 9, 0},
		{"epoch of another server", RPC_UNAVAILABLE, 47, 1, 0},
		{"payload that is no protobuf", RPC_INVALID_ARGUMENT, RPC_FRAME_HEADER_SIZE + 24, 0xff, 0},
		{"payload with a group", RPC_INVALID_ARGUMENT, RPC_FRAME_HEADER_SIZE + 24, 0x0b, 0},
		{"one byte missing", CLOSED, 4, 1, -1},
		{"one byte too many", CLOSED, 4, 1, 1},
		{"only a header", CLOSED, 4, 1, -28},
		{"half a header", CLOSED, 4, 1, -64},
		{"deadline past already", RPC_DEADLINE_EXCEEDED, 64, 0, 0},
	};
	assert_int_equal(size, RPC_FRAME_HEADER_SIZE + 24 + 4);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		client[1]++;
		size = unary_request(bad, "Unary", 1, 0, 1);
		bad[size] = 0;
		bad[table[i].offset] = table[i].value;
		if (table[i].expected == RPC_DEADLINE_EXCEEDED)
			memset(bad + 64, 0, 4);
		size = (size_t)((long)size + table[i].size);
		int fd = raw_connect(address);
		assert_true(raw_send(fd, 1, bad, size));
		ssize_t got = raw_receive(fd, reply, sizeof reply, SUPPORT_PATIENCE_MS);
		int code = CLOSED;
		if (got >= 0) {
			assert_true(rpc_frame_decode(&answer, reply, (size_t)got));
			code = answer.code;
		}
		if (code != table[i].expected)
			fail_msg("%s: expected %d, got %d", table[i].what, table[i].expected, code);
		close(fd);
		honest_client_is_served();
	}
	/* A message without even a tag's worth of bytes; a tag without its mark. */
	int fd = raw_connect(address);
	assert_true(raw_send(fd, 1, NULL, 0));
	assert_int_equal(raw_receive(fd, reply, sizeof reply, SUPPORT_PATIENCE_MS), -1);
	close(fd);
	honest_client_is_served();
}

static void unpacking_bomb(void **state)
{
	/* Empty metadata entries: two bytes here, a struct there. */
	static uint8_t bytes[300000];
	size_t size = raw_request(bytes, "/ormd.test.v1.Echo/Unary", client, 1, NULL, 0);
	uint32_t head = 200000;
	(void)state;
	for (uint32_t i = 0; i < head; i += 2)
		bytes[size + i] = 0x0a;
	for (int i = 0; i < 4; i++)
		bytes[12 + i] = (uint8_t)(head >> 8 * i);
	int fd = raw_connect(address);
	rpc_frame answer = ask(fd, bytes, size + head);
	assert_int_equal(answer.code, RPC_RESOURCE_EXHAUSTED);
	close(fd);
	honest_client_is_served();
}

static void repeated_request_is_answered_with_the_same_bytes(void **state)
{
	uint8_t bytes[256];
	static uint8_t first[4096];
	(void)state;
	uint64_t before = get_stats(address).n_effects;
	size_t size = add_request(bytes, 1, 1);
	int fd = raw_connect(address);
	assert_true(raw_send(fd, 1, bytes, size));
	ssize_t got = raw_receive(fd, first, sizeof first, SUPPORT_PATIENCE_MS);
	assert_true(got > 0);
	for (int i = 0; i < 3; i++) { /* on the same connection, and on others */
		assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
		assert_memory_equal(reply, first, (size_t)got);
		close(fd);
		fd = raw_connect(address);
	}
	assert_int_equal(get_stats(address).n_effects, before + 1);

	size = add_request(bytes, 1, 2); /* the same number for something else */
	assert_int_equal(ask(fd, bytes, size).code, RPC_INVALID_ARGUMENT);
	size = add_request(bytes, 2, 2);
	rpc_frame_encode(&(rpc_frame){0}, first);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	size = add_request(bytes, 30, 3);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OUT_OF_RANGE);
	size = add_request(bytes, 3, 3);
	bytes[56] = 2; /* acknowledges 1 and 2 */
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	size = add_request(bytes, 2, 2);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OUT_OF_RANGE);
	assert_int_equal(get_stats(address).n_effects, before + 3);
	assert_int_equal(get_stats(address).n_doubled, 0);
	close(fd);
}

static void repetition_of_a_running_request_takes_its_answer(void **state)
{
	uint8_t bytes[256];
	(void)state;
	size_t size = unary_request(bytes, "Unary", 1, 300, 5);
	int first = raw_connect(address), second = raw_connect(address);
	assert_true(raw_send(first, 1, bytes, size));
	while (get_stats(address).in_flight < 2) /* it, and the question itself */
		;
	rpc_frame answer = ask(second, bytes, size);
	assert_int_equal(answer.code, RPC_OK);
	assert_int_equal(answer.flags & RPC_FLAG_SUPERSEDED, 0);
	ssize_t got = raw_receive(first, reply, sizeof reply, SUPPORT_PATIENCE_MS);
	assert_true(got > 0 && rpc_frame_decode(&answer, reply, (size_t)got));
	assert_int_equal(answer.code, RPC_ABORTED);
	assert_int_equal(answer.flags & RPC_FLAG_SUPERSEDED, RPC_FLAG_SUPERSEDED);
	close(first);
	close(second);
}

static void early_requests_wait_for_their_turn(void **state)
{
	uint8_t bytes[256];
	rpc_frame answer;
	(void)state;
	uint64_t before = get_stats(address).n_effects;
	int fd = raw_connect(address);
	for (uint64_t seq = 5; seq >= 1; seq--) {
		size_t size =
			add_request(bytes, seq, (UINT64_C(1) << 20) + seq); /* in its own row, ascending by number */
		assert_true(raw_send(fd, (uint32_t)seq, bytes, size));
		if (seq > 1)
			assert_int_equal(get_stats(address).n_effects, before);
	}
	for (uint64_t seq = 1; seq <= 5; seq++) {
		ssize_t got = raw_receive(fd, reply, sizeof reply, SUPPORT_PATIENCE_MS);
		assert_true(got > 0 && rpc_frame_decode(&answer, reply, (size_t)got));
		assert_int_equal(answer.code, RPC_OK);
	}
	assert_int_equal(get_stats(address).out_of_order, 0);
	assert_int_equal(get_stats(address).n_effects, before + 5);
	close(fd);
}

static void reply_too_large_to_keep(void **state)
{
	uint8_t bytes[256];
	(void)state;
	size_t size = unary_request(bytes, "Unary", 1, 0, 200000);
	int fd = raw_connect(address);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	assert_int_equal(ask(fd, bytes, size).code, RPC_DATA_LOSS);
	close(fd);
}

static void cancel_may_overtake_its_request(void **state)
{
	uint8_t bytes[256];
	(void)state;
	uint64_t before = get_stats(address).n_effects;
	int fd = raw_connect(address);
	uint8_t hello[RPC_FRAME_HEADER_SIZE], cancel[RPC_FRAME_HEADER_SIZE];
	rpc_frame frame = {.kind = RPC_KIND_HELLO};
	memcpy(frame.client_id, client, sizeof client);
	rpc_frame_encode(&frame, hello);
	frame.epoch = ask(fd, hello, sizeof hello).epoch;
	frame.kind = RPC_KIND_CANCEL;
	frame.lane = 1;
	frame.seq = 1;
	rpc_frame_encode(&frame, cancel);
	assert_true(raw_send(fd, 2, cancel, sizeof cancel));
	assert_int_equal(ask(fd, hello, sizeof hello).code, RPC_OK); /* an answer, so the frame before it was read */
	for (int i = 0; i < 50; i++)                                 /* and handled, as frames pass on two threads */
		ask(fd, hello, sizeof hello);
	size_t size = add_request(bytes, 1, 77);
	assert_int_equal(ask(fd, bytes, size).code, RPC_CANCELLED);
	size = add_request(bytes, 2, 78);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	assert_int_equal(get_stats(address).n_effects, before + 1);
	close(fd);
}

static size_t stream_request(uint8_t *bytes, uint64_t seq)
{
	Ormd__Test__V1__StreamRequest request = ORMD__TEST__V1__STREAM_REQUEST__INIT;
	uint8_t payload[64];
	uint32_t size = 1000;
	request.sizes = &size;
	request.n_sizes = 1;
	request.has_endless = request.endless = true;
	return raw_request(bytes, "/ormd.test.v1.Echo/Stream", client, seq, payload,
			   ormd__test__v1__stream_request__pack(&request, payload));
}

static size_t next_request(uint8_t *bytes, uint64_t seq, uint32_t chunk)
{
	size_t size = raw_request(bytes, "", client, seq, NULL, 0);
	rpc_frame frame;
	assert_true(rpc_frame_decode(&frame, bytes, size));
	frame.kind = RPC_KIND_NEXT;
	frame.chunk = chunk;
	rpc_frame_encode(&frame, bytes);
	return size;
}

static void repeated_chunk_has_the_same_bytes(void **state)
{
	uint8_t bytes[256];
	static uint8_t first[8192];
	(void)state;
	int fd = raw_connect(address);
	rpc_frame answer = ask(fd, bytes, stream_request(bytes, 1));
	assert_int_equal(answer.code, RPC_OK);
	assert_int_equal(answer.flags & (RPC_FLAG_STREAM | RPC_FLAG_LAST), RPC_FLAG_STREAM);
	for (uint32_t chunk = 1; chunk <= 3; chunk++) {
		uint64_t pulled = get_stats(address).n_pulled;
		answer = ask(fd, bytes, next_request(bytes, 1, chunk));
		assert_int_equal(answer.code, RPC_OK);
		assert_int_equal(answer.chunk, chunk);
		size_t size = RPC_FRAME_HEADER_SIZE + answer.head_size + answer.payload_size;
		memcpy(first, reply, size);
		close(fd);
		fd = raw_connect(address);
		answer = ask(fd, bytes, next_request(bytes, 1, chunk));
		assert_memory_equal(first, reply, size);
		assert_int_equal(get_stats(address).n_pulled, pulled + 1);
	}
	assert_int_equal(ask(fd, bytes, next_request(bytes, 1, 1)).code, RPC_OUT_OF_RANGE);
	assert_int_equal(ask(fd, bytes, next_request(bytes, 1, 5)).code, RPC_OUT_OF_RANGE);
	assert_int_equal(ask(fd, bytes, next_request(bytes, 9, 1)).code, RPC_NOT_FOUND);
	/* The opening request repeated gets message 0 again, not another stream. */
	assert_int_equal(ask(fd, bytes, stream_request(bytes, 1)).chunk, 0);
	close(fd);
}

static bool all_are_closed(void *context)
{
	Ormd__Test__V1__StatsReply stats = get_stats(address);
	(void)context;
	return stats.n_closed == stats.n_opened;
}

static void stream_that_is_not_read_is_closed(void **state)
{
	uint8_t bytes[256];
	(void)state;
	int fd = raw_connect(address);
	assert_int_equal(ask(fd, bytes, stream_request(bytes, 1)).code, RPC_OK);
	assert_true(support_eventually(all_are_closed, NULL, SUPPORT_PATIENCE_MS));
	assert_int_equal(ask(fd, bytes, next_request(bytes, 1, 1)).code, RPC_NOT_FOUND);
	close(fd);
}

static void a_client_has_a_bounded_number_of_streams(void **state)
{
	uint8_t bytes[256];
	uint64_t seq = 1;
	(void)state;
	int fd = raw_connect(address);
	for (; seq <= 16; seq++)
		assert_int_equal(ask(fd, bytes, stream_request(bytes, seq)).code, RPC_OK);
	assert_int_equal(ask(fd, bytes, stream_request(bytes, seq)).code, RPC_RESOURCE_EXHAUSTED);
	close(fd);
	honest_client_is_served();
}

static void anonymous_clients_get_unordered_methods_only(void **state)
{
	uint8_t bytes[256];
	(void)state;
	int fd = raw_connect(address);
	size_t size = raw_request(bytes, "/ormd.test.v1.Echo/EmptyCall", NULL, 1, NULL, 0);
	assert_int_equal(ask(fd, bytes, size).code, RPC_FAILED_PRECONDITION);
	size = raw_request(bytes, "/ormd.rpc.v1.Health/Check", NULL, 0, NULL, 0);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	close(fd);
}

static void a_connection_is_one_clients(void **state)
{
	uint8_t bytes[256];
	(void)state;
	int fd = raw_connect(address);
	size_t size = add_request(bytes, 1, 100);
	assert_int_equal(ask(fd, bytes, size).code, RPC_OK);
	client[0] = 2;
	size = add_request(bytes, 1, 101);
	assert_int_equal(ask(fd, bytes, size).code, RPC_PERMISSION_DENIED);
	close(fd);
}

static void too_many_requests_under_way(void **state)
{
	uint8_t bytes[256];
	rpc_frame answer;
	unsigned n_refused = 0;
	(void)state;
	int fd = raw_connect(address);
	for (uint64_t seq = 1; seq <= 24; seq++) { /* unordered ones, which are all under way at once */
		size_t size = raw_request(bytes, "/ormd.test.v1.Echo/Wait", client, seq, NULL, 0);
		bytes[56] = (uint8_t)(seq - 1);
		assert_true(raw_send(fd, (uint32_t)seq, bytes, size));
	}
	for (int i = 0; i < 8; i++) {
		ssize_t got = raw_receive(fd, reply, sizeof reply, SUPPORT_PATIENCE_MS);
		assert_true(got > 0 && rpc_frame_decode(&answer, reply, (size_t)got));
		assert_int_equal(answer.code, RPC_RESOURCE_EXHAUSTED);
		assert_int_equal(answer.flags & RPC_FLAG_NOT_EXECUTED, RPC_FLAG_NOT_EXECUTED);
		n_refused++;
	}
	assert_int_equal(n_refused, 8);
	close(fd);
	honest_client_is_served();
}

static void health_and_reflection(void **state)
{
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *message;
	rpc_channel *channel = must_open(address, NULL);
	(void)state;
	orm_arena_init(&arena, 0);
	static const struct {
		char *service;
		int expected;
	} table[] = {{NULL, 1}, {"", 1}, {"ormd.test.v1.Echo", 1}, {"ormd.rpc.v1.Health", 1}, {"no.such", 3}};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		Ormd__Rpc__V1__HealthCheckRequest request = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
		request.service = table[i].service;
		assert_int_equal(rpc_channel_call(channel, &ormd__rpc__v1__health__descriptor, 0, &request.base,
						  INT64_MAX, &arena, &message, &status),
				 RPC_OK);
		assert_int_equal(((Ormd__Rpc__V1__HealthCheckResponse *)message)->status, table[i].expected);
	}
	Ormd__Rpc__V1__ListServicesRequest request = ORMD__RPC__V1__LIST_SERVICES_REQUEST__INIT;
	assert_int_equal(rpc_channel_call(channel, &ormd__rpc__v1__reflection__descriptor, 0, &request.base, INT64_MAX,
					  &arena, &message, &status),
			 RPC_OK);
	const Ormd__Rpc__V1__ListServicesResponse *list = (const Ormd__Rpc__V1__ListServicesResponse *)message;
	assert_int_equal(list->n_services, 3);
	bool streaming = false;
	for (size_t i = 0; i < list->n_services; i++) {
		for (size_t k = 0; k < list->services[i]->n_methods; k++) {
			const Ormd__Rpc__V1__MethodInfo *method = list->services[i]->methods[k];
			if (strcmp(method->name, "Stream") == 0) {
				streaming = method->server_streaming;
				assert_string_equal(method->input, "ormd.test.v1.StreamRequest");
				assert_string_equal(method->output, "ormd.test.v1.Payload");
			}
		}
	}
	assert_true(streaming);
	rpc_channel_close(channel);
	orm_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(malformed_frames, new_client),
		cmocka_unit_test_setup(unpacking_bomb, new_client),
		cmocka_unit_test_setup(repeated_request_is_answered_with_the_same_bytes, new_client),
		cmocka_unit_test_setup(repetition_of_a_running_request_takes_its_answer, new_client),
		cmocka_unit_test_setup(early_requests_wait_for_their_turn, new_client),
		cmocka_unit_test_setup(reply_too_large_to_keep, new_client),
		cmocka_unit_test_setup(cancel_may_overtake_its_request, new_client),
		cmocka_unit_test_setup(repeated_chunk_has_the_same_bytes, new_client),
		cmocka_unit_test_setup(stream_that_is_not_read_is_closed, new_client),
		cmocka_unit_test_setup(a_client_has_a_bounded_number_of_streams, new_client),
		cmocka_unit_test_setup(anonymous_clients_get_unordered_methods_only, new_client),
		cmocka_unit_test_setup(a_connection_is_one_clients, new_client),
		cmocka_unit_test_setup(too_many_requests_under_way, new_client),
		cmocka_unit_test_setup(health_and_reflection, new_client),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
