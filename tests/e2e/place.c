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

#include "base/discovery.h"
#include "support/eventually.h"

static void make_place(test_place *place)
{
	*place = (test_place){.directory = support_tempdir()};
	support_join(place->database, place->directory, "test.db");
	if (engine_under_test() == ENGINE_SQLITE)
		snprintf(place->url, sizeof place->url, "sqlite:///%s", place->database);
	else
		engine_fresh_url(place->url);
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
	engine_drop(place->url);
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
	char                path[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner;
	/* Without an address it may be the client that is just starting the server. */
	if (orm_discovery_lock_path(place->url, path, NULL) != ORM_OK || orm_discovery_read(path, &owner, NULL) != ORM_OK ||
	    !owner.address[0] || kill((pid_t)owner.pid, 0) < 0)
		return 0;
	return (pid_t)owner.pid;
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
		print_error("the server of %s ended with %d\n", place->url, status);
	engine_drop(place->url);
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

/* ---- the database ---- */

int64_t place_number(const test_place *place, const char *sql)
{
	char   *answer;
	int64_t number = -1;
	if (engine_try(place->url, sql, &answer))
		number = strtoll(answer, NULL, 10);
	else
		print_error("%s: %s\n", sql, answer);
	free(answer);
	return number;
}

const char *place_text(const test_place *place, const char *sql)
{
	static char text[256];
	char       *answer;
	if (!engine_try(place->url, sql, &answer))
		print_error("%s: %s\n", sql, answer);
	snprintf(text, sizeof text, "%s", answer);
	free(answer);
	return text;
}

bool place_is_sound(const test_place *place)
{
	return engine_of(place->url) != ENGINE_SQLITE || strcmp(place_text(place, "PRAGMA integrity_check"), "ok") == 0;
}

orm_db *place_connect(const test_place *place, const orm_model *const models[])
{
	orm_db *db = orm_connect(place->ormd.address[0] ? place->ormd.address : place->url, models);
	assert_string_equal(orm_db_error(db)->message, "");
	orm_create_all(db);
	assert_string_equal(orm_db_error(db)->message, "");
	return db;
}
