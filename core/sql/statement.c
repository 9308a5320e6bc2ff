/* SPDX-License-Identifier: MIT */
#include "sql/statement.h"

#include <math.h>

#include "model/fail.h"

#define DAY_US INT64_C(86400000000)

/* Why this value does not fit the column; NULL when it does. */
static const char *value_fault(const orm_column *column, const orm_value *value)
{
	if (value->type != column->type)
		return "has another type than the column";
	switch (column->type) {
	case ORM_INT32:
	case ORM_DATE:
		return value->integer < INT32_MIN || value->integer > INT32_MAX
			       ? "is out of the column's range of 32 bits"
			       : NULL;
	case ORM_TIME:
		return value->integer < 0 || value->integer >= DAY_US ? "is not within a day" : NULL;
	case ORM_DOUBLE:
		return isnan(value->number) ? "is not a number (NaN), which compares with nothing" : NULL;
	case ORM_TEXT:
		return !value->text || !orm_utf8_valid(value->text, value->size) ? "is not valid UTF-8 text" : NULL;
	case ORM_DECIMAL:
		return !value->text || orm_column_text_fault(column, value->text, value->size)
			       ? "is not a number that the column can have"
			       : NULL;
	case ORM_UUID:
		return !value->bytes || value->size != sizeof(orm_uuid) ? "has not 16 bytes" : NULL;
	case ORM_BYTES:
		return !value->bytes && value->size > 0 ? "has no bytes" : NULL;
	default:
		return NULL;
	}
}

static orm_status check_values(const orm_mapper *mapper, const orm_column *column, const ormd_term *term,
			       orm_error *error)
{
	for (size_t i = 0; i < term->n_values; i++) {
		const orm_value *value = &term->values[i];
		const char *fault;

		if (value->null) {
			if (term->op == ORMD_EQ || term->op == ORMD_NE)
				continue;
			return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name,
					   "the filter compares with NULL, which matches nothing: use = or !=, which "
					   "ask for NULL");
		}
		fault = value_fault(column, value);
		if (fault)
			return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name,
					   "value %zu of the filter %s: give a good %s", i, fault,
					   orm_type_name(column->type));
	}
	return ORM_OK;
}

static orm_status check_comparison(const orm_mapper *mapper, const ormd_term *term, orm_error *error)
{
	const orm_column *column;
	size_t expected = 1;

	if (term->column >= mapper->n_columns)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "the filter has a column %u, but the model has %u", (unsigned)term->column,
				   (unsigned)mapper->n_columns);
	column = &mapper->columns[term->column];
	if (term->op == ORMD_IS_NULL || term->op == ORMD_NOT_NULL)
		expected = 0;
	if (term->op != ORMD_IN && term->n_values != expected)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name,
				   "the filter has %zu values where %zu belong", term->n_values, expected);
	if (term->n_values > 0 && !term->values)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name, "the filter's values are missing");
	if (term->op == ORMD_LIKE && column->type != ORM_TEXT)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name,
				   "LIKE is for text, but the column is %s: use =, < or >",
				   orm_type_name(column->type));
	if (column->type == ORM_JSON && term->op != ORMD_IS_NULL && term->op != ORMD_NOT_NULL)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, column->name,
				   "JSON can only be asked whether it is NULL: keep what you look for in a column of its "
				   "own");
	return check_values(mapper, column, term, error);
}

static orm_status refuse_stack(const orm_mapper *mapper, size_t number, orm_error *error)
{
	return orm_fail_at(
		error, ORM_EINVAL, mapper->name, NULL,
		"term %zu of the filter joins conditions that are not there: put it after those that it joins", number);
}

/* What is on the stack while a filter is read. */
typedef struct condition {
	ormd_operator op;
	uint16_t nesting; /* groups inside each other; a comparison has none */
} condition;

/* A condition that is joined by the same operator as its own is of the same group. */
static uint16_t nesting_within(ormd_operator op, const condition *inner)
{
	return (uint16_t)(inner->nesting + (inner->op != op));
}

