//! What a model's folder says beside its tokenizer: sizes, stop tokens, special tokens, the chat template's source.
//!
//! Reads files whole, each up to a bound, and never follows what they say to other files. Called by `TextModel::open`.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use protocol::Pooling;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::TextError;

/// Far above any real `config.json` or `tokenizer_config.json`; the largest of the latter have 1 to 2 MB.
const JSON_BYTES: u64 = 16 << 20;

/// Real templates have up to 30 kB.
const TEMPLATE_BYTES: u64 = 1 << 20;

/// The facts of one folder.
pub(super) struct Folder {
    pub(super) vocab_size: Option<u32>,
    pub(super) context_length: Option<u32>,
    pub(super) eos_token_ids: Vec<u32>,
    /// Name (`bos_token`) and text (`<s>`), as templates know them.
    pub(super) special_tokens: Vec<(String, String)>,
    pub(super) template: Option<String>,
    /// The one for conversations with tools, where there are two.
    pub(super) tool_template: Option<String>,
    /// Of sentence models.
    pub(super) pooling: Option<Pooling>,
}

/// `1_Pooling/config.json`, where sentence models say how vectors become one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

impl PoolingConfig {
    /// The one that is chosen; several together, or others, are not known.
    fn chosen(&self) -> Option<Pooling> {
        match (self.pooling_mode_mean_tokens, self.pooling_mode_cls_token, self.pooling_mode_lasttoken) {
            (true, false, false) => Some(Pooling::Mean),
            (false, true, false) => Some(Pooling::First),
            (false, false, true) => Some(Pooling::Last),
            _ => None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelConfig {
    vocab_size: Option<u32>,
    max_position_embeddings: Option<u32>,
    eos_token_id: Option<Numbers>,
    /// Where models with several modalities keep the numbers of their language model.
    text_config: Option<Box<ModelConfig>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    eos_token_id: Option<Numbers>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(i64),
    Many(Vec<i64>),
}

impl Numbers {
    /// Without the -1 that some configurations write for "none".
    fn tokens(self) -> Vec<u32> {
        let numbers = match self {
            Self::One(number) => vec![number],
            Self::Many(numbers) => numbers,
        };
        numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Templates {
    /// The one for plain conversations, named `default` or the only one; and the one named `tool_use`.
    fn plain_and_tools(self) -> (Option<String>, Option<String>) {
        match self {
            Self::One(template) => (Some(template), None),
            Self::Named(mut named) if named.len() == 1 => (named.pop().map(|only| only.template), None),
            Self::Named(named) => {
                let find = |name| named.iter().find(|it| it.name == name).map(|it| it.template.clone());
                (find("default"), find("tool_use"))
            }
        }
    }
}

impl Folder {
    /// Reads the folder's files except `tokenizer.json`. Only `config.json` must be there.
    pub(super) fn read(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("config.json");
        let config: ModelConfig = json(&path)?.ok_or(TextError::Missing(path))?;
        let inner = config.text_config.map(|inner| *inner).unwrap_or_default();
        let generation: GenerationConfig = json(&folder.join("generation_config.json"))?.unwrap_or_default();
        let eos_token_ids = generation.eos_token_id.or(config.eos_token_id).or(inner.eos_token_id);
        let path = folder.join("tokenizer_config.json");
        let mut tokenizer: Map<String, Value> = json(&path)?.unwrap_or_default();
        let written = tokenizer.remove("chat_template").filter(|template| !template.is_null());
        let (template, tool_template) = match text(&folder.join("chat_template.jinja"), TEMPLATE_BYTES)? {
            Some(template) => {
                (Some(template), text(&folder.join("additional_chat_templates/tool_use.jinja"), TEMPLATE_BYTES)?)
            }
            None => written.map(|template| named(template, &path)).transpose()?.unwrap_or_default(),
        };
        let pooling: Option<PoolingConfig> = json(&folder.join("1_Pooling").join("config.json"))?;
        Ok(Self {
            pooling: pooling.and_then(|pooling| pooling.chosen()),
            vocab_size: config.vocab_size.or(inner.vocab_size),
            context_length: config.max_position_embeddings.or(inner.max_position_embeddings),
            eos_token_ids: eos_token_ids.map(Numbers::tokens).unwrap_or_default(),
            special_tokens: special_tokens(&tokenizer),
            template,
            tool_template,
        })
    }
}

fn named(template: Value, path: &Path) -> Result<(Option<String>, Option<String>), TextError> {
    let templates = Templates::deserialize(template)
        .map_err(|_| broken(path, &"chat_template is neither a text nor a list of named texts"))?;
    let both = templates.plain_and_tools();
    if [&both.0, &both.1].into_iter().flatten().any(|template| template.len() as u64 > TEMPLATE_BYTES) {
        return Err(broken(path, &format!("chat_template has more than {TEMPLATE_BYTES} bytes")));
    }
    Ok(both)
}

/// `"bos_token": "<s>"` and `"bos_token": {"content": "<s>", …}` alike.
fn special_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let named = config.iter().filter(|(name, _)| name.ends_with("_token"));
    let written = named.filter_map(|(name, token)| {
        let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
        Some((name.clone(), text.to_owned()))
    });
    written.collect()
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    let Some(bytes) = bytes(path, JSON_BYTES)? else { return Ok(None) };
    // By way of a map: a structure would take a list too.
    let map: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes);
    map.and_then(|map| T::deserialize(Value::Object(map))).map(Some).map_err(|error| broken(path, &error))
}

fn text(path: &Path, limit: u64) -> Result<Option<String>, TextError> {
    let Some(bytes) = bytes(path, limit)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| broken(path, &error))
}

/// The bytes of a file, or `None` where there is none.
pub(super) fn bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TextError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(path, &error)),
        // Opening a pipe would wait for a writer.
        Ok(metadata) if !metadata.is_file() => return Err(broken(path, &"not a regular file")),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|error| broken(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(broken(path, &format!("more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// A file that is damaged, with the reason.
pub(super) fn broken(path: &Path, problem: &dyn Display) -> TextError {
    TextError::Broken { path: path.to_owned(), problem: problem.to_string() }
}
