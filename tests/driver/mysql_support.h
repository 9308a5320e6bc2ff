/* SPDX-License-Identifier: MIT */
/* What the MariaDB driver's tests share: a database of the test's own, and connections to it. */
#ifndef TESTS_DRIVER_MYSQL_SUPPORT_H
#define TESTS_DRIVER_MYSQL_SUPPORT_H

#include "driver/support.h"

/* A new database on ctest's MariaDB, or on one of this program's own. Borrowed, good until the next call. */
const char *mysql_fresh_url(void);

/* A connection to a new database, with the tables of "Cell" and "Item". */
ormd_connection *mysql_open(void);
ormd_connection *mysql_open_again(bool read_only); /* to the same */

/* The tables as the dialect makes them. */
void mysql_create_all(ormd_connection *connection, const orm_registry *registry);
void mysql_drop_all(ormd_connection *connection, const orm_registry *registry);

/* A statement of sql/compile.h for all columns of the mapper, or those from `first` on. Owned by the buffer. */
void mysql_insert_sql(orm_buffer *sql, const orm_mapper *mapper, uint16_t first, bool returning_key);

/* Rows of numbers: "1,2;3,NULL". Owned (free()). */
char *mysql_ask(const char *sql);

#endif
