/*
 * failure_rule.c - reading and applying rules over failures.
 *
 * A list is compiled when it is first applied and kept for the process under its text, so that the
 * loop compiles nothing twice.  Lists come from records only, so there are few; when the places are
 * used up, the one that was used least lately makes room.  Matching itself takes no lock.
 */
#include "route/failure_rule.h"

#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LISTS_KEPT  64
#define REGEX_RULES 3  /* of one rule */
#define RANGES_MAX  16 /* statuses */
#define REPEAT_MOST 64 /* in {m,n} */

enum seen_error { SEEN_TIMEOUT, SEEN_CONNECT, SEEN_EMPTY, SEEN_STREAM, SEEN_KINDS };

struct pattern {
	char header[64]; /* "": the body */
	regex_t regex;
};

struct rule {
	char text[96];
	int ranges;
	struct {
		int first, last;
	} range[RANGES_MAX];
	char type[FAILURE_RULE_BYTES]; /* words parted by commas */
	unsigned errors;               /* bits: enum seen_error, and enum failure behind them */
	int patterns;
	struct pattern pattern[REGEX_RULES];
	enum failure_then then;
	bool counts, says_counts;
	int64_t rest_ms;
};

struct list {
	struct list *next; /* the one used before it */
	int users;         /* under `mutex` */
	size_t len;
	char *text;
	int count;
	struct rule rule[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct list *lists; /* the one used last first */

/* ---- reading ---- */

struct reader {
	const char *at, *end; /* of the line */
	int line;
	struct err *err;
};

static int wrong(const struct reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int
wrong(const struct reader *r, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(r->err, ERR_BAD_REQUEST, "failure rule, line %d: %s", r->line, text);
	return err_say(r->err, "Line %d of the failure rules: %s.", r->line, text);
}

static void
skip_blanks(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

/* From here on to a blank. */
static struct span
rest_of_word(struct reader *r)
{
	struct span w = { .at = r->at };

	while (r->at < r->end && *r->at != ' ' && *r->at != '\t' && *r->at != '\r')
		r->at++;
	w.len = (size_t)(r->at - w.at);
	return w;
}

/* len 0 at the end. */
static struct span
next_word(struct reader *r)
{
	skip_blanks(r);
	return rest_of_word(r);
}

/* Is it one whose compiling and matching stay small? */
static int
check_regex(const struct reader *r, const char *text)
{
	int repeats = 0, depth = 0;
	bool in_set = false;

	for (const char *p = text; *p != '\0'; p++) {
		if (in_set) {
			in_set = *p != ']' || p[-1] == '[' || (p[-1] == '^' && p[-2] == '[');
			continue;
		}
		if (*p == '\\' && p[1] != '\0') {
			if (p[1] >= '1' && p[1] <= '9')
				return wrong(r, "'%s' refers back, which is not allowed", text);
			p++;
		} else if (*p == '[') {
			in_set = true;
		} else if (*p == '(') {
			if (++depth > 16)
				return wrong(r, "'%s' has too many brackets in brackets", text);
		} else if (*p == ')') {
			depth--;
		} else if (*p == '{') {
			if (++repeats > 1)
				return wrong(r, "'%s' has more than one {…}", text);
			for (const char *q = p + 1; *q != '\0' && *q != '}'; q++)
				if (*q >= '0' && *q <= '9' && strtol(q, NULL, 10) > REPEAT_MOST)
					return wrong(r, "'%s' repeats more than 64 times", text);
		}
	}
	return 0;
}

/* /regex/ or "regex" into the rule; the reader is behind its "=". */
static int
read_pattern(struct reader *r, struct rule *rule, const char *header)
{
	char text[FAILURE_REGEX_BYTES + 1], why[80], close;
	struct pattern *p;
	size_t len = 0;
	int rc;

	if (r->at == r->end || (*r->at != '/' && *r->at != '"'))
		return wrong(r, "a regular expression stands between slashes");
	if (rule->patterns == REGEX_RULES)
		return wrong(r, "one rule may have three regular expressions");
	for (close = *r->at++; r->at < r->end && *r->at != close; r->at++) {
		if (*r->at == '\\' && r->at + 1 < r->end && r->at[1] == close)
			r->at++;
		else if (*r->at == '\\' && r->at + 1 < r->end && len < FAILURE_REGEX_BYTES - 1)
			text[len++] = *r->at++;
		if (len == FAILURE_REGEX_BYTES)
			return wrong(r, "a regular expression may have 200 bytes");
		text[len++] = *r->at;
	}
	if (r->at == r->end)
		return wrong(r, "a regular expression does not end");
	r->at++;
	text[len] = '\0';
	if (len == 0)
		return wrong(r, "a regular expression is empty");
	if (check_regex(r, text) != 0)
		return -1;
	p = &rule->pattern[rule->patterns];
	(void)snprintf(p->header, sizeof p->header, "%s", header);
	rc = regcomp(&p->regex, text, REG_EXTENDED | REG_NOSUB | REG_ICASE);
	if (rc == REG_ESPACE)
		return err_set(r->err, ERR_MEMORY, "no memory for a failure rule");
	if (rc != 0) {
		(void)regerror(rc, &p->regex, why, sizeof why);
		return wrong(r, "a regular expression cannot be read: %s", why);
	}
	rule->patterns++;
	return 0;
}

static int
read_status(const struct reader *r, struct rule *rule, const char *text)
{
	while (*text != '\0') {
		char *end;
		long first = strtol(text, &end, 10), last = first;

		if (end == text || *text == '-' || *text == '+')
			return wrong(r, "'%s' is no status", text);
		if (*end == '-') {
			text = end + 1;
			last = strtol(text, &end, 10);
			if (end == text || *text == '-')
				return wrong(r, "'%s' is no status", text);
		}
		if ((*end != '\0' && *end != ',') || first < 0 || last > 999 || first > last)
			return wrong(r, "'%s' is no status or range of them", text);
		if (rule->ranges == RANGES_MAX)
			return wrong(r, "one rule may name 16 statuses");
		rule->range[rule->ranges].first = (int)first;
		rule->range[rule->ranges++].last = (int)last;
		text = *end == ',' ? end + 1 : end;
	}
	return rule->ranges > 0 ? 0 : wrong(r, "status= names none");
}

static int
read_errors(const struct reader *r, struct rule *rule, char *text)
{
	static const char *const names[SEEN_KINDS] = { "timeout", "connect", "empty", "stream" };
	char *save = NULL;

	for (char *w = strtok_r(text, ",", &save); w != NULL; w = strtok_r(NULL, ",", &save)) {
		unsigned bit = 0;

		for (int i = 0; i < SEEN_KINDS; i++)
			if (strcmp(w, names[i]) == 0)
				bit = 1u << i;
		for (int f = FAILURE_KEY_INVALID; f <= FAILURE_TRANSIENT; f++)
			if (strcmp(w, failure_name((enum failure)f)) == 0)
				bit = 1u << (SEEN_KINDS + f);
		if (bit == 0)
			return wrong(r,
				"'%s' is no error: timeout, connect, empty, stream, key_invalid, "
				"no_credit, rate_limited, overloaded, model, request, transient",
				w);
		rule->errors |= bit;
	}
	return rule->errors != 0 ? 0 : wrong(r, "error= names none");
}

static int
read_condition(struct reader *r, struct rule *rule)
{
	const char *word = r->at;
	struct span w;
	char value[FAILURE_RULE_BYTES], name[64];
	const char *eq;

	while (r->at < r->end && *r->at != '=' && *r->at != ' ')
		r->at++;
	eq = r->at;
	if (r->at == r->end || *r->at != '=') {
		(void)span_copy((struct span){ word, (size_t)(eq - word) }, name, sizeof name);
		return wrong(
			r, "'%s' is no condition; an arrow '->' stands before what is done", name);
	}
	r->at++;
	if ((size_t)(eq - word) == 4 && memcmp(word, "body", 4) == 0)
		return read_pattern(r, rule, "");
	if (eq - word > 7 && memcmp(word, "header:", 7) == 0) {
		if (!span_copy(
			    (struct span){ word + 7, (size_t)(eq - word - 7) }, name, sizeof name))
			return wrong(r, "the name of a header is too long");
		for (char *p = name; *p != '\0'; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p | 0x20);
		return read_pattern(r, rule, name);
	}
	w = rest_of_word(r);
	(void)span_copy(w, value, sizeof value);
	if (span_is((struct span){ word, (size_t)(eq - word) }, "status"))
		return read_status(r, rule, value);
	if (span_is((struct span){ word, (size_t)(eq - word) }, "error"))
		return read_errors(r, rule, value);
	if (span_is((struct span){ word, (size_t)(eq - word) }, "type")) {
		if (value[0] == '\0')
			return wrong(r, "type= names none");
		memcpy(rule->type, value, sizeof value);
		return 0;
	}
	(void)span_copy((struct span){ word, (size_t)(eq - word) }, name, sizeof name);
	return wrong(r,
		"there is no condition '%s'; there are status, type, error, body, header:NAME",
		name);
}

static int
read_action(const struct reader *r, struct rule *rule, struct span w)
{
	char text[32], *end;

	if (!span_copy(w, text, sizeof text))
		return wrong(r, "'%s…' cannot be done", text);
	if (strcmp(text, "next") == 0 || strcmp(text, "stop") == 0) {
		if (rule->then != RULE_DEFAULT)
			return wrong(r, "next and stop exclude each other");
		rule->then = text[0] == 'n' ? RULE_NEXT : RULE_STOP;
	} else if (strcmp(text, "count") == 0 || strcmp(text, "nocount") == 0) {
		rule->says_counts = true;
		rule->counts = text[0] == 'c';
	} else if (strncmp(text, "cool=", 5) == 0) {
		long s = strtol(text + 5, &end, 10);

		if (text[5] < '0' || text[5] > '9' || *end != '\0' || s > FAILURE_COOL_MAX_S)
			return wrong(r, "'%s': cool= takes seconds, 0 to 2592000", text);
		rule->rest_ms = s == 0 ? -1 : (int64_t)s * 1000;
	} else {
		return wrong(r, "'%s' cannot be done; there are next, stop, count, nocount, cool=N",
			text);
	}
	return 0;
}

static void
rule_free(struct rule *rule)
{
	for (int i = 0; i < rule->patterns; i++)
		regfree(&rule->pattern[i].regex);
	rule->patterns = 0;
}

/* One line that is not blank. */
static int
read_rule(struct reader *r, struct rule *rule)
{
	struct span w;
	int actions = 0;

	memset(rule, 0, sizeof *rule);
	(void)span_copy(
		(struct span){ r->at, (size_t)(r->end - r->at) }, rule->text, sizeof rule->text);
	if (r->end - r->at >= FAILURE_RULE_BYTES)
		return wrong(r, "a rule may have 511 bytes");
	for (;;) {
		skip_blanks(r);
		if (r->at == r->end)
			return wrong(r, "an arrow '->' and what is to be done are missing");
		if (r->end - r->at >= 2 && r->at[0] == '-' && r->at[1] == '>')
			break;
		if (read_condition(r, rule) != 0)
			return -1;
	}
	r->at += 2;
	while ((w = next_word(r)).len > 0) {
		if (read_action(r, rule, w) != 0)
			return -1;
		actions++;
	}
	return actions > 0 ? 0 : wrong(r, "it says nothing of what is to be done");
}

static void
list_free(struct list *l)
{
	if (l == NULL)
		return;
	for (int i = 0; i < l->count; i++)
		rule_free(&l->rule[i]);
	free(l->text);
	free(l);
}

/* The line from r->at to r->end into the list, unless it says nothing. */
static int
read_line(struct reader *r, struct list *l)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at == '#')
		return 0;
	if (memchr(r->at, '\0', (size_t)(r->end - r->at)) != NULL)
		return wrong(r, "it holds a NUL");
	if (l->count == FAILURE_RULES_MAX)
		return wrong(r, "a list may have 32 rules");
	l->count++; /* before it is read: a half of it is to be freed too */
	return read_rule(r, &l->rule[l->count - 1]);
}

/* NULL with *err: a list that cannot be applied, or no memory. */
static struct list *
list_read(struct span text, struct err *err)
{
	struct list *l = calloc(1, sizeof *l + FAILURE_RULES_MAX * sizeof l->rule[0]);
	struct reader r = { .at = text.at, .err = err };
	const char *end = text.at + text.len;

	if (l == NULL) {
		err_set(err, ERR_MEMORY, "no memory for failure rules");
		return NULL;
	}
	while (r.at < end) {
		const char *next = memchr(r.at, '\n', (size_t)(end - r.at));

		next = next == NULL ? end : next;
		r.end = next;
		r.line++;
		if (read_line(&r, l) != 0) {
			list_free(l);
			return NULL;
		}
		r.at = next + 1;
	}
	return l;
}

int
failure_rules_check(struct span text, struct err *err)
{
	struct list *l = list_read(text, err);

	if (l == NULL)
		return -1;
	list_free(l);
	return 0;
}

/* ---- what was compiled before ---- */

static struct list *
find_kept(struct span text)
{
	for (struct list **at = &lists; *at != NULL; at = &(*at)->next) {
		struct list *l = *at;

		if (l->len != text.len || memcmp(l->text, text.at, text.len) != 0)
			continue;
		*at = l->next;
		l->next = lists;
		lists = l;
		l->users++;
		return l;
	}
	return NULL;
}

/* Makes room: the one used least lately that nobody uses now goes. */
static void
drop_oldest(void)
{
	struct list **oldest = NULL, *l;
	int count = 0;

	for (struct list **at = &lists; *at != NULL; at = &(*at)->next) {
		count++;
		if ((*at)->users == 0)
			oldest = at;
	}
	if (count < LISTS_KEPT || oldest == NULL)
		return;
	l = *oldest;
	*oldest = l->next;
	list_free(l);
}

/* Compiled, and held until list_leave().  NULL: no memory. */
static struct list *
list_use(struct span text)
{
	struct list *l;

	(void)pthread_mutex_lock(&mutex);
	if ((l = find_kept(text)) != NULL) {
		(void)pthread_mutex_unlock(&mutex);
		return l;
	}
	l = list_read(text, NULL);
	if (l == NULL &&
		(l = calloc(1, sizeof *l)) == NULL) { /* a bad one is remembered as empty */
		(void)pthread_mutex_unlock(&mutex);
		return NULL;
	}
	if ((l->text = malloc(text.len)) == NULL) {
		(void)pthread_mutex_unlock(&mutex);
		list_free(l);
		return NULL;
	}
	memcpy(l->text, text.at, text.len);
	l->len = text.len;
	l->users = 1;
	drop_oldest();
	l->next = lists;
	lists = l;
	(void)pthread_mutex_unlock(&mutex);
	return l;
}

static void
list_leave(struct list *l)
{
	(void)pthread_mutex_lock(&mutex);
	l->users--;
	(void)pthread_mutex_unlock(&mutex);
}

/* ---- matching ---- */

static bool
holds_word(struct span in, const char *word, size_t len)
{
	for (size_t i = 0; i + len <= in.len; i++)
		if (strncasecmp(in.at + i, word, len) == 0)
			return true;
	return false;
}

static bool
fits_type(const struct rule *r, const struct failure_seen *seen)
{
	const char *at = r->type;

	while (*at != '\0') {
		size_t len = strcspn(at, ",");

		if (len > 0 && holds_word(seen->type, at, len))
			return true;
		at += len + (at[len] == ',');
	}
	return r->type[0] == '\0';
}

static bool
fits_status(const struct rule *r, int status)
{
	for (int i = 0; i < r->ranges; i++)
		if (status >= r->range[i].first && status <= r->range[i].last)
			return true;
	return r->ranges == 0;
}

static bool
fits_error(const struct rule *r, const struct failure_seen *seen)
{
	unsigned is = 1u << (SEEN_KINDS + seen->failure);

	is |= seen->is_timeout ? 1u << SEEN_TIMEOUT : 0;
	is |= seen->is_connect ? 1u << SEEN_CONNECT : 0;
	is |= seen->is_empty ? 1u << SEEN_EMPTY : 0;
	is |= seen->is_stream_error ? 1u << SEEN_STREAM : 0;
	return r->errors == 0 || (r->errors & is) != 0;
}

static bool
fits_pattern(const struct pattern *p, const struct failure_seen *seen)
{
	char text[FAILURE_BODY_BYTES + 1];
	struct span in = seen->body;

	if (p->header[0] != '\0') {
		if (seen->header == NULL)
			return false;
		in = seen->header(seen->ctx, p->header);
		if (in.len == 0)
			return false;
	}
	in.len = in.len < FAILURE_BODY_BYTES ? in.len : FAILURE_BODY_BYTES;
	if (in.len > 0)
		memcpy(text, in.at, in.len);
	for (size_t i = 0; i < in.len; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	text[in.len] = '\0';
	return regexec(&p->regex, text, 0, NULL, 0) == 0;
}

static bool
fits(const struct rule *r, const struct failure_seen *seen)
{
	if (!fits_status(r, seen->status) || !fits_error(r, seen) || !fits_type(r, seen))
		return false;
	for (int i = 0; i < r->patterns; i++)
		if (!fits_pattern(&r->pattern[i], seen))
			return false;
	return true;
}

static bool
apply_list(const struct list *l, const struct failure_seen *seen, struct failure_verdict *v)
{
	for (int i = 0; i < l->count; i++) {
		const struct rule *r = &l->rule[i];

		if (!fits(r, seen))
			continue;
		v->matched = true;
		v->counts = !r->says_counts || r->counts;
		v->then = r->then;
		v->rest_ms = r->rest_ms;
		memcpy(v->rule, r->text, sizeof v->rule);
		return true;
	}
	return false;
}

void
failure_rules_apply(
	const char *const *texts, int n, const struct failure_seen *seen, struct failure_verdict *v)
{
	*v = (struct failure_verdict){ .counts = true };
	for (int i = 0; i < n && !v->matched; i++) {
		struct list *l;

		if (texts[i] == NULL || texts[i][0] == '\0' ||
			(l = list_use(span_of(texts[i]))) == NULL)
			continue;
		(void)apply_list(l, seen, v);
		list_leave(l);
	}
}
