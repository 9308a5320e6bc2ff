/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/designators.h"

typedef struct thing {
	int64_t id;
	const char *name;
	orm_opt_datetime at;
	orm_bytes data;
	int32_t naive;
	void *owner;
	int scratch; /* no field */
} thing;

static const orm_field thing_fields[] = {
	{ORM_COLUMN(thing, id)},
	{ORM_COLUMN(thing, name)},
	{ORM_COLUMN(thing, at)},
	{ORM_COLUMN(thing, data)},
	{.name = "na\xc3\xafve", .offset = offsetof(thing, naive), .type = ORM_INT32},
	{.name = "owner", .offset = offsetof(thing, owner)},
};
enum { ID, NAME, AT, DATA, NAIVE, OWNER };
static ORM_MODEL(thing, "things", thing_fields);

static const orm_field other_fields[] = {{ORM_COLUMN(thing, name)}};
static const orm_model other_model = {
	.name = "other", .table = "others", .fields = other_fields, .n_fields = 1, .size = sizeof(thing)};

static int set_up(void **state)
{
	static designators_cache cache;

	designators_cache_init(&cache);
	*state = &cache;
	return 0;
}

static int tear_down(void **state)
{
	designators_cache_fini(*state);
	return 0;
}

static void check(designators_cache *cache, const char *text, size_t n, const uint16_t *fields)
{
	orm_error error = {0};
	const designators *given = designators_get(cache, &thing_model, text, &error);

	if (!given)
		fail_msg("%s: %s", text, error.message);
	if (given->n_fields != n)
		fail_msg("%s: %zu members, not %zu", text, given->n_fields, n);
	assert_memory_equal(given->fields, fields, n * sizeof *fields);
}

