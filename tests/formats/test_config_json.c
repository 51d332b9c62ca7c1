/*
 * test_config_json.c - the two configurations as JSON: equal bits back, and a named refusal of everything else.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/json_value.h"
#include "../../formats/config_json.h"

static const dt_model_config model = { .name = "vgg16",
                                       .height = 32,
                                       .width = 31,
                                       .channels = 3,
                                       .n_classes = 10,
                                       .wbits = 4,
                                       .abits = 2,
                                       .input_bits = 8,
                                       .per_channel = 1,
                                       .rule = DT_RULE_SCREAM };

/* what a file says that has none of the young fields */
#define NEUTRAL                                                                                 \
    .accumulate = 1, .peak = 0.3f, .lr_begin = 0.04f, .extend_lr = 0.1f, .clip_percent = 99.9f, \
    .freeze_momentum = 0.01f, .teacher_temperature = 4.0f

static const dt_train_config train = { .batch = 128,
                                       NEUTRAL,
                                       .epochs = 300,
                                       .optim = DT_OPTIM_ADAM,
                                       .lr = 0.01f,
                                       .momentum = 0.9f,
                                       .beta1 = 1.0f / 3.0f,
                                       .beta2 = 0.99999994f,
                                       .epsilon = 1e-45f,
                                       .weight_decay = 1e-5f,
                                       .alpha_lr = 1e30f,
                                       .alpha_decay = 0.0f,
                                       .schedule = DT_SCHEDULE_STEP,
                                       .step_epochs = { 150, 225 },
                                       .gamma = 16777215.0f,
                                       .decay_steps = 6000,
                                       .decay_rate = 0.96f,
                                       .label_smoothing = 0.1f,
                                       .crop_pad = 4,
                                       .shift = 2,
                                       .rotation = 1.0f / 7.0f,
                                       .flip_share = 0.5f,
                                       .regularization_scale = 0.0005f,
                                       .hard_training = 1 };

/* One field of the text below gets another value, or other text. */
typedef struct {
    const char *why;
    const char *from, *to; /* in the JSON text; to = NULL takes `from` out */
    const char *part;      /* of the message; NULL: it is read without complaint */
} edit;

static char *text_of(const cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);

    cr_assert(ne(ptr, text, NULL));
    return text;
}

static const char model_text[] = "{\"name\":\"vgg16\",\"height\":32,\"width\":31,\"channels\":3,\"n_classes\":10,"
                                 "\"choke\":16,\"skip_block\":1,\"wbits\":4,\"abits\":2,\"input_bits\":8,"
                                 "\"per_channel\":1,\"rule\":\"scream\",\"caps_dim\":0,\"routing\":0,"
                                 "\"paper_primary\":0,\"decoder\":\"none\"}";

static const char caps_text[] =
    "{\"name\":\"shallowcaps\",\"height\":32,\"width\":32,\"channels\":3,\"n_classes\":10,\"choke\":0,\"skip_block\":0,"
    "\"wbits\":32,\"abits\":32,\"input_bits\":8,\"per_channel\":0,\"rule\":\"lsq\",\"caps_dim\":24,\"routing\":2,"
    "\"paper_primary\":1,\"decoder\":\"conv64\"}";

static char *train_text(const dt_train_config *cfg)
{
    cJSON *object = cJSON_CreateObject();

    cr_assert(eq(int, dt_train_config_write(cfg, object), DT_OK), "%s", dt_last_error());
    char *text = text_of(object);
    cJSON_Delete(object);
    return text;
}

static dt_model_config read_model(const char *text)
{
    cJSON *object = cJSON_Parse(text);
    dt_model_config back = { 0 };

    cr_assert(eq(int, dt_model_config_read(object, "f.json", &back), DT_OK), "%s", dt_last_error());
    cJSON_Delete(object);
    return back;
}

static void has_option(const dt_model_config *c, const char *name, int value)
{
    cr_assert(eq(int, dt_model_option_value(c, name), value), "%s of %s", name, c->name);
}

Test(config_json, model_is_read)
{
    dt_model_config back = read_model(model_text), expected = model;

    cr_assert(eq(str, (char *)back.name, "vgg16")); /* outlives the JSON */
    has_option(&back, "choke", 16);
    has_option(&back, "skip-block", 1);
    has_option(&back, "width-percent", 100); /* younger than such files */
    memcpy(expected.option, back.option, sizeof back.option);
    back.name = expected.name;
    cr_assert(eq(int, memcmp(&back, &expected, sizeof back), 0));
}

Test(config_json, options_of_capsules_are_read)
{
    const dt_model_config back = read_model(caps_text);

    cr_assert(eq(str, (char *)back.name, "shallowcaps"));
    has_option(&back, "caps-dim", 24);
    has_option(&back, "routing-iterations", 2);
    has_option(&back, "paper-primary", 1);
    has_option(&back, "decoder", DT_DECODER_CONV64);
}

