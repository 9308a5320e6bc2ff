/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/clock.h"
#include "proto/ormd.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "server/ormctl.h"
#include "server/schema_text.h"

/* An answer on one line, `name` first. */
static void show_line(const char *name, const char *value)
{
	printf("%-14s%s\n", name, value);
}

static void show_number(const char *name, uint64_t number)
{
	printf("%-14s%" PRIu64 "\n", name, number);
}

static const char *session_name(const Ormd__V1__SessionInfo *session)
{
	return session->name ? session->name : "(private)";
}

/* ---- status ---------------------------------------------------------------------------------------------------- */

static void show_status(ormctl *ctl, const Ormd__V1__StatusReply *reply)
{
	char text[ORMCTL_TEXT_SIZE];

	printf("%-14s%s%s\n", "server", ormctl_clean(reply->version, &ctl->arena), reply->draining ? ", ending" : "");
	printf("%-14s%" PRId64 "\n", "process", reply->pid);
	show_line("database", ormctl_clean(reply->database, &ctl->arena));
	show_line("dialect", ormctl_clean(reply->dialect, &ctl->arena));
	for (size_t i = 0; i < reply->n_addresses; i++)
		show_line(i == 0 ? "address" : "", ormctl_clean(reply->addresses[i], &ctl->arena));
	show_line("up", ormctl_duration(reply->uptime_ms, text));
	show_number("connections", reply->connections);
	show_number("sessions", reply->sessions);
	show_number("participants", reply->participants);
	printf("%-14s%" PRIu64 ", %" PRIu64 " failed\n", "calls", reply->calls, reply->failed);
	printf("%-14s%" PRIu64 " in %" PRIu64 " transactions\n", "commits", reply->commits, reply->groups);
	show_line("received", ormctl_size(reply->bytes_in, text));
	show_line("sent", ormctl_size(reply->bytes_out, text));
}

