/* SPDX-License-Identifier: MIT */
/* The barest way to do the work with sqlite3 in the same process: prepared statements in loops, structs filled by hand. */
#include "bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bare_item {
	int64_t  id, quantity;
	char    *name;
	double   price;
	char    *note;
	bool     has_parent;
	int64_t  parent_id;
	struct bare_item *next; /* of the same parent */
} bare_item;

typedef struct bare_parent {
	int64_t    id;
	char      *name;
	bare_item *items;
} bare_parent;

struct bench_sqlite {
	sqlite3      *db;
	sqlite3_stmt *insert, *insert_parent, *select, *update, *get, *parents, *children, *begin, *commit;
	bare_item    *items;    /* read last */
	bare_parent  *loaded;
	size_t        n_items, n_loaded;
};

static int failed(bench_sqlite *sqlite)
{
	fprintf(stderr, "bench: sqlite3: %s\n", sqlite3_errmsg(sqlite->db));
	return -1;
}

static int run(bench_sqlite *sqlite, const char *sql)
{
	return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

static int prepare(bench_sqlite *sqlite, const char *sql, sqlite3_stmt **statement)
{
	return sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, quantity BIGINT NOT NULL, name TEXT NOT NULL, price REAL NOT NULL,"
	" note TEXT, parent_id BIGINT REFERENCES parents (id));"
	"CREATE INDEX IF NOT EXISTS ix_items_parent_id ON items (parent_id);";

bench_sqlite *bench_sqlite_open(const char *path, bool create_tables)
{
	bench_sqlite *sqlite = calloc(1, sizeof *sqlite);
	if (!sqlite || sqlite3_open(path, &sqlite->db) != SQLITE_OK)
		goto failed;
	sqlite3_busy_timeout(sqlite->db, 60000);
	if (run(sqlite, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;") < 0)
		goto failed;
	if (create_tables && run(sqlite, schema) < 0)
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
	return sqlite;
failed:
	bench_sqlite_close(sqlite);
	return NULL;
}

void bench_sqlite_close(bench_sqlite *sqlite)
{
	if (!sqlite)
		return;
	bench_sqlite_forget(sqlite);
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

static int step(bench_sqlite *sqlite, sqlite3_stmt *statement)
{
	int rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? 0 : failed(sqlite);
}

static int insert_item(bench_sqlite *sqlite, size_t i, int64_t parent)
{
	sqlite3_stmt *statement = sqlite->insert;
	sqlite3_bind_int64(statement, 1, (int64_t)i);
	sqlite3_bind_text(statement, 2, bench_name(i), -1, SQLITE_STATIC);
	sqlite3_bind_double(statement, 3, (double)i * 0.25);
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

int bench_sqlite_insert(bench_sqlite *sqlite, size_t n, size_t n_parents)
{
	if (step(sqlite, sqlite->begin) < 0)
		return -1;
	for (size_t i = 0; i < n_parents; i++) {
		sqlite3_bind_text(sqlite->insert_parent, 1, bench_name(i), -1, SQLITE_STATIC);
		if (step(sqlite, sqlite->insert_parent) < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if (insert_item(sqlite, i, n_parents ? (int64_t)(i % n_parents) + 1 : 0) < 0)
			return -1;
	}
	return step(sqlite, sqlite->commit);
}

static char *copy_text(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	if (!text)
		return NULL;
	size_t size = (size_t)sqlite3_column_bytes(statement, column) + 1;
	char  *copy = malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

static void read_item(sqlite3_stmt *statement, bare_item *item)
{
	item->id = sqlite3_column_int64(statement, 0);
	item->quantity = sqlite3_column_int64(statement, 1);
	item->name = copy_text(statement, 2);
	item->price = sqlite3_column_double(statement, 3);
	item->note = copy_text(statement, 4);
	item->has_parent = sqlite3_column_type(statement, 5) != SQLITE_NULL;
	item->parent_id = sqlite3_column_int64(statement, 5);
}

void bench_sqlite_forget(bench_sqlite *sqlite)
{
	for (size_t i = 0; i < sqlite->n_items; i++) {
		free(sqlite->items[i].name);
		free(sqlite->items[i].note);
	}
	for (size_t i = 0; i < sqlite->n_loaded; i++)
		free(sqlite->loaded[i].name);
	free(sqlite->items);
	free(sqlite->loaded);
	sqlite->items = NULL;
	sqlite->loaded = NULL;
	sqlite->n_items = sqlite->n_loaded = 0;
}

int bench_sqlite_select(bench_sqlite *sqlite, size_t n)
{
	sqlite->items = calloc(n, sizeof *sqlite->items);
	while (sqlite->items && sqlite->n_items < n && sqlite3_step(sqlite->select) == SQLITE_ROW)
		read_item(sqlite->select, &sqlite->items[sqlite->n_items++]);
	sqlite3_reset(sqlite->select);
	return sqlite->n_items == n ? 0 : failed(sqlite);
}

int bench_sqlite_update(bench_sqlite *sqlite, size_t n, int64_t delta)
{
	if (step(sqlite, sqlite->begin) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		sqlite3_bind_int64(sqlite->update, 1, (int64_t)i + delta);
		sqlite3_bind_int64(sqlite->update, 2, (int64_t)i + 1);
		if (step(sqlite, sqlite->update) < 0)
			return -1;
	}
	return step(sqlite, sqlite->commit);
}

int bench_sqlite_get(bench_sqlite *sqlite, int64_t id)
{
	bare_item item = {0};
	sqlite3_bind_int64(sqlite->get, 1, id);
	if (sqlite3_step(sqlite->get) != SQLITE_ROW)
		return failed(sqlite);
	read_item(sqlite->get, &item);
	sqlite3_reset(sqlite->get);
	free(item.name);
	free(item.note);
	return 0;
}

int bench_sqlite_parents(bench_sqlite *sqlite, size_t n_parents)
{
	const size_t n_items = n_parents * 10;
	sqlite->loaded = calloc(n_parents, sizeof *sqlite->loaded);
	sqlite->items = calloc(n_items, sizeof *sqlite->items);
	if (!sqlite->loaded || !sqlite->items)
		return -1;
	while (sqlite->n_loaded < n_parents && sqlite3_step(sqlite->parents) == SQLITE_ROW) {
		bare_parent *parent = &sqlite->loaded[sqlite->n_loaded++];
		parent->id = sqlite3_column_int64(sqlite->parents, 0);
		parent->name = copy_text(sqlite->parents, 1);
	}
	sqlite3_reset(sqlite->parents);
	while (sqlite->n_items < n_items && sqlite3_step(sqlite->children) == SQLITE_ROW) {
		bare_item *item = &sqlite->items[sqlite->n_items++];
		read_item(sqlite->children, item);
		bare_parent *parent = &sqlite->loaded[item->parent_id - 1]; /* keys are 1, 2, 3, ... */
		item->next = parent->items;
		parent->items = item;
	}
	sqlite3_reset(sqlite->children);
	return sqlite->n_loaded == n_parents && sqlite->n_items == n_items ? 0 : failed(sqlite);
}

int bench_sqlite_empty(bench_sqlite *sqlite)
{
	return run(sqlite, "DROP TABLE items; DROP TABLE parents;") < 0 || run(sqlite, schema) < 0 ? -1 : 0;
}

int bench_sqlite_hold_checkpoints(bench_sqlite *sqlite)
{
	return run(sqlite, "PRAGMA wal_autocheckpoint=0");
}

int bench_sqlite_checkpoint(bench_sqlite *sqlite)
{
	return sqlite3_wal_checkpoint_v2(sqlite->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK ? 0 : failed(sqlite);
}

int bench_sqlite_commit_one(bench_sqlite *sqlite, int64_t quantity)
{
	if (step(sqlite, sqlite->begin) < 0 || insert_item(sqlite, (size_t)quantity, 0) < 0)
		return -1;
	return step(sqlite, sqlite->commit);
}
