/*
 * vectors_test.c - the conversion vectors, from each format that reads them into every one that writes.
 *
 * Streams are cut at every single place; what is written is read back.  What the vectors expect is
 * compared in tests/integration/vectors.test.mjs.
 */
#include "wire/convert.h"

#include "../../lib/vectors.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/random.h>

#include <cmocka.h>

#define VECTORS_MOST 64
#define ARENA_BYTES  ((size_t)64 << 20)
#define OUT_BYTES    ((size_t)8 << 20)
#define NOW_S        1768478400

/* Ids that are made up are the same in every run, so that what is written can be compared whole. */
static uint64_t dice;

ssize_t
getrandom(void *out, size_t len, unsigned int flags)
{
	(void)flags;
	for (size_t i = 0; i < len; i++) {
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		((unsigned char *)out)[i] = (unsigned char)(dice >> 56);
	}
	return (ssize_t)len;
}

/* ---- what there is ---- */

struct vector {
	char id[8], kind[16], input[96], expect[96], model[96];
	const struct format *from, *to;
	enum thinking thinking;
};
static struct vector vectors[VECTORS_MOST];
static size_t vector_count;

static const struct format *
format_at(struct span row, const char *member)
{
	static const char *const ours[][2] = { { "bedrock-converse-stream", "converse" },
		{ "bedrock-invoke-stream", "bedrock-invoke" },
		{ "sap-invoke-stream", "sap-invoke" } };
	char name[48];

	vector_string(row, member, name, sizeof name);
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (strcmp(name, ours[i][0]) == 0)
			return format_named(ours[i][1]);
	return format_named(name);
}

static bool
take_vector(void *ctx, const struct json_member *m)
{
	struct vector *v = &vectors[vector_count];
	struct span row = m->value.raw;
	char thinking[16];

	(void)ctx;
	if (vector_count == VECTORS_MOST)
		vectors_broken("manifest.json", "holds more than this test has room for");
	vector_string(row, "id", v->id, sizeof v->id);
	vector_string(row, "kind", v->kind, sizeof v->kind);
	vector_string(row, "input", v->input, sizeof v->input);
	vector_string(row, "expect", v->expect, sizeof v->expect);
	vector_string(row, "options.upstream_model", v->model, sizeof v->model);
	vector_string(row, "options.model_thinking", thinking, sizeof thinking);
	v->thinking = strcmp(thinking, "budget") == 0     ? THINKING_BUDGET
		      : strcmp(thinking, "adaptive") == 0 ? THINKING_ADAPTIVE
							  : THINKING_UNKNOWN;
	v->from = format_at(row, "from");
	v->to = format_at(row, "to");
	if (v->from != NULL && v->to != NULL)
		vector_count++;
	else if (strcmp(v->kind, "table") != 0)
		vectors_broken(v->id, "is of a format that is not known");
	return true;
}

static int
read_manifest(void **state)
{
	struct span text = vector_file("manifest.json");

	(void)state;
	if (json_each_element(text, take_vector, NULL, NULL) != 0)
		vectors_broken("manifest.json", "is no list");
	free((char *)text.at);
	return vector_count > 0 ? 0 : -1;
}

/* Calls fn for what the vectors of a kind hold: their input, and what they expect, in its format. */
static size_t
each_text(const char *kind, void (*fn)(const char *name, const struct vector *v,
				    const struct format *f, struct span text))
{
	size_t given = 0;

	for (size_t i = 0; i < vector_count; i++) {
		const struct vector *v = &vectors[i];

		if (strcmp(v->kind, kind) != 0)
			continue;
		for (int expected = 0; expected < 2; expected++) {
			const char *name = expected ? v->expect : v->input;
			struct span text = vector_file(name);

			fn(name, v, expected ? v->to : v->from, text);
			free((char *)text.at);
			given++;
		}
	}
	return given;
}

/* ---- what an answer says, whatever its dialect ---- */

