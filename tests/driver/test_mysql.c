/* SPDX-License-Identifier: MIT */
/* URLs, opening, settings, transactions and savepoints. */
#include "driver/mysql_support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/mysql_internal.h"

static void expect_url_error(const char *text, const char *part)
{
	const ormd_open_options options = {.url = text};
	orm_error error = {0};

	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_EINVAL);
	if (!strstr(error.message, part) || strstr(error.message, "secret"))
		fail_msg("'%s' says \"%s\", not \"%s\"", text, error.message, part);
}

static void urls_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	expect_url_error("mysql:secret", "no // after");
	expect_url_error("mysql://u:secret@h", "no database");
	expect_url_error("mysql://u:secret@h/", "no database");
	expect_url_error("mysql://u:secret@h/a/b", "a / in its name");
	expect_url_error("mysql://u:secret%@h/db", "password has a %");
	expect_url_error("mysql://u:secret%00@h/db", "password has a %");
	expect_url_error("mysql://u:secret@h:x/db", "port");
	expect_url_error("mysql://u:secret@h:0/db", "port");
	expect_url_error("mysql://u:secret@h:65536/db", "port");
	expect_url_error("mysql://u:secret@[::1/db", "without its ]");
	expect_url_error("mysql://u:secret@[::1]x/db", "port");
	expect_url_error("mysql://u:secret@h1,,h2/db", "empty name");
	expect_url_error("mysql://u:secret@h1,h2/db?socket=/s", "socket and several hosts");
	expect_url_error("mysql://u:secret@h/db?charset=latin1", "'charset'");
	expect_url_error("mysql://u:secret@h/db?socket", "'socket'");
	expect_url_error("mysql://u:secret@h/db?ssl=yes", "'ssl' takes a number from 0 to 1");
	expect_url_error("mysql://u:secret@h/db?wsrep-sync-wait=16", "from 0 to 15");
	expect_url_error("mysql://u:secret@h/db?connect_timeout=-1", "'connect-timeout'");
	expect_url_error("mysql://u:secret@h/db#x", "%23");
}

static void urls_are_taken_apart_and_decoded(void **state)
{
	mysql_url url;
	orm_error error;

	(void)state;
	if (ormd_mysql_url_parse(
		    "mysql://us%40er:p%3a%2Fw@a:1,[fe80::1]:2,b/sh%20op?ssl_ca=%2Fca&connect-timeout=3&ssl-"
		    "verify=0",
		    &url, &error) != ORM_OK)
		fail_msg("%s", error.message);
	assert_string_equal(url.user, "us@er");
	assert_string_equal(url.password, "p:/w");
	assert_string_equal(url.database, "sh op");
	assert_int_equal(url.n_hosts, 3);
	assert_string_equal(url.hosts[0].name, "a");
	assert_int_equal(url.hosts[0].port, 1);
	assert_string_equal(url.hosts[1].name, "fe80::1");
	assert_int_equal(url.hosts[1].port, 2);
	assert_string_equal(url.hosts[2].name, "b");
	assert_int_equal(url.hosts[2].port, 0);
	assert_string_equal(url.tls_ca, "/ca");
	assert_true(url.tls);
	assert_false(url.tls_verify);
	assert_int_equal(url.connect_timeout_s, 3);
	ormd_mysql_url_fini(&url);
	assert_int_equal(ormd_mysql_url_parse("mariadb:///shop", &url, &error), ORM_OK);
	assert_string_equal(url.hosts[0].name, "");
	assert_null(url.user);
	assert_false(url.tls);
	ormd_mysql_url_fini(&url);
}

/* The URL of the test's server, with another database or user. */
static const char *changed_url(const char *user, const char *database)
{
	static char text[ENGINE_URL_SIZE + 64];
	const char *url = mysql_fresh_url();
	const char *options = strchr(url, '?');

	assert_non_null(options);
	snprintf(text, sizeof text, "mysql://%s@localhost/%s%s", user, database, options);
	return text;
}

