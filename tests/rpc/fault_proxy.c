/* SPDX-License-Identifier: MIT */
/*
 * rpc_fault_proxy SEED PERCENT LISTEN_PATH SERVER_PATH: a bad network between local sockets.
 *
 * Takes nng's messages apart and drops, doubles, delays, swaps or cuts short each with PERCENT of likelihood per fault
 * and direction; one message in a thousand costs the connection. Prints "ready" when it listens. The same seed makes
 * the same choices in the order in which messages come.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINKS = 256, PREFIX = 9, GREETING = 8, MAX_DELAY_MS = 20 };

typedef struct message {
	struct message *next;
	int64_t due;
	size_t size, sent; /* with its prefix */
	uint8_t bytes[];
} message;

typedef struct direction {
	int from, to;
	uint8_t *in;
	size_t in_size, in_capacity;
	bool greeted;
	message *queue; /* by time due */
	message *held;  /* to be swapped with the next */
} direction;

typedef struct link {
	bool open;
	direction ways[2];
} link_pair;

static uint64_t random_state;
static unsigned percent;
static link_pair links[MAX_LINKS];

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % n;
}

static bool strikes(void)
{
	return random_below(100) < percent;
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int unix_socket(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void drop_all(message *first)
{
	for (message *next; first; first = next) {
		next = first->next;
		free(first);
	}
}

static void close_link(link_pair *pair)
{
	close(pair->ways[0].from);
	close(pair->ways[0].to);
	for (int i = 0; i < 2; i++) {
		drop_all(pair->ways[i].queue);
		free(pair->ways[i].held);
		free(pair->ways[i].in);
	}
	*pair = (link_pair){0};
}

/* Behind everything that is not due later: delays do not reorder by themselves, only what is held does. */
static void enqueue(direction *way, message *item, int64_t due)
{
	message **at = &way->queue;
	item->due = due;
	item->next = NULL;
	while (*at) {
		if ((*at)->due > item->due)
			item->due = (*at)->due;
		at = &(*at)->next;
	}
	*at = item;
}

static message *copy_of(const uint8_t *bytes, size_t size)
{
	message *item = malloc(sizeof *item + size);
	if (!item)
		abort();
	*item = (message){.size = size};
	memcpy(item->bytes, bytes, size);
	return item;
}

static void put_length(message *item)
{
	uint64_t length = item->size - PREFIX;
	for (int i = 0; i < 8; i++)
		item->bytes[1 + i] = (uint8_t)(length >> (56 - 8 * i));
}

/* False: this message costs the connection. */
static bool treat(direction *way, const uint8_t *bytes, size_t size)
{
	int64_t due = now_ms();
	if (random_below(1000) == 0)
		return false;
	if (strikes())
		return true; /* dropped */
	message *item = copy_of(bytes, size);
	if (strikes() && size > PREFIX + 4) { /* cut short, in its own way consistently */
		item->size = PREFIX + 4 + random_below((uint32_t)(size - PREFIX - 4));
		put_length(item);
	}
	if (strikes())
		due += random_below(MAX_DELAY_MS);
	if (strikes() && !way->held) {
		way->held = item; /* goes after the next one */
		return true;
	}
	enqueue(way, item, due);
	if (strikes())
		enqueue(way, copy_of(item->bytes, item->size), due + random_below(MAX_DELAY_MS));
	if (way->held) {
		message *late = way->held;
		way->held = NULL;
		enqueue(way, late, due);
	}
	return true;
}

static bool take_in(direction *way)
{
	if (way->in_capacity - way->in_size < 65536) {
		way->in_capacity = way->in_capacity * 2 + 65536;
		way->in = realloc(way->in, way->in_capacity);
		if (!way->in)
			abort();
	}
	ssize_t got = recv(way->from, way->in + way->in_size, way->in_capacity - way->in_size, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	way->in_size += (size_t)got;
	size_t at = 0;
	if (!way->greeted && way->in_size >= GREETING) {
		enqueue(way, copy_of(way->in, GREETING), 0);
		way->greeted = true;
		at = GREETING;
	}
	bool ok = true;
	while (ok && way->greeted && way->in_size - at >= PREFIX) {
		uint64_t length = 0;
		for (size_t i = 0; i < 8; i++)
			length = length << 8 | way->in[at + 1 + i];
		if (way->in_size - at - PREFIX < length)
			break;
		ok = treat(way, way->in + at, PREFIX + length);
		at += PREFIX + length;
	}
	memmove(way->in, way->in + at, way->in_size - at);
	way->in_size -= at;
	return ok;
}

static bool give_out(direction *way)
{
	int64_t now = now_ms();
	while (way->queue && way->queue->due <= now) {
		message *item = way->queue;
		ssize_t sent =
			send(way->to, item->bytes + item->sent, item->size - item->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN || errno == EINTR;
		item->sent += (size_t)sent;
		if (item->sent < item->size)
			return true;
		way->queue = item->next;
		free(item);
	}
	return true;
}

static void accept_one(int listening, const char *server_path)
{
	struct sockaddr_un server;
	int client = accept(listening, NULL, NULL);
	int onward = unix_socket(server_path, &server);
	for (int i = 0; i < MAX_LINKS; i++) {
		if (links[i].open)
			continue;
		if (connect(onward, (struct sockaddr *)&server, sizeof server) != 0)
			break;
		links[i] = (link_pair){.open = true,
				       .ways = {{.from = client, .to = onward}, {.from = onward, .to = client}}};
		return;
	}
	close(client);
	close(onward);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address;
	if (argc != 5)
		return 2;
	random_state = strtoull(argv[1], NULL, 10) * 2 + 1;
	percent = (unsigned)atoi(argv[2]);
	int listening = unix_socket(argv[3], &address);
	if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0 || listen(listening, 64) != 0)
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd waiting[1 + 2 * MAX_LINKS] = {{.fd = listening, .events = POLLIN}};
		int timeout = -1;
		for (int i = 0; i < MAX_LINKS; i++) {
			for (int k = 0; k < 2; k++) {
				struct pollfd *fd = &waiting[1 + 2 * i + k];
				fd->fd = links[i].open ? links[i].ways[k].from : -1;
				fd->events = POLLIN;
				if (links[i].open && links[i].ways[1 - k].queue &&
				    links[i].ways[1 - k].queue->due <= now_ms())
					fd->events |= POLLOUT; /* what goes the other way, goes out here */
				if (links[i].open && (links[i].ways[k].queue || links[i].ways[k].held))
					timeout = 1;
			}
		}
		if (poll(waiting, 1 + 2 * MAX_LINKS, timeout) < 0 && errno != EINTR)
			return 1;
		if (waiting[0].revents)
			accept_one(listening, argv[4]);
		for (int i = 0; i < MAX_LINKS; i++) {
			bool ok = links[i].open;
			for (int k = 0; ok && k < 2; k++) {
				if (waiting[1 + 2 * i + k].revents & (POLLIN | POLLHUP | POLLERR))
					ok = take_in(&links[i].ways[k]);
				ok = ok && give_out(&links[i].ways[k]);
			}
			if (links[i].open && !ok)
				close_link(&links[i]);
		}
	}
}
