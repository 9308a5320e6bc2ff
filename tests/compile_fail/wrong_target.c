/* error: not compatible with any */
/* SPDX-License-Identifier: MIT */
#include "models.h"

const orm_field User_fields[] = {
	{ ORM_RELATIONSHIP_ONE_WAY(Post, author, Line) },
};
