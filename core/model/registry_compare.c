/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <xxhash.h>

#include "base/buffer.h"
#include "model/registry_build.h"

/*
 * What is hashed is one canonical text of the resolved model, so that different spellings of one meaning (a `via` that
 * is not needed, an on_delete given on one of two columns) are equal. Texts carry their length, so that none runs into
 * the next.
 */
static void put_text(orm_buffer *out, const char *text)
{
	if (text)
		orm_buffer_printf(out, "%zu:%s,", strlen(text), text);
	else
		orm_buffer_puts(out, "-,");
}

static void put_column(orm_buffer *out, const orm_column *column)
{
	put_text(out, column->name);
	orm_buffer_printf(out, "%d,%d%d%d%d%d,%u,%u,", (int)column->type, column->primary_key, column->nullable,
			  column->unique, column->index, column->version, (unsigned)column->max_length,
			  (unsigned)column->foreign_key);
	if (column->type == ORM_DECIMAL)
		orm_buffer_printf(out, "%u,%u,", (unsigned)column->precision, (unsigned)column->scale);
	put_text(out, column->server_default);
	put_text(out, column->check);
}

static void put_foreign_key(orm_buffer *out, const orm_foreign_key *foreign_key)
{
	put_text(out, foreign_key->target->name);
	orm_buffer_printf(out, "%d,", (int)foreign_key->on_delete);
	for (size_t i = 0; i < foreign_key->n_columns; i++) {
		orm_buffer_printf(out, "%u,", (unsigned)foreign_key->columns[i]);
		put_text(out, foreign_key->target->columns[foreign_key->target_columns[i]].name);
	}
}

static uint16_t key_number(const orm_relationship *relationship)
{
	const orm_mapper *owner = relationship->to_many ? relationship->target : relationship->mapper;

	return (uint16_t)(relationship->foreign_key - owner->foreign_keys);
}

static void put_relationship(orm_buffer *out, const orm_relationship *relationship)
{
	put_text(out, relationship->name);
	put_text(out, relationship->target->name);
	put_text(out, relationship->reverse ? relationship->reverse->name : NULL);
	orm_buffer_printf(out, "%d,%u,", relationship->to_many, (unsigned)key_number(relationship));
}

static void put_mapper(orm_buffer *out, const orm_mapper *mapper)
{
	put_text(out, mapper->name);
	put_text(out, mapper->table);
	orm_buffer_printf(out, "%u,%u,%u;", (unsigned)mapper->n_columns, (unsigned)mapper->n_foreign_keys,
			  (unsigned)mapper->n_relationships);
	for (size_t i = 0; i < mapper->n_columns; i++)
		put_column(out, &mapper->columns[i]);
	for (size_t i = 0; i < mapper->n_foreign_keys; i++)
		put_foreign_key(out, &mapper->foreign_keys[i]);
	for (size_t i = 0; i < mapper->n_relationships; i++)
		put_relationship(out, &mapper->relationships[i]);
}

/* XXH3 directly: these hashes are compared across the wire, so they must be the same in every build. */
static uint64_t hash_of(const orm_buffer *text)
{
	return XXH3_64bits(text->data, text->size);
}

bool orm_registry_hash(registry_build *build)
{
	orm_buffer all;
	orm_buffer one;
	bool failed = false;

	orm_buffer_init(&all);
	orm_buffer_init(&one);
	for (size_t i = 0; i < build->registry->n_mappers && !failed; i++) {
		orm_mapper *mapper = &build->mappers[i];

		orm_buffer_reset(&one);
		put_mapper(&one, mapper);
		if (!one.failed)
			mapper->hash = hash_of(&one);
		orm_buffer_printf(&all, "%016llx,", (unsigned long long)mapper->hash);
		failed = one.failed || all.failed;
	}
	if (!failed)
		build->registry->hash = hash_of(&all);
	orm_buffer_fini(&all);
	orm_buffer_fini(&one);
	return !failed;
}

/* ---- comparing --------------------------------------------------------------------------------------------- */

/* A property as text on both sides; the first difference goes into the error. */
typedef struct comparison {
	const char *model;
	const char *column;
	orm_error *error;
} comparison;

static bool same_text(const comparison *at, const char *property, const char *ours, const char *theirs)
{
	if (ours == theirs || (ours && theirs && strcmp(ours, theirs) == 0))
		return true;
	orm_fail_at(at->error, ORM_EMODEL, at->model, at->column,
		    "%s is %s%s%s on this side and %s%s%s on the other: make the models equal", property,
		    ours ? "\"" : "", ours ? ours : "absent", ours ? "\"" : "", theirs ? "\"" : "",
		    theirs ? theirs : "absent", theirs ? "\"" : "");
	return false;
}

static bool same_word(const comparison *at, const char *property, const char *ours, const char *theirs)
{
	if (strcmp(ours, theirs) == 0)
		return true;
	orm_fail_at(at->error, ORM_EMODEL, at->model, at->column,
		    "%s is %s on this side and %s on the other: make the models equal", property, ours, theirs);
	return false;
}

static bool same_flag(const comparison *at, const char *property, bool ours, bool theirs)
{
	return same_word(at, property, ours ? "true" : "false", theirs ? "true" : "false");
}

static bool same_number(const comparison *at, const char *property, unsigned long long ours, unsigned long long theirs)
{
	if (ours == theirs)
		return true;
	orm_fail_at(at->error, ORM_EMODEL, at->model, at->column,
		    "%s is %llu on this side and %llu on the other: make the models equal", property, ours, theirs);
	return false;
}

