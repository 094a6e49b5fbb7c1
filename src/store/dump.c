/*
 * dump.c - a whole store as text and back: one JSON object a line, in the words of the API where it
 * has them, so that another program can read it and another engine can be filled from it.
 *
 *   {"sluice_dump":1,…}                     first: what it is, how its secrets are sealed
 *   {"record":"token","data":{…}}           all fields, what a newer program wrote as `rest`
 *   {"value":"management.…","text":"…"}     settings of its own; hashes of secrets, not secrets
 *   {"audit":7,…}  {"row":"req_…",…}  {"sum":"project","step":"day",…}
 *   {"end":…}                               last: how many lines there were
 *
 * Tables drive writing and reading alike, so that the two cannot differ.
 */
#include "store/care-int.h"
#include "store/usage-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/money.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT      1
#define LINE_MAX_B  (1 << 20)
#define BATCH       64 /* records or rows a transaction */
#define SALT_BYTES  16
#define SCRYPT_N    32768
#define SCRYPT_R    8
#define SCRYPT_P    1
#define SCRYPT_ROOM (64ull << 20)

#define PASSWORD "admin.password"
#define SESSION  "session."
#define CHANGES  "changes" /* of an audit entry, as the store keeps them */

static const char *const secret_names[] = {
	[DUMP_NO_SECRETS] = "none", [DUMP_SEALED] = "sealed", [DUMP_PASSPHRASE] = "passphrase"
};

/* ---- members that are alike in rows, sums and audit entries ---- */

enum member_type { M_ID, M_TEXT, M_U8, M_U16, M_U32, M_U64, M_I64, M_TIME, M_COST, M_HEX };

struct member {
	const char *name;
	enum member_type type;
	size_t offset, size;
	const char *prefix;
};

#define IN(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)

static const struct member row_members[] = {
	{ "row", M_ID, IN(usage_row, exchange), "req_" },
	{ "time", M_TIME, IN(usage_row, time_ms), NULL },
	{ "project", M_ID, IN(usage_row, project), "prj_" },
	{ "token", M_ID, IN(usage_row, token), "tok_" },
	{ "upstream", M_ID, IN(usage_row, upstream), "up_" },
	{ "key", M_ID, IN(usage_row, key), "key_" },
	{ "model", M_TEXT, IN(usage_row, model), NULL },
	{ "upstream_model", M_TEXT, IN(usage_row, upstream_model), NULL },
	{ "endpoint", M_TEXT, IN(usage_row, endpoint), NULL },
	{ "upstream_request_id", M_TEXT, IN(usage_row, upstream_request_id), NULL },
	{ "session", M_TEXT, IN(usage_row, session), NULL },
	{ "end_user", M_TEXT, IN(usage_row, end_user), NULL },
	{ "tag_1", M_TEXT, IN(usage_row, tags[0]), NULL },
	{ "tag_2", M_TEXT, IN(usage_row, tags[1]), NULL },
	{ "tag_3", M_TEXT, IN(usage_row, tags[2]), NULL },
	{ "tag_4", M_TEXT, IN(usage_row, tags[3]), NULL },
	{ "tier", M_TEXT, IN(usage_row, tier), NULL },
	{ "address", M_U64, IN(usage_row, address), NULL },
	{ "error", M_TEXT, IN(usage_row, error), NULL },
	{ "dropped", M_TEXT, IN(usage_row, dropped), NULL },
	{ "status", M_U16, IN(usage_row, status), NULL },
	{ "code", M_U16, IN(usage_row, err_code), NULL },
	{ "ended_by", M_U8, IN(usage_row, ended_by), NULL },
	{ "usage", M_U8, IN(usage_row, usage_source), NULL },
	{ "stream", M_U8, IN(usage_row, stream), NULL },
	{ "attempts", M_U8, IN(usage_row, attempts), NULL },
	{ "duration_ms", M_U32, IN(usage_row, duration_ms), NULL },
	{ "ttfb_ms", M_U32, IN(usage_row, ttfb_ms), NULL },
	{ "input", M_I64, IN(usage_row, tokens.input), NULL },
	{ "cache_read", M_I64, IN(usage_row, tokens.cache_read), NULL },
	{ "cache_write", M_I64, IN(usage_row, tokens.cache_write), NULL },
	{ "cache_write_1h", M_I64, IN(usage_row, tokens.cache_write_1h), NULL },
	{ "output", M_I64, IN(usage_row, tokens.output), NULL },
	{ "reasoning", M_I64, IN(usage_row, tokens.reasoning), NULL },
	{ "audio_input", M_I64, IN(usage_row, tokens.audio_input), NULL },
	{ "audio_output", M_I64, IN(usage_row, tokens.audio_output), NULL },
	{ "images", M_I64, IN(usage_row, tokens.images), NULL },
	{ "cost", M_COST, IN(usage_row, cost_nusd), NULL },
	{ "decision", M_HEX, IN(usage_row, decision_len), NULL }, /* and what follows it */
};
_Static_assert(offsetof(struct usage_row, decision) ==
		       offsetof(struct usage_row, decision_len) + sizeof(uint16_t),
	"the bytes behind their number");

static const struct member audit_members[] = {
	{ "audit", M_U64, IN(audit_entry, number), NULL },
	{ "time", M_TIME, IN(audit_entry, time_ms), NULL },
	{ "actor", M_TEXT, IN(audit_entry, actor), NULL },
	{ "action", M_TEXT, IN(audit_entry, action), NULL },
	{ "object", M_TEXT, IN(audit_entry, object), NULL },
	{ "address", M_TEXT, IN(audit_entry, address), NULL },
	{ "request", M_ID, IN(audit_entry, request), "req_" },
};
/* Of every dimension and step. */
struct sum_line {
	int by, step;
	struct rollup r;
};

