/* error: not compatible with any */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_RELATIONSHIP(User, posts, Post, user_id) },
};
