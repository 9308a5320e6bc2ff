/* SPDX-License-Identifier: MIT */
/* The barest way to do the work with sqlite3 in the same process: prepared statements in loops, structs filled by hand. */
#include "bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sqlite_floor {
	bench_floor   base;
	sqlite3      *db;
	sqlite3_stmt *insert, *insert_parent, *select, *update, *get, *parents, *children, *begin, *commit;
} sqlite_floor;

#define SCHEME "sqlite:///"

static sqlite_floor *of(bench_floor *floor)
{
	return (sqlite_floor *)(void *)floor;
}

static int failed(sqlite_floor *sqlite)
{
	fprintf(stderr, "bench: sqlite3: %s\n", sqlite3_errmsg(sqlite->db));
	return -1;
}

static int run(sqlite_floor *sqlite, const char *sql)
{
	return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

static int prepare(sqlite_floor *sqlite, const char *sql, sqlite3_stmt **statement)
{
	return sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

static int make_database(const bench_options *options, const char *name, char url[BENCH_URL_SIZE])
{
	static unsigned counter;
	snprintf(url, BENCH_URL_SIZE, SCHEME "%s/%s-%u.db", options->directory, name, counter++);
	return 0;
}

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, quantity BIGINT NOT NULL, name TEXT NOT NULL, price REAL NOT NULL,"
	" note TEXT, parent_id BIGINT REFERENCES parents (id));"
	"CREATE INDEX IF NOT EXISTS ix_items_parent_id ON items (parent_id);";

static void close_floor(bench_floor *floor)
{
	sqlite_floor *sqlite = of(floor);
	if (!sqlite)
		return;
	bench_floor_forget(floor);
	sqlite3_finalize(sqlite->insert);
	sqlite3_finalize(sqlite->insert_parent);
	sqlite3_finalize(sqlite->select);
	sqlite3_finalize(sqlite->update);
	sqlite3_finalize(sqlite->get);
	sqlite3_finalize(sqlite->parents);
	sqlite3_finalize(sqlite->children);
	sqlite3_finalize(sqlite->begin);
	sqlite3_finalize(sqlite->commit);
	sqlite3_close(sqlite->db);
	free(sqlite);
}

/* WAL, synchronous=FULL, as the server sets them. */
static bench_floor *open_floor(const char *url, unsigned flags)
{
	sqlite_floor *sqlite = calloc(1, sizeof *sqlite);
	if (!sqlite)
		return NULL;
	sqlite->base.engine = &bench_sqlite;
	if (sqlite3_open(url + strlen(SCHEME), &sqlite->db) != SQLITE_OK) {
		failed(sqlite);
		goto failed;
	}
	sqlite3_busy_timeout(sqlite->db, 60000);
	if (run(sqlite, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;") < 0)
		goto failed;
	if ((flags & BENCH_NO_UPKEEP) && run(sqlite, "PRAGMA wal_autocheckpoint=0") < 0)
		goto failed;
	if ((flags & BENCH_TABLES) && run(sqlite, schema) < 0)
		goto failed;
	if (prepare(sqlite, "INSERT INTO items (quantity, name, price, note, parent_id) VALUES (?,?,?,?,?)", &sqlite->insert) < 0 ||
	    prepare(sqlite, "INSERT INTO parents (name) VALUES (?)", &sqlite->insert_parent) < 0 ||
	    prepare(sqlite, "SELECT id, quantity, name, price, note, parent_id FROM items ORDER BY id", &sqlite->select) < 0 ||
	    prepare(sqlite, "UPDATE items SET quantity=? WHERE id=?", &sqlite->update) < 0 ||
	    prepare(sqlite, "SELECT id, quantity, name, price, note, parent_id FROM items WHERE id=?", &sqlite->get) < 0 ||
	    prepare(sqlite, "SELECT id, name FROM parents ORDER BY id", &sqlite->parents) < 0 ||
	    prepare(sqlite, "SELECT id, quantity, name, price, note, parent_id FROM items WHERE parent_id IS NOT NULL", &sqlite->children) < 0 ||
	    prepare(sqlite, "BEGIN IMMEDIATE", &sqlite->begin) < 0 || prepare(sqlite, "COMMIT", &sqlite->commit) < 0)
		goto failed;
	return &sqlite->base;
failed:
	close_floor(&sqlite->base);
	return NULL;
}

static int step(sqlite_floor *sqlite, sqlite3_stmt *statement)
{
	int rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? 0 : failed(sqlite);
}

/* ---- writing ---- */

static int insert_item(sqlite_floor *sqlite, size_t i, int64_t parent)
{
	sqlite3_stmt *statement = sqlite->insert;
	sqlite3_bind_int64(statement, 1, (int64_t)i);
	sqlite3_bind_text(statement, 2, bench_name(i), -1, SQLITE_STATIC);
	sqlite3_bind_double(statement, 3, bench_price(i));
	if (bench_note(i))
		sqlite3_bind_text(statement, 4, bench_note(i), -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, 4);
	if (parent)
		sqlite3_bind_int64(statement, 5, parent);
	else
		sqlite3_bind_null(statement, 5);
	return step(sqlite, statement);
}

static int insert_loop(bench_floor *floor, size_t n, int64_t n_parents)
{
	sqlite_floor *sqlite = of(floor);
	if (step(sqlite, sqlite->begin) < 0)
		return -1;
	for (int64_t i = 0; i < n_parents; i++) {
		sqlite3_bind_text(sqlite->insert_parent, 1, bench_name((size_t)i), -1, SQLITE_STATIC);
		if (step(sqlite, sqlite->insert_parent) < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if (insert_item(sqlite, i, n_parents ? (int64_t)i % n_parents + 1 : 0) < 0)
			return -1;
	}
	return step(sqlite, sqlite->commit);
}

static int update_one(sqlite_floor *sqlite, int64_t id, int64_t quantity)
{
	sqlite3_bind_int64(sqlite->update, 1, quantity);
	sqlite3_bind_int64(sqlite->update, 2, id);
	return step(sqlite, sqlite->update);
}

static int update_loop(bench_floor *floor, size_t n, int64_t delta)
{
	sqlite_floor *sqlite = of(floor);
	if (step(sqlite, sqlite->begin) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (update_one(sqlite, (int64_t)i + 1, (int64_t)i + delta) < 0)
			return -1;
	}
	return step(sqlite, sqlite->commit);
}

static int add_one(bench_floor *floor, size_t i)
{
	sqlite_floor *sqlite = of(floor);
	if (step(sqlite, sqlite->begin) < 0 || insert_item(sqlite, i, 0) < 0)
		return -1;
	return step(sqlite, sqlite->commit);
}

static int change_one(bench_floor *floor, int64_t id, int64_t quantity)
{
	sqlite_floor *sqlite = of(floor);
	if (step(sqlite, sqlite->begin) < 0 || update_one(sqlite, id, quantity) < 0)
		return -1;
	return step(sqlite, sqlite->commit);
}

static int empty(bench_floor *floor)
{
	sqlite_floor *sqlite = of(floor);
	return run(sqlite, "DROP TABLE items; DROP TABLE parents;") < 0 || run(sqlite, schema) < 0 ? -1 : 0;
}

static int checkpoint(bench_floor *floor)
{
	sqlite_floor *sqlite = of(floor);
	return sqlite3_wal_checkpoint_v2(sqlite->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

/* ---- reading ---- */

static char *copy_text(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	return bench_copy(text, (size_t)sqlite3_column_bytes(statement, column));
}

static void read_item(sqlite3_stmt *statement, bench_item *item)
{
	item->id = sqlite3_column_int64(statement, 0);
	item->quantity = sqlite3_column_int64(statement, 1);
	item->name = copy_text(statement, 2);
	item->price = sqlite3_column_double(statement, 3);
	item->note = copy_text(statement, 4);
	item->has_parent = sqlite3_column_type(statement, 5) != SQLITE_NULL;
	item->parent_id = sqlite3_column_int64(statement, 5);
}

static int read_items(sqlite_floor *sqlite, sqlite3_stmt *statement, size_t n)
{
	bench_floor *floor = &sqlite->base;
	while (floor->n_items < n && sqlite3_step(statement) == SQLITE_ROW)
		read_item(statement, &floor->items[floor->n_items++]);
	sqlite3_reset(statement);
	return floor->n_items == n ? 0 : failed(sqlite);
}

static int select_items(bench_floor *floor, size_t n)
{
	sqlite_floor *sqlite = of(floor);
	return bench_floor_expect(floor, n, 0) != 0 ? -1 : read_items(sqlite, sqlite->select, n);
}

static int select_parents(bench_floor *floor, size_t n_parents, size_t n_items)
{
	sqlite_floor *sqlite = of(floor);
	if (bench_floor_expect(floor, n_items, n_parents) != 0)
		return -1;
	while (floor->n_parents < n_parents && sqlite3_step(sqlite->parents) == SQLITE_ROW) {
		bench_parent *parent = &floor->parents[floor->n_parents++];
		parent->id = sqlite3_column_int64(sqlite->parents, 0);
		parent->name = copy_text(sqlite->parents, 1);
	}
	sqlite3_reset(sqlite->parents);
	if (floor->n_parents != n_parents || read_items(sqlite, sqlite->children, n_items) < 0)
		return failed(sqlite);
	bench_floor_link(floor);
	return 0;
}

static int get(bench_floor *floor, int64_t id)
{
	sqlite_floor *sqlite = of(floor);
	bench_item    item = {0};
	sqlite3_bind_int64(sqlite->get, 1, id);
	if (sqlite3_step(sqlite->get) != SQLITE_ROW)
		return failed(sqlite);
	read_item(sqlite->get, &item);
	sqlite3_reset(sqlite->get);
	free(item.name);
	free(item.note);
	return 0;
}

const bench_engine bench_sqlite = {
	.name = "SQLite",
	.option = "sqlite",
	.client = "sqlite3 in process",
	.database = make_database,
	.open = open_floor,
	.close = close_floor,
	.inserts = (const bench_way[]){{"prepared INSERT loop", insert_loop, false}, {0}},
	.updates = (const bench_way[]){{"prepared UPDATE loop", update_loop, false}, {0}},
	.empty = empty,
	.rest = checkpoint,
	.select = select_items,
	.parents = select_parents,
	.get = get,
	.add_one = add_one,
	.change_one = change_one,
};
