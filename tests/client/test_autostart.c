/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/autostart.h"
#include "client/server_program.h"
#include "support/eventually.h"
#include "support/tempdir.h"

#define N_RACERS 20

typedef struct fixture {
	const char *dir;
	char starts[SUPPORT_PATH_SIZE];
	char database[SUPPORT_PATH_SIZE];
	char url[SUPPORT_PATH_SIZE + 16];
	char connected_to[ORM_DISCOVERY_ADDRESS_SIZE];
	int n_connects;
} fixture;

static int set_up(void **state)
{
	static fixture f;
	char path[SUPPORT_PATH_SIZE];

	f = (fixture){.dir = support_tempdir()};
	support_join(f.starts, f.dir, "starts");
	support_join(f.database, f.dir, "shop.db");
	snprintf(f.url, sizeof f.url, "sqlite:///%s", f.database);
	setenv("XDG_RUNTIME_DIR", f.dir, 1);
	setenv("FAKE_ORMD_STARTS", f.starts, 1);
	setenv("FAKE_ORMD_DIED", support_join(path, f.dir, "died"), 1);
	setenv("ORMD", FAKE_ORMD, 1);
	unsetenv("FAKE_ORMD_MODE");
	*state = &f;
	return 0;
}

/* The n-th line of the starts, "" if there is none. Returns how many there are. */
static size_t read_starts(const fixture *f, size_t n, char *line, size_t size)
{
	char *text = support_read_file(f->starts, NULL);
	size_t n_lines = 0;

	*line = '\0';
	for (char *at = text; at && *at; n_lines++) {
		char *end = strchr(at, '\n');

		*end = '\0';
		if (n_lines == n)
			snprintf(line, size, "%s", at);
		at = end + 1;
	}
	free(text);
	return n_lines;
}

static size_t n_starts(const fixture *f)
{
	char line[4096];

	return read_starts(f, 0, line, sizeof line);
}

static pid_t pid_of_start(const fixture *f, size_t n)
{
	char line[4096];

	read_starts(f, n, line, sizeof line);
	return (pid_t)atol(line);
}

/* Ended; init may take its time to bury it. */
static bool is_gone(void *context)
{
	char path[64];
	char *stat;
	bool gone;

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)*(pid_t *)context);
	stat = support_read_file(path, NULL);
	gone = !stat || strstr(stat, ") Z ");
	free(stat);
	return gone;
}

/* The servers are nobody's: end those that were started. */
static int tear_down(void **state)
{
	fixture *f = *state;

	for (size_t i = 0; i < n_starts(f); i++) {
		pid_t pid = pid_of_start(f, i);

		kill(pid, SIGKILL);
		assert_true(support_eventually(is_gone, &pid, SUPPORT_PATIENCE_MS));
	}
	support_tempdir_remove(f->dir);
	return 0;
}

/* A server is one if its socket can be connected to. */
static orm_status connect_socket(const char *address, int64_t deadline_us, void *context, orm_error *error)
{
	fixture *f = context;
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)deadline_us;
	f->n_connects++;
	snprintf(name.sun_path, sizeof name.sun_path, "%s", address + strlen("ipc://"));
	const int result = connect(fd, (struct sockaddr *)&name, sizeof name);
	const int reason = errno;
	close(fd);
	if (result < 0)
		return orm_fail(error, ORM_EUNAVAILABLE, "cannot connect: %s", strerror(reason));
	snprintf(f->connected_to, sizeof f->connected_to, "%s", address);
	return ORM_OK;
}

static orm_status find(fixture *f, autostart_private *own, orm_error *error)
{
	const autostart_options options = {
		.url = f->url,
		.idle_timeout_ms = 1500,
		.deadline_us = orm_deadline_in_ms(SUPPORT_PATIENCE_MS),
		.connect = connect_socket,
		.context = f,
	};

	return autostart_find(&options, own, error);
}

static void assert_found(fixture *f)
{
	autostart_private own = {.pidfd = -1};
	orm_error error = {0};

	if (find(f, &own, &error) != ORM_OK)
		fail_msg("%s: %s", orm_status_name(error.code), error.message);
	assert_int_equal(own.pidfd, -1);
}

static void the_first_starts_a_server_and_the_second_finds_it(void **state)
{
	fixture *f = *state;
	char first[ORM_DISCOVERY_ADDRESS_SIZE];

	assert_found(f);
	memcpy(first, f->connected_to, sizeof first);
	assert_found(f);
	assert_string_equal(f->connected_to, first);
	assert_int_equal(n_starts(f), 1);
}

