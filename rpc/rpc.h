/* SPDX-License-Identifier: MIT */
/*
 * rpc: a small gRPC over nng for protobuf-c. Nothing of the ORM is in it.
 *
 * The story. Services are declared in .proto; protobuf-c's generated descriptors are the dispatch table. A
 * server listens on addresses (ipc, tcp, tls+tcp), receives frames, checks them before any protobuf is
 * parsed, unpacks the payload into the request's arena, and calls the method's handler. A client opens a
 * channel and calls methods by their descriptors. Calls are unary or server-streaming; each carries a
 * deadline, metadata and a request id; each ends with one of gRPC's canonical status codes, a message and
 * typed details.
 *
 * Request ids. A channel has a random 128-bit client id, one per process and connection, and numbers its
 * calls on a lane (a strictly ordered stream) 1, 2, 3, ... A repeated number is answered from memory, not
 * run again; so a client may repeat a call whose reply got lost, and does so by itself until the deadline.
 *
 * Files: status (codes), frame (the fixed header), codec (protobuf in an arena), dedup (request ids),
 * server (requests, local connections, dispatch, workers, streams), listener (addresses, the ipc canary), channel (client side),
 * transport_sp / transport_nng (how a channel moves frames), services (health, reflection), interceptors.
 */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/* gRPC's canonical status codes (grpc/doc/statuscodes.md), same numbers. */
typedef enum rpc_code {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16
} rpc_code;

const char *rpc_code_name(rpc_code code); /* "DEADLINE_EXCEEDED"; "CODE_99" style never: unknown gives "UNKNOWN" */

/* How a call ended. Strings and details are in the arena of whoever filled it (see each function). */
typedef struct rpc_detail {
	const char *type; /* full message name */
	const uint8_t *value;
	size_t size;
} rpc_detail;

typedef struct rpc_status {
	rpc_code code;
	const char *message; /* never NULL; "" for RPC_OK */
	const rpc_detail *details;
	size_t n_details;
} rpc_status;

typedef struct rpc_metadata {
	const char *key;
	const void *value;
	size_t size;
} rpc_metadata;

/* Limits, with the defaults that rpc_limits_default() gives. */
typedef struct rpc_limits {
	size_t max_message;        /* largest frame either way, bytes: 16 MiB */
	size_t max_unpacked;       /* arena budget for one unpacked message, bytes: 64 MiB */
	uint32_t max_clients;      /* pipes at once: 4096 */
	uint32_t max_in_flight;    /* requests of one pipe being worked on: 16 */
	uint32_t max_streams;      /* open streams of one client: 16 */
	uint32_t reply_timeout_ms; /* a client that does not take its reply for so long is closed: 2000 */
	uint32_t stream_lease_ms;  /* a stream not asked for its next message for so long is closed: 30000 */
	size_t max_cached_reply;   /* replies above are not kept for repetition, bytes: 1 MiB */
	size_t max_cached;         /* cached replies of one client in all, bytes: 8 MiB */
} rpc_limits;

rpc_limits rpc_limits_default(void);

/* TLS: files in PEM. Both sides show certificates and both verify (mutual TLS); NULL members are refused. */
typedef struct rpc_tls {
	const char *ca_file;       /* whom to trust */
	const char *cert_key_file; /* own certificate and key in one file */
	const char *server_name;   /* client only: the name the server's certificate must have */
} rpc_tls;

/* ---- server ------------------------------------------------------------------------------------------ */

typedef struct rpc_server rpc_server;
typedef struct rpc_call rpc_call;

/* Who called. Borrowed from the call. */
typedef struct rpc_peer {
	uint8_t client_id[16];
	uint64_t connection; /* the transport pipe, unique within the server's life */
	int64_t pid;         /* ipc: the peer's process; else -1 */
	int64_t uid;         /* ipc: the peer's user; else -1 */
	bool local;          /* ipc */
} rpc_peer;

