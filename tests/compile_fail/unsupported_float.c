/* error: float.*not compatible with any */
/* SPDX-License-Identifier: MIT */
#include "models.h"

struct Point {
	int64_t id;
	float   x;
};

const orm_field Point_fields[] = {
	{ ORM_COLUMN(struct Point, x) },
};