static const struct member sum_members[] = {
	{ "from", M_TIME, IN(sum_line, r.from_ms), NULL },
	{ "name", M_TEXT, IN(sum_line, r.name), NULL },
	{ "requests", M_I64, IN(sum_line, r.sum.requests), NULL },
	{ "errors", M_I64, IN(sum_line, r.sum.errors), NULL },
	{ "unpriced", M_I64, IN(sum_line, r.sum.unpriced), NULL },
	{ "counted", M_I64, IN(sum_line, r.sum.counted), NULL },
	{ "input", M_I64, IN(sum_line, r.sum.tokens.input), NULL },
	{ "cache_read", M_I64, IN(sum_line, r.sum.tokens.cache_read), NULL },
	{ "cache_write", M_I64, IN(sum_line, r.sum.tokens.cache_write), NULL },
	{ "cache_write_1h", M_I64, IN(sum_line, r.sum.tokens.cache_write_1h), NULL },
	{ "output", M_I64, IN(sum_line, r.sum.tokens.output), NULL },
	{ "reasoning", M_I64, IN(sum_line, r.sum.tokens.reasoning), NULL },
	{ "audio_input", M_I64, IN(sum_line, r.sum.tokens.audio_input), NULL },
	{ "audio_output", M_I64, IN(sum_line, r.sum.tokens.audio_output), NULL },
	{ "images", M_I64, IN(sum_line, r.sum.tokens.images), NULL },
	{ "cost", M_COST, IN(sum_line, r.sum.cost_nusd), NULL },
	{ "duration_ms", M_I64, IN(sum_line, r.sum.duration_ms), NULL },
	{ "ttfb_ms", M_I64, IN(sum_line, r.sum.ttfb_ms), NULL },
	{ "last", M_TIME, IN(sum_line, r.sum.last_ms), NULL },
};

/* By what, and of ids their prefix. */
static const struct {
	const char *name, *prefix;
	enum dimension dimension; /* where it is a name */
} dimensions[BY__COUNT] = {
	[BY_TOTAL] = { "total", NULL, WORD__DIMENSIONS },
	[BY_PROJECT] = { "project", "prj_", WORD__DIMENSIONS },
	[BY_TOKEN] = { "token", "tok_", WORD__DIMENSIONS },
	[BY_MODEL] = { "model", NULL, WORD_MODEL },
	[BY_UPSTREAM] = { "upstream", "up_", WORD__DIMENSIONS },
	[BY_KEY] = { "key", "key_", WORD__DIMENSIONS },
	[BY_END_USER] = { "end_user", NULL, WORD_END_USER },
	[BY_TAG] = { "tag", NULL, WORD_TAG },
};
static const char *const steps[] = {
	[STEP_MINUTE] = "minute", [STEP_HOUR] = "hour", [STEP_DAY] = "day"
};

#define COUNT(list) (int)(sizeof(list) / sizeof(list)[0])

static uint64_t
member_number(const struct member *m, const void *from)
{
	const uint8_t *at = (const uint8_t *)from + m->offset;
	uint64_t wide = 0;
	uint32_t u32;
	uint16_t u16;

	switch (m->type) {
	case M_U8:
		return *at;
	case M_U16:
	case M_HEX:
		memcpy(&u16, at, sizeof u16);
		return u16;
	case M_U32:
		memcpy(&u32, at, sizeof u32);
		return u32;
	default:
		memcpy(&wide, at, sizeof wide);
		return wide;
	}
}

static void
put_name(struct bytes *b, const char *name)
{
	(void)bytes_puts(b, b->at[b->len - 1] == '{' ? "\"" : ",\"");
	(void)bytes_puts(b, name);
	(void)bytes_puts(b, "\":");
}

static void
put_time(struct bytes *b, int64_t ms)
{
	char text[CLOCK_TEXT_BYTES];

	clock_rfc3339(ms, text);
	(void)bytes_printf(b, "\"%s\"", text);
}

static void
put_money(struct bytes *b, int64_t nusd)
{
	char text[MONEY_TEXT_BYTES];

	money_text(nusd, text);
	(void)bytes_printf(b, "\"%s\"", text);
}

static void
put_id(struct bytes *b, const char *prefix, struct id id)
{
	char text[ID_TEXT_BYTES];

	id_text(prefix, id, text);
	(void)bytes_printf(b, "\"%s\"", text);
}

static void
put_hex(struct bytes *b, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	(void)bytes_puts(b, "\"");
	for (size_t i = 0; i < len; i++)
		(void)bytes_add(b, (char[2]){ digits[p[i] >> 4], digits[p[i] & 15] }, 2);
	(void)bytes_puts(b, "\"");
}

/* What is zero or empty is left out. */
static void
put_member(struct bytes *b, const struct member *m, const void *from)
{
	const char *at = (const char *)from + m->offset;
	uint64_t number = m->type == M_TEXT || m->type == M_ID ? 0 : member_number(m, from);
	struct id id;

	if (m->type == M_TEXT && at[0] != '\0') {
		put_name(b, m->name);
		(void)bytes_json(b, (struct span){ at, strnlen(at, m->size) });
	} else if (m->type == M_ID) {
		memcpy(&id, at, sizeof id);
		if (id_is_none(id))
			return;
		put_name(b, m->name);
		put_id(b, m->prefix, id);
	} else if (m->type == M_COST && (int64_t)number == COST_UNKNOWN) {
		put_name(b, m->name);
		(void)bytes_puts(b, "null");
	} else if (number != 0) {
		put_name(b, m->name);
		if (m->type == M_HEX)
			put_hex(b, (const uint8_t *)at + sizeof(uint16_t),
				number < DECISION_BYTES ? number : DECISION_BYTES);
		else if (m->type == M_TIME)
			put_time(b, (int64_t)number);
		else if (m->type == M_COST)
			put_money(b, (int64_t)number);
		else if (m->type == M_U64) /* beyond what JSON's readers hold as a number */
			(void)bytes_printf(b, "\"%" PRIu64 "\"", number);
		else
			(void)bytes_printf(b, "%" PRId64, (int64_t)number);
	}
}

