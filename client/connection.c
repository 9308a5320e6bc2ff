/* SPDX-License-Identifier: MIT */
#include "client/connection.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/url.h"
#include "client/error.h"
#include "client/model_messages.h"
#include "client/process.h"

#include "proto/ormd.pb-c.h"

#define DEFAULT_TIMEOUT_MS      30000
#define DEFAULT_IDLE_TIMEOUT_MS 30000
#define ANSWERS_WITHIN_MS       5000 /* a server that does not may be one whose end nobody has noticed yet */
#define MESSAGE_OVERHEAD        4096 /* of a frame and a request around a draft */

enum { METHOD_CONNECT = 0, METHOD_CREATE_ALL, METHOD_DROP_ALL };

/* ---- channels ---- */

/* A server of a database is started again by whoever misses it first; a private one's data is gone anyway. */
static bool start_again(void *context, int64_t deadline_us)
{
	const orm_db *db = context;
	rpc_channel *channel = NULL;
	orm_error error;

	if (connection_open_other(db, deadline_us, &channel, &error) != ORM_OK)
		return false;
	rpc_channel_close(channel);
	return true;
}

/* "host" of tls+tcp://host:7420, without the brackets of an IPv6 address; NULL for other addresses. */
static const char *host_of(const char *url, orm_arena *arena)
{
	static const char scheme[] = "tls+tcp://";
	const char *host = url + strlen(scheme);
	const char *colon = strrchr(url, ':');
	size_t len;

	if (strncmp(url, scheme, strlen(scheme)) != 0 || colon <= host)
		return NULL;
	len = (size_t)(colon - host);
	if (*host == '[' && len > 2 && host[len - 1] == ']')
		return orm_arena_strndup(arena, host + 1, len - 2);
	return orm_arena_strndup(arena, host, len);
}

/* `elsewhere`: it is not the connection's own server, and so none that we may start again. */
static rpc_channel *open_channel(const orm_db *db, const char *address, bool elsewhere, int64_t deadline_us,
				 orm_error *error)
{
	orm_arena names;
	rpc_tls tls = db->tls;
	const rpc_channel_options options = {
		.limits = rpc_limits_default(),
		.tls = tls.ca_file || tls.cert_key_file ? &tls : NULL,
		.connect_timeout_ms = orm_deadline_left_ms(deadline_us),
		.unreachable = db->is_database && !elsewhere ? start_again : NULL,
		.unreachable_context = (void *)(uintptr_t)db,
	};
	rpc_status status;

	orm_arena_init(&names, 0);
	if (elsewhere && !db->tls_is_named)
		tls.server_name = host_of(address, &names);

	rpc_channel *channel = rpc_channel_open(address, &options, &status);

	orm_arena_fini(&names);
	if (!channel) {
		orm_failure failed;
		orm_arena arena;

		orm_arena_init(&arena, 0);
		failure_read(&status, &arena, &failed);
		orm_arena_fini(&arena);
		if (failed.code == RPC_INVALID_ARGUMENT)
			failed.error.code = ORM_EINVAL;
		*error = failed.error;
	}
	return channel;
}

rpc_channel *connection_open_channel(const orm_db *db, int64_t deadline_us, orm_error *error)
{
	return open_channel(db, db->address, false, deadline_us, error);
}

void connection_count(orm_db *db, const rpc_channel *channel, uint64_t *n_counted)
{
	const uint64_t n = rpc_channel_n_requests(channel);

	atomic_fetch_add_explicit(&db->n_requests, n - *n_counted, memory_order_relaxed);
	*n_counted = n;
}

/* ---- service Database ---- */

static orm_status call_database(orm_db *db, rpc_channel *channel, unsigned method, const ProtobufCMessage *request,
				int64_t deadline_us, orm_arena *arena, ProtobufCMessage **reply, uint64_t *n_counted,
				orm_error *error)
{
	rpc_status status;
	orm_failure failed;
	const rpc_code code = rpc_channel_call(channel, &ormd__v1__database__descriptor, method, request, deadline_us,
					       arena, reply, &status);

	connection_count(db, channel, n_counted);
	if (code == RPC_OK)
		return ORM_OK;
	failure_read(&status, arena, &failed);
	*error = failed.error;
	return error->code;
}

