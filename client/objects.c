/* SPDX-License-Identifier: MIT */
/* Objects: adding, finding by key, loading relationships, refreshing; and what only touches the mirror. */
#include <string.h>

#include "base/error.h"
#include "client/arguments.h"
#include "client/call.h"
#include "client/query.h"
#include "model/fail.h"

static orm_object *find(orm_session *session, const void *object)
{
	orm_object *found = orm_mirror_find(session->mirror, object);

	if (!found)
		session_fail_with(session, ORM_EINVAL, "the object is not one of this session");
	return found;
}

/* ---- adding ---- */

void *orm_add_object(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	uint64_t given[ORM_MAX_COLUMNS / 64];
	orm_error error = {0};

	if (session_enter(session) != ORM_OK)
		return NULL;
	if (session->read_only) {
		session_fail_read_only(session);
		return NULL;
	}

	const orm_layout *layout = session_layout(session, model);
	const designators *members = layout ? designators_get(&session->designators, model, text, &error) : NULL;

	if (!members) {
		if (layout)
			session_fail(session, &error);
		return NULL;
	}
	memset(given, 0, layout->n_words * sizeof *given);
	for (size_t i = 0; i < members->n_fields; i++) {
		const orm_layout_field *field = &layout->fields[members->fields[i]];

		if (field->is_column)
			orm_column_set_put(given, field->number);
	}

	void *object = orm_mirror_add(session->mirror, layout, example, given, &error);

	if (!object)
		session_fail(session, &error);
	return object;
}

/* ---- by key ---- */

static bool cell_message(Ormd__V1__Column *message, const orm_value *value, orm_arena *arena)
{
	switch (value->type) {
	case ORM_BOOL: {
		const uint8_t cell = value->boolean;

		message->has_booleans = true;
		message->booleans.len = 1;
		return (message->booleans.data = orm_arena_memdup(arena, &cell, sizeof cell)) != NULL;
	}
	case ORM_INT32:
	case ORM_DATE: {
		const int32_t cell = (int32_t)value->integer;

		message->n_int32s = 1;
		return (message->int32s = orm_arena_memdup(arena, &cell, sizeof cell)) != NULL;
	}
	case ORM_DOUBLE:
		message->n_doubles = 1;
		return (message->doubles = orm_arena_memdup(arena, &value->number, sizeof value->number)) != NULL;
	case ORM_UUID:
		message->has_blob = true;
		message->blob.len = value->size;
		return (message->blob.data = orm_arena_memdup(arena, value->bytes, value->size)) != NULL;
	case ORM_TEXT:
		message->has_text = true;
		message->text.len = (size_t)value->size + 1;
		return (message->text.data = orm_arena_memdup(arena, value->text, message->text.len)) != NULL;
	case ORM_BYTES:
		message->has_blob = true;
		message->blob.len = value->size;
		message->blob.data = orm_arena_memdup(arena, value->bytes, value->size);
		message->n_blob_ends = 1;
		message->blob_ends = orm_arena_memdup(arena, &value->size, sizeof value->size);
		return message->blob.data && message->blob_ends;
	default:
		message->n_int64s = 1;
		return (message->int64s = orm_arena_memdup(arena, &value->integer, sizeof value->integer)) != NULL;
	}
}

/* A batch of one row: the key. NULL when out of memory. */
static Ormd__V1__Batch *key_message(const orm_layout *layout, const orm_value *key, orm_arena *arena)
{
	const orm_mapper *mapper = layout->mapper;
	Ormd__V1__Batch *batch = orm_arena_alloc(arena, sizeof *batch);
	Ormd__V1__Column *columns = orm_arena_calloc(arena, mapper->n_key, sizeof *columns);
	Ormd__V1__Column **pointers = orm_arena_calloc(arena, mapper->n_key, sizeof *pointers);

	if (!batch || !columns || !pointers)
		return NULL;
	ormd__v1__batch__init(batch);
	batch->has_model = batch->has_rows = true;
	batch->model = layout->number;
	batch->rows = 1;
	batch->n_columns = mapper->n_key;
	batch->columns = pointers;
	for (size_t i = 0; i < mapper->n_key; i++) {
		pointers[i] = &columns[i];
		ormd__v1__column__init(&columns[i]);
		columns[i].has_column = true;
		columns[i].column = mapper->key[i];
		if (!cell_message(&columns[i], &key[i], arena))
			return NULL;
	}
	return batch;
}

