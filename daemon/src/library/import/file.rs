//! GGUF files: what they hold becomes the tensors and the small files of a model's folder, number by number. A file that
//! is packed in ways that MLX does not know stays as it is, for Candle, and has the small files beside it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use protocol::{Model, ModelId};
use serde_json::{Map, Value, json};

use super::carry::{Carrier, Way};
use super::llama::{self, Llama, Piece};
use super::tokenizer::Vocabulary;
use super::weights::{self, Plan};
use super::{ImportError, Progress, Quantize, Source, quants};
use crate::library::Library;
use crate::library::gguf::{self, Gguf, GgufError, Metadata, Use};

/// A GGUF file that stays as it is.
const KEPT_FILE: &str = "model.gguf";

/// The small files of a model by name.
type Documents = BTreeMap<&'static str, Vec<u8>>;

/// Makes the file into a model, under the id asked for or one made of the file's own name.
pub(super) fn import(
    source: &Source,
    library: &Library,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let refused = |error| refused(&source.path, error);
    let gguf = gguf::open(&source.path).map_err(refused)?;
    let id = source.id.clone().unwrap_or_else(|| default_id(&gguf.header.metadata, &source.path));
    super::check_id(&id)?;
    let (pieces, mut documents) = understand(&gguf).map_err(refused)?;
    check_packing(&pieces, source.quantize).map_err(refused)?;
    if pieces.iter().any(is_kept) {
        return keep(source, &id, library, &documents, progress);
    }
    let plan = Plan::new(&pieces, weights::SHARD_BYTES);
    documents.extend(plan.index().map(|index| ("model.safetensors.index.json", format!("{index:#}\n").into_bytes())));

    let incoming = super::begin(source, &id, library, plan.bytes, progress)?;
    let small_bytes: u64 = documents.values().map(|document| document.len() as u64).sum();
    super::check_space(&library.root, plan.bytes + small_bytes)?;
    for (name, document) in &documents {
        incoming.write(name, document)?;
    }
    plan.write(&gguf, incoming.path(), progress)?;
    super::install(incoming, source, &id, library, progress)
}

/// Makes a model of the file itself.
fn keep(
    source: &Source,
    id: &ModelId,
    library: &Library,
    documents: &Documents,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, ImportError> {
    let unread = |error| ImportError::Read { path: source.path.clone(), source: error };
    let total = fs::metadata(&source.path).map_err(unread)?.len();
    let (Some(folder), Some(name)) = (source.path.parent(), source.path.file_name().and_then(OsStr::to_str)) else {
        return Err(unread(io::Error::new(io::ErrorKind::InvalidFilename, "its name is no text")));
    };
    let incoming = super::begin(source, id, library, total, progress)?;
    for (name, document) in documents {
        incoming.write(name, document)?;
    }
    if source.copy {
        super::check_space(&library.root, total)?;
    }
    let mut carrier = Carrier { from: folder, to: &incoming, root: &library.root, total, done: 0, progress };
    carrier.carry_as(name, KEPT_FILE, if source.copy { Way::Copy } else { Way::Link })?;
    super::install(incoming, source, id, library, progress)
}

/// That the weights are packed as they are asked to be, if they are: other bits would round what is rounded already.
fn check_packing(pieces: &[Piece], quantize: Option<Quantize>) -> Result<(), GgufError> {
    let Some(Quantize { bits, group_size }) = quantize else { return Ok(()) };
    let own = common_bits(pieces);
    if own == Some(u64::from(bits)) && u64::from(group_size) == quants::GROUP_SIZE {
        return Ok(());
    }
    let is_kept = pieces.iter().any(is_kept);
    let unpacked = if is_kept { "packed by blocks of its own" } else { "plain" };
    let own = own.map_or_else(|| unpacked.to_owned(), |own| format!("{own} bits in groups of {}", quants::GROUP_SIZE));
    Err(GgufError::NotSupported(format!(
        "a GGUF file's weights stay as they are, {own}: leave the bits out, or import the folder of the original model \
         with them"
    )))
}

/// The tensors of a file and the small files of its model.
fn understand(gguf: &Gguf) -> Result<(Vec<Piece<'_>>, Documents), GgufError> {
    llama::refuse_unknown(gguf)?;
    let llama = Llama::read(gguf)?;
    let pieces = llama.pieces(gguf)?;
    let vocabulary = Vocabulary::read(&gguf.header.metadata, llama.vocab)?;
    let mut config = llama.config();
    config.extend(vocabulary.ids());
    if let Some(quantization) = quantization(&pieces) {
        config.insert("quantization".into(), quantization.clone());
        config.insert("quantization_config".into(), quantization);
    }
    let documents = [
        ("config.json", Value::Object(config)),
        ("generation_config.json", vocabulary.generation_config()),
        ("tokenizer_config.json", vocabulary.tokenizer_config(llama.context)),
    ];
    let mut documents: Documents =
        documents.into_iter().map(|(name, value)| (name, format!("{value:#}\n").into_bytes())).collect();
    documents.insert("tokenizer.json", vocabulary.tokenizer()?);
    Ok((pieces, documents))
}

/// `quantization` of `config.json`: the bits of most layers, and by path those of the others.
fn quantization(pieces: &[Piece]) -> Option<Value> {
    let common = common_bits(pieces)?;
    let entry = |bits| json!({"group_size": quants::GROUP_SIZE, "bits": bits});
    let others = pieces.iter().filter_map(|piece| Some((piece.path.clone(), bits(piece)?)));
    let others = others.filter(|(_, bits)| *bits != common).map(|(path, bits)| (path, entry(bits)));
    let Value::Object(mut quantization) = entry(common) else { unreachable!("an entry is an object") };
    quantization.extend(others.collect::<Map<_, _>>());
    Some(Value::Object(quantization))
}

/// The bits of most layers that are packed.
fn common_bits(pieces: &[Piece]) -> Option<u64> {
    let count = |wanted| pieces.iter().filter(|piece| bits(piece) == Some(wanted)).count();
    pieces.iter().filter_map(bits).max_by_key(|bits| count(*bits))
}

fn is_kept(piece: &Piece) -> bool {
    gguf::usage(piece.tensor.encoding) == Use::Kept
}

fn bits(piece: &Piece) -> Option<u64> {
    quants::bits(piece.tensor.encoding)
}

/// `local/` and the name of the file, which is what its owner knows it by, else the name that it gives its model:
/// that is often of a training run.
fn default_id(metadata: &Metadata, source: &Path) -> ModelId {
    let text = |key| metadata.text(key).ok().flatten().map(str::to_owned);
    let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let names = [stem, text("general.name"), text("general.basename")].into_iter().flatten();
    let name = names.map(|name| super::sanitized(&name)).find(|name| !name.is_empty());
    ModelId(format!("local/{}", name.as_deref().unwrap_or("model")))
}

fn refused(path: &Path, error: GgufError) -> ImportError {
    let path = path.to_path_buf();
    match error {
        GgufError::Damaged(what) => ImportError::Damaged { path, what },
        GgufError::NotSupported(what) => ImportError::NotSupported { path, what },
        GgufError::Io(source) => ImportError::Read { path, source },
    }
}
