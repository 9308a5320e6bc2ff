/* SPDX-License-Identifier: MIT */
/* What a participant has not seen, computed from the changes themselves: nothing can be missed, and what happened
 * several times comes once. */
#include "session/unit.h"

#include "base/error.h"
#include "base/map.h"

/* Objects of one mapper with the same columns to tell. */
typedef struct row_group {
	const orm_mapper *mapper;
	const uint16_t *columns; /* NULL: all, the objects are new to the reader */
	size_t n_columns;
	uint64_t hash;
	ormd_object **objects; /* arena */
	size_t len, max;
} row_group;

typedef struct handle_list {
	uint64_t *items; /* arena */
	size_t len, max;
} handle_list;

typedef struct sync_gathering {
	ormd_session *session;
	uint32_t participant;
	orm_arena *arena;
	orm_map groups;      /* of changed ones */
	row_group **added;   /* by mapper; NULL: none yet */
	row_group **changed; /* in order of appearance */
	size_t n_changed, max_changed;
	handle_list gone, deleted, restored;
	uint16_t columns[ORM_MAX_COLUMNS]; /* of the object being looked at */
	size_t n_columns;
	uint64_t floor; /* what the reader has seen */
} sync_gathering;

bool ormd_session_has_news(const ormd_session *session, uint32_t participant, uint64_t seen)
{
	return (session->news_author == participant ? session->other_news : session->news) > seen;
}

static bool is_news(const sync_gathering *gathering, ormd_mark mark)
{
	return mark.revision > gathering->floor && mark.author != gathering->participant;
}

static void *grow(orm_arena *arena, void *items, size_t len, size_t *max, size_t size)
{
	const size_t more = *max ? *max * 2 : 16;
	void *grown = orm_arena_alloc(arena, more * size);

	if (!grown)
		return NULL;
	if (len > 0)
		memcpy(grown, items, len * size);
	*max = more;
	return grown;
}

static bool put_handle(sync_gathering *gathering, handle_list *list, uint64_t handle)
{
	if (list->len == list->max) {
		uint64_t *items = grow(gathering->arena, list->items, list->len, &list->max, sizeof *items);

		if (!items)
			return false;
		list->items = items;
	}
	list->items[list->len++] = handle;
	return true;
}

static bool put_object(sync_gathering *gathering, row_group *group, ormd_object *object)
{
	if (group->len == group->max) {
		ormd_object **objects =
			grow(gathering->arena, group->objects, group->len, &group->max, sizeof *objects);

		if (!objects)
			return false;
		group->objects = objects;
	}
	group->objects[group->len++] = object;
	return true;
}

static row_group *added_group(sync_gathering *gathering, const orm_mapper *mapper)
{
	row_group **found = &gathering->added[mapper->number];

	if (!*found) {
		*found = orm_arena_calloc(gathering->arena, 1, sizeof **found);
		if (*found)
			(*found)->mapper = mapper;
	}
	return *found;
}

static bool same_columns(const void *value, const void *key)
{
	const row_group *have = value;
	const row_group *wanted = key;

	return have->mapper == wanted->mapper && have->n_columns == wanted->n_columns &&
	       memcmp(have->columns, wanted->columns, wanted->n_columns * sizeof *wanted->columns) == 0;
}

static row_group *changed_group(sync_gathering *gathering, const orm_mapper *mapper)
{
	const row_group wanted = {
		.mapper = mapper,
		.columns = gathering->columns,
		.n_columns = gathering->n_columns,
		.hash = orm_hash_bytes(gathering->columns, gathering->n_columns * sizeof gathering->columns[0]) ^
			orm_hash_u64(mapper->number),
	};
	row_group *found = gathering->n_changed ? gathering->changed[gathering->n_changed - 1] : NULL;

	if (found && same_columns(found, &wanted))
		return found;
	found = orm_map_get(&gathering->groups, wanted.hash, same_columns, &wanted);
	if (found)
		return found;
	found = orm_arena_alloc(gathering->arena, sizeof *found);
	if (!found)
		return NULL;
	*found = wanted;
	found->columns = orm_arena_memdup(gathering->arena, gathering->columns,
					  gathering->n_columns * sizeof gathering->columns[0]);
	if (!found->columns || !orm_map_put(&gathering->groups, found->hash, found))
		return NULL;
	if (gathering->n_changed == gathering->max_changed) {
		row_group **changed = grow(gathering->arena, gathering->changed, gathering->n_changed,
					   &gathering->max_changed, sizeof *changed);

		if (!changed)
			return NULL;
		gathering->changed = changed;
	}
	gathering->changed[gathering->n_changed++] = found;
	return found;
}

