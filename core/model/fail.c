/* SPDX-License-Identifier: MIT */
#include "model/fail.h"

#include <stdio.h>

orm_status orm_fail_at(orm_error *error, orm_status code, const char *model, const char *column, const char *format,
		       ...)
{
	char message[sizeof error->message];
	va_list args;

	if (!error)
		return code;
	va_start(args, format);
	if (vsnprintf(message, sizeof message, format, args) < 0)
		message[0] = '\0';
	va_end(args);
	orm_fail(error, code, "%s%s%s: %s", model, column ? "." : "", column ? column : "", message);
	return orm_error_at(error, model, column, NULL);
}
