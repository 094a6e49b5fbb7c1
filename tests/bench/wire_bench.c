/*
 * wire_bench.c - what passing on and converting cost, as ratios to what anybody would have to do.
 *
 *   passed on   skimmed and its model replaced, in copies of the body with a look at each quote (memchr)
 *   converted   in cJSON's parse and print of the same bytes; streams event by event
 *   growth      one body of 16 MB in times of one of 1 MB (of 16 that differ, so that both are as cold)
 *
 * The least of interleaved rounds, in CPU time of this thread: what others do to the caches only adds.
 * Exit code 1: a target is missed.
 *
 * Usage: wire_bench [words that a line must begin with]
 */
#include "wire/convert.h"
#include "wire/skim.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MB          ((size_t)1 << 20)
#define ROUNDS      9
#define ROUND_NS    4e6
#define ARENA_BYTES (512 * MB)
#define BODY_BYTES  (64 * MB)
#define EVENTS      2000
#define COLD        16
#define CHAT        "/v1/chat/completions"

#define PASS_MOST    3.0
#define CONVERT_MOST 3.0
#define GROWTH_MOST  20.0
#define COPY_SLACK   1.25 /* a copy's own growth differs by so much from one run to the next */

static int missed;
static const char *only = ""; /* lines that begin so */

static void
broken(const char *what, const char *why)
{
	(void)fprintf(stderr, "wire_bench: %s: %s\n", what, why);
	exit(2);
}

/* ---- time ---- */

typedef void work(void *ctx);

static double
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
run(work *fn, void *ctx, int times)
{
	double began = now_ns();

	for (int i = 0; i < times; i++)
		fn(ctx);
	return (now_ns() - began) / times;
}

/* How often makes a round long enough to be measured; the first call warms the caches. */
static int
times_of(work *fn, void *ctx)
{
	double once;

	fn(ctx);
	once = run(fn, ctx, 1);
	return once > ROUND_NS ? 1 : 1 + (int)(ROUND_NS / once);
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
least(double *list)
{
	qsort(list, ROUNDS, sizeof *list, compare_doubles);
	return list[0];
}

static void
tell(const char *what, const char *shape, double ours, double theirs, double most)
{
	double ratio = ours / theirs;

	(void)printf("%-52s %-16s %10.1f us %8.2f%s\n", what, shape, ours / 1e3, ratio,
		ratio > most ? "  MISSED" : "");
	(void)fflush(stdout);
	if (ratio <= most)
		return;
	missed++;
	(void)fprintf(stderr, "wire_bench: %s, %s: %.2f, at most %.0f\n", what, shape, ratio, most);
}

static void
measure(const char *what, const char *shape, work *ours, void *our_ctx, work *theirs,
	void *their_ctx, double most)
{
	int our_times, their_times;
	double a[ROUNDS], b[ROUNDS];

	if (strncmp(what, only, strlen(only)) != 0)
		return;
	our_times = times_of(ours, our_ctx);
	their_times = times_of(theirs, their_ctx);
	for (int i = 0; i < ROUNDS; i++) {
		a[i] = run(ours, our_ctx, our_times);
		b[i] = run(theirs, their_ctx, their_times);
	}
	tell(what, shape, least(a), least(b), most);
}

/* ---- bodies ---- */

static const char *const words[] = { "The harbour ", "opens at six, ", "they said, ",
	"and the ferry ", "to the islands ", "leaves when the tide ", "allows it. ",
	"Caf\xC3\xA9s on the quay ", "sell bread; ", "nobody hurries. " };

/* Text as people and programs write it, about so many bytes, escapes among it. */
static void
add_text(struct bytes *b, size_t size)
{
	size_t until = b->len + size;

	for (size_t i = 0; b->len < until && !b->failed; i++) {
		(void)bytes_puts(b, words[i * 7 % (sizeof words / sizeof words[0])]);
		if (i % 8 == 7)
			(void)bytes_puts(b, i % 24 == 23 ? "\\n\\tint x = \\\"y\\\";\\n" : "\\n");
	}
}

static void
add_messages(struct bytes *b, size_t size, size_t each)
{
	size_t until = b->len + size;

	(void)bytes_puts(
		b, "{\"model\":\"gw\",\"temperature\":0.5,\"max_tokens\":1000,\"messages\":[");
	for (size_t i = 0; b->len < until && !b->failed; i++) {
		(void)bytes_printf(b, "%s{\"role\":\"%s\",\"content\":\"", i == 0 ? "" : ",",
			i % 2 == 0 ? "user" : "assistant");
		add_text(b, each);
		(void)bytes_puts(b, "\"}");
	}
	(void)bytes_puts(b, "],\"stream\":false}");
}

static void
small_messages(struct bytes *b, size_t size)
{
	/* 20,000 is the most that is read into the neutral form */
	add_messages(b, size, size > MB ? 1000 : 60);
}

static void
thousand_bytes(struct bytes *b, size_t size)
{
	add_messages(b, size, 1000);
}

static void
long_texts(struct bytes *b, size_t size)
{
	add_messages(b, size, size / 5);
}

static void
one_image(struct bytes *b, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char line[256];
	size_t until = b->len + size;

	(void)bytes_puts(b, "{\"model\":\"gw\",\"max_tokens\":1000,\"messages\":[{\"role\":"
			    "\"user\",\"content\":["
			    "{\"type\":\"text\",\"text\":\"What is "
			    "it?\"},{\"type\":\"image_url\",\"image_url\":{"
			    "\"url\":\"data:image/png;base64,iVBORw0KGgoA");
	for (size_t i = 0, dice = 1; b->len < until && !b->failed; i++) {
		for (size_t k = 0; k < sizeof line; k++) {
			dice = dice * 6364136223846793005u + 1442695040888963407u;
			line[k] = digits[dice >> 58];
		}
		(void)bytes_add(b, line, sizeof line);
	}
	(void)bytes_puts(b, "\"}}]}]}");
}

static void
add_schema(struct bytes *b, int depth)
{
	(void)bytes_puts(b,
		"{\"type\":\"object\",\"description\":\"What is known of it\",\"properties\":{"
		"\"name\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"]},\"count\":{\"type\":"
		"\"integer\",\"minimum\":0}");
	if (depth > 0) {
		(void)bytes_puts(b, ",\"inner\":");
		add_schema(b, depth - 1);
	}
	(void)bytes_puts(b, "},\"required\":[\"name\"],\"additionalProperties\":false}");
}

