/* SPDX-License-Identifier: MIT */
/* The daemon as a process: options, exit codes, who may serve, how it ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/discovery.h"
#include "programs.h"
#include "support/eventually.h"
#include "support/server.h"

static const char *dir;
static char url[SUPPORT_PATH_SIZE];
static char file[SUPPORT_PATH_SIZE];
static support_ormd ormd;

static int set_up(void **state)
{
	(void)state;
	dir = support_tempdir();
	snprintf(url, sizeof url, "sqlite:///%s", support_join(file, dir, "shop.db"));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	ormd = (support_ormd){0};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	support_process_fini(&ormd.process);
	support_tempdir_remove(dir);
	return 0;
}

static program_result run(const char *const *args)
{
	return run_program(dir, ormd_path(), args);
}

static void assert_refused(const char *const *args, int code, const char *part)
{
	program_result result = run(args);

	assert_output_has(&result, part);
	assert_int_equal(result.code, code);
	program_result_fini(&result);
}

/* Does somebody accept connections there? */
static bool answers(const char *address)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_memory_equal(address, "ipc://", 6);
	snprintf(name.sun_path, sizeof name.sun_path, "%s", address + 6);

	const bool connected = connect(fd, (const struct sockaddr *)&name, sizeof name) == 0;

	close(fd);
	return connected;
}