struct gist {
	struct bytes text;  /* plain, of the first choice */
	struct bytes calls; /* name and arguments of each call, one a line */
	struct bytes piece; /* arguments under way, as a JSON string's inside */
	struct wire_usage usage;
	bool failed, ended;
};

static void
gist_free(struct gist *g)
{
	bytes_free(&g->text);
	bytes_free(&g->calls);
	bytes_free(&g->piece);
}

static void
add_decoded(struct bytes *to, struct span json_string)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct span plain = text_plain(a, (struct json_value){ JSON_STRING, json_string });

	if (json_string.len > 2)
		assert_non_null(plain.at);
	assert_int_equal(bytes_add(to, plain.at, plain.len), 0);
	arena_free(a);
}

/* Without its white space: some dialects hold the object itself. */
static void
end_call(struct gist *g, const struct neutral_part *p)
{
	struct bytes quoted = BYTES_LIMIT(OUT_BYTES), plain = BYTES_LIMIT(OUT_BYTES);
	struct arena *a = arena_new(ARENA_BYTES);
	struct span compact;

	(void)bytes_puts(&quoted, "\"");
	(void)bytes_add(&quoted, g->piece.at, g->piece.len);
	(void)bytes_puts(&quoted, "\"");
	add_decoded(&plain, bytes_span(&quoted));
	compact = text_compact(a, bytes_span(&plain));
	if (compact.len == 0)
		compact = SPAN_LIT("{}");
	(void)bytes_add(&g->calls, p->name.at, p->name.len);
	(void)bytes_puts(&g->calls, " ");
	(void)bytes_add(&g->calls, compact.at, compact.len);
	(void)bytes_puts(&g->calls, "\n");
	g->piece.len = 0;
	arena_free(a);
	bytes_free(&plain);
	bytes_free(&quoted);
}

static void
gist_event(struct gist *g, const struct neutral_event *e)
{
	g->text.limit = g->calls.limit = g->piece.limit = OUT_BYTES;
	if (e->kind == EVENT_ERROR)
		g->failed = true;
	else if (e->kind == EVENT_END)
		g->ended = true;
	else if (e->kind == EVENT_USAGE)
		usage_merge(&g->usage, &e->usage);
	else if (e->choice != 0)
		return;
	else if (e->kind == EVENT_DELTA && e->part.kind == PART_TEXT && e->text.at != NULL)
		add_decoded(&g->text, e->text);
	else if (e->kind == EVENT_DELTA && e->part.kind == PART_TOOL_CALL && e->text.at != NULL)
		(void)bytes_add(&g->piece, text_inside(e->text).at, text_inside(e->text).len);
	else if (e->kind == EVENT_PART_END && e->part.kind == PART_TOOL_CALL)
		end_call(g, &e->part);
}

static bool
same_bytes(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->at, b->at, a->len) == 0);
}

static void
compare_gist(const char *what, const struct gist *a, const struct gist *b)
{
	if (!same_bytes(&a->text, &b->text))
		fail_msg("%s: text: '%.*s', then '%.*s'", what, (int)a->text.len, a->text.at,
			(int)b->text.len, b->text.at);
	if (!same_bytes(&a->calls, &b->calls))
		fail_msg("%s: calls: '%.*s', then '%.*s'", what, (int)a->calls.len, a->calls.at,
			(int)b->calls.len, b->calls.at);
	if (a->failed != b->failed || a->ended != b->ended)
		fail_msg("%s: failed %d, then %d; ended %d, then %d", what, a->failed, b->failed,
			a->ended, b->ended);
	if (a->failed || !a->usage.seen)
		return;
	if (usage_input_total(&a->usage) != usage_input_total(&b->usage) ||
		usage_or_zero(a->usage.output) != usage_or_zero(b->usage.output))
		fail_msg("%s: usage %lld and %lld, then %lld and %lld", what,
			(long long)usage_input_total(&a->usage), (long long)a->usage.output,
			(long long)usage_input_total(&b->usage), (long long)b->usage.output);
}

/* ---- streams ---- */