static void
deep_schemas(struct bytes *b, size_t size)
{
	size_t until = b->len + size;
	int depth = size > MB ? 50 : 12, count = 0;

	(void)bytes_puts(b,
		"{\"model\":\"gw\",\"max_tokens\":1000,\"messages\":[{\"role\":\"user\","
		"\"content\":\"Hello\"}],\"tools\":[");
	for (; b->len < until && count < NEUTRAL_TOOLS_MAX && !b->failed; count++) {
		(void)bytes_printf(b,
			"%s{\"type\":\"function\",\"function\":{\"name\":\"tool_%d\","
			"\"description\":"
			"\"Does it\",\"parameters\":",
			count == 0 ? "" : ",", count);
		add_schema(b, depth);
		(void)bytes_puts(b, "}}");
	}
	(void)bytes_puts(b, "]}");
}

/* A history of calls, arguments and results, as agents send it. */
static void
tool_calls(struct bytes *b, size_t size)
{
	size_t until = b->len + size, each = size > MB ? 2000 : 200;

	(void)bytes_puts(b,
		"{\"model\":\"gw\",\"max_tokens\":1000,\"messages\":[{\"role\":\"user\","
		"\"content\":\"Go\"}");
	for (int i = 0; b->len < until && !b->failed; i++) {
		(void)bytes_printf(b,
			",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_%"
			"d\","
			"\"type\":\"function\",\"function\":{\"name\":\"write\",\"arguments\":"
			"\"{\\\"path\\\":\\\"a/b.c\\\",\\\"line\\\":%d,\\\"text\\\":\\\"",
			i, i);
		for (size_t k = 0; k < each; k += 40)
			(void)bytes_puts(b, "if (x == 1)\\\\n\\\\treturn \\\\\\\"one\\\\\\\"; ");
		(void)bytes_printf(b,
			"\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_%d\",\"content\":"
			"\"",
			i);
		add_text(b, each);
		(void)bytes_puts(b, "\"}");
	}
	(void)bytes_puts(b, "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"write\","
			    "\"parameters\":"
			    "{\"type\":\"object\",\"properties\":{}}}}]}");
}

typedef void fill(struct bytes *b, size_t size);
static const struct shape {
	const char *name;
	fill *fill;
} shapes[] = { { "small messages", small_messages }, { "messages of 1 KB", thousand_bytes },
	{ "long texts", long_texts }, { "one image", one_image }, { "deep schemas", deep_schemas },
	{ "tool calls", tool_calls } };
#define SHAPES (sizeof shapes / sizeof shapes[0])

