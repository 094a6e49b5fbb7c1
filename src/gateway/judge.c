/*
 * judge.c - what an attempt's end means: for the client, for who is asked next, and for the key, the
 * provider and their account.
 *
 * Before anything was shown to the client all is open: an error, silence, an end without content lead to
 * the next candidate.  Afterwards what came counts.  [loop]
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

static struct span
response_header(const struct exchange *x, const char *name)
{
	return x->call == NULL ? SPAN_NONE : forward_response_header(x->call, name);
}

/* The provider's words that tell of a failure. */
static struct span
evidence_of(const struct exchange *x)
{
	return x->passage.evidence.len > 0 ? x->passage.evidence : bytes_span(&x->answer);
}

/* To the first content; of an answer that came whole, to its head. */
static int64_t
ttft_us(const struct exchange *x)
{
	if (x->failure != FAILURE_NONE)
		return 0;
	return x->content_us > 0 ? x->content_us - x->try_us : x->end.first_byte_us;
}

/* Could the same request be made of another provider without being done twice? */
static bool
may_repeat(const struct exchange *x)
{
	const char *method = web_method(x->request);

	return !x->end.sent_any || x->out.format != NULL || x->is_count ||
	       openai_needs_model(x->plain_path) || strcmp(method, "GET") == 0 ||
	       strcmp(method, "HEAD") == 0;
}

static bool
is_timeout(const struct exchange *x)
{
	return x->end.outcome == FORWARD_TIMEOUT_FIRST_BYTE ||
	       x->end.outcome == FORWARD_TIMEOUT_IDLE || x->end.outcome == FORWARD_TIMEOUT_TOTAL;
}

#define LISTS_MAX 16 /* of rules that one attempt goes by */

static struct span
header_of(void *ctx, const char *name)
{
	return response_header(ctx, name);
}

/* By the operator's rules: of the route, then of the upstream, then of policies, the narrowest first. */
static void
apply_rules(struct exchange *x, enum failure failure, struct span body)
{
	const struct route_candidate *c = &x->plan.candidate[x->asked];
	const char *lists[LISTS_MAX];
	char words[320];
	struct failure_seen seen = { .failure = failure,
		.status = x->end.status,
		.type = span_of(failure_words(body, words, sizeof words)),
		.body = body,
		.is_timeout = is_timeout(x),
		.is_connect = x->end.status == 0 && !x->end.sent_any,
		.is_empty = x->end.status >= 200 && x->end.status < 300 && body.len == 0,
		.is_stream_error = x->holding,
		.header = header_of,
		.ctx = x };
	int n = route_failure_rules(
		x->snapshot, x->plan.route, x->caller.project.head.id, c, lists, LISTS_MAX);

	failure_rules_apply(lists, n, &seen, &x->rules);
}

/* No answer at all: what it means, and what the client is told should it be the last attempt. */
static void
judge_silence(struct exchange *x)
{
	const char *what = forward_outcome_text(x->end.outcome);
	const char *upstream = walk_candidate(x)->upstream->name;

	if (x->end.outcome == FORWARD_CANCELLED) {
		if (x->guard.no_event)
			err_set(&x->err, ERR_BUDGET_EXCEEDED, "stopped in the stream");
		else if (x->cut)
			err_set(&x->err, ERR_CUT, "cut by the operator");
		else if (x->gone)
			err_set(&x->err, ERR_CLIENT_GONE, "the client left");
		return;
	}
	x->failure = FAILURE_TRANSIENT;
	x->one_try = is_timeout(x) && !may_repeat(x);
	apply_rules(x, x->failure, SPAN_NONE);
	if (is_timeout(x))
		err_set(&x->err, ERR_UPSTREAM_TIMEOUT, "upstream %s: %s (%s)", upstream,
			x->stalled ? "no content in time" : what, x->end.text);
	else
		err_set(&x->err, ERR_UPSTREAM_UNREACHABLE, "upstream %s: %s (%s)", upstream, what,
			x->end.text);
}

/* Of a moment by the wall clock; 0: none. */
static int64_t
boot_of(int64_t wall_ms)
{
	int64_t wait_ms = wall_ms - clock_wall_ms();

	return wall_ms == 0 ? 0 : clock_boot_ms() + (wait_ms > 0 ? wait_ms : 0);
}

/* What an answer of status >= 400 means for the client when no other key is left. */
static void
judge_refusal(struct exchange *x)
{
	bool own_fault = x->failure == FAILURE_NONE || x->failure == FAILURE_MODEL ||
			 x->failure == FAILURE_REQUEST;

	if (own_fault && !x->head_sent && x->end.status >= 400 &&
		x->out.provider->dialect == endpoint_dialect(&x->match))
		return; /* its own answer goes through */
	(void)failure_tell(x->failure, x->end.status, boot_of(x->retry_at_ms),
		walk_candidate(x)->upstream->name, evidence_of(x), &x->err);
}

