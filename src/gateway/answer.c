/*
 * answer.c - what the client is told: heads with our headers, errors in its dialect, our own lists.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/money.h"
#include "base/net.h"
#include "route/forecast.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINES_MAX      40
#define DROPPED_BYTES  1024
#define LIST_BYTES_MAX (16 << 20) /* LISTED_MAX models of OpenRouter's shape */
#define METRICS_BYTES  (16 << 20)
#define RETRY_AFTER_MAX                                                                            \
	60 /* seconds an SDK may be told to sleep; interfaces.md, Response headers */

struct lines {
	struct arena *arena;
	size_t count;
	struct web_head_line line[LINES_MAX];
};

static void
add(struct lines *l, const char *name, const char *value)
{
	if (l->count < LINES_MAX && value != NULL && value[0] != '\0')
		l->line[l->count++] = (struct web_head_line){ name, value };
}

static const char expose[] =
	"X-Request-Id, X-Sluice-Upstream, X-Sluice-Model, X-Sluice-Attempts, "
	"X-Sluice-Cost, X-Sluice-Dropped, X-Sluice-Resets-At, X-Sluice-Limit, Retry-After, "
	"X-Sluice-First-Request-Id, X-Sluice-First-Status, "
	"Server-Timing, "
	"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
	"x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
	"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";

/* For pages of other origins, where the settings or the project name them. */
static void
add_cors(struct lines *l, const struct gateway *gw, const struct web_request *r,
	const struct admit_caller *caller)
{
	struct span origin = web_header(r, "origin");
	bool named;

	if (origin.len == 0)
		return;
	named = gw->conf.cors_origins[0] != '\0' && glob_list_match(gw->conf.cors_origins, origin);
	if (!named && caller != NULL && caller->project.allowed_origins[0] != '\0')
		named = glob_list_match(caller->project.allowed_origins, origin);
	if (!named)
		return;
	add(l, "Access-Control-Allow-Origin", arena_strndup(l->arena, origin.at, origin.len));
	add(l, "Access-Control-Expose-Headers", expose);
	add(l, "Vary", "Origin");
}

/* How long to wait, in the form the caller's SDK survives. */
static void
add_retry(struct lines *l, const struct err *e)
{
	int64_t wait_ms;
	char when[CLOCK_TEXT_BYTES];

	/* SDKs try a 409 and a 503 again by themselves */
	if (e->code == ERR_REQUEST_REPEATED || e->code == ERR_CUT)
		add(l, "x-should-retry", "false");
	if (e->code != ERR_RATE_LIMITED && e->code != ERR_BUDGET_EXCEEDED &&
		e->code != ERR_NO_KEY_AVAILABLE && e->code != ERR_OVERLOADED)
		return;
	if (e->retry_boot_ms == 0) {
		if (e->code == ERR_RATE_LIMITED || e->code == ERR_BUDGET_EXCEEDED)
			add(l, "x-should-retry", "false");
		return;
	}
	wait_ms = e->retry_boot_ms - clock_boot_ms();
	if (wait_ms < 0)
		wait_ms = 0;
	if (wait_ms <= RETRY_AFTER_MAX * 1000) {
		add(l, "Retry-After", arena_printf(l->arena, "%" PRId64, (wait_ms + 999) / 1000));
		return;
	}
	clock_rfc3339(clock_wall_ms() + wait_ms, when);
	add(l, "x-should-retry", "false");
	add(l, "X-Sluice-Resets-At", arena_strdup(l->arena, when));
}

/* What rate headers speak of, as OpenAI's and as Anthropic's SDKs look for them. */
static const struct rate_kind {
	unsigned metrics; /* a bit for each enum limit_metric */
	const char *limit, *remaining, *reset;
} openai_rates[] = {
	{ 1u << METRIC_REQUESTS, "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
		"x-ratelimit-reset-requests" },
	{ 1u << METRIC_TOKENS | 1u << METRIC_INPUT_TOKENS | 1u << METRIC_OUTPUT_TOKENS,
		"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
		"x-ratelimit-reset-tokens" },
}, anthropic_rates[] = {
	{ 1u << METRIC_REQUESTS, "anthropic-ratelimit-requests-limit",
		"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset" },
	{ 1u << METRIC_TOKENS, "anthropic-ratelimit-tokens-limit",
		"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset" },
	{ 1u << METRIC_INPUT_TOKENS, "anthropic-ratelimit-input-tokens-limit",
		"anthropic-ratelimit-input-tokens-remaining",
		"anthropic-ratelimit-input-tokens-reset" },
	{ 1u << METRIC_OUTPUT_TOKENS, "anthropic-ratelimit-output-tokens-limit",
		"anthropic-ratelimit-output-tokens-remaining",
		"anthropic-ratelimit-output-tokens-reset" },
};

