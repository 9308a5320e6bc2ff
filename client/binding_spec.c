/* SPDX-License-Identifier: MIT */
#include "client/binding_internal.h"

#include <string.h>

#include "model/fail.h"

/* The name in the table of a member; NULL if the model has no such column. */
static const char *column_name(const orm_model *model, const char *member)
{
	for (size_t i = 0; i < model->n_fields; i++) {
		const orm_field *field = &model->fields[i];

		if (field->type != ORM_TYPE_NONE && strcmp(field->name, member) == 0)
			return field->column ? field->column : field->name;
	}
	return NULL;
}

static bool is_listed(const orm_model *const models[], size_t n_models, const orm_model *model)
{
	for (size_t i = 0; i < n_models; i++) {
		if (models[i] == model)
			return true;
	}
	return false;
}

static orm_status not_listed(const orm_model *model, const orm_field *field, const orm_model *other, orm_error *error)
{
	return orm_fail_at(error, ORM_EINVAL, model->name, field->name,
			   "leads to model %s, which is not among the models given to orm_connect: add &%s_model",
			   other->name, other->name);
}

static orm_status column_spec(const orm_model *const models[], size_t n_models, const orm_model *model,
			      const orm_field *field, orm_column_spec *spec, orm_error *error)
{
	if (field->type > ORM_TYPE_MAX)
		return orm_fail_at(error, ORM_EINVAL, model->name, field->name,
				   "has no column type: start its row with ORM_COLUMN");
	if (field->nullable && !field->optional && !orm_type_is_text(field->type) && field->type != ORM_BYTES)
		return orm_fail_at(
			error, ORM_EINVAL, model->name, field->name,
			"is .nullable, but a plain %s member cannot say NULL: make the member an orm_opt_ type",
			orm_type_name((orm_type)field->type));
	*spec = (orm_column_spec){
		.name = field->column ? field->column : field->name,
		.type = (orm_type)field->type,
		.primary_key = field->primary_key,
		.nullable = field->nullable || field->optional,
		.unique = field->unique,
		.index = field->index,
		.version = field->version,
		.max_length = field->max_length,
		.precision = field->precision,
		.scale = field->scale,
		.server_default = field->server_default,
		.check = field->check,
		.on_delete = field->on_delete,
	};
	if (!field->references.model)
		return ORM_OK;
	if (!is_listed(models, n_models, field->references.model))
		return not_listed(model, field, field->references.model, error);
	spec->references_model = field->references.model->name;
	spec->references_column = column_name(field->references.model, field->references.column);
	if (!spec->references_column)
		return orm_fail_at(error, ORM_EINVAL, model->name, field->name,
				   "refers to %s.%s, which is no column: declare it, or correct the name",
				   field->references.model->name, field->references.column);
	return ORM_OK;
}

static orm_status relationship_spec(const orm_model *const models[], size_t n_models, const orm_model *model,
				    const orm_field *field, orm_relationship_spec *spec, orm_error *error)
{
	if (!field->target)
		return orm_fail_at(
			error, ORM_EINVAL, model->name, field->name,
			"is neither a column nor a relationship: start its row with ORM_COLUMN or ORM_RELATIONSHIP");
	if (!is_listed(models, n_models, field->target))
		return not_listed(model, field, field->target, error);
	*spec = (orm_relationship_spec){
		.name = field->name,
		.to_many = field->to_many,
		.target = field->target->name,
		.reverse = field->reverse,
	};
	if (field->via) {
		const orm_model *owner = field->to_many ? field->target : model;

		spec->via = column_name(owner, field->via);
		if (!spec->via)
			return orm_fail_at(error, ORM_EINVAL, model->name, field->name,
					   "goes via %s.%s, which is no column: correct the name", owner->name,
					   field->via);
	}
	return ORM_OK;
}

static orm_status model_spec(const orm_model *const models[], size_t n_models, const orm_model *model, orm_arena *arena,
			     orm_model_spec *spec, orm_error *error)
{
	orm_column_spec *columns = orm_arena_calloc(arena, model->n_fields, sizeof columns[0]);
	orm_relationship_spec *relationships = orm_arena_calloc(arena, model->n_fields, sizeof relationships[0]);

	if (!columns || !relationships)
		return orm_fail(error, ORM_ENOMEM, "out of memory for the models");
	*spec = (orm_model_spec){
		.name = model->name, .table = model->table, .columns = columns, .relationships = relationships};
	for (size_t i = 0; i < model->n_fields; i++) {
		const orm_field *field = &model->fields[i];
		const orm_status status =
			field->type != ORM_TYPE_NONE
				? column_spec(models, n_models, model, field, &columns[spec->n_columns++], error)
				: relationship_spec(models, n_models, model, field,
						    &relationships[spec->n_relationships++], error);

		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

orm_registry *orm_binding_registry(const orm_model *const models[], size_t n_models, orm_error *error)
{
	orm_registry *registry = NULL;
	orm_status status = ORM_OK;
	orm_model_spec *specs;
	orm_arena arena;

	if (n_models == 0 || n_models > ORM_MAX_MODELS) {
		orm_fail(error, ORM_EINVAL, "%zu models were given: give 1 to %d, and NULL after the last", n_models,
			 ORM_MAX_MODELS);
		return NULL;
	}
	orm_arena_init(&arena, 0);
	specs = orm_arena_calloc(&arena, n_models, sizeof specs[0]);
	if (!specs)
		status = orm_fail(error, ORM_ENOMEM, "out of memory for the models");
	for (size_t i = 0; status == ORM_OK && i < n_models; i++)
		status = model_spec(models, n_models, models[i], &arena, &specs[i], error);
	if (status == ORM_OK)
		registry = orm_registry_new(specs, n_models, error);
	orm_arena_fini(&arena);
	return registry;
}
