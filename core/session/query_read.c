/* SPDX-License-Identifier: MIT */
/* Reading a query's rows from a connection, parcel by parcel. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/query.h"
#include "session/transaction.h"
#include "sql/compile.h"

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
		query->reader = ormd_session_take_reader(query->session, query->deadline_us, error);
	if (!connection && !query->reader)
		return error->code;
	if (!query->ahead) { /* else it is the thread's, and was readied for it */
		pthread_mutex_lock(&query->lock);
		query->connection = connection ? connection : query->reader;
		query->connection->deadline_us = query->deadline_us == ORM_NO_DEADLINE ? 0 : query->deadline_us;
		pthread_mutex_unlock(&query->lock);
	}
	if (atomic_load(&query->interrupted))
		return orm_fail(error, ORM_ECANCELLED, "the query was cancelled");
	return ORM_OK;
}

static void end_ahead(ormd_query *query)
{
	ormd_read_ahead_stop(query->ahead);
	query->ahead = NULL;
}

/*
 * Rows that come one piece after the other. More of them are read ahead, if the query has the connection for itself:
 * one that it was lent may be wanted between two pieces, and so is its own for what is loaded along piece by piece.
 */
static orm_status fetch(ormd_query *query, ormd_cursor *cursor, ormd_parcel *parcel, size_t max_size, size_t *n_rows,
			bool *done, orm_error *error)
{
	const bool alone =
		query->connection == query->reader && ormd_query_next_load(query, 0, false) == query->n_loads;
	orm_status status;

	if (query->ahead)
		status = ormd_read_ahead_take(query->ahead, &parcel->builder, n_rows, done, error);
	else
		status = query->connection->driver->fetch(cursor, &parcel->builder, MAX_PARCEL_ROWS, max_size, n_rows,
							  done, error);
	if (status != ORM_OK || *done)
		end_ahead(query);
	else if (alone && !query->ahead)
		query->ahead = ormd_read_ahead_start(cursor, parcel->mapper, MAX_PARCEL_ROWS, query->piece_size);
	return status;
}

void ormd_query_end_reading(ormd_query *query)
{
	end_ahead(query);
	for (size_t i = 0; i < query->n_loads; i++)
		ormd_load_close(&query->loads[i]);
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
		query->cursor = driver->query(query->connection, query->sql.data, query->parameters,
					      query->n_parameters, types, query->mapper->n_columns, error);
	}
	if (!query->cursor)
		return error->code;
	status = fetch(query, query->cursor, parcel, max_size, &n_rows, &query->statement_done, error);
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

/* Nothing of the result has been delivered: it may as well be another connection's. */
static bool begin_again(ormd_query *query, orm_status status)
{
	if (query->has_read || !ormd_session_lost_reader(query->session, query->reader, status))
		return false;
	ormd_query_end_reading(query);
	if (query->next_load < query->n_loads) {
		query->loads[query->next_load].begun = false;
		query->loads[query->next_load].select.next = 0;
	}
	return true;
}

static orm_status count_rows(ormd_query *query, ormd_connection *connection, int64_t *count, orm_error *error)
{
	const orm_status status = use_connection(query, connection, error);

	return status == ORM_OK ? ormd_select_integer(query->connection, query->sql.data, query->parameters,
						      query->n_parameters, count, error)
				: status;
}

orm_status ormd_query_read_count(ormd_query *query, ormd_connection *connection, orm_error *error)
{
	int64_t count = 0;
	orm_status status = count_rows(query, connection, &count, error);

	if (begin_again(query, status))
		status = count_rows(query, connection, &count, error);
	query->count = (uint64_t)count;
	query->statement_done = true;
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

static orm_status read_related(ormd_query *query, ormd_connection *connection, ormd_parcel *parcel, size_t max_size,
			       orm_error *error)
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
		status = ormd_select_by_fetch(&load->select, query->connection, &parcel->builder, max_size, &n_rows,
					      &done, error);
	if (status != ORM_OK)
		return status;
	if (done) {
		parcel->completes = true;
		parcel->first_parent = query->first_parent;
		parcel->n_parents = query->n_at_hand;
		query->next_load = ormd_query_next_load(query, query->next_load + 1, false);
	}
	return ORM_OK;
}

/* ---- all rows of a table ------------------------------------------------------------------------------------ */

/*
 * Every row that refers to any other is wanted. Reading the whole table as it lies takes a third of the time that
 * finding the rows by an index does (participants sort their lists themselves); where rows may refer to nothing, only
 * if most of them can be expected to refer to something.
 */
static orm_status decide_to_scan(ormd_query *query, ormd_load *load, orm_error *error)
{
	enum { WORTHWHILE = 16 }; /* rows to look at for one of those referred to */
	const orm_mapper *target = load->relationship->target;
	int64_t highest = 0;
	orm_buffer sql;
	orm_status status;

	if (load->scan || !target->generated_key)
		return ORM_OK;
	orm_buffer_init(&sql);
	ormd_sql_max_key(query->connection->driver->dialect, target, &sql);
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : ormd_select_integer(query->connection, sql.data, NULL, 0, &highest, error);
	orm_buffer_fini(&sql);
	load->scan = highest >= 0 && (uint64_t)highest / WORTHWHILE <= load->keys.n_keys;
	return status;
}

