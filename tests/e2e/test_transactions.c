/* SPDX-License-Identifier: MIT */
/*
 * Transactions that a program controls: units that meet each other in other processes, row locks, isolation, orm_run. What is asserted holds
 * on every engine; an engine that locks no rows lets others wait where the others let one of two fail.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "e2e/place.h"
#include "support/eventually.h"

#define N_PROCESSES 3
#define N_UNITS     20
#define N_JOBS      30
#define ROUNDS      10
#define MANY_TRIES  10000

ORM_DECLARE(Counter);
ORM_DECLARE(Account);
ORM_DECLARE(Doctor);
ORM_DECLARE(Job);

/* Without a version: only a lock, or isolation, keeps two units from losing one's update. */
struct Counter {
	int64_t id;
	int64_t value;
};

static const orm_field Counter_fields[] = {
	{ORM_COLUMN(Counter, id), .primary_key = true},
	{ORM_COLUMN(Counter, value)},
};
ORM_MODEL(Counter, "counters", Counter_fields);

struct Account {
	int64_t id;
	int64_t balance;
	int64_t version;
};

static const orm_field Account_fields[] = {
	{ORM_COLUMN(Account, id), .primary_key = true},
	{ORM_COLUMN(Account, balance), .check = "balance >= 0"},
	{ORM_COLUMN(Account, version), .version = true},
};
ORM_MODEL(Account, "accounts", Account_fields);

/* One of them must be on call. */
struct Doctor {
	int64_t id;
	bool    on_call;
};

static const orm_field Doctor_fields[] = {
	{ORM_COLUMN(Doctor, id), .primary_key = true},
	{ORM_COLUMN(Doctor, on_call)},
};
ORM_MODEL(Doctor, "doctors", Doctor_fields);

struct Job {
	int64_t       id;
	int64_t       times_done;
	orm_opt_int64 worker;
};

static const orm_field Job_fields[] = {
	{ORM_COLUMN(Job, id), .primary_key = true},
	{ORM_COLUMN(Job, times_done)},
	{ORM_COLUMN(Job, worker)},
};
ORM_MODEL(Job, "jobs", Job_fields);

static const orm_model *const models[] = {&Counter_model, &Account_model, &Doctor_model, &Job_model, NULL};

#define assert_session_ok(session)                                                                                     \
	do {                                                                                                           \
		const orm_error *error_ = orm_session_error(session);                                                  \
		if (error_->code != ORM_OK)                                                                            \
			fail_msg("%s: %s", orm_status_name(error_->code), error_->message);                            \
	} while (0)

/* A counter, an account with 100, two doctors on call. */
static orm_db *connect_and_fill(const test_place *place)
{
	orm_db      *db = place_connect(place, models);
	orm_session *session = orm_session_open(db);
	orm_add(session, Counter, .value = 0);
	orm_add(session, Account, .balance = 100);
	orm_add(session, Doctor, .on_call = true);
	orm_add(session, Doctor, .on_call = true);
	orm_commit(session);
	assert_session_ok(session);
	orm_session_close(session);
	return db;
}

/* ---- units of work that processes run side by side ---- */

static orm_status count_locked(orm_session *session, void *arg)
{
	(void)arg;
	Counter *counter = orm_get_for_update(session, Counter, 1);
	if (counter)
		counter->value++;
	return ORM_OK;
}

static orm_status count_isolated(orm_session *session, void *arg)
{
	(void)arg;
	Counter *counter = orm_first(session, Counter, .id = 1);
	if (counter)
		counter->value++;
	return ORM_OK;
}

static orm_status pay_in(orm_session *session, void *arg)
{
	(void)arg;
	Account *account = orm_get(session, Account, 1);
	if (account)
		account->balance++;
	return ORM_OK;
}

/* Goes, if another stays. */
static orm_status go_off_call(orm_session *session, void *arg)
{
	int64_t n = orm_count(session, Doctor, .on_call = true);
	Doctor *doctor = orm_get(session, Doctor, *(const int64_t *)arg);
	if (doctor && n > 1)
		doctor->on_call = false;
	return ORM_OK;
}

typedef struct taking {
	int64_t worker;
	bool    found;
} taking;

static orm_status take_job(orm_session *session, void *arg)
{
	taking    *this = arg;
	orm_query *query = orm_select(session, Job);
	orm_where_null(query, Job, worker);
	orm_limit(query, 1);
	orm_skip_locked(query);
	Job *job = orm_query_first(query, Job);
	this->found = job != NULL;
	if (job) {
		job->worker = (orm_opt_int64){true, this->worker};
		job->times_done++;
	}
	return ORM_OK;
}