Test(config_json, train_round_trip)
{
    char *text = train_text(&train);
    cJSON *object = cJSON_Parse(text);
    dt_train_config back;

    cr_assert(eq(int, dt_train_config_read(object, "f.json", &back), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, memcmp(&back, &train, sizeof back), 0), "%s", text);
    cr_assert(ne(ptr, (void *)strstr(text, "\"lr\":0.01,"), NULL), "%s", text);
    cr_assert(ne(ptr, (void *)strstr(text, "\"step_epochs\":[150,225]"), NULL), "%s", text);
    cJSON_Delete(object);
    free(text);
}

/* Files of before have none of them, so a run that does not need them writes files as they were. */
Test(config_json, young_fields_are_written_where_they_say_something)
{
    dt_train_config cfg = train, back;
    char *text = train_text(&cfg);

    cr_assert(eq(ptr, (void *)strstr(text, "warmup"), NULL), "%s", text);
    cr_assert(eq(ptr, (void *)strstr(text, "extend"), NULL), "%s", text);
    free(text);
    cfg.warmup = 1.0f / 3.0f;
    cfg.peak = 0.0f;
    cfg.extend = 7;
    cfg.start_clips = DT_START_CLIPS_PERCENTILE;
    cfg.ema = 0.999f;
    cfg.ewgs_activations = 0.25f;
    cfg.freeze = 0.02f;
    cfg.freeze_momentum = 0.05f;
    cfg.flip_kind = DT_FLIP_ALTERNATING;
    cfg.teacher_sees = DT_TEACHER_AUGMENTED;
    cfg.cutout = 12;
    text = train_text(&cfg);
    cJSON *object = cJSON_Parse(text);
    cr_assert(eq(int, dt_train_config_read(object, "f.json", &back), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, memcmp(&back, &cfg, sizeof back), 0), "%s", text);
    cJSON_Delete(object);
    free(text);
    cr_assert(eq(int, dt_train_config_match(&cfg, &train, "f.json"), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "train.warmup = 0.33333334, here it is 0;"), NULL), "%s",
              dt_last_error());
}

Test(config_json, every_enumeration_has_its_word)
{
    static const char *const rules[] = { "ece284", "apot", "scream", "pact", "lsq" };
    static const char *const schedules[] = { "constant", "cosine",     "step",     "exponential",
                                             "decay",    "triangular", "one-cycle" };
    static const char *const decoders[] = { "none", "fc", "conv28", "conv64" };

    for (int i = DT_RULE_ECE284; i <= DT_RULE_LSQ; i++) {
        cr_assert(eq(str, (char *)dt_quant_rule_names[i], (char *)rules[i]));
    }
    for (int i = DT_SCHEDULE_CONSTANT; i <= DT_SCHEDULE_ONE_CYCLE; i++) {
        cr_assert(eq(str, (char *)dt_schedule_names[i], (char *)schedules[i]));
    }
    for (int i = DT_DECODER_NONE; i <= DT_DECODER_CONV64; i++) {
        cr_assert(eq(str, (char *)dt_decoder_names[i], (char *)decoders[i]));
    }
    cr_assert(eq(str, (char *)dt_optim_names[DT_OPTIM_SGD], "sgd"));
    cr_assert(eq(str, (char *)dt_optim_names[DT_OPTIM_ADAM], "adam"));
}

/* Floats over the whole range of exponents and odd mantissas. */
Test(config_json, floats_keep_their_bits)
{
    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t bits = i * 106967u % 0x7149F2CBu; /* 0..1e30f */
        dt_train_config cfg = train, back;
        memcpy(&cfg.lr, &bits, sizeof bits);

        char *text = train_text(&cfg);
        cJSON *object = cJSON_Parse(text);
        cr_assert(eq(int, dt_train_config_read(object, "f.json", &back), DT_OK), "%s", dt_last_error());
        cr_assert(eq(int, memcmp(&back.lr, &cfg.lr, sizeof bits), 0), "0x%08x: %s", bits, text);
        cJSON_Delete(object);
        free(text);
    }
}

