/* SPDX-License-Identifier: MIT */
/* Opening and closing, and the pool of readers. */
#include "driver/database_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/discovery.h"
#include "base/error.h"
#include "sql/ddl.h"

#define DEFAULT_READERS 8
#define DEFAULT_WRITERS 8
#define DEFAULT_WAIT_MS 30000
#define MAX_GROUP_US    20000
#define READER_BUSY_MS  5000  /* readers only wait for somebody else's recovery of the log */
#define WRITER_BUSY_MS  250   /* then the queue looks at its deadlines, and tries again */
#define ROW_LOCK_MS     10000 /* for a row that somebody else has locked, where the engine knows such locks */
#define REPLICA_MS      2000  /* to reach a replica, before the next one is tried */
#define REPLICA_REST_MS 5000  /* before one that was not reached is tried again */
#define SETUP_TRIES     5     /* servers that start together may make the same tables */

void ormd_database_log(const ormd_database *database, int level, const char *format, ...)
{
	char message[1024];
	va_list args;

	if (!database->log)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	database->log(level, message, database->log_context);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static orm_status emit(const char *sql, void *context, orm_error *error)
{
	ormd_connection *connection = context;

	return connection->driver->run(connection, sql, error);
}

static orm_status make_system_tables(ormd_connection *connection, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	orm_status status = ORM_OK;

	if (driver->prepare_database)
		status = driver->prepare_database(connection, error);
	if (status == ORM_OK && driver->dialect->transactional_ddl)
		status = driver->begin(connection, ORM_ISOLATION_DEFAULT, error);
	if (status == ORM_OK)
		status = ormd_ddl_create_system(driver->dialect, emit, connection, error);
	if (status == ORM_OK && !driver->single_writer)
		status = ormd_ddl_create_directory(driver->dialect, emit, connection, error);
	if (status == ORM_OK && driver->dialect->transactional_ddl)
		return driver->commit(connection, error);
	driver->rollback(connection);
	return status;
}

orm_status ormd_database_open_writer(ormd_database *database, orm_error *error)
{
	const ormd_open_options options = {
		.url = database->url, .create = database->create, .busy_timeout_ms = WRITER_BUSY_MS};
	const int64_t deadline_us = orm_deadline_in_ms(database->wait_ms);
	orm_status status;

	do { /* another program may be writing at the moment */
		ormd_connection *writer = database->driver->open(&options, error);

		status = writer ? make_system_tables(writer, error) : error->code;
		if (status == ORM_OK) {
			database->writer = writer;
			return ORM_OK;
		}
		database->driver->close(writer);
	} while (status == ORM_ETIMEOUT && orm_clock_us() < deadline_us);
	return status;
}

/* The first of several writers. Other servers may be making the same tables. */
static orm_status set_up_tables(ormd_database *database, orm_error *error)
{
	ormd_connection *connection = ormd_pool_take(database->writers, orm_deadline_in_ms(database->wait_ms), error);
	orm_status status = connection ? make_system_tables(connection, error) : error->code;

	for (int i = 1; connection && !connection->lost && status != ORM_OK && status != ORM_EPERM && i < SETUP_TRIES;
	     i++)
		status = make_system_tables(connection, error);
	ormd_pool_give(connection);
	return status;
}

static orm_status take_lock_file(ormd_database *database, int inherited_fd, orm_error *error)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	orm_status status;

	database->lock_fd = inherited_fd > 0 ? inherited_fd : -1;
	if (database->is_private)
		return ORM_OK;
	status = orm_discovery_lock_path(database->url, path, error);
	if (status != ORM_OK)
		return status;
	if (inherited_fd > 0)
		return orm_discovery_adopt(inherited_fd, path, error);
	status = orm_discovery_lock(path, &database->lock_fd, error);
	if (status == ORM_EEXIST && ormd_database_is_shared(database)) {
		ormd_database_log(database, LOG_INFO,
				  "%s; clients that look for a server here find that one, and this one by its address",
				  error->message);
		orm_error_clear(error);
		return ORM_OK;
	}
	return status;
}

static ormd_pool *new_pool(const ormd_driver *driver, const char *url, uint32_t n, const ormd_open_options *open,
			   const char *purpose)
{
	ormd_pool_options options = {.open = *open, .purpose = purpose, .max_connections = n};

	options.open.url = url;
	return ormd_pool_new(driver, &options);
}