static int64_t
left_of(const struct admit_hold *h)
{
	return h->cap > h->used ? h->cap - h->used : 0;
}

/* The hard limit of those metrics that leaves least, or NULL. */
static const struct admit_hold *
tightest_of(const struct admit_pass *pass, unsigned metrics)
{
	const struct admit_hold *tightest = NULL;

	for (int i = 0; i < pass->count; i++) {
		const struct admit_hold *h = &pass->hold[i];

		if ((metrics >> h->metric & 1) != 0 && h->is_hard &&
			(tightest == NULL || left_of(h) < left_of(tightest)))
			tightest = h;
	}
	return tightest;
}

/* The tightest of the caller's limits; after a refusal that which refused. */
static void
add_limits(struct lines *l, const struct exchange *x)
{
	bool anthropic = endpoint_dialect(&x->match) == DIALECT_ANTHROPIC;
	const struct rate_kind *kinds = anthropic ? anthropic_rates : openai_rates;
	size_t count = anthropic ? sizeof anthropic_rates / sizeof anthropic_rates[0]
				 : sizeof openai_rates / sizeof openai_rates[0];

	for (size_t i = 0; i < count; i++) {
		const struct admit_hold *h = tightest_of(&x->pass, kinds[i].metrics);
		char when[CLOCK_TEXT_BYTES];
		int64_t wait_ms;

		if (h == NULL)
			continue;
		add(l, kinds[i].limit, arena_printf(l->arena, "%" PRId64, h->cap));
		add(l, kinds[i].remaining, arena_printf(l->arena, "%" PRId64, left_of(h)));
		if (h->resets_ms == INT64_MAX)
			continue;
		wait_ms = board_wait_ms(x->gw->board, h->resets_ms);
		if (anthropic)
			clock_rfc3339(clock_wall_ms() + wait_ms, when);
		else
			clock_duration(wait_ms, when);
		add(l, kinds[i].reset, arena_strdup(l->arena, when));
	}
}

/* The limit that refused the request, or the last of those that refused its candidates. */
static struct id
refusing_limit(const struct exchange *x)
{
	if (x->err.code != ERR_RATE_LIMITED && x->err.code != ERR_BUDGET_EXCEEDED &&
		x->err.code != ERR_EXCEEDS_LIMIT)
		return ID_NONE;
	if (x->note == NULL)
		return x->pass.count > 0 ? x->pass.hold[0].limit : ID_NONE;
	return !x->sent && x->attempt_err.code == x->err.code ? x->attempt.hold[0].limit : ID_NONE;
}

/* For programs; people read it in the sentence. */
static void
add_refusing(struct lines *l, const struct exchange *x)
{
	char id[ID_TEXT_BYTES];

	id_text("lim_", refusing_limit(x), id);
	add(l, "X-Sluice-Limit", id[0] == '\0' ? NULL : arena_strdup(l->arena, id));
}

/* Whose idempotency key it was. */
static void
add_first(struct lines *l, const struct exchange *x)
{
	char id[ID_TEXT_BYTES];

	if (id_is_none(x->pass.first))
		return;
	id_text("req_", x->pass.first, id);
	add(l, "X-Sluice-First-Request-Id", arena_strdup(l->arena, id));
	if (x->pass.status != 0)
		add(l, "X-Sluice-First-Status", arena_printf(l->arena, "%d", x->pass.status));
}

/* What conversion had to leave out. */
static void
add_dropped(struct lines *l, const struct exchange *x)
{
	char text[DROPPED_BYTES];

	if (x->out.lost.count == 0)
		return;
	losses_text(&x->out.lost, text, sizeof text);
	add(l, "X-Sluice-Dropped", arena_strdup(l->arena, text));
}

