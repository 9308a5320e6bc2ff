/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>

static const orm_field Parent_fields[] = {
	{ ORM_COLUMN(Parent, id), .primary_key = true },
	{ ORM_COLUMN(Parent, name) },
	{ ORM_RELATIONSHIP(Parent, items, Item, parent) },
};
ORM_MODEL(Parent, "parents", Parent_fields);

static const orm_field Item_fields[] = {
	{ ORM_COLUMN(Item, id), .primary_key = true },
	{ ORM_COLUMN(Item, quantity) },
	{ ORM_COLUMN(Item, name) },
	{ ORM_COLUMN(Item, price) },
	{ ORM_COLUMN(Item, note), .nullable = true },
	{ ORM_COLUMN(Item, parent_id), .references = ORM_KEY(Parent, id), .index = true },
	{ ORM_RELATIONSHIP(Item, parent, Parent, items) },
};
ORM_MODEL(Item, "items", Item_fields);

const orm_model *const bench_models[] = { &Parent_model, &Item_model, NULL };

/* Text made once, so that neither side's time contains printf. */
#define N_TEXTS 1000

static char names[N_TEXTS][24], notes[N_TEXTS][40];

static void make_texts(void)
{
	if (names[0][0])
		return;
	for (size_t i = 0; i < N_TEXTS; i++) {
		snprintf(names[i], sizeof names[i], "item number %zu", i);
		snprintf(notes[i], sizeof notes[i], "a remark about item %zu", i);
	}
}

const char *bench_name(size_t i)
{
	make_texts();
	return names[i % N_TEXTS];
}

const char *bench_note(size_t i)
{
	make_texts();
	return i % 3 == 0 ? NULL : notes[i % N_TEXTS];
}

double bench_price(size_t i)
{
	return (double)i * 0.25;
}

void bench_add(orm_session *session, size_t i)
{
	orm_add(session, Item, .quantity = (int64_t)i, .name = bench_name(i), .price = bench_price(i), .note = bench_note(i));
}
