/* SPDX-License-Identifier: MIT */
/*
 * A Galera cluster of a test's own: three packaged MariaDB nodes (support/mariadb.h) on one machine, each with a
 * directory and a socket of its own, that replicate to each other over loopback ports which the kernel has named free.
 * A commit that one of them acknowledged is on all of them.
 *
 * 1. support_galera_start, 2. kill, stop, freeze nodes, and bring them back, 3. support_galera_remove.
 */
#ifndef SUPPORT_GALERA_H
#define SUPPORT_GALERA_H

#include "support/mariadb.h"

#define SUPPORT_GALERA_NODES 3

typedef struct support_galera_node {
	support_mariadb server;
	char text[8][SUPPORT_PATH_SIZE]; /* what `options` points to */
	const char *options[24];
	int ports[4]; /* of the group, of missed writes, of a whole copy, and of clients */
} support_galera_node;

typedef struct support_galera {
	support_galera_node nodes[SUPPORT_GALERA_NODES];
} support_galera;

/* In storage that stays where it is. Returns when every node takes writes. */
void support_galera_start(support_galera *cluster);
void support_galera_remove(support_galera *cluster); /* NULL and zeroed storage are allowed */

void support_galera_kill(support_galera *cluster, int node); /* kill -9 */
void support_galera_stop(support_galera *cluster, int node); /* it says good-bye to the others */
/*
 * A node that was killed or stopped comes back, gets what it has missed from the others, which must be a majority, and
 * takes writes when this returns.
 */
void support_galera_rejoin(support_galera *cluster, int node);
/* All nodes are down: this one, which should be the one that ended last, becomes the first of the cluster again. */
void support_galera_bootstrap(support_galera *cluster, int node);

/* It is cut off from clients and nodes, with all connections open, and the others go on without it after some seconds.
 * And on. */
void support_galera_freeze(support_galera *cluster, int node);
void support_galera_thaw(support_galera *cluster, int node);

/* How many nodes this one, which must answer, sees in its group; 0: it has no majority, and refuses statements. */
int support_galera_size(support_galera *cluster, int node);
/* Wait until it takes writes and sees `n_nodes` in its group; or until it has no majority any more. */
void support_galera_await(support_galera *cluster, int node, int n_nodes);
void support_galera_await_alone(support_galera *cluster, int node);

void support_galera_url(const support_galera *cluster, int node, const char *database, char url[SUPPORT_PATH_SIZE]);
/* All nodes, over TCP, this one first: "mariadb://ormd@127.0.0.1:PORT,.../DATABASE?wsrep-sync-wait=1". */
void support_galera_hosts_url(const support_galera *cluster, int first, const char *database,
			      char url[SUPPORT_PATH_SIZE]);

#endif
