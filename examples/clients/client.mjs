// A client of an artifact in JavaScript, from its manifest.json alone: node client.mjs ARTIFACT PICTURE.rgb WIDTH HEIGHT MASK.bin x0,y0,x1,y1 | x,y,label ...
//
// PICTURE.rgb holds WIDTH x HEIGHT x 3 bytes, MASK.bin gets a byte a pixel. For artifacts that resize inside (build --image-input uint8-hwc), which need no more of
// a client than its pixels. Needs onnxruntime-web (in a browser) or onnxruntime-node; ORT names which.
import { readFileSync, writeFileSync } from 'node:fs';
const ort = (await import(process.env.ORT ?? 'onnxruntime-web')).default ?? (await import(process.env.ORT ?? 'onnxruntime-web'));

const [dir, picture, w, h, out, ...prompts] = process.argv.slice(2), size = [+w, +h];
const call = JSON.parse(readFileSync(`${dir}/manifest.json`)).interface;
const [encoder, decoder] = await Promise.all(call.graphs.slice(0, 2).map((g) => ort.InferenceSession.create(readFileSync(`${dir}/${g.file}`))));
if (call.image.resized_by !== 'graph' || call.image.layout !== 'HWC') throw Error('the artifact wants a resized picture: build it with --image-input uint8-hwc');
if (!['first', 'best_iou_multimask', 'first_plus_hq'].includes(call.mask.choose)) throw Error(`mask.choose ${call.mask.choose}: not known here`);
const side = call.image.side, resized = size.map((n) => (call.image.resize === 'stretch' ? side : Math.max(Math.floor(n * (side / Math.max(...size)) + 0.5), 1)));
const features = await encoder.run({ [call.image.input]: new ort.Tensor('uint8', new Uint8Array(readFileSync(picture)), [size[1], size[0], 3]) });

const numbers = prompts.map((p) => p.split(',').map(Number)), box = numbers.some((v) => v.length === 4);
const points = numbers.flatMap((v) => (v.length === 4 ? [[v[0], v[1], 2], [v[2], v[3], 3]] : [v]));
if (call.coordinates.padding_point === 'caller' && !box) points.push([0, 0, -1]);
const low = call.mask_input.side, feed = {
  ...features, mask_input: new ort.Tensor('float32', new Float32Array(low * low), [1, 1, low, low]), has_mask_input: new ort.Tensor('float32', [0], [1]),
  point_coords: new ort.Tensor('float32', points.flatMap(([x, y]) => [x * resized[0] / size[0], y * resized[1] / size[1]]), [1, points.length, 2]),
  point_labels: new ort.Tensor('float32', points.map((p) => p[2]), [1, points.length]), orig_im_size: new ort.Tensor('float32', [size[1], size[0]], [2]),
};
const result = await decoder.run(Object.fromEntries(decoder.inputNames.map((name) => [name, feed[name]])));

const { output, choose, masks, steps, activation, threshold } = call.mask, [, , mh, mw] = result[output].dims;
const all = result[output].data, one = (i) => Float32Array.from(all.slice(i * mh * mw, (i + 1) * mh * mw));
let m = { data: one(0), w: mw, h: mh };
if (choose === 'best_iou_multimask' && masks > 1) { const s = [...result.iou_predictions.data].slice(1); m.data = one(1 + s.indexOf(Math.max(...s))); }
if (choose === 'first_plus_hq' && masks > 1) { const hq = one(masks - 1); m.data = m.data.map((x, i) => x + hq[i]); }
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
for (const step of steps ?? []) {
  const [tw, th] = { square: [side, side], resized, original: size }[step.to ?? 'original'];
  if (step.do === 'sigmoid') m.data = m.data.map(sigmoid);
  if (step.do === 'crop') m = { data: Float32Array.from({ length: tw * th }, (_, i) => m.data[Math.floor(i / tw) * m.w + (i % tw)]), w: tw, h: th };
  if (step.do === 'bilinear') m = bilinear(m, tw, th);
}
if (activation === 'sigmoid') m.data = m.data.map(sigmoid);
writeFileSync(out, Uint8Array.from(m.data, (x) => (x > threshold ? 1 : 0)));

function bilinear({ data, w, h }, tw, th) {
  const places = (n, to) => Array.from({ length: to }, (_, i) => {
    const at = Math.min(Math.max((i + 0.5) * n / to - 0.5, 0), n - 1), lo = Math.floor(at);
    return [lo, Math.min(lo + 1, n - 1), at - lo];
  });
  const cols = places(w, tw), made = new Float32Array(tw * th);
  places(h, th).forEach(([y0, y1, t], y) => cols.forEach(([x0, x1, s], x) => {
    const row = (r) => data[r * w + x0] * (1 - s) + data[r * w + x1] * s;
    made[y * tw + x] = row(y0) * (1 - t) + row(y1) * t;
  }));
  return { data: made, w: tw, h: th };
}
