/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "support/eventually.h"

void client_connect(client *c, const char *address)
{
	const rpc_channel_options options = {.limits = rpc_limits_default()};
	rpc_status status = {0};

	*c = (client){0};
	orm_arena_init(&c->arena, 0);
	c->channel = rpc_channel_open(address, &options, &status);
	if (!c->channel)
		fail_msg("%s", status.message);
}

void client_fini(client *c)
{
	rpc_channel_close(c->channel);
	orm_arena_fini(&c->arena);
	*c = (client){0};
}

static unsigned method_number(const ProtobufCServiceDescriptor *service, const char *name)
{
	const ProtobufCMethodDescriptor *method = protobuf_c_service_descriptor_get_method_by_name(service, name);

	assert_non_null(method);
	return (unsigned)(method - service->methods);
}

void *client_call(client *c, const ProtobufCServiceDescriptor *service, const char *method,
		  const ProtobufCMessage *request)
{
	ProtobufCMessage *reply = NULL;
	rpc_status status = {0};

	if (rpc_channel_call(c->channel, service, method_number(service, method), request,
			     orm_deadline_in_ms(SUPPORT_PATIENCE_MS), &c->arena, &reply, &status) != RPC_OK)
		fail_msg("%s: %s", method, status.message);
	return reply;
}

void client_send(client *c, const ProtobufCServiceDescriptor *service, const char *method,
		 const ProtobufCMessage *request)
{
	rpc_status status = {0};

	if (!rpc_channel_send(c->channel, service, method_number(service, method), request,
			      orm_deadline_in_ms(10 * SUPPORT_PATIENCE_MS), &status))
		fail_msg("%s: %s", method, status.message);
}

static Ormd__V1__ColumnSpec column(char *name, Ormd__V1__Type type)
{
	Ormd__V1__ColumnSpec spec = ORMD__V1__COLUMN_SPEC__INIT;

	spec.name = name;
	spec.has_type = true;
	spec.type = type;
	return spec;
}

void client_declare_models(client *c)
{
	Ormd__V1__ColumnSpec id = column("id", ORMD__V1__TYPE__TYPE_INT64);
	Ormd__V1__ColumnSpec name = column("name", ORMD__V1__TYPE__TYPE_TEXT);
	Ormd__V1__ColumnSpec title = column("title", ORMD__V1__TYPE__TYPE_TEXT);
	Ormd__V1__ColumnSpec user_id = column("user_id", ORMD__V1__TYPE__TYPE_INT64);
	Ormd__V1__RelationshipSpec author = ORMD__V1__RELATIONSHIP_SPEC__INIT;
	Ormd__V1__ModelSpec user = ORMD__V1__MODEL_SPEC__INIT;
	Ormd__V1__ModelSpec post = ORMD__V1__MODEL_SPEC__INIT;
	Ormd__V1__ConnectRequest request = ORMD__V1__CONNECT_REQUEST__INIT;
	Ormd__V1__ColumnSpec *user_columns[] = {&id, &name};
	Ormd__V1__ColumnSpec *post_columns[] = {&id, &title, &user_id};
	Ormd__V1__RelationshipSpec *relationships[] = {&author};
	Ormd__V1__ModelSpec *models[] = {&user, &post};

	id.has_primary_key = id.primary_key = true;
	user_id.references_model = "User";
	user_id.references_column = "id";
	author.name = "author";
	author.target = "User";
	user.name = "User";
	user.table = "users";
	user.columns = user_columns;
	user.n_columns = 2;
	post.name = "Post";
	post.table = "posts";
	post.columns = post_columns;
	post.n_columns = 3;
	post.relationships = relationships;
	post.n_relationships = 1;
	request.models = models;
	request.n_models = 2;

	const Ormd__V1__ConnectReply *reply = client_call(c, &ormd__v1__database__descriptor, "Connect", &request.base);

	c->registry = reply->registry;
}

void client_create_tables(client *c)
{
	Ormd__V1__SchemaRequest request = ORMD__V1__SCHEMA_REQUEST__INIT;

	request.has_registry = true;
	request.registry = c->registry;
	client_call(c, &ormd__v1__database__descriptor, "CreateAll", &request.base);
}

void client_open_session(client *c, const char *name, const char *participant)
{
	Ormd__V1__OpenRequest request = ORMD__V1__OPEN_REQUEST__INIT;

	request.has_registry = true;
	request.registry = c->registry;
	request.name = (char *)(uintptr_t)name;
	request.participant = (char *)(uintptr_t)participant;

	const Ormd__V1__OpenReply *reply = client_call(c, &ormd__v1__session__descriptor, "Open", &request.base);

	c->session = reply->session;
	c->participant = reply->participant;
	c->fence = reply->fence;
	c->seen = reply->sync ? reply->sync->rev : 0;
}

void client_at(const client *c, Ormd__V1__At *at)
{
	*at = (Ormd__V1__At)ORMD__V1__AT__INIT;
	at->has_session = at->has_participant = at->has_fence = at->has_seen = true;
	at->session = c->session;
	at->participant = c->participant;
	at->fence = c->fence;
	at->seen = c->seen;
}

void client_add_user(client *c, const char *name)
{
	Ormd__V1__At at;
	Ormd__V1__Column names = ORMD__V1__COLUMN__INIT;
	Ormd__V1__Batch batch = ORMD__V1__BATCH__INIT;
	Ormd__V1__Objects objects = ORMD__V1__OBJECTS__INIT;
	Ormd__V1__Adds adds = ORMD__V1__ADDS__INIT;
	Ormd__V1__Draft draft = ORMD__V1__DRAFT__INIT;
	Ormd__V1__PublishRequest request = ORMD__V1__PUBLISH_REQUEST__INIT;
	Ormd__V1__Column *columns[] = {&names};
	Ormd__V1__Adds *all[] = {&adds};

	names.has_column = true;
	names.column = 1;
	names.has_text = true;
	names.text = (ProtobufCBinaryData){strlen(name) + 1, (uint8_t *)(uintptr_t)name};
	batch.has_model = batch.has_rows = true;
	batch.rows = 1;
	batch.columns = columns;
	batch.n_columns = 1;
	objects.values = &batch;
	objects.has_first_handle = true;
	objects.first_handle = (uint64_t)c->participant << 40 | 1;
	adds.objects = &objects;
	draft.adds = all;
	draft.n_adds = 1;
	client_at(c, &at);
	request.at = &at;
	request.draft = &draft;

	const Ormd__V1__PublishReply *reply = client_call(c, &ormd__v1__session__descriptor, "Publish", &request.base);

	if (reply->sync)
		c->seen = reply->sync->rev;
}
