/* SPDX-License-Identifier: MIT */
/*
 * mysql://user:password@host:port,host:port/database?option=value&... Parts are percent-decoded; an IPv6 address is in
 * brackets. No message repeats any of the URL but the name of an option, since it may hold a password.
 *
 * Options, with - or _ in their names:
 *   socket=/path             a Unix socket instead of a host
 *   ssl=1                    TLS, or nothing; implied by ssl-ca, ssl-cert and ssl-key (files in PEM form)
 *   ssl-verify=0             take any certificate; 1 is the default
 *   connect-timeout=10       seconds for each host
 *   wsrep-sync-wait=0        which statements wait until a Galera node has what the cluster has committed: 1 reads,
 *                            2 UPDATE and DELETE, 4 INSERT, 8 SHOW, added up; without it a connection does so when it
 *                            is made, and before a doubtful commit is settled
 */
#include "driver/mysql_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define DEFAULT_CONNECT_TIMEOUT_S 10
#define MAX_CONNECT_TIMEOUT_S     3600

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL: failed. */
static const char *decode(mysql_url *url, const char *text, size_t size, const char *what, orm_error *error)
{
	char *decoded = orm_arena_alloc(&url->arena, size + 1);
	size_t len = 0;

	if (!decoded) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (c == '%') {
			const int high = i + 1 < size ? hex_digit(text[i + 1]) : -1;
			const int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0)) {
				orm_fail(error, ORM_EINVAL,
					 "the URL's %s has a %% that is not followed by two hexadecimal digits, or by "
					 "00; write %% as %%25",
					 what);
				return NULL;
			}
			c = (char)(high * 16 + low);
			i += 2;
		}
		decoded[len++] = c;
	}
	decoded[len] = '\0';
	return decoded;
}

/* A whole number without sign. */
static bool read_number(const char *text, size_t size, unsigned max, unsigned *number)
{
	unsigned long value = 0;

	if (size == 0 || size > 9)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*number = (unsigned)value;
	return value <= max;
}

/* ---- who and where ------------------------------------------------------------------------------------------ */

static orm_status read_user(mysql_url *url, const char *text, size_t size, orm_error *error)
{
	const char *colon = memchr(text, ':', size);
	const size_t user_size = colon ? (size_t)(colon - text) : size;

	if (!(url->user = decode(url, text, user_size, "user", error)))
		return error->code;
	if (colon && !(url->password = decode(url, colon + 1, size - user_size - 1, "password", error)))
		return error->code;
	return ORM_OK;
}

static orm_status read_host(mysql_url *url, const char *text, size_t size, orm_error *error)
{
	const char *limit = text + size;
	const bool bracketed = size > 0 && *text == '[';
	const char *name = text + bracketed;
	const char *end = memchr(name, bracketed ? ']' : ':', (size_t)(limit - name));

	if (url->n_hosts == ORMD_MYSQL_MAX_HOSTS)
		return orm_fail(error, ORM_EINVAL, "the URL has more than %d hosts", ORMD_MYSQL_MAX_HOSTS);
	if (bracketed && !end)
		return orm_fail(error, ORM_EINVAL, "the URL has a [ without its ] in a host");
	if (!end)
		end = limit;

	mysql_host *host = &url->hosts[url->n_hosts];
	const char *port = end + bracketed;

	if (!(host->name = decode(url, name, (size_t)(end - name), "host", error)))
		return error->code;
	if (port < limit &&
	    (*port != ':' || !read_number(port + 1, (size_t)(limit - port) - 1, 65535, &host->port) || host->port == 0))
		return orm_fail(error, ORM_EINVAL, "the URL has a port that is not a number from 1 to 65535");
	url->n_hosts++;
	return ORM_OK;
}

static orm_status read_hosts(mysql_url *url, const char *text, size_t size, orm_error *error)
{
	orm_status status = ORM_OK;

	for (const char *end = text + size; status == ORM_OK;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));

		status = read_host(url, text, (size_t)((comma ? comma : end) - text), error);
		if (!comma)
			break;
		text = comma + 1;
	}
	for (size_t i = 0; i < url->n_hosts && status == ORM_OK && url->n_hosts > 1; i++) {
		if (!url->hosts[i].name[0])
			status = orm_fail(error, ORM_EINVAL, "the URL has an empty name in its list of hosts");
	}
	return status;
}

/* ---- options ------------------------------------------------------------------------------------------------ */

typedef enum option_kind { OPTION_TEXT, OPTION_BOOL, OPTION_NUMBER } option_kind;

static const struct {
	const char *name;
	option_kind kind;
	size_t offset; /* in mysql_url */
	unsigned max;  /* of numbers */
} options[] = {
	{"socket", OPTION_TEXT, offsetof(mysql_url, socket), 0},
	{"ssl", OPTION_BOOL, offsetof(mysql_url, tls), 0},
	{"ssl-verify", OPTION_BOOL, offsetof(mysql_url, tls_verify), 0},
	{"ssl-ca", OPTION_TEXT, offsetof(mysql_url, tls_ca), 0},
	{"ssl-cert", OPTION_TEXT, offsetof(mysql_url, tls_cert), 0},
	{"ssl-key", OPTION_TEXT, offsetof(mysql_url, tls_key), 0},
	{"connect-timeout", OPTION_NUMBER, offsetof(mysql_url, connect_timeout_s), MAX_CONNECT_TIMEOUT_S},
	{"wsrep-sync-wait", OPTION_NUMBER, offsetof(mysql_url, wsrep_sync_wait), 15},
};

