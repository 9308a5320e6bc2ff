/* SPDX-License-Identifier: MIT */
/* The models, as Database.Connect declares them. */
#ifndef CLIENT_MODEL_MESSAGES_H
#define CLIENT_MODEL_MESSAGES_H

#include "model/registry.h"

#include "proto/ormd.pb-c.h"

/* One message per model, in the registry's order: their places are the model numbers of all that follows. In the arena;
 * NULL when out of memory. */
Ormd__V1__ModelSpec **model_messages(const orm_registry *registry, orm_arena *arena);

#endif