static void the_server_is_told_what_it_needs(void **state)
{
	fixture *f = *state;
	char line[4096];
	char part[1024];

	assert_found(f);
	read_starts(f, 0, line, sizeof line);
	snprintf(part, sizeof part, " ORMD_DATABASE=sqlite:///%s", f->database);
	assert_non_null(strstr(line, part));
	assert_non_null(strstr(line, " --lock-fd 4 "));
	assert_non_null(strstr(line, " --idle-timeout 1500ms"));
	snprintf(part, sizeof part, " --listen ipc://%s/ormd/", f->dir);
	assert_non_null(strstr(line, part));
	assert_null(strstr(line, "--exit-with"));
}

static void nothing(int number)
{
	(void)number;
}

static void the_server_inherits_nothing_of_its_starter(void **state)
{
	fixture *f = *state;
	char line[4096];
	sigset_t blocked;
	struct sigaction handled = {.sa_handler = nothing};
	const int open_fd = open("/dev/null", O_RDONLY); /* not close-on-exec: a careless host's */

	assert_true(open_fd >= 0);
	assert_int_equal(fcntl(open_fd, F_DUPFD, 100), 100);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGUSR1, &handled, NULL);
	assert_found(f);
	read_starts(f, 0, line, sizeof line);
	if (!strstr(line, "open=0 blocked=0 handled=0 leader=1 directory=/ "))
		fail_msg("%s", line);

	/* And the host finds its own state as it was. */
	sigset_t now;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	assert_true(sigismember(&now, SIGUSR2));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	close(open_fd);
	close(100);
}

static void a_host_that_ignores_its_children_can_start_one(void **state)
{
	struct sigaction ignored = {.sa_handler = SIG_IGN};
	struct sigaction before;

	sigaction(SIGCHLD, &ignored, &before);
	assert_found(*state);
	sigaction(SIGCHLD, &before, NULL);
}

static void *find_in_thread(void *context)
{
	fixture f = *(fixture *)context;
	autostart_private own = {.pidfd = -1};
	orm_error error = {0};

	return (void *)(intptr_t)find(&f, &own, &error);
}

static void twenty_threads_get_one_server(void **state)
{
	fixture *f = *state;
	pthread_t threads[N_RACERS];

	for (size_t i = 0; i < N_RACERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, find_in_thread, f), 0);
	for (size_t i = 0; i < N_RACERS; i++) {
		void *status;

		pthread_join(threads[i], &status);
		assert_ptr_equal(status, NULL);
	}
	assert_int_equal(n_starts(f), 1);
}

