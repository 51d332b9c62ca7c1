/*
 * settings.c - the table of options; settings_train.c has the rows of training. A row has an option's name, member,
 * range and help. The command line, its --help, the range checks and config.json all go by it. The rows of what single
 * networks can be asked for are made from the tables of their builders (dt_network_options).
 *
 * Defaults are those of the library (dt_*_default), so the table has none. option_values.c reads and writes the values.
 */
#include "option_rows.h"

#include <assert.h>
#include <string.h>

/* --input writes the three as one shape. */
_Static_assert(AT(model.width) == AT(model.height) + sizeof(int) && AT(model.channels) == AT(model.width) + sizeof(int),
               "height, width and channels lie side by side");

#define MODEL_OPTION .commands = FOR_TRAIN | FOR_INSPECT | FOR_IMPORT, .group = GROUP_MODEL, .memory = FIXED
#define CAPS_OPTION  .commands = FOR_TRAIN | FOR_INSPECT | FOR_SEARCH | FOR_IMPORT, .group = GROUP_MODEL, .memory = FIXED
#define ON_ARRAY     (FOR_EVAL | FOR_VERIFY | FOR_EXPORT)
#define ON_DATA      (FOR_TRAIN | FOR_CAPTURE | FOR_SEARCH | FOR_COMPARE | ON_ARRAY)
#define ON_DEVICE    (ON_DATA | FOR_PREDICT | FOR_QUANTIZE)
#define ON_COMPRESS  (FOR_PRUNE | FOR_FACTORIZE)
#define ON_FILE                                                                                                     \
    (ON_COMPRESS | FOR_CAPTURE | FOR_INSPECT | FOR_SEARCH | FOR_PREDICT | FOR_QUANTIZE | FOR_COMPARE | FOR_IMPORT | \
     ON_ARRAY)
#define ON_ALL          (ON_COMPRESS | ON_DATA | FOR_INSPECT | FOR_DATA | FOR_PREDICT | FOR_QUANTIZE | FOR_IMPORT)
#define ARRAY_OPTION    .commands = ON_ARRAY | FOR_PREDICT | FOR_REPORT, .group = 6
#define SEARCH_OPTION   .commands = FOR_SEARCH, .group = 7
#define QUANTIZE_OPTION .commands = FOR_QUANTIZE, .group = 5
#define PRUNE_OPTION    .commands = FOR_PRUNE, .group = 5
#define EXTRACT_OPTION  .commands = FOR_EXPORT, .group = 5

enum { GROUP_MODEL = 1 };

#define MAX_SEED 9007199254740991.0 /* 2^53 - 1: above, JSON's doubles round one whole number to another */

const char *const device_words[] = { "auto", "cpu", "cuda", NULL };
static const char *const range_words[] = { "learned", "average", NULL };        /* of dt_range_update */
static const char *const normalize_words[] = { "channel", "mean-image", NULL }; /* of centre_image */
const char *const engine_words[] = { "grid", "program", "array", NULL };
const char *const style_words[] = { "qdq", "qcdq", "qonnx", "float", NULL }; /* dt_onnx_style, STYLE_FLOAT */
static const char *const export_words[] = { "program", "vectors", "c", "fixed-point", "csv", "tflite", "onnx", NULL };
const char *const method_words[] = { "qcapsnets", "bits", NULL };                        /* search_method */
const char *const tuner_words[] = { "random", "tpe", "gp", "greedy", "gradient", NULL }; /* dt_tuner_mode, then
                                                                                             TUNER_GRADIENT */
const char *const tune_words[] = { "val", "test", NULL };                                /* in the order of tune_kind */
const char *const compat_words[] = { "corrected", "master", NULL }; /* of dt_qcaps_options.published */

