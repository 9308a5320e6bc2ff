/* SPDX-License-Identifier: MIT */
/*
 * Addresses, and the canary that keeps local ones alive.
 *
 * A local address must stay alive whatever happens to it (nng before 1.6.0 stopped accepting for ever when a client
 * connected and was gone at the wrong moment, issue 1518; somebody may remove the socket's file). So a local listener
 * is bound to a hidden name in the same directory and renamed over the public path, and the canary makes a whole call
 * over the public path every second. When that is not answered, a second hidden listener is renamed over: connections
 * that exist are not touched. The rename also means that the public path never shows with wider permissions than asked
 * for, and a symlink there is replaced, not followed. A lock file keeps a second server away from the path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "base/clock.h"
#include "proto/rpc.pb-c.h"
#include "rpc/server_internal.h"
#include "rpc/transport.h"

enum { PROBE_EVERY_MS = 1000, PROBE_AGAIN_MS = 50, PROBE_TIMEOUT_MS = 500, MISSES = 2 };

typedef struct rpc_listener {
	char *address;
	const char *path;       /* ipc: inside address; else NULL */
	rpc_acceptor *acceptor; /* ipc */
	int lock;               /* descriptor of the lock file */
	unsigned n_misses;
} rpc_listener;

static rpc_code listen_ipc(rpc_server *server, rpc_listener *listener, rpc_status *status);
static rpc_code listen_tcp(rpc_server *server, rpc_listener *listener, rpc_status *status);
static rpc_code lock_path(rpc_listener *listener, rpc_status *status);
static int open_lock(const char *name);
static int bind_hidden(rpc_server *server, const char *path, rpc_acceptor **acceptor);
static rpc_code refuse(rpc_status *status, rpc_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static bool is_loopback(const char *host);
static void *canary(void *arg);
static void check(rpc_server *server, rpc_listener *listener);
static bool probe(const rpc_listener *listener, bool *known);

rpc_code rpc_server_listen(rpc_server *server, const char *address, rpc_status *status)
{
	rpc_listener *grown = realloc(server->listeners, (server->n_listeners + 1) * sizeof *grown);
	if (!grown)
		return refuse(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
	server->listeners = grown;
	rpc_listener *listener = &grown[server->n_listeners];
	*listener = (rpc_listener){.address = strdup(address), .lock = -1};
	rpc_code code;
	if (!listener->address)
		code = refuse(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else if (strncmp(address, "ipc://", 6) == 0)
		code = listen_ipc(server, listener, status);
	else if (strncmp(address, "tcp://", 6) == 0 || strncmp(address, "tls+tcp://", 10) == 0)
		code = listen_tcp(server, listener, status);
	else
		code = refuse(status, RPC_INVALID_ARGUMENT,
			      "cannot listen on %s: an address begins with ipc://, tcp:// or tls+tcp://", address);
	if (code != RPC_OK) {
		if (listener->lock >= 0)
			close(listener->lock);
		free(listener->address);
		return code;
	}
	server->n_listeners++;
	return RPC_OK;
}

size_t rpc_server_n_addresses(const rpc_server *server)
{
	return server->n_listeners;
}

const char *rpc_server_address(const rpc_server *server, size_t i)
{
	return i < server->n_listeners ? server->listeners[i].address : NULL;
}

bool rpc_listeners_start(rpc_server *server)
{
	bool local = false;
	for (size_t i = 0; i < server->n_listeners; i++)
		local = local || server->listeners[i].path;
	if (!local)
		return true;
	server->canary_runs = pthread_create(&server->canary, NULL, canary, server) == 0;
	return server->canary_runs;
}

void rpc_listeners_end(rpc_server *server)
{
	if (server->canary_runs) {
		pthread_mutex_lock(&server->canary_lock);
		server->canary_ending = true;
		pthread_cond_signal(&server->canary_wake);
		pthread_mutex_unlock(&server->canary_lock);
		pthread_join(server->canary, NULL);
		server->canary_runs = false;
	}
	for (size_t i = 0; i < server->n_listeners; i++) {
		rpc_listener *listener = &server->listeners[i];
		if (listener->path) {
			char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
			snprintf(name, sizeof name, "%s.lock", listener->path);
			unlink(listener->path);
			unlink(name);
			close(listener->lock);
		}
		free(listener->address);
	}
	free(server->listeners);
	server->listeners = NULL;
	server->n_listeners = 0;
}

static rpc_code listen_ipc(rpc_server *server, rpc_listener *listener, rpc_status *status)
{
	const size_t limit = sizeof(((struct sockaddr_un *)0)->sun_path);
	listener->path = listener->address + 6;
	/* ".<name>.<pid>.<n>" must fit as well */
	if (!*listener->path || strlen(listener->path) + 24 > limit)
		return refuse(status, RPC_INVALID_ARGUMENT, "%s: the path of a socket has 1 to %zu bytes",
			      listener->address, limit - 24);
	rpc_code code = lock_path(listener, status);
	if (code != RPC_OK)
		return code;
	int result = bind_hidden(server, listener->path, &listener->acceptor);
	if (result != 0) {
		char name[128];
		snprintf(name, sizeof name, "%s.lock", listener->path);
		unlink(name);
		return refuse(status, RPC_UNAVAILABLE, "cannot listen on %s: %s", listener->address, strerror(result));
	}
	return RPC_OK;
}

static rpc_code listen_tcp(rpc_server *server, rpc_listener *listener, rpc_status *status)
{
	bool tls = strncmp(listener->address, "tls", 3) == 0;
	const char *host = strstr(listener->address, "://") + 3;
	if (tls && !server->tls_ca)
		return refuse(status, RPC_INVALID_ARGUMENT, "%s: certificates are needed (ca_file and cert_key_file)",
			      listener->address);
	if (!tls && !is_loopback(host))
		return refuse(status, RPC_PERMISSION_DENIED,
			      "%s: without TLS only this machine may be served (127.0.0.1, [::1]); use tls+tcp://",
			      listener->address);
	nng_listener bound;
	nng_tls_config *config = NULL;
	const char *file = NULL; /* that is being read */
	int result = nng_listener_create(&bound, server->socket, listener->address);
	if (result == 0 && tls) {
		result = nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER);
		if (result == 0)
			result = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED);
		if (result == 0)
			result = nng_tls_config_ca_file(config, file = server->tls_ca);
		if (result == 0)
			result = nng_tls_config_cert_key_file(config, file = server->tls_cert, NULL);
		if (result == 0)
			file = NULL;
		if (result == 0)
			result = nng_listener_set_ptr(bound, NNG_OPT_TLS_CONFIG, config);
		if (config)
			nng_tls_config_free(config); /* the listener holds it */
	}
	if (result == 0)
		nng_listener_set_bool(bound, NNG_OPT_TCP_KEEPALIVE, true);
	if (result == 0)
		result = nng_listener_start(bound, 0);
	if (result != 0) {
		nng_listener_close(bound);
		if (file)
			return refuse(status, RPC_INVALID_ARGUMENT, "%s: '%s' cannot be used as PEM: %s",
				      listener->address, file, nng_strerror(result));
		return refuse(status, result == NNG_EADDRINUSE ? RPC_ALREADY_EXISTS : RPC_UNAVAILABLE,
			      "cannot listen on %s: %s", listener->address, nng_strerror(result));
	}
	char *colon = strrchr(listener->address, ':');
	int port;
	if (strcmp(colon, ":0") == 0 && nng_listener_get_int(bound, NNG_OPT_TCP_BOUND_PORT, &port) == 0) {
		char *address;
		if (asprintf(&address, "%.*s:%d", (int)(colon - listener->address), listener->address, port) < 0)
			return refuse(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
		free(listener->address);
		listener->address = address;
	}
	return RPC_OK;
}

/* One server per path: the lock is held for as long as we live, and goes with our process whatever happens. */
static rpc_code lock_path(rpc_listener *listener, rpc_status *status)
{
	char name[128];
	snprintf(name, sizeof name, "%s.lock", listener->path);
	int fd = open_lock(name);
	if (fd < 0 && errno == EWOULDBLOCK) {
		char holder[32] = "";
		int other = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		ssize_t size = other < 0 ? 0 : read(other, holder, sizeof holder - 1);
		if (other >= 0)
			close(other);
		holder[size > 0 ? strspn(holder, "0123456789") : 0] = '\0';
		return refuse(status, RPC_ALREADY_EXISTS, "%s is served already, by process %s", listener->address,
			      *holder ? holder : "(unknown)");
	}
	if (fd < 0)
		return refuse(status, errno == EACCES ? RPC_PERMISSION_DENIED : RPC_UNAVAILABLE, "cannot lock %s: %s",
			      name, strerror(errno));
	listener->lock = fd;
	if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
		return refuse(status, RPC_UNAVAILABLE, "cannot write %s: %s", name, strerror(errno));
	return RPC_OK;
}

/* The locked file, or -1 with errno. A file that its last owner unlinks under us is not the lock any more. */
static int open_lock(const char *name)
{
	for (;;) {
		int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -1;
		struct stat ours, there;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			int why = errno;
			close(fd);
			errno = why;
			return -1;
		}
		if (fstat(fd, &ours) == 0 && stat(name, &there) == 0 && ours.st_ino == there.st_ino &&
		    ours.st_dev == there.st_dev)
			return fd;
		close(fd);
	}
}

/* An errno, or 0. */
static int bind_hidden(rpc_server *server, const char *path, rpc_acceptor **acceptor)
{
	static atomic_uint n;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *slash = strrchr(path, '/');
	int folder = slash ? (int)(slash - path) + 1 : 0;
	int size = snprintf(address.sun_path, sizeof address.sun_path, "%.*s.%s.%ld.%u", folder, path, path + folder,
			    (long)getpid(), atomic_fetch_add(&n, 1));
	if (size < 0 || (size_t)size >= sizeof address.sun_path)
		return ENAMETOOLONG;
	unlink(address.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	mode_t mode = server->options.ipc_mode ? (mode_t)server->options.ipc_mode : 0600;
	/* Nobody can connect before it listens, with the mode it is to have. */
	*acceptor = NULL;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && chmod(address.sun_path, mode) == 0)
		*acceptor = rpc_lines_listen(server, fd);
	int why = errno;
	if (!*acceptor) {
		close(fd);
	} else if (rename(address.sun_path, path) == 0) {
		return 0;
	} else {
		why = errno;
		rpc_lines_retire(server, *acceptor);
		*acceptor = NULL;
	}
	unlink(address.sun_path);
	return why ? why : ENOMEM;
}

static rpc_code refuse(rpc_status *status, rpc_code code, const char *format, ...)
{
	static _Thread_local char text[256];
	if (!status)
		return code;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	*status = (rpc_status){.code = code, .message = text};
	return code;
}

static bool is_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost:", 10) == 0 || strncmp(host, "[::1]:", 6) == 0;
}

