/* SPDX-License-Identifier: MIT */
/* Reading rows of objects again. What is pending stays, and so does what it was based on: see ormd_unit_install. */
#include <stdlib.h>

#include "base/error.h"
#include "session/flush_fail.h"
#include "session/plan.h"
#include "session/select_by.h"
#include "session/transaction.h"

typedef struct refresh {
	ormd_session *session;
	ormd_install install;
	ormd_connection *reader; /* taken when it is needed */
	int64_t deadline_us;
	orm_arena *arena;
	orm_error *error;

	size_t n_handles;
	const uint64_t *handles;
	bool *taken;           /* per handle: its mapper has had its turn */
	ormd_object **objects; /* of one mapper: those with a row */
	ormd_object **found;
	ormd_object **kept; /* those that stay as they are */
	size_t n_objects, n_found, n_kept;

	ormd_rows *rows;
	size_t n_rows;
	uint64_t *missing;
	size_t n_missing;
} refresh;

static orm_status no_memory(refresh *r)
{
	return orm_fail(r->error, ORM_ENOMEM, "out of memory");
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t first = (uintptr_t) * (ormd_object *const *)a;
	const uintptr_t second = (uintptr_t) * (ormd_object *const *)b;

	return (first > second) - (first < second);
}

static orm_status install_rows(refresh *r, const orm_batch_builder *builder)
{
	orm_vector *vectors = orm_arena_calloc(r->arena, builder->n_vectors, sizeof *vectors);
	orm_batch batch;
	orm_status status;

	if (!vectors || !orm_batch_builder_view(builder, vectors, &batch))
		return no_memory(r);
	if (r->n_found + batch.n_rows > r->n_handles) /* several rows with one key: the database's index is broken */
		return orm_fail(r->error, ORM_EDATABASE, "%s: there are several rows with one primary key",
				batch.mapper->name);
	status = ormd_unit_install(&r->install, &batch, r->found + r->n_found, r->error);
	if (status == ORM_OK)
		r->n_found += batch.n_rows;
	return status;
}

static orm_status read_rows(refresh *r, const orm_mapper *mapper, const orm_value *keys, size_t n_keys)
{
	ormd_select_by select = {
		.mapper = mapper, .columns = mapper->key, .n_columns = mapper->n_key, .values = keys, .n_keys = n_keys};
	orm_batch_builder builder = {0};
	orm_status status = ORM_OK;
	bool done = n_keys == 0;

	if (!done && !r->reader) {
		r->reader = ormd_session_take_connection(r->session, r->deadline_us, r->error);
		if (!r->reader)
			return r->error->code;
	}
	if (!orm_batch_builder_init(&builder, mapper, NULL, 0))
		status = no_memory(r);
	while (status == ORM_OK && !done) {
		size_t n_rows = 0;

		orm_batch_builder_reset(&builder);
		status = ormd_select_by_fetch(&select, r->reader, &builder, SIZE_MAX, &n_rows, &done, r->error);
		if (status == ORM_OK && n_rows > 0)
			status = install_rows(r, &builder);
	}
	ormd_select_by_fini(&select);
	orm_batch_builder_fini(&builder);
	return status;
}

/* By the key that the row has in the database, whatever it is to become. */
static orm_status read_keys(refresh *r, const orm_mapper *mapper, orm_value **keys)
{
	const ormd_layout *layout = &r->session->mappers[mapper->number].layout;

	*keys = orm_arena_calloc(r->arena, r->n_objects * mapper->n_key, sizeof **keys);
	if (!*keys)
		return no_memory(r);
	for (size_t i = 0; i < r->n_objects; i++) {
		for (uint16_t j = 0; j < mapper->n_key; j++) {
			orm_value value;

			ormd_record_value(layout, ormd_object_committed(r->objects[i]), mapper->key[j], &value);
			if (!orm_value_copy(&(*keys)[i * mapper->n_key + j], &value, r->arena))
				return no_memory(r);
		}
	}
	return ORM_OK;
}

static bool is_rekeyed(const refresh *r, const ormd_object *object)
{
	return !ormd_record_same_key(ormd_object_layout(r->session, object), ormd_object_committed(object),
				     object->record);
}

/* The objects of this mapper among the handles; those that have no row are told at once. */
static void take_mapper(refresh *r, size_t first, const orm_mapper *mapper)
{
	r->n_objects = r->n_found = r->n_kept = 0;
	for (size_t i = first; i < r->n_handles; i++) {
		ormd_object *object = ormd_unit_by_handle(r->session, r->handles[i]);

		if (r->taken[i] || (object && object->mapper != mapper->number))
			continue;
		r->taken[i] = true;
		if (!object || object->state == ORMD_STATE_GONE)
			r->missing[r->n_missing++] = r->handles[i];
		else if (object->state == ORMD_STATE_NEW ||
			 is_rekeyed(r, object)) /* there is nothing to read, or not under its key */
			r->kept[r->n_kept++] = object;
		else
			r->objects[r->n_objects++] = object;
	}
}

