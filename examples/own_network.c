/*
 * own_network.c - a network and images of one's own: trained with 4-bit weights and activations, saved, turned into an
 * integer program, and asked for a prediction. It is C and C++.
 *
 *   cc own_network.c $(pkg-config --cflags --libs detent) -lm -o own_network && ./own_network NETWORK.json
 *
 * The network's file takes images of 32x32x3 and has 10 classes, as share/detent/models/resnet8.json.
 */
#include <detent/detent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 320, SIDE = 32, CHANNELS = 3, CLASSES = 10, PIXELS = SIDE * SIDE * CHANNELS };

/* What is made; what was not made is NULL, and everything may be destroyed in any order. */
typedef struct {
    dt_context *context;
    dt_dataset *images;
    dt_graph *network;
    dt_model *model;
    dt_trainer *trainer;
    dt_program *program;
} work;

/* Stripes, whose direction is the class. */
static void draw(uint8_t *image, int label)
{
    const double angle = 3.14159265 * label / CLASSES;

    for (int i = 0; i < PIXELS; i++) {
        const int column = i / CHANNELS % SIDE, row = i / CHANNELS / SIDE;
        image[i] = (uint8_t)(127.0 + 120.0 * sin(0.8 * (column * cos(angle) + row * sin(angle))));
    }
}

static dt_status make_images(work *w, uint8_t *pixels, int32_t *labels)
{
    dt_images images;

    memset(&images, 0, sizeof images); /* std 0: normalisation is measured */
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = i % CLASSES;
        draw(pixels + (size_t)i * PIXELS, labels[i]);
    }
    images.name = "stripes";
    images.images = pixels;
    images.labels = labels;
    images.n = IMAGES;
    images.height = images.width = SIDE;
    images.channels = CHANNELS;
    images.n_classes = CLASSES;
    return dt_dataset_from_memory(&images, &w->images);
}

static dt_status train(work *w, const char *file)
{
    dt_options device;
    dt_model_config bits;
    dt_train_config training;

    dt_options_default(&device); /* a GPU where there is one, else the CPU */
    dt_train_config_default(NULL, &training);
    training.batch = 32;
    training.flip_share = 0.0f; /* stripes in a mirror are another class */
    training.crop_pad = 0;
    DT_TRY(dt_model_config_default(file, &bits)); /* 4 bits */
    DT_TRY(dt_graph_load(file, &w->network));
    DT_TRY(dt_context_create(&device, &w->context));
    DT_TRY(dt_model_create_of(w->context, w->network, &bits, &w->model));
    DT_TRY(dt_trainer_create(w->model, w->images, &training, &w->trainer));
    DT_TRY(dt_trainer_run(w->trainer, 50)); /* steps: five epochs of ten batches */
    return dt_checkpoint_save(w->trainer, "stripes.safetensors", NULL);
}

/* The integers for hardware, and what the trained model says of one image. */
static dt_status use(work *w, const uint8_t *image, float *scores)
{
    dt_prediction what;

    memset(&what, 0, sizeof what);
    what.pixels = image;
    what.n = 1;
    DT_TRY(dt_program_lower(w->model, NULL, &w->program));
    DT_TRY(dt_program_save(w->program, "stripes.program.safetensors"));
    return dt_predict(w->model, &what, scores);
}

int main(int argc, char **argv)
{
    static uint8_t pixels[(size_t)IMAGES * PIXELS];
    static int32_t labels[IMAGES];
    float scores[CLASSES], same[CLASSES];
    work w;

    if (argc != 2) {
        fprintf(stderr, "usage: %s NETWORK.json\n", argv[0]);
        return EXIT_FAILURE;
    }
    memset(&w, 0, sizeof w);
    dt_status status = make_images(&w, pixels, labels);
    if (status == DT_OK) status = train(&w, argv[1]);
    if (status == DT_OK) status = use(&w, pixels + 3 * PIXELS, scores);
    if (status == DT_OK) status = dt_program_run(w.program, pixels + 3 * PIXELS, same);
    if (status == DT_OK) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++) best = scores[c] > scores[best] ? c : best;
        printf("image of class 3: predicted %d; model and program %s\n", best,
               memcmp(scores, same, sizeof same) == 0 ? "agree in every bit" : "DIFFER");
    } else {
        fprintf(stderr, "%s\n%s\n", dt_last_error(), dt_last_trace());
    }
    dt_program_destroy(w.program);
    dt_trainer_destroy(w.trainer);
    dt_model_destroy(w.model);
    dt_graph_destroy(w.network);
    dt_dataset_close(w.images);
    dt_context_destroy(w.context);
    return status != DT_OK || memcmp(scores, same, sizeof same) != 0;
}
