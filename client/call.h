/* SPDX-License-Identifier: MIT */
/*
 * The one place that makes a session's calls. A call takes the draft along, shows what the reply brings in the structs,
 * and turns whatever goes wrong into the session's failure.
 *
 * What every call does, in this order: builds the draft if it is to travel; sends the parts that do not fit as Publish
 * requests ahead, pipelined; sends the action with the last part; on success accepts the draft (generated keys), then
 * applies the sync; the action's own contents are the caller's. On failure it reads ErrorDetail and ConflictDetail,
 * accepts what was published all the same, applies the sync that came with it, and makes the failure stick.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include "client/error.h"
#include "client/session_state.h"

#include "proto/ormd.pb-c.h"

/* Methods of service Session, in the order of the .proto. */
typedef enum session_method {
	METHOD_OPEN = 0,
	METHOD_PUBLISH,
	METHOD_COMMIT,
	METHOD_ROLLBACK,
	METHOD_QUERY,
	METHOD_GET,
	METHOD_LOAD,
	METHOD_REFRESH,
	METHOD_WAIT,
	METHOD_CLOSE
} session_method;

typedef struct orm_call {
	orm_session *session;
	session_method method;
	ProtobufCMessage *request;
	Ormd__V1__At *at;        /* the request's, to be filled here */
	Ormd__V1__Draft **draft; /* where the request takes a draft; NULL: none travels */
	int64_t deadline_us;
	orm_draft sent; /* what travelled */
	bool prepared;  /* by call_prepare */
	bool accepted;  /* the server has taken it */
	bool restarted; /* out, after a failure: the server that had the session is gone */
	bool unsettled; /* out, after a failed commit: it may have been done; nothing sticks yet */
} orm_call;

/* Forget the last call's messages; everything that a call sends is made in the arena that this gives. */
orm_arena *call_begin(orm_call *call, orm_session *session, session_method method);
/* The same for a caller that has put something into that arena already. */
orm_arena *call_begin_keeping(orm_call *call, orm_session *session, session_method method);

/* The model's layout; NULL (which sticks) if the connection does not know it. */
const orm_layout *session_layout(orm_session *session, const orm_model *model);

/*
 * Build the draft and send what does not fit along. The calls do it themselves; before them for a request that names
 * objects, since those get their handles by it.
 */
orm_status call_prepare(orm_call *call);

/* One unary call. The reply is in the session's request arena, good until the next call. */
orm_status call_unary(orm_call *call, ProtobufCMessage **reply);

/*
 * The draft has been taken, as the reply says: accept it and apply the sync. For call_unary's callers, who know the
 * type of their reply, and once for a stream's first message.
 */
orm_status call_accept(orm_call *call, const Ormd__V1__Sync *sync, Ormd__V1__KeyRange *const *keys, size_t n_keys);

/*
 * A streaming call: `take` is given each message in turn, after call_accept for the first. The stream is closed when it
 * fails. The message is gone after `take` has returned; its rows have been made to last (call_keep).
 */
typedef orm_status call_take(void *context, const Ormd__V1__QueryReply *message, orm_error *error);
orm_status call_stream(orm_call *call, call_take *take, void *context);

/* Let the text and blob bytes of a message live as long as the session's objects, wherever the message itself is. */
orm_status call_keep(orm_session *session, Ormd__V1__Objects *const *objects, size_t n, orm_error *error);

/* Rows of a unary reply: kept, then shown by structs. */
orm_status call_install(orm_session *session, Ormd__V1__Objects *const *objects, size_t n, orm_error *error);

#endif
