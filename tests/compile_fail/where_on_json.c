/* error: (not compatible with any (generic )?association|_Generic|no association) */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	orm_where(q, Post, details, ORM_EQ, ((orm_json){ "{}" }));
	return 0;
}
