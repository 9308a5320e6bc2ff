/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/address.h"
#include "support/tempdir.h"

static const char *dir;
static char url[SUPPORT_PATH_SIZE];
static char address[ORM_DISCOVERY_ADDRESS_SIZE];
static orm_error error;

static int set_up(void **state)
{
	(void)state;
	dir = support_tempdir();
	snprintf(url, sizeof url, "sqlite:///%s/shop.db", dir);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	address[0] = '\0';
	error = (orm_error){0};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	support_tempdir_remove(dir);
	return 0;
}

static void it_is_in_the_users_own_directory(void **state)
{
	char expected[SUPPORT_PATH_SIZE];
	struct stat what;

	(void)state;
	assert_int_equal(ormd_default_address(url, address, &error), ORM_OK);
	snprintf(expected, sizeof expected, "ipc://%s/ormd/", dir);
	assert_memory_equal(address, expected, strlen(expected));
	assert_non_null(strstr(address, ".sock"));
	assert_int_equal(stat(support_join(expected, dir, "ormd"), &what), 0);
	assert_int_equal(what.st_mode & 0777, 0700);
}

static void two_spellings_of_a_file_have_one_address(void **state)
{
	char other[ORM_DISCOVERY_ADDRESS_SIZE];
	char spelling[SUPPORT_PATH_SIZE];

	(void)state;
	assert_int_equal(ormd_default_address(url, address, &error), ORM_OK);
	snprintf(spelling, sizeof spelling, "sqlite:///%s/./sh%%6fp.db", dir);
	assert_int_equal(ormd_default_address(spelling, other, &error), ORM_OK);
	assert_string_equal(address, other);
}

static void two_files_have_two_addresses(void **state)
{
	char other[ORM_DISCOVERY_ADDRESS_SIZE];
	char another[SUPPORT_PATH_SIZE];

	(void)state;
	assert_int_equal(ormd_default_address(url, address, &error), ORM_OK);
	snprintf(another, sizeof another, "sqlite:///%s/other.db", dir);
	assert_int_equal(ormd_default_address(another, other, &error), ORM_OK);
	assert_string_not_equal(address, other);
}

static void a_database_in_memory_has_one_too(void **state)
{
	(void)state;
	assert_int_equal(ormd_default_address("sqlite:///:memory:", address, &error), ORM_OK);
	assert_memory_equal(address, "ipc:///", 7);
}

static void a_directory_that_others_may_enter_is_refused(void **state)
{
	char shared[SUPPORT_PATH_SIZE];

	(void)state;
	assert_int_equal(mkdir(support_join(shared, dir, "ormd"), 0700), 0);
	assert_int_equal(chmod(shared, 0755), 0);
	assert_int_equal(ormd_default_address(url, address, &error), ORM_EPERM);
	assert_non_null(strstr(error.message, shared));
	assert_string_equal(address, "");
}

static void a_link_is_no_directory_of_ours(void **state)
{
	char link[SUPPORT_PATH_SIZE];

	(void)state;
	assert_int_equal(symlink(dir, support_join(link, dir, "ormd")), 0);
	assert_int_equal(ormd_default_address(url, address, &error), ORM_EPERM);
}

static void without_a_runtime_directory_it_is_in_tmp(void **state)
{
	char expected[64];

	(void)state;
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(ormd_default_address(url, address, &error), ORM_OK);
	snprintf(expected, sizeof expected, "ipc:///tmp/ormd-%ld/", (long)geteuid());
	assert_memory_equal(address, expected, strlen(expected));
}

static void a_runtime_directory_that_others_may_write_is_not_used(void **state)
{
	(void)state;
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(ormd_default_address(url, address, &error), ORM_OK);
	assert_null(strstr(address, dir));
}

static void a_directory_without_a_database_is_told(void **state)
{
	(void)state;
	assert_int_equal(ormd_default_address("sqlite:////nonexistent/shop.db", address, &error), ORM_ENOTFOUND);
}

static void a_database_that_is_no_file_has_one_too(void **state)
{
	char expected[SUPPORT_PATH_SIZE];
	char other[ORM_DISCOVERY_ADDRESS_SIZE];

	(void)state;
	assert_int_equal(ormd_default_address("postgresql://ann:secret@host/shop", address, &error), ORM_OK);
	snprintf(expected, sizeof expected, "ipc://%s/ormd/", dir);
	assert_memory_equal(address, expected, strlen(expected));
	assert_int_equal(ormd_default_address("postgres://ann@host/shop", other, &error), ORM_OK);
	assert_string_equal(address, other);
	assert_int_equal(ormd_default_address("postgresql://ann@host/other", other, &error), ORM_OK);
	assert_string_not_equal(address, other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_is_in_the_users_own_directory),
		TEST(two_spellings_of_a_file_have_one_address),
		TEST(two_files_have_two_addresses),
		TEST(a_database_in_memory_has_one_too),
		TEST(a_database_that_is_no_file_has_one_too),
		TEST(a_directory_that_others_may_enter_is_refused),
		TEST(a_link_is_no_directory_of_ours),
		TEST(without_a_runtime_directory_it_is_in_tmp),
		TEST(a_runtime_directory_that_others_may_write_is_not_used),
		TEST(a_directory_without_a_database_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