/* clang-format off */
/* of the network and of data; those of training, of train_rows, come next */
static const option_row first_rows[] = {
    { "model", KIND_TEXT, AT(model.name), CAPS_OPTION, .unit = "NAME|FILE",
      .about = "Network: vgg16, shallowcaps, deepcaps, tiny for trials, or a network's file, of its own size: .json, or a checkpoint (.safetensors), with whose values training begins" },
    { "recipe", KIND_TEXT, AT(recipe), MODEL_OPTION, .unit = "NAME",
      .about = "Start from the settings of a recipe, which 'detent recipes' lists; the other options change single values of them" },
    { "wbits", KIND_INT, AT(model.wbits), MODEL_OPTION, .unit = "BITS", .min = 2, .max = 16,
      .special = "float", .special_value = DT_BITS_FLOAT,
      .about = "Bits of a weight; more than 8 with --quant-rule qkeras alone" },
    { "abits", KIND_INT, AT(model.abits), MODEL_OPTION, .unit = "BITS", .min = 2, .max = 16,
      .special = "float", .special_value = DT_BITS_FLOAT, .about = "Bits of an activation; likewise" },
    { "bits", KIND_TEXT, AT(bits), MODEL_OPTION, .unit = "LAYER:wXaY,..|FILE",
      .about = "Bits of single layers, by name or pattern (* and ?), as 'features.27:w2a2,stage1.*:float', or in a JSON file; w4a4b16 has those of a bias (qkeras)" },
    { "first-last-bits", KIND_INT, AT(model.first_last_bits), MODEL_OPTION, .unit = "BITS", .min = 2, .max = 8,
      .special = "same", .special_value = 0,
      .about = "Bits of weights and activations of the first and the last quantized layer; the image has --input-bits" },
    { "sum-bits", KIND_INT, AT(model.sum_bits), MODEL_OPTION, .unit = "BITS", .min = 2, .max = 8,
      .special = "real", .special_value = 0, .about = "Bits of what adds and average pools sum; 'real' sums reals" },
    { "quantize-classifier", FLAG, .offset = AT(model.quantize_classifier), MODEL_OPTION,
      .about = "Give the linear layer that makes the scores bits as other layers have them" },
    { "input-bits", KIND_INT, AT(model.input_bits), MODEL_OPTION, .unit = "BITS", .min = 2, .max = 8,
      .special = "same", .special_value = 0,
      .about = "Bits of the image, signed, with a fixed clip; 'same' quantizes it like any activation" },
    { "quant-rule", KIND_WORD, AT(model.rule), MODEL_OPTION, .unit = "RULE", .words = dt_quant_rule_names,
      .about = "How gradients treat the clip; affine: the quantizers of TensorFlow Lite, one for each value" },
    { "ranges", KIND_WORD, AT(model.ranges), MODEL_OPTION, .unit = "HOW", .words = range_words,
      .about = "Quant-rule affine: the gradient changes ranges, or they are an average of what batches hold" },
    { "per-channel", FLAG, .offset = AT(model.per_channel), MODEL_OPTION,
      .about = "A weight clip, or scale, for each filter, not one for the layer" },
    { "fold-bn", KIND_WORD, AT(model.fold_bn), MODEL_OPTION, .unit = "BY", .words = dt_fold_mode_names,
      .about = "Fold batch norms into their layers while they train: weights are quantized folded, by running statistics "
               "(ema) or by those of the batch (batch). Each such layer is computed twice a step" },
    { "bn-freeze-delay", KIND_INT, AT(model.bn_freeze), MODEL_OPTION, .unit = "STEPS", .min = 1, .max = MAX_COUNT,
      .special = "never", .special_value = 0,
      .about = "Fold-bn: after so many steps running statistics stay as they are, and are taken for the batch's" },
    { "normalize", KIND_WORD, AT(model.centre_image), MODEL_OPTION, .unit = "HOW", .words = normalize_words,
      .about = "Images less the mean of each channel, divided by its deviation; or pixels / 256 less the mean image of the "
               "training images, which the network keeps" },
    { "start-weights", KIND_WORD, AT(model.start_weights), MODEL_OPTION, .unit = "HOW", .words = dt_start_weights_names,
      .about = "First weights: as PyTorch draws them (default), or, of convolutions and linear layers without a batch norm "
               "behind them, such that a signal keeps its size (keep)" },
    { "input", KIND_SHAPE, AT(model.height), CAPS_OPTION, .unit = "HxWxC", .min = 1, .max = 4096,
      .about = "Size of the images and their channels; images are padded to that, for capsule networks resized" },
    { "classes", KIND_INT, AT(classes), CAPS_OPTION, .unit = "N", .min = 2, .max = 1000,
      .special = "dataset", .special_value = 0,
      .about = "Classes of the network, as many as the dataset has or more; without a dataset it has 10" },

    { "dataset", KIND_TEXT, AT(dataset), FOR_TRAIN, 2, FIXED, .unit = "NAME",
      .about = "Dataset: a name, or KIND:PATH such as csv:FILE, with options behind commas; 'detent data' lists them" },
    { "dataset", KIND_TEXT, AT(dataset), (ON_DEVICE & ~FOR_TRAIN) | FOR_INSPECT, 2, .unit = "NAME",
      .about = "Dataset; without it the one that the network was trained on, as its file says" },
    { "dataset", KIND_TEXT, AT(dataset), FOR_DATA, 2, .unit = "NAME",
      .about = "Open this dataset, and tell what its training and test samples are" },
    { "data", KIND_TEXT, AT(data_dir), ON_DEVICE | FOR_INSPECT | FOR_DATA, 2, SAVED, .unit = "DIR",
      .about = "Folder of the dataset's files, where they are not in its own folders" },
    { "train-size", KIND_INT64, AT(train_size), FOR_TRAIN, 2, FIXED, .unit = "IMAGES", .min = 0, .max = MAX_COUNT,
      .about = "Train on a balanced subset; 0 takes all" },
    { "val-size", KIND_INT64, AT(val_size), FOR_TRAIN, 2, FIXED, .unit = "IMAGES", .min = 0, .max = MAX_COUNT,
      .about = "Hold training images out, equally many of each class, to choose the best network by; 0 holds none out" },
    { "test-size", KIND_INT64, AT(test_size), ON_DATA | FOR_INSPECT, 2, FIXED, .unit = "IMAGES", .min = 0, .max = MAX_COUNT,
      .about = "Evaluate on a balanced subset; 0 takes all" },
};
enum { N_FIRST_ROWS = sizeof first_rows / sizeof first_rows[0] };

