/* SPDX-License-Identifier: MIT */
#include "session/directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <orm/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "sql/dialect.h"

#define RENEWALS_PER_LEASE 5
#define CLOSE_MS           3000 /* a database that does not answer then finds out by the lease */
#define MAX_SERVERS        1024 /* looked at in one go */
#define MAX_CELLS          8

struct ormd_directory {
	ormd_database *database;
	int64_t id;
	int64_t lease_ms;
	char address[ORMD_MAX_SERVER_ADDRESS];
	char host[ORMD_MAX_SERVER_HOST];
};

/* ---- statements --------------------------------------------------------------------------------------------- */

/* What the columns of the answers below are. */
enum {
	CELL_ID,
	CELL_FENCE,
	CELL_LEASE,
	CELL_NUMBER,
	CELL_NAME,
	CELL_ADDRESS,
	CELL_HOST,
	CELL_STARTED,
	CELL_SEEN,
	CELL_NOW
};

static const orm_column cells[] = {
	[CELL_ID] = {.name = "id", .type = ORM_INT64},
	[CELL_FENCE] = {.name = "fence", .type = ORM_INT64},
	[CELL_LEASE] = {.name = "lease_ms", .type = ORM_INT64},
	[CELL_NUMBER] = {.name = "number", .type = ORM_INT64},
	[CELL_NAME] = {.name = "name", .type = ORM_TEXT},
	[CELL_ADDRESS] = {.name = "address", .type = ORM_TEXT},
	[CELL_HOST] = {.name = "host", .type = ORM_TEXT},
	[CELL_STARTED] = {.name = "started", .type = ORM_DATETIME},
	[CELL_SEEN] = {.name = "seen_at", .type = ORM_DATETIME},
	[CELL_NOW] = {.name = "now", .type = ORM_DATETIME},
};

static const orm_mapper answer_mapper = {
	.name = "ormd_server", .table = "ormd_server", .columns = cells, .n_columns = sizeof cells / sizeof *cells};

/* The statement as the engine spells it: "double quotes" around names, ? for parameters, @ for the time now. */
static void spell(const ormd_dialect *dialect, const char *text, orm_buffer *sql)
{
	unsigned n = 0;

	for (; *text; text++) {
		if (*text == '"')
			orm_buffer_putc(sql, dialect->quote);
		else if (*text == '@')
			orm_buffer_puts(sql, dialect->now(ORM_DATETIME));
		else if (*text == '?' && dialect->numbered_parameters)
			orm_buffer_printf(sql, "$%u", ++n);
		else
			orm_buffer_putc(sql, *text);
	}
}

static orm_value integer(int64_t value)
{
	return (orm_value){.type = ORM_INT64, .integer = value};
}

static orm_value instant(int64_t us)
{
	return (orm_value){.type = ORM_DATETIME, .integer = us};
}

static orm_value text(const char *value)
{
	return (orm_value){.type = ORM_TEXT, .size = (uint32_t)strlen(value), .bytes = value};
}

/* *n_affected: how many rows it found. */
static orm_status change(ormd_connection *connection, const char *statement, const orm_value *values, size_t n_values,
			 size_t *n_affected, orm_error *error)
{
	ormd_write write = {.n_parameters = n_values, .n_rows = 1, .values = values, .affected = n_affected};
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	spell(connection->driver->dialect, statement, &sql);
	write.sql = sql.data;
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : connection->driver->write(connection, &write, error);
	orm_buffer_fini(&sql);
	return status;
}

/* INSERT that does nothing if the row is there: *n_affected is 0 then. `statement` is what follows INSERT. */
static orm_status insert_if_absent(ormd_connection *connection, const char *statement, const orm_value *values,
				   size_t n_values, size_t *n_affected, orm_error *error)
{
	const ormd_dialect *dialect = connection->driver->dialect;
	orm_buffer whole;
	orm_status status;

	orm_buffer_init(&whole);
	orm_buffer_puts(&whole, dialect->insert_prefix_ignore ? dialect->insert_prefix_ignore : "INSERT");
	orm_buffer_puts(&whole, statement);
	if (!dialect->insert_prefix_ignore)
		orm_buffer_puts(&whole, dialect->on_conflict_do_nothing);
	status = whole.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			      : change(connection, whole.data, values, n_values, n_affected, error);
	orm_buffer_fini(&whole);
	return status;
}

