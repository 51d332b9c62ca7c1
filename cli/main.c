/*
 * main.c - the program `detent`: finds the subcommand, runs it, turns what it returns into an exit code.
 *
 *   0 good   1 failed   2 wrong usage   3 a check found mismatches   130 interrupted
 */
#include "cli.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const command commands[] = {
    { "train", FOR_TRAIN, "train a quantized network, or go on with a run",
      "Train a network whose convolutions compute on integers, and keep the run in a directory: config.json, "
      "metrics.jsonl, last.safetensors, best.safetensors.\n\n"
      "  detent train --recipe w4a4 --dataset cifar10 --data DIR --out runs/w4a4\n"
      "  detent train --recipe w4a2 --data DIR --init runs/w4a4/last.safetensors --out runs/w4a2\n"
      "  detent train --recipe vgg16-w4a2 --stages float:30,w4a4:60,w4a3:30,w4a2:60 --data DIR --out runs/staged\n"
      "  detent train --resume --out runs/w4a2",
      train_run },
    { "eval", FOR_EVAL, "measure the accuracy of a checkpoint",
      "Measure loss and accuracy of a checkpoint on a test set: as it was trained, as its integer program, or as an "
      "array of processing elements would compute it.\n\n"
      "  detent eval --checkpoint runs/w4a2/best.safetensors --dataset cifar10 --data DIR\n"
      "  detent eval --checkpoint F --data DIR --metrics\n"
      "  detent eval --checkpoint F --data DIR --engine array --psum-bits 12",
      eval_run },
    { "predict", FOR_PREDICT, "give scores for images in a file",
      "Give the scores of images in a safetensors file: as the network was trained, as its integer program, or as an "
      "array would compute it; with --layer also what values inside were.\n\n"
      "  detent predict --checkpoint F --inputs images.safetensors --out scores.safetensors\n"
      "  detent predict --checkpoint F --inputs i.safetensors:x --engine program --layer all --out o.safetensors",
      predict_run },
    { "quantize", FOR_QUANTIZE, "quantize a trained network of reals, without training",
      "Quantize a network of real values after training, as TensorFlow Lite does: batch norms are folded, ranges are "
      "observed on some images, each value gets one affine quantizer. The result is a checkpoint. Its integer program "
      "computes under the arithmetic of an engine that --profile names. Or, with --scheme drq, weights alone are "
      "quantized; with --scheme qkeras, as QKeras-Mod trains.\n\n"
      "  detent quantize --checkpoint runs/float/best.safetensors --images 100 --out q.safetensors\n"
      "  detent quantize --checkpoint net.tflite --calibrate images.safetensors:x --out q.safetensors\n"
      "  detent quantize --checkpoint net.onnx --calibrate images.safetensors:x --out q.safetensors\n"
      "  detent quantize --checkpoint F --wbits 4 --rescue --out q.safetensors\n"
      "  detent quantize --checkpoint net.tflite --scheme drq --out q.safetensors\n"
      "  detent eval --checkpoint q.safetensors --engine program --profile fp32-rne",
      quantize_run },
    { "prune", FOR_PRUNE, "remove filters or weights of a trained network",
      "Remove the filters of a trained network that have the least L1 norm, with the channels of what reads them, or "
      "make its least weights 0. The result is a checkpoint of a smaller network, or a sparse one, which 'detent "
      "train' tunes.\n\n"
      "  detent prune --checkpoint F --share 0.5 --out p.safetensors\n"
      "  detent prune --checkpoint F --share 0.65 --of-parameters --out p.safetensors\n"
      "  detent prune --checkpoint F --kind weights --n-of-m 2,4 --out p.safetensors\n"
      "  detent train --model p.safetensors --wbits float --abits float --out runs/tuned",
      prune_run },
    { "factorize", FOR_FACTORIZE, "give layers of a trained network a low rank",
      "Replace linear layers of a trained network by tensor trains, and convolutions by two of low rank each, after "
      "its batch norms are folded. The result is a checkpoint of ordinary layers, which 'detent train' tunes.\n\n"
      "  detent factorize --checkpoint p.safetensors --ranks fc1:8,conv6:16 --out f.safetensors\n"
      "  detent factorize --checkpoint F --ranks fc1:4x6:7x6x4:2x2x2 --out G",
      factorize_run },
    { "compare", FOR_COMPARE, "compare two networks, or the profiles of one, on the same images",
      "Give the predictions of two networks side by side: checkpoints, programs, TensorFlow Lite and ONNX files. The "
      "images are the test set's, or a file's. With --profiles, count the output codes of one network that differ "
      "between the arithmetic of each two engines.\n\n"
      "  detent compare --checkpoint F --with q.safetensors --index 0:25\n"
      "  detent compare --checkpoint q.safetensors --with net.tflite --layers\n"
      "  detent compare --checkpoint q.safetensors --profiles --index 0:1000",
      compare_run },
    { "import", FOR_IMPORT, "make a checkpoint or a program of another tool's file",
      "Make a file of detent's of a TensorFlow Lite or an ONNX file. A network of reals becomes a checkpoint, which "
      "'detent quantize' takes; one of int8 arithmetic, or in ONNX's QDQ form, becomes an integer program. The other "
      "commands also read the .tflite or .onnx itself.\n\n"
      "Or make a checkpoint of the network that --model and its options say, with the values of a PyTorch state_dict "
      "that was saved as safetensors: filters OIHW, names as 'detent inspect' lists them.\n\n"
      "  detent import net.tflite --out net.safetensors\n"
      "  detent import net.onnx --out net.safetensors\n"
      "  detent import --model vgg16 --choke 16 --wbits 4 --abits 2 --init torch.safetensors --out net.safetensors",
      import_run },
    { "verify", FOR_VERIFY, "compare every psum: model, array, 64-bit sums",
      "Compute every psum of the first test images three ways: by the model's own forward, by an array of processing "
      "elements, and as a sum in 64-bit integers; the codes and scores of the integer program too. Exit code 3 and "
      "the first mismatch if any differs.\n\n"
      "  detent verify --checkpoint F --data DIR --images 1000\n"
      "  detent verify --checkpoint F --data DIR --layer features.27 --psum-bits 12\n"
      "  detent verify --vectors DIR",
      verify_run },
    { "export", FOR_EXPORT, "write an integer program, vectors for RTL, C, codes, CSV, a .tflite or an .onnx file",
      "Write what hardware, or an engine, needs of a checkpoint. The dataset gives the normalisation of the images, "
      "and the image of the vectors.\n\n"
      "  detent export --checkpoint F --to program --out net.safetensors\n"
      "  detent export --checkpoint F --to vectors --layer features.27 --out vectors\n"
      "  detent export --checkpoint F --to c --out c\n"
      "  detent export --checkpoint F --to fixed-point --out codes.safetensors\n"
      "  detent export --checkpoint q.safetensors --to csv --out calibration_results\n"
      "  detent export --checkpoint q.safetensors --to tflite --io i8 --out net.tflite\n"
      "  detent export --checkpoint q.safetensors --to onnx --out net.onnx",
      export_run },
    { "search", FOR_SEARCH, "find few bits for a network: of each layer, by trials; of capsules without training",
      "Find how few bits a network needs. Method qcapsnets: word lengths for weights, activations and routing of a "
      "trained "
      "capsule network, without training it again: within a tolerance of its accuracy and a budget of memory, or else "
      "one network for each. Method bits: bits of each layer of any network, in trials that train, by a score of "
      "accuracy and size; the winner is trained to the end and verified. With --plan, only tell which bits the budget "
      "allots to the weights, or what the space is, which needs no images. Both go on with --resume.\n\n"
      "  detent search --method qcapsnets --checkpoint runs/caps/best.safetensors --dataset mnist --memory-budget 4\n"
      "  detent search --method qcapsnets --model deepcaps --input 64x64x3 --memory-budget 4 --plan\n"
      "  detent search --method bits --checkpoint runs/float/best.safetensors --space space.json --plan\n"
      "  detent search --method bits --checkpoint runs/float/best.safetensors --space space.json --out runs/mixed",
      search_run },
    { "capture", FOR_CAPTURE, "write a layer's integers: activation codes, weight codes, psums",
      "Write what a convolution saw and gave for some test images: integer codes, their scales, the psums, and the "
      "floats that its quantizer read and that the next layer reads. 'detent inspect' shows them.\n\n"
      "  detent capture --checkpoint F --index 0:128 --layer features.27 --out c.safetensors",
      capture_run },
    { "inspect", FOR_INSPECT, "list parameters, tensors, and the ranges or the errors of each layer",
      "List the parameters of a checkpoint, or of a model that the options describe, and for each convolution on "
      "integers how large its psums can become. Of a capture's file, show how often each code and psum occurs. With "
      "--graph, show the network at any stage: of reals, with quantizers, as integers. Of a quantized network, show "
      "the error of each layer, or what each layer costs the scores.\n\n"
      "  detent inspect --checkpoint F\n"
      "  detent inspect --checkpoint c.safetensors\n"
      "  detent inspect --choke 16 --wbits 4 --abits 2\n"
      "  detent inspect --histograms --checkpoint F\n"
      "  detent inspect --cost --model net.json --wbits 4 --abits 4\n"
      "  detent inspect --graph --model net.json\n"
      "  detent inspect --graph --checkpoint F --engine program\n"
      "  detent inspect --tensors --checkpoint net.tflite\n"
      "  detent inspect --debug-quant --checkpoint q.safetensors --csv q.csv\n"
      "  detent inspect --debug-quant --checkpoint net.tflite --with F\n"
      "  detent inspect --compare q.csv,other.csv --html both.html\n"
      "  detent inspect --sensitivity --checkpoint q.safetensors",
      inspect_run },
    { "report", FOR_REPORT, "make a page about runs, or run a study and write its tables",
      "Make one HTML page about runs of training, which needs nothing beside: curves, settings in which they differ, "
      "accuracy against bits; of each run its clips, codes on the integer grid, psums and their bits, the array, "
      "classes and mistakes. What needs the dataset is left out where that is not found. The page's path is printed "
      "at the end.\n\n"
      "Or run the matrix of a study of biomedical networks (docs/STUDY.md) by the commands of this program: three "
      "networks, lean and fat, before and after pruning and factorised, each quantized after training and trained "
      "with quantizers, for five kinds of files. Its tables have the study's numbers beside ours. A study that was "
      "stopped goes on by the same line.\n\n"
      "  detent report runs/w4a2\n"
      "  detent report runs/w4a4 runs/w4a2 --out both.html\n"
      "  detent report --study --quick --out study\n"
      "  detent report --study --windows wisdm:DIR --beats ptbxl:DIR --out study",
      report_run },
    { "bench-comm", FOR_BENCH_COMM, "measure the links between ranks",
      "Measure how fast ranks sum gradients: the time and the bandwidth of sums of many sizes, on one machine "
      "(--ranks) or under the launcher that training will have.\n\n"
      "  detent bench-comm --ranks 2\n"
      "  srun --ntasks 4 detent bench-comm",
      bench_comm_run },
    { "sweep", FOR_SWEEP, "train a network with many settings, several at once",
      "Train a network with each setting of a file, several runs at once, and tell what they reached. The same "
      "command goes on with a sweep that was stopped. A run that fails does not stop the others.\n\n"
      "  detent sweep sweep.json --out runs/sweep --jobs 2\n"
      "  detent sweep sweep.json --plan\n"
      "  srun detent sweep sweep.json --out runs/sweep --index $SLURM_ARRAY_TASK_ID\n\n"
      "  { \"options\": { \"dataset\": \"cifar10\" }, \"grid\": { \"wbits\": [2, 4], \"seed\": [0, 1, 2] } }",
      sweep_run },
    { "data", FOR_DATA, "list the datasets: found where, or how to get them",
      "List the known datasets, where their files were found, or which are missing and how to get them; and the kinds "
      "of datasets that are named by a file. With --dataset tell what one of them holds.",
      data_run },
    { "recipes", FOR_RECIPES, "list the recipes of train --recipe, and what they have reached",
      "List the recipes: the network and the data set that each is for, how a run of it begins, and what it has "
      "reached where that was seen.\n\n"
      "  detent recipes\n"
      "  detent train --recipe vgg16-w4a2 --help",
      recipes_run },
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *to)
{
    fprintf(to, "Usage: detent COMMAND [OPTION...]\n"
                "Train networks that compute on integers, and hand the same integers to hardware.\n\n");
    for (int i = 0; i < N_COMMANDS; i++) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].brief);
    fprintf(
        to,
        "\n'detent help COMMAND' lists the options of one; 'detent --version' prints the version. 'detent completion\n"
        "bash' (or zsh, or fish) prints a script that completes all of them, and 'detent manual' the manual page.\n"
        "Exit codes: 0 good, 1 failed, 2 wrong usage, 3 a check found mismatches, 130 interrupted.\n");
}

