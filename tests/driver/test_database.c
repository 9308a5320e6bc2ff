/* SPDX-License-Identifier: MIT */
/* Units of work on one thread: what is kept, what is undone, and who is told what. The grouping is forced by a job that
 * queues others. */
#include "driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/discovery.h"
#include "driver/database_internal.h"

#define MAX_JOBS 8

typedef struct world {
	char url[SUPPORT_PATH_SIZE + 16];
	ormd_database *database;
	insert_job leader; /* queues `jobs` when it runs, so that they are one group with it */
	insert_job jobs[MAX_JOBS];
	size_t n_jobs;
} world;

static int make_world(void **state)
{
	world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	snprintf(w->url, sizeof w->url, "%s", database_url("shop.db"));
	w->database = open_database(w->url);
	w->database->max_group_us = 3600 * INT64_C(1000000); /* groups end for other reasons than a slow machine */
	insert_job_init(&w->leader, "leader");
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	world *w = *state;

	ormd_database_close(w->database);
	free(w);
	return 0;
}

static insert_job *add_job(world *w, const char *name)
{
	insert_job *insert = &w->jobs[w->n_jobs++];

	insert_job_init(insert, name);
	return insert;
}

static orm_status queue_jobs(ormd_connection *connection, void *context)
{
	world *w = context;

	(void)connection;
	if (w->leader.n_runs == 1) {
		for (size_t i = 0; i < w->n_jobs; i++)
			ormd_database_submit(w->database, &w->jobs[i].job);
	}
	return ORM_OK;
}

/* All of them, as one group. */
static ormd_database_stats run_group(world *w)
{
	ormd_database_stats before;
	ormd_database_stats stats;

	ormd_database_stats_get(w->database, &before);
	w->leader.before = queue_jobs;
	w->leader.context = w;
	ormd_database_submit(w->database, &w->leader.job);
	assert_int_equal(w->leader.n_done, 1);
	for (size_t i = 0; i < w->n_jobs; i++)
		assert_int_equal(w->jobs[i].n_done, 1);
	ormd_database_stats_get(w->database, &stats);
	assert_int_equal(stats.waiting, 0);
	stats.commits -= before.commits;
	stats.groups -= before.groups;
	stats.failed -= before.failed;
	return stats;
}

static int64_t count_items(world *w, const char *condition)
{
	char sql[200];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM items WHERE %s", condition);
	return ask_outside(w->url, sql);
}

static void jobs_that_wait_share_a_transaction(void **state)
{
	world *w = *state;

	for (int i = 0; i < 5; i++)
		add_job(w, "x");

	const ormd_database_stats stats = run_group(w);

	assert_int_equal(stats.commits, 6);
	assert_int_equal(stats.groups, 1);
	assert_int_equal(count_items(w, "name = 'x'"), 5);
}

static void a_failing_job_undoes_only_itself(void **state)
{
	world *w = *state;

	add_job(w, "first");
	add_job(w, NULL);
	add_job(w, "last");

	const ormd_database_stats stats = run_group(w);

	assert_int_equal(stats.commits, 3);
	assert_int_equal(stats.groups, 1);
	assert_int_equal(stats.failed, 1);
	assert_int_equal(w->jobs[1].status, ORM_ECONSTRAINT);
	assert_string_equal(w->jobs[1].error.model, "items");
	assert_string_equal(w->jobs[1].error.column, "name");
	assert_int_equal(w->jobs[0].status, ORM_OK);
	assert_int_equal(w->jobs[2].status, ORM_OK);
	assert_int_equal(count_items(w, "1"), 3);
}

static orm_status fail_after(ormd_connection *connection, void *context)
{
	(void)connection;
	(void)context;
	return ORM_ESTALE;
}

/* The first one has no savepoint of its own; those after it still commit. */
static void a_failing_first_job_does_not_harm_the_rest(void **state)
{
	world *w = *state;

	add_job(w, "second");
	w->leader.after = fail_after;
	run_group(w);
	assert_int_equal(w->leader.status, ORM_ESTALE);
	assert_int_equal(w->leader.error.code, ORM_ESTALE); /* also when `run` wrote no message */
	assert_int_equal(w->jobs[0].status, ORM_OK);
	assert_int_equal(count_items(w, "name = 'leader'"), 0);
	assert_int_equal(count_items(w, "name = 'second'"), 1);
}

