/* SPDX-License-Identifier: MIT */
/*
 * The database dies during commits, in part or whole, while ormd lives: its sessions are ended one after the other, or
 * the server is killed and started again. ormd goes on by itself; nothing that was acknowledged is lost, nothing is
 * done twice.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "e2e/crash_witness.h"
#include "support/engine.h"
#include "support/eventually.h"
#include "support/mariadb.h"
#include "support/postgresql.h"
#include "support/server.h"
#include "support/tempdir.h"

#define N_CLIENTS 4

/* A server of the engine under test, for this test alone. */
typedef struct house {
	support_postgresql postgresql;
	support_mariadb mariadb;
	const char *directory;
	char url[SUPPORT_PATH_SIZE];
	support_ormd ormd;
} house;

static int set_up(void **state)
{
	static house this;
	orm_db *db;

	*state = NULL;
	if (engine_under_test() == ENGINE_SQLITE) /* it lives in ormd itself: test_crash.c */
		return 0;
	this = (house){.directory = support_tempdir()};
	if (engine_under_test() == ENGINE_POSTGRESQL) {
		support_postgresql_start(&this.postgresql);
		support_postgresql_url(&this.postgresql, "postgres", this.url);
	} else {
		support_mariadb_start(&this.mariadb);
		support_mariadb_url(&this.mariadb, "shop", this.url);
	}
	support_ormd_start(&this.ormd, this.directory, this.url, NULL, NULL);
	db = orm_connect(this.ormd.address, crash_models);
	orm_create_all(db);
	if (orm_db_error(db)->code != ORM_OK)
		print_error("%s\n", orm_db_error(db)->message);
	orm_disconnect(db);
	*state = &this;
	return 0;
}

static int tear_down(void **state)
{
	house *this = *state;

	if (!this)
		return 0;

	const int status = support_ormd_stop(&this->ormd);

	if (status != 0) {
		char *log = support_read_file(this->ormd.log_path, NULL);

		print_error("--- log of ormd, which ended with %d\n%s---\n", status, log ? log : "");
		free(log);
	}
	support_postgresql_remove(&this->postgresql);
	support_mariadb_remove(&this->mariadb);
	support_tempdir_remove(this->directory);
	return status;
}

static void tell(const house *this, const crash_witness *witness, const char *name, int n_kills)
{
	crash_witness_print(witness, name, n_kills);
	print_message("in doubt for ormd, settled by their ids: %d\n", support_ormd_n_said(&this->ormd, "in doubt"));
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* All of ormd's sessions but those that do nothing; who dies in the midst of COMMIT is left to chance. */
static int end_sessions(const house *this)
{
	static const char *const sql[] = {
		[ENGINE_POSTGRESQL] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
				      "application_name = 'ormd' AND state <> 'idle'",
		[ENGINE_MARIADB] =
			"BEGIN NOT ATOMIC DECLARE n INTEGER DEFAULT 0; DECLARE CONTINUE HANDLER FOR 1094 BEGIN "
			"END; FOR one IN (SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> "
			"CONNECTION_ID() AND COMMAND <> 'Sleep') DO KILL one.ID; SET n = n + 1; END FOR; SELECT "
			"n; END"};

	return (int)engine_ask_number(this->url, sql[engine_under_test()]);
}

static void sessions_are_ended_during_commits(void **state)
{
	const house *this = *state;
	const int n_rounds = crash_rounds(40, 500);
	crash_witness witness;
	int n_kills = 0;

	if (!this)
		skip();
	crash_witness_start(&witness, N_CLIENTS, this->ormd.address, this->ormd.address);
	for (int round = 0; round < n_rounds; round++) {
		crash_witness_wait(&witness);
		crash_pause_at_most_us(3000);
		n_kills += end_sessions(this);
	}
	crash_witness_wait(&witness);
	crash_witness_end(&witness);
	crash_witness_check(&witness, this->url);
	tell(this, &witness, "sessions ended", n_kills);
	assert_true(n_kills > n_rounds / 10); /* or the test tests something else */
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static void the_server_is_killed_during_commits(void **state)
{
	house *this = *state;
	const int n_rounds = crash_rounds(5, 500);
	crash_witness witness;

	if (!this)
		skip();
	crash_witness_start(&witness, N_CLIENTS, this->ormd.address, this->ormd.address);
	for (int round = 0; round < n_rounds; round++) {
		crash_witness_wait(&witness);
		crash_pause_at_most_us(20000);
		if (engine_under_test() == ENGINE_POSTGRESQL) {
			support_postgresql_kill(&this->postgresql);
			support_postgresql_restart(&this->postgresql);
		} else {
			support_mariadb_kill(&this->mariadb);
			support_mariadb_restart(&this->mariadb);
		}
	}
	crash_witness_wait(&witness);
	crash_witness_end(&witness);
	crash_witness_check(&witness, this->url);
	tell(this, &witness, "servers killed", n_rounds);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sessions_are_ended_during_commits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_is_killed_during_commits, set_up, tear_down),
	};
	const int client = crash_client_main(argc, argv);

	return client >= 0 ? client : cmocka_run_group_tests(tests, NULL, NULL);
}