typedef struct answer {
	orm_batch_builder builder;
	orm_vector vectors[MAX_CELLS]; /* in the order of the statement's columns */
	orm_batch batch;
} answer;

static void free_answer(answer *a)
{
	orm_batch_builder_fini(&a->builder);
}

/* What a SELECT gives; `columns` are cells. To be freed, also after a failure. `lock`: with what it finds locked. */
static orm_status ask(ormd_connection *connection, const char *statement, bool lock, const orm_value *values,
		      size_t n_values, const uint16_t *columns, size_t n_columns, answer *a, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	uint8_t types[MAX_CELLS];
	ormd_cursor *cursor = NULL;
	orm_buffer sql;
	orm_status status = ORM_OK;
	size_t n_rows = 0;
	bool done = false;

	for (size_t i = 0; i < n_columns; i++)
		types[i] = (uint8_t)cells[columns[i]].type;
	orm_buffer_init(&sql);
	spell(driver->dialect, statement, &sql);
	if (lock && driver->dialect->for_update)
		orm_buffer_puts(&sql, driver->dialect->for_update);
	if (!orm_batch_builder_init(&a->builder, &answer_mapper, columns, n_columns) || sql.failed)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (!(cursor = driver->query(connection, sql.data, values, n_values, types, n_columns, error)))
		status = error->code;
	else
		status = driver->fetch(cursor, &a->builder, MAX_SERVERS, SIZE_MAX, &n_rows, &done, error);
	if (status == ORM_OK && !orm_batch_builder_view(&a->builder, a->vectors, &a->batch))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	driver->close_cursor(cursor);
	orm_buffer_fini(&sql);
	return status;
}

/* A cell that is not NULL. The rows are few. */
static const char *text_at(const orm_vector *vector, uint32_t row)
{
	orm_vector_cursor cursor;
	uint32_t size;

	orm_vector_cursor_init(&cursor, vector);
	while (cursor.row < row)
		orm_vector_cursor_next_text(&cursor, &size);
	return cursor.next;
}

static bool random_number(int64_t *number, orm_error *error)
{
	uint64_t bits;

	do {
		if (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
			orm_fail(error, ORM_EUNAVAILABLE, "the system gives no random numbers");
			return false;
		}
		*number = (int64_t)(bits >> 1);
	} while (*number == 0);
	return true;
}

/* Where `seen_at`, the time now and the lease are three columns of the answer, one after the other. */
static bool is_dead(const answer *a, size_t seen, uint32_t row)
{
	const int64_t seen_us = orm_vector_int64_at(&a->vectors[seen], row);
	const int64_t now_us = orm_vector_int64_at(&a->vectors[seen + 1], row);

	return (now_us - seen_us) / 1000 > orm_vector_int64_at(&a->vectors[seen + 2], row);
}

static orm_status run(ormd_directory *directory, orm_status (*function)(ormd_connection *, void *, orm_error *),
		      void *context, int64_t deadline_us, orm_error *error)
{
	ormd_job job = {.run = function, .context = context, .end = ORMD_JOB_COMMIT, .deadline_us = deadline_us};

	return ormd_database_run(directory->database, &job, error);
}

/* ---- this server -------------------------------------------------------------------------------------------- */

static orm_status register_server(ormd_connection *connection, const ormd_directory *directory, orm_error *error)
{
	const orm_value values[] = {integer(directory->id), text(directory->address), text(directory->host),
				    integer(directory->lease_ms)};

	return insert_if_absent(
		connection, " INTO \"ormd_server\" (\"id\", \"address\", \"host\", \"lease_ms\") VALUES (?, ?, ?, ?)",
		values, 4, NULL, error);
}

typedef struct renewal {
	const ormd_directory *directory;
	bool forgotten;
} renewal;

static orm_status run_renewal(ormd_connection *connection, void *context, orm_error *error)
{
	renewal *this = context;
	const orm_value id = integer(this->directory->id);
	size_t n_found = 0;
	orm_status status = change(connection, "UPDATE \"ormd_server\" SET \"seen_at\" = @ WHERE \"id\" = ?", &id, 1,
				   &n_found, error);

	this->forgotten = n_found == 0;
	if (status == ORM_OK && this->forgotten)
		status = register_server(connection, this->directory, error);
	return status;
}

