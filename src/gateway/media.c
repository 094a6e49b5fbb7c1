/*
 * media.c - images, documents and audio that a request names by their address.
 */
#include "gateway/gateway-int.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "gateway/where.h"
#include "wire/text.h"
#include <stdio.h>
#include <string.h>

#define HELD_TIMES   3    /* the bytes, their base64, and the request that is made of it */
#define RETRY_MS     2000 /* what is said to those that find all fetches taken */
#define PATH_BYTES   64   /* struct err's field */
#define INTAKE_SHARE 4    /* of the intake threads a quarter may fetch */

#define UNTYPED "application/octet-stream,binary/octet-stream"

struct media {
	struct media *next;
	struct gateway *gw;
	const char *url;
	enum part_kind kind;
	bool fetched;
	bool is_pdf;
	char mime[96];
	struct bytes base64;
	int64_t held; /* of gw->media_bytes */
	struct err err;
};

/* ---- which parts ---- */

static int
each_of(struct neutral_part *part, size_t count, const struct format *to,
	int (*fn)(void *ctx, struct neutral_part *p), void *ctx)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct neutral_part *p = &part[i];
		bool named = p->url.at != NULL && p->data.at == NULL && p->text.at == NULL;

		if (named && p->kind >= PART_IMAGE && p->kind <= PART_AUDIO && !to->takes_url(p))
			rc = fn(ctx, p);
		for (size_t c = 0; p->kind == PART_TOOL_RESULT && c < p->content_count && rc == 0;
			c++)
			rc = each_of(&p->content[c], 1, to, fn, ctx);
	}
	return rc;
}

/* fn for each part of n whose address that format cannot be told.  0, or what fn returned. */
static int
each_part(struct neutral_request *n, const struct format *to,
	int (*fn)(void *ctx, struct neutral_part *p), void *ctx)
{
	int rc = 0;

	for (size_t m = 0; m < n->message_count && rc == 0; m++)
		rc = each_of(n->message[m].part, n->message[m].count, to, fn, ctx);
	return rc;
}

static struct media *
find(const struct exchange *x, const struct neutral_part *p)
{
	struct media *m = x->media;

	while (m != NULL && (m->kind != p->kind || !span_is(p->url, m->url)))
		m = m->next;
	return m;
}

static void
free_media(void *media)
{
	struct media *m = media;

	atomic_fetch_sub(&m->gw->media_bytes, m->held);
	bytes_free(&m->base64);
}

struct filling {
	struct exchange *x;
	const struct upstream *u;
	struct err *err;
	bool missing;        /* something is not fetched yet */
	size_t parts;        /* by address: each costs a walk to its place, and room */
	size_t base64_bytes; /* put in; the same may stand in several places */
};

static int
refuse_address(struct filling *f, const struct neutral_part *p)
{
	char path[PATH_BYTES];

	where_stands(f->x->body, p->url, path, sizeof path, NULL);
	(void)err_set(f->err, ERR_UNSUPPORTED,
		"an address at %s, and upstream %s does not fetch them", path, f->u->name);
	(void)err_say(f->err,
		"%s%sThis model's provider needs the bytes, not an address: send them in base64, "
		"or ask the operator to switch on fetch_media for the upstream.",
		path, path[0] == '\0' ? "" : ": ");
	return err_field(f->err, path);
}

static int
note(void *filling, struct neutral_part *p)
{
	struct filling *f = filling;
	struct exchange *x = f->x;
	struct media *m = find(x, p), **end = &x->media;

	if (!translate_fetches(x, f->u))
		return refuse_address(f, p);
	if (f->parts++ == FORWARD_FETCH_MOST) {
		(void)err_set(f->err, ERR_UNSUPPORTED, "too many addresses to fetch");
		return err_say(f->err,
			"At most %d images and documents may be named by address in one request; "
			"send the others in base64.",
			FORWARD_FETCH_MOST);
	}
	if (m != NULL) {
		f->missing = f->missing || !m->fetched;
		return 0;
	}
	while (*end != NULL)
		end = &(*end)->next;
	m = arena_alloc(x->arena, sizeof *m);
	if (m != NULL)
		m->url = arena_strndup(x->arena, p->url.at, p->url.len);
	if (m == NULL || m->url == NULL)
		return err_set(f->err, ERR_MEMORY, "no memory to fetch media");
	m->gw = x->gw;
	m->kind = p->kind;
	*end = m;
	if (arena_defer(x->arena, free_media, m) != 0) {
		*end = NULL; /* it was freed */
		return err_set(f->err, ERR_MEMORY, "no memory to fetch media");
	}
	f->missing = true;
	return 0;
}

