/* SPDX-License-Identifier: MIT */
/* Nobody starts a server by hand: programs that know a database's URL find its server, or start it, and there is one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define N_RACERS 20

/* In a process of its own: connect when told to, add a note, and say who served. Stays until its input ends. */
static int race(const char *url, const char *idle)
{
	char line[16];
	if (!fgets(line, sizeof line, stdin))
		return 2;
	orm_db      *db = orm_connect_with(url, notes_models, &(orm_connect_options){.idle_timeout_ms = atoi(idle)});
	orm_session *session = orm_session_open(db);
	orm_create_all(db);
	orm_add(session, Note, .title = "racer");
	orm_commit(session);
	printf("%s %s%s\n", orm_db_address(db) ? orm_db_address(db) : "none", orm_db_error(db)->message, orm_session_error(session)->message);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		;
	orm_session_close(session);
	orm_disconnect(db);
	return 0;
}

static void start_racer(support_process *process, const char *url, const char *idle_ms)
{
	const char *const argv[] = {program_invocation_name, "race", url, idle_ms, NULL};
	assert_true(support_process_start(process, &(support_command){.argv = argv, .pipe_stdin = true, .pipe_stdout = true}));
}

static void end_racer(support_process *process)
{
	int status;
	close(process->stdin_fd);
	process->stdin_fd = -1;
	assert_true(support_process_wait(process, SUPPORT_PATIENCE_MS, &status));
	assert_int_equal(status, 0);
	support_process_fini(process);
}

static void twenty_that_race_get_one_server(void **state)
{
	const test_place *place = *state;
	support_process   racers[N_RACERS];
	char              first[300], line[300];
	for (int i = 0; i < N_RACERS; i++)
		start_racer(&racers[i], place->url, "200");
	for (int i = 0; i < N_RACERS; i++)
		assert_true(support_write_text(racers[i].stdin_fd, "go\n"));
	for (int i = 0; i < N_RACERS; i++) {
		assert_true(support_read_line(racers[i].stdout_fd, i ? line : first, sizeof line, SUPPORT_PATIENCE_MS));
		assert_string_equal(i ? line : first, first); /* one address, no errors */
	}
	assert_int_equal(strncmp(first, "ipc://", 6), 0);
	assert_string_equal(strchr(first, ' '), " ");
	pid_t pid = place_server(place);
	assert_true(pid > 0);
	assert_int_equal(place_number(place, "SELECT count(*) FROM notes"), N_RACERS);
	/* The server stays as long as anybody is connected, and ends by itself after the last. */
	for (int i = 0; i < N_RACERS; i++) {
		assert_int_equal(place_server(place), pid);
		end_racer(&racers[i]);
	}
	assert_int_equal(place_wait_server(pid), 0);
	assert_int_equal(place_server(place), 0);
}

static void a_dead_server_is_replaced(void **state)
{
	const test_place *place = *state;
	orm_db           *db = place_connect(place, notes_models);
	orm_session      *session = orm_session_open(db);
	orm_add(session, Note, .title = "first");
	assert_int_equal(orm_commit(session), ORM_OK);
	pid_t pid = place_server(place);
	kill(pid, SIGKILL);
	assert_int_equal(place_wait_server(pid), 128 + SIGKILL);
	/* The session is lost, and says so; the connection finds the next server. */
	orm_add(session, Note, .title = "lost");
	assert_int_equal(orm_flush(session), ORM_ELOST);
	orm_session_close(session);
	session = orm_session_open(db);
	assert_int_equal(orm_count(session, Note), 1);
	orm_session_close(session);
	assert_int_not_equal(place_server(place), pid);
	/* As does a new connection. */
	pid = place_server(place);
	kill(pid, SIGKILL);
	assert_int_equal(place_wait_server(pid), 128 + SIGKILL);
	orm_db *another = place_connect(place, notes_models);
	assert_true(place_server(place) > 0);
	orm_disconnect(another);
	orm_disconnect(db);
}

static void two_spellings_of_a_file_are_one_database(void **state)
{
	const test_place *place = *state;
	char              url[3 * SUPPORT_PATH_SIZE], link_path[SUPPORT_PATH_SIZE];
	if (engine_under_test() != ENGINE_SQLITE)
		skip();
	orm_db           *db = place_connect(place, notes_models);
	support_join(link_path, place->directory, "link.db");
	assert_int_equal(symlink(place->database, link_path), 0);
	snprintf(url, sizeof url, "sqlite:///%s/../%s/link.db", place->directory, strrchr(place->directory, '/') + 1);
	orm_db *other = orm_connect(url, notes_models);
	assert_string_equal(orm_db_error(other)->message, "");
	assert_string_equal(orm_db_address(other), orm_db_address(db));
	orm_disconnect(other);
	orm_disconnect(db);
}

static void a_database_in_memory_is_private(void **state)
{
	(void)state;
	orm_db      *one = orm_connect("sqlite:///:memory:", notes_models), *two = orm_connect("sqlite:///:memory:", notes_models);
	orm_session *session;
	assert_string_equal(orm_db_error(one)->message, "");
	assert_string_equal(orm_db_error(two)->message, "");
	assert_string_not_equal(orm_db_address(one), orm_db_address(two));
	assert_int_equal(orm_create_all(one), ORM_OK);
	assert_int_equal(orm_create_all(two), ORM_OK);
	session = orm_session_open(one);
	orm_add(session, Note, .title = "private");
	assert_int_equal(orm_commit(session), ORM_OK);
	assert_int_equal(orm_count(session, Note), 1);
	orm_session_close(session);
	session = orm_session_open(one); /* it lives as long as the connection */
	assert_int_equal(orm_count(session, Note), 1);
	orm_session_close(session);
	session = orm_session_open(two);
	assert_int_equal(orm_count(session, Note), 0);
	orm_session_close(session);
	orm_disconnect(one);
	orm_disconnect(two);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up_unserved, place_tear_down_unserved)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(twenty_that_race_get_one_server),
		IN_A_PLACE(a_dead_server_is_replaced),
		IN_A_PLACE(two_spellings_of_a_file_are_one_database),
		IN_A_PLACE(a_database_in_memory_is_private),
	};
	if (argc == 4 && strcmp(argv[1], "race") == 0)
		return race(argv[2], argv[3]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
