/*
 * vector_files.c - the files that a layer needs in each layout: names, lines, lanes, and words that describe them.
 *
 * Everything follows from layout, shape, rows, cols and bits, so that a reader makes the same list and believes a
 * manifest only where it agrees.
 * Interface: vectors.h.  Tests: tests/accel/test_vectors.c, tests/accel/test_vectors_layouts.c.
 */
#include "vector_layout.h"

#include "../array/tiling.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ROLES = DT_VECTOR_TWIN, N_LAYOUTS = DT_LAYOUT_OUTPUT_STATIONARY + 1 };
enum { LANE_BITS_LEAST = 4, ADDRESS_BITS_LEAST = 11 }; /* of the course's array and its psum memory */
enum { CODES_MOST = 1 << 28, STRIDE_MOST = 4096, PAD_MOST = 4096, DILATION_MOST = 4096 };

const char *const dt_vector_role_names[] = { "activation",  "weight",  "tap_psum", "output",
                                             "output_relu", "address", "twin",     NULL };

/* {i} input tile, {o} output tile, {k} tap; [..] is left out where the layer has one of each tile inside. */
static const char *const names[N_LAYOUTS][N_ROLES] = {
    [DT_LAYOUT_COURSE] = { "activation_tile{i}", "weight_itile{i}_otile{o}_kij{k}", "psum[_itile{i}_otile{o}]",
                           "out_raw[_otile{o}]", "out[_otile{o}]", "acc_address" },
    [DT_LAYOUT_NOTEBOOK] = { "activation[_itile{i}]", "weight_itile{i}_otile{o}_kij{k}", "psum_{k}[_itile{i}_otile{o}]",
                             "psum[_otile{o}]", "psum_relu[_otile{o}]", NULL },
    [DT_LAYOUT_PACK_A] = { "activation[_ictile{i}]", "weight_octile{o}[_ictile{i}]_kij{k}",
                           "psum[_octile{o}_ictile{i}]", "out_raw_octile{o}", "out_octile{o}", "acc_address" },
    [DT_LAYOUT_PACK_B] = { "activation_tile{i}", "weight_itile{i}_otile{o}_kij{k}", "psum[_itile{i}_otile{o}]",
                           "out_raw[_otile{o}]", "out[_otile{o}]", "acc_address" },
    [DT_LAYOUT_PACK_C] = { "activation[_itile{i}]", "weight[_itile{i}_otile{o}]_k{k}", "psum[_itile{i}_otile{o}]_k{k}",
                           "out_raw[_otile{o}]", "out[_otile{o}]", NULL },
    [DT_LAYOUT_OUTPUT_STATIONARY] = { "activation_os[_tile{i}]", "weights_os[_otile{o}]", NULL, "out_raw[_otile{o}]",
                                      "out[_otile{o}]", NULL },
};

static const char *const abouts[] = {
    "activation codes; padding and channels past the last are 0",
    "weight codes; filters and channels past the last are 0",
    "psums of one tap over the channels of one input tile",
    "psums over all taps and input tiles, before ReLU",
    "psums over all taps and input tiles, after ReLU",
    "line of the tap psums (data lines from 0) that an output adds for a tap",
};

/* Of these two, where the layer has several groups. */
static const char *const grouped_abouts[] = {
    "activation codes; padding and lanes without a channel are 0",
    "weight codes; places without a filter or a channel, or where these are of two groups, are 0",
};

/* What a layer comes to in a layout. */
typedef struct {
    int64_t positions, outputs, taps; /* positions: of the padded input */
    int is_pack, padded;              /* padded: the layout streams all positions of the padded input */
} measures;

/* How many files a role has of a block along input tiles, output tiles, taps; 0: it is not cut along this one. */
typedef struct {
    int64_t n[3];
    int blocks; /* 1 where the role's files are of all blocks */
} cuts;

static int is_pack(dt_layout layout)
{
    return layout == DT_LAYOUT_PACK_A || layout == DT_LAYOUT_PACK_B || layout == DT_LAYOUT_PACK_C;
}

static int ceil_div(int64_t a, int b)
{
    return (int)((a + b - 1) / b);
}

static measures measure(const dt_vectors *v)
{
    const dt_psum_shape *s = &v->shape;

    return (measures){
        .positions = dt_conv_padded(&s->conv, 0, s->height) * dt_conv_padded(&s->conv, 1, s->width),
        .outputs = (int64_t)s->out_height * s->out_width,
        .taps = s->window_height * s->window_width,
        .is_pack = is_pack(v->layout),
        .padded = v->layout == DT_LAYOUT_COURSE || v->layout == DT_LAYOUT_PACK_A || v->layout == DT_LAYOUT_PACK_B,
    };
}

