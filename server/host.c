/* SPDX-License-Identifier: MIT */
#include "server/host.h"

#include "base/clock.h"
#include "base/error.h"
#include "server/codec.h"
#include "server/liveness.h"
#include "server/presence.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- opening and finding ---- */

static bool has_id(const void *value, const void *key)
{
	return ((const ormd_host *)value)->id == *(const uint64_t *)key;
}

static bool has_name(const void *value, const void *key)
{
	return strcmp(((const ormd_host *)value)->name, key) == 0;
}

void ormd_host_ref(ormd_host *host)
{
	atomic_fetch_add_explicit(&host->references, 1, memory_order_relaxed);
}

void ormd_host_unref(ormd_host *host)
{
	if (!host || atomic_fetch_sub_explicit(&host->references, 1, memory_order_acq_rel) != 1)
		return;
	assert(!host->waiters && !host->first);
	ormd_session_free(host->session);
	while (host->members) {
		ormd_member *member = host->members;
		host->members = member->next;
		free(member);
	}
	pthread_mutex_destroy(&host->lock);
	free(host->name);
	free(host);
}

ormd_host *ormd_host_open(ormd_daemon *daemon, const orm_registry *registry, const ormd_session_options *options, orm_error *error)
{
	ormd_session_options limited = *options;
	const char *name = options->name;
	ormd_host *host = calloc(1, sizeof *host);
	if (!host || (name && !(host->name = strdup(name)))) {
		free(host);
		orm_fail(error, ORM_ENOMEM, "out of memory for a session");
		return NULL;
	}
	pthread_mutex_init(&host->lock, NULL);
	atomic_init(&host->references, 2); /* the maps' and the caller's */
	host->daemon = daemon;
	host->opened_us = orm_clock_us();
	host->transaction_until_us = ORM_NO_DEADLINE;
	limited.max_memory = daemon->config->max_session_memory;
	limited.max_transaction_ms = daemon->config->max_transaction_ms;
	host->session = ormd_session_new(registry, daemon->database, &limited, error);
	if (!host->session)
		goto out;

	pthread_mutex_lock(&daemon->lock);
	if (daemon->hosts_by_id.len >= daemon->config->max_sessions) {
		orm_fail(error, ORM_ELIMIT, "this server has %zu sessions, and max-sessions allows no more", daemon->hosts_by_id.len);
	} else if (name && orm_map_get(&daemon->hosts_by_name, orm_hash_string(name), has_name, name)) {
		orm_fail(error, ORM_EEXIST, "there is a session named '%s' already", name);
	} else if (!orm_map_reserve(&daemon->hosts_by_id, 1) || (name && !orm_map_reserve(&daemon->hosts_by_name, 1))) {
		orm_fail(error, ORM_ENOMEM, "out of memory for a session");
	} else {
		host->id = ++daemon->last_session;
		orm_map_put(&daemon->hosts_by_id, orm_hash_u64(host->id), host);
		if (name)
			orm_map_put(&daemon->hosts_by_name, orm_hash_string(name), host);
	}
	pthread_mutex_unlock(&daemon->lock);
	if (host->id)
		return host;
out:
	atomic_store(&host->references, 1);
	ormd_host_unref(host);
	return NULL;
}

void ormd_host_close(ormd_host *host)
{
	ormd_daemon *daemon = host->daemon;
	host->ended = true;
	pthread_mutex_lock(&daemon->lock);
	bool listed = orm_map_remove(&daemon->hosts_by_id, orm_hash_u64(host->id), host);
	if (host->name)
		orm_map_remove(&daemon->hosts_by_name, orm_hash_string(host->name), host);
	pthread_mutex_unlock(&daemon->lock);
	if (!listed)
		return;
	if (host->fence)
		ormd_directory_release(ormd_presence_directory(daemon->presence), host->name, host->fence);
	ormd_host_unref(host); /* the maps'; the running task has one of its own */
}

