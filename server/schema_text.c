/* SPDX-License-Identifier: MIT */
#include "server/schema_text.h"

#include <stdbool.h>
#include <string.h>

#include <orm/types.h>

typedef Ormd__V1__ModelSpec model_spec;
typedef Ormd__V1__ColumnSpec column_spec;
typedef Ormd__V1__RelationshipSpec relationship_spec;

/* ---- what a model says ----------------------------------------------------------------------------------------- */

static const char *or_unknown(const char *text)
{
	return text && *text ? text : "?";
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static const char *type_name(const column_spec *column)
{
	static const char *const names[ORM_TYPE_MAX + 1] = {"none",  "bool", "int32", "int64",    "double",  "text", "bytes",
							    "date", "time", "datetime", "decimal", "uuid", "json"};
	const int type = column->has_type ? (int)column->type : 0;

	return type >= 0 && type <= ORM_TYPE_MAX ? names[type] : "?";
}

static void print_type(const column_spec *column, orm_buffer *out)
{
	orm_buffer_puts(out, type_name(column));
	if (column->max_length)
		orm_buffer_printf(out, "(%u)", column->max_length);
	if (column->precision)
		orm_buffer_printf(out, "(%u, %u)", column->precision, column->scale);
}

/* The number of a model; n_models: there is none of that name. */
static size_t find_model(model_spec *const *models, size_t n_models, const char *name)
{
	size_t i = 0;

	while (i < n_models && !same(models[i]->name, name))
		i++;
	return i;
}

static size_t find_column(const model_spec *model, const char *name)
{
	size_t i = 0;

	while (i < model->n_columns && !same(model->columns[i]->name, name))
		i++;
	return i;
}

static bool is_key_column(const model_spec *model, const char *name)
{
	const size_t i = find_column(model, name);

	return i < model->n_columns && model->columns[i]->primary_key;
}

/* Does column `number` of `model` begin a foreign key to `target`? Columns that refer to a composite key are one
 * foreign key for as many as it has. */
static bool begins_key(const model_spec *model, size_t number, const model_spec *target)
{
	size_t n_key = 0;
	size_t n_before = 0;

	if (!is_key_column(target, model->columns[number]->references_column))
		return true;
	for (size_t i = 0; i < target->n_columns; i++)
		n_key += target->columns[i]->primary_key ? 1 : 0;
	for (size_t i = 0; i < number; i++)
		n_before += same(model->columns[i]->references_model, target->name) &&
			    is_key_column(target, model->columns[i]->references_column);
	return n_before % n_key == 0;
}

/* Told of each foreign key between the models: its first column. */
typedef void print_edge(model_spec *const *models, size_t number, size_t column, size_t target, orm_buffer *out);

static void print_edges(model_spec *const *models, size_t n_models, print_edge *print, orm_buffer *out)
{
	for (size_t i = 0; i < n_models; i++) {
		for (size_t k = 0; k < models[i]->n_columns; k++) {
			const size_t target = find_model(models, n_models, models[i]->columns[k]->references_model);

			if (target < n_models && begins_key(models[i], k, models[target]))
				print(models, i, k, target, out);
		}
	}
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static const char *on_delete_text(const column_spec *column)
{
	switch (column->has_on_delete ? (int)column->on_delete : 0) {
	case ORM_CASCADE:
		return ", deleted along";
	case ORM_SET_NULL:
		return ", set to NULL";
	default:
		return "";
	}
}

static void print_column_text(const column_spec *column, int name_width, orm_buffer *out)
{
	orm_buffer type;

	orm_buffer_init(&type);
	print_type(column, &type);
	orm_buffer_printf(out, "  %-*s  %-10s", name_width, or_unknown(column->name), type.data ? type.data : "?");
	orm_buffer_fini(&type);
	if (column->primary_key)
		orm_buffer_puts(out, "  primary key");
	if (column->nullable)
		orm_buffer_puts(out, "  null");
	if (column->unique)
		orm_buffer_puts(out, "  unique");
	if (column->index)
		orm_buffer_puts(out, "  index");
	if (column->version)
		orm_buffer_puts(out, "  version");
	if (column->server_default)
		orm_buffer_printf(out, "  default %s",
				  strcmp(column->server_default, "ormd:now") == 0 ? "now" : column->server_default);
	if (column->check)
		orm_buffer_printf(out, "  check (%s)", column->check);
	if (column->references_model)
		orm_buffer_printf(out, "  -> %s.%s%s", column->references_model, or_unknown(column->references_column),
				  on_delete_text(column));
	orm_buffer_putc(out, '\n');
}

static void print_relationship_text(const relationship_spec *relationship, const char *model, int name_width,
				    orm_buffer *out)
{
	const char *target = or_unknown(relationship->target);

	orm_buffer_printf(out, "  %-*s  %s%s", name_width, or_unknown(relationship->name),
			  relationship->to_many ? "list of " : "", target);
	if (relationship->via)
		orm_buffer_printf(out, "  by %s.%s", relationship->to_many ? target : model, relationship->via);
	if (relationship->reverse)
		orm_buffer_printf(out, "  <-> %s.%s", target, relationship->reverse);
	orm_buffer_putc(out, '\n');
}

static int longest_name(const model_spec *model)
{
	size_t longest = 0;

	for (size_t i = 0; i < model->n_columns; i++)
		if (strlen(or_unknown(model->columns[i]->name)) > longest)
			longest = strlen(or_unknown(model->columns[i]->name));
	for (size_t i = 0; i < model->n_relationships; i++)
		if (strlen(or_unknown(model->relationships[i]->name)) > longest)
			longest = strlen(or_unknown(model->relationships[i]->name));
	return longest < 64 ? (int)longest : 64;
}

static void print_text(model_spec *const *models, size_t n_models, orm_buffer *out)
{
	for (size_t i = 0; i < n_models; i++) {
		const int width = longest_name(models[i]);

		if (i > 0)
			orm_buffer_putc(out, '\n');
		orm_buffer_printf(out, "%s (table %s)\n", or_unknown(models[i]->name), or_unknown(models[i]->table));
		for (size_t k = 0; k < models[i]->n_columns; k++)
			print_column_text(models[i]->columns[k], width, out);
		for (size_t k = 0; k < models[i]->n_relationships; k++)
			print_relationship_text(models[i]->relationships[k], or_unknown(models[i]->name), width, out);
	}
}

/* ---- DOT -------------------------------------------------------------------------------------------------------- */

static void put_escaped(const char *text, orm_buffer *out)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			orm_buffer_puts(out, "&amp;");
			break;
		case '<':
			orm_buffer_puts(out, "&lt;");
			break;
		case '>':
			orm_buffer_puts(out, "&gt;");
			break;
		case '"':
			orm_buffer_puts(out, "&quot;");
			break;
		default:
			orm_buffer_putc(out, (unsigned char)*text < ' ' ? '?' : *text);
			break;
		}
	}
}

