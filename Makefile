# syncsam-convert. `make demo` and `make test` need Go and make alone; the other targets say what they need.
GO ?= go
PYTHON ?= python3
SHARED ?= ../shared
BIN := bin/syncsam-convert
GOLDEN := golden/data/syncsam-tiny-34
IMAGE := golden/data/dataset/images/amos_0004_75.png
# What --version and manifests name; empty outside a git checkout.
COMMIT := $(shell git describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null)

VERSION := $(shell sed -n 's/^const Version = "\(.*\)"/\1/p' internal/version/version.go)

.PHONY: build test test-arm64 demo onnxruntime generate lint vuln race kill soak mutate fuzz check-onnx test-stats test-parity test-pictures test-peers test-tensorrt test-dicom bench bench-peers bench-int8 bench-equivalence bench-openvino release-snapshot release-files container cross test-runtimes test-tract clean test-report test-volumes test-serve test-triton test-page test-clients pipeline test-registry test-same-bytes test-slurm test-scale test-tutorial

build:
	$(GO) build -trimpath -buildvcs=false -ldflags "-X syncsam-convert/internal/version.Commit=$(COMMIT)" -o $(BIN) ./cmd/syncsam-convert

# Every test that a clone alone can run. ONNX Runtime takes part where `make onnxruntime` has brought it.
test:
	$(GO) test -timeout 25m ./...