static void *canary(void *arg)
{
	rpc_server *server = arg;
	int64_t pause_ms = PROBE_EVERY_MS;
	pthread_mutex_lock(&server->canary_lock);
	while (!server->canary_ending) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		int64_t nanoseconds = until.tv_nsec + pause_ms % 1000 * 1000000;
		until.tv_sec += pause_ms / 1000 + nanoseconds / 1000000000;
		until.tv_nsec = nanoseconds % 1000000000;
		int woken = 0;
		while (!server->canary_ending && woken == 0)
			woken = pthread_cond_timedwait(&server->canary_wake, &server->canary_lock, &until);
		if (server->canary_ending)
			break;
		pthread_mutex_unlock(&server->canary_lock);
		pause_ms = PROBE_EVERY_MS;
		for (size_t i = 0; i < server->n_listeners; i++) {
			if (server->listeners[i].path)
				check(server, &server->listeners[i]);
			if (server->listeners[i].n_misses)
				pause_ms = PROBE_AGAIN_MS;
		}
		pthread_mutex_lock(&server->canary_lock);
	}
	pthread_mutex_unlock(&server->canary_lock);
	return NULL;
}

static void check(rpc_server *server, rpc_listener *listener)
{
	bool known;
	if (probe(listener, &known) || !known) {
		listener->n_misses = 0;
		return;
	}
	if (++listener->n_misses < MISSES)
		return;
	rpc_acceptor *fresh;
	int why = bind_hidden(server, listener->path, &fresh);
	if (why != 0) {
		rpc_server_log(server, LOG_ERR, "%s does not answer and cannot be listened on again: %s",
			       listener->address, strerror(why));
		return;
	}
	rpc_lines_retire(server, listener->acceptor); /* who waits in its queue connects anew */
	listener->acceptor = fresh;
	listener->n_misses = 0;
	atomic_fetch_add(&server->n_relistened, 1);
	rpc_server_log(server, LOG_WARNING, "%s did not answer: listening on it again", listener->address);
}

