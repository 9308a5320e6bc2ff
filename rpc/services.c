/* SPDX-License-Identifier: MIT */
/* What every server offers: health (is it serving?) and reflection (what does it offer?). */
#include <string.h>

#include "proto/rpc.pb-c.h"
#include "rpc/server_internal.h"

static bool check_inline(rpc_call *call, const ProtobufCMessage *request, void *context);
static void check(rpc_call *call, const ProtobufCMessage *request, void *context);
static void list_services(rpc_call *call, const ProtobufCMessage *request, void *context);
static bool describe(const rpc_service_entry *entry, orm_arena *arena, Ormd__Rpc__V1__ServiceInfo **info);

static const rpc_method health_methods[] = {
	{.name = "Check", .handle = check, .try_inline = check_inline, .unordered = true},
};

static const rpc_method reflection_methods[] = {
	{.name = "ListServices", .handle = list_services, .unordered = true},
};

void rpc_services_add(rpc_server *server)
{
	rpc_server_add_service(server, &ormd__rpc__v1__health__descriptor, health_methods, 1, server);
	server->services->methods[0].always = true;
	rpc_server_add_service(server, &ormd__rpc__v1__reflection__descriptor, reflection_methods, 1, server);
	server->services->methods[0].always = true;
}

static bool check_inline(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	check(call, request, context);
	return true;
}

static void check(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	const rpc_server *server = context;
	const Ormd__Rpc__V1__HealthCheckRequest *asked = (const Ormd__Rpc__V1__HealthCheckRequest *)request;
	Ormd__Rpc__V1__HealthCheckResponse response = ORMD__RPC__V1__HEALTH_CHECK_RESPONSE__INIT;
	Ormd__Rpc__V1__HealthCheckResponse__ServingStatus serving =
		ORMD__RPC__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	if (atomic_load(&server->draining))
		serving = ORMD__RPC__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	if (asked->service && *asked->service) {
		const rpc_service_entry *entry = server->services;
		while (entry && strcmp(entry->descriptor->name, asked->service) != 0)
			entry = entry->next;
		if (!entry)
			serving = ORMD__RPC__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
	}
	response.has_status = true;
	response.status = serving;
	rpc_call_reply(call, &response.base);
}

static void list_services(rpc_call *call, const ProtobufCMessage *request, void *context)
{
	const rpc_server *server = context;
	orm_arena *arena = rpc_call_arena(call);
	Ormd__Rpc__V1__ListServicesResponse response = ORMD__RPC__V1__LIST_SERVICES_RESPONSE__INIT;
	size_t n = 0;
	(void)request;
	for (const rpc_service_entry *entry = server->services; entry; entry = entry->next)
		n++;
	response.services = orm_arena_calloc(arena, n, sizeof *response.services);
	for (const rpc_service_entry *entry = server->services; entry && response.services; entry = entry->next) {
		if (!describe(entry, arena, &response.services[n - ++response.n_services])) {
			response.services = NULL;
			break;
		}
	}
	if (response.services)
		rpc_call_reply(call, &response.base);
	else
		rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

static bool describe(const rpc_service_entry *entry, orm_arena *arena, Ormd__Rpc__V1__ServiceInfo **out)
{
	const ProtobufCServiceDescriptor *service = entry->descriptor;
	Ormd__Rpc__V1__ServiceInfo *info = orm_arena_alloc(arena, sizeof *info);
	Ormd__Rpc__V1__MethodInfo **methods = orm_arena_calloc(arena, service->n_methods, sizeof *methods);
	if (!info || !methods)
		return false;
	ormd__rpc__v1__service_info__init(info);
	info->name = (char *)service->name; /* packed, never written to */
	info->methods = methods;
	info->n_methods = service->n_methods;
	for (unsigned i = 0; i < service->n_methods; i++) {
		Ormd__Rpc__V1__MethodInfo *method = orm_arena_alloc(arena, sizeof *method);
		if (!method)
			return false;
		ormd__rpc__v1__method_info__init(method);
		method->name = (char *)service->methods[i].name;
		method->input = (char *)service->methods[i].input->name;
		method->output = (char *)service->methods[i].output->name;
		method->has_server_streaming = true;
		for (size_t k = 0; k < entry->n_methods; k++) {
			if (strcmp(entry->methods[k].method->name, method->name) == 0)
				method->server_streaming = entry->methods[k].method->streaming;
		}
		methods[i] = method;
	}
	*out = info;
	return true;
}