static const command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
    }
    return NULL;
}

dt_status flush_results(void)
{
    DT_CHECK(fflush(stdout) == 0 && !ferror(stdout), DT_ERR_IO, "standard output: %s", strerror(errno));
    return DT_OK;
}

/* argv[0] is the subcommand. */
static int run_command(const command *cmd, int argc, char **argv)
{
    settings s = { 0 };
    int exit_code = EXIT_GOOD;
    char name[VALUE_BYTES];

    snprintf(name, sizeof name, "detent %s", cmd->name);
    argv[0] = name; /* argp begins its messages with it */

    dt_status status = options_parse(cmd, argc, argv, &s);
    if (status == DT_OK) status = cmd->run(&s, &exit_code);
    if (status == DT_OK) status = flush_results();
    if (status == DT_OK && json_memory_lost())
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "memory was short: what was written is not whole");
    if (status != DT_OK) exit_code = report_failure(cmd->name, status, s.verbose);
    settings_free(&s);
    return exit_code;
}

void command_names(int bits, char *out, size_t bytes)
{
    size_t used = 0;

    *out = '\0';
    for (int i = 0; i < N_COMMANDS && used < bytes; i++) {
        if (!(commands[i].bit & bits)) continue;
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", used ? " " : "", commands[i].name);
    }
}

