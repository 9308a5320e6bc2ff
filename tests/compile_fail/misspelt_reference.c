/* error: no member named .ide */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_COLUMN(Post, user_id), .references = ORM_KEY(User, ide) },
};
