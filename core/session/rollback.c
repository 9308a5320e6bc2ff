/* SPDX-License-Identifier: MIT */
#include "session/transaction.h"

#include <stdlib.h>
#include <string.h>

/* Back to the base record; what differed is news to everybody. */
static void restore_values(ormd_session *session, ormd_change *change)
{
	ormd_object *object = change->object;
	const ormd_layout *layout = ormd_object_layout(session, object);

	if (!change->base || change->base == object->record)
		return;
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		if (!ormd_record_cell_equal(layout, object->record, change->base, i))
			change->marks[i] = (ormd_mark){.revision = session->revision};
	}
	ormd_record_free(object->record, &session->pool);
	object->record = change->base;
}

static void roll_back(ormd_session *session, ormd_change *change)
{
	ormd_object *object = change->object;
	const ormd_mark mark = {.revision = session->revision};

	ormd_change_remove(session, change);
	if (object->state == ORMD_STATE_NEW) {
		object->state = ORMD_STATE_GONE;
		change->event = mark;
		change->event_kind = ORMD_EVENT_GONE;
	} else {
		if (object->state == ORMD_STATE_DELETED) {
			change->event = mark;
			change->event_kind = ORMD_EVENT_RESTORED;
		}
		restore_values(session, change);
		object->state = ORMD_STATE_PERSISTENT;
	}
	change->base = NULL;
	change->pending = false;
	change->order = 0;
	change->revision = session->revision;
	ormd_change_append(session, change);
}

/* Is its current key not the committed one? */
static bool loses_key(const ormd_session *session, const ormd_change *change)
{
	const ormd_object *object = change->object;

	return !change->base ||
	       (change->base != object->record &&
		!ormd_record_same_key(ormd_object_layout(session, object), change->base, object->record));
}

static void tell_participants(ormd_session *session, uint32_t by, const char *reason)
{
	for (size_t i = 0; i < session->n_participants; i++) {
		ormd_participant *participant = &session->participants[i];

		if (participant->departed || participant->number == by)
			continue;
		free(participant->aborted_why);
		participant->aborted = session->revision;
		participant->aborted_by = by;
		participant->aborted_why =
			reason ? strdup(reason) : NULL; /* without memory: aborted all the same, unexplained */
	}
}

void ormd_unit_rollback(ormd_session *session, uint32_t participant, const char *reason)
{
	if (session->pending.len == 0)
		return;
	ormd_unit_operation(session, participant);
	ormd_unit_also_news(session, 0);

	/* All changed keys leave before any returns: the unit may have exchanged them. */
	for (ormd_change *change = session->pending.first; change; change = change->next) {
		if (loses_key(session, change))
			ormd_object_leave_keys(session, change->object);
	}
	while (session->pending.first)
		roll_back(session, session->pending.first);
	for (ormd_change *change = session->settled.last; change && change->revision == session->revision;
	     change = change->previous) {
		if (change->object->state == ORMD_STATE_PERSISTENT && !(change->object->flags & ORMD_FLAG_KEYED))
			ormd_object_enter_keys(session, change->object,
					       ormd_object_hash(session, change->object, change->object->record));
	}
	for (uint16_t i = 0; i < session->registry->n_mappers; i++)
		session->mappers[i].n_new = session->mappers[i].n_changed = session->mappers[i].n_deleted = 0;
	session->epoch++;
	tell_participants(session, participant, reason);
	ormd_notice_put(session, ORMD_NOTICE_ROLLED_BACK, participant, reason ? reason : "rolled back");
}

/* A participant that was aborted by another's rollback says here that it knows; what others published since then is not
 * its to undo. */
void ormd_session_rollback(ormd_session *session, uint32_t number)
{
	ormd_participant *participant = ormd_participant_find(session, number);

	if (!participant)
		return;
	if (session->staged && ormd_staged_participant(session->staged) == number)
		ormd_draft_cancel(session);
	if (participant->aborted) {
		participant->aborted = 0;
		free(participant->aborted_why);
		participant->aborted_why = NULL;
		return;
	}
	ormd_unit_rollback(session, number, NULL);
	ormd_transaction_end(session);
}
