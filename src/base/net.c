/* net.c - see net.h. */
#include "base/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_BYTES 16

/* 4 or 16 bytes; 0 when it is no address.  An IPv4 one in IPv6's clothes is IPv4. */
static int
read_address(const char *text, unsigned char out[ADDRESS_BYTES])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	if (inet_pton(AF_INET6, text, out) != 1)
		return 0;
	if (memcmp(out, mapped, sizeof mapped) != 0)
		return 16;
	memmove(out, out + sizeof mapped, 4);
	return 4;
}

static bool
same_bits(const unsigned char *a, const unsigned char *b, long bits)
{
	size_t whole = (size_t)bits / 8;
	int rest = (int)(bits % 8);

	return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

struct network {
	unsigned char address[ADDRESS_BYTES];
	int len; /* 4 or 16 */
	long bits;
};

/* The next entry of a list; false at its end.  len 0: it is neither address nor network. */
static bool
next_network(const char **list, struct network *net)
{
	size_t n = strcspn(*list, ",\n");
	char text[64], *slash, *end = NULL;

	if (**list == '\0')
		return false;
	net->len = 0;
	if (n < sizeof text) {
		memcpy(text, *list, n);
		text[n] = '\0';
		if ((slash = strchr(text, '/')) != NULL)
			*slash = '\0';
		net->len = read_address(text, net->address);
		net->bits = net->len * 8L;
		if (slash != NULL) {
			net->bits = strtol(slash + 1, &end, 10);
			if (slash[1] < '0' || slash[1] > '9' || *end != '\0' ||
				net->bits > net->len * 8L)
				net->len = 0;
		}
	}
	*list += n + ((*list)[n] != '\0');
	return true;
}

bool
net_in_list(const char *list, const char *address)
{
	unsigned char wanted[ADDRESS_BYTES];
	int len = read_address(address, wanted);
	struct network net;

	while (len > 0 && next_network(&list, &net))
		if (net.len == len && same_bits(wanted, net.address, net.bits))
			return true;
	return false;
}

bool
net_is_list(const char *list)
{
	struct network net;

	while (next_network(&list, &net))
		if (net.len == 0)
			return false;
	return true;
}

bool
net_lists_meet(const char *a, const char *b)
{
	struct network in_a, in_b;

	while (next_network(&a, &in_a)) {
		const char *rest = b;

		while (next_network(&rest, &in_b))
			if (in_a.len > 0 && in_a.len == in_b.len &&
				same_bits(in_a.address, in_b.address,
					in_a.bits < in_b.bits ? in_a.bits : in_b.bits))
				return true;
	}
	return false;
}
