/* SPDX-License-Identifier: MIT */
/*
 * Values in PostgreSQL's binary format, which is that of its types' send and receive functions: big-endian integers,
 * doubles by their bits, dates and times counted from the year 2000. Other programs may have made the tables: what is
 * read is checked strictly.
 */
#include "driver/postgresql_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define US_PER_DAY INT64_C(86400000000)
#define EPOCH_DAYS 10957 /* from 1970-01-01 to 2000-01-01 */
#define EPOCH_US   (EPOCH_DAYS * US_PER_DAY)

/* Object ids of built-in types: fixed for ever (src/include/catalog/pg_type.dat). */
enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_NAME = 19,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_JSON = 114,
	OID_DATE = 1082,
	OID_TIME = 1083,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_NUMERIC = 1700,
	OID_UUID = 2950
};

typedef struct type_oids {
	Oid scalar;
	Oid array;
} type_oids;

static const type_oids oids[ORM_TYPE_MAX + 1] = {
	[ORM_BOOL] = {OID_BOOL, 1000},       [ORM_INT32] = {OID_INT4, 1007}, [ORM_INT64] = {PG_OID_INT8, 1016},
	[ORM_DOUBLE] = {OID_FLOAT8, 1022},   [ORM_TEXT] = {OID_TEXT, 1009},  [ORM_BYTES] = {OID_BYTEA, 1001},
	[ORM_DATE] = {OID_DATE, 1182},       [ORM_TIME] = {OID_TIME, 1183},  [ORM_DATETIME] = {OID_TIMESTAMPTZ, 1185},
	[ORM_DECIMAL] = {OID_NUMERIC, 1231}, [ORM_UUID] = {OID_UUID, 2951},  [ORM_JSON] = {OID_JSON, 199},
};

Oid ormd_pg_oid(orm_type type)
{
	return (unsigned)type <= ORM_TYPE_MAX ? oids[type].scalar : 0;
}

