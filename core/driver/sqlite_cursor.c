/* SPDX-License-Identifier: MIT */
/* Results, read strictly into column builders. Other programs may have written anything into the file. */
#include "driver/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define US_PER_DAY INT64_C(86400000000)

typedef struct sqlite_cursor {
	ormd_cursor base;
	sqlite_statement *statement;
	bool finished;
	size_t n_types;
	uint8_t types[];
} sqlite_cursor;

static sqlite_cursor *cursor_of(ormd_cursor *cursor)
{
	return (sqlite_cursor *)(void *)cursor;
}

/* ---- cells ------------------------------------------------------------------------------------------------- */

/* Dates and times are integers where we wrote them; where another program did, ISO 8601 text is understood too. */
static bool read_calendar(sqlite3_value *cell, int storage, orm_type type, int64_t *integer)
{
	if (storage == SQLITE_INTEGER) {
		const int64_t number = sqlite3_value_int64(cell);

		*integer = number;
		if (type == ORM_DATE)
			return number >= INT32_MIN && number <= INT32_MAX;
		return type != ORM_TIME || (number >= 0 && number < US_PER_DAY);
	}
	if (storage != SQLITE_TEXT)
		return false;

	const char *text = (const char *)sqlite3_value_text(cell);
	orm_date date = {0};
	orm_time time = {0};
	orm_datetime datetime = {0};
	orm_status status;

	if (!text || strlen(text) != (size_t)sqlite3_value_bytes(cell))
		return false;
	switch (type) {
	case ORM_DATE:
		status = orm_date_parse(text, &date);
		*integer = date.days;
		return status == ORM_OK;
	case ORM_TIME:
		status = orm_time_parse(text, &time);
		*integer = time.us;
		return status == ORM_OK;
	default:
		/* CURRENT_TIMESTAMP and most programs leave out the zone and mean UTC. */
		status = orm_datetime_parse(text, &datetime);
		if (status != ORM_OK && strlen(text) + 2 <= ORM_ISO_SIZE) {
			char utc[ORM_ISO_SIZE];

			memcpy(utc, text, strlen(text));
			memcpy(utc + strlen(text), "Z", 2);
			status = orm_datetime_parse(utc, &datetime);
		}
		*integer = datetime.us;
		return status == ORM_OK;
	}
}

/* Whole numbers in a REAL column come back as REAL; in a column without a type they may be INTEGER. */
static bool read_double(sqlite3_value *cell, int storage, double *number)
{
	if (storage == SQLITE_FLOAT) {
		*number = sqlite3_value_double(cell);
		return true;
	}
	if (storage != SQLITE_INTEGER)
		return false;

	const int64_t integer = sqlite3_value_int64(cell);
	const int64_t exact = INT64_C(1) << 53;

	*number = (double)integer;
	return integer >= -exact && integer <= exact;
}

/* A decimal comes from ormd_decimal, unless there was no integer for it. */
static bool is_well_formed(orm_type type, const char *text, size_t size)
{
	int64_t units;

	if (type == ORM_DECIMAL)
		return ormd_sqlite_decimal_units(text, size, &units);
	return orm_utf8_valid(text, size) && (type == ORM_TEXT || orm_json_valid(text, size));
}

bool ormd_sqlite_cell(sqlite3_value *cell, orm_type type, orm_value *value)
{
	const int storage = sqlite3_value_type(cell);
	int64_t integer = 0;

	*value = (orm_value){.type = (uint8_t)type, .null = storage == SQLITE_NULL};
	if (value->null)
		return true;
	switch (type) {
	case ORM_BOOL:
		integer = sqlite3_value_int64(cell);
		value->boolean = integer == 1;
		return storage == SQLITE_INTEGER && (integer == 0 || integer == 1);
	case ORM_INT32:
		value->integer = sqlite3_value_int64(cell);
		return storage == SQLITE_INTEGER && value->integer >= INT32_MIN && value->integer <= INT32_MAX;
	case ORM_INT64:
		value->integer = sqlite3_value_int64(cell);
		return storage == SQLITE_INTEGER;
	case ORM_DOUBLE:
		return read_double(cell, storage, &value->number);
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		if (storage != SQLITE_TEXT)
			return false;
		value->text = (const char *)sqlite3_value_text(cell);
		value->size = (uint32_t)sqlite3_value_bytes(cell);
		return value->text && is_well_formed(type, value->text, value->size);
	case ORM_UUID:
		if (storage != SQLITE_BLOB || sqlite3_value_bytes(cell) != sizeof(orm_uuid))
			return false;
		value->bytes = sqlite3_value_blob(cell);
		value->size = sizeof(orm_uuid);
		return value->bytes != NULL;
	case ORM_BYTES:
		if (storage != SQLITE_BLOB)
			return false;
		value->bytes = sqlite3_value_blob(cell);
		value->size = (uint32_t)sqlite3_value_bytes(cell);
		if (value->size == 0)
			value->bytes = ""; /* not NULL: that would be the NULL value */
		return value->bytes != NULL;
	case ORM_DATE:
	case ORM_TIME:
	case ORM_DATETIME:
		return read_calendar(cell, storage, type, &value->integer);
	default:
		return false;
	}
}