static int wait_for_exit(support_process *process)
{
	int status = 0;

	assert_true(support_process_wait(process, SUPPORT_PATIENCE_MS, &status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool log_has(const char *part)
{
	char *text = support_read_file(ormd.log_path, NULL);
	const bool has = text && strstr(text, part);

	free(text);
	return has;
}

static bool log_has_it(void *context)
{
	return log_has(context);
}

/* ---- options --------------------------------------------------------------------------------------------------- */

static void help_tells_options_and_defaults(void **state)
{
	program_result result = run((const char *const[]){"--help", NULL});

	(void)state;
	assert_int_equal(result.code, 0);
	assert_output_has(&result, "--database=URL");
	assert_output_has(&result, "--idle-timeout=TIME");
	assert_output_has(&result, "default: 15s");
	assert_output_has(&result, "--config=FILE");
	program_result_fini(&result);
}

static void version_is_told(void **state)
{
	program_result result = run((const char *const[]){"--version", NULL});

	(void)state;
	assert_int_equal(result.code, 0);
	assert_memory_equal(result.output, "ormd ", 5);
	program_result_fini(&result);
}

static void wrong_usage_is_64(void **state)
{
	(void)state;
	assert_refused((const char *const[]){NULL}, 64, "--database");
	assert_refused((const char *const[]){"--nonsense", NULL}, 64, "nonsense");
	assert_refused((const char *const[]){"-d", url, "extra", NULL}, 64, "extra");
	assert_refused((const char *const[]){"-d", url, "--lease", "soon", NULL}, 64, "--lease: 'soon' is not a time");
	assert_refused((const char *const[]){"-d", "shop.db", NULL}, 64, "--database: ");
	assert_refused((const char *const[]){"-d", url, "-l", "tls+tcp://127.0.0.1:0", NULL}, 64, "tls-ca-file");
	assert_refused((const char *const[]){"-d", NULL}, 64, "requires an argument");
}

static void a_missing_configuration_file_is_66(void **state)
{
	(void)state;
	assert_refused((const char *const[]){"-c", "/nonexistent/ormd.conf", NULL}, 66, "/nonexistent/ormd.conf");
}

static void a_mistake_in_the_configuration_file_is_78(void **state)
{
	char path[SUPPORT_PATH_SIZE];

	(void)state;
	support_write_file(support_join(path, dir, "ormd.conf"), "lease = 1s\nlaese = 1s\n", 22);
	assert_refused((const char *const[]){"-c", path, "-d", url, NULL}, 78, "ormd.conf:2: ");
}

static void a_database_in_no_directory_is_69(void **state)
{
	(void)state;
	assert_refused((const char *const[]){"-d", "sqlite:////nonexistent/shop.db", NULL}, 69, "/nonexistent");
}

static void a_missing_database_is_not_made_if_that_is_not_wanted(void **state)
{
	(void)state;
	assert_refused((const char *const[]){"-d", url, "--create", "no", NULL}, 69, "shop.db");
	assert_int_equal(access(file, F_OK), -1);
}

static void a_configuration_file_is_enough(void **state)
{
	char path[SUPPORT_PATH_SIZE];
	char text[3 * SUPPORT_PATH_SIZE];
	char log[SUPPORT_PATH_SIZE];

	(void)state;
	snprintf(text, sizeof text, "log-file = %s\nlog-level = debug\ndrain-timeout = 1s\n", support_join(log, dir, "own.log"));
	support_write_file(support_join(path, dir, "ormd.conf"), text, strlen(text));
	support_ormd_start(&ormd, dir, url, (const char *const[]){"-c", path, NULL}, NULL);
	assert_int_equal(support_ormd_stop(&ormd), 0);

	char *logged = support_read_file(log, NULL);

	assert_non_null(logged);
	assert_non_null(strstr(logged, "serving sqlite:///"));
	assert_non_null(strstr(logged, "ending: SIGTERM"));
	free(logged);
}

/* ---- serving ----------------------------------------------------------------------------------------------------- */

static void it_answers_when_it_says_so(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
	assert_false(answers(ormd.address));
}

static void its_socket_has_the_mode_that_was_asked_for(void **state)
{
	struct stat what;

	(void)state;
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--ipc-mode", "0660", NULL}, NULL);
	assert_int_equal(stat(ormd.address + strlen("ipc://"), &what), 0);
	assert_int_equal(what.st_mode & 0777, 0660);
}

static void it_serves_several_addresses(void **state)
{
	char first[SUPPORT_PATH_SIZE + 8], second[SUPPORT_PATH_SIZE + 8];

	(void)state;
	snprintf(first, sizeof first, "ipc://%s/1.sock", dir);
	snprintf(second, sizeof second, "ipc://%s/2.sock", dir);
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--listen", first, "--listen", second, NULL}, NULL);
	assert_string_equal(ormd.address, first);
	assert_true(answers(first));
	assert_true(answers(second));
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

/* The lock file beside the database tells who serves it, and where. */
static void it_announces_itself(void **state)
{
	char lock[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;
	orm_error error;

	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	assert_int_equal(orm_discovery_lock_path(url, lock, &error), ORM_OK);
	assert_int_equal(orm_discovery_read(lock, &owner, &error), ORM_OK);
	assert_int_equal(owner.pid, ormd.process.pid);
	assert_string_equal(owner.address, ormd.address);
}

/* Without --listen: support_ormd_start would give one, so this starts it by hand. */
static void without_an_address_it_has_one_of_its_own(void **state)
{
	char lock[ORM_DISCOVERY_PATH_SIZE];
	char ready_fd[16];
	char line[SUPPORT_PATH_SIZE];
	char expected[SUPPORT_PATH_SIZE];
	orm_discovery_owner owner;
	orm_error error;
	int ready[2];

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	snprintf(ready_fd, sizeof ready_fd, "%d", ready[1]);

	const char *const argv[] = {ormd_path(), "-d", url, "--ready-fd", ready_fd, NULL};

	assert_true(support_process_start(&ormd.process, &(support_command){.argv = argv, .keep_fd = ready[1]}));
	close(ready[1]);
	assert_true(support_read_line(ready[0], line, sizeof line, SUPPORT_PATIENCE_MS));
	close(ready[0]);
	snprintf(expected, sizeof expected, "ipc://%s/ormd/", dir);
	assert_memory_equal(line, expected, strlen(expected));
	assert_true(answers(line));
	assert_int_equal(orm_discovery_lock_path(url, lock, &error), ORM_OK);
	assert_int_equal(orm_discovery_read(lock, &owner, &error), ORM_OK);
	assert_string_equal(owner.address, line);
}

static void a_second_server_of_the_file_is_refused(void **state)
{
	char pid[32];
	char other[SUPPORT_PATH_SIZE + 8];

	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	snprintf(pid, sizeof pid, "%ld", (long)ormd.process.pid);
	snprintf(other, sizeof other, "ipc://%s/other.sock", dir);
	assert_refused((const char *const[]){"-d", url, "-l", other, NULL}, 69, pid);
	assert_refused((const char *const[]){"-d", url, "-l", other, NULL}, 69, ormd.address);
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

static void a_second_server_at_the_address_is_refused(void **state)
{
	char pid[32];
	char other[SUPPORT_PATH_SIZE];

	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	snprintf(pid, sizeof pid, "%ld", (long)ormd.process.pid);
	snprintf(other, sizeof other, "sqlite:///%s/other.db", dir);
	assert_refused((const char *const[]){"-d", other, "-l", ormd.address, NULL}, 69, pid);
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

static void what_a_killed_server_left_is_no_obstacle(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	support_ormd_kill(&ormd);
	assert_int_equal(access(ormd.address + strlen("ipc://"), F_OK), 0);
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

/* As a client does that starts one: the lock is never free in between. */
static void it_takes_over_a_lock(void **state)
{
	char lock[ORM_DISCOVERY_PATH_SIZE];
	char ready_fd[16], lock_fd[16];
	char line[SUPPORT_PATH_SIZE];
	orm_discovery_owner owner;
	orm_error error;
	int ready[2];
	int fd = -1;
	int again = -1;

	(void)state;
	assert_int_equal(orm_discovery_lock_path(url, lock, &error), ORM_OK);
	assert_int_equal(orm_discovery_lock(lock, &fd, &error), ORM_OK);
	assert_int_equal(pipe2(ready, 0), 0);
	fcntl(ready[0], F_SETFD, FD_CLOEXEC);
	snprintf(ready_fd, sizeof ready_fd, "%d", ready[1]);
	snprintf(lock_fd, sizeof lock_fd, "%d", fd);

	const char *const argv[] = {ormd_path(), "-d", url, "--ready-fd", ready_fd, "--lock-fd", lock_fd, NULL};

	assert_true(support_process_start(&ormd.process, &(support_command){.argv = argv, .keep_fd = fd}));
	close(fd);
	close(ready[1]);
	assert_int_equal(orm_discovery_lock(lock, &again, &error), ORM_EEXIST);
	assert_true(support_read_line(ready[0], line, sizeof line, SUPPORT_PATIENCE_MS));
	close(ready[0]);
	assert_int_equal(orm_discovery_lock(lock, &again, &error), ORM_EEXIST);
	assert_int_equal(orm_discovery_read(lock, &owner, &error), ORM_OK);
	assert_int_equal(owner.pid, ormd.process.pid);
	assert_string_equal(owner.address, line);
}

static void a_descriptor_that_is_not_the_lock_is_refused(void **state)
{
	(void)state;
	assert_refused((const char *const[]){"-d", url, "--lock-fd", "77", NULL}, 64, "77");
}

static void a_database_in_memory_needs_no_lock(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, "sqlite:///:memory:", NULL, NULL);
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void a_signal_ends_it_cleanly(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT};

	(void)state;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		support_ormd_start(&ormd, dir, url, NULL, NULL);
		assert_true(support_process_signal(&ormd.process, signals[i]));
		assert_int_equal(wait_for_exit(&ormd.process), 0);
		support_process_fini(&ormd.process);
		/* The database is whole in its one file. */
		assert_int_equal(access(file, F_OK), 0);
		assert_int_equal(access(support_join((char[SUPPORT_PATH_SIZE]){0}, dir, "shop.db-wal"), F_OK), -1);
	}
}

static void an_idle_server_ends(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--idle-timeout", "50ms", NULL}, NULL);
	assert_int_equal(wait_for_exit(&ormd.process), 0);
	assert_true(log_has("ending: no client"));
}

static void it_ends_with_a_process(void **state)
{
	support_process other = {0};
	const char *const cat[] = {"cat", NULL};
	char pid[32];

	(void)state;
	assert_true(support_process_start(&other, &(support_command){.argv = cat, .pipe_stdin = true}));
	snprintf(pid, sizeof pid, "%ld", (long)other.pid);
	support_ormd_start(&ormd, dir, "sqlite:///:memory:", (const char *const[]){"--exit-with", pid, NULL}, NULL);
	assert_true(answers(ormd.address));
	support_process_fini(&other);
	assert_int_equal(wait_for_exit(&ormd.process), 0);
	assert_true(log_has("has ended"));
}

static void sighup_opens_the_log_anew(void **state)
{
	char log[SUPPORT_PATH_SIZE], moved[SUPPORT_PATH_SIZE];

	(void)state;
	support_join(log, dir, "own.log");
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--log-file", log, NULL}, NULL);
	assert_int_equal(rename(log, support_join(moved, dir, "own.log.1")), 0);
	assert_true(support_process_signal(&ormd.process, SIGHUP));
	snprintf(ormd.log_path, sizeof ormd.log_path, "%s", log);
	assert_true(support_eventually(log_has_it, "opened anew", SUPPORT_PATIENCE_MS));
	assert_true(answers(ormd.address));
	assert_int_equal(support_ormd_stop(&ormd), 0);
	assert_true(log_has("ending: SIGTERM"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(help_tells_options_and_defaults),
		TEST(version_is_told),
		TEST(wrong_usage_is_64),
		TEST(a_missing_configuration_file_is_66),
		TEST(a_mistake_in_the_configuration_file_is_78),
		TEST(a_database_in_no_directory_is_69),
		TEST(a_missing_database_is_not_made_if_that_is_not_wanted),
		TEST(a_configuration_file_is_enough),
		TEST(it_answers_when_it_says_so),
		TEST(its_socket_has_the_mode_that_was_asked_for),
		TEST(it_serves_several_addresses),
		TEST(it_announces_itself),
		TEST(without_an_address_it_has_one_of_its_own),
		TEST(a_second_server_of_the_file_is_refused),
		TEST(a_second_server_at_the_address_is_refused),
		TEST(what_a_killed_server_left_is_no_obstacle),
		TEST(it_takes_over_a_lock),
		TEST(a_descriptor_that_is_not_the_lock_is_refused),
		TEST(a_database_in_memory_needs_no_lock),
		TEST(a_signal_ends_it_cleanly),
		TEST(an_idle_server_ends),
		TEST(it_ends_with_a_process),
		TEST(sighup_opens_the_log_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
