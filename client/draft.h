/* SPDX-License-Identifier: MIT */
/*
 * What this participant changed, as messages: new objects, changed columns, deletions. Found by comparing structs with
 * snapshots, encoded as column batches, cut into parts that fit a message.
 *
 * Members that orm_add was not given and that have a server default are left out, and so is a generated key of 0. A
 * pointer to an object without a key travels as a reference to its handle.
 */
#ifndef CLIENT_DRAFT_H
#define CLIENT_DRAFT_H

#include "client/mirror.h"

typedef struct orm_draft_limits {
	size_t max_bytes;  /* of one part as packed; leave room for the request around it */
	uint32_t max_rows; /* of one batch; 0: no limit */
} orm_draft_limits;

typedef struct orm_draft_run orm_draft_run;

typedef struct orm_draft {
	Ormd__V1__Draft **parts;             /* in the order to send; the last one travels with the action */
	size_t n_parts;                      /* 0: nothing to send */
	size_t n_adds, n_updates, n_deletes; /* objects; an object counts as updated once */
	orm_draft_run **runs;                /* for orm_draft_accept */
	size_t n_runs;
	uint64_t seen; /* the revision it was built on */
} orm_draft;

/*
 * Settle, then build. All memory is `arena`'s (a request's: it must live until orm_draft_accept, and can go after it).
 * Changes nothing that the program sees but relationships that it assigned; may be done again after a failure, and
 * gives the same handles. ORM_ENOMEM; ORM_EINVAL (see orm_mirror_settle); ORM_ELIMIT naming model and column: one
 * object is larger than a message; ORM_ECONFLICT: an object with edits has left the session (orm_conflicts tells
 * which).
 */
orm_status orm_draft_build(orm_mirror *mirror, const orm_draft_limits *limits, orm_arena *arena, orm_draft *draft,
			   orm_error *error);

/*
 * The server took it: snapshots become what was sent, strings that were lent are copied, new objects get their
 * generated keys. To be called at most once, with no change of the structs since orm_draft_build, before
 * orm_sync_apply. ORM_ENOMEM, ORM_EPROTOCOL (key ranges of nobody).
 */
orm_status orm_draft_accept(orm_mirror *mirror, orm_draft *draft, Ormd__V1__KeyRange *const *keys, size_t n_keys,
			    orm_error *error);

#endif