static int refuse(const char *name)
{
    const char *meant = NULL;
    char all[HELP_BYTES];
    int best = (int)strlen(name);

    for (int i = 0; i < N_COMMANDS; i++) {
        if (suggest_is_nearer(name, commands[i].name, &best)) meant = commands[i].name;
    }
    command_names(~0, all, sizeof all);
    fprintf(stderr, "detent: there is no command '%s'; there are %s\n", name, all);
    if (meant) fprintf(stderr, "Do you mean 'detent %s'? ", meant);
    fprintf(stderr, "Try 'detent --help' for more information.\n");
    return EXIT_BAD_USAGE;
}

static int is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0) return 1;
    }
    return 0;
}

/* What is printed without a command; its exit code. */
static int end_of_page(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_GOOD;
    fprintf(stderr, "detent: standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

/* `detent help` and `detent help train`, of which the latter is `detent train --help`. */
static int run_help(int argc, char **argv)
{
    char option[] = "--help";
    char *line[] = { argv[1], option, NULL };

    if (argc < 2) {
        print_usage(stdout);
        return end_of_page();
    }
    const command *cmd = find_command(argv[1]);
    return cmd ? run_command(cmd, 2, line) : refuse(argv[1]);
}

static int run_completion(const char *shell)
{
    if (print_completion(shell, commands, N_COMMANDS)) return end_of_page();
    fprintf(stderr, "detent completion: there is no script for '%s'; there are bash, zsh and fish\n", shell);
    return EXIT_BAD_USAGE;
}

static int run_manual(void)
{
    const dt_status status = print_manual(commands, N_COMMANDS);

    return status == DT_OK ? end_of_page() : report_failure("manual", status, 0);
}

/* Starts the program anew, with threads that spin for a tenth of a millisecond while they wait for each other and then
 * sleep. libgomp spins for milliseconds by itself, in which nobody else gets the core, and it reads its settings before
 * main begins. Who has set them keeps them. */
static void let_threads_sleep(char **argv)
{
#ifdef _OPENMP
    char path[PATH_MAX];
    const ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1);

    if (bytes < 0 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    path[bytes] = '\0';
    if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0) execv(path, argv); /* if that fails, all is as it was */
#else
    (void)argv;
#endif
}

int main(int argc, char **argv)
{
    static const char *const help_words[] = { "--help", "-h", "-?", "--usage", NULL };
    static const char *const version_words[] = { "--version", "-V", NULL };

    argp_err_exit_status = EXIT_BAD_USAGE;
    argp_program_version = "detent " DT_VERSION;
    option_rows_make();
    json_memory_watch();

    if (argc < 2) {
        print_usage(stderr);
        return EXIT_BAD_USAGE;
    }
    if (strcmp(argv[1], "help") == 0) return run_help(argc - 1, argv + 1);
    if (is_one_of(argv[1], help_words)) return run_help(1, argv);
    if (strcmp(argv[1], "completion") == 0) return run_completion(argc > 2 ? argv[2] : "bash");
    if (strcmp(argv[1], "manual") == 0) return run_manual();
    if (is_one_of(argv[1], version_words)) {
        puts(argp_program_version);
        return end_of_page();
    }
    const command *cmd = find_command(argv[1]);
    if (cmd) let_threads_sleep(argv);
    return cmd ? run_command(cmd, argc - 1, argv + 1) : refuse(argv[1]);
}
