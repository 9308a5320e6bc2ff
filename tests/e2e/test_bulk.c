/* SPDX-License-Identifier: MIT */
/* A hundred thousand objects through the server: added, queried, changed, deleted. $E2E_DIVIDE makes them fewer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"

#define N_OBJECTS 100000
#define N_PERSONS 100

static void add(const test_place *place, size_t n)
{
	orm_db      *db = place_connect(place, notes_models);
	orm_session *session = orm_session_open(db);
	Person      *persons[N_PERSONS];
	for (int i = 0; i < N_PERSONS; i++)
		persons[i] = orm_add(session, Person, .name = orm_printf(session, "person %d", i));
	for (size_t i = 0; i < n; i++)
		orm_add(session, Note, .title = orm_printf(session, "note %zu", i), .body = i % 3 ? orm_printf(session, "body of %zu", i) : NULL,
		        .score = {i % 2 == 0, (int64_t)(i % 1000)}, .owner = persons[i % N_PERSONS]);
	assert_int_equal(orm_commit(session), ORM_OK);
	orm_session_close(session);
	orm_disconnect(db);
}

static void check_added(const test_place *place, size_t n)
{
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), n);
	/* Row by row: the k-th note (keys from 1) has all of its values. */
	assert_int_equal(place_number(place, "SELECT count(*) FROM (SELECT *, id - 1 AS i FROM notes) AS n WHERE title = 'note ' || i "
	                                     "AND COALESCE(body, 'none') = CASE WHEN i % 3 <> 0 THEN 'body of ' || i ELSE 'none' END "
	                                     "AND COALESCE(score, -1) = CASE WHEN i % 2 = 0 THEN i % 1000 ELSE -1 END "
	                                     "AND owner_id = i % 100 + 1 AND version = 1"), n);
}

static void query(orm_session *session, size_t n)
{
	Note_list notes = orm_all(session, Note);
	size_t    n_bodies = 0;
	assert_int_equal(notes.len, n);
	for (size_t i = 0; i < notes.len; i++) {
		char title[32];
		snprintf(title, sizeof title, "note %zu", i);
		assert_string_equal(notes.items[i]->title, title);
		n_bodies += notes.items[i]->body != NULL;
	}
	assert_int_equal(n_bodies, n - (n + 2) / 3);
	orm_query *high = orm_select(session, Note);
	orm_where(high, Note, score, ORM_GE, 500);
	orm_where(high, Note, score, ORM_LT, 502);
	Note_list found = orm_query_all(high, Note);
	assert_int_equal(found.len, orm_query_count(high));
	for (size_t i = 0; i < found.len; i++) {
		assert_int_equal(found.items[i]->score.value, 500);
		assert_ptr_equal(found.items[i], notes.items[found.items[i]->id - 1]);
	}
	orm_query_free(high);
	Person_list persons = orm_all(session, Person);
	size_t      n_owned = 0;
	orm_load_each(session, persons, Person, notes);
	for (size_t i = 0; i < persons.len; i++)
		n_owned += persons.items[i]->notes.len;
	assert_int_equal(n_owned, n);
}

static void change(orm_session *session)
{
	Note_list notes = orm_all(session, Note);
	for (size_t i = 0; i < notes.len; i++) {
		notes.items[i]->title = orm_printf(session, "changed %zu", i);
		if (i % 2)
			notes.items[i]->body = NULL;
		else
			notes.items[i]->score = (orm_opt_int64){true, 7};
	}
	assert_int_equal(orm_commit(session), ORM_OK);
	for (size_t i = 0; i < notes.len; i++)
		assert_int_equal(notes.items[i]->version, 2);
}

static void check_changed(const test_place *place, size_t n)
{
	assert_int_equal(place_number(place, "SELECT count(*) FROM (SELECT *, id - 1 AS i FROM notes) AS n WHERE title = 'changed ' || i "
	                                     "AND COALESCE(body, 'none') = CASE WHEN i % 2 = 0 AND i % 3 <> 0 THEN 'body of ' || i ELSE 'none' END "
	                                     "AND COALESCE(score, -1) = CASE WHEN i % 2 = 0 THEN 7 ELSE -1 END AND owner_id = i % 100 + 1 AND version = 2"), n);
}

static void delete(orm_session *session)
{
	Note_list notes = orm_all(session, Note);
	size_t    n = notes.len;
	for (size_t i = 0; i < n; i++) {
		if (i % 10)
			orm_delete(session, notes.items[i]);
	}
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(orm_count(session, Note), (n + 9) / 10);
}

static void many_objects_through_the_server(void **state)
{
	const test_place *place = *state;
	size_t            n = place_scaled(N_OBJECTS);
	add(place, n);
	check_added(place, n);

	orm_db      *db = place_connect(place, notes_models);
	orm_session *session = orm_session_open(db);
	query(session, n);
	change(session);
	check_changed(place, n);
	delete(session);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes WHERE id % 10 = 1"), (n + 9) / 10);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), (n + 9) / 10);
	assert_true(place_is_sound(place));
	assert_string_equal(orm_session_error(session)->message, "");
	orm_session_close(session);
	orm_disconnect(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_objects_through_the_server, place_set_up, place_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
