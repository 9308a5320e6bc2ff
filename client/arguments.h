/* SPDX-License-Identifier: MIT */
/* The values of orm_get's key, as the columns' own types. */
#ifndef CLIENT_ARGUMENTS_H
#define CLIENT_ARGUMENTS_H

#include "client/binding.h"

#define MAX_KEY_ARGUMENTS 6 /* as ORM_ARGS_ gives at most */

/*
 * One value per key column, in `values` (room for max_values); text and bytes are borrowed. ORM_EINVAL, naming the
 * column, for a wrong number or type. *possible is false when no row can have this key: a number outside of the
 * column's range, NULL.
 */
orm_status arguments_key(const orm_layout *layout, const orm_arg *arguments, size_t n_arguments, size_t max_values,
			 orm_value *values, bool *possible, orm_error *error);

#endif
