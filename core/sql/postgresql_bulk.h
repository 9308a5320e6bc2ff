/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL's statements for many rows at once. Instead of one parameter per value they take one array per parameter
 * of the row's statement (compile.h), in its order, each with as many elements as there are rows.
 */
#ifndef ORMD_SQL_POSTGRESQL_BULK_H
#define ORMD_SQL_POSTGRESQL_BULK_H

#include "sql/compile.h"

/* COPY <table> (<columns>) FROM STDIN in the binary format. No parameters. */
void ormd_postgresql_copy(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *out);

/* As ormd_sql_insert, and `row_sql` is what that gave: its RETURNING is taken over. In the rows' order. */
void ormd_postgresql_insert_arrays(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
				   const char *row_sql, orm_buffer *out);

/*
 * As ormd_sql_update and ormd_sql_delete. They give one row for each row of the database that they found: the place,
 * from 1, in the arrays (int8).
 */
void ormd_postgresql_update_arrays(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
				   orm_buffer *out);
void ormd_postgresql_delete_arrays(const orm_mapper *mapper, orm_buffer *out);

#endif
