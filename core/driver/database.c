/* SPDX-License-Identifier: MIT */
/* Opening and closing, and the pool of readers. */
#include "driver/database_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/clock.h"
#include "base/discovery.h"
#include "base/error.h"
#include "sql/ddl.h"

#define DEFAULT_READERS 8
#define DEFAULT_WAIT_MS 30000
#define MAX_GROUP_US    20000
#define READER_BUSY_MS  5000 /* readers only wait for somebody else's recovery of the log */
#define WRITER_BUSY_MS  250  /* then the queue looks at its deadlines, and tries again */

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

bool ormd_database_init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	if (pthread_condattr_init(&attributes) != 0)
		return false;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);

	const bool done = pthread_cond_init(condition, &attributes) == 0;

	pthread_condattr_destroy(&attributes);
	return done;
}

bool ormd_database_wait(ormd_database *database, pthread_cond_t *condition, int64_t deadline_us)
{
	struct timespec until;

	if (deadline_us == ORM_NO_DEADLINE) {
		pthread_cond_wait(condition, &database->lock);
		return true;
	}

	/* Conditions know no CLOCK_BOOTTIME; the difference is only felt when the machine is suspended during the wait.
	 */
	const int64_t left_us = deadline_us - orm_clock_us();

	if (left_us <= 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(left_us / 1000000);
	until.tv_nsec += (long)(left_us % 1000000) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(condition, &database->lock, &until);
	return true; /* the caller asks again, and then the time is up */
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
	orm_status status = driver->begin(connection, ORM_ISOLATION_DEFAULT, error);

	if (status == ORM_OK)
		status = ormd_ddl_create_system(driver->dialect, emit, connection, error);
	if (status == ORM_OK)
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
	return inherited_fd > 0 ? orm_discovery_adopt(inherited_fd, path, error)
				: orm_discovery_lock(path, &database->lock_fd, error);
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
	database->max_readers = options->n_readers ? options->n_readers : DEFAULT_READERS;
	database->idle_readers = calloc(database->max_readers, sizeof(ormd_connection *));
	orm_map_init(&database->keys);
	if (!database->url || !database->idle_readers || pthread_mutex_init(&database->lock, NULL) != 0)
		goto failed;
	if (!ormd_database_init_condition(&database->idle))
		goto failed_lock;
	if (!ormd_database_init_condition(&database->thread_wakes))
		goto failed_idle;
	if (!ormd_database_init_condition(&database->reader_came_back))
		goto failed_thread;
	return database;

failed_thread:
	pthread_cond_destroy(&database->thread_wakes);
failed_idle:
	pthread_cond_destroy(&database->idle);
failed_lock:
	pthread_mutex_destroy(&database->lock);
failed:
	free(database->url);
	free(database->idle_readers);
	free(database);
	return NULL;
}

ormd_database *ormd_database_open(const ormd_database_options *options, orm_error *error)
{
	orm_error ignored;
	const ormd_driver *driver = ormd_driver_for_url(options->url, error = error ? error : &ignored);
	ormd_database *database = driver ? allocate(driver, options) : NULL;

	if (!database) {
		if (driver)
			orm_fail(error, ORM_ENOMEM, "out of memory");
		if (options->lock_fd > 0)
			orm_discovery_unlock(options->lock_fd);
		return NULL;
	}
	assert(driver->single_writer); /* the queue below is for one writer */
	database->is_private = driver->is_private && driver->is_private(options->url);
	if (take_lock_file(database, options->lock_fd, error) != ORM_OK ||
	    ormd_database_open_writer(database, error) != ORM_OK) {
		ormd_database_close(database);
		return NULL;
	}
	return database;
}

orm_status ormd_database_announce(ormd_database *database, const char *address, orm_error *error)
{
	return database->is_private ? ORM_OK : orm_discovery_announce(database->lock_fd, address, error);
}

void ormd_database_close(ormd_database *database)
{
	if (!database)
		return;
	pthread_mutex_lock(&database->lock);
	while (database->leading || database->queue.first || database->n_idle_readers < database->n_open_readers)
		pthread_cond_wait(&database->idle, &database->lock);
	database->closing = true;
	pthread_cond_signal(&database->thread_wakes);
	pthread_mutex_unlock(&database->lock);
	if (database->thread_exists)
		pthread_join(database->thread, NULL);

	/* The writer last: closing the last connection moves the whole log into the database. */
	for (size_t i = 0; i < database->n_idle_readers; i++)
		database->driver->close(database->idle_readers[i]);
	database->driver->close(database->writer);
	orm_discovery_unlock(database->lock_fd);

	ormd_database_free_keys(database);
	pthread_cond_destroy(&database->reader_came_back);
	pthread_cond_destroy(&database->thread_wakes);
	pthread_cond_destroy(&database->idle);
	pthread_mutex_destroy(&database->lock);
	free(database->idle_readers);
	free(database->url);
	free(database);
}

const ormd_dialect *ormd_database_dialect(const ormd_database *database)
{
	return database->driver->dialect;
}

const char *ormd_database_url(const ormd_database *database)
{
	return database->url;
}

/* ---- readers ------------------------------------------------------------------------------------------------ */

static ormd_connection *fail_no_reader(orm_error *error)
{
	orm_fail(error, ORM_ETIMEOUT, "no connection for reading came free in time; try again, or allow more readers");
	return NULL;
}

/* A place for one more reader has been counted: fill it. */
static ormd_connection *open_reader(ormd_database *database, orm_error *error)
{
	const ormd_open_options options = {.url = database->url, .read_only = true, .busy_timeout_ms = READER_BUSY_MS};
	ormd_connection *connection = database->driver->open(&options, error);

	if (!connection) {
		pthread_mutex_lock(&database->lock);
		database->n_open_readers--;
		pthread_cond_signal(&database->reader_came_back);
		pthread_cond_broadcast(&database->idle);
		pthread_mutex_unlock(&database->lock);
	}
	return connection;
}

ormd_connection *ormd_database_take_reader(ormd_database *database, int64_t deadline_us, orm_error *error)
{
	const int64_t own_deadline_us = orm_deadline_in_ms(database->wait_ms);
	ormd_connection *connection = NULL;
	bool open_one = false;
	bool in_time = true;

	if (own_deadline_us < deadline_us)
		deadline_us = own_deadline_us;
	pthread_mutex_lock(&database->lock);
	if (database->is_private) {
		in_time = ormd_database_take_lead(database, deadline_us);
		if (in_time) /* the lead is the reader's, whichever threads use that one after the other */
			database->leader_known = false;
		pthread_mutex_unlock(&database->lock);
		return in_time ? database->writer : fail_no_reader(error);
	}
	while (in_time && database->n_idle_readers == 0 && database->n_open_readers == database->max_readers)
		in_time = ormd_database_wait(database, &database->reader_came_back, deadline_us);
	if (database->n_idle_readers > 0) {
		connection = database->idle_readers[--database->n_idle_readers];
	} else if (in_time) {
		open_one = true;
		database->n_open_readers++;
	}
	pthread_mutex_unlock(&database->lock);
	if (open_one)
		return open_reader(database, error);
	return connection ? connection : fail_no_reader(error);
}

void ormd_database_give_reader(ormd_database *database, ormd_connection *connection)
{
	if (!connection)
		return;
	database->driver->rollback(connection);

	const bool keep = database->is_private || !database->driver->in_transaction(connection);

	if (!keep)
		database->driver->close(connection);
	pthread_mutex_lock(&database->lock);
	if (database->is_private) {
		ormd_database_give_lead(database);
	} else {
		if (keep)
			database->idle_readers[database->n_idle_readers++] = connection;
		else
			database->n_open_readers--;
		pthread_cond_signal(&database->reader_came_back);
		pthread_cond_broadcast(&database->idle);
	}
	pthread_mutex_unlock(&database->lock);
}
