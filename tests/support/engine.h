/* SPDX-License-Identifier: MIT */
/*
 * The database engine that a test runs on. ormd_add_test(... ENGINES) registers a test once for each; which one it is,
 * the environment says: ORMD_TEST_ENGINE=sqlite (the default), postgresql or mariadb.
 *
 * The servers are the packaged ones. ctest starts one of each for its run (the fixtures engine_postgresql and
 * engine_mariadb, see engine_servers.c); a test that is run alone starts its own, which ends with it. Every test makes
 * databases of its own there. Tests that kill servers use postgresql.h, mariadb.h and galera.h instead.
 */
#ifndef SUPPORT_ENGINE_H
#define SUPPORT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "support/tempdir.h"

#define ENGINE_URL_SIZE (SUPPORT_PATH_SIZE + 16)

typedef enum test_engine { ENGINE_SQLITE, ENGINE_POSTGRESQL, ENGINE_MARIADB, N_ENGINES } test_engine;

test_engine engine_under_test(void);
const char *engine_name(test_engine engine);
test_engine engine_of(const char *url);

/* The URL of a new, empty database: of the engine under test, or of the one given. It is dropped at the end. */
void engine_fresh_url(char url[ENGINE_URL_SIZE]);
void engine_database(test_engine engine, char url[ENGINE_URL_SIZE]);
/* Drop it before the end, whoever is connected. */
void engine_drop(const char *url);

/*
 * As another program, over the bare library: statements, separated by semicolons, that must succeed. On every engine
 * "double quotes" are around identifiers, and 'single quotes' around text; what differs otherwise is the caller's
 * affair.
 */
void engine_run(const char *url, const char *sql);
/* The rows of its result: "1|a;2|NULL". Booleans are 1 and 0. Of several statements one only may have a result. Owned
 * (free()). */
char *engine_ask(const char *url, const char *sql);
int64_t engine_ask_number(const char *url, const char *sql); /* the first cell; it must be there, and be an integer */
/* The same for statements that may fail: then false, and `answer`, owned as well, is the engine's message. */
bool engine_try(const char *url, const char *sql, char **answer);

/*
 * Wait until nobody else is connected to the database: the engine may still be busy with what a killed program sent it.
 * On SQLite nothing outlives its program.
 */
void engine_wait_alone(const char *url);

/* SQL written as for engine_run, as this engine itself wants it: "name" becomes `name` for MariaDB. Owned (free()). */
char *engine_sql(test_engine engine, const char *sql);

#endif