static void jobs_that_only_look_leave_nothing(void **state)
{
	world *w = *state;
	ormd_database_stats stats;

	add_job(w, "kept");
	add_job(w, "looked")->job.end = ORMD_JOB_ROLLBACK;
	add_job(w, "kept");
	w->leader.job.end = ORMD_JOB_ROLLBACK;
	run_group(w);
	ormd_database_stats_get(w->database, &stats);
	assert_int_equal(stats.rolled_back, 2);
	assert_int_equal(w->jobs[1].status, ORM_OK);
	assert_int_equal(count_items(w, "name = 'kept'"), 2);
	assert_int_equal(count_items(w, "1"), 2);
}

static orm_status write_then_end_transaction(ormd_connection *connection, void *context)
{
	(void)context;
	connection->driver->rollback(connection); /* as SQLITE_FULL or an interrupt does */
	return ORM_EDATABASE;
}

/* The engine ends the whole transaction in the middle of a group: the innocent run again, and commit. */
static void a_lost_transaction_runs_the_innocent_again(void **state)
{
	world *w = *state;

	add_job(w, "before");
	add_job(w, "culprit")->after = write_then_end_transaction;
	add_job(w, "behind");
	run_group(w);
	assert_int_equal(w->jobs[1].status, ORM_EDATABASE);
	assert_int_equal(w->jobs[1].n_runs, 1);
	assert_int_equal(w->leader.status, ORM_OK);
	assert_int_equal(w->leader.n_runs, 2);
	assert_int_equal(w->jobs[0].status, ORM_OK);
	assert_int_equal(w->jobs[0].n_runs, 2);
	assert_int_equal(w->jobs[2].status, ORM_OK);
	assert_int_equal(w->jobs[2].n_runs, 1);
	assert_int_equal(count_items(w, "name = 'culprit'"), 0);
	assert_int_equal(count_items(w, "1"), 3);
}

static orm_status break_deferred_key(ormd_connection *connection, void *context)
{
	(void)context;
	return connection->driver->run(connection, "INSERT INTO links VALUES (1, 2)", NULL);
}

static void a_deferred_foreign_key_fails_its_own_unit(void **state)
{
	world *w = *state;

	run_sql_outside(
		w->url,
		"CREATE TABLE links (id INTEGER PRIMARY KEY, other INTEGER REFERENCES links (id) DEFERRABLE INITIALLY "
		"DEFERRED)");
	add_job(w, "before");
	add_job(w, "culprit")->after = break_deferred_key;
	add_job(w, "behind");

	const ormd_database_stats stats = run_group(w);

	assert_int_equal(w->jobs[1].status, ORM_ECONSTRAINT);
	assert_int_equal(w->jobs[0].n_runs, 1);
	assert_int_equal(stats.commits, 3);
	assert_int_equal(stats.groups, 1);
	assert_int_equal(count_items(w, "name = 'culprit'"), 0);
}

/* A driver whose COMMIT is refused by what check_deferred did not see. */
static ormd_driver refusing;
static int n_refusals;

static orm_status refuse_commit(ormd_connection *connection, orm_error *error)
{
	if (n_refusals-- > 0) {
		ormd_driver_sqlite.rollback(connection);
		return orm_fail(error, ORM_ECONSTRAINT, "refused");
	}
	return ormd_driver_sqlite.commit(connection, error);
}

static orm_status lose_commit(ormd_connection *connection, orm_error *error)
{
	if (n_refusals-- > 0) {
		ormd_driver_sqlite.rollback(connection);
		return orm_fail(error, ORM_EUNKNOWN, "lost");
	}
	return ormd_driver_sqlite.commit(connection, error);
}

static void use_driver(world *w, orm_status (*commit)(ormd_connection *connection, orm_error *error), int n)
{
	refusing = ormd_driver_sqlite;
	refusing.commit = commit;
	n_refusals = n;
	w->database->driver = &refusing;
}

