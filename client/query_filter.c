/* SPDX-License-Identifier: MIT */
/* Filters by designators: the members that a call gave, and what they must equal. */
#include "client/query_state.h"

#include "base/error.h"
#include "model/fail.h"

static void equals(orm_query *query, uint16_t number, const orm_value *value)
{
	const orm_column *column = &query->layout->mapper->columns[number];
	Ormd__V1__Value *message;
	Ormd__V1__Value **values;

	if (value->null) {
		query_put_term(query, ORMD__V1__OPERATOR__OP_IS_NULL, number, NULL, 0);
		return;
	}
	message = query_value(query, column, value);
	values = message ? orm_arena_memdup(&query->arena, &message, sizeof(Ormd__V1__Value *)) : NULL;
	if (values)
		query_put_term(query, ORMD__V1__OPERATOR__OP_EQ, number, values, 1);
	else if (message)
		session_fail_with(query->session, ORM_ENOMEM, "out of memory");
}

static orm_status fail_relation(orm_query *query, const orm_relation *relation, const char *message)
{
	orm_error error;

	orm_fail_at(&error, ORM_EINVAL, query->layout->model->name, relation->relationship->name, "%s", message);
	return session_fail(query->session, &error);
}

/* Has an object got what rows refer to it by? Not if it was added here and its key is still to be generated. */
static bool has_key(const orm_association *association, const orm_object *target)
{
	const orm_foreign_key *foreign_key = association->foreign_key;
	const orm_mapper *parent = association->parent->mapper;

	for (size_t i = 0; i < foreign_key->n_columns; i++) {
		const uint16_t column = foreign_key->target_columns[i];
		orm_value value;

		orm_member_get(&association->parent->members[column], orm_object_struct(target), &value);
		if (value.null || (parent->generated_key && column == parent->key[0] && value.integer == 0))
			return false;
	}
	return true;
}

static void refers_to(orm_query *query, const orm_relation *relation, const void *other)
{
	orm_session *session = query->session;
	const orm_association *association = relation->association;
	const orm_foreign_key *foreign_key = association->foreign_key;
	const orm_object *target = other ? orm_mirror_find(session->mirror, other) : NULL;

	if (relation->to_many) {
		fail_relation(query, relation, "a filter takes columns and to-one relationships, not lists");
		return;
	}
	if (other && (!target || orm_object_layout(target) != relation->target)) {
		fail_relation(query, relation,
			      other == relation->poison
				      ? "the filter's value is a relationship that has not been loaded"
				      : "the filter's value is not an object of this session");
		return;
	}
	if (target && !has_key(association, target)) {
		/* Private: it gets its key by being sent. Shared: nobody has seen it, so no row refers to it. */
		if (!session->shared && orm_flush(session) != ORM_OK)
			return;
		if (!has_key(association, target)) {
			query_put_term(query, ORMD__V1__OPERATOR__OP_IN, foreign_key->columns[0], NULL, 0);
			return;
		}
	}
	for (size_t i = 0; i < foreign_key->n_columns; i++) {
		orm_value value = {.null = true};

		if (target)
			orm_member_get(&association->parent->members[foreign_key->target_columns[i]],
				       orm_object_struct(target), &value);
		equals(query, foreign_key->columns[i], &value);
	}
}

orm_status query_filter(orm_query *query, const void *example, const char *text)
{
	orm_session *session = query->session;
	const orm_layout *layout = query->layout;
	orm_error error = {0};
	const designators *given = designators_get(&session->designators, layout->model, text, &error);

	if (!given)
		return session_fail(session, &error);
	for (size_t i = 0; i < given->n_fields && session->error.code == ORM_OK; i++) {
		const orm_layout_field *field = &layout->fields[given->fields[i]];

		if (field->is_column) {
			orm_value value;

			orm_member_get(&layout->members[field->number], example, &value);
			equals(query, field->number, &value);
		} else {
			const orm_relation *relation = &layout->relations[field->number];

			refers_to(query, relation, *(const void *const *)((const char *)example + relation->offset));
		}
	}
	return session->error.code;
}
