/* SPDX-License-Identifier: MIT */
#include "server/liveness.h"

#include "base/clock.h"
#include "base/error.h"
#include "server/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A participant as its connection sees it. */
typedef struct watched {
	struct watched *next;
	uint8_t         client_id[16];
	uint64_t        host;
	uint32_t        participant;
	int64_t         dies_at_us;   /* ORM_NO_DEADLINE while it has a connection */
	char            reason[96];
} watched;

struct ormd_liveness {
	ormd_daemon    *daemon;
	pthread_t       thread;
	pthread_mutex_t lock;         /* guards what follows; nothing else is locked under it */
	pthread_cond_t  changed;
	watched        *participants;
	int64_t         tick_at_us;   /* for parked calls; ORM_NO_DEADLINE: none */
	uint32_t        n_connections;
	int64_t         idle_since_us;
	bool            stopping;
};

/* ---- deaths ---- */

typedef struct death {
	ormd_task task;
	uint32_t  participant;
	uint8_t   client_id[16];
	int64_t   since_us;
	char      reason[96];
} death;

static ormd_turn run_death(ormd_host *host, ormd_task *task)
{
	death *this = (death *)task;
	for (ormd_member *member = host->members; member; member = member->next) {
		/* Heard again since its connection closed: it lives. */
		if (member->number == this->participant && member->last_heard_us <= this->since_us) {
			ormd_host_leave(host, member, true, this->reason);
			break;
		}
	}
	free(this);
	return ORMD_TURN_OVER;
}

/* Without liveness->lock. */
static void post_death(ormd_daemon *daemon, const watched *participant, int64_t since_us)
{
	ormd_host *host = ormd_host_find(daemon, participant->host);
	if (!host)
		return;
	death *task = calloc(1, sizeof *task);
	if (!task) {
		ormd_host_unref(host);
		return;
	}
	task->task.run = run_death;
	task->participant = participant->participant;
	task->since_us = since_us;
	memcpy(task->client_id, participant->client_id, sizeof task->client_id);
	snprintf(task->reason, sizeof task->reason, "%s", participant->reason);
	ormd_host_post(host, &task->task);
}

/* ---- the thread ---- */

/* Take out those whose time is up. Under the lock; the caller posts their deaths without it. */
static watched *take_due(ormd_liveness *liveness, int64_t now_us)
{
	watched *due = NULL;
	for (watched **link = &liveness->participants; *link;) {
		watched *participant = *link;
		if (participant->dies_at_us <= now_us) {
			*link = participant->next;
			participant->next = due;
			due = participant;
		} else {
			link = &participant->next;
		}
	}
	return due;
}

static int64_t next_time(const ormd_liveness *liveness)
{
	int64_t at_us = liveness->tick_at_us;
	for (const watched *participant = liveness->participants; participant; participant = participant->next) {
		if (participant->dies_at_us < at_us)
			at_us = participant->dies_at_us;
	}
	return at_us;
}

static void wait_until(ormd_liveness *liveness, int64_t at_us)
{
	if (at_us == ORM_NO_DEADLINE) {
		pthread_cond_wait(&liveness->changed, &liveness->lock);
		return;
	}
	/* The condition counts on CLOCK_MONOTONIC, deadlines on CLOCK_BOOTTIME: go by the difference. */
	int64_t         left_us = at_us - orm_clock_us();
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	if (left_us < 0)
		left_us = 0;
	until.tv_sec += (time_t)(left_us / 1000000);
	until.tv_nsec += (long)(left_us % 1000000) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&liveness->changed, &liveness->lock, &until);
}

static void tick_hosts(ormd_daemon *daemon, int64_t now_us)
{
	size_t      n;
	ormd_host **hosts = ormd_hosts_list(daemon, &n);
	for (size_t i = 0; i < n; i++) {
		ormd_host_tick(hosts[i], now_us);
		ormd_host_unref(hosts[i]);
	}
	free(hosts);
}

static void *keep_times(void *context)
{
	ormd_liveness *liveness = context;
	pthread_mutex_lock(&liveness->lock);
	while (!liveness->stopping) {
		int64_t at_us = next_time(liveness);
		int64_t now_us = orm_clock_us();
		if (at_us > now_us) {
			wait_until(liveness, at_us);
			continue;
		}
		bool     tick = liveness->tick_at_us <= now_us;
		watched *due = take_due(liveness, now_us);
		if (tick)
			liveness->tick_at_us = ORM_NO_DEADLINE;
		pthread_mutex_unlock(&liveness->lock);
		if (tick)
			tick_hosts(liveness->daemon, now_us);
		while (due) {
			watched *participant = due;
			due = participant->next;
			post_death(liveness->daemon, participant, now_us);
			free(participant);
		}
		pthread_mutex_lock(&liveness->lock);
	}
	pthread_mutex_unlock(&liveness->lock);
	return NULL;
}

ormd_liveness *ormd_liveness_start(ormd_daemon *daemon, orm_error *error)
{
	ormd_liveness *liveness = calloc(1, sizeof *liveness);
	if (!liveness) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	liveness->daemon = daemon;
	liveness->tick_at_us = ORM_NO_DEADLINE;
	liveness->idle_since_us = orm_clock_us();
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&liveness->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&liveness->lock, NULL);
	if (pthread_create(&liveness->thread, NULL, keep_times, liveness) != 0) {
		pthread_mutex_destroy(&liveness->lock);
		pthread_cond_destroy(&liveness->changed);
		free(liveness);
		orm_fail(error, ORM_EUNAVAILABLE, "the system gives no more threads");
		return NULL;
	}
	return liveness;
}

