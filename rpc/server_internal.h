/* SPDX-License-Identifier: MIT */
/*
 * The server's inside, shared by server.c (life), dispatch.c (a frame becomes a call), call.c (a call ends),
 * stream.c (pulled answers), slot.c (requests and where their answers go), line.c (local connections), peers.c
 * (connections and clients), workers.c and listener.c.
 *
 * Threads: the lines' one and nng's (dispatch, inline handlers), the workers (handlers), the watcher (events of
 * peers; pidfds), the housekeeper (deadlines, leases), the reply waiter (slow readers), the canary (listener.c).
 *
 * Locks, in the order in which they may be taken: timed_lock, peers_lock, a client's lock; the others are leaves. No
 * lock is held while calling out (handlers, interceptors, watcher) or sending; but a line's own, over its socket's
 * non-blocking write.
 */
#ifndef RPC_SERVER_INTERNAL_H
#define RPC_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <nng/nng.h>

#include "base/map.h"
#include "rpc/codec.h"
#include "rpc/dedup.h"
#include "rpc/frame.h"
#include "rpc/rpc.h"

enum {
	RPC_CLIENT_MEMORY_MS = 600000, /* a client without a connection is remembered for so long */
	RPC_REPEAT_MS = 300000,        /* a channel repeats a call for at most so long: half of the above */
	RPC_REATTACH_MS = 2000,        /* a broken connection is not a gone client for so long */
	RPC_MIN_RECEIVING = 8,         /* contexts that wait for requests, at least */
	RPC_FIRST_SLOTS = 16,
	RPC_INLINE_MAX = 16384 /* payloads above are unpacked on a worker even for inline methods */
};

typedef struct rpc_slot rpc_slot;
typedef struct rpc_conn rpc_conn;
typedef struct rpc_client rpc_client;
typedef struct rpc_live_stream rpc_live_stream;
typedef struct rpc_line rpc_line;
typedef struct rpc_acceptor rpc_acceptor;

/* Work in the queue; lives inside what it is about. */
typedef struct rpc_work {
	struct rpc_work *next;
	void (*run)(struct rpc_work *work);
} rpc_work;

typedef struct rpc_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	rpc_work *first, *last;
	pthread_cond_t gone; /* a substitute has */
	pthread_t *threads;
	size_t n_threads;
	size_t n_substitutes; /* further ones, for those that wait */
	size_t n_waiting;
	size_t n_idle;
	bool ending;
} rpc_workers;

bool rpc_workers_start(rpc_workers *workers, size_t n);
void rpc_workers_put(rpc_workers *workers, rpc_work *work); /* never fails; at the end's beginning still runs it */
bool rpc_workers_is_one(const rpc_workers *workers);        /* is this thread one of them? */
bool rpc_workers_begin_wait(rpc_workers *workers);          /* see rpc_server_begin_wait */
void rpc_workers_end_wait(rpc_workers *workers);
void rpc_workers_end(rpc_workers *workers);                 /* runs what is queued, then joins */

/* A request that waits for its answer. For nng's connections it is a context, used again and again; for lines it lives
 * as long as the request. */
struct rpc_slot {
	rpc_server *server;
	nng_ctx ctx;
	nng_aio *receive, *send;
	rpc_conn *conn;  /* of the request being answered; a reference */
	bool counted;    /* in conn->in_flight */
	size_t queued;   /* in conn->queued */
	rpc_frame asked; /* the request's header, for the reply's */
	uint32_t tag;    /* a line's request's */
	rpc_slot *next;  /* all slots */
	rpc_slot *next_sending;
	void (*sink)(const uint8_t *reply, size_t size, void *context); /* instead of nng, for the fuzzers */
	void *sink_context;
};

bool rpc_slots_open(rpc_server *server, size_t n);
bool rpc_slots_start(rpc_server *server);
void rpc_slots_close(rpc_server *server); /* after nng_close */

/* A reply to what `asked` asked; a reply that is too large becomes RPC_RESOURCE_EXHAUSTED, which *code then says. NULL:
 * out of memory. */
nng_msg *rpc_reply_message(rpc_server *server, const rpc_frame *asked, rpc_code *code, unsigned flags,
			   const rpc_metadata *metadata, size_t n_metadata, const rpc_status *status,
			   const ProtobufCMessage *payload);
void rpc_slot_send(rpc_slot *slot,
		   nng_msg *reply); /* takes the message; NULL (no memory): hangs up. Then receives again */
