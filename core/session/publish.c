/* SPDX-License-Identifier: MIT */
#include "session/publish.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/fail.h"

/* ---- failing ---- */

orm_status ormd_publish_fault(ormd_publish *publish, const ormd_object *object, uint64_t handle, orm_status status)
{
	publish->published->fault_handle = handle;
	if (object && publish->error) {
		char key[sizeof publish->error->key];

		ormd_record_key_print(ormd_object_layout(publish->session, object), object->record, key, sizeof key);
		orm_error_at(publish->error, NULL, NULL, key);
	}
	return status;
}

orm_status ormd_publish_no_memory(ormd_publish *publish)
{
	return orm_fail(publish->error, ORM_ENOMEM, "out of memory for a draft");
}

orm_status ormd_publish_check_memory(ormd_publish *publish)
{
	const ormd_session *session = publish->session;

	if (!session->max_memory || ormd_unit_memory(session) <= session->max_memory)
		return ORM_OK;
	return orm_fail(
		publish->error, ORM_ELIMIT,
		"the session would take more than its %zu bytes of memory: commit in smaller units, or raise the limit",
		session->max_memory);
}

/* ---- touching what is there ---- */

orm_status ormd_publish_touch(ormd_publish *publish, ormd_object *object)
{
	ormd_session *session = publish->session;
	ormd_change *old = object->change;

	if (old && old->draft == session->draft)
		return ORM_OK;
	if (publish->n_touched == publish->max_touched) {
		const size_t max = publish->max_touched ? publish->max_touched * 2 : 16;
		ormd_touched *touched = realloc(publish->touched, max * sizeof *touched);

		if (!touched)
			return ormd_publish_no_memory(publish);
		publish->touched = touched;
		publish->max_touched = max;
	}

	ormd_change *change = ormd_change_new(session, object);

	if (!change)
		return ormd_publish_no_memory(publish);
	if (old) {
		*change = *old;
		change->marks = NULL;
		if (old->marks) {
			if (!ormd_change_need_marks(session, change)) {
				ormd_change_free(session, change);
				return ormd_publish_no_memory(publish);
			}
			memcpy(change->marks, old->marks,
			       ormd_object_mapper(session, object)->n_columns * sizeof *change->marks);
		}
		ormd_change_remove(session, old);
	}
	if (!(old && old->pending) && object->state == ORMD_STATE_PERSISTENT)
		change->base = object->record;
	change->pending = true;
	change->revision = publish->mark.revision;
	change->draft = session->draft;
	publish->touched[publish->n_touched++] = (ormd_touched){object, object->record, old, object->state};
	object->change = change;
	ormd_change_append(session, change);
	return ORM_OK;
}

orm_status ormd_publish_replace(ormd_publish *publish, ormd_object *object, ormd_record *record)
{
	if (!record)
		return ormd_publish_no_memory(publish);
	if (object->flags & ORMD_FLAG_OWN_RECORD)
		ormd_record_free(object->record, &publish->session->pool);
	object->record = record;
	object->flags |= ORMD_FLAG_OWN_RECORD;
	return ORM_OK;
}

/* ---- deletions ---- */

orm_status ormd_publish_delete(ormd_publish *publish, ormd_object *object, uint64_t base, ormd_mark mark)
{
	const orm_status status = ormd_publish_touch(publish, object);

	if (status != ORM_OK)
		return status;
	if (publish->n_deletions == publish->max_deletions) {
		const size_t max = publish->max_deletions ? publish->max_deletions * 2 : 16;
		ormd_deletion *deletions = realloc(publish->deletions, max * sizeof *deletions);

		if (!deletions)
			return ormd_publish_no_memory(publish);
		publish->deletions = deletions;
		publish->max_deletions = max;
	}
	publish->deletions[publish->n_deletions++] = (ormd_deletion){object, base};

	const bool added = object->state == ORMD_STATE_NEW;

	object->change->event = mark;
	object->change->event_kind = added ? ORMD_EVENT_GONE : ORMD_EVENT_DELETED;
	object->state = added ? ORMD_STATE_GONE : ORMD_STATE_DELETED;
	return ORM_OK;
}