/* ---- requests ---- */

struct job {
	const struct format *from, *to;
	struct span body;
	struct span *copy; /* of the body: COLD of them, taken in turn */
	int turn;
};

static struct request_source
source_of(const struct job *j)
{
	struct request_source s = { .body = j->body };

	if (j->from == format_of(FORMAT_GEMINI) || j->from == format_of(FORMAT_CONVERSE))
		s.path_model = SPAN_LIT("a-model");
	return s;
}

static void
convert_into(const struct job *j, struct bytes *out)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct request_made made = { .body = out };
	struct convert_request q = { .from = j->from,
		.to = j->to,
		.source = source_of(j),
		.target = { .model = "a-model" } };
	struct losses lost = { 0 };
	struct err err = { 0 };

	if (a == NULL || convert_request(a, &q, &made, &lost, &err) != 0)
		broken("convert_request", err.text);
	arena_free(a);
}

static void
convert_request_once(void *ctx)
{
	struct bytes out = BYTES_LIMIT(BODY_BYTES);

	convert_into(ctx, &out);
	bytes_free(&out);
}

static void
pass_once(void *ctx)
{
	struct job *j = ctx;
	struct arena *a = arena_new(ARENA_BYTES);
	struct request_source source = source_of(j);
	struct openai_request q;
	struct err err = { 0 };

	if (a == NULL || skim_request(j->from, &source, CHAT, &q, &err) != 0)
		broken("skim_request", err.text);
	if (q.model_value.raw.at != NULL &&
		openai_rewrite(a, j->body, &q, CHAT, "another-model").at == NULL)
		broken("openai_rewrite", "no memory");
	arena_free(a);
}

static void
parse_and_print(struct span json)
{
	cJSON *tree = cJSON_ParseWithLength(json.at, json.len);
	char *text = tree == NULL ? NULL : cJSON_PrintUnformatted(tree);

	if (text == NULL)
		broken("cJSON", "cannot read what sluice reads");
	cJSON_free(text);
	cJSON_Delete(tree);
}

static void
cjson_once(void *ctx)
{
	parse_and_print(((struct job *)ctx)->body);
}

static volatile size_t quotes;

static void
copy_and_scan(void *ctx)
{
	struct job *j = ctx;
	char *copy = malloc(j->body.len), *end = copy + j->body.len;
	size_t found = 0;

	if (copy == NULL)
		broken("malloc", "no memory");
	memcpy(copy, j->body.at, j->body.len);
	for (char *p = copy; (p = memchr(p, '"', (size_t)(end - p))) != NULL; p++)
		found++;
	quotes = found;
	free(copy);
}

static void
next_copy(struct job *j)
{
	j->body = j->copy[j->turn++ % COLD];
}

static void
convert_cold(void *ctx)
{
	next_copy(ctx);
	convert_request_once(ctx);
}

static void
scan_cold(void *ctx)
{
	next_copy(ctx);
	copy_and_scan(ctx);
}

static void
pass_cold(void *ctx)
{
	next_copy(ctx);
	pass_once(ctx);
}

/* The same body in COLD places. */
static void
make_copies(struct job *cold, const struct job *j, struct span copy[COLD])
{
	*cold = *j;
	cold->copy = copy;
	for (int i = 0; i < COLD; i++) {
		char *at = malloc(j->body.len);

		if (at == NULL)
			broken("malloc", "no memory");
		memcpy(at, j->body.at, j->body.len);
		copy[i] = (struct span){ at, j->body.len };
	}
}

/*
 * What grows no more than it must takes 16 times as long.  Memory that is not in the caches makes it
 * more, of a plain copy too: up to what that grows by is no fault of ours.
 */
static void
measure_growth(const char *what, const char *shape, struct job *big, struct job *small)
{
	work *ours = small->to == NULL ? pass_once : convert_request_once;
	work *ours_cold = small->to == NULL ? pass_cold : convert_cold;
	double a[ROUNDS], b[ROUNDS], c[ROUNDS], d[ROUNDS], copy_grows;
	struct span copy[COLD];
	struct job cold;
	char name[128];

	if (strncmp(what, only, strlen(only)) != 0)
		return;
	make_copies(&cold, small, copy);
	ours(big);
	for (int i = 0; i < ROUNDS; i++) {
		a[i] = run(ours, big, 1);
		b[i] = run(ours_cold, &cold, COLD);
		c[i] = run(copy_and_scan, big, 1);
		d[i] = run(scan_cold, &cold, COLD);
	}
	copy_grows = least(c) / least(d);
	(void)snprintf(name, sizeof name, "%.80s (a copy %.1f)", what, copy_grows);
	tell(name, shape, least(a), least(b),
		COPY_SLACK * copy_grows > GROWTH_MOST ? COPY_SLACK * copy_grows : GROWTH_MOST);
	for (int i = 0; i < COLD; i++)
		free((char *)copy[i].at);
}

