/* SPDX-License-Identifier: MIT */
/* What users and the world get wrong: each has an error that names it, and costs nothing that was right. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"

typedef struct client {
	orm_db      *db;
	orm_session *session;
} client;

static client start(const test_place *place, const orm_model *const models[])
{
	client this = {.db = place_connect(place, models)};
	this.session = orm_session_open(this.db);
	return this;
}

static void stop(client *this)
{
	assert_string_equal(orm_session_error(this->session)->message, "");
	orm_session_close(this->session);
	orm_disconnect(this->db);
}

static void odd_text_is_kept_to_the_byte(void **state)
{
	static const char *const texts[] = {
		"", " ", "'", "''", "\"", "`", "\\", "\\'", "--", "/*", ";", "'); DROP TABLE notes; --", "%", "_", "?", "?1", ":a", "$1", "@x", "NULL", "\t\r\n\v\f\b\x7f\x01",
		"\xef\xbb\xbf" "bom", "\xc2\xa0", "e\xcc\x81", "\xc3\xa9", "\xf0\x9f\x8f\xb4\xf3\xa0\x81\xa7\xf3\xa0\x81\xbf", "\xef\xbf\xbd", "\xef\xbf\xbf",
		"\xe2\x80\xae" "rtl", "\xf4\x8f\xbf\xbf", "0x00", "1e999", "-0",
	};
	client this = start(*state, notes_models);
	size_t n = sizeof texts / sizeof texts[0];
	for (size_t i = 0; i < n; i++)
		orm_add(this.session, Note, .title = texts[i], .body = texts[i]);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	orm_session_clear(this.session);
	Note_list notes = orm_all(this.session, Note);
	assert_int_equal(notes.len, n);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(notes.items[i]->title, texts[i]);
		assert_string_equal(notes.items[i]->body, texts[i]);
		assert_ptr_equal(orm_first(this.session, Note, .title = texts[i]), notes.items[i]);
		orm_query *query = orm_select(this.session, Note);
		orm_where(query, Note, body, ORM_EQ, texts[i]);
		assert_int_equal(orm_query_count(query), 1);
		orm_query_free(query);
	}
	stop(&this);
}

static void text_that_is_not_utf8_is_refused_by_name(void **state)
{
	static const char *const texts[] = {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "caf\xe9"};
	client this = start(*state, notes_models);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		Note *good = orm_add(this.session, Note, .title = "good"), *bad = orm_add(this.session, Note, .title = texts[i]);
		assert_int_equal(orm_commit(this.session), ORM_EINVAL);
		assert_string_equal(orm_session_error(this.session)->model, "Note");
		assert_string_equal(orm_session_error(this.session)->column, "title");
		assert_non_null(strstr(orm_session_error(this.session)->message, "UTF-8"));
		assert_int_equal(place_number(*state, "SELECT count(*) FROM notes"), 2 * i);
		/* Mended, it goes on; nothing is lost. */
		bad->title = "mended";
		orm_session_clear_error(this.session);
		assert_int_equal(orm_commit(this.session), ORM_OK);
		assert_int_equal(good->id, 2 * i + 1);
		assert_int_equal(place_number(*state, "SELECT count(*) FROM notes"), 2 * i + 2);
	}
	/* Neither is it looked for. */
	assert_null(orm_first(this.session, Note, .title = "\xff"));
	assert_int_equal(orm_session_error(this.session)->code, ORM_EINVAL);
	orm_rollback(this.session);
	stop(&this);
}

