/* SPDX-License-Identifier: MIT */
#include "sql/compile.h"

#include <assert.h>
#include <string.h>

/* SQL under way: where it goes, and how many parameters it has. */
typedef struct compiler {
	const ormd_dialect *dialect;
	orm_buffer *out;
	unsigned n_parameters;
} compiler;

void ormd_sql_identifier(const ormd_dialect *dialect, const char *name, orm_buffer *out)
{
	const char *quote;

	orm_buffer_putc(out, dialect->quote);
	while ((quote = strchr(name, dialect->quote))) { /* up to it, and it twice */
		orm_buffer_append(out, name, (size_t)(quote - name) + 1);
		orm_buffer_putc(out, *quote);
		name = quote + 1;
	}
	orm_buffer_puts(out, name);
	orm_buffer_putc(out, dialect->quote);
}

static void put(compiler *c, const char *sql)
{
	orm_buffer_puts(c->out, sql);
}

static void put_column(compiler *c, const orm_mapper *mapper, uint16_t column)
{
	assert(column < mapper->n_columns);
	ormd_sql_identifier(c->dialect, mapper->columns[column].name, c->out);
}

static void put_table(compiler *c, const orm_mapper *mapper)
{
	ormd_sql_identifier(c->dialect, mapper->table, c->out);
}

static void put_columns(compiler *c, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns)
{
	for (size_t i = 0; i < n_columns; i++) {
		if (i > 0)
			put(c, ", ");
		put_column(c, mapper, columns[i]);
	}
}

/* The same where their values are read. NULL `columns`: all of the mapper. */
static void put_results(compiler *c, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns)
{
	if (!columns)
		n_columns = mapper->n_columns;
	for (size_t i = 0; i < n_columns; i++) {
		const uint16_t number = columns ? columns[i] : (uint16_t)i;

		if (i > 0)
			put(c, ", ");
		if (c->dialect->read_decimal && mapper->columns[number].type == ORM_DECIMAL)
			c->dialect->read_decimal(&mapper->columns[number], c->out);
		else
			put_column(c, mapper, number);
	}
}

static void put_parameter(compiler *c)
{
	c->n_parameters++;
	assert(c->n_parameters <= c->dialect->max_parameters);
	if (c->dialect->numbered_parameters)
		orm_buffer_printf(c->out, "$%u", c->n_parameters);
	else
		orm_buffer_putc(c->out, '?');
}

static void put_parameters(compiler *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			put(c, ", ");
		put_parameter(c);
	}
}

/* ---- select ------------------------------------------------------------------------------------------------ */

static size_t padded(size_t n)
{
	size_t size = n > 0;

	while (size < n)
		size *= 2;
	return size;
}

/* = and != with NULL ask for it, and take no parameter. */
static bool asks_for_null(const ormd_term *term)
{
	return (term->op == ORMD_EQ || term->op == ORMD_NE) && term->values[0].null;
}

static void put_comparison(compiler *c, const orm_mapper *mapper, const ormd_term *term)
{
	static const char *const operators[] = {
		[ORMD_EQ] = " = ", [ORMD_NE] = " <> ", [ORMD_LT] = " < ",      [ORMD_LE] = " <= ",
		[ORMD_GT] = " > ", [ORMD_GE] = " >= ", [ORMD_LIKE] = " LIKE ",
	};

	if (term->op == ORMD_IN && term->n_values == 0) {
		put(c, "1 = 0");
		return;
	}
	put_column(c, mapper, term->column);
	if (term->op == ORMD_IS_NULL || (term->op == ORMD_EQ && asks_for_null(term))) {
		put(c, " IS NULL");
	} else if (term->op == ORMD_NOT_NULL || (term->op == ORMD_NE && asks_for_null(term))) {
		put(c, " IS NOT NULL");
	} else if (term->op == ORMD_IN) {
		put(c, " IN (");
		put_parameters(c, padded(term->n_values));
		put(c, ")");
	} else {
		put(c, operators[term->op]);
		put_parameter(c);
		if (term->op == ORMD_LIKE)
			put(c, c->dialect->like_escape);
	}
}

