/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/decimal.h"
#include "base/map.h"
#include "model/registry_build.h"
#include "model/value.h"

#define RESERVED_PREFIX "ormd_" /* ormd's own tables */

/* Names seen so far, to find the one that comes twice. Tables and columns are compared as SQL does: without regard to
 * ASCII case. */
typedef struct name_set {
	orm_map map;
	bool fold;
} name_set;

static char folded(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_names(const void *value, const void *key)
{
	return strcmp(value, key) == 0;
}

static bool equal_folded_names(const void *value, const void *key)
{
	const char *a = value;
	const char *b = key;

	while (*a && folded(*a) == folded(*b)) {
		a++;
		b++;
	}
	return folded(*a) == folded(*b);
}

/* The name in the set that is equal, or NULL after putting `name` there; *failed when out of memory. */
static const char *find_or_put(name_set *set, const char *name, bool *failed)
{
	char text[ORM_MAX_NAME];
	size_t len = 0;

	for (; name[len] && len < sizeof text; len++)
		text[len] = set->fold ? folded(name[len]) : name[len];

	const uint64_t hash = orm_hash_bytes(text, len);
	const char *found = orm_map_get(&set->map, hash, set->fold ? equal_folded_names : equal_names, name);

	/* The map only lends the pointer back. */
	if (!found && !orm_map_put(&set->map, hash, (void *)(uintptr_t)name))
		*failed = true;
	return found;
}

/* NULL when the name is good, otherwise what is wrong with it. */
static const char *name_fault(const char *name)
{
	if (!name || name[0] == '\0')
		return "has no name: give it one";

	const size_t len = strlen(name);

	if (len > ORM_MAX_NAME)
		return "has a name of more than 63 bytes: shorten it";
	if (!orm_utf8_valid(name, len))
		return "has a name that is not valid UTF-8: write it in UTF-8";
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return "has a name with a control character: leave it out";
	}
	return NULL;
}

/*
 * Checks and server defaults are SQL from the program, pasted into CREATE TABLE. This is no parser of SQL: it makes
 * sure, for every engine's rules of quoting at once, that the text is one piece inside its parentheses, so that it can
 * do no more than be an expression.
 */
static const char *expression_fault(const char *sql)
{
	const size_t size = strlen(sql);
	size_t parentheses = 0;
	size_t brackets = 0;
	bool blank = true;
	char quote = '\0';

	if (!orm_utf8_valid(sql, size))
		return "is not valid UTF-8";
	for (const char *c = sql; *c; c++) {
		blank &= *c == ' ' || *c == '\t' || *c == '\n' || *c == '\r';
		if (*c == '\\')
			return "has a backslash, which engines read differently: do without";
		if (quote) {
			quote = *c == quote ? '\0' : quote; /* a doubled one closes and opens again */
			continue;
		}
		switch (*c) {
		case '\'':
		case '"':
		case '`':
			if (brackets > 0)
				return "has a quote inside brackets, which engines read differently: do without";
			quote = *c;
			break;
		case '(':
			parentheses++;
			break;
		case ')':
			if (parentheses-- == 0)
				return "closes a parenthesis that it has not opened: balance them";
			break;
		case '[':
			brackets++;
			break;
		case ']':
			if (brackets-- == 0)
				return "closes a bracket that it has not opened: balance them";
			break;
		case ';':
			return "has a semicolon: give one expression only";
		case '$':
		case '#':
			return "has a '$' or '#' outside quotes, which engines read differently: do without";
		case '-':
			if (c[1] == '-')
				return "has a comment: leave it out";
			break;
		case '/':
			if (c[1] == '*')
				return "has a comment: leave it out";
			break;
		default:
			break;
		}
	}
	if (blank)
		return "is empty: leave it out or give an expression";
	if (quote)
		return "does not close a quote: close it";
	if (parentheses > 0 || brackets > 0)
		return "does not close a parenthesis or bracket: balance them";
	return NULL;
}

/* What precision and scale there may be, and that a default is a number which every engine can be told exactly. */
static const char *decimal_fault(const orm_column_spec *column)
{
	const bool unset = column->precision == 0;
	const unsigned precision = unset ? ORM_DECIMAL_PRECISION : column->precision;
	const unsigned scale = unset ? ORM_DECIMAL_SCALE : column->scale;
	const char *number = column->server_default;
	char canonical[ORM_DECIMAL_SIZE];
	size_t size;

	if (column->type != ORM_DECIMAL)
		return column->precision > 0 || column->scale > 0
			       ? "has a precision or scale, which only decimals have: remove it"
			       : NULL;
	if (unset && column->scale > 0)
		return "has a scale without a precision: give the number of all its digits, too";
	if (precision > ORM_DECIMAL_MAX_PRECISION)
		return "has a precision of more than 38 digits: lower it";
	if (scale > precision)
		return "has a scale larger than its precision, which counts all digits: lower it, or raise the "
		       "precision";
	if (column->primary_key || column->references_model)
		return "is a decimal and a key: use an integer, text or uuid for keys";
	if (number &&
	    orm_decimal_canonical(number, strlen(number), precision, scale, canonical, &size) != ORM_DECIMAL_GOOD)
		return "is a decimal whose server_default is not a number that fits it: give one, such as 0 or 9.50";
	return NULL;
}

