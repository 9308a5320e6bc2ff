/* SPDX-License-Identifier: MIT */
/*
 * The bench: each row of the budget does a piece of work through ormd and, in the same run, the same work by the barest means there is. Clocks
 * of virtual machines swing, so the two are run in turn, several times, and the ratio is the median of the pairs' ratios.
 *
 * A row is written once and run for each engine (bench_engine), which says how the bare work is done there. Where an engine has several ways to do a
 * piece of bulk work, all are measured first and printed, and the best of them is the floor.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include <orm.h>

typedef struct bench_engine bench_engine;
typedef struct bench_floor  bench_floor;

typedef struct bench_options {
	size_t      n_pairs;   /* repetitions of floor and ours, in turn */
	size_t      n_rows;    /* of the bulk rows */
	const char *only;      /* rows whose name contains this; NULL: all */
	const char *directory; /* private, for databases and sockets */
} bench_options;

/* A row being run. */
typedef struct bench_case {
	const bench_options *options;
	const bench_engine  *engine;
	void                *state;      /* the row's own */
	const char          *floor_name; /* what the bare work is; the row's, unless its `open` says it better */
} bench_case;

/* Seconds (or what the row's unit is) that one unit of a piece of work took, or negative when it failed (and a line on standard error said why). */
typedef double bench_work(bench_case *run);

typedef enum bench_where {
	BENCH_EVERYWHERE = 0,
	BENCH_SERVERS, /* on engines that are servers */
	BENCH_ONCE     /* only on SQLite, as no engine has a part in it */
} bench_where;

typedef enum bench_verdict {
	BENCH_AT_MOST = 0,  /* ours / floor is at most the budget */
	BENCH_AT_LEAST,     /* floor / ours is at least the budget: how many times better */
	BENCH_AT_MOST_MORE, /* ours - floor is at most the budget */
} bench_verdict;

typedef struct bench_row {
	const char   *name;
	const char   *floor_name;
	bench_where   where;
	bench_verdict verdict;
	double        budget;        /* 0: none, the figures are for information */
	double        server_budget; /* the same on engines that are servers */
	const char   *unit;          /* what one unit is: "row", "get" */
	/* May be NULL. Ready what floor and ours need, in `state`. Nonzero: failed. */
	int (*open)(bench_case *run);
	bench_work *floor;
	bench_work *ours;
	void (*close)(bench_case *run); /* of what `open` made, which may be half of it */
} bench_row;

extern const bench_row bench_rows_bulk[], bench_rows_call[], bench_rows_commit[], bench_rows_memory[], bench_rows_turns[]; /* end with a NULL name */

double bench_now(void); /* seconds */
double bench_median(double *values, size_t n); /* sorts them */
/* Say why a piece of work failed; returns -1. */
double bench_failed(const char *what, const char *why);
double bench_failed_session(const char *what, const orm_session *session);
/* Print seconds in a unit that suits them, ten columns wide. */
void bench_print_time(double seconds);

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
double      bench_price(size_t i);
/* Add that row, by orm_add. */
void bench_add(orm_session *session, size_t i);

/* ---- ours ---- */

#define BENCH_URL_SIZE 512

/* A server of our own on the database, with its tables, and a connection to it. Owned; NULL: failed. Others connect to its orm_db_address. */
orm_db *bench_connect(const bench_options *options, const char *url);
/* Wait until the server has done what it puts off until it has replied: that must not disturb the floor's next turn. */
void bench_let_rest(orm_db *db);
/* Disconnect, and wait for the server's end. NULL allowed. */
void bench_disconnect(orm_db *db);

/* ---- floors ---- */

typedef struct bench_item {
	int64_t  id, quantity;
	char    *name;
	double   price;
	char    *note;
	bool     has_parent;
	int64_t  parent_id;
	struct bench_item *next; /* of the same parent */
} bench_item;

typedef struct bench_parent {
	int64_t     id;
	char       *name;
	bench_item *items;
} bench_parent;

/* A bare connection of an engine; its own struct starts with this. */
struct bench_floor {
	const bench_engine *engine;
	bench_item   *items;   /* read last */
	bench_parent *parents;
	size_t        n_items, n_parents;
};

