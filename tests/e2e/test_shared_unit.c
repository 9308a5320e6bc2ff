/* SPDX-License-Identifier: MIT */
/*
 * The shared unit of work, with real processes: what DESIGN calls draft, publish and commit, and a test for each trap that earlier systems fell into.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "e2e/actor.h"
#include "support/engine.h"

typedef struct test_stage {
	const char  *directory;
	char         url[ENGINE_URL_SIZE];
	support_ormd ormd;
	test_actor a, b;
} test_stage;

static int set_up(void **state)
{
	static test_stage stage;
	memset(&stage, 0, sizeof stage);
	*state = &stage;
	stage.directory = support_tempdir();
	engine_fresh_url(stage.url);
	support_ormd_start(&stage.ormd, stage.directory, stage.url, NULL, NULL);
	actor_start(&stage.a, "a", stage.ormd.address);
	actor_start(&stage.b, "b", stage.ormd.address);
	actor_ask(&stage.a, "create");
	actor_expect(&stage.a, "ok", "join unit rollback anna");
	actor_expect(&stage.b, "ok", "join unit rollback bert");
	return 0;
}

static int tear_down(void **state)
{
	test_stage *stage = *state;
	support_process_fini(&stage->a.process);
	support_process_fini(&stage->b.process);
	int status = support_ormd_stop(&stage->ormd);
	engine_drop(stage->url);
	support_tempdir_remove(stage->directory);
	return status;
}

/* A committed note, known to both as n. */
static void commit_note(test_stage *stage)
{
	actor_expect(&stage->a, "ok", "note n first");
	actor_expect(&stage->a, "ok", "commit");
	actor_expect_prefix(&stage->b, "ok id=1 title=first", "get n 1");
}

static void published_edits_are_seen_uncommitted(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body hello");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1", "wait 20000");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=hello", "show n");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body IS NOT NULL"), 0);
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body = 'hello'"), 1);
}

/* Its default comes at the commit: until then the others see it without, and everything else of it. */
static void a_new_object_with_a_default_to_come_is_seen(void **state)
{
	test_stage *stage = *state;
	actor_expect(&stage->a, "ok", "note n first"); /* rank is left out */
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ok id=1 title=first", "get n 1");
	actor_expect(&stage->b, "ok 1 first", "all");
	actor_expect(&stage->b, "ok", "set n body by-b");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT \"rank\" FROM notes WHERE body = 'by-b'"), 3);
}

static void structs_change_only_inside_a_call(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body hello");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=NULL", "show n");
	actor_expect(&stage->b, "ok 1", "count");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=hello", "show n");
}

/* The news may come with a query whose rows are older: who then waits must not wait for more. */
static void news_that_came_with_another_call_ends_a_wait(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect_prefix(&stage->b, "ok", "notices");
	actor_expect(&stage->b, "ok 0", "wait 0");
	actor_expect(&stage->a, "ok", "set n body hello");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1", "count");
	actor_expect(&stage->b, "ok 1", "wait 20000");
	actor_expect(&stage->b, "ok 0", "wait 0"); /* told once */
	actor_expect(&stage->b, "ok published:anna", "notices");
	actor_expect(&stage->b, "ok 0", "wait 0");
}

static void a_query_publishes_nothing(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body draft");
	actor_expect(&stage->a, "ok", "note m second");
	actor_expect(&stage->a, "ok 1", "count"); /* its own draft is not in the unit either */
	actor_expect(&stage->b, "ok 1", "count");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=NULL", "show n");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 2", "count");
}

static void nobody_commits_anothers_draft(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body half-done");
	actor_expect(&stage->b, "ok", "set n score 7");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body IS NULL AND score = 7"), 1);
	actor_expect(&stage->a, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body = 'half-done' AND score = 7"), 1);
}

static void different_fields_of_one_object_both_stand(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body by-a");
	actor_expect(&stage->b, "ok", "set n score 5");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok", "flush");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=by-a score=5", "show n");
	actor_expect(&stage->a, "ok", "commit");
	actor_expect_prefix(&stage->a, "ok id=1 title=first body=by-a score=5", "show n");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body = 'by-a' AND score = 5"), 1);
}