/* ---- fetching ---- */

static const char *
types_of(enum part_kind kind)
{
	switch (kind) {
	case PART_IMAGE:
		return "image/*,application/pdf," UNTYPED;
	case PART_AUDIO:
		return "audio/*," UNTYPED;
	default:
		return "application/*,text/*," UNTYPED;
	}
}

/* The first bytes know better than a web server. */
static const char *
sniff(struct span s)
{
	static const struct {
		size_t at, len;
		const char *mark, *mime;
	} known[] = { { 0, 8, "\x89PNG\r\n\x1a\n", "image/png" },
		{ 0, 3, "\xff\xd8\xff", "image/jpeg" }, { 0, 4, "GIF8", "image/gif" },
		{ 8, 4, "WEBP", "image/webp" }, { 0, 5, "%PDF-", "application/pdf" },
		{ 8, 4, "WAVE", "audio/wav" } };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (s.len >= known[i].at + known[i].len &&
			memcmp(s.at + known[i].at, known[i].mark, known[i].len) == 0 &&
			(known[i].at == 0 || memcmp(s.at, "RIFF", 4) == 0))
			return known[i].mime;
	return NULL;
}

static int
take_in(struct media *m, const struct forward_fetch *f)
{
	const char *seen = sniff(bytes_span(&f->body));
	struct span mime = text_mime(span_of(f->content_type));

	if (seen != NULL)
		mime = span_of(seen);
	else if (glob_list_match(UNTYPED, mime))
		mime = SPAN_NONE; /* the part may name one */
	(void)span_copy(mime, m->mime, sizeof m->mime);
	m->is_pdf = strcmp(m->mime, "application/pdf") == 0;
	m->base64 = BYTES_LIMIT(f->body.len / 3 * 4 + 8);
	bytes_expect(&m->base64, m->base64.limit);
	if (base64_encode(&m->base64, bytes_span(&f->body)) != 0)
		return -1;
	m->fetched = true;
	return 0;
}

struct taking {
	struct gateway *gw;
	int64_t held;
};

/* Others' share is what counts: a request alone may have what its own ceilings allow. */
static bool
may_hold(void *taking, size_t bytes)
{
	struct taking *t = taking;
	int64_t more = HELD_TIMES * (int64_t)bytes;
	int64_t all = atomic_fetch_add(&t->gw->media_bytes, more) + more;

	t->held += more;
	return all <= t->gw->conf.body_memory_bytes || all == t->held;
}

static bool
take_slot(struct gateway *gw)
{
	int64_t most = gw->conf.intake_threads_max / INTAKE_SHARE;

	if (most > MEDIA_FETCHES_MAX)
		most = MEDIA_FETCHES_MAX;
	if (atomic_fetch_add(&gw->media_fetches, 1) < most)
		return true;
	atomic_fetch_sub(&gw->media_fetches, 1);
	return false;
}

static int
overloaded(struct err *err)
{
	(void)err_set(err, ERR_OVERLOADED, "all that may fetch media are at it");
	(void)err_say(err,
		"The gateway fetches too many images and documents now; try again soon, or send "
		"their bytes.");
	err->retry_boot_ms = clock_boot_ms() + RETRY_MS;
	return -1;
}

/* Those that are missing, all at once.  The caller has a slot. */
static void
fetch(struct exchange *x)
{
	const struct conf *c = &x->gw->conf;
	struct forward_fetch f[FORWARD_FETCH_MOST] = { 0 };
	struct media *of[FORWARD_FETCH_MOST];
	struct taking t = { .gw = x->gw };
	struct forward_fetch_options o = { .each_bytes = c->media_fetch_bytes,
		.all_bytes = 2 * c->media_fetch_bytes,
		.total_ms = 1000 * c->media_fetch_seconds,
		.allow_private = c->media_allow_private,
		.ca_file = c->ca_file[0] == '\0' ? NULL : c->ca_file,
		.user_agent = "sluice/" SLUICE_VERSION,
		.take = may_hold,
		.ctx = &t };
	size_t count = 0;
	int rc;

	for (struct media *m = x->media; m != NULL; m = m->next)
		if (!m->fetched) {
			of[count] = m;
			f[count++] =
				(struct forward_fetch){ .url = m->url, .types = types_of(m->kind) };
		}
	rc = forward_fetch(f, count, &o, &x->media_err);
	for (size_t i = 0; i < count; i++) {
		of[i]->err = f[i].err;
		if (rc == 0 && take_in(of[i], &f[i]) != 0)
			rc = err_set(&x->media_err, ERR_MEMORY, "no memory for fetched media");
		of[i]->held = of[i]->fetched ? HELD_TIMES * (int64_t)f[i].body.len : 0;
		bytes_free(&f[i].body);
		t.held -= of[i]->held;
	}
	atomic_fetch_sub(&x->gw->media_bytes, t.held); /* of what was refused */
	if (rc != 0 && x->media_err.code == ERR_OVERLOADED)
		(void)overloaded(&x->media_err);
	if (rc != 0)
		log_request(LOG_INFO, "media", x->request_id, "%s", x->media_err.text);
}