static orm_status declare_models(orm_db *db, rpc_channel *channel, int64_t deadline_us, uint64_t *n_counted,
				 connection_terms *terms, orm_error *error)
{
	Ormd__V1__ConnectRequest request = ORMD__V1__CONNECT_REQUEST__INIT;
	ProtobufCMessage *message = NULL;
	orm_arena arena;
	orm_status status;

	orm_arena_init(&arena, 0);
	request.models = model_messages(db->models->registry, &arena);
	request.n_models = db->models->registry->n_mappers;
	request.program = (char *)(uintptr_t)db->program;
	request.has_version = true;
	request.version = 0;
	status = request.models ? call_database(db, channel, METHOD_CONNECT, &request.base, deadline_us, &arena,
						&message, n_counted, error)
				: orm_fail(error, ORM_ENOMEM, "out of memory");
	if (status == ORM_OK) {
		const Ormd__V1__ConnectReply *reply = (const Ormd__V1__ConnectReply *)message;
		const rpc_limits ours = rpc_limits_default();
		const size_t most = reply->has_max_message && reply->max_message < ours.max_message
					    ? (size_t)reply->max_message
					    : ours.max_message;

		terms->registry = reply->registry;
		terms->limits.max_rows = reply->has_max_rows_per_batch ? reply->max_rows_per_batch : 0;
		terms->limits.max_bytes = most > 2 * MESSAGE_OVERHEAD ? most - MESSAGE_OVERHEAD : most / 2;
	}
	orm_arena_fini(&arena);
	return status;
}

/* For autostart_find: connect, and see that it answers. */
static orm_status try_server(const char *address, int64_t deadline_us, void *context, orm_error *error)
{
	orm_db *db = context;
	uint64_t n_counted = 0;
	orm_status status = ORM_EINVAL;
	rpc_channel *channel = NULL;

	if (strlen(address) >= sizeof db->address)
		return orm_fail(error, ORM_EINVAL, "the server's address is longer than %zu bytes",
				sizeof db->address - 1);
	channel = open_channel(db, address, false, deadline_us, error);
	if (!channel)
		return error->code;
	status = declare_models(db, channel, deadline_us, &n_counted, &db->terms, error);
	if (status != ORM_OK) {
		rpc_channel_close(channel);
		return status;
	}
	rpc_channel_close(db->channel);
	db->channel = channel;
	db->n_counted = n_counted;
	memcpy(db->address, address, strlen(address) + 1);
	return ORM_OK;
}

static orm_status find_server(const orm_db *db, int64_t deadline_us, autostart_connect *connect, void *context,
			      autostart_private *own, orm_error *error)
{
	const autostart_options options = {
		.url = db->url,
		.server_program = db->server_program,
		.idle_timeout_ms = db->idle_timeout_ms,
		.deadline_us = deadline_us,
		.connect = connect,
		.context = context,
	};

	return db->is_database ? autostart_find(&options, own, error) : connect(db->url, deadline_us, context, error);
}

orm_status connection_renew(orm_db *db, int64_t deadline_us, orm_error *error)
{
	if (db->own.pidfd >= 0)
		return orm_fail(error, ORM_ELOST,
				"the server of the in-memory database has ended, and the data with it; connect again");
	return find_server(db, deadline_us, try_server, db, &db->own, error);
}

typedef struct other_server {
	const orm_db *db;
	rpc_channel *channel;
} other_server;

static orm_status try_other(const char *address, int64_t deadline_us, void *context, orm_error *error)
{
	other_server *other = context;

	other->channel = open_channel(other->db, address, false, deadline_us, error);
	return other->channel ? ORM_OK : error->code;
}

orm_status connection_open_other(const orm_db *db, int64_t deadline_us, rpc_channel **channel, orm_error *error)
{
	other_server other = {.db = db};
	autostart_private none = {.pidfd = -1};
	orm_status status;

	if (db->own.pidfd >= 0)
		return orm_fail(error, ORM_ELOST,
				"the server of the in-memory database has ended, and the data with it");
	status = find_server(db, deadline_us, try_other, &other, &none, error);
	*channel = other.channel;
	return status;
}

rpc_channel *connection_open_at(orm_db *db, const char *address, int64_t deadline_us, connection_terms *terms,
				uint64_t *n_counted, orm_error *error)
{
	const int64_t soon_us = orm_deadline_in_ms(ANSWERS_WITHIN_MS);
	const int64_t until_us = soon_us < deadline_us ? soon_us : deadline_us;
	rpc_channel *channel = open_channel(db, address, true, until_us, error);

	*n_counted = 0;
	if (channel && declare_models(db, channel, until_us, n_counted, terms, error) != ORM_OK) {
		rpc_channel_close(channel);
		return NULL;
	}
	return channel;
}

/* ---- public ---- */

