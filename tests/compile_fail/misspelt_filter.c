/* error: (no member named .nmae|.nmae. does not refer) */
/* SPDX-License-Identifier: MIT */
#include "models.h"

int mistake(orm_session *s, User *user, Post *post, orm_query *q);
int mistake(orm_session *s, User *user, Post *post, orm_query *q)
{
	(void)s, (void)user, (void)post, (void)q;
	user = orm_first(s, User, .nmae = "Alice");
	return 0;
}
