/* SPDX-License-Identifier: MIT */
/* What the calls of service Session have in common: finding the host, waiting for its turn, publishing a draft, telling what others did. */
#ifndef ORMD_SERVER_SESSION_CALL_H
#define ORMD_SERVER_SESSION_CALL_H

#include "base/crash_point.h"
#include "server/codec.h"
#include "server/host.h"

typedef struct ormd_session_call ormd_session_call;

/* A call's work, with the host's turn and its participant known. It ends the call, now or (ORMD_TURN_HELD) later. */
typedef ormd_turn ormd_session_work(ormd_session_call *this);

/* In the call's arena: gone as soon as the call has ended. */
struct ormd_session_call {
	ormd_task               task;
	rpc_call               *call;
	const Ormd__V1__At     *at;
	const ProtobufCMessage *request;
	ormd_session_work      *work;
	ormd_host              *host;    /* while it has the turn */
	ormd_member            *member;
	bool                   *answered; /* only on the network's thread: see ormd_session_call_try */
};

/* Without submitting it; NULL when there is no `at` or no memory. */
ormd_session_call *ormd_session_call_new(rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request, ormd_session_work *work);
/* Find the host and submit; fails the call if there is none. */
void ormd_session_call_begin(ormd_daemon *daemon, rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request,
                             ormd_session_work *work);

/*
 * The same on the network's thread, if the host is idle. `work` must not wait: when `answered` is set it either sets *answered before it
 * ends the call or holds the turn, or does nothing. False: nothing was done, a worker is to do it.
 */
bool ormd_session_call_try(ormd_daemon *daemon, rpc_call *call, const Ormd__V1__At *at, const ProtobufCMessage *request,
                           ormd_session_work *work);
/* Can a call with this draft be worked on by a thread that others wait for? Only if the unit is small and nothing is asked of the database. */
bool ormd_session_call_is_small(const ormd_session_call *this, const Ormd__V1__Draft *message);

/*
 * The call is going to wait for a transaction's turn or locks, which another session's call gives up: see rpc_server_begin_wait. ORM_ELIMIT: too many
 * do. rpc_server_end_wait follows in either case.
 */
orm_status ormd_session_call_begin_wait(ormd_session_call *this, orm_error *error);

/* Publish the draft that came with a call (may be NULL or empty), or, with `more`, the part of one. */
orm_status ormd_session_call_publish(ormd_session_call *this, const Ormd__V1__Draft *message, bool more, ormd_published *published,
                                     orm_error *error);
/* What others did, as a message in `arena`. ORM_ELIMIT: that is more than a message may hold. */
orm_status ormd_session_call_sync(ormd_host *host, uint32_t participant, uint64_t seen, orm_arena *arena, Ormd__V1__Sync **message,
                                  orm_error *error);
/* End the call with this error, and with what others did. `published` may be NULL. */
void ormd_session_call_fail(ormd_session_call *this, const orm_error *error, const ormd_published *published, bool draft_published);

/* service_open.c */
void ormd_handle_open(rpc_call *call, const ProtobufCMessage *message, void *daemon);

/* service_query.c */
void ormd_handle_query(rpc_call *call, const ProtobufCMessage *message, void *daemon);
void ormd_handle_load(rpc_call *call, const ProtobufCMessage *message, void *daemon);
void ormd_handle_get(rpc_call *call, const ProtobufCMessage *message, void *daemon);
void ormd_handle_refresh(rpc_call *call, const ProtobufCMessage *message, void *daemon);
bool ormd_try_get(rpc_call *call, const ProtobufCMessage *message, void *daemon);

#endif
