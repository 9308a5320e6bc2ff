/* SPDX-License-Identifier: MIT */
/* After the database has committed. Nothing here can fail: the commit has happened. */
#include "session/unit.h"

#include <assert.h>

void ormd_unit_settle_begin(ormd_session *session, uint32_t participant)
{
	ormd_unit_operation(session, participant);
}

/* The server set these columns. Without memory for marks, the whole object is said to be news: more than need be, but
 * nothing is missed. */
static void mark_columns(ormd_session *session, ormd_change *change, const uint16_t *columns, size_t n_columns)
{
	const ormd_mark mark = {.revision = session->revision};

	if (!ormd_change_need_marks(session, change)) {
		change->added = mark;
	} else {
		for (size_t i = 0; i < n_columns; i++)
			change->marks[columns[i]] = mark;
	}
	change->revision = session->revision;
	ormd_unit_also_news(session, 0);
}

void ormd_unit_set_server_integer(ormd_session *session, ormd_object *object, uint16_t column, int64_t integer)
{
	assert(ormd_object_pending(object) && object->record != object->change->base);
	ormd_record_set_integer(ormd_object_layout(session, object), object->record, column, integer);
	mark_columns(session, object->change, &column, 1);
}

void ormd_unit_set_server_record(ormd_session *session, ormd_object *object, ormd_record *record,
				 const uint16_t *columns, size_t n_columns)
{
	assert(ormd_object_pending(object) && object->record != object->change->base);
	ormd_record_free(object->record, &session->pool);
	object->record = record;
	mark_columns(session, object->change, columns, n_columns);
}

static void settle(ormd_session *session, ormd_change *change)
{
	ormd_object *object = change->object;

	ormd_change_remove(session, change);
	if (change->base != object->record)
		ormd_record_free(change->base, &session->pool);
	change->base = NULL;
	change->pending = false;
	change->order = 0;
	if (object->state == ORMD_STATE_DELETED) {
		ormd_object_leave_keys(session, object);
		object->state = ORMD_STATE_GONE;
		change->event = (ormd_mark){.revision = session->revision};
		change->event_kind = ORMD_EVENT_GONE;
		ormd_unit_also_news(session, 0);
	} else if (object->state == ORMD_STATE_NEW && !session->name && !change->marks &&
		   change->revision < session->revision) {
		/* The one participant added it, and knows all of it. */
		ormd_change_free(session, change);
		object->change = NULL;
		object->state = ORMD_STATE_PERSISTENT;
		return;
	} else {
		object->state = ORMD_STATE_PERSISTENT;
	}
	change->revision = session->revision;
	ormd_change_append(session, change);
}

void ormd_unit_settle(ormd_session *session, uint32_t participant)
{
	while (session->pending.first)
		settle(session, session->pending.first);
	for (uint16_t i = 0; i < session->registry->n_mappers; i++)
		session->mappers[i].n_new = session->mappers[i].n_changed = session->mappers[i].n_deleted = 0;
	session->epoch++;
	ormd_notice_put(session, ORMD_NOTICE_COMMITTED, participant, "committed");
}