static orm_status set_option(mysql_url *url, size_t option, const char *value, orm_error *error)
{
	void *place = (char *)url + options[option].offset;
	unsigned number = 0;

	if (options[option].kind == OPTION_TEXT) {
		*(const char **)place = value;
		return ORM_OK;
	}

	const unsigned max = options[option].kind == OPTION_BOOL ? 1 : options[option].max;

	if (!read_number(value, strlen(value), max, &number))
		return orm_fail(error, ORM_EINVAL, "the URL's option '%s' takes a number from 0 to %u",
				options[option].name, max);
	if (options[option].kind == OPTION_BOOL)
		*(bool *)place = number;
	else
		*(unsigned *)place = number;
	return ORM_OK;
}

/* "ssl_ca" is "ssl-ca". */
static bool same_option(const char *known, const char *name, size_t size)
{
	if (strlen(known) != size)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (known[i] != (name[i] == '_' ? '-' : name[i]))
			return false;
	}
	return true;
}

static orm_status read_option(mysql_url *url, const char *text, size_t size, orm_error *error)
{
	const char *equals = memchr(text, '=', size);
	const size_t name_size = equals ? (size_t)(equals - text) : size;

	for (size_t i = 0; equals && i < sizeof options / sizeof options[0]; i++) {
		if (!same_option(options[i].name, text, name_size))
			continue;

		const char *value = decode(url, equals + 1, size - name_size - 1, "option", error);

		return value ? set_option(url, i, value, error) : error->code;
	}
	return orm_fail(error, ORM_EINVAL,
			"the URL has an option '%.*s'; known are socket, ssl, ssl-verify, ssl-ca, ssl-cert, ssl-key, "
			"connect-timeout and wsrep-sync-wait, each with =value",
			name_size < 40 ? (int)name_size : 40, text);
}

static orm_status read_options(mysql_url *url, const char *text, orm_error *error)
{
	orm_status status = ORM_OK;

	while (status == ORM_OK && *text) {
		const size_t size = strcspn(text, "&");

		status = read_option(url, text, size, error);
		text += size + (text[size] == '&');
	}
	return status;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static orm_status parse(const char *text, mysql_url *url, orm_error *error)
{
	const char *rest = strchr(text, ':');

	if (!rest || strncmp(rest, "://", 3) != 0)
		return orm_fail(error, ORM_EINVAL, "the URL has no // after its scheme: mysql://host/database");
	rest += 3;

	const size_t size = strcspn(rest, "/?#");
	const char *at = memrchr(rest, '@', size);
	const char *hosts = at ? at + 1 : rest;
	orm_status status = at ? read_user(url, rest, (size_t)(at - rest), error) : ORM_OK;

	if (status == ORM_OK)
		status = read_hosts(url, hosts, size - (size_t)(hosts - rest), error);
	rest += size;
	if (status == ORM_OK && *rest == '/') {
		const size_t name_size = strcspn(++rest, "?#");

		if (!(url->database = decode(url, rest, name_size, "database", error)))
			return error->code;
		rest += name_size;
	}
	if (status == ORM_OK && *rest == '#')
		status = orm_fail(error, ORM_EINVAL, "the URL has a #; write it as %%23");
	if (status == ORM_OK && *rest == '?')
		status = read_options(url, rest + 1, error);
	if (status == ORM_OK && (!url->database || !url->database[0]))
		status = orm_fail(error, ORM_EINVAL, "the URL names no database: mysql://host/database");
	if (status == ORM_OK && strchr(url->database, '/'))
		status = orm_fail(error, ORM_EINVAL, "the URL's database has a / in its name");
	if (status == ORM_OK && url->socket && url->n_hosts > 1)
		status = orm_fail(error, ORM_EINVAL, "the URL has a socket and several hosts; leave out one of them");
	if (status == ORM_OK && url->connect_timeout_s == 0)
		url->connect_timeout_s = DEFAULT_CONNECT_TIMEOUT_S;
	return status;
}

orm_status ormd_mysql_url_parse(const char *text, mysql_url *url, orm_error *error)
{
	orm_error ignored;
	orm_status status;

	*url = (mysql_url){.tls_verify = true};
	orm_arena_init(&url->arena, 0);
	status = parse(text, url, error ? error : &ignored);
	if (status == ORM_OK)
		url->tls = url->tls || url->tls_ca || url->tls_cert || url->tls_key;
	else
		ormd_mysql_url_fini(url);
	return status;
}

void ormd_mysql_url_fini(mysql_url *url)
{
	orm_arena_fini(&url->arena);
}