static void a_missing_database_is_only_made_on_request(void **state)
{
	ormd_open_options options = {.url = changed_url("root", "ormd%20made%60here")};
	ormd_connection *c;
	orm_error error;

	(void)state;
	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_ENOTFOUND);
	assert_non_null(strstr(error.message, "no database 'ormd made`here'"));
	options.create = true;
	c = ormd_driver_mysql.open(&options, &error);
	if (!c)
		fail_msg("%s", error.message);
	run_sql(c, "CREATE TABLE t (a VARCHAR(5))");
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
				      "AND COLLATION_NAME = 'utf8mb4_nopad_bin'"),
			 1);
	run_sql(c, "DROP DATABASE `ormd made``here`");
	c->driver->close(c);
}

static void who_is_not_let_in_is_told(void **state)
{
	const ormd_open_options options = {.url = changed_url("nobody:secret", "x")};
	orm_error error;

	(void)state;
	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_EPERM);
	assert_non_null(strstr(error.message, "'nobody'"));
	assert_null(strstr(error.message, "secret"));
}

static void a_server_that_is_not_there_is_unavailable(void **state)
{
	const ormd_open_options options = {.url = "mysql://root@localhost/x?socket=/no-such-socket"};
	orm_error error;

	(void)state;
	assert_null(ormd_driver_mysql.open(&options, &error));
	assert_int_equal(error.code, ORM_EUNAVAILABLE);
	assert_non_null(strstr(error.message, "/no-such-socket"));
}

static void sessions_have_the_safe_settings(void **state)
{
	ormd_connection *writer = mysql_open();
	ormd_connection *reader = mysql_open_again(true);

	(void)state;
	assert_int_equal(ask_int64(writer, "SELECT @@sql_mode LIKE '%STRICT_ALL_TABLES%' AND @@sql_mode NOT LIKE "
					   "'%NO_BACKSLASH%'"),
			 1);
	assert_int_equal(ask_int64(writer, "SELECT @@time_zone = '+00:00'"), 1);
	assert_int_equal(ask_int64(writer, "SELECT @@innodb_lock_wait_timeout"), 20);
	assert_int_equal(ask_int64(writer, "SELECT @@tx_isolation = 'READ-COMMITTED'"), 1);
	assert_int_equal(ask_int64(writer, "SELECT @@tx_read_only"), 0);
	assert_int_equal(ask_int64(writer, "SELECT @@character_set_client = 'utf8mb4' AND @@collation_connection = "
					   "'utf8mb4_nopad_bin'"),
			 1);
	assert_int_equal(ask_int64(reader, "SELECT @@tx_isolation = 'REPEATABLE-READ'"), 1);
	assert_int_equal(ask_int64(reader, "SELECT @@tx_read_only"), 1);
	assert_string_not_equal(writer->backend, "");
	assert_string_not_equal(writer->backend, reader->backend);
	assert_true(writer->driver->is_alive(writer));
	reader->driver->close(reader);
	writer->driver->close(writer);
}

static void a_reader_cannot_write(void **state)
{
	ormd_connection *writer = mysql_open();
	ormd_connection *reader = mysql_open_again(true);
	orm_error error;

	(void)state;
	assert_int_equal(reader->driver->run(reader, "DELETE FROM items", &error), ORM_EDATABASE);
	assert_non_null(strstr(error.message, "cannot be written"));
	reader->driver->close(reader);
	writer->driver->close(writer);
}

static void a_reader_in_a_transaction_keeps_its_snapshot(void **state)
{
	ormd_connection *writer = mysql_open();
	ormd_connection *reader = mysql_open_again(true);
	orm_error error;

	(void)state;
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 0);
	assert_int_equal(reader->driver->begin(reader, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(writer, "INSERT INTO items (name) VALUES ('a')");
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 0);
	run_sql(writer, "INSERT INTO items (name) VALUES ('b')");
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 0);
	assert_int_equal(reader->driver->commit(reader, &error), ORM_OK);
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 2);
	run_sql(writer, "INSERT INTO items (name) VALUES ('c')");
	assert_int_equal(ask_int64(reader, "SELECT count(*) FROM items"), 3);
	reader->driver->close(reader);
	writer->driver->close(writer);
}