static void
add_common(struct lines *l, const struct exchange *x)
{
	add(l, "X-Request-Id", x->request_id);
	/* where the callers' SDKs look for it */
	if (endpoint_dialect(&x->match) == DIALECT_ANTHROPIC)
		add(l, "request-id", x->request_id);
	else if (endpoint_dialect(&x->match) == DIALECT_BEDROCK)
		add(l, "x-amzn-RequestId", x->request_id);
	add_cors(l, x->gw, x->request, x->known ? &x->caller : NULL);
	add_first(l, x);
	add_limits(l, x);
	add_refusing(l, x);
	if (x->note == NULL)
		return;
	if (x->candidate < x->plan.count)
		add(l, "X-Sluice-Upstream", walk_candidate(x)->upstream->name);
	add(l, "X-Sluice-Model", x->tries > 0 ? x->row.upstream_model : x->ask.model);
	add_dropped(l, x);
	add(l, "X-Sluice-Attempts", arena_printf(l->arena, "%d", x->tries));
	add(l, "X-Sluice-Upstream-Request-Id", x->row.upstream_request_id);
}

static void
add_passed(struct lines *l, const struct exchange *x)
{
	for (int i = 0; i < x->passed_count; i++)
		add(l, x->passed[i].name, x->passed[i].value);
}

/* Tenths of a millisecond, as Server-Timing shows them. */
static int64_t
tenths(int64_t us)
{
	return (us + 50) / 100;
}

static void
add_timing(struct lines *l, const struct exchange *x)
{
	int64_t admit = tenths(x->admitted_us - x->began_us), connect = tenths(x->end.connect_us);
	int64_t first = tenths(x->first_byte_us), queue = tenths(x->waiting.us);
	const char *waited = queue == 0 ? ""
					: arena_printf(l->arena, "queue;dur=%" PRId64 ".%d, ",
						  queue / 10, (int)(queue % 10));

	add(l, "Server-Timing",
		arena_printf(l->arena,
			"admit;dur=%" PRId64 ".%d, %sconnect;dur=%" PRId64 ".%d, ttfb;dur=%" PRId64
			".%d",
			admit / 10, (int)(admit % 10), waited == NULL ? "" : waited, connect / 10,
			(int)(connect % 10), first / 10, (int)(first % 10)));
}

void
answer_stream_head(struct exchange *x)
{
	struct lines l = { .arena = x->arena };

	add(&l, "Content-Type", x->content_type);
	add(&l, "Cache-Control", "no-cache");
	add(&l, "X-Accel-Buffering", "no");
	add_common(&l, x);
	add_passed(&l, x);
	x->head_sent = true;
	x->is_events = strncasecmp(x->content_type, "text/event-stream", 17) == 0 ||
		       strcasecmp(x->content_type, "application/vnd.amazon.eventstream") == 0;
	web_head(x->request, x->answer_status, l.line, l.count);
}

/* ---- errors ---- */

/* Bedrock's SDK knows an exception by a header. */
static void
add_error_type(struct lines *l, enum dialect d, const struct err *e)
{
	if (d == DIALECT_BEDROCK)
		add(l, "x-amzn-ErrorType", error_type(d, e->code));
}

static void
say(struct bytes *out, enum dialect d, const struct err *e, const char *request_id)
{
	if (error_body(d, e, request_id, out) != 0)
		bytes_free(out);
}

const char *
answer_error_body(void *ctx, const struct web_request *r, const struct err *why, struct bytes *out)
{
	struct gateway *gw = ctx;
	struct endpoint_match m = { 0 };
	enum dialect d = DIALECT_OPENAI;

	if (endpoint_find(web_method(r), web_path(r), gw->conf.proxy_prefix, &m) != 404) {
		endpoint_see_version(&m, web_header(r, "anthropic-version"));
		d = endpoint_dialect(&m);
	}
	say(out, d, why, "");
	return "application/json";
}

int64_t
answer_body_limit(void *ctx, const char *method, struct span path)
{
	struct gateway *gw = ctx;
	struct endpoint_match m = { 0 };

	if (endpoint_find(method, path, gw->conf.proxy_prefix, &m) == 200 && m.endpoint->upload)
		return gw->conf.upload_limit_bytes;
	return gw->conf.body_limit_bytes;
}

/* ---- the end of an exchange [loop] ---- */

static void
finish_error(struct exchange *x, struct lines *l)
{
	enum dialect d = endpoint_dialect(&x->match);
	struct bytes body = BYTES_LIMIT(8192);

	if (x->head_sent) {
		if (x->is_events) {
			/* an event that was begun is over, so that ours is one */
			if (d != DIALECT_BEDROCK && !x->holding && passage_in_event(&x->passage))
				web_write(x->request, "\n\n", 2);
			if (error_event(d, &x->err, x->request_id, &body) == 0)
				web_write(x->request, body.at, body.len);
			bytes_free(&body);
			web_reply_end(x->request, false);
			return;
		}
		web_reply_end(x->request, true);
		return;
	}
	say(&body, d, &x->err, x->request_id);
	listing_add_detail(&x->match, x->snapshot, &x->err, &body);
	add_common(l, x);
	add_error_type(l, d, &x->err);
	add_retry(l, &x->err);
	web_reply(x->request, error_status(d, x->err.code), "application/json", l->line, l->count,
		bytes_span(&body));
	bytes_free(&body);
}