/* A server that has not been seen since; none if it has. */
static orm_status remove_server(ormd_connection *connection, int64_t id, int64_t seen_us, size_t *n_removed,
				orm_error *error)
{
	const orm_value values[] = {integer(id), instant(seen_us)};

	return change(connection, "DELETE FROM \"ormd_server\" WHERE \"id\" = ? AND \"seen_at\" = ?", values, 2,
		      n_removed, error);
}

static orm_status remove_dead_servers(ormd_connection *connection, const ormd_directory *directory, orm_error *error)
{
	static const uint16_t columns[] = {CELL_ID, CELL_SEEN, CELL_NOW, CELL_LEASE};
	answer a = {0};
	orm_status status = ask(connection, "SELECT \"id\", \"seen_at\", @, \"lease_ms\" FROM \"ormd_server\"", false,
				NULL, 0, columns, 4, &a, error);

	for (uint32_t i = 0; status == ORM_OK && i < a.batch.n_rows; i++) {
		const int64_t id = orm_vector_int64_at(&a.vectors[0], i);
		const int64_t seen_us = orm_vector_int64_at(&a.vectors[1], i);
		size_t n_removed;

		if (id != directory->id && is_dead(&a, 1, i))
			status = remove_server(connection, id, seen_us, &n_removed, error);
	}
	free_answer(&a);
	return status;
}

/* Name and fence. */
static orm_status remove_claim(ormd_connection *connection, const orm_value values[2], orm_error *error)
{
	return change(connection, "DELETE FROM \"ormd_session\" WHERE \"name\" = ? AND \"fence\" = ?", values, 2, NULL,
		      error);
}

/* Not in one statement: that would lock rows of the living, in whatever order it comes upon them. A server is
   registered before it claims a name, so what no server has is nobody's. */
static orm_status remove_orphans(ormd_connection *connection, orm_error *error)
{
	static const uint16_t columns[] = {CELL_NAME, CELL_FENCE};
	answer a = {0};
	orm_status status = ask(connection,
				"SELECT s.\"name\", s.\"fence\" FROM \"ormd_session\" s LEFT JOIN \"ormd_server\" o "
				"ON o.\"id\" = s.\"server_id\" WHERE o.\"id\" IS NULL",
				false, NULL, 0, columns, 2, &a, error);

	for (uint32_t i = 0; status == ORM_OK && i < a.batch.n_rows; i++) {
		const orm_value values[] = {text(text_at(&a.vectors[0], i)),
					    integer(orm_vector_int64_at(&a.vectors[1], i))};

		status = remove_claim(connection, values, error);
	}
	free_answer(&a);
	return status;
}

static orm_status run_cleaning(ormd_connection *connection, void *context, orm_error *error)
{
	const orm_status status = remove_dead_servers(connection, context, error);

	return status == ORM_OK ? remove_orphans(connection, error) : status;
}

orm_status ormd_directory_renew(ormd_directory *directory, int64_t deadline_us, bool *forgotten, orm_error *error)
{
	renewal this = {.directory = directory};
	const orm_status status = run(directory, run_renewal, &this, deadline_us, error);
	orm_error ignored;

	*forgotten = status == ORM_OK && this.forgotten;
	/* Apart, since a dead server's last transaction may still hold its rows: whoever renews next tries again. */
	if (status == ORM_OK)
		run(directory, run_cleaning, directory, deadline_us, &ignored);
	return status;
}

int64_t ormd_directory_renew_ms(const ormd_directory *directory)
{
	const int64_t ms = directory->lease_ms / RENEWALS_PER_LEASE;

	return ms > 0 ? ms : 1;
}

ormd_directory *ormd_directory_open(ormd_database *database, const char *address, int64_t lease_ms, orm_error *error)
{
	ormd_directory *directory = calloc(1, sizeof *directory);
	renewal this = {.directory = directory};

	if (!directory) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	directory->database = database;
	directory->lease_ms = lease_ms;
	gethostname(directory->host, sizeof directory->host - 1);
	if (strlen(address) >= sizeof directory->address) {
		orm_fail(error, ORM_EINVAL, "the address to advertise is longer than %zu bytes",
			 sizeof directory->address - 1);
	} else if (random_number(&directory->id, error)) {
		strcpy(directory->address, address);
		if (run(directory, run_renewal, &this, 0, error) == ORM_OK)
			return directory;
	}
	free(directory);
	return NULL;
}