struct run {
	const char *name;
	const struct format *from, *to;
	struct neutral_order order;
	struct gist gist;
	struct bytes out;
};
static struct reply_options as_asked = { .model = "gw", .include_usage = true, .now_s = NOW_S };

static void
what_runs(const struct run *r, char *out, size_t room)
{
	(void)snprintf(out, room, "%s, %s to %s", r->name, r->from->name, r->to->name);
}

static int
see_event(void *ctx, const struct neutral_event *e)
{
	struct run *r = ctx;
	const char *wrong = neutral_order_check(&r->order, e);

	if (wrong != NULL)
		fail_msg("%s, %s: %s", r->name, r->from->name, wrong);
	gist_event(&r->gist, e);
	return 0;
}

/* In pieces of `step` bytes, the first one of `first`. */
static void
convert_pieces(struct run *r, struct span in, size_t first, size_t step)
{
	struct convert_stream s;

	dice = 1;
	r->order = (struct neutral_order){ 0 };
	r->gist = (struct gist){ .usage = WIRE_USAGE_NONE };
	assert_int_equal(convert_stream_init(&s, r->from, r->to, &as_asked), 0);
	s.see = see_event;
	s.ctx = r;
	for (size_t at = 0, n = first; at < in.len; at += n, n = step) {
		char *exact; /* so that the sanitizer sees a look past its end */

		if (n > in.len - at)
			n = in.len - at;
		exact = malloc(n + 1);
		memcpy(exact, in.at + at, n);
		assert_int_equal(convert_stream_feed(&s, exact, n), 0);
		free(exact);
	}
	assert_int_equal(convert_stream_end(&s), 0);
	r->out = s.out;
	s.out = BYTES_LIMIT(0);
	convert_stream_free(&s);
}

static void
run_free(struct run *r)
{
	bytes_free(&r->out);
	gist_free(&r->gist);
}

static void
compare_run(const struct run *whole, struct run *other, const char *how, size_t at)
{
	char what[200];

	what_runs(whole, what, sizeof what);
	if (!same_bytes(&whole->out, &other->out))
		fail_msg("%s, %s %zu:\n%.*s\n--- whole:\n%.*s", what, how, at, (int)other->out.len,
			other->out.at, (int)whole->out.len, whole->out.at);
	compare_gist(what, &whole->gist, &other->gist);
	run_free(other);
}

struct reading {
	struct run *run;
	void *state;
};

static int
read_back_frame(void *ctx, const struct frame *f)
{
	struct reading *r = ctx;

	return r->run->from->read_frame(r->state, f, see_event, r->run);
}

/* The bytes through the reader of their format, so many at a time. */
static void
read_stream(
	const char *name, const struct format *f, struct span bytes, size_t step, struct run *back)
{
	struct frames *frames = frames_new(f->framing);
	struct reading r = { back, calloc(1, *f->reader_bytes) };

	*back = (struct run){
		.name = name, .from = f, .to = f, .gist = { .usage = WIRE_USAGE_NONE }
	};
	for (size_t at = 0; at < bytes.len; at += step)
		assert_int_equal(
			frames_feed(frames, bytes.at + at,
				step < bytes.len - at ? step : bytes.len - at, read_back_frame, &r),
			0);
	assert_int_equal(frames_end(frames, read_back_frame, &r), 0);
	assert_int_equal(f->read_end(r.state, see_event, back), 0);
	if (f->reader_free != NULL)
		f->reader_free(r.state);
	free(r.state);
	frames_free(frames);
}

static void
read_back(const struct run *r)
{
	struct run back;
	char what[200];

	what_runs(r, what, sizeof what);
	for (int bytewise = 0; bytewise < 2; bytewise++) {
		read_stream(what, r->to, bytes_span(&r->out), bytewise ? 1 : r->out.len, &back);
		compare_gist(what, &r->gist, &back.gist);
		run_free(&back);
	}
}

static bool
is_read(const struct format *f)
{
	return f->read_frame != NULL;
}

static bool
is_written(const struct format *f)
{
	return f->write_event != NULL;
}