static void print_column_dot(const column_spec *column, size_t number, orm_buffer *out)
{
	orm_buffer_printf(out, "\t\t<tr><td align=\"left\" port=\"c%zu\">", number);
	if (column->primary_key)
		orm_buffer_puts(out, "<u>");
	put_escaped(or_unknown(column->name), out);
	if (column->primary_key)
		orm_buffer_puts(out, "</u>");
	orm_buffer_puts(out, " <i>");
	print_type(column, out);
	orm_buffer_puts(out, "</i>");
	if (column->nullable)
		orm_buffer_puts(out, " null");
	if (column->unique)
		orm_buffer_puts(out, " unique");
	orm_buffer_puts(out, "</td></tr>\n");
}

static void print_edge_dot(model_spec *const *models, size_t number, size_t column_number, size_t target,
			   orm_buffer *out)
{
	const column_spec *column = models[number]->columns[column_number];
	const size_t target_column = find_column(models[target], column->references_column);

	/* Crow's feet: the many, the one; a circle where there may be none. */
	orm_buffer_printf(out, "\tm%zu:c%zu -> m%zu", number, column_number, target);
	if (target_column < models[target]->n_columns)
		orm_buffer_printf(out, ":c%zu", target_column);
	orm_buffer_printf(out, " [dir=both, arrowtail=%s, arrowhead=%s];\n", column->unique ? "teeodot" : "crowodot",
			  column->nullable ? "teeodot" : "teetee");
}

