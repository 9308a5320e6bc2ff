/* SPDX-License-Identifier: MIT */
/* Filling an orm_error. Inside the project the last parameter of a fallible function is `orm_error *error`. */
#ifndef ORM_BASE_ERROR_H
#define ORM_BASE_ERROR_H

#include <stdarg.h>

#include <orm/status.h>

/*
 * Write code and message into `error` (may be NULL) and empty its other fields. Returns `code`, so that a
 * caller can write `return orm_fail(error, ORM_EINVAL, "...")`. Name the place afterwards with orm_error_at.
 */
orm_status orm_fail(orm_error *error, orm_status code, const char *format, ...) ORM_PRINTF(3, 4);
orm_status orm_fail_v(orm_error *error, orm_status code, const char *format, va_list args);

/* Say where: model, column and key may each be NULL (left as they are); `error` may not. Returns error->code. */
orm_status orm_error_at(orm_error *error, const char *model, const char *column, const char *key);

/* Forget what `error` says: ORM_OK and empty strings. NULL is allowed. */
void orm_error_clear(orm_error *error);

#endif
