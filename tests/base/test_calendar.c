/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <orm/types.h>

/* An independent count: walk day by day with the rule of leap years, through all years that are valid. */
static void every_day_makes_the_round_trip(void **state)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int32_t expected = -719162;

	(void)state;
	for (int year = 1; year <= 9999; year++) {
		const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

		for (int month = 1; month <= 12; month++) {
			const int n_days = month_days[month - 1] + (month == 2 && leap);

			for (int day = 1; day <= n_days; day++, expected++) {
				orm_date date = {INT32_MIN};
				int y;
				int m;
				int d;

				if (orm_date_from_ymd(year, month, day, &date) != ORM_OK || date.days != expected)
					fail_msg("%d-%d-%d is %d, not %d", year, month, day, date.days, expected);
				orm_date_to_ymd(date, &y, &m, &d);
				if (y != year || m != month || d != day)
					fail_msg("day %d is %d-%d-%d, not %d-%d-%d", expected, y, m, d, year, month,
						 day);
			}
		}
	}
	assert_int_equal(expected - 1, 2932896);
}

static void known_days(void **state)
{
	static const struct {
		int year, month, day;
		int days;
	} known[] = {
		{1970, 1, 1, 0},       {1969, 12, 31, -1}, {2000, 2, 29, 11016},    {2000, 3, 1, 11017},
		{2026, 11, 23, 20780}, {1, 1, 1, -719162}, {9999, 12, 31, 2932896}, {1582, 10, 15, -141427},
	};

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		orm_date date;

		assert_int_equal(orm_date_from_ymd(known[i].year, known[i].month, known[i].day, &date), ORM_OK);
		assert_int_equal(date.days, known[i].days);
	}
}