static cuts cuts_of(const dt_vectors *v, const measures *m, dt_vector_role role)
{
    const int stationary = v->layout == DT_LAYOUT_OUTPUT_STATIONARY;
    const int in_tiles = v->layout == DT_LAYOUT_PACK_B ? 2 * v->in_tiles : v->in_tiles;

    switch (role) {
    case DT_VECTOR_ACTIVATION:
        if (stationary) return (cuts){ { ceil_div(m->outputs, v->rows), 0, 0 }, 1 };
        return (cuts){ { in_tiles, 0, 0 }, v->blocks };
    case DT_VECTOR_WEIGHT:
        return (cuts){ { stationary ? 0 : in_tiles, v->out_tiles, stationary ? 0 : m->taps }, v->blocks };
    case DT_VECTOR_TAP_PSUM: return (cuts){ { v->in_tiles, v->out_tiles, m->padded ? 0 : m->taps }, v->blocks };
    case DT_VECTOR_OUTPUT:
    case DT_VECTOR_OUTPUT_RELU: return (cuts){ { 0, v->out_tiles, 0 }, v->blocks };
    default: return (cuts){ { 0, 0, 0 }, 1 };
    }
}

static int64_t files_of(cuts c)
{
    int64_t n = c.blocks;
    for (int i = 0; i < 3; i++) n *= c.n[i] > 0 ? c.n[i] : 1;
    return n;
}

static int64_t lines_of(const dt_vectors *v, const measures *m, dt_vector_role role)
{
    const int stationary = v->layout == DT_LAYOUT_OUTPUT_STATIONARY;
    const int64_t pixels = (int64_t)v->shape.height * v->shape.width;

    switch (role) {
    case DT_VECTOR_ACTIVATION: return stationary ? v->shape.channels * m->taps : m->padded ? m->positions : pixels;
    case DT_VECTOR_WEIGHT:
        if (stationary) return dt_psum_group_channels(&v->shape) * m->taps;
        return v->layout == DT_LAYOUT_PACK_A ? 2 * v->tile_filters : v->tile_filters;
    case DT_VECTOR_TAP_PSUM: return m->padded ? m->taps * m->positions : m->outputs;
    case DT_VECTOR_ADDRESS: return m->outputs * m->taps;
    default: return m->outputs;
    }
}

static int lanes_of(const dt_vectors *v, dt_vector_role role)
{
    const int both = v->layout == DT_LAYOUT_PACK_C; /* channels of a PE row side by side in weights too */

    switch (role) {
    case DT_VECTOR_ACTIVATION: return both || v->layout == DT_LAYOUT_PACK_A ? 2 * v->rows : v->rows;
    case DT_VECTOR_WEIGHT:
        if (v->layout == DT_LAYOUT_OUTPUT_STATIONARY) return v->cols;
        return both ? 2 * v->rows : v->rows;
    case DT_VECTOR_ADDRESS: return 1;
    default: return v->tile_filters;
    }
}

static int at_least(int bits, int least)
{
    return bits > least ? bits : least;
}

static int bits_of(const dt_vectors *v, const measures *m, dt_vector_role role)
{
    int bits = ADDRESS_BITS_LEAST;

    switch (role) {
    case DT_VECTOR_ACTIVATION: return m->is_pack ? 2 : at_least(v->activation_bits, LANE_BITS_LEAST);
    case DT_VECTOR_WEIGHT: return at_least(v->weight_bits, LANE_BITS_LEAST);
    case DT_VECTOR_ADDRESS:
        while (m->taps * m->positions > (int64_t)1 << bits) bits++;
        return bits;
    default: return v->psum_bits;
    }
}

/* Numbers of channels, or of filters, from the first line and lane to the last. */
typedef struct {
    int first, last;
    int n_none; /* places that have none */
} extent;

static int number_at(const dt_vectors *v, const dt_vector_file *f, int is_channel, int line, int lane)
{
    const dt_vector_place at = dt_vector_place_of(v, f, line, lane);
    return is_channel ? at.channel : at.filter;
}