# Builds the small golden model, proves its Dice results, and leaves masks, overlays and a report to look at in demo/.
demo: build
	$(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o demo/artifact --force --golden $(GOLDEN)
	$(BIN) verify demo/artifact --golden $(GOLDEN) --prompts box,point1 --html demo/report --junit demo/report.xml
	$(BIN) run demo/artifact --image $(IMAGE) --box 289,203,316,230 -o demo/aorta.png
	$(BIN) run demo/artifact --image $(IMAGE) --point 200,270 --point 300,270,0 -o demo/clicks.png
	@echo "Look at demo/aorta.overlay.png, demo/clicks.overlay.png and demo/report/index.html"

# ONNX Runtime's shared library for --engine onnxruntime; needs pip or npm.
onnxruntime:
	sh scripts/onnxruntime.sh

# The ONNX messages from onnx.proto (needs python3), and the assembly of ir/kernel.
generate:
	sh internal/onnxpb/generate.sh
	cd ir/kernel/gen && $(GO) run .

# The kernels on arm64; elsewhere needs qemu-aarch64-static (Debian's qemu-user-static). The compiler must not have fused anything: a
# multiplication and an addition that it joins are rounded once there and twice on other processors, and an artifact would have other bytes.
test-arm64:
	@mkdir -p build
	GOARCH=arm64 $(GO) test -c -o build/kernel-arm64.test ./ir/kernel
	@! GOARCH=arm64 $(GO) build -gcflags=-S ./ir/kernel ./ir/tensor ./quantizer ./passes ./calib ./calib/reconstruct ./compile 2>&1 | grep -E '\sFN?M(ADD|SUB)[SD]\s' | grep -v /src/math/
	cd ir/kernel && $$(test "$$(uname -m)" = aarch64 || echo qemu-aarch64-static) ../../build/kernel-arm64.test -test.short

# The whole way of a release: build, verify, sign, push, pull by digest, check, verify again, and a planted regression that must be caught; needs openssl.
# REGISTRY=HOST:PORT takes that registry. Then actionlint on examples/ci. About a minute.
pipeline: build
	GO=$(GO) sh scripts/pipeline.sh $(BIN)
	$(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck= -pyflakes= examples/ci/github.yml

# A real registry (Debian's docker-registry), oras, and the model-signing package of PyPI on our artifacts, and ours on theirs; needs python3 and openssl.
test-registry: build
	sh scripts/venv.sh model-signing==1.1.1 pyOpenSSL cyclonedx-python-lib[json-validation] in-toto-attestation
	GOBIN=$(CURDIR)/build/tools $(GO) install oras.land/oras/cmd/oras@v1.3.6
	build/venv/bin/python scripts/check_registry.py $(BIN) build/tools/oras

# The same INT8 and float16 artifacts, byte for byte, with every set of instructions, one thread and two, and on arm64 (qemu-aarch64-static elsewhere). About
# 20 minutes, most of them without vector instructions; QUICK=1 builds float16 alone.
test-same-bytes: build
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-X syncsam-convert/internal/version.Commit=$(COMMIT)" -o build/arm64/syncsam-convert ./cmd/syncsam-convert
	QUICK=$(QUICK) IMAGES=$(IMAGES) sh scripts/same_bytes.sh $(BIN) build/arm64/syncsam-convert

# Completions and man pages of release archives, in build/release-files: the same for one commit.
release-files:
	rm -rf build/release-files
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GO) run -buildvcs=false -tags release ./cmd/syncsam-convert docs build/release-files

# Static archives for linux, darwin and windows with checksums and bills of materials, in build/release, which are then looked into and tried. GoReleaser and
# cyclonedx-gomod are built into build/tools by the first run, which takes minutes.
release-snapshot:
	GOBIN=$(CURDIR)/build/tools CGO_ENABLED=0 $(GO) install -trimpath -ldflags '-s -w' github.com/goreleaser/goreleaser/v2@v2.15.1
	GOBIN=$(CURDIR)/build/tools CGO_ENABLED=0 $(GO) install -ldflags '-s -w' github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	PATH=$(CURDIR)/build/tools:$$PATH VERSION=$(VERSION) goreleaser release --snapshot --clean --parallelism 2
	GO=$(GO) sh scripts/check_release.sh build/release $(VERSION)

# Both images of Containerfile, offline, and a build in each; with Debian's buildah or podman, else under chroot, as it says.
container: build onnxruntime
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X syncsam-convert/internal/version.Commit=$(COMMIT)" -o build/static/syncsam-convert ./cmd/syncsam-convert
	sh scripts/container.sh $(BIN) build/static/syncsam-convert

# The program for the systems of a release, without cgo, tests included.
cross:
	@for p in linux/arm64 darwin/arm64 windows/amd64; do echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... || exit 1; done

lint: cross
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	$(GO) vet -tags release ./cmd/syncsam-convert
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# Known vulnerabilities; without a network to the database it says so and passes.
vuln:
	sh scripts/vuln.sh

# The packages that start goroutines.
race:
	$(GO) test -race ./ir/... ./frontends/checkpoint ./passes ./calib/... ./engine ./compile ./golden/... ./internal/guard ./internal/output ./serve

# Builds that are killed, and checkpoints that change, at random moments; many builds into one output. SEED=N takes other moments.
kill:
	SEED=$(or $(SEED),1) $(GO) test -tags kill -count=1 -timeout 60m -v ./cmd/syncsam-convert -run 'TestKills|TestChanges|TestCuts|TestSimultaneous'

# Damaged inputs of all kinds, INPUTS=30000 of them; what falls is kept in build/mutate. SEED=N takes others, KIND=name one kind alone.
mutate:
	INPUTS=$(or $(INPUTS),30000) SEED=$(or $(SEED),1) KIND=$(KIND) $(GO) test -tags mutate -count=1 -timeout 180m -v ./cmd/syncsam-convert -run TestMutations

# Every fuzz target, for its share of MINUTES on two cores. TARGET=name takes those of that name alone.
fuzz:
	GO=$(GO) sh scripts/fuzz.sh $(or $(MINUTES),60) $(TARGET)

# Memory, files and goroutines over 100 builds and verifications in one process, 3000 items, and an index of a million entries.
soak:
	$(GO) test -tags soak -count=1 -timeout 60m -v ./cmd/syncsam-convert -run TestSoak

# onnx.checker and ONNX Runtime's Python package on emitted files; needs python3.
check-onnx: build
	sh scripts/venv.sh numpy onnx==1.23.0 onnxruntime==1.32.0
	@for v in 34 50; do $(BIN) build golden/data/syncsam-tiny-$$v/syncsam-tiny-$$v.pth -o build/check/$$v --force >/dev/null && \
	  $(BIN) build golden/data/syncsam-tiny-$$v/syncsam-tiny-$$v.pth -o build/check/$$v-newest --force --opset 26 --external-data >/dev/null || exit 1; done
	build/venv/bin/python scripts/check_onnx.py build/check/34 build/check/50 build/check/34-newest build/check/50-newest

# Full-size checkpoints and every reference file of $(SHARED), in both engines; needs python3 with numpy for the recipe.
test-parity: build
	sh scripts/venv.sh numpy
	@mkdir -p build/full
	@for v in 34 50; do test -f build/full/syncsam-$$v.pth || \
	  build/venv/bin/python $(SHARED)/recipe/synth.py $(SHARED)/golden/full/syncsam-$$v/weights.json build/full/syncsam-$$v.pth || exit 1; done
	@mkdir -p build/full/zoo
	@for d in $(SHARED)/golden/zoo/* $(SHARED)/golden/ablation/*; do n=$$(basename $$d); test -f build/full/zoo/$$n.pth || \
	  build/venv/bin/python $(SHARED)/recipe/synth.py $$d/weights.json build/full/zoo/$$n.pth >/dev/null || exit 1; done
	@mkdir -p build/full/next/hf build/full/next/adapter
	@for n in mobile-sam lite-medsam medical-sam-adapter medical-sam-adapter-v0.1.0 samed-lora/base samed-lora/lora; do f=$$(echo $$n | tr / -); \
	  case $$n in */*) w=$$n.weights.json;; *) w=$$n/weights.json;; esac; test -f build/full/next/$$f.pth || \
	  build/venv/bin/python $(SHARED)/recipe/synth.py $(SHARED)/next/$$w build/full/next/$$f.pth >/dev/null || exit 1; done
	@cd build/full/next && S=$(abspath $(SHARED)) && P=$(abspath build/venv/bin/python) && cp -f $$S/next/sam-hf/config.json hf/ && cp -f $$S/next/sam-hf-peft/adapter_config.json adapter/ && \
	  $$P $$S/recipe/synth.py $$S/next/sam-hf-peft/base.weights.json hf/model.safetensors >/dev/null && \
	  $$P $$S/recipe/synth.py $$S/next/sam-hf-peft/adapter.weights.json adapter/adapter_model.safetensors >/dev/null
	SHARED=$(abspath $(SHARED)) CHECKPOINTS=$(abspath build/full) $(GO) test -tags parity -count=1 -timeout 30m -v ./golden ./cmd/syncsam-convert -run Parity

