/* SPDX-License-Identifier: MIT */
/*
 * The warehouse: reserves stock for the lines of an order that another program is still taking.
 *
 *   warehouse URL SESSION [--die-after N]     N: kill -9 itself after so many reservations
 */
#include "shop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "warehouse"

static void reserve(orm_session *s, Line *line)
{
	orm_load(s, line, &line->product);
	Product *product = line->product;
	if (!product || orm_session_error(s)->code < 0)
		return;
	product->stock -= line->quantity;
	Reservation *reservation = orm_add(s, Reservation, .line = line, .quantity = line->quantity, .shelf = orm_printf(s, "A-%lld", (long long)product->id));
	/* One operation for the others: the stock and the reservation, or neither. */
	if (orm_flush(s) == ORM_OK)
		printf("%-10s | reserves %lld x %s from shelf %s: %lld would be left\n", NAME, (long long)line->quantity, product->name,
		       reservation->shelf, (long long)product->stock);
}

/* Lines that have no reservation yet; what the order desk has published is found like what is in the database. */
static Line *next_line(orm_session *s)
{
	Line_list lines = orm_all(s, Line);
	orm_load_each(s, lines, Line, reservations);
	if (orm_session_error(s)->code < 0)
		return NULL;
	for (size_t i = 0; i < lines.len; i++) {
		if (lines.items[i]->reservations.len == 0)
			return lines.items[i];
	}
	return NULL;
}

/* Until the order desk has committed, or the unit is gone. */
static bool finished(orm_session *s)
{
	const orm_notice *notice;
	bool              committed = false;
	while ((notice = orm_next_notice(s))) {
		printf("%-10s | hears: %s\n", NAME, notice->text);
		committed |= notice->kind == ORM_NOTICE_COMMITTED;
	}
	return committed;
}

int main(int argc, char **argv)
{
	long die_after = -1;
	if (argc == 5 && strcmp(argv[3], "--die-after") == 0)
		die_after = strtol(argv[4], NULL, 10);
	else if (argc != 3) {
		fprintf(stderr, "usage: warehouse URL SESSION [--die-after N]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	orm_db      *db = orm_connect(argv[1], shop_models);
	orm_session *s = orm_session_join(db, argv[2], &(orm_join_options){ .participant = NAME });
	bool         committed = false;
	long         reservations = 0;
	while (!committed && orm_session_error(s)->code == ORM_OK) {
		Line *line;
		while ((line = next_line(s))) {
			if (reservations == die_after) {
				printf("%-10s | is killed (kill -9), %ld of its reservations published, none committed\n", NAME, reservations);
				raise(SIGKILL);
			}
			reserve(s, line);
			reservations++;
		}
		if (orm_wait(s, 20000) == 0) {
			fprintf(stderr, "%-10s | gives up: nothing was heard from the order desk\n", NAME);
			break;
		}
		committed = finished(s);
	}
	int failed = orm_session_error(s)->code < 0 ? shop_failed(NAME, s) : !committed;
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}
