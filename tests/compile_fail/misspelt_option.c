/* error: (no member named .max_lenght|.max_lenght. does not refer) */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_COLUMN(User, name), .max_lenght = 50 },
};
