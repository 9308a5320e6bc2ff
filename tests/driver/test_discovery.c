/* SPDX-License-Identifier: MIT */
/* core/base/discovery.c: which file a URL means, and who serves it. */
#include "driver/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/discovery.h"

static void spellings_of_one_file_give_one_path(void **state)
{
	const char *dir = support_tempdir();
	char real[SUPPORT_PATH_SIZE];
	char link[SUPPORT_PATH_SIZE];
	char path[ORM_DISCOVERY_PATH_SIZE];
	char urls[5][ORM_DISCOVERY_PATH_SIZE];
	orm_error error;

	(void)state;
	assert_int_equal(mkdir(support_join(real, dir, "data"), 0700), 0);
	assert_int_equal(symlink("data", support_join(link, dir, "linked")), 0);
	assert_int_equal(symlink("data/shop.db", support_join(link, dir, "dangling.db")), 0);
	assert_int_equal(chdir(dir), 0);
	snprintf(urls[0], sizeof urls[0], "sqlite:///%s/data/shop.db", dir);
	snprintf(urls[1], sizeof urls[1], "sqlite:///%s/linked/../data/./shop.db", dir);
	snprintf(urls[2], sizeof urls[2], "sqlite:///linked/shop.db");
	snprintf(urls[3], sizeof urls[3], "sqlite:///data/sh%%6Fp.db");
	snprintf(urls[4], sizeof urls[4], "sqlite:///dangling.db");
	for (int exists = 0; exists < 2; exists++) {
		for (int i = 0; i < 5; i++) {
			char expected[SUPPORT_PATH_SIZE];
			char absolute[ORM_DISCOVERY_PATH_SIZE];
			char again[ORM_DISCOVERY_PATH_SIZE];

			support_join(expected, dir, "data/shop.db");
			if (orm_discovery_database_path(urls[i], path, &error) != ORM_OK)
				fail_msg("%s: %s", urls[i], error.message);
			assert_string_equal(path, expected);
			assert_int_equal(orm_discovery_absolute_url(urls[i], absolute, &error), ORM_OK);
			assert_int_equal(orm_discovery_database_path(absolute, again, &error), ORM_OK);
			assert_string_equal(again, expected);
			assert_int_equal(orm_discovery_lock_path(urls[i], path, &error), ORM_OK);
			support_join(expected, dir, "data/shop.db-ormd");
			assert_string_equal(path, expected);
		}
		support_write_file(support_join(real, dir, "data/shop.db"), "", 0);
	}
	assert_int_equal(chdir("/"), 0);
}

static void odd_names_survive_the_absolute_url(void **state)
{
	const char *dir = support_tempdir();
	char url[ORM_DISCOVERY_PATH_SIZE];
	char absolute[ORM_DISCOVERY_PATH_SIZE];
	char path[ORM_DISCOVERY_PATH_SIZE];
	char expected[SUPPORT_PATH_SIZE];

	(void)state;
	snprintf(url, sizeof url, "sqlite:///%s/a%%20b%%3F%%25%%23\xc3\xa4.db", dir);
	support_join(expected, dir, "a b?%#\xc3\xa4.db");
	assert_int_equal(orm_discovery_database_path(url, path, NULL), ORM_OK);
	assert_string_equal(path, expected);
	assert_int_equal(orm_discovery_absolute_url(url, absolute, NULL), ORM_OK);
	assert_int_equal(orm_discovery_database_path(absolute, path, NULL), ORM_OK);
	assert_string_equal(path, expected);
}

static void what_names_no_file_is_refused(void **state)
{
	static char longest[2 * ORM_DISCOVERY_PATH_SIZE] = "sqlite:////";
	char loop[SUPPORT_PATH_SIZE];
	char url[ORM_DISCOVERY_PATH_SIZE];
	char path[ORM_DISCOVERY_PATH_SIZE] = "untouched";
	orm_error error;

	(void)state;
	assert_int_equal(orm_discovery_lock_path("sqlite:///:memory:", path, &error), ORM_EUNSUPPORTED);
	assert_int_equal(orm_discovery_database_path("tcp://x", path, &error), ORM_EUNSUPPORTED);
	assert_int_equal(orm_discovery_database_path(NULL, path, &error), ORM_EUNSUPPORTED);
	memset(longest + strlen(longest), 'x', sizeof longest - strlen(longest) - 1);
	assert_int_equal(orm_discovery_database_path(longest, path, &error), ORM_EINVAL);
	support_join(loop, support_tempdir(), "loop.db");
	assert_int_equal(symlink("loop.db", loop), 0);
	snprintf(url, sizeof url, "sqlite:///%s", loop);
	assert_int_equal(orm_discovery_database_path(url, path, &error), ORM_EINVAL);
	assert_string_equal(path, "untouched");
	assert_int_equal(orm_discovery_database_path("sqlite:///:memory:", path, &error), ORM_OK);
	assert_string_equal(path, ":memory:");
}

