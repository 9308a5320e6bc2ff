/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/ormd.pb-c.h"
#include "server/ormctl.h"
#include "support/tempdir.h"

static int saved_stdout;
static char path[SUPPORT_PATH_SIZE];

/* What a test prints goes to a file. */
static void catch_output(void)
{
	const int fd =
		open(support_join(path, support_tempdir(), "out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	fflush(stdout);
	saved_stdout = dup(STDOUT_FILENO);
	dup2(fd, STDOUT_FILENO);
	close(fd);
}

static char *caught_output(void)
{
	fflush(stdout);
	dup2(saved_stdout, STDOUT_FILENO);
	close(saved_stdout);
	return support_read_file(path, NULL);
}

static void a_table_is_aligned(void **state)
{
	static const char *const headings[] = {"NAME", ">N", "LAST"};
	ormctl_table table;

	(void)state;
	ormctl_table_init(&table, headings, 3);
	ormctl_table_add(&table, "Z\xc3\xbcrich"); /* six columns wide, seven bytes */
	ormctl_table_add(&table, "%d", 7);
	ormctl_table_add(&table, "x");
	ormctl_table_add(&table, "a");
	ormctl_table_add(&table, "%d", 1234);
	ormctl_table_add(&table, "long\x1b[0m");
	catch_output();

	const int code = ormctl_table_print(&table);
	char *text = caught_output();

	ormctl_table_fini(&table);
	assert_int_equal(code, ORMCTL_OK);
	assert_string_equal(text, "NAME       N  LAST\n"
				  "Z\xc3\xbcrich     7  x\n"
				  "a       1234  long?[0m\n");
	free(text);
}

static void times_are_short(void **state)
{
	static const struct {
		uint64_t milliseconds;
		const char *text;
	} cases[] = {{0, "0ms"},       {999, "999ms"},      {1000, "1.0s"},     {59999, "59.9s"},
		     {60000, "1m00s"}, {3599999, "59m59s"}, {3600000, "1h00m"}, {86400000, "1d00h"}};
	char text[ORMCTL_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(ormctl_duration(cases[i].milliseconds, text), cases[i].text);
}

static void sizes_are_short(void **state)
{
	char text[ORMCTL_TEXT_SIZE];

	(void)state;
	assert_string_equal(ormctl_size(0, text), "0 B");
	assert_string_equal(ormctl_size(1023, text), "1023 B");
	assert_string_equal(ormctl_size(1536, text), "1.5 KiB");
	assert_string_equal(ormctl_size(UINT64_C(3) << 30, text), "3.0 GiB");
	assert_string_equal(ormctl_size(UINT64_MAX, text), "16.0 EiB");
}

static void json_has_what_is_there(void **state)
{
	Ormd__V1__SessionInfo session = ORMD__V1__SESSION_INFO__INIT;

	(void)state;
	session.has_id = true;
	session.id = UINT64_C(0xfedcba9876543210);
	session.has_rev = true;
	session.rev = 5;
	session.name = "or\"der";
	session.has_on_death = true;
	session.on_death = ORMD__V1__ON_DEATH__ON_DEATH_KEEP;
	catch_output();

	const int code = ormctl_print_json(&session.base);
	char *text = caught_output();

	assert_int_equal(code, ORMCTL_OK);
	assert_string_equal(text, "{\n"
				  "  \"id\": \"fedcba9876543210\",\n"
				  "  \"name\": \"or\\\"der\",\n"
				  "  \"rev\": 5,\n"
				  "  \"on_death\": \"ON_DEATH_KEEP\",\n"
				  "  \"participants\": []\n"
				  "}\n");
	free(text);
}

static void json_survives_text_that_is_not_utf8(void **state)
{
	Ormd__V1__PendingField field = ORMD__V1__PENDING_FIELD__INIT;

	(void)state;
	field.before = "\xff\xfe";
	catch_output();

	const int code = ormctl_print_json(&field.base);
	char *text = caught_output();

	assert_int_equal(code, ORMCTL_OK);
	assert_string_equal(text, "{\n  \"before\": \"(not UTF-8)\"\n}\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_aligned),
		cmocka_unit_test(times_are_short),
		cmocka_unit_test(sizes_are_short),
		cmocka_unit_test(json_has_what_is_there),
		cmocka_unit_test(json_survives_text_that_is_not_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
