/* SPDX-License-Identifier: MIT */
/* Lives and deaths: fork, drain, exit of a peer, restart of the server, deadlines, waiting calls. */
#include "rpc/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/rpc.pb-c.h"
#include "support/eventually.h"
#include "support/tempdir.h"

static const ProtobufCServiceDescriptor *const echo = &ormd__test__v1__echo__descriptor;

static echo_process server;
static const char *address;
static char ipc[SUPPORT_PATH_SIZE];

static void start(const char *const *more)
{
	const char *arguments[16];
	size_t n = 0;
	for (; more && more[n]; n++)
		arguments[n] = more[n];
	arguments[n++] = ipc;
	arguments[n] = NULL;
	echo_process_start(&server, arguments);
	address = server.addresses[0];
}

static int start_server(void **state)
{
	(void)state;
	snprintf(ipc, sizeof ipc, "ipc://%s/echo.sock", support_tempdir());
	start((const char *[]){"-l", "n_workers=2", NULL});
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	echo_process_stop(&server);
	return 0;
}

static rpc_code add(rpc_channel *channel, uint64_t id, int64_t timeout_ms, rpc_status *status)
{
	Ormd__Test__V1__AddRequest request = ORMD__TEST__V1__ADD_REQUEST__INIT;
	static orm_arena arena;
	ProtobufCMessage *reply;
	orm_arena_reset(&arena);
	request.has_id = true;
	request.id = id;
	return rpc_channel_call(channel, echo, ECHO_ADD, &request.base, orm_deadline_in_ms(timeout_ms), &arena, &reply,
				status);
}

static void channel_of_the_parent_refuses_to_work_in_a_child(void **state)
{
	rpc_channel *channel = must_open(address, NULL);
	rpc_status status;
	(void)state;
	assert_int_equal(add(channel, 1, SUPPORT_PATIENCE_MS, &status), RPC_OK);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bool ok = add(channel, 2, 1000, &status) == RPC_FAILED_PRECONDITION && strstr(status.message, "forked");
		Ormd__Test__V1__StreamRequest request = ORMD__TEST__V1__STREAM_REQUEST__INIT;
		ok = ok &&
		     !rpc_channel_open_stream(channel, echo, ECHO_STREAM, &request.base, ORM_NO_DEADLINE, &status);
		rpc_channel_options options = {.limits = rpc_limits_default()};
		rpc_channel *own = rpc_channel_open(address, &options, &status);
		ok = ok && own && memcmp(rpc_channel_client_id(own), rpc_channel_client_id(channel), 16) != 0;
		ok = ok && add(own, 3, SUPPORT_PATIENCE_MS, &status) == RPC_OK;
		rpc_channel_close(channel);
		rpc_channel_close(own);
		_exit(ok ? 0 : 1);
	}
	int result;
	assert_int_equal(waitpid(child, &result, 0), child);
	assert_int_equal(result, 0);
	assert_int_equal(add(channel, 4, SUPPORT_PATIENCE_MS, &status), RPC_OK); /* the parent's goes on */
	rpc_channel_close(channel);
}

static bool somebody_exited(void *context)
{
	const uint64_t *before = context;
	return get_stats(address).n_exited > *before;
}

/* A client that is connected until killed; returns its pid. `heir`: a child of its own keeps the socket open. */
static pid_t connected_child(bool heir, pid_t *heir_pid)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rpc_channel_options options = {.limits = rpc_limits_default()};
		rpc_status status;
		rpc_channel *channel = rpc_channel_open(address, &options, &status);
		pid_t grandchild = 0;
		if (channel && heir) {
			grandchild = fork();
			if (grandchild == 0) {
				for (;;)
					pause();
			}
		}
		if (channel && write(ready[1], &grandchild, sizeof grandchild) > 0) {
			for (;;)
				pause();
		}
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], heir_pid, sizeof *heir_pid), sizeof *heir_pid);
	close(ready[0]);
	return child;
}

static void death_of_a_client_is_noticed(void **state)
{
	(void)state;
	for (int heir = 0; heir <= 1; heir++) {
		pid_t heir_pid;
		pid_t child = connected_child(heir, &heir_pid);
		uint64_t before = get_stats(address).n_exited;
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		assert_true(support_eventually(somebody_exited, &before, SUPPORT_PATIENCE_MS));
		if (heir)
			kill(heir_pid, SIGKILL);
	}
}