static orm_status tell(refresh *r, const orm_mapper *mapper)
{
	const size_t n_missing = r->n_missing;
	size_t n_live = 0;
	orm_status status = ORM_OK;

	qsort(r->found, r->n_found, sizeof *r->found, by_address);
	for (size_t i = 0; i < r->n_objects; i++) {
		ormd_object *object = r->objects[i];

		if (bsearch(&object, r->found, r->n_found, sizeof *r->found, by_address)) {
			if (object->state == ORMD_STATE_PERSISTENT)
				r->objects[n_live++] = object;
			continue;
		}
		r->missing[r->n_missing++] = object->handle;
	}
	for (size_t i = n_missing; i < r->n_missing; i++) {
		ormd_object *object = ormd_unit_by_handle(r->session, r->missing[i]);

		if (object) /* else its handle was given twice */
			ormd_unit_row_gone(&r->install, object);
	}
	for (size_t i = 0; i < r->n_kept; i++) {
		if (r->kept[i]->state != ORMD_STATE_DELETED)
			r->objects[n_live++] = r->kept[i];
	}
	if (n_live > 0)
		status = ormd_rows_build(r->session, mapper, NULL, 0, r->objects, n_live, r->arena, &r->rows[r->n_rows],
					 r->error);
	r->n_rows += n_live > 0;
	return status;
}

static orm_status refresh_mapper(refresh *r, size_t first, const orm_mapper *mapper)
{
	orm_value *keys = NULL;
	orm_status status;

	take_mapper(r, first, mapper);
	status = read_keys(r, mapper, &keys);
	if (status == ORM_OK)
		status = read_rows(r, mapper, keys, r->n_objects);
	if (ormd_session_lost_reader(r->session, r->reader, status)) {
		ormd_session_give_connection(r->session, r->reader, status, r->error);
		r->reader = NULL;
		r->n_found = 0;
		status = read_rows(r, mapper, keys, r->n_objects);
	}
	return status == ORM_OK ? tell(r, mapper) : status;
}

static orm_status refresh_all(refresh *r)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < r->n_handles && status == ORM_OK; i++) {
		const ormd_object *object = ormd_unit_by_handle(r->session, r->handles[i]);

		if (r->taken[i])
			continue;
		if (object) {
			status = refresh_mapper(r, i, ormd_object_mapper(r->session, object));
		} else {
			r->taken[i] = true;
			r->missing[r->n_missing++] = r->handles[i];
		}
	}
	return status;
}

orm_status ormd_session_refresh(ormd_session *session, uint32_t participant, const uint64_t *handles, size_t n_handles,
				int64_t deadline_us, orm_arena *arena, const ormd_rows **rows, size_t *n_rows,
				const uint64_t **missing, size_t *n_missing, orm_error *error)
{
	orm_error ignored;
	refresh r = {.session = session,
		     .install = {.session = session, .populate_existing = true},
		     .deadline_us = deadline_us,
		     .arena = arena,
		     .error = error ? error : &ignored,
		     .n_handles = n_handles,
		     .handles = handles};
	orm_status status;

	(void)participant; /* everybody sees the same objects */
	r.taken = orm_arena_calloc(arena, n_handles, sizeof *r.taken);
	r.objects = orm_arena_calloc(arena, n_handles, sizeof(ormd_object *));
	r.kept = orm_arena_calloc(arena, n_handles, sizeof(ormd_object *));
	r.found = orm_arena_calloc(arena, n_handles, sizeof(ormd_object *));
	r.rows = orm_arena_calloc(arena, session->registry->n_mappers, sizeof *r.rows);
	r.missing = orm_arena_calloc(arena, n_handles, sizeof *r.missing);
	if (!r.taken || !r.objects || !r.found || !r.kept || !r.rows || !r.missing)
		return no_memory(&r);
	status = ormd_transaction_check(session, r.error);
	if (status == ORM_OK)
		status = refresh_all(&r);
	if (r.reader)
		status = ormd_session_give_connection(session, r.reader, status, r.error);
	if (status != ORM_OK)
		return ormd_fail_name_model(session->registry, r.error);
	*rows = r.rows;
	*n_rows = r.n_rows;
	*missing = r.missing;
	*n_missing = r.n_missing;
	return ORM_OK;
}