void rpc_slot_refuse(rpc_slot *slot, rpc_code code, unsigned flags, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void rpc_slot_again(rpc_slot *slot); /* no answer; receive the next request */
void rpc_slot_receive_line(rpc_server *server, rpc_conn *conn, uint32_t tag, nng_msg *message); /* takes the message */

/* A connection: a line or an nng pipe. */
struct rpc_conn {
	atomic_uint refs;
	rpc_server *server;
	rpc_line *line; /* owned; NULL: */
	nng_pipe pipe;
	rpc_peer peer;                /* client_id is set with `client` */
	int pidfd;                    /* -1: none */
	_Atomic(rpc_client *) client; /* set once, by the first frame with a client id; a reference */
	atomic_uint in_flight;        /* slots at work for it */
	atomic_size_t queued;         /* bytes of replies that wait for earlier ones to be read */
	atomic_ullong n_sent;         /* replies handed to the pipe */
	atomic_llong closed_at;       /* 0: open; else when the pipe closed */
	atomic_bool process_gone, said_bye;
	bool announced, told_closed, told_gone, watched; /* the watcher thread's, as is the list: */
	rpc_conn *next, *prev;
};

typedef struct rpc_event {
	struct rpc_event *next;
	rpc_conn *conn; /* a reference */
	enum { RPC_EVENT_WATCH, RPC_EVENT_CONNECTED, RPC_EVENT_CLOSED } kind;
} rpc_event;

struct rpc_client {
	pthread_mutex_t lock;
	atomic_uint refs;
	rpc_server *server;
	uint8_t id[RPC_CLIENT_ID_SIZE];
	int64_t uid;
	rpc_lanes lanes;
	rpc_call *unordered; /* running outside the lanes */
	rpc_live_stream *streams;
	unsigned n_streams; /* not finished ones */
	unsigned n_conns;   /* under peers_lock, as are the next two */
	int64_t last_used;
	bool process_gone;
};

typedef struct rpc_peers {
	pthread_mutex_t lock;
	orm_map conns, clients;
	rpc_event *first, *last; /* events for the watcher thread */
	int event_fd, epoll_fd;
	pthread_t thread;
	rpc_conn *watched; /* the watcher thread's: whose pidfds it watches */
	bool running, ending;
} rpc_peers;

bool rpc_peers_init(rpc_server *server);
bool rpc_peers_start(rpc_server *server);
void rpc_peers_end(rpc_server *server);
rpc_conn *rpc_peers_conn(rpc_server *server, nng_pipe pipe); /* a reference; NULL: closed already */
bool rpc_peers_add(rpc_server *server,
		   rpc_conn *conn); /* a connection has come; false: no room. Its `peer` is filled in */
void rpc_peers_remove(rpc_server *server, rpc_conn *conn); /* and has gone */
rpc_conn *rpc_conn_new(rpc_server *server);                /* one reference; NULL: out of memory */
void rpc_conn_hang_up(rpc_conn *conn);
rpc_client *rpc_peers_bind(rpc_server *server, rpc_conn *conn, const uint8_t *id,
			   rpc_code *code);            /* borrowed from conn */
void rpc_peers_sweep(rpc_server *server, int64_t now); /* forget clients; leases of streams and held calls */
void rpc_peers_close_streams(rpc_server *server);      /* when nothing comes in any more */
void rpc_conn_unref(rpc_conn *conn);
bool rpc_conn_full(const rpc_conn *conn, const rpc_limits *limits); /* takes no further request now */
bool rpc_conn_gone(const rpc_conn *conn, int64_t now, int64_t grace_ms);
void rpc_client_ref(rpc_client *client);
void rpc_client_unref(rpc_client *client);

/* line.c: local connections. Members are the thread's own unless said otherwise. */
typedef struct rpc_lines {
	int epoll_fd, event_fd;
	pthread_t thread;
	bool running;
	atomic_bool ending;
	atomic_uint n_waiting; /* lines whose sockets have not taken all replies yet */
	pthread_mutex_t lock;  /* for: */
	rpc_acceptor *acceptors;
	rpc_line *first; /* all */
	unsigned n_ungreeted;
	uint64_t n_opened;
	int64_t accept_at; /* no descriptors are left: try again then. 0: all is well */
	int64_t looked_at;
	uint8_t *buffer;
} rpc_lines;

bool rpc_lines_init(rpc_server *server);
bool rpc_lines_start(rpc_server *server);
void rpc_lines_end(rpc_server *server);  /* nothing comes in any more; connections are closed */
void rpc_lines_fini(rpc_server *server); /* when nobody sends any more */
rpc_acceptor *rpc_lines_listen(rpc_server *server,
			       int fd); /* a bound socket, taken over; NULL, and not taken: it failed */
void rpc_lines_retire(rpc_server *server, rpc_acceptor *acceptor);  /* its connections live on */
bool rpc_lines_have_written(const rpc_server *server);              /* the kernel has all replies */
void rpc_line_send(rpc_conn *conn, uint32_t tag, nng_msg *message); /* takes the message; never blocks */
void rpc_line_hang_up(rpc_line *line);
void rpc_line_free(rpc_line *line); /* NULL allowed */

typedef struct rpc_service_entry rpc_service_entry;

typedef struct rpc_method_entry {
	char *path;
	size_t path_size;
	const rpc_method *method;
	const ProtobufCMessageDescriptor *input;
	void *context;
	bool always; /* served while draining as well */
} rpc_method_entry;

struct rpc_service_entry {
	const ProtobufCServiceDescriptor *descriptor;
	rpc_method_entry *methods;
	size_t n_methods;
	rpc_service_entry *next;
};

/* Cancellation of one call: see rpc_call_on_cancel. Under timed_lock, but for `used`. */
typedef struct rpc_timed {
	rpc_call *next, *prev;
	atomic_bool used; /* on_cancel has been called */
	bool fired;
	void (*cancelled)(void *context);
	void *context;
} rpc_timed;

struct rpc_call {
	rpc_work work; /* first */
	rpc_server *server;
	const rpc_method_entry *entry; /* NULL: there is no such method */
	rpc_conn *conn;                /* a reference */
	rpc_client *client;            /* a reference; NULL: anonymous */
	rpc_slot *slot;                /* who waits for the answer; under client's lock if there is one */
	rpc_conn *waiting_conn;        /* the slot's, a reference; changes when a repetition attaches */
	nng_msg *message;              /* owned */
	rpc_frame frame;
	orm_arena arena;
	bool in_lane; /* its number is in the client's lanes */
	atomic_bool cancelled;
	int64_t deadline, began;
	const ProtobufCMessage *request; /* NULL: not unpacked yet */
	rpc_head head;
	rpc_metadata *reply_metadata; /* arena */
	size_t n_reply_metadata, max_reply_metadata;
	unsigned flags;   /* of the reply */
	unsigned n_begun; /* interceptors whose begin has been called */
	rpc_timed timed;
	rpc_call *next_unordered, *prev_unordered, *next_free;
};

#define RPC_MAX_INTERCEPTORS 8

struct rpc_server {
	rpc_limits limits;
	rpc_server_options options;
	char *tls_ca, *tls_cert; /* owned copies; NULL: no TLS */
	nng_socket socket;
	uint64_t epoch;
	rpc_service_entry *services;
	orm_map methods; /* path -> rpc_method_entry */
	rpc_interceptor interceptors[RPC_MAX_INTERCEPTORS];
	unsigned n_interceptors;
	struct rpc_listener *listeners;
	size_t n_listeners;
	pthread_mutex_t canary_lock;
	pthread_cond_t canary_wake;
	pthread_t canary;
	bool canary_runs, canary_ending;
	atomic_bool draining, closing;
	bool started;

	pthread_mutex_t slots_lock;
	pthread_cond_t sending_wake;
	rpc_slot *slots;
	atomic_size_t n_slots;
	rpc_slot *first_sending, *last_sending;
	pthread_t reply_waiter;
	bool reply_waiter_runs, slots_ending;
	atomic_uint n_receiving;

	pthread_mutex_t calls_lock;
	rpc_call *free_calls;
	size_t n_free_calls;

	pthread_mutex_t timed_lock;
	pthread_cond_t timed_wake, timed_done;
	rpc_call *timed;    /* calls with on_cancel */
	rpc_call *firing;   /* whose callback runs now */
	int64_t timed_next; /* when the housekeeper looks again */
	pthread_t housekeeper;
	bool housekeeper_runs, timed_ending, timed_changed;

	pthread_mutex_t idle_lock;
	pthread_cond_t idle_wake;
	atomic_ullong in_flight; /* calls and pulls */
	atomic_ullong n_streams; /* not finished */

	rpc_peers peers;
	rpc_lines lines;
	rpc_workers workers;
	atomic_ullong n_calls, n_failed, n_replayed, n_refused, n_conns, bytes_in, bytes_out, n_relistened;
};

void rpc_server_log(rpc_server *server, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rpc_server_busy(rpc_server *server); /* one more call or pull under way */
void rpc_server_done(rpc_server *server);
void rpc_housekeeper_wake(rpc_server *server);

/* dispatch.c: what to do with a received frame; takes the message. */
void rpc_dispatch(rpc_server *server, rpc_slot *slot, rpc_conn *conn, nng_msg *message);
void rpc_call_start(rpc_call *call); /* on a worker, from anywhere */

/* call.c */
rpc_call *rpc_call_new(rpc_server *server);
void rpc_call_free(rpc_call *call); /* back to the free list, with all it holds; not the slot */
void rpc_call_free_all(rpc_server *server);
void rpc_call_end(rpc_call *call, rpc_code code, nng_msg *reply); /* takes the reply */
void rpc_call_cancel(rpc_client *client, uint32_t lane, uint64_t seq);
bool rpc_call_is_over(rpc_call *call, int64_t now);    /* cancelled, late, or its client gone */
void rpc_calls_sweep(rpc_client *client, int64_t now); /* held calls that are over */

/* stream.c: the answers that are pulled */
void rpc_stream_serve_next(rpc_client *client, rpc_slot *slot, rpc_conn *conn, const rpc_frame *frame);
void rpc_stream_cancel(rpc_client *client, uint32_t lane, uint64_t seq);
void rpc_streams_sweep(rpc_client *client, int64_t now, bool all);

/* listener.c */
bool rpc_listeners_start(rpc_server *server);
void rpc_listeners_end(rpc_server *server); /* stops the canary, removes the socket files */

/* services.c */
void rpc_services_add(rpc_server *server);

#endif
