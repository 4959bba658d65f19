//! The table of rows, and what mlx-lm makes of each.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use engine::message::KvBits;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::given;

const TABLE: &str = include_str!("rows.json");
const SCRIPT: &str = concat!(include_str!("checkpoints.py"), include_str!("reference.py"));

/// Prompts that end before, at and behind the edges of a chunk on a processor (64) and of a step of the caches (256),
/// and the sliding windows of the table.
const LENGTHS: [usize; 8] = [1, 2, 64, 66, 97, 255, 256, 257];

/// Tokens after each prompt: the longest answers cross an edge themselves.
const TOKENS: usize = 6;

/// The key of a row for how it is quantized; what has no such key belongs into the config.
const QUANTIZE: &str = "+quantize";

/// The key of a row for other prompts than [`LENGTHS`].
const OTHER_LENGTHS: &str = "+lengths";

/// The key of a row for factors of the weights whose names contain a word.
const STRETCH: &str = "+stretch";

/// The key of a row for a checkpoint as the model's makers publish it, where mlx-lm's own has another layout.
const PUBLISHED: &str = "+published";

/// The key of a row for keys and values in few bits. A number near the middle of two codes takes either of them, and
/// steep scores make much of that: mlx-lm's own logits move by up to 1e-2 of their range when weights change by 1e-7 of
/// themselves. Such rows have flat scores and few layers, where they move by less than 1e-3.
const KV_CACHE: &str = "+kv_cache";

/// A configuration of an architecture.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The value of `model_type`.
    pub architecture: String,
    /// What sets it apart.
    pub name: String,
    config: Map<String, Value>,
    quantize: Option<Value>,
    lengths: Option<Value>,
    stretch: Option<Value>,
    published: Option<Value>,
    kv_cache: Option<KvCache>,
}

/// Keys and values in few bits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KvCache {
    bits: u32,
    /// mlx-lm has to be told; the engine finds it.
    group_size: u32,
}

impl Row {
    /// What a submission says of keys and values.
    pub fn kv_bits(&self) -> Option<KvBits> {
        self.kv_cache.map(|cache| match cache.bits {
            4 => KvBits::Four,
            8 => KvBits::Eight,
            bits => panic!("{}, {}: nothing is kept in {bits} bits", self.architecture, self.name),
        })
    }
}

/// What mlx-lm computed.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Token numbers.
    pub prompt: Vec<u32>,
    /// The likeliest after them.
    pub tokens: Vec<u32>,
    /// Logits after the prompt.
    pub first: Vec<f32>,
    /// Logits after the last of the tokens.
    pub last: Vec<f32>,
}

#[derive(Deserialize)]
struct Architecture {
    base: Map<String, Value>,
    rows: Map<String, Value>,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let table: Map<String, Value> = serde_json::from_str(TABLE).unwrap();
    let mut rows = Vec::new();
    for (architecture, value) in table {
        let Architecture { base, rows: own } = serde_json::from_value(value).unwrap();
        for (name, changes) in own {
            let mut config = base.clone();
            merge(&mut config, changes.as_object().expect("a row is an object"));
            let [quantize, lengths, stretch, published] =
                [QUANTIZE, OTHER_LENGTHS, STRETCH, PUBLISHED].map(|key| config.remove(key));
            let kv_cache = config.remove(KV_CACHE).map(|cache| serde_json::from_value(cache).unwrap());
            let architecture = architecture.clone();
            rows.push(Row { architecture, name, config, quantize, lengths, stretch, published, kv_cache });
        }
    }
    rows
}

/// Objects are merged, everything else is replaced.
fn merge(config: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, value) in changes {
        match (config.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The folder with the checkpoints, each under the place of its row, and `answers.json`; made once where it is missing.
pub fn made(rows: &[Row]) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| make(rows))
}

fn make(rows: &[Row]) -> PathBuf {
    let decides = format!("{TABLE} {LENGTHS:?} {TOKENS}");
    kept(
        "parity",
        SCRIPT,
        &decides,
        |folder| json!({ "folder": folder, "lengths": LENGTHS, "tokens": TOKENS, "rows": rows }),
    )
}

/// The folder in which a script's work is kept, with what it answered, under a name made of all that decides it; made
/// where it is missing, by what the script is asked with that folder.
pub fn kept(kind: &str, script: &str, decides: &str, request: impl FnOnce(&Path) -> Value) -> PathBuf {
    let python = given::python();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind);
    let mut hasher = DefaultHasher::new();
    for part in [script, decides, &python.display().to_string()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    let folder = all.join(format!("{:016x}", hasher.finish()));
    if !folder.exists() {
        let unfinished = folder.with_extension("unfinished");
        // What a run that was broken off left, and what older tables needed.
        let _ = fs::remove_dir_all(&all);
        fs::create_dir_all(&unfinished).unwrap();
        let answers = given::ask(&python, script, &request(&unfinished));
        fs::write(unfinished.join("answers.json"), answers).unwrap();
        fs::rename(&unfinished, &folder).unwrap();
    }
    folder
}

/// What mlx-lm found, for each row and prompt.
pub fn answers(folder: &Path) -> Vec<Vec<Answer>> {
    serde_json::from_slice(&fs::read(folder.join("answers.json")).unwrap()).unwrap()
}
