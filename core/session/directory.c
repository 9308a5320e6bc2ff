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
#include "driver/pool.h"
#include "session/directory_statement.h"

#define RENEWALS_PER_LEASE 5
#define BUSY_MS            3000 /* the engine itself waits so long for a lock */
#define CLOSE_MS           3000 /* a database that does not answer then finds out by the lease */

struct ormd_directory {
	ormd_database *database;
	ormd_pool *own; /* one connection, for renewing: units that wait for locks on all of the database's must not
			   make us look dead */
	int64_t id;
	int64_t lease_ms;
	char address[ORMD_MAX_SERVER_ADDRESS];
	char host[ORMD_MAX_SERVER_HOST];
};

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
static bool is_dead(const ormd_answer *a, size_t seen, uint32_t row)
{
	const int64_t seen_us = orm_vector_int64_at(&a->vectors[seen], row);
	const int64_t now_us = orm_vector_int64_at(&a->vectors[seen + 1], row);

	return (now_us - seen_us) / 1000 > orm_vector_int64_at(&a->vectors[seen + 2], row);
}

static orm_status run(ormd_directory *directory, orm_status (*function)(ormd_connection *, void *, orm_error *),
		      void *context, int64_t deadline_us, orm_error *error)
{
	ormd_job job = {.run = function,
			.context = context,
			.end = ORMD_JOB_COMMIT,
			.deadline_us = deadline_us,
			.bookkeeping = true};

	return ormd_database_run(directory->database, &job, error);
}

/* On the directory's own connection, once, and each statement for itself: if this process is stopped in between, it
 * holds no lock that others would wait for. */
static orm_status run_apart(ormd_directory *directory, orm_status (*function)(ormd_connection *, void *, orm_error *),
			    void *context, int64_t deadline_us, orm_error *error)
{
	ormd_connection *connection = ormd_pool_take(directory->own, deadline_us, error);
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = function(connection, context, error);
	connection->deadline_us = 0;
	ormd_pool_give(connection);
	return status;
}

/* ---- this server -------------------------------------------------------------------------------------------- */

static orm_status register_server(ormd_connection *connection, const ormd_directory *directory, orm_error *error)
{
	const orm_value values[] = {ormd_integer(directory->id), ormd_text(directory->address),
				    ormd_text(directory->host), ormd_integer(directory->lease_ms)};

	return ormd_directory_insert(
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
	const orm_value id = ormd_integer(this->directory->id);
	size_t n_found = 0;
	orm_status status = ormd_directory_change(
		connection, "UPDATE \"ormd_server\" SET \"seen_at\" = @ WHERE \"id\" = ?", &id, 1, &n_found, error);

	this->forgotten = n_found == 0;
	if (status == ORM_OK && this->forgotten)
		status = register_server(connection, this->directory, error);
	return status;
}

/* A server that has not been seen since; none if it has. */
static orm_status remove_server(ormd_connection *connection, int64_t id, int64_t seen_us, size_t *n_removed,
				orm_error *error)
{
	const orm_value values[] = {ormd_integer(id), ormd_instant(seen_us)};

	return ormd_directory_change(connection, "DELETE FROM \"ormd_server\" WHERE \"id\" = ? AND \"seen_at\" = ?",
				     values, 2, n_removed, error);
}

static orm_status remove_dead_servers(ormd_connection *connection, const ormd_directory *directory, orm_error *error)
{
	static const uint16_t columns[] = {ORMD_CELL_ID, ORMD_CELL_SEEN, ORMD_CELL_NOW, ORMD_CELL_LEASE};
	ormd_answer a = {0};
	orm_status status =
		ormd_directory_ask(connection, "SELECT \"id\", \"seen_at\", @, \"lease_ms\" FROM \"ormd_server\"",
				   false, NULL, 0, columns, 4, &a, error);

	for (uint32_t i = 0; status == ORM_OK && i < a.batch.n_rows; i++) {
		const int64_t id = orm_vector_int64_at(&a.vectors[0], i);
		const int64_t seen_us = orm_vector_int64_at(&a.vectors[1], i);
		size_t n_removed;

		if (id != directory->id && is_dead(&a, 1, i))
			status = remove_server(connection, id, seen_us, &n_removed, error);
	}
	ormd_answer_fini(&a);
	return status;
}

/* Name and fence. */
static orm_status remove_claim(ormd_connection *connection, const orm_value values[2], orm_error *error)
{
	return ormd_directory_change(connection, "DELETE FROM \"ormd_session\" WHERE \"name\" = ? AND \"fence\" = ?",
				     values, 2, NULL, error);
}

/* Not in one statement: that would lock rows of the living, in whatever order it comes upon them. A server is
   registered before it claims a name, so what no server has is nobody's. */
static orm_status remove_orphans(ormd_connection *connection, orm_error *error)
{
	static const uint16_t columns[] = {ORMD_CELL_NAME, ORMD_CELL_FENCE};
	ormd_answer a = {0};
	orm_status status =
		ormd_directory_ask(connection,
				   "SELECT s.\"name\", s.\"fence\" FROM \"ormd_session\" s LEFT JOIN \"ormd_server\" o "
				   "ON o.\"id\" = s.\"server_id\" WHERE o.\"id\" IS NULL",
				   false, NULL, 0, columns, 2, &a, error);

	for (uint32_t i = 0; status == ORM_OK && i < a.batch.n_rows; i++) {
		const orm_value values[] = {ormd_text(ormd_answer_text(&a.vectors[0], i)),
					    ormd_integer(orm_vector_int64_at(&a.vectors[1], i))};

		status = remove_claim(connection, values, error);
	}
	ormd_answer_fini(&a);
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
	const orm_status status = run_apart(directory, run_renewal, &this, deadline_us, error);
	orm_error ignored;

	*forgotten = status == ORM_OK && this.forgotten;
	/* Apart, since a dead server's last transaction may still hold its rows: whoever renews next tries again. */
	if (status == ORM_OK)
		run_apart(directory, run_cleaning, directory, orm_deadline_in_ms(ormd_directory_renew_ms(directory)),
			  &ignored);
	return status;
}

int64_t ormd_directory_renew_ms(const ormd_directory *directory)
{
	const int64_t ms = directory->lease_ms / RENEWALS_PER_LEASE;

	return ms > 0 ? ms : 1;
}

static bool open_own(ormd_directory *directory, orm_error *error)
{
	const char *url = ormd_database_url(directory->database);
	const ormd_driver *driver = ormd_driver_for_url(url, error);
	const ormd_pool_options options = {
		.open = {.url = url, .busy_timeout_ms = BUSY_MS}, .purpose = "the directory", .max_connections = 1};

	directory->own = driver ? ormd_pool_new(driver, &options) : NULL;
	if (driver && !directory->own)
		orm_fail(error, ORM_ENOMEM, "out of memory");
	return directory->own != NULL;
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
	} else if (open_own(directory, error) && random_number(&directory->id, error)) {
		strcpy(directory->address, address);
		if (run(directory, run_renewal, &this, 0, error) == ORM_OK)
			return directory;
	}
	ormd_pool_free(directory->own);
	free(directory);
	return NULL;
}