static const char *storage_name(int storage)
{
	switch (storage) {
	case SQLITE_INTEGER:
		return "an INTEGER";
	case SQLITE_FLOAT:
		return "a REAL";
	case SQLITE_TEXT:
		return "a TEXT";
	case SQLITE_BLOB:
		return "a BLOB";
	default:
		return "a NULL";
	}
}

orm_status ormd_sqlite_fail_cell(sqlite_statement *statement, int column, orm_type type, const char *table,
				 orm_error *error)
{
	const char *name = sqlite3_column_name(statement->handle, column);

	orm_fail(error, ORM_EDATABASE, "%s%s%s: the database holds %s that is not a valid %s; another program wrote it",
		 table ? table : "", table ? "." : "", name ? name : "?",
		 storage_name(sqlite3_column_type(statement->handle, column)), orm_type_name(type));
	return error ? orm_error_at(error, table, name, NULL) : ORM_EDATABASE;
}

/* Only ASCII, and no NUL: what most texts are, told at a few instructions for eight bytes. */
static inline bool is_plain_ascii(const char *text, size_t size)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t suspicious = 0;
	uint64_t word;

	if (size < sizeof word) {
		for (size_t i = 0; i < size; i++)
			suspicious |= (uint64_t)((unsigned char)text[i] | (unsigned char)(text[i] - 1));
		return (suspicious & 0x80) == 0;
	}
	for (size_t at = 0; at < size; at += sizeof word) {
		/* The last word overlaps the one before it. */
		memcpy(&word, text + (at + sizeof word <= size ? at : size - sizeof word), sizeof word);
		/* The high bit of a byte less one comes on where the byte is 0 (or, by its borrow, in the next one). */
		suspicious |= word | (word - ones);
	}
	return (suspicious & (ones << 7)) == 0;
}

/* One cell into its column; the bytes it took to *size. False: it does not fit. Inline: the innermost loop of every
 * query. */
static inline bool fetch_cell(sqlite3_value *cell, orm_type type, orm_vector_builder *vector, size_t *size)
{
	const int storage = sqlite3_value_type(cell);
	orm_value value;

	if (storage == SQLITE_NULL) {
		orm_vector_builder_put_null(vector);
		*size += 1;
		return true;
	}
	switch (type) {
	case ORM_INT64:
		if (storage != SQLITE_INTEGER)
			return false;
		orm_vector_builder_put_int64(vector, sqlite3_value_int64(cell));
		*size += sizeof(int64_t);
		return true;
	case ORM_DOUBLE:
		if (!read_double(cell, storage, &value.number))
			return false;
		orm_vector_builder_put_double(vector, value.number);
		*size += sizeof(double);
		return true;
	case ORM_TEXT: {
		if (storage != SQLITE_TEXT)
			return false;

		const char *text = (const char *)sqlite3_value_text(cell);
		const size_t text_size = (size_t)sqlite3_value_bytes(cell);

		if (!text || (!is_plain_ascii(text, text_size) && !orm_utf8_valid(text, text_size)))
			return false;
		orm_vector_builder_put_text(vector, text, text_size);
		*size += text_size + 1;
		return true;
	}
	case ORM_INT32:
	case ORM_DATE:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_int32(vector, (int32_t)value.integer);
		*size += sizeof(int32_t);
		return true;
	case ORM_TIME:
	case ORM_DATETIME:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_int64(vector, value.integer);
		*size += sizeof(int64_t);
		return true;
	case ORM_BOOL:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_bool(vector, value.boolean);
		*size += 1;
		return true;
	case ORM_DECIMAL:
	case ORM_JSON:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_text(vector, value.text, value.size);
		*size += value.size + 1;
		return true;
	case ORM_UUID:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_uuid(vector, value.bytes);
		*size += sizeof(orm_uuid);
		return true;
	case ORM_BYTES:
		if (!ormd_sqlite_cell(cell, type, &value))
			return false;
		orm_vector_builder_put_bytes(vector, value.bytes, value.size);
		*size += value.size;
		return true;
	default:
		return false;
	}
}

