/* SPDX-License-Identifier: MIT */
/*
 * tls+tcp through nng: a raw REQ socket with one dialer, for the sake of its TLS. A lost pipe ends the transport, so
 * that nng never dials or repeats anything behind the channel's back.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>

#include "base/clock.h"
#include "base/thread.h"
#include "rpc/transport.h"

enum { QUIET_MS = 50 };

typedef struct nng_transport {
	rpc_transport base; /* first */
	nng_socket socket;
	nng_aio *receiving, *sending;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool connected, broken, received, sent;
} nng_transport;

static rpc_code send_frame(rpc_transport *base, uint32_t tag, const uint8_t *frame, size_t size, int64_t deadline_us);
static rpc_code receive_frame(rpc_transport *base, uint8_t **frame, size_t *size, int64_t deadline_us);
static void close_transport(rpc_transport *base, bool forked);
static void *close_when_quiet(void *arg);
static int dial(nng_transport *transport, const char *address, const rpc_tls *tls, size_t max_message,
		const char **file);
static void pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg);
static void aio_received(void *arg);
static void aio_sent(void *arg);
static bool wait_until(nng_transport *transport, const bool *flag, int64_t deadline_us);

static const rpc_transport_ops nng_ops = {send_frame, receive_frame, close_transport};

rpc_transport *rpc_transport_open_nng(const char *address, const rpc_tls *tls, size_t max_message, int64_t deadline_us,
				      rpc_code *code, char why[256])
{
	if (!tls || !tls->ca_file || !tls->cert_key_file || !tls->server_name) {
		snprintf(why, 256, "TLS needs ca_file, cert_key_file and server_name");
		*code = RPC_INVALID_ARGUMENT;
		return NULL;
	}
	nng_transport *transport = calloc(1, sizeof *transport);
	if (!transport) {
		snprintf(why, 256, "out of memory");
		*code = RPC_RESOURCE_EXHAUSTED;
		return NULL;
	}
	transport->base.ops = &nng_ops;
	transport->socket = (nng_socket)NNG_SOCKET_INITIALIZER;
	pthread_condattr_t clock;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_mutex_init(&transport->lock, NULL);
	pthread_cond_init(&transport->wake, &clock);
	pthread_condattr_destroy(&clock);

	const char *file = NULL;
	int result = dial(transport, address, tls, max_message, &file);
	if (result != 0) {
		if (file)
			snprintf(why, 256, "'%.180s' cannot be used as PEM: %s", file, nng_strerror(result));
		else
			snprintf(why, 256, "%s", nng_strerror(result));
		*code = RPC_UNAVAILABLE;
		if (result == NNG_ECONNREFUSED)
			*code = RPC_NOT_FOUND;
		else if (result == NNG_ECRYPTO || result == NNG_ENOENT || result == NNG_EINVAL ||
			 result == NNG_EADDRINVAL)
			*code = RPC_INVALID_ARGUMENT;
		close_transport(&transport->base, false);
		return NULL;
	}
	if (!wait_until(transport, &transport->connected, deadline_us)) {
		/* What exactly went wrong in a handshake, this version of nng does not say. */
		snprintf(why, 256,
			 "no connection: the server is not there, or one side refuses the other's certificate");
		*code = RPC_UNAVAILABLE;
		close_transport(&transport->base, false);
		return NULL;
	}
	nng_recv_aio(transport->socket, transport->receiving);
	*code = RPC_OK;
	return &transport->base;
}

static rpc_code send_frame(rpc_transport *base, uint32_t tag, const uint8_t *frame, size_t size, int64_t deadline_us)
{
	nng_transport *transport = (nng_transport *)base;
	nng_msg *message;
	if (nng_msg_alloc(&message, size) != 0)
		return RPC_UNAVAILABLE;
	memcpy(nng_msg_body(message), frame, size);
	if (nng_msg_header_append_u32(message, tag | 0x80000000U) != 0) {
		nng_msg_free(message);
		return RPC_UNAVAILABLE;
	}
	transport->sent = false;
	nng_aio_set_msg(transport->sending, message);
	nng_send_aio(transport->socket, transport->sending);
	bool in_time = wait_until(transport, &transport->sent, deadline_us);
	if (!in_time)
		nng_aio_cancel(transport->sending);
	nng_aio_wait(transport->sending);
	int result = nng_aio_result(transport->sending);
	if (result == 0)
		return RPC_OK;
	nng_msg_free(nng_aio_get_msg(transport->sending));
	nng_aio_set_msg(transport->sending, NULL);
	pthread_mutex_lock(&transport->lock);
	bool broken = transport->broken;
	pthread_mutex_unlock(&transport->lock);
	return broken || in_time ? RPC_UNAVAILABLE : RPC_DEADLINE_EXCEEDED;
}

static rpc_code receive_frame(rpc_transport *base, uint8_t **frame, size_t *size, int64_t deadline_us)
{
	nng_transport *transport = (nng_transport *)base;
	if (!wait_until(transport, &transport->received, deadline_us)) {
		pthread_mutex_lock(&transport->lock);
		bool broken = transport->broken;
		pthread_mutex_unlock(&transport->lock);
		return broken ? RPC_UNAVAILABLE : RPC_DEADLINE_EXCEEDED;
	}
	nng_aio_wait(transport->receiving);
	transport->received = false;
	if (nng_aio_result(transport->receiving) != 0) {
		pthread_mutex_lock(&transport->lock);
		transport->broken = true;
		pthread_mutex_unlock(&transport->lock);
		return RPC_UNAVAILABLE;
	}
	nng_msg *message = nng_aio_get_msg(transport->receiving);
	nng_aio_set_msg(transport->receiving, NULL);
	*size = nng_msg_len(message);
	*frame = malloc(*size + 1);
	if (*frame)
		memcpy(*frame, nng_msg_body(message), *size);
	nng_msg_free(message);
	nng_recv_aio(transport->socket, transport->receiving);
	return *frame ? RPC_OK : RPC_UNAVAILABLE;
}

