/*
 * pci_bus.c - looks for the folder of an NVIDIA GPU. Its file "vendor" has 0x10de for NVIDIA, and its file "class" has
 *             0x03.... for displays and GPUs.
 *
 * Source: Linux, Documentation/ABI/testing/sysfs-bus-pci.  Tests: tests/simt/test_pci_bus.c.
 */
#include "pci_bus.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static int begins_with(const char *devices, const char *device, const char *file, const char *text)
{
    char path[512], line[16] = "";

    if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", devices, device, file) >= sizeof path) return 0;
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    const int good = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    return good && strncmp(line, text, strlen(text)) == 0;
}

int dt_nvidia_on_bus(const char *devices)
{
    DIR *folder = opendir(devices);
    int found = 0;

    if (!folder) return 0;
    for (const struct dirent *e; !found && (e = readdir(folder)) != NULL;) {
        found = begins_with(devices, e->d_name, "vendor", "0x10de") && begins_with(devices, e->d_name, "class", "0x03");
    }
    closedir(folder);
    return found;
}
