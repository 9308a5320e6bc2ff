/* SPDX-License-Identifier: MIT */
/* How a registry comes to be, in the order of the calls; only registry.c includes the parts together. */
#ifndef ORM_MODEL_REGISTRY_BUILD_H
#define ORM_MODEL_REGISTRY_BUILD_H

#include "model/fail.h"
#include "model/registry.h"

/* 1: what can be said about each model on its own: names, flags, texts (registry_check.c). ORM_EINVAL, ORM_ENOMEM. */
orm_status orm_registry_check_specs(const orm_model_spec *specs, size_t n_specs, orm_error *error);

/* The registry while it is made: the same objects as its const ones, to be written to. */
typedef struct registry_build {
	orm_registry *registry;
	const orm_model_spec *specs;
	orm_mapper *mappers;
	orm_column **columns;             /* per mapper */
	orm_relationship **relationships; /* per mapper */
	orm_error *error;
} registry_build;

/* 2: names to numbers, once all columns are there (registry_resolve.c). ORM_EINVAL, ORM_ENOMEM. */
orm_status orm_registry_resolve_foreign_keys(registry_build *build);
orm_status orm_registry_resolve_relationships(registry_build *build);

/* 3: parents before children (registry_order.c). ORM_ENOMEM. */
orm_status orm_registry_order(registry_build *build);

/* 4: hashes of all that was declared (registry_compare.c). False when out of memory. */
bool orm_registry_hash(registry_build *build);

#endif
