/* SPDX-License-Identifier: MIT */
#include "shop.h"

#include <stdio.h>

static const orm_field Product_fields[] = {
	{ ORM_COLUMN(Product, id),      .primary_key = true },
	{ ORM_COLUMN(Product, name),    .max_length = 80, .unique = true },
	{ ORM_COLUMN(Product, stock),   .check = "stock >= 0" },
	{ ORM_COLUMN(Product, version), .version = true },
};
ORM_MODEL(Product, "products", Product_fields);

static const orm_field Order_fields[] = {
	{ ORM_COLUMN(Order, id),        .primary_key = true },
	{ ORM_COLUMN(Order, customer),  .max_length = 80 },
	{ ORM_RELATIONSHIP(Order, lines, Line, order) },
};
ORM_MODEL(Order, "orders", Order_fields);

static const orm_field Line_fields[] = {
	{ ORM_COLUMN(Line, id),         .primary_key = true },
	{ ORM_COLUMN(Line, order_id),   .references = ORM_KEY(Order, id), .on_delete = ORM_CASCADE },
	{ ORM_COLUMN(Line, product_id), .references = ORM_KEY(Product, id) },
	{ ORM_COLUMN(Line, quantity),   .check = "quantity > 0" },
	{ ORM_RELATIONSHIP(Line, order, Order, lines) },
	{ ORM_RELATIONSHIP_ONE_WAY(Line, product, Product) },
	{ ORM_RELATIONSHIP(Line, reservations, Reservation, line) },
};
ORM_MODEL(Line, "lines", Line_fields);

static const orm_field Reservation_fields[] = {
	{ ORM_COLUMN(Reservation, id),       .primary_key = true },
	{ ORM_COLUMN(Reservation, line_id),  .references = ORM_KEY(Line, id), .on_delete = ORM_CASCADE },
	{ ORM_COLUMN(Reservation, quantity) },
	{ ORM_COLUMN(Reservation, shelf),    .max_length = 10 },
	{ ORM_RELATIONSHIP(Reservation, line, Line, reservations) },
};
ORM_MODEL(Reservation, "reservations", Reservation_fields);

const orm_model *const shop_models[] = { &Product_model, &Order_model, &Line_model, &Reservation_model, NULL };

int shop_failed(const char *program, const orm_session *s)
{
	fprintf(stderr, "%-10s | %s\n", program, orm_session_error(s)->message);
	return 1;
}