static void close_transport(rpc_transport *base, bool forked)
{
	nng_transport *transport = (nng_transport *)base;
	pthread_t closer;
	if (forked) {
		free(transport);
		return;
	}
	if (orm_thread_start(&closer, close_when_quiet, transport))
		pthread_detach(closer);
	else
		close_when_quiet(transport);
}

/*
 * In nng 1.5.2 closing a TLS connection at the moment when data comes in waits for ever: a receive that is being
 * started again is neither cancelled nor begun (tls_cancel and tls_tcp_recv_start in its tls_common.c). So the close is
 * done when the last reply has long been dealt with, and where nobody waits for it.
 */
static void *close_when_quiet(void *arg)
{
	nng_transport *transport = arg;
	struct timespec quiet = {.tv_nsec = QUIET_MS * 1000000L};
	nanosleep(&quiet, NULL);
	if (transport->socket.id)
		nng_close(transport->socket);
	if (transport->receiving) {
		nng_aio_stop(transport->receiving);
		nng_msg_free(nng_aio_get_msg(transport->receiving));
	}
	if (transport->sending)
		nng_aio_stop(transport->sending);
	nng_aio_free(transport->receiving);
	nng_aio_free(transport->sending);
	pthread_cond_destroy(&transport->wake);
	pthread_mutex_destroy(&transport->lock);
	free(transport);
	return NULL;
}

/* *file: the one of `tls` that could not be read, if that is what failed. */
static int dial(nng_transport *transport, const char *address, const rpc_tls *tls, size_t max_message,
		const char **file)
{
	nng_tls_config *config = NULL;
	nng_dialer dialer;
	sigset_t all, before; /* nng's threads are not for the host's signals */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int result = nng_req0_open_raw(&transport->socket);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result == 0)
		result = nng_aio_alloc(&transport->receiving, aio_received, transport);
	if (result == 0)
		result = nng_aio_alloc(&transport->sending, aio_sent, transport);
	if (result == 0)
		result = nng_socket_set_size(transport->socket, NNG_OPT_RECVMAXSZ, max_message + 64);
	if (result == 0)
		result = nng_socket_set_ms(transport->socket, NNG_OPT_RECONNMINT, 50);
	if (result == 0)
		result = nng_socket_set_ms(transport->socket, NNG_OPT_RECONNMAXT, 1000);
	if (result == 0)
		result = nng_pipe_notify(transport->socket, NNG_PIPE_EV_ADD_PRE, pipe_changed, transport);
	if (result == 0)
		result = nng_pipe_notify(transport->socket, NNG_PIPE_EV_ADD_POST, pipe_changed, transport);
	if (result == 0)
		result = nng_pipe_notify(transport->socket, NNG_PIPE_EV_REM_POST, pipe_changed, transport);
	if (result == 0)
		result = nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT);
	if (result == 0)
		result = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED);
	if (result == 0)
		result = nng_tls_config_ca_file(config, *file = tls->ca_file);
	if (result == 0)
		result = nng_tls_config_cert_key_file(config, *file = tls->cert_key_file, NULL);
	if (result == 0)
		*file = NULL;
	if (result == 0)
		result = nng_tls_config_server_name(config, tls->server_name);
	if (result == 0)
		result = nng_dialer_create(&dialer, transport->socket, address);
	if (result == 0)
		result = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
	if (result == 0)
		result = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
	if (config)
		nng_tls_config_free(config);
	return result;
}

static void pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	nng_transport *transport = arg;
	pthread_mutex_lock(&transport->lock);
	if (event == NNG_PIPE_EV_ADD_PRE && transport->broken)
		nng_pipe_close(pipe); /* a transport is one connection */
	else if (event == NNG_PIPE_EV_ADD_POST)
		transport->connected = true;
	else if (event == NNG_PIPE_EV_REM_POST && transport->connected)
		transport->broken = true;
	pthread_cond_broadcast(&transport->wake);
	pthread_mutex_unlock(&transport->lock);
}

static void aio_received(void *arg)
{
	nng_transport *transport = arg;
	pthread_mutex_lock(&transport->lock);
	transport->received = true;
	pthread_cond_broadcast(&transport->wake);
	pthread_mutex_unlock(&transport->lock);
}

static void aio_sent(void *arg)
{
	nng_transport *transport = arg;
	pthread_mutex_lock(&transport->lock);
	transport->sent = true;
	pthread_cond_broadcast(&transport->wake);
	pthread_mutex_unlock(&transport->lock);
}

/* True: the flag is set. False: the deadline passed, or the connection broke. */
static bool wait_until(nng_transport *transport, const bool *flag, int64_t deadline_us)
{
	pthread_mutex_lock(&transport->lock);
	while (!*flag && !transport->broken) {
		int64_t left = deadline_us - orm_clock_us();
		if (deadline_us != ORM_NO_DEADLINE && left <= 0)
			break;
		if (deadline_us == ORM_NO_DEADLINE || left > 3600000000)
			left = 3600000000;
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		int64_t nanoseconds = until.tv_nsec + left % 1000000 * 1000;
		until.tv_sec += left / 1000000 + nanoseconds / 1000000000;
		until.tv_nsec = nanoseconds % 1000000000;
		pthread_cond_timedwait(&transport->wake, &transport->lock, &until);
	}
	bool set = *flag;
	pthread_mutex_unlock(&transport->lock);
	return set;
}