/* Room for so many; the counts stay 0. Nonzero: failed. */
int  bench_floor_expect(bench_floor *floor, size_t n_items, size_t n_parents);
void bench_floor_link(bench_floor *floor);   /* items to their parents, whose keys are 1, 2, 3, ... */
void bench_floor_forget(bench_floor *floor); /* what was read last */
/* A copy of text that need not end with a NUL; NULL stays NULL. */
char *bench_copy(const char *text, size_t size);

/* One of the ways to do a piece of bulk work; all of it is one transaction. Nonzero: failed. Inserts: `step` parents first, if there are any,
   whose items follow each other in turn. Updates: one column of each row, to its number + step. */
typedef struct bench_way {
	const char *name;
	int (*work)(bench_floor *floor, size_t n, int64_t step);
	bool slow; /* for information, never the best: measured with fewer rows */
} bench_way;

typedef enum bench_open_flags {
	BENCH_TABLES = 1,    /* make them */
	BENCH_NO_UPKEEP = 2, /* what an engine's client does in passing now and then is put off until `rest`, as it is in the server */
} bench_open_flags;

struct bench_engine {
	const char *name;   /* in the rows: "SQLite" */
	const char *option; /* of the command line: "sqlite" */
	const char *client; /* its library: "sqlite3 in process" */
	bool        is_server;
	/* may: make an engine ready, and end it. Nonzero: failed */
	int (*start)(const bench_options *options);
	void (*stop)(void);
	/* must: a database that nobody has used yet. Nonzero: failed */
	int (*database)(const bench_options *options, const char *name, char url[BENCH_URL_SIZE]);
	/* may: where its clients reach it, and the URL of that database by way of another socket, of the same file name */
	const char *(*socket)(void);
	void (*url_by_socket)(const char *url, const char *socket, char other[BENCH_URL_SIZE]);

	/* the rest: must. Nonzero, or NULL: failed, and a line on standard error has said why */
	bench_floor *(*open)(const char *url, unsigned flags);
	void (*close)(bench_floor *floor);      /* NULL allowed */
	const bench_way *inserts;               /* of items; the first one is used to fill tables. End with a NULL name */
	const bench_way *updates;
	int (*empty)(bench_floor *floor);       /* the tables anew */
	int (*rest)(bench_floor *floor);        /* what follows much work: checkpoint, vacuum */
	int (*select)(bench_floor *floor, size_t n); /* all items into structs that own their text, and stay until forgotten */
	int (*parents)(bench_floor *floor, size_t n_parents, size_t n_items); /* two SELECT loops into structs, children linked */
	int (*get)(bench_floor *floor, int64_t id);
	int (*add_one)(bench_floor *floor, size_t i);                        /* begin, insert item i, commit */
	int (*change_one)(bench_floor *floor, int64_t id, int64_t quantity); /* begin, update one, commit */
};

extern const bench_engine bench_sqlite, bench_postgresql, bench_mariadb;

/* The best of the ways, after measuring each and printing it if there are several. `restore` brings back what they found. NULL: failed. */
const bench_way *bench_best_way(bench_floor *floor, const bench_way *ways, size_t n, int (*restore)(bench_floor *floor));

typedef struct bench_ping bench_ping;
bench_ping *bench_ping_open(const bench_options *options, size_t request_size, size_t reply_size); /* a bare nng REP in a process of its own */
int         bench_ping_serve(const char *address, size_t reply_size); /* what that process runs */
int         bench_ping_once(bench_ping *ping);
void        bench_ping_close(bench_ping *ping);

/*
 * A relay between an engine's socket and its clients that counts their turns: how often a client has said something after it was answered. An
 * answer is held for a moment, so that only a client that waits for it takes a turn.
 */
typedef struct bench_relay bench_relay;
bench_relay *bench_relay_open(const char *socket, const char *target); /* listens on `socket`, which does not exist. NULL: failed */
uint64_t     bench_relay_turns(bench_relay *relay); /* of all connections until now */
void         bench_relay_close(bench_relay *relay); /* cuts its connections */

#endif
