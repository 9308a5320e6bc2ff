/* SPDX-License-Identifier: MIT */
/* Bulk work: adding, querying, changing and loading many rows. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#define N_PARENTS  10000
#define N_CHILDREN 10

typedef struct bulk_state {
	bench_floor     *floor;   /* on its database */
	bench_floor     *beside;  /* on ours; NULL where nobody but our server may look after the database */
	const bench_way *way;
	orm_db          *db;
	orm_session     *session; /* of the update row */
	int64_t          round;
	char             floor_name[200];
	char             url[BENCH_URL_SIZE]; /* of ours */
} bulk_state;

static void close_bulk(bench_case *run)
{
	bulk_state *bulk = run->state;
	if (!bulk)
		return;
	orm_session_close(bulk->session);
	bench_disconnect(bulk->db);
	run->engine->close(bulk->floor);
	run->engine->close(bulk->beside);
	free(bulk);
}

/* Two databases with empty tables. */
static int open_bulk(bench_case *run)
{
	char        url[BENCH_URL_SIZE];
	bulk_state *bulk = calloc(1, sizeof *bulk);
	if (!(run->state = bulk) || run->engine->database(run->options, "floor", url) != 0 ||
	    !(bulk->floor = run->engine->open(url, BENCH_TABLES | BENCH_NO_UPKEEP)))
		return -1;
	if (run->engine->database(run->options, "ours", bulk->url) != 0 || !(bulk->db = bench_connect(run->options, bulk->url)))
		return -1;
	return run->engine->is_server && !(bulk->beside = run->engine->open(bulk->url, 0)) ? -1 : 0;
}

/* What follows our work, before the floor's next turn. */
static int rest(bench_case *run)
{
	bulk_state *bulk = run->state;
	bench_let_rest(bulk->db);
	return bulk->beside ? run->engine->rest(bulk->beside) : 0;
}

static int use_best(bench_case *run, const bench_way *ways, int (*restore)(bench_floor *floor))
{
	bulk_state *bulk = run->state;
	bulk->way = bench_best_way(bulk->floor, ways, run->options->n_rows, restore);
	if (!bulk->way)
		return -1;
	snprintf(bulk->floor_name, sizeof bulk->floor_name, "%s, one transaction, %s", bulk->way->name, run->engine->client);
	run->floor_name = bulk->floor_name;
	return 0;
}

/* ---- add ---- */

static int empty(bench_floor *floor)
{
	return floor->engine->empty(floor) != 0 || floor->engine->rest(floor) != 0 ? -1 : 0;
}

static int open_add(bench_case *run)
{
	return open_bulk(run) != 0 || use_best(run, run->engine->inserts, empty) != 0 ? -1 : 0;
}

static double floor_add(bench_case *run)
{
	bulk_state *bulk = run->state;
	double      start = bench_now();
	int         failed = bulk->way->work(bulk->floor, run->options->n_rows, 0);
	double      seconds = bench_now() - start;
	return failed || empty(bulk->floor) ? -1 : seconds / (double)run->options->n_rows;
}

static void add_items(orm_session *session, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bench_add(session, i);
}

static double ours_add(bench_case *run)
{
	bulk_state  *bulk = run->state;
	orm_session *session = orm_session_open(bulk->db);
	double       start = bench_now();
	add_items(session, run->options->n_rows);
	orm_status status = orm_commit(session);
	double     seconds = bench_now() - start;
	if (status < 0)
		bench_failed_session("add", session);
	orm_session_close(session);
	orm_drop_all(bulk->db);
	return rest(run) != 0 || status < 0 ? -1 : seconds / (double)run->options->n_rows;
}

/* ---- query and update: both on databases with the same rows ---- */

static int open_filled(bench_case *run)
{
	if (open_bulk(run) != 0)
		return -1;
	bulk_state *bulk = run->state;
	if (run->engine->inserts->work(bulk->floor, run->options->n_rows, 0) != 0 || run->engine->rest(bulk->floor) != 0)
		return -1;
	orm_session *session = orm_session_open(bulk->db);
	add_items(session, run->options->n_rows);
	int failed = orm_commit(session) < 0;
	if (failed)
		bench_failed_session("filling", session);
	orm_session_close(session);
	return failed || rest(run) != 0 ? -1 : 0;
}

