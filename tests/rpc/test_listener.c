/* SPDX-License-Identifier: MIT */
/*
 * The local address: who may have it, how it looks in the file system, and that it stays alive whatever clients do
 * while they connect (N1). ORMD_FULL=1: 10,000 connections, 50 second servers, 2,000 killed clients.
 */
#include "rpc/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/tempdir.h"

enum { SERVED_WITHIN_MS = 3000 };

static echo_process server;
static const char *dir;
static char ipc[SUPPORT_PATH_SIZE + 8], path[SUPPORT_PATH_SIZE];

static int start_server(void **state)
{
	(void)state;
	dir = support_tempdir();
	support_join(path, dir, "echo.sock");
	snprintf(ipc, sizeof ipc, "ipc://%s", path);
	echo_process_start(&server, (const char *[]){"-l", "ipc_mode=640", ipc, NULL});
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	echo_process_stop(&server);
	return 0;
}

static void call_must_work(rpc_channel *channel)
{
	Ormd__Test__V1__EchoRequest request = ORMD__TEST__V1__ECHO_REQUEST__INIT;
	assert_int_equal(call_unary(channel, ECHO_UNARY, &request, SUPPORT_PATIENCE_MS), RPC_OK);
}

/* A client that comes now is served soon; returns how soon, ms. */
static int64_t newcomer(void)
{
	int64_t before = support_now_ms();
	rpc_channel *channel = must_open(ipc, NULL);
	call_must_work(channel);
	int64_t took = support_now_ms() - before;
	rpc_channel_close(channel);
	return took;
}

static void newcomers_are_served_whatever_others_do(void **state)
{
	rpc_channel *old = must_open(ipc, NULL); /* its connection lives through it all */
	unsigned n = full_size() ? 10000 : 300;
	int64_t worst = 0;
	(void)state;
	call_must_work(old);
	uint64_t requests = rpc_channel_n_requests(old);
	for (unsigned i = 0; i < n; i++) { /* connect, perhaps greet, and be gone */
		int fd = raw_connect(ipc);
		if (fd >= 0)
			close(fd);
		if (i % (n / 6) == 0) {
			int64_t took = newcomer();
			worst = took > worst ? took : worst;
			call_must_work(old);
			requests++;
		}
	}
	print_message("after %u aborted connections: a newcomer was served within %d ms at worst\n", n, (int)worst);
	assert_int_equal(rpc_channel_n_requests(old), requests); /* nothing was repeated: the connection never broke */
	assert_true(worst <= SERVED_WITHIN_MS + 2000);           /* on a loaded machine */
	rpc_channel_close(old);
}

static void clients_killed_while_they_connect(void **state)
{
	unsigned n = full_size() ? 2000 : 30;
	unsigned random = 4711;
	(void)state;
	for (unsigned i = 0; i < n; i++) {
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;) {
				rpc_channel_options options = {.limits = rpc_limits_default()};
				rpc_status status;
				rpc_channel_close(rpc_channel_open(ipc, &options, &status));
			}
		}
		random = random * 1103515245 + 12345;
		struct timespec pause = {.tv_nsec = (long)(random >> 16) % 600 * 1000};
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		if (i % 10 == 9)
			assert_true(newcomer() <= SERVED_WITHIN_MS + 2000);
	}
}

