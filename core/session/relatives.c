/* SPDX-License-Identifier: MIT */
/* What a deletion, or another key, means for the objects of the session that refer to it. */
#include "base/error.h"
#include "base/map.h"
#include "model/fail.h"
#include "session/publish.h"

typedef struct child_target {
	const ormd_layout *layout;
	const ormd_record *record; /* what children refer to */
	ormd_object *object;
	uint64_t base;
} child_target;

typedef struct child_row {
	const ormd_layout *layout;
	const ormd_record *record;
	const orm_foreign_key *foreign_key;
} child_row;

typedef struct child_visit {
	ormd_publish *publish;
	bool (*wanted)(const orm_foreign_key *foreign_key);
	orm_status (*found)(ormd_publish *publish, ormd_object *object, const orm_foreign_key *foreign_key,
			    const child_target *target);
} child_visit;

static bool refers_to(const void *value, const void *key)
{
	const child_target *to = value;
	const child_row *from = key;

	for (uint16_t i = 0; i < from->foreign_key->n_columns; i++) {
		orm_value a, b;

		ormd_record_value(from->layout, from->record, from->foreign_key->columns[i], &a);
		ormd_record_value(to->layout, to->record, from->foreign_key->target_columns[i], &b);
		if (a.null || !orm_value_equal(&a, &b))
			return false;
	}
	return true;
}

static uint64_t map_hash(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			 size_t n_columns)
{
	return (uint64_t)ormd_record_hash(layout, record, columns, n_columns) << 32;
}

static orm_status visit_object(const child_visit *visit, const orm_map *map, const orm_foreign_key *foreign_key,
			       ormd_object *object)
{
	const child_row from = {ormd_object_layout(visit->publish->session, object), object->record, foreign_key};

	if (object->state != ORMD_STATE_NEW && object->state != ORMD_STATE_PERSISTENT)
		return ORM_OK;

	const child_target *to =
		orm_map_get(map, map_hash(from.layout, from.record, foreign_key->columns, foreign_key->n_columns),
			    refers_to, &from);

	return to ? visit->found(visit->publish, object, foreign_key, to) : ORM_OK;
}

/* Every live object whose `foreign_key` refers to one of the targets in the map. */
static orm_status visit_children(const child_visit *visit, const orm_map *map, const orm_mapper *mapper,
				 const orm_foreign_key *foreign_key)
{
	ormd_publish *publish = visit->publish;
	ormd_object *object;
	size_t cursor = 0;
	orm_status status = ORM_OK;

	while (status == ORM_OK && (object = ormd_unit_next_object(publish->session, mapper, &cursor)))
		status = visit_object(visit, map, foreign_key, object);
	for (size_t i = 0; status == ORM_OK && i < publish->n_created; i++) {
		object = publish->created[i];
		if (object->mapper == mapper->number && !(object->flags & ORMD_FLAG_KEYED))
			status = visit_object(visit, map, foreign_key, object);
	}
	return status;
}

static orm_status visit_foreign_key(const child_visit *visit, child_target *targets, size_t n_targets,
				    const orm_mapper *mapper, const orm_foreign_key *foreign_key)
{
	orm_map map;
	orm_status status;

	if (visit->publish->session->mappers[mapper->number].keys.len == 0 && visit->publish->n_created == 0)
		return ORM_OK; /* no children at all */
	orm_map_init(&map);
	if (!orm_map_reserve(&map, n_targets))
		return ormd_publish_no_memory(visit->publish);
	for (size_t i = 0; i < n_targets; i++)
		orm_map_put(&map,
			    map_hash(targets[i].layout, targets[i].record, foreign_key->target_columns,
				     foreign_key->n_columns),
			    &targets[i]);
	status = visit_children(visit, &map, mapper, foreign_key);
	orm_map_fini(&map);
	return status;
}

/* `targets`: all of one mapper. */
static orm_status visit_all(const child_visit *visit, const orm_mapper *of, child_target *targets, size_t n_targets)
{
	const orm_registry *registry = visit->publish->session->registry;
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *mapper = &registry->mappers[i];

		for (uint16_t j = 0; j < mapper->n_foreign_keys && status == ORM_OK; j++) {
			const orm_foreign_key *foreign_key = &mapper->foreign_keys[j];

			if (foreign_key->target == of && visit->wanted(foreign_key))
				status = visit_foreign_key(visit, targets, n_targets, mapper, foreign_key);
		}
	}
	return status;
}

/* ---- deletions ---- */

static bool acts_on_delete(const orm_foreign_key *foreign_key)
{
	return foreign_key->on_delete == ORM_CASCADE || foreign_key->on_delete == ORM_SET_NULL;
}

