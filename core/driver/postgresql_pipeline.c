/* SPDX-License-Identifier: MIT */
/* What is under way on a connection, and waiting for it. */
#include "driver/postgresql_internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define STOP_US      3000000 /* for a cancelled statement to end */
#define ASK_AGAIN_US 250000  /* in between */

/* ---- waiting ------------------------------------------------------------------------------------------------ */

/* Forget interrupts that came while nothing ran. */
static void drain_wake(pg_connection *connection)
{
	uint64_t count;

	while (read(connection->wake_fd, &count, sizeof count) > 0)
		continue;
}

void ormd_pg_stop(pg_connection *connection, orm_status reason)
{
	if (connection->stopping != ORM_OK)
		return;
	connection->stopping = reason;
	connection->stop_by_us = orm_clock_us() + STOP_US;
	connection->ask_again_us = orm_clock_us() + ASK_AGAIN_US;
	connection->cancel = ormd_pg_cancel_start(connection->handle);
}

/* A server that has not begun with the statement passes over what cancels it. */
static void stop_again(pg_connection *connection)
{
	connection->ask_again_us = orm_clock_us() + ASK_AGAIN_US;
	if (!connection->cancel || !ormd_pg_cancel_is_done(connection->cancel))
		return;
	(void)ormd_pg_cancel_end(connection->cancel, 0);
	connection->cancel = ormd_pg_cancel_start(connection->handle);
}

void ormd_pg_end_stop(pg_connection *connection)
{
	/* What is asked for later would hit a later statement. */
	if (connection->cancel && !ormd_pg_cancel_end(connection->cancel, orm_clock_us() + STOP_US))
		connection->base.lost = true;
	connection->cancel = NULL;
	connection->stopping = ORM_OK;
}

static int64_t deadline_of(const pg_connection *connection)
{
	if (connection->stopping != ORM_OK || connection->must_finish)
		return connection->stop_by_us;
	return connection->base.deadline_us == ORM_NO_DEADLINE ? 0 : connection->base.deadline_us;
}

orm_status ormd_pg_wait(pg_connection *connection, short events, orm_error *error)
{
	for (;;) {
		const int64_t deadline = deadline_of(connection);
		const bool is_stopping = connection->stopping != ORM_OK;
		const bool may_stop = !is_stopping && !connection->must_finish;
		const bool asks_again = is_stopping && connection->ask_again_us < deadline;
		const int64_t until = asks_again ? connection->ask_again_us : deadline;
		const int64_t left = until ? orm_deadline_left_ms(until) : -1;
		struct pollfd fds[2] = {{.fd = PQsocket(connection->handle), .events = events},
					{.fd = connection->wake_fd, .events = POLLIN}};
		const int n = poll(fds, may_stop ? 2 : 1, left > INT_MAX ? INT_MAX : (int)left);

		if (n < 0 && errno != EINTR)
			return ormd_pg_lose(connection, error);
		if (n > 0 && fds[0].revents)
			return ORM_OK;
		if (n > 0) {
			drain_wake(connection);
			ormd_pg_stop(connection, ORM_ECANCELLED);
		} else if (n == 0 && orm_clock_us() >= deadline) {
			if (!may_stop)
				return ormd_pg_lose(connection, error);
			ormd_pg_stop(connection, ORM_ETIMEOUT);
		} else if (n == 0 && is_stopping && orm_clock_us() >= connection->ask_again_us) {
			stop_again(connection);
		}
	}
}

orm_status ormd_pg_flush(pg_connection *connection, orm_error *error)
{
	orm_status status = ORM_OK;
	int rc;

	while (status == ORM_OK && (rc = PQflush(connection->handle)) != 0) {
		if (rc < 0)
			return ormd_pg_lose(connection, error);
		status = ormd_pg_wait(connection, POLLIN | POLLOUT, error);
		/* The server may be waiting for us to read before it reads on. */
		if (status == ORM_OK && !PQconsumeInput(connection->handle))
			return ormd_pg_lose(connection, error);
	}
	return status;
}

