/*
 * import.c - tokens of other gateways: a file into rows, rows into tokens and limits.
 *
 * It can be repeated: a token whose secret is known here already is left as it is, and every id
 * comes from the secret's hash, so that what a run that was killed left undone is done by the next,
 * once.  The limits of a token are written before it: it never works without them.
 */
#include "manage/import-int.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH        128 /* tokens written in one transaction */
#define COLUMNS_MAX  128
#define ROW_BYTES    (256 * 1024)
#define PROJECTS_MAX 1024 /* that one import meets */

struct met_project {
	struct id id; /* none: it would be made */
	char name[NAME_BYTES];
};

struct importing {
	struct manage *m;
	const struct manage_token_import *how;
	struct store_change change;
	struct err *err;
	struct bytes *report;
	struct bytes made; /* names of projects, as a JSON list's inside */
	struct id project; /* how->project */
	struct met_project *projects;
	size_t project_count;
	struct token *tokens; /* waiting to be written */
	struct limit *limits;
	size_t token_count, limit_count;
	int64_t rows, imported, skipped, refused, limits_made;
	bool failed;
};

/* ---- writing ---- */

/* The same for the same secret, with the head that timed ids have. */
static struct id
id_from(const struct draft *d, const char *what)
{
	struct id id = id_timed(d->created_ms > 0 ? d->created_ms : 1);
	uint8_t mac[SHA256_BYTES];

	hash_hmac(d->token.sha256, SHA256_BYTES, what, strlen(what), mac);
	memcpy(id.b + 6, mac, sizeof id.b - 6);
	return id;
}

static int
flush(struct importing *im)
{
	if (im->limit_count > 0 && store_create_many(im->m->store, RECORD_LIMIT, im->limits,
					   im->limit_count, &im->change, im->err) != 0)
		return -1;
	im->limit_count = 0;
	if (im->token_count > 0 && store_create_many(im->m->store, RECORD_TOKEN, im->tokens,
					   im->token_count, &im->change, im->err) != 0)
		return -1;
	im->token_count = 0;
	return 0;
}

static int
keep_limits(struct importing *im, struct draft *d, const char *token)
{
	struct limit there;
	char what[32];
	int rc;

	for (int i = 0; i < d->limit_count; i++) {
		struct limit *l = &d->limits[i];

		snprintf(what, sizeof what, "limit %d", i);
		l->head.id = id_from(d, what);
		l->since_ms = board_now_ms(im->m->board);
		strcpy(l->scope[DIMENSION_TOKEN], token);
		rc = store_get(im->m->store, RECORD_LIMIT, l->head.id, &there, im->err);
		if (rc < 0)
			return -1;
		if (rc == 0) /* else a run before this one got as far */
			im->limits[im->limit_count++] = *l;
		im->limits_made++;
	}
	return 0;
}

static int
make_project(struct importing *im, struct met_project *p)
{
	struct project fresh;

	bytes_puts(&im->made, im->made.len > 0 ? "," : "");
	bytes_json(&im->made, span_of(p->name));
	if (im->how->dry_run)
		return 0;
	record_init(RECORD_PROJECT, &fresh);
	fresh.head.id = id_timed(clock_wall_ms());
	(void)span_copy(span_of(p->name), fresh.name, sizeof fresh.name);
	p->id = fresh.head.id;
	return store_create(im->m->store, RECORD_PROJECT, &fresh, &im->change, im->err);
}

static bool
is_name(const char *text)
{
	struct id id;

	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return text[0] != '\0' && id_parse(record_prefix(RECORD_PROJECT), text, &id) != 0;
}

/* The project of that name, made when it is missing: 0, 1 refused, -1. */
static int
find_project(struct importing *im, struct draft *d, struct id *id)
{
	struct met_project *p;
	struct project there;
	int rc;

	*id = im->project;
	if (im->how->project != NULL)
		return 0;
	if (!is_name(d->project)) {
		snprintf(d->refused, sizeof d->refused,
			"the file names no project for it; say which one they all go to");
		return 1;
	}
	for (size_t i = 0; i < im->project_count; i++)
		if (strcmp(im->projects[i].name, d->project) == 0) {
			*id = im->projects[i].id;
			return 0;
		}
	if (im->project_count == PROJECTS_MAX)
		return err_set(im->err, ERR_BAD_REQUEST, "more than %d projects in one file",
			PROJECTS_MAX);
	p = &im->projects[im->project_count++];
	strcpy(p->name, d->project);
	rc = store_find(im->m->store, RECORD_PROJECT, d->project, &there, im->err);
	if (rc < 0)
		return -1;
	if (rc > 0)
		p->id = there.head.id;
	else if (make_project(im, p) != 0)
		return -1;
	*id = p->id;
	return 0;
}

