/*
 * forecast.c - what is known of a key's quotas, as people and programs see it.
 */
#include "manage/manage-int.h"

#include "route/forecast.h"

#define SHOWN_MAX 24

static void
put_rate(struct bytes *out, const struct forecast_quota *q)
{
	bytes_printf(out, ",\"rate_per_minute\":%lld.%03lld", (long long)q->rate_milli / 1000,
		(long long)q->rate_milli % 1000);
}

static void
put_number(struct bytes *out, const char *name, int64_t n)
{
	if (n >= 0)
		shape_int(out, name, n);
	else
		bytes_printf(out, ",\"%s\":null", name);
}

void
shape_forecast(struct call *c, struct id key, struct bytes *out)
{
	struct forecast_quota quota[SHOWN_MAX];
	const struct forecast_quota *first = NULL;
	int count = forecast_quotas(c->m->board, key, quota, SHOWN_MAX);
	char text[FORECAST_SAID_BYTES];

	bytes_puts(out, ",\"forecast\":[");
	for (int i = 0; i < count; i++) {
		const struct forecast_quota *q = &quota[i];

		bytes_printf(
			out, "%s{\"unit\":\"%s\"", i == 0 ? "" : ",", quota_unit_name(q->unit));
		if (q->length_ms > 0)
			shape_int(out, "window_s", (q->length_ms + 999) / 1000);
		else
			bytes_puts(out, ",\"window_s\":null");
		if (q->model[0] != '\0')
			shape_text(out, "model", q->model);
		else
			bytes_puts(out, ",\"model\":null");
		put_number(out, "capacity", q->capacity);
		shape_text(out, "kind", forecast_kind_name(q->kind));
		put_number(out, "remaining", q->remaining);
		shape_int(out, "used", q->used);
		shape_time(out, "resets_at", q->reset_ms);
		put_rate(out, q);
		shape_time(out, "runs_dry_at", q->dry_ms);
		shape_int(out, "spread_s", q->dry_ms == 0 ? 0 : (q->spread_ms + 999) / 1000);
		shape_text(out, "state", forecast_plenty_name(q->plenty));
		shape_text(out, "uncertainty", forecast_uncertainty_name(q->uncertainty));
		bytes_printf(out, ",\"confidence\":%lld.%02lld}",
			(long long)q->confidence_ppm / 1000000,
			(long long)q->confidence_ppm % 1000000 / 10000);
		if (forecast_is_news(q) && (first == NULL || q->dry_ms < first->dry_ms))
			first = q;
	}
	bytes_puts(out, "]");
	shape_time(out, "runs_dry_at", first == NULL ? 0 : first->dry_ms);
	if (first == NULL) {
		bytes_puts(out, ",\"runs_dry\":null");
		return;
	}
	forecast_say(first->dry_ms, first->spread_ms, text);
	shape_text(out, "runs_dry", text);
}
