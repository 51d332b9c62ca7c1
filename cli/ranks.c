/*
 * ranks.c - who this process is among several, and its way to the others.
 *
 *   door       recognised by                                        rank 0 listens at
 *
 *   torchrun   RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT           MASTER_ADDR and MASTER_PORT, or the port above it
 *
 *   Slurm      SLURM_STEP_ID, SLURM_PROCID, SLURM_STEP_NUM_TASKS    the step's first node; a port by the job's number
 *
 *   mpirun     OMPI_COMM_WORLD_RANK, _SIZE, or PMI_RANK, PMI_SIZE   127.0.0.1 for one host; else --master-addr
 *
 *   --ranks    none of these                                        127.0.0.1, any port (launch.c)
 *
 * torchrun's own store may listen at MASTER_PORT: then ranks take the port above it.
 *
 * MPI itself is not used. A shell of Slurm's (sbatch's script) has SLURM_PROCID too, but no step.
 * Tests: tests/cli/test_cli_ranks.sh.
 */
#include "cli.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_OF_MPI = 29500, FIRST_JOB_PORT = 20000, JOB_PORTS = 20000, SECRET_LEAST = 16 };

/* The number in a variable; 0: there is no such variable. */
static dt_status read_number(const char *name, long min, long max, int *is_there, long *out)
{
    const char *text = getenv(name);
    char *end;

    *is_there = text != NULL && *text != '\0';
    if (!*is_there) return DT_OK;
    const long n = strtol(text, &end, 10);
    DT_CHECK(*end == '\0' && n >= min && n <= max, DT_ERR_ARGUMENT, "%s is '%s', a number from %ld to %ld is needed",
             name, text, min, max);
    *out = n;
    return DT_OK;
}

/* The variables of a door. local_* may be NULL. */
typedef struct {
    const char *door, *rank, *size, *local_rank, *local_size;
    const char *only_with; /* another variable that must be there; NULL: none */
} door_names;