# Pictures of every kind beside PIL, tifffile, OpenCV and nibabel; needs python3.
test-pictures: build
	sh scripts/venv.sh numpy pillow tifffile imagecodecs nibabel pydicom scipy opencv-python-headless
	build/venv/bin/python scripts/check_pictures.py $(BIN)

# Other people's programs on our files: onnx.checker, SAM's official client, and PyTorch on every family at random weights (about
# 7 GB for PyTorch).
test-peers: check-onnx onnxruntime
	sh scripts/venv.sh numpy onnxruntime==1.32.0 onnxscript opencv-python-headless pillow safetensors scikit-image segment-anything torch torchvision transformers peft
	@mkdir -p build/full/zoo
	@test -f build/full/zoo/sam-vit-b.pth || build/venv/bin/python $(SHARED)/recipe/synth.py $(SHARED)/golden/zoo/sam-vit-b/weights.json build/full/zoo/sam-vit-b.pth
	$(BIN) build build/full/zoo/sam-vit-b.pth -o build/check/sam --force --decoder-postprocess --family sam >/dev/null
	build/venv/bin/python scripts/check_client.py build/check/sam build/full/zoo/sam-vit-b.pth
	build/venv/bin/python scripts/check_lint.py $(BIN) build/full/zoo/sam-vit-b.pth
	build/venv/bin/python scripts/check_families.py $(BIN)
	build/venv/bin/python scripts/check_exports.py $(BIN)
	build/venv/bin/python scripts/check_hf.py $(BIN)
	build/venv/bin/python -m pip install -q --disable-pip-version-check onnx2torch==1.5.15
	build/venv/bin/python scripts/check_onnx2torch.py $(BIN)

