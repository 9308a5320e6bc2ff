/* SPDX-License-Identifier: MIT */
/*
 * A proxy between a database's clients and its Unix socket, which cuts a connection at the n-th message that passes,
 * for both ends: as a network that fails there. A message is what one read brings, in either direction.
 *
 * 1. support_proxy_start, 2. arm it, let the clients work, ask whether it has cut, again and again,
 * 3. support_proxy_stop.
 */
#ifndef SUPPORT_PROXY_H
#define SUPPORT_PROXY_H

#include <stdbool.h>

#include "support/engine.h"

typedef enum support_cut {
	SUPPORT_CUT_BEFORE, /* the message is lost */
	SUPPORT_CUT_AFTER   /* it is the last one to arrive */
} support_cut;

typedef struct support_proxy support_proxy;

/*
 * For the database server of a URL as support/engine.h gives it; `through` becomes the URL that leads through the
 * proxy. Owned.
 */
support_proxy *support_proxy_start(const char *url, char through[ENGINE_URL_SIZE]);
void support_proxy_stop(support_proxy *proxy); /* NULL is allowed */

/* Cut all connections that there are, and then one at message number `n`, from 1, of those that follow. */
void support_proxy_arm(support_proxy *proxy, int n, support_cut cut);
/* Has that message come? No more is cut from now on. */
bool support_proxy_disarm(support_proxy *proxy);

#endif
