//! Runs a model in tract on the inputs of a job: tract-runner free|fixed MODEL JOB; tensors are .npy files, names those of
//! the model. fixed tells tract the inputs' sizes before it types the graph; free leaves them to each run.
use std::{error::Error, fs, path::Path};
use tract_onnx::prelude::*;

fn read(path: &Path) -> Result<Tensor, Box<dyn Error>> {
    match ndarray_npy::read_npy::<_, tract_ndarray::ArrayD<f32>>(path) {
        Ok(t) => Ok(t.into_tensor()),
        Err(_) => Ok(ndarray_npy::read_npy::<_, tract_ndarray::ArrayD<i64>>(path)?.into_tensor()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (fixed, path, job) = (arguments[1] == "fixed", &arguments[2], Path::new(&arguments[3]));
    let mut model = tract_onnx::onnx().with_ignore_output_shapes(fixed).model_for_path(path)?;
    let inputs: Vec<String> = model.input_outlets()?.iter().map(|o| model.node(o.node).name.clone()).collect();
    if fixed {
        for (i, name) in inputs.iter().enumerate() {
            let t = read(&job.join("in0").join(format!("{name}.npy")))?;
            model.set_input_fact(i, InferenceFact::dt_shape(t.datum_type(), t.shape()))?;
        }
    }
    let model = model.into_optimized()?;
    let outputs: Vec<String> = model.output_outlets()?.iter().map(|o| model.outlet_label(*o).unwrap_or(&model.node(o.node).name).to_string()).collect();
    let run = model.into_runnable()?;
    for set in fs::read_dir(job)? {
        let (set, mut feeds) = (set?, tvec!());
        let Some(number) = set.file_name().to_str().and_then(|s| s.strip_prefix("in")).map(str::to_string) else { continue };
        for name in &inputs {
            feeds.push(read(&set.path().join(format!("{name}.npy")))?.into_tvalue());
        }
        let out = job.join(format!("out{number}"));
        fs::create_dir_all(&out)?;
        for (name, t) in outputs.iter().zip(run.run(feeds)?) {
            ndarray_npy::write_npy(out.join(format!("{name}.npy")), &t.cast_to::<f32>()?.to_plain_array_view::<f32>()?.to_owned())?;
        }
    }
    Ok(())
}