static const door_names doors[] = {
    { "torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT" },
    { "Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL, "SLURM_STEP_ID" },
    { "mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
      "OMPI_COMM_WORLD_LOCAL_SIZE", NULL },
    { "mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", NULL },
};
enum { N_DOORS = sizeof doors / sizeof doors[0] };

/* Sets out's door if this is the one. */
static dt_status try_door(const door_names *names, rank_place *out)
{
    int has_rank, has_size, has_local;
    long rank = 0, size = 0, local = 0, n_local = 0;

    if (names->only_with && !getenv(names->only_with)) return DT_OK;
    DT_TRY(read_number(names->size, 1, 1024, &has_size, &size));
    DT_TRY(read_number(names->rank, 0, 1023, &has_rank, &rank));
    if (!has_rank || !has_size || size == 1) return DT_OK;
    DT_CHECK(rank < size, DT_ERR_ARGUMENT, "%s is %ld and %s is %ld: ranks count from 0", names->rank, rank,
             names->size, size);
    DT_TRY(read_number(names->local_rank, 0, 1023, &has_local, &local));
    if (names->local_size) DT_TRY(read_number(names->local_size, 1, 1024, &has_local, &n_local));
    out->door = names->door;
    out->rank = (int)rank;
    out->size = (int)size;
    out->local_rank = (int)local;
    out->local_size = (int)n_local;
    return DT_OK;
}

/* The first host of a list such as "gpu[07-09,12],login": "gpu07". */
static void first_host(const char *list, char *host, size_t bytes)
{
    const size_t head = strcspn(list, "[,");
    const size_t digits = list[head] == '[' ? strspn(list + head + 1, "0123456789") : 0;

    snprintf(host, bytes, "%.*s%.*s", (int)head, list, (int)digits, list + head + 1);
}

static dt_status torchrun_place(rank_place *out)
{
    const char *addr = getenv("MASTER_ADDR"), *store = getenv("TORCHELASTIC_USE_AGENT_STORE");
    int is_there;
    long port = 0;

    DT_TRY(read_number("MASTER_PORT", 1, 65534, &is_there, &port));
    out->port = (int)port + (store && strcmp(store, "True") == 0); /* its agent listens at MASTER_PORT itself */
    if (addr) snprintf(out->address, sizeof out->address, "%s", addr);
    return DT_OK;
}

static dt_status slurm_place(rank_place *out)
{
    const char *list = getenv("SLURM_STEP_NODELIST");
    int is_there;
    long job = 0;

    if (!list) list = getenv("SLURM_NODELIST");
    DT_TRY(read_number("SLURM_JOB_ID", 0, LONG_MAX, &is_there, &job));
    out->port = FIRST_JOB_PORT + (int)(job % JOB_PORTS);
    if (list) first_host(list, out->address, sizeof out->address);
    return DT_OK;
}

static dt_status mpirun_place(const settings *s, rank_place *out)
{
    out->port = PORT_OF_MPI;
    DT_CHECK(s->master_addr || getenv("MASTER_ADDR") || out->local_size == out->size, DT_ERR_ARGUMENT,
             "mpirun does not say where rank 0 is: give --master-addr, a host that all ranks reach");
    if (getenv("MASTER_ADDR")) snprintf(out->address, sizeof out->address, "%s", getenv("MASTER_ADDR"));
    return DT_OK;
}

/* Where rank 0 listens: options win. */
static dt_status find_address(const settings *s, rank_place *out)
{
    strcpy(out->address, "127.0.0.1");
    if (strcmp(out->door, "torchrun") == 0)
        DT_TRY(torchrun_place(out));
    else if (strcmp(out->door, "Slurm") == 0)
        DT_TRY(slurm_place(out));
    else
        DT_TRY(mpirun_place(s, out));
    if (s->master_addr) snprintf(out->address, sizeof out->address, "%s", s->master_addr);
    if (s->master_port > 0) out->port = s->master_port;
    return DT_OK;
}

dt_status find_rank(const settings *s, rank_place *out)
{
    *out = (rank_place){ .size = 1, .listener = -1 };
    for (int i = 0; i < N_DOORS && !out->door; i++) DT_TRY(try_door(&doors[i], out));
    if (!out->door) return DT_OK;
    DT_CHECK(s->ranks == 1, DT_ERR_ARGUMENT,
             "--ranks %d starts ranks, but %s has started this one as rank %d of %d: leave --ranks out", s->ranks,
             out->door, out->rank, out->size);
    out->secret = getenv("DETENT_SECRET");
    DT_CHECK(!out->secret || strlen(out->secret) >= SECRET_LEAST, DT_ERR_ARGUMENT,
             "DETENT_SECRET has %zu characters, at least %d are needed", out->secret ? strlen(out->secret) : 0,
             SECRET_LEAST);
    return find_address(s, out);
}

dt_status meet_ranks(const settings *s, const rank_place *place, const char *dir, dt_dist **out)
{
    char file[PATH_BYTES] = "";

    *out = NULL;
    if (place->size == 1) return DT_OK;
    DT_CHECK(place->secret || dir, DT_ERR_ARGUMENT,
             "several ranks need a secret: set DETENT_SECRET on all of them to one text of at least %d characters",
             SECRET_LEAST);
    if (!place->secret) DT_TRY(run_dir_path(dir, "rendezvous", file));
    if (!place->secret && place->rank == 0) DT_TRY(dt_folder_make(dir));
    const dt_dist_options opt = { .rank = place->rank,
                                  .size = place->size,
                                  .address = place->address,
                                  .port = place->port,
                                  .listener = place->listener,
                                  .secret = place->secret,
                                  .secret_file = file,
                                  .timeout = s->timeout,
                                  .stop = interrupt_requested };
    DT_TRY(dt_dist_open(&opt, out));
    return DT_OK;
}

static int cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int threads_of_rank(const settings *s, const rank_place *place)
{
    const int share = place->own_cores > 0 ? place->own_cores : place->local_size > 0 ? cores() / place->local_size : 0;

    if (s->threads > 0 || place->size == 1 || place->local_size == 0 || getenv("OMP_NUM_THREADS")) return s->threads;
    return share > 1 ? share : 1;
}

/* Slurm may show each rank the one GPU that it is to take. */
int gpu_of_rank(const settings *s, const rank_place *place)
{
    const int n = place->size > 1 && strcmp(device_words[s->device], "cpu") != 0 ? dt_gpu_count() : 0;

    return n > 0 ? (s->gpu + place->local_rank) % n : s->gpu;
}

/* Of what another rank has done, rank 0 speaks for all; of what rank 0 has done it speaks itself, if it still can. */
static int is_silent(const dt_dist *dist)
{
    return dt_dist_rank(dist) > 0 && (dt_dist_ended_by_rank(dist) > 0 || dt_dist_has_told(dist));
}

/* Says the rank and its host. */
static dt_status fail_here(dt_dist *dist, dt_status status)
{
    char text[1024];

    snprintf(text, sizeof text, "%s", dt_last_error());
    dt_raise(status, __FILE__, __LINE__, "rank %d on %s: %s", dt_dist_rank(dist), dt_dist_host(dist), text);
    dt_dist_close(dist, text);
    return status;
}

dt_status leave_ranks(dt_dist *dist, dt_status status, int *exit_code)
{
    const int culprit = dt_dist_ended_by_rank(dist), rank = dt_dist_rank(dist);
    const int is_stopped = status == DT_ERR_INTERRUPTED, silent = is_stopped ? rank > 0 : is_silent(dist);

    if (dist && status != DT_OK && !is_stopped && (culprit < 0 || culprit == rank)) return fail_here(dist, status);
    dt_dist_close(dist, NULL);
    if (!dist || status == DT_OK || !silent) return status;
    *exit_code = is_stopped ? EXIT_INTERRUPTED : EXIT_FAILED;
    return DT_OK;
}