/*
 * A handler answers one call: it must end it, now or later and from any thread, exactly once, with
 * rpc_call_reply, rpc_call_fail or rpc_call_stream. `request` lives in the call's arena and with it until
 * the call has ended. Handlers run on the server's worker threads and may block, except RPC_INLINE ones.
 */
typedef void rpc_handler(rpc_call *call, const ProtobufCMessage *request, void *context);

/*
 * For methods that can often be answered from memory: called first, on the network's thread, where it must
 * neither block nor take a lock that is held over I/O. Returns false, having done nothing, to have `handle`
 * called on a worker. Saves waking a thread, which is most of a small call's cost.
 */
typedef bool rpc_inline_handler(rpc_call *call, const ProtobufCMessage *request, void *context);

typedef struct rpc_method {
	const char *name;               /* as in the .proto */
	rpc_handler *handle;            /* must */
	rpc_inline_handler *try_inline; /* may */
	bool streaming;                 /* ends with rpc_call_stream (or fails) */
	bool unordered; /* runs at once, outside its lane's order and not remembered: for health, waiting, cancel */
} rpc_method;

/* An interceptor sees every call before its handler and after its end. Both may be NULL. For logs and metrics. */
typedef struct rpc_interceptor {
	void (*begin)(rpc_call *call, void *context);
	void (*end)(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		    void *context);
	void *context;
} rpc_interceptor;

/* Told when clients come and go; called from a thread of the server's own, one event at a time. */
typedef struct rpc_watcher {
	void (*connected)(const rpc_peer *peer, void *context); /* a pipe has sent its first valid frame */
	void (*disconnected)(const rpc_peer *peer, bool process_gone,
			     void *context); /* its pipe closed; process_gone: and the ipc peer's process has ended */
	void (*exited)(const rpc_peer *peer,
		       void *context); /* the ipc peer's process ended after a disconnected(.., false) */
	void *context;
} rpc_watcher;

typedef struct rpc_server_options {
	rpc_limits limits;
	uint32_t n_workers; /* worker threads; 0: a sensible number for this machine */
	const rpc_tls *tls; /* for tls+tcp addresses */
	uint32_t ipc_mode;  /* permissions of the socket file, e.g. 0600 */
	rpc_watcher watcher;
	void (*log)(int level, const char *message, void *context); /* syslog levels; may be NULL */
	void *log_context;
} rpc_server_options;

/* NULL and *status filled (static message) on failure. Owned: rpc_server_free. options' tls strings are copied. */
rpc_server *rpc_server_new(const rpc_server_options *options, rpc_status *status);

/*
 * Offer a service. `methods` has one entry per method of the descriptor, in any order; a missing, doubled or
 * unknown name is a bug and asserted. Borrowed until the server is freed. Before rpc_server_start only.
 */
void rpc_server_add_service(rpc_server *server, const ProtobufCServiceDescriptor *service, const rpc_method *methods,
			    size_t n_methods, void *context);
void rpc_server_add_interceptor(rpc_server *server,
				const rpc_interceptor *interceptor); /* copied; first added is outermost */

/* Listen on one more address; "tcp://127.0.0.1:0" picks a port, which rpc_server_address tells. */
rpc_code rpc_server_listen(rpc_server *server, const char *address, rpc_status *status);
size_t rpc_server_n_addresses(const rpc_server *server);
const char *rpc_server_address(const rpc_server *server, size_t i);

/* Begin serving. */
rpc_code rpc_server_start(rpc_server *server, rpc_status *status);

/*
 * For ending an idle server: if nobody is connected, refuse new calls from now on as rpc_server_drain does, and return true. Else nothing has
 * changed. There is no moment at which a client is both let in and left behind.
 */
bool rpc_server_retire(rpc_server *server);

/*
 * Drain: answer new calls UNAVAILABLE ("draining"), let running ones end and their replies reach the
 * clients, for at most timeout_ms; health says NOT_SERVING. Returns true if everything ended in time.
 */
