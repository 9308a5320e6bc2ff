/* SPDX-License-Identifier: MIT */
#include "support/mariadb.h"

#include <errno.h>
#include <mysql.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/eventually.h"
#include "support/template.h"

#define MAX_OPTIONS 64

static _Noreturn void die_with_log(const support_mariadb *server, const char *what)
{
	char path[SUPPORT_PATH_SIZE];
	char *log = support_read_file(support_join(path, server->directory, "log"), NULL);

	fprintf(stderr, "--- log of MariaDB\n%s---\n", log ? log : "");
	free(log);
	support_die("MariaDB %s", what);
}

/* `path` is DIRECTORY/data. */
static void make_data(const char *path)
{
	char directory[SUPPORT_PATH_SIZE];
	char log[SUPPORT_PATH_SIZE];
	char data[SUPPORT_PATH_SIZE + 16];
	char temporary[SUPPORT_PATH_SIZE + 16];
	const char *const argv[] = {SUPPORT_MARIADB_INSTALL,
				    "--no-defaults",
				    data,
				    temporary,
				    "--auth-root-authentication-method=normal",
				    "--skip-test-db",
				    "--innodb-log-file-size=16M",
				    "--innodb-use-native-aio=0",
				    NULL};

	snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path), path);
	snprintf(data, sizeof data, "--datadir=%s", path);
	snprintf(temporary, sizeof temporary, "--tmpdir=%s", directory);

	const support_command command = {.argv = argv,
					 .directory = directory,
					 .stdout_path = support_join(log, directory, "log"),
					 .stderr_path = log,
					 .unprivileged = true};

	if (support_run(&command, 2 * SUPPORT_PATIENCE_MS) != 0)
		die_with_log(&(support_mariadb){.directory = directory}, SUPPORT_MARIADB_INSTALL);
}

void support_mariadb_make(support_mariadb *server)
{
	char data[SUPPORT_PATH_SIZE];

	*server = (support_mariadb){.directory = support_tempdir()};
	support_give_to_unprivileged(server->directory);
	support_from_template("mariadb", support_join(data, server->directory, "data"), make_data);
}

void support_mariadb_launch(support_mariadb *server, const char *option)
{
	char log[SUPPORT_PATH_SIZE];
	char data[SUPPORT_PATH_SIZE + 16];
	char socket[SUPPORT_PATH_SIZE + 16];
	char pid_file[SUPPORT_PATH_SIZE + 16];
	char temporary[SUPPORT_PATH_SIZE + 16];
	const char *argv[MAX_OPTIONS] = {
		SUPPORT_MARIADB_SERVER, "--no-defaults", data, socket, pid_file, temporary, "--skip-networking",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci", "--max-connections=200",
		"--performance-schema=OFF", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
		"--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--innodb-use-native-aio=0",
		"--innodb-doublewrite=0",
		/* Written at each commit, which kill -9 does not undo; synced by nobody. */
		"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"};
	size_t n = 0;

	while (argv[n])
		n++;
	for (size_t i = 0; server->options && server->options[i] && n < MAX_OPTIONS - 2; i++)
		argv[n++] = server->options[i];
	argv[n] = option;
	snprintf(data, sizeof data, "--datadir=%s/data", server->directory);
	snprintf(socket, sizeof socket, "--socket=%s/socket", server->directory);
	snprintf(pid_file, sizeof pid_file, "--pid-file=%s/pid", server->directory);
	snprintf(temporary, sizeof temporary, "--tmpdir=%s", server->directory);

	const support_command command = {.argv = argv,
					 .directory = server->directory,
					 .stdout_path = support_join(log, server->directory, "log"),
					 .stderr_path = log,
					 .unprivileged = true};

	if (!support_process_start(&server->process, &command))
		support_die("cannot start %s: %s", argv[0], strerror(errno));
}

static bool answers(void *context)
{
	const support_mariadb *server = context;
	char socket[SUPPORT_PATH_SIZE];
	MYSQL *connection = mysql_init(NULL);
	const bool connected = connection && mysql_real_connect(connection, NULL, "root", "", NULL, 0,
								support_join(socket, server->directory, "socket"), 0);

	mysql_close(connection);
	return connected;
}

void support_mariadb_await(support_mariadb *server)
{
	if (!support_eventually(answers, server, SUPPORT_PATIENCE_MS))
		die_with_log(server, "does not answer");
}

void support_mariadb_start(support_mariadb *server)
{
	support_mariadb_make(server);
	support_mariadb_restart(server);
}

void support_mariadb_restart(support_mariadb *server)
{
	support_mariadb_launch(server, NULL);
	support_mariadb_await(server);
}

void support_mariadb_stop(support_mariadb *server)
{
	int status;

	if (!support_process_signal(&server->process, SIGTERM) ||
	    !support_process_wait(&server->process, SUPPORT_PATIENCE_MS, &status))
		die_with_log(server, "does not end");
}

void support_mariadb_kill(support_mariadb *server)
{
	support_process_fini(&server->process);
}

void support_mariadb_freeze(const support_mariadb *server)
{
	kill(server->process.pid, SIGSTOP);
}

void support_mariadb_thaw(const support_mariadb *server)
{
	kill(server->process.pid, SIGCONT);
}

void support_mariadb_remove(support_mariadb *server)
{
	if (!server || !server->directory)
		return;
	support_process_fini(&server->process);
	support_tempdir_remove(server->directory);
	*server = (support_mariadb){0};
}

void support_mariadb_url(const support_mariadb *server, const char *database, char url[SUPPORT_PATH_SIZE])
{
	snprintf(url, SUPPORT_PATH_SIZE, "mariadb://root@localhost/%s?socket=%s/socket", database, server->directory);
}
