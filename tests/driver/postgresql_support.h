/* SPDX-License-Identifier: MIT */
/* What the PostgreSQL driver's tests share: a fresh database each, and questions to it over a second connection. */
#ifndef TESTS_DRIVER_POSTGRESQL_SUPPORT_H
#define TESTS_DRIVER_POSTGRESQL_SUPPORT_H

#include "driver/support.h"
#include "sql/ddl.h"
#include "support/engine.h"

/* A connection to a new, empty database of the server that ctest started. `url` (may be NULL) gets its URL. */
ormd_connection *open_fresh(char url[ENGINE_URL_SIZE]);
ormd_connection *open_again(const char *url, bool read_only);

/* Statuses and messages as they must be; else the test fails with the message. */
void expect_ok(orm_status status, const orm_error *error);
void expect_write(ormd_connection *connection, ormd_write *write);

/* CREATE for all models of the registry, in the dialect. */
void create_tables(ormd_connection *connection, const orm_registry *registry);

orm_value typed(orm_type type, int64_t integer);

/* The rows of a query over this connection, "1 'a'; 2 NULL", read as these types. Owned (free()). */
char *ask_text(ormd_connection *connection, const char *sql, const uint8_t *types, size_t n_types);
void expect_answer(ormd_connection *connection, const char *sql, const uint8_t *types, size_t n_types,
		   const char *expected);

int64_t backend_pid(const ormd_connection *connection);

#endif
