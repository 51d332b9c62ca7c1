/*
 * config_json.c - a table of fields for each configuration, which json_fields.c walks, and the comparison of two
 *                 configurations.
 *
 * The ranges here hold for every network and trainer. What a single one allows is checked when it is made.
 * Interface: config_json.h.  Tests: tests/formats/test_config_json.c.
 */
#include "config_json.h"
#include "json_fields.h"
#include "metadata.h"

#include <limits.h>
#include <string.h>

/* A word is read and written through an int. */
_Static_assert(sizeof(dt_quant_rule) == sizeof(int) && sizeof(dt_optim_kind) == sizeof(int) &&
                   sizeof(dt_schedule_kind) == sizeof(int) && sizeof(dt_decoder) == sizeof(int),
               "enumerations have the size of int");

/* A network's configuration of before options had a table: those of all networks, 0 where the network has none. */
typedef struct {
    const char *name;
    int height, width, channels, n_classes, choke, skip_block, wbits, abits, input_bits, per_channel;
    dt_quant_rule rule;
    int caps_dim, routing, paper_primary;
    dt_decoder decoder;
} old_config;

static const dt_field model_fields[] = {
    { DT_MEMBER(old_config, name), DT_NETWORK },
    { DT_MEMBER(old_config, height), DT_INT(1, 65536) },
    { DT_MEMBER(old_config, width), DT_INT(1, 65536) },
    { DT_MEMBER(old_config, channels), DT_INT(1, 4) },
    { DT_MEMBER(old_config, n_classes), DT_INT(1, INT_MAX) },
    { DT_MEMBER(old_config, choke), DT_INT(0, 65536) },
    { DT_MEMBER(old_config, skip_block), DT_INT(0, 1) },
    { DT_MEMBER(old_config, wbits), DT_INT(2, DT_BITS_FLOAT) },
    { DT_MEMBER(old_config, abits), DT_INT(2, DT_BITS_FLOAT) },
    { DT_MEMBER(old_config, input_bits), DT_INT(0, 8) },
    { DT_MEMBER(old_config, per_channel), DT_INT(0, 1) },
    { DT_MEMBER(old_config, rule), DT_WORD(dt_quant_rule_names) },
    { DT_MEMBER(old_config, caps_dim), DT_INT(0, 1024) },
    { DT_MEMBER(old_config, routing), DT_INT(0, 4) },
    { DT_MEMBER(old_config, paper_primary), DT_INT(0, 1) },
    { DT_MEMBER(old_config, decoder), DT_WORD(dt_decoder_names) },
};

static const struct {
    const char *name; /* as a network's builder has it */
    size_t offset;    /* of its field, an int */
} old_options[] = {
    { "choke", offsetof(old_config, choke) },
    { "skip-block", offsetof(old_config, skip_block) },
    { "caps-dim", offsetof(old_config, caps_dim) },
    { "routing-iterations", offsetof(old_config, routing) },
    { "paper-primary", offsetof(old_config, paper_primary) },
    { "decoder", offsetof(old_config, decoder) },
};

static const dt_field train_fields[] = {
    { DT_MEMBER(dt_train_config, batch), DT_INT(1, INT_MAX) },
    { DT_MEMBER(dt_train_config, epochs), DT_INT(0, INT_MAX) },
    { DT_MEMBER(dt_train_config, optim), DT_WORD(dt_optim_names) },
    { DT_MEMBER(dt_train_config, lr), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, momentum), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, beta1), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, beta2), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, epsilon), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, weight_decay), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, alpha_lr), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, alpha_decay), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, schedule), DT_WORD(dt_schedule_names) },
    { DT_MEMBER(dt_train_config, step_epochs), DT_INTS(2, 0, INT_MAX) },
    { DT_MEMBER(dt_train_config, gamma), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, decay_steps), DT_INT(1, INT_MAX) },
    { DT_MEMBER(dt_train_config, decay_rate), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, label_smoothing), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, crop_pad), DT_INT(0, 65536) },
    { DT_MEMBER(dt_train_config, shift), DT_INT(0, 65536) },
    { DT_MEMBER(dt_train_config, rotation), DT_FLOAT(0, 45) },
    { DT_MEMBER(dt_train_config, flip_share), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, regularization_scale), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, hard_training), DT_INT(0, 1) },
};

/* Fields that are younger than some files. One that has its neutral value stands in no file, and one that a file has
 * not has that value: so a file says of them what its run needed alone. */
static const dt_train_config neutral = {
    .accumulate = 1, /* how a batch is shared is no part of a file */
    .peak = 0.3f,
    .lr_begin = 0.04f,
    .extend_lr = 0.1f,
    .clip_percent = 99.9f,
    .freeze_momentum = 0.01f,
    .teacher_temperature = 4.0f,
};

static const dt_field young_fields[] = {
    { DT_MEMBER(dt_train_config, warmup), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, peak), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, lr_begin), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, lr_end), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, extend), DT_INT(0, INT_MAX) },
    { DT_MEMBER(dt_train_config, extend_lr), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, start_clips), DT_WORD(dt_start_clips_names) },
    { DT_MEMBER(dt_train_config, clip_percent), DT_FLOAT(0, 100) },
    { DT_MEMBER(dt_train_config, ema), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, ewgs), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, ewgs_activations), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, dampen), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, freeze), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, freeze_momentum), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, teacher_share), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, teacher_temperature), DT_FLOAT(0, 1e30) },
    { DT_MEMBER(dt_train_config, teacher_sees), DT_WORD(dt_teacher_sees_names) },
    { DT_MEMBER(dt_train_config, flip_kind), DT_WORD(dt_flip_names) },
    { DT_MEMBER(dt_train_config, cutout), DT_INT(0, 65536) },
    { DT_MEMBER(dt_train_config, brightness), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_train_config, contrast), DT_FLOAT(0, 1) },
};