struct telling {
	struct quota_told *told;
	struct span date;
	int64_t now_ms;
};

static bool
read_quota(void *ctx, struct span name, struct span value)
{
	struct telling *t = ctx;

	quota_read_header(t->told, name, value, t->date, t->now_ms);
	return true;
}

/* As much of the provider's words as is kept with a transition. */
#define EVIDENCE_MAX 400

static bool
repeats(struct span words, const char *secret)
{
	return secret != NULL && secret[0] != '\0' &&
	       memmem(words.at, words.len, secret, strlen(secret)) != NULL;
}

/* What is kept of a failure: the operator's rule that fitted, the provider's words, or how it failed where
 * it said nothing.  A provider may repeat the key that it refuses, or what was bought with it. */
static struct span
kept_evidence(const struct exchange *x, struct span words, struct bytes *out)
{
	const struct snapshot_key *k = x->plan.candidate[x->asked].key;

	if (words.len == 0)
		words = span_of(x->err.text);
	if (repeats(words, k == NULL ? NULL : k->secret) || repeats(words, x->access_token))
		words = SPAN_LIT("(the provider's words repeat the key)");
	if (words.len > EVIDENCE_MAX)
		words.len = EVIDENCE_MAX;
	if (!x->rules.matched)
		return words;
	(void)bytes_printf(out, "rule %s: %.*s", x->rules.rule, (int)words.len, words.at);
	return out->failed ? words : bytes_span(out);
}

static void
report(struct exchange *x)
{
	struct span evidence = evidence_of(x);
	struct failure_scope scope = { .is_model = false };
	struct wire_usage u = WIRE_USAGE_NONE;
	struct bytes kept = BYTES_LIMIT(2 * EVIDENCE_MAX);
	/* resets are told as of the head, which may have come long before a stream's end */
	struct quota_told told = { .age_ms = x->end.first_byte_us == 0
						     ? 0
						     : (x->end.total_us - x->end.first_byte_us) /
							       1000 };
	struct telling telling = { &told, response_header(x, "date"),
		clock_wall_ms() - told.age_ms };
	struct route_outcome o = { .failure = x->failure,
		.status = x->end.status,
		.until_ms = x->retry_at_ms,
		.ttft_us = ttft_us(x),
		.is_timeout = is_timeout(x),
		.counts = !x->rules.matched || x->rules.counts,
		.rest_ms = x->rules.matched ? x->rules.rest_ms : 0,
		.told = &told };

	if (x->failure != FAILURE_NONE) {
		scope = failure_scope(evidence, x->out.model);
		o.evidence = kept_evidence(x, evidence, &kept);
	} else {
		spent_find(x, &u);
		o.output_tokens = u.output > 0 ? u.output : 0;
		o.tokens = usage_input_total(&u) + o.output_tokens;
	}
	o.is_account = scope.is_account;
	o.is_address = scope.is_address;
	o.is_quota = scope.is_quota;
	o.is_model = scope.is_model;
	if (x->call != NULL)
		(void)forward_each_response_header(x->call, read_quota, &telling);
	if (x->end.status == 429)
		quota_read_body(&told, evidence, telling.date, telling.now_ms);
	walk_report(x, &o);
	bytes_free(&kept);
}

void
judge_conclude(struct exchange *x)
{
	const struct route_candidate *c = &x->plan.candidate[x->asked];

	if (x->end.outcome == FORWARD_DONE && x->mode == ANSWER_ERROR && x->err.code == ERR_NONE)
		judge_refusal(x);
	if (x->end.outcome != FORWARD_CANCELLED || x->failure != FAILURE_NONE)
		report(x);
	else
		walk_release(x);
	if (x->failure != FAILURE_NONE)
		log_request(LOG_WARN, "attempt", x->request_id,
			"upstream %s, key %s, status %d: %s %s", c->upstream->name,
			c->key == NULL ? "none" : "set", x->end.status, failure_name(x->failure),
			x->err.text);
}

/* ---- answers that are none ---- */

