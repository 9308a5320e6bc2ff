/* error: no member named .post */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	User_list users = orm_all(s, User);
	orm_load_each(s, users, User, post);
	return 0;
}
