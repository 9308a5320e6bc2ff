/* SPDX-License-Identifier: MIT */
/*
 * A dialect: how an engine spells SQL, as const data with a few functions where data cannot say it. The
 * driver (driver/driver.h) is how to talk to the engine. Adding an engine adds one dialect and one driver.
 */
#ifndef ORMD_SQL_DIALECT_H
#define ORMD_SQL_DIALECT_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/registry.h"

typedef struct ormd_dialect {
	const char *name;                  /* "sqlite" */
	char        quote;                 /* of identifiers: '"' or '`'; doubled inside */
	bool        numbered_parameters;   /* $1, $2, ... instead of ? */
	bool        returning;             /* INSERT .. RETURNING */
	uint32_t    max_parameters;        /* of one statement */
	uint8_t     max_precision;         /* digits that a decimal can have */
	bool        transactional_ddl;
	bool        alter_add_foreign_key; /* foreign keys of model cycles are added after the tables; else they are declared inline (the engine accepts forward references) */
	const char *foreign_key_suffix;    /* may: what follows a foreign key's declaration so that its check can be put off */
	const char *on_conflict_do_nothing; /* suffix of INSERT: " ON CONFLICT DO NOTHING" */
	const char *insert_prefix_ignore;   /* or prefix, for engines that say INSERT IGNORE; exactly one of the two is set */
	const char *insert_defaults;        /* what follows INSERT INTO <table> when no column is given: " DEFAULT VALUES" */
	const char *like_escape;            /* what follows LIKE ? so that a backslash escapes % and _ */
	/* may: what follows a nullable column in ORDER BY so that NULL comes before every value, and in descending order after them. NULL: it does so by itself */
	const char *ascending;
	const char *descending;
	/* may: what follows a SELECT to lock its rows until the end of the transaction, and, after that, what makes it pass over rows that others have locked, or
	   fail at once. NULL: the engine locks no rows */
	const char *for_update;
	const char *skip_locked;
	const char *no_wait;
	const char *defer_foreign_keys;     /* may: the statement that puts off foreign key checks to the end of the transaction */
	/* may, where there is no such: the statements that make the session's writes pass unchecked, and checked again. Both or none; see session/flush_keys.h */
	const char *suspend_foreign_keys;
	const char *resume_foreign_keys;
	const char *table_options;          /* may: what follows the closing parenthesis of CREATE TABLE */

	/* must: the column's SQL type, "VARCHAR(50)"; `generated`: it is a generated integer key */
	void (*type)(const orm_column *column, bool generated, orm_buffer *out);
	/* must: the expression for ORM_DEFAULT_NOW in a column of this type */
	const char *(*now)(orm_type type);
	/* may: how a decimal column is spelled where its value is read (a SELECT's list, RETURNING) so that it comes as canonical text. Must not give the
	   result the column's name, which ORDER BY would take for it. NULL: by its name */
	void (*read_decimal)(const orm_column *column, orm_buffer *out);
	/* may: how a decimal column's default, a number, is spelled; NULL: as it is */
	void (*decimal_default)(const orm_column *column, orm_buffer *out);
	/* may: further conditions that the engine needs to keep a type honest, as text of a CHECK; NULL function: none */
	void (*type_check)(const orm_column *column, orm_buffer *out);
	/* may: what follows the column's name in CREATE INDEX, for engines that index only the beginning of long values; NULL function: nothing */
	void (*index_part)(const orm_column *column, orm_buffer *out);
} ormd_dialect;

extern const ormd_dialect ormd_dialect_sqlite;
extern const ormd_dialect ormd_dialect_mysql;
extern const ormd_dialect ormd_dialect_postgresql;

/* Can the engine keep what the models have? ORM_EUNSUPPORTED naming model and column. */
orm_status ormd_dialect_check(const ormd_dialect *dialect, const orm_registry *registry, orm_error *error);

void ormd_sql_identifier(const ormd_dialect *dialect, const char *name, orm_buffer *out); /* quoted */

#endif
