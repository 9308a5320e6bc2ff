/* SPDX-License-Identifier: MIT */
/*
 * Lines: the server's end of local connections, in nng's SP wire format (see transport_sp.c) but without nng.
 *
 * nng takes each request through two of its threads and some 35 futex calls, which is most of what a small call
 * costs. Here one thread waits for all lines, reads what has come and dispatches it; whoever has an answer writes it to
 * the socket at once. Only what the socket does not take is queued, and written by the thread when there is room.
 *
 * A reply that waits behind another for longer than reply_timeout_ms ends its line: that client does not read. While
 * more than a whole message is queued, nothing further is read from a line.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

enum {
	GREETING_SIZE = 8,
	PREFIX_SIZE = 13, /* a byte 1, the length, the tag */
	TAG_SIZE = 4,
	BUFFER_SIZE = 65536,
	MAX_EVENTS = 64,
	BACKLOG = 1024,
	LOOK_MS = 50,          /* how often the clock is looked at while somebody is waited for */
	GREETING_MS = 10000,   /* who has not greeted by then is not one of us */
	ACCEPT_AGAIN_MS = 100, /* after running out of descriptors */
	EXTRA_QUEUED = 1 << 20
};

typedef enum source_kind { SOURCE_ACCEPTOR, SOURCE_LINE } source_kind;

struct rpc_acceptor {
	source_kind kind; /* first */
	int fd;
	bool retired; /* under the lines' lock */
	rpc_acceptor *next;
};

/* What of a reply the socket has not taken yet. */
typedef struct output {
	struct output *next;
	nng_msg *message;
	uint8_t prefix[PREFIX_SIZE];
	size_t done; /* bytes, of the prefix and the message */
	int64_t since;
} output;

struct rpc_line {
	source_kind kind; /* first */
	rpc_conn *conn;   /* whose line this is; the thread has a reference */
	rpc_line *next, *prev;

	/* The thread's: what comes in. */
	bool greeted;
	int64_t began;
	uint8_t prefix[PREFIX_SIZE];
	size_t prefix_size;
	nng_msg *message; /* what follows it */
	size_t have;

	atomic_bool broken;   /* takes and gives nothing any more */
	pthread_mutex_t lock; /* for the rest: what goes out */
	int fd;               /* -1: closed */
	bool paused;          /* not read from */
	output *first, *last;
};

static void *serve_lines(void *arg);
static int next_look_ms(rpc_server *server);
static void look_after(rpc_server *server, int64_t now);
static void drop_retired(rpc_server *server);
static void watch_acceptors(rpc_server *server, bool on);
static void accept_lines(rpc_server *server, const rpc_acceptor *acceptor);
static bool open_line(rpc_server *server, int fd);
static void end_line(rpc_server *server, rpc_line *line);
static bool take_in(rpc_server *server, rpc_line *line);
static bool feed(rpc_server *server, rpc_line *line, const uint8_t *bytes, size_t size);
static bool greet(rpc_server *server, rpc_line *line);
static bool begin_message(const rpc_server *server, rpc_line *line);
static void end_message(rpc_server *server, rpc_line *line);
static ssize_t write_some(int fd, const uint8_t *prefix, nng_msg *message, size_t done);
static void break_off(rpc_line *line);
static void flush(rpc_server *server, rpc_line *line);
static void arm(const rpc_server *server, rpc_line *line);
static void wake(const rpc_server *server);

bool rpc_lines_init(rpc_server *server)
{
	rpc_lines *lines = &server->lines;
	pthread_mutex_init(&lines->lock, NULL);
	lines->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lines->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	lines->buffer = malloc(BUFFER_SIZE);
	struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL};
	return lines->event_fd >= 0 && lines->epoll_fd >= 0 && lines->buffer &&
	       epoll_ctl(lines->epoll_fd, EPOLL_CTL_ADD, lines->event_fd, &wanted) == 0;
}

bool rpc_lines_start(rpc_server *server)
{
	server->lines.running = pthread_create(&server->lines.thread, NULL, serve_lines, server) == 0;
	return server->lines.running;
}

