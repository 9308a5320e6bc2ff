/* SPDX-License-Identifier: MIT */
/*
 * The C types a model's members may have, beyond the language's own, and the column types they stand for.
 *
 * NULL: text, bytes, decimals and JSON say it with a NULL pointer in a column that is `.nullable`; every scalar has an
 * optional form orm_opt_<type> with `has` false for NULL. A zero-initialised optional is NULL.
 */
#ifndef ORM_TYPES_H
#define ORM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <orm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Column types; the numbers are the wire's. */
typedef enum orm_type {
	ORM_TYPE_NONE = 0,
	ORM_BOOL = 1,     /* bool */
	ORM_INT32 = 2,    /* int32_t */
	ORM_INT64 = 3,    /* int64_t */
	ORM_DOUBLE = 4,   /* double */
	ORM_TEXT = 5,     /* const char *: UTF-8, NUL-terminated */
	ORM_BYTES = 6,    /* orm_bytes */
	ORM_DATE = 7,     /* orm_date */
	ORM_TIME = 8,     /* orm_time */
	ORM_DATETIME = 9, /* orm_datetime */
	ORM_DECIMAL = 10, /* orm_decimal */
	ORM_UUID = 11,    /* orm_uuid */
	ORM_JSON = 12     /* orm_json */
} orm_type;

/* The last type's number: tables indexed by orm_type have ORM_TYPE_MAX + 1 entries. */
#define ORM_TYPE_MAX ORM_JSON

/* A span of bytes; data == NULL is NULL, size 0 with data != NULL is an empty value. */
typedef struct orm_bytes {
	const void *data;
	size_t      size;
} orm_bytes;

/* A calendar day of the proleptic Gregorian calendar (ISO 8601): days since 1970-01-01. */
typedef struct orm_date {
	int32_t days;
} orm_date;

/* A time of day without a zone: microseconds since midnight, 0 to 86'399'999'999. */
typedef struct orm_time {
	int64_t us;
} orm_time;

/* An instant: microseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX time). */
typedef struct orm_datetime {
	int64_t us;
} orm_datetime;

/*
 * An exact decimal number as text, "-12.50"; text == NULL is NULL. What is read from the database is canonical: as many digits after the
 * point as the column's `.scale` says, no zeros in front but the one before the point, and no "-0", so that equal numbers are equal texts. What is
 * written may leave digits out ("12.5", "+7", ".5"); digits that the column has no room for are refused, never rounded away, apart
 * from zeros at the end.
 */
typedef struct orm_decimal {
	const char *text;
} orm_decimal;

/* A universally unique identifier (RFC 9562): its 16 octets in the order in which it is written. */
typedef struct orm_uuid {
	uint8_t bytes[16];
} orm_uuid;

/* A JSON document (RFC 8259) in UTF-8, nested at most 31 deep; text == NULL is NULL, which is not the document "null". Spaces and the order of members
   are kept. */
typedef struct orm_json {
	const char *text;
} orm_json;

typedef struct orm_opt_bool     { bool has; bool value; } orm_opt_bool;
typedef struct orm_opt_int32    { bool has; int32_t value; } orm_opt_int32;
typedef struct orm_opt_int64    { bool has; int64_t value; } orm_opt_int64;
typedef struct orm_opt_double   { bool has; double value; } orm_opt_double;
typedef struct orm_opt_date     { bool has; orm_date value; } orm_opt_date;
typedef struct orm_opt_time     { bool has; orm_time value; } orm_opt_time;
typedef struct orm_opt_datetime { bool has; orm_datetime value; } orm_opt_datetime;
typedef struct orm_opt_uuid     { bool has; orm_uuid value; } orm_opt_uuid;

/* What the database does with a row whose referenced row is deleted (SQL:2016, 11.8). */
typedef enum orm_on_delete {
	ORM_NO_ACTION = 0,
	ORM_RESTRICT = 1,
	ORM_CASCADE = 2,
	ORM_SET_NULL = 3,
	ORM_SET_DEFAULT = 4
} orm_on_delete;

