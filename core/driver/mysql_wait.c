/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the server. The library blocks, but asks us to do the waiting: for the socket, the connection's deadline
 * and interrupts at once. What runs in the server is then stopped from another connection (KILL QUERY), and the answer
 * to it comes the usual way. A server that keeps silent is asked whether it is still there, so that no call waits for
 * one that is not.
 */
#include "driver/mysql_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define CONTROL_TIMEOUT_S 5
#define GRACE_US          INT64_C(10000000) /* for the answer to KILL QUERY */
#define SILENCE_US        INT64_C(20000000) /* after which the server is asked whether it is there */

/* The connection whose call this thread is in. */
static _Thread_local mysql_connection *waiting;

void ormd_mysql_enter(mysql_connection *connection)
{
	connection->give_up_us = 0;
	connection->heard_us = 0;
	waiting = connection;
}

void ormd_mysql_leave(void)
{
	waiting = NULL;
}

void ormd_mysql_forget_interrupt(mysql_connection *connection)
{
	uint64_t count;

	if (atomic_exchange(&connection->interrupted, false))
		(void)!read(connection->interrupt_fd, &count, sizeof count);
}

void ormd_mysql_interrupt(ormd_connection *base)
{
	mysql_connection *connection = mysql_of(base);
	const uint64_t one = 1;

	atomic_store(&connection->interrupted, true);
	(void)!write(connection->interrupt_fd, &one, sizeof one);
}

/* ---- the other connection ----------------------------------------------------------------------------------- */

/* NULL, and the library's number of the failure. */
static MYSQL *dial_control(mysql_connection *connection, unsigned *number)
{
	orm_error ignored;

	return ormd_mysql_dial(&connection->url, connection->host, NULL, CONTROL_TIMEOUT_S, number, &ignored);
}

bool ormd_mysql_kill_query(mysql_connection *connection)
{
	mysql_connection *outer = waiting;
	unsigned number;
	char sql[64];
	bool sent = false;

	if (connection->id == 0)
		return false;
	waiting = NULL; /* for the other connection the library waits by itself */

	MYSQL *control = dial_control(connection, &number);

	if (control) {
		snprintf(sql, sizeof sql, "KILL QUERY %llu", (unsigned long long)connection->id);
		connection->kill_sent = true; /* even if the answer does not come */
		sent = mysql_query(control, sql) == 0;
		mysql_close(control);
	}
	waiting = outer;
	return sent;
}

/* Any answer will do, a refusal as well. */
static bool is_there(mysql_connection *connection)
{
	mysql_connection *outer = waiting;
	unsigned number = 0;

	waiting = NULL;

	MYSQL *control = dial_control(connection, &number);

	mysql_close(control);
	waiting = outer;
	return control || !ormd_mysql_is_lost(number);
}

/* ---- the wait ----------------------------------------------------------------------------------------------- */

static bool is_late(const mysql_connection *connection, int64_t now_us)
{
	return connection->base.deadline_us && now_us >= connection->base.deadline_us;
}

/* Why what runs should be stopped now; ORM_OK: it should not. */
static orm_status reason_to_stop(mysql_connection *connection, int64_t now_us)
{
	if (is_late(connection, now_us))
		return ORM_ETIMEOUT;
	return !connection->committing && atomic_load(&connection->interrupted) ? ORM_ECANCELLED : ORM_OK;
}

/* False: there is nothing to wait for any more. A commit is not stopped: it would be left open how it ended. */
static bool stop(mysql_connection *connection, orm_status reason, int64_t now_us)
{
	connection->stopped = reason;
	connection->give_up_us = now_us + GRACE_US;
	return !connection->committing && connection->id != 0 && ormd_mysql_kill_query(connection);
}

/* When to look again if nothing comes; microseconds. */
static int64_t next_look(const mysql_connection *connection)
{
	int64_t next_us = connection->heard_us + SILENCE_US;

	if (connection->give_up_us) /* a stop is under way */
		return connection->give_up_us < next_us ? connection->give_up_us : next_us;
	if (connection->base.deadline_us && connection->base.deadline_us < next_us)
		next_us = connection->base.deadline_us;
	return next_us;
}

static int poll_ms(int64_t us)
{
	const int64_t left_us = us - orm_clock_us();

	return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

static int wait_for(mysql_connection *connection, my_socket handle, bool is_read)
{
	connection->heard_us = orm_clock_us();
	for (;;) {
		const bool stopping = connection->give_up_us != 0;
		struct pollfd fds[] = {
			{.fd = handle, .events = is_read ? POLLIN : POLLOUT},
			{.fd = stopping || connection->committing ? -1 : connection->interrupt_fd, .events = POLLIN},
		};
		const int n = poll(fds, 2, poll_ms(next_look(connection)));

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0 && fds[0].revents)
			return 1;

		const int64_t now_us = orm_clock_us();
		const orm_status reason = stopping ? ORM_OK : reason_to_stop(connection, now_us);

		if (reason != ORM_OK && !stop(connection, reason, now_us))
			break;
		if (stopping && now_us >= connection->give_up_us)
			break;
		if (now_us >= connection->heard_us + SILENCE_US) {
			if (connection->id != 0 && !is_there(connection))
				break;
			connection->heard_us = orm_clock_us();
		}
	}
	errno = ETIMEDOUT;
	return 0;
}

/* Outside a call of the driver's own (a connection that is being closed) the library's limit holds. */
int ormd_mysql_io_wait(my_socket handle, my_bool is_read, int timeout_ms)
{
	struct pollfd fd = {.fd = handle, .events = is_read ? POLLIN : POLLOUT};
	int n;

	if (waiting)
		return wait_for(waiting, handle, is_read);
	do
		n = poll(&fd, 1, timeout_ms > 0 ? timeout_ms : -1);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n;
}
