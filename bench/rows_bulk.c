/* SPDX-License-Identifier: MIT */
/* Bulk work: adding, querying, changing and loading many rows. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#define N_PARENTS 10000
#define N_CHILDREN 10

typedef struct bulk_state {
	char          path[2][256];  /* of the floor's and of our database */
	bench_sqlite *sqlite;
	orm_db       *db;
	orm_session  *session;       /* of the update row */
	int64_t       round;
} bulk_state;

static orm_db *connect(const char *path)
{
	char url[300];
	snprintf(url, sizeof url, "sqlite:///%s", path);
	orm_db *db = orm_connect_with(url, bench_models, &(orm_connect_options){.timeout_ms = 120000, .idle_timeout_ms = 1000});
	orm_create_all(db);
	return db;
}

/* What the server does after its reply, the checkpoint above all, must not disturb the floor's next turn: wait for a turn behind it. */
static void let_rest(orm_db *db)
{
	orm_create_all(db);
}

static void close_bulk(void *state)
{
	bulk_state *bulk = state;
	if (!bulk)
		return;
	orm_session_close(bulk->session);
	orm_disconnect(bulk->db);
	bench_sqlite_close(bulk->sqlite);
	free(bulk);
}

/* ---- add ---- */

static int open_add(const bench_options *options, void **state)
{
	bulk_state *bulk = calloc(1, sizeof *bulk);
	if (!(*state = bulk))
		return -1;
	bench_path(options, "floor-add", bulk->path[0], sizeof bulk->path[0]);
	bench_path(options, "ours-add", bulk->path[1], sizeof bulk->path[1]);
	bulk->sqlite = bench_sqlite_open(bulk->path[0], true);
	bulk->db = connect(bulk->path[1]);
	return bulk->sqlite ? bench_sqlite_hold_checkpoints(bulk->sqlite) : -1;
}

static double floor_add(const bench_options *options, void *state)
{
	bulk_state *bulk = state;
	double      start = bench_now();
	int         failed = bench_sqlite_insert(bulk->sqlite, options->n_rows, 0) < 0;
	double      seconds = bench_now() - start;
	failed |= bench_sqlite_empty(bulk->sqlite) < 0 || bench_sqlite_checkpoint(bulk->sqlite) < 0;
	return failed ? -1 : seconds / (double)options->n_rows;
}

static void add_items(orm_session *session, size_t n)
{
	for (size_t i = 0; i < n; i++)
		orm_add(session, Item, .quantity = (int64_t)i, .name = bench_name(i), .price = (double)i * 0.25, .note = bench_note(i));
}

static double ours_add(const bench_options *options, void *state)
{
	bulk_state  *bulk = state;
	orm_session *session = orm_session_open(bulk->db);
	double       start = bench_now();
	add_items(session, options->n_rows);
	orm_status status = orm_commit(session);
	double     seconds = bench_now() - start;
	if (status < 0)
		bench_failed_session("add", session);
	orm_session_close(session);
	orm_drop_all(bulk->db);
	let_rest(bulk->db);
	return status < 0 ? -1 : seconds / (double)options->n_rows;
}

/* ---- query and update: both on databases with the same rows ---- */

static int open_filled(const bench_options *options, void **state)
{
	bulk_state *bulk = calloc(1, sizeof *bulk);
	if (!(*state = bulk))
		return -1;
	bench_path(options, "floor", bulk->path[0], sizeof bulk->path[0]);
	bench_path(options, "ours", bulk->path[1], sizeof bulk->path[1]);
	bulk->sqlite = bench_sqlite_open(bulk->path[0], true);
	if (!bulk->sqlite || bench_sqlite_hold_checkpoints(bulk->sqlite) < 0 || bench_sqlite_insert(bulk->sqlite, options->n_rows, 0) < 0 ||
	    bench_sqlite_checkpoint(bulk->sqlite) < 0)
		return -1;
	bulk->db = connect(bulk->path[1]);
	orm_session *session = orm_session_open(bulk->db);
	add_items(session, options->n_rows);
	int failed = orm_commit(session) < 0;
	if (failed)
		bench_failed_session("filling", session);
	orm_session_close(session);
	return failed;
}

static double floor_query(const bench_options *options, void *state)
{
	bulk_state  *bulk = state;
	double start = bench_now();
	int          failed = bench_sqlite_select(bulk->sqlite, options->n_rows) < 0;
	double       seconds = bench_now() - start;
	bench_sqlite_forget(bulk->sqlite);
	return failed ? -1 : seconds / (double)options->n_rows;
}

