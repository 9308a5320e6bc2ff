/* SPDX-License-Identifier: MIT */
#include "session/unit.h"

#include <assert.h>

/* In a shared session a draft may hold an edit made long ago, whose conflict must still be found: so many settled
 * changes are kept after all have seen them. */
#define SETTLED_KEPT ((size_t)65536)

/* ---- finding ---- */

ormd_object *ormd_unit_by_handle(ormd_session *session, uint64_t handle)
{
	const uint32_t number = ormd_handles_get(&session->handles, handle);

	return number ? ormd_objects_at(&session->objects, number) : NULL;
}

static bool has_key(const ormd_layout *layout, const ormd_object *object, const orm_value *values)
{
	const orm_mapper *mapper = layout->mapper;

	if (layout->integer_key)
		return ormd_record_integer(layout, object->record, mapper->key[0]) == values[0].integer;
	return ormd_record_equals(layout, object->record, mapper->key, values, mapper->n_key);
}

ormd_object *ormd_unit_by_key(const ormd_session *session, const orm_mapper *mapper, const orm_value *values)
{
	const ormd_mapper_unit *unit = &session->mappers[mapper->number];
	const uint32_t hash = ormd_values_hash(values, mapper->n_key);
	size_t cursor = SIZE_MAX;
	ormd_object *deleted = NULL;
	uint32_t number;

	while ((number = ormd_keys_probe(&unit->keys, hash, &cursor)) != 0) {
		ormd_object *object = ormd_objects_at(&session->objects, number);

		if (!has_key(&unit->layout, object, values))
			continue;
		if (object->state != ORMD_STATE_DELETED)
			return object;
		deleted = object;
	}
	return deleted;
}

ormd_object *ormd_unit_next_object(const ormd_session *session, const orm_mapper *mapper, size_t *cursor)
{
	const ormd_keys *keys = &session->mappers[mapper->number].keys;

	while (*cursor < keys->n_slots) {
		const uint32_t number = keys->slots[(*cursor)++].number;

		if (number)
			return ormd_objects_at(&session->objects, number);
	}
	return NULL;
}

bool ormd_unit_mapper_pending(const ormd_session *session, const orm_mapper *mapper)
{
	const ormd_mapper_unit *unit = &session->mappers[mapper->number];

	return unit->n_new + unit->n_changed + unit->n_deleted > 0;
}

ormd_object *ormd_unit_next_pending(const ormd_session *session, ormd_state state, const orm_mapper *mapper,
				    const ormd_change **cursor)
{
	const ormd_change *change = *cursor ? (*cursor)->next : session->pending.first;

	for (; change; change = change->next) {
		if (change->object->state == state && (!mapper || change->object->mapper == mapper->number))
			break;
	}
	*cursor = change;
	return change ? change->object : NULL;
}

/* ---- changes ---- */

static size_t marks_size(const ormd_session *session, const ormd_object *object)
{
	return ormd_object_mapper(session, object)->n_columns * sizeof(ormd_mark);
}

ormd_change *ormd_change_new(ormd_session *session, ormd_object *object)
{
	ormd_change *change = orm_pool_alloc(&session->changes, sizeof *change);

	if (change)
		*change = (ormd_change){.object = object};
	return change;
}

void ormd_change_free(ormd_session *session, ormd_change *change)
{
	if (!change)
		return;
	orm_pool_free(&session->changes, change->marks, marks_size(session, change->object));
	orm_pool_free(&session->changes, change, sizeof *change);
}

static ormd_change_list *list_of(ormd_session *session, const ormd_change *change)
{
	return change->pending ? &session->pending : &session->settled;
}

void ormd_change_append(ormd_session *session, ormd_change *change)
{
	ormd_change_list *list = list_of(session, change);

	ormd_change_insert(session, change, list->last);
}

void ormd_change_insert(ormd_session *session, ormd_change *change, ormd_change *previous)
{
	ormd_change_list *list = list_of(session, change);

	change->previous = previous;
	change->next = previous ? previous->next : list->first;
	*(change->next ? &change->next->previous : &list->last) = change;
	*(previous ? &previous->next : &list->first) = change;
	list->len++;
}

void ormd_change_remove(ormd_session *session, ormd_change *change)
{
	ormd_change_list *list = list_of(session, change);

	*(change->previous ? &change->previous->next : &list->first) = change->next;
	*(change->next ? &change->next->previous : &list->last) = change->previous;
	list->len--;
}

bool ormd_change_need_marks(ormd_session *session, ormd_change *change)
{
	const uint16_t n_columns = ormd_object_mapper(session, change->object)->n_columns;

	if (change->marks)
		return true;
	change->marks = orm_pool_alloc(&session->changes, n_columns * sizeof *change->marks);
	if (!change->marks)
		return false;
	for (uint16_t i = 0; i < n_columns; i++)
		change->marks[i] = change->added;
	return true;
}

