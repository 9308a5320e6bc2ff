/* SPDX-License-Identifier: MIT */
/* The server's life: made, given services and addresses, started, drained, freed; and its housekeeper. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "base/clock.h"
#include "rpc/server_internal.h"

enum { SWEEP_US = 1000000 };

typedef struct posted_work {
	rpc_work work; /* first */
	void (*run)(void *context);
	void *context;
} posted_work;

static void init_locks(rpc_server *server);
static void *keep_house(void *arg);
static void run_posted(rpc_work *work);
static bool is_path(const void *value, const void *key);
static size_t sensible_workers(void);
static bool replies_taken(rpc_server *server);
static void wait_a_little(rpc_server *server);
static void set_status(rpc_status *status, rpc_code code, const char *message);

rpc_server *rpc_server_new(const rpc_server_options *options, rpc_status *status)
{
	if (options->tls && (!options->tls->ca_file || !options->tls->cert_key_file)) {
		set_status(status, RPC_INVALID_ARGUMENT, "TLS needs ca_file and cert_key_file");
		return NULL;
	}
	rpc_server *server = calloc(1, sizeof *server);
	if (!server) {
		set_status(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	server->options = *options;
	server->limits = options->limits;
	server->socket = (nng_socket)NNG_SOCKET_INITIALIZER;
	server->peers.event_fd = server->peers.epoll_fd = -1;
	server->lines.event_fd = server->lines.epoll_fd = -1;
	init_locks(server);
	orm_map_init(&server->methods);
	bool ok = true;
	if (options->tls) {
		server->tls_ca = strdup(options->tls->ca_file);
		server->tls_cert = strdup(options->tls->cert_key_file);
		ok = server->tls_ca && server->tls_cert;
		server->options.tls = NULL;
	}
	while (server->epoch == 0)
		ok = ok && getrandom(&server->epoch, sizeof server->epoch, 0) == (ssize_t)sizeof server->epoch;

	sigset_t all, before; /* nng's threads are not for our process' signals */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ok = ok && nng_rep0_open(&server->socket) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ok = ok && nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, server->limits.max_message + 64) == 0;
	ok = rpc_lines_init(server) && ok;
	ok = rpc_peers_init(server) && ok;
	if (!ok) {
		set_status(status, RPC_RESOURCE_EXHAUSTED, "out of memory or descriptors");
		rpc_server_free(server);
		return NULL;
	}
	rpc_services_add(server);
	return server;
}

void rpc_server_add_service(rpc_server *server, const ProtobufCServiceDescriptor *service, const rpc_method *methods,
			    size_t n_methods, void *context)
{
	assert(!server->started && n_methods == service->n_methods);
	rpc_service_entry *entry = calloc(1, sizeof *entry);
	rpc_method_entry *entries = calloc(n_methods + 1, sizeof *entries);
	if (!entry || !entries)
		abort(); /* at start-up, before anything is served */
	*entry = (rpc_service_entry){service, entries, n_methods, server->services};
	server->services = entry;
	for (size_t i = 0; i < n_methods; i++) {
		const ProtobufCMethodDescriptor *method =
			protobuf_c_service_descriptor_get_method_by_name(service, methods[i].name);
		assert(method && methods[i].handle);
		entries[i] = (rpc_method_entry){.method = &methods[i], .input = method->input, .context = context};
		int size = asprintf(&entries[i].path, "/%s/%s", service->name, methods[i].name);
		if (size < 0)
			abort();
		entries[i].path_size = (size_t)size;
		uint64_t hash = orm_hash_bytes(entries[i].path, entries[i].path_size);
		bool doubled = orm_map_get(&server->methods, hash, is_path, entries[i].path) != NULL;
		assert(!doubled);
		(void)doubled;
		if (!orm_map_put(&server->methods, hash, &entries[i]))
			abort();
	}
}

void rpc_server_add_interceptor(rpc_server *server, const rpc_interceptor *interceptor)
{
	assert(!server->started && server->n_interceptors < RPC_MAX_INTERCEPTORS);
	server->interceptors[server->n_interceptors++] = *interceptor;
}

rpc_code rpc_server_start(rpc_server *server, rpc_status *status)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	server->timed_next = orm_clock_us() + SWEEP_US;
	size_t n_workers = server->options.n_workers ? server->options.n_workers : sensible_workers();
	bool ok = rpc_workers_start(&server->workers, n_workers) && rpc_peers_start(server);
	if (ok)
		ok = server->housekeeper_runs = pthread_create(&server->housekeeper, NULL, keep_house, server) == 0;
	ok = ok && rpc_slots_start(server) && rpc_lines_start(server) && rpc_listeners_start(server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	server->started = true;
	if (!ok) {
		set_status(status, RPC_RESOURCE_EXHAUSTED, "cannot start the server's threads");
		return RPC_RESOURCE_EXHAUSTED;
	}
	set_status(status, RPC_OK, "");
	return RPC_OK;
}

bool rpc_server_retire(rpc_server *server)
{
	atomic_store(&server->draining, true);
	if (atomic_load(&server->n_conns) == 0)
		return true;
	atomic_store(&server->draining, false);
	return false;
}

bool rpc_server_drain(rpc_server *server, int64_t timeout_ms)
{
	int64_t deadline = orm_deadline_in_ms(timeout_ms);
	atomic_store(&server->draining, true);
	bool quiet;
	do {
		quiet = atomic_load(&server->in_flight) == 0 && atomic_load(&server->n_streams) == 0 &&
			(!server->started || replies_taken(server));
		if (!quiet && orm_clock_us() < deadline)
			wait_a_little(server);
	} while (!quiet && orm_clock_us() < deadline);
	return quiet;
}

void rpc_server_free(rpc_server *server)
{
	if (!server)
		return;
	rpc_server_drain(server, 0);
	atomic_store(&server->closing, true); /* every call counts as cancelled now */
	rpc_housekeeper_wake(server);
	rpc_listeners_end(server);
	if (server->socket.id)
		nng_close(server->socket); /* nothing comes in any more */
	rpc_lines_end(server);
	while (atomic_load(&server->in_flight) > 0)
		wait_a_little(server);
	if (server->housekeeper_runs) {
		pthread_mutex_lock(&server->timed_lock);
		server->timed_ending = true;
		pthread_cond_broadcast(&server->timed_wake);
		pthread_mutex_unlock(&server->timed_lock);
		pthread_join(server->housekeeper, NULL);
	}
	rpc_peers_close_streams(server);
	rpc_workers_end(&server->workers); /* sources are closed there */
	rpc_slots_close(server);
	rpc_peers_end(server);
	rpc_call_free_all(server);
	rpc_lines_fini(server);
	for (rpc_service_entry *service = server->services, *next; service; service = next) {
		next = service->next;
		for (size_t i = 0; i < service->n_methods; i++)
			free(service->methods[i].path);
		free(service->methods);
		free(service);
	}
	orm_map_fini(&server->methods);
	free(server->tls_ca);
	free(server->tls_cert);
	free(server);
}

void rpc_server_stats_get(const rpc_server *server, rpc_server_stats *stats)
{
	*stats = (rpc_server_stats){
		.calls = atomic_load(&server->n_calls),
		.failed = atomic_load(&server->n_failed),
		.replayed = atomic_load(&server->n_replayed),
		.refused = atomic_load(&server->n_refused),
		.in_flight = atomic_load(&server->in_flight),
		.connections = atomic_load(&server->n_conns),
		.bytes_in = atomic_load(&server->bytes_in),
		.bytes_out = atomic_load(&server->bytes_out),
		.relistened = atomic_load(&server->n_relistened),
	};
}

bool rpc_server_begin_wait(rpc_server *server)
{
	return rpc_workers_begin_wait(&server->workers);
}

void rpc_server_end_wait(rpc_server *server)
{
	rpc_workers_end_wait(&server->workers);
}

bool rpc_server_post(rpc_server *server, void (*work)(void *context), void *context)
{
	posted_work *posted = atomic_load(&server->closing) ? NULL : malloc(sizeof *posted);
	if (!posted)
		return false;
	*posted = (posted_work){.work.run = run_posted, .run = work, .context = context};
	rpc_workers_put(&server->workers, &posted->work);
	return true;
}

void rpc_server_log(rpc_server *server, int level, const char *format, ...)
{
	if (!server->options.log)
		return;
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	server->options.log(level, text, server->options.log_context);
}

void rpc_server_busy(rpc_server *server)
{
	atomic_fetch_add(&server->in_flight, 1);
}

void rpc_server_done(rpc_server *server)
{
	if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->draining)) {
		pthread_mutex_lock(&server->idle_lock);
		pthread_cond_broadcast(&server->idle_wake);
		pthread_mutex_unlock(&server->idle_lock);
	}
}