static bool make_pools(ormd_database *database, const ormd_database_options *options)
{
	const ormd_driver *driver = database->driver;
	const ormd_open_options reader = {.read_only = true, .busy_timeout_ms = READER_BUSY_MS};
	const ormd_open_options replica = {.read_only = true, .busy_timeout_ms = READER_BUSY_MS, .replica = true};
	const ormd_open_options writer = {.create = options->create, .busy_timeout_ms = ROW_LOCK_MS};
	const uint32_t n_readers = options->n_readers ? options->n_readers : DEFAULT_READERS;

	database->readers = new_pool(driver, options->url, n_readers, &reader, "reading");
	database->replicas = calloc(options->n_replicas + 1, sizeof *database->replicas);
	if (!database->readers || !database->replicas)
		return false;
	for (size_t i = 0; i < options->n_replicas; i++) {
		database->replicas[i].pool =
			new_pool(driver, options->replicas[i], n_readers, &replica, "reading from a replica");
		if (!database->replicas[i].pool)
			return false;
		database->n_replicas++;
	}
	if (driver->single_writer)
		return true;
	database->max_workers = options->n_writers ? options->n_writers : DEFAULT_WRITERS;
	database->workers = calloc(database->max_workers, sizeof *database->workers);
	/* One more than there are workers: for keys, which a unit needs before it is written. */
	database->writers = new_pool(driver, options->url, (uint32_t)database->max_workers + 1, &writer, "writing");
	database->pinned = new_pool(driver, options->url, (uint32_t)database->max_workers, &writer, "a transaction");
	return database->workers && database->writers && database->pinned;
}

static void free_memory(ormd_database *database)
{
	ormd_pool_free(database->readers);
	for (size_t i = 0; i < database->n_replicas; i++)
		ormd_pool_free(database->replicas[i].pool);
	ormd_pool_free(database->writers);
	ormd_pool_free(database->pinned);
	while (database->lost) {
		lost_backend *lost = database->lost;

		database->lost = lost->next;
		free(lost);
	}
	free(database->replicas);
	free(database->workers);
	free(database->url);
	free(database);
}

/* Everything that needs no file: NULL when out of memory. */
static ormd_database *allocate(const ormd_driver *driver, const ormd_database_options *options)
{
	ormd_database *database = calloc(1, sizeof *database);

	if (!database)
		return NULL;
	database->driver = driver;
	database->url = strdup(options->url);
	database->wait_ms = options->wait_ms > 0 ? options->wait_ms : DEFAULT_WAIT_MS;
	database->max_group_us = MAX_GROUP_US;
	database->create = options->create;
	database->own_thread = options->own_thread;
	database->log = options->log;
	database->log_context = options->log_context;
	database->lock_fd = -1;
	orm_map_init(&database->keys);
	if (!database->url || !make_pools(database, options) || pthread_mutex_init(&database->lock, NULL) != 0)
		goto failed;
	if (!ormd_condition_init(&database->idle))
		goto failed_lock;
	if (!ormd_condition_init(&database->thread_wakes))
		goto failed_idle;
	if (!ormd_condition_init(&database->work_came))
		goto failed_thread;
	return database;

failed_thread:
	pthread_cond_destroy(&database->thread_wakes);
failed_idle:
	pthread_cond_destroy(&database->idle);
failed_lock:
	pthread_mutex_destroy(&database->lock);
failed:
	free_memory(database);
	return NULL;
}

ormd_database *ormd_database_open(const ormd_database_options *options, orm_error *error)
{
	orm_error ignored;
	const ormd_driver *driver = options->driver;
	ormd_database *database = NULL;

	error = error ? error : &ignored;
	if (!driver)
		driver = ormd_driver_for_url(options->url, error);

	for (size_t i = 0; driver && i < options->n_replicas; i++) {
		const ormd_driver *copy = ormd_driver_for_url(options->replicas[i], error);

		if (copy && (copy != driver || driver->single_writer))
			orm_fail(error, ORM_EINVAL,
				 "a replica must be of the database's own kind, %s, and that must be one with a server",
				 driver->name);
		if (!copy || copy != driver || driver->single_writer)
			driver = NULL;
	}
	if (driver && !(database = allocate(driver, options)))
		orm_fail(error, ORM_ENOMEM, "out of memory");
	if (!database) {
		if (options->lock_fd > 0)
			orm_discovery_unlock(options->lock_fd);
		return NULL;
	}
	database->is_private = driver->is_private && driver->is_private(options->url);
	if (take_lock_file(database, options->lock_fd, error) != ORM_OK ||
	    (driver->single_writer ? ormd_database_open_writer(database, error) : set_up_tables(database, error)) !=
		    ORM_OK) {
		ormd_database_close(database);
		return NULL;
	}
	return database;
}

