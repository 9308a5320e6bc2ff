/* SPDX-License-Identifier: MIT */
/*
 * Random units whose result is a state that the database accepts: each must commit, whatever its rows hand on to each
 * other on the way, and leave just that state. The seeds are fixed; a failure names its own.
 */
#include "session/database_support.h"

#include <stdio.h>
#include <string.h>

#define MAX_ROWS 14

/* What each table should hold. */
typedef struct row {
	uint64_t handle; /* 0: no row */
	int64_t id;
	int parent; /* node: place of another row, or -1 */
	int value;  /* user, account: the unique value, or -1 */
} row;

typedef struct world {
	fixture *f;
	uint64_t random;
	row nodes[MAX_ROWS], users[MAX_ROWS], accounts[MAX_ROWS], lines[MAX_ROWS];
} world;

static unsigned dice(world *w, unsigned n)
{
	w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(w->random >> 33) % n;
}

/* ---- nodes: a table that refers to itself, any way round ---------------------------------------------------- */

static long long parent_id(const world *w, int parent)
{
	return parent < 0 ? NO_VALUE : (long long)w->nodes[parent].id;
}

static int any_node(world *w)
{
	const int place = (int)dice(w, MAX_ROWS);

	return w->nodes[place].handle ? place : -1;
}

static void set_parent(world *w, int place, int parent)
{
	w->nodes[place].parent = parent;
	set(w->f, w->nodes[place].handle, "parent_id", parent_id(w, parent));
}

static void change_nodes(world *w)
{
	const int place = (int)dice(w, MAX_ROWS);
	row *node = &w->nodes[place];

	if (!node->handle) {
		node->parent = -1;
		node->handle = add(w->f, "Node", "name parent_id", "n", NO_VALUE);
		node->id = key_of(w->f, node->handle);
		set_parent(w, place, dice(w, 4) ? any_node(w) : place);
	} else if (dice(w, 3) == 0) {
		for (int i = 0; i < MAX_ROWS; i++) {
			if (i != place && w->nodes[i].handle && w->nodes[i].parent == place) {
				int parent = any_node(w);

				set_parent(w, i, parent == place ? -1 : parent);
			}
		}
		del(w->f, node->handle);
		*node = (row){0};
	} else {
		set_parent(w, place, any_node(w));
	}
}

/* ---- users and accounts: unique values, with and without NULL, that change hands ---------------------------- */

static void set_value(world *w, row *rows, int place, int value)
{
	char text[8];

	rows[place].value = value;
	snprintf(text, sizeof text, "v%d", value);
	if (rows == w->users)
		set(w->f, rows[place].handle, "email", value < 0 ? NULL : text);
	else
		set(w->f, rows[place].handle, "owner", text);
}

static bool is_taken(const row *rows, int value)
{
	for (int i = 0; i < MAX_ROWS; i++) {
		if (rows[i].handle && rows[i].value == value)
			return true;
	}
	return false;
}

static int free_value(world *w, const row *rows)
{
	int value = (int)dice(w, MAX_ROWS);

	while (is_taken(rows, value))
		value = (value + 1) % (MAX_ROWS + 2);
	return value;
}

static void swap_values(world *w, row *rows)
{
	const int a = (int)dice(w, MAX_ROWS), b = (int)dice(w, MAX_ROWS);
	const int value = rows[a].value;

	if (!rows[a].handle || !rows[b].handle || a == b)
		return;
	set_value(w, rows, a, rows[b].value);
	set_value(w, rows, b, value);
}

static void change_values(world *w, row *rows)
{
	const int place = (int)dice(w, MAX_ROWS);
	row *r = &rows[place];
	char text[8];

	if (!r->handle) {
		r->value = free_value(w, rows);
		snprintf(text, sizeof text, "v%d", r->value);
		r->handle = rows == w->users ? add(w->f, "User", "name email", "u", text)
					     : add(w->f, "Account", "owner balance", text, 1LL);
		r->id = key_of(w->f, r->handle);
		return;
	}
	switch (dice(w, 5)) {
	case 0:
		del(w->f, r->handle);
		*r = (row){0};
		break;
	case 1:
		set_value(w, rows, place, free_value(w, rows));
		break;
	case 2:
		if (rows == w->users)
			set_value(w, rows, place, -1);
		break;
	default:
		swap_values(w, rows);
		break;
	}
}

