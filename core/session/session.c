/* SPDX-License-Identifier: MIT */
#include "session/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "session/transaction.h"

static bool init_mappers(ormd_session *session)
{
	const orm_registry *registry = session->registry;

	session->mappers = orm_arena_calloc(&session->arena, registry->n_mappers, sizeof *session->mappers);
	if (!session->mappers)
		return false;
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		if (!ormd_layout_init(&session->mappers[i].layout, &registry->mappers[i], &session->arena))
			return false;
		session->mappers[i].next_key = 1;
	}
	return true;
}

ormd_session *ormd_session_new(const orm_registry *registry, ormd_database *database,
			       const ormd_session_options *options, orm_error *error)
{
	ormd_session *session = calloc(1, sizeof *session);

	if (!session) {
		orm_fail(error, ORM_ENOMEM, "out of memory for a session");
		return NULL;
	}
	session->registry = registry;
	session->database = database;
	session->on_death = options->on_death;
	session->max_memory = options->max_memory;
	session->read_only = options->read_only;
	session->isolation = options->isolation;
	session->max_transaction_ms = options->max_transaction_ms;
	session->pin_until_us = ORM_NO_DEADLINE;
	session->epoch = 1;
	session->next_order = 1;
	session->next_handle = 1;
	session->next_participant = 1;
	orm_arena_init(&session->arena, 0);
	orm_pool_init(&session->pool);
	orm_pool_init(&session->changes);
	ormd_objects_init(&session->objects);
	ormd_handles_init(&session->handles);
	session->name = options->name ? strdup(options->name) : NULL;
	if ((options->name && !session->name) || !init_mappers(session)) {
		ormd_session_free(session);
		orm_fail(error, ORM_ENOMEM, "out of memory for a session");
		return NULL;
	}
	return session;
}

void ormd_session_free(ormd_session *session)
{
	if (!session)
		return;
	ormd_transaction_end(session);
	ormd_staged_free(session->staged);
	ormd_participants_fini(session);
	if (session->mappers) {
		for (uint16_t i = 0; i < session->registry->n_mappers; i++)
			ormd_keys_fini(&session->mappers[i].keys);
	}
	ormd_handles_fini(&session->handles);
	ormd_objects_fini(&session->objects);
	orm_pool_fini(&session->pool);
	orm_pool_fini(&session->changes);
	orm_arena_fini(&session->arena);
	free(session->name);
	free(session);
}

void ormd_session_set_fence(ormd_session *session, int64_t fence)
{
	session->fence = fence;
}

const orm_registry *ormd_session_registry(const ormd_session *session)
{
	return session->registry;
}

const char *ormd_session_name(const ormd_session *session)
{
	return session->name;
}

size_t ormd_session_n_pending(const ormd_session *session)
{
	return session->pending.len;
}

orm_status ormd_session_check_writable(const ormd_session *session, orm_error *error)
{
	return session->read_only ? orm_fail(error, ORM_EPERM,
					     "the session was opened read-only: nothing can be added, changed, deleted "
					     "or locked in it; open another for that")
				  : ORM_OK;
}

uint64_t ormd_session_revision(const ormd_session *session)
{
	return session->revision;
}

void ormd_session_info_get(const ormd_session *session, ormd_session_info *info)
{
	*info = (ormd_session_info){
		.revision = session->revision,
		.memory = ormd_unit_memory(session),
		.on_death = session->on_death,
		.in_transaction = session->pin != NULL,
		.in_transaction_us = session->pin ? orm_clock_us() - session->pinned_us : 0,
	};
	for (uint16_t i = 0; i < session->registry->n_mappers; i++) {
		const ormd_mapper_unit *unit = &session->mappers[i];

		info->n_objects += unit->keys.len;
		info->n_new += unit->n_new;
		info->n_changed += unit->n_changed;
		info->n_deleted += unit->n_deleted;
	}
}
