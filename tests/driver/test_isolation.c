/* SPDX-License-Identifier: MIT */
/*
 * Which anomalies an isolation level lets through, on the engine under test: the ten of the Hermitage project
 * (Kleppmann, after Adya's thesis), with their variants. Each is a script of steps of two or three transactions, each
 * on a thread and a connection of its own.
 *
 * A step that does not come back soon is taken to wait for another transaction, and the script goes on without it.
 * Whether it really waits, or the machine is slow, changes what interleaving is played; an anomaly is what must not
 * come out of any.
 */
#include "driver/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "driver/condition.h"
#include "support/engine.h"

#define N_ACTORS  3
#define MAX_STEPS 24
#define SOON_MS   100
#define LOCK_MS   20000

typedef enum step_kind { READ, WRITE, COMMIT, ABORT } step_kind;

typedef struct step {
	int actor;
	step_kind kind;
	const char *sql;
} step;

/* What came of a script. */
typedef struct outcome {
	bool committed[N_ACTORS];
	orm_status failed[N_ACTORS];
	int64_t read[MAX_STEPS]; /* by step; UNREAD where the step was not reached */
	int64_t left[2];         /* the two rows' values afterwards; UNREAD: gone */
	int64_t n_rows;
} outcome;

#define UNREAD INT64_MIN

typedef struct script script;

typedef struct actor {
	script *script;
	int number;
	pthread_t thread;
	ormd_connection *connection;
	bool over;
} actor;

struct script {
	orm_isolation isolation;
	const step *steps;
	size_t n_steps;
	actor actors[N_ACTORS];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t n_released; /* steps that may be taken */
	bool taken[MAX_STEPS];
	outcome *outcome;
};

/* ---- actors ------------------------------------------------------------------------------------------------- */

static orm_status read_number(ormd_connection *connection, const char *sql, int64_t *number, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	const uint16_t column = orm_mapper_column(cell_mapper(), "int64")->number;
	const uint8_t type = ORM_INT64;
	orm_batch_builder builder;
	orm_vector vector;
	orm_batch batch;
	size_t n_rows = 0;
	bool done = false;
	ormd_cursor *cursor = driver->query(connection, sql, NULL, 0, &type, 1, error);
	orm_status status = cursor ? ORM_OK : error->code;

	if (!orm_batch_builder_init(&builder, cell_mapper(), &column, 1))
		abort();
	if (cursor)
		status = driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error);
	*number = UNREAD;
	if (status == ORM_OK && n_rows == 1 && orm_batch_builder_view(&builder, &vector, &batch) &&
	    !orm_vector_is_null(&vector, 0))
		*number = orm_vector_int64_at(&vector, 0);
	driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	return status;
}

static orm_status take_step(actor *a, size_t number)
{
	const step *s = &a->script->steps[number];
	const ormd_driver *driver = a->connection->driver;
	outcome *o = a->script->outcome;
	orm_error error = {0};
	orm_status status = ORM_OK;

	switch (s->kind) {
	case READ:
		status = read_number(a->connection, s->sql, &o->read[number], &error);
		break;
	case WRITE:
		status = driver->run(a->connection, s->sql, &error);
		break;
	case COMMIT:
		status = driver->commit(a->connection, &error);
		o->committed[a->number] = status == ORM_OK;
		a->over = true;
		break;
	case ABORT:
		driver->rollback(a->connection);
		a->over = true;
		break;
	}
	if (status != ORM_OK) {
		driver->rollback(a->connection);
		o->failed[a->number] = status;
		a->over = true;
	}
	return status;
}

