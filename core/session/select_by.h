/* SPDX-License-Identifier: MIT */
/* Rows by lists of keys: SELECT .. WHERE column IN (...), as many keys at a time as make a good statement. And single
 * integers. */
#ifndef ORMD_SESSION_SELECT_BY_H
#define ORMD_SESSION_SELECT_BY_H

#include "driver/driver.h"
#include "sql/statement.h"

typedef struct ormd_select_by {
	const orm_mapper *mapper;
	const uint16_t *columns; /* that the values are of */
	size_t n_columns;
	const orm_value *values; /* n_keys x n_columns */
	size_t n_keys;
	ormd_lock lock;      /* the rows, too */
	bool ordered;        /* within each statement: those of one key together, by primary key */
	size_t next;         /* key that has not been asked for yet */
	ormd_cursor *cursor; /* of the statement under way */
} ormd_select_by;

/*
 * Append the next rows to the builder (all columns of the mapper): at most about max_size bytes, of one statement.
 * *done: there are no more. The errors of the connection. End with ormd_select_by_fini.
 */
orm_status ormd_select_by_fetch(ormd_select_by *select, ormd_connection *connection, orm_batch_builder *builder,
				size_t max_size, size_t *n_rows, bool *done, orm_error *error);
void ormd_select_by_fini(ormd_select_by *select); /* closes the cursor */

/* The one integer that a statement gives: a count, a highest key; 0 for NULL and for no row. */
orm_status ormd_select_integer(ormd_connection *connection, const char *sql, const orm_value *parameters,
			       size_t n_parameters, int64_t *integer, orm_error *error);

/* The types of all columns, for a driver's cursor. */
void ormd_mapper_types(const orm_mapper *mapper, uint8_t types[ORM_MAX_COLUMNS]);

#endif
