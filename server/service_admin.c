/* SPDX-License-Identifier: MIT */
/*
 * Service Admin: looking in, for ormctl and for monitoring. Changes nothing.
 *
 * What only a session's running task may touch is read by a small task in each session's queue; the last one to run
 * answers the call.
 */
#include "server/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/codec.h"
#include "server/host.h"
#include "server/liveness.h"
#include "server/presence.h"

#define DEFAULT_PENDING 1000
#define MOST_PENDING    10000

/* protobuf-c's structs have members that are not const, although packing only reads them. */
static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void fail_out_of_memory(rpc_call *call)
{
	orm_error error;

	orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
	ormd_fail_call(call, &error, NULL);
}

/* ---- Status -------------------------------------------------------------------------------------------------- */

static size_t count_sessions(ormd_daemon *daemon)
{
	pthread_mutex_lock(&daemon->lock);

	const size_t n = daemon->hosts_by_id.len;

	pthread_mutex_unlock(&daemon->lock);
	return n;
}

static void status(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon *daemon = context;
	const size_t n_addresses = rpc_server_n_addresses(daemon->rpc);
	char **addresses = orm_arena_calloc(rpc_call_arena(call), n_addresses, sizeof *addresses);
	Ormd__V1__StatusReply reply = ORMD__V1__STATUS_REPLY__INIT;
	rpc_server_stats calls;
	ormd_database_stats units;

	(void)message;
	if (!addresses) {
		fail_out_of_memory(call);
		return;
	}
	for (size_t i = 0; i < n_addresses; i++)
		addresses[i] = unconst(rpc_server_address(daemon->rpc, i));
	rpc_server_stats_get(daemon->rpc, &calls);
	ormd_database_stats_get(daemon->database, &units);
	reply.version = unconst(ORMD_VERSION);
	reply.database = daemon->shown_url;
	reply.dialect = unconst(ormd_database_dialect(daemon->database)->name);
	reply.has_uptime_ms = true;
	reply.uptime_ms = (uint64_t)((orm_clock_us() - daemon->started_us) / 1000);
	reply.has_pid = true;
	reply.pid = getpid();
	reply.addresses = addresses;
	reply.n_addresses = n_addresses;
	reply.has_connections = true;
	reply.connections = (uint32_t)calls.connections;
	reply.has_sessions = true;
	reply.sessions = (uint32_t)count_sessions(daemon);
	reply.has_participants = true;
	reply.participants = ormd_liveness_n_participants(daemon->liveness);
	reply.has_calls = true;
	reply.calls = calls.calls;
	reply.has_failed = true;
	reply.failed = calls.failed;
	reply.has_commits = true;
	reply.commits = units.commits;
	reply.has_groups = true;
	reply.groups = units.groups;
	reply.has_bytes_in = true;
	reply.bytes_in = calls.bytes_in;
	reply.has_bytes_out = true;
	reply.bytes_out = calls.bytes_out;
	reply.has_draining = true;
	reply.draining = atomic_load(&daemon->draining);
	rpc_call_reply(call, &reply.base);
}

/* ---- Sessions ------------------------------------------------------------------------------------------------ */

typedef struct survey survey;

/* One session's part of the answer. */
typedef struct survey_part {
	ormd_task task;
	survey *survey;
	Ormd__V1__SessionInfo *info; /* NULL: it ended before its turn came, or no memory */
} survey_part;

/* In the call's arena, and gone with it: whoever takes n_left to 0 answers, and nobody touches it afterwards. */
struct survey {
	rpc_call *call;
	pthread_mutex_t
		lock; /* guards the call's arena, in which several sessions' tasks write at a time, and `failed` */
	bool failed;  /* out of memory */
	atomic_size_t n_left; /* parts, and one for the call that submits them */
	survey_part *parts;
	size_t n_parts;
};

