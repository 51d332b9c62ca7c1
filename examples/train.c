/*
 * train.c - trains a small network with 4-bit weights and activations through the library, and keeps it in a file that
 * every `detent` command reads.
 *
 *   cc train.c $(pkg-config --cflags --libs detent) -o train && ./train
 */
#include <detent/detent.h>
#include <stdio.h>

/* What is made; what was not made is NULL, and everything may be destroyed in any order. */
typedef struct {
    dt_context *context;
    dt_dataset *images;
    dt_model *model;
    dt_trainer *trainer;
} run;

static dt_status train(run *r, dt_metrics *seen)
{
    const dt_dataset_options images = { .name =
                                            "synthetic", /* "cifar10" reads files: dt_dataset_known lists them all */
                                        .split = DT_SPLIT_TRAIN,
                                        .limit = 1000,
                                        .seed = 1 };
    dt_options device;
    dt_model_config network;
    dt_train_config training;

    dt_options_default(&device); /* a GPU where there is one, else the CPU */
    dt_train_config_default("tiny", &training);
    DT_TRY(dt_model_config_default("tiny", &network));
    DT_TRY(dt_context_create(&device, &r->context));
    DT_TRY(dt_dataset_open(&images, &r->images));
    DT_TRY(dt_model_create(r->context, &network, &r->model));
    DT_TRY(dt_trainer_create(r->model, r->images, &training, &r->trainer));
    DT_TRY(dt_trainer_run(r->trainer, 40)); /* steps: five epochs of eight batches */
    DT_TRY(dt_trainer_metrics(r->trainer, seen));
    return dt_checkpoint_save(r->trainer, "tiny.safetensors", NULL);
}

int main(void)
{
    run r = { 0 };
    dt_metrics seen;
    const dt_status status = train(&r, &seen);

    if (status == DT_OK) printf("the last epoch: loss %.3f, accuracy %.1f %%\n", seen.loss, 100.0 * seen.accuracy);
    if (status != DT_OK) fprintf(stderr, "%s\n", dt_last_error());
    dt_trainer_destroy(r.trainer);
    dt_model_destroy(r.model);
    dt_dataset_close(r.images);
    dt_context_destroy(r.context);
    return status != DT_OK;
}