bool rpc_server_drain(rpc_server *server, int64_t timeout_ms);
void rpc_server_free(rpc_server *server); /* drains with a timeout of 0 first, cancels what runs and waits for it to
					     end; NULL allowed */

typedef struct rpc_server_stats {
	uint64_t calls, failed, replayed, refused, in_flight, connections, bytes_in, bytes_out, relistened;
} rpc_server_stats;
void rpc_server_stats_get(const rpc_server *server, rpc_server_stats *stats);

/*
 * This worker is going to wait for what another call has to bring about (a lock in the database): another thread takes its place until
 * rpc_server_end_wait, so that the other call finds a worker. False: there is none left, and no thread to be had; end it all the same. Nothing
 * happens on threads that are no workers.
 */
bool rpc_server_begin_wait(rpc_server *server);
void rpc_server_end_wait(rpc_server *server);

/* Run `work` on a worker thread soon. False when the server is ending. */
bool rpc_server_post(rpc_server *server, void (*work)(void *context), void *context);

const rpc_peer *rpc_call_peer(const rpc_call *call);
const char *rpc_call_method(const rpc_call *call); /* "/ormd.v1.Session/Flush" */
int64_t rpc_call_deadline(const rpc_call *call);   /* absolute, as in base/clock.h */
bool rpc_call_cancelled(const rpc_call *call);     /* cancelled, past its deadline, or its client gone: stop working */
orm_arena *rpc_call_arena(rpc_call *call);         /* lives until the call has ended */
const rpc_metadata *rpc_call_metadata(const rpc_call *call, const char *key); /* NULL: none */
bool rpc_call_reply_metadata(rpc_call *call, const char *key, const void *value, size_t size);

/*
 * Be told, from another thread, when rpc_call_cancelled turns true: at most once, never after the call's end. May be
 * called once for a call. The callback may end the call. Whoever else ends it waits for a callback that is running, so
 * must not hold a lock that the callback takes.
 */
void rpc_call_on_cancel(rpc_call *call, void (*cancelled)(void *context), void *context);

