/* SPDX-License-Identifier: MIT */
/*
 * SQLite: connections and transactions.
 *
 * One connection writes, and it alone checkpoints, between transactions: two connections that write or checkpoint at
 * the same moment can damage a database before SQLite 3.51.3 (the "WAL-reset bug"). So no connection checkpoints by
 * itself, and readers not even when they are closed. The log is reused, not truncated: a commit that need not grow the
 * file takes half the time.
 */
#include "driver/sqlite_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/discovery.h"
#include "base/error.h"

#define DEFAULT_BUSY_MS  5000
#define MAX_STATEMENTS   256
#define CHECKPOINT_PAGES 1000               /* 4 MiB of log: SQLite's own default */
#define PATIENT_SIZE     (64 * 1024 * 1024) /* of log, from which a checkpoint waits for old readers ... */
#define PATIENT_BUSY_MS  50                 /* ... this long */
#define WRITER_CACHE_KIB "32768"
#define READER_CACHE_KIB "8192"

/* ---- opening ------------------------------------------------------------------------------------------------ */

static bool is_private(const char *url)
{
	char path[ORM_DISCOVERY_PATH_SIZE];

	return orm_discovery_database_path(url, path, NULL) == ORM_OK && strcmp(path, ":memory:") == 0;
}

static orm_status configure(sqlite_connection *connection, int option, int on, orm_error *error)
{
	const int rc = sqlite3_db_config(connection->handle, option, on, NULL);

	return rc == SQLITE_OK ? ORM_OK : ormd_sqlite_fail(connection, rc, NULL, error);
}

/* PRAGMA journal_mode answers with the mode it got, which need not be the one asked for. */
static orm_status use_log(sqlite_connection *connection, bool in_memory, orm_error *error)
{
	sqlite_statement *statement = ormd_sqlite_take(connection, "PRAGMA journal_mode=WAL", error);
	char mode[16] = "";
	orm_status status = ORM_OK;

	if (!statement)
		return error->code;

	const int rc = sqlite3_step(statement->handle);

	if (rc == SQLITE_ROW)
		snprintf(mode, sizeof mode, "%s", (const char *)sqlite3_column_text(statement->handle, 0));
	else if (rc != SQLITE_DONE)
		status = ormd_sqlite_fail(connection, rc, NULL, error);
	ormd_sqlite_give(connection, statement);
	if (status == ORM_OK && strcmp(mode, in_memory ? "memory" : "wal") != 0)
		status = orm_fail(error, ORM_EUNAVAILABLE,
				  "the database stays in journal mode '%s', but ormd needs 'wal'; is it on a network "
				  "file system?",
				  mode);
	return status;
}

static int note_log(void *context, sqlite3 *handle, const char *schema, int n_pages)
{
	sqlite_connection *connection = context;

	(void)handle;
	(void)schema;
	if (n_pages < connection->log_pages) /* the log has started again from its beginning */
		connection->next_checkpoint = CHECKPOINT_PAGES;
	connection->log_pages = n_pages;
	return SQLITE_OK;
}

/* SQLite asks every so many steps of its machine, some microseconds each. */
#define STEPS_BETWEEN_LOOKS 10000

static int is_late(void *context)
{
	const sqlite_connection *connection = context;

	return connection->base.deadline_us && orm_clock_us() >= connection->base.deadline_us;
}

static orm_status set_up(sqlite_connection *connection, bool in_memory, orm_error *error)
{
	/* The order matters: nothing may touch the file before the busy timeout, nor read the schema before it is
	 * distrusted. */
	static const char *const settings[] = {
		"PRAGMA cell_size_check=ON",
		"PRAGMA mmap_size=0",
		"PRAGMA synchronous=FULL",
		"PRAGMA wal_autocheckpoint=0",
	};
	const bool read_only = connection->read_only;
	orm_status status = ORM_OK;

	sqlite3_extended_result_codes(connection->handle, 1);
	sqlite3_busy_timeout(connection->handle, connection->busy_timeout_ms);
	if ((status = configure(connection, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, error)) != ORM_OK ||
	    (status = configure(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, error)) != ORM_OK ||
	    (status = configure(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, error)) != ORM_OK ||
	    (status = configure(connection, SQLITE_DBCONFIG_DQS_DML, 0, error)) != ORM_OK || /* "x" is never a text */
	    (status = configure(connection, SQLITE_DBCONFIG_ENABLE_FKEY, 1, error)) != ORM_OK ||
	    (status = configure(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, read_only, error)) != ORM_OK)
		return status;
	if ((status = ormd_sqlite_add_functions(connection, error)) != ORM_OK) /* the schema may name them */
		return status;
	if (!read_only && (status = use_log(connection, in_memory, error)) != ORM_OK)
		return status;
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		if ((status = ormd_sqlite_execute(connection, settings[i], NULL, error)) != ORM_OK)
			return status;
	}
	status = ormd_sqlite_execute(
		connection, read_only ? "PRAGMA cache_size=-" READER_CACHE_KIB : "PRAGMA cache_size=-" WRITER_CACHE_KIB,
		NULL, error);
	if (status == ORM_OK && read_only)
		status = ormd_sqlite_execute(connection, "PRAGMA query_only=ON", NULL, error);
	if (status == ORM_OK)
		status = ormd_sqlite_execute(connection, "PRAGMA page_size", &connection->page_size, error);
	if (status == ORM_OK)
		status = ormd_sqlite_execute(connection, "PRAGMA data_version", &connection->data_version, error);
	if (status == ORM_OK && !(connection->rollback = ormd_sqlite_take(connection, "ROLLBACK", error)))
		status = error->code;
	if (status == ORM_OK)
		sqlite3_wal_hook(connection->handle, note_log,
				 connection); /* takes the place of the automatic checkpoint */
	sqlite3_progress_handler(connection->handle, STEPS_BETWEEN_LOOKS, is_late, connection);
	return status;
}