static ormd_host *found(ormd_daemon *daemon, const orm_map *map, uint64_t hash, orm_map_equal *equal, const void *key)
{
	pthread_mutex_lock(&daemon->lock);
	ormd_host *host = orm_map_get(map, hash, equal, key);
	if (host)
		ormd_host_ref(host);
	pthread_mutex_unlock(&daemon->lock);
	return host;
}

ormd_host *ormd_host_find(ormd_daemon *daemon, uint64_t id)
{
	return found(daemon, &daemon->hosts_by_id, orm_hash_u64(id), has_id, &id);
}

ormd_host *ormd_host_find_named(ormd_daemon *daemon, const char *name)
{
	return found(daemon, &daemon->hosts_by_name, orm_hash_string(name), has_name, name);
}

ormd_host **ormd_hosts_list(ormd_daemon *daemon, size_t *n)
{
	pthread_mutex_lock(&daemon->lock);
	ormd_host **hosts = calloc(daemon->hosts_by_id.len + 1, sizeof *hosts);
	size_t      len = 0, cursor = 0;
	ormd_host  *host;
	while (hosts && (host = orm_map_next(&daemon->hosts_by_id, &cursor))) {
		ormd_host_ref(host);
		hosts[len++] = host;
	}
	pthread_mutex_unlock(&daemon->lock);
	*n = len;
	return hosts;
}

/* ---- turns ---- */

static void end_turn(ormd_host *host);

static ormd_task *take_task(ormd_host *host)
{
	ormd_task *task = host->first;
	if (task && !(host->first = task->next))
		host->last = NULL;
	return task;
}

static void put_task(ormd_host *host, ormd_task *task)
{
	task->next = NULL;
	if (host->last)
		host->last->next = task;
	else
		host->first = task;
	host->last = task;
}

/*
 * Run `task`, and then what else is queued, as the one thread that has the host's turn. Each task brought a reference, given back when it is over.
 * `only_one`: leave the rest to a worker, since this thread is the network's.
 */
static void run_tasks(ormd_host *host, ormd_task *task, bool only_one);

static void run_queued(void *context)
{
	ormd_host *host = context;
	pthread_mutex_lock(&host->lock);
	ormd_task *task = take_task(host);
	pthread_mutex_unlock(&host->lock);
	assert(task);
	run_tasks(host, task, false);
}

/* The turn is this thread's and there is a next task: hand both to a worker. */
static void pass_on(ormd_host *host)
{
	if (!rpc_server_post(host->daemon->rpc, run_queued, host))
		run_queued(host); /* ending: there are no workers left to block */
}

/* Take the next task, or give up the turn. */
static ormd_task *next_task(ormd_host *host)
{
	end_turn(host);
	pthread_mutex_lock(&host->lock);
	ormd_task *task = take_task(host);
	if (!task)
		host->busy = false;
	pthread_mutex_unlock(&host->lock);
	return task;
}

static void run_tasks(ormd_host *host, ormd_task *task, bool only_one)
{
	while (task) {
		if (task->run(host, task) == ORMD_TURN_HELD)
			return; /* with the task's reference: ormd_host_release gives it back */
		if (only_one) {
			ormd_host_release(host);
			return;
		}
		task = next_task(host);
		ormd_host_unref(host); /* a queued task has a reference of its own */
	}
}

/* Queue the task, or take the turn for it. */
static bool take_turn(ormd_host *host, ormd_task *task, bool queue)
{
	pthread_mutex_lock(&host->lock);
	bool mine = !host->busy;
	if (mine)
		host->busy = true;
	else if (queue)
		put_task(host, task);
	pthread_mutex_unlock(&host->lock);
	return mine;
}

void ormd_host_submit(ormd_host *host, ormd_task *task)
{
	if (take_turn(host, task, true))
		run_tasks(host, task, false);
}

bool ormd_host_try(ormd_host *host, ormd_task *task)
{
	if (!take_turn(host, task, false))
		return false;
	run_tasks(host, task, true);
	return true;
}

void ormd_host_post(ormd_host *host, ormd_task *task)
{
	pthread_mutex_lock(&host->lock);
	bool mine = !host->busy;
	host->busy = true;
	put_task(host, task);
	pthread_mutex_unlock(&host->lock);
	if (mine)
		pass_on(host);
}

