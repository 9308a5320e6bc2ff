/* SPDX-License-Identifier: MIT */
/*
 * Values in the binary protocol: parameters as the library takes them, cells as they lie in the row's packet, read
 * strictly. Other programs may have made the tables and written anything into them.
 */
#include "driver/mysql_internal.h"

#include <endian.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    INT64_C(86400000000)
#define FIRST_YEAR    1000 /* of DATE and DATETIME, as documented */
#define LAST_YEAR     9999
#define BINARY        63 /* the "character set" of bytes */

/* ---- parameters --------------------------------------------------------------------------------------------- */

enum enum_field_types ormd_mysql_parameter_type(orm_type type)
{
	switch (type) {
	case ORM_BOOL:
		return MYSQL_TYPE_TINY;
	case ORM_INT32:
		return MYSQL_TYPE_LONG;
	case ORM_INT64:
		return MYSQL_TYPE_LONGLONG;
	case ORM_DOUBLE:
		return MYSQL_TYPE_DOUBLE;
	case ORM_BYTES:
	case ORM_UUID:
		return MYSQL_TYPE_BLOB;
	case ORM_DECIMAL:
		return MYSQL_TYPE_NEWDECIMAL; /* a string would be compared as a double */
	case ORM_DATE:
		return MYSQL_TYPE_DATE;
	case ORM_TIME:
		return MYSQL_TYPE_TIME;
	case ORM_DATETIME:
		return MYSQL_TYPE_DATETIME;
	default:
		return MYSQL_TYPE_STRING;
	}
}

static const char *set_date(MYSQL_TIME *time, int64_t days)
{
	int year = 0, month = 0, day = 0;

	/* Beyond them the calendar itself might overflow. */
	if (days < -INT64_C(1000000) || days > INT64_C(4000000))
		return "is not in the years 1000 to 9999, which MariaDB's DATE and DATETIME hold; use another value, "
		       "or "
		       "NULL";
	orm_date_to_ymd((orm_date){(int32_t)days}, &year, &month, &day);
	if (year < FIRST_YEAR || year > LAST_YEAR)
		return set_date(time, INT64_MAX);
	time->year = (unsigned)year;
	time->month = (unsigned)month;
	time->day = (unsigned)day;
	time->time_type = MYSQL_TIMESTAMP_DATE;
	return NULL;
}

static void set_time(MYSQL_TIME *time, int64_t us)
{
	const int64_t seconds = us / US_PER_SECOND;

	time->hour = (unsigned)(seconds / 3600);
	time->minute = (unsigned)(seconds / 60 % 60);
	time->second = (unsigned)(seconds % 60);
	time->second_part = (unsigned long)(us % US_PER_SECOND);
	time->time_type = MYSQL_TIMESTAMP_TIME;
}

static const char *set_datetime(MYSQL_TIME *time, int64_t us)
{
	int64_t days = us / US_PER_DAY;
	int64_t rest = us % US_PER_DAY;

	if (rest < 0) {
		rest += US_PER_DAY;
		days--;
	}
	set_time(time, rest);

	const char *wrong = set_date(time, days);

	time->time_type = MYSQL_TIMESTAMP_DATETIME;
	return wrong;
}

static void set_text(MYSQL_BIND *bind, mysql_parameter *parameter, const orm_value *value)
{
	parameter->size = value->size;
	bind->buffer = value->size ? (void *)(uintptr_t)value->bytes : (void *)"";
	bind->buffer_length = value->size;
}

static const char *set_cell(MYSQL_BIND *bind, mysql_parameter *parameter, const orm_value *value)
{
	switch (value->type) {
	case ORM_BOOL:
		parameter->cell.tiny = value->boolean;
		return NULL;
	case ORM_INT32:
		parameter->cell.integer = (int32_t)value->integer;
		return NULL;
	case ORM_INT64:
		parameter->cell.big = value->integer;
		return NULL;
	case ORM_DOUBLE:
		parameter->cell.number = value->number;
		return isfinite(value->number)
			       ? NULL
			       : "is not a number (NaN) or infinite, which MariaDB cannot keep; use NULL";
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_UUID:
	case ORM_JSON:
		set_text(bind, parameter, value);
		return NULL;
	case ORM_DATE:
		return set_date(&parameter->cell.time, value->integer);
	case ORM_TIME:
		if (value->integer < 0 || value->integer >= US_PER_DAY)
			return "is not a time of day";
		set_time(&parameter->cell.time, value->integer);
		return NULL;
	case ORM_DATETIME:
		return set_datetime(&parameter->cell.time, value->integer);
	default:
		return "has a type that the driver does not know";
	}
}

const char *ormd_mysql_bind_value(MYSQL_BIND *bind, mysql_parameter *parameter, const orm_value *value)
{
	memset(&parameter->cell, 0, sizeof parameter->cell);
	parameter->size = 0;
	parameter->is_null = value->null;
	parameter->indicator = value->null ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
	bind->buffer_type = ormd_mysql_parameter_type(value->type);
	bind->buffer = &parameter->cell;
	bind->buffer_length = 0;
	bind->length = &parameter->size;
	bind->is_null = &parameter->is_null;
	bind->u.indicator = &parameter->indicator;
	return value->null ? NULL : set_cell(bind, parameter, value);
}

