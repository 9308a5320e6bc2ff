/* SPDX-License-Identifier: MIT */
/* The models that the sources here make their mistakes with. */
#include <orm.h>

ORM_DECLARE(User);
ORM_DECLARE(Post);
ORM_DECLARE(Line);

struct User {
	int64_t        id;
	const char    *name;
	const char    *email;
	orm_opt_int32  age;
	double         score;
	bool           active;
	Post_list      posts;
};

struct Post {
	int64_t          id;
	const char      *title;
	orm_opt_datetime published;
	orm_date         day;
	orm_bytes        picture;
	orm_decimal      price;
	orm_uuid         token;
	orm_opt_uuid     previous;
	orm_json         details;
	int64_t          user_id;
	User            *author;
};

struct Line {
	int64_t order_id;
	int32_t number;
	User   *buyer;
};
