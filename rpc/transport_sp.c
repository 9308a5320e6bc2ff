/* SPDX-License-Identifier: MIT */
/*
 * ipc and tcp by hand: nng's SP wire format over a plain socket. No threads, so that nothing of ours breaks when the
 * host forks, and no hand-offs between threads, which is most of what nng's own client costs per call.
 *
 * On the wire: each side first sends "\0SP\0", its protocol number (REQ 0x30, REP 0x31; big-endian 16 bits) and two
 * zeros. A message is, on ipc, a byte 1; then its length (big-endian, 64 bits); then the body. A request's body
 * begins with 4 bytes that come back in the reply, the first bit set.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/transport.h"

enum { GREETING_SIZE = 8, TAG_SIZE = 4, MAX_PREFIX = 9 + TAG_SIZE, BUFFER_SIZE = 65536 };

typedef struct inbox_frame {
	struct inbox_frame *next;
	uint8_t *bytes;
	size_t size;
} inbox_frame;

typedef struct sp_transport {
	rpc_transport base; /* first */
	int fd;
	bool ipc, broken;
	size_t max_message;
	bool greeted;               /* the peer's greeting has come */
	uint8_t prefix[MAX_PREFIX]; /* of the message that is coming in (or the greeting) */
	size_t prefix_size;         /* bytes of it that are there */
	uint8_t *frame;             /* what follows it; owned */
	size_t frame_size, frame_have;
	inbox_frame *first, *last;
	uint8_t buffer[BUFFER_SIZE];
} sp_transport;

static rpc_code sp_send(rpc_transport *base, uint32_t tag, const uint8_t *frame, size_t size, int64_t deadline_us);
static rpc_code sp_receive(rpc_transport *base, uint8_t **frame, size_t *size, int64_t deadline_us);
static void sp_close(rpc_transport *base, bool forked);
static int connect_ipc(const char *path, int64_t deadline_us);
static int connect_tcp(const char *address, int64_t deadline_us, char why[256]);
static int connect_within(int fd, const struct sockaddr *address, socklen_t size, int64_t deadline_us);
static bool wait_for(int fd, short events, int64_t deadline_us, short *ready);
static bool take_in(sp_transport *transport);
static bool feed(sp_transport *transport, const uint8_t *bytes, size_t size);
static bool begin_frame(sp_transport *transport);
static bool end_frame(sp_transport *transport);

static const rpc_transport_ops sp_ops = {sp_send, sp_receive, sp_close};

rpc_transport *rpc_transport_open(const char *address, const rpc_tls *tls, size_t max_message, int64_t deadline_us,
				  rpc_code *code, char why[256])
{
	if (strncmp(address, "tls+tcp://", 10) == 0)
		return rpc_transport_open_nng(address, tls, max_message, deadline_us, code, why);
	return rpc_transport_open_sp(address, max_message, deadline_us, code, why);
}

rpc_transport *rpc_transport_open_sp(const char *address, size_t max_message, int64_t deadline_us, rpc_code *code,
				     char why[256])
{
	static const uint8_t greeting[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
	bool ipc = strncmp(address, "ipc://", 6) == 0;
	if (!ipc && strncmp(address, "tcp://", 6) != 0) {
		snprintf(why, 256, "an address begins with ipc://, tcp:// or tls+tcp://");
		*code = RPC_INVALID_ARGUMENT;
		return NULL;
	}
	*why = '\0';
	int fd = ipc ? connect_ipc(address + 6, deadline_us) : connect_tcp(address + 6, deadline_us, why);
	if (fd < 0) {
		int error = errno;
		if (!*why)
			snprintf(why, 256, "%s", strerror(error));
		*code = RPC_UNAVAILABLE;
		if (error == ENOENT || error == ECONNREFUSED)
			*code = RPC_NOT_FOUND;
		else if (error == EACCES || error == EPERM)
			*code = RPC_PERMISSION_DENIED;
		else if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS)
			*code = RPC_RESOURCE_EXHAUSTED;
		else if (error == EINVAL || error == ENAMETOOLONG)
			*code = RPC_INVALID_ARGUMENT;
		return NULL;
	}
	rpc_transport *transport = rpc_transport_adopt_sp(fd, ipc, max_message);
	if (!transport || send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) != (ssize_t)sizeof greeting) {
		*code = transport ? RPC_UNAVAILABLE : RPC_RESOURCE_EXHAUSTED;
		snprintf(why, 256, transport ? "the server hung up" : "out of memory");
		if (transport)
			sp_close(transport, false);
		else
			close(fd);
		return NULL;
	}
	*code = RPC_OK;
	return transport;
}