static void text_that_is_too_long_is_refused_by_name(void **state)
{
	client this = start(*state, notes_models);
	char   exact[41 * 2 + 1] = "", over[41 * 2 + 1] = "";
	for (int i = 0; i < 41; i++) {
		if (i < 40)
			strcat(exact, "\xc3\xa9"); /* characters, not bytes */
		strcat(over, "\xc3\xa9");
	}
	orm_add(this.session, Note, .title = exact);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	Note *note = orm_add(this.session, Note, .title = over);
	assert_int_equal(orm_commit(this.session), ORM_EINVAL);
	assert_string_equal(orm_session_error(this.session)->model, "Note");
	assert_string_equal(orm_session_error(this.session)->column, "title");
	assert_non_null(strstr(orm_session_error(this.session)->message, "40"));
	note->title = NULL; /* nor may it be NULL */
	orm_session_clear_error(this.session);
	orm_status status = orm_commit(this.session);
	assert_true(status == ORM_EINVAL || status == ORM_ECONSTRAINT);
	assert_string_equal(orm_session_error(this.session)->column, "title");
	note->title = "short";
	orm_session_clear_error(this.session);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes"), 2);
	stop(&this);
}

static void a_large_value_makes_the_whole_way(void **state)
{
	client this = start(*state, notes_models);
	size_t size = place_scaled(8 << 20);
	char  *body = malloc(size + 1);
	assert_non_null(body);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + i % 26);
	body[size] = '\0';
	Note *note = orm_add(this.session, Note, .title = "large", .body = body);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	orm_session_clear(this.session);
	note = orm_get(this.session, Note, 1);
	assert_non_null(note);
	assert_int_equal(strlen(note->body), size);
	assert_memory_equal(note->body, body, size);
	/* What is larger than any message is refused, and the session goes on. */
	char *huge = malloc((32 << 20) + 1);
	assert_non_null(huge);
	memset(huge, 'x', 32 << 20);
	huge[32 << 20] = '\0';
	note->body = huge;
	orm_status status = orm_commit(this.session);
	assert_true(status == ORM_ELIMIT || status == ORM_EINVAL);
	orm_rollback(this.session);
	assert_memory_equal(note->body, body, size);
	note->title = "still there";
	assert_int_equal(orm_commit(this.session), ORM_OK);
	free(huge);
	free(body);
	stop(&this);
}

/* ---- names ---- */

ORM_DECLARE(Odd);

struct Odd {
	int64_t     id;
	const char *name;
	int64_t     number;
};

static const orm_field Odd_fields[] = {
	{ ORM_COLUMN(Odd, id), .primary_key = true, .column = "the \"id\"" },
	{ ORM_COLUMN(Odd, name), .column = "a\"b'c]d`e", .unique = true },
	{ ORM_COLUMN(Odd, number), .column = "select", .index = true },
};
ORM_MODEL(Odd, "odd \"table\"; --", Odd_fields);

static const orm_model *const odd_models[] = { &Odd_model, NULL };

static void names_are_quoted_wherever_they_go(void **state)
{
	client this = start(*state, odd_models);
	Odd   *odd = orm_add(this.session, Odd, .name = "one", .number = 1);
	orm_add(this.session, Odd, .name = "two", .number = 2);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	odd->number = 11;
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_ptr_equal(orm_first(this.session, Odd, .name = "one", .number = 11), odd);
	assert_int_equal(place_number(*state, "SELECT \"select\" FROM \"odd \"\"table\"\"; --\" WHERE \"a\"\"b'c]d`e\" = 'one' AND \"the \"\"id\"\"\" = 1"), 11);
	orm_add(this.session, Odd, .name = "one");
	assert_int_equal(orm_commit(this.session), ORM_ECONSTRAINT);
	assert_string_equal(orm_session_error(this.session)->model, "Odd");
	orm_rollback(this.session);
	orm_delete(this.session, odd);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_int_equal(orm_drop_all(this.db), ORM_OK);
	stop(&this);
}

/* ---- addresses and schemas ---- */

