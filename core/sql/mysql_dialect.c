/* SPDX-License-Identifier: MIT */
#include "sql/dialect.h"

#include <stddef.h>

/*
 * MariaDB. Identifiers, text and keys compare by their bytes (utf8mb4_nopad_bin), as on the other engines: 'a', 'A' and
 * 'a ' are three values. Instants are DATETIME in UTC: TIMESTAMP ends in 2038.
 *
 * An index takes 3072 bytes, so 768 characters. A text without a limit that has to be found by its whole value (a key,
 * a unique column, a foreign key) is VARCHAR(255): four of them would still fit into one key, and a lookup uses the
 * index, which a UNIQUE over LONGTEXT does not allow. A plain index is over the first 768 characters.
 */
#define LONGEST_INDEXED 768
#define KEY_LENGTH      255
#define INDEX_BYTES     3072

static bool is_key(const orm_column *column)
{
	return column->primary_key || column->unique || column->foreign_key != ORM_NO_NUMBER;
}

/* Long columns are kept outside the row, whose columns may take 65535 bytes in all; their limit is a check. */
static bool is_short(const orm_column *column)
{
	return is_key(column) || (column->max_length > 0 && column->max_length <= LONGEST_INDEXED);
}

static void put_sized(const char *type, const char *long_type, const orm_column *column, orm_buffer *out)
{
	if (is_short(column))
		orm_buffer_printf(out, "%s(%u)", type,
				  column->max_length > 0 ? (unsigned)column->max_length : KEY_LENGTH);
	else
		orm_buffer_puts(out, long_type);
}

static const char *const type_names[ORM_TYPE_MAX + 1] = {
	[ORM_BOOL] = "BOOLEAN",
	[ORM_INT32] = "INT",
	[ORM_INT64] = "BIGINT",
	[ORM_DOUBLE] = "DOUBLE",
	[ORM_DATE] = "DATE",
	[ORM_TIME] = "TIME(6)",
	[ORM_DATETIME] = "DATETIME(6)",
	[ORM_UUID] = "BINARY(16)", /* in the order of its bytes, which MariaDB's own UUID has not */
	[ORM_JSON] = "JSON",       /* LONGTEXT with a check */
};

static void put_type(const orm_column *column, bool generated, orm_buffer *out)
{
	switch (column->type) {
	case ORM_TEXT:
		put_sized("VARCHAR", "LONGTEXT", column, out);
		break;
	case ORM_BYTES:
		put_sized("VARBINARY", "LONGBLOB", column, out);
		break;
	case ORM_DECIMAL:
		orm_buffer_printf(out, "DECIMAL(%u, %u)", (unsigned)column->precision, (unsigned)column->scale);
		break;
	default:
		orm_buffer_puts(out, type_names[column->type]);
		break;
	}
	if (generated)
		orm_buffer_puts(out, " AUTO_INCREMENT");
}

/* BOOLEAN is a TINYINT, and what is too long for VARCHAR has no limit of its own. */
static void put_type_check(const orm_column *column, orm_buffer *out)
{
	if (column->type == ORM_BOOL) {
		ormd_sql_identifier(&ormd_dialect_mysql, column->name, out);
		orm_buffer_puts(out, " IN (0, 1)");
	} else if (column->max_length > 0 && !is_short(column)) {
		orm_buffer_puts(out, column->type == ORM_TEXT ? "char_length(" : "octet_length(");
		ormd_sql_identifier(&ormd_dialect_mysql, column->name, out);
		orm_buffer_printf(out, ") <= %u", (unsigned)column->max_length);
	}
}

static void put_index_part(const orm_column *column, orm_buffer *out)
{
	const bool is_text = column->type == ORM_TEXT;
	const unsigned longest = is_text ? LONGEST_INDEXED : INDEX_BYTES;

	if (is_text || column->type == ORM_BYTES) {
		if (!is_short(column) || column->max_length > longest)
			orm_buffer_printf(out, "(%u)", longest);
	}
}

/* Not CURRENT_TIMESTAMP: that is in the zone of whoever inserts, and other programs need not use UTC. */
static const char *now(orm_type type)
{
	switch (type) {
	case ORM_DATE:
		return "utc_date()";
	case ORM_TIME:
		return "utc_time(6)";
	default:
		return "utc_timestamp(6)";
	}
}

const ormd_dialect ormd_dialect_mysql = {
	.name = "mysql",
	.quote = '`',
	.numbered_parameters = false,
	.returning = true, /* MariaDB since 10.5 */
	.max_precision = ORM_DECIMAL_MAX_PRECISION,
	.max_parameters = 65535,
	.transactional_ddl = false,
	.alter_add_foreign_key = true,
	.on_conflict_do_nothing = NULL,
	.insert_prefix_ignore = "INSERT IGNORE",
	.insert_defaults = " () VALUES ()",
	.like_escape = " ESCAPE '\\\\'", /* one backslash: the driver's sql_mode is not NO_BACKSLASH_ESCAPES */
	.for_update = " FOR UPDATE",
	.skip_locked = " SKIP LOCKED",
	.no_wait = " NOWAIT",
	.defer_foreign_keys = NULL, /* InnoDB checks each row at once, and cannot put it off */
	.suspend_foreign_keys = "SET foreign_key_checks = 0",
	.resume_foreign_keys = "SET foreign_key_checks = 1",
	.table_options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin",
	.type = put_type,
	.now = now,
	.type_check = put_type_check,
	.index_part = put_index_part,
};
