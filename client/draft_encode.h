/* SPDX-License-Identifier: MIT */
/* Objects of one model and one set of columns, as messages of a draft: cut at the size of a message. */
#ifndef CLIENT_DRAFT_ENCODE_H
#define CLIENT_DRAFT_ENCODE_H

#include "client/draft.h"
#include "client/mirror_state.h"

typedef enum orm_draft_kind { DRAFT_ADDS, DRAFT_UPDATES, DRAFT_DELETES } orm_draft_kind;

/* What a run of objects has in common. */
typedef struct orm_shape {
	orm_draft_kind kind;
	const orm_layout *layout;
	const uint64_t *columns; /* set of columns that travel */
	const bool *references;  /* layout->n_out: the association travels as a reference; NULL: none does */
	uint64_t base;           /* updates, deletes */
} orm_shape;

/* One batch of a part, remembered for draft_accept. */
struct orm_draft_run {
	orm_draft_kind kind;
	const orm_layout *layout;
	orm_object *const *objects;
	size_t n_objects;
	const Ormd__V1__Batch *values; /* NULL for deletes */
};

/* A growing array of pointers in an arena. */
typedef struct orm_pointers {
	void **items;
	size_t len, capacity;
} orm_pointers;

bool orm_pointers_add(orm_pointers *pointers, void *item, orm_arena *arena);

typedef struct orm_encoder {
	orm_mirror *mirror;
	orm_arena *arena;
	const orm_draft_limits *limits;
	orm_error *error;
	orm_pointers parts;                  /* finished and current: Ormd__V1__Draft */
	orm_pointers adds, updates, deletes; /* of the current part */
	orm_pointers runs;
	size_t room;       /* bytes left in the current part */
	const char **rows; /* scratch of one batch: its structs, */
	uint32_t *sizes;   /* and of its texts and bytes, column by column */
	size_t sizes_capacity;
	bool started; /* the current part has something in it */
} orm_encoder;

void orm_encoder_start(orm_encoder *encoder);
/* `objects` must live as long as the arena. ORM_ENOMEM, ORM_ELIMIT. */
orm_status orm_encoder_put(orm_encoder *encoder, const orm_shape *shape, orm_object *const *objects, size_t n);
orm_status orm_encoder_end(orm_encoder *encoder);

#endif
