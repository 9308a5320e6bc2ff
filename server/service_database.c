/* SPDX-License-Identifier: MIT */
/* Service Database: connecting with models, the schema, and the outcome of commits in doubt. */
#include "server/daemon.h"

#include "base/error.h"
#include "server/codec.h"
#include "server/log.h"

#include <string.h>

static void fail_out_of_memory(rpc_call *call)
{
	orm_error error;
	orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
	ormd_fail_call(call, &error, NULL);
}

static void connect_program(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon                    *daemon = context;
	const Ormd__V1__ConnectRequest *request = (const Ormd__V1__ConnectRequest *)message;
	Ormd__V1__ConnectReply          reply = ORMD__V1__CONNECT_REPLY__INIT;
	orm_error                       error = {0};
	orm_model_spec                 *specs;
	if (ormd_decode_models(request->models, request->n_models, rpc_call_arena(call), &specs, &error) < 0) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	const orm_registry *registry = ormd_daemon_registry(daemon, specs, request->n_models, &error);
	if (!registry) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	ormd_log(LOG_DEBUG, "%s (pid %lld) connected with %zu models", request->program ? request->program : "a program",
	         (long long)rpc_call_peer(call)->pid, request->n_models);
	rpc_limits limits = rpc_limits_default();
	reply.has_registry = true;
	reply.registry = registry->hash;
	reply.server_version = (char *)ORMD_VERSION;
	reply.database = daemon->shown_url;
	reply.dialect = (char *)(uintptr_t)ormd_database_dialect(daemon->database)->name;
	reply.has_max_message = true;
	reply.max_message = daemon->config->max_message ? daemon->config->max_message : limits.max_message;
	rpc_call_reply(call, &reply.base);
}

typedef orm_status schema_change(ormd_database *database, const orm_registry *registry, int64_t deadline_us, uint32_t *n_tables,
                                 orm_error *error);

/* For its turn, which a session's transaction may have. */
static orm_status wait_for_change(ormd_daemon *daemon, schema_change *change, const orm_registry *registry, int64_t deadline_us,
                                  uint32_t *n_tables, orm_error *error)
{
	orm_status status;
	if (rpc_server_begin_wait(daemon->rpc))
		status = change(daemon->database, registry, deadline_us, n_tables, error);
	else
		status = orm_fail(error, ORM_ELIMIT, "too many calls wait for their turn in the database; try again later");
	rpc_server_end_wait(daemon->rpc);
	return status;
}

static void change_schema(rpc_call *call, const ProtobufCMessage *message, ormd_daemon *daemon, schema_change *change)
{
	const Ormd__V1__SchemaRequest *request = (const Ormd__V1__SchemaRequest *)message;
	const orm_registry            *registry = ormd_daemon_find_registry(daemon, request->registry);
	orm_error                      error = {0};
	uint32_t                       n_tables = 0;
	orm_status                     status;
	if (!registry)
		status = orm_fail(&error, ORM_ELOST, "the server has been restarted and does not know these models: connect again");
	else
		status = wait_for_change(daemon, change, registry, rpc_call_deadline(call), &n_tables, &error);
	if (status < 0) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	Ormd__V1__SchemaReply reply = ORMD__V1__SCHEMA_REPLY__INIT;
	reply.has_tables = true;
	reply.tables = n_tables;
	rpc_call_reply(call, &reply.base);
}

static void create_all(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	change_schema(call, message, context, ormd_schema_create_all);
}

static void drop_all(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	change_schema(call, message, context, ormd_schema_drop_all);
}

static void commit_status(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon                         *daemon = context;
	const Ormd__V1__CommitStatusRequest *request = (const Ormd__V1__CommitStatusRequest *)message;
	orm_error                            error = {0};
	ormd_commit_id                       id = {.number = request->commit};
	if (request->client_id.len != sizeof id.client_id || !request->commit) {
		orm_fail(&error, ORM_EINVAL, "a commit is named by a client id of %zu bytes and a number from 1", sizeof id.client_id);
		ormd_fail_call(call, &error, NULL);
		return;
	}
	memcpy(id.client_id, request->client_id.data, sizeof id.client_id);
	ormd_outcome outcome = ORMD_OUTCOME_UNKNOWN;
	const void  *result = NULL;
	size_t       result_size = 0;
	rpc_server_begin_wait(daemon->rpc); /* without a worker left it is tried all the same: it ends by its deadline */
	orm_status status =
		ormd_commit_settle(daemon->database, &id, rpc_call_deadline(call), rpc_call_arena(call), &outcome, &result, &result_size, &error);
	rpc_server_end_wait(daemon->rpc);
	if (status < 0) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	Ormd__V1__CommitStatusReply reply = ORMD__V1__COMMIT_STATUS_REPLY__INIT;
	reply.has_outcome = true;
	reply.outcome = (Ormd__V1__CommitOutcome)outcome;
	if (outcome == ORMD_OUTCOME_COMMITTED && result) {
		rpc_code code = RPC_OK;
		reply.result = (Ormd__V1__CommitResult *)rpc_unpack(&ormd__v1__commit_result__descriptor, result, result_size,
		                                                    rpc_call_arena(call), &code);
		if (!reply.result && code == RPC_RESOURCE_EXHAUSTED) {
			fail_out_of_memory(call);
			return;
		}
	}
	rpc_call_reply(call, &reply.base);
}

void ormd_service_database_add(ormd_daemon *daemon)
{
	static const rpc_method methods[] = {
		{.name = "Connect", .handle = connect_program},
		{.name = "CreateAll", .handle = create_all},
		{.name = "DropAll", .handle = drop_all},
		{.name = "CommitStatus", .handle = commit_status},
	};
	rpc_server_add_service(daemon->rpc, &ormd__v1__database__descriptor, methods, sizeof methods / sizeof methods[0], daemon);
}