static void a_wrong_url_is_told(void **state)
{
	static const struct { const char *url; orm_status code; const char *said; } cases[] = {
		{"", ORM_EINVAL, "sqlite:///"},
		{"shop.db", ORM_EINVAL, "sqlite:///"},
		{"sqlite://shop.db", ORM_EINVAL, "sqlite"},
		{"http://localhost/", ORM_EINVAL, "http"},
		{"postgresql:///shop?host=/no/such/directory", ORM_EUNAVAILABLE, "/no/such/directory"},
		{"mysql://localhost/shop?socket=/no/such/socket", ORM_EUNAVAILABLE, "/no/such/socket"},
		{"sqlite:////no/such/directory/shop.db", ORM_ENOTFOUND, "/no/such/directory"},
		{"ipc:///no/such/directory/ormd.sock", ORM_EUNAVAILABLE, "ormd.sock"},
		{"tcp://127.0.0.1:1", ORM_EUNAVAILABLE, "127.0.0.1"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		orm_db *db = orm_connect_with(cases[i].url, notes_models, &(orm_connect_options){.timeout_ms = 5000});
		if (orm_db_error(db)->code != cases[i].code || !strstr(orm_db_error(db)->message, cases[i].said))
			fail_msg("'%s': %s %s", cases[i].url, orm_status_name(orm_db_error(db)->code), orm_db_error(db)->message);
		/* Whoever goes on without looking gets the same error everywhere, and no crash. */
		orm_session *session = orm_session_open(db);
		assert_null(orm_add(session, Note, .title = "nowhere"));
		assert_null(orm_get(session, Note, 1));
		assert_int_equal(orm_all(session, Note).len, 0);
		assert_int_equal(orm_commit(session), cases[i].code);
		assert_string_equal(orm_session_error(session)->message, orm_db_error(db)->message);
		orm_session_close(session);
		orm_disconnect(db);
	}
}

static void a_table_that_is_missing_is_told(void **state)
{
	const test_place *place = *state;
	client            this = {.db = orm_connect(place->ormd.address, notes_models)};
	this.session = orm_session_open(this.db);
	assert_null(orm_first(this.session, Note));
	assert_int_equal(orm_session_error(this.session)->code, ORM_EDATABASE);
	assert_non_null(strstr(orm_session_error(this.session)->message, "orm_create_all"));
	orm_rollback(this.session);
	orm_add(this.session, Note, .title = "homeless");
	assert_int_not_equal(orm_commit(this.session), ORM_OK);
	assert_non_null(strstr(orm_session_error(this.session)->message, "orm_create_all"));
	orm_rollback(this.session);
	assert_int_equal(orm_create_all(this.db), ORM_OK);
	orm_add(this.session, Note, .title = "housed");
	assert_int_equal(orm_commit(this.session), ORM_OK);
	/* Dropped behind the server's back. */
	engine_run(place->url, "DROP TABLE notes");
	assert_null(orm_first(this.session, Note, .title = "housed"));
	assert_non_null(strstr(orm_session_error(this.session)->message, "orm_create_all"));
	orm_rollback(this.session);
	stop(&this);
}

/* ---- a full disk ---- */

static test_place *small_place(void)
{
	static test_place place;
	place = (test_place){.directory = support_tempdir()};
	support_join(place.database, place.directory, "test.db");
	snprintf(place.url, sizeof place.url, "sqlite:///%s", place.database);
	return &place;
}

/* No file of the server's may grow above 2 MiB: an I/O error whenever it happens. */
static int set_up_limited(void **state)
{
	test_place   *place = small_place();
	struct rlimit before;
	getrlimit(RLIMIT_FSIZE, &before);
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 2 << 20, .rlim_max = before.rlim_max});
	signal(SIGXFSZ, SIG_IGN); /* inherited: the write fails instead */
	support_ormd_start(&place->ormd, place->directory, place->url, NULL, NULL);
	setrlimit(RLIMIT_FSIZE, &before);
	*state = place;
	return 0;
}

/* A file system of 2 MiB, where the test may mount one; else ormd does not run, and the test is skipped. */
static int set_up_mounted(void **state)
{
	test_place *place = small_place();
	*state = place;
	if (mount("ormd-test", place->directory, "tmpfs", 0, "size=2m") == 0)
		support_ormd_start(&place->ormd, place->directory, place->url, NULL, NULL);
	return 0;
}

