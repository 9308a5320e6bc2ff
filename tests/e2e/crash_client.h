/* SPDX-License-Identifier: MIT */
/*
 * A client that lives through the deaths of its server. Each of its commits records one operation and counts one counter up, and it
 * repeats an operation only if it was told that the earlier try did not commit. Whatever its library tells it, it tells the test.
 */
#ifndef E2E_CRASH_CLIENT_H
#define E2E_CRASH_CLIENT_H

#include <stdint.h>

#include <orm.h>

ORM_DECLARE(Operation);
ORM_DECLARE(Counter);

struct Operation {
	int64_t     id;
	const char *name; /* "client:operation": not unique for the database, so that it is the library's doing if it is */
};

struct Counter {
	int64_t id; /* the client's number */
	int64_t value;
	int64_t version;
};

typedef enum crash_report_kind {
	CRASH_COMMITTED = 1,          /* at once */
	CRASH_COMMITTED_AFTER_DOUBT,  /* the server's reply was lost; its successor says that it did commit */
	CRASH_ABORTED_AFTER_DOUBT,    /* ... that it did not, and never will */
	CRASH_LOST,                   /* the server died, or the database was away, before the commit was asked for */
	CRASH_REFUSED,                /* the server lives, and says that the database failed it: nothing was written */
	CRASH_FAILED                  /* anything else: a bug */
} crash_report_kind;

/* Written to the test in one piece. */
typedef struct crash_report {
	int32_t kind;
	int32_t client;
	int64_t operation;
} crash_report;

/*
 * Work on `url` as client number `client` until standard input ends, or `n_operations` (0: no limit) are done; reports go to `report_fd`.
 * The exit status for main: 0 unless something failed.
 */
int crash_client_run(const char *url, int client, int64_t n_operations, int report_fd);

extern const orm_model *const crash_models[];

#endif