static const option_row last_rows[] = {
    { "checkpoint", KIND_TEXT, AT(checkpoint), ON_FILE, 5, .unit = "FILE",
      .about = "Trained network, or with the engines program and array an exported program (.safetensors); or a "
               "TensorFlow Lite file (.tflite), of reals or of int8 arithmetic; or an ONNX file (.onnx), of reals or in "
               "QDQ form. The option's name may be left out" },
    { "scheme", KIND_WORD, AT(quantize.scheme), QUANTIZE_OPTION, .unit = "SCHEME", .words = dt_scheme_names,
      .about = "What becomes of the network: 'full' integers, for which TensorFlow Lite has the names fiq-*; 'drq' int8 "
               "weights of layers with 1024 or more, whose inputs are rounded while it runs; 'float' folded batch norms; "
               "'qkeras' the quantizers with which the QKeras-Mod notebook trains. The last three need no images" },
    { "calibrate", KIND_TEXT, AT(calibrate), QUANTIZE_OPTION, .unit = "FILE[:NAME]",
      .about = "Calibration images, [N][H][W][C], in a safetensors file: U8 pixels, or F32 normalised already (of "
               "a network that was trained on reals: as its dataset has them); without it training images of the dataset" },
    { "images", KIND_INT64, AT(calibrate_images), QUANTIZE_OPTION, .unit = "N", .min = 1, .max = MAX_COUNT,
      .about = "How many training images of the dataset to calibrate on, equally many of each class" },
    { "observe", KIND_WORD, AT(quantize.observer), QUANTIZE_OPTION, .unit = "HOW", .words = dt_observer_names,
      .about = "How a value's range follows from what it was; max-abs has the notebook's error, for comparison alone" },
    { "percentile", KIND_FLOAT, AT(quantize.percent), QUANTIZE_OPTION, .unit = "PERCENT", .min = 50.001, .max = 100,
      .about = "Observer percentile: share of the values that a range holds at each end" },
    { "wbits", KIND_INT, AT(quantize.wbits), QUANTIZE_OPTION, .unit = "BITS", .min = 2, .max = 16,
      .about = "Bits of a weight" },
    { "abits", KIND_INT, AT(quantize.abits), QUANTIZE_OPTION, .unit = "BITS", .min = 2, .max = 16,
      .about = "Bits of an activation" },
    { "per-layer", FLAG, .offset = AT(quantize.per_layer), QUANTIZE_OPTION,
      .about = "One scale for the weights of a layer, not one for each filter" },
    { "fc-per-tensor", FLAG, .offset = AT(quantize.fc_per_layer), QUANTIZE_OPTION,
      .about = "One scale for the weights of a linear layer, as TensorFlow's converters had before 2024" },
    { "symmetric", FLAG, .offset = AT(quantize.symmetric), QUANTIZE_OPTION,
      .about = "Activations have the zero point 0; a value that is never below 0 then loses one bit" },
    { "ranges", KIND_TEXT, AT(quantize.ranges), QUANTIZE_OPTION, .unit = "FILE",
      .about = "Ranges that take the place of observed ones: JSON, { \"VALUE\": [min, max] }" },
    { "passes", KIND_TEXT, AT(passes), QUANTIZE_OPTION, .unit = "PASS,..",
      .about = "Passes that win back what quantization costs, in this order whatever the list's: equalize (weights of "
               "neighbouring layers), correct-bias, adaround (weights up or down), reestimate-norms" },
    { "rescue", FLAG, .offset = AT(rescue), QUANTIZE_OPTION,
      .about = "Try all passes, or those of --passes, and keep each that lowers the loss on images that are held out" },
    { "held-out", KIND_INT64, AT(held_out), QUANTIZE_OPTION, .unit = "N", .min = 1, .max = MAX_COUNT,
      .about = "Training images that judge the passes, equally many of each class; calibration has others" },
    { "adaround-steps", KIND_INT, AT(rounding_steps), QUANTIZE_OPTION, .unit = "N", .min = 1, .max = 100000,
      .about = "Steps of AdaRound a layer; large layers take fewer" },
    { "kind", KIND_WORD, AT(prune.kind), PRUNE_OPTION, .unit = "KIND", .words = dt_prune_kind_names,
      .about = "Remove filters, so that layers shrink, or make single weights 0, which training then leaves at 0" },
    { "share", KIND_FLOAT, AT(prune.share), PRUNE_OPTION, .unit = "SHARE", .min = 0.001, .max = 0.999,
      .about = "Share of each layer's filters, or weights, that goes" },
    { "scope", KIND_WORD, AT(prune.scope), PRUNE_OPTION, .unit = "SCOPE", .words = dt_prune_scope_names,
      .about = "Compare filters or weights within each layer, or over all layers; then the share is of all" },
    { "of-parameters", FLAG, .offset = AT(prune.of_parameters), PRUNE_OPTION,
      .about = "Remove filters until --share of the parameters is gone, not of the filters" },
    { "n-of-m", KIND_PAIR, AT(group), PRUNE_OPTION, .unit = "N,M", .min = 0, .max = 64,
      .about = "Kind weights: of each M weights side by side along the input channels keep the N largest; 0,0: as --share says" },
    { "whole", KIND_TEXT, AT(whole), PRUNE_OPTION, .unit = "LAYER,..",
      .about = "Layers that are left as they are, by name or pattern (* and ?)" },
    { "ranks", KIND_TEXT, AT(ranks_of), FOR_FACTORIZE, 5, .unit = "LAYER:RANK,..",
      .about = "Layers by name or pattern, and the rank of each; of a linear layer a rank between each two cores, as fc1:4x6, "
               "and perhaps factors of its inputs and of its features, as fc1:4x6:7x6x4:2x2x2" },
    { "profile", KIND_WORD, AT(profile), FOR_EVAL | FOR_PREDICT | FOR_EXPORT | FOR_VERIFY | FOR_COMPARE, 5, .unit = "NAME",
      .words = dt_profile_names, .special = "own", .special_value = -1,
      .about = "Quantized after training: the engine whose arithmetic the program has; 'exact' is the checkpoint's own "
               "evaluation, and 'own' the file's: litert-ref at first, of an ONNX file onnx" },
    { "profile", KIND_WORD, AT(profile), FOR_INSPECT, 5, .unit = "NAME",
      .words = dt_profile_names, .special = "own", .special_value = -1,
      .about = "Debug-quant: the engine whose arithmetic the program has; 'own' is fp32-rne, or the program's thresholds" },
    { "io-cast", KIND_WORD, AT(io_cast), FOR_EVAL | FOR_PREDICT, 5, .unit = "HOW", .words = dt_image_cast_names,
      .about = "Quantized after training: how images become codes; truncate-i8 and -u8 cut off and wrap, as a host that "
               "casts without rounding" },
    { "engine", KIND_WORD, AT(engine), FOR_EVAL | FOR_PREDICT | FOR_INSPECT, 5, .unit = "NAME",
      .words = engine_words, .about = "What computes: the trained model, its integer program, or the program on an array" },
    { "top-k", KIND_INT, AT(top_k), FOR_EVAL, 5, .unit = "K", .min = 1, .max = 1e6,
      .about = "Tell also how often the true class is among the K largest scores, where there are more classes than K" },
    { "confusion", FLAG, .offset = AT(confusion), .commands = FOR_EVAL, .group = 5,
      .about = "Print the accuracy of each class, and for which classes its images were taken" },
    { "metrics", FLAG, .offset = AT(metrics), .commands = FOR_EVAL, .group = 5,
      .about = "Print also precision, recall and F1 of each class and their means, balanced accuracy, Cohen's kappa, and "
               "what --confusion prints" },
    { "graph", FLAG, .offset = AT(graph), .commands = FOR_INSPECT, .group = 5,
      .about = "Show the network instead: a line for each operator; with --json its file, as --model reads it" },
    { "cost", FLAG, .offset = AT(cost), .commands = FOR_INSPECT, .group = 5,
      .about = "Show what each layer costs for one image: products, weights, their bits, bit operations as QONNX counts "
               "them" },
    { "histograms", FLAG, .offset = AT(histograms), .commands = FOR_INSPECT, .group = 5,
      .about = "Draw how often each weight code of each layer occurs, and of a checkpoint whose dataset is found each "
               "activation code of --images test images" },
    { "dot", FLAG, .offset = AT(dot), .commands = FOR_INSPECT, .group = 5,
      .about = "Show the network as a drawing for Graphviz: | dot -Tsvg" },
    { "tensors", FLAG, .offset = AT(tensors), .commands = FOR_INSPECT, .group = 5,
      .about = "Show the file's tensors instead, by type: name, shape, bytes, and whether they are constant" },
    { "diff", KIND_TEXT, AT(diff), FOR_INSPECT, 5, .unit = "FILE",
      .about = "Show which tensors of --checkpoint and of FILE differ, by their names" },
    { "debug-quant", FLAG, .offset = AT(debug_quant), .commands = FOR_INSPECT, .group = 5,
      .about = "Show the error of each layer of a quantized network, as TensorFlow's quantization debugger does" },
    { "mode", KIND_WORD, AT(debug_mode), FOR_INSPECT, 5, .unit = "MODE", .words = dt_debug_mode_names,
      .about = "Debug-quant: each layer by itself, or beside the whole network of reals, so that errors add up" },
    { "sensitivity", FLAG, .offset = AT(sensitivity), .commands = FOR_INSPECT, .group = 5,
      .about = "Show what the scores lose if one layer alone is quantized, and if all layers but it are, and what its "
               "rounded weights add to the loss by an estimate of second order" },
    { "compare", KIND_TEXT, AT(compare), FOR_INSPECT, 5, .unit = "A,B,..",
      .about = "Debug-quant of up to six quantized networks, side by side: checkpoints, or files of --csv" },
    { "csv", KIND_TEXT, AT(csv), FOR_INSPECT, 5, .unit = "FILE",
      .about = "Write the table of --debug-quant, in TensorFlow's columns, or of --sensitivity" },
    { "html", KIND_TEXT, AT(html), FOR_INSPECT, 5, .unit = "FILE",
      .about = "Write the charts of --debug-quant, --compare or --sensitivity as a page" },
    { "to", KIND_WORD, AT(target), FOR_EXPORT, 5, .unit = "KIND", .words = export_words,
      .about = "Integer program (.safetensors), vectors for RTL, C, the codes of a network that 'detent search' has "
               "quantized (.safetensors); of one that 'detent quantize' has, the QKeras-Mod notebook's tables (csv); of it, and "
               "of one of reals, a TensorFlow Lite file (.tflite) or an ONNX file (.onnx)" },
    { "wbits", KIND_INT, AT(extraction.wbits), EXTRACT_OPTION, .unit = "BITS", .min = 2, .max = 31,
      .special = "own", .special_value = 0, .about = "csv: bits of a weight; 'own' are the quantizer's" },
    { "abits", KIND_INT, AT(extraction.abits), EXTRACT_OPTION, .unit = "BITS", .min = 2, .max = 31,
      .special = "own", .special_value = 0, .about = "csv: bits of an activation; 'own' are the quantizer's" },
    { "bias-bits", KIND_INT, AT(extraction.bias_bits), EXTRACT_OPTION, .unit = "BITS", .min = 2, .max = 32,
      .about = "csv: bits of a bias" },
    { "columns", KIND_WORD, AT(extraction.columns), EXTRACT_OPTION, .unit = "NAMES", .words = dt_columns_names,
      .about = "csv: subq1 and alpha_of_max_abs, as the notebook says, or subq and alpha_of_min, as QKeras-Mod does now" },
    { "io", KIND_WORD, AT(io), FOR_EXPORT, 5, .unit = "TYPE", .words = dt_tflite_io_names,
      .special = "own", .special_value = -1,
      .about = "Input and output of a TensorFlow Lite file: reals, or codes of 8 bits; 'own' is i8 of a quantized "
               "network, else f32" },
    { "style", KIND_WORD, AT(style), FOR_EXPORT, 5, .unit = "STYLE", .words = style_words,
      .special = "own", .special_value = -1,
      .about = "How an ONNX file marks codes: QuantizeLinear and DequantizeLinear; the same with a Clip of codes "
               "between; Quant of QONNX; or reals without codes; 'own' is qdq of a quantized network, else float" },
    { "opset", KIND_INT, AT(opset), FOR_EXPORT, 5, .unit = "N", .min = 13, .max = 21,
      .about = "Version of ONNX's operators in an ONNX file" },
    { "layer", KIND_TEXT, AT(layer), FOR_CAPTURE | FOR_VERIFY | FOR_EXPORT | FOR_PREDICT, 5, .unit = "NAME",
      .about = "Convolution, as 'detent inspect' names it: features.27; to verify, 'all' is the default; to predict, "
               "any value of the network, or 'all'" },
    { "inputs", KIND_TEXT, AT(inputs), FOR_PREDICT | FOR_COMPARE | FOR_INSPECT, 5, .unit = "FILE[:NAME]",
      .about = "Images of the network's size, [N][H][W][C], in a safetensors file: U8 pixels, or F32 normalised already; of a "
               "network that was trained on reals, F32 as its dataset has them" },
    { "index", KIND_TEXT, AT(index), FOR_CAPTURE | FOR_EXPORT, 5, .unit = "A:B",
      .about = "Test images A to B-1, counted from 0, or the one image A" },
    { "index", KIND_TEXT, AT(index), FOR_INSPECT, 5, .unit = "A:B",
      .about = "Debug-quant, sensitivity: images A to B-1; without it the first --images of the test set, of --inputs all" },
    { "index", KIND_TEXT, AT(index), FOR_COMPARE, 5, .unit = "A:B",
      .about = "Images A to B-1, counted from 0, or the one image A; without it the first 25 test images, with --profiles "
               "all of them, of --inputs all" },
    { "with", KIND_TEXT, AT(with), FOR_COMPARE, 5, .unit = "FILE",
      .about = "Network B, with which that of --checkpoint is compared: any file that --checkpoint takes" },
    { "with", KIND_TEXT, AT(with), FOR_INSPECT, 5, .unit = "FILE",
      .about = "Debug-quant: the network of reals that a file of integers was made of; a checkpoint has its own" },
    { "layers", FLAG, .offset = AT(layers), .commands = FOR_COMPARE, .group = 5,
      .about = "Tell also how far the values inside are apart that both have, as reals" },
    { "scores", FLAG, .offset = AT(scores), .commands = FOR_COMPARE, .group = 5,
      .about = "Tell also both networks' scores of each image, class by class" },
    { "profiles", FLAG, .offset = AT(profiles), .commands = FOR_COMPARE, .group = 5,
      .about = "Compare no other network, but the arithmetic of engines: how many output codes differ between each two "
               "profiles" },
    { "reconstruct", FLAG, .offset = AT(reconstruct), .commands = FOR_CAPTURE, .group = 5,
      .about = "Capsule networks: a picture (PNG) of the images that the decoder makes, instead of a layer" },
    { "images", KIND_INT64, AT(images), FOR_VERIFY, 5, .unit = "N", .min = 1, .max = MAX_COUNT,
      .about = "Verify the first N test images" },
    { "images", KIND_INT64, AT(images), FOR_INSPECT, 5, .unit = "N", .min = 1, .max = MAX_COUNT,
      .about = "Debug-quant, sensitivity, histograms: how many test images" },
    { "vectors", KIND_TEXT, AT(vectors), FOR_VERIFY, 5, .unit = "DIR",
      .about = "Check a folder of exported vectors instead of a checkpoint" },
    { "layout", KIND_WORD, AT(layout), FOR_EXPORT, 5, .unit = "NAME", .words = dt_layout_names,
      .about = "How vectors are packed into lines" },
    { "header-lines", KIND_INT, AT(header_lines), FOR_EXPORT, 5, .unit = "N", .min = 0, .max = DT_HEADER_LINES_MOST,
      .special = "layout", .special_value = DT_HEADER_OF_LAYOUT,
      .about = "Comment lines before the data of each vector file. $readmemb skips them, but not those of layout notebook" },
    { "name", KIND_TEXT, AT(name), FOR_EXPORT, 5, .unit = "NAME", .about = "C: files NAME.c, NAME.h, functions NAME_..." },
    { "multiplier-bits", KIND_INT, AT(multiplier_bits), FOR_EVAL | FOR_EXPORT | FOR_PREDICT, 5, .unit = "BITS", .min = 8, .max = 31,
      .special = "none", .special_value = 0,
      .about = "Replace the program's thresholds by a multiplier of BITS bits and a shift, and say what that changes" },
    { "out", KIND_TEXT, AT(out), FOR_CAPTURE | FOR_EXPORT | FOR_PREDICT | FOR_QUANTIZE | FOR_IMPORT | ON_COMPRESS, 5, .unit = "PATH",
      .about = "File to write (.safetensors); a folder for vectors, C and csv" },

    { "rows", KIND_INT, AT(array.rows), ARRAY_OPTION, .unit = "N", .min = 1, .max = 256,
      .about = "Rows of processing elements: input channels" },
    { "cols", KIND_INT, AT(array.cols), ARRAY_OPTION, .unit = "N", .min = 1, .max = 256,
      .about = "Columns of processing elements: filters" },
    { "psum-bits", KIND_INT, AT(array.psum_bits), ARRAY_OPTION, .unit = "BITS", .min = 8, .max = 32,
      .about = "Width of a partial sum, two's complement" },
    { "overflow", KIND_WORD, AT(array.overflow), ARRAY_OPTION, .unit = "HOW", .words = dt_overflow_names,
      .about = "What a partial sum does that does not fit, at each addition" },
    { "dataflow", KIND_WORD, AT(array.dataflow), ARRAY_OPTION, .unit = "KIND", .words = dt_dataflow_names,
      .about = "Weight stationary, or output stationary" },
    { "simd", KIND_INT, AT(array.simd), ARRAY_OPTION, .unit = "N", .min = 1, .max = 2,
      .special = "auto", .special_value = 0,
      .about = "Activations that a processing element takes at once; 2 needs 2-bit codes, auto takes 2 where they are" },

    { "method", KIND_WORD, AT(method), SEARCH_OPTION, .unit = "NAME", .words = method_words,
      .about = "How to search: Q-CapsNets, for capsule networks that are not trained again; or bits of each layer, for any "
               "network, in trials that train" },
    { "space", KIND_TEXT, AT(space), SEARCH_OPTION, .unit = "FILE",
      .about = "Bits: JSON with options of 'detent train', candidates, limits and goal; docs/SEARCH.md. Without it weights and "
               "activations have 2, 3, 4, 6 or 8 bits" },
    { "mode", KIND_WORD, AT(tuner), SEARCH_OPTION, .unit = "NAME", .words = tuner_words,
      .about = "Bits: how the next trial is chosen; greedy takes bits from one layer after another, the least sensitive first; "
               "gradient learns bits in one run of --epochs, by LSQ's steps and a penalty on bit operations" },
    { "bops", KIND_FLOAT, AT(bops_share), SEARCH_OPTION, .unit = "SHARE", .min = 0.01, .max = 1,
      .about = "Bits, mode gradient: share of the bit operations of the most bits at which bits are learned" },
    { "max-trials", KIND_INT, AT(max_trials), SEARCH_OPTION, .unit = "N", .min = 1, .max = 100000,
      .about = "Bits: trials in all, of blocks in each that has a large share of the network" },
    { "epochs", KIND_INT, AT(trial_epochs), SEARCH_OPTION, .unit = "N", .min = 1, .max = 100000,
      .about = "Bits: epochs of a trial; the winner has those of the file's options" },
    { "patience", KIND_INT, AT(trial_patience), SEARCH_OPTION, .unit = "EPOCHS", .min = 0, .max = 100000,
      .special = "auto", .special_value = -1,
      .about = "Bits: a trial ends when so many epochs have ended without a new best; auto: a fifth of them, at most 20" },
    { "stop-after", KIND_INT, AT(search_patience), SEARCH_OPTION, .unit = "TRIALS", .min = 0, .max = 100000,
      .about = "Bits: the search ends when so many trials have ended without a new best; 0 does not" },
    { "uniform", FLAG, .offset = AT(uniform), SEARCH_OPTION,
      .about = "Bits: the first trials have one number of bits in all layers, and a table compares them with the others" },
    { "jobs", KIND_INT, AT(jobs), SEARCH_OPTION, .unit = "N", .min = 1, .max = 256,
      .about = "Bits: trials at once; a trial is chosen when that of N before it is known" },
    { "resume", FLAG, .offset = AT(resume), SEARCH_OPTION,
      .about = "Go on with a search that was stopped, with the same options" },
    { "memory-budget", KIND_FLOAT, AT(qcaps.memory_budget), SEARCH_OPTION, .unit = "MIB", .min = 0.001, .max = 1e6,
      .about = "Memory that the weights may take; with --compat master in MB of 8,000,000 bits" },
    { "accuracy-tolerance", KIND_FLOAT, AT(qcaps.accuracy_tolerance), SEARCH_OPTION, .unit = "PERCENT",
      .min = 0, .max = 100, .about = "Part of the accuracy that may be lost: 0.2 lets 99.50 % fall to 99.301 %" },
    { "rounding", KIND_WORD, AT(qcaps.rounding), SEARCH_OPTION, .unit = "NAME", .words = dt_rounding_names,
      .special = "stochastic_rounding", .special_value = DT_ROUND_STOCHASTIC,
      .about = "How a value becomes a code" },
    { "compat", KIND_WORD, AT(qcaps.published), SEARCH_OPTION, .unit = "NAME", .words = compat_words,
      .about = "Formats and search: the authors' corrected ones, or those of the published code, quirks and all" },
    { "plan", FLAG, .offset = AT(plan), SEARCH_OPTION,
      .about = "Only allot weight bits to the budget, or print the space, for --checkpoint or --model; needs no images" },
    { "tune-on", KIND_WORD, AT(tune_on), SEARCH_OPTION, .unit = "NAME", .words = tune_words,
      .about = "Images that decide: val, training images held out (--val-size), or the test set, as published" },
    { "val-size", KIND_INT64, AT(tune_size), SEARCH_OPTION, .unit = "IMAGES", .min = 1, .max = MAX_COUNT,
      .about = "How many images val has, equally many of each class; give the --val-size of the training" },
    { "batch", KIND_INT, AT(qcaps.batch), SEARCH_OPTION, .unit = "IMAGES", .min = 1, .max = 65536,
      .about = "Images evaluated at once" },
    { "cache", KIND_INT64, AT(cache_mib), SEARCH_OPTION, .unit = "MIB", .min = 0, .max = 1e6,
      .about = "Memory of the device for activations kept between trials" },
    { "out", KIND_TEXT, AT(out), SEARCH_OPTION, .unit = "BASE|DIR",
      .about = "Bits: the search's folder (needed). Q-CapsNets: networks found become BASE_quantized_satisfied.safetensors, .._memory, .._accuracy; without it BASE is "
               "the checkpoint's name" },

    { "grid", KIND_TEXT, AT(grid), FOR_SWEEP, 4, .unit = "FILE",
      .about = "JSON: options of all runs, runs, and a grid of values (needed). The option's name may be left out" },
    { "out", KIND_TEXT, AT(out), FOR_SWEEP, 4, .unit = "DIR", .about = "Folder of the runs' directories and the table (needed)" },
    { "jobs", KIND_INT, AT(jobs), FOR_SWEEP, 4, .unit = "N", .min = 1, .max = 256,
      .about = "Runs at once; each gets an equal share of the cores" },
    { "gpus", KIND_INT, AT(gpus), FOR_SWEEP, 4, .unit = "N", .min = 0, .max = 1024, .special = "all", .special_value = -1,
      .about = "GPUs that runs take in turn, --gpu 0 to N-1; 'all' of this machine's" },
    { "index", KIND_INT, AT(sweep_index), FOR_SWEEP, 4, .unit = "I", .min = 0, .max = MAX_COUNT,
      .special = "all", .special_value = -1, .about = "Make run I alone, as a job of an array does, and no table" },
    { "plan", FLAG, .offset = AT(plan), .commands = FOR_SWEEP, .group = 4, .about = "List the runs, and make none" },

    { "study", FLAG, .offset = AT(study), .commands = FOR_REPORT, .group = 4, .about = "The study of biomedical networks" },
    { "quick", FLAG, .offset = AT(study_quick), .commands = FOR_REPORT, .group = 4,
      .about = "Few samples and epochs, for half an hour of two cores" },
    { "windows", KIND_TEXT, AT(study_windows), FOR_REPORT, 4, .unit = "NAME",
      .about = "Dataset of SmartWatch: windows of 100x6x1, 6 classes" },
    { "beats", KIND_TEXT, AT(study_beats), FOR_REPORT, 4, .unit = "NAME",
      .about = "Dataset of BSPC and BSPC-GAP: ECGs of 1000x12x1, 5 labels" },
    { "models", KIND_TEXT, AT(study_models), FOR_REPORT, 4, .unit = "DIR", .about = "Folder of the networks' files" },
    { "jobs", KIND_INT, AT(study_jobs), FOR_REPORT, 4, .unit = "N", .min = 1, .max = 64,
      .about = "Commands that run at once, of --threads threads each" },
    { "out", KIND_TEXT, AT(out), FOR_REPORT, 4, .unit = "PATH",
      .about = "The page, without it report.html in the first run; of a study its folder, made if missing (needed)" },
    { "dataset", KIND_TEXT, AT(dataset), FOR_REPORT, 4, .unit = "NAME",
      .about = "Runs: the dataset, where it is not the one that they were trained on" },
    { "data", KIND_TEXT, AT(data_dir), FOR_REPORT, 4, .unit = "DIR",
      .about = "Folder of the datasets' files; of runs the one that they had, if it is not given" },
    { "test-size", KIND_INT64, AT(report_size), FOR_REPORT, 4, .unit = "IMAGES", .min = 0, .max = MAX_COUNT,
      .special = "run", .special_value = -1, .about = "Runs: evaluate on a balanced subset; 0 takes all, 'run' as many as the run did" },
    { "images", KIND_INT64, AT(images), FOR_REPORT, 4, .unit = "N", .min = 1, .max = MAX_COUNT,
      .about = "Runs: test images, a balanced subset, of which codes and psums are shown" },
    { "threads", KIND_INT, AT(threads), FOR_REPORT, 4, .unit = "N", .min = 0, .max = 1024,
      .about = "CPU threads, of a study of each command, where 0 takes 1" },
    { "seed", KIND_SEED, AT(seed), FOR_REPORT, 4, .unit = "N", .min = 0, .max = MAX_SEED,
      .about = "Study: makes every random number" },

    { "device", KIND_WORD, AT(device), ON_DEVICE | FOR_REPORT, 8, SAVED, .unit = "NAME", .words = device_words,
      .about = "Where to compute; auto takes cuda if a device answers" },
    { "gpu", KIND_INT, AT(gpu), ON_DEVICE | FOR_REPORT, 8, SAVED, .unit = "N", .min = 0, .max = 1023, .about = "Which GPU" },
    { "threads", KIND_INT, AT(threads), ON_DEVICE | FOR_INSPECT, 8, SAVED, .unit = "N", .min = 0, .max = 1024,
      .about = "CPU threads; 0 leaves it to OpenMP. Results do not depend on it" },
    { "ranks", KIND_INT, AT(ranks), FOR_TRAIN | FOR_BENCH_COMM, 8, .unit = "N", .min = 1, .max = 1024,
      .about = "Start N processes on this machine that share each batch; under torchrun, Slurm or mpirun leave it out" },
    { "master-addr", KIND_TEXT, AT(master_addr), FOR_TRAIN | FOR_BENCH_COMM, 8, .unit = "HOST",
      .about = "Several ranks: where rank 0 listens; else MASTER_ADDR, Slurm's first node, or this machine alone" },
    { "master-port", KIND_INT, AT(master_port), FOR_TRAIN | FOR_BENCH_COMM, 8, .unit = "PORT", .min = 1, .max = 65535,
      .special = "auto", .special_value = 0, .about = "Several ranks: its port; else MASTER_PORT, or one by the job's number" },
    { "timeout", KIND_INT, AT(timeout), FOR_TRAIN | FOR_BENCH_COMM, 8, .unit = "SECONDS", .min = 1, .max = 86400,
      .about = "Several ranks: they meet within that time, and when one dies or hangs, all end within it" },
    { "precision", KIND_WORD, AT(precision), ON_DEVICE, 8, FIXED, .unit = "NAME", .words = dt_precision_names,
      .about = "Mixed: convolutions multiply 16 bits backward, and forward too where they train on reals. Evaluation gives "
               "equal bits in both" },
    { "seed", KIND_SEED, AT(seed), ON_DEVICE, 8, FIXED, .unit = "N", .min = 0, .max = MAX_SEED,
      .about = "Makes every random number" },
    { "no-graph", FLAG, .offset = AT(no_graph), .commands = FOR_TRAIN, .group = 8, .memory = SAVED,
      .about = "Run each kernel by itself, for debugging; the results are the same bits" },

    { "quiet", FLAG, .offset = AT(quiet), .commands = FOR_TRAIN | FOR_SWEEP | FOR_REPORT, .group = 9, .about = "Print errors and warnings only" },
    { "json", FLAG, .offset = AT(json), .commands = (ON_ALL & ~(FOR_TRAIN | FOR_PREDICT | FOR_IMPORT)) | FOR_BENCH_COMM | FOR_SWEEP | FOR_RECIPES, .group = 9,
      .about = "Print JSON" },
    { "verbose", FLAG, .offset = AT(verbose), .commands = ON_ALL | FOR_BENCH_COMM | FOR_SWEEP | FOR_REPORT | FOR_RECIPES, .group = 9,
      .about = "With an error, print where it came from" },
};
/* clang-format on */
enum { N_LAST_ROWS = sizeof last_rows / sizeof last_rows[0] };

