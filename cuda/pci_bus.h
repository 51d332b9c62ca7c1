/*
 * pci_bus.h - finds out whether the machine has an NVIDIA GPU, without a driver.
 */
#ifndef DT_PCI_BUS_H
#define DT_PCI_BUS_H

/* Returns 1 if there is an NVIDIA GPU. `devices` is a folder with one folder for each device, as Linux has it in
 * /sys/bus/pci/devices. It returns 0 if the folder cannot be read. */
int dt_nvidia_on_bus(const char *devices);

#endif /* DT_PCI_BUS_H */
