/* SPDX-License-Identifier: MIT */
#include "client/fake_server.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "support/eventually.h"
#include "support/tempdir.h"

#define MAX_OUTCOMES   8
#define MAX_HELD       16
#define MAX_KEY_RANGES 8

typedef struct planned_end {
	bool planned, held, published, plain;
	const char *method; /* NULL: any */
	orm_status status;
	rpc_code code;
	const char *message;
} planned_end;

struct fake_server {
	rpc_server *rpc;
	char address[SUPPORT_PATH_SIZE + 8];
	uint64_t max_message;
	pthread_mutex_t lock; /* guards what follows */
	orm_buffer log;
	orm_buffer handed;
	orm_arena arena;
	Ormd__V1__ConnectRequest *models; /* as the first connection declared them */
	planned_end end;
	rpc_call *held[MAX_HELD];
	size_t n_held;
	uint64_t rev;
	size_t n_rows, per_message;
	Ormd__V1__CommitOutcome outcomes[MAX_OUTCOMES];
	size_t n_outcomes;
};

static void *must(void *memory)
{
	if (!memory)
		support_die("fake_server: out of memory");
	return memory;
}

/* ---- words ---- */

static const char *column_name(const fake_server *server, uint32_t model, uint32_t column)
{
	return server->models->models[model]->columns[column]->name;
}

static void write_value(orm_buffer *out, const Ormd__V1__Value *value)
{
	if (value->has_boolean)
		orm_buffer_puts(out, value->boolean ? "true" : "false");
	else if (value->has_integer)
		orm_buffer_printf(out, "%" PRId64, value->integer);
	else if (value->has_number)
		orm_buffer_printf(out, "%g", value->number);
	else if (value->has_text)
		orm_buffer_printf(out, "'%.*s'", (int)value->text.len, (const char *)value->text.data);
	else if (value->has_blob)
		orm_buffer_printf(out, "x[%zu]", value->blob.len);
	else
		orm_buffer_puts(out, "?");
}

static void write_statement(const fake_server *server, orm_buffer *out, const Ormd__V1__Statement *statement)
{
	static const char *const operators[] = {
		"?", "=", "<>", "<", "<=", ">", ">=", "like", "in", "is null", "not null", "AND", "OR", "NOT"};
	static const char *const kinds[] = {"", "count ", "exists "};
	const uint32_t model = statement->model;

	orm_buffer_printf(out, " %s%s", kinds[statement->kind], server->models->models[model]->name);
	for (size_t i = 0; i < statement->n_where; i++) {
		const Ormd__V1__Term *term = statement->where[i];

		orm_buffer_puts(out, i == 0 ? " where" : ",");
		if (term->has_column)
			orm_buffer_printf(out, " %s", column_name(server, model, term->column));
		orm_buffer_printf(out, " %s", operators[term->op]);
		for (size_t j = 0; j < term->n_values; j++) {
			orm_buffer_putc(out, ' ');
			write_value(out, term->values[j]);
		}
	}
	for (size_t i = 0; i < statement->n_order; i++)
		orm_buffer_printf(out, "%s %s%s", i == 0 ? " order" : ",",
				  column_name(server, model, statement->order[i]->column),
				  statement->order[i]->descending ? " desc" : "");
	if (statement->has_limit)
		orm_buffer_printf(out, " limit %" PRIu64, statement->limit);
	if (statement->has_offset)
		orm_buffer_printf(out, " offset %" PRIu64, statement->offset);
	for (size_t i = 0; i < statement->n_load; i++)
		orm_buffer_printf(out, " with %s",
				  server->models->models[model]->relationships[statement->load[i]]->name);
}

static size_t n_rows_of(const Ormd__V1__Objects *objects)
{
	return objects && objects->values ? objects->values->rows : 0;
}

static void write_draft(orm_buffer *out, const Ormd__V1__Draft *draft)
{
	size_t n_adds = 0;
	size_t n_updates = 0;
	size_t n_deletes = 0;

	for (size_t i = 0; draft && i < draft->n_adds; i++)
		n_adds += n_rows_of(draft->adds[i]->objects);
	for (size_t i = 0; draft && i < draft->n_updates; i++)
		n_updates += n_rows_of(draft->updates[i]->objects);
	for (size_t i = 0; draft && i < draft->n_deletes; i++)
		n_deletes += draft->deletes[i]->n_handles;
	if (n_adds)
		orm_buffer_printf(out, " +%zu", n_adds);
	if (n_updates)
		orm_buffer_printf(out, " ~%zu", n_updates);
	if (n_deletes)
		orm_buffer_printf(out, " -%zu", n_deletes);
}

