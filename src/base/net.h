/*
 * net.h - addresses as text.  Pure; safe over threads.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>

/* Is the address one of the list, or in one of its networks?  list: addresses and networks as
 * "10.0.0.0/8" or "fd00::/8", parted by commas; what is neither fits nothing. */
bool net_in_list(const char *list, const char *address);

#endif
