// Runs a model in onnxruntime-web on the inputs of a job: check_runtimes_web.mjs FOLDER MODEL JOB; tensors are .npy files.
import fs from "node:fs"
import { createRequire } from "node:module"
import path from "node:path"

const [folder, model, job] = process.argv.slice(2)
const ort = createRequire(path.resolve(folder) + "/")("onnxruntime-web")
ort.env.wasm.numThreads = 1
ort.env.logLevel = "error"
const kinds = { "<f4": ["float32", Float32Array], "<i8": ["int64", BigInt64Array] }

function read(file) {
  const raw = fs.readFileSync(file), size = raw.readUInt16LE(8), head = raw.toString("latin1", 10, 10 + size)
  const [type, array] = kinds[/'descr': '([^']*)'/.exec(head)[1]]
  const dims = /'shape': \(([^)]*)\)/.exec(head)[1].split(",").map((s) => s.trim()).filter(Boolean).map(Number)
  const body = new Uint8Array(raw.subarray(10 + size)) // a copy, aligned
  return new ort.Tensor(type, new array(body.buffer), dims)
}

function write(file, t) {
  const descr = Object.keys(kinds).find((k) => kinds[k][0] === t.type)
  let head = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${t.dims.join(", ")}${t.dims.length === 1 ? "," : ""}), }`
  head += " ".repeat(63 - ((10 + head.length) % 64)) + "\n"
  const start = Buffer.alloc(10)
  start.write("\x93NUMPY\x01\x00", "latin1")
  start.writeUInt16LE(head.length, 8)
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(head, "latin1"), Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength)]))
}

const session = await ort.InferenceSession.create(fs.readFileSync(model), { executionProviders: ["wasm"] })
for (const set of fs.readdirSync(job).filter((f) => f.startsWith("in"))) {
  const feeds = {}
  for (const f of fs.readdirSync(`${job}/${set}`)) feeds[f.slice(0, -4)] = read(`${job}/${set}/${f}`)
  const results = await session.run(feeds), out = `${job}/${set.replace("in", "out")}`
  fs.mkdirSync(out)
  for (const [name, t] of Object.entries(results)) write(`${out}/${name}.npy`, t)
}
