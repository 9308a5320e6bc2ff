/* SPDX-License-Identifier: MIT */
/* Errors that name their place: every message about a model starts with "User.email: " or "User: ". */
#ifndef ORM_MODEL_FAIL_H
#define ORM_MODEL_FAIL_H

#include "base/error.h"

/*
 * orm_fail with `model` and `column` (may be NULL) put both before the message and into the error's fields. `error` may
 * be NULL. Returns `code`.
 */
orm_status orm_fail_at(orm_error *error, orm_status code, const char *model, const char *column, const char *format,
		       ...) ORM_PRINTF(5, 6);

#endif
