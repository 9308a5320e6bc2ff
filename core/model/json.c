/* SPDX-License-Identifier: MIT */
/* JSON is only looked at, never read: a strict check in one pass, without recursion. */
#include <string.h>

#include "model/value.h"

typedef struct scan {
	const char *next;
	const char *end;
	uint64_t objects[ORM_JSON_DEPTH / 64 + 1]; /* of what is open, by depth: an object or an array */
	size_t depth;
} scan;

static bool at_end(const scan *s)
{
	return s->next == s->end;
}

static bool take(scan *s, char c)
{
	if (at_end(s) || *s->next != c)
		return false;
	s->next++;
	return true;
}

static void skip_space(scan *s)
{
	while (!at_end(s) && (*s->next == ' ' || *s->next == '\t' || *s->next == '\n' || *s->next == '\r'))
		s->next++;
}

static bool take_word(scan *s, const char *word)
{
	const size_t size = strlen(word);

	if ((size_t)(s->end - s->next) < size || memcmp(s->next, word, size) != 0)
		return false;
	s->next += size;
	return true;
}

static bool take_digits(scan *s)
{
	const char *start = s->next;

	while (!at_end(s) && *s->next >= '0' && *s->next <= '9')
		s->next++;
	return s->next > start;
}

static bool take_number(scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !take_digits(s))
		return false;
	if (take(s, '.') && !take_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		return take_digits(s);
	}
	return true;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* After the backslash. */
static bool take_escape(scan *s)
{
	if (at_end(s))
		return false;

	const char c = *s->next++;

	if (c != 'u')
		return memchr("\"\\/bfnrt", c, 8) != NULL;
	for (int i = 0; i < 4; i++, s->next++) {
		if (at_end(s) || !is_hex(*s->next))
			return false;
	}
	return true;
}

static bool take_string(scan *s)
{
	if (!take(s, '"'))
		return false;
	while (!at_end(s)) {
		const char c = *s->next++;

		if (c == '"')
			return true;
		if ((unsigned char)c < ' ' || (c == '\\' && !take_escape(s)))
			return false;
	}
	return false;
}

static bool in_object(const scan *s)
{
	return s->objects[s->depth / 64] >> (s->depth % 64) & 1;
}

static bool open_one(scan *s, bool object)
{
	if (s->depth == ORM_JSON_DEPTH)
		return false;
	s->depth++;

	const uint64_t bit = UINT64_C(1) << (s->depth % 64);
	uint64_t *word = &s->objects[s->depth / 64];

	*word = object ? *word | bit : *word & ~bit;
	return true;
}

/* A member's name and colon; the value comes next. */
static bool take_name(scan *s)
{
	skip_space(s);
	if (!take_string(s))
		return false;
	skip_space(s);
	return take(s, ':');
}

static bool take_scalar(scan *s)
{
	switch (at_end(s) ? '\0' : *s->next) {
	case '"':
		return take_string(s);
	case 't':
		return take_word(s, "true");
	case 'f':
		return take_word(s, "false");
	case 'n':
		return take_word(s, "null");
	default:
		return take_number(s);
	}
}

/* A value, or the beginning of one. *complete: all of it has been read. */
static bool take_value(scan *s, bool *complete)
{
	skip_space(s);

	const bool object = take(s, '{');

	if (!object && !take(s, '[')) {
		*complete = true;
		return take_scalar(s);
	}
	if (!open_one(s, object))
		return false;
	skip_space(s);
	*complete = take(s, object ? '}' : ']');
	if (*complete)
		s->depth--;
	return *complete || !object || take_name(s);
}

bool orm_json_valid(const char *text, size_t size)
{
	scan s = {.next = text, .end = text + size};
	bool complete = false;

	while (take_value(&s, &complete)) {
		/* What ends here, and what it was the last value of. */
		while (complete && s.depth > 0) {
			skip_space(&s);
			if (take(&s, ','))
				break;
			if (!take(&s, in_object(&s) ? '}' : ']'))
				return false;
			s.depth--;
		}
		if (complete && s.depth == 0) {
			skip_space(&s);
			return at_end(&s);
		}
		if (complete && in_object(&s) && !take_name(&s))
			return false;
	}
	return false;
}
