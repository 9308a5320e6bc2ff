/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL over libpq: connections and transactions.
 *
 * BEGIN travels with the first statement, and COMMIT is sent only after all that it is to commit has been answered. The
 * server answers COMMIT of a failed transaction with success, and the word ROLLBACK: only the word COMMIT is one.
 */
#include "driver/postgresql_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define CONNECT_MS      30000 /* all hosts together, if the caller sets no deadline */
#define DEFAULT_BUSY_MS 5000
#define MAX_STATEMENTS  256 /* prepared, of one connection */
#define ROLLBACK_MS     5000
#define ALIVE_MS        2000
#define END_BACKEND_MS  10000
#define COMMIT_GRACE_US 1000000 /* after the deadline: most commits whose time is over are about to be answered */

/* ---- opening ------------------------------------------------------------------------------------------------ */

static void close_connection(ormd_connection *base)
{
	pg_connection *connection = base ? pg_of(base) : NULL;

	if (!connection)
		return;
	ormd_pg_end_stop(connection);
	while (connection->n_requests > 0)
		ormd_pg_pop(connection);
	PQfinish(connection->handle);
	ormd_pg_statements_fini(connection);
	if (connection->wake_fd >= 0)
		close(connection->wake_fd);
	orm_arena_fini(&connection->scratch);
	free(connection->requests);
	free(connection->values);
	free(connection->lengths);
	free(connection->formats);
	free(connection->types);
	free(connection);
}

static orm_status connect_and_set_up(pg_connection *connection, const ormd_open_options *options, orm_error *error)
{
	const int64_t deadline = options->deadline_us ? options->deadline_us : orm_deadline_in_ms(CONNECT_MS);
	orm_status status;

	connection->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (connection->wake_fd < 0)
		return orm_fail(error, ORM_ELIMIT, "no more file descriptors: %s", strerror(errno));
	connection->handle = ormd_pg_connect(options, deadline, error);
	if (!connection->handle)
		return error->code;
	if (PQsetnonblocking(connection->handle, 1) != 0)
		return ormd_pg_lose(connection, error);
	connection->base.deadline_us = deadline;
	status = ormd_pg_set_up(connection, error);
	connection->base.deadline_us = 0;
	return status;
}

static ormd_connection *open_connection(const ormd_open_options *options, orm_error *error)
{
	pg_connection *connection = calloc(1, sizeof *connection);
	orm_error ignored;

	error = error ? error : &ignored;
	if (!connection) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	connection->base.driver = &ormd_driver_postgresql;
	connection->read_only = options->read_only;
	connection->busy_timeout_ms = DEFAULT_BUSY_MS;
	if (options->busy_timeout_ms > 0)
		connection->busy_timeout_ms =
			options->busy_timeout_ms < INT32_MAX ? options->busy_timeout_ms : INT32_MAX;
	connection->wake_fd = -1;
	ormd_statement_cache_init(&connection->statements.cache, MAX_STATEMENTS);
	orm_buffer_init(&connection->statements.ended);
	orm_arena_init(&connection->scratch, 0);
	if (connect_and_set_up(connection, options, error) == ORM_OK)
		return &connection->base;
	close_connection(&connection->base);
	return NULL;
}

/* ---- transactions ------------------------------------------------------------------------------------------- */

static bool in_transaction(ormd_connection *base)
{
	const pg_connection *connection = pg_of(base);

	return !base->lost && (connection->begin_pending || connection->in_block);
}

static orm_status begin(ormd_connection *base, orm_isolation isolation, orm_error *error)
{
	pg_connection *connection = pg_of(base);

	if (base->lost)
		return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost; nothing was done");
	if (in_transaction(base))
		return orm_fail(error, ORM_EINTERNAL, "a transaction was begun inside another");
	connection->begin_pending = true;
	connection->isolation = isolation;
	return ORM_OK;
}

