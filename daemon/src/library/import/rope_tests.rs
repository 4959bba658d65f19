use super::*;
use crate::library::fixture::{Entry, F32, File, HEAD_DIM, Q4_0};
use crate::library::gguf;

const THETA: f64 = 500_000.0;

fn of(file: &File) -> Result<Option<Value>, String> {
    let folder = tempfile::tempdir().unwrap();
    let gguf = gguf::open(&file.write(folder.path())).unwrap();
    scaling(&gguf, HEAD_DIM, THETA).map_err(|error| error.to_string())
}

fn with_factors(factors: &[f64]) -> File {
    let mut file = File::tiny(Q4_0);
    file.push(FACTORS, &[factors.len() as u64], F32);
    file.tensor(FACTORS).data = factors.iter().flat_map(|factor| (*factor as f32).to_le_bytes()).collect();
    file
}

/// Llama 3.1's factors as its converter writes them: the model's own formula, with branches, in 32 bits.
fn as_converted(factor: f32) -> Vec<f64> {
    let frequencies = (0..HEAD_DIM / 2).map(|pair| 1.0 / (THETA as f32).powf((2 * pair) as f32 / HEAD_DIM as f32));
    let factors = frequencies.map(|frequency| {
        let wavelength = std::f32::consts::TAU / frequency;
        if wavelength < 8192.0 / 4.0 {
            1.0
        } else if wavelength > 8192.0 {
            factor
        } else {
            let smooth = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    });
    factors.map(f64::from).collect()
}

#[test]
fn a_file_without_scaling_has_none() {
    assert_eq!(of(&File::tiny(Q4_0)), Ok(None));
    assert_eq!(of(&with_factors(&[1.0; 16])), Ok(None));
    let mut file = File::tiny(Q4_0);
    file.set("llama.rope.scaling.type", Entry::Text("none"));
    file.set("llama.rope.scaling.factor", Entry::F32(4.0));
    assert_eq!(of(&file), Ok(None));
}

#[test]
fn linear_scaling_is_carried_over() {
    let mut file = File::tiny(Q4_0);
    file.set("llama.rope.scaling.factor", Entry::F32(4.0));
    let linear = json!({"rope_type": "linear", "factor": 4.0});
    assert_eq!(of(&file), Ok(Some(linear.clone())));
    file.set("llama.rope.scaling.type", Entry::Text("linear"));
    assert_eq!(of(&file), Ok(Some(linear)));
    file.set("llama.rope.scaling.factor", Entry::F32(-1.0));
    assert_eq!(of(&file), Err("llama.rope.scaling.factor is -1".into()));
}

#[test]
fn the_parameters_of_llama_3_are_found_again_in_its_factors() {
    for factor in [8.0, 32.0] {
        let expected = json!({
            "rope_type": "llama3",
            "factor": f64::from(factor),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        });
        assert_eq!(of(&with_factors(&as_converted(factor))), Ok(Some(expected)));
    }
}

#[test]
fn scaling_that_is_not_known_exactly_is_refused_by_name() {
    let mut file = File::tiny(Q4_0);
    file.set("llama.rope.scaling.type", Entry::Text("yarn"));
    assert!(of(&file).unwrap_err().contains("llama.rope.scaling.type is \"yarn\""));

    let mut factors = as_converted(8.0);
    factors[10] *= 1.01;
    assert!(of(&with_factors(&factors)).unwrap_err().contains("rope_freqs.weight are not those of a known Llama 3"));
    assert!(of(&with_factors(&[f64::NAN; 16])).unwrap_err().contains("not those of a known Llama 3"));
    assert!(of(&with_factors(&[8.0; 15])).unwrap_err().contains("is not 16 numbers of type F32"));

    let mut file = with_factors(&as_converted(8.0));
    file.set("llama.rope.scaling.factor", Entry::F32(4.0));
    assert!(of(&file).unwrap_err().contains("scales its rope twice"));
}
