/* error: not compatible with any */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	user = orm_get(s, User, post);
	return 0;
}