static orm_status run_goodbye(ormd_connection *connection, void *context, orm_error *error)
{
	const ormd_directory *directory = context;
	const orm_value id = integer(directory->id);
	const orm_status status =
		change(connection, "DELETE FROM \"ormd_session\" WHERE \"server_id\" = ?", &id, 1, NULL, error);

	return status == ORM_OK
		       ? change(connection, "DELETE FROM \"ormd_server\" WHERE \"id\" = ?", &id, 1, NULL, error)
		       : status;
}

void ormd_directory_close(ormd_directory *directory)
{
	orm_error ignored;

	if (!directory)
		return;
	run(directory, run_goodbye, directory, orm_deadline_in_ms(CLOSE_MS), &ignored);
	free(directory);
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static orm_status alive_elsewhere(const char *name, const ormd_directory_owner *owner, orm_error *error)
{
	return orm_fail(error, ORM_EEXIST, "the session '%s' is in another server of this database, at %s on %s", name,
			owner->address, owner->host);
}

/* Its address and host are two columns of the answer, one after the other. */
static void take_owner(ormd_directory_owner *owner, const answer *a, size_t address)
{
	snprintf(owner->address, sizeof owner->address, "%s", text_at(&a->vectors[address], 0));
	snprintf(owner->host, sizeof owner->host, "%s", text_at(&a->vectors[address + 1], 0));
	owner->is_own = false;
}

typedef struct claim {
	const ormd_directory *directory;
	const char *name;
	int64_t fence;
	ormd_directory_owner *owner;
} claim;

/* The row is there, and locked: does its server live? Then ORM_EEXIST. A dead one is removed. */
static orm_status judge_owner(ormd_connection *connection, const claim *this, int64_t id, orm_error *error)
{
	static const uint16_t columns[] = {CELL_ADDRESS, CELL_HOST, CELL_SEEN, CELL_NOW, CELL_LEASE};
	const orm_value value = integer(id);
	answer a = {0};
	size_t n_removed = 0;
	orm_status status =
		ask(connection,
		    "SELECT \"address\", \"host\", \"seen_at\", @, \"lease_ms\" FROM \"ormd_server\" WHERE \"id\" = ?",
		    false, &value, 1, columns, 5, &a, error);

	if (status == ORM_OK && a.batch.n_rows > 0) {
		const int64_t seen_us = orm_vector_int64_at(&a.vectors[2], 0);

		take_owner(this->owner, &a, 0);
		if (is_dead(&a, 2, 0))
			status = remove_server(connection, id, seen_us, &n_removed, error);
		if (status == ORM_OK && n_removed == 0) /* or it has just come back */
			status = alive_elsewhere(this->name, this->owner, error);
	}
	free_answer(&a);
	return status;
}

static orm_status take_over(ormd_connection *connection, const claim *this, orm_error *error)
{
	static const uint16_t columns[] = {CELL_ID, CELL_FENCE};
	const orm_value name = text(this->name);
	int64_t id = 0, fence = 0;
	size_t n_found = 0;
	answer a = {0};
	orm_status status = ask(connection, "SELECT \"server_id\", \"fence\" FROM \"ormd_session\" WHERE \"name\" = ?",
				true, &name, 1, columns, 2, &a, error);

	if (status == ORM_OK && a.batch.n_rows > 0) {
		id = orm_vector_int64_at(&a.vectors[0], 0);
		fence = orm_vector_int64_at(&a.vectors[1], 0);
	} else if (status == ORM_OK) {
		status = orm_fail(error, ORM_ERETRY, "the session '%s' has just ended; try again", this->name);
	}
	free_answer(&a);
	if (status == ORM_OK && id != this->directory->id)
		status = judge_owner(connection, this, id, error);
	if (status != ORM_OK)
		return status;

	const orm_value values[] = {integer(this->directory->id), integer(this->fence), name, integer(fence)};

	status = change(connection,
			"UPDATE \"ormd_session\" SET \"server_id\" = ?, \"fence\" = ?, \"since\" = @, \"commits\" = 0 "
			"WHERE \"name\" = ? AND \"fence\" = ?",
			values, 4, &n_found, error);
	if (status == ORM_OK && n_found == 0)
		status =
			orm_fail(error, ORM_ERETRY, "the session '%s' has just been taken over; try again", this->name);
	return status;
}

static orm_status run_claim(ormd_connection *connection, void *context, orm_error *error)
{
	claim *this = context;
	const orm_value values[] = {text(this->name), integer(this->directory->id), integer(this->fence)};
	size_t n_inserted = 0;
	const orm_status status = insert_if_absent(
		connection, " INTO \"ormd_session\" (\"name\", \"server_id\", \"fence\") VALUES (?, ?, ?)", values, 3,
		&n_inserted, error);

	return status == ORM_OK && n_inserted == 0 ? take_over(connection, this, error) : status;
}

static orm_status look_up(ormd_connection *connection, const ormd_directory *directory, const char *name,
			  ormd_directory_owner *owner, orm_error *error)
{
	static const uint16_t columns[] = {CELL_ID, CELL_ADDRESS, CELL_HOST, CELL_SEEN, CELL_NOW, CELL_LEASE};
	const orm_value value = text(name);
	answer a = {0};
	const orm_status status =
		ask(connection,
		    "SELECT o.\"id\", o.\"address\", o.\"host\", o.\"seen_at\", @, o.\"lease_ms\" FROM "
		    "\"ormd_session\" s JOIN \"ormd_server\" o ON o.\"id\" = s.\"server_id\" WHERE s.\"name\" = ?",
		    false, &value, 1, columns, 6, &a, error);

	*owner = (ormd_directory_owner){0};
	if (status == ORM_OK && a.batch.n_rows > 0 && !is_dead(&a, 3, 0)) {
		take_owner(owner, &a, 1);
		owner->is_own = orm_vector_int64_at(&a.vectors[0], 0) == directory->id;
	}
	free_answer(&a);
	return status;
}

orm_status ormd_directory_find(ormd_directory *directory, const char *name, int64_t deadline_us,
			       ormd_directory_owner *owner, orm_error *error)
{
	ormd_connection *connection = ormd_database_take_reader(directory->database, deadline_us, error);
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = look_up(connection, directory, name, owner, error);
	connection->deadline_us = 0;
	ormd_database_give_reader(directory->database, connection);
	return status;
}

orm_status ormd_directory_holds(ormd_directory *directory, const char *name, int64_t fence, int64_t deadline_us,
				bool *holds, orm_error *error)
{
	static const uint16_t columns[] = {CELL_FENCE};
	const orm_value value = text(name);
	ormd_connection *connection = ormd_database_take_reader(directory->database, deadline_us, error);
	answer a = {0};
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = ask(connection, "SELECT \"fence\" FROM \"ormd_session\" WHERE \"name\" = ?", false, &value, 1, columns,
		     1, &a, error);
	connection->deadline_us = 0;
	ormd_database_give_reader(directory->database, connection);
	*holds = status == ORM_OK && a.batch.n_rows > 0 && orm_vector_int64_at(&a.vectors[0], 0) == fence;
	free_answer(&a);
	return status;
}

orm_status ormd_directory_claim(ormd_directory *directory, const char *name, int64_t deadline_us, int64_t *fence,
				ormd_directory_owner *owner, orm_error *error)
{
	claim this = {.directory = directory, .name = name, .owner = owner};
	/* First without a lock: the owner's commits, each of which locks the row, then do not hold up those who only
	 * are to be sent there. */
	orm_status status = ormd_directory_find(directory, name, deadline_us, owner, error);

	if (status == ORM_OK && owner->address[0] && !owner->is_own)
		return alive_elsewhere(name, owner, error);
	if (status == ORM_OK && !random_number(&this.fence, error))
		status = error->code;
	if (status == ORM_OK)
		status = run(directory, run_claim, &this, deadline_us, error);
	if (status == ORM_OK)
		*fence = this.fence;
	return status;
}

typedef struct release {
	ormd_job job;
	int64_t fence;
	char name[]; /* what the database finds the row by; the fence alone has no index */
} release;

static orm_status run_release(ormd_connection *connection, void *context, orm_error *error)
{
	const release *this = context;
	const orm_value values[] = {text(this->name), integer(this->fence)};

	return remove_claim(connection, values, error);
}

static void end_release(orm_status status, const orm_error *error, void *context)
{
	/* On failure the row stays: this server's next claim takes it over, and another's after this one's end. */
	(void)status;
	(void)error;
	free(context);
}

void ormd_directory_release(ormd_directory *directory, const char *name, int64_t fence)
{
	release *this = malloc(sizeof *this + strlen(name) + 1);

	if (!this)
		return;
	strcpy(this->name, name);
	this->fence = fence;
	this->job = (ormd_job){.run = run_release, .done = end_release, .context = this, .end = ORMD_JOB_COMMIT};
	ormd_database_submit(directory->database, &this->job);
}

/* Written rather than read: it locks the row as well, and on a cluster whose nodes do not know each other's locks
   (Galera) the second of two who write is refused. */
orm_status ormd_directory_check(ormd_connection *connection, const char *name, int64_t fence, orm_error *error)
{
	const orm_value values[] = {text(name), integer(fence)};
	size_t n_found = 0;
	const orm_status status =
		change(connection,
		       "UPDATE \"ormd_session\" SET \"commits\" = \"commits\" + 1 WHERE \"name\" = ? AND \"fence\" = ?",
		       values, 2, &n_found, error);

	if (status == ORM_OK && n_found == 0)
		return orm_fail(
			error, ORM_ELOST,
			"another server took the session '%s' over, because this one had not been heard of for too "
			"long; nothing was written. Join it again",
			name);
	return status;
}

/* ---- listing ------------------------------------------------------------------------------------------------ */

static orm_status take_servers(const ormd_directory *directory, const answer *a, orm_arena *arena,
			       ormd_directory_server **servers, size_t *n_servers, orm_error *error)
{
	ormd_directory_server *list = orm_arena_calloc(arena, a->batch.n_rows + 1, sizeof *list);

	if (!list)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < a->batch.n_rows; i++) {
		const int64_t now_us = orm_vector_int64_at(&a->vectors[5], i);
		const int64_t seen_us = orm_vector_int64_at(&a->vectors[4], i);
		ormd_directory_server *server = &list[i];

		*server = (ormd_directory_server){
			.id = orm_vector_int64_at(&a->vectors[0], i),
			.address = orm_arena_strdup(arena, text_at(&a->vectors[1], i)),
			.host = orm_arena_strdup(arena, text_at(&a->vectors[2], i)),
			.age_ms = (now_us - orm_vector_int64_at(&a->vectors[3], i)) / 1000,
			.seen_ms = now_us > seen_us ? (now_us - seen_us) / 1000 : 0,
			.n_sessions = orm_vector_int64_at(&a->vectors[7], i),
			.is_dead = is_dead(a, 4, i),
		};
		server->is_own = server->id == directory->id;
		if (!server->address || !server->host)
			return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	*servers = list;
	*n_servers = a->batch.n_rows;
	return ORM_OK;
}

orm_status ormd_directory_list(ormd_directory *directory, int64_t deadline_us, orm_arena *arena,
			       ormd_directory_server **servers, size_t *n_servers, orm_error *error)
{
	static const uint16_t columns[] = {CELL_ID,   CELL_ADDRESS, CELL_HOST,  CELL_STARTED,
					   CELL_SEEN, CELL_NOW,     CELL_LEASE, CELL_NUMBER};
	ormd_connection *connection = ormd_database_take_reader(directory->database, deadline_us, error);
	answer a = {0};
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = ask(connection,
		     "SELECT o.\"id\", o.\"address\", o.\"host\", o.\"started\", o.\"seen_at\", @, o.\"lease_ms\", "
		     "(SELECT count(*) FROM "
		     "\"ormd_session\" s WHERE s.\"server_id\" = o.\"id\") FROM \"ormd_server\" o ORDER BY "
		     "o.\"started\", o.\"id\"",
		     false, NULL, 0, columns, 8, &a, error);
	ormd_database_give_reader(directory->database, connection);
	if (status == ORM_OK)
		status = take_servers(directory, &a, arena, servers, n_servers, error);
	free_answer(&a);
	return status;
}
