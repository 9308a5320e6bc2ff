/* SPDX-License-Identifier: MIT */
/*
 * Two ormd on a Galera cluster of three nodes, each with another node in front: what both write at the same time, and
 * nodes that die by kill -9 during commits and come back. Nothing that was acknowledged is lost, nothing is done twice,
 * and every node has the same at the end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "e2e/crash_witness.h"
#include "e2e/place.h"
#include "support/engine.h"
#include "support/eventually.h"
#include "support/galera.h"
#include "support/server.h"
#include "support/tempdir.h"

#define N_CLIENTS   4
#define N_SERVERS   2
#define N_UNITS     40   /* of each process that counts */
#define THE_COUNTER 1000 /* no client's number */
#define DATABASE    "shop"

typedef struct ends {
	support_galera cluster;
	const char *directories[N_SERVERS];
	support_ormd servers[N_SERVERS]; /* number i begins with node i */
} ends;

static int set_up(void **state)
{
	static ends this;

	this = (ends){0};
	support_galera_start(&this.cluster);
	for (int i = 0; i < N_SERVERS; i++) {
		char url[SUPPORT_PATH_SIZE];

		this.directories[i] = support_tempdir();
		support_galera_hosts_url(&this.cluster, i, DATABASE, url);
		support_ormd_start(&this.servers[i], this.directories[i], url, NULL, NULL);
	}

	orm_db *db = orm_connect(this.servers[0].address, crash_models);

	orm_create_all(db);
	if (orm_db_error(db)->code != ORM_OK)
		print_error("%s\n", orm_db_error(db)->message);
	orm_disconnect(db);
	*state = &this;
	return 0;
}

static int tear_down(void **state)
{
	ends *this = *state;
	int failed = 0;

	for (int i = 0; i < N_SERVERS; i++) {
		const int status = support_ormd_stop(&this->servers[i]);

		if (status != 0) {
			char *log = support_read_file(this->servers[i].log_path, NULL);

			print_error("--- log of ormd %d, which ended with %d\n%s---\n", i, status, log ? log : "");
			free(log);
			failed = status;
		}
		support_tempdir_remove(this->directories[i]);
	}
	support_galera_remove(&this->cluster);
	return failed;
}

/* ---- at the same time ------------------------------------------------------------------------------------------ */

static orm_status count_up(orm_session *session, void *arg)
{
	Counter *counter = orm_get(session, Counter, THE_COUNTER);

	(void)arg;
	if (counter)
		counter->value++;
	return counter ? ORM_OK : ORM_ENOTFOUND;
}

/* In a process of its own. */
static int count(const char *address, int n_units)
{
	orm_db *db = orm_connect(address, crash_models);
	orm_error error = {0};
	const orm_run_options options = {.max_tries = 10000, .timeout_ms = 2 * SUPPORT_PATIENCE_MS, .error = &error};
	orm_status status = ORM_OK;

	for (int i = 0; i < n_units && status == ORM_OK; i++)
		status = orm_run_with(db, &options, count_up, NULL);
	if (status != ORM_OK)
		fprintf(stderr, "counting at %s: %s: %s\n", address, orm_status_name(status), error.message);
	orm_disconnect(db);
	return status != ORM_OK;
}

/* How often a node has undone a transaction for one of another node. */
static int64_t n_conflicts(ends *this, int node)
{
	char url[SUPPORT_PATH_SIZE];

	support_galera_url(&this->cluster, node, DATABASE, url);
	return engine_ask_number(url, "SELECT sum(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE "
				      "VARIABLE_NAME IN ('wsrep_local_cert_failures', 'wsrep_local_bf_aborts')");
}

static void units_of_both_ends_lose_no_update(void **state)
{
	ends *this = *state;
	const int n_units = crash_rounds(N_UNITS, 1000);
	orm_db *db = orm_connect(this->servers[0].address, crash_models);
	orm_session *session = orm_session_open(db);
	support_process processes[N_CLIENTS];
	char url[SUPPORT_PATH_SIZE];

	orm_add(session, Counter, .id = THE_COUNTER, .value = 0);
	assert_int_equal(orm_commit(session), ORM_OK);
	orm_session_close(session);
	orm_disconnect(db);
	for (int i = 0; i < N_CLIENTS; i++) {
		char number[16];
		const char *const argv[] = {program_invocation_name, "count", this->servers[i % N_SERVERS].address,
					    number, NULL};

		snprintf(number, sizeof number, "%d", n_units);
		assert_true(support_process_start(&processes[i], &(support_command){.argv = argv}));
	}
	for (int i = 0; i < N_CLIENTS; i++) {
		int status;

		assert_true(support_process_wait(&processes[i], 4 * SUPPORT_PATIENCE_MS, &status));
		assert_int_equal(status, 0);
		support_process_fini(&processes[i]);
	}
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++) {
		support_galera_url(&this->cluster, i, DATABASE, url);
		assert_int_equal(engine_ask_number(url, "SELECT value FROM counters WHERE id = 1000"),
				 N_CLIENTS * n_units);
	}
	print_message("%d units on one row from both ends, none lost; certification failed %d times\n",
		      N_CLIENTS * n_units, (int)(n_conflicts(this, 0) + n_conflicts(this, 1)));
}

/* ---- nodes that die -------------------------------------------------------------------------------------------- */

static void clients_go_on_with_other_nodes(void **state)
{
	ends *this = *state;
	const int n_rounds = crash_rounds(1, 50);
	crash_witness witness;
	char url[SUPPORT_PATH_SIZE];

	crash_witness_start(&witness, N_CLIENTS, this->servers[0].address, this->servers[1].address);
	for (int round = 0; round < n_rounds; round++) {
		const int node = round % SUPPORT_GALERA_NODES;

		crash_witness_wait(&witness);
		crash_pause_at_most_us(20000);
		support_galera_kill(&this->cluster, node);
		crash_witness_wait(&witness);
		support_galera_rejoin(&this->cluster, node);
	}
	crash_witness_wait(&witness);
	crash_witness_end(&witness);
	for (int i = 0; i < SUPPORT_GALERA_NODES; i++) {
		support_galera_url(&this->cluster, i, DATABASE, url);
		crash_witness_check(&witness, url);
	}
	crash_witness_print(&witness, "nodes of a cluster", n_rounds);
	print_message("in doubt for ormd, settled by their ids: %d\n",
		      support_ormd_n_said(&this->servers[0], "in doubt") +
			      support_ormd_n_said(&this->servers[1], "in doubt"));
}

int main(int argc, char **argv)
{
	/* One cluster for both: to start it takes long. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_go_on_with_other_nodes),
		cmocka_unit_test(units_of_both_ends_lose_no_update),
	};
	const int client = crash_client_main(argc, argv);

	if (argc == 4 && strcmp(argv[1], "count") == 0)
		return count(argv[2], atoi(argv[3]));
	return client >= 0 ? client : cmocka_run_group_tests(tests, set_up, tear_down);
}