static void *get_from_server(orm_session *session, const orm_layout *layout, const orm_value *key)
{
	Ormd__V1__GetRequest request = ORMD__V1__GET_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_call call;
	orm_error error = {0};
	orm_arena *arena = call_begin(&call, session, METHOD_GET);

	call.request = &request.base;
	call.at = request.at = &at;
	if (!session->shared)
		call.draft = &request.draft;
	request.keys = key_message(layout, key, arena);
	if (!request.keys) {
		session_fail_with(session, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	if (call_unary(&call, &message) != ORM_OK)
		return NULL;

	const Ormd__V1__GetReply *reply = (const Ormd__V1__GetReply *)message;

	if (call_accept(&call, reply->sync, reply->keys, reply->n_keys) != ORM_OK)
		return NULL;
	if (call_install(session, reply->rows, reply->n_rows, &error) != ORM_OK) {
		session_fail(session, &error);
		return NULL;
	}

	orm_object *found = orm_mirror_by_key(session->mirror, layout, key);

	return found && !(found->flags & (OBJECT_DELETING | OBJECT_DELETED)) && reply->n_rows > 0
		       ? orm_object_struct(found)
		       : NULL;
}

void *orm_get_object(orm_session *session, const orm_model *model, const orm_arg *arguments, size_t n_arguments)
{
	orm_value key[MAX_KEY_ARGUMENTS];
	orm_error error = {0};
	bool possible = false;

	if (session_enter(session) != ORM_OK)
		return NULL;

	const orm_layout *layout = session_layout(session, model);

	if (!layout)
		return NULL;
	if (arguments_key(layout, arguments, n_arguments, MAX_KEY_ARGUMENTS, key, &possible, &error) != ORM_OK) {
		session_fail(session, &error);
		return NULL;
	}
	if (!possible)
		return NULL;

	orm_object *found = orm_mirror_by_key(session->mirror, layout, key);

	if (found && (found->flags & (OBJECT_DELETING | OBJECT_DELETED)))
		return NULL;
	if (found && !(found->flags & OBJECT_EXPIRED))
		return orm_object_struct(found);
	return get_from_server(session, layout, key);
}

/* ---- relationships ---- */

/* The objects whose relationship is still to be loaded, as handles. */
typedef struct load_list {
	orm_session *session;
	const orm_relation *relation;
	orm_object **objects;
	size_t len;
} load_list;

static orm_status load_list_put(load_list *list, orm_object *object)
{
	orm_session *session = list->session;

	if (orm_object_layout(object) != list->relation->owner)
		return session_fail_with(session, ORM_EINVAL, "the object is not of model %s",
					 list->relation->owner->model->name);
	if (object->flags & OBJECT_GONE)
		return session_fail_with(session, ORM_ESTATE, "%s.%s: the object has left the session",
					 list->relation->owner->model->name, list->relation->relationship->name);
	if (orm_mirror_is_loaded(session->mirror, object, list->relation))
		return ORM_OK;
	if (session->shared && (object->flags & OBJECT_NEW))
		return session_fail_with(session, ORM_ESTATE,
					 "%s.%s: the object has not been published yet; orm_flush it before its "
					 "relationships are loaded",
					 list->relation->owner->model->name, list->relation->relationship->name);
	list->objects[list->len++] = object;
	return ORM_OK;
}

static orm_status load(load_list *list)
{
	Ormd__V1__LoadRequest request = ORMD__V1__LOAD_REQUEST__INIT;
	Ormd__V1__At at;
	orm_session *session = list->session;
	orm_call call;

	if (list->len == 0)
		return ORM_OK;
	call_begin_keeping(&call, session, METHOD_LOAD);
	call.request = &request.base;
	call.at = request.at = &at;
	if (!session->shared)
		call.draft = &request.draft;
	request.has_model = request.has_relationship = true;
	request.model = list->relation->owner->number;
	request.relationship = list->relation->number;

	const orm_status status = call_prepare(&call);

	if (status != ORM_OK)
		return status;
	/* New objects have got their handles with the draft. */
	request.objects = orm_arena_alloc(&session->request, list->len * sizeof *request.objects);
	if (!request.objects)
		return session_fail_with(session, ORM_ENOMEM, "out of memory");
	request.n_objects = list->len;
	for (size_t i = 0; i < list->len; i++)
		request.objects[i] = list->objects[i]->handle;
	return query_stream(&call, NULL);
}

static orm_status load_list_init(load_list *list, orm_session *session, const orm_relation *relation, size_t n)
{
	orm_arena_reset(&session->request);
	*list = (load_list){.session = session, .relation = relation};
	list->objects = n <= SIZE_MAX / sizeof *list->objects
				? orm_arena_alloc(&session->request, n * sizeof *list->objects)
				: NULL;
	return list->objects ? ORM_OK : session_fail_with(session, ORM_ENOMEM, "out of memory");
}

orm_status orm_load(orm_session *session, const void *object, const void *member)
{
	load_list list;
	orm_status status = session_enter(session);
	orm_object *found = status == ORM_OK ? find(session, object) : NULL;

	if (!found)
		return status == ORM_OK ? ORM_EINVAL : status;

	const orm_layout *layout = orm_object_layout(found);
	const size_t offset = (size_t)((uintptr_t)member - (uintptr_t)object);
	const orm_relation *relation = orm_layout_relation_at(layout, offset);

	if (!relation)
		return session_fail_with(session, ORM_EINVAL,
					 "%s: the member is no relationship of the object: write orm_load(session, "
					 "object, &object->member)",
					 layout->model->name);
	status = load_list_init(&list, session, relation, 1);
	if (status == ORM_OK)
		status = load_list_put(&list, found);
	return status == ORM_OK ? load(&list) : status;
}

orm_status orm_load_many(orm_session *session, const orm_model *model, const void *const *objects, size_t n,
			 size_t offset)
{
	load_list list;
	orm_status status = session_enter(session);
	const orm_layout *layout = status == ORM_OK ? session_layout(session, model) : NULL;

	if (!layout)
		return status == ORM_OK ? ORM_EINVAL : status;

	const orm_relation *relation = orm_layout_relation_at(layout, offset);

	if (!relation)
		return session_fail_with(session, ORM_EINVAL,
					 "%s: orm_load_each was not given a relationship of the model", model->name);
	if (n == SIZE_MAX)
		return session_fail_with(session, ORM_ENOTLOADED,
					 "orm_load_each was given a list that has not been loaded itself");
	status = load_list_init(&list, session, relation, n);
	for (size_t i = 0; i < n && status == ORM_OK; i++) {
		orm_object *object = find(session, objects[i]);

		status = object ? load_list_put(&list, object) : ORM_EINVAL;
	}
	return status == ORM_OK ? load(&list) : status;
}

orm_status orm_link(orm_session *session, const void *object, const void *member, const void *other)
{
	orm_error error = {0};
	const orm_status status = session_enter(session);

	if (status != ORM_OK)
		return status;
	return orm_mirror_link(session->mirror, object, member, other, &error) == ORM_OK
		       ? ORM_OK
		       : session_fail(session, &error);
}

orm_status orm_unlink(orm_session *session, const void *object, const void *member, const void *other)
{
	orm_error error = {0};
	const orm_status status = session_enter(session);

	if (status != ORM_OK)
		return status;
	return orm_mirror_unlink(session->mirror, object, member, other, &error) == ORM_OK
		       ? ORM_OK
		       : session_fail(session, &error);
}

/* ---- deleting, reloading ---- */

void orm_delete(orm_session *session, const void *object)
{
	orm_error error = {0};

	if (session_enter(session) != ORM_OK)
		return;
	if (session->read_only)
		session_fail_read_only(session);
	else if (orm_mirror_delete(session->mirror, object, &error) != ORM_OK)
		session_fail(session, &error);
}

void orm_expire(orm_session *session, const void *object)
{
	orm_error error = {0};

	if (session_enter(session) == ORM_OK && orm_mirror_expire(session->mirror, object, &error) != ORM_OK)
		session_fail(session, &error);
}

static orm_status fail_missing(orm_session *session, const orm_layout *layout, const void *object)
{
	orm_value key[MAX_KEY_ARGUMENTS];
	orm_error error;
	char text[sizeof error.key] = "";
	const size_t n = layout->mapper->n_key < MAX_KEY_ARGUMENTS ? layout->mapper->n_key : MAX_KEY_ARGUMENTS;

	for (size_t i = 0; i < n; i++)
		orm_member_get(&layout->members[layout->mapper->key[i]], object, &key[i]);
	orm_key_print(key, n, text, sizeof text);
	orm_fail_at(&error, ORM_ENOTFOUND, layout->model->name, NULL, "the row with key %s is gone", text);
	orm_error_at(&error, NULL, NULL, text);
	return session_fail(session, &error);
}

orm_status orm_refresh(orm_session *session, const void *object)
{
	Ormd__V1__RefreshRequest request = ORMD__V1__REFRESH_REQUEST__INIT;
	Ormd__V1__At at;
	ProtobufCMessage *message;
	orm_error error = {0};
	orm_call call;
	orm_status status = session_enter(session);
	orm_object *found = status == ORM_OK ? find(session, object) : NULL;

	if (!found)
		return status == ORM_OK ? ORM_EINVAL : status;
	/* Drops the edits, so that what comes is shown. */
	if (orm_mirror_expire(session->mirror, object, &error) != ORM_OK)
		return session_fail(session, &error);
	call_begin(&call, session, METHOD_REFRESH);
	call.request = &request.base;
	call.at = request.at = &at;
	request.n_handles = 1;
	request.handles = &found->handle;
	status = call_unary(&call, &message);
	if (status != ORM_OK)
		return status;

	const Ormd__V1__RefreshReply *reply = (const Ormd__V1__RefreshReply *)message;

	status = call_accept(&call, reply->sync, NULL, 0);
	if (status != ORM_OK)
		return status;
	if (call_install(session, reply->rows, reply->n_rows, &error) != ORM_OK ||
	    orm_mirror_missing(session->mirror, reply->missing, reply->n_missing, &error) != ORM_OK)
		return session_fail(session, &error);
	return reply->n_missing > 0 ? fail_missing(session, orm_object_layout(found), object) : ORM_OK;
}

/* ---- looking ---- */

orm_object_state orm_state(const orm_session *session, const void *object)
{
	return session_usable(session) ? orm_mirror_state(session->mirror, object) : ORM_DETACHED;
}

orm_member_condition orm_member_state(const orm_session *session, const void *object, const void *member)
{
	return session_usable(session) ? orm_mirror_member_state(session->mirror, object, member)
				       : ORM_MEMBER_NOT_LOADED;
}

bool orm_is_dirty(const orm_session *session, const void *object)
{
	return session_usable(session) && orm_mirror_is_dirty(session->mirror, object);
}
