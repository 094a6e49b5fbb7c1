/* net.c - see net.h. */
#include "base/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_BYTES 16

/* 4 or 16 bytes; 0 when it is no address. */
static int
read_address(const char *text, unsigned char out[ADDRESS_BYTES])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static bool
same_bits(const unsigned char *a, const unsigned char *b, long bits)
{
	size_t whole = (size_t)bits / 8;
	int rest = (int)(bits % 8);

	return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

bool
net_in_list(const char *list, const char *address)
{
	unsigned char wanted[ADDRESS_BYTES], entry[ADDRESS_BYTES];
	int len = read_address(address, wanted);
	char text[64];

	while (len > 0 && *list != '\0') {
		size_t n = strcspn(list, ",");

		if (n < sizeof text) {
			char *slash, *end = NULL;
			long bits = len * 8;

			memcpy(text, list, n);
			text[n] = '\0';
			if ((slash = strchr(text, '/')) != NULL) {
				*slash = '\0';
				bits = strtol(slash + 1, &end, 10);
			}
			if (read_address(text, entry) == len && bits >= 0 && bits <= len * 8 &&
				(slash == NULL || (end != slash + 1 && *end == '\0')) &&
				same_bits(wanted, entry, bits))
				return true;
		}
		list += n + (list[n] == ',');
	}
	return false;
}
