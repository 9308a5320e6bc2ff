/* SPDX-License-Identifier: MIT */
#include "session/query.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/flush_fail.h"
#include "sql/compile.h"

/* ---- opening ------------------------------------------------------------------------------------------------ */

ormd_query *ormd_query_new(ormd_session *session, const ormd_query_options *options, orm_error *error)
{
	ormd_query *query = calloc(1, sizeof *query);

	if (query && pthread_mutex_init(&query->lock, NULL) != 0) {
		free(query);
		query = NULL;
	}
	if (!query) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	query->session = session;
	query->epoch = session->epoch;
	query->populate_existing = options && options->populate_existing;
	query->deadline_us = options && options->deadline_us ? options->deadline_us : ORM_NO_DEADLINE;
	atomic_init(&query->interrupted, false);
	orm_arena_init(&query->arena, 0);
	orm_arena_init(&query->piece, 0);
	orm_buffer_init(&query->sql);
	return query;
}

/* The statement as text and parameters; nothing is borrowed from the select. */
static orm_status take_statement(ormd_query *query, const ormd_select *select, orm_error *error)
{
	const ormd_dialect *dialect = ormd_database_dialect(query->session->database);
	ormd_select whole = *select;
	const orm_value *borrowed;
	orm_value *values;

	whole.columns = NULL; /* objects are whole */
	whole.n_columns = 0;
	ormd_sql_select(dialect, &whole, &query->sql);
	borrowed = ormd_select_parameters(&whole, &query->arena, &query->n_parameters);
	values = orm_arena_calloc(&query->arena, query->n_parameters, sizeof *values);
	if (query->sql.failed || !borrowed || !values)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (size_t i = 0; i < query->n_parameters; i++) {
		if (!orm_value_copy(&values[i], &borrowed[i], &query->arena))
			return orm_fail(error, ORM_ENOMEM, "out of memory");
	}
	query->parameters = values;
	query->mapper = select->mapper;
	query->result = select->result;
	query->row_lock = select->lock;
	query->has_statement = true;
	return ORM_OK;
}

/* For all rows of a table, what refers to them can be read at once. */
static void decide_when(ormd_load *load, const ormd_select *select)
{
	const orm_relationship *relationship = load->relationship;
	const orm_mapper *target = relationship->target;
	const orm_type type = target->columns[target->key[0]].type;

	load->late = relationship->to_many && select->n_where == 0 && select->limit == ORMD_NO_LIMIT &&
		     select->offset == 0 && target->n_key == 1 && (type == ORM_INT32 || type == ORM_INT64);
	load->scan = load->late && !relationship->foreign_key->nullable;
}

static orm_status take_loads(ormd_query *query, const ormd_select *select, const ormd_query_options *options,
			     orm_error *error)
{
	orm_status status = ORM_OK;

	if (!options || options->n_load == 0 || query->result != ORMD_ROWS)
		return ORM_OK;
	query->loads = orm_arena_calloc(&query->arena, options->n_load, sizeof *query->loads);
	if (!query->loads)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	query->n_loads = query->next_load = options->n_load;
	for (size_t i = 0; i < options->n_load && status == ORM_OK; i++) {
		status = ormd_query_add_load(query, i, options->load[i], error);
		if (status == ORM_OK)
			decide_when(&query->loads[i], select);
	}
	query->next_late = ormd_query_next_load(query, 0, true);
	return status;
}

static bool depends_on_unit(const ormd_query *query)
{
	bool depends = ormd_query_depends_on_unit(query->session, query->mapper);

	for (size_t i = 0; i < query->n_loads && !depends; i++)
		depends = ormd_query_depends_on_unit(query->session, query->loads[i].relationship->target);
	return depends;
}

orm_status ormd_query_open(ormd_session *session, uint32_t participant, const ormd_select *select,
			   const ormd_query_options *options, ormd_finished *finished, void *context,
			   ormd_query **query, orm_error *error)
{
	ormd_query *opened = ormd_query_new(session, options, error);
	orm_status status;

	(void)participant; /* everybody sees the same objects */
	if (!opened)
		return ORM_ENOMEM;
	status = take_statement(opened, select, error);
	if (status == ORM_OK)
		status = take_loads(opened, select, options, error);
	return ormd_query_begin(opened, status, status == ORM_OK && depends_on_unit(opened), finished, context, query,
				error);
}

