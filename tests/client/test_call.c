/* SPDX-License-Identifier: MIT */
/* Sessions and their calls: how many requests, what travels along, what sticks, and what follows when the server goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fake_server.h"
#include "client/models.h"
#include "support/eventually.h"
#include "support/tempdir.h"

typedef struct fixture {
	const char *dir;
	fake_server *server;
	orm_db *db;
	orm_session *s;
} fixture;

static void start(fixture *f, uint64_t max_message)
{
	f->server = fake_server_start(f->dir, "s", max_message);
}

static int set_up_with(void **state, uint64_t max_message)
{
	static fixture f;

	f = (fixture){.dir = support_tempdir()};
	start(&f, max_message);
	f.db = orm_connect(fake_server_address(f.server), test_models);
	assert_string_equal(orm_db_error(f.db)->message, "");
	f.s = orm_session_open(f.db);
	assert_string_equal(orm_session_error(f.s)->message, "");
	assert_string_equal(fake_server_log(f.server), "Connect User Post Line\nOpen\n");
	*state = &f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, 0);
}

static int set_up_small(void **state)
{
	return set_up_with(state, 16384);
}

static int tear_down(void **state)
{
	fixture *f = *state;

	orm_session_close(f->s);
	orm_disconnect(f->db);
	fake_server_stop(f->server);
	return 0;
}

#define ASKED(lines) assert_string_equal(fake_server_log(f->server), lines)

static void assert_error(orm_session *session, orm_status code, const char *part)
{
	assert_string_equal(orm_status_name(orm_session_error(session)->code), orm_status_name(code));
	if (!strstr(orm_session_error(session)->message, part))
		fail_msg("'%s' does not say '%s'", orm_session_error(session)->message, part);
}

/* ---- requests ---- */

static void two_thousand_adds_and_a_commit_are_one_request(void **state)
{
	fixture *f = *state;
	const uint64_t before = orm_db_requests(f->db);
	User *users[2000];

	for (size_t i = 0; i < 2000; i++)
		users[i] = orm_add(f->s, User, .name = "Alice", .score = (double)i);
	assert_int_equal(orm_commit(f->s), ORM_OK);
	assert_int_equal(orm_db_requests(f->db) - before, 1);
	ASKED("Commit 1 +2000\n");
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(users[i]->id, (int64_t)i + 1);
	assert_int_equal(orm_state(f->s, users[0]), ORM_PERSISTENT);
}

static void what_is_mirrored_takes_no_request(void **state)
{
	fixture *f = *state;
	uint64_t before;

	fake_server_set_rows(f->server, 5, 5);
	assert_int_equal(orm_all(f->s, User).len, 5);
	before = orm_db_requests(f->db);
	for (int i = 1; i <= 5; i++)
		assert_non_null(orm_get(f->s, User, i));
	assert_int_equal(orm_db_requests(f->db), before);
}

static void requests_of_closed_sessions_are_remembered(void **state)
{
	fixture *f = *state;
	const uint64_t before = orm_db_requests(f->db);
	orm_session *other = orm_session_open(f->db);

	orm_commit(other);
	orm_session_close(other);
	assert_int_equal(orm_db_requests(f->db) - before, 3);
	ASKED("Open\nCommit 1\nClose\n");
}

static void a_draft_larger_than_a_message_goes_in_parts(void **state)
{
	fixture *f = *state;
	const char *log;
	char *last;
	size_t n_added = 0;
	size_t n_parts = 0;

	for (size_t i = 0; i < 3000; i++)
		orm_add(f->s, User, .name = "somebody with a name that takes room");
	assert_int_equal(orm_commit(f->s), ORM_OK);
	log = fake_server_log(f->server);
	for (char *line = strtok_r((char *)(uintptr_t)log, "\n", &last); line; line = strtok_r(NULL, "\n", &last)) {
		size_t n = 0;
		char *end = strstr(line, "more");

		n_parts++;
		if (end)
			assert_int_equal(sscanf(line, "Publish +%zu more", &n), 1);
		else
			assert_int_equal(sscanf(line, "Commit 1 +%zu", &n), 1);
		n_added += n;
	}
	assert_true(n_parts > 5);
	assert_int_equal(n_added, 3000);
}

