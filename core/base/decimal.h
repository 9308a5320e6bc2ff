/* SPDX-License-Identifier: MIT */
/* The one text that a decimal number has in a column: see orm_decimal in types.h. */
#ifndef ORM_BASE_DECIMAL_H
#define ORM_BASE_DECIMAL_H

#include <stddef.h>

#include <orm/types.h>

typedef enum orm_decimal_fault {
	ORM_DECIMAL_GOOD = 0,
	ORM_DECIMAL_MALFORMED, /* no decimal number */
	ORM_DECIMAL_TOO_LARGE, /* more digits before the point than precision - scale */
	ORM_DECIMAL_TOO_FINE   /* more digits after the point than the scale */
} orm_decimal_fault;

/* Write the canonical text and its length; both stay untouched on a fault. scale <= precision <=
 * ORM_DECIMAL_MAX_PRECISION. */
orm_decimal_fault orm_decimal_canonical(const char *text, size_t size, unsigned precision, unsigned scale,
					char canonical[ORM_DECIMAL_SIZE], size_t *canonical_size);

#endif
