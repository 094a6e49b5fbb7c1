/*
 * mock_quota.c - quotas of each key (--quota), told as each protocol tells them, and refused beyond.
 *
 * A window begins with the first request after the last one ended, and turns all at once.
 */
#include "cli/mock-int.h"

#include "base/clock.h"
#include "wire/quota.h"
#include <string.h>

static struct {
	int count;
	struct quota_window window[MOCK_QUOTAS];
	bool silent;
} quotas;

bool
mock_quota_read(const char *list, bool silent)
{
	quotas.silent = silent;
	while (*list != '\0') {
		size_t len = strcspn(list, ",");

		if (quotas.count == MOCK_QUOTAS ||
			quota_parse_given(
				(struct span){ list, len }, &quotas.window[quotas.count]) != 0 ||
			quotas.window[quotas.count++].unit != QUOTA_REQUESTS)
			return false;
		list += len + (list[len] == ',');
	}
	return true;
}

bool
mock_quota_take(struct mock_exchange *x)
{
	int64_t now_us = clock_mono_us();

	for (int i = 0; i < quotas.count; i++)
		if (now_us >= x->quota->end_us[i]) {
			x->quota->end_us[i] = now_us + quotas.window[i].length_ms * 1000;
			x->quota->used[i] = 0;
		}
	for (int i = 0; i < quotas.count; i++)
		if (x->quota->used[i] >= quotas.window[i].limit)
			return false;
	for (int i = 0; i < quotas.count; i++)
		x->quota->used[i]++;
	return true;
}

bool
mock_quota_headers(const struct mock_exchange *x, int status, struct bytes *to)
{
	const struct quota_window *w = &quotas.window[0];
	int at = 0;
	int64_t left, wait_ms;
	char text[CLOCK_TEXT_BYTES];

	if (quotas.count == 0 || x->quota == NULL)
		return false;
	/* the one that leaves least is told of */
	for (int i = 1; i < quotas.count; i++)
		if (quotas.window[i].limit - x->quota->used[i] < w->limit - x->quota->used[at]) {
			at = i;
			w = &quotas.window[i];
		}
	left = w->limit - x->quota->used[at];
	wait_ms = (x->quota->end_us[at] - clock_mono_us() + 999) / 1000;
	wait_ms = wait_ms < 0 ? 0 : wait_ms;
	if (quotas.silent)
		return true;
	switch (x->dialect) {
	case MOCK_ANTHROPIC:
		clock_rfc3339((clock_wall_ms() + wait_ms + 999) / 1000 * 1000, text);
		(void)bytes_printf(to,
			"anthropic-ratelimit-requests-limit: %lld\r\n"
			"anthropic-ratelimit-requests-remaining: %lld\r\n"
			"anthropic-ratelimit-requests-reset: %.19sZ\r\n",
			(long long)w->limit, (long long)left, text);
		break;
	case MOCK_AZURE:
		(void)bytes_printf(to,
			"x-ratelimit-limit-requests: %lld\r\nx-ratelimit-remaining-requests: "
			"%lld\r\n"
			"x-ratelimit-reset-requests: %lld\r\n",
			(long long)w->limit, (long long)left, (long long)(wait_ms + 999) / 1000);
		break;
	case MOCK_OPENROUTER:
		if (status == 429)
			(void)bytes_printf(to,
				"X-RateLimit-Limit: %lld\r\nX-RateLimit-Remaining: %lld\r\n"
				"X-RateLimit-Reset: %lld\r\n",
				(long long)w->limit, (long long)left,
				(long long)(clock_wall_ms() + wait_ms));
		break;
	case MOCK_OPENAI:
		clock_duration(wait_ms, text);
		(void)bytes_printf(to,
			"x-ratelimit-limit-requests: %lld\r\nx-ratelimit-remaining-requests: "
			"%lld\r\n"
			"x-ratelimit-reset-requests: %s\r\n",
			(long long)w->limit, (long long)left, text);
		break;
	default:
		break; /* Google's and Amazon's tell nothing */
	}
	if (status == 429 && x->dialect != MOCK_GEMINI && x->dialect != MOCK_BEDROCK)
		(void)bytes_printf(to, "retry-after: %lld\r\n", (long long)(wait_ms + 999) / 1000);
	return true;
}