static void the_same_field_gives_the_later_one_a_conflict(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title theirs");
	actor_expect(&stage->b, "ok", "set n title mine");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush");
	actor_expect(&stage->b, "ok 1 Note.title(1):first/theirs/mine:anna", "conflicts");
	actor_expect_prefix(&stage->b, "ok ECONFLICT model=Note column=title key=1", "error");
	actor_expect_prefix(&stage->b, "ok id=1 title=mine", "show n"); /* the draft is not overwritten */
	actor_expect(&stage->b, "ok", "resolve mine");
	actor_expect(&stage->b, "ok", "flush");
	actor_expect(&stage->a, "ok 1", "count");
	actor_expect_prefix(&stage->a, "ok id=1 title=mine", "show n");
}

/* What was published and changed again before the commit is in no committed row; the empty text is a value like others. */
static void the_base_of_a_conflict_is_what_was_seen(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n body second");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1", "wait 20000");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=second", "show n");
	actor_expect(&stage->b, "ok", "set n body mine");
	actor_expect(&stage->a, "ok", "set n body EMPTY");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush");
	actor_expect(&stage->b, "ok 1 Note.body(1):second//mine:anna", "conflicts");
	actor_expect(&stage->b, "ok", "resolve theirs");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE body = ''"), 1);
}

static void a_conflict_resolved_with_theirs_takes_theirs(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title theirs");
	actor_expect(&stage->b, "ok", "set n title mine");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ECONFLICT", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'first'"), 1);
	actor_expect(&stage->b, "ok", "resolve theirs");
	actor_expect_prefix(&stage->b, "ok id=1 title=theirs", "show n");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'theirs'"), 1);
}

/* Comparing values instead of revisions would let this through. */
static void a_value_that_went_and_came_back_is_still_a_conflict(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->b, "ok", "set n title mine");
	actor_expect(&stage->a, "ok", "set n title other");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->a, "ok", "set n title first");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush");
}

/* A query that brings the other's change must not make the draft look as if it had been based on it. */
static void a_load_neither_overwrites_a_draft_nor_raises_its_base(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->b, "ok", "set n title mine");
	actor_expect(&stage->a, "ok", "set n title theirs");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1 mine", "all"); /* hears of it... */
	actor_expect_prefix(&stage->b, "ok id=1 title=mine", "show n");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush"); /* ...and still has not decided */
	actor_expect(&stage->b, "ok 1 Note.title(1):first/theirs/mine:anna", "conflicts");
}

static void a_publish_is_whole_or_not_at_all(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title theirs");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok", "note m other");
	actor_expect(&stage->b, "ok", "set n title mine");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush");
	actor_expect(&stage->a, "ok 1", "count"); /* the other note did not get in */
}

static void delete_against_edit_is_a_conflict(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->b, "ok", "set n body keep-me");
	actor_expect(&stage->a, "ok", "delete n");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect_prefix(&stage->b, "ECONFLICT", "flush");
	actor_expect_prefix(&stage->b, "ok 1 Note.(1):", "conflicts");
}

static void edit_against_delete_is_a_conflict(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->b, "ok", "set n body keep-me");
	actor_expect(&stage->a, "ok", "delete n");
	actor_expect(&stage->b, "ok", "flush");
	actor_expect_prefix(&stage->a, "ECONFLICT", "flush");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=keep-me", "show n");
}

static void new_objects_keep_their_identity_through_the_commit(void **state)
{
	test_stage *stage = *state;
	actor_expect(&stage->a, "ok", "person p Ada");
	actor_expect(&stage->a, "ok", "note n first p");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok found", "person-named p Ada"); /* uncommitted, and found by a query */
	actor_expect(&stage->b, "ok", "load p");
	actor_expect(&stage->b, "ok 1 first", "notes p");
	actor_expect_prefix(&stage->b, "ok id=1 title=first", "get n 1");
	actor_expect(&stage->b, "ok", "set n body by-b");
	actor_expect(&stage->b, "ok", "flush");
	actor_expect(&stage->a, "ok", "commit");
	actor_expect_prefix(&stage->a, "ok id=1 title=first body=by-b score=NULL version=1 owner_id=1", "show n");
	actor_expect(&stage->b, "ok 1", "count");
	actor_expect_prefix(&stage->b, "ok id=1 title=first body=by-b score=NULL version=1 owner_id=1", "show n");
	actor_expect(&stage->b, "ok", "set n score 2");
	actor_expect(&stage->b, "ok", "commit");
	actor_expect(&stage->a, "ok 1", "count");
	actor_expect_prefix(&stage->a, "ok id=1 title=first body=by-b score=2 version=2 owner_id=1", "show n");
}

