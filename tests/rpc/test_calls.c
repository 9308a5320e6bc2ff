/* SPDX-License-Identifier: MIT */
/* gRPC's interoperability cases, as far as they apply, over every transport (I1). */
#include "rpc/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/eventually.h"
#include "support/tempdir.h"

static const ProtobufCServiceDescriptor *const echo = &ormd__test__v1__echo__descriptor;

typedef struct fixture {
	const char *address;
	const char *certificates;
	const char *control; /* the same server by ipc, for its statistics */
	rpc_channel *channel;
	orm_arena arena;
	rpc_status status;
} fixture;

static echo_process server;
static const char *dir;

static fixture *get(void **state)
{
	return *state;
}

static rpc_code call(fixture *f, unsigned method, const ProtobufCMessage *request, int64_t timeout_ms,
		     Ormd__Test__V1__EchoReply **reply)
{
	ProtobufCMessage *message;
	rpc_code code = rpc_channel_call(f->channel, echo, method, request, orm_deadline_in_ms(timeout_ms), &f->arena,
					 &message, &f->status);
	*reply = (Ormd__Test__V1__EchoReply *)message;
	return code;
}

static void empty_unary(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__Empty request = ORMD__TEST__V1__EMPTY__INIT;
	ProtobufCMessage *reply;
	assert_int_equal(rpc_channel_call(f->channel, echo, ECHO_EMPTY, &request.base, ORM_NO_DEADLINE, &f->arena,
					  &reply, &f->status),
			 RPC_OK);
	assert_ptr_equal(reply->descriptor, &ormd__test__v1__empty__descriptor);
	assert_string_equal(f->status.message, "");
}

static void large_unary(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__EchoReply *reply;
	static uint8_t body[271828];
	request.has_body = request.has_reply_size = true;
	request.body = (ProtobufCBinaryData){sizeof body, body};
	request.reply_size = 314159;
	for (unsigned method = ECHO_UNARY; method <= ECHO_QUICK; method++) {
		assert_int_equal(call(f, method, &request.base, SUPPORT_PATIENCE_MS, &reply), RPC_OK);
		assert_int_equal(reply->body.len, 314159);
	}
	/* and what goes out comes back */
	for (size_t i = 0; i < sizeof body; i++)
		body[i] = (uint8_t)(i * 7);
	request.has_reply_size = false;
	assert_int_equal(call(f, ECHO_UNARY, &request.base, SUPPORT_PATIENCE_MS, &reply), RPC_OK);
	assert_int_equal(reply->body.len, sizeof body);
	assert_memory_equal(reply->body.data, body, sizeof body);
}

static rpc_stream *open_stream(fixture *f, uint32_t *sizes, size_t n, uint32_t sleep_ms, uint32_t fail_after,
			       bool endless)
{
	Ormd__Test__V1__StreamRequest request = ORMD__TEST__V1__STREAM_REQUEST__INIT;
	request.sizes = sizes;
	request.n_sizes = n;
	request.has_sleep_ms = request.has_fail_after = request.has_endless = true;
	request.sleep_ms = sleep_ms;
	request.fail_after = fail_after;
	request.endless = endless;
	rpc_stream *stream = rpc_channel_open_stream(f->channel, echo, ECHO_STREAM, &request.base,
						     orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &f->status);
	assert_non_null(stream);
	return stream;
}

static rpc_code next(fixture *f, rpc_stream *stream, size_t *size)
{
	ProtobufCMessage *message;
	rpc_code code = rpc_stream_next(stream, &f->arena, &message, &f->status);
	*size = message ? ((Ormd__Test__V1__Payload *)message)->body.len : SIZE_MAX;
	return code;
}

static void server_streaming(void **state)
{
	fixture *f = get(state);
	uint32_t sizes[] = {31415, 9, 2653, 58979, 0};
	size_t size;
	for (size_t n = 1; n <= 5; n++) { /* odd and even ones end differently: with the last message, or after it */
		rpc_stream *stream = open_stream(f, sizes, n, 0, 0, false);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(next(f, stream, &size), RPC_OK);
			assert_int_equal(size, sizes[i]);
		}
		for (int again = 0; again < 2; again++) {
			assert_int_equal(next(f, stream, &size), RPC_OK);
			assert_int_equal(size, SIZE_MAX);
		}
		rpc_stream_close(stream);
	}
}