static double floor_query(bench_case *run)
{
	bulk_state *bulk = run->state;
	double      start = bench_now();
	int         failed = run->engine->select(bulk->floor, run->options->n_rows);
	double      seconds = bench_now() - start;
	bench_floor_forget(bulk->floor);
	return failed ? -1 : seconds / (double)run->options->n_rows;
}

static double ours_query(bench_case *run)
{
	bulk_state  *bulk = run->state;
	orm_session *session = orm_session_open(bulk->db);
	double       start = bench_now();
	Item_list    items = orm_all(session, Item);
	double       seconds = bench_now() - start;
	int          failed = items.len != run->options->n_rows;
	if (failed)
		bench_failed_session("query", session);
	orm_session_close(session);
	return failed ? -1 : seconds / (double)run->options->n_rows;
}

static int tidy(bench_floor *floor)
{
	return floor->engine->rest(floor);
}

static int open_loaded(bench_case *run)
{
	if (open_filled(run) != 0 || use_best(run, run->engine->updates, tidy) != 0)
		return -1;
	bulk_state *bulk = run->state;
	bulk->session = orm_session_open(bulk->db);
	return orm_all(bulk->session, Item).len == run->options->n_rows ? 0 : (int)bench_failed_session("query", bulk->session);
}

static double floor_update(bench_case *run)
{
	bulk_state *bulk = run->state;
	double      start = bench_now();
	int         failed = bulk->way->work(bulk->floor, run->options->n_rows, ++bulk->round);
	double      seconds = bench_now() - start;
	return failed || tidy(bulk->floor) ? -1 : seconds / (double)run->options->n_rows;
}

static double ours_update(bench_case *run)
{
	bulk_state *bulk = run->state;
	Item_list   items = orm_all(bulk->session, Item);
	double      start = bench_now();
	for (size_t i = 0; i < items.len; i++)
		items.items[i]->quantity++;
	int    failed = orm_commit(bulk->session) < 0;
	double seconds = bench_now() - start;
	if (failed)
		return bench_failed_session("update", bulk->session);
	return rest(run) != 0 ? -1 : seconds / (double)run->options->n_rows;
}

/* ---- select-in ---- */

/* Both filled directly: the row is about reading. */
static int open_parents(bench_case *run)
{
	if (open_bulk(run) != 0)
		return -1;
	bulk_state  *bulk = run->state;
	const size_t n = N_PARENTS * N_CHILDREN;
	if (run->engine->inserts->work(bulk->floor, n, N_PARENTS) != 0 || run->engine->rest(bulk->floor) != 0)
		return -1;
	if (bulk->beside)
		return run->engine->inserts->work(bulk->beside, n, N_PARENTS) != 0 || rest(run) != 0 ? -1 : 0;
	bench_floor *ours = run->engine->open(bulk->url, 0);
	int          failed = !ours || run->engine->inserts->work(ours, n, N_PARENTS) != 0;
	run->engine->close(ours);
	return failed;
}

static double floor_parents(bench_case *run)
{
	bulk_state *bulk = run->state;
	double      start = bench_now();
	int         failed = run->engine->parents(bulk->floor, N_PARENTS, N_PARENTS * N_CHILDREN);
	double      seconds = bench_now() - start;
	bench_floor_forget(bulk->floor);
	return failed ? -1 : seconds;
}

static double ours_parents(bench_case *run)
{
	bulk_state  *bulk = run->state;
	orm_session *session = orm_session_open(bulk->db);
	double       start = bench_now();
	orm_query   *query = orm_select(session, Parent);
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
	{.name = "add and commit", .budget = 1.5, .server_budget = 1.5, .unit = "row",
	 .open = open_add, .floor = floor_add, .ours = ours_add, .close = close_bulk},
	{.name = "query into structs", .floor_name = "prepared SELECT, a loop into structs", .budget = 2.0, .server_budget = 1.5, .unit = "row",
	 .open = open_filled, .floor = floor_query, .ours = ours_query, .close = close_bulk},
	{.name = "change one column and commit", .budget = 1.5, .server_budget = 1.5, .unit = "row",
	 .open = open_loaded, .floor = floor_update, .ours = ours_update, .close = close_bulk},
	{.name = "load 10,000 parents with 10 children each", .floor_name = "two prepared SELECTs, loops into structs", .budget = 2.0,
	 .server_budget = 2.0, .unit = "load", .open = open_parents, .floor = floor_parents, .ours = ours_parents, .close = close_bulk},
	{0},
};
