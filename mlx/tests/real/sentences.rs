//! A real sentence model: the engine's vectors against those of another implementation of BERT, Candle's.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use engine::backend::Backend;
use engine::{Load, Pooling};
use serde_json::json;
use talkied::text::TextModel;
use talkied_mlx::Mlx;

use crate::given::given_or_made;
use crate::support::Start;

/// Allowed by the project's aim; what is seen is a thousandth of it.
const COSINE_DIFFERENCE: f32 = 1e-4;

const SENTENCES: [&str; 6] = [
    "The keeper lit the lamp.",
    "A man switched on the light in the tower.",
    "Interest rates rose by a quarter of a percent.",
    "Übersetze „Der Zug fährt um 8:15 Uhr ab.“ 漢字 🚆",
    "x",
    "On day one the keeper climbed the stairs, lit the lamp and counted the passing ships. On day two the keeper climbed \
     the stairs, lit the lamp and counted the passing ships. On day three the fog was so thick that there was nothing to \
     count, and so the keeper wrote a long letter to the harbour office instead, asking for oil, bread and a new rope.",
];

fn folder() -> PathBuf {
    given_or_made("TALKIE_TEST_SENTENCE_MODEL", &["model", "minilm"])
}

/// The mean of the last vectors, as Candle computes them.
struct Reference(BertModel);

impl Reference {
    fn open(folder: &Path) -> Self {
        let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        Self(BertModel::load(weights, &config).unwrap())
    }

    fn vector(&self, tokens: &[u32]) -> Vec<f32> {
        let ids = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let types = ids.zeros_like().unwrap();
        let hidden = self.0.forward(&ids, &types, None).unwrap();
        hidden.mean(1).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

#[test]
fn vectors_are_those_of_another_implementation() {
    let folder = folder();
    let (text, reference) = (TextModel::open(&folder).unwrap(), Reference::open(&folder));
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder), &mut |_, _| {}).unwrap();
    for sentence in SENTENCES {
        let tokens = text.encode_text(sentence).unwrap();
        let mut begun = mlx.begin_text(&tokens, Pooling::Mean).unwrap();
        let ours = loop {
            if let Some(vector) = mlx.embed(&mut begun).unwrap() {
                break vector;
            }
        };
        let difference = 1.0 - cosine(&ours, &reference.vector(&tokens));
        eprintln!("{} tokens: cosine differs by {difference:.1e}", tokens.len());
        assert!(difference.abs() < COSINE_DIFFERENCE, "{sentence:?}: {difference}");
    }
}

#[test]
fn over_the_socket_what_means_the_same_is_near() {
    let daemon =
        Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx"))).linked("test/minilm", &folder()).run();
    let result = daemon.call("embeddings.create", json!({ "input": &SENTENCES[..3] })).unwrap();
    let vectors: Vec<Vec<f32>> = serde_json::from_value(result["embeddings"].clone()).unwrap();
    assert!(vectors.iter().all(|vector| vector.len() == 384));
    let (near, far) = (cosine(&vectors[0], &vectors[1]), cosine(&vectors[0], &vectors[2]));
    assert!(near > far + 0.3, "near {near}, far {far}");
    let error = daemon.call("generate.text", json!({ "model": "test/minilm", "prompt": "Hello" })).unwrap_err();
    assert_eq!(error["data"]["kind"], "not_supported", "{error}");
}