static void *act(void *context)
{
	actor *a = context;
	script *s = a->script;
	orm_error error;
	bool begun = false;

	for (size_t i = 0; i < s->n_steps; i++) {
		if (s->steps[i].actor != a->number)
			continue;
		pthread_mutex_lock(&s->lock);
		while (s->n_released <= i)
			pthread_cond_wait(&s->changed, &s->lock);
		pthread_mutex_unlock(&s->lock);
		if (!begun && !a->over) {
			const orm_status status = a->connection->driver->begin(a->connection, s->isolation, &error);

			begun = true;
			a->over = status != ORM_OK;
			s->outcome->failed[a->number] = status;
		}
		if (!a->over)
			take_step(a, i);
		pthread_mutex_lock(&s->lock);
		s->taken[i] = true;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

/* ---- scripts ------------------------------------------------------------------------------------------------- */

static char url[ENGINE_URL_SIZE];

static void reset_rows(void)
{
	engine_run(url, "DELETE FROM hermitage");
	engine_run(url, "INSERT INTO hermitage (id, value) VALUES (1, 10), (2, 20)");
}

static outcome play(orm_isolation isolation, const step *steps, size_t n_steps)
{
	outcome o = {0};
	script s = {.isolation = isolation, .steps = steps, .n_steps = n_steps, .outcome = &o};
	const ormd_open_options options = {.url = url, .busy_timeout_ms = LOCK_MS};
	const ormd_driver *driver = ormd_driver_for_url(url, NULL);
	ormd_connection *reader;
	orm_error error;

	assert_true(n_steps <= MAX_STEPS);
	reset_rows();
	pthread_mutex_init(&s.lock, NULL);
	assert_true(ormd_condition_init(&s.changed));
	for (size_t i = 0; i < n_steps; i++)
		o.read[i] = UNREAD;
	for (int i = 0; i < N_ACTORS; i++) {
		s.actors[i] = (actor){.script = &s, .number = i, .connection = driver->open(&options, &error)};
		if (!s.actors[i].connection)
			fail_msg("%s", error.message);
		pthread_create(&s.actors[i].thread, NULL, act, &s.actors[i]);
	}
	for (size_t i = 0; i < n_steps; i++) {
		const int64_t deadline_us = orm_deadline_in_ms(SOON_MS);

		pthread_mutex_lock(&s.lock);
		s.n_released = i + 1;
		pthread_cond_broadcast(&s.changed);
		while (!s.taken[i] && ormd_condition_wait(&s.changed, &s.lock, deadline_us))
			continue;
		pthread_mutex_unlock(&s.lock);
	}
	for (int i = 0; i < N_ACTORS; i++) {
		pthread_join(s.actors[i].thread, NULL);
		driver->rollback(s.actors[i].connection);
		driver->close(s.actors[i].connection);
	}
	pthread_cond_destroy(&s.changed);
	pthread_mutex_destroy(&s.lock);

	reader = open_connection(url, true);
	for (int i = 0; i < 2; i++)
		assert_int_equal(read_number(reader,
					     i == 0 ? "SELECT value FROM hermitage WHERE id = 1"
						    : "SELECT value FROM hermitage WHERE id = 2",
					     &o.left[i], &error),
				 ORM_OK);
	assert_int_equal(read_number(reader, "SELECT count(*) FROM hermitage", &o.n_rows, &error), ORM_OK);
	driver->close(reader);

	/* Whoever does not get through is told so in a way that a program can act upon. */
	for (int i = 0; i < N_ACTORS; i++) {
		if (o.failed[i] != ORM_OK && o.failed[i] != ORM_ERETRY && o.failed[i] != ORM_ETIMEOUT)
			fail_msg("a transaction ended with %s", orm_status_name(o.failed[i]));
	}
	return o;
}

#define PLAY(isolation, ...)                                                                                           \
	play(isolation, (const step[]){__VA_ARGS__}, sizeof((const step[]){__VA_ARGS__}) / sizeof(step))

#define VALUE_OF(id)      "SELECT value FROM hermitage WHERE id = " #id
#define SET(id, to)       "UPDATE hermitage SET value = " #to " WHERE id = " #id
#define COUNT_OF_VALUE(n) "SELECT count(*) FROM hermitage WHERE value = " #n
#define COUNT_OF_THIRDS   "SELECT count(*) FROM hermitage WHERE value % 3 = 0"

/* ---- the anomalies: each says whether it came out ------------------------------------------------------------ */

/* Dirty write: two transactions' writes are interleaved. */
static bool g0(orm_isolation level)
{
	const outcome o = PLAY(level, {0, WRITE, SET(1, 11)}, {1, WRITE, SET(1, 12)}, {0, WRITE, SET(2, 21)},
			       {0, COMMIT, NULL}, {1, WRITE, SET(2, 22)}, {1, COMMIT, NULL});

	return (o.left[0] == 11 && o.left[1] == 22) || (o.left[0] == 12 && o.left[1] == 21);
}

/* Aborted read: a value is seen that was never committed. */
static bool g1a(orm_isolation level)
{
	const outcome o = PLAY(level, {0, WRITE, SET(1, 101)}, {1, READ, VALUE_OF(1)}, {0, ABORT, NULL},
			       {1, READ, VALUE_OF(1)}, {1, COMMIT, NULL});

	return o.read[1] == 101 || o.read[3] == 101;
}

/* Intermediate read: a value is seen that its transaction changed again before it committed. */
static bool g1b(orm_isolation level)
{
	const outcome o = PLAY(level, {0, WRITE, SET(1, 101)}, {1, READ, VALUE_OF(1)}, {0, WRITE, SET(1, 11)},
			       {0, COMMIT, NULL}, {1, READ, VALUE_OF(1)}, {1, COMMIT, NULL});

	return o.read[1] == 101 || o.read[4] == 101;
}

/* Circular information flow: each of two sees what the other wrote. */
static bool g1c(orm_isolation level)
{
	const outcome o = PLAY(level, {0, WRITE, SET(1, 11)}, {1, WRITE, SET(2, 22)}, {0, READ, VALUE_OF(2)},
			       {1, READ, VALUE_OF(1)}, {0, COMMIT, NULL}, {1, COMMIT, NULL});

	return o.read[2] == 22 && o.read[3] == 11;
}

/* Observed transaction vanishes: of one transaction's two writes one is seen, and then the other one's state from
 * before. */
static bool otv(orm_isolation level)
{
	const outcome o =
		PLAY(level, {0, WRITE, SET(1, 11)}, {0, WRITE, SET(2, 19)}, {1, WRITE, SET(1, 12)}, {0, COMMIT, NULL},
		     {2, READ, VALUE_OF(1)}, {1, WRITE, SET(2, 18)}, {2, READ, VALUE_OF(2)}, {1, COMMIT, NULL},
		     {2, READ, VALUE_OF(2)}, {2, READ, VALUE_OF(1)}, {2, COMMIT, NULL});

	/* Having seen the first one's write, or the second one's, nothing older may follow. */
	return (o.read[4] == 12 && (o.read[6] == 20 || o.read[6] == 19)) || (o.read[4] == 11 && o.read[6] == 20) ||
	       (o.read[6] == 18 && (o.read[8] == 19 || o.read[8] == 20)) || (o.read[8] == 18 && o.read[9] == 11);
}

/* Predicate-many-preceders: a condition's rows change while a transaction looks twice. */
static bool pmp(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, COUNT_OF_VALUE(30)},
			       {1, WRITE, "INSERT INTO hermitage (id, value) VALUES (3, 30)"}, {1, COMMIT, NULL},
			       {0, READ, COUNT_OF_THIRDS}, {0, COMMIT, NULL});

	return o.committed[0] && o.read[0] == 0 && o.read[3] == 1;
}