static enum failure
classify(struct exchange *x, struct span body)
{
	struct failure_headers h = { .retry_after = response_header(x, "retry-after"),
		.retry_after_ms = response_header(x, "retry-after-ms"),
		.reset_requests = response_header(x, "x-ratelimit-reset-requests"),
		.reset_tokens = response_header(x, "x-ratelimit-reset-tokens"),
		.remaining_requests = response_header(x, "x-ratelimit-remaining-requests"),
		.remaining_tokens = response_header(x, "x-ratelimit-remaining-tokens"),
		.date = response_header(x, "date"),
		.error_type = response_header(x, "x-amzn-errortype"),
		.unified_reset = response_header(x, "anthropic-ratelimit-unified-reset") };
	int64_t now_ms = clock_wall_ms(), reset_ms;
	enum failure f = failure_classify(x->end.status, &h, body, now_ms, &x->retry_at_ms);

	if (f == FAILURE_RATE_LIMITED && x->retry_at_ms == 0 && x->call != NULL) {
		struct quota_told told = { 0 };

		(void)forward_each_response_header(
			x->call, read_quota, &(struct telling){ &told, h.date, now_ms });
		reset_ms = quota_reset_ms(&told);
		x->retry_at_ms = reset_ms > 0 ? now_ms + reset_ms : 0;
	}
	x->is_context = f == FAILURE_REQUEST && failure_is_context(body);
	x->is_filter = f == FAILURE_REQUEST && !x->is_context && failure_is_filter(body);
	if (f != FAILURE_NONE)
		apply_rules(x, f, body);
	return f;
}

static void
fail(struct exchange *x, const char *what)
{
	x->failure = FAILURE_TRANSIENT;
	x->mode = ANSWER_ERROR;
	apply_rules(x, x->failure, bytes_span(&x->answer));
	err_set(&x->err, ERR_UPSTREAM_UNREACHABLE, "upstream %s: %s",
		walk_candidate(x)->upstream->name, what);
	err_say(&x->err, "The provider's answer was %s.", what);
}

/*
 * An answer without anything to show is one all the same where its provider says so: it tells why it
 * ended and what was used, or that it was cut at its ceiling.  Else something broke on the way.
 * One that a filter ended may be another model's.
 */
static bool
is_meant(struct exchange *x, enum finish finish, const struct wire_usage *u)
{
	if (finish == FINISH_FILTER || finish == FINISH_CONTEXT) {
		x->failure = FAILURE_REQUEST;
		x->is_filter = finish == FINISH_FILTER;
		x->is_context = finish == FINISH_CONTEXT;
		if (walk_could_go_on(x))
			return false;
		x->failure = FAILURE_NONE;
		x->is_filter = x->is_context = false;
		return true;
	}
	return finish == FINISH_LENGTH || (finish != FINISH_NONE && u->seen && u->output >= 0);
}

/* A stream that has shown nothing is over: 0, or it was no answer. */
static void
judge_unshown(struct exchange *x)
{
	const struct passage *p = &x->passage;

	if (p->failed && p->evidence.len > 0) {
		x->failure = classify(x, p->evidence);
		if (x->failure == FAILURE_NONE)
			x->failure = FAILURE_TRANSIENT;
		if (x->failure == FAILURE_REQUEST && !walk_could_go_on(x)) {
			attempt_show(x); /* its own fault, in its provider's words */
			return;
		}
		x->mode = ANSWER_ERROR;
		return;
	}
	if (p->failed || p->cut_short) {
		fail(x, "cut before it was complete");
		return;
	}
	if (p->content || (p->done && is_meant(x, p->finish, &p->usage))) {
		attempt_show(x);
		return;
	}
	if (x->failure != FAILURE_NONE) { /* ended by a filter */
		x->mode = ANSWER_ERROR;
		return;
	}
	if (!p->done) {
		fail(x, "cut before its content");
		return;
	}
	x->failure = FAILURE_TRANSIENT;
	if (walk_could_go_on(x)) {
		fail(x, "without content");
		return;
	}
	attempt_show(x); /* nobody else can say more */
}

static bool
is_empty_list(struct span body, const char *name)
{
	struct json_value v = json_get(body, name);

	if (v.type != JSON_ARRAY)
		return false;
	for (size_t i = 1; i + 1 < v.raw.len; i++)
		if (memchr(" \t\r\n", v.raw.at[i], 4) == NULL)
			return false;
	return true;
}

/* Is that JSON body of a conversation an answer?  False: x->failure tells. */
static bool
is_answer(struct exchange *x)
{
	struct span body = bytes_span(&x->answer), status;
	const struct format *f = x->out.format;
	struct wire_usage u = WIRE_USAGE_NONE;
	enum finish finish;
	bool content;

	if (body.len > 0 && memmem(body.at, body.len, "\"error\"", 7) != NULL &&
		(x->failure = classify(x, body)) != FAILURE_NONE)
		return false;
	f->usage(body, &u);
	if (u.seen && u.output > 0)
		return true;
	if (convert_reply_content(f, body, &content, &finish) != 0) {
		/* of another shape than we know, which is not ours to judge; or not even JSON */
		if (body.len > 0 && json_valid(body) && !is_empty_list(body, "choices"))
			return true;
		fail(x, body.len == 0 ? "empty" : json_valid(body) ? "without content" : "no JSON");
		return false;
	}
	status = json_get(body, "status").raw; /* of one that works in the background */
	if (content || span_is(status, "\"queued\"") || span_is(status, "\"in_progress\"") ||
		is_meant(x, finish, &u))
		return true;
	if (x->failure == FAILURE_NONE)
		fail(x, "without content");
	return false;
}

