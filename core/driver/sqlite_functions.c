/* SPDX-License-Identifier: MIT */
/*
 * SQL functions of our connections.
 *
 * Decimals are kept as integers that count the column's smallest unit. A canonical text says its scale by its digits;
 * an integer does not, so that the dialect has them read by a function: ormd_decimal(1250, 2) is '12.50'.
 *
 * A table's CHECK of JSON says json_valid, for every program that writes. SQLite's own is not marked as harmless in all
 * versions (3.40), which it must be where the schema is not trusted; ours is, and takes what the models' check takes.
 */
#include "driver/sqlite_internal.h"

#include <string.h>

/* What is no integer stays what it is, and is no decimal when it is read. */
static void decimal_function(sqlite3_context *context, int n_arguments, sqlite3_value **arguments)
{
	char text[ORM_DECIMAL_SIZE];

	(void)n_arguments;
	if (sqlite3_value_type(arguments[0]) != SQLITE_INTEGER ||
	    orm_decimal_from_int64(sqlite3_value_int64(arguments[0]), (unsigned)sqlite3_value_int(arguments[1]),
				   text) != ORM_OK)
		sqlite3_result_value(context, arguments[0]);
	else
		sqlite3_result_text(context, text, (int)strlen(text), SQLITE_TRANSIENT);
}

static void json_valid_function(sqlite3_context *context, int n_arguments, sqlite3_value **arguments)
{
	const char *text = (const char *)sqlite3_value_text(arguments[0]);

	(void)n_arguments;
	if (text)
		sqlite3_result_int(context, orm_json_valid(text, (size_t)sqlite3_value_bytes(arguments[0])));
}

orm_status ormd_sqlite_add_functions(sqlite_connection *connection, orm_error *error)
{
	int rc = sqlite3_create_function_v2(connection->handle, "ormd_decimal", 2,
					    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
					    decimal_function, NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_create_function_v2(connection->handle, "json_valid", 1,
						SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
						json_valid_function, NULL, NULL, NULL);
	return rc == SQLITE_OK ? ORM_OK : ormd_sqlite_fail(connection, rc, NULL, error);
}

bool ormd_sqlite_decimal_units(const char *text, size_t size, int64_t *units)
{
	char copy[ORM_DECIMAL_SIZE];
	const char *point = memchr(text, '.', size);
	const size_t n_fraction = point ? (size_t)(text + size - point) - 1 : 0;

	if (size >= sizeof copy)
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return orm_decimal_to_int64(copy, (unsigned)n_fraction, units) == ORM_OK;
}
