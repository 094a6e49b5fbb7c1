/*
 * clerk.c - how everybody stands, kept in the store: a lost board gets its rests and breakers back, and
 * people see what happened.
 *
 * Two kinds of small values.  "standing.RECORD.TARGET" is how one target stands that is not as ever; it
 * goes when it is well again.  "history.RECORD" holds the last transitions of a record and its parts.
 * An account has no record; its target's id stands for it.
 *
 * Kept first, counted as read after that: a death between keeps something twice, which the event's
 * time and number tell.
 */
#include "base/clock.h"
#include "base/log.h"
#include "route/forecast.h"
#include "route/standing-int.h"

#include <stdio.h>
#include <string.h>

#define DRAIN_MOST    512 /* events in one go */
#define EVENT_BYTES   (2 + 8 + 8 + 8 + 16 + 16 + 8 + 1 + 64 + 1 + 96)
#define KEPT_VERSION  1
#define KEPT_WORDS    9
#define KEPT_STANDING 1 /* which of them is `standing` */
#define NAME_MOST     (9 + 32 + 1 + 32 + 1)

static const char hex[] = "0123456789abcdef";

static void
id_hex(struct id id, char out[33])
{
	for (int i = 0; i < 16; i++) {
		out[2 * i] = hex[id.b[i] >> 4];
		out[2 * i + 1] = hex[id.b[i] & 15];
	}
	out[32] = '\0';
}

static bool
hex_id(const char *text, struct id *out)
{
	for (int i = 0; i < 16; i++) {
		const char *a = strchr(hex, text[2 * i]);
		const char *b =
			a == NULL || text[2 * i] == '\0' ? NULL : strchr(hex, text[2 * i + 1]);

		if (b == NULL || text[2 * i + 1] == '\0')
			return false;
		out->b[i] = (unsigned char)((a - hex) << 4 | (b - hex));
	}
	return true;
}

static struct id
record_of(const struct board_event *e)
{
	return id_is_none(e->record) ? e->target : e->record;
}

static void
name_of(const struct board_event *e, char out[NAME_MOST])
{
	char record[33], target[33];

	id_hex(record_of(e), record);
	id_hex(e->target, target);
	(void)snprintf(out, NAME_MOST, "standing.%s.%s", record, target);
}

/* ---- how one stands ---- */

struct kept {
	uint8_t version, scope;
	char name[64];
	int64_t word[KEPT_WORDS];
};

static void
words_of(struct board_target *t, _Atomic int64_t *word[KEPT_WORDS])
{
	_Atomic int64_t *const all[KEPT_WORDS] = { &t->rest_until_ms, &t->standing, &t->share_ppm,
		&t->failures, &t->rests, &t->successes, &t->stated_ms, &t->breaker,
		&t->changed_at_ms };

	memcpy(word, all, sizeof all);
}

static int
keep_standing(struct store *s, struct board *b, const struct board_event *e, struct err *err)
{
	struct board_target *t = board_target_find(b, e->target);
	_Atomic int64_t *word[KEPT_WORDS];
	char name[NAME_MOST];
	struct kept k;

	if (t == NULL)
		return 0;
	name_of(e, name);
	if (standing_is_as_ever(t))
		return store_value_delete(s, name, err);
	memset(&k, 0, sizeof k);
	k.version = KEPT_VERSION;
	k.scope = e->scope;
	memcpy(k.name, e->name, sizeof k.name);
	words_of(t, word);
	for (int i = 0; i < KEPT_WORDS; i++)
		k.word[i] = peek(word[i]);
	return store_value_put(s, name, &k, sizeof k, err);
}

static bool
read_kept(const char *name, struct span value, struct kept *k, struct id *target)
{
	const char *dot = strrchr(name, '.');

	if (value.len != sizeof *k || dot == NULL || strlen(dot + 1) != 32 ||
		!hex_id(dot + 1, target))
		return false;
	memcpy(k, value.at, sizeof *k);
	k->name[sizeof k->name - 1] = '\0';
	return k->version == KEPT_VERSION && k->scope < SCOPE__COUNT;
}

struct restoring {
	struct board *b;
	int count;
};

static bool
restore_one(void *ctx, const char *name, struct span value)
{
	struct restoring *r = ctx;
	_Atomic int64_t *word[KEPT_WORDS];
	struct board_target *t;
	struct id target;
	struct kept k;

	if (!read_kept(name, value, &k, &target) || (t = board_target(r->b, target)) == NULL ||
		!standing_is_as_ever(t) ||                         /* it is known better by now */
		(k.word[KEPT_STANDING] & 0xff) == TARGET_DISABLED) /* its record says that */
		return true;
	words_of(t, word);
	/* the rest last: without it the others do no harm */
	for (int i = KEPT_WORDS - 1; i >= 0; i--)
		poke(word[i], k.word[i]);
	r->count++;
	return true;
}

