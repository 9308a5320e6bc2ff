/* SPDX-License-Identifier: MIT */
/*
 * Who is connected: the table of connections, the memory of clients, and the thread that tells the watcher.
 *
 * nng calls back with its socket's lock held when a pipe comes or goes, so those callbacks only note it; the watcher
 * thread does the rest. For local peers it also watches the process (pidfd): its end is death, while a closed
 * pipe is not.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

static void pipe_added(nng_pipe pipe, nng_pipe_ev event, void *arg);
static void pipe_removed(nng_pipe pipe, nng_pipe_ev event, void *arg);
static void post(rpc_server *server, rpc_conn *conn, int kind);
static void *watch(void *arg);
static void handle_event(rpc_server *server, rpc_event *event);
static void process_ended(rpc_server *server, rpc_conn *conn);
static void forget_earlier(rpc_server *server, const rpc_conn *conn);
static void limit_lingering(rpc_server *server);
static void drop_watched(rpc_server *server, rpc_conn *conn);
static void stop_watching(rpc_server *server, rpc_conn *conn);
static rpc_client *client_new(rpc_server *server, const uint8_t *id, int64_t uid);
static bool evict_client(rpc_server *server, int64_t now);
static bool may_forget(const rpc_client *client);
static bool is_conn(const void *value, const void *key);
static bool is_client(const void *value, const void *key);
static uint64_t client_hash(const uint8_t *id);
static bool process_has_ended(int pidfd);

bool rpc_peers_init(rpc_server *server)
{
	rpc_peers *peers = &server->peers;
	pthread_mutex_init(&peers->lock, NULL);
	orm_map_init(&peers->conns);
	orm_map_init(&peers->clients);
	peers->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	peers->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (peers->event_fd < 0 || peers->epoll_fd < 0)
		return false;
	struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL};
	return epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, peers->event_fd, &wanted) == 0 &&
	       nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, pipe_added, server) == 0 &&
	       nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, pipe_removed, server) == 0;
}

bool rpc_peers_start(rpc_server *server)
{
	server->peers.running = pthread_create(&server->peers.thread, NULL, watch, server) == 0;
	return server->peers.running;
}

void rpc_peers_end(rpc_server *server)
{
	rpc_peers *peers = &server->peers;
	if (peers->running) {
		pthread_mutex_lock(&peers->lock);
		peers->ending = true;
		pthread_mutex_unlock(&peers->lock);
		uint64_t one = 1;
		if (write(peers->event_fd, &one, sizeof one) > 0)
			pthread_join(peers->thread, NULL);
		peers->running = false;
	}
	for (rpc_event *event = peers->first, *next; event; event = next) {
		next = event->next;
		rpc_conn_unref(event->conn);
		free(event);
	}
	peers->first = peers->last = NULL;
	size_t cursor = 0;
	rpc_conn *conn;
	while ((conn = orm_map_next(&peers->conns, &cursor)))
		rpc_conn_unref(conn);
	orm_map_fini(&peers->conns);
	rpc_client *client;
	for (cursor = 0; (client = orm_map_next(&peers->clients, &cursor));)
		rpc_client_unref(client);
	orm_map_fini(&peers->clients);
	if (peers->event_fd >= 0)
		close(peers->event_fd);
	if (peers->epoll_fd >= 0)
		close(peers->epoll_fd);
	pthread_mutex_destroy(&peers->lock);
}

rpc_conn *rpc_peers_conn(rpc_server *server, nng_pipe pipe)
{
	uint64_t id = (uint32_t)nng_pipe_id(pipe);
	pthread_mutex_lock(&server->peers.lock);
	rpc_conn *conn = orm_map_get(&server->peers.conns, orm_hash_u64(id), is_conn, &id);
	if (conn)
		atomic_fetch_add(&conn->refs, 1);
	pthread_mutex_unlock(&server->peers.lock);
	return conn;
}

bool rpc_peers_add(rpc_server *server, rpc_conn *conn)
{
	rpc_peers *peers = &server->peers;
	uint64_t id = conn->peer.connection;
	if (conn->peer.pid > 0)
		conn->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)conn->peer.pid, 0U);
	pthread_mutex_lock(&peers->lock);
	bool ok = !peers->ending && peers->conns.len < server->limits.max_clients &&
		  orm_map_put(&peers->conns, orm_hash_u64(id), conn);
	if (ok) {
		atomic_fetch_add(&conn->refs, 1);
		atomic_fetch_add(&server->n_conns, 1);
		if (conn->pidfd >= 0)
			post(server, conn, RPC_EVENT_WATCH);
	}
	pthread_mutex_unlock(&peers->lock);
	return ok;
}

void rpc_peers_remove(rpc_server *server, rpc_conn *conn)
{
	rpc_peers *peers = &server->peers;
	pthread_mutex_lock(&peers->lock);
	int64_t now = orm_clock_us();
	bool there = orm_map_remove(&peers->conns, orm_hash_u64(conn->peer.connection), conn);
	if (there) {
		atomic_store(&conn->closed_at, now);
		rpc_client *client = atomic_load(&conn->client);
		if (client) {
			client->n_conns--;
			client->last_used = now;
		}
		post(server, conn, RPC_EVENT_CLOSED);
	}
	pthread_mutex_unlock(&peers->lock);
	if (!there)
		return;
	atomic_fetch_sub(&server->n_conns, 1);
	rpc_conn_unref(conn); /* the table's */
}

