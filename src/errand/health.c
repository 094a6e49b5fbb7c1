/*
 * health.c - is somebody at home?  Any answer below 500 says so.
 */
#include "errand/errand-int.h"

#include "base/log.h"
#include "route/standing.h"

#include <stdio.h>
#include <string.h>

#define HISTORY_MAGIC UINT32_C(0x68746831) /* in another byte order it is none */
#define CHECK_MS      5000
#define CHECK_BYTES   (1024 * 1024) /* of a GET's answer, which nobody reads */
_Static_assert(sizeof(struct health_history) <= SETTING_BYTES, "a history is one value");

static void
name_of(struct id upstream, char out[ID_TEXT_BYTES + 16])
{
	char id[ID_TEXT_BYTES];

	id_text(record_prefix(RECORD_UPSTREAM), upstream, id);
	(void)snprintf(out, ID_TEXT_BYTES + 16, "cache.health.%s", id);
}

int
health_read(struct store *s, struct id upstream, struct health_history *out, struct err *err)
{
	struct health_history h;
	char name[ID_TEXT_BYTES + 16];
	ptrdiff_t len;

	name_of(upstream, name);
	memset(out, 0, sizeof *out);
	len = store_value_get(s, name, &h, sizeof h, err);
	if (len < 0)
		return -1;
	if (len != sizeof h || h.magic != HISTORY_MAGIC || h.count > HEALTH_KEPT)
		return 0;
	*out = h;
	out->why[sizeof out->why - 1] = '\0';
	return 1;
}

int
health_forget(struct store *s, struct id upstream, struct err *err)
{
	char name[ID_TEXT_BYTES + 16];

	name_of(upstream, name);
	return store_value_delete(s, name, err);
}

static int
keep(struct store *s, struct id upstream, const struct health_check *check, const char *why,
	struct err *err)
{
	struct health_history h;
	char name[ID_TEXT_BYTES + 16];

	if (health_read(s, upstream, &h, err) < 0)
		return -1;
	h.magic = HISTORY_MAGIC;
	if (h.count == HEALTH_KEPT)
		memmove(&h.check[0], &h.check[1], sizeof h.check[0] * (size_t)--h.count);
	h.check[h.count++] = *check;
	if (!check->ok)
		(void)span_copy(span_of(why), h.why, sizeof h.why);
	name_of(upstream, name);
	return store_value_put(s, name, &h, sizeof h, err);
}

static int
put_url(const struct upstream *u, struct bytes *out)
{
	struct span base = errand_base(u->base_url);

	(void)bytes_add(out, base.at, base.len);
	if (u->health_path[0] != '/')
		(void)bytes_puts(out, "/");
	return bytes_puts(out, u->health_path);
}

static int
conclude(struct errand_desk *d, const struct errand *e, struct err *err)
{
	const struct upstream *u = e->upstream;
	struct health_check check = { .at_ms = board_now_ms(d->board),
		.took_ms = (int32_t)(e->took_us / 1000),
		.status = (int16_t)e->status,
		.ok = e->status > 0 && e->status < 500 };
	struct route_rests rests = { .default_ms = d->conf->rest_default_ms,
		.most_ms = d->conf->rest_max_ms };
	char why[160] = "";

	if (!check.ok && e->status > 0) {
		(void)snprintf(why, sizeof why, "status %d", e->status);
		log_write(LOG_WARN, "health", "upstream %s: %s", u->name, why);
	} else if (!check.ok) { /* the text names the upstream */
		(void)span_copy(span_of(e->err.text), why, sizeof why);
		log_write(LOG_WARN, "health", "%s", why);
	}
	standing_health(d->board, u, check.ok != 0, check.status, span_of(why), &rests);
	return keep(d->store, u->head.id, &check, why, err);
}

int
health_now(struct errand_desk *d, const struct snapshot *p, const struct upstream *const *u,
	size_t count, struct err *err)
{
	static const char *const methods[] = { [HEALTH_HEAD] = "HEAD", [HEALTH_GET] = "GET" };
	struct errand e[ERRANDS_MOST];
	struct bytes url[ERRANDS_MOST];
	int rc = 0;

	if (count > ERRANDS_MOST)
		count = ERRANDS_MOST;
	for (size_t i = 0; i < count; i++) {
		url[i] = BYTES_LIMIT(URL_BYTES + sizeof u[i]->health_path + 1);
		e[i] = (struct errand){ .upstream = u[i],
			.key = errand_key(d->board, p, u[i]),
			.method = methods[u[i]->health_method == HEALTH_GET],
			.total_ms = CHECK_MS,
			.most_bytes = CHECK_BYTES };
		if (put_url(u[i], &url[i]) != 0)
			rc = err_set(err, ERR_MEMORY, "no memory for an address");
		e[i].url = url[i].at;
	}
	if (rc == 0)
		errand_run(d, e, count);
	for (size_t i = 0; i < count; i++) {
		/* what kept us from asking says nothing of them */
		bool asked = rc == 0 && e[i].err.code != ERR_MEMORY &&
			     e[i].err.code != ERR_OVERLOADED &&
			     e[i].err.code != ERR_STORE_UNAVAILABLE &&
			     (e[i].err.code != ERR_UPSTREAM_CREDENTIALS || e[i].status > 0);

		if (asked && !atomic_load(&d->stopped) && conclude(d, &e[i], err) != 0)
			rc = -1;
		bytes_free(&e[i].body);
		bytes_free(&url[i]);
	}
	return rc;
}
