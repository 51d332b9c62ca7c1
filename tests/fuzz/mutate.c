/*
 * mutate.c - libFuzzer's mutations of safetensors files that keep the header's length right, most of the time.
 *
 * Without this nearly every insertion would end at the first check, and never reach the others.
 */
#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { PREFIX = 8 }; /* bytes of the length, little-endian */

static uint64_t read_length(const uint8_t *data)
{
    uint64_t n = 0;

    for (int i = PREFIX - 1; i >= 0; i--) n = n << 8 | data[i];
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    const uint64_t header = size >= PREFIX ? read_length(data) : 0;
    const size_t mutated = LLVMFuzzerMutate(data, size, max_size);

    if (size < PREFIX || header > size - PREFIX || seed % 8 == 0) return mutated;
    const size_t rest = size - PREFIX - (size_t)header; /* bytes of the data, which stay that many */
    if (mutated < PREFIX + rest) return mutated;
    uint64_t n = mutated - PREFIX - rest;
    for (int i = 0; i < PREFIX; i++, n >>= 8) data[i] = (uint8_t)n;
    return mutated;
}
