/* SPDX-License-Identifier: MIT */
/*
 * Queries in a transaction of the session's own. All is read while the call has its turn, since the connection is not
 * to be shared by several results that are read at leisure. Rows that a query over pending changes has locked are
 * locked once more: the rehearsal is undone, and on some engines its locks are with it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "model/fail.h"
#include "session/flush_fail.h"
#include "session/query.h"

/* ---- locking what a rehearsal found ------------------------------------------------------------------------- */

/* Objects of one mapper, by the key that their rows have in the database. */
typedef struct lock_list {
	ormd_query *query;
	const orm_mapper *mapper;
	ormd_object **objects;
	size_t n_objects;
	orm_value *keys;
	ormd_object **rows; /* the objects of one piece of rows */
	orm_arena arena;
} lock_list;

static bool has_row(const ormd_object *object)
{
	return object->state == ORMD_STATE_PERSISTENT;
}

static bool is_rekeyed(const lock_list *list, const ormd_object *object)
{
	return !ormd_record_same_key(ormd_object_layout(list->query->session, object), ormd_object_committed(object),
				     object->record);
}

static bool take_keys(lock_list *list, bool rekeyed, size_t *n_keys)
{
	const orm_mapper *mapper = list->mapper;
	const ormd_layout *layout = &list->query->session->mappers[mapper->number].layout;

	*n_keys = 0;
	for (size_t i = 0; i < list->n_objects; i++) {
		const ormd_object *object = list->objects[i];

		if (!has_row(object) || is_rekeyed(list, object) != rekeyed)
			continue;
		for (uint16_t j = 0; j < mapper->n_key; j++) {
			orm_value value;

			ormd_record_value(layout, ormd_object_committed(object), mapper->key[j], &value);
			if (!orm_value_copy(&list->keys[*n_keys * mapper->n_key + j], &value, &list->arena))
				return false;
		}
		++*n_keys;
	}
	return true;
}

/* Rows whose object has another key by now only stay locked. */
static orm_status take_rows(lock_list *list, const orm_batch_builder *builder, bool rekeyed, orm_error *error)
{
	ormd_install install = {.session = list->query->session, .populate_existing = true};
	orm_vector vectors[ORM_MAX_COLUMNS];
	orm_batch batch;
	orm_status status;

	if (rekeyed)
		return ORM_OK;
	list->rows = orm_arena_calloc(&list->arena, builder->n_rows, sizeof(ormd_object *));
	if (!list->rows || !orm_batch_builder_view(builder, vectors, &batch))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	status = ormd_unit_install(&install, &batch, list->rows, error);
	for (size_t i = 0; i < batch.n_rows && status == ORM_OK; i++)
		list->rows[i]->flags |= ORMD_FLAG_LOCKED;
	return status;
}

static orm_status lock_keys(lock_list *list, size_t n_keys, bool rekeyed, orm_error *error)
{
	ormd_select_by select = {.mapper = list->mapper,
				 .columns = list->mapper->key,
				 .n_columns = list->mapper->n_key,
				 .values = list->keys,
				 .n_keys = n_keys,
				 .lock = list->query->row_lock};
	orm_batch_builder builder = {0};
	orm_status status = ORM_OK;
	bool done = n_keys == 0;

	if (!orm_batch_builder_init(&builder, list->mapper, NULL, 0))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	while (status == ORM_OK && !done) {
		size_t n_rows = 0;

		orm_batch_builder_reset(&builder);
		status = ormd_select_by_fetch(&select, list->query->session->pin, &builder, SIZE_MAX, &n_rows, &done,
					      error);
		if (status == ORM_OK && n_rows > 0)
			status = take_rows(list, &builder, rekeyed, error);
	}
	ormd_select_by_fini(&select);
	orm_batch_builder_fini(&builder);
	return status;
}

