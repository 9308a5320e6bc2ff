/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL's numeric in binary, as numeric_send writes it: four int16 (how many digits follow, the weight of the
 * first, the sign, the scale to display), then digits of base 10'000, the first of which counts 10'000^weight.
 */
#include "driver/postgresql_internal.h"

#include <endian.h>
#include <string.h>

#define DIGIT_WIDTH   4 /* of our digits in one of PostgreSQL's */
#define HEADER_SIZE   (4 * sizeof(uint16_t))
#define SIGN_NEGATIVE 0x4000

static void put_int16(char *to, uint16_t number)
{
	const uint16_t raw = htobe16(number);

	memcpy(to, &raw, sizeof raw);
}

static uint16_t read_int16(const char *from)
{
	uint16_t raw;

	memcpy(&raw, from, sizeof raw);
	return be16toh(raw);
}

size_t ormd_pg_put_numeric(const char *text, size_t size, char cell[PG_NUMERIC_SIZE])
{
	const bool negative = size > 0 && *text == '-';
	const char *whole = text + negative;
	const char *const end = text + size;
	const char *point = memchr(text, '.', size);
	const size_t n_whole = (size_t)((point ? point : end) - whole);
	const size_t n_fraction = point ? (size_t)(end - point) - 1 : 0;
	const size_t n_before = (n_whole + DIGIT_WIDTH - 1) / DIGIT_WIDTH;
	const size_t n_after = (n_fraction + DIGIT_WIDTH - 1) / DIGIT_WIDTH;
	const size_t padding = n_before * DIGIT_WIDTH - n_whole; /* zeros in front of the first */
	char *to = cell + HEADER_SIZE;

	for (size_t i = 0; i < n_before + n_after; i++) {
		uint16_t digit = 0;

		for (size_t j = i * DIGIT_WIDTH; j < (i + 1) * DIGIT_WIDTH; j++) {
			const size_t place = j - padding; /* among the digits, where j has passed the padding */
			char c = '0';

			if (j >= padding && place < n_whole)
				c = whole[place];
			else if (j >= padding && place < n_whole + n_fraction)
				c = point[1 + place - n_whole];
			digit = (uint16_t)(digit * 10 + (c - '0'));
		}
		put_int16(to, digit);
		to += sizeof digit;
	}
	put_int16(cell, (uint16_t)(n_before + n_after));
	put_int16(cell + 2, (uint16_t)(n_before - 1));
	put_int16(cell + 4, negative ? SIGN_NEGATIVE : 0);
	put_int16(cell + 6, (uint16_t)n_fraction);
	return (size_t)(to - cell);
}

/* The decimal digit in this place: 0 is the one before the point, -1 the one behind it. */
static char digit_at(const char *digits, int n_digits, int weight, int place)
{
	static const int powers[DIGIT_WIDTH] = {1, 10, 100, 1000};
	const int group = place >= 0 ? place / DIGIT_WIDTH : -((-place - 1) / DIGIT_WIDTH) - 1;
	const int index = weight - group;

	if (index < 0 || index >= n_digits)
		return '0';
	return (char)('0' + read_int16(digits + 2 * index) / powers[place - group * DIGIT_WIDTH] % 10);
}

bool ormd_pg_read_numeric(const char *data, size_t size, char text[ORM_DECIMAL_SIZE], size_t *text_size)
{
	if (size < HEADER_SIZE)
		return false;

	const int n_digits = read_int16(data);
	const int weight = (int16_t)read_int16(data + 2);
	const uint16_t sign = read_int16(data + 4); /* others are NaN and the infinities */
	const int scale = read_int16(data + 6);
	const char *digits = data + HEADER_SIZE;
	char *to = text;
	int first = weight * DIGIT_WIDTH + DIGIT_WIDTH - 1;

	if (size != HEADER_SIZE + 2 * (size_t)n_digits || (sign != 0 && sign != SIGN_NEGATIVE) ||
	    scale > ORM_DECIMAL_MAX_PRECISION || first - DIGIT_WIDTH >= ORM_DECIMAL_MAX_PRECISION)
		return false;
	for (int i = 0; i < n_digits; i++) {
		if (read_int16(digits + 2 * i) > 9999)
			return false;
	}
	while (first > 0 && digit_at(digits, n_digits, weight, first) == '0')
		first--;
	if (first < 0)
		first = 0;
	if (first + 1 + scale > ORM_DECIMAL_MAX_PRECISION + 1)
		return false;
	if (sign == SIGN_NEGATIVE)
		*to++ = '-';
	for (int place = first; place >= -scale; place--) {
		if (place == -1)
			*to++ = '.';
		*to++ = digit_at(digits, n_digits, weight, place);
	}
	*to = '\0';
	*text_size = (size_t)(to - text);
	return true;
}
