/*
 * base64.h - RFC 4648, into a growing buffer.  Safe over threads.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/bytes.h"

/* Appends the text, with padding.  0 or -1 (out->failed). */
int base64_encode(struct bytes *out, struct span data);
/* Appends the bytes.  Both alphabets (+/ and -_) and missing padding are taken; white space is passed over.
 * 0; -1 when text is no base64 (out->failed is not set then), or memory or the limit is spent. */
int base64_decode(struct bytes *out, struct span text);

#endif