static void
cut_everywhere(const char *name, const struct vector *v, const struct format *from, struct span in)
{
	(void)v;
	for (enum format_id to = 0; to < FORMAT__COUNT; to++) {
		struct run whole = { .name = name, .from = from, .to = format_of(to) };

		if (!is_read(from) || !is_written(whole.to))
			continue;
		convert_pieces(&whole, in, in.len, in.len);
		assert_true(whole.gist.failed || whole.gist.ended);
		for (size_t cut = 1; cut < in.len; cut++) {
			struct run two = whole;

			convert_pieces(&two, in, cut, in.len);
			compare_run(&whole, &two, "cut at", cut);
		}
		for (size_t step = 1; step < 8; step += 3) {
			struct run many = whole;

			convert_pieces(&many, in, step, step);
			compare_run(&whole, &many, "in pieces of", step);
		}
		run_free(&whole);
	}
}

static void
a_stream_is_the_same_however_it_is_cut(void **state)
{
	(void)state;
	assert_int_equal(each_text("stream", cut_everywhere), 18);
}

static void
convert_and_read_back(
	const char *name, const struct vector *v, const struct format *from, struct span in)
{
	(void)v;
	for (enum format_id to = 0; to < FORMAT__COUNT; to++) {
		struct run run = { .name = name, .from = from, .to = format_of(to) };

		if (!is_read(from) || !is_written(run.to) || !is_read(run.to))
			continue;
		convert_pieces(&run, in, in.len, in.len);
		read_back(&run);
		run_free(&run);
	}
}

static void
a_stream_that_was_written_is_read_back(void **state)
{
	(void)state;
	assert_int_equal(each_text("stream", convert_and_read_back), 18);
	as_asked.array = true; /* Gemini's other framing */
	assert_int_equal(each_text("stream", convert_and_read_back), 18);
	as_asked.array = false;
}

/* ---- requests ---- */

struct asking {
	const struct vector *vector;
	const struct format *from, *to;
	char what[200];
	struct arena *arena;
};

static struct request_source
source_of(const struct format *f, struct span body)
{
	static const enum format_id in_path[] = { FORMAT_GEMINI, FORMAT_CONVERSE,
		FORMAT_BEDROCK_INVOKE, FORMAT_SAP_CONVERSE, FORMAT_SAP_INVOKE };
	struct request_source s = { .body = body };

	for (size_t i = 0; i < sizeof in_path / sizeof in_path[0]; i++)
		if (f == format_of(in_path[i]))
			s.path_model = SPAN_LIT("a-model");
	return s;
}

static struct request_target
target_of(const struct asking *q)
{
	return (struct request_target){ .model = q->vector->model[0] == '\0' ? "a-model"
									     : q->vector->model,
		.thinking = q->vector->thinking };
}

/* A sentence for the client, and the member it is about. */
static void
check_refusal(const struct asking *q, const struct err *err)
{
	if (err->code != ERR_BAD_REQUEST && err->code != ERR_UNSUPPORTED)
		fail_msg("%s: %s: %s", q->what, err_name(err->code), err->text);
	if (err->says[0] == '\0' || err->field[0] == '\0')
		fail_msg("%s: says '%s' of '%s' (%s)", q->what, err->says, err->field, err->text);
	if (strchr(err->says, '\0')[-1] != '.')
		fail_msg("%s: '%s' is no sentence", q->what, err->says);
}

/* Most dialects have no place for the member but the sentence. */
static void
check_told(const struct asking *q, const struct err *err)
{
	check_refusal(q, err);
	if (strstr(err->says, err->field) == NULL)
		fail_msg("%s: '%s' does not name %s", q->what, err->says, err->field);
}

static void
read_or_fail(
	const struct asking *q, const struct format *f, struct span body, struct neutral_request *n)
{
	struct request_source source = source_of(f, body);
	struct losses lost = { 0 };
	struct err err = { 0 };

	neutral_request_init(n, q->arena);
	if (f->read_request(&source, n, &lost, &err) != 0)
		fail_msg("%s: %s cannot read: %s\n%.*s", q->what, f->name, err.text, (int)body.len,
			body.at);
	for (size_t i = 1; i < n->message_count; i++)
		assert_int_not_equal(n->message[i].role, n->message[i - 1].role);
}