orm_status ormd_query_begin(ormd_query *query, orm_status status, bool rehearsal, ormd_finished *finished,
			    void *context, ormd_query **begun, orm_error *error)
{
	const orm_error none = {0};

	if (status == ORM_OK)
		status = ormd_transaction_check(query->session, error);
	if (status == ORM_OK && query->row_lock != ORMD_LOCK_NONE)
		status = ormd_session_check_writable(query->session, error);
	if (status == ORM_OK && (query->row_lock != ORMD_LOCK_NONE || ormd_transaction_is_wanted(query->session)))
		return ormd_query_run_in_transaction(query, rehearsal, finished, context, begun, error);
	if (status == ORM_OK && rehearsal)
		return ormd_query_rehearse(query, finished, context, begun, error);
	if (status == ORM_OK) {
		*begun = query;
		finished(ORM_OK, &none, context);
	} else {
		ormd_query_close(query);
	}
	return status;
}

/* ---- pieces ------------------------------------------------------------------------------------------------- */

/* The piece under way: lists that grow in its arena. */
typedef struct piece_builder {
	ormd_query *query;
	ormd_install install;
	ormd_rows *rows;
	size_t n_rows, max_rows;
	ormd_rows *related;
	size_t n_related, max_related;
	ormd_loaded *loaded;
	size_t n_loaded, max_loaded;
	orm_error *error;
} piece_builder;

static orm_status no_memory(piece_builder *piece)
{
	return orm_fail(piece->error, ORM_ENOMEM, "out of memory");
}

static void *add_item(piece_builder *piece, void *items, size_t item_size, size_t *len, size_t *max)
{
	char **list = items;

	if (*len == *max) {
		const size_t grown_max = *max ? *max * 2 : 8;
		char *grown = orm_arena_calloc(&piece->query->piece, grown_max, item_size);

		if (!grown)
			return NULL;
		if (*len)
			memcpy(grown, *list, *len * item_size);
		*list = grown;
		*max = grown_max;
	}
	return *list + (*len)++ * item_size;
}

static ormd_rows *add_rows(piece_builder *piece, bool related)
{
	return related ? add_item(piece, &piece->related, sizeof *piece->related, &piece->n_related,
				  &piece->max_related)
		       : add_item(piece, &piece->rows, sizeof *piece->rows, &piece->n_rows, &piece->max_rows);
}

static bool is_live(const ormd_object *object)
{
	return object->state == ORMD_STATE_NEW || object->state == ORMD_STATE_PERSISTENT;
}

/* All rows made new objects: the batch itself is what to deliver. */
static orm_status deliver_batch(piece_builder *piece, const orm_batch *batch, ormd_object *const *objects, bool related)
{
	ormd_rows *rows = add_rows(piece, related);
	uint64_t *handles = orm_arena_calloc(&piece->query->piece, batch->n_rows, sizeof *handles);

	if (!rows || !handles)
		return no_memory(piece);
	for (size_t i = 0; i < batch->n_rows; i++)
		handles[i] = objects[i]->handle;
	*rows = (ormd_rows){.mapper = batch->mapper, .n_rows = batch->n_rows, .handles = handles, .values = *batch};
	return ORM_OK;
}

/* Objects as the session has them. */
static orm_status deliver_objects(piece_builder *piece, const orm_mapper *mapper, ormd_object **objects,
				  size_t n_objects, bool related)
{
	ormd_query *query = piece->query;
	ormd_rows *rows;
	size_t n = 0;

	for (size_t i = 0; i < n_objects; i++) {
		if (is_live(objects[i]))
			objects[n++] = objects[i];
	}
	if (n == 0)
		return ORM_OK;
	rows = add_rows(piece, related);
	return rows ? ormd_rows_build(query->session, mapper, NULL, 0, objects, n, &query->piece, rows, piece->error)
		    : no_memory(piece);
}

/* The statement's latest rows are the objects whose relationships are loaded next. */
static orm_status keep_parents(piece_builder *piece, ormd_object *const *objects, size_t n_objects)
{
	ormd_query *query = piece->query;
	uint64_t *parents;

	if (query->n_loads == 0)
		return ORM_OK;
	if (n_objects > query->max_parents) {
		parents = realloc(query->parents, n_objects * sizeof *parents);
		if (!parents)
			return no_memory(piece);
		query->parents = parents;
		query->max_parents = n_objects;
	}
	for (size_t i = 0; i < n_objects; i++)
		query->parents[i] = objects[i]->handle;
	query->n_parents = n_objects;
	return ORM_OK;
}

