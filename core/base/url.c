/* SPDX-License-Identifier: MIT */
#include "base/url.h"

#include <string.h>
#include <strings.h>

typedef struct scheme {
	const char *name; /* with its colon */
	const char *engine;
} scheme;

static const scheme schemes[] = {
	{"postgresql:", "postgresql:"}, {"postgres:", "postgresql:"}, {"mysql:", "mariadb:"}, {"mariadb:", "mariadb:"}};

static const scheme *find_scheme(const char *url)
{
	for (size_t i = 0; url && i < sizeof schemes / sizeof *schemes; i++)
		if (strncmp(url, schemes[i].name, strlen(schemes[i].name)) == 0)
			return &schemes[i];
	return NULL;
}

bool orm_url_is_of_server(const char *url)
{
	return find_scheme(url) != NULL;
}

bool orm_url_is_database(const char *url)
{
	return orm_url_is_of_server(url) || (url && strncmp(url, "sqlite:", strlen("sqlite:")) == 0);
}

/* ---- without the password ------------------------------------------------------------------------------------ */

typedef struct output {
	char *text;
	size_t size;
	size_t len;
} output;

static void put(output *out, const char *from, size_t len)
{
	const size_t room = out->size - 1 - out->len;

	if (len > room)
		len = room;
	memcpy(out->text + out->len, from, len);
	out->len += len;
}

static bool is_number(const char *from, const char *to)
{
	return from < to && strspn(from, "0123456789") >= (size_t)(to - from);
}

static const char *last_at(const char *from, const char *to)
{
	while (to > from && to[-1] != '@')
		to--;
	return to > from ? to - 1 : NULL;
}

/*
 * The @ that ends user and password, or NULL. It is the last one before the path, so that a password with an @ of its
 * own is wholly hidden. If there is none, but what follows the first colon is no port, then somebody has forgotten to
 * write a slash in the password as %2F: no driver takes that, but its message must not tell the password.
 */
static const char *find_at(const char *authority)
{
	const char *path = authority + strcspn(authority, "/?#");
	const char *at = last_at(authority, path);
	const char *colon = memchr(authority, ':', (size_t)(path - authority));

	if (at || !colon || *authority == '[' || is_number(colon + 1, path) ||
	    memchr(authority, ',', (size_t)(path - authority)))
		return at;
	return last_at(path, path + strlen(path));
}

static bool is_secret(const char *parameter, size_t len)
{
	static const char *const names[] = {"password=", "passwd=", "sslpassword="};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (len >= strlen(names[i]) && strncasecmp(parameter, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static void put_parameters(output *out, const char *query)
{
	char before = '?';

	for (const char *from = query + 1;;) {
		const size_t len = strcspn(from, "&");

		if (!is_secret(from, len)) {
			put(out, &before, 1);
			put(out, from, len);
			before = '&';
		}
		if (!from[len])
			return;
		from += len + 1;
	}
}

static void put_rest(output *out, const char *rest)
{
	const char *authority = strncmp(rest, "//", 2) == 0 ? rest + 2 : NULL;
	const char *at = authority ? find_at(authority) : NULL;
	const char *query;

	if (at) {
		const char *colon = memchr(authority, ':', (size_t)(at - authority));

		put(out, rest, (size_t)((colon ? colon : at) - rest));
		rest = at;
	}
	query = strchr(rest, '?');
	put(out, rest, query ? (size_t)(query - rest) : strlen(rest));
	if (query)
		put_parameters(out, query);
	out->text[out->len] = '\0';
}

char *orm_url_without_password(const char *url, char *text, size_t size)
{
	const char *rest = strstr(url, "://");
	output out = {.text = text, .size = size};

	if (strncmp(url, "sqlite:", strlen("sqlite:")) == 0 || !rest) {
		put(&out, url, strlen(url));
		text[out.len] = '\0';
	} else {
		put(&out, url, (size_t)(rest + 1 - url));
		put_rest(&out, rest + 1);
	}
	return text;
}

char *orm_url_identity(const char *url, char *text, size_t size)
{
	const scheme *known = find_scheme(url);
	output out = {.text = text, .size = size};

	if (!known)
		return orm_url_without_password(url, text, size);
	put(&out, known->engine, strlen(known->engine));
	put_rest(&out, url + strlen(known->name));
	return text;
}