/* In a process of its own. */
static int work(const char *what, const char *address, int64_t number, int n_units)
{
	orm_db         *db = orm_connect(address, models);
	orm_error       error = {0};
	orm_run_options options = {.max_tries = MANY_TRIES, .timeout_ms = SUPPORT_PATIENCE_MS, .error = &error};
	taking          job = {.worker = number, .found = true};
	orm_status      status = ORM_OK;
	for (int i = 0; i < n_units && status == ORM_OK; i++) {
		if (strcmp(what, "locked") == 0) {
			status = orm_run_with(db, &options, count_locked, NULL);
		} else if (strcmp(what, "isolated") == 0) {
			options.isolation = ORM_SERIALIZABLE;
			status = orm_run_with(db, &options, count_isolated, NULL);
		} else if (strcmp(what, "versioned") == 0) {
			status = orm_run_with(db, &options, pay_in, NULL);
		} else if (strcmp(what, "doctor") == 0) {
			options.isolation = ORM_SERIALIZABLE;
			status = orm_run_with(db, &options, go_off_call, &number);
		} else {
			while (job.found && status == ORM_OK)
				status = orm_run_with(db, &options, take_job, &job);
		}
	}
	if (status != ORM_OK)
		fprintf(stderr, "%s %d: %s: %s\n", what, (int)number, orm_status_name(status), error.message);
	orm_disconnect(db);
	return status != ORM_OK;
}

static void run_processes(const test_place *place, const char *what, int n_processes, size_t n_units)
{
	support_process processes[N_PROCESSES];
	for (int i = 0; i < n_processes; i++) {
		char number[16], units[16];
		snprintf(number, sizeof number, "%d", i + 1);
		snprintf(units, sizeof units, "%zu", n_units);
		const char *const argv[] = {program_invocation_name, what, place->ormd.address, number, units, NULL};
		assert_true(support_process_start(&processes[i], &(support_command){.argv = argv}));
	}
	for (int i = 0; i < n_processes; i++) {
		int status;
		assert_true(support_process_wait(&processes[i], 4 * SUPPORT_PATIENCE_MS, &status));
		assert_int_equal(status, 0);
	}
}

static void locks_keep_updates_from_getting_lost(void **state)
{
	const test_place *place = *state;
	size_t            n_units = place_scaled(N_UNITS);
	orm_disconnect(connect_and_fill(place));
	run_processes(place, "locked", N_PROCESSES, n_units);
	assert_int_equal(place_number(place, "SELECT value FROM counters"), N_PROCESSES * n_units);
}

static void isolation_keeps_updates_from_getting_lost(void **state)
{
	const test_place *place = *state;
	size_t            n_units = place_scaled(N_UNITS);
	orm_disconnect(connect_and_fill(place));
	run_processes(place, "isolated", N_PROCESSES, n_units);
	assert_int_equal(place_number(place, "SELECT value FROM counters"), N_PROCESSES * n_units);
}

static void versions_keep_updates_from_getting_lost(void **state)
{
	const test_place *place = *state;
	size_t            n_units = place_scaled(N_UNITS);
	orm_disconnect(connect_and_fill(place));
	run_processes(place, "versioned", N_PROCESSES, n_units);
	assert_int_equal(place_number(place, "SELECT balance FROM accounts"), 100 + N_PROCESSES * n_units);
	assert_int_equal(place_number(place, "SELECT version FROM accounts"), 1 + N_PROCESSES * n_units);
}

static void serializable_units_keep_one_doctor_on_call(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	for (int round = 0; round < ROUNDS; round++) {
		run_processes(place, "doctor", 2, 1);
		assert_int_equal(place_number(place, "SELECT count(*) FROM doctors WHERE on_call"), 1);
		Doctor_list doctors = orm_all(session, Doctor);
		for (size_t i = 0; i < doctors.len; i++) {
			orm_refresh(session, doctors.items[i]);
			doctors.items[i]->on_call = true;
		}
		orm_commit(session);
		assert_session_ok(session);
	}
	orm_session_close(session);
	orm_disconnect(db);
}