/* An answer that was read whole before its head went out, so that this can tell the cost. */
static void
finish_whole(struct exchange *x, struct lines *l)
{
	char cost[MONEY_TEXT_BYTES];

	add_common(l, x);
	add_passed(l, x);
	add_timing(l, x);
	if (x->row.cost_nusd != COST_UNKNOWN) {
		money_text(x->row.cost_nusd, cost);
		add(l, "X-Sluice-Cost", arena_strdup(l->arena, cost));
	}
	web_reply(x->request, x->answer_status, x->content_type, l->line, l->count,
		bytes_span(&x->answer));
}

void
answer_finish(struct exchange *x)
{
	struct lines l = { .arena = x->arena };
	bool cut = false;

	if (x->err.code != ERR_NONE && x->err.code != ERR_CLIENT_GONE) {
		board_count(x->gw->board, x->note == NULL ? COUNT_REFUSED : COUNT_FAILED, 1);
		finish_error(x, &l);
		return;
	}
	if (x->gone) {
		web_reply_end(x->request, true);
		return;
	}
	if (!x->head_sent && (x->mode == ANSWER_WHOLE || x->mode == ANSWER_ERROR)) {
		finish_whole(x, &l);
		return;
	}
	if (!x->head_sent)
		answer_stream_head(x);
	if (x->held.len > 0)
		web_write(x->request, x->held.at, x->held.len);
	cut = x->end.outcome != FORWARD_DONE;
	web_reply_end(x->request, cut);
}

/* ---- our own answers [intake] ---- */

void
answer_quote(struct exchange *x)
{
	struct lines l = { .arena = x->arena };

	add_common(&l, x);
	add(&l, "X-Sluice-Dry-Run", "1");
	web_answer(x->request, 200, "application/json", l.line, l.count, bytes_span(&x->quote));
}

static void
answer_error(struct exchange *x)
{
	struct lines l = { .arena = x->arena };
	struct bytes body = BYTES_LIMIT(8192);
	enum dialect d = endpoint_dialect(&x->match);

	board_count(x->gw->board, COUNT_REFUSED, 1);
	say(&body, d, &x->err, x->request_id);
	listing_add_detail(&x->match, x->snapshot, &x->err, &body);
	add_common(&l, x);
	add_error_type(&l, d, &x->err);
	add_retry(&l, &x->err);
	web_answer(x->request, error_status(d, x->err.code), "application/json", l.line, l.count,
		bytes_span(&body));
	bytes_free(&body);
}

/* An estimate, where the provider that would answer cannot count in the caller's dialect. */
static void
put_count(const struct exchange *x, struct bytes *out)
{
	enum dialect d = endpoint_dialect(&x->match);

	bytes_printf(out, "{\"%s\":%" PRId64 "}",
		d == DIALECT_ANTHROPIC ? "input_tokens"
		: d == DIALECT_GEMINI  ? "totalTokens"
				       : "inputTokens",
		x->ask.input_estimate);
}

void
answer_now(struct exchange *x)
{
	struct lines l = { .arena = x->arena };
	struct bytes out = BYTES_LIMIT(LIST_BYTES_MAX);
	int rc = x->err.code == ERR_NONE ? 0 : -1;

	if (rc == 0) {
		switch (x->match.kind) {
		case ENDPOINT_UPSTREAMS:
			listing_upstreams(x, &out);
			break;
		case ENDPOINT_PROVIDERS:
			listing_providers(x, &out);
			break;
		case ENDPOINT_MODEL:
		case ENDPOINT_PLACES:
			rc = listing_model(x, &out);
			break;
		case ENDPOINT_KEY:
			listing_token(x, &out);
			break;
		case ENDPOINT_KEYS:
			listing_tokens(x, &out);
			break;
		case ENDPOINT_CREDITS:
			listing_credits(x, &out);
			break;
		case ENDPOINT_COUNT:
			put_count(x, &out);
			break;
		default:
			rc = listing_models(x, &out);
			break;
		}
	}
	if (rc != 0) {
		bytes_free(&out);
		answer_error(x);
		return;
	}
	add_common(&l, x);
	web_answer(x->request, 200, "application/json", l.line, l.count, bytes_span(&out));
	bytes_free(&out);
}