static Ormd__V1__ParticipantInfo *describe_member(const ormd_host *host, const ormd_member *member, int64_t now_us,
						  orm_arena *arena)
{
	Ormd__V1__ParticipantInfo *info = orm_arena_alloc(arena, sizeof *info);
	const char *name = orm_arena_strdup(arena, member->name);

	if (!info || !name)
		return NULL;
	*info = (Ormd__V1__ParticipantInfo)ORMD__V1__PARTICIPANT_INFO__INIT;
	info->has_number = true;
	info->number = member->number;
	info->name = unconst(name);
	info->has_pid = member->pid >= 0;
	info->pid = member->pid;
	info->has_seen = true;
	info->seen = member->seen;
	info->has_idle_ms = true;
	info->idle_ms = now_us > member->last_heard_us ? (uint64_t)((now_us - member->last_heard_us) / 1000) : 0;
	info->has_connected = true;
	info->connected = ormd_liveness_is_connected(host->daemon->liveness, member->client_id);
	return info;
}

static bool describe_members(const ormd_host *host, int64_t now_us, orm_arena *arena, Ormd__V1__SessionInfo *info)
{
	size_t n = 0;

	for (const ormd_member *member = host->members; member; member = member->next)
		n++;
	info->participants = orm_arena_calloc(arena, n, sizeof *info->participants);
	if (!info->participants)
		return false;
	/* The list has the newest first; people want the oldest. */
	info->n_participants = n;
	for (const ormd_member *member = host->members; member; member = member->next) {
		info->participants[--n] = describe_member(host, member, now_us, arena);
		if (!info->participants[n])
			return false;
	}
	return true;
}

static Ormd__V1__SessionInfo *describe_host(const ormd_host *host, orm_arena *arena)
{
	Ormd__V1__SessionInfo *info = orm_arena_alloc(arena, sizeof *info);
	const char *name = orm_arena_strdup(arena, host->name);
	const int64_t now_us = orm_clock_us();
	ormd_session_info session;

	if (!info || (host->name && !name))
		return NULL;
	*info = (Ormd__V1__SessionInfo)ORMD__V1__SESSION_INFO__INIT;
	ormd_session_info_get(host->session, &session);
	info->has_id = true;
	info->id = host->id;
	info->name = unconst(name);
	info->has_rev = true;
	info->rev = session.revision;
	info->has_age_ms = true;
	info->age_ms = (uint64_t)((now_us - host->opened_us) / 1000);
	info->has_objects = true;
	info->objects = session.n_objects;
	info->has_pending_new = true;
	info->pending_new = session.n_new;
	info->has_pending_changed = true;
	info->pending_changed = session.n_changed;
	info->has_pending_deleted = true;
	info->pending_deleted = session.n_deleted;
	info->has_memory = true;
	info->memory = session.memory;
	info->has_on_death = true;
	info->on_death = (Ormd__V1__OnDeath)session.on_death;
	info->has_transaction_ms = session.in_transaction;
	info->transaction_ms = (uint64_t)(session.in_transaction_us / 1000);
	return describe_members(host, now_us, arena, info) ? info : NULL;
}

static int by_id(const void *a, const void *b)
{
	const uint64_t left = (*(Ormd__V1__SessionInfo *const *)a)->id;
	const uint64_t right = (*(Ormd__V1__SessionInfo *const *)b)->id;

	return (left > right) - (left < right);
}

static void answer_survey(survey *s)
{
	Ormd__V1__SessionsReply reply = ORMD__V1__SESSIONS_REPLY__INIT;
	rpc_call *call = s->call;

	pthread_mutex_destroy(&s->lock);
	reply.sessions = orm_arena_calloc(rpc_call_arena(call), s->n_parts, sizeof *reply.sessions);
	if (s->failed || !reply.sessions) {
		fail_out_of_memory(call);
		return;
	}
	for (size_t i = 0; i < s->n_parts; i++)
		if (s->parts[i].info)
			reply.sessions[reply.n_sessions++] = s->parts[i].info;
	qsort(reply.sessions, reply.n_sessions, sizeof *reply.sessions, by_id);
	rpc_call_reply(call, &reply.base);
}

static void finish_part(survey *s)
{
	if (atomic_fetch_sub(&s->n_left, 1) == 1)
		answer_survey(s);
}