static void each_job_is_done_once(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	for (int i = 0; i < N_JOBS; i++)
		orm_add(session, Job, .times_done = 0);
	orm_commit(session);
	assert_session_ok(session);
	orm_session_close(session);
	orm_disconnect(db);
	run_processes(place, "jobs", N_PROCESSES, 1);
	assert_int_equal(place_number(place, "SELECT count(*) FROM jobs WHERE times_done = 1 AND worker IS NOT NULL"), N_JOBS);
}

/* ---- locks ---- */

static void locked_row_is_current_and_held(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *mine = orm_session_open(db);
	orm_session      *theirs = orm_session_open(db);
	Counter          *counter = orm_get(mine, Counter, 1);
	Counter          *other = orm_get(theirs, Counter, 1);
	assert_non_null(counter);
	assert_non_null(other);
	other->value = 5;
	assert_int_equal(orm_commit(theirs), ORM_OK);
	assert_int_equal(counter->value, 0);
	assert_ptr_equal(orm_get_for_update(mine, Counter, 1), counter);
	assert_int_equal(counter->value, 5);

	orm_query *query = orm_select(theirs, Counter);
	orm_no_wait(query);
	assert_null(orm_query_first(query, Counter));
	assert_int_equal(orm_session_error(theirs)->code, ORM_ETIMEOUT);
	assert_int_equal(orm_rollback(theirs), ORM_OK);
	assert_int_equal(orm_get(theirs, Counter, 1)->value, 5); /* to look is not to lock */
	orm_session_set_timeout(theirs, 200);
	assert_null(orm_get_for_update(theirs, Counter, 1));
	assert_int_equal(orm_session_error(theirs)->code, ORM_ETIMEOUT);
	orm_session_set_timeout(theirs, SUPPORT_PATIENCE_MS);
	assert_int_equal(orm_rollback(theirs), ORM_OK);

	counter->value++;
	assert_int_equal(orm_commit(mine), ORM_OK);
	assert_ptr_equal(orm_get_for_update(theirs, Counter, 1), other);
	assert_int_equal(other->value, 6);
	assert_null(orm_get_for_update(theirs, Counter, 77));
	assert_session_ok(theirs);
	orm_session_close(theirs); /* which gives up the lock */
	assert_non_null(orm_get_for_update(mine, Counter, 1));
	assert_session_ok(mine);
	orm_session_close(mine);
	orm_disconnect(db);
}

/* Does ormctl's list of sessions say that one has a transaction open? */
static bool ormctl_sees_a_transaction(const test_place *place)
{
	char                  path[SUPPORT_PATH_SIZE];
	const char           *argv[] = {getenv("ORMCTL"), "--address", place->ormd.address, "--json", "sessions", NULL};
	const support_command run = {.argv = argv, .stdout_path = support_join(path, place->directory, "sessions"), .stderr_path = path};
	remove(path);
	assert_int_equal(support_run(&run, SUPPORT_PATIENCE_MS), 0);
	char *text = support_read_file(path, NULL);
	bool  sees = strstr(text, "\"transaction_ms\"") != NULL;
	free(text);
	return sees;
}

static void ormctl_tells_who_has_a_transaction_open(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	assert_non_null(orm_get(session, Counter, 1));
	assert_false(ormctl_sees_a_transaction(place));
	assert_non_null(orm_get_for_update(session, Counter, 1));
	assert_true(ormctl_sees_a_transaction(place));
	assert_int_equal(orm_rollback(session), ORM_OK);
	assert_false(ormctl_sees_a_transaction(place));
	orm_session_close(session);
	orm_disconnect(db);
}

static void unsent_edits_outlive_the_lock(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	Account          *account = orm_get(session, Account, 1);
	assert_non_null(account);
	account->balance = 7;
	assert_ptr_equal(orm_get_for_update(session, Account, 1), account);
	assert_int_equal(account->balance, 7);
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(place_number(place, "SELECT balance FROM accounts"), 7);
	orm_session_close(session);
	orm_disconnect(db);
}

static void counts_lock_nothing(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	orm_query        *query = orm_select(session, Counter);
	orm_for_update(query);
	assert_int_equal(orm_query_count(query), ORM_EINVAL);
	orm_session_close(session);
	orm_disconnect(db);
}