/* Browsers ask beforehand, without a token. */
static void
answer_options(struct gateway *gw, struct web_request *r)
{
	struct lines l = { .arena = web_arena(r) };
	struct span wanted = web_header(r, "access-control-request-headers");

	add_cors(&l, gw, r, NULL);
	if (l.count > 0) {
		add(&l, "Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS");
		if (wanted.len > 0 && wanted.len < 512)
			add(&l, "Access-Control-Allow-Headers",
				arena_strndup(l.arena, wanted.at, wanted.len));
		add(&l, "Access-Control-Max-Age",
			arena_printf(l.arena, "%" PRId64, gw->conf.cors_max_age_ms / 1000));
	}
	web_answer(r, 204, NULL, l.line, l.count, SPAN_NONE);
}

/* A label's value: what would end it is left out. */
static void
put_label(struct bytes *out, const char *name, const char *value)
{
	bytes_printf(out, "%s=\"", name);
	for (; *value != '\0'; value++)
		if (*value != '"' && *value != '\\' && (unsigned char)*value >= ' ')
			bytes_add(out, value, 1);
	bytes_puts(out, "\"");
}

/* One gauge of all quotas that are known: what is left, in how many seconds it runs dry (or did), how
 * far off that may be, in seconds. */
enum gauge { GAUGE_LEFT, GAUGE_DRY, GAUGE_SPREAD };

static int64_t
value_of(const struct forecast_quota *q, enum gauge gauge, int64_t now_ms)
{
	if (gauge == GAUGE_LEFT)
		return q->remaining;
	if (q->dry_ms == 0)
		return -1;
	if (gauge == GAUGE_SPREAD)
		return (q->spread_ms + 999) / 1000;
	return q->dry_ms > now_ms ? (q->dry_ms - now_ms) / 1000 : 0;
}

static void
put_quotas(struct gateway *gw, struct bytes *out, enum gauge gauge)
{
	static const char *const names[] = { "quota_remaining", "runs_dry_seconds",
		"runs_dry_spread_seconds" };
	int64_t now_ms = board_now_ms(gw->board);
	struct forecast_quota quota[24];
	char text[ID_TEXT_BYTES];
	bool is_upstream;
	struct id key;

	for (int n = 0; n < BOARD_QUOTAS && !out->failed; n++) {
		int count = !forecast_key_at(gw->board, n, &key, &is_upstream)
				    ? 0
				    : forecast_quotas(gw->board, key, quota, 24);

		for (int i = 0; i < count; i++) {
			const struct forecast_quota *q = &quota[i];
			int64_t value = value_of(q, gauge, now_ms);

			if (value < 0)
				continue;
			id_text(is_upstream ? "up_" : "key_", key, text);
			bytes_printf(out,
				"sluice_key_%s{key=\"%s\",quota=\"%s\",seconds=\"%" PRId64 "\",",
				names[gauge], text, quota_unit_name(q->unit), q->length_ms / 1000);
			put_label(out, "model", q->model);
			bytes_printf(out, "} %" PRId64 "\n", value);
		}
	}
}