rpc_conn *rpc_conn_new(rpc_server *server)
{
	rpc_conn *conn = calloc(1, sizeof *conn);
	if (!conn)
		return NULL;
	atomic_init(&conn->refs, 1);
	conn->server = server;
	conn->pidfd = -1;
	conn->peer.pid = conn->peer.uid = -1;
	return conn;
}

void rpc_conn_hang_up(rpc_conn *conn)
{
	if (conn->line)
		rpc_line_hang_up(conn->line);
	else
		nng_pipe_close(conn->pipe);
}

rpc_client *rpc_peers_bind(rpc_server *server, rpc_conn *conn, const uint8_t *id, rpc_code *code)
{
	rpc_peers *peers = &server->peers;
	rpc_client *client = atomic_load_explicit(&conn->client, memory_order_acquire);
	if (client) { /* a connection is one client's */
		if (memcmp(client->id, id, RPC_CLIENT_ID_SIZE) == 0)
			return client;
		*code = RPC_PERMISSION_DENIED;
		return NULL;
	}
	*code = RPC_RESOURCE_EXHAUSTED;
	pthread_mutex_lock(&peers->lock);
	client = atomic_load(&conn->client);
	if (client && memcmp(client->id, id, RPC_CLIENT_ID_SIZE) != 0) {
		*code = RPC_PERMISSION_DENIED;
		client = NULL;
	} else if (!client && atomic_load(&conn->closed_at)) {
		*code = RPC_CANCELLED;
	} else if (!client) {
		int64_t now = orm_clock_us();
		uint64_t hash = client_hash(id);
		client = orm_map_get(&peers->clients, hash, is_client, id);
		if (client && client->uid != conn->peer.uid) { /* another user's id: stolen */
			*code = RPC_PERMISSION_DENIED;
			client = NULL;
		} else if (!client) {
			bool room = peers->clients.len < (size_t)server->limits.max_clients * 4 ||
				    evict_client(server, now);
			client = room ? client_new(server, id, conn->peer.uid) : NULL;
			if (client && !orm_map_put(&peers->clients, hash, client)) {
				rpc_client_unref(client);
				client = NULL;
			}
		}
		if (client) {
			client->n_conns++;
			client->last_used = now;
			rpc_client_ref(client);
			memcpy(conn->peer.client_id, id, RPC_CLIENT_ID_SIZE);
			atomic_store_explicit(&conn->client, client, memory_order_release);
			post(server, conn, RPC_EVENT_CONNECTED);
		}
	}
	pthread_mutex_unlock(&peers->lock);
	return client;
}

