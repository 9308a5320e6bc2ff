/* error: (incompatible type|passing 'double') */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	orm_where(q, Post, price, ORM_EQ, 12.5);
	return 0;
}