/* One whole call over the public path. *known is false when we could not even try. */
static bool probe(const rpc_listener *listener, bool *known)
{
	static const char path[] = "/ormd.rpc.v1.Health/Check";
	uint8_t bytes[RPC_FRAME_HEADER_SIZE + sizeof path - 1];
	rpc_frame frame = {
		.kind = RPC_KIND_REQUEST, .path_size = sizeof path - 1, .seq = 1, .deadline_ms = PROBE_TIMEOUT_MS};
	rpc_frame_encode(&frame, bytes);
	memcpy(bytes + RPC_FRAME_HEADER_SIZE, path, sizeof path - 1);

	char why[256];
	rpc_code code;
	int64_t deadline = orm_deadline_in_ms(PROBE_TIMEOUT_MS);
	rpc_transport *transport = rpc_transport_open_sp(listener->address, 1 << 16, deadline, &code, why);
	*known = transport || code != RPC_RESOURCE_EXHAUSTED;
	if (!transport)
		return false;
	uint8_t *reply = NULL;
	size_t size;
	code = transport->ops->send(transport, 1, bytes, sizeof bytes, deadline);
	if (code == RPC_OK)
		code = transport->ops->receive(transport, &reply, &size, deadline);
	bool ok = code == RPC_OK && rpc_frame_decode(&frame, reply, size) && frame.code == RPC_OK;
	free(reply);
	transport->ops->close(transport, false);
	return ok;
}