static void a_part_that_is_refused_ends_the_draft(void **state)
{
	fixture *f = *state;

	for (size_t i = 0; i < 3000; i++)
		orm_add(f->s, User, .name = "somebody with a name that takes room");
	fake_server_fail(f->server, "Publish", ORM_EINVAL, "User.name: too long");
	assert_int_equal(orm_commit(f->s), ORM_EINVAL);
	assert_null(strchr(strchr(fake_server_log(f->server), '\n') + 1, '\n'));
}

static void one_object_larger_than_a_message_is_refused(void **state)
{
	fixture *f = *state;
	char *large = malloc(20000);

	memset(large, 'x', 19999);
	large[19999] = '\0';
	orm_add(f->s, Post, .title = large);
	assert_int_equal(orm_flush(f->s), ORM_ELIMIT);
	assert_error(f->s, ORM_ELIMIT, "Post");
	ASKED("");
	free(large);
}

/* ---- failures ---- */

static void a_servers_error_is_told_whole(void **state)
{
	fixture *f = *state;
	const orm_error *error = orm_session_error(f->s);

	orm_add(f->s, User, .name = "Alice");
	fake_server_fail(f->server, "Commit", ORM_ECONSTRAINT, "User.name: there is an Alice already");
	assert_int_equal(orm_commit(f->s), ORM_ECONSTRAINT);
	assert_int_equal(error->code, ORM_ECONSTRAINT);
	assert_string_equal(error->message, "User.name: there is an Alice already");
	assert_string_equal(error->model, "User");
	assert_string_equal(error->column, "name");
	assert_string_equal(error->key, "7");
}

static void the_first_failure_sticks_until_rollback(void **state)
{
	fixture *f = *state;
	User *alice = orm_add(f->s, User, .name = "Alice");

	fake_server_fail(f->server, "Query", ORM_EDATABASE, "the disk is full");
	assert_int_equal(orm_all(f->s, User).len, 0);
	assert_error(f->s, ORM_EDATABASE, "the disk is full");
	assert_null(orm_add(f->s, User, .name = "Bob"));
	orm_delete(f->s, alice);
	assert_int_equal(orm_load(f->s, alice, &alice->posts), ORM_EDATABASE);
	assert_int_equal(orm_refresh(f->s, alice), ORM_EDATABASE);
	assert_int_equal(orm_wait(f->s, 0), ORM_EDATABASE);
	assert_int_equal(orm_commit(f->s), ORM_EDATABASE);
	ASKED("Query +1\n");

	assert_int_equal(orm_rollback(f->s), ORM_OK);
	assert_int_equal(orm_session_error(f->s)->code, ORM_OK);
	ASKED("Rollback\n");
	assert_int_equal(orm_state(f->s, alice), ORM_DETACHED);
	assert_string_equal(alice->name, "Alice");
	assert_int_equal(orm_commit(f->s), ORM_OK);
	ASKED("Commit 1\n");
}

static void a_failure_can_be_forgotten_and_the_draft_goes_on(void **state)
{
	fixture *f = *state;

	orm_add(f->s, User, .name = "Alice");
	fake_server_fail(f->server, "Commit", ORM_ECONSTRAINT, "no");
	assert_int_equal(orm_commit(f->s), ORM_ECONSTRAINT);
	orm_session_clear_error(f->s);
	assert_int_equal(orm_commit(f->s), ORM_OK);
	ASKED("Commit +1\nCommit 2 +1\n");
}

static void a_draft_that_was_taken_is_not_sent_again(void **state)
{
	fixture *f = *state;
	User *alice = orm_add(f->s, User, .name = "Alice");

	fake_server_fail_published(f->server, "Commit", ORM_ECONSTRAINT, "no");
	assert_int_equal(orm_commit(f->s), ORM_ECONSTRAINT);
	assert_int_equal(alice->id, 1);
	orm_session_clear_error(f->s);
	assert_int_equal(orm_commit(f->s), ORM_OK);
	ASKED("Commit +1\nCommit 2\n");
}