static void drain_lets_large_replies_reach_their_clients(void **state)
{
	enum { N = 8 };
	rpc_channel *channels[N], *late = must_open(address, NULL);
	rpc_pending *pending[N];
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	Ormd__Rpc__V1__HealthCheckRequest check = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *reply;
	(void)state;
	orm_arena_init(&arena, 0);
	request.has_reply_size = request.has_sleep_ms = true;
	request.reply_size = 1 << 20;
	request.sleep_ms = 300; /* all of them have arrived before the first has ended, on two workers */
	for (int i = 0; i < N; i++) {
		channels[i] = must_open(address, NULL);
		pending[i] = rpc_channel_send(channels[i], echo, ECHO_UNARY, &request.base,
					      orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &status);
		assert_non_null(pending[i]);
	}
	while (get_stats(address).in_flight < N + 1)
		;
	assert_true(support_write_text(server.process.stdin_fd, "drain 20000\n"));
	do { /* until it drains */
		assert_int_equal(rpc_channel_call(late, &ormd__rpc__v1__health__descriptor, 0, &check.base,
						  orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &arena, &reply, &status),
				 RPC_OK);
	} while (((Ormd__Rpc__V1__HealthCheckResponse *)reply)->status == 1);
	assert_int_equal(((Ormd__Rpc__V1__HealthCheckResponse *)reply)->status, 2);
	assert_int_equal(add(late, 100, SUPPORT_PATIENCE_MS, &status), RPC_UNAVAILABLE);
	assert_non_null(strstr(status.message, "draining"));
	assert_true(support_write_text(server.process.stdin_fd, "quit\n")); /* at once after the drain */
	for (int i = N; i-- > 0;) {
		assert_int_equal(rpc_channel_receive(channels[i], pending[i], &arena, &reply, &status), RPC_OK);
		assert_int_equal(((Ormd__Test__V1__EchoReply *)reply)->body.len, 1 << 20);
		rpc_channel_close(channels[i]);
	}
	char line[64];
	int result;
	assert_true(support_read_line(server.process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "drained 1");
	assert_true(support_process_wait(&server.process, SUPPORT_PATIENCE_MS, &result));
	assert_int_equal(result, 0);
	support_process_fini(&server.process);
	rpc_channel_close(late);
	orm_arena_fini(&arena);
	start((const char *[]){"-l", "n_workers=2", NULL});
}

static void drain_ends_at_its_deadline(void **state)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	rpc_channel *channel = must_open(address, NULL);
	rpc_status status;
	char line[64];
	(void)state;
	request.has_sleep_ms = true;
	request.sleep_ms = 60000;
	assert_non_null(rpc_channel_send(channel, echo, ECHO_UNARY, &request.base, ORM_NO_DEADLINE, &status));
	while (get_stats(address).in_flight < 2)
		;
	assert_true(support_write_text(server.process.stdin_fd, "drain 50\n"));
	assert_true(support_read_line(server.process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "drained 0");
	echo_process_stop(&server); /* which cancels what runs */
	rpc_channel_close(channel);
	start((const char *[]){"-l", "n_workers=2", NULL});
}

static void restart_of_the_server_is_told(void **state)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	rpc_channel *channel = must_open(address, NULL);
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *reply;
	(void)state;
	orm_arena_init(&arena, 0);
	uint64_t epoch = rpc_channel_epoch(channel);
	assert_int_equal(add(channel, 200, SUPPORT_PATIENCE_MS, &status), RPC_OK);
	request.has_sleep_ms = true;
	request.sleep_ms = 60000;
	rpc_pending *running = rpc_channel_send(channel, echo, ECHO_UNARY, &request.base,
						orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &status);
	assert_non_null(running);
	echo_process_kill(&server);
	start((const char *[]){"-l", "n_workers=2", NULL}); /* the old socket file and its lock are in its way: no */
	assert_int_equal(rpc_channel_receive(channel, running, &arena, &reply, &status), RPC_ABORTED);
	assert_string_equal(status.message, "server restarted");
	assert_true(rpc_channel_epoch(channel) != epoch);
	assert_int_equal(add(channel, 200, SUPPORT_PATIENCE_MS, &status), RPC_OK);
	assert_int_equal(get_stats(address).n_effects, 1);

	/* A call that was never sent to the old server goes to the new one. */
	echo_process_kill(&server);
	assert_int_equal(add(channel, 201, 100, &status),
			 RPC_DEADLINE_EXCEEDED); /* sent into the broken connection, perhaps */
	start((const char *[]){"-l", "n_workers=2", NULL});
	assert_int_equal(add(channel, 202, SUPPORT_PATIENCE_MS, &status), RPC_OK);
	assert_int_equal(get_stats(address).n_effects, 1);
	rpc_channel_close(channel);
	orm_arena_fini(&arena);
}

static void nobody_there_is_told_at_once(void **state)
{
	rpc_channel_options options = {.limits = rpc_limits_default(), .connect_timeout_ms = SUPPORT_PATIENCE_MS};
	rpc_status status;
	(void)state;
	int64_t before = support_now_ms();
	assert_null(rpc_channel_open("ipc:///nonexistent/socket", &options, &status));
	assert_int_equal(status.code, RPC_UNAVAILABLE);
	assert_null(rpc_channel_open("tcp://127.0.0.1:1", &options, &status));
	assert_int_equal(status.code, RPC_UNAVAILABLE);
	assert_true(support_now_ms() - before < SUPPORT_PATIENCE_MS);
	assert_null(rpc_channel_open("carrier-pigeon://x", &options, &status));
	assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
}

