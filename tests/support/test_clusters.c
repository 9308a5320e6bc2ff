/* SPDX-License-Identifier: MIT */
/* The servers that failover tests use: they replicate, lose nothing that was acknowledged, and are brought back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/engine.h"
#include "support/eventually.h"
#include "support/galera.h"
#include "support/mariadb.h"
#include "support/postgresql.h"

static void assert_answer(const char *url, const char *sql, const char *expected)
{
	char *answer = engine_ask(url, sql);

	assert_string_equal(answer, expected);
	free(answer);
}

typedef struct question {
	const char *url;
	const char *sql;
	int64_t expected;
} question;

static bool is_answered(void *context)
{
	const question *q = context;
	char *answer;
	const bool is = engine_try(q->url, q->sql, &answer) && atoll(answer) == q->expected;

	free(answer);
	return is;
}

static void assert_eventually(const char *url, const char *sql, int64_t expected)
{
	question q = {url, sql, expected};

	if (!support_eventually(is_answered, &q, SUPPORT_PATIENCE_MS))
		fail_msg("%s at %s does not become %lld", sql, url, (long long)expected);
}

/* ---- PostgreSQL ---------------------------------------------------------------------------------------------- */

static void postgresql_standby_takes_over(void **state)
{
	support_postgresql primary;
	support_postgresql standby;
	support_postgresql next;
	char first[SUPPORT_PATH_SIZE];
	char second[SUPPORT_PATH_SIZE];
	char third[SUPPORT_PATH_SIZE];
	char either[2 * SUPPORT_PATH_SIZE];
	char *message;

	(void)state;
	support_postgresql_start(&primary);
	support_postgresql_url(&primary, "postgres", first);
	engine_run(first, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)");
	support_postgresql_start_standby(&standby, &primary, true);
	support_postgresql_url(&standby, "postgres", second);
	engine_run(first, "INSERT INTO t VALUES (2)");
	assert_eventually(second, "SELECT count(*) FROM t", 2); /* it has it, and shows it soon */
	assert_false(engine_try(second, "INSERT INTO t VALUES (3)", &message));
	assert_non_null(strstr(message, "read-only"));
	free(message);

	support_postgresql_kill(&primary);
	support_postgresql_promote(&standby);
	support_postgresql_stand_alone(&standby);
	snprintf(either, sizeof either, "%s,%s&target_session_attrs=read-write", first, standby.directory);
	assert_int_equal(engine_ask_number(either, "SELECT count(*) FROM t"), 2);
	engine_run(either, "INSERT INTO t VALUES (3)");

	support_postgresql_remove(&primary);
	support_postgresql_start_standby(&next, &standby, true);
	support_postgresql_url(&next, "postgres", third);
	engine_run(second, "INSERT INTO t VALUES (4)");
	assert_eventually(third, "SELECT count(*) FROM t", 4);
	support_postgresql_remove(&next);
	support_postgresql_remove(&standby);
}

static void killed_server_keeps_what_it_acknowledged(void **state)
{
	support_postgresql postgresql;
	support_mariadb mariadb;
	char urls[2][SUPPORT_PATH_SIZE];

	(void)state;
	support_postgresql_start(&postgresql);
	support_postgresql_url(&postgresql, "postgres", urls[0]);
	support_mariadb_start(&mariadb);
	support_mariadb_url(&mariadb, "", urls[1]);
	engine_run(urls[1], "CREATE DATABASE d");
	support_mariadb_url(&mariadb, "d", urls[1]);
	for (int i = 0; i < 2; i++)
		engine_run(urls[i], "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
	support_postgresql_kill(&postgresql);
	support_mariadb_kill(&mariadb);
	support_postgresql_restart(&postgresql);
	support_mariadb_restart(&mariadb);
	for (int i = 0; i < 2; i++)
		assert_answer(urls[i], "SELECT count(*) FROM t", "2");
	support_postgresql_stop(&postgresql);
	support_postgresql_restart(&postgresql);
	support_mariadb_stop(&mariadb);
	support_mariadb_restart(&mariadb);
	for (int i = 0; i < 2; i++)
		assert_answer(urls[i], "SELECT count(*) FROM t", "2");
	support_postgresql_remove(&postgresql);
	support_mariadb_remove(&mariadb);
}

/* ---- Galera -------------------------------------------------------------------------------------------------- */

static void galera_node_is_killed_and_returns(void **state)
{
	static support_galera cluster;
	char urls[SUPPORT_GALERA_NODES][SUPPORT_PATH_SIZE];

	(void)state;
	support_galera_start(&cluster);
	support_galera_url(&cluster, 0, "", urls[0]);
	engine_run(urls[0], "CREATE DATABASE d");
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++)
		support_galera_url(&cluster, i, "d", urls[i]);
	engine_run(urls[0], "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
	assert_answer(urls[1], "SELECT a FROM t", "1");
	engine_run(urls[1], "INSERT INTO t VALUES (2)");

	support_galera_kill(&cluster, 0);
	support_galera_await(&cluster, 1, 2);
	support_galera_await(&cluster, 2, 2);
	assert_answer(urls[2], "SELECT a FROM t ORDER BY a", "1;2");
	engine_run(urls[2], "INSERT INTO t VALUES (3)");
	support_galera_rejoin(&cluster, 0);
	assert_answer(urls[0], "SELECT a FROM t ORDER BY a", "1;2;3");

	support_galera_stop(&cluster, 1);
	support_galera_await(&cluster, 0, 2);
	support_galera_kill(&cluster, 0); /* the last of two is no majority */
	support_galera_await_alone(&cluster, 2);
	support_galera_kill(&cluster, 2);
	support_galera_bootstrap(&cluster, 2);
	support_galera_rejoin(&cluster, 1);
	assert_answer(urls[1], "SELECT a FROM t ORDER BY a", "1;2;3");
	support_galera_remove(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(postgresql_standby_takes_over),
		cmocka_unit_test(killed_server_keeps_what_it_acknowledged),
		cmocka_unit_test(galera_node_is_killed_and_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