static const edit model_edits[] = {
    { "as it is", "32", "32", NULL },
    { "3.0 is whole", "\"choke\":16", "\"choke\":16.0", NULL },
    { "missing", "\"choke\":16,", NULL, "f.json: model.choke is missing" },
    { "unknown", "\"choke\":16", "\"chok\":16", "f.json: model.chok is not a field" },
    { "another case", "\"choke\":16", "\"Choke\":16", "model.Choke is not a field" },
    { "one too many", "\"choke\":16", "\"choke\":16,\"x\":null", "model.x is not a field" },
    { "twice", "\"choke\":16", "\"choke\":16,\"choke\":8", "model.choke stands there twice" },
    { "negative", "\"choke\":16", "\"choke\":-1", "model.choke is -1, expected a whole number of 0..65536" },
    { "broken", "\"choke\":16", "\"choke\":16.5", "model.choke is 16.5, expected a whole number" },
    { "text", "\"choke\":16", "\"choke\":\"16\"", "model.choke is \"16\", expected a whole number" },
    { "null", "\"choke\":16", "\"choke\":null", "model.choke is null, expected" },
    { "huge", "\"n_classes\":10", "\"n_classes\":1e300", "model.n_classes is 1e+300, expected" },
    { "bits 1", "\"wbits\":4", "\"wbits\":1", "model.wbits is 1, expected a whole number of 2..32" },
    { "no such rule", "scream", "screem", "model.rule is \"screem\", expected one of ece284, apot, scream, pact, lsq" },
    { "a rule's number", "\"scream\"", "2", "model.rule is 2, expected one of" },
    { "before capsules", ",\"caps_dim\":0", NULL, "f.json: model.caps_dim is missing" },
    { "another network's", "\"routing\":0", "\"routing\":3",
      "f.json: vgg16 has no option routing-iterations, which was to be 3" },
    { "another network's word", "\"none\"", "\"fc\"", "f.json: vgg16 has no option decoder, which was to be 1" },
    { "not what the network takes", "\"choke\":16", "\"choke\":513", "f.json: choke is 513, allowed are 0..512" },
    { "no such network", "\"vgg16\"", "\"vgg17\"", "model.name is \"vgg17\", expected one of" },
    { "network is null", "\"vgg16\"", "null", "model.name is null, expected" },
};

static const edit caps_edits[] = {
    { "no such decoder", "conv64", "conv32", "model.decoder is \"conv32\", expected one of none, fc, conv28, conv64" },
    { "five iterations", "\"routing\":2", "\"routing\":5", "model.routing is 5, expected a whole number of 0..4" },
    { "no iterations", "\"routing\":2", "\"routing\":0", "f.json: routing-iterations is 0, allowed are 1..4" },
    { "another network's", "\"choke\":0", "\"choke\":8", "f.json: shallowcaps has no option choke, which was to be 8" },
    { "not of that capsule network", "shallowcaps", "deepcaps",
      "f.json: deepcaps has no option paper-primary, which was to be 1" },
};

static const edit train_edits[] = {
    { "negative zero", "\"lr\":0.01", "\"lr\":-0", NULL },
    { "negative", "\"lr\":0.01", "\"lr\":-0.01", "train.lr is -0.01, expected a number of 0..1e+30" },
    { "too large", "\"lr\":0.01", "\"lr\":1e39", "train.lr is 1e+39, expected" },
    { "beyond f64", "\"lr\":0.01", "\"lr\":1e999", "train.lr is null, expected" },
    { "a list", "\"lr\":0.01", "\"lr\":[0.01]", "train.lr is [0.01], expected" },
    { "one epoch", "[150,225]", "[150]", "train.step_epochs is [150], expected a list of whole numbers" },
    { "three epochs", "[150,225]", "[150,225,300]", "train.step_epochs is [150,225,300], expected a list" },
    { "half an epoch", "[150,225]", "[150,225.5]", "train.step_epochs is [150,225.5], expected a list" },
    { "not a list", "[150,225]", "150", "train.step_epochs is 150, expected a list" },
    { "no such optimiser", "adam", "adamw", "train.optim is \"adamw\", expected one of sgd, adam" },
    { "no such schedule", "\"step\"", "\"steps\"", "one of constant, cosine, step, exponential, decay, triangular" },
    { "flips before they had a share", "\"flip_share\":0.5", "\"flip\":1",
      "f.json: train.flip is not a field of this version" },
    { "before shifts", "\"shift\":2,", NULL, "f.json: train.shift is missing" },
    { "turned too far", "\"rotation\":0.14285715", "\"rotation\":45.5",
      "train.rotation is 45.5, expected a number of 0..45" },
    { "never decays", "\"decay_steps\":6000", "\"decay_steps\":0",
      "train.decay_steps is 0, expected a whole number of 1.." },
    { "grows", "\"decay_rate\":0.96", "\"decay_rate\":1.04", "train.decay_rate is 1.04, expected a number of 0..1" },
    { "a bad young one", "\"hard_training\":1", "\"hard_training\":1,\"warmup\":-1",
      "train.warmup is -1, expected a number of 0..1e+30" },
    { "a young one twice", "\"hard_training\":1", "\"hard_training\":1,\"warmup\":1,\"warmup\":2",
      "train.warmup is not a field" },
    { "unknown", "\"hard_training\":1", "\"hard_training\":1,\"x\":1", "train.x is not a field" },
};