static void a_refused_group_commits_one_by_one(void **state)
{
	world *w = *state;

	add_job(w, "one");
	add_job(w, "two");
	use_driver(w, refuse_commit, 2); /* the group's, and then the leader's own */
	run_group(w);
	assert_int_equal(w->leader.status, ORM_ECONSTRAINT);
	assert_int_equal(w->jobs[0].status, ORM_OK);
	assert_int_equal(w->jobs[1].status, ORM_OK);
	assert_int_equal(w->jobs[1].n_runs, 2);
	assert_int_equal(count_items(w, "name = 'leader'"), 0);
	assert_int_equal(count_items(w, "1"), 2);
}

static void who_looked_at_what_was_not_committed_looks_again(void **state)
{
	world *w = *state;

	add_job(w, "looked")->job.end = ORMD_JOB_ROLLBACK;
	use_driver(w, refuse_commit, 1);
	run_group(w);
	assert_int_equal(w->leader.status, ORM_ECONSTRAINT);
	assert_int_equal(w->jobs[0].status, ORM_OK);
	assert_int_equal(w->jobs[0].n_runs, 2);
	assert_int_equal(w->jobs[0].n_done, 1);
	assert_int_equal(count_items(w, "1"), 0);
}

static void an_unknown_outcome_is_said_to_be_unknown(void **state)
{
	world *w = *state;
	insert_job later;

	add_job(w, "one");
	add_job(w, "looked")->job.end = ORMD_JOB_ROLLBACK;
	add_job(w, NULL);
	use_driver(w, lose_commit, 1);
	run_group(w);
	assert_int_equal(w->leader.status, ORM_EUNKNOWN);
	assert_int_equal(w->leader.n_runs, 1); /* never on a guess */
	assert_int_equal(w->jobs[0].status, ORM_EUNKNOWN);
	assert_int_equal(w->jobs[1].status, ORM_OK);
	assert_int_equal(w->jobs[1].n_runs, 2); /* what it saw of the others is not known to be */
	assert_int_equal(w->jobs[2].status, ORM_ECONSTRAINT);

	/* The writer has been opened again. */
	insert_job_init(&later, "later");
	ormd_database_submit(w->database, &later.job);
	assert_int_equal(later.status, ORM_OK);
	assert_int_equal(count_items(w, "1"), 1);
}

static void jobs_past_their_deadline_do_not_run(void **state)
{
	world *w = *state;

	add_job(w, "late")->job.deadline_us = 1;
	add_job(w, "in time");
	run_group(w);
	assert_int_equal(w->jobs[0].status, ORM_ETIMEOUT);
	assert_int_equal(w->jobs[0].n_runs, 0);
	assert_int_equal(w->jobs[1].status, ORM_OK);
	assert_int_equal(count_items(w, "name = 'late'"), 0);
}

static orm_status expect_lonely(ormd_connection *connection, void *context)
{
	(void)context;
	return ask_int64(connection, "SELECT count(*) FROM items WHERE name = 'before'") == 1 ? ORM_OK : ORM_EINTERNAL;
}

static void jobs_that_want_to_be_alone_are(void **state)
{
	world *w = *state;

	add_job(w, "before");
	add_job(w, "alone")->job.alone = true;
	add_job(w, "behind");
	w->jobs[1].before = expect_lonely; /* what came before it is committed and seen */

	const ormd_database_stats stats = run_group(w);

	assert_int_equal(w->jobs[1].status, ORM_OK);
	assert_int_equal(stats.commits, 4);
	assert_int_equal(stats.groups, 3);
}

#define MANY 200

typedef struct crowd {
	ormd_database *database;
	insert_job jobs[MANY];
} crowd;

static orm_status queue_crowd(ormd_connection *connection, void *context)
{
	crowd *c = context;

	(void)connection;
	for (int i = 1; i < MANY; i++)
		ormd_database_submit(c->database, &c->jobs[i].job);
	return ORM_OK;
}

