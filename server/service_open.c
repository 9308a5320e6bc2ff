/* SPDX-License-Identifier: MIT */
/* Service Session: Open. A session is found, made, or known to be in another server of the database. */
#include "server/session_call.h"

#include "base/clock.h"
#include "base/error.h"
#include "model/value.h"
#include "server/presence.h"

#include <stdio.h>
#include <string.h>

typedef struct open_call {
	ormd_task                    task;
	ormd_daemon                 *daemon;
	rpc_call                    *call;
	const Ormd__V1__OpenRequest *request;
	const orm_registry          *registry;
	bool                         created;
} open_call;

static void leave_at_once(ormd_host *host, ormd_member *member, const char *reason)
{
	ormd_host_leave(host, member, true, reason);
}

/* The claim of a name, and every question to the directory, waits for the database: no longer than a call for a turn to write. */
static int64_t deadline_of(const open_call *this)
{
	int64_t own_us = orm_deadline_in_ms(this->daemon->config->wait_ms);
	int64_t asked_us = rpc_call_deadline(this->call);
	return asked_us && asked_us < own_us ? asked_us : own_us;
}

static void fail_open(rpc_call *call, const orm_error *error, const ormd_directory_owner *owner)
{
	ormd_failure failure = {.moved_to = owner->address, .moved_to_host = owner->host};
	ormd_fail_call(call, error, owner->address[0] ? &failure : NULL);
}

static orm_status fail_moved(const char *name, const ormd_directory_owner *owner, orm_error *error)
{
	return orm_fail(error, ORM_EUNAVAILABLE, "the session '%s' is in another server of this database: %s on %s", name, owner->address, owner->host);
}

/* A shared session's name is this server's from before anybody is in it. */
static orm_status claim_name(open_call *this, ormd_host *host, ormd_directory_owner *owner, orm_error *error)
{
	ormd_directory *directory = ormd_presence_directory(host->daemon->presence);
	if (!directory || !host->name || host->fence)
		return ORM_OK;
	orm_status status = ormd_directory_claim(directory, host->name, deadline_of(this), &host->fence, owner, error);
	if (status == ORM_OK) {
		*owner = (ormd_directory_owner){0};
		ormd_session_set_fence(host->session, host->fence);
	} else if (status == ORM_EEXIST) {
		return fail_moved(host->name, owner, error);
	} else {
		*owner = (ormd_directory_owner){0};
	}
	return status;
}

static ormd_turn run_open(ormd_host *host, ormd_task *task)
{
	open_call *this = (open_call *)task;
	orm_error  error = {0};
	if (host->ended) {
		/* Its last participant left while this call was queued: begin again, with a new one. */
		ormd_handle_open(this->call, &this->request->base, this->daemon);
		return ORMD_TURN_OVER;
	}
	const rpc_peer *peer = rpc_call_peer(this->call);
	char            name[64];
	if (this->request->participant && *this->request->participant)
		snprintf(name, sizeof name, "%.60s", this->request->participant);
	else
		snprintf(name, sizeof name, "pid %lld", (long long)peer->pid);
	ormd_member         *member = NULL;
	ormd_directory_owner owner = {0};
	if (claim_name(this, host, &owner, &error) < 0)
		goto failed;
	if (host->name && orm_registry_compare(ormd_session_registry(host->session), this->registry, &error) < 0)
		goto failed;
	if (!(member = ormd_host_join(host, name, peer, &error)))
		goto failed;
	if (rpc_call_cancelled(this->call)) {
		/* The client went before it was watched: nobody will tell of its death any more. */
		leave_at_once(host, member, "its connection closed while it joined");
		orm_fail(&error, ORM_ECANCELLED, "the client has gone");
		goto failed;
	}
	Ormd__V1__OpenReply reply = ORMD__V1__OPEN_REPLY__INIT;
	if (ormd_session_call_sync(host, member->number, 0, rpc_call_arena(this->call), &reply.sync, &error) < 0) {
		leave_at_once(host, member, "it could not be told what is in the session");
		goto failed;
	}
	reply.has_session = reply.has_participant = reply.has_fence = reply.has_created = true;
	reply.session = host->id;
	reply.participant = member->number;
	reply.fence = member->fence;
	reply.created = this->created;
	rpc_call_reply(this->call, &reply.base);
	return ORMD_TURN_OVER;
failed:
	if (!host->members)
		ormd_host_close(host);
	fail_open(this->call, &error, &owner);
	return ORMD_TURN_OVER;
}

