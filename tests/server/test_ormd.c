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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/discovery.h"
#include "client.h"
#include "programs.h"
#include "proto/rpc.pb-c.h"
#include "support/engine.h"
#include "support/eventually.h"
#include "support/server.h"

static const char *dir;
static char url[ENGINE_URL_SIZE];
static char file[SUPPORT_PATH_SIZE]; /* of the database, on SQLite */
static support_ormd ormd;
static client program;

static int set_up(void **state)
{
	(void)state;
	dir = support_tempdir();
	if (engine_under_test() == ENGINE_SQLITE)
		snprintf(url, sizeof url, "sqlite:///%s", support_join(file, dir, "shop.db"));
	else
		engine_fresh_url(url);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	ormd = (support_ormd){0};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_fini(&program);
	support_process_fini(&ormd.process);
	if (engine_under_test() != ENGINE_SQLITE)
		engine_drop(url);
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

/* A whole call, rather than a connection that is closed again: that is what a client does. */
static void assert_answers(const char *address)
{
	client c;

	client_connect(&c, address);
	client_declare_models(&c);
	client_fini(&c);
}

static bool has_socket(const char *address)
{
	return access(address + strlen("ipc://"), F_OK) == 0;
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
	assert_refused((const char *const[]){"-d", "shop.db", NULL}, 64, "--database: 'shop.db' is not the URL");
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
	char name[SUPPORT_PATH_SIZE];

	(void)state;
	if (engine_under_test() == ENGINE_SQLITE) {
		assert_refused((const char *const[]){"-d", url, "--create", "no", NULL}, 69, "shop.db");
		assert_int_equal(access(file, F_OK), -1);
		return;
	}
	engine_drop(url);
	snprintf(name, sizeof name, "%s", strstr(url, "@/") ? strstr(url, "@/") + 2 : strrchr(url, '/') + 1);
	name[strcspn(name, "?")] = '\0';
	assert_refused((const char *const[]){"-d", url, "--create", "no", NULL}, 69, name);
}

static void a_configuration_file_is_enough(void **state)
{
	char path[SUPPORT_PATH_SIZE];
	char text[3 * SUPPORT_PATH_SIZE];
	char log[SUPPORT_PATH_SIZE];

	(void)state;
	snprintf(text, sizeof text, "log-file = %s\nlog-level = debug\ndrain-timeout = 1s\n",
		 support_join(log, dir, "own.log"));
	support_write_file(support_join(path, dir, "ormd.conf"), text, strlen(text));
	support_ormd_start(&ormd, dir, url, (const char *const[]){"-c", path, NULL}, NULL);
	assert_int_equal(support_ormd_stop(&ormd), 0);

	char *logged = support_read_file(log, NULL);

	assert_non_null(logged);
	snprintf(text, sizeof text, "serving %.*s://", (int)strcspn(url, ":"), url);
	assert_non_null(strstr(logged, text));
	assert_non_null(strstr(logged, "ending: SIGTERM"));
	free(logged);
}

/* ---- serving ----------------------------------------------------------------------------------------------------- */

static void it_answers_when_it_says_so(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	assert_answers(ormd.address);
	assert_int_equal(support_ormd_stop(&ormd), 0);
	assert_false(has_socket(ormd.address));
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
	assert_answers(first);
	assert_answers(second);
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
	assert_answers(line);
	assert_int_equal(orm_discovery_lock_path(url, lock, &error), ORM_OK);
	assert_int_equal(orm_discovery_read(lock, &owner, &error), ORM_OK);
	assert_string_equal(owner.address, line);
}

static void a_second_server_of_the_file_is_refused(void **state)
{
	char pid[32];
	char other[SUPPORT_PATH_SIZE + 8];

	(void)state;
	if (engine_under_test() != ENGINE_SQLITE)
		skip(); /* several may serve it */
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	snprintf(pid, sizeof pid, "%ld", (long)ormd.process.pid);
	snprintf(other, sizeof other, "ipc://%s/other.sock", dir);
	assert_refused((const char *const[]){"-d", url, "-l", other, NULL}, 69, pid);
	assert_refused((const char *const[]){"-d", url, "-l", other, NULL}, 69, ormd.address);
	assert_answers(ormd.address);
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
	assert_answers(ormd.address);
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

static void an_address_that_cannot_be_is_told(void **state)
{
	char long_address[150];

	(void)state;
	assert_refused((const char *const[]){"-d", url, "-l", "tcp://0.0.0.0:0", NULL}, 77, "use tls+tcp://");
	assert_refused((const char *const[]){"-d", url, "-l", "tls+tcp://127.0.0.1:0", "--tls-ca-file",
					     "/nonexistent/ca.pem", "--tls-cert-key-file", "/nonexistent/key.pem",
					     NULL},
		       64, "'/nonexistent/ca.pem' cannot be used");
	assert_refused((const char *const[]){"-d", url, "-l", "ipc:///nonexistent/x.sock", NULL}, 69, "/nonexistent");
	memset(long_address, 'x', sizeof long_address - 1);
	memcpy(long_address, "ipc:///", 7);
	long_address[sizeof long_address - 1] = '\0';
	assert_refused((const char *const[]){"-d", url, "-l", long_address, NULL}, 64, "path of a socket");
}

static void what_a_killed_server_left_is_no_obstacle(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	support_ormd_kill(&ormd);
	assert_true(has_socket(ormd.address));
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	assert_answers(ormd.address);
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
	assert_answers(ormd.address);
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
		if (engine_under_test() != ENGINE_SQLITE)
			continue;
		/* The database is whole in its one file. */
		assert_int_equal(access(file, F_OK), 0);
		assert_int_equal(access(support_join((char[SUPPORT_PATH_SIZE]){0}, dir, "shop.db-wal"), F_OK), -1);
	}
}

/* Drain waits for calls that run; one that waits for others' changes is answered instead. */
static void a_waiting_call_does_not_hold_up_the_end(void **state)
{
	Ormd__V1__At at;
	Ormd__V1__WaitRequest wait = ORMD__V1__WAIT_REQUEST__INIT;

	(void)state;
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--drain-timeout", "1h", NULL}, NULL);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	client_create_tables(&program);
	client_open_session(&program, "order", "one");
	client_add_user(&program, "Alice");
	client_at(&program, &at);
	wait.at = &at;
	wait.has_timeout_ms = true;
	wait.timeout_ms = 10 * SUPPORT_PATIENCE_MS;
	client_send(&program, &ormd__v1__session__descriptor, "Wait", &wait.base);
	assert_int_equal(support_ormd_stop(&ormd), 0);
}

/* A call that cannot end, because somebody else has locked the database, is waited for; but not after a second signal.
 */
static void a_second_signal_ends_it_at_once(void **state)
{
	Ormd__V1__SchemaRequest request = ORMD__V1__SCHEMA_REQUEST__INIT;
	Ormd__Rpc__V1__HealthCheckRequest health = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
	sqlite3 *database = NULL;

	(void)state;
	if (engine_under_test() != ENGINE_SQLITE)
		skip(); /* nobody locks the whole database */
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--drain-timeout", "1h", "--wait", "1h", NULL}, NULL);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	assert_int_equal(sqlite3_open(file, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	request.has_registry = true;
	request.registry = program.registry;
	client_send(&program, &ormd__v1__database__descriptor, "CreateAll", &request.base);
	/* Health is answered at once, out of order: then the call before it has come in. */
	client_call(&program, &ormd__rpc__v1__health__descriptor, "Check", &health.base);
	assert_true(support_process_signal(&ormd.process, SIGTERM));
	assert_true(support_eventually(log_has_it, "ending: SIGTERM", SUPPORT_PATIENCE_MS));
	assert_true(support_process_signal(&ormd.process, SIGTERM));
	assert_int_equal(wait_for_exit(&ormd.process), 75);
	assert_true(log_has("second signal"));
	sqlite3_close(database);
}

static void an_idle_server_ends(void **state)
{
	(void)state;
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--idle-timeout", "50ms", NULL}, NULL);
	assert_int_equal(wait_for_exit(&ormd.process), 0);
	assert_true(log_has("ending: no client"));
}

/* As long as the client is there, later looks at the clock find no end to come. */
static void a_client_keeps_it_from_idling(void **state)
{
	int status;

	(void)state;
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--idle-timeout", "300ms", NULL}, NULL);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	assert_false(support_process_wait(&ormd.process, 900, &status));
	client_declare_models(&program);
	client_fini(&program);
	assert_int_equal(wait_for_exit(&ormd.process), 0);
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
	assert_answers(ormd.address);
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
	assert_answers(ormd.address);
	assert_int_equal(support_ormd_stop(&ormd), 0);
	assert_true(log_has("ending: SIGTERM"));
}

/* ---- participants that die ---- */

static client observer;

static uint32_t n_connections(void)
{
	Ormd__V1__StatusRequest request = ORMD__V1__STATUS_REQUEST__INIT;
	const Ormd__V1__StatusReply *reply =
		client_call(&observer, &ormd__v1__admin__descriptor, "Status", &request.base);

	return reply->connections;
}

static bool connections_are_at_most(void *n)
{
	return n_connections() <= *(const uint32_t *)n;
}

static bool one_participant_is_left(void *context)
{
	Ormd__V1__SessionsRequest request = ORMD__V1__SESSIONS_REQUEST__INIT;
	const Ormd__V1__SessionsReply *reply =
		client_call(&observer, &ormd__v1__admin__descriptor, "Sessions", &request.base);

	(void)context;
	assert_int_equal(reply->n_sessions, 1);
	return reply->sessions[0]->n_participants == 1;
}

/* It has joined: 'j'. When told to, it sends a call, which has come in: 's'. Then it is killed. */
static _Noreturn void be_the_one_who_dies(int in, int out)
{
	Ormd__V1__PublishRequest publish = ORMD__V1__PUBLISH_REQUEST__INIT;
	Ormd__Rpc__V1__HealthCheckRequest health = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
	Ormd__V1__At at;
	client c;
	char go;

	client_connect(&c, ormd.address);
	client_declare_models(&c);
	client_open_session(&c, "unit", "mortal");
	if (write(out, "j", 1) != 1 || read(in, &go, 1) != 1)
		_exit(1);
	client_at(&c, &at);
	publish.at = &at;
	client_send(&c, &ormd__v1__session__descriptor, "Publish", &publish.base);
	client_call(&c, &ormd__rpc__v1__health__descriptor, "Check", &health.base);
	if (write(out, "s", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* The call waits behind another's commit while its sender dies: that it runs later is no sign of life. */
static void a_call_that_waited_does_not_keep_the_dead_alive(void **state)
{
	Ormd__V1__CommitRequest commit = ORMD__V1__COMMIT_REQUEST__INIT;
	Ormd__Rpc__V1__HealthCheckRequest health = ORMD__RPC__V1__HEALTH_CHECK_REQUEST__INIT;
	Ormd__V1__At at;
	sqlite3 *database = NULL;
	int to[2], from[2], status;
	uint32_t n_before;
	char told;

	(void)state;
	if (engine_under_test() != ENGINE_SQLITE)
		skip(); /* nobody locks the whole database */
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	client_create_tables(&program);
	client_open_session(&program, "unit", "immortal");
	client_add_user(&program, "ada");
	client_connect(&observer, ormd.address);
	n_before = n_connections();
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);

	const pid_t mortal = fork();

	if (mortal == 0)
		be_the_one_who_dies(to[0], from[1]);
	assert_int_equal(read(from[0], &told, 1), 1);
	assert_int_equal(sqlite3_open(file, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	client_at(&program, &at);
	commit.at = &at;
	commit.has_commit = true;
	commit.commit = 1;
	client_send(&program, &ormd__v1__session__descriptor, "Commit", &commit.base);
	client_call(&program, &ormd__rpc__v1__health__descriptor, "Check", &health.base);
	assert_int_equal(write(to[1], "g", 1), 1);
	assert_int_equal(read(from[0], &told, 1), 1);
	kill(mortal, SIGKILL);
	assert_int_equal(waitpid(mortal, &status, 0), mortal);
	assert_true(support_eventually(connections_are_at_most, &n_before, SUPPORT_PATIENCE_MS));
	sqlite3_close(database);
	assert_true(support_eventually(one_participant_is_left, NULL, SUPPORT_PATIENCE_MS));
	client_fini(&observer);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
}

/* ---- what is too large for a message --------------------------------------------------------------------------- */

static void news_that_are_too_large_do_not_hide_what_a_call_did(void **state)
{
	Ormd__V1__CommitRequest commit = ORMD__V1__COMMIT_REQUEST__INIT;
	client others[2];
	Ormd__V1__At at;
	char *name = malloc(30000);

	(void)state;
	assert_non_null(name);
	memset(name, 'n', 29999);
	name[29999] = '\0';
	support_ormd_start(&ormd, dir, url, (const char *const[]){"--max-message", "64KiB", NULL}, NULL);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	client_create_tables(&program);
	client_open_session(&program, "unit", "reader");
	for (int i = 0; i < 2; i++) {
		client_connect(&others[i], ormd.address);
		client_declare_models(&others[i]);
		client_open_session(&others[i], "unit", "writer");
		others[i].seen = program.seen;
		client_add_user(&others[i], name);
	}
	free(name);
	client_at(&program, &at);
	commit.at = &at;
	commit.has_commit = true;
	commit.commit = 1;

	const Ormd__V1__CommitReply *reply =
		client_call(&program, &ormd__v1__session__descriptor, "Commit", &commit.base);

	assert_non_null(reply->result);
	assert_null(reply->sync);
	for (int i = 0; i < 2; i++)
		client_fini(&others[i]);
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
		TEST(an_address_that_cannot_be_is_told),
		TEST(what_a_killed_server_left_is_no_obstacle),
		TEST(it_takes_over_a_lock),
		TEST(a_descriptor_that_is_not_the_lock_is_refused),
		TEST(a_database_in_memory_needs_no_lock),
		TEST(a_signal_ends_it_cleanly),
		TEST(a_waiting_call_does_not_hold_up_the_end),
		TEST(a_second_signal_ends_it_at_once),
		TEST(an_idle_server_ends),
		TEST(a_client_keeps_it_from_idling),
		TEST(it_ends_with_a_process),
		TEST(sighup_opens_the_log_anew),
		TEST(a_call_that_waited_does_not_keep_the_dead_alive),
		TEST(news_that_are_too_large_do_not_hide_what_a_call_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