static void databases_without_a_file_have_a_lock_in_the_runtime_directory(void **state)
{
	static const char *const same[] = {"postgresql://ann@host:5432/shop?sslmode=require",
					   "postgres://ann@host:5432/shop?sslmode=require",
					   "postgresql://ann:secret@host:5432/shop?sslmode=require",
					   "postgresql://ann@host:5432/shop?password=secret&sslmode=require"};
	static const char *const others[] = {"postgresql://bob@host:5432/shop?sslmode=require",
					     "postgresql://ann@other:5432/shop?sslmode=require",
					     "postgresql://ann@host:5433/shop?sslmode=require",
					     "postgresql://ann@host:5432/till?sslmode=require",
					     "postgresql://ann@host:5432/shop",
					     "mariadb://ann@host:5432/shop?sslmode=require"};
	const char *dir = support_tempdir();
	char expected[SUPPORT_PATH_SIZE];
	char first[ORM_DISCOVERY_PATH_SIZE];
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_error error;
	int fd = -1;
	int other = -1;

	(void)state;
	setenv("XDG_RUNTIME_DIR", dir, 1);
	assert_int_equal(orm_discovery_lock_path(same[0], first, &error), ORM_OK);
	support_join(expected, dir, "ormd/");
	assert_memory_equal(first, expected, strlen(expected));
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		assert_int_equal(orm_discovery_lock_path(same[i], path, &error), ORM_OK);
		assert_string_equal(path, first);
		assert_int_equal(orm_discovery_absolute_url(same[i], path, &error), ORM_OK);
		assert_string_equal(path, same[i]);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_int_equal(orm_discovery_lock_path(others[i], path, &error), ORM_OK);
		assert_string_not_equal(path, first);
	}
	assert_int_equal(orm_discovery_lock(first, &fd, &error), ORM_OK);
	assert_int_equal(orm_discovery_announce(fd, "ipc:///run/x.sock", &error), ORM_OK);
	assert_int_equal(orm_discovery_lock(first, &other, &error), ORM_EEXIST);
	assert_non_null(strstr(error.message, "this database is served by pid "));
	orm_discovery_unlock(fd);

	assert_int_equal(orm_discovery_database_path(same[2], path, &error), ORM_EUNSUPPORTED);
	assert_null(strstr(error.message, "secret"));
	assert_int_equal(chmod(support_join(expected, dir, "ormd"), 0755), 0);
	assert_int_equal(orm_discovery_lock_path(same[0], path, &error), ORM_EPERM);
	assert_non_null(strstr(error.message, expected));
	unsetenv("XDG_RUNTIME_DIR");
}

static void make_lock_path(char path[ORM_DISCOVERY_PATH_SIZE])
{
	assert_int_equal(orm_discovery_lock_path(database_url("shop.db"), path, NULL), ORM_OK);
}

static void the_lock_names_its_holder(void **state)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;
	struct stat file;
	orm_error error;
	int fd = -1;
	int other = -1;

	(void)state;
	make_lock_path(path);
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_ENOTFOUND);
	assert_int_equal(orm_discovery_lock(path, &fd, &error), ORM_OK);
	assert_true(fd > STDERR_FILENO);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 0077, 0);
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_OK);
	assert_int_equal(owner.pid, getpid());
	assert_string_equal(owner.address, "");
	assert_int_equal(orm_discovery_lock(path, &other, &error), ORM_EEXIST);
	assert_int_equal(other, -1);
	assert_non_null(strstr(error.message, "try again"));

	assert_int_equal(orm_discovery_announce(fd, "ipc:///tmp/a/long/address.sock", &error), ORM_OK);
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_OK);
	assert_string_equal(owner.address, "ipc:///tmp/a/long/address.sock");
	assert_int_equal(orm_discovery_announce(fd, "tcp://h:1", &error), ORM_OK); /* shorter than the last */
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_OK);
	assert_string_equal(owner.address, "tcp://h:1");
	assert_int_equal(orm_discovery_lock(path, &other, &error), ORM_EEXIST);
	assert_non_null(strstr(error.message, "tcp://h:1"));
	assert_non_null(strstr(error.message, "shop.db'"));
	assert_int_equal(orm_discovery_announce(fd, "two\nlines", &error), ORM_EINVAL);
	assert_int_equal(orm_discovery_announce(fd, "", &error), ORM_EINVAL);

	orm_discovery_unlock(fd);
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_OK);
	assert_int_equal(owner.pid, 0);
	assert_string_equal(owner.address, "");
	assert_int_equal(orm_discovery_lock(path, &fd, &error), ORM_OK);
	orm_discovery_unlock(fd);
	orm_discovery_unlock(-1);
}

