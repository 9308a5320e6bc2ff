/* SPDX-License-Identifier: MIT */
#include "support/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "support/engine_bare.h"
#include "support/engine_place.h"
#include "support/eventually.h"
#include "support/mariadb.h"
#include "support/postgresql.h"

typedef struct engine_ops {
	const char *name;
	const char *scheme;
	engine_bare *bare;
	void (*start)(engine_place *place); /* a server of this process's own; NULL: the engine has none */
	void (*url)(const engine_place *place, const char *database, char url[SUPPORT_PATH_SIZE]);
	const char *first_database; /* one that is always there, to make others from */
	const char *others;         /* how many others are connected; NULL: nobody, ever */
	const char *drop_suffix;    /* what makes DROP DATABASE cut who is connected */
} engine_ops;

/* A database that was made here, to be dropped. */
typedef struct database {
	struct database *next;
	pid_t owner;           /* a forked child must not drop its parent's */
	const char *directory; /* SQLite's */
	char name[32];
	char url[ENGINE_URL_SIZE];
} database;

static void start_postgresql(engine_place *place)
{
	static support_postgresql server;

	support_postgresql_start(&server);
	snprintf(place->directory, sizeof place->directory, "%s", server.directory);
}

static void postgresql_url(const engine_place *place, const char *name, char url[SUPPORT_PATH_SIZE])
{
	support_postgresql_url(&(support_postgresql){.directory = place->directory}, name, url);
}

static void start_mariadb(engine_place *place)
{
	static support_mariadb server;

	support_mariadb_start(&server);
	snprintf(place->directory, sizeof place->directory, "%s", server.directory);
}

static void mariadb_url(const engine_place *place, const char *name, char url[SUPPORT_PATH_SIZE])
{
	support_mariadb_url(&(support_mariadb){.directory = place->directory}, name, url);
}

static const engine_ops engines[N_ENGINES] = {
	[ENGINE_SQLITE] = {.name = "sqlite", .scheme = "sqlite:", .bare = engine_bare_sqlite},
	[ENGINE_POSTGRESQL] = {.name = "postgresql",
			       .scheme = "postgresql:",
			       .bare = engine_bare_postgresql,
			       .start = start_postgresql,
			       .url = postgresql_url,
			       .first_database = "postgres",
			       .others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
					 "backend_type = 'client backend' AND pid <> pg_backend_pid()",
			       .drop_suffix = " WITH (FORCE)"},
	[ENGINE_MARIADB] = {.name = "mariadb",
			    .scheme = "mariadb:",
			    .bare = engine_bare_mariadb,
			    .start = start_mariadb,
			    .url = mariadb_url,
			    .first_database = "",
			    .others = "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND "
				      "id <> connection_id()",
			    .drop_suffix = ""},
};

static engine_place places[N_ENGINES]; /* directory "": not looked for yet */
static database *databases;
static bool cleanup_registered;

/* ---- which engine -------------------------------------------------------------------------------------------- */

test_engine engine_under_test(void)
{
	const char *name = getenv("ORMD_TEST_ENGINE");

	for (int i = 0; name && i < N_ENGINES; i++)
		if (strcmp(name, engines[i].name) == 0)
			return (test_engine)i;
	if (name && *name)
		support_die("ORMD_TEST_ENGINE is '%s', not sqlite, postgresql or mariadb", name);
	return ENGINE_SQLITE;
}

const char *engine_name(test_engine engine)
{
	return engines[engine].name;
}

test_engine engine_of(const char *url)
{
	for (int i = 0; i < N_ENGINES; i++)
		if (strncmp(url, engines[i].scheme, strlen(engines[i].scheme)) == 0)
			return (test_engine)i;
	support_die("'%s' is of no engine that the tests know", url);
}

/* ---- databases ----------------------------------------------------------------------------------------------- */

/* Does the server at `place` answer? A database of its own is asked for at once, so nothing is learnt by its words. */
static bool is_there(test_engine engine, const engine_place *place)
{
	char url[SUPPORT_PATH_SIZE];
	char *answer;
	bool there;

	engines[engine].url(place, engines[engine].first_database, url);
	there = engine_try(url, "SELECT 1", &answer);
	free(answer);
	return there;
}

/* ctest's server, else one of our own. */
static const engine_place *find_place(test_engine engine)
{
	engine_place *place = &places[engine];

	if (!place->directory[0] && !(engine_place_read(engine, place) && is_there(engine, place))) {
		*place = (engine_place){0};
		engines[engine].start(place);
	}
	return place;
}

