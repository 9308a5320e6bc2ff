/* SPDX-License-Identifier: MIT */
/*
 * Fields that this participant and another changed.
 *
 * A dispute is what the mirror remembers when somebody else's change arrives for a member with an unsent edit: the
 * revision that the edit was based on, and theirs. The draft sends such a field with its old base, so that the server
 * refuses it; its refusal lists the conflicts, which orm_conflicts shows. Resolving with "mine" raises the base to
 * theirs, with "theirs" takes theirs into the struct. Where theirs is the deletion, "mine" makes the object a new one
 * with the same struct, key and values, and a new handle.
 */
#ifndef CLIENT_CONFLICT_H
#define CLIENT_CONFLICT_H

#include "client/mirror.h"

/* The list that an ORM_ECONFLICT brought. After the orm_sync_apply of the same reply. Replaces what was there.
 * ORM_ENOMEM, ORM_EPROTOCOL. */
orm_status orm_conflict_take(orm_mirror *mirror, const Ormd__V1__ConflictDetail *detail, orm_error *error);

/* Those not resolved yet. Borrowed, until the next commit, rollback or discard, or the resolution. */
const orm_conflict *orm_conflict_list(const orm_mirror *mirror, size_t *n);

/*
 * orm_resolve; NULL for all. *left: how many are not resolved. ORM_EINVAL: not one of the list. When none is left, the
 * session's failure is to be forgotten.
 */
orm_status orm_conflict_resolve(orm_mirror *mirror, const orm_conflict *conflict, orm_choice choice, size_t *left,
				orm_error *error);

#endif
