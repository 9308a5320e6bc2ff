/* SPDX-License-Identifier: MIT */
/*
 * Drafts that come in parts. A part is kept, and everything is applied at the end as one draft. So others see nothing
 * before, parts may refer to each other in any order, and to cancel is to forget.
 */
#include <stdlib.h>

#include "base/error.h"
#include "session/publish.h"

struct ormd_staged {
	uint32_t participant;
	uint64_t seen;
	orm_arena arena; /* copies of the parts */
	ormd_adds *adds;
	ormd_updates *updates;
	ormd_deletes *deletes;
	size_t n_adds, max_adds, n_updates, max_updates, n_deletes, max_deletes;
};

void ormd_staged_free(ormd_staged *staged)
{
	if (!staged)
		return;
	orm_arena_fini(&staged->arena);
	free(staged);
}

uint32_t ormd_staged_participant(const ormd_staged *staged)
{
	return staged->participant;
}

orm_status ormd_draft_begin(ormd_session *session, uint32_t participant, uint64_t seen, orm_error *error)
{
	ormd_participant *publisher;
	orm_status status = ormd_participant_saw(session, participant, seen, &publisher, error);

	if (status == ORM_OK)
		status = ormd_session_check_writable(session, error);
	if (status == ORM_OK)
		status = ormd_session_check_seen(session, participant, seen, error);
	if (status != ORM_OK)
		return status;
	if (session->staged && session->staged->participant != participant)
		return orm_fail(error, ORM_ESTATE,
				"%s (participant %u) is publishing a large draft; try again when it is through",
				ormd_participant_name(session, session->staged->participant),
				(unsigned)session->staged->participant);
	ormd_draft_cancel(session);
	session->staged = calloc(1, sizeof *session->staged);
	if (!session->staged)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a draft");
	session->staged->participant = participant;
	session->staged->seen = seen;
	orm_arena_init(&session->staged->arena, session->max_memory);
	return ORM_OK;
}

/* ---- copies ---- */

/* Room for one more; in the arena, since the whole ends together. */
static bool make_room(orm_arena *arena, void *list, size_t len, size_t *max, size_t size)
{
	void *items;

	if (len < *max)
		return true;

	const size_t more = *max ? *max * 2 : 8;
	void *grown = orm_arena_alloc(arena, more * size);

	if (!grown)
		return false;
	memcpy(&items, list, sizeof items);
	if (len > 0)
		memcpy(grown, items, len * size);
	memcpy(list, &grown, sizeof grown);
	*max = more;
	return true;
}

static bool copy_vector(orm_vector *to, const orm_vector *from, size_t n_rows, orm_arena *arena)
{
	const size_t width = orm_type_size((orm_type)from->type);

	*to = *from;
	to->cells = orm_arena_memdup(arena, from->cells, width ? n_rows * width : from->size);
	to->nulls = from->nulls ? orm_arena_memdup(arena, from->nulls, (n_rows + 7) / 8) : NULL;
	to->ends = from->ends ? orm_arena_memdup(arena, from->ends, n_rows * sizeof *from->ends) : NULL;
	return to->cells && (to->nulls || !from->nulls) && (to->ends || !from->ends);
}

static bool copy_batch(orm_batch *to, const orm_batch *from, orm_arena *arena)
{
	orm_vector *vectors = orm_arena_alloc(arena, from->n_vectors * sizeof *vectors);

	if (!vectors)
		return false;
	*to = *from;
	to->vectors = vectors;
	for (size_t i = 0; i < from->n_vectors; i++) {
		if (!copy_vector(&vectors[i], &from->vectors[i], from->n_rows, arena))
			return false;
	}
	return true;
}

static bool copy_handles(const uint64_t **to, const uint64_t *from, size_t n, orm_arena *arena)
{
	*to = from ? orm_arena_memdup(arena, from, n * sizeof *from) : NULL;
	return *to || !from;
}

static bool copy_references(const ormd_references **to, const ormd_references *from, size_t n, size_t n_rows,
			    orm_arena *arena)
{
	ormd_references *references = orm_arena_alloc(arena, n * sizeof *references);

	if (!references)
		return false;
	*to = references;
	for (size_t i = 0; i < n; i++) {
		references[i] = from[i];
		if (!copy_handles(&references[i].targets, from[i].targets, n_rows, arena))
			return false;
	}
	return true;
}

/* ---- parts ---- */

