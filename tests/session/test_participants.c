/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <stdio.h>
#include <string.h>

static shelf lib;

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, "shelf", ORMD_ON_DEATH_KEEP, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	check_consistency(&lib);
	library_fini(&lib);
	return 0;
}

static void numbers_are_never_used_twice(void **state)
{
	(void)state;
	uint32_t next;

	assert_int_equal(lib.ann, 1);
	assert_int_equal(lib.cid, 3);
	assert_int_equal(ormd_session_n_participants(lib.session), 3);
	ormd_session_leave(lib.session, lib.cid, false, NULL);
	ormd_session_leave(lib.session, lib.cid, false, NULL); /* once is enough */
	assert_int_equal(ormd_session_n_participants(lib.session), 2);
	assert_int_equal(ormd_session_join(lib.session, NULL, &next, &lib.error), ORM_OK);
	assert_int_equal(next, 4);
	assert_string_equal(ormd_session_name(lib.session), "shelf");
}

static void the_others_are_noticed(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	uint32_t dan;
	ormd_sync sync;

	assert_int_equal(ormd_session_join(lib.session, "dan", &dan, &lib.error), ORM_OK);
	assert_true(ormd_session_has_news(lib.session, lib.ann, seen));
	add_row(&lib, dan, lib.tag, CELLS(TEXT(TAG_CODE, "t")));
	settle_all(&lib, dan);
	add_row(&lib, dan, lib.tag, CELLS(TEXT(TAG_CODE, "u")));
	ormd_session_rollback(lib.session, dan);
	ormd_session_leave(lib.session, dan, true, "its process ended");

	static const struct {
		ormd_notice_kind kind;
		const char *text;
	} expected[] = {
		{ORMD_NOTICE_JOINED, "dan joined"},
		{ORMD_NOTICE_PUBLISHED, "dan published 1 new, 0 changed, 0 deleted"},
		{ORMD_NOTICE_COMMITTED, "dan committed"},
		{ORMD_NOTICE_PUBLISHED, "dan published 1 new, 0 changed, 0 deleted"},
		{ORMD_NOTICE_ROLLED_BACK, "dan rolled back"},
		{ORMD_NOTICE_DIED, "dan died: its process ended"},
	};

	sync = sync_of(&lib, lib.ann, seen);
	assert_int_equal(sync.n_notices, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(sync.notices[i].kind, expected[i].kind);
		assert_int_equal(sync.notices[i].participant, dan);
		assert_string_equal(sync.notices[i].name, "dan");
		assert_string_equal(sync.notices[i].text, expected[i].text);
		assert_true(sync.notices[i].revision > seen && sync.notices[i].revision <= sync.revision);
	}
	assert_false(sync.missed_notices);
	assert_int_equal(sync_of(&lib, lib.ann, sync.revision).n_notices, 0);
}

static void ones_own_notices_are_left_out(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	ormd_sync sync;

	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "t")));
	add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "u")));
	sync = sync_of(&lib, lib.ann, seen);
	assert_int_equal(sync.n_notices, 1);
	assert_int_equal(sync.notices[0].participant, lib.bob);
}

static void who_is_too_late_knows_that_it_missed_some(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	const uint64_t tag = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "t")))->handle;
	ormd_sync sync;

	for (int i = 0; i < 300; i++)
		assert_int_equal(update_row(&lib, lib.ann, lib.tag, tag, CELLS(TEXT(TAG_LABEL, "x"))), ORM_OK);
	sync = sync_of(&lib, lib.bob, seen);
	assert_true(sync.missed_notices);
	assert_int_equal(sync.n_notices, 256);
	assert_true(sync.notices[255].revision == sync.revision);
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, tag), "1='x'"); /* the objects are complete */
	sync = sync_of(&lib, lib.cid, seen + 100);
	assert_false(sync.missed_notices);
	assert_int_equal(sync.n_notices, 200);
}

static void a_private_session_has_no_notices(void **state)
{
	(void)state;
	shelf own;

	library_init(&own, NULL, ORMD_ON_DEATH_ROLLBACK, 0);
	add_row(&own, own.ann, own.tag, CELLS(TEXT(TAG_CODE, "t")));
	settle_all(&own, own.ann);
	assert_null(own.session->notices);
	assert_null(ormd_session_name(own.session));
	library_fini(&own);
}

static void the_departed_are_forgotten_when_nothing_is_theirs(void **state)
{
	(void)state;
	uint32_t number;

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ormd_session_join(lib.session, "guest", &number, &lib.error), ORM_OK);
		ormd_session_leave(lib.session, number, false, NULL);
	}
	assert_int_equal(number, 1003);
	assert_true(lib.session->max_participants <= 8);
}

static void strangers_have_no_part(void **state)
{
	(void)state;
	ormd_sync sync;

	assert_int_equal(ormd_session_sync(lib.session, 99, 0, &lib.arena, &sync, &lib.error), ORM_EINVAL);
	assert_int_equal(ormd_session_sync(lib.session, lib.ann, 1000, &lib.arena, &sync, &lib.error), ORM_EINVAL);
	ormd_session_leave(lib.session, lib.ann, false, NULL);
	assert_int_equal(ormd_session_sync(lib.session, lib.ann, 0, &lib.arena, &sync, &lib.error), ORM_EINVAL);
	ormd_session_leave(lib.session, 99, true, "never was");
	ormd_session_rollback(lib.session, 99);
}

static void the_info_counts(void **state)
{
	(void)state;
	const uint64_t tag = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "a")))->handle;
	const uint64_t other = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "b")))->handle;
	ormd_session_info info;

	add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "c")));
	assert_int_equal(update_row(&lib, lib.ann, lib.tag, tag, CELLS(TEXT(TAG_LABEL, "x"))), ORM_OK);
	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, other), ORM_OK);
	ormd_session_info_get(lib.session, &info);
	assert_int_equal(info.n_objects, 3);
	assert_int_equal(info.n_new, 1);
	assert_int_equal(info.n_changed, 1);
	assert_int_equal(info.n_deleted, 1);
	assert_int_equal(info.on_death, ORMD_ON_DEATH_KEEP);
	assert_true(info.revision == ormd_session_revision(lib.session));
	assert_true(info.memory > 0);
	assert_ptr_equal(ormd_session_registry(lib.session), lib.registry);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(numbers_are_never_used_twice),
		TEST(the_others_are_noticed),
		TEST(ones_own_notices_are_left_out),
		TEST(who_is_too_late_knows_that_it_missed_some),
		cmocka_unit_test(a_private_session_has_no_notices),
		TEST(the_departed_are_forgotten_when_nothing_is_theirs),
		TEST(strangers_have_no_part),
		TEST(the_info_counts),
	};

	return cmocka_run_group_tests_name("session_participants", tests, NULL, NULL);
}