/* ---- into the request ---- */

static int
refuse_failed(void *filling, struct neutral_part *p)
{
	struct filling *f = filling;
	struct media *m = find(f->x, p);
	char path[PATH_BYTES];

	if (m == NULL || m->err.code == ERR_NONE || m->err.code == ERR_OVERLOADED ||
		m->err.code == ERR_MEMORY)
		return 0;
	where_stands(f->x->body, p->url, path, sizeof path, NULL);
	*f->err = m->err;
	(void)err_say(f->err, "%s: %.170s", path, err_public(&m->err));
	return err_field(f->err, path);
}

/* Counts what goes into the request; -1: one thing named many times is more than is fetched. */
static int
put_more(struct filling *f, const struct media *m)
{
	int64_t most = 2 * f->x->gw->conf.media_fetch_bytes;

	f->base64_bytes += m->base64.len;
	if ((int64_t)(f->base64_bytes / 4 * 3) <= most + 2 * FORWARD_FETCH_MOST)
		return 0;
	(void)err_set(f->err, ERR_UNSUPPORTED, "media named often are too long together");
	return err_say(f->err,
		"The images and documents that this request names by address hold more than the "
		"%lld bytes that are fetched for one.",
		(long long)most);
}

static int
fill(void *filling, struct neutral_part *p)
{
	struct filling *f = filling;
	struct media *m = find(f->x, p);

	if (put_more(f, m) != 0)
		return -1;
	if (m->mime[0] != '\0')
		p->mime = span_of(m->mime);
	if (p->kind == PART_IMAGE && m->is_pdf)
		p->kind = PART_DOCUMENT; /* clients that have one kind of part for both */
	p->data = bytes_span(&m->base64);
	p->url = SPAN_NONE;
	return 0;
}

static bool
may_block(const struct exchange *x)
{
	return x->state == EX_ADMIT; /* on an intake thread */
}

/* All that n needs is there, or -1. */
static int
have_all(struct filling *f, const struct format *to, struct neutral_request *n)
{
	struct exchange *x = f->x;

	if (each_part(n, to, note, f) != 0)
		return -1;
	if (!f->missing)
		return 0;
	if (x->media_err.code == ERR_NONE && !may_block(x)) {
		x->media_waits = true;
		return err_set(f->err, ERR_OVERLOADED, "media are to be fetched first");
	}
	if (x->media_err.code == ERR_NONE) {
		if (!take_slot(x->gw))
			return overloaded(f->err);
		if (!x->gw->cgi)
			web_away(x->request);
		fetch(x);
		if (!x->gw->cgi)
			web_back(x->request);
		atomic_fetch_sub(&x->gw->media_fetches, 1);
	}
	if (x->media_err.code == ERR_NONE)
		return 0;
	if (each_part(n, to, refuse_failed, f) != 0)
		return -1;
	*f->err = x->media_err;
	return -1;
}

int
media_fill(struct exchange *x, const struct upstream *u, const struct format *to,
	struct neutral_request *n, struct err *err)
{
	struct filling f = { .x = x, .u = u, .err = err };

	return have_all(&f, to, n) != 0 ? -1 : each_part(n, to, fill, &f);
}

bool
media_may_fetch(const struct exchange *x, const struct upstream *u, const struct format *to)
{
	return translate_fetches(x, u) && to != NULL && to != x->match.format;
}

/* ---- into a body that is spliced ---- */

struct splicing {
	struct filling f;
	struct bytes *out;
	size_t done; /* of the body, copied */
};

