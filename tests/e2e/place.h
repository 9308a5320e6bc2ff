/* SPDX-License-Identifier: MIT */
/* A directory, a database of the engine under test and a server of a test's own; the test is a client of it like any other program. */
#ifndef E2E_PLACE_H
#define E2E_PLACE_H

#include <stdint.h>

#include <orm.h>

#include "support/engine.h"
#include "support/server.h"
#include "support/tempdir.h"

typedef struct test_place {
	const char  *directory;
	char         database[SUPPORT_PATH_SIZE]; /* SQLite's file */
	char         url[ENGINE_URL_SIZE];
	support_ormd ormd;                        /* runs, unless the place was only found */
} test_place;

/* cmocka's set-up: an empty database, served. Its tear-down fails if the server does not end cleanly, sanitizers' findings included. */
int place_set_up(void **state);
int place_tear_down(void **state);

/* The same without a server: clients start it ($XDG_RUNTIME_DIR is the directory), and the tear-down ends it. */
int place_set_up_unserved(void **state);
int place_tear_down_unserved(void **state);

/* Who serves the database that clients started a server for; 0 if nobody does. */
pid_t place_server(const test_place *place);
/* Wait for the end of a server that clients started. As support_ormd_stop; -1 when it does not end. */
int place_wait_server(pid_t pid);

/* A size that is smaller where every instruction costs more: `full`, or its part under $E2E_DIVIDE. */
size_t place_scaled(size_t full);

/* What an independent reader finds in the database: the first column of the first row of `sql`; -1 for an SQL error. */
int64_t place_number(const test_place *place, const char *sql);
/* All rows as text, "1|a;2|NULL", at most 255 bytes. Borrowed, until the next call. */
const char *place_text(const test_place *place, const char *sql);
/* SQLite's own check of its file; the other engines look after theirs. */
bool place_is_sound(const test_place *place);

/* Connect, with the tables made; any failure fails the test. */
orm_db *place_connect(const test_place *place, const orm_model *const models[]);

#endif