static void empty_stream(void **state)
{
	fixture *f = get(state);
	size_t size;
	rpc_stream *stream = open_stream(f, NULL, 0, 0, 0, false);
	assert_int_equal(next(f, stream, &size), RPC_OK);
	assert_int_equal(size, SIZE_MAX);
	rpc_stream_close(stream);
}

static void stream_that_fails_midway(void **state)
{
	fixture *f = get(state);
	uint32_t sizes[] = {1, 2, 3, 4};
	size_t size;
	for (uint32_t at = 1; at <= 3; at++) {
		rpc_stream *stream = open_stream(f, sizes, 4, 0, at, false);
		for (uint32_t i = 1; i < at; i++)
			assert_int_equal(next(f, stream, &size), RPC_OK);
		assert_int_equal(next(f, stream, &size), RPC_DATA_LOSS);
		assert_non_null(strstr(f->status.message, "failed at message"));
		assert_int_equal(next(f, stream, &size), RPC_DATA_LOSS);
		rpc_stream_close(stream);
	}
}

static void streams_and_calls_side_by_side(void **state)
{
	fixture *f = get(state);
	uint32_t sizes[] = {100, 200, 300, 400, 500, 600};
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__EchoReply *reply;
	rpc_stream *streams[3];
	size_t size;
	for (int i = 0; i < 3; i++)
		streams[i] = open_stream(f, sizes, 6, 0, 0, false);
	for (int k = 0; k < 6; k++) {
		for (int i = 2; i >= 0; i--) {
			assert_int_equal(next(f, streams[i], &size), RPC_OK);
			assert_int_equal(size, sizes[k]);
		}
		assert_int_equal(call(f, ECHO_UNARY, &request.base, SUPPORT_PATIENCE_MS, &reply), RPC_OK);
	}
	for (int i = 0; i < 3; i++)
		rpc_stream_close(streams[i]);
}

static void custom_metadata(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__EchoReply *reply;
	char ca[SUPPORT_PATH_SIZE], own[SUPPORT_PATH_SIZE];
	rpc_metadata metadata = {"echo-initial", "test\0value", 10};
	rpc_tls tls = {.server_name = "localhost"};
	rpc_channel_options options = {.limits = rpc_limits_default(), .metadata = &metadata, .n_metadata = 1};
	if (f->certificates) {
		tls.ca_file = support_join(ca, f->certificates, "ca.pem");
		tls.cert_key_file = support_join(own, f->certificates, "client.pem");
		options.tls = &tls;
	}
	rpc_channel_close(f->channel);
	f->channel = rpc_channel_open(f->address, &options, &f->status);
	assert_non_null(f->channel);
	for (unsigned method = ECHO_UNARY; method <= ECHO_QUICK; method++) {
		assert_int_equal(call(f, method, &request.base, SUPPORT_PATIENCE_MS, &reply), RPC_OK);
		const rpc_metadata *back = rpc_channel_reply_metadata(f->channel, "echo-initial");
		assert_non_null(back);
		assert_int_equal(back->size, 10);
		assert_memory_equal(back->value, "test\0value", 10);
		assert_null(rpc_channel_reply_metadata(f->channel, "other"));
	}
}

static void status_code_and_message(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__EchoReply *reply;
	request.has_code = true;
	request.message = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n";
	for (uint32_t code = RPC_CANCELLED; code <= RPC_UNAUTHENTICATED; code++) {
		request.code = code;
		assert_int_equal(call(f, ECHO_UNARY, &request.base, SUPPORT_PATIENCE_MS, &reply), code);
		assert_null(reply);
		assert_int_equal(f->status.code, code);
		assert_string_equal(f->status.message, request.message);
		assert_int_equal(f->status.n_details, 0);
	}
	request.has_body = true;
	request.body = (ProtobufCBinaryData){6, (uint8_t *)"inside"};
	assert_int_equal(call(f, ECHO_QUICK, &request.base, SUPPORT_PATIENCE_MS, &reply), RPC_UNAUTHENTICATED);
	assert_int_equal(f->status.n_details, 1);
	assert_string_equal(f->status.details[0].type, "ormd.test.v1.Payload");
	rpc_code code;
	const Ormd__Test__V1__Payload *inside = (const Ormd__Test__V1__Payload *)rpc_unpack(
		&ormd__test__v1__payload__descriptor, f->status.details[0].value, f->status.details[0].size, &f->arena,
		&code);
	assert_non_null(inside);
	assert_memory_equal(inside->body.data, "inside", 6);
}

