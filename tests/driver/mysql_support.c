/* SPDX-License-Identifier: MIT */
#include "driver/mysql_support.h"

#include <stdio.h>
#include <string.h>

#include "sql/compile.h"
#include "sql/ddl.h"

static char url[ENGINE_URL_SIZE];

const char *mysql_fresh_url(void)
{
	engine_database(ENGINE_MARIADB, url);
	return url;
}

static orm_status run_statement(const char *sql, void *context, orm_error *error)
{
	ormd_connection *connection = context;

	return connection->driver->run(connection, sql, error);
}

void mysql_create_all(ormd_connection *connection, const orm_registry *registry)
{
	orm_error error;

	if (ormd_ddl_create_all(&ormd_dialect_mysql, registry, run_statement, connection, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

void mysql_drop_all(ormd_connection *connection, const orm_registry *registry)
{
	orm_error error;

	if (ormd_ddl_drop_all(&ormd_dialect_mysql, registry, run_statement, connection, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

ormd_connection *mysql_open_again(bool read_only)
{
	return open_connection(url, read_only);
}

ormd_connection *mysql_open(void)
{
	ormd_connection *connection = open_connection(mysql_fresh_url(), false);

	mysql_create_all(connection, cell_mapper()->registry);
	return connection;
}

void mysql_insert_sql(orm_buffer *sql, const orm_mapper *mapper, uint16_t first, bool returning_key)
{
	uint16_t columns[16];
	uint16_t n = 0;

	for (uint16_t i = first; i < mapper->n_columns; i++)
		columns[n++] = i;
	orm_buffer_init(sql);
	ormd_sql_insert(&ormd_dialect_mysql, mapper, columns, n, mapper->key, returning_key ? 1 : 0, sql);
	assert_false(sql->failed);
}

char *mysql_ask(const char *sql)
{
	return engine_ask(url, sql);
}