/* ---- cells -------------------------------------------------------------------------------------------------- */

/* Where a cell lies in the row. */
typedef struct raw_cell {
	const unsigned char *bytes;
	size_t size;
} raw_cell;

static uint64_t read_little_endian(const unsigned char *bytes, size_t size)
{
	uint64_t number = 0;

	for (size_t i = size; i-- > 0;)
		number = number << 8 | bytes[i];
	return number;
}

/* The same for the sizes that numbers have: most cells are such. */
static uint64_t read_number(const unsigned char *bytes, size_t size)
{
	uint64_t number64;
	uint32_t number32;

	switch (size) {
	case sizeof number64:
		memcpy(&number64, bytes, sizeof number64);
		return le64toh(number64);
	case sizeof number32:
		memcpy(&number32, bytes, sizeof number32);
		return le32toh(number32);
	default:
		return read_little_endian(bytes, size);
	}
}

/* What has no fixed size has it in front. */
static raw_cell with_size(const unsigned char *at)
{
	switch (*at) {
	case 0xfc:
		return (raw_cell){at + 3, (size_t)read_little_endian(at + 1, 2)};
	case 0xfd:
		return (raw_cell){at + 4, (size_t)read_little_endian(at + 1, 3)};
	case 0xfe:
		return (raw_cell){at + 9, (size_t)read_little_endian(at + 1, 8)};
	default:
		return (raw_cell){at + 1, *at};
	}
}

static bool read_integer(const MYSQL_FIELD *field, const unsigned char *at, int64_t *integer)
{
	const bool is_unsigned = field->flags & UNSIGNED_FLAG;
	size_t size;

	switch (field->type) {
	case MYSQL_TYPE_TINY:
		size = 1;
		break;
	case MYSQL_TYPE_SHORT:
	case MYSQL_TYPE_YEAR:
		size = 2;
		break;
	case MYSQL_TYPE_INT24:
	case MYSQL_TYPE_LONG:
		size = 4;
		break;
	case MYSQL_TYPE_LONGLONG:
		size = 8;
		break;
	default:
		return false;
	}

	const uint64_t bits = read_number(at, size);
	const uint64_t sign = UINT64_C(1) << (size * 8 - 1);

	*integer = (int64_t)(is_unsigned ? bits : (bits ^ sign) - sign);
	return size < 8 || !is_unsigned || *integer >= 0;
}

static bool read_double(const MYSQL_FIELD *field, const unsigned char *at, double *number)
{
	const int64_t exact = INT64_C(1) << 53;
	int64_t integer;
	uint64_t bits;
	uint32_t single_bits;
	float single;

	switch (field->type) {
	case MYSQL_TYPE_DOUBLE:
		bits = read_number(at, sizeof bits);
		memcpy(number, &bits, sizeof *number);
		return true;
	case MYSQL_TYPE_FLOAT:
		single_bits = (uint32_t)read_little_endian(at, sizeof single_bits);
		memcpy(&single, &single_bits, sizeof single);
		*number = (double)single;
		return true;
	default:
		if (!read_integer(field, at, &integer))
			return false;
		*number = (double)integer;
		return integer >= -exact && integer <= exact;
	}
}

static bool is_string(const MYSQL_FIELD *field)
{
	switch (field->type) {
	case MYSQL_TYPE_VARCHAR:
	case MYSQL_TYPE_VAR_STRING:
	case MYSQL_TYPE_STRING:
	case MYSQL_TYPE_TINY_BLOB:
	case MYSQL_TYPE_MEDIUM_BLOB:
	case MYSQL_TYPE_LONG_BLOB:
	case MYSQL_TYPE_BLOB:
	case MYSQL_TYPE_ENUM:
	case MYSQL_TYPE_SET:
		return true;
	default:
		return false;
	}
}

static bool read_text(const MYSQL_FIELD *field, const unsigned char *at, bool binary, orm_value *value)
{
	if (!is_string(field) || (field->charsetnr == BINARY) != binary)
		return false;

	const raw_cell cell = with_size(at);

	if (cell.size > UINT32_MAX)
		return false;
	value->bytes = cell.bytes;
	value->size = (uint32_t)cell.size;
	return binary || orm_utf8_valid(value->text, value->size);
}

/* DECIMAL comes as text, with as many digits after the point as its column has. */
static bool read_decimal(const MYSQL_FIELD *field, const unsigned char *at, orm_value *value)
{
	if (field->type != MYSQL_TYPE_NEWDECIMAL)
		return false;

	const raw_cell cell = with_size(at);

	value->bytes = cell.bytes;
	value->size = (uint32_t)cell.size;
	return cell.size < ORM_DECIMAL_SIZE;
}

