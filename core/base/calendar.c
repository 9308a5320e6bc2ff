/* SPDX-License-Identifier: MIT */
/*
 * The civil calendar. Days are counted in eras of 400 years that start on 1 March, so that the leap day is
 * the last day of its year and every era has the same length.
 */
#include <orm/types.h>

#include <stdio.h>
#include <time.h>

#define US_PER_SECOND   INT64_C(1000000)
#define US_PER_MINUTE   (60 * US_PER_SECOND)
#define US_PER_HOUR     (60 * US_PER_MINUTE)
#define US_PER_DAY      (24 * US_PER_HOUR)
#define DAYS_PER_ERA    146097
#define YEARS_PER_ERA   400
#define EPOCH_FROM_ERA0 719468 /* days from 0000-03-01 to 1970-01-01 */
#define MIN_YEAR        1
#define MAX_YEAR        9999
#define MIN_DAYS        (-719162) /* 0001-01-01 */
#define MAX_DAYS        2932896   /* 9999-12-31 */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
	return a % b + (a % b < 0 ? b : 0);
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* For valid input only. */
static int64_t days_from_civil(int year, int month, int day)
{
	const int64_t march_year = month <= 2 ? year - 1 : year;
	const int64_t era = floor_div(march_year, YEARS_PER_ERA);
	const int64_t year_of_era = march_year - era * YEARS_PER_ERA;
	const int64_t month_from_march = (month + 9) % 12;
	const int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
	const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_ERA0;
}

static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
	const int64_t from_era0 = days + EPOCH_FROM_ERA0;
	const int64_t era = floor_div(from_era0, DAYS_PER_ERA);
	const int64_t day_of_era = from_era0 - era * DAYS_PER_ERA;
	const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	const int64_t month_from_march = (5 * day_of_year + 2) / 153;

	*day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
	*month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
	*year = (int)(year_of_era + era * YEARS_PER_ERA) + (*month <= 2);
}

/* Writes at the start of `text`; returns the length. Years beyond four digits get a sign (ISO 8601, 4.1.2.4). */
static int write_date(char *text, size_t size, int64_t days)
{
	int year;
	int month;
	int day;

	civil_from_days(days, &year, &month, &day);
	return snprintf(text, size, year < 0 || year > MAX_YEAR ? "%+05d-%02d-%02d" : "%04d-%02d-%02d", year, month,
			day);
}

static int write_time(char *text, size_t size, int64_t us)
{
	/* Only a caller's mistake is negative; it is shown as it is, not corrected. */
	const char *sign = us < 0 ? "-" : "";
	const uint64_t magnitude = us < 0 ? -(uint64_t)us : (uint64_t)us;
	const uint64_t seconds = magnitude / US_PER_SECOND;
	const unsigned fraction = (unsigned)(magnitude % US_PER_SECOND);
	const unsigned long hour = (unsigned long)(seconds / 3600);
	const unsigned minute = (unsigned)(seconds / 60 % 60);
	const unsigned second = (unsigned)(seconds % 60);

	if (fraction)
		return snprintf(text, size, "%s%02lu:%02u:%02u.%06u", sign, hour, minute, second, fraction);
	return snprintf(text, size, "%s%02lu:%02u:%02u", sign, hour, minute, second);
}

/* The parsers take from *text, advance it past what they took, and say whether it was there. */
static bool take_digits(const char **text, int n_digits, int *value)
{
	int sum = 0;

	for (int i = 0; i < n_digits; i++) {
		const char c = (*text)[i];

		if (c < '0' || c > '9')
			return false;
		sum = sum * 10 + (c - '0');
	}
	*text += n_digits;
	*value = sum;
	return true;
}

static bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

static bool take_date(const char **text, orm_date *date)
{
	int year;
	int month;
	int day;

	return take_digits(text, 4, &year) && take_char(text, '-') && take_digits(text, 2, &month) &&
	       take_char(text, '-') && take_digits(text, 2, &day) &&
	       orm_date_from_ymd(year, month, day, date) == ORM_OK;
}