static orm_status begin_scan(ormd_query *query, ormd_load *load, orm_error *error)
{
	const orm_mapper *target = load->relationship->target;
	uint8_t types[ORM_MAX_COLUMNS];
	ormd_term terms[ORM_MAX_COLUMNS];
	ormd_select select = {.mapper = target, .where = terms, .limit = ORMD_NO_LIMIT};
	orm_buffer sql;

	for (uint16_t i = 0; i < load->n_columns; i++) {
		if (target->columns[load->target[i]].nullable)
			terms[select.n_where++] = (ormd_term){.op = ORMD_NOT_NULL, .column = load->target[i]};
	}
	orm_buffer_init(&sql);
	ormd_sql_select(query->connection->driver->dialect, &select, &sql);
	ormd_mapper_types(target, types);
	if (sql.failed)
		orm_fail(error, ORM_ENOMEM, "out of memory");
	else
		load->cursor = query->connection->driver->query(query->connection, sql.data, NULL, 0, types,
								target->n_columns, error);
	orm_buffer_fini(&sql);
	return load->cursor ? ORM_OK : error->code;
}

static orm_status begin_late(ormd_query *query, ormd_load *load, orm_error *error)
{
	const orm_status status = decide_to_scan(query, load, error);

	load->begun = true;
	if (status == ORM_OK && load->scan)
		return begin_scan(query, load, error);
	return status == ORM_OK ? ormd_load_end_collecting(load, error) : status;
}

/* What is loaded for all the statement's rows together, after them. */
static orm_status read_late(ormd_query *query, ormd_connection *connection, ormd_parcel *parcel, size_t max_size,
			    orm_error *error)
{
	ormd_load *load = &query->loads[query->next_late];
	size_t n_rows = 0;
	bool done = false;
	orm_status status = use_connection(query, connection, error);

	parcel->related = true;
	parcel->load = query->next_late;
	if (status == ORM_OK && !load->begun)
		status = begin_late(query, load, error);
	if (status == ORM_OK && load->scan)
		status = fetch(query, load->cursor, parcel, max_size, &n_rows, &done, error);
	else if (status == ORM_OK)
		status = ormd_select_by_fetch(&load->select, query->connection, &parcel->builder, max_size, &n_rows,
					      &done, error);
	if (status == ORM_OK && done) {
		ormd_load_close(load);
		query->next_late = ormd_query_next_load(query, query->next_late + 1, true);
	}
	return status;
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

size_t ormd_query_next_load(const ormd_query *query, size_t from, bool late)
{
	while (from < query->n_loads && query->loads[from].late != late)
		from++;
	return from;
}

bool ormd_query_all_read(const ormd_query *query)
{
	return query->statement_done && query->next_load == query->n_loads && query->next_late == query->n_loads &&
	       (query->has_statement || query->next_parent == query->n_parents);
}

static orm_status read_parcel(ormd_query *query, ormd_connection *connection, size_t max_size, ormd_parcel **parcel,
			      orm_error *error)
{
	const orm_mapper *mapper = query->mapper;
	orm_status status = ORM_OK;
	bool late;

	if (query->next_load == query->n_loads && !query->has_statement)
		status = next_parents(query, error);
	if (status != ORM_OK)
		return status;
	late = query->has_statement && query->statement_done && query->next_load == query->n_loads;
	if (late)
		mapper = query->loads[query->next_late].relationship->target;
	else if (query->next_load < query->n_loads)
		mapper = query->loads[query->next_load].relationship->target;
	*parcel = ormd_parcel_take(query, mapper);
	if (!*parcel)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	if (late)
		return read_late(query, connection, *parcel, max_size, error);
	if (query->next_load < query->n_loads)
		return read_related(query, connection, *parcel, max_size, error);
	status = use_connection(query, connection, error);
	return status == ORM_OK ? read_rows(query, *parcel, max_size, error) : status;
}

orm_status ormd_query_read(ormd_query *query, ormd_connection *connection, size_t max_size, ormd_parcel **parcel,
			   orm_error *error)
{
	orm_status status;

	*parcel = NULL;
	if (ormd_query_all_read(query))
		return ORM_OK;
	status = read_parcel(query, connection, max_size, parcel, error);
	if (begin_again(query, status)) {
		ormd_parcel_free(*parcel);
		*parcel = NULL;
		status = read_parcel(query, connection, max_size, parcel, error);
	}
	query->has_read = query->has_read || status == ORM_OK;
	if (status != ORM_OK) {
		ormd_parcel_free(*parcel);
		*parcel = NULL;
	}
	return status;
}
