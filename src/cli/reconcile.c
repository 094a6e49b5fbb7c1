/*
 * reconcile.c - a provider's bill against what sluice has booked, by day and key or model.
 *
 * The bill is read into lines, our sums of days join as lines of their own, and lines of one day and
 * name become one.  Days are UTC's on both sides, as providers bill them.
 */
#include "base/clock.h"
#include "base/money.h"
#include "cli/cli-int.h"
#include "cli/csv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_MS        86400000LL
#define LINES_MOST    2000000 /* of bill and ours */
#define KEYS_MOST     4096
#define NAME_TEXT     160
#define ONE_PERCENT   10000000LL /* in billionths */
#define DEFAULT_LEAST 10000000LL /* a cent */

__extension__ typedef __int128 wide;

struct line {
	int64_t day_ms;
	char name[NAME_TEXT];
	int64_t billed_nusd, ours_nusd;
	int64_t billed_tokens, our_tokens;
	int64_t unpriced; /* requests of ours whose cost is not known */
	bool is_billed, is_ours;
};

/* How bills call what we look for, the surest first; compared without case and signs. */
static const char *const day_names[] = { "date", "day", "usage_date", "date_utc", "usage_date_utc",
	"start_date", "start_time_iso", "start_time", "start_time_utc", "bucket_start_time",
	"period_start", "timestamp", "time", NULL };
static const char *const key_names[] = { "api_key_id", "key_id", "api_key_name", "key_name",
	"key_label", "api_key", "key", "label", NULL };
static const char *const model_names[] = { "model", "model_name", "model_id", "snapshot_id",
	"model_version", NULL };
static const char *const cost_names[] = { "cost", "cost_usd", "amount", "amount_usd",
	"amount_value", "total_cost", "total_cost_usd", "cost_in_usd", "spend", "charge", "total",
	NULL };
static const char *const token_names[][8] = {
	{ "total_tokens", "tokens", NULL },
	{ "input_tokens", "prompt_tokens", "n_context_tokens_total", "uncached_input_tokens",
		"usage_input_tokens_no_cache", NULL },
	{ "output_tokens", "completion_tokens", "n_generated_tokens_total", "usage_output_tokens",
		NULL },
	{ "cache_read_tokens", "cache_read_input_tokens", "usage_input_tokens_cache_read", NULL },
	{ "cache_write_tokens", "cache_creation_input_tokens", NULL },
};
#define TOKEN_COLUMNS ((int)(sizeof token_names / sizeof token_names[0]))

struct reconciling {
	/* words */
	const char *file, *upstream_name;
	const char *column[4];  /* given by name: day, key, model, cost */
	int64_t from_ms, to_ms; /* 0: as the bill */
	int64_t tolerance;      /* billionths of what is billed */
	int64_t least_nusd;
	bool json, by_model, by_key;
	/* the bill */
	int day, key, model, cost, tokens[TOKEN_COLUMNS];
	struct line *lines;
	size_t count, room;
	bool failed;
	int64_t bill_lines, unknown_keys;
	/* ours */
	struct key keys[KEYS_MOST];
	size_t key_count;
	bool key_wanted[KEYS_MOST];
	struct id upstream;
};

static const char *
by_name(const struct reconciling *r)
{
	return r->by_key ? "key" : r->by_model ? "model" : "total";
}

/* ---- words ---- */