static void unimplemented_method(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__Empty request = ORMD__TEST__V1__EMPTY__INIT;
	ProtobufCMethodDescriptor method = echo->methods[ECHO_EMPTY];
	ProtobufCServiceDescriptor newer = *echo;
	ProtobufCMessage *reply;
	method.name = "FromTheFuture";
	newer.methods = &method;
	newer.n_methods = 1;
	assert_int_equal(
		rpc_channel_call(f->channel, &newer, 0, &request.base, ORM_NO_DEADLINE, &f->arena, &reply, &f->status),
		RPC_UNIMPLEMENTED);
	assert_non_null(strstr(f->status.message, "/ormd.test.v1.Echo/FromTheFuture"));
	empty_unary(state); /* the next call is not held up by it */
}

static void unimplemented_service(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__Empty request = ORMD__TEST__V1__EMPTY__INIT;
	ProtobufCServiceDescriptor other = *echo;
	ProtobufCMessage *reply;
	other.name = "ormd.test.v9.Other";
	assert_int_equal(
		rpc_channel_call(f->channel, &other, 0, &request.base, ORM_NO_DEADLINE, &f->arena, &reply, &f->status),
		RPC_UNIMPLEMENTED);
	assert_non_null(strstr(f->status.message, "/ormd.test.v9.Other/EmptyCall"));
}

static void timeout_on_sleeping_server(void **state)
{
	fixture *f = get(state);
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Test__V1__EchoReply *reply;
	uint64_t before = get_stats(f->control).n_cancelled;
	request.has_sleep_ms = true;
	request.sleep_ms = 60000;
	assert_int_equal(call(f, ECHO_UNARY, &request.base, 30, &reply), RPC_DEADLINE_EXCEEDED);
	/* The server stops working on it, and the lane is free for what comes next. */
	empty_unary(state);
	assert_int_equal(get_stats(f->control).n_cancelled, before + 1);
}

static bool streams_are_closed(void *context)
{
	const fixture *f = context;
	Ormd__Test__V1__StatsReply stats = get_stats(f->control);
	return stats.n_closed == stats.n_opened;
}

static void cancel_after_begin(void **state)
{
	fixture *f = get(state);
	uint32_t sizes[] = {1, 2};
	rpc_stream *stream = open_stream(f, sizes, 2, 60000, 0, false);
	rpc_stream_close(stream);
	empty_unary(state); /* the lane is free */
	assert_true(support_eventually(streams_are_closed, f, SUPPORT_PATIENCE_MS));
}

static void cancel_after_first_response(void **state)
{
	fixture *f = get(state);
	uint32_t sizes[] = {31415};
	size_t size;
	rpc_stream *stream = open_stream(f, sizes, 1, 0, 0, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(next(f, stream, &size), RPC_OK);
		assert_int_equal(size, 31415);
	}
	rpc_stream_close(stream);
	assert_true(support_eventually(streams_are_closed, f, SUPPORT_PATIENCE_MS));
	empty_unary(state);
}

static void concurrent_large_unary(void **state)
{
	fixture *f = get(state);
	enum { N = 100, CHANNELS = 4 };
	static uint8_t body[271828];
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	rpc_pending *pending[CHANNELS][N / CHANNELS];
	rpc_channel *channels[CHANNELS];
	ProtobufCMessage *message;
	request.has_body = request.has_reply_size = true;
	request.body = (ProtobufCBinaryData){sizeof body, body};
	for (int c = 0; c < CHANNELS; c++)
		channels[c] = must_open(f->address, f->certificates);
	for (uint32_t i = 0; i < N / CHANNELS; i++) {
		for (uint32_t c = 0; c < CHANNELS; c++) {
			request.reply_size = 314159 + i * CHANNELS + c;
			pending[c][i] =
				rpc_channel_send(channels[c], echo, i % 2 ? ECHO_UNARY : ECHO_QUICK, &request.base,
						 orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &f->status);
			assert_non_null(pending[c][i]);
		}
	}
	for (uint32_t c = CHANNELS; c-- > 0;) {
		for (uint32_t i = 0; i < N / CHANNELS; i++) {
			assert_int_equal(
				rpc_channel_receive(channels[c], pending[c][i], &f->arena, &message, &f->status),
				RPC_OK);
			assert_int_equal(((Ormd__Test__V1__EchoReply *)message)->body.len, 314159 + i * CHANNELS + c);
			orm_arena_reset(&f->arena);
		}
		rpc_channel_close(channels[c]);
	}
}

