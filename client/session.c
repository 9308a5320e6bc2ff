/* SPDX-License-Identifier: MIT */
/* A session's life: opening, joining, closing; and what is asked of it without a call. The unit of work is in unit.c,
 * objects in objects.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/call.h"
#include "client/connection.h"
#include "client/notices.h"
#include "client/process.h"
#include "client/query.h"

#define MAX_HOPS 4 /* from server to server, until the one that has a session */
#define RETRY_MS 200
#define CLOSE_MS 2000 /* a server that does not answer is told by the connection's end */

/* ---- opening ---- */

static orm_status take_reply(orm_session *session, const Ormd__V1__OpenReply *reply, orm_error *error)
{
	orm_status status = ORM_OK;

	session->id = reply->session;
	session->participant = reply->participant;
	session->fence = reply->fence;
	session->epoch = rpc_channel_epoch(session->channel);
	session->mirror = orm_mirror_new(session->binding, session->participant);
	if (!session->mirror)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	if (reply->sync) {
		status = call_keep(session, reply->sync->added, reply->sync->n_added, error);
		if (status == ORM_OK)
			status = call_keep(session, reply->sync->changed, reply->sync->n_changed, error);
		if (status == ORM_OK)
			status = orm_sync_apply(session->mirror, reply->sync, error);
		if (status == ORM_OK)
			status = notices_take(session, reply->sync, error);
	}
	return status;
}

/* Where a server has sent us; "": nowhere. */
typedef struct redirection {
	char address[ORM_DISCOVERY_ADDRESS_SIZE];
	char host[256]; /* its machine's name; "": not told */
} redirection;

static void take_redirection(const Ormd__V1__ErrorDetail *detail, redirection *moved)
{
	*moved = (redirection){0};
	if (!detail || !detail->moved_to || strlen(detail->moved_to) >= sizeof moved->address)
		return;
	strcpy(moved->address, detail->moved_to);
	if (detail->moved_to_host)
		snprintf(moved->host, sizeof moved->host, "%s", detail->moved_to_host);
}

/* On the session's channel, which is closed if that fails. */
static orm_status try_open(orm_session *session, const Ormd__V1__OpenRequest *request, int64_t deadline_us,
			   redirection *moved, orm_error *error)
{
	ProtobufCMessage *reply;
	rpc_status status;
	orm_failure failed;
	const rpc_code code = rpc_channel_call(session->channel, &ormd__v1__session__descriptor, METHOD_OPEN,
					       &request->base, deadline_us, &session->request, &reply, &status);

	connection_count(session->db, session->channel, &session->n_counted);
	if (code == RPC_OK)
		return take_reply(session, (const Ormd__V1__OpenReply *)reply, error);
	failure_read(&status, &session->request, &failed);
	take_redirection(failed.detail, moved);
	rpc_channel_close(session->channel);
	session->channel = NULL;
	session->n_counted = 0;
	*error = failed.error;
	return error->code;
}

static orm_status open_here(orm_session *session, Ormd__V1__OpenRequest *request, int64_t deadline_us,
			    redirection *moved, orm_error *error)
{
	session->channel = connection_open_channel(session->db, deadline_us, error);
	if (!session->channel)
		return error->code;
	session->limits = session->db->terms.limits;
	request->registry = session->db->terms.registry;
	return try_open(session, request, deadline_us, moved, error);
}

/* A socket file is another one, or none, on another machine. */
static bool is_on_other_machine(const redirection *there)
{
	char host[sizeof there->host] = "";

	if (strncmp(there->address, "ipc://", strlen("ipc://")) != 0 || !there->host[0])
		return false;
	return gethostname(host, sizeof host - 1) == 0 && strcmp(host, there->host) != 0;
}

/* *unreachable: nobody answers there. */
static orm_status open_there(orm_session *session, Ormd__V1__OpenRequest *request, int64_t deadline_us,
			     redirection *moved, bool *unreachable, orm_error *error)
{
	const redirection there = *moved;
	connection_terms terms;
	orm_error why = {0};

	*moved = (redirection){0};
	*unreachable = false;
	if (is_on_other_machine(&there))
		return orm_fail(
			error, ORM_EUNAVAILABLE,
			"the session '%.200s' is in the server at %.100s on %.60s, an address that is good on that "
			"machine only; start that server with --advertise and an address for all",
			request->name, there.address, there.host);
	session->channel =
		connection_open_at(session->db, there.address, deadline_us, &terms, &session->n_counted, &why);
	*unreachable = !session->channel && (why.code == ORM_EUNAVAILABLE || why.code == ORM_ETIMEOUT);
	if (!session->channel)
		return orm_fail(
			error, *unreachable ? ORM_EUNAVAILABLE : why.code,
			"the session '%.200s' is in the server at %.100s on %.60s, which cannot be used: %.100s",
			request->name, there.address, there.host, why.message);
	session->limits = terms.limits;
	request->registry = terms.registry;
	return try_open(session, request, deadline_us, moved, error);
}

