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

/* An open connection, of a client that has said its name. */
typedef struct connection {
	struct connection *next;
	uint8_t            client_id[16];
	uint64_t           id;
} connection;

/* A client that has started the server has that long to connect, however short the idle time is. */
#define FIRST_CLIENT_US (10 * 1000000)

/* A participant as its connections see it; from its joining to its leaving. */
typedef struct watched {
	struct watched *next;
	uint8_t         client_id[16];
	uint64_t        host;
	uint32_t        participant;
	int64_t         dies_at_us;   /* ORM_NO_DEADLINE while it has a connection, and once its death was posted */
	bool            process_gone; /* no connection brings it back */
	bool            dead;         /* its death was posted; a connection before that runs takes it back */
	char            reason[96];
} watched;

struct ormd_liveness {
	ormd_daemon    *daemon;
	pthread_t       thread;
	pthread_mutex_t lock;         /* guards what follows; nothing else is locked under it */
	pthread_cond_t  changed;
	watched        *participants;
	connection     *connections;
	int64_t         tick_at_us;   /* for parked calls; ORM_NO_DEADLINE: none */
	uint32_t        n_connections;
	int64_t         idle_since_us;
	bool            stopping;
};

/* ---- deaths ---- */

#define NO_MEMORY_PAUSE_US 1000000

typedef struct death {
	ormd_task     task;
	struct death *next;
	uint64_t      host;
	uint32_t      participant;
	char          reason[96];
} death;

static watched *find_participant(const ormd_liveness *liveness, uint64_t host, uint32_t participant)
{
	watched *entry = liveness->participants;
	while (entry && (entry->host != host || entry->participant != participant))
		entry = entry->next;
	return entry;
}

/* Its client may have come back while the task was queued. That it was heard says nothing: a call of the dead may have waited, too. */
static bool is_dead(ormd_liveness *liveness, uint64_t host, uint32_t participant)
{
	pthread_mutex_lock(&liveness->lock);
	const watched *entry = find_participant(liveness, host, participant);
	bool           dead = entry && entry->dead;
	pthread_mutex_unlock(&liveness->lock);
	return dead;
}

static ormd_turn run_death(ormd_host *host, ormd_task *task)
{
	death       *this = (death *)task;
	ormd_member *member = host->members;
	while (member && member->number != this->participant)
		member = member->next;
	if (member && is_dead(host->daemon->liveness, host->id, this->participant))
		ormd_host_leave(host, member, true, this->reason);
	free(this);
	return ORMD_TURN_OVER;
}

/* Without liveness->lock. */
static void post_death(ormd_daemon *daemon, death *this)
{
	ormd_host *host = ormd_host_find(daemon, this->host);
	if (host)
		ormd_host_post(host, &this->task);
	else
		free(this);
}

/* ---- the thread ---- */

