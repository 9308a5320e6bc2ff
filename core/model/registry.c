/* SPDX-License-Identifier: MIT */
#include "model/registry.h"

#include <stdlib.h>
#include <string.h>

#include "model/registry_build.h"

static const struct {
	const char *name;
	size_t size;
} types[ORM_TYPE_MAX + 1] = {
	[ORM_TYPE_NONE] = {"none", 0},
	[ORM_BOOL] = {"bool", sizeof(uint8_t)},
	[ORM_INT32] = {"int32", sizeof(int32_t)},
	[ORM_INT64] = {"int64", sizeof(int64_t)},
	[ORM_DOUBLE] = {"double", sizeof(double)},
	[ORM_TEXT] = {"text", 0},
	[ORM_BYTES] = {"bytes", 0},
	[ORM_DATE] = {"date", sizeof(int32_t)},
	[ORM_TIME] = {"time", sizeof(int64_t)},
	[ORM_DATETIME] = {"datetime", sizeof(int64_t)},
	[ORM_DECIMAL] = {"decimal", 0},
	[ORM_UUID] = {"uuid", sizeof(orm_uuid)},
	[ORM_JSON] = {"json", 0},
};

/* One model's columns, and what follows from them alone. */
static bool copy_columns(registry_build *build, size_t number)
{
	const orm_model_spec *spec = &build->specs[number];
	orm_mapper *mapper = &build->mappers[number];
	orm_arena *arena = &build->registry->arena;
	orm_column *columns = orm_arena_calloc(arena, spec->n_columns, sizeof *columns);
	uint16_t *key = orm_arena_calloc(arena, spec->n_columns, sizeof *key);

	if (!columns || !key)
		return false;
	mapper->version = ORM_NO_NUMBER;
	for (uint16_t i = 0; i < spec->n_columns; i++) {
		const orm_column_spec *from = &spec->columns[i];

		columns[i] = (orm_column){
			.name = orm_arena_strdup(arena, from->name),
			.number = i,
			.type = from->type,
			.primary_key = from->primary_key,
			.nullable = from->nullable,
			.unique = from->unique,
			.index = from->index,
			.version = from->version,
			.max_length = from->max_length,
			.precision = from->precision,
			.scale = from->scale,
			.server_default = orm_arena_strdup(arena, from->server_default),
			.check = orm_arena_strdup(arena, from->check),
			.foreign_key = ORM_NO_NUMBER,
		};
		if (!columns[i].name || (from->server_default && !columns[i].server_default) ||
		    (from->check && !columns[i].check))
			return false;
		if (from->type == ORM_DECIMAL && from->precision == 0) {
			columns[i].precision = ORM_DECIMAL_PRECISION;
			columns[i].scale = ORM_DECIMAL_SCALE;
		}
		if (from->primary_key)
			key[mapper->n_key++] = i;
		if (from->version)
			mapper->version = i;
		mapper->has_defaults |= from->server_default != NULL;
	}
	mapper->columns = build->columns[number] = columns;
	mapper->n_columns = (uint16_t)spec->n_columns;
	mapper->key = key;
	return true;
}

static bool copy_models(registry_build *build, size_t n_specs)
{
	orm_registry *registry = build->registry;
	orm_arena *arena = &registry->arena;

	build->mappers = orm_arena_calloc(arena, n_specs, sizeof *build->mappers);
	build->columns = orm_arena_calloc(arena, n_specs, sizeof *build->columns);
	build->relationships = orm_arena_calloc(arena, n_specs, sizeof *build->relationships);
	if (!build->mappers || !build->columns || !build->relationships)
		return false;
	registry->mappers = build->mappers;
	registry->n_mappers = (uint16_t)n_specs;
	for (uint16_t i = 0; i < n_specs; i++) {
		orm_mapper *mapper = &build->mappers[i];

		mapper->registry = registry;
		mapper->number = i;
		mapper->name = orm_arena_strdup(arena, build->specs[i].name);
		mapper->table = orm_arena_strdup(arena, build->specs[i].table);
		if (!mapper->name || !mapper->table || !copy_columns(build, i))
			return false;
	}
	return true;
}

static void note_generated_keys(registry_build *build)
{
	for (size_t i = 0; i < build->registry->n_mappers; i++) {
		orm_mapper *mapper = &build->mappers[i];
		const orm_column *key = &mapper->columns[mapper->key[0]];

		mapper->generated_key = mapper->n_key == 1 && (key->type == ORM_INT32 || key->type == ORM_INT64) &&
					key->foreign_key == ORM_NO_NUMBER;
	}
}

