/* SPDX-License-Identifier: MIT */
/*
 * Which members did a call give? orm_add(s, User, .name = "Alice") passes a User and the text `.name = "Alice"`; the
 * text is the only place that says which of the User's members were given, and which are merely zero.
 *
 * The text is C source as the preprocessor left it: it is cut at the commas outside of strings, character constants,
 * comments and brackets of any kind, and every piece must begin with a designator (`.name = x`, `.published.has =
 * true`). Each call site is parsed once: the cache is asked by the text's address, and compares the text, because a
 * library that was unloaded may have left its address to another. One thread at a time; a cache belongs to a session.
 */
#ifndef CLIENT_DESIGNATORS_H
#define CLIENT_DESIGNATORS_H

#include <orm.h>

#include "base/arena.h"
#include "base/map.h"

typedef struct designators {
	size_t n_fields;
	const uint16_t *fields; /* places in model->fields, each once, in the order given */
} designators;

typedef struct designators_cache {
	orm_map sites;
	orm_arena arena;
} designators_cache;

void designators_cache_init(designators_cache *cache);
void designators_cache_fini(designators_cache *cache); /* zeroed storage allowed */

/*
 * The members that `text` gives, good as long as the cache. NULL and ORM_EINVAL, naming the offending piece, for what
 * is no designator or no field of the model; ORM_ENOMEM.
 */
const designators *designators_get(designators_cache *cache, const orm_model *model, const char *text,
				   orm_error *error);

#endif
