/* SPDX-License-Identifier: MIT */
/*
 * Clients that mean no good, and an honest one beside them: replies that are never read (N2), connections that say
 * nothing or rubbish (N3), lengths that are never sent (N4).
 */
#include "rpc/harness.h"

#include <netinet/in.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/eventually.h"
#include "support/tempdir.h"

enum { ATTACKERS = 16, REQUESTS = 64, REPLY_SIZE = 1 << 20, REPLY_TIMEOUT_MS = 500 };

static echo_process server;
static const char *ipc, *tcp, *tls, *dir;

static int start_server(void **state)
{
	char ca[SUPPORT_PATH_SIZE], own[SUPPORT_PATH_SIZE], address[SUPPORT_PATH_SIZE];
	struct rlimit files;
	(void)state;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	dir = support_tempdir();
	make_certificates(dir);
	support_join(ca, dir, "ca.pem");
	support_join(own, dir, "server.pem");
	snprintf(address, sizeof address, "ipc://%s/echo.sock", dir);
	echo_process_start(&server, (const char *[]){"-t", ca, own, "-l", "reply_timeout_ms=500", address,
						     "tcp://127.0.0.1:0", "tls+tcp://localhost:0", NULL});
	ipc = server.addresses[0];
	tcp = server.addresses[1];
	tls = server.addresses[2];
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	echo_process_stop(&server);
	return 0;
}

/* A line "Name:  n kB" of the server's /proc/<pid>/status, in KiB. */
static long memory_kib(const char *name)
{
	char path[64], line[256];
	long kib = -1;
	snprintf(path, sizeof path, "/proc/%ld/status", (long)server.process.pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtol(line + strlen(name), NULL, 10);
	}
	if (file)
		fclose(file);
	return kib;
}

static size_t n_descriptors(void)
{
	char command[64], text[32];
	snprintf(command, sizeof command, "ls /proc/%ld/fd | wc -l", (long)server.process.pid);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_non_null(fgets(text, sizeof text, pipe));
	pclose(pipe);
	return strtoul(text, NULL, 10);
}

static int by_size(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return left < right ? -1 : left > right;
}

/* The 99th percentile of n small calls, us. All of them must work. */
static int64_t honest_p99(rpc_channel *channel, size_t n)
{
	static int64_t took[1000];
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	for (size_t i = 0; i < n; i++) {
		int64_t before = orm_clock_us();
		assert_int_equal(call_unary(channel, ECHO_QUICK, &request, SUPPORT_PATIENCE_MS), RPC_OK);
		took[i] = orm_clock_us() - before;
	}
	qsort(took, n, sizeof *took, by_size);
	return took[n * 99 / 100];
}

static bool only_honest_ones_are_left(void *context)
{
	const uint64_t *most = context;
	return get_stats(ipc).connections <= *most;
}

/* Sends as many as the server takes. */
static void attack(int fd, uint8_t n)
{
	uint8_t client[RPC_CLIENT_ID_SIZE] = {0xbad & 0xff, n}, payload[32], bytes[256];
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	request.has_reply_size = true;
	request.reply_size = REPLY_SIZE;
	size_t size = ormd__test__v1__echo_request__pack(&request, payload);
	for (uint64_t seq = 1; seq <= REQUESTS; seq++) {
		size_t frame = raw_request(bytes, "/ormd.test.v1.Echo/Quick", client, seq, payload, size);
		if (!raw_send(fd, (uint32_t)seq, bytes, frame))
			return; /* hung up on already */
	}
}

