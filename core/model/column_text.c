/* SPDX-License-Identifier: MIT */
/* Types whose values are texts of a certain form. */
#include "model/value.h"

#include <string.h>

#include "base/decimal.h"

static const char *decimal_fault_text(orm_decimal_fault fault)
{
	switch (fault) {
	case ORM_DECIMAL_MALFORMED:
		return "the value is no decimal number: give digits with at most one point and a sign, such as -12.50";
	case ORM_DECIMAL_TOO_LARGE:
		return "the value has more digits before the point than the column has room for: raise its precision, "
		       "or "
		       "give a smaller one";
	case ORM_DECIMAL_TOO_FINE:
		return "the value has more digits after the point than the column's scale: round it as you mean it, or "
		       "raise the scale";
	case ORM_DECIMAL_GOOD:
		break;
	}
	return NULL;
}

const char *orm_column_canonical_decimal(const orm_column *column, const char *text, size_t size,
					 char canonical[ORM_DECIMAL_SIZE], size_t *canonical_size)
{
	return decimal_fault_text(
		orm_decimal_canonical(text, size, column->precision, column->scale, canonical, canonical_size));
}

const char *orm_column_text_fault(const orm_column *column, const char *text, size_t size)
{
	char canonical[ORM_DECIMAL_SIZE];
	size_t canonical_size = 0;
	const char *fault;

	switch (column->type) {
	case ORM_DECIMAL:
		fault = orm_column_canonical_decimal(column, text, size, canonical, &canonical_size);
		if (!fault && (canonical_size != size || memcmp(canonical, text, size) != 0))
			fault = "the value is not written as the column has it: give as many digits after the point as "
				"its scale, and no zeros in front";
		return fault;
	case ORM_JSON:
		return orm_json_valid(text, size)
			       ? NULL
			       : "the value is no JSON document (RFC 8259), or nested more than 31 deep: correct it";
	default:
		return NULL;
	}
}
