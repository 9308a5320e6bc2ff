/* SPDX-License-Identifier: MIT */
#include "e2e/place.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "support/eventually.h"

static void make_place(test_place *place)
{
	*place = (test_place){.directory = support_tempdir()};
	support_join(place->database, place->directory, "test.db");
	snprintf(place->url, sizeof place->url, "sqlite:///%s", place->database);
}

int place_set_up(void **state)
{
	static test_place place;
	make_place(&place);
	support_ormd_start(&place.ormd, place.directory, place.url, NULL, NULL);
	*state = &place;
	return 0;
}

static void show_log(const char *path)
{
	char *log = support_read_file(path, NULL);
	print_error("--- log of ormd\n%s---\n", log ? log : "");
	free(log);
}

int place_tear_down(void **state)
{
	test_place *place = *state;
	int         status = support_ormd_stop(&place->ormd);
	if (status != 0)
		show_log(place->ormd.log_path);
	support_tempdir_remove(place->directory);
	return status;
}

/* ---- servers that clients start ---- */

int place_set_up_unserved(void **state)
{
	static test_place place;
	make_place(&place);
	setenv("XDG_RUNTIME_DIR", place.directory, 1);
	/* Orphans become our children, so that we learn how they end. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -1;
	*state = &place;
	return 0;
}

pid_t place_server(const test_place *place)
{
	char path[SUPPORT_PATH_SIZE + 16];
	long pid = 0;
	snprintf(path, sizeof path, "%s-ormd", place->database);
	char *lock = support_read_file(path, NULL);
	/* Without an address it may be the client that is just starting the server. */
	if (!lock || !strstr(lock, "address") || sscanf(lock, "pid %ld", &pid) != 1 || kill((pid_t)pid, 0) < 0)
		pid = 0;
	free(lock);
	return (pid_t)pid;
}

typedef struct ending {
	pid_t pid;
	int   status;
} ending;

static bool has_ended(void *context)
{
	ending *this = context;
	pid_t   pid = waitpid(this->pid, &this->status, WNOHANG);
	return pid == this->pid || (pid < 0 && errno == ECHILD && kill(this->pid, 0) < 0);
}

int place_wait_server(pid_t pid)
{
	ending this = {.pid = pid};
	if (!support_eventually(has_ended, &this, SUPPORT_PATIENCE_MS))
		return -1;
	return WIFSIGNALED(this.status) ? 128 + WTERMSIG(this.status) : WEXITSTATUS(this.status);
}

int place_tear_down_unserved(void **state)
{
	test_place *place = *state;
	pid_t       pid = place_server(place);
	int         status = 0;
	if (pid > 0) {
		kill(pid, SIGTERM);
		status = place_wait_server(pid);
	}
	if (status != 0)
		print_error("the server of %s ended with %d\n", place->database, status);
	support_tempdir_remove(place->directory);
	return status;
}

/* ---- sizes ---- */

size_t place_scaled(size_t full)
{
	const char         *text = getenv("E2E_DIVIDE");
	unsigned long long  divisor = text ? strtoull(text, NULL, 10) : 1;
	return divisor > 1 ? full / (size_t)divisor + 1 : full;
}

/* ---- the file ---- */

static sqlite3_stmt *first_row(const test_place *place, const char *sql, sqlite3 **db)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_open_v2(place->database, db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(*db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		return statement;
	print_error("%s: %s\n", sql, sqlite3_errmsg(*db));
	sqlite3_finalize(statement);
	return NULL;
}

int64_t place_number(const test_place *place, const char *sql)
{
	sqlite3      *db = NULL;
	sqlite3_stmt *row = first_row(place, sql, &db);
	int64_t       number = row ? sqlite3_column_int64(row, 0) : -1;
	sqlite3_finalize(row);
	sqlite3_close(db);
	return number;
}

const char *place_text(const test_place *place, const char *sql)
{
	static char   text[256];
	sqlite3      *db = NULL;
	sqlite3_stmt *row = first_row(place, sql, &db);
	const char   *found = row ? (const char *)sqlite3_column_text(row, 0) : "no row";
	snprintf(text, sizeof text, "%s", found ? found : "NULL");
	sqlite3_finalize(row);
	sqlite3_close(db);
	return text;
}

orm_db *place_connect(const test_place *place, const orm_model *const models[])
{
	orm_db *db = orm_connect(place->ormd.address[0] ? place->ormd.address : place->url, models);
	assert_string_equal(orm_db_error(db)->message, "");
	orm_create_all(db);
	assert_string_equal(orm_db_error(db)->message, "");
	return db;
}
