/* SPDX-License-Identifier: MIT */
#include "client/designators.h"

#include <string.h>

#include "model/fail.h"

#define SHOWN 60 /* bytes of a piece that a message quotes */

typedef struct site {
	const char *address;
	const orm_model *model;
	const char *text; /* copy of what was there */
	designators given;
} site;

/* ---- C source, as far as it matters here ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Bytes above 127 are a part of an identifier that is not ASCII. */
static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || is_digit(c) ||
	       (unsigned char)c >= 0x80;
}

/* After a string or character constant that begins at `at`; its end is the text's if it has none. */
static const char *after_quoted(const char *at)
{
	const char quote = *at++;

	while (*at && *at != quote) {
		if (*at == '\\' && at[1])
			at++;
		at++;
	}
	return *at ? at + 1 : at;
}

/* After the comment that begins at `at`, if one does. */
static const char *after_comment(const char *at)
{
	const char *end = NULL;

	if (at[0] == '/' && at[1] == '*') {
		end = strstr(at + 2, "*/");
		return end ? end + 2 : at + strlen(at);
	}
	if (at[0] == '/' && at[1] == '/')
		return at + strcspn(at, "\n");
	return at;
}

/* After a number: C's preprocessing numbers, with the digit separators of C23 (1'000), which begin no character
 * constant. */
static const char *after_number(const char *at)
{
	for (at++; *at; at++) {
		const bool exponent = (*at == '+' || *at == '-') && strchr("eEpP", at[-1]);
		const bool separator = *at == '\'' && is_name(at[1]);

		if (!is_name(*at) && *at != '.' && !exponent && !separator)
			break;
	}
	return at;
}

static const char *skip_blank(const char *at)
{
	for (;;) {
		const char *next = after_comment(at);

		if (next == at && !is_space(*at))
			return at;
		at = next == at ? at + 1 : next;
	}
}

/* The comma that ends the piece which begins at `at`, or the end of the text. NULL if brackets do not match. */
static const char *end_of_piece(const char *at)
{
	size_t depth = 0;

	while (*at) {
		const char *next = after_comment(at);

		if (next != at) {
			at = next;
			continue;
		}
		if (*at == '"' || *at == '\'') {
			at = after_quoted(at);
			continue;
		}
		if (is_digit(*at)) {
			at = after_number(at);
			continue;
		}
		if (is_name(*at)) {
			while (is_name(*at))
				at++;
			continue;
		}
		if (*at == '(' || *at == '[' || *at == '{') {
			depth++;
		} else if (*at == ')' || *at == ']' || *at == '}') {
			if (depth == 0)
				return NULL;
			depth--;
		} else if (*at == ',' && depth == 0) {
			return at;
		}
		at++;
	}
	return depth == 0 ? at : NULL;
}

/* The name of `.name ... =`, or NULL if the piece [at, end) is something else. */
static const char *designated(const char *at, const char *end, size_t *len)
{
	const char *name;

	if (at == end || *at != '.')
		return NULL;
	at = skip_blank(at + 1);
	name = at;
	if (is_digit(*at))
		return NULL;
	while (at < end && is_name(*at))
		at++;
	*len = (size_t)(at - name);
	if (*len == 0)
		return NULL;

	/* What a deeper designator goes on with: .published.has, .point[1] */
	for (at = skip_blank(at); at < end && (*at == '.' || *at == '['); at = skip_blank(at)) {
		if (*at == '[') {
			size_t depth = 0;

			do {
				depth += *at == '[';
				depth -= *at == ']';
				at++;
			} while (depth > 0 && at < end);
			continue;
		}
		at = skip_blank(at + 1);
		while (at < end && is_name(*at))
			at++;
	}
	return at < end && *at == '=' ? name : NULL;
}

/* ---- one call site ---- */

static orm_status fail_piece(orm_error *error, const orm_model *model, const char *piece, const char *end)
{
	while (end > piece && is_space(end[-1]))
		end--;

	const size_t len = (size_t)(end - piece);

	return orm_fail_at(error, ORM_EINVAL, model->name, NULL,
			   "'%.*s%s' is not of the form '.member = value'; members must be spelled in the call, not by "
			   "position and not by a macro",
			   (int)(len > SHOWN ? SHOWN : len), piece, len > SHOWN ? "..." : "");
}

static orm_status find_field(const orm_model *model, const char *name, size_t len, uint16_t *field, orm_error *error)
{
	char column[sizeof error->column];

	for (size_t i = 0; i < model->n_fields; i++) {
		const char *known = model->fields[i].name;

		if (known && strlen(known) == len && memcmp(known, name, len) == 0) {
			*field = (uint16_t)i;
			return ORM_OK;
		}
	}
	if (len >= sizeof column)
		len = sizeof column - 1;
	memcpy(column, name, len);
	column[len] = '\0';
	return orm_fail_at(error, ORM_EINVAL, model->name, column,
			   "the member is neither a column nor a relationship of the model; add a row for it to the "
			   "model's table of fields");
}

/* Parse into `fields`, which has room for every field of the model. */
static orm_status parse(const orm_model *model, const char *text, uint16_t *fields, size_t *n_fields, orm_error *error)
{
	size_t n = 0;

	for (const char *at = skip_blank(text); *at;) {
		const char *end = end_of_piece(at);
		uint16_t field = 0;
		size_t len = 0;
		bool known = false;

		if (!end)
			return fail_piece(error, model, at, at + strlen(at));

		const char *name = designated(at, end, &len);

		if (!name)
			return fail_piece(error, model, at, end);

		const orm_status status = find_field(model, name, len, &field, error);

		if (status != ORM_OK)
			return status;
		for (size_t i = 0; i < n && !known; i++)
			known = fields[i] == field;
		if (!known)
			fields[n++] = field;
		at = skip_blank(*end ? end + 1 : end);
	}
	*n_fields = n;
	return ORM_OK;
}

static bool is_site(const void *value, const void *key)
{
	const site *known = value;
	const site *wanted = key;

	return known->address == wanted->address && known->model == wanted->model &&
	       strcmp(known->text, wanted->address) == 0;
}

/* ---- the cache ---- */

void designators_cache_init(designators_cache *cache)
{
	orm_map_init(&cache->sites);
	orm_arena_init(&cache->arena, 0);
}

void designators_cache_fini(designators_cache *cache)
{
	orm_map_fini(&cache->sites);
	orm_arena_fini(&cache->arena);
}

const designators *designators_get(designators_cache *cache, const orm_model *model, const char *text, orm_error *error)
{
	const site wanted = {.address = text, .model = model};
	const uint64_t hash = orm_hash_u64((uintptr_t)text ^ (uint64_t)(uintptr_t)model << 1);
	site *found = orm_map_get(&cache->sites, hash, is_site, &wanted);

	if (found)
		return &found->given;

	site *fresh = orm_arena_alloc(&cache->arena, sizeof *fresh);
	uint16_t *fields = orm_arena_alloc(&cache->arena, model->n_fields * sizeof *fields);
	char *copy = orm_arena_strdup(&cache->arena, text);

	if (!fresh || !fields || !copy) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	*fresh = (site){.address = text, .model = model, .text = copy, .given.fields = fields};
	if (parse(model, text, fields, &fresh->given.n_fields, error) != ORM_OK)
		return NULL;
	if (!orm_map_put(&cache->sites, hash, fresh)) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	return &fresh->given;
}
