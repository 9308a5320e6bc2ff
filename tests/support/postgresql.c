/* SPDX-License-Identifier: MIT */
#include "support/postgresql.h"

#include <errno.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/eventually.h"
#include "support/template.h"

#define MAX_OPTIONS  64
#define BIN(program) SUPPORT_POSTGRESQL_BIN "/" program

/* ---- starting ------------------------------------------------------------------------------------------------ */

static _Noreturn void die_with_log(const support_postgresql *server, const char *what)
{
	char path[SUPPORT_PATH_SIZE];
	char *log = support_read_file(support_join(path, server->directory, "log"), NULL);

	fprintf(stderr, "--- log of PostgreSQL\n%s---\n", log ? log : "");
	free(log);
	support_die("PostgreSQL %s", what);
}

/* Run one of PostgreSQL's programs to its end; its output goes to the log. */
static void run_program(const support_postgresql *server, const char *const *argv)
{
	char log[SUPPORT_PATH_SIZE];

	support_join(log, server->directory, "log");

	const support_command command = {.argv = argv,
					 .directory = server->directory,
					 .stdout_path = log,
					 .stderr_path = log,
					 .unprivileged = true};

	if (support_run(&command, SUPPORT_PATIENCE_MS) != 0)
		die_with_log(server, argv[0]);
}

/* `path` is DIRECTORY/data. */
static void make_data(const char *path)
{
	char directory[SUPPORT_PATH_SIZE];
	const char *const argv[] = {
		BIN("initdb"),      "-D", path, "-U", "ormd", "-A", "trust", "--no-sync", "-E", "UTF8",
		"--locale=C.UTF-8", NULL};

	snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path), path);
	run_program(&(support_postgresql){.directory = directory}, argv);
}

static void make_directory(support_postgresql *server)
{
	*server = (support_postgresql){.directory = support_tempdir()};
	support_give_to_unprivileged(server->directory);
}

static bool answers(void *context)
{
	const support_postgresql *server = context;
	char url[SUPPORT_PATH_SIZE];

	support_postgresql_url(server, "postgres", url);
	return PQping(url) == PQPING_OK;
}

static void start_program(support_postgresql *server)
{
	char data[SUPPORT_PATH_SIZE];
	char log[SUPPORT_PATH_SIZE];
	const char *argv[MAX_OPTIONS] = {
		BIN("postgres"),
		"-D",
		support_join(data, server->directory, "data"),
		"-k",
		server->directory,
		"-clisten_addresses=",
		"-cmax_connections=200",
		"-cshared_buffers=32MB",
		"-cdynamic_shared_memory_type=mmap", /* nothing is left in /dev/shm by kill -9 */
		"-cfsync=off",
		"-cfull_page_writes=off",
		"-cmax_wal_size=256MB",
		"-cwal_keep_size=64MB",
		"-cautovacuum=off",
		"-cwal_retrieve_retry_interval=100ms"};
	size_t n = 0;

	while (argv[n])
		n++;
	for (size_t i = 0; server->options && server->options[i] && n < MAX_OPTIONS - 1; i++)
		argv[n++] = server->options[i];

	/* Upon SIGQUIT it ends at once, and takes its shared memory with it. */
	const support_command command = {.argv = argv,
					 .directory = server->directory,
					 .stdout_path = support_join(log, server->directory, "log"),
					 .stderr_path = log,
					 .unprivileged = true,
					 .end_signal = SIGQUIT};

	if (!support_process_start(&server->process, &command))
		support_die("cannot start %s: %s", argv[0], strerror(errno));
	if (!support_eventually(answers, server, SUPPORT_PATIENCE_MS))
		die_with_log(server, "does not answer");
}

void support_postgresql_start(support_postgresql *server)
{
	char data[SUPPORT_PATH_SIZE];

	make_directory(server);
	support_from_template("postgresql-" SUPPORT_POSTGRESQL_VERSION, support_join(data, server->directory, "data"),
			      make_data);
	start_program(server);
}