static void clients_that_never_read(void **state)
{
	rpc_channel *honest = must_open(ipc, NULL);
	int fds[ATTACKERS];
	uint64_t most = get_stats(ipc).connections; /* the honest one and the question's own */
	(void)state;
	int64_t idle = honest_p99(honest, 1000);
	for (uint8_t i = 0; i < ATTACKERS; i++) {
		fds[i] = raw_connect(ipc);
		assert_true(fds[i] >= 0);
		attack(fds[i], i);
	}
	int64_t attacked = honest_p99(honest, 1000);
	int64_t since = support_now_ms();
	assert_true(support_eventually(only_honest_ones_are_left, &most, SUPPORT_PATIENCE_MS));
	print_message("honest p99: %d us idle, %d us under attack; attackers gone %d ms later; peak memory %ld MiB\n",
		      (int)idle, (int)attacked, (int)(support_now_ms() - since), memory_kib("VmHWM:") / 1024);
	/* Each attacker may hold what one connection may have queued or under way: 16 MiB and 16 replies. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep freed memory, and shadows */
	assert_true(memory_kib("VmHWM:") < (ATTACKERS * (16 + 16) + 100) * 1024L);
#endif
	assert_true(attacked < 2000000); /* served, not stalled until the attackers were gone */
	for (int i = 0; i < ATTACKERS; i++)
		close(fds[i]);
	rpc_channel_close(honest);
}