static orm_status lock_objects(lock_list *list, orm_error *error)
{
	orm_status status = ORM_OK;

	list->keys = orm_arena_calloc(&list->arena, list->n_objects * list->mapper->n_key, sizeof *list->keys);
	if (!list->keys)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (int rekeyed = 0; rekeyed <= 1 && status == ORM_OK; rekeyed++) {
		size_t n_keys = 0;

		if (!take_keys(list, rekeyed, &n_keys))
			return orm_fail(error, ORM_ENOMEM, "out of memory");
		status = lock_keys(list, n_keys, rekeyed, error);
	}
	return status;
}

/* Who is new has no row; who was locked no more, or is gone by now, is not told. */
static void keep_locked(lock_list *list, ormd_parcel *parcel)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n_objects; i++) {
		ormd_object *object = list->objects[i];

		if (!has_row(object) || object->flags & ORMD_FLAG_LOCKED || is_rekeyed(list, object))
			parcel->known[n++] = object->handle;
	}
	for (size_t i = 0; i < list->n_objects; i++)
		list->objects[i]->flags &= (uint8_t)~ORMD_FLAG_LOCKED;
	parcel->n_known = n;
}

static orm_status lock_parcel(ormd_query *query, ormd_parcel *parcel, orm_error *error)
{
	lock_list list = {.query = query, .mapper = parcel->mapper};
	orm_status status = ORM_OK;

	orm_arena_init(&list.arena, 0);
	list.objects = orm_arena_calloc(&list.arena, parcel->n_known, sizeof(ormd_object *));
	for (size_t i = 0; list.objects && i < parcel->n_known; i++) {
		ormd_object *object = ormd_unit_by_handle(query->session, parcel->known[i]);

		if (object)
			list.objects[list.n_objects++] = object;
	}
	status = list.objects ? lock_objects(&list, error) : orm_fail(error, ORM_ENOMEM, "out of memory");
	if (list.objects)
		keep_locked(&list, parcel);
	orm_arena_fini(&list.arena);
	return status;
}

static orm_status lock_again(ormd_query *query, orm_error *error)
{
	ormd_session *session = query->session;
	orm_status status = ormd_transaction_enter(session, query->row_lock, &query->deadline_us, error);

	if (status != ORM_OK)
		return status;
	for (ormd_parcel *parcel = query->first_parcel; parcel && status == ORM_OK; parcel = parcel->next) {
		if (!parcel->related && parcel->n_known > 0)
			status = lock_parcel(query, parcel, error);
	}
	return ormd_transaction_leave(session, status, true, error);
}

/* ---- the query ---------------------------------------------------------------------------------------------- */

static orm_status run(ormd_query *query, bool flushed, orm_error *error)
{
	ormd_session *session = query->session;
	orm_status status = ormd_transaction_enter(session, query->row_lock, &query->deadline_us, error);

	if (status != ORM_OK)
		return status;
	status = ormd_query_read_ahead(query, session->pin, error);
	status = ormd_transaction_leave(session, status, !flushed, error);
	if (status == ORM_OK)
		status = ormd_query_install_parcels(query, flushed, error);
	if (status == ORM_OK && flushed && query->row_lock != ORMD_LOCK_NONE)
		status = lock_again(query, error);
	return status;
}

orm_status ormd_query_run_in_transaction(ormd_query *query, bool rehearsal, ormd_finished *finished, void *context,
					 ormd_query **begun, orm_error *error)
{
	orm_error failed = {0};
	orm_status status = ORM_OK;

	if (rehearsal)
		status = ormd_flush_init(&query->flush, query->session, false, error);
	if (status != ORM_OK) {
		ormd_query_close(query);
		return status;
	}
	query->rehearsal = true; /* what is delivered has been read before */
	*begun = query;
	status = run(query, rehearsal, &failed);
	ormd_flush_fini(&query->flush);
	if (status == ORM_ETIMEOUT && query->row_lock == ORMD_LOCK_FAIL)
		orm_fail_at(
			&failed, ORM_ETIMEOUT, query->mapper->name, NULL,
			"a row that the query finds, or the database, is locked by another transaction, and the query "
			"is not to wait");
	else if (status != ORM_OK)
		ormd_fail_name_model(query->session->registry, &failed);
	finished(status, &failed, context); /* the query may be closed by it */
	return ORM_OK;
}