/* Work with another deadline for a while; returns the one before. */
static int64_t set_deadline(ormd_connection *base, int64_t timeout_ms)
{
	const int64_t before = base->deadline_us;

	base->deadline_us = orm_deadline_in_ms(timeout_ms);
	return before;
}

static void rollback(ormd_connection *base)
{
	pg_connection *connection = pg_of(base);
	int64_t deadline;

	connection->begin_pending = false;
	if (base->lost || (!connection->in_block && connection->n_requests == 0)) {
		connection->failure = (pg_failure){.status = ORM_OK};
		return;
	}
	deadline = set_deadline(base, ROLLBACK_MS);
	if (connection->stream)
		ormd_pg_break_stream(connection);
	if (ormd_pg_is_streaming(connection)) /* rows that nobody wants any more */
		ormd_pg_stop(connection, ORM_ECANCELLED);
	ormd_pg_discard(connection);
	if (!base->lost && connection->in_block && ormd_pg_start(connection, NULL) == ORM_OK &&
	    ormd_pg_send_command(connection, "ROLLBACK", NULL) == ORM_OK)
		ormd_pg_discard(connection);
	if (connection->in_block)
		base->lost = true;
	connection->in_block = false;
	base->deadline_us = deadline;
}

static orm_status fail_ended(orm_error *error)
{
	return orm_fail(error, ORM_EDATABASE, "the transaction is gone: an earlier failure ended it");
}

/* Before a COMMIT it means that nothing needs to be in doubt. */
static bool is_closed(ormd_connection *base)
{
	pg_connection *connection = pg_of(base);
	struct pollfd fd = {.fd = PQsocket(connection->handle), .events = POLLIN};

	while (poll(&fd, 1, 0) > 0) {
		if (!PQconsumeInput(connection->handle))
			return true;
	}
	return false;
}

/*
 * Ends the transaction; only this may be in doubt. Also when somebody cancels it while it waits for the synchronous
 * standby: then the server says COMMIT all the same, after a warning that the standby may not have it. To be on the
 * safe side, any warning counts, and asking for the commit's id waits for the standby again.
 */
static orm_status send_commit(pg_connection *connection, orm_error *error)
{
	PGresult *result = NULL;
	orm_status status;

	if ((status = ormd_pg_send_command(connection, "COMMIT", error)) != ORM_OK ||
	    (status = ormd_pg_send_sync(connection, error)) != ORM_OK ||
	    (status = ormd_pg_next_result(connection, &result, error)) != ORM_OK)
		return status;
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		status = ormd_pg_fail_commit(connection, result, error);
	else if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
		status = fail_ended(error);
	else if (connection->commit_warned)
		status = orm_fail(
			error, ORM_EUNKNOWN,
			"the commit was answered with a warning: the database server may have given up waiting "
			"for its synchronous standby");
	PQclear(result);
	/* The answer is what counts; if the connection fails after it, the next user of the connection will hear. */
	if (!connection->base.lost)
		ormd_pg_discard(connection);
	return status;
}

static orm_status commit(ormd_connection *base, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_status status = ORM_OK;

	if (connection->begin_pending && !base->lost) { /* nothing was done in it */
		connection->begin_pending = false;
		return ORM_OK;
	}
	if (!base->lost && !connection->in_block && connection->n_requests == 0)
		return fail_ended(error);
	if ((status = ormd_pg_start(connection, error)) == ORM_OK &&
	    (status = ormd_pg_settle(connection, error)) == ORM_OK && !connection->in_block)
		status = fail_ended(error);
	if (status == ORM_OK && is_closed(base))
		status = ormd_pg_lose(connection, error);
	if (status == ORM_OK) {
		connection->must_finish = true;
		connection->commit_warned = false;
		connection->stop_by_us = base->deadline_us && base->deadline_us != ORM_NO_DEADLINE
						 ? base->deadline_us + COMMIT_GRACE_US
						 : 0;
		status = send_commit(connection, error);
		connection->must_finish = false;
	}
	if (status != ORM_OK)
		rollback(base);
	return status;
}