static int tear_down_mounted(void **state)
{
	test_place *place = *state;
	int         status = place->ormd.process.pid ? support_ormd_stop(&place->ormd) : 0;
	umount2(place->directory, MNT_DETACH);
	support_tempdir_remove(place->directory);
	return status;
}

static bool commit_a_large_note(client *this, int number)
{
	static char body[32 << 10];
	memset(body, 'x', sizeof body - 1);
	orm_add(this->session, Note, .title = orm_printf(this->session, "note %d", number), .body = body);
	return orm_commit(this->session) == ORM_OK;
}

static void a_full_disk_loses_nothing_that_was_acknowledged(void **state)
{
	const test_place *place = *state;
	int64_t           n_acknowledged = 0;
	int               n_failures = 0;
	if (!place->ormd.process.pid)
		skip();
	client this = start(place, notes_models);
	for (int i = 0; i < 300 && n_failures < 5; i++) {
		if (commit_a_large_note(&this, i)) {
			n_acknowledged++;
			continue;
		}
		n_failures++;
		assert_int_equal(orm_session_error(this.session)->code, ORM_EDATABASE);
		assert_int_equal(orm_rollback(this.session), ORM_OK);
	}
	assert_int_equal(n_failures, 5);
	assert_true(n_acknowledged > 10);
	assert_int_equal(orm_count(this.session, Note), n_acknowledged); /* reading goes on */
	stop(&this);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), n_acknowledged);
	assert_true(place_is_sound(place));
}

/* A write that fails in the middle of a commit may leave open what became of it, and says so; once the disk works again it is known. */
static void an_io_error_is_settled_when_the_disk_works_again(void **state)
{
	const test_place   *place = *state;
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	int64_t             n_committed = 0;
	client              this = start(place, notes_models);
	while (n_committed < 300 && commit_a_large_note(&this, (int)n_committed))
		n_committed++;
	assert_in_range(n_committed, 10, 299);
	orm_status status = orm_session_error(this.session)->code;
	/* ELOST: the commit before was in doubt, had been done, and was the session's last. */
	if (status != ORM_EUNKNOWN && status != ORM_EDATABASE && status != ORM_ERETRY && status != ORM_ELOST)
		fail_msg("%s %s", orm_status_name(status), orm_session_error(this.session)->message);
	assert_int_equal(prlimit(place->ormd.process.pid, RLIMIT_FSIZE, &none, NULL), 0);
	if (status == ORM_EUNKNOWN) {
		assert_int_equal(orm_rollback(this.session), ORM_EUNKNOWN); /* it cannot be wished away */
		status = orm_commit_outcome(this.session);
		assert_true(status == ORM_OK || status == ORM_EABORTED);
		n_committed += status == ORM_OK;
	}
	if (status != ORM_EDATABASE && status != ORM_ERETRY) {
		orm_session_close(this.session);
		this.session = orm_session_open(this.db);
	} else {
		orm_rollback(this.session);
	}
	assert_int_equal(orm_count(this.session, Note), n_committed);
	assert_true(commit_a_large_note(&this, (int)n_committed++));
	stop(&this);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), n_committed);
	assert_true(place_is_sound(place));
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(odd_text_is_kept_to_the_byte),
		IN_A_PLACE(text_that_is_not_utf8_is_refused_by_name),
		IN_A_PLACE(text_that_is_too_long_is_refused_by_name),
		IN_A_PLACE(a_large_value_makes_the_whole_way),
		IN_A_PLACE(names_are_quoted_wherever_they_go),
		IN_A_PLACE(a_wrong_url_is_told),
		IN_A_PLACE(a_table_that_is_missing_is_told),
		cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_that_was_acknowledged, set_up_mounted, tear_down_mounted),
		cmocka_unit_test_setup_teardown(an_io_error_is_settled_when_the_disk_works_again, set_up_limited, place_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