rpc_transport *rpc_transport_adopt_sp(int fd, bool ipc, size_t max_message)
{
	sp_transport *transport = malloc(sizeof *transport);
	if (!transport)
		return NULL;
	memset(transport, 0, offsetof(sp_transport, buffer));
	transport->base.ops = &sp_ops;
	transport->fd = fd;
	transport->ipc = ipc;
	transport->max_message = max_message;
	return &transport->base;
}

static rpc_code sp_send(rpc_transport *base, uint32_t tag, const uint8_t *frame, size_t size, int64_t deadline_us)
{
	sp_transport *transport = (sp_transport *)base;
	uint8_t prefix[MAX_PREFIX], *p = prefix;
	uint64_t length = (uint64_t)size + TAG_SIZE;
	if (transport->broken)
		return RPC_UNAVAILABLE;
	if (transport->ipc)
		*p++ = 1;
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = (uint8_t)(length >> shift);
	tag |= 0x80000000U;
	for (int shift = 24; shift >= 0; shift -= 8)
		*p++ = (uint8_t)(tag >> shift);

	size_t prefix_size = (size_t)(p - prefix), done = 0;
	while (done < prefix_size + size) {
		struct iovec parts[2] = {{prefix, prefix_size}, {(uint8_t *)frame, size}};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
		if (done < prefix_size) {
			parts[0].iov_base = prefix + done;
			parts[0].iov_len -= done;
		} else {
			parts[1].iov_base = (uint8_t *)frame + (done - prefix_size);
			parts[1].iov_len -= done - prefix_size;
			message.msg_iov = &parts[1];
			message.msg_iovlen = 1;
		}
		ssize_t sent = sendmsg(transport->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0) {
			done += (size_t)sent;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
			transport->broken = true;
			return RPC_UNAVAILABLE;
		}
		short ready;
		if (!wait_for(transport->fd, POLLIN | POLLOUT, deadline_us, &ready)) {
			transport->broken = done > 0; /* half a message: nothing can follow it */
			return RPC_DEADLINE_EXCEEDED;
		}
		if ((ready & (POLLIN | POLLERR | POLLHUP)) && !take_in(transport))
			return RPC_UNAVAILABLE;
	}
	return RPC_OK;
}

static rpc_code sp_receive(rpc_transport *base, uint8_t **frame, size_t *size, int64_t deadline_us)
{
	sp_transport *transport = (sp_transport *)base;
	while (!transport->first) {
		/* Not a receive that waits: that is woken as well when the server reads what we sent. */
		short ready;
		if (transport->broken)
			return RPC_UNAVAILABLE;
		if (!wait_for(transport->fd, POLLIN, deadline_us, &ready))
			return RPC_DEADLINE_EXCEEDED;
		take_in(transport);
	}
	inbox_frame *first = transport->first;
	transport->first = first->next;
	if (!transport->first)
		transport->last = NULL;
	*frame = first->bytes;
	*size = first->size;
	free(first);
	return RPC_OK;
}

static void sp_close(rpc_transport *base, bool forked)
{
	sp_transport *transport = (sp_transport *)base;
	(void)forked; /* closing the child's copy of the descriptor does not touch the connection */
	close(transport->fd);
	free(transport->frame);
	for (inbox_frame *frame = transport->first, *next; frame; frame = next) {
		next = frame->next;
		free(frame->bytes);
		free(frame);
	}
	free(transport);
}

static int connect_ipc(const char *path, int64_t deadline_us)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!*path || strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* A full queue of the listener shows as EAGAIN, and there is no event for its end: look again until then. */
	int result = connect(fd, (struct sockaddr *)&address, sizeof address);
	while (result != 0 && (errno == EAGAIN || errno == EINTR) && orm_clock_us() < deadline_us) {
		struct timespec pause = {.tv_nsec = 2000000};
		nanosleep(&pause, NULL);
		result = connect(fd, (struct sockaddr *)&address, sizeof address);
	}
	if (result != 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int connect_tcp(const char *address, int64_t deadline_us, char why[256])
{
	char host[256];
	const char *colon = strrchr(address, ':');
	size_t size = colon ? (size_t)(colon - address) : 0;
	if (!size || size >= sizeof host) {
		errno = EINVAL;
		return -1;
	}
	memcpy(host, address, size);
	host[size] = '\0';
	char *name = host;
	if (*host == '[' && host[size - 1] == ']') {
		host[size - 1] = '\0';
		name++;
	}
	struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
	int failed = getaddrinfo(name, colon + 1, &wanted, &found);
	if (failed) {
		snprintf(why, 256, "%s", gai_strerror(failed));
		errno = EHOSTUNREACH;
		return -1;
	}
	int fd = -1, error = EHOSTUNREACH;
	for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && connect_within(fd, at->ai_addr, at->ai_addrlen, deadline_us) != 0) {
			error = errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	if (fd < 0) {
		errno = error;
		return -1;
	}
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	return fd;
}

static int connect_within(int fd, const struct sockaddr *address, socklen_t size, int64_t deadline_us)
{
	if (connect(fd, address, size) == 0)
		return 0;
	if (errno != EINPROGRESS && errno != EINTR)
		return -1;
	short ready;
	if (!wait_for(fd, POLLOUT, deadline_us, &ready)) {
		errno = ETIMEDOUT;
		return -1;
	}
	int error;
	socklen_t error_size = sizeof error;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) == 0 && error == 0)
		return 0;
	errno = error;
	return -1;
}

