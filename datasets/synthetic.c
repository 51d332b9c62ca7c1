/*
 * synthetic.c - images computed from the seed, for tests and first tries without any file.
 *
 *   pixel = pattern * 96 / 256 + noise * 160 / 256, both rounded down; pattern and noise are bytes of Philox
 *
 * Each class has one pattern of 4x4 colours, each 8x8 pixels large, which both splits share. Every pixel has noise of
 * its own, which is stronger than the pattern but averages out over a block. So a small network learns the classes, but
 * not from a single pixel. Image i is of class i % 10. All numbers are integers, so that every machine gives the same
 * bytes.
 * Tests: tests/datasets/test_dataset.c.
 */
#include "dataset.h"
#include "../core/rng.h"

enum {
    N_TRAIN = 10000,
    N_TEST = 2000,
    N_CLASSES = 10,
    SIDE = 32,
    CHANNELS = 3,
    IMAGE_BYTES = SIDE * SIDE * CHANNELS,
    BLOCKS = 4, /* along a side */
    BLOCK_SIDE = SIDE / BLOCKS,
    PATTERN_BYTES = BLOCKS * BLOCKS * CHANNELS,
    DRAW_BYTES = 16, /* in one Philox result */
    PATTERN_SHARE = 96,
    NOISE_SHARE = 256 - PATTERN_SHARE,
    PATTERN_EPOCH = 0, /* of DT_STREAM_SYNTHETIC; noise takes 1 and 2, one for each split */
    NOISE_EPOCH = 1
};

/* Bytes number first * n .. first * n + n - 1 of one epoch of the stream; n is a multiple of DRAW_BYTES. */
static void draw_bytes(uint64_t seed, uint32_t epoch, uint64_t first, int n, uint8_t *out)
{
    for (int k = 0; k < n; k += DRAW_BYTES) {
        const uint64_t index = (first * (uint64_t)n + (uint64_t)k) / DRAW_BYTES;
        const dt_random4 r = dt_random(seed, DT_STREAM_SYNTHETIC, epoch, index);

        for (int b = 0; b < DRAW_BYTES; b++) out[k + b] = (uint8_t)(r.v[b / 4] >> (8 * (b % 4)));
    }
}

static void add_pattern(const uint8_t *pattern, uint8_t *image)
{
    for (int h = 0; h < SIDE; h++) {
        for (int w = 0; w < SIDE; w++) {
            const uint8_t *colour = pattern + (h / BLOCK_SIDE * BLOCKS + w / BLOCK_SIDE) * CHANNELS;

            for (int c = 0; c < CHANNELS; c++, image++) {
                *image = (uint8_t)((colour[c] * PATTERN_SHARE >> 8) + (*image * NOISE_SHARE >> 8));
            }
        }
    }
}

dt_status dt_synthetic_read(const dt_dataset_request *r, dt_dataset *d)
{
    uint8_t pattern[N_CLASSES][PATTERN_BYTES];
    const uint32_t noise_epoch = NOISE_EPOCH + (uint32_t)r->split;

    DT_TRY(dt_dataset_reserve(r->source, r->split == DT_SPLIT_TRAIN ? N_TRAIN : N_TEST, d));
    for (int c = 0; c < N_CLASSES; c++) draw_bytes(r->seed, PATTERN_EPOCH, (uint64_t)c, PATTERN_BYTES, pattern[c]);
    for (int64_t i = 0; i < d->n; i++) {
        uint8_t *image = d->images + i * IMAGE_BYTES;

        d->labels[i] = (int32_t)(i % N_CLASSES);
        draw_bytes(r->seed, noise_epoch, (uint64_t)i, IMAGE_BYTES, image);
        add_pattern(pattern[d->labels[i]], image);
    }
    return DT_OK;
}