static void print_dot(model_spec *const *models, size_t n_models, orm_buffer *out)
{
	orm_buffer_puts(out, "digraph models {\n\trankdir=LR;\n\tnode [shape=plain, fontname=\"sans-serif\"];\n");
	for (size_t i = 0; i < n_models; i++) {
		orm_buffer_printf(
			out,
			"\tm%zu [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"4\">\n",
			i);
		orm_buffer_puts(out, "\t\t<tr><td bgcolor=\"#e4e8f0\"><b>");
		put_escaped(or_unknown(models[i]->name), out);
		orm_buffer_puts(out, "</b> (");
		put_escaped(or_unknown(models[i]->table), out);
		orm_buffer_puts(out, ")</td></tr>\n");
		for (size_t k = 0; k < models[i]->n_columns; k++)
			print_column_dot(models[i]->columns[k], k, out);
		orm_buffer_puts(out, "\t</table>>];\n");
	}
	print_edges(models, n_models, print_edge_dot, out);
	orm_buffer_puts(out, "}\n");
}

/* ---- Mermaid ---------------------------------------------------------------------------------------------------- */

/* A name as Mermaid's entities and attributes may have it. */
static void put_word(const char *text, orm_buffer *out)
{
	if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || *text == '_'))
		orm_buffer_putc(out, '_');
	for (; *text; text++) {
		const bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
				   (*text >= '0' && *text <= '9');

		orm_buffer_putc(out, plain ? *text : '_');
	}
}

/* Two versions of a model may be declared at a time: the later ones get a number. */
static void put_entity(model_spec *const *models, size_t number, orm_buffer *out)
{
	size_t n_before = 0;

	for (size_t i = 0; i < number; i++)
		n_before += same(models[i]->name, models[number]->name);
	put_word(or_unknown(models[number]->name), out);
	if (n_before)
		orm_buffer_printf(out, "_%zu", n_before + 1);
}

static void print_column_mermaid(const column_spec *column, orm_buffer *out)
{
	const char *separator = " ";

	orm_buffer_printf(out, "\t\t%s ", type_name(column));
	put_word(or_unknown(column->name), out);
	if (column->primary_key) {
		orm_buffer_printf(out, "%sPK", separator);
		separator = ", ";
	}
	if (column->references_model) {
		orm_buffer_printf(out, "%sFK", separator);
		separator = ", ";
	}
	if (column->unique)
		orm_buffer_printf(out, "%sUK", separator);
	if (column->nullable)
		orm_buffer_puts(out, " \"null\"");
	orm_buffer_putc(out, '\n');
}

static void print_edge_mermaid(model_spec *const *models, size_t number, size_t column_number, size_t target,
			       orm_buffer *out)
{
	const column_spec *column = models[number]->columns[column_number];

	orm_buffer_putc(out, '\t');
	put_entity(models, target, out);
	orm_buffer_printf(out, " %s--%s ", column->nullable ? "|o" : "||", column->unique ? "o|" : "o{");
	put_entity(models, number, out);
	orm_buffer_puts(out, " : ");
	put_word(or_unknown(column->name), out);
	orm_buffer_putc(out, '\n');
}

static void print_mermaid(model_spec *const *models, size_t n_models, orm_buffer *out)
{
	orm_buffer_puts(out, "erDiagram\n");
	for (size_t i = 0; i < n_models; i++) {
		orm_buffer_putc(out, '\t');
		put_entity(models, i, out);
		orm_buffer_puts(out, " {\n");
		for (size_t k = 0; k < models[i]->n_columns; k++)
			print_column_mermaid(models[i]->columns[k], out);
		orm_buffer_puts(out, "\t}\n");
	}
	print_edges(models, n_models, print_edge_mermaid, out);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

bool schema_format_parse(const char *text, schema_format *format)
{
	static const char *const names[] = {[SCHEMA_TEXT] = "text", [SCHEMA_DOT] = "dot", [SCHEMA_MERMAID] = "mermaid"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(text, names[i]) == 0) {
			*format = (schema_format)i;
			return true;
		}
	return false;
}

void schema_text_print(Ormd__V1__ModelSpec *const *models, size_t n_models, schema_format format, orm_buffer *out)
{
	switch (format) {
	case SCHEMA_TEXT:
		print_text(models, n_models, out);
		break;
	case SCHEMA_DOT:
		print_dot(models, n_models, out);
		break;
	case SCHEMA_MERMAID:
		print_mermaid(models, n_models, out);
		break;
	}
}