/* Zero dates, which a laxer sql_mode lets in, are none. */
static bool read_date(raw_cell cell, int64_t *days)
{
	orm_date date;

	if (cell.size < 4)
		return false;
	if (orm_date_from_ymd((int)read_little_endian(cell.bytes, 2), cell.bytes[2], cell.bytes[3], &date) != ORM_OK)
		return false;
	*days = date.days;
	return true;
}

/* Hours, minutes, seconds, and microseconds if there are any. */
static int64_t read_clock(const unsigned char *at, bool has_fraction)
{
	const int64_t seconds = at[0] * INT64_C(3600) + at[1] * INT64_C(60) + at[2];

	return seconds * US_PER_SECOND + (has_fraction ? (int64_t)read_little_endian(at + 3, 4) : 0);
}

static bool read_datetime(raw_cell cell, int64_t *us)
{
	int64_t days = 0;

	if (!read_date(cell, &days))
		return false;
	*us = days * US_PER_DAY + (cell.size >= 7 ? read_clock(cell.bytes + 4, cell.size >= 11) : 0);
	return true;
}

/* TIME is a span of up to 35 days either way. */
static bool read_time(raw_cell cell, int64_t *us)
{
	*us = 0;
	if (cell.size == 0)
		return true;
	if (cell.size < 8 || cell.bytes[0] || read_little_endian(cell.bytes + 1, 4) != 0)
		return false;
	*us = read_clock(cell.bytes + 5, cell.size >= 12);
	return *us < US_PER_DAY;
}

static bool read_cell(const MYSQL_FIELD *field, const unsigned char *at, orm_type type, orm_value *value)
{
	int64_t integer = 0;

	switch (type) {
	case ORM_BOOL:
		if (!read_integer(field, at, &integer))
			return false;
		value->boolean = integer == 1;
		return integer == 0 || integer == 1;
	case ORM_INT32:
		return read_integer(field, at, &value->integer) && value->integer >= INT32_MIN &&
		       value->integer <= INT32_MAX;
	case ORM_INT64:
		return read_integer(field, at, &value->integer);
	case ORM_DOUBLE:
		return read_double(field, at, &value->number);
	case ORM_TEXT:
	case ORM_BYTES:
		return read_text(field, at, type == ORM_BYTES, value);
	case ORM_DECIMAL:
		return read_decimal(field, at, value);
	case ORM_UUID:
		return read_text(field, at, true, value) && value->size == sizeof(orm_uuid);
	case ORM_JSON:
		return read_text(field, at, false, value) && orm_json_valid(value->text, value->size);
	case ORM_DATE:
		return field->type == MYSQL_TYPE_DATE && read_date(with_size(at), &value->integer);
	case ORM_TIME:
		return field->type == MYSQL_TYPE_TIME && read_time(with_size(at), &value->integer);
	case ORM_DATETIME:
		return (field->type == MYSQL_TYPE_DATETIME || field->type == MYSQL_TYPE_TIMESTAMP) &&
		       read_datetime(with_size(at), &value->integer);
	default:
		return false;
	}
}

bool ormd_mysql_cell(const mysql_statement *statement, size_t column, orm_type type, orm_value *value)
{
	const MYSQL_STMT *handle = statement->handle;
	const unsigned char *at = handle->bind[column].u.row_ptr;

	*value = (orm_value){.type = (uint8_t)type, .null = !at};
	return !at || read_cell(&handle->fields[column], at, type, value);
}

static const char *storage_name(const MYSQL_FIELD *field)
{
	switch (field->type) {
	case MYSQL_TYPE_TINY:
	case MYSQL_TYPE_SHORT:
	case MYSQL_TYPE_YEAR:
	case MYSQL_TYPE_INT24:
	case MYSQL_TYPE_LONG:
	case MYSQL_TYPE_LONGLONG:
		return "an integer";
	case MYSQL_TYPE_FLOAT:
	case MYSQL_TYPE_DOUBLE:
		return "a floating-point number";
	case MYSQL_TYPE_DECIMAL:
	case MYSQL_TYPE_NEWDECIMAL:
		return "a DECIMAL";
	case MYSQL_TYPE_DATE:
		return "a DATE";
	case MYSQL_TYPE_TIME:
		return "a TIME";
	case MYSQL_TYPE_DATETIME:
	case MYSQL_TYPE_TIMESTAMP:
		return "a DATETIME";
	default:
		if (is_string(field))
			return field->charsetnr == BINARY ? "bytes" : "text";
		return "a value";
	}
}

orm_status ormd_mysql_fail_cell(const mysql_statement *statement, size_t column, orm_type type, const char *table,
				orm_error *error)
{
	const MYSQL_FIELD *field = &statement->handle->fields[column];

	if (!table && field->org_table && field->org_table[0])
		table = field->org_table;
	orm_fail(error, ORM_EDATABASE,
		 "%s%s%s: the database holds %s that is not a valid %s; another program wrote it, or made the table",
		 table ? table : "", table ? "." : "", field->name, storage_name(field), orm_type_name(type));
	return error ? orm_error_at(error, table, field->name, NULL) : ORM_EDATABASE;
}