void ormd_host_release(ormd_host *host)
{
	end_turn(host);
	pthread_mutex_lock(&host->lock);
	bool more = host->first != NULL;
	if (!more)
		host->busy = false;
	pthread_mutex_unlock(&host->lock);
	if (more)
		pass_on(host);
	ormd_host_unref(host);
}

/* ---- participants ---- */

static void fail_ended(const ormd_host *host, orm_error *error)
{
	if (host->lost)
		orm_fail(error, ORM_ELOST, "another server took the session '%s' over, because this one had not been heard of for too long: join it again",
		         host->name);
	else
		orm_fail(error, ORM_ELOST, "the session has ended: open or join a new one");
}

ormd_member *ormd_host_member(ormd_host *host, uint32_t number, uint64_t fence, orm_error *error)
{
	if (host->ended) {
		fail_ended(host, error);
		return NULL;
	}
	for (ormd_member *member = host->members; member; member = member->next) {
		if (member->number != number)
			continue;
		if (member->fence != fence)
			break;
		member->last_heard_us = orm_clock_us();
		return member;
	}
	orm_fail(error, ORM_EFENCED,
	         "participant %" PRIu32 " is not in this session any more: it was taken for dead or has left. Join again", number);
	return NULL;
}

ormd_member *ormd_host_join(ormd_host *host, const char *name, const rpc_peer *peer, orm_error *error)
{
	ormd_member *member = calloc(1, sizeof *member);
	if (!member || getrandom(&member->fence, sizeof member->fence, 0) != sizeof member->fence) {
		free(member);
		orm_fail(error, ORM_ENOMEM, "out of memory for a participant");
		return NULL;
	}
	member->fence |= 1; /* never 0, which is "none" */
	if (ormd_session_join(host->session, name, &member->number, error) < 0) {
		free(member);
		return NULL;
	}
	memcpy(member->client_id, peer->client_id, sizeof member->client_id);
	member->pid = peer->pid;
	member->last_heard_us = orm_clock_us();
	snprintf(member->name, sizeof member->name, "%s", name);
	if (!ormd_liveness_watch(host->daemon->liveness, peer, host->id, member->number)) {
		ormd_session_leave(host->session, member->number, false, "out of memory");
		free(member);
		orm_fail(error, ORM_ENOMEM, "out of memory for a participant");
		return NULL;
	}
	member->next = host->members;
	host->members = member;
	return member;
}

void ormd_host_leave(ormd_host *host, ormd_member *member, bool died, const char *reason)
{
	for (ormd_member **link = &host->members; *link; link = &(*link)->next) {
		if (*link == member) {
			*link = member->next;
			break;
		}
	}
	if (member->drafting)
		ormd_draft_cancel(host->session);
	ormd_liveness_forget(host->daemon->liveness, host->id, member->number);
	ormd_session_leave(host->session, member->number, died, reason);
	free(member);
	if (!host->members)
		ormd_host_close(host);
}

void ormd_host_lose(ormd_host *host)
{
	host->lost = true;
	while (host->members)
		ormd_host_leave(host, host->members, true, "another server took the session over");
	ormd_host_close(host);
}

/* ---- waiting ---- */

/* Answer one parked call with what there is for it; it may be nothing. */
static void answer_waiter(ormd_host *host, ormd_waiter *waiter)
{
	orm_error error = {0};
	if (rpc_call_cancelled(waiter->call)) {
		rpc_call_fail(waiter->call, RPC_CANCELLED, "the wait was cancelled");
	} else if (host->ended) {
		fail_ended(host, &error);
		ormd_fail_call(waiter->call, &error, NULL);
	} else {
		Ormd__V1__WaitReply reply = ORMD__V1__WAIT_REPLY__INIT;
		orm_arena          *arena = rpc_call_arena(waiter->call);
		ormd_sync           sync = {0};
		if (ormd_session_sync(host->session, waiter->participant, waiter->seen, arena, &sync, &error) < 0 ||
		    !(reply.sync = ormd_encode_sync(&sync, arena))) {
			if (!error.code)
				orm_fail(&error, ORM_ENOMEM, "out of memory for what others did");
			ormd_fail_call(waiter->call, &error, NULL);
		} else {
			rpc_call_reply(waiter->call, &reply.base);
		}
	}
	free(waiter);
}

