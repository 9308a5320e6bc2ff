/* SPDX-License-Identifier: MIT */
#include "client/models.h"

static const orm_field User_fields[] = {
	{ORM_COLUMN(User, id), .primary_key = true},
	{ORM_COLUMN(User, name), .max_length = 50},
	{ORM_COLUMN(User, email), .nullable = true, .unique = true},
	{ORM_COLUMN(User, age)},
	{ORM_COLUMN(User, score)},
	{ORM_COLUMN(User, active)},
	{ORM_RELATIONSHIP(User, posts, Post, author)},
};
ORM_MODEL(User, "users", User_fields);

static const orm_field Post_fields[] = {
	{ORM_COLUMN(Post, id), .primary_key = true},
	{ORM_COLUMN(Post, title), .max_length = 200},
	{ORM_COLUMN(Post, published)},
	{ORM_COLUMN(Post, day)},
	{ORM_COLUMN(Post, at)},
	{ORM_COLUMN(Post, picture), .nullable = true},
	{ORM_COLUMN(Post, user_id), .references = ORM_KEY(User, id)},
	{ORM_RELATIONSHIP(Post, author, User, posts)},
};
ORM_MODEL(Post, "posts", Post_fields);

static const orm_field Line_fields[] = {
	{ORM_COLUMN(Line, order_id), .primary_key = true},
	{ORM_COLUMN(Line, number), .primary_key = true},
	{ORM_COLUMN(Line, price)},
};
ORM_MODEL(Line, "lines", Line_fields);

const orm_model *const test_models[] = {&User_model, &Post_model, &Line_model, NULL};
