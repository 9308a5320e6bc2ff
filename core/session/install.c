/* SPDX-License-Identifier: MIT */
/* Rows from the database meet the identity map. */
#include "base/error.h"
#include "session/unit.h"

static ormd_object *find(ormd_session *session, const ormd_mapper_unit *unit, const ormd_record *record, uint32_t hash)
{
	size_t cursor = SIZE_MAX;
	ormd_object *deleted = NULL;
	uint32_t number;

	while ((number = ormd_keys_probe(&unit->keys, hash, &cursor)) != 0) {
		ormd_object *object = ormd_objects_at(&session->objects, number);

		if (!ormd_record_same_key(&unit->layout, record, object->record))
			continue;
		if (object->state != ORMD_STATE_DELETED)
			return object;
		deleted = object;
	}
	return deleted;
}

/* The object's change, among the settled, at the reload's revision, with a mark per column. */
static bool begin_reload(ormd_install *install, ormd_object *object)
{
	ormd_session *session = install->session;
	ormd_change *change = object->change;

	if (!change) {
		change = ormd_change_new(session, object);
		if (!change)
			return false;
		if (!ormd_change_need_marks(session, change)) {
			ormd_change_free(session, change);
			return false;
		}
		object->change = change;
	} else {
		if (!ormd_change_need_marks(session, change))
			return false;
		ormd_change_remove(session, change);
	}
	if (install->revision == 0 || install->revision != session->revision)
		install->revision = ormd_unit_operation(session, 0);
	change->revision = install->revision;
	ormd_change_append(session, change);
	return true;
}

/* `record` is taken. */
static bool reload_clean(ormd_install *install, ormd_object *object, ormd_record *record)
{
	ormd_session *session = install->session;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const bool same = record->size == object->record->size && memcmp(record, object->record, record->size) == 0;

	if (!same) {
		if (!begin_reload(install, object)) {
			ormd_record_free(record, &session->pool);
			return false;
		}
		for (uint16_t i = 0; i < layout->n_columns; i++) {
			if (!ormd_record_cell_equal(layout, object->record, record, i))
				object->change->marks[i] = (ormd_mark){.revision = install->revision};
		}
	}
	ormd_record_free(same ? record : object->record, &session->pool);
	if (!same)
		object->record = record;
	object->epoch = session->epoch;
	return true;
}

/*
 * The object has pending changes: fields without one take the row's, and the row is the new base. But where somebody
 * else changed a field that is pending here, the version stays as it was, so that the commit finds out instead of
 * overwriting it. `row` is taken.
 */
static bool reload_pending(ormd_install *install, ormd_object *object, ormd_record *row)
{
	ormd_session *session = install->session;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const uint16_t version = layout->mapper->version;
	ormd_change *change = object->change;
	uint16_t kept[ORM_MAX_COLUMNS];
	orm_value values[ORM_MAX_COLUMNS];
	size_t n_kept = 0;
	bool overtaken = false, differs = false;

	if (change->base == object->record || !ormd_record_same_key(layout, change->base, row)) {
		ormd_record_free(row, &session->pool);
		return true;
	}
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		const bool moved = !ormd_record_cell_equal(layout, change->base, row, i);

		if (ormd_record_cell_equal(layout, object->record, change->base, i)) {
			differs |= moved;
			continue;
		}
		overtaken |= moved;
		ormd_record_value(layout, object->record, i, &values[n_kept]);
		kept[n_kept++] = i;
	}
	if (overtaken && version != ORM_NO_NUMBER)
		ormd_record_set_integer(layout, row, version, ormd_record_integer(layout, change->base, version));

	ormd_record *current = ormd_record_with(layout, row, kept, values, n_kept, &session->pool);

	if (!current || (differs && !begin_reload(install, object))) {
		ormd_record_free(current, &session->pool);
		ormd_record_free(row, &session->pool);
		return false;
	}
	for (uint16_t i = 0; i < layout->n_columns && differs; i++) {
		if (!ormd_record_cell_equal(layout, object->record, current, i))
			change->marks[i] = (ormd_mark){.revision = install->revision};
	}
	ormd_record_free(change->base, &session->pool);
	ormd_record_free(object->record, &session->pool);
	change->base = row;
	object->record = current;
	object->epoch = session->epoch;
	return true;
}

