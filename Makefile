# The program, and the stages of continuous integration: a stage is a line of ci/stages and the script ci/NAME.sh.
stages := $(shell cut -d' ' -f1 ci/stages)
OUT ?= vitserve

.PHONY: help build release image all fuzz clean $(stages)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-13s%s\n' "$$name" "$$what"; done
	@echo; echo 'Stages, in the order of make all:'; cat ci/stages

build: ## the program, static, stripped and with its version and commit, as OUT (./vitserve)
	@bash ci/build.sh '$(OUT)'

release: ## programs for Linux, macOS and Windows on amd64 and arm64, with checksums, in dist/
	@bash ci/release.sh

image: ## images of containers for Linux on amd64 and arm64, as tars and an OCI layout, in dist/image/
	@bash ci/buildimage.sh

all: ## every stage, as before a change lands
	@bash .ci/run

fuzz: ## every fuzz target for two minutes
	@bash scripts/fuzz.sh

clean: ## remove the program
	@rm -f '$(OUT)'

$(stages):
	@bash ci/$@.sh
