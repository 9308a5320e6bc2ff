/* SPDX-License-Identifier: MIT */
/*
 * The shop's back office.
 *
 *   shop_admin URL setup     make the tables and fill the shelves
 *   shop_admin URL show      say what is in the database: only what was committed
 */
#include "shop.h"

#include <stdio.h>
#include <string.h>

static int setup(orm_db *db, orm_session *s)
{
	orm_create_all(db);
	orm_add(s, Product, .name = "Kettle", .stock = 10);
	orm_add(s, Product, .name = "Teapot", .stock = 5);
	orm_add(s, Product, .name = "Cup", .stock = 40);
	if (orm_commit(s) < 0)
		return shop_failed("admin", s);
	printf("%-10s | tables made; on the shelves: 10 kettles, 5 teapots, 40 cups\n", "admin");
	return 0;
}

static int show(orm_session *s)
{
	Product_list products = orm_all(s, Product);
	printf("%-10s | in the database: %lld orders, %lld lines, %lld reservations;", "admin", (long long)orm_count(s, Order),
	       (long long)orm_count(s, Line), (long long)orm_count(s, Reservation));
	for (size_t i = 0; i < products.len; i++)
		printf(" %s %lld", products.items[i]->name, (long long)products.items[i]->stock);
	printf("\n");
	return orm_session_error(s)->code < 0 ? shop_failed("admin", s) : 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[2], "setup") != 0 && strcmp(argv[2], "show") != 0)) {
		fprintf(stderr, "usage: shop_admin URL setup|show\n");
		return 2;
	}
	orm_db      *db = orm_connect(argv[1], shop_models);
	orm_session *s = orm_session_open(db);
	int          failed = strcmp(argv[2], "setup") == 0 ? setup(db, s) : show(s);
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}