/* ---- answers ---- */

static const Ormd__V1__Draft *draft_of(const char *method, const ProtobufCMessage *message)
{
	if (strcmp(method, "Publish") == 0)
		return ((const Ormd__V1__PublishRequest *)message)->draft;
	if (strcmp(method, "Commit") == 0)
		return ((const Ormd__V1__CommitRequest *)message)->draft;
	if (strcmp(method, "Query") == 0)
		return ((const Ormd__V1__QueryRequest *)message)->draft;
	if (strcmp(method, "Get") == 0)
		return ((const Ormd__V1__GetRequest *)message)->draft;
	if (strcmp(method, "Load") == 0)
		return ((const Ormd__V1__LoadRequest *)message)->draft;
	return NULL;
}

/* A key for every new object of a first column that is an integer: its handle's counter. */
static Ormd__V1__KeyRange **keys_for(const Ormd__V1__Draft *draft, orm_arena *arena, size_t *n)
{
	const size_t n_adds = draft ? draft->n_adds : 0;
	Ormd__V1__KeyRange **keys = orm_arena_calloc(arena, n_adds, sizeof *keys);

	*n = 0;
	for (size_t i = 0; keys && i < n_adds; i++) {
		const Ormd__V1__Objects *objects = draft->adds[i]->objects;
		Ormd__V1__KeyRange *range = orm_arena_alloc(arena, sizeof *range);

		if (!range || objects->n_handles)
			support_die("fake_server: handles that do not follow one another");
		ormd__v1__key_range__init(range);
		range->has_first_handle = range->has_first_key = range->has_count = true;
		range->first_handle = objects->first_handle;
		range->first_key = (int64_t)(objects->first_handle & 0xffffffffff);
		range->count = (uint32_t)n_rows_of(objects);
		keys[(*n)++] = range;
	}
	return keys;
}

static Ormd__V1__Sync *sync_now(fake_server *server, orm_arena *arena)
{
	Ormd__V1__Sync *sync = must(orm_arena_alloc(arena, sizeof *sync));

	ormd__v1__sync__init(sync);
	sync->has_rev = true;
	sync->rev = ++server->rev;
	return sync;
}

static void fail_call(fake_server *server, const planned_end *end, rpc_call *call, const ProtobufCMessage *message)
{
	Ormd__V1__ErrorDetail detail = ORMD__V1__ERROR_DETAIL__INIT;
	orm_arena *arena = rpc_call_arena(call);
	rpc_detail packed;
	const char *method = strrchr(rpc_call_method(call), '/') + 1;

	detail.has_status = true;
	detail.status = end->status;
	detail.model = (char *)(uintptr_t) "User";
	detail.column = (char *)(uintptr_t) "name";
	detail.key = (char *)(uintptr_t) "7";
	if (end->published) {
		detail.has_published = detail.published = true;
		detail.keys = keys_for(draft_of(method, message), arena, &detail.n_keys);
		detail.sync = sync_now(server, arena);
	}
	if (!rpc_detail_pack(&detail.base, arena, &packed))
		support_die("fake_server: out of memory");

	const rpc_status status = {.code = end->plain ? end->code : RPC_INVALID_ARGUMENT,
				   .message = end->message,
				   .details = end->plain ? NULL : &packed,
				   .n_details = end->plain ? 0 : 1};

	rpc_call_fail_with(call, &status);
}

/* Writes the call down. True if its end was planned, and has been seen to. With the lock. */
static bool begin(fake_server *server, rpc_call *call, const ProtobufCMessage *message)
{
	const char *method = strrchr(rpc_call_method(call), '/') + 1;
	const planned_end end = server->end;

	orm_buffer_puts(&server->log, method);
	if (!end.planned || (end.method && strcmp(end.method, method) != 0))
		return false;
	server->end.planned = false;
	write_draft(&server->log, draft_of(method, message));
	orm_buffer_puts(&server->log, "\n");
	if (end.held)
		server->held[server->n_held++] = call;
	else
		fail_call(server, &end, call, message);
	return true;
}