static void transactions_keep_or_undo(void **state)
{
	ormd_connection *c = mysql_open();
	ormd_connection *other = mysql_open_again(true);
	orm_error error;

	(void)state;
	for (int i = 0; i < 3; i++) { /* the first one costs a round trip more */
		assert_false(c->driver->in_transaction(c));
		assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		assert_true(c->driver->in_transaction(c));
		run_sql(c, "INSERT INTO items (name) VALUES ('a')");
		assert_int_equal(ask_int64(other, "SELECT count(*) FROM items"), i);
		assert_int_equal(c->driver->commit(c, &error), ORM_OK);
		assert_false(c->driver->in_transaction(c));
		assert_int_equal(ask_int64(other, "SELECT count(*) FROM items"), i + 1);
		assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
		run_sql(c, "INSERT INTO items (name) VALUES ('b')");
		c->driver->rollback(c);
		c->driver->rollback(c); /* nothing to do */
		assert_int_equal(ask_int64(other, "SELECT count(*) FROM items"), i + 1);
	}
	/* Outside of one, each statement is one. */
	run_sql(c, "INSERT INTO items (name) VALUES ('c')");
	assert_int_equal(ask_int64(other, "SELECT count(*) FROM items"), 4);
	assert_int_equal(c->driver->commit(c, &error), ORM_EDATABASE);
	other->driver->close(other);
	c->driver->close(c);
}

