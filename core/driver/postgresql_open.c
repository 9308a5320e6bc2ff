/* SPDX-License-Identifier: MIT */
/*
 * Finding a server and setting up a session.
 *
 * The URL is libpq's; what it says stands, and we only add what it leaves out. Where it names several hosts, they are
 * tried one after the other here, not in libpq: its way of connecting that does not block has no time limit per host,
 * so that the first host that is silent would keep the others from their turn.
 */
#include "driver/postgresql_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define MAX_PARAMETERS 80
#define CONNECT_MS     10000 /* for one host, unless the URL has connect_timeout */
#define IDLE_MS        60000 /* in a transaction, before the server ends it: its user is gone */

typedef struct parameters {
	const char *keywords[MAX_PARAMETERS];
	const char *values[MAX_PARAMETERS];
	size_t n;
} parameters;

/* ---- parameters --------------------------------------------------------------------------------------------- */

static const char *find(const parameters *all, const char *keyword)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->keywords[i], keyword) == 0)
			return all->values[i];
	}
	return NULL;
}

static void set(parameters *all, const char *keyword, const char *value)
{
	size_t i = 0;

	while (i < all->n && strcmp(all->keywords[i], keyword) != 0)
		i++;
	if (i + 1 >= MAX_PARAMETERS) /* libpq knows half as many */
		return;
	all->keywords[i] = keyword;
	all->values[i] = value;
	if (i == all->n)
		all->n++;
}

static void set_default(parameters *all, const char *keyword, const char *value)
{
	if (!find(all, keyword))
		set(all, keyword, value);
}

/* A reader is content with a server that only reads, but not with one that lags behind, unless it says so. */
static void choose_server(parameters *all, const ormd_open_options *options)
{
	const char *wanted = find(all, "target_session_attrs");

	if (!options->read_only)
		set_default(all, "target_session_attrs", "read-write");
	else if (!options->replica)
		set_default(all, "target_session_attrs", "primary");
	else if (!wanted || strcmp(wanted, "read-write") == 0 || strcmp(wanted, "primary") == 0)
		set(all, "target_session_attrs", "prefer-standby");
}

static void add_ours(parameters *all, const ormd_open_options *options)
{
	choose_server(all, options);
	set(all, "client_encoding", "UTF8");
	set_default(all, "fallback_application_name", "ormd");
	/* A host that vanishes is noticed within a minute, also while nothing is being sent. */
	set_default(all, "keepalives", "1");
	set_default(all, "keepalives_idle", "20");
	set_default(all, "keepalives_interval", "10");
	set_default(all, "keepalives_count", "3");
	set_default(all, "tcp_user_timeout", "30000");
}

