/* error: no member named .autor */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_RELATIONSHIP(User, posts, Post, autor) },
};