static void
put_source(struct json_out *o, const struct neutral_part *p, const struct media *m)
{
	struct bytes text = BYTES_LIMIT(m->base64.len);
	struct span mime = m->mime[0] != '\0' ? span_of(m->mime) : p->mime;
	bool is_text = p->kind == PART_DOCUMENT && !m->is_pdf &&
		       base64_decode(&text, bytes_span(&m->base64)) == 0;

	out_open(o, NULL, '{');
	out_string(o, "type", is_text ? "text" : "base64");
	out_text(o, "media_type", is_text ? SPAN_LIT("text/plain") : mime);
	out_text(o, "data", is_text ? bytes_span(&text) : bytes_span(&m->base64));
	out_close(o, '}');
	bytes_free(&text);
}

static int
put_in(void *splicing, struct neutral_part *p)
{
	struct splicing *s = splicing;
	struct span body = s->f.x->body, holder;
	struct json_out o = { .to = s->out };
	char path[PATH_BYTES], type[8];
	size_t at;

	if (put_more(&s->f, find(s->f.x, p)) != 0)
		return -1;
	where_stands(body, p->url, path, sizeof path, &holder);
	if (holder.at == NULL || json_string(json_get(holder, "type"), type, sizeof type) < 0 ||
		strcmp(type, "url") != 0 || (at = (size_t)(holder.at - body.at)) < s->done)
		return refuse_address(&s->f, p);
	(void)bytes_add(s->out, body.at + s->done, at - s->done);
	put_source(&o, p, find(s->f.x, p));
	s->done = at + holder.len;
	return 0;
}

static void
free_made(void *made)
{
	bytes_free(made);
}

static int
splice_all(struct exchange *x, const struct format *to, struct neutral_request *n,
	struct splicing *s, struct span *body)
{
	if (have_all(&s->f, to, n) != 0)
		return -1;
	if (x->media == NULL)
		return 0;
	if (each_part(n, to, put_in, s) != 0)
		return -1;
	(void)bytes_add(s->out, x->body.at + s->done, x->body.len - s->done);
	if (s->out->failed)
		return err_set(s->f.err, ERR_MEMORY, "no memory for fetched media");
	*body = bytes_span(s->out);
	return 0;
}

int
media_splice(struct exchange *x, const struct upstream *u, const struct format *to, struct arena *a,
	struct span *body, struct err *err)
{
	struct request_source source = translate_source(x);
	struct neutral_request *n = NULL;
	struct losses lost = { 0 };
	struct bytes *out;
	struct splicing s = { .f = { .x = x, .u = u, .err = err } };

	if (x->body.len == 0 || memmem(x->body.at, x->body.len, "\"url\"", 5) == NULL)
		return 0;
	n = arena_alloc(a, sizeof *n);
	out = arena_alloc(a, sizeof *out);
	if (n == NULL || out == NULL)
		return err_set(err, ERR_MEMORY, "no memory for fetched media");
	*out = BYTES_LIMIT(CONVERT_REQUEST_MAX);
	s.out = out;
	if (arena_defer(a, free_made, out) != 0)
		return err_set(err, ERR_MEMORY, "no memory for fetched media");
	neutral_request_init(n, a);
	if (x->match.format->read_request(&source, n, &lost, err) != 0)
		return 0; /* whoever the body is for says what is wrong with it */
	return splice_all(x, to, n, &s, body);
}

/* ---- on a thread of its own ---- */

bool
media_waits(const struct exchange *x)
{
	return x->media_waits;
}

struct aside {
	struct exchange *x;
	void (*done)(struct exchange *x);
};

static void *
run(void *arg)
{
	struct aside *a = arg;
	struct exchange *x = a->x;
	struct gateway *gw = x->gw;

	fetch(x);
	atomic_fetch_sub(&gw->media_fetches, 1);
	a->done(x);
	return NULL;
}

int
media_fetch_aside(struct exchange *x, void (*done)(struct exchange *x), struct err *err)
{
	struct aside *a = arena_alloc(x->arena, sizeof *a);

	x->media_waits = false;
	if (a == NULL)
		return err_set(err, ERR_MEMORY, "no memory to fetch media");
	*a = (struct aside){ x, done };
	if (!take_slot(x->gw))
		return overloaded(err);
	if (process_start_thread(run, a) == 0)
		return 0;
	atomic_fetch_sub(&x->gw->media_fetches, 1);
	return err_set(err, ERR_MEMORY, "no thread to fetch media");
}
