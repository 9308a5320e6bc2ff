/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "sql/statement.h"

enum { ID, BOOLS, INT32S, DOUBLES, TEXTS, BLOBS, DATES, TIMES, DATETIMES, DECIMALS, UUIDS, JSONS, N_COLUMNS };

static orm_registry *registry;

static int set_up(void **state)
{
	const orm_column_spec columns[] = {
		[ID] = {.name = "id", .type = ORM_INT64, .primary_key = true},
		[BOOLS] = {.name = "bools", .type = ORM_BOOL},
		[INT32S] = {.name = "int32s", .type = ORM_INT32},
		[DOUBLES] = {.name = "doubles", .type = ORM_DOUBLE},
		[TEXTS] = {.name = "texts", .type = ORM_TEXT, .nullable = true},
		[BLOBS] = {.name = "blobs", .type = ORM_BYTES},
		[DATES] = {.name = "dates", .type = ORM_DATE},
		[TIMES] = {.name = "times", .type = ORM_TIME},
		[DATETIMES] = {.name = "datetimes", .type = ORM_DATETIME},
		[DECIMALS] = {.name = "decimals", .type = ORM_DECIMAL, .precision = 4, .scale = 2},
		[UUIDS] = {.name = "uuids", .type = ORM_UUID},
		[JSONS] = {.name = "jsons", .type = ORM_JSON, .nullable = true},
	};
	const orm_model_spec spec = {.name = "All", .table = "all", .columns = columns, .n_columns = N_COLUMNS};

	(void)state;
	registry = orm_registry_new(&spec, 1, NULL);
	return registry ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	orm_registry_free(registry);
	return 0;
}

static orm_status check(const ormd_term *where, size_t n_where, orm_error *error)
{
	const ormd_select select = {
		.mapper = &registry->mappers[0], .where = where, .n_where = n_where, .limit = ORMD_NO_LIMIT};

	return ormd_select_check(&select, error);
}

#define INTEGER(t, i)                                                                                                  \
	{                                                                                                              \
		.type = (t), .integer = (i)                                                                            \
	}
#define TEXT(t, n)                                                                                                     \
	{                                                                                                              \
		.type = ORM_TEXT, .text = (t), .size = (n)                                                             \
	}

static const orm_value one = INTEGER(ORM_INT64, 1);
static const ormd_term id_is_one = {.op = ORMD_EQ, .column = ID, .values = &one, .n_values = 1};

