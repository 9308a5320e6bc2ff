/* SPDX-License-Identifier: MIT */
/*
 * The order desk: takes an order, and commits it together with what the warehouse has reserved for it. The two are different programs in
 * one unit of work; neither writes to the database before the commit.
 *
 *   order_desk URL SESSION
 */
#include "shop.h"

#include <stdio.h>

#define NAME "order desk"

static Line *take_line(orm_session *s, Order *order, const char *product, int64_t quantity)
{
	Product *wanted = orm_first(s, Product, .name = product);
	printf("%-10s | takes %lld x %s\n", NAME, (long long)quantity, product);
	return orm_add(s, Line, .order = order, .product = wanted, .quantity = quantity);
}

static size_t reserved(const Order *order)
{
	size_t n = 0;
	for (size_t i = 0; i < order->lines.len; i++)
		n += order->lines.items[i]->reservations.len;
	return n;
}

static void tell_notices(orm_session *s)
{
	const orm_notice *notice;
	while ((notice = orm_next_notice(s)))
		printf("%-10s | hears: %s\n", NAME, notice->text);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: order_desk URL SESSION\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	orm_db      *db = orm_connect(argv[1], shop_models);
	orm_session *s = orm_session_join(db, argv[2], &(orm_join_options){ .participant = NAME });

	Order *order = orm_add(s, Order, .customer = "Mrs Miller");
	take_line(s, order, "Kettle", 1);
	take_line(s, order, "Teapot", 2);
	take_line(s, order, "Cup", 12);
	if (orm_flush(s) == ORM_OK) /* publish: the warehouse sees it now; the database does not */
		printf("%-10s | publishes order %lld with %zu lines, uncommitted\n", NAME, (long long)order->id, order->lines.len);

	while (orm_session_error(s)->code == ORM_OK && reserved(order) < order->lines.len) {
		int news = orm_wait(s, 20000); /* the warehouse's reservations appear in our own structs */
		if (news == 0) {
			fprintf(stderr, "%-10s | gives up: nothing was heard from the warehouse\n", NAME);
			break;
		}
		tell_notices(s);
		if (news > 0)
			printf("%-10s | sees %zu of %zu lines reserved\n", NAME, reserved(order), order->lines.len);
	}

	int failed = orm_session_error(s)->code < 0 || reserved(order) < order->lines.len || orm_commit(s) < 0;
	if (!failed)
		printf("%-10s | commits: order, lines and reservations, in one transaction\n", NAME);
	else
		shop_failed(NAME, s);
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}