static orm_status run_goodbye(ormd_connection *connection, void *context, orm_error *error)
{
	const ormd_directory *directory = context;
	const orm_value id = ormd_integer(directory->id);
	const orm_status status = ormd_directory_change(
		connection, "DELETE FROM \"ormd_session\" WHERE \"server_id\" = ?", &id, 1, NULL, error);

	return status == ORM_OK ? ormd_directory_change(connection, "DELETE FROM \"ormd_server\" WHERE \"id\" = ?", &id,
							1, NULL, error)
				: status;
}

void ormd_directory_close(ormd_directory *directory)
{
	orm_error ignored;

	if (!directory)
		return;
	run(directory, run_goodbye, directory, orm_deadline_in_ms(CLOSE_MS), &ignored);
	ormd_pool_free(directory->own);
	free(directory);
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static orm_status alive_elsewhere(const char *name, const ormd_directory_owner *owner, orm_error *error)
{
	return orm_fail(error, ORM_EEXIST, "the session '%s' is in another server of this database, at %s on %s", name,
			owner->address, owner->host);
}

/* Its address and host are two columns of the answer, one after the other. */
static void take_owner(ormd_directory_owner *owner, const ormd_answer *a, size_t address)
{
	snprintf(owner->address, sizeof owner->address, "%s", ormd_answer_text(&a->vectors[address], 0));
	snprintf(owner->host, sizeof owner->host, "%s", ormd_answer_text(&a->vectors[address + 1], 0));
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
	static const uint16_t columns[] = {ORMD_CELL_ADDRESS, ORMD_CELL_HOST, ORMD_CELL_SEEN, ORMD_CELL_NOW,
					   ORMD_CELL_LEASE};
	const orm_value value = ormd_integer(id);
	ormd_answer a = {0};
	size_t n_removed = 0;
	orm_status status = ormd_directory_ask(
		connection,
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
	ormd_answer_fini(&a);
	return status;
}

static orm_status take_over(ormd_connection *connection, const claim *this, orm_error *error)
{
	static const uint16_t columns[] = {ORMD_CELL_ID, ORMD_CELL_FENCE};
	const orm_value name = ormd_text(this->name);
	int64_t id = 0, fence = 0;
	size_t n_found = 0;
	ormd_answer a = {0};
	orm_status status = ormd_directory_ask(
		connection, "SELECT \"server_id\", \"fence\" FROM \"ormd_session\" WHERE \"name\" = ?", true, &name, 1,
		columns, 2, &a, error);

	if (status == ORM_OK && a.batch.n_rows > 0) {
		id = orm_vector_int64_at(&a.vectors[0], 0);
		fence = orm_vector_int64_at(&a.vectors[1], 0);
	} else if (status == ORM_OK) {
		status = orm_fail(error, ORM_ERETRY, "the session '%s' has just ended; try again", this->name);
	}
	ormd_answer_fini(&a);
	if (status == ORM_OK && id != this->directory->id)
		status = judge_owner(connection, this, id, error);
	if (status != ORM_OK)
		return status;

	const orm_value values[] = {ormd_integer(this->directory->id), ormd_integer(this->fence), name,
				    ormd_integer(fence)};

	status = ormd_directory_change(
		connection,
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
	const orm_value values[] = {ormd_text(this->name), ormd_integer(this->directory->id),
				    ormd_integer(this->fence)};
	size_t n_inserted = 0;
	const orm_status status = ormd_directory_insert(
		connection, " INTO \"ormd_session\" (\"name\", \"server_id\", \"fence\") VALUES (?, ?, ?)", values, 3,
		&n_inserted, error);

	return status == ORM_OK && n_inserted == 0 ? take_over(connection, this, error) : status;
}

static orm_status look_up(ormd_connection *connection, const ormd_directory *directory, const char *name,
			  ormd_directory_owner *owner, orm_error *error)
{
	static const uint16_t columns[] = {ORMD_CELL_ID,   ORMD_CELL_ADDRESS, ORMD_CELL_HOST,
					   ORMD_CELL_SEEN, ORMD_CELL_NOW,     ORMD_CELL_LEASE};
	const orm_value value = ormd_text(name);
	ormd_answer a = {0};
	const orm_status status = ormd_directory_ask(
		connection,
		"SELECT o.\"id\", o.\"address\", o.\"host\", o.\"seen_at\", @, o.\"lease_ms\" FROM "
		"\"ormd_session\" s JOIN \"ormd_server\" o ON o.\"id\" = s.\"server_id\" WHERE s.\"name\" = ?",
		false, &value, 1, columns, 6, &a, error);

	*owner = (ormd_directory_owner){0};
	if (status == ORM_OK && a.batch.n_rows > 0 && !is_dead(&a, 3, 0)) {
		take_owner(owner, &a, 1);
		owner->is_own = orm_vector_int64_at(&a.vectors[0], 0) == directory->id;
	}
	ormd_answer_fini(&a);
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
	static const uint16_t columns[] = {ORMD_CELL_FENCE};
	const orm_value value = ormd_text(name);
	ormd_connection *connection = ormd_database_take_reader(directory->database, deadline_us, error);
	ormd_answer a = {0};
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = ormd_directory_ask(connection, "SELECT \"fence\" FROM \"ormd_session\" WHERE \"name\" = ?", false,
				    &value, 1, columns, 1, &a, error);
	connection->deadline_us = 0;
	ormd_database_give_reader(directory->database, connection);
	*holds = status == ORM_OK && a.batch.n_rows > 0 && orm_vector_int64_at(&a.vectors[0], 0) == fence;
	ormd_answer_fini(&a);
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
	const orm_value values[] = {ormd_text(this->name), ormd_integer(this->fence)};

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
	this->job = (ormd_job){
		.run = run_release, .done = end_release, .context = this, .end = ORMD_JOB_COMMIT, .bookkeeping = true};
	ormd_database_submit(directory->database, &this->job);
}

/* Written rather than read: it locks the row as well, and on a cluster whose nodes do not know each other's locks
   (Galera) the second of two who write is refused. */
orm_status ormd_directory_check(ormd_connection *connection, const char *name, int64_t fence, orm_error *error)
{
	const orm_value values[] = {ormd_text(name), ormd_integer(fence)};
	size_t n_found = 0;
	const orm_status status = ormd_directory_change(
		connection,
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

static orm_status take_servers(const ormd_directory *directory, const ormd_answer *a, orm_arena *arena,
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
			.address = orm_arena_strdup(arena, ormd_answer_text(&a->vectors[1], i)),
			.host = orm_arena_strdup(arena, ormd_answer_text(&a->vectors[2], i)),
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
	static const uint16_t columns[] = {ORMD_CELL_ID,   ORMD_CELL_ADDRESS, ORMD_CELL_HOST,  ORMD_CELL_STARTED,
					   ORMD_CELL_SEEN, ORMD_CELL_NOW,     ORMD_CELL_LEASE, ORMD_CELL_NUMBER};
	ormd_connection *connection = ormd_database_take_reader(directory->database, deadline_us, error);
	ormd_answer a = {0};
	orm_status status;

	if (!connection)
		return error->code;
	connection->deadline_us = deadline_us;
	status = ormd_directory_ask(
		connection,
		"SELECT o.\"id\", o.\"address\", o.\"host\", o.\"started\", o.\"seen_at\", @, o.\"lease_ms\", "
		"(SELECT count(*) FROM "
		"\"ormd_session\" s WHERE s.\"server_id\" = o.\"id\") FROM \"ormd_server\" o ORDER BY "
		"o.\"started\", o.\"id\"",
		false, NULL, 0, columns, 8, &a, error);
	ormd_database_give_reader(directory->database, connection);
	if (status == ORM_OK)
		status = take_servers(directory, &a, arena, servers, n_servers, error);
	ormd_answer_fini(&a);
	return status;
}
