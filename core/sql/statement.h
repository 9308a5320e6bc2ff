/* SPDX-License-Identifier: MIT */
/*
 * What to ask or tell the database, before it is spelled: the closed set of statements that the ORM makes.
 * The compiler (compile.h) turns them into one dialect's SQL with every value bound as a parameter.
 */
#ifndef ORMD_SQL_STATEMENT_H
#define ORMD_SQL_STATEMENT_H

#include "model/value.h"

typedef enum ormd_operator { /* the wire's numbers */
	ORMD_EQ = 1, ORMD_NE, ORMD_LT, ORMD_LE, ORMD_GT, ORMD_GE, ORMD_LIKE, ORMD_IN, ORMD_IS_NULL, ORMD_NOT_NULL,
	ORMD_AND, ORMD_OR, ORMD_NOT
} ormd_operator;

#define ORMD_MAX_TERMS  1000  /* of one filter */
#define ORMD_MAX_VALUES 10000 /* of all terms together */
#define ORMD_MAX_NESTING 20   /* groups inside each other; a chain of ANDs, or of ORs, is one group. SQLite's parser has a stack of 100 */

/*
 * LIKE is SQL's: % stands for any run of characters, _ for one, and a backslash takes the meaning of the next %, _ or backslash away. Whether case
 * matters is the engine's affair (SQLite: not for ASCII letters). Comparisons with NULL are SQL's as well: != does not find rows that are NULL.
 */

/* Filters are in postfix order: a comparison pushes, AND and OR take two, NOT takes one; what remains on the stack is joined by AND. */
typedef struct ormd_term {
	ormd_operator    op;
	uint16_t         column;
	const orm_value *values;   /* borrowed; = and != with NULL become IS NULL and IS NOT NULL */
	size_t           n_values; /* 1; LIKE 1; IN any number (0: matches nothing); IS NULL, NOT NULL 0 */
} ormd_term;

typedef struct ormd_order {
	uint16_t column;
	bool     descending;
} ormd_order;

typedef enum ormd_result { ORMD_ROWS = 0, ORMD_COUNT = 1, ORMD_EXISTS = 2 } ormd_result;

#define ORMD_NO_LIMIT UINT64_MAX

/* Locking the rows that are found until the end of the transaction; the wire's numbers. An engine that locks no rows has the whole database locked by then. */
typedef enum ormd_lock {
	ORMD_LOCK_NONE = 0,
	ORMD_LOCK_WAIT = 1, /* for those who have them locked */
	ORMD_LOCK_SKIP = 2, /* pass over what others have locked */
	ORMD_LOCK_FAIL = 3  /* do not wait: ORM_ETIMEOUT */
} ormd_lock;

typedef struct ormd_select {
	const orm_mapper *mapper;
	ormd_result       result;
	const uint16_t   *columns;   /* of ORMD_ROWS; NULL: all */
	size_t            n_columns;
	const ormd_term  *where;
	size_t            n_where;
	const ormd_order *order;
	size_t            n_order;
	uint64_t          limit;     /* ORMD_NO_LIMIT: none */
	uint64_t          offset;
	ormd_lock         lock;      /* of ORMD_ROWS */
} ormd_select;

/*
 * Check a select that came from a peer: stack discipline, known columns, value types that fit the column (integers within the
 * column's range, UTF-8, no NaN), NULL only with = and !=, LIKE on text only, and the limits above. ORM_EINVAL naming model and column otherwise.
 * The functions of compile.h take only selects that would pass.
 */
orm_status ormd_select_check(const ormd_select *select, orm_error *error);

#endif
