/* SPDX-License-Identifier: MIT */
/*
 * The cheat sheet as a program: every step of SQLAlchemy's one-page tour, in C.
 *
 *   blog [URL]        default: sqlite:///mydb.db
 */
#include <stdio.h>
#include <orm.h>

/* ---- declare: a struct, and a table of its fields ---- */

ORM_DECLARE(User);
ORM_DECLARE(Post);

struct User {
	int64_t      id;
	const char  *name;
	const char  *email;
	int32_t      logins;
	double       rating;
	bool         active;
	orm_opt_date born;
	orm_datetime joined;
	const char  *bio;
	Post_list    posts;
};

struct Post {
	int64_t     id;
	const char *title;
	const char *body;
	int64_t     user_id;
	User       *author;
};

static const orm_field User_fields[] = {
	{ ORM_COLUMN(User, id),      .primary_key = true },
	{ ORM_COLUMN(User, name),    .max_length = 50 },
	{ ORM_COLUMN(User, email),   .max_length = 100, .unique = true },
	{ ORM_COLUMN(User, logins) },
	{ ORM_COLUMN(User, rating) },
	{ ORM_COLUMN(User, active) },
	{ ORM_COLUMN(User, born) },
	{ ORM_COLUMN(User, joined),  .server_default = ORM_NOW },
	{ ORM_COLUMN(User, bio),     .nullable = true },
	{ ORM_RELATIONSHIP(User, posts, Post, author) },
};
ORM_MODEL(User, "users", User_fields);

static const orm_field Post_fields[] = {
	{ ORM_COLUMN(Post, id),      .primary_key = true },
	{ ORM_COLUMN(Post, title),   .max_length = 200 },
	{ ORM_COLUMN(Post, body),    .nullable = true },
	{ ORM_COLUMN(Post, user_id), .references = ORM_KEY(User, id), .on_delete = ORM_CASCADE },
	{ ORM_RELATIONSHIP(Post, author, User, posts) },
};
ORM_MODEL(Post, "posts", Post_fields);

static const orm_model *const models[] = { &User_model, &Post_model, NULL };

/* ---- add, all, filter, by primary key ---- */

static void add_and_find(orm_session *s)
{
	orm_date born;
	orm_date_from_ymd(1815, 12, 10, &born);
	User *ada = orm_add(s, User, .name = "Ada", .email = "ada@example.com", .rating = 4.5, .active = true, .born = { true, born });
	User *alan = orm_add(s, User, .name = "Alan", .email = "alan@example.com", .logins = 3);
	orm_commit(s);
	printf("added %s as %lld and %s as %lld\n", ada->name, (long long)ada->id, alan->name, (long long)alan->id);
	printf("joined was set by the database: %s\n", ada->joined.us > 0 ? "yes" : "no");

	User_list users = orm_all(s, User);
	printf("%zu users:", users.len);
	for (size_t i = 0; i < users.len; i++)
		printf(" %s", users.items[i]->name);
	printf("\n");

	User *found = orm_first(s, User, .name = "Ada");
	printf("by name: %s <%s>, the same object: %s\n", found->name, found->email, found == ada ? "yes" : "no");
	found = orm_get(s, User, alan->id);
	printf("by primary key: %s\n", found->name);
}

/* ---- queries beyond equality ---- */

static void query(orm_session *s)
{
	orm_query *q = orm_select(s, User);
	orm_where(q, User, email, ORM_LIKE, "%@example.com");
	orm_where(q, User, logins, ORM_GE, 1);
	orm_order_by_desc(q, User, name);
	orm_limit(q, 10);
	User_list active = orm_query_all(q, User);
	printf("logged in before: %zu, first %s\n", active.len, active.len ? active.items[0]->name : "nobody");
	printf("born unknown: %lld; anybody called Grace: %s\n", (long long)orm_count(s, User, .born = { .has = false }),
	       orm_exists(s, User, .name = "Grace") ? "yes" : "no");
}

/* ---- relationships, both sides ---- */

static void relate(orm_session *s)
{
	User *ada = orm_first(s, User, .name = "Ada");
	User *alan = orm_first(s, User, .name = "Alan");
	orm_load(s, ada, &ada->posts);
	orm_load(s, alan, &alan->posts);
	Post *notes = orm_add(s, Post, .title = "Notes on the Analytical Engine", .author = ada);
	Post *paper = orm_add(s, Post, .title = "On Computable Numbers", .author = ada); /* a mistake */
	printf("Ada has %zu posts\n", ada->posts.len);
	orm_link(s, paper, &paper->author, alan);
	printf("after setting the author: Ada has %zu, Alan has %zu\n", ada->posts.len, alan->posts.len);
	orm_commit(s);
	printf("%s is by user %lld, who is %s\n", notes->title, (long long)notes->user_id, notes->author->name);
}

/* ---- update, undo, delete ---- */

static void change(orm_session *s)
{
	User *ada = orm_first(s, User, .name = "Ada");
	ada->email = "ada@lovelace.example";
	orm_commit(s);
	printf("updated: %s\n", ada->email);

	ada->email = "typo";
	User *nobody = orm_add(s, User, .name = "Nobody", .email = "nobody@example.com");
	orm_rollback(s);
	printf("rolled back: %s; Nobody is %s\n", ada->email, orm_state(s, nobody) == ORM_DETACHED ? "gone" : "there");

	User *again = orm_add(s, User, .name = "Impostor", .email = "alan@example.com");
	if (orm_commit(s) == ORM_ECONSTRAINT)
		printf("refused: %s.%s must be unique\n", orm_session_error(s)->model, orm_session_error(s)->column);
	orm_rollback(s);
	(void)again;

	orm_delete(s, orm_first(s, User, .name = "Alan"));
	orm_commit(s);
	printf("deleted: %lld user, %lld post left\n", (long long)orm_count(s, User), (long long)orm_count(s, Post));
}

int main(int argc, char **argv)
{
	orm_db *db = orm_connect(argc > 1 ? argv[1] : "sqlite:///mydb.db", models);
	orm_drop_all(db);
	orm_create_all(db);
	orm_session *s = orm_session_open(db);
	int          failed = orm_session_error(s)->code < 0;
	if (failed) {
		fprintf(stderr, "blog: %s\n", orm_session_error(s)->message);
	} else {
		add_and_find(s);
		query(s);
		relate(s);
		change(s);
		failed = orm_session_error(s)->code < 0;
		if (failed)
			fprintf(stderr, "blog: %s\n", orm_session_error(s)->message);
	}
	orm_session_close(s);
	orm_drop_all(db);
	orm_disconnect(db);
	return failed;
}