static orm_status try_servers(orm_session *session, Ormd__V1__OpenRequest *request, int64_t deadline_us,
			      bool *unreachable, orm_error *error)
{
	redirection moved = {0};
	orm_status status = open_here(session, request, deadline_us, &moved, error);

	*unreachable = false;
	/* Gone since we connected, or another that does not know our models. */
	if ((status == ORM_EUNAVAILABLE || status == ORM_ELOST) && !moved.address[0]) {
		status = connection_renew(session->db, deadline_us, error);
		if (status == ORM_OK)
			status = open_here(session, request, deadline_us, &moved, error);
	}
	for (int n_hops = 0; status != ORM_OK && moved.address[0]; n_hops++) {
		if (n_hops == MAX_HOPS)
			return orm_fail(
				error, ORM_EUNAVAILABLE,
				"the session '%.200s' moves: %d servers have each sent us to the next, the last to "
				"%.100s; try again",
				request->name, MAX_HOPS + 1, moved.address);
		status = open_there(session, request, deadline_us, &moved, unreachable, error);
	}
	return status;
}

/* A server that has just died has its sessions until the others notice: its lease's end. */
static orm_status find_and_open(orm_session *session, Ormd__V1__OpenRequest *request, int64_t deadline_us,
				orm_error *error)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	bool unreachable;
	orm_status status = try_servers(session, request, deadline_us, &unreachable, error);

	while (unreachable && orm_deadline_left_ms(deadline_us) > RETRY_MS) {
		orm_error again;

		nanosleep(&pause, NULL);
		status = try_servers(session, request, deadline_us, &unreachable, &again);
		if (status != ORM_ETIMEOUT) /* that the time is up now says less than what was said before */
			*error = again;
	}
	return status == ORM_OK ? ORM_OK : error->code;
}

static void open_session(orm_session *session, const char *name, const orm_join_options *options)
{
	static const orm_join_options none;
	const orm_join_options *o = options ? options : &none;
	Ormd__V1__OpenRequest request = ORMD__V1__OPEN_REQUEST__INIT;
	orm_error error = {0};

	request.has_registry = true;
	request.name = (char *)(uintptr_t)name;
	request.participant = (char *)(uintptr_t)(o->participant ? o->participant : session->db->program);
	request.has_on_death = request.has_must_exist = name != NULL;
	request.on_death = o->on_death == ORM_ON_DEATH_KEEP ? ORMD__V1__ON_DEATH__ON_DEATH_KEEP
							    : ORMD__V1__ON_DEATH__ON_DEATH_ROLLBACK;
	request.must_exist = o->must_exist;
	request.has_isolation = o->isolation != ORM_ISOLATION_DEFAULT;
	request.isolation = (Ormd__V1__Isolation)o->isolation;
	request.has_read_only = request.read_only = session->read_only;
	if (find_and_open(session, &request, orm_deadline_in_ms(session->timeout_ms), &error) != ORM_OK)
		session_fail(session, &error);
}

static orm_session *new_session(orm_db *db, bool shared, bool read_only)
{
	orm_session *session = db ? calloc(1, sizeof *session) : NULL;

	if (!session)
		return NULL;
	session->db = db;
	atomic_fetch_add_explicit(&db->n_users, 1, memory_order_relaxed);
	session->binding = db->models;
	session->shared = shared;
	session->read_only = read_only;
	session->timeout_ms = db->timeout_ms;
	designators_cache_init(&session->designators);
	orm_arena_init(&session->request, 0);
	orm_arena_init(&session->rows, 0);
	return session;
}

