/* error: incompatible pointer type */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	const int64_t ages[] = { 18 };
	orm_where_in(q, User, age, ages, 1);
	return 0;
}