static ormd_turn run_part(ormd_host *host, ormd_task *task)
{
	survey_part *part = (survey_part *)task;
	survey *s = part->survey;

	if (!host->ended) {
		pthread_mutex_lock(&s->lock);
		part->info = describe_host(host, rpc_call_arena(s->call));
		s->failed = s->failed || !part->info;
		pthread_mutex_unlock(&s->lock);
	}
	finish_part(s);
	return ORMD_TURN_OVER;
}

static void sessions(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon *daemon = context;
	orm_arena *arena = rpc_call_arena(call);
	size_t n = 0;
	ormd_host **hosts = ormd_hosts_list(daemon, &n);
	survey *s = orm_arena_alloc(arena, sizeof *s);
	survey_part *parts = orm_arena_calloc(arena, n, sizeof *parts);

	(void)message;
	if (!hosts || !s || !parts) {
		for (size_t i = 0; i < n; i++)
			ormd_host_unref(hosts[i]);
		free(hosts);
		fail_out_of_memory(call);
		return;
	}
	*s = (survey){.call = call, .parts = parts, .n_parts = n};
	pthread_mutex_init(&s->lock, NULL);
	atomic_init(&s->n_left, n + 1);
	for (size_t i = 0; i < n; i++) {
		parts[i] = (survey_part){.task.run = run_part, .survey = s};
		ormd_host_submit(hosts[i], &parts[i].task); /* with the list's reference */
	}
	free(hosts);
	finish_part(s);
}

/* ---- Pending ------------------------------------------------------------------------------------------------- */

typedef struct listing {
	ormd_task task;
	rpc_call *call;
	size_t limit;
} listing;

static bool describe_change(const ormd_pending_object *object, orm_arena *arena, Ormd__V1__PendingObject *info)
{
	Ormd__V1__PendingField *fields = orm_arena_calloc(arena, object->n_fields, sizeof *fields);

	info->fields = orm_arena_calloc(arena, object->n_fields, sizeof *info->fields);
	if (!fields || !info->fields)
		return false;
	info->model = unconst(object->model);
	info->key = unconst(object->key);
	info->has_handle = true;
	info->handle = object->handle;
	info->change = unconst(object->change);
	info->author = unconst(object->author);
	info->n_fields = object->n_fields;
	for (size_t i = 0; i < object->n_fields; i++) {
		const ormd_pending_field *field = &object->fields[i];

		fields[i] = (Ormd__V1__PendingField)ORMD__V1__PENDING_FIELD__INIT;
		fields[i].column = unconst(field->column);
		fields[i].before = unconst(field->before);
		fields[i].after = unconst(field->after);
		fields[i].author = unconst(field->author);
		fields[i].has_rev = true;
		fields[i].rev = field->revision;
		info->fields[i] = &fields[i];
	}
	return true;
}

static bool describe_changes(const ormd_pending_object *objects, size_t n, orm_arena *arena,
			     Ormd__V1__PendingReply *reply)
{
	Ormd__V1__PendingObject *infos = orm_arena_calloc(arena, n, sizeof *infos);

	reply->objects = orm_arena_calloc(arena, n, sizeof *reply->objects);
	if (!infos || !reply->objects)
		return false;
	for (size_t i = 0; i < n; i++) {
		infos[i] = (Ormd__V1__PendingObject)ORMD__V1__PENDING_OBJECT__INIT;
		if (!describe_change(&objects[i], arena, &infos[i]))
			return false;
		reply->objects[i] = &infos[i];
	}
	reply->n_objects = n;
	return true;
}

static ormd_turn run_listing(ormd_host *host, ormd_task *task)
{
	const listing *l = (const listing *)task;
	rpc_call *call = l->call;
	orm_arena *arena = rpc_call_arena(call);
	Ormd__V1__PendingReply reply = ORMD__V1__PENDING_REPLY__INIT;
	const ormd_pending_object *objects = NULL;
	size_t n = 0;
	bool truncated = false;
	orm_error error = {0};

	if (ormd_session_pending(host->session, l->limit, arena, &objects, &n, &truncated, &error) != ORM_OK) {
		ormd_fail_call(call, &error, NULL);
	} else if (!describe_changes(objects, n, arena, &reply)) {
		fail_out_of_memory(call);
	} else {
		reply.has_truncated = true;
		reply.truncated = truncated;
		rpc_call_reply(call, &reply.base);
	}
	return ORMD_TURN_OVER;
}