static condition join(ormd_operator op, const condition *left, const condition *right)
{
	const uint16_t a = nesting_within(op, left);
	const uint16_t b = nesting_within(op, right);

	return (condition){.op = op, .nesting = a > b ? a : b};
}

static orm_status check_where(const ormd_select *select, orm_error *error)
{
	const orm_mapper *mapper = select->mapper;
	condition stack[ORMD_MAX_TERMS];
	size_t depth = 0;
	size_t n_values = 0;

	if (select->n_where > ORMD_MAX_TERMS)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "the filter has %zu terms: at most %d are allowed", select->n_where, ORMD_MAX_TERMS);
	for (size_t i = 0; i < select->n_where; i++) {
		const ormd_term *term = &select->where[i];
		orm_status status;

		switch (term->op) {
		case ORMD_AND:
		case ORMD_OR:
			if (depth < 2)
				return refuse_stack(mapper, i, error);
			depth--;
			stack[depth - 1] = join(term->op, &stack[depth - 1], &stack[depth]);
			break;
		case ORMD_NOT:
			if (depth < 1)
				return refuse_stack(mapper, i, error);
			stack[depth - 1] =
				(condition){.op = ORMD_NOT, .nesting = (uint16_t)(stack[depth - 1].nesting + 1)};
			break;
		case ORMD_EQ:
		case ORMD_NE:
		case ORMD_LT:
		case ORMD_LE:
		case ORMD_GT:
		case ORMD_GE:
		case ORMD_LIKE:
		case ORMD_IN:
		case ORMD_IS_NULL:
		case ORMD_NOT_NULL:
			status = check_comparison(mapper, term, error);
			if (status != ORM_OK)
				return status;
			if (term->n_values > ORMD_MAX_VALUES - n_values)
				return orm_fail_at(error, ORM_EINVAL, mapper->name, mapper->columns[term->column].name,
						   "the filter has more than %d values: ask in several queries",
						   ORMD_MAX_VALUES);
			n_values += term->n_values;
			stack[depth++] = (condition){.op = term->op};
			break;
		default:
			return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
					   "term %zu of the filter has an unknown operator %d", i, (int)term->op);
		}
		if (stack[depth - 1].nesting > ORMD_MAX_NESTING)
			return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
					   "the filter is nested more than %d deep: split the query", ORMD_MAX_NESTING);
	}
	return ORM_OK;
}

orm_status ormd_select_check(const ormd_select *select, orm_error *error)
{
	const orm_mapper *mapper = select->mapper;

	if ((unsigned)select->result > ORMD_EXISTS)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "the query asks for an unknown kind of result, %d", (int)select->result);
	if ((unsigned)select->lock > ORMD_LOCK_FAIL)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL, "the query asks for an unknown kind of lock, %d",
				   (int)select->lock);
	if (select->lock != ORMD_LOCK_NONE && select->result != ORMD_ROWS)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "a count has no rows to lock: ask for the rows with orm_for_update");
	if (select->columns && (select->n_columns == 0 || select->n_columns > mapper->n_columns))
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "the query asks for %zu columns, but the model has %u", select->n_columns,
				   (unsigned)mapper->n_columns);
	for (size_t i = 0; select->columns && i < select->n_columns; i++) {
		if (select->columns[i] >= mapper->n_columns)
			return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
					   "the query asks for a column %u, but the model has %u",
					   (unsigned)select->columns[i], (unsigned)mapper->n_columns);
	}
	if (select->n_order > mapper->n_columns)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
				   "the query orders by %zu columns, but the model has %u", select->n_order,
				   (unsigned)mapper->n_columns);
	for (size_t i = 0; i < select->n_order; i++) {
		if (select->order[i].column >= mapper->n_columns)
			return orm_fail_at(error, ORM_EINVAL, mapper->name, NULL,
					   "the query orders by a column %u, but the model has %u",
					   (unsigned)select->order[i].column, (unsigned)mapper->n_columns);
		if (mapper->columns[select->order[i].column].type == ORM_JSON)
			return orm_fail_at(error, ORM_EINVAL, mapper->name,
					   mapper->columns[select->order[i].column].name,
					   "JSON has no order: keep what you order by in a column of its own");
	}
	return check_where(select, error);
}