void rpc_peers_sweep(rpc_server *server, int64_t now)
{
	rpc_peers *peers = &server->peers;
	rpc_client *batch[64];
	size_t cursor = 0, n;
	do { /* in batches, because closing a stream calls out */
		n = 0;
		pthread_mutex_lock(&peers->lock);
		rpc_client *client;
		while (n < 64 && (client = orm_map_next(&peers->clients, &cursor))) {
			rpc_client_ref(client);
			batch[n++] = client;
		}
		pthread_mutex_unlock(&peers->lock);
		for (size_t i = 0; i < n; i++) {
			rpc_streams_sweep(batch[i], now, false);
			rpc_client_unref(batch[i]);
		}
	} while (n == 64);

	for (bool dropped = true; dropped;) {
		dropped = false;
		rpc_client *client, *victim = NULL;
		pthread_mutex_lock(&peers->lock);
		cursor = 0;
		while (!victim && (client = orm_map_next(&peers->clients, &cursor))) {
			if (client->n_conns || atomic_load(&client->refs) > 1)
				continue; /* connected, or a call still runs */
			if (may_forget(client) || now - client->last_used > RPC_CLIENT_MEMORY_MS * INT64_C(1000))
				victim = client;
		}
		if (victim)
			dropped = orm_map_remove(&peers->clients, client_hash(victim->id), victim);
		pthread_mutex_unlock(&peers->lock);
		if (victim) {
			rpc_streams_sweep(victim, now, true);
			rpc_client_unref(victim);
		}
	}
}

void rpc_peers_close_streams(rpc_server *server)
{
	size_t cursor = 0;
	rpc_client *client;
	while ((client = orm_map_next(&server->peers.clients, &cursor)))
		rpc_streams_sweep(client, INT64_MAX, true);
}

void rpc_conn_unref(rpc_conn *conn)
{
	if (!conn || atomic_fetch_sub(&conn->refs, 1) != 1)
		return;
	rpc_client_unref(atomic_load(&conn->client));
	if (conn->pidfd >= 0)
		close(conn->pidfd);
	rpc_line_free(conn->line);
	free(conn);
}

bool rpc_conn_full(const rpc_conn *conn, const rpc_limits *limits)
{
	return atomic_load(&conn->in_flight) > limits->max_in_flight ||
	       atomic_load(&conn->queued) > limits->max_message;
}

bool rpc_conn_gone(const rpc_conn *conn, int64_t now, int64_t grace_ms)
{
	if (atomic_load_explicit(&conn->process_gone, memory_order_relaxed))
		return true;
	int64_t closed = atomic_load_explicit(&conn->closed_at, memory_order_relaxed);
	return closed && now - closed >= grace_ms * 1000;
}

void rpc_client_ref(rpc_client *client)
{
	atomic_fetch_add(&client->refs, 1);
}

void rpc_client_unref(rpc_client *client)
{
	if (!client || atomic_fetch_sub(&client->refs, 1) != 1)
		return;
	rpc_lanes_fini(&client->lanes);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

/* nng's thread, socket locked: read options, refuse, note; nothing else. */
static void pipe_added(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	rpc_server *server = arg;
	(void)event;
	rpc_conn *conn = rpc_conn_new(server);
	if (!conn) {
		nng_pipe_close(pipe);
		return;
	}
	conn->pipe = pipe;
	conn->peer.connection = (uint64_t)(uint32_t)nng_pipe_id(pipe);
	if (!rpc_peers_add(server, conn))
		nng_pipe_close(pipe);
	rpc_conn_unref(conn); /* the table has its own reference */
}

static void pipe_removed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	rpc_server *server = arg;
	(void)event;
	rpc_conn *conn = rpc_peers_conn(server, pipe);
	if (conn)
		rpc_peers_remove(server, conn);
	rpc_conn_unref(conn);
}

