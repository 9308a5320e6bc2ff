/* SPDX-License-Identifier: MIT */
#include "driver/driver.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"

/* The engines, by the scheme of their URLs. */
static const struct {
	const char *scheme;
	const ormd_driver *driver;
} engines[] = {
	{"sqlite", &ormd_driver_sqlite}, {"postgresql", &ormd_driver_postgresql}, {"postgres", &ormd_driver_postgresql},
	{"mysql", &ormd_driver_mysql},   {"mariadb", &ormd_driver_mysql},
};

static bool has_scheme(const char *url, const char *scheme)
{
	const size_t len = strlen(scheme);

	return strncmp(url, scheme, len) == 0 && url[len] == ':';
}

const ormd_driver *ormd_driver_for_url(const char *url, orm_error *error)
{
	for (size_t i = 0; url && i < sizeof engines / sizeof engines[0]; i++) {
		if (!has_scheme(url, engines[i].scheme))
			continue;
		ormd_driver_check(engines[i].driver);
		return engines[i].driver;
	}

	/* The URL may hold a password: only its scheme is repeated. */
	const char *colon = url ? strchr(url, ':') : NULL;

	if (!colon)
		orm_fail(error, ORM_EUNSUPPORTED, "'%.200s' is not the URL of a database, such as sqlite:///shop.db",
			 url ? url : "");
	else
		orm_fail(error, ORM_EUNSUPPORTED,
			 "'%.*s' is not the scheme of a database; known are sqlite:///, postgresql://, mysql:// "
			 "and mariadb://",
			 colon - url < 40 ? (int)(colon - url) : 40, url);
	return NULL;
}

void ormd_driver_check(const ormd_driver *driver)
{
	assert(driver && driver->name && driver->dialect);
	assert(driver->open && driver->close);
	assert(driver->begin && driver->commit && driver->rollback && driver->in_transaction);
	assert(driver->savepoint && driver->release && driver->rollback_to);
	assert(driver->run && driver->write);
	assert(driver->query && driver->fetch && driver->close_cursor);
	assert(driver->interrupt);
	(void)driver; /* with NDEBUG nothing is left of it */
}