static void many_jobs_make_groups_of_bounded_size(void **state)
{
	world *w = *state;
	crowd *c = calloc(1, sizeof *c);
	ormd_database_stats before;
	ormd_database_stats stats;

	assert_non_null(c);
	c->database = w->database;
	for (int i = 0; i < MANY; i++)
		insert_job_init(&c->jobs[i], "many");
	c->jobs[0].before = queue_crowd;
	c->jobs[0].context = c;
	ormd_database_stats_get(w->database, &before);
	ormd_database_submit(w->database, &c->jobs[0].job);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c->jobs[i].n_done, 1);
		assert_int_equal(c->jobs[i].status, ORM_OK);
	}
	ormd_database_stats_get(w->database, &stats);
	assert_true(stats.groups - before.groups >= 4);
	assert_int_equal(count_items(w, "name = 'many'"), MANY);
	free(c);
}

static void others_writing_is_noticed(void **state)
{
	world *w = *state;
	ormd_database_stats stats;
	insert_job insert;

	ormd_database_stats_get(w->database, &stats);
	assert_int_equal(stats.external, 0);
	for (int i = 0; i < 2; i++) {
		insert_job_init(&insert, "ours");
		ormd_database_submit(w->database, &insert.job);
		ormd_database_stats_get(w->database, &stats);
		assert_int_equal(stats.external, i);
		if (i == 0)
			run_sql_outside(w->url, "INSERT INTO items (name) VALUES ('theirs')");
	}
	ormd_database_stats_get(w->database, &stats);
	assert_int_equal(stats.external, 1);
}

static void readers_see_commits_and_run_out(void **state)
{
	world *w = *state;
	ormd_connection *readers[2];
	orm_error error;

	for (int i = 0; i < 2; i++) {
		readers[i] = ormd_database_take_reader(w->database, ORM_NO_DEADLINE, &error);
		assert_non_null(readers[i]);
	}
	assert_null(ormd_database_take_reader(w->database, orm_deadline_in_ms(1), &error));
	assert_int_equal(error.code, ORM_ETIMEOUT);
	run_group(w);
	assert_int_equal(ask_int64(readers[0], "SELECT count(*) FROM items"), 1);
	ormd_database_give_reader(w->database, readers[0]);
	readers[0] = ormd_database_take_reader(w->database, orm_deadline_in_ms(0), &error); /* there is one: no wait */
	assert_non_null(readers[0]);
	for (int i = 0; i < 2; i++)
		ormd_database_give_reader(w->database, readers[i]);
	ormd_database_give_reader(w->database, NULL);
}

static void a_second_opener_is_told_who_has_it(void **state)
{
	world *w = *state;
	const ormd_database_options options = {.url = w->url};
	char number[32];
	orm_error error;

	assert_int_equal(ormd_database_announce(w->database, "ipc:///run/x.sock", &error), ORM_OK);
	assert_null(ormd_database_open(&options, &error));
	assert_int_equal(error.code, ORM_EEXIST);
	snprintf(number, sizeof number, "pid %ld", (long)getpid());
	assert_non_null(strstr(error.message, number));
	assert_non_null(strstr(error.message, "ipc:///run/x.sock"));
	assert_non_null(strstr(error.message, "shop.db"));
	ormd_database_close(w->database);
	w->database = ormd_database_open(&options, &error); /* free again */
	assert_non_null(w->database);
}

static void an_inherited_lock_is_adopted(void **state)
{
	const char *url = database_url("inherited.db");
	char path[ORM_DISCOVERY_PATH_SIZE];
	ormd_database_options options = {.url = url, .create = true};
	ormd_database *database;
	orm_error error;
	int fd = -1;

	(void)state;
	assert_int_equal(orm_discovery_lock_path(url, path, &error), ORM_OK);
	assert_int_equal(orm_discovery_lock(path, &fd, &error), ORM_OK);
	options.lock_fd = fd;
	database = ormd_database_open(&options, &error);
	assert_non_null(database);
	ormd_database_close(database);
	assert_int_equal(orm_discovery_lock(path, &fd, &error), ORM_OK);
	orm_discovery_unlock(fd);
}

static void bad_urls_open_nothing(void **state)
{
	static const char *const urls[] = {"sqlite://x", "oracle://x/y", "sqlite:////no-such-directory-here/x.db"};

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		const ormd_database_options options = {.url = urls[i], .create = true};
		orm_error error = {0};

		assert_null(ormd_database_open(&options, &error));
		assert_int_not_equal(error.code, ORM_OK);
		assert_true(error.message[0] != '\0');
		assert_null(ormd_database_open(&options, NULL));
	}
	ormd_database_close(NULL);
}

