/* SPDX-License-Identifier: MIT */
/*
 * The connection between ormd and its database fails at each message of a unit's life, opening and COMMIT included:
 * nothing is acknowledged that was not written, nothing that was refused was, and doubt is settled.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "e2e/crash_client.h"
#include "support/engine.h"
#include "support/proxy.h"
#include "support/server.h"
#include "support/tempdir.h"

#define MOST_MESSAGES 1000 /* of the script, or it does not end */
#define MOST_TRIES    20

typedef struct wire {
	const char *directory;
	char url[ENGINE_URL_SIZE]; /* past the proxy */
	support_proxy *proxy;
	support_ormd ormd;
	int n_refused, n_doubts, n_cuts;
} wire;

static int set_up(void **state)
{
	static wire this;
	char through[ENGINE_URL_SIZE];

	*state = NULL;
	if (engine_under_test() == ENGINE_SQLITE) /* there is no connection */
		return 0;
	this = (wire){.directory = support_tempdir()};
	engine_fresh_url(this.url);
	this.proxy = support_proxy_start(this.url, through);
	support_ormd_start(&this.ormd, this.directory, through, NULL, NULL);
	*state = &this;
	return 0;
}

static int tear_down(void **state)
{
	wire *this = *state;
	int status;

	if (!this)
		return 0;
	status = support_ormd_stop(&this->ormd);
	if (status != 0) {
		char *log = support_read_file(this->ormd.log_path, NULL);

		print_error("--- log of ormd, which ended with %d\n%s---\n", status, log ? log : "");
		free(log);
	}
	support_proxy_stop(this->proxy);
	engine_drop(this->url);
	support_tempdir_remove(this->directory);
	return status;
}

static int64_t count_named(const wire *this, int number)
{
	char sql[100];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM operations WHERE name = '%d'", number);
	return engine_ask_number(this->url, sql);
}

static bool may_be_refused(orm_status status)
{
	return status == ORM_EUNAVAILABLE || status == ORM_ERETRY || status == ORM_ETIMEOUT;
}

/* Some reading, some writing, and the commit. True: acknowledged. */
static bool try_unit(wire *this, orm_db *db, int number)
{
	orm_session *session = orm_session_open(db);
	Counter *counter = orm_get(session, Counter, 1);
	orm_status status;

	if (counter)
		counter->value++;
	orm_add(session, Operation, .name = orm_printf(session, "%d", number));
	orm_count(session, Operation); /* with what is pending */
	status = orm_session_error(session)->code;
	if (status == ORM_OK)
		status = orm_commit(session);
	while (status == ORM_EUNKNOWN) {
		this->n_doubts++;
		status = orm_commit_outcome(session);
	}
	if (status != ORM_OK && status != ORM_EABORTED && !may_be_refused(status))
		fail_msg("unit %d: %s: %s", number, orm_status_name(status), orm_session_error(session)->message);
	orm_session_close(session);
	assert_int_equal(count_named(this, number), status == ORM_OK);
	this->n_refused += status != ORM_OK;
	return status == ORM_OK;
}

static void each_message_may_be_the_last(void **state)
{
	wire *this = *state;
	orm_session *session;
	orm_db *db;
	int number = 0;

	if (!this)
		skip();
	db = orm_connect(this->ormd.address, crash_models);
	orm_create_all(db);
	session = orm_session_open(db);
	orm_add(session, Counter, .id = 1, .value = 0);
	assert_int_equal(orm_commit(session), ORM_OK);
	orm_session_close(session);
	for (int cut = SUPPORT_CUT_BEFORE; cut <= SUPPORT_CUT_AFTER; cut++) {
		bool has_cut = true;

		for (int n = 1; has_cut; n++) {
			int n_tries = 0;

			assert_in_range(n, 1, MOST_MESSAGES);
			support_proxy_arm(this->proxy, n, (support_cut)cut);
			number++;
			while (!try_unit(this, db, number))
				assert_in_range(++n_tries, 0, MOST_TRIES);
			has_cut = support_proxy_disarm(this->proxy);
			this->n_cuts += has_cut;
		}
	}
	assert_int_equal(engine_ask_number(this->url, "SELECT count(*) FROM operations"), number);
	assert_int_equal(engine_ask_number(this->url, "SELECT value FROM counters"), number);
	orm_disconnect(db);
	print_message(
		"%d connections cut, each at another message; %d units acknowledged, %d tries refused; in doubt for "
		"the client: %d, for ormd: %d, all settled; 0 lost, 0 doubled\n",
		this->n_cuts, number, this->n_refused, this->n_doubts, support_ormd_n_said(&this->ormd, "in doubt"));
	assert_true(this->n_cuts > 20);
	assert_true(support_ormd_n_said(&this->ormd, "in doubt") > 0); /* or COMMIT's answer was never lost */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_message_may_be_the_last, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