static void
pair_name(char *out, size_t room, const char *what, const struct job *j)
{
	if (j->to == NULL)
		(void)snprintf(out, room, "%s %s", what, j->from->name);
	else
		(void)snprintf(out, room, "%s %s to %s", what, j->from->name, j->to->name);
}

/* The same conversation as that format writes it. */
static struct span
body_for(const struct format *f, struct span chat, struct bytes *room)
{
	struct job j = { .from = format_of(FORMAT_OPENAI_CHAT), .to = f, .body = chat };

	*room = BYTES_LIMIT(BODY_BYTES);
	if (f == j.from)
		return chat;
	convert_into(&j, room);
	return bytes_span(room);
}

static void
each_request(struct job j, const char *shape, struct span chat, struct span chat_16)
{
	struct bytes room, room_16;
	struct job big = j;
	work *ours = j.to == NULL ? pass_once : convert_request_once;
	char what[80];

	j.body = body_for(j.from, chat, &room);
	pair_name(what, sizeof what, j.to == NULL ? "passed on:" : "request:", &j);
	if (j.to == NULL)
		measure(what, shape, ours, &j, copy_and_scan, &j, PASS_MOST);
	else
		measure(what, shape, ours, &j, cjson_once, &j, CONVERT_MOST);
	if (chat_16.at != NULL) {
		big.body = body_for(big.from, chat_16, &room_16);
		pair_name(what, sizeof what, "growth:", &j);
		measure_growth(what, shape, &big, &j);
		bytes_free(&room_16);
	}
	bytes_free(&room);
}

static const struct {
	enum format_id from, to;
} pairs[] = { { FORMAT_OPENAI_CHAT, FORMAT_ANTHROPIC }, { FORMAT_OPENAI_CHAT, FORMAT_GEMINI },
	{ FORMAT_OPENAI_CHAT, FORMAT_CONVERSE }, { FORMAT_OPENAI_CHAT, FORMAT_OPENAI_RESPONSES },
	{ FORMAT_ANTHROPIC, FORMAT_OPENAI_CHAT }, { FORMAT_GEMINI, FORMAT_OPENAI_CHAT },
	{ FORMAT_CONVERSE, FORMAT_OPENAI_CHAT }, { FORMAT_OPENAI_RESPONSES, FORMAT_OPENAI_CHAT } };
#define PAIRS (sizeof pairs / sizeof pairs[0])

static bool
is_there(const struct format *f)
{
	return f->read_request != NULL && f->write_request != NULL && f->read_reply != NULL &&
	       f->write_reply != NULL && f->read_frame != NULL && f->write_event != NULL;
}

static void
requests(void)
{
	static const enum format_id passed[] = { FORMAT_OPENAI_CHAT, FORMAT_ANTHROPIC,
		FORMAT_GEMINI };

	for (size_t s = 0; s < SHAPES; s++) {
		struct bytes chat = BYTES_LIMIT(BODY_BYTES), chat_16 = BYTES_LIMIT(BODY_BYTES);
		/* of other messages than those of 1 MB, so that growth would mean nothing */
		bool grows = shapes[s].fill == thousand_bytes || shapes[s].fill == long_texts ||
			     shapes[s].fill == one_image;

		shapes[s].fill(&chat, MB);
		if (grows)
			shapes[s].fill(&chat_16, 16 * MB);
		for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++)
			each_request((struct job){ .from = format_of(passed[i]) }, shapes[s].name,
				bytes_span(&chat), bytes_span(&chat_16));
		for (size_t i = 0; i < PAIRS; i++) {
			struct job j = { .from = format_of(pairs[i].from),
				.to = format_of(pairs[i].to) };

			if (is_there(j.from) && is_there(j.to))
				each_request(
					j, shapes[s].name, bytes_span(&chat), bytes_span(&chat_16));
		}
		bytes_free(&chat);
		bytes_free(&chat_16);
	}
}

/* ---- answers ---- */

static const struct reply_options as_asked = {
	.model = "gw", .include_usage = true, .now_s = 1768478400
};