static int
take_words(int argc, char **argv, struct reconciling *r)
{
	static const struct {
		const char *option;
		int column;
	} columns[] = { { "--day-column", 0 }, { "--key-column", 1 }, { "--model-column", 2 },
		{ "--cost-column", 3 } };
	const char *usage =
		"usage: sluice reconcile FILE.csv|- [--by key|model|total] [--from DAY] [--to DAY] "
		"[--upstream NAME] [--tolerance PERCENT] [--threshold DOLLARS] [--day-column NAME] "
		"[--key-column NAME] [--model-column NAME] [--cost-column NAME] [--json]";

	r->tolerance = ONE_PERCENT;
	r->least_nusd = DEFAULT_LEAST;
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
		size_t k = 0, len = value == NULL ? 0 : strlen(value);

		while (k < sizeof columns / sizeof columns[0] &&
			strcmp(columns[k].option, word) != 0)
			k++;
		if (strcmp(word, "--json") == 0) {
			r->json = true;
			continue;
		}
		if (word[0] != '-' || word[1] == '\0') {
			if (r->file != NULL)
				return complain(EXIT_USAGE, "'%s' is one word too many", word);
			r->file = word;
			continue;
		}
		if (value == NULL)
			return complain(EXIT_USAGE, "%s", usage);
		i++;
		if (k < sizeof columns / sizeof columns[0]) {
			r->column[columns[k].column] = value;
		} else if (strcmp(word, "--config") == 0) {
			setenv("SLUICE_CONFIG", value, 1);
		} else if (strcmp(word, "--upstream") == 0) {
			r->upstream_name = value;
		} else if (strcmp(word, "--by") == 0 &&
			   (strcmp(value, "key") == 0 || strcmp(value, "model") == 0 ||
				   strcmp(value, "total") == 0)) {
			r->by_key = value[0] == 'k';
			r->by_model = value[0] == 'm';
			r->column[value[0] == 'k' ? 2 : 1] = ""; /* that one is not looked for */
			if (value[0] == 't')
				r->column[2] = "";
		} else if (strcmp(word, "--from") == 0 || strcmp(word, "--to") == 0) {
			int64_t *at = word[2] == 'f' ? &r->from_ms : &r->to_ms;

			if (words_time(value, at) != 0 || *at % DAY_MS != 0)
				return complain(
					EXIT_USAGE, "%s wants a day such as 2027-01-31", word);
		} else if (strcmp(word, "--tolerance") == 0) {
			len -= len > 0 && value[len - 1] == '%';
			if (money_scaled((struct span){ value, len }, 7, &r->tolerance) != 0 ||
				r->tolerance < 0)
				return complain(
					EXIT_USAGE, "--tolerance wants percents such as 0.5");
		} else if (strcmp(word, "--threshold") == 0) {
			if (money_parse(value, &r->least_nusd) != 0 || r->least_nusd < 0)
				return complain(
					EXIT_USAGE, "--threshold wants dollars such as 0.01");
		} else {
			return complain(EXIT_USAGE, "%s", usage);
		}
	}
	return r->file == NULL ? complain(EXIT_USAGE, "%s", usage) : EXIT_DONE;
}

/* ---- the bill's head ---- */

/* "Usage Date (UTC)" is usage_date_utc. */
static void
plain_name(const char *text, char out[64])
{
	size_t n = 0;

	for (; *text != '\0' && n < 63; text++) {
		if (isalnum((unsigned char)*text))
			out[n++] = (char)tolower((unsigned char)*text);
		else if (n > 0 && out[n - 1] != '_')
			out[n++] = '_';
	}
	n -= n > 0 && out[n - 1] == '_';
	out[n] = '\0';
}

static int
find_column(const struct csv *c, const char *given, const char *const *names)
{
	char plain[64], want[64];

	if (given != NULL) {
		plain_name(given, want);
		for (int i = 0; i < c->count && want[0] != '\0'; i++) {
			plain_name(c->field[i], plain);
			if (strcmp(plain, want) == 0)
				return i;
		}
		return -1;
	}
	for (; *names != NULL; names++)
		for (int i = 0; i < c->count; i++) {
			plain_name(c->field[i], plain);
			if (strcmp(plain, *names) == 0)
				return i;
		}
	return -1;
}

static int
read_head(struct reconciling *r, struct csv *c)
{
	static const char *const titles[] = { "day", "key", "model", "cost" };
	int *const found[] = { &r->day, &r->key, &r->model, &r->cost };
	const char *const *names[] = { day_names, key_names, model_names, cost_names };

	if (!csv_row(c))
		return complain(EXIT_REFUSED, "%s is empty", r->file);
	for (int i = 0; i < 4; i++) {
		bool is_needed = i == 0 || i == 3 || (i == 1 && r->by_key) ||
				 (i == 2 && r->by_model) ||
				 (r->column[i] != NULL && r->column[i][0] != '\0');

		*found[i] = find_column(c, r->column[i], names[i]);
		if (*found[i] < 0 && is_needed)
			return complain(EXIT_REFUSED,
				"%s has no column that is the %s; name it with --%s-column",
				r->file, titles[i], titles[i]);
	}
	for (int i = 0; i < TOKEN_COLUMNS; i++)
		r->tokens[i] = find_column(c, NULL, token_names[i]);
	if (r->tokens[0] >= 0)
		for (int i = 1; i < TOKEN_COLUMNS; i++)
			r->tokens[i] = -1;
	r->by_key = r->key >= 0;
	r->by_model = !r->by_key && r->model >= 0;
	return EXIT_DONE;
}

