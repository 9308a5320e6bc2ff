/* SPDX-License-Identifier: MIT */
/* A model with a nullable column of every type, and one of each that may not be NULL. */
#ifndef TESTS_MODEL_ALL_TYPES_H
#define TESTS_MODEL_ALL_TYPES_H

#include <string.h>

#include "model/batch.h"

/* Column numbers: the nullable one of a type, and from STRICT on the others, in the same order. */
enum { ID, BOOLS, INT32S, INT64S, DOUBLES, TEXTS, BLOBS, DATES, TIMES, DATETIMES, DECIMALS, UUIDS, JSONS, STRICT };
#define STRICT_OF(column) (STRICT + (column)-1)

static inline orm_registry *all_types_registry(void)
{
	static const char *const names[] = {"id",       "bools",       "int32s",     "int64s",  "doubles",
					    "texts",    "blobs",       "dates",      "times",   "datetimes",
					    "decimals", "uuids",       "jsons",      "s_bools", "s_int32s",
					    "s_int64s", "s_doubles",   "s_texts",    "s_blobs", "s_dates",
					    "s_times",  "s_datetimes", "s_decimals", "s_uuids", "s_jsons"};
	orm_column_spec columns[25];
	orm_error error = {.code = ORM_OK};

	for (int i = 0; i < 25; i++) {
		columns[i] = (orm_column_spec){.name = names[i], .nullable = i > 0 && i < STRICT};
		columns[i].type = i == 0 ? ORM_INT64 : (orm_type)((i - 1) % ORM_TYPE_MAX + 1);
	}
	columns[0].primary_key = true;
	columns[STRICT_OF(TEXTS)].max_length = 3;
	columns[STRICT_OF(BLOBS)].max_length = 3;
	columns[DECIMALS].precision = columns[STRICT_OF(DECIMALS)].precision = 20;
	columns[DECIMALS].scale = columns[STRICT_OF(DECIMALS)].scale = 2;

	const orm_model_spec spec = {.name = "All", .table = "all", .columns = columns, .n_columns = 25};
	orm_registry *registry = orm_registry_new(&spec, 1, &error);

	if (!registry)
		fail_msg("%s", error.message);
	return registry;
}

#endif
