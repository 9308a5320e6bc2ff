/* SPDX-License-Identifier: MIT */
#include "session/flush_fail.h"

#include <stdio.h>

#include "base/error.h"

/* Who set the column, as far as one is named; else who touched the object last. */
static uint32_t author_of(const ormd_session *session, const ormd_object *object, const char *column_name)
{
	const orm_mapper *mapper = ormd_object_mapper(session, object);
	const ormd_change *change = object->change;
	const orm_column *column = column_name[0] ? orm_mapper_column(mapper, column_name) : NULL;
	ormd_mark latest = {0};

	if (!change)
		return 0;
	if (column && ormd_change_mark(change, column->number).revision > 0)
		return ormd_mark_author(ormd_change_mark(change, column->number));
	if (object->state == ORMD_STATE_DELETED)
		return ormd_mark_author(change->event);
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (ormd_change_mark(change, i).revision > latest.revision)
			latest = ormd_change_mark(change, i);
	}
	return ormd_mark_author(latest);
}

/* " (published by \"desk\")" in a shared session, where it may have been another. */
static void print_author(const ormd_session *session, const ormd_object *object, const char *column, char *text,
			 size_t size)
{
	const uint32_t author = author_of(session, object, column);

	text[0] = '\0';
	if (session->name && author != 0)
		snprintf(text, size, " (published by \"%.60s\")", ormd_participant_name(session, author));
}

/* The driver's message without the place that it starts with. */
static const char *without_place(const orm_error *error)
{
	const char *message = error->message;
	size_t len = strlen(error->model);

	if (len == 0 || strncmp(message, error->model, len) != 0)
		return message;
	if (message[len] == '.')
		len += 1 + strlen(error->column);
	return strncmp(message + len, ": ", 2) == 0 ? message + len + 2 : message;
}

static const orm_mapper *find_by_table(const orm_registry *registry, const char *table)
{
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		if (strcmp(registry->mappers[i].table, table) == 0)
			return &registry->mappers[i];
	}
	return NULL;
}

orm_status ormd_fail_name_model(const orm_registry *registry, orm_error *error)
{
	const orm_mapper *mapper = error && error->model[0] ? find_by_table(registry, error->model) : NULL;
	orm_error said;

	if (!mapper)
		return error ? error->code : ORM_EINTERNAL;
	said = *error;
	if (without_place(&said) != said.message)
		orm_fail(error, said.code, "%s%s%s: %s", mapper->name, said.column[0] ? "." : "", said.column,
			 without_place(&said));
	return orm_error_at(error, mapper->name, said.column, said.key);
}

orm_status ormd_flush_fail_row(const ormd_session *session, const ormd_object *object, orm_error *error)
{
	const orm_mapper *mapper = ormd_object_mapper(session, object);
	const ormd_record *record =
		object->state == ORMD_STATE_DELETED ? ormd_object_committed(object) : object->record;
	char author[96];
	char key[sizeof error->key];
	orm_error said;

	if (!error)
		return ORM_ECONSTRAINT;
	said = *error;
	print_author(session, object, said.column, author, sizeof author);
	ormd_record_key_print(ormd_object_layout(session, object), record, key, sizeof key);
	orm_fail(error, said.code, "%s%s%s: %.300s; %s %s%s", mapper->name, said.column[0] ? "." : "", said.column,
		 without_place(&said), mapper->name, key, author);
	return orm_error_at(error, mapper->name, said.column, key);
}

orm_status ormd_flush_fail_stale(const ormd_session *session, const ormd_object *object, const ormd_plan_step *step,
				 orm_error *error)
{
	const orm_mapper *mapper = step->mapper;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const ormd_record *record = ormd_object_committed(object);
	const char *verb = step->kind == ORMD_DELETE ? "deleted" : "changed";
	char author[96];
	char key[sizeof error->key];

	print_author(session, object, "", author, sizeof author);
	ormd_record_key_print(layout, record ? record : object->record, key, sizeof key);
	if (mapper->version == ORM_NO_NUMBER || !record)
		orm_fail(error, ORM_ESTALE, "%s %s is to be %s%s, but its row is gone; roll back, or refresh it",
			 mapper->name, key, verb, author);
	else
		orm_fail(error, ORM_ESTALE,
			 "%s.%s: %s %s is to be %s%s, but since version %lld was read its row has been changed or "
			 "deleted; refresh it and try again",
			 mapper->name, mapper->columns[mapper->version].name, mapper->name, key, verb, author,
			 (long long)ormd_record_integer(layout, record, mapper->version));
	return error ? orm_error_at(error, mapper->name,
				    mapper->version == ORM_NO_NUMBER ? NULL : mapper->columns[mapper->version].name,
				    key)
		     : ORM_ESTALE;
}