static orm_session *new_open_session(orm_db *db, const char *name, const orm_join_options *options, bool shared,
				     bool read_only)
{
	orm_session *session = new_session(db, shared, read_only);

	if (!session)
		return NULL;
	if (!process_is(db->process))
		session_fail(session, &forked_error);
	else if (!db->channel)
		session_fail(session, &db->error);
	else if (shared && (!name || !*name))
		session_fail_with(session, ORM_EINVAL,
				  "a shared session needs a name; orm_session_open gives one of this process alone");
	else
		open_session(session, name, options);
	return session;
}

orm_session *orm_session_open(orm_db *db)
{
	return new_open_session(db, NULL, NULL, false, false);
}

_Static_assert((int)ORM_SERIALIZABLE == (int)ORMD__V1__ISOLATION__ISOLATION_SERIALIZABLE,
	       "orm_isolation has the wire's numbers");

orm_session *orm_session_open_with(orm_db *db, const orm_session_options *options)
{
	const orm_join_options alone = {.isolation = options ? options->isolation : ORM_ISOLATION_DEFAULT};

	return new_open_session(db, NULL, &alone, false, options && options->read_only);
}

orm_session *orm_session_join(orm_db *db, const char *name, const orm_join_options *options)
{
	return new_open_session(db, name, options, true, false);
}

/* ---- closing ---- */

static void leave(orm_session *session)
{
	Ormd__V1__CloseRequest request = ORMD__V1__CLOSE_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *reply;
	orm_call call;
	const int64_t soon = orm_deadline_in_ms(CLOSE_MS);

	call_begin(&call, session, METHOD_CLOSE);
	call.request = &request.base;
	call.at = request.at = &at;
	if (call.deadline_us > soon)
		call.deadline_us = soon;
	call_unary(&call, &reply);
}

void orm_session_close(orm_session *session)
{
	if (!session)
		return;
	if (session_usable(session) && !session->lost && !session->over)
		leave(session);
	rpc_channel_close(session->channel);
	query_free_all(session);
	notices_fini(session);
	orm_mirror_free(session->mirror);
	designators_cache_fini(&session->designators);
	orm_arena_fini(&session->request);
	orm_arena_fini(&session->rows);
	connection_release(session->db);
	free(session);
}

/* ---- without a call ---- */

void orm_session_set_timeout(orm_session *session, int64_t timeout_ms)
{
	if (session)
		session->timeout_ms = timeout_ms;
}

uint64_t orm_session_revision(const orm_session *session)
{
	return session_usable(session) ? orm_mirror_seen(session->mirror) : 0;
}

void orm_session_clear(orm_session *session)
{
	if (session_usable(session))
		orm_mirror_clear(session->mirror);
}

void orm_discard(orm_session *session)
{
	orm_error error = {0};

	if (!session_usable(session))
		return;
	if (orm_mirror_discard(session->mirror, &error) != ORM_OK)
		session_fail(session, &error);
	else if (session->error.code == ORM_ECONFLICT)
		orm_error_clear(&session->error);
}

const char *orm_printf(orm_session *session, const char *format, ...)
{
	va_list args;
	char *text = NULL;
	int size;

	if (!session_usable(session))
		return NULL;
	va_start(args, format);
	size = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (size >= 0)
		text = orm_arena_alloc(orm_mirror_arena(session->mirror), (size_t)size + 1);
	if (!text) {
		session_fail_with(session, size < 0 ? ORM_EINVAL : ORM_ENOMEM,
				  size < 0 ? "orm_printf cannot print with this format: %s"
					   : "out of memory for a text of orm_printf: %s",
				  format);
		return NULL;
	}
	va_start(args, format);
	vsnprintf(text, (size_t)size + 1, format, args);
	va_end(args);
	return text;
}

const orm_conflict *orm_conflicts(const orm_session *session, size_t *n)
{
	size_t none;

	if (!n)
		n = &none;
	*n = 0;
	return session_usable(session) ? orm_conflict_list(session->mirror, n) : NULL;
}

orm_status orm_resolve(orm_session *session, const orm_conflict *conflict, orm_choice choice)
{
	orm_error error = {0};
	size_t left = 0;
	const orm_status entered = session_enter(session);

	if (entered != ORM_OK && entered != ORM_ECONFLICT)
		return entered;
	if (orm_conflict_resolve(session->mirror, conflict, choice, &left, &error) != ORM_OK)
		return session_fail(session, &error);
	if (left == 0 && session->error.code == ORM_ECONFLICT)
		orm_error_clear(&session->error);
	return ORM_OK;
}
