/*
 * tags.h - X-Sluice-Tag: what a client's operator wants a request's cost to be told under.
 */
#ifndef GATEWAY_TAGS_H
#define GATEWAY_TAGS_H

#include "base/bytes.h"
#include "base/err.h"
#include "store/usage.h"

#define TAG_BYTES sizeof(((struct usage_row *)0)->tags[0])

/*
 * Up to USAGE_TAGS_MAX tags parted by commas: "feature=search, team=a".
 * A name of letters, digits and "._-", then "=" and a value of what is printable in ASCII but
 * commas, blanks and quotes.  The same one twice counts once.  What is left over is "".
 * 0, or -1 with ERR_BAD_REQUEST.  Pure.
 */
int tags_read(struct span header, char tags[USAGE_TAGS_MAX][TAG_BYTES], struct err *err);

#endif