void rpc_housekeeper_wake(rpc_server *server)
{
	pthread_mutex_lock(&server->timed_lock);
	server->timed_changed = true;
	pthread_cond_signal(&server->timed_wake);
	pthread_mutex_unlock(&server->timed_lock);
}

static void init_locks(rpc_server *server)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&server->slots_lock, NULL);
	pthread_cond_init(&server->sending_wake, NULL);
	pthread_mutex_init(&server->calls_lock, NULL);
	pthread_mutex_init(&server->timed_lock, NULL);
	pthread_cond_init(&server->timed_wake, &monotonic);
	pthread_cond_init(&server->timed_done, NULL);
	pthread_mutex_init(&server->idle_lock, NULL);
	pthread_cond_init(&server->idle_wake, &monotonic);
	pthread_mutex_init(&server->workers.lock, NULL);
	pthread_cond_init(&server->workers.wake, NULL);
	pthread_cond_init(&server->workers.gone, NULL);
	pthread_mutex_init(&server->canary_lock, NULL);
	pthread_cond_init(&server->canary_wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

/* Tells calls that they are over, and sweeps out what nobody asks for any more. */
static void *keep_house(void *arg)
{
	rpc_server *server = arg;
	int64_t sweep_at = orm_clock_us() + SWEEP_US;
	pthread_mutex_lock(&server->timed_lock);
	for (;;) {
		bool changed = server->timed_changed;
		int64_t now = orm_clock_us(), next = sweep_at;
		server->timed_changed = false;
		for (rpc_call *call = server->timed; call;) {
			if (call->timed.fired) {
				call = call->timed.next;
			} else if (rpc_call_is_over(call, now)) {
				call->timed.fired = true;
				server->firing = call;
				pthread_mutex_unlock(&server->timed_lock);
				call->timed.cancelled(call->timed.context);
				pthread_mutex_lock(&server->timed_lock);
				server->firing = NULL;
				pthread_cond_broadcast(&server->timed_done);
				call = server->timed; /* the list may have changed */
			} else {
				if (call->deadline < next)
					next = call->deadline;
				call = call->timed.next;
			}
		}
		if (changed || now >= sweep_at) {
			pthread_mutex_unlock(&server->timed_lock);
			rpc_peers_sweep(server, now);
			pthread_mutex_lock(&server->timed_lock);
			if (now >= sweep_at)
				sweep_at = now + SWEEP_US;
			continue;
		}
		if (server->timed_ending)
			break;
		server->timed_next = next;
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		int64_t left = next > now ? next - now + 100 : 0;
		int64_t nanoseconds = until.tv_nsec + left % 1000000 * 1000;
		until.tv_sec += left / 1000000 + nanoseconds / 1000000000;
		until.tv_nsec = nanoseconds % 1000000000;
		int waited = 0;
		while (!server->timed_changed && !server->timed_ending && waited == 0)
			waited = pthread_cond_timedwait(&server->timed_wake, &server->timed_lock, &until);
	}
	pthread_mutex_unlock(&server->timed_lock);
	return NULL;
}

static void run_posted(rpc_work *work)
{
	posted_work *posted = (posted_work *)work;
	posted->run(posted->context);
	free(posted);
}

static bool is_path(const void *value, const void *key)
{
	return strcmp(((const rpc_method_entry *)value)->path, key) == 0;
}

static size_t sensible_workers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) * 2;
	if (n < 4)
		return 4;
	return n > 32 ? 32 : (size_t)n;
}

