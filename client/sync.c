/* SPDX-License-Identifier: MIT */
#include "client/sync.h"

#include "client/family.h"
#include "client/relationship.h"

/* ---- objects that leave and come back ------------------------------------------------------------------------ */

static orm_status take_gone(orm_mirror *mirror, const Ormd__V1__Sync *sync, orm_error *error)
{
	for (size_t i = 0; i < sync->n_gone; i++) {
		orm_object *object = orm_mirror_by_handle(mirror, sync->gone[i]);

		if (object && !orm_object_vanish(mirror, object))
			return orm_mirror_no_memory(error);
	}
	return ORM_OK;
}

static orm_status take_deleted(orm_mirror *mirror, const Ormd__V1__Sync *sync, orm_error *error)
{
	for (size_t i = 0; i < sync->n_deleted; i++) {
		orm_object *object = orm_mirror_by_handle(mirror, sync->deleted[i]);

		if (!object || (object->flags & OBJECT_DELETED))
			continue;
		if (object->flags & OBJECT_DELETING)
			orm_object_unflag(object, OBJECT_DELETING); /* both wanted it */
		else if (orm_has_edits(object) && !orm_dispute_put(mirror, object, ORM_NO_NUMBER, mirror->seen))
			return orm_mirror_no_memory(error);
		orm_child_leaves(mirror, object);
		orm_object_flag(object, OBJECT_DELETED);
	}
	return ORM_OK;
}

static void take_restored(orm_mirror *mirror, const Ormd__V1__Sync *sync)
{
	for (size_t i = 0; i < sync->n_restored; i++) {
		orm_object *object = orm_mirror_by_handle(mirror, sync->restored[i]);

		if (!object || !(object->flags & OBJECT_DELETED))
			continue;
		orm_object_unflag(object, OBJECT_DELETED);
		if (!(object->flags & OBJECT_DELETING))
			orm_child_arrives(mirror, object, true);
	}
}

/* ---- commits by others -------------------------------------------------------------------------------------- */

/* Where the last commit among the notices is: none, before the last published operation, or after all of them. */
typedef enum orm_committed { COMMITTED_NOTHING, COMMITTED_SOME, COMMITTED_ALL } orm_committed;

static orm_committed find_commit(const Ormd__V1__Sync *sync)
{
	orm_committed committed = COMMITTED_NOTHING;

	for (size_t i = 0; i < sync->n_notices; i++) {
		if (sync->notices[i]->kind == ORMD__V1__NOTICE_KIND__NOTICE_COMMITTED)
			committed = COMMITTED_ALL;
		else if (sync->notices[i]->kind == ORMD__V1__NOTICE_KIND__NOTICE_PUBLISHED &&
			 committed == COMMITTED_ALL)
			committed = COMMITTED_SOME;
	}
	return committed;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static orm_status take_objects(orm_mirror *mirror, const Ormd__V1__Sync *sync, orm_error *error)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; status == ORM_OK && i < sync->n_added; i++)
		status = orm_install(mirror, sync->added[i], INSTALL_ADDED, NULL, error);
	for (size_t i = 0; status == ORM_OK && i < sync->n_changed; i++)
		status = orm_install(mirror, sync->changed[i], INSTALL_CHANGED, NULL, error);
	return status;
}

static bool changes_objects(const Ormd__V1__Sync *sync)
{
	return sync->n_added + sync->n_changed + sync->n_gone + sync->n_deleted + sync->n_restored > 0;
}

orm_status orm_sync_apply(orm_mirror *mirror, const Ormd__V1__Sync *sync, orm_error *error)
{
	orm_committed committed;
	orm_status status;

	if (!sync)
		return ORM_OK;
	/*
	 * A pointer that the program assigned is an edit of the foreign key, which what others did there must not
	 * pass by. One that cannot be settled is refused when the draft is built.
	 */
	if (changes_objects(sync) && orm_mirror_settle(mirror, NULL) == ORM_ENOMEM)
		return orm_mirror_no_memory(error);
	committed = find_commit(sync);
	if (committed == COMMITTED_SOME)
		status = orm_mirror_committed(mirror, error); /* what is added below came after it */
	else
		status = ORM_OK;

	orm_families_batch(mirror);
	take_restored(mirror, sync);
	if (status == ORM_OK)
		status = take_objects(mirror, sync, error);
	if (status == ORM_OK)
		status = take_deleted(mirror, sync, error);
	if (status == ORM_OK)
		status = take_gone(mirror, sync, error);
	orm_families_tidy(mirror);
	if (status == ORM_OK && committed == COMMITTED_ALL)
		status = orm_mirror_committed(mirror, error);
	if (status == ORM_OK && mirror->out_of_memory) {
		mirror->out_of_memory = false;
		status = orm_mirror_no_memory(error);
	}
	if (status == ORM_OK && sync->rev > mirror->seen)
		mirror->seen = sync->rev;
	return status;
}