/* ---- savepoints --------------------------------------------------------------------------------------------- */

static orm_status send_savepoint(pg_connection *connection, const char *verb, unsigned level, orm_error *error)
{
	char sql[64];

	snprintf(sql, sizeof sql, "%s ormd_%u", verb, level);
	return ormd_pg_send_command(connection, sql, error);
}

/* Travels with the next statement, like BEGIN. Not behind writes that may fail, which would take it with them. */
static orm_status savepoint(ormd_connection *base, unsigned level, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_status status = ormd_pg_start(connection, error);

	if (status == ORM_OK && connection->n_requests > 0)
		status = ormd_pg_settle(connection, error);
	if (status == ORM_OK)
		status = ormd_pg_send_begin(connection, error);
	return status == ORM_OK ? send_savepoint(connection, "SAVEPOINT", level, error) : status;
}

static orm_status release(ormd_connection *base, unsigned level, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_status status = ormd_pg_start(connection, error);

	if (status == ORM_OK)
		status = send_savepoint(connection, "RELEASE", level, error);
	return status == ORM_OK ? ormd_pg_settle(connection, error) : status;
}

static orm_status rollback_to(ormd_connection *base, unsigned level, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	const int64_t deadline = set_deadline(base, ROLLBACK_MS); /* what it undoes may have run into the caller's */
	orm_status status;

	if (connection->stream)
		ormd_pg_drain(connection);
	ormd_pg_discard(connection);
	if ((status = ormd_pg_start(connection, error)) == ORM_OK &&
	    (status = send_savepoint(connection, "ROLLBACK TO", level, error)) == ORM_OK &&
	    (status = send_savepoint(connection, "RELEASE", level, error)) == ORM_OK)
		status = ormd_pg_settle(connection, error);
	base->deadline_us = deadline;
	return status;
}

/* Put constraints in force inside a savepoint: rolling back to it leaves everything, also their being deferred, as it
 * was. */
static orm_status check_deferred(ormd_connection *base, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_error ignored;
	orm_status status;
	orm_status undone;

	if (!in_transaction(base))
		return ORM_OK;
	if ((status = savepoint(base, 0, error)) != ORM_OK ||
	    (status = ormd_pg_send_command(connection, "SET CONSTRAINTS ALL IMMEDIATE", error)) != ORM_OK)
		return status;
	status = ormd_pg_settle(connection, error);
	if (base->lost)
		return status;
	undone = rollback_to(base, 0, status == ORM_OK ? error : &ignored);
	return status == ORM_OK ? undone : status;
}

/* ---- beside transactions ------------------------------------------------------------------------------------ */

static orm_status take_text_results(pg_connection *connection, const char *sql, orm_error *error)
{
	orm_status status = ORM_OK;

	for (;;) {
		PGresult *result = NULL;
		orm_error other;
		orm_status one = ormd_pg_next_result(connection, &result, &other);

		if (one == ORM_OK && !result)
			return status;
		if (one == ORM_OK) {
			switch (PQresultStatus(result)) {
			case PGRES_COMMAND_OK:
			case PGRES_TUPLES_OK:
			case PGRES_EMPTY_QUERY:
				break;
			case PGRES_COPY_IN:
			case PGRES_COPY_OUT:
			case PGRES_COPY_BOTH:
				connection->base.lost = true; /* libpq would wait for data */
				one = orm_fail(&other, ORM_EUNSUPPORTED, "COPY belongs to another client: %.200s", sql);
				break;
			default:
				one = ormd_pg_fail(connection, result, sql, NULL, &other);
				break;
			}
		}
		PQclear(result);
		if (one != ORM_OK && status == ORM_OK) {
			status = one;
			if (error)
				*error = other;
		}
		if (connection->base.lost)
			return status;
	}
}

