/* SPDX-License-Identifier: MIT */
#include "server/presence.h"

#include "base/clock.h"
#include "base/error.h"
#include "driver/condition.h"
#include "server/host.h"
#include "server/log.h"

#include <stdlib.h>
#include <syslog.h>

struct ormd_presence {
	ormd_daemon *daemon;
	ormd_directory *directory;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t stops;
	bool stopping;
};

/* ---- after others had taken us for dead ---------------------------------------------------------------------- */

/* Only its claim tells whether another has the session now. If that cannot be asked, its next commit does. */
static ormd_turn run_check(ormd_host *host, ormd_task *task)
{
	ormd_directory *directory = ormd_presence_directory(host->daemon->presence);
	orm_error error = {0};
	bool holds = true;

	free(task);
	if (host->ended || !host->fence)
		return ORMD_TURN_OVER;
	if (ormd_directory_holds(directory, host->name, host->fence,
				 orm_deadline_in_ms(ormd_directory_renew_ms(directory)), &holds, &error) == ORM_OK &&
	    !holds) {
		ormd_log(LOG_WARNING, "session '%s' ends here: another server may have it", host->name);
		ormd_host_lose(host);
	}
	return ORMD_TURN_OVER;
}

static void check_hosts(ormd_daemon *daemon)
{
	size_t n;
	ormd_host **hosts = ormd_hosts_list(daemon, &n);

	for (size_t i = 0; i < n; i++) {
		ormd_task *task = hosts[i]->name ? calloc(1, sizeof *task) : NULL;

		if (task) {
			task->run = run_check;
			ormd_host_post(hosts[i], task); /* takes over the reference */
		} else {
			ormd_host_unref(hosts[i]);
		}
	}
	free(hosts);
}

/* ---- renewing ------------------------------------------------------------------------------------------------ */

static void renew(ormd_presence *presence, bool *failing)
{
	const int64_t deadline_us = orm_deadline_in_ms(2 * ormd_directory_renew_ms(presence->directory));
	bool forgotten = false;
	orm_error error = {0};
	const bool failed = ormd_directory_renew(presence->directory, deadline_us, &forgotten, &error) != ORM_OK;

	if (failed && !*failing)
		ormd_log(LOG_WARNING, "cannot tell other servers of the database that this one lives: %s",
			 error.message);
	if (!failed && *failing)
		ormd_log(LOG_INFO, "other servers of the database are told again that this one lives");
	*failing = failed;
	if (forgotten) {
		ormd_log(LOG_WARNING, "other servers of the database had taken this one for dead");
		check_hosts(presence->daemon);
	}
}

static void *keep_renewing(void *context)
{
	ormd_presence *presence = context;
	bool failing = false;

	pthread_mutex_lock(&presence->lock);
	for (;;) {
		const int64_t next_us = orm_deadline_in_ms(ormd_directory_renew_ms(presence->directory));

		while (!presence->stopping && ormd_condition_wait(&presence->stops, &presence->lock, next_us))
			;
		if (presence->stopping)
			break;
		pthread_mutex_unlock(&presence->lock);
		renew(presence, &failing);
		pthread_mutex_lock(&presence->lock);
	}
	pthread_mutex_unlock(&presence->lock);
	return NULL;
}

ormd_presence *ormd_presence_start(ormd_daemon *daemon, const char *address, orm_error *error)
{
	ormd_presence *presence = calloc(1, sizeof *presence);

	if (!presence || !ormd_condition_init(&presence->stops)) {
		free(presence);
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	presence->daemon = daemon;
	pthread_mutex_init(&presence->lock, NULL);
	presence->directory = ormd_directory_open(daemon->database, address, daemon->config->lease_ms, error);
	if (presence->directory) {
		if (pthread_create(&presence->thread, NULL, keep_renewing, presence) == 0)
			return presence;
		orm_fail(error, ORM_EUNAVAILABLE, "the system gives no more threads");
		ormd_directory_close(presence->directory);
	}
	pthread_cond_destroy(&presence->stops);
	pthread_mutex_destroy(&presence->lock);
	free(presence);
	return NULL;
}

void ormd_presence_stop(ormd_presence *presence)
{
	if (!presence)
		return;
	pthread_mutex_lock(&presence->lock);
	presence->stopping = true;
	pthread_cond_signal(&presence->stops);
	pthread_mutex_unlock(&presence->lock);
	pthread_join(presence->thread, NULL);
}

void ormd_presence_free(ormd_presence *presence)
{
	if (!presence)
		return;
	ormd_directory_close(presence->directory);
	pthread_cond_destroy(&presence->stops);
	pthread_mutex_destroy(&presence->lock);
	free(presence);
}

ormd_directory *ormd_presence_directory(ormd_presence *presence)
{
	return presence ? presence->directory : NULL;
}