#define GIVES(text, ...)                                                                                               \
	check(*state, text, sizeof((uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t), (uint16_t[]){__VA_ARGS__})

static void names_are_found_in_order(void **state)
{
	check(*state, "", 0, NULL);
	check(*state, "  ", 0, NULL);
	GIVES(".id = 1", ID);
	GIVES(".name = \"Alice\", .id = 7", NAME, ID);
	GIVES(".id=1,.name=0,.at={0},.data={0},.owner=x", ID, NAME, AT, DATA, OWNER);
	GIVES(" . name\t= \"x\" ,\n .id = 1 , ", NAME, ID);
	GIVES(".na\xc3\xafve = 1", NAIVE);
}

static void a_member_given_twice_counts_once(void **state)
{
	GIVES(".id = 1, .name = \"\", .id = 2", ID, NAME);
	GIVES(".at.has = true, .at.value = {0}", AT);
}

static void strings_hide_what_is_in_them(void **state)
{
	GIVES(".name = \"a, .id = 1\"", NAME);
	GIVES(".name = \"\\\", .id = 1\", .at = {0}", NAME, AT);
	GIVES(".name = \"\\\\\", .id = 1", NAME, ID);
	GIVES(".name = \"a\" \",\" u8\"),\", .id = 1", NAME, ID);
	GIVES(".name = \"(\", .id = 1", NAME, ID);
	GIVES(".name = \"/*\", .id = 1", NAME, ID);
	GIVES(".name = \"//\", .id = 1", NAME, ID);
}

static void character_constants_hide_what_is_in_them(void **state)
{
	GIVES(".id = ',', .name = 0", ID, NAME);
	GIVES(".id = '\\'', .name = 0", ID, NAME);
	GIVES(".id = '\"', .name = 0", ID, NAME);
	GIVES(".id = L'(', .name = 0", ID, NAME);
	GIVES(".id = 1'000'000, .name = 0", ID, NAME);
	GIVES(".id = 0x1p+3, .name = 0", ID, NAME);
}

static void brackets_nest(void **state)
{
	GIVES(".at = {.has = true, .value = {.us = f(1, 2)}}, .id = 1", AT, ID);
	GIVES(".id = f(a, (b, c), g[1, 2]), .name = 0", ID, NAME);
	GIVES(".data = {\"a,b\", 3}, .id = (int64_t){1}", DATA, ID);
	GIVES(".name = cond ? \"a\" : \"b\", .id = -1 < 2 && 3 > 4", NAME, ID);
	GIVES(".id = ({ int x = 1, y = 2; x + y; }), .name = 0", ID, NAME);
}

static void designators_may_go_deeper(void **state)
{
	GIVES(".at.has = true, .id = 1", AT, ID);
	GIVES(".at . value . us = 5", AT);
	GIVES(".data[0] = 1, .data[f[1]].x = 2", DATA);
}

static void comments_are_skipped(void **state)
{
	GIVES("/* first, */ .id = 1, /* .name = 0, */ .at = {0}", ID, AT);
	GIVES(".id /* = 2, */ = 1 // , .name = 0\n, .at = {0}", ID, AT);
	GIVES("// nothing\n.id = 1 /* open", ID);
}

static void refuse(designators_cache *cache, const char *text, const char *message)
{
	orm_error error = {0};

	if (designators_get(cache, &thing_model, text, &error))
		fail_msg("accepted: %s", text);
	assert_int_equal(error.code, ORM_EINVAL);
	assert_string_equal(error.model, "thing");
	if (!strstr(error.message, message))
		fail_msg("%s: '%s' does not say '%s'", text, error.message, message);
	assert_null(designators_get(cache, &thing_model, text, &error));
}

static void what_is_no_designator_is_refused_and_named(void **state)
{
	refuse(*state, "1", "thing: '1' is not of the form '.member = value'");
	refuse(*state, ".id = 1, \"Alice\"", "'\"Alice\"' is not");
	refuse(*state, "NAMED(\"Alice\")", "'NAMED(\"Alice\")' is not");
	refuse(*state, ".id = 1, DEFAULTS , .name = 0", "'DEFAULTS' is not");
	refuse(*state, "name: \"Alice\"", "'name: \"Alice\"' is not");
	refuse(*state, "[0] = 1", "'[0] = 1' is not");
	refuse(*state, ".5", "'.5' is not");
	refuse(*state, ".", "'.' is not");
	refuse(*state, ".id", "'.id' is not");
	refuse(*state, ".id 1", "'.id 1' is not");
	refuse(*state, ".id = 1, , .name = 0", "'' is not");
	refuse(*state, ", .id = 1", "'' is not");
	refuse(*state, ".id = (1", "'.id = (1' is not");
	refuse(*state, ".id = 1)", "'.id = 1)' is not");
	refuse(*state, ".data[1", "'.data[1' is not");
	refuse(*state, "long_function_name(with_an_argument, and_another_argument, and_a_third)",
	       "and_another_argument, a...' is not");
}

static void members_without_a_field_are_refused_and_named(void **state)
{
	orm_error error = {0};

	refuse(*state, ".scratch = 1", "thing.scratch: the member is neither a column nor a relationship");
	refuse(*state, ".i = 1", "thing.i:");
	refuse(*state, ".idx = 1", "thing.idx:");
	assert_null(designators_get(*state, &thing_model, ".id = 1, .scratch = 2", &error));
	assert_string_equal(error.column, "scratch");
}

static void a_site_is_parsed_once(void **state)
{
	static const char text[] = ".id = 1";
	const designators *first = designators_get(*state, &thing_model, text, NULL);

	assert_non_null(first);
	assert_ptr_equal(designators_get(*state, &thing_model, text, NULL), first);
}

static void one_address_may_hold_other_texts_and_models(void **state)
{
	char text[] = ".id   = 1";
	const designators *first = designators_get(*state, &thing_model, text, NULL);

	assert_int_equal(first->fields[0], ID);
	memcpy(text, ".name", 5);
	const designators *second = designators_get(*state, &thing_model, text, NULL);
	assert_int_equal(second->fields[0], NAME);
	assert_int_equal(designators_get(*state, &other_model, text, NULL)->fields[0], 0);
	memcpy(text, ".id  ", 5);
	assert_ptr_equal(designators_get(*state, &thing_model, text, NULL), first);
}

static void many_sites_are_kept_apart(void **state)
{
	char texts[500][16];

	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < 500; i++) {
			strcpy(texts[i], i % 2 ? ".id = 1" : ".name = 0");
			const designators *given = designators_get(*state, &thing_model, texts[i], NULL);
			assert_int_equal(given->n_fields, 1);
			assert_int_equal(given->fields[0], i % 2 ? ID : NAME);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_are_found_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_member_given_twice_counts_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strings_hide_what_is_in_them, set_up, tear_down),
		cmocka_unit_test_setup_teardown(character_constants_hide_what_is_in_them, set_up, tear_down),
		cmocka_unit_test_setup_teardown(brackets_nest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(designators_may_go_deeper, set_up, tear_down),
		cmocka_unit_test_setup_teardown(comments_are_skipped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_designator_is_refused_and_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(members_without_a_field_are_refused_and_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_site_is_parsed_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_address_may_hold_other_texts_and_models, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_sites_are_kept_apart, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