/* Prometheus' text format, version 0.0.4: counts of all processes since the board was made. */
static void
answer_metrics(struct gateway *gw, struct web_request *r)
{
	static const struct {
		enum board_count count;
		const char *name, *help;
	} counts[] = {
		{ COUNT_EXCHANGES, "requests_total", "requests that came" },
		{ COUNT_REFUSED, "refused_total", "requests refused before a provider was asked" },
		{ COUNT_FAILED, "failed_total", "requests that no provider answered" },
		{ COUNT_ATTEMPTS, "attempts_total", "calls of providers" },
		{ COUNT_STREAMS, "streams_total", "answers streamed as events" },
		{ COUNT_CLIENT_GONE, "client_gone_total", "clients that left early" },
		{ COUNT_REAPED, "reaped_total", "exchanges settled for dead processes" },
		{ COUNT_QUEUE_REFUSED, "queue_refused_total",
			"requests for which too many waited already" },
		{ COUNT_BYTES_IN, "received_bytes_total", "bytes of request bodies" },
		{ COUNT_BYTES_OUT, "streamed_bytes_total", "bytes streamed to clients" },
	};
	struct bytes out = BYTES_LIMIT(METRICS_BYTES);
	struct board_health health;
	int64_t waited_ms;

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		bytes_printf(&out,
			"# HELP sluice_%s %s\n# TYPE sluice_%s counter\nsluice_%s %" PRId64 "\n",
			counts[i].name, counts[i].help, counts[i].name, counts[i].name,
			board_counted(gw->board, counts[i].count));
	board_health(gw->board, &health);
	bytes_printf(&out,
		"# HELP sluice_inflight exchanges under way\n# TYPE sluice_inflight gauge\n"
		"sluice_inflight %" PRId64 "\n"
		"# HELP sluice_counters rows of limits on the board\n# TYPE sluice_counters gauge\n"
		"sluice_counters %" PRId64 "\n",
		health.leases_used, health.rows_used);
	waited_ms = board_counted(gw->board, COUNT_QUEUED_MS);
	bytes_printf(&out,
		"# HELP sluice_queue_waiting requests that wait for their turn\n"
		"# TYPE sluice_queue_waiting gauge\nsluice_queue_waiting %d\n"
		"# HELP sluice_queue_wait_seconds how long requests waited for their turn\n"
		"# TYPE sluice_queue_wait_seconds summary\n"
		"sluice_queue_wait_seconds_sum %" PRId64 ".%03d\n"
		"sluice_queue_wait_seconds_count %" PRId64 "\n",
		board_waiting(gw->board, NULL, 0), waited_ms / 1000, (int)(waited_ms % 1000),
		board_counted(gw->board, COUNT_QUEUED));
	listing_key_gauges(gw, &out);
	bytes_puts(&out,
		"# HELP sluice_key_quota_remaining what is left of a provider key's quota\n"
		"# TYPE sluice_key_quota_remaining gauge\n");
	put_quotas(gw, &out, GAUGE_LEFT);
	bytes_puts(&out,
		"# HELP sluice_key_runs_dry_seconds until a quota is used up before its reset\n"
		"# TYPE sluice_key_runs_dry_seconds gauge\n");
	put_quotas(gw, &out, GAUGE_DRY);
	bytes_puts(&out, "# HELP sluice_key_runs_dry_spread_seconds how far off that may be, 19 "
			 "times of 20\n"
			 "# TYPE sluice_key_runs_dry_spread_seconds gauge\n");
	put_quotas(gw, &out, GAUGE_SPREAD);
	web_answer(r, 200, "text/plain; version=0.0.4", NULL, 0, bytes_span(&out));
	bytes_free(&out);
}

void
answer_plain(struct gateway *gw, struct web_request *r, int found, const struct endpoint_match *m)
{
	struct bytes body = BYTES_LIMIT(8192);
	struct err err = { 0 };
	char request_id[ID_TEXT_BYTES];
	struct web_head_line line = { "X-Request-Id", request_id };
	enum dialect d = found == 404 ? DIALECT_OPENAI : endpoint_dialect(m);

	id_text("req_", id_timed(clock_wall_ms()), request_id);
	if (strcmp(web_method(r), "OPTIONS") == 0) {
		answer_options(gw, r);
		return;
	}
	if (found == 200 && m->kind == ENDPOINT_HEALTH) {
		web_answer(r, 200, "application/json", &line, 1,
			SPAN_LIT("{\"status\":\"ok\",\"version\":\"" SLUICE_VERSION "\"}"));
		return;
	}
	if (found == 200 && m->kind == ENDPOINT_SINK) {
		web_answer(r, 200, "application/json", &line, 1, SPAN_LIT("{}"));
		return;
	}
	if (found == 200 && m->kind == ENDPOINT_METRICS) {
		if (gw->conf.metrics_open ||
			net_in_list(gw->conf.metrics_addresses, web_address(r))) {
			answer_metrics(gw, r);
			return;
		}
		err_set(&err, ERR_FORBIDDEN, "metrics for %s", web_address(r));
		err_say(&err, "The settings metrics_addresses and metrics_open say who sees this.");
	} else if (found == 200)
		err_set(&err, ERR_MEMORY, "no memory for an exchange");
	else
		err_set(&err, found == 405 ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND, "%s %.*s",
			web_method(r), (int)web_path(r).len, web_path(r).at);
	say(&body, d, &err, request_id);
	web_answer(r, error_status(d, err.code), "application/json", &line, 1, bytes_span(&body));
	bytes_free(&body);
}