static void pending(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	const Ormd__V1__PendingRequest *request = (const Ormd__V1__PendingRequest *)message;
	ormd_host *host = request->name ? ormd_host_find_named(context, request->name)
					: ormd_host_find(context, request->session);
	listing *l = orm_arena_alloc(rpc_call_arena(call), sizeof *l);
	orm_error error = {0};

	if (!host) {
		if (request->name)
			orm_fail(&error, ORM_ENOTFOUND, "there is no shared session named '%.200s'", request->name);
		else
			orm_fail(&error, ORM_ENOTFOUND, "there is no session %016llx",
				 (unsigned long long)request->session);
		ormd_fail_call(call, &error, NULL);
		return;
	}
	if (!l) {
		ormd_host_unref(host);
		fail_out_of_memory(call);
		return;
	}
	*l = (listing){
		.task.run = run_listing, .call = call, .limit = request->limit ? request->limit : DEFAULT_PENDING};
	if (l->limit > MOST_PENDING)
		l->limit = MOST_PENDING;
	ormd_host_submit(host, &l->task);
}

/* ---- Models -------------------------------------------------------------------------------------------------- */

/* All registries, which live as long as the daemon; in `arena`, NULL when out of memory. */
static const orm_registry **list_registries(ormd_daemon *daemon, orm_arena *arena, size_t *n)
{
	size_t cursor = 0;
	size_t len = 0;
	orm_registry *registry;

	pthread_mutex_lock(&daemon->lock);

	const orm_registry **registries = orm_arena_calloc(arena, daemon->registries.len, sizeof *registries);

	while (registries && (registry = orm_map_next(&daemon->registries, &cursor)))
		registries[len++] = registry;
	pthread_mutex_unlock(&daemon->lock);
	*n = len;
	return registries;
}

/* Programs that share a database declare mostly the same models: each is told once. */
static bool is_listed(const orm_mapper *const *mappers, size_t n, const orm_mapper *mapper)
{
	for (size_t i = 0; i < n; i++)
		if (mappers[i]->hash == mapper->hash && strcmp(mappers[i]->name, mapper->name) == 0)
			return true;
	return false;
}

static int by_name(const void *a, const void *b)
{
	const orm_mapper *left = *(const orm_mapper *const *)a;
	const orm_mapper *right = *(const orm_mapper *const *)b;
	const int order = strcmp(left->name, right->name);

	return order ? order : (left->hash > right->hash) - (left->hash < right->hash);
}

static void models(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	orm_arena *arena = rpc_call_arena(call);
	Ormd__V1__ModelsReply reply = ORMD__V1__MODELS_REPLY__INIT;
	size_t n_registries = 0;
	size_t n_all = 0;
	size_t n = 0;
	const orm_registry **registries = list_registries(context, arena, &n_registries);

	(void)message;
	for (size_t i = 0; i < n_registries; i++)
		n_all += registries[i]->n_mappers;

	const orm_mapper **mappers = orm_arena_calloc(arena, n_all, sizeof *mappers);

	reply.models = orm_arena_calloc(arena, n_all, sizeof *reply.models);
	if (!registries || !mappers || !reply.models) {
		fail_out_of_memory(call);
		return;
	}
	for (size_t i = 0; i < n_registries; i++)
		for (size_t k = 0; k < registries[i]->n_mappers; k++)
			if (!is_listed(mappers, n, &registries[i]->mappers[k]))
				mappers[n++] = &registries[i]->mappers[k];
	qsort(mappers, n, sizeof *mappers, by_name);
	for (size_t i = 0; i < n; i++) {
		reply.models[i] = ormd_encode_model(mappers[i], arena);
		if (!reply.models[i]) {
			fail_out_of_memory(call);
			return;
		}
	}
	reply.n_models = n;
	rpc_call_reply(call, &reply.base);
}

/* ---- Servers, Where ------------------------------------------------------------------------------------------ */

