/* SPDX-License-Identifier: MIT */
/* Statements that are stopped, connections that are lost, servers that stand still, end and come back. */
#include "driver/mysql_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver/mysql_internal.h"
#include "support/eventually.h"
#include "support/mariadb.h"

static const char sleep_long[] = "SELECT sleep(300)";
static const char hold_lock[] = "UPDATE items SET name = 'held' WHERE id = 1";

static ormd_connection *must_open(const char *url)
{
	const ormd_open_options options = {.url = url, .create = true};
	orm_error error;
	ormd_connection *c = ormd_driver_mysql.open(&options, &error);

	if (!c)
		fail_msg("%s", error.message);
	return c;
}

/* Is a session busy with a statement that starts like this? */
static bool runs(void *context)
{
	char sql[256];

	snprintf(sql, sizeof sql,
		 "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%.20s%%' AND ID <> "
		 "CONNECTION_ID()",
		 (const char *)context);

	char *answer = mysql_ask(sql);
	const bool is_running = strcmp(answer, "0") != 0;

	free(answer);
	return is_running;
}

static void await_running(const char *sql)
{
	assert_true(support_eventually(runs, (void *)(uintptr_t)sql, SUPPORT_PATIENCE_MS));
}

/* ---- stopping ------------------------------------------------------------------------------------------------ */

static void *interrupt_when_it_runs(void *context)
{
	ormd_connection *c = context;

	await_running(sleep_long);
	c->driver->interrupt(c);
	return NULL;
}

static void a_statement_is_interrupted(void **state)
{
	ormd_connection *c = mysql_open();
	pthread_t thread;
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('kept')");
	assert_int_equal(pthread_create(&thread, NULL, interrupt_when_it_runs, c), 0);
	assert_int_equal(c->driver->run(c, sleep_long, &error), ORM_ECANCELLED);
	pthread_join(thread, NULL);
	assert_false(c->lost);
	assert_true(c->driver->in_transaction(c));
	assert_int_equal(c->driver->commit(c, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 1);
	/* One that comes when nothing runs is forgotten. */
	c->driver->interrupt(c);
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	c->driver->close(c);
}

static void a_result_is_interrupted_between_its_pieces(void **state)
{
	static const uint8_t type = ORM_INT64;
	static const uint16_t column = 0;
	ormd_connection *c = mysql_open();
	orm_batch_builder builder;
	orm_error error;
	size_t n;
	bool done;
	ormd_cursor *cursor = c->driver->query(c, "SELECT seq FROM seq_1_to_1000000000", NULL, 0, &type, 1, &error);

	(void)state;
	assert_non_null(cursor);
	assert_true(orm_batch_builder_init(&builder, cell_mapper(), &column, 1));
	assert_int_equal(c->driver->fetch(cursor, &builder, 10, SIZE_MAX, &n, &done, &error), ORM_OK);
	c->driver->interrupt(c);
	assert_int_equal(c->driver->fetch(cursor, &builder, 10, SIZE_MAX, &n, &done, &error), ORM_ECANCELLED);
	c->driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	c->driver->close(c);
}

static void the_deadline_stops_what_runs(void **state)
{
	ormd_connection *holder = mysql_open();
	ormd_connection *c = mysql_open_again(false);
	orm_error error;

	(void)state;
	run_sql(holder, "INSERT INTO items (name) VALUES ('one')");
	assert_int_equal(holder->driver->begin(holder, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(holder, hold_lock);

	c->deadline_us = orm_deadline_in_ms(50);
	assert_int_equal(c->driver->run(c, sleep_long, &error), ORM_ETIMEOUT);
	assert_non_null(strstr(error.message, "deadline"));
	assert_false(c->lost);
	/* Past it nothing is sent, and what is open can still be undone. */
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_ETIMEOUT);
	c->deadline_us = 0;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('undone')");
	c->deadline_us = orm_deadline_in_ms(50);
	assert_int_equal(c->driver->run(c, hold_lock, &error), ORM_ETIMEOUT);
	assert_int_equal(c->driver->commit(c, &error), ORM_ETIMEOUT); /* not sent: nothing is in doubt */
	assert_false(c->driver->in_transaction(c));
	assert_false(c->lost);
	c->deadline_us = 0;
	holder->driver->rollback(holder);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 1);
	c->driver->close(c);
	holder->driver->close(holder);
}

/* A KILL QUERY that comes too late for its statement does not hit the next one. */
static void a_late_kill_hits_nothing(void **state)
{
	ormd_connection *c = mysql_open();

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(ormd_mysql_kill_query(mysql_of(c)));
		assert_int_equal(ask_int64(c, "SELECT 7 + sleep(0.01)"), 7);
	}
	c->driver->close(c);
}

