/*
 * attempt.c - FORWARD: one candidate is asked, and its answer goes to the client as it comes.  What it
 * meant is judged in judge.c, what it cost in spent.c.
 *
 * What the client may see last is held back until the charge is booked: the closing event of a
 * stream, the newest piece of other answers, a short JSON answer whole.  All on the loop.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "errand/errand.h"
#include "settle/price.h"
#include "wire/auth.h"
#include "wire/request_rule.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANTHROPIC_VERSION "2023-06-01" /* which all models and all our code know */

/* ---- what is sent ---- */

static void
add_header(struct header_list *l, const char *name, const char *value)
{
	if (l->count < HEADERS_MAX && name != NULL && value != NULL)
		l->line[l->count++] = (struct forward_header){ name, value };
}

static bool
starts_with(const char *s, const char *prefix)
{
	while (*prefix != '\0' && *s == *prefix)
		s++, prefix++;
	return *prefix == '\0';
}

/* interfaces.md, "Request headers that pass to a provider": a list of what may, never of what may
 * not.  Names come in lower case. */
static bool
may_pass(const struct upstream *u, const char *name)
{
	static const char *const exact[] = { "content-type", "content-encoding", "content-language",
		"accept", "accept-language", "anthropic-version", "anthropic-beta", "traceparent",
		"http-referer", "x-title", "originator", "session_id", "session-id" };
	static const char *const prefixes[] = { "openai-", "x-stainless-", "x-codex-",
		"x-claude-code-" };

	for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++)
		if (name[0] == exact[i][0] && strcmp(name, exact[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (starts_with(name, prefixes[i]))
			return true;
	if (starts_with(name, "x-goog-") && strcmp(name, "x-goog-api-key") != 0)
		return true;
	return u->forward_headers[0] != '\0' && strcmp(name, "authorization") != 0 &&
	       strcmp(name, "cookie") != 0 && glob_list_match(u->forward_headers, span_of(name));
}

/* A dialect's own headers are for its providers; what speaks of the body goes with the client's. */
static bool
is_foreign(const struct header_list *l, const char *name)
{
	if (starts_with(name, "anthropic-"))
		return l->converted || l->dialect != DIALECT_ANTHROPIC;
	if (starts_with(name, "openai-"))
		return l->dialect != DIALECT_OPENAI;
	if (starts_with(name, "x-goog-"))
		return l->dialect != DIALECT_GEMINI;
	return l->converted && (starts_with(name, "content-") || strcmp(name, "accept") == 0);
}

/* CGI makes one of "_" and "-"; its senders and its readers write this one with "_". */
static const char *
sent_name(const char *name)
{
	return strcmp(name, "session-id") == 0 ? "session_id" : name;
}

static bool
pass_header(void *ctx, const char *name, struct span value)
{
	struct header_list *l = ctx;

	if (may_pass(l->upstream, name) && !is_foreign(l, name))
		add_header(l, arena_strdup(l->arena, sent_name(name)),
			arena_strndup(l->arena, value.at, value.len));
	return true;
}

static bool
has_header(const struct header_list *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcasecmp(l->line[i].name, name) == 0)
			return true;
	return false;
}

/* What belongs to a body that we wrote; and what Anthropic demands of everybody. */
static void
add_made(struct header_list *l, const struct request_made *made)
{
	for (size_t i = 0; i < made->header_count; i++)
		add_header(l, made->header[i].name, made->header[i].value);
	if (l->converted)
		add_header(l, "content-type", "application/json");
	if (l->dialect == DIALECT_ANTHROPIC && !has_header(l, "anthropic-version"))
		add_header(l, "anthropic-version", ANTHROPIC_VERSION);
}

static void
add_extra(struct header_list *l)
{
	struct credential_lines lines = {
		.arena = l->arena, .line = l->line, .count = l->count, .most = HEADERS_MAX
	};

	credential_extra(&lines, l->upstream);
	l->count = lines.count;
}

/* Those of the route's rules, in place of others of the same name. */
static void
add_ruled(struct header_list *l, const struct route *r)
{
	const char *at = r == NULL ? "" : r->request_rules;
	struct span name, value;

	while (request_rules_header(&at, &name, &value)) {
		const char *line = arena_strndup(l->arena, name.at, name.len);
		size_t kept = 0;

		for (size_t i = 0; line != NULL && i < l->count; i++)
			if (strcasecmp(l->line[i].name, line) != 0)
				l->line[kept++] = l->line[i];
		if (line != NULL)
			l->count = kept;
		add_header(l, line, arena_strndup(l->arena, value.at, value.len));
	}
}

/* "name=value" from the front of what is left of a query. */
static bool
next_parameter(struct span *query, struct span *one)
{
	const char *end = query->len == 0 ? NULL : memchr(query->at, '&', query->len);
	size_t taken;

	*one = *query;
	if (end != NULL)
		one->len = (size_t)(end - query->at);
	taken = end == NULL ? one->len : one->len + 1;
	query->at += taken;
	query->len -= taken;
	return taken > 0;
}

/* The client's query without our token in it, and without what a conversation's own address says. */
static struct span
query_to_pass(struct exchange *x, struct bytes *out)
{
	struct span q = web_query(x->request);

	if (x->out.converted)
		return SPAN_NONE;
	for (struct span one; next_parameter(&q, &one);) {
		if (span_starts(one, "key=") ||
			(x->out.format != NULL && span_starts(one, "alt=")) ||
			(span_starts(one, "api-version=") && !provider_is_azure(x->out.provider)))
			continue;
		if (out->len > 0)
			bytes_add(out, "&", 1);
		bytes_add(out, one.at, one.len);
	}
	return bytes_span(out);
}

/* Behind the provider's root, with its own name of the model where that stands in the path. */
static const char *
path_to_ask(struct exchange *x, struct span rest)
{
	const char *root = x->match.endpoint->provider_path, *path = NULL;
	struct span model = x->match.model;
	struct bytes name = BYTES_LIMIT(URL_BYTES);
	size_t before;

	if (model.at == NULL || rest.at == NULL || model.at < rest.at ||
		model.at + model.len > rest.at + rest.len ||
		strcmp(x->out.model, x->path_model) == 0)
		return arena_printf(
			x->arena, "%s%.*s", root, (int)rest.len, rest.at == NULL ? "" : rest.at);
	before = (size_t)(model.at - rest.at);
	if (auth_escape(span_of(x->out.model), &name) == 0)
		path = arena_printf(x->arena, "%s%.*s%.*s%.*s", root, (int)before, rest.at,
			(int)name.len, name.at, (int)(rest.len - before - model.len),
			model.at + model.len);
	bytes_free(&name);
	return path;
}

static const char *
make_url(struct exchange *x, const struct upstream *u)
{
	struct bytes url = BYTES_LIMIT(WEB_HEADERS_BYTES + URL_BYTES),
		     query = BYTES_LIMIT(WEB_HEADERS_BYTES);
	struct endpoint_match *m = &x->match;
	bool azure = m->endpoint->shape == SHAPE_AZURE;
	struct span rest = azure ? m->action : m->rest;
	struct provider_call call = { .format = x->out.format,
		.model = azure || x->out.format != NULL ? span_of(x->out.model) : SPAN_NONE,
		.stream = x->ask.stream,
		.array = !x->out.converted && translate_to_array(x),
		.query = query_to_pass(x, &query) };
	const char *copy = NULL, *path = path_to_ask(x, rest);

	if (call.format == NULL && endpoint_dialect(m) == DIALECT_OPENAI)
		call.model = span_of(x->out.model); /* Azure's own paths name it */
	call.path = span_of(path);
	if (path != NULL && !query.failed &&
		provider_url(x->out.provider, u->base_url, &call, &url) == 0)
		copy = arena_strndup(x->arena, url.at, url.len);
	bytes_free(&url);
	bytes_free(&query);
	return copy;
}

/* ---- what comes back ---- */

static void
send_bytes(struct exchange *x, const char *data, size_t len)
{
	if (len == 0 || x->gone)
		return;
	if (!x->head_sent)
		answer_stream_head(x);
	x->content_sent = true;
	x->wrote_ms = (int64_t)uv_now(&x->gw->loop);
	board_count(x->gw->board, COUNT_BYTES_OUT, (int64_t)len);
	x->sent_bytes += (int64_t)len;
	atomic_store_explicit(&x->note->bytes, x->sent_bytes, memory_order_relaxed);
	if (!web_write(x->request, data, len))
		x->full = true;
}

void
attempt_show(struct exchange *x)
{
	if (!x->holding)
		return;
	x->holding = false;
	if (!x->head_sent && !x->gone)
		answer_stream_head(x);
	x->content_sent = true;
	send_bytes(x, x->early.at, x->early.len);
	bytes_free(&x->early);
}

/* Towards the client, or to those that wait for something to show; beyond the ceiling they all go. */
static void
send_or_hold(struct exchange *x, const char *data, size_t len)
{
	if (x->holding && bytes_add(&x->early, data, len) == 0)
		return;
	attempt_show(x);
	send_bytes(x, data, len);
}

void
attempt_pass_event(void *ctx, const char *data, size_t len, bool last)
{
	struct exchange *x = ctx;

	/* past the ceiling the rest of a stream's end goes out unbooked rather than not at all */
	if (last && !x->held.failed && bytes_add(&x->held, data, len) == 0)
		return;
	if (x->held.len > 0) {
		send_or_hold(x, x->held.at, x->held.len);
		bytes_drop(&x->held, x->held.len);
	}
	send_or_hold(x, data, len);
}

/* The newest piece waits for the next one, the last one for the books. */
static void
pass_piece(struct exchange *x, const char *data, size_t len)
{
	if (x->held.len > 0) {
		send_bytes(x, x->held.at, x->held.len);
		bytes_drop(&x->held, x->held.len);
	}
	if (bytes_add(&x->held, data, len) != 0)
		send_bytes(x, data, len);
	/* usage stands near the end of a long JSON answer */
	if (len >= TAIL_BYTES) {
		bytes_drop(&x->answer, x->answer.len);
		bytes_add(&x->answer, data + len - TAIL_BYTES, TAIL_BYTES);
		return;
	}
	if (x->answer.len + len > TAIL_BYTES)
		bytes_drop(&x->answer, x->answer.len + len - TAIL_BYTES);
	bytes_add(&x->answer, data, len);
}

/* Too long to be held: it goes out, and its memory is given back, as a slow client may take hours.
 */
static void
pass_whole(struct exchange *x)
{
	char tail[TAIL_BYTES];
	size_t len = x->answer.len < sizeof tail ? x->answer.len : sizeof tail;

	send_bytes(x, x->answer.at, x->answer.len);
	if (len > 0)
		memcpy(tail, x->answer.at + x->answer.len - len, len);
	bytes_free(&x->answer);
	bytes_add(&x->answer, tail, len);
}

static bool
type_is(struct span type, const char *name)
{
	size_t len = strlen(name);

	return type.len >= len && span_is_nocase((struct span){ type.at, len }, name);
}

/* The address of an upload, as the provider gave it, at this gateway: what the client sends there is to
 * come by here too.  NULL: it is none that leads back, and is not told. */
static const char *
upload_address(struct exchange *x, struct span theirs)
{
	const char *scheme = memmem(theirs.at, theirs.len, "://", 3), *path, *mark, *copy = NULL;
	const char *end = theirs.at + theirs.len;
	struct span mount = x->match.mount, host = web_header(x->request, "host"), query;
	struct bytes out = BYTES_LIMIT(URL_BYTES + WEB_HEADERS_BYTES);

	if (scheme == NULL || host.len == 0)
		return NULL;
	path = memchr(scheme + 3, '/', (size_t)(end - scheme - 3));
	if (path == NULL || !span_starts((struct span){ path, (size_t)(end - path) }, "/upload/"))
		return NULL;
	mark = memchr(path, '?', (size_t)(end - path));
	mark = mark == NULL ? end : mark + 1;
	query = (struct span){ mark, (size_t)(end - mark) };
	bytes_printf(&out, "%s://%.*s%.*s%.*s", web_is_https(x->request) ? "https" : "http",
		(int)host.len, host.at, (int)mount.len, mount.at, (int)(mark - path), path);
	for (struct span one; next_parameter(&query, &one);)
		if (!span_starts(one, "key="))
			bytes_printf(&out, "%.*s&", (int)one.len, one.at);
	if (!out.failed && (out.at[out.len - 1] == '&' || out.at[out.len - 1] == '?'))
		out.len--;
	if (!out.failed)
		copy = arena_strndup(x->arena, out.at, out.len);
	bytes_free(&out);
	return copy;
}

/* interfaces.md, "Towards the client": content and retry headers, and what a dialect's SDKs go by; type
 * and length are made anew. */
static const struct kept_header {
	const char *name;
	int dialect; /* of the caller; -1: any */
	bool is_upload_address;
} kept_headers[] = {
	{ "content-encoding", -1, false },
	{ "content-disposition", -1, false },
	{ "content-language", -1, false },
	{ "content-range", -1, false },
	{ "retry-after", -1, false },
	{ "retry-after-ms", -1, false },
	{ "x-amzn-errortype", DIALECT_BEDROCK, false },
	{ "x-goog-upload-status", DIALECT_GEMINI, false },
	{ "x-goog-upload-size-received", DIALECT_GEMINI, false },
	{ "x-goog-upload-chunk-granularity", DIALECT_GEMINI, false },
	{ "x-goog-upload-url", DIALECT_GEMINI, true },
	{ "x-goog-upload-control-url", DIALECT_GEMINI, true },
};

static bool
keep_header(void *ctx, struct span name, struct span value)
{
	struct exchange *x = ctx;

	for (size_t i = 0; i < sizeof kept_headers / sizeof kept_headers[0]; i++) {
		const struct kept_header *k = &kept_headers[i];
		const char *copy;

		if (!span_is_nocase(name, k->name) || x->passed_count == PASSED_HEADERS_MAX ||
			(k->dialect >= 0 &&
				(enum dialect)k->dialect != endpoint_dialect(&x->match)))
			continue;
		copy = k->is_upload_address ? upload_address(x, value)
					    : arena_strndup(x->arena, value.at, value.len);
		if (copy != NULL)
			x->passed[x->passed_count++] = (struct web_head_line){ k->name, copy };
	}
	return true;
}

static bool
is_stream_type(struct span type)
{
	return type_is(type, "text/event-stream") ||
	       type_is(type, "application/vnd.amazon.eventstream");
}

static enum answer_mode
mode_of(const struct exchange *x, const struct forward_head *head)
{
	bool json = type_is(head->content_type, "application/json");

	if (head->status >= 400)
		return ANSWER_ERROR;
	/* events for who waits for one answer: nothing can be made of them, and that is told */
	if (is_stream_type(head->content_type) && x->out.converted && !x->ask.stream)
		return ANSWER_WHOLE;
	if (is_stream_type(head->content_type))
		return x->is_count || (x->out.format == NULL &&
					      endpoint_dialect(&x->match) != DIALECT_OPENAI)
			       ? ANSWER_BYTES
			       : ANSWER_EVENTS;
	if (json && x->ask.stream && x->out.format == format_of(FORMAT_GEMINI))
		return ANSWER_EVENTS; /* one array, element by element */
	/* where a heartbeat has promised events nothing else can go out as it is */
	if (x->head_sent && !x->out.converted)
		return ANSWER_ERROR;
	/* of a conversation whatever comes is looked at before it counts as an answer */
	return json || x->out.format != NULL ? ANSWER_WHOLE : ANSWER_BYTES;
}

/* What the client is told that it gets: its own format's type, where it is converted. */
static void
name_type(struct exchange *x, const struct forward_head *head)
{
	if (x->head_sent)
		return;
	x->answer_status = head->status;
	if (!x->out.converted || x->mode == ANSWER_ERROR)
		span_copy(head->content_type, x->content_type, sizeof x->content_type);
	else if (!x->ask.stream || translate_to_array(x))
		span_copy(span_of("application/json"), x->content_type, sizeof x->content_type);
	else
		span_copy(span_of(x->match.format->stream_type), x->content_type,
			sizeof x->content_type);
}

static int
open_passage(struct exchange *x)
{
	struct passage_options o = { .from = x->out.format,
		.to = x->match.format,
		.endpoint = x->plain_path,
		.hide_usage = x->ask.stream && !x->ask.wants_usage,
		.may_stop = x->guard.count > 0,
		.reply = translate_reply_options(x),
		.choices = x->ask.choices };

	signed_begin(x);
	o.see = x->signatures == NULL ? NULL : signed_see;
	o.ctx = x;
	if (x->out.format == NULL)
		o.from = o.to = NULL; /* of OpenAI's other streams */
	board_count(x->gw->board, COUNT_STREAMS, 1);
	return passage_init(&x->passage, &o);
}

/* From an answer's head on: nothing goes out before there is something to show. */
static void
begin_hold(struct exchange *x, const struct forward_head *head)
{
	const struct route *r = x->plan.route;
	int64_t now_ms = (int64_t)uv_now(&x->gw->loop);
	int64_t left_ms = x->first_byte_ms - head->waited_ms;

	x->holding = true;
	x->content_due_ms =
		x->first_byte_ms <= 0 ? INT64_MAX : now_ms + (left_ms > 0 ? left_ms : 0);
	if (r != NULL && r->slow_chars_s > 0 && r->slow_after_ms > 0)
		x->judged_ms = now_ms + r->slow_after_ms;
}

static void
on_head(void *ctx, const struct forward_head *head)
{
	struct exchange *x = ctx;

	x->passed_count = 0;
	(void)forward_each_response_header(head->call, keep_header, x);
	x->mode = mode_of(x, head);
	name_type(x, head);
	x->answer.limit =
		x->mode == ANSWER_WHOLE && x->out.converted ? CONVERT_REPLY_MAX : ANSWER_HOLD_BYTES;
	if (x->mode != ANSWER_EVENTS &&
		!(x->mode == ANSWER_WHOLE && x->out.converted && x->ask.stream))
		return;
	if (open_passage(x) != 0) {
		x->mode = ANSWER_ERROR;
		forward_cancel(x->call);
		return;
	}
	begin_hold(x, head);
}

/* The provider of a stream has something to show, or it has failed before it had. */
static void
judge_hold(struct exchange *x)
{
	const struct passage *p = &x->passage;

	if (!x->holding)
		return;
	if (p->content && x->content_us == 0)
		x->content_us = clock_mono_us();
	if (x->guard.stopped || (p->content && x->judged_ms == 0))
		attempt_show(x);
	else if (p->failed)
		forward_cancel(x->call);
}

/* So many characters a second, from the answer's first byte on, or another one is asked. */
static bool
is_too_slow(const struct exchange *x)
{
	const struct route *r = x->plan.route;

	return r != NULL && x->passage.output_chars * 1000 < r->slow_chars_s * r->slow_after_ms;
}

void
attempt_tick(struct exchange *x, int64_t now_ms)
{
	if (x->judged_ms != 0 && now_ms >= x->judged_ms) {
		x->judged_ms = 0;
		x->failure = FAILURE_TRANSIENT;
		x->is_slow = is_too_slow(x) && walk_could_go_on(x);
		if (!x->is_slow && x->passage.content)
			attempt_show(x);
	}
	if (!x->holding || x->mode != ANSWER_EVENTS)
		return;
	x->stalled = !x->passage.content && now_ms >= x->content_due_ms;
	if (x->stalled || x->is_slow)
		forward_cancel(x->call);
}

static bool
on_data(void *ctx, const char *data, size_t len)
{
	struct exchange *x = ctx;

	switch (x->mode) {
	case ANSWER_NONE:
	case ANSWER_ERROR:
		if (x->answer.len < ERROR_BODY_BYTES)
			bytes_add(&x->answer, data,
				len < ERROR_BODY_BYTES - x->answer.len
					? len
					: ERROR_BODY_BYTES - x->answer.len);
		return true;
	case ANSWER_WHOLE:
		if (x->answer.len + len <= x->answer.limit) {
			bytes_add(&x->answer, data, len);
			return true;
		}
		if (x->out.converted) { /* judge_whole() tells */
			x->answer.failed = true;
			return true;
		}
		x->mode = ANSWER_BYTES;
		pass_whole(x);
		pass_piece(x, data, len);
		return true;
	case ANSWER_EVENTS:
		if (x->full || guard_rests(x))
			return false;
		if (guard_feed(x, data, len, attempt_pass_event) != 0)
			forward_cancel(x->call);
		judge_hold(x);
		atomic_store_explicit(
			&x->note->output_chars, x->passage.output_chars, memory_order_relaxed);
		if (x->passage.done && x->done_ms == 0)
			x->done_ms = (int64_t)uv_now(&x->gw->loop);
		return true;
	case ANSWER_BYTES:
		if (x->full)
			return false;
		pass_piece(x, data, len);
		return true;
	}
	return true;
}

static void
on_end(void *ctx, const struct forward_end *end)
{
	struct exchange *x = ctx;

	x->end = *end;
	x->ended = true;
	if (end->sent_any)
		x->sent = true;
	if (x->mode == ANSWER_EVENTS && !x->guard.stopped)
		(void)passage_end(&x->passage, attempt_pass_event, x);
	if (end->first_byte_us > 0)
		x->first_byte_us =
			clock_mono_us() - x->began_us - end->total_us + end->first_byte_us;
	judge_attempt(x);
	x->call = NULL;
	exchange_run(x);
}

/* The lease's note follows, so that a crash is charged to the right key at the right price. */
static void
tell_note(struct exchange *x, const struct route_candidate *c)
{
	struct settle_note *n = x->note;
	struct price_rates rates;
	bool priced = price_rates(&x->price[x->asked], x->ask.input_estimate, &rates);

	span_copy(span_of(x->out.model), x->row.upstream_model, sizeof x->row.upstream_model);
	memcpy(n->row.upstream_model, x->row.upstream_model, sizeof n->row.upstream_model);
	x->row.upstream = c->upstream->head.id;
	x->row.key = c->key == NULL ? ID_NONE : c->key->id;
	n->row.upstream = x->row.upstream;
	n->row.key = x->row.key;
	n->priced = priced || x->ask.model[0] == '\0';
	n->input_nusd = rates.input_nusd;
	n->output_nusd = rates.output_nusd;
	n->request_nusd = rates.request_nusd;
	atomic_store_explicit(&n->output_chars, 0, memory_order_relaxed);
	n->sent = 1;
}

int
attempt_start(struct exchange *x)
{
	const struct conf *conf = &x->gw->conf;
	const struct route_candidate *c = walk_candidate(x);
	const struct upstream *u = c->upstream;
	struct header_list l = { .arena = x->arena, .upstream = u };
	struct forward_sink sink = { x, on_head, on_data, on_end };
	struct forward_request q = { 0 };

	if (translate_request(x) != 0)
		return -1;
	l.converted = x->out.converted;
	l.dialect = x->out.provider->dialect;
	web_each_header(x->request, pass_header, &l);
	add_made(&l, &x->out.made);
	add_extra(&l);
	add_ruled(&l, x->plan.route);
	q.method = web_method(x->request);
	q.url = make_url(x, u);
	if (q.url == NULL)
		return err_set(
			&x->err, ERR_MEMORY, "no memory for the address of upstream %s", u->name);
	q.headers = l.line;
	q.body = x->out.body;
	q.body_fd = -1;
	q.has_body = x->out.body.len > 0 || strcmp(q.method, "POST") == 0;
	q.connect_ms = u->connect_ms > 0 ? u->connect_ms : conf->connect_timeout_ms;
	q.first_byte_ms = u->first_byte_ms > 0 ? u->first_byte_ms : conf->first_byte_timeout_ms;
	q.idle_ms = u->idle_ms > 0 ? u->idle_ms : conf->idle_timeout_ms;
	q.total_ms = u->total_ms > 0 ? u->total_ms : conf->total_timeout_ms;
	q.http2 = u->http2 || conf->http2;
	credential_way(&q, u);
	if (credential_add(x, &l, &q) != 0)
		return -1;
	q.header_count = l.count;

	x->ended = false;
	x->mode = ANSWER_NONE;
	bytes_free(&x->answer);
	bytes_drop(&x->held, x->held.len);
	bytes_drop(&x->early, x->early.len);
	x->early.failed = x->held.failed = false;
	x->holding = x->stalled = x->is_slow = false;
	x->judged_ms = x->content_us = x->done_ms = 0;
	x->passed_count = 0;
	x->reply_usage = WIRE_USAGE_NONE;
	x->first_byte_ms = q.first_byte_ms;
	passage_free(&x->passage);
	signed_forget(x);
	if (x->wrote_ms == 0)
		x->wrote_ms = (int64_t)uv_now(&x->gw->loop);
	tell_note(x, c);
	board_count(x->gw->board, COUNT_ATTEMPTS, 1);
	x->call = forward_start(x->gw->forward, &q, &sink, &x->err);
	return x->call == NULL ? -1 : 0;
}
