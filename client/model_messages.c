/* SPDX-License-Identifier: MIT */
#include "client/model_messages.h"

/* protobuf-c wants pointers to what may be changed; it changes nothing when it packs. */
static char *lend(const char *text)
{
	return (char *)(uintptr_t)text;
}

static Ormd__V1__ColumnSpec *column_message(const orm_column_spec *column, orm_arena *arena)
{
	Ormd__V1__ColumnSpec *message = orm_arena_alloc(arena, sizeof *message);

	if (!message)
		return NULL;
	ormd__v1__column_spec__init(message);
	message->name = lend(column->name);
	message->has_type = true;
	message->type = (Ormd__V1__Type)column->type;
	message->has_primary_key = message->primary_key = column->primary_key;
	message->has_nullable = message->nullable = column->nullable;
	message->has_unique = message->unique = column->unique;
	message->has_index = message->index = column->index;
	message->has_version = message->version = column->version;
	message->max_length = column->max_length;
	message->has_max_length = column->max_length != 0;
	message->precision = column->precision;
	message->has_precision = column->precision != 0;
	message->scale = column->scale;
	message->has_scale = column->scale != 0;
	message->server_default = lend(column->server_default);
	message->check = lend(column->check);
	message->references_model = lend(column->references_model);
	message->references_column = lend(column->references_column);
	message->on_delete = (uint32_t)column->on_delete;
	message->has_on_delete = column->on_delete != ORM_NO_ACTION;
	return message;
}

static Ormd__V1__RelationshipSpec *relationship_message(const orm_relationship_spec *relationship, orm_arena *arena)
{
	Ormd__V1__RelationshipSpec *message = orm_arena_alloc(arena, sizeof *message);

	if (!message)
		return NULL;
	ormd__v1__relationship_spec__init(message);
	message->name = lend(relationship->name);
	message->has_to_many = message->to_many = relationship->to_many;
	message->target = lend(relationship->target);
	message->reverse = lend(relationship->reverse);
	message->via = lend(relationship->via);
	return message;
}

static Ormd__V1__ModelSpec *model_message(const orm_model_spec *model, orm_arena *arena)
{
	Ormd__V1__ModelSpec *message = orm_arena_alloc(arena, sizeof *message);

	if (!message)
		return NULL;
	ormd__v1__model_spec__init(message);
	message->name = lend(model->name);
	message->table = lend(model->table);
	message->columns = orm_arena_calloc(arena, model->n_columns, sizeof *message->columns);
	message->relationships = orm_arena_calloc(arena, model->n_relationships, sizeof *message->relationships);
	if (!message->columns || !message->relationships)
		return NULL;
	message->n_columns = model->n_columns;
	message->n_relationships = model->n_relationships;
	for (size_t i = 0; i < model->n_columns; i++)
		if (!(message->columns[i] = column_message(&model->columns[i], arena)))
			return NULL;
	for (size_t i = 0; i < model->n_relationships; i++)
		if (!(message->relationships[i] = relationship_message(&model->relationships[i], arena)))
			return NULL;
	return message;
}

Ormd__V1__ModelSpec **model_messages(const orm_registry *registry, orm_arena *arena)
{
	const orm_model_spec *specs = orm_registry_specs(registry, arena);
	Ormd__V1__ModelSpec **messages = orm_arena_calloc(arena, registry->n_mappers, sizeof *messages);

	if (!specs || !messages)
		return NULL;
	for (size_t i = 0; i < registry->n_mappers; i++)
		if (!(messages[i] = model_message(&specs[i], arena)))
			return NULL;
	return messages;
}