/*
 * Closing an nng socket throws away replies that a pipe has taken but the kernel not yet. nng's own counters say
 * what the kernel has: a pipe is done when it has sent as many messages as it was given.
 */
static bool replies_taken(rpc_server *server)
{
	nng_stat *root;
	if (!rpc_lines_have_written(server))
		return false;
	if (nng_stats_get(&root) != 0)
		return true;
	bool taken = true;
	for (nng_stat *pipe = nng_stat_child(root); pipe && taken; pipe = nng_stat_next(pipe)) {
		if (strcmp(nng_stat_name(pipe), "pipe") != 0)
			continue;
		uint64_t id = 0, n_sent = 0;
		for (nng_stat *value = nng_stat_child(pipe); value; value = nng_stat_next(value)) {
			if (strcmp(nng_stat_name(value), "id") == 0)
				id = nng_stat_value(value);
			else if (strcmp(nng_stat_name(value), "tx_msgs") == 0)
				n_sent = nng_stat_value(value);
		}
		rpc_conn *conn = rpc_peers_conn(server, (nng_pipe){.id = (uint32_t)id});
		taken = !conn || n_sent >= atomic_load(&conn->n_sent);
		rpc_conn_unref(conn);
	}
	nng_stats_free(root);
	return taken;
}

static void wait_a_little(rpc_server *server)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += 5000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&server->idle_lock);
	pthread_cond_timedwait(&server->idle_wake, &server->idle_lock, &until);
	pthread_mutex_unlock(&server->idle_lock);
}

static void set_status(rpc_status *status, rpc_code code, const char *message)
{
	if (status)
		*status = (rpc_status){.code = code, .message = message};
}
