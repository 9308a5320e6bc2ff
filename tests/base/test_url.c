/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/url.h"

static void databases_are_told_from_the_rest(void **state)
{
	static const char *const files[] = {"sqlite:///shop.db", "sqlite:shop.db"};
	static const char *const servers[] = {"postgresql://h/shop", "postgres://h/shop", "mysql://h/shop",
					      "mariadb://h/shop"};
	static const char *const others[] = {"ipc:///run/ormd/shop.sock", "tcp://127.0.0.1:7420", "shop.db", "", NULL};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		assert_true(orm_url_is_database(files[i]));
		assert_false(orm_url_is_of_server(files[i]));
	}
	for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
		assert_true(orm_url_is_database(servers[i]));
		assert_true(orm_url_is_of_server(servers[i]));
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_false(orm_url_is_database(others[i]));
		assert_false(orm_url_is_of_server(others[i]));
	}
}

static void passwords_are_left_out(void **state)
{
	static const struct {
		const char *url;
		const char *shown;
	} cases[] = {
		{"postgresql://ann:secret@host/shop", "postgresql://ann@host/shop"},
		{"postgresql://ann:se@cret@host/shop", "postgresql://ann@host/shop"},
		{"postgresql://ann:se/cret@host/shop", "postgresql://ann@host/shop"},
		{"postgresql://ann:se?cret@host/shop", "postgresql://ann@host/shop"},
		{"postgresql://:secret@/shop", "postgresql://@/shop"},
		{"mysql://ann:secret@h1:1,h2:2/shop?ssl=1", "mysql://ann@h1:1,h2:2/shop?ssl=1"},
		{"postgresql:///shop?user=ann&password=secret&host=/run", "postgresql:///shop?user=ann&host=/run"},
		{"postgresql:///shop?password=secret", "postgresql:///shop"},
		{"mariadb:///shop?Passwd=secret&a=1&sslpassword=secret", "mariadb:///shop?a=1"},
		{"other://ann:secret@host", "other://ann@host"},
		/* What has none stays as it is. */
		{"postgresql://host:5432/a@b", "postgresql://host:5432/a@b"},
		{"postgresql://h1:5432,h2:5433/a@b", "postgresql://h1:5432,h2:5433/a@b"},
		{"postgresql://[::1]:5432/a@b", "postgresql://[::1]:5432/a@b"},
		{"postgresql://ann@host/shop?passwordless=1", "postgresql://ann@host/shop?passwordless=1"},
		{"sqlite:////a:b@c/shop.db", "sqlite:////a:b@c/shop.db"},
		{"shop.db", "shop.db"},
		{"", ""},
	};
	char shown[100];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(orm_url_without_password(cases[i].url, shown, sizeof shown), cases[i].shown);
	assert_string_equal(orm_url_without_password("postgresql://ann:secret@host/shop", shown, 18),
			    "postgresql://ann@");
	assert_string_equal(orm_url_without_password("shop.db", shown, 1), "");
}

static void one_engine_has_one_name(void **state)
{
	char first[100];
	char second[100];

	(void)state;
	assert_string_equal(orm_url_identity("postgres://ann:x@h/shop", first, sizeof first),
			    orm_url_identity("postgresql://ann:y@h/shop", second, sizeof second));
	assert_string_equal(orm_url_identity("mysql://ann@h/shop", first, sizeof first),
			    orm_url_identity("mariadb://ann@h/shop", second, sizeof second));
	assert_string_not_equal(orm_url_identity("mysql://ann@h/shop", first, sizeof first),
				orm_url_identity("postgresql://ann@h/shop", second, sizeof second));
	assert_string_equal(orm_url_identity("sqlite:///shop.db", first, sizeof first), "sqlite:///shop.db");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(databases_are_told_from_the_rest),
		cmocka_unit_test(passwords_are_left_out),
		cmocka_unit_test(one_engine_has_one_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