/* With the turn, at its end: answer those that have news, whose time is up or whose caller gave up; and note until when a transaction may be open. */
static void end_turn(ormd_host *host)
{
	const int64_t until_us = ormd_session_transaction_until(host->session);
	bool         all = host->ended || atomic_load_explicit(&host->daemon->draining, memory_order_relaxed);
	ormd_waiter *due = NULL;
	pthread_mutex_lock(&host->lock);
	if (host->waiters) {
		int64_t now_us = orm_clock_us();
		for (ormd_waiter **link = &host->waiters; *link;) {
			ormd_waiter *waiter = *link;
			if (all || rpc_call_cancelled(waiter->call) || waiter->until_us <= now_us ||
			    ormd_session_has_news(host->session, waiter->participant, waiter->seen)) {
				*link = waiter->next;
				waiter->next = due;
				due = waiter;
			} else {
				link = &waiter->next;
			}
		}
	}
	const bool wake = host->transaction_until_us != until_us && until_us != ORM_NO_DEADLINE;
	host->transaction_until_us = until_us;
	pthread_mutex_unlock(&host->lock);
	if (wake)
		ormd_liveness_wake_at(host->daemon->liveness, until_us);
	while (due) {
		ormd_waiter *waiter = due;
		due = waiter->next;
		answer_waiter(host, waiter);
	}
}

/* A turn with nothing to do but what every turn ends with: looking after the waiters; and after the transaction. */
static ormd_turn run_nudge(ormd_host *host, ormd_task *task)
{
	ormd_session_expire_transaction(host->session);
	free(task);
	return ORMD_TURN_OVER;
}

static void post_nudge(ormd_host *host)
{
	ormd_task *turn = calloc(1, sizeof *turn);
	if (!turn)
		return; /* the next turn of anybody's does as well */
	turn->run = run_nudge;
	ormd_host_ref(host);
	ormd_host_post(host, turn);
}

bool ormd_host_wait(ormd_host *host, rpc_call *call, uint32_t participant, uint64_t seen, int64_t until_us)
{
	ormd_waiter *waiter = calloc(1, sizeof *waiter);
	if (!waiter)
		return false;
	*waiter = (ormd_waiter){.call = call, .participant = participant, .seen = seen, .until_us = until_us};
	pthread_mutex_lock(&host->lock);
	waiter->next = host->waiters;
	host->waiters = waiter;
	pthread_mutex_unlock(&host->lock);
	ormd_liveness_wake_at(host->daemon->liveness, until_us);
	return true;
}

void ormd_host_tick(ormd_host *host, int64_t now_us)
{
	bool    due = false;
	int64_t next_us = ORM_NO_DEADLINE;
	pthread_mutex_lock(&host->lock);
	if (host->transaction_until_us > now_us) {
		next_us = host->transaction_until_us;
	} else {
		due = true;
		host->transaction_until_us = ORM_NO_DEADLINE; /* the end of each turn notes it again */
	}
	for (const ormd_waiter *waiter = host->waiters; waiter; waiter = waiter->next) {
		if (waiter->until_us <= now_us || rpc_call_cancelled(waiter->call))
			due = true;
		else if (waiter->until_us < next_us)
			next_us = waiter->until_us;
	}
	pthread_mutex_unlock(&host->lock);
	if (due)
		post_nudge(host);
	if (next_us != ORM_NO_DEADLINE)
		ormd_liveness_wake_at(host->daemon->liveness, next_us);
}

void ormd_hosts_end_waits(ormd_daemon *daemon)
{
	size_t      n;
	ormd_host **hosts = ormd_hosts_list(daemon, &n);
	for (size_t i = 0; i < n; i++) {
		post_nudge(hosts[i]);
		ormd_host_unref(hosts[i]);
	}
	free(hosts);
}
