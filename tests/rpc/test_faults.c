/* SPDX-License-Identifier: MIT */
/*
 * Exactly once over a bad network (R7): a proxy drops, doubles, delays, swaps and cuts messages, each with 5 %, both
 * ways. Every request has its effect once, in its caller's order, and every answer is its own request's. ORMD_FULL=1: a
 * million requests instead of 5,000. ORMD_SEED=<n> repeats a run's faults.
 */
#include "rpc/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/eventually.h"
#include "support/tempdir.h"

enum { CALLERS = 8, WINDOW = 10, FAULT_PERCENT = 5, TRY_MS = 40, PATIENCE_MS = 120000 };

static const ProtobufCServiceDescriptor *const echo = &ormd__test__v1__echo__descriptor;

static echo_process server;
static support_process proxy;
static const char *dir;
static char bad[SUPPORT_PATH_SIZE];

static int start_both(void **state)
{
	char direct[SUPPORT_PATH_SIZE], bad_path[SUPPORT_PATH_SIZE], seed[32], percent[8], line[64];
	const char *wanted = getenv("ORMD_SEED");
	(void)state;
	dir = support_tempdir();
	snprintf(direct, sizeof direct, "ipc://%s/echo.sock", dir);
	echo_process_start(&server, (const char *[]){direct, NULL});
	snprintf(seed, sizeof seed, "%s", wanted ? wanted : "");
	if (!wanted)
		snprintf(seed, sizeof seed, "%ld", (long)time(NULL));
	print_message("ORMD_SEED=%s\n", seed);
	snprintf(percent, sizeof percent, "%d", FAULT_PERCENT);
	support_join(bad_path, dir, "bad.sock");
	const char *argv[] = {RPC_FAULT_PROXY, seed, percent, bad_path, direct + 6, NULL};
	support_command command = {.argv = argv, .pipe_stdout = true};
	assert_true(support_process_start(&proxy, &command));
	assert_true(support_read_line(proxy.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	snprintf(bad, sizeof bad, "ipc://%s/bad.sock", dir);
	return 0;
}

static int stop_both(void **state)
{
	(void)state;
	support_process_fini(&proxy);
	echo_process_stop(&server);
	return 0;
}

/* One caller's requests, pipelined; in a process of its own. Returns how many answers were wrong. */
static unsigned call_all(uint32_t caller, uint32_t n)
{
	rpc_channel_options options = {
		.limits = rpc_limits_default(), .try_timeout_ms = TRY_MS, .connect_timeout_ms = PATIENCE_MS};
	rpc_status status;
	rpc_pending *pending[WINDOW];
	orm_arena arena;
	unsigned n_wrong = 0;
	rpc_channel *channel = rpc_channel_open(bad, &options, &status);
	if (!channel) {
		fprintf(stderr, "caller %u: %s\n", caller, status.message);
		return 1;
	}
	orm_arena_init(&arena, 0);
	for (uint32_t i = 1; i <= n + WINDOW; i++) {
		if (i > WINDOW) {
			ProtobufCMessage *message;
			uint32_t asked = i - WINDOW;
			rpc_code code = rpc_channel_receive(channel, pending[i % WINDOW], &arena, &message, &status);
			const Ormd__Test__V1__EchoReply *reply = (const Ormd__Test__V1__EchoReply *)message;
			if (code != RPC_OK || reply->body.len != sizeof asked ||
			    memcmp(reply->body.data, &asked, sizeof asked) != 0) {
				fprintf(stderr, "caller %u request %u: %s %s\n", caller, asked, rpc_code_name(code),
					status.message);
				n_wrong++;
			}
			orm_arena_reset(&arena);
		}
		if (i <= n) {
			Ormd__Test__V1__AddRequest request = ORMD__TEST__V1__ADD_REQUEST__INIT;
			request.has_id = request.has_body = true;
			request.id = (uint64_t)caller << 20 | i;
			request.body = (ProtobufCBinaryData){sizeof i, (uint8_t *)&i};
			pending[i % WINDOW] = rpc_channel_send(channel, echo, ECHO_ADD, &request.base,
							       orm_deadline_in_ms(PATIENCE_MS), &status);
			if (!pending[i % WINDOW])
				return n_wrong + 1;
		}
	}
	rpc_channel_close(channel);
	orm_arena_fini(&arena);
	return n_wrong;
}

static void every_request_has_its_effect_once(void **state)
{
	uint32_t n = (full_size() ? 1000000U : 5000U) / CALLERS;
	pid_t children[CALLERS];
	(void)state;
	for (uint32_t caller = 0; caller < CALLERS; caller++) {
		children[caller] = fork();
		if (children[caller] == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
			_exit(call_all(caller, n) > 0);
	}
	for (uint32_t caller = 0; caller < CALLERS; caller++) {
		int result;
		assert_int_equal(waitpid(children[caller], &result, 0), children[caller]);
		assert_int_equal(result, 0);
	}
	Ormd__Test__V1__StatsReply stats = get_stats(server.addresses[0]);
	assert_int_equal(stats.n_effects, (uint64_t)n * CALLERS);
	assert_int_equal(stats.n_doubled, 0);
	assert_int_equal(stats.out_of_order, 0);
}

static void every_message_of_a_stream_comes_once_and_in_order(void **state)
{
	Ormd__Test__V1__StreamRequest request = ORMD__TEST__V1__STREAM_REQUEST__INIT;
	rpc_channel *channel = must_open_trying(bad, TRY_MS);
	uint32_t sizes[301];
	rpc_status status;
	orm_arena arena;
	ProtobufCMessage *message;
	(void)state;
	orm_arena_init(&arena, 0);
	for (uint32_t i = 0; i < 301; i++)
		sizes[i] = 1 + i * 7;
	request.sizes = sizes;
	request.n_sizes = 301;
	rpc_stream *stream = rpc_channel_open_stream(channel, echo, ECHO_STREAM, &request.base,
						     orm_deadline_in_ms(PATIENCE_MS), &status);
	assert_non_null(stream);
	for (uint32_t i = 0; i < 301; i++) {
		if (rpc_stream_next(stream, &arena, &message, &status) != RPC_OK)
			fail_msg("message %u: %s %s", i, rpc_code_name(status.code), status.message);
		const ProtobufCBinaryData *body = &((Ormd__Test__V1__Payload *)message)->body;
		assert_int_equal(body->len, sizes[i]);
		assert_int_equal(body->data[0], i & 0xff);
		assert_int_equal(body->data[body->len - 1], i & 0xff);
		orm_arena_reset(&arena);
	}
	assert_int_equal(rpc_stream_next(stream, &arena, &message, &status), RPC_OK);
	assert_null(message);
	rpc_stream_close(stream);
	rpc_channel_close(channel);
	orm_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_has_its_effect_once),
		cmocka_unit_test(every_message_of_a_stream_comes_once_and_in_order),
	};
	return cmocka_run_group_tests(tests, start_both, stop_both);
}