static void memory_has_one_connection_for_all(void **state)
{
	ormd_database *database = open_database("sqlite:///:memory:");
	ormd_connection *reader;
	insert_job insert, in_vain;
	orm_error error;

	(void)state;
	insert_job_init(&insert, "x");
	assert_int_equal(ormd_database_run(database, &insert.job, NULL), ORM_OK);
	assert_int_equal(insert.n_done, 1);
	reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, &error);
	assert_non_null(reader);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 1);
	insert_job_init(&insert, "y");
	ormd_database_submit(database, &insert.job); /* waits for the reader */
	assert_int_equal(insert.n_done, 0);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 1);
	/* So does the very thread that took it: a result is read piece by piece, and the thread has others to serve
	 * meanwhile. */
	insert_job_init(&in_vain, "z");
	in_vain.job.deadline_us = orm_deadline_in_ms(1);
	assert_int_equal(ormd_database_run(database, &in_vain.job, &error), ORM_ETIMEOUT);
	ormd_database_give_reader(database, reader);
	reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, &error);
	assert_non_null(reader);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 2);
	ormd_database_give_reader(database, reader);
	ormd_database_close(database);
}

/* ---- what goes wrong around the transactions ------------------------------------------------------------------ */

/* Another program holds the database: a unit waits as long as its deadline allows, and the next one is not harmed. */
static void a_lock_held_by_others_is_waited_for(void **state)
{
	world *w = *state;
	ormd_connection *other = open_connection(w->url, false);
	insert_job insert;

	assert_int_equal(other->driver->begin(other, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
	insert_job_init(&insert, "late");
	insert.job.deadline_us = orm_deadline_in_ms(1);
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_ETIMEOUT);
	assert_int_equal(insert.n_runs, 0);
	assert_null(strstr(insert.error.message, "locked"));
	other->driver->rollback(other);
	insert_job_init(&insert, "in time");
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_OK);
	other->driver->close(other);
}

static void opening_waits_for_others_too(void **state)
{
	const char *url = database_url("held.db");
	const ormd_database_options options = {.url = url, .create = true, .wait_ms = 1};
	ormd_connection *other = open_connection(url, false);
	orm_error error;

	(void)state;
	run_sql(other, create_items);
	assert_int_equal(other->driver->begin(other, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
	assert_null(ormd_database_open(&options, &error));
	assert_int_equal(error.code, ORM_ETIMEOUT);
	other->driver->close(other);

	ormd_database *database = ormd_database_open(&options, &error); /* the lock file was given back */

	assert_non_null(database);
	assert_string_equal(ormd_database_url(database), url);
	assert_ptr_equal(ormd_database_dialect(database), &ormd_dialect_sqlite);
	ormd_database_close(database);
}

static void ignore_rollback(ormd_connection *connection)
{
	(void)connection;
}

/* Without memory even a ROLLBACK can fail: then the connection goes, and its transaction with it. */
static void a_rollback_that_fails_closes_the_connection(void **state)
{
	world *w = *state;
	ormd_connection *reader;
	insert_job insert;

	use_driver(w, ormd_driver_sqlite.commit, 0);
	refusing.rollback = ignore_rollback;
	insert_job_init(&insert, NULL);
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_ECONSTRAINT);
	insert_job_init(&insert, "next");
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_OK);
	assert_int_equal(count_items(w, "1"), 1);

	for (int i = 0; i < 3; i++) { /* a reader, too; and its place is free again */
		reader = ormd_database_take_reader(w->database, ORM_NO_DEADLINE, NULL);
		assert_non_null(reader);
		assert_int_equal(reader->driver->begin(reader, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
		ormd_database_give_reader(w->database, reader);
	}
	reader = ormd_database_take_reader(w->database, ORM_NO_DEADLINE, NULL);
	assert_false(reader->driver->in_transaction(reader));
	ormd_database_give_reader(w->database, reader);
}

static void a_reader_that_cannot_be_opened_leaves_its_place(void **state)
{
	world *w = *state;
	char moved[SUPPORT_PATH_SIZE + 8];
	ormd_connection *readers[2];
	orm_error error;

	snprintf(moved, sizeof moved, "%s.moved", database_path(w->url));
	assert_int_equal(rename(database_path(w->url), moved), 0);
	for (int i = 0; i < 3; i++) {
		assert_null(ormd_database_take_reader(w->database, ORM_NO_DEADLINE, &error));
		assert_int_equal(error.code, ORM_ENOTFOUND);
	}
	assert_int_equal(rename(moved, database_path(w->url)), 0);
	for (int i = 0; i < 2; i++)
		assert_non_null(readers[i] = ormd_database_take_reader(w->database, ORM_NO_DEADLINE, &error));
	for (int i = 0; i < 2; i++)
		ormd_database_give_reader(w->database, readers[i]);
}

typedef struct log_record {
	int n_messages;
	int level;
	char message[1024];
} log_record;

static void keep_log(int level, const char *message, void *context)
{
	log_record *record = context;

	record->n_messages++;
	record->level = level;
	snprintf(record->message, sizeof record->message, "%s", message);
}

static void what_an_operator_should_know_is_logged(void **state)
{
	world *w = *state;
	log_record record = {0};
	insert_job insert;

	w->database->log = keep_log;
	w->database->log_context = &record;
	run_sql_outside(w->url, "INSERT INTO items (name) VALUES ('theirs')");
	insert_job_init(&insert, "ours");
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_OK);
	assert_int_equal(record.n_messages, 1);
	assert_int_equal(record.level, LOG_WARNING);
	assert_non_null(strstr(record.message, "another program"));
	assert_non_null(strstr(record.message, w->url));

	use_driver(w, lose_commit, 1);
	insert_job_init(&insert, "lost");
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_EUNKNOWN);
	assert_int_equal(record.n_messages, 2);
	assert_int_equal(record.level, LOG_ERR);
}

