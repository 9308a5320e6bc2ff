/* SPDX-License-Identifier: MIT */
/*
 * Models, resolved and checked: the form in which both sides of the wire know them.
 *
 * A program's tables of fields (orm.h) and the wire's ModelSpec messages both become orm_model_spec, plain
 * names; orm_registry_new checks them and resolves every name to a number: which columns are the key, which
 * foreign key a relationship follows, which two relationships are sides of one thing. A mapper is a resolved
 * model (SQLAlchemy's word). A registry never changes after it was made and may be read by any thread.
 */
#ifndef ORM_MODEL_REGISTRY_H
#define ORM_MODEL_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <orm/types.h>

#include "base/arena.h"

#define ORM_NO_NUMBER UINT16_MAX
#define ORM_MAX_COLUMNS 1024
#define ORM_MAX_MODELS 4096
#define ORM_MAX_NAME 63 /* bytes of a table's or column's name: PostgreSQL's limit, and portable */

/* ---- as declared: borrowed strings, names unresolved ------------------------------------------------------ */

typedef struct orm_column_spec {
	const char   *name;
	orm_type      type;
	bool          primary_key;
	bool          nullable;
	bool          unique;
	bool          index;
	bool          version;           /* optimistic version counter: int32 or int64, not nullable */
	uint32_t      max_length;        /* text: characters (code points); bytes: bytes; 0: no limit */
	uint8_t       precision;         /* decimal: digits altogether; 0: ORM_DECIMAL_PRECISION of them, ORM_DECIMAL_SCALE after the point */
	uint8_t       scale;             /* decimal: digits after the point */
	const char   *server_default;    /* SQL expression, or ORM_DEFAULT_NOW; NULL: none */
	const char   *check;             /* SQL condition; NULL: none */
	const char   *references_model;  /* foreign key, else NULL */
	const char   *references_column;
	orm_on_delete on_delete;
} orm_column_spec;

/* A server default that every dialect spells for the column's type: the current date, time or instant. */
#define ORM_DEFAULT_NOW "ormd:now"

typedef struct orm_relationship_spec {
	const char *name;
	bool        to_many;   /* the member is a list */
	const char *target;    /* model name */
	const char *reverse;   /* relationship of the target, or NULL */
	const char *via;       /* foreign key column to follow, or NULL where there is only one */
} orm_relationship_spec;

typedef struct orm_model_spec {
	const char                  *name;
	const char                  *table;
	const orm_column_spec       *columns;
	size_t                       n_columns;
	const orm_relationship_spec *relationships;
	size_t                       n_relationships;
} orm_model_spec;

/* ---- resolved: all memory is the registry's ---------------------------------------------------------------- */

typedef struct orm_mapper       orm_mapper;
typedef struct orm_registry     orm_registry;
typedef struct orm_relationship orm_relationship;

/* Columns of one model that together refer to the primary key, or one unique column, of another (or of the same). */
typedef struct orm_foreign_key {
	const orm_mapper *target;
	uint16_t          n_columns;
	const uint16_t   *columns;         /* of the model that has it; to a composite key: in that key's order */
	const uint16_t   *target_columns;  /* of the target, in the same order */
	orm_on_delete     on_delete;
	bool              nullable;        /* some column of it may be NULL */
	bool              to_key;          /* the target columns are exactly the target's primary key */
} orm_foreign_key;

struct orm_relationship {
	const char             *name;
	uint16_t                number;       /* place in the mapper's list */
	bool                    to_many;
	const orm_mapper       *mapper;       /* whose it is */
	const orm_mapper       *target;
	const orm_relationship *reverse;      /* or NULL */
	const orm_foreign_key  *foreign_key;  /* to-one: of `mapper`, leading to `target`; to-many: of `target`, leading to `mapper` */
};

