/* SPDX-License-Identifier: MIT */
/* Conflicts are found by revision and author, never by value: A, then B, then A again is still another's change. */
#include "session/unit.h"

#include "base/error.h"

static ormd_conflict *add(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
			  ormd_mark theirs)
{
	if (conflicts->len == conflicts->max) {
		const size_t max = conflicts->max ? conflicts->max * 2 : 8;
		ormd_conflict *items = orm_arena_alloc(conflicts->arena, max * sizeof *items);

		if (!items) {
			conflicts->failed = true;
			return NULL;
		}
		if (conflicts->len > 0)
			memcpy(items, conflicts->items, conflicts->len * sizeof *items);
		conflicts->items = items;
		conflicts->max = max;
	}

	ormd_conflict *conflict = &conflicts->items[conflicts->len++];

	*conflict = (ormd_conflict){
		.handle = object->handle,
		.mapper = ormd_object_mapper(session, object),
		.column = ORM_NO_NUMBER,
		.author = ormd_mark_author(theirs),
		.revision = theirs.revision,
	};
	conflict->author_name = orm_arena_strdup(conflicts->arena, ormd_participant_name(session, conflict->author));
	if (!conflict->author_name)
		conflicts->failed = true;
	return conflict;
}

static void add_column(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
		       uint16_t column, ormd_mark theirs, const orm_value *mine)
{
	const ormd_layout *layout = ormd_object_layout(session, object);
	const ormd_record *base = object->change->base ? object->change->base : object->record;
	ormd_conflict *conflict = add(conflicts, session, object, theirs);
	orm_value value;

	if (!conflict)
		return;
	conflict->column = column;
	ormd_record_value(layout, base, column, &value);
	if (!orm_value_copy(&conflict->base, &value, conflicts->arena))
		conflicts->failed = true;
	ormd_record_value(layout, object->record, column, &value);
	if (!orm_value_copy(&conflict->theirs, &value, conflicts->arena))
		conflicts->failed = true;
	if (!orm_value_copy(&conflict->mine, mine, conflicts->arena))
		conflicts->failed = true;
}

static void add_object(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
		       ormd_mark theirs, bool deleted)
{
	ormd_conflict *conflict = add(conflicts, session, object, theirs);

	if (conflict)
		conflict->deleted = deleted;
}

static bool by_another(ormd_mark mark, uint32_t participant, uint64_t base)
{
	return mark.revision > base && ormd_mark_author(mark) != participant;
}

/* What is no longer remembered may have been anything: an edit that old has to be looked at again. */
static bool too_old(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object, uint64_t base)
{
	if (!session->name || base >= session->forgotten || (object->change && object->change->added.revision))
		return false;
	add_object(conflicts, session, object, (ormd_mark){.revision = session->forgotten}, false);
	return true;
}

bool ormd_conflict_check_column(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				uint16_t column, uint32_t participant, uint64_t base, const orm_value *mine)
{
	const ormd_change *change = object->change;
	const ormd_mark mark = change ? ormd_change_mark(change, column) : (ormd_mark){0};

	if (!by_another(mark, participant, base))
		return true;
	add_column(conflicts, session, object, column, mark, mine);
	return false;
}

bool ormd_conflict_check_object(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				uint32_t participant, uint64_t base)
{
	const ormd_change *change = object->change;

	if (object->state != ORMD_STATE_DELETED && object->state != ORMD_STATE_GONE)
		return !too_old(conflicts, session, object, base);
	if (!by_another(change->event, participant, base))
		return true;
	add_object(conflicts, session, object, change->event, true);
	return false;
}

bool ormd_conflict_check_deletion(ormd_conflicts *conflicts, const ormd_session *session, const ormd_object *object,
				  uint32_t participant, uint64_t base)
{
	const ormd_change *change = object->change;
	ormd_mark latest = {0};

	if (too_old(conflicts, session, object, base))
		return false;
	if (!change)
		return true;
	for (uint16_t i = 0; i < ormd_object_mapper(session, object)->n_columns; i++) {
		const ormd_mark mark = ormd_change_mark(change, i);

		/* What the server made (a version, a default) is no reason to keep the object. */
		if (by_another(mark, participant, base) && ormd_mark_author(mark) != 0 &&
		    mark.revision > latest.revision)
			latest = mark;
	}
	if (latest.revision == 0)
		return true;
	add_object(conflicts, session, object, latest, false);
	return false;
}

orm_status ormd_conflicts_fail(const ormd_conflicts *conflicts, const ormd_session *session, orm_error *error)
{
	const ormd_conflict *first = &conflicts->items[0];
	char key[sizeof((orm_error *)0)->key] = "";

	if (conflicts->failed)
		return orm_fail(error, ORM_ENOMEM, "out of memory for the conflicts of a draft");

	const uint32_t number = ormd_handles_peek(&session->handles, first->handle);
	const ormd_object *object = number ? ormd_objects_at(&session->objects, number) : NULL;
	const char *column = first->column != ORM_NO_NUMBER ? first->mapper->columns[first->column].name : NULL;

	if (object)
		ormd_record_key_print(ormd_object_layout(session, object), object->record, key, sizeof key);
	if (column)
		orm_fail(error, ORM_ECONFLICT,
			 "%s.%s of %s was changed by %s (participant %u) in the meantime; %zu conflict%s: choose whose "
			 "values stay",
			 first->mapper->name, column, key, first->author_name, (unsigned)first->author, conflicts->len,
			 conflicts->len == 1 ? "" : "s");
	else
		orm_fail(
			error, ORM_ECONFLICT,
			"%s %s was %s by %s (participant %u) in the meantime; %zu conflict%s: choose whose values stay",
			first->mapper->name, key, first->deleted ? "deleted" : "changed", first->author_name,
			(unsigned)first->author, conflicts->len, conflicts->len == 1 ? "" : "s");
	if (error)
		orm_error_at(error, first->mapper->name, column, key);
	return ORM_ECONFLICT;
}