static int run_status(ormctl *ctl)
{
	const Ormd__V1__StatusRequest request = ORMD__V1__STATUS_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	const int code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Status", &request.base, &reply, NULL);

	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(reply);
	show_status(ctl, (const Ormd__V1__StatusReply *)reply);
	return ORMCTL_OK;
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

static int ask_sessions(ormctl *ctl, const Ormd__V1__SessionsReply **reply)
{
	const Ormd__V1__SessionsRequest request = ORMD__V1__SESSIONS_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	const int code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Sessions", &request.base, &message, NULL);

	*reply = (const Ormd__V1__SessionsReply *)message;
	return code;
}

static int show_sessions(const Ormd__V1__SessionsReply *reply)
{
	static const char *const headings[] = {"ID",       ">AGE",     ">PARTICIPANTS", ">REV",     ">OBJECTS", ">NEW",
					       ">CHANGED", ">DELETED", ">MEMORY",       ">TRANSACTION", "ON DEATH", "NAME"};
	ormctl_table table;
	int code;

	ormctl_table_init(&table, headings, sizeof headings / sizeof *headings);
	for (size_t i = 0; i < reply->n_sessions; i++) {
		const Ormd__V1__SessionInfo *session = reply->sessions[i];
		char text[ORMCTL_TEXT_SIZE];

		ormctl_table_add(&table, "%016" PRIx64, session->id);
		ormctl_table_add(&table, "%s", ormctl_duration(session->age_ms, text));
		ormctl_table_add(&table, "%zu", session->n_participants);
		ormctl_table_add(&table, "%" PRIu64, session->rev);
		ormctl_table_add(&table, "%" PRIu64, session->objects);
		ormctl_table_add(&table, "%" PRIu64, session->pending_new);
		ormctl_table_add(&table, "%" PRIu64, session->pending_changed);
		ormctl_table_add(&table, "%" PRIu64, session->pending_deleted);
		ormctl_table_add(&table, "%s", ormctl_size(session->memory, text));
		ormctl_table_add(&table, "%s",
				 session->has_transaction_ms ? ormctl_duration(session->transaction_ms, text) : "-");
		ormctl_table_add(&table, "%s",
				 session->on_death == ORMD__V1__ON_DEATH__ON_DEATH_KEEP ? "keep" : "roll back");
		ormctl_table_add(&table, "%s", session_name(session));
	}
	code = ormctl_table_print(&table);
	ormctl_table_fini(&table);
	return code;
}

static int run_sessions(ormctl *ctl)
{
	const Ormd__V1__SessionsReply *reply = NULL;
	const int code = ask_sessions(ctl, &reply);

	if (code != ORMCTL_OK)
		return code;
	return ctl->json ? ormctl_print_json(&reply->base) : show_sessions(reply);
}

/* ---- participants ---------------------------------------------------------------------------------------------- */

/* An id as `sessions` shows it: 16 hexadecimal digits. */
static bool parse_id(const char *text, uint64_t *id)
{
	char *end;

	if (strlen(text) != 16 || strspn(text, "0123456789abcdefABCDEF") != 16)
		return false;
	*id = strtoull(text, &end, 16);
	return true;
}

static int no_such_session(const ormctl *ctl)
{
	return ormctl_fail(EX_NOINPUT, "there is no session '%s': `ormctl sessions' lists ids and names",
			   ctl->argument);
}

/* Names go before ids: a name is what somebody chose. */
static const Ormd__V1__SessionInfo *find_session(const Ormd__V1__SessionsReply *reply, const char *text)
{
	uint64_t id = 0;
	const bool is_id = parse_id(text, &id);

	for (size_t i = 0; i < reply->n_sessions; i++)
		if (reply->sessions[i]->name && strcmp(reply->sessions[i]->name, text) == 0)
			return reply->sessions[i];
	for (size_t i = 0; is_id && i < reply->n_sessions; i++)
		if (reply->sessions[i]->id == id)
			return reply->sessions[i];
	return NULL;
}

static int show_participants(const Ormd__V1__SessionInfo *session)
{
	static const char *const headings[] = {">NUMBER", ">PROCESS", ">SEEN", ">BEHIND", ">IDLE", "CONNECTED", "NAME"};
	ormctl_table table;
	int code;

	ormctl_table_init(&table, headings, sizeof headings / sizeof *headings);
	for (size_t i = 0; i < session->n_participants; i++) {
		const Ormd__V1__ParticipantInfo *participant = session->participants[i];
		char text[ORMCTL_TEXT_SIZE];

		ormctl_table_add(&table, "%" PRIu32, participant->number);
		if (participant->has_pid)
			ormctl_table_add(&table, "%" PRId64, participant->pid);
		else
			ormctl_table_add(&table, "-");
		ormctl_table_add(&table, "%" PRIu64, participant->seen);
		ormctl_table_add(&table, "%" PRIu64,
				 session->rev > participant->seen ? session->rev - participant->seen : 0);
		ormctl_table_add(&table, "%s", ormctl_duration(participant->idle_ms, text));
		ormctl_table_add(&table, "%s", participant->connected ? "yes" : "no");
		ormctl_table_add(&table, "%s", participant->name ? participant->name : "");
	}
	code = ormctl_table_print(&table);
	ormctl_table_fini(&table);
	return code;
}

static int run_participants(ormctl *ctl)
{
	const Ormd__V1__SessionsReply *reply = NULL;
	const int code = ask_sessions(ctl, &reply);

	if (code != ORMCTL_OK)
		return code;

	const Ormd__V1__SessionInfo *session = find_session(reply, ctl->argument);

	if (!session)
		return no_such_session(ctl);
	return ctl->json ? ormctl_print_json(&session->base) : show_participants(session);
}

/* ---- pending --------------------------------------------------------------------------------------------------- */

static void show_pending_field(ormctl *ctl, const char *change, const Ormd__V1__PendingField *field)
{
	const char *column = ormctl_clean(field->column, &ctl->arena);
	const char *before = field->before ? ormctl_clean(field->before, &ctl->arena) : "NULL";
	const char *after = field->after ? ormctl_clean(field->after, &ctl->arena) : "NULL";

	if (strcmp(change, "new") == 0)
		printf("    %s = %s", column, after);
	else if (strcmp(change, "deleted") == 0)
		printf("    %s was %s", column, before);
	else
		printf("    %s: %s -> %s", column, before, after);
	if (field->author && *field->author)
		printf("    (%s, revision %" PRIu64 ")", ormctl_clean(field->author, &ctl->arena), field->rev);
	putchar('\n');
}

static void show_pending(ormctl *ctl, const Ormd__V1__PendingReply *reply)
{
	if (reply->n_objects == 0)
		puts("nothing is pending");
	for (size_t i = 0; i < reply->n_objects; i++) {
		const Ormd__V1__PendingObject *object = reply->objects[i];
		const char *change = ormctl_clean(object->change, &ctl->arena);

		printf("%-8s %s %s", change, ormctl_clean(object->model, &ctl->arena),
		       ormctl_clean(object->key, &ctl->arena));
		if (object->author && *object->author)
			printf("  by %s", ormctl_clean(object->author, &ctl->arena));
		putchar('\n');
		for (size_t k = 0; k < object->n_fields; k++)
			show_pending_field(ctl, change, object->fields[k]);
	}
	if (reply->truncated)
		printf("... and more: these are the first %zu (--limit)\n", reply->n_objects);
}

static int run_pending(ormctl *ctl)
{
	Ormd__V1__PendingRequest request = ORMD__V1__PENDING_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	bool absent = false;
	uint64_t id = 0;
	int code;

	request.name = (char *)(uintptr_t)ctl->argument;
	request.has_limit = ctl->limit > 0;
	request.limit = (uint32_t)ctl->limit;
	code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Pending", &request.base, &reply, &absent);
	if (absent && parse_id(ctl->argument, &id)) {
		request.name = NULL;
		request.has_session = true;
		request.session = id;
		absent = false;
		code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Pending", &request.base, &reply, &absent);
	}
	if (absent)
		return no_such_session(ctl);
	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(reply);
	show_pending(ctl, (const Ormd__V1__PendingReply *)reply);
	return ORMCTL_OK;
}

/* ---- schema ---------------------------------------------------------------------------------------------------- */

static int run_schema(ormctl *ctl)
{
	const Ormd__V1__ModelsRequest request = ORMD__V1__MODELS_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	schema_format format = SCHEMA_TEXT;
	orm_buffer out;
	int code;

	if (ctl->format && !schema_format_parse(ctl->format, &format))
		return ormctl_fail(EX_USAGE, "--format: '%s' is not text, dot or mermaid", ctl->format);
	code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Models", &request.base, &reply, NULL);
	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(reply);

	const Ormd__V1__ModelsReply *models = (const Ormd__V1__ModelsReply *)reply;

	orm_buffer_init(&out);
	schema_text_print(models->models, models->n_models, format, &out);
	if (out.failed)
		code = ormctl_fail(EX_OSERR, "out of memory");
	else if (out.size && fwrite(out.data, 1, out.size, stdout) != out.size)
		code = ormctl_fail(EX_IOERR, "cannot write the output");
	orm_buffer_fini(&out);
	if (code == ORMCTL_OK && models->n_models == 0 && format == SCHEMA_TEXT)
		puts("no program has declared models to this server yet");
	return code;
}

/* ---- servers, where -------------------------------------------------------------------------------------------- */

static int show_servers(const Ormd__V1__ServersReply *reply)
{
	static const char *const headings[] = {"ADDRESS", "HOST", ">UP", ">SEEN", ">SESSIONS", "STATE"};
	ormctl_table table;
	int code;

	ormctl_table_init(&table, headings, sizeof headings / sizeof *headings);
	for (size_t i = 0; i < reply->n_servers; i++) {
		const Ormd__V1__ServerInfo *server = reply->servers[i];
		char text[ORMCTL_TEXT_SIZE];

		ormctl_table_add(&table, "%s", server->address ? server->address : "");
		ormctl_table_add(&table, "%s", server->host ? server->host : "");
		ormctl_table_add(&table, "%s", ormctl_duration(server->age_ms, text));
		ormctl_table_add(&table, "%s", ormctl_duration(server->seen_ms, text));
		ormctl_table_add(&table, "%" PRIu64, server->sessions);
		ormctl_table_add(&table, "%s", server->dead ? "dead" : server->asked ? "alive, asked" : "alive");
	}
	code = ormctl_table_print(&table);
	ormctl_table_fini(&table);
	return code;
}

static int run_servers(ormctl *ctl)
{
	const Ormd__V1__ServersRequest request = ORMD__V1__SERVERS_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	const int code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Servers", &request.base, &message, NULL);

	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(message);

	const Ormd__V1__ServersReply *reply = (const Ormd__V1__ServersReply *)message;

	if (reply->n_servers > 0)
		return show_servers(reply);
	puts("this database has one server: the one that was asked");
	return ORMCTL_OK;
}

static int run_where(ormctl *ctl)
{
	Ormd__V1__WhereRequest request = ORMD__V1__WHERE_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	bool absent = false;
	int code;

	request.name = (char *)(uintptr_t)ctl->argument;
	code = ormctl_call(ctl, &ormd__v1__admin__descriptor, "Where", &request.base, &message, &absent);
	if (absent)
		return ormctl_fail(EX_NOINPUT, "no server of this database has a session named '%s'", ctl->argument);
	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(message);

	const Ormd__V1__WhereReply *reply = (const Ormd__V1__WhereReply *)message;

	printf("%s on %s\n", ormctl_clean(reply->address, &ctl->arena), ormctl_clean(reply->host, &ctl->arena));
	return ORMCTL_OK;
}

/* ---- health, ping, services ------------------------------------------------------------------------------------ */

static int ask_health(ormctl *ctl, const char *service, const Ormd__Rpc__V1__HealthCheckResponse **reply)
{
	Ormd__Rpc__V1__HealthCheckRequest request = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	int code;

	request.service = (char *)(uintptr_t)service;
	code = ormctl_call(ctl, &ormd__rpc__v1__health__descriptor, "Check", &request.base, &message, NULL);
	*reply = (const Ormd__Rpc__V1__HealthCheckResponse *)message;
	return code;
}

static int run_health(ormctl *ctl)
{
	const Ormd__Rpc__V1__HealthCheckResponse *reply = NULL;
	int code = ask_health(ctl, ctl->argument, &reply);

	if (code != ORMCTL_OK)
		return code;

	const bool serving = reply->status == ORMD__RPC__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
		&ormd__rpc__v1__health_check_response__serving_status__descriptor, (int)reply->status);

	if (ctl->json)
		code = ormctl_print_json(&reply->base);
	else
		puts(value ? value->name : "UNKNOWN");
	return code == ORMCTL_OK && !serving ? ORMCTL_NO : code;
}