/* ---- its lines ---- */

static int
read_day(const char *text, int64_t *day_ms)
{
	char day[32];
	size_t len = strlen(text), digits = strspn(text, "0123456789");
	int64_t at;

	if (digits == len && (len == 10 || len == 13)) { /* seconds or milliseconds since 1970 */
		at = strtoll(text, NULL, 10) * (len == 10 ? 1000 : 1);
	} else if (digits == len && len == 8) {
		snprintf(day, sizeof day, "%.4s-%.2s-%.2s", text, text + 4, text + 6);
		if (words_time(day, &at) != 0)
			return -1;
	} else {
		if (len >= sizeof day)
			return -1;
		memcpy(day, text, len + 1);
		if (len >= 10 && day[4] == '/' && day[7] == '/')
			day[4] = day[7] = '-';
		if (len > 10 && day[10] == ' ')
			day[10] = 'T';
		if (words_time(day, &at) != 0) { /* a time without its zone is taken for UTC */
			if (len < 16 || len + 1 >= sizeof day)
				return -1;
			memcpy(day + len, "Z", 2);
			if (words_time(day, &at) != 0)
				return -1;
		}
	}
	*day_ms = at - at % DAY_MS;
	return at < 0 ? -1 : 0;
}

/* "$1,234.50", "12.5 USD", "-0.02"; a comma is a thousands' mark. */
static int
read_amount(const char *text, int places, int64_t *out)
{
	char plain[64];
	size_t n = 0;

	for (; *text != '\0'; text++) {
		if (strchr("$, \"", *text) != NULL)
			continue;
		if (strncasecmp(text, "usd", 3) == 0) {
			text += 2;
			continue;
		}
		if (n == sizeof plain - 1)
			return -1;
		plain[n++] = *text;
	}
	if (n == 0) {
		*out = 0; /* an empty field: nothing */
		return 0;
	}
	return money_scaled((struct span){ plain, n }, places, out);
}

static struct line *
add_line(struct reconciling *r, int64_t day_ms, const char *name)
{
	struct line *l;

	if (r->count == r->room) {
		size_t room = r->room == 0 ? 1024 : r->room * 2;

		l = r->room >= LINES_MOST ? NULL : realloc(r->lines, room * sizeof *l);
		if (l == NULL) {
			r->failed = true;
			return NULL;
		}
		r->lines = l;
		r->room = room;
	}
	l = &r->lines[r->count++];
	memset(l, 0, sizeof *l);
	l->day_ms = day_ms;
	span_copy(span_of(name), l->name, sizeof l->name);
	return l;
}

/* "sk-…abcd", "sk-***abcd" and "sk-...abcd" show the end of a secret. */
static const char *
shown_end(const char *masked)
{
	size_t len = strlen(masked);

	if (len < 8 || (strstr(masked, "...") == NULL && strstr(masked, "…") == NULL &&
			       strchr(masked, '*') == NULL))
		return NULL;
	return strpbrk(masked + len - 4, "*.") == NULL ? masked + len - 4 : NULL;
}

/* The key a bill speaks of, or -1: by id, label, masked secret, or the end of that when only one has
 * it. */
static int
find_key(const struct reconciling *r, const char *text)
{
	const char *end = shown_end(text);
	char id[ID_TEXT_BYTES];
	int found = -1;

	for (size_t i = 0; i < r->key_count; i++) {
		const struct key *k = &r->keys[i];

		id_text(record_prefix(RECORD_KEY), k->head.id, id);
		if (strcmp(text, id) == 0 || strcmp(text, k->masked) == 0 ||
			(k->label[0] != '\0' && strcasecmp(text, k->label) == 0))
			return (int)i;
	}
	for (size_t i = 0; i < r->key_count && end != NULL; i++) {
		const char *ours = shown_end(r->keys[i].masked);

		if (ours == NULL || strcmp(ours, end) != 0)
			continue;
		if (found >= 0)
			return -1;
		found = (int)i;
	}
	return found;
}

