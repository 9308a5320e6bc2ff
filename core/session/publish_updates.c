/* SPDX-License-Identifier: MIT */
/* Changed objects of a draft. */
#include "base/error.h"
#include "model/fail.h"
#include "session/publish.h"

typedef struct update_batch {
	const ormd_updates *updates;
	orm_vector_cursor *cursors;
	orm_value *values;
	uint16_t *columns;
} update_batch;

static orm_status find_updated(ormd_publish *publish, const ormd_updates *updates, uint64_t handle, ormd_object **found)
{
	ormd_session *session = publish->session;
	ormd_object *object = ormd_unit_by_handle(session, handle);
	const char *name = updates->values.mapper->name;

	*found = NULL;
	if (!object || object->mapper != updates->values.mapper->number)
		return ormd_publish_fault(publish, NULL, handle,
					  orm_fail_at(publish->error, ORM_EINVAL, name, NULL,
						      "the object to change is not in the session"));
	if (!ormd_conflict_check_object(&publish->conflicts, session, object, publish->participant, updates->base))
		return ORM_OK;
	if (object->state == ORMD_STATE_DELETED || object->state == ORMD_STATE_GONE)
		return ormd_publish_fault(
			publish, object, handle,
			orm_fail_at(publish->error, ORM_EINVAL, name, NULL, "the object to change was deleted"));
	*found = object;
	return ORM_OK;
}

static orm_status apply_update(ormd_publish *publish, const update_batch *batch, uint64_t handle)
{
	ormd_session *session = publish->session;
	const ormd_updates *updates = batch->updates;
	const orm_mapper *mapper = updates->values.mapper;
	const size_t n = updates->values.n_vectors;
	bool agreed = true;
	ormd_object *object;
	orm_status status = find_updated(publish, updates, handle, &object);

	if (status != ORM_OK || !object)
		return status;
	for (size_t i = 0; i < n; i++)
		agreed &= ormd_conflict_check_column(&publish->conflicts, session, object, batch->columns[i],
						     publish->participant, updates->base, &batch->values[i]);
	if (!agreed)
		return ORM_OK;
	status = ormd_publish_touch(publish, object);
	if (status != ORM_OK)
		return status;
	if (n == 0)
		return ORM_OK;
	if (!ormd_change_need_marks(session, object->change))
		return ormd_publish_no_memory(publish);
	for (size_t i = 0; i < n; i++) {
		object->change->marks[batch->columns[i]] = publish->mark;
		if (mapper->columns[batch->columns[i]].primary_key)
			object->flags |= ORMD_FLAG_REKEYED;
	}
	return ormd_publish_replace(publish, object,
				    ormd_record_with(ormd_object_layout(session, object), object->record,
						     batch->columns, batch->values, n, &session->pool));
}

orm_status ormd_publish_updates(ormd_publish *publish, const ormd_updates *updates)
{
	const orm_batch *values = &updates->values;
	update_batch batch = {.updates = updates};

	orm_status status = ormd_publish_check_base(publish, values->mapper, updates->base);

	if (status != ORM_OK || values->n_vectors + updates->n_references == 0)
		return status;
	batch.cursors = orm_arena_alloc(&publish->scratch, values->n_vectors * sizeof *batch.cursors);
	batch.values = orm_arena_alloc(&publish->scratch, values->n_vectors * sizeof *batch.values);
	batch.columns = orm_arena_alloc(&publish->scratch, values->n_vectors * sizeof *batch.columns);
	if (!batch.cursors || !batch.values || !batch.columns)
		return ormd_publish_no_memory(publish);
	for (size_t i = 0; i < values->n_vectors; i++) {
		batch.columns[i] = values->vectors[i].column;
		if (batch.columns[i] == values->mapper->version)
			return orm_fail_at(publish->error, ORM_EINVAL, values->mapper->name,
					   values->mapper->columns[batch.columns[i]].name,
					   "a version is counted by the server: leave it as it is");
		orm_vector_cursor_init(&batch.cursors[i], &values->vectors[i]);
	}
	for (size_t row = 0; row < values->n_rows; row++) {
		for (size_t i = 0; i < values->n_vectors; i++)
			orm_vector_cursor_next(&batch.cursors[i], &batch.values[i]);
		status = apply_update(publish, &batch,
				      updates->handles ? updates->handles[row] : updates->first_handle + row);
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}