/* Hand an event to the watcher thread. Called with the lock held. Out of memory the event is lost, not the server. */
static void post(rpc_server *server, rpc_conn *conn, int kind)
{
	rpc_peers *peers = &server->peers;
	rpc_event *event = malloc(sizeof *event);
	if (!event)
		return;
	atomic_fetch_add(&conn->refs, 1);
	*event = (rpc_event){.conn = conn};
	switch (kind) {
	case RPC_EVENT_WATCH:
		event->kind = RPC_EVENT_WATCH;
		break;
	case RPC_EVENT_CONNECTED:
		event->kind = RPC_EVENT_CONNECTED;
		break;
	default:
		event->kind = RPC_EVENT_CLOSED;
	}
	if (peers->last)
		peers->last->next = event;
	else
		peers->first = event;
	peers->last = event;
	uint64_t one = 1;
	ssize_t written = write(peers->event_fd, &one, sizeof one);
	(void)written; /* the counter being full wakes the thread as well */
}

static void *watch(void *arg)
{
	rpc_server *server = arg;
	rpc_peers *peers = &server->peers;
	struct epoll_event ready[64];
	for (;;) {
		/* Events first: what is told about a connection comes before its process' end. They also end the watch
		 * of some. */
		epoll_wait(peers->epoll_fd, ready, 64, -1);
		uint64_t count;
		ssize_t got = read(peers->event_fd, &count, sizeof count);
		(void)got;
		for (;;) {
			pthread_mutex_lock(&peers->lock);
			rpc_event *event = peers->first;
			bool ending = peers->ending;
			if (event && !ending) {
				peers->first = event->next;
				if (!peers->first)
					peers->last = NULL;
			}
			pthread_mutex_unlock(&peers->lock);
			if (ending)
				goto out;
			if (!event)
				break;
			handle_event(server, event);
			rpc_conn_unref(event->conn);
			free(event);
		}
		/* Asked anew: of those that were ready before the events some are gone. */
		int n = epoll_wait(peers->epoll_fd, ready, 64, 0);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr)
				process_ended(server, ready[i].data.ptr);
		}
	}
out:
	while (peers->watched)
		drop_watched(server, peers->watched);
	return NULL;
}

static void handle_event(rpc_server *server, rpc_event *event)
{
	rpc_conn *conn = event->conn;
	rpc_peers *peers = &server->peers;
	const rpc_watcher *watcher = &server->options.watcher;
	struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = conn};
	switch (event->kind) {
	case RPC_EVENT_WATCH:
		if (epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, conn->pidfd, &wanted) != 0)
			break;
		atomic_fetch_add(&conn->refs, 1);
		conn->watched = true;
		conn->prev = NULL;
		conn->next = peers->watched;
		if (conn->next)
			conn->next->prev = conn;
		peers->watched = conn;
		break;
	case RPC_EVENT_CONNECTED:
		conn->announced = true;
		forget_earlier(server, conn);
		if (watcher->connected)
			watcher->connected(&conn->peer, watcher->context);
		break;
	case RPC_EVENT_CLOSED: {
		bool gone = process_has_ended(conn->pidfd);
		if (gone)
			atomic_store(&conn->process_gone, true);
		conn->told_closed = true;
		conn->told_gone = gone;
		rpc_housekeeper_wake(server); /* its calls are cancelled now or soon */
		if (conn->announced && watcher->disconnected)
			watcher->disconnected(&conn->peer, gone, watcher->context);
		bool bye = atomic_load(&conn->said_bye);
		if (conn->watched && (gone || bye || !conn->announced))
			drop_watched(server, conn);
		else if (conn->watched)
			limit_lingering(server);
		break;
	}
	}
	rpc_client *client = atomic_load(&conn->client);
	if (client && (atomic_load(&conn->process_gone) || atomic_load(&conn->said_bye))) {
		pthread_mutex_lock(&peers->lock);
		client->process_gone = true;
		pthread_mutex_unlock(&peers->lock);
	}
}

/* A client that is back is watched by its new connection alone. */
static void forget_earlier(rpc_server *server, const rpc_conn *conn)
{
	for (rpc_conn *other = server->peers.watched, *next; other; other = next) {
		next = other->next;
		if (other->told_closed && atomic_load(&other->client) == atomic_load(&conn->client))
			drop_watched(server, other);
	}
}

