/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <orm/status.h>

/* The numbers and names are contract: this list is written out, not derived. */
static const struct {
	int code;
	const char *name;
} contract[] = {
	{0, "OK"},           {-1, "EINVAL"},      {-2, "ENOMEM"},
	{-3, "ENOTFOUND"},   {-4, "ECONSTRAINT"}, {-5, "ESTALE"},
	{-6, "ECONFLICT"},   {-7, "ETIMEOUT"},    {-8, "EUNAVAILABLE"},
	{-9, "EUNKNOWN"},    {-10, "ELOST"},      {-11, "EFENCED"},
	{-12, "EFORKED"},    {-13, "ENOTLOADED"}, {-14, "ESTATE"},
	{-15, "EMODEL"},     {-16, "EDATABASE"},  {-17, "ERETRY"},
	{-18, "ECANCELLED"}, {-19, "EPERM"},      {-20, "EUNSUPPORTED"},
	{-21, "EPROTOCOL"},  {-22, "ELIMIT"},     {-23, "EEXIST"},
	{-24, "EABORTED"},   {-25, "EINTERNAL"},
};

static void names_are_the_contract(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof contract / sizeof contract[0]; i++)
		assert_string_equal(orm_status_name((orm_status)contract[i].code), contract[i].name);
	assert_int_equal(ORM_EINTERNAL, -25);
	assert_int_equal(ORM_ECONSTRAINT, -4);
}

static void other_numbers_have_no_name(void **state)
{
	const int others[] = {1, 2, -26, -1000, INT32_MAX, INT32_MIN, INT32_MIN + 1};

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		orm_status status;

		/* As from a peer: not through a cast that the compiler may reason about. */
		_Static_assert(sizeof status == sizeof others[0], "an enum is an int here");
		memcpy(&status, &others[i], sizeof status);
		assert_string_equal(orm_status_name(status), "E?");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_the_contract),
		cmocka_unit_test(other_numbers_have_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
