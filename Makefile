# make backup FROM=DIR TO=STORE   a first backup (makes the store)
# make test                       set up everything, run all tests
# make test-crash                 the long form of the crash tests: every step, every fault (an hour)
# make test-vm                    power cuts of a virtual machine on ext4, xfs and btrfs; old disks (20 minutes)
# make coverage-table             make the tables of chkfs-metadata(7) anew, from what tests find
# make fuzz MINUTES=30            hostile bytes to every parser and every command, at random, for so long
# make bench                      time whole commands against tar, restic, borg and bup
# make install PREFIX=/usr/local  commands, library and manuals
# make clean                      remove .venv, and what was built

PYTHON = python3
PREFIX = /usr/local
VENV = .venv
MINUTES = 30
RUN = PATH="$(CURDIR)/bin:$(CURDIR)/$(VENV)/bin:$$PATH"
# tests send signals, which make may have been told to ignore
PLAIN = env --default-signal
# each of thousands of runs syncs the filesystem that it is on: not that of a disk
CRASH = here=$$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d); \
	$(RUN) $(PLAIN) $(VENV)/bin/python -m pytest -q tests/crash --basetemp=$$here/t; status=$$?; rm -rf $$here; exit $$status
DEBIAN_PACKAGES = perl mandoc mtree-netbsd libarchive-tools shellcheck rsync strace zstd xz-utils bzip2 \
	busybox-static attr acl util-linux procps gcc libc6-dev dash bash mksh yash posh mawk gawk original-awk \
	e2fsprogs fuse2fs xfsprogs btrfs-progs squashfs-tools ntfs-3g exfatprogs exfat-fuse genisoimage fuseiso dosfstools \
	mtools fusefat fuse3 fdisk

help:
	@sed -n '/^# make/s/^# //p' Makefile

$(VENV)/ready: setup.cfg
	@echo 'Setting up Python packages in $(VENV) ...'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'chkfs needs Python 3.11 or later: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update >/dev/null 2>&1 && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null 2>&1 && \
		$(PYTHON) -m venv --clear $(VENV); } || \
		{ echo 'python3 has no venv: run "apt install python3-venv" as root, then again' >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet . 2>$(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready
	@$(VENV)/bin/python -m pip install --quiet '.[test]' 2>$(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

# names as they are, to the shell by way of the environment: they may hold quotes and dollars
backup: export override FROM := $(value FROM)
backup: export override TO := $(value TO)
backup: $(VENV)/ready
	@test -n "$$FROM" && test -n "$$TO" || { echo 'make backup FROM=DIR TO=STORE' >&2; exit 2; }
	@test -f "$$TO/config" || $(RUN) chkfs-init -- "$$TO"
	@$(RUN) chkfs-backup --store "$$TO" -- "$$FROM"
	@printf '\nIt is stored.  To look at it and to get it back:\n'
	@printf '  export PATH="%s:$$PATH" ' "$(CURDIR)/bin:$(CURDIR)/$(VENV)/bin"
	@realpath -- "$$TO" | sed "s/'/'\\\\''/g; s/^/CHKFS_STORE='/; s/\$$/'/"
	@printf '  chkfs log\n  chkfs ls -l NAME            (a NAME that chkfs log shows)\n'
	@printf '  chkfs restore NAME DEST\n'

test: $(VENV)/ready-to-test packages
	@sh tests/vm/get-machine.sh build/vm || echo 'Hence no virtual machine in this run, so no power cuts and no old disks'
	$(VENV)/bin/ruff check chkfs tests
	$(RUN) $(PLAIN) $(VENV)/bin/python -m pytest -q -rs tests --ignore tests/crash
	$(CRASH)
	$(RUN) $(PLAIN) prove t/t*.sh

test-crash: $(VENV)/ready-to-test packages
	CHKFS_CRASH=every; export CHKFS_CRASH; $(CRASH)

test-vm: $(VENV)/ready-to-test packages
	sh tests/vm/get-machine.sh build/vm
	CHKFS_VM=everything $(RUN) $(VENV)/bin/python -m pytest -q -rs tests/vm

# of the drivers of this kernel, and of those of the machine of tests/vm where there is one
coverage-table: $(VENV)/ready-to-test packages
	@mkdir -p build; rm -f build/coverage-*.json; sh tests/vm/get-machine.sh build/vm || :
	CHKFS_COVERAGE=$(CURDIR)/build/coverage-host.json $(RUN) $(VENV)/bin/python -m pytest -q tests/drives/test_coverage.py \
		-k found
	CHKFS_COVERAGE=$(CURDIR)/build/coverage-vm.json $(RUN) $(VENV)/bin/python -m pytest -q -rs tests/vm/test_drivers.py \
		-k found
	$(VENV)/bin/python tests/drives/coverage_table.py build/coverage-*.json

fuzz: $(VENV)/ready-to-test
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
		HYPOTHESIS_PROFILE=fuzz $(RUN) $(PLAIN) $(VENV)/bin/python -m pytest -q tests/fuzz || exit; done

packages:
	@missing=; for p in $(DEBIAN_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	test -z "$$missing" || if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		echo "Installing$$missing ..."; apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends $$missing >/dev/null 2>&1; \
	else echo "Some tests will be skipped: they need root, and the Debian packages$$missing"; fi

bench: $(VENV)/ready-to-test
	$(RUN) $(VENV)/bin/python -m pytest -q -o addopts= tests --benchmark-only
	$(RUN) sh t/perf/compare.sh

# The library and what it depends on go to lib/chkfs, apart from the system's own Python packages.
install: $(VENV)/ready
	mkdir -p $(DESTDIR)$(PREFIX)/lib/chkfs/bin $(DESTDIR)$(PREFIX)/bin
	$(VENV)/bin/python -m pip install --quiet --upgrade --target $(DESTDIR)$(PREFIX)/lib/chkfs .
	@python=$$($(VENV)/bin/python -c 'import sys; print(sys._base_executable)'); for file in bin/*; do \
		sed "1s|^#!/usr/bin/env python3|#!$$python|" "$$file" >"$(DESTDIR)$(PREFIX)/lib/chkfs/$$file"; \
		chmod 755 "$(DESTDIR)$(PREFIX)/lib/chkfs/$$file"; \
		ln -sf "../lib/chkfs/$$file" "$(DESTDIR)$(PREFIX)/$$file"; done
	for section in 1 5 7; do mkdir -p $(DESTDIR)$(PREFIX)/share/man/man$$section; \
		cp man/*.$$section $(DESTDIR)$(PREFIX)/share/man/man$$section; done

clean:
	rm -rf $(VENV) build dist chkfs.egg-info .pytest_cache .hypothesis

.PHONY: help backup test test-crash test-vm fuzz coverage-table packages bench install clean