static void second_server_is_refused_and_told_who_has_it(void **state)
{
	rpc_channel *old = must_open(ipc, NULL);
	unsigned n = full_size() ? 50 : 5;
	char expected[SUPPORT_PATH_SIZE + 100];
	(void)state;
	snprintf(expected, sizeof expected, "failed ALREADY_EXISTS %s is served already, by process %ld", ipc,
		 (long)server.process.pid);
	for (unsigned i = 0; i < n; i++) {
		const char *argv[] = {RPC_ECHO_SERVER, ipc, NULL};
		support_process second = {0};
		support_command command = {.argv = argv, .pipe_stdout = true};
		char line[256];
		int status;
		assert_true(support_process_start(&second, &command));
		assert_true(support_read_line(second.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
		assert_string_equal(line, expected);
		assert_true(support_process_wait(&second, SUPPORT_PATIENCE_MS, &status));
		support_process_fini(&second);
		call_must_work(old);
		assert_true(newcomer() <= SERVED_WITHIN_MS + 2000);
	}
	rpc_channel_close(old);
}

static void mode_and_names(void **state)
{
	struct stat socket, lock;
	(void)state;
	assert_int_equal(stat(path, &socket), 0);
	assert_true(S_ISSOCK(socket.st_mode));
	assert_int_equal(socket.st_mode & 0777, 0640);
	char name[SUPPORT_PATH_SIZE + 8];
	snprintf(name, sizeof name, "%s.lock", path);
	assert_int_equal(stat(name, &lock), 0);
	assert_int_equal(lock.st_mode & 0777, 0600);
}

static void removed_socket_comes_back(void **state)
{
	(void)state;
	rpc_channel *old = must_open(ipc, NULL);
	assert_int_equal(unlink(path), 0);
	int64_t deadline = support_now_ms() + SUPPORT_PATIENCE_MS;
	while (access(path, F_OK) != 0 && support_now_ms() < deadline) {
		struct timespec pause = {.tv_nsec = 10000000};
		nanosleep(&pause, NULL);
	}
	newcomer();
	call_must_work(old);
	rpc_channel_close(old);
}

static void files_are_gone_after_a_good_end_and_no_hindrance_after_a_bad_one(void **state)
{
	char lock[SUPPORT_PATH_SIZE + 8], victim[SUPPORT_PATH_SIZE];
	(void)state;
	snprintf(lock, sizeof lock, "%s.lock", path);
	echo_process_stop(&server);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(lock, F_OK), -1);

	/* A symbolic link in the way is replaced, not followed. */
	support_join(victim, dir, "victim");
	support_write_file(victim, "precious", 8);
	assert_int_equal(symlink(victim, path), 0);
	echo_process_start(&server, (const char *[]){ipc, NULL});
	newcomer();
	struct stat now;
	assert_int_equal(lstat(path, &now), 0);
	assert_true(S_ISSOCK(now.st_mode));
	size_t size;
	char *content = support_read_file(victim, &size);
	assert_non_null(content);
	assert_string_equal(content, "precious");
	free(content);

	echo_process_kill(&server);
	assert_int_equal(access(path, F_OK), 0); /* left behind */
	echo_process_start(&server, (const char *[]){ipc, NULL});
	newcomer();

	/* A lock that is a link is not written through. */
	echo_process_stop(&server);
	assert_int_equal(symlink(victim, lock), 0);
	support_process refused = {0};
	const char *argv[] = {RPC_ECHO_SERVER, ipc, NULL};
	char line[256];
	support_command command = {.argv = argv, .pipe_stdout = true};
	assert_true(support_process_start(&refused, &command));
	assert_true(support_read_line(refused.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_non_null(strstr(line, "cannot lock"));
	support_process_fini(&refused);
	assert_int_equal(unlink(lock), 0);
	echo_process_start(&server, (const char *[]){ipc, NULL});
}

static void addresses_that_are_refused(void **state)
{
	rpc_status status;
	rpc_server_options options = {.limits = rpc_limits_default()};
	rpc_server *one = rpc_server_new(&options, &status);
	char long_address[160];
	(void)state;
	assert_non_null(one);
	snprintf(long_address, sizeof long_address, "ipc://%s/%0100d", dir, 0);
	assert_int_equal(rpc_server_listen(one, long_address, &status), RPC_INVALID_ARGUMENT);
	assert_int_equal(rpc_server_listen(one, "ipc://", &status), RPC_INVALID_ARGUMENT);
	assert_int_equal(rpc_server_listen(one, "http://localhost", &status), RPC_INVALID_ARGUMENT);
	assert_int_equal(rpc_server_listen(one, "tcp://0.0.0.0:0", &status), RPC_PERMISSION_DENIED);
	assert_int_equal(rpc_server_listen(one, "tls+tcp://127.0.0.1:0", &status), RPC_INVALID_ARGUMENT);
	assert_int_equal(rpc_server_listen(one, "ipc:///nonexistent/dir/x", &status), RPC_UNAVAILABLE);
	assert_int_equal(rpc_server_n_addresses(one), 0);
	rpc_server_free(one);
	options.tls = &(rpc_tls){.ca_file = "x"};
	assert_null(rpc_server_new(&options, &status));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_and_names),
		cmocka_unit_test(newcomers_are_served_whatever_others_do),
		cmocka_unit_test(clients_killed_while_they_connect),
		cmocka_unit_test(second_server_is_refused_and_told_who_has_it),
		cmocka_unit_test(removed_socket_comes_back),
		cmocka_unit_test(files_are_gone_after_a_good_end_and_no_hindrance_after_a_bad_one),
		cmocka_unit_test(addresses_that_are_refused),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
