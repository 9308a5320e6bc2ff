/* SPDX-License-Identifier: MIT */
/* ormd: from the command line to a running daemon, and to its end. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "server/address.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/log.h"

#define MAX_FILES       65536
#define WATCHDOG_MS     10000 /* beyond the drain timeout: whatever hangs then hangs for ever */
#define LONGEST_LOOK_MS 3600000

/* What ends the server: see wait_for_end. */
typedef struct watch {
	int signal_fd;
	int process_fd; /* of the process that we end with; -1: none */
} watch;

static void raise_file_limit(const ormd_config *config)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;

	const rlim_t wanted = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;

	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = wanted;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			ormd_log(LOG_WARNING, "cannot raise the limit of open files: %s", strerror(errno));
	}
	if (limit.rlim_cur < (rlim_t)config->max_clients + 64)
		ormd_log(LOG_WARNING, "the limit of %llu open files (ulimit -n) is less than %u clients may need",
			 (unsigned long long)limit.rlim_cur, config->max_clients);
}

/* ---- starting ------------------------------------------------------------------------------------------------ */

/* Tell the log, and standard error if the log is elsewhere: whoever started us looks there. */
static int fail_to_start(const ormd_config *config, const orm_error *error)
{
	if (config->log_file)
		ormd_log(LOG_ERR, "cannot start: %s", error->message);
	fprintf(stderr, "ormd: %s\n", error->message);
	switch (error->code) {
	case ORM_EEXIST:
	case ORM_EUNAVAILABLE:
	case ORM_ENOTFOUND:
	case ORM_EDATABASE:
		return EX_UNAVAILABLE;
	case ORM_ETIMEOUT:
		return EX_TEMPFAIL;
	case ORM_EPERM:
		return EX_NOPERM;
	case ORM_ENOMEM:
		return EX_OSERR;
	case ORM_EINVAL:
	case ORM_EUNSUPPORTED:
		return config->file ? EX_CONFIG : EX_USAGE;
	default:
		return EX_SOFTWARE;
	}
}

static orm_status open_watch(const ormd_config *config, watch *w, orm_error *error)
{
	sigset_t signals;

	*w = (watch){.signal_fd = -1, .process_fd = -1};
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* In every thread to come too: they inherit the mask. */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	w->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (w->signal_fd < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "no descriptor for signals: %s", strerror(errno));
	if (config->exit_with_pid)
		w->process_fd = pidfd_open((pid_t)config->exit_with_pid, 0);
	if (config->exit_with_pid && w->process_fd < 0)
		return orm_fail(error, errno == ESRCH ? ORM_ENOTFOUND : ORM_EUNAVAILABLE,
				"--exit-with: cannot watch process %lld: %s", (long long)config->exit_with_pid,
				strerror(errno));
	return ORM_OK;
}

static void close_watch(watch *w)
{
	if (w->signal_fd >= 0)
		close(w->signal_fd);
	if (w->process_fd >= 0)
		close(w->process_fd);
}