void ormd_unit_count(ormd_session *session, const ormd_object *object, ormd_state state, int more)
{
	ormd_mapper_unit *unit = &session->mappers[object->mapper];
	size_t *count = state == ORMD_STATE_NEW       ? &unit->n_new
			: state == ORMD_STATE_DELETED ? &unit->n_deleted
						      : &unit->n_changed;

	assert(more > 0 || *count > 0);
	*count = more > 0 ? *count + 1 : *count - 1;
}

/* ---- objects ---- */

uint32_t ormd_object_hash(const ormd_session *session, const ormd_object *object, const ormd_record *record)
{
	const ormd_layout *layout = ormd_object_layout(session, object);

	return ormd_record_hash(layout, record, layout->mapper->key, layout->mapper->n_key);
}

void ormd_object_enter_keys(ormd_session *session, ormd_object *object, uint32_t hash)
{
	assert(!(object->flags & ORMD_FLAG_KEYED));
	ormd_keys_put(&session->mappers[object->mapper].keys, hash,
		      ormd_handles_get(&session->handles, object->handle));
	object->flags |= ORMD_FLAG_KEYED;
}

void ormd_object_leave_keys(ormd_session *session, ormd_object *object)
{
	ormd_object_leave_keys_as(session, object, object->record);
}

void ormd_object_leave_keys_as(ormd_session *session, ormd_object *object, const ormd_record *record)
{
	if (!(object->flags & ORMD_FLAG_KEYED))
		return;

	const bool removed =
		ormd_keys_remove(&session->mappers[object->mapper].keys, ormd_object_hash(session, object, record),
				 ormd_handles_get(&session->handles, object->handle));

	assert(removed);
	(void)removed;
	object->flags &= (uint8_t)~ORMD_FLAG_KEYED;
}

ormd_object *ormd_object_new(ormd_session *session, const orm_mapper *mapper, uint64_t handle, ormd_record *record)
{
	ormd_object *object;
	const uint32_t number = ormd_objects_take(&session->objects, &object);

	if (!number)
		return NULL;
	object->record = record;
	object->handle = handle;
	object->epoch = session->epoch;
	object->mapper = mapper->number;
	object->state = ORMD_STATE_PERSISTENT;
	if (!ormd_handles_put(&session->handles, handle, number)) {
		ormd_objects_give(&session->objects, number);
		return NULL;
	}
	return object;
}

void ormd_object_free(ormd_session *session, ormd_object *object)
{
	const uint32_t number = ormd_handles_get(&session->handles, object->handle);
	ormd_change *change = object->change;

	ormd_object_leave_keys(session, object);
	if (change) {
		ormd_change_remove(session, change);
		if (change->base != object->record)
			ormd_record_free(change->base, &session->pool);
		ormd_change_free(session, change);
	}
	ormd_record_free(object->record, &session->pool);
	ormd_handles_remove(&session->handles, object->handle);
	ormd_objects_give(&session->objects, number);
}

/* ---- the log ---- */

uint64_t ormd_unit_operation(ormd_session *session, uint32_t author)
{
	session->revision++;
	ormd_unit_also_news(session, author);
	return session->revision;
}

void ormd_unit_also_news(ormd_session *session, uint32_t author)
{
	if (author != session->news_author) {
		session->other_news = session->news;
		session->news_author = author;
	}
	session->news = session->revision;
}

static uint64_t seen_by_all(const ormd_session *session)
{
	uint64_t lowest = UINT64_MAX;

	for (size_t i = 0; i < session->n_participants; i++) {
		const ormd_participant *participant = &session->participants[i];
		const uint64_t seen = participant->seen > participant->joined ? participant->seen : participant->joined;

		if (!participant->departed && seen < lowest)
			lowest = seen;
	}
	return lowest;
}

void ormd_unit_forget_settled(ormd_session *session)
{
	if (session->settled.len == 0)
		return;

	const uint64_t seen = seen_by_all(session);
	const size_t kept = session->name && session->n_present > 0 ? SETTLED_KEPT : 0;

	while (session->settled.len > kept && session->settled.first->revision <= seen) {
		ormd_change *change = session->settled.first;
		ormd_object *object = change->object;

		session->forgotten = change->revision;
		if (object->state == ORMD_STATE_GONE) {
			ormd_object_free(session, object);
			continue;
		}
		ormd_change_remove(session, change);
		ormd_change_free(session, change);
		object->change = NULL;
	}
	if (session->changes.used == 0)
		orm_pool_reset(&session->changes);
}

size_t ormd_unit_memory(const ormd_session *session)
{
	size_t size = session->pool.used + session->changes.used + ormd_objects_size(&session->objects) + ormd_handles_size(&session->handles);

	for (uint16_t i = 0; i < session->registry->n_mappers; i++)
		size += ormd_keys_size(&session->mappers[i].keys);
	return size;
}
