/* SPDX-License-Identifier: MIT */
/* The tutorial of the README: models, a session, a query, a relationship, an update, a delete, a commit. */
#include <stdio.h>
#include <orm.h>

ORM_DECLARE(User);              /* struct User, User_list, User_model: goes in a header */
ORM_DECLARE(Post);

struct User {
	int64_t     id;
	const char *name;
	const char *email;              /* NULL: unknown */
	Post_list   posts;              /* <-> Post.author */
};

struct Post {
	int64_t          id;
	const char      *title;
	orm_opt_datetime published;     /* unset: a draft */
	int64_t          user_id;
	User            *author;        /* <-> User.posts */
};

static const orm_field User_fields[] = {
	{ ORM_COLUMN(User, id),        .primary_key = true },
	{ ORM_COLUMN(User, name),      .max_length = 50, .index = true },
	{ ORM_COLUMN(User, email),     .nullable = true, .unique = true },
	{ ORM_RELATIONSHIP(User, posts, Post, author) },
};
ORM_MODEL(User, "users", User_fields);

static const orm_field Post_fields[] = {
	{ ORM_COLUMN(Post, id),        .primary_key = true },
	{ ORM_COLUMN(Post, title),     .max_length = 200 },
	{ ORM_COLUMN(Post, published) },
	{ ORM_COLUMN(Post, user_id),   .references = ORM_KEY(User, id), .on_delete = ORM_CASCADE },
	{ ORM_RELATIONSHIP(Post, author, User, posts) },
};
ORM_MODEL(Post, "posts", Post_fields);

static void blog(orm_session *s)
{
	/* Create. Nothing travels before the next query, flush or commit. */
	User *alice = orm_add(s, User, .name = "Alice", .email = "alice@example.com");
	orm_add(s, Post, .title = "Hello, world", .author = alice);

	/* Read. One row is one object: user == alice. */
	User *user = orm_first(s, User, .name = "Alice");
	if (!user)
		return;
	orm_load(s, user, &user->posts);
	for (size_t i = 0; i < user->posts.len; i++)
		printf("%s wrote \"%s\"\n", user->name, user->posts.items[i]->title);

	user->email = "alice@new.example";      /* update: assign; the flush finds what differs */
	orm_delete(s, user->posts.items[0]);
}

int main(void)
{
	const orm_model *const models[] = { &User_model, &Post_model, NULL };
	orm_db      *db = orm_connect("sqlite:///blog.db", models);
	orm_session *s  = orm_session_open(db);

	orm_drop_all(db);               /* what an earlier run left */
	orm_create_all(db);
	blog(s);
	if (orm_commit(s) < 0)          /* the first failure since the last commit */
		fprintf(stderr, "blog: %s\n", orm_session_error(s)->message);
	int failed = orm_session_error(s)->code < 0;
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}