static void what_a_dead_server_left_goes_with_the_next_lock(void **state)
{
	static const char stale[] = "pid 4711\naddress ipc:///tmp/dead.sock\n";
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;
	int fd = -1;

	(void)state;
	make_lock_path(path);
	support_write_file(path, stale, sizeof stale - 1);
	assert_int_equal(orm_discovery_read(path, &owner, NULL), ORM_OK);
	assert_int_equal(owner.pid, 4711);
	assert_int_equal(orm_discovery_lock(path, &fd, NULL), ORM_OK);
	assert_int_equal(orm_discovery_read(path, &owner, NULL), ORM_OK);
	assert_int_equal(owner.pid, getpid());
	assert_string_equal(owner.address, "");
	orm_discovery_unlock(fd);
}

static void any_bytes_in_the_file_are_survived(void **state)
{
	static const char *const texts[] = {"",
					    "pid",
					    "pid \n",
					    "pid x\naddress\n",
					    "pid 99999999999999999999999\n",
					    "address no end of line",
					    "pid -5\naddress a\n",
					    "\n\n\n"};
	static char much[100000];
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;

	(void)state;
	make_lock_path(path);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		support_write_file(path, texts[i], strlen(texts[i]));
		assert_int_equal(orm_discovery_read(path, &owner, NULL), ORM_OK);
		assert_int_equal(owner.pid, 0);
		assert_true(owner.address[0] == '\0' || strcmp(owner.address, "a") == 0);
	}
	memset(much, 'x', sizeof much);
	memcpy(much, "address ", strlen("address "));
	support_write_file(path, much, sizeof much);
	assert_int_equal(orm_discovery_read(path, &owner, NULL), ORM_OK);
	assert_string_equal(owner.address, "");
}

/* The client takes the lock, its child keeps it through exec, and the client lets go of it: never a moment without the
 * lock. */
static void the_lock_passes_to_a_child(void **state)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;
	orm_error error;
	int ready[2];
	int fd = -1;
	int other = -1;
	int status;
	char byte;
	pid_t pid;

	(void)state;
	make_lock_path(path);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(orm_discovery_lock(path, &fd, &error), ORM_OK);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (orm_discovery_adopt(fd, path, NULL) != ORM_OK ||
		    orm_discovery_announce(fd, "ipc:///child", NULL) != ORM_OK || write(ready[1], "x", 1) != 1)
			_exit(1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(fd);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_int_equal(orm_discovery_lock(path, &other, &error), ORM_EEXIST);
	assert_non_null(strstr(error.message, "ipc:///child"));
	assert_int_equal(orm_discovery_read(path, &owner, &error), ORM_OK);
	assert_int_equal(owner.pid, pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(orm_discovery_lock(path, &other, &error), ORM_OK); /* the kernel gave it back */
	orm_discovery_unlock(other);
}

static void only_the_locked_file_is_adopted(void **state)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_error error;
	int holder = -1;
	int fd;

	(void)state;
	make_lock_path(path);
	assert_int_equal(orm_discovery_adopt(-1, path, &error), ORM_EINVAL);
	assert_int_equal(orm_discovery_adopt(STDERR_FILENO, path, &error), ORM_EINVAL);
	assert_int_equal(orm_discovery_lock(path, &holder, &error), ORM_OK);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(orm_discovery_adopt(fd, path, &error),
			 ORM_EINVAL); /* the same file, but another holds the lock */
	close(fd);
	orm_discovery_unlock(holder);
}

/* Against the rules, but people do it. */
static void a_removed_lock_file_is_made_anew(void **state)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	int fd = -1;

	(void)state;
	make_lock_path(path);
	assert_int_equal(orm_discovery_lock(path, &fd, NULL), ORM_OK);
	orm_discovery_unlock(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(orm_discovery_lock(path, &fd, NULL), ORM_OK);
	assert_int_equal(access(path, F_OK), 0);
	orm_discovery_unlock(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings_of_one_file_give_one_path),
		cmocka_unit_test(odd_names_survive_the_absolute_url),
		cmocka_unit_test(what_names_no_file_is_refused),
		cmocka_unit_test(databases_without_a_file_have_a_lock_in_the_runtime_directory),
		cmocka_unit_test(the_lock_names_its_holder),
		cmocka_unit_test(what_a_dead_server_left_goes_with_the_next_lock),
		cmocka_unit_test(any_bytes_in_the_file_are_survived),
		cmocka_unit_test(the_lock_passes_to_a_child),
		cmocka_unit_test(only_the_locked_file_is_adopted),
		cmocka_unit_test(a_removed_lock_file_is_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