/* We answer: tell whoever looks for us, and whoever started us. */
static orm_status announce(ormd_daemon *daemon, const ormd_config *config, orm_error *error)
{
	const char *address = rpc_server_address(daemon->rpc, 0);
	const orm_status status = ormd_database_announce(daemon->database, address, error);

	if (status != ORM_OK)
		return status;
	for (size_t i = 0; i < rpc_server_n_addresses(daemon->rpc); i++)
		ormd_log(LOG_INFO, "serving %s at %s",
			 daemon->shown_url, rpc_server_address(daemon->rpc, i));
	if (config->ready_fd >= 0) {
		/* A starter that has not waited for us is none of our trouble. */
		if (dprintf(config->ready_fd, "%s\n", address) < 0)
			ormd_log(LOG_WARNING, "cannot write to descriptor %d (--ready-fd): %s", config->ready_fd,
				 strerror(errno));
		close(config->ready_fd);
	}
	return ORM_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static const char *signal_text(int number)
{
	return number == SIGINT ? "SIGINT" : number == SIGTERM ? "SIGTERM" : "SIGHUP";
}

/* The signal that came; 0: none. */
static int read_signal(int fd)
{
	struct signalfd_siginfo info;
	ssize_t size;

	do
		size = read(fd, &info, sizeof info);
	while (size < 0 && errno == EINTR);
	return size == sizeof info ? (int)info.ssi_signo : 0;
}

#define SHORT_LOOK_MS 20

/* How long until we have been idle for long enough: milliseconds for poll; 0: now; negative: that does not matter. */
static int left_of_idling(ormd_daemon *daemon, const ormd_config *config)
{
	if (!config->idle_timeout_ms)
		return -1;

	const int64_t left = config->idle_timeout_ms - ormd_daemon_idle_us(daemon) / 1000;

	if (left <= 0)
		return 0;
	return left < LONGEST_LOOK_MS ? (int)left : LONGEST_LOOK_MS;
}

static void wait_for_end(ormd_daemon *daemon, const ormd_config *config, const watch *w)
{
	for (;;) {
		struct pollfd events[2] = {{.fd = w->signal_fd, .events = POLLIN},
					   {.fd = w->process_fd, .events = POLLIN}};
		int left_ms = left_of_idling(daemon, config);

		if (left_ms == 0 && !ormd_daemon_retire(daemon)) {
			left_ms = SHORT_LOOK_MS; /* somebody has just come, or it is our own check that we answer */
		} else if (left_ms == 0) {
			ormd_log(LOG_INFO, "ending: no client for %lld ms", (long long)config->idle_timeout_ms);
			return;
		}
		if (poll(events, 2, left_ms) <= 0)
			continue;
		if (events[1].revents) {
			ormd_log(LOG_INFO, "ending: process %lld has ended", (long long)config->exit_with_pid);
			return;
		}

		const int number = events[0].revents ? read_signal(w->signal_fd) : 0;

		if (number == SIGHUP) {
			ormd_log_reopen();
		} else if (number) {
			ormd_log(LOG_INFO, "ending: %s", signal_text(number));
			return;
		}
	}
}

/* While the daemon stops: a second signal, or a hang, ends the process at once. The database stands that, as it would
 * stand a kill. */
typedef struct watchdog {
	int signal_fd;
	int64_t deadline_us;
	int done[2]; /* a pipe: closed when the daemon has stopped */
} watchdog;

static void *run_watchdog(void *context)
{
	const watchdog *w = context;

	for (;;) {
		struct pollfd events[2] = {{.fd = w->signal_fd, .events = POLLIN},
					   {.fd = w->done[0], .events = POLLIN}};
		const int64_t left_ms = orm_deadline_left_ms(w->deadline_us);
		const int n = poll(events, 2, left_ms < LONGEST_LOOK_MS ? (int)left_ms : LONGEST_LOOK_MS);

		if (n > 0 && events[1].revents)
			return NULL;

		const int number = n > 0 && events[0].revents ? read_signal(w->signal_fd) : 0;

		if (number == SIGHUP) {
			ormd_log_reopen();
		} else if (number) {
			ormd_log(LOG_WARNING, "ended at once by a second signal, %s", signal_text(number));
			_exit(EX_TEMPFAIL);
		} else if (orm_deadline_left_ms(w->deadline_us) == 0) {
			ormd_log(LOG_ERR, "ended by force: the server did not stop in time");
			_exit(EX_SOFTWARE);
		}
	}
}

static void stop(ormd_daemon *daemon, const ormd_config *config, const watch *w)
{
	watchdog dog = {.signal_fd = w->signal_fd,
			.deadline_us = orm_deadline_in_ms(config->drain_timeout_ms + WATCHDOG_MS)};
	pthread_t thread;
	const bool has_pipe = pipe(dog.done) == 0;
	const bool guarded = has_pipe && pthread_create(&thread, NULL, run_watchdog, &dog) == 0;

	if (!ormd_daemon_stop(daemon))
		ormd_log(LOG_WARNING, "calls that did not end within %lld ms were cut off",
			 (long long)config->drain_timeout_ms);
	if (has_pipe)
		close(dog.done[1]);
	if (guarded)
		pthread_join(thread, NULL);
	if (has_pipe)
		close(dog.done[0]);
}

static int serve(ormd_config *config)
{
	char address[ORM_DISCOVERY_ADDRESS_SIZE];
	char url[ORM_DISCOVERY_PATH_SIZE];
	orm_error error = {0};
	ormd_daemon *daemon = NULL;
	watch w = {.signal_fd = -1, .process_fd = -1};
	int code = EX_OK;

	if (ormd_log_open(config->log_file, config->log_level, &error) != ORM_OK)
		return fail_to_start(config, &error);
	raise_file_limit(config);
	if (open_watch(config, &w, &error) != ORM_OK)
		goto failed;
	/* From here on it means the same file from any directory, in the log and for those who ask. */
	if (orm_discovery_absolute_url(config->database, url, &error) == ORM_OK)
		config->database = url;
	else
		goto failed;
	if (config->n_listen == 0) {
		if (ormd_default_address(config->database, address, &error) != ORM_OK)
			goto failed;
		config->listen[config->n_listen++] = address;
	}
	daemon = ormd_daemon_start(config, &error);
	if (!daemon || announce(daemon, config, &error) != ORM_OK)
		goto failed;
	wait_for_end(daemon, config, &w);
	goto out;
failed:
	code = fail_to_start(config, &error);
out:
	if (daemon)
		stop(daemon, config, &w);
	if (code == EX_OK)
		ormd_log(LOG_INFO, "ended");
	close_watch(&w);
	ormd_log_close();
	return code;
}

int main(int argc, char **argv)
{
	ormd_config config;
	int code;

	orm_crash_points_init();
	ormd_config_init(&config);
	code = ormd_config_from_arguments(&config, argc, argv);
	if (code == 0)
		code = serve(&config);
	ormd_config_fini(&config);
	return code;
}