static void run_on_server(test_engine engine, const char *verb, const char *name, const char *suffix)
{
	char url[SUPPORT_PATH_SIZE];
	char sql[128];

	snprintf(sql, sizeof sql, "%s \"%s\"%s", verb, name, suffix);
	engines[engine].url(find_place(engine), engines[engine].first_database, url);
	engine_run(url, sql);
}

static void drop_and_free(database *made)
{
	const test_engine engine = engine_of(made->url);

	if (made->owner == getpid() && made->directory)
		support_tempdir_remove(made->directory);
	else if (made->owner == getpid())
		run_on_server(engine, "DROP DATABASE IF EXISTS", made->name, engines[engine].drop_suffix);
	free(made);
}

/* Those on a server of our own end with it. */
static void drop_all(void)
{
	while (databases) {
		database *made = databases;

		databases = made->next;
		if (!made->directory && !places[engine_of(made->url)].keeper)
			free(made);
		else
			drop_and_free(made);
	}
}

void engine_database(test_engine engine, char url[ENGINE_URL_SIZE])
{
	database *made = calloc(1, sizeof *made);
	char path[SUPPORT_PATH_SIZE];
	uint64_t number;

	if (!made || getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
		support_die("no database: %s", strerror(errno));
	made->owner = getpid();
	snprintf(made->name, sizeof made->name, "ormd_%016" PRIx64, number);
	if (engine == ENGINE_SQLITE) {
		made->directory = support_tempdir();
		snprintf(made->url, sizeof made->url, "sqlite:///%s", support_join(path, made->directory, "test.db"));
	} else {
		run_on_server(engine, "CREATE DATABASE", made->name, "");
		engines[engine].url(find_place(engine), made->name, made->url);
	}
	if (!cleanup_registered)
		atexit(drop_all);
	cleanup_registered = true;
	made->next = databases;
	databases = made;
	memcpy(url, made->url, ENGINE_URL_SIZE);
}

void engine_fresh_url(char url[ENGINE_URL_SIZE])
{
	engine_database(engine_under_test(), url);
}

void engine_drop(const char *url)
{
	for (database **link = &databases; *link; link = &(*link)->next) {
		database *made = *link;

		if (strcmp(made->url, url) == 0) {
			*link = made->next;
			drop_and_free(made);
			return;
		}
	}
}

/* ---- SQL ----------------------------------------------------------------------------------------------------- */

bool engine_try(const char *url, const char *sql, char **answer)
{
	orm_buffer text;
	bool ok;

	orm_buffer_init(&text);
	ok = engines[engine_of(url)].bare(url, sql, &text);
	orm_buffer_append(&text, "", 0);
	*answer = orm_buffer_steal(&text);
	if (!*answer)
		support_die("out of memory");
	return ok;
}

char *engine_ask(const char *url, const char *sql)
{
	char *answer;

	if (!engine_try(url, sql, &answer))
		support_die("%s: %s", sql, answer);
	return answer;
}

void engine_run(const char *url, const char *sql)
{
	free(engine_ask(url, sql));
}

int64_t engine_ask_number(const char *url, const char *sql)
{
	char *answer = engine_ask(url, sql);
	char *end;
	const long long number = strtoll(answer, &end, 10);

	if (end == answer || (*end && *end != '|' && *end != ';'))
		support_die("%s gives '%s', not a number", sql, answer);
	free(answer);
	return number;
}

static bool is_alone(void *context)
{
	const char *url = context;

	return engine_ask_number(url, engines[engine_of(url)].others) == 0;
}

void engine_wait_alone(const char *url)
{
	char own[ENGINE_URL_SIZE];

	snprintf(own, sizeof own, "%s", url);
	if (engines[engine_of(url)].others && !support_eventually(is_alone, own, SUPPORT_PATIENCE_MS))
		support_die("others are still connected to %s", url);
}

char *engine_sql(test_engine engine, const char *sql)
{
	char *own = strdup(sql);
	bool in_text = false;

	if (!own)
		support_die("out of memory");
	for (char *c = own; engine == ENGINE_MARIADB && *c; c++) {
		if (*c == '\'')
			in_text = !in_text;
		else if (*c == '"' && !in_text)
			*c = '`';
	}
	return own;
}
