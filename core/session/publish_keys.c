/* SPDX-License-Identifier: MIT */
/* The keys that a draft made or changed enter the identity map. */
#include "base/error.h"
#include "model/fail.h"
#include "session/publish.h"

/* Into the identity map, unless a live object has this key. */
static orm_status enter_keys(ormd_publish *publish, ormd_object *object, uint32_t hash)
{
	ormd_session *session = publish->session;
	ormd_mapper_unit *unit = &session->mappers[object->mapper];
	size_t cursor = SIZE_MAX;
	uint32_t number;

	while (object->state != ORMD_STATE_DELETED && (number = ormd_keys_probe(&unit->keys, hash, &cursor)) != 0) {
		const ormd_object *other = ormd_objects_at(&session->objects, number);

		if (other->state != ORMD_STATE_DELETED && other->state != ORMD_STATE_GONE &&
		    ormd_record_same_key(&unit->layout, object->record, other->record)) {
			char key[sizeof((orm_error *)0)->key];

			ormd_record_key_print(&unit->layout, object->record, key, sizeof key);
			return ormd_publish_fault(
				publish, object, object->handle,
				orm_fail_at(publish->error, ORM_EEXIST, unit->layout.mapper->name, NULL,
					    "an object with the key %s is in the session already", key));
		}
	}
	if (!ormd_keys_reserve(&unit->keys, 1))
		return ormd_publish_no_memory(publish);
	ormd_object_enter_keys(session, object, hash);
	return ORM_OK;
}

/* Room for all that a draft adds, at once. */
static bool make_room(ormd_publish *publish)
{
	const uint16_t n_mappers = publish->session->registry->n_mappers;
	size_t *n_rows = orm_arena_calloc(&publish->scratch, n_mappers, sizeof *n_rows);
	bool room = n_rows != NULL;

	for (size_t i = 0; i < publish->draft->n_adds && room; i++)
		n_rows[publish->draft->adds[i].values.mapper->number] += publish->draft->adds[i].values.n_rows;
	for (uint16_t i = 0; i < n_mappers && room; i++)
		room = n_rows[i] == 0 || ormd_keys_reserve(&publish->session->mappers[i].keys, n_rows[i]);
	return room;
}

static orm_status enter_created(ormd_publish *publish)
{
	ormd_session *session = publish->session;
	uint32_t hashes[ORMD_KEYS_AHEAD];

	if (publish->n_created > 0 && !make_room(publish))
		return ormd_publish_no_memory(publish);
	for (size_t i = 0; i < publish->n_created; i += ORMD_KEYS_AHEAD) {
		const size_t left = publish->n_created - i;
		const size_t n = left < ORMD_KEYS_AHEAD ? left : ORMD_KEYS_AHEAD;

		for (size_t j = 0; j < n; j++) {
			const ormd_object *object = publish->created[i + j];

			hashes[j] = ormd_object_hash(session, object, object->record);
			ormd_keys_prefetch(&session->mappers[object->mapper].keys, hashes[j]);
		}
		for (size_t j = 0; j < n; j++) {
			ormd_object *object = publish->created[i + j];
			const orm_status status =
				object->state == ORMD_STATE_NEW ? enter_keys(publish, object, hashes[j]) : ORM_OK;

			if (status != ORM_OK)
				return status;
		}
	}
	return ORM_OK;
}

orm_status ormd_publish_change_keys(ormd_publish *publish)
{
	ormd_session *session = publish->session;
	size_t n_rekeyed = 0;
	orm_status status = ORM_OK;

	for (size_t i = 0; i < publish->n_touched; i++) {
		ormd_touched *touched = &publish->touched[i];
		ormd_object *object = touched->object;

		if (!(object->flags & ORMD_FLAG_REKEYED))
			continue;
		if (ormd_record_same_key(ormd_object_layout(session, object), touched->record, object->record))
			object->flags &= (uint8_t)~ORMD_FLAG_REKEYED;
		else
			n_rekeyed++;
	}
	if (n_rekeyed > 0) {
		status = ormd_publish_check_rekeyed(publish);
		if (status != ORM_OK)
			return status;
		publish->rekeying = true;
		for (size_t i = 0; i < publish->n_touched; i++) {
			if (publish->touched[i].object->flags & ORMD_FLAG_REKEYED)
				ormd_object_leave_keys_as(session, publish->touched[i].object,
							  publish->touched[i].record);
		}
	}
	status = enter_created(publish);
	for (size_t i = 0; i < publish->n_touched && status == ORM_OK && n_rekeyed > 0; i++) {
		ormd_object *object = publish->touched[i].object;
		const orm_mapper *mapper = ormd_object_mapper(session, object);

		if (!(object->flags & ORMD_FLAG_REKEYED))
			continue;
		status = enter_keys(publish, object, ormd_object_hash(session, object, object->record));
		if (status == ORM_OK && mapper->generated_key)
			ormd_keys_note(session, mapper,
				       ormd_record_integer(ormd_object_layout(session, object), object->record,
							   mapper->key[0]));
	}
	return status;
}