typedef struct orm_column {
	const char   *name;
	uint16_t      number;
	orm_type      type;
	bool          primary_key;
	bool          nullable;
	bool          unique;
	bool          index;
	bool          version;
	uint32_t      max_length;
	uint8_t       precision;     /* decimal, else 0: never 0 there */
	uint8_t       scale;
	const char   *server_default;
	const char   *check;
	uint16_t      foreign_key;   /* number of the mapper's foreign key it belongs to, or ORM_NO_NUMBER */
} orm_column;

struct orm_mapper {
	const orm_registry     *registry;
	uint16_t                number;         /* place in the registry: the wire's model number */
	const char             *name;
	const char             *table;
	const orm_column       *columns;
	uint16_t                n_columns;
	const uint16_t         *key;            /* columns of the primary key, in declaration order */
	uint16_t                n_key;
	bool                    generated_key;  /* one integer column without a foreign key: 0 or unset means "generate" */
	uint16_t                version;        /* version column, or ORM_NO_NUMBER */
	bool                    has_defaults;   /* some column has a server default */
	const orm_foreign_key  *foreign_keys;
	uint16_t                n_foreign_keys;
	const orm_relationship *relationships;
	uint16_t                n_relationships;
	uint64_t                hash;           /* of everything declared: equal on both sides for equal models */
	uint16_t                depth;          /* parents before children: a model's foreign keys lead to smaller depths, cycles apart */
	bool                    in_cycle;       /* refers to itself, directly or through others */
};

struct orm_registry {
	const orm_mapper        *mappers;
	uint16_t                 n_mappers;
	const orm_mapper *const *by_depth;  /* the same, parents first */
	uint64_t                 hash;      /* of all models in order */
	orm_arena                arena;
};

/*
 * Check and resolve. Columns that reference members of one composite key make one foreign key together; where there are two to the same model,
 * the columns of each are declared one after the other. NULL and ORM_EINVAL naming model and column when the models do not hold together: no
 * primary key, a foreign key to a column that is neither key nor unique or of another type, a relationship
 * without a foreign key or with several and no `via`, names that are empty, too long, doubled or not UTF-8, a nullable
 * key, a decimal or JSON document as key, a version column that is not an integer, set-null on a column that may not be NULL, a check or default that is more than one SQL expression, a table
 * of ormd's own ("ormd_..."), and so on. ORM_ENOMEM. The specs are copied. Owned.
 */
orm_registry *orm_registry_new(const orm_model_spec *specs, size_t n_specs, orm_error *error);
void          orm_registry_free(orm_registry *registry); /* NULL allowed */

/* By name; NULL if there is none. */
const orm_mapper       *orm_registry_find(const orm_registry *registry, const char *name);
const orm_column       *orm_mapper_column(const orm_mapper *mapper, const char *name);
const orm_relationship *orm_mapper_relationship(const orm_mapper *mapper, const char *name);

/*
 * Say in `error` (ORM_EMODEL) how `theirs` differs from `ours`: the first model, column and property. ORM_OK if they are equal.
 */
orm_status orm_registry_compare(const orm_registry *ours, const orm_registry *theirs, orm_error *error);

/* Rebuild the specs of a registry, for sending it on; arena. NULL when out of memory. */
orm_model_spec *orm_registry_specs(const orm_registry *registry, orm_arena *arena);

/* "bool", "int32", ... as error messages and ormctl spell it. */
const char *orm_type_name(orm_type type);

/* Bytes of one cell in a batch: 1, 4, 8 or 16; 0 where they vary, as in text and bytes. */
size_t orm_type_size(orm_type type);

/* Text, and what travels and is kept as text is: NUL-terminated UTF-8. `type` is an orm_type. */
static inline bool orm_type_is_text(unsigned type)
{
	return type == ORM_TEXT || type == ORM_DECIMAL || type == ORM_JSON;
}

/* Is a value of the type a pointer to bytes that are kept elsewhere? */
static inline bool orm_type_is_borrowed(unsigned type)
{
	return orm_type_is_text(type) || type == ORM_BYTES || type == ORM_UUID;
}

#endif
