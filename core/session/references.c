/* SPDX-License-Identifier: MIT */
/* Relationships set by object: the foreign key takes the target's key. */
#include "base/error.h"
#include "model/fail.h"
#include "session/publish.h"

/* How deep keys may be made of keys that are made of keys, all in one draft. */
#define MAX_ROUNDS 64

typedef struct reference_group {
	const orm_mapper *mapper;
	const ormd_references *references;
	size_t n_references;
	const uint64_t *handles;
	uint64_t first_handle;
	size_t n_rows;
	bool update;
	bool *done; /* per row */
	uint64_t base;
} reference_group;

bool ormd_references_set(const ormd_references *references, size_t n_references, uint16_t column)
{
	for (size_t i = 0; i < n_references; i++) {
		const orm_foreign_key *foreign_key = references[i].relationship->foreign_key;

		for (uint16_t j = 0; j < foreign_key->n_columns; j++) {
			if (foreign_key->columns[j] == column)
				return true;
		}
	}
	return false;
}

static ormd_object *row_object(ormd_publish *publish, const reference_group *group, size_t row)
{
	return ormd_unit_by_handle(publish->session, group->handles ? group->handles[row] : group->first_handle + row);
}

/* The target of one reference, or NULL and a failure. */
static ormd_object *find_target(ormd_publish *publish, const reference_group *group, const ormd_object *object,
				const ormd_references *reference, uint64_t handle, orm_status *status)
{
	ormd_session *session = publish->session;
	const orm_relationship *relationship = reference->relationship;
	ormd_object *target = ormd_unit_by_handle(session, handle);

	if (!target || target->mapper != relationship->target->number) {
		*status =
			orm_fail_at(publish->error, ORM_EINVAL, group->mapper->name, relationship->name,
				    "refers to an object that is not a %s of this session", relationship->target->name);
		ormd_publish_fault(publish, object, object->handle, *status);
		return NULL;
	}
	if (target->state == ORMD_STATE_NEW || target->state == ORMD_STATE_PERSISTENT)
		return target;
	*status = ORM_OK;
	if (ormd_conflict_check_object(&publish->conflicts, session, target, publish->participant,
				       group->update ? group->base : publish->seen)) {
		*status = orm_fail_at(publish->error, ORM_EINVAL, group->mapper->name, relationship->name,
				      "refers to a %s that was deleted", relationship->target->name);
		ormd_publish_fault(publish, object, object->handle, *status);
	}
	return NULL;
}

/* Could the target's columns still get other values from its own references? */
static bool is_ready(const ormd_object *target, const orm_foreign_key *foreign_key)
{
	if (!(target->flags & ORMD_FLAG_UNRESOLVED))
		return true;
	for (uint16_t i = 0; i < foreign_key->n_columns; i++) {
		if (foreign_key->target->columns[foreign_key->target_columns[i]].foreign_key != ORM_NO_NUMBER)
			return false;
	}
	return true;
}

static bool row_is_ready(ormd_publish *publish, const reference_group *group, size_t row)
{
	for (size_t i = 0; i < group->n_references; i++) {
		const ormd_references *reference = &group->references[i];
		const ormd_object *target =
			reference->targets[row] ? ormd_unit_by_handle(publish->session, reference->targets[row]) : NULL;

		if (target && !is_ready(target, reference->relationship->foreign_key))
			return false;
	}
	return true;
}

static orm_status set_column(ormd_publish *publish, const reference_group *group, ormd_object *object, uint16_t column,
			     const orm_value *value)
{
	ormd_session *session = publish->session;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const orm_column *spec = &group->mapper->columns[column];

	if (value->null && !spec->nullable)
		return ormd_publish_fault(publish, object, object->handle,
					  orm_fail_at(publish->error, ORM_EINVAL, group->mapper->name, spec->name,
						      "may not be NULL: set the relationship"));
	if (group->update) {
		if (!ormd_conflict_check_column(&publish->conflicts, session, object, column, publish->participant,
						group->base, value))
			return ORM_OK;
		if (!ormd_change_need_marks(session, object->change))
			return ormd_publish_no_memory(publish);
		object->change->marks[column] = publish->mark;
		if (spec->primary_key)
			object->flags |= ORMD_FLAG_REKEYED;
	}
	if (!layout->cells[column].variable && (object->flags & ORMD_FLAG_OWN_RECORD)) {
		ormd_record_set_fixed(layout, object->record, column, value);
		return ORM_OK;
	}
	return ormd_publish_replace(publish, object,
				    ormd_record_with(layout, object->record, &column, value, 1, &session->pool));
}

