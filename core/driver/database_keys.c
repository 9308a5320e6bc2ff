/* SPDX-License-Identifier: MIT */
/*
 * Generated keys, counted in memory. The next key of a table only ever rises while the server lives and the table exists: what is
 * reserved is never handed out again, even if the unit that reserved it never commits.
 */
#include "driver/database_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "model/fail.h"
#include "sql/compile.h"

typedef struct key_counter {
	int64_t next; /* no key from here on was reserved or noted; 0: all keys up to the largest number are used */
	uint64_t generation; /* of the database's keys_generation when the table was asked; 0: never */
	char table[];
} key_counter;

static bool same_table(const void *value, const void *key)
{
	const key_counter *counter = value;

	return strcmp(counter->table, key) == 0;
}

/* Locked. NULL: out of memory. */
static key_counter *find_counter(ormd_database *database, const char *table)
{
	const size_t size = strlen(table) + 1;
	const uint64_t hash = orm_hash_bytes(table, size);
	key_counter *counter = orm_map_get(&database->keys, hash, same_table, table);

	if (counter)
		return counter;
	counter = calloc(1, sizeof *counter + size);
	if (!counter)
		return NULL;
	counter->next = 1;
	memcpy(counter->table, table, size);
	if (orm_map_put(&database->keys, hash, counter))
		return counter;
	free(counter);
	return NULL;
}

/* This key is in use. Locked. */
static void raise_counter(key_counter *counter, int64_t key)
{
	if (counter->next != 0 && key >= counter->next)
		counter->next = key < INT64_MAX ? key + 1 : 0;
}

static int64_t largest_key(const orm_mapper *mapper)
{
	return mapper->columns[mapper->key[0]].type == ORM_INT32 ? INT32_MAX : INT64_MAX;
}

/* The largest key of the table as the connection sees it; 0 when it is empty. */
static orm_status ask_table(ormd_connection *connection, const orm_mapper *mapper, int64_t *key, orm_error *error)
{
	const ormd_driver *driver = connection->driver;
	const uint8_t type = (uint8_t)mapper->columns[mapper->key[0]].type;
	orm_batch_builder builder = {0};
	orm_vector vector;
	orm_batch batch;
	orm_vector_cursor cells;
	orm_value value = {.null = true};
	orm_buffer sql;
	ormd_cursor *cursor = NULL;
	size_t n_rows = 0;
	bool done = false;
	orm_status status = ORM_OK;

	orm_buffer_init(&sql);
	ormd_sql_max_key(driver->dialect, mapper, &sql);
	if (sql.failed || !orm_batch_builder_init(&builder, mapper, mapper->key, 1))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	if (status == ORM_OK && !(cursor = driver->query(connection, sql.data, NULL, 0, &type, 1, error)))
		status = error->code;
	if (status == ORM_OK)
		status = driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error);
	if (status == ORM_OK && !orm_batch_builder_view(&builder, &vector, &batch))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	if (status == ORM_OK && n_rows == 1) {
		orm_vector_cursor_init(&cells, &vector);
		orm_vector_cursor_next(&cells, &value);
	}
	if (status == ORM_OK)
		*key = value.null ? 0 : value.integer;
	driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	orm_buffer_fini(&sql);
	return status;
}

static orm_status ask_database(ormd_database *database, const orm_mapper *mapper, int64_t *key, orm_error *error)
{
	/* Inside `run` the unit's own connection sees what the unit has written, and another might not come free. */
	if (ormd_database_is_leader(database))
		return database->writer ? ask_table(database->writer, mapper, key, error)
					: orm_fail(error, ORM_EUNAVAILABLE, "the database is not open");

	ormd_connection *reader = ormd_database_take_reader(database, ORM_NO_DEADLINE, error);

	if (!reader)
		return error->code;

	const orm_status status = ask_table(reader, mapper, key, error);

	ormd_database_give_reader(database, reader);
	return status;
}

orm_status ormd_database_reserve_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first,
				      orm_error *error)
{
	const int64_t limit = largest_key(mapper);
	orm_error ignored;
	orm_status status = ORM_OK;

	error = error ? error : &ignored;
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	/* As often as somebody else writes while we ask. */
	while (counter && status == ORM_OK && counter->generation != database->keys_generation + 1) {
		const uint64_t generation = database->keys_generation + 1;
		int64_t key = 0;

		pthread_mutex_unlock(&database->lock);
		status = ask_database(database, mapper, &key, error);
		pthread_mutex_lock(&database->lock);
		if (status == ORM_OK) {
			raise_counter(counter, key);
			counter->generation = generation;
		}
	}
	if (!counter)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (status == ORM_OK && count > 0 && (counter->next == 0 || counter->next - 1 > limit - (int64_t)count))
		status = orm_fail_at(error, ORM_ELIMIT, mapper->name, mapper->columns[mapper->key[0]].name,
				     "the largest key leaves no room for %u more in %s: %srenumber that row", count,
				     limit == INT64_MAX ? "int64" : "int32",
				     limit == INT64_MAX ? "" : "make it int64, or ");
	if (status == ORM_OK) {
		*first = counter->next;
		if (count > 0)
			raise_counter(counter, counter->next + ((int64_t)count - 1));
	}
	pthread_mutex_unlock(&database->lock);
	return status;
}

bool ormd_database_has_keys(ormd_database *database, const orm_mapper *mapper)
{
	pthread_mutex_lock(&database->lock);

	const key_counter *counter = find_counter(database, mapper->table);
	const bool has = counter && counter->generation == database->keys_generation + 1;

	pthread_mutex_unlock(&database->lock);
	return has;
}

void ormd_database_note_key(ormd_database *database, const orm_mapper *mapper, int64_t key)
{
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	/* Without memory for it nothing is lost: the next reservation makes the counter, and asks the table. */
	if (counter)
		raise_counter(counter, key);
	pthread_mutex_unlock(&database->lock);
}

void ormd_database_restart_keys(ormd_database *database, const orm_mapper *mapper)
{
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	if (counter) {
		counter->next = 1;
		counter->generation = 0; /* by now it may have been made anew and filled */
	}
	pthread_mutex_unlock(&database->lock);
}

void ormd_database_forget_keys(ormd_database *database)
{
	database->keys_generation++;
}

void ormd_database_free_keys(ormd_database *database)
{
	size_t cursor = 0;

	for (key_counter *counter; (counter = orm_map_next(&database->keys, &cursor));)
		free(counter);
	orm_map_fini(&database->keys);
}