static orm_status no_room(const ormd_session *session, orm_error *error)
{
	if (session->staged->arena.exhausted)
		return orm_fail(error, ORM_ELIMIT,
				"the draft is larger than the session's %zu bytes of memory: publish in smaller units",
				session->max_memory);
	return orm_fail(error, ORM_ENOMEM, "out of memory for a draft");
}

static orm_status stage_adds(ormd_session *session, const ormd_adds *adds, orm_error *error)
{
	ormd_staged *staged = session->staged;

	if (!make_room(&staged->arena, &staged->adds, staged->n_adds, &staged->max_adds, sizeof *staged->adds))
		return no_room(session, error);

	ormd_adds *copy = &staged->adds[staged->n_adds];

	*copy = *adds;
	if (!copy_batch(&copy->values, &adds->values, &staged->arena) ||
	    !copy_handles(&copy->handles, adds->handles, adds->values.n_rows, &staged->arena) ||
	    !copy_references(&copy->references, adds->references, adds->n_references, adds->values.n_rows,
			     &staged->arena))
		return no_room(session, error);
	staged->n_adds++;
	return ORM_OK;
}

static orm_status stage_updates(ormd_session *session, const ormd_updates *updates, orm_error *error)
{
	ormd_staged *staged = session->staged;

	if (!make_room(&staged->arena, &staged->updates, staged->n_updates, &staged->max_updates,
		       sizeof *staged->updates))
		return no_room(session, error);

	ormd_updates *copy = &staged->updates[staged->n_updates];

	*copy = *updates;
	if (!copy_batch(&copy->values, &updates->values, &staged->arena) ||
	    !copy_handles(&copy->handles, updates->handles, updates->values.n_rows, &staged->arena) ||
	    !copy_references(&copy->references, updates->references, updates->n_references, updates->values.n_rows,
			     &staged->arena))
		return no_room(session, error);
	staged->n_updates++;
	return ORM_OK;
}

static orm_status stage_deletes(ormd_session *session, const ormd_deletes *deletes, orm_error *error)
{
	ormd_staged *staged = session->staged;

	if (!make_room(&staged->arena, &staged->deletes, staged->n_deletes, &staged->max_deletes,
		       sizeof *staged->deletes))
		return no_room(session, error);

	ormd_deletes *copy = &staged->deletes[staged->n_deletes];

	*copy = *deletes;
	if (!copy_handles(&copy->handles, deletes->handles, deletes->n_handles, &staged->arena))
		return no_room(session, error);
	staged->n_deletes++;
	return ORM_OK;
}

static orm_status check_open(const ormd_session *session, orm_error *error)
{
	return session->staged ? ORM_OK
			       : orm_fail(error, ORM_ESTATE,
					  "no draft in parts is open: it was ended or cancelled; publish it anew");
}

orm_status ormd_draft_part(ormd_session *session, const ormd_draft *draft, orm_arena *arena, ormd_published *published,
			   orm_error *error)
{
	orm_status status = check_open(session, error);

	(void)arena;
	*published = (ormd_published){0}; /* all is said at the end */
	for (size_t i = 0; i < draft->n_adds && status == ORM_OK; i++)
		status = stage_adds(session, &draft->adds[i], error);
	for (size_t i = 0; i < draft->n_updates && status == ORM_OK; i++)
		status = stage_updates(session, &draft->updates[i], error);
	for (size_t i = 0; i < draft->n_deletes && status == ORM_OK; i++)
		status = stage_deletes(session, &draft->deletes[i], error);
	if (status != ORM_OK)
		ormd_draft_cancel(session);
	return status;
}

orm_status ormd_draft_end(ormd_session *session, orm_arena *arena, ormd_published *published, orm_error *error)
{
	orm_status status = check_open(session, error);
	ormd_staged *staged = session->staged;

	*published = (ormd_published){0};
	if (status != ORM_OK)
		return status;
	session->staged = NULL;

	const ormd_draft draft = {.adds = staged->adds,
				  .n_adds = staged->n_adds,
				  .updates = staged->updates,
				  .n_updates = staged->n_updates,
				  .deletes = staged->deletes,
				  .n_deletes = staged->n_deletes};

	status = ormd_session_check_seen(session, staged->participant, staged->seen, error);
	if (status == ORM_OK)
		status =
			ormd_publish_apply(session, staged->participant, staged->seen, &draft, arena, published, error);
	ormd_staged_free(staged);
	return status;
}

void ormd_draft_cancel(ormd_session *session)
{
	ormd_staged_free(session->staged);
	session->staged = NULL;
}
