/* SPDX-License-Identifier: MIT */
#include "models.h"

static const orm_field User_fields[] = {
	{ ORM_COLUMN(User, id),     .primary_key = true },
	{ ORM_COLUMN(User, name),   .max_length = 50, .index = true },
	{ ORM_COLUMN(User, email),  .nullable = true, .unique = true },
	{ ORM_COLUMN(User, age) },
	{ ORM_COLUMN(User, score),  .server_default = "0" },
	{ ORM_COLUMN(User, active), .check = "active in (0, 1)" },
	{ ORM_RELATIONSHIP(User, posts, Post, author) },
};
ORM_MODEL(User, "users", User_fields);

static const orm_field Post_fields[] = {
	{ ORM_COLUMN(Post, id),        .primary_key = true },
	{ ORM_COLUMN(Post, title),     .max_length = 200 },
	{ ORM_COLUMN(Post, published), .server_default = ORM_NOW },
	{ ORM_COLUMN(Post, day) },
	{ ORM_COLUMN(Post, picture),   .nullable = true },
	{ ORM_COLUMN(Post, price),     .precision = 10, .scale = 2 },
	{ ORM_COLUMN(Post, token),     .unique = true },
	{ ORM_COLUMN(Post, previous) },
	{ ORM_COLUMN(Post, details),   .nullable = true },
	{ ORM_COLUMN(Post, user_id),   .references = ORM_KEY(User, id), .on_delete = ORM_CASCADE },
	{ ORM_RELATIONSHIP(Post, author, User, posts), .via = ORM_NAME(Post, user_id) },
};
ORM_MODEL(Post, "posts", Post_fields);

static const orm_field Line_fields[] = {
	{ ORM_COLUMN(Line, order_id), .primary_key = true },
	{ ORM_COLUMN(Line, number),   .primary_key = true },
	{ ORM_RELATIONSHIP_ONE_WAY(Line, buyer, User) },
};
ORM_MODEL(Line, "lines", Line_fields);

static int64_t use(orm_session *s)
{
	User *alice = orm_add(s, User, .name = "Alice", .email = "alice@example.com", .age = { true, 30 });
	Post *post = orm_add(s, Post, .title = "Hello", .published.has = true, .published.value.us = 5, .author = alice);

	User *user = orm_first(s, User);
	user = orm_first(s, User, .name = "Alice");
	user = orm_first(s, User, .name = "Alice", .email = NULL, .age = { .has = true, .value = 3 });
	user = orm_get(s, User, 1);
	Line *line = orm_get(s, Line, user->id, 3);
	User_list users = orm_all(s, User);
	users = orm_all(s, User, .active = true);
	int64_t n = orm_count(s, User) + orm_count(s, Post, .author = user);
	if (orm_exists(s, Post) && orm_exists(s, Post, .user_id = 1))
		n++;

	orm_load(s, user, &user->posts);
	orm_load_each(s, users, User, posts);
	orm_link(s, post, &post->author, line->buyer);

	const int64_t ids[] = { 1, 2, 3 };
	const int32_t ages[] = { 18 };
	orm_query *q = orm_select(s, User);
	orm_where(q, User, age, ORM_GE, 18);
	orm_where(q, User, score, ORM_LT, 0.5);
	orm_where(q, User, name, ORM_LIKE, "A%");
	orm_where(q, User, active, ORM_EQ, true);
	orm_where_in(q, User, id, ids, 3);
	orm_where_in(q, User, age, ages, 1);
	orm_or(q);
	orm_where_null(q, User, email);
	orm_order_by(q, User, name);
	orm_order_by_desc(q, User, id);
	orm_with(q, User, posts);
	users = orm_query_all(q, User);
	user = orm_query_first(q, User);

	orm_query *p = orm_select(s, Post);
	orm_where(p, Post, published, ORM_LE, ((orm_datetime){ 7 }));
	orm_where(p, Post, day, ORM_EQ, ((orm_date){ 7 }));
	orm_where(p, Post, price, ORM_GT, ((orm_decimal){ "12.5" }));
	orm_where(p, Post, token, ORM_EQ, post->token);
	orm_where(p, Post, previous, ORM_NE, post->token);
	orm_where_null(p, Post, details);
	return n + (int64_t)users.len + user->id;
}

int64_t used(orm_session *s);
int64_t used(orm_session *s)
{
	return use(s);
}