/* The same for the condition of a write: it misses a row that meets it before and after. */
static bool pmp_write(orm_isolation level)
{
	const outcome o = PLAY(level, {0, WRITE, "UPDATE hermitage SET value = value + 10"},
			       {1, READ, COUNT_OF_VALUE(20)}, {1, WRITE, "DELETE FROM hermitage WHERE value = 20"},
			       {0, COMMIT, NULL}, {1, READ, COUNT_OF_VALUE(20)}, {1, COMMIT, NULL});

	/* It saw a row with 20 to delete, commits, and a row with 20 is still there. */
	return o.committed[1] && o.read[1] == 1 && (o.left[0] == 20 || o.left[1] == 20);
}

/* Lost update: both read, both write what they computed; one is lost. */
static bool p4(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, VALUE_OF(1)}, {1, READ, VALUE_OF(1)}, {0, WRITE, SET(1, 11)},
			       {1, WRITE, SET(1, 12)}, {0, COMMIT, NULL}, {1, COMMIT, NULL});

	return o.committed[0] && o.committed[1] && o.read[0] == 10 && o.read[1] == 10;
}

/* Read skew: two values are seen of two different states. */
static bool g_single(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, VALUE_OF(1)}, {1, READ, VALUE_OF(1)}, {1, READ, VALUE_OF(2)},
			       {1, WRITE, SET(1, 12)}, {1, WRITE, SET(2, 18)}, {1, COMMIT, NULL},
			       {0, READ, VALUE_OF(2)}, {0, COMMIT, NULL});

	return o.committed[0] && o.read[0] == 10 && o.read[6] == 18;
}

static bool g_single_predicate(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, "SELECT count(*) FROM hermitage WHERE value % 5 = 0"},
			       {1, WRITE, "UPDATE hermitage SET value = 12 WHERE value = 10"}, {1, COMMIT, NULL},
			       {0, READ, COUNT_OF_THIRDS}, {0, COMMIT, NULL});

	return o.committed[0] && o.read[0] == 2 && o.read[3] == 1;
}

static bool g_single_write(orm_isolation level)
{
	const outcome o =
		PLAY(level, {0, READ, VALUE_OF(1)}, {1, READ, VALUE_OF(1)}, {1, WRITE, SET(1, 12)},
		     {1, WRITE, SET(2, 18)}, {1, COMMIT, NULL}, {0, WRITE, "DELETE FROM hermitage WHERE value = 20"},
		     {0, READ, VALUE_OF(2)}, {0, COMMIT, NULL});

	/* It had seen the state with 20 in it, and its delete met the other one. */
	return o.committed[0] && o.read[0] == 10 && o.committed[1] && o.left[1] == 18;
}

/* Write skew: each reads what the other writes. */
static bool g2_item(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, VALUE_OF(1)}, {0, READ, VALUE_OF(2)}, {1, READ, VALUE_OF(1)},
			       {1, READ, VALUE_OF(2)}, {0, WRITE, SET(1, 11)}, {1, WRITE, SET(2, 21)},
			       {0, COMMIT, NULL}, {1, COMMIT, NULL});

	return o.committed[0] && o.committed[1] && o.read[1] == 20 && o.read[2] == 10;
}