static int
take_number(const struct member *m, struct json_value v, uint8_t *at)
{
	int64_t number;
	uint32_t u32;
	uint16_t u16;

	if (json_int(v, &number) != 0 ||
		(m->type != M_I64 && (number < 0 || number >= 1LL << 8 * m->size)))
		return -1;
	u32 = (uint32_t)number;
	u16 = (uint16_t)number;
	if (m->type == M_U8)
		*at = (uint8_t)number;
	else if (m->type == M_U16)
		memcpy(at, &u16, sizeof u16);
	else if (m->type == M_U32)
		memcpy(at, &u32, sizeof u32);
	else
		memcpy(at, &number, sizeof number);
	return 0;
}

/* Straight from the line: hex has nothing to unescape, and may be long. */
static ptrdiff_t
take_hex(struct json_value v, uint8_t *out, size_t room)
{
	size_t digits = v.raw.len - 2; /* without its quotes */

	if (v.type != JSON_STRING || digits % 2 != 0 || digits / 2 > room)
		return -1;
	for (size_t i = 0; i < digits; i += 2) {
		int hi = hash_hex_digit(v.raw.at[1 + i]), lo = hash_hex_digit(v.raw.at[2 + i]);

		if (hi < 0 || lo < 0)
			return -1;
		out[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	return (ptrdiff_t)(digits / 2);
}

static int
take_member(const struct member *m, struct json_value v, void *to)
{
	uint8_t *at = (uint8_t *)to + m->offset;
	char text[64], *end;
	int64_t number;
	uint64_t wide;
	uint16_t u16;
	ptrdiff_t len;
	struct id id;

	switch (m->type) {
	case M_TEXT:
		return json_string(v, (char *)at, m->size) < 0 ? -1 : 0;
	case M_ID:
		if (json_string(v, text, sizeof text) < 0 || id_parse(m->prefix, text, &id) != 0)
			return -1;
		memcpy(at, &id, sizeof id);
		return 0;
	case M_TIME:
		if (json_string(v, text, sizeof text) < 0 ||
			clock_parse_rfc3339(text, &number) != 0)
			return -1;
		memcpy(at, &number, sizeof number);
		return 0;
	case M_COST:
		number = COST_UNKNOWN;
		if (v.type != JSON_NULL &&
			(json_string(v, text, sizeof text) < 0 || money_parse(text, &number) != 0))
			return -1;
		memcpy(at, &number, sizeof number);
		return 0;
	case M_U64:
		if (json_string(v, text, sizeof text) < 0)
			return -1;
		errno = 0;
		wide = strtoull(text, &end, 10);
		if (errno != 0 || *end != '\0' || end == text)
			return -1;
		memcpy(at, &wide, sizeof wide);
		return 0;
	case M_HEX:
		if ((len = take_hex(v, at + sizeof u16, DECISION_BYTES)) < 0)
			return -1;
		u16 = (uint16_t)len;
		memcpy(at, &u16, sizeof u16);
		return 0;
	default:
		return take_number(m, v, at);
	}
}

/* ---- dumping ---- */

struct dumping {
	struct store *s;
	FILE *out;
	const struct dump_options *o;
	struct care_run run;
	struct store passphrase; /* seals as the master key does, under another key */
	struct bytes line;
	int64_t lines;
	enum record_kind kind;
	struct err *err;
	bool failed;
};

static bool
end_line(struct dumping *d)
{
	(void)bytes_puts(&d->line, "}\n");
	if (d->line.failed)
		d->failed = true, (void)err_set(d->err, ERR_MEMORY, "no memory for a line");
	else if (fwrite(d->line.at, 1, d->line.len, d->out) != d->line.len)
		d->failed = true, (void)err_set(d->err, ERR_STORE_UNAVAILABLE,
					  "the dump cannot be written: %s", strerror(errno));
	d->line.len = 0;
	d->lines++;
	care_step(&d->run, 1);
	return !d->failed;
}

static void
put_list(struct bytes *b, const char *text, bool quoted)
{
	(void)bytes_puts(b, "[");
	for (const char *p = text; *p != '\0';) {
		size_t n = strcspn(p, "\n");

		if (p != text)
			(void)bytes_puts(b, ",");
		if (quoted)
			(void)bytes_json(b, (struct span){ p, n });
		else
			(void)bytes_add(b, p, n);
		p += n + (p[n] == '\n');
	}
	(void)bytes_puts(b, "]");
}

/* Part number n of "a|b|c". */
static struct span
enum_name(const char *values, int32_t n)
{
	for (; n > 0 && *values != '\0'; n--) {
		values += strcspn(values, "|");
		values += *values == '|';
	}
	return (struct span){ values, n == 0 ? strcspn(values, "|") : 0 };
}

static void
put_sealed(struct dumping *d, const struct field *f, const struct record *head,
	const struct sealed *sealed)
{
	char text[SEALED_BYTES];
	struct sealed again;
	ptrdiff_t len;

	if (sealed->len == 0 || d->o->secrets == DUMP_NO_SECRETS)
		return;
	if (d->o->secrets == DUMP_SEALED) {
		put_name(&d->line, f->name);
		put_hex(&d->line, sealed->data, sealed->len);
		return;
	}
	len = store_unseal(d->s, head->id, sealed, text, sizeof text, d->err);
	if (len < 0 || store_seal(&d->passphrase, head->id, (struct span){ text, (size_t)len },
			       &again, d->err) != 0) {
		d->failed = true;
	} else {
		put_name(&d->line, f->name);
		put_hex(&d->line, again.data, again.len);
	}
	explicit_bzero(text, sizeof text);
}

static void
put_field(struct dumping *d, const struct field *f, const void *record)
{
	static const uint8_t zeros[SHA256_BYTES];
	const char *at = (const char *)record + f->offset;
	struct bytes *b = &d->line;
	struct span name;
	int64_t number = 0;
	int32_t value;
	struct id id = ID_NONE;

	if (f->type == FIELD_SEALED) {
		put_sealed(d, f, record, (const struct sealed *)(const void *)at);
		return;
	}
	if (f->type == FIELD_ID)
		memcpy(&id, at, sizeof id);
	if (f->type == FIELD_INT || f->type == FIELD_MS || f->type == FIELD_TIME ||
		f->type == FIELD_MONEY)
		memcpy(&number, at, sizeof number);
	if ((f->type == FIELD_ID && id_is_none(id)) || (f->type == FIELD_TIME && number == 0) ||
		(f->type == FIELD_HASH && memcmp(at, zeros, sizeof zeros) == 0))
		return;
	put_name(b, f->name);
	switch (f->type) {
	case FIELD_ID:
		put_id(b, f->values, id);
		break;
	case FIELD_TEXT:
		(void)bytes_json(b, span_of(at));
		break;
	case FIELD_LIST:
	case FIELD_LIST_INT:
		put_list(b, at, f->type == FIELD_LIST);
		break;
	case FIELD_BOOL:
		(void)bytes_puts(b, *(const bool *)(const void *)at ? "true" : "false");
		break;
	case FIELD_TIME:
		put_time(b, number);
		break;
	case FIELD_MONEY:
		put_money(b, number);
		break;
	case FIELD_HASH:
		put_hex(b, at, SHA256_BYTES);
		break;
	case FIELD_ENUM:
		memcpy(&value, at, sizeof value);
		name = value < 0 ? SPAN_NONE : enum_name(f->values, value);
		if (name.len > 0)
			(void)bytes_json(b, name);
		else /* of a newer program */
			(void)bytes_printf(b, "%d", value);
		break;
	default:
		(void)bytes_printf(b, "%" PRId64, number);
		break;
	}
}

static bool
dump_record(void *ctx, const void *record)
{
	struct dumping *d = ctx;
	const struct record *head = record;
	size_t count;
	const struct field *fields = record_fields(d->kind, &count);

	if (head->rest.len > RECORD_REST_BYTES) {
		char text[ID_TEXT_BYTES];

		id_text(record_prefix(d->kind), head->id, text);
		(void)err_set(d->err, ERR_CONFLICT,
			"%s was written by a newer sluice with more than this one can keep; dump "
			"with that version",
			text);
		d->failed = true;
		return false;
	}
	(void)bytes_printf(&d->line, "{\"record\":\"%s\",\"data\":{", record_name(d->kind));
	for (size_t i = 0; i < count; i++)
		put_field(d, &fields[i], record);
	if (head->rest.len > 0) {
		put_name(&d->line, "rest");
		put_hex(&d->line, head->rest.data, head->rest.len);
	}
	(void)bytes_puts(&d->line, "}");
	d->run.out->records[d->kind]++;
	return !d->failed && end_line(d);
}

/* Signing in again is easier than keeping somebody else signed in; what providers said they say
 * again. */
static bool
dump_value(void *ctx, const char *name, struct span value)
{
	struct dumping *d = ctx;
	bool plain = true;

	if (strncmp(name, SESSION, strlen(SESSION)) == 0 || strncmp(name, "cache.", 6) == 0 ||
		(d->o->secrets == DUMP_NO_SECRETS && strcmp(name, PASSWORD) == 0))
		return true;
	for (size_t i = 0; i < value.len; i++)
		plain &= value.at[i] >= ' ' && value.at[i] <= '~';
	(void)bytes_puts(&d->line, "{\"value\":");
	(void)bytes_json(&d->line, span_of(name));
	put_name(&d->line, plain ? "text" : "hex");
	if (plain)
		(void)bytes_json(&d->line, value);
	else
		put_hex(&d->line, value.at, value.len);
	d->run.out->values++;
	return end_line(d);
}

static bool
dump_members(struct dumping *d, const struct member *list, int count, const void *from)
{
	(void)bytes_puts(&d->line, "{");
	for (int i = 0; i < count; i++)
		put_member(&d->line, &list[i], from);
	return end_line(d);
}

static bool
dump_audit(void *ctx, const struct audit_entry *e)
{
	struct dumping *d = ctx;

	d->run.out->audit++;
	(void)bytes_puts(&d->line, "{");
	for (int i = 0; i < COUNT(audit_members); i++)
		put_member(&d->line, &audit_members[i], e);
	if (e->changes_len > 0) {
		put_name(&d->line, CHANGES);
		put_hex(&d->line, e->changes, e->changes_len);
	}
	return end_line(d);
}

/* Rows oldest first, as they were booked. */
struct rows_batch {
	uint32_t at; /* 0: from the start */
	bool end;
	size_t count;
	struct usage_row rows[BATCH];
};

static int
next_rows(struct attach *at, void *arg, struct err *err)
{
	struct rows_batch *b = arg;
	uint32_t first, next, recno;
	int rc = rows_bounds(at, &first, &next);

	(void)err;
	b->count = 0;
	b->end = false;
	if (rc != 0)
		return rc;
	recno = b->at == 0 || recno_before(b->at, first) ? first : b->at;
	while (recno_before(recno, next) && b->count < BATCH) {
		bool there = false;

		if (recno != 0 && (rc = row_read(at, recno, &b->rows[b->count], &there)) != 0 &&
			rc != DB_NOTFOUND)
			return rc;
		if (there && (rc = row_decision(at, recno, &b->rows[b->count])) != 0)
			return rc;
		b->count += there;
		recno++;
	}
	b->end = !recno_before(recno, next);
	b->at = recno == 0 ? 1 : recno; /* only now: this may be run again from its start */
	return 0;
}

static int
dump_rows(struct dumping *d)
{
	struct rows_batch *b = calloc(1, sizeof *b);
	int rc = 0;

	if (b == NULL)
		return err_set(d->err, ERR_MEMORY, "no memory to read rows");
	while (rc == 0 && !b->end) {
		rc = store_call(d->s, "dumping", next_rows, b, d->err);
		for (size_t i = 0; rc == 0 && i < b->count; i++) {
			d->run.out->rows++;
			if (!dump_members(d, row_members, COUNT(row_members), &b->rows[i]))
				rc = -1;
		}
	}
	free(b);
	return rc;
}

struct sums_dump {
	struct dumping *d;
	struct sum_line line;
};

static bool
dump_sum(void *ctx, const struct rollup *r)
{
	struct sums_dump *x = ctx;
	struct dumping *d = x->d;
	const char *prefix = dimensions[x->line.by].prefix;

	x->line.r = *r;
	(void)bytes_printf(&d->line, "{\"sum\":\"%s\",\"step\":\"%s\"", dimensions[x->line.by].name,
		steps[x->line.step]);
	if (prefix != NULL && !id_is_none(r->id)) {
		put_name(&d->line, "id");
		put_id(&d->line, prefix, r->id);
	}
	for (int i = 0; i < COUNT(sum_members); i++)
		put_member(&d->line, &sum_members[i], &x->line);
	d->run.out->sums++;
	return end_line(d);
}

static int
dump_sums(struct dumping *d)
{
	struct sums_dump x = { .d = d };

	for (x.line.step = STEP_DAY; x.line.step >= STEP_MINUTE; x.line.step--)
		for (x.line.by = 0; x.line.by < BY__COUNT; x.line.by++)
			if (store_rollup_each(d->s, (enum rollup_by)x.line.by,
				    (enum rollup_step)x.line.step, 0, INT64_MAX / 2, NULL, dump_sum,
				    &x, d->err) != 0 ||
				d->failed)
				return -1;
	return 0;
}

static int
passphrase_key(struct store *under, const char *passphrase, const uint8_t salt[SALT_BYTES],
	struct err *err)
{
	if (passphrase == NULL || passphrase[0] == '\0')
		return err_set(err, ERR_BAD_REQUEST, "a passphrase is wanted");
	if (EVP_PBE_scrypt(passphrase, strlen(passphrase), salt, SALT_BYTES, SCRYPT_N, SCRYPT_R,
		    SCRYPT_P, SCRYPT_ROOM, under->master_key, sizeof under->master_key) != 1)
		return err_set(err, ERR_MEMORY, "scrypt failed: no memory for it?");
	under->has_key = true;
	return 0;
}

static int
dump_head(struct dumping *d)
{
	uint8_t salt[SALT_BYTES], check[SHA256_BYTES];

	d->run.out->made_ms = clock_wall_ms();
	(void)bytes_printf(&d->line, "{\"sluice_dump\":%d,\"sluice\":\"%s\",\"schema\":%d", FORMAT,
		SLUICE_VERSION, STORE_SCHEMA_MAJOR);
	put_name(&d->line, "made_at");
	put_time(&d->line, d->run.out->made_ms);
	put_name(&d->line, "secrets");
	(void)bytes_printf(&d->line, "\"%s\"", secret_names[d->o->secrets]);
	if (d->o->secrets != DUMP_NO_SECRETS) {
		const struct store *under = d->s;

		hash_random(salt, sizeof salt);
		if (d->o->secrets == DUMP_PASSPHRASE) {
			if (passphrase_key(&d->passphrase, d->o->passphrase, salt, d->err) != 0)
				return -1;
			under = &d->passphrase;
		}
		if (!under->has_key)
			return err_set(d->err, ERR_STORE_UNAVAILABLE, "no master key is set");
		seal_check_value(under, salt, check);
		put_name(&d->line, "salt");
		put_hex(&d->line, salt, sizeof salt);
		put_name(&d->line, "check");
		put_hex(&d->line, check, sizeof check);
	}
	return end_line(d) ? 0 : -1;
}

static int
dump_all(struct dumping *d)
{
	if (dump_head(d) != 0)
		return -1;
	for (int kind = 0; kind < RECORD__COUNT && !d->failed; kind++) {
		d->kind = (enum record_kind)kind;
		if (store_each(d->s, d->kind, ID_NONE, dump_record, d, d->err) != 0)
			return -1;
	}
	if (d->failed || store_value_each(d->s, "", dump_value, d, d->err) != 0 || d->failed ||
		store_audit_each(d->s, 0, dump_audit, d, d->err) != 0 || d->failed ||
		dump_rows(d) != 0 || dump_sums(d) != 0)
		return -1;
	(void)bytes_printf(&d->line, "{\"end\":%" PRId64, d->lines);
	if (!end_line(d))
		return -1;
	if (fflush(d->out) != 0)
		return err_set(d->err, ERR_STORE_UNAVAILABLE, "the dump cannot be written: %s",
			strerror(errno));
	return 0;
}

int
store_dump(struct store *s, FILE *out, const struct dump_options *o, const struct care *care,
	struct care_report *report, struct err *err)
{
	struct dumping d = { .s = s,
		.out = out,
		.o = o,
		.run = { .care = care, .out = report },
		.line = BYTES_LIMIT(LINE_MAX_B),
		.err = err };
	int rc;

	memset(report, 0, sizeof *report);
	care_begin(&d.run, "dumping", 0);
	rc = dump_all(&d);
	explicit_bzero(d.passphrase.master_key, sizeof d.passphrase.master_key);
	bytes_free(&d.line);
	return rc;
}

/* ---- loading ---- */

struct loading {
	struct store *s;
	const struct dump_options *o;
	struct care_run run;
	struct store passphrase;
	enum dump_secrets secrets;
	int64_t lines;
	bool begun, ended;
	struct err *err;

	void *records; /* BATCH of `kind`, or rows */
	enum { HOLDS_NOTHING, HOLDS_RECORDS, HOLDS_ROWS } holds;
	enum record_kind kind;
	size_t held;

	/* one line */
	void *to;
	const struct member *members;
	int member_count;
	char wrong[64]; /* the member that could not be read */
};

static int
refuse(struct loading *l, const char *why)
{
	return err_set(l->err, ERR_BAD_REQUEST, "line %" PRId64 ": %s", l->lines + 1, why);
}

struct list_taking {
	char *to;
	size_t room, len;
	bool quoted, failed;
};

static bool
take_element(void *ctx, const struct json_member *m)
{
	struct list_taking *t = ctx;
	char text[LIST_BYTES];
	ptrdiff_t n;

	if (t->quoted)
		n = json_string(m->value, text, sizeof text);
	else
		n = m->value.type == JSON_NUMBER && span_copy(m->value.raw, text, sizeof text)
			    ? (ptrdiff_t)m->value.raw.len
			    : -1;
	if (n < 0 || t->len + (size_t)n + 2 > t->room) {
		t->failed = true;
		return false;
	}
	if (t->len > 0)
		t->to[t->len++] = '\n';
	memcpy(t->to + t->len, text, (size_t)n + 1);
	t->len += (size_t)n;
	return true;
}

static int
take_sealed(struct loading *l, struct json_value v, const struct record *head, struct sealed *out)
{
	char text[SEALED_BYTES];
	struct sealed given;
	ptrdiff_t len = take_hex(v, given.data, sizeof given.data);
	int rc = -1;

	if (len <= 0)
		return -1;
	given.len = (uint16_t)len;
	if (l->secrets != DUMP_PASSPHRASE) {
		*out = given;
		return 0;
	}
	len = store_unseal(&l->passphrase, head->id, &given, text, sizeof text, l->err);
	if (len >= 0)
		rc = store_seal(l->s, head->id, (struct span){ text, (size_t)len }, out, l->err);
	explicit_bzero(text, sizeof text);
	return rc;
}

static int
take_enum(const struct field *f, struct json_value v, uint8_t *at)
{
	int64_t number;
	int32_t value = 0;
	char text[64];

	if (v.type == JSON_NUMBER) {
		if (json_int(v, &number) != 0 || number != (int32_t)number)
			return -1;
		value = (int32_t)number;
	} else {
		if (json_string(v, text, sizeof text) < 0)
			return -1;
		while (!span_is(enum_name(f->values, value), text))
			if (enum_name(f->values, value++).len == 0)
				return -1;
	}
	memcpy(at, &value, sizeof value);
	return 0;
}

static int
take_field(struct loading *l, const struct field *f, struct json_value v, void *record)
{
	uint8_t *at = (uint8_t *)record + f->offset;
	struct list_taking t = {
		.to = (char *)at, .room = f->size, .quoted = f->type == FIELD_LIST
	};
	char text[64];
	int64_t number;
	struct id id;

	switch (f->type) {
	case FIELD_ID:
		if (json_string(v, text, sizeof text) < 0 || id_parse(f->values, text, &id) != 0)
			return -1;
		memcpy(at, &id, sizeof id);
		return 0;
	case FIELD_TEXT:
		return json_string(v, (char *)at, f->size) < 0 ? -1 : 0;
	case FIELD_LIST:
	case FIELD_LIST_INT:
		at[0] = '\0';
		return json_each_element(v.raw, take_element, &t, NULL) != 0 || t.failed ? -1 : 0;
	case FIELD_BOOL:
		*(bool *)(void *)at = v.type == JSON_TRUE;
		return v.type == JSON_TRUE || v.type == JSON_FALSE ? 0 : -1;
	case FIELD_HASH:
		return take_hex(v, at, SHA256_BYTES) == SHA256_BYTES ? 0 : -1;
	case FIELD_SEALED:
		return take_sealed(l, v, record, (struct sealed *)(void *)at);
	case FIELD_ENUM:
		return take_enum(f, v, at);
	case FIELD_TIME:
		if (json_string(v, text, sizeof text) < 0 ||
			clock_parse_rfc3339(text, &number) != 0)
			return -1;
		break;
	case FIELD_MONEY:
		if (json_string(v, text, sizeof text) < 0 || money_parse(text, &number) != 0)
			return -1;
		break;
	default:
		if (json_int(v, &number) != 0)
			return -1;
		break;
	}
	memcpy(at, &number, sizeof number);
	return 0;
}

static bool
on_field(void *ctx, const struct json_member *m)
{
	struct loading *l = ctx;
	struct record *head = l->to;
	size_t count;
	const struct field *fields = record_fields(l->kind, &count);
	ptrdiff_t len;

	if (span_is(m->key, "rest")) {
		len = take_hex(m->value, head->rest.data, RECORD_REST_BYTES);
		if (len > 0)
			head->rest.len = (uint16_t)len;
		else
			(void)span_copy(m->key, l->wrong, sizeof l->wrong);
		return len > 0;
	}
	for (size_t i = 0; i < count; i++)
		if (span_is(m->key, fields[i].name)) {
			if (take_field(l, &fields[i], m->value, l->to) == 0)
				return true;
			break;
		}
	(void)span_copy(m->key, l->wrong, sizeof l->wrong);
	return false;
}

static bool
on_member(void *ctx, const struct json_member *m)
{
	struct loading *l = ctx;

	/* what a sum is of, read apart */
	if (l->members == sum_members &&
		(span_is(m->key, "sum") || span_is(m->key, "step") || span_is(m->key, "id")))
		return true;
	if (l->members == audit_members && span_is(m->key, CHANGES))
		return true;
	for (int i = 0; i < l->member_count; i++)
		if (span_is(m->key, l->members[i].name)) {
			if (take_member(&l->members[i], m->value, l->to) == 0)
				return true;
			break;
		}
	(void)span_copy(m->key, l->wrong, sizeof l->wrong);
	return false;
}

static int
take_all(struct loading *l, struct span object, bool (*fn)(void *, const struct json_member *))
{
	char why[160];

	l->wrong[0] = '\0';
	l->err->code = ERR_NONE;
	if (json_each(object, fn, l, NULL) == 0 && l->wrong[0] == '\0')
		return 0;
	if (l->err->code != ERR_NONE)
		return err_wrap(l->err, "line %" PRId64, l->lines + 1);
	(void)snprintf(why, sizeof why, "%s%s",
		l->wrong[0] == '\0' ? "it is damaged" : "cannot read ", l->wrong);
	return refuse(l, why);
}

static int
flush_held(struct loading *l)
{
	bool booked[BATCH];
	int rc = 0;

	if (l->holds == HOLDS_RECORDS)
		rc = tables_load_records(l->s, l->kind, l->records, l->held, l->err);
	else if (l->holds == HOLDS_ROWS)
		rc = store_book(l->s, l->records, l->held, booked, l->err);
	free(l->records);
	l->records = NULL;
	l->holds = HOLDS_NOTHING;
	l->held = 0;
	return rc;
}

/* Room for one more of what `holds` and `kind` say. */
static int
make_room(struct loading *l, int holds, enum record_kind kind)
{
	size_t bytes = holds == HOLDS_ROWS ? sizeof(struct usage_row) : record_bytes(kind);

	if (((int)l->holds != holds || l->kind != kind || l->held == BATCH) && flush_held(l) != 0)
		return -1;
	if (l->holds == HOLDS_NOTHING) {
		if ((l->records = calloc(BATCH, bytes)) == NULL)
			return err_set(l->err, ERR_MEMORY, "no memory to load");
		l->kind = kind;
	}
	l->holds = holds;
	l->to = (uint8_t *)l->records + l->held++ * bytes;
	return 0;
}

static int
load_record(struct loading *l, struct span line, struct json_value name)
{
	char text[32];
	int kind = RECORD__COUNT;

	if (json_string(name, text, sizeof text) > 0)
		for (kind = 0; kind < RECORD__COUNT; kind++)
			if (strcmp(text, record_name((enum record_kind)kind)) == 0)
				break;
	if (kind == RECORD__COUNT)
		return refuse(l, "no such kind of record");
	if (make_room(l, HOLDS_RECORDS, (enum record_kind)kind) != 0)
		return -1;
	record_init((enum record_kind)kind, l->to);
	if (take_all(l, json_get(line, "data").raw, on_field) != 0)
		return -1;
	if (id_is_none(((const struct record *)l->to)->id))
		return refuse(l, "it has no id");
	l->run.out->records[kind]++;
	return 0;
}

static int
load_members(struct loading *l, struct span line, const struct member *list, int count, void *to)
{
	l->members = list;
	l->member_count = count;
	l->to = to;
	return take_all(l, line, on_member);
}

static int
load_value(struct loading *l, struct span line, struct json_value named)
{
	char name[256], data[SETTING_BYTES + 1];
	struct json_value text = json_get(line, "text");
	ptrdiff_t len = text.type == JSON_NONE
				? take_hex(json_get(line, "hex"), (uint8_t *)data, SETTING_BYTES)
				: json_string(text, data, sizeof data);

	if (json_string(named, name, sizeof name) <= 0 || len < 0)
		return refuse(l, "cannot read the value");
	l->run.out->values++;
	return store_value_put(l->s, name, data, (size_t)len, l->err);
}

/* ---- sums: of rows that are gone, too ---- */

struct sum_putting {
	int by, step;
	int64_t start;
	struct value value;
	struct usage_sum sum;
};

/* What is sum for ever is that of all days. */
static int
put_ever(struct attach *at, DB_TXN *txn, const struct sum_putting *p, const struct usage_sum *was)
{
	struct sum_key k = sum_key_of(p->by, STEP_EVER, 0, &p->value);
	struct usage_sum ever;
	int64_t *to = (int64_t *)(void *)&ever;
	const int64_t *is = (const int64_t *)(const void *)&p->sum;
	const int64_t *old = (const int64_t *)(const void *)was;
	int64_t last;
	int rc = sum_get(at, txn, DB_RMW, &k, &ever);

	_Static_assert(sizeof ever % sizeof *to == 0, "a sum is made of int64_t alone");
	if (rc != 0)
		return rc;
	if (ever.requests == 0) {
		struct folded folded;

		if ((rc = fold_position(at, txn, DB_RMW, &folded)) != 0)
			return rc;
		folded.values[p->by]++;
		if ((rc = fold_put_position(at, txn, &folded)) != 0)
			return rc;
	}
	last = ever.last_ms > p->sum.last_ms ? ever.last_ms : p->sum.last_ms;
	for (size_t i = 0; i < sizeof ever / sizeof *to; i++)
		to[i] += is[i] - old[i];
	ever.last_ms = last;
	return sum_put(at, txn, &k, &ever);
}

static int
put_sum(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	const struct sum_putting *p = arg;
	struct sum_key k = sum_key_of(p->by, p->step, p->start, &p->value);
	struct usage_sum was;
	int rc = sum_get(at, txn, DB_RMW, &k, &was);

	(void)err;
	if (rc == 0 && p->step == STEP_DAY)
		rc = put_ever(at, txn, p, &was);
	return rc != 0 ? rc : sum_put(at, txn, &k, &p->sum);
}

/* Place of a text in a list; count: it is not there. */
static int
place_of(struct json_value v, const char *(*name_of)(int n), int count)
{
	char text[32];
	int n = 0;

	if (json_string(v, text, sizeof text) < 0)
		return count;
	while (n < count && strcmp(text, name_of(n)) != 0)
		n++;
	return n;
}

static const char *
dimension_name(int n)
{
	return dimensions[n].name;
}

static const char *
step_name(int n)
{
	return steps[n];
}

/* What the sum is of, as the store has it. */
static int
sum_value(struct loading *l, struct span line, const struct sum_line *sum, struct value *out)
{
	bool other = strcmp(sum->r.name, "other") == 0;
	const char *prefix = dimensions[sum->by].prefix;
	uint32_t number = WORD_OTHER;
	char text[ID_TEXT_BYTES];
	struct id id;

	*out = (struct value){ 0 };
	if (dimensions[sum->by].dimension != WORD__DIMENSIONS) {
		if (!other && words_number(l->s, dimensions[sum->by].dimension, sum->r.name,
				      &number, l->err) != 0)
			return -1;
		*out = value_of_number(number);
	} else if (prefix != NULL && other) {
		*out = value_other_id;
	} else if (prefix != NULL) {
		if (json_string(json_get(line, "id"), text, sizeof text) < 0 ||
			id_parse(prefix, text, &id) != 0)
			return refuse(l, "cannot read id");
		*out = value_of_id(id);
	}
	return 0;
}

static int
load_sum(struct loading *l, struct span line, struct json_value what)
{
	struct sum_line sum = { 0 };
	struct sum_putting p;
	int rows;

	/* those of the rows first: these take their places */
	if (flush_held(l) != 0)
		return -1;
	while ((rows = store_fold(l->s, l->err)) > 0)
		;
	if (rows < 0)
		return -1;
	sum.by = place_of(what, dimension_name, BY__COUNT);
	sum.step = place_of(json_get(line, "step"), step_name, COUNT(steps));
	if (sum.by == BY__COUNT || sum.step == COUNT(steps))
		return refuse(l, "no such sum");
	if (load_members(l, line, sum_members, COUNT(sum_members), &sum) != 0)
		return -1;
	p = (struct sum_putting){
		.by = sum.by, .step = sum.step, .start = sum.r.from_ms, .sum = sum.r.sum
	};
	if (p.sum.requests <= 0 || p.start != step_start(p.step, p.start))
		return refuse(l, "the sum is damaged");
	if (sum_value(l, line, &sum, &p.value) != 0)
		return -1;
	l->run.out->sums++;
	return store_txn(l->s, "loading", DB_TXN_WRITE_NOSYNC, put_sum, &p, l->err);
}

static int
load_head(struct loading *l, struct span line)
{
	uint8_t salt[SALT_BYTES], check[SHA256_BYTES], expected[SHA256_BYTES];
	const struct store *under = l->s;
	char secrets[32], made[64];
	int64_t format;

	if (json_int(json_get(line, "sluice_dump"), &format) != 0)
		return refuse(l, "this is no dump of sluice");
	if (format > FORMAT)
		return refuse(l, "the dump is of a newer sluice; load it with that version");
	if (json_string(json_get(line, "secrets"), secrets, sizeof secrets) < 0 ||
		json_string(json_get(line, "made_at"), made, sizeof made) < 0 ||
		clock_parse_rfc3339(made, &l->run.out->made_ms) != 0)
		return refuse(l, "its head is damaged");
	for (l->secrets = DUMP_NO_SECRETS; strcmp(secret_names[l->secrets], secrets) != 0;
		l->secrets++)
		if (l->secrets == DUMP_PASSPHRASE)
			return refuse(
				l, "its secrets are sealed in a way this version does not know");
	l->begun = true;
	if (l->secrets == DUMP_NO_SECRETS)
		return 0;
	if (take_hex(json_get(line, "salt"), salt, sizeof salt) != SALT_BYTES ||
		take_hex(json_get(line, "check"), check, sizeof check) != SHA256_BYTES)
		return refuse(l, "its head is damaged");
	if (l->secrets == DUMP_PASSPHRASE) {
		if (passphrase_key(&l->passphrase, l->o->passphrase, salt, l->err) != 0)
			return -1;
		under = &l->passphrase;
	}
	seal_check_value(under, salt, expected);
	if (hash_equal(check, expected, sizeof check))
		return 0;
	return err_set(l->err, ERR_BAD_REQUEST,
		l->secrets == DUMP_PASSPHRASE
			? "this is not the passphrase of the dump"
			: "the dump's secrets are sealed with another master key; put that one in "
			  "place first");
}

static int
load_audit(struct loading *l, struct span line)
{
	struct audit_entry entry = { 0 };
	struct json_value changes = json_get(line, CHANGES);
	ptrdiff_t len = 0;

	if (load_members(l, line, audit_members, COUNT(audit_members), &entry) != 0)
		return -1;
	if (changes.type != JSON_NONE &&
		(len = take_hex(changes, entry.changes, sizeof entry.changes)) < 0)
		return refuse(l, "an audit entry's changes are damaged");
	entry.changes_len = (uint16_t)len;
	l->run.out->audit++;
	return tables_load_audit(l->s, &entry, l->err);
}

static int
load_line(struct loading *l, struct span line)
{
	struct json_value v;
	int64_t count;

	if (!l->begun)
		return load_head(l, line);
	if (l->ended)
		return refuse(l, "there is something behind the end");
	if ((v = json_get(line, "record")).type == JSON_STRING)
		return load_record(l, line, v);
	if (json_get(line, "row").type == JSON_STRING) {
		if (make_room(l, HOLDS_ROWS, RECORD_PROJECT) != 0)
			return -1;
		l->run.out->rows++;
		return load_members(l, line, row_members, COUNT(row_members), l->to);
	}
	if (json_get(line, "audit").type == JSON_STRING)
		return load_audit(l, line);
	if ((v = json_get(line, "sum")).type == JSON_STRING)
		return load_sum(l, line, v);
	if ((v = json_get(line, "value")).type == JSON_STRING)
		return load_value(l, line, v);
	if ((v = json_get(line, "end")).type == JSON_NUMBER) {
		if (json_int(v, &count) != 0 || count != l->lines)
			return refuse(l, "lines are missing before it");
		l->ended = true;
		return flush_held(l);
	}
	return refuse(l, "it is neither a record nor anything else of a dump");
}

static bool
note_one(void *ctx, const void *record)
{
	(void)record;
	*(bool *)ctx = true;
	return false;
}

static int
must_be_empty(struct store *s, struct err *err)
{
	bool any = false;

	for (int kind = 0; kind < RECORD__COUNT && !any; kind++)
		if (store_each(s, (enum record_kind)kind, ID_NONE, note_one, &any, err) != 0)
			return -1;
	if (any)
		return err_set(err, ERR_CONFLICT,
			"this store holds records already; load into a new state directory");
	return 0;
}

int
store_load(struct store *s, FILE *in, const struct dump_options *o, const struct care *care,
	struct care_report *report, struct err *err)
{
	struct loading l = { .s = s, .o = o, .run = { .care = care, .out = report }, .err = err };
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int rc;

	memset(report, 0, sizeof *report);
	if (must_be_empty(s, err) != 0)
		return -1;
	care_begin(&l.run, "loading", 0);
	rc = 0;
	while (rc == 0 && (n = getline(&line, &room, in)) > 0) {
		if (n > LINE_MAX_B)
			rc = refuse(&l, "it is too long");
		else
			rc = load_line(&l, (struct span){ line, (size_t)n });
		l.lines++;
		care_step(&l.run, 1);
	}
	if (rc == 0 && !l.ended)
		rc = err_set(err, ERR_BAD_REQUEST,
			"the dump ends too early, after line %" PRId64 ": it was cut short",
			l.lines);
	free(line);
	free(l.records);
	explicit_bzero(l.passphrase.master_key, sizeof l.passphrase.master_key);
	return rc;
}
