/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"
#include "support/tempdir.h"

static const char *dir;
static char path[SUPPORT_PATH_SIZE];

static int set_up(void **state)
{
	(void)state;
	dir = support_tempdir();
	support_join(path, dir, "ormd.log");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ormd_log_close();
	support_tempdir_remove(dir);
	return 0;
}

static void open_log(int level)
{
	orm_error error;

	assert_int_equal(ormd_log_open(path, level, &error), ORM_OK);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t compiled;

	assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);

	const int result = regexec(&compiled, text, 0, NULL, 0);

	regfree(&compiled);
	if (result != 0)
		fail_msg("'%s' does not match '%s'", text, pattern);
}

static void assert_log(const char *file, const char *pattern)
{
	char *text = support_read_file(file, NULL);

	assert_non_null(text);
	assert_matches(text, pattern);
	free(text);
}

static void a_line_has_time_level_and_process(void **state)
{
	char pattern[256];

	(void)state;
	open_log(LOG_DEBUG);
	ormd_log(LOG_INFO, "serving %s", "sqlite:///shop.db");
	snprintf(pattern, sizeof pattern,
		 "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z INFO  ormd\\[%ld\\]: serving "
		 "sqlite:///shop\\.db\n$",
		 (long)getpid());
	assert_log(path, pattern);
}

static void levels_have_names(void **state)
{
	(void)state;
	open_log(LOG_DEBUG);
	ormd_log(LOG_DEBUG, "a");
	ormd_log(LOG_WARNING, "b");
	ormd_log(LOG_ERR, "c");
	ormd_log_message(LOG_CRIT, "d", NULL);
	assert_log(path, "^[^\n]*DEBUG ormd[^\n]*: a\n[^\n]*WARN  ormd[^\n]*: b\n[^\n]*ERROR ormd[^\n]*: "
			 "c\n[^\n]*ERROR ormd[^\n]*: d\n$");
}

static void what_is_below_the_level_is_left_out(void **state)
{
	(void)state;
	open_log(LOG_WARNING);
	ormd_log(LOG_DEBUG, "no");
	ormd_log(LOG_INFO, "no");
	ormd_log(LOG_WARNING, "yes");
	assert_log(path, "^[^\n]*yes\n$");
}

/* A peer's bytes may be in a message; they must not make up lines, nor speak to a terminal. */
static void a_message_is_one_line_of_printable_characters(void **state)
{
	(void)state;
	open_log(LOG_INFO);
	ormd_log(LOG_INFO, "one\ntwo\r\x1b[31mthree\x7f");
	assert_log(path, ": one two\\?\\?\\[31mthree\\?\n$");
}

static void a_long_message_is_cut(void **state)
{
	char long_text[5000];

	(void)state;
	memset(long_text, 'y', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	open_log(LOG_INFO);
	ormd_log(LOG_INFO, "%s", long_text);
	ormd_log(LOG_INFO, "next");
	assert_log(path, "^[^\n]{500,1023}yyy\\.\\.\\.\n[^\n]*: next\n$");
}

static void the_log_is_appended_to(void **state)
{
	(void)state;
	support_write_file(path, "before\n", strlen("before\n"));
	open_log(LOG_INFO);
	ormd_log(LOG_INFO, "after");
	assert_log(path, "^before\n[^\n]*: after\n$");
}

static void reopening_starts_a_new_file_after_a_move(void **state)
{
	char moved[SUPPORT_PATH_SIZE];

	(void)state;
	open_log(LOG_INFO);
	ormd_log(LOG_INFO, "old");
	assert_int_equal(rename(path, support_join(moved, dir, "ormd.log.1")), 0);
	ormd_log(LOG_INFO, "still old");
	ormd_log_reopen();
	ormd_log(LOG_INFO, "new");
	assert_log(moved, "^[^\n]*: old\n[^\n]*: still old\n$");
	assert_log(path, "^[^\n]*opened anew\n[^\n]*: new\n$");
}

static void a_log_that_cannot_be_reopened_goes_on(void **state)
{
	char folder[SUPPORT_PATH_SIZE];
	char moved[SUPPORT_PATH_SIZE];
	char file[SUPPORT_PATH_SIZE];
	orm_error error;

	(void)state;
	assert_int_equal(mkdir(support_join(folder, dir, "log"), 0700), 0);
	assert_int_equal(ormd_log_open(support_join(file, folder, "a"), LOG_INFO, &error), ORM_OK);
	assert_int_equal(rename(folder, support_join(moved, dir, "moved")), 0);
	ormd_log_reopen();
	ormd_log(LOG_INFO, "here");
	assert_log(support_join(file, moved, "a"), "cannot open the log[^\n]*\n[^\n]*: here\n$");
}

static void a_file_that_cannot_be_opened_is_refused(void **state)
{
	orm_error error = {0};

	(void)state;
	assert_int_equal(ormd_log_open("/nonexistent/x.log", LOG_INFO, &error), ORM_EPERM);
	assert_non_null(strstr(error.message, "/nonexistent/x.log"));
}

enum { N_THREADS = 4, N_LINES = 500 };

static void *write_lines(void *context)
{
	for (int i = 0; i < N_LINES; i++)
		ormd_log(LOG_INFO, "thread %s line %d end", (const char *)context, i);
	return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
	static const char *const names[N_THREADS] = {"a", "b", "c", "d"};
	pthread_t threads[N_THREADS];
	size_t n_lines = 0;
	char *rest = NULL;

	(void)state;
	open_log(LOG_INFO);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)(uintptr_t)names[i]), 0);
	for (int i = 0; i < 20; i++)
		ormd_log_reopen();
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);

	char *text = support_read_file(path, NULL);

	assert_non_null(text);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *message = strstr(line, "]: ");

		assert_non_null(message);
		if (strcmp(message, "]: log opened anew") == 0)
			continue;
		assert_matches(message, "^\\]: thread [a-d] line [0-9]+ end$");
		n_lines++;
	}
	assert_int_equal(n_lines, N_THREADS * N_LINES);
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_time_level_and_process),
		TEST(levels_have_names),
		TEST(what_is_below_the_level_is_left_out),
		TEST(a_message_is_one_line_of_printable_characters),
		TEST(a_long_message_is_cut),
		TEST(the_log_is_appended_to),
		TEST(reopening_starts_a_new_file_after_a_move),
		TEST(a_log_that_cannot_be_reopened_goes_on),
		TEST(a_file_that_cannot_be_opened_is_refused),
		TEST(lines_of_several_threads_stay_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