/* ---- replication --------------------------------------------------------------------------------------------- */

/* Is the first cell of the answer "t"? Statements without an answer give false. */
static bool ask_bool(const support_postgresql *server, const char *sql)
{
	char url[SUPPORT_PATH_SIZE];

	support_postgresql_url(server, "postgres", url);

	PGconn *connection = PQconnectdb(url);
	PGresult *result = PQexec(connection, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(connection));
		die_with_log(server, "refuses");
	}

	const bool yes = PQntuples(result) > 0 && PQgetvalue(result, 0, 0)[0] == 't';

	PQclear(result);
	PQfinish(connection);
	return yes;
}

static bool is_followed_synchronously(void *context)
{
	return ask_bool(context, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'");
}

typedef struct standby_wait {
	const support_postgresql *primary, *standby;
	PGconn *connection; /* whose commit is to wait */
	char pid[32];
} standby_wait;

static bool waits_or_has_ended(void *context)
{
	standby_wait *this = context;
	char sql[100];

	snprintf(sql, sizeof sql, "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = %s", this->pid);
	return !PQconsumeInput(this->connection) || !PQisBusy(this->connection) || ask_bool(this->primary, sql);
}

/* Does a commit wait for a standby that stands still? The primary's processes hear of a new setting one by one, and a
 * commit waits only from when the checkpointer has. */
static bool commits_wait(void *context)
{
	standby_wait *this = context;
	PGresult *result;
	bool waits;

	support_postgresql_freeze(this->standby);
	waits = PQsendQuery(this->connection, "SELECT pg_logical_emit_message(true, '', '')") &&
		support_eventually(waits_or_has_ended, this, SUPPORT_PATIENCE_MS) && PQisBusy(this->connection);
	support_postgresql_thaw(this->standby);
	while ((result = PQgetResult(this->connection)))
		PQclear(result);
	return waits;
}

static void await_commits_that_wait(const support_postgresql *primary, const support_postgresql *standby)
{
	standby_wait this = {.primary = primary, .standby = standby};
	char url[SUPPORT_PATH_SIZE];

	support_postgresql_url(primary, "postgres", url);
	this.connection = PQconnectdb(url);
	snprintf(this.pid, sizeof this.pid, "%d", PQbackendPID(this.connection));
	if (!support_eventually(commits_wait, &this, SUPPORT_PATIENCE_MS))
		die_with_log(primary, "does not wait for its standby");
	PQfinish(this.connection);
}

void support_postgresql_start_standby(support_postgresql *standby, const support_postgresql *primary, bool synchronous)
{
	make_directory(standby);
	support_postgresql_follow(standby, primary, synchronous);
}

void support_postgresql_follow(support_postgresql *server, const support_postgresql *primary, bool synchronous)
{
	char data[SUPPORT_PATH_SIZE];
	char source[SUPPORT_PATH_SIZE];
	support_postgresql asked = *primary;
	const char *const empty[] = {"rm", "-rf", data, NULL};
	const char *const copy[] = {BIN("pg_basebackup"), "-D", data, "-d", source, "-R", "-X", "stream", "-c", "fast",
				    "--no-sync",          NULL};

	support_join(data, server->directory, "data");
	snprintf(source, sizeof source, "host=%s user=ormd application_name=standby", primary->directory);
	run_program(server, empty);
	run_program(server, copy);
	start_program(server);
	if (!synchronous)
		return;
	ask_bool(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
	ask_bool(primary, "SELECT pg_reload_conf()");
	if (!support_eventually(is_followed_synchronously, &asked, SUPPORT_PATIENCE_MS))
		die_with_log(primary, "is not followed by its standby");
	await_commits_that_wait(primary, server);
}

void support_postgresql_stand_alone(const support_postgresql *primary)
{
	ask_bool(primary, "ALTER SYSTEM RESET synchronous_standby_names");
	ask_bool(primary, "SELECT pg_reload_conf()");
}

static bool is_primary(void *context)
{
	return ask_bool(context, "SELECT NOT pg_is_in_recovery()");
}

void support_postgresql_promote(const support_postgresql *standby)
{
	support_postgresql asked = *standby;

	/* Not told to wait: its snapshot would hold up what is still to be replayed, for as long as it waits. */
	ask_bool(standby, "SELECT pg_promote(false)");
	if (!support_eventually(is_primary, &asked, SUPPORT_PATIENCE_MS))
		die_with_log(standby, "cannot be promoted");
}

/* ---- ending -------------------------------------------------------------------------------------------------- */

/* The postmaster's children, "12 34 "; each has a process group of its own. Owned. */
static char *list_children(const support_postgresql *server)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)server->process.pid,
		 (long)server->process.pid);
	return support_read_file(path, NULL);
}

