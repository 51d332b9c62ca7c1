/*
 * export.c - `detent export`: a checkpoint's integers for hardware and for engines: program, vectors for RTL, C,
 *            fixed-point codes, CSV, TensorFlow Lite and ONNX files.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The checkpoint and the images are open. */
static dt_status export_routing(const settings *s, session *o, int64_t index)
{
    dt_dataset_view view;
    int n_files = 0;

    dt_dataset_look(o->test_set, &view);
    if (!o->program) DT_TRY(dt_program_lower(o->model, o->test_set, &o->program));
    const uint8_t *image = view.images + index * view.height * view.width * view.channels;
    DT_TRY(dt_capsule_vectors_save(o->program, image, s->layer, s->out, &n_files));
    printf("%s, image %s: %d files and manifest.json in %s, every step of a routing\n", s->layer, text_count(index).s,
           n_files - 1, s->out);
    return DT_OK;
}

/* A network in fixed point has its integers in its program alone, which takes its place. */
static dt_status use_integers(session *o)
{
    dt_qcaps_formats formats;
    dt_model *m = NULL;

    if (!dt_qcaps_look(o->model, &formats)) return DT_OK;
    DT_TRY(dt_program_lower(o->model, o->test_set, &o->program));
    DT_TRY(dt_program_model(o->ctx, o->program, NULL, &m));
    dt_model_destroy(o->model);
    o->model = m;
    return DT_OK;
}

static dt_status export_vectors(const settings *s, session *o)
{
    dt_dataset_view view;
    image_range range;
    dt_capture *c;
    int n_files = 0;

    DT_TRY(need_option("layer", s->layer));
    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
    DT_TRY(use_integers(o));
    dt_dataset_look(o->test_set, &view);
    DT_TRY(session_range(s, view.n, &range));
    DT_CHECK(range.count == 1, DT_ERR_ARGUMENT, "--index %s: vectors are of one image, as --index 3", s->index);
    if (dt_model_has_routing(o->model, s->layer)) return export_routing(s, o, range.first);
    DT_TRY(session_find_layer(o, s->layer, 0));
    DT_TRY(dt_capture_layer(o->model, o->test_set, range.first, 1, s->layer, &c));
    const dt_vector_style style = { (dt_layout)s->layout, s->header_lines };
    const dt_status status = dt_vectors_save(c, s->layer, &s->array, &style, s->out, &n_files);
    dt_capture_destroy(c);
    DT_TRY(status);
    printf("%s, image %s: %d files and manifest.json in %s, layout %s\n", s->layer, text_count(range.first).s, n_files,
           s->out, dt_layout_names[s->layout]);
    return DT_OK;
}

/* "net.tflite: 12 layers, 6 KiB, input and output i8" */
static void tell_tflite(const settings *s, int n_layers, dt_tflite_io io)
{
    FILE *const to = report_stream(s->out);
    struct stat file = { 0 };

    (void)stat(s->out, &file);
    fprintf(to, "%s: %d layers, %s, input and output %s\n", s->out, n_layers, text_bytes((size_t)file.st_size).s,
            dt_tflite_io_names[io]);
}

static dt_status export_tflite(const settings *s, const session *o, const dt_program_info *info)
{
    const dt_tflite_io io = s->io < 0 ? DT_TFLITE_IO_I8 : (dt_tflite_io)s->io;

    DT_TRY(dt_program_write_tflite(o->program, io, s->out));
    tell_tflite(s, info->n_layers, io);
    return DT_OK;
}

/* "net.onnx: 12 layers, 6 KiB, opset 13, in the style qdq" */
static void tell_onnx(const settings *s, int n_layers, const char *form)
{
    FILE *const to = report_stream(s->out);
    struct stat file = { 0 };

    (void)stat(s->out, &file);
    fprintf(to, "%s: %d layers, %s, opset %d, %s\n", s->out, n_layers, text_bytes((size_t)file.st_size).s, s->opset,
            form);
}

static dt_status export_onnx(const settings *s, const session *o, const dt_program_info *info)
{
    const dt_onnx_style style = s->style < 0 ? DT_ONNX_QDQ : (dt_onnx_style)s->style;
    char form[32];

    DT_CHECK(s->style != STYLE_FLOAT, DT_ERR_ARGUMENT,
             "--style float: %s has quantizers, and a file of reals has none; leave --style out, or give qdq, qcdq or "
             "qonnx",
             s->checkpoint);
    DT_TRY(dt_program_write_onnx(o->program, style, s->opset, s->out));
    snprintf(form, sizeof form, "in the style %s", dt_onnx_style_names[style]);
    tell_onnx(s, info->n_layers, form);
    return DT_OK;
}