static void close_connection(ormd_connection *base)
{
	sqlite_connection *connection = base ? sqlite_of(base) : NULL;

	if (!connection)
		return;
	ormd_sqlite_give(connection, connection->rollback);
	ormd_sqlite_statements_fini(connection);
	sqlite3_close(connection->handle);
	free(connection);
}

/*
 * SQLite counts its memory under a lock of the process, at every allocation of every connection. Nobody asks for the
 * count. Refused, without harm, when SQLite was used before.
 */
static void stop_counting_memory(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static ormd_connection *open_connection(const ormd_open_options *options, orm_error *error)
{
	static pthread_once_t configured = PTHREAD_ONCE_INIT;
	orm_error ignored;
	char path[ORM_DISCOVERY_PATH_SIZE];
	sqlite_connection *connection;
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

	error = error ? error : &ignored;
	pthread_once(&configured, stop_counting_memory);
	if (orm_discovery_database_path(options->url, path, error) != ORM_OK)
		return NULL;

	const bool in_memory = strcmp(path, ":memory:") == 0;

	connection = calloc(1, sizeof *connection);
	if (!connection) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	connection->base.driver = &ormd_driver_sqlite;
	connection->read_only = options->read_only;
	connection->busy_timeout_ms = DEFAULT_BUSY_MS;
	if (options->busy_timeout_ms > 0)
		connection->busy_timeout_ms =
			options->busy_timeout_ms < INT32_MAX ? (int)options->busy_timeout_ms : INT32_MAX;
	connection->next_checkpoint = CHECKPOINT_PAGES;
	ormd_statement_cache_init(&connection->statements, MAX_STATEMENTS);

	const int rc =
		sqlite3_open_v2(path, &connection->handle, flags | (options->create ? SQLITE_OPEN_CREATE : 0), NULL);

	if (rc != SQLITE_OK) {
		if ((rc & 0xff) == SQLITE_CANTOPEN && !in_memory && access(path, F_OK) != 0 && !options->create)
			orm_fail(error, ORM_ENOTFOUND, "there is no database file '%.300s'", path);
		else if ((rc & 0xff) == SQLITE_CANTOPEN)
			orm_fail(error, ORM_EUNAVAILABLE,
				 "cannot open the database file '%.300s'; check its permissions", path);
		else
			ormd_sqlite_fail(connection, rc, NULL, error);
		close_connection(&connection->base);
		return NULL;
	}
	if (set_up(connection, in_memory, error) != ORM_OK) {
		close_connection(&connection->base);
		return NULL;
	}
	return &connection->base;
}

/* ---- transactions ------------------------------------------------------------------------------------------- */

static bool in_transaction(ormd_connection *base)
{
	return !sqlite3_get_autocommit(sqlite_of(base)->handle);
}

/* Always serializable. */
static orm_status begin(ormd_connection *base, orm_isolation isolation, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);

	(void)isolation;

	/* A transaction that turns from reading to writing later would fail at once when somebody else wrote meanwhile.
	 */
	return ormd_sqlite_execute(connection, connection->read_only ? "BEGIN" : "BEGIN IMMEDIATE", NULL, error);
}

static void rollback(ormd_connection *base)
{
	sqlite_connection *connection = sqlite_of(base);

	/* Prepared beforehand, because it is wanted most when memory is short. Its only other failure is that a failed
	 * statement has ended the transaction already. */
	if (!in_transaction(base))
		return;
	sqlite3_step(connection->rollback->handle);
	sqlite3_reset(connection->rollback->handle);
}