/* 1 taken along, 0 known here already or refused (d->refused says why), -1. */
static int
take(struct importing *im, struct draft *d)
{
	char token[ID_TEXT_BYTES];
	struct token there;
	int rc = store_token_by_hash(im->m->store, d->token.sha256, &there, im->err);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		id_text(record_prefix(RECORD_TOKEN), there.head.id, token);
		snprintf(d->refused, sizeof d->refused, "it is here already, as %s", token);
		im->skipped++;
		return 0;
	}
	for (size_t i = 0; i < im->token_count; i++)
		if (memcmp(im->tokens[i].sha256, d->token.sha256, SHA256_BYTES) == 0) {
			snprintf(d->refused, sizeof d->refused, "it stands in the file twice");
			im->skipped++;
			return 0;
		}
	if ((rc = find_project(im, d, &d->token.project)) != 0) {
		im->refused += rc > 0;
		return rc > 0 ? 0 : -1;
	}
	d->token.head.id = id_from(d, "token");
	id_text(record_prefix(RECORD_TOKEN), d->token.head.id, token);
	if (keep_limits(im, d, token) != 0)
		return -1;
	im->tokens[im->token_count++] = d->token;
	im->imported++;
	if (im->token_count < BATCH)
		return 1;
	if (im->how->dry_run) /* those that wait also tell doubles; a file's are close together */
		im->token_count = im->limit_count = 0;
	else if (flush(im) != 0)
		return -1;
	return 1;
}

static void
put_notes(struct bytes *out, const char *notes)
{
	bytes_puts(out, ",\"not_carried\":[");
	while (notes != NULL && *notes != '\0') {
		size_t len = strcspn(notes, "\n");

		bytes_json(out, (struct span){ notes, len });
		notes += len;
		if (*notes == '\n') {
			notes++;
			bytes_puts(out, ",");
		}
	}
	bytes_puts(out, "]");
}

static void
put_row(struct importing *im, const struct draft *d, bool taken, bool skipped)
{
	struct bytes *out = im->report;
	char id[ID_TEXT_BYTES] = "";

	if (taken)
		id_text(record_prefix(RECORD_TOKEN), d->token.head.id, id);
	bytes_puts(out, im->rows > 1 ? ",{" : "{");
	shape_int(out, "row", im->rows);
	shape_text(out, "name", d->name);
	shape_text(out, "masked", d->token.masked);
	if (taken)
		shape_text(out, "id", id);
	else
		shape_text(out, skipped ? "skipped" : "refused", d->refused);
	if (taken && !d->token.is_active)
		shape_text(out, "revoked", d->token.revoked_reason);
	if (taken)
		shape_int(out, "limits", d->limit_count);
	put_notes(out, d->notes.at);
	bytes_puts(out, "}");
}

static bool
on_row(struct importing *im, struct span row)
{
	struct draft *d = malloc(sizeof *d);
	int64_t skipped = im->skipped;
	int rc = 0;

	if (d == NULL) {
		err_set(im->err, ERR_MEMORY, "no memory to import tokens");
		im->failed = true;
		return false;
	}
	im->rows++;
	import_row(im->how->from, row, d);
	if (d->refused[0] != '\0')
		im->refused++;
	else
		rc = take(im, d);
	put_row(im, d, rc > 0, im->skipped > skipped);
	bytes_free(&d->notes);
	explicit_bzero(d, sizeof *d);
	free(d);
	im->failed = rc < 0;
	return !im->failed;
}

/* ---- files in JSON ---- */

static bool
on_element(void *ctx, const struct json_member *m)
{
	return on_row(ctx, m->value.raw);
}

/* Where exports keep the list: {"keys":[…]}, {"data":[…]}, {"data":{"items":[…]}}, … */
static struct json_value
find_list(struct span object)
{
	static const char *const paths[] = { "keys", "tokens", "items", "data", "data.items",
		"data.keys", "data.tokens", "data.data", NULL };

	for (size_t i = 0; paths[i] != NULL; i++) {
		struct json_value v = json_path(object, paths[i]);

		if (v.type == JSON_ARRAY)
			return v;
	}
	return (struct json_value){ JSON_NONE, SPAN_NONE };
}

