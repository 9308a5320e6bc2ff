/* SPDX-License-Identifier: MIT */
/*
 * Statements to SQL text. Values are never part of the text: every function appends text with parameters and its comment
 * says which values they take, in order. Same-shaped statements give the same text, which is the key of the
 * drivers' caches of prepared statements. Identifiers come from the registry only, and are always quoted.
 */
#ifndef ORMD_SQL_COMPILE_H
#define ORMD_SQL_COMPILE_H

#include "sql/dialect.h"
#include "sql/statement.h"

/* Gives the columns, or one row with one integer: how many rows there are (ORMD_COUNT), or 0 or 1 (ORMD_EXISTS).
   Parameters: the terms' values in order, then limit, then offset where they are set (they hold for counts, too). IN lists are padded (by repeating the last
   value) to the next of 1, 2, 4, 8, ... so that they make few shapes: ormd_select_parameters gives the padded list. */
void ormd_sql_select(const ormd_dialect *dialect, const ormd_select *select, orm_buffer *out);
/* The values for its parameters, arena; NULL when out of memory. */
const orm_value *ormd_select_parameters(const ormd_select *select, orm_arena *arena, size_t *n);

/* INSERT of `n_columns` columns (numbers; none: all defaults); RETURNING `n_returning` columns if any. Parameters: one per column. */
void ormd_sql_insert(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
                     const uint16_t *returning, size_t n_returning, orm_buffer *out);
/* UPDATE by primary key, and by version if the model has one. Parameters: the new values, the key's old values, the old version. */
void ormd_sql_update(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *out);
/* DELETE by primary key, and by version if the model has one. Parameters: the key's values, the version. */
void ormd_sql_delete(const ormd_dialect *dialect, const orm_mapper *mapper, orm_buffer *out);
/* SELECT all columns WHERE the given columns (one or several) match one of n_rows rows of values: a single column as an IN list, several as OR of ANDs. 
   Parameters: the values row by row; pad by repeating the last row up to n_rows. When `ordered`, by those columns and then by the primary
   key. At most ORMD_MAX_COMPOSITE_ROWS of several columns: SQLite plans each OR by itself, and for an ordered result in the square of them (3 ms for 256). */
#define ORMD_MAX_COMPOSITE_ROWS 256
void ormd_sql_select_by(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
                        size_t n_rows, bool ordered, orm_buffer *out);
/* Append to a SELECT of rows what locks them; nothing where the engine locks no rows. */
void ormd_sql_lock(const ormd_dialect *dialect, ormd_lock lock, orm_buffer *out);
/* SELECT max(key) of a model with a generated key. No parameters. */
void ormd_sql_max_key(const ormd_dialect *dialect, const orm_mapper *mapper, orm_buffer *out);

#endif