/* A session that must exist does not here. */
static void find_elsewhere(const open_call *this, ormd_directory_owner *owner, orm_error *error)
{
	const char     *name = this->request->name ? this->request->name : "";
	ormd_directory *directory = ormd_presence_directory(this->daemon->presence);
	if (directory && *name && ormd_directory_find(directory, name, deadline_of(this), owner, error) < 0)
		return;
	if (owner->address[0] && !owner->is_own) {
		fail_moved(name, owner, error);
		return;
	}
	owner->address[0] = '\0'; /* it is ending here */
	orm_fail(error, ORM_ENOTFOUND, "there is no session named '%s'", name);
}

/* The shared session of this name: found, or made unless it must exist. With a reference. */
static ormd_host *find_or_open(open_call *this, ormd_directory_owner *owner, orm_error *error)
{
	ormd_daemon                 *daemon = this->daemon;
	const Ormd__V1__OpenRequest *request = this->request;
	const char          *name = request->name;
	ormd_session_options options = {
		.name = name,
		.on_death = request->on_death == ORMD__V1__ON_DEATH__ON_DEATH_KEEP ? ORMD_ON_DEATH_KEEP : ORMD_ON_DEATH_ROLLBACK,
		.isolation = (orm_isolation)request->isolation,
		.read_only = request->read_only,
	};
	if ((unsigned)request->isolation > ORM_SERIALIZABLE) {
		orm_fail(error, ORM_EINVAL, "a session was asked for with an unknown isolation level, %d", (int)request->isolation);
		return NULL;
	}
	if (request->read_only && name) {
		orm_fail(error, ORM_EINVAL, "a shared session cannot be read-only: it is there to be written together");
		return NULL;
	}
	for (;;) {
		ormd_host *host = name ? ormd_host_find_named(daemon, name) : NULL;
		if (host)
			return host;
		if (request->must_exist) {
			find_elsewhere(this, owner, error);
			return NULL;
		}
		if ((host = ormd_host_open(daemon, this->registry, &options, error))) {
			this->created = true;
			return host;
		}
		if (error->code != ORM_EEXIST)
			return NULL;
		orm_error_clear(error); /* another has just made it: find it */
	}
}

void ormd_handle_open(rpc_call *call, const ProtobufCMessage *message, void *context)
{
	ormd_daemon                 *daemon = context;
	const Ormd__V1__OpenRequest *request = (const Ormd__V1__OpenRequest *)message;
	orm_error                    error = {0};
	const orm_registry          *registry = ormd_daemon_find_registry(daemon, request->registry);
	open_call                   *this = orm_arena_calloc(rpc_call_arena(call), 1, sizeof *this);
	ormd_directory_owner         owner = {0};
	ormd_host                   *host = NULL;
	if (this)
		*this = (open_call){.task.run = run_open, .daemon = daemon, .call = call, .request = request, .registry = registry};
	if (!registry)
		orm_fail(&error, ORM_ELOST, "the server has been restarted and does not know these models: connect again");
	else if (!this)
		orm_fail(&error, ORM_ENOMEM, "the server is out of memory");
	else if (request->name && (!*request->name || strlen(request->name) > 200 || !orm_utf8_valid(request->name, strlen(request->name))))
		orm_fail(&error, ORM_EINVAL, "a session's name has 1 to 200 bytes of UTF-8");
	else
		host = find_or_open(this, &owner, &error);
	if (host)
		ormd_host_submit(host, &this->task);
	else
		fail_open(call, &error, &owner);
}