/* ---- cursors ----------------------------------------------------------------------------------------------- */

ormd_cursor *ormd_sqlite_query(ormd_connection *base, const char *sql, const orm_value *parameters, size_t n_parameters,
			       const uint8_t *types, size_t n_types, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);
	sqlite_cursor *cursor = calloc(1, sizeof *cursor + n_types);

	if (!cursor) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	cursor->base.connection = base;
	cursor->n_types = n_types;
	memcpy(cursor->types, types, n_types);
	cursor->statement = ormd_sqlite_take(connection, sql, error);
	if (!cursor->statement)
		goto failed;
	if (sqlite3_column_count(cursor->statement->handle) != (int)n_types) {
		orm_fail(error, ORM_EINTERNAL, "%zu results wanted, %d there: %.200s", n_types,
			 sqlite3_column_count(cursor->statement->handle), sql);
		goto failed;
	}
	if (ormd_sqlite_bind(connection, cursor->statement, parameters, n_parameters, true, error) != ORM_OK)
		goto failed;
	return &cursor->base;
failed:
	ormd_sqlite_close_cursor(&cursor->base);
	return NULL;
}

static bool is_out_of_memory(const orm_batch_builder *builder)
{
	bool failed = builder->failed;

	for (size_t i = 0; i < builder->n_vectors; i++) {
		const orm_vector_builder *vector = &builder->vectors[i];

		failed = failed || vector->cells.failed || vector->nulls.failed || vector->ends.failed;
	}
	return failed;
}

orm_status ormd_sqlite_fetch(ormd_cursor *base, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			     size_t *n_rows, bool *done, orm_error *error)
{
	sqlite_cursor *cursor = cursor_of(base);
	sqlite3_stmt *handle = cursor->statement->handle;
	const int n_columns = (int)cursor->n_types;
	size_t n_fetched = 0;
	size_t size = 0;

	if (builder->n_vectors != cursor->n_types)
		return orm_fail(error, ORM_EINTERNAL, "%zu columns to fill, %zu in the result", builder->n_vectors,
				cursor->n_types);
	while (!cursor->finished && n_fetched < max_rows && (size < max_size || n_fetched == 0)) {
		const int rc = sqlite3_step(handle);

		if (rc != SQLITE_ROW) {
			cursor->finished = true; /* a further step would start from the beginning */
			if (rc != SQLITE_DONE)
				return ormd_sqlite_fail(sqlite_of(base->connection), rc, cursor->statement->sql, error);
			sqlite3_reset(handle); /* ends the snapshot now, not when the caller closes */
			break;
		}
		for (int i = 0; i < n_columns; i++) {
			const orm_type type = cursor->types[i];

			/* Only used before the next step, and connections have no mutex: "unprotected" makes no
			 * difference. */
			if (!fetch_cell(sqlite3_column_value(handle, i), type, &builder->vectors[i], &size))
				return ormd_sqlite_fail_cell(cursor->statement, i, type,
							     builder->mapper ? builder->mapper->table : NULL, error);
		}
		orm_batch_builder_end_row(builder);
		n_fetched++;
	}
	if (is_out_of_memory(builder))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	*n_rows = n_fetched;
	*done = cursor->finished;
	return ORM_OK;
}

void ormd_sqlite_close_cursor(ormd_cursor *base)
{
	sqlite_cursor *cursor = base ? cursor_of(base) : NULL;

	if (!cursor)
		return;
	ormd_sqlite_give(sqlite_of(base->connection), cursor->statement);
	free(cursor);
}