/* End a call. The message is packed before the function returns; the call is gone afterwards. */
void rpc_call_reply(rpc_call *call, const ProtobufCMessage *reply);
void rpc_call_fail(rpc_call *call, rpc_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rpc_call_fail_with(rpc_call *call, const rpc_status *status);

/*
 * A server-streaming answer is pulled: `next` is called on a worker for each message that the client has asked
 * for (never more than one ahead), so a slow client costs no memory. It ends each pull with rpc_pull_send
 * (last: true ends the stream well; its message may then be NULL: there was none) or rpc_pull_fail. `close` is called
 * exactly once, at the end, on cancellation, on the lease's end or when the client is gone, never while `next` runs.
 * `pull`'s arena lives until the pull has been answered.
 */
typedef struct rpc_pull rpc_pull;
typedef struct rpc_stream_source {
	void (*next)(rpc_pull *pull, void *context);
	void (*close)(void *context);
	void *context;
} rpc_stream_source;

void rpc_call_stream(rpc_call *call, const rpc_stream_source *source); /* then pulls `next` for the first message */
orm_arena *rpc_pull_arena(rpc_pull *pull);
int64_t rpc_pull_deadline(const rpc_pull *pull);
bool rpc_pull_cancelled(const rpc_pull *pull);
void rpc_pull_send(rpc_pull *pull, const ProtobufCMessage *message, bool last);
void rpc_pull_fail(rpc_pull *pull, rpc_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rpc_pull_fail_with(rpc_pull *pull, const rpc_status *status);

/* ---- client ------------------------------------------------------------------------------------------ */

typedef struct rpc_channel rpc_channel;

typedef struct rpc_channel_options {
	rpc_limits limits;            /* max_message and max_unpacked are used */
	const rpc_tls *tls;           /* tls+tcp only; the names of its files are borrowed for the channel's life */
	int64_t connect_timeout_ms;   /* 0: 5000 */
	int64_t try_timeout_ms;       /* a try without a reply for so long is repeated; 0: never by time, only when the
					 connection breaks */
	const rpc_metadata *metadata; /* sent with every call; borrowed */
	size_t n_metadata;
	/*
	 * May be NULL. Told from within a call, between tries, when its connection was lost and cannot be replaced:
	 * whoever can may start the server again, until the deadline at most. True: it is there now, try at once.
	 */
	bool (*unreachable)(void *context, int64_t deadline_us);
	void *unreachable_context;
} rpc_channel_options;

/*
 * A channel to one server: ipc and tcp over a plain blocking socket that speaks nng's SP framing (no threads, and
 * usable in a child that opens its own), tls+tcp over nng. One thread at a time. It reconnects by itself with
 * backoff and repeats what was not answered, under the same request id. In a forked child every call fails with
 * RPC_FAILED_PRECONDITION ("forked").
 */
rpc_channel *rpc_channel_open(const char *address, const rpc_channel_options *options, rpc_status *status);
void rpc_channel_close(rpc_channel *channel); /* NULL allowed; in a forked child only frees */

const uint8_t *rpc_channel_client_id(const rpc_channel *channel); /* 16 bytes */
uint64_t rpc_channel_n_requests(const rpc_channel *channel);      /* round trips made, repeats included */
const char *rpc_channel_address(const rpc_channel *channel);
uint64_t rpc_channel_epoch(const rpc_channel *channel); /* another value than before: the server was restarted */
const rpc_metadata *rpc_channel_reply_metadata(const rpc_channel *channel,
					       const char *key); /* of the last reply, in its arena; NULL: none */

/*
 * One unary call. `method` indexes the service descriptor's methods. The reply is unpacked into `arena` and
 * lives as long as it; on failure *reply is NULL and *status (strings in `arena`) says why. Blocks until the
 * reply or the deadline.
 */
rpc_code rpc_channel_call(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
			  const ProtobufCMessage *request, int64_t deadline_us, orm_arena *arena,
			  ProtobufCMessage **reply, rpc_status *status);

/*
 * The same in two halves, to have several calls under way (pipelining). Replies are taken in the order the calls were
 * sent. rpc_channel_send blocks only while the socket's buffer is full (and takes replies meanwhile).
 */
typedef struct rpc_pending rpc_pending; /* owned by the channel until received */
rpc_pending *rpc_channel_send(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
			      const ProtobufCMessage *request, int64_t deadline_us, rpc_status *status);
rpc_code rpc_channel_receive(rpc_channel *channel, rpc_pending *pending, orm_arena *arena, ProtobufCMessage **reply,
			     rpc_status *status);

/*
 * A server-streaming call. Each rpc_stream_next gives one message (unpacked into `arena`) or, at the end,
 * NULL with RPC_OK; the message after it is asked for before the call returns, so that the server works on
 * it while the caller reads this one. Close cancels what is left.
 */
typedef struct rpc_stream rpc_stream;
rpc_stream *rpc_channel_open_stream(rpc_channel *channel, const ProtobufCServiceDescriptor *service, unsigned method,
				    const ProtobufCMessage *request, int64_t deadline_us, rpc_status *status);
rpc_code rpc_stream_next(rpc_stream *stream, orm_arena *arena, ProtobufCMessage **message, rpc_status *status);
void rpc_stream_close(rpc_stream *stream); /* NULL allowed */

/* ---- both ------------------------------------------------------------------------------------------- */

/* protobuf-c's allocator over an arena: frees nothing, refuses what is over the arena's budget. */
ProtobufCAllocator rpc_arena_allocator(orm_arena *arena);

/* Unpack; NULL with RPC_RESOURCE_EXHAUSTED (budget) or RPC_INVALID_ARGUMENT (bad bytes) in *code. */
ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size, orm_arena *arena,
			     rpc_code *code);

/* A typed detail from a message, packed into the arena. False when out of memory. */
bool rpc_detail_pack(const ProtobufCMessage *message, orm_arena *arena, rpc_detail *detail);

#endif