orm_status ormd_publish_check_base(ormd_publish *publish, const orm_mapper *mapper, uint64_t base)
{
	if (base <= publish->session->revision)
		return ORM_OK;
	return orm_fail_at(publish->error, ORM_EINVAL, mapper->name, NULL,
			   "edits cannot be based on revision %llu: the session is at %llu", (unsigned long long)base,
			   (unsigned long long)publish->session->revision);
}

static orm_status apply_deletes(ormd_publish *publish, const ormd_deletes *deletes)
{
	orm_status status = ormd_publish_check_base(publish, deletes->mapper, deletes->base);

	if (status != ORM_OK)
		return status;
	for (size_t i = 0; i < deletes->n_handles; i++) {
		ormd_object *object = ormd_unit_by_handle(publish->session, deletes->handles[i]);

		if (!object || object->mapper != deletes->mapper->number)
			return ormd_publish_fault(publish, NULL, deletes->handles[i],
						  orm_fail_at(publish->error, ORM_EINVAL, deletes->mapper->name, NULL,
							      "the object to delete is not in the session"));
		if (object->state == ORMD_STATE_DELETED || object->state == ORMD_STATE_GONE)
			continue; /* two who delete the same agree */
		if (!ormd_conflict_check_deletion(&publish->conflicts, publish->session, object, publish->participant,
						  deletes->base))
			continue;
		status = ormd_publish_delete(publish, object, deletes->base, publish->mark);
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

/* ---- the end ---- */

static void undo(ormd_publish *publish)
{
	ormd_session *session = publish->session;

	for (size_t i = publish->n_created; i-- > 0;)
		ormd_object_free(session, publish->created[i]);
	for (size_t i = publish->n_touched; i-- > 0;) {
		const ormd_touched *touched = &publish->touched[i];
		ormd_object *object = touched->object;
		const bool rekey = publish->rekeying && (object->flags & ORMD_FLAG_REKEYED);

		if (rekey)
			ormd_object_leave_keys(session, object);
		ormd_change_remove(session, object->change);
		ormd_change_free(session, object->change);
		if (object->flags & ORMD_FLAG_OWN_RECORD)
			ormd_record_free(object->record, &session->pool);
		object->record = touched->record;
		object->change = touched->change;
		object->state = touched->state;
		object->flags &= ORMD_FLAG_KEYED;
		if (object->change)
			ormd_change_insert(session, object->change, object->change->previous);
		if (rekey)
			ormd_object_enter_keys(session, object, ormd_object_hash(session, object, object->record));
	}
}

/* Added and deleted within the unit: it leaves, and is only remembered for those who saw it. */
static void leave(ormd_session *session, ormd_object *object)
{
	ormd_object_leave_keys(session, object);
	ormd_change_remove(session, object->change);
	object->change->pending = false;
	ormd_change_append(session, object->change);
}

static void keep(ormd_publish *publish)
{
	ormd_session *session = publish->session;

	for (size_t i = 0; i < publish->n_touched; i++) {
		const ormd_touched *touched = &publish->touched[i];
		ormd_object *object = touched->object;

		if (touched->change && touched->change->pending)
			ormd_unit_count(session, object, touched->state, -1);
		if (object->state == ORMD_STATE_GONE)
			leave(session, object);
		else
			ormd_unit_count(session, object, object->state, 1);
		if (touched->record != object->record && touched->record != object->change->base)
			ormd_record_free(touched->record, &session->pool);
		ormd_change_free(session, touched->change);
		object->flags &= ORMD_FLAG_KEYED;
	}
	for (size_t i = 0; i < publish->n_created; i++) {
		ormd_object *object = publish->created[i];

		if (object->state == ORMD_STATE_GONE)
			leave(session, object);
		else
			ormd_unit_count(session, object, ORMD_STATE_NEW, 1);
		object->flags &= ORMD_FLAG_KEYED;
	}
}

static void tell(ormd_publish *publish)
{
	size_t n_changed = 0;
	char text[96];

	for (size_t i = 0; i < publish->n_touched; i++)
		n_changed += publish->touched[i].object->state == ORMD_STATE_NEW ||
			     publish->touched[i].object->state == ORMD_STATE_PERSISTENT;
	snprintf(text, sizeof text, "published %zu new, %zu changed, %zu deleted", publish->n_created, n_changed,
		 publish->n_deletions);
	ormd_notice_put(publish->session, ORMD_NOTICE_PUBLISHED, publish->participant, text);
}

static orm_status apply_all(ormd_publish *publish)
{
	const ormd_draft *draft = publish->draft;
	orm_status status = ORM_OK;

	for (size_t i = 0; i < draft->n_deletes && status == ORM_OK; i++)
		status = apply_deletes(publish, &draft->deletes[i]);
	for (size_t i = 0; i < draft->n_adds && status == ORM_OK; i++)
		status = ormd_publish_adds(publish, &draft->adds[i]);
	for (size_t i = 0; i < draft->n_updates && status == ORM_OK; i++)
		status = ormd_publish_updates(publish, &draft->updates[i]);
	if (status == ORM_OK)
		status = ormd_publish_follow_references(publish);
	if (status == ORM_OK)
		status = ormd_publish_cascade(publish);
	if (status == ORM_OK && publish->conflicts.len == 0)
		status = ormd_publish_change_keys(publish);
	if (status == ORM_OK && (publish->conflicts.len > 0 || publish->conflicts.failed)) {
		publish->published->conflicts = publish->conflicts.items;
		publish->published->n_conflicts = publish->conflicts.len;
		status = ormd_conflicts_fail(&publish->conflicts, publish->session, publish->error);
	}
	return status;
}

static bool is_empty(const ormd_draft *draft, size_t *n_adds)
{
	size_t n = 0;

	*n_adds = 0;
	for (size_t i = 0; i < draft->n_adds; i++)
		*n_adds += draft->adds[i].values.n_rows;
	for (size_t i = 0; i < draft->n_updates; i++)
		n += draft->updates[i].values.n_rows;
	for (size_t i = 0; i < draft->n_deletes; i++)
		n += draft->deletes[i].n_handles;
	return n + *n_adds == 0;
}

orm_status ormd_publish_apply(ormd_session *session, uint32_t participant, uint64_t seen, const ormd_draft *draft,
			      orm_arena *arena, ormd_published *published, orm_error *error)
{
	ormd_publish publish = {
		.session = session,
		.participant = participant,
		.seen = seen,
		.mark = {session->revision + 1, participant},
		.draft = draft,
		.arena = arena,
		.published = published,
		.error = error,
		.conflicts = {.arena = arena},
	};
	size_t n_adds;
	orm_status status = ORM_OK;

	if (is_empty(draft, &n_adds))
		return ORM_OK;
	orm_arena_init(&publish.scratch, 0);
	if (++session->draft == 0)
		session->draft = 1;
	if (n_adds > 0) {
		publish.created =
			n_adds <= SIZE_MAX / sizeof *publish.created ? malloc(n_adds * sizeof *publish.created) : NULL;
		if (!publish.created)
			status = ormd_publish_no_memory(&publish);
	}
	if (status == ORM_OK)
		status = apply_all(&publish);
	if (status == ORM_OK)
		status = ormd_publish_check_memory(&publish);
	if (status == ORM_OK) {
		keep(&publish);
		ormd_unit_operation(session, participant);
		assert(session->revision == publish.mark.revision);
		if (publish.cascaded)
			ormd_unit_also_news(session, 0);
		tell(&publish);
	} else {
		undo(&publish);
		published->keys = NULL;
		published->n_keys = 0;
	}
	free(publish.created);
	free(publish.touched);
	free(publish.deletions);
	orm_arena_fini(&publish.scratch);
	return status;
}

orm_status ormd_session_publish(ormd_session *session, uint32_t participant, uint64_t seen, const ormd_draft *draft,
				orm_arena *arena, ormd_published *published, orm_error *error)
{
	ormd_participant *publisher;
	orm_status status = ormd_participant_saw(session, participant, seen, &publisher, error);

	*published = (ormd_published){0};
	if (status == ORM_OK)
		status = ormd_session_check_writable(session, error);
	if (status == ORM_OK)
		status = ormd_session_check_seen(session, participant, seen, error);
	return status == ORM_OK ? ormd_publish_apply(session, participant, seen, draft, arena, published, error)
				: status;
}
