/* SPDX-License-Identifier: MIT */
/* After fork() a connection stays the parent's: the child is refused, connects anew, and both work. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define N_CHILDREN 32

/* In a child cmocka's assertions would run the rest of the tests: the line of the first untruth is its exit status. */
#define HOLDS(condition)                                                                                                                     \
	do {                                                                                                                                 \
		if (!(condition))                                                                                                            \
			return __LINE__ & 0xff;                                                                                              \
	} while (0)

static int exit_status(pid_t pid)
{
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int try_everything(orm_db *db, orm_session *session, Note *note)
{
	size_t n;
	HOLDS(orm_db_error(db)->code == ORM_EFORKED);
	HOLDS(orm_session_error(session)->code == ORM_EFORKED);
	HOLDS(orm_create_all(db) == ORM_EFORKED);
	HOLDS(orm_drop_all(db) == ORM_EFORKED);
	HOLDS(orm_get(session, Note, 1) == NULL);
	HOLDS(orm_first(session, Note) == NULL);
	HOLDS(orm_all(session, Note).len == 0);
	HOLDS(orm_count(session, Note) == ORM_EFORKED);
	HOLDS(orm_add(session, Note, .title = "of the child") == NULL);
	orm_delete(session, note);
	HOLDS(orm_load(session, note, &note->owner) == ORM_EFORKED);
	HOLDS(orm_refresh(session, note) == ORM_EFORKED);
	HOLDS(orm_flush(session) == ORM_EFORKED);
	HOLDS(orm_commit(session) == ORM_EFORKED);
	HOLDS(orm_rollback(session) == ORM_EFORKED);
	HOLDS(orm_wait(session, 1) == ORM_EFORKED);
	HOLDS(orm_conflicts(session, &n) == NULL || n == 0);
	orm_session *another = orm_session_open(db);
	HOLDS(orm_session_error(another)->code == ORM_EFORKED);
	orm_session_close(another);
	orm_session_close(session);
	orm_disconnect(db);
	return 0;
}

static int connect_anew(const char *address, int number)
{
	orm_db      *db = orm_connect(address, notes_models);
	orm_session *session = orm_session_open(db);
	orm_add(session, Note, .title = orm_printf(session, "child %d", number));
	HOLDS(orm_commit(session) == ORM_OK);
	orm_session_close(session);
	orm_disconnect(db);
	return 0;
}

static void a_child_is_refused_and_the_parent_goes_on(void **state)
{
	const test_place *place = *state;
	orm_db           *db = place_connect(place, notes_models);
	orm_session      *session = orm_session_open(db);
	Note             *note = orm_add(session, Note, .title = "first");
	orm_commit(session);
	note->title = "pending";
	pid_t pid = fork();
	if (pid == 0)
		_exit(try_everything(db, session, note));
	assert_int_equal(exit_status(pid), 0);
	assert_string_equal(note->title, "pending");
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes WHERE title = 'pending'"), 1);
	assert_int_equal(orm_count(session, Note), 1);
	orm_session_close(session);
	orm_disconnect(db);
}

static void a_child_that_just_ends_does_no_harm(void **state)
{
	const test_place *place = *state;
	orm_db           *db = place_connect(place, notes_models);
	orm_session      *session = orm_session_join(db, "unit", NULL);
	orm_add(session, Note, .title = "published");
	orm_flush(session);
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(exit_status(pid), 0);
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), 1);
	orm_session_close(session);
	orm_disconnect(db);
}

static void children_connect_anew(void **state)
{
	const test_place *place = *state;
	orm_db           *db = place_connect(place, notes_models);
	orm_session      *session = orm_session_open(db);
	size_t            n = place_scaled(N_CHILDREN);
	pid_t             children[N_CHILDREN + 1];
	assert_int_equal(orm_count(session, Note), 0);
	for (size_t i = 0; i < n; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(connect_anew(place->ormd.address, (int)i));
		assert_true(children[i] > 0);
	}
	orm_add(session, Note, .title = "of the parent");
	assert_int_equal(orm_commit(session), ORM_OK);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(exit_status(children[i]), 0);
	assert_int_equal(orm_count(session, Note), n + 1);
	assert_int_equal(place_number(place, "SELECT count(DISTINCT title) FROM notes WHERE title LIKE 'child %'"), n);
	orm_session_close(session);
	orm_disconnect(db);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(a_child_is_refused_and_the_parent_goes_on),
		IN_A_PLACE(a_child_that_just_ends_does_no_harm),
		IN_A_PLACE(children_connect_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
