/*
 * trainer_teacher.c - a network that teaches: beside the labels, the loss compares scores with those of a teacher.
 *
 *   originals  the teacher's scores of all images, as they are, are given before the run. A part reads its rows.
 *   augmented  the teacher looks at what the network that learns looks at. Before a part's forward pass, a tape of the
 *              teacher in evaluation makes the part's images, by the same draws, and leaves its scores for the loss.
 *
 * Source of the second: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent",
 * section 3.1. Tests: tests/core/test_trainer_teacher.c.
 */
#include "trainer.h"

#include "../tape/fuse.h"

#include <stdlib.h>
#include <string.h>

static int sees_augmented(const dt_trainer *t)
{
    return t->config.teacher_sees == DT_TEACHER_AUGMENTED;
}

dt_status dt_trainer_teacher_open(dt_trainer *t)
{
    const dt_graph *g = t->model->graph;
    const int64_t rows = sees_augmented(t) ? t->config.batch : t->n_images;

    if (t->config.teacher_share == 0.0f) return DT_OK;
    DT_CHECK(
        g->loss == DT_LOSS_CROSS_ENTROPY, DT_ERR_UNSUPPORTED,
        "teacher_share is %g, and %s has no softmax and cross entropy of classes, which a teacher's scores are for",
        (double)t->config.teacher_share, g->name);
    t->teacher.name = "teacher";
    t->teacher.type = DT_F32;
    t->teacher.shape = (dt_shape){ 2, { rows, dt_graph_count(g, g->scores) } };
    DT_TRY(dt_device_alloc(t->model->ctx, dt_tensor_bytes(&t->teacher), &t->teacher.data));
    DT_TRY(dt_device_zero(t->model->ctx, t->teacher.data, dt_tensor_bytes(&t->teacher)));
    t->spec.teacher_of_batch = sees_augmented(t);
    t->spec.teacher_share = t->config.teacher_share;
    t->spec.teacher_temperature = t->config.teacher_temperature;
    return DT_OK;
}

void dt_trainer_teacher_close(dt_trainer *t)
{
    dt_device_free(t->model->ctx, t->teacher.data, t->teacher.data ? dt_tensor_bytes(&t->teacher) : 0);
    dt_model_destroy(t->teaches);
}

void dt_trainer_lesson_open(const dt_trainer *t, const dt_part *part, dt_lesson *out)
{
    *out = (dt_lesson){ .said = t->teacher };
    if (sees_augmented(t)) out->said.shape.dim[0] = part->images;
}

static dt_status record_teacher(dt_model *teacher, const dt_record_spec *spec, dt_lesson *lesson, dt_tensor **tensor)
{
    DT_TRY(dt_model_tape(teacher, spec, &lesson->tape));
    DT_TRY(dt_model_record_network(teacher, lesson->tape, spec, tensor));
    lesson->scores = tensor[teacher->graph->scores];
    dt_tape_keep(lesson->tape, lesson->scores);
    DT_TRY(dt_tape_fuse(lesson->tape, 0));
    return dt_tape_compile(lesson->tape, NULL);
}

dt_status dt_trainer_lesson_record(const dt_trainer *t, const dt_part *part, dt_lesson *lesson)
{
    dt_model *teacher = t->teaches;
    dt_record_spec spec = t->spec;
    dt_tensor **tensor;

    if (!teacher) return DT_OK;
    spec.training = 0;
    spec.batch = part->images;
    spec.step_images = spec.norm_images = 0;
    if (teacher->origin.name[0]) {
        memcpy(spec.mean, teacher->origin.mean, sizeof spec.mean);
        memcpy(spec.std, teacher->origin.std, sizeof spec.std);
    }
    DT_TRY(dt_model_tensors(teacher, &tensor));
    const dt_status status = record_teacher(teacher, &spec, lesson, tensor);
    free(tensor);
    return status;
}

dt_status dt_trainer_lesson_give(const dt_trainer *t, const dt_lesson *lesson)
{
    const dt_context *ctx = t->model->ctx;

    if (!lesson->tape) return DT_OK;
    DT_TRY(dt_tape_run(lesson->tape, DT_PASS_CONSTANT, NULL, NULL)); /* each time: all tapes share the workspace */
    DT_TRY(dt_tape_run(lesson->tape, DT_PASS_FORWARD, NULL, NULL));
    return ctx->backend->copy(ctx->device, lesson->said.data, lesson->scores->data, dt_tensor_bytes(&lesson->said));
}

void dt_trainer_lesson_close(dt_lesson *lesson)
{
    dt_tape_destroy(lesson->tape);
    lesson->tape = NULL;
}

dt_status dt_trainer_teach(dt_trainer *t, const float *scores)
{
    DT_CHECK(t->teacher.data, DT_ERR_ARGUMENT, "this trainer has no teacher; teacher_share is 0");
    DT_CHECK(!sees_augmented(t), DT_ERR_ARGUMENT,
             "teacher_sees is augmented, and scores of the images as they are were given; give the teacher itself "
             "(dt_trainer_teach_by), or set teacher_sees to originals");
    DT_TRY(dt_device_write(t->model->ctx, t->teacher.data, scores, dt_tensor_bytes(&t->teacher)));
    t->is_taught = 1;
    return DT_OK;
}

/* The teacher reads the trainer's own images, and its scores are compared one by one. */
static dt_status check_teacher(const dt_trainer *t, const dt_model *teacher)
{
    const dt_shape *images = &t->data.images.shape;
    dt_model_info is;

    DT_CHECK(teacher->ctx == t->model->ctx, DT_ERR_ARGUMENT, "the teacher has another context than what it teaches");
    dt_model_look(teacher, &is);
    DT_CHECK(images->dim[1] == is.height && images->dim[2] == is.width && images->dim[3] == is.channels, DT_ERR_SHAPE,
             "images are %lldx%lldx%lld, the teacher wants %dx%dx%d", (long long)images->dim[1],
             (long long)images->dim[2], (long long)images->dim[3], is.height, is.width, is.channels);
    DT_CHECK(is.n_classes == t->teacher.shape.dim[1], DT_ERR_SHAPE,
             "the teacher has %d classes, and the network that is trained has %lld", is.n_classes,
             (long long)t->teacher.shape.dim[1]);
    DT_CHECK(teacher->graph->value[teacher->graph->image]->facts.type != DT_U8, DT_ERR_UNSUPPORTED,
             "%s reads pixels as they are, and teacher_sees is augmented; set teacher_sees to originals",
             teacher->graph->name);
    return DT_OK;
}

dt_status dt_trainer_teach_by(dt_trainer *t, dt_model *teacher)
{
    DT_CHECK(t->teacher.data, DT_ERR_ARGUMENT, "this trainer has no teacher; teacher_share is 0");
    DT_CHECK(sees_augmented(t), DT_ERR_ARGUMENT,
             "teacher_sees is originals, and a teacher was given that looks at each batch; give its scores "
             "(dt_trainer_teach), or set teacher_sees to augmented");
    DT_CHECK(!t->teaches && t->step == 0, DT_ERR_ARGUMENT,
             "a trainer takes one teacher, before its first step; it has taken %lld steps%s", (long long)t->step,
             t->teaches ? " and has a teacher" : "");
    DT_TRY(check_teacher(t, teacher));
    dt_model_hold(teacher);
    t->teaches = teacher;
    for (int i = 0; i < t->n_tapes; i++) DT_TRY(dt_trainer_lesson_record(t, &t->tape[i].part, &t->tape[i].lesson));
    t->is_taught = 1;
    return DT_OK;
}
