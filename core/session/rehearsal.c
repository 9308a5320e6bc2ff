/* SPDX-License-Identifier: MIT */
/*
 * Queries over pending changes: take a turn to write, flush the unit, read everything, undo it. What was read becomes
 * objects at once, while the unit still is what was flushed: later, a row that never was committed might be taken for
 * one that the database has.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/flush_fail.h"
#include "session/query.h"

/* ---- does it need a rehearsal? ------------------------------------------------------------------------------ */

/* Does a deletion that is pending reach this mapper's rows, by what the database does with rows that refer to deleted
 * ones? */
static bool reached_by_deletions(const ormd_session *session, const bool *deleting, const orm_mapper *mapper,
				 bool *deletes)
{
	bool reached = false;

	for (uint16_t i = 0; i < mapper->n_foreign_keys; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];

		if (!deleting[key->target->number] || key->on_delete == ORM_NO_ACTION || key->on_delete == ORM_RESTRICT)
			continue;
		reached = true;
		*deletes = *deletes || key->on_delete == ORM_CASCADE;
	}
	return reached || session->mappers[mapper->number].n_deleted > 0;
}

bool ormd_query_reached_by_deletions(const ormd_session *session, const orm_mapper *mapper)
{
	const orm_registry *registry = session->registry;
	bool deleting[ORM_MAX_MODELS] = {false};
	bool deletes = false;
	bool any = false;
	bool grew = true;

	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		deleting[i] = session->mappers[i].n_deleted > 0;
		any = any || deleting[i];
	}
	while (any && grew) {
		grew = false;
		for (uint16_t i = 0; i < registry->n_mappers; i++) {
			bool cascades = false;

			if (!deleting[i] && reached_by_deletions(session, deleting, &registry->mappers[i], &cascades) &&
			    cascades)
				grew = deleting[i] = true;
		}
	}
	return any && reached_by_deletions(session, deleting, mapper, &deletes);
}

bool ormd_query_depends_on_unit(const ormd_session *session, const orm_mapper *mapper)
{
	return ormd_unit_pending(session) &&
	       (ormd_unit_mapper_pending(session, mapper) || ormd_query_reached_by_deletions(session, mapper));
}

/* ---- the turn ----------------------------------------------------------------------------------------------- */

void ormd_parcels_free(ormd_parcel **list)
{
	while (*list) {
		ormd_parcel *parcel = *list;

		*list = parcel->next;
		ormd_parcel_free(parcel);
	}
}

/* From the start: the turn may be given again. */
static void start_again(ormd_query *query)
{
	ormd_parcels_free(&query->first_parcel);
	query->last_parcel = NULL;
	query->rehearsed_size = 0;
	query->statement_done = !query->has_statement;
	query->next_parent = 0;
	query->next_load = query->n_loads;
	for (size_t i = 0; i < query->n_loads; i++)
		ormd_load_reset(&query->loads[i]);
	query->next_late = ormd_query_next_load(query, 0, true);
}

static orm_status read_parcels(ormd_query *query, ormd_connection *connection, orm_error *error)
{
	orm_status status = ORM_OK;

	while (status == ORM_OK && !ormd_query_all_read(query)) {
		ormd_parcel *parcel;

		status = ormd_query_read(query, connection, ORMD_REHEARSAL_PARCEL, &parcel, error);
		if (status != ORM_OK || !parcel)
			break;
		*(query->last_parcel ? &query->last_parcel->next : &query->first_parcel) = parcel;
		query->last_parcel = parcel;
		query->rehearsed_size += orm_batch_builder_size(&parcel->builder);
		if (query->rehearsed_size > ORMD_MAX_REHEARSAL_SIZE)
			status =
				orm_fail(error, ORM_ELIMIT,
					 "%s: the result is larger than the %zu MiB that a query over pending changes, "
					 "or in a transaction, may have; commit first, or ask for less",
					 query->mapper->name, ORMD_MAX_REHEARSAL_SIZE >> 20);
	}
	return status;
}