/* The deaths of those whose time is up. Under the lock; the caller posts them without it. */
static death *take_due(ormd_liveness *liveness, int64_t now_us)
{
	death *due = NULL;
	for (watched *participant = liveness->participants; participant; participant = participant->next) {
		if (participant->dies_at_us > now_us)
			continue;
		death *this = calloc(1, sizeof *this);
		if (!this) {
			participant->dies_at_us = now_us + NO_MEMORY_PAUSE_US;
			continue;
		}
		participant->dies_at_us = ORM_NO_DEADLINE;
		participant->dead = true;
		*this = (death){.task.run = run_death, .next = due, .host = participant->host, .participant = participant->participant};
		snprintf(this->reason, sizeof this->reason, "%s", participant->reason);
		due = this;
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
		bool   tick = liveness->tick_at_us <= now_us;
		death *due = take_due(liveness, now_us);
		if (tick)
			liveness->tick_at_us = ORM_NO_DEADLINE;
		pthread_mutex_unlock(&liveness->lock);
		if (tick)
			tick_hosts(liveness->daemon, now_us);
		while (due) {
			death *this = due;
			due = this->next;
			post_death(liveness->daemon, this);
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
	liveness->idle_since_us = orm_clock_us() + (daemon->config->lock_fd >= 0 ? FIRST_CLIENT_US : 0);
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
	while (liveness->connections) {
		connection *open = liveness->connections;
		liveness->connections = open->next;
		free(open);
	}
	pthread_mutex_destroy(&liveness->lock);
	pthread_cond_destroy(&liveness->changed);
	free(liveness);
}

/* ---- events ---- */

static bool is_connected(const ormd_liveness *liveness, const uint8_t client_id[16])
{
	for (const connection *open = liveness->connections; open; open = open->next) {
		if (memcmp(open->client_id, client_id, 16) == 0)
			return true;
	}
	return false;
}

/* The client's participants die at this time, unless it connects before. */
static void set_deaths(ormd_liveness *liveness, const rpc_peer *peer, bool process_gone, int64_t at_us, const char *reason)
{
	for (watched *participant = liveness->participants; participant; participant = participant->next) {
		if (participant->process_gone || memcmp(participant->client_id, peer->client_id, 16) != 0)
			continue;
		participant->dies_at_us = at_us;
		participant->process_gone = process_gone;
		participant->dead = false;
		snprintf(participant->reason, sizeof participant->reason, "%s", reason);
	}
	pthread_cond_signal(&liveness->changed);
}

static void set_deaths_of_process(ormd_liveness *liveness, const rpc_peer *peer)
{
	char reason[96];
	snprintf(reason, sizeof reason, "its process %lld has ended", (long long)peer->pid);
	set_deaths(liveness, peer, true, orm_clock_us(), reason);
}

/* How long a client without a connection lives, and what is told then. */
static int64_t give_time(const ormd_liveness *liveness, const rpc_peer *peer, char *reason, size_t size)
{
	const ormd_config *config = liveness->daemon->config;
	if (peer->local)
		snprintf(reason, size, "its connection closed and its process %lld did not come back", (long long)peer->pid);
	else
		snprintf(reason, size, "its connection closed and it did not come back within its lease");
	return orm_deadline_in_ms(peer->local ? config->grace_ms : config->lease_ms);
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
	connection *opened = calloc(1, sizeof *opened);
	pthread_mutex_lock(&liveness->lock);
	if (opened) {
		opened->next = liveness->connections;
		opened->id = peer->connection;
		memcpy(opened->client_id, peer->client_id, sizeof opened->client_id);
		liveness->connections = opened;
	}
	liveness->n_connections++;
	set_deaths(liveness, peer, false, ORM_NO_DEADLINE, "");
	pthread_mutex_unlock(&liveness->lock);
}

void ormd_liveness_disconnected(const rpc_peer *peer, bool process_gone, void *context)
{
	ormd_liveness *liveness = context;
	char           reason[96];
	if (is_own(peer))
		return;
	pthread_mutex_lock(&liveness->lock);
	if (--liveness->n_connections == 0)
		liveness->idle_since_us = orm_clock_us();
	for (connection **link = &liveness->connections; *link; link = &(*link)->next) {
		connection *closed = *link;
		if (closed->id == peer->connection) {
			*link = closed->next;
			free(closed);
			break;
		}
	}
	if (process_gone) {
		set_deaths_of_process(liveness, peer);
	} else if (!is_connected(liveness, peer->client_id)) { /* it may have been back before the old connection's end was seen */
		int64_t at_us = give_time(liveness, peer, reason, sizeof reason);
		set_deaths(liveness, peer, false, at_us, reason);
	}
	pthread_mutex_unlock(&liveness->lock);
}

void ormd_liveness_exited(const rpc_peer *peer, void *context)
{
	ormd_liveness *liveness = context;
	pthread_mutex_lock(&liveness->lock);
	set_deaths_of_process(liveness, peer);
	pthread_mutex_unlock(&liveness->lock);
}

bool ormd_liveness_watch(ormd_liveness *liveness, const rpc_peer *peer, uint64_t host, uint32_t participant)
{
	watched *entry = calloc(1, sizeof *entry);
	if (!entry)
		return false;
	memcpy(entry->client_id, peer->client_id, sizeof entry->client_id);
	entry->host = host;
	entry->participant = participant;
	entry->dies_at_us = ORM_NO_DEADLINE;
	pthread_mutex_lock(&liveness->lock);
	if (!is_own(peer) && !is_connected(liveness, peer->client_id)) {
		/* Its connection closed while it joined; or that it opened is not told yet, and will be. */
		entry->dies_at_us = give_time(liveness, peer, entry->reason, sizeof entry->reason);
		pthread_cond_signal(&liveness->changed);
	}
	entry->next = liveness->participants;
	liveness->participants = entry;
	pthread_mutex_unlock(&liveness->lock);
	return true;
}

void ormd_liveness_forget(ormd_liveness *liveness, uint64_t host, uint32_t participant)
{
	pthread_mutex_lock(&liveness->lock);
	for (watched **link = &liveness->participants; *link; link = &(*link)->next) {
		watched *entry = *link;
		if (entry->host == host && entry->participant == participant) {
			*link = entry->next;
			free(entry);
			break;
		}
	}
	pthread_mutex_unlock(&liveness->lock);
}

bool ormd_liveness_is_connected(ormd_liveness *liveness, const uint8_t client_id[16])
{
	pthread_mutex_lock(&liveness->lock);
	bool connected = is_connected(liveness, client_id);
	pthread_mutex_unlock(&liveness->lock);
	return connected;
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
	return idle_us < 0 ? 0 : idle_us;
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
