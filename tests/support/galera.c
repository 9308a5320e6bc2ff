/* SPDX-License-Identifier: MIT */
#include "support/galera.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/engine.h"
#include "support/eventually.h"

enum { GROUP, MISSED, COPY, CLIENTS, N_PORTS };

/* ---- ports --------------------------------------------------------------------------------------------------- */

/* A free one, which stays reserved as long as the descriptor is open. */
static int reserve_port(int *fd)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof name;

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&name, size) != 0 ||
	    getsockname(*fd, (struct sockaddr *)&name, &size) != 0)
		support_die("no free port: %s", strerror(errno));
	return ntohs(name.sin_port);
}

/* All at once, so that none is given twice. */
static void choose_ports(support_galera *cluster)
{
	int fds[SUPPORT_GALERA_NODES * N_PORTS];
	int n = 0;

	for (int i = 0; i < SUPPORT_GALERA_NODES; i++)
		for (int k = 0; k < N_PORTS; k++, n++)
			cluster->nodes[i].ports[k] = reserve_port(&fds[n]);
	while (n > 0)
		close(fds[--n]);
}

/* ---- nodes --------------------------------------------------------------------------------------------------- */

static void set_options(support_galera *cluster, int number)
{
	support_galera_node *node = &cluster->nodes[number];
	int n = 0;
	int n_options = 0;

	snprintf(node->text[n++], SUPPORT_PATH_SIZE,
		 "--wsrep-cluster-address=gcomm://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d",
		 cluster->nodes[0].ports[GROUP], cluster->nodes[1].ports[GROUP], cluster->nodes[2].ports[GROUP]);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE,
		 "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:%d;ist.recv_addr=127.0.0.1:%d;"
		 "gcache.size=16M",
		 node->ports[GROUP], node->ports[MISSED]);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE, "--wsrep-node-address=127.0.0.1:%d", node->ports[GROUP]);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE, "--wsrep-node-incoming-address=127.0.0.1:%d", node->ports[GROUP]);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE, "--wsrep-sst-receive-address=127.0.0.1:%d", node->ports[COPY]);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE, "--wsrep-node-name=node%d", number);
	snprintf(node->text[n++], SUPPORT_PATH_SIZE, "--port=%d", node->ports[CLIENTS]);
	for (int i = 0; i < n; i++)
		node->options[n_options++] = node->text[i];
	node->options[n_options++] = "--skip-networking=0";
	node->options[n_options++] = "--bind-address=127.0.0.1";
	node->options[n_options++] = "--wsrep-on=ON";
	node->options[n_options++] = "--wsrep-provider=" SUPPORT_GALERA_PROVIDER;
	node->options[n_options++] = "--wsrep-sst-method=rsync";
	node->options[n_options++] = "--wsrep-cluster-name=ormd-test";
	node->options[n_options++] = "--binlog-format=ROW";
	node->options[n_options++] = "--innodb-autoinc-lock-mode=2";
	/* What was written is read on every node, by the next statement that begins after its acknowledgement. */
	node->options[n_options++] = "--wsrep-sync-wait=1";
	node->options[n_options] = NULL;
	node->server.options = node->options;
}

static void launch(support_galera *cluster, int node, const char *option, int n_nodes)
{
	support_mariadb_launch(&cluster->nodes[node].server, option);
	support_mariadb_await(&cluster->nodes[node].server);
	support_galera_await(cluster, node, n_nodes);
}

static int count_running(const support_galera *cluster)
{
	int n = 0;

	for (int i = 0; i < SUPPORT_GALERA_NODES; i++)
		n += cluster->nodes[i].server.process.pid > 0;
	return n;
}

void support_galera_start(support_galera *cluster)
{
	char url[SUPPORT_PATH_SIZE];

	*cluster = (support_galera){0};
	choose_ports(cluster);
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++) {
		support_mariadb_make(&cluster->nodes[i].server);
		set_options(cluster, i);
	}
	support_galera_bootstrap(cluster, 0);
	support_galera_url(cluster, 0, "", url);
	engine_run(url, "CREATE USER ormd");
	engine_run(url, "GRANT ALL ON *.* TO ormd");
	for (int i = 1; i < SUPPORT_GALERA_NODES; i++)
		support_galera_rejoin(cluster, i);
}