static const char *on_delete_name(orm_on_delete on_delete)
{
	static const char *const names[] = {"no action", "restrict", "cascade", "set null", "set default"};

	return names[on_delete];
}

/* What the column references, as model and column names; NULLs without a foreign key. */
static const orm_foreign_key *reference(const orm_mapper *mapper, const orm_column *column, const char **model,
					const char **target_column)
{
	const orm_foreign_key *foreign_key;
	uint16_t i = 0;

	*model = *target_column = NULL;
	if (column->foreign_key == ORM_NO_NUMBER)
		return NULL;
	foreign_key = &mapper->foreign_keys[column->foreign_key];
	while (foreign_key->columns[i] != column->number)
		i++;
	*model = foreign_key->target->name;
	*target_column = foreign_key->target->columns[foreign_key->target_columns[i]].name;
	return foreign_key;
}

static bool same_reference(const comparison *at, const orm_mapper *our_mapper, const orm_column *ours,
			   const orm_mapper *their_mapper, const orm_column *theirs)
{
	const char *our_model;
	const char *our_column;
	const char *their_model;
	const char *their_column;
	const orm_foreign_key *our_key = reference(our_mapper, ours, &our_model, &our_column);
	const orm_foreign_key *their_key = reference(their_mapper, theirs, &their_model, &their_column);

	return same_text(at, "the referenced model", our_model, their_model) &&
	       same_text(at, "the referenced column", our_column, their_column) &&
	       (!our_key ||
		same_word(at, "on_delete", on_delete_name(our_key->on_delete), on_delete_name(their_key->on_delete)));
}

static bool same_column(comparison *at, const orm_mapper *our_mapper, const orm_mapper *their_mapper, uint16_t number)
{
	const orm_column *ours = &our_mapper->columns[number];
	const orm_column *theirs = &their_mapper->columns[number];

	at->column = ours->name;
	return same_text(at, "the column's name in this place", ours->name, theirs->name) &&
	       same_word(at, "its type", orm_type_name(ours->type), orm_type_name(theirs->type)) &&
	       same_flag(at, "primary_key", ours->primary_key, theirs->primary_key) &&
	       same_flag(at, "nullable", ours->nullable, theirs->nullable) &&
	       same_flag(at, "unique", ours->unique, theirs->unique) &&
	       same_flag(at, "index", ours->index, theirs->index) &&
	       same_flag(at, "version", ours->version, theirs->version) &&
	       same_number(at, "max_length", ours->max_length, theirs->max_length) &&
	       same_number(at, "precision", ours->precision, theirs->precision) &&
	       same_number(at, "scale", ours->scale, theirs->scale) &&
	       same_text(at, "server_default", ours->server_default, theirs->server_default) &&
	       same_text(at, "check", ours->check, theirs->check) &&
	       same_reference(at, our_mapper, ours, their_mapper, theirs);
}

static const char *key_column(const orm_relationship *relationship)
{
	const orm_mapper *owner = relationship->to_many ? relationship->target : relationship->mapper;

	return owner->columns[relationship->foreign_key->columns[0]].name;
}

static bool same_relationship(comparison *at, const orm_relationship *ours, const orm_relationship *theirs)
{
	at->column = ours->name;
	return same_text(at, "the relationship's name in this place", ours->name, theirs->name) &&
	       same_word(at, "the relationship", ours->to_many ? "a list" : "a pointer",
			 theirs->to_many ? "a list" : "a pointer") &&
	       same_text(at, "its target", ours->target->name, theirs->target->name) &&
	       same_text(at, "its other side", ours->reverse ? ours->reverse->name : NULL,
			 theirs->reverse ? theirs->reverse->name : NULL) &&
	       same_text(at, "its foreign key column", key_column(ours), key_column(theirs));
}

static bool same_mapper(const orm_mapper *ours, const orm_mapper *theirs, orm_error *error)
{
	comparison at = {.model = ours->name, .error = error};

	if (!same_text(&at, "the model's name in this place", ours->name, theirs->name) ||
	    !same_text(&at, "its table", ours->table, theirs->table))
		return false;
	for (uint16_t i = 0; i < ours->n_columns && i < theirs->n_columns; i++) {
		if (!same_column(&at, ours, theirs, i))
			return false;
	}
	at.column = NULL;
	if (!same_number(&at, "the number of columns", ours->n_columns, theirs->n_columns))
		return false;
	for (uint16_t i = 0; i < ours->n_relationships && i < theirs->n_relationships; i++) {
		if (!same_relationship(&at, &ours->relationships[i], &theirs->relationships[i]))
			return false;
	}
	at.column = NULL;
	return same_number(&at, "the number of relationships", ours->n_relationships, theirs->n_relationships) &&
	       same_number(&at, "the number of foreign keys", ours->n_foreign_keys, theirs->n_foreign_keys);
}

orm_status orm_registry_compare(const orm_registry *ours, const orm_registry *theirs, orm_error *error)
{
	for (size_t i = 0; i < ours->n_mappers && i < theirs->n_mappers; i++) {
		if (!same_mapper(&ours->mappers[i], &theirs->mappers[i], error))
			return ORM_EMODEL;
	}
	if (ours->n_mappers == theirs->n_mappers)
		return ORM_OK;

	const bool more = ours->n_mappers > theirs->n_mappers;
	const orm_mapper *extra = more ? &ours->mappers[theirs->n_mappers] : &theirs->mappers[ours->n_mappers];

	return orm_fail_at(error, ORM_EMODEL, extra->name, NULL,
			   "the model is on %s side only: give both the same models", more ? "this" : "the other");
}