orm_status ormd_query_read_ahead(ormd_query *query, ormd_connection *connection, orm_error *error)
{
	orm_status status = ORM_OK;

	start_again(query);
	if (query->flush.session)
		status = ormd_flush_run(&query->flush, connection, error);
	if (status == ORM_OK)
		status = query->result == ORMD_ROWS ? read_parcels(query, connection, error)
						    : ormd_query_read_count(query, connection, error);
	ormd_query_end_reading(query);
	return status;
}

static orm_status run_rehearsal(ormd_connection *connection, void *context, orm_error *error)
{
	return ormd_query_read_ahead(context, connection, error);
}

/* ---- afterwards --------------------------------------------------------------------------------------------- */

/* The parcel's rows become objects, and it keeps only their handles. */
static orm_status install_parcel(ormd_query *query, bool flushed, ormd_parcel *parcel, orm_error *error)
{
	const size_t n_rows = parcel->builder.n_rows;
	const bool looks_changed = flushed && ormd_query_reached_by_deletions(query->session, parcel->mapper);
	const bool locked = query->row_lock != ORMD_LOCK_NONE && !parcel->related;
	ormd_install install = {.session = query->session,
				.populate_existing = query->populate_existing || locked,
				.rehearsed = flushed};
	orm_vector vectors[ORM_MAX_COLUMNS];
	ormd_object **objects = NULL;
	uint64_t *handles = NULL;
	orm_batch batch;
	orm_status status;

	if (n_rows == 0)
		return ORM_OK;
	objects = calloc(n_rows, sizeof *objects);
	handles = realloc(parcel->known, (parcel->n_known + n_rows) * sizeof *handles);
	if (handles)
		parcel->known = handles;
	if (!objects || !handles || !orm_batch_builder_view(&parcel->builder, vectors, &batch))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else
		status = ormd_unit_install(&install, &batch, objects, error);
	for (size_t i = 0; i < n_rows && status == ORM_OK; i++) {
		parcel->known[parcel->n_known++] = objects[i]->handle;
		/* What a deletion does to other rows is not committed yet: read them again in the next unit. */
		if (looks_changed && !ormd_object_pending(objects[i]))
			objects[i]->epoch = 0;
	}
	orm_batch_builder_fini(&parcel->builder);
	parcel->builder = (orm_batch_builder){0};
	free(objects);
	return status;
}

orm_status ormd_query_install_parcels(ormd_query *query, bool flushed, orm_error *error)
{
	orm_status status = ORM_OK;

	for (ormd_parcel *parcel = query->first_parcel; parcel && status == ORM_OK; parcel = parcel->next)
		status = install_parcel(query, flushed, parcel, error);
	return status;
}

static void end_rehearsal(orm_status status, const orm_error *error, void *context)
{
	ormd_query *query = context;
	ormd_finished *finished = query->finished;
	void *finished_context = query->context;
	orm_error copy = {0};

	if (error)
		copy = *error;
	ormd_flush_fini(&query->flush);
	if (status == ORM_OK)
		status = ormd_query_install_parcels(query, true, &copy);
	if (status != ORM_OK)
		ormd_fail_name_model(query->session->registry, &copy);
	finished(status, &copy, finished_context); /* the query may be closed by it */
}

orm_status ormd_query_rehearse(ormd_query *query, ormd_finished *finished, void *context, ormd_query **begun,
			       orm_error *error)
{
	const orm_status status = ormd_flush_init(&query->flush, query->session, false, error);

	if (status != ORM_OK) {
		ormd_query_close(query);
		return status;
	}
	query->rehearsal = true;
	query->finished = finished;
	query->context = context;
	query->job = (ormd_job){.run = run_rehearsal,
				.done = end_rehearsal,
				.context = query,
				.end = ORMD_JOB_ROLLBACK,
				.deadline_us = query->deadline_us == ORM_NO_DEADLINE ? 0 : query->deadline_us};
	*begun = query;
	ormd_database_submit(query->session->database, &query->job);
	return ORM_OK;
}
