/* error: (incompatible type|incompatible pointer to integer|integer from pointer) */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	orm_where(q, User, age, ORM_GE, "18");
	return 0;
}
