/*
 * net.h - addresses as text.  Pure; safe over threads.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>

/* Is the address one of the list, or in one of its networks?  list: addresses and networks as
 * "10.0.0.0/8" or "fd00::/8", parted by commas or line ends; what is neither fits nothing.  "::ffff:10.0.0.1" is 10.0.0.1. */
bool net_in_list(const char *list, const char *address);
/* Is every entry an address or a network? */
bool net_is_list(const char *list);
/* Is there an address that is in both? */
bool net_lists_meet(const char *a, const char *b);

#endif