static void call_past_its_deadline_is_not_begun(void **state)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	rpc_channel *busy[2], *late = must_open(address, NULL);
	rpc_pending *pending[2];
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *reply;
	(void)state;
	orm_arena_init(&arena, 0);
	uint64_t before = get_stats(address).n_effects;
	request.has_sleep_ms = true;
	request.sleep_ms = 60000;
	for (int i = 0; i < 2; i++) { /* both workers */
		busy[i] = must_open(address, NULL);
		pending[i] =
			rpc_channel_send(busy[i], echo, ECHO_UNARY, &request.base, orm_deadline_in_ms(300), &status);
	}
	while (rpc_channel_n_requests(late) == 0 && add(late, 300, 20, &status) == RPC_OK)
		; /* never: the workers are busy */
	assert_int_equal(status.code, RPC_DEADLINE_EXCEEDED);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rpc_channel_receive(busy[i], pending[i], &arena, &reply, &status),
				 RPC_DEADLINE_EXCEEDED);
		rpc_channel_close(busy[i]);
	}
	assert_int_equal(add(late, 301, SUPPORT_PATIENCE_MS, &status), RPC_OK);
	assert_int_equal(get_stats(address).n_effects, before + 1);
	rpc_channel_close(late);
	orm_arena_fini(&arena);
}

static bool all_cancelled(void *context)
{
	const uint64_t *wanted = context;
	return get_stats(address).n_cancelled == *wanted;
}

static void a_thousand_waiting_calls_take_no_threads(void **state)
{
	enum { CHANNELS = 100, EACH = 10 };
	static rpc_channel *channels[CHANNELS];
	static rpc_pending *pending[CHANNELS][EACH];
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	orm_arena arena;
	rpc_status status;
	ProtobufCMessage *reply;
	rpc_channel *waker = must_open(address, NULL);
	(void)state;
	orm_arena_init(&arena, 0);
	for (int c = 0; c < CHANNELS; c++) {
		channels[c] = must_open(address, NULL);
		for (int i = 0; i < EACH; i++) {
			pending[c][i] = rpc_channel_send(channels[c], echo, ECHO_WAIT, &request.base,
							 orm_deadline_in_ms(SUPPORT_PATIENCE_MS * 4), &status);
			assert_non_null(pending[c][i]);
		}
	}
	while (get_stats(address).in_flight < CHANNELS * EACH + 1)
		;
	request.message = "wake";
	assert_int_equal(call_unary(waker, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_OK);
	for (int c = 0; c < CHANNELS; c++) {
		for (int i = 0; i < EACH; i++)
			assert_int_equal(rpc_channel_receive(channels[c], pending[c][i], &arena, &reply, &status),
					 RPC_OK);
	}
	/* Waiting calls end when their client goes, in good order or not, and at their deadline. */
	uint64_t wanted = get_stats(address).n_cancelled + CHANNELS * EACH;
	request.message = NULL;
	for (int c = 0; c < CHANNELS; c++) {
		for (int i = 0; i < EACH; i++)
			assert_non_null(rpc_channel_send(channels[c], echo, ECHO_WAIT, &request.base, ORM_NO_DEADLINE,
							 &status));
	}
	while (get_stats(address).in_flight < CHANNELS * EACH + 1)
		;
	for (int c = 0; c < CHANNELS; c++)
		rpc_channel_close(channels[c]);
	assert_true(support_eventually(all_cancelled, &wanted, SUPPORT_PATIENCE_MS));
	assert_int_equal(call_unary(waker, ECHO_WAIT, &request, 20), RPC_DEADLINE_EXCEEDED);
	wanted++;
	assert_true(support_eventually(all_cancelled, &wanted, SUPPORT_PATIENCE_MS));
	rpc_channel_close(waker);
	orm_arena_fini(&arena);
}

static void messages_above_the_limit(void **state)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	rpc_channel *channel = must_open(address, NULL);
	rpc_limits limits = rpc_limits_default();
	(void)state;
	uint8_t *body = calloc(1, limits.max_message + 1);
	assert_non_null(body);
	request.has_body = true;
	request.body = (ProtobufCBinaryData){limits.max_message + 1, body};
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_RESOURCE_EXHAUSTED);
	request.has_body = false;
	request.has_reply_size = true;
	request.reply_size = (uint32_t)limits.max_message + 1;
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_RESOURCE_EXHAUSTED);
	request.has_body = true;
	request.has_reply_size = false;
	request.body.len = limits.max_message - 256; /* the largest fits both ways */
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_OK);
	free(body);
	rpc_channel_close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(channel_of_the_parent_refuses_to_work_in_a_child),
		cmocka_unit_test(death_of_a_client_is_noticed),
		cmocka_unit_test(drain_lets_large_replies_reach_their_clients),
		cmocka_unit_test(drain_ends_at_its_deadline),
		cmocka_unit_test(restart_of_the_server_is_told),
		cmocka_unit_test(nobody_there_is_told_at_once),
		cmocka_unit_test(call_past_its_deadline_is_not_begun),
		cmocka_unit_test(a_thousand_waiting_calls_take_no_threads),
		cmocka_unit_test(messages_above_the_limit),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
