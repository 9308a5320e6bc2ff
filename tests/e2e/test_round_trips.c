/* SPDX-License-Identifier: MIT */
/* What travels when: the number of requests is part of the library's promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"

#define N_ADDS 2000

typedef struct client {
	orm_db      *db;
	orm_session *session;
	uint64_t     n_requests; /* at the last look */
} client;

static client start(const test_place *place)
{
	client this = {.db = place_connect(place, notes_models)};
	this.session = orm_session_open(this.db);
	assert_int_equal(orm_session_error(this.session)->code, ORM_OK);
	this.n_requests = orm_db_requests(this.db);
	return this;
}

static void stop(client *this)
{
	assert_string_equal(orm_session_error(this->session)->message, "");
	orm_session_close(this->session);
	orm_disconnect(this->db);
}

/* Since the last look. */
static int requests(client *this)
{
	uint64_t before = this->n_requests;
	this->n_requests = orm_db_requests(this->db);
	return (int)(this->n_requests - before);
}

/* Persons with so many notes each, committed, and forgotten by the session. */
static void fill(client *this, int n_persons, int n_notes)
{
	for (int i = 0; i < n_persons; i++) {
		Person *person = orm_add(this->session, Person, .name = orm_printf(this->session, "person %d", i));
		for (int k = 0; k < n_notes; k++)
			orm_add(this->session, Note, .title = "a note", .owner = person);
	}
	assert_int_equal(orm_commit(this->session), ORM_OK);
	orm_session_clear(this->session);
	requests(this);
}

static void many_adds_and_a_commit_are_one_request(void **state)
{
	client this = start(*state);
	Note  *notes[N_ADDS];
	for (int i = 0; i < N_ADDS; i++)
		notes[i] = orm_add(this.session, Note, .title = orm_printf(this.session, "note %d", i));
	assert_int_equal(requests(&this), 0);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_int_equal(requests(&this), 1);
	for (int i = 0; i < N_ADDS; i++)
		assert_int_equal(notes[i]->id, i + 1);
	assert_int_equal(requests(&this), 0);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes WHERE title = 'note ' || (id - 1)"), N_ADDS);
	stop(&this);
}

static void changes_and_deletes_are_one_request(void **state)
{
	client this = start(*state);
	fill(&this, 1, N_ADDS);
	Note_list notes = orm_all(this.session, Note);
	requests(&this);
	for (size_t i = 0; i < notes.len; i++) {
		if (i % 2)
			orm_delete(this.session, notes.items[i]);
		else
			notes.items[i]->title = "changed";
	}
	assert_int_equal(requests(&this), 0);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_int_equal(requests(&this), 1);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes WHERE title = 'changed'"), N_ADDS / 2);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes"), N_ADDS / 2);
	stop(&this);
}

static void a_mirrored_object_is_got_without_a_request(void **state)
{
	client this = start(*state);
	fill(&this, 1, 3);
	Note *note = orm_get(this.session, Note, 2);
	assert_int_equal(requests(&this), 1);
	assert_ptr_equal(orm_get(this.session, Note, 2), note);
	assert_int_equal(requests(&this), 0);
	Note *found = orm_first(this.session, Note, .id = 3);
	assert_int_equal(requests(&this), 1);
	assert_ptr_equal(orm_get(this.session, Note, 3), found);
	assert_int_equal(requests(&this), 0);
	assert_null(orm_get(this.session, Note, 77));
	assert_int_equal(requests(&this), 1);
	/* After a commit the objects stay. */
	note->title = "again";
	orm_commit(this.session);
	assert_int_equal(requests(&this), 1);
	assert_ptr_equal(orm_get(this.session, Note, 2), note);
	assert_int_equal(requests(&this), 0);
	stop(&this);
}

static void what_is_pending_travels_with_the_next_query(void **state)
{
	client this = start(*state);
	Person *person = orm_add(this.session, Person, .name = "Ada");
	orm_add(this.session, Note, .title = "hers", .owner = person);
	assert_int_equal(requests(&this), 0);
	assert_int_equal(orm_count(this.session, Note, .title = "hers"), 1);
	assert_int_equal(requests(&this), 1);
	assert_int_equal(person->id, 1);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	assert_int_equal(requests(&this), 1);
	stop(&this);
}

static void each_of_these_is_one_request(void **state)
{
	client this = start(*state);
	fill(&this, 5, 4);
	Person_list persons = orm_all(this.session, Person);
	assert_int_equal(persons.len, 5);
	assert_int_equal(requests(&this), 1);
	orm_load_each(this.session, persons, Person, notes);
	assert_int_equal(requests(&this), 1);
	for (size_t i = 0; i < persons.len; i++) {
		assert_int_equal(persons.items[i]->notes.len, 4);
		orm_load(this.session, persons.items[i], &persons.items[i]->notes); /* loaded already */
		assert_ptr_equal(persons.items[i]->notes.items[0]->owner, persons.items[i]);
	}
	orm_load_each(this.session, persons, Person, notes);
	assert_int_equal(requests(&this), 0);
	assert_true(orm_exists(this.session, Person, .name = "person 3"));
	assert_int_equal(requests(&this), 1);
	orm_refresh(this.session, persons.items[0]);
	assert_int_equal(requests(&this), 1);
	orm_rollback(this.session);
	assert_int_equal(requests(&this), 1);
	orm_flush(this.session);
	assert_true(requests(&this) <= 1);
	stop(&this);
}

static void a_query_with_related_objects_is_one_stream(void **state)
{
	client this = start(*state);
	fill(&this, 20, 10);
	orm_query *query = orm_select(this.session, Person);
	orm_with(query, Person, notes);
	Person_list persons = orm_query_all(query, Person);
	assert_int_equal(persons.len, 20);
	assert_int_equal(requests(&this), 1);
	for (size_t i = 0; i < persons.len; i++) {
		assert_int_equal(persons.items[i]->notes.len, 10);
		assert_ptr_equal(persons.items[i]->notes.items[9]->owner, persons.items[i]);
	}
	orm_query_free(query);
	assert_int_equal(requests(&this), 0);
	stop(&this);
}

/* A result of several megabytes comes in pieces; they are as large as to make the requests few. */
static void a_long_result_comes_in_few_pieces(void **state)
{
	client this = start(*state);
	static char body[1001];
	for (size_t i = 0; i + 1 < sizeof body; i++)
		body[i] = 'x';
	for (int i = 0; i < 8000; i++)
		orm_add(this.session, Note, .title = "long", .body = body);
	assert_int_equal(orm_commit(this.session), ORM_OK);
	orm_session_clear(this.session);
	requests(&this);
	Note_list notes = orm_all(this.session, Note);
	assert_int_equal(notes.len, 8000);
	assert_string_equal(notes.items[7999]->body, body);
	assert_in_range(requests(&this), 1, 64);
	stop(&this);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(many_adds_and_a_commit_are_one_request),
		IN_A_PLACE(changes_and_deletes_are_one_request),
		IN_A_PLACE(a_mirrored_object_is_got_without_a_request),
		IN_A_PLACE(what_is_pending_travels_with_the_next_query),
		IN_A_PLACE(each_of_these_is_one_request),
		IN_A_PLACE(a_query_with_related_objects_is_one_stream),
		IN_A_PLACE(a_long_result_comes_in_few_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