static void somebody_else_s_kill_query_is_told(void **state)
{
	ormd_connection *c = mysql_open();
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->run(c, "KILL QUERY CONNECTION_ID()", &error), ORM_ECANCELLED);
	assert_non_null(strstr(error.message, "somebody else"));
	assert_int_equal(ask_int64(c, "SELECT 7"), 7);
	c->driver->close(c);
}

/* ---- sessions that end ---------------------------------------------------------------------------------------- */

static void kill_session(ormd_connection *by, ormd_connection *c)
{
	char sql[64];

	snprintf(sql, sizeof sql, "KILL %llu", (unsigned long long)mysql_of(c)->id);
	run_sql(by, sql);
}

static void a_lost_connection_before_the_commit_is_unavailable(void **state)
{
	ormd_connection *other = mysql_open();
	ormd_connection *c = mysql_open_again(false);
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('lost')");
	kill_session(other, c);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_EUNAVAILABLE);
	assert_true(c->lost);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(c->driver->commit(c, &error), ORM_EUNAVAILABLE);
	c->driver->rollback(c);
	assert_false(c->driver->is_alive(c));
	assert_int_equal(c->driver->end_backend(other, c->backend, &error), ORM_OK);
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM items"), 0);
	c->driver->close(c);

	c = mysql_open_again(false);
	kill_session(other, c);
	assert_false(c->driver->is_alive(c));
	assert_true(c->lost);
	c->driver->close(c);
	other->driver->close(other);
}

static void a_lost_connection_during_the_commit_leaves_doubt(void **state)
{
	ormd_connection *other = mysql_open();
	ormd_connection *c = mysql_open_again(false);
	orm_error error;

	(void)state;
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('in doubt')");
	kill_session(other, c); /* COMMIT is sent, and not answered */
	assert_int_equal(c->driver->commit(c, &error), ORM_EUNKNOWN);
	assert_true(c->lost);
	assert_false(c->driver->in_transaction(c));
	assert_int_equal(c->driver->end_backend(other, c->backend, &error), ORM_OK);
	c->driver->close(c);
	other->driver->close(other);
}

typedef struct sleeper {
	ormd_connection *c;
	orm_status status;
} sleeper;

static void *sleep_in_transaction(void *context)
{
	sleeper *s = context;

	s->status = s->c->driver->run(s->c, sleep_long, NULL);
	return NULL;
}

/* What a session of ours still does is ended, and has been when the call returns. */
static void a_session_s_work_is_ended(void **state)
{
	ormd_connection *other = mysql_open();
	sleeper s = {.c = mysql_open_again(false)};
	pthread_t thread;
	orm_error error;

	(void)state;
	run_sql(other, "INSERT INTO items (name) VALUES ('one')");
	assert_int_equal(s.c->driver->begin(s.c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(s.c, hold_lock);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_transaction, &s), 0);
	await_running(sleep_long);
	if (other->driver->end_backend(other, s.c->backend, &error) != ORM_OK)
		fail_msg("%s", error.message);
	run_sql(other, "SET SESSION innodb_lock_wait_timeout = 0; UPDATE items SET name = 'free' WHERE id = 1");
	pthread_join(thread, NULL);
	assert_int_equal(s.status, ORM_EUNAVAILABLE);
	/* Once more, and for what is not of this server: nothing to do. */
	assert_int_equal(other->driver->end_backend(other, s.c->backend, &error), ORM_OK);
	assert_int_equal(other->driver->end_backend(other, "0123456789abcdef/1", &error), ORM_OK);
	assert_int_equal(other->driver->end_backend(other, "", &error), ORM_OK);
	assert_int_equal(other->driver->end_backend(other, other->backend, &error), ORM_OK); /* its own session stays */
	assert_int_equal(ask_int64(other, "SELECT 7"), 7);
	s.c->driver->close(s.c);
	other->driver->close(other);
}

/* ---- servers that end ----------------------------------------------------------------------------------------- */

static void a_server_started_anew_is_another(void **state)
{
	support_mariadb server;
	char url[SUPPORT_PATH_SIZE];
	char backend[ORMD_BACKEND_SIZE];
	ormd_connection *c;
	orm_error error;

	(void)state;
	support_mariadb_start(&server);
	support_mariadb_url(&server, "shop", url);
	c = must_open(url);
	snprintf(backend, sizeof backend, "%s", c->backend);
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	support_mariadb_kill(&server);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_EUNAVAILABLE);
	assert_true(c->lost);
	c->driver->close(c);
	sleep(2); /* a server tells since when it runs in whole seconds */
	support_mariadb_restart(&server);
	c = must_open(url);
	assert_true(strncmp(backend, c->backend, 17) != 0);
	assert_int_equal(c->driver->end_backend(c, backend, &error), ORM_OK);
	c->driver->close(c);
	support_mariadb_remove(&server);
}