static void twenty_processes_get_one_server(void **state)
{
	fixture *f = *state;
	pid_t pids[N_RACERS];
	int gate[2];

	assert_int_equal(pipe(gate), 0);
	for (size_t i = 0; i < N_RACERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			autostart_private own = {.pidfd = -1};
			orm_error error = {0};
			char byte;

			close(gate[1]);
			if (read(gate[0], &byte, 1) != 0) /* until all are there */
				_exit(2);
			_exit(find(f, &own, &error) == ORM_OK ? 0 : 1);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (size_t i = 0; i < N_RACERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(n_starts(f), 1);
}

static void after_a_server_was_killed_another_is_started(void **state)
{
	fixture *f = *state;
	pid_t pid;

	assert_found(f);
	pid = pid_of_start(f, 0);
	kill(pid, SIGKILL);
	assert_true(support_eventually(is_gone, &pid, SUPPORT_PATIENCE_MS));
	assert_found(f);
	assert_int_equal(n_starts(f), 2);
}

static void a_server_that_dies_before_it_is_reached_is_replaced(void **state)
{
	fixture *f = *state;

	setenv("FAKE_ORMD_MODE", "dead-once", 1);
	assert_found(f);
	assert_int_equal(n_starts(f), 2);
}

static void a_server_that_does_not_start_says_why(void **state)
{
	fixture *f = *state;
	autostart_private own = {.pidfd = -1};
	orm_error error = {0};

	setenv("FAKE_ORMD_MODE", "fail", 1);
	assert_int_equal(find(f, &own, &error), ORM_EUNAVAILABLE);
	assert_string_equal(error.message, "the session server did not start: no room on the device");
	assert_int_equal(f->n_connects, 0);

	/* Nothing is left of it: the next try is as good as the first. */
	unsetenv("FAKE_ORMD_MODE");
	assert_found(f);
}

static void a_server_that_is_never_ready_is_waited_for_until_the_deadline(void **state)
{
	fixture *f = *state;
	autostart_private own = {.pidfd = -1};
	orm_error error = {0};
	const autostart_options options = {.url = f->url,
					   .idle_timeout_ms = 1,
					   .deadline_us = orm_deadline_in_ms(200),
					   .connect = connect_socket,
					   .context = f};

	setenv("FAKE_ORMD_MODE", "mute", 1);
	assert_int_equal(autostart_find(&options, &own, &error), ORM_ETIMEOUT);

	/* It has the lock: a second program waits for it too, and does not start another. */
	const autostart_options second = {.url = f->url,
					  .idle_timeout_ms = 1,
					  .deadline_us = orm_deadline_in_ms(200),
					  .connect = connect_socket,
					  .context = f};

	assert_int_equal(autostart_find(&second, &own, &error), ORM_ETIMEOUT);
	assert_non_null(strstr(error.message, "has the database's lock"));
	assert_int_equal(n_starts(f), 1);
}

static void a_database_that_is_deleted_and_made_anew_gets_a_server_of_its_own(void **state)
{
	fixture *f = *state;
	char lock_path[ORM_DISCOVERY_PATH_SIZE];
	char first[ORM_DISCOVERY_ADDRESS_SIZE];

	assert_found(f);
	memcpy(first, f->connected_to, sizeof first);
	assert_int_equal(orm_discovery_lock_path(f->url, lock_path, NULL), ORM_OK);
	assert_int_equal(unlink(lock_path), 0);
	assert_found(f);
	assert_string_not_equal(f->connected_to, first);
	assert_int_equal(n_starts(f), 2);
	assert_false(is_gone(&(pid_t){pid_of_start(f, 0)}));
}

static void two_spellings_of_a_file_get_one_server(void **state)
{
	fixture *f = *state;

	assert_found(f);
	snprintf(f->url, sizeof f->url, "sqlite:///%s/./../%s/shop.db", f->dir, strrchr(f->dir, '/') + 1);
	assert_found(f);
	assert_int_equal(n_starts(f), 1);
}

static void the_server_of_an_in_memory_database_is_this_process_s(void **state)
{
	fixture *f = *state;
	autostart_private own = {.pidfd = -1};
	autostart_private other = {.pidfd = -1};
	orm_error error = {0};
	char line[4096];
	char part[64];

	snprintf(f->url, sizeof f->url, "sqlite:///:memory:");
	assert_int_equal(find(f, &own, &error), ORM_OK);
	assert_true(own.pidfd >= 0);
	read_starts(f, 0, line, sizeof line);
	snprintf(part, sizeof part, " --exit-with %ld", (long)getpid());
	assert_non_null(strstr(line, part));
	assert_null(strstr(line, "--lock-fd"));
	assert_non_null(strstr(line, "open=0 "));

	assert_int_equal(find(f, &other, &error), ORM_OK);
	assert_string_not_equal(own.address, other.address);
	assert_int_equal(n_starts(f), 2);

	pid_t pids[] = {pid_of_start(f, 0), pid_of_start(f, 1)};
	autostart_end_private(&own);
	assert_int_equal(own.pidfd, -1);
	assert_true(support_eventually(is_gone, &pids[0], SUPPORT_PATIENCE_MS));
	assert_int_equal(kill(pids[1], 0), 0);
	autostart_end_private(&other);
	autostart_end_private(&other);
	assert_true(support_eventually(is_gone, &pids[1], SUPPORT_PATIENCE_MS));
}

static void an_in_memory_database_s_server_ends_with_its_process(void **state)
{
	fixture *f = *state;
	const pid_t child = fork();

	if (child == 0) {
		autostart_private own = {.pidfd = -1};
		orm_error error = {0};

		snprintf(f->url, sizeof f->url, "sqlite:///:memory:");
		_exit(find(f, &own, &error) == ORM_OK ? 0 : 1);
	}

	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	pid_t pid = pid_of_start(f, 0);
	assert_true(support_eventually(is_gone, &pid, SUPPORT_PATIENCE_MS));
}

static void refuse(fixture *f, orm_status code, const char *message)
{
	autostart_private own = {.pidfd = -1};
	orm_error error = {0};

	assert_int_equal(find(f, &own, &error), code);
	if (!strstr(error.message, message))
		fail_msg("'%s' does not say '%s'", error.message, message);
	assert_int_equal(n_starts(f), 0);
}

static void what_cannot_be_served_is_refused(void **state)
{
	fixture *f = *state;

	snprintf(f->url, sizeof f->url, "sqlite://shop.db");
	refuse(f, ORM_EINVAL, "has no host");
	snprintf(f->url, sizeof f->url, "sqlite:///%s/nowhere/shop.db", f->dir);
	refuse(f, ORM_ENOTFOUND, "nowhere");
	snprintf(f->url, sizeof f->url, "sqlite:///%s", f->database);
	setenv("ORMD", "/nowhere/ormd", 1);
	refuse(f, ORM_ENOTFOUND, "'/nowhere/ormd' that ORMD names");
}

static void a_socket_directory_that_others_may_enter_is_refused(void **state)
{
	fixture *f = *state;
	char path[SUPPORT_PATH_SIZE];

	assert_int_equal(mkdir(support_join(path, f->dir, "ormd"), 0700), 0);
	assert_int_equal(chmod(path, 0755), 0);
	refuse(f, ORM_EPERM, "mode 0700");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/tmp", path), 0);
	refuse(f, ORM_EPERM, "mode 0700");
}

static void the_program_is_looked_for_where_it_says(void **state)
{
	fixture *f = *state;
	char path[PATH_MAX];
	char other[SUPPORT_PATH_SIZE];
	char *before = strdup(getenv("PATH"));
	orm_error error = {0};

	/* What the program names goes before what the user names. */
	support_join(other, f->dir, "ormd");
	support_write_file(other, "#!/bin/sh\n", 10);
	assert_int_equal(server_program_find(other, path, &error), ORM_ENOTFOUND);
	assert_non_null(strstr(error.message, "Permission denied"));
	assert_int_equal(chmod(other, 0755), 0);
	assert_int_equal(server_program_find(other, path, &error), ORM_OK);
	assert_string_equal(path, other);
	assert_int_equal(server_program_find(f->dir, path, &error), ORM_ENOTFOUND);

	assert_int_equal(server_program_find(NULL, path, &error), ORM_OK);
	assert_string_equal(path, FAKE_ORMD);

	/* A relative one is made absolute: the server runs elsewhere. */
	assert_int_equal(server_program_find("./../../../../../../../../bin/true", path, &error), ORM_OK);
	assert_int_equal(path[0], '/');

	/* No directory of $PATH that is empty: that would be the working directory. */
	unsetenv("ORMD");
	setenv("PATH", f->dir, 1);
	assert_int_equal(server_program_find(NULL, path, &error), ORM_OK);
	setenv("PATH", "::/nowhere", 1);
	setenv("PWD", f->dir, 1);
	if (access(ORM_BINDIR "/ormd", X_OK) != 0) {
		assert_int_equal(server_program_find(NULL, path, &error), ORM_ENOTFOUND);
		assert_non_null(strstr(error.message, "ORMD"));
	}
	setenv("PATH", before, 1);
	free(before);
}

static void set_url(fixture *f, const char *url)
{
	snprintf(f->url, sizeof f->url, "%s", url);
}

static void a_database_that_is_no_file_gets_one_server(void **state)
{
	fixture *f = *state;
	char line[4096];
	char first[ORM_DISCOVERY_ADDRESS_SIZE];

	set_url(f, "postgresql://ann:secret@db.example/shop");
	assert_found(f);
	memcpy(first, f->connected_to, sizeof first);
	assert_int_equal(strncmp(first + strlen("ipc://"), f->dir, strlen(f->dir)), 0);
	set_url(f, "postgres://ann:changed@db.example/shop"); /* neither the scheme nor the password makes it another */
	assert_found(f);
	assert_string_equal(f->connected_to, first);
	assert_int_equal(n_starts(f), 1);

	set_url(f, "postgresql://bob:secret@db.example/shop"); /* but the user does */
	assert_found(f);
	assert_string_not_equal(f->connected_to, first);
	assert_int_equal(n_starts(f), 2);

	read_starts(f, 0, line, sizeof line);
	assert_non_null(strstr(line, " ORMD_DATABASE=postgresql://ann:secret@db.example/shop"));
	assert_non_null(strstr(line, " --lock-fd 4 "));
}

/* What everybody sees: the arguments of the server, and messages. */
static void a_password_is_not_shown(void **state)
{
	fixture *f = *state;
	char path[64];
	size_t size;
	char *arguments;
	orm_error error = {0};
	autostart_private own = {.pidfd = -1};

	set_url(f, "mysql://ann:s3cret@db.example/shop?password=s3cret");
	assert_found(f);
	snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid_of_start(f, 0));
	arguments = support_read_file(path, &size);
	assert_non_null(arguments);
	assert_null(memmem(arguments, size, "s3cret", strlen("s3cret")));
	free(arguments);

	setenv("FAKE_ORMD_MODE", "fail", 1);
	set_url(f, "mysql://eve:s3cret@db.example/shop");
	assert_int_equal(find(f, &own, &error), ORM_EUNAVAILABLE);
	assert_null(strstr(error.message, "s3cret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_starts_a_server_and_the_second_finds_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_is_told_what_it_needs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_inherits_nothing_of_its_starter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_host_that_ignores_its_children_can_start_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(twenty_threads_get_one_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(twenty_processes_get_one_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(after_a_server_was_killed_another_is_started, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_server_that_dies_before_it_is_reached_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_server_that_does_not_start_says_why, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_server_that_is_never_ready_is_waited_for_until_the_deadline, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_database_that_is_deleted_and_made_anew_gets_a_server_of_its_own,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_spellings_of_a_file_get_one_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_of_an_in_memory_database_is_this_process_s, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_in_memory_database_s_server_ends_with_its_process, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_served_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_directory_that_others_may_enter_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_program_is_looked_for_where_it_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_database_that_is_no_file_gets_one_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_password_is_not_shown, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