static bool is_address(const char *url)
{
	static const char *const schemes[] = {"ipc://", "tcp://", "tls+tcp://"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

/* Copy what the program told us. False when out of memory. */
static bool take_options(orm_db *db, const char *url, const orm_connect_options *options)
{
	static const orm_connect_options none;
	const orm_connect_options *o = options ? options : &none;
	const char *program = o->program ? o->program : program_invocation_short_name;

	db->timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
	db->idle_timeout_ms = o->idle_timeout_ms > 0 ? o->idle_timeout_ms : DEFAULT_IDLE_TIMEOUT_MS;
	db->url = orm_arena_strdup(&db->arena, url ? url : "");
	db->program = orm_arena_strdup(&db->arena, program);
	db->server_program = orm_arena_strdup(&db->arena, o->server_program);
	db->tls.ca_file = orm_arena_strdup(&db->arena, o->tls_ca_file);
	db->tls.cert_key_file = orm_arena_strdup(&db->arena, o->tls_cert_key_file);
	db->tls_is_named = o->tls_server_name != NULL;
	db->tls.server_name = o->tls_server_name ? orm_arena_strdup(&db->arena, o->tls_server_name)
						 : host_of(db->url ? db->url : "", &db->arena);
	return db->url && db->program && (!o->server_program || db->server_program) &&
	       (!o->tls_ca_file || db->tls.ca_file) && (!o->tls_cert_key_file || db->tls.cert_key_file) &&
	       (!o->tls_server_name || db->tls.server_name);
}

static orm_status check_url(orm_db *db, orm_error *error)
{
	char shown[200];

	db->is_database = orm_url_is_database(db->url);
	if (!db->is_database && !is_address(db->url))
		return orm_fail(error, ORM_EINVAL,
				"'%s' is neither a database (" ORM_URL_KNOWN ") nor a server's address "
				"(ipc:///PATH, tcp://HOST:PORT, tls+tcp://HOST:PORT)",
				orm_url_without_password(db->url, shown, sizeof shown));
	if (strncmp(db->url, "tls+tcp://", strlen("tls+tcp://")) == 0 && (!db->tls.ca_file || !db->tls.cert_key_file))
		return orm_fail(error, ORM_EINVAL,
				"'%.200s': both sides show certificates; set tls_ca_file and tls_cert_key_file in the "
				"options of "
				"orm_connect_with",
				db->url);
	return ORM_OK;
}

orm_db *orm_connect_with(const char *url, const orm_model *const models[], const orm_connect_options *options)
{
	orm_db *db = calloc(1, sizeof *db);
	orm_error error = {0};

	if (!db)
		return NULL;
	db->process = process_identity();
	db->own.pidfd = -1;
	orm_arena_init(&db->arena, 0);
	atomic_init(&db->n_requests, 0);
	atomic_init(&db->n_users, 1);
	if (!take_options(db, url, options)) {
		orm_arena_fini(&db->arena);
		free(db);
		return NULL;
	}

	orm_status status = check_url(db, &error);

	if (status == ORM_OK && !models)
		status = orm_fail(&error, ORM_EINVAL, "no models: give an array of them that ends with NULL");
	if (status == ORM_OK) {
		db->models = orm_binding_new(models, &error);
		status = db->models ? ORM_OK : error.code;
	}
	if (status == ORM_OK)
		status = find_server(db, orm_deadline_in_ms(db->timeout_ms), try_server, db, &db->own, &error);
	if (status != ORM_OK)
		db->error = error;
	return db;
}

orm_db *orm_connect(const char *url, const orm_model *const models[])
{
	return orm_connect_with(url, models, NULL);
}

void orm_disconnect(orm_db *db)
{
	if (db)
		connection_release(db);
}

void connection_release(orm_db *db)
{
	if (atomic_fetch_sub(&db->n_users, 1) > 1)
		return;
	rpc_channel_close(db->channel);
	if (process_is(db->process))
		autostart_end_private(&db->own);
	orm_binding_free(db->models);
	orm_arena_fini(&db->arena);
	free(db);
}

const char *orm_db_address(const orm_db *db)
{
	return db && db->address[0] ? db->address : NULL;
}

uint64_t orm_db_requests(const orm_db *db)
{
	return db ? atomic_load_explicit(&db->n_requests, memory_order_relaxed) : 0;
}

static orm_status call_schema(orm_db *db, unsigned method)
{
	Ormd__V1__SchemaRequest request = ORMD__V1__SCHEMA_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	orm_error error = {0};
	orm_arena arena;
	orm_status status = ORM_OK;

	if (!db)
		return ORM_ENOMEM;
	if (!process_is(db->process))
		return ORM_EFORKED;
	if (!db->channel)
		return db->error.code;

	const int64_t deadline_us = orm_deadline_in_ms(db->timeout_ms);

	orm_arena_init(&arena, 0);
	/* The server may have ended since the last call; both methods may be repeated. */
	for (int n_tries = 0; n_tries < 2; n_tries++) {
		if (n_tries > 0)
			status = connection_renew(db, deadline_us, &error);
		if (status == ORM_OK) {
			request.has_registry = true;
			request.registry = db->terms.registry;
			status = call_database(db, db->channel, method, &request.base, deadline_us, &arena, &reply,
					       &db->n_counted, &error);
		}
		if (status != ORM_EUNAVAILABLE)
			break;
		if (n_tries == 0)
			status = ORM_OK;
	}
	orm_arena_fini(&arena);
	if (status != ORM_OK && db->error.code == ORM_OK)
		db->error = error;
	return status;
}

orm_status orm_create_all(orm_db *db)
{
	return call_schema(db, METHOD_CREATE_ALL);
}

orm_status orm_drop_all(orm_db *db)
{
	return call_schema(db, METHOD_DROP_ALL);
}

const char *orm_version(void)
{
	return ORM_VERSION_TEXT;
}