static option_row all_rows[MAX_OPTION_ROWS];
const option_row *const option_rows = all_rows;
int n_option_rows;

static void add_row(const option_row *row)
{
    assert(n_option_rows < MAX_OPTION_ROWS);
    all_rows[n_option_rows++] = *row;
}

/* Networks without the option show it as 0; if it cannot be 0, that is "none". */
static option_row network_row(const dt_network_option *o)
{
    return (option_row){ .name = o->name,
                         .kind = o->words  ? KIND_WORD
                                 : o->unit ? KIND_INT
                                           : KIND_FLAG,
                         MODEL_OPTION,
                         .unit = o->unit,
                         .min = o->min,
                         .max = o->max,
                         .words = o->words,
                         .special = o->min > 0 || o->max < 0 ? "none" : NULL,
                         .flag_value = 1,
                         .of_network = 1,
                         .about = o->about };
}

/* The row of that option, which is a new one for the first network that has it. */
static option_row *find_network_row(const dt_network_option *o)
{
    const option_row row = network_row(o);

    for (int i = 0; i < n_option_rows; i++) {
        if (strcmp(all_rows[i].name, o->name) == 0) return &all_rows[i];
    }
    add_row(&row);
    return &all_rows[n_option_rows - 1];
}

static void add_network_rows(void)
{
    const dt_network_option *options;

    for (int k = 0; dt_network_name(k); k++) {
        const char *network = dt_network_name(k);
        const int n = dt_network_options(network, &options);

        for (int i = 0; i < n; i++) {
            option_row *row = find_network_row(&options[i]);
            assert(row->of_network && row->min <= options[i].min && row->max >= options[i].max);
            if (dt_network_has_capsules(network) && !options[i].of_training) row->commands |= FOR_SEARCH;
        }
    }
}

void option_rows_make(void)
{
    int i = 0;

    while (first_rows[i].group == GROUP_MODEL) add_row(&first_rows[i++]);
    add_network_rows();
    while (i < N_FIRST_ROWS) add_row(&first_rows[i++]);
    for (i = 0; i < n_train_rows; i++) add_row(&train_rows[i]);
    for (i = 0; i < N_LAST_ROWS; i++) add_row(&last_rows[i]);
}