/* A filter in postfix order, with the place where each condition of two operands has its left one. */
typedef struct filter {
	const ormd_select *select;
	uint16_t left[ORMD_MAX_TERMS];
	uint16_t roots[ORMD_MAX_TERMS]; /* the conditions that remain on the stack, to be joined by AND */
	size_t n_roots;
} filter;

static void parse_filter(filter *f, const ormd_select *select)
{
	assert(select->n_where <= ORMD_MAX_TERMS);
	f->select = select;
	f->n_roots = 0;
	for (size_t i = 0; i < select->n_where; i++) {
		const ormd_operator op = select->where[i].op;

		if (op == ORMD_AND || op == ORMD_OR) {
			assert(f->n_roots >= 2);
			f->left[i] = f->roots[f->n_roots - 2];
			f->n_roots -= 2;
		} else if (op == ORMD_NOT) {
			assert(f->n_roots >= 1);
			f->n_roots--;
		}
		f->roots[f->n_roots++] = (uint16_t)i;
	}
}

/*
 * `outer`: what joins this condition to others. A chain of one operator, however it was built, is written without
 * parentheses: engines limit how deep those nest (SQLite's parser has a stack of 100). The right operand always is the
 * term before. Recursion is as deep as such a chain is long, at most ORMD_MAX_TERMS / 2.
 */
static void put_condition(compiler *c, const filter *f, size_t at, ormd_operator outer)
{
	const ormd_term *term = &f->select->where[at];

	switch (term->op) {
	case ORMD_AND:
	case ORMD_OR:
		if (term->op != outer)
			put(c, "(");
		put_condition(c, f, f->left[at], term->op);
		put(c, term->op == ORMD_AND ? " AND " : " OR ");
		put_condition(c, f, at - 1, term->op);
		if (term->op != outer)
			put(c, ")");
		break;
	case ORMD_NOT:
		put(c, "NOT (");
		put_condition(c, f, at - 1, f->select->where[at - 1].op);
		put(c, ")");
		break;
	default:
		put_comparison(c, f->select->mapper, term);
		break;
	}
}

/* Longer chains are halved, since engines limit the depth of what they parse as well (SQLite: 1000), and a AND b AND c
 * is two deep. */
#define LONGEST_CHAIN 256

static void put_roots(compiler *c, const filter *f, size_t from, size_t to)
{
	if (to - from <= LONGEST_CHAIN) {
		for (size_t i = from; i < to; i++) {
			if (i > from)
				put(c, " AND ");
			put_condition(c, f, f->roots[i], f->n_roots == 1 ? f->select->where[f->roots[i]].op : ORMD_AND);
		}
		return;
	}
	put(c, "(");
	put_roots(c, f, from, from + (to - from) / 2);
	put(c, ") AND (");
	put_roots(c, f, from + (to - from) / 2, to);
	put(c, ")");
}

static void put_where(compiler *c, const ormd_select *select)
{
	filter f;

	if (select->n_where == 0)
		return;
	parse_filter(&f, select);
	put(c, " WHERE ");
	put_roots(c, &f, 0, f.n_roots);
}

static void put_direction(compiler *c, const orm_column *column, bool descending)
{
	const char *nullable = descending ? c->dialect->descending : c->dialect->ascending;

	/* A column without NULLs is better off without a word about them, which would keep indexes from being used. */
	put(c, column->nullable && nullable ? nullable : descending ? " DESC" : "");
}

static void put_order(compiler *c, const ormd_select *select)
{
	for (size_t i = 0; i < select->n_order; i++) {
		put(c, i == 0 ? " ORDER BY " : ", ");
		put_column(c, select->mapper, select->order[i].column);
		put_direction(c, &select->mapper->columns[select->order[i].column], select->order[i].descending);
	}
}