orm_status ormd_database_announce(ormd_database *database, const char *address, orm_error *error)
{
	return database->lock_fd < 0 ? ORM_OK : orm_discovery_announce(database->lock_fd, address, error);
}

void ormd_database_close(ormd_database *database)
{
	if (!database)
		return;
	pthread_mutex_lock(&database->lock);
	while (database->leading || database->queue.first || database->n_idle_workers < database->n_workers)
		pthread_cond_wait(&database->idle, &database->lock);
	database->closing = true;
	pthread_cond_signal(&database->thread_wakes);
	pthread_cond_broadcast(&database->work_came);
	pthread_mutex_unlock(&database->lock);
	if (database->thread_exists)
		pthread_join(database->thread, NULL);
	ormd_database_join_workers(database);

	/* SQLite's writer last: closing the last connection moves the whole log into the database. */
	ormd_pool_free(database->readers);
	database->readers = NULL;
	database->driver->close(database->writer);
	orm_discovery_unlock(database->lock_fd);

	ormd_database_free_keys(database);
	pthread_cond_destroy(&database->work_came);
	pthread_cond_destroy(&database->thread_wakes);
	pthread_cond_destroy(&database->idle);
	pthread_mutex_destroy(&database->lock);
	free_memory(database);
}

const ormd_dialect *ormd_database_dialect(const ormd_database *database)
{
	return database->driver->dialect;
}

const char *ormd_database_url(const ormd_database *database)
{
	return database->url;
}

bool ormd_database_is_shared(const ormd_database *database)
{
	return !database->driver->single_writer;
}

/* ---- readers ------------------------------------------------------------------------------------------------ */

static ormd_connection *take_private(ormd_database *database, int64_t deadline_us, orm_error *error)
{
	pthread_mutex_lock(&database->lock);

	const bool in_time = ormd_database_take_lead(database, deadline_us);

	if (in_time) /* the lead is the reader's, whichever threads use that one after the other */
		database->leader_known = false;
	pthread_mutex_unlock(&database->lock);
	if (in_time)
		return database->writer;
	orm_fail(error, ORM_ETIMEOUT, "no connection for reading came free in time; try again");
	return NULL;
}

ormd_connection *ormd_database_take_reader(ormd_database *database, int64_t deadline_us, orm_error *error)
{
	const int64_t own_deadline_us = orm_deadline_in_ms(database->wait_ms);

	if (own_deadline_us < deadline_us)
		deadline_us = own_deadline_us;
	return database->is_private ? take_private(database, deadline_us, error)
				    : ormd_pool_take(database->readers, deadline_us, error);
}

ormd_connection *ormd_database_take_replica(ormd_database *database, int64_t deadline_us, orm_error *error)
{
	const size_t first = database->n_replicas ? atomic_fetch_add(&database->next_replica, 1) : 0;

	for (size_t i = 0; i < database->n_replicas; i++) {
		database_replica *replica = &database->replicas[(first + i) % database->n_replicas];
		const int64_t soon_us = orm_deadline_in_ms(REPLICA_MS);
		ormd_connection *connection;

		if (atomic_load(&replica->not_before_us) > orm_clock_us())
			continue;
		connection = ormd_pool_take(replica->pool, soon_us < deadline_us ? soon_us : deadline_us, error);
		if (connection)
			return connection;
		ormd_database_log(database, LOG_WARNING, "a replica is left out for a while: %s", error->message);
		atomic_store(&replica->not_before_us, orm_deadline_in_ms(REPLICA_REST_MS));
	}
	return ormd_database_take_reader(database, deadline_us, error);
}

void ormd_database_give_reader(ormd_database *database, ormd_connection *connection)
{
	if (!connection)
		return;
	if (!database->is_private) {
		ormd_pool_give(connection);
		return;
	}
	database->driver->rollback(connection);
	pthread_mutex_lock(&database->lock);
	ormd_database_give_lead(database);
	pthread_mutex_unlock(&database->lock);
}