/* What was read is written; false: refused. */
static bool
write_again(const struct asking *q, struct neutral_request *n, struct bytes *out)
{
	struct request_target target = target_of(q);
	struct request_made made = { .body = out };
	struct losses lost = { 0 };
	struct err err = { 0 };

	*out = BYTES_LIMIT(OUT_BYTES);
	dice = 1;
	if (q->to->write_request(n, &target, &made, &lost, &err) != 0) {
		check_refusal(q, &err);
		bytes_free(out);
		return false;
	}
	assert_false(out->failed);
	if (!json_valid(bytes_span(out)))
		fail_msg("%s: no JSON: %.*s", q->what, (int)out->len, out->at);
	return true;
}

/* What is written reads as what is written of it. */
static void
ask_twice(const struct asking *q, struct span in)
{
	struct neutral_request *n = arena_alloc(q->arena, sizeof *n),
			       *again = arena_alloc(q->arena, sizeof *again);
	struct bytes first, second;

	read_or_fail(q, q->from, in, n);
	if (!write_again(q, n, &first))
		return;
	read_or_fail(q, q->to, bytes_span(&first), again);
	if (!write_again(q, again, &second))
		fail_msg("%s: refused when it is read back: %.*s", q->what, (int)first.len,
			first.at);
	if (!same_bytes(&first, &second))
		fail_msg("%s:\n%.*s\n--- read back and written:\n%.*s", q->what, (int)first.len,
			first.at, (int)second.len, second.at);
	bytes_free(&first);
	bytes_free(&second);
}

/* As the gateway does it, formats of one kin spliced; strict too. */
static void
ask_whole(const struct asking *q, struct span in, bool strict)
{
	struct bytes body = BYTES_LIMIT(OUT_BYTES);
	struct request_made made = { .body = &body };
	struct convert_request c = { .from = q->from,
		.to = q->to,
		.source = source_of(q->from, in),
		.target = target_of(q),
		.strict = strict };
	struct neutral_request *n = arena_alloc(q->arena, sizeof *n);
	struct losses lost = { 0 };
	struct err err = { 0 };

	if (convert_request(q->arena, &c, &made, &lost, &err) != 0)
		check_told(q, &err);
	else
		read_or_fail(q, q->to, bytes_span(&body), n);
	bytes_free(&body);
}

static void
ask_everybody(const char *name, const struct vector *v, const struct format *from, struct span in)
{
	for (enum format_id to = 0; to < FORMAT__COUNT; to++) {
		struct asking q = { .vector = v, .from = from, .to = format_of(to) };

		if (from->read_request == NULL || q.to->write_request == NULL ||
			strstr(name, "reject") == name + 3)
			continue;
		(void)snprintf(q.what, sizeof q.what, "%s, %s to %s", name, from->name, q.to->name);
		q.arena = arena_new(ARENA_BYTES);
		assert_non_null(q.arena);
		if (q.to->read_request != NULL)
			ask_twice(&q, in);
		if (from != q.to) {
			ask_whole(&q, in, false);
			ask_whole(&q, in, true);
		}
		arena_free(q.arena);
	}
}

static void
a_request_is_written_for_everybody_or_refused_by_name(void **state)
{
	(void)state;
	assert_int_equal(each_text("request", ask_everybody), 18);
}

/* The other half of the reject vectors is what the client is told. */
static void
refuse_by_name(const char *name, const struct vector *v, const struct format *from, struct span in)
{
	struct asking q = { .vector = v, .from = v->from, .to = v->to };
	struct neutral_request *n;
	struct bytes out;

	if (from != v->from || from->read_request == NULL || v->to->write_request == NULL)
		return;
	(void)snprintf(q.what, sizeof q.what, "%s, %s to %s", name, q.from->name, q.to->name);
	q.arena = arena_new(ARENA_BYTES);
	n = arena_alloc(q.arena, sizeof *n);
	read_or_fail(&q, from, in, n);
	assert_false(write_again(&q, n, &out));
	arena_free(q.arena);
}