static bool has_limit(const ormd_select *select)
{
	return select->limit != ORMD_NO_LIMIT;
}

static void put_limit(compiler *c, const ormd_select *select)
{
	if (has_limit(select)) {
		put(c, " LIMIT ");
		put_parameter(c);
	}
	if (select->offset > 0) {
		/* Some engines know OFFSET only after a LIMIT. */
		put(c, has_limit(select) ? " OFFSET " : " LIMIT 9223372036854775807 OFFSET ");
		put_parameter(c);
	}
}

void ormd_sql_lock(const ormd_dialect *dialect, ormd_lock lock, orm_buffer *out)
{
	if (lock == ORMD_LOCK_NONE || !dialect->for_update)
		return;
	orm_buffer_puts(out, dialect->for_update);
	if (lock == ORMD_LOCK_SKIP && dialect->skip_locked)
		orm_buffer_puts(out, dialect->skip_locked);
	if (lock == ORMD_LOCK_FAIL && dialect->no_wait)
		orm_buffer_puts(out, dialect->no_wait);
}

/*
 * Whether there is a row is the count of at most one, not EXISTS: its filter counts twice against SQLite's limit of
 * depth, and not every engine gives an integer.
 */
void ormd_sql_select(const ormd_dialect *dialect, const ormd_select *select, orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};
	const bool bounded = has_limit(select) || select->offset > 0;

	switch (select->result) {
	case ORMD_ROWS:
		put(&c, "SELECT ");
		put_results(&c, select->mapper, select->columns, select->n_columns);
		break;
	case ORMD_COUNT:
		put(&c, bounded ? "SELECT count(*) FROM (SELECT 1" : "SELECT count(*)");
		break;
	case ORMD_EXISTS:
		put(&c, "SELECT count(*) FROM (SELECT 1");
		put(&c, bounded ? " FROM (SELECT 1" : "");
		break;
	}
	put(&c, " FROM ");
	put_table(&c, select->mapper);
	put_where(&c, select);
	if (select->result == ORMD_ROWS) /* the order changes neither a count nor whether there is a row */
		put_order(&c, select);
	put_limit(&c, select);
	ormd_sql_lock(dialect, select->lock, out);
	if (select->result == ORMD_COUNT && bounded)
		put(&c, ") AS counted");
	if (select->result == ORMD_EXISTS)
		put(&c, bounded ? ") AS bounded LIMIT 1) AS found" : " LIMIT 1) AS found");
}

/* Limits are unsigned, what an engine takes is not. */
static orm_value limit_value(uint64_t limit)
{
	return (orm_value){.type = ORM_INT64, .integer = limit > INT64_MAX ? INT64_MAX : (int64_t)limit};
}

const orm_value *ormd_select_parameters(const ormd_select *select, orm_arena *arena, size_t *n)
{
	size_t capacity = 2;
	size_t used = 0;
	orm_value *values;

	for (size_t i = 0; i < select->n_where; i++)
		capacity += padded(select->where[i].n_values);
	values = orm_arena_calloc(arena, capacity, sizeof *values);
	if (!values)
		return NULL;
	for (size_t i = 0; i < select->n_where; i++) {
		const ormd_term *term = &select->where[i];

		if (term->n_values == 0 || asks_for_null(term))
			continue;
		for (size_t j = 0; j < padded(term->n_values); j++)
			values[used++] = term->values[j < term->n_values ? j : term->n_values - 1];
	}
	if (has_limit(select))
		values[used++] = limit_value(select->limit);
	if (select->offset > 0)
		values[used++] = limit_value(select->offset);
	*n = used;
	return values;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

void ormd_sql_insert(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
		     const uint16_t *returning, size_t n_returning, orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};

	put(&c, "INSERT INTO ");
	put_table(&c, mapper);
	if (n_columns == 0) {
		put(&c, dialect->insert_defaults);
	} else {
		put(&c, " (");
		for (size_t i = 0; i < n_columns; i++) {
			if (i > 0)
				put(&c, ", ");
			put_column(&c, mapper, columns[i]);
		}
		put(&c, ") VALUES (");
		put_parameters(&c, n_columns);
		put(&c, ")");
	}
	if (n_returning > 0) {
		assert(dialect->returning);
		put(&c, " RETURNING ");
		put_results(&c, mapper, returning, n_returning);
	}
}