static orm_status run(ormd_connection *base, const char *sql, orm_error *error)
{
	pg_connection *connection = pg_of(base);
	orm_buffer sent;
	orm_status status;

	if ((status = ormd_pg_start(connection, error)) != ORM_OK ||
	    (status = ormd_pg_leave_pipeline(connection, error)) != ORM_OK)
		return status;
	orm_buffer_init(&sent);
	status = ormd_pg_send_text(connection, sql, &sent, error);
	if (status == ORM_OK) {
		status = take_text_results(connection, sent.data, error);
		if (!base->lost)
			ormd_pg_end_text(connection);
	}
	orm_buffer_fini(&sent);
	return status;
}

static void interrupt(ormd_connection *base)
{
	const uint64_t one = 1;

	/* Fails only when it has been asked so often that it is as good as asked. */
	(void)!write(pg_of(base)->wake_fd, &one, sizeof one);
}

static bool is_alive(ormd_connection *base)
{
	pg_connection *connection = pg_of(base);
	const int64_t deadline = set_deadline(base, ALIVE_MS);
	bool alive = false;

	if (ormd_pg_start(connection, NULL) == ORM_OK && ormd_pg_send_command(connection, "SELECT 1", NULL) == ORM_OK)
		alive = ormd_pg_settle(connection, NULL) == ORM_OK;
	base->deadline_us = deadline;
	return alive && !base->lost;
}

/* ---- a lost connection's work ------------------------------------------------------------------------------- */

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

/* A session is gone from the list only after its transaction has ended. */
static orm_status end_backend(ormd_connection *base, const char *backend, orm_error *error)
{
	static const char end[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
				  "WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2";
	static const char look[] = "SELECT count(*) FROM pg_stat_activity "
				   "WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2";
	pg_connection *connection = pg_of(base);
	orm_error ignored;
	int64_t server = 0;
	int64_t our_server = 0;
	int64_t pid = 0;
	int64_t started = 0;
	int64_t n = 1;
	bool null = false;
	const int64_t deadline = base->deadline_us ? base->deadline_us : orm_deadline_in_ms(END_BACKEND_MS);
	orm_status status = ORM_OK;

	error = error ? error : &ignored;
	if (sscanf(backend, "%" SCNd64 "/%" SCNd64 "/%" SCNd64, &server, &pid, &started) != 3)
		return orm_fail(error, ORM_EINVAL, "'%.100s' does not name a session of PostgreSQL", backend);
	if (sscanf(base->backend, "%" SCNd64, &our_server) != 1 || server != our_server)
		return ORM_OK; /* that server, or its run, is over */

	const orm_value values[] = {{.type = ORM_INT32, .integer = pid}, {.type = ORM_INT64, .integer = started}};

	for (long ms = 1; n > 0 && status == ORM_OK; ms = ms < 50 ? ms * 2 : ms) {
		status = ormd_pg_ask(connection, ms == 1 ? end : look, values, 2, &n, &null, 1, error);
		if (status == ORM_OK && n > 0 && orm_clock_us() >= deadline)
			status = orm_fail(error, ORM_ETIMEOUT,
					  "the server has not ended the lost session %lld yet; try again",
					  (long long)pid);
		if (status == ORM_OK && n > 0)
			pause_ms(ms);
	}
	return status;
}

const ormd_driver ormd_driver_postgresql = {
	.name = "postgresql",
	.dialect = &ormd_dialect_postgresql,
	.single_writer = false,
	.open = open_connection,
	.close = close_connection,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.in_transaction = in_transaction,
	.savepoint = savepoint,
	.release = release,
	.rollback_to = rollback_to,
	.run = run,
	.write = ormd_pg_write,
	.collect = ormd_pg_collect,
	.query = ormd_pg_query,
	.fetch = ormd_pg_fetch,
	.close_cursor = ormd_pg_close_cursor,
	.interrupt = interrupt,
	.check_deferred = check_deferred,
	.reserve_keys = ormd_pg_reserve_keys,
	.is_closed = is_closed,
	.is_alive = is_alive,
	.end_backend = end_backend,
};
