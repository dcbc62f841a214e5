"""Artifacts in the eyes of others: check_registry.py PROGRAM ORAS. A real registry (docker-registry), oras, PyPI's model-signing in both directions, an
independent reader of in-toto statements and of CycloneDX. Ends with one line per bar; a bar that does not hold is exit 1."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

program, oras = (os.path.abspath(p) for p in sys.argv[1:3])
root = pathlib.Path("build/registry").absolute()
shutil.rmtree(root, ignore_errors=True)
root.mkdir(parents=True)
os.environ |= {"XDG_CACHE_HOME": str(root / "cache"), "DOCKER_CONFIG": str(root / "docker")}
signing = os.path.join(os.path.dirname(sys.executable), "model_signing")
bars = []


def run(*args, want=0):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if p.returncode != want:
        sys.exit(f"exit status {p.returncode}, want {want}: {' '.join(map(str, args))}\n{p.stdout}{p.stderr}")
    return p.stdout


def fails(*args):
    return subprocess.run([str(a) for a in args], capture_output=True).returncode


def bar(what, holds):
    bars.append(holds)
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)


def flip(path, at):
    text = bytearray(path.read_bytes())
    text[at] ^= 1
    path.write_bytes(text)


artifact = root / "artifact"
run(program, "build", "golden/data/syncsam-tiny-34/syncsam-tiny-34.pth", "-o", artifact, "--precision", "int8", "--rounding", "nearest", "--calib", "golden/data/calibration",
    "--golden", "golden/data/syncsam-tiny-34", "--max-dsc-drop", "2")

# Signatures, both ways, on three curves; then one flipped byte in every file.
for curve in ("prime256v1", "secp384r1", "secp521r1"):
    key, pub = root / f"{curve}.pem", root / f"{curve}.pub.pem"
    run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", key)
    run("openssl", "ec", "-in", key, "-pubout", "-out", pub)
    run(program, "sign", artifact, "--key", key)
    run(program, "manifest", "check", artifact, "--key", pub)
    sig = artifact / "model.sig"
    bar(f"{curve}: model_signing accepts ours", fails(signing, "verify", "key", artifact, "--signature", sig, "--public_key", pub) == 0)
    theirs = root / f"theirs-{curve}"
    shutil.copytree(artifact, theirs)
    (theirs / "model.sig").unlink()
    run(signing, "sign", "key", theirs, "--signature", theirs / "model.sig", "--private_key", key)
    bar(f"{curve}: ours accepts theirs", fails(program, "manifest", "check", theirs, "--key", pub) == 0)
    chance = random.Random(curve)
    refused = total = 0
    for folder in (artifact, theirs):
        for name in ("encoder.onnx", "decoder.onnx", "manifest.json", "model.sig"):
            for _ in range(5):
                at = chance.randrange((folder / name).stat().st_size)
                flip(folder / name, at)
                refused += fails(program, "manifest", "check", folder, "--key", pub) == 1
                flip(folder / name, at)
                total += 1
    bar(f"{curve}: one flipped byte refused with exit 1: {refused} of {total}", refused == total)
    refused = 0
    for name in ("encoder.onnx", "manifest.json"):
        flip(artifact / name, 100)
        refused += fails(signing, "verify", "key", artifact, "--signature", sig, "--public_key", pub) != 0
        flip(artifact / name, 100)
    bar(f"{curve}: model_signing refuses it, too", refused == 2)
    shutil.rmtree(theirs)

# A real registry.
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
config = root / "registry.yml"
config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {root}/store}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n")
server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    time.sleep(2)
    name = f"127.0.0.1:{port}/models/tiny"
    key, pub = root / "prime256v1.pem", root / "prime256v1.pub.pem"
    run(program, "sign", artifact, "--key", key)
    push = ("push", artifact, f"{name}:1", "--plain-http", "--key", key)
    first = json.loads(run(program, *push, "--json"))
    again = json.loads(run(program, *push, "--json"))
    bar(f"a second push sends {again['sent_bytes']} of {first['sent_bytes']} bytes of layers, same digest", again["sent_bytes"] == 0 and again["digest"] == first["digest"])
    bar("--quiet: the digest alone", run(program, *push, "--quiet").splitlines() == [first["digest"]])
    m = json.loads(run(oras, "manifest", "fetch", "--plain-http", f"{name}:1"))
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in m["layers"]}
    bar("oras sees ModelPack's media types", m["artifactType"] == "application/vnd.cncf.model.manifest.v1+json" and m["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
        and kinds["encoder.onnx"] == kinds["decoder.onnx"] == "application/vnd.cncf.model.weight.v1.raw" and kinds["manifest.json"] == "application/vnd.cncf.model.weight.config.v1.raw")
    config_blob = json.loads(run(oras, "blob", "fetch", "--plain-http", "--output", "-", f"{name}@{m['config']['digest']}"))
    bar("its configuration has the model's parts", {"descriptor", "config", "modelfs"} <= set(config_blob) and config_blob["modelfs"]["diffIds"] == [layer["digest"] for layer in m["layers"]])
    run(oras, "pull", "--plain-http", "-o", root / "oras", f"{name}@{first['digest']}")
    bar("oras pulls the same files", fails("diff", "-r", artifact, root / "oras") == 0)
    run(program, "pull", f"{name}@{first['digest']}", "-o", root / "pulled", "--plain-http", "--key", pub)
    bar("pull gives the same files", fails("diff", "-r", artifact, root / "pulled") == 0)
    bar("pull --key with another key: exit 1, nothing left", fails(program, "pull", f"{name}:1", "-o", root / "never", "--plain-http", "--key", root / "secp384r1.pub.pem") == 1 and not (root / "never").exists())

    # Statements and the bill of materials, by readers that others wrote.
    from in_toto_attestation.v1 import statement_pb2
    from google.protobuf import json_format

    tree = json.loads(run(oras, "discover", "--plain-http", "--format", "json", f"{name}:1"))
    found = sorted({r["artifactType"] for r in tree.get("referrers", tree.get("manifests", []))})
    bar(f"oras discovers the referrers: {', '.join(found)}", {"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.cyclonedx+json"} <= set(found))
    for kind, want in (("provenance", "https://slsa.dev/provenance/v1"), ("result", "https://in-toto.io/attestation/test-result/v0.1")):
        s = json_format.Parse(run(program, "manifest", kind, artifact), statement_pb2.Statement())
        bar(f"in-toto reads {want}", s.predicate_type == want and len(s.subject[0].digest["sha256"]) == 64)
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(run(program, "manifest", "bom", artifact))
    bar(f"CycloneDX 1.6 schema: {problem or 'valid'}", problem is None)

    # A blob that the registry's disk changed or cut, and a registry that dies in the middle.
    digest = m["layers"][1]["digest"].removeprefix("sha256:")
    blob = root / "store/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    whole = blob.read_bytes()
    for what, text in (("changed", whole[:1000] + b"x" + whole[1001:]), ("cut", whole[: len(whole) // 2]), ("longer", whole + b"x")):
        blob.write_bytes(text)
        bar(f"a layer that was {what} is refused, nothing left", fails(program, "pull", f"{name}:1", "-o", root / "bad", "--plain-http") == 2 and not (root / "bad").exists())
    blob.write_bytes(whole)
    slow = subprocess.Popen([program, "pull", f"{name}:1", "-o", root / "killed", "--plain-http"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.02)
    slow.send_signal(signal.SIGTERM)
    code = slow.wait()
    bar(f"an interrupted pull (exit {code}) leaves all or nothing", not (root / "killed").exists() or fails(program, "manifest", "check", root / "killed", "--key", pub) == 0)
finally:
    server.terminate()
    server.wait()

sys.exit(0 if all(bars) else 1)
