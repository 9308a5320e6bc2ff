/* SPDX-License-Identifier: MIT */
#include "sql/postgresql_bulk.h"

#include <string.h>

static const ormd_dialect *const dialect = &ormd_dialect_postgresql;

static void put_column(const orm_mapper *mapper, uint16_t column, orm_buffer *out)
{
	ormd_sql_identifier(dialect, mapper->columns[column].name, out);
}

static void put_columns(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *out)
{
	for (size_t i = 0; i < n_columns; i++) {
		if (i > 0)
			orm_buffer_puts(out, ", ");
		put_column(mapper, columns[i], out);
	}
}

/* The arrays side by side as rows: unnest($1, $2) WITH ORDINALITY AS v (c1, c2, place). */
static void put_arrays(size_t n, orm_buffer *out)
{
	orm_buffer_puts(out, "unnest(");
	for (size_t i = 1; i <= n; i++)
		orm_buffer_printf(out, i > 1 ? ", $%zu" : "$%zu", i);
	orm_buffer_puts(out, ") WITH ORDINALITY AS v (");
	for (size_t i = 1; i <= n; i++)
		orm_buffer_printf(out, "c%zu, ", i);
	orm_buffer_puts(out, "place)");
}

/* Which row of the table belongs to a row of the arrays: the key's, and the version's if there is one. */
static void put_where_that_row(const orm_mapper *mapper, size_t n_before, orm_buffer *out)
{
	for (size_t i = 0; i < mapper->n_key; i++) {
		orm_buffer_puts(out, i > 0 ? " AND t." : " WHERE t.");
		put_column(mapper, mapper->key[i], out);
		orm_buffer_printf(out, " = v.c%zu", n_before + i + 1);
	}
	if (mapper->version != ORM_NO_NUMBER) {
		orm_buffer_puts(out, " AND t.");
		put_column(mapper, mapper->version, out);
		orm_buffer_printf(out, " = v.c%zu", n_before + mapper->n_key + 1);
	}
	orm_buffer_puts(out, " RETURNING v.place");
}

static size_t n_where(const orm_mapper *mapper)
{
	return (size_t)mapper->n_key + (mapper->version != ORM_NO_NUMBER);
}

void ormd_postgresql_copy(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *out)
{
	orm_buffer_puts(out, "COPY ");
	ormd_sql_identifier(dialect, mapper->table, out);
	orm_buffer_puts(out, " (");
	put_columns(mapper, columns, n_columns, out);
	orm_buffer_puts(out, ") FROM STDIN (FORMAT binary)");
}

/* Where RETURNING starts: after VALUES ($1, ...), which holds no text that could look like it. */
static const char *returning_of(const char *row_sql, const orm_mapper *mapper, const uint16_t *columns,
				size_t n_columns)
{
	orm_buffer without;
	const char *rest = "";

	orm_buffer_init(&without);
	ormd_sql_insert(dialect, mapper, columns, n_columns, NULL, 0, &without);
	if (!without.failed && strncmp(row_sql, without.data, without.size) == 0)
		rest = row_sql + without.size;
	orm_buffer_fini(&without);
	return rest;
}

void ormd_postgresql_insert_arrays(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
				   const char *row_sql, orm_buffer *out)
{
	orm_buffer_puts(out, "INSERT INTO ");
	ormd_sql_identifier(dialect, mapper->table, out);
	orm_buffer_puts(out, " (");
	put_columns(mapper, columns, n_columns, out);
	orm_buffer_puts(out, ") SELECT ");
	for (size_t i = 1; i <= n_columns; i++)
		orm_buffer_printf(out, i > 1 ? ", c%zu" : "c%zu", i);
	orm_buffer_puts(out, " FROM ");
	put_arrays(n_columns, out);
	orm_buffer_puts(out, " ORDER BY place");
	orm_buffer_puts(out, returning_of(row_sql, mapper, columns, n_columns));
}

void ormd_postgresql_update_arrays(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *out)
{
	orm_buffer_puts(out, "UPDATE ");
	ormd_sql_identifier(dialect, mapper->table, out);
	orm_buffer_puts(out, " AS t SET ");
	for (size_t i = 0; i < n_columns; i++) {
		if (i > 0)
			orm_buffer_puts(out, ", ");
		put_column(mapper, columns[i], out);
		orm_buffer_printf(out, " = v.c%zu", i + 1);
	}
	orm_buffer_puts(out, " FROM ");
	put_arrays(n_columns + n_where(mapper), out);
	put_where_that_row(mapper, n_columns, out);
}

void ormd_postgresql_delete_arrays(const orm_mapper *mapper, orm_buffer *out)
{
	orm_buffer_puts(out, "DELETE FROM ");
	ormd_sql_identifier(dialect, mapper->table, out);
	orm_buffer_puts(out, " AS t USING ");
	put_arrays(n_where(mapper), out);
	put_where_that_row(mapper, 0, out);
}
