/* SPDX-License-Identifier: MIT */
#include "rpc/harness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/eventually.h"
#include "support/tempdir.h"

void echo_process_start(echo_process *server, const char *const *arguments)
{
	const char *argv[32] = {RPC_ECHO_SERVER};
	size_t n = 1;
	while (arguments[n - 1]) {
		argv[n] = arguments[n - 1];
		n++;
	}
	memset(server, 0, sizeof *server);
	support_command command = {.argv = argv, .pipe_stdin = true, .pipe_stdout = true};
	assert_true(support_process_start(&server->process, &command));
	char line[256] = "";
	assert_true(support_read_line(server->process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_string_equal(line, "ready");
	size_t n_addresses = 0;
	for (size_t i = 0; arguments[i]; i++)
		n_addresses += strstr(arguments[i], "://") != NULL;
	for (size_t i = 0; i < n_addresses; i++) {
		assert_true(support_read_line(server->process.stdout_fd, server->addresses[i],
					      sizeof server->addresses[i], SUPPORT_PATIENCE_MS));
	}
}

void echo_process_stop(echo_process *server)
{
	int status = -1;
	assert_true(support_write_text(server->process.stdin_fd, "quit\n"));
	assert_true(support_process_wait(&server->process, SUPPORT_PATIENCE_MS, &status));
	assert_int_equal(status, 0);
	support_process_fini(&server->process);
}

void echo_process_kill(echo_process *server)
{
	int status;
	support_process_signal(&server->process, SIGKILL);
	assert_true(support_process_wait(&server->process, SUPPORT_PATIENCE_MS, &status));
	support_process_fini(&server->process);
}

static void shell(const char *dir, const char *script)
{
	const char *argv[] = {"/bin/sh", "-ec", script, NULL};
	support_command command = {
		.argv = argv, .directory = dir, .stdout_path = "/dev/null", .stderr_path = "/dev/null"};
	assert_int_equal(support_run(&command, SUPPORT_PATIENCE_MS), 0);
}

void make_certificates(const char *dir)
{
	shell(dir,
	      "new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
	      "for ca in ca foreign; do\n"
	      "  openssl req -x509 $new -keyout $ca.key -out $ca.pem -days 2 -subj /CN=$ca\n"
	      "done\n"
	      "for name in server client other; do\n"
	      "  ca=ca; [ $name = other ] && ca=foreign\n"
	      "  cn=localhost; [ $name = client ] && cn=client\n"
	      "  openssl req $new -keyout $name.key -out $name.csr -subj /CN=$cn\n"
	      "  openssl x509 -req -in $name.csr -CA $ca.pem -CAkey $ca.key -CAcreateserial -days 2 -out $name.crt\n"
	      "  cat $name.crt $name.key > $name.pem\n"
	      "done\n");
}

rpc_channel *must_open(const char *address, const char *certificates)
{
	char ca[SUPPORT_PATH_SIZE], own[SUPPORT_PATH_SIZE];
	rpc_tls tls = {.server_name = "localhost"};
	rpc_channel_options options = {.limits = rpc_limits_default(), .connect_timeout_ms = SUPPORT_PATIENCE_MS};
	rpc_status status;
	if (certificates) {
		tls.ca_file = support_join(ca, certificates, "ca.pem");
		tls.cert_key_file = support_join(own, certificates, "client.pem");
		options.tls = &tls;
	}
	rpc_channel *channel = rpc_channel_open(address, &options, &status);
	if (!channel)
		fail_msg("%s: %s", rpc_code_name(status.code), status.message);
	return channel;
}

rpc_channel *must_open_trying(const char *address, int64_t try_timeout_ms)
{
	rpc_channel_options options = {.limits = rpc_limits_default(),
				       .connect_timeout_ms = SUPPORT_PATIENCE_MS,
				       .try_timeout_ms = try_timeout_ms};
	rpc_status status;
	rpc_channel *channel = rpc_channel_open(address, &options, &status);
	if (!channel)
		fail_msg("%s: %s", rpc_code_name(status.code), status.message);
	return channel;
}

rpc_code call_unary(rpc_channel *channel, unsigned method, const Ormd__Test__V1__EchoRequest *request,
		    int64_t timeout_ms)
{
	orm_arena arena;
	ProtobufCMessage *reply;
	rpc_status status;
	orm_arena_init(&arena, 0);
	rpc_code code = rpc_channel_call(channel, &ormd__test__v1__echo__descriptor, method, &request->base,
					 orm_deadline_in_ms(timeout_ms), &arena, &reply, &status);
	orm_arena_fini(&arena);
	return code;
}

Ormd__Test__V1__StatsReply get_stats(const char *address)
{
	Ormd__Test__V1__Empty request = ORMD__TEST__V1__EMPTY__INIT;
	orm_arena arena;
	ProtobufCMessage *reply;
	rpc_status status;
	rpc_channel *channel = must_open(address, NULL);
	Ormd__Test__V1__StatsReply copy = ORMD__TEST__V1__STATS_REPLY__INIT;
	orm_arena_init(&arena, 0);
	rpc_code code = rpc_channel_call(channel, &ormd__test__v1__echo__descriptor, ECHO_STATS, &request.base,
					 orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &arena, &reply, &status);
	if (code != RPC_OK)
		fail_msg("Stats: %s %s", rpc_code_name(code), status.message);
	copy = *(Ormd__Test__V1__StatsReply *)reply;
	orm_arena_fini(&arena);
	rpc_channel_close(channel);
	return copy;
}

int raw_connect(const char *ipc_address)
{
	static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", ipc_address + 6);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) != (ssize_t)sizeof greeting) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		bytes += n;
		size -= (size_t)n;
	}
	return true;
}

bool raw_send(int fd, uint32_t tag, const uint8_t *frame, size_t size)
{
	uint8_t prefix[13] = {1};
	uint64_t length = size + 4;
	for (int i = 0; i < 8; i++)
		prefix[1 + i] = (uint8_t)(length >> (56 - 8 * i));
	tag |= 0x80000000U;
	for (int i = 0; i < 4; i++)
		prefix[9 + i] = (uint8_t)(tag >> (24 - 8 * i));
	return send_all(fd, prefix, sizeof prefix) && send_all(fd, frame, size);
}

static bool receive_all(int fd, uint8_t *bytes, size_t size, int64_t deadline)
{
	while (size) {
		struct pollfd waiting = {.fd = fd, .events = POLLIN};
		if (poll(&waiting, 1, support_left_ms(deadline)) <= 0)
			return false;
		ssize_t n = recv(fd, bytes, size, 0);
		if (n <= 0)
			return false;
		bytes += n;
		size -= (size_t)n;
	}
	return true;
}

ssize_t raw_receive(int fd, uint8_t *frame, size_t size, int timeout_ms)
{
	int64_t deadline = support_now_ms() + timeout_ms;
	uint8_t prefix[13];
	uint64_t length = 0;
	if (!receive_all(fd, prefix, 1, deadline))
		return -1;
	if (prefix[0] == 0) { /* the greeting comes first */
		if (!receive_all(fd, prefix + 1, 7, deadline) || !receive_all(fd, prefix, 1, deadline))
			return -1;
	}
	if (!receive_all(fd, prefix + 1, 12, deadline))
		return -1;
	for (int i = 0; i < 8; i++)
		length = length << 8 | prefix[1 + i];
	assert_true(length >= 4 && length - 4 <= size);
	return receive_all(fd, frame, length - 4, deadline) ? (ssize_t)length - 4 : -1;
}

size_t raw_request(uint8_t *bytes, const char *path, const uint8_t *client_id, uint64_t seq, const void *payload,
		   size_t payload_size)
{
	rpc_frame frame = {.kind = RPC_KIND_REQUEST,
			   .path_size = (uint16_t)strlen(path),
			   .payload_size = (uint32_t)payload_size,
			   .lane = 1,
			   .seq = seq,
			   .deadline_ms = RPC_FRAME_NO_DEADLINE};
	if (client_id)
		memcpy(frame.client_id, client_id, RPC_CLIENT_ID_SIZE);
	rpc_frame_encode(&frame, bytes);
	memcpy(bytes + RPC_FRAME_HEADER_SIZE, path, frame.path_size);
	if (payload_size)
		memcpy(bytes + RPC_FRAME_HEADER_SIZE + frame.path_size, payload, payload_size);
	return RPC_FRAME_HEADER_SIZE + frame.path_size + payload_size;
}

bool full_size(void)
{
	const char *full = getenv("ORMD_FULL");
	return full && strcmp(full, "1") == 0;
}
