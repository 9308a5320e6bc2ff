/* SPDX-License-Identifier: MIT */
/* Decimal numbers are texts: digits are compared and moved, never turned into binary fractions. */
#include "base/decimal.h"

#include <string.h>

#include <orm/types.h>

/* What is left of a number's text without what says nothing: zeros in front and at the end. */
typedef struct parts {
	bool negative; /* not zero, which has no sign */
	const char *whole;
	size_t n_whole;
	const char *fraction;
	size_t n_fraction;
} parts;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t count_digits(const char *text, const char *end)
{
	const char *c = text;

	while (c < end && is_digit(*c))
		c++;
	return (size_t)(c - text);
}

static bool split(const char *text, size_t size, parts *number)
{
	const char *const end = text + size;
	const bool minus = size > 0 && *text == '-';
	size_t n_fraction = 0;

	if (size > 0 && (*text == '-' || *text == '+'))
		text++;

	const size_t n_whole = count_digits(text, end);
	const char *whole = text;

	text += n_whole;

	const bool point = text < end && *text == '.';

	if (point)
		n_fraction = count_digits(++text, end);
	if (text + n_fraction != end || n_whole + n_fraction == 0 || (point && n_fraction == 0))
		return false;
	*number = (parts){.whole = whole, .n_whole = n_whole, .fraction = text, .n_fraction = n_fraction};
	while (number->n_whole > 0 && *number->whole == '0') {
		number->whole++;
		number->n_whole--;
	}
	while (number->n_fraction > 0 && number->fraction[number->n_fraction - 1] == '0')
		number->n_fraction--;
	number->negative = minus && number->n_whole + number->n_fraction > 0;
	return true;
}

orm_decimal_fault orm_decimal_canonical(const char *text, size_t size, unsigned precision, unsigned scale,
					char canonical[ORM_DECIMAL_SIZE], size_t *canonical_size)
{
	parts number;
	char *to = canonical;

	if (!split(text, size, &number))
		return ORM_DECIMAL_MALFORMED;
	if (number.n_fraction > scale)
		return ORM_DECIMAL_TOO_FINE;
	if (number.n_whole > precision - scale)
		return ORM_DECIMAL_TOO_LARGE;
	if (number.negative)
		*to++ = '-';
	if (number.n_whole == 0)
		*to++ = '0';
	memcpy(to, number.whole, number.n_whole);
	to += number.n_whole;
	if (scale > 0) {
		*to++ = '.';
		memcpy(to, number.fraction, number.n_fraction);
		memset(to + number.n_fraction, '0', scale - number.n_fraction);
		to += scale;
	}
	*to = '\0';
	*canonical_size = (size_t)(to - canonical);
	return ORM_DECIMAL_GOOD;
}

/* Of two numbers without regard to their signs. */
static int compare_sizes(const parts *a, const parts *b)
{
	const size_t n_common = a->n_fraction < b->n_fraction ? a->n_fraction : b->n_fraction;
	int order;

	if (a->n_whole != b->n_whole)
		return a->n_whole < b->n_whole ? -1 : 1;
	order = memcmp(a->whole, b->whole, a->n_whole);
	if (order == 0)
		order = memcmp(a->fraction, b->fraction, n_common);
	if (order != 0)
		return order < 0 ? -1 : 1;
	return (a->n_fraction > b->n_fraction) - (a->n_fraction < b->n_fraction);
}

orm_status orm_decimal_compare(const char *a, const char *b, int *order)
{
	parts left;
	parts right;

	if (!a || !b || !split(a, strlen(a), &left) || !split(b, strlen(b), &right))
		return ORM_EINVAL;
	if (left.negative != right.negative)
		*order = left.negative ? -1 : 1;
	else
		*order = left.negative ? compare_sizes(&right, &left) : compare_sizes(&left, &right);
	return ORM_OK;
}

orm_status orm_decimal_from_int64(int64_t value, unsigned scale, char text[ORM_DECIMAL_SIZE])
{
	char reversed[ORM_DECIMAL_SIZE];
	uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
	size_t n = 0;

	if (scale > ORM_DECIMAL_MAX_PRECISION)
		return ORM_EINVAL;
	for (unsigned digits = 0; left > 0 || digits <= scale; digits++) {
		if (digits == scale && scale > 0)
			reversed[n++] = '.';
		reversed[n++] = (char)('0' + left % 10);
		left /= 10;
	}
	if (value < 0)
		reversed[n++] = '-';
	for (size_t i = 0; i < n; i++)
		text[i] = reversed[n - 1 - i];
	text[n] = '\0';
	return ORM_OK;
}

orm_status orm_decimal_to_int64(const char *text, unsigned scale, int64_t *value)
{
	parts number;
	uint64_t size = 0;

	if (!text || !split(text, strlen(text), &number) || number.n_fraction > scale ||
	    scale > ORM_DECIMAL_MAX_PRECISION)
		return ORM_EINVAL;
	for (size_t i = 0; i < number.n_whole + scale; i++) {
		const size_t place = i - number.n_whole; /* after the point; not looked at before it */
		const char digit = i < number.n_whole          ? number.whole[i]
				   : place < number.n_fraction ? number.fraction[place]
							       : '0';

		if (__builtin_mul_overflow(size, 10, &size) ||
		    __builtin_add_overflow(size, (uint64_t)(digit - '0'), &size))
			return ORM_EINVAL;
	}
	if (size > (uint64_t)INT64_MAX + number.negative)
		return ORM_EINVAL;
	*value = number.negative ? (int64_t)(-size) : (int64_t)size;
	return ORM_OK;
}