/* Of one group, numbers count on past the layer's last; of several, those that are there. */
static extent extent_of(const dt_vectors *v, const dt_vector_file *f, int is_channel)
{
    const int n = is_channel ? v->shape.channels : v->shape.filters;
    const int lines = f->role == DT_VECTOR_WEIGHT ? f->lines : 1; /* all lines of other files are alike */
    const extent ends = { number_at(v, f, is_channel, 0, 0), number_at(v, f, is_channel, f->lines - 1, f->lanes - 1),
                          0 };
    extent least_first = { n, -1, 0 };

    if (v->shape.conv.groups == 1) return ends;
    for (int i = 0; i < lines * f->lanes; i++) {
        const int number = number_at(v, f, is_channel, i / f->lanes, i % f->lanes);
        least_first.n_none += number == n;
        if (number < least_first.first) least_first.first = number;
        if (number < n && number > least_first.last) least_first.last = number;
    }
    if (ends.first < ends.last) return least_first; /* places without one have n, and are at the greatest's side */
    return (extent){ least_first.last, least_first.first, least_first.n_none };
}

typedef struct {
    char s[48];
} words;

/* "channel 7..0" */
static words range_of(const dt_vectors *v, const dt_vector_file *f, const char *what)
{
    const extent e = extent_of(v, f, strcmp(what, "channel") == 0);
    words w = { "zeros" };

    if (e.first >= 0 && e.last >= 0)
        snprintf(w.s, sizeof w.s, "%s %d..%d%s", what, e.first, e.last, e.n_none > 0 ? " and zeros" : "");
    return w;
}

/* The order of lanes and lines. */
static void describe_order(const dt_vectors *v, dt_vector_file *f)
{
    const int taps = v->shape.window_height * v->shape.window_width;
    const int stationary = v->layout == DT_LAYOUT_OUTPUT_STATIONARY;
    const int first = f->in_tile * f->lanes, last = first + f->lanes - 1;
    char *to = f->order;
    const size_t room = sizeof f->order;

    switch (f->role) {
    case DT_VECTOR_ACTIVATION:
        if (stationary)
            snprintf(to, room, "lanes o_nij %d..%d; lines channel 0..%d, kij 0..%d in each", last, first,
                     v->shape.channels - 1, taps - 1);
        else
            snprintf(to, room, "lanes %s; lines %s 0..%d", range_of(v, f, "channel").s,
                     measure(v).padded ? "nij" : "pixel", f->lines - 1);
        break;
    case DT_VECTOR_WEIGHT:
        if (stationary)
            snprintf(to, room, "lanes %s; lines %s, kij 0..%d in each", range_of(v, f, "filter").s,
                     range_of(v, f, "channel").s, taps - 1);
        else
            snprintf(to, room, "lanes %s; lines %s%s", range_of(v, f, "channel").s, range_of(v, f, "filter").s,
                     v->layout == DT_LAYOUT_PACK_A ? ", odd channels then even in each" : "");
        break;
    case DT_VECTOR_TAP_PSUM:
        if (f->tap < 0)
            snprintf(to, room, "lanes %s; lines kij 0..%d, nij 0..%d in each", range_of(v, f, "filter").s, taps - 1,
                     f->lines / taps - 1);
        else
            snprintf(to, room, "lanes %s; lines o_nij 0..%d", range_of(v, f, "filter").s, f->lines - 1);
        break;
    case DT_VECTOR_ADDRESS:
        snprintf(to, room, "one lane; lines o_nij 0..%d, kij 0..%d in each", f->lines / taps - 1, taps - 1);
        break;
    default: snprintf(to, room, "lanes %s; lines o_nij 0..%d", range_of(v, f, "filter").s, f->lines - 1); break;
    }
}

/* 1 if one of the indices named before the ']' has several values. */
static int group_needed(const char *group, const cuts *c)
{
    static const char letters[] = "iok";

    for (const char *p = group; *p != ']'; p++) {
        if (*p != '{') continue;
        const int64_t of_block = c->n[strchr(letters, p[1]) - letters];
        if (of_block > 1 || (p[1] != 'k' && c->blocks > 1)) return 1;
    }
    return 0;
}

static void make_name(const char *from, const cuts *c, dt_vector_file *f)
{
    const size_t room = sizeof f->name;
    size_t used = 0;

    for (; *from; from++) {
        if (*from == '[') {
            if (!group_needed(from, c)) from = strchr(from, ']');
        } else if (*from == '{') {
            const int index = from[1] == 'i' ? f->in_tile : from[1] == 'o' ? f->out_tile : f->tap;
            used += (size_t)snprintf(f->name + used, room - used, "%d", index);
            from += 2;
        } else if (*from != ']') {
            f->name[used++] = *from;
        }
    }
    snprintf(f->name + used, room - used, ".txt");
}