static cJSON *edited(const char *text, const edit *e)
{
    const char *at = strstr(text, e->from);
    char changed[1024];

    cr_assert(ne(ptr, (void *)at, NULL), "%s: no %s in %s", e->why, e->from, text);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, e->to ? e->to : "", at + strlen(e->from));
    cJSON *object = cJSON_Parse(changed);
    cr_assert(ne(ptr, object, NULL), "%s: %s", e->why, changed);
    return object;
}

static void expect(const edit *e, dt_status s)
{
    if (!e->part) {
        cr_assert(eq(int, (int)s, DT_OK), "%s: %s", e->why, dt_last_error());
        return;
    }
    cr_assert(eq(int, (int)s, DT_ERR_FORMAT), "%s", e->why);
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), e->part), NULL), "%s: no '%s' in '%s'", e->why, e->part,
              dt_last_error());
}

static void read_edited(const char *text, const edit *e)
{
    cJSON *object = edited(text, e);
    dt_model_config out = { .height = 77 };
    const dt_status s = dt_model_config_read(object, "f.json", &out);

    expect(e, s);
    cr_assert(eq(int, out.height, s == DT_OK ? 32 : 77), "%s", e->why);
    cJSON_Delete(object);
}

Test(config_json, reads_a_model_or_names_what_is_wrong)
{
    for (size_t i = 0; i < sizeof model_edits / sizeof model_edits[0]; i++) read_edited(model_text, &model_edits[i]);
    for (size_t i = 0; i < sizeof caps_edits / sizeof caps_edits[0]; i++) read_edited(caps_text, &caps_edits[i]);
}

Test(config_json, reads_a_training_or_names_what_is_wrong)
{
    char *text = train_text(&train);

    for (size_t i = 0; i < sizeof train_edits / sizeof train_edits[0]; i++) {
        cJSON *object = edited(text, &train_edits[i]);
        dt_train_config out = { .batch = 77 };
        const dt_status s = dt_train_config_read(object, "f.json", &out);
        expect(&train_edits[i], s);
        cr_assert(eq(int, out.batch, s == DT_OK ? 128 : 77), "%s", train_edits[i].why);
        cJSON_Delete(object);
    }
    free(text);
}

Test(config_json, refuses_what_is_not_an_object)
{
    cJSON *list = cJSON_CreateArray();
    dt_model_config out;

    cr_assert(eq(int, dt_model_config_read(list, "f.json", &out), DT_ERR_FORMAT));
    cr_assert(eq(int, dt_model_config_read(NULL, "f.json", &out), DT_ERR_FORMAT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "f.json: model is not a JSON object"), NULL));
    cJSON_Delete(list);
}

Test(config_json, writes_nothing_that_it_would_not_read)
{
    cJSON *object = cJSON_CreateObject();
    dt_train_config cfg = train;

    cfg.lr = NAN;
    cr_assert(eq(int, dt_train_config_write(&cfg, object), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "train.lr is null, expected a number"), NULL));
    cJSON_Delete(object);
}

Test(config_json, match_names_the_field_and_both_values)
{
    dt_train_config other_train = train;

    other_train.step_epochs[1] = 226;
    cr_assert(eq(int, dt_train_config_match(&train, &other_train, "f.json"), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr,
                 (void *)strstr(dt_last_error(), "f.json: the run was started with train.step_epochs = [150,225], "
                                                 "here it is [150,226]"),
                 NULL),
              "%s", dt_last_error());
    other_train = train;
    other_train.lr = nextafterf(train.lr, 1.0f);
    cr_assert(eq(int, dt_train_config_match(&train, &other_train, "f.json"), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "train.lr = 0.01, here it is 0.010000001;"), NULL), "%s",
              dt_last_error());
}

/* A number in a file is read as the double that was written, also where a float needs nine digits. */
Test(config_json, shortest_numbers_come_back)
{
    int n_nine = 0;

    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t bits = 0x38000000u + i * 2654435761u % 0x10000000u; /* from 3e-5 to 1e5 */
        float f;
        char text[64];
        memcpy(&f, &bits, sizeof f);
        const double d = dt_json_shortest(f);
        cJSON *number = cJSON_CreateNumber(d);
        cr_assert(cJSON_PrintPreallocated(number, text, sizeof text, 0));
        const int is_back = (float)d == f && strtod(text, NULL) == d;
        cr_assert(is_back, "%.9g is written as %s, which is not %.17g", (double)f, text, d);
        n_nine += strlen(text) > 9;
        cJSON_Delete(number);
    }
    cr_assert(n_nine > 100);
}