static void values_fit_their_column(void **state)
{
	static const struct {
		uint16_t column;
		ormd_operator op;
		orm_value value;
		const char *message; /* NULL: good */
	} cases[] = {
		{ID, ORMD_EQ, INTEGER(ORM_INT64, INT64_MIN), NULL},
		{ID, ORMD_EQ, INTEGER(ORM_INT32, 1), "another type"},
		{ID, ORMD_EQ, TEXT("1", 1), "another type"},
		{INT32S, ORMD_GE, INTEGER(ORM_INT32, INT32_MAX), NULL},
		{INT32S, ORMD_GE, INTEGER(ORM_INT32, INT64_C(1) + INT32_MAX), "32 bits"},
		{INT32S, ORMD_LT, INTEGER(ORM_INT32, INT64_C(-1) + INT32_MIN), "32 bits"},
		{DATES, ORMD_LT, INTEGER(ORM_DATE, INT64_C(1) << 40), "32 bits"},
		{TIMES, ORMD_LE, INTEGER(ORM_TIME, INT64_C(86399999999)), NULL},
		{TIMES, ORMD_LE, INTEGER(ORM_TIME, INT64_C(86400000000)), "within a day"},
		{TIMES, ORMD_LE, INTEGER(ORM_TIME, -1), "within a day"},
		{DATETIMES, ORMD_NE, INTEGER(ORM_DATETIME, -1), NULL},
		{BOOLS, ORMD_EQ, {.type = ORM_BOOL, .boolean = true}, NULL},
		{DOUBLES, ORMD_GT, {.type = ORM_DOUBLE, .number = 1e308}, NULL},
		{DOUBLES, ORMD_GT, {.type = ORM_DOUBLE, .number = NAN}, "NaN"},
		{TEXTS, ORMD_LIKE, TEXT("a%", 2), NULL},
		{TEXTS, ORMD_EQ, TEXT("a\xFF", 2), "UTF-8"},
		{TEXTS, ORMD_EQ, TEXT("a\0b", 3), "UTF-8"},
		{TEXTS, ORMD_EQ, TEXT(NULL, 0), "UTF-8"},
		{BLOBS, ORMD_LIKE, {.type = ORM_BYTES, .bytes = "a", .size = 1}, "LIKE is for text"},
		{INT32S, ORMD_LIKE, INTEGER(ORM_INT32, 1), "LIKE is for text, but the column is int32"},
		{BLOBS, ORMD_EQ, {.type = ORM_BYTES}, NULL},
		{BLOBS, ORMD_EQ, {.type = ORM_BYTES, .size = 1}, "no bytes"},
		{DECIMALS, ORMD_LT, {.type = ORM_DECIMAL, .text = "12.50", .size = 5}, NULL},
		{DECIMALS, ORMD_LT, {.type = ORM_DECIMAL, .text = "12.5", .size = 4}, "not a number that the column can have"},
		{DECIMALS, ORMD_LT, {.type = ORM_DECIMAL, .text = "100.00", .size = 6}, "not a number that the column can have"},
		{DECIMALS, ORMD_LT, TEXT("12.50", 5), "another type"},
		{DECIMALS, ORMD_LIKE, {.type = ORM_DECIMAL, .text = "12.50", .size = 5}, "LIKE is for text"},
		{UUIDS, ORMD_IN, {.type = ORM_UUID, .bytes = "0123456789abcdef", .size = 16}, NULL},
		{UUIDS, ORMD_IN, {.type = ORM_UUID, .bytes = "0123456789abcde", .size = 15}, "16 bytes"},
		{JSONS, ORMD_EQ, {.type = ORM_JSON, .text = "{}", .size = 2}, "whether it is NULL"},
		{TEXTS, ORMD_EQ, {.null = true}, NULL},
		{TEXTS, ORMD_NE, {.null = true}, NULL},
		{TEXTS, ORMD_LT, {.null = true}, "compares with NULL"},
		{TEXTS, ORMD_LIKE, {.null = true}, "compares with NULL"},
		{TEXTS, ORMD_IN, {.null = true}, "compares with NULL"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const ormd_term term = {
			.op = cases[i].op, .column = cases[i].column, .values = &cases[i].value, .n_values = 1};
		orm_error error = {.code = ORM_OK};
		const orm_status status = check(&term, 1, &error);

		if (!cases[i].message) {
			if (status != ORM_OK)
				fail_msg("case %zu: %s", i, error.message);
			continue;
		}
		assert_int_equal(status, ORM_EINVAL);
		assert_string_equal(error.model, "All");
		assert_string_equal(error.column, registry->mappers[0].columns[cases[i].column].name);
		if (!strstr(error.message, cases[i].message))
			fail_msg("case %zu: %s", i, error.message);
	}
}

static void numbers_of_values(void **state)
{
	const orm_value two[] = {INTEGER(ORM_INT64, 1), INTEGER(ORM_INT64, 2)};
	const struct {
		ormd_operator op;
		size_t n;
		orm_status expected;
	} cases[] = {{ORMD_EQ, 0, ORM_EINVAL},  {ORMD_EQ, 2, ORM_EINVAL},  {ORMD_IN, 0, ORM_OK},
		     {ORMD_IN, 2, ORM_OK},      {ORMD_GE, 0, ORM_EINVAL},  {ORMD_IS_NULL, 1, ORM_EINVAL},
		     {ORMD_IS_NULL, 0, ORM_OK}, {ORMD_NOT_NULL, 0, ORM_OK}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const ormd_term term = {.op = cases[i].op, .column = ID, .values = two, .n_values = cases[i].n};

		assert_int_equal(check(&term, 1, NULL), cases[i].expected);
	}

	const ormd_term missing = {.op = ORMD_EQ, .column = ID, .n_values = 1};

	assert_int_equal(check(&missing, 1, NULL), ORM_EINVAL);
}

/* Filters as letters: c a comparison, & and, | or, ! not, ? an operator that does not exist. */
static orm_status check_shape(const char *shape)
{
	ormd_term terms[16];
	size_t n = 0;

	for (const char *c = shape; *c; c++) {
		terms[n] = id_is_one;
		switch (*c) {
		case '&':
			terms[n] = (ormd_term){.op = ORMD_AND};
			break;
		case '|':
			terms[n] = (ormd_term){.op = ORMD_OR};
			break;
		case '!':
			terms[n] = (ormd_term){.op = ORMD_NOT};
			break;
		case '?':
			terms[n].op = (ormd_operator)14;
			break;
		default:
			break;
		}
		n++;
	}
	return check(terms, n, NULL);
}

static void operators_find_their_operands(void **state)
{
	static const char *const good[] = {"", "c", "cc", "cc&", "c!", "cc|!", "ccc&|", "cc&cc|", "c!c!&!"};
	static const char *const bad[] = {"&", "|", "!", "c&", "cc&&", "cc&|", "!c", "c!&", "?", "c?"};
	ormd_term zero = id_is_one;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(check_shape(good[i]), ORM_OK);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(check_shape(bad[i]), ORM_EINVAL);
	zero.op = (ormd_operator)0;
	assert_int_equal(check(&zero, 1, NULL), ORM_EINVAL);
}

static void limits(void **state)
{
	static ormd_term terms[ORMD_MAX_TERMS + 1];
	static orm_value values[ORMD_MAX_VALUES + 1];
	ormd_term in[2] = {{.op = ORMD_IN, .column = ID, .values = values, .n_values = ORMD_MAX_VALUES}, id_is_one};
	orm_error error;

	(void)state;
	for (size_t i = 0; i < ORMD_MAX_VALUES + 1; i++)
		values[i] = one;
	assert_int_equal(check(in, 1, &error), ORM_OK);
	assert_int_equal(check(in, 2, &error), ORM_EINVAL);
	assert_string_equal(error.column, "id");
	in[0].n_values++;
	assert_int_equal(check(in, 1, &error), ORM_EINVAL);

	for (size_t i = 0; i < ORMD_MAX_TERMS + 1; i++)
		terms[i] = id_is_one;
	assert_int_equal(check(terms, ORMD_MAX_TERMS, &error), ORM_OK);
	assert_int_equal(check(terms, ORMD_MAX_TERMS + 1, &error), ORM_EINVAL);

	for (size_t i = 1; i < ORMD_MAX_TERMS; i++)
		terms[i] = (ormd_term){.op = ORMD_NOT};
	assert_int_equal(check(terms, ORMD_MAX_NESTING + 1, &error), ORM_OK);
	assert_int_equal(check(terms, ORMD_MAX_NESTING + 2, &error), ORM_EINVAL);
	assert_non_null(strstr(error.message, "nested"));

	/* a chain of one operator is one group, a change of the operator begins another */
	for (size_t i = 1; i < ORMD_MAX_TERMS; i++)
		terms[i] = i % 2 ? id_is_one : (ormd_term){.op = ORMD_OR};
	assert_int_equal(check(terms, ORMD_MAX_TERMS - 1, &error), ORM_OK);
	for (size_t i = 2; i < ORMD_MAX_TERMS; i += 2)
		terms[i].op = i % 4 ? ORMD_OR : ORMD_AND;
	assert_int_equal(check(terms, 2 * ORMD_MAX_NESTING + 1, &error), ORM_OK);
	assert_int_equal(check(terms, 2 * ORMD_MAX_NESTING + 3, &error), ORM_EINVAL);
}

static void columns_exist(void **state)
{
	const uint16_t columns[] = {ID, N_COLUMNS};
	const ormd_order order[] = {{.column = ID}, {.column = N_COLUMNS}};
	ormd_select select = {
		.mapper = &registry->mappers[0], .columns = columns, .n_columns = 1, .order = order, .n_order = 1};
	ormd_term term = id_is_one;
	orm_error error;

	(void)state;
	assert_int_equal(ormd_select_check(&select, &error), ORM_OK);
	select.n_columns = 2;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	assert_non_null(strstr(error.message, "All: the query asks for a column 12"));
	select.n_columns = 0;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	select.columns = NULL;
	select.n_order = 2;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	assert_non_null(strstr(error.message, "orders by a column 12"));
	select.order = &(ormd_order){.column = JSONS};
	select.n_order = 1;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	assert_non_null(strstr(error.message, "All.jsons: JSON has no order"));
	select.n_order = N_COLUMNS + 1;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	select.n_order = 0;
	select.result = (ormd_result)3;
	assert_int_equal(ormd_select_check(&select, &error), ORM_EINVAL);
	term.column = ORM_NO_NUMBER;
	assert_int_equal(check(&term, 1, &error), ORM_EINVAL);
	assert_string_equal(error.model, "All");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_fit_their_column),
		cmocka_unit_test(numbers_of_values),
		cmocka_unit_test(operators_find_their_operands),
		cmocka_unit_test(limits),
		cmocka_unit_test(columns_exist),
	};

	return cmocka_run_group_tests_name("statement", tests, set_up, tear_down);
}