static void put_equals(compiler *c, const orm_mapper *mapper, uint16_t column)
{
	put_column(c, mapper, column);
	put(c, " = ");
	put_parameter(c);
}

static void put_where_this_row(compiler *c, const orm_mapper *mapper)
{
	put(c, " WHERE ");
	for (size_t i = 0; i < mapper->n_key; i++) {
		if (i > 0)
			put(c, " AND ");
		put_equals(c, mapper, mapper->key[i]);
	}
	if (mapper->version != ORM_NO_NUMBER) {
		put(c, " AND ");
		put_equals(c, mapper, mapper->version);
	}
}

void ormd_sql_update(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns,
		     orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};

	assert(n_columns > 0);
	put(&c, "UPDATE ");
	put_table(&c, mapper);
	put(&c, " SET ");
	for (size_t i = 0; i < n_columns; i++) {
		if (i > 0)
			put(&c, ", ");
		put_equals(&c, mapper, columns[i]);
	}
	put_where_this_row(&c, mapper);
}

void ormd_sql_delete(const ormd_dialect *dialect, const orm_mapper *mapper, orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};

	put(&c, "DELETE FROM ");
	put_table(&c, mapper);
	put_where_this_row(&c, mapper);
}

/* Rows of a composite key: a = ? AND b = ? each. */
static void put_rows(compiler *c, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, size_t n_rows)
{
	for (size_t row = 0; row < n_rows; row++) {
		put(c, row == 0 ? "(" : " OR (");
		for (size_t i = 0; i < n_columns; i++) {
			if (i > 0)
				put(c, " AND ");
			put_equals(c, mapper, columns[i]);
		}
		put(c, ")");
	}
}

/* An index on the columns gives the rows in this order: nothing has to be sorted. */
static void put_order_of_key(compiler *c, const orm_mapper *mapper, const uint16_t *columns, size_t n_columns)
{
	put(c, " ORDER BY ");
	put_columns(c, mapper, columns, n_columns);
	for (uint16_t i = 0; i < mapper->n_key; i++) {
		size_t place = 0;

		while (place < n_columns && columns[place] != mapper->key[i])
			place++;
		if (place < n_columns)
			continue;
		put(c, ", ");
		put_column(c, mapper, mapper->key[i]);
	}
}

void ormd_sql_select_by(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns,
			size_t n_columns, size_t n_rows, bool ordered, orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};

	assert(n_columns > 0 && n_rows > 0);
	assert(n_columns == 1 || n_rows <= ORMD_MAX_COMPOSITE_ROWS);
	put(&c, "SELECT ");
	put_results(&c, mapper, NULL, 0);
	put(&c, " FROM ");
	put_table(&c, mapper);
	put(&c, " WHERE ");
	if (n_columns > 1) {
		put_rows(&c, mapper, columns, n_columns, n_rows);
	} else if (n_rows > 1) {
		put_column(&c, mapper, columns[0]);
		put(&c, " IN (");
		put_parameters(&c, n_rows);
		put(&c, ")");
	} else {
		put_equals(&c, mapper, columns[0]);
	}
	if (ordered)
		put_order_of_key(&c, mapper, columns, n_columns);
}

void ormd_sql_max_key(const ormd_dialect *dialect, const orm_mapper *mapper, orm_buffer *out)
{
	compiler c = {.dialect = dialect, .out = out};

	assert(mapper->generated_key);
	put(&c, "SELECT max(");
	put_column(&c, mapper, mapper->key[0]);
	put(&c, ") FROM ");
	put_table(&c, mapper);
}
