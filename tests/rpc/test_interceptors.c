/* SPDX-License-Identifier: MIT */
/* A server in the test's own process: interceptors, metrics, log lines, posted work, the watcher. */
#include "rpc/harness.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/echo_service.h"
#include "rpc/interceptors.h"
#include "support/eventually.h"
#include "support/tempdir.h"

typedef struct trace {
	char text[64];
	atomic_int n_lines, n_posted;
	char line[256];
} trace;

static trace seen;

/* The server's own canary calls Health every second: not what is looked at here. */
static bool is_ours(const rpc_call *call)
{
	return strcmp(rpc_call_method(call), "/ormd.test.v1.Echo/Unary") == 0;
}

static void outer_begin(rpc_call *call, void *context)
{
	(void)context;
	if (is_ours(call))
		strcat(seen.text, "(");
}

static void outer_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		      void *context)
{
	(void)context;
	assert_true(duration_us >= 0 && request_size > 0 && reply_size > 0);
	if (is_ours(call))
		strcat(seen.text, code == RPC_OK ? ")" : "!");
}

static void inner_begin(rpc_call *call, void *context)
{
	(void)context;
	if (is_ours(call))
		strcat(seen.text, "[");
}

static void inner_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		      void *context)
{
	(void)code;
	(void)duration_us;
	(void)request_size;
	(void)reply_size;
	(void)context;
	if (is_ours(call))
		strcat(seen.text, "]");
}

static void take_line(int level, const char *message, void *context)
{
	(void)level;
	(void)context;
	if (!strstr(message, "/ormd.test.v1.Echo/Unary"))
		return;
	snprintf(seen.line, sizeof seen.line, "%s", message);
	atomic_fetch_add(&seen.n_lines, 1);
}

static void posted(void *context)
{
	(void)context;
	atomic_fetch_add(&seen.n_posted, 1);
}

static bool was_posted(void *context)
{
	(void)context;
	return atomic_load(&seen.n_posted) == 1;
}

static void calls_are_seen_counted_and_logged(void **state)
{
	char address[SUPPORT_PATH_SIZE];
	rpc_server_options options = {.limits = rpc_limits_default(), .ipc_mode = 0600};
	rpc_status status;
	rpc_call_log log = {take_line, NULL};
	rpc_metrics *metrics = rpc_metrics_new();
	echo_service *echo = echo_service_new();
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	(void)state;
	assert_non_null(metrics);
	assert_non_null(echo);
	snprintf(address, sizeof address, "ipc://%s/s", support_tempdir());
	rpc_server *server = rpc_server_new(&options, &status);
	assert_non_null(server);
	echo_service_add(echo, server);
	rpc_interceptor added[] = {{outer_begin, outer_end, NULL},
				   {inner_begin, inner_end, NULL},
				   rpc_call_log_interceptor(&log),
				   rpc_metrics_interceptor(metrics)};
	for (size_t i = 0; i < 4; i++)
		rpc_server_add_interceptor(server, &added[i]);
	assert_int_equal(rpc_server_listen(server, address, &status), RPC_OK);
	assert_int_equal(rpc_server_n_addresses(server), 1);
	assert_int_equal(rpc_server_start(server, &status), RPC_OK);
	rpc_channel *channel = must_open(address, NULL);
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_OK);
	request.has_code = true;
	request.code = RPC_NOT_FOUND;
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_NOT_FOUND);
	assert_string_equal(seen.text, "([])([]!");
	assert_int_equal(atomic_load(&seen.n_lines), 2);
	assert_non_null(strstr(seen.line, "/ormd.test.v1.Echo/Unary NOT_FOUND"));

	rpc_method_metrics counted[8];
	size_t n_counted = rpc_metrics_snapshot(metrics, counted, 8), at = 1;
	assert_string_equal(counted[0].method, "(other)");
	while (at < n_counted && strcmp(counted[at].method, "/ormd.test.v1.Echo/Unary") != 0)
		at++;
	assert_true(at < n_counted);
	assert_int_equal(counted[at].calls, 2);
	assert_int_equal(counted[at].failed, 1);
	assert_int_equal(counted[at].codes[RPC_NOT_FOUND], 1);
	assert_true(counted[at].bytes_in > 2 * RPC_FRAME_HEADER_SIZE);
	assert_true(rpc_method_metrics_quantile(&counted[at], 1.0) >= rpc_method_metrics_quantile(&counted[at], 0.5));
	assert_true(rpc_method_metrics_quantile(&counted[at], 1.0) >= counted[at].max_us / 2);

	assert_true(rpc_server_post(server, posted, NULL));
	assert_true(support_eventually(was_posted, NULL, SUPPORT_PATIENCE_MS));
	rpc_channel_close(channel);
	assert_true(rpc_server_drain(server, SUPPORT_PATIENCE_MS));
	rpc_server_stats stats;
	rpc_server_stats_get(server, &stats);
	assert_true(stats.calls >= 2);
	assert_int_equal(stats.failed, 1);
	rpc_server_free(server);
	echo_service_free(echo);
	rpc_metrics_free(metrics);
}

static void servers_come_and_go_in_one_process(void **state)
{
	char address[SUPPORT_PATH_SIZE];
	rpc_server_options options = {.limits = rpc_limits_default()};
	rpc_status status;
	(void)state;
	snprintf(address, sizeof address, "ipc://%s/s", support_tempdir());
	rpc_server_free(NULL);
	for (int i = 0; i < 10; i++) {
		rpc_server *server = rpc_server_new(&options, &status);
		assert_non_null(server);
		if (i % 3) {
			assert_int_equal(rpc_server_listen(server, address, &status), RPC_OK);
			rpc_server *second = rpc_server_new(&options, &status);
			assert_int_equal(rpc_server_listen(second, address, &status), RPC_ALREADY_EXISTS);
			rpc_server_free(second);
		}
		if (i % 3 == 2) {
			assert_int_equal(rpc_server_start(server, &status), RPC_OK);
			rpc_channel_close(must_open(address, NULL));
		}
		rpc_server_free(server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_seen_counted_and_logged),
		cmocka_unit_test(servers_come_and_go_in_one_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
