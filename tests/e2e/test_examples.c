/* SPDX-License-Identifier: MIT */
/* The example programs do what the README says, with servers that they start themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "e2e/place.h"
#include "support/eventually.h"

/* The path of an example program. Borrowed, until the next call with the same slot. */
static const char *example(const char *name)
{
	static char paths[4][1024];
	static int  next;
	char       *path = paths[next++ % 4];
	const char *directory = getenv("EXAMPLES");
	assert_non_null(directory);
	snprintf(path, sizeof paths[0], "%s/%s", directory, name);
	return path;
}

/* Run it in the place's directory; its output goes to `output`. The exit status. */
static int run(const test_place *place, char output[SUPPORT_PATH_SIZE], const char *name, const char *argument, const char *second)
{
	const char *const argv[] = {example(name), argument, second, NULL};
	support_join(output, place->directory, "output");
	remove(output);
	int status = support_run(&(support_command){.argv = argv, .directory = place->directory, .stdout_path = output}, SUPPORT_PATIENCE_MS);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_same_text(const char *path, const char *expected_path)
{
	char *text = support_read_file(path, NULL), *expected = support_read_file(expected_path, NULL);
	assert_non_null(text);
	assert_non_null(expected);
	assert_string_equal(text, expected);
	free(text);
	free(expected);
}

static void blog_prints_what_the_readme_shows(void **state)
{
	const test_place *place = *state;
	char              output[SUPPORT_PATH_SIZE];
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(place, output, "blog", place->url, NULL), 0);
		/* On MariaDB the keys of a table that was dropped and made anew go on where they were. */
		if (i == 0 || engine_under_test() != ENGINE_MARIADB)
			assert_same_text(output, getenv("BLOG_EXPECTED"));
	}
	assert_int_equal(place_number(place, "SELECT count(*) FROM users"), -1); /* it has dropped its tables */
	assert_int_equal(place_number(place, "SELECT count(*) FROM posts"), -1);
}

/* The tutorial has its URL inside: "sqlite:///blog.db", in the directory that it runs in. */
static void the_tutorial_runs(void **state)
{
	test_place *place = *state;
	char        output[SUPPORT_PATH_SIZE];
	if (engine_under_test() != ENGINE_SQLITE)
		skip();
	support_join(place->database, place->directory, "blog.db");
	snprintf(place->url, sizeof place->url, "sqlite:///%s", place->database);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(place, output, "tutorial", NULL, NULL), 0);
		char *text = support_read_file(output, NULL);
		assert_string_equal(text, "Alice wrote \"Hello, world\"\n");
		free(text);
	}
	assert_int_equal(place_number(place, "SELECT count(*) FROM users"), 1);
	assert_string_equal(place_text(place, "SELECT name, email FROM users"), "Alice|alice@new.example");
	assert_int_equal(place_number(place, "SELECT count(*) FROM posts"), 0);
}

/* Both programs at once. The order desk's exit status, the warehouse's in *warehouse_status as waitpid gives it. */
static int play(const test_place *place, const char *session, const char *const *options, int *warehouse_status)
{
	const char *argv[6] = {example("warehouse"), place->url, session, options ? options[0] : NULL, options ? options[1] : NULL, NULL};
	const char *const desk[] = {example("order_desk"), place->url, session, NULL};
	char              path[SUPPORT_PATH_SIZE];
	support_process   warehouse;
	support_join(path, place->directory, "story");
	assert_true(support_process_start(&warehouse, &(support_command){.argv = argv, .stdout_path = path, .stderr_path = path}));
	int status = support_run(&(support_command){.argv = desk, .stdout_path = path, .stderr_path = path}, SUPPORT_PATIENCE_MS);
	assert_true(support_process_wait(&warehouse, SUPPORT_PATIENCE_MS, warehouse_status));
	support_process_fini(&warehouse);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_act_one(const test_place *place)
{
	assert_string_equal(place_text(place, "SELECT name, stock FROM products ORDER BY id"),
	                    "Kettle|9;Teapot|3;Cup|28");
	assert_string_equal(place_text(place, "SELECT customer FROM orders"), "Mrs Miller");
	assert_int_equal(place_number(place, "SELECT count(*) FROM \"lines\""), 3);
	assert_int_equal(place_number(place, "SELECT count(*) FROM reservations r JOIN \"lines\" l ON l.id = r.line_id AND l.quantity = r.quantity "
	                                     "WHERE r.shelf = 'A-' || l.product_id"), 3);
}

static void the_shop_commits_all_or_nothing(void **state)
{
	static const char *const die[] = {"--die-after", "2"};
	const test_place        *place = *state;
	char                     output[SUPPORT_PATH_SIZE];
	int                      status;
	assert_int_equal(run(place, output, "shop_admin", place->url, "setup"), 0);
	assert_string_equal(place_text(place, "SELECT name, stock FROM products ORDER BY id"),
	                    "Kettle|10;Teapot|5;Cup|40");

	assert_int_equal(play(place, "order-1042", NULL, &status), 0);
	assert_int_equal(status, 0);
	assert_act_one(place);

	assert_int_not_equal(play(place, "order-1043", die, &status), 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_act_one(place); /* nothing half-done */

	assert_int_equal(run(place, output, "shop_admin", place->url, "show"), 0);
	char *text = support_read_file(output, NULL);
	assert_non_null(strstr(text, "1 orders, 3 lines, 3 reservations; Kettle 9 Teapot 3 Cup 28"));
	free(text);
}

static void the_bank_loses_no_cent(void **state)
{
	enum { N_TELLERS = 3, N_TRANSFERS = 40 };
	const test_place *place = *state;
	const char *const argv[] = {example("bank"), place->url, "transfer", "40", NULL};
	support_process   tellers[N_TELLERS];
	char              output[SUPPORT_PATH_SIZE], said[N_TELLERS][SUPPORT_PATH_SIZE];
	long              n_done = 0;
	assert_int_equal(run(place, output, "bank", place->url, "setup"), 0);
	for (int i = 0; i < N_TELLERS; i++) {
		char name[20];
		snprintf(name, sizeof name, "teller%d", i);
		support_join(said[i], place->directory, name);
		assert_true(support_process_start(&tellers[i], &(support_command){.argv = argv, .stdout_path = said[i], .stderr_path = said[i]}));
	}
	for (int i = 0; i < N_TELLERS; i++) {
		int status;
		assert_true(support_process_wait(&tellers[i], SUPPORT_PATIENCE_MS, &status));
		support_process_fini(&tellers[i]);
		char *text = support_read_file(said[i], NULL);
		long  done = -1, refused = -1;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || sscanf(text, "%ld transfers, %ld refused", &done, &refused) != 2)
			fail_msg("a teller failed: %s", text);
		assert_int_equal(done + refused, N_TRANSFERS);
		n_done += done;
		free(text);
	}
	assert_int_equal(place_number(place, "SELECT count(*) FROM transfers"), n_done);
	assert_int_equal(run(place, output, "bank", place->url, "show"), 0);
	char *text = support_read_file(output, NULL);
	assert_non_null(strstr(text, "together 300.00\n"));
	free(text);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up_unserved, place_tear_down_unserved)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(blog_prints_what_the_readme_shows),
		IN_A_PLACE(the_tutorial_runs),
		IN_A_PLACE(the_shop_commits_all_or_nothing),
		IN_A_PLACE(the_bank_loses_no_cent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