/*
 * Isolation of a session's transactions (SQL:2016, 4.41.4; the numbers are the wire's). An engine may give more than is asked for.
 *
 * ORM_ISOLATION_DEFAULT: no transaction is held while the unit waits; queries see what is committed, and versions guard the commit.
 */
typedef enum orm_isolation {
	ORM_ISOLATION_DEFAULT = 0,
	ORM_READ_COMMITTED = 1,
	ORM_REPEATABLE_READ = 2,
	ORM_SERIALIZABLE = 3
} orm_isolation;

/* Calendar helpers. Months and days count from 1; out-of-range input is ORM_EINVAL. */
ORM_API orm_status   orm_date_from_ymd(int year, int month, int day, orm_date *date);
ORM_API void         orm_date_to_ymd(orm_date date, int *year, int *month, int *day);
ORM_API orm_datetime orm_datetime_now(void);

/*
 * ISO 8601 text: "2026-11-23", "13:15:36.000001", "2026-11-23T13:15:36.000001Z". Formatting writes at most
 * ORM_ISO_SIZE bytes with the NUL and leaves out a zero fraction. Parsing takes the same forms, a space
 * for the T, and an offset such as +02:00 for the Z; anything else is ORM_EINVAL.
 */
#define ORM_ISO_SIZE 40
ORM_API void       orm_date_format(orm_date date, char text[ORM_ISO_SIZE]);
ORM_API void       orm_time_format(orm_time time, char text[ORM_ISO_SIZE]);
ORM_API void       orm_datetime_format(orm_datetime datetime, char text[ORM_ISO_SIZE]);
ORM_API orm_status orm_date_parse(const char *text, orm_date *date);
ORM_API orm_status orm_time_parse(const char *text, orm_time *time);
ORM_API orm_status orm_datetime_parse(const char *text, orm_datetime *datetime);

/*
 * Decimals. A column of them has a `.precision`, its digits altogether, and a `.scale`, how many of them are after the point; a column that says
 * neither has ORM_DECIMAL_PRECISION and ORM_DECIMAL_SCALE. SQLite keeps up to 18 digits, PostgreSQL and MariaDB keep the 38 that are the most.
 */
#define ORM_DECIMAL_PRECISION     18
#define ORM_DECIMAL_SCALE         4
#define ORM_DECIMAL_MAX_PRECISION 38
#define ORM_DECIMAL_SIZE          (ORM_DECIMAL_MAX_PRECISION + 4) /* of a canonical text: its digits, a zero before them, sign, point and NUL */

/* Which is the larger number? -1, 0 or 1 in *order as a is less than, equal to or greater than b; exact for any number of digits. ORM_EINVAL
   when one of them is NULL or no decimal number (an optional sign, digits, an optional point with digits: no exponent). */
ORM_API orm_status orm_decimal_compare(const char *a, const char *b, int *order);
/* value / 10^scale as text: 1250 and scale 2 give "12.50". ORM_EINVAL for a scale of more than ORM_DECIMAL_MAX_PRECISION. */
ORM_API orm_status orm_decimal_from_int64(int64_t value, unsigned scale, char text[ORM_DECIMAL_SIZE]);
/* The other way: "12.5" and scale 2 give 1250. ORM_EINVAL when that is no decimal number, has more digits after the point, or does not fit. */
ORM_API orm_status orm_decimal_to_int64(const char *text, unsigned scale, int64_t *value);

/* UUIDs as text: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6". Parsing takes large letters too; anything else is ORM_EINVAL. */
#define ORM_UUID_SIZE 37
ORM_API void       orm_uuid_format(orm_uuid uuid, char text[ORM_UUID_SIZE]);
ORM_API orm_status orm_uuid_parse(const char *text, orm_uuid *uuid);
ORM_API bool       orm_uuid_equal(orm_uuid a, orm_uuid b);
/* A new one of random bits (version 4), or of the time in milliseconds followed by random bits (version 7), whose keys lie together in an index
   in the order they were made. ORM_EUNAVAILABLE when the system has no random numbers. */
ORM_API orm_status orm_uuid_v4(orm_uuid *uuid);
ORM_API orm_status orm_uuid_v7(orm_uuid *uuid);

#ifdef __cplusplus
}
#endif
#endif