static void
what_cannot_be_asked_is_refused(void **state)
{
	(void)state;
	assert_int_equal(each_text("reject", refuse_by_name), 2);
}

/* ---- answers ---- */

static int
gist_of_event(void *ctx, const struct neutral_event *e)
{
	gist_event(ctx, e);
	return 0;
}

static void
gist_of_reply(const char *what, const struct format *f, struct span body, struct gist *g)
{
	struct neutral_reply r = { .arena = arena_new(ARENA_BYTES), .usage = WIRE_USAGE_NONE };
	struct err err = { 0 };

	if (f->read_reply(body, &r, &err) != 0)
		fail_msg("%s: %s cannot read: %s\n%.*s", what, f->name, err.text, (int)body.len,
			body.at);
	*g = (struct gist){ .usage = WIRE_USAGE_NONE };
	assert_int_equal(neutral_replay(&r, gist_of_event, g), 0);
	arena_free(r.arena);
}

static void
answer_whole(const char *name, const struct format *from, const struct format *to, struct span in)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct bytes out = BYTES_LIMIT(OUT_BYTES);
	struct gist before, after;
	struct wire_usage usage;
	struct err err = { 0 };
	char what[200];

	(void)snprintf(what, sizeof what, "%s, %s to %s", name, from->name, to->name);
	gist_of_reply(what, from, in, &before);
	if (convert_reply(a, from, to, in, &as_asked, &usage, &out, &err) != 0)
		fail_msg("%s: %s", what, err.text);
	if (!json_valid(bytes_span(&out)))
		fail_msg("%s: no JSON: %.*s", what, (int)out.len, out.at);
	assert_memory_equal(&usage, &before.usage, sizeof usage);
	gist_of_reply(what, to, bytes_span(&out), &after);
	compare_gist(what, &before, &after);
	gist_free(&before);
	gist_free(&after);
	bytes_free(&out);
	arena_free(a);
}

/* Where the client waits for a stream. */
static void
answer_streamed(
	const char *name, const struct format *from, const struct format *to, struct span in)
{
	struct run run = { .name = name, .from = from, .to = to }, back;
	struct convert_stream s;
	struct gist before;
	char what[200];

	what_runs(&run, what, sizeof what);
	gist_of_reply(what, from, in, &before);
	assert_int_equal(convert_stream_init(&s, from, to, &as_asked), 0);
	s.see = see_event;
	s.ctx = &run;
	assert_int_equal(convert_stream_whole(&s, in), 0);
	assert_true(s.done && !s.failed);
	read_stream(what, to, bytes_span(&s.out), s.out.len, &back);
	compare_gist(what, &before, &back.gist);
	gist_free(&before);
	run_free(&run);
	run_free(&back);
	convert_stream_free(&s);
}

static void
answer_everybody(
	const char *name, const struct vector *v, const struct format *from, struct span in)
{
	(void)v;
	for (enum format_id i = 0; i < FORMAT__COUNT; i++) {
		const struct format *to = format_of(i);

		if (from->read_reply == NULL || to->write_reply == NULL || to->read_reply == NULL)
			continue;
		answer_whole(name, from, to, in);
		if (is_written(to) && is_read(to))
			answer_streamed(name, from, to, in);
	}
}

static void
an_answer_is_written_for_everybody_and_read_back(void **state)
{
	(void)state;
	assert_int_equal(each_text("response", answer_everybody), 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_the_same_however_it_is_cut),
		cmocka_unit_test(a_stream_that_was_written_is_read_back),
		cmocka_unit_test(a_request_is_written_for_everybody_or_refused_by_name),
		cmocka_unit_test(what_cannot_be_asked_is_refused),
		cmocka_unit_test(an_answer_is_written_for_everybody_and_read_back),
	};

	return cmocka_run_group_tests_name("wire/vectors", tests, read_manifest, NULL);
}
