/* SPDX-License-Identifier: MIT */
/* What the PostgreSQL driver's tests share: a fresh database each, and questions to it over a second connection. */
#ifndef TESTS_DRIVER_POSTGRESQL_SUPPORT_H
#define TESTS_DRIVER_POSTGRESQL_SUPPORT_H

#include "driver/support.h"
#include "support/engine.h"

/* A connection to a new, empty database of the server that ctest started. `url` (may be NULL) gets its URL. */
ormd_connection *open_fresh(char url[ENGINE_URL_SIZE]);
ormd_connection *open_again(const char *url, bool read_only);

/* Statuses and messages as they must be; else the test fails with the message. */
void expect_ok(orm_status status, const orm_error *error);
void expect_write(ormd_connection *connection, ormd_write *write);

int64_t backend_pid(const ormd_connection *connection);

#endif
