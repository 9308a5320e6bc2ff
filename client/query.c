/* SPDX-License-Identifier: MIT */
/* Building queries: what orm_where and its like collect. Running them is in query_run.c. */
#include "client/query_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/fail.h"

/* ---- life ---- */

orm_query *query_new(orm_session *session, const orm_layout *layout)
{
	orm_query *query = calloc(1, sizeof *query);

	if (!query) {
		session_fail_with(session, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	query->session = session;
	query->layout = layout;
	orm_arena_init(&query->arena, 0);
	orm_buffer_init(&query->terms);
	orm_buffer_init(&query->orders);
	orm_buffer_init(&query->loads);
	query->next = session->queries;
	if (query->next)
		query->next->previous = query;
	session->queries = query;
	return query;
}

orm_query *orm_query_new(orm_session *session, const orm_model *model)
{
	if (!session_usable(session))
		return NULL;

	const orm_layout *layout = session_layout(session, model);

	return layout ? query_new(session, layout) : NULL;
}

void orm_query_free(orm_query *query)
{
	if (!query)
		return;
	if (query->previous)
		query->previous->next = query->next;
	else
		query->session->queries = query->next;
	if (query->next)
		query->next->previous = query->previous;
	orm_buffer_fini(&query->terms);
	orm_buffer_fini(&query->orders);
	orm_buffer_fini(&query->loads);
	orm_arena_fini(&query->arena);
	free(query);
}

void query_free_all(orm_session *session)
{
	while (session->queries)
		orm_query_free(session->queries);
}

/* ---- terms ---- */

/* May something be added? The query's model must be the one that the caller's macro named. */
static bool enter(orm_query *query, const orm_model *model)
{
	if (!query || session_enter(query->session) != ORM_OK)
		return false;
	if (model && model != query->layout->model) {
		session_fail_with(query->session, ORM_EINVAL, "the query is on %s, not on %s",
				  query->layout->model->name, model->name);
		return false;
	}
	return true;
}

static void fail_memory(orm_query *query)
{
	session_fail_with(query->session, ORM_ENOMEM, "out of memory");
}

/* Append one element to an array in a buffer. */
static void append(orm_query *query, orm_buffer *buffer, const void *element, size_t size)
{
	orm_buffer_append(buffer, element, size);
	if (buffer->failed)
		fail_memory(query);
}

void query_put_term(orm_query *query, Ormd__V1__Operator op, uint32_t column, Ormd__V1__Value **values, size_t n_values)
{
	Ormd__V1__Term *term = orm_arena_alloc(&query->arena, sizeof *term);

	if (!term) {
		fail_memory(query);
		return;
	}
	ormd__v1__term__init(term);
	term->has_op = true;
	term->op = op;
	term->has_column = op < ORMD__V1__OPERATOR__OP_AND;
	term->column = column;
	term->values = values;
	term->n_values = n_values;
	append(query, &query->terms, &term, sizeof(Ormd__V1__Term *));
	query->n_operands++;
}

static void put_operator(orm_query *query, Ormd__V1__Operator op, size_t n_operands, const char *name)
{
	if (!enter(query, NULL))
		return;
	if (query->n_operands < n_operands) {
		session_fail_with(query->session, ORM_EINVAL,
				  "%s needs %zu term%s before it, but the query on %s has %zu", name, n_operands,
				  n_operands == 1 ? "" : "s", query->layout->model->name, query->n_operands);
		return;
	}
	query_put_term(query, op, 0, NULL, 0);
	query->n_operands -= n_operands;
}

void orm_or(orm_query *query)
{
	put_operator(query, ORMD__V1__OPERATOR__OP_OR, 2, "orm_or");
}

void orm_not(orm_query *query)
{
	put_operator(query, ORMD__V1__OPERATOR__OP_NOT, 1, "orm_not");
}

Ormd__V1__Value *query_value(orm_query *query, const orm_column *column, const orm_value *value)
{
	Ormd__V1__Value *message = orm_arena_alloc(&query->arena, sizeof *message);
	orm_error error;

	if (!message) {
		fail_memory(query);
		return NULL;
	}
	ormd__v1__value__init(message);
	switch (value->type) {
	case ORM_BOOL:
		message->has_boolean = true;
		message->boolean = value->boolean;
		return message;
	case ORM_DOUBLE:
		message->has_number = true;
		message->number = value->number;
		return message;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		if (!orm_utf8_valid(value->text, value->size)) {
			orm_fail_at(&error, ORM_EINVAL, query->layout->model->name, column->name,
				    "the text to compare with is not UTF-8");
			session_fail(query->session, &error);
			return NULL;
		}
		message->has_text = true;
		message->text.len = value->size;
		message->text.data = (uint8_t *)orm_arena_strndup(&query->arena, value->text, value->size);
		break;
	case ORM_BYTES:
	case ORM_UUID:
		message->has_blob = true;
		message->blob.len = value->size;
		message->blob.data = orm_arena_memdup(&query->arena, value->bytes, value->size);
		break;
	default:
		message->has_integer = true;
		message->integer = value->integer;
		return message;
	}
	if (message->text.data || message->blob.data)
		return message;
	fail_memory(query);
	return NULL;
}

/* The column of a member, whose type the caller's macro has found to be `type`. */
static const orm_column *column_at(orm_query *query, size_t offset, orm_type type)
{
	const orm_member *member = orm_layout_member_at(query->layout, offset);

	if (!member || (type != ORM_TYPE_NONE && member->type != type)) {
		session_fail_with(query->session, ORM_EINVAL, "%s: the member is no column of the model%s",
				  query->layout->model->name, member ? " of this type" : "");
		return NULL;
	}
	return &query->layout->mapper->columns[member->column];
}

static orm_status fail_column(orm_query *query, const orm_column *column, const char *message)
{
	orm_error error;

	orm_fail_at(&error, ORM_EINVAL, query->layout->model->name, column->name, "%s", message);
	return session_fail(query->session, &error);
}

static void where(orm_query *query, const orm_model *model, size_t offset, orm_operator op, const orm_value *value)
{
	const orm_column *column = enter(query, model) ? column_at(query, offset, value->type) : NULL;

	if (!column)
		return;
	if (op < ORM_EQ || op > ORM_LIKE) {
		fail_column(query, column, "orm_where was given an operator that there is not");
		return;
	}
	if (op == ORM_LIKE && value->type != ORM_TEXT) {
		fail_column(query, column, "ORM_LIKE compares text only");
		return;
	}
	if (value->null) {
		fail_column(query, column, "nothing compares to NULL; use orm_where_null or orm_where_not_null");
		return;
	}

	Ormd__V1__Value *message = query_value(query, column, value);
	Ormd__V1__Value **values =
		message ? orm_arena_memdup(&query->arena, &message, sizeof(Ormd__V1__Value *)) : NULL;

	if (values)
		query_put_term(query, (Ormd__V1__Operator)op, column->number, values, 1); /* the numbers are the same */
	else if (message)
		fail_memory(query);
}

_Static_assert((int)ORM_EQ == (int)ORMD__V1__OPERATOR__OP_EQ && (int)ORM_LIKE == (int)ORMD__V1__OPERATOR__OP_LIKE,
	       "orm_operator has the wire's numbers");

typedef void read_value(const void *values, size_t i, orm_value *value);

static void where_in(orm_query *query, const orm_model *model, size_t offset, orm_type type, read_value *read,
		     const void *source, size_t n)
{
	const orm_column *column = enter(query, model) ? column_at(query, offset, type) : NULL;
	Ormd__V1__Value **values;

	if (!column)
		return;
	values = orm_arena_calloc(&query->arena, n, sizeof(Ormd__V1__Value *));
	if (!values) {
		fail_memory(query);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		orm_value value = {.type = (uint8_t)type};

		read(source, i, &value);
		if (value.null) {
			fail_column(query, column,
				    "orm_where_in was given a NULL; nothing equals it, use orm_where_null");
			return;
		}
		values[i] = query_value(query, column, &value);
		if (!values[i])
			return;
	}
	query_put_term(query, ORMD__V1__OPERATOR__OP_IN, column->number, values, n);
}

static void set_text(orm_value *value, const char *text)
{
	const size_t size = text ? strlen(text) : 0;

	value->text = text;
	value->size = (uint32_t)(size < UINT32_MAX ? size : UINT32_MAX);
	value->null = !text;
}

static void set_bytes(orm_value *value, orm_bytes bytes)
{
	value->bytes = bytes.data;
	value->size = (uint32_t)(bytes.size < UINT32_MAX ? bytes.size : UINT32_MAX);
	value->null = !bytes.data;
}

static void set_decimal(orm_value *value, orm_decimal decimal)
{
	set_text(value, decimal.text);
}

static void set_bool(orm_value *value, bool boolean)
{
	value->boolean = boolean;
}
static void set_int32(orm_value *value, int32_t integer)
{
	value->integer = integer;
}
static void set_int64(orm_value *value, int64_t integer)
{
	value->integer = integer;
}
static void set_double(orm_value *value, double number)
{
	value->number = number;
}
static void set_date(orm_value *value, orm_date date)
{
	value->integer = date.days;
}
static void set_time(orm_value *value, orm_time time)
{
	value->integer = time.us;
}
static void set_datetime(orm_value *value, orm_datetime datetime)
{
	value->integer = datetime.us;
}

/* The two functions that orm_where and orm_where_in expand to for one C type. */
#define WHERE_FUNCTIONS(suffix, ctype, column_type)                                                                    \
	void orm_where_##suffix(orm_query *query, const orm_model *model, size_t offset, orm_operator op, ctype value) \
	{                                                                                                              \
		orm_value cell = {.type = column_type};                                                                \
                                                                                                                       \
		set_##suffix(&cell, value);                                                                            \
		where(query, model, offset, op, &cell);                                                                \
	}                                                                                                              \
	static void read_##suffix(const void *values, size_t i, orm_value *value)                                      \
	{                                                                                                              \
		set_##suffix(value, ((const ctype *)values)[i]);                                                       \
	}                                                                                                              \
	void orm_where_in_##suffix(orm_query *query, const orm_model *model, size_t offset, const ctype *values,       \
				   size_t n)                                                                           \
	{                                                                                                              \
		where_in(query, model, offset, column_type, read_##suffix, values, n);                                 \
	}

WHERE_FUNCTIONS(bool, bool, ORM_BOOL)
WHERE_FUNCTIONS(int32, int32_t, ORM_INT32)
WHERE_FUNCTIONS(int64, int64_t, ORM_INT64)
WHERE_FUNCTIONS(double, double, ORM_DOUBLE)
WHERE_FUNCTIONS(text, orm_text_, ORM_TEXT)
WHERE_FUNCTIONS(bytes, orm_bytes, ORM_BYTES)
WHERE_FUNCTIONS(date, orm_date, ORM_DATE)
WHERE_FUNCTIONS(time, orm_time, ORM_TIME)
WHERE_FUNCTIONS(datetime, orm_datetime, ORM_DATETIME)
WHERE_FUNCTIONS(decimal, orm_decimal, ORM_DECIMAL)

/* As the others, but a UUID is not put into the cell: that points to it. */
void orm_where_uuid(orm_query *query, const orm_model *model, size_t offset, orm_operator op, orm_uuid value)
{
	const orm_value cell = {.type = ORM_UUID, .size = sizeof value, .bytes = &value};

	where(query, model, offset, op, &cell);
}

static void read_uuid(const void *values, size_t i, orm_value *value)
{
	value->bytes = (const orm_uuid *)values + i;
	value->size = sizeof(orm_uuid);
}

void orm_where_in_uuid(orm_query *query, const orm_model *model, size_t offset, const orm_uuid *values, size_t n)
{
	where_in(query, model, offset, ORM_UUID, read_uuid, values, n);
}

void orm_where_null_member(orm_query *query, const orm_model *model, size_t offset, bool null)
{
	const orm_column *column = enter(query, model) ? column_at(query, offset, ORM_TYPE_NONE) : NULL;

	if (column)
		query_put_term(query, null ? ORMD__V1__OPERATOR__OP_IS_NULL : ORMD__V1__OPERATOR__OP_NOT_NULL,
			       column->number, NULL, 0);
}

/* ---- the rest ---- */

void orm_order_by_member(orm_query *query, const orm_model *model, size_t offset, bool descending)
{
	const orm_column *column = enter(query, model) ? column_at(query, offset, ORM_TYPE_NONE) : NULL;
	Ormd__V1__Order *order = column ? orm_arena_alloc(&query->arena, sizeof *order) : NULL;

	if (!order) {
		if (column)
			fail_memory(query);
		return;
	}
	ormd__v1__order__init(order);
	order->has_column = order->has_descending = true;
	order->column = column->number;
	order->descending = descending;
	append(query, &query->orders, &order, sizeof(Ormd__V1__Order *));
}

void orm_with_member(orm_query *query, const orm_model *model, size_t offset)
{
	if (!enter(query, model))
		return;

	const orm_relation *relation = orm_layout_relation_at(query->layout, offset);

	if (!relation) {
		session_fail_with(query->session, ORM_EINVAL, "%s: orm_with was not given a relationship of the model",
				  query->layout->model->name);
		return;
	}
	const uint32_t number = relation->number;

	append(query, &query->loads, &number, sizeof number);
}

void orm_limit(orm_query *query, uint64_t n)
{
	if (enter(query, NULL)) {
		query->limited = true;
		query->limit = n;
	}
}

void orm_offset(orm_query *query, uint64_t n)
{
	if (enter(query, NULL))
		query->offset = n;
}

void orm_populate_existing(orm_query *query)
{
	if (enter(query, NULL))
		query->populate_existing = true;
}

static void lock_rows(orm_query *query, Ormd__V1__Lock lock)
{
	if (enter(query, NULL))
		query->lock = lock;
}

void orm_for_update(orm_query *query)
{
	if (query && query->lock == ORMD__V1__LOCK__LOCK_NONE) /* the others say more */
		lock_rows(query, ORMD__V1__LOCK__LOCK_WAIT);
}

void orm_skip_locked(orm_query *query)
{
	lock_rows(query, ORMD__V1__LOCK__LOCK_SKIP);
}

void orm_no_wait(orm_query *query)
{
	lock_rows(query, ORMD__V1__LOCK__LOCK_FAIL);
}
