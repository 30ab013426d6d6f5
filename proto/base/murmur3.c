#include "proto/base/murmur3.h"

static uint32_t rotate(uint32_t x, int bits)
{
    return (x << bits) | (x >> (32 - bits));
}

static uint32_t mixed(uint32_t word)
{
    return rotate(word * 0xcc9e2d51u, 15) * 0x1b873593u;
}

uint32_t pl_murmur3_32(struct pl_span in, uint32_t seed)
{
    uint32_t hash = seed, tail = 0;
    size_t at = 0;
    for (; in.len - at >= 4; at += 4) {
        const uint32_t word = (uint32_t)in.data[at] | (uint32_t)in.data[at + 1] << 8 |
                              (uint32_t)in.data[at + 2] << 16 | (uint32_t)in.data[at + 3] << 24;
        hash = rotate(hash ^ mixed(word), 13) * 5 + 0xe6546b64u;
    }
    for (size_t i = at; i < in.len; i++)
        tail |= (uint32_t)in.data[i] << (8 * (i - at));
    hash ^= mixed(tail) ^ (uint32_t)in.len;
    hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
    hash = (hash ^ (hash >> 13)) * 0xc2b2ae35u;
    return hash ^ (hash >> 16);
}
