/* error: no member named .author_ide */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_RELATIONSHIP(Post, author, User, posts), .via = ORM_NAME(Post, author_ide) },
};