static void codes_without_details_are_translated(void **state)
{
	static const struct {
		rpc_code code;
		orm_status status;
	} codes[] = {{RPC_CANCELLED, ORM_ECANCELLED},       {RPC_UNKNOWN, ORM_EINTERNAL},
		     {RPC_INVALID_ARGUMENT, ORM_EPROTOCOL}, {RPC_NOT_FOUND, ORM_ENOTFOUND},
		     {RPC_PERMISSION_DENIED, ORM_EPERM},    {RPC_RESOURCE_EXHAUSTED, ORM_ELIMIT},
		     {RPC_UNIMPLEMENTED, ORM_EUNSUPPORTED}, {RPC_INTERNAL, ORM_EINTERNAL}};
	fixture *f = *state;

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		fake_server_fail_plainly(f->server, "Publish", codes[i].code, "in words");
		assert_int_equal(orm_flush(f->s), codes[i].status);
		assert_error(f->s, codes[i].status, "in words");
		assert_int_equal(orm_rollback(f->s), ORM_OK);
	}
}

static void a_call_without_an_answer_times_out(void **state)
{
	fixture *f = *state;

	orm_session_set_timeout(f->s, 100);
	orm_add(f->s, User, .name = "Alice");
	fake_server_hold(f->server, "Publish");
	assert_int_equal(orm_flush(f->s), ORM_ETIMEOUT);

	/* Nobody knows whether it was taken: going on with it might do it twice. */
	orm_session_clear_error(f->s);
	assert_int_equal(orm_session_error(f->s)->code, ORM_ETIMEOUT);
}

static void a_session_without_a_connection_carries_its_error(void **state)
{
	fixture *f = *state;
	orm_db *db = orm_connect("ipc:///nowhere/ormd.sock", test_models);
	orm_session *s = orm_session_open(db);

	(void)f;
	assert_int_equal(orm_db_error(db)->code, ORM_EUNAVAILABLE);
	assert_error(s, ORM_EUNAVAILABLE, "/nowhere/ormd.sock");
	assert_null(orm_add(s, User, .name = "Alice"));
	assert_null(orm_printf(s, "%d", 1));
	assert_int_equal(orm_commit(s), ORM_EUNAVAILABLE);
	assert_int_equal(orm_rollback(s), ORM_EUNAVAILABLE);
	orm_session_clear_error(s);
	assert_int_equal(orm_session_error(s)->code, ORM_EUNAVAILABLE);
	assert_int_equal(orm_create_all(db), ORM_EUNAVAILABLE);
	assert_null(orm_db_address(db));
	orm_session_close(s);
	orm_disconnect(db);
}

static void urls_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *url;
		orm_status status;
		const char *part;
	} urls[] = {{"shop.db", ORM_EINVAL, "neither a database"},
		    {"", ORM_EINVAL, "neither a database"},
		    {"http://host", ORM_EINVAL, "neither a database"},
		    {"oracle://scott:tiger@host/shop", ORM_EINVAL, "'oracle://scott@host/shop' is neither a database"},
		    {"oracle://host", ORM_EINVAL, "postgresql://HOST/NAME, mariadb://HOST/NAME or mysql://HOST/NAME"},
		    {"tls+tcp://localhost:7420", ORM_EINVAL, "set tls_ca_file and tls_cert_key_file"},
		    {"sqlite:shop.db", ORM_EINVAL, "three slashes"},
		    {"sqlite:///nowhere/at/all/shop.db", ORM_ENOTFOUND, "nowhere"}};

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		orm_db *db = orm_connect(urls[i].url, test_models);

		assert_string_equal(orm_status_name(orm_db_error(db)->code), orm_status_name(urls[i].status));
		if (!strstr(orm_db_error(db)->message, urls[i].part))
			fail_msg("'%s' does not say '%s'", orm_db_error(db)->message, urls[i].part);
		orm_disconnect(db);
	}

	orm_db *db = orm_connect("ipc:///nowhere", NULL);
	assert_int_equal(orm_db_error(db)->code, ORM_EINVAL);
	orm_disconnect(db);
}

