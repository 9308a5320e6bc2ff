/* SPDX-License-Identifier: MIT */
#include <orm/status.h>

static const char *const names[] = {
	[-ORM_OK] = "OK",
	[-ORM_EINVAL] = "EINVAL",
	[-ORM_ENOMEM] = "ENOMEM",
	[-ORM_ENOTFOUND] = "ENOTFOUND",
	[-ORM_ECONSTRAINT] = "ECONSTRAINT",
	[-ORM_ESTALE] = "ESTALE",
	[-ORM_ECONFLICT] = "ECONFLICT",
	[-ORM_ETIMEOUT] = "ETIMEOUT",
	[-ORM_EUNAVAILABLE] = "EUNAVAILABLE",
	[-ORM_EUNKNOWN] = "EUNKNOWN",
	[-ORM_ELOST] = "ELOST",
	[-ORM_EFENCED] = "EFENCED",
	[-ORM_EFORKED] = "EFORKED",
	[-ORM_ENOTLOADED] = "ENOTLOADED",
	[-ORM_ESTATE] = "ESTATE",
	[-ORM_EMODEL] = "EMODEL",
	[-ORM_EDATABASE] = "EDATABASE",
	[-ORM_ERETRY] = "ERETRY",
	[-ORM_ECANCELLED] = "ECANCELLED",
	[-ORM_EPERM] = "EPERM",
	[-ORM_EUNSUPPORTED] = "EUNSUPPORTED",
	[-ORM_EPROTOCOL] = "EPROTOCOL",
	[-ORM_ELIMIT] = "ELIMIT",
	[-ORM_EEXIST] = "EEXIST",
	[-ORM_EABORTED] = "EABORTED",
	[-ORM_EINTERNAL] = "EINTERNAL",
};

const char *orm_status_name(orm_status code)
{
	const int n_names = (int)(sizeof names / sizeof names[0]);
	const int number = (int)code;

	/* A number may come from a peer of another version, so any int is allowed here. */
	if (number > 0 || number <= -n_names)
		return "E?";
	return names[-number];
}
