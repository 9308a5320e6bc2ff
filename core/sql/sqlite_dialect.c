/* SPDX-License-Identifier: MIT */
#include "sql/dialect.h"

#include <stddef.h>

/*
 * SQLite keeps a cell by its value, not by its column; the declared type only lends an affinity. Dates (days since
 * 1970-01-01), times and datetimes (microseconds) are declared INTEGER and stored as such: they sort, compare and index
 * as numbers, without parsing. So are decimals, which are counted in the smallest unit that the column has (12.50 of
 * scale 2 is 1250): that is exact up to 18 digits; a check of the program's own sees that number. A generated key is
 * exactly INTEGER, because only that makes the column the rowid itself.
 */
static void put_type(const orm_column *column, bool generated, orm_buffer *out)
{
	switch (column->type) {
	case ORM_BOOL:
		orm_buffer_puts(out, "BOOLEAN");
		return;
	case ORM_INT64:
		orm_buffer_puts(out, generated ? "INTEGER" : "BIGINT");
		return;
	case ORM_DOUBLE:
		orm_buffer_puts(out, "DOUBLE PRECISION");
		return;
	case ORM_TEXT:
		if (column->max_length > 0)
			orm_buffer_printf(out, "VARCHAR(%u)", (unsigned)column->max_length);
		else
			orm_buffer_puts(out, "TEXT");
		return;
	case ORM_JSON:
		orm_buffer_puts(out, "TEXT");
		return;
	case ORM_BYTES:
	case ORM_UUID:
		orm_buffer_puts(out, "BLOB");
		return;
	default: /* INT32, DATE, TIME, DATETIME, DECIMAL */
		orm_buffer_puts(out, "INTEGER");
		return;
	}
}

static void read_decimal(const orm_column *column, orm_buffer *out)
{
	orm_buffer_puts(out, "ormd_decimal("); /* sqlite_functions.c */
	ormd_sql_identifier(&ormd_dialect_sqlite, column->name, out);
	orm_buffer_printf(out, ", %u)", (unsigned)column->scale);
}

static void put_decimal_default(const orm_column *column, orm_buffer *out)
{
	int64_t units = 0;

	(void)orm_decimal_to_int64(column->server_default, column->scale, &units); /* the registry has checked it */
	orm_buffer_printf(out, "%lld", (long long)units);
}

/* What BOOLEAN and VARCHAR(n) promise and SQLite does not keep. length() counts characters of text and bytes of a blob.
 */
static void put_type_check(const orm_column *column, orm_buffer *out)
{
	if (column->type == ORM_BOOL) {
		ormd_sql_identifier(&ormd_dialect_sqlite, column->name, out);
		orm_buffer_puts(out, " IN (0, 1)");
	} else if (column->type == ORM_DECIMAL || column->type == ORM_UUID) {
		orm_buffer_puts(out, column->type == ORM_UUID ? "length(" : "typeof(");
		ormd_sql_identifier(&ormd_dialect_sqlite, column->name, out);
		orm_buffer_puts(out, column->type == ORM_UUID ? ") = 16" : ") IN ('integer', 'null')");
	} else if (column->type == ORM_JSON) {
		orm_buffer_puts(out, "json_valid(");
		ormd_sql_identifier(&ormd_dialect_sqlite, column->name, out);
		orm_buffer_putc(out, ')');
	} else if (column->max_length > 0) {
		orm_buffer_puts(out, "length(");
		ormd_sql_identifier(&ormd_dialect_sqlite, column->name, out);
		orm_buffer_printf(out, ") <= %u", (unsigned)column->max_length);
	}
}

/* Exact to the millisecond, which is what SQLite knows; julianday() would lose some of that in a double. */
#define SECONDS      "CAST(strftime('%s', 'now') AS INTEGER)"
#define MICROSECONDS "CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000"

static const char *now(orm_type type)
{
	switch (type) {
	case ORM_DATE:
		return SECONDS " / 86400";
	case ORM_TIME:
		return SECONDS " % 86400 * 1000000 + " MICROSECONDS;
	default:
		return SECONDS " * 1000000 + " MICROSECONDS;
	}
}

const ormd_dialect ormd_dialect_sqlite = {
	.name = "sqlite",
	.quote = '"',
	.numbered_parameters = false,
	.returning = true,
	.max_precision = 18,
	.max_parameters = 32766, /* SQLITE_MAX_VARIABLE_NUMBER since 3.32 */
	.transactional_ddl = true,
	.alter_add_foreign_key = false,
	.on_conflict_do_nothing = " ON CONFLICT DO NOTHING",
	.insert_prefix_ignore = NULL,
	.insert_defaults = " DEFAULT VALUES",
	.like_escape = " ESCAPE '\\'",
	.defer_foreign_keys = "PRAGMA defer_foreign_keys = ON",
	.type = put_type,
	.now = now,
	.read_decimal = read_decimal,
	.decimal_default = put_decimal_default,
	.type_check = put_type_check,
};