static const dt_fields model_table = { .field = model_fields, .n_fields = DT_LENGTH(model_fields) };
static const dt_fields train_table = { .field = train_fields, .n_fields = DT_LENGTH(train_fields) };
static const dt_fields young_table = { .field = young_fields, .n_fields = DT_LENGTH(young_fields) };

static dt_field_place model_in(const char *file)
{
    return (dt_field_place){ file, "model", "." };
}

static dt_field_place train_in(const char *file)
{
    return (dt_field_place){ file, "train", "." };
}

static int same_field(const dt_field *f, const char *a, const char *b)
{
    if (f->kind == DT_FIELD_FLOAT) return *(const float *)a == *(const float *)b;
    return memcmp(a, b, (size_t)(f->count ? f->count : 1) * sizeof(int)) == 0;
}

static dt_status match_config(const dt_fields *s, const dt_field_place *at, const void *saved, const void *here)
{
    for (int i = 0; i < s->n_fields; i++) {
        const dt_field *f = &s->field[i];
        const char *saved_value = (const char *)saved + f->offset, *here_value = (const char *)here + f->offset;
        char saved_text[64], here_text[64];
        if (same_field(f, saved_value, here_value)) continue;

        cJSON *saved_item = dt_field_make(f, saved_value);
        cJSON *here_item = dt_field_make(f, here_value);
        dt_json_text(saved_item, saved_text, sizeof saved_text);
        dt_json_text(here_item, here_text, sizeof here_text);
        cJSON_Delete(saved_item);
        cJSON_Delete(here_item);
        return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                        "%s: the run was started with %s.%s = %s, here it is %s; resume with the value it started with",
                        at->file, at->where, f->name, saved_text, here_text);
    }
    return DT_OK;
}

dt_status dt_train_config_write(const dt_train_config *cfg, cJSON *object)
{
    const dt_field_place at = train_in("configuration");

    DT_TRY(dt_fields_write(&train_table, &at, cfg, object));
    for (int i = 0; i < young_table.n_fields; i++) {
        const dt_field *f = &young_fields[i];
        const dt_fields one = { .field = f, .n_fields = 1 };
        const char *value = (const char *)cfg + f->offset;
        if (!same_field(f, value, (const char *)&neutral + f->offset)) DT_TRY(dt_fields_write(&one, &at, cfg, object));
    }
    return DT_OK;
}

/* Options that are younger than the file have their defaults. */
static dt_status take_options(const old_config *old, const char *file, dt_model_config *c)
{
    dt_model_options_default(c);
    for (int i = 0; i < DT_LENGTH(old_options); i++) {
        const int value = *(const int *)((const char *)old + old_options[i].offset);
        if (dt_model_option_value(c, old_options[i].name) == value) continue; /* 0 where the network has none */
        if (dt_model_option(c, old_options[i].name, value) != DT_OK) return dt_metadata_blame(DT_ERR_FORMAT, file);
    }
    return DT_OK;
}

dt_status dt_model_config_read(const cJSON *object, const char *file, dt_model_config *out)
{
    const dt_field_place at = model_in(file);
    old_config old;

    DT_TRY(dt_fields_read(&model_table, &at, object, &old));
    dt_model_config cfg = { .name = old.name,
                            .height = old.height,
                            .width = old.width,
                            .channels = old.channels,
                            .n_classes = old.n_classes,
                            .wbits = old.wbits,
                            .abits = old.abits,
                            .input_bits = old.input_bits,
                            .per_channel = old.per_channel,
                            .rule = old.rule };
    DT_TRY(take_options(&old, file, &cfg));
    *out = cfg;
    return DT_OK;
}

/* Takes the young fields out of old, which then has the others alone. */
static dt_status take_young(cJSON *old, const dt_field_place *at, dt_train_config *to)
{
    for (int i = 0; i < young_table.n_fields; i++) {
        const dt_field *f = &young_fields[i];
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(old, f->name);
        const dt_status status = item ? dt_field_read(f, at, item, (char *)to + f->offset) : DT_OK;

        cJSON_Delete(item);
        DT_TRY(status);
    }
    return DT_OK;
}

dt_status dt_train_config_read(const cJSON *object, const char *file, dt_train_config *out)
{
    const dt_field_place at = train_in(file);
    dt_train_config cfg = neutral;
    cJSON *old = cJSON_Duplicate(object, 1);

    DT_CHECK(old || !object, DT_ERR_MEMORY, "%s: no memory for its configuration", file);
    dt_status status = take_young(old, &at, &cfg);
    if (status == DT_OK) status = dt_fields_read(&train_table, &at, old, &cfg);
    cJSON_Delete(old);
    DT_TRY(status);
    *out = cfg;
    return DT_OK;
}

dt_status dt_train_config_match(const dt_train_config *saved, const dt_train_config *here, const char *file)
{
    const dt_field_place at = train_in(file);

    DT_TRY(match_config(&train_table, &at, saved, here));
    dt_train_config planned = *here; /* whether a run may be extended is for its position to say */
    planned.extend = saved->extend;
    planned.extend_lr = saved->extend_lr;
    DT_TRY(match_config(&young_table, &at, saved, &planned));
    return DT_OK;
}