static void lists_follow_what_others_publish(void **state)
{
	test_stage *stage = *state;
	actor_expect(&stage->a, "ok", "person p Ada");
	actor_expect(&stage->a, "ok", "person q Bob");
	actor_expect(&stage->a, "ok", "note n first p");
	actor_expect(&stage->a, "ok", "commit");
	actor_expect(&stage->b, "ok found", "person-named p Ada");
	actor_expect(&stage->b, "ok found", "person-named q Bob");
	actor_expect(&stage->b, "ok", "load p");
	actor_expect(&stage->b, "ok not loaded", "notes q");
	actor_expect(&stage->b, "ok", "load q");
	actor_expect(&stage->a, "ok", "note m second p");
	actor_expect(&stage->a, "ok", "set n owner q");
	actor_expect(&stage->a, "ok 1 second", "notes p"); /* both sides at once, in its own mirror */
	actor_expect(&stage->a, "ok 1 first", "notes q");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1", "wait 20000");
	actor_expect(&stage->b, "ok 1 second", "notes p");
	actor_expect(&stage->b, "ok 1 first", "notes q");
	actor_expect_prefix(&stage->b, "ok id=2 title=second", "get m 2");
	actor_expect(&stage->b, "ok", "delete m");
	actor_expect(&stage->b, "ok 0", "notes p");
	actor_expect(&stage->b, "ok", "flush");
	actor_expect(&stage->a, "ok 1", "wait 20000");
	actor_expect(&stage->a, "ok 0", "notes p");
}

static void a_rollback_is_told_to_all_and_restores_all(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title changed");
	actor_expect(&stage->a, "ok", "note m second");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 2 changed second", "all");
	actor_expect(&stage->b, "ok", "rollback");
	actor_expect_prefix(&stage->b, "ok id=1 title=first", "show n");
	/* The other learns of it before it can commit anything on top. */
	actor_expect(&stage->a, "ok", "set n body more");
	actor_expect_prefix(&stage->a, "EABORTED", "commit");
	actor_expect(&stage->a, "ok", "rollback");
	actor_expect_prefix(&stage->a, "ok id=1 title=first body=NULL", "show n");
	actor_expect(&stage->a, "ok detached", "state m");
	actor_expect(&stage->a, "ok", "set n body again");
	actor_expect(&stage->a, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'first' AND body = 'again'"), 1);
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes"), 1);
}

static void the_death_of_a_participant_rolls_the_unit_back(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title changed");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok 1 changed", "all");
	actor_expect_prefix(&stage->b, "ok", "notices");
	actor_kill(&stage->a);
	actor_expect_prefix(&stage->b, "EABORTED", "wait 20000");
	actor_expect_prefix(&stage->b, "ok died:anna rolled-back:", "notices");
	actor_expect(&stage->b, "ok", "rollback");
	actor_expect_prefix(&stage->b, "ok id=1 title=first", "show n");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'first'"), 1);
}

static void a_session_can_keep_what_the_dead_had_published(void **state)
{
	test_stage *stage = *state;
	actor_expect(&stage->a, "ok", "close");
	actor_expect(&stage->a, "ok", "join other keep anna");
	actor_expect(&stage->b, "ok", "close");
	actor_expect(&stage->b, "ok", "join other keep bert");
	actor_expect(&stage->a, "ok", "note n published");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->a, "ok", "note m draft");
	actor_expect(&stage->b, "ok 1", "count");
	actor_expect_prefix(&stage->b, "ok", "notices");
	actor_kill(&stage->a);
	actor_expect(&stage->b, "ok 1", "wait 20000");
	actor_expect_prefix(&stage->b, "ok died:anna", "notices");
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'published'"), 1);
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes"), 1);
}