/* A network of reals, whose weights may be integers in a TensorFlow Lite file. */
static dt_status export_reals(const settings *s, const session *o)
{
    if (s->target == EXPORT_ONNX) {
        DT_CHECK(s->style < 0 || s->style == STYLE_FLOAT, DT_ERR_ARGUMENT,
                 "--style %s: %s computes on reals; leave --style out, or give float; 'detent quantize' and 'detent "
                 "train' make networks with codes",
                 style_words[s->style], s->checkpoint);
        DT_TRY(dt_model_write_onnx(o->model, s->opset, s->out));
        tell_onnx(s, dt_layer_count(o->model), "of reals");
        return DT_OK;
    }
    DT_CHECK(s->io < 0 || s->io == DT_TFLITE_IO_F32, DT_ERR_ARGUMENT,
             "--io %s: %s computes on reals, and its file takes and gives them: leave --io out, or give f32; 'detent "
             "quantize' makes a network of integers",
             dt_tflite_io_names[s->io], s->checkpoint);
    DT_TRY(dt_model_write_tflite(o->model, s->out));
    tell_tflite(s, dt_layer_count(o->model), DT_TFLITE_IO_F32);
    return DT_OK;
}

static dt_status export_program(const settings *s, session *o)
{
    dt_program_info info;
    int is_program;

    DT_TRY(session_holds_program(s, &is_program));
    if ((s->target == EXPORT_TFLITE || s->target == EXPORT_ONNX) && !is_program) {
        DT_TRY(session_open_checkpoint(s, o));
        if (dt_model_is_real(o->model)) return export_reals(s, o);
    }
    DT_TRY(session_open_program(s, o));
    dt_program_describe(o->program, &info);
    session_note_dataset(s, &info.origin);
    if (s->target == EXPORT_TFLITE) return export_tflite(s, o, &info);
    if (s->target == EXPORT_ONNX) return export_onnx(s, o, &info);
    FILE *const to = report_stream(s->out);
    if (s->target == EXPORT_C) {
        DT_TRY(dt_program_write_c(o->program, s->out, s->name));
        fprintf(to, "%s/%s.c and %s.h: ", s->out, s->name, s->name);
    } else {
        DT_TRY(dt_program_save(o->program, s->out));
        fprintf(to, "%s: ", s->out);
    }
    fprintf(to, "%d layers, %s weight codes, %s\n", info.n_layers, text_count(info.n_weights).s,
            text_bytes(info.bytes).s);
    return DT_OK;
}

static dt_status export_codes(const settings *s, session *o)
{
    dt_qcaps_formats formats;

    DT_TRY(session_open_checkpoint(s, o));
    DT_CHECK(dt_qcaps_look(o->model, &formats), DT_ERR_UNSUPPORTED,
             "%s: %s has no fixed-point formats; 'detent search' gives them to a capsule network", s->checkpoint,
             text_network(o->model).s);
    FILE *const to = report_stream(s->out);
    DT_TRY(dt_model_save_codes(o->model, s->out));
    fprintf(to, "%s: the weights' codes and the formats of %d tensors, %s\n", s->out, formats.n_tensors,
            dt_rounding_names[formats.rounding]);
    return DT_OK;
}

static dt_status export_csv(const settings *s, session *o)
{
    dt_extraction_counts counts;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(dt_quantized_extract(o->model, &s->extraction, s->out, &counts));
    printf("%s: extracted_weights.csv of %d layers, extracted_activations.csv of %d quantizers, and both as "
           "extracted.safetensors\n",
           s->out, counts.n_layers, counts.n_activations);
    return DT_OK;
}

static dt_status export_target(const settings *s, session *o)
{
    switch ((export_kind)s->target) {
    case EXPORT_PROGRAM:
    case EXPORT_C:
    case EXPORT_TFLITE:
    case EXPORT_ONNX: break;
    case EXPORT_VECTORS: return export_vectors(s, o);
    case EXPORT_FIXED_POINT: return export_codes(s, o);
    case EXPORT_CSV: return export_csv(s, o);
    }
    return export_program(s, o);
}

dt_status export_run(const settings *s, int *exit_code)
{
    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    return session_run(s, export_target);
}