static void
key_name(const struct reconciling *r, size_t i, char out[NAME_TEXT])
{
	const struct key *k = &r->keys[i];
	char id[ID_TEXT_BYTES];

	id_text(record_prefix(RECORD_KEY), k->head.id, id);
	snprintf(out, NAME_TEXT, "%s%s%s", id, k->label[0] != '\0' ? " " : "", k->label);
}

static const char *
field_of(const struct csv *c, int column)
{
	return column >= 0 && column < c->count ? c->field[column] : "";
}

static int
read_line(struct reconciling *r, const struct csv *c)
{
	const char *who = r->by_key     ? field_of(c, r->key)
			  : r->by_model ? field_of(c, r->model)
					: "all";
	char name[NAME_TEXT];
	int64_t day_ms, nusd, tokens;
	struct line *l;
	int key;

	if (c->too_long)
		return complain(EXIT_REFUSED, "%s, row %d is too long", r->file, c->line);
	if (read_day(field_of(c, r->day), &day_ms) != 0) {
		/* sums at the end of a bill have no day */
		if (field_of(c, r->day)[0] == '\0' ||
			strncasecmp(field_of(c, r->day), "total", 5) == 0)
			return EXIT_DONE;
		return complain(EXIT_REFUSED, "%s, row %d: '%.40s' is no day such as 2027-01-31",
			r->file, c->line, field_of(c, r->day));
	}
	if (read_amount(field_of(c, r->cost), 9, &nusd) != 0)
		return complain(EXIT_REFUSED, "%s, row %d: '%.40s' is no amount of dollars",
			r->file, c->line, field_of(c, r->cost));
	if ((r->from_ms > 0 && day_ms < r->from_ms) || (r->to_ms > 0 && day_ms >= r->to_ms))
		return EXIT_DONE;
	snprintf(name, sizeof name, "%s", who[0] == '\0' ? "(none)" : who);
	if (r->by_key) {
		if ((key = find_key(r, who)) >= 0) {
			key_name(r, (size_t)key, name);
			r->key_wanted[key] = true;
		} else {
			r->unknown_keys++;
		}
	}
	if ((l = add_line(r, day_ms, name)) == NULL)
		return complain(EXIT_FAILED, "%s has too many lines", r->file);
	l->is_billed = true;
	l->billed_nusd = nusd;
	for (int i = 0; i < TOKEN_COLUMNS; i++)
		if (r->tokens[i] >= 0 && read_amount(field_of(c, r->tokens[i]), 0, &tokens) == 0 &&
			tokens > 0)
			l->billed_tokens = money_add(l->billed_tokens, tokens);
	r->bill_lines++;
	return EXIT_DONE;
}

static int
read_bill(struct reconciling *r, struct span text)
{
	struct csv *c = malloc(sizeof *c);
	int rc;

	if (c == NULL)
		return complain(EXIT_FAILED, "no memory");
	csv_begin(c, text);
	rc = read_head(r, c);
	while (rc == EXIT_DONE && csv_row(c))
		rc = read_line(r, c);
	free(c);
	if (rc == EXIT_DONE && r->count == 0)
		rc = complain(EXIT_REFUSED, "%s bills nothing in that time", r->file);
	return rc;
}

/* ---- ours ---- */

static bool
take_key(void *ctx, const void *record)
{
	struct reconciling *r = ctx;
	const struct key *k = record;

	if (!id_is_none(r->upstream) && !id_equal(r->upstream, k->upstream))
		return true;
	if (r->key_count == KEYS_MOST)
		return false;
	r->keys[r->key_count++] = *k;
	return true;
}

static bool
take_sum(void *ctx, const struct rollup *s)
{
	struct reconciling *r = ctx;
	const struct tokens *t = &s->sum.tokens;
	char name[NAME_TEXT] = "all";
	struct line *l;
	size_t i = 0;

	if (s->sum.requests == 0)
		return true;
	if (r->by_key) {
		while (i < r->key_count && !id_equal(r->keys[i].head.id, s->id))
			i++;
		if (i == r->key_count || !r->key_wanted[i])
			return true;
		key_name(r, i, name);
	} else if (r->by_model) {
		if (s->sum.cost_nusd == 0 && s->sum.unpriced == 0)
			return true; /* what was refused or is free */
		snprintf(name, sizeof name, "%s", s->name[0] == '\0' ? "(none)" : s->name);
	}
	if ((l = add_line(r, s->from_ms, name)) == NULL)
		return false;
	l->is_ours = true;
	l->ours_nusd = s->sum.cost_nusd;
	l->our_tokens = t->input + t->cache_read + t->cache_write + t->output;
	l->unpriced = s->sum.unpriced;
	return true;
}

