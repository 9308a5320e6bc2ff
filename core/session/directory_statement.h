/* SPDX-License-Identifier: MIT */
/* The directory's statements: text as every engine may have it, and what comes back. */
#ifndef ORMD_SESSION_DIRECTORY_STATEMENT_H
#define ORMD_SESSION_DIRECTORY_STATEMENT_H

#include <string.h>

#include "driver/driver.h"

/*
 * Statements are written as for none of the engines: "double quotes" around names, ? for parameters, @ for the time
 * now. The functions give ORM_OK or fail with *error.
 */

/* *n_found (may be NULL): how many rows it found. */
orm_status ormd_directory_change(ormd_connection *connection, const char *statement, const orm_value *values,
				 size_t n_values, size_t *n_found, orm_error *error);

/* INSERT that does nothing if the row is there: *n_inserted (may be NULL) is 0 then. `statement` is what follows
 * INSERT. */
orm_status ormd_directory_insert(ormd_connection *connection, const char *statement, const orm_value *values,
				 size_t n_values, size_t *n_inserted, orm_error *error);

/* What a column of an answer is. */
enum {
	ORMD_CELL_ID,
	ORMD_CELL_FENCE,
	ORMD_CELL_LEASE,
	ORMD_CELL_NUMBER,
	ORMD_CELL_NAME,
	ORMD_CELL_ADDRESS,
	ORMD_CELL_HOST,
	ORMD_CELL_STARTED,
	ORMD_CELL_SEEN,
	ORMD_CELL_NOW
};

#define ORMD_MAX_CELLS 8

typedef struct ormd_answer {
	orm_batch_builder builder;
	orm_vector vectors[ORMD_MAX_CELLS]; /* in the order of the statement's columns */
	orm_batch batch;
} ormd_answer;

/* What a SELECT gives, in zeroed storage; to be freed, also after a failure. `columns` are ORMD_CELL_... `lock`: the
 * rows that it finds stay locked until the transaction's end, where the engine locks rows. */
orm_status ormd_directory_ask(ormd_connection *connection, const char *statement, bool lock, const orm_value *values,
			      size_t n_values, const uint16_t *columns, size_t n_columns, ormd_answer *a,
			      orm_error *error);
void ormd_answer_fini(ormd_answer *a);
const char *ormd_answer_text(const orm_vector *vector, uint32_t row); /* of a cell that is not NULL */

/* ---- parameters --------------------------------------------------------------------------------------------- */

static inline orm_value ormd_integer(int64_t value)
{
	return (orm_value){.type = ORM_INT64, .integer = value};
}

static inline orm_value ormd_instant(int64_t us)
{
	return (orm_value){.type = ORM_DATETIME, .integer = us};
}

static inline orm_value ormd_text(const char *value)
{
	return (orm_value){.type = ORM_TEXT, .size = (uint32_t)strlen(value), .bytes = value};
}

#endif