int
standing_restore(struct board *b, struct store *s, struct err *err)
{
	struct restoring r = { .b = b };

	if (board_is_restored(b))
		return 0;
	if (store_value_each(s, "standing.", restore_one, &r, err) != 0)
		return -1;
	board_set_restored(b);
	if (r.count > 0)
		log_write(LOG_INFO, "standing", "%d rests and breakers are back from the store",
			r.count);
	return r.count;
}

struct looking {
	struct board *b;
	bool (*fn)(void *ctx, enum board_scope scope, const char *model, const struct standing *st);
	void *ctx;
};

static bool
show_part(void *ctx, const char *name, struct span value)
{
	struct looking *l = ctx;
	struct standing st;
	struct id target;
	struct kept k;

	if (!read_kept(name, value, &k, &target) ||
		(k.scope != SCOPE_KEY_MODEL && k.scope != SCOPE_UPSTREAM_MODEL))
		return true;
	standing_state(l->b, board_target_find(l->b, target), true, BREAKER_AUTO, &st);
	if (st.state == TARGET_AVAILABLE && st.until_ms == 0)
		return true;
	return l->fn(l->ctx, (enum board_scope)k.scope, k.name, &st);
}

int
standing_parts(struct board *b, struct store *s, struct id record,
	bool (*fn)(void *ctx, enum board_scope scope, const char *model, const struct standing *st),
	void *ctx, struct err *err)
{
	struct looking l = { b, fn, ctx };
	char prefix[NAME_MOST], text[33];

	id_hex(record, text);
	(void)snprintf(prefix, sizeof prefix, "standing.%s.", text);
	return store_value_each(s, prefix, show_part, &l, err);
}

/* ---- what happened ---- */

static size_t
put_words(uint8_t *at, const void *from, size_t len)
{
	memcpy(at, from, len);
	return len;
}

/* Length of the entry, at most EVENT_BYTES; its first two bytes hold it. */
static size_t
write_event(const struct board_event *e, uint8_t out[EVENT_BYTES])
{
	const uint8_t flat[8] = { e->kind, e->scope, e->from, e->to, e->cause,
		(uint8_t)(e->status >> 8), (uint8_t)e->status, 0 };
	uint8_t name_len = (uint8_t)strlen(e->name), evidence_len = (uint8_t)strlen(e->evidence);
	size_t n = 2;

	n += put_words(out + n, &e->number, 8);
	n += put_words(out + n, &e->time_ms, 8);
	n += put_words(out + n, &e->until_ms, 8);
	n += put_words(out + n, e->target.b, 16);
	n += put_words(out + n, e->record.b, 16);
	n += put_words(out + n, flat, 8);
	n += put_words(out + n, &name_len, 1);
	n += put_words(out + n, e->name, name_len);
	n += put_words(out + n, &evidence_len, 1);
	n += put_words(out + n, e->evidence, evidence_len);
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	return n;
}

/* How many bytes it took; 0: there is no whole entry. */
static size_t
read_event(const uint8_t *in, size_t len, struct board_event *e)
{
	size_t n = len < 2 ? 0 : (size_t)in[0] << 8 | in[1];
	const size_t fixed = 2 + 8 + 8 + 8 + 16 + 16 + 8;
	const uint8_t *flat = in + fixed - 8;
	uint8_t name_len, evidence_len;

	if (n < fixed + 2 || n > len || n > EVENT_BYTES)
		return 0;
	name_len = in[fixed];
	if (name_len >= sizeof e->name || fixed + 1u + name_len >= n)
		return 0;
	evidence_len = in[fixed + 1 + name_len];
	if (evidence_len >= sizeof e->evidence || fixed + 2u + name_len + evidence_len != n)
		return 0;
	memset(e, 0, sizeof *e);
	memcpy(&e->number, in + 2, 8);
	memcpy(&e->time_ms, in + 10, 8);
	memcpy(&e->until_ms, in + 18, 8);
	memcpy(e->target.b, in + 26, 16);
	memcpy(e->record.b, in + 42, 16);
	e->kind = flat[0];
	e->scope = flat[1];
	e->from = flat[2];
	e->to = flat[3];
	e->cause = flat[4];
	e->status = (uint16_t)(flat[5] << 8 | flat[6]);
	memcpy(e->name, in + fixed + 1, name_len);
	memcpy(e->evidence, in + fixed + 2 + name_len, evidence_len);
	return e->kind < EVENT__COUNT && e->scope < SCOPE__COUNT ? n : 0;
}