static void failed_commit_leaves_lock_and_unit(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	orm_session      *other = orm_session_open(db);
	Account          *account = orm_get_for_update(session, Account, 1);
	assert_non_null(account);
	account->balance = -1;
	assert_int_equal(orm_commit(session), ORM_ECONSTRAINT);
	assert_string_equal(orm_session_error(session)->column, "balance");
	orm_query *query = orm_select(other, Account);
	orm_no_wait(query);
	assert_null(orm_query_first(query, Account));
	assert_int_equal(orm_session_error(other)->code, ORM_ETIMEOUT);
	orm_session_clear_error(session);
	account->balance = 1;
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(place_number(place, "SELECT balance FROM accounts"), 1);
	orm_session_close(other);
	orm_session_close(session);
	orm_disconnect(db);
}

typedef struct waiter {
	orm_db    *db;
	pthread_t  thread;
	orm_status status;
} waiter;

static atomic_int n_waiters_begun;

static void *wait_for_lock(void *arg)
{
	waiter      *this = arg;
	orm_session *session = orm_session_open(this->db);
	orm_session_set_timeout(session, SUPPORT_PATIENCE_MS);
	atomic_fetch_add(&n_waiters_begun, 1);
	count_locked(session, NULL);
	this->status = orm_commit(session);
	orm_session_close(session);
	return NULL;
}

static bool have_begun(void *context)
{
	return atomic_load(&n_waiters_begun) == *(const int *)context;
}

/* However many wait: who has the lock still finds a worker of the server to give it up. */
static void waiting_takes_no_worker(void **state)
{
	enum { N_WAITERS = 12 };
	test_place *place = *state;
	waiter      waiters[N_WAITERS];
	int         n = N_WAITERS;
	assert_int_equal(support_ormd_stop(&place->ormd), 0);
	support_ormd_start(&place->ormd, place->directory, place->url, (const char *const[]){"--workers", "1", NULL}, NULL);
	orm_db      *db = connect_and_fill(place);
	orm_session *session = orm_session_open(db);
	Counter     *counter = orm_get_for_update(session, Counter, 1);
	assert_non_null(counter);
	atomic_store(&n_waiters_begun, 0);
	for (int i = 0; i < n; i++) {
		waiters[i] = (waiter){.db = db};
		assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_lock, &waiters[i]), 0);
	}
	assert_true(support_eventually(have_begun, &n, SUPPORT_PATIENCE_MS));
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* most of them wait by now; it is right in any case */
	orm_session_set_timeout(session, SUPPORT_PATIENCE_MS / 2);
	assert_int_equal(orm_count(session, Counter), 1);
	counter->value += 100;
	assert_int_equal(orm_commit(session), ORM_OK);
	for (int i = 0; i < n; i++) {
		pthread_join(waiters[i].thread, NULL);
		assert_int_equal(waiters[i].status, ORM_OK);
	}
	assert_int_equal(place_number(place, "SELECT value FROM counters"), 100 + N_WAITERS);
	orm_session_close(session);
	orm_disconnect(db);
}

static bool can_lock(void *context)
{
	orm_session *session = context;
	orm_query   *query = orm_select(session, Counter);
	orm_no_wait(query);
	bool locked = orm_query_first(query, Counter) != NULL;
	orm_query_free(query);
	orm_rollback(session);
	return locked;
}

static void transaction_limit_ends_it(void **state)
{
	test_place *place = *state;
	assert_int_equal(support_ormd_stop(&place->ormd), 0);
	support_ormd_start(&place->ormd, place->directory, place->url, (const char *const[]){"--max-transaction", "1s", NULL}, NULL);
	orm_db      *db = connect_and_fill(place);
	orm_session *session = orm_session_open(db);
	orm_session *other = orm_session_open(db);
	Counter     *counter = orm_get_for_update(session, Counter, 1);
	assert_non_null(counter);
	counter->value = 9;
	assert_true(support_eventually(can_lock, other, SUPPORT_PATIENCE_MS));
	assert_int_equal(orm_commit(session), ORM_ETIMEOUT);
	assert_non_null(strstr(orm_session_error(session)->message, "max-transaction"));
	assert_int_equal(orm_rollback(session), ORM_OK);
	assert_int_equal(counter->value, 0);
	counter->value = 3;
	assert_int_equal(orm_commit(session), ORM_OK);
	orm_session_close(other);
	orm_session_close(session);
	orm_disconnect(db);
}

/* Tells when it has locked the counter; then it waits to be killed. */
static int hold(const char *address)
{
	orm_db      *db = orm_connect(address, models);
	orm_session *session = orm_session_open(db);
	if (!orm_get_for_update(session, Counter, 1))
		return 1;
	printf("locked\n");
	fflush(stdout);
	for (;;)
		pause();
}