static void savepoints_nest(void **state)
{
	ormd_connection *c = mysql_open();
	const ormd_driver *d = c->driver;
	orm_error error;

	(void)state;
	assert_int_equal(d->savepoint(c, 1, &error), ORM_EDATABASE); /* no transaction */
	assert_int_equal(d->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(d->savepoint(c, 1, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('kept')");
	assert_int_equal(d->savepoint(c, 2, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('undone')");
	assert_int_equal(d->rollback_to(c, 2, &error), ORM_OK);
	assert_int_equal(d->release(c, 2, &error), ORM_EDATABASE); /* undone, and ended */
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

static void isolation_is_the_unit_s(void **state)
{
	ormd_connection *a = mysql_open();
	ormd_connection *b = mysql_open_again(false);
	orm_error error;

	(void)state;
	run_sql(b, "INSERT INTO items (name) VALUES ('x')");
	/* READ COMMITTED sees what others commit. */
	assert_int_equal(a->driver->begin(a, ORM_READ_COMMITTED, &error), ORM_OK);
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 1);
	run_sql(b, "INSERT INTO items (name) VALUES ('y')");
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 2);
	assert_int_equal(a->driver->commit(a, &error), ORM_OK);
	/* REPEATABLE READ does not, and does not change a row that changed since. */
	assert_int_equal(a->driver->begin(a, ORM_REPEATABLE_READ, &error), ORM_OK);
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 2);
	run_sql(b, "INSERT INTO items (name) VALUES ('z'); UPDATE items SET name = 'changed' WHERE name = 'x'");
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 2);
	assert_int_equal(a->driver->run(a, "UPDATE items SET name = 'lost' WHERE id = 1", &error), ORM_ERETRY);
	assert_false(a->driver->in_transaction(a));
	/* The next one is as it should be by itself. */
	assert_int_equal(a->driver->begin(a, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 3);
	run_sql(b, "INSERT INTO items (name) VALUES ('w')");
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 4);
	a->driver->rollback(a);
	/* SERIALIZABLE: of two that read what the other one writes one ends. */
	assert_int_equal(a->driver->begin(a, ORM_SERIALIZABLE, &error), ORM_OK);
	assert_int_equal(ask_int64(a, "SELECT count(*) FROM items"), 4);
	run_sql(b, "SET SESSION innodb_lock_wait_timeout = 0");
	assert_int_equal(b->driver->run(b, "UPDATE items SET name = 'q' WHERE id = 1", &error), ORM_ETIMEOUT);
	a->driver->rollback(a);
	b->driver->close(b);
	a->driver->close(a);
}

typedef struct deadlock {
	ormd_connection *c;
	orm_status status;
	orm_error error;
} deadlock;

static void *update_second(void *context)
{
	deadlock *d = context;

	d->status = d->c->driver->run(d->c, "UPDATE items SET name = 'a2' WHERE id = 2", &d->error);
	return NULL;
}

static void one_of_two_in_a_deadlock_is_told_to_try_again(void **state)
{
	deadlock a = {.c = mysql_open()};
	deadlock b = {.c = mysql_open_again(false)};
	pthread_t thread;
	orm_status status;

	(void)state;
	run_sql(a.c, "INSERT INTO items (name) VALUES ('one'), ('two')");
	assert_int_equal(a.c->driver->begin(a.c, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
	assert_int_equal(b.c->driver->begin(b.c, ORM_ISOLATION_DEFAULT, NULL), ORM_OK);
	run_sql(a.c, "UPDATE items SET name = 'a1' WHERE id = 1");
	run_sql(b.c, "UPDATE items SET name = 'b2' WHERE id = 2");
	assert_int_equal(pthread_create(&thread, NULL, update_second, &a), 0);
	status = b.c->driver->run(b.c, "UPDATE items SET name = 'b1' WHERE id = 1", &b.error);
	pthread_join(thread, NULL);
	assert_true((status == ORM_ERETRY) != (a.status == ORM_ERETRY));
	assert_true((status == ORM_OK) != (a.status == ORM_OK));
	assert_int_equal(b.c->driver->in_transaction(b.c), status == ORM_OK);
	assert_int_equal(a.c->driver->in_transaction(a.c), a.status == ORM_OK);
	a.c->driver->rollback(a.c);
	b.c->driver->rollback(b.c);
	assert_int_equal(ask_int64(a.c, "SELECT count(*) FROM items WHERE name IN ('one', 'two')"), 2);
	b.c->driver->close(b.c);
	a.c->driver->close(a.c);
}

/* The statement is undone, and the transaction goes on or not, as its user likes. */
static void a_lock_held_by_others_is_a_timeout(void **state)
{
	ormd_connection *holder = mysql_open();
	ormd_connection *c = mysql_open_again(false);
	orm_error error;

	(void)state;
	run_sql(holder, "INSERT INTO items (name) VALUES ('one')");
	assert_int_equal(holder->driver->begin(holder, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(holder, "UPDATE items SET name = 'held'");
	run_sql(c, "SET SESSION innodb_lock_wait_timeout = 0");
	assert_int_equal(c->driver->begin(c, ORM_ISOLATION_DEFAULT, &error), ORM_OK);
	run_sql(c, "INSERT INTO items (name) VALUES ('two')");
	assert_int_equal(c->driver->run(c, "UPDATE items SET name = 'mine' WHERE id = 1", &error), ORM_ETIMEOUT);
	assert_non_null(strstr(error.message, "locked"));
	assert_true(c->driver->in_transaction(c));
	holder->driver->rollback(holder);
	run_sql(c, "UPDATE items SET name = 'mine' WHERE id = 1");
	assert_int_equal(c->driver->commit(c, &error), ORM_OK);
	assert_int_equal(ask_int64(holder, "SELECT count(*) FROM items WHERE name IN ('mine', 'two')"), 2);
	c->driver->close(c);
	holder->driver->close(holder);
}

/* Texts with and without limits as keys, unique, indexed, long; models in a circle; checks; defaults in UTC. */
static void tables_are_made_as_declared(void **state)
{
	static const orm_column_spec pages[] = {
		{.name = "slug", .type = ORM_TEXT, .primary_key = true},
		{.name = "title", .type = ORM_TEXT, .unique = true, .max_length = 100},
		{.name = "body", .type = ORM_TEXT, .index = true, .nullable = true},
		{.name = "notes", .type = ORM_TEXT, .max_length = 2000, .nullable = true},
		{.name = "hash", .type = ORM_BYTES, .max_length = 32, .unique = true, .nullable = true},
		{.name = "data", .type = ORM_BYTES, .index = true, .nullable = true},
		{.name = "scan", .type = ORM_BYTES, .max_length = 5000, .nullable = true},
		{.name = "done", .type = ORM_BOOL, .server_default = "false", .check = "done = 0 OR title <> 'x'"},
		{.name = "at", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW},
		{.name = "day", .type = ORM_DATE, .server_default = ORM_DEFAULT_NOW},
		{.name = "hour", .type = ORM_TIME, .server_default = ORM_DEFAULT_NOW},
		{.name = "book_id",
		 .type = ORM_INT32,
		 .nullable = true,
		 .references_model = "Book",
		 .references_column = "id",
		 .on_delete = ORM_CASCADE},
	};
	static const orm_column_spec books[] = {
		{.name = "id", .type = ORM_INT32, .primary_key = true},
		{.name = "first",
		 .type = ORM_TEXT,
		 .nullable = true,
		 .references_model = "Page",
		 .references_column = "slug"},
	};
	static const orm_model_spec models[] = {
		{.name = "Page", .table = "pages", .columns = pages, .n_columns = sizeof pages / sizeof *pages},
		{.name = "Book", .table = "books", .columns = books, .n_columns = 2},
	};
	static const struct {
		const char *sql;
		orm_status status;
	} rows[] = {
		{"INSERT INTO books (id) VALUES (1); INSERT INTO pages (slug, title, book_id) VALUES ('a', 'A', 1); "
		 "UPDATE books SET first = 'a'",
		 ORM_OK},
		{"INSERT INTO pages (slug, title) VALUES (repeat('x', 255), 'a')", ORM_OK},
		{"INSERT INTO pages (slug, title) VALUES (repeat('x', 256), 'b')", ORM_EINVAL},
		{"INSERT INTO pages (slug, title) VALUES ('b', 'A')", ORM_ECONSTRAINT},
		{"INSERT INTO pages (slug, title, body, data) VALUES ('c', 'c', repeat('x', 100000), repeat('y', "
		 "100000))",
		 ORM_OK},
		{"INSERT INTO pages (slug, title, notes, scan) VALUES ('d', 'd', repeat('\xc3\xa4', 2000), repeat('x', "
		 "5000))",
		 ORM_OK},
		{"INSERT INTO pages (slug, title, notes) VALUES ('e', 'e', repeat('x', 2001))", ORM_ECONSTRAINT},
		{"INSERT INTO pages (slug, title, scan) VALUES ('f', 'f', repeat('x', 5001))", ORM_ECONSTRAINT},
		{"INSERT INTO pages (slug, title, done) VALUES ('g', 'g', 2)", ORM_ECONSTRAINT},
		{"INSERT INTO pages (slug, title, done) VALUES ('h', 'x', 1)", ORM_ECONSTRAINT},
	};
	ormd_connection *c = open_connection(mysql_fresh_url(), false);
	orm_error error;
	orm_registry *registry = orm_registry_new(models, 2, &error);

	(void)state;
	if (!registry)
		fail_msg("%s", error.message);
	for (int again = 0; again < 2; again++)
		mysql_create_all(c, registry);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (c->driver->run(c, rows[i].sql, &error) != rows[i].status)
			fail_msg("%s: %s", rows[i].sql, error.message);
	}
	run_sql(c, "SET time_zone = '+05:00'"); /* as another program might */
	run_sql(c, "INSERT INTO pages (slug, title) VALUES ('now', 'now')");
	assert_int_equal(ask_int64(c, "SELECT abs(timestampdiff(MINUTE, at, utc_timestamp())) < 5 AND "
				      "abs(timestampdiff(MINUTE, addtime(CAST(day AS DATETIME), hour), "
				      "utc_timestamp())) < 5 FROM pages WHERE slug = 'now'"),
			 1);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
				      "AND ENGINE = 'InnoDB' AND TABLE_COLLATION = 'utf8mb4_nopad_bin'"),
			 2);
	mysql_drop_all(c, registry);
	mysql_drop_all(c, registry);
	assert_int_equal(ask_int64(c, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"),
			 0);
	orm_registry_free(registry);
	c->driver->close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_that_make_no_sense_are_refused),
		cmocka_unit_test(urls_are_taken_apart_and_decoded),
		cmocka_unit_test(a_missing_database_is_only_made_on_request),
		cmocka_unit_test(who_is_not_let_in_is_told),
		cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
		cmocka_unit_test(sessions_have_the_safe_settings),
		cmocka_unit_test(a_reader_cannot_write),
		cmocka_unit_test(a_reader_in_a_transaction_keeps_its_snapshot),
		cmocka_unit_test(transactions_keep_or_undo),
		cmocka_unit_test(savepoints_nest),
		cmocka_unit_test(isolation_is_the_unit_s),
		cmocka_unit_test(one_of_two_in_a_deadlock_is_told_to_try_again),
		cmocka_unit_test(a_lock_held_by_others_is_a_timeout),
		cmocka_unit_test(tables_are_made_as_declared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