static uint64_t claim_long_log(ormd_connection *connection)
{
	(void)connection;
	return n_refusals-- > 0 ? UINT64_C(1) << 30 : 0;
}

/* Once, not after every transaction, until it is over. */
static void a_long_log_is_reported_once(void **state)
{
	world *w = *state;
	log_record record = {0};
	insert_job insert;

	use_driver(w, ormd_driver_sqlite.commit, 3);
	refusing.maintain = claim_long_log;
	w->database->log = keep_log;
	w->database->log_context = &record;
	for (int i = 0; i < 5; i++) {
		insert_job_init(&insert, "x");
		assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_OK);
	}
	assert_int_equal(record.n_messages, 1);
	assert_non_null(strstr(record.message, "1024 MiB"));
	n_refusals = 1;
	insert_job_init(&insert, "x");
	assert_int_equal(ormd_database_run(w->database, &insert.job, NULL), ORM_OK);
	assert_int_equal(record.n_messages, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(jobs_that_wait_share_a_transaction),
		TEST(a_failing_job_undoes_only_itself),
		TEST(a_failing_first_job_does_not_harm_the_rest),
		TEST(jobs_that_only_look_leave_nothing),
		TEST(a_lost_transaction_runs_the_innocent_again),
		TEST(a_deferred_foreign_key_fails_its_own_unit),
		TEST(a_refused_group_commits_one_by_one),
		TEST(an_unknown_outcome_is_said_to_be_unknown),
		TEST(who_looked_at_what_was_not_committed_looks_again),
		TEST(jobs_past_their_deadline_do_not_run),
		TEST(jobs_that_want_to_be_alone_are),
		TEST(many_jobs_make_groups_of_bounded_size),
		TEST(others_writing_is_noticed),
		TEST(readers_see_commits_and_run_out),
		TEST(a_second_opener_is_told_who_has_it),
		TEST(a_lock_held_by_others_is_waited_for),
		cmocka_unit_test(opening_waits_for_others_too),
		TEST(a_rollback_that_fails_closes_the_connection),
		TEST(a_reader_that_cannot_be_opened_leaves_its_place),
		TEST(what_an_operator_should_know_is_logged),
		TEST(a_long_log_is_reported_once),
		cmocka_unit_test(an_inherited_lock_is_adopted),
		cmocka_unit_test(bad_urls_open_nothing),
		cmocka_unit_test(memory_has_one_connection_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
