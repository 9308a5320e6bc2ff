/* SPDX-License-Identifier: MIT */
/* The bare libraries, for engine.c. Servers' connections are kept from one call to the next, with their settings. */
#ifndef SUPPORT_ENGINE_BARE_H
#define SUPPORT_ENGINE_BARE_H

#include <stdbool.h>

#include "base/buffer.h"

/* The rows of the last statement that has any, appended to `answer`; or false, and the engine's message there. */
typedef bool engine_bare(const char *url, const char *sql, orm_buffer *answer);

engine_bare engine_bare_sqlite;
engine_bare engine_bare_postgresql;
engine_bare engine_bare_mariadb;

#endif
