/*
 * lanes.h - sixteen bytes looked at in one step.
 *
 * The compiler turns this into the machine's vectors, or plain words where it has none.  Comparing
 * lanes gives 0xFF in each byte where it holds, else 0.
 */
#ifndef BASE_LANES_H
#define BASE_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define LANES 16
typedef unsigned char lanes __attribute__((vector_size(LANES)));

/* p: at least LANES bytes, aligned in any way. */
static inline lanes
lanes_at(const char *p)
{
	lanes v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* A bit for each byte of a comparison, the first byte's is the lowest. */
static inline uint32_t
lanes_bits(lanes set)
{
#ifdef __SSE2__
	return (uint32_t)_mm_movemask_epi8((__m128i)set);
#else
	uint64_t half[2];

	memcpy(half, &set, sizeof half);
	for (int i = 0; i < 2; i++) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
		half[i] = __builtin_bswap64(half[i]);
#endif
		/* bit 8k becomes bit 56 + k; no two meet, so nothing is carried */
		half[i] = (half[i] & 0x0101010101010101u) * 0x0102040810204080u >> 56;
	}
	return (uint32_t)(half[0] | half[1] << 8);
#endif
}

static inline bool
lanes_any(lanes set)
{
	return lanes_bits(set) != 0;
}

/* The first byte that is set; there is one. */
static inline size_t
lanes_first(lanes set)
{
	return (size_t)__builtin_ctz(lanes_bits(set));
}

/* The bits of four of them, one behind the other. */
static inline uint64_t
lanes_bits64(lanes a, lanes b, lanes c, lanes d)
{
	return (uint64_t)lanes_bits(a) | (uint64_t)lanes_bits(b) << 16 |
	       (uint64_t)lanes_bits(c) << 32 | (uint64_t)lanes_bits(d) << 48;
}

#endif