void rpc_lines_end(rpc_server *server)
{
	rpc_lines *lines = &server->lines;
	atomic_store(&lines->ending, true);
	if (lines->running) {
		wake(server);
		pthread_join(lines->thread, NULL);
		lines->running = false;
	}
	while (lines->first)
		end_line(server, lines->first);
	for (rpc_acceptor *acceptor = lines->acceptors, *next; acceptor; acceptor = next) {
		next = acceptor->next;
		close(acceptor->fd);
		free(acceptor);
	}
	lines->acceptors = NULL;
}

void rpc_lines_fini(rpc_server *server)
{
	rpc_lines *lines = &server->lines;
	if (lines->event_fd >= 0)
		close(lines->event_fd);
	if (lines->epoll_fd >= 0)
		close(lines->epoll_fd);
	free(lines->buffer);
	pthread_mutex_destroy(&lines->lock);
}

rpc_acceptor *rpc_lines_listen(rpc_server *server, int fd)
{
	rpc_lines *lines = &server->lines;
	rpc_acceptor *acceptor = malloc(sizeof *acceptor);
	if (!acceptor)
		return NULL;
	*acceptor = (rpc_acceptor){.kind = SOURCE_ACCEPTOR, .fd = fd};
	struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = acceptor};
	pthread_mutex_lock(&lines->lock);
	bool ok = listen(fd, BACKLOG) == 0 && epoll_ctl(lines->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) == 0;
	if (ok) {
		acceptor->next = lines->acceptors;
		lines->acceptors = acceptor;
	}
	pthread_mutex_unlock(&lines->lock);
	if (ok)
		return acceptor;
	free(acceptor);
	return NULL;
}

void rpc_lines_retire(rpc_server *server, rpc_acceptor *acceptor)
{
	pthread_mutex_lock(&server->lines.lock);
	acceptor->retired = true;
	pthread_mutex_unlock(&server->lines.lock);
	wake(server);
}

bool rpc_lines_have_written(const rpc_server *server)
{
	return atomic_load(&server->lines.n_waiting) == 0;
}

void rpc_line_send(rpc_conn *conn, uint32_t tag, nng_msg *message)
{
	rpc_line *line = conn->line;
	uint8_t prefix[PREFIX_SIZE] = {1};
	uint64_t length = (uint64_t)nng_msg_len(message) + TAG_SIZE;
	size_t whole = PREFIX_SIZE + nng_msg_len(message);
	for (int i = 0; i < 8; i++)
		prefix[1 + i] = (uint8_t)(length >> (56 - 8 * i));
	for (int i = 0; i < TAG_SIZE; i++)
		prefix[9 + i] = (uint8_t)(tag >> (24 - 8 * i));

	bool must_wake = false;
	pthread_mutex_lock(&line->lock);
	ssize_t sent = 0;
	if (!atomic_load(&line->broken) && !line->first)
		sent = write_some(line->fd, prefix, message, 0);
	if (sent < 0)
		break_off(line);
	if (!atomic_load(&line->broken) && (size_t)sent < whole) {
		output *rest = malloc(sizeof *rest);
		if (!rest) {
			break_off(line); /* half a message: nothing can follow it */
		} else {
			*rest = (output){.message = message, .done = (size_t)sent, .since = orm_clock_us()};
			memcpy(rest->prefix, prefix, PREFIX_SIZE);
			message = NULL;
			atomic_fetch_add(&conn->queued, whole - (size_t)sent);
			if (line->first) {
				line->last->next = rest;
			} else {
				line->first = rest;
				atomic_fetch_add(&conn->server->lines.n_waiting, 1);
				arm(conn->server, line);
				must_wake = true; /* to look at the clock */
			}
			line->last = rest;
		}
	}
	pthread_mutex_unlock(&line->lock);
	nng_msg_free(message);
	if (must_wake)
		wake(conn->server);
}

void rpc_line_hang_up(rpc_line *line)
{
	pthread_mutex_lock(&line->lock);
	break_off(line);
	pthread_mutex_unlock(&line->lock);
}

void rpc_line_free(rpc_line *line)
{
	if (!line)
		return;
	pthread_mutex_destroy(&line->lock);
	free(line);
}