/* JSON has no equality that all engines agree on. */
static const char *json_fault(const orm_column_spec *column)
{
	if (column->type != ORM_JSON)
		return NULL;
	if (column->primary_key || column->references_model)
		return "is JSON and a key: use an integer, text or uuid for keys";
	if (column->unique || column->index)
		return "is JSON, which cannot be unique or indexed: keep what you look for in a column of its own";
	return NULL;
}

/* Why these options do not go together for a column; NULL when they do. */
static const char *flags_fault(const orm_column_spec *column)
{
	const bool integer = column->type == ORM_INT32 || column->type == ORM_INT64;
	const bool moment = column->type == ORM_DATE || column->type == ORM_TIME || column->type == ORM_DATETIME;
	const bool now = column->server_default && strcmp(column->server_default, ORM_DEFAULT_NOW) == 0;

	if ((unsigned)column->type == 0 || (unsigned)column->type > ORM_TYPE_MAX)
		return "has no type that ormd knows: use one of orm_type";
	if (column->primary_key && column->nullable)
		return "is a primary key and nullable: a key is never NULL, so remove nullable";
	if (column->primary_key && column->type == ORM_DOUBLE)
		return "is a primary key of type double, which does not compare exactly: use an integer or text";
	if (column->max_length > 0 && column->type != ORM_TEXT && column->type != ORM_BYTES)
		return "has a max_length, which only text and bytes have: remove it";
	if (now && !moment)
		return "has the current time as its default: make it a date, time or datetime, or remove the default";
	if (column->version && !integer)
		return "is the version column: make it int32 or int64";
	if (column->version && column->nullable)
		return "is the version column and nullable: remove nullable";
	if (column->version && (column->primary_key || column->unique || column->references_model))
		return "is the version column, which counts changes: it cannot be a key, unique or a foreign key too";
	if (!column->references_model != !column->references_column)
		return "names only the model or only the column that it references: name both";
	if ((unsigned)column->on_delete > ORM_SET_DEFAULT)
		return "has an on_delete that ormd does not know: use one of orm_on_delete";
	if (column->on_delete != ORM_NO_ACTION && !column->references_model)
		return "has an on_delete, but references nothing: remove it, or say what it references";
	if (column->on_delete == ORM_SET_NULL && !column->nullable)
		return "is set to NULL on delete, but may not be NULL: make it nullable, or choose another on_delete";
	if (column->on_delete == ORM_SET_DEFAULT && !column->server_default && !column->nullable)
		return "is set to its default on delete, but has none and may not be NULL: give it a server_default";

	const char *fault = decimal_fault(column);

	return fault ? fault : json_fault(column);
}

static orm_status check_column(const orm_model_spec *model, size_t number, orm_error *error)
{
	const orm_column_spec *column = &model->columns[number];
	const char *fault = name_fault(column->name);

	if (fault)
		return orm_fail_at(error, ORM_EINVAL, model->name, NULL, "column %zu %s", number, fault);
	fault = flags_fault(column);
	if (fault)
		return orm_fail_at(error, ORM_EINVAL, model->name, column->name, "the column %s", fault);
	fault = column->server_default && strcmp(column->server_default, ORM_DEFAULT_NOW) != 0
			? expression_fault(column->server_default)
			: NULL;
	if (fault)
		return orm_fail_at(error, ORM_EINVAL, model->name, column->name, "the server_default %s", fault);
	fault = column->check ? expression_fault(column->check) : NULL;
	if (fault)
		return orm_fail_at(error, ORM_EINVAL, model->name, column->name, "the check %s", fault);
	return ORM_OK;
}