static void everything_takes_null(void **state)
{
	(void)state;
	assert_int_equal(orm_db_error(NULL)->code, ORM_ENOMEM);
	assert_null(orm_db_address(NULL));
	assert_int_equal(orm_db_requests(NULL), 0);
	assert_int_equal(orm_create_all(NULL), ORM_ENOMEM);
	assert_null(orm_session_open(NULL));
	assert_null(orm_session_join(NULL, "x", NULL));
	orm_session_close(NULL);
	orm_disconnect(NULL);
	assert_int_equal(orm_session_error(NULL)->code, ORM_ENOMEM);
	orm_session_clear_error(NULL);
	orm_session_set_timeout(NULL, 1);
	orm_session_clear(NULL);
	orm_discard(NULL);
	assert_null(orm_printf(NULL, "x"));
	assert_int_equal(orm_flush(NULL), ORM_ENOMEM);
	assert_int_equal(orm_commit(NULL), ORM_ENOMEM);
	assert_int_equal(orm_commit_outcome(NULL), ORM_ENOMEM);
	assert_int_equal(orm_rollback(NULL), ORM_ENOMEM);
	assert_int_equal(orm_refresh(NULL, NULL), ORM_ENOMEM);
	assert_int_equal(orm_load(NULL, NULL, NULL), ORM_ENOMEM);
	assert_int_equal(orm_link(NULL, NULL, NULL, NULL), ORM_ENOMEM);
	assert_int_equal(orm_unlink(NULL, NULL, NULL, NULL), ORM_ENOMEM);
	assert_int_equal(orm_wait(NULL, 0), ORM_ENOMEM);
	assert_int_equal(orm_resolve(NULL, NULL, ORM_MINE), ORM_ENOMEM);
	assert_null(orm_conflicts(NULL, NULL));
	assert_null(orm_next_notice(NULL));
	assert_int_equal(orm_session_revision(NULL), 0);
	assert_int_equal(orm_state(NULL, NULL), ORM_DETACHED);
	assert_false(orm_is_dirty(NULL, NULL));
	orm_delete(NULL, NULL);
	orm_expire(NULL, NULL);
}

static void what_is_not_of_the_session_is_refused(void **state)
{
	fixture *f = *state;
	User stranger = {.id = 1};

	assert_int_equal(orm_load(f->s, &stranger, &stranger.posts), ORM_EINVAL);
	assert_error(f->s, ORM_EINVAL, "not one of this session");
	assert_int_equal(orm_rollback(f->s), ORM_OK);
	assert_int_equal(orm_refresh(f->s, &stranger), ORM_EINVAL);
	assert_int_equal(orm_rollback(f->s), ORM_OK);
	orm_delete(f->s, &stranger);
	assert_int_equal(orm_session_error(f->s)->code, ORM_EINVAL);
	assert_int_equal(orm_rollback(f->s), ORM_OK);

	User *alice = orm_add(f->s, User, .name = "Alice");
	assert_int_equal(orm_load(f->s, alice, &alice->name), ORM_EINVAL);
	assert_error(f->s, ORM_EINVAL, "no relationship");
}

/* ---- the calls ---- */

static void a_refresh_of_a_row_that_is_gone_says_so(void **state)
{
	fixture *f = *state;
	User *alice;

	fake_server_set_rows(f->server, 1, 1);
	alice = orm_get(f->s, User, 1);
	assert_int_equal(orm_refresh(f->s, alice), ORM_ENOTFOUND);
	assert_error(f->s, ORM_ENOTFOUND, "User: the row with key 1 is gone");
	assert_string_equal(orm_session_error(f->s)->key, "1");
	ASKED("Get id=1\nRefresh 1\n");
}

static void loads_are_asked_for_all_objects_at_once(void **state)
{
	fixture *f = *state;
	User_list users;

	fake_server_set_rows(f->server, 4, 4);
	users = orm_all(f->s, User);
	fake_server_set_rows(f->server, 0, 1);
	assert_int_equal(orm_load_each(f->s, users, User, posts), ORM_OK);
	ASKED("Query User order id\nLoad posts of 4\n");

	/* Not loaded by itself: a list that was never loaded has no length to walk. */
	assert_int_equal(orm_load_each(f->s, users.items[0]->posts, Post, author), ORM_ENOTLOADED);
}

static void a_new_objects_relationships_load_with_its_draft(void **state)
{
	fixture *f = *state;
	Post *post = orm_add(f->s, Post, .title = "Hello", .user_id = {true, 7});

	assert_int_equal(orm_load(f->s, post, &post->author), ORM_OK);
	ASKED("Load author of 1 +1\n");
}