# Every family's models in other people's runtimes, old and new; writes docs/runtimes.md. Needs python3 (3.11 or older for ONNX Runtime 1.16),
# npm and the checkpoints of make test-parity; MODELS="syncsam-50 sam-med2d" takes those alone. About an hour for all.
test-runtimes: build
	sh scripts/venv.sh numpy pillow onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 opencv-python-headless==5.0.0.93
	test -x build/old/bin/python || python3 -m venv build/old
	build/old/bin/python -m pip install -q --disable-pip-version-check onnxruntime==1.16.3 'numpy<2'
	npm install --silent --no-audit --no-fund --prefix build/web onnxruntime-web@1.30.0
	OLD=build/old/bin/python WEB=build/web build/venv/bin/python scripts/check_runtimes.py $(BIN) build/full docs/runtimes.md $(MODELS)
	build/venv/bin/python scripts/check_forms.py make build/forms
	for r in openvino opencv onnxruntime; do build/venv/bin/python scripts/check_forms.py $$r build/forms || exit 1; done
	build/old/bin/python scripts/check_forms.py onnxruntime build/forms
	build/venv/bin/python scripts/check_openvino_dsc.py $(BIN)

# The golden models in tract; needs cargo and python3.
test-tract: build
	sh scripts/venv.sh numpy pillow onnx==1.23.2 onnxruntime==1.32.0
	cargo build --release --quiet --manifest-path scripts/tract/Cargo.toml --target-dir build/tract/target
	build/venv/bin/python scripts/check_tract.py $(BIN) build/tract/target/release/tract-runner
# Other people's clients on artifacts of build --client, and our examples/clients, beside run; needs python3, npm and node, and 2 GB for their packages.
# ITEMS=N takes so many golden pictures (20), MODELS="name=checkpoint ..." other models, CLIENTS=name,name those clients alone ("examples": ours).
test-clients: build
	test -x build/clients/py/bin/python || python3 -m venv build/clients/py
	build/clients/py/bin/python -m pip install -q --disable-pip-version-check numpy safetensors onnxruntime==1.32.0 opencv-python-headless pillow scipy pooch jsonschema imgviz pydantic loguru gdown ftfy regex onnx scikit-image
	build/clients/py/bin/python -m pip install -q --disable-pip-version-check --no-deps osam==0.8.1 rembg==2.0.86 samexporter==0.5.0
	test -d build/clients/any || build/clients/py/bin/python -m pip install -q --disable-pip-version-check --no-deps --target build/clients/any anylabeling==0.4.43
	test -d build/clients/xany || build/clients/py/bin/python -m pip install -q --disable-pip-version-check --no-deps --target build/clients/xany x-anylabeling-cvhub==4.2.1
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix build/clients/npm @cornerstonejs/ai@4.19.0 @huggingface/transformers@4.3.1 onnxruntime-node@1.30.0 onnxruntime-web@1.30.0
	build/clients/py/bin/python scripts/check_clients.py $(BIN) build/clients $(MODELS)

# Every line of docs/tutorial.md as it stands, in a folder like a fresh clone; needs openssl, python3 and its package index.
test-tutorial:
	TUTORIAL=all $(GO) test -count=1 -v ./cmd/syncsam-convert -run TestTutorial

# Latency in OpenVINO beside PyTorch's exporter and NNCF; needs python3 and about 7 GB for PyTorch.
bench-openvino: build
	sh scripts/venv.sh numpy pillow onnx==1.23.2 onnxruntime==1.32.0 onnxscript openvino==2026.4.1 nncf==3.4.0 torch
	@mkdir -p build/full
	build/venv/bin/python scripts/bench_openvino.py $(SHARED) $(BIN)

# Metrics and statistics beside surface-distance, MONAI, scikit-image, SciPy and statsmodels on 1000 random pairs of masks and 1000 samples;
# needs python3 and about 7 GB for PyTorch. SEED=N takes others.
test-stats:
	sh scripts/venv.sh numpy scipy==1.17.1 statsmodels==0.15.0 scikit-image==0.26.0 surface-distance==0.1 monai==1.6.1 torch
	build/venv/bin/python scripts/check_stats.py build/stats 1000 1000 $(or $(SEED),2)
	METRICS_PEERS=$(CURDIR)/build/stats/metrics.json STATS_PEERS=$(CURDIR)/build/stats/stats.json \
	  $(GO) test -count=1 -v ./golden/metrics ./golden/stats -run 'Peers|Coverage'

