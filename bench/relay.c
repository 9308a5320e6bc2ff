/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINES 64
#define HOLD_NS   2000000 /* how long an answer is held: longer than a client takes to say all it has to say */

typedef struct relay_line {
	int  client, engine; /* -1: free */
	bool answered;       /* since the client said something */
} relay_line;

struct bench_relay {
	struct sockaddr_un target;
	char             socket[sizeof((struct sockaddr_un *)0)->sun_path];
	int              listener;
	int              end[2]; /* a pipe: closed to end the thread */
	pthread_t        thread;
	bool             started;
	atomic_uint_least64_t turns;
	relay_line       lines[MAX_LINES];
};

static void end_line(relay_line *line)
{
	if (line->client >= 0)
		close(line->client);
	if (line->engine >= 0)
		close(line->engine);
	line->client = line->engine = -1;
}

static void accept_line(bench_relay *relay)
{
	int         client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
	relay_line *line = relay->lines;
	while (line < relay->lines + MAX_LINES && line->client >= 0)
		line++;
	if (client < 0 || line == relay->lines + MAX_LINES) {
		if (client >= 0)
			close(client);
		return;
	}
	*line = (relay_line){.client = client, .engine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .answered = true};
	if (line->engine < 0 || connect(line->engine, (struct sockaddr *)&relay->target, sizeof relay->target) != 0)
		end_line(line);
}

/* What has arrived, at most one buffer; false: nobody there any more. */
static bool pass(int from, int to, size_t *n_passed)
{
	char    data[65536];
	ssize_t size = recv(from, data, sizeof data, MSG_DONTWAIT);
	*n_passed = 0;
	if (size < 0)
		return true;
	for (ssize_t sent = 0; sent < size;) {
		ssize_t n = send(to, data + sent, (size_t)(size - sent), MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		sent += n;
	}
	*n_passed = (size_t)size;
	return size > 0;
}

static void pass_on(bench_relay *relay, relay_line *line, const struct pollfd *client, const struct pollfd *engine)
{
	size_t size;
	if (client->revents) {
		if (!pass(line->client, line->engine, &size)) {
			end_line(line);
			return;
		}
		if (size > 0 && line->answered)
			atomic_fetch_add(&relay->turns, 1);
		line->answered = line->answered && size == 0;
	}
	if (!engine->revents)
		return;
	if (!line->answered) {
		/* Who goes on without the answer has said so before it comes. */
		nanosleep(&(struct timespec){.tv_nsec = HOLD_NS}, NULL);
		if (!pass(line->client, line->engine, &size)) {
			end_line(line);
			return;
		}
	}
	if (!pass(line->engine, line->client, &size))
		end_line(line);
	line->answered = line->answered || size > 0;
}

static void *relay_main(void *argument)
{
	bench_relay *relay = argument;
	for (;;) {
		struct pollfd fds[2 + 2 * MAX_LINES] = {{.fd = relay->end[0], .events = POLLIN}, {.fd = relay->listener, .events = POLLIN}};
		for (size_t i = 0; i < MAX_LINES; i++) {
			fds[2 + 2 * i] = (struct pollfd){.fd = relay->lines[i].client, .events = POLLIN};
			fds[3 + 2 * i] = (struct pollfd){.fd = relay->lines[i].engine, .events = POLLIN};
		}
		if (poll(fds, sizeof fds / sizeof *fds, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		for (size_t i = 0; i < MAX_LINES; i++) {
			if (relay->lines[i].client >= 0)
				pass_on(relay, &relay->lines[i], &fds[2 + 2 * i], &fds[3 + 2 * i]);
		}
		if (fds[1].revents)
			accept_line(relay);
	}
}

bench_relay *bench_relay_open(const char *path, const char *target)
{
	struct sockaddr_un own = {.sun_family = AF_UNIX};
	bench_relay       *relay = calloc(1, sizeof *relay);
	if (!relay)
		return NULL;
	relay->target.sun_family = AF_UNIX;
	snprintf(relay->target.sun_path, sizeof relay->target.sun_path, "%s", target);
	snprintf(relay->socket, sizeof relay->socket, "%s", path);
	memcpy(own.sun_path, relay->socket, sizeof own.sun_path);
	for (size_t i = 0; i < MAX_LINES; i++)
		relay->lines[i].client = relay->lines[i].engine = -1;
	relay->end[0] = relay->end[1] = -1;
	relay->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (relay->listener >= 0 && bind(relay->listener, (struct sockaddr *)&own, sizeof own) == 0 && listen(relay->listener, 16) == 0 &&
	    pipe2(relay->end, O_CLOEXEC) == 0 && pthread_create(&relay->thread, NULL, relay_main, relay) == 0) {
		relay->started = true;
		return relay;
	}
	bench_failed(path, "the relay could not be set up");
	bench_relay_close(relay);
	return NULL;
}

uint64_t bench_relay_turns(bench_relay *relay)
{
	return atomic_load(&relay->turns);
}

void bench_relay_close(bench_relay *relay)
{
	if (!relay)
		return;
	if (relay->end[1] >= 0)
		close(relay->end[1]);
	if (relay->started)
		pthread_join(relay->thread, NULL);
	if (relay->end[0] >= 0)
		close(relay->end[0]);
	for (size_t i = 0; i < MAX_LINES; i++)
		end_line(&relay->lines[i]);
	if (relay->listener >= 0)
		close(relay->listener);
	unlink(relay->socket);
	free(relay);
}
