# SPDX-License-Identifier: MIT
# What a real machine boots: docs/BARE_METAL.md. Included by the Makefile, after run.mk.

# The guests of the entry `stress`: those that need several CPUs, and those of `make storm`.
IMAGE_STRESS = $(SMP_GUESTS) $(subst $(B)/,storm_slots=$(B)/,$(word 1,$(STORM_GUESTS))) \
               $(subst $(B)/,storm_flush=$(B)/,$(word 2,$(STORM_GUESTS)))
IMAGE_FILES := $(if $(KERNEL),,$(B)/kvm/kernel) $(if $(INITRD),,$(INITRD_FILES))

.PHONY: image netboot
image netboot: export CHECKS = $(GUESTS)
image netboot: export STRESS = $(IMAGE_STRESS)
image netboot: export TEST = $(TESTED_GUESTS)
image netboot: export BENCH = $(shell $(PYTHON) tools/box.py guests)
image netboot: all guests $(IMAGE_FILES) | deps-image
image: ## build/eptvisor.iso for a USB stick or a disc, for BIOS and UEFI; DEFAULT=, WAIT=
	$(Q)$(PYTHON) tools/image.py image
netboot: ## build/netboot/ for PXE and HTTP boot, with the same menu
	$(Q)$(PYTHON) tools/image.py netboot

.PHONY: deps-image
deps-image:
	@tools/deps.sh base grub efi
