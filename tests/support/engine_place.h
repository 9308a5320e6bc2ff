/* SPDX-License-Identifier: MIT */
/* Where the servers are that ctest started for its run: a file for each in $ORMD_TEST_ENGINES. */
#ifndef SUPPORT_ENGINE_PLACE_H
#define SUPPORT_ENGINE_PLACE_H

#include <stdbool.h>

#include "support/engine.h"

typedef struct engine_place {
	long keeper;  /* the process that watches over the server */
	long starter; /* for whom it was started, and with whom it ends: ctest */
	char directory[SUPPORT_PATH_SIZE];
} engine_place;

/* False if there is none. */
bool engine_place_read(test_engine engine, engine_place *place);
void engine_place_write(test_engine engine, const engine_place *place);
void engine_place_remove(test_engine engine);

#endif
