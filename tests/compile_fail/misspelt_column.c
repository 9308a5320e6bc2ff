/* error: no member named .nmae */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_COLUMN(User, nmae) },
};