/* A bill is one account's: the other keys of the upstreams it speaks of should stand on it too. */
static void
want_neighbours(struct reconciling *r)
{
	bool wanted[KEYS_MOST];

	memcpy(wanted, r->key_wanted, sizeof wanted);
	for (size_t i = 0; i < r->key_count; i++)
		for (size_t k = 0; k < r->key_count && !r->key_wanted[i]; k++)
			r->key_wanted[i] =
				wanted[k] && id_equal(r->keys[i].upstream, r->keys[k].upstream);
}

static int
add_ours(struct reconciling *r, struct store *store)
{
	int64_t from = INT64_MAX, to = 0;
	struct err err = { 0 };

	for (size_t i = 0; i < r->count; i++) {
		from = r->lines[i].day_ms < from ? r->lines[i].day_ms : from;
		to = r->lines[i].day_ms > to ? r->lines[i].day_ms : to;
	}
	r->from_ms = r->from_ms > 0 ? r->from_ms : from;
	r->to_ms = r->to_ms > 0 ? r->to_ms : to + DAY_MS;
	want_neighbours(r);
	if (store_rollup_each(store,
		    r->by_key     ? BY_KEY
		    : r->by_model ? BY_MODEL
				  : BY_TOTAL,
		    STEP_DAY, r->from_ms, r->to_ms, NULL, take_sum, r, &err) < 0)
		return complain(EXIT_FAILED, "%s", err.text);
	return r->failed ? complain(EXIT_FAILED, "there are too many days and names") : EXIT_DONE;
}

/* ---- comparing ---- */

static int
in_order(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->day_ms != y->day_ms)
		return x->day_ms < y->day_ms ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void
join(struct line *sum, const struct line *l)
{
	sum->billed_nusd = money_add(sum->billed_nusd, l->billed_nusd);
	sum->ours_nusd = money_add(sum->ours_nusd, l->ours_nusd);
	sum->billed_tokens = money_add(sum->billed_tokens, l->billed_tokens);
	sum->our_tokens = money_add(sum->our_tokens, l->our_tokens);
	sum->unpriced = money_add(sum->unpriced, l->unpriced);
	sum->is_billed |= l->is_billed;
	sum->is_ours |= l->is_ours;
}

static void
join_lines(struct reconciling *r)
{
	size_t n = 0;

	qsort(r->lines, r->count, sizeof *r->lines, in_order);
	for (size_t i = 1; i < r->count; i++) {
		if (in_order(&r->lines[n], &r->lines[i]) == 0)
			join(&r->lines[n], &r->lines[i]);
		else
			r->lines[++n] = r->lines[i];
	}
	r->count = n + 1;
}

static wide
size_of(wide n)
{
	return n < 0 ? -n : n;
}

/* More than the threshold and more than the tolerated share of what is billed. */
static bool
differs(const struct reconciling *r, const struct line *l)
{
	wide by = size_of((wide)l->ours_nusd - l->billed_nusd);

	return by > r->least_nusd && by * 1000000000 > size_of(l->billed_nusd) * r->tolerance;
}

static void
put_money(struct bytes *out, const char *name, wide nusd)
{
	char text[MONEY_TEXT_BYTES];

	money_text(nusd > INT64_MAX   ? INT64_MAX
		   : nusd < INT64_MIN ? INT64_MIN
				      : (int64_t)nusd,
		text);
	bytes_printf(out, "\"%s\":\"%s\",", name, text);
}

static void
put_line(struct bytes *out, const struct line *l)
{
	put_money(out, "billed", l->billed_nusd);
	put_money(out, "ours", l->ours_nusd);
	put_money(out, "difference", (wide)l->ours_nusd - l->billed_nusd);
	bytes_printf(out, "\"billed_tokens\":%lld,\"our_tokens\":%lld,\"unpriced\":%lld,\"why\":",
		(long long)l->billed_tokens, (long long)l->our_tokens, (long long)l->unpriced);
	bytes_puts(out, !l->is_ours       ? "\"not booked here\""
			: !l->is_billed   ? "\"not on the bill\""
			: l->unpriced > 0 ? "\"prices not known\""
					  : "null");
}

