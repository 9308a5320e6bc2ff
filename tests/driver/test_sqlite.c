/* SPDX-License-Identifier: MIT */
/* Opening, settings, transactions and savepoints. */
#include "driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect_url_error(const char *url, orm_status code, const char *part)
{
	const ormd_open_options options = {.url = url, .create = true};
	orm_error error = {0};

	assert_null(ormd_driver_sqlite.open(&options, &error));
	assert_int_equal(error.code, code);
	if (!strstr(error.message, part))
		fail_msg("'%s' says \"%s\", not \"%s\"", url, error.message, part);
}

static void urls_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	expect_url_error("sqlite:shop.db", ORM_EINVAL, "three slashes");
	expect_url_error("sqlite://host/shop.db", ORM_EINVAL, "no host");
	expect_url_error("sqlite:///", ORM_EINVAL, "names no file");
	expect_url_error("sqlite:////tmp/", ORM_EINVAL, "names no file");
	expect_url_error("sqlite:////tmp", ORM_EINVAL, "is a directory");
	expect_url_error("sqlite:///shop.db?mode=ro", ORM_EINVAL, "%3F");
	expect_url_error("sqlite:///sh%op.db", ORM_EINVAL, "hexadecimal");
	expect_url_error("sqlite:///sh%00op.db", ORM_EINVAL, "NUL");
	expect_url_error("sqlite:////no-such-directory-here/shop.db", ORM_ENOTFOUND, "/no-such-directory-here");
}

static void engines_are_found_by_scheme(void **state)
{
	orm_error error;

	(void)state;
	assert_ptr_equal(ormd_driver_for_url("sqlite:///x.db", &error), &ormd_driver_sqlite);
	assert_ptr_equal(ormd_driver_for_url("postgresql://u:secret@h/x", &error), &ormd_driver_postgresql);
	assert_ptr_equal(ormd_driver_for_url("postgres://u:secret@h/x", &error), &ormd_driver_postgresql);
	assert_ptr_equal(ormd_driver_for_url("mysql://u:secret@h/x", &error), &ormd_driver_mysql);
	assert_ptr_equal(ormd_driver_for_url("mariadb://u:secret@h/x", &error), &ormd_driver_mysql);
	assert_null(ormd_driver_for_url("oracle://u:secret@h/x", &error));
	assert_int_equal(error.code, ORM_EUNSUPPORTED);
	assert_non_null(strstr(error.message, "'oracle'"));
	assert_non_null(strstr(error.message, "sqlite:///"));
	assert_null(strstr(error.message, "secret"));
	assert_null(ormd_driver_for_url(NULL, &error));
	assert_int_equal(error.code, ORM_EUNSUPPORTED);
}

static void names_are_decoded_and_relative_to_the_working_directory(void **state)
{
	char path[SUPPORT_PATH_SIZE];
	char before[4096];
	const char *dir = support_tempdir();

	(void)state;
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(dir), 0);
	ormd_driver_sqlite.close(open_connection("sqlite:///a%20shop%3F.db", false));
	assert_int_equal(chdir(before), 0);
	assert_int_equal(access(support_join(path, dir, "a shop?.db"), F_OK), 0);
}

static void a_missing_file_is_only_made_on_request(void **state)
{
	const char *url = database_url("missing.db");
	const ormd_open_options options = {.url = url};
	orm_error error;

	(void)state;
	assert_null(ormd_driver_sqlite.open(&options, &error));
	assert_int_equal(error.code, ORM_ENOTFOUND);
	assert_non_null(strstr(error.message, "missing.db"));
	assert_int_not_equal(access(database_path(url), F_OK), 0);
}

static void a_file_that_is_no_database_is_said_to_be_none(void **state)
{
	const char *url = database_url("text.db");
	const ormd_open_options options = {.url = url};
	char text[4096];
	orm_error error;

	(void)state;
	memset(text, 'x', sizeof text);
	support_write_file(database_path(url), text, sizeof text);
	assert_null(ormd_driver_sqlite.open(&options, &error));
	assert_int_equal(error.code, ORM_EDATABASE);
	assert_non_null(strstr(error.message, "not an SQLite database"));
}