/* Of an answer that was read whole. */
static void
judge_whole(struct exchange *x)
{
	const char *upstream = walk_candidate(x)->upstream->name;

	if (x->answer.failed)
		err_set(&x->err, ERR_UPSTREAM_UNREACHABLE,
			"upstream %s: an answer above %d MB cannot be converted", upstream,
			CONVERT_REPLY_MAX >> 20);
	else if (!is_answer(x)) {
		/* what nobody else can better goes through as it is, where it can be read */
		if (!x->out.converted && x->answer.len > 0 && json_valid(bytes_span(&x->answer)) &&
			x->failure == FAILURE_REQUEST && !walk_could_go_on(x))
			return;
		x->mode = ANSWER_ERROR;
		return;
	} else if (!x->out.converted)
		return;
	else if (x->ask.stream) {
		x->mode = ANSWER_EVENTS;
		if (passage_whole(&x->passage, bytes_span(&x->answer), attempt_pass_event, x) != 0)
			err_set(&x->err, ERR_MEMORY, "no memory to convert an answer");
		else
			attempt_show(x);
	} else if (translate_reply(x) != 0)
		err_wrap(&x->err, "upstream %s", upstream);
	if (x->err.code == ERR_NONE)
		return;
	x->failure = FAILURE_TRANSIENT;
	x->mode = ANSWER_ERROR;
}

/* As its dialects call it. */
static void
note_request_id(struct exchange *x)
{
	static const char *const names[] = { "request-id", "x-amzn-requestid", "apim-request-id",
		"x-request-id" };

	for (size_t i = 0; i < sizeof names / sizeof names[0] && x->end.status != 0; i++) {
		struct span id = response_header(x, names[i]);

		if (id.len > 0)
			span_copy(
				id, x->row.upstream_request_id, sizeof x->row.upstream_request_id);
	}
}

/* While the answer's headers are there: what it means for the key, the client and the next one. */
void
judge_attempt(struct exchange *x)
{
	bool ours = x->holding && x->passage.failed && !x->gone && !x->cut; /* we let it go */

	x->retry_at_ms = 0;
	x->failure = FAILURE_NONE;
	x->is_context = x->is_filter = x->one_try = false;
	memset(&x->rules, 0, sizeof x->rules);
	memset(&x->err, 0, sizeof x->err);
	note_request_id(x);
	if (x->end.outcome == FORWARD_CANCELLED && !x->gone &&
		((x->passage.done && !x->guard.stopped) ||
			(x->guard.stopped && !x->guard.no_event) || ours))
		x->end.outcome = FORWARD_DONE; /* we had all of it */
	if (x->end.outcome == FORWARD_CANCELLED && x->stalled && !x->gone && !x->cut)
		x->end.outcome = FORWARD_TIMEOUT_FIRST_BYTE;
	if (x->end.outcome == FORWARD_DONE)
		x->cut = false; /* too late */
	if (x->end.outcome == FORWARD_CANCELLED && x->is_slow && !x->gone && !x->cut) {
		fail(x, "too slow");
	} else if (x->end.outcome != FORWARD_DONE) {
		judge_silence(x);
	} else if (x->holding && x->mode == ANSWER_EVENTS) {
		judge_unshown(x);
	} else if (x->mode == ANSWER_EVENTS && x->passage.way == PASSAGE_BYTES &&
		   x->passage.cut_short) {
		x->failure = FAILURE_TRANSIENT;
		err_set(&x->err, ERR_UPSTREAM_UNREACHABLE,
			"upstream %s: a stream that ended before its answer was complete",
			walk_candidate(x)->upstream->name);
		err_say(&x->err, "The provider's stream ended before its answer was complete.");
	} else if (x->mode == ANSWER_WHOLE && x->out.format != NULL) {
		judge_whole(x);
	} else if (x->mode == ANSWER_ERROR) {
		x->failure = classify(x, bytes_span(&x->answer));
		if (x->failure == FAILURE_NONE && x->head_sent)
			fail(x, "no stream of events");
		else if (credential_renews(x))
			return; /* it says nothing of the key yet */
	}
	judge_conclude(x);
}