void support_galera_bootstrap(support_galera *cluster, int node)
{
	char path[SUPPORT_PATH_SIZE];
	const char *const argv[] = {"sed", "-i", "s/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/", path, NULL};

	/* What an operator does who knows that it is the right one. A new node has no such file yet. */
	support_join(path, cluster->nodes[node].server.directory, "data/grastate.dat");
	if (access(path, F_OK) == 0 && support_run(&(support_command){.argv = argv}, SUPPORT_PATIENCE_MS) != 0)
		support_die("cannot change %s", path);
	if (access(path, F_OK) == 0)
		support_give_to_unprivileged(path);
	launch(cluster, node, "--wsrep-new-cluster", 1);
}

void support_galera_rejoin(support_galera *cluster, int node)
{
	launch(cluster, node, NULL, count_running(cluster) + 1);
}

void support_galera_kill(support_galera *cluster, int node)
{
	support_mariadb_kill(&cluster->nodes[node].server);
}

void support_galera_stop(support_galera *cluster, int node)
{
	support_mariadb_stop(&cluster->nodes[node].server);
}

void support_galera_freeze(support_galera *cluster, int node)
{
	support_mariadb_freeze(&cluster->nodes[node].server);
}

void support_galera_thaw(support_galera *cluster, int node)
{
	support_mariadb_thaw(&cluster->nodes[node].server);
}

void support_galera_remove(support_galera *cluster)
{
	for (int i = 0; cluster && i < SUPPORT_GALERA_NODES; i++)
		support_mariadb_remove(&cluster->nodes[i].server);
}

/* ---- looking ------------------------------------------------------------------------------------------------- */

void support_galera_url(const support_galera *cluster, int node, const char *database, char url[SUPPORT_PATH_SIZE])
{
	support_mariadb_url(&cluster->nodes[node].server, database, url);
}

void support_galera_hosts_url(const support_galera *cluster, int first, const char *database,
			      char url[SUPPORT_PATH_SIZE])
{
	int size = snprintf(url, SUPPORT_PATH_SIZE, "mariadb://ormd@");

	for (int i = 0; i < SUPPORT_GALERA_NODES; i++)
		size += snprintf(url + size, SUPPORT_PATH_SIZE - (size_t)size, "%s127.0.0.1:%d", i > 0 ? "," : "",
				 cluster->nodes[(first + i) % SUPPORT_GALERA_NODES].ports[CLIENTS]);
	snprintf(url + size, SUPPORT_PATH_SIZE - (size_t)size, "/%s?wsrep-sync-wait=1", database);
}

/* "Name|value;..." of its status; owned. These statements are answered without a majority, too. */
static char *ask_status(const support_galera *cluster, int node)
{
	char url[SUPPORT_PATH_SIZE];
	char *answer;

	support_galera_url(cluster, node, "", url);
	if (!engine_try(url,
			"SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_size', "
			"'wsrep_local_state_comment')",
			&answer))
		answer[0] = '\0';
	return answer;
}

int support_galera_size(support_galera *cluster, int node)
{
	char *status = ask_status(cluster, node);
	const char *size = strstr(status, "wsrep_cluster_size|");
	const int n = strstr(status, "wsrep_ready|ON") && size ? atoi(size + strlen("wsrep_cluster_size|")) : 0;

	free(status);
	return n;
}

typedef struct wanted {
	support_galera *cluster;
	int node;
	int n_nodes;
} wanted;

static bool is_synced(void *context)
{
	const wanted *w = context;
	char *status = ask_status(w->cluster, w->node);
	const bool synced = strstr(status, "wsrep_local_state_comment|Synced") != NULL;

	free(status);
	return synced && support_galera_size(w->cluster, w->node) == w->n_nodes;
}

static bool is_alone(void *context)
{
	const wanted *w = context;

	return support_galera_size(w->cluster, w->node) == 0;
}

static void await(support_condition *condition, wanted *w, const char *what)
{
	char path[SUPPORT_PATH_SIZE];
	char *log;

	if (support_eventually(condition, w, 2 * SUPPORT_PATIENCE_MS))
		return;
	log = support_read_file(support_join(path, w->cluster->nodes[w->node].server.directory, "log"), NULL);
	fprintf(stderr, "--- log of node %d\n%s---\n", w->node, log ? log : "");
	free(log);
	support_die("node %d does not become %s", w->node, what);
}

void support_galera_await(support_galera *cluster, int node, int n_nodes)
{
	wanted w = {.cluster = cluster, .node = node, .n_nodes = n_nodes};

	await(is_synced, &w, n_nodes == 3 ? "one of three" : n_nodes == 2 ? "one of two" : "the only one");
}

void support_galera_await_alone(support_galera *cluster, int node)
{
	wanted w = {.cluster = cluster, .node = node};

	await(is_alone, &w, "aware that it has no majority");
}