static void
history_name(struct id record, char out[NAME_MOST])
{
	char text[33];

	id_hex(record, text);
	(void)snprintf(out, NAME_MOST, "history.%s", text);
}

/* The new one in front of the old ones, as many as fit. */
static int
keep_history(struct store *s, const struct board_event *e, struct err *err)
{
	uint8_t old[SETTING_BYTES], new[SETTING_BYTES];
	struct board_event other;
	char name[NAME_MOST];
	ptrdiff_t len;
	size_t used, n, kept = 1;

	history_name(record_of(e), name);
	if ((len = store_value_get(s, name, old, sizeof old, err)) < 0)
		return -1;
	used = write_event(e, new);
	for (size_t at = 0; kept < STANDING_KEPT; at += n, kept++) {
		if ((n = read_event(old + at, (size_t)len - at, &other)) == 0 ||
			used + n > sizeof new)
			break;
		if (other.number == e->number && other.time_ms == e->time_ms)
			return 0; /* by one who died before he said so */
		memcpy(new + used, old + at, n);
		used += n;
	}
	return store_value_put(s, name, new, used, err);
}

int
standing_history(struct store *s, struct id record,
	bool (*fn)(void *ctx, const struct board_event *e), void *ctx, struct err *err)
{
	uint8_t all[SETTING_BYTES];
	struct board_event e;
	char name[NAME_MOST];
	ptrdiff_t len;
	size_t n;

	history_name(record, name);
	if ((len = store_value_get(s, name, all, sizeof all, err)) < 0)
		return -1;
	for (size_t at = 0; (n = read_event(all + at, (size_t)len - at, &e)) != 0; at += n)
		if (!fn(ctx, &e))
			break;
	return 0;
}

static void
write_log(const struct board_event *e)
{
	static const char *const scopes[SCOPE__COUNT] = { "key", "key at a model", "upstream",
		"upstream at a model", "account" };
	char until[CLOCK_TEXT_BYTES] = "", id[ID_TEXT_BYTES];
	bool is_breaker = e->kind == EVENT_BREAKER;

	id_text(e->scope == SCOPE_KEY || e->scope == SCOPE_KEY_MODEL ? "key_" : "up_", e->record,
		id);
	if (e->kind == EVENT_QUOTA) {
		log_write(e->to == FORECAST_LASTS ? LOG_INFO : LOG_WARN, "alert", "%s %s%s%s: %s",
			scopes[e->scope], id, e->name[0] == '\0' ? "" : " ", e->name, e->evidence);
		return;
	}
	if (e->until_ms != 0)
		clock_rfc3339(e->until_ms, until);
	log_write(LOG_INFO, "standing", "%s %s%s%s: %s%s -> %s (%s), status %d%s%s%s%s",
		scopes[e->scope], id, e->name[0] == '\0' ? "" : " ", e->name,
		is_breaker ? "breaker " : "",
		is_breaker ? standing_breaker_name((enum standing_breaker)e->from)
			   : standing_state_name((enum target_state)e->from),
		is_breaker ? standing_breaker_name((enum standing_breaker)e->to)
			   : standing_state_name((enum target_state)e->to),
		standing_cause_name((enum target_cause)e->cause), e->status,
		until[0] == '\0' ? "" : ", rests until ", until, e->evidence[0] == '\0' ? "" : ": ",
		e->evidence);
}

bool
standing_is_clerk(struct board *b)
{
	return board_events_read(b);
}

int
standing_drain(struct board *b, struct store *s, struct err *err)
{
	struct board_event e;
	int64_t lost = 0;
	int count = 0, rc = 0;

	if (!standing_is_clerk(b))
		return 0;
	if (standing_restore(b, s, err) < 0)
		return -1;
	while (count < DRAIN_MOST && board_events_next(b, &e, &lost) == 1) {
		if (keep_standing(s, b, &e, err) != 0 || keep_history(s, &e, err) != 0) {
			rc = -1;
			break;
		}
		write_log(&e);
		board_events_done(b, &e);
		count++;
	}
	if (lost > 0)
		log_write(LOG_WARN, "standing", "%lld transitions could not be kept",
			(long long)lost);
	return rc == 0 ? count : -1;
}
