/* SPDX-License-Identifier: MIT */
/*
 * The address of a server that was not told any: a socket named after its database, in the user's runtime directory
 * (base/runtime_directory.h). A client that starts a server names the socket itself; either way the database's lock
 * file tells the address.
 */
#ifndef ORMD_SERVER_ADDRESS_H
#define ORMD_SERVER_ADDRESS_H

#include "base/discovery.h"

/*
 * Makes the directory if need be. ORM_EPERM: the directory is not safe, and the message says why. ORM_EINVAL,
 * ORM_ENOTFOUND: as orm_discovery_lock_path about the URL. An in-memory database gets an address that is this
 * process's.
 */
orm_status ormd_default_address(const char *database, char address[ORM_DISCOVERY_ADDRESS_SIZE], orm_error *error);

#endif