/* False: the deadline passed. */
static bool wait_for(int fd, short events, int64_t deadline_us, short *ready)
{
	for (;;) {
		struct pollfd waiting = {.fd = fd, .events = events};
		int64_t left = orm_deadline_left_ms(deadline_us);
		int timeout = left == INT64_MAX ? -1 : left > 60000 ? 60000 : (int)left;
		int n = poll(&waiting, 1, timeout);
		*ready = waiting.revents;
		if (n > 0)
			return true;
		if (n == 0 && left != INT64_MAX && left <= 60000)
			return false;
	}
}

/* Read what is there; complete messages go to the inbox. False: broken. */
static bool take_in(sp_transport *transport)
{
	size_t missing = transport->frame ? transport->frame_size - transport->frame_have : 0;
	if (missing > BUFFER_SIZE) { /* straight to its place */
		ssize_t got = recv(transport->fd, transport->frame + transport->frame_have, missing, MSG_DONTWAIT);
		if (got > 0)
			transport->frame_have += (size_t)got;
		else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
			transport->broken = true;
		if (!transport->broken && transport->frame_have == transport->frame_size && !end_frame(transport))
			transport->broken = true;
		return !transport->broken;
	}
	ssize_t got = recv(transport->fd, transport->buffer, BUFFER_SIZE, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return true;
	if (got <= 0 || !feed(transport, transport->buffer, (size_t)got))
		transport->broken = true;
	return !transport->broken;
}

static bool feed(sp_transport *transport, const uint8_t *bytes, size_t size)
{
	static const uint8_t greeting[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
	while (size > 0) {
		size_t wanted = GREETING_SIZE;
		if (transport->greeted)
			wanted = (transport->ipc ? 9 : 8) + TAG_SIZE;
		if (!transport->frame) {
			size_t n = wanted - transport->prefix_size;
			n = n < size ? n : size;
			memcpy(transport->prefix + transport->prefix_size, bytes, n);
			transport->prefix_size += n;
			bytes += n;
			size -= n;
			if (transport->prefix_size < wanted)
				return true;
			if (!transport->greeted) {
				if (memcmp(transport->prefix, greeting, GREETING_SIZE) != 0)
					return false;
				transport->greeted = true;
				transport->prefix_size = 0;
				continue;
			}
			if (!begin_frame(transport))
				return false;
		}
		size_t n = transport->frame_size - transport->frame_have;
		n = n < size ? n : size;
		memcpy(transport->frame + transport->frame_have, bytes, n);
		transport->frame_have += n;
		bytes += n;
		size -= n;
		if (transport->frame_have == transport->frame_size && !end_frame(transport))
			return false;
	}
	return true;
}

static bool begin_frame(sp_transport *transport)
{
	const uint8_t *p = transport->prefix;
	if (transport->ipc && *p++ != 1)
		return false;
	uint64_t length = 0;
	for (int i = 0; i < 8; i++)
		length = length << 8 | *p++;
	if (length <= TAG_SIZE || length - TAG_SIZE > transport->max_message || !(*p & 0x80))
		return false; /* refused before anything is allocated */
	transport->frame_size = (size_t)length - TAG_SIZE;
	transport->frame_have = 0;
	transport->frame = malloc(transport->frame_size);
	return transport->frame;
}

static bool end_frame(sp_transport *transport)
{
	inbox_frame *frame = malloc(sizeof *frame);
	if (!frame)
		return false;
	*frame = (inbox_frame){NULL, transport->frame, transport->frame_size};
	if (transport->last)
		transport->last->next = frame;
	else
		transport->first = frame;
	transport->last = frame;
	transport->frame = NULL;
	transport->prefix_size = 0;
	return true;
}