static int
tell(struct reconciling *r)
{
	static const struct column columns[] = { { "DAY", "day", false, 0 },
		{ "WHAT", "name", false, 48 }, { "BILLED $", "billed", true, 0 },
		{ "OURS $", "ours", true, 0 }, { "DIFFERENCE $", "difference", true, 0 },
		{ "WHY", "why", false, 0 } };
	struct bytes out = BYTES_LIMIT(256 << 20);
	struct line total = { .is_billed = true, .is_ours = true };
	size_t differing = 0;
	bool agrees;

	bytes_puts(&out, "{\"data\":[");
	for (size_t i = 0; i < r->count; i++) {
		char day[CLOCK_TEXT_BYTES];

		join(&total, &r->lines[i]);
		if (!differs(r, &r->lines[i]))
			continue;
		clock_rfc3339(r->lines[i].day_ms, day);
		bytes_printf(
			&out, "%s{\"day\":\"%.10s\",\"name\":", differing++ == 0 ? "" : ",", day);
		bytes_json(&out, span_of(r->lines[i].name));
		bytes_puts(&out, ",");
		put_line(&out, &r->lines[i]);
		bytes_puts(&out, "}");
	}
	agrees = differing == 0 && !differs(r, &total);
	bytes_printf(&out, "],\"by\":\"%s\",\"total\":{", by_name(r));
	put_line(&out, &total);
	bytes_printf(&out,
		"},\"bill_lines\":%lld,\"compared\":%zu,\"differing\":%zu,\"unknown_keys\":%lld,"
		"\"agrees\":%s}",
		(long long)r->bill_lines, r->count, differing, (long long)r->unknown_keys,
		agrees ? "true" : "false");
	if (out.failed) {
		complain(EXIT_FAILED, "no memory");
	} else if (r->json) {
		printf("%.*s\n", (int)out.len, out.at);
	} else {
		char billed[MONEY_TEXT_BYTES], ours[MONEY_TEXT_BYTES];

		if (differing > 0)
			table_print(bytes_span(&out), columns, sizeof columns / sizeof columns[0]);
		money_text(total.billed_nusd, billed);
		money_text(total.ours_nusd, ours);
		printf("%zu days and %ss compared, %zu differ; billed %s, booked %s dollars\n",
			r->count, by_name(r), differing, billed, ours);
		if (r->unknown_keys > 0)
			printf("%lld lines name a key that is not known here\n",
				(long long)r->unknown_keys);
		if (total.unpriced > 0)
			printf("%lld requests have no known price: add it, then `sluice reprice`\n",
				(long long)total.unpriced);
	}
	bytes_free(&out);
	return agrees ? EXIT_DONE : EXIT_REFUSED;
}

int
reconcile_main(int argc, char **argv)
{
	struct reconciling *r = calloc(1, sizeof *r);
	struct bytes text = BYTES_LIMIT(1);
	struct err err = { 0 };
	struct upstream u;
	struct state s;
	int rc;

	if (r == NULL)
		return complain(EXIT_FAILED, "no memory");
	if ((rc = take_words(argc, argv, r)) != EXIT_DONE ||
		(rc = words_file(r->file, &text)) != EXIT_DONE)
		goto out;
	if (state_open(&s, false) != 0) {
		rc = EXIT_FAILED;
		goto out;
	}
	if (r->upstream_name != NULL &&
		store_find(s.store, RECORD_UPSTREAM, r->upstream_name, &u, &err) != 1)
		rc = complain(EXIT_REFUSED, "there is no upstream %s", r->upstream_name);
	else if (r->upstream_name != NULL)
		r->upstream = u.head.id;
	if (rc == EXIT_DONE && store_each(s.store, RECORD_KEY, ID_NONE, take_key, r, &err) < 0)
		rc = complain(EXIT_FAILED, "%s", err.text);
	if (rc == EXIT_DONE && (rc = read_bill(r, bytes_span(&text))) == EXIT_DONE &&
		(rc = add_ours(r, s.store)) == EXIT_DONE) {
		join_lines(r);
		rc = tell(r);
	}
	state_close(&s);
out:
	bytes_free(&text);
	free(r->lines);
	free(r);
	return rc;
}