static void
answer_into(const struct job *j, struct bytes *out)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct wire_usage usage;
	struct err err = { 0 };

	if (a == NULL ||
		convert_reply(a, j->from, j->to, j->body, &as_asked, &usage, out, &err) != 0)
		broken("convert_reply", err.text);
	arena_free(a);
}

static void
answer_once(void *ctx)
{
	struct bytes out = BYTES_LIMIT(BODY_BYTES);

	answer_into(ctx, &out);
	bytes_free(&out);
}

/* A chat answer: text, then two calls. */
static void
add_answer(struct bytes *b, size_t size)
{
	(void)bytes_puts(b,
		"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1768478400,"
		"\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
		"\"content\":\"");
	add_text(b, size);
	(void)bytes_puts(b, "\",\"refusal\":null,\"tool_calls\":[");
	for (int i = 0; i < 2; i++)
		(void)bytes_printf(b,
			"%s{\"id\":\"call_%d\",\"type\":\"function\",\"function\":{\"name\":"
			"\"write\","
			"\"arguments\":\"{\\\"path\\\":\\\"a/b.c\\\",\\\"line\\\":%d}\"}}",
			i == 0 ? "" : ",", i, i);
	(void)bytes_puts(b,
		"]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],\"usage\":{"
		"\"prompt_tokens\":1000,\"completion_tokens\":200,\"total_tokens\":1200,"
		"\"prompt_tokens_details\":{\"cached_tokens\":600},"
		"\"completion_tokens_details\":{\"reasoning_tokens\":0}}}");
}

static void
answers(void)
{
	static const struct {
		const char *name;
		size_t size;
	} sizes[] = { { "2 KB", 2048 }, { "1 MB", MB } };

	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
		for (size_t i = 0; i < PAIRS; i++) {
			struct bytes chat = BYTES_LIMIT(BODY_BYTES), room = BYTES_LIMIT(BODY_BYTES);
			const struct format *from = format_of(pairs[i].from);
			struct job made = { .from = format_of(FORMAT_OPENAI_CHAT), .to = from },
				   j = made;
			char what[80];

			j.from = from;
			j.to = format_of(pairs[i].to);
			if (!is_there(j.from) || !is_there(j.to))
				continue;
			add_answer(&chat, sizes[s].size);
			made.body = j.body = bytes_span(&chat);
			if (from != made.from) {
				answer_into(&made, &room);
				j.body = bytes_span(&room);
			}
			pair_name(what, sizeof what, "answer:", &j);
			measure(what, sizes[s].name, answer_once, &j, cjson_once, &j, CONVERT_MOST);
			bytes_free(&chat);
			bytes_free(&room);
		}
}

/* ---- streams ---- */

struct stream {
	const struct format *from, *to;
	struct span piece[EVENTS + 64]; /* what comes at once: an event */
	struct span json[EVENTS + 64];  /* and what it holds */
	size_t pieces, jsons;
	struct bytes bytes, texts;
	size_t text_at[EVENTS + 64];
};

static int
keep_json(void *ctx, const struct frame *f)
{
	struct stream *s = ctx;

	if (f->data.len == 0 || f->data.at[0] != '{')
		return 0;
	if (s->jsons == EVENTS + 64)
		broken("stream", "more events than were meant");
	s->text_at[s->jsons] = s->texts.len;
	s->json[s->jsons++].len = f->data.len;
	return bytes_add(&s->texts, f->data.at, f->data.len);
}

/* Finds the events among the bytes. */
static void
cut_stream(struct stream *s)
{
	struct frames *f = frames_new(s->from->framing);
	size_t start = 0;

	s->texts = BYTES_LIMIT(BODY_BYTES);
	for (size_t i = 0; i < s->bytes.len; i++) {
		size_t before = s->jsons;

		if (f == NULL || frames_feed(f, s->bytes.at + i, 1, keep_json, s) != 0)
			broken("stream", "cannot be read");
		if (s->jsons == before && i + 1 < s->bytes.len)
			continue;
		s->piece[s->pieces++] = (struct span){ s->bytes.at + start, i + 1 - start };
		start = i + 1;
	}
	frames_free(f);
	for (size_t i = 0; i < s->jsons; i++)
		s->json[i].at = s->texts.at + s->text_at[i];
}