/* The item of this number of a comma-separated list, into `item`; a list of one holds for all, as in libpq. */
static bool list_item(const char *list, size_t number, char *item, size_t size)
{
	const bool is_single = list && !strchr(list, ',');

	for (size_t i = 0; list && !is_single && i < number; i++) {
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	if (!list)
		return false;
	snprintf(item, size, "%.*s", (int)strcspn(list, ","), list);
	return true;
}

static size_t list_len(const char *list)
{
	size_t n = list && *list ? 1 : 0;

	for (; n > 0 && (list = strchr(list, ',')); list++)
		n++;
	return n;
}

/* ---- connecting --------------------------------------------------------------------------------------------- */

static void ignore_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

/* Until it is there or has failed. False: the time is over. */
static bool wait_connected(PGconn *handle, int64_t deadline_us)
{
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
		const int64_t left = orm_deadline_left_ms(deadline_us);
		struct pollfd fd = {.fd = PQsocket(handle),
				    .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (left <= 0)
			return false;
		if (poll(&fd, 1, left > INT_MAX ? INT_MAX : (int)left) > 0)
			state = PQconnectPoll(handle);
	}
	return true;
}

/* One host. NULL: why is appended to `why`. */
static PGconn *try_host(parameters *all, int64_t deadline_us, orm_buffer *why)
{
	PGconn *handle;
	bool in_time = true;

	all->keywords[all->n] = NULL;
	all->values[all->n] = NULL;
	handle = PQconnectStartParams(all->keywords, all->values, 0);
	if (handle && PQstatus(handle) != CONNECTION_BAD) {
		PQsetNoticeReceiver(handle, ignore_notice, NULL);
		in_time = wait_connected(handle, deadline_us);
	}
	if (handle && in_time && PQstatus(handle) == CONNECTION_OK)
		return handle;
	if (why->size > 0)
		orm_buffer_puts(why, "; ");
	if (!handle)
		orm_buffer_puts(why, "out of memory");
	else if (!in_time)
		orm_buffer_printf(why, "%s does not answer", find(all, "host") ? find(all, "host") : "the server");
	else
		orm_buffer_printf(why, "%s", PQerrorMessage(handle));
	while (why->size > 0 && why->data[why->size - 1] == '\n')
		why->data[--why->size] = '\0';
	PQfinish(handle);
	return NULL;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* All hosts of the URL, each with its own time. */
static PGconn *try_hosts(const parameters *all, int64_t deadline_us, orm_buffer *why)
{
	const char *hosts = find(all, "host");
	const char *addresses = find(all, "hostaddr");
	const char *ports = find(all, "port");
	const char *limit = find(all, "connect_timeout");
	const long seconds = limit ? strtol(limit, NULL, 10) : 0;
	const int64_t host_ms = seconds > 0 ? (seconds < 2 ? 2 : seconds) * INT64_C(1000) : CONNECT_MS;
	const size_t n_hosts = list_len(addresses) > list_len(hosts) ? list_len(addresses) : list_len(hosts);
	PGconn *handle = NULL;

	for (size_t i = 0; !handle && (i < n_hosts || i == 0); i++) {
		parameters one = *all;
		char host[1024];
		char address[256];
		char port[32];

		if (n_hosts > 1 && list_item(hosts, i, host, sizeof host))
			set(&one, "host", host);
		if (n_hosts > 1 && list_item(addresses, i, address, sizeof address))
			set(&one, "hostaddr", address);
		if (n_hosts > 1 && list_item(ports, i, port, sizeof port))
			set(&one, "port", port);
		handle = try_host(&one, earlier(deadline_us, orm_deadline_in_ms(host_ms)), why);
	}
	return handle;
}

/* Prefer-standby is about all hosts together: a standby first, then whoever is there. */
static PGconn *try_all(parameters *all, int64_t deadline_us, orm_buffer *why)
{
	const char *wanted = find(all, "target_session_attrs");
	PGconn *handle;

	if (!wanted || strcmp(wanted, "prefer-standby") != 0)
		return try_hosts(all, deadline_us, why);
	set(all, "target_session_attrs", "standby");
	handle = try_hosts(all, deadline_us, why);
	if (handle)
		return handle;
	orm_buffer_reset(why);
	set(all, "target_session_attrs", "any");
	return try_hosts(all, deadline_us, why);
}

/* libpq's message about a URL quotes it, password and all: only what comes before the quote is repeated. */
static void fail_url(const char *message, orm_error *error)
{
	const int len = message ? (int)strcspn(message, "\"\n") : 0;

	orm_fail(error, ORM_EINVAL,
		 "the database's URL is not one that libpq understands (%.*s ...); give "
		 "postgresql://user@host:port/database",
		 len < 200 ? len : 200, message ? message : "");
}

PGconn *ormd_pg_connect(const ormd_open_options *options, int64_t deadline_us, orm_error *error)
{
	char *message = NULL;
	PQconninfoOption *given = PQconninfoParse(options->url, &message);
	parameters all = {.n = 0};
	orm_buffer why;
	PGconn *handle;

	if (!given) {
		if (!message || strncmp(message, "out of memory", strlen("out of memory")) == 0)
			orm_fail(error, ORM_ENOMEM, "out of memory");
		else
			fail_url(message, error);
		PQfreemem(message);
		return NULL;
	}
	for (const PQconninfoOption *option = given; option->keyword; option++) {
		if (option->val)
			set(&all, option->keyword, option->val);
	}
	add_ours(&all, options);
	orm_buffer_init(&why);
	handle = try_all(&all, deadline_us, &why);
	if (!handle && why.failed)
		orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (!handle)
		orm_fail(error, orm_clock_us() >= deadline_us ? ORM_ETIMEOUT : ORM_EUNAVAILABLE,
			 "cannot connect to the database: %s", why.size ? why.data : "no reason given");
	orm_buffer_fini(&why);
	PQconninfoFree(given);
	return handle;
}

/* ---- session ------------------------------------------------------------------------------------------------ */

static void take_notice(void *context, const PGresult *result)
{
	pg_connection *connection = context;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (connection->must_finish && state && strncmp(state, "01", 2) == 0)
		connection->commit_warned = true;
}

static void put_settings(const pg_connection *connection, orm_buffer *sql)
{
	orm_buffer_printf(sql,
			  "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET standard_conforming_strings = on; "
			  "SET idle_in_transaction_session_timeout = %d; SET lock_timeout = %lld; ",
			  IDLE_MS, (long long)connection->busy_timeout_ms);
	/* A server whose client is gone goes on working, and holding locks, unless it looks from time to time. */
	if (PQserverVersion(connection->handle) >= 140000)
		orm_buffer_puts(sql, "SET client_connection_check_interval = '1s'; ");
	if (connection->read_only)
		orm_buffer_puts(sql, "SET default_transaction_read_only = on; ");
	/* Told apart are: servers and their restarts by when they were started, sessions by when they were, since
	   numbers of processes are used again. */
	orm_buffer_puts(
		sql, "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 || '/' || pid || '/' || "
		     "(extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_activity "
		     "WHERE pid = pg_backend_pid()");
}

orm_status ormd_pg_set_up(pg_connection *connection, orm_error *error)
{
	orm_buffer sql;
	orm_buffer sent;
	orm_status status = ORM_OK;

	PQsetNoticeReceiver(connection->handle, take_notice, connection);
	orm_buffer_init(&sql);
	orm_buffer_init(&sent);
	put_settings(connection, &sql);
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : ormd_pg_send_text(connection, sql.data, &sent, error);
	for (bool more = status == ORM_OK; more;) {
		PGresult *result = NULL;
		const orm_status one = ormd_pg_next_result(connection, &result, error);

		more = one == ORM_OK && result;
		if (one != ORM_OK)
			status = one;
		else if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
			snprintf(connection->base.backend, sizeof connection->base.backend, "%s",
				 PQgetvalue(result, 0, 0));
		else if (result && PQresultStatus(result) != PGRES_COMMAND_OK && status == ORM_OK)
			status = ormd_pg_fail(connection, result, NULL, NULL, error);
		PQclear(result);
	}
	orm_buffer_fini(&sent);
	orm_buffer_fini(&sql);
	return status;
}
