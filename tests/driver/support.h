/* SPDX-License-Identifier: MIT */
/* What the driver's tests share: databases of the engine under test, models, values, and SQL that must succeed. */
#ifndef TESTS_DRIVER_SUPPORT_H
#define TESTS_DRIVER_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "driver/database.h"
#include "driver/driver.h"
#include "support/engine.h"

/* A new database of the engine under test; of SQLite it is the file `name` in a new directory. Borrowed, good until the
 * next call from a thread. */
const char *database_url(const char *name);
/* SQLite's file of such a URL. */
const char *database_path(const char *url);

ormd_connection *open_connection(const char *url, bool read_only);
void run_sql(ormd_connection *connection, const char *sql); /* must succeed */
int64_t ask_int64(ormd_connection *connection, const char *sql);

/* The same as another program would: engine_run. */
void run_sql_outside(const char *url, const char *sql);
int64_t ask_outside(const char *url, const char *sql);

/* For tests of what only SQLite has: its files, its one writer. */
#define ONLY_ON_SQLITE()                                                                                               \
	do {                                                                                                           \
		if (engine_under_test() != ENGINE_SQLITE)                                                              \
			skip();                                                                                        \
	} while (0)

orm_value int64_value(int64_t number);
orm_value text_value(const char *text);
orm_value null_value(orm_type type);

/* Write one row; the status, and the error. SQL is written as for SQLite, "name" and ?, and adapted. */
orm_status write_row(ormd_connection *connection, const char *sql, const orm_value *values, size_t n_values,
		     orm_error *error);

/*
 * Models: "Item" (items: id generated, name) and "Cell" (cells: id, and one nullable column of each type, "int32",
 * "text", ...). Item's table is made by `create_items`.
 */
const orm_mapper *item_mapper(void);
const orm_mapper *cell_mapper(void);
const orm_mapper *small_mapper(void); /* "Small" (smalls): an int32 key */
extern const char create_items[];     /* SQLite's */

ormd_database *open_database(const char *url);

/* A job that inserts one item; its name may be NULL, which fails. `storage` lives until it is done. */
typedef struct insert_job {
	ormd_job job;
	const char *name;
	int n_runs; /* times that `run` was called */
	int n_done;
	orm_status status;
	orm_error error;
	orm_status (*before)(ormd_connection *connection, void *context); /* called in `run` first; may be NULL */
	orm_status (*after)(ormd_connection *connection, void *context);  /* and after the insert */
	void *context;
} insert_job;
void insert_job_init(insert_job *insert, const char *name);

#endif