Oid ormd_pg_array_oid(orm_type type)
{
	return (unsigned)type <= ORM_TYPE_MAX ? oids[type].array : 0;
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static orm_status fail_range(orm_type type, orm_error *error)
{
	return orm_fail(error, ORM_EINVAL,
			"a %s is outside of what PostgreSQL can keep; use NULL for what is unlimited",
			orm_type_name(type));
}

/* Fixed width, into at most 8 bytes. False: PostgreSQL has no such value (the ends of the range mean infinity there).
 */
static bool put_fixed(const orm_value *value, char cell[8], size_t *size)
{
	int64_t number = value->integer;
	uint64_t wide = 0;
	uint32_t narrow = 0;

	*size = 8;
	switch ((orm_type)value->type) {
	case ORM_BOOL:
		cell[0] = value->boolean;
		*size = 1;
		return true;
	case ORM_DATE:
		number -= EPOCH_DAYS;
		if (number <= INT32_MIN || number >= INT32_MAX)
			return false;
		break;
	case ORM_DATETIME:
		if (number <= INT64_MIN + EPOCH_US)
			return false;
		number -= EPOCH_US;
		break;
	case ORM_DOUBLE:
		memcpy(&number, &value->number, sizeof number);
		break;
	default:
		break;
	}
	if (value->type == ORM_INT32 || value->type == ORM_DATE) {
		narrow = htobe32((uint32_t)(int32_t)number);
		memcpy(cell, &narrow, sizeof narrow);
		*size = 4;
		return number >= INT32_MIN && number <= INT32_MAX;
	}
	wide = htobe64((uint64_t)number);
	memcpy(cell, &wide, sizeof wide);
	return true;
}

orm_status ormd_pg_put(const orm_value *value, orm_buffer *out, orm_error *error)
{
	char cell[8];
	size_t size;

	if (value->type == ORM_DECIMAL) {
		char numeric[PG_NUMERIC_SIZE];

		orm_buffer_put(out, numeric, ormd_pg_put_numeric(value->text, value->size, numeric));
		return ORM_OK;
	}
	if (orm_type_is_borrowed(value->type)) {
		orm_buffer_put(out, value->size ? value->bytes : "", value->size);
		return ORM_OK;
	}
	if (!put_fixed(value, cell, &size))
		return fail_range((orm_type)value->type, error);
	orm_buffer_put(out, cell, size);
	return ORM_OK;
}

orm_status ormd_pg_make_room(pg_connection *connection, size_t n_values, orm_error *error)
{
	const size_t max = n_values > 64 ? n_values : 64;

	if (n_values <= connection->max_parameters)
		return ORM_OK;
	if (n_values > connection->base.driver->dialect->max_parameters)
		return orm_fail(error, ORM_ELIMIT, "%zu parameters of one statement: PostgreSQL takes 65535", n_values);
	connection->max_parameters = 0;
	free(connection->values);
	free(connection->lengths);
	free(connection->formats);
	free(connection->types);
	connection->values = calloc(max, sizeof *connection->values);
	connection->lengths = calloc(max, sizeof *connection->lengths);
	connection->formats = calloc(max, sizeof *connection->formats);
	connection->types = calloc(max, sizeof *connection->types);
	if (!connection->values || !connection->lengths || !connection->formats || !connection->types)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (size_t i = 0; i < max; i++)
		connection->formats[i] = 1;
	connection->max_parameters = max;
	return ORM_OK;
}

orm_status ormd_pg_encode(pg_connection *connection, const orm_value *values, size_t n_values, orm_error *error)
{
	const orm_status status = ormd_pg_make_room(connection, n_values, error);
	char *cells;

	if (status != ORM_OK)
		return status;
	orm_arena_reset(&connection->scratch);
	cells = orm_arena_alloc(&connection->scratch, n_values * 8);
	if (!cells)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n_values; i++, cells += 8) {
		const orm_value *value = &values[i];
		size_t size = value->size;

		connection->types[i] = ormd_pg_oid((orm_type)value->type);
		connection->values[i] = NULL;
		connection->lengths[i] = 0;
		if (value->null)
			continue;
		if (value->type == ORM_DECIMAL) {
			char *numeric = orm_arena_alloc(&connection->scratch, PG_NUMERIC_SIZE);

			if (!numeric)
				return orm_fail(error, ORM_ENOMEM, "out of memory");
			size = ormd_pg_put_numeric(value->text, value->size, numeric);
			connection->values[i] = numeric;
		} else if (orm_type_is_borrowed(value->type)) {
			connection->values[i] = size ? value->text : "";
		} else {
			if (!put_fixed(value, cells, &size))
				return fail_range((orm_type)value->type, error);
			connection->values[i] = cells;
		}
		if (size > INT32_MAX)
			return orm_fail(error, ORM_ELIMIT, "a value is larger than PostgreSQL's limit of 1 GB");
		connection->lengths[i] = (int)size;
	}
	return ORM_OK;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static int32_t read_int32(const char *data)
{
	uint32_t raw;

	memcpy(&raw, data, sizeof raw);
	return (int32_t)be32toh(raw);
}

static int64_t read_int64(const char *data)
{
	uint64_t raw;

	memcpy(&raw, data, sizeof raw);
	return (int64_t)be64toh(raw);
}

static bool read_integer(Oid oid, const char *data, size_t size, int64_t *integer)
{
	if (oid == PG_OID_INT8 && size == 8) {
		*integer = read_int64(data);
	} else if (oid == OID_INT4 && size == 4) {
		*integer = read_int32(data);
	} else if (oid == OID_INT2 && size == 2) {
		uint16_t raw;

		memcpy(&raw, data, sizeof raw);
		*integer = (int16_t)be16toh(raw);
	} else {
		return false;
	}
	return true;
}

static bool read_double(Oid oid, const char *data, size_t size, double *number)
{
	if (oid == OID_FLOAT8 && size == 8) {
		const int64_t bits = read_int64(data);

		memcpy(number, &bits, sizeof *number);
		return true;
	}
	if (oid == OID_FLOAT4 && size == 4) {
		const int32_t bits = read_int32(data);
		float narrow;

		memcpy(&narrow, &bits, sizeof narrow);
		*number = (double)narrow;
		return true;
	}
	return false;
}

/* The ends of the range are infinities, which we have not. A timestamp without a zone is UTC. */
static bool read_calendar(orm_type type, Oid oid, const char *data, size_t size, int64_t *integer)
{
	if (type == ORM_DATE && oid == OID_DATE && size == 4) {
		const int64_t days = read_int32(data);

		*integer = days + EPOCH_DAYS;
		return days != INT32_MIN && days != INT32_MAX && *integer <= INT32_MAX;
	}
	if (size != 8)
		return false;

	const int64_t us = read_int64(data);

	if (type == ORM_TIME) {
		*integer = us;
		return oid == OID_TIME && us >= 0 && us < US_PER_DAY; /* it has 24:00:00, too */
	}
	if ((oid != OID_TIMESTAMPTZ && oid != OID_TIMESTAMP) || us == INT64_MIN || us > INT64_MAX - EPOCH_US)
		return false;
	*integer = us + EPOCH_US;
	return type == ORM_DATETIME;
}

bool ormd_pg_cell(orm_type type, Oid oid, const char *data, size_t size, char decimal[ORM_DECIMAL_SIZE],
		  orm_value *value)
{
	size_t decimal_size = 0;

	*value = (orm_value){.type = (uint8_t)type};
	switch (type) {
	case ORM_BOOL:
		value->boolean = size == 1 && data[0] != 0;
		return oid == OID_BOOL && size == 1;
	case ORM_INT32:
		return read_integer(oid, data, size, &value->integer) && value->integer >= INT32_MIN &&
		       value->integer <= INT32_MAX;
	case ORM_INT64:
		return read_integer(oid, data, size, &value->integer);
	case ORM_DOUBLE:
		return read_double(oid, data, size, &value->number);
	case ORM_TEXT:
		value->text = data;
		value->size = (uint32_t)size;
		return (oid == OID_TEXT || oid == OID_VARCHAR || oid == OID_BPCHAR || oid == OID_NAME) &&
		       orm_utf8_valid(data, size);
	case ORM_BYTES:
		value->bytes = data;
		value->size = (uint32_t)size;
		return oid == OID_BYTEA;
	case ORM_DECIMAL:
		if (oid != OID_NUMERIC || !ormd_pg_read_numeric(data, size, decimal, &decimal_size))
			return false;
		value->text = decimal;
		value->size = (uint32_t)decimal_size;
		return true;
	case ORM_UUID:
		value->bytes = data;
		value->size = (uint32_t)size;
		return oid == OID_UUID && size == sizeof(orm_uuid);
	case ORM_JSON:
		value->text = data;
		value->size = (uint32_t)size;
		return oid == OID_JSON && orm_utf8_valid(data, size) && orm_json_valid(data, size);
	case ORM_DATE:
	case ORM_TIME:
	case ORM_DATETIME:
		return read_calendar(type, oid, data, size, &value->integer);
	default:
		return false;
	}
}

static const char *type_name(Oid oid)
{
	static const struct {
		Oid oid;
		const char *name;
	} names[] = {
		{OID_BOOL, "a boolean"},
		{OID_BYTEA, "a bytea"},
		{OID_INT2, "a smallint"},
		{OID_INT4, "an integer"},
		{PG_OID_INT8, "a bigint"},
		{OID_TEXT, "a text"},
		{OID_VARCHAR, "a varchar"},
		{OID_FLOAT4, "a real"},
		{OID_FLOAT8, "a double precision"},
		{OID_DATE, "a date"},
		{OID_TIME, "a time"},
		{OID_TIMESTAMP, "a timestamp"},
		{OID_TIMESTAMPTZ, "a timestamptz"},
		{OID_NUMERIC, "a numeric"},
		{OID_UUID, "a uuid"},
		{OID_JSON, "a json"},
		{3802, "a jsonb"},
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (names[i].oid == oid)
			return names[i].name;
	}
	return "a value of another type";
}

orm_status ormd_pg_fail_cell(const PGresult *header, int column, orm_type type, const char *table, orm_error *error)
{
	const char *name = PQfname(header, column);

	orm_fail(error, ORM_EDATABASE, "%s%s%s: the database holds %s that is not a valid %s; another program made it",
		 table ? table : "", table ? "." : "", name ? name : "?", type_name(PQftype(header, column)),
		 orm_type_name(type));
	return error ? orm_error_at(error, table, name, NULL) : ORM_EDATABASE;
}
