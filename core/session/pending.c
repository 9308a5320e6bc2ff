/* SPDX-License-Identifier: MIT */
/* The pending changes, for people. */
#include "session/unit.h"

#include "base/error.h"

#define MAX_SHOWN 200 /* characters of a value */

static char *print_cell(const ormd_layout *layout, const ormd_record *record, uint16_t column, orm_arena *arena,
			bool *failed)
{
	orm_buffer text;
	orm_value value;
	char *copy = NULL;

	ormd_record_value(layout, record, column, &value);
	if (value.null)
		return NULL;
	orm_buffer_init(&text);
	orm_value_print(&value, MAX_SHOWN, &text);
	if (!text.failed)
		copy = orm_arena_strndup(arena, text.data, text.size);
	orm_buffer_fini(&text);
	*failed |= !copy;
	return copy;
}

static bool is_shown(const ormd_layout *layout, const ormd_object *object, uint16_t column)
{
	const ormd_record *base = object->change->base;

	if (object->state == ORMD_STATE_NEW)
		return !ormd_record_is_null(layout, object->record, column);
	return object->state == ORMD_STATE_PERSISTENT && base &&
	       !ormd_record_cell_equal(layout, base, object->record, column);
}

static bool list_fields(const ormd_session *session, const ormd_object *object, orm_arena *arena,
			ormd_pending_object *out)
{
	const ormd_layout *layout = ormd_object_layout(session, object);
	ormd_pending_field *fields;
	bool failed = false;
	size_t n = 0;

	for (uint16_t i = 0; i < layout->n_columns; i++)
		n += is_shown(layout, object, i);
	fields = orm_arena_calloc(arena, n, sizeof *fields);
	if (!fields)
		return false;
	out->fields = fields;
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		const ormd_mark mark = ormd_change_mark(object->change, i);

		if (!is_shown(layout, object, i))
			continue;
		fields[out->n_fields++] = (ormd_pending_field){
			.column = layout->mapper->columns[i].name,
			.before = object->change->base ? print_cell(layout, object->change->base, i, arena, &failed)
						       : NULL,
			.after = print_cell(layout, object->record, i, arena, &failed),
			.author = orm_arena_strdup(arena, ormd_participant_name(session, ormd_mark_author(mark))),
			.revision = mark.revision,
		};
		failed |= !fields[out->n_fields - 1].author;
	}
	return !failed;
}

/* Who did it: added or deleted it, or changed it last. */
static uint32_t author_of(const ormd_session *session, const ormd_object *object)
{
	ormd_mark latest = object->state == ORMD_STATE_DELETED ? object->change->event : object->change->added;

	for (uint16_t i = 0;
	     i < ormd_object_mapper(session, object)->n_columns && object->state == ORMD_STATE_PERSISTENT; i++) {
		const ormd_mark mark = ormd_change_mark(object->change, i);

		if (mark.revision > latest.revision)
			latest = mark;
	}
	return ormd_mark_author(latest);
}

static bool list_object(const ormd_session *session, const ormd_object *object, orm_arena *arena,
			ormd_pending_object *out)
{
	char key[sizeof((orm_error *)0)->key];

	ormd_record_key_print(ormd_object_layout(session, object), object->record, key, sizeof key);
	*out = (ormd_pending_object){
		.model = ormd_object_mapper(session, object)->name,
		.key = orm_arena_strdup(arena, key),
		.change = object->state == ORMD_STATE_NEW       ? "new"
			  : object->state == ORMD_STATE_DELETED ? "deleted"
								: "changed",
		.author = orm_arena_strdup(arena, ormd_participant_name(session, author_of(session, object))),
		.handle = object->handle,
	};
	return out->key && out->author && list_fields(session, object, arena, out);
}

orm_status ormd_session_pending(const ormd_session *session, size_t limit, orm_arena *arena,
				const ormd_pending_object **objects, size_t *n_objects, bool *truncated,
				orm_error *error)
{
	const size_t n = session->pending.len < limit ? session->pending.len : limit;
	ormd_pending_object *items = orm_arena_calloc(arena, n, sizeof *items);
	const ormd_change *change = session->pending.first;
	bool listed = items != NULL;

	for (size_t i = 0; i < n && listed; i++, change = change->next)
		listed = list_object(session, change->object, arena, &items[i]);
	if (!listed)
		return orm_fail(error, ORM_ENOMEM, "out of memory for the list of pending changes");
	*objects = items;
	*n_objects = n;
	*truncated = n < session->pending.len;
	return ORM_OK;
}