/* Closed connections whose process lives cost a descriptor each: of too many, forget the oldest. */
static void limit_lingering(rpc_server *server)
{
	rpc_conn *oldest = NULL;
	size_t n = 0;
	for (rpc_conn *conn = server->peers.watched; conn; conn = conn->next) {
		if (conn->told_closed) {
			oldest = conn;
			n++;
		}
	}
	if (n > server->limits.max_clients)
		drop_watched(server, oldest);
}

static void drop_watched(rpc_server *server, rpc_conn *conn)
{
	stop_watching(server, conn);
	rpc_conn_unref(conn);
}

/* The peer's process is dead, even if a child of its holds the socket open. */
static void process_ended(rpc_server *server, rpc_conn *conn)
{
	const rpc_watcher *watcher = &server->options.watcher;
	if (!conn->watched)
		return;
	stop_watching(server, conn);
	atomic_store(&conn->process_gone, true);
	rpc_client *client = atomic_load(&conn->client);
	if (client) {
		pthread_mutex_lock(&server->peers.lock);
		client->process_gone = true;
		pthread_mutex_unlock(&server->peers.lock);
	}
	if (!conn->told_closed) {
		rpc_conn_hang_up(conn); /* `disconnected` follows from that */
	} else if (conn->announced && !conn->told_gone && watcher->exited) {
		conn->told_gone = true;
		watcher->exited(&conn->peer, watcher->context);
	}
	rpc_housekeeper_wake(server);
	rpc_conn_unref(conn);
}

/* The caller then drops the list's reference. */
static void stop_watching(rpc_server *server, rpc_conn *conn)
{
	epoll_ctl(server->peers.epoll_fd, EPOLL_CTL_DEL, conn->pidfd, NULL);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		server->peers.watched = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	conn->watched = false;
}

static rpc_client *client_new(rpc_server *server, const uint8_t *id, int64_t uid)
{
	rpc_client *client = calloc(1, sizeof *client);
	if (!client)
		return NULL;
	pthread_mutex_init(&client->lock, NULL);
	atomic_init(&client->refs, 1);
	memcpy(client->id, id, RPC_CLIENT_ID_SIZE);
	client->server = server;
	client->uid = uid;
	rpc_lanes_init(&client->lanes, server->limits.max_cached_reply, server->limits.max_cached);
	return client;
}

/* Make room by forgetting whoever has been away for longest; not one that may still come back with a repetition. */
static bool evict_client(rpc_server *server, int64_t now)
{
	rpc_client *client, *oldest = NULL;
	size_t cursor = 0;
	while ((client = orm_map_next(&server->peers.clients, &cursor))) {
		if (client->n_conns || atomic_load(&client->refs) > 1 || client->streams)
			continue;
		if (!may_forget(client) && now - client->last_used < RPC_REPEAT_MS * INT64_C(1000))
			continue;
		if (!oldest || client->last_used < oldest->last_used)
			oldest = client;
	}
	if (!oldest)
		return false;
	orm_map_remove(&server->peers.clients, client_hash(oldest->id), oldest);
	rpc_client_unref(oldest);
	return true;
}

/* Nobody will ask again: its process has ended, it said so, or it never asked for anything to be done. */
static bool may_forget(const rpc_client *client)
{
	return client->process_gone || client->lanes.len == 0;
}

static bool is_conn(const void *value, const void *key)
{
	const rpc_conn *conn = value;
	return conn->peer.connection == *(const uint64_t *)key;
}

static bool is_client(const void *value, const void *key)
{
	const rpc_client *client = value;
	return memcmp(client->id, key, RPC_CLIENT_ID_SIZE) == 0;
}

static uint64_t client_hash(const uint8_t *id)
{
	return orm_hash_bytes(id, RPC_CLIENT_ID_SIZE);
}

static bool process_has_ended(int pidfd)
{
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};
	return pidfd >= 0 && poll(&fd, 1, 0) == 1;
}
