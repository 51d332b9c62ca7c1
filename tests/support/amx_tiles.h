/*
 * amx_tiles.h - the tile instructions of layers/gemm/amx.h in plain C, for machines without them.
 *
 * A test defines DETENT_AMX_MODEL to this file's name and includes a kernel's source, whose functions get names of
 * their own (`dt_x` is `model_x`), so that they stand beside the library's. Ranges are checked: tiles may be used
 * between dt_amx_take and dt_amx_release alone.
 */
#ifndef AMX_TILES_H
#define AMX_TILES_H

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define DT_AMX_CODE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")))

typedef union {
    uint8_t byte[16][64];
    int8_t s8[16][64];
    uint16_t half[16][32];
    int32_t integer[16][16];
    float real[16][16];
} model_tile;

static _Thread_local model_tile model_tiles[8];
static _Thread_local int model_is_taken;

static inline void dt_amx_take(void)
{
    assert(!model_is_taken);
    memset(model_tiles, 0, sizeof model_tiles);
    model_is_taken = 1;
}

static inline void dt_amx_release(void)
{
    assert(model_is_taken);
    model_is_taken = 0;
}

static inline void model_load(int t, const void *at, int64_t bytes)
{
    assert(model_is_taken);
    for (int r = 0; r < 16; r++) memcpy(model_tiles[t].byte[r], (const char *)at + r * bytes, 64);
}

static inline void model_store(int t, void *at, int64_t bytes)
{
    assert(model_is_taken);
    for (int r = 0; r < 16; r++) memcpy((char *)at + r * bytes, model_tiles[t].byte[r], 64);
}

static inline void model_zero(int t)
{
    assert(model_is_taken);
    memset(&model_tiles[t], 0, sizeof model_tiles[t]);
}

/* Sums wrap modulo 2^32. */
static inline void model_bytes(int c, int a, int b, int is_signed)
{
    assert(model_is_taken);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            uint32_t sum = (uint32_t)model_tiles[c].integer[i][j];
            for (int k = 0; k < 64; k++) {
                const int left = is_signed ? model_tiles[a].s8[i][k] : model_tiles[a].byte[i][k];
                sum += (uint32_t)(left * model_tiles[b].s8[k / 4][4 * j + k % 4]);
            }
            model_tiles[c].integer[i][j] = (int32_t)sum;
        }
    }
}

/* Denormals are 0. */
static inline float model_flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static inline float model_half(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return model_flushed(x);
}

static inline void model_bf16(int c, int a, int b)
{
    assert(model_is_taken);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            float sum[2] = { 0.0f, 0.0f };
            for (int k = 0; k < 32; k++) {
                const float left = model_half(model_tiles[a].half[i][k]),
                            right = model_half(model_tiles[b].half[k / 2][2 * j + k % 2]);
                sum[k % 2] = model_flushed(fmaf(left, right, sum[k % 2]));
            }
            float *to = &model_tiles[c].real[i][j];
            *to = model_flushed(model_flushed(*to) + model_flushed(sum[0] + sum[1]));
        }
    }
}

#define DT_AMX_LOAD(t, at, bytes)  model_load(t, at, bytes)
#define DT_AMX_STORE(t, at, bytes) model_store(t, at, bytes)
#define DT_AMX_ZERO(t)             model_zero(t)
#define DT_AMX_U8S8(c, a, b)       model_bytes(c, a, b, 0)
#define DT_AMX_S8S8(c, a, b)       model_bytes(c, a, b, 1)
#define DT_AMX_BF16(c, a, b)       model_bf16(c, a, b)

#endif /* AMX_TILES_H */