static void days_that_are_not_are_refused(void **state)
{
	static const int wrong[][3] = {
		{0, 1, 1},         {-1, 1, 1},           {10000, 1, 1},        {2026, 0, 1},  {2026, 13, 1},
		{2026, 1, 0},      {2026, 1, 32},        {2026, 2, 29},        {1900, 2, 29}, {2100, 2, 29},
		{2024, 2, 30},     {2026, 4, 31},        {2026, 6, 31},        {2026, 9, 31}, {2026, 11, 31},
		{INT32_MAX, 1, 1}, {2026, INT32_MIN, 1}, {2026, 1, INT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		orm_date date = {12345};

		assert_int_equal(orm_date_from_ymd(wrong[i][0], wrong[i][1], wrong[i][2], &date), ORM_EINVAL);
		assert_int_equal(date.days, 12345);
	}
}

static void dates_are_formatted(void **state)
{
	static const struct {
		int32_t days;
		const char *text;
	} cases[] = {
		{0, "1970-01-01"},
		{-719162, "0001-01-01"},
		{2932896, "9999-12-31"},
		{-719163, "0000-12-31"},
		{2932897, "+10000-01-01"},
		{-719529, "-0001-12-31"},
		{INT32_MAX, "+5881580-07-11"},
		{INT32_MIN, "-5877641-06-23"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[ORM_ISO_SIZE];

		orm_date_format((orm_date){cases[i].days}, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void times_are_formatted_and_parsed(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {
		{0, "00:00:00"},
		{1, "00:00:00.000001"},
		{500000, "00:00:00.500000"},
		{INT64_C(47736000001), "13:15:36.000001"},
		{INT64_C(86399999999), "23:59:59.999999"},
		{INT64_C(86399000000), "23:59:59"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[ORM_ISO_SIZE];
		orm_time time = {-1};

		orm_time_format((orm_time){cases[i].us}, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(orm_time_parse(cases[i].text, &time), ORM_OK);
		assert_true(time.us == cases[i].us);
	}
}

static void short_fractions_are_parsed(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{"00:00:01.5", 1500000},    {"00:00:01.05", 1050000},    {"00:00:01.005", 1005000},
		{"00:00:01.0005", 1000500}, {"00:00:01.00005", 1000050}, {"00:00:01.000000", 1000000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		orm_time time;

		assert_int_equal(orm_time_parse(cases[i].text, &time), ORM_OK);
		assert_true(time.us == cases[i].us);
	}
}

static void datetimes_make_the_round_trip(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00Z"},
		{-1, "1969-12-31T23:59:59.999999Z"},
		{INT64_C(-86400000000), "1969-12-31T00:00:00Z"},
		{INT64_C(1795439736000001), "2026-11-23T13:15:36.000001Z"},
		{INT64_C(-62135596800000000), "0001-01-01T00:00:00Z"},
		{INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[ORM_ISO_SIZE];
		orm_datetime parsed = {12345};

		orm_datetime_format((orm_datetime){cases[i].us}, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(orm_datetime_parse(text, &parsed), ORM_OK);
		assert_true(parsed.us == cases[i].us);
	}
}

/* The C library's calendar as the second opinion. */
static void datetimes_agree_with_the_c_library(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;

		const int64_t seconds = INT64_C(-62135596800) + (int64_t)(seed >> 16) % INT64_C(315537897600);
		const time_t time = (time_t)seconds;
		struct tm broken;
		char expected[64];
		char text[ORM_ISO_SIZE];

		assert_non_null(gmtime_r(&time, &broken));
		snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02dZ", broken.tm_year + 1900,
			 broken.tm_mon + 1, broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec);
		orm_datetime_format((orm_datetime){seconds * 1000000}, text);
		assert_string_equal(text, expected);
	}
}

static void offsets_are_applied(void **state)
{
	static const struct {
		const char *text;
		const char *utc;
	} cases[] = {
		{"2026-11-23T13:15:36+02:00", "2026-11-23T11:15:36Z"},
		{"2026-11-23 13:15:36Z", "2026-11-23T13:15:36Z"},
		{"2026-11-23 13:15:36.25-09:30", "2026-11-23T22:45:36.250000Z"},
		{"2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00Z"},
		{"2024-03-01T00:00:00+00:01", "2024-02-29T23:59:00Z"},
		{"2026-11-23T13:15:36-00:00", "2026-11-23T13:15:36Z"},
		{"0001-01-01T00:00:00-23:59", "0001-01-01T23:59:00Z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		orm_datetime datetime;
		char text[ORM_ISO_SIZE];

		assert_int_equal(orm_datetime_parse(cases[i].text, &datetime), ORM_OK);
		orm_datetime_format(datetime, text);
		assert_string_equal(text, cases[i].utc);
	}
}

static void malformed_texts_are_refused(void **state)
{
	static const char *const dates[] = {
		"",           "2026",        "2026-11",     "2026-11-2",  "2026-11-233", "2026-1-023",
		"2026/11/23", "2026-11-23 ", " 2026-11-23", "26-11-23",   "2026-13-01",  "2026-02-29",
		"0000-01-01", "+2026-11-23", "-026-11-23",  "2026-11-2a", "2026-11-23T", "20261123",
		"2026-00-10", "２026-11-23", "2026-11-00",
	};
	static const char *const times[] = {
		"",         "13",         "13:15",       "13:15:3",   "13:15:36.",   "13:15:36.1234567",
		"24:00:00", "23:60:00",   "23:59:60",    "1:15:36",   "13:15:36Z",   "-1:15:36",
		"13-15-36", "13:15:36,5", "13:15:36.5a", "13:15:36 ", "13:15:36.-5",
	};
	static const char *const datetimes[] = {
		"",
		"2026-11-23",
		"2026-11-23T13:15:36",
		"2026-11-23T13:15:36z",
		"2026-11-23t13:15:36Z",
		"2026-11-23  13:15:36Z",
		"2026-11-2313:15:36Z",
		"2026-11-23T13:15:36ZZ",
		"2026-11-23T13:15:36+",
		"2026-11-23T13:15:36+2:00",
		"2026-11-23T13:15:36+02",
		"2026-11-23T13:15:36+0200",
		"2026-11-23T13:15:36+24:00",
		"2026-11-23T13:15:36+02:60",
		"2026-11-23T13:15:36+02:00Z",
		"2026-11-23T24:00:00Z",
		"2026-02-29T00:00:00Z",
		"0001-01-01T00:00:00+00:01",
		"9999-12-31T23:59:59.999999-00:01",
	};
	orm_date date = {12345};
	orm_time time = {12345};
	orm_datetime datetime = {12345};

	(void)state;
	for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
		if (orm_date_parse(dates[i], &date) != ORM_EINVAL)
			fail_msg("date \"%s\" was taken", dates[i]);
	}
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		if (orm_time_parse(times[i], &time) != ORM_EINVAL)
			fail_msg("time \"%s\" was taken", times[i]);
	}
	for (size_t i = 0; i < sizeof datetimes / sizeof datetimes[0]; i++) {
		if (orm_datetime_parse(datetimes[i], &datetime) != ORM_EINVAL)
			fail_msg("datetime \"%s\" was taken", datetimes[i]);
	}
	assert_int_equal(orm_date_parse(NULL, &date), ORM_EINVAL);
	assert_int_equal(orm_time_parse(NULL, &time), ORM_EINVAL);
	assert_int_equal(orm_datetime_parse(NULL, &datetime), ORM_EINVAL);
	assert_true(date.days == 12345 && time.us == 12345 && datetime.us == 12345);
}

/* Every prefix of a good text is refused, and reading stops at its end (ASan watches). */
static void cut_texts_are_refused(void **state)
{
	static const char whole[] = "2026-11-23T13:15:36.000001+02:00";
	orm_datetime datetime;

	(void)state;
	assert_int_equal(orm_datetime_parse(whole, &datetime), ORM_OK);
	for (size_t len = 0; len < sizeof whole - 1; len++) {
		char *cut = strndup(whole, len);

		assert_non_null(cut);
		assert_int_equal(orm_datetime_parse(cut, &datetime), ORM_EINVAL);
		free(cut);
	}
}

/* Values no parser gives still must not overrun the caller's text. */
static void extreme_values_fit_the_text(void **state)
{
	static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1, INT64_MAX};
	char text[ORM_ISO_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof extremes / sizeof extremes[0]; i++) {
		orm_time_format((orm_time){extremes[i]}, text);
		assert_true(strlen(text) < ORM_ISO_SIZE);
		orm_datetime_format((orm_datetime){extremes[i]}, text);
		assert_true(strlen(text) < ORM_ISO_SIZE);
		assert_int_equal(text[strlen(text) - 1], 'Z'); /* nothing was cut */
	}
	orm_time_format((orm_time){-1}, text);
	assert_string_equal(text, "-00:00:00.000001");
	orm_datetime_format((orm_datetime){INT64_MIN}, text);
	assert_string_equal(text, "-290308-12-21T19:59:05.224192Z");
}

static void now_is_the_realtime_clock(void **state)
{
	struct timespec before;
	struct timespec after;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);

	const orm_datetime now = orm_datetime_now();

	clock_gettime(CLOCK_REALTIME, &after);
	if (after.tv_sec >= before.tv_sec) { /* somebody may set the clock */
		assert_true(now.us >= (int64_t)before.tv_sec * 1000000);
		assert_true(now.us <= ((int64_t)after.tv_sec + 1) * 1000000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_day_makes_the_round_trip),
		cmocka_unit_test(known_days),
		cmocka_unit_test(days_that_are_not_are_refused),
		cmocka_unit_test(dates_are_formatted),
		cmocka_unit_test(times_are_formatted_and_parsed),
		cmocka_unit_test(short_fractions_are_parsed),
		cmocka_unit_test(datetimes_make_the_round_trip),
		cmocka_unit_test(datetimes_agree_with_the_c_library),
		cmocka_unit_test(offsets_are_applied),
		cmocka_unit_test(malformed_texts_are_refused),
		cmocka_unit_test(cut_texts_are_refused),
		cmocka_unit_test(extreme_values_fit_the_text),
		cmocka_unit_test(now_is_the_realtime_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