orm_status ormd_pg_next_result(pg_connection *connection, PGresult **result, orm_error *error)
{
	PGconn *handle = connection->handle;

	while (PQisBusy(handle)) {
		/* A failure to send is told, with its reason, by what is read then. */
		const bool more = PQflush(handle) > 0;
		const orm_status status = ormd_pg_wait(connection, more ? POLLIN | POLLOUT : POLLIN, error);

		if (status != ORM_OK)
			return status;
		if (!PQconsumeInput(handle))
			break;
	}
	*result = PQgetResult(handle);
	return ORM_OK;
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

static pg_request *request_at(const pg_connection *connection, size_t place)
{
	return &connection->requests[(connection->first_request + place) & (connection->max_requests - 1)];
}

static bool grow(pg_connection *connection)
{
	const size_t max = connection->max_requests ? connection->max_requests * 2 : 64;
	pg_request *requests = malloc(max * sizeof *requests);

	if (!requests)
		return false;
	for (size_t i = 0; i < connection->n_requests; i++)
		requests[i] = *request_at(connection, i);
	free(connection->requests);
	connection->requests = requests;
	connection->first_request = 0;
	connection->max_requests = max;
	return true;
}

orm_status ormd_pg_push(pg_connection *connection, const pg_request *request, orm_error *error)
{
	/* It has been sent: without a place for its outcome the connection is of no use. */
	if (connection->n_requests == connection->max_requests && !grow(connection)) {
		connection->base.lost = true;
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	*request_at(connection, connection->n_requests++) = *request;
	connection->n_unsynced = request->kind == PG_SYNC ? 0 : connection->n_unsynced + 1;
	if (request->statement)
		ormd_pg_use(request->statement);
	return ORM_OK;
}

bool ormd_pg_is_streaming(const pg_connection *connection)
{
	return connection->n_requests > 0 && request_at(connection, 0)->kind == PG_QUERY;
}

/* The rows of a query come one by one. libpq wants to hear that just when it comes to the query. */
static void expect_rows(pg_connection *connection)
{
	if (ormd_pg_is_streaming(connection))
		PQsetSingleRowMode(connection->handle);
}

void ormd_pg_pop(pg_connection *connection)
{
	pg_statement *statement = request_at(connection, 0)->statement;

	connection->first_request = (connection->first_request + 1) & (connection->max_requests - 1);
	connection->n_requests--;
	if (connection->n_unsynced > connection->n_requests)
		connection->n_unsynced = connection->n_requests;
	if (statement)
		ormd_pg_unuse(connection, statement);
	expect_rows(connection);
}

static void note_failure(pg_connection *connection, const pg_request *request, orm_status status,
			 const orm_error *error)
{
	pg_failure *failure = &connection->failure;

	if (failure->status != ORM_OK)
		return;
	failure->status = status;
	failure->error = *error;
	failure->write = request->write && request->write->later ? request->write : NULL;
	if (request->write)
		request->write->failed_row = request->row;
}

static void take_failure(pg_connection *connection, const pg_request *request, const PGresult *result)
{
	const bool outdated = ormd_pg_is_outdated(result);
	orm_error error;
	orm_status status;

	if (request->kind == PG_PREPARE)
		ormd_pg_unprepare(connection, request->statement, false);
	else if (outdated && request->statement)
		ormd_pg_unprepare(connection, request->statement, true);
	status = ormd_pg_fail(connection, result, request->statement ? request->statement->sql : NULL,
			      request->write ? request->write->mapper : NULL, &error);
	if (request->kind != PG_FORGET || connection->base.lost)
		note_failure(connection, request, status, &error);
}

/* One row written. */
static orm_status take_row(const PGresult *result, const pg_request *request, orm_error *error)
{
	ormd_write *write = request->write;

	if ((size_t)PQnfields(result) != write->n_returning)
		return orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %d there: %.200s", write->n_returning,
				PQnfields(result), request->statement->sql);
	if (write->affected)
		write->affected[request->row] = (size_t)strtoull(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
	return PQntuples(result) > 0 ? ormd_pg_take_returned(result, 0, write, request->row, error) : ORM_OK;
}

static void take_success(pg_connection *connection, const pg_request *request, const PGresult *result)
{
	orm_error error;
	orm_status status = ORM_OK;

	if (request->kind == PG_ROW)
		status = take_row(result, request, &error);
	else if (request->kind == PG_ARRAYS)
		status = ormd_pg_take_arrays(result, request->write, &error);
	if (status != ORM_OK)
		note_failure(connection, request, status, &error);
}

/* It was passed over after an earlier failure. */
static void take_abort(pg_connection *connection, const pg_request *request)
{
	if (request->kind == PG_PREPARE)
		ormd_pg_unprepare(connection, request->statement, false);
	else if (request->kind == PG_FORGET)
		ormd_pg_keep_number(connection, request->number);
}

/* After a Sync, and nothing more under way, the server's word about the transaction counts. */
static void take_sync(pg_connection *connection)
{
	ormd_pg_pop(connection);
	if (connection->n_requests > 0)
		return;
	PQclear(PQgetResult(connection->handle)); /* NULL, without waiting: libpq is idle then */

	const PGTransactionStatusType status = PQtransactionStatus(connection->handle);

	connection->in_block = status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

/* Take the whole outcome of the first request. The error is that of a lost connection. */
static orm_status advance(pg_connection *connection, orm_error *error)
{
	const pg_request request = *request_at(connection, 0);

	for (;;) {
		PGresult *result = NULL;
		const orm_status status = ormd_pg_next_result(connection, &result, error);

		if (status != ORM_OK)
			return status;
		if (!result && request.kind != PG_SYNC) {
			ormd_pg_pop(connection);
			return ORM_OK;
		}
		switch (PQresultStatus(result)) {
		case PGRES_PIPELINE_SYNC:
			PQclear(result);
			if (request.kind != PG_SYNC)
				return ormd_pg_lose(connection, error); /* libpq and we do not agree */
			take_sync(connection);
			return ORM_OK;
		case PGRES_COMMAND_OK:
		case PGRES_TUPLES_OK:
		case PGRES_SINGLE_TUPLE:
			take_success(connection, &request, result);
			break;
		case PGRES_PIPELINE_ABORTED:
			take_abort(connection, &request);
			break;
		default:
			if (!result)
				return ormd_pg_lose(connection, error);
			take_failure(connection, &request, result);
			if (connection->base.lost) {
				PQclear(result);
				if (error)
					*error = connection->failure.error;
				return connection->failure.status;
			}
			break;
		}
		PQclear(result);
	}
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static orm_status forget_statements(pg_connection *connection, orm_error *error)
{
	orm_buffer *ended = &connection->statements.ended;
	orm_status status = ORM_OK;

	/* A failed transaction would refuse to. */
	if (ended->size == 0 || connection->n_requests > 0 || connection->in_block)
		return ORM_OK;
	for (size_t i = 0; i + sizeof(unsigned) <= ended->size && status == ORM_OK; i += sizeof(unsigned)) {
		pg_request request = {.kind = PG_FORGET};
		char sql[40];

		memcpy(&request.number, ended->data + i, sizeof request.number);
		snprintf(sql, sizeof sql, "DEALLOCATE ormd_%u", request.number);
		if (!PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 1))
			return ormd_pg_lose(connection, error);
		status = ormd_pg_push(connection, &request, error);
	}
	orm_buffer_reset(ended);
	/* Whether the server knew it or not is of no interest to what follows. */
	return status == ORM_OK ? ormd_pg_send_sync(connection, error) : status;
}

orm_status ormd_pg_start(pg_connection *connection, orm_error *error)
{
	if (connection->base.lost)
		return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost; nothing was done");
	if (connection->stream)
		ormd_pg_drain(connection);
	if (connection->base.lost)
		return orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost; nothing was done");
	if (connection->failure.status != ORM_OK) {
		if (error)
			*error = connection->failure.error;
		return connection->failure.status;
	}
	if (connection->n_requests == 0) {
		connection->stopping = ORM_OK;
		drain_wake(connection);
	}
	if (deadline_of(connection) && orm_clock_us() >= deadline_of(connection))
		return orm_fail(error, ORM_ETIMEOUT, "the deadline passed before the statement was sent");
	if (PQpipelineStatus(connection->handle) == PQ_PIPELINE_OFF && !PQenterPipelineMode(connection->handle))
		return ormd_pg_lose(connection, error);
	return forget_statements(connection, error);
}

static const char *begin_text(const pg_connection *connection)
{
	if (connection->read_only)
		return connection->isolation == ORM_SERIALIZABLE ? "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"
								 : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
	switch (connection->isolation) {
	case ORM_REPEATABLE_READ:
		return "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";
	case ORM_SERIALIZABLE:
		return "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";
	default:
		return "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
	}
}

orm_status ormd_pg_send_begin(pg_connection *connection, orm_error *error)
{
	if (!connection->begin_pending)
		return ORM_OK;
	connection->begin_pending = false;
	connection->in_block = true;
	return ormd_pg_send_command(connection, begin_text(connection), error);
}

orm_status ormd_pg_send_command(pg_connection *connection, const char *sql, orm_error *error)
{
	if (!PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 1))
		return ormd_pg_lose(connection, error);
	return ormd_pg_push(connection, &(pg_request){.kind = PG_COMMAND}, error);
}

orm_status ormd_pg_send_sync(pg_connection *connection, orm_error *error)
{
	if (!PQpipelineSync(connection->handle))
		return ormd_pg_lose(connection, error);
	return ormd_pg_push(connection, &(pg_request){.kind = PG_SYNC}, error);
}

/* ---- settling ----------------------------------------------------------------------------------------------- */

orm_status ormd_pg_settle(pg_connection *connection, orm_error *error)
{
	pg_failure *failure = &connection->failure;
	orm_status status = connection->n_unsynced > 0 ? ormd_pg_send_sync(connection, error) : ORM_OK;

	while (status == ORM_OK && connection->n_requests > 0)
		status = advance(connection, error);
	if (status != ORM_OK)
		return status;
	ormd_pg_end_stop(connection);
	status = failure->status;
	if (status != ORM_OK && error)
		*error = failure->error;
	if (!failure->write)
		failure->status = ORM_OK;
	return status;
}

orm_status ormd_pg_keep_below(pg_connection *connection, size_t n_requests, orm_error *error)
{
	orm_status status = ORM_OK;

	if (connection->n_requests <= n_requests)
		return ORM_OK;
	/* Without a Sync the server keeps small answers for itself until it is asked for them. */
	if (!PQsendFlushRequest(connection->handle))
		return ormd_pg_lose(connection, error);
	while (status == ORM_OK && connection->n_requests > n_requests / 2)
		status = advance(connection, error);
	return status;
}

orm_status ormd_pg_reach_query(pg_connection *connection, orm_error *error)
{
	orm_status status = ORM_OK;

	expect_rows(connection);
	while (status == ORM_OK && connection->n_requests > 2) /* it, and its Sync */
		status = advance(connection, error);
	return status;
}

void ormd_pg_discard(pg_connection *connection)
{
	if (!connection->base.lost)
		(void)ormd_pg_settle(connection, NULL);
	connection->failure.status = ORM_OK;
	connection->failure.write = NULL;
}

/* ---- several statements in one text ------------------------------------------------------------------------- */

orm_status ormd_pg_leave_pipeline(pg_connection *connection, orm_error *error)
{
	const orm_status status = ormd_pg_settle(connection, error);

	if (status != ORM_OK)
		return status;
	return PQexitPipelineMode(connection->handle) ? ORM_OK : ormd_pg_lose(connection, error);
}

orm_status ormd_pg_send_text(pg_connection *connection, const char *sql, orm_buffer *sent, orm_error *error)
{
	if (connection->begin_pending) {
		orm_buffer_puts(sent, begin_text(connection));
		orm_buffer_puts(sent, "; ");
	}
	orm_buffer_puts(sent, sql);
	if (sent->failed)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	if (!PQsendQuery(connection->handle, sent->data))
		return ormd_pg_lose(connection, error);
	connection->in_block = connection->in_block || connection->begin_pending;
	connection->begin_pending = false;
	return ORM_OK;
}

void ormd_pg_end_text(pg_connection *connection)
{
	const PGTransactionStatusType status = PQtransactionStatus(connection->handle);

	connection->in_block = status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
	ormd_pg_end_stop(connection);
}