static void no_transaction_is_open_while_the_unit_waits(void **state)
{
	test_stage *stage = *state;
	test_actor other;
	char   url[SUPPORT_PATH_SIZE + 16];
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title changed");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->a, "ok 1 changed", "all"); /* has just queried over the pending change */
	snprintf(url, sizeof url, "%s", stage->ormd.address);
	actor_start(&other, "other", url);
	actor_expect(&other, "ok", "open");
	actor_expect(&other, "ok", "note m elsewhere");
	actor_expect(&other, "ok", "commit");
	/* Nor is the file locked for a program that goes around the server. */
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes"), 2);
	actor_stop(&other);
	actor_expect(&stage->b, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'changed'"), 1);
}

static void a_failed_commit_leaves_the_unit_for_mending(void **state)
{
	test_stage *stage = *state;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "note m good");
	actor_expect(&stage->a, "ok", "flush");
	actor_expect(&stage->b, "ok", "set n score 5000"); /* against the CHECK */
	actor_expect_prefix(&stage->b, "ECONSTRAINT", "commit");
	actor_expect_prefix(&stage->b, "ok ECONSTRAINT model=Note column=score", "error");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes"), 1);
	/* The author's bad value does not cost the other its work. */
	actor_expect(&stage->a, "ok 1", "wait 20000");
	actor_expect_prefix(&stage->a, "ok id=1 title=first body=NULL score=5000", "show n");
	actor_expect(&stage->a, "ok", "set n score 5");
	actor_expect(&stage->a, "ok", "commit");
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE score = 5"), 1);
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes"), 2);
}

static void who_joins_late_sees_what_is_pending(void **state)
{
	test_stage *stage = *state;
	test_actor late;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title changed");
	actor_expect(&stage->a, "ok", "note m second");
	actor_expect(&stage->a, "ok", "flush");
	actor_start(&late, "late", stage->ormd.address);
	actor_expect(&late, "ok", "join unit");
	actor_expect(&late, "ok 2 changed second", "all");
	actor_expect(&late, "ok", "commit");
	actor_stop(&late);
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title IN ('changed', 'second')"), 2);
}

static void a_change_committed_by_another_session_makes_the_commit_stale(void **state)
{
	test_stage *stage = *state;
	test_actor other;
	commit_note(stage);
	actor_expect(&stage->a, "ok", "set n title changed");
	actor_expect(&stage->a, "ok", "flush");
	actor_start(&other, "other", stage->ormd.address);
	actor_expect(&other, "ok", "open");
	actor_expect_prefix(&other, "ok id=1", "get n 1");
	actor_expect(&other, "ok", "set n body first-to-commit");
	actor_expect(&other, "ok", "commit");
	actor_expect_prefix(&stage->b, "ESTALE", "commit");
	actor_expect_prefix(&stage->b, "ok ESTALE model=Note column=version key=1", "error");
	actor_stop(&other);
	assert_int_equal(engine_ask_number(stage->url, "SELECT count(*) FROM notes WHERE title = 'first' AND body = 'first-to-commit'"), 1);
}

#define NAMED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NAMED(published_edits_are_seen_uncommitted),
		NAMED(a_new_object_with_a_default_to_come_is_seen),
		NAMED(structs_change_only_inside_a_call),
		NAMED(news_that_came_with_another_call_ends_a_wait),
		NAMED(a_query_publishes_nothing),
		NAMED(nobody_commits_anothers_draft),
		NAMED(different_fields_of_one_object_both_stand),
		NAMED(the_same_field_gives_the_later_one_a_conflict),
		NAMED(the_base_of_a_conflict_is_what_was_seen),
		NAMED(a_conflict_resolved_with_theirs_takes_theirs),
		NAMED(a_value_that_went_and_came_back_is_still_a_conflict),
		NAMED(a_load_neither_overwrites_a_draft_nor_raises_its_base),
		NAMED(a_publish_is_whole_or_not_at_all),
		NAMED(delete_against_edit_is_a_conflict),
		NAMED(edit_against_delete_is_a_conflict),
		NAMED(new_objects_keep_their_identity_through_the_commit),
		NAMED(lists_follow_what_others_publish),
		NAMED(a_rollback_is_told_to_all_and_restores_all),
		NAMED(the_death_of_a_participant_rolls_the_unit_back),
		NAMED(a_session_can_keep_what_the_dead_had_published),
		NAMED(no_transaction_is_open_while_the_unit_waits),
		NAMED(a_failed_commit_leaves_the_unit_for_mending),
		NAMED(who_joins_late_sees_what_is_pending),
		NAMED(a_change_committed_by_another_session_makes_the_commit_stale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