/* 0, or -1: no JSON. */
static int
read_json(struct importing *im, struct span text)
{
	struct json_value list;

	if (text.at[0] == '[')
		return json_each_element(text, on_element, im, NULL);
	if (json_valid(text)) {
		list = find_list(text);
		if (list.type == JSON_ARRAY)
			return json_each_element(list.raw, on_element, im, NULL);
		(void)on_row(im, text); /* one token */
		return 0;
	}
	/* A line each. */
	while (text.len > 0) {
		const char *end = memchr(text.at, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.at) : text.len;
		struct span line = { text.at, len };

		text.at += len + (end != NULL);
		text.len -= len + (end != NULL);
		while (line.len > 0 && strchr(" \t\r", line.at[line.len - 1]) != NULL)
			line.len--;
		if (line.len == 0)
			continue;
		if (line.at[0] != '{' || !json_valid(line))
			return -1;
		if (!on_row(im, line))
			break;
	}
	return 0;
}

/* ---- files in CSV (RFC 4180; line ends of any kind) ---- */

int
import_csv_field(struct span *text, struct bytes *out, bool *last)
{
	const char *p = text->at, *end = p + text->len;

	out->len = 0;
	if (p < end && *p == '"') {
		for (p++; p < end && (*p != '"' || (p + 1 < end && p[1] == '"')); p++) {
			p += *p == '"';
			bytes_add(out, p, 1);
		}
		if (p == end)
			return -1; /* its quote is never closed */
		p++;
	} else {
		const char *from = p;

		while (p < end && *p != ',' && *p != '\n' && *p != '\r')
			p++;
		bytes_add(out, from, (size_t)(p - from));
	}
	if (p < end && *p != ',' && *p != '\n' && *p != '\r')
		return -1; /* something behind a quote */
	*last = p == end || *p != ',';
	if (p < end && *p == '\r')
		p++;
	if (p < end && (*p == '\n' || *p == ','))
		p++;
	text->at = p;
	text->len = (size_t)(end - p);
	return out->failed ? -1 : 0;
}

static int
read_csv(struct importing *im, struct span text)
{
	struct bytes field = BYTES_LIMIT(ROW_BYTES), row = BYTES_LIMIT(ROW_BYTES);
	char names[COLUMNS_MAX][64];
	size_t columns = 0;
	bool last = false;
	int rc = 0;

	while (!last && rc == 0) {
		rc = columns == COLUMNS_MAX ? -1 : import_csv_field(&text, &field, &last);
		if (rc == 0)
			(void)span_copy(bytes_span(&field), names[columns++], sizeof names[0]);
	}
	if (columns < 2)
		rc = -1;
	while (rc == 0 && text.len > 0 && !im->failed) {
		size_t n = 0;

		if (text.at[0] == '\n' || text.at[0] == '\r') { /* an empty line */
			text.at++;
			text.len--;
			continue;
		}
		row.len = 0;
		for (last = false; !last && rc == 0; n++) {
			rc = n == columns ? -1 : import_csv_field(&text, &field, &last);
			if (rc != 0)
				break;
			bytes_puts(&row, n == 0 ? "{" : ",");
			bytes_json(&row, span_of(names[n]));
			bytes_puts(&row, ":");
			bytes_json(&row, bytes_span(&field));
		}
		bytes_puts(&row, "}");
		if (rc == 0 && (n != columns || row.failed))
			rc = -1;
		if (rc == 0)
			(void)on_row(im, bytes_span(&row));
	}
	if (field.at != NULL)
		explicit_bzero(field.at, field.room);
	if (row.at != NULL)
		explicit_bzero(row.at, row.room);
	bytes_free(&field);
	bytes_free(&row);
	return rc;
}

/* ---- the whole ---- */