static void death_gives_up_locks(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open(db);
	const char *const argv[] = {program_invocation_name, "hold", place->ormd.address, "0", "0", NULL};
	support_process   process;
	char              line[16];
	assert_true(support_process_start(&process, &(support_command){.argv = argv, .pipe_stdout = true}));
	assert_true(support_read_line(process.stdout_fd, line, sizeof line, SUPPORT_PATIENCE_MS));
	assert_false(can_lock(session));
	support_process_fini(&process);
	assert_non_null(orm_get_for_update(session, Counter, 1));
	assert_session_ok(session);
	orm_session_close(session);
	orm_disconnect(db);
}

/* ---- isolation ---- */

static void repeatable_read_sees_one_snapshot(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open_with(db, &(orm_session_options){.isolation = ORM_REPEATABLE_READ});
	orm_session      *other = orm_session_open(db);
	assert_int_equal(orm_count(session, Counter), 1);
	orm_add(other, Counter, .value = 1);
	orm_session_set_timeout(other, 300);
	orm_status status = orm_commit(other); /* or waits for its turn, and is not told in time */
	assert_true(status == ORM_OK || status == ORM_ETIMEOUT || status == ORM_EUNKNOWN);
	assert_int_equal(orm_count(session, Counter), 1);
	assert_int_equal(orm_commit(session), ORM_OK);
	orm_session_close(other);
	orm_session_close(session);
	orm_disconnect(db);
}

static void shared_unit_has_the_first_ones_isolation(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *first = orm_session_join(db, "ward", &(orm_join_options){.isolation = ORM_SERIALIZABLE});
	orm_session      *second = orm_session_join(db, "ward", NULL);
	orm_session      *other = orm_session_open(db);
	Doctor           *doctor = orm_get(first, Doctor, 1);
	assert_non_null(doctor);
	doctor->on_call = false;
	assert_int_equal(orm_flush(first), ORM_OK);
	assert_int_equal(orm_count(second, Doctor, .on_call = true), 1);
	assert_int_equal(orm_commit(second), ORM_OK);
	assert_true(can_lock(other));
	assert_int_equal(place_number(place, "SELECT count(*) FROM doctors WHERE on_call"), 1);
	orm_session_close(other);
	orm_session_close(second);
	orm_session_close(first);
	orm_disconnect(db);
}

static void unknown_isolation_is_refused(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_session      *session = orm_session_open_with(db, &(orm_session_options){.isolation = (orm_isolation)9});
	assert_int_equal(orm_session_error(session)->code, ORM_EINVAL);
	orm_session_close(session);
	orm_disconnect(db);
}

/* ---- orm_run ---- */

typedef struct meddling {
	orm_db *db;
	int     n_calls;
	int     n_meddled; /* in the first calls another unit gets in between */
} meddling;

static orm_status count_while_others_do(orm_session *session, void *arg)
{
	meddling *this = arg;
	Account  *account = orm_get(session, Account, 1);
	if (!account)
		return ORM_ENOTFOUND;
	if (this->n_calls++ < this->n_meddled) {
		orm_session *other = orm_session_open(this->db);
		orm_get(other, Account, 1)->balance += 10;
		assert_int_equal(orm_commit(other), ORM_OK);
		orm_session_close(other);
	}
	account->balance++;
	return ORM_OK;
}

static void run_does_stale_units_again(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	meddling          this = {.db = db, .n_meddled = 2};
	assert_int_equal(orm_run(db, count_while_others_do, &this), ORM_OK);
	assert_int_equal(this.n_calls, 3);
	assert_int_equal(place_number(place, "SELECT balance FROM accounts"), 121);
	orm_disconnect(db);
}

static void run_gives_up_after_its_tries(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	meddling          this = {.db = db, .n_meddled = MANY_TRIES};
	orm_error         error;
	assert_int_equal(orm_run_with(db, &(orm_run_options){.max_tries = 3, .error = &error}, count_while_others_do, &this), ORM_ESTALE);
	assert_int_equal(this.n_calls, 3);
	assert_int_equal(error.code, ORM_ESTALE);
	assert_string_equal(error.model, "Account");
	assert_string_equal(error.key, "1");
	assert_int_equal(place_number(place, "SELECT balance FROM accounts"), 130);
	orm_disconnect(db);
}

static orm_status ask_for_retries(orm_session *session, void *arg)
{
	int *n_left = arg;
	orm_add(session, Counter, .value = *n_left);
	return (*n_left)-- > 0 ? ORM_ERETRY : ORM_OK;
}

