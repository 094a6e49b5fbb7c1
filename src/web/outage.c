/* outage.c - see outage.h. */
#include "web/outage.h"

#include "base/log.h"

#define BODY_BYTES (1 << 20) /* read and thrown away: some web servers lose an early answer */

struct outage {
	uv_loop_t loop;
	uv_timer_t timer;
	struct web_server *web;
	const struct err *why;
	void *ctx;
	const char *(*make_error)(
		void *ctx, const struct web_request *r, const struct err *why, struct bytes *out);
};

static void
on_request(void *ctx, struct web_request *r)
{
	struct outage *o = ctx;
	struct web_head_line retry = { "Retry-After", "5" };
	struct bytes body = BYTES_LIMIT(8192);
	const char *type = o->make_error(o->ctx, r, o->why, &body);

	web_answer(r, err_status(o->why->code), type, &retry, 1, bytes_span(&body));
	bytes_free(&body);
}

static const char *
make_error(void *ctx, const struct web_request *r, const struct err *why, struct bytes *out)
{
	struct outage *o = ctx;

	return o->make_error(o->ctx, r, why, out);
}

static void
on_timer(uv_timer_t *timer)
{
	struct outage *o = timer->data;

	web_stop(o->web);
}

static void
on_drained(void *ctx)
{
	uv_close((uv_handle_t *)&((struct outage *)ctx)->timer, NULL);
}

void
web_outage(const struct err *why, int for_ms, void *ctx,
	const char *(*make_error_of)(
		void *ctx, const struct web_request *r, const struct err *why, struct bytes *out))
{
	struct outage o = { .why = why, .ctx = ctx, .make_error = make_error_of };
	struct web_options options = { .threads_least = 1,
		.threads_most = 16,
		.body_limit_bytes = BODY_BYTES,
		.handler = { &o, on_request, NULL, make_error, on_drained } };
	struct err err = { 0 };

	uv_loop_init(&o.loop);
	uv_timer_init(&o.loop, &o.timer);
	o.timer.data = &o;
	o.web = web_is_cgi() ? web_start_cgi(&o.loop, &options, &err)
			     : web_start(&o.loop, &options, &err);
	if (o.web == NULL) {
		log_write(LOG_ERROR, "outage", "%s", err.text);
		return;
	}
	if (!web_is_cgi())
		uv_timer_start(&o.timer, on_timer, (uint64_t)for_ms, 0);
	uv_run(&o.loop, UV_RUN_DEFAULT);
	web_free(o.web);
	uv_loop_close(&o.loop);
}