/* What has become of objects by now. */
static orm_status deliver_known(piece_builder *piece, const ormd_parcel *parcel)
{
	ormd_query *query = piece->query;
	ormd_object **objects = orm_arena_calloc(&query->piece, parcel->n_known, sizeof *objects);
	orm_status status;
	size_t n = 0;

	if (!objects)
		return no_memory(piece);
	for (size_t i = 0; i < parcel->n_known; i++) {
		ormd_object *object = ormd_unit_by_handle(query->session, parcel->known[i]);

		if (object && is_live(object))
			objects[n++] = object;
	}
	status = parcel->related ? ORM_OK : keep_parents(piece, objects, n);
	return status == ORM_OK ? deliver_objects(piece, parcel->mapper, objects, n, parcel->related) : status;
}

/*
 * Rows of a snapshot from before the latest commit or rollback must not overwrite what the session knows by now, and
 * what they add is to be read again in the unit that has begun since: epoch 0 is older than any.
 */
static orm_status install_batch(piece_builder *piece, const orm_batch *batch, ormd_object **objects)
{
	ormd_session *session = piece->query->session;
	const uint32_t epoch = session->epoch;
	const bool outdated = epoch != piece->query->epoch;
	orm_status status;

	if (outdated)
		session->epoch = 0;
	piece->install.populate_existing = piece->query->populate_existing && !outdated;
	status = ormd_unit_install(&piece->install, batch, objects, piece->error);
	session->epoch = epoch;
	return status;
}

static orm_status deliver_rows(piece_builder *piece, const ormd_parcel *parcel)
{
	ormd_query *query = piece->query;
	const size_t n_rows = parcel->builder.n_rows;
	const size_t n_before = query->session->objects.n_used;
	orm_vector *vectors = orm_arena_calloc(&query->piece, parcel->builder.n_vectors, sizeof *vectors);
	ormd_object **objects = orm_arena_calloc(&query->piece, n_rows, sizeof *objects);
	orm_batch batch;
	orm_status status;

	if (!vectors || !objects || !orm_batch_builder_view(&parcel->builder, vectors, &batch))
		return no_memory(piece);
	status = install_batch(piece, &batch, objects);
	if (status == ORM_OK && !parcel->related)
		status = keep_parents(piece, objects, n_rows);
	if (status != ORM_OK)
		return status;
	if (query->session->objects.n_used - n_before == n_rows)
		return deliver_batch(piece, &batch, objects, parcel->related);
	return deliver_objects(piece, parcel->mapper, objects, n_rows, parcel->related);
}

static orm_status deliver_loaded(piece_builder *piece, const ormd_load *load, size_t first_parent, size_t n_parents)
{
	ormd_query *query = piece->query;
	const orm_relationship *relationship = load->relationship;
	const uint64_t *parents = query->parents + first_parent;
	ormd_loaded *loaded;

	if (!relationship->to_many || n_parents == 0)
		return ORM_OK;
	loaded = add_item(piece, &piece->loaded, sizeof *piece->loaded, &piece->n_loaded, &piece->max_loaded);
	if (!loaded)
		return no_memory(piece);
	*loaded = (ormd_loaded){.relationship = relationship, .n_parents = n_parents};
	loaded->parents = orm_arena_memdup(&query->piece, parents, n_parents * sizeof *parents);
	return loaded->parents ? ORM_OK : no_memory(piece);
}

/* What is loaded late is complete for these rows, too, when the last piece has come. */
static orm_status deliver_late(piece_builder *piece)
{
	const ormd_query *query = piece->query;
	orm_status status = ORM_OK;

	for (size_t i = 0; i < query->n_loads && status == ORM_OK; i++) {
		if (query->loads[i].late)
			status = deliver_loaded(piece, &query->loads[i], 0, query->n_parents);
	}
	return status;
}

static orm_status deliver(piece_builder *piece, const ormd_parcel *parcel)
{
	const ormd_query *query = piece->query;
	orm_status status = ORM_OK;

	if (parcel->n_known > 0)
		status = deliver_known(piece, parcel);
	if (status == ORM_OK && parcel->builder.n_rows > 0)
		status = deliver_rows(piece, parcel);
	if (status == ORM_OK && parcel->completes && query->has_statement)
		status = deliver_loaded(piece, &query->loads[parcel->load], 0, query->n_parents);
	else if (status == ORM_OK && parcel->completes)
		status = deliver_loaded(piece, &query->loads[parcel->load], parcel->first_parent, parcel->n_parents);
	if (status == ORM_OK && !parcel->related && parcel->n_known + parcel->builder.n_rows > 0)
		status = deliver_late(piece);
	return status;
}

