/* SPDX-License-Identifier: MIT */
#include "support/engine_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/eventually.h"

static bool find_path(test_engine engine, char path[SUPPORT_PATH_SIZE])
{
	const char *directory = getenv("ORMD_TEST_ENGINES");
	char name[32];

	if (!directory)
		return false;
	snprintf(name, sizeof name, "%s.place", engine_name(engine));
	support_join(path, directory, name);
	return true;
}

bool engine_place_read(test_engine engine, engine_place *place)
{
	char path[SUPPORT_PATH_SIZE];
	FILE *file = find_path(engine, path) ? fopen(path, "re") : NULL;

	if (!file)
		return false;

	const bool whole = fscanf(file, "%ld %ld %255[^\n]", &place->keeper, &place->starter, place->directory) == 3;

	fclose(file);
	return whole;
}

void engine_place_write(test_engine engine, const engine_place *place)
{
	char path[SUPPORT_PATH_SIZE];
	char text[SUPPORT_PATH_SIZE + 64];

	if (!find_path(engine, path))
		support_die("ORMD_TEST_ENGINES is not set; run this through ctest");
	snprintf(text, sizeof text, "%ld %ld %s\n", place->keeper, place->starter, place->directory);
	support_write_file(path, text, strlen(text));
}

void engine_place_remove(test_engine engine)
{
	char path[SUPPORT_PATH_SIZE];

	if (find_path(engine, path) && unlink(path) != 0 && errno != ENOENT)
		support_die("cannot remove %s: %s", path, strerror(errno));
}