static orm_status commit(ormd_connection *base, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);

	if (!in_transaction(base))
		return orm_fail(error, ORM_EDATABASE, "the transaction is gone: an earlier failure ended it");

	sqlite_statement *statement = ormd_sqlite_take(connection, "COMMIT", error);
	orm_status status = ORM_OK;

	if (!statement) {
		rollback(base);
		return error ? error->code : ORM_ENOMEM;
	}

	const int rc = sqlite3_step(statement->handle);

	if (rc != SQLITE_DONE)
		status = ormd_sqlite_fail_commit(connection, rc, error);
	ormd_sqlite_give(connection, statement);
	if (status != ORM_OK)
		rollback(base); /* a deferred foreign key, for one, leaves the transaction open */
	return status;
}

static orm_status savepoint_statement(ormd_connection *base, const char *verb, unsigned level, orm_error *error)
{
	char sql[64];

	snprintf(sql, sizeof sql, "%s ormd_%u", verb, level);
	return ormd_sqlite_execute(sqlite_of(base), sql, NULL, error);
}

static orm_status savepoint(ormd_connection *base, unsigned level, orm_error *error)
{
	return savepoint_statement(base, "SAVEPOINT", level, error);
}

static orm_status release(ormd_connection *base, unsigned level, orm_error *error)
{
	return savepoint_statement(base, "RELEASE", level, error);
}

static orm_status rollback_to(ormd_connection *base, unsigned level, orm_error *error)
{
	const orm_status status = savepoint_statement(base, "ROLLBACK TO", level, error);

	return status == ORM_OK ? savepoint_statement(base, "RELEASE", level, error) : status;
}

static orm_status run(ormd_connection *base, const char *sql, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);
	const int rc = sqlite3_exec(connection->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? ORM_OK : ormd_sqlite_fail(connection, rc, sql, error);
}

static orm_status check_deferred(ormd_connection *base, orm_error *error)
{
	sqlite_connection *connection = sqlite_of(base);
	int violated = 0;
	int unused = 0;

	sqlite3_db_status(connection->handle, SQLITE_DBSTATUS_DEFERRED_FKS, &violated, &unused, 0);
	return violated ? ormd_sqlite_fail_deferred(connection, error) : ORM_OK;
}

/* ---- beside transactions ------------------------------------------------------------------------------------ */

static void interrupt(ormd_connection *base)
{
	sqlite3_interrupt(sqlite_of(base)->handle);
}

static bool changed_by_others(ormd_connection *base)
{
	sqlite_connection *connection = sqlite_of(base);
	const int64_t before = connection->data_version;

	if (ormd_sqlite_execute(connection, "PRAGMA data_version", &connection->data_version, NULL) != ORM_OK)
		return true; /* not known to be unchanged */
	return connection->data_version != before;
}

static uint64_t maintain(ormd_connection *base)
{
	sqlite_connection *connection = sqlite_of(base);
	int n_pages = (int)connection->log_pages;
	int n_moved = 0;

	if (connection->log_pages < connection->next_checkpoint || in_transaction(base))
		return 0;

	/* Readers of old snapshots hinder it. Far behind, it is worth a short wait for them to end. */
	const bool patient = connection->log_pages * connection->page_size >= PATIENT_SIZE;

	if (patient)
		sqlite3_busy_timeout(connection->handle, PATIENT_BUSY_MS);
	sqlite3_wal_checkpoint_v2(connection->handle, NULL,
				  patient ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &n_pages, &n_moved);
	if (patient)
		sqlite3_busy_timeout(connection->handle, connection->busy_timeout_ms);

	/* If no reader is in the way, the next commit starts at the log's beginning again. Else it grows; try again
	   after as many pages more, not after every commit. */
	connection->next_checkpoint = connection->log_pages + CHECKPOINT_PAGES;
	return n_pages > n_moved ? (uint64_t)((n_pages - n_moved) * connection->page_size) : 0;
}

const ormd_driver ormd_driver_sqlite = {
	.name = "sqlite",
	.dialect = &ormd_dialect_sqlite,
	.single_writer = true,
	.open = open_connection,
	.close = close_connection,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.in_transaction = in_transaction,
	.savepoint = savepoint,
	.release = release,
	.rollback_to = rollback_to,
	.run = run,
	.write = ormd_sqlite_write,
	.query = ormd_sqlite_query,
	.fetch = ormd_sqlite_fetch,
	.close_cursor = ormd_sqlite_close_cursor,
	.interrupt = interrupt,
	.changed_by_others = changed_by_others,
	.maintain = maintain,
	.check_deferred = check_deferred,
	.is_private = is_private,
};