orm_registry *orm_registry_new(const orm_model_spec *specs, size_t n_specs, orm_error *error)
{
	orm_registry *registry = NULL;
	orm_status status = orm_registry_check_specs(specs, n_specs, error);

	if (status != ORM_OK)
		return NULL;
	registry = calloc(1, sizeof *registry);
	if (!registry) {
		orm_fail(error, ORM_ENOMEM, "out of memory for the models");
		return NULL;
	}
	orm_arena_init(&registry->arena, 0);

	registry_build build = {.registry = registry, .specs = specs, .error = error};

	status = copy_models(&build, n_specs) ? ORM_OK : ORM_ENOMEM;
	if (status == ORM_OK)
		status = orm_registry_resolve_foreign_keys(&build);
	if (status == ORM_OK)
		status = orm_registry_resolve_relationships(&build);
	if (status == ORM_OK)
		status = orm_registry_order(&build);
	if (status == ORM_OK) {
		note_generated_keys(&build);
		status = orm_registry_hash(&build) ? ORM_OK : ORM_ENOMEM;
	}
	if (status != ORM_OK) {
		if (status == ORM_ENOMEM)
			orm_fail(error, ORM_ENOMEM, "out of memory for the models");
		orm_registry_free(registry);
		return NULL;
	}
	return registry;
}

void orm_registry_free(orm_registry *registry)
{
	if (!registry)
		return;
	orm_arena_fini(&registry->arena);
	free(registry);
}

const orm_mapper *orm_registry_find(const orm_registry *registry, const char *name)
{
	for (size_t i = 0; i < registry->n_mappers; i++) {
		if (strcmp(registry->mappers[i].name, name) == 0)
			return &registry->mappers[i];
	}
	return NULL;
}

const orm_column *orm_mapper_column(const orm_mapper *mapper, const char *name)
{
	for (size_t i = 0; i < mapper->n_columns; i++) {
		if (strcmp(mapper->columns[i].name, name) == 0)
			return &mapper->columns[i];
	}
	return NULL;
}

const orm_relationship *orm_mapper_relationship(const orm_mapper *mapper, const char *name)
{
	for (size_t i = 0; i < mapper->n_relationships; i++) {
		if (strcmp(mapper->relationships[i].name, name) == 0)
			return &mapper->relationships[i];
	}
	return NULL;
}

static orm_column_spec column_spec(const orm_mapper *mapper, const orm_column *column)
{
	orm_column_spec spec = {
		.name = column->name,
		.type = column->type,
		.primary_key = column->primary_key,
		.nullable = column->nullable,
		.unique = column->unique,
		.index = column->index,
		.version = column->version,
		.max_length = column->max_length,
		.precision = column->precision,
		.scale = column->scale,
		.server_default = column->server_default,
		.check = column->check,
	};

	if (column->foreign_key != ORM_NO_NUMBER) {
		const orm_foreign_key *foreign_key = &mapper->foreign_keys[column->foreign_key];
		uint16_t i = 0;

		while (foreign_key->columns[i] != column->number)
			i++;
		spec.references_model = foreign_key->target->name;
		spec.references_column = foreign_key->target->columns[foreign_key->target_columns[i]].name;
		spec.on_delete = foreign_key->on_delete;
	}
	return spec;
}

static orm_relationship_spec relationship_spec(const orm_relationship *relationship)
{
	const orm_mapper *has_key = relationship->to_many ? relationship->target : relationship->mapper;

	return (orm_relationship_spec){
		.name = relationship->name,
		.to_many = relationship->to_many,
		.target = relationship->target->name,
		.reverse = relationship->reverse ? relationship->reverse->name : NULL,
		.via = has_key->columns[relationship->foreign_key->columns[0]].name,
	};
}

orm_model_spec *orm_registry_specs(const orm_registry *registry, orm_arena *arena)
{
	orm_model_spec *specs = orm_arena_calloc(arena, registry->n_mappers, sizeof *specs);

	if (!specs)
		return NULL;
	for (size_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *mapper = &registry->mappers[i];
		orm_column_spec *columns = orm_arena_calloc(arena, mapper->n_columns, sizeof *columns);
		orm_relationship_spec *relationships =
			orm_arena_calloc(arena, mapper->n_relationships, sizeof *relationships);

		if (!columns || !relationships)
			return NULL;
		for (size_t j = 0; j < mapper->n_columns; j++)
			columns[j] = column_spec(mapper, &mapper->columns[j]);
		for (size_t j = 0; j < mapper->n_relationships; j++)
			relationships[j] = relationship_spec(&mapper->relationships[j]);
		specs[i] = (orm_model_spec){
			.name = mapper->name,
			.table = mapper->table,
			.columns = columns,
			.n_columns = mapper->n_columns,
			.relationships = relationships,
			.n_relationships = mapper->n_relationships,
		};
	}
	return specs;
}

const char *orm_type_name(orm_type type)
{
	return (unsigned)type <= ORM_TYPE_MAX ? types[type].name : "unknown";
}

size_t orm_type_size(orm_type type)
{
	return (unsigned)type <= ORM_TYPE_MAX ? types[type].size : 0;
}