/* ---- lines: keys that are deleted and added again ----------------------------------------------------------- */

static void change_lines(world *w)
{
	const int place = (int)dice(w, MAX_ROWS);
	row *line = &w->lines[place];
	char text[16];

	line->value = (int)dice(w, 1000);
	snprintf(text, sizeof text, "t%d", line->value);
	if (!line->handle) {
		line->handle =
			add(w->f, "Line", "order_no no text", (long long)(place / 3), (long long)(place % 3), text);
	} else if (dice(w, 2)) {
		del(w->f, line->handle);
		line->handle = 0;
	} else {
		set(w->f, line->handle, "text", text);
	}
}

/* ---- is the database what it should be? --------------------------------------------------------------------- */

static void expect_nodes(world *w)
{
	for (int i = 0; i < MAX_ROWS; i++) {
		char sql[128], wanted[64];

		if (!w->nodes[i].handle)
			continue;
		snprintf(sql, sizeof sql, "SELECT parent_id FROM nodes WHERE id = %lld", (long long)w->nodes[i].id);
		if (w->nodes[i].parent < 0)
			snprintf(wanted, sizeof wanted, "NULL");
		else
			snprintf(wanted, sizeof wanted, "%lld", parent_id(w, w->nodes[i].parent));
		assert_string_equal(ask(w->f, sql), wanted);
	}
}

static void expect_values(world *w, const row *rows, const char *table, const char *column)
{
	for (int i = 0; i < MAX_ROWS; i++) {
		char sql[128], wanted[64] = "NULL";

		if (!rows[i].handle)
			continue;
		snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = %lld", column, table, (long long)rows[i].id);
		if (rows[i].value >= 0)
			snprintf(wanted, sizeof wanted, "v%d", rows[i].value);
		assert_string_equal(ask(w->f, sql), wanted);
	}
}

static void expect_lines(world *w)
{
	for (int i = 0; i < MAX_ROWS; i++) {
		char sql[128], wanted[64] = "";

		snprintf(sql, sizeof sql, "SELECT text FROM \"lines\" WHERE order_no = %d AND no = %d", i / 3, i % 3);
		if (w->lines[i].handle)
			snprintf(wanted, sizeof wanted, "t%d", w->lines[i].value);
		assert_string_equal(ask(w->f, sql), wanted);
	}
}

static int n_rows(const row *rows)
{
	int n = 0;

	for (int i = 0; i < MAX_ROWS; i++)
		n += rows[i].handle != 0;
	return n;
}

static void expect_world(world *w)
{
	char wanted[64];

	snprintf(wanted, sizeof wanted, "%d|%d|%d|%d", n_rows(w->nodes), n_rows(w->users), n_rows(w->accounts),
		 n_rows(w->lines));
	assert_string_equal(ask(w->f, "SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM users), (SELECT "
				      "count(*) FROM accounts), "
				      "(SELECT count(*) FROM \"lines\")"),
			    wanted);
	expect_nodes(w);
	expect_values(w, w->users, "users", "email");
	expect_values(w, w->accounts, "accounts", "owner");
	expect_lines(w);
}

static void random_units(fixture *f, uint64_t seed, int n_units)
{
	world w = {.f = f, .random = seed};

	for (int unit = 0; unit < n_units; unit++) {
		const unsigned n_changes = 1 + dice(&w, 40);
		unsigned kinds = 1 + dice(&w, 15);

		if (!ormd_database_dialect(f->database)->defer_foreign_keys)
			kinds &= ~1u; /* nodes refer to each other in circles */

		for (unsigned i = 0; i < n_changes; i++) {
			const unsigned kind = dice(&w, 4);

			if (!(kinds >> kind & 1))
				continue;
			if (kind == 0)
				change_nodes(&w);
			else if (kind == 1)
				change_values(&w, w.users);
			else if (kind == 2)
				change_values(&w, w.accounts);
			else
				change_lines(&w);
		}
		if (try_commit(f) != ORM_OK)
			fail_msg("seed %llu, unit %d: %s", (unsigned long long)seed, unit, f->error.message);
		expect_world(&w);
	}
}

static void random_units_commit(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		void *fixture_state = NULL;

		setup_database(&fixture_state);
		random_units(fixture_state, seed, 25);
		teardown_database(&fixture_state);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_units_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
