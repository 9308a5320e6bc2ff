/* SPDX-License-Identifier: MIT */
/* A program with a session, by plain rpc: these tests are of the server, not of liborm. Whatever fails fails the test.
 */
#ifndef TESTS_SERVER_CLIENT_H
#define TESTS_SERVER_CLIENT_H

#include "base/arena.h"
#include "proto/ormd.pb-c.h"
#include "rpc/rpc.h"

typedef struct client {
	rpc_channel *channel;
	orm_arena arena; /* replies */
	uint64_t registry;
	uint64_t session, fence, seen;
	uint32_t participant;
} client;

void client_connect(client *c, const char *address);
void client_fini(client *c); /* zeroed storage allowed */

/* The reply, in the client's arena. */
void *client_call(client *c, const ProtobufCServiceDescriptor *service, const char *method,
		  const ProtobufCMessage *request);
/* Send only; the answer is never read. */
void client_send(client *c, const ProtobufCServiceDescriptor *service, const char *method,
		 const ProtobufCMessage *request);

/* User(id, name) <- Post(id, title, user_id), author */
void client_declare_models(client *c);
void client_create_tables(client *c);
void client_open_session(client *c, const char *name, const char *participant);
void client_add_user(client *c, const char *name); /* publishes it; once per client */

/* Where the session's calls belong; `at` in the caller's storage. */
void client_at(const client *c, Ormd__V1__At *at);

#endif