void ormd_liveness_stop(ormd_liveness *liveness)
{
	if (!liveness)
		return;
	pthread_mutex_lock(&liveness->lock);
	liveness->stopping = true;
	pthread_cond_signal(&liveness->changed);
	pthread_mutex_unlock(&liveness->lock);
	pthread_join(liveness->thread, NULL);
}

void ormd_liveness_free(ormd_liveness *liveness)
{
	if (!liveness)
		return;
	while (liveness->participants) {
		watched *participant = liveness->participants;
		liveness->participants = participant->next;
		free(participant);
	}
	pthread_mutex_destroy(&liveness->lock);
	pthread_cond_destroy(&liveness->changed);
	free(liveness);
}

/* ---- events ---- */

/* The client's participants will die at this time, unless they are heard again. */
static void set_death(ormd_liveness *liveness, const uint8_t client_id[16], int64_t at_us, const char *reason)
{
	for (watched *participant = liveness->participants; participant; participant = participant->next) {
		if (memcmp(participant->client_id, client_id, 16) == 0) {
			participant->dies_at_us = at_us;
			snprintf(participant->reason, sizeof participant->reason, "%s", reason);
		}
	}
	pthread_cond_signal(&liveness->changed);
}

/* The listener's own check that it still answers. */
static bool is_own(const rpc_peer *peer)
{
	return peer->pid == getpid();
}

void ormd_liveness_connected(const rpc_peer *peer, void *context)
{
	ormd_liveness *liveness = context;
	if (is_own(peer))
		return;
	pthread_mutex_lock(&liveness->lock);
	liveness->n_connections++;
	set_death(liveness, peer->client_id, ORM_NO_DEADLINE, "");
	pthread_mutex_unlock(&liveness->lock);
}

void ormd_liveness_disconnected(const rpc_peer *peer, bool process_gone, void *context)
{
	ormd_liveness     *liveness = context;
	const ormd_config *config = liveness->daemon->config;
	char               reason[96];
	int64_t            at_us;
	if (is_own(peer))
		return;
	if (process_gone) {
		snprintf(reason, sizeof reason, "its process %lld has ended", (long long)peer->pid);
		at_us = orm_clock_us();
	} else if (peer->local) {
		snprintf(reason, sizeof reason, "its connection closed and its process %lld did not come back", (long long)peer->pid);
		at_us = orm_deadline_in_ms(config->grace_ms);
	} else {
		snprintf(reason, sizeof reason, "its connection closed and it did not come back within its lease");
		at_us = orm_deadline_in_ms(config->lease_ms);
	}
	pthread_mutex_lock(&liveness->lock);
	if (--liveness->n_connections == 0)
		liveness->idle_since_us = orm_clock_us();
	set_death(liveness, peer->client_id, at_us, reason);
	pthread_mutex_unlock(&liveness->lock);
}

void ormd_liveness_exited(const rpc_peer *peer, void *context)
{
	ormd_liveness *liveness = context;
	char           reason[96];
	snprintf(reason, sizeof reason, "its process %lld has ended", (long long)peer->pid);
	pthread_mutex_lock(&liveness->lock);
	set_death(liveness, peer->client_id, orm_clock_us(), reason);
	pthread_mutex_unlock(&liveness->lock);
}

bool ormd_liveness_watch(ormd_liveness *liveness, const uint8_t client_id[16], uint64_t host, uint32_t participant)
{
	watched *entry = calloc(1, sizeof *entry);
	if (!entry)
		return false;
	memcpy(entry->client_id, client_id, sizeof entry->client_id);
	entry->host = host;
	entry->participant = participant;
	entry->dies_at_us = ORM_NO_DEADLINE;
	pthread_mutex_lock(&liveness->lock);
	entry->next = liveness->participants;
	liveness->participants = entry;
	pthread_mutex_unlock(&liveness->lock);
	return true;
}

void ormd_liveness_forget(ormd_liveness *liveness, const uint8_t client_id[16], uint64_t host, uint32_t participant)
{
	pthread_mutex_lock(&liveness->lock);
	for (watched **link = &liveness->participants; *link; link = &(*link)->next) {
		watched *entry = *link;
		if (entry->host == host && entry->participant == participant && memcmp(entry->client_id, client_id, 16) == 0) {
			*link = entry->next;
			free(entry);
			break;
		}
	}
	pthread_mutex_unlock(&liveness->lock);
}

void ormd_liveness_wake_at(ormd_liveness *liveness, int64_t at_us)
{
	pthread_mutex_lock(&liveness->lock);
	if (at_us < liveness->tick_at_us) {
		liveness->tick_at_us = at_us;
		pthread_cond_signal(&liveness->changed);
	}
	pthread_mutex_unlock(&liveness->lock);
}

int64_t ormd_liveness_idle_us(ormd_liveness *liveness)
{
	pthread_mutex_lock(&liveness->lock);
	int64_t idle_us = liveness->n_connections ? 0 : orm_clock_us() - liveness->idle_since_us;
	pthread_mutex_unlock(&liveness->lock);
	return idle_us;
}

uint32_t ormd_liveness_n_participants(ormd_liveness *liveness)
{
	uint32_t n = 0;
	pthread_mutex_lock(&liveness->lock);
	for (const watched *participant = liveness->participants; participant; participant = participant->next)
		n++;
	pthread_mutex_unlock(&liveness->lock);
	return n;
}
