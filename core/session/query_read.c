/* SPDX-License-Identifier: MIT */
/* Reading a query's rows from a connection, parcel by parcel. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/query.h"

#define MAX_PARCEL_ROWS 65536

/* ---- parcels ------------------------------------------------------------------------------------------------ */

ormd_parcel *ormd_parcel_take(ormd_query *query, const orm_mapper *mapper)
{
	ormd_parcel **link = &query->spare;
	ormd_parcel *parcel;

	while (*link && ((*link)->mapper != mapper || (*link)->builder.n_vectors == 0))
		link = &(*link)->next;
	parcel = *link;
	if (parcel) {
		*link = parcel->next;
		orm_batch_builder_reset(&parcel->builder);
		free(parcel->known);
		*parcel = (ormd_parcel){.mapper = mapper, .builder = parcel->builder};
		return parcel;
	}
	parcel = calloc(1, sizeof *parcel);
	if (parcel)
		parcel->mapper = mapper;
	if (parcel && !orm_batch_builder_init(&parcel->builder, mapper, NULL, 0)) {
		ormd_parcel_free(parcel);
		return NULL;
	}
	return parcel;
}

void ormd_parcel_free(ormd_parcel *parcel)
{
	if (!parcel)
		return;
	orm_batch_builder_fini(&parcel->builder);
	free(parcel->known);
	free(parcel);
}

/* ---- the connection ----------------------------------------------------------------------------------------- */

static orm_status use_connection(ormd_query *query, ormd_connection *connection, orm_error *error)
{
	if (!connection && !query->reader)
		query->reader = ormd_database_take_reader(query->session->database, query->deadline_us, error);
	if (!connection && !query->reader)
		return error->code;
	pthread_mutex_lock(&query->lock);
	query->connection = connection ? connection : query->reader;
	query->connection->deadline_us = query->deadline_us == ORM_NO_DEADLINE ? 0 : query->deadline_us;
	pthread_mutex_unlock(&query->lock);
	if (atomic_load(&query->interrupted))
		return orm_fail(error, ORM_ECANCELLED, "the query was cancelled");
	return ORM_OK;
}

void ormd_query_end_reading(ormd_query *query)
{
	for (size_t i = 0; i < query->n_loads; i++)
		ormd_select_by_fini(&query->loads[i].select);
	if (query->cursor)
		query->cursor->connection->driver->close_cursor(query->cursor);
	query->cursor = NULL;
	pthread_mutex_lock(&query->lock);
	if (query->connection)
		query->connection->deadline_us = 0;
	query->connection = NULL;
	pthread_mutex_unlock(&query->lock);
	if (query->reader)
		ormd_database_give_reader(query->session->database, query->reader);
	query->reader = NULL;
}

/* ---- the statement ------------------------------------------------------------------------------------------ */

static orm_status read_rows(ormd_query *query, ormd_parcel *parcel, size_t max_size, orm_error *error)
{
	const ormd_driver *driver = query->connection->driver;
	uint8_t types[ORM_MAX_COLUMNS];
	orm_vector vectors[ORM_MAX_COLUMNS];
	orm_batch batch;
	orm_status status;
	size_t n_rows = 0;

	if (!query->cursor) {
		ormd_mapper_types(query->mapper, types);
		query->cursor = driver->query(query->connection, query->sql.data, query->parameters, query->n_parameters, types,
					      query->mapper->n_columns, error);
	}
	if (!query->cursor)
		return error->code;
	status = driver->fetch(query->cursor, &parcel->builder, MAX_PARCEL_ROWS, max_size, &n_rows, &query->statement_done, error);
	if (status != ORM_OK)
		return status;
	if (query->statement_done) {
		driver->close_cursor(query->cursor);
		query->cursor = NULL;
	}
	if (query->n_loads == 0 || n_rows == 0)
		return ORM_OK;
	if (!orm_batch_builder_view(&parcel->builder, vectors, &batch))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	return ormd_loads_collect_rows(query, &batch, error);
}