static void *serve_lines(void *arg)
{
	rpc_server *server = arg;
	rpc_lines *lines = &server->lines;
	struct epoll_event ready[MAX_EVENTS];
	while (!atomic_load(&lines->ending)) {
		int n = epoll_wait(lines->epoll_fd, ready, MAX_EVENTS, next_look_ms(server));
		bool woken = false;
		for (int i = 0; i < n; i++) {
			const source_kind *kind = ready[i].data.ptr;
			if (!kind) {
				woken = true;
			} else if (*kind == SOURCE_ACCEPTOR) {
				accept_lines(server, ready[i].data.ptr);
			} else {
				rpc_line *line = ready[i].data.ptr;
				if (ready[i].events & EPOLLOUT)
					flush(server, line);
				if ((ready[i].events & ~(uint32_t)EPOLLOUT) && !take_in(server, line))
					end_line(server, line);
			}
		}
		if (woken) {
			uint64_t count;
			ssize_t got = read(lines->event_fd, &count, sizeof count);
			(void)got;
			drop_retired(server); /* after the events, which may be about them */
		}
		if (next_look_ms(server) >= 0)
			look_after(server, orm_clock_us());
	}
	return NULL;
}

/* -1: nobody is waited for. */
static int next_look_ms(rpc_server *server)
{
	const rpc_lines *lines = &server->lines;
	return lines->n_ungreeted || lines->accept_at || atomic_load(&lines->n_waiting) ? LOOK_MS : -1;
}

static void look_after(rpc_server *server, int64_t now)
{
	rpc_lines *lines = &server->lines;
	if (now < lines->looked_at + LOOK_MS * INT64_C(1000) / 2)
		return;
	lines->looked_at = now;
	if (lines->accept_at && now >= lines->accept_at) {
		lines->accept_at = 0;
		watch_acceptors(server, true);
	}
	for (rpc_line *line = lines->first, *next; line; line = next) {
		next = line->next;
		pthread_mutex_lock(&line->lock);
		const output *waiting = line->first ? line->first->next : NULL;
		bool stuck = waiting && now - waiting->since > server->limits.reply_timeout_ms * INT64_C(1000);
		pthread_mutex_unlock(&line->lock);
		if (stuck)
			rpc_server_log(server, LOG_NOTICE, "a client does not read its replies: connection closed");
		if (stuck || (!line->greeted && now - line->began > GREETING_MS * INT64_C(1000)))
			end_line(server, line);
	}
}

static void drop_retired(rpc_server *server)
{
	rpc_lines *lines = &server->lines;
	pthread_mutex_lock(&lines->lock);
	for (rpc_acceptor **link = &lines->acceptors; *link;) {
		rpc_acceptor *acceptor = *link;
		if (acceptor->retired) {
			*link = acceptor->next;
			close(acceptor->fd); /* which takes it out of the epoll set */
			free(acceptor);
		} else {
			link = &acceptor->next;
		}
	}
	pthread_mutex_unlock(&lines->lock);
}

static void watch_acceptors(rpc_server *server, bool on)
{
	rpc_lines *lines = &server->lines;
	pthread_mutex_lock(&lines->lock);
	for (rpc_acceptor *acceptor = lines->acceptors; acceptor; acceptor = acceptor->next) {
		struct epoll_event wanted = {.events = on ? EPOLLIN : 0, .data.ptr = acceptor};
		epoll_ctl(lines->epoll_fd, EPOLL_CTL_MOD, acceptor->fd, &wanted);
	}
	pthread_mutex_unlock(&lines->lock);
}

/* ---- coming and going ---------------------------------------------------------------------------------------- */

