/*
 * pci_bus.h - is there an NVIDIA GPU, whatever a driver says or whether there is one?
 */
#ifndef DT_PCI_BUS_H
#define DT_PCI_BUS_H

/* devices: a folder of the devices' folders, as Linux has it in /sys/bus/pci/devices. 0 if it cannot be read. */
int dt_nvidia_on_bus(const char *devices);

#endif /* DT_PCI_BUS_H */
