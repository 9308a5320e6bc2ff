/* SPDX-License-Identifier: MIT */
/*
 * The bench: each row of the budget does a piece of work through ormd and, in the same run, the same work by the barest means there is. Clocks
 * of virtual machines swing, so the two are run in turn, several times, and the ratio is the median of the pairs' ratios.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include <orm.h>

typedef struct bench_options {
	size_t      n_pairs;   /* repetitions of floor and ours, in turn */
	size_t      n_rows;    /* of the bulk rows */
	const char *only;      /* rows whose name contains this; NULL: all */
	const char *directory; /* private, for databases and sockets */
} bench_options;

/* Seconds that one unit of a piece of work took, or negative when it failed (and a line on standard error said why). */
typedef double bench_work(const bench_options *options, void *state);

typedef struct bench_row {
	const char *name;
	const char *floor_name;
	double      budget;      /* highest ratio; the lowest where `at_least` */
	bool        at_least;    /* the ratio is floor / ours: how many times better */
	const char *unit;        /* what one unit is: "row", "get" */
	/* May be NULL. Ready what floor and ours need; *state is theirs. Nonzero: failed. */
	int (*open)(const bench_options *options, void **state);
	bench_work *floor;
	bench_work *ours;
	void (*close)(void *state);
} bench_row;

extern const bench_row bench_rows_bulk[], bench_rows_call[], bench_rows_commit[], bench_rows_memory[]; /* end with a NULL name */

double bench_now(void); /* seconds */
/* A fresh path in the bench's directory; static storage, one per name. */
void bench_path(const bench_options *options, const char *name, char *path, size_t size);
/* Say why a piece of work failed; returns -1. */
double bench_failed(const char *what, const char *why);
double bench_failed_session(const char *what, const orm_session *session);

/* ---- the field's usual row: integers, text, a double, a nullable ---- */

ORM_DECLARE(Parent);
ORM_DECLARE(Item);

struct Parent {
	int64_t     id;
	const char *name;
	Item_list   items;
};

struct Item {
	int64_t     id;
	int64_t     quantity;
	const char *name;
	double      price;
	const char *note;     /* every third is NULL */
	orm_opt_int64 parent_id;
	Parent     *parent;
};

extern const orm_model *const bench_models[];

/* The i-th row's values, the same for floor and ours. */
const char *bench_name(size_t i);
const char *bench_note(size_t i);

/* ---- floors ---- */

typedef struct bench_sqlite bench_sqlite;
bench_sqlite *bench_sqlite_open(const char *path, bool create_tables); /* WAL, synchronous=FULL, as the server sets them */
void          bench_sqlite_close(bench_sqlite *sqlite);
int           bench_sqlite_insert(bench_sqlite *sqlite, size_t n, size_t n_parents); /* one transaction; parents first if there are any */
int           bench_sqlite_select(bench_sqlite *sqlite, size_t n);    /* into structs, which stay until forgotten */
int           bench_sqlite_update(bench_sqlite *sqlite, size_t n, int64_t delta); /* one column of each, one transaction */
int           bench_sqlite_get(bench_sqlite *sqlite, int64_t id);
int           bench_sqlite_parents(bench_sqlite *sqlite, size_t n_parents); /* two SELECT loops into structs, children linked */
void          bench_sqlite_forget(bench_sqlite *sqlite);              /* the structs read last */
int           bench_sqlite_commit_one(bench_sqlite *sqlite, int64_t quantity); /* BEGIN IMMEDIATE, one INSERT, COMMIT */
int           bench_sqlite_empty(bench_sqlite *sqlite); /* the tables anew */
/* From now on no commit checkpoints the log by itself: as in the server, which does it once the commit is answered. */
int           bench_sqlite_hold_checkpoints(bench_sqlite *sqlite);
int           bench_sqlite_checkpoint(bench_sqlite *sqlite);

typedef struct bench_ping bench_ping;
bench_ping *bench_ping_open(const bench_options *options, size_t request_size, size_t reply_size); /* a bare nng REP in a process of its own */
int         bench_ping_serve(const char *address, size_t reply_size); /* what that process runs */
int         bench_ping_once(bench_ping *ping);
void        bench_ping_close(bench_ping *ping);

#endif
