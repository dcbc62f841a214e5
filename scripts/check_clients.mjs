// The JavaScript clients on artifacts of build --client: node check_clients.mjs transformers|cornerstone FOLDER, which reads lines of JSON, a picture each, and answers each with done:
// {picture, asked: [{points, labels}], out}. transformers writes OUT.pixels (what its processor makes of the picture, float32), OUT.size (the height and width that it resized to) and OUT.N
// (masks of 0 and 1); cornerstone loads the controller's own class with stand-ins for the browser, takes pictures of RGBA on a canvas of 1024 x 1024, and writes OUT.N, the one that it makes labels of.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [what, folder] = process.argv.slice(2);
const require = createRequire(process.cwd() + '/');

async function transformers() {
  const { SamModel, AutoProcessor, RawImage, env } = await import(pathToFileURL(require.resolve('@huggingface/transformers')));
  env.allowRemoteModels = false;
  env.localModelPath = folder.replace(/[^/]*$/, '');
  const name = folder.replace(/.*\//, '');
  const model = await SamModel.from_pretrained(name, { dtype: 'fp32' }), processor = await AutoProcessor.from_pretrained(name);
  return async ({ picture, asked, out }) => {
    const image = await RawImage.read(picture);
    let embeddings;
    for (const [i, { points, labels }] of asked.entries()) {
      const inputs = await processor(image, { input_points: [[points]], input_labels: [[labels]] });
      if (i === 0) {
        writeFileSync(`${out}.pixels`, Buffer.from(inputs.pixel_values.data.buffer));
        embeddings = await model.get_image_embeddings(inputs);
      }
      writeFileSync(`${out}.size`, JSON.stringify(inputs.reshaped_input_sizes[0]));
      const result = await model({ ...inputs, ...embeddings });
      const masks = await processor.post_process_masks(result.pred_masks, inputs.original_sizes, inputs.reshaped_input_sizes);
      writeFileSync(`${out}.${i}`, Uint8Array.from(masks[0].data));
    }
  };
}

// hooks resolve what a bundler would, and put stand-ins in the place of what needs a browser.
const hooks = `
const stand = (names, body) => 'data:text/javascript,' + encodeURIComponent(body + names.map((n) => ';export const ' + n + ' = any').join(''));
const any = 'const any = new Proxy(function () {}, { get: (t, k) => (k === Symbol.toPrimitive ? () => "" : k === "prototype" ? {} : k === "extendTo" ? undefined : any), apply: () => any, construct: () => ({}) });';
export async function resolve(name, context, next) {
  if (name === '@cornerstonejs/core') return { url: stand(['eventTarget', 'Enums', 'triggerEvent', 'cache'], any + 'export const utilities = { loadImageToCanvas: async (a) => globalThis.rendered(a) }'), shortCircuit: true };
  if (name === '@cornerstonejs/tools') return { url: stand(['segmentation', 'annotation', 'utilities', 'Enums'], any + 'export class LabelmapBaseTool {}'), shortCircuit: true };
  if (name.startsWith('onnxruntime-web')) return next('onnxruntime-node', context);
  if (name === 'gl-matrix') return { url: stand([], 'export const vec3 = {}'), shortCircuit: true };
  try { return await next(name, context); } catch (e) {
    if (!name.startsWith('.')) throw e;
    try { return await next(name + '.js', context); } catch { return next(name + '/index.js', context); }
  }
}`;

async function cornerstone() {
  register('data:text/javascript,' + encodeURIComponent(hooks));
  globalThis.ImageData = class { constructor(data, width, height) { Object.assign(this, { data, width, height }); } };
  for (const name of ['HTMLCanvasElement', 'HTMLImageElement', 'ImageBitmap', 'OffscreenCanvas']) globalThis[name] = class {};
  const canvas = () => {
    let held;
    const context = {
      clearRect() {}, fillRect() {}, drawImage() {}, putImageData: (d) => { held = d; }, getImageData: () => held,
      createImageData: (w, h) => new ImageData(new Uint8ClampedArray(4 * w * h), w, h),
    };
    return Object.assign(new HTMLCanvasElement(), { style: {}, getContext: () => context });
  };
  globalThis.document = { createElement: canvas };
  globalThis.window = { location: { search: '' } };
  globalThis.createImageBitmap = async () => ({});
  let image;
  globalThis.rendered = (a) => { a.canvas.getContext('2d').putImageData(image); return {}; };
  const root = process.cwd() + '/node_modules/@cornerstonejs/ai/dist/esm/ONNXSegmentationController.js';
  const { default: Controller } = await import(pathToFileURL(root));
  const ort = (await import(pathToFileURL(require.resolve('onnxruntime-node')))).default;
  const sessions = {};
  for (const part of ['encoder', 'decoder']) sessions[part] = await ort.InferenceSession.create(`${folder}/${part}.onnx`);
  return async ({ picture, asked, out }) => {
    image = new ImageData(new Uint8ClampedArray(readFileSync(picture)), 1024, 1024);
    const c = Object.create(Controller.prototype), session = { canvas: canvas(), loader: null, ...sessions };
    Object.assign(c, {
      maxWidth: 1024, maxHeight: 1024, modelWidth: 1024, modelHeight: 1024, canvas: canvas(), canvasMask: canvas(), sessions: [session], imageEncodings: new Map(), boxRadius: 5, pCutoff: 64, _enabled: true,
      desiredImage: { imageId: 'one', sampleImageId: 'one' }, config: { model: 'ours', encoder: {} }, listeners: [], log() {}, tryLoad() {},
      viewport: { getRenderingEngine: () => ({ id: 1 }), getImageIds: () => ['one'], defaultOptions: {} },
    });
    await c.handleImage(c.desiredImage, session);
    for (const [i, { points, labels }] of asked.entries()) {
      let made;
      c.createLabelmap = (mask) => { made = Uint8Array.from(mask.data); };
      await c.decode(points.flat(), labels, session);
      writeFileSync(`${out}.${i}`, made);
    }
  };
}

const segment = await { transformers, cornerstone }[what]();
for await (const line of createInterface({ input: process.stdin })) {
  await segment(JSON.parse(line));
  console.log('done');
}