static void waiting_brings_notices(void **state)
{
	fixture *f = *state;
	const orm_notice *notice;
	const uint64_t before = orm_session_revision(f->s);

	assert_null(orm_next_notice(f->s));
	assert_int_equal(orm_wait(f->s, 1000), 1);
	assert_true(orm_session_revision(f->s) > before);
	notice = orm_next_notice(f->s);
	assert_non_null(notice);
	assert_int_equal(notice->kind, ORM_NOTICE_JOINED);
	assert_string_equal(notice->participant, "desk");
	assert_string_equal(notice->text, "desk has joined");
	assert_null(orm_next_notice(f->s));
}

static void notices_nobody_asks_for_do_not_pile_up(void **state)
{
	fixture *f = *state;
	size_t n = 0;
	uint64_t last = 0;

	for (int i = 0; i < 1500; i++)
		assert_int_equal(orm_wait(f->s, 1000), 1);
	for (const orm_notice *notice = orm_next_notice(f->s); notice; notice = orm_next_notice(f->s), n++) {
		assert_true(notice->revision > last);
		last = notice->revision;
	}
	assert_int_equal(last, orm_session_revision(f->s));
	assert_true(n >= 512 && n <= 1024);
}

static void joining_says_who_and_how(void **state)
{
	fixture *f = *state;
	orm_session *a = orm_session_join(f->db, "order-1042",
					  &(orm_join_options){.participant = "desk", .on_death = ORM_ON_DEATH_KEEP});
	orm_session *b =
		orm_session_join(f->db, "order-1042", &(orm_join_options){.participant = "b", .must_exist = true});
	orm_session *c;

	ASKED("Open order-1042 as desk keep\nOpen order-1042 as b must exist\n");
	fake_server_fail(f->server, "Open", ORM_ENOTFOUND, "there is no session named 'x'");
	c = orm_session_join(f->db, "x", &(orm_join_options){.must_exist = true});
	assert_error(c, ORM_ENOTFOUND, "no session named 'x'");
	orm_session_close(a);
	orm_session_close(b);
	orm_session_close(c);
	c = orm_session_join(f->db, "", NULL);
	assert_error(c, ORM_EINVAL, "needs a name");
	orm_session_close(c);
}

static void texts_are_printed_into_the_session(void **state)
{
	fixture *f = *state;
	const char *text = orm_printf(f->s, "%s-%04d", "order", 42);

	assert_string_equal(text, "order-0042");
	orm_commit(f->s);
	assert_string_equal(text, "order-0042");
}

/* ---- fork
 * ------------------------------------------------------------------------------------------------------------ */

static int in_child(fixture *f)
{
	User *alice = orm_get(f->s, User, 1); /* mirrored, and still refused: the child must notice at once */
	orm_db *db;
	int failed = 0;

	failed |= alice != NULL;
	failed |= orm_session_error(f->s)->code != ORM_EFORKED;
	failed |= !strstr(orm_session_error(f->s)->message, "orm_connect");
	failed |= orm_db_error(f->db)->code != ORM_EFORKED;
	failed |= orm_commit(f->s) != ORM_EFORKED;
	failed |= orm_rollback(f->s) != ORM_EFORKED;
	failed |= orm_create_all(f->db) != ORM_EFORKED;
	failed |= orm_count(f->s, User) != ORM_EFORKED;
	failed |= orm_add(f->s, User, .name = "Bob") != NULL;
	orm_session *late = orm_session_open(f->db);
	failed |= orm_session_error(late)->code != ORM_EFORKED;
	orm_session_close(late);
	orm_session_close(f->s);
	orm_disconnect(f->db);

	db = orm_connect(fake_server_address(f->server), test_models);
	failed |= orm_db_error(db)->code != ORM_OK;
	orm_session *s = orm_session_open(db);
	failed |= orm_commit(s) != ORM_OK;
	orm_session_close(s);
	orm_disconnect(db);
	return failed;
}

static void a_forked_child_must_connect_anew(void **state)
{
	fixture *f = *state;
	pid_t child;
	int status;

	fake_server_set_rows(f->server, 1, 1);
	assert_non_null(orm_get(f->s, User, 1));
	child = fork();
	if (child == 0)
		_exit(in_child(f));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	ASKED("Get id=1\nConnect User Post Line\nOpen\nCommit 1\nClose\n");
	assert_non_null(orm_get(f->s, User, 1));
	assert_int_equal(orm_commit(f->s), ORM_OK);
	ASKED("Commit 1\n");
}