/* What the caller can mend: told to a client, too. */
static int refuse_file(struct importing *im, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int
refuse_file(struct importing *im, enum err_code code, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(im->err, code, "%s", text);
	return err_say(im->err, "%s", text);
}

static int
begin(struct importing *im)
{
	struct project p;
	int rc;

	if (!import_knows(im->how->from))
		return refuse_file(im, ERR_BAD_REQUEST,
			"'%.40s' is no gateway this can import from; there are litellm, new-api "
			"and "
			"llm-proxy",
			im->how->from);
	im->projects = calloc(PROJECTS_MAX, sizeof *im->projects);
	im->tokens = calloc(BATCH, sizeof *im->tokens);
	im->limits = calloc(BATCH * (size_t)DRAFT_LIMITS_MAX, sizeof *im->limits);
	if (im->projects == NULL || im->tokens == NULL || im->limits == NULL)
		return err_set(im->err, ERR_MEMORY, "no memory to import tokens");
	if (im->how->project == NULL)
		return 0;
	rc = store_find(im->m->store, RECORD_PROJECT, im->how->project, &p, im->err);
	if (rc == 0)
		return err_set(
			im->err, ERR_NOT_FOUND, "there is no project '%.63s'", im->how->project);
	im->project = p.head.id;
	return rc < 0 ? -1 : 0;
}

struct span
import_trimmed(struct span text)
{
	if (span_starts(text, "\xEF\xBB\xBF")) { /* byte order mark */
		text.at += 3;
		text.len -= 3;
	}
	while (text.len > 0 && strchr(" \t\r\n", text.at[0]) != NULL) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && strchr(" \t\r\n", text.at[text.len - 1]) != NULL)
		text.len--;
	return text;
}

int
manage_import_tokens(struct manage *m, struct span text, const struct manage_token_import *how,
	struct bytes *report, struct err *err)
{
	struct err mine = { 0 };
	struct importing im = { .m = m,
		.how = how,
		.change = { how->actor, "token.import", "", ID_NONE },
		.err = err != NULL ? err : &mine,
		.report = report,
		.made = BYTES_LIMIT(PROJECTS_MAX * 2 * (size_t)NAME_BYTES) };
	bool is_json;
	int rc = begin(&im);

	text = import_trimmed(text);
	is_json = text.len > 0 && (text.at[0] == '{' || text.at[0] == '[');
	im.change.request = id_timed(clock_wall_ms());
	bytes_puts(report, "{\"data\":[");
	if (rc == 0 && text.len > 0 &&
		(is_json ? read_json(&im, text) : read_csv(&im, text)) != 0 && !im.failed)
		rc = refuse_file(&im, ERR_BAD_REQUEST,
			"the file is neither JSON nor CSV with a line of names; row %lld is the "
			"last "
			"that could be read",
			(long long)im.rows);
	if (im.failed)
		rc = -1;
	if (rc == 0 && !how->dry_run)
		rc = flush(&im);
	bytes_printf(report,
		"],\"dry_run\":%s,\"read\":%lld,\"imported\":%lld,\"skipped\":%lld,\"refused\":%"
		"lld,"
		"\"limits\":%lld,\"projects_made\":[%s]}",
		how->dry_run ? "true" : "false", (long long)im.rows, (long long)im.imported,
		(long long)im.skipped, (long long)im.refused, (long long)im.limits_made,
		im.made.len > 0 ? im.made.at : "");
	if (rc == 0 && report->failed)
		rc = err_set(im.err, ERR_MEMORY, "the report is too long; import fewer at a time");
	bytes_free(&im.made);
	free(im.projects);
	free(im.tokens);
	free(im.limits);
	return rc;
}

/* ---- by the API: the file's text is a member of the body ---- */

struct import_body {
	struct call *call;
	char *from, *project, *text;
	bool dry_run;
};

static bool
import_member(void *ctx, const char *name, struct json_value v)
{
	struct import_body *b = ctx;
	struct call *c = b->call;

	if (strcmp(name, "from") == 0)
		return (b->from = call_string(c, name, v, 40)) != NULL;
	if (strcmp(name, "project_id") == 0)
		return v.type == JSON_NULL ||
		       (b->project = call_string(c, name, v, MANAGE_ID_BYTES)) != NULL;
	if (strcmp(name, "text") == 0)
		return (b->text = call_string(c, name, v, MANAGE_BODY_MAX)) != NULL;
	if (strcmp(name, "dry_run") == 0)
		return call_bool(c, name, v, &b->dry_run) == 0;
	call_refuse(c, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

int
tokens_import(struct call *c)
{
	struct import_body b = { .call = c };
	struct manage_token_import how = { .actor = c->actor };
	int rc = call_body(c, import_member, &b);

	if (rc == 0 && (b.from == NULL || b.text == NULL))
		rc = call_refuse(c, ERR_BAD_REQUEST, b.from == NULL ? "from" : "text",
			"%s is required.", b.from == NULL ? "from" : "text");
	if (rc == 0) {
		how.from = b.from;
		how.project = b.project;
		how.dry_run = b.dry_run;
		rc = manage_import_tokens(c->m, span_of(b.text), &how, &c->out->body, &c->err);
	}
	if (b.text != NULL)
		explicit_bzero(b.text, strlen(b.text));
	c->out->status = 200;
	return rc;
}
