/* SPDX-License-Identifier: MIT */
/*
 * URLs of databases, as text: sqlite:///FILE, and those of engines with a server, which may hold a password:
 * postgresql://USER:PASSWORD@HOST/NAME?OPTIONS (postgres://, mysql://, mariadb://). What the rest means is the driver's
 * affair.
 */
#ifndef ORM_BASE_URL_H
#define ORM_BASE_URL_H

#include <stdbool.h>
#include <stddef.h>

/* For messages: what may be written. */
#define ORM_URL_KNOWN "sqlite:///FILE, postgresql://HOST/NAME, mariadb://HOST/NAME or mysql://HOST/NAME"

bool orm_url_is_database(const char *url);
/* Of an engine with a server, rather than a file? */
bool orm_url_is_of_server(const char *url);

/*
 * The URL without passwords, for logs, messages and replies: that before the @, and the parameters password, passwd and
 * sslpassword. Cut if it does not fit `size`. Returns `text`. A URL without a password, and what is no URL, stay as
 * they are.
 */
char *orm_url_without_password(const char *url, char *text, size_t size);

/*
 * The same with one name for each engine: two URLs that mean the same database for the same user are equal, whatever
 * password they hold, if they are spelt alike otherwise.
 */
char *orm_url_identity(const char *url, char *text, size_t size);

#endif