orm_status ormd_query_read_count(ormd_query *query, ormd_connection *connection, orm_error *error)
{
	const uint8_t type = ORM_INT64;
	orm_vector_builder vector = {.type = ORM_INT64};
	orm_batch_builder builder = {.vectors = &vector, .n_vectors = 1};
	const ormd_driver *driver;
	orm_status status = use_connection(query, connection, error);
	size_t n_rows = 0;
	bool done = false;
	int64_t count = 0;

	if (status != ORM_OK)
		return status;
	driver = query->connection->driver;
	orm_buffer_init(&vector.cells);
	orm_buffer_init(&vector.nulls);
	orm_buffer_init(&vector.ends);
	query->cursor = driver->query(query->connection, query->sql.data, query->parameters, query->n_parameters, &type, 1, error);
	status = query->cursor ? driver->fetch(query->cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error) : error->code;
	if (status == ORM_OK && n_rows == 1)
		memcpy(&count, vector.cells.data, sizeof count);
	query->count = (uint64_t)count;
	query->statement_done = true;
	orm_buffer_fini(&vector.cells);
	orm_buffer_fini(&vector.nulls);
	orm_buffer_fini(&vector.ends);
	return status;
}

/* ---- related rows ------------------------------------------------------------------------------------------- */

static bool take_known(ormd_load *load, ormd_parcel *parcel)
{
	parcel->n_known = load->known.size / sizeof *parcel->known;
	if (parcel->n_known == 0)
		return true;
	parcel->known = malloc(load->known.size);
	if (parcel->known)
		memcpy(parcel->known, load->known.data, load->known.size);
	return parcel->known != NULL;
}

static orm_status read_related(ormd_query *query, ormd_connection *connection, ormd_parcel *parcel, size_t max_size, orm_error *error)
{
	ormd_load *load = &query->loads[query->next_load];
	bool done = load->select.n_keys == 0;
	size_t n_rows = 0;
	orm_status status = ORM_OK;

	parcel->related = true;
	parcel->load = query->next_load;
	if (!load->begun && !take_known(load, parcel))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	load->begun = true;
	if (!done)
		status = use_connection(query, connection, error);
	if (!done && status == ORM_OK)
		status = ormd_select_by_fetch(&load->select, query->connection, &parcel->builder, max_size, &n_rows, &done, error);
	if (status != ORM_OK)
		return status;
	if (done) {
		parcel->completes = true;
		parcel->first_parent = query->first_parent;
		parcel->n_parents = query->n_at_hand;
		query->next_load++;
	}
	return ORM_OK;
}

/* The next objects whose relationship is to be loaded. */
static orm_status next_parents(ormd_query *query, orm_error *error)
{
	const size_t left = query->n_parents - query->next_parent;

	query->first_parent = query->next_parent;
	query->n_at_hand = left < ORMD_LOAD_CHUNK ? left : ORMD_LOAD_CHUNK;
	query->next_parent += query->n_at_hand;
	return ormd_loads_collect_parents(query, error);
}

/* ---- whatever is next --------------------------------------------------------------------------------------- */

bool ormd_query_all_read(const ormd_query *query)
{
	return query->statement_done && query->next_load == query->n_loads && (query->has_statement || query->next_parent == query->n_parents);
}

static orm_status read_parcel(ormd_query *query, ormd_connection *connection, size_t max_size, ormd_parcel **parcel, orm_error *error)
{
	const orm_mapper *mapper = query->mapper;
	orm_status status = ORM_OK;

	if (query->next_load == query->n_loads && !query->has_statement)
		status = next_parents(query, error);
	if (status != ORM_OK)
		return status;
	if (query->next_load < query->n_loads)
		mapper = query->loads[query->next_load].relationship->target;
	*parcel = ormd_parcel_take(query, mapper);
	if (!*parcel)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	if (query->next_load < query->n_loads)
		return read_related(query, connection, *parcel, max_size, error);
	status = use_connection(query, connection, error);
	return status == ORM_OK ? read_rows(query, *parcel, max_size, error) : status;
}

orm_status ormd_query_read(ormd_query *query, ormd_connection *connection, size_t max_size, ormd_parcel **parcel, orm_error *error)
{
	orm_status status;

	*parcel = NULL;
	if (ormd_query_all_read(query))
		return ORM_OK;
	status = read_parcel(query, connection, max_size, parcel, error);
	if (status != ORM_OK) {
		ormd_parcel_free(*parcel);
		*parcel = NULL;
	}
	return status;
}
