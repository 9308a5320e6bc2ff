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
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Sessions that meet a condition, in the engine's own words. */
typedef struct sessions {
	const char *postgresql; /* on pg_stat_activity */
	const char *mariadb;    /* on information_schema.PROCESSLIST */
} sessions;

static const sessions busy = {"application_name = 'ormd' AND state <> 'idle'", "COMMAND <> 'Sleep'"};
static const sessions blocked = {"wait_event_type = 'Lock'", "STATE LIKE 'Waiting for table%'"};
static const sessions asleep = {"wait_event = 'PgSleep'", "STATE = 'User sleep'"};

static int ask_about(const house *this, const char *postgresql, const char *mariadb, const sessions *which)
{
	const bool is_postgresql = engine_under_test() == ENGINE_POSTGRESQL;
	char sql[600];

	snprintf(sql, sizeof sql, is_postgresql ? postgresql : mariadb,
		 is_postgresql ? which->postgresql : which->mariadb);
	return (int)engine_ask_number(this->url, sql);
}

/* How many were ended. */
static int end_sessions(const house *this, const sessions *which)
{
	return ask_about(this, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE %s",
			 "BEGIN NOT ATOMIC DECLARE n INTEGER DEFAULT 0; DECLARE CONTINUE HANDLER FOR 1094 BEGIN "
			 "END; FOR one IN (SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> "
			 "CONNECTION_ID() AND %s) DO KILL one.ID; SET n = n + 1; END FOR; SELECT n; END",
			 which);
}

typedef struct sessions_wanted {
	const house *house;
	const sessions *which;
} sessions_wanted;

static bool are_there(void *context)
{
	const sessions_wanted *wanted = context;

	return ask_about(wanted->house, "SELECT count(*) FROM pg_stat_activity WHERE %s",
			 "SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND %s",
			 wanted->which) > 0;
}

static void await_sessions(const house *this, const sessions *which)
{
	sessions_wanted wanted = {this, which};

	assert_true(support_eventually(are_there, &wanted, SUPPORT_PATIENCE_MS));
}

ORM_DECLARE(Page);

struct Page {
	int64_t id;
	int64_t number;
};

static const orm_field Page_fields[] = {
	{ORM_COLUMN(Page, id), .primary_key = true},
	{ORM_COLUMN(Page, number)},
};
ORM_MODEL(Page, "pages", Page_fields);

static const orm_model *const page_models[] = {&Page_model, NULL};

/* In a process of its own: keep everybody from the table, until the session is ended. */
static int hold_the_pages(const char *url)
{
	char *answer;

	engine_try(url,
		   engine_of(url) == ENGINE_POSTGRESQL ? "LOCK TABLE pages; SELECT pg_sleep(600)"
						       : "LOCK TABLES pages WRITE; SELECT SLEEP(600)",
		   &answer);
	free(answer);
	return 0;
}

typedef struct page_reader {
	orm_session *session;
	size_t n_pages;
	pthread_t thread;
} page_reader;

static void *read_pages(void *context)
{
	page_reader *this = context;

	this->n_pages = orm_all(this->session, Page).len;
	return NULL;
}

static void a_read_whose_session_is_ended_is_made_again(void **state)
{
	house *this = *state;
	page_reader reader = {0};
	support_process holder;
	orm_db *db;
	int status;

	if (!this)
		skip();

	const char *const hold[] = {program_invocation_name, "hold", this->url, NULL};

	db = orm_connect(this->ormd.address, page_models);
	orm_create_all(db);
	reader.session = orm_session_open(db);
	orm_add(reader.session, Page, .number = 7);
	assert_int_equal(orm_commit(reader.session), ORM_OK);
	assert_true(support_process_start(&holder, &(support_command){.argv = hold}));
	await_sessions(this, &asleep);
	assert_int_equal(pthread_create(&reader.thread, NULL, read_pages, &reader), 0);
	await_sessions(this, &blocked);
	assert_int_equal(end_sessions(this, &blocked), 1);
	end_sessions(this, &asleep);
	assert_true(support_process_wait(&holder, SUPPORT_PATIENCE_MS, &status));
	support_process_fini(&holder);
	assert_int_equal(pthread_join(reader.thread, NULL), 0);
	assert_string_equal(orm_session_error(reader.session)->message, "");
	assert_int_equal(reader.n_pages, 1);
	orm_session_close(reader.session);
	orm_disconnect(db);
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
		n_kills += end_sessions(this, &busy); /* who dies in the midst of COMMIT is left to chance */
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
		cmocka_unit_test_setup_teardown(a_read_whose_session_is_ended_is_made_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sessions_are_ended_during_commits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_is_killed_during_commits, set_up, tear_down),
	};
	const int client = crash_client_main(argc, argv);

	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return hold_the_pages(argv[2]);
	return client >= 0 ? client : cmocka_run_group_tests(tests, NULL, NULL);
}