static double ours_query(const bench_options *options, void *state)
{
	bulk_state        *bulk = state;
	orm_session *session = orm_session_open(bulk->db);
	double       start = bench_now();
	Item_list    items = orm_all(session, Item);
	double       seconds = bench_now() - start;
	int          failed = items.len != options->n_rows;
	if (failed)
		bench_failed_session("query", session);
	orm_session_close(session);
	return failed ? -1 : seconds / (double)options->n_rows;
}

static int open_loaded(const bench_options *options, void **state)
{
	if (open_filled(options, state) != 0)
		return -1;
	bulk_state *bulk = *state;
	bulk->session = orm_session_open(bulk->db);
	return orm_all(bulk->session, Item).len == options->n_rows ? 0 : -1;
}

static double floor_update(const bench_options *options, void *state)
{
	bulk_state  *bulk = state;
	double start = bench_now();
	int          failed = bench_sqlite_update(bulk->sqlite, options->n_rows, ++bulk->round) < 0;
	double       seconds = bench_now() - start;
	failed |= bench_sqlite_checkpoint(bulk->sqlite) < 0;
	return failed ? -1 : seconds / (double)options->n_rows;
}

static double ours_update(const bench_options *options, void *state)
{
	bulk_state     *bulk = state;
	Item_list items = orm_all(bulk->session, Item);
	double    start = bench_now();
	for (size_t i = 0; i < items.len; i++)
		items.items[i]->quantity++;
	int       failed = orm_commit(bulk->session) < 0;
	double    seconds = bench_now() - start;
	let_rest(bulk->db);
	return failed ? bench_failed_session("update", bulk->session) : seconds / (double)options->n_rows;
}

/* ---- select-in ---- */

static int open_parents(const bench_options *options, void **state)
{
	bulk_state *bulk = calloc(1, sizeof *bulk);
	if (!(*state = bulk))
		return -1;
	bench_path(options, "floor-parents", bulk->path[0], sizeof bulk->path[0]);
	bench_path(options, "ours-parents", bulk->path[1], sizeof bulk->path[1]);
	bulk->sqlite = bench_sqlite_open(bulk->path[0], true);
	if (!bulk->sqlite || bench_sqlite_insert(bulk->sqlite, N_PARENTS * N_CHILDREN, N_PARENTS) < 0 || bench_sqlite_checkpoint(bulk->sqlite) < 0)
		return -1;
	bulk->db = connect(bulk->path[1]);
	bench_sqlite *ours = bench_sqlite_open(bulk->path[1], false); /* filled directly: the row is about reading */
	int           failed = !ours || bench_sqlite_insert(ours, N_PARENTS * N_CHILDREN, N_PARENTS) < 0;
	bench_sqlite_close(ours);
	return failed;
}

static double floor_parents(const bench_options *options, void *state)
{
	bulk_state  *bulk = state;
	double start = bench_now();
	(void)options;
	int          failed = bench_sqlite_parents(bulk->sqlite, N_PARENTS) < 0;
	double       seconds = bench_now() - start;
	bench_sqlite_forget(bulk->sqlite);
	return failed ? -1 : seconds;
}

static double ours_parents(const bench_options *options, void *state)
{
	bulk_state        *bulk = state;
	orm_session *session = orm_session_open(bulk->db);
	(void)options;
	double     start = bench_now();
	orm_query *query = orm_select(session, Parent);
	orm_with(query, Parent, items);
	Parent_list parents = orm_query_all(query, Parent);
	double      seconds = bench_now() - start;
	int         failed = parents.len != N_PARENTS || parents.items[N_PARENTS - 1]->items.len != N_CHILDREN;
	if (failed)
		bench_failed_session("select-in", session);
	orm_session_close(session);
	return failed ? -1 : seconds;
}

const bench_row bench_rows_bulk[] = {
	{"add and commit, SQLite", "prepared INSERT loop, one transaction, sqlite3 in process", 1.5, false, "row", open_add, floor_add, ours_add,
	 close_bulk},
	{"query into structs", "SELECT loop into structs, sqlite3 in process", 2.0, false, "row", open_filled, floor_query, ours_query, close_bulk},
	{"change one column and commit", "prepared UPDATE loop, one transaction, sqlite3 in process", 1.5, false, "row", open_loaded, floor_update,
	 ours_update, close_bulk},
	{"load 10,000 parents with 10 children each", "two SELECT loops into structs, sqlite3 in process", 2.0, false, "load", open_parents,
	 floor_parents, ours_parents, close_bulk},
	{0},
};