/* ---- service Database ---- */

static void connect_client(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__ConnectReply reply = ORMD__V1__CONNECT_REPLY__INIT;
	const Ormd__V1__ConnectRequest *request = (const Ormd__V1__ConnectRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		for (size_t i = 0; i < request->n_models; i++)
			orm_buffer_printf(&server->log, " %s", request->models[i]->name);
		orm_buffer_puts(&server->log, "\n");
		if (!server->models) {
			const size_t size = protobuf_c_message_get_packed_size(message);
			uint8_t *packed = must(orm_arena_alloc(&server->arena, size));
			rpc_code code;

			protobuf_c_message_pack(message, packed);
			server->models = (Ormd__V1__ConnectRequest *)rpc_unpack(message->descriptor, packed, size,
										&server->arena, &code);
		}
		reply.has_registry = true;
		reply.registry = 77;
		reply.has_max_message = server->max_message != 0;
		reply.max_message = server->max_message;
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void schema(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__SchemaReply reply = ORMD__V1__SCHEMA_REPLY__INIT;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_printf(&server->log, " %" PRIu64 "\n", ((const Ormd__V1__SchemaRequest *)message)->registry);
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void commit_status(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__CommitStatusReply reply = ORMD__V1__COMMIT_STATUS_REPLY__INIT;
	Ormd__V1__CommitResult result = ORMD__V1__COMMIT_RESULT__INIT;
	Ormd__V1__KeyRange range = ORMD__V1__KEY_RANGE__INIT;
	Ormd__V1__KeyRange *keys[] = {&range};

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_printf(&server->log, " %" PRIu64 "\n",
				  ((const Ormd__V1__CommitStatusRequest *)message)->commit);
		reply.has_outcome = true;
		reply.outcome = server->outcomes[0];
		if (server->n_outcomes > 1)
			memmove(server->outcomes, server->outcomes + 1,
				--server->n_outcomes * sizeof *server->outcomes);
		if (reply.outcome == ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED) {
			range.has_first_handle = range.has_first_key = range.has_count = true;
			range.first_handle = UINT64_C(1) << 40 | 1;
			range.first_key = 41;
			range.count = 1;
			result.keys = keys;
			result.n_keys = 1;
			reply.result = &result;
		}
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

/* ---- service Session ---- */

static void open_session(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__OpenReply reply = ORMD__V1__OPEN_REPLY__INIT;
	const Ormd__V1__OpenRequest *request = (const Ormd__V1__OpenRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		if (request->name)
			orm_buffer_printf(&server->log, " %s as %s%s%s", request->name, request->participant,
					  request->on_death == ORMD__V1__ON_DEATH__ON_DEATH_KEEP ? " keep" : "",
					  request->must_exist ? " must exist" : "");
		orm_buffer_puts(&server->log, "\n");
		reply.has_session = reply.has_participant = reply.has_fence = true;
		reply.session = 11;
		reply.participant = 1;
		reply.fence = 5;
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void publish(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__PublishReply reply = ORMD__V1__PUBLISH_REPLY__INIT;
	const Ormd__V1__PublishRequest *request = (const Ormd__V1__PublishRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		write_draft(&server->log, request->draft);
		orm_buffer_puts(&server->log, request->more ? " more\n" : "\n");
		if (!request->more) {
			reply.keys = keys_for(request->draft, rpc_call_arena(call), &reply.n_keys);
			reply.sync = sync_now(server, rpc_call_arena(call));
		}
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void commit(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__CommitReply reply = ORMD__V1__COMMIT_REPLY__INIT;
	Ormd__V1__CommitResult result = ORMD__V1__COMMIT_RESULT__INIT;
	const Ormd__V1__CommitRequest *request = (const Ormd__V1__CommitRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_printf(&server->log, " %" PRIu64, request->commit);
		write_draft(&server->log, request->draft);
		orm_buffer_puts(&server->log, "\n");
		result.keys = keys_for(request->draft, rpc_call_arena(call), &result.n_keys);
		reply.result = &result;
		reply.sync = sync_now(server, rpc_call_arena(call));
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void rollback(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__RollbackReply reply = ORMD__V1__ROLLBACK_REPLY__INIT;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_puts(&server->log, "\n");
		reply.sync = sync_now(server, rpc_call_arena(call));
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

/* One stream of rows. */
typedef struct row_source {
	fake_server *server;
	uint32_t model;
	bool counts;
	size_t n_rows, next, per_message;
	Ormd__V1__KeyRange keys[MAX_KEY_RANGES]; /* of the draft that came with the call */
	size_t n_keys;
} row_source;

static row_source *row_source_new(fake_server *server, const Ormd__V1__Draft *draft, orm_arena *arena)
{
	row_source *source = must(calloc(1, sizeof *source));
	Ormd__V1__KeyRange **keys;

	source->server = server;
	source->per_message = server->per_message;
	keys = keys_for(draft, arena, &source->n_keys);
	if (source->n_keys > MAX_KEY_RANGES)
		support_die("fake_server: too many adds in one draft");
	for (size_t i = 0; i < source->n_keys; i++)
		source->keys[i] = *keys[i];
	return source;
}

static Ormd__V1__Objects *rows_message(const row_source *source, size_t n, orm_arena *arena)
{
	Ormd__V1__Objects *objects = must(orm_arena_alloc(arena, sizeof *objects));
	Ormd__V1__Batch *batch = must(orm_arena_alloc(arena, sizeof *batch));
	Ormd__V1__Column *column = must(orm_arena_alloc(arena, sizeof *column));
	Ormd__V1__Column **columns = must(orm_arena_alloc(arena, sizeof *columns));
	int64_t *cells = must(orm_arena_alloc(arena, n * sizeof *cells));

	ormd__v1__objects__init(objects);
	ormd__v1__batch__init(batch);
	ormd__v1__column__init(column);
	objects->values = batch;
	objects->has_first_handle = true;
	objects->first_handle = ((uint64_t)source->model << 20) + source->next + 1;
	batch->has_model = batch->has_rows = true;
	batch->model = source->model;
	batch->rows = (uint32_t)n;
	batch->columns = columns;
	batch->n_columns = 1;
	columns[0] = column;
	column->has_column = true;
	column->n_int64s = n;
	column->int64s = cells;
	for (size_t i = 0; i < n; i++)
		cells[i] = (int64_t)(source->next + i + 1);
	return objects;
}

static void next_rows(rpc_pull *pull, void *context)
{
	row_source *source = context;
	Ormd__V1__QueryReply reply = ORMD__V1__QUERY_REPLY__INIT;
	Ormd__V1__Objects *rows;
	Ormd__V1__KeyRange *keys[MAX_KEY_RANGES];
	const size_t left = source->n_rows - source->next;
	const size_t n = left < source->per_message ? left : source->per_message;

	if (source->next == 0) {
		pthread_mutex_lock(&source->server->lock);
		reply.sync = sync_now(source->server, rpc_pull_arena(pull));
		for (size_t i = 0; i < source->n_keys; i++)
			keys[i] = &source->keys[i];
		reply.keys = keys;
		reply.n_keys = source->n_keys;
		pthread_mutex_unlock(&source->server->lock);
	}
	if (source->counts) {
		reply.has_count = true;
		reply.count = source->n_rows;
	} else if (n > 0) {
		rows = rows_message(source, n, rpc_pull_arena(pull));
		reply.rows = &rows;
		reply.n_rows = 1;
		source->next += n;
	}
	rpc_pull_send(pull, &reply.base, source->counts || source->next == source->n_rows);
}

static void query(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	const Ormd__V1__QueryRequest *request = (const Ormd__V1__QueryRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		row_source *source = row_source_new(server, request->draft, rpc_call_arena(call));

		write_statement(server, &server->log, request->statement);
		if (request->populate_existing)
			orm_buffer_puts(&server->log, " populate");
		write_draft(&server->log, request->draft);
		orm_buffer_puts(&server->log, "\n");
		source->model = request->statement->model;
		source->counts = request->statement->kind != ORMD__V1__RESULT_KIND__RESULT_ROWS;
		source->n_rows = server->n_rows;
		pthread_mutex_unlock(&server->lock);
		rpc_call_stream(call, &(rpc_stream_source){.next = next_rows, .close = free, .context = source});
		return;
	}
	pthread_mutex_unlock(&server->lock);
}

static void get(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	const Ormd__V1__GetRequest *request = (const Ormd__V1__GetRequest *)message;
	Ormd__V1__GetReply reply = ORMD__V1__GET_REPLY__INIT;
	Ormd__V1__Objects *rows;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		const Ormd__V1__Batch *keys = request->keys;
		const bool integer = keys->columns[0]->n_int64s == 1;

		for (size_t i = 0; i < keys->n_columns; i++)
			orm_buffer_printf(&server->log, " %s=%" PRId64,
					  column_name(server, keys->model, keys->columns[i]->column),
					  keys->columns[i]->n_int64s   ? keys->columns[i]->int64s[0]
					  : keys->columns[i]->n_int32s ? keys->columns[i]->int32s[0]
								       : -1);
		write_draft(&server->log, request->draft);
		orm_buffer_puts(&server->log, "\n");
		reply.sync = sync_now(server, rpc_call_arena(call));
		reply.keys = keys_for(request->draft, rpc_call_arena(call), &reply.n_keys);
		if (integer && keys->columns[0]->int64s[0] <= (int64_t)server->n_rows) {
			const row_source source = {.server = server,
						   .model = keys->model,
						   .next = (size_t)keys->columns[0]->int64s[0] - 1};

			rows = rows_message(&source, 1, rpc_call_arena(call));
			reply.rows = &rows;
			reply.n_rows = 1;
		}
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void load(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	const Ormd__V1__LoadRequest *request = (const Ormd__V1__LoadRequest *)message;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		row_source *source = row_source_new(server, request->draft, rpc_call_arena(call));

		orm_buffer_printf(&server->log, " %s of %zu",
				  server->models->models[request->model]->relationships[request->relationship]->name,
				  request->n_objects);
		write_draft(&server->log, request->draft);
		orm_buffer_puts(&server->log, "\n");
		source->counts = true;
		pthread_mutex_unlock(&server->lock);
		rpc_call_stream(call, &(rpc_stream_source){.next = next_rows, .close = free, .context = source});
		return;
	}
	pthread_mutex_unlock(&server->lock);
}

static void refresh(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	const Ormd__V1__RefreshRequest *request = (const Ormd__V1__RefreshRequest *)message;
	Ormd__V1__RefreshReply reply = ORMD__V1__REFRESH_REPLY__INIT;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_printf(&server->log, " %zu\n", request->n_handles);
		reply.sync = sync_now(server, rpc_call_arena(call));
		reply.missing = request->handles;
		reply.n_missing = request->n_handles;
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

/* Something has always happened just now: a notice says so. */
static void wait_for_others(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__WaitReply reply = ORMD__V1__WAIT_REPLY__INIT;
	Ormd__V1__Notice notice = ORMD__V1__NOTICE__INIT;
	Ormd__V1__Notice *notices[] = {&notice};

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_puts(&server->log, "\n");
		reply.sync = sync_now(server, rpc_call_arena(call));
		notice.has_rev = notice.has_kind = true;
		notice.rev = reply.sync->rev;
		notice.kind = ORMD__V1__NOTICE_KIND__NOTICE_JOINED;
		notice.name = (char *)(uintptr_t) "desk";
		notice.text = (char *)(uintptr_t) "desk has joined";
		reply.sync->notices = notices;
		reply.sync->n_notices = 1;
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

static void close_session(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	fake_server *server = context;
	Ormd__V1__CloseReply reply = ORMD__V1__CLOSE_REPLY__INIT;

	pthread_mutex_lock(&server->lock);
	if (!begin(server, call, message)) {
		orm_buffer_puts(&server->log, "\n");
		rpc_call_reply(call, &reply.base);
	}
	pthread_mutex_unlock(&server->lock);
}

/* ---- life ---- */

fake_server *fake_server_start(const char *dir, const char *name, uint64_t max_message)
{
	static const rpc_method database[] = {{.name = "Connect", .handle = connect_client},
					      {.name = "CreateAll", .handle = schema},
					      {.name = "DropAll", .handle = schema},
					      {.name = "CommitStatus", .handle = commit_status}};
	static const rpc_method session[] = {{.name = "Open", .handle = open_session},
					     {.name = "Publish", .handle = publish},
					     {.name = "Commit", .handle = commit},
					     {.name = "Rollback", .handle = rollback},
					     {.name = "Query", .handle = query, .streaming = true},
					     {.name = "Get", .handle = get},
					     {.name = "Load", .handle = load, .streaming = true},
					     {.name = "Refresh", .handle = refresh},
					     {.name = "Wait", .handle = wait_for_others, .unordered = true},
					     {.name = "Close", .handle = close_session}};
	const rpc_server_options options = {.limits = rpc_limits_default(), .n_workers = 4, .ipc_mode = 0600};
	fake_server *server = must(calloc(1, sizeof *server));
	rpc_status status;

	server->max_message = max_message;
	server->per_message = 1;
	pthread_mutex_init(&server->lock, NULL);
	orm_buffer_init(&server->log);
	orm_buffer_init(&server->handed);
	orm_arena_init(&server->arena, 0);
	snprintf(server->address, sizeof server->address, "ipc://%s/%s.sock", dir, name);
	server->rpc = rpc_server_new(&options, &status);
	if (!server->rpc)
		support_die("fake_server: %s", status.message);
	rpc_server_add_service(server->rpc, &ormd__v1__database__descriptor, database,
			       sizeof database / sizeof *database, server);
	rpc_server_add_service(server->rpc, &ormd__v1__session__descriptor, session, sizeof session / sizeof *session,
			       server);
	if (rpc_server_listen(server->rpc, server->address, &status) != RPC_OK ||
	    rpc_server_start(server->rpc, &status) != RPC_OK)
		support_die("fake_server: %s", status.message);
	return server;
}

void fake_server_stop(fake_server *server)
{
	if (!server)
		return;
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < server->n_held; i++)
		rpc_call_fail(server->held[i], RPC_CANCELLED, "the test is over");
	pthread_mutex_unlock(&server->lock);
	rpc_server_free(server->rpc);
	orm_buffer_fini(&server->log);
	orm_buffer_fini(&server->handed);
	orm_arena_fini(&server->arena);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

const char *fake_server_address(const fake_server *server)
{
	return server->address;
}

const char *fake_server_log(fake_server *server)
{
	pthread_mutex_lock(&server->lock);
	orm_buffer_reset(&server->handed);
	orm_buffer_append(&server->handed, server->log.data, server->log.size);
	orm_buffer_reset(&server->log);
	pthread_mutex_unlock(&server->lock);
	return server->handed.size ? server->handed.data : "";
}

static void plan(fake_server *server, planned_end end)
{
	end.planned = true;
	pthread_mutex_lock(&server->lock);
	server->end = end;
	pthread_mutex_unlock(&server->lock);
}

void fake_server_fail(fake_server *server, const char *method, orm_status status, const char *message)
{
	plan(server, (planned_end){.method = method, .status = status, .message = message});
}

void fake_server_fail_published(fake_server *server, const char *method, orm_status status, const char *message)
{
	plan(server, (planned_end){.method = method, .status = status, .message = message, .published = true});
}

void fake_server_fail_plainly(fake_server *server, const char *method, rpc_code code, const char *message)
{
	plan(server, (planned_end){.method = method, .code = code, .message = message, .plain = true});
}

void fake_server_hold(fake_server *server, const char *method)
{
	plan(server, (planned_end){.method = method, .held = true});
}

void fake_server_set_rows(fake_server *server, size_t n, size_t per_message)
{
	pthread_mutex_lock(&server->lock);
	server->n_rows = n;
	server->per_message = per_message;
	pthread_mutex_unlock(&server->lock);
}

void fake_server_set_outcomes(fake_server *server, const Ormd__V1__CommitOutcome *outcomes, size_t n)
{
	pthread_mutex_lock(&server->lock);
	server->n_outcomes = n < MAX_OUTCOMES ? n : MAX_OUTCOMES;
	memcpy(server->outcomes, outcomes, server->n_outcomes * sizeof *outcomes);
	pthread_mutex_unlock(&server->lock);
}
