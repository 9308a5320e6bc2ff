/* SPDX-License-Identifier: MIT */
/* A bare nng request and reply over ipc between two processes: what a call costs before anything is done in it. */
#include "bench.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench_ping {
	nng_socket socket;
	pid_t      server;
	size_t     request_size;
};

int bench_ping_serve(const char *address, size_t reply_size)
{
	nng_socket socket;
	nng_msg   *message;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (nng_rep0_open(&socket) != 0 || nng_listen(socket, address, NULL, 0) != 0)
		return 1;
	while (nng_recvmsg(socket, &message, 0) == 0) {
		nng_msg_realloc(message, reply_size);
		if (nng_sendmsg(socket, message, 0) != 0)
			nng_msg_free(message);
	}
	return 0;
}

bench_ping *bench_ping_open(const bench_options *options, size_t request_size, size_t reply_size)
{
	static int  counter;
	char        address[200];
	bench_ping *ping = calloc(1, sizeof *ping);
	if (!ping)
		return NULL;
	snprintf(address, sizeof address, "ipc://%s/ping%d", options->directory, counter++);
	ping->request_size = request_size;
	/* nng does not survive a fork: the server is this program again, executed. */
	char  size[24];
	char *arguments[] = {"ormd_bench", "--serve-ping", address, size, NULL};
	snprintf(size, sizeof size, "%zu", reply_size);
	if (posix_spawn(&ping->server, "/proc/self/exe", NULL, NULL, arguments, environ) != 0)
		ping->server = 0;
	if (nng_req0_open(&ping->socket) != 0)
		goto failed;
	nng_socket_set_ms(ping->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
	nng_socket_set_ms(ping->socket, NNG_OPT_RECONNMINT, 10);
	if (nng_dial(ping->socket, address, NULL, NNG_FLAG_NONBLOCK) != 0)
		goto failed;
	return ping;
failed:
	fprintf(stderr, "bench: nng: the bare ping could not be set up\n");
	bench_ping_close(ping);
	return NULL;
}

int bench_ping_once(bench_ping *ping)
{
	nng_msg *message;
	if (nng_msg_alloc(&message, ping->request_size) != 0)
		return -1;
	if (nng_sendmsg(ping->socket, message, 0) != 0) {
		nng_msg_free(message);
		return -1;
	}
	if (nng_recvmsg(ping->socket, &message, 0) != 0)
		return -1;
	nng_msg_free(message);
	return 0;
}

void bench_ping_close(bench_ping *ping)
{
	if (!ping)
		return;
	nng_close(ping->socket);
	if (ping->server > 0) {
		kill(ping->server, SIGKILL);
		waitpid(ping->server, NULL, 0);
	}
	free(ping);
}