/* Before the data. The notebook's readers of weights and of psums of one tap expect none. */
static int header_lines_of(const dt_vectors *v, dt_vector_role role)
{
    if (v->header_lines != DT_HEADER_OF_LAYOUT) return v->header_lines;
    if (v->layout == DT_LAYOUT_PACK_C) return 0;
    if (v->layout != DT_LAYOUT_NOTEBOOK) return 3;
    return role == DT_VECTOR_WEIGHT || role == DT_VECTOR_TAP_PSUM ? 0 : role == DT_VECTOR_OUTPUT ? 2 : 3;
}

static void add_role(dt_vectors *v, const measures *m, dt_vector_role role, int64_t lines)
{
    const cuts c = cuts_of(v, m, role);
    const int64_t n_in = c.n[0] ? c.n[0] : 1, n_out = c.n[1] ? c.n[1] : 1, n_tap = c.n[2] ? c.n[2] : 1;

    for (int64_t i = 0; i < files_of(c); i++) {
        const int64_t in_tile = i / n_tap / n_out; /* counts on from block to block, as the output tile does */
        const int64_t block = in_tile / n_in;
        dt_vector_file *f = &v->file[v->n_files++];
        f->role = role;
        f->header_lines = header_lines_of(v, role);
        f->lines = (int)lines;
        f->lanes = lanes_of(v, role);
        f->bits = bits_of(v, m, role);
        f->is_signed = role == DT_VECTOR_ACTIVATION ? v->activation_signed : role != DT_VECTOR_ADDRESS;
        f->in_tile = c.n[0] ? (int)in_tile : -1;
        f->out_tile = c.n[1] ? (int)(block * n_out + i / n_tap % n_out) : -1;
        f->tap = c.n[2] ? (int)(i % n_tap) : -1;
        make_name(names[v->layout][role], &c, f);
        const int grouped = v->shape.conv.groups > 1 && role <= DT_VECTOR_WEIGHT;
        snprintf(f->about, sizeof f->about, "%s", (grouped ? grouped_abouts : abouts)[role]);
        describe_order(v, f);
    }
}

static void add_twins(dt_vectors *v)
{
    const int n = v->n_files;

    for (int i = 0; i < n; i++) {
        const dt_vector_file f = v->file[i];
        dt_vector_file twin = f;
        snprintf(twin.name, sizeof twin.name, "viz/viz_%.80s", f.name);
        snprintf(twin.about, sizeof twin.about, "%.90s in decimals", f.name);
        twin.role = DT_VECTOR_TWIN;
        twin.lanes = twin.bits = 0;
        v->file[n + i] = twin;
    }
    v->n_files = 2 * n;
}

/* Groups that divide, and a window that fits. */
static dt_status check_form(const dt_psum_shape *s, const char *where, dt_status kind)
{
    const int64_t span[2] = { dt_conv_span(&s->conv, 0, s->window_height), dt_conv_span(&s->conv, 1, s->window_width) };
    const int64_t room[2] = { dt_conv_padded(&s->conv, 0, s->height), dt_conv_padded(&s->conv, 1, s->width) };

    DT_CHECK(s->channels % s->conv.groups == 0 && s->filters % s->conv.groups == 0, kind,
             "%s: %d groups of %d channels and %d filters; groups must divide both", where, s->conv.groups, s->channels,
             s->filters);
    DT_CHECK(span[0] <= room[0] && span[1] <= room[1], kind,
             "%s: a window of %dx%d with dilation %d,%d spans %" PRId64 "x%" PRId64
             ", which does not fit the padded input of %" PRId64 "x%" PRId64,
             where, s->window_height, s->window_width, s->conv.dilation[0], s->conv.dilation[1], span[0], span[1],
             room[0], room[1]);
    return DT_OK;
}