static void connections_have_the_safe_settings(void **state)
{
	const char *url = database_url("settings.db");
	ormd_connection *writer = open_connection(url, false);
	ormd_connection *reader = open_connection(url, true);

	(void)state;
	assert_int_equal(ask_int64(writer, "PRAGMA foreign_keys"), 1);
	assert_int_equal(ask_int64(writer, "PRAGMA synchronous"), 2);
	assert_int_equal(ask_int64(writer, "PRAGMA wal_autocheckpoint"), 0);
	assert_int_equal(ask_int64(writer, "PRAGMA trusted_schema"), 0);
	assert_int_equal(ask_int64(writer, "PRAGMA cell_size_check"), 1);
	assert_int_equal(ask_int64(writer, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
	assert_int_equal(ask_int64(reader, "PRAGMA query_only"), 1);
	assert_int_equal(ask_int64(reader, "PRAGMA wal_autocheckpoint"), 0);
	ormd_driver_sqlite.close(reader);
	ormd_driver_sqlite.close(writer);
}

/* SQLite would else take the name of a column that is not there for a text of that content. */
static void a_missing_column_is_no_text(void **state)
{
	ormd_connection *writer = open_connection(database_url("column.db"), false);
	orm_error error;

	(void)state;
	run_sql(writer, create_items);
	assert_int_equal(ormd_driver_sqlite.run(writer, "UPDATE items SET name = \"nowhere\"", &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "differs from the model"));
	assert_int_equal(ormd_driver_sqlite.run(writer, "DELETE FROM items WHERE \"nowhere\" = 'nowhere'", &error), ORM_EDATABASE);
	ormd_driver_sqlite.close(writer);
}

static void a_reader_cannot_write(void **state)
{
	const char *url = database_url("reader.db");
	ormd_connection *writer = open_connection(url, false);
	ormd_connection *reader = open_connection(url, true);
	orm_error error;

	(void)state;
	run_sql(writer, create_items);
	assert_int_equal(ormd_driver_sqlite.run(reader, "DELETE FROM items", &error), ORM_EDATABASE);
	ormd_driver_sqlite.close(reader);
	ormd_driver_sqlite.close(writer);
}

static void a_reader_in_a_transaction_keeps_its_snapshot(void **state)
{
	const char *url = database_url("snapshot.db");
	ormd_connection *writer = open_connection(url, false);
	ormd_connection *reader = open_connection(url, true);
	orm_error error;

	(void)state;
	run_sql(writer, create_items);
	assert_int_equal(ormd_driver_sqlite.begin(reader, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 0);
	run_sql(writer, "INSERT INTO items (name) VALUES ('a')");
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 0);
	ormd_driver_sqlite.rollback(reader);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 1);
	ormd_driver_sqlite.close(reader);
	ormd_driver_sqlite.close(writer);
}

static void transactions_keep_or_undo(void **state)
{
	ormd_connection *c = open_connection(database_url("transaction.db"), false);
	orm_error error;

	(void)state;
	run_sql(c, create_items);
	assert_false(ormd_driver_sqlite.in_transaction(c));
	assert_int_equal(ormd_driver_sqlite.begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_true(ormd_driver_sqlite.in_transaction(c));
	run_sql(c, "INSERT INTO items (name) VALUES ('a')");
	assert_int_equal(ormd_driver_sqlite.commit(c, &error), ORM_OK);
	assert_false(ormd_driver_sqlite.in_transaction(c));
	assert_int_equal(ormd_driver_sqlite.begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('b')");
	ormd_driver_sqlite.rollback(c);
	ormd_driver_sqlite.rollback(c); /* nothing to do */
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 1);
	ormd_driver_sqlite.close(c);
}

static void savepoints_nest(void **state)
{
	ormd_connection *c = open_connection(database_url("savepoint.db"), false);
	const ormd_driver *d = c->driver;
	orm_error error;

	(void)state;
	run_sql(c, create_items);
	assert_int_equal(d->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(d->savepoint(c, 1, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('kept')");
	assert_int_equal(d->savepoint(c, 2, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('undone')");
	assert_int_equal(d->rollback_to(c, 2, &error), ORM_OK);
	assert_int_equal(d->savepoint(c, 2, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('kept too')");
	assert_int_equal(d->release(c, 2, &error), ORM_OK);
	assert_int_equal(d->release(c, 1, &error), ORM_OK);
	assert_int_equal(d->release(c, 1, &error), ORM_EDATABASE); /* it is gone */
	assert_int_equal(d->commit(c, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items WHERE name LIKE 'kept%'"), 2);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM items"), 2);
	d->close(c);
}

/* A deferred foreign key: COMMIT fails and SQLite leaves the transaction open; ours is over. */
static void a_refused_commit_ends_the_transaction(void **state)
{
	ormd_connection *c = open_connection(database_url("refused.db"), false);
	const ormd_driver *d = c->driver;
	orm_error error;

	(void)state;
	run_sql(c, "CREATE TABLE a (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES a (id) DEFERRABLE INITIALLY "
		   "DEFERRED)");
	assert_int_equal(d->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(d->check_deferred(c, &error), ORM_OK);
	run_sql(c, "INSERT INTO a VALUES (1, 2)");
	assert_int_equal(d->check_deferred(c, &error), ORM_ECONSTRAINT);
	assert_true(d->in_transaction(c));
	assert_int_equal(d->commit(c, &error), ORM_ECONSTRAINT);
	assert_string_equal(error.model, "a");
	assert_string_equal(error.column, "parent");
	assert_false(d->in_transaction(c));
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM a"), 0);
	d->close(c);
}

/* SQLITE_FULL ends the whole transaction; the connection works on. */
static void a_full_database_is_reported_and_survived(void **state)
{
	ormd_connection *c = open_connection(database_url("full.db"), false);
	const ormd_driver *d = c->driver;
	const orm_value id = int64_value(1000000);
	orm_error error;

	(void)state;
	run_sql(c, "CREATE TABLE big (id INTEGER PRIMARY KEY, data BLOB)");
	run_sql(c, "INSERT INTO big (data) VALUES (zeroblob(20000))");
	assert_true(ask_int64(c, "PRAGMA max_page_count=20") >= 7);
	assert_int_equal(d->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(write_row(c, "INSERT INTO big (data) VALUES (zeroblob(?))", &id, 1, &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "full"));
	d->rollback(c);
	assert_false(d->in_transaction(c));
	assert_int_equal(d->commit(c, &error), ORM_EDATABASE); /* there is none */
	assert_int_equal(d->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO big (data) VALUES (zeroblob(100))");
	assert_int_equal(d->commit(c, &error), ORM_OK);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM big"), 2);
	d->close(c);
}

static void others_changes_are_noticed_once(void **state)
{
	char url[SUPPORT_PATH_SIZE];
	ormd_connection *c;

	(void)state;
	snprintf(url, sizeof url, "%s", database_url("others.db"));
	c = open_connection(url, false);
	run_sql(c, create_items);
	assert_false(c->driver->changed_by_others(c));
	run_sql(c, "INSERT INTO items (name) VALUES ('ours')");
	assert_false(c->driver->changed_by_others(c));
	run_sql_outside(url, "INSERT INTO items (name) VALUES ('theirs')");
	assert_true(c->driver->changed_by_others(c));
	assert_false(c->driver->changed_by_others(c));
	c->driver->close(c);
}

/* Who waits for another program's lock is told so in our words, not in SQLite's. */
static void a_lock_held_by_others_is_a_timeout(void **state)
{
	const char *url = database_url("busy.db");
	const ormd_open_options impatient = {.url = url, .busy_timeout_ms = 1};
	ormd_connection *holder = open_connection(url, false);
	ormd_connection *c = ormd_driver_sqlite.open(&impatient, NULL);
	orm_error error;

	(void)state;
	assert_non_null(c);
	assert_int_equal(holder->driver->begin(holder, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_ETIMEOUT);
	assert_null(strstr(error.message, "locked"));
	assert_false(c->driver->in_transaction(c));
	holder->driver->rollback(holder);
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	c->driver->close(c);
	holder->driver->close(holder);
}

/* The log is moved into the database when it is long, and its file used again from the beginning. */
static void the_log_is_checkpointed_and_reused(void **state)
{
	const char *url = database_url("log.db");
	ormd_connection *c = open_connection(url, false);
	char path[SUPPORT_PATH_SIZE + 8];
	struct stat log;
	off_t largest = 0;

	(void)state;
	snprintf(path, sizeof path, "%s-wal", database_path(url));
	run_sql(c, "CREATE TABLE big (id INTEGER PRIMARY KEY, data BLOB)");
	for (int i = 0; i < 100; i++) {
		run_sql(c, "INSERT OR REPLACE INTO big VALUES (1, randomblob(1000000))");
		assert_int_equal(c->driver->maintain(c), 0);
		assert_int_equal(stat(path, &log), 0);
		if (log.st_size > largest)
			largest = log.st_size;
	}
	assert_true(largest < 10 * 1000 * 1000);
	c->driver->close(c);
}

/* A reader that holds an old snapshot keeps the log from being reused; that is reported, and over when it ends. */
static void a_log_that_cannot_be_moved_is_reported(void **state)
{
	const char *url = database_url("longlog.db");
	ormd_connection *c = open_connection(url, false);
	ormd_connection *reader = open_connection(url, true);
	uint64_t behind = 0;

	(void)state;
	run_sql(c, "CREATE TABLE big (id INTEGER PRIMARY KEY, data BLOB)");
	assert_int_equal(reader->driver->begin(reader, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM big"), 0);
	for (int i = 0; i < 5; i++) {
		run_sql(c, "INSERT INTO big (data) VALUES (zeroblob(5000000))");
		behind = c->driver->maintain(c);
	}
	assert_true(behind > 10 * 1000 * 1000);
	reader->driver->rollback(reader);
	run_sql(c, "INSERT INTO big (data) VALUES (zeroblob(5000000))");
	assert_int_equal(c->driver->maintain(c), 0);
	reader->driver->close(reader);
	c->driver->close(c);
}

static void memory_is_private(void **state)
{
	ormd_connection *one = open_connection("sqlite:///:memory:", false);
	ormd_connection *two = open_connection("sqlite:///:memory:", false);

	(void)state;
	assert_true(one->driver->is_private("sqlite:///:memory:"));
	assert_false(one->driver->is_private("sqlite:////tmp/x.db"));
	run_sql(one, create_items);
	assert_int_equal(two->driver->run(two, "SELECT * FROM items", NULL), ORM_EDATABASE);
	one->driver->close(one);
	two->driver->close(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_that_make_no_sense_are_refused),
		cmocka_unit_test(engines_are_found_by_scheme),
		cmocka_unit_test(names_are_decoded_and_relative_to_the_working_directory),
		cmocka_unit_test(a_missing_file_is_only_made_on_request),
		cmocka_unit_test(a_file_that_is_no_database_is_said_to_be_none),
		cmocka_unit_test(connections_have_the_safe_settings),
		cmocka_unit_test(a_missing_column_is_no_text),
		cmocka_unit_test(a_reader_cannot_write),
		cmocka_unit_test(a_reader_in_a_transaction_keeps_its_snapshot),
		cmocka_unit_test(transactions_keep_or_undo),
		cmocka_unit_test(savepoints_nest),
		cmocka_unit_test(a_refused_commit_ends_the_transaction),
		cmocka_unit_test(a_full_database_is_reported_and_survived),
		cmocka_unit_test(others_changes_are_noticed_once),
		cmocka_unit_test(a_lock_held_by_others_is_a_timeout),
		cmocka_unit_test(the_log_is_checkpointed_and_reused),
		cmocka_unit_test(a_log_that_cannot_be_moved_is_reported),
		cmocka_unit_test(memory_is_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