static void client_that_stops_in_mid_frame(void **state)
{
	rpc_channel *honest = must_open(ipc, NULL);
	uint8_t bytes[256] = {1, 0, 0, 0, 0, 0, 0x10, 0, 0}; /* a message of 1 MiB, of which little comes */
	int fds[ATTACKERS];
	(void)state;
	for (int i = 0; i < ATTACKERS; i++) {
		fds[i] = raw_connect(ipc);
		assert_int_equal(send(fds[i], bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
	}
	honest_p99(honest, 100);
	for (int i = 0; i < ATTACKERS; i++)
		close(fds[i]);
	rpc_channel_close(honest);
}

static int tcp_connect(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static bool descriptors_are_back(void *context)
{
	const size_t *before = context;
	return n_descriptors() <= *before + 4; /* a canary's, a question's */
}

static void silent_and_rubbish_connections(void **state)
{
	enum { N = 120 };
	static const char *const rubbish[] = {"", "\0SP", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01",
					      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
	static const size_t sizes[] = {0, 3, 18, 8, 10};
	int fds[N];
	(void)state;
	size_t before = n_descriptors();
	for (size_t i = 0; i < N; i++) {
		if (i % 3 == 0) {
			struct sockaddr_un to = {.sun_family = AF_UNIX};
			snprintf(to.sun_path, sizeof to.sun_path, "%s", ipc + 6);
			fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
			(void)!connect(fds[i], (struct sockaddr *)&to,
				       sizeof to); /* the queue may be full for a while */
		} else {
			fds[i] = tcp_connect(i % 3 == 1 ? tcp : tls);
		}
		(void)!send(fds[i], rubbish[i % 5], sizes[i % 5], MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	const char *const addresses[] = {ipc, tcp, tls};
	for (int i = 0; i < 3; i++) {
		rpc_channel *honest = must_open(addresses[i], i == 2 ? dir : NULL);
		honest_p99(honest, 10);
		rpc_channel_close(honest);
	}
	for (int i = 0; i < N; i++)
		close(fds[i]);
	assert_true(support_eventually(descriptors_are_back, &before, SUPPORT_PATIENCE_MS));
}

static void announced_lengths_cost_no_memory(void **state)
{
	static const uint64_t lengths[] = {UINT64_C(1) << 30, UINT64_C(1) << 31, (UINT64_C(1) << 32) + 80,
					   UINT64_C(1) << 60, UINT64_MAX};
	(void)state;
	long before = memory_kib("VmSize:");
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		for (int k = 0; k < 32; k++) {
			uint8_t prefix[13] = {1}, byte;
			for (int b = 0; b < 8; b++)
				prefix[1 + b] = (uint8_t)(lengths[i] >> (56 - 8 * b));
			int fd = raw_connect(ipc);
			assert_true(fd >= 0);
			(void)!send(fd, prefix, sizeof prefix, MSG_NOSIGNAL);
			while (recv(fd, &byte, 1, 0) > 0) /* its greeting, then it hangs up */
				;
			close(fd);
		}
	}
	assert_true(memory_kib("VmSize:") - before < 512 * 1024L); /* 160 of 1 GiB and more would show */
	rpc_channel *honest = must_open(ipc, NULL);
	honest_p99(honest, 10);
	rpc_channel_close(honest);
}

/* What the client makes of a server that announces too much, or sends rubbish. */
static void client_refuses_rubbish_too(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char url[SUPPORT_PATH_SIZE];
	static const struct {
		const char *bytes;
		size_t size;
	} answers[] = {
		{"\0SP\0\0\x31\0\0\1\x10\0\0\0\0\0\0\0\x80\0\0\1", 21},     /* 2^60 bytes */
		{"\0SP\0\0\x31\0\0\1\0\0\0\0\0\0\0\x02", 17},               /* no room for a tag */
		{"\0SP\0\0\x31\0\0\1\0\0\0\0\0\0\0\x08\0\0\0\1nope", 25},   /* the tag's mark is missing */
		{"\0SP\0\0\x31\0\0\2\0\0\0\0\0\0\0\x08\x80\0\0\1nope", 25}, /* not a message */
		{"\0SP\0\0\x31\0\0\1\0\0\0\0\0\0\0\x08\x80\0\0\1nope", 25}, /* no frame */
		{"\0SP\0\0\x10\0\0", 8},                                    /* another protocol */
		{"HTTP/1.1 400\r\n\r\n", 16},
	};
	(void)state;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/fake.sock", dir);
	snprintf(url, sizeof url, "ipc://%s/fake.sock", dir);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listening, 8), 0);
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* the server: the same answer for whoever comes */
			for (;;) {
				int fd = accept(listening, NULL, NULL);
				(void)!send(fd, answers[i].bytes, answers[i].size, MSG_NOSIGNAL);
				uint8_t byte;
				while (recv(fd, &byte, 1, 0) > 0)
					;
				close(fd);
			}
		}
		rpc_channel_options options = {.limits = rpc_limits_default(), .connect_timeout_ms = 200};
		rpc_status status;
		assert_null(rpc_channel_open(url, &options, &status));
		assert_true(status.code == RPC_UNAVAILABLE || status.code == RPC_FAILED_PRECONDITION);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
	}
	close(listening);
}

static void foreign_certificates_are_refused(void **state)
{
	char ca[SUPPORT_PATH_SIZE], own[SUPPORT_PATH_SIZE], foreign[SUPPORT_PATH_SIZE];
	rpc_channel_options options = {.limits = rpc_limits_default(), .connect_timeout_ms = 600};
	rpc_status status;
	(void)state;
	support_join(ca, dir, "ca.pem");
	support_join(foreign, dir, "foreign.pem");
	rpc_tls table[] = {
		{ca, support_join(own, dir, "other.pem"), "localhost"}, /* a certificate of another authority */
		{foreign, dir, "localhost"},                            /* trusts another authority */
		{ca, dir, "example.com"},                               /* expects another name */
	};
	char client[SUPPORT_PATH_SIZE];
	table[1].cert_key_file = table[2].cert_key_file = support_join(client, dir, "client.pem");
	for (size_t i = 0; i < 3; i++) {
		options.tls = &table[i];
		assert_null(rpc_channel_open(tls, &options, &status));
		assert_int_equal(status.code, RPC_UNAVAILABLE);
	}
	options.tls = NULL;
	assert_null(rpc_channel_open(tls, &options, &status));
	assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
	options.tls = &(rpc_tls){"/nonexistent", "/nonexistent", "localhost"};
	assert_null(rpc_channel_open(tls, &options, &status));
	assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
	rpc_channel *honest = must_open(tls, dir);
	honest_p99(honest, 10);
	rpc_channel_close(honest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_that_never_read),        cmocka_unit_test(client_that_stops_in_mid_frame),
		cmocka_unit_test(silent_and_rubbish_connections), cmocka_unit_test(announced_lengths_cost_no_memory),
		cmocka_unit_test(client_refuses_rubbish_too),     cmocka_unit_test(foreign_certificates_are_refused),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