static orm_status set_null(ormd_publish *publish, ormd_object *object, const orm_foreign_key *foreign_key,
			   uint64_t base, ormd_mark mark)
{
	ormd_session *session = publish->session;
	const ormd_layout *layout = ormd_object_layout(session, object);

	for (uint16_t i = 0; i < foreign_key->n_columns; i++) {
		const uint16_t column = foreign_key->columns[i];
		const orm_column *spec = &layout->mapper->columns[column];
		const orm_value null = {.type = (uint8_t)spec->type, .null = true};
		orm_status status;

		if (!spec->nullable)
			continue;
		if (!ormd_conflict_check_column(&publish->conflicts, session, object, column, publish->participant,
						base, &null))
			return ORM_OK;
		status = ormd_publish_touch(publish, object);
		if (status != ORM_OK)
			return status;
		if (!ormd_change_need_marks(session, object->change))
			return ormd_publish_no_memory(publish);
		object->change->marks[column] = mark;
		status = ormd_publish_replace(
			publish, object, ormd_record_with(layout, object->record, &column, &null, 1, &session->pool));
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

static orm_status reach_child(ormd_publish *publish, ormd_object *object, const orm_foreign_key *foreign_key,
			      const child_target *to)
{
	const ormd_mark mark = {publish->mark.revision, publish->participant | ORMD_CASCADED};

	publish->cascaded = true;
	if (foreign_key->on_delete == ORM_SET_NULL)
		return set_null(publish, object, foreign_key, to->base, mark);
	if (!ormd_conflict_check_deletion(&publish->conflicts, publish->session, object, publish->participant,
					  to->base))
		return ORM_OK;
	return ormd_publish_delete(publish, object, to->base, mark);
}

orm_status ormd_publish_cascade(ormd_publish *publish)
{
	const child_visit visit = {publish, acts_on_delete, reach_child};
	child_target *targets = NULL;
	orm_status status = ORM_OK;

	/* Level by level: what one level's children add is the next. */
	for (size_t from = 0, to = publish->n_deletions; from < to && status == ORM_OK;
	     from = to, to = publish->n_deletions) {
		targets = orm_arena_alloc(&publish->scratch, (to - from) * sizeof *targets);
		if (!targets)
			return ormd_publish_no_memory(publish);
		for (uint16_t i = 0; i < publish->session->registry->n_mappers && status == ORM_OK; i++) {
			const orm_mapper *mapper = &publish->session->registry->mappers[i];
			size_t n_targets = 0;

			for (size_t j = from; j < to; j++) {
				ormd_object *object = publish->deletions[j].object;

				if (object->mapper == i)
					targets[n_targets++] =
						(child_target){ormd_object_layout(publish->session, object),
							       object->record, object, publish->deletions[j].base};
			}
			if (n_targets > 0)
				status = visit_all(&visit, mapper, targets, n_targets);
		}
	}
	return status;
}

/* ---- other keys ---- */

static bool refers_by_key(const orm_foreign_key *foreign_key)
{
	return foreign_key->to_key;
}

static orm_status refuse_child(ormd_publish *publish, ormd_object *object, const orm_foreign_key *foreign_key,
			       const child_target *to)
{
	const orm_mapper *mapper = ormd_object_mapper(publish->session, object);
	char key[sizeof((orm_error *)0)->key];

	ormd_record_key_print(to->layout, to->record, key, sizeof key);
	orm_fail_at(publish->error, ORM_EINVAL, to->layout->mapper->name, NULL,
		    "the key of %s cannot change: a %s of this session refers to it by %s; change that first", key,
		    mapper->name, mapper->columns[foreign_key->columns[0]].name);
	if (publish->error)
		orm_error_at(publish->error, NULL, NULL, key);
	return ormd_publish_fault(publish, NULL, to->object->handle, ORM_EINVAL);
}

orm_status ormd_publish_check_rekeyed(ormd_publish *publish)
{
	const child_visit visit = {publish, refers_by_key, refuse_child};
	child_target *targets = NULL;
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < publish->session->registry->n_mappers && status == ORM_OK; i++) {
		size_t n_targets = 0;

		for (size_t j = 0; j < publish->n_touched; j++) {
			const ormd_touched *touched = &publish->touched[j];

			if (touched->object->mapper != i || !(touched->object->flags & ORMD_FLAG_REKEYED))
				continue;
			if (!targets)
				targets = orm_arena_alloc(&publish->scratch, publish->n_touched * sizeof *targets);
			if (!targets)
				return ormd_publish_no_memory(publish);
			targets[n_targets++] = (child_target){ormd_object_layout(publish->session, touched->object),
							      touched->record, touched->object, 0};
		}
		if (n_targets > 0)
			status = visit_all(&visit, &publish->session->registry->mappers[i], targets, n_targets);
	}
	return status;
}