/* Anti-dependency cycle: each adds a row that the other's condition would have met. */
static bool g2(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, COUNT_OF_THIRDS}, {1, READ, COUNT_OF_THIRDS},
			       {0, WRITE, "INSERT INTO hermitage (id, value) VALUES (3, 30)"},
			       {1, WRITE, "INSERT INTO hermitage (id, value) VALUES (4, 42)"}, {0, COMMIT, NULL},
			       {1, COMMIT, NULL});

	return o.committed[0] && o.committed[1] && o.read[0] == 0 && o.read[1] == 0;
}

/* The same with a reader that closes the cycle (Fekete, O'Neil, O'Neil 2004). */
static bool g2_two_edges(orm_isolation level)
{
	const outcome o = PLAY(level, {0, READ, VALUE_OF(1)}, {0, READ, VALUE_OF(2)},
			       {1, WRITE, "UPDATE hermitage SET value = value + 5 WHERE id = 2"}, {1, COMMIT, NULL},
			       {2, READ, VALUE_OF(1)}, {2, READ, VALUE_OF(2)}, {2, COMMIT, NULL}, {0, WRITE, SET(1, 0)},
			       {0, COMMIT, NULL});

	return o.committed[0] && o.committed[1] && o.committed[2] && o.read[1] == 20 && o.read[4] == 10 &&
	       o.read[5] == 25;
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

/* From which level on each engine lets none through; the levels that let it through are the engine's affair. */
typedef struct anomaly {
	const char *name;
	bool (*occurs)(orm_isolation level);
	orm_isolation sqlite, postgresql, mariadb;
} anomaly;

static const anomaly anomalies[] = {
	{"G0 dirty write", g0, ORM_READ_COMMITTED, ORM_READ_COMMITTED, ORM_READ_COMMITTED},
	{"G1a aborted read", g1a, ORM_READ_COMMITTED, ORM_READ_COMMITTED, ORM_READ_COMMITTED},
	{"G1b intermediate read", g1b, ORM_READ_COMMITTED, ORM_READ_COMMITTED, ORM_READ_COMMITTED},
	{"G1c circular information flow", g1c, ORM_READ_COMMITTED, ORM_READ_COMMITTED, ORM_READ_COMMITTED},
	{"OTV observed transaction vanishes", otv, ORM_READ_COMMITTED, ORM_READ_COMMITTED, ORM_READ_COMMITTED},
	{"PMP phantom", pmp, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"PMP phantom of a write", pmp_write, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"P4 lost update", p4, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"G-single read skew", g_single, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"G-single on conditions", g_single_predicate, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"G-single of a write", g_single_write, ORM_READ_COMMITTED, ORM_REPEATABLE_READ, ORM_REPEATABLE_READ},
	{"G2-item write skew", g2_item, ORM_READ_COMMITTED, ORM_SERIALIZABLE, ORM_SERIALIZABLE},
	{"G2 anti-dependency cycle", g2, ORM_READ_COMMITTED, ORM_SERIALIZABLE, ORM_SERIALIZABLE},
	{"G2 two edges", g2_two_edges, ORM_READ_COMMITTED, ORM_SERIALIZABLE, ORM_SERIALIZABLE},
};

static orm_isolation prevented_from(const anomaly *a)
{
	switch (engine_under_test()) {
	case ENGINE_POSTGRESQL:
		return a->postgresql;
	case ENGINE_MARIADB:
		return a->mariadb;
	default:
		return a->sqlite;
	}
}

static void check_level(orm_isolation level)
{
	int n_wrong = 0;

	for (size_t i = 0; i < sizeof anomalies / sizeof *anomalies; i++) {
		const bool occurs = anomalies[i].occurs(level);
		const bool allowed = level < prevented_from(&anomalies[i]);

		print_message("%-36s %s\n", anomalies[i].name, occurs ? "occurs" : "prevented");
		n_wrong += occurs && !allowed;
	}
	if (n_wrong > 0)
		fail_msg("%d anomalies got through", n_wrong);
}

static void read_committed(void **state)
{
	(void)state;
	check_level(ORM_READ_COMMITTED);
}

static void repeatable_read(void **state)
{
	(void)state;
	check_level(ORM_REPEATABLE_READ);
}

static void serializable(void **state)
{
	(void)state;
	check_level(ORM_SERIALIZABLE);
}

static int set_up(void **state)
{
	(void)state;
	cell_mapper(); /* before there are threads */
	engine_fresh_url(url);
	engine_run(url, "CREATE TABLE hermitage (id INTEGER PRIMARY KEY, value BIGINT NOT NULL)");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_committed),
		cmocka_unit_test(repeatable_read),
		cmocka_unit_test(serializable),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