/* `record` is taken. */
static bool meet(ormd_install *install, ormd_object *object, ormd_record *record)
{
	ormd_session *session = install->session;

	if (object->state == ORMD_STATE_PERSISTENT) {
		if (ormd_object_pending(object)) {
			if (install->populate_existing && !install->rehearsed)
				return reload_pending(install, object, record);
		} else if (install->populate_existing || object->epoch < session->epoch) {
			return reload_clean(install, object, record);
		}
	}
	ormd_record_free(record, &session->pool);
	return true;
}

/* `record` is taken. NULL: out of memory. */
static ormd_object *install_row(ormd_install *install, ormd_mapper_unit *unit, ormd_record *record, uint32_t hash)
{
	ormd_session *session = install->session;
	ormd_object *object = find(session, unit, record, hash);

	if (object)
		return meet(install, object, record) ? object : NULL;
	object = ormd_object_new(session, unit->layout.mapper, session->next_handle, record);
	if (!object) {
		ormd_record_free(record, &session->pool);
		return NULL;
	}
	session->next_handle++;
	ormd_object_enter_keys(session, object, hash);
	return object;
}

/* A few rows: first all their records, so that their slots are near when they are looked up. */
static bool install_some(ormd_install *install, ormd_mapper_unit *unit, ormd_record_reader *reader, size_t n,
			 ormd_object **objects)
{
	ormd_session *session = install->session;
	const orm_mapper *mapper = unit->layout.mapper;
	ormd_record *records[ORMD_KEYS_AHEAD];
	uint32_t hashes[ORMD_KEYS_AHEAD];
	bool installed = true;

	for (size_t i = 0; i < n; i++) {
		records[i] = ormd_record_reader_next(reader, &session->pool);
		if (!records[i]) {
			installed = false;
			n = i;
			break;
		}
		hashes[i] = ormd_record_hash(&unit->layout, records[i], mapper->key, mapper->n_key);
		ormd_keys_prefetch(&unit->keys, hashes[i]);
	}
	for (size_t i = 0; i < n; i++) {
		if (!installed) {
			ormd_record_free(records[i], &session->pool);
			continue;
		}
		objects[i] = install_row(install, unit, records[i], hashes[i]);
		installed = objects[i] != NULL;
	}
	return installed;
}

orm_status ormd_unit_install(ormd_install *install, const orm_batch *batch, ormd_object **objects, orm_error *error)
{
	ormd_session *session = install->session;
	ormd_mapper_unit *unit = &session->mappers[batch->mapper->number];
	ormd_record_reader reader;
	orm_arena scratch;
	bool installed;

	install->revision = 0; /* between two pieces of a result somebody may have seen what there was */
	orm_arena_init(&scratch, 0);
	installed = ormd_record_reader_init(&reader, &unit->layout, batch, &scratch) &&
		    ormd_keys_reserve(&unit->keys, batch->n_rows);
	for (size_t row = 0; row < batch->n_rows && installed; row += ORMD_KEYS_AHEAD) {
		const size_t left = batch->n_rows - row;

		installed = install_some(install, unit, &reader, left < ORMD_KEYS_AHEAD ? left : ORMD_KEYS_AHEAD,
					 objects + row);
	}
	orm_arena_fini(&scratch);
	if (!installed)
		return orm_fail(error, ORM_ENOMEM, "out of memory for %zu rows of %s", batch->n_rows,
				batch->mapper->name);
	if (session->max_memory && ormd_unit_memory(session) > session->max_memory)
		return orm_fail(error, ORM_ELIMIT,
				"the session would hold more than its %zu bytes of memory: read in smaller pieces, or "
				"raise the limit",
				session->max_memory);
	return ORM_OK;
}

void ormd_unit_row_gone(ormd_install *install, ormd_object *object)
{
	if (object->state != ORMD_STATE_PERSISTENT || ormd_object_pending(object) || !begin_reload(install, object))
		return;
	ormd_object_leave_keys(install->session, object);
	object->state = ORMD_STATE_GONE;
	object->change->event = (ormd_mark){.revision = install->revision};
	object->change->event_kind = ORMD_EVENT_GONE;
}
