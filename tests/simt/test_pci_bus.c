/*
 * test_pci_bus.c - folders as Linux makes them for devices on the PCI bus.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../../cuda/pci_bus.h"

static char devices[] = "/tmp/detent_pci_XXXXXX";

static void write_line(const char *device, const char *file, const char *line)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s/%s", devices, device, file);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(line, f) >= 0 && fclose(f) == 0);
}

static void add(const char *device, const char *vendor, const char *kind)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", devices, device);
    cr_assert(mkdir(path, 0700) == 0);
    write_line(device, "vendor", vendor);
    write_line(device, "class", kind);
}

Test(pci_bus, an_nvidia_gpu_is_found_among_others)
{
    cr_assert(mkdtemp(devices) != NULL);
    cr_assert(!dt_nvidia_on_bus(devices), "an empty bus");
    add("0000:00:01.0", "0x8086\n", "0x030000\n");
    cr_assert(!dt_nvidia_on_bus(devices), "another maker's GPU");
    add("0000:00:02.0", "0x10de\n", "0x040300\n");
    cr_assert(!dt_nvidia_on_bus(devices), "NVIDIA's sound");
    add("0000:00:03.0", "0x10de\n", "0x030200\n");
    cr_assert(dt_nvidia_on_bus(devices), "NVIDIA's GPU");
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", devices);
    cr_assert(system(command) == 0);
    cr_assert(!dt_nvidia_on_bus(devices), "no such folder");
}
