/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL's primary dies by kill -9 during commits, and its synchronous standby takes over: ormd, which has both as
 * its hosts, and its clients go on by themselves; nothing that was acknowledged is lost, nothing is done twice.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "e2e/crash_witness.h"
#include "support/engine.h"
#include "support/eventually.h"
#include "support/postgresql.h"
#include "support/server.h"
#include "support/tempdir.h"

#define N_CLIENTS 4

/* Two servers that take turns as primary. */
typedef struct pair {
	support_postgresql servers[2];
	int primary;
	const char *directory;
	support_ormd ormd;
} pair;

static void database_at(const support_postgresql *server, char url[SUPPORT_PATH_SIZE])
{
	support_postgresql_url(server, "postgres", url);
}

/* A standby of the primary, in the same place as far as the URL is concerned: ormd knows both directories from the
 * first. */
static int set_up(void **state)
{
	static pair this;
	char url[SUPPORT_PATH_SIZE];

	this = (pair){.directory = support_tempdir()};
	support_postgresql_start(&this.servers[0]);
	support_postgresql_start_standby(&this.servers[1], &this.servers[0], true);
	snprintf(url, sizeof url, "postgresql://ormd@/postgres?host=%s,%s", this.servers[0].directory,
		 this.servers[1].directory);
	support_ormd_start(&this.ormd, this.directory, url, NULL, NULL);
	*state = &this;
	return 0;
}

static int tear_down(void **state)
{
	pair *this = *state;
	const int status = support_ormd_stop(&this->ormd);

	if (status != 0) {
		char *log = support_read_file(this->ormd.log_path, NULL);

		print_error("--- log of ormd, which ended with %d\n%s---\n", status, log ? log : "");
		free(log);
	}
	for (int i = 0; i < 2; i++)
		support_postgresql_remove(&this->servers[i]);
	support_tempdir_remove(this->directory);
	return status;
}

static void fail_over(pair *this)
{
	support_postgresql *survivor = &this->servers[!this->primary];

	support_postgresql_kill(&this->servers[this->primary]);
	support_postgresql_promote(survivor);
	support_postgresql_stand_alone(survivor);
	this->primary = !this->primary;
}

static void make_tables(const pair *this)
{
	orm_db *db = orm_connect(this->ormd.address, crash_models);

	orm_create_all(db);
	assert_string_equal(orm_db_error(db)->message, "");
	orm_disconnect(db);
}

static void clients_go_on_with_the_standby(void **state)
{
	pair *this = *state;
	const int n_rounds = crash_rounds(3, 50);
	crash_witness witness;
	char url[SUPPORT_PATH_SIZE];

	make_tables(this);
	crash_witness_start(&witness, N_CLIENTS, this->ormd.address, this->ormd.address);
	for (int round = 0; round < n_rounds; round++) {
		if (round > 0)
			support_postgresql_follow(&this->servers[!this->primary], &this->servers[this->primary], true);
		crash_witness_wait(&witness);
		crash_pause_at_most_us(20000);
		fail_over(this);
		crash_witness_wait(&witness);
	}
	crash_witness_end(&witness);
	database_at(&this->servers[this->primary], url);
	crash_witness_check(&witness, url);
	crash_witness_print(&witness, "failover", n_rounds);
	print_message("in doubt for ormd, settled by their ids: %d\n", support_ormd_n_said(&this->ormd, "in doubt"));
}

/* ---- a standby that is away ------------------------------------------------------------------------------------ */

typedef struct commit_thread {
	orm_session *session;
	orm_status status;
	atomic_bool ended;
} commit_thread;

static void *commit(void *context)
{
	commit_thread *this = context;

	this->status = orm_commit(this->session);
	atomic_store(&this->ended, true);
	return NULL;
}

typedef struct sync_wait {
	const commit_thread *thread;
	const char *url;
	char pid[32]; /* of the session that waits */
} sync_wait;

/* A session, not the one that is known, has committed and waits for the standby; or the commit has been answered. */
static bool waits_or_is_answered(void *context)
{
	sync_wait *this = context;
	char sql[200];
	char *answer;

	snprintf(sql, sizeof sql, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid <> %s LIMIT 1",
		 this->pid);
	answer = engine_ask(this->url, sql);

	const bool found = answer[0] != '\0';

	if (found)
		snprintf(this->pid, sizeof this->pid, "%s", answer);
	free(answer);
	return found || atomic_load(&this->thread->ended);
}

/*
 * A COMMIT that waits for the standby is in the primary's database already, and whoever asks there finds its id. But
 * until the standby has it, it may yet be lost with the primary: so to have found it is no reason to acknowledge it.
 */
static void what_only_the_primary_has_is_not_acknowledged(void **state)
{
	pair *this = *state;
	char url[SUPPORT_PATH_SIZE];
	char sql[100];
	commit_thread thread = {0};
	sync_wait wait = {.thread = &thread, .url = url, .pid = "0"};
	pthread_t id;
	orm_db *db;

	make_tables(this);
	database_at(&this->servers[this->primary], url);
	db = orm_connect(this->ormd.address, crash_models);
	thread.session = orm_session_open(db);
	orm_add(thread.session, Counter, .id = 1, .value = 5); /* its key is no number that would have to be asked for */
	support_postgresql_kill(&this->servers[!this->primary]);
	assert_int_equal(pthread_create(&id, NULL, commit, &thread), 0);
	assert_true(support_eventually(waits_or_is_answered, &wait, SUPPORT_PATIENCE_MS));
	assert_false(atomic_load(&thread.ended));
	snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%s)", wait.pid);
	engine_run(url, sql);
	assert_true(support_eventually(waits_or_is_answered, &wait, SUPPORT_PATIENCE_MS));
	assert_false(atomic_load(&thread.ended));

	support_postgresql_kill(&this->servers[this->primary]);
	support_postgresql_restart(&this->servers[!this->primary]);
	support_postgresql_promote(&this->servers[!this->primary]);
	pthread_join(id, NULL);
	assert_int_equal(thread.status, ORM_OK);
	database_at(&this->servers[!this->primary], url);
	assert_int_equal(engine_ask_number(url, "SELECT value FROM counters"), 5);
	orm_session_close(thread.session);
	orm_disconnect(db);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(clients_go_on_with_the_standby, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_only_the_primary_has_is_not_acknowledged, set_up, tear_down),
	};
	const int client = crash_client_main(argc, argv);

	return client >= 0 ? client : cmocka_run_group_tests(tests, NULL, NULL);
}