/* It takes the statement, and never answers: at the deadline the connection is given up. */
static void a_server_that_stands_still_is_given_up(void **state)
{
	support_mariadb server;
	char url[SUPPORT_PATH_SIZE];
	ormd_connection *c;
	ormd_connection *committing;
	orm_error error;

	(void)state;
	support_mariadb_start(&server);
	support_mariadb_url(&server, "shop", url);
	c = must_open(url);
	committing = must_open(url);
	assert_int_equal(committing->driver->begin(committing, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	support_mariadb_freeze(&server);
	c->deadline_us = orm_deadline_in_ms(50);
	assert_int_equal(c->driver->run(c, sleep_long, &error), ORM_ETIMEOUT); /* it stops soon, not at once */
	assert_true(c->lost);
	assert_int_equal(c->driver->run(c, "SELECT 1", &error), ORM_EUNAVAILABLE);
	committing->deadline_us = orm_deadline_in_ms(50);
	assert_int_equal(committing->driver->commit(committing, &error), ORM_EUNKNOWN);
	assert_true(committing->lost);
	c->driver->close(c);
	committing->driver->close(committing);
	support_mariadb_thaw(&server);
	support_mariadb_remove(&server);
}

static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof address;
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void hosts_are_tried_in_order(void **state)
{
	const unsigned dead = free_port();
	const unsigned ports[] = {free_port(), free_port()};
	support_mariadb servers[2];
	char url[SUPPORT_PATH_SIZE];
	ormd_open_options options = {.url = url, .create = true};
	ormd_connection *c;
	orm_error error;

	(void)state;
	for (int i = 0; i < 2; i++) {
		char port[32];
		const char *const server_options[] = {"--skip-networking=0", "--bind-address=127.0.0.1", port, NULL};

		snprintf(port, sizeof port, "--port=%u", ports[i]);
		support_mariadb_make(&servers[i]);
		servers[i].options = server_options;
		support_mariadb_restart(&servers[i]);
		servers[i].options = NULL;
		support_mariadb_url(&servers[i], "", url);
		engine_run(url, "CREATE USER ormd IDENTIFIED BY 'p@ss'");
		engine_run(url, "GRANT ALL ON *.* TO ormd");
		if (i == 0)
			engine_run(url, "SET GLOBAL read_only = 1");
	}
	snprintf(url, sizeof url, "mysql://ormd:p%%40ss@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/shop", dead, ports[0],
		 ports[1]);

	/* The first is away, the second only a copy. */
	options.create = true;
	c = ormd_driver_mysql.open(&options, &error);
	if (!c)
		fail_msg("%s", error.message);
	assert_int_equal(ask_int64(c, "SELECT @@port"), ports[1]);
	c->driver->close(c);

	/* Who only reads may have the copy, and has it if it is the only one. */
	support_mariadb_stop(&servers[1]);
	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_EUNAVAILABLE);
	snprintf(url, sizeof url, "mysql://ormd:p%%40ss@127.0.0.1:%u,127.0.0.1:%u/mysql", ports[0], ports[1]);
	options = (ormd_open_options){.url = url, .read_only = true, .replica = true};
	c = ormd_driver_mysql.open(&options, &error);
	if (!c)
		fail_msg("%s", error.message);
	assert_int_equal(ask_int64(c, "SELECT @@port"), ports[0]);
	c->driver->close(c);
	support_mariadb_remove(&servers[0]);
	support_mariadb_remove(&servers[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_statement_is_interrupted),
		cmocka_unit_test(a_result_is_interrupted_between_its_pieces),
		cmocka_unit_test(the_deadline_stops_what_runs),
		cmocka_unit_test(a_late_kill_hits_nothing),
		cmocka_unit_test(somebody_else_s_kill_query_is_told),
		cmocka_unit_test(a_lost_connection_before_the_commit_is_unavailable),
		cmocka_unit_test(a_lost_connection_during_the_commit_leaves_doubt),
		cmocka_unit_test(a_session_s_work_is_ended),
		cmocka_unit_test(a_server_started_anew_is_another),
		cmocka_unit_test(a_server_that_stands_still_is_given_up),
		cmocka_unit_test(hosts_are_tried_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