static void
stream_into(const struct stream *s, struct bytes *out)
{
	struct convert_stream c;

	if (convert_stream_init(&c, s->from, s->to, &as_asked) != 0)
		broken("convert_stream", "no memory");
	for (size_t i = 0; i < s->pieces; i++) {
		if (convert_stream_feed(&c, s->piece[i].at, s->piece[i].len) != 0 || c.failed)
			broken("convert_stream", c.err.text);
		if (out != NULL)
			(void)bytes_add(out, c.out.at, c.out.len);
		bytes_drop(&c.out, c.out.len);
	}
	if (convert_stream_end(&c) != 0 || c.failed)
		broken("convert_stream", c.err.text);
	if (out != NULL)
		(void)bytes_add(out, c.out.at, c.out.len);
	convert_stream_free(&c);
}

static void
stream_once(void *ctx)
{
	stream_into(ctx, NULL);
}

static void
cjson_events(void *ctx)
{
	struct stream *s = ctx;

	for (size_t i = 0; i < s->jsons; i++)
		parse_and_print(s->json[i]);
}

#define CHUNK                                                                                      \
	"data: "                                                                                   \
	"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1768478400,"      \
	"\"model\":\"m\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":"

static void
add_text_events(struct bytes *b)
{
	(void)bytes_puts(b, CHUNK "{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
				  "\"finish_reason\":null}]}\n\n");
	for (int i = 0; i < EVENTS - 50; i++)
		(void)bytes_printf(b,
			CHUNK
			"{\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
			words[i % (int)(sizeof words / sizeof words[0])]);
	(void)bytes_puts(b, CHUNK "{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
}

static void
add_call_events(struct bytes *b)
{
	(void)bytes_puts(b, CHUNK
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":"
		"\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"write\","
		"\"arguments\":\"{\\\"text\\\":\\\"\"}}]},\"logprobs\":null,"
		"\"finish_reason\":null}]}\n\n");
	for (int i = 0; i < EVENTS - 50; i++)
		(void)bytes_puts(b,
			CHUNK "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"return "
			      "one;\\\\n\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
	(void)bytes_puts(b,
		CHUNK "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"}\"}}]},"
		      "\"logprobs\":null,\"finish_reason\":null}]}\n\n" CHUNK
		      "{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}\n\n");
}

static void
make_chat_stream(struct stream *s, void (*add)(struct bytes *b))
{
	s->from = format_of(FORMAT_OPENAI_CHAT);
	s->bytes = BYTES_LIMIT(BODY_BYTES);
	add(&s->bytes);
	(void)bytes_puts(&s->bytes,
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":"
		"1768478400,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,"
		"\"completion_tokens\":2000,\"total_tokens\":2009}}\n\ndata: [DONE]\n\n");
	cut_stream(s);
}

static void
stream_free(struct stream *s)
{
	bytes_free(&s->bytes);
	bytes_free(&s->texts);
	free(s);
}

static struct stream *
stream_new(void)
{
	struct stream *s = calloc(1, sizeof *s);

	if (s == NULL)
		broken("stream", "no memory");
	return s;
}

static void
each_stream(size_t pair, const char *shape, void (*add)(struct bytes *b))
{
	struct stream *chat = stream_new(), *s = stream_new();
	struct job names = { .from = format_of(pairs[pair].from), .to = format_of(pairs[pair].to) };
	char what[80];

	make_chat_stream(chat, add);
	chat->to = s->from = names.from;
	s->bytes = BYTES_LIMIT(BODY_BYTES);
	if (chat->from == s->from)
		(void)bytes_add(&s->bytes, chat->bytes.at, chat->bytes.len);
	else
		stream_into(chat, &s->bytes);
	cut_stream(s);
	s->to = names.to;
	pair_name(what, sizeof what, "stream:", &names);
	measure(what, shape, stream_once, s, cjson_events, s, CONVERT_MOST);
	stream_free(chat);
	stream_free(s);
}

static void
streams(void)
{
	for (size_t i = 0; i < PAIRS; i++) {
		if (!is_there(format_of(pairs[i].from)) || !is_there(format_of(pairs[i].to)))
			continue;
		each_stream(i, "2,000 of text", add_text_events);
		/* Gemini gives a call whole, in one event */
		if (pairs[i].from != FORMAT_GEMINI)
			each_stream(i, "2,000 of a call", add_call_events);
	}
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		only = argv[1];
	(void)printf("%-52s %-16s %13s %8s\n", "", "", "CPU", "ratio");
	requests();
	answers();
	streams();
	if (missed > 0)
		(void)printf(
			"%d of the targets are missed: passed on at most %.0f, converted %.0f, "
			"growth %.0f\n",
			missed, PASS_MOST, CONVERT_MOST, GROWTH_MOST);
	return missed == 0 ? 0 : 1;
}
