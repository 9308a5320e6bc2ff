/* SPDX-License-Identifier: MIT */
/*
 * Where several servers serve one database: which servers there are, and which of them has which shared session. It is
 * kept in the database itself (ormd_server, ormd_session; see sql/ddl.h), so that it holds exactly as well as the data.
 *
 * A server writes into its row, every fifth of the lease, that it lives. Times are the database's: the servers' clocks
 * may differ. One that has not been seen for its lease is dead: whoever finds that out removes it, and its sessions'
 * names may be claimed by others. It may only have been slow, so each claim is a new random number, the fence, and each
 * commit of the session checks, within its own transaction, that its name still has it.
 *
 * Thread-safe; every function asks the database, and waits until its deadline at most.
 */
#ifndef ORMD_SESSION_DIRECTORY_H
#define ORMD_SESSION_DIRECTORY_H

#include "driver/database.h"

#define ORMD_MAX_SERVER_ADDRESS 256
#define ORMD_MAX_SERVER_HOST    65

/* Who has a name. */
typedef struct ormd_directory_owner {
	char address[ORMD_MAX_SERVER_ADDRESS]; /* "": nobody */
	char host[ORMD_MAX_SERVER_HOST];       /* its machine's name */
	bool is_own;                           /* it is the server that was asked */
} ormd_directory_owner;

typedef struct ormd_directory ormd_directory;

/* Register this server: others find it at `address`. The database is borrowed, and shared. Owned. */
ormd_directory *ormd_directory_open(ormd_database *database, const char *address, int64_t lease_ms, orm_error *error);
/* Take it and its sessions out again; others need not wait for the lease's end. NULL allowed. */
void ormd_directory_close(ormd_directory *directory);

int64_t ormd_directory_renew_ms(const ormd_directory *directory); /* how often ormd_directory_renew is to be called */

/*
 * Write that this server lives, and remove those that do not. *forgotten: others had taken it for dead. Then it is
 * registered again, but the names that it had claimed before may be others'.
 */
orm_status ormd_directory_renew(ormd_directory *directory, int64_t deadline_us, bool *forgotten, orm_error *error);

/*
 * The name is this server's from now on, until ormd_directory_release: *fence is what ormd_directory_check wants.
 * ORM_EEXIST: a live server has it, which is in *owner. A name that this server has already is claimed anew.
 */
orm_status ormd_directory_claim(ormd_directory *directory, const char *name, int64_t deadline_us, int64_t *fence,
				ormd_directory_owner *owner, orm_error *error);

/* Which live server has the name. */
orm_status ormd_directory_find(ormd_directory *directory, const char *name, int64_t deadline_us,
			       ormd_directory_owner *owner, orm_error *error);

/* Is the name still claimed by this fence? For what has not to be certain; a commit asks ormd_directory_check. */
orm_status ormd_directory_holds(ormd_directory *directory, const char *name, int64_t fence, int64_t deadline_us,
				bool *holds, orm_error *error);

/* Give the name up, if it is still claimed by this fence. Returns at once; it is tried for a while. */
void ormd_directory_release(ormd_directory *directory, const char *name, int64_t fence);

/*
 * In a commit's transaction: is the name still claimed by this fence? It stays so until the transaction's end.
 * ORM_ELOST: another server took it over.
 */
orm_status ormd_directory_check(ormd_connection *connection, const char *name, int64_t fence, orm_error *error);

typedef struct ormd_directory_server {
	int64_t id;
	const char *address;
	const char *host; /* the machine's name */
	int64_t age_ms;   /* since it started */
	int64_t seen_ms;  /* since it was last seen */
	int64_t n_sessions;
	bool is_dead;
	bool is_own; /* the one that was asked */
} ormd_directory_server;

/* All of them, the oldest first; in `arena`. */
orm_status ormd_directory_list(ormd_directory *directory, int64_t deadline_us, orm_arena *arena,
			       ormd_directory_server **servers, size_t *n_servers, orm_error *error);

#endif