static orm_status check_columns(const orm_model_spec *model, name_set *names, orm_error *error)
{
	const char *version = NULL;
	bool has_key = false;
	bool failed = false;

	if (model->n_columns == 0 || !model->columns)
		return orm_fail_at(error, ORM_EINVAL, model->name, NULL,
				   "the model has no columns: declare at least a primary key");
	if (model->n_columns > ORM_MAX_COLUMNS)
		return orm_fail_at(error, ORM_EINVAL, model->name, NULL,
				   "the model has %zu columns: at most %d are allowed", model->n_columns,
				   ORM_MAX_COLUMNS);
	for (size_t i = 0; i < model->n_columns; i++) {
		const orm_column_spec *column = &model->columns[i];
		const orm_status status = check_column(model, i, error);

		if (status != ORM_OK)
			return status;

		const char *other = find_or_put(names, column->name, &failed);

		if (failed)
			return ORM_ENOMEM;
		if (other)
			return orm_fail_at(
				error, ORM_EINVAL, model->name, column->name,
				"the column is declared twice (SQL compares names without regard to case): rename one");
		if (column->version && version)
			return orm_fail_at(error, ORM_EINVAL, model->name, column->name,
					   "the model has two version columns, this and %s: keep one", version);
		if (column->version)
			version = column->name;
		has_key |= column->primary_key;
	}
	if (!has_key)
		return orm_fail_at(
			error, ORM_EINVAL, model->name, NULL,
			"the model has no primary key: mark a column, such as \"id\", with .primary_key = true");
	return ORM_OK;
}

static orm_status check_relationships(const orm_model_spec *model, name_set *names, orm_error *error)
{
	bool failed = false;

	if (model->n_relationships > ORM_MAX_COLUMNS || (model->n_relationships > 0 && !model->relationships))
		return orm_fail_at(error, ORM_EINVAL, model->name, NULL,
				   "the model has %zu relationships: at most %d are allowed", model->n_relationships,
				   ORM_MAX_COLUMNS);
	for (size_t i = 0; i < model->n_relationships; i++) {
		const orm_relationship_spec *relationship = &model->relationships[i];
		const char *fault = name_fault(relationship->name);

		if (fault)
			return orm_fail_at(error, ORM_EINVAL, model->name, NULL, "relationship %zu %s", i, fault);
		if (!relationship->target)
			return orm_fail_at(error, ORM_EINVAL, model->name, relationship->name,
					   "the relationship has no target: name the model that it leads to");
		if (find_or_put(names, relationship->name, &failed))
			return orm_fail_at(error, ORM_EINVAL, model->name, relationship->name,
					   "the relationship has the name of another member: rename one");
		if (failed)
			return ORM_ENOMEM;
	}
	return ORM_OK;
}

static orm_status check_model(const orm_model_spec *model, size_t number, orm_error *error)
{
	const char *fault = name_fault(model->name);
	name_set members = {.fold = true}; /* columns and relationships: all are members of one struct */
	orm_status status;

	if (fault)
		return orm_fail(error, ORM_EINVAL, "model %zu %s", number, fault);
	fault = name_fault(model->table);
	if (fault)
		return orm_fail_at(error, ORM_EINVAL, model->name, NULL, "the model's table %s", fault);
	for (size_t i = 0; i < strlen(RESERVED_PREFIX); i++) {
		if (folded(model->table[i]) != RESERVED_PREFIX[i])
			break;
		if (i + 1 == strlen(RESERVED_PREFIX))
			return orm_fail_at(error, ORM_EINVAL, model->name, NULL,
					   "tables that start with \"%s\" are ormd's own: rename \"%s\"",
					   RESERVED_PREFIX, model->table);
	}
	orm_map_init(&members.map);
	status = check_columns(model, &members, error);
	if (status == ORM_OK)
		status = check_relationships(model, &members, error);
	orm_map_fini(&members.map);
	return status;
}

orm_status orm_registry_check_specs(const orm_model_spec *specs, size_t n_specs, orm_error *error)
{
	name_set models = {.fold = false};
	name_set tables = {.fold = true};
	orm_status status = ORM_OK;
	bool failed = false;

	if (n_specs == 0 || !specs)
		return orm_fail(error, ORM_EINVAL, "there are no models: give at least one");
	if (n_specs > ORM_MAX_MODELS)
		return orm_fail(error, ORM_EINVAL, "there are %zu models: at most %d are allowed", n_specs,
				ORM_MAX_MODELS);
	orm_map_init(&models.map);
	orm_map_init(&tables.map);
	for (size_t i = 0; i < n_specs && status == ORM_OK; i++) {
		status = check_model(&specs[i], i, error);
		if (status != ORM_OK)
			break;
		if (find_or_put(&models, specs[i].name, &failed))
			status = orm_fail_at(error, ORM_EINVAL, specs[i].name, NULL,
					     "the model is there twice: list each model once");
		else if (!failed && find_or_put(&tables, specs[i].table, &failed))
			status = orm_fail_at(error, ORM_EINVAL, specs[i].name, NULL,
					     "the table \"%s\" is another model's already: rename one", specs[i].table);
		if (failed)
			status = ORM_ENOMEM;
	}
	orm_map_fini(&models.map);
	orm_map_fini(&tables.map);
	if (status == ORM_ENOMEM)
		orm_fail(error, ORM_ENOMEM, "out of memory for the models");
	return status;
}