# Default INT8 of the small models beside float32 on phantoms that nobody has seen: equivalent within 0.25 DSC points in every prompt mode? Needs
# python3 and the 32 calibration pictures of $(SHARED) (CALIB=FOLDER takes others). SEED=N takes other phantoms.
bench-equivalence: build
	sh scripts/venv.sh numpy pillow
	build/venv/bin/python scripts/phantoms.py build/equivalence/data 458 $(or $(SEED),1)
	@failed=0; for v in 34 50; do c=golden/data/syncsam-tiny-$$v/syncsam-tiny-$$v.pth; \
	  $(BIN) build $$c -o build/equivalence/float-$$v --force >/dev/null && \
	  $(BIN) build $$c -o build/equivalence/int8-$$v --force --precision int8 --calib $(or $(CALIB),$(SHARED)/golden/calibration) >/dev/null && \
	  $(BIN) verify build/equivalence/float-$$v build/equivalence/int8-$$v --data build/equivalence/data --margin 0.25 --json build/equivalence/$$v.json || failed=1; done; exit $$failed

# The real TensorRT 8.6.1 library on a machine without a GPU: it is loaded, tells its version, and the missing driver is reported.
# Needs Maven and python3; downloads 0.8 GB.
test-tensorrt: build
	sh scripts/tensorrt.sh
	TENSORRT_LIB=$(CURDIR)/build/tensorrt/libnvinfer.so.8 TENSORRT_VERSION=8.6.1 $(GO) test -count=1 -v ./internal/trthost ./cmd/syncsam-convert -run 'TestFind|TestPlan'

# The test files of pydicom and pydicom-data beside pydicom's own pixels; needs python3.
test-dicom: build
	sh scripts/venv.sh numpy pillow pydicom==3.0.2 pydicom-data==1.0.0 pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 pylibjpeg-openjpeg==2.6.0 pylibjpeg-rle==2.2.0 python-gdcm==3.2.6
	build/venv/bin/python scripts/check_dicom.py $(BIN)