static int64_t deadline_of(const ormd_daemon *daemon, const rpc_call *call)
{
	const int64_t own_us = orm_deadline_in_ms(daemon->config->wait_ms);
	const int64_t asked_us = rpc_call_deadline(call);

	return asked_us && asked_us < own_us ? asked_us : own_us;
}

static Ormd__V1__ServerInfo *describe_server(const ormd_directory_server *server, orm_arena *arena)
{
	Ormd__V1__ServerInfo *info = orm_arena_alloc(arena, sizeof *info);

	if (!info)
		return NULL;
	*info = (Ormd__V1__ServerInfo)ORMD__V1__SERVER_INFO__INIT;
	info->has_id = true;
	info->id = server->id;
	info->address = unconst(server->address);
	info->host = unconst(server->host);
	info->has_age_ms = true;
	info->age_ms = (uint64_t)(server->age_ms > 0 ? server->age_ms : 0);
	info->has_seen_ms = true;
	info->seen_ms = (uint64_t)server->seen_ms;
	info->has_sessions = true;
	info->sessions = (uint64_t)server->n_sessions;
	info->has_dead = info->dead = server->is_dead;
	info->has_asked = info->asked = server->is_own;
	return info;
}

static void servers(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon *daemon = context;
	ormd_directory *directory = ormd_presence_directory(daemon->presence);
	orm_arena *arena = rpc_call_arena(call);
	Ormd__V1__ServersReply reply = ORMD__V1__SERVERS_REPLY__INIT;
	ormd_directory_server *list = NULL;
	size_t n = 0;
	orm_error error;

	(void)message;
	if (directory && ormd_directory_list(directory, deadline_of(daemon, call), arena, &list, &n, &error) != ORM_OK) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	reply.servers = orm_arena_calloc(arena, n + 1, sizeof *reply.servers);
	for (size_t i = 0; reply.servers && i < n; i++) {
		reply.servers[i] = describe_server(&list[i], arena);
		if (!reply.servers[i])
			reply.servers = NULL;
	}
	if (!reply.servers) {
		fail_out_of_memory(call);
		return;
	}
	reply.n_servers = n;
	rpc_call_reply(call, &reply.base);
}

static void where(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon *daemon = context;
	const char *name = ((const Ormd__V1__WhereRequest *)message)->name;
	ormd_directory *directory = ormd_presence_directory(daemon->presence);
	ormd_host *host = name ? ormd_host_find_named(daemon, name) : NULL;
	Ormd__V1__WhereReply reply = ORMD__V1__WHERE_REPLY__INIT;
	ormd_directory_owner owner = {0};
	orm_error error = {0};

	if (!name || !*name) {
		orm_fail(&error, ORM_EINVAL, "which session? Give its name");
	} else if (directory) {
		ormd_directory_find(directory, name, deadline_of(daemon, call), &owner, &error);
	} else if (host) {
		owner.is_own = true;
		snprintf(owner.address, sizeof owner.address, "%s", rpc_server_address(daemon->rpc, 0));
		gethostname(owner.host, sizeof owner.host - 1);
	}
	ormd_host_unref(host);
	if (!error.code && !owner.address[0])
		orm_fail(&error, ORM_ENOTFOUND, "there is no session named '%s'", name);
	if (error.code) {
		ormd_fail_call(call, &error, NULL);
		return;
	}
	reply.address = owner.address;
	reply.host = owner.host;
	reply.has_asked = reply.asked = owner.is_own;
	rpc_call_reply(call, &reply.base);
}

/* ---- the service --------------------------------------------------------------------------------------------- */

/* Not in a lane's order: whoever looks in must not wait for what hangs. */
static const rpc_method methods[] = {
	{.name = "Status", .handle = status, .unordered = true},
	{.name = "Sessions", .handle = sessions, .unordered = true},
	{.name = "Pending", .handle = pending, .unordered = true},
	{.name = "Models", .handle = models, .unordered = true},
	{.name = "Servers", .handle = servers, .unordered = true},
	{.name = "Where", .handle = where, .unordered = true},
};

void ormd_service_admin_add(ormd_daemon *daemon)
{
	rpc_server_add_service(daemon->rpc, &ormd__v1__admin__descriptor, methods, sizeof methods / sizeof *methods,
			       daemon);
}
