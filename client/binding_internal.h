/* SPDX-License-Identifier: MIT */
/* The first half of making a binding: the program's tables of fields as specs, checked and resolved by the registry. */
#ifndef CLIENT_BINDING_INTERNAL_H
#define CLIENT_BINDING_INTERNAL_H

#include <orm.h>

#include "model/registry.h"

/* NULL and ORM_EINVAL or ORM_ENOMEM. Owned. */
orm_registry *orm_binding_registry(const orm_model *const models[], size_t n_models, orm_error *error);

#endif