static void accept_lines(rpc_server *server, const rpc_acceptor *acceptor)
{
	for (int i = 0; i < MAX_EVENTS; i++) { /* then the others' turn */
		int fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			if (!open_line(server, fd))
				close(fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			server->lines.accept_at = orm_clock_us() + ACCEPT_AGAIN_MS * INT64_C(1000);
			watch_acceptors(server, false); /* or it would be ready all the time */
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

/* False: the descriptor is still the caller's. */
static bool open_line(rpc_server *server, int fd)
{
	static const uint8_t greeting[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
	rpc_lines *lines = &server->lines;
	if (send(fd, greeting, sizeof greeting, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof greeting)
		return false;
	rpc_line *line = calloc(1, sizeof *line);
	rpc_conn *conn = line ? rpc_conn_new(server) : NULL;
	if (!conn) {
		free(line);
		return false;
	}
	struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = line};
	line->kind = SOURCE_LINE;
	line->conn = conn;
	line->began = orm_clock_us();
	line->fd = fd;
	pthread_mutex_init(&line->lock, NULL);
	conn->line = line;
	if (epoll_ctl(lines->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) != 0) {
		rpc_conn_unref(conn);
		return false;
	}
	struct ucred credentials;
	socklen_t size = sizeof credentials;
	conn->peer.connection = (UINT64_C(1) << 32) + lines->n_opened++; /* nng's have 32 bits */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
		conn->peer.local = true;
		conn->peer.pid = credentials.pid;
		conn->peer.uid = (int64_t)credentials.uid;
	}
	lines->n_ungreeted++;
	line->next = lines->first;
	if (line->next)
		line->next->prev = line;
	lines->first = line;
	return true;
}

static void end_line(rpc_server *server, rpc_line *line)
{
	rpc_lines *lines = &server->lines;
	rpc_conn *conn = line->conn;
	output *rest;
	pthread_mutex_lock(&line->lock);
	atomic_store(&line->broken, true);
	close(line->fd);
	line->fd = -1;
	rest = line->first;
	line->first = line->last = NULL;
	pthread_mutex_unlock(&line->lock);
	if (rest)
		atomic_fetch_sub(&lines->n_waiting, 1);
	for (output *next; rest; rest = next) {
		next = rest->next;
		nng_msg_free(rest->message);
		free(rest);
	}
	nng_msg_free(line->message);
	line->message = NULL;
	if (line->prev)
		line->prev->next = line->next;
	else
		lines->first = line->next;
	if (line->next)
		line->next->prev = line->prev;
	if (line->greeted)
		rpc_peers_remove(server, conn);
	else
		lines->n_ungreeted--;
	rpc_conn_unref(conn);
}

/* ---- in ------------------------------------------------------------------------------------------------------ */

/* Read what is there, and dispatch the messages that are whole. False: the line is at its end. */
static bool take_in(rpc_server *server, rpc_line *line)
{
	if (line->paused) /* only an end is reported now */
		return false;
	size_t missing = line->message ? nng_msg_len(line->message) - line->have : 0;
	bool directly = missing > BUFFER_SIZE;
	uint8_t *to = directly ? (uint8_t *)nng_msg_body(line->message) + line->have : server->lines.buffer;
	ssize_t got = recv(line->fd, to, directly ? missing : BUFFER_SIZE, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
	if (got == 0)
		return false;
	if (directly) {
		line->have += (size_t)got;
		if ((size_t)got == missing)
			end_message(server, line);
	} else if (!feed(server, line, to, (size_t)got)) {
		return false;
	}
	if (atomic_load(&line->conn->queued) > server->limits.max_message + EXTRA_QUEUED) {
		pthread_mutex_lock(&line->lock);
		line->paused = line->first != NULL;
		if (line->paused)
			arm(server, line);
		pthread_mutex_unlock(&line->lock);
	}
	return true;
}

static bool feed(rpc_server *server, rpc_line *line, const uint8_t *bytes, size_t size)
{
	while (size > 0 && !atomic_load_explicit(&line->broken, memory_order_relaxed)) {
		if (!line->message) {
			size_t wanted = line->greeted ? PREFIX_SIZE : GREETING_SIZE;
			size_t n = wanted - line->prefix_size;
			n = n < size ? n : size;
			memcpy(line->prefix + line->prefix_size, bytes, n);
			line->prefix_size += n;
			bytes += n;
			size -= n;
			if (line->prefix_size < wanted)
				return true;
			if (!line->greeted) {
				if (!greet(server, line))
					return false;
				continue;
			}
			if (!begin_message(server, line))
				return false;
		}
		size_t n = nng_msg_len(line->message) - line->have;
		n = n < size ? n : size;
		memcpy((uint8_t *)nng_msg_body(line->message) + line->have, bytes, n);
		line->have += n;
		bytes += n;
		size -= n;
		if (line->have == nng_msg_len(line->message))
			end_message(server, line);
	}
	return true;
}

static bool greet(rpc_server *server, rpc_line *line)
{
	static const uint8_t greeting[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
	if (memcmp(line->prefix, greeting, GREETING_SIZE) != 0 || !rpc_peers_add(server, line->conn))
		return false;
	server->lines.n_ungreeted--;
	line->greeted = true;
	line->prefix_size = 0;
	return true;
}

static bool begin_message(const rpc_server *server, rpc_line *line)
{
	const uint8_t *p = line->prefix;
	uint64_t length = 0;
	if (*p++ != 1)
		return false;
	for (int i = 0; i < 8; i++)
		length = length << 8 | *p++;
	if (length <= TAG_SIZE || length - TAG_SIZE > server->limits.max_message || !(*p & 0x80))
		return false; /* refused before anything is allocated */
	line->have = 0;
	return nng_msg_alloc(&line->message, (size_t)length - TAG_SIZE) == 0;
}

static void end_message(rpc_server *server, rpc_line *line)
{
	nng_msg *message = line->message;
	uint32_t tag = 0;
	for (int i = 0; i < TAG_SIZE; i++)
		tag = tag << 8 | line->prefix[9 + i];
	line->message = NULL;
	line->prefix_size = 0;
	rpc_slot_receive_line(server, line->conn, tag, message);
}

/* ---- out ----------------------------------------------------------------------------------------------------- */

/* How many bytes the socket took, 0 if it has no room; -1: broken. */
static ssize_t write_some(int fd, const uint8_t *prefix, nng_msg *message, size_t done)
{
	struct iovec parts[2] = {{(uint8_t *)prefix, PREFIX_SIZE}, {nng_msg_body(message), nng_msg_len(message)}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
	if (done < PREFIX_SIZE) {
		parts[0].iov_base = (uint8_t *)prefix + done;
		parts[0].iov_len -= done;
	} else {
		parts[1].iov_base = (uint8_t *)nng_msg_body(message) + (done - PREFIX_SIZE);
		parts[1].iov_len -= done - PREFIX_SIZE;
		header.msg_iov = &parts[1];
		header.msg_iovlen = 1;
	}
	ssize_t sent;
	do
		sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

/* Locked. The thread sees the end of the line and clears it away. */
static void break_off(rpc_line *line)
{
	atomic_store(&line->broken, true);
	if (line->fd >= 0)
		shutdown(line->fd, SHUT_RDWR);
}

/* There is room in the socket. */
static void flush(rpc_server *server, rpc_line *line)
{
	pthread_mutex_lock(&line->lock);
	bool full = false, waited = line->first != NULL;
	while (line->first && !full && !atomic_load(&line->broken)) {
		output *first = line->first;
		size_t whole = PREFIX_SIZE + nng_msg_len(first->message);
		ssize_t sent = write_some(line->fd, first->prefix, first->message, first->done);
		if (sent < 0) {
			break_off(line);
			break;
		}
		atomic_fetch_sub(&line->conn->queued, (size_t)sent);
		first->done += (size_t)sent;
		full = first->done < whole;
		if (!full) {
			line->first = first->next;
			nng_msg_free(first->message);
			free(first);
		}
	}
	if (waited && !line->first)
		atomic_fetch_sub(&server->lines.n_waiting, 1);
	bool read_again = line->paused && atomic_load(&line->conn->queued) <= server->limits.max_message;
	if (read_again)
		line->paused = false;
	if (!line->first || read_again)
		arm(server, line);
	pthread_mutex_unlock(&line->lock);
}

/* Locked. Wait for what the line needs now. */
static void arm(const rpc_server *server, rpc_line *line)
{
	struct epoll_event wanted = {.data.ptr = line};
	if (!line->paused)
		wanted.events |= EPOLLIN;
	if (line->first)
		wanted.events |= EPOLLOUT;
	epoll_ctl(server->lines.epoll_fd, EPOLL_CTL_MOD, line->fd, &wanted);
}

static void wake(const rpc_server *server)
{
	uint64_t one = 1;
	ssize_t written = write(server->lines.event_fd, &one, sizeof one);
	(void)written; /* the counter being full wakes the thread as well */
}
