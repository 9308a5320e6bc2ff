/* SPDX-License-Identifier: MIT */
/*
 * A server of the echo service as a program, for tests that kill it or must not share its threads.
 *
 * rpc_echo_server [-t ca.pem cert+key.pem] [-l NAME=VALUE]... ADDRESS...
 * prints "ready" and each address on a line, or "failed CODE message"; then obeys lines on stdin: "drain MS" (prints
 * "drained 0|1"), "quit".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "rpc/echo_service.h"

static void log_line(int level, const char *message, void *context)
{
	(void)context;
	fprintf(stderr, "echo server: <%d> %s\n", level, message);
}

static void set_limit(rpc_server_options *options, char *text)
{
	char *value = strchr(text, '=');
	*value++ = '\0';
	unsigned long n = strtoul(value, NULL, 10);
	if (strcmp(text, "max_message") == 0)
		options->limits.max_message = n;
	else if (strcmp(text, "max_unpacked") == 0)
		options->limits.max_unpacked = n;
	else if (strcmp(text, "reply_timeout_ms") == 0)
		options->limits.reply_timeout_ms = (uint32_t)n;
	else if (strcmp(text, "stream_lease_ms") == 0)
		options->limits.stream_lease_ms = (uint32_t)n;
	else if (strcmp(text, "max_cached_reply") == 0)
		options->limits.max_cached_reply = n;
	else if (strcmp(text, "max_clients") == 0)
		options->limits.max_clients = (uint32_t)n;
	else if (strcmp(text, "n_workers") == 0)
		options->n_workers = (uint32_t)n;
	else if (strcmp(text, "ipc_mode") == 0)
		options->ipc_mode = (uint32_t)strtoul(value, NULL, 8);
	else
		abort();
}

int main(int argc, char **argv)
{
	rpc_tls tls = {0};
	echo_service *echo = echo_service_new();
	rpc_server_options options = {.limits = rpc_limits_default(), .ipc_mode = 0600, .log = log_line};
	rpc_status status;
	struct rlimit files;
	int at = 1;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	options.watcher = echo_service_watcher(echo);
	for (; at < argc && argv[at][0] == '-'; at++) {
		if (argv[at][1] == 't') {
			tls.ca_file = argv[++at];
			tls.cert_key_file = argv[++at];
			options.tls = &tls;
		} else {
			set_limit(&options, argv[++at]);
		}
	}
	rpc_server *server = rpc_server_new(&options, &status);
	if (server)
		echo_service_add(echo, server);
	for (; server && at < argc; at++) {
		if (rpc_server_listen(server, argv[at], &status) != RPC_OK) {
			printf("failed %s %s\n", rpc_code_name(status.code), status.message);
			rpc_server_free(server);
			echo_service_free(echo);
			return 1;
		}
	}
	if (!server || rpc_server_start(server, &status) != RPC_OK)
		return 2;
	printf("ready\n");
	for (size_t i = 0; i < rpc_server_n_addresses(server); i++)
		printf("%s\n", rpc_server_address(server, i));
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
		if (strncmp(line, "drain ", 6) == 0) {
			printf("drained %d\n", rpc_server_drain(server, atol(line + 6)));
			fflush(stdout);
		}
	}
	rpc_server_free(server);
	echo_service_free(echo);
	return 0;
}