static bool gather_columns(sync_gathering *gathering, const ormd_change *change)
{
	const orm_mapper *mapper = ormd_object_mapper(gathering->session, change->object);

	gathering->n_columns = 0;
	if (!change->marks)
		return true; /* untouched columns, or all added by the reader itself or seen */
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (is_news(gathering, change->marks[i]))
			gathering->columns[gathering->n_columns++] = i;
	}
	if (gathering->n_columns == 0)
		return true;

	row_group *group = changed_group(gathering, mapper);

	return group && put_object(gathering, group, change->object);
}

static bool gather(sync_gathering *gathering, const ormd_change *change)
{
	ormd_object *object = change->object;
	const bool event = is_news(gathering, change->event);

	if (object->state == ORMD_STATE_GONE)
		return !event || put_handle(gathering, &gathering->gone, object->handle);
	/* A deleted object's values are told, too: a rollback may bring it back with what was committed meanwhile. */
	if (event && object->state == ORMD_STATE_DELETED && !put_handle(gathering, &gathering->deleted, object->handle))
		return false;
	if (event && change->event_kind == ORMD_EVENT_RESTORED &&
	    !put_handle(gathering, &gathering->restored, object->handle))
		return false;
	if (!is_news(gathering, change->added))
		return gather_columns(gathering, change);

	row_group *group = added_group(gathering, ormd_object_mapper(gathering->session, object));

	return group && put_object(gathering, group, object);
}

/* Those after the floor, oldest first. */
static bool gather_list(sync_gathering *gathering, const ormd_change_list *list)
{
	const ormd_change *change = list->last;
	bool gathered = true;

	while (change && change->revision > gathering->floor)
		change = change->previous;
	for (change = change ? change->next : list->first; change && gathered; change = change->next)
		gathered = gather(gathering, change);
	return gathered;
}

static orm_status build_rows(const sync_gathering *gathering, row_group *const *groups, size_t n_groups,
			     const ormd_rows **out, size_t *n_out, orm_error *error)
{
	ormd_rows *rows = orm_arena_alloc(gathering->arena, n_groups * sizeof *rows);
	size_t n = 0;

	if (!rows)
		return orm_fail(error, ORM_ENOMEM, "out of memory for what others did");
	for (size_t i = 0; i < n_groups; i++) {
		const row_group *group = groups[i];
		orm_status status;

		if (!group)
			continue;
		status = ormd_rows_build(gathering->session, group->mapper, group->columns, group->n_columns,
					 group->objects, group->len, gathering->arena, &rows[n++], error);
		if (status != ORM_OK)
			return status;
	}
	*out = rows;
	*n_out = n;
	return ORM_OK;
}

static orm_status gather_all(sync_gathering *gathering, const ormd_participant *reader, uint64_t seen, ormd_sync *sync,
			     orm_error *error)
{
	const ormd_session *session = gathering->session;
	const uint16_t n_mappers = session->registry->n_mappers;
	orm_status status;
	bool gathered;

	gathering->added = orm_arena_calloc(gathering->arena, n_mappers, sizeof *gathering->added);
	gathered = gathering->added != NULL;
	/* What was committed before it joined is no news: it finds that by queries. */
	gathering->floor = reader->joined > seen ? reader->joined : seen;
	gathered = gathered && gather_list(gathering, &session->settled);
	gathering->floor = seen;
	gathered = gathered && gather_list(gathering, &session->pending);
	if (!gathered)
		return orm_fail(error, ORM_ENOMEM, "out of memory for what others did");
	status = build_rows(gathering, gathering->added, n_mappers, &sync->added, &sync->n_added, error);
	if (status == ORM_OK)
		status = build_rows(gathering, gathering->changed, gathering->n_changed, &sync->changed,
				    &sync->n_changed, error);
	sync->gone = gathering->gone.items;
	sync->n_gone = gathering->gone.len;
	sync->deleted = gathering->deleted.items;
	sync->n_deleted = gathering->deleted.len;
	sync->restored = gathering->restored.items;
	sync->n_restored = gathering->restored.len;
	return status;
}

orm_status ormd_session_sync(ormd_session *session, uint32_t participant, uint64_t seen, orm_arena *arena,
			     ormd_sync *sync, orm_error *error)
{
	sync_gathering gathering = {.session = session, .participant = participant, .arena = arena};
	ormd_sync found = {.revision = session->revision};
	ormd_participant *reader;
	orm_status status = ormd_participant_saw(session, participant, seen, &reader, error);

	if (status != ORM_OK)
		return status;
	if (ormd_session_has_news(session, participant, seen)) {
		orm_map_init(&gathering.groups);
		status = gather_all(&gathering, reader, seen, &found, error);
		orm_map_fini(&gathering.groups);
		if (status == ORM_OK)
			status = ormd_notices_since(session, participant, seen, arena, &found, error);
	}
	if (status == ORM_OK)
		*sync = found;
	return status;
}
