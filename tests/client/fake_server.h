/* SPDX-License-Identifier: MIT */
/*
 * A session server with nothing behind it, in the test's own process: it writes down what it is asked, in words, and
 * answers as it was told to. For what the client sends and what it makes of the answers; whether the answers are right
 * is the daemon's tests' business.
 */
#ifndef TESTS_CLIENT_FAKE_SERVER_H
#define TESTS_CLIENT_FAKE_SERVER_H

#include <orm.h>

#include "rpc/rpc.h"

#include "proto/ormd.pb-c.h"

typedef struct fake_server fake_server;

/* Listens on ipc://DIR/NAME.sock. Replies never carry a sync with objects. `max_message` 0: the rpc layer's own. */
fake_server *fake_server_start(const char *dir, const char *name, uint64_t max_message);
void fake_server_stop(fake_server *server); /* NULL allowed */
const char *fake_server_address(const fake_server *server);

/*
 * What was asked since the last time, one line per call: "Connect User Post", "Open", "Open order-1 as desk", "Publish
 * +3 ~1 -1 more", "Query User where name = 'Alice' order id limit 1", "Commit 1 +2". A draft is the numbers of objects
 * added, changed and deleted. Good until the next time.
 */
const char *fake_server_log(fake_server *server);

/* How the next call of a method ends, once. NULL for a method: any. */
void fake_server_fail(fake_server *server, const char *method, orm_status status, const char *message);
void fake_server_fail_published(fake_server *server, const char *method, orm_status status,
				const char *message); /* the draft was taken */
void fake_server_fail_plainly(fake_server *server, const char *method, rpc_code code,
			      const char *message);             /* without details */
void fake_server_hold(fake_server *server, const char *method); /* no answer before the server stops */

/* Query: `n` rows of the model's first column, 1, 2, 3, ..., `per_message` at a time; counts say n. */
void fake_server_set_rows(fake_server *server, size_t n, size_t per_message);

/* CommitStatus's answers, in order, the last one for ever. */
void fake_server_set_outcomes(fake_server *server, const Ormd__V1__CommitOutcome *outcomes, size_t n);

#endif
