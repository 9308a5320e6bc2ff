/* SPDX-License-Identifier: MIT */
#include "server/units.h"

#include <string.h>

typedef struct unit {
	const char *name;
	int64_t factor;
} unit;

/* Digits to a number; where they end goes to *end. False: no digits, or too many. */
static bool parse_digits(const char *text, int64_t base, int64_t *number, const char **end)
{
	int64_t value = 0;
	const char *c = text;

	for (; *c >= '0' && *c < '0' + base; c++) {
		if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, *c - '0', &value))
			return false;
	}
	*number = value;
	*end = c;
	return c > text;
}

static bool parse_with_unit(const char *text, const unit *units, int64_t *number)
{
	const char *name;
	int64_t value;

	if (!parse_digits(text, 10, &value, &name))
		return false;
	for (; units->name; units++) {
		if (strcmp(name, units->name) == 0) {
			if (__builtin_mul_overflow(value, units->factor, &value))
				return false;
			*number = value;
			return true;
		}
	}
	/* Nothing of anything needs no unit. */
	if (value != 0 || *name)
		return false;
	*number = 0;
	return true;
}

bool ormd_parse_number(const char *text, int64_t *number)
{
	const char *end;
	int64_t value;

	if (!parse_digits(text, 10, &value, &end) || *end)
		return false;
	*number = value;
	return true;
}

bool ormd_parse_duration(const char *text, int64_t *milliseconds)
{
	static const unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

	return parse_with_unit(text, units, milliseconds);
}

bool ormd_parse_size(const char *text, int64_t *bytes)
{
	static const unit units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
				     {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};

	return parse_with_unit(text, units, bytes);
}

bool ormd_parse_octal(const char *text, int64_t *number)
{
	const char *end;
	int64_t value;

	if (!parse_digits(text, 8, &value, &end) || *end)
		return false;
	*number = value;
	return true;
}
