/* SPDX-License-Identifier: MIT */
/* The models that the order desk and the warehouse share. */
#ifndef SHOP_H
#define SHOP_H

#include <orm.h>

ORM_DECLARE(Product);
ORM_DECLARE(Order);
ORM_DECLARE(Line);
ORM_DECLARE(Reservation);

struct Product {
	int64_t     id;
	const char *name;
	int64_t     stock;              /* never below zero: the database checks it too */
	int64_t     version;            /* counted up by every change, from whichever process */
};

struct Order {
	int64_t     id;
	const char *customer;
	Line_list   lines;              /* <-> Line.order */
};

struct Line {
	int64_t          id;
	int64_t          order_id;
	Order           *order;
	int64_t          product_id;
	Product         *product;
	int64_t          quantity;
	Reservation_list reservations;  /* <-> Reservation.line */
};

struct Reservation {
	int64_t      id;
	int64_t      line_id;
	Line        *line;
	int64_t      quantity;
	const char  *shelf;
};

extern const orm_model *const shop_models[];

/* Say what went wrong and return 1 for main. */
int shop_failed(const char *program, const orm_session *s);

#endif