# `run` on volumes beside nibabel, pydicom and highdicom: geometry, references, Dice coefficients; needs python3. With dciodvfy (Debian's dicom3tools) it
# checks segmentations against the standard, too.
test-volumes: build
	sh scripts/venv.sh numpy pillow nibabel==5.4.2 pydicom==3.0.2 highdicom==0.28.2
	$(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/check/34 --force >/dev/null
	build/venv/bin/python scripts/check_volumes.py $(BIN) build/check/34

# What the targets below serve and export: the small model in float and INT8.
build/serve/int8/manifest.json: build
	@test -f build/serve/float/manifest.json || $(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/serve/float --force >/dev/null
	@test -f $@ || $(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/serve/int8 --force --precision int8 --calib golden/data/calibration --rounding nearest >/dev/null

# serve beside PyPI's tritonclient, exec, run and ONNX Runtime, with both engines: 200 requests from 8 clients, malformed ones among them; needs python3.
test-serve: build/serve/int8/manifest.json onnxruntime
	sh scripts/venv.sh numpy pillow safetensors onnxruntime==1.32.0 'tritonclient[http]==2.73.0'
	build/venv/bin/python scripts/check_serve.py $(BIN) golden/data/dataset/images build/serve/float build/serve/int8
	build/venv/bin/python scripts/check_serve.py $(BIN) golden/data/dataset/images build/serve/float build/serve/int8 -- --engine onnxruntime

# Model repositories beside Triton's own messages and ONNX Runtime; needs python3.
test-triton: build/serve/int8/manifest.json
	sh scripts/venv.sh numpy onnx==1.23.0 onnxruntime==1.32.0 'tritonclient[grpc]==2.73.0'
	rm -rf build/serve/repository
	$(BIN) export triton build/serve/float -o build/serve/repository
	$(BIN) export triton build/serve/int8 -o build/serve/repository --prefix int8_ --force
	build/venv/bin/python scripts/check_triton.py build/serve/repository build/serve/float
	build/venv/bin/python scripts/check_triton.py build/serve/repository build/serve/int8 int8_

# The page in a real browser (Debian's chromium, or any Chrome in PATH): clicks make the masks of run; screenshots are left in build/serve/shots.
test-page: build/serve/int8/manifest.json
	@mkdir -p build/serve/shots
	cd serve/page/browser && PROGRAM=$(CURDIR)/$(BIN) ARTIFACT=$(CURDIR)/build/serve/float INT8=$(CURDIR)/build/serve/int8 SHOTS=$(CURDIR)/build/serve/shots \
	  PICTURE=$(CURDIR)/$(IMAGE) TRUTH=$(CURDIR)/golden/data/dataset/masks/amos_0004_75_aorta_000.png VOLUME=$(CURDIR)/pictures/testdata/volumes/ct.nii.gz \
	  $(GO) test -count=1 -v .

# Shards as array jobs of a real Slurm of one node, two of them killed and requeued. As root, with Debian's slurm-wlm and munge, and python3.
test-slurm: build
	sh scripts/venv.sh numpy pillow
	build/venv/bin/python scripts/phantoms.py build/slurm/data 458 $(or $(SEED),1)
	$(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/slurm/artifact --force >/dev/null
	FLAGS="$(FLAGS)" sh scripts/check_slurm.sh $(BIN) build/slurm/artifact $(GOLDEN)/syncsam-tiny-34.pth build/slurm/data golden/data/calibration build/slurm/run

# The Beam pipelines, a module of its own, on Prism; downloads Beam's Go SDK. bin/syncsam-beam is its command.
test-scale:
	cd scale && $(GO) test -count=1 ./...
	cd scale && $(GO) build -trimpath -buildvcs=false -ldflags "-X syncsam-convert/internal/version.Commit=$(COMMIT)" -o ../bin/syncsam-beam ./cmd/syncsam-beam

bench:
	$(GO) test -run '^$$' -bench . ./ir/kernel ./engine

# Build time, memory and latency beside PyTorch's exporters and ONNX Runtime's quantizer, and the engines' ratio; needs python3 and about 7 GB for PyTorch.
bench-peers: build onnxruntime
	sh scripts/venv.sh numpy onnx==1.23.0 onnxruntime==1.32.0 onnxscript pillow safetensors segment-anything torch torchvision
	build/venv/bin/python scripts/bench_peers.py $(SHARED) $(BIN)
	build/venv/bin/python scripts/bench_latency.py $(SHARED) $(BIN)
	@mkdir -p build/full/zoo
	@test -f build/full/zoo/sam-vit-b.pth || build/venv/bin/python $(SHARED)/recipe/synth.py $(SHARED)/golden/zoo/sam-vit-b/weights.json build/full/zoo/sam-vit-b.pth
	build/venv/bin/python scripts/bench_sam.py $(BIN) build/full/zoo/sam-vit-b.pth

# The int8 methods on the golden models; needs python3 and make onnxruntime.
bench-int8: build onnxruntime
	sh scripts/venv.sh numpy onnx==1.23.0 onnxruntime==1.32.0 pillow
	build/venv/bin/python scripts/bench_int8.py $(BIN) $(SHARED)/golden/calibration mse minmax percentile entropy

# The pages of verify --html in a real browser: two artifacts on 458 phantoms, a golden set, own data, hostile names; axe-core judges them, screenshots go to build/page.
# Needs python3, npm and Chromium (Debian's package chromium; CHROMIUM=PROGRAM takes another).
test-report: build
	sh scripts/venv.sh numpy pillow
	@mkdir -p build/page
	build/venv/bin/python scripts/phantoms.py build/page/data 458 $(or $(SEED),7)
	$(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/page/float --force >/dev/null
	$(BIN) build $(GOLDEN)/syncsam-tiny-34.pth -o build/page/int8 --force --precision int8 --calib golden/data/calibration >/dev/null
	-$(BIN) verify build/page/float build/page/int8 --data build/page/data --margin 0.25 --html build/page/paired --json=build/page/paired.json >/dev/null
	$(BIN) verify build/page/int8 --golden $(GOLDEN) --html build/page/golden --json=build/page/golden.json >/dev/null
	$(BIN) verify build/page/int8 --data golden/data/dataset --html build/page/own --json=build/page/own.json >/dev/null
	PAGE_OUT=$(CURDIR)/build/page/hostile $(GO) test -count=1 ./golden/page -run TestHostileNames
	npm install --silent --no-audit --no-fund --prefix build/page/axe axe-core@4.14.1
	cd golden/page/browser && AXE=$(CURDIR)/build/page/axe/node_modules/axe-core/axe.min.js REPORT_PAGES=$(CURDIR)/build/page/paired:$(CURDIR)/build/page/golden:$(CURDIR)/build/page/own:$(CURDIR)/build/page/hostile REPORT_SHOTS=$(CURDIR)/build/page \
	  $(GO) test -count=1 -v .

clean:
	rm -rf bin build demo
