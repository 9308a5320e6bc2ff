/* SPDX-License-Identifier: MIT */
/*
 * Pointers and lists: what the foreign keys mean, kept on both sides at once.
 *
 * All mirrored children with one value of a foreign key form a family, with the parent that has this key, where it is
 * mirrored. A child's pointer is its family's parent; a parent's list, once loaded, is its family's array of children.
 * Families are found by the foreign key's value, so a child that arrives costs one look-up, however many there are. A
 * new parent's family has no value yet; it gets it with the generated key.
 *
 * Plain assignments are found by comparing a child's pointer with what its family says, and its columns with its
 * family's value. The pointer wins over the columns (as in SQLAlchemy).
 */
#ifndef CLIENT_RELATIONSHIP_H
#define CLIENT_RELATIONSHIP_H

#include "client/mirror.h"

/* Let plain assignments to pointers and foreign keys take effect in structs and lists. ORM_EINVAL: a pointer to what is
 * not of this session. */
orm_status orm_mirror_settle(orm_mirror *mirror, orm_error *error);

/*
 * orm_link and orm_unlink. `member` is the address of a relationship in `object`; `other` may be NULL for a to-one.
 * ORM_EINVAL: not of this session, no relationship, wrong model, not in the list; unlinking from a list whose foreign
 * key may not be NULL; ORM_ESTATE: an object that is deleted or gone; ORM_ENOMEM.
 */
orm_status orm_mirror_link(orm_mirror *mirror, const void *object, const void *member, const void *other,
			   orm_error *error);
orm_status orm_mirror_unlink(orm_mirror *mirror, const void *object, const void *member, const void *other,
			     orm_error *error);

/* Is this relationship of this object loaded (a to-one: resolved or NULL)? For orm_load: no call is needed then. */
bool orm_mirror_is_loaded(const orm_mirror *mirror, const orm_object *object, const orm_relation *relation);

#endif