/* ---- the next piece ----------------------------------------------------------------------------------------- */

static void recycle_delivered(ormd_query *query)
{
	while (query->delivered) {
		ormd_parcel *parcel = query->delivered;

		query->delivered = parcel->next;
		parcel->next = query->spare;
		query->spare = parcel;
	}
	orm_arena_reset(&query->piece);
}

static bool is_finished(const ormd_query *query)
{
	return query->rehearsal ? !query->first_parcel : ormd_query_all_read(query);
}

static orm_status next_parcel(ormd_query *query, size_t max_size, ormd_parcel **parcel, orm_error *error)
{
	if (!query->rehearsal)
		return ormd_query_read(query, NULL, max_size, parcel, error);
	*parcel = query->first_parcel;
	if (*parcel)
		query->first_parcel = (*parcel)->next;
	if (!query->first_parcel)
		query->last_parcel = NULL;
	return atomic_load(&query->interrupted) ? orm_fail(error, ORM_ECANCELLED, "the query was cancelled") : ORM_OK;
}

static orm_status next_count(ormd_query *query, ormd_piece *piece, orm_error *error)
{
	orm_status status = ORM_OK;

	if (!query->statement_done)
		status = ormd_query_read_count(query, NULL, error);
	ormd_query_end_reading(query);
	if (status == ORM_OK)
		*piece = (ormd_piece){.count = query->count, .last = true};
	return status;
}

/* Of an object that is told again; a guess will do. */
static size_t n_bytes_a_row(const ormd_parcel *parcel)
{
	return (size_t)parcel->mapper->n_columns * sizeof(int64_t);
}

static orm_status next_rows(ormd_query *query, size_t max_size, ormd_piece *piece, orm_error *error)
{
	piece_builder builder = {.query = query, .install = {.session = query->session}, .error = error};
	size_t size = 0;
	orm_status status = ORM_OK;

	while (status == ORM_OK && size < max_size && !is_finished(query)) {
		ormd_parcel *parcel = NULL;

		status = next_parcel(query, max_size - size, &parcel, error);
		if (!parcel)
			break;
		parcel->next = query->delivered;
		query->delivered = parcel;
		size += orm_batch_builder_size(&parcel->builder) + parcel->n_known * n_bytes_a_row(parcel);
		if (status == ORM_OK)
			status = deliver(&builder, parcel);
	}
	if (status != ORM_OK || is_finished(query))
		ormd_query_end_reading(query);
	if (status == ORM_OK)
		*piece = (ormd_piece){.rows = builder.rows,
				      .n_rows = builder.n_rows,
				      .related = builder.related,
				      .n_related = builder.n_related,
				      .loaded = builder.loaded,
				      .n_loaded = builder.n_loaded,
				      .last = is_finished(query)};
	return status;
}

orm_status ormd_query_next(ormd_query *query, size_t max_size, ormd_piece *piece, orm_error *error)
{
	orm_error ignored;
	orm_status status;

	recycle_delivered(query);
	query->piece_size = max_size ? max_size : 1;
	if (!error)
		error = &ignored;
	if (query->result != ORMD_ROWS)
		status = next_count(query, piece, error);
	else
		status = next_rows(query, query->piece_size, piece, error);
	return status == ORM_OK ? ORM_OK : ormd_fail_name_model(query->session->registry, error);
}

void ormd_query_interrupt(ormd_query *query)
{
	atomic_store(&query->interrupted, true);
	pthread_mutex_lock(&query->lock);
	if (query->connection)
		query->connection->driver->interrupt(query->connection);
	pthread_mutex_unlock(&query->lock);
}

void ormd_query_close(ormd_query *query)
{
	if (!query)
		return;
	ormd_query_end_reading(query);
	for (size_t i = 0; i < query->n_loads; i++)
		ormd_load_fini(&query->loads[i]);
	ormd_flush_fini(&query->flush);
	ormd_parcels_free(&query->first_parcel);
	ormd_parcels_free(&query->delivered);
	ormd_parcels_free(&query->spare);
	free(query->parents);
	orm_buffer_fini(&query->sql);
	orm_arena_fini(&query->piece);
	orm_arena_fini(&query->arena);
	pthread_mutex_destroy(&query->lock);
	free(query);
}
