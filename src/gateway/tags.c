/* tags.c - strict, because a tag with a typing error would be a bucket of its own for ever. */
#include "gateway/tags.h"

#include <ctype.h>
#include <string.h>

static int
refuse(struct err *err, const char *says)
{
	err_set(err, ERR_BAD_REQUEST, "X-Sluice-Tag: %s", says);
	return err_say(err, "X-Sluice-Tag %s.", says);
}

static bool
is_tag(struct span t)
{
	size_t i = 0;

	while (i < t.len && (isalnum((unsigned char)t.at[i]) || memchr("._-", t.at[i], 3) != NULL))
		i++;
	if (i == 0 || i + 1 >= t.len || t.at[i] != '=')
		return false;
	for (i++; i < t.len; i++)
		if (t.at[i] <= ' ' || t.at[i] > '~' || t.at[i] == '"' || t.at[i] == '\\')
			return false;
	return true;
}

static struct span
trimmed(struct span s)
{
	while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
		s.at++, s.len--;
	while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static bool
is_there(char tags[USAGE_TAGS_MAX][TAG_BYTES], size_t count, struct span t)
{
	for (size_t i = 0; i < count; i++)
		if (span_is(t, tags[i]))
			return true;
	return false;
}

int
tags_read(struct span header, char tags[USAGE_TAGS_MAX][TAG_BYTES], struct err *err)
{
	size_t count = 0;

	memset(tags, 0, USAGE_TAGS_MAX * TAG_BYTES);
	for (size_t from = 0, end; from < header.len; from = end + 1) {
		struct span t;

		for (end = from; end < header.len && header.at[end] != ','; end++)
			;
		t = trimmed((struct span){ header.at + from, end - from });
		if (t.len == 0 || is_there(tags, count, t))
			continue;
		if (!is_tag(t))
			return refuse(err, "wants name=value, parted by commas");
		if (t.len >= TAG_BYTES)
			return refuse(err, "takes at most 63 bytes a tag");
		if (count == USAGE_TAGS_MAX)
			return refuse(err, "takes at most 4 tags");
		memcpy(tags[count++], t.at, t.len);
	}
	return 0;
}