static dt_status check_ranges(const dt_vectors *v, const char *where, dt_status kind)
{
    const dt_psum_shape *s = &v->shape;
    const struct {
        const char *name;
        int value, min, max;
    } ranges[] = {
        { "layout", (int)v->layout, 0, N_LAYOUTS - 1 },
        { "rows", v->rows, 1, 256 },
        { "cols", v->cols, 1, 256 },
        { "psum_bits", v->psum_bits, 8, 32 },
        { "activation bits", v->activation_bits, 1, is_pack(v->layout) ? 2 : 8 },
        { "weight bits", v->weight_bits, 1, 8 },
        { "height", s->height, 1, 65536 },
        { "width", s->width, 1, 65536 },
        { "channels", s->channels, 1, 65536 },
        { "filters", s->filters, 1, 65536 },
        { "window height", s->window_height, 1, 256 },
        { "window width", s->window_width, 1, 256 },
        { "stride of rows", s->conv.stride[0], 1, STRIDE_MOST },
        { "stride of columns", s->conv.stride[1], 1, STRIDE_MOST },
        { "pad at the top", s->conv.pad[0], 0, PAD_MOST },
        { "pad at the left", s->conv.pad[1], 0, PAD_MOST },
        { "pad at the bottom", s->conv.pad[2], 0, PAD_MOST },
        { "pad at the right", s->conv.pad[3], 0, PAD_MOST },
        { "dilation of rows", s->conv.dilation[0], 1, DILATION_MOST },
        { "dilation of columns", s->conv.dilation[1], 1, DILATION_MOST },
        { "groups", s->conv.groups, 1, 65536 },
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        DT_CHECK(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max, kind,
                 "%s: %s is %d, expected %d..%d%s%s", where, ranges[i].name, ranges[i].value, ranges[i].min,
                 ranges[i].max, ranges[i].max == 2 ? " in layout " : "",
                 ranges[i].max == 2 ? dt_layout_names[v->layout] : "");
    }
    DT_TRY(check_form(s, where, kind));
    const int64_t n_x = (int64_t)s->height * s->width * s->channels;
    const int64_t n_w = (int64_t)s->filters * s->window_height * s->window_width * dt_psum_group_channels(s);
    DT_CHECK(n_x <= CODES_MOST && n_w <= CODES_MOST, kind,
             "%s: %" PRId64 " activations and %" PRId64 " weights, limit %d of each", where, n_x, n_w, CODES_MOST);
    return DT_OK;
}

/* Blocks of groups, and their tiles. Layout pack-c has an array of 2 cols columns. */
static void cut_tiles(dt_vectors *v)
{
    const dt_psum_shape *s = &v->shape;
    const int stationary = v->layout == DT_LAYOUT_OUTPUT_STATIONARY;

    v->simd = is_pack(v->layout) ? 2 : 1;
    v->tile_filters = v->layout == DT_LAYOUT_PACK_C ? 2 * v->cols : v->cols;
    const dt_array array = { .rows = v->rows,
                             .cols = v->tile_filters,
                             .dataflow = stationary ? DT_DATAFLOW_OS : DT_DATAFLOW_WS,
                             .simd = v->simd };
    v->groups_at_once = dt_tiling_groups(&array, s);
    v->blocks = ceil_div(s->conv.groups, v->groups_at_once);
    v->in_tiles = stationary ? 1 : ceil_div(dt_psum_group_channels(s), v->rows * v->simd);
    v->out_tiles = ceil_div(dt_psum_group_filters(s), v->tile_filters);
}

dt_status dt_vectors_list(dt_vectors *v, int64_t most_files, const char *where, dt_status kind)
{
    dt_psum_shape *s = &v->shape;
    int64_t n = 0;

    DT_TRY(check_ranges(v, where, kind));
    cut_tiles(v);
    s->out_height = (int)dt_conv_out_size(&s->conv, 0, s->height, s->window_height);
    s->out_width = (int)dt_conv_out_size(&s->conv, 1, s->width, s->window_width);
    s->x_low = v->activation_signed ? -(1 << (v->activation_bits - 1)) : 0;
    s->x_high = (1 << (v->activation_bits - v->activation_signed)) - 1;
    s->w_bound = 1 << (v->weight_bits - 1);

    const measures m = measure(v);
    for (int role = 0; role < N_ROLES; role++) {
        if (!names[v->layout][role]) continue;
        const int64_t lines = lines_of(v, &m, (dt_vector_role)role);
        DT_CHECK(lines <= INT_MAX, kind, "%s: %s files of %" PRId64 " lines, limit %d", where,
                 dt_vector_role_names[role], lines, INT_MAX);
        n += 2 * files_of(cuts_of(v, &m, (dt_vector_role)role));
    }
    DT_CHECK(n <= most_files, kind, "%s: layout %s makes %" PRId64 " files of this layer, limit %" PRId64 "%s", where,
             dt_layout_names[v->layout], n, most_files,
             kind == DT_ERR_ARGUMENT ? "; an array of more rows and cols needs fewer" : "");

    v->file = calloc((size_t)n, sizeof *v->file);
    DT_CHECK(v->file, DT_ERR_MEMORY, "%s: no memory to list %" PRId64 " files", where, n);
    for (int role = 0; role < N_ROLES; role++) {
        if (names[v->layout][role]) {
            add_role(v, &m, (dt_vector_role)role, lines_of(v, &m, (dt_vector_role)role));
        }
    }
    add_twins(v);
    return DT_OK;
}