/* ---- the server goes
 * ------------------------------------------------------------------------------------------------- */

static void restart(fixture *f)
{
	fake_server_stop(f->server);
	start(f, 0);
}

static void a_restarted_server_has_lost_the_session(void **state)
{
	fixture *f = *state;
	orm_session *other;

	orm_add(f->s, User, .name = "Alice");
	restart(f);
	assert_true(orm_flush(f->s) < 0);
	assert_error(f->s, ORM_ELOST, "restarted");
	orm_session_clear_error(f->s);
	assert_int_equal(orm_rollback(f->s), ORM_ELOST);
	assert_int_equal(orm_commit(f->s), ORM_ELOST);

	/* The connection goes on: models are declared to whoever serves now. */
	fake_server_log(f->server);
	fake_server_fail(f->server, "Open", ORM_ELOST, "the server does not know these models");
	other = orm_session_open(f->db);
	assert_string_equal(orm_session_error(other)->message, "");
	ASKED("Open\nConnect User Post Line\nOpen\n");
	assert_int_equal(orm_create_all(f->db), ORM_OK);
	ASKED("CreateAll 77\n");
	orm_session_close(other);
}

/* A commit whose server goes before it answers; `outcomes` is what the next one says. */
static orm_status commit_and_lose(fixture *f, const Ormd__V1__CommitOutcome *outcomes, size_t n)
{
	fake_server_fail_plainly(f->server, "Commit", RPC_ABORTED, "server restarted");
	fake_server_set_outcomes(f->server, outcomes, n);
	return orm_commit(f->s);
}

static void a_commit_that_was_written_is_settled(void **state)
{
	static const Ormd__V1__CommitOutcome outcomes[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_UNKNOWN,
							   ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED};
	fixture *f = *state;
	User *alice = orm_add(f->s, User, .name = "Alice");

	assert_int_equal(commit_and_lose(f, outcomes, 2), ORM_OK);
	assert_int_equal(orm_session_error(f->s)->code, ORM_OK);
	assert_int_equal(alice->id, 41);
	ASKED("Commit +1\nCommitStatus 1\nCommitStatus 1\n");

	/* The session itself is over; its structs stay. */
	assert_null(orm_add(f->s, User, .name = "Bob"));
	assert_error(f->s, ORM_ELOST, "the last commit was written");
	assert_string_equal(alice->name, "Alice");
}

static void a_commit_whose_answer_was_not_kept_is_settled(void **state)
{
	static const Ormd__V1__CommitOutcome outcomes[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED};
	fixture *f = *state;
	User *alice = orm_add(f->s, User, .name = "Alice");

	fake_server_fail_plainly(f->server, "Commit", RPC_DATA_LOSS, "executed, but its reply was too large to keep");
	fake_server_set_outcomes(f->server, outcomes, 1);
	assert_int_equal(orm_commit(f->s), ORM_OK);
	assert_int_equal(alice->id, 41);
	ASKED("Commit +1\nCommitStatus 1\n");
}

static void a_commit_that_was_not_written_is_settled(void **state)
{
	static const Ormd__V1__CommitOutcome outcomes[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED};
	fixture *f = *state;

	orm_add(f->s, User, .name = "Alice");
	assert_int_equal(commit_and_lose(f, outcomes, 1), ORM_ELOST);
	assert_error(f->s, ORM_ELOST, "nothing was written");
	assert_int_equal(orm_commit_outcome(f->s), ORM_ESTATE);
}

/* The server lives, but had lost its database in the midst of it. */
static void a_commit_that_the_database_did_not_do_can_be_made_again(void **state)
{
	static const Ormd__V1__CommitOutcome outcomes[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED};
	fixture *f = *state;

	orm_add(f->s, User, .name = "Alice");
	fake_server_fail(f->server, "Commit", ORM_EUNKNOWN, "the connection was lost during the commit");
	fake_server_set_outcomes(f->server, outcomes, 1);
	assert_int_equal(orm_commit(f->s), ORM_ERETRY);
	assert_error(f->s, ORM_ERETRY, "nothing was written");
	ASKED("Commit +1\nCommitStatus 1\n");
	orm_session_clear_error(f->s);
	assert_int_equal(orm_commit(f->s), ORM_OK);
	ASKED("Commit 2 +1\n"); /* under a new number */
}