static orm_status follow(ormd_publish *publish, const reference_group *group, ormd_object *object,
			 const ormd_references *reference, uint64_t handle)
{
	const orm_foreign_key *foreign_key = reference->relationship->foreign_key;
	const ormd_object *target = NULL;
	orm_status status;

	if (handle) {
		target = find_target(publish, group, object, reference, handle, &status);
		if (!target)
			return status;
	}
	for (uint16_t i = 0; i < foreign_key->n_columns; i++) {
		const uint16_t column = foreign_key->columns[i];
		orm_value value = {.type = (uint8_t)group->mapper->columns[column].type, .null = true};

		if (target)
			ormd_record_value(ormd_object_layout(publish->session, target), target->record,
					  foreign_key->target_columns[i], &value);
		status = set_column(publish, group, object, column, &value);
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

/* The rows that can be followed now; *n_left: those that cannot yet. */
static orm_status follow_group(ormd_publish *publish, const reference_group *group, size_t *n_left, size_t *n_done)
{
	for (size_t row = 0; row < group->n_rows; row++) {
		if (group->done[row])
			continue;

		ormd_object *object = row_object(publish, group, row);

		/* An update that was refused for a conflict has touched nothing. */
		if (group->update && (!object->change || object->change->draft != publish->session->draft)) {
			group->done[row] = true;
			continue;
		}
		if (!row_is_ready(publish, group, row)) {
			(*n_left)++;
			continue;
		}
		for (size_t i = 0; i < group->n_references; i++) {
			const orm_status status = follow(publish, group, object, &group->references[i],
							 group->references[i].targets[row]);

			if (status != ORM_OK)
				return status;
		}
		group->done[row] = true;
		(*n_done)++;
	}
	return ORM_OK;
}

/* Flag the objects whose rows are still to be followed: a round's targets are those that were complete before it. */
static void flag_unresolved(ormd_publish *publish, const reference_group *groups, size_t n_groups)
{
	for (size_t i = 0; i < n_groups; i++) {
		for (size_t row = 0; row < groups[i].n_rows; row++)
			row_object(publish, &groups[i], row)->flags &= (uint8_t)~ORMD_FLAG_UNRESOLVED;
	}
	for (size_t i = 0; i < n_groups; i++) {
		for (size_t row = 0; row < groups[i].n_rows; row++) {
			if (!groups[i].done[row])
				row_object(publish, &groups[i], row)->flags |= ORMD_FLAG_UNRESOLVED;
		}
	}
}

/* Does any reference lead to a column that is a foreign key itself? Only then does the order matter. */
static bool are_chained(const reference_group *groups, size_t n_groups)
{
	for (size_t i = 0; i < n_groups; i++) {
		for (size_t j = 0; j < groups[i].n_references; j++) {
			const orm_foreign_key *foreign_key = groups[i].references[j].relationship->foreign_key;

			for (uint16_t k = 0; k < foreign_key->n_columns; k++) {
				if (foreign_key->target->columns[foreign_key->target_columns[k]].foreign_key !=
				    ORM_NO_NUMBER)
					return true;
			}
		}
	}
	return false;
}

static orm_status follow_groups(ormd_publish *publish, const reference_group *groups, size_t n_groups, bool chained)
{
	for (int round = 0; round < MAX_ROUNDS; round++) {
		size_t n_left = 0, n_done = 0;

		if (chained)
			flag_unresolved(publish, groups, n_groups);
		for (size_t i = 0; i < n_groups; i++) {
			const orm_status status = follow_group(publish, &groups[i], &n_left, &n_done);

			if (status != ORM_OK)
				return status;
		}
		if (n_left == 0)
			return ORM_OK;
		if (n_done == 0)
			break;
	}
	return orm_fail(publish->error, ORM_EINVAL,
			"new objects take their keys from each other in a circle: give one of them its key");
}

orm_status ormd_publish_follow_references(ormd_publish *publish)
{
	const ormd_draft *draft = publish->draft;
	reference_group *groups =
		orm_arena_alloc(&publish->scratch, (draft->n_adds + draft->n_updates) * sizeof *groups);
	size_t n_groups = 0;

	if (!groups)
		return ormd_publish_no_memory(publish);
	for (size_t i = 0; i < draft->n_adds; i++) {
		const ormd_adds *adds = &draft->adds[i];

		if (adds->n_references > 0)
			groups[n_groups++] = (reference_group){.mapper = adds->values.mapper,
							       .references = adds->references,
							       .n_references = adds->n_references,
							       .handles = adds->handles,
							       .first_handle = adds->first_handle,
							       .n_rows = adds->values.n_rows};
	}
	for (size_t i = 0; i < draft->n_updates; i++) {
		const ormd_updates *updates = &draft->updates[i];

		if (updates->n_references > 0)
			groups[n_groups++] = (reference_group){.mapper = updates->values.mapper,
							       .references = updates->references,
							       .n_references = updates->n_references,
							       .handles = updates->handles,
							       .first_handle = updates->first_handle,
							       .n_rows = updates->values.n_rows,
							       .update = true,
							       .base = updates->base};
	}
	for (size_t i = 0; i < n_groups; i++) {
		groups[i].done = orm_arena_calloc(&publish->scratch, groups[i].n_rows, sizeof *groups[i].done);
		if (!groups[i].done)
			return ormd_publish_no_memory(publish);
	}

	const bool chained = are_chained(groups, n_groups);
	const orm_status status = follow_groups(publish, groups, n_groups, chained);

	for (size_t i = 0; i < n_groups && chained; i++) {
		for (size_t row = 0; row < groups[i].n_rows; row++)
			row_object(publish, &groups[i], row)->flags &= (uint8_t)~ORMD_FLAG_UNRESOLVED;
	}
	return status;
}
