/*
 * simt.cc - the scheduler: runs the blocks of a grid in turn, and the threads of a block as fibres.
 *
 * One fibre runs thread after thread for as long as they return without waiting. A thread that waits, at a barrier or
 * in a warp operation, keeps its fibre; another fibre goes on with the threads left, or with one that need not wait
 * any more. So a kernel without barriers runs as a loop, and a wait costs one switch. Fibres are never unmade: with
 * no thread left to run they park, and the next block or grid finds them where they are.
 *
 * The thread that makes a meeting complete (the last at a barrier, the last lane of a warp operation) releases the
 * others and goes on itself. Nothing here is preempted, so a kernel that spins for another thread's write hangs.
 */
#include "simt.h"
#include "fibre.h"

#include <cassert>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* for what runs between a kernel and a switch; fibre.h says why */
#define INLINE __attribute__((always_inline)) inline

namespace simt
{

enum warp_operation : std::uint8_t { WARP_SYNC, WARP_BALLOT, WARP_SHUFFLE };

static const char *const operation_names[] = { "__syncwarp", "a vote", "a shuffle" };

/* What a waiting lane brings. */
struct lane_request {
    std::uint64_t value;
    std::uint32_t mask;
    std::uint8_t source;
    warp_operation operation;
};

/* Bit i of each set is lane i. */
struct warp {
    unsigned first_thread;  /* of the block's */
    std::uint32_t live;     /* have not returned */
    std::uint32_t runnable; /* live and not waiting; the running lane too */
    std::uint32_t begun;    /* have a fibre, as they have waited before */
    std::uint32_t meeting;  /* wait in a warp operation */
    uint3 ids[WARP];        /* threadIdx */
    fibre *fibres[WARP];    /* of the lanes that have begun */
    lane_request request[WARP];
    std::uint64_t result[WARP];
};

static const std::uint64_t undefined_lane = ~0ull; /* a shuffle from a lane that takes no part: a NaN, or -1 */

/* The grid that runs. */
static const launch_config *config;
static run_threads run;
static const void *run_arguments;
static std::uint64_t grid_number;   /* counts launches */
static unsigned n_threads, n_warps; /* of a block */
static std::uint64_t n_blocks, n_blocks_begun;
static std::vector<char> shared_memory;

/* The block that runs. */
static warp warps[MAX_THREADS / WARP];
static std::uint32_t runnable_warps; /* bit i: warp i has runnable lanes */
static unsigned n_live, n_at_barrier;
static const char *barrier_site; /* where the first thread waits ... */
static const warp *barrier_warp; /* ... and which it is */
static unsigned barrier_lane;

/* The thread that runs. */
static warp *at;
static unsigned at_lane;
static fibre *running;

static fibre host; /* run_grid()'s caller */
static fibre *parked[MAX_THREADS];
static unsigned n_parked;

static order direction = [] {
    const char *const wish = getenv("SIMT_ORDER");
    return wish && !strcmp(wish, "descending") ? DESCENDING : ASCENDING;
}();

void set_order(order o)
{
    direction = o;
}

[[noreturn]] __attribute__((format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list list;

    fprintf(stderr, "simt: kernel %s, block (%u,%u,%u): ", config->name, blockIdx.x, blockIdx.y, blockIdx.z);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    abort();
}

/* "(x,y,z)" of a thread; the text lives until the fourth call after this one */
static const char *name_of(const warp &w, unsigned l)
{
    static char text[4][40];
    static unsigned next;
    char *const out = text[next++ % 4];

    snprintf(out, sizeof text[0], "(%u,%u,%u)", w.ids[l].x, w.ids[l].y, w.ids[l].z);
    return out;
}

static unsigned lowest(std::uint32_t set)
{
    return static_cast<unsigned>(__builtin_ctz(set));
}

/* No thread of the block can go on: there are lanes that wait for others, which wait elsewhere. */
[[noreturn]] static void die_of_deadlock()
{
    for (const warp *w = warps; w < warps + n_warps; w++) {
        if (!w->meeting) continue;
        const unsigned l = lowest(w->meeting);
        const lane_request &r = w->request[l];
        const std::uint32_t elsewhere = r.mask & w->live & ~w->meeting;
        if (!elsewhere) continue;
        die("deadlock: thread %s waits in %s with mask 0x%08x for thread %s, which waits at __syncthreads, %s",
            name_of(*w, l), operation_names[r.operation], r.mask, name_of(*w, lowest(elsewhere)), barrier_site);
    }
    die("deadlock: lanes wait for each other in warp operations with different masks");
}

INLINE static unsigned first_of(std::uint32_t set)
{
    return direction == ASCENDING ? lowest(set) : 31u - static_cast<unsigned>(__builtin_clz(set));
}

/* Makes a thread current that can run, of the current warp if there is one. */
INLINE static void choose()
{
    if (!at->runnable) {
        if (!runnable_warps) die_of_deadlock();
        at = &warps[first_of(runnable_warps)];
    }
    at_lane = first_of(at->runnable);
    threadIdx = at->ids[at_lane];
}

INLINE static void not_runnable(warp &w, std::uint32_t lanes)
{
    w.runnable &= ~lanes;
    if (!w.runnable) runnable_warps &= ~(1u << w.first_thread / WARP);
}

INLINE static void make_runnable(warp &w, std::uint32_t lanes)
{
    w.runnable |= lanes;
    if (w.runnable) runnable_warps |= 1u << w.first_thread / WARP;
}

INLINE static bool has_begun()
{
    return at->begun >> at_lane & 1;
}

static void fibre_main();

/* Gives the processor to the current thread's fibre. */
INLINE static void go()
{
    static unsigned n_fibres;
    fibre *const from = running;

    if (has_begun()) {
        running = at->fibres[at_lane];
    } else {
        running = n_parked ? parked[--n_parked] : fibre_create(fibre_main, n_fibres++);
    }
    fibre_switch(from, running);
}

/* The current thread waits. Returns when it has been released and chosen again. */
INLINE static void wait()
{
    not_runnable(*at, 1u << at_lane);
    at->begun |= 1u << at_lane;
    at->fibres[at_lane] = running;
    choose();
    go();
}

static void release_barrier()
{
    n_at_barrier = 0;
    for (unsigned w = 0; w < n_warps; w++) make_runnable(warps[w], warps[w].live);
}

void barrier(const char *site)
{
    if (n_at_barrier == 0) {
        barrier_site = site;
        barrier_warp = at;
        barrier_lane = at_lane;
    } else if (site != barrier_site && strcmp(site, barrier_site)) {
        die("divergent barrier: thread %s waits at __syncthreads, %s, but thread %s at __syncthreads, %s",
            name_of(*barrier_warp, barrier_lane), barrier_site, name_of(*at, at_lane), site);
    }
    if (++n_at_barrier == n_live) {
        release_barrier();
    } else {
        wait();
    }
}

/* All live lanes of the group of `mask` have arrived: checks that they agree, and gives each its result. */
static void finish_meeting(warp &w, std::uint32_t mask)
{
    const std::uint32_t group = mask & w.live;
    const unsigned first = lowest(group);
    const lane_request &r0 = w.request[first];
    std::uint32_t votes = 0;

    for (std::uint32_t left = group; left; left &= left - 1) {
        const unsigned l = lowest(left);
        const lane_request &r = w.request[l];
        if (r.mask != r0.mask || r.operation != r0.operation) {
            die("divergent warp: thread %s is in %s with mask 0x%08x, but thread %s in %s with mask 0x%08x",
                name_of(w, first), operation_names[r0.operation], r0.mask, name_of(w, l), operation_names[r.operation],
                r.mask);
        }
        w.result[l] = group >> r.source & 1 ? w.request[r.source].value : undefined_lane;
        votes |= static_cast<std::uint32_t>(r.value & 1) << l;
    }
    if (r0.operation == WARP_BALLOT) {
        for (std::uint32_t left = group; left; left &= left - 1) w.result[lowest(left)] = votes;
    }
    w.meeting &= ~group;
    make_runnable(w, group);
}

INLINE static bool all_arrived(const warp &w, std::uint32_t mask)
{
    return (mask & w.live & ~w.meeting) == 0;
}

INLINE static std::uint64_t meet(warp_operation operation, std::uint32_t mask, std::uint64_t value, unsigned source)
{
    warp &w = *at;
    const unsigned l = at_lane;

    if (!(mask >> l & 1)) {
        die("thread %s calls %s with mask 0x%08x, which leaves out its own lane", name_of(w, l),
            operation_names[operation], mask);
    }
    w.request[l] = { value, mask, static_cast<std::uint8_t>(source), operation };
    w.meeting |= 1u << l;
    if (all_arrived(w, mask)) {
        finish_meeting(w, mask);
    } else {
        wait();
    }
    return w.result[l];
}

unsigned lane()
{
    return at_lane;
}

void warp_sync(unsigned mask)
{
    meet(WARP_SYNC, mask, 0, 0);
}

unsigned warp_ballot(unsigned mask, bool predicate)
{
    return static_cast<unsigned>(meet(WARP_BALLOT, mask, predicate, 0));
}

std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source)
{
    return meet(WARP_SHUFFLE, mask, value, source);
}

/* A lane has returned; lanes that waited for it may be complete without it. */
static void finish_meetings_without_it(warp &w)
{
    for (std::uint32_t left = w.meeting; left; left &= left - 1) {
        const unsigned l = lowest(left);
        if (w.meeting >> l & 1 && all_arrived(w, w.request[l].mask)) finish_meeting(w, w.request[l].mask);
    }
}

void *dynamic_shared()
{
    return shared_memory.data();
}

static void begin_block()
{
    for (unsigned i = 0; i < n_warps; i++) {
        const unsigned lanes = n_threads - i * WARP;
        warp &w = warps[i];
        w.live = w.runnable = lanes >= WARP ? ~0u : (1u << lanes) - 1;
        w.begun = w.meeting = 0;
    }
    runnable_warps = n_warps == WARP ? ~0u : (1u << n_warps) - 1;
    n_live = n_threads;
    n_at_barrier = 0;
    at = &warps[first_of(runnable_warps)];
    if (!shared_memory.empty()) memset(shared_memory.data(), 0xff, shared_memory.size());
}

/* Sets blockIdx, x fastest. False after the last block. */
static bool next_block()
{
    if (n_blocks_begun == n_blocks) return false;
    const std::uint64_t i = direction == ASCENDING ? n_blocks_begun : n_blocks - 1 - n_blocks_begun;

    n_blocks_begun++;
    blockIdx.x = static_cast<unsigned>(i % gridDim.x);
    blockIdx.y = static_cast<unsigned>(i / gridDim.x % gridDim.y);
    blockIdx.z = static_cast<unsigned>(i / gridDim.x / gridDim.y);
    begin_block();
    return true;
}

/* The fibre has no thread to run, and gives the processor to another. Returns when it is given a fresh thread. */
INLINE static void park()
{
    parked[n_parked++] = running;
    if (n_live) {
        go();
    } else {
        fibre *const self = running;
        running = &host;
        fibre_switch(self, &host);
    }
}

bool next_thread()
{
    const std::uint64_t grid = grid_number;
    warp &w = *at;

    not_runnable(w, 1u << at_lane);
    w.live &= ~(1u << at_lane);
    n_live--;
    if (w.meeting) finish_meetings_without_it(w);
    if (n_live && n_at_barrier == n_live) release_barrier();
    if (n_live || next_block()) {
        choose();
        if (!has_begun()) return true;
    }
    park();
    return grid == grid_number;
}

/* Every fibre's life: it runs threads of one grid after another. */
static void fibre_main()
{
    for (;;) run(run_arguments);
}

void run_grid(const launch_config &c, run_threads threads, const void *arguments)
{
    assert(running == nullptr || running == &host); /* a kernel does not launch kernels */
    config = &c;
    run = threads;
    run_arguments = arguments;
    grid_number++;
    gridDim = c.grid;
    blockDim = c.block;
    n_threads = c.block.x * c.block.y * c.block.z;
    n_warps = (n_threads + WARP - 1) / WARP;
    n_blocks = static_cast<std::uint64_t>(c.grid.x) * c.grid.y * c.grid.z;
    n_blocks_begun = 0;
    shared_memory = std::vector<char>(c.shared_bytes);
    for (unsigned i = 0; i < n_threads; i++) {
        warps[i / WARP].first_thread = i / WARP * WARP;
        warps[i / WARP].ids[i % WARP] = { i % c.block.x, i / c.block.x % c.block.y, i / c.block.x / c.block.y };
    }
    next_block();
    choose();
    running = &host;
    go();
}

} // namespace simt