static void run_obeys_the_unit(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	int               n_left = 2;
	assert_int_equal(orm_run(db, ask_for_retries, &n_left), ORM_OK);
	assert_int_equal(place_number(place, "SELECT count(*) FROM counters"), 2); /* the tries before are rolled back */
	assert_int_equal(place_number(place, "SELECT value FROM counters WHERE id > 1"), 0);
	n_left = MANY_TRIES;
	assert_int_equal(orm_run_with(db, &(orm_run_options){.timeout_ms = 50, .max_tries = MANY_TRIES}, ask_for_retries, &n_left), ORM_ERETRY);
	assert_true(n_left < MANY_TRIES - 1); /* again, but not for ever */
	assert_true(n_left > 0);
	orm_disconnect(db);
}

static orm_status overdraw(orm_session *session, void *arg)
{
	Account *account = orm_get(session, Account, 1);
	++*(int *)arg;
	account->balance = -1;
	return ORM_OK;
}

static orm_status refuse(orm_session *session, void *arg)
{
	orm_add(session, Counter, .value = 1);
	++*(int *)arg;
	return ORM_ESTATE;
}

static void run_returns_other_failures(void **state)
{
	const test_place *place = *state;
	orm_db           *db = connect_and_fill(place);
	orm_error         error;
	orm_run_options   options = {.error = &error};
	int               n_calls = 0;
	assert_int_equal(orm_run_with(db, &options, overdraw, &n_calls), ORM_ECONSTRAINT);
	assert_int_equal(n_calls, 1);
	assert_string_equal(error.column, "balance");
	assert_int_equal(orm_run_with(db, &options, refuse, &n_calls), ORM_ESTATE);
	assert_int_equal(n_calls, 2);
	assert_int_equal(error.code, ORM_ESTATE);
	assert_int_equal(place_number(place, "SELECT count(*) FROM counters"), 1);
	assert_int_equal(orm_run(NULL, refuse, &n_calls), ORM_ENOMEM);
	assert_int_equal(orm_run_with(db, &options, count_locked, NULL), ORM_OK);
	assert_int_equal(error.code, ORM_OK);
	orm_disconnect(db);
}

/* The server ends while the unit is under way: nothing of it was written, and the next one runs all of it. */
static orm_status restart_once(orm_session *session, void *arg)
{
	test_place *place = arg;
	static bool restarted;
	Counter    *counter = orm_get_for_update(session, Counter, 1);
	if (!counter)
		return ORM_OK;
	counter->value += 5;
	if (!restarted) {
		restarted = true;
		support_ormd_kill(&place->ormd);
		support_ormd_start(&place->ormd, place->directory, place->url, NULL, NULL);
	}
	return ORM_OK;
}

static void run_outlives_the_server(void **state)
{
	test_place *place = *state;
	orm_db     *db = connect_and_fill(place);
	orm_error   error;
	orm_status  status = orm_run_with(db, &(orm_run_options){.error = &error}, restart_once, place);
	if (status != ORM_OK)
		fail_msg("%s: %s", orm_status_name(status), error.message);
	assert_int_equal(place_number(place, "SELECT value FROM counters"), 5);
	orm_disconnect(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(locks_keep_updates_from_getting_lost),
		TEST(isolation_keeps_updates_from_getting_lost),
		TEST(versions_keep_updates_from_getting_lost),
		TEST(serializable_units_keep_one_doctor_on_call),
		TEST(each_job_is_done_once),
		TEST(locked_row_is_current_and_held),
		TEST(ormctl_tells_who_has_a_transaction_open),
		TEST(unsent_edits_outlive_the_lock),
		TEST(counts_lock_nothing),
		TEST(failed_commit_leaves_lock_and_unit),
		TEST(waiting_takes_no_worker),
		TEST(transaction_limit_ends_it),
		TEST(death_gives_up_locks),
		TEST(repeatable_read_sees_one_snapshot),
		TEST(shared_unit_has_the_first_ones_isolation),
		TEST(unknown_isolation_is_refused),
		TEST(run_does_stale_units_again),
		TEST(run_gives_up_after_its_tries),
		TEST(run_obeys_the_unit),
		TEST(run_returns_other_failures),
		TEST(run_outlives_the_server),
	};
	if (argc == 5 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2]);
	if (argc == 5)
		return work(argv[1], argv[2], atoll(argv[3]), atoi(argv[4]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