static void ping_pong_in_order(void **state)
{
	fixture *f = get(state);
	enum { N = 500 };
	Ormd__Test__V1__AddRequest request = ORMD__TEST__V1__ADD_REQUEST__INIT;
	rpc_pending *pending[N];
	ProtobufCMessage *message;
	static uint64_t caller;
	uint64_t before = rpc_channel_n_requests(f->channel);
	request.has_id = true;
	for (uint64_t i = 0; i < N; i++) {
		request.id = caller << 20 | (i + 1);
		pending[i] = rpc_channel_send(f->channel, echo, ECHO_ADD, &request.base,
					      orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &f->status);
		assert_non_null(pending[i]);
	}
	caller++;
	int64_t last = 0;
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(rpc_channel_receive(f->channel, pending[i], &f->arena, &message, &f->status), RPC_OK);
		assert_true(((Ormd__Test__V1__EchoReply *)message)->n_effects > last);
		last = ((Ormd__Test__V1__EchoReply *)message)->n_effects;
	}
	assert_int_equal(rpc_channel_n_requests(f->channel) - before, N);
	Ormd__Test__V1__StatsReply stats = get_stats(f->control);
	assert_int_equal(stats.out_of_order, 0);
	assert_int_equal(stats.n_doubled, 0);
}

static int begin(void **state)
{
	fixture *f = get(state);
	orm_arena_init(&f->arena, 0);
	f->channel = must_open(f->address, f->certificates);
	return 0;
}

static int finish(void **state)
{
	fixture *f = get(state);
	rpc_channel_close(f->channel);
	orm_arena_fini(&f->arena);
	return 0;
}

static fixture fixtures[3];

static int start_server(void **state)
{
	char ca[SUPPORT_PATH_SIZE], own[SUPPORT_PATH_SIZE], ipc[SUPPORT_PATH_SIZE];
	(void)state;
	dir = support_tempdir();
	make_certificates(dir);
	support_join(ca, dir, "ca.pem");
	support_join(own, dir, "server.pem");
	snprintf(ipc, sizeof ipc, "ipc://%s/echo.sock", dir);
	const char *arguments[] = {"-t", ca, own, ipc, "tcp://127.0.0.1:0", "tls+tcp://localhost:0", NULL};
	echo_process_start(&server, arguments);
	for (int i = 0; i < 3; i++) {
		fixtures[i].address = server.addresses[i];
		fixtures[i].control = server.addresses[0];
		fixtures[i].certificates = i == 2 ? dir : NULL;
	}
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	echo_process_stop(&server);
	return 0;
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction run;
	} cases[] = {
		{"empty_unary", empty_unary},
		{"large_unary", large_unary},
		{"server_streaming", server_streaming},
		{"empty_stream", empty_stream},
		{"stream_that_fails_midway", stream_that_fails_midway},
		{"streams_and_calls_side_by_side", streams_and_calls_side_by_side},
		{"custom_metadata", custom_metadata},
		{"status_code_and_message", status_code_and_message},
		{"unimplemented_method", unimplemented_method},
		{"unimplemented_service", unimplemented_service},
		{"timeout_on_sleeping_server", timeout_on_sleeping_server},
		{"cancel_after_begin", cancel_after_begin},
		{"cancel_after_first_response", cancel_after_first_response},
		{"concurrent_large_unary", concurrent_large_unary},
		{"ping_pong_in_order", ping_pong_in_order},
	};
	enum { N_CASES = sizeof cases / sizeof *cases };
	static const char *const transports[] = {"ipc", "tcp", "tls"};
	static char names[3 * N_CASES][64];
	struct CMUnitTest tests[3 * N_CASES];
	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < N_CASES; i++) {
			size_t at = t * N_CASES + i;
			snprintf(names[at], sizeof names[at], "%s over %s", cases[i].name, transports[t]);
			tests[at] = (struct CMUnitTest){names[at], cases[i].run, begin, finish, &fixtures[t]};
		}
	}
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
