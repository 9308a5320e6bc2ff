/* SPDX-License-Identifier: MIT */
/* The models of the tests that go through a server. */
#ifndef TESTS_CLIENT_MODELS_H
#define TESTS_CLIENT_MODELS_H

#include <orm.h>

ORM_DECLARE(User);
ORM_DECLARE(Post);
ORM_DECLARE(Line);

struct User {
	int64_t id;
	const char *name;
	const char *email;
	orm_opt_int32 age;
	double score;
	bool active;
	Post_list posts;
};

struct Post {
	int64_t id;
	const char *title;
	orm_opt_datetime published;
	orm_date day;
	orm_time at;
	orm_bytes picture;
	orm_opt_int64 user_id;
	User *author;
};

struct Line {
	int64_t order_id;
	int32_t number;
	int64_t price;
};

extern const orm_model *const test_models[]; /* User, Post, Line */

#endif