static int run_ping(ormctl *ctl)
{
	const Ormd__Rpc__V1__HealthCheckResponse *reply = NULL;
	const int64_t started_us = orm_clock_us();
	const int code = ask_health(ctl, NULL, &reply);
	const int64_t took_us = orm_clock_us() - started_us;

	if (code != ORMCTL_OK)
		return code;
	if (!ctl->json) {
		printf("%s answers in %.3f ms\n", ctl->found, (double)took_us / 1000);
		return ORMCTL_OK;
	}

	json_t *json = json_pack("{s:s, s:I}", "address", ctl->found, "microseconds", (json_int_t)took_us);

	if (!json)
		return ormctl_fail(EX_OSERR, "out of memory");
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
	return ORMCTL_OK;
}

static int run_services(ormctl *ctl)
{
	const Ormd__Rpc__V1__ListServicesRequest request = ORMD__RPC__V1__LIST_SERVICES_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	const int code =
		ormctl_call(ctl, &ormd__rpc__v1__reflection__descriptor, "ListServices", &request.base, &message, NULL);

	if (code != ORMCTL_OK)
		return code;
	if (ctl->json)
		return ormctl_print_json(message);

	const Ormd__Rpc__V1__ListServicesResponse *reply = (const Ormd__Rpc__V1__ListServicesResponse *)message;

	for (size_t i = 0; i < reply->n_services; i++) {
		const Ormd__Rpc__V1__ServiceInfo *service = reply->services[i];

		printf("%s\n", ormctl_clean(service->name, &ctl->arena));
		for (size_t k = 0; k < service->n_methods; k++)
			printf("  %s (%s) -> %s%s\n", ormctl_clean(service->methods[k]->name, &ctl->arena),
			       ormctl_clean(service->methods[k]->input, &ctl->arena),
			       service->methods[k]->server_streaming ? "stream of " : "",
			       ormctl_clean(service->methods[k]->output, &ctl->arena));
	}
	return ORMCTL_OK;
}

const ormctl_command ormctl_commands[] = {
	{"status", NULL, "The server: database, addresses, uptime, counters", run_status},
	{"sessions", NULL, "The open sessions, and how much is pending", run_sessions},
	{"participants", "SESSION", "The processes in a session", run_participants},
	{"pending", "SESSION", "Its changes that are not committed yet", run_pending},
	{"schema", NULL, "The models that programs have declared", run_schema},
	{"servers", NULL, "All servers of the database", run_servers},
	{"where", "NAME", "Which server has this shared session?", run_where},
	{"health", "[SERVICE]", "Is the server, or one of its services, serving?", run_health},
	{"ping", NULL, "How long does one call take?", run_ping},
	{"services", NULL, "The services and methods that the server offers", run_services},
	{NULL, NULL, NULL, NULL},
};