/* One to six digits after a point; more would be lost and are refused. */
static bool take_fraction(const char **text, int *us)
{
	int scale = 100000;
	int digit;

	*us = 0;
	if (!take_char(text, '.'))
		return true;
	if (!take_digits(text, 1, &digit))
		return false;
	*us = digit * scale;
	while (scale > 1 && take_digits(text, 1, &digit)) {
		scale /= 10;
		*us += digit * scale;
	}
	return true;
}

static bool take_time(const char **text, int64_t *us)
{
	int hour;
	int minute;
	int second;
	int fraction;

	if (!take_digits(text, 2, &hour) || !take_char(text, ':') || !take_digits(text, 2, &minute) ||
	    !take_char(text, ':') || !take_digits(text, 2, &second) || !take_fraction(text, &fraction))
		return false;
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	*us = hour * US_PER_HOUR + minute * US_PER_MINUTE + second * US_PER_SECOND + fraction;
	return true;
}

/* Z or an offset; *us is how far it is ahead of UTC. */
static bool take_zone(const char **text, int64_t *us)
{
	int64_t sign = 1;
	int hour;
	int minute;

	*us = 0;
	if (take_char(text, 'Z'))
		return true;
	if (take_char(text, '-'))
		sign = -1;
	else if (!take_char(text, '+'))
		return false;
	if (!take_digits(text, 2, &hour) || !take_char(text, ':') || !take_digits(text, 2, &minute))
		return false;
	if (hour > 23 || minute > 59)
		return false;
	*us = sign * (hour * US_PER_HOUR + minute * US_PER_MINUTE);
	return true;
}

orm_status orm_date_from_ymd(int year, int month, int day, orm_date *date)
{
	if (year < MIN_YEAR || year > MAX_YEAR || month < 1 || month > 12 || day < 1 ||
	    day > days_in_month(year, month))
		return ORM_EINVAL;
	date->days = (int32_t)days_from_civil(year, month, day);
	return ORM_OK;
}

void orm_date_to_ymd(orm_date date, int *year, int *month, int *day)
{
	civil_from_days(date.days, year, month, day);
}

orm_datetime orm_datetime_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (orm_datetime){(int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000};
}

void orm_date_format(orm_date date, char text[ORM_ISO_SIZE])
{
	write_date(text, ORM_ISO_SIZE, date.days);
}

void orm_time_format(orm_time time, char text[ORM_ISO_SIZE])
{
	write_time(text, ORM_ISO_SIZE, time.us);
}

void orm_datetime_format(orm_datetime datetime, char text[ORM_ISO_SIZE])
{
	const int64_t days = floor_div(datetime.us, US_PER_DAY);
	int len = write_date(text, ORM_ISO_SIZE, days);

	len += snprintf(text + len, ORM_ISO_SIZE - (size_t)len, "T");
	len += write_time(text + len, ORM_ISO_SIZE - (size_t)len, floor_mod(datetime.us, US_PER_DAY));
	snprintf(text + len, ORM_ISO_SIZE - (size_t)len, "Z");
}

orm_status orm_date_parse(const char *text, orm_date *date)
{
	orm_date parsed;

	if (!text || !take_date(&text, &parsed) || *text)
		return ORM_EINVAL;
	*date = parsed;
	return ORM_OK;
}

orm_status orm_time_parse(const char *text, orm_time *time)
{
	int64_t us;

	if (!text || !take_time(&text, &us) || *text)
		return ORM_EINVAL;
	time->us = us;
	return ORM_OK;
}

orm_status orm_datetime_parse(const char *text, orm_datetime *datetime)
{
	orm_date date;
	int64_t time_us;
	int64_t offset_us;

	if (!text || !take_date(&text, &date))
		return ORM_EINVAL;
	if (!take_char(&text, 'T') && !take_char(&text, ' '))
		return ORM_EINVAL;
	if (!take_time(&text, &time_us) || !take_zone(&text, &offset_us) || *text)
		return ORM_EINVAL;

	const int64_t us = date.days * US_PER_DAY + time_us - offset_us;

	/* The offset may have moved the instant out of the calendar's years. */
	if (us < MIN_DAYS * US_PER_DAY || us >= (MAX_DAYS + 1) * US_PER_DAY)
		return ORM_EINVAL;
	datetime->us = us;
	return ORM_OK;
}
