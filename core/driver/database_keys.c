/* SPDX-License-Identifier: MIT */
/*
 * Generated keys, counted in memory. What is reserved is never handed out again, even if the unit that reserved it
 * never commits.
 *
 * Where this server is the only one to add rows, the next key of a table only ever rises while the server lives and the
 * table exists. Where there may be others, the engine gives out keys in blocks; the more a table takes, the larger the
 * blocks, so that one key costs no round trip.
 */
#include "driver/database_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "model/fail.h"
#include "sql/compile.h"

#define LARGEST_BLOCK 256

typedef struct key_counter {
	int64_t next; /* no key from here on was reserved or noted; 0: all keys up to the largest number are used */
	uint64_t generation; /* of the database's keys_generation when the table was asked; 0: never */
	/* Where the engine gives out keys: */
	int64_t end;    /* of our block: the first key that is not ours */
	int64_t noted;  /* the largest explicit key that we know of */
	uint32_t block; /* how many to ask for next time */
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
	counter->block = 1;
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

static orm_status fail_no_keys(const orm_mapper *mapper, uint32_t count, orm_error *error)
{
	const bool is_64 = largest_key(mapper) == INT64_MAX;

	return orm_fail_at(error, ORM_ELIMIT, mapper->name, mapper->columns[mapper->key[0]].name,
			   "the largest key leaves no room for %u more in %s: %srenumber that row", count,
			   is_64 ? "int64" : "int32", is_64 ? "" : "make it int64, or ");
}

/* ---- counted here ------------------------------------------------------------------------------------------- */

static orm_status count_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first,
			     orm_error *error)
{
	const int64_t limit = largest_key(mapper);
	orm_status status = ORM_OK;

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
		status = fail_no_keys(mapper, count, error);
	if (status == ORM_OK) {
		*first = counter->next;
		if (count > 0)
			raise_counter(counter, counter->next + ((int64_t)count - 1));
	}
	pthread_mutex_unlock(&database->lock);
	return status;
}

/* ---- given out by the engine -------------------------------------------------------------------------------- */

/* The keys from `first` to before `end` that no explicit key is known to reach. Locked. */
static int64_t pass_over_noted(const key_counter *counter, int64_t first, int64_t end)
{
	if (counter->noted < first)
		return first;
	return counter->noted < end ? counter->noted + 1 : end;
}

/* Take from our block; 0: it is empty. Locked. */
static uint32_t take_from_block(key_counter *counter, uint32_t count, int64_t *first)
{
	counter->next = pass_over_noted(counter, counter->next, counter->end);

	const int64_t left = counter->end - counter->next;
	const uint32_t n = left < (int64_t)count ? (uint32_t)(left > 0 ? left : 0) : count;

	if (n > 0)
		*first = counter->next;
	counter->next += n;
	return n;
}

static orm_status ask_engine(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first,
			     uint32_t *n, orm_error *error)
{
	ormd_connection *connection = ormd_pool_take(database->writers, orm_deadline_in_ms(database->wait_ms), error);

	if (!connection)
		return error->code;
	connection->deadline_us = orm_deadline_in_ms(database->wait_ms);

	const orm_status status = database->driver->reserve_keys(connection, mapper, count, first, n, error);

	ormd_pool_give(connection);
	return status;
}

static orm_status get_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first,
			   uint32_t *n_reserved, orm_error *error)
{
	orm_status status = ORM_OK;
	int64_t key = 0;
	uint32_t n = 0;

	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	if (!counter)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else
		n = take_from_block(counter, count, &key);
	while (status == ORM_OK && n == 0) {
		const uint32_t wanted = counter->block > count ? counter->block : count;
		key_counter block = *counter;
		uint32_t n_got = 0;

		if (counter->block < LARGEST_BLOCK)
			counter->block *= 2;
		pthread_mutex_unlock(&database->lock);
		status = ask_engine(database, mapper, wanted, &block.next, &n_got, error);
		pthread_mutex_lock(&database->lock);
		if (status != ORM_OK)
			break;
		/* Somebody else may have got a block meanwhile: the larger rest is kept. */
		block.end = block.next + n_got;
		block.noted = counter->noted;
		n = take_from_block(&block, count, &key);
		if (block.end - block.next > counter->end - counter->next) {
			counter->next = block.next;
			counter->end = block.end;
		}
	}
	pthread_mutex_unlock(&database->lock);
	if (status == ORM_OK && key > largest_key(mapper) - ((int64_t)n - 1))
		status = fail_no_keys(mapper, n, error);
	if (status == ORM_OK) {
		*first = key;
		*n_reserved = n;
	}
	return status;
}

/* ---- both --------------------------------------------------------------------------------------------------- */

orm_status ormd_database_reserve_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count, int64_t *first,
				      uint32_t *n_reserved, orm_error *error)
{
	orm_error ignored;

	error = error ? error : &ignored;
	if (database->driver->reserve_keys && count > 0)
		return get_keys(database, mapper, count, first, n_reserved, error);

	const orm_status status = count_keys(database, mapper, count, first, error);

	if (status == ORM_OK)
		*n_reserved = count;
	return status;
}

/* While it is pinned nobody else writes, and the generation stays. */
orm_status ormd_database_learn_keys(ormd_database *database, ormd_connection *connection, const orm_mapper *mapper,
				    orm_error *error)
{
	orm_error ignored;
	int64_t key = 0;

	error = error ? error : &ignored;
	if (database->driver->reserve_keys || ormd_database_has_keys(database, mapper, 1))
		return ORM_OK;
	if (ask_table(connection, mapper, &key, error) != ORM_OK)
		return error->code;
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	if (counter) {
		raise_counter(counter, key);
		counter->generation = database->keys_generation + 1;
	}
	pthread_mutex_unlock(&database->lock);
	return counter ? ORM_OK : orm_fail(error, ORM_ENOMEM, "out of memory");
}

bool ormd_database_has_keys(ormd_database *database, const orm_mapper *mapper, uint32_t count)
{
	pthread_mutex_lock(&database->lock);

	const key_counter *counter = find_counter(database, mapper->table);
	bool has = counter != NULL;

	if (has && database->driver->reserve_keys)
		has = counter->end - pass_over_noted(counter, counter->next, counter->end) >= (int64_t)count;
	else if (has)
		has = counter->generation == database->keys_generation + 1;
	pthread_mutex_unlock(&database->lock);
	return has;
}

void ormd_database_note_key(ormd_database *database, const orm_mapper *mapper, int64_t key)
{
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	/* Without memory for it nothing is lost: the next reservation makes the counter, and asks the table. */
	if (counter && !database->driver->reserve_keys)
		raise_counter(counter, key);
	else if (counter && key > counter->noted && key < INT64_MAX)
		counter->noted = key;
	pthread_mutex_unlock(&database->lock);
}

void ormd_database_restart_keys(ormd_database *database, const orm_mapper *mapper)
{
	pthread_mutex_lock(&database->lock);

	key_counter *counter = find_counter(database, mapper->table);

	if (counter) {
		counter->next = 1;
		counter->end = counter->noted = 0;
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
