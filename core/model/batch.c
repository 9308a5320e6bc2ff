/* SPDX-License-Identifier: MIT */
#include "model/batch.h"

#include <assert.h>

void orm_vector_cursor_next(orm_vector_cursor *cursor, orm_value *value)
{
	const orm_vector *vector = cursor->vector;
	const size_t row = cursor->row;

	value->type = vector->type;
	value->null = orm_vector_is_null(vector, row);
	value->size = 0;
	switch (vector->type) {
	case ORM_BOOL:
		value->boolean = orm_vector_bool_at(vector, row);
		break;
	case ORM_INT32:
	case ORM_DATE:
		value->integer = orm_vector_int32_at(vector, row);
		break;
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		value->integer = orm_vector_int64_at(vector, row);
		break;
	case ORM_DOUBLE:
		value->number = orm_vector_double_at(vector, row);
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		value->text = orm_vector_cursor_next_text(cursor, &value->size);
		return;
	case ORM_UUID:
		value->bytes = orm_vector_uuid_at(vector, row);
		value->size = sizeof(orm_uuid);
		break;
	case ORM_BYTES:
		value->bytes = orm_vector_bytes_at(vector, row, &value->size);
		break;
	default:
		assert(vector->type > ORM_TYPE_NONE && vector->type <= ORM_TYPE_MAX);
		break;
	}
	cursor->row = row + 1;
}
