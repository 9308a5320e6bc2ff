/* SPDX-License-Identifier: MIT */
/* The server dies at each step of a commit: the client learns what became of it, and the database agrees. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"

#define MOST_HITS 4

static const struct step {
	const char *name;
	bool        committed; /* what the database has when the server dies there */
} steps[] = {
	{"after-key-insert", false}, {"after-flush", false}, {"before-commit", false}, {"after-commit", true}, {"before-reply", true},
};

/* End the server that runs, so that the next connection starts another. */
static void end_server(const test_place *place)
{
	pid_t pid = place_server(place);
	assert_true(pid > 0);
	kill(pid, SIGTERM);
	assert_int_equal(place_wait_server(pid), 0);
}

/* A connection whose server dies when it passes the step for the n-th time; its successors do not. */
static orm_db *connect_to_the_doomed(const test_place *place, const char *step, int n_hits)
{
	char wish[64];
	snprintf(wish, sizeof wish, "%s:%d", step, n_hits);
	setenv("ORMD_CRASH_POINT", wish, 1);
	orm_db *db = orm_connect(place->url, notes_models);
	unsetenv("ORMD_CRASH_POINT");
	assert_string_equal(orm_db_error(db)->message, "");
	return db;
}

static int64_t count_title(const test_place *place, const char *title)
{
	char sql[200];
	snprintf(sql, sizeof sql, "SELECT count(*) FROM notes n JOIN persons p ON p.id = n.owner_id AND p.name = n.title WHERE title = '%s'", title);
	return place_number(place, sql);
}

/* One commit after the other until the server dies in one; then that one's outcome. */
static void die_at(const test_place *place, const struct step *step, int n_hits)
{
	orm_db      *db = connect_to_the_doomed(place, step->name, n_hits);
	orm_session *session = orm_session_open(db);
	pid_t        doomed = place_server(place);
	for (int i = 1; i <= n_hits; i++) {
		char title[60];
		snprintf(title, sizeof title, "%s %d of %d", step->name, i, n_hits);
		Person *person = orm_add(session, Person, .name = orm_printf(session, "%s", title));
		Note   *note = orm_add(session, Note, .title = orm_printf(session, "%s", title), .owner = person);
		orm_status status = orm_commit(session);
		if (i < n_hits) {
			assert_int_equal(status, ORM_OK);
			assert_int_equal(count_title(place, title), 1);
			continue;
		}
		assert_int_equal(place_wait_server(doomed), 128 + SIGKILL);
		assert_int_equal(status, step->committed ? ORM_OK : ORM_ELOST);
		assert_int_equal(count_title(place, title), step->committed);
		if (step->committed) { /* and the structs have their keys, as after any commit */
			char sql[100];
			snprintf(sql, sizeof sql, "SELECT title FROM notes WHERE id = %" PRId64 " AND owner_id = %" PRId64, note->id, person->id);
			assert_string_equal(place_text(place, sql), title);
		}
		/* Either way the session ended with its server. */
		assert_int_equal(orm_flush(session), ORM_ELOST);
		orm_session_close(session);
		session = orm_session_open(db);
		assert_int_equal(orm_count(session, Note, .title = title), step->committed);
		if (!step->committed) {
			Person *again = orm_add(session, Person, .name = title);
			orm_add(session, Note, .title = title, .owner = again);
			assert_int_equal(orm_commit(session), ORM_OK);
		}
		assert_int_equal(count_title(place, title), 1);
	}
	assert_string_equal(orm_session_error(session)->message, "");
	orm_session_close(session);
	orm_disconnect(db);
	end_server(place);
}

static void each_death_has_a_known_outcome(void **state)
{
	const test_place *place = *state;
	int               n = 0;
	orm_disconnect(place_connect(place, notes_models));
	end_server(place);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		for (int n_hits = 1; n_hits <= MOST_HITS; n_hits++) {
			die_at(place, &steps[i], n_hits);
			n += n_hits;
		}
	}
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), n);
	assert_int_equal(place_number(place, "SELECT count(*) FROM persons"), n);
	assert_true(place_is_sound(place));
}

/* A shared session's commit: who did not ask for it loses the session as well, and is told so. */
static void the_others_of_a_session_are_told(void **state)
{
	const test_place *place = *state;
	orm_disconnect(place_connect(place, notes_models));
	end_server(place);
	orm_db      *db = connect_to_the_doomed(place, "after-commit", 1);
	orm_session *a = orm_session_join(db, "unit", NULL), *b = orm_session_join(db, "unit", NULL);
	orm_add(a, Note, .title = "by a");
	orm_add(b, Note, .title = "by b");
	assert_int_equal(orm_flush(b), ORM_OK);
	orm_add(b, Note, .title = "a draft");
	assert_int_equal(orm_commit(a), ORM_OK);
	assert_int_equal(orm_commit(b), ORM_ELOST);
	assert_string_equal(place_text(place, "SELECT title FROM notes ORDER BY title"), "by a;by b");
	orm_session_close(a);
	orm_session_close(b);
	orm_disconnect(db);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up_unserved, place_tear_down_unserved)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(each_death_has_a_known_outcome),
		IN_A_PLACE(the_others_of_a_session_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