static void a_commit_that_cannot_be_settled_can_be_asked_for_later(void **state)
{
	static const Ormd__V1__CommitOutcome unknown[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_UNKNOWN};
	static const Ormd__V1__CommitOutcome committed[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_COMMITTED};
	fixture *f = *state;

	orm_session_set_timeout(f->s, 100);
	orm_add(f->s, User, .name = "Alice");
	assert_int_equal(commit_and_lose(f, unknown, 1), ORM_EUNKNOWN);
	assert_error(f->s, ORM_EUNKNOWN, "orm_commit_outcome");
	orm_session_clear_error(f->s);
	assert_int_equal(orm_commit(f->s), ORM_EUNKNOWN);
	assert_int_equal(orm_rollback(f->s), ORM_EUNKNOWN);
	assert_int_equal(orm_commit_outcome(f->s), ORM_EUNKNOWN);
	orm_session_set_timeout(f->s, 30000);
	fake_server_set_outcomes(f->server, committed, 1);
	assert_int_equal(orm_commit_outcome(f->s), ORM_OK);
	assert_int_equal(orm_session_error(f->s)->code, ORM_OK);
	assert_int_equal(orm_flush(f->s), ORM_ELOST);
}

static void a_commit_without_an_answer_in_time_is_unknown(void **state)
{
	static const Ormd__V1__CommitOutcome aborted[] = {ORMD__V1__COMMIT_OUTCOME__OUTCOME_ABORTED};
	fixture *f = *state;

	orm_session_set_timeout(f->s, 100);
	fake_server_hold(f->server, "Commit");
	orm_add(f->s, User, .name = "Alice");
	assert_int_equal(orm_commit(f->s), ORM_EUNKNOWN);
	orm_session_set_timeout(f->s, 30000);
	fake_server_set_outcomes(f->server, aborted, 1);
	assert_int_equal(orm_commit_outcome(f->s), ORM_EABORTED);
	assert_error(f->s, ORM_ELOST, "not written and never will be");
}

int main(void)
{
#define TEST(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define SMALL(name) cmocka_unit_test_setup_teardown(name, set_up_small, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(two_thousand_adds_and_a_commit_are_one_request),
		TEST(what_is_mirrored_takes_no_request),
		TEST(requests_of_closed_sessions_are_remembered),
		SMALL(a_draft_larger_than_a_message_goes_in_parts),
		SMALL(a_part_that_is_refused_ends_the_draft),
		SMALL(one_object_larger_than_a_message_is_refused),
		TEST(a_servers_error_is_told_whole),
		TEST(the_first_failure_sticks_until_rollback),
		TEST(a_failure_can_be_forgotten_and_the_draft_goes_on),
		TEST(a_draft_that_was_taken_is_not_sent_again),
		TEST(codes_without_details_are_translated),
		TEST(a_call_without_an_answer_times_out),
		TEST(a_session_without_a_connection_carries_its_error),
		TEST(urls_that_cannot_be_are_refused),
		TEST(everything_takes_null),
		TEST(what_is_not_of_the_session_is_refused),
		TEST(a_refresh_of_a_row_that_is_gone_says_so),
		TEST(loads_are_asked_for_all_objects_at_once),
		TEST(a_new_objects_relationships_load_with_its_draft),
		TEST(waiting_brings_notices),
		TEST(notices_nobody_asks_for_do_not_pile_up),
		TEST(joining_says_who_and_how),
		TEST(texts_are_printed_into_the_session),
		TEST(a_forked_child_must_connect_anew),
		TEST(a_restarted_server_has_lost_the_session),
		TEST(a_commit_that_was_written_is_settled),
		TEST(a_commit_whose_answer_was_not_kept_is_settled),
		TEST(a_commit_that_was_not_written_is_settled),
		TEST(a_commit_that_the_database_did_not_do_can_be_made_again),
		TEST(a_commit_that_cannot_be_settled_can_be_asked_for_later),
		TEST(a_commit_without_an_answer_in_time_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