static void signal_all(const char *processes, int signal_number)
{
	char *rest = (char *)(uintptr_t)processes;

	for (long pid; rest && (pid = strtol(rest, &rest, 10)) > 0;)
		kill((pid_t)pid, signal_number);
}

/* Is the process in one of these states (proc(5)), or gone altogether? */
static bool is_in_state(long pid, const char *states)
{
	char path[64];
	char *stat;
	const char *after_name;
	bool is;

	snprintf(path, sizeof path, "/proc/%ld/stat", pid);
	stat = support_read_file(path, NULL);
	after_name = stat ? strrchr(stat, ')') : NULL;
	is = !after_name || after_name[1] == '\0' || strchr(states, after_name[2]) != NULL;
	free(stat);
	return is;
}

static bool is_stopped(void *process)
{
	return is_in_state(((const support_process *)process)->pid, "TZ");
}

static bool have_ended(void *processes)
{
	char *rest = processes;

	for (long pid; rest && (pid = strtol(rest, &rest, 10)) > 0;) {
		if (!is_in_state(pid, "ZX"))
			return false;
	}
	return true;
}

void support_postgresql_stop(support_postgresql *server)
{
	int status;

	/* SIGINT: its "fast" end, which does not wait for clients. */
	if (!support_process_signal(&server->process, SIGINT) ||
	    !support_process_wait(&server->process, SUPPORT_PATIENCE_MS, &status))
		die_with_log(server, "does not end");
}

void support_postgresql_kill(support_postgresql *server)
{
	char *children;

	/* The postmaster first: it would start the killed ones anew. But it ends last: until its children have, a new
	 * server would find them at its data. */
	support_process_signal(&server->process, SIGSTOP);
	support_eventually(is_stopped, &server->process, SUPPORT_PATIENCE_MS);
	children = list_children(server);
	signal_all(children, SIGKILL);
	if (!support_eventually(have_ended, children, SUPPORT_PATIENCE_MS))
		die_with_log(server, "cannot be killed");
	free(children);
	support_process_fini(&server->process);
}

void support_postgresql_restart(support_postgresql *server)
{
	start_program(server);
}

void support_postgresql_freeze(const support_postgresql *server)
{
	support_process process = server->process;
	char *children;

	kill(server->process.pid, SIGSTOP);
	support_eventually(is_stopped, &process, SUPPORT_PATIENCE_MS);
	children = list_children(server);
	signal_all(children, SIGSTOP);
	free(children);
}

void support_postgresql_thaw(const support_postgresql *server)
{
	char *children = list_children(server);

	signal_all(children, SIGCONT);
	free(children);
	kill(server->process.pid, SIGCONT);
}

void support_postgresql_remove(support_postgresql *server)
{
	if (!server || !server->directory)
		return;
	if (server->process.pid > 0)
		support_postgresql_stop(server);
	support_tempdir_remove(server->directory);
	*server = (support_postgresql){0};
}

void support_postgresql_url(const support_postgresql *server, const char *database, char url[SUPPORT_PATH_SIZE])
{
	snprintf(url, SUPPORT_PATH_SIZE, "postgresql://ormd@/%s?host=%s", database, server->directory);
}
